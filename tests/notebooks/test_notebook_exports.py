"""The exported cells of every notebook stand alone: other chapters and scripts import them."""

import functools
import json
import os
import subprocess
import sys

import nbformat
import pytest
from notebook_shelf import NOTEBOOKS, ROOT

from utils.lessons import execute
from utils.runtime import FRAMEWORKS

pytestmark = [pytest.mark.notebooks, pytest.mark.slow]

# Keras's optimisers work on bare TensorFlow variables, so TensorFlow may bring Keras; and Keras
# computes with TensorFlow unless told otherwise.
ALLOWED = {
    "torch": {"torch"},
    "tensorflow": {"tensorflow", "keras"},
    "keras": {"tensorflow", "keras"},
}
# One process loads the exports of many notebooks, for a framework takes seconds to come up. Those
# that it must do without cannot be found there.
LOAD = """
import contextlib, io, json, sys, traceback

framework, absent, *names = sys.argv[1:]
absent = set(absent.split(","))


class Without:
    # One of Python's finders, which does not see what is to be absent: asking for it is no error.
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name in absent else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from utils import lessons

for name in names:
    said, found = io.StringIO(), {"name": name, "public": [], "error": ""}
    with contextlib.redirect_stderr(said):
        try:
            module = lessons.load(name, framework)
            found["public"] = [name for name in vars(module) if not name.startswith("_")]
        except Exception:
            found["error"] = traceback.format_exc()
    print(json.dumps({**found, "said": said.getvalue()}))
"""


@functools.cache
def load(framework, names, absent):
    """Load notebooks' exported cells in one process: what came of each, and what it complained."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, framework, ",".join(absent), *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {line["name"]: line for line in lines}, done.stderr


def exporting(framework):
    """The notebooks that export something for a framework."""
    wanted = {"export", framework}
    return tuple(
        path.stem
        for path in NOTEBOOKS
        if any(wanted <= set(execute.tags(c)) for c in nbformat.read(path, as_version=4).cells)
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_frameworks_exports_need_no_other(framework):
    names = exporting(framework)
    assert len(names) > 5
    found, said = load(framework, names, tuple(sorted(set(FRAMEWORKS) - ALLOWED[framework])))
    assert said == "" and found.keys() == set(names)
    assert {name: one["error"] for name, one in found.items() if one["error"]} == {}
    assert {name: one["said"] for name, one in found.items() if one["said"]} == {}
    assert [name for name in names if not found[name]["public"]] == []


def test_an_export_that_needs_another_framework_is_found():
    # PyTorch's cells, where PyTorch is not to be had
    found, _ = load("torch", ("18_distributed",), FRAMEWORKS)
    assert "PyTorch is not installed" in found["18_distributed"]["error"]
