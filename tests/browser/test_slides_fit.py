"""No slide is taller than the screen: what is too tall is made smaller, and only that."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
import sample_course

from utils.lessons.slides import ASSETS, HEIGHT, SMALLEST, WIDTH, slides

# What the slides use of reveal.js, which comes with the website's tools: one slide at a time, 1280
# pixels wide, and an event when it changes.
REVEAL = """
const heard = [];
const leaves = () => [...document.querySelectorAll(".slides section section")];
const show = (number) => {
  leaves().forEach((slide, i) => slide.classList.toggle("present", i === number));
  heard.forEach((f) => f());
};
window.RevealNotes = {};
window.Reveal = {
  initialize: async () => {
    document.head.insertAdjacentHTML("beforeend", `<style>
      body { margin: 0; } .slides { width: 1280px; }
      .slides section section { display: none; } .slides section section.present { display: block; }
    </style>`);
    show(0);
  },
  getCurrentSlide: () => document.querySelector(".slides section section.present"),
  on: (name, f) => { heard.push(f); },
};
window.show = show;
"""


def markdown(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": "slide"}})


def table(rows: int) -> nbformat.NotebookNode:
    lines = ["| metric | value |", "|---|---|", *(f"| row {i} | {i} |" for i in range(rows))]
    return markdown("\n".join(lines))


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Any:
    """Slides of three cells: an ordinary one, a table somewhat too tall, one beyond all measure."""
    course = sample_course.plant(tmp_path)
    sample_course.pretend(course)
    for source in ASSETS:
        folder = tmp_path / "tools/lib/python3.12/site-packages" / source / "dist"
        folder.mkdir(parents=True)
        (folder / "reveal.js").write_text(REVEAL)
    chapter = course.chapter("01_tiny")
    notebook = nbformat.read(chapter.notebook, as_version=4)
    notebook.cells = [markdown("## A heading\n\nAnd words."), table(28), table(400)]
    nbformat.write(notebook, chapter.notebook)
    (path,) = slides(course, tmp_path / "tools", ["01_tiny"])
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector(".present")
    yield page
    context.close()


def shown(page: Any, number: int) -> tuple[float, bool, str | None, int]:
    """A slide's lowest point, whether it scrolls, how much it shrank, what the keyboard reaches."""
    page.evaluate("number => show(number)", number)
    return page.evaluate(
        "() => { const slide = Reveal.getCurrentSlide();"
        "const foot = Math.max(...[...slide.querySelectorAll('*')]"
        "  .map((part) => part.getBoundingClientRect().bottom));"
        "const scrolls = getComputedStyle(slide).overflowY === 'auto';"
        "return [foot, scrolls, slide.dataset.size || null, slide.tabIndex]; }"
    )


def test_what_is_too_tall_is_made_smaller_until_it_fits(page: Any) -> None:
    foot, scrolls, size, _ = shown(page, 0)
    assert foot < HEIGHT and not scrolls and size is None, "what fits is left alone"
    for _ in range(2):  # coming back to it changes nothing
        foot, scrolls, size, _ = shown(page, 1)
        assert HEIGHT / 2 < foot <= HEIGHT and not scrolls
        assert SMALLEST < float(size) < 1
    _, scrolls, size, tab = shown(page, 2)
    assert scrolls and tab == 0 and float(size) == SMALLEST, "nobody could read it any smaller"
