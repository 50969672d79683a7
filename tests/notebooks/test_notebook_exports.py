"""The exported cells of every notebook stand alone: other chapters and scripts import them."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from notebook_shelf import ROOT

from utils.lessons import execute
from utils.runtime import FRAMEWORKS

pytestmark = [pytest.mark.notebooks, pytest.mark.slow]

LOAD = """
import json, sys
from utils import lessons, runtime
module = lessons.load(sys.argv[1], sys.argv[2])
public = [name for name in vars(module) if not name.startswith("_")]
loaded = [name for name in runtime.FRAMEWORKS if name in sys.modules]
print(json.dumps({"public": public, "loaded": loaded}))
"""


def load(name, framework):
    """Load a notebook's exported cells in a process of their own."""
    return subprocess.run(
        [sys.executable, "-c", LOAD, name, framework],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_frameworks_export_needs_no_other(stored, framework):
    exported = [
        cell
        for cell in nbformat.read(stored, as_version=4).cells
        if {"export", framework} <= set(execute.tags(cell))
    ]
    if not exported:
        pytest.skip(f"{stored.stem} exports nothing for {framework}")
    done = load(stored.stem, framework)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout.splitlines()[-1])
    allowed = {"torch": {"torch"}, "tensorflow": {"tensorflow", "keras"}}
    assert set(found["loaded"]) <= allowed.get(framework, {"keras", "tensorflow"})
    assert found["public"]
