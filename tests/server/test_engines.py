"""Every engine computes what the lesson computes, from many threads, for any batch."""

import importlib.util
import tempfile
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from utils import CourseError, checkpoints, lessons, parity
from utils.serving import engines
from utils.serving.registry import PLAN

NAMES = ("digits", "generator")


@pytest.fixture(scope="module")
def cases():
    """For each model: its checkpoint, inputs, and what the lesson's own functions say."""
    rng, found = np.random.default_rng(0), {}
    point = checkpoints.load(PLAN["digits"][-1])
    lesson = lessons.load("12_resnet", "torch")
    net = lesson.ways["torch"].build(lesson.small(**point.info["net"]))
    parity.set_weights(net, point.weights)
    images = rng.integers(0, 256, (5, 28, 28)).astype("uint8")
    wanted = lesson.softmax(lesson.ways["torch"].logits(net, images))
    found["digits"] = point, images.astype("float32"), wanted
    point = checkpoints.load(PLAN["generator"][-1])
    lesson = lessons.load("02_vae", "torch")
    net = lesson.ways["torch"].build(point.info["latents"])
    parity.set_weights(net, point.weights)
    codes = rng.normal(size=(5, 2)).astype("float32")
    wanted = lesson.ways["torch"].decode(net, codes).reshape(-1, 28, 28)
    found["generator"] = point, codes, wanted
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", engines.KINDS)
def test_an_engine_computes_what_the_lesson_computes(kind, name, cases, tmp_path, monkeypatch):
    if kind == "litert":  # has no wheel for some machines
        pytest.importorskip("ai_edge_litert")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    point, x, wanted = cases[name]
    _agrees(engines.make(kind, engines.MODELS[name], point), name, x, wanted)
    if kind == "onnxruntime":  # written once, found the second time
        (file,) = tmp_path.glob("serving/*.onnx")
        written = file.stat().st_mtime_ns
        engines.make(kind, engines.MODELS[name], point)
        assert file.stat().st_mtime_ns == written


def _agrees(engine, name, x, wanted):
    output = engines.MODELS[name].outputs[0]
    found = engine(x)[output.name]
    assert found.dtype == np.float32 and found.shape[1:] == output.shape[1:]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    parts = [x[[i % 5] * (1 + i % 3)] for i in range(32)]  # batches of 1, 2 and 3
    with ThreadPoolExecutor(8) as pool:
        for i, part in enumerate(pool.map(engine, parts)):
            np.testing.assert_allclose(part[output.name], wanted[[i % 5] * (1 + i % 3)], atol=1e-4)


def test_an_engine_whose_package_is_missing_is_refused_by_name(cases, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match="'litert' needs the package ai_edge_litert"):
        engines.make("litert", engines.MODELS["digits"], cases["digits"][0])


def test_the_detector_keeps_to_its_contract(monkeypatch):
    """Found boxes, however many, become arrays of a fixed size."""
    found = types.SimpleNamespace(
        boxes=np.full((3, 4), 5, "float32"),
        scores=np.array([0.9, 0.8, 0.7], "float32"),
        labels=np.array([1, 2, 3]),
    )
    seen = []

    def detect(net, images, score):
        seen.append(images)
        return [found] * len(images)

    way = types.SimpleNamespace(build=lambda settings: settings.classes, detect=detect)
    lesson = types.SimpleNamespace(ways={"torch": way})
    monkeypatch.setattr(engines.lessons, "load", lambda name, framework: lesson)
    monkeypatch.setattr(engines.parity, "set_weights", lambda net, weights: None)
    point = checkpoints.Checkpoint("16_yolo", {}, {"settings": {"classes": 10}})
    engine = engines.make("onnxruntime", engines.MODELS["detector"], point)
    answer = engine(np.full((2, 32, 64, 3), 254.6, "float32"))
    assert engine.kind == "torch"  # it has no ONNX file
    assert seen[0].dtype == np.uint8 and seen[0].max() == 255
    assert {n: v.shape for n, v in answer.items()} == {
        "boxes": (2, 100, 4),
        "scores": (2, 100),
        "labels": (2, 100),
        "counts": (2,),
    }
    assert answer["counts"].tolist() == [3, 3] and answer["labels"][1, :4].tolist() == [1, 2, 3, 0]


@pytest.fixture
def kept(monkeypatch, tmp_path, capsys):
    """Where an exported file was put, which of three exports ran, and what was said."""
    wall, exports = tmp_path / "wall", []
    wall.write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(wall / "cache"))  # nobody makes a folder in a file
    monkeypatch.setattr(engines, "export", lambda *anything: exports.append(1) or b"a file")
    point = checkpoints.load(PLAN["digits"][-1])

    def keep(scratch):
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        path = engines.exported(lambda: None, point, "12_resnet", (28, 28), "x", ["y"])
        return path, len(exports), capsys.readouterr().out

    return keep


def test_where_the_cache_cannot_be_written_an_export_is_kept_elsewhere(kept, tmp_path):
    path, exports, said = kept(tmp_path / "scratch")
    assert path.read_bytes() == b"a file" and (tmp_path / "scratch") in path.parents
    assert exports == 1 and "cannot be written" in said and "Set COURSE_CACHE" in said
    assert kept(tmp_path / "scratch") == (path, 1, ""), "and found again"


def test_an_export_that_can_be_kept_nowhere_says_so(kept, tmp_path):
    with pytest.raises(CourseError, match="make room, or set COURSE_CACHE"):
        kept(tmp_path / "wall")
