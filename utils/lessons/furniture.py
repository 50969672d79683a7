"""What is generated and never kept by hand: header, set-up cell, navigation, chapter map.

The generated cells stand in the lesson as well as in its notebook, so that the two always
have the same cells. Everything follows from the ``course:`` block in the lesson's header, from
``course.toml`` and from where the files lie.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from utils import CourseError
from utils.lessons.course import Chapter, Course

KINDS = ("header", "setup", "navigation")
#: The badges' pictures, by the names that the chapter map gives them.
PICTURES = (
    ("colab-badge", "https://colab.research.google.com/assets/colab-badge.svg"),
    ("binder-badge", "https://mybinder.org/badge_logo.svg"),
)
MARKERS = ("<!-- chapter-map -->", "<!-- /chapter-map -->")
_BADGE = re.compile(r"\[!\[([^\]]*)\]\([^)]*\)\]\(([^)]*)\)")
_CELL = re.compile(r"^# %%.*$", re.MULTILINE)
_SLUG_IN_USE = re.compile(r"https://colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob/")

# How each kind of generated cell begins in a lesson: its type and its metadata.
_OPENINGS = {
    "header": '# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]',
    "setup": (
        '# %% cellView="form" jupyter={"source_hidden": true} slideshow={"slide_type": "skip"} '
        'tags=["setup"]'
    ),
    "navigation": '# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]',
}

_SETUP = '''\
# @title Set-up: find the course's own code (on Colab and Kaggle it is fetched first)
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/{slug}"


def find_course():
    """The folder of the course: this one, one above it or, on a hosted machine, a fresh clone."""
    clone = Path.cwd() / REPOSITORY.rsplit("/", 1)[-1]
    for folder in (Path.cwd(), *Path.cwd().parents, clone):
        if (folder / "utils" / "lessons" / "course.toml").is_file():
            return folder
    if "google.colab" not in sys.modules and "KAGGLE_KERNEL_RUN_TYPE" not in os.environ:
        raise FileNotFoundError(
            f"The course is not around this notebook: clone {{REPOSITORY}} and open it from there."
        )
    print(f"Fetching the course from {{REPOSITORY}}")
    command = ["git", "clone", "--quiet", "--depth", "1", "--branch", "{branch}", REPOSITORY]
    git = subprocess.run([*command, str(clone)], capture_output=True, text=True)
    if git.returncode != 0:
        raise ConnectionError(
            f"The course could not be fetched: see that the internet is switched on for this "
            f"notebook, then run this cell again. Git says: {{git.stderr.strip()}}"
        )
    return clone


course = find_course()
# Another package of the name "utils" must not stand in the way of the course's own.
loaded = getattr(sys.modules.get("utils"), "__file__", None)
if loaded is None or Path(loaded).resolve().parents[1] != course.resolve():
    for name in [name for name in sys.modules if name.split(".")[0] == "utils"]:
        del sys.modules[name]
if sys.path[0] != str(course):
    sys.path.insert(0, str(course))'''


@dataclasses.dataclass(frozen=True)
class About:
    """The ``course:`` block in a lesson's header: what the furniture says about the notebook."""

    title: str
    summary: str
    minutes_cpu: int
    minutes_gpu: int
    prerequisites: tuple[str, ...]
    objectives: tuple[str, ...]


def about(chapter: Chapter) -> About:
    """Read what a lesson's header says about it.

    Raises
    ------
    CourseError
        If the header is missing, is no YAML, or lacks or misspells a field.
    """
    return _about(chapter.lesson.read_text(encoding="utf-8"), chapter.source)


def _about(text: str, source: str) -> About:
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if i and line.rstrip() == "# ---"), 0)
    if not end or lines[0].rstrip() != "# ---":
        raise CourseError(f"{source} must begin with a header between two lines `# ---`.")
    try:
        header = yaml.safe_load("\n".join(line[2:] for line in lines[1:end]))
        block = header["jupyter"]["course"]
        minutes = block["minutes"]
        found = About(
            title=block["title"],
            summary=block["summary"],
            minutes_cpu=minutes["cpu"],
            minutes_gpu=minutes["gpu"],
            prerequisites=tuple(block["prerequisites"]),
            objectives=tuple(block["objectives"]),
        )
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise CourseError(f"{source}: its header is not valid YAML ({problem}).") from None
    except (KeyError, TypeError) as error:
        raise CourseError(
            f"{source}: its header needs jupyter: course: with title, summary, minutes (cpu and "
            f"gpu), prerequisites and objectives; {error} is missing or misplaced."
        ) from None
    texts = (found.title, found.summary, *found.prerequisites, *found.objectives)
    wrong = [value for value in texts if not isinstance(value, str) or not value.strip()]
    wrong += [value for value in (found.minutes_cpu, found.minutes_gpu) if type(value) is not int]
    if wrong or not found.objectives:
        what = (
            f"{wrong[0]!r} is neither text nor a whole number" if wrong else "objectives is empty"
        )
        raise CourseError(
            f"{source}: in its header's course: block {what} (quote text with colons)."
        )
    return found


def words_for_badges(text: str) -> str:
    """Markdown with badges, which are pictures from elsewhere, turned into links in words."""
    return _BADGE.sub(r"[\1](\2)", text).replace(")\n[Open in Binder]", ") · [Open in Binder]")


class Furniture:
    """Renders the generated cells of one course under one repository slug.

    Parameters
    ----------
    course
        The plan.
    present
        The chapters that links may lead to: those whose notebooks exist or are being built. One
        that has no lesson is left out.
    slug
        ``owner/name`` on GitHub, for badges and the set-up cell's clone.
    """

    def __init__(self, course: Course, present: tuple[Chapter, ...], slug: str):
        self.course, self.slug = course, slug
        self.present = tuple(
            chapter
            for chapter in course.chapters
            if chapter in present and chapter.lesson.is_file()
        )

    def colab(self, chapter: Chapter) -> str:
        """The address that opens the notebook in Colab."""
        tree = f"{self.slug}/blob/{self.course.branch}/{chapter.address}"
        return f"https://colab.research.google.com/github/{tree}"

    def binder(self, chapter: Chapter) -> str:
        """The address that opens the notebook on Binder, in JupyterLab."""
        where = f"{self.slug}/{self.course.branch}?urlpath=lab/tree/{chapter.address}"
        return f"https://mybinder.org/v2/gh/{where}"

    def badges(self, chapter: Chapter) -> tuple[str, str]:
        """The two badges, Colab and Binder, as Markdown."""
        (_, colab), (_, binder) = PICTURES
        return (
            f"[![Open in Colab]({colab})]({self.colab(chapter)})",
            f"[![Open in Binder]({binder})]({self.binder(chapter)})",
        )

    def cells(self, chapter: Chapter, lesson: str) -> dict[str, str]:
        """The sources of the three generated cells for the lesson with the text `lesson`."""
        return {
            "header": self._header(chapter, _about(lesson, chapter.source)),
            "setup": _SETUP.format(slug=self.slug, branch=self.course.branch),
            "navigation": self._navigation(chapter),
        }

    def refresh(self, chapter: Chapter, lesson: str) -> str:
        """Return the lesson's text with its generated cells as they should be.

        Cells that are there are replaced where they stand; missing ones are put in their place:
        the header first, the set-up cell after it, the navigation last. Nothing else is touched.
        """
        cells = self.cells(chapter, lesson)
        starts = [match.start() for match in _CELL.finditer(lesson)]
        front = lesson[: starts[0]] if starts else lesson.rstrip("\n") + "\n\n"
        chunks = [lesson[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]
        kinds = [_kind(chunk) for chunk in chunks]
        for kind in KINDS:
            if kinds.count(kind) > 1:
                raise CourseError(
                    f"{chapter.source} has {kinds.count(kind)} {kind} cells: keep one."
                )
            if kind not in kinds:
                place = {"header": 0, "setup": 1, "navigation": len(chunks)}[kind]
                if chunks:
                    chunks[place - 1] = chunks[place - 1].rstrip("\n") + "\n\n"
                chunks.insert(place, "")
                kinds.insert(place, kind)
            chunks[kinds.index(kind)] = _as_text(kind, cells[kind])
        return front + "".join(chunks).rstrip("\n") + "\n"

    def refresh_notebook(self, chapter: Chapter, notebook: Mapping) -> bool:
        """Renew the generated cells of an opened notebook in place; say whether any changed."""
        cells = self.cells(chapter, chapter.lesson.read_text(encoding="utf-8"))
        changed = False
        for cell in notebook["cells"]:
            for kind in set(cell["metadata"].get("tags", [])) & set(KINDS):
                changed |= cell["source"] != cells[kind]
                cell["source"] = cells[kind]
        return changed

    def chapter_map(self) -> str:
        """The table of all chapters that the README holds between its two markers."""
        rows = [
            '<a id="chapter-map"></a>',
            "",
            "| Part | Notebook | On a CPU | On a GPU | Open it |",
            "|---|---|---|---|---|",
        ]
        part = None
        for chapter in self.course.chapters:
            first = f"**{chapter.part}**" if chapter.part != part else ""
            part = chapter.part
            number = chapter.name.split("_")[0]
            if chapter not in self.present:
                rows.append(f"| {first} | {number} {chapter.title} | planned | | |")
                continue
            said = about(chapter)
            link = f"[{number} {said.title}]({chapter.address}): {_in_a_cell(said.summary)}"
            link += self._folded(said)
            times = f"{said.minutes_cpu} min | {said.minutes_gpu} min"
            badges = " ".join(
                badge.replace(f"]({picture})", f"][{name}]")
                for badge, (name, picture) in zip(self.badges(chapter), PICTURES, strict=True)
            )
            rows.append(f"| {first} | {link} | {times} | {badges} |")
        rows += ["", *(f"[{name}]: {picture}" for name, picture in PICTURES)]
        return "\n".join([MARKERS[0], *rows, MARKERS[1]])

    def _folded(self, said: About) -> str:
        """What a chapter needs and what it teaches, to be opened in its cell of the map."""
        titles = {other.name: about(other).title for other in self.present}
        needs = "; ".join(titles.get(need, need) for need in said.prerequisites)
        needs = needs or "nothing; this is where the course begins"
        words = "<br>".join(f"• {objective}" for objective in said.objectives)
        return (
            "<details><summary>Before you start, and what you will be able to do</summary>"
            f"<b>Before you start:</b> {_in_a_cell(needs)}.<br>"
            f"<b>You will be able to</b><br>{_in_a_cell(words)}</details>"
        )

    def refresh_readme(self, text: str) -> str:
        """Return the README's text with the chapter map as it should be.

        Raises
        ------
        CourseError
            If the two markers are not there, once each and in order.
        """
        start, end = (text.find(marker) for marker in MARKERS)
        if not 0 <= start < end or any(text.count(marker) != 1 for marker in MARKERS):
            raise CourseError(
                f"README.md needs the line {MARKERS[0]} and, after it, the line {MARKERS[1]}, once "
                "each: the chapter map goes between them."
            )
        return text[:start] + self.chapter_map() + text[end + len(MARKERS[1]) :]

    def _header(self, chapter: Chapter, said: About) -> str:
        needs = "; ".join(self._prerequisite(chapter, need) for need in said.prerequisites)
        lines = [
            f"# {said.title}",
            "",
            *self.badges(chapter),
            "",
            said.summary,
            "",
            f"**Time:** about {said.minutes_cpu} minutes on a CPU, {said.minutes_gpu} on a GPU.",
            "",
            f"**Before you start:** {needs or 'nothing; this is where the course begins'}.",
            "",
            "**What you will be able to do:**",
            "",
            *(f"- {objective}" for objective in said.objectives),
        ]
        return "\n".join(lines)

    def _prerequisite(self, chapter: Chapter, need: str) -> str:
        """A chapter's name becomes a link to it; everything else is text."""
        for other in self.course.chapters:
            if other.name == need:
                if other not in self.present:
                    return f"{other.title} (planned)"
                return f"[{about(other).title}]({_relative(chapter, other.notebook)})"
        return need

    def _navigation(self, chapter: Chapter) -> str:
        order = self.course.chapters
        here = order.index(chapter)
        before = [other for other in order[:here] if other in self.present]
        after = [other for other in order[here + 1 :] if other in self.present]
        lines = [f"- **Next:** {self._link(chapter, other)}" for other in after[:1]]
        lines += [f"- **Previous:** {self._link(chapter, other)}" for other in before[-1:]]
        readme = _relative(chapter, self.course.root / "README.md")
        github = f"https://github.com/{self.slug}#chapter-map"
        nearby = f"[the chapter map]({readme}#chapter-map)"
        lines.append(f"- **All chapters:** {nearby} ([on GitHub]({github}))")
        return "\n".join(lines)

    def _link(self, chapter: Chapter, other: Chapter) -> str:
        # A relative link leads nowhere in Colab, which shows one notebook without its folder.
        near = f"[{about(other).title}]({_relative(chapter, other.notebook)})"
        return f"{near} ([in Colab]({self.colab(other)}))"


def _in_a_cell(text: str) -> str:
    """Text for a cell of a table, where a bar would begin the next one."""
    return text.replace("|", "\\|")


def slug_in(text: str) -> str | None:
    """The repository that the badges in `text` name, or None if there are none."""
    match = _SLUG_IN_USE.search(text)
    return match.group(1) if match else None


def _relative(chapter: Chapter, target: Path) -> str:
    return Path(os.path.relpath(target, chapter.notebook.parent)).as_posix()


def _kind(chunk: str) -> str | None:
    tags = re.search(r"tags=\[([^\]]*)\]", chunk.split("\n", 1)[0])
    found = set(re.findall(r'"([\w-]+)"', tags.group(1))) & set(KINDS) if tags else set()
    return found.pop() if found else None


def _as_text(kind: str, source: str) -> str:
    if kind == "setup":
        return f"{_OPENINGS[kind]}\n{source}\n\n"
    commented = "\n".join(f"# {line}".rstrip() for line in source.split("\n"))
    return f"{_OPENINGS[kind]}\n{commented}\n\n"
