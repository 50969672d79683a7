"""01_autoencoder in three frameworks: the same steps, training that learns, and what it claims."""

import numpy as np
import pytest
from parity_settings import settings

from utils import CourseError, data, parity, runtime
from utils.recipes import autoencoder as recipe

NAME = "01_autoencoder"


def test_the_lessons_layers_and_adam_are_those_of_the_library(lesson):
    import tensorflow as tf

    from utils import tf_layers, tf_optimizers

    bare, rng = lesson["tensorflow"], np.random.default_rng(0)
    cases = [
        ("Dense", (60, 30), (4, 60)),
        ("Conv2D", (8, 9, 4, 2), (4, 8, 8, 8)),
        ("Conv2DTranspose", (8, 9, 4, 2), (4, 8, 8, 8)),
    ]
    for name, sizes, shape in cases:
        ours, library = getattr(bare, name)(*sizes), getattr(tf_layers, name)(*sizes)
        x = rng.normal(size=shape).astype("float32")
        parity.set_weights(library, parity.get_weights(ours))
        assert np.allclose(ours(x), library(x), atol=1e-6)
        fresh = type(library)(*sizes)
        assert float(np.std(ours.kernel)) == pytest.approx(float(np.std(fresh.kernel)), rel=0.3)
    one, two = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    adams = bare.Adam([one]), tf_optimizers.Adam([two])
    for step in range(3):
        for adam in adams:
            adam.apply([tf.constant([1e-8, 1.0 + step])], tf.constant(0.1))
    assert np.array_equal(one, two) and not np.allclose(one, [1.0, 2.0])


@pytest.mark.parametrize("kind", ["deep", "conv"])
def test_five_steps_of_adam_are_the_same_in_torch_and_tensorflow(lesson, kind):
    import tensorflow as tf
    import torch

    ours, bare = lesson["torch"], lesson["tensorflow"]
    one, two = (
        ours.TorchAutoencoder(kind, 8, "cross-entropy"),
        bare.TFAutoencoder(kind, 8, "cross-entropy"),
    )
    start = parity.get_weights(two)
    parity.set_weights(one, start)
    x = np.random.default_rng(0).random((20, 784), dtype=np.float32)
    optimizer = torch.optim.Adam(one.parameters(), 1e-3, fused=True)
    adam = bare.Adam(parity.variables(two))
    for _ in range(5):
        loss = ours.loss_torch(one, torch.as_tensor(x), torch.as_tensor(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with tf.GradientTape() as tape:
            loss = bare.loss_tf(two, x, x)
        adam.apply(tape.gradient(loss, adam.parameters), tf.constant(1e-3))
    moved = parity.get_weights(one)
    assert max(np.abs(moved[name] - start[name]).max() for name in start) > 1e-3
    both = {"torch": {"weights": moved}, "tensorflow": {"weights": parity.get_weights(two)}}
    parity.compare(both, tolerance=1e-4).verdict()


@pytest.mark.parametrize("kind", ["dense", "deep", "conv"])
@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns_every_kind(lesson, images, framework, kind):
    losses = []

    def report(step, logs, preview=None):
        losses.append((step, logs["loss"]))
        if step == 100:
            assert preview().dtype == np.uint8
        return True

    chosen = settings(lesson, framework, kind=kind, steps=100)
    lesson[framework].ways[framework].train(images, chosen, report)
    assert [step for step, _ in losses] == list(range(10, 101, 10))
    assert losses[-1][1] < 0.75 * losses[0][1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, images, framework):
    way = lesson[framework].ways[framework]
    seen = []

    def report(step, logs, preview=None):
        seen.append(step)
        return step < 30

    model = way.train(images, settings(lesson, framework, steps=200, latents=5), report)
    assert seen == [10, 20, 30]
    pixels = way.decode(model, np.zeros((1, 5), "float32"))
    assert pixels.shape == (1, 784) and 0 < pixels.min() and pixels.max() < 1


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_larger_than_the_data_is_named(lesson, images, framework):
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        way = lesson[framework].ways[framework]
        way.train(images, settings(lesson, framework, batch_size=5000), lambda *_: True)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_rate_falls_along_half_a_cosine(lesson, framework):
    chosen = settings(lesson, framework, steps=100, learning_rate=0.5)
    rates = [lesson[framework].learning_rate(step, chosen) for step in (0, 50, 100)]
    assert rates == pytest.approx([0.5, 0.25, 0.0])
    if framework == "keras":
        keras = lesson["keras"].keras
        ready_made = keras.optimizers.schedules.CosineDecay(0.5, 100)
        for step in (0, 13, 50, 99):
            expected = lesson["keras"].learning_rate(step, chosen)
            assert float(ready_made(step)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_linear_autoencoder_is_pca(lesson, images, framework):
    runtime.seed_everything(0)
    # These few images have a clear gap after the third eigenvalue of their covariance.
    few = {"latents": 3, "learning_rate": 4e-2, "batch_size": 128, "steps": 1200}
    excess = recipe.linear_excess(lesson[framework], framework, images, **few)
    assert -1e-6 < excess < 1e-3, "no linear code can beat PCA, and this one comes close"


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_erasing_reaches_the_training(lesson, images, framework):
    """A network that trained on damaged digits repairs them better than one that did not."""
    way, rng = lesson[framework].ways[framework], np.random.default_rng(0)
    x = (images[:200] / 255).astype("float32")
    seen = (x * (rng.random(x.shape) >= 0.5)).astype("float32")
    errors = {}
    for erase in (0.0, 0.5):
        runtime.seed_everything(0)
        chosen = settings(lesson, framework, kind="deep", steps=800, erase=erase)
        model = way.train(images, chosen, lambda *_: True)
        rebuilt = way.decode(model, way.encode(model, seen))
        errors[erase] = lesson[framework].squared_error(x, rebuilt).mean()
    assert errors[0.5] < 0.8 * errors[0.0]


def test_keras_erases_in_training_and_only_then(lesson, images):
    """Its training is slow here; whether it sees damaged images can be asked directly."""
    x = images[:20]
    model = lesson["keras"].KerasAutoencoder("dense", 8, "cross-entropy", erase=1.0)
    nothing, whole = parity.to_numpy(model(np.zeros_like(x))), parity.to_numpy(model(x))
    assert np.array_equal(parity.to_numpy(model(x, training=True)), nothing)
    assert np.abs(whole - nothing).max() > 0.1
    model.erase = 0.5
    half = parity.to_numpy(model(x, training=True))
    assert np.abs(half - nothing).max() > 0.1 and np.abs(half - whole).max() > 0.1


def test_the_stranger_that_hides_is_the_one(lesson, digits, images):
    from sklearn.metrics import roc_auc_score

    way, x = lesson["torch"].ways["torch"], (data.flatten(digits.x_test) / 255).astype("float32")
    found = {}
    for stranger in (0, 1):
        runtime.seed_everything(0)
        chosen = settings(lesson, "torch", kind="deep", latents=8, steps=300)
        model = way.train(images[digits.y_train != stranger], chosen, lambda *_: True)
        errors = lesson["torch"].squared_error(x, way.decode(model, way.encode(model, x)))
        found[stranger] = roc_auc_score(digits.y_test == stranger, errors)
    assert found[0] > 0.9 and found[1] < found[0] - 0.1


def test_a_long_run_resumes_where_it_was_cut(lesson, images, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = settings(lesson, "tensorflow", kind="deep", steps=40)
    trainer = bare.TFTrainer(chosen)
    bare.train_tf(images, chosen, lambda step, *_: step < 20, trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    assert int(again.step) == 20 and float(again.adam.t) == 20
    steps = []
    bare.train_tf(images, chosen, lambda step, *_: steps.append(step) or True, again)
    assert steps == [30, 40]
