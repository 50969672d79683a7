"""How good a detector is: average precision, by COCO's own code and by some that can be read.

Detections are taken from the surest to the least sure. Each that overlaps a box of its class enough
(IoU of at least a threshold), and comes first to it, is right; every other is wrong. *Precision* is
the share of right ones so far, *recall* the share of boxes found so far. Average precision is the
mean of the best precision still to be had at each recall:

=====================  ===========  ==============================================================
who                    points       what is averaged
=====================  ===========  ==============================================================
PASCAL VOC until 2009  11           at recalls 0, 0.1 … 1 (Everingham et al. 2010)
PASCAL VOC from 2010   None         the whole area under the curve
COCO                   101          at recalls 0, 0.01 … 1, then over the IoU thresholds 0.5, 0.55
                                    … 0.95: "AP"; at 0.5 alone it is "AP50"
=====================  ===========  ==============================================================

They are different numbers: say which. What lies in a *crowd* box, by as great a share as the
threshold, is neither right nor wrong, however many there are.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils import CourseError
from utils.boxes import Found, Truth

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's
MOST = 100  # detections of a class in an image that COCO looks at


class ClassScores(NamedTuple):
    """Average precision of one class, 0…1: COCO's mean over thresholds, and at IoU 0.5."""

    ap: float
    ap50: float


class Scores(NamedTuple):
    """Mean average precision, 0…1, and that of each class; NaN where there is nothing to find."""

    ap: float
    ap50: float
    ap75: float
    classes: dict[str, ClassScores]


class Curve(NamedTuple):
    """Average precision, and the points of its curve: detection after detection, surest first."""

    ap: float
    recall: np.ndarray
    precision: np.ndarray


def coco(found: Sequence[Found], truths: Sequence[Truth], class_names: Sequence[str]) -> Scores:
    """Mean average precision, by pycocotools, the code that COCO's papers are measured with.

    Parameters
    ----------
    found
        What a detector says, for each image.
    truths
        What is in each. Boxes marked as crowds are nobody's mistake.
    class_names
        One for each class.

    Returns
    -------
    Scores
        The means are over the classes that are there; one that is nowhere has NaN.

    Raises
    ------
    CourseError
        If the lists do not fit together, a number is not finite, or a label has no class.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise CourseError(
            "COCO's evaluation is not installed: run `pip install pycocotools`."
        ) from None
    check(found, truths, len(class_names))
    images = [{"id": number} for number in range(len(truths))]
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]

    def book(annotations: list[dict]) -> "COCO":
        made = COCO()
        made.dataset = {"images": images, "categories": categories, "annotations": annotations}
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):  # it prints every step
        judge = COCOeval(book(_truth_notes(truths)), book(_found_notes(found)), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MOST]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0, 0].astype(np.float64)  # (thresholds, 101, classes)
    by_class = np.where(precision < 0, math.nan, precision).mean(axis=1)  # (thresholds, classes)
    there = ~np.isnan(by_class[0])
    every = [_mean(by_class[:, there]), _mean(by_class[0, there]), _mean(by_class[5, there])]
    classes = {
        str(name): ClassScores(float(column.mean()), float(column[0]))
        for name, column in zip(class_names, by_class.T, strict=True)
    }
    return Scores(*every, classes)


def average_precision(
    found: Sequence[Found],
    truths: Sequence[Truth],
    label: int,
    threshold: float = 0.5,
    points: int | None = 101,
) -> Curve:
    """Average precision of one class at one threshold: what COCO's code computes, in the open.

    Parameters
    ----------
    found, truths
        What a detector says of each image, and what is in it.
    label
        The class.
    threshold
        The IoU from which a detection finds a box.
    points
        At how many recalls from 0 to 1 precision is averaged; None for the area under the curve.

    Returns
    -------
    Curve
        `ap` is NaN where there is nothing to find. `precision` goes up and down; `ap` is that of
        its outline, the best precision at each recall or beyond.

    Raises
    ------
    CourseError
        As for `coco`.
    """
    check(found, truths)
    right, _ = _ranked(found, truths, label, threshold)
    wanted = sum(int((~truth.crowd[truth.labels == label]).sum()) for truth in truths)
    hits = np.cumsum(right)
    recall = hits / wanted if wanted else np.full(len(hits), math.nan)
    precision = hits / np.arange(1, len(hits) + 1)
    if not wanted:
        return Curve(math.nan, recall, precision)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # the outline: the best from here on
    if points is None:
        return Curve(float(np.diff(recall, prepend=0) @ best), recall, precision)
    at = np.searchsorted(recall, np.linspace(0, 1, points), side="left")
    return Curve(float(np.append(best, 0)[at].mean()), recall, precision)


def coco_range(
    found: Sequence[Found],
    truths: Sequence[Truth],
    class_names: Sequence[str],
    draws: int = 200,
    seed: int = 0,
) -> tuple[Scores, Scores]:
    """How far `coco` could have come out otherwise: the middle 95 % over images drawn anew.

    Each draw takes as many images as there are, with replacement (the bootstrap). It says how much
    the choice of test images matters, and nothing of other training runs.

    Parameters
    ----------
    found, truths, class_names
        As for `coco`.
    draws
        How many.
    seed
        Decides them.

    Returns
    -------
    Scores, Scores
        The lower and the upper end of each number.
    """
    check(found, truths, len(class_names))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(truths), np.full(len(truths), 1 / len(truths)), size=draws)
    aps = np.full((draws, len(class_names), len(THRESHOLDS)), math.nan)
    for label in range(len(class_names)):
        wanted = weights @ [int((~t.crowd[t.labels == label]).sum()) for t in truths]
        for place, threshold in enumerate(THRESHOLDS):
            right, image = _ranked(found, truths, label, threshold)
            aps[:, label, place] = _weighted(right, weights[:, image], wanted)
    there = ~np.isnan(aps).all(axis=(0, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw may lack a class
        ends = [
            (
                np.nanquantile(np.nanmean(aps[:, there], axis=(1, 2)), share),
                np.nanquantile(np.nanmean(aps[:, there, 0], axis=1), share),
                np.nanquantile(np.nanmean(aps[:, there, 5], axis=1), share),
                np.nanquantile(aps.mean(axis=2), share, axis=0),
                np.nanquantile(aps[..., 0], share, axis=0),
            )
            for share in (0.025, 0.975)
        ]
    return tuple(
        Scores(
            *map(float, end[:3]),
            {
                str(name): ClassScores(float(ap), float(ap50))
                for name, ap, ap50 in zip(class_names, *end[3:], strict=True)
            },
        )
        for end in ends
    )


def _ranked(
    found: Sequence[Found], truths: Sequence[Truth], label: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Every detection of a class that counts, the surest first: is it right; its image."""
    scores, right, image = [np.zeros(0)], [np.zeros(0, np.int8)], [np.zeros(0, np.int64)]
    for number, (one, truth) in enumerate(zip(found, truths, strict=True)):
        order = np.flatnonzero(one.labels == label)
        order = order[np.argsort(-one.scores[order], kind="stable")][:MOST]
        own = truth.labels == label
        crowd = truth.crowd[own]
        overlaps = _overlaps(one.boxes[order], truth.boxes[own], crowd)
        scores.append(one.scores[order])
        right.append(assigned(overlaps, crowd, threshold))
        image.append(np.full(len(order), number))
    scores, right, image = map(np.concatenate, (scores, right, image))
    order = np.argsort(-scores, kind="stable")
    order = order[right[order] >= 0]  # crowds: neither right nor wrong
    return right[order], image[order]


def _weighted(right: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """COCO's average precision where each detection counts `weights` times, ``(draws, K)``."""
    hits, all_of = np.cumsum(weights * right, axis=1), np.cumsum(weights, axis=1)
    precision = hits / np.maximum(all_of, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.pad(best, ((0, 0), (0, 1)))
    found = np.full(len(weights), math.nan)
    for draw in np.flatnonzero(wanted):
        recall = hits[draw] / wanted[draw]
        found[draw] = best[draw, np.searchsorted(recall, np.linspace(0, 1, 101))].mean()
    return found


def assigned(overlaps: np.ndarray, crowd: np.ndarray, threshold: float) -> np.ndarray:
    """Which detections of an image are right: 1, wrong: 0, and which do not count: −1.

    Parameters
    ----------
    overlaps
        ``(K, M)``: of detections, the surest first, with boxes; with a crowd it is the share of the
        detection that lies inside.
    crowd
        ``(M,)`` bool.
    threshold
        The least overlap that counts.
    """
    right, taken = np.zeros(len(overlaps), np.int8), np.zeros(len(crowd), bool)
    for number, row in enumerate(overlaps):
        free = np.where(taken | crowd, -1.0, row)
        if len(row) and free.max() >= threshold:
            # Of equal ones COCO's code takes the last.
            taken[len(row) - 1 - free[::-1].argmax()] = True
            right[number] = 1
        elif (row[crowd] >= threshold).any():
            right[number] = -1
    return right


def check(found: Sequence[Found], truths: Sequence[Truth], classes: int | None = None) -> None:
    """Refuse what cannot be evaluated, by name.

    Raises
    ------
    CourseError
        If the lists differ in length, lengths within an image do, a box or score is not finite, a
        true box has no inside, or a label is out of range.
    """
    if len(found) != len(truths):
        raise CourseError(
            f"{len(truths)} images but detections of {len(found)}: give each image its own, with "
            "no box where nothing was found."
        )
    for image, (one, truth) in enumerate(zip(found, truths, strict=True)):
        for what, boxes, others in (
            ("a detection", one.boxes, one[1:]),
            ("a true box", truth.boxes, truth[1:]),
        ):
            if np.ndim(boxes) != 2 or np.shape(boxes)[1] != 4:
                raise CourseError(
                    f"Image {image}: boxes must have the shape (number, 4), not {np.shape(boxes)}."
                )
            if any(np.shape(other) != (len(boxes),) for other in others):
                raise CourseError(
                    f"Image {image}: {len(boxes)} boxes ({what} each), but as labels, scores or "
                    f"crowds {[len(other) for other in others]}: give every box one of each."
                )
            if not np.isfinite(boxes).all():
                raise CourseError(f"Image {image}: {what} has a NaN or infinite corner.")
        if not np.isfinite(one.scores).all():
            raise CourseError(
                f"Image {image}: a score is NaN or infinite: the detector has diverged."
            )
        if (truth.boxes[:, 2:] <= truth.boxes[:, :2]).any():
            raise CourseError(
                f"Image {image}: a true box has no width or height: drop it with boxes.sound()."
            )
        for labels in (one.labels, truth.labels):
            low, high = np.min(labels, initial=0), np.max(labels, initial=0)
            if classes is not None and (low < 0 or high >= classes):
                raise CourseError(
                    f"Image {image}: labels run from {low} to {high}, but there are {classes} "
                    f"classes, 0 to {classes - 1}."
                )


def _overlaps(found: np.ndarray, truths: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU ``(K, M)`` in float64, where rounding would decide at a threshold; see `assigned`."""
    a, b = np.asarray(found, np.float64)[:, None], np.asarray(truths, np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(axis=2)
    own, others = (np.clip(box[..., 2:] - box[..., :2], 0, None).prod(axis=2) for box in (a, b))
    whole = np.where(crowd, own, own + others - common)
    return common / np.where(whole > 0, whole, 1)


def _truth_notes(truths: Sequence[Truth]) -> list[dict]:
    notes = []
    for image, truth in enumerate(truths):
        for box, label, crowd in zip(truth.boxes.tolist(), truth.labels, truth.crowd, strict=True):
            left, top, right, bottom = box
            width, height = right - left, bottom - top
            note = {"image_id": image, "category_id": int(label), "iscrowd": int(crowd)}
            note |= {"bbox": [left, top, width, height], "area": width * height}
            notes.append(note | {"id": len(notes) + 1})  # to its code, 0 is "no box"
    return notes


def _found_notes(found: Sequence[Found]) -> list[dict]:
    notes = []
    for image, one in enumerate(found):
        for box, score, label in zip(one.boxes.tolist(), one.scores, one.labels, strict=True):
            left, top, right, bottom = box
            width, height = right - left, bottom - top
            area = max(width, 0) * max(height, 0)  # of a negative one, a mistake would not count
            note = {"image_id": image, "category_id": int(label), "score": float(score)}
            note |= {"bbox": [left, top, width, height], "area": area, "iscrowd": 0}
            notes.append(note | {"id": len(notes) + 1})
    return notes


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
