"""Exercises of 07_dcgan: which loss pulls, batch normalisation, packing, counting modes."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, OwnDataExercise

pull = ChoiceExercise(
    "pull",
    "D is sure that a sample is made: D(G(z)) = 0.001. Which loss moves the generator, and why?",
    options={
        "a": "the minimax loss log(1 − D): it is far from its least value",
        "b": "the non-saturating loss −log D: its slope with respect to the logit is 1 − D",
        "c": "both alike: they have the same best generator",
        "d": "neither: a discriminator that is sure passes on no gradient at all",
    },
    answer="b",
    why={
        "a": "how far a loss is from its least value does not move anything; its slope does, and "
        "with respect to the logit that is D, a thousandth here.",
        "b": "0.999 against 0.001: a thousand times the pull of the other loss.",
        "c": "the same aim, but not the same way there: compare the slopes 1 − D and D.",
        "d": "that is true of one of the two losses only: look at the right panel of part 1.",
    },
    hints=["Slopes move weights, values do not.", "Look at the grey region in part 1's picture."],
)


def _batch_norm(x, gamma, beta, epsilon):
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def _normalised(x, axis, epsilon, ddof=0):
    mean = x.mean(axis=axis, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axis=axis, keepdims=True, ddof=ddof) + epsilon)


batch_norm = Exercise(
    "batch_norm",
    "Write batch_norm(x, gamma, beta, epsilon) for x (B, H, W, C) in training mode.",
    solution=_batch_norm,
    cases=[
        (np.arange(8.0).reshape(2, 2, 1, 2) ** 2, np.array([1.0, 2.0]), np.array([0.0, 3.0]), 0.1),
        lambda rng: (rng.normal(2, 3, (3, 2, 4, 2)), rng.normal(size=2), rng.normal(size=2), 0.5),
    ],
    wrong=[
        (
            lambda x, g, b, e: g * _normalised(x, 0, e) + b,
            "each pixel has statistics of its own; a channel shares them over all pixels too.",
        ),
        (
            lambda x, g, b, e: g * _normalised(x, (1, 2), e) + b,
            "each image has statistics of its own (that is instance normalisation); take them over "
            "the whole batch.",
        ),
        (
            lambda x, g, b, e: g * _normalised(x, 3, e) + b,
            "you average over the channels; average over everything else, one number a channel.",
        ),
        (
            lambda x, g, b, e: g * _normalised(x, None, e) + b,
            "one mean for all channels; each needs its own.",
        ),
        (
            lambda x, g, b, e: g * _normalised(x, (0, 1, 2), e, 1) + b,
            "this divides by the unbiased variance; it is what is remembered, while the batch "
            "itself is divided by the plain one.",
        ),
        (
            lambda x, g, b, e: g * (x - x.mean((0, 1, 2))) / (np.sqrt(x.var((0, 1, 2))) + e) + b,
            "epsilon is added to the variance, under the root.",
        ),
        (
            lambda x, g, b, e: g * (x - x.mean((0, 1, 2))) / (x.var((0, 1, 2)) + e) + b,
            "this divides by the variance; divide by its root.",
        ),
        (
            lambda x, g, b, e: _normalised(x, (0, 1, 2), e),
            "the normalised values are right; scale them by gamma and shift them by beta.",
        ),
    ],
    hints=[
        "Mean and variance over the batch and all pixels: axis=(0, 1, 2).",
        "x.var(axis=(0, 1, 2)) is the plain variance.",
    ],
    correct="each channel at mean beta and standard deviation gamma, whatever came in.",
)


def _pack(images, m):
    b, h, w, c = images.shape
    packs = images.reshape(b // m, m, h, w, c)
    return packs.transpose(0, 2, 3, 1, 4).reshape(b // m, h, w, m * c)


def _channels_turned(images, m):
    b, h, w, c = images.shape
    packs = images.reshape(b // m, m, h, w, c)
    return packs.transpose(0, 2, 3, 4, 1).reshape(b // m, h, w, m * c)


def _far_apart(images, m):
    return np.concatenate(np.split(images, m), axis=3)


pack = Exercise(
    "pack",
    "Write pack(images, m): (B, H, W, C) → (B/m, H, W, m·C), m neighbours in each pack.",
    solution=_pack,
    cases=[
        (np.arange(16.0).reshape(4, 1, 2, 2), 2),
        lambda rng: (rng.normal(size=(6, 2, 3, 2)), 3),
    ],
    wrong=[
        (
            lambda images, m: images.reshape(
                len(images) // m, *images.shape[1:3], m * images.shape[3]
            ),
            "the shape is right, but reshape alone mixes up pixels and images; bring the axis of "
            "the pack next to the channels first.",
        ),
        (
            _channels_turned,
            "the channels are interleaved: keep those of the first image together, then those of "
            "the second.",
        ),
        (
            _far_apart,
            "these packs hold images from far apart in the batch; take neighbours (any choice "
            "would train, but the check wants one).",
        ),
        (
            lambda images, m: images.reshape(len(images) // m, m, *images.shape[1:]).mean(axis=1),
            "this averages the images of a pack; stack them, so that D can compare them.",
        ),
    ],
    hints=[
        "First reshape to (B/m, m, H, W, C): neighbours now share a pack.",
        "Then transpose to (B/m, H, W, m, C), and join the last two axes.",
    ],
    correct="the discriminator sees m images at once, and equal ones give themselves away.",
)


def _modes(labels, classes):
    shares = np.bincount(labels, minlength=classes) / len(labels)
    seen = shares[shares > 0]
    return len(seen), (seen * np.log(seen * classes)).sum()


def _backwards(labels, classes):
    shares = np.bincount(labels, minlength=classes) / len(labels) + 1e-12
    return int((shares > 1e-11).sum()), -np.log(shares * classes).mean()


def _shares(labels, classes):
    return np.bincount(labels, minlength=classes) / len(labels)


modes = Exercise(
    "modes",
    "Write modes(labels, classes): how many classes appear, and KL(their frequencies ‖ even).",
    solution=_modes,
    cases=[
        (np.array([0, 0, 1, 3]), 4),
        (np.array([2, 2, 2, 2, 2]), 3),
        lambda rng: (rng.integers(5, size=40), 8),
    ],
    wrong=[
        (
            lambda labels, n: (len(np.unique(labels)), np.nan),
            "a class that never appears adds 0 to the sum, though 0 · log 0 computes as NaN: leave "
            "such classes out.",
        ),
        (
            _backwards,
            "this is KL(even ‖ frequencies), which is infinite as soon as a class is missing.",
        ),
        (
            lambda labels, n: (
                len(np.unique(labels)),
                -sum(p * np.log(p) for p in _shares(labels, n) if p > 0),
            ),
            "this is the entropy; the KL from even frequencies is log(classes) minus that.",
        ),
        (
            lambda labels, n: (
                len(np.unique(labels)),
                sum(p * np.log2(p * n) for p in _shares(labels, n) if p > 0),
            ),
            "this is in bits; take the natural logarithm.",
        ),
        (
            lambda labels, n: (
                len(np.unique(labels)),
                sum(p * np.log(p * len(np.unique(labels))) for p in _shares(labels, n) if p > 0),
            ),
            "you compare with the classes that appear; compare with all of them.",
        ),
        (
            lambda labels, n: (n, _modes(labels, n)[1]),
            "the first number counts the classes that appear, not all that there are.",
        ),
    ],
    hints=[
        "np.bincount(labels, minlength=classes) counts the missing ones as well.",
        "KL(p ‖ q) = Σ p log(p / q), with q = 1 / classes; leave out the classes with p = 0.",
    ],
    correct="0 for even frequencies, log(classes) if a single class is left.",
)

other_data = OwnDataExercise("other_data")
