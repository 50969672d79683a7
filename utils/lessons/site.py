"""The course as a website: the pages that Sphinx and myst-nb turn into HTML, nothing executed.

A page is a stored notebook with its outputs; behind each exercise stand its hints and its
solution, folded. Links that leave the site lead to the repository.
"""

import importlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat

from utils import CourseError
from utils.lessons.course import Chapter, Course
from utils.lessons.execute import tags
from utils.lessons.furniture import MARKERS, about, words_for_badges

#: What else becomes a page: its place in the repository -> its name on the site.
PAGES = {
    "docs/prerequisites.md": "prerequisites.md",
    "docs/glossary.md": "glossary.md",
    "docs/lecturing.md": "lecturing.md",
    "docs/help.md": "help.md",
    "results/README.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "docs/architecture.md": "architecture.md",
    "docs/style.md": "style.md",
}
_LINK = re.compile(r"(?<!\!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_QUESTIONS = re.compile(r"^from utils\.exercises import (\w+) as (\w+)$", re.MULTILINE)


def write(course: Course, folder: Path) -> list[Path]:
    """Write the sources of the site.

    Parameters
    ----------
    course
        The plan, rooted in the repository.
    folder
        Where to; what an earlier call left there is replaced.

    Returns
    -------
    list of Path
        The pages, the first page first.

    Raises
    ------
    CourseError
        If no notebook is built yet, or a page of the repository is missing.
    """
    if not course.built:
        raise CourseError("No notebook is built yet: run `make notebooks` first.")
    missing = [name for name in ("docs/conf.py", *PAGES) if not (course.root / name).is_file()]
    if missing:
        raise CourseError(f"The site needs {missing[0]}, which is not there.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    docs = course.root / "docs"
    for path in (docs / "conf.py", *docs.glob("*.png"), *docs.glob("*.svg")):
        shutil.copy(path, folder)
    names = {chapter.address: chapter.address for chapter in course.built}
    names |= {"README.md": "index.md", **PAGES}
    texts = {"index.md": _index(course)}
    for source, name in PAGES.items():
        text = (course.root / source).read_text(encoding="utf-8")
        texts[name] = relink(text, source, name, names, course)
    written = []
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    for chapter in course.built:
        written.append(folder / chapter.address)
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(page(chapter, names, course), written[-1])
    return written


def page(chapter: Chapter, names: dict[str, str], course: Course) -> nbformat.NotebookNode:
    """A stored notebook as a page: its links led outwards, its solutions folded behind it.

    Parameters
    ----------
    chapter
        A chapter whose notebook is built.
    names
        What is on the site: place in the repository -> name on the site.
    course
        The plan.
    """
    notebook = nbformat.read(chapter.notebook, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    asked = {alias: module for module, alias in _QUESTIONS.findall(code)}
    cells = []
    for cell in notebook.cells:
        if "setup" in tags(cell):
            continue  # it finds the course's code, for who runs the notebook
        if cell.cell_type == "markdown":
            words = words_for_badges(cell.source)
            cell.source = relink(words, chapter.address, chapter.address, names, course)
        elif cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = [*tags(cell), "hide-input"]  # folded there, folded here
        cells.append(cell)
        for alias, module in asked.items():
            for name in re.findall(rf"^{alias}\.(\w+)\.check\(", cell.source, re.MULTILINE):
                exercise = getattr(importlib.import_module(f"utils.exercises.{module}"), name)
                cells.append(nbformat.v4.new_markdown_cell(_folded(exercise)))
    notebook.cells = cells
    return notebook


def relink(text: str, source: str, name: str, names: dict[str, str], course: Course) -> str:
    """Markdown with its relative links mended for the site.

    A link to a page of the site becomes relative to where the page `name` stands; any other
    leads to the file in the repository on GitHub.
    """

    def mended(link: re.Match) -> str:
        target = os.path.normpath(Path(source).parent / link["target"]).replace(os.sep, "/")
        anchor = link["anchor"] or ""
        if target in names:
            where = os.path.relpath(names[target], Path(name).parent).replace(os.sep, "/")
            # the README's anchors are not those of the first page
            return f"[{link['text']}]({where}{'' if target == 'README.md' else anchor})"
        there = f"https://github.com/{course.slug}/blob/{course.branch}/{target}"
        return f"[{link['text']}]({there}{anchor})"

    return _LINK.sub(mended, text)


def _folded(exercise: Any) -> str:
    """An exercise's hints and its solution, as directives that open at a click."""
    solution = exercise.solution_source()
    kind = "python" if re.match(r"(def|import|from|[\w ,]+ =) ?", solution) else "text"
    parts = [
        f"````{{dropdown}} Hint {i} of {len(exercise.hints)}\n{hint}\n````"
        for i, hint in enumerate(exercise.hints, 1)
    ]
    parts.append(f"````{{dropdown}} Solution\n```{kind}\n{solution}\n```\n````")
    return "\n\n".join(parts)


def _index(course: Course) -> str:
    """The first page: what the README promises, and the chapters with what they teach."""
    readme = (course.root / "README.md").read_text(encoding="utf-8")
    promise = readme.split("\n## ", 1)[0].strip()
    if MARKERS[0] in promise or not promise.startswith("# "):
        raise CourseError("README.md must begin with its title and the promise, then a heading.")
    promise = promise.replace("](docs/", "](")
    home = f"https://github.com/{course.slug}"
    lines = [
        promise,
        f"\nTo run the notebooks, change them and train the models, get the course from <{home}>.",
        "Here it can be read, with everything that came out of it.",
    ]
    parts = list(dict.fromkeys(chapter.part for chapter in course.built))
    for part in parts:
        chapters = [chapter for chapter in course.built if chapter.part == part]
        lines += [f"\n## {part}", ""]
        for chapter in chapters:
            said = about(chapter)
            lines.append(f"### [{said.title}]({chapter.address})\n\n{said.summary}\n")
            lines.append(f"About {said.minutes_cpu} minutes. You will be able to\n")
            lines += [f"- {objective}" for objective in said.objectives] + [""]
    for part in parts:
        entries = [c.address.removesuffix(".ipynb") for c in course.built if c.part == part]
        lines += _toctree(part, entries)
    lines += _toctree("Beside the chapters", [name.removesuffix(".md") for name in PAGES.values()])
    return "\n".join(lines) + "\n"


def _toctree(caption: str, entries: list[str]) -> list[str]:
    return ["\n```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```"]
