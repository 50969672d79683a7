"""10_alexnet's recipe from end to end on a handful of digits, cut once, and measured."""

import json

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, lessons, results
from utils.recipes import alexnet as recipe


@pytest.fixture
def handful(monkeypatch):
    """Embedded digits pass for MNIST, and a few steps of a narrow network for a schedule."""
    digits, full = data.mnist("embedded"), recipe.settings_of
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe, "SHORT", {"width": 8, "steps": 2})
    brief = {"width": 8, "steps": 20, "batch_size": 16}
    monkeypatch.setattr(
        recipe, "settings_of", lambda *args, **changes: full(*args, **{**brief, **changes})
    )
    return digits


def test_what_an_earlier_call_finished_is_kept(handful, monkeypatch, tmp_path, capsys):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    monkeypatch.setattr(recipe, "SAY_EVERY", 0.0)
    recipe.train(tmp_path)
    assert sorted(saved) == sorted(recipe.NAMES.values())
    said = capsys.readouterr().out
    assert "10_alexnet_2: step 20 of 20" in said and "tanh for ReLU, seed 2" in said
    weights, info = saved["10_alexnet"]
    assert weights["conv1.kernel"].shape == (7, 7, 1, 8) and info["seed"] == 0
    assert info["parts"].keys() == recipe.COMPARED.keys()
    assert all(len(values) == 3 for values in info["parts"].values())
    other = saved["10_alexnet_1"][0]
    assert (weights["conv1.kernel"] != other["conv1.kernel"]).any()

    path = tmp_path / "10_alexnet_parts.json"
    parts = json.loads(path.read_text())
    last = parts["no dropout"].pop()
    path.write_text(json.dumps(parts))
    (tmp_path / "10_alexnet_1.npz").unlink()
    saved.clear()
    recipe.train(tmp_path)
    said = capsys.readouterr().out
    assert "10_alexnet_1: step" in said and "10_alexnet_2: step" not in said
    assert said.count("seed 2: ") == 1 and "no dropout, seed 2" in said
    again, info = saved["10_alexnet"]
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    assert len(info["parts"]["no dropout"]) == 3 and 0 <= last <= 100
    assert sorted(saved) == ["10_alexnet", "10_alexnet_1"]


def test_without_mnist_nothing_is_trained(monkeypatch):
    embedded = data.mnist("embedded")
    monkeypatch.setattr(data, "mnist", lambda: embedded)
    with pytest.raises(CourseError, match="needs the real MNIST"):
        recipe.train()


def test_the_comparison_is_the_notebooks():
    """The recipe leaves out what part 9 leaves out."""
    [path] = (lessons.ROOT / "lessons").glob(f"*/{recipe.NOTEBOOK}.py")
    text = path.read_text(encoding="utf-8")
    for changes in recipe.COMPARED.values():
        assert not changes or json.dumps(changes) in text


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_measurement_has_a_mean_and_a_range(monkeypatch, framework):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    records = results.measure(recipe.NOTEBOOK, framework, images=100)
    one, five = records[:2]
    assert one.low <= one.value <= one.high <= 100 and one.value > 80
    assert "five crops" in five.metric and five.value > 80
    assert len(records) == 2 + (len(recipe.COMPARED) if framework == "torch" else 0)
