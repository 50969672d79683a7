"""12_resnet in three frameworks: counts, torchvision's layout, the same steps, and its traps."""

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, parity, parity_torchvision, runtime

NAME = "12_resnet"
BATCH = 8


def bent(ours, net, seed=0):
    """A start whose norms do not begin as the identity."""
    rng, weights = np.random.default_rng(seed), ours.start(net, seed)
    for name, value in weights.items():
        if not name.endswith("kernel"):
            value += rng.uniform(0, 0.4, value.shape).astype("float32")
    return weights


def built(ours, framework, net, weights):
    model = ours.ways[framework].build(net)
    parity.set_weights(model, weights)
    return model


@pytest.mark.parametrize(
    ("net", "count"),
    [
        ("CIFAR_20", 269_722),
        ("CIFAR_56", 853_018),
        ("RESNET_18", 11_689_512),
        ("RESNET_34", 21_797_672),
        ("RESNET_50", 25_557_032),
    ],
)
def test_parameters_are_the_published_ones(lesson, net, count):
    import torch

    ours = lesson["torch"]
    net = getattr(ours, net)
    assert ours.parameters_of(net) == count
    with torch.device("meta"):
        model = ours.TorchResNet(net)
    assert parity.count(model) == count
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    assert len(shapes) == len(ours.layers_of(net))


def test_kerass_resnet_50_has_a_bias_for_each_output_of_a_convolution(lesson):
    ours = lesson["torch"]
    outputs = ours.RESNET_50.width + sum(
        sum(c.filters for c in block.convolutions) + block.out * (block.shortcut == "1×1")
        for block in ours.blocks_of(ours.RESNET_50)
    )
    assert outputs == 26_560 == 25_583_592 - 25_557_032


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("version", ["v1", "pre"])
@pytest.mark.parametrize("shortcut", ["A", "B", "C", "none"])
def test_every_network_is_the_tables(lesson, framework, version, shortcut):
    ours = lesson[framework]
    net = ours.small(4, 8, version, shortcut)
    model = ours.ways[framework].build(net)
    shapes = {name: value.shape for name, value in parity.get_weights(model).items()}
    table = ours.layers_of(net)
    moving = ("moving_mean", "moving_variance")
    assert {k: v for k, v in shapes.items() if not k.endswith(moving)} == table
    assert shapes.keys() == ours.start(net, 0).keys()
    found = ours.ways[framework].maps(model, np.zeros((2, 28, 28), "uint8"))
    assert [maps.shape for maps in found] == [(2, 28, 28, 4), (2, 14, 14, 8), (2, 7, 7, 16)]


def test_version_and_shortcut_change_the_answer(lesson):
    """Each switch does something, and v1.5 differs from v1 in bottlenecks only."""
    ours = lesson["torch"]
    x = np.random.default_rng(0).integers(0, 256, (4, 28, 28)).astype("uint8")

    def answer(**changes):
        net = ours.small(4, 8, shortcut="none")._replace(**changes)
        return ours.logits_torch(built(ours, "torch", net, bent(ours, net)), x)

    plain, padded = answer(), answer(shortcut="A")
    for changes in ({}, {"shortcut": "B"}, {"shortcut": "A", "version": "pre"}):
        assert np.abs(answer(**changes) - padded).max() > 1e-2
    assert np.array_equal(
        answer(version="pre"), plain
    )  # without shortcuts the same layers in a row
    assert np.array_equal(answer(version="v1.5"), plain)
    deep = {"kind": "bottleneck", "shortcut": "B"}
    assert np.abs(answer(**deep, version="v1.5") - answer(**deep)).max() > 1e-2


def test_a_block_of_zeros_hands_on_what_it_gets(lesson):
    for framework in runtime.FRAMEWORKS:
        ours = lesson[framework]
        net = ours.small(4, 14)
        weights = bent(ours, net)
        for part in ("gamma", "beta"):  # the last norm of the second block: F(x) = 0
            weights[f"block2.norm2.{part}"][:] = 0
        model = built(ours, framework, net, weights)
        x = np.random.default_rng(0).integers(0, 256, (2, 28, 28)).astype("uint8")
        one, two = ours.ways[framework].maps(model, x)[:2]
        assert np.array_equal(one, two)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_torchvisions_layout_answers_alike(lesson, kind):
    """Also on an odd side (57), where a stride of 2 pads otherwise."""
    import tensorflow as tf
    import torch

    net = lesson["torch"].RESNET_50 if kind == "bottleneck" else lesson["torch"].RESNET_18
    table = parity_torchvision.resnet(net.blocks, kind)
    for side in (64, 57):
        thin = net._replace(width=4, side=side, classes=6)
        weights, state = bent(lesson["torch"], thin), {}
        for key, name in parity_torchvision.names(table).items():
            order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(weights[name].ndim, (0,))
            state[key] = torch.as_tensor(weights[name].transpose(order).copy())
        photo = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype("float32")
        found = {}
        for framework in runtime.FRAMEWORKS:
            ours = lesson[framework]
            neutral = parity_torchvision.neutral(state, table)
            model = built(ours, framework, thin, neutral)
            if framework == "torch":
                found[framework] = {"logits": model.eval()(torch.as_tensor(photo)).detach().numpy()}
                expected = reference(state, photo, net.blocks, kind)
            else:
                x = tf.constant(photo) if framework == "tensorflow" else photo
                found[framework] = {"logits": parity.to_numpy(model(x, training=False))}
        parity.compare(found, tolerance=1e-4).verdict()
        assert found["torch"]["logits"] == pytest.approx(expected, abs=1e-4)


def reference(state, photo, blocks, kind):
    """torchvision's forward pass, written from its keys alone."""
    import torch
    from torch.nn import functional as F

    def norm(x, name):
        parts = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-5)

    def conv(x, name, stride=1):
        kernel = state[f"{name}.weight"]
        return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2)

    x = torch.as_tensor(photo).permute(0, 3, 1, 2)
    x = F.max_pool2d(F.relu(norm(conv(x, "conv1", 2), "bn1")), 3, 2, 1)
    for stage, count in enumerate(blocks, start=1):
        for place in range(count):
            name, stride = f"layer{stage}.{place}", 2 if stage > 1 and not place else 1
            strides = (stride, 1) if kind == "basic" else (1, stride, 1)
            h = x
            for number, each in enumerate(strides, start=1):
                h = norm(conv(h, f"{name}.conv{number}", each), f"{name}.bn{number}")
                h = F.relu(h) if number < len(strides) else h
            if f"{name}.downsample.0.weight" in state:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = F.relu(h + x)
    return F.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"]).numpy()


@pytest.mark.parametrize(("net", "count"), [("RESNET_18", 102), ("RESNET_50", 267)])
def test_torchvisions_keys_and_shapes_at_full_width(lesson, net, count):
    import torch

    ours = lesson["torch"]
    net = getattr(ours, net)
    with torch.device("meta"):
        model = ours.TorchResNet(net)
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    own = {key: shape for key, shape in own.items() if not key.endswith("num_batches_tracked")}
    rows = parity_torchvision.resnet(net.blocks, net.kind)
    table = parity_torchvision.keys(rows)
    assert len(table) == len(set(table)) == count == len(own)
    # PyTorch's own layout is torchvision's but for the names of modules
    renamed = dict(zip(table, parity_torchvision.names(rows).values(), strict=True))
    for ours_key in renamed.values():
        layer, _, part = ours_key.rpartition(".")
        theirs = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
        theirs |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
        assert f"{layer}.{theirs.get(part, part)}" in own
    if count == 267:
        assert own["block14.conv2.weight"] == (512, 512, 3, 3)
        assert own["block1.shortcut.weight"] == (256, 64, 1, 1)
    with pytest.raises(CourseError, match="layer1.0.conv1.weight is missing"):
        parity_torchvision.neutral({}, rows[2:])


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_gradcam_of_the_last_block_is_the_dense_layers_own_map(lesson, digits, framework):
    """With a mean over places before a dense layer, α_c is that layer's weight over H·W."""
    ours = lesson[framework]
    net = ours.small(4, 8)
    weights = bent(ours, net)
    model, way = built(ours, framework, net, weights), ours.ways[framework]
    x, labels = digits.x_test[:5], digits.y_test[:5]
    last = way.maps(model, x)[-1]
    kernel = weights["dense.kernel"][:, labels].T  # 5×channels
    expected = np.maximum((last * kernel[:, None, None]).sum(axis=3), 0) / 49
    assert way.gradcam(model, x, labels, 2) == pytest.approx(expected, abs=1e-5)
    first = way.gradcam(model, x, labels, 0)
    assert first.shape == (5, 28, 28) and (first >= 0).all() and first.max() > 0


def test_gradcam_and_gradients_are_the_same_in_all_three(lesson, digits):
    for version in ("v1", "pre"):
        found = {}
        for framework in runtime.FRAMEWORKS:
            ours = lesson[framework]
            net = ours.small(4, 8, version)
            way = ours.ways[framework]
            model = built(ours, framework, net, bent(ours, net))
            few, labels = digits.x_test[:3], digits.y_test[:3]
            found[framework] = {
                "logits": way.logits(model, few),
                "first": way.gradcam(model, few, labels, 0),
                "middle": way.gradcam(model, few, labels, 1),
                "gradients": way.gradients(model, few, labels),
            }
        parity.compare(found, tolerance=1e-3).verdict()


def moving(weights, part):
    return {name: value for name, value in weights.items() if name.endswith(part)}


def test_steps_of_a_rising_and_falling_rate_are_the_same_in_all_three(lesson, digits):
    import keras
    import tensorflow as tf
    import torch

    ours = lesson["torch"]
    steps = 10
    # A calm rate: differences of rounding are magnified from step to step
    few = {"steps": steps, "batch_size": BATCH, "width": 4, "learning_rate": 0.01}
    chosen = settings(lesson, "torch", **few)
    net = ours.net_of(chosen, digits.y_train)
    meals = list(ours.feed(digits.x_train, digits.y_train, chosen))
    rates = [ours.learning_rate(step, chosen) for step in range(steps)]
    assert rates[0] == pytest.approx(0.001) and rates[1] == max(rates) and rates[-1] < 0.001
    begun, after = ours.start(net, 0), {}

    model = ours.TorchResNet(net).train()
    parity.set_weights(model, begun)
    momentum = ours.TorchMomentum(model.parameters())
    for (x, y), rate in zip(meals, rates, strict=True):
        x, y = torch.as_tensor(ours.grey(x)), torch.as_tensor(y)
        ours.step_torch(model, momentum, x, y, rate, chosen)
    after["torch"] = parity.get_weights(model)

    trainer = lesson["tensorflow"].TFTrainer(chosen, net)
    for (x, y), rate in zip(meals, rates, strict=True):
        trainer.step(tf.constant(ours.grey(x)), tf.constant(y), rate)
    after["tensorflow"] = parity.get_weights(trainer.model)

    model = lesson["keras"].KerasResNet(net, chosen.decay)
    parity.set_weights(model, begun)
    peak = chosen.learning_rate
    schedule = keras.optimizers.schedules.CosineDecay(
        0.1 * peak, 9, warmup_target=peak, warmup_steps=1
    )
    assert [float(schedule(step)) for step in range(steps)] == pytest.approx(rates, abs=1e-7)
    model.compile(keras.optimizers.SGD(schedule, momentum=0.9))
    for x, y in meals:
        model.train_on_batch(ours.grey(x), y)
    after["keras"] = parity.get_weights(model)

    assert np.abs(after["torch"]["stem.kernel"] - begun["stem.kernel"]).max() > 1e-3
    trained = {
        framework: {"weights": {k: v for k, v in found.items() if "moving" not in k}}
        for framework, found in after.items()
    }
    parity.compare(trained, tolerance=1e-3).verdict()
    means = {framework: {"means": moving(found, "mean")} for framework, found in after.items()}
    parity.compare(means, tolerance=1e-3).verdict()
    del after["keras"]
    both = {framework: {"v": moving(found, "variance")} for framework, found in after.items()}
    parity.compare(both, tolerance=1e-3).verdict()


def test_keras_remembers_another_variance_and_by_how_much(lesson, digits):
    """One training batch: PyTorch and ours keep n / (n − 1) times the batch's variance."""
    after = {}
    for framework in runtime.FRAMEWORKS:
        ours = lesson[framework]
        net = ours.small(4, 8)
        begun = bent(ours, net)
        model = built(ours, framework, net, begun)
        ours.ways[framework].gradients(model, digits.x_test[:2], digits.y_test[:2])
        after[framework] = parity.get_weights(model)
    seen = {}
    for name in moving(begun, "variance"):
        layer = name.removesuffix(".moving_variance")
        side = {"stem_norm": 28, "block1": 28, "block2": 14, "block3": 7}[layer.split(".")[0]]
        seen[layer] = (1, 2 * side * side)
    last = "block3.norm2.moving_variance"
    plain = after["keras"][last] - 0.9 * begun[last]
    ours = after["tensorflow"][last] - 0.9 * begun[last]
    assert ours / plain == pytest.approx(98 / 97, rel=1e-3)
    after["keras"] = parity.unbiased(after["keras"], begun, seen, 0.9)
    found = {framework: {"v": moving(each, "variance")} for framework, each in after.items()}
    parity.compare(found, tolerance=1e-5).verdict()


def test_the_fused_norm_is_the_one_built_by_hand(lesson):
    import tensorflow as tf

    from utils.tf_layers import BatchNorm

    x = tf.random.stateless_normal((4, 5, 5, 3), (0, 0)) * 2 + 1
    fused, plain = lesson["tensorflow"].FusedNorm(3), BatchNorm(3)
    for norm in (fused, plain):
        norm.gamma.assign([0.5, 1.0, 2.0])
        norm.beta.assign([0.1, 0.0, -1.0])
    for training in (True, True, False):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            both = [norm(x, training) for norm in (fused, plain)]
            sums = [tf.reduce_sum(y**3) for y in both]
        assert both[0].numpy() == pytest.approx(both[1].numpy(), abs=1e-5)
        slopes = [tape.gradient(total, x).numpy() for total in sums]
        assert slopes[0] == pytest.approx(slopes[1], abs=1e-3)
        for part in ("moving_mean", "moving_variance"):
            one, two = (getattr(norm, part).numpy() for norm in (fused, plain))
            assert one == pytest.approx(two, abs=1e-5)


def test_kerass_defaults_are_other_constants(lesson):
    import keras

    norms = [
        layer
        for layer in lesson["keras"].KerasResNet(lesson["keras"].small(4, 8)).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}
    default = keras.layers.BatchNormalization()
    assert (default.momentum, default.epsilon) == (0.99, 1e-3)
    torch_norm = lesson["torch"].TorchResNet(lesson["torch"].small(4, 8)).stem_norm
    assert torch_norm.momentum == pytest.approx(0.1) and torch_norm.eps == 1e-5


def test_same_padding_before_a_stride_is_another_network(lesson):
    import tensorflow as tf
    import torch

    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 28, 28, 64)).astype("float32")
    kernel = rng.normal(size=(3, 3, 64, 64)).astype("float32")
    ours = lesson["tensorflow"].Convolution(lesson["tensorflow"].Conv(3, 64, 64, 2))
    ours.kernel.assign(kernel)
    theirs = torch.nn.functional.conv2d(
        torch.as_tensor(x).permute(0, 3, 1, 2),
        torch.as_tensor(kernel).permute(3, 2, 0, 1),
        stride=2,
        padding=1,
    )
    theirs = theirs.permute(0, 2, 3, 1).numpy()
    assert ours(tf.constant(x)).numpy() == pytest.approx(theirs, abs=1e-3)
    same = tf.nn.conv2d(x, kernel, 2, "SAME").numpy()
    assert same.shape == theirs.shape and np.abs(same - theirs).max() > 20
    odd = tf.nn.conv2d(x[:, :7, :7], kernel, 2, "SAME").numpy()  # on an odd side they agree
    assert odd == pytest.approx(ours(tf.constant(x[:, :7, :7])).numpy(), abs=1e-3)


def test_no_dense_layer_depends_on_the_order_of_flattened_maps(lesson):
    ours = lesson["torch"]
    assert ours.layers_of(ours.RESNET_50)["dense.kernel"] == (2048, 1000)
    assert ours.layers_of(ours.CIFAR_20)["dense.kernel"] == (64, 10)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, digits, framework):
    seen, pictures = [], []

    def report(step, logs, preview=None):
        seen.append((step, logs["loss"]))
        if step == 50:
            pictures.append(preview())
        return True

    way = lesson[framework].ways[framework]
    chosen = settings(lesson, framework, steps=100, batch_size=32, learning_rate=0.1)
    model = way.train(digits.x_train, digits.y_train, chosen, report)
    assert [step for step, _ in seen] == list(range(10, 101, 10))
    assert seen[-1][1] < 0.75 * seen[0][1]  # other seeds: 0.27 to 0.54
    [picture] = pictures
    assert picture.dtype == np.uint8 and picture.ndim == 3
    found = way.logits(model, digits.x_test)
    assert found.shape == (len(digits.x_test), 10)
    assert (found.argmax(axis=1) == digits.y_test).mean() > 0.4  # other seeds: 0.6 to 0.8


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model_and_odd_batches_are_named(lesson, digits, framework):
    way, seen = lesson[framework].ways[framework], []
    chosen = settings(lesson, framework, batch_size=BATCH, width=4)
    some = digits.y_train < 3
    model = way.train(
        digits.x_train[some],
        digits.y_train[some],
        chosen,
        lambda step, *_: seen.append(step) or step < 20,
    )
    assert seen == [10, 20]
    found = way.logits(model, digits.x_test[:5])
    assert found.shape == (5, 3) and np.isfinite(found).all()  # an output for each class
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        large = settings(lesson, framework, batch_size=5000)
        way.train(digits.x_train, digits.y_train, large, lambda *_: True)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_in_training_mode_an_answer_depends_on_its_neighbours(lesson, digits, framework):
    ours = lesson[framework]
    way, net = ours.ways[framework], ours.small(4, 8)
    model = built(ours, framework, net, bent(ours, net))
    x = digits.x_test[:6]
    alone, among = way.logits(model, x, size=1), way.logits(model, x)
    assert alone == pytest.approx(among, abs=1e-4)
    before = parity.get_weights(model)
    alone = way.logits(model, x, training=True, size=1)
    assert np.abs(alone - way.logits(model, x, training=True)).max() > 1e-2
    after = parity.get_weights(model)
    assert any((before[name] != after[name]).any() for name in before if "moving" in name)


def test_bf16_learns_the_same(lesson, digits):
    import torch

    ours, ends = lesson["torch"], {}
    for bf16 in (False, True):
        chosen = settings(
            lesson, "torch", steps=60, batch_size=32, learning_rate=0.1, bf16=bf16, shift=0
        )
        losses = []
        model = ours.train_torch(
            digits.x_train,
            digits.y_train,
            chosen,
            lambda s, logs, p: losses.append(logs["loss"]) or True,  # noqa: B023
        )
        ends[bf16] = losses
        assert all(w.dtype == torch.float32 for w in model.parameters())
    assert ends[True][0] == pytest.approx(ends[False][0], rel=0.1)
    assert ends[True][-1] < 0.8 * ends[True][0]  # other seeds: 0.44 to 0.66


def test_without_shortcuts_gradients_grow_towards_the_input(lesson, digits):
    """The notebook's gradient flow: no vanishing; shortcuts keep the sizes together."""
    ours, ratios = lesson["torch"], {}
    for shortcut in ("none", "A"):
        net = ours.small(4, 44, shortcut=shortcut)
        model = built(ours, "torch", net, ours.start(net, 0))
        found = ours.gradients_torch(model, digits.x_train[:32], digits.y_train[:32])
        sizes = [np.linalg.norm(found[name]) for name in ours.layers_of(net) if "conv" in name]
        ratios[shortcut] = sizes[0] / sizes[-1]
    assert ratios["none"] > 10 * ratios["A"] and ratios["none"] > 10


def test_cutout_blackens_a_square(lesson):
    ours, rng = lesson["torch"], np.random.default_rng(0)
    white = np.full((300, 28, 28), 255, "uint8")
    holes = (ours.cutout(white, 12, rng) == 0).sum(axis=(1, 2))
    assert holes.max() == 144 and holes.min() >= 36 and white.min() == 255  # a corner: a quarter
    assert ours.cutout(white, 0, rng) is white


KERAS = """
import sys
import numpy as np
from types import SimpleNamespace
from utils import data, lessons, parity
lesson = lessons.load("12_resnet", "keras")
digits = data.mnist("embedded")
calm = {"learning_rate": 0.1, "steps": 100, "batch_size": 32}
chosen = SimpleNamespace(**{**lesson.QUICK, **calm, "seed": 0})
losses = []
model = lesson.train_keras(
    digits.x_train, digits.y_train, chosen, lambda s, logs, p: losses.append(logs["loss"]) or True
)
print("first", losses[0])
print("last", losses[-1])
net = lesson.small(4, 8)
model = lesson.KerasResNet(net)
parity.set_weights(model, lesson.start(net, 0))
few, labels = digits.x_test[:3], digits.y_test[:3]
print("cam", lesson.gradcam_keras(model, few, labels, 1).sum())
found = lesson.gradients_keras(model, few, labels)
print("gradient", np.linalg.norm(found["stem.kernel"]))
"""


def test_keras_does_the_same_on_pytorch(lesson, digits):
    found = keras_prints(KERAS, "torch")
    assert found["last"] < 0.8 * found["first"]
    ours = lesson["keras"]  # on TensorFlow
    model = built(ours, "keras", ours.small(4, 8), ours.start(ours.small(4, 8), 0))
    few, labels = digits.x_test[:3], digits.y_test[:3]
    assert found["cam"] == pytest.approx(ours.gradcam_keras(model, few, labels, 1).sum(), rel=1e-3)
    gradient = ours.gradients_keras(model, few, labels)["stem.kernel"]
    assert found["gradient"] == pytest.approx(np.linalg.norm(gradient), rel=1e-3)
