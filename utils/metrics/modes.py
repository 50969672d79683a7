"""Counting modes: which of the data's modes a generator shows, and how evenly.

==============  ======  =====================  ==================================================
metric          better  at best                it is blind to
==============  ======  =====================  ==================================================
`ring_modes`    higher  all of them, and 1     how evenly samples are spread over the modes
`stacked_modes` higher  `expected_modes`       how good pictures are: each gets a class
its KL          lower   that of real pictures  the same
==============  ======  =====================  ==================================================

A mode counts as found when a single sample falls into it, as in the papers. So the number of modes
depends on how many samples are looked at: compare only equally many.
"""

import math
from typing import NamedTuple

import numpy as np

from utils import CourseError, judge
from utils.metrics.samples import pair

CLASSES = 1000  # of three stacked digits
SAMPLES = 26_000  # how many the papers look at: Srivastava et al. (2017), Lin et al. (2018)
WITHIN = 3  # standard deviations: nearer samples are of high quality


class RingModes(NamedTuple):
    """How many modes have a sample of high quality, and the share of such samples, 0…1."""

    modes: int
    quality: float


class StackedModes(NamedTuple):
    """How many classes appear, and KL(samples' classes ‖ the data's) in nats."""

    modes: int
    kl: float


def ring_modes(samples: np.ndarray, centres: np.ndarray, std: float) -> RingModes:
    """Modes found and high-quality samples of a mixture of Gaussians (`utils.data.ring`).

    A sample is of high quality if it lies within three standard deviations of the nearest centre;
    a mode is found if it is the nearest to at least one such sample: Srivastava et al. (2017) and
    Lin et al. (2018). In two dimensions a share of 1 − e^(−9/2) = 0.989 of *real* points lies so
    near: that is the best there is.

    Parameters
    ----------
    samples
        Points ``(N, 2)``, floats.
    centres
        Where the Gaussians are, ``(M, 2)``: `utils.data.ring_centres`.
    std
        Their standard deviation.

    Raises
    ------
    CourseError
        If the points are no such arrays, or not finite, or `std` is not above 0.
    """
    samples, centres = pair(samples, centres)
    if not 0 < std < math.inf:
        raise CourseError(f"The standard deviation must be above 0, not {std!r}.")
    distances = np.linalg.norm(samples[:, None] - centres, axis=2)  # (N, M)
    near = distances.min(axis=1) <= WITHIN * std
    return RingModes(len(np.unique(distances.argmin(axis=1)[near])), float(near.mean()))


def stacked_labels(images: np.ndarray) -> np.ndarray:
    """What the course's judge reads in each picture of three stacked digits: ``(N,)``, 0…999.

    It reads each channel on its own, about 3,000 pictures in 1.5 s on one core. It has no answer
    but the ten digits: noise counts as a digit too, so look at the pictures as well.

    Parameters
    ----------
    images
        ``(N, 28, 28, 3)``, uint8 or floats 0…1.

    Raises
    ------
    CourseError
        If they are no such pictures.
    """
    images = np.asarray(images)
    if images.shape[1:] != (28, 28, 3) or not len(images):
        raise CourseError(f"Stacked digits have the shape (N, 28, 28, 3), not {images.shape}.")
    read = judge.load().predict
    red, green, blue = (read(images[..., channel]) for channel in range(3))
    return 100 * red + 10 * green + blue


def modes_of(
    labels: np.ndarray, classes: int = CLASSES, shares: np.ndarray | None = None
) -> StackedModes:
    """How many classes appear among `labels`, and how far their frequencies are from the data's.

    Parameters
    ----------
    labels
        Class numbers ``(N,)``, 0 to ``classes - 1``.
    classes
        How many classes there are.
    shares
        The data's share of each class, ``(classes,)``; all equal if left out. KL in this
        direction, samples from data, is Lin et al.'s (2018): a missing class costs nothing by
        itself, but those that took its place do.

    Raises
    ------
    CourseError
        If the labels are no class numbers, or a class that the data lack appears.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise CourseError(f"Expected class numbers (N,), not {labels.dtype} {labels.shape}.")
    if labels.min() < 0 or labels.max() >= classes:
        raise CourseError(f"Class numbers run from 0 to {classes - 1}, not to {labels.max()}.")
    found = np.bincount(labels, minlength=classes) / len(labels)
    data = np.full(classes, 1 / classes) if shares is None else np.asarray(shares, np.float64)
    if data.shape != (classes,) or (data < 0).any() or not math.isclose(data.sum(), 1):
        raise CourseError(f"`shares` must be {classes} numbers of 0 or more that add up to 1.")
    seen = found > 0
    if (data[seen] == 0).any():
        raise CourseError("A class that the data lack appears: its KL would be infinite.")
    kl = float((found[seen] * np.log(found[seen] / data[seen])).sum())
    return StackedModes(int(seen.sum()), max(0.0, kl))


def stacked_modes(images: np.ndarray, shares: np.ndarray | None = None) -> StackedModes:
    """Classes of stacked digits that appear, and their KL: `stacked_labels` and `modes_of`.

    The papers look at 26,000 samples. Fewer find fewer modes even of real pictures, and a larger
    KL: show what real pictures get beside it, or `expected_modes`.

    Parameters
    ----------
    images
        ``(N, 28, 28, 3)``, uint8 or floats 0…1.
    shares
        As for `modes_of`.
    """
    return modes_of(stacked_labels(images), CLASSES, shares)


def expected_modes(n: int, classes: int = CLASSES) -> float:
    """How many of equally likely classes `n` draws show on average: M (1 − (1 − 1/M)ⁿ)."""
    if n < 0 or classes < 1:
        raise CourseError(f"Expected n ≥ 0 draws of at least one class, not {n} of {classes}.")
    return classes * (1 - (1 - 1 / classes) ** n)
