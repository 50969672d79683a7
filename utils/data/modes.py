"""Data whose modes can be counted: Gaussians on a ring, and digits stacked to 1,000 classes.

A generator that has collapsed shows some modes and misses others. On most data nobody can say how
many there are; here everybody can (`utils.metrics` counts them).
"""

from typing import NamedTuple

import numpy as np

from utils import CourseError
from utils.data.dataset import generator, kind_of, whole_number

MODES, RADIUS, STD = 8, 2.0, 0.02  # the ring of Metz et al. (2017)
STACKED = 128_000  # pictures: the training set of Srivastava et al. (2017) and Lin et al. (2018)


class Stacked(NamedTuple):
    """Digits stacked as the three channels of a picture.

    Parameters
    ----------
    images
        ``(N, 28, 28, 3)`` uint8: red, green and blue are three digits on their own.
    labels
        ``(N,)`` int64, 0…999: the three digits read as a number, red first.
    """

    images: np.ndarray
    labels: np.ndarray


def ring_centres(modes: int = MODES, radius: float = RADIUS) -> np.ndarray:
    """The centres of `modes` Gaussians, spread evenly on a circle: ``(modes, 2)`` float32."""
    modes = whole_number("modes", modes)
    if not 0 < radius < np.inf:
        raise CourseError(f"The ring's radius must be above 0, not {radius!r}.")
    angles = 2 * np.pi * np.arange(modes) / modes
    return (radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def ring(
    n: int,
    rng: np.random.Generator,
    modes: int = MODES,
    radius: float = RADIUS,
    std: float = STD,
) -> np.ndarray:
    """Draw points from a mixture of Gaussians on a ring, each as likely as the others.

    Parameters
    ----------
    n
        How many points.
    rng
        A NumPy generator, such as ``np.random.default_rng(0)``.
    modes, radius, std
        How many Gaussians, how far from the middle, and how wide. The defaults are those of Metz
        et al. (2017); they are narrow, and a wider one is an easier task.

    Returns
    -------
    numpy.ndarray
        ``(n, 2)`` float32.

    Raises
    ------
    CourseError
        If a number makes no sense.
    """
    n, rng = whole_number("n", n), generator(rng)
    if not 0 <= std < np.inf:
        raise CourseError(f"The standard deviation must be 0 or more, not {std!r}.")
    centres = ring_centres(modes, radius)[rng.integers(modes, size=n)]
    return (centres + std * rng.standard_normal((n, 2))).astype(np.float32)


def stacked(images: np.ndarray, labels: np.ndarray, n: int = STACKED, seed: int = 0) -> Stacked:
    """Stack three digits drawn at random as the channels of one picture: stacked MNIST.

    Ten digits in three places are 1,000 classes, and a classifier of single digits can name them
    all. The data set comes from Metz et al. (2017) and Srivastava et al. (2017). It takes
    ``n × 2,352`` bytes: 301 MB for 128,000 pictures.

    Parameters
    ----------
    images, labels
        Digits ``(N, 28, 28)`` uint8 and what they are ``(N,)``, 0…9: those of a `Dataset`.
    n
        How many pictures to make.
    seed
        The same seed makes the same pictures of the same digits.

    Raises
    ------
    CourseError
        If `images` and `labels` are no such arrays.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 3:
        raise CourseError(f"Stacking needs uint8 digits (N, height, width), not {kind_of(images)}.")
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise CourseError(
            f"Stacking needs one whole-number label for each of the {len(images):,} digits, not "
            f"{kind_of(labels)}."
        )
    if not len(labels) or labels.min() < 0 or labels.max() > 9:
        raise CourseError("Stacking needs digits labelled 0 to 9, and at least one.")
    index = np.random.default_rng(seed).integers(len(images), size=(whole_number("n", n), 3))
    made = np.empty((len(index), *images.shape[1:], 3), np.uint8)
    for channel in range(3):
        made[..., channel] = images[index[:, channel]]
    return Stacked(made, labels[index].astype(np.int64) @ np.array([100, 10, 1]))
