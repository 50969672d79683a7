"""14_faster_rcnn's recipe from end to end on a handful of scenes, and cut once."""

import json

import numpy as np
import pytest

from utils import boxes, checkpoints, data
from utils.recipes import _detectors
from utils.recipes import faster_rcnn as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """A few scenes and drawn cells pass for all, and a few steps of a narrow network for a run."""
    digits, full = data.mnist("embedded"), recipe.settings_of
    scenes = data.draw_scenes(8, digits.x_train, digits.y_train, seed=1)
    cells = data.draw_cells(4, seed=1)
    kinds = {
        "scenes": data.Detection("Scenes", tuple("0123456789"), *scenes, *scenes, "drawn", False),
        "bccd": data.Detection("BCCD", ("a", "b", "c"), *cells, *cells, "drawn", False),
    }
    monkeypatch.setattr(recipe, "real_detection", kinds.get)
    monkeypatch.setattr(_detectors, "real_detection", kinds.get)
    monkeypatch.setattr(recipe, "BRIEF", 2)
    monkeypatch.setattr(recipe, "COMPARED", 4)
    brief = {"width": 4, "hidden": 16, "steps": 10, "batch_size": 2}
    monkeypatch.setattr(
        recipe, "settings_of", lambda *args, **changes: full(*args, **{**brief, **changes})
    )


def test_both_are_trained_once_and_proposals_are_written_down(handful, monkeypatch, tmp_path):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    recipe.train(tmp_path)
    assert sorted(saved) == ["14_faster_rcnn", "14_faster_rcnn_bccd"]
    weights, info = saved["14_faster_rcnn"]
    assert list(info["watched"]) == ["10"] and len(info["watched"]["10"]) == recipe.SCENES
    for rows in info["watched"]["10"]:
        rows = np.array(rows)
        assert len(rows) <= recipe.BEST and (np.diff(rows[:, 4]) <= 0).all()
        assert np.array_equal(boxes.clip(rows[:, :4], 96, 96), rows[:, :4].astype("float32"))
    assert "watched" not in saved["14_faster_rcnn_bccd"][1]
    assert info["settings"]["sizes"] != saved["14_faster_rcnn_bccd"][1]["settings"]["sizes"]
    assert info["regions"].keys() == recipe.REGIONS.keys()
    assert all(0 <= score <= 1 for found in info["regions"].values() for score in found.values())
    json.dumps(info)
    before = dict(saved)
    recipe.train(tmp_path)  # nothing is trained again
    again = saved["14_faster_rcnn"][0]
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    assert saved["14_faster_rcnn"][1]["seconds"] == before["14_faster_rcnn"][1]["seconds"]


def test_the_watched_scenes_are_the_notebooks():
    """The notebook draws them anew to show what was proposed in them."""
    digits = data.mnist("embedded")
    images, _ = data.draw_scenes(4, digits.x_test, digits.y_test, seed=3)
    assert np.array_equal(recipe.watched_scenes(), images)
    assert len(checkpoints.load("14_faster_rcnn").info["watched"]["10"]) == len(images)
