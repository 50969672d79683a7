"""Exercises of 13_rcnn: IoU, NMS, box coding, average precision, and the arithmetic of sharing."""

import numpy as np

from utils.exercises import Exercise, NumberExercise


def _iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    common = width * height
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    return common / (area_a + area_b - common)


def _sizes(a, b, more=0, clipped=True):
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + more for i in (0, 1)]
    common = np.prod([max(0, side) if clipped else side for side in sides])
    areas = [(box[2] - box[0] + more) * (box[3] - box[1] + more) for box in (a, b)]
    return common, areas


def _plus_one(a, b):
    common, areas = _sizes(a, b, more=1)
    return common / (sum(areas) - common)


def _unclipped(a, b):
    common, areas = _sizes(a, b, clipped=False)
    return common / (sum(areas) - common)


def _over(union):
    def of(a, b):
        common, areas = _sizes(a, b)
        return common / union(common, areas)

    return of


iou = Exercise(
    "iou",
    "Write iou(a, b): intersection over union of two boxes (x0, y0, x1, y1), a number.",
    solution=_iou,
    cases=[
        (np.array([0.0, 0, 4, 4]), np.array([2.0, 2, 6, 6])),
        (np.array([0.0, 0, 4, 4]), np.array([6.0, 5, 9, 9])),  # apart in both directions
        (np.array([0.0, 0, 10, 2]), np.array([4.0, 0, 6, 2])),
        lambda rng: (np.array([0, 0, *rng.uniform(5, 9, 2)]), np.array([1, 2, 11.0, 12.0])),
    ],
    wrong=[
        (
            _unclipped,
            "boxes apart in both directions: two negative sides multiply to a positive area. Cut "
            "each side off at 0 first.",
        ),
        (
            _plus_one,
            "this counts a pixel more in each direction, as old code does; edges lie between "
            "pixels here, and a box is x1 - x0 wide.",
        ),
        (
            _over(lambda common, areas: sum(areas)),
            "what both share is counted twice: the union is the sum of the areas minus it.",
        ),
        (
            _over(lambda common, areas: min(areas)),
            "this divides by the smaller box: a small box inside a large one would be a perfect "
            "match.",
        ),
        (_over(lambda common, areas: areas[0]), "this divides by the first box, not by the union."),
    ],
    hints=[
        "The intersection reaches from the larger left to the smaller right edge.",
        "max(0, …) for each of its sides; the union is both areas less the intersection.",
    ],
    correct="and boxes apart have 0.",
)


def _nms(boxes, scores, threshold):
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if all(_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(int(i))
    return np.array(kept)


def _in_order(boxes, scores, threshold):
    kept = []
    for i in range(len(boxes)):
        if all(_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return np.array(kept)


def _by_all(boxes, scores, threshold):
    order = np.argsort(-scores, kind="stable")
    kept = [
        i
        for place, i in enumerate(order)
        if all(_iou(boxes[i], boxes[j]) <= threshold for j in order[:place])
    ]
    return np.array(kept)


def _by_first(boxes, scores, threshold):
    order = np.argsort(-scores, kind="stable")
    kept = [i for i in order if i == order[0] or _iou(boxes[i], boxes[order[0]]) <= threshold]
    return np.array(kept)


def _some_boxes(rng):
    low = rng.uniform(0, 12, (12, 2))
    return np.concatenate([low, low + rng.uniform(6, 12, (12, 2))], axis=1)


# a chain: the middle one goes because of the first, and the third, near only to it, stays
_CHAIN = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10], [40, 0, 50, 10]])

nms = Exercise(
    "nms",
    "Write nms(boxes, scores, threshold): the indices of the boxes that stay, by falling score.",
    solution=_nms,
    cases=[
        (_CHAIN, np.array([0.9, 0.8, 0.7, 0.6]), 0.3),
        (_CHAIN, np.array([0.2, 0.9, 0.3, 0.5]), 0.3),
        lambda rng: (_some_boxes(rng), rng.random(12), 0.4),
    ],
    wrong=[
        (
            _by_all,
            "a box that is itself suppressed suppresses nobody: compare with those that stay.",
        ),
        (_in_order, "take the boxes by falling score, not in the order in which they come."),
        (_by_first, "only the best box suppresses here; go on with the best of the rest."),
        (
            lambda boxes, scores, threshold: np.sort(_nms(boxes, scores, threshold)),
            "the right boxes, but in the order of their indices: give them by falling score.",
        ),
        (
            lambda boxes, scores, threshold: _nms(boxes, -scores, threshold),
            "this begins with the worst score: argsort sorts upwards.",
        ),
        (
            lambda boxes, scores, threshold: boxes[_nms(boxes, scores, threshold)],
            "these are the boxes; their indices are wanted, to pick scores and labels by.",
        ),
    ],
    hints=[
        "Go through np.argsort(-scores) and keep a list of those that stay.",
        "A box stays if its IoU with every box in that list is at most the threshold.",
    ],
    correct="greedy, and a suppressed box suppresses nobody.",
)


def _decode(deltas, anchor):
    x, y = (anchor[:2] + anchor[2:]) / 2
    w, h = anchor[2:] - anchor[:2]
    x, y = x + deltas[0] * w, y + deltas[1] * h
    w, h = w * np.exp(deltas[2]), h * np.exp(deltas[3])
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def _decode_with(step=None, grow=np.exp, corner=False, half=2.0):
    def of(deltas, anchor):
        size = anchor[2:] - anchor[:2]
        middle = anchor[:2] if corner else (anchor[:2] + anchor[2:]) / 2
        middle = middle + deltas[:2] * (size if step is None else step)
        size = size * grow(deltas[2:])
        return np.concatenate([middle - size / half, middle + size / half])

    return of


def _unmoved_size(deltas, anchor):
    moved = anchor + np.tile(deltas[:2] * (anchor[2:] - anchor[:2]), 2)
    return moved


def _grown_first(deltas, anchor):
    size = (anchor[2:] - anchor[:2]) * np.exp(deltas[2:])
    middle = (anchor[:2] + anchor[2:]) / 2 + deltas[:2] * size
    return np.concatenate([middle - size / 2, middle + size / 2])


decode = Exercise(
    "decode",
    "Write decode(deltas, anchor): the box (4,) to which (t_x, t_y, t_w, t_h) lead from a box.",
    solution=_decode,
    cases=[
        (np.array([0.1, 0.2, 0.0, 0.0]), np.array([0.0, 10, 40, 20])),
        (np.array([0.0, 0.0, np.log(2), -np.log(2)]), np.array([10.0, 10, 20, 30])),
        lambda rng: (rng.normal(0, 0.4, 4), np.array([3.0, 5, 20, 50])),
    ],
    wrong=[
        (
            _decode_with(step=1),
            "the step is in units of the anchor's width and height, not in pixels.",
        ),
        (
            _decode_with(grow=lambda t: 1 + t),
            "t_w and t_h are logarithms of factors: np.exp undoes them.",
        ),
        (
            _decode_with(corner=True),
            "t_x and t_y move the centre; you start from the left top corner.",
        ),
        (
            _decode_with(half=1.0),
            "from the centre it is half the width to each side; this box is twice as large.",
        ),
        (_unmoved_size, "the centre moves as it should, but the size stays."),
        (
            _grown_first,
            "the step is in units of the anchor's size; you take the new box's.",
        ),
    ],
    hints=[
        "Centre and size of the anchor first.",
        "x = x_a + t_x w_a, w = w_a exp(t_w); then centre ± half the size.",
    ],
    correct="from a region to a box, whatever its size.",
)


def _average_precision(scores, right, there):
    right = right[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(right)
    recall, precision = hits / there, hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    total = 0.0
    for at in np.linspace(0, 1, 101):
        reached = best[recall >= at]
        total += reached[0] if len(reached) else 0.0
    return total / 101


def _ap_with(points=101, outline=True, order=True, of_found=False):
    def ap(scores, right, there):
        right = right[np.argsort(-scores, kind="stable")] if order else right
        hits = np.cumsum(right)
        recall = hits / (len(hits) if of_found else there)
        precision = hits / np.arange(1, len(hits) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1] if outline else precision
        if points is None:
            return float(np.diff(recall, prepend=0) @ best)
        found = [best[recall >= at] for at in np.linspace(0, 1, points)]
        return sum(part[0] if len(part) else 0.0 for part in found) / points

    return ap


def _some_detections(rng):
    return rng.permutation(20) / 20, rng.random(20) < 0.5, 15


average_precision = Exercise(
    "average_precision",
    "Write average_precision(scores, right, there): COCO's AP from the scores of all detections of "
    "a class, whether each is right, and how many boxes there are.",
    solution=_average_precision,
    cases=[
        (np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 4),
        (np.array([0.2, 0.9, 0.5, 0.7]), np.array([True, False, True, True]), 3),
        _some_detections,
    ],
    wrong=[
        (_ap_with(points=11), "eleven recalls are VOC's until 2009; COCO asks at 101."),
        (
            _ap_with(points=None),
            "this is the whole area, as VOC from 2010; COCO asks at 101.",
        ),
        (
            _ap_with(outline=False),
            "precision goes up and down: at each recall the best one still to be had counts.",
        ),
        (_ap_with(order=False), "sort by falling score first."),
        (
            _ap_with(of_found=True),
            "recall is the share of the boxes there are, not of the detections.",
        ),
        (
            lambda scores, right, there: float(np.mean(right)),
            "this is the precision at the end, whatever the scores.",
        ),
    ],
    hints=[
        "Sort by falling score; the running sum of `right` gives recall and precision.",
        "np.maximum.accumulate, from the end, makes the outline; beyond the last recall it is 0.",
    ],
    correct="COCO's AP at one threshold; the mean over classes is mAP.",
)

_PIXELS = 2000 * 224**2 / (600 * 1000)

sharing = NumberExercise(
    "sharing",
    "How many times more pixels go through VGG's convolutions in R-CNN?",
    solution=lambda: _PIXELS,
    wrong=[
        (2000, "a region is smaller than the image: count pixels."),
        (1 / _PIXELS, "turned over: R-CNN has more."),
        (224**2 / (600 * 1000), "this is one region; there are 2,000."),
        (2000 * 227**2 / (600 * 1000), "227 is AlexNet's input; VGG's is 224."),
        (47 / 0.32, "this is what was measured; count pixels here."),
    ],
    hints=[
        "2,000 regions of 224×224 pixels each.",
        "One image of 600×1,000 pixels.",
    ],
    correct="about 167 times; 146 times was measured, dense layers and all.",
)
