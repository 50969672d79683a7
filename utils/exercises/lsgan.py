"""Exercises of 08_lsgan: labels, the loss, a sigmoid left in, the best discriminator, modes."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise

labels = ChoiceExercise(
    "labels",
    "With the best discriminator, which labels (a made, b real, c wanted) make the generator's "
    "loss, completed as in part 1, exactly Pearson's χ² divergence of p + q and 2q?",
    options={
        "a": "a = 0, b = 1, c = 1: the most common ones",
        "b": "a = −1, b = 1, c = 0",
        "c": "a = −1, b = 1, c = 1",
        "d": "any labels with a < b",
    },
    answer="b",
    why={
        "a": "b − c is 0 and b − a is 1; what it minimises is a quarter of that divergence and a "
        "half, as part 1 computes.",
        "b": "b − c = 1 and b − a = 2.",
        "c": "b − a is 2, but b − c is 0: the condition has two halves.",
        "d": "the condition fixes b − c and b − a; only a shift of all three labels is free.",
    },
    hints=["The condition is b − c = 1 and b − a = 2.", "Compute both differences for each."],
)


def _assess(real, fake, a, b):
    return ((real - b) ** 2).mean() / 2 + ((fake - a) ** 2).mean() / 2


def _sigmoid(s):
    return 1 / (1 + np.exp(-s))


assess = Exercise(
    "assess",
    "Write assess(real, fake, a, b): what the discriminator pays, from its scores and the labels.",
    solution=_assess,
    cases=[
        (np.array([0.5, 1.5]), np.array([-0.5, 0.25]), 0.0, 1.0),
        (np.array([2.0, -1.0, 0.3]), np.array([1.0, -3.0, 0.5]), -1.0, 1.0),
        lambda rng: (rng.normal(size=7), rng.normal(size=7), -0.5, 2.0),
    ],
    wrong=[
        (
            lambda real, fake, a, b: _assess(_sigmoid(real), _sigmoid(fake), a, b),
            "there is a sigmoid on the scores: the discriminator's output is linear.",
        ),
        (
            lambda real, fake, a, b: _assess(real, fake, b, a),
            "the labels have changed places: a is for made images, b for real ones.",
        ),
        (
            lambda real, fake, a, b: 2 * _assess(real, fake, a, b),
            "twice too much: the paper has a ½ before each mean.",
        ),
        (
            lambda real, fake, a, b: _assess(real, fake, a, b) / 2,
            "half of it: a ½ before each mean, and the two are added, not averaged.",
        ),
        (
            lambda real, fake, a, b: ((real - b) ** 2).sum() / 2 + ((fake - a) ** 2).sum() / 2,
            "this is a sum over the batch; take the mean, or the loss grows with the batch.",
        ),
        (
            lambda real, fake, a, b: (real.mean() - b) ** 2 / 2 + (fake.mean() - a) ** 2 / 2,
            "this squares the mean; take the mean of the squares, or scores of 0 and 2 pass for 1.",
        ),
        (
            lambda real, fake, a, b: ((real - b) ** 2).mean() / 2,
            "this is the half for real images; the made ones have a label as well.",
        ),
        (
            lambda real, fake, a, b: np.abs(real - b).mean() / 2 + np.abs(fake - a).mean() / 2,
            "these are absolute distances; square them.",
        ),
    ],
    hints=[
        "Real scores should be b, made ones a; each pays half its mean squared distance.",
        "((real - b) ** 2).mean() / 2 is the first half.",
    ],
    correct="no logarithm, no sigmoid, and no overflow for any score.",
)


def _slope(s):
    d = 1 / (1 + np.exp(-np.clip(s, -700, 700)))
    return (d - 1) * d * (1 - d)


slope = Exercise(
    "slope",
    "Write slope(s): the derivative of ½(σ(s) − 1)² by the score s.",
    solution=_slope,
    cases=[
        (np.array([0.0, 1.0, -1.0]),),
        (np.array([-6.0, 6.0]),),
        lambda rng: (rng.normal(0, 3, size=9),),
    ],
    wrong=[
        (
            lambda s: _sigmoid(s) - 1,
            "this is the derivative by σ(s); the chain rule adds σ'(s) = σ(s)(1 − σ(s)).",
        ),
        (
            lambda s: s - 1,
            "this is the slope without a sigmoid, that of the real least-squares loss.",
        ),
        (
            lambda s: -_slope(s),
            "the sign is turned: a higher score makes this loss smaller.",
        ),
        (
            lambda s: 2 * _slope(s),
            "twice too much: the ½ cancels the 2 of the square.",
        ),
        (
            lambda s: _sigmoid(s) * (1 - _sigmoid(s)),
            "this is σ'(s) alone; the square's own derivative, σ(s) − 1, belongs before it.",
        ),
    ],
    hints=[
        "Chain rule: the square first, then the sigmoid.",
        "d/ds σ(s) = σ(s)(1 − σ(s)).",
        "(σ(s) − 1) · σ(s) · (1 − σ(s)).",
    ],
    correct="near 0 on both sides: at s = −6 and at s = 6 nothing pulls any more.",
)


def _best(p, q, a, b):
    return (b * p + a * q) / (p + q)


best = Exercise(
    "best",
    "Write best(p, q, a, b): the score that minimises the discriminator's loss where the data have "
    "density p and the generator q.",
    solution=_best,
    cases=[
        (np.array([0.5, 0.1, 0.0]), np.array([0.5, 0.3, 0.2]), 0.0, 1.0),
        (np.array([0.2, 0.9]), np.array([0.6, 0.3]), -1.0, 1.0),
        lambda rng: (rng.random(6) + 0.1, rng.random(6) + 0.1, -0.5, 2.0),
    ],
    wrong=[
        (
            lambda p, q, a, b: p / (p + q),
            "this is the cross-entropy's D*, which is right only for the labels 0 and 1.",
        ),
        (
            lambda p, q, a, b: (a * p + b * q) / (p + q),
            "the labels have changed places: where only data are, the answer is b.",
        ),
        (
            lambda p, q, a, b: b * p + a * q,
            "divide by p + q: it is a mean of the labels, weighted by the densities.",
        ),
        (
            lambda p, q, a, b: np.where(p > q, b, a).astype(float),
            "this decides; squared distances want the mean of the labels that occur at a place.",
        ),
        (
            lambda p, q, a, b: np.full(np.shape(p), (a + b) / 2),
            "halfway everywhere is right only where p = q.",
        ),
    ],
    hints=[
        "At one place the loss is ½ p (D − b)² + ½ q (D − a)². Differentiate by D.",
        "p (D − b) + q (D − a) = 0.",
    ],
    correct="b among the data, a among the samples, the middle where nobody can tell.",
)


def _distances(samples, centres):
    return np.linalg.norm(samples[:, None] - centres[None], axis=2)  # N×M


def _count_modes(samples, centres, std):
    distances = np.linalg.norm(samples[:, None] - centres[None], axis=2)  # N×M
    good = distances.min(axis=1) <= 3 * std
    return len(np.unique(distances.argmin(axis=1)[good]))


_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
_NEAR = np.array([[0.1, 0.1], [0.05, 0.0], [1.2, 0.1], [0.5, 0.5], [0.0, 0.72]])


def _ring_case(rng):
    return rng.normal(0, 1, (30, 2)), rng.normal(0, 2, (6, 2)), 0.2


count_modes = Exercise(
    "count_modes",
    "Write count_modes(samples, centres, std): how many centres have a sample of good quality.",
    solution=_count_modes,
    cases=[
        (_NEAR, _SQUARE, 0.1),
        (_NEAR, _SQUARE, 0.05),
        (np.array([[0.45, 0.0], [0.44, 0.1]]), _SQUARE, 0.25),
        _ring_case,
    ],
    wrong=[
        (
            lambda s, c, std: len(np.unique(_distances(s, c).argmin(axis=1))),
            "a sample far from everything counts here for its nearest centre; it must lie within "
            "three standard deviations.",
        ),
        (
            lambda s, c, std: int((_distances(s, c).min(axis=1) <= 3 * std).sum()),
            "this counts samples; count the centres they belong to.",
        ),
        (
            lambda s, c, std: int((_distances(s, c).min(axis=0) <= 3 * std).sum()),
            "one sample counts here for every centre within reach; only the nearest has it.",
        ),
        (
            lambda s, c, std: _count_modes(s, c, std / 3),
            "within one standard deviation; the papers allow three.",
        ),
        (
            lambda s, c, std: len(
                np.unique(
                    _distances(s, c).argmin(axis=1)[_distances(s, c).min(axis=1) ** 2 <= 3 * std]
                )
            ),
            "a squared distance is compared with a plain one; take the root.",
        ),
    ],
    hints=[
        "Which centre is nearest to each sample, and how far is it?",
        "Keep the samples within 3 · std, and count the different centres among theirs.",
    ],
    correct="one good sample is enough, as in the papers; so more samples find more modes.",
)
