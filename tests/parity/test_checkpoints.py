"""Every checkpoint loads into all three frameworks and still measures what its sidecar says."""

import pytest

from utils import checkpoints, results, runtime

NAMES = sorted(path.stem for path in checkpoints.FOLDER.glob("*.safetensors"))


def test_there_are_checkpoints_and_they_stay_small():
    sizes = [path.stat().st_size for path in checkpoints.FOLDER.glob("*.safetensors")]
    assert sizes and max(sizes) <= 3_000_000 and sum(sizes) <= 30_000_000


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_measures_what_its_sidecar_says(name, framework):
    runtime.load(framework)
    info = checkpoints.load(name).info
    assert {"what", "data", "seed", "settings", "versions", "metric"} <= info.keys()
    stated, found = results.recipe(info["notebook"]).remeasure(name, framework)
    assert found == pytest.approx(stated, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_embedded_digits_measure_it_too(name, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    recipe = results.recipe(checkpoints.load(name).info["notebook"])
    embedded = recipe.data.mnist("embedded")
    monkeypatch.setattr(recipe.data, "mnist", lambda *_: embedded)
    stated, found = recipe.remeasure(name, "torch")
    assert found == pytest.approx(stated, abs=0.01)
