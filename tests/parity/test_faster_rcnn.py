"""14_faster_rcnn in three frameworks: RoIAlign, the same steps, what is asked, what is refused."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, boxes, data, parity, roi, runtime

NAME = "14_faster_rcnn"
ROOT = Path(__file__).resolve().parents[2]
SMALL = {"width": 4, "hidden": 16, "rois": 16, "sampled": 32, "batch_size": 4}


@pytest.fixture(scope="module")
def scenes(digits):
    """Images and truths drawn from the digits that are at hand everywhere."""
    return data.draw_scenes(40, digits.x_train, digits.y_train, seed=5)


def small(lesson, framework="torch", **changes):
    return settings(lesson, framework, **{**SMALL, **changes})


def aligned(lesson, framework, maps, corners, stride, pull):
    """A framework's RoIAlign, and the gradient of its sum times `pull` for the maps."""
    import keras
    import tensorflow as tf
    import torch

    ours = lesson[framework]
    if framework == "torch":
        ground = torch.tensor(maps, requires_grad=True)
        found = ours.align_torch(ground, torch.as_tensor(corners), stride)
        return found, torch.autograd.grad(found, [ground], torch.as_tensor(pull))[0]
    ground, ends = tf.constant(maps), tf.constant(corners)
    layer = None if framework == "tensorflow" else ours.RoIAlign(stride)
    assert framework != "keras" or keras.backend.backend() == "tensorflow"
    with tf.GradientTape() as tape:
        tape.watch(ground)
        found = layer(ground, ends) if layer else ours.align_tf(ground, ends, stride)
    return found, tape.gradient(found, ground, tf.constant(pull))


@pytest.mark.parametrize(("height", "width", "stride"), [(12, 12, 8), (5, 9, 4), (1, 1, 8)])
def test_roialign_is_the_librarys_and_its_gradient_one(lesson, height, width, stride):
    rng = np.random.default_rng(height)
    maps = rng.normal(size=(2, height, width, 3)).astype("float32")
    corners = np.sort(rng.uniform(0, 1, (2, 30, 2, 2)), axis=2).reshape(2, 30, 4)
    corners = (corners * stride * np.array([width, height] * 2)).astype("float32")
    corners[0, 0] = 0, 0, stride * width, stride * height  # all of the image
    corners[0, 1] = corners[0, 2, [0, 1, 0, 1]]  # a point
    pull = rng.normal(size=(2, 30, 7, 7, 3)).astype("float32")
    evidence = {}
    for framework in runtime.FRAMEWORKS:
        found, back = aligned(lesson, framework, maps, corners, stride, pull)
        evidence[framework] = {"out": parity.to_numpy(found), "gradient": parity.to_numpy(back)}
    for image in range(2):
        expected = roi.align(maps[image], corners[image], 7, stride)
        assert evidence["torch"]["out"][image] == pytest.approx(expected, abs=1e-5)
    parity.compare(evidence, tolerance=1e-5).verdict()
    total = evidence["torch"]["gradient"].sum()  # each row of shares sums to 1
    assert total == pytest.approx(pull.sum(), rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("kind", ["FULL", "CELLS"])
def test_the_network_is_the_tables_and_no_larger_than_said(lesson, framework, kind):
    ours = lesson[framework]
    chosen = SimpleNamespace(**{**getattr(ours, kind), "seed": 0})
    model = ours.ways[framework].build(chosen)
    shapes = {name: value.shape for name, value in parity.get_weights(model).items()}
    assert shapes == {name: value.shape for name, value in ours.start(chosen, 0).items()}
    assert 100_000 < parity.count(model) < 350_000


def lifted(ours, chosen):
    """A start in which next to no ReLU stands at its kink: there rounding decides on a gradient."""
    weights = ours.start(chosen, 0)
    for name in weights:
        if name.endswith(".beta"):
            weights[name] += 3
        elif name in ("rpn.bias", "hidden.bias"):
            weights[name] += 10
        elif name.split(".")[0] in ("objectness", "deltas", "classes", "offsets"):
            weights[name] *= 3
    return weights


def both(lesson, framework, chosen, meal, sample, weights):
    """The four losses of an injected sample, and their gradient for every weight."""
    import tensorflow as tf
    import torch
    from keras import ops

    ours = lesson[framework]
    if framework == "torch":
        model = ours.TorchFasterRCNN(chosen).train()
        parity.set_weights(model, weights)
        parts = ours.step_torch(model, meal, sample)
        gradients = torch.autograd.grad(sum(parts), parity.variables(model))
        return torch.stack(parts), parity.named_gradients(model, gradients)
    if framework == "tensorflow":
        owner, tensor = ours.TFTrainer(chosen), tf.constant
        model = owner.model
    else:
        owner = model = ours.KerasFasterRCNN(chosen)
        tensor = ops.convert_to_tensor
    parity.set_weights(model, weights)
    variables = [getattr(w, "value", w) for w in parity.variables(model)]
    if framework == "tensorflow":
        variables = parity.variables(model)
    with tf.GradientTape() as tape:
        parts = owner.losses(ours.Meal(*map(tensor, meal)), [tensor(part) for part in sample])
        loss = tf.add_n(parts)
    return tf.stack(parts), parity.named_gradients(model, tape.gradient(loss, variables))


@pytest.mark.parametrize("kind", ["scenes", "cells"])
def test_one_sample_gives_the_same_losses_and_gradients(lesson, scenes, kind):
    ours = lesson["torch"]
    images, truths = scenes[0][:4], list(scenes[1][:4])
    chosen = small(lesson)
    if kind == "cells":  # another stride, other anchors and classes, an oblong image, one empty
        images = images[:, :64]
        truths = [boxes.sound(truth, 64, 96) for truth in truths]
        truths = [truth._replace(labels=truth.labels % 3) for truth in truths]
        truths[1] = boxes.truth()
        chosen = settings(lesson, "torch", **{**ours.CELLS, **SMALL, "augment": "none"})
    meal = next(ours.feed(images, truths, chosen))
    weights = lifted(ours, chosen)
    rng, grid = np.random.default_rng(0), meal.asked.shape
    guess = rng.normal(size=grid), 0.1 * rng.normal(size=(*grid, 4))
    sample = ours.regions(*guess, meal.truths, meal.seed, chosen, *images.shape[1:3])
    evidence = {}
    for framework in runtime.FRAMEWORKS:
        parts, gradients = both(lesson, framework, chosen, meal, sample, weights)
        evidence[framework] = {"losses": parity.to_numpy(parts), "gradients": gradients}
    assert (evidence["torch"]["losses"] > 0).all()
    parity.compare(evidence, tolerance=1e-5).verdict()


def test_the_loss_is_the_papers(lesson, scenes):
    """With λ and both normalisations, worked out once more in NumPy."""
    import torch

    ours, chosen = lesson["torch"], small(lesson, balance=7.0)
    meal = next(ours.feed(*scenes, chosen))
    rng = np.random.default_rng(1)
    logits = rng.normal(size=meal.asked.shape).astype("float32")
    deltas = (meal.aims + rng.normal(0, 0.3, meal.aims.shape)).astype("float32")
    nothing = np.zeros((4, 16, 11), "float32"), np.zeros((4, 16, 10, 4), "float32")
    empty = np.full((4, 16), -1, "int32"), np.zeros((4, 16, 4), "float32")
    first, second = (
        [torch.as_tensor(part) for part in pair] for pair in ((logits, deltas), nothing)
    )
    found = [part.item() for part in ours.losses_torch(first, second, meal, empty, chosen)]
    one = np.logaddexp(0, logits) - logits * (meal.asked == 1)
    assert found[0] == pytest.approx(one[meal.asked >= 0].sum() / (4 * 32), rel=1e-5)
    apart = np.abs(deltas - meal.aims)
    costs = np.where(apart < 1 / 9, 4.5 * apart**2, apart - 1 / 18).sum(axis=-1)
    expected = 7 * costs[meal.asked == 1].sum() / (4 * 24 * 24)
    assert found[1] == pytest.approx(expected, rel=1e-5) and found[2:] == [0, 0]


def test_three_steps_are_the_same_in_all_three(lesson, scenes):
    import keras
    import tensorflow as tf
    import torch
    from keras import ops

    from utils.tf_optimizers import SGD

    ours, chosen = lesson["torch"], small(lesson, steps=3)
    meals = list(ours.feed(*scenes, chosen))
    rng = np.random.default_rng(0)
    samples = []
    for meal in meals:
        guess = rng.normal(size=meal.asked.shape), 0.1 * rng.normal(size=meal.aims.shape)
        samples.append(ours.regions(*guess, meal.truths, meal.seed, chosen, 96, 96))
    models = {
        "torch": ours.TorchFasterRCNN(chosen).train(),
        "tensorflow": lesson["tensorflow"].TFTrainer(chosen),
        "keras": lesson["keras"].KerasFasterRCNN(chosen),
    }
    models["tensorflow"], trainer = models["tensorflow"].model, models["tensorflow"]
    begun = lifted(ours, chosen)
    for model in models.values():
        parity.set_weights(model, begun)
    # Plain descent: Adam (01) makes steps of full size out of gradients that are next to nothing.
    first = torch.optim.SGD(models["torch"].parameters(), 0.01)
    second, third = SGD(parity.variables(models["tensorflow"])), keras.optimizers.SGD(0.01)
    for meal, sample in zip(meals, samples, strict=True):
        first.zero_grad()
        sum(ours.step_torch(models["torch"], meal, sample)).backward()
        first.step()
        with tf.GradientTape() as tape:
            given = [tf.constant(part) for part in sample]
            loss = tf.add_n(trainer.losses(ours.Meal(*map(tf.constant, meal)), given))
        second.apply(tape.gradient(loss, second.parameters), 0.01)
        weights = models["keras"].trainable_variables
        with tf.GradientTape() as tape:
            given = [ops.convert_to_tensor(part) for part in sample]
            loss = sum(models["keras"].losses(ours.Meal(*map(ops.convert_to_tensor, meal)), given))
        third.apply(tape.gradient(loss, [w.value for w in weights]), weights)
    after = {}
    for framework, model in models.items():  # Keras's moving variances are the biased ones (07)
        found = parity.get_weights(model).items()
        after[framework] = {"weights": {n: v for n, v in found if "moving_variance" not in n}}
    assert np.abs(after["torch"]["weights"]["hidden.kernel"] - begun["hidden.kernel"]).max() > 1e-3
    parity.compare(after, tolerance=1e-5).verdict()


def test_keras_has_the_same_rates(lesson):
    ours = lesson["keras"]
    for steps in (10, 1000):
        chosen = SimpleNamespace(learning_rate=0.1, steps=steps)
        for step in (0, 1, 5, steps // 2, steps - 1):
            expected = ours.learning_rate(step, chosen)
            assert float(ours.Rate(chosen)(step)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns_and_stops_when_told(lesson, scenes, framework):
    seen = []

    def report(step, logs, preview=None):
        seen.append((step, logs["loss"]))
        picture = preview()
        assert picture.dtype == np.uint8 and picture.shape == (192, 192, 3)
        return step < 30

    way, chosen = lesson[framework].ways[framework], small(lesson, framework, steps=200)
    model = way.train(*scenes, chosen, report)
    assert [step for step, _ in seen] == [10, 20, 30]
    assert seen[-1][1] < seen[0][1]
    for images in (scenes[0][:3], scenes[0][:2, :48, :80]):  # of any size that fits the stride
        found = way.detect(model, images, score=0.01)
        assert len(found) == len(images)
        height, width = images.shape[1:3]
        for one in found:
            assert len(one.boxes) == len(one.scores) == len(one.labels) <= 100
            assert (np.diff(one.scores) <= 0).all() and (one.scores >= 0.01).all()
            assert np.array_equal(boxes.clip(one.boxes, height, width), one.boxes)
            assert one.boxes.dtype == np.float32 and one.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t: (x[:, :50], t), "An image of 50×96 does not fit a stride of 4"),
        (lambda x, t: (x[:, :1, :1], t), "An image of 1×1 does not fit a stride of 4"),
        (
            lambda x, t: (x, [boxes.truth([[90, 5, 99, 20]], [0]), *t[1:]]),
            "Image 0: box 0, .* reaches out of the image",
        ),
        (
            lambda x, t: (x, [t[0], boxes.truth([[5, 5, 5, 20]], [0]), *t[2:]]),
            "Image 1: box 0, .* has no inside",
        ),
        (
            lambda x, t: (x, [boxes.truth([[5, 5, 9, 20]], [10]), *t[1:]]),
            "of class 10, but classes run from 0 to 9",
        ),
        (lambda x, t: (x[:3], t[:3]), "batch of 4"),
    ],
)
@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_what_cannot_be_trained_on_is_named_first(lesson, scenes, framework, change, message):
    images, truths = change(scenes[0][:8], list(scenes[1][:8]))
    way = lesson[framework].ways[framework]
    with pytest.raises(CourseError, match=message):
        way.train(images, truths, small(lesson, framework), lambda *_: True)


def test_images_with_nothing_in_them_can_be_trained_on_and_looked_at(lesson):
    blank = np.zeros((4, 32, 32, 3), "uint8")
    way = lesson["torch"].ways["torch"]
    model = way.train(blank, [boxes.truth()] * 4, small(lesson, steps=10), lambda *_: True)
    assert all(np.isfinite(one.scores).all() for one in way.detect(model, blank))
    with pytest.raises(CourseError, match="An image of 1×1 does not fit"):
        way.detect(model, blank[:, :1, :1])


def test_augmentation_moves_boxes_and_never_mirrors_digits(lesson, scenes):
    ours, rng = lesson["torch"], np.random.default_rng(0)
    images, truths = ours.changed(*scenes, "none", rng)
    assert images is scenes[0] and truths is scenes[1]
    chosen = small(lesson, augment="cells", steps=2)
    meals = list(ours.feed(*scenes, chosen))
    for meal in meals:
        for truth in ours.unpack(meal.truths):
            boxes.check(truth, 96, 96, 10)


KERAS_ON_TORCH = """
from types import SimpleNamespace
import numpy as np
from utils import data, lessons, roi, parity
lesson = lessons.load("14_faster_rcnn", "keras")
import keras
assert keras.backend.backend() == "torch"
digits = data.mnist("embedded")
images, truths = data.draw_scenes(8, digits.x_train, digits.y_train, seed=5)
small = {"width": 4, "hidden": 16, "rois": 16, "sampled": 32, "batch_size": 4, "steps": 30}
chosen = SimpleNamespace(**{**lesson.QUICK, **small, "seed": 0})
losses = []
report = lambda step, logs, preview: losses.append(logs["loss"]) or True
model = lesson.train_keras(images, truths, chosen, report)
assert losses[-1] < losses[0], losses
assert len(lesson.detect_keras(model, images)) == 8
rng = np.random.default_rng(0)
maps = rng.normal(size=(1, 6, 5, 3)).astype("float32")
corners = np.sort(rng.uniform(0, 40, (1, 9, 2, 2)), axis=2).reshape(1, 9, 4).astype("float32")
found = lesson.RoIAlign(8)(keras.ops.convert_to_tensor(maps), keras.ops.convert_to_tensor(corners))
expected = roi.align(maps[0], corners[0], 7, 8)
assert np.abs(parity.to_numpy(found)[0] - expected).max() < 1e-5
"""


@pytest.mark.thorough
def test_keras_trains_on_pytorch_as_well():
    keras_prints(KERAS_ON_TORCH, "torch")
