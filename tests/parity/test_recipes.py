"""`make train` from end to end on a handful of digits, cut once and resumed."""

import dataclasses
import time

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, results
from utils.recipes import vae as recipe


@pytest.fixture
def handful(monkeypatch):
    """400 embedded digits pass for MNIST, and one epoch of them for a schedule."""
    digits = data.mnist("embedded")
    few = dataclasses.replace(digits, x_train=digits.x_train[:400], y_train=digits.y_train[:400])
    monkeypatch.setattr(recipe, "real_mnist", lambda: few)
    monkeypatch.setattr(recipe, "MODELS", {"toy": (2, 2)})  # 4 epochs of 20 steps
    return few


def test_a_cut_training_goes_on_and_saves_a_checkpoint_that_remeasures(
    handful, monkeypatch, tmp_path, capsys
):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    monkeypatch.setattr(time, "monotonic", iter(range(0, 10**6, 200)).__next__)  # saves often

    def cut(images, settings, report, trainer):
        lesson.train_tf(
            images, settings, lambda step, *_: report(step, {"loss": 1.0}) and step < 40, trainer
        )
        raise KeyboardInterrupt

    lesson = recipe.lessons.load(recipe.NOTEBOOK, "tensorflow")
    broken = type("Lesson", (), {**vars(lesson), "train_tf": staticmethod(cut)})
    with pytest.raises(KeyboardInterrupt):
        recipe._train_one(broken, data.flatten(handful.x_train), "toy", 2, 2, tmp_path / "toy")
    assert not saved
    recipe.train(tmp_path)
    assert "toy: from step 40 of 80" in capsys.readouterr().out
    weights, info = saved["toy"]
    assert weights["encoder.mean.kernel"].shape == (200, 2)
    assert info["settings"]["epochs"] == 4 and "4 epochs" in info["what"]
    assert np.isfinite(info["metric"]["value"]["embedded"])


def test_without_mnist_nothing_is_trained(monkeypatch):
    embedded = data.mnist("embedded")
    monkeypatch.setattr(data, "mnist", lambda: embedded)
    with pytest.raises(CourseError, match="needs the real MNIST"):
        recipe.train()


def test_a_measurement_has_every_bound_and_the_active_units(monkeypatch):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe, "SAMPLES", (1, 50))
    records = results.measure("02_vae", "torch", images=20)
    values = {record.metric: record.value for record in records}
    assert set(values) == {"−ELBO, nats", "−L_50, nats", "active units"}
    assert values["−ELBO, nats"] > values["−L_50, nats"] > 50
    assert 5 <= values["active units"] <= 50
    assert all(record.peak_memory_mb > 100 and record.seconds >= 0.01 for record in records)


def test_the_schedule_in_words():
    assert [recipe.epochs(stages) for stages in (1, 2, 8)] == [1, 4, 3280]
    assert recipe.what(50, 3280).endswith("3,280 epochs of Burda et al.'s schedule")
    assert "121 epochs of Burda et al.'s schedule (which has 3,280)" in recipe.what(2, 121)
