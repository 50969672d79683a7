"""Convolutions, normalisation and state between frameworks, and the bare TensorFlow layers."""

import numpy as np
import pytest

from utils import parity, runtime

runtime.load(*runtime.FRAMEWORKS)
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

from utils import tf_layers, tf_optimizers  # noqa: E402

EPSILON = 1e-3


class TorchNet(torch.nn.Module):
    """6×6×3 → 3×3×4 → 6×6×2, normalised over the batch, and a row of a table."""

    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Conv2d(3, 4, 4, stride=2, padding=1)])
        self.norm = torch.nn.BatchNorm2d(4, eps=EPSILON)
        self.up = torch.nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1)
        self.table = torch.nn.Embedding(5, 2)
        self.register_buffer("usage", torch.zeros(5))
        self.register_buffer("mask", torch.ones(4), persistent=False)

    def forward(self, x):
        h = self.norm(self.blocks[0](x.permute(0, 3, 1, 2)))
        return self.up(h).permute(0, 2, 3, 1) + self.table.weight[1]


class Norm(tf.Module):
    def __init__(self, n):
        super().__init__()
        self.gamma, self.beta = tf.Variable(tf.ones(n)), tf.Variable(tf.zeros(n))
        self.moving_mean = tf.Variable(tf.zeros(n), trainable=False)
        self.moving_variance = tf.Variable(tf.ones(n), trainable=False)

    def __call__(self, x):
        scale = self.gamma / tf.sqrt(self.moving_variance + EPSILON)
        return (x - self.moving_mean) * scale + self.beta


class Table(tf.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = tf.Variable(tf.zeros((5, 2)))


class TFNet(tf.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [tf_layers.Conv2D(3, 4, 4, stride=2)]
        self.norm, self.up, self.table = Norm(4), tf_layers.Conv2DTranspose(4, 2, 4), Table()
        self.usage = tf.Variable(tf.zeros(5), trainable=False)
        self.calls = tf.Variable(0, trainable=False)

    def __call__(self, x):
        return self.up(self.norm(self.blocks[0](x))) + self.table.embeddings[1]


class KerasNet(keras.Model):
    def __init__(self):
        super().__init__(name="net")
        self.conv = keras.layers.Conv2D(4, 4, 2, "same", name="blocks__0")
        self.norm = keras.layers.BatchNormalization(epsilon=EPSILON, name="norm")
        self.up = keras.layers.Conv2DTranspose(2, 4, 2, "same", name="up")
        self.table = keras.layers.Embedding(5, 2, name="table")
        self.usage = self.add_weight(shape=(5,), trainable=False, name="usage")
        self.seeds, self.mean = keras.random.SeedGenerator(0), keras.metrics.Mean()

    def call(self, x):
        row = self.table(keras.ops.ones((), "int32"))
        return self.up(self.norm(self.conv(x), training=False)) + row


SHAPES = {
    "blocks.0.kernel": (4, 4, 3, 4),
    "blocks.0.bias": (4,),
    "norm.gamma": (4,),
    "norm.beta": (4,),
    "norm.moving_mean": (4,),
    "norm.moving_variance": (4,),
    "up.kernel": (4, 4, 2, 4),
    "up.bias": (2,),
    "table.embeddings": (5, 2),
    "usage": (5,),
}
X = np.random.default_rng(1).normal(size=(2, 6, 6, 3)).astype("float32")


def build(framework):
    net = {"torch": TorchNet, "tensorflow": TFNet, "keras": KerasNet}[framework]()
    if framework == "keras":
        net(X)
    return net.eval() if framework == "torch" else net


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {name: rng.uniform(0.5, 1, shape).astype("float32") for name, shape in SHAPES.items()}


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_weights_and_state_go_in_and_come_back(framework, weights):
    net = build(framework)
    parity.set_weights(net, weights)
    found = parity.get_weights(net)
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[name], weights[name]) for name in weights)
    state = ("norm.moving_mean", "norm.moving_variance", "usage")
    assert parity.count(net) == sum(w.size for name, w in weights.items() if name not in state)


def test_the_same_weights_give_the_same_answers(weights):
    nets = {framework: build(framework) for framework in runtime.FRAMEWORKS}
    for net in nets.values():
        parity.set_weights(net, weights)
    with torch.no_grad():
        outputs = {"torch": nets["torch"](torch.as_tensor(X))}
    outputs |= {framework: nets[framework](X) for framework in ("tensorflow", "keras")}
    outputs = {name: {"output": parity.to_numpy(value)} for name, value in outputs.items()}
    assert outputs["torch"]["output"].shape == (2, 6, 6, 2)
    parity.compare(outputs, tolerance=1e-5).verdict()


def test_gradients_are_named_without_the_state(weights):
    net = build("tensorflow")
    parity.set_weights(net, weights)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net(X) ** 2)
    gradients = parity.named_gradients(net, tape.gradient(loss, parity.variables(net)))
    twin = build("torch")
    parity.set_weights(twin, weights)
    back = torch.autograd.grad((twin(torch.as_tensor(X)) ** 2).sum(), parity.variables(twin))
    both = {
        "torch": {"gradients": parity.named_gradients(twin, back)},
        "tensorflow": {"gradients": {n: parity.to_numpy(g) for n, g in gradients.items()}},
    }
    # An embedding's gradient is sparse in TensorFlow; here it is a plain slice.
    parity.compare(both, tolerance=1e-5).verdict()


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (lambda: tf_layers.Dense(7, 5), lambda: keras.layers.Dense(5), (2, 7)),
        (
            lambda: tf_layers.Conv2D(3, 4, 3, 2),
            lambda: keras.layers.Conv2D(4, 3, 2, "same"),
            (2, 7, 6, 3),
        ),
        (
            lambda: tf_layers.Conv2DTranspose(3, 4, 5),
            lambda: keras.layers.Conv2DTranspose(4, 5, 2, "same"),
            (2, 5, 4, 3),
        ),
    ],
)
def test_the_bare_layers_are_those_of_keras(ours, theirs, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours, theirs = ours(), theirs()
    theirs.build(shape)
    assert ours.kernel.shape == theirs.kernel.shape
    spread = float(np.std(ours.kernel)), float(np.std(theirs.kernel))
    assert spread[0] == pytest.approx(spread[1], rel=0.4)
    theirs.kernel.assign(ours.kernel)
    assert np.abs(parity.to_numpy(theirs(x)) - parity.to_numpy(ours(x))).max() < 1e-5


def test_a_bias_may_start_elsewhere():
    assert np.array_equal(tf_layers.Dense(2, 3, bias=[1.0, 2.0, 3.0]).bias, [1, 2, 3])


@pytest.mark.parametrize("beta1", [0.9, 0.5])
def test_adam_is_that_of_pytorch_even_for_tiny_gradients(beta1):
    one = torch.nn.Parameter(torch.ones(3))
    two = tf.Variable(tf.ones(3))
    theirs = torch.optim.Adam([one], 1e-2, (beta1, 0.999), eps=1e-8)
    ours = tf_optimizers.Adam([two], beta1=beta1)
    for step in range(1, 6):
        gradient = np.array([1e-8, 1.0, -3.0 * step], "float32")
        one.grad = torch.as_tensor(gradient)
        theirs.step()
        ours.apply([tf.constant(gradient)], tf.constant(1e-2))
    assert np.abs(one.detach().numpy() - two.numpy()).max() < 1e-6


def test_plain_descent_is_torchs():
    start, gradient = np.float32([1, -2, 3]), np.float32([0.5, 0, -4])
    theirs = torch.nn.Parameter(torch.tensor(start))
    theirs.grad = torch.tensor(gradient)
    torch.optim.SGD([theirs], 0.1).step()
    ours = tf.Variable(start)
    tf_optimizers.SGD([ours]).apply([tf.constant(gradient)], 0.1)
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-6)


def test_keras_variances_become_torchs():
    batches = np.random.default_rng(0).normal(2, 3, (3, 10, 4)).astype("float32")
    theirs = torch.nn.BatchNorm1d(4)
    before = {"norm.moving_variance": np.ones(4, "float32"), "other": np.zeros(1)}
    after = dict(before)
    for batch in batches:
        theirs(torch.tensor(batch))
        kept = 0.9 * after["norm.moving_variance"]
        after["norm.moving_variance"] = kept + 0.1 * batch.var(axis=0)  # Keras's rule: biased
    found = parity.unbiased(after, before, {"norm": (3, 10)})
    np.testing.assert_allclose(found["norm.moving_variance"], theirs.running_var.numpy(), rtol=1e-5)
    assert np.abs(after["norm.moving_variance"] - found["norm.moving_variance"]).min() > 1e-2
    assert found["other"] is before["other"]
