"""Building notebooks from lessons: what is stored, what is refused, and what stays untouched."""

import json
import os
import re

import nbformat
import pytest

from utils import CourseError
from utils.lessons import build, execute
from utils.lessons.__main__ import main
from utils.lessons.furniture import MARKERS

pytestmark = pytest.mark.notebooks


def add(chapter, source, tags=(), before="# %% [markdown]"):
    """Put a code cell into a lesson, before its last part."""
    text = chapter.lesson.read_text(encoding="utf-8")
    place = text.rindex('# %% tags=["nbval-check-output"')
    listed = ", ".join(f'"{tag}"' for tag in tags)
    cell = f"# %% tags=[{listed}]\n{source}\n\n"
    chapter.lesson.write_text(text[:place] + cell + text[place:], encoding="utf-8")


def edit(chapter, old, new):
    text = chapter.lesson.read_text(encoding="utf-8")
    assert old in text
    chapter.lesson.write_text(text.replace(old, new), encoding="utf-8")


def stored(chapter):
    return nbformat.read(chapter.notebook, as_version=4)


def outputs(chapter):
    return [cell.get("outputs") for cell in stored(chapter).cells if cell.cell_type == "code"]


@pytest.fixture
def tiny(planted):
    return planted.chapter("01_tiny")


@pytest.fixture
def first(planted):
    return planted.chapter("00_first")


def test_a_build_runs_every_cell_and_stores_what_it_printed(planted, tiny):
    written = build.build(planted)
    assert [line.split(":")[0] for line in written[:2]] == [c.address for c in planted.built]
    notebook = stored(tiny)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert code[-1].outputs[0].text == "seed 0 frameworks ['torch', 'keras'] half of 3: 1.5\n"
    assert set(notebook.metadata) == {"course", "kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert notebook.metadata.course.title == "A tiny model"
    assert build.check(planted) == []


def test_building_again_changes_nothing(planted):
    build.build(planted)
    files = [*planted.root.rglob("*.ipynb"), *planted.root.rglob("lessons/*/*.py")]
    before = {path: path.read_bytes() for path in [*files, planted.root / "README.md"]}
    build.build(planted)
    assert {path: path.read_bytes() for path in before} == before


def test_the_kernel_works_in_the_notebooks_folder_and_without_a_front_end(planted, tiny):
    add(tiny, "import os\n\nprint(os.path.basename(os.getcwd()), os.environ['COURSE_HEADLESS'])")
    build.build(planted, ["01_tiny"])
    assert outputs(tiny)[-2][0].text == "01_models 1\n"


def test_ids_are_unique_and_stay_when_another_cell_changes(planted, tiny):
    add(tiny, "same = 1")
    add(tiny, "same = 1")
    build.build(planted, run=False)
    before = [cell.id for cell in stored(tiny).cells]
    assert len(set(before)) == len(before)
    edit(tiny, "import math", "import math  # edited")
    build.build(planted, run=False)
    after = [cell.id for cell in stored(tiny).cells]
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert [stored(tiny).cells[i].source.split("\n")[0] for i in changed] == [
        "import math  # edited"
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\n\nprint('watch out', file=sys.stderr)", "stderr.*watch out"),
        ("import warnings\n\nwarnings.warn('old')", "stderr.*old"),
        ("print('x' * 1_100_000)", r"would be 1\.1\d MB.*first in cell 6"),
        ("import ipywidgets\n\nipywidgets.IntSlider()", "widget without a still picture"),
        (
            "import ipywidgets\n\nhidden = ipywidgets.Output()\nwith hidden:\n    1 / 0",
            "kept an error to itself: ZeroDivisionError",
        ),
        (
            "import ipywidgets\n\npanel = ipywidgets.HTML('<p data-state=\"failed\">NaN</p>')",
            "a panel shows a failed run",
        ),
        ("import os\n\nos._exit(1)", "cell 6: the kernel died"),
    ],
)
def test_a_cell_that_must_not_be_stored_leaves_everything_as_it_was(pretended, source, words):
    planted, tiny = pretended, pretended.chapter("01_tiny")
    add(tiny, source)
    before = {path: path.read_bytes() for path in planted.root.rglob("*.*") if path.is_file()}
    with pytest.raises(CourseError, match=f"(?s)^{re.escape(tiny.address)}.*{words}"):
        build.build(planted, ["01_tiny"])
    after = {path: path.read_bytes() for path in planted.root.rglob("*.*") if path.is_file()}
    assert {path.name for path in after if before.get(path) != after[path]} == set()


def test_an_error_names_its_cell(planted, tiny):
    add(tiny, "1 / 0")
    with pytest.raises(CourseError, match=rf"^{re.escape(tiny.address)}, cell 6: ZeroDivision"):
        build.build(planted, ["01_tiny"])


def test_a_cell_that_never_ends_is_stopped(planted, tiny, monkeypatch):
    monkeypatch.setattr(execute, "TIMEOUT", 2)
    add(tiny, "import time\n\ntime.sleep(60)")
    with pytest.raises(CourseError, match=r"cell 6: still running after 2 s"):
        build.build(planted, ["01_tiny"])


def test_a_cell_may_be_allowed_to_write_to_stderr(planted, tiny):
    add(tiny, "import sys\n\nprint('seen', file=sys.stderr)", tags=["allow-stderr"])
    build.build(planted, ["01_tiny"])
    assert outputs(tiny)[-2][0].text == "seen\n", "what readers should see is stored"


def test_a_widget_with_a_still_picture_keeps_the_picture(planted, tiny):
    add(
        tiny,
        "import ipywidgets\nfrom IPython.display import display\n\n"
        "view = ipywidgets.IntSlider()._repr_mimebundle_()\n"
        "display({**view, 'image/png': 'iVBORw0KGgo='}, raw=True, display_id=True);",
    )
    build.build(planted, ["01_tiny"])
    data = outputs(tiny)[-2][0].data
    assert set(data) == {"image/png", "text/plain"}


def test_without_running_unchanged_cells_keep_their_outputs(planted, tiny):
    add(tiny, "print('to be edited')")
    build.build(planted)
    edit(tiny, "Half of a number", "The half of a number")
    build.build(planted, ["01_tiny"], run=False)
    assert outputs(tiny)[-1][0].text.startswith("seed 0"), "markdown changed: all is kept"
    assert outputs(tiny)[-2][0].text == "to be edited\n"
    edit(tiny, "to be edited", "edited")
    build.build(planted, ["01_tiny"], run=False)
    assert outputs(tiny)[-1][0].text.startswith("seed 0")
    assert outputs(tiny)[-2] == [], "an edited cell loses its output"
    code = [cell for cell in stored(tiny).cells if cell.cell_type == "code"]
    assert code[-2].execution_count is None
    assert "The half of a number" in tiny.notebook.read_text(encoding="utf-8")


def test_building_one_notebook_renews_the_links_of_the_others_and_runs_none(planted, first, tiny):
    build.build(planted, ["00_first"])
    assert "Next" not in stored(first).cells[-1].source
    assert "| 01 Tiny | planted" not in (planted.root / "README.md").read_text()
    notebook = stored(first)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="from an earlier run")]
    build.write(notebook, first)
    written = build.build(planted, ["01_tiny"])
    assert f"{first.address}: generated cells renewed" in written
    assert "[A tiny model](../01_models/01_tiny.ipynb)" in stored(first).cells[-1].source
    assert "[A tiny model](../01_models/01_tiny.ipynb)" in first.lesson.read_text()
    assert stored(first).cells[1].outputs[0].text == "from an earlier run"
    assert build.check(planted) == []


def test_an_edit_during_the_run_is_not_lost(planted, tiny):
    # The cell stands for a contributor who goes on typing.
    cell = f"with open({str(tiny.lesson)!r}, 'a') as lesson:\n    lesson.write('# typed meanwhile')"
    add(tiny, cell)
    build.build(planted, ["01_tiny"])
    assert "# typed meanwhile" in tiny.lesson.read_text(encoding="utf-8")
    assert any(tiny.address in line for line in build.check(planted)), "the difference is reported"


def test_after_a_failure_no_link_leads_to_what_was_not_built(planted, first, tiny):
    add(tiny, "1 / 0")
    with pytest.raises(CourseError, match="ZeroDivisionError"):
        build.build(planted)
    assert planted.built == (first,)
    assert "01_tiny" not in first.notebook.read_text(encoding="utf-8")
    problems = build.check(planted)
    assert problems == ["lessons/01_models/01_tiny.py has no notebook yet: build 01_tiny."]


def test_the_lesson_is_the_newer_of_the_pair(pretended):
    # Otherwise JupyterLab with jupytext refuses to open the two as soon as they differ.
    for chapter in pretended.built:
        os.utime(chapter.lesson, (0, 0))
    build.build(pretended, run=False)
    for chapter in pretended.built:
        assert chapter.lesson.stat().st_mtime >= chapter.notebook.stat().st_mtime


def test_equal_cells_keep_their_own_outputs(planted, tiny):
    for _ in range(2):
        add(tiny, "seen = [*globals().get('seen', []), 1]\nprint(len(seen))")
    build.build(planted, ["01_tiny"])
    assert [found[0].text for found in outputs(tiny)[-3:-1]] == ["1\n", "2\n"]
    build.build(planted, ["01_tiny"], run=False)
    assert [found[0].text for found in outputs(tiny)[-3:-1]] == ["1\n", "2\n"]


def test_names_that_cannot_be_built_are_refused(planted):
    with pytest.raises(CourseError, match="'03_none' is not in the plan"):
        build.build(planted, ["03_none"])
    with pytest.raises(CourseError, match=r"lessons/01_models/02_later\.py does not exist"):
        build.build(planted, ["02_later"])


# --- what `check` notices ---------------------------------------------------------------------


def change_notebook(change):
    def breakage(course):
        path = course.chapter("01_tiny").notebook
        notebook = json.loads(path.read_text(encoding="utf-8"))
        change(notebook)
        path.write_text(json.dumps(notebook), encoding="utf-8")

    return breakage


def change_text(name, old, new):
    def breakage(course):
        path = course.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return breakage


LESSON, NOTEBOOK = "lessons/01_models/01_tiny.py", "chapters/01_models/01_tiny.ipynb"


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (change_notebook(lambda n: n["cells"][3].update(source="edited")), "the text of cell 4"),
        (
            change_notebook(lambda n: n["cells"][3]["metadata"].update(tags=["export"])),
            "the metadata of cell 4",
        ),
        (change_notebook(lambda n: n["cells"].pop()), "has 10 cells, its lesson 11"),
        (change_notebook(lambda n: n["metadata"].pop("course")), "its course metadata differs"),
        (change_notebook(lambda n: n.pop("cells")), "not a readable notebook"),
        (change_text(LESSON, "return number / 2", "return number * 0.5"), "the text of cell 5"),
        (change_text(LESSON, "title: A tiny", "title: The tiny"), "header cell is out of date"),
        (change_text(LESSON, "import subprocess", "import subprocess as s"), "setup cell is out"),
        (change_text(LESSON, "Previous", "Before"), "navigation cell is out of date"),
        (change_text(LESSON, "minutes: {cpu: 5", "minutes: {cpus: 5"), "'cpu' is missing"),
        (change_text("README.md", "| 5 min |", "| 4 min |"), "chapter map is out of date"),
        (change_text("README.md", MARKERS[1], ""), "README.md needs the line"),
        (lambda c: c.chapter("01_tiny").notebook.unlink(), "has no notebook yet"),
        (lambda c: c.chapter("01_tiny").lesson.unlink(), "has no lesson"),
        (lambda c: (c.root / "lessons" / "x.py").touch(), "lessons/x.py is not in"),
        (lambda c: (c.root / "chapters" / "01_models" / "x.ipynb").touch(), "x.ipynb is not in"),
    ],
)
def test_check_names_what_differs(pretended, breakage, words, monkeypatch, capsys):
    monkeypatch.setattr("utils.lessons.course.read", lambda: pretended)
    assert build.check(pretended) == []
    assert main(["check"]) == 0
    breakage(pretended)
    assert words in "\n".join(build.check(pretended))
    assert main(["check"]) == 1
    assert words in capsys.readouterr().out


def test_a_fork_is_not_out_of_date(pretended, monkeypatch):
    monkeypatch.setattr("utils.lessons.course._origin", lambda root: "somebody/fork")
    pretended.__dict__.pop("slug", None)
    assert pretended.slug == "somebody/fork"
    assert build.check(pretended) == []
    written = build.build(pretended, ["01_tiny"], run=False)
    tiny = pretended.chapter("01_tiny").notebook.read_text(encoding="utf-8")
    assert "somebody/fork/blob/main" in tiny and "fallback/course" not in tiny
    assert "README.md: chapter map renewed" in written
    assert build.check(pretended) == []


def test_reading_and_saving_in_jupyterlab_keeps_the_pair_together(pretended):
    """What jupytext does in JupyterLab: it reads both files of a pair and saves both."""
    largefile = pytest.importorskip("jupyter_server.services.contents.largefilemanager")
    jupytext_manager = pytest.importorskip("jupytext.sync_contentsmanager")
    (pretended.root / "jupytext.toml").write_text(
        (execute.Path(__file__).parents[2] / "jupytext.toml").read_text()
    )
    base = jupytext_manager.build_sync_jupytext_contents_manager_class(largefile.LargeFileManager)
    manager = base(root_dir=str(pretended.root))
    manager.notary.db_file = ":memory:"
    tiny = pretended.chapter("01_tiny")
    # A pull that brings a notebook with new outputs makes it the newer one.
    os.utime(tiny.lesson, (0, 0))
    model = manager.get(tiny.address)
    manager.save(model, tiny.address)
    assert build.check(pretended) == []
    model = manager.get(tiny.address)
    cell = next(c for c in model["content"]["cells"] if c["source"].startswith("import math"))
    cell["source"] += "\n\nsaved_in_lab = True"
    manager.save(model, tiny.address)
    assert "saved_in_lab = True" in tiny.lesson.read_text(encoding="utf-8")
    assert build.check(pretended) == []
