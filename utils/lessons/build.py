"""From the lessons in ``lessons/`` to the executed notebooks in ``chapters/``.

A lesson is plain text (jupytext's percent format) and the only thing that a contributor edits.
`build` refreshes its generated cells, turns it into a notebook, runs that from top to bottom
and stores it with small outputs. `check` says what would change, and changes nothing.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import jupytext
import nbformat

from utils import CourseError, files
from utils.lessons import execute
from utils.lessons.course import Chapter, Course
from utils.lessons.furniture import KINDS, Furniture, slug_in

SIZE_CAP = 1_000_000  # bytes; GitHub stops showing notebooks that are much larger
WIDGET = "application/vnd.jupyter.widget-view+json"
_LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
# What a notebook says about itself. The first two stand in the lesson's header too: jupytext opens
# a pair only if they are the same in both.
_METADATA = ("kernelspec", "course", "language_info")
# What tools leave in a cell's metadata about one run or about a text file's layout.
_PASSING = (
    "execution",
    "papermill",
    "collapsed",
    "scrolled",
    "lines_to_next_cell",
    "lines_to_end_of_cell_marker",
    "colab",
    "outputId",
)


def build(
    course: Course,
    names: list[str] | None = None,
    run: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Build notebooks from their lessons, then renew the generated parts of everything else.

    A notebook is written only when it has run from top to bottom and nothing in it stands in the
    way of storing it; until then the earlier one stays as it is.

    Parameters
    ----------
    course
        The plan, rooted in the repository.
    names
        Which notebooks; None or an empty list builds every lesson that is written.
    run
        Whether to execute. Without, outputs are kept where a code cell has not changed.
    say
        Called with each line as soon as its file is written.

    Returns
    -------
    list of str
        One line for each file that was written.

    Raises
    ------
    CourseError
        If a lesson is missing or its header is wrong, if a cell fails, writes to stderr without
        the tag ``allow-stderr``, or shows a widget without a still picture, or if the notebook
        is over 1 MB.
    """
    chapters = [course.chapter(name) for name in names] if names else list(course.written)
    for chapter in chapters:
        if not chapter.lesson.is_file():
            raise CourseError(
                f"{chapter.source} does not exist, so {chapter.name} cannot be built."
            )
    present = (*course.built, *chapters)
    written = []
    try:
        for chapter in chapters:
            line = _build(chapter, Furniture(course, present, course.slug), run)
            written.append(line)
            say(line)
    finally:
        # Also after a failure: what was built before it links to what is there.
        for line in _refresh(course):
            written.append(line)
            say(line)
    return written


def _build(chapter: Chapter, furniture: Furniture, run: bool) -> str:
    lesson = furniture.refresh(chapter, chapter.lesson.read_text(encoding="utf-8"))
    notebook = from_lesson(lesson)
    if run:
        chapter.notebook.parent.mkdir(parents=True, exist_ok=True)
        seconds = execute.execute(notebook, chapter.notebook.parent, chapter.address)
        longest = max(seconds)
        where = seconds.index(longest) + 1
        how = f"ran in {sum(seconds):.0f} s ({longest:.0f} s of them in cell {where})"
        tidy(notebook, chapter.address)
    else:
        how = "not run"
        keep_outputs(notebook, chapter.notebook)
    size = write(notebook, chapter)
    return f"{chapter.address}: {how}, {size / 1000:.0f} kB"


def check(course: Course) -> list[str]:
    """Say in one line each what `build` would change; an empty list means nothing.

    The repository's owner and name may differ (a fork's clone is not out of date for that).
    """
    problems = [
        f"{path.relative_to(course.root).as_posix()} is not in utils/lessons/course.toml: add it "
        "there, or remove it."
        for path in course.strays()
    ]
    for chapter in course.chapters:
        if chapter.lesson.is_file() and chapter.notebook.is_file():
            problems += _differences(course, chapter)
        elif chapter.lesson.is_file():
            problems.append(f"{chapter.source} has no notebook yet: build {chapter.name}.")
        elif chapter.notebook.is_file():
            problems.append(f"{chapter.address} has no lesson {chapter.source} to be built from.")
    readme = course.root / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        furniture = Furniture(course, course.built, slug_in(text) or course.slug)
        try:
            if furniture.refresh_readme(text) != text:
                problems.append("README.md: the chapter map is out of date.")
        except CourseError as error:
            problems.append(str(error))
    return problems


def _differences(course: Course, chapter: Chapter) -> list[str]:
    lesson = chapter.lesson.read_text(encoding="utf-8")
    furniture = Furniture(course, course.built, slug_in(lesson) or course.slug)
    problems = []
    try:
        wanted = furniture.cells(chapter, lesson)
    except CourseError as error:
        return [str(error)]
    source = from_lesson(lesson)
    for kind in KINDS:
        found = [cell.source for cell in source.cells if kind in execute.tags(cell)]
        if found != [wanted[kind]]:
            problems.append(f"{chapter.source}: the generated {kind} cell is out of date.")
    try:
        stored = nbformat.read(chapter.notebook, as_version=4)
    except Exception as error:
        return [*problems, f"{chapter.address} is not a readable notebook ({error})."]
    for key in ("kernelspec", "course"):
        if stored.metadata.get(key) != source.metadata.get(key):
            problems.append(f"{chapter.address}: its {key} metadata differs from its lesson's.")
    expected = [_inputs(cell) for cell in source.cells]
    got = [_inputs(cell) for cell in stored.cells]
    if len(expected) != len(got):
        problems.append(
            f"{chapter.address} has {len(got)} cells, its lesson {len(expected)}: build it again."
        )
    for number, (wants, has) in enumerate(zip(expected, got, strict=False), start=1):
        if wants != has:
            what = "metadata" if wants[:2] == has[:2] else "text"
            problems.append(
                f"{chapter.address}: the {what} of cell {number} (of all cells) differs from its "
                f"lesson's, which begins {wants[1][:50]!r}."
            )
            break
    return problems


def _inputs(cell: Mapping) -> tuple[str, str, dict]:
    kept = {key: value for key, value in cell["metadata"].items() if key not in _PASSING}
    return cell["cell_type"], cell["source"], json.loads(json.dumps(kept))


def from_lesson(text: str) -> nbformat.NotebookNode:
    """The notebook, not yet run, that a lesson's text describes.

    Its cells' ids follow from their own text, so an edit elsewhere leaves them alone.
    """
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["language_info"] = nbformat.from_dict(_LANGUAGE)
    _strip(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen = Counter()
    for cell in notebook.cells:
        own = [kind for kind in (*KINDS, "parameters") if kind in execute.tags(cell)]
        base = own[0] if own else hashlib.sha256(_key(cell).encode()).hexdigest()[:12]
        seen[base] += 1
        cell.id = base if seen[base] == 1 else f"{base}-{seen[base]}"
    return notebook


def _strip(notebook: nbformat.NotebookNode) -> None:
    for key in set(notebook.metadata) - set(_METADATA):
        del notebook.metadata[key]
    for cell in notebook.cells:
        for key in _PASSING:
            cell.metadata.pop(key, None)


def _key(cell: Mapping) -> str:
    return f"{cell['cell_type']}\n{cell['source']}"


def tidy(notebook: nbformat.NotebookNode, name: str) -> None:
    """Take out of an executed notebook what must not be stored, and refuse what must not happen.

    Parameters
    ----------
    notebook
        Is changed in place.
    name
        What messages call it.

    Raises
    ------
    CourseError
        As `build` says.
    """
    hidden = execute.swallowed(notebook)
    if hidden:
        raise CourseError(f"{name}: a widget kept an error to itself: {hidden[0]}")
    notebook.metadata["language_info"] = nbformat.from_dict(_LANGUAGE)  # without the version
    _strip(notebook)
    for number, cell in execute.code_cells(notebook):
        where = f"{name}, cell {number}"
        if cell.execution_count != number:
            raise CourseError(f"{where} ran as number {cell.execution_count}: is it empty?")
        noise = execute.stderr(cell)
        if noise and "allow-stderr" not in execute.tags(cell):
            raise CourseError(
                f"{where} wrote to stderr: mend the cause, or tag the cell allow-stderr if readers "
                f"should see it. It wrote: {noise.strip()[:400]}"
            )
        for output in cell.outputs:
            data = output.get("data", {})
            if data.pop(WIDGET, None) is not None and "image/png" not in data:
                raise CourseError(
                    f"{where} shows a widget without a still picture: readers on GitHub would see "
                    "only its name. Show it through utils.panel or utils.explore."
                )


def keep_outputs(notebook: nbformat.NotebookNode, earlier: Path) -> None:
    """Give unchanged code cells the outputs that they have in the `earlier` notebook."""
    if not earlier.is_file():
        return
    stored: dict[str, list] = {}
    for cell in nbformat.read(earlier, as_version=4).cells:
        if cell.cell_type == "code":
            # The set-up cell changes with the repository's name, and prints nothing.
            key = "setup" if "setup" in execute.tags(cell) else _key(cell)
            stored.setdefault(key, []).append(cell)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        matches = stored.get("setup" if "setup" in execute.tags(cell) else _key(cell))
        if matches:
            match = matches.pop(0)
            cell.outputs, cell.execution_count = match.outputs, match.execution_count


def write(notebook: nbformat.NotebookNode, chapter: Chapter) -> int:
    """Store a notebook, all of it or nothing, and return its size in bytes.

    Raises
    ------
    CourseError
        If it is over 1 MB: the message names the cell with the largest outputs.
    """
    nbformat.validate(notebook)
    text = nbformat.writes(notebook) + "\n"
    size = len(text.encode())
    if size > SIZE_CAP:
        weights = {n: len(json.dumps(cell.outputs)) for n, cell in execute.code_cells(notebook)}
        heaviest = max(weights, key=weights.get)
        raise CourseError(
            f"{chapter.address} would be {size / 1e6:.2f} MB, more than {SIZE_CAP / 1e6:.0f} MB: "
            f"show less or smaller, first in cell {heaviest} ({weights[heaviest] / 1e6:.2f} MB)."
        )
    chapter.notebook.parent.mkdir(parents=True, exist_ok=True)
    files.write(chapter.notebook, text)
    return size


def _refresh(course: Course) -> list[str]:
    """Renew what is generated in every lesson and notebook that exists, and the README's map."""
    furniture = Furniture(course, course.built, course.slug)
    written = []
    for chapter in course.built:
        if not chapter.lesson.is_file():
            continue
        # Read anew: somebody may have edited the lesson while its notebook ran.
        before = chapter.lesson.read_text(encoding="utf-8")
        lesson = furniture.refresh(chapter, before)
        notebook = nbformat.read(chapter.notebook, as_version=4)
        if furniture.refresh_notebook(chapter, notebook):
            write(notebook, chapter)
            written.append(f"{chapter.address}: generated cells renewed")
        if lesson != before:
            files.write(chapter.lesson, lesson)
            written.append(f"{chapter.source}: generated cells renewed")
        # Jupytext takes the inputs from the lesson as long as that is the newer of the two.
        os.utime(chapter.lesson)
    readme = course.root / "README.md"
    if readme.is_file():
        before = readme.read_text(encoding="utf-8")
        after = furniture.refresh_readme(before)
        if after != before:
            files.write(readme, after)
            written.append("README.md: chapter map renewed")
    return written
