"""11_vgg's transfer in three frameworks: stages, freezing and its traps, and what features give."""

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, checkpoints, data, parity, runtime

NAME = "11_vgg"


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_steps_in_two_stages_are_the_same_in_all_three(lesson, digits):
    """At a low rate: a high one makes a unit's last digit decide which ReLUs are open."""
    kinds = {"row": "A", "steps": 6, "frozen": 2, "batch_size": 20}
    chosen = settings(lesson, "torch", **kinds, dropout=0.0, learning_rate=0.002)
    x, y = digits.x_train[:60], digits.y_train[:60]
    begin = lesson["torch"].start(lesson["torch"].net_of(chosen, y), "he", 5)
    begin = lesson["torch"].features(begin)
    after = {}
    for framework in runtime.FRAMEWORKS:
        model = lesson[framework].ways[framework].train(x, y, chosen, lambda *_: True, begin)
        weights = parity.get_weights(model)
        after[framework] = {"weights": {k: w for k, w in weights.items() if "moving" not in k}}
    moved = np.abs(after["torch"]["weights"]["conv1_1.kernel"] - begin["conv1_1.kernel"]).max()
    assert moved > 5e-4
    parity.compare(after, tolerance=1e-3).verdict()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_frozen_features_do_not_move_in_any_way(lesson, digits, framework):
    """Neither kernels nor scales nor moving averages; the head does."""
    way = lesson[framework].ways[framework]
    chosen = settings(lesson, framework, steps=10, frozen=10, batch_size=16)
    begin = lesson[framework].start(lesson[framework].net_of(chosen, digits.y_train), "he", 7)
    begin = lesson[framework].features(begin)
    report = lambda *_: True  # noqa: E731
    model = way.train(digits.x_train, digits.y_train, chosen, report, begin)
    after = parity.get_weights(model)
    assert all(np.array_equal(after[name], begin[name]) for name in begin)
    fresh = lesson[framework].start(model.net, "he", 0)
    assert np.abs(after["dense1.kernel"] - fresh["dense1.kernel"]).max() > 1e-3


def test_frozen_weights_are_not_a_frozen_layer_in_pytorch(lesson):
    import torch

    ours, x = lesson["torch"], noise(8, 28, 28, 1) + 2
    model = ours.TorchVGG(ours.small("A", 8))
    model.train().requires_grad_(False)
    before = parity.get_weights(model)
    model(torch.as_tensor(x))
    moved = {k for k, w in parity.get_weights(model).items() if not np.array_equal(w, before[k])}
    assert moved == {k for k in before if "moving" in k}
    ours.thaw_torch(model, head_only=True)
    assert not model.norm1_1.training and not model.conv1_1.weight.requires_grad
    assert model.dense1.training and model.dense1.weight.requires_grad


def test_kerass_trainable_means_evaluation_mode_as_well(lesson):
    ours, x = lesson["keras"], noise(8, 28, 28, 1) + 2
    model = ours.KerasVGG(ours.small("A", 8), dropout=0.0)
    model.trainable = False
    before = parity.get_weights(model)
    frozen = parity.to_numpy(model(x, training=True))
    assert all(np.array_equal(w, before[k]) for k, w in parity.get_weights(model).items())
    assert frozen == pytest.approx(parity.to_numpy(model(x, training=False)), abs=1e-6)


ON_A_BACKEND = """
import sys
import numpy as np
from types import SimpleNamespace
from utils import data, lessons, parity
lesson = lessons.load("11_vgg", "keras")
import keras
assert keras.backend.backend() == sys.argv[1]
digits = data.mnist("embedded")
plain = {"row": "A", "dropout": 0.0, "shift": 0, "steps": 40, "batch_size": 32, "seed": 0}
chosen = SimpleNamespace(**{**lesson.QUICK, **plain})
losses = []
model = lesson.train_keras(
    digits.x_train, digits.y_train, chosen, lambda s, logs, p: losses.append(logs["loss"]) or True
)
print("first", losses[0])
print("last", losses[-1])
begin = lesson.features(parity.get_weights(model))
chosen = SimpleNamespace(**{**vars(chosen), "steps": 20, "frozen": 10, "batch_size": 16})
seen = []
def report(step, logs, preview):
    seen.append(step)
    return True
model = lesson.train_keras(digits.x_train, digits.y_train, chosen, report, begin)
after = parity.get_weights(model)
print("steps", len(seen))
print("moved", np.abs(after["conv1_1.kernel"] - begin["conv1_1.kernel"]).max())
chosen.frozen = 20
model = lesson.train_keras(digits.x_train, digits.y_train, chosen, report, begin)
after = parity.get_weights(model)
print("frozen", max(np.abs(after[name] - begin[name]).max() for name in begin))
"""


def test_keras_trains_freezes_and_thaws_on_pytorch_as_well():
    found = keras_prints(ON_A_BACKEND, "torch")
    assert found["last"] < 0.8 * found["first"]
    assert found["steps"] == 2 and found["moved"] > 1e-4 and found["frozen"] == 0


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_in_any_stage_leaves_a_usable_model(lesson, digits, framework):
    way = lesson[framework].ways[framework]
    for stop, frozen in ((10, 20), (20, 10)):
        seen = []
        kinds = {"row": "A", "batch_size": 16, "steps": 40, "frozen": frozen}
        chosen = settings(lesson, framework, **kinds)

        def report(step, *_, seen=seen, stop=stop):
            seen.append(step)
            return step < stop

        model = way.train(digits.x_train, digits.y_train, chosen, report)
        assert seen == list(range(10, stop + 1, 10))
        assert np.isfinite(way.logits(model, digits.x_test[:5])).all()
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        large = settings(lesson, framework, batch_size=5000)
        way.train(digits.x_train, digits.y_train, large, lambda *_: True)


def test_weights_of_another_network_are_named(lesson, digits):
    chosen = settings(lesson, "torch", steps=10, batch_size=16)
    wide = lesson["torch"].start(lesson["torch"].small("D", 16), "he", 0)
    with pytest.raises(CourseError, match="conv1_1.kernel is"):
        lesson["torch"].train_torch(digits.x_train, digits.y_train, chosen, lambda *_: True, wide)


def test_stages_end_where_they_should(lesson):
    ours = lesson["torch"]
    for frozen, ends in ((0, [(0, 60)]), (20, [(0, 20), (20, 60)]), (90, [(0, 60)])):
        found = ours.stages(settings(lesson, "torch", steps=60, frozen=frozen))
        assert [(stage.first, stage.end) for stage in found] == ends
        assert [stage.head_only for stage in found] == [True, False][-len(ends) :] or frozen == 90
    stage = ours.Stage(False, 20, 60, 0.4)
    rates = [ours.learning_rate(step, stage) for step in (20, 40, 60)]
    assert rates == pytest.approx([0.4, 0.2, 0.0])


def test_features_of_digits_help_with_letters(lesson):
    """The lesson's claim on its own checkpoint, with a wide margin."""
    ours, letters = lesson["torch"], data.letters(200, 500)
    known = checkpoints.load(NAME).weights
    chosen = settings(lesson, "torch", **{**ours.FULL, **ours.FEW, "steps": 60})
    ways = {title: ours.TRANSFERS[title] for title in ("from scratch", "frozen")}
    found = {
        title: ours.learnt(ours.ways["torch"], letters, chosen, known, transfer)
        for title, transfer in ways.items()
    }
    assert found["frozen"] > 70 and found["frozen"] > found["from scratch"] - 2
