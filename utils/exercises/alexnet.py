"""Exercises of 10_alexnet: its parameters, LRN, flattening, momentum; other data."""

import numpy as np

from utils.exercises import Exercise, NumberExercise, OwnDataExercise


def _count():
    convolutions = [  # window, inputs that a filter sees, filters
        (11 * 11, 3, 96),
        (5 * 5, 96 // 2, 256),  # two groups
        (3 * 3, 256, 384),
        (3 * 3, 384 // 2, 384),  # two groups
        (3 * 3, 384 // 2, 256),  # two groups
    ]
    dense = [(6 * 6 * 256, 4096), (4096, 4096), (4096, 1000)]
    total = sum((window * seen + 1) * filters for window, seen, filters in convolutions)
    return total + sum((n_in + 1) * n_out for n_in, n_out in dense)


_BIASES = 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + 1000
_DENSE = (6 * 6 * 256 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000

count = NumberExercise(
    "count",
    "How many parameters has the network of Krizhevsky et al. (2012)?",
    solution=_count,
    wrong=[
        (_count() - _BIASES, "these are the kernels; every filter and every unit has a bias too."),
        (
            62_378_344,
            "in the second, fourth and fifth convolution a filter sees half of the channels: those "
            "of its own graphics card.",
        ),
        (
            61_100_840,
            "this is the later, one-column version that libraries ship; take the table `PAPER`.",
        ),
        (_DENSE, "these are the dense layers; the five convolutions are missing."),
        (_count() - _DENSE, "these are the convolutions; the three dense layers are missing."),
        (60_000_000, "the paper rounds so; count them."),
    ],
    hints=[
        "A filter has size × size × channels / groups weights and one bias.",
        "The first dense layer reads 6×6×256 = 9,216 numbers.",
        "The convolutions: 34,944 + 307,456 + 885,120 + 663,936 + 442,624.",
    ],
    correct="60,965,224; and 58.6 million of them are dense.",
)


def _lrn(x, k, n, alpha, beta):
    around = np.zeros_like(x)
    for channel in range(x.shape[-1]):
        low, high = max(0, channel - n // 2), channel + n // 2 + 1
        around[..., channel] = (x[..., low:high] ** 2).sum(axis=-1)
    return x / (k + alpha * around) ** beta


def _lrn_of(x, k, window, alpha, beta, power=2):
    """The same with another window: a function of channels i and j says who is a neighbour."""
    i = np.arange(x.shape[-1])
    band = window(i[:, None], i[None, :]).astype(x.dtype)
    return x / (k + alpha * (np.abs(x) ** power) @ band) ** beta


def _near(n):
    return lambda i, j: np.abs(i - j) <= n // 2


lrn = Exercise(
    "lrn",
    "Write lrn(x, k, n, alpha, beta): local response normalisation over the last axis.",
    solution=_lrn,
    cases=[
        (np.array([[1.0, 2.0, 3.0, 4.0]]), 2.0, 3, 0.5, 0.75),
        (np.array([[[30.0, 0.0, 10.0, 5.0, 20.0, 40.0]]]), 2.0, 5, 1e-2, 0.75),
        lambda rng: (10 * rng.random((2, 3, 3, 8)), 1.0, 5, 0.02, 0.5),
    ],
    wrong=[
        (
            lambda x, k, n, alpha, beta: _lrn_of(x, k, _near(n), alpha / n, beta),
            "this is PyTorch's: it divides alpha by n. The paper does not.",
        ),
        (
            lambda x, k, n, alpha, beta: _lrn_of(x, k, _near(2 * n), alpha, beta),
            "n is the width of the window, not its reach: n // 2 channels on either side.",
        ),
        (
            lambda x, k, n, alpha, beta: _lrn_of(x, k, lambda i, j: i == i + 0 * j, alpha, beta),
            "this sums over all channels; only the n nearest count.",
        ),
        (
            lambda x, k, n, alpha, beta: _lrn_of(x, k, _near(n), alpha, beta, power=1),
            "the neighbours are squared before they are added.",
        ),
        (
            lambda x, k, n, alpha, beta: _lrn_of(x, k, _near(n), alpha, 1.0),
            "the exponent beta is missing.",
        ),
        (
            lambda x, k, n, alpha, beta: _lrn_of(x, 1.0, _near(n), alpha, beta),
            "you take 1, PyTorch's default, for k.",
        ),
        (
            lambda x, k, n, alpha, beta: x / (k + alpha * ((x**2) @ _band(x, n) - x**2)) ** beta,
            "the channel itself belongs to the window.",
        ),
    ],
    hints=[
        "For channel i the window is i − n // 2 … i + n // 2, cut off at the ends.",
        "Divide by (k + alpha × the sum of squares in the window) to the power of beta.",
    ],
    correct="the paper's formula, with α undivided and windows cut off at the ends.",
)


def _band(x, n):
    i = np.arange(x.shape[-1])
    return _near(n)(i[:, None], i[None, :]).astype(x.dtype)


def _rows(kernel, channels, height, width):
    maps = kernel.reshape(channels, height, width, -1)
    return maps.transpose(1, 2, 0, 3).reshape(kernel.shape)


rows = Exercise(
    "rows",
    "Write rows(kernel, channels, height, width): a dense kernel (C·H·W, units) for maps flattened "
    "channels first, made into the one for maps flattened channels last.",
    solution=_rows,
    cases=[
        (np.arange(8.0)[:, None], 2, 2, 2),
        (np.arange(24.0).reshape(12, 2), 3, 2, 2),
        lambda rng: (rng.normal(size=(24, 3)), 2, 3, 4),
    ],
    wrong=[
        (
            lambda kernel, c, h, w: kernel,
            "nothing has moved: the unit would read one pixel with another's weight.",
        ),
        (
            lambda kernel, c, h, w: (
                kernel.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
            ),
            "this goes the other way, from channels last to channels first.",
        ),
        (
            lambda kernel, c, h, w: (
                kernel.reshape(c, h, w, -1).transpose(2, 1, 0, 3).reshape(kernel.shape)
            ),
            "height and width have changed places as well: turned pictures.",
        ),
    ],
    hints=[
        "Give the rows their three axes back: reshape(channels, height, width, -1).",
        "Move the channels behind height and width, then flatten again.",
    ],
    correct="every weight meets its pixel again.",
)


def _descend(w, gradients, rates, decay):
    v = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        v = 0.9 * v - rate * (g + decay * w)
        w = w + v
    return w


def _outside(w, gradients, rates, decay):
    v = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        v = 0.9 * v + g + decay * w
        w = w - rate * v
    return w


def _decoupled(w, gradients, rates, decay):
    v = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        v = 0.9 * v - rate * g
        w = w + v - rate * decay * w
    return w


def _averaged(w, gradients, rates, decay):
    v = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        v = 0.9 * v - 0.1 * rate * (g + decay * w)
        w = w + v
    return w


def _plain(w, gradients, rates, decay):
    for g, rate in zip(gradients, rates, strict=True):
        w = w - rate * (g + decay * w)
    return w


descend = Exercise(
    "descend",
    "Write descend(w, gradients, rates, decay): the weight after the paper's steps, from v = 0.",
    solution=_descend,
    cases=[
        (np.array([1.0]), np.array([[0.5], [0.5], [0.5]]), np.array([0.1, 0.1, 0.1]), 0.1),
        (np.array([1.0, -2.0]), np.ones((4, 2)), np.array([0.1, 0.1, 0.01, 0.001]), 0.2),
        lambda rng: (rng.normal(size=3), rng.normal(size=(5, 3)), rng.random(5), 0.3),
    ],
    wrong=[
        (
            _outside,
            "right while the rate is constant: this is PyTorch's rule. In the paper's the rate "
            "stands inside the velocity, so old steps keep the rate that they were made with.",
        ),
        (
            _decoupled,
            "the decay goes around the momentum (as in AdamW); in the paper it is part of v.",
        ),
        (
            _averaged,
            "this averages the gradients (0.9 and 0.1); the paper adds them up.",
        ),
        (_plain, "there is no momentum in this."),
        (
            lambda w, gradients, rates, decay: _descend(w, gradients, rates, 0.0),
            "the weight decay is missing.",
        ),
        (
            lambda w, gradients, rates, decay: _descend(w, -np.asarray(gradients), rates, -decay),
            "this climbs: the sign is turned.",
        ),
    ],
    hints=[
        "v ← 0.9 v − decay · ε · w − ε · g, then w ← w + v.",
        "Use the old w in the decay, and each step's own rate.",
    ],
    correct="the paper's rule, also where the rate changes.",
)

other_data = OwnDataExercise("other_data")
