"""The plan of the course: which notebooks there are, in which order, and where they live."""

import dataclasses
import functools
import re
import subprocess
import tomllib
from pathlib import Path

from utils import CourseError

ROOT = Path(__file__).resolve().parents[2]
_SLUG = r"[\w.-]+/[\w.-]+?"
_GITHUB = re.compile(
    rf"(?:https?://|ssh://|git://)?(?:[^@/\s]+@)?github\.com[:/]({_SLUG})(?:\.git)?/?"
)


@dataclasses.dataclass(frozen=True)
class Chapter:
    """One notebook of the plan and the lesson that it is built from; neither need exist yet."""

    name: str
    title: str
    folder: str
    part: str
    algorithm: bool
    root: Path

    @property
    def notebook(self) -> Path:
        """Where the notebook is, or will be."""
        return self.root / "chapters" / self.folder / f"{self.name}.ipynb"

    @property
    def lesson(self) -> Path:
        """Where the lesson is, or will be."""
        return self.root / "lessons" / self.folder / f"{self.name}.py"

    @property
    def address(self) -> str:
        """The notebook's path inside the repository, as links and messages write it."""
        return self.notebook.relative_to(self.root).as_posix()

    @property
    def source(self) -> str:
        """The lesson's path inside the repository."""
        return self.lesson.relative_to(self.root).as_posix()


@dataclasses.dataclass(frozen=True)
class Course:
    """What ``course.toml`` says, rooted in one clone of the repository."""

    root: Path
    repository: str
    branch: str
    anatomy: tuple[str, ...]
    chapters: tuple[Chapter, ...]

    def chapter(self, name: str) -> Chapter:
        """The chapter called `name`.

        Raises
        ------
        CourseError
            If the plan has none of that name.
        """
        for chapter in self.chapters:
            if chapter.name == name:
                return chapter
        names = ", ".join(chapter.name for chapter in self.chapters)
        raise CourseError(
            f"{name!r} is not in the plan (utils/lessons/course.toml): choose one of {names}."
        )

    @property
    def built(self) -> tuple[Chapter, ...]:
        """The chapters whose notebooks exist, in reading order."""
        return tuple(chapter for chapter in self.chapters if chapter.notebook.is_file())

    @property
    def written(self) -> tuple[Chapter, ...]:
        """The chapters whose lessons exist, in reading order."""
        return tuple(chapter for chapter in self.chapters if chapter.lesson.is_file())

    def strays(self) -> list[Path]:
        """Lessons and notebooks that stand in the folders but not in the plan."""
        known = {chapter.lesson for chapter in self.chapters}
        known |= {chapter.notebook for chapter in self.chapters}
        found = [
            path
            for pattern in ("lessons/**/*.py", "chapters/**/*.ipynb")
            for path in self.root.glob(pattern)
            if not any(part.startswith(".") for part in path.relative_to(self.root).parts)
        ]
        return sorted(path for path in found if path not in known)

    @functools.cached_property
    def slug(self) -> str:
        """``owner/name`` on GitHub: from git's ``origin``, else from ``course.toml``."""
        return _origin(self.root) or self.repository


def read(root: Path | str = ROOT) -> Course:
    """Read the plan of the course that lives in `root`.

    Parameters
    ----------
    root
        The folder that holds ``utils``, ``lessons`` and ``chapters``.

    Returns
    -------
    Course
        The plan, its chapters in reading order.

    Raises
    ------
    CourseError
        If `root` holds no ``utils/lessons/course.toml``, or names a notebook twice.
    """
    root = Path(root).resolve()
    path = root / "utils" / "lessons" / "course.toml"
    if not path.is_file():
        raise CourseError(f"There is no course in {root}: {path.relative_to(root)} is missing.")
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    chapters = tuple(
        Chapter(
            name=notebook["name"],
            title=notebook["title"],
            folder=part["folder"],
            part=part["title"],
            algorithm=part["algorithms"],
            root=root,
        )
        for part in plan["part"]
        for notebook in part["notebooks"]
    )
    names = [chapter.name for chapter in chapters]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CourseError(
            f"utils/lessons/course.toml names {', '.join(twice)} twice: once is enough."
        )
    return Course(
        root=root,
        repository=plan["repository"],
        branch=plan["branch"],
        anatomy=tuple(plan["anatomy"]),
        chapters=chapters,
    )


def github_slug(address: str) -> str | None:
    """``owner/name`` from a GitHub remote's address in any of git's spellings, else None."""
    match = _GITHUB.fullmatch(address.strip())
    return match.group(1) if match else None


def _origin(root: Path) -> str | None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return answer.stdout.strip() if answer.returncode == 0 else ""

    # A copy of the course inside somebody else's repository must not take that one's name.
    top = git("rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != root:
        return None
    return github_slug(git("remote", "get-url", "origin"))
