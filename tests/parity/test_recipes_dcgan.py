"""07_dcgan's recipe from end to end on a handful of digits, cut once and resumed, and measured."""

import dataclasses
import time

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, results
from utils.recipes import dcgan as recipe

pytestmark = pytest.mark.thorough

TOY = {"width": 8, "latents": 6, "batch_size": 16, "steps": 20}


@pytest.fixture
def handful(monkeypatch):
    """Embedded digits pass for MNIST, and 20 steps of narrow models for every schedule."""
    digits = data.mnist("embedded")
    load = recipe.lessons.load

    def narrow(name, framework):
        lesson = load(name, framework)
        for chosen in (lesson.QUICK, lesson.FULL, lesson.STACKED):
            chosen.update(TOY)
        lesson.BREAKS = {"as the paper has it": {}, "no BatchNorm": {"norm": "nowhere"}}
        return lesson

    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe.lessons, "load", narrow)
    monkeypatch.setattr(recipe, "SEEDS", (0, 1))
    for name, value in {"IMAGES": 100, "RULE_STEPS": 10, "PART": 80, "JUDGED": 80}.items():
        monkeypatch.setattr(recipe, name, value)
    return digits


def test_a_training_saves_checkpoints_that_remeasure_in_every_framework(
    handful, monkeypatch, tmp_path
):
    saved = {}
    monkeypatch.setattr(
        checkpoints, "save", lambda name, weights, info: saved.update({name: (weights, info)})
    )
    recipe.train(tmp_path)
    assert list(saved) == [recipe.NOTEBOOK, recipe.STACK, recipe.BROKEN]
    kept = {name.rsplit(".generator", 1)[0][:3] for name in saved[recipe.STACK][0]}
    assert kept == {"1.0", "1.1", "2.0", "2.1"}
    assert not any("discriminator" in name for name in saved[recipe.STACK][0])
    distances = saved[recipe.BROKEN][1]["distances"]
    assert set(distances) == {"as the paper has it", "no BatchNorm"}
    assert all(len(values) == 2 and min(values) > 0 for values in distances.values())
    monkeypatch.setattr(
        checkpoints, "load", lambda name: checkpoints.Checkpoint(name, *saved[name])
    )
    for name in saved:
        for framework in ("torch", "tensorflow", "keras"):
            stated, found = recipe.remeasure(name, framework)
            assert found == pytest.approx(stated, abs=1e-3)
    monkeypatch.setattr(recipe, "STACKED_SAMPLES", 60)
    for record in recipe.measure("torch", 80):
        fields = {field.name for field in dataclasses.fields(results.Record)}
        assert set(record) <= fields and record["low"] <= record["value"] <= record["high"]
        assert record["reference"]


def test_a_cut_training_goes_on_where_it_was(handful, monkeypatch, tmp_path, capsys):
    lesson = recipe.lessons.load(recipe.NOTEBOOK, "tensorflow")
    chosen = recipe.settings_of(lesson.FULL)
    monkeypatch.setattr(time, "monotonic", iter(range(0, 10**6, 100)).__next__)
    whole = lesson.train_tf

    def cut(images, settings, report, game):
        whole(images, settings, lambda step, *rest: report(step, *rest) and step < 10, game=game)
        raise KeyboardInterrupt

    lesson.train_tf = cut
    with pytest.raises(KeyboardInterrupt):
        recipe.train_one(lesson, handful.x_train, chosen, tmp_path / "toy")
    lesson.train_tf = whole
    gan, _ = recipe.train_one(lesson, handful.x_train, chosen, tmp_path / "toy")
    assert "toy: from step 10 of 20" in capsys.readouterr().out
    assert np.isfinite(recipe.parity.get_weights(gan)["generator.up1.kernel"]).all()


def test_without_mnist_nothing_is_trained(monkeypatch):
    embedded = data.mnist("embedded")
    monkeypatch.setattr("utils.recipes._data.data.mnist", lambda *_: embedded)
    with pytest.raises(CourseError, match="needs the real MNIST"):
        recipe.train()
