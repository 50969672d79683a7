"""Anchors: a grid of boxes to start from, offsets from them, and which of them has which object.

Anchors are called default boxes in SSD (15) and priors in YOLOv2 (16). 13_rcnn teaches coding and
matching, 14_faster_rcnn the grid, 15_ssd the hard negatives.
"""

from collections.abc import Sequence

import numpy as np

from utils import CourseError
from utils.boxes import as_boxes, covered, iou

BACKGROUND, IGNORED = -1, -2
# exp() of a large prediction overflows: no box grows by more than this factor (as in Detectron).
MOST = float(np.log(1000 / 16))


def grid(
    height: int, width: int, stride: float, sizes: Sequence[float], ratios: Sequence[float]
) -> np.ndarray:
    """Anchors around the middle of each cell of a feature map.

    Parameters
    ----------
    height, width : int
        Of the feature map.
    stride : float
        How many pixels apart its cells are.
    sizes : sequence of float
        A square anchor's side, in pixels; the others have the same area.
    ratios : sequence of float
        Height divided by width (as in Faster R-CNN; SSD's aspect ratios are width by height).

    Returns
    -------
    (height · width · len(sizes) · len(ratios), 4) float32 array
        xyxy in pixels, by row, column, size and ratio; also beyond the image's edges.
    """
    least = min(min(sizes, default=0), min(ratios, default=0), stride)
    if min(height, width) < 1 or least <= 0:
        raise CourseError(
            f"A grid of anchors needs a map of at least 1×1 (here {height}×{width}), and a stride, "
            "sizes and ratios above 0."
        )
    size, ratio = (part.ravel() for part in np.meshgrid(sizes, ratios, indexing="ij"))
    half = np.stack([size / np.sqrt(ratio), size * np.sqrt(ratio)], axis=-1) / 2  # (A, 2): w, h
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    middle = stride * np.stack([x, y], axis=-1).reshape(-1, 1, 2)  # (height·width, 1, 2)
    return np.concatenate([middle - half, middle + half], axis=-1).reshape(-1, 4).astype(np.float32)


def encode(
    boxes: np.ndarray, anchors: np.ndarray, weights: Sequence[float] = (1, 1, 1, 1)
) -> np.ndarray:
    """How to get from an anchor to a box: R-CNN's (t_x, t_y, t_w, t_h).

    The centre's step in units of the anchor's size, and the logarithm of the factor by which each
    side grows.

    Parameters
    ----------
    boxes, anchors : (..., 4) arrays
        xyxy; they pair up as NumPy broadcasts.
    weights : four floats
        Each of the four is multiplied by its own: (10, 10, 5, 5) brings them to about size 1.

    Returns
    -------
    (..., 4) float32 array
    """
    boxes, anchors = np.asarray(boxes, np.float64), np.asarray(anchors, np.float64)
    size, own = boxes[..., 2:] - boxes[..., :2], anchors[..., 2:] - anchors[..., :2]
    if (size <= 0).any() or (own <= 0).any():
        raise CourseError(
            "A box or an anchor has no inside, so that its side has no logarithm: boxes.check(…) "
            "says which, boxes.sound(…) drops it."
        )
    step = (boxes[..., :2] + size / 2 - anchors[..., :2] - own / 2) / own
    deltas = np.concatenate([step, np.log(size / own)], axis=-1)
    return (deltas * np.asarray(weights, np.float64)).astype(np.float32)


def decode(
    deltas: np.ndarray, anchors: np.ndarray, weights: Sequence[float] = (1, 1, 1, 1)
) -> np.ndarray:
    """The boxes to which `deltas` lead: `encode` undone.

    Parameters
    ----------
    deltas, anchors : (..., 4) arrays
        They pair up as NumPy broadcasts: for deltas of each class, (N, classes, 4), take
        ``anchors[:, None]``.
    weights : four floats
        As in `encode`.

    Returns
    -------
    (..., 4) float32 array
        No side is more than 62.5 times the anchor's.
    """
    deltas = np.asarray(deltas, np.float64) / np.asarray(weights, np.float64)
    anchors = np.asarray(anchors, np.float64)
    own = anchors[..., 2:] - anchors[..., :2]
    middle = anchors[..., :2] + own / 2 + deltas[..., :2] * own
    half = own * np.exp(np.minimum(deltas[..., 2:], MOST)) / 2
    return np.concatenate([middle - half, middle + half], axis=-1).astype(np.float32)


def match(
    anchors: np.ndarray,
    boxes: np.ndarray,
    high: float,
    low: float,
    best: bool = True,
    crowd: np.ndarray | None = None,
) -> np.ndarray:
    """Which box each anchor is to find.

    Parameters
    ----------
    anchors : (A, 4) array
    boxes : (M, 4) array
        What is in the image; may be empty.
    high, low : float
        An anchor takes the box with which its IoU is largest, if that is `high` or more; below
        `low` it is background, and in between nothing is asked of it.
    best : bool, default True
        So that no box goes without: the pair of the largest IoU of all is matched, then the largest
        among the other boxes and anchors, and so on, however small (but above 0).
    crowd : (M,) bool array, optional
        Boxes that stand for many objects: no anchor is to find them, and background of which `high`
        or more lies in one is ignored.

    Returns
    -------
    (A,) int64 array
        The box's index, −1 for background, −2 for ignored.
    """
    if not low <= high:
        raise CourseError(f"low, {low}, must not exceed high, {high}.")
    anchors, boxes = as_boxes(anchors), as_boxes(boxes)
    crowd = np.zeros(len(boxes), bool) if crowd is None else np.asarray(crowd, bool)
    if crowd.shape != (len(boxes),):
        raise CourseError(f"There are {len(boxes)} boxes, but crowd has the shape {crowd.shape}.")
    overlap = iou(anchors, boxes)
    overlap[:, crowd] = 0
    found = np.full(len(anchors), BACKGROUND, np.int64)
    if len(anchors) and (~crowd).any():
        most = overlap.max(axis=1)
        found[most >= low] = IGNORED
        sure = (most >= high) & (most > 0)
        found[sure] = overlap.argmax(axis=1)[sure]
        if best:
            _keep_best(found, overlap)
    if crowd.any():
        inside = (covered(anchors, boxes[crowd]) >= high).any(axis=1)
        found[inside & (found == BACKGROUND)] = IGNORED
    return found


def _keep_best(found: np.ndarray, overlap: np.ndarray) -> None:
    """Match each box with an anchor of its own, the best pair first; `found` is changed."""
    left = overlap.copy()
    for _ in range(min(left.shape)):
        anchor, box = np.unravel_index(left.argmax(), left.shape)
        if left[anchor, box] <= 0:
            return
        found[anchor] = box
        left[anchor], left[:, box] = 0, 0


def mine(losses: np.ndarray, positive: np.ndarray, ratio: float = 3, least: int = 0) -> np.ndarray:
    """The hard negatives: those with the largest loss, so many for each positive.

    Parameters
    ----------
    losses : (..., A) array
        What each anchor's class costs as it stands.
    positive : (..., A) bool array
    ratio : float, default 3
        Negatives for each positive of the same row.
    least : int, default 0
        So many even in a row where there are fewer positives, or none.

    Returns
    -------
    (..., A) bool array
        The negatives that count. Of equal losses the first comes first. Anchors that are neither:
        give them a loss of −inf, and they never count.
    """
    losses, positive = np.asarray(losses, np.float64), np.asarray(positive, bool)
    if losses.shape != positive.shape:
        raise CourseError(
            f"losses has the shape {losses.shape}, positive {positive.shape}; they must agree."
        )
    losses = np.where(positive, -np.inf, losses)
    rank = np.argsort(np.argsort(-losses, axis=-1, kind="stable"), axis=-1, kind="stable")
    most = np.maximum(np.floor(ratio * positive.sum(axis=-1, keepdims=True)), least)
    return (rank < most) & (losses > -np.inf)
