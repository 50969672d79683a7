"""How alike two pictures are to an eye: structural similarity at several scales (MS-SSIM).

Odena et al. (2017) measure with it how much the samples of one class differ: the mean over random
pairs of one class, which is high where the generator keeps drawing the same picture. It is to be
read beside the same mean of *real* pairs.
"""

import functools

import numpy as np

from utils import CourseError

SCALES = (0.0448, 0.2856, 0.3001)  # Wang et al.'s weights of the three finest of their five
WINDOW, SPREAD = 7, 1.5  # of the Gaussian window in pixels; theirs is 11 wide
SMALLEST = (WINDOW * 2 ** (len(SCALES) - 1)) - 1  # 27: below, the coarsest has no window


def ms_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multi-scale structural similarity of pairs of pictures: 1 only where they are equal.

    At each scale windows are compared in contrast and structure, at the coarsest in brightness as
    well, and the means over windows are multiplied, each raised to its weight (Wang, Simoncelli and
    Bovik 2003, eq. 7). Between scales, 2×2 pixels become their mean. Theirs are five scales and
    windows of 11 pixels, for which a picture needs 176: here there are **three scales and windows
    of 7**, so that 28 pixels suffice, and values are comparable only with others from here. A mean
    that comes out below zero (structures that oppose each other) counts as zero.

    Parameters
    ----------
    a, b
        Pictures ``(N, H, W)``, floats 0…1; ``a[i]`` is compared with ``b[i]``.

    Returns
    -------
    numpy.ndarray
        ``(N,)`` float64, 0…1.

    Raises
    ------
    CourseError
        If these are no such pictures, or smaller than 27 pixels.
    """
    a, b = _pictures(a), _pictures(b)
    if a.shape != b.shape:
        raise CourseError(f"Pairs need equal shapes, not {a.shape} and {b.shape}.")
    weights = np.array(SCALES) / sum(SCALES)
    product = np.ones(len(a))
    for scale, weight in enumerate(weights):
        if scale:
            a, b = _halved(a), _halved(b)
        brightness, rest = _similarity(a, b)
        compared = brightness * rest if scale == len(weights) - 1 else rest
        product *= np.maximum(compared.mean(axis=(1, 2)), 0) ** weight
    return product


def class_similarity(
    images: np.ndarray, labels: np.ndarray, pairs: int = 100, seed: int = 0
) -> np.ndarray:
    """The mean MS-SSIM of random pairs within each class: how alike a class's pictures are.

    Odena et al.'s measure: 100 pairs a class. The pictures of a pair are two different ones.

    Parameters
    ----------
    images
        ``(N, H, W)``, floats 0…1.
    labels
        ``(N,)``, whole numbers.
    pairs
        How many in each class.
    seed
        Which pairs.

    Returns
    -------
    numpy.ndarray
        One number for each label that occurs, in order.

    Raises
    ------
    CourseError
        If a class has fewer than two pictures.
    """
    rng, found = np.random.default_rng(seed), []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise CourseError(f"Class {label} has one picture: a pair needs two.")
        first = rng.integers(len(members), size=pairs)
        second = (first + rng.integers(1, len(members), size=pairs)) % len(members)
        found.append(ms_ssim(images[members[first]], images[members[second]]).mean())
    return np.array(found)


def _pictures(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 3 or images.dtype.kind != "f":
        raise CourseError(
            f"MS-SSIM compares pictures (N, H, W), floats 0…1, not {images.dtype} {images.shape}."
        )
    if min(images.shape[1:]) < SMALLEST:
        raise CourseError(f"MS-SSIM needs pictures of {SMALLEST} pixels or more.")
    return images.astype(np.float64)


def _halved(images: np.ndarray) -> np.ndarray:
    """2×2 pixels become one; an odd row or column at the end is left out."""
    n, height, width = images.shape
    images = images[:, : height // 2 * 2, : width // 2 * 2]
    return images.reshape(n, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


@functools.cache
def _window() -> np.ndarray:
    x = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(x**2) / (2 * SPREAD**2))
    return weights / weights.sum()


def _blurred(images: np.ndarray) -> np.ndarray:
    """The weighted mean of every whole window: (N, H, W) → (N, H − 6, W − 6)."""
    for axis in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(images, WINDOW, axis=axis)
        images = windows @ _window()
    return images


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every window: how alike in brightness; how alike in contrast and structure."""
    c1, c2 = 0.01**2, 0.03**2  # keep black windows from dividing by zero
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a = _blurred(a * a) - mean_a**2
    variance_b = _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    brightness = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return brightness, (2 * covariance + c2) / (variance_a + variance_b + c2)
