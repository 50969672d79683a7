"""19_flask: its functions agree, its twenty lines are as bad as promised, its records are whole."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from utils import bench_serving, lessons
from utils.cluster import SCRIPTS
from utils.exercises import check_all
from utils.exercises import flask as questions
from utils.recipes import flask as recipe
from utils.serving.load import Pressed, press, request

HERE = SCRIPTS.parent.parent / "06_serving" / "scripts"


@pytest.fixture(scope="module")
def lesson():
    return lessons.load("19_flask", "torch")


def test_its_calls_agree(lesson):
    x = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype("float32")
    answers = [call(x) for call in lesson.calls.values()]
    assert len(answers) == 2 and answers[0].shape == (3, 10)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
    np.testing.assert_allclose(answers[0].sum(axis=1), 1, atol=1e-5)


def test_its_server_is_the_course_s_around_its_own_function(lesson):
    app = lesson.serving_app(lambda x: np.full((len(x), 10), 0.1, "float32"), items=2)
    answer = app.test_client().post("/predict", json={"images": [[[0] * 28] * 28]})
    assert answer.json["predictions"][0]["probabilities"] == [0.1] * 10
    assert app.models.find("digits").kind == "notebook"


def test_exercises_know_right_from_wrong():
    assert check_all(questions) == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_after_computing_hangs():
    command = [sys.executable, str(HERE / "fork.py"), "torch", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "the child had to be ended" in done.stdout


def test_the_load_generator_counts_what_happens(make_app):
    """Answers, refusals and cut connections of a server whose behaviour is known."""
    import threading

    from utils.serving.lifecycle import Server

    server = Server(make_app(threads=2))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        good = request("/generate", {"latents": [[0, 0]]})
        found = press(server.port, good, 4, 60, most=40)
        assert found.codes == {200: len(found.times)} and 40 <= len(found.times) <= 44
        assert found.cut == found.refused == 0 and found.rate > 0
        bad = press(server.port, request("/generate", b"{"), 2, 60, most=4, keep_alive=False)
        assert set(bad.codes) == {400} and bad.rate == 0
    finally:
        server.stop()
        thread.join(60)
    assert not thread.is_alive()
    server.stop()  # twice does no harm
    gone = press(server.port, good, 3, 1)
    assert gone.refused == 3 and not gone.times


def test_percentiles():
    found = Pressed(1, 2.0, [0.001 * i for i in range(1, 101)])
    found.codes[200] = 100
    assert found.rate == 50
    assert found.percentile(50) == pytest.approx(51) and found.percentile(99) == pytest.approx(100)
    assert "p95" in found.row() and "1 clients" in found.row()


def test_the_recipe_records_every_row(monkeypatch):
    def pretended(engine, seconds, rival, rounds):
        found = {}
        for title in recipe.TITLES:
            if rival or "LitServe" not in title:
                one = [Pressed(n, 1.0, [0.01] * n) for n in bench_serving.CLIENTS]
                for row in one:
                    row.codes[200] = row.clients
                found[title] = [one] * rounds
        return found

    monkeypatch.setattr(bench_serving, "measure", pretended)
    monkeypatch.delenv("COURSE_LITSERVE", raising=False)
    for framework, engines in (("torch", 2), ("tensorflow", 1), ("keras", 1)):
        records = recipe.measure(framework)
        names = [record["metric"] for record in records]
        assert len(set(names)) == len(names) == engines * 3 * (5 * 4 + 2)
        assert set(recipe.HEADLINES) <= set(names)
    assert records[0]["value"] == records[0]["low"] == records[0]["high"] == 1


def test_what_is_recorded_stands_in_the_table():
    text = recipe.table()
    if "Nothing measured" not in text:
        assert all(label in text for label in ("PyTorch", "Keras", "ONNX Runtime", "bare calls"))
        assert max(map(len, text.splitlines()[1:])) < 130


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("COURSE_LONG", "") != "1", reason="starts four servers")
def test_the_load_test_runs():
    """All of it, briefly, without a rival."""
    told = []
    found = bench_serving.measure("torch", 0.2, None, 1, (1, 4), told.append)
    assert list(found) == [
        *("twenty lines", "server, JSON", "server", "server, batches"),
        "bare calls",
    ]
    assert all(row.codes[200] > 0 and not row.cut for (rows,) in found.values() for row in rows)
    assert len(told) == 5 and json.dumps(told)
