"""The notebooks as slides: one HTML file each, cut where the lessons' slideshow metadata says."""

from pathlib import Path

import nbformat
from nbconvert import SlidesExporter

from utils import CourseError
from utils.lessons.course import Course
from utils.lessons.furniture import about


def slides(course: Course, names: list[str] | None = None) -> list[Path]:
    """Write ``build/slides/NAME.slides.html`` for each notebook, with its stored outputs.

    Writing needs no network. A browser that opens a file fetches reveal.js and MathJax; without
    a network it shows the same cells as one long page.

    Parameters
    ----------
    course
        The plan, rooted in the repository.
    names
        Which notebooks; None or an empty list takes every one that is built.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    CourseError
        If a notebook is not built, or there is none at all.
    """
    chapters = [course.chapter(name) for name in names] if names else list(course.built)
    if not chapters:
        raise CourseError("No notebook is built yet: run `make notebooks` first.")
    for chapter in chapters:
        if not chapter.notebook.is_file():
            raise CourseError(f"{chapter.address} is not built yet: run `make notebooks` first.")
    folder = course.root / "build" / "slides"
    folder.mkdir(parents=True, exist_ok=True)
    exporter = SlidesExporter(
        embed_images=True, reveal_scroll=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    written = []
    for chapter in chapters:
        notebook = nbformat.read(chapter.notebook, as_version=4)
        metadata = {"name": about(chapter).title, "path": str(chapter.notebook.parent)}
        html, _ = exporter.from_notebook_node(notebook, {"metadata": metadata})
        path = folder / f"{chapter.name}.slides.html"
        path.write_text(html, encoding="utf-8")
        written.append(path)
    return written
