"""02_vae in three frameworks: the same steps, the same bound, and training that learns."""

import numpy as np
import pytest
from parity_settings import settings

from utils import CourseError, data, parity, runtime

NAME = "02_vae"


@pytest.fixture(scope="module")
def start(lesson):
    """One model's initial weights, and a batch with its noise."""
    rng = np.random.default_rng(0)
    weights = parity.get_weights(lesson["tensorflow"].TFVAE(50))
    x = rng.integers(0, 2, (20, 784)).astype("float32")
    return weights, x, rng.standard_normal((20, 50), dtype="float32")


def test_five_steps_of_adam_are_the_same_in_torch_and_tensorflow(lesson, start):
    import tensorflow as tf
    import torch

    weights, x, eps = start
    ours, bare = lesson["torch"], lesson["tensorflow"]
    one, two = ours.TorchVAE(50), bare.TFVAE(50)
    parity.set_weights(one, weights)
    parity.set_weights(two, weights)
    optimizer = torch.optim.Adam(one.parameters(), 1e-3, eps=ours.ADAM_EPS, fused=True)
    adam = bare.Adam(parity.variables(two), ours.ADAM_EPS)
    for _ in range(5):
        nll, kl = ours.elbo_torch(one, torch.from_numpy(x), torch.from_numpy(eps))
        optimizer.zero_grad()
        (nll + kl).mean().backward()
        optimizer.step()
        with tf.GradientTape() as tape:
            nll, kl = bare.elbo_tf(two, x, eps)
            loss = tf.reduce_mean(nll + kl)
        adam.apply(tape.gradient(loss, adam.parameters), tf.constant(1e-3))
    moved = parity.get_weights(one)
    assert np.abs(moved["encoder.mean.kernel"] - weights["encoder.mean.kernel"]).max() > 1e-3
    both = {"torch": {"weights": moved}, "tensorflow": {"weights": parity.get_weights(two)}}
    parity.compare(both, tolerance=1e-5).verdict()


def test_keras_takes_binary_images_as_they_are(lesson, start):
    weights, x, _ = start
    vae = lesson["keras"].KerasVAE(50)
    parity.set_weights(vae, weights)
    assert np.array_equal(parity.to_numpy(vae(x)[0]), x)
    grey = np.full((2000, 784), 0.25, "float32")
    tossed = parity.to_numpy(vae(grey)[0])
    assert set(np.unique(tossed)) == {0.0, 1.0}
    assert tossed.mean() == pytest.approx(0.25, abs=0.002)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, images, framework):
    losses = []

    def report(step, logs, preview=None):
        losses.append((step, logs["loss"]))
        if step == 200:
            assert preview().dtype == np.uint8
        return True

    lesson[framework].ways[framework].train(images, settings(lesson, framework, steps=200), report)
    assert [step for step, _ in losses] == list(range(10, 201, 10))
    assert losses[-1][1] < 0.8 * losses[0][1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, images, framework):
    way = lesson[framework].ways[framework]
    seen = []

    def report(step, logs, preview=None):
        seen.append(step)
        return step < 30

    model = way.train(images, settings(lesson, framework, steps=200), report)
    assert seen == [10, 20, 30]
    assert np.isfinite(way.decode(model, np.zeros((1, 50), "float32"))).all()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_larger_than_the_data_is_named(lesson, images, framework):
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        way = lesson[framework].ways[framework]
        way.train(images, settings(lesson, framework, batch_size=5000), lambda *_: True)


def test_a_long_run_resumes_where_it_was_cut(lesson, images, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = settings(lesson, "tensorflow", steps=40)
    trainer = bare.TFTrainer(images, chosen)
    bare.train_tf(images, chosen, lambda step, *_: step < 20, trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(images, chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    assert int(again.step) == 20 and float(again.adam.t) == 20
    steps = []
    bare.train_tf(images, chosen, lambda step, *_: steps.append(step) or True, again)
    assert steps == [30, 40]


def test_the_schedule_is_that_of_the_paper(lesson):
    full = settings(lesson, "torch", **lesson["torch"].FULL)
    n, per_epoch = 60_000, 3000
    rates = [lesson["torch"].learning_rate(e * per_epoch, full, n) for e in range(3280)]
    stages = [rates.count(rate) for rate in sorted(set(rates), reverse=True)]
    assert stages == [3**i for i in range(8)]
    assert rates[0] == 1e-3 and rates[-1] == pytest.approx(1e-4)
    assert full.steps == 3280 * per_epoch


def test_beta_of_fifty_collapses_and_one_does_not(lesson, images):
    from utils import metrics

    way = lesson["torch"].ways["torch"]
    x = data.binarise(images[:200], np.random.default_rng(0))
    active = {}
    for beta in (1.0, 50.0):
        model = way.train(images, settings(lesson, "torch", steps=300, beta=beta), lambda *_: True)
        active[beta] = metrics.active_units(way.encode(model, x)[0]).sum()
    assert active[50.0] <= 1 < 5 <= active[1.0]
