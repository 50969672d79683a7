"""Exercises of 20_onnx: nodes in order, an operator, a tensor in 8 bits, calibration, a batch."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise


def _runs(nodes, given):
    known = set(given)
    for needs, makes in nodes:
        if not set(needs) <= known:
            return False
        known |= set(makes)
    return True


_CHAIN = [(("x", "w"), ("a",)), (("a", "b"), ("c",)), (("c",), ("y",))]

runs = Exercise(
    "runs",
    "Write runs(nodes, given): can the nodes run in this order, from these tensors?",
    solution=_runs,
    cases=[
        (_CHAIN, ("x", "w", "b")),
        (_CHAIN[::-1], ("x", "w", "b")),
        (_CHAIN, ("x", "w")),
        ([(("a",), ("y",)), (("x",), ("a",))], ("x",)),
        ([(("x",), ("a",)), (("a", "x"), ("y",))], ("x",)),
        ([], ("x",)),
    ],
    wrong=[
        (
            lambda nodes, given: (
                set().union(*(n for n, _ in nodes)) <= set(given).union(*(m for _, m in nodes))
            ),
            "everything is made somewhere; but is it made before it is needed?",
        ),
        (
            lambda nodes, given: all(set(n) <= set(given) for n, _ in nodes),
            "what an earlier node has made is known as well.",
        ),
        (
            lambda nodes, given: all(
                set(needs) & (set(given).union(*(m for _, m in nodes[:i])))
                for i, (needs, _) in enumerate(nodes)
            ),
            "a node needs all of its inputs, not one of them.",
        ),
        (lambda nodes, given: True, "a file may list its nodes in an order that cannot run."),
    ],
    hints=[
        "Walk through the nodes and keep a set of the names that are known.",
        "Before a node: are all its inputs known? After it: add its outputs.",
    ],
    correct="this is what the checker means by “sorted topologically”.",
)


def _pool(x):
    n, c, height, width = x.shape
    return x.reshape(n, c, height // 2, 2, width // 2, 2).max(axis=(3, 5))


max_pool = Exercise(
    "max_pool",
    "Write max_pool(x): ONNX's MaxPool, windows of 2×2, strides of 2; x is (N, C, H, W), even.",
    solution=_pool,
    cases=[
        (np.arange(16.0).reshape(1, 1, 4, 4),),
        (-np.arange(16.0).reshape(1, 1, 4, 4),),
        lambda rng: (rng.normal(size=(2, 3, 4, 6)),),
    ],
    wrong=[
        (
            lambda x: x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5)),
            "this is the mean: AveragePool.",
        ),
        (lambda x: x[:, :, ::2, ::2], "this takes the first of each window, not the largest."),
        (
            lambda x: np.maximum(
                0, x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max((3, 5))
            ),
            "a window of negative numbers has a negative maximum.",
        ),
        (
            lambda x: x.reshape(
                x.shape[0], x.shape[1] // 2 or 1, -1, x.shape[2] // 2, 2, x.shape[3]
            ).max((2, 4)),
            "pool over rows and columns, the last two axes: ONNX has channels second.",
        ),
        (lambda x: x.max(axis=(2, 3), keepdims=True), "this is GlobalMaxPool: one window."),
    ],
    hints=[
        "Give each window two axes of its own: reshape to (N, C, H/2, 2, W/2, 2).",
        "Then the maximum over axes 3 and 5.",
    ],
    correct="put it into the table, and the interpreter runs networks that pool.",
)


def _parameters(low, high):
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    return np.array([scale, np.round(-low / scale)])


parameters = Exercise(
    "parameters",
    "Write parameters(low, high): scale and zero point for uint8, as an array of two numbers.",
    solution=_parameters,
    cases=[(0.0, 255.0), (-1.0, 1.0), (0.0, 6.0), (-0.3, 2.25), (2.0, 5.1), (-3.0, -1.0)],
    wrong=[
        (
            lambda low, high: np.array([(high - low) / 255, np.round(-low / ((high - low) / 255))]),
            "zero must be inside the range: padding writes zeros, and they must be exact.",
        ),
        (
            lambda low, high: _parameters(low, high) * [255 / 256, 1],
            "256 values have 255 steps between them.",
        ),
        (
            lambda low, high: np.array([max(abs(low), abs(high)) / 127, 0.0]),
            "that is symmetric int8, as the weights have it; here one end may be nearer.",
        ),
        (
            lambda low, high: np.array([_parameters(low, high)[0], -min(low, 0.0)]),
            "the zero point is a byte: count it in steps of the scale.",
        ),
        (
            lambda low, high: _parameters(low, high) * [1, -1],
            "the byte that stands for 0.0 lies above 0 when low is negative.",
        ),
    ],
    hints=[
        "Widen the range so that it holds 0. Then 255 steps from low to high.",
        "The byte q stands for scale · (q − zero); low is to be the byte 0.",
    ],
    correct="zero is exact, and the two ends are the bytes 0 and 255.",
)


def _scale_error(true_high, assumed_high):
    step = assumed_high / 255
    clipped = np.minimum(true_high, assumed_high)
    return max(true_high - clipped, step / 2)


worst = Exercise(
    "worst",
    "Write worst(true, calibrated): the largest error of numbers 0…true in bytes made for "
    "0…calibrated.",
    solution=_scale_error,
    cases=[(1.0, 1.0), (1.0, 255.0), (255.0, 1.0), (6.0, 5.0), (2.0, 4.0)],
    tolerance=1e-6,
    wrong=[
        (
            lambda true, calibrated: calibrated / 510,
            "rounding, yes; but what lies above the range is cut off.",
        ),
        (
            lambda true, calibrated: max(true - calibrated, 0),
            "what is cut off, yes; but numbers inside the range are rounded.",
        ),
        (
            lambda true, calibrated: max(true - calibrated, calibrated / 255),
            "a number is at most half a step from the nearest byte.",
        ),
        (
            lambda true, calibrated: max(true - calibrated, true / 510),
            "the step comes from the calibrated range, not from the true one.",
        ),
    ],
    hints=["Two errors: half a step inside the range, the rest above it.", "The larger of them."],
    correct="too wide costs steps, too narrow costs everything above.",
)

fixed = ChoiceExercise(
    "fixed",
    "A colleague's file answers for one picture and refuses two: “Got: 2 Expected: 1”. The remedy?",
    options={
        "a": "overwrite the 1 in the file's input with the word batch",
        "b": "export again, with a named dimension and an example of two pictures; run it with 3",
        "c": "call it in a loop, once for each picture",
        "d": "export again with an example of 64 pictures",
    },
    answer="b",
    why={
        "a": "the 1 may also stand inside the graph, in a Reshape: then the file lies, and fails "
        "later or, worse, mixes pictures.",
        "b": "the batch is open throughout the graph, and you have asked it for a size it has "
        "never seen.",
        "c": "it works, and pays the price of a call for every picture; the file can be mended.",
        "d": "then it refuses all but 64: an example does not open a dimension, its name does.",
    },
    hints=[
        "Where, apart from the input, may the number 1 have been written?",
        "Which remedy would notice if it had failed?",
    ],
)
