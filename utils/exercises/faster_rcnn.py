"""Exercises of 14_faster_rcnn: its outputs counted, labels, loss, RoIAlign, what is left out."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, NumberExercise


def _count():
    channels, kinds = 512, 9
    return (channels + 1) * kinds * (2 + 4)


count = NumberExercise(
    "count",
    "How many parameters have the RPN's two output layers on 512 channels, with nine anchors?",
    solution=_count,
    wrong=[
        (512 * 9 * 6, "these are the kernels (the paper's 2.8 × 10⁴); each output has a bias too."),
        (
            513 * 9 * 5,
            "this is one logistic output an anchor, as ours; the paper has a softmax over two.",
        ),
        (513 * 6, "this is one anchor; there are nine at each place."),
        (
            513 * 9 * 6 + (9 * 512 + 1) * 512,
            "the 3×3 convolution before them is not asked for.",
        ),
        (513 * 9 * 4, "these are the offsets; the two outputs for object or not are missing."),
        (513 * 9 * 2, "these are the outputs for object or not; the four offsets are missing."),
    ],
    hints=[
        "A 1×1 convolution has inputs times outputs weights, and a bias for each output.",
        "There are 9 × (2 + 4) = 54 outputs.",
    ],
    correct="27,702: what an RPN adds to VGG-16's 138 million is next to nothing.",
)


def _label(overlap, high, low):
    most = overlap.max(axis=1)
    labels = np.full(len(overlap), -1)
    labels[most < low] = 0
    labels[most >= high] = 1
    best = overlap.argmax(axis=0)
    found = overlap[best, np.arange(overlap.shape[1])] > 0
    labels[best[found]] = 1
    return labels


def _by_threshold(overlap, high, low):
    most = overlap.max(axis=1)
    return np.where(most >= high, 1, np.where(most < low, 0, -1))


def _best_of_anchor(overlap, high, low):
    labels = _by_threshold(overlap, high, low)
    labels[overlap.max(axis=1).argmax()] = 1
    return labels


def _even_zero(overlap, high, low):
    labels = _by_threshold(overlap, high, low)
    labels[overlap.argmax(axis=0)] = 1
    return labels


def _clobbered(overlap, high, low):
    labels = _label(overlap, high, low)
    labels[overlap.max(axis=1) < low] = 0
    return labels


def _nothing_ignored(overlap, high, low):
    labels = _label(overlap, high, low)
    return np.where(labels < 0, 0, labels)


def _of_the_mean(overlap, high, low):
    labels = np.full(len(overlap), -1)
    labels[overlap.min(axis=1) < low] = 0
    labels[_label(overlap, high, low) == 1] = 1
    return labels


_SOME = np.array([[0.8, 0.1], [0.5, 0.2], [0.1, 0.25], [0.05, 0.0], [0.0, 0.1]])

label = Exercise(
    "label",
    "Write label(overlap, high, low): from the IoU of each anchor with each box (A, M) to (A,) of "
    "1, 0 and −1.",
    solution=_label,
    cases=[
        (_SOME, 0.7, 0.3),
        (np.array([[0.1, 0.0], [0.75, 0.0], [0.72, 0.0], [0.4, 0.0]]), 0.7, 0.3),
        (np.array([[0.2, 0.6], [0.65, 0.1], [0.3, 0.55], [0.0, 0.29]]), 0.7, 0.3),
        lambda rng: (rng.random((12, 3)) ** 2, 0.6, 0.35),
    ],
    wrong=[
        (
            _by_threshold,
            "a box whose best anchor is below `high` goes without: its best one is an object too.",
        ),
        (
            _best_of_anchor,
            "each *box* keeps its best anchor: take the maximum along the anchors, for every box.",
        ),
        (_even_zero, "a best anchor that does not touch its box (IoU 0) is no object."),
        (
            _clobbered,
            "a best anchor below `low` has become background again: set the objects last.",
        ),
        (_nothing_ignored, "between `low` and `high` nothing is asked: −1, not 0."),
        (
            _of_the_mean,
            "background is below `low` with *all* boxes: compare the largest IoU.",
        ),
    ],
    hints=[
        "Begin with −1 everywhere. overlap.max(axis=1) says how well each anchor does.",
        "overlap.argmax(axis=0) is each box's best anchor; set these last.",
    ],
    correct="objects, background, and those of which nothing is asked.",
)


def _log_loss(logits, asked):
    return np.logaddexp(0, logits) - logits * (np.asarray(asked) == 1)


def _rpn_loss(logits, asked, costs, sampled, places, balance):
    one = np.logaddexp(0, logits) - logits * (asked == 1)  # −log p, or −log(1 − p)
    classes = one[asked >= 0].sum() / sampled
    return classes + balance * costs[asked == 1].sum() / places


def _all_of_them(logits, asked, costs, sampled, places, balance):
    classes = _log_loss(logits, asked).sum() / sampled
    return classes + balance * costs[asked == 1].sum() / places


def _everywhere(logits, asked, costs, sampled, places, balance):
    classes = _log_loss(logits, asked)[asked >= 0].sum() / sampled
    return classes + balance * costs[asked >= 0].sum() / places


def _one_normaliser(logits, asked, costs, sampled, places, balance):
    classes = _log_loss(logits, asked)[asked >= 0].sum() / sampled
    return classes + balance * costs[asked == 1].sum() / sampled


def _by_objects(logits, asked, costs, sampled, places, balance):
    classes = _log_loss(logits, asked)[asked >= 0].sum() / sampled
    return classes + balance * costs[asked == 1].mean()


rpn_loss = Exercise(
    "rpn_loss",
    "Write rpn_loss(logits, asked, costs, sampled, places, balance): the log loss of the sampled "
    "anchors over `sampled`, and `balance` times the offsets' cost of the objects over `places`.",
    solution=_rpn_loss,
    cases=[
        (
            np.array([2.0, -1.0, 0.5, 3.0]),
            np.array([1, 0, -1, 1]),
            np.array([0.2, 5.0, 7.0, 0.4]),
            4,
            2,
            10.0,
        ),
        lambda rng: (rng.normal(size=30), rng.integers(-1, 2, 30), rng.random(30), 16, 12, 3.0),
    ],
    wrong=[
        (_all_of_them, "anchors with −1 do not count: nothing is asked of them."),
        (_everywhere, "background has no box, so only objects have offsets to pay for."),
        (
            _one_normaliser,
            "the offsets are divided by the number of places, not of sampled anchors.",
        ),
        (_by_objects, "the offsets are divided by the number of places, not of objects."),
        (
            lambda logits, asked, costs, sampled, places, balance: _rpn_loss(
                logits, asked, costs, sampled, places, 1.0
            ),
            "λ (`balance`) is missing.",
        ),
        (
            lambda logits, asked, costs, sampled, places, balance: _rpn_loss(
                -logits, asked, costs, sampled, places, balance
            ),
            "objects and background have changed places: a large logit means an object.",
        ),
    ],
    hints=[
        "−log p is logaddexp(0, −logit) for objects, and −log(1 − p) is logaddexp(0, logit).",
        "asked >= 0 are the sampled anchors, asked == 1 the objects among them.",
    ],
    correct="two sums, each over its own number, and λ between them.",
)


def _shares(low, high, length, size):
    at = low + (high - low) * (np.arange(2 * size) + 0.5) / (2 * size) - 0.5
    at = np.clip(at, 0, length - 1)
    hats = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(length)))
    return hats.reshape(size, 2, length).mean(axis=1)


def _of_points(at, length, size):
    at = np.clip(at, 0, length - 1)
    hats = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(length)))
    return hats.reshape(size, -1, length).mean(axis=1)


def _without_half(low, high, length, size):
    return _of_points(low + (high - low) * (np.arange(2 * size) + 0.5) / (2 * size), length, size)


def _one_point(low, high, length, size):
    return _of_points(low + (high - low) * (np.arange(size) + 0.5) / size - 0.5, length, size)


def _nearest(low, high, length, size):
    at = low + (high - low) * (np.arange(2 * size) + 0.5) / (2 * size) - 0.5
    return _of_points(np.round(at), length, size)


def _rounded(low, high, length, size):
    return _shares(np.round(low), np.round(high), length, size)


def _edges(low, high, length, size):
    return _of_points(np.linspace(low, high, 2 * size) - 0.5, length, size)


def _beyond(low, high, length, size):
    at = low + (high - low) * (np.arange(2 * size) + 0.5) / (2 * size) - 0.5
    hats = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(length)))
    return hats.reshape(size, 2, length).mean(axis=1)


shares = Exercise(
    "shares",
    "Write shares(low, high, length, size): RoIAlign's matrix (size, length) of one direction, "
    "with two points in each part.",
    solution=_shares,
    cases=[
        (1.0, 3.0, 4, 1),
        (0.0, 3.0, 5, 2),
        (1.3, 4.6, 6, 3),
        (0.2, 5.9, 6, 7),
        lambda rng: (float(rng.uniform(0, 3)), float(rng.uniform(5, 9)), 10, 4),
    ],
    wrong=[
        (
            _without_half,
            "a cell's value stands in its middle: cell c at c + ½, so take half a cell off.",
        ),
        (_one_point, "this has one point in each part; two are asked for."),
        (_nearest, "this takes the nearest cell; a point takes a share of both neighbours."),
        (_rounded, "this rounds the region, as RoI pooling does; nothing is rounded here."),
        (
            _edges,
            "the points begin at the region's edge; each stands in the middle of its piece.",
        ),
        (
            _beyond,
            "beyond the middle of the first or last cell a point takes all of that cell: clip it.",
        ),
    ],
    hints=[
        "The 2·size points stand in the middles of 2·size equal pieces; take off half a cell.",
        "A point at a takes max(0, 1 − |a − c|) of cell c. Clip a to 0 … length − 1 first.",
        "Reshape to (size, 2, length), and take the mean of the two.",
    ],
    correct="with one such matrix for rows and one for columns, RoIAlign is two products.",
)

approximate = ChoiceExercise(
    "approximate",
    "Why is joint training of both stages called approximate?",
    options={
        "a": "RoI pooling rounds, so its gradient is not exact.",
        "b": "The proposals' corners depend on the weights, but are taken as given: that part of "
        "the gradient is left out.",
        "c": "Only a sample of anchors and of regions is looked at.",
        "d": "The two stages are trained in turns.",
    },
    answer="b",
    why={
        "a": "a maximum over rounded parts has a gradient, and RoIAlign rounds nothing.",
        "b": "the four losses are exact; one path of the gradient is missing.",
        "c": "true, as of any minibatch: its gradient is right on average.",
        "d": "that is the paper's four-step training, of which joint training is the alternative.",
    },
    hints=[
        "Where does `detach` stand in the PyTorch section?",
        "What could a gradient that passes there still change?",
    ],
)
