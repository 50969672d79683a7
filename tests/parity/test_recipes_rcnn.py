"""13_rcnn's recipe from end to end on a handful of scenes, cut once, and measured."""

import numpy as np
import pytest

from utils import checkpoints, data, results
from utils.recipes import _detectors
from utils.recipes import rcnn as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """A few scenes pass for both data sets, and a few steps for a schedule."""
    digits = data.mnist("embedded")
    parts = [data.draw_scenes(12, digits.x_train, digits.y_train, seed=seed) for seed in (1, 2)]
    names = tuple("0123456789")
    some = data.Detection("Scenes", names, *parts[0], *parts[1], source="a test", real=False)
    monkeypatch.setattr(_detectors, "real_detection", lambda kind: some)
    full = recipe.settings_of
    brief = {"steps": 10, "batch_size": 32, "images": 12, "mined": 300, "width": 8}
    brief |= {"classes": 10, "photo": False, "regions": 40}

    def settings_of(*args):
        settings = full(*args)
        vars(settings).update(brief)
        return settings

    monkeypatch.setattr(recipe, "settings_of", settings_of)
    return some


def test_what_an_earlier_call_finished_is_kept(handful, monkeypatch, tmp_path, capsys):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    recipe.train(tmp_path)
    names = ["13_rcnn", "13_rcnn_bccd", "13_rcnn_fast"]
    assert sorted(saved) == names
    weights, info = saved["13_rcnn"]
    assert weights["svm.kernel"].shape == (96, 10) and weights["svm.kernel"].any()
    assert info["settings"]["detector"] == "R-CNN" and "deltas.kernel" not in weights
    assert saved["13_rcnn_fast"][1]["settings"]["detector"] == "Fast R-CNN"
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == names
    (tmp_path / "13_rcnn_fast.npz").unlink()
    saved.clear()
    recipe.train(tmp_path)
    assert sorted(saved) == names
    assert all(np.array_equal(saved["13_rcnn"][0][name], value) for name, value in weights.items())


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_measurement_has_every_number(handful, framework):
    records = results.measure(recipe.NOTEBOOK, framework, images=3)
    names = [record.metric for record in records]
    for wanted in ("scenes AP", "scenes AP50", "ms per image, scenes", "parameters"):
        assert wanted in names
    assert "scenes AP50, Fast R-CNN" in names
    assert ("BCCD: recall of the proposals at IoU 0.5" in names) == (framework == "torch")
    assert len(set(names)) == len(names)
