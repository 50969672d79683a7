"""Pictures: grids of images, and figures that say in words what they show."""

import base64
import io
import math
from typing import TYPE_CHECKING

import numpy as np

from utils import CourseError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Three colours that also differ in lightness (Okabe and Ito), with three dashes for print.
STYLES = {
    "torch": {"color": "#D55E00", "linestyle": "-"},
    "tensorflow": {"color": "#0072B2", "linestyle": "--"},
    "keras": {"color": "#009E73", "linestyle": ":"},
}


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Bytes 0–255 from an image of any real type; floats are read as 0–1 and clipped."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    if image.dtype == bool or np.issubdtype(image.dtype, np.integer):
        image = image.astype(np.float32) / (1 if image.max(initial=0) <= 1 else 255)
    if not np.isfinite(image).all():
        raise CourseError("The picture holds NaN or infinite pixels: the model has diverged.")
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def grid(
    images: np.ndarray, columns: int | None = None, pad: int = 2, scale: int = 1
) -> np.ndarray:
    """Tile images into one picture, row by row.

    Parameters
    ----------
    images
        ``(N, H, W)`` or ``(N, H, W, 3)``; uint8, or floats in 0–1.
    columns
        Images in a row; by default about square.
    pad
        Pixels of mid-grey between tiles.
    scale
        Enlarge every pixel to ``scale × scale`` without smoothing.

    Returns
    -------
    numpy.ndarray
        ``(rows·(H+pad)+pad, columns·(W+pad)+pad[, 3])`` uint8, before enlarging.
    """
    images = to_uint8(images)
    if images.ndim not in (3, 4) or not len(images):
        raise CourseError(
            f"A grid needs images of shape (N, H, W) or (N, H, W, 3), not {images.shape}."
        )
    count, height, width, *channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    shape = (rows * (height + pad) + pad, columns * (width + pad) + pad, *channels)
    canvas = np.full(shape, 96, np.uint8)
    for i, image in enumerate(images):
        top = pad + (i // columns) * (height + pad)
        left = pad + (i % columns) * (width + pad)
        canvas[top : top + height, left : left + width] = image
    return canvas.repeat(scale, axis=0).repeat(scale, axis=1)


def to_png(image: np.ndarray) -> bytes:
    """PNG bytes of an ``(H, W)`` or ``(H, W, 3)`` image."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def figure(columns: int = 1, rows: int = 1, width: float = 7.0, height: float = 3.0) -> tuple:
    """A matplotlib figure and its axes, made without pyplot so that threads may draw.

    Returns
    -------
    tuple
        The ``Figure`` and one ``Axes``, or an array of them.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained", dpi=100)
    axes = fig.subplots(rows, columns)
    for ax in np.ravel(axes):
        ax.spines[["top", "right"]].set_visible(False)
    return fig, axes


def figure_png(fig: "Figure") -> bytes:
    """PNG bytes of a matplotlib figure on white, readable in a dark theme too."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def show(picture: "Figure | np.ndarray", alt: str, width: int | None = None) -> None:
    """Display a figure or an image array, and print what it shows as a line of text.

    Parameters
    ----------
    picture
        A matplotlib ``Figure`` or an image array.
    alt
        What a reader who cannot see the picture should know. Required.
    width
        Width on the page in CSS pixels.
    """
    from IPython.display import display

    if not alt.strip():
        raise CourseError("A figure needs `alt`: one sentence that says what it shows.")
    png = to_png(picture) if isinstance(picture, np.ndarray) else figure_png(picture)
    metadata = {"image/png": {"alt": alt, **({"width": width} if width else {})}}
    bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": f"<Figure: {alt}>"}
    display(bundle, raw=True, metadata=metadata)
    print(f"Figure: {alt}")
