"""11_vgg's recipe from end to end on a handful of digits, cut once, and measured."""

import json

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, results
from utils.recipes import vgg as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """Embedded digits pass for MNIST, and a few steps of a narrow network for a schedule."""
    digits, full = data.mnist("embedded"), recipe.settings_of
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe, "LETTERS", 20)
    monkeypatch.setattr(recipe, "TESTED", 20)
    brief = {"width": 8, "steps": 10, "batch_size": 16}

    def settings_of(*args, **changes):
        return full(*args, **{**brief, **changes, "steps": 10, "batch_size": 16})

    monkeypatch.setattr(recipe, "settings_of", settings_of)
    return digits


def test_what_an_earlier_call_finished_is_kept(handful, monkeypatch, tmp_path, capsys):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    monkeypatch.setattr(recipe, "SAY_EVERY", 0.0)
    recipe.train(tmp_path)
    assert sorted(saved) == sorted(recipe.NAMES.values())
    said = capsys.readouterr().out
    assert "11_vgg_2: step 10 of 10" in said and "frozen, then thawed, seed 2" in said
    weights, info = saved["11_vgg"]
    assert weights["conv1_1.kernel"].shape == (3, 3, 1, 8) and info["seed"] == 0
    assert len(info["letters"]) == 5
    assert all(len(values) == 3 for values in info["letters"].values())
    other = saved["11_vgg_1"][0]
    assert (weights["conv1_1.kernel"] != other["conv1_1.kernel"]).any()

    path = tmp_path / "11_vgg_letters.json"
    kept = json.loads(path.read_text())
    last = kept["frozen"].pop()
    path.write_text(json.dumps(kept))
    (tmp_path / "11_vgg_1.npz").unlink()
    saved.clear()
    recipe.train(tmp_path)
    said = capsys.readouterr().out
    assert "11_vgg_1: step" in said and "11_vgg_2: step" not in said
    assert said.count("seed 2: ") == 1 and "frozen, seed 2" in said
    again, info = saved["11_vgg"]
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    assert len(info["letters"]["frozen"]) == 3 and 0 <= last <= 100


def test_without_mnist_nothing_is_trained(monkeypatch):
    embedded = data.mnist("embedded")
    monkeypatch.setattr(data, "mnist", lambda: embedded)
    with pytest.raises(CourseError, match="needs the real MNIST"):
        recipe.train()


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_measurement_has_a_mean_and_a_range(monkeypatch, framework):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    first, *rest = results.measure(recipe.NOTEBOOK, framework, images=100)
    assert first.low <= first.value <= first.high <= 100 and first.value > 80
    letters = checkpoints.load(recipe.NOTEBOOK).info["letters"]
    assert len(rest) == (len(letters) if framework == "torch" else 0)
