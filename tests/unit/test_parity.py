"""Moving weights between frameworks, with toy models."""

import numpy as np
import pytest

from utils import CourseError, parity, runtime

runtime.load(*runtime.FRAMEWORKS)
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402


def torch_model():
    return torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(2, 4)})


class Layer(tf.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.kernel, self.bias = tf.Variable(tf.zeros((n_in, n_out))), tf.Variable(tf.zeros(n_out))


class Pair(tf.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Layer(3, 2), Layer(2, 4)
        self.steps = tf.Variable(0, trainable=False)


def keras_model():
    x = keras.Input((3,))
    h = keras.layers.Dense(2, name="a")(x)
    return keras.Model(x, keras.layers.Dense(4, name="b")(h), name="pair")


MODELS = {"torch": torch_model, "tensorflow": Pair, "keras": keras_model}


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    shapes = {"a.kernel": (3, 2), "a.bias": (2,), "b.kernel": (2, 4), "b.bias": (4,)}
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


@pytest.mark.parametrize("framework", MODELS)
def test_weights_go_in_and_come_back(framework, weights):
    model = MODELS[framework]()
    parity.set_weights(model, weights)
    found = parity.get_weights(model)
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[name], weights[name]) for name in weights)
    assert parity.count(model) == 20


def test_a_kernel_means_the_same_in_torch(weights):
    model = torch_model()
    parity.set_weights(model, weights)
    x = np.arange(6, dtype="float32").reshape(2, 3)
    with torch.no_grad():
        out = model["a"](torch.from_numpy(x)).numpy()
    assert np.allclose(out, x @ weights["a.kernel"] + weights["a.bias"], atol=1e-6)


@pytest.mark.parametrize("framework", MODELS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("a.bias"), "a.bias is missing"),
        (lambda w: w.update({"c.kernel": np.zeros(1)}), "c.kernel is unexpected"),
        (lambda w: w.update({"a.kernel": np.zeros((2, 3))}), r"a.kernel is \(2, 3\) and should be"),
    ],
)
def test_weights_of_another_model_are_refused_whole(framework, change, said, weights):
    model = MODELS[framework]()
    before = parity.get_weights(model)
    change(weights)
    with pytest.raises(CourseError, match=said):
        parity.set_weights(model, weights)
    after = parity.get_weights(model)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_what_is_no_model_or_has_unknown_layers_is_named():
    with pytest.raises(CourseError, match="dict is not a torch nn.Module"):
        parity.get_weights({})
    with pytest.raises(CourseError, match="c is a PReLU, which utils.parity cannot name"):
        parity.get_weights(torch.nn.ModuleDict({"c": torch.nn.PReLU()}))


def evidence(**changes):
    return {
        "torch": {"loss": np.array([1.0, 2.0])},
        "keras": {"loss": np.array([1.0, 2.0]), **changes},
    }


def test_equal_models_get_a_verdict_and_numbers():
    comparison = parity.compare(evidence())
    assert comparison.verdict() == "loss: PyTorch = Keras, differences below 1e-05"
    assert comparison.numbers() == "loss  0.0e+00"


def test_a_difference_is_found_in_any_part():
    with pytest.raises(AssertionError, match="differ by 5.0e-05"):
        parity.compare(evidence(loss=np.array([1.0, 2.0001]))).verdict()
    parts = {"torch": {"g": {"w": np.zeros(2), "b": np.zeros(1)}}}
    parts["keras"] = {"g": {"w": np.zeros(2), "b": np.ones(1)}}
    with pytest.raises(AssertionError, match="g: the frameworks differ by 1.0e"):
        parity.compare(parts).verdict()


def test_nan_never_counts_as_equal():
    with pytest.raises(AssertionError):
        parity.compare(evidence(loss=np.array([1.0, np.nan]))).verdict()


def test_quantities_that_cannot_be_compared_are_named():
    with pytest.raises(CourseError, match=r"shape \(2,\) in PyTorch, \(3,\) in Keras"):
        parity.compare(evidence(loss=np.zeros(3)))
    with pytest.raises(CourseError, match="Keras has no 'loss'"):
        parity.compare({"torch": {"loss": np.zeros(1)}, "keras": {}})


def test_one_framework_alone_still_gets_a_verdict():
    assert "PyTorch" in parity.compare({"torch": {"loss": np.zeros(1)}}).verdict()
