"""The course's own classifier of 28×28 grey digits: an independent judge of generated images.

A generator is measured by what a classifier makes of its samples: which digit each one is, how
sure that is, and (for the Fréchet distance of `utils.metrics`) where its 64 features lie. The
judge is frozen, and its forward pass is written in NumPy, so samples from PyTorch, TensorFlow and
Keras get the same marks on every machine, and judging needs no framework. It was trained once, on
MNIST's training set, by `utils.recipes.judge`; its checkpoint names it, so a distance measured
today can be compared with one measured next year, and only with the same judge's.

Every image gets one of the ten digits: the judge has never seen anything else. To it a picture of
uniform noise is an 8, with 99.6 %; a high probability alone is therefore no sign of quality.

Examples
--------
>>> from utils import data, judge
>>> digits = data.mnist("embedded")
>>> judge.load().features(digits.x_test[:3]).shape
(3, 64)
"""

import functools
from typing import Any

import numpy as np

from utils import CourseError, checkpoints, parity

NAME = "judge"
BATCH = 500  # images at a time: the unfolded convolutions then take about 80 MB
FEATURES = 64
LEAK = 0.1  # the slope of the features' ReLU below zero
TOLERANCE = 1e-3  # how far outside of 0…1 rounding may have put a pixel


class Judge:
    """A small convolutional network, as NumPy runs it; `load` returns the course's own.

    It reads 10,000 images in about 1.5 s on one core, and 99.47 % of MNIST's test digits rightly.

    28×28×1 → 5×5 convolution, ReLU → 24×24×16 → 2×2 maximum → 12×12×16 → 5×5 convolution, ReLU →
    8×8×32 → 2×2 maximum → 4×4×32 → 512 → dense, leaky ReLU → 64 features → dense → 10 logits.
    (Leaky, so that no feature dies in training: one that is always 0 would measure nothing.)

    Parameters
    ----------
    weights
        Neutral names to arrays, as `utils.parity` has them.
    info
        The checkpoint's sidecar.
    """

    def __init__(self, weights: parity.Weights, info: dict[str, Any]) -> None:
        self.weights = weights
        self.info = info

    @property
    def sha256(self) -> str:
        """The fingerprint of the weights: it names the judge wherever a result is kept."""
        return self.info["sha256"]

    def features(self, images: np.ndarray) -> np.ndarray:
        """The 64 numbers from which the judge reads a digit.

        Parameters
        ----------
        images
            ``(N, 28, 28)`` or ``(N, 784)``, white on black: uint8 0…255, or floats 0…1.

        Returns
        -------
        numpy.ndarray
            ``(N, 64)`` float32.

        Raises
        ------
        CourseError
            If these are no such images.
        """
        pixels = check(images)
        parts = [self._features(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
        return np.concatenate(parts)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Unnormalised log-probabilities ``(N, 10)`` float32; `images` as in `features`."""
        return self._dense("logits", self.features(images))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """P(digit | image) ``(N, 10)`` float32, rows sum to 1; `images` as in `features`."""
        logits = self.logits(images)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))  # no overflow
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The most probable digit of each image, ``(N,)`` int64; `images` as in `features`."""
        return self.logits(images).argmax(axis=1)

    def _features(self, x: np.ndarray) -> np.ndarray:
        x = _pool(self._convolve("conv1", x))  # 28×28×1 → 12×12×16
        x = _pool(self._convolve("conv2", x))  # 12×12×16 → 4×4×32
        x = self._dense("hidden", x.reshape(len(x), -1))  # 512 → 64
        return np.maximum(x, LEAK * x)

    def _convolve(self, name: str, x: np.ndarray) -> np.ndarray:
        """A convolution without padding, as one matrix product over all windows."""
        kernel = self.weights[f"{name}.kernel"]  # (5, 5, in, out)
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
        windows = windows.transpose(0, 1, 2, 4, 5, 3)  # (B, H, W, 5, 5, in)
        columns = windows.reshape(-1, kernel[..., 0].size)  # (B·H·W, 25·in): here it is copied
        flat = columns @ kernel.reshape(-1, kernel.shape[-1]) + self.weights[f"{name}.bias"]
        return flat.reshape(*windows.shape[:3], -1)

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.kernel"] + self.weights[f"{name}.bias"]


def _pool(x: np.ndarray) -> np.ndarray:
    """ReLU and the maximum of each 2×2 window; their order does not matter."""
    rows = np.maximum(x[:, ::2], x[:, 1::2])
    return np.maximum(np.maximum(rows[:, :, ::2], rows[:, :, 1::2]), 0)


@functools.cache
def load() -> Judge:
    """The course's judge, read from its checkpoint once.

    Raises
    ------
    CourseError
        If the checkpoint is missing or damaged.
    """
    checkpoint = checkpoints.load(NAME)
    return Judge(checkpoint.weights, checkpoint.info)


def check(images: np.ndarray) -> np.ndarray:
    """`images` as the judge computes with them: ``(N, 28, 28, 1)`` float32, 0…1.

    Raises
    ------
    CourseError
        If shape, type or range are none that the judge was trained for.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise CourseError(
            f"The judge reads uint8 pixels 0…255 or floats 0…1, not {images.dtype}: convert with "
            "`images.astype(np.uint8)` or `images.astype(np.float32)`."
        )
    if images.shape[1:] not in ((28, 28), (784,)):
        raise CourseError(
            f"The judge reads images (N, 28, 28) or (N, 784), not {images.shape}: reshape them, "
            "and put a single image into a batch with `image[None]`."
        )
    if not len(images):
        raise CourseError("There is no image to judge: pass at least one.")
    if images.dtype == np.uint8:
        pixels = images.astype(np.float32) / 255
    else:
        pixels = _unit_range(images.astype(np.float32))
    return pixels.reshape(-1, 28, 28, 1)


def _unit_range(pixels: np.ndarray) -> np.ndarray:
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(low + high):  # NaN survives minimum and maximum
        raise CourseError("Some pixels are NaN or infinite: the generator has diverged.")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        if low < -TOLERANCE and low >= -1 - TOLERANCE and high <= 1 + TOLERANCE:
            remedy = "a generator that ends in tanh gives −1…1: pass `(images + 1) / 2`"
        elif low < -TOLERANCE:
            remedy = "these look like logits or standardised pixels: undo that first"
        else:
            remedy = "divide by 255 if they are grey levels"
        raise CourseError(f"Pixels as floats lie in 0…1, not in {low:.3g}…{high:.3g}: {remedy}.")
    return pixels
