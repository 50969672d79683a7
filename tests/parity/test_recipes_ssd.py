"""15_ssd's recipe from end to end on a handful of scenes, cut once, and measured."""

import json

import numpy as np
import pytest

from utils import boxes, checkpoints, data, results
from utils.recipes import _detectors
from utils.recipes import ssd as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """A few scenes pass for both data sets, and a few steps for a schedule."""
    digits = data.mnist("embedded")
    parts = [data.draw_scenes(24, digits.x_train, digits.y_train, seed=seed) for seed in (1, 2)]
    names = tuple("0123456789")
    some = data.Detection("Scenes", names, *parts[0], *parts[1], source="a test", real=False)
    monkeypatch.setattr(_detectors, "real_detection", lambda kind: some)
    full = recipe.settings_of
    brief = {"steps": 10, "batch_size": 4, "classes": 10, "height": 32, "width": 32}
    monkeypatch.setattr(
        recipe, "settings_of", lambda *args, **changes: full(*args, **{**changes, **brief})
    )
    return some


def test_what_an_earlier_call_finished_is_kept(handful, monkeypatch, tmp_path, capsys):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    recipe.train(tmp_path)
    assert sorted(saved) == ["15_ssd", "15_ssd_bccd"]
    weights, info = saved["15_ssd"]
    assert weights["conv1.kernel"].shape == (4, 4, 3, 16)
    assert info["parts"].keys() == recipe.COMPARED.keys()
    assert {"ap", "ap50", "recall"} == info["parts"]["as it is"].keys()
    assert "confidence4.kernel" not in saved["15_ssd_bccd"][0]  # no map that fine for cells
    path = tmp_path / "15_ssd_parts.json"
    parts = json.loads(path.read_text())
    del parts["all negatives"]
    path.write_text(json.dumps(parts))
    capsys.readouterr()
    recipe.train(tmp_path)
    said = capsys.readouterr().out
    assert "all negatives: " in said and "as it is: " not in said
    again = saved["15_ssd"][0]
    assert all(np.array_equal(again[name], value) for name, value in weights.items())


def test_recall_is_counted_by_size():
    places = np.array([[0, 0, 10, 14], [20, 20, 40, 40], [50, 50, 85, 90]], "float32")
    truth = boxes.Truth(places, np.array([1, 2, 3]), np.zeros(3, bool))
    crowd = boxes.Truth(places[:1], np.array([1]), np.ones(1, bool))
    found = boxes.Found(places, np.array([0.9, 0.8, 0.2], "float32"), np.array([1, 5, 3]))
    nothing = boxes.Found(places[:0], np.zeros(0, "float32"), np.zeros(0, "int64"))
    shares = recipe.recall([found, nothing], [truth, crowd])
    assert shares == {"below 16": 1.0, "16 to 28": 0.0, "28 or more": 0.0}  # label; score


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_measurement_has_every_number(handful, framework):
    records = results.measure(recipe.NOTEBOOK, framework, images=4)
    names = [record.metric for record in records]
    for wanted in ("scenes AP", "scenes AP50", "ms per image, scenes", "parameters"):
        assert wanted in names
    assert ("short training, as it is: AP50" in names) == (framework == "torch")
