"""A home in which nothing can be written: a lab's machine, a container. Everything runs."""

import subprocess
import sys

import pytest
import read_only_home

pytestmark = pytest.mark.slow

# What a learner does on the start page, without a panel.
SESSION = """
import sys, types
from utils import checkpoints, data, lessons, plots, progress, runtime
from utils.exercises import start as questions

print(data.mnist())
page = lessons.load("00_start_here", "keras")
settings = types.SimpleNamespace(learning_rate=0.1, batch_size=64, steps=3, seed=0)
page.ways["keras"].train(settings, lambda *report: True)
figure, axes = plots.figure()
axes.plot([1, 2])
plots.figure_png(figure)
questions.parameters.check(7850)
questions.parameters.check(7850)
print(progress.Report())
print("the end")
"""


def test_the_course_runs_where_home_cannot_be_written(tmp_path, repository):
    variables = read_only_home.environment(tmp_path) | {"PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", SESSION],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1] == "the end", done.stderr
    assert sum(line.startswith("Correct:") for line in lines) == 2
    home = tmp_path / "home"
    told = [line for line in lines if "Your progress is not kept" in line]
    assert len(told) == 1 and str(home) in told[0] and "Set COURSE_PROGRESS" in told[0]
    assert "Traceback" not in done.stderr
    assert home.read_text() == "", "and nothing was put in its place"
