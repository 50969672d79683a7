"""10_alexnet in three frameworks: counts, torchvision's layout, the same steps, and its traps."""

import gc
import math
from pathlib import Path

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, data, metrics, parity, parity_torchvision, runtime

NAME = "10_alexnet"
ROOT = Path(__file__).resolve().parents[2]
BUILD = {"torch": "TorchAlexNet", "tensorflow": "TFAlexNet", "keras": "KerasAlexNet"}


def logits(framework, model, x):
    """What a model makes of inputs (N, H, W, C), floats."""
    import tensorflow as tf
    import torch

    if framework == "torch":
        with torch.no_grad():
            return model.eval()(torch.as_tensor(x)).numpy()
    return parity.to_numpy(model(tf.constant(x) if framework == "tensorflow" else x))


@pytest.mark.parametrize(
    ("net", "count"), [("PAPER", 60_965_224), ("ONE_COLUMN", 61_100_840), ("ungrouped", 62_378_344)]
)
def test_parameters_are_the_published_ones(lesson, net, count):
    import torch

    ours = lesson["torch"]
    alone = tuple(c._replace(groups=1) for c in ours.PAPER.convolutions)
    net = getattr(ours, net, ours.PAPER._replace(convolutions=alone))
    assert sum(map(ours.parameters_of, ours.layers_of(net))) == count
    with torch.device("meta"):
        assert parity.count(ours.TorchAlexNet(net)) == count


def test_maps_have_the_papers_sides(lesson):
    sides = [layer.out[0] for layer in lesson["torch"].layers_of(lesson["torch"].PAPER)[:5]]
    assert sides == [55, 27, 13, 13, 13]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_small_network_is_the_tables(lesson, framework):
    ours = lesson[framework]
    model = getattr(ours, BUILD[framework])(ours.small(8))
    shapes = {name: value.shape for name, value in parity.get_weights(model).items()}
    table = ours.layers_of(ours.small(8))
    assert shapes == {
        **{f"{layer.name}.kernel": layer.kernel for layer in table},
        **{f"{layer.name}.bias": layer.kernel[-1:] for layer in table},
    }
    assert parity.count(getattr(ours, BUILD[framework])(ours.small(16))) < 400_000


def test_weights_in_torchvisions_layout_at_full_width_answer_alike(lesson):
    """61 million weights and the libraries' own layers: one framework at a time, to save memory."""
    import torch
    from torch import nn

    convolutions = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1)]
    convolutions += [(384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
    features = []
    for number, (seen, made, *how) in enumerate(convolutions):
        features += [nn.Conv2d(seen, made, *how), nn.ReLU()]
        features += [nn.MaxPool2d(3, 2)] if number in (0, 1, 4) else []
    head = [nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096)]
    standard = nn.ModuleDict(
        {
            "features": nn.Sequential(*features),
            "classifier": nn.Sequential(*head, nn.ReLU(), nn.Linear(4096, 1000)),
        }
    ).eval()
    photo = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    with torch.no_grad():
        maps = standard["features"](torch.as_tensor(photo).permute(0, 3, 1, 2))
        expected = standard["classifier"](maps.flatten(1)).numpy()
    state = standard.state_dict()
    assert list(state) == parity_torchvision.keys(parity_torchvision.ALEXNET)
    weights = parity_torchvision.neutral(state, parity_torchvision.ALEXNET)
    del standard, state, head, features
    scale = float(np.abs(expected).max())
    for framework in runtime.FRAMEWORKS:
        ours = lesson[framework]
        model = getattr(ours, BUILD[framework])(ours.ONE_COLUMN)
        parity.set_weights(model, weights)
        assert logits(framework, model, photo) == pytest.approx(expected, abs=1e-4 * scale)
        del model
        gc.collect()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_rows_left_in_torchvisions_order_give_other_answers(lesson, framework):
    ours = lesson[framework]
    net = ours.small(8)
    weights = ours.start(net, "he", 0)
    x = np.random.default_rng(0).normal(size=(4, 28, 28, 1)).astype("float32")
    model = getattr(ours, BUILD[framework])(net)
    parity.set_weights(model, weights)
    before = logits(framework, model, x)
    rows = weights["dense6.kernel"]
    other = rows.reshape(16, -1, rows.shape[1]).transpose(1, 0, 2).reshape(rows.shape)
    parity.set_weights(model, {**weights, "dense6.kernel": other})
    assert np.abs(logits(framework, model, x) - before).max() > 0.1 * np.abs(before).max()


def lrn(x):
    """The paper's formula, in float64."""
    channel = np.arange(x.shape[-1])
    band = np.abs(channel[:, None] - channel) <= 2
    return x / (2 + 1e-4 * (x.astype("float64") ** 2 @ band)) ** 0.75


def test_lrn_is_the_papers_and_each_librarys_alpha_is_another(lesson):
    import tensorflow as tf
    import torch

    x = (np.random.default_rng(0).normal(size=(2, 3, 3, 12)) * 100).astype("float32")
    first = torch.as_tensor(x).permute(0, 3, 1, 2)
    found = {
        "torch": lesson["torch"].lrn_torch(first).permute(0, 2, 3, 1).numpy(),
        "tensorflow": lesson["tensorflow"].lrn_tf(tf.constant(x)).numpy(),
        "keras": parity.to_numpy(lesson["keras"].LRN()(x)),
    }
    for value in found.values():
        assert value == pytest.approx(lrn(x), abs=1e-3)
    library = torch.nn.functional.local_response_norm
    kept = library(first, 5, alpha=5e-4, beta=0.75, k=2.0).permute(0, 2, 3, 1).numpy()
    assert kept == pytest.approx(lrn(x), abs=1e-3)
    literal = library(first, 5, alpha=1e-4, beta=0.75, k=2.0).permute(0, 2, 3, 1).numpy()
    assert np.abs(literal - lrn(x)).max() > 5
    default = library(first, 5).permute(0, 2, 3, 1).numpy()  # k = 1, and alpha divided
    assert np.abs(default - lrn(x)).max() > 5
    wide = tf.nn.local_response_normalization(x, depth_radius=5, bias=2.0, alpha=1e-4, beta=0.75)
    assert np.abs(wide.numpy() - lrn(x)).max() > 1  # a radius is not a width


def test_same_padding_is_another_network():
    import tensorflow as tf
    import torch

    x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(11, 11, 3, 2)).astype("float32")
    assert tf.nn.conv2d(x, kernel, 4, "SAME").shape[1] == 56
    assert tf.nn.conv2d(x, kernel, 4, [[0, 0], [2, 2], [2, 2], [0, 0]]).shape[1] == 55
    maps = np.abs(x[:, :28, :28])
    ours = torch.nn.functional.max_pool2d(torch.as_tensor(maps).permute(0, 3, 1, 2), 3, 2)
    ours = ours.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(ours, tf.nn.max_pool2d(maps, 3, 2, "VALID"))
    assert tf.nn.max_pool2d(maps, 3, 2, "SAME").shape[1] == 14 != ours.shape[1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_groups_do_not_see_each_other(lesson, framework):
    """A change in the first half of conv1's filters reaches the first half of conv2's only."""
    ours = lesson[framework]
    net = ours.small(8, norm="none")
    model = getattr(ours, BUILD[framework])(net)
    weights = ours.start(net, "he", 0)
    x = np.random.default_rng(0).integers(0, 256, (2, 28, 28)).astype("uint8")
    parity.set_weights(model, weights)
    before = ours.ways[framework].maps(model, x)
    weights["conv1.bias"][:4] += 1
    parity.set_weights(model, weights)
    moved = [
        np.abs(b - a).max(axis=(0, 1, 2)) > 1e-3
        for a, b in zip(before, ours.ways[framework].maps(model, x), strict=True)
    ]
    assert moved[1][:8].any() and not moved[1][8:].any()
    assert moved[2][12:].any()  # the third convolution sees both halves


def test_ten_steps_of_a_falling_rate_are_the_same_in_all_three(lesson, digits):
    import keras
    import tensorflow as tf
    import torch

    after, chosen = {}, settings(lesson, "torch", steps=10, batch_size=20, dropout=0.0)
    net = lesson["torch"].net_of(chosen, digits.y_train)
    meals = list(lesson["torch"].feed(digits.x_train, digits.y_train, chosen))
    rates = [lesson["torch"].learning_rate(step, chosen) for step in range(10)]
    ours = lesson["torch"]
    model = ours.TorchAlexNet(net, dropout=0.0)
    parity.set_weights(model, ours.start(net, "he", 0))
    momentum = ours.TorchMomentum(model.parameters())
    for (x, y), rate in zip(meals, rates, strict=True):
        loss = ours.loss_torch(
            model, model(torch.as_tensor(ours.grey(x))), torch.as_tensor(y), 5e-4
        )
        loss.backward()
        momentum.step(rate)
    after["torch"] = {"weights": parity.get_weights(model)}
    trainer = lesson["tensorflow"].TFTrainer(chosen, net)
    for (x, y), rate in zip(meals, rates, strict=True):
        trainer.step(tf.constant(ours.grey(x)), tf.constant(y), rate)
    after["tensorflow"] = {"weights": parity.get_weights(trainer.model)}
    model = lesson["keras"].KerasAlexNet(net, dropout=0.0, decay=5e-4)
    parity.set_weights(model, ours.start(net, "he", 0))
    fall = keras.optimizers.schedules.CosineDecay(chosen.learning_rate, 10)
    model.compile(keras.optimizers.SGD(fall, momentum=0.9))
    for x, y in meals:
        model.train_on_batch(ours.grey(x), y)
    after["keras"] = {"weights": parity.get_weights(model)}
    begun = ours.start(net, "he", 0)
    assert np.abs(after["torch"]["weights"]["conv1.kernel"] - begun["conv1.kernel"]).max() > 1e-3
    parity.compare(after, tolerance=1e-4).verdict()


def test_where_the_rate_stands_matters_once_it_changes(lesson):
    import keras
    import torch

    def end(rates, how):
        w = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([w], rates[0], momentum=0.9)
        ours = lesson["torch"].TorchMomentum([w])
        for rate in rates:
            w.grad = torch.ones(1)
            optimizer.param_groups[0]["lr"] = rate
            ours.step(rate) if how == "paper" else optimizer.step()
        return float(w.detach())

    same, changing = [0.1] * 4, [0.1, 0.1, 0.01, 0.01]
    assert end(same, "paper") == pytest.approx(end(same, "torch"), abs=1e-6)
    assert abs(end(changing, "paper") - end(changing, "torch")) > 0.1
    w = keras.Variable(np.ones(1, "float32"))
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build([w])
    for rate in changing:
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.ones(1)], [w])
    assert float(parity.to_numpy(w)[0]) == pytest.approx(end(changing, "paper"), abs=1e-6)


def test_kerass_own_weight_decay_is_another(lesson):
    import keras

    ends = {}
    for decay in (None, 0.1):
        w = keras.Variable(np.ones(1, "float32"))
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=decay)
        optimizer.build([w])
        for _ in range(3):
            gradient = 0.1 * w.value if decay is None else 0 * w.value  # in the loss, or beside it
            optimizer.apply([gradient], [w])
        ends[decay] = float(parity.to_numpy(w)[0])
    assert abs(ends[None] - ends[0.1]) > 0.01


KERAS_ON_TORCH = """
import numpy as np
from types import SimpleNamespace
from utils import data, lessons, parity
lesson = lessons.load("10_alexnet", "keras")
import keras
assert keras.backend.backend() == "torch"
digits = data.mnist("embedded")
# Weights start at random here: settings with which any start learns within so few steps.
calm = {"learning_rate": 0.02, "dropout": 0.0, "shift": 0, "steps": 120, "batch_size": 64}
chosen = SimpleNamespace(**{**lesson.QUICK, **calm, "seed": 0})
losses = []
model = lesson.train_keras(
    digits.x_train, digits.y_train, chosen, lambda s, logs, p: losses.append(logs["loss"]) or True
)
assert losses[-1] < 0.7 * losses[0], losses
x = (np.random.default_rng(0).normal(size=(2, 3, 3, 12)) * 100).astype("float32")
channel = np.arange(12)
band = np.abs(channel[:, None] - channel) <= 2
expected = x / (2 + 1e-4 * (x**2 @ band)) ** 0.75
assert np.abs(parity.to_numpy(lesson.LRN()(x)) - expected).max() < 1e-3
"""


@pytest.mark.thorough
def test_keras_trains_on_pytorch_as_well():
    keras_prints(KERAS_ON_TORCH, "torch")


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, digits, framework):
    seen = []

    def report(step, logs, preview=None):
        seen.append((step, logs["loss"]))
        if step == 100:
            picture = preview()
            assert picture.dtype == np.uint8 and picture.ndim == 2
        return True

    way = lesson[framework].ways[framework]
    chosen = settings(lesson, framework)
    model = way.train(digits.x_train, digits.y_train, chosen, report)
    assert [step for step, _ in seen] == list(range(10, 151, 10))
    assert seen[-1][1] < 0.6 * seen[0][1]
    found = way.logits(model, digits.x_test)
    assert found.shape == (len(digits.x_test), 10)
    assert (found.argmax(axis=1) == digits.y_test).mean() > 0.7
    assert [maps.shape[1:] for maps in way.maps(model, digits.x_test[:2])] == [
        layer.out for layer in lesson[framework].layers_of(model.net)[:5]
    ]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model_and_odd_batches_are_named(lesson, digits, framework):
    way, seen = lesson[framework].ways[framework], []
    chosen = settings(lesson, framework, batch_size=16)
    model = way.train(
        digits.x_train, digits.y_train, chosen, lambda step, *_: seen.append(step) or step < 30
    )
    assert seen == [10, 20, 30]
    assert np.isfinite(way.logits(model, digits.x_test[:5])).all()
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        large = settings(lesson, framework, batch_size=5000)
        way.train(digits.x_train, digits.y_train, large, lambda *_: True)


def test_a_long_run_resumes_where_it_was_cut(lesson, digits, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = settings(lesson, "tensorflow", steps=40, batch_size=16)
    net = bare.net_of(chosen, digits.y_train)
    trainer = bare.TFTrainer(chosen, net)
    bare.train_tf(digits.x_train, digits.y_train, chosen, lambda step, *_: step < 20, trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(chosen, net)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    assert int(again.count) == 20
    steps = []
    report = lambda step, *_: steps.append(step) or True  # noqa: E731
    bare.train_tf(digits.x_train, digits.y_train, chosen, report, again)
    assert steps == [30, 40]


def test_there_is_an_output_for_each_class(lesson, digits):
    some = digits.y_train < 3
    chosen = settings(lesson, "torch", steps=10, batch_size=16)
    way = lesson["torch"].ways["torch"]
    model = way.train(digits.x_train[some], digits.y_train[some], chosen, lambda *_: True)
    assert way.logits(model, digits.x_test[:4]).shape == (4, 3)


def test_crops_move_images_whole(lesson):
    ours = lesson["torch"]
    image = np.zeros((1, 28, 28), "uint8")
    image[0, 10:18, 10:18] = 255
    moved = ours.crops(image.repeat(200, axis=0), 2, np.random.default_rng(0))
    assert (moved.sum(axis=(1, 2)) == image.sum()).all()
    corners = {tuple(np.argwhere(each)[0]) for each in moved}
    assert corners == {(10 + down, 10 + right) for down in range(-2, 3) for right in range(-2, 3)}
    assert ours.crops(image, 0, np.random.default_rng(0)) is image


def test_what_is_built_here_is_the_librarys(lesson):
    ours, rng = lesson["torch"], np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 28, 28)).astype("uint8")
    assert np.array_equal(ours.grey(images), data.grey(images))
    seeds = [np.random.default_rng(1) for _ in range(2)]
    assert np.array_equal(ours.crops(images, 2, seeds[0]), data.crops(images, 2, seeds[1]))
    assert np.array_equal(ours.in_parts(np.sqrt, images, 7), data.in_parts(np.sqrt, images, 7))
    scores = rng.normal(size=(30, 10)) * 50
    assert np.array_equal(ours.softmax(scores), metrics.softmax(scores))


def test_five_crops_are_the_middle_and_four_corners(lesson):
    ours, seen = lesson["torch"], []

    def logits(images):
        seen.append(images.copy())
        return np.log(np.full((len(images), 2), 0.5) + [[0.25, -0.25]])

    image = np.zeros((1, 28, 28), "uint8")
    image[0, 14, 14] = 255
    assert ours.five_crops(logits, image)[0] == pytest.approx([0.75, 0.25])
    places = [tuple(np.argwhere(views[0])[0]) for views in seen]
    assert places == [(14, 14), (16, 16), (16, 12), (12, 16), (12, 12)]


def test_the_papers_start_tells_images_apart_no_more(lesson, digits):
    ours, spread = lesson["torch"], {}
    net = ours.small(8)
    for init in ("he", "paper"):
        model = ours.TorchAlexNet(net)
        parity.set_weights(model, ours.start(net, init, 0))
        maps = ours.maps_torch(model, digits.x_test[:50])[4]
        spread[init] = maps.std(axis=0).mean()
    assert spread["paper"] < 1e-2 * spread["he"]
    weights = ours.start(net, "paper", 0)
    ones = {name for name, value in weights.items() if name.endswith("bias") and value.all()}
    assert ones == {f"{name}.bias" for name in ("conv2", "conv4", "conv5", "dense6", "dense7")}
    assert weights["conv3.kernel"].std() == pytest.approx(0.01, rel=0.05)


def test_he_keeps_the_size_of_what_passes(lesson):
    kernel = lesson["torch"].start(lesson["torch"].small(16), "he", 0)["conv2.kernel"]
    assert kernel.std() == pytest.approx(math.sqrt(2 / (25 * 8)), rel=0.05)
