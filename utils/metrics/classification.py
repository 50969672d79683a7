"""What a classifier's answers are worth: probabilities, an interval, who is taken for whom.

All of it is built in 10_alexnet.
"""

import math
from collections.abc import Sequence

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits (N, classes)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of `n`, in percent (Wilson 1927); it never passes 100.

    Parameters
    ----------
    hits, n
        How many of how many.
    z
        Half the interval's width in standard errors.
    """
    p = hits / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return 100 * (middle - half), 100 * (middle + half)


def confusion(labels: np.ndarray, answers: np.ndarray, names: Sequence[str]) -> str:
    """A table: a row for each label, in which the columns count what it was taken for."""
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, answers), 1)
    rows = ["label   taken for " + " … ".join((names[0], names[-1]))]
    for name, row in zip(names, counts, strict=True):
        rows.append(f"{name:>5} " + "".join(f"{'·' if not n else n:>6}" for n in row))
    return "\n".join(rows)
