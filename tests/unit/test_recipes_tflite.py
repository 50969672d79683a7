"""21_tflite's table: differences between outputs, records, and the rows that are read back."""

import numpy as np
import pytest

from utils import bench_deployed as bench
from utils import lite, results
from utils.recipes import tflite as recipe


def finds(boxes, scores, labels, pictures):
    return {
        "boxes": np.array(boxes, "float32").reshape(-1, 4),
        "scores": np.array(scores, "float32"),
        "labels": np.array(labels),
        "pictures": np.array(pictures),
    }


ONE = finds([[0, 0, 10, 10], [5, 5, 50, 50]], [0.9, 0.5], [3, 4], [0, 1])


def test_arrays_are_apart_by_their_largest_difference():
    assert bench.apart({"y": np.array([1.0, 2.0])}, {"y": np.array([1.5, 2.1])}) == 0.5


@pytest.mark.parametrize(
    ("other", "gap"),
    [
        (finds([[5, 5, 50, 50], [0, 0, 10, 10]], [0.5, 0.9], [4, 3], [1, 0]), 0.0),  # the order
        (finds([[0, 0, 10, 10], [5, 5, 50, 50]], [0.7, 0.5], [3, 4], [0, 1]), 0.2),  # a score
        (finds([[0, 0, 10, 10 + 9.6], [5, 5, 50, 50]], [0.9, 0.5], [3, 4], [0, 1]), 0.1),  # a side
        (finds([[0, 0, 10, 10]], [0.9], [3], [0]), 0.5),  # one is missing
        (finds([[0, 0, 10, 10], [5, 5, 50, 50]], [0.9, 0.5], [7, 4], [0, 1]), 0.9),  # a label
    ],
)
def test_finds_are_compared_whatever_their_order(other, gap):
    assert bench.apart(other, ONE) == pytest.approx(gap, abs=1e-6)
    assert bench.apart(ONE, other) == pytest.approx(gap, abs=1e-6)


def test_every_way_belongs_to_one_framework():
    assert len(bench.WAYS) == 9
    owners = {way: bench.owner(way) for way in bench.WAYS}
    assert owners["LiteRT int8"] == "tensorflow" and owners["ONNX Runtime int8"] == "torch"
    assert list(owners.values()).count("keras") == 1


@pytest.fixture
def pretended(monkeypatch):
    """Processes that have measured already."""

    def measured(folder, name, way, images):
        found = {"bytes": 1000 * len(way), "one": [2.0, 1.0, 3.0], "batch": [20.0, 10.0, 30.0]}
        found |= {"calls": 60, "memory": 100, "gap": 0.0}
        return found | ({"right": [99.0, 98.5, 99.3], "tested": 1000} if name == "digits" else {})

    monkeypatch.setattr(bench, "prepare", lambda *_: None)
    monkeypatch.setattr(bench, "measured", measured)


def test_records_become_rows_again(pretended, monkeypatch, tmp_path):
    records = [r for f in ("torch", "tensorflow", "keras") for r in results.measure("21_tflite", f)]
    assert len(records) == 9 * (4 * 5 + 1)
    assert set(recipe.HEADLINES) <= {record.metric for record in records}
    monkeypatch.setattr(results, "read", lambda notebook: records)
    rows = recipe.rows("digits")
    assert [row.way for row in rows] == list(bench.WAYS)
    assert rows[0].one == (2.0, 3.0) and rows[0].right == 99.0 and rows[0].ms == 2.0
    assert recipe.rows("decoder")[0].right is None
    text = recipe.table("detector")
    assert "non-maximum suppression" in text and all(way in text for way in bench.WAYS)
    assert "99.00 ± 0.40" in recipe.table("digits")


def test_nothing_measured_is_said(monkeypatch):
    monkeypatch.setattr(results, "read", lambda notebook: [])
    assert "make results NAME=21_tflite" in recipe.table("digits")


@pytest.mark.slow
def test_a_row_is_measured_in_a_process(tmp_path):
    bench.prepare(tmp_path, "tensorflow", ["decoder"])
    for kind in ("float32", "int8"):
        found = bench.measured(tmp_path, "decoder", f"LiteRT {kind}", 10)
        assert found["bytes"] == (tmp_path / f"decoder.{kind}.tflite").stat().st_size
        median, fastest, late = found["one"]
        assert 0 < fastest <= median <= late and found["one"][0] < found["batch"][0]
        assert 20 < found["memory"] < 500  # no framework in that process
        # Eight bits move single pixels, of 0 to 1, by a third.
        assert found["gap"] < (1e-5 if kind == "float32" else 0.5)


def test_what_was_measured_keeps_its_promises():
    """The reach of the table: float parity, int8's loss on the whole test set."""
    digits = {row.way: row for row in recipe.rows("digits")}
    if not digits:
        pytest.skip("nothing measured yet")
    exact = [way for way in bench.WAYS if "float32" in way or way in ("TensorFlow", "Keras")]
    for name in bench.NAMES:
        for row in recipe.rows(name):
            assert row.way not in exact or row.gap <= 1e-4, (name, row)
    for kind in lite.KINDS:
        assert digits[f"LiteRT {kind}"].right > digits["PyTorch"].right - 0.5
