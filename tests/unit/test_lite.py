"""LiteRT files: read, run, refused in words. The files are made by a few lines of TensorFlow."""

import numpy as np
import pytest

from utils import CourseError, lite

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def module():
    """A convolution and a dense layer, as one function of (B, 6, 6, 2)."""
    from utils import runtime

    runtime.load("tensorflow")
    import tensorflow as tf

    rng = np.random.default_rng(0)
    owner = tf.Module()
    owner.kernel = tf.Variable(rng.normal(size=(3, 3, 2, 4)).astype("float32"))
    owner.matrix = tf.Variable(rng.normal(size=(4, 3)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([1, 6, 6, 2], tf.float32)])
    def graph(x):
        h = tf.nn.relu(tf.nn.conv2d(x, owner.kernel, 1, "SAME"))
        return tf.reduce_mean(h, axis=(1, 2)) @ owner.matrix

    return graph.get_concrete_function(), owner


def converted(module, samples=None):
    import tensorflow as tf

    function, owner = module
    with lite.quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
        if samples is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([x[None]] for x in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()


@pytest.fixture(scope="module")
def content(module):
    return converted(module)


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(1).normal(size=(40, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="module")
def content8(module, samples):
    return converted(module, samples)


def test_a_file_computes_what_its_function_does(module, content, samples):
    import tensorflow as tf

    runner = lite.Lite(content)
    for x in (samples[:1], samples[3:4]):
        expected = module[0](tf.constant(x)).numpy()
        np.testing.assert_allclose(runner(x), expected, atol=1e-5)


@pytest.mark.parametrize("kernels", lite.RESOLVERS)
def test_any_batch_and_any_kernels(content, samples, kernels):
    runner = lite.Lite(content, kernels=kernels)
    together = runner(samples[:5])
    single = np.concatenate([runner(samples[i : i + 1]) for i in range(5)])
    assert together.shape == (5, 3)
    np.testing.assert_allclose(together, single, atol=1e-5)


def test_the_graph_is_read(content, module):
    graph = lite.graph(content)
    names = [operator.name for operator in graph.operators]
    assert names == ["CONV_2D", "MEAN", "FULLY_CONNECTED"]
    assert graph.operators[0].options["fusedActivationFunction"] == 1  # ReLU
    kernel = next(t for t in graph.tensors if t.data is not None and t.data.ndim == 4)
    expected = module[1].kernel.numpy().transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(kernel.data, expected)


def test_an_int8_file_has_scales_a_channel_and_reads_real_numbers(content, content8, samples):
    kernel = next(
        t for t in lite.graph(content8).tensors if t.dtype == "int8" and t.data is not None
    )
    assert kernel.scale.shape == kernel.zero.shape == (len(kernel.data),)
    assert not kernel.zero.any() and np.abs(kernel.data).max() == 127
    runner, exact = lite.Lite(content8), lite.Lite(content)
    gap = np.abs(runner.real(samples[:20]) - exact(samples[:20])).max()
    assert 0 < gap < 0.1
    assert runner(lite.quantise(samples[:1], *runner.input["quantization"])).dtype == np.int8


def test_quantising_there_and_back():
    x = np.array([-1.0, 0.0, 0.5, 9.0], "float32")
    q = lite.quantise(x, 0.01, 28)
    assert q.tolist() == [-72, 28, 78, 127]  # the last is cut
    np.testing.assert_allclose(lite.dequantise(q, 0.01, 28), [-1, 0, 0.5, 0.99], atol=1e-6)
    assert lite.quantise(x, 0.0, 0, "float32") is not None
    np.testing.assert_array_equal(lite.quantise(x, 0.0, 0, "float32"), x)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: b"", "0 bytes were found"),
        (lambda c: c[: len(c) // 2], "damaged or cut"),
        (lambda c: c[:-40], "damaged or cut"),
        (lambda c: b"\xff\xff\xff\x7f" + c[4:], "damaged or cut"),
        (lambda c: b"PK\x03\x04" + bytes(100), r"ZIP archive"),
        (lambda c: b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (lambda c: b"\x08\x0a" + bytes(50), "ONNX"),
        (lambda c: b"hello, this is no model at all", "no LiteRT file"),
    ],
)
def test_what_is_no_file_is_refused_in_words(content, spoil, words):
    with pytest.raises(CourseError, match=words):
        lite.Lite(spoil(content))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((1, 6, 6, 2)), "expects float32 and was given float64"),
        (np.zeros((1, 2, 6, 6), "float32"), r"\(B, 6, 6, 2\).*\(1, 2, 6, 6\).*channels come last"),
        (np.zeros((6, 6, 2), "float32"), "the batch is missing"),
        (np.zeros((1, 7, 6, 2), "float32"), r"\(1, 7, 6, 2\)"),
        (np.zeros((0, 6, 6, 2), "float32"), r"\(0, 6, 6, 2\)"),
    ],
)
def test_a_wrong_input_names_what_was_expected_and_found(content, x, words):
    with pytest.raises(CourseError, match=words):
        lite.Lite(content)(x)


def test_an_int8_file_asks_for_integers(content8, samples):
    with pytest.raises(CourseError, match="expects int8 and was given float32"):
        lite.Lite(content8)(samples[:1])


def test_kernels_and_their_names(content):
    with pytest.raises(CourseError, match="xnnpack, builtin, reference"):
        lite.Lite(content, kernels="fast")


def test_times_warm_up_and_stop():
    calls = []
    found = lite.times(lambda: calls.append(1), most=7)
    assert len(found) == 7 and len(calls) == 10 and (found >= 0).all()
    assert len(lite.times(lambda: None, most=100, seconds=0.0)) == 5
    middle, late = lite.clock(lambda: None, most=9)
    assert 0 <= middle <= late


def test_what_cpp_says_is_overheard(capfd):
    import os

    lines = []
    with lite.overheard(lines):
        os.write(2, b"one\ntwo\n")
    assert lines == ["one", "two"]
    assert capfd.readouterr().err == ""
