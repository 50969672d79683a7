"""What a learner has done, kept in one small file and shown on the start page.

Each exercise that was checked as right and each prediction that was committed to is one line of
JSON, added at the end of the file in a single write. So two kernels may write at once, a full disk
costs one line at most, and a line that cannot be read costs none of the others: nothing is ever
rewritten. The file lies among the user's own data, never in the repository.

``COURSE_PROGRESS`` names another file, or is ``off``. Nothing is kept where nobody watches
(``COURSE_HEADLESS``), nor outside a notebook of the course.
"""

import ast
import functools
import html
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from utils import COURSE_ID, runtime

KINDS = ("exercise", "prediction")
OFF = ("off", "0", "no", "false")
_HEADS = ("Notebook", "Exercises right", "Predictions made")
_HOSTS = ("BINDER_SERVICE_HOST", "KAGGLE_KERNEL_RUN_TYPE")
_said: set[str] = set()  # what this kernel has been told already


class Entry(NamedTuple):
    """One thing done: in which notebook, of which of `KINDS`, and its name."""

    notebook: str
    kind: str
    name: str


def file() -> Path | None:
    """Where progress is kept, whether or not it is there yet; None where none is kept."""
    chosen = os.environ.get("COURSE_PROGRESS", "").strip()
    if runtime.headless() or chosen.lower() in OFF:
        return None
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs  # with pooch, wherever the course runs

    return Path(platformdirs.user_data_dir(COURSE_ID)) / "progress.jsonl"


def note(kind: str, name: str) -> None:
    """Keep that an exercise was right or a prediction was made, once.

    It never raises, and says in one line, once in a kernel, if nothing can be kept.
    """
    path, notebook = file(), _notebook()
    if path is None or notebook is None:
        return
    entry = Entry(notebook, kind, name)
    try:
        if entry in _read(path)[0]:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # Line feeds on both sides: half a line that a full disk has left behind stays alone.
        line = f"\n{json.dumps(entry._asdict(), ensure_ascii=False)}\n".encode()
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(handle, line) < len(line):
                raise OSError(28, "No space left on device")
        finally:
            os.close(handle)
    except OSError as error:
        _say(
            f"(Your progress is not kept: {path} cannot be used ({error.strerror}). "
            "Set COURSE_PROGRESS to a file of yours.)"
        )


def done() -> tuple[set[Entry], str]:
    """What has been done so far, and what is wrong with the file, in words (empty: nothing)."""
    path = file()
    if path is None:
        return set(), ""
    try:
        entries, broken = _read(path)
    except OSError as error:
        return set(), f"{path} cannot be read ({error.strerror}): nothing in it is lost."
    lines = f"{broken} line{'s' if broken > 1 else ''}"
    trouble = f"{lines} of {path} cannot be read: passed over, and left there." if broken else ""
    return entries, trouble


def _read(path: Path) -> tuple[set[Entry], int]:
    """The entries of a file, none if it is not there, and how many of its lines are broken."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return set(), 0
    entries, broken = set(), 0
    for line in filter(bytes.strip, lines):
        try:
            entry = Entry(**json.loads(line))
            if entry.kind not in KINDS or not all(isinstance(part, str) for part in entry):
                raise ValueError(entry)
            entries.add(entry)
        except (ValueError, TypeError):  # a later course may write more: that is left alone too
            broken += 1
    return entries, broken


def _say(line: str) -> None:
    if line not in _said:
        _said.add(line)
        print(line)


def _notebook() -> str | None:
    """The notebook that runs in this kernel, by the exercises that it calls its questions."""
    questions = getattr(sys.modules.get("__main__"), "questions", None)
    module = getattr(questions, "__name__", "").removeprefix("utils.exercises.")
    return next((chapter.name for chapter, known, _ in _lessons() if known == module), None)


@functools.cache
def _lessons() -> tuple[tuple[Any, str, str], ...]:
    """Each written chapter, in reading order: its exercises' module, its lesson's text."""
    from utils.lessons import course

    found = []
    for chapter in course.read().written:
        text = chapter.lesson.read_text(encoding="utf-8")
        module = re.search(r"^from utils\.exercises import (\w+) as questions", text, re.MULTILINE)
        if module:
            found.append((chapter, module[1], text))
    return tuple(found)


class Page(NamedTuple):
    """What there is to do in a notebook: names of exercises, keys of predictions."""

    name: str
    title: str
    exercises: frozenset[str]
    predictions: frozenset[str]


@functools.cache
def pages() -> tuple[Page, ...]:
    """The notebooks that are written, in reading order, from the text of their lessons."""
    return tuple(Page(c.name, c.title, *_to_do(text)) for c, _, text in _lessons())


def _to_do(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The exercises that a lesson checks, and the keys of the predictions it asks for."""
    exercises, predictions = set(), set()
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called = ast.unparse(node.func).split(".")
        if called[0] == "questions" and called[-1] == "check":
            exercises.add(called[1])
        elif called == ["exercises", "predict"]:
            key = next((k.value for k in node.keywords if k.arg == "key"), None)
            predictions.add(ast.unparse(key or node.args[2]) if key or node.args[2:] else "?")
    return frozenset(exercises), frozenset(predictions)


class Report:
    """A table of what is done: HTML in a notebook, text elsewhere."""

    def __init__(self) -> None:
        entries, trouble = done()
        self.rows = []
        for page in pages():
            mine = [entry for entry in entries if entry.notebook == page.name]
            right = sum(e.kind == "exercise" and e.name in page.exercises for e in mine)
            made = min(sum(e.kind == "prediction" for e in mine), len(page.predictions))
            row = [f"{page.name[:2]} {page.title}", _of(right, page.exercises)]
            row.append(_of(made, page.predictions))
            self.rows.append(row)
        self.notes = [note for note in (_where(bool(entries)), trouble) if note]

    def __repr__(self) -> str:
        lines = [_HEADS, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_HEADS))]
        text = ["  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([line.rstrip() for line in text] + self.notes)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="text-align: left">{w}</th>' for w in _HEADS)
        body = "".join(
            f'<tr><th scope="row" style="text-align: left; font-weight: normal">'
            f"{html.escape(row[0])}</th>"
            + "".join(f"<td>{word}</td>" for word in row[1:])
            + "</tr>"
            for row in self.rows
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        caption = "<caption>What you have done so far</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _of(count: int, there: frozenset[str]) -> str:
    return f"{count} of {len(there)}" if there else "–"


def _where(any_yet: bool) -> str:
    """One sentence: where this is kept, and for how long."""
    path = file()
    if path is None:
        return "" if runtime.headless() else "COURSE_PROGRESS is off: nothing is kept."
    if runtime.in_colab() or any(name in os.environ for name in _HOSTS):
        return (
            "This machine is lent, and forgets your progress with everything else: set "
            "COURSE_PROGRESS to a file on a disk of yours to keep it."
        )
    return f"Kept in {path}." if any_yet else f"It will be kept in {path}."
