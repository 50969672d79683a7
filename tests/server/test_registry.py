"""Versions come and go under load, and nobody's request fails."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from utils import CourseError, checkpoints
from utils.serving import Config, engines
from utils.serving.registry import PLAN, Registry, write_manifest

FAR = 60.0


class Named:
    """Answers which checkpoint it is; counts those that run."""

    def __init__(self, kind, model, checkpoint, threads):
        self.checkpoint, self.running, self.closed = checkpoint, 0, False

    def __call__(self, x):
        found = np.full((len(x), 10), int(self.checkpoint.info["sha256"][:6], 16), "float32")
        return {"probabilities": found}


@pytest.fixture
def manifest(tmp_path):
    """A manifest that can be rewritten, with one version of the digits."""

    def write(*names, number=1, wrong=False):
        found = {
            str(i): {
                "checkpoint": name,
                "sha256": "0" * 64 if wrong else checkpoints.load(name).info["sha256"],
            }
            for i, name in enumerate(names, start=number)
        }
        (tmp_path / "manifest.json").write_text(json.dumps({"digits": found}))
        return tmp_path / "manifest.json"

    return write


@pytest.fixture(params=[0, 8], ids=["single", "batched"])
def registry(request, manifest):
    config = Config(manifest=manifest("12_resnet"), batch=request.param, wait_ms=1)
    found = Registry(config, make=Named)
    found.load()
    yield found
    found.close()
    assert not [t for t in threading.enumerate() if t.name == "batcher"]


def test_the_manifest_names_the_checkpoints_that_are_there(tmp_path):
    stored = json.loads(Config().manifest.read_text())
    assert set(stored) <= set(PLAN) == set(engines.MODELS)
    now = write_manifest(tmp_path / "now.json")
    for name, versions in stored.items():
        assert versions == now[name], "run `python -m utils.serving manifest`"
    assert {"digits", "generator"} <= set(stored)


def test_a_swap_under_load_fails_no_request(registry, manifest):
    ends, done = threading.Event(), []

    def ask():
        seen = set()
        while not ends.is_set():
            with registry.use("digits") as version:
                x = np.zeros((1, 28, 28), "float32")
                answer, _ = version.runner.run(x, time.monotonic() + FAR)
                assert answer["probabilities"][0, 0] == int(version.sha256[:6], 16)
                seen.add(version.checkpoint)
        done.append(seen)

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(8)]
        for name in ("12_resnet_cutout", "12_resnet_1", "12_resnet", "12_resnet_2") * 5:
            manifest(name)
            registry.load()
        ends.set()
        for one in asking:
            one.result(60)
    assert len(set.union(*done)) == 4
    assert registry.find("digits").checkpoint == "12_resnet_2"


def test_versions_are_added_and_taken_away(registry, manifest):
    manifest("12_resnet", "12_resnet_cutout")
    registry.load()
    assert [v.number for v in registry.models()["digits"]] == ["1", "2"]
    first = registry.find("digits", "1")
    manifest("12_resnet_cutout", number=2)
    registry.load()
    assert first.retired and [v.number for v in registry.models()["digits"]] == ["2"]


def test_the_old_one_stays_until_its_last_user_has_gone(registry, manifest):
    with registry.use("digits") as version:
        manifest("12_resnet_cutout")
        swap = threading.Thread(target=registry.load)
        swap.start()
        while registry.find("digits").checkpoint == "12_resnet":
            time.sleep(0.01)
        x = np.zeros((1, 28, 28), "float32")
        assert version.runner.run(x, time.monotonic() + FAR)
        assert swap.is_alive() and version.users == 1
    swap.join(60)
    assert not swap.is_alive() and version.users == 0


def test_a_file_that_the_manifest_does_not_name_is_not_loaded(registry, manifest):
    manifest("12_resnet_cutout", wrong=True)
    with pytest.raises(CourseError, match="not the file that the manifest names"):
        registry.load()
    assert registry.find("digits").checkpoint == "12_resnet"  # what was there stays


def test_what_answers_nan_is_not_served(registry, manifest, monkeypatch):
    nan = {"probabilities": np.full((1, 10), np.nan)}
    monkeypatch.setattr(Named, "__call__", lambda self, x: nan)
    manifest("12_resnet_cutout")
    with pytest.raises(CourseError, match="NaN"):
        registry.load()
    assert registry.find("digits").checkpoint == "12_resnet"


def test_mistakes_are_named(tmp_path):
    with pytest.raises(CourseError, match="'x' is unknown"):
        Registry(Config(models=("x",)), make=Named).load()
    with pytest.raises(CourseError, match="not readable"):
        Registry(Config(manifest=tmp_path / "none.json"), make=Named).load()
    with pytest.raises(CourseError, match="'abacus' is unknown"):
        Registry(Config(engine="abacus", models=("generator",))).load()
