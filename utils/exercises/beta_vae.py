"""Exercises of 04_beta_vae: the objective, MIG, a vote, disentanglement, and a claim to judge."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise


def _capacity_loss(nll, kl, gamma, capacity):
    return nll.mean() + gamma * np.abs(kl.mean() - capacity)


capacity_loss = Exercise(
    "capacity_loss",
    "Write capacity_loss(nll, kl, gamma, capacity): Burgess et al.'s loss, one number.",
    solution=_capacity_loss,
    cases=[
        (np.array([10.0, 20.0]), np.array([1.0, 5.0]), 2.0, 0.0),
        (np.array([10.0, 20.0]), np.array([1.0, 5.0]), 2.0, 4.0),
        lambda rng: (rng.uniform(5, 9, 6), rng.uniform(0, 4, 6), 3.0, 1.5),
        lambda rng: (rng.uniform(5, 9, 6), rng.uniform(0, 4, 6), 3.0, 6.0),
    ],
    wrong=[
        (
            lambda nll, kl, g, c: nll.mean() + g * np.abs(kl - c).mean(),
            "each image is held to C by itself; only the *mean* KL shall be C, so that a rich "
            "image may cost more than a plain one.",
        ),
        (
            lambda nll, kl, g, c: nll.mean() + g * (kl.mean() - c),
            "without the absolute value, a KL below C is rewarded, and constants do not train: "
            "this has the gradient of a β-VAE.",
        ),
        (
            lambda nll, kl, g, c: nll.mean() + g * max(kl.mean() - c, 0.0),
            "below C nothing pushes the KL up here (that is called free bits); take the "
            "absolute value.",
        ),
        (
            lambda nll, kl, g, c: nll.mean() + g * (kl.mean() - c) ** 2,
            "this is the square of the difference; the loss has its absolute value.",
        ),
        (
            lambda nll, kl, g, c: nll.mean() + np.abs(g * kl.mean() - c),
            "γ multiplies the difference from C, not the KL alone.",
        ),
        (
            lambda nll, kl, g, c: nll.mean() + g * kl.mean(),
            "this is the β-VAE; the capacity is missing.",
        ),
        (
            lambda nll, kl, g, c: nll.sum() + g * np.abs(kl.sum() - c),
            "these are sums over the batch; both terms are means over images.",
        ),
    ],
    hints=[
        "The formula stands in part 1, under “A budget that grows”.",
        "Take the mean of kl first, then its distance from the capacity.",
    ],
    correct="with capacity 0 it is the β-VAE, and with γ = 1 besides, the VAE.",
)


def _gap(information, entropy):
    ordered = np.sort(information, axis=0)  # over the units, smallest first
    return ((ordered[-1] - ordered[-2]) / entropy).mean()


gap = Exercise(
    "gap",
    "Write gap(information, entropy): MIG from tables (units, K) and (K,).",
    solution=_gap,
    cases=[
        (np.array([[1.0, 0.2], [0.4, 2.0], [0.1, 0.5]]), np.array([1.0, 2.5])),
        lambda rng: (rng.uniform(0, 1, (4, 3)), rng.uniform(1, 2, 3)),
        lambda rng: (rng.uniform(0, 1, (6, 5)), rng.uniform(1, 3, 5)),
    ],
    wrong=[
        (
            lambda i, h: (np.sort(i, axis=0)[-1] - np.sort(i, axis=0)[-2]).mean(),
            "the gaps are in nats; divide each by its factor's entropy, so that all count alike.",
        ),
        (
            lambda i, h: (np.sort(i / h, axis=1)[:, -1] - np.sort(i / h, axis=1)[:, -2]).mean(),
            "you compare the factors of one unit; compare the units of one factor (axis 0).",
        ),
        (
            lambda i, h: (i.max(axis=0) / h).mean(),
            "this is the best unit alone: subtract the second best, or a factor that many units "
            "share looks disentangled.",
        ),
        (
            lambda i, h: ((i.max(axis=0) - i.min(axis=0)) / h).mean(),
            "you subtract the worst unit; the gap is to the second best.",
        ),
        (
            lambda i, h: ((i.max(axis=0) - i.mean(axis=0)) / h).mean(),
            "you subtract the mean over units; the gap is to the second best.",
        ),
        (
            lambda i, h: ((np.sort(i, 0)[-1] - np.sort(i, 0)[-2]) / h).sum(),
            "this is the sum over the factors; MIG is their mean.",
        ),
        (
            lambda i, h: (np.sort(i, 0)[-1] - np.sort(i, 0)[-2]).sum() / h.sum(),
            "one division for all weighs factors with many values more; divide each gap first.",
        ),
    ],
    hints=[
        "np.sort(information, axis=0) orders the units for each factor, smallest first.",
        "Best minus second best, divided by the entropy: one number a factor. Then the mean.",
    ],
    correct="the gap of each factor, as a share of what there is to tell.",
)


def _vote(codes, spread):
    return int(np.argmin((codes / spread).var(axis=0)))


def _codes(rng, *scales):
    return rng.normal(size=(64, len(scales))) * np.array(scales)


vote = Exercise(
    "vote",
    "Write vote(codes, spread): the unit (from 0) whose variance is smallest for its spread.",
    solution=_vote,
    cases=[
        (np.array([[3.0, 0.0, 9.0], [4.0, 0.2, 1.0]]), np.array([5.0, 0.1, 4.0])),
        (np.array([[30.0, 0.0, -5.0], [31.0, 0.5, 5.0]]), np.array([10.0, 1.0, 6.0])),
        lambda rng: (_codes(rng, 0.5, 0.01, 2.0, 1.0) + 7, np.array([9.0, 0.01, 2.0, 3.0])),
        lambda rng: (_codes(rng, 1.0, 0.3, 0.02, 0.9), np.array([1.0, 0.3, 0.02, 5.0])),
        lambda rng: (_codes(rng, 0.2, 1.0, 0.8), np.array([0.1, 3.0, 1.0])),
    ],
    wrong=[
        (
            lambda codes, spread: int(np.argmin(codes.var(axis=0))),
            "a unit that never varies much wins every vote: divide by the spread first.",
        ),
        (
            lambda codes, spread: int(np.argmax((codes / spread).var(axis=0))),
            "this is the unit that varies most; fixing a factor makes its unit stand still.",
        ),
        (
            lambda codes, spread: int(np.argmin(np.abs(codes / spread).mean(axis=0))),
            "this asks which unit is near zero; a fixed factor may hold its unit anywhere.",
        ),
        (
            lambda codes, spread: int(np.argmin(codes.var(axis=0) / spread)),
            "a variance is divided by a standard deviation: divide the codes, or square it.",
        ),
    ],
    hints=[
        "Divide the codes by the spread, then look at the variance of each column.",
        "np.argmin names the column with the smallest.",
    ],
    correct="the unit that stands still when the factor does.",
)


def _entropy(p, base):
    return -(p * np.log(p)).sum(axis=1) / np.log(base)


def _disentanglement(importances):
    shares = importances / importances.sum(axis=1, keepdims=True)  # of each unit, over the factors
    purity = 1 + (shares * np.log(shares)).sum(axis=1) / np.log(importances.shape[1])
    weight = importances.sum(axis=1) / importances.sum()
    return (weight * purity).sum()


def _unweighted(r):
    return (1 - _entropy(r / r.sum(1, keepdims=True), r.shape[1])).mean()


def _completeness(r):
    return (1 - _entropy((r / r.sum(0)).T, len(r))).mean()


def _natural(r):
    rho = r.sum(1) / r.sum()
    return (rho * (1 - _entropy(r / r.sum(1, keepdims=True), np.e))).sum()


def _wrong_base(r):
    rho = r.sum(1) / r.sum()
    return (rho * (1 - _entropy(r / r.sum(1, keepdims=True), len(r)))).sum()


def _entangled(r):
    return 1 - _disentanglement(r)


disentanglement = Exercise(
    "disentanglement",
    "Write disentanglement(importances): DCI's D from a table (units, K) of numbers above 0.",
    solution=_disentanglement,
    cases=[
        (np.array([[0.9, 0.1], [0.2, 0.6], [0.01, 0.01]]),),
        lambda rng: (rng.uniform(0.01, 1, (5, 3)),),
        lambda rng: (rng.uniform(0.01, 1, (10, 5)) ** 4 + 1e-3,),
    ],
    wrong=[
        (
            _unweighted,
            "every unit counts alike here, dead ones included; weigh each by its share of all "
            "importance.",
        ),
        (
            _completeness,
            "this is completeness: the entropy of a factor over the units. Disentanglement looks "
            "at a unit over the factors.",
        ),
        (
            _natural,
            "the logarithm is natural; to base K, the largest entropy is 1 and D stays within 0–1.",
        ),
        (_wrong_base, "the base is the number of units; it is the number of factors, K."),
        (_entangled, "this is the entropy, high where units are mixed; take one minus it."),
    ],
    hints=[
        "Make each row of the table add up to 1: that is P.",
        "A logarithm to base K is np.log(p) / np.log(K).",
        "Weigh the rows by importances.sum(axis=1) / importances.sum().",
    ],
    correct="1 where each unit serves one factor, 0 where all serve all alike.",
)

claim = ChoiceExercise(
    "claim",
    "The seed with the lowest loss is said to have found the true factors. What do you answer?",
    options={
        "a": "Right: the lowest loss is the best ELBO, and the best ELBO is the true model.",
        "b": "Right, if β was larger than 1: then the units are independent.",
        "c": "The loss cannot tell: a rotated code fits as well. It needs some labels, or an "
        "assumption that names the axes.",
        "d": "Wrong: ten seeds are too few; of a thousand, the lowest loss shows the factors.",
    },
    answer="c",
    why={
        "a": "a good likelihood fixes the distribution of images, not the axes of the code: rotate "
        "them, and the likelihood stays.",
        "b": "β presses on the whole KL and guarantees no independence; and independent units "
        "need not be the true factors (rotate a Gaussian).",
        "c": "that is the theorem of Locatello et al.: without inductive bias or supervision no "
        "objective on images alone can know.",
        "d": "more seeds do not help, because the loss does not see the difference.",
    },
    hints=[
        "What happens to the loss if code, encoder and decoder are all turned together?",
        "The second half of part 1 names the theorem.",
    ],
)
