"""09_acgan in three frameworks: the same steps, players that move themselves, and claims."""

import functools

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, judge, parity, runtime

NAME = "09_acgan"
PLAYERS = ("generator", "discriminator")
SMALL = {"width": 4, "latents": 6, "batch_size": 12}


@pytest.fixture(scope="module")
def pictures(digits):
    return digits.x_train, digits.y_train


def moved(before, after):
    """The largest change of each player's trained weights."""
    kept = [key for key in before if "moving" not in key]
    return {
        player: max(np.abs(after[k] - before[k]).max() for k in kept if k.startswith(player))
        for player in PLAYERS
    }


def labels_right(lesson, framework, gan, count=300):
    ours = lesson[framework]
    z, y = ours.draw(count, gan.latents, np.random.default_rng(0))
    return (judge.load().predict(ours.ways[framework].generate(gan, z, y)) == y).mean()


def test_five_steps_of_adam_are_the_same_in_torch_and_tensorflow(lesson, pictures):
    import tensorflow as tf
    import torch

    chosen = settings(lesson, "torch", steps=5, **SMALL)
    one, two = lesson["torch"].TorchTrainer(chosen), lesson["tensorflow"].TFTrainer(chosen)
    start = parity.get_weights(one.gan)
    parity.set_weights(two.gan, start)
    for images, y, z, c in lesson["torch"].feed(*pictures, chosen):
        x = lesson["torch"].to_tanh(images)
        ours = torch.as_tensor(x).permute(0, 3, 1, 2), *map(torch.as_tensor, (y, z, c))
        bare = tuple(map(tf.constant, (x, y, z, c)))
        for a, b in (
            (one.d_step(1e-3, *ours), two.d_step(1e-3, *bare)),
            (one.g_step(1e-3, *ours[2:]), two.g_step(1e-3, *bare[2:])),
        ):
            assert float(a) == pytest.approx(float(b), rel=1e-3)
    both = {"torch": {"weights": parity.get_weights(one.gan)}}
    both["tensorflow"] = {"weights": parity.get_weights(two.gan)}
    assert min(moved(start, both["torch"]["weights"]).values()) > 1e-3
    # where a gradient is all but zero, Adam makes a rounding error as large as any other step
    parity.compare(both, tolerance=5e-3).verdict()


@pytest.mark.parametrize("by_batch", [False, True], ids=["moving averages", "by the batch"])
def test_both_players_agree_in_either_mode_of_batch_normalisation(lesson, by_batch):
    import tensorflow as tf
    import torch

    gans = {f: lesson[f].ways[f].build(6, 4) for f in runtime.FRAMEWORKS}
    rng = np.random.default_rng(0)
    weights = {
        key: (rng.normal(0, 0.1, w.shape) + key.endswith(("gamma", "variance"))).astype("float32")
        for key, w in parity.get_weights(gans["torch"]).items()
    }
    for gan in gans.values():
        parity.set_weights(gan, weights)
    z, y = lesson["torch"].draw(9, 6, rng)
    mode, found = {"training": by_batch}, {}
    with torch.no_grad():
        gan = gans["torch"].train(by_batch)
        made = gan.generator(torch.as_tensor(z), torch.as_tensor(y))
        found["torch"] = made.permute(0, 2, 3, 1), *gan.discriminator(made)
    gan = gans["tensorflow"]
    made = gan.generator(tf.constant(z), tf.constant(y), **mode)
    found["tensorflow"] = made, *gan.discriminator(made, **mode)
    gan = gans["keras"]
    made = gan.generator([z, np.eye(10, dtype="float32")[y]], **mode)
    found["keras"] = made, *gan.discriminator(made, **mode)
    names = ("pictures", "source", "label")
    evidence = {
        framework: dict(zip(names, map(parity.to_numpy, outputs), strict=True))
        for framework, outputs in found.items()
    }
    parity.compare(evidence, tolerance=1e-5).verdict()
    assert np.ptp(evidence["torch"]["label"]) > 0.1


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_each_player_moves_itself_and_not_the_other(lesson, pictures, framework):
    import tensorflow as tf
    import torch

    ours = lesson[framework]
    build = ours.TorchTrainer if framework == "torch" else ours.TFTrainer
    trainer = build(settings(lesson, framework, steps=1, **SMALL))
    images, *rest = next(ours.feed(*pictures, trainer.settings))
    x = ours.to_tanh(images)
    x = x.transpose(0, 3, 1, 2) if framework == "torch" else x
    meal = tuple(map(torch.as_tensor if framework == "torch" else tf.constant, (x, *rest)))
    weights = [parity.get_weights(trainer.gan)]
    trainer.d_step(1e-3, *meal)
    weights.append(parity.get_weights(trainer.gan))
    trainer.g_step(1e-3, *meal[2:])
    weights.append(parity.get_weights(trainer.gan))
    first, second = moved(*weights[:2]), moved(*weights[1:])
    assert first["discriminator"] > 1e-4 and first["generator"] == 0
    assert second["discriminator"] == 0 and second["generator"] > 1e-4


KERAS_STEPS = """
import os, sys
import numpy as np
from types import SimpleNamespace
from utils import lessons, parity
lesson = lessons.load("09_acgan", "keras")
import keras
assert keras.backend.backend() == sys.argv[1]
chosen = SimpleNamespace(**{**lesson.QUICK, "width": 4, "latents": 6})
gan = lesson.KerasGAN(6, 4)
gan.compile(chosen, lambda: keras.optimizers.Adam(1e-3, 0.5))
rng = np.random.default_rng(0)
x = lesson.to_tanh(rng.integers(256, size=(12, 28, 28), dtype="uint8"))
for player in ("generator", "discriminator"):
    assert len(parity.variables(getattr(gan, player)))
before = parity.get_weights(gan)
for _ in range(3):
    z, c = lesson.draw(12, 6, rng)
    gan.train_on_batch(x, (rng.integers(10, size=12), z, c))
after = parity.get_weights(gan)
for player in ("generator", "discriminator"):
    for kind in ("kernel", "gamma", "moving_mean"):
        names = [k for k in before if k.startswith(player) and k.endswith(kind)]
        print(f"{player}.{kind}", min(np.abs(after[k] - before[k]).max() for k in names))
"""


@pytest.mark.parametrize("backend", runtime.KERAS_BACKENDS)
def test_keras_trains_every_layer_of_both_players(backend):
    moved = keras_prints(KERAS_STEPS, backend)
    assert len(moved) == 6 and min(moved.values()) > 1e-6


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns_to_draw_what_it_is_asked_for(lesson, pictures, framework):
    steps = []

    def report(step, logs, preview=None):
        steps.append(step)
        assert list(logs) == ["discriminator", "generator"]
        if step == 200:
            assert preview().shape == (152, 302) and preview().dtype == np.uint8
        return True

    chosen = settings(lesson, framework, steps=200)
    gan = lesson[framework].ways[framework].train(*pictures, chosen, report)
    assert steps == list(range(10, 201, 10))
    right = labels_right(lesson, framework, gan)
    assert right > 0.4  # guessing: 0.1


@pytest.mark.thorough
def test_without_the_auxiliary_loss_labels_are_guessed(lesson, pictures):
    chosen = settings(lesson, "tensorflow", steps=150, auxiliary=0.0)
    gan = lesson["tensorflow"].train_tf(*pictures, chosen, lambda *_: True)
    assert labels_right(lesson, "tensorflow", gan) < 0.25


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, pictures, framework):
    ours, seen = lesson[framework], []

    def report(step, logs, preview=None):
        seen.append(step)
        return step < 20

    chosen = settings(lesson, framework, steps=200, **SMALL)
    gan = ours.ways[framework].train(*pictures, chosen, report)
    assert seen == [10, 20]
    made = ours.ways[framework].generate(gan, *ours.draw(3, 6, np.random.default_rng(0)))
    assert made.shape == (3, 28, 28) and 0 <= made.min() <= made.max() <= 1
    source, label = ours.ways[framework].classify(gan, made)
    assert source.shape == (3,) and label.shape == (3, 10)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_larger_than_the_data_is_named(lesson, pictures, framework):
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        chosen = settings(lesson, framework, batch_size=5000)
        lesson[framework].ways[framework].train(*pictures, chosen, lambda *_: True)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_label_is_a_mixture_of_one(lesson, framework):
    way = lesson[framework].ways[framework]
    z, y = lesson[framework].draw(5, 6, np.random.default_rng(0))
    gan = way.build(6, 4)
    mixed = way.generate(gan, z, np.eye(10, dtype="float32")[y])
    assert np.array_equal(mixed, way.generate(gan, z, y))
    weights = parity.get_weights(gan)
    weights["generator.dense.kernel"][6:] *= 100  # what the labels weigh
    parity.set_weights(gan, weights)
    assert not np.allclose(way.generate(gan, z, y), way.generate(gan, z, (y + 1) % 10))


def test_a_long_run_resumes_where_it_was_cut(lesson, pictures, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = settings(lesson, "tensorflow", steps=40, **SMALL)
    trainer = bare.TFTrainer(chosen)
    bare.train_tf(*pictures, chosen, lambda step, *_: step < 20, trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    assert int(again.count) == 20 and float(again.judging.t) == 20
    steps = []
    bare.train_tf(*pictures, chosen, lambda step, *_: steps.append(step) or True, again)
    assert steps == [30, 40]


def test_the_rate_falls_over_the_last_fifth_in_keras_as_well(lesson):
    chosen = settings(lesson, "keras", steps=100, learning_rate=1e-3)
    rate = functools.partial(lesson["torch"].learning_rate, settings=chosen)
    assert [rate(step) for step in (0, 80, 90, 99)] == pytest.approx([1e-3, 1e-3, 5e-4, 5e-5])
    theirs = lesson["keras"].KerasRate(chosen)
    assert [float(theirs(k)) for k in range(0, 100, 9)] == pytest.approx(
        [rate(k) for k in range(0, 100, 9)], rel=1e-4
    )


def losses_of_label(lesson, logits, y, head):
    import tensorflow as tf
    import torch

    return [
        float(lesson["torch"].auxiliary_torch(torch.as_tensor(logits), torch.as_tensor(y), head)),
        float(lesson["tensorflow"].auxiliary_tf(tf.constant(logits), tf.constant(y), head)),
        float(lesson["keras"].auxiliary_keras(logits, y, head)),
    ]


def test_two_softmaxes_put_a_floor_under_the_loss(lesson):
    y = np.arange(10)
    sure = 50 * np.eye(10, dtype="float32")
    assert losses_of_label(lesson, sure, y, "logits") == pytest.approx([0] * 3, abs=1e-6)
    floor = np.log(1 + 9 / np.e)
    assert losses_of_label(lesson, sure, y, "softmax") == pytest.approx([floor] * 3, rel=1e-5)
    some = np.random.default_rng(0).normal(0, 3, (10, 10)).astype("float32")
    assert min(losses_of_label(lesson, some, y, "softmax")) > floor


def test_kerass_own_cross_entropy_mends_the_error_on_tensorflow(lesson):
    from keras import ops

    y, sure = np.arange(10), 50 * np.eye(10, dtype="float32")
    with pytest.warns(UserWarning, match="does not represent logits"):
        cost = ops.sparse_categorical_crossentropy(y, ops.softmax(sure), from_logits=True)
    assert float(ops.mean(cost)) == pytest.approx(0, abs=1e-6)  # as part 5 says


def test_two_softmaxes_leave_a_certain_mistake_without_a_gradient(lesson):
    import torch

    def pull(head):
        logits = torch.tensor([[0.0, 20.0] + [0.0] * 8], requires_grad=True)
        lesson["torch"].auxiliary_torch(logits, torch.tensor([0]), head).backward()
        return float(logits.grad.norm())

    assert pull("logits") == pytest.approx(2**0.5, rel=1e-3)
    assert pull("softmax") < 1e-6


def test_the_label_weighs_what_is_said(lesson):
    import torch

    ours, y = lesson["torch"], torch.tensor([3, 4])
    answers = torch.zeros(2), torch.zeros(2, 10)  # a discriminator that can only guess
    for weight in (0.0, 1.0, 2.5):
        chosen = settings(lesson, "torch", auxiliary=weight)
        d_loss = float(ours.judge_torch(answers, answers, y, y, chosen))
        assert d_loss == pytest.approx(2 * np.log(2) + weight * 2 * np.log(10))
        g_loss = float(ours.fool_torch(answers, y, chosen))
        assert g_loss == pytest.approx(np.log(2) + weight * np.log(10))


def test_the_diversity_of_a_class_counts_equally_many(lesson):
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 10
    real = rng.normal(size=(400, 4)) + 20 * labels[:, None]
    fake = rng.normal(size=(400, 4)) + 20 * labels[:, None]
    fake[labels == 3] = 60  # one picture for ever: its class is not covered
    found = lesson["torch"].class_diversity(real, labels, fake, labels)
    assert found.shape == (10, 2)
    others = np.arange(10) != 3
    assert found[3, 0] < 0.5 and found[3, 1] < 0.1
    assert found[others].min() > 0.6
