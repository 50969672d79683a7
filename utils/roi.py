"""Regions of interest: the same small grid of features for every box, large or small.

NumPy references for 13_rcnn, which teaches them, and for the frameworks' versions. A
feature map's cell covers the pixels from ``stride · column`` to ``stride · (column + 1)``, and as
many rows; its value stands in the middle of them.
"""

import numpy as np

from utils import CourseError
from utils.boxes import as_boxes


def pool(
    features: np.ndarray, boxes: np.ndarray, size: int | tuple[int, int], stride: float
) -> np.ndarray:
    """Max pooling over regions, as in Fast R-CNN (Girshick 2015).

    The box is rounded to whole cells (half a cell goes up), at least one; its `size` × `size` parts
    begin and end at whole cells too, so that they may overlap by one.

    Parameters
    ----------
    features : (H, W, C) array
        Of one image.
    boxes : (R, 4) array
        xyxy in the image's pixels.
    size : int or (rows, columns)
    stride : float
        Pixels for each cell.

    Returns
    -------
    (R, rows, columns, C) float32 array
    """
    features, boxes, (rows, columns) = _given(features, boxes, size, stride)
    height, width, channels = features.shape
    out = np.empty((len(boxes), rows, columns, channels), np.float32)
    for place, box in enumerate(np.floor(boxes / stride + 0.5).astype(int)):
        left, top = np.clip(box[:2], 0, [width - 1, height - 1])
        right, bottom = np.clip(box[2:], [left + 1, top + 1], [width, height])
        region = features[top:bottom, left:right]
        for i, (y0, y1) in enumerate(_parts(bottom - top, rows)):
            for j, (x0, x1) in enumerate(_parts(right - left, columns)):
                out[place, i, j] = region[y0:y1, x0:x1].max(axis=(0, 1))
    return out


def _parts(cells: int, count: int) -> list[tuple[int, int]]:
    """Where each of `count` parts of a row of cells begins and ends, in whole cells."""
    return [(i * cells // count, -(-(i + 1) * cells // count)) for i in range(count)]


def align(
    features: np.ndarray,
    boxes: np.ndarray,
    size: int | tuple[int, int],
    stride: float,
    samples: int = 2,
) -> np.ndarray:
    """RoIAlign, as in Mask R-CNN (He et al. 2017): nothing is rounded.

    The box is cut into `size` × `size` equal parts, and each is the mean of `samples` × `samples`
    points in it, regularly spaced, whose features are interpolated between the middles of the four
    nearest cells. With the half pixel: a cell's middle lies at ``stride · (column + 0.5)`` pixels
    (``aligned=True`` in torchvision and Detectron2). Beyond the outermost middles the edge's
    features hold on for one more cell, and from there on it is 0.

    Parameters
    ----------
    features : (H, W, C) array
        Of one image.
    boxes : (R, 4) array
        xyxy in the image's pixels.
    size : int or (rows, columns)
    stride : float
        Pixels for each cell.
    samples : int, default 2
        In each direction of each part.

    Returns
    -------
    (R, rows, columns, C) float32 array
    """
    features, boxes, (rows, columns) = _given(features, boxes, size, stride)
    if samples < 1:
        raise CourseError(f"Each part needs at least one sample in each direction, not {samples}.")
    cells = boxes / stride - 0.5  # in units of cells, from the middle of the first
    y = _points(cells[:, 1], cells[:, 3], rows * samples)  # (R, rows · samples)
    x = _points(cells[:, 0], cells[:, 2], columns * samples)
    y0, y1, down, y_inside = _between(y, features.shape[0])
    x0, x1, right, x_inside = _between(x, features.shape[1])
    down, right = down[:, :, None, None], right[:, None, :, None]

    def at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        return features[row[:, :, None], column[:, None, :]]

    top = at(y0, x0) * (1 - right) + at(y0, x1) * right
    bottom = at(y1, x0) * (1 - right) + at(y1, x1) * right
    values = top * (1 - down) + bottom * down  # (R, rows · samples, columns · samples, C)
    values = values * (y_inside[:, :, None] & x_inside[:, None, :])[..., None]
    grid = values.reshape(len(boxes), rows, samples, columns, samples, features.shape[2])
    return grid.mean(axis=(2, 4)).astype(np.float32)


def _points(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
    """The middles of `count` equal parts between low and high (R,), as (R, count)."""
    return low[:, None] + (high - low)[:, None] * (np.arange(count) + 0.5) / count


def _between(at: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The cells on both sides of each point, its way from the first, and whether it counts."""
    inside = (at >= -1) & (at <= length)
    at = np.clip(at, 0, length - 1)
    first = np.floor(at).astype(int)
    return first, np.minimum(first + 1, length - 1), at - first, inside


def _given(
    features: np.ndarray, boxes: np.ndarray, size: int | tuple[int, int], stride: float
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    features, boxes = np.asarray(features), as_boxes(boxes).astype(np.float64)
    rows, columns = (size, size) if np.isscalar(size) else size
    if features.ndim != 3 or 0 in features.shape:
        raise CourseError(
            f"Features are one image's, (height, width, channels); these are {features.shape}."
        )
    if min(rows, columns) < 1 or stride <= 0:
        raise CourseError(
            f"A region becomes at least 1×1 (here {rows}×{columns}), and a stride is above 0 "
            f"(here {stride})."
        )
    if not np.isfinite(boxes).all():
        raise CourseError("A box has a NaN or infinite side: boxes.sound(…) drops it.")
    return features, boxes, (int(rows), int(columns))
