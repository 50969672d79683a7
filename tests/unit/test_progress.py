"""Progress: kept once, by several kernels at a time, and never at the price of what is there."""

import json
import os
import stat
import subprocess
import sys
import types

import numpy as np
import pytest

from utils import progress
from utils.exercises import Exercise, _predictions, start

DONE = progress.Entry("00_start_here", "exercise", "parameters")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A file of its own, and a kernel that runs the start page."""
    path = tmp_path / "deep" / "progress.jsonl"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    monkeypatch.delenv("COURSE_HEADLESS", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "questions", start, raising=False)
    monkeypatch.setattr(progress, "_said", set())
    return path


def test_a_right_answer_is_kept_once_and_a_wrong_one_is_not(kept, capsys):
    start.parameters.check(7840)
    start.parameters.check(...)
    assert not kept.exists() and progress.done() == (set(), "")
    start.parameters.check(7850)
    before = kept.read_bytes()
    start.parameters.check(7850)
    assert kept.read_bytes() == before and progress.done() == ({DONE}, "")
    assert len(capsys.readouterr().out.splitlines()) == 4, "a check prints its verdict alone"


def test_a_prediction_is_kept_when_it_is_committed_to(kept):
    pytest.importorskip("ipywidgets")
    _, radio, button, _ = _predictions._widget("What?", ["up", "down"], "rate").children
    button.click()
    radio.value = "down"
    assert not kept.exists()
    button.click()
    assert progress.done()[0] == {progress.Entry("00_start_here", "prediction", "rate")}


@pytest.mark.parametrize(
    "variables",
    [{"COURSE_HEADLESS": "1"}, {"COURSE_PROGRESS": "off"}, {"COURSE_PROGRESS": "0"}],
    ids=str,
)
def test_nothing_is_kept_where_nobody_learns(kept, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    start.parameters.check(7850)
    assert progress.file() is None and not kept.parent.exists()
    monkeypatch.setattr(progress, "_read", lambda path: pytest.fail("it was read"))
    assert "0 of 2" in repr(progress.Report()), "nor shown"


def test_these_tests_keep_nothing_of_their_own():
    assert os.environ["COURSE_PROGRESS"] == "off"


def test_outside_the_course_s_notebooks_nothing_is_kept(kept, monkeypatch):
    monkeypatch.delattr(sys.modules["__main__"], "questions")
    start.parameters.check(7850)
    mine = types.ModuleType("my_own_exercises")
    monkeypatch.setattr(sys.modules["__main__"], "questions", mine, raising=False)
    start.parameters.check(7850)
    assert not kept.exists()


def test_the_file_lies_outside_the_repository_and_is_the_user_s_alone(
    kept, monkeypatch, repository
):
    start.parameters.check(7850)
    if os.name == "posix":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    monkeypatch.delenv("COURSE_PROGRESS")
    assert repository not in progress.file().parents and progress.file().is_absolute()


BROKEN = [b'{"notebook": "00_st', b"[1, 2]", b"\xff\xfe", b'{"notebook": 3}', b"null"]


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_costs_nothing_else(kept, line, capsys):
    start.parameters.check(7850)
    with kept.open("ab") as file:
        file.write(line)  # as a full disk or another program leaves it: without an end
    before = kept.read_bytes()
    entries, trouble = progress.done()
    assert entries == {DONE} and trouble.startswith(f"1 line of {kept} cannot be read")
    progress.note("exercise", "softmax")
    assert kept.read_bytes().startswith(before), "what was there is left alone"
    assert progress.done()[0] == {DONE, DONE._replace(name="softmax")}
    assert (
        "passed over" in repr(progress.Report())
        and "passed over" in progress.Report()._repr_html_()
    )
    assert "not kept" not in capsys.readouterr().out


def test_a_later_course_s_entries_survive(kept):
    kept.parent.mkdir()
    kept.write_text('{"notebook": "99_new", "kind": "badge", "name": "a", "when": "then"}\n')
    start.parameters.check(7850)
    assert kept.read_text().startswith('{"notebook": "99_new"') and DONE in progress.done()[0]


@pytest.mark.parametrize(
    "wall", ["the folder is a file", "the file is a folder", "the disk is full"]
)
def test_what_cannot_be_kept_is_said_once_and_the_check_still_speaks(
    kept, monkeypatch, capsys, wall
):
    if wall == "the folder is a file":
        kept.parent.write_text("")
    elif wall == "the file is a folder":
        kept.mkdir(parents=True)
    else:
        whole = os.write
        monkeypatch.setattr(progress.os, "write", lambda handle, data: whole(handle, data[:9]))
    for _ in range(2):
        start.parameters.check(7850)
    said = capsys.readouterr().out.splitlines()
    assert [line.startswith("Correct") for line in said] == [True, False, True]
    assert f"{kept} cannot be used" in said[1] and "Set COURSE_PROGRESS" in said[1]
    assert progress.done()[0] == set()
    repr(progress.Report())
    if wall == "the disk is full":  # and there is room again
        monkeypatch.undo()
        monkeypatch.setenv("COURSE_PROGRESS", str(kept))
        monkeypatch.setattr(sys.modules["__main__"], "questions", start, raising=False)
        start.parameters.check(7850)
        assert progress.done()[0] == {DONE}


WRITER = """
import sys, types
from utils import progress
from utils.exercises import start
sys.modules["__main__"].questions = start
sys.stdin.readline()
for number in range(100):
    progress.note("prediction", f"{sys.argv[1]} {number} " + "é" * 50)
"""


def test_two_kernels_at_once_lose_nothing(kept, repository):
    variables = os.environ | {"PYTHONPATH": str(repository)}
    kernels = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name], env=variables, stdin=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for kernel in kernels:  # both are ready before either begins
        kernel.stdin.write("go\n")
        kernel.stdin.flush()
    for kernel in kernels:
        kernel.communicate(timeout=120)
        assert kernel.returncode == 0
    entries, trouble = progress.done()
    assert len(entries) == 200 and trouble == ""
    lines = [line for line in kept.read_text().split("\n") if line]
    assert len(lines) == 200 and all(
        json.loads(line)["notebook"] == "00_start_here" for line in lines
    )


def test_the_table_counts_what_a_lesson_asks_for(kept):
    start.parameters.check(7850)
    progress.note("exercise", "one that the course had once")
    progress.note("prediction", "one")
    progress.note("prediction", "another")
    report = progress.Report()
    assert report.rows[0] == ["00 Start here", "1 of 2", "1 of 1"]
    pages = {page.name: page for page in progress.pages()}
    assert pages["00_start_here"].exercises == {"parameters", "softmax"}
    assert len(pages["02_vae"].exercises) == 5 and len(pages["02_vae"].predictions) == 2
    assert repr(report).splitlines()[-1] == f"Kept in {kept}."
    html = report._repr_html_()
    assert html.count("<tr>") == 1 + len(pages) == html.count('scope="row"') + 1
    assert "<caption>" in html and html.count('scope="col"') == 3


@pytest.mark.parametrize("host", ["BINDER_SERVICE_HOST", "KAGGLE_KERNEL_RUN_TYPE"])
def test_a_lent_machine_says_that_it_forgets(kept, monkeypatch, host):
    monkeypatch.setenv(host, "x")
    assert "forgets your progress" in repr(progress.Report())


def test_an_exercise_of_the_reader_s_own_does_not_count(kept):
    own = Exercise("own", "Write it.", solution=np.mean, cases=[(np.ones(3),)])
    own.check(np.mean)
    assert progress.Report().rows[0][1] == "0 of 2"
