"""Exercises of 01_autoencoder: a count, a stable loss, PCA by hand, corruption, and other data."""

import numpy as np

from utils.exercises import Exercise, NumberExercise, OwnDataExercise


def _parameter_count():
    encoder = (4 * 4 * 1 * 16 + 16) + (4 * 4 * 16 * 32 + 32) + (7 * 7 * 32 * 32 + 32)
    decoder = (32 * 7 * 7 * 32 + 7 * 7 * 32) + (4 * 4 * 32 * 16 + 16) + (4 * 4 * 16 * 1 + 1)
    return encoder + decoder


parameter_count = NumberExercise(
    "parameter_count",
    "How many parameters has the convolutional network with a code of 32?",
    solution=_parameter_count,
    wrong=[
        (117_248, "those are the weights; every channel and unit has a bias as well."),
        (58_704, "that is the encoder; the decoder follows."),
        (60_209, "that is the decoder; the encoder comes first."),
        (
            117_408,
            "the decoder is not the encoder's mirror image in its biases: each layer has one "
            "bias for every channel or unit that it puts out.",
        ),
    ],
    hints=[
        "A convolution has height·width·in·out weights and one bias for each channel out.",
        "Encoder: 4·4·1·16 + 16, then 4·4·16·32 + 32, then a dense layer from 7·7·32 to 32.",
        "Decoder: a dense layer from 32 to 7·7·32, then 4·4·32·16 + 16 and 4·4·16·1 + 1.",
    ],
    correct="the number that part 6 prints for all three frameworks.",
)


def _cross_entropy_from_logits(x, logits):
    # max(l, 0) − x·l + log(1 + exp(−|l|)): the exponential never sees a positive number
    losses = np.maximum(logits, 0) - x * logits + np.log1p(np.exp(-np.abs(logits)))
    return losses.mean(axis=1)


def _naive_cross_entropy(x, logits):
    pixels = 1 / (1 + np.exp(-logits))
    return -(x * np.log(pixels) + (1 - x) * np.log(1 - pixels)).mean(axis=1)


cross_entropy_from_logits = Exercise(
    "cross_entropy_from_logits",
    "Write cross_entropy_from_logits(x, logits): nats per pixel, (B, D) and (B, D) to (B,).",
    solution=_cross_entropy_from_logits,
    cases=[
        (np.array([[0.0, 1.0], [0.25, 0.5]]), np.array([[0.0, 2.0], [-1.0, 3.0]])),
        (np.array([[0.0, 1.0], [1.0, 0.5]]), np.array([[1000.0, 1000.0], [-1000.0, 0.0]])),
        lambda rng: (rng.random((6, 5)), 3 * rng.normal(size=(6, 5))),
    ],
    wrong=[
        (
            _naive_cross_entropy,
            "right for small logits, but at 1,000 the sigmoid rounds to 1 and log(1 − 1) is −∞; "
            "simplify the formula before you compute it.",
        ),
        (
            lambda x, a: (np.maximum(a, 0) - x * a + np.log1p(np.exp(-np.abs(a)))).sum(axis=1),
            "this is the sum over the pixels; take their mean.",
        ),
        (
            lambda x, a: (np.maximum(a, 0) - x * a + np.log1p(np.exp(-np.abs(a)))).mean(),
            "this is one number for the whole batch; give one for each image (axis 1).",
        ),
        (
            lambda x, a: -(np.maximum(a, 0) - x * a + np.log1p(np.exp(-np.abs(a)))).mean(axis=1),
            "the sign is turned: a cross-entropy is never negative.",
        ),
        (
            lambda x, a: (np.maximum(a, 0) - (1 - x) * a + np.log1p(np.exp(-np.abs(a)))).mean(1),
            "black and white have changed places: x multiplies log σ(logit).",
        ),
    ],
    hints=[
        "log σ(a) = −log(1 + e^(−a)) and log(1 − σ(a)) = −a − log(1 + e^(−a)).",
        "Together they give log(1 + e^a) − x·a for each pixel. When does e^a overflow?",
        "log(1 + e^a) = max(a, 0) + log(1 + e^(−|a|)): np.maximum, np.abs, np.log1p.",
    ],
    correct="the form that all three frameworks use inside.",
)


def _pca_rebuild(x, mean, components):
    return mean + (x - mean) @ components.T @ components


def _axes(rng, k, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0][:k]


pca_rebuild = Exercise(
    "pca_rebuild",
    "Write pca_rebuild(x, mean, components): (B, D) rebuilt from k orthonormal directions (k, D).",
    solution=_pca_rebuild,
    cases=[
        (np.array([[3.0, 4.0, 5.0]]), np.array([1.0, 1.0, 1.0]), np.array([[1.0, 0.0, 0.0]])),
        lambda rng: (rng.normal(size=(6, 5)), rng.normal(size=5), _axes(rng, 2, 5)),
        lambda rng: (rng.normal(size=(3, 4)), rng.normal(size=4), _axes(rng, 4, 4)),
    ],
    wrong=[
        (
            lambda x, m, c: x @ c.T @ c,
            "the mean is left out: subtract it before projecting, add it back afterwards.",
        ),
        (
            lambda x, m, c: (x - m) @ c.T @ c,
            "the mean is subtracted and never added back.",
        ),
        (
            lambda x, m, c: m + x @ c.T @ c,
            "the mean is added but was not subtracted first.",
        ),
        (
            lambda x, m, c: (x - m) @ c.T,
            "this is the code, k numbers; decode it again with the components.",
        ),
    ],
    hints=[
        "The encoder is linear: z = (x − mean) times the components, transposed.",
        "The decoder takes the code back through the same components, and adds the mean.",
    ],
    correct="an encoder and a decoder that share one matrix.",
)


def _erase_pixels(x, uniform, share):
    return x * (uniform >= share)


erase_pixels = Exercise(
    "erase_pixels",
    "Write erase_pixels(x, uniform, share): x with pixels set to 0 where uniform < share.",
    solution=_erase_pixels,
    cases=[
        (np.array([[0.5, 0.7, 0.9]]), np.array([[0.0, 0.25, 0.8]]), 0.25),
        lambda rng: (rng.random((4, 6)), rng.random((4, 6)), 0.4),
        lambda rng: (rng.random((4, 6)), rng.random((4, 6)), 0.0),
    ],
    wrong=[
        (
            lambda x, u, s: x * (u < s),
            "the other pixels are erased: keep where the draw is at least `share`.",
        ),
        (
            lambda x, u, s: x * (u > s),
            "a draw that equals `share` is not below it: keep that pixel (≥, not >).",
        ),
        (
            lambda x, u, s: x * (u >= s) / (1 - s),
            "dropout scales what it keeps; here the kept pixels stay as they are.",
        ),
        (
            lambda x, u, s: np.where(u >= s, x, u),
            "erased pixels are set to noise; set them to 0.",
        ),
        (
            lambda x, u, s: x * (1 - s),
            "every pixel is dimmed; erase some and leave the others.",
        ),
    ],
    hints=[
        "A comparison of arrays gives True and False, and x times False is 0.",
        "Keep where uniform >= share.",
    ],
    correct="each pixel is erased with probability `share`.",
)

other_data = OwnDataExercise("other_data")
