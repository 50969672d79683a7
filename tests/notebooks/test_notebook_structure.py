"""Every notebook as it is stored keeps to every rule, and agrees with its lesson."""

import nbformat
import notebook_rules as rules
import pytest
from notebook_shelf import NOTEBOOKS, ROOT

from utils.lessons import build


@pytest.mark.parametrize("name", rules.RULES)
def test_rule(stored, course, name):
    book = rules.Book(
        path=stored,
        notebook=nbformat.read(stored, as_version=4),
        chapter=course.chapter(stored.stem),
        course=course,
    )
    assert rules.RULES[name](book) == []


def test_one_set_up_cell_everywhere():
    sources = {
        cell.source
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        if "setup" in cell.metadata.get("tags", [])
    }
    assert len(sources) <= 1


def test_notebooks_and_generated_parts_are_up_to_date(course):
    assert build.check(course) == [], "run `make notebooks`"


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/style.md"),
        *("docs/lecturing.md", "docs/help.md", "docs/prerequisites.md"),
    ],
)
def test_links_of_the_front_pages_resolve(name):
    path = ROOT / name
    if not path.is_file():
        pytest.skip(f"{name} is not written yet")
    assert rules.broken_links(path.read_text(encoding="utf-8"), path) == []
