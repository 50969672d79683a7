"""Checkpoints: whole, recognised, and never unpickled."""

import hashlib
import json

import numpy as np
import pytest

from utils import CourseError, checkpoints

WEIGHTS = {"a.kernel": np.ones((3, 2), np.float32), "a.bias": np.zeros(2, np.float32)}


@pytest.fixture
def saved(tmp_path):
    return checkpoints.save("toy", WEIGHTS, {"what": "a toy"}, tmp_path)


def test_what_is_saved_comes_back(saved):
    found = checkpoints.load("toy", saved.parent)
    assert found.info["what"] == "a toy"
    assert all(np.array_equal(found.weights[name], WEIGHTS[name]) for name in WEIGHTS)
    assert not list(saved.parent.glob("*.part"))


def test_half_precision_is_what_stored_says_and_half_as_large(tmp_path):
    weights = {"w": np.linspace(-3, 3, 10_001, dtype=np.float32)}
    path = checkpoints.save("fine", weights, {}, tmp_path)
    found = checkpoints.load("fine", tmp_path).weights["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, checkpoints.stored(weights)["w"])
    np.testing.assert_allclose(found, weights["w"], rtol=2**-11, atol=1e-7)
    assert not np.array_equal(found, weights["w"])
    assert path.stat().st_size < 2.1 * 10_001


def test_a_file_in_single_precision_is_read_as_it_is(saved):
    from safetensors.numpy import save_file

    exact = np.float32([1 + 2**-20])
    save_file({"w": exact}, saved)
    sidecar = saved.with_suffix(".json")
    sidecar.write_text(json.dumps({"sha256": hashlib.sha256(saved.read_bytes()).hexdigest()}))
    np.testing.assert_array_equal(checkpoints.load("toy", saved.parent).weights["w"], exact)


def test_a_missing_one_is_named_with_those_that_exist(saved):
    with pytest.raises(CourseError, match="no checkpoint 'other' \\(there are: toy\\)"):
        checkpoints.load("other", saved.parent)


def test_a_truncated_file_is_not_loaded(saved):
    saved.write_bytes(saved.read_bytes()[:-3])
    with pytest.raises(CourseError, match="cut short: restore it with `git checkout"):
        checkpoints.load("toy", saved.parent)


def test_a_file_of_another_format_is_not_loaded_even_if_its_sidecar_agrees(saved):
    import pickle

    junk = pickle.dumps({"a": 1})
    saved.write_bytes(junk)
    sidecar = saved.with_suffix(".json")
    info = {**json.loads(sidecar.read_text()), "sha256": hashlib.sha256(junk).hexdigest()}
    sidecar.write_text(json.dumps(info))
    with pytest.raises(CourseError, match="not a safetensors file"):
        checkpoints.load("toy", saved.parent)


def test_a_diverged_model_and_a_large_one_are_not_saved(tmp_path):
    with pytest.raises(CourseError, match="NaN"):
        checkpoints.save("bad", {"w": np.array([np.nan])}, {}, tmp_path)
    with pytest.raises(CourseError, match="too large for half precision"):
        checkpoints.save("bad", {"w": np.float32([7e4])}, {}, tmp_path)
    with pytest.raises(CourseError, match="over 3 MB"):
        checkpoints.save("big", {"w": np.zeros(1_600_000, np.float32)}, {}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_model_s_checkpoint_changes_nothing(saved):
    torch = pytest.importorskip("torch")
    model = torch.nn.ModuleDict({"b": torch.nn.Linear(3, 2)})
    before = model["b"].weight.clone()
    with pytest.raises(CourseError, match="'toy' does not fit this model.*b.kernel is missing"):
        checkpoints.load_into(model, "toy", saved.parent)
    assert torch.equal(model["b"].weight, before)
