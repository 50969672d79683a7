"""`make new-lesson` writes a lesson that builds, runs and keeps to every rule as it is."""

import os
import shutil
import subprocess
import sys

import nbformat
import notebook_rules as rules
import pytest
from notebook_shelf import ROOT

from utils import CourseError
from utils.lessons import course as plan
from utils.lessons.skeleton import plant

NAME = "99_new"
PART = f"""
[[part]]
folder = "99_more"
title = "More"
algorithms = true
notebooks = [{{ name = "{NAME}", title = "A new one" }}]
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The course without its lessons, and one more in its plan, begun from the skeleton."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "utils", root / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    with open(root / "utils/lessons/course.toml", "a", encoding="utf-8") as file:
        file.write(PART)
    return root


def run(clone, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def begun(clone):
    assert run(clone, "utils.lessons", "new", NAME)[0] == 0
    return clone


@pytest.mark.notebooks
@pytest.mark.slow
def test_the_skeleton_keeps_to_every_rule(begun):
    code, said = run(begun, "utils.lessons", "build", NAME)
    assert code == 0, said
    course = plan.read(begun)
    chapter = course.chapter(NAME)
    notebook = nbformat.read(chapter.notebook, as_version=4)
    book = rules.Book(chapter.notebook, notebook, chapter, course)
    assert {name: check(book) for name, check in rules.RULES.items() if check(book)} == {}


def test_the_skeleton_is_well_formatted(begun):
    written = [f"lessons/99_more/{NAME}.py", "utils/exercises/new.py"]
    for command in (["check"], ["format", "--check"]):
        code, said = run(begun, "ruff", *command, "--no-cache", *written)
        assert code == 0, said


def test_its_exercise_keeps_its_promises(begun):
    code = "from utils.exercises import check_all; print(check_all('new'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=begun, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_nothing_is_written_over(begun):
    with pytest.raises(CourseError, match=f"lessons/99_more/{NAME}.py is already there"):
        plant(plan.read(begun), NAME)


def test_a_lesson_outside_of_the_plan_is_not_begun(clone):
    code, said = run(clone, "utils.lessons", "new", "98_unplanned")
    assert code == 1 and "'98_unplanned' is not in the plan" in said
