"""Exercises of 11_vgg: parameters, receptive fields, preprocessing, freezing; other data."""

import numpy as np

from utils.exercises import ChoiceExercise, Exercise, NumberExercise, OwnDataExercise


def _count():
    blocks = [[64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512]]
    total, seen = 0, 3
    for made in sum(blocks, []):
        total, seen = total + (9 * seen + 1) * made, made
    side = 32 // 2 ** len(blocks)  # 1: each block's pooling halves it
    for units, width in ((side * side * 512, 4096), (4096, 4096), (4096, 10)):
        total += (units + 1) * width
    return total


_DENSE = (512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 10
_BIASES = 4224 + 4096 + 4096 + 10

count = NumberExercise(
    "count",
    "Configuration D for colour images of 32×32 and 10 classes, without BatchNorm: how many "
    "parameters?",
    solution=_count,
    wrong=[
        (
            134_301_514,
            "this is D for 224×224 with ten classes; of 32 pixels, five poolings leave one.",
        ),
        (138_357_544, "this is the paper's D; here the images are smaller and the classes fewer."),
        (_count() - _BIASES, "these are the kernels; every filter and every unit has a bias too."),
        (_DENSE, "these are the dense layers; the thirteen convolutions are missing."),
        (_count() - _DENSE, "these are the convolutions; the three dense layers are missing."),
        (_count() + 2 * 4224, "this counts BatchNorm's scales and shifts as well."),
        (
            _count() + (4096 + 1) * 990,
            "the last layer still has 1,000 outputs; here there are 10 classes.",
        ),
        (_count() - 2 * 9 * 64, "the images have three channels, not one."),
    ],
    hints=[
        "The convolutions do not care how large the image is: 14,714,688.",
        "32, 16, 8, 4, 2, 1: the first dense layer reads 1×1×512 numbers.",
    ],
    correct="33,638,218; three quarters fewer than for 224 pixels, and all of that in one layer.",
)


def _field(layers):
    span, step = 1, 1
    for size, stride in layers:
        span, step = span + (size - 1) * step, step * stride
    return span


def _field_early(layers):
    span, step = 1, 1
    for size, stride in layers:
        step = step * stride
        span = span + (size - 1) * step
    return span


def _field_full(layers):
    span, step = 1, 1
    for size, stride in layers:
        span, step = span + size * step, step * stride
    return span


field = Exercise(
    "field",
    "Write field(layers): how many pixels, each way, a unit behind layers of (size, stride) sees.",
    solution=_field,
    cases=[
        ([(3, 1)],),
        ([(3, 1), (3, 1)],),
        ([(3, 1), (2, 2), (3, 1)],),
        ([(11, 4), (3, 2), (5, 1)],),
        ([(3, 1), (3, 1), (2, 2), (3, 1), (3, 1), (2, 2), (3, 1)],),
    ],
    wrong=[
        (
            lambda layers: sum(size for size, _ in layers),
            "this adds the sizes; neighbouring windows overlap, so each adds size − 1.",
        ),
        (
            lambda layers: 1 + sum(size - 1 for size, _ in layers),
            "right while nothing is strided: behind a stride of 2, a step is two pixels wide.",
        ),
        (
            lambda layers: int(np.prod([size for size, _ in layers])),
            "this multiplies the sizes; windows that are one apart overlap.",
        ),
        (
            _field_early,
            "a layer's stride spreads its outputs, not its own inputs: widen the step afterwards.",
        ),
        (_field_full, "one of the size pixels is there already: each layer adds size − 1 steps."),
        (
            lambda layers: (
                _field([(size, 1) for size, stride in reversed(layers)])
                * int(np.prod([stride for _, stride in layers]))
            ),
            "only what comes behind a stride is spread by it, not all of it.",
        ),
    ],
    hints=[
        "Keep two numbers: the span, which starts at 1, and the step between units, at 1 too.",
        "A layer adds (size − 1) steps to the span; after that its stride multiplies the step.",
    ],
    correct="which is how fields() in part 1 does it, with the place of the field besides.",
)

_MEAN = np.array([123.68, 116.779, 103.939])  # of ImageNet: red, green, blue


def _caffe(photo):
    return photo[..., ::-1].astype("float32") - np.array([103.939, 116.779, 123.68])


def _rgb(rng):
    return (rng.integers(0, 256, (2, 3, 3, 3)).astype("uint8"),)


caffe = Exercise(
    "caffe",
    "Write caffe(photo): red-green-blue bytes (…, 3) as the first VGG weights want them, blue "
    "first, minus ImageNet's means: red 123.68, green 116.779, blue 103.939.",
    solution=_caffe,
    cases=[
        (np.array([[[255, 0, 0]]], "uint8"),),
        (np.array([[[10, 20, 30], [200, 150, 100]]], "uint8"),),
        _rgb,
    ],
    wrong=[
        (lambda photo: photo - _MEAN, "red still comes first; these weights want blue first."),
        (
            lambda photo: photo[..., ::-1] - _MEAN,
            "the channels are turned round, but their means are not: blue's is 103.939.",
        ),
        (
            lambda photo: (photo[..., ::-1] - _MEAN[::-1]) / 255,
            "these weights were trained on differences of up to ±150; do not divide by 255.",
        ),
        (lambda photo: photo / 255.0, "0 to 1 is what neither of the two wants."),
        (
            lambda photo: (photo / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
            "this is torchvision's; the question is Caffe's, and Keras's.",
        ),
        (
            lambda photo: photo[..., ::-1] - photo.mean(axis=(-3, -2)).mean(),
            "subtract ImageNet's means, not the picture's own.",
        ),
        (
            lambda photo: (photo[..., ::-1] - _MEAN[::-1].astype("uint8")).astype("uint8"),
            "bytes cannot be negative: they wrap round to 255. Make floats first.",
        ),
    ],
    hints=["photo[..., ::-1] turns the channels round.", "Then the means' order is 103.939 first."],
    correct="this is what keras.applications.vgg16.preprocess_input does.",
)

frozen = ChoiceExercise(
    "frozen",
    "All weights of a network's BatchNorms got requires_grad_(False) in PyTorch, then "
    "model.train() was called and the new head trained on letters. What happened in the "
    "BatchNorms?",
    options={
        "a": "Nothing: they are frozen.",
        "b": "Their scale and shift changed.",
        "c": "They used the letters' statistics, and their moving averages drifted to those.",
        "d": "They used their old averages, but overwrote them.",
    },
    answer="c",
    why={
        "a": "moving averages are no weights: requires_grad does not reach them.",
        "b": "scale and shift are weights, and those do stay.",
        "c": "only eval() stops both. Keras's trainable = False implies it; PyTorch's flag does "
        "not.",
        "d": "in training mode the batch's own statistics are used.",
    },
    hints=["What does training mode decide in a BatchNorm?", "Which of its four arrays learn?"],
)

other_data = OwnDataExercise("other_data")
