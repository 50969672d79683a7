"""06_vq_vae in three frameworks: equal steps, a codebook that moves, masks that hold."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from utils import CourseError, data, parity, runtime

NAME = "06_vq_vae"
RULES = ("EMA", "loss")


@pytest.fixture(scope="module")
def images():
    return data.mnist("embedded").x_train


@pytest.fixture(scope="module")
def start(lesson):
    """One model's initial weights, with a codebook as wide as its latents, and a batch."""
    rng = np.random.default_rng(0)
    weights = parity.get_weights(lesson["tensorflow"].TFVQVAE(16))
    weights["codebook.embeddings"] = rng.normal(0, 0.3, (16, 16)).astype("float32")
    weights["codebook.size"] += 1
    weights["codebook.sums"] = weights["codebook.embeddings"].copy()
    return weights, rng.integers(0, 2, (6, 28, 28)).astype("float32")


def settings(lesson, framework, **changes):
    few = {"codes": 16, "batch_size": 32, "steps": 60}
    own = {"seed": 0, "framework": framework}
    return SimpleNamespace(**{**lesson[framework].QUICK, **few, **own, **changes})


def quietly(*_):
    return True


@pytest.mark.parametrize("rule", RULES)
def test_five_steps_are_the_same_in_torch_and_tensorflow(lesson, start, rule):
    import tensorflow as tf
    import torch

    weights, x = start
    ours, bare = lesson["torch"], lesson["tensorflow"]
    one, two = ours.TorchVQVAE(16, rule, revive=False), bare.TFVQVAE(16, rule, revive=False)
    parity.set_weights(one, weights)
    parity.set_weights(two, weights)
    optimizer = torch.optim.Adam(parity.variables(one), 1e-3, fused=True)
    adam = bare.Adam(parity.variables(two))
    for _ in range(5):
        logits, z, codes, q = one(torch.from_numpy(x))
        nll, codebook, commitment = ours.losses_torch(torch.from_numpy(x), logits, z, q)
        one.codebook.follow(z, codes)
        optimizer.zero_grad()
        (nll + codebook + 0.25 * commitment).mean().backward()
        optimizer.step()
        with tf.GradientTape() as tape:
            logits, z, codes, q = two(x)
            nll, codebook, commitment = bare.losses_tf(x, logits, z, q)
            loss = tf.reduce_mean(nll + codebook + 0.25 * commitment)
        two.codebook.follow(z, codes)
        adam.apply(tape.gradient(loss, adam.parameters), tf.constant(1e-3))
    moved = parity.get_weights(one)
    assert np.abs(moved["codebook.embeddings"] - weights["codebook.embeddings"]).max() > 1e-3
    both = {"torch": {"weights": moved}, "tensorflow": {"weights": parity.get_weights(two)}}
    parity.compare(both, tolerance=1e-5).verdict()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns_and_its_codebook_moves(lesson, images, framework):
    losses = []

    def report(step, logs, preview=None):
        losses.append((step, logs["reconstruction"]))
        if step == 60:
            assert preview().dtype == np.uint8
        return True

    way = lesson[framework].ways[framework]
    for rule in RULES:
        losses.clear()
        changes = {"rule": rule, "revive": False}  # so that only the rule can move it
        model = way.train(images, settings(lesson, framework, **changes), report)
        assert [step for step, _ in losses] == list(range(10, 61, 10))
        assert losses[-1][1] < 0.6 * losses[0][1]
        embeddings = parity.get_weights(model)["codebook.embeddings"]
        assert np.abs(embeddings).max() > 1.2 / 16, "it is still within U(−1/K, 1/K)"


MOVES = """
import numpy as np
from types import SimpleNamespace
from utils import data, lessons, parity
lesson = lessons.load("06_vq_vae", "keras")
import keras
images = data.mnist("embedded").x_train[:256]
for rule in ("EMA", "loss"):
    model = lesson.KerasVQVAE(16, rule, revive=False)
    before = parity.get_weights(model)["codebook.embeddings"]
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(images, batch_size=32, epochs=1, verbose=0)
    after = parity.get_weights(model)["codebook.embeddings"]
    trained = any("embeddings" in v.path for v in model.trainable_variables)
    print(keras.backend.backend(), rule, np.abs(after - before).max() > 1e-3, trained)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_the_keras_codebook_moves_on_both_backends(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": "."}
    done = subprocess.run(
        [sys.executable, "-c", MOVES], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{backend} EMA True False" in done.stdout
    assert f"{backend} loss True True" in done.stdout


def test_a_variable_that_keras_does_not_track_never_moves(lesson):
    """The popular mistake, as the lesson tells it."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    class Untracked(layers.Layer):
        def __init__(self):
            super().__init__()
            self.embeddings = tf.Variable(tf.random.uniform((16, 4)))

        def call(self, z):
            nearest = ops.argmin(-(z @ ops.transpose(self.embeddings)), -1)
            return z + ops.stop_gradient(ops.take(self.embeddings, nearest, axis=0) - z)

    model = keras.Sequential([layers.Dense(4), Untracked()])
    model.compile("adam", "mse")
    codebook = model.layers[1]
    before = codebook.embeddings.numpy()
    model.layers[0].build((None, 4))
    assert codebook.trainable_variables == []
    model.fit(np.ones((32, 4)), np.ones((32, 4)), verbose=0)
    assert np.array_equal(codebook.embeddings.numpy(), before)


def test_the_codebook_gets_no_gradient_from_the_reconstruction(lesson, start):
    import keras
    import tensorflow as tf
    import torch

    weights, x = start
    one = lesson["torch"].TorchVQVAE(16, "loss")
    logits, z, _, q = one(torch.from_numpy(x))
    nll, codebook, _ = lesson["torch"].losses_torch(torch.from_numpy(x), logits, z, q)
    e = one.codebook.embeddings
    assert torch.autograd.grad(nll.sum(), e, retain_graph=True, allow_unused=True) == (None,)
    assert torch.autograd.grad(codebook.sum(), e)[0].abs().max() > 0
    two = lesson["tensorflow"].TFVQVAE(16, "loss")
    with tf.GradientTape() as tape:
        logits, z, _, q = two(x)
        nll, _, _ = lesson["tensorflow"].losses_tf(x, logits, z, q)
    assert tape.gradient(nll, two.codebook.embeddings) is None
    three = lesson["keras"].KerasVQVAE(16, "loss", revive=False)
    parity.set_weights(three, weights)
    _, _, z, codes, _ = map(parity.to_numpy, three(x))
    three.compile(keras.optimizers.SGD(1.0))
    three.train_on_batch(x)
    e = weights["codebook.embeddings"]
    alone = np.zeros_like(e)
    np.add.at(alone, codes.ravel(), 2 * (e[codes] - z).reshape(-1, 16) / len(x))
    moved = e - parity.get_weights(three)["codebook.embeddings"]
    assert np.abs(alone).max() > 0.01
    assert moved == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_losses_of_an_image_do_not_depend_on_the_batch(lesson, start, framework):
    """Summing the codebook's terms over the batch makes β grow with it: a bug of peers."""
    ours, (_, x) = lesson[framework], start
    model = ours.ways[framework].build(16)
    parity.set_weights(model, start[0])
    found = []
    for batch in (x[:2], x):
        given, losses = batch, {"tensorflow": "losses_tf"}.get(framework, f"losses_{framework}")
        if framework == "torch":
            import torch

            given = torch.from_numpy(batch)
        logits, z, _, q = tuple(model(given))[-4:]
        terms = getattr(ours, losses)(given, logits, z, q)
        found.append([parity.to_numpy(term)[:2] for term in terms])
    assert np.shape(found[0]) == (3, 2)
    assert np.array(found[0]) == pytest.approx(np.array(found[1]), rel=1e-4)


def follow(lesson, framework, model, z):
    """One step of the codebook on vectors z (n, 16); returns its weights."""
    if framework == "keras":
        model.codebook(z[None], training=True)
    elif framework == "torch":
        import torch

        z = torch.from_numpy(z)
        model.codebook.follow(z, model.codebook(z)[0])
    else:
        model.codebook.follow(z, model.codebook(z)[0])
    return {k: v for k, v in parity.get_weights(model).items() if k.startswith("codebook")}


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_moving_averages_are_the_papers(lesson, start, framework):
    rng = np.random.default_rng(1)
    weights, z = dict(start[0]), rng.standard_normal((50, 16), dtype="float32")
    model = lesson[framework].ways[framework].build(16, "EMA", False)
    parity.set_weights(model, weights)
    e = weights["codebook.embeddings"]
    chosen = np.eye(16)[((z[:, None] - e) ** 2).sum(-1).argmin(1)]
    size = 0.99 * weights["codebook.size"] + 0.01 * chosen.sum(0)
    sums = 0.99 * weights["codebook.sums"] + 0.01 * chosen.T @ z
    after = follow(lesson, framework, model, z)
    assert after["codebook.size"] == pytest.approx(size, abs=1e-6)
    assert after["codebook.embeddings"] == pytest.approx(sums / size[:, None], abs=1e-5)


@pytest.mark.parametrize("revive", [True, False])
@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_dead_code_is_revived_in_the_batch_and_only_if_asked(lesson, start, framework, revive):
    rng = np.random.default_rng(1)
    weights, z = dict(start[0]), rng.standard_normal((50, 16), dtype="float32")
    e = weights["codebook.embeddings"].copy()
    e[3] = 100.0  # nothing is near
    size = np.full(16, 50.0, "float32")
    size[3] = 1.0
    weights |= {"codebook.embeddings": e, "codebook.size": size, "codebook.sums": size[:, None] * e}
    model = lesson[framework].ways[framework].build(16, "EMA", revive)
    parity.set_weights(model, weights)
    after = follow(lesson, framework, model, z)["codebook.embeddings"]
    near = np.abs(z - after[3]).max(axis=1).min()
    assert near < 1e-6 if revive else after[3] == pytest.approx(e[3])
    assert np.abs(after - e)[np.arange(16) != 3].max() < 0.5


def test_revival_keeps_more_codes_alive(lesson, images):
    ours = lesson["torch"]
    x, live = data.binarise(images[:200], np.random.default_rng(0)), {}
    for revive in (True, False):
        runtime.seed_everything(0)
        chosen = settings(lesson, "torch", codes=64, steps=100, revive=revive)
        model = ours.train_torch(images, chosen, quietly)
        live[revive] = (ours.usage(ours.encode_torch(model, x), 64) > 0).sum()
    assert live[True] > live[False]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
class TestThePrior:
    def test_it_sees_only_what_comes_before(self, lesson, framework):
        way, rng = lesson[framework].ways[framework], np.random.default_rng(0)
        prior, codes = way.build_prior(8), rng.integers(0, 8, (1, 7, 7))
        before = way.predict(prior, codes)[0].reshape(49, 8)
        for place in (0, 3, 24, 40):
            other = codes.copy().reshape(1, 49)
            other[0, place] = (other[0, place] + 1) % 8
            after = way.predict(prior, other.reshape(1, 7, 7))[0].reshape(49, 8)
            changed = np.abs(after - before).max(axis=1) > 1e-6
            assert not changed[: place + 1].any(), "it has seen the place itself, or the future"
            assert changed[place + 1], "it does not see the code to the left"

    def test_masks_are_neither_trained_nor_stored(self, lesson, framework):
        ours = lesson[framework]
        grids = np.random.default_rng(0).integers(0, 8, (64, 7, 7)).astype("uint8")
        runtime.seed_everything(0)
        first = ours.ways[framework].train_prior(
            grids, settings(lesson, framework, codes=8, steps=10), quietly
        )
        weights = parity.get_weights(first)
        assert not [name for name in weights if "mask" in name.split(".")]
        kernels = (7 * 7 * 8 * 32 + 32) + 4 * (528 + 9 * 16 * 16 + 16 + 544) + (32 * 8 + 8)
        assert parity.count(first) == kernels
        # what stands behind the mask keeps its first value: training may not touch it
        hidden = np.broadcast_to(ours.causal_mask("A", 7) == 0, (7, 7, 8, 32))
        limit = np.sqrt(6 / (49 * (8 + 32)))
        assert np.abs(weights["first.kernel"][hidden]).max() <= limit

    def test_it_learns_a_pattern_and_stops_when_told(self, lesson, framework):
        way = lesson[framework].ways[framework]
        grids = np.tile(np.arange(49).reshape(7, 7) % 8, (64, 1, 1)).astype("uint8")
        steps, losses = [], []

        def report(step, logs, preview=None):
            steps.append(step)
            losses.append(logs["loss"])
            return step < 40

        chosen = settings(lesson, framework, codes=8, steps=100, learning_rate=1e-2)
        prior = way.train_prior(grids, chosen, report)
        assert steps == [10, 20, 30, 40]
        assert losses[-1] < 0.5 * 49 * np.log(8)
        assert lesson[framework].prior_nats(way, prior, grids[:4]).shape == (4,)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, images, framework):
    way, seen = lesson[framework].ways[framework], []

    def report(step, logs, preview=None):
        seen.append(step)
        return step < 30

    model = way.train(images, settings(lesson, framework), report)
    assert seen == [10, 20, 30]
    codes, nll = lesson[framework].reconstruction_nats(
        way, model, data.binarise(images[:4], np.random.default_rng(0))
    )
    assert codes.shape == (4, 7, 7) and np.isfinite(nll).all()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_larger_than_the_data_is_named(lesson, images, framework):
    way, chosen = lesson[framework].ways[framework], settings(lesson, framework, batch_size=5000)
    for train, given in ((way.train, images), (way.train_prior, images[:, :7, :7] % 16)):
        with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
            train(given, chosen, quietly)


def test_perplexity_counts_the_codes_in_use(lesson):
    ours = lesson["torch"]
    assert ours.perplexity(ours.usage(np.array([0, 1, 2, 3]), 8)) == pytest.approx(4)
    assert ours.perplexity(ours.usage(np.zeros((2, 7, 7), int), 8)) == pytest.approx(1)
    assert 1 < ours.perplexity(np.array([0.9, 0.1, 0])) < 2


def test_the_nats_are_those_of_the_formulas(lesson):
    """Reconstruction and price against a second, plain computation."""
    ours = lesson["torch"]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (3, 28, 28)).astype("float32")
    logits, scores = rng.normal(0, 2, (3, 28, 28)), rng.normal(0, 1, (3, 7, 7, 5))
    codes = rng.integers(0, 5, (3, 7, 7))
    fixed = SimpleNamespace(
        encode=lambda *_: codes, decode=lambda *_: logits, predict=lambda *_: scores
    )
    p = 1 / (1 + np.exp(-logits))
    plain = -np.log(np.where(x == 1, p, 1 - p)).sum((1, 2))
    assert ours.reconstruction_nats(fixed, None, x)[1] == pytest.approx(plain)
    share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    each = [np.log(share[i, r, c, codes[i, r, c]]) for i, r, c in np.ndindex(3, 7, 7)]
    assert ours.prior_nats(fixed, None, codes).sum() == pytest.approx(-sum(each))
