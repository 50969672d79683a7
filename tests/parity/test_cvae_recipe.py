"""03_cvae's recipe from end to end on a handful of digits, cut once and resumed."""

import dataclasses
import time

import numpy as np
import pytest

from utils import checkpoints, data, lessons, metrics, results
from utils.recipes import cvae as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """400 embedded digits pass for MNIST, and 40 steps for a schedule."""
    digits = data.mnist("embedded")
    few = dataclasses.replace(digits, x_train=digits.x_train[:400], y_train=digits.y_train[:400])
    monkeypatch.setattr(recipe, "real_mnist", lambda: few)
    return few


@pytest.mark.parametrize("model", ("label", "quadrants"))
def test_a_cut_training_goes_on_and_saves_what_remeasures(
    handful, monkeypatch, tmp_path, capsys, model
):
    monkeypatch.setattr(recipe, "MODELS", {"toy": (model, 40)})
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    clock = iter(range(0, 10**6, 200))  # saves often
    monkeypatch.setattr(time, "monotonic", clock.__next__)
    lesson = lessons.load(recipe.NOTEBOOK, "tensorflow")

    def cut(images, labels, settings, report, trainer):
        def until_twenty(step, logs, preview=None):
            return report(step, logs) and step < 20

        lesson.train_tf(images, labels, settings, until_twenty, trainer)
        raise KeyboardInterrupt

    broken = type("Lesson", (), {**vars(lesson), "train_tf": staticmethod(cut)})
    with pytest.raises(KeyboardInterrupt):
        recipe._train_one(broken, handful, "toy", model, 40, tmp_path / "toy")
    assert not saved
    recipe.train(tmp_path)
    assert "toy: from step 20 of 40" in capsys.readouterr().out
    weights, info = saved["toy"]
    assert weights["code_mean.kernel"].shape == (200, 32)
    assert "40 steps of 128 images" in info["what"] and info["model"] == model
    assert np.isfinite(info["metric"]["value"]["embedded"])


def test_bounds_belong_to_their_images(handful):
    """Images go through in parts; each meets its own condition."""
    lesson = lessons.load(recipe.NOTEBOOK, "torch")
    way = lesson.ways["torch"]
    model = way.build("label")
    x = data.binarise(data.flatten(handful.x_test[:7]), np.random.default_rng(0))
    seen = []

    def condition(part):
        seen.append((part.start, part.stop))
        return recipe.of_labels(handful.y_test)(part)

    found = recipe.bounds(way, model, x, condition, (1, 2500))
    assert seen == [(0, 2), (2, 4), (4, 6), (6, 7)]
    c, hidden = lesson.told(handful.y_test[:7])
    noise = np.random.default_rng(1).standard_normal((2500, 7, 32), dtype="float32")
    whole = metrics.log_mean_exp(way.log_weights(model, x, c, hidden, noise))
    assert found[2500] == pytest.approx(whole, abs=3)
    assert (found[2500] > found[1]).all()


def test_a_measurement_has_every_task(monkeypatch):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe, "DRAWS", 10)
    records = results.measure("03_cvae", "torch", images=20)
    values = {record.metric: record.value for record in records}
    assert len(values) == len(records) == 11
    for words in ("1 quadrant", "2 quadrants", "3 quadrants"):
        assert values[f"conditional NLL, IS 10, {words} seen, nats"] > 15
        assert values[f"as Pyro does: no code, {words} seen, nats"] > 15
        assert values[f"as Pyro does: −ELBO, {words} seen, nats"] > 15
    assert 50 < values["conditional NLL, IS 10, label known, nats"] < 150
    assert values["samples that the judge reads as their label, %"] > 80
    assert {record.better for record in records[:-1]} == {"lower"}
    assert records[-1].better == "higher" and records[-1].low <= records[-1].high
