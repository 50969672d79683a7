"""05_aae's recipe from end to end on a handful of digits, cut once and resumed, and measured."""

import dataclasses
import time

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, results
from utils.recipes import aae as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """Embedded digits pass for MNIST, and 40 steps of a narrow model for a schedule."""
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    toy = {"latents": 2, "hidden": 16, "dropout": 0.1, "steps": 40, "prior": "swiss roll"}
    known = {**toy, "prior": "gaussian", "labels": 100, "steps": 20}
    monkeypatch.setattr(recipe, "MODELS", {"toy": toy, "toy_labels": known})
    return dataclasses.replace(digits)


def test_a_cut_training_goes_on_and_saves_a_checkpoint_that_remeasures(
    handful, monkeypatch, tmp_path, capsys
):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    monkeypatch.setattr(time, "monotonic", iter(range(0, 10**6, 100)).__next__)
    lesson = recipe.lessons.load(recipe.NOTEBOOK, "tensorflow")

    def cut(images, settings, report, labels, trainer):
        assert len(images) == 442  # the last 1,000 are held out
        lesson.train_tf(
            images,
            settings,
            lambda step, logs, preview: report(step, logs) and step < 20,
            trainer=trainer,
        )
        raise KeyboardInterrupt

    broken = type("Lesson", (), {**vars(lesson), "train_tf": staticmethod(cut)})
    images = data.flatten(handful.x_train)[: -recipe.HELD_OUT]
    with pytest.raises(KeyboardInterrupt):
        recipe._train_one(broken, images, "toy", tmp_path / "toy")
    assert not saved
    recipe.train(tmp_path)
    assert "toy: from step 20 of 40" in capsys.readouterr().out
    weights, info = saved["toy"]
    assert weights["encoder.out.kernel"].shape == (16, 2)
    assert info["settings"]["steps"] == 40 and "swiss roll prior" in info["what"]
    assert np.isfinite(info["metric"]["value"]["embedded"])
    weights, info = saved["toy_labels"]
    assert weights["encoder.out.kernel"].shape == (16, 2 + 10) and "100 labels" in info["what"]
    assert info["metric"]["name"] == recipe.ERRORS
    assert 10 < info["metric"]["value"]["embedded"] <= 100  # percent; it has hardly begun


def test_without_mnist_nothing_is_trained(monkeypatch):
    embedded = data.mnist("embedded")
    monkeypatch.setattr(data, "mnist", lambda: embedded)
    with pytest.raises(CourseError, match="needs the real MNIST"):
        recipe.train()


def test_a_measurement_has_parzen_frechet_and_their_floors(monkeypatch):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe, "SAMPLES", 400)
    records = results.measure("05_aae", "torch", images=200)
    values = [record.value for record in records]
    better = ["higher", "higher", "lower", "lower", "lower"]
    assert [record.better for record in records] == better
    assert values[0] > -1000 and np.isfinite(values).all()
    assert values[3] < values[2]  # real digits are nearer to real digits
    assert records[4].metric.startswith("test error") and 0 <= values[4] < 90
    assert "1,000 labels" in records[4].trained
