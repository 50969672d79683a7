"""Exercises of 16_yolo: outputs, a box's cell, responsibility, decoding; whose number it is."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, NumberExercise

outputs = NumberExercise(
    "outputs",
    "How many numbers does version 1 give for an image with S = 9, B = 3 and C = 20?",
    solution=lambda: 9 * 9 * (3 * 5 + 20),
    wrong=[
        (9 * 9 * 3 * (5 + 20), "classes once a cell in version 1, not once a box: 5 B + C."),
        (9 * 9 * (3 * 4 + 20), "a box is five numbers: four coordinates and its confidence."),
        (9 * 9 * 3 * 5, "the class probabilities are missing: C for each cell."),
        (3 * 5 + 20, "this is one cell's; there are 9 × 9 of them."),
        (9 * (3 * 5 + 20), "S cells in each direction: S × S of them."),
        (9 * 9 * 3, "this is the number of boxes."),
    ],
    hints=[
        "Each cell gives B boxes and, once, C probabilities.",
        "A box is x, y, w, h, confidence.",
    ],
    correct="81 cells of 35 numbers each.",
)


def _cell(box, stride):
    x, y = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
    row, column = np.floor(y), np.floor(x)
    return np.array([row, column, x - column, y - row])


def _corner(box, stride):
    x, y = box[0] / stride, box[1] / stride
    return np.array([np.floor(y), np.floor(x), x - np.floor(x), y - np.floor(y)])


def _nearest(box, stride):
    row, column, x, y = _cell(box, stride)
    return np.array([row + (y > 0.5), column + (x > 0.5), x, y])


cell = Exercise(
    "cell",
    "Write cell(box, stride): row, column, x and y of the cell that is to find an xyxy box.",
    solution=_cell,
    cases=[
        (np.array([10.0, 20.0, 34.0, 66.0]), 8.0),
        (np.array([0.0, 0.0, 12.0, 6.0]), 16.0),
        lambda rng: (np.sort(rng.uniform(0, 96, (2, 2)), axis=0).reshape(4), 8.0),
    ],
    wrong=[
        (
            lambda box, stride: _cell(box, stride)[[1, 0, 2, 3]],
            "row and column have changed places: the row comes from y.",
        ),
        (_corner, "this is the cell of the upper left corner; the centre decides."),
        (
            _nearest,
            "round goes to the nearest cell's edge; floor says which cell the centre is in.",
        ),
        (
            lambda box, stride: _cell(box, stride) * [1, 1, stride, stride],
            "x and y are shares of a cell, 0 to 1, not pixels.",
        ),
        (
            lambda box, stride: _cell(box, stride) + [0, 0, *_cell(box, stride)[[1, 0]]],
            "x and y count from the cell's corner: take the whole cells off.",
        ),
    ],
    hints=[
        "The centre is the middle of left and right, of top and bottom; divide by the stride.",
        "The whole part says which cell, the rest where in it.",
    ],
    correct="the centre's cell, and where in it.",
)


def _iou(boxes, truth):
    low, high = np.maximum(boxes[:, :2], truth[:2]), np.minimum(boxes[:, 2:], truth[2:])
    both = np.maximum(high - low, 0).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (truth[2:] - truth[:2]).prod()
    return both / (area - both)


def _confidence(boxes, sure, truth, noobj):
    low, high = np.maximum(boxes[:, :2], truth[:2]), np.minimum(boxes[:, 2:], truth[2:])
    both = np.maximum(high - low, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (truth[2:] - truth[:2]).prod()
    iou = both / (areas - both)
    mine = np.arange(len(boxes)) == iou.argmax()
    return np.where(mine, (sure - iou) ** 2, noobj * sure**2).sum()


def _confidence_of(boxes, confidence, truth, noobj, pick=None, target=None, weight=None):
    """The same, with another responsible box, another target or another weight of the rest."""
    iou = _iou(boxes, truth)
    mine = np.arange(len(boxes)) == (iou.argmax() if pick is None else pick(iou, confidence))
    aim = iou if target is None else target
    rest = noobj if weight is None else weight
    return np.where(mine, (confidence - aim) ** 2, rest * confidence**2).sum()


_TRUTH = np.array([10.0, 10.0, 30.0, 40.0])

confidence = Exercise(
    "confidence",
    "Write confidence(boxes, sure, truth, noobj): version 1's two confidence terms for one "
    "cell with an object.",
    solution=_confidence,
    cases=[
        (
            np.array([[12.0, 10.0, 30.0, 38.0], [5.0, 5.0, 50.0, 50.0]]),
            np.array([0.3, 0.8]),
            _TRUTH,
            0.5,
        ),
        (
            np.array([[0.0, 0.0, 20.0, 20.0], [11.0, 9.0, 33.0, 41.0], [9.0, 9.0, 20.0, 30.0]]),
            np.array([0.9, 0.2, 0.4]),
            _TRUTH,
            0.5,
        ),
        lambda rng: (
            np.sort(rng.uniform(0, 60, (3, 2, 2)), axis=1).reshape(3, 4),
            rng.random(3),
            _TRUTH,
            0.25,
        ),
    ],
    wrong=[
        (
            lambda b, c, t, n: _confidence_of(b, c, t, n, target=1.0),
            "the responsible box's confidence should be its IoU, not 1.",
        ),
        (
            lambda b, c, t, n: _confidence_of(b, c, t, n, pick=lambda iou, c: c.argmax()),
            "responsible is the box that overlaps most, not the one that is surest.",
        ),
        (
            lambda b, c, t, n: _confidence_of(b, c, t, n, weight=1.0),
            "the boxes that are not responsible count noobj times.",
        ),
        (
            lambda b, c, t, n: _confidence_of(b, c, t, n, weight=0.0),
            "the cell's other boxes have a term too: their confidence should be 0.",
        ),
        (
            lambda b, c, t, n: ((c - _iou(b, t)) ** 2).sum(),
            "one box is responsible; the others should say that there is nothing.",
        ),
        (
            lambda b, c, t, n: _confidence_of(b, c, t, n) / len(b),
            "the paper sums over boxes; this is their mean.",
        ),
    ],
    hints=[
        "First the IoU of each box with the truth; the largest is responsible.",
        "Its term is (sure − IoU)²; each other's is noobj × sure².",
    ],
    correct="the box that overlaps most answers for the object, the others for nothing.",
)


def _decode(t, column, row, prior, stride):
    centre = stride * (np.array([column, row]) + 1 / (1 + np.exp(-t[:2])))
    size = prior * np.exp(t[2:])
    return np.concatenate([centre - size / 2, centre + size / 2])


def _box(centre, size):
    return np.concatenate([centre - size / 2, centre + size / 2])


decode = Exercise(
    "decode",
    "Write decode(t, column, row, prior, stride): the xyxy box that versions 2 and 3 read from "
    "t = (tx, ty, tw, th) of a cell and a prior (pw, ph) in pixels.",
    solution=_decode,
    cases=[
        (np.array([0.0, 0.0, 0.0, 0.0]), 3, 1, np.array([20.0, 10.0]), 8.0),
        (np.array([1.0, -2.0, 0.5, -0.5]), 0, 5, np.array([14.0, 30.0]), 16.0),
        lambda rng: (rng.normal(size=4), 4, 2, rng.uniform(10, 40, 2), 8.0),
    ],
    wrong=[
        (
            lambda t, column, row, prior, stride: _box(
                stride * (np.array([column, row]) + t[:2]), prior * np.exp(t[2:])
            ),
            "the sigmoid is missing: without it a centre may leave its cell.",
        ),
        (
            lambda t, column, row, prior, stride: _box(
                stride * (np.array([row, column]) + 1 / (1 + np.exp(-t[:2]))), prior * np.exp(t[2:])
            ),
            "column goes with x, row with y: they have changed places.",
        ),
        (
            lambda t, column, row, prior, stride: _box(
                np.array([column, row]) + stride / (1 + np.exp(-t[:2])), prior * np.exp(t[2:])
            ),
            "the cell's number must be multiplied by the stride as well.",
        ),
        (
            lambda t, column, row, prior, stride: _box(
                stride * (np.array([column, row]) + 1 / (1 + np.exp(-t[:2]))), prior * (1 + t[2:])
            ),
            "sizes go through exp: a prior is multiplied, and never turns negative.",
        ),
        (
            lambda t, column, row, prior, stride: _box(
                stride * (np.array([column, row]) + 1 / (1 + np.exp(-t[:2]))), np.exp(t[2:])
            ),
            "the prior is missing: a size is the prior times exp(t).",
        ),
        (
            lambda t, column, row, prior, stride: _box(
                stride * (np.array([column, row]) + 1 / (1 + np.exp(-t[:2]))),
                2 * prior * np.exp(t[2:]),
            ),
            "the box is twice as large: half a size goes to each side of the centre.",
        ),
        (
            lambda t, column, row, prior, stride: np.concatenate(
                [
                    stride * (np.array([column, row]) + 1 / (1 + np.exp(-t[:2]))),
                    prior * np.exp(t[2:]),
                ]
            ),
            "this is cxcywh; corners are asked: centre ∓ half the size.",
        ),
    ],
    hints=[
        "Centre: stride × (cell + σ(t)). Size: prior × exp(t).",
        "Then left and top are the centre minus half the size, right and bottom plus.",
    ],
    correct="a centre that stays in its cell, and a size that stays positive.",
)

whose = ChoiceExercise(
    "whose",
    "“YOLO reaches 57.9 % mAP on COCO at 45 frames a second.” What is true?",
    options={
        "a": "all of it, of version 1",
        "b": "version 1 has 57.9 mAP on VOC 2012, and runs at 45 frames a second",
        "c": "version 2: 57.9 mAP on COCO at 45 frames a second",
        "d": "version 3: 57.9 AP averaged over IoU 0.5 to 0.95 on COCO, at 45 frames a second",
    },
    answer="b",
    why={
        "a": "the paper of version 1 does not report COCO.",
        "b": "and the third fact in the mix is version 3's: 57.9 AP50 on COCO in 51 ms.",
        "c": "version 2's numbers are 76.8 at 67 frames and 78.6 at 40, on VOC 2007.",
        "d": "57.9 is its AP50, and 51 ms are about 20 frames a second.",
    },
    hints=["Three papers, three data sets.", "Look at part 1, what you may have read."],
)
