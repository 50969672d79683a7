"""Exercises of 15_ssd: counting boxes, their shapes, hard negatives, the loss, no object."""

import math

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, NumberExercise


def _count():
    maps = {64: 4, 32: 6, 16: 6, 8: 6, 4: 6, 2: 4, 1: 4}  # cells at a side: boxes in each
    return sum(side * side * boxes for side, boxes in maps.items())


count = NumberExercise(
    "count",
    "How many default boxes has SSD512? Its seven maps have 64, 32, 16, 8, 4, 2 and 1 cells at a "
    "side; the first and the last two have 4 boxes in a cell, the others 6.",
    solution=_count,
    wrong=[
        (8732, "this is SSD300's; SSD512 has larger maps, and one more."),
        (
            sum(side * side for side in (64, 32, 16, 8, 4, 2, 1)),
            "these are the cells; each has 4 or 6 boxes.",
        ),
        (
            6 * sum(side * side for side in (64, 32, 16, 8, 4, 2, 1)),
            "not every cell has 6 boxes: the first map's and the last two maps' have 4.",
        ),
        (
            4 * sum(side * side for side in (64, 32, 16, 8, 4, 2, 1)),
            "not every cell has 4 boxes: those of the second to fifth map have 6.",
        ),
        (
            64 * 4 + 32 * 6 + 16 * 6 + 8 * 6 + 4 * 6 + 2 * 4 + 1 * 4,
            "a map of 64 cells at a side has 64 × 64 cells.",
        ),
    ],
    hints=[
        "A map of n cells at a side with b boxes in a cell has n × n × b.",
        "The first map alone has 64 × 64 × 4 = 16,384.",
    ],
    correct="24,564, and two thirds of them on the first map again.",
)


def _shapes(scale, following, ratios):
    found = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in ratios]
    between = math.sqrt(scale * following)
    return np.array([*found, (between, between)])


def _shapes_by(width, height, between=lambda s, t: math.sqrt(s * t)):
    def made(scale, following, ratios):
        found = [(width(scale, a), height(scale, a)) for a in ratios]
        return np.array([*found, (between(scale, following),) * 2])

    return made


def _wide(scale, ratio):
    return scale * math.sqrt(ratio)


def _high(scale, ratio):
    return scale / math.sqrt(ratio)


shapes = Exercise(
    "shapes",
    "Write shapes(scale, following, ratios): widths and heights (len(ratios) + 1, 2) of a cell's "
    "default boxes, the extra square last.",
    solution=_shapes,
    cases=[
        (16.0, 25.0, np.array([1.0, 4.0])),
        (0.2, 0.37, np.array([1.0, 2.0, 0.5, 3.0, 1 / 3])),
        lambda rng: (10 * rng.random() + 1, 20 + rng.random(), 0.3 + 2 * rng.random(3)),
    ],
    wrong=[
        (
            _shapes_by(_high, _wide),
            "widths and heights have changed places: the ratio is width by height.",
        ),
        (
            _shapes_by(lambda s, a: s * a, lambda s, a: s),
            "this keeps the height and multiplies the width by the ratio; the area should stay "
            "scale² for every ratio.",
        ),
        (
            _shapes_by(lambda s, a: s * a, lambda s, a: s / a),
            "take the square root of the ratio: width over height is ratio² here.",
        ),
        (
            _shapes_by(_wide, _high, lambda s, t: (s + t) / 2),
            "the extra square's scale is the geometric mean √(s·t), not the arithmetic one.",
        ),
        (
            _shapes_by(_wide, _high, lambda s, t: t),
            "the extra square stands between this map's scale and the next: √(s·t).",
        ),
        (
            lambda scale, following, ratios: _shapes(scale, following, ratios)[:-1],
            "the extra square is missing.",
        ),
    ],
    hints=[
        "Width times height is scale² for every ratio; width over height is the ratio.",
        "The last row is √(scale · following), twice.",
    ],
    correct="equal areas, and one square between two maps' scales.",
)


def _hard(costs, labels, ratio):
    positive = labels > 0
    open_to = np.where(labels == 0, costs, -np.inf)
    order = np.argsort(-open_to, kind="stable")[: int(ratio * positive.sum())]
    found = np.zeros(len(labels), bool)
    found[order] = True
    return found & (labels == 0)


def _hard_among(
    usable, descending=True, limit=lambda ratio, positives, negatives: ratio * positives
):
    def found(costs, labels, ratio):
        key = np.where(usable(labels), costs, -np.inf if descending else np.inf)
        many = int(limit(ratio, (labels > 0).sum(), (labels == 0).sum()))
        chosen = np.zeros(len(labels), bool)
        chosen[np.argsort(-key if descending else key, kind="stable")[:many]] = True
        return chosen & usable(labels)

    return found


hard = Exercise(
    "hard",
    "Write hard(costs, labels, ratio): which negatives count, (A,) bool. Label 0 "
    "is background, above it are classes, and −1 is left out.",
    solution=_hard,
    cases=[
        (
            np.array([0.1, 2.0, 5.0, 0.7, 3.0, 9.0, 0.2, 0.4]),
            np.array([0, 0, 2, 0, 0, -1, 0, 0]),
            3,
        ),
        (np.array([3.0, 1.0, 2.0]), np.array([0, 0, 0]), 3),
        lambda rng: (rng.random(40), np.where(rng.random(40) < 0.1, 3, 0), 2),
        lambda rng: (rng.random(40), rng.choice([-1, 0, 0, 0, 0, 0, 1], 40), 2),
    ],
    wrong=[
        (
            _hard_among(lambda labels: labels <= 0),
            "boxes with the label −1 are left out: they may not be mined either.",
        ),
        (
            _hard_among(lambda labels: labels == 0, descending=False),
            "these are the easiest: take those with the largest cost.",
        ),
        (
            lambda costs, labels, ratio: labels == 0,
            "these are all negatives; only `ratio` for each positive count.",
        ),
        (
            _hard_among(lambda labels: labels == 0, limit=lambda ratio, p, n: ratio),
            "`ratio` for each positive, not `ratio` in all.",
        ),
        (
            _hard_among(lambda labels: labels == 0, limit=lambda ratio, p, n: n // (ratio + 1)),
            "this keeps a share of the negatives; count the positives instead.",
        ),
        (
            lambda costs, labels, ratio: (
                _hard(np.where(labels > 0, -np.inf, costs), labels, ratio) | (labels > 0)
            ),
            "the positives are not negatives: the loss adds them by itself.",
        ),
    ],
    hints=[
        "Give what is not background a cost of −∞, then sort.",
        "rank = argsort(argsort(−costs)) is each box's place; compare it with ratio × positives.",
    ],
    correct="the dearest background boxes, three for a positive, and none where nothing is found.",
)


def _loss(costs, gaps, labels, hard):
    positive = labels > 0
    gaps = np.abs(gaps)
    smooth = np.where(gaps < 1, 0.5 * gaps**2, gaps - 0.5)
    total = costs[positive | hard].sum() + smooth[positive].sum()
    return total / max(positive.sum(), 1)


def _loss_with(smooth=None, number=None, place=None, counted=None):
    def found(costs, gaps, labels, hard):
        positive, gaps = labels > 0, np.abs(gaps)
        cost = smooth(gaps) if smooth else np.where(gaps < 1, 0.5 * gaps**2, gaps - 0.5)
        total = costs[counted(positive, hard) if counted else positive | hard].sum()
        total = total + cost[place(positive, hard) if place else positive].sum()
        return total / (number(positive, hard) if number else max(positive.sum(), 1))

    return found


loss = Exercise(
    "loss",
    "Write loss(costs, gaps, labels, hard): the loss of one picture, from each box's −log p (A,), "
    "the gaps l − ĝ between offsets (A, 4), the labels and the negatives that count (A,).",
    solution=_loss,
    cases=[
        (
            np.array([1.0, 2.0, 0.5, 0.1]),
            np.array([[0.5, -2.0, 0.0, 0.0], [1.0] * 4, [3.0] * 4, [0.1] * 4]),
            np.array([3, 0, 0, 1]),
            np.array([False, True, False, False]),
        ),
        (np.ones(3), np.ones((3, 4)), np.zeros(3, int), np.zeros(3, bool)),
        lambda rng: (
            rng.random(20),
            3 * rng.normal(size=(20, 4)),
            np.repeat([2, 0], [4, 16]),
            np.arange(20) > 12,
        ),
    ],
    wrong=[
        (
            _loss_with(number=lambda positive, hard: max((positive | hard).sum(), 1)),
            "divide by N, the positives alone; this divides by the hard negatives as well.",
        ),
        (
            _loss_with(number=lambda positive, hard: len(positive)),
            "divide by N, the positives; this divides by all default boxes.",
        ),
        (
            _loss_with(place=lambda positive, hard: positive | hard),
            "a negative has no object to fit: only positives have a cost of place.",
        ),
        (
            _loss_with(counted=lambda positive, hard: np.ones(len(hard), bool)),
            "only positives and hard negatives count; this adds every background box.",
        ),
        (
            _loss_with(counted=lambda positive, hard: positive),
            "the hard negatives are missing: nothing would teach what background is.",
        ),
        (
            _loss_with(smooth=lambda gaps: 0.5 * gaps**2),
            "beyond a gap of 1 smooth L1 is a line, |x| − ½.",
        ),
        (_loss_with(smooth=lambda gaps: gaps), "up to a gap of 1 smooth L1 is a parabola, x²/2."),
        (
            _loss_with(smooth=lambda gaps: np.where(gaps < 1, 0.5 * gaps**2, gaps)),
            "the line is |x| − ½, so that it meets the parabola at 1.",
        ),
        (
            _loss_with(number=lambda positive, hard: 1),
            "divide by N, the number of positives (or by 1 where there is none).",
        ),
    ],
    hints=[
        "Three sums: classes of positives, classes of hard negatives, smooth L1 of positives.",
        "max(N, 1) below: a picture without an object costs 0.",
    ],
    correct="classes and places of N positives, and the classes of the hard negatives, by N.",
)

empty = ChoiceExercise(
    "empty",
    "A training picture shows no object at all. By the paper's rule it …",
    options={
        "a": "teaches that all its default boxes are background.",
        "b": "adds nothing to the loss.",
        "c": "makes the loss infinite: N is 0.",
        "d": "gives three hard negatives.",
    },
    answer="b",
    why={
        "a": "only hard negatives are trained on, three for each positive; how many is that here?",
        "b": "no positives, so three times none negatives; and the loss is set to 0.",
        "c": "the paper sees to that: where N = 0, the loss is set to 0.",
        "d": "three for each positive; here there is none.",
    },
    hints=[
        "How many positives has it? And how many negatives for each?",
        "Three times none.",
    ],
)
