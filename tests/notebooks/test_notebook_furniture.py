"""The generated cells: what they say, where they go, and the set-up cell on every kind of host."""

import json
import os
import subprocess
import sys

import pytest

from utils import CourseError
from utils.lessons.furniture import MARKERS, Furniture, about, slug_in


@pytest.fixture
def tiny(planted):
    return planted.chapter("01_tiny")


def furniture(course, *names, slug="me/ways"):
    return Furniture(course, tuple(course.chapter(name) for name in names), slug)


def cells(course, name, *present):
    chapter = course.chapter(name)
    return furniture(course, *present).cells(chapter, chapter.lesson.read_text())


def test_the_header_says_what_the_lesson_says(planted):
    header = cells(planted, "01_tiny", "00_first", "01_tiny")["header"]
    tree = "me/ways/blob/main/chapters/01_models/01_tiny.ipynb"
    assert header.startswith("# A tiny model\n")
    assert f"](https://colab.research.google.com/github/{tree})" in header
    assert "urlpath=lab/tree/chapters/01_models/01_tiny.ipynb)" in header
    assert "about 5 minutes on a CPU, 3 on a GPU" in header
    assert "[First steps](../00_first/00_first.ipynb); Later (planned); some algebra." in header
    assert header.endswith("\n- run a notebook")
    assert slug_in(header) == "me/ways"


def test_the_navigation_leads_to_the_nearest_notebooks_that_exist(planted):
    alone = cells(planted, "01_tiny", "01_tiny")["navigation"]
    assert "Previous" not in alone and "Next" not in alone
    after = cells(planted, "01_tiny", "00_first", "01_tiny")["navigation"]
    assert "**Previous:** [First steps](../00_first/00_first.ipynb)" in after
    before = cells(planted, "00_first", "00_first", "01_tiny")["navigation"]
    assert "**Next:** [A tiny model](../01_models/01_tiny.ipynb)" in before
    assert "(../../README.md#chapter-map)" in before


def test_the_chapter_map_lists_every_chapter_once(planted):
    rows = furniture(planted, "01_tiny").chapter_map().splitlines()
    assert sum("| planted" not in row and row.startswith("| ") for row in rows) == 4
    assert any("00 First | planned" in row for row in rows)
    (built,) = [row for row in rows if "[01 A tiny model](chapters/01_models/01_tiny.ipynb)" in row]
    assert "| 5 min | 3 min |" in built and "[colab-badge]](" in built and "mybinder" in built
    assert built.startswith("| **Models** |")
    said = about(planted.chapter("01_tiny"))
    assert all(f"• {objective}" in built for objective in said.objectives)
    assert built.count("<details>") == built.count("</details>") == 1
    pictures = [row for row in rows if row.startswith("[")]
    assert [row.split("]: ")[0] for row in pictures] == ["[colab-badge", "[binder-badge"]
    assert rows.index(pictures[0]) > rows.index(built), "they end the table"


def test_the_readme_keeps_everything_else(planted):
    text = f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n"
    new = furniture(planted).refresh_readme(text)
    assert new.startswith(f"before\n{MARKERS[0]}\n") and new.endswith(f"{MARKERS[1]}\nafter\n")
    assert "old" not in new
    assert furniture(planted).refresh_readme(new) == new


@pytest.mark.parametrize(
    "text", ["", MARKERS[0], MARKERS[1] + MARKERS[0], MARKERS[0] * 2 + MARKERS[1]]
)
def test_a_readme_without_its_markers_is_refused(planted, text):
    with pytest.raises(CourseError, match=r"README\.md needs the line"):
        furniture(planted).refresh_readme(text)


def test_refreshing_touches_nothing_else_and_is_stable(planted, tiny):
    text = tiny.lesson.read_text()
    made = furniture(planted, "01_tiny")
    once = made.refresh(tiny, text)
    assert made.refresh(tiny, once) == once
    header, body = text.split('# %% tags=["parameters"]')
    assert once.startswith(header)
    assert body.rstrip() in once
    kinds = [line for line in once.splitlines() if line.startswith("# %%")]
    assert 'tags=["header"]' in kinds[0] and 'tags=["setup"]' in kinds[1]
    assert 'tags=["navigation"]' in kinds[-1]


def test_stale_cells_are_replaced_where_they_stand(planted, tiny):
    made = furniture(planted, "01_tiny")
    once = made.refresh(tiny, tiny.lesson.read_text())
    stale = once.replace("run a notebook\n\n", "something older\n# more\n\n", 1)
    stale = stale.replace("import subprocess", "import older")
    assert stale != once
    assert made.refresh(tiny, stale) == once


def test_a_second_generated_cell_is_refused(planted, tiny):
    made = furniture(planted, "01_tiny")
    text = made.refresh(tiny, tiny.lesson.read_text()) + '\n# %% tags=["setup"]\nx = 1\n'
    with pytest.raises(CourseError, match="has 2 setup cells: keep one"):
        made.refresh(tiny, text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("# ---\n", "", "must begin with a header"),
        ("#   course:\n", "#   curse:\n", "'course' is missing"),
        ("title: A tiny model", "titel: A tiny model", "'title' is missing"),
        ("title: A tiny model", "title: 3", "3 is neither text"),
        ("title: A tiny model", "title: Tiny: a model", "not valid YAML"),
        ("{cpu: 5, gpu: 3}", "{cpu: five, gpu: 3}", "'five' is neither text nor a whole number"),
        ("{cpu: 5, gpu: 3}", "{cpu: 5}", "'gpu' is missing"),
        ("{cpu: 5, gpu: 3}", "5", "missing or misplaced"),
        ("      - run a notebook\n", "      - run: a notebook\n", "neither text"),
        ("#       - run a notebook\n", "", "course: with title"),
        ("objectives:\n#       - run a notebook", "objectives: []", "objectives is empty"),
    ],
)
def test_a_wrong_header_is_named(tiny, old, new, words):
    text = tiny.lesson.read_text()
    assert old in text
    tiny.lesson.write_text(text.replace(old, new))
    with pytest.raises(CourseError, match=rf"^lessons/01_models/01_tiny\.py.*{words}"):
        about(tiny)


# --- the set-up cell --------------------------------------------------------------------------

REPORT = """
import json, utils
print(json.dumps([utils.__file__, sys.path[0], utils.COURSE_ID]))
"""


def set_up(course, folder, before="", path="", **environment):
    """Run the set-up cell in `folder`, as a kernel that has just started would."""
    source = cells(course, "00_first", "00_first")["setup"]
    source = source.replace("https://github.com/me/ways", str(course.root / "origin"))
    keep = {key: os.environ[key] for key in ("PATH", "HOME", "SYSTEMROOT") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-c", f"{before}\n{source}\n{REPORT}"],
        cwd=folder,
        env={**keep, "PYTHONPATH": str(path), **environment},
        capture_output=True,
        text=True,
    )


def test_set_up_finds_the_course_above_the_notebook(planted):
    folder = planted.root / "chapters" / "00_first"
    folder.mkdir(parents=True)
    done = set_up(planted, folder)
    where, first, _ = json.loads(done.stdout)
    assert where == str(planted.root / "utils" / "__init__.py"), done.stderr
    assert first == str(planted.root)


def test_set_up_drops_another_package_of_the_same_name(planted, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "utils").mkdir()
    (other / "utils" / "__init__.py").write_text("from . import plots\n")
    (other / "utils" / "plots.py").write_text("")
    before = "import utils, sys; assert 'utils.plots' in sys.modules"
    done = set_up(planted, planted.root / "lessons", before, path=other)
    assert json.loads(done.stdout)[0].startswith(str(planted.root)), done.stderr


def test_set_up_puts_the_course_before_another_package_of_the_same_name(planted, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "utils").mkdir()
    (other / "utils" / "__init__.py").write_text("COURSE_ID = 'another'\n")
    path = f"{other}{os.pathsep}{planted.root}"
    done = set_up(planted, planted.root / "lessons", path=path)
    assert json.loads(done.stdout)[0].startswith(str(planted.root)), done.stderr


def test_set_up_can_run_twice_and_keeps_what_is_loaded(planted):
    once = cells(planted, "00_first")["setup"]
    done = set_up(planted, planted.root, f"{once}\nimport utils\nutils.COURSE_ID = 'kept'")
    assert json.loads(done.stdout)[2] == "kept", done.stderr


def test_a_notebook_alone_says_what_it_needs(planted, tmp_path_factory):
    done = set_up(planted, tmp_path_factory.mktemp("alone"))
    assert done.returncode != 0
    assert "FileNotFoundError: The course is not around this notebook: clone" in done.stderr


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        ("import sys, types; sys.modules['google.colab'] = types.ModuleType('colab')", {}),
        ("", {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}),
    ],
    ids=["colab", "kaggle"],
)
def test_hosted_notebooks_fetch_the_course(planted, tmp_path_factory, before, environment):
    origin = planted.root / "origin"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q", "-b", "main", str(planted.root)], check=True)
    subprocess.run([*git, "-C", str(planted.root), "add", "utils"], check=True)
    subprocess.run([*git, "-C", str(planted.root), "commit", "-qm", "all"], check=True)
    origin.symlink_to(planted.root / ".git")
    host = tmp_path_factory.mktemp("host")
    done = set_up(planted, host, before, **environment)
    said, report = done.stdout.strip().split("\n")
    assert said.startswith("Fetching the course from "), done.stderr
    assert json.loads(report)[0] == str(host / "origin" / "utils" / "__init__.py")
    again = set_up(planted, host, before, **environment)
    assert "Fetching" not in again.stdout and again.returncode == 0, "one clone is enough"


def test_a_host_without_internet_is_told_so(planted, tmp_path_factory):
    host = tmp_path_factory.mktemp("host")
    done = set_up(planted, host, KAGGLE_KERNEL_RUN_TYPE="Interactive")
    assert done.returncode != 0
    assert "ConnectionError: The course could not be fetched" in done.stderr
    assert "does not exist" in done.stderr, "git's own words are passed on"


def test_set_up_installs_nothing(planted):
    source = cells(planted, "00_first")["setup"]
    assert "pip" not in source and "install" not in source
    assert len(source.splitlines()) <= 40
