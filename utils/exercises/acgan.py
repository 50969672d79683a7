"""Exercises of 09_acgan: who maximises what, the label's loss, its floor, an honest accuracy."""

import math

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, NumberExercise, OwnDataExercise

aims = ChoiceExercise(
    "aims",
    "L_S is the log-likelihood of the right source (real or made), L_C that of the right class. "
    "What do the players of an ACGAN maximise?",
    options={
        "a": "D: L_S + L_C, G: −L_S − L_C",
        "b": "D: L_S + L_C, G: L_C − L_S",
        "c": "D: L_S, G: L_C",
        "d": "D: L_S − L_C, G: L_S + L_C",
    },
    answer="b",
    why={
        "a": "then G would draw digits that are hard to read: over the class the two are no "
        "opponents.",
        "b": "they fight over the source and work together on the class.",
        "c": "D has to learn the classes as well, or its answer about them means nothing.",
        "d": "D would learn to misread labels, and G to look made.",
    },
    hints=[
        "Which of the two terms do both players want to be large?",
        "Look at `judge_…` and `fool_…`: which term stands in both with the same sign?",
    ],
)


def _label_loss(logits, y):
    top = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]  # B
    return (log_sum - logits[np.arange(len(y)), y]).mean()


def _softmax(x):
    odds = np.exp(x - x.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _right(values, y):
    return values[np.arange(len(y)), y]


def _sums(logits):
    top = logits.max(axis=1)
    return np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top


label_loss = Exercise(
    "label_loss",
    "Write label_loss(logits, y): the mean of −log P(right class), from logits (B, K).",
    solution=_label_loss,
    cases=[
        (np.array([[0.0, 0.0], [2.0, -1.0]]), np.array([0, 1])),
        (np.array([[1.0, 3.0, -2.0], [0.5, 0.0, 0.0]]), np.array([1, 2])),
        (np.array([[900.0, 0.0], [0.0, -1000.0], [1.0, 2.0]]), np.array([1, 0, 1])),
        lambda rng: (rng.normal(size=(6, 10)), rng.integers(10, size=6)),
    ],
    wrong=[
        (
            lambda logits, y: _label_loss(_softmax(logits), y),
            "there are two softmaxes in this: the loss takes its own of the logits, so do not "
            "hand it probabilities.",
        ),
        (
            lambda logits, y: (
                -np.log(
                    _right(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), y)
                ).mean()
            ),
            "right for small logits, but exp(900) is infinite: subtract each row's largest logit "
            "first, which changes no probability.",
        ),
        (
            lambda logits, y: -_right(_softmax(logits), y).mean(),
            "this is minus the probability itself; take its logarithm.",
        ),
        (
            lambda logits, y: -_right(logits, y).mean(),
            "this is minus the right logit: without the log of the sum over classes, all logits "
            "can grow for ever.",
        ),
        (
            lambda logits, y: (_sums(logits) - _right(logits, y)).sum(),
            "this is a sum over the batch; take the mean.",
        ),
        (
            lambda logits, y: (_right(logits, y) - _sums(logits)).mean(),
            "the sign is turned: this is the log-likelihood, which should grow.",
        ),
        (
            lambda logits, y: (_sums(logits)[:, None] - logits).mean(),
            "this averages over all classes; only the right one's counts.",
        ),
    ],
    hints=[
        "log softmax(l)_y = l_y − log Σ exp(l_k).",
        "logits[np.arange(len(y)), y] picks the right class's logit of each row.",
        "log Σ exp(l) = m + log Σ exp(l − m) for any m: take the row's largest.",
    ],
    correct="the loss of the label, safe for any logits.",
)


def _floor():
    return math.log(1 + 9 / math.e)  # one score of 1, nine of 0: −log (e / (e + 9))


floor = NumberExercise(
    "floor",
    "Ten classes. A network is entirely sure of the right one, and its softmax goes into a loss "
    "that takes a softmax of its own. How large is the loss? (Three digits.)",
    solution=_floor,
    tolerance=5e-3,
    wrong=[
        (0.0, "that is what one softmax gives; the second one sees 1 and nine times 0 as logits."),
        (
            math.log(10),
            "that is the loss of a network that has no idea; sure, it still has e against nine "
            "times e⁰.",
        ),
        (
            math.log(1 + 10 / math.e),
            "nearly: the right class is one of the ten, so nine others remain.",
        ),
        (math.log(9), "that leaves out the right class's own share of the sum."),
        (
            -math.log10(math.e / (math.e + 9)),
            "the right fraction, but the loss takes the natural logarithm.",
        ),
        (math.e / (math.e + 9), "that is the probability; the loss is minus its logarithm."),
        (1 - math.e / (math.e + 9), "that is what is missing to 1; the loss is −log."),
    ],
    hints=[
        "The inner softmax gives 1 for the right class and 0 for the nine others.",
        "Now take −log softmax of these ten numbers at the right class.",
        "−log(e¹ / (e¹ + 9 e⁰)).",
    ],
    correct="log(1 + 9/e): no training can bring the popular loss below it.",
)


def _label_accuracy(probabilities, asked):
    hits = probabilities.argmax(axis=1) == asked  # N
    return np.array([hits[asked == label].mean() for label in range(probabilities.shape[1])])


def _by_answer(probabilities, asked):
    answers = probabilities.argmax(axis=1)
    hits = answers == asked
    labels = range(probabilities.shape[1])
    return np.array([hits[answers == k].sum() / max(1, (answers == k).sum()) for k in labels])


def _case(rng):
    asked = np.concatenate([np.arange(3), np.arange(3), rng.integers(3, size=9)])
    return rng.dirichlet(np.ones(3), size=len(asked)), asked


label_accuracy = Exercise(
    "label_accuracy",
    "Write label_accuracy(probabilities, asked): for each label, the share of samples asked for "
    "with it that the judge reads so. (N, K) and (N,) → (K,).",
    solution=_label_accuracy,
    cases=[
        (
            np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.0, 0.2, 0.8]]),
            np.array([0, 1, 2, 2]),
        ),
        _case,
        _case,
    ],
    wrong=[
        (
            lambda p, asked: np.full(p.shape[1], (p.argmax(axis=1) == asked).mean()),
            "this is one share over all samples: a label that always fails would hide among nine "
            "that never do.",
        ),
        (
            lambda p, asked: (p.argmax(axis=1) == asked).mean(),
            "this is one number for all samples; ten are wanted, one for each label asked for.",
        ),
        (
            _by_answer,
            "you divide by how often the judge *answers* each label; divide by how often it was "
            "*asked for*.",
        ),
        (
            lambda p, asked: np.array([p[asked == k, k].mean() for k in range(p.shape[1])]),
            "this is the mean probability of the label; count the samples whose largest it is.",
        ),
        (
            lambda p, asked: np.array([(p.argmax(axis=1) == k).mean() for k in range(p.shape[1])]),
            "this is how often the judge answers each label, whatever was asked for.",
        ),
        (
            lambda p, asked: np.array(
                [((p.argmax(axis=1) == asked) & (asked == k)).mean() for k in range(p.shape[1])]
            ),
            "you divide by all samples; divide by those asked for with the label.",
        ),
        (
            lambda p, asked: np.array(
                [((p.argmax(axis=1) == asked) & (asked == k)).sum() for k in range(p.shape[1])]
            ),
            "these are counts; a share is wanted.",
        ),
    ],
    hints=[
        "What the judge reads is the label of the largest probability in the row.",
        "For each label keep only the samples with asked == label, and take the mean of the hits.",
    ],
    correct="ten numbers, none of which can hide behind the others.",
)

other_data = OwnDataExercise("other_data")
