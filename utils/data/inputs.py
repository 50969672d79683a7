"""From images to a classifier's inputs, as 10_alexnet builds them."""

from collections.abc import Callable

import numpy as np


def grey(images: np.ndarray) -> np.ndarray:
    """Bytes (N, 28, 28) as inputs (N, 28, 28, 1), float32: MNIST's mean is 33, its deviation 79."""
    return ((images.astype("float32") - 33) / 79)[..., None]


def crops(images: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Each image (N, side, side) shifted by up to `most` pixels, black where nothing is."""
    if not most:
        return images
    side, places = images.shape[1], 2 * most + 1
    padded = np.pad(images, [(0, 0), (most, most), (most, most)])
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    down, right = rng.integers(places, size=(2, len(images)))
    return views[np.arange(len(images)), down, right]


def in_parts(
    function: Callable[[np.ndarray], np.ndarray], images: np.ndarray, size: int = 500
) -> np.ndarray:
    """What `function` makes of images, a part at a time: so many need not fit into memory."""
    parts = (images[at : at + size] for at in range(0, len(images), size))
    return np.concatenate([function(part) for part in parts])
