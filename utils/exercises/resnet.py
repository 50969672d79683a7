"""Exercises of 12_resnet: its parameters, shortcut A, "same" padding, a folded norm; other data."""

import numpy as np

from utils.exercises import Exercise, NumberExercise, OwnDataExercise


def _count():
    total, seen = 3 * 3 * 3 * 16 + 2 * 16, 16  # the first convolution, and γ and β of its norm
    for width in (16, 32, 64):
        for _ in range(3):  # blocks
            total += 3 * 3 * seen * width + 2 * width
            total += 3 * 3 * width * width + 2 * width
            seen = width
    return total + (64 + 1) * 10


_CHANNELS = 16 + 6 * (16 + 32 + 64)  # outputs of all convolutions
_PROJECTIONS = 16 * 32 + 32 * 64

count = NumberExercise(
    "count",
    "How many parameters has the paper's ResNet-20 for CIFAR-10, with shortcuts A?",
    solution=_count,
    wrong=[
        (
            _count() - 2 * _CHANNELS,
            "the norms are missing: each channel after a convolution has a γ and a β.",
        ),
        (
            _count() + 2 * _CHANNELS,
            "moving means and variances are remembered, not learned: count γ and β only.",
        ),
        (
            _count() + _CHANNELS,
            "no convolution has a bias here: the norm behind it would subtract it again.",
        ),
        (
            _count() + _PROJECTIONS + 2 * (32 + 64),
            "these are shortcuts B, with 1×1 convolutions and their norms; A costs nothing.",
        ),
        (
            _count() + _PROJECTIONS,
            "shortcuts A pad with zeros: there is no 1×1 convolution to count.",
        ),
        (_count() - 10, "the dense layer at the end has ten biases."),
        (270_000, "the paper rounds so (0.27 M); count them."),
    ],
    hints=[
        "A convolution has size × size × seen × filters weights, its norm 2 × filters.",
        "Six convolutions in a stage; the first of a later stage sees half as many channels.",
        "464 + 14,016 + 51,072 + 203,520 + the dense layer's 650.",
    ],
    correct="269,722, as published.",
)


def _around(x, out):
    x = x[:, ::2, ::2]
    return np.pad(x, [(0, 0), (0, 0), (0, 0), (0, out - x.shape[3])])


def _averaged(x, out):
    n, h, w, c = x.shape
    x = np.pad(x, [(0, 0), (0, h % 2), (0, w % 2), (0, 0)], mode="edge")
    x = x.reshape(n, (h + 1) // 2, 2, (w + 1) // 2, 2, c).mean(axis=(2, 4))
    return np.pad(x, [(0, 0), (0, 0), (0, 0), (0, out - c)])


around = Exercise(
    "around",
    "Write around(x, out): every second pixel of x (N, H, W, C), zeros in channels C … out.",
    solution=_around,
    cases=[
        (np.arange(1.0, 17.0).reshape(1, 4, 4, 1), 2),
        lambda rng: (rng.normal(size=(2, 7, 7, 3)), 6),
        lambda rng: (rng.normal(size=(2, 4, 6, 4)), 8),
    ],
    wrong=[
        (_averaged, "these are means of 2×2 pixels; shortcut A drops three of four."),
        (
            lambda x, out: np.pad(x[:, ::2, ::2], [(0, 0), (0, 0), (0, 0), (out - x.shape[3], 0)]),
            "the zeros stand before the channels: each channel would be added to another's.",
        ),
        (
            lambda x, out: np.tile(x[:, ::2, ::2], (1, 1, 1, -(-out // x.shape[3])))[..., :out],
            "the channels are repeated; the new ones get zeros.",
        ),
        (
            lambda x, out: np.pad(
                x[:, : (x.shape[1] + 1) // 2, : (x.shape[2] + 1) // 2],
                [(0, 0), (0, 0), (0, 0), (0, out - x.shape[3])],
            ),
            "this is a corner of the maps; take every second row and column.",
        ),
        (
            lambda x, out: np.pad(x, [(0, 0), (0, 0), (0, 0), (0, out - x.shape[3])]),
            "the side is not halved.",
        ),
        (
            lambda x, out: x[:, ::2, ::2],
            "the channels are as many as before; fill up to `out` with zeros.",
        ),
    ],
    hints=["x[:, ::2, ::2] takes every second row and column.", "np.pad pads the last axis too."],
    correct="nothing to learn, nothing to multiply.",
)


def _same_pads(side, size, stride):
    outputs = -(-side // stride)
    total = max((outputs - 1) * stride + size - side, 0)
    return np.array([total // 2, total - total // 2])


same_pads = Exercise(
    "same_pads",
    'Write same_pads(side, size, stride): what "same" pads before and after, as two numbers.',
    solution=_same_pads,
    cases=[
        (28, 3, 1),
        (28, 3, 2),
        (7, 3, 2),
        (224, 7, 2),
        (224, 11, 4),
        (28, 1, 2),
        (28, 4, 2),
    ],
    wrong=[
        (
            lambda side, size, stride: np.array([size // 2, size // 2]),
            "this is PyTorch's padding=size // 2: the same where the stride is 1, or the side odd.",
        ),
        (
            lambda side, size, stride: _same_pads(side, size, stride)[::-1].copy(),
            "the larger half goes after the image, not before it.",
        ),
        (
            lambda side, size, stride: _same_pads(side, size, 1),
            "the stride is missing: there are ⌈side / stride⌉ outputs.",
        ),
        (
            lambda side, size, stride: np.full(
                2, max((-(-side // stride) - 1) * stride + size - side, 0)
            ),
            "that is the padding in all, at each end.",
        ),
        (
            lambda side, size, stride: (
                np.array([0, 1]) * max((-(-side // stride) - 1) * stride + size - side, 0)
            ),
            "all of it is put after the image; half of it, rounded down, goes before.",
        ),
    ],
    hints=[
        "The last of ⌈side / stride⌉ windows ends at pixel (outputs − 1) · stride + size.",
        "What the side lacks of that is padded: half before, rounded down, the rest after.",
        "It cannot be negative: a 1×1 window with a stride of 2 needs no padding.",
    ],
    correct="on even sides a stride of 2 pads 0 and 1, where PyTorch pads 1 and 1.",
)


def _fold(kernel, gamma, beta, mean, variance, epsilon):
    scale = gamma / np.sqrt(variance + epsilon)
    return np.vstack([kernel * scale, beta - mean * scale])


fold = Exercise(
    "fold",
    "Write fold(kernel, gamma, beta, mean, variance, epsilon): (in + 1, out), bias last.",
    solution=_fold,
    cases=[
        (np.eye(2), *np.array([[2.0, 1.0], [0.5, -1.0], [1.0, 2.0], [3.0, 0.0]]), 1.0),
        lambda rng: (
            rng.normal(size=(4, 4)),
            *rng.normal(size=(3, 4)),
            rng.random(4),
            0.1,
        ),
        lambda rng: (
            rng.normal(size=(2, 5)),
            *rng.normal(size=(3, 5)),
            rng.random(5),
            0.1,
        ),
    ],
    wrong=[
        (
            lambda k, g, b, m, v, e: np.vstack(
                [k * g / np.sqrt(v + 1e-12), b - m * g / np.sqrt(v + 1e-12)]
            ),
            "ε is missing under the root.",
        ),
        (
            lambda k, g, b, m, v, e: np.vstack([k * g / (v + e), b - m * g / (v + e)]),
            "a norm divides by the standard deviation, the root of the variance.",
        ),
        (
            lambda k, g, b, m, v, e: np.vstack(
                [k * g / (np.sqrt(v) + e), b - m * g / (np.sqrt(v) + e)]
            ),
            "ε is added to the variance, under the root, not to the standard deviation.",
        ),
        (
            lambda k, g, b, m, v, e: np.vstack([k * g / np.sqrt(v + e), b]),
            "the mean is missing: β − mean · scale remains as the bias.",
        ),
        (
            lambda k, g, b, m, v, e: np.vstack([k * g / np.sqrt(v + e), b - m]),
            "the mean is scaled like everything else before β is added.",
        ),
        (
            lambda k, g, b, m, v, e: np.vstack(
                [k * g / np.sqrt(v + e), b + m * g / np.sqrt(v + e)]
            ),
            "the mean is subtracted.",
        ),
        (
            lambda k, g, b, m, v, e: np.vstack([k / np.sqrt(v + e), b - m / np.sqrt(v + e)]),
            "γ is missing.",
        ),
    ],
    hints=[
        "y = γ (x W − mean) / √(variance + ε) + β. Sort it into x times something, and the rest.",
        "scale = γ / √(variance + ε) multiplies columns; the bias is β − mean · scale.",
    ],
    correct="one layer fewer, the same answers.",
)

other_data = OwnDataExercise("other_data")
