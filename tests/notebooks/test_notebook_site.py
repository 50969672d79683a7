"""The website's pages: every notebook, links that arrive, solutions folded behind the exercises."""

import os
import re
from pathlib import Path

import nbformat
import pytest
import sample_course
from notebook_shelf import ROOT

from utils import CourseError
from utils.lessons import course as plan
from utils.lessons import execute, site
from utils.lessons.__main__ import main

LINK = re.compile(r"(?<!\!)\]\((?P<target>[^)#:\s]+)(#[^)\s]*)?\)")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every page of the real course's site, its markdown, by name."""
    folder = tmp_path_factory.mktemp("site") / "source"
    found = {}
    for path in site.write(plan.read(ROOT), folder):
        name = path.relative_to(folder).as_posix()
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = nbformat.reads(text, as_version=4).cells
            assert all("setup" not in execute.tags(cell) for cell in cells)
            text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        found[name] = text
    return found


def test_every_notebook_and_every_page_is_in_a_table_of_contents(pages):
    entries = re.findall(r"```\{toctree\}.*?\n\n(.*?)\n```", pages["index.md"], flags=re.DOTALL)
    listed = "\n".join(entries).split()
    wanted = [Path(name).with_suffix("").as_posix() for name in pages if name != "index.md"]
    assert sorted(listed) == sorted(wanted)
    assert any(name.startswith("chapters/") for name in listed)


def test_links_between_pages_arrive(pages):
    for name, text in pages.items():
        for link in LINK.finditer(text):
            target = os.path.normpath(Path(name).parent / link["target"])
            assert target in pages or target.endswith((".png", ".svg")), (name, link[0])


def test_no_page_shows_a_badge_from_elsewhere(pages):
    assert not [name for name, text in pages.items() if "[![" in text]


def test_every_exercise_has_its_solution_folded_behind_it(pages):
    for name, text in pages.items():
        if name.endswith(".ipynb"):
            opened = text.count("````{dropdown} Solution")
            chapter = nbformat.read(ROOT / name, as_version=4)
            checks = sum(
                len(re.findall(r"^questions\.\w+\.check\(", cell.source, re.MULTILINE))
                for cell in chapter.cells
                if cell.cell_type == "code"
            )
            assert opened == checks > 0, name


def test_a_link_to_a_file_that_is_no_page_leads_to_the_repository(pretended):
    names = {"README.md": "index.md", "chapters/01_models/01_tiny.ipynb": "here"}
    text = "[a](../../README.md#chapter-map) [b](../../utils/runtime.py#L1) [c](https://x.org/y.z)"
    where = "chapters/01_models/01_tiny.ipynb"
    home = f"https://github.com/{pretended.slug}/blob/main"
    assert site.relink(text, where, where, names, pretended) == (
        f"[a](../../index.md) [b]({home}/utils/runtime.py#L1) [c](https://x.org/y.z)"
    )


def test_nothing_to_show_is_said(planted, monkeypatch, capsys):
    monkeypatch.setattr("utils.lessons.course.read", lambda: planted)
    assert main(["site"]) == 1
    assert "make notebooks" in capsys.readouterr().err
    sample_course.pretend(planted)
    with pytest.raises(CourseError, match=r"needs docs/conf\.py"):
        site.write(planted, planted.root / "build")
