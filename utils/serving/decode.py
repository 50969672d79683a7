"""Bytes from a stranger to arrays: nothing unpickled, nothing unpacked before it is measured."""

import functools
import io
import math
import warnings

import numpy as np
from PIL import Image

from utils.serving.engines import Tensor
from utils.serving.problems import Problem

KINDS = {"image/png": "PNG", "image/jpeg": "JPEG"}
NPY = "application/x-npy"


def image(data: bytes, kind: str, pixels: int) -> Image.Image:
    """Open a picture of the kind its content type promises, if it is not too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is lower
            found = Image.open(io.BytesIO(data), formats=(kind,))  # reads the header only
            width, height = found.size
            if width * height > pixels:
                raise Problem(
                    413,
                    f"{width}×{height} pixels are more than {pixels:,}: scale the picture down.",
                    "body",
                )
            found.load()  # now it is unpacked
            return found
    except (Image.DecompressionBombError, MemoryError):
        raise Problem(413, f"The picture has over {pixels:,} pixels: scale it down.") from None
    except (OSError, ValueError, SyntaxError, TypeError, IndexError, OverflowError, EOFError) as e:
        raise Problem(
            422, f"This is no complete {kind} picture ({type(e).__name__}): send one.", "body"
        ) from None


def grey(picture: Image.Image, side: int) -> np.ndarray:
    """A picture as (1, side, side), 0…255; what is transparent counts as black."""
    clear = picture.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", clear.size, "black"), clear).convert("L")
    if flat.size != (side, side):
        flat = flat.resize((side, side), Image.Resampling.BOX)
    return np.asarray(flat, "float32")[None]


def colour(picture: Image.Image) -> np.ndarray:
    """A picture as (1, H, W, 3), 0…255."""
    return np.asarray(picture.convert("RGB"), "float32")[None]


def npy(data: bytes) -> np.ndarray:
    """An array in NumPy's format; its header must promise exactly the bytes that follow."""
    try:
        at = data.index(b"\n", 12, 1000) + 1
        shape, by_columns, dtype = _header(data[:at])
        if math.prod(shape) * dtype.itemsize != len(data) - at:
            raise ValueError("its length is not what its header says")
        flat = np.frombuffer(data, dtype, offset=at)
        return flat.reshape(shape, order="F" if by_columns else "C")
    except Exception as e:  # the header is a Python literal: it can be wrong in any manner
        raise Problem(
            422, f"This is no array of numbers ({str(e)[:80]}): np.save(file, array).", "body"
        ) from None


@functools.lru_cache(64)  # reading it is slow, and clients send the same one again and again
def _header(start: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    stream, form = io.BytesIO(start), np.lib.format
    version = form.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version}")
    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise ValueError(f"dtype {dtype}")
    if min(shape, default=0) < 0 or stream.read():
        raise ValueError("its header is not what it says")
    return shape, by_columns, dtype


def check(array: np.ndarray, tensor: Tensor, items: int, field: str) -> np.ndarray:
    """The array as float32 (N, …), if it is what the model takes; every refusal names a remedy."""
    wanted = tensor.shape
    if array.ndim == len(wanted) - 1:
        array = array[None]  # one by itself
    if array.ndim != len(wanted) or any(
        w != -1 and w != n for w, n in zip(wanted[1:], array.shape[1:], strict=False)
    ):
        shape, ours = (
            "×".join(map(str, array.shape)),
            "×".join("?" if w < 0 else str(w) for w in wanted),
        )
        raise Problem(422, f"{tensor.name} of shape {shape}: send {ours}.", field)
    if not 1 <= len(array) <= items:
        raise Problem(422, f"{len(array)} of them: send from 1 to {items} at a time.", field)
    if 0 in array.shape:
        raise Problem(422, "An empty array: each side must have at least 1.", field)
    with np.errstate(over="ignore"):
        array = array.astype("float32")
    low, high = array.min(), array.max()  # a NaN anywhere makes both NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        # After the cast: 1e39 is finite in 64 bits, and not in 32.
        raise Problem(422, "NaN or infinity as float32: send finite numbers.", field)
    if low < tensor.low or high > tensor.high:
        raise Problem(
            422, f"Numbers must be from {tensor.low:g} to {tensor.high:g}: scale them.", field
        )
    return np.ascontiguousarray(array)
