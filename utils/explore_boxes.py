"""Explorers of what detectors do with boxes: overlap, suppression, matching.

Each function makes an `utils.explore.Explorer`; ``.show()`` puts it on the page.
"""

from collections.abc import Sequence

import numpy as np

from utils import CourseError, anchors, plots
from utils import boxes as geometry
from utils.box_pad import BoxPad
from utils.controls import Choice, Slider, Toggle
from utils.explore import Explorer

BLUE, ORANGE, GREY = plots.CLASS_COLOURS[1], plots.CLASS_COLOURS[4], "#777777"
MOST = 400  # anchors that are drawn: more could not be told apart


def iou_explorer(
    image: np.ndarray | None = None,
    start: np.ndarray | None = None,
    title: str = "Two boxes and their IoU",
    mode: str = "auto",
) -> Explorer:
    """Drag two boxes; see what they share, what they cover together, IoU and GIoU.

    Parameters
    ----------
    image
        ``(H, W, 3)`` uint8 beneath the boxes; an even ground of 96×96 if left out.
    start
        The two boxes at first, ``(2, 4)`` xyxy in pixels.
    title, mode
        As for `Explorer`.
    """
    height, width = (96, 96) if image is None else np.shape(image)[:2]
    if start is None:
        start = np.float32([[0.2, 0.2, 0.6, 0.65], [0.4, 0.35, 0.8, 0.8]])
        start = np.round(start * [width, height, width, height])
    pad = BoxPad("boxes", start, height, width, image, label="Drag A and B")
    ground = np.full((height, width, 3), 244, np.uint8) if image is None else image

    def draw(boxes: np.ndarray) -> object:
        a, b = boxes
        iou, giou = (float(of(boxes[:1], boxes[1:])[0, 0]) for of in (geometry.iou, geometry.giou))
        shared = np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])])
        sides = np.clip(shared[2:] - shared[:2], 0, None)
        common = float(sides.prod())
        union = float(geometry.area(boxes).sum()) - common
        fig, (left, right) = plots.figure(2, 1, 7.0, 3.4)
        plots.boxes(left, ground, boxes, np.array([0, 1]), ("A", "B"))
        _fill(left, a, plots.class_colour(0))
        _fill(left, b, plots.class_colour(1))
        if common:
            _fill(left, shared, "#000000", 0.45)
        right.axis("off")
        lines = (
            (f"A ∩ B = {common:,.0f} pixels", "shared: the dark part"),
            (f"A ∪ B = {union:,.0f} pixels", "covered by A, by B or by both"),
            (f"IoU = {iou:.2f}", f"{common:,.0f} / {union:,.0f}" + _verdict(iou)),
            (f"GIoU = {giou:.2f}", "IoU, less the empty share of the box around both"),
        )
        for place, (large, small) in enumerate(lines):
            right.text(0.02, 0.92 - 0.26 * place, large, fontsize=13, va="top")
            right.text(0.02, 0.81 - 0.26 * place, small, fontsize=9, va="top", color="#444444")
        return fig

    return Explorer(
        draw,
        [pad],
        title,
        "Two boxes, the part they share and the part they cover together; IoU is the one divided "
        "by the other.",
        mode,
    )


def nms_explorer(
    image: np.ndarray,
    found: geometry.Found,
    class_names: Sequence[str],
    threshold: float = 0.5,
    score: float = 0.05,
    title: str = "What non-maximum suppression keeps",
    mode: str = "auto",
) -> Explorer:
    """Slide NMS's threshold and the least score; see what stays of a detector's raw boxes.

    Parameters
    ----------
    image
        ``(H, W, 3)`` uint8.
    found
        What a detector says *before* suppression, in any order.
    class_names
        One for each class.
    threshold, score
        Where the sliders stand at first.
    title, mode
        As for `Explorer`.

    Raises
    ------
    CourseError
        If there is nothing to suppress.
    """
    if not len(found.boxes):
        raise CourseError("There is no box to suppress: pass the detector's boxes before NMS.")

    def draw(threshold: float, score: float, by_class: bool) -> object:
        sure = np.flatnonzero(found.scores >= score)
        some = found.boxes[sure], found.scores[sure]
        if by_class:
            kept = geometry.batched_nms(*some, found.labels[sure], threshold)
        else:
            kept = geometry.nms(*some, threshold)
        gone = np.setdiff1d(np.arange(len(sure)), kept)
        height, width = np.shape(image)[:2]
        fig, axes = plots.figure(2, 1, 7.6, 3.9 * height / width + 0.5)
        plots.boxes(axes[0], image, np.zeros((0, 4)), np.zeros(0, int), class_names)
        for place in gone:
            _outline(axes[0], some[0][place], "white", 2.0)
            _outline(axes[0], some[0][place], GREY, 1.0, "--")
        for place in kept:
            _outline(axes[0], some[0][place], plots.class_colour(found.labels[sure][place]), 1.8)
        kept = sure[kept]
        parts = (part[kept] for part in (found.boxes, found.labels))
        plots.boxes(axes[1], image, *parts, class_names, found.scores[kept])
        axes[0].set_title(f"{len(sure)} boxes of score ≥ {score:.2f}", fontsize=10)
        axes[1].set_title(f"{len(kept)} kept, {len(gone)} suppressed", fontsize=10)
        return fig

    return Explorer(
        draw,
        [
            Slider(
                "threshold",
                float(threshold),
                0.0,
                1.0,
                0.05,
                label="NMS threshold",
                help="A box goes when its IoU with a surer one is larger than this.",
            ),
            Slider("score", float(score), 0.0, 1.0, 0.01, label="Least score"),
            Toggle("by_class", True, label="Each class on its own"),
        ],
        title,
        "Left: every box that is sure enough, dashed where it is suppressed. Right: what is kept, "
        "with class and score.",
        mode,
    )


def matches_explorer(
    image: np.ndarray,
    truth: geometry.Truth,
    stride: int = 16,
    sizes: Sequence[float] = (24.0,),
    ratios: Sequence[float] = (1.0,),
    high: float = 0.5,
    low: float = 0.4,
    title: str = "Which anchors match",
    mode: str = "auto",
) -> Explorer:
    """Drag the true boxes, change the anchors and the thresholds; see which anchors have an object.

    Parameters
    ----------
    image
        ``(H, W, 3)`` uint8.
    truth
        What is in it; at least one box. Crowds are left out.
    stride
        Pixels between anchors at first.
    sizes, ratios
        Of the anchors: a slider scales all sizes together, a menu offers the first ratio alone, or
        all, or three.
    high, low
        From which IoU an anchor has the object, and below which it is background.
    title, mode
        As for `Explorer`.

    Raises
    ------
    CourseError
        If the picture holds no box.
    """
    corners = truth.boxes[~truth.crowd]
    if not len(corners):
        raise CourseError("There is no box to match: choose a picture with at least one.")
    height, width = np.shape(image)[:2]
    names = [str(place + 1) for place in range(len(corners))]
    shapes = {"as in the lesson": tuple(ratios), "1:1": (1.0,), "1:2, 1:1, 2:1": (0.5, 1.0, 2.0)}

    def draw(
        boxes: np.ndarray,
        stride: int,
        scale: float,
        shape: tuple[float, ...],
        high: float,
        low: float,
        best: bool,
    ) -> object:
        low = min(low, high)
        rows, columns = max(1, height // stride), max(1, width // stride)
        grid = anchors.grid(rows, columns, stride, [scale * size for size in sizes], shape)
        match = anchors.match(grid, boxes, high, low, best)
        fig, ax = plots.figure(1, 1, 5.2, 5.2 * height / width + 0.6)
        plots.boxes(ax, image, np.zeros((0, 4)), np.zeros(0, int), ())
        middles = (grid[:, :2] + grid[:, 2:]) / 2
        ax.plot(*middles.T, ".", color="white", markersize=4, markeredgewidth=0)
        ax.plot(*middles.T, ".", color="#444444", markersize=2.4, markeredgewidth=0)
        for place in np.flatnonzero(match == anchors.IGNORED)[:MOST]:
            _outline(ax, grid[place], ORANGE, 0.9, ":")
        for place in np.flatnonzero(match >= 0)[:MOST]:
            _outline(ax, grid[place], "white", 1.8)
            _outline(ax, grid[place], plots.class_colour(match[place]), 1.4, "--")
        for place, (name, box) in enumerate(zip(names, boxes, strict=True)):
            colour = plots.class_colour(place)
            _outline(ax, box, "white", 3.6)
            _outline(ax, box, colour, 2.2)
            ax.text(*box[:2], name, color="white", fontsize=8, bbox=_label(colour), va="bottom")
        counts = [int((match == place).sum()) for place in range(len(boxes))]
        ax.set_title(
            f"{len(grid):,} anchors: {sum(counts)} matched, "
            f"{int((match == anchors.IGNORED).sum())} ignored, "
            f"{int((match == anchors.BACKGROUND).sum()):,} background\n"
            + ", ".join(f"box {n}: {c}" for n, c in zip(names[:8], counts, strict=False)),
            fontsize=9,
        )
        return fig

    return Explorer(
        draw,
        [
            BoxPad("boxes", corners, height, width, image, names, label="Drag the true boxes"),
            Slider("stride", int(stride), 4, max(32, int(stride)), 4, label="Stride (pixels)"),
            Slider("scale", 1.0, 0.4, 2.5, 0.1, label="Size of the anchors, times"),
            Choice("shape", shapes["as in the lesson"], shapes, label="Height : width"),
            Slider("high", float(high), 0.1, 0.9, 0.05, label="Object from IoU"),
            Slider("low", float(low), 0.0, 0.9, 0.05, label="Background below IoU"),
            Toggle("best", True, label="Each box keeps its best anchor"),
        ],
        title,
        "True boxes with solid outlines; anchors that have one of them to find dashed in its "
        "colour, ignored ones dotted; every anchor's middle is a dot.",
        mode,
    )


def _verdict(iou: float) -> str:
    if iou >= 0.5:
        return ": a hit, for AP50"
    return ": no hit, for AP50" if iou else ""


def _fill(ax: object, box: np.ndarray, colour: str, alpha: float = 0.22) -> None:
    plots.rectangle(ax, box, facecolor=colour, alpha=alpha, edgecolor="none")


def _outline(ax: object, box: np.ndarray, colour: str, width: float, style: str = "-") -> None:
    plots.rectangle(ax, box, fill=False, edgecolor=colour, linewidth=width, linestyle=style)


def _label(colour: str) -> dict[str, object]:
    return {"facecolor": colour, "edgecolor": "none", "pad": 0.8}
