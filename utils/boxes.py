"""Boxes: their formats, how much two overlap, and which of many to keep.

Everywhere in the course a box is float32 **xyxy in pixels**: left, top, right, bottom, x to the
right and y down, from the image's top left corner, so that a box over the whole image is ``(0, 0,
width, height)``. Edges lie between pixels, and a box is ``x1 - x0`` wide (the early papers' boxes
end *on* a pixel, which is where a ``+ 1`` in old code comes from). Other formats are converted here
and nowhere else. 13_rcnn teaches all of this.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils import CourseError


class Truth(NamedTuple):
    """What is in an image. A crowd box stands for many objects of its class, not told apart."""

    boxes: np.ndarray  # (M, 4) float32, xyxy in pixels
    labels: np.ndarray  # (M,) int64
    crowd: np.ndarray  # (M,) bool


class Found(NamedTuple):
    """What a detector says of an image, by falling score."""

    boxes: np.ndarray  # (K, 4) float32, xyxy in pixels
    scores: np.ndarray  # (K,) float32
    labels: np.ndarray  # (K,) int64


def truth(
    boxes: Sequence = (), labels: Sequence[int] = (), crowd: Sequence[bool] | None = None
) -> Truth:
    """A `Truth` from lists or arrays of any kind; without arguments, an image with nothing in it.

    Parameters
    ----------
    boxes : (M, 4) array or nested list
        In pixels, xyxy.
    labels : (M,) array or list
    crowd : (M,) array or list, optional
        None of them is, unless said.

    Returns
    -------
    Truth
    """
    labels = np.asarray(labels, np.int64).reshape(-1)
    crowd = np.zeros(len(labels), bool) if crowd is None else np.asarray(crowd, bool).reshape(-1)
    return Truth(as_boxes(boxes).astype(np.float32), labels, crowd)


FORMATS = ("xyxy", "xywh", "cxcywh")  # and each with "n" behind it: divided by width and height


def convert(
    boxes: np.ndarray,
    source: str,
    target: str,
    height: float | None = None,
    width: float | None = None,
) -> np.ndarray:
    """Boxes of one format in another.

    Parameters
    ----------
    boxes : (N, 4) array
    source, target : str
        ``"xyxy"`` (two corners), ``"xywh"`` (top left corner and size: COCO), ``"cxcywh"`` (centre
        and size: YOLO), or one of them with ``n`` behind it: normalised, x by the image's width and
        y by its height.
    height, width : float, optional
        The image's size, needed where exactly one of the two is normalised.

    Returns
    -------
    (N, 4) float32 array
    """
    for name in (source, target):
        if name.removesuffix("n") not in FORMATS:
            known = ", ".join(f"{each}, {each}n" for each in FORMATS)
            raise CourseError(f"There is no box format {name!r}: take one of {known}.")
    out = as_boxes(boxes).astype(np.float64)
    first, second = out[:, :2], out[:, 2:]
    kind = source.removesuffix("n")
    if kind == "xywh":
        first, second = first, first + second
    elif kind == "cxcywh":
        first, second = first - second / 2, first + second / 2
    if source.endswith("n") != target.endswith("n"):
        if not height or not width:
            raise CourseError(
                f"From {source} to {target} the image's size is needed: pass height= and width=."
            )
        scale = np.array([width, height], float)
        scale = scale if source.endswith("n") else 1 / scale
        first, second = first * scale, second * scale
    kind = target.removesuffix("n")
    if kind == "xywh":
        first, second = first, second - first
    elif kind == "cxcywh":
        first, second = (first + second) / 2, second - first
    return np.concatenate([first, second], axis=1).astype(np.float32)


def area(boxes: np.ndarray) -> np.ndarray:
    """Width times height of each box (N, 4), as (N,) float32; 0 where it has no inside."""
    return _area(as_boxes(boxes)).astype(np.float32)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each box of a (N, 4) with each of b (M, 4), as (N, M) float32.

    From 0 (apart) to 1 (the same box); 0 for a box without an inside.
    """
    common, union, _ = _overlap(a, b)
    return (common / np.where(union > 0, union, 1)).astype(np.float32)


def giou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Generalised IoU (Rezatofighi et al. 2019) of each of a with each of b, as (N, M) float32.

    IoU minus the share of the smallest box around both that neither fills: from −1 to 1, and unlike
    IoU it still grows when boxes that are apart come closer.
    """
    common, union, around = _overlap(a, b)
    empty = (around - union) / np.where(around > 0, around, 1)
    return (common / np.where(union > 0, union, 1) - empty).astype(np.float32)


def covered(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The share of each box of a (N, 4) that lies in each of b (M, 4), as (N, M) float32.

    What COCO's evaluation takes for IoU where b is a crowd.
    """
    common, _, _ = _overlap(a, b)
    own = _area(as_boxes(a))[:, None]
    return (common / np.where(own > 0, own, 1)).astype(np.float32)


def clip(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """Boxes (N, 4) cut off at the edges of an image."""
    most = np.array([width, height, width, height], np.float32)
    return np.clip(as_boxes(boxes).astype(np.float32), 0, most)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression: the best box, then the best of those not too near it.

    Parameters
    ----------
    boxes : (N, 4) array
    scores : (N,) array
    threshold : float
        A box goes when its IoU with a better one that stays is *larger* than this.

    Returns
    -------
    (K,) int64 array
        The boxes that stay, by falling score; of equal scores the first comes first.
    """
    boxes, scores = as_boxes(boxes).astype(np.float64), _aligned(scores, boxes, "scores")
    order, kept = np.argsort(-scores, kind="stable"), []
    boxes, gone = boxes[order], np.zeros(len(boxes), bool)
    (x0, y0, x1, y1), areas = boxes.T, _area(boxes)
    for first in range(0, len(boxes), 256):  # many rows of overlaps at a time: much faster than one
        rows = slice(first, first + 256)
        width = np.minimum.outer(x1[rows], x1) - np.maximum.outer(x0[rows], x0)
        height = np.minimum.outer(y1[rows], y1) - np.maximum.outer(y0[rows], y0)
        common = np.maximum(width, 0) * np.maximum(height, 0)
        near = common > threshold * (areas[rows, None] + areas - common)
        for place, row in enumerate(near, start=first):
            if not gone[place]:
                kept.append(order[place])
                gone |= row
    return np.array(kept, np.int64)


def batched_nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float
) -> np.ndarray:
    """`nms` within each class: a cat does not suppress the dog on whose back it lies.

    Parameters
    ----------
    boxes : (N, 4) array
    scores, labels : (N,) array
    threshold : float

    Returns
    -------
    (K,) int64 array
        The boxes that stay, by falling score over all classes.
    """
    boxes, scores = as_boxes(boxes), _aligned(scores, boxes, "scores")
    labels, kept = _aligned(labels, boxes, "labels"), [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        kept.append(own[nms(boxes[own], scores[own], threshold)])
    kept = np.sort(np.concatenate(kept))
    return kept[np.argsort(-scores[kept], kind="stable")]


def best(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    score: float = 0.05,
    threshold: float = 0.5,
    most: int = 100,
) -> Found:
    """The last step of every detector: what scores enough, by class through NMS, the best few.

    Parameters
    ----------
    boxes : (N, 4) array
    scores, labels : (N,) array
    score : float, default 0.05
        Boxes below it are left out; so are boxes without an inside and scores that are NaN.
    threshold : float, default 0.5
        Of NMS.
    most : int, default 100
        So many at most, as in COCO's evaluation.

    Returns
    -------
    Found
    """
    boxes = as_boxes(boxes).astype(np.float32)
    scores = _aligned(scores, boxes, "scores").astype(np.float32)
    labels = _aligned(labels, boxes, "labels").astype(np.int64)
    enough = np.flatnonzero((scores >= score) & (_area(boxes) > 0))
    kept = enough[batched_nms(boxes[enough], scores[enough], labels[enough], threshold)][:most]
    return Found(boxes[kept], scores[kept], labels[kept])


def check(truth: Truth, height: int, width: int, classes: int, image: object = None) -> Truth:
    """What is said to be in an image, if it can be; otherwise the first mistake, by name.

    Parameters
    ----------
    truth : Truth
    height, width : int
        The image's size.
    classes : int
        Labels are 0 … classes − 1.
    image : optional
        Its number or name, for the message.

    Returns
    -------
    Truth
        As it came.

    Raises
    ------
    CourseError
        Naming image, box and remedy.
    """
    where = "" if image is None else f"Image {image}: "
    boxes, labels, crowd = (np.asarray(part) for part in truth)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise CourseError(
            f"{where}boxes have the shape (number, 4), even where there are none; these have "
            f"{boxes.shape}: boxes.truth() makes an empty one."
        )
    for name, part in (("labels", labels), ("crowd", crowd)):
        if part.shape != (len(boxes),):
            raise CourseError(
                f"{where}there are {len(boxes)} boxes, but {name} has the shape {part.shape}: give "
                "each box one."
            )
    if len(labels) and not np.issubdtype(labels.dtype, np.integer):
        raise CourseError(f"{where}labels are whole numbers; these are {labels.dtype}.")
    for place, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        what = f"{where}box {place}, {[round(float(value), 2) for value in box]},"
        if not np.isfinite(box).all():
            raise CourseError(f"{what} has a NaN or infinite side: boxes.sound(…) drops it.")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise CourseError(
                f"{what} has no inside: right must exceed left, and bottom top. boxes.sound(…) "
                "drops it; if it is xywh, convert(…) it first."
            )
        if (box < 0).any() or box[2] > width or box[3] > height:
            raise CourseError(
                f"{what} reaches out of the image, {width} wide and {height} high: boxes.sound(…) "
                "cuts it off."
            )
        if not 0 <= label < classes:
            raise CourseError(
                f"{what} is of class {label}, but classes run from 0 to {classes - 1}: subtract 1 "
                "if yours start at 1, or give the model more classes."
            )
    return truth


def dropped(truth: Truth, height: int, width: int) -> np.ndarray:
    """Which boxes `sound` leaves out, as (M,) bool: those of which the image shows nothing."""
    boxes = np.asarray(truth.boxes, np.float32).reshape(-1, 4)
    finite = np.isfinite(boxes).all(axis=1)
    inside = clip(np.where(finite[:, None], boxes, 0), height, width)
    return ~((inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1]))


def sound(truth: Truth, height: int, width: int) -> Truth:
    """The same cut off at the image's edges, without boxes that have no inside then, or are NaN.

    A loader's tool; ``dropped(truth, height, width)`` says which it leaves out, and its sum how
    many.
    """
    good = ~dropped(truth, height, width)
    boxes = np.asarray(truth.boxes, np.float32).reshape(-1, 4)[good]
    labels, crowd = np.asarray(truth.labels, np.int64), np.asarray(truth.crowd, bool)
    return Truth(clip(boxes, height, width), labels[good], crowd[good])


def as_boxes(boxes: Sequence | np.ndarray) -> np.ndarray:
    """`boxes` as an array (N, 4), or an error that says what is wrong with it."""
    found = np.asarray(boxes)
    if found.size == 0 and found.ndim < 2:
        return np.zeros((0, 4), np.float32)
    if found.ndim != 2 or found.shape[1] != 4:
        raise CourseError(
            f"Boxes have the shape (number, 4); these have {found.shape}; a single one: box[None]."
        )
    return found


def _aligned(values: Sequence | np.ndarray, boxes: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (len(boxes),) and not values.size == len(boxes) == 0:
        raise CourseError(f"There are {len(boxes)} boxes, but {name} has the shape {values.shape}.")
    return values.reshape(len(boxes))


def _area(boxes: np.ndarray) -> np.ndarray:
    sides = np.maximum(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def _overlap(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas (N, M), in float64: of the intersection, the union and the box around both."""
    a, b = as_boxes(a).astype(np.float64), as_boxes(b).astype(np.float64)
    first, second = a[:, None], b[None]
    low, high = np.maximum(first, second), np.minimum(first, second)
    inner = np.maximum(high[..., 2:] - low[..., :2], 0)
    outer = np.maximum(low[..., 2:] - high[..., :2], 0)
    common = inner[..., 0] * inner[..., 1]
    union = _area(a)[:, None] + _area(b)[None] - common
    return common, union, outer[..., 0] * outer[..., 1]
