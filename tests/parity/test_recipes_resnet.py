"""12_resnet's recipe from end to end on a handful of digits, cut once, and measured."""

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, results
from utils.recipes import resnet as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """Embedded digits pass for MNIST, and a few steps of a narrow network for a schedule."""
    digits, full = data.mnist("embedded"), recipe.settings_of
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe, "GRID", np.linspace(-1, 1, 3))
    monkeypatch.setattr(recipe, "TRAINING_IMAGES", 50)
    names = {("", 0): "12_resnet", ("", 1): "12_resnet_1", ("_cutout", 0): "12_resnet_cutout"}
    monkeypatch.setattr(recipe, "NAMES", names)
    shallow = {title: {**one, "depth": 8} for title, one in recipe.COMPARED.items()}
    monkeypatch.setattr(recipe, "COMPARED", shallow)
    short = {"width": 4, "depth": 8, "steps": 10, "batch_size": 16, "bf16": False}
    monkeypatch.setattr(recipe, "BRIEF", {**recipe.BRIEF, "steps": 10, "batch_size": 16})
    monkeypatch.setattr(
        recipe, "settings_of", lambda *args, **changes: full(*args, **{**short, **changes})
    )
    return digits


def test_what_an_earlier_call_finished_is_kept(handful, monkeypatch, tmp_path, capsys):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    monkeypatch.setattr(recipe, "SAY_EVERY", 0.0)
    recipe.train(tmp_path)
    assert sorted(saved) == sorted(recipe.NAMES.values())
    assert "12_resnet_cutout: step 10 of 10" in capsys.readouterr().out
    weights, info = saved["12_resnet"]
    assert weights["stem.kernel"].shape == (3, 3, 1, 4) and info["seed"] == 0
    assert info["degradation"].keys() == recipe.COMPARED.keys()
    for runs in info["degradation"].values():
        assert [run["seed"] for run in runs] == list(recipe.COMPARED_SEEDS)
        assert all(len(run["gradients"]) == 6 and len(run["losses"]) == 1 for run in runs)
        assert all(0 <= run["training error, %"] <= 100 for run in runs)
    for surface in info["surfaces"].values():
        assert np.shape(surface) == (3, 3) and np.isfinite(surface).all()
    other = saved["12_resnet_cutout"]
    assert other[1]["settings"]["hole"] == recipe.HOLE and info["settings"]["hole"] == 0
    assert (weights["stem.kernel"] != other[0]["stem.kernel"]).any()

    (tmp_path / "12_resnet_1.npz").unlink()
    saved.clear()
    recipe.train(tmp_path)
    said = capsys.readouterr().out
    assert "12_resnet_1: step" in said and "12_resnet_cutout: step" not in said
    again, info = saved["12_resnet"]
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    assert info["degradation"] and sorted(saved) == ["12_resnet", "12_resnet_1"]


def test_without_mnist_nothing_is_trained(monkeypatch):
    embedded = data.mnist("embedded")
    monkeypatch.setattr(data, "mnist", lambda: embedded)
    with pytest.raises(CourseError, match="needs the real MNIST"):
        recipe.train()


def test_a_direction_is_as_long_as_its_filters_and_spares_norms():
    rng = np.random.default_rng(0)
    weights = {"a.kernel": rng.normal(size=(3, 3, 2, 5)), "b.gamma": np.ones(5)}
    one, two = recipe.directions(weights, seed=0)
    assert one.keys() == {"a.kernel"} and (one["a.kernel"] != two["a.kernel"]).any()
    lengths = np.sqrt((one["a.kernel"] ** 2).sum(axis=(0, 1, 2)))
    assert lengths == pytest.approx(np.sqrt((weights["a.kernel"] ** 2).sum(axis=(0, 1, 2))))


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_measurement_has_a_mean_and_a_range(monkeypatch, framework):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    records = results.measure(recipe.NOTEBOOK, framework, images=100)
    first = records[0]
    assert first.low <= first.value <= first.high <= 100 and first.value > 80
    assert first.metric == recipe.HEADLINES[0] and first.seeds == list(recipe.SEEDS[""])
    groups = sum(bool(seeds) for seeds in recipe.SEEDS.values())
    assert len(records) == groups + (len(recipe.COMPARED) if framework == "torch" else 0)
