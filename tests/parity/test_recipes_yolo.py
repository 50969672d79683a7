"""16_yolo's recipe from end to end on a few scenes and drawn cells, cut once, and measured."""

import json

import numpy as np
import pytest

from utils import checkpoints, data, results
from utils.recipes import _detectors
from utils.recipes import yolo as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """Scenes of the embedded digits and drawn cells pass for the real ones."""
    digits = data.mnist("embedded")
    x, t = data.draw_scenes(32, digits.x_train, digits.y_train, seed=1)
    names = tuple("0123456789")
    scenes = data.Detection("Scenes", names, x[:24], t[:24], x[24:], t[24:], "drawn", False)
    x, t = data.draw_cells(16, seed=1)
    names = ("RBC", "WBC", "Platelets")
    cells = data.Detection("BCCD", names, x[:12], t[:12], x[12:], t[12:], "drawn", False)
    both = {"scenes": scenes, "bccd": cells}
    monkeypatch.setattr(_detectors, "real_detection", lambda kind: both[kind])
    return both


@pytest.fixture
def brief(handful, monkeypatch):
    """A few steps for a schedule."""
    full = recipe.settings_of
    short = {"steps": 10, "batch_size": 4, "width": 8}
    monkeypatch.setattr(
        recipe, "settings_of", lambda *a, **changes: full(*a, **{**changes, **short})
    )
    monkeypatch.setattr(recipe, "SHORT", short)
    monkeypatch.setattr(recipe, "FIRST_STEPS", 10)
    monkeypatch.setattr(recipe, "SEEDS", (0,))
    monkeypatch.setattr(recipe, "COUNTED", 4)


def test_what_an_earlier_call_finished_is_kept(brief, monkeypatch, tmp_path, capsys):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    recipe.train(tmp_path)
    assert sorted(saved) == ["16_yolo", "16_yolo_bccd", "16_yolo_v1"]
    said = capsys.readouterr().out
    assert "+ anchors, seed 0" in said
    weights, info = saved["16_yolo_v1"]
    assert weights["head.kernel"].shape == (1, 1, 48, 20) and "norm1.gamma" not in weights
    assert info["parts"].keys() == recipe.COMPARED.keys() and info["kind"] == "scenes"
    weights, info = saved["16_yolo_bccd"]
    assert weights["head.kernel"].shape[3] == 4 * 8 and len(info["settings"]["priors"]) == 4
    assert info["settings"]["unit"] == 320 and info["kind"] == "bccd"
    json.dumps(info)

    path = tmp_path / "16_yolo_parts.json"
    parts = json.loads(path.read_text())
    parts["+ logistic"].pop()
    path.write_text(json.dumps(parts))
    before = saved["16_yolo"][0]
    saved.clear()
    recipe.train(tmp_path)
    said = capsys.readouterr().out
    assert said.count("seed 0: ") == 1 and "+ logistic, seed 0" in said
    assert all(np.array_equal(saved["16_yolo"][0][name], before[name]) for name in before)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_measurement_has_the_four_detectors_names(handful, framework):
    records = results.measure(recipe.NOTEBOOK, framework, images=4)
    named = {one.metric for one in records}
    assert set(recipe.HEADLINES) <= named
    assert {"parameters", "ms per image, scenes", "version 1: scenes AP50"} <= named
    assert all(one.low <= one.value <= one.high for one in records)
    short = [one for one in records if one.metric.startswith("short training")]
    assert len(short) == (len(recipe.COMPARED) if framework == "torch" else 0)
