"""Exercises of 00_start_here: a model small enough to count by hand."""

import numpy as np

from utils.exercises import Exercise, NumberExercise


def _parameters():
    weights = 784 * 10  # one for every pixel and digit
    biases = 10  # one for every digit
    return weights + biases


parameters = NumberExercise(
    "parameters",
    "How many numbers does the softmax classifier learn? It takes 784 pixels to 10 digits.",
    solution=_parameters,
    wrong=[
        (7840, "those are the weights; each of the 10 digits has a bias as well."),
        (8624, "the bias belongs to a digit, not to a pixel: there are 10 of them, not 784."),
        (794, "every pixel has a weight for every digit: multiply 784 by 10, do not add."),
        (280 + 10, "a picture has 28 rows of 28 pixels: 784 in all."),
        (15680, "count each digit's bias once; it is shared by all pixels."),
    ],
    hints=[
        "The layer computes images @ weights + bias. What shapes must weights and bias have?",
        "weights has shape (784, 10), one template per digit; bias has shape (10,).",
    ],
    correct="784 × 10 weights and 10 biases, in each of the three frameworks.",
)


def _softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)  # the largest becomes 0
    powers = np.exp(shifted)  # so no power exceeds 1
    return powers / powers.sum(axis=1, keepdims=True)


def _overflowing(logits):
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def _over_the_batch(logits):
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def _over_everything(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def _one_shift_for_all(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum(axis=1, keepdims=True)


def _sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def _log_softmax(logits):
    return np.log(_softmax(logits))


def _never_normalised(logits):
    return np.exp(logits - logits.max(axis=1, keepdims=True))


softmax = Exercise(
    "softmax",
    "Write softmax(logits): turn each row of logits, shape (N, 10), into probabilities, "
    "safely for logits of any size.",
    solution=_softmax,
    cases=[
        (np.array([[0.0, 1.0, 2.0]]),),
        (np.array([[1.0, 1.0], [0.0, 3.0]]),),
        (np.array([[1000.0, 1001.0], [-1000.0, -1001.0]]),),
        lambda rng: (rng.normal(scale=5.0, size=(6, 10)),),
    ],
    wrong=[
        (
            _overflowing,
            "right for small logits, but exp(1000) is more than a float can hold and the "
            "result is NaN; subtract each row's largest logit first.",
        ),
        (
            _one_shift_for_all,
            "you subtract one maximum from all rows, so a row far below it becomes 0/0; "
            "subtract each row's own maximum.",
        ),
        (
            _over_the_batch,
            "the columns sum to 1, but each row is a picture: sum over axis 1, not axis 0.",
        ),
        (
            _over_everything,
            "all pictures together sum to 1; each row should sum to 1 by itself.",
        ),
        (
            _sigmoid,
            "this is the sigmoid, which judges each digit on its own; the rows do not sum to 1.",
        ),
        (_log_softmax, "this is the logarithm of the softmax; the probabilities are asked for."),
        (_never_normalised, "the rows do not sum to 1 yet; divide each by its sum."),
    ],
    hints=[
        "Adding the same number to all logits of a row leaves its softmax as it is. "
        "Which number keeps exp() small?",
        "Subtract logits.max(axis=1, keepdims=True), then take exp().",
        "Divide by the sum over axis=1, again with keepdims=True.",
    ],
    correct="every row sums to 1, and logits of 1,000 do no harm.",
)
