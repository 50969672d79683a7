"""21_tflite: files equal their models, NumPy's integers the reference kernels', to the bit."""

import copy

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, lessons, lite, parity
from utils.data import grey

pytest.importorskip("ai_edge_litert")

FEW = slice(0, 40)


@pytest.fixture(scope="module")
def digits():
    return data.mnist("embedded")


@pytest.fixture(scope="module")
def lesson():
    return lessons.load("21_tflite")


@pytest.fixture(scope="module")
def files(lesson, digits):
    calibration = digits.x_train[:100]
    return lesson.all_files(grey(calibration), calibration[..., None].astype("float32"))


@pytest.fixture(scope="module")
def inputs(digits):
    return grey(digits.x_test[FEW])


def test_float_files_equal_their_model_in_every_framework(lesson, files, inputs):
    import torch

    runner = lite.Lite(files["float32"])
    net = lesson.TorchDigits()
    with torch.no_grad():
        expected = net(torch.as_tensor(inputs)).numpy()
    keras_net, tf_net = lesson.keras_digits(), lesson.tf_digits(len(inputs))[0]
    np.testing.assert_allclose(runner(inputs), expected, atol=1e-5)
    np.testing.assert_allclose(tf_net(inputs).numpy(), expected, atol=1e-5)
    one = parity.to_numpy(keras_net(inputs[:1]))
    np.testing.assert_allclose(one, expected[:1], atol=1e-5)
    exported = lite.Lite(lesson.keras_file(keras_net))
    np.testing.assert_allclose(exported(inputs[:1]), expected[:1], atol=1e-5)


def test_smaller_kinds_say_nearly_the_same(lesson, files, inputs, digits):
    exact = lite.Lite(files["float32"])(inputs)
    for kind, bound in (("float16", 2e-3), ("dynamic", 0.1), ("int8", 0.1)):
        assert np.abs(lite.Lite(files[kind]).real(inputs) - exact).max() < bound, kind
        assert len(files[kind]) < 0.6 * len(files["float32"])
    right = {k: lesson.accuracy(files[k], digits.x_test, digits.y_test) for k in files}
    assert right["int8"] > right["float32"] - 1.5 and right["float32"] > 94
    assert right["wrong"] < 60  # the trap must bite
    assert lite.Lite(files["wrong"]).input["quantization"][0] > 50 / 79


def test_the_int8_input_is_the_byte(files, digits):
    scale, zero = lite.Lite(files["int8"]).input["quantization"]
    assert zero == 33 - 128 and scale == pytest.approx(1 / 79, rel=1e-4)
    q = lite.quantise(grey(digits.x_test[:50]), scale, zero)
    np.testing.assert_array_equal(q[..., 0], digits.x_test[:50].astype(int) - 128)


def test_numpy_equals_the_reference_in_every_layer(lesson, files, inputs):
    graph, runner = (
        lite.graph(files["int8"]),
        lite.Lite(files["int8"], kernels="reference", keep=True),
    )
    q = lite.quantise(inputs, *runner.input["quantization"])
    ours = lesson.integers(graph, q)
    places = [operator.outputs[0] for operator in graph.operators[:-1]]
    assert set(places) <= set(ours) and len(places) > 30
    for i in range(len(q)):
        runner(q[i : i + 1])
        for place in places:
            np.testing.assert_array_equal(runner.tensor(place), ours[place][i : i + 1])


def test_multiplier_and_rescale(lesson):
    rng = np.random.default_rng(0)
    real = np.exp(rng.uniform(-9, 1, 200))
    m, n = lesson.multiplier(real)
    assert ((m >= 2**30) & (m < 2**31)).all()
    np.testing.assert_allclose(m * 2.0 ** (n - 31.0), real, rtol=1e-9)
    total = rng.integers(-(2**20), 2**20, 200)
    # rounded twice, so up to one level from the real product, and exact where nothing is rounded
    assert np.abs(lesson.rescale(total, m, n) - total * real).max() <= 1.0
    np.testing.assert_array_equal(
        lesson.rescale(np.array([8, -8, 6, -6]), *lesson.multiplier(0.5)), [4, -4, 3, -3]
    )
    assert lesson.rescale(np.array([5, -5]), *lesson.multiplier(0.5)).tolist() == [
        3,
        -2,
    ]  # halves go up


def test_an_operator_that_was_not_built_is_named(lesson, files):
    graph = lite.graph(files["int8"])
    strange = copy.copy(graph.operators[0])
    object.__setattr__(strange, "name", "CUMSUM")
    broken = lite.Graph(3, "", graph.tensors, (strange,), graph.inputs, graph.outputs, ())
    with pytest.raises(CourseError, match="CUMSUM"):
        lesson.integers(broken, np.zeros((1, 28, 28, 1), "int8"))


@pytest.mark.skipif(not lite.has_micro(), reason="tflite-micro is made for Linux on x86-64")
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_microcontroller_says_the_same_to_the_bit(lesson, files, inputs, kind):
    call, arena = lesson.micro(files[kind])
    same = lite.Lite(files[kind], kernels="reference")
    for x in inputs[:3, None]:
        q = lite.quantise(x, *same.input["quantization"], same.input["dtype"])
        np.testing.assert_array_equal(call(q), same(q))
    assert arena < {"float32": 150_000, "int8": 60_000}[kind]
    with pytest.raises(CourseError, match="does not take this file"):
        lesson.micro(files[kind], arena=10_000)


@pytest.mark.skipif(not lite.has_micro(), reason="tflite-micro is made for Linux on x86-64")
def test_an_open_batch_is_too_much_for_it(lesson):
    content = lesson.convert(*lesson.tf_digits(None))
    with pytest.raises(CourseError, match="REDUCE_PROD|does not take"):
        lesson.micro(content)


def test_the_c_array_is_the_file(lesson, files):
    source = lesson.c_array(files["int8"][:1000], "model")
    numbers = source.split("{")[1].split("}")[0].split(",")
    assert bytes(int(n, 16) for n in numbers) == files["int8"][:1000]
    assert "model_len = 1000;" in source


def test_rounded_weights_have_their_levels(lesson, files, digits):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(4, 3, 3, 2)).astype("float32")
    for bits in (2, 3, 8):
        one = lesson.rounded(w, bits, per_channel=False)
        assert len(np.unique(one)) <= 2**bits - 1
        assert np.abs(one - w).max() <= np.abs(w).max() / (2 ** (bits - 1) - 1) / 2 + 1e-6
        each = lesson.rounded(w, bits)
        assert np.mean((each - w) ** 2) <= np.mean((one - w) ** 2) * 1.05
    assert np.abs(lesson.rounded(w, 8, True, 0.5)).max() <= np.abs(w).max() / 2 + 1e-6
    content = lesson.patched(files["float32"], lambda k: k * 0)
    assert len(content) == len(files["float32"])
    assert np.ptp(lite.Lite(content)(grey(digits.x_test[:3])), axis=0).max() < 1e-6


def test_bytes_add_up(lesson, files):
    for kind in lite.KINDS:
        parts = lesson.bytes_of(files[kind])
        assert sum(parts) == len(files[kind]) and min(parts) >= 0
    float32, int8 = (lesson.bytes_of(files[kind])[0] for kind in ("float32", "int8"))
    assert 3.5 < float32 / int8 < 4


def test_gradients_by_hand_equal_the_tape(lesson):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    learner = lesson.Learner(1)
    x = rng.uniform(size=(lesson.BATCH, 784)).astype("float32")
    y = np.eye(10, dtype="float32")[rng.integers(10, size=lesson.BATCH)]
    weights = [getattr(learner, name) for name in lesson.NAMES]
    with tf.GradientTape() as tape:
        loss, mine = learner.gradients(tf.constant(x), tf.constant(y))
    for one, other in zip(mine, tape.gradient(loss, weights), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_file_learns_and_is_restored(lesson, digits):
    content = lesson.learning_file(lesson.Learning(0))
    assert set(lite.graph(content).signatures) == {"infer", "train", "get", "put"}

    def device():
        interpreter = lite.Lite(content).interpreter
        names = ("infer", "train", "get", "put")
        return interpreter, {n: interpreter.get_signature_runner(n) for n in names}

    mine, one = device()
    rows = digits.x_train[:1440].reshape(-1, 784) / np.float32(255)
    labels = np.eye(10, dtype="float32")[digits.y_train[:1440]]
    losses = [
        float(one["train"](x=rows[i : i + 32], y=labels[i : i + 32], rate=np.float32(0.2))["loss"])
        for _ in range(3)
        for i in range(0, 1440, 32)
    ]
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    other, two = device()
    test = digits.x_test.reshape(-1, 784) / np.float32(255)
    before = two["infer"](x=test)["probabilities"]
    two["put"](**one["get"]())
    after = two["infer"](x=test)["probabilities"]
    assert not np.allclose(before, after)
    np.testing.assert_array_equal(after, one["infer"](x=test)["probabilities"])
    assert np.mean(after.argmax(axis=1) == digits.y_test) > 0.85


def test_straight_through(lesson):
    import torch
    from keras import ops

    values = torch.tensor([-1.0, -0.4, 0.1, 0.6], requires_grad=True)
    out = lesson.fake(values, 3)
    np.testing.assert_allclose(out.detach().numpy(), [-1, -1 / 3, 0, 2 / 3], atol=1e-6)
    (out * torch.arange(4.0)).sum().backward()
    np.testing.assert_array_equal(values.grad.numpy(), np.arange(4.0))
    mine = parity.to_numpy(lesson.FewBits(3)(ops.convert_to_tensor([[-1.0, -0.4, 0.1, 0.6]])))
    np.testing.assert_allclose(mine[0], [-1, -1 / 3, 0, 2 / 3], atol=1e-6)


def test_pruning_keeps_its_zeros(lesson, digits):
    from keras import ops

    model = lesson.small_keras()
    model.fit(
        grey(digits.x_train[:128]),
        digits.y_train[:128],
        64,
        2,
        verbose=0,
        callbacks=[lesson.Prune(0.8)],
    )
    kernels = [ops.convert_to_numpy(one.kernel) for one in model.layers if hasattr(one, "kernel")]
    zeros = np.mean(np.concatenate([k.ravel() for k in kernels]) == 0)
    assert zeros == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("name", ["decoder", "generator", "detector", "digits"])
def test_deployed_models_keep_what_they_say_at_any_batch(lesson, name):
    onnx = lessons.load("20_onnx", "tensorflow")
    function, module = lesson.deployed(name)
    runner = lite.Lite(lesson.convert(function, module))
    if name == "detector":
        other, net = onnx.loaded(name, "tensorflow")
        expected = lambda x: other.ways["tensorflow"].raw(net, np.rint(x).astype("uint8"))  # noqa: E731
    else:
        expected = onnx.source(name, "tensorflow")
    for count in (1, 3):
        x = (
            onnx.inputs(name, count)
            if name != "digits"
            else data.mnist("embedded").x_test[:count].astype("float32")
        )
        np.testing.assert_allclose(runner(x), expected(x), atol=2e-5, rtol=1e-5)


def test_a_budget_is_kept(lesson):
    from utils.recipes.tflite import Row

    def row(way, kilobytes, ms, right):
        return Row(way, kilobytes, (ms, ms), (ms, ms), 1.0, 0.0, right, (right, right), "")

    rows = [row("a", 100, 5.0, 99.5), row("b", 300, 1.0, 99.6), row("c", 90, 2.0, 97.0)]
    assert lesson.recommended(rows, 400, 10, 0).way == "b"
    assert lesson.recommended(rows, 200, 10, 0).way == "c"
    assert lesson.recommended(rows, 200, 10, 99).way == "a"
    assert lesson.recommended(rows, 50, 10, 0) is None


def test_the_checkpoint_is_the_one_that_is_deployed(lesson):
    point = checkpoints.load("12_resnet_cutout")
    net = lesson.trained("torch")
    assert parity.get_weights(net).keys() == point.weights.keys()
