"""How well a code takes the factors of its data apart: FactorVAE score, MIG and DCI.

All three compare a table of codes ``(N, units)`` with a table of factors ``(N, K)`` of whole
numbers. They say so differently, and papers define them with small differences that move the
numbers: what is meant here stands in each docstring. Codes are *means* of the posterior, as in
Locatello et al. (2019), never draws from it.
"""

import dataclasses

import numpy as np

from utils import CourseError

PRUNED = 0.05  # a unit whose mean varies less is left out of the FactorVAE score


def mutual_information(codes: np.ndarray, factors: np.ndarray, bins: int = 20) -> np.ndarray:
    """Mutual information of each unit with each factor, from a histogram, in nats.

    A unit's range over the table is cut into `bins` of equal width. The estimate is never
    negative and a little too large: by about (bins − 1)(values − 1) / 2N where there is none.

    Returns
    -------
    numpy.ndarray
        ``(units, K)``.
    """
    codes, factors = _tables(codes, factors)
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for unit, code in enumerate(codes.T):
        low, high = code.min(), code.max()
        place = np.zeros(len(code), np.int64)
        if high > low:
            place = np.minimum((bins * ((code - low) / (high - low))).astype(np.int64), bins - 1)
        for k, factor in enumerate(factors.T):
            values = int(factor.max()) + 1
            joint = np.bincount(place * values + factor, minlength=bins * values)
            joint = joint.reshape(bins, values) / len(code)
            apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
            seen = joint > 0
            found[unit, k] = (joint[seen] * np.log(joint[seen] / apart[seen])).sum()
    return np.maximum(found, 0)


def entropies(factors: np.ndarray) -> np.ndarray:
    """The entropy of each factor over the table ``(N, K)``, in nats: ``(K,)``."""
    shares = [np.bincount(factor) / len(factor) for factor in np.asarray(factors).T]
    return np.array([-(p[p > 0] * np.log(p[p > 0])).sum() for p in shares])


def mutual_information_gap(codes: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """MIG of Chen et al. (2018), with the estimate of Locatello et al. (2019).

    For each factor, the two units that tell most about it: how much more does the first tell
    than the second, as a share of the factor's entropy? MIG is the mean of these gaps over *all*
    factors, shape included; information is that of `mutual_information`, with 20 bins.
    """
    informed = np.sort(mutual_information(codes, factors, bins), axis=0)  # units × K
    if len(informed) < 2:
        raise CourseError("MIG compares two units: a code of one unit has no gap.")
    return float(((informed[-1] - informed[-2]) / entropies(factors)).mean())


def factor_vae_score(
    codes: np.ndarray,
    factors: np.ndarray,
    seed: int = 0,
    batch: int = 64,
    training: int = 10_000,
    testing: int = 5_000,
) -> float:
    """The score of Kim and Mnih (2018), with the numbers of Locatello et al. (2019).

    One vote: choose a factor, fix one of its values, draw `batch` codes that have it, and find
    the unit that varies least, measured by its variance over all the data. `training` votes say
    which factor each unit most often stands for; the score is the share of `testing` further
    votes that this table gets right. Units that vary by less than `PRUNED` take no part; if
    none is left the score is 0. Guessing alone gives 1/K.
    """
    codes, factors = _tables(codes, factors)
    spread = codes.var(axis=0)
    alive = spread >= PRUNED
    if not alive.any():
        return 0.0
    codes = codes[:, alive] / np.sqrt(spread[alive])
    rng = np.random.default_rng(seed)
    count = factors.shape[1]
    fixed = rng.integers(0, count, training + testing)  # the factor that each vote holds still
    chosen = np.zeros(len(fixed), np.int64)  # the unit that then varied least
    for k, factor in enumerate(factors.T):
        values = np.unique(factor)
        held = np.where(fixed == k, rng.choice(values, len(fixed)), -1)
        for value in values:
            votes, rows = np.flatnonzero(held == value), np.flatnonzero(factor == value)
            drawn = codes[rng.choice(rows, (len(votes), batch))]  # votes × batch × units
            chosen[votes] = drawn.var(axis=1).argmin(axis=1)
    table = np.zeros((codes.shape[1], count))
    np.add.at(table, (chosen[:training], fixed[:training]), 1)
    right = table.argmax(axis=1)[chosen[training:]] == fixed[training:]
    return float(right.mean())


@dataclasses.dataclass(frozen=True)
class DCI:
    """Three numbers between 0 and 1, and the importances ``(units, K)`` they come from."""

    disentanglement: float
    completeness: float
    informativeness: float
    importances: np.ndarray


def dci(
    codes: np.ndarray,
    factors: np.ndarray,
    seed: int = 0,
    training: int = 4_000,
    testing: int = 2_000,
    trees: int = 20,
) -> DCI:
    """Disentanglement, completeness, informativeness (Eastwood and Williams 2018).

    A random forest learns each factor from the code; a unit's importance for the factor is the
    impurity that its splits remove. *Disentanglement*: one minus the entropy of a unit's
    importances over the factors (logarithm to base K), averaged over units by their share of all
    importance. *Completeness*: the same of a factor's importances over the units, averaged over
    factors. *Informativeness*: the share of held-out factors that the forests name rightly (the
    paper reports an error of regression instead; Locatello et al. an accuracy, of boosted trees).
    """
    from sklearn.ensemble import RandomForestClassifier

    codes, factors = _tables(codes, factors)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(codes))
    train, test = order[:training], order[training : training + testing]
    if not len(test):
        raise CourseError(f"DCI needs more than {training:,} codes to keep some for its test.")
    columns, rights = [], []
    for factor in factors.T:
        forest = RandomForestClassifier(trees, max_features=None, random_state=seed, n_jobs=1)
        forest.fit(codes[train], factor[train])
        columns.append(forest.feature_importances_)
        rights.append(forest.score(codes[test], factor[test]))
    importances = np.stack(columns, axis=1)  # units × K
    share = importances.sum(axis=1) / importances.sum()
    return DCI(
        float((share * _purity(importances)).sum()),
        float(_purity(importances.T).mean()),
        float(np.mean(rights)),
        importances,
    )


def _purity(importances: np.ndarray) -> np.ndarray:
    """One minus the entropy of each row, in units of its largest possible value."""
    total = importances.sum(axis=1, keepdims=True)
    shares = np.divide(importances, total, out=np.zeros_like(importances), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return 1 + (shares * logs).sum(axis=1) / np.log(importances.shape[1])


def _tables(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or not len(codes):
        raise CourseError(
            f"Codes {codes.shape} and factors {factors.shape} must be tables with one row for "
            "each picture."
        )
    if factors.dtype.kind not in "iu" or factors.min() < 0:
        raise CourseError("Factors are whole numbers from 0: number the values of each factor.")
    if not np.isfinite(codes).all():
        raise CourseError("A code is NaN or infinite: the model has diverged.")
    return codes, factors
