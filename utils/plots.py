"""Pictures: grids of images, and figures that say in words what they show."""

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from utils import CourseError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from utils.boxes import Found, Truth

# Three colours that also differ in lightness (Okabe and Ito), with three dashes for print.
STYLES = {
    "torch": {"color": "#D55E00", "linestyle": "-"},
    "tensorflow": {"color": "#0072B2", "linestyle": "--"},
    "keras": {"color": "#009E73", "linestyle": ":"},
}

# Ten colours for classes: Okabe and Ito's but black, and three more that differ in lightness. No
# eye tells so many apart with certainty: the class's name always stands beside.
CLASS_COLOURS = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#F0E442",
    "#5D2E8C",
    "#7A4B1F",
    "#B8D8BA",
)


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


def captioned(
    pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int = 8
) -> "Figure":
    """A figure of pictures, grey (H, W) or in colour (H, W, 3), row by row, a caption over each."""
    rows = max(1, -(-len(pictures) // columns))
    fig, axes = figure(columns=columns, rows=rows, width=9.0, height=1.45 * rows)
    for ax in np.ravel(axes):
        ax.axis("off")
    # a last row may be shorter than its axes; every picture has its caption
    for ax, (picture, caption) in zip(
        np.ravel(axes), zip(pictures, captions, strict=True), strict=False
    ):
        ax.imshow(picture, cmap="gray")
        ax.set_title(caption, fontsize=9)
    return fig


# Where a name may stand, in points from its point, the best first; further off if all are taken.
_PLACES = [(7, -3, "left"), (-7, -3, "right"), (0, 7, "center"), (0, -14, "center")]
_PLACES += [
    (x * far, y * far, side)
    for far in (1, 2, 3)
    for x, side in ((6, "left"), (-6, "right"))
    for y in (8, -12)
]


def name_points(ax: "Axes", points: dict[str, tuple[float, float]]) -> None:
    """Write names beside points, each where it covers no other name, no point and no curve.

    Parameters
    ----------
    ax
        With its final limits: where there is room depends on them.
    points
        Name → its point's place (x, y), in data.
    """
    from matplotlib.transforms import Bbox

    ax.figure.draw_without_rendering()
    pixels = ax.transData.transform(list(points.values()))
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in pixels]
    for curve in ax.lines:
        if len(curve.get_xdata()) > 2:
            vertices = ax.transData.transform(curve.get_xydata())
            taken += [Bbox.from_bounds(x - 1, y - 1, 2, 2) for x, y in vertices]
    for name, point in points.items():
        for x, y, side in _PLACES:
            text = ax.annotate(name, point, (x, y), textcoords="offset points", ha=side, fontsize=8)
            box = text.get_window_extent()
            inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 and box.y0 >= ax.bbox.y0
            if inside and not any(map(box.overlaps, taken)):
                break
            text.remove()
        else:  # nowhere without covering something: better than not at all
            ax.add_artist(text)
        taken.append(box)


def figure_png(fig: "Figure") -> bytes:
    """PNG bytes of a matplotlib figure on white, readable in a dark theme too."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def class_colour(label: int) -> str:
    """The colour of a class: always the same, and told apart by colour-blind people as well."""
    return CLASS_COLOURS[int(label) % len(CLASS_COLOURS)]


def boxes(
    ax: "Axes",
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    class_names: "Sequence[str]",
    scores: np.ndarray | None = None,
    crowd: np.ndarray | None = None,
) -> None:
    """Draw a picture and boxes on it, each with its class's colour *and* name.

    Parameters
    ----------
    ax
        A matplotlib ``Axes``.
    image
        ``(H, W)`` or ``(H, W, 3)``.
    boxes
        ``(N, 4)`` xyxy in pixels.
    labels
        ``(N,)``, positions in `class_names`; a negative one has no name and is grey.
    class_names
        One for each class.
    scores
        ``(N,)``, written beside the names.
    crowd
        ``(N,)`` bool: these are dashed.

    Raises
    ------
    CourseError
        If lengths do not fit together, or a label has no name.
    """
    boxes, labels = np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(labels)
    if len(boxes) != len(labels) or scores is not None and len(scores) != len(boxes):
        raise CourseError(f"{len(boxes)} boxes need as many labels and scores, not {len(labels)}.")
    if len(labels) and labels.max() >= len(class_names):
        raise CourseError(f"Label {labels.max()} has no name among {len(class_names)} classes.")
    height, width = np.shape(image)[:2]
    ax.imshow(to_uint8(image), cmap="gray", extent=(0, width, height, 0), interpolation="nearest")
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    for number, ((left, top, right, bottom), label) in enumerate(zip(boxes, labels, strict=True)):
        colour = "#777777" if label < 0 else class_colour(label)
        dashed = crowd is not None and bool(crowd[number])
        outline = {"fill": False, "linestyle": "--" if dashed else "-"}
        # A light rim keeps every colour visible on every ground.
        for edge, thick in (("white", 2.8), (colour, 1.6)):
            corners = (left, top, right, bottom)
            rectangle(ax, corners, edgecolor=edge, linewidth=thick, **outline)
        text = "" if label < 0 else str(class_names[label])
        text += "" if scores is None else f" {scores[number]:.2f}"
        text += " (crowd)" if dashed else ""
        if text:
            above = top > 0.08 * height  # else inside, where it is not cut off
            ax.text(
                min(max(left, 0), 0.88 * width),
                top if above else top + 1,
                text.strip(),
                va="bottom" if above else "top",
                color="white" if _dark(colour) else "black",
                fontsize=7,
                clip_on=True,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
            )


def rectangle(ax: "Axes", box: np.ndarray, **style: "Any") -> None:
    """Draw one box, xyxy, with matplotlib's words for its style."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = map(float, box)
    ax.add_patch(Rectangle((left, top), right - left, bottom - top, **style))


def detections(
    images: np.ndarray,
    found: "Sequence[Truth | Found]",
    class_names: "Sequence[str]",
    columns: int = 4,
    side: float = 2.4,
) -> "Figure":
    """A figure of pictures with what is in them, or with what a detector found in them.

    Parameters
    ----------
    images
        ``(N, H, W, 3)``.
    found
        A `utils.boxes.Truth` or `utils.boxes.Found` for each.
    class_names
        One for each class.
    columns
        Pictures in a row.
    side
        Inches of a picture's width.

    Raises
    ------
    CourseError
        If there is not one of them for each picture.
    """
    if not len(images) or len(images) != len(found):
        raise CourseError(f"{len(images)} pictures need as many truths or finds, not {len(found)}.")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    height, width = np.shape(images)[1:3]
    fig, axes = figure(columns, rows, columns * side, rows * side * height / width)
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    for ax in np.ravel(axes):
        ax.axis("off")
    for ax, image, one in zip(np.ravel(axes), images, found, strict=False):
        extra = getattr(one, "scores", None), getattr(one, "crowd", None)
        boxes(ax, image, one.boxes, one.labels, class_names, *extra)
    return fig


def _dark(colour: str) -> bool:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140


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
