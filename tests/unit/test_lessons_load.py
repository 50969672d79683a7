"""`utils.lessons.load`: the exported cells of a notebook as a module with honest tracebacks."""

import dataclasses
import inspect
import json
import linecache
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import utils
from utils import CourseError, lessons, runtime

NAME = "02_model"
ADDRESS = f"chapters/01_part/{NAME}.ipynb"


def cell(source, *tags, kind="code"):
    found = {"cell_type": kind, "metadata": {"tags": list(tags)}, "source": source}
    return found | ({"outputs": [], "execution_count": None} if kind == "code" else {})


CELLS = [
    cell("# Title", kind="markdown"),
    cell("raise RuntimeError('not exported')"),
    cell("import math\n\n\ndef double(x):\n    return 2 * x", "export"),
    cell("class Torch:\n    pass", "export", "torch"),
    cell("class TF:\n    pass", "export", "tensorflow"),
    cell("both = (Torch, TF)", "export", "torch", "tensorflow"),
    cell("def fails():\n    x = 0\n    return 1 / x  # the line", "export"),
]


@pytest.fixture
def loaded(monkeypatch):
    """The frameworks that `load` asked for, instead of importing them."""
    asked = []
    monkeypatch.setattr(runtime, "load", lambda *names: asked.append(sorted(names)))
    return asked


@pytest.fixture
def store(tmp_path, monkeypatch, loaded):
    """Write cells as the notebook of a course in a temporary folder."""
    monkeypatch.setattr(lessons, "ROOT", tmp_path)
    path = tmp_path / ADDRESS
    path.parent.mkdir(parents=True)

    def write(cells):
        text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
        path.write_text(text, encoding="utf-8")
        return path

    yield write
    for name in [name for name in linecache.cache if name.startswith("chapters/01_part")]:
        del linecache.cache[name]


def test_runs_the_exported_cells_and_only_those(store, loaded):
    store(CELLS)
    module = lessons.load(NAME)
    assert module.double(4) == 8
    assert module.both == (module.Torch, module.TF)
    assert loaded == [["tensorflow", "torch"]]


@pytest.mark.parametrize(
    ("framework", "present", "absent"), [("torch", "Torch", "TF"), ("tensorflow", "TF", "Torch")]
)
def test_a_framework_takes_its_own_cells_and_the_neutral_ones(
    store, loaded, framework, present, absent
):
    store(CELLS)
    module = lessons.load(NAME, framework)
    assert hasattr(module, "double")
    assert hasattr(module, present)
    assert not hasattr(module, absent)
    assert not hasattr(module, "both"), "a cell of two frameworks needs both"
    assert loaded == [[framework]], "the framework is imported before the cells run, and quietly"


def test_a_traceback_names_notebook_cell_and_line(store):
    store(CELLS)
    module = lessons.load(NAME)
    with pytest.raises(ZeroDivisionError) as caught:
        module.fails()
    text = "".join(traceback.format_exception(caught.value))
    assert f'File "{ADDRESS}, cell 6", line 3, in fails' in text, "code cells are counted from 1"
    assert "return 1 / x  # the line" in text
    linecache.checkcache()  # what doctest, pdb and IPython do now and then
    assert "return 1 / x" in "".join(traceback.format_exception(caught.value))


def test_a_syntax_error_names_the_cell(store):
    store([cell("x = 1", "export"), cell("y = = 2", "export")])
    with pytest.raises(SyntaxError) as caught:
        lessons.load(NAME)
    assert caught.value.filename == f"{ADDRESS}, cell 2"


def test_source_can_be_inspected(store):
    # TensorFlow's AutoGraph reads the source of every function that it traces.
    store(CELLS)
    assert inspect.getsource(lessons.load(NAME).double) == "def double(x):\n    return 2 * x\n"


def test_an_edited_notebook_is_read_afresh_and_old_modules_keep_their_source(store):
    store([cell("def f():\n    return 1", "export")])
    before = lessons.load(NAME)
    store([cell(["# edited\n", "def f():\n", "    return 2"], "export")])  # as Jupyter saves it
    after = lessons.load(NAME)
    assert (before.f(), after.f()) == (1, 2)
    assert "return 1" in inspect.getsource(before.f)
    assert "return 2" in inspect.getsource(after.f)
    assert after.f.__code__.co_filename.startswith(f"{ADDRESS}, cell 1")


def test_data_classes_and_pickles_find_their_module(store):
    store(
        [
            cell(
                "from __future__ import annotations\nimport dataclasses\n\n\n"
                "@dataclasses.dataclass\nclass Point:\n    x: int = 1",
                "export",
            )
        ]
    )
    module = lessons.load(NAME)
    assert dataclasses.asdict(pickle.loads(pickle.dumps(module.Point(3)))) == {"x": 3}
    assert sys.modules[module.__name__] is module


def test_a_cell_that_fails_leaves_no_half_module_behind(store):
    store(CELLS)
    whole = lessons.load(NAME)
    store([cell("x = 1", "export"), cell("x / 0", "export")])
    with pytest.raises(ZeroDivisionError):
        lessons.load(NAME)
    assert sys.modules[whole.__name__] is whole
    with pytest.raises(ZeroDivisionError):
        lessons.load(NAME, "keras")
    assert f"{whole.__name__}_keras" not in sys.modules


def test_unknown_names_are_told_what_there_is(store):
    store(CELLS)
    with pytest.raises(CourseError, match=f"no notebook '2_model' in chapters/: {NAME}"):
        lessons.load("2_model")
    with pytest.raises(CourseError, match="torch, tensorflow, keras"):
        lessons.load(NAME, "jax")
    assert lessons.names() == [NAME]


def test_copies_that_jupyter_keeps_are_not_notebooks(store):
    path = store(CELLS)
    hidden = path.parents[1] / ".ipynb_checkpoints" / "02_model-checkpoint.ipynb"
    hidden.parent.mkdir()
    hidden.write_text(path.read_text())
    assert lessons.names() == [NAME]


def test_nothing_to_export_is_said(store):
    store([cell("x = 1"), cell("y = 1", "export", "torch")])
    with pytest.raises(CourseError, match="no cell tagged \"export\" to run for 'keras'"):
        lessons.load(NAME, "keras")


@pytest.mark.parametrize("text", ["", '{"cells": [', '{"cells": 3}', "[]", '{"metadata": {}}'])
def test_a_broken_file_is_named(store, text):
    path = store(CELLS)
    path.write_text(text)
    with pytest.raises(CourseError, match=f"{ADDRESS} is not a readable notebook.*git checkout"):
        lessons.load(NAME)


def test_importing_the_package_imports_no_framework_and_no_build_tool():
    heavy = ("torch", "tensorflow", "keras", "jupytext", "nbformat", "nbclient", "IPython")
    code = f"import sys, utils.lessons; print([n for n in {heavy} if n in sys.modules])"
    root = Path(utils.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
