"""11_vgg in three frameworks: counts, torchvision's layout, the same steps, freezing, its traps."""

import math

import numpy as np
import pytest
from parity_settings import settings

from utils import CourseError, parity, parity_torchvision, runtime

NAME = "11_vgg"
BUILD = {"torch": "TorchVGG", "tensorflow": "TFVGG", "keras": "KerasVGG"}
COUNTS = {
    "A": (132_863_336, 132_868_840),
    "B": (133_047_848, 133_053_736),
    "C": (133_638_952, 133_647_400),
    "D": (138_357_544, 138_365_992),
    "E": (143_667_240, 143_678_248),
}


def build(lesson, framework, net, **kinds):
    return getattr(lesson[framework], BUILD[framework])(net, **kinds)


def forward(framework, model, x, training=False, **kinds):
    """What a model makes of inputs (N, H, W, C), floats."""
    import tensorflow as tf
    import torch

    if framework == "torch":
        model.train(training)
        with torch.no_grad():
            return model(torch.as_tensor(x)).numpy()
    x = tf.constant(x) if framework == "tensorflow" else x
    return parity.to_numpy(model(x, training=training, **kinds))


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("row", COUNTS)
def test_parameters_are_the_published_ones(lesson, row):
    import torch

    ours = lesson["torch"]
    for norm, count in zip((False, True), COUNTS[row], strict=True):
        assert ours.parameters_of(ours.paper(row, norm)) == count
        with torch.device("meta"):
            assert parity.count(ours.TorchVGG(ours.paper(row, norm))) == count
    assert len(ours.layers_of(ours.paper(row))) == {"A": 11, "B": 13, "E": 19}.get(row, 16)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("norm", [False, True])
def test_the_small_network_is_the_tables(lesson, framework, norm):
    ours = lesson[framework]
    net = ours.small("C", 8, norm)
    model = build(lesson, framework, net)
    found = {name: value.shape for name, value in parity.get_weights(model).items()}
    assert found == {name: value.shape for name, value in ours.start(net, "he", 0).items()}
    assert parity.count(model) == ours.parameters_of(net)
    assert found["conv3_3.kernel"] == (1, 1, 32, 32)


def test_receptive_fields_are_the_known_ones(lesson):
    ours = lesson["torch"]
    seen = {
        row: [high - low + 1 for low, high, _ in ours.fields(ours.paper(row)).values()]
        for row in "ADE"
    }
    assert seen["D"] == [3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196]
    assert seen["E"][-1] == 252 and seen["A"][-1] == 134


@pytest.mark.parametrize("layer", [1, 3, 6])
def test_a_unit_sees_its_field_and_nothing_else(lesson, layer):
    """Pixels outside leave it as it is, and one at each corner of the field changes it."""
    ours = lesson["torch"]
    net = ours.small("D", 8, norm=False)
    model = ours.TorchVGG(net)
    weights = {k: np.abs(w) for k, w in ours.start(net, "he", 0).items()}  # no ReLU is shut
    parity.set_weights(model, weights)
    low, high, step = list(ours.fields(net).values())[layer - 1]
    place = (14 // step) if layer < 6 else 3
    first, last = place * step + low, place * step + high
    image = np.full((1, 28, 28), 100, "uint8")
    before = ours.maps_torch(model, image)[layer - 1][0, place, place]
    for pixel in {max(first, 0), min(last, 27)}:
        moved = image.copy()
        moved[0, pixel, pixel] = 255
        after = ours.maps_torch(model, moved)[layer - 1][0, place, place]
        assert np.abs(after - before).max() > 0
    for pixel in {first - 1, last + 1} & set(range(28)):
        moved = image.copy()
        moved[0, pixel] = moved[0, :, pixel] = 255
        after = ours.maps_torch(model, moved)[layer - 1][0, place, place]
        assert np.array_equal(after, before)


def layout(net, norm):
    """The libraries' own layers, in the order in which torchvision's keys count them."""
    from torch import nn

    features, seen = [], net.channels
    for block in net.blocks:
        for made, _ in block:
            features.append(nn.Conv2d(seen, made, 3, padding=1))
            features += [nn.BatchNorm2d(made)] if norm else []
            features.append(nn.ReLU())
            seen = made
        features.append(nn.MaxPool2d(2, 2))
    first, second = net.hidden
    dense = [nn.Linear(seen * 7 * 7, first), nn.ReLU(), nn.Dropout(), nn.Linear(first, second)]
    dense += [nn.ReLU(), nn.Dropout(), nn.Linear(second, net.classes)]
    parts = {"features": nn.Sequential(*features), "classifier": nn.Sequential(*dense)}
    return nn.ModuleDict(parts).eval()


@pytest.mark.parametrize(("row", "norm"), [("A", False), ("D", True), ("E", True)])
def test_keys_and_shapes_at_full_width_are_torchvisions(lesson, row, norm):
    import torch

    net = lesson["torch"].paper(row, norm)
    with torch.device("meta"):
        state = layout(net, norm).state_dict()
    counters = {key for key in state if key.endswith("num_batches_tracked")}
    table = parity_torchvision.vgg([len(block) for block in net.blocks], norm)
    assert parity_torchvision.keys(table) == [key for key in state if key not in counters]
    shapes = {f"{x.name}.kernel": x.kernel for x in lesson["torch"].layers_of(net)}
    for one in table:
        if one.kind != "norm":
            theirs = tuple(state[f"{one.theirs}.weight"].shape)
            axes = (1, 0) if len(theirs) == 2 else (2, 3, 1, 0)
            assert tuple(theirs[axis] for axis in axes) == shapes[f"{one.ours}.kernel"]


@pytest.mark.parametrize("norm", [False, True])
def test_weights_in_torchvisions_layout_answer_alike(lesson, norm):
    import torch

    net = lesson["torch"].paper("D", norm)
    thin = tuple(tuple((made // 32, size) for made, size in block) for block in net.blocks)
    net = net._replace(blocks=thin, hidden=(24, 24), classes=10)
    standard = layout(net, norm)
    for name, buffer in standard.named_buffers():  # as after some training
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    photo = noise(1, 224, 224, 3)
    with torch.no_grad():
        maps = standard["features"](torch.as_tensor(photo).permute(0, 3, 1, 2))
        expected = standard["classifier"](maps.flatten(1)).numpy()
    table = parity_torchvision.vgg([2, 2, 3, 3, 3], norm)
    table = parity_torchvision.narrow(table, channels=16)
    state = standard.state_dict()
    weights = parity_torchvision.neutral(state, table)
    for framework in runtime.FRAMEWORKS:
        model = build(lesson, framework, net)
        parity.set_weights(model, weights)
        scale = float(np.abs(expected).max())
        assert forward(framework, model, photo) == pytest.approx(expected, abs=1e-4 * scale)
    extra = {**state, "features.99.weight": state["classifier.6.bias"]}
    del extra["features.0.bias"]
    with pytest.raises(CourseError, match=r"features.0.bias is missing; features.99.weight is un"):
        parity_torchvision.neutral(extra, table)


def test_windows_of_three_need_no_care_but_pooling_does():
    """'same' of one apart is padding=1; pooling of an odd side differs, and so does a stride."""
    import tensorflow as tf
    import torch

    x, kernel = noise(2, 7, 7, 3), noise(3, 3, 3, 4)
    first = torch.as_tensor(x).permute(0, 3, 1, 2)
    theirs = torch.as_tensor(kernel).permute(3, 2, 0, 1)
    ours = torch.nn.functional.conv2d(first, theirs, padding=1).permute(0, 2, 3, 1).numpy()
    assert tf.nn.conv2d(x, kernel, 1, "SAME").numpy() == pytest.approx(ours, abs=1e-4)
    pooled = torch.nn.functional.max_pool2d(first, 2).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(tf.nn.max_pool2d(x, 2, 2, "VALID").numpy(), pooled)
    assert tf.nn.max_pool2d(x, 2, 2, "SAME").shape[1] == 4 != pooled.shape[1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_rows_in_the_other_order_give_other_answers(lesson, framework):
    ours = lesson[framework]
    net = ours.small("D", 8)
    weights, x = ours.start(net, "he", 0), noise(4, 28, 28, 1)
    model = build(lesson, framework, net)
    parity.set_weights(model, weights)
    before = forward(framework, model, x)
    rows = weights["dense1.kernel"]
    other = rows.reshape(9, -1, rows.shape[1]).transpose(1, 0, 2).reshape(rows.shape)
    parity.set_weights(model, {**weights, "dense1.kernel": other})
    assert np.abs(forward(framework, model, x) - before).max() > 0.1 * np.abs(before).max()


def test_batchnorms_constants_agree_and_kerass_defaults_do_not(lesson):
    """Momentum, epsilon, and the biased variance, each seen in the moving averages or outputs."""
    import keras

    net = lesson["torch"].small("A", 8)
    weights, x, after = lesson["torch"].start(net, "he", 0), noise(6, 28, 28, 1), {}
    seen = {"norm1_1": (1, 6 * 28 * 28), "norm3_2": (1, 6 * 7 * 7)}
    for framework in runtime.FRAMEWORKS:
        model = build(lesson, framework, net, dropout=0.0)
        parity.set_weights(model, weights)
        forward(framework, model, x, training=True)
        after[framework] = parity.get_weights(model)
    biased = after["keras"]["norm3_2.moving_variance"]
    unbiased = parity.unbiased(after["keras"], weights, seen)["norm3_2.moving_variance"]
    for framework in ("torch", "tensorflow"):
        for layer in seen:
            name = f"{layer}.moving_mean"
            assert after[framework][name] == pytest.approx(after["keras"][name], abs=1e-5)
        found = after[framework]["norm3_2.moving_variance"]
        assert found == pytest.approx(unbiased, rel=1e-4)
        gap = np.abs(found - biased)
        assert gap.max() > 10 * np.abs(found - unbiased).max()
    default = keras.layers.BatchNormalization()
    assert default.momentum == 0.99 and default.epsilon == 1e-3


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, digits, framework):
    seen = []

    def report(step, logs, preview=None):
        seen.append((step, logs["loss"]))
        if step == 60:
            picture = preview()
            assert picture.dtype == np.uint8 and picture.ndim == 2
        return True

    way = lesson[framework].ways[framework]
    chosen = settings(lesson, framework, steps=80)
    model = way.train(digits.x_train, digits.y_train, chosen, report)
    assert [step for step, _ in seen] == list(range(10, 81, 10))
    assert seen[-1][1] < 0.6 * seen[0][1]
    found = way.logits(model, digits.x_test)
    assert found.shape == (len(digits.x_test), 10)
    assert (found.argmax(axis=1) == digits.y_test).mean() > 0.5
    assert [maps.shape[1:] for maps in way.maps(model, digits.x_test[:2])] == [
        x.out for x in lesson[framework].layers_of(model.net) if "conv" in x.name
    ]


def test_there_is_an_output_for_each_class(lesson, digits):
    some = digits.y_train < 3
    chosen = settings(lesson, "torch", steps=10, batch_size=16)
    way = lesson["torch"].ways["torch"]
    model = way.train(digits.x_train[some], digits.y_train[some], chosen, lambda *_: True)
    assert way.logits(model, digits.x_test[:4]).shape == (4, 3)


def test_a_start_of_001_tells_images_apart_no_more(lesson, digits):
    """Depth makes it worse, kernels drawn to size mend it, and so does BatchNorm's first look."""
    ours, spread = lesson["torch"], {}
    for row, init in (("A", "0.01"), ("E", "0.01"), ("E", "glorot"), ("E", "he")):
        net = ours.small(row, 8, norm=False)
        model = ours.TorchVGG(net)
        parity.set_weights(model, ours.start(net, init, 0))
        spread[row, init] = ours.logits_torch(model, digits.x_test[:50]).std(axis=0).mean()
    assert spread["A", "0.01"] < 1e-5 and spread["E", "0.01"] < 1e-2 * spread["A", "0.01"]
    assert spread["E", "glorot"] > 1e-4 and spread["E", "he"] > 0.05
    kernel = (3, 3, 8, 16)
    assert ours.deviation("he", kernel) == pytest.approx(math.sqrt(2 / 72))
    assert ours.deviation("glorot", kernel) == pytest.approx(math.sqrt(2 / (72 + 144)))
