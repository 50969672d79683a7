"""``python -m utils.lessons``: build the notebooks, check them, write slides."""

import argparse
import sys

from utils import CourseError
from utils.lessons import course as plan


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 1 where something is to be done."""
    parser = argparse.ArgumentParser(prog="python -m utils.lessons", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make the notebooks in chapters/ from lessons/")
    build.add_argument("names", nargs="*", metavar="NAME", help="such as 02_vae; default: all")
    build.add_argument(
        "--no-execute", action="store_true", help="keep the outputs of cells that did not change"
    )
    commands.add_parser("check", help="say what differs between lessons and notebooks")
    slides = commands.add_parser("slides", help="write the notebooks as slides")
    slides.add_argument("names", nargs="*", metavar="NAME", help="such as 02_vae; default: all")
    chosen = parser.parse_args(arguments)
    course = plan.read()
    try:
        return {"build": _build, "check": _check, "slides": _slides}[chosen.command](course, chosen)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


def _build(course: plan.Course, chosen: argparse.Namespace) -> int:
    from utils.lessons import build

    names = chosen.names or [chapter.name for chapter in course.written]
    print(f"Building {', '.join(names) or 'nothing: there are no lessons yet'}.", flush=True)
    build.build(course, chosen.names, run=not chosen.no_execute, say=_say)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _check(course: plan.Course, chosen: argparse.Namespace) -> int:
    from utils.lessons import build

    problems = build.check(course)
    for problem in problems:
        print(problem)
    if problems:
        print("`make notebooks` builds the notebooks from their lessons.")
        return 1
    print(f"{len(course.built)} notebooks agree with their lessons.")
    return 0


def _slides(course: plan.Course, chosen: argparse.Namespace) -> int:
    from utils.lessons.slides import slides

    written = slides(course, chosen.names)
    folder = written[0].parent.relative_to(course.root).as_posix()
    names = ", ".join(path.name for path in written)
    print(
        f"Wrote {names} to {folder}/ (with a network a browser shows slides, else one long page)."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
