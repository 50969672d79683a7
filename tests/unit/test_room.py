"""Errors on a full disk: what made them is named, under the cell and in the panel."""

import os
import subprocess
import sys
from types import SimpleNamespace

import full_disk
import pytest

from utils import CourseError, room
from utils.panel.engine import explain

# A notebook's cells, as IPython runs them.
BEGIN = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="NoColor")
from utils import runtime

for _ in range(2):  # a set-up cell may be run again
    runtime.begin(frameworks=["torch"], lazy=True)
"""
CELLS = """
shell.run_cell("1 / 0")
shell.run_cell("1 + 1")
shell.run_cell("from utils import CourseError; raise CourseError('A worker ended.')")
shell.run_cell("raise CourseError('This cannot be written. Make room, and do it again.')")
"""
SENTENCE = "The disk of /tmp has no room left, and that may be the cause: make room, then "


def test_under_a_cell_that_fails_stands_that_the_disk_is_full():
    done = full_disk.run(BEGIN, CELLS, {"TMPDIR": "/tmp"})
    assert done.stdout.count("ZeroDivisionError: division by zero") == 1, done.stderr
    assert done.stderr.count(SENTENCE) == 2, "not under what went well, or says so itself"


def test_where_there_is_room_nothing_is_added():
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + CELLS],
        env=full_disk.environment() | {"HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "ZeroDivisionError" in done.stdout and "no room" not in done.stdout + done.stderr


@pytest.fixture
def crowded(monkeypatch, tmp_path):
    """No disk has room, not even for the byte that Python tries."""

    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(room.tempfile, "gettempdir", nowhere)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))
    return tmp_path


def test_a_panel_says_it_too(crowded):
    words, trace = explain(ValueError("Iterating is not allowed."))
    assert words.startswith("ValueError: Iterating is not allowed.")
    assert f"The disk of {crowded} has no room left" in words and "ValueError" in trace


def test_a_panel_leaves_alone_what_says_already_what_to_do(crowded):
    words = "Make room, and do it again."
    assert explain(CourseError(words)) == (words, "")
    assert explain(CourseError("A worker ended."))[0].startswith("A worker ended.\nThe disk of")


def test_a_folder_that_is_not_there_is_no_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(room.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    monkeypatch.setattr(room.Path, "home", lambda: tmp_path / "gone too")
    assert room.full() is None and room.remedy(ValueError()) == ""


def test_matplotlib_keeps_its_fonts_elsewhere_if_the_home_takes_none(monkeypatch, tmp_path):
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setattr(room.tempfile, "gettempdir", lambda: str(tmp_path / "scratch"))
    monkeypatch.setattr(room.Path, "home", lambda: tmp_path)
    room.house_matplotlib()
    assert "MPLCONFIGDIR" not in os.environ, "the home can be written: Matplotlib knows its place"
    wall = tmp_path / "wall"
    wall.write_text("")
    monkeypatch.setattr(room.Path, "home", lambda: wall)
    monkeypatch.setenv("MPLCONFIGDIR", "")  # so that it is put back at the end
    monkeypatch.delenv("MPLCONFIGDIR")
    room.house_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == str(room.refuge() / "matplotlib")
    assert room.refuge().parent == tmp_path / "scratch"
