"""The start of a new lesson: complete in its twelve parts, and it runs."""

from pathlib import Path

from utils import CourseError
from utils.lessons.course import Course

_HERE = Path(__file__).parent


def plant(course: Course, name: str) -> list[Path]:
    """Write the skeleton of a planned lesson, and of its exercises; return both paths.

    Parameters
    ----------
    course
        The course that plans it.
    name
        As ``course.toml`` has it, such as ``"10_alexnet"``.

    Raises
    ------
    CourseError
        If the plan has no such notebook, or one of the files is already there.
    """
    chapter = course.chapter(name)
    module = name.partition("_")[2]
    targets = {
        chapter.lesson: "skeleton.txt",
        course.root / "utils" / "exercises" / f"{module}.py": "skeleton_exercises.txt",
    }
    for path in targets:
        if path.exists():
            raise CourseError(
                f"{path.relative_to(course.root)} is already there: edit it, or remove it first."
            )
    for path, source in targets.items():
        text = (_HERE / source).read_text(encoding="utf-8")
        for mark, word in (("TITLE", chapter.title), ("NAME", name), ("MODULE", module)):
            text = text.replace(f"@{mark}@", word)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(targets)
