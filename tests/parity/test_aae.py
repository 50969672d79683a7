"""05_aae in three frameworks: the same steps, phases that move what they should, and claims."""

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, data, parity, runtime

NAME = "05_aae"
NETS = ("encoder", "decoder", "discriminator")


def grey(x):
    return x.astype("float32") / 255


# Not with judged images: where all pixels are black, gradients are rounding errors, which Adam
# makes as large as any other.
@pytest.mark.parametrize(
    "changes",
    [{}, {"labels": 100, "latents": 4}, {"judged": "nothing"}],
    ids=["codes", "labels", "nothing"],
)
def test_five_steps_of_adam_are_the_same_in_torch_and_tensorflow(lesson, digits, images, changes):
    import tensorflow as tf
    import torch

    chosen = settings(lesson, "torch", steps=5, **changes)
    one, two = lesson["torch"].TorchTrainer(chosen), lesson["tensorflow"].TFTrainer(chosen)
    start = parity.get_weights(one.aae)
    parity.set_weights(two.aae, start)
    for x, z, y, known, answers in lesson["torch"].feed(images, digits.y_train, chosen):
        meal = grey(x), z, y, grey(known), answers
        ours = one.step(1e-3, *map(torch.as_tensor, meal))
        bare = two.step(1e-3, *map(tf.constant, meal))
        assert [float(a) for a in ours] == pytest.approx([float(b) for b in bare], rel=1e-2)
    both = {"torch": {"weights": parity.get_weights(one.aae)}}
    both["tensorflow"] = {"weights": parity.get_weights(two.aae)}
    after = both["torch"]["weights"]
    assert np.abs(after["encoder.out.kernel"] - start["encoder.out.kernel"]).max() > 1e-3
    # one rounding error, once, where a gradient is all but zero, may be worth a part of a step
    parity.compare(both, tolerance=1e-4).verdict()


def test_each_phase_moves_its_own_networks_and_no_others(lesson, images):
    import torch

    ours = lesson["torch"]
    trainer = ours.TorchTrainer(settings(lesson, "torch"))
    aae, x = trainer.aae, torch.as_tensor(grey(images[:50]))
    z = torch.as_tensor(ours.draw_prior("gaussian", 50, 2, np.random.default_rng(0)))

    def moves(optimizer, loss):
        before = parity.get_weights(aae)
        trainer.descend(optimizer, loss, 1e-3)
        after = parity.get_weights(aae)
        return {name.split(".")[0] for name in before if (before[name] != after[name]).any()}

    rivals = lambda: aae.rivals(x, z, None)  # noqa: E731
    rebuilt = ours.reconstruction_torch(aae, x).mean()
    assert moves(trainer.rebuilding, rebuilt) == {"encoder", "decoder"}
    assert moves(trainer.judging, ours.judge_torch(rivals())) == {"discriminator"}
    assert moves(trainer.fooling, ours.fool_torch(rivals())) == {"encoder"}


def test_the_discriminators_inputs_are_codes(lesson):
    for name, build in (("torch", "TorchAAE"), ("tensorflow", "TFAAE"), ("keras", "KerasAAE")):
        aae = getattr(lesson[name], build)(8, 16)
        assert parity.get_weights(aae)["discriminator.hidden1.kernel"].shape == (8, 16)


def test_a_guessing_discriminator_pays_log_4(lesson):
    import torch

    always = lambda z: torch.zeros(len(z), 1)  # noqa: E731
    rivals = [(always, torch.ones(5, 2), torch.ones(5, 2))]
    assert float(lesson["torch"].judge_torch(rivals)) == pytest.approx(np.log(4))
    assert float(lesson["torch"].fool_torch(rivals)) == pytest.approx(np.log(2))


KERAS_STEPS = """
import sys
import numpy as np
from utils import lessons, parity
import os
os.environ.setdefault("KERAS_BACKEND", sys.argv[1])
lesson = lessons.load("05_aae", "keras")
import keras
assert keras.backend.backend() == sys.argv[1]
aae = lesson.KerasAAE(2, 16)
aae.compile(lambda beta_1: keras.optimizers.Adam(1e-3, beta_1))
before = parity.get_weights(aae)
rng = np.random.default_rng(0)
x, z = rng.random((20, 784), dtype="float32"), lesson.draw_prior("gaussian", 20, 2, rng)
empty = np.zeros((20, 0), "float32"), np.zeros((0, 784), "float32"), np.zeros(0, "int64")
for _ in range(5):
    aae.train_on_batch(x, (z, *empty))
after = parity.get_weights(aae)
for net in ("encoder", "decoder", "discriminator"):
    print(net, max(np.abs(after[k] - before[k]).max() for k in before if k.startswith(net)))
frozen = lesson.keras_mlp("discriminator", 2, 16, 1)
loss = keras.losses.BinaryCrossentropy(from_logits=True)
frozen.compile("adam", loss)
frozen.trainable = False
keras.Sequential([lesson.keras_mlp("encoder", 784, 16, 2), frozen]).compile("adam", loss)
before = [parity.to_numpy(w).copy() for w in frozen.weights]
for _ in range(5):
    frozen.train_on_batch(z, np.ones((20, 1), "float32"))
print("frozen", max(np.abs(parity.to_numpy(w) - b).max() for w, b in zip(frozen.weights, before)))
"""


@pytest.mark.parametrize("backend", runtime.KERAS_BACKENDS)
def test_keras_trains_every_network_and_the_popular_pattern_does_not(backend):
    moved = keras_prints(KERAS_STEPS, backend)
    for net in NETS:
        assert moved[net] > 1e-3
    assert moved["frozen"] == 0.0


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, digits, images, framework):
    losses = []

    def report(step, logs, preview=None):
        losses.append((step, logs["loss"]))
        if step == 200:
            picture = preview()
            assert picture.dtype == np.uint8 and picture.shape == (302, 604, 3)
        return True

    chosen = settings(lesson, framework, steps=200)
    lesson[framework].ways[framework].train(images, chosen, report, labels=digits.y_train)
    assert [step for step, _ in losses] == list(range(10, 201, 10))
    assert losses[-1][1] < 0.6 * losses[0][1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, digits, images, framework):
    way = lesson[framework].ways[framework]
    seen = []

    def report(step, logs, preview=None):
        seen.append(step)
        return step < 30

    chosen = settings(lesson, framework, steps=200)
    aae = way.train(images, chosen, report, labels=digits.y_train)
    assert seen == [10, 20, 30]
    assert np.isfinite(way.decode(aae, np.zeros((1, 2), "float32"))).all()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_larger_than_the_data_is_named(lesson, images, framework):
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        way = lesson[framework].ways[framework]
        way.train(images, settings(lesson, framework, batch_size=5000), lambda *_: True)


def test_a_flat_prior_in_space_is_named(lesson):
    with pytest.raises(CourseError, match="set latents to 2"):
        lesson["torch"].draw_prior("mixture", 5, 3, np.random.default_rng(0))


def test_a_long_run_resumes_where_it_was_cut(lesson, images, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = settings(lesson, "tensorflow", steps=40)
    trainer = bare.TFTrainer(chosen)
    bare.train_tf(images, chosen, lambda step, *_: step < 20, trainer=trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    assert int(again.count) == 20 and float(again.judging.t) == 20
    steps = []
    bare.train_tf(images, chosen, lambda step, *_: steps.append(step) or True, trainer=again)
    assert steps == [30, 40]


def test_the_linear_schedule_falls_to_a_twentieth_in_keras_as_well(lesson):
    import keras

    chosen = settings(lesson, "torch", schedule="linear", steps=100)
    theirs = keras.optimizers.schedules.PolynomialDecay(1e-3, 100, 1e-3 / 20)
    rates = [lesson["torch"].learning_rate(step, chosen) for step in (0, 50, 100)]
    assert rates == pytest.approx([1e-3, 5.25e-4, 5e-5])
    assert [float(theirs(step)) for step in (0, 50, 100)] == pytest.approx(rates, rel=1e-5)


def test_the_labels_that_may_be_seen_are_balanced(lesson, digits):
    known = lesson["torch"].labelled(digits.y_train, 100, seed=0)
    assert np.bincount(digits.y_train[known]).tolist() == [10] * 10
    assert len(set(known)) == 100


def test_labels_teach_the_class_code(lesson, digits, images):
    way = lesson["torch"].ways["torch"]
    chosen = settings(lesson, "torch", steps=300, labels=100, latents=4)
    aae = way.train(images, chosen, lambda *_: True, labels=digits.y_train)
    y = way.classify(aae, grey(data.flatten(digits.x_test)))
    assert y.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (y.argmax(axis=1) == digits.y_test).mean() > 0.7


@pytest.mark.thorough
def test_without_the_game_codes_leave_the_prior(lesson, digits, images):
    ours, gaps = lesson["torch"], {}
    x = grey(data.flatten(digits.x_test))
    draws = ours.draw_prior("gaussian", len(x), 2, np.random.default_rng(0))
    for judged in ("codes", "images", "nothing"):
        chosen = settings(lesson, "torch", steps=500, judged=judged)
        aae = ours.train_torch(images, chosen, lambda *_: True)
        gaps[judged] = ours.apart(ours.encode_torch(aae, x), draws)
    assert gaps["codes"] < 0.5 * min(gaps["images"], gaps["nothing"])
