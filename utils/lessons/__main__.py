"""``python -m utils.lessons``: begin a lesson, build the notebooks, check them, show them."""

import argparse
import sys

from utils import CourseError
from utils.lessons import course as plan


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 1 where something is to be done."""
    parser = argparse.ArgumentParser(prog="python -m utils.lessons", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="begin a lesson: a skeleton that runs as it is")
    new.add_argument("name", metavar="NAME", help="as utils/lessons/course.toml has it")
    build = commands.add_parser("build", help="make the notebooks in chapters/ from lessons/")
    build.add_argument("names", nargs="*", metavar="NAME", help="such as 02_vae; default: all")
    build.add_argument(
        "--no-execute", action="store_true", help="keep the outputs of cells that did not change"
    )
    commands.add_parser("check", help="say what differs between lessons and notebooks")
    slides = commands.add_parser("slides", help="write the notebooks as slides")
    slides.add_argument("names", nargs="*", metavar="NAME", help="such as 02_vae; default: all")
    slides.add_argument("--tools", default=".venv-site", help="the environment that has reveal.js")
    site = commands.add_parser("site", help="write the sources of the website, for Sphinx")
    site.add_argument("folder", nargs="?", default="build/site-source", help="where to")
    chosen = parser.parse_args(arguments)
    course = plan.read()
    try:
        actions = {
            "new": _new,
            "build": _build,
            "check": _check,
            "slides": _slides,
            "site": _site,
        }
        return actions[chosen.command](course, chosen)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


def _new(course: plan.Course, chosen: argparse.Namespace) -> int:
    from utils.lessons.skeleton import plant

    written = [path.relative_to(course.root).as_posix() for path in plant(course, chosen.name)]
    print(f"Wrote {' and '.join(written)}: a lesson that runs as it is. Make it yours, then")
    print(f"`make notebooks NAME={chosen.name}` builds the notebook, and `make test` checks it.")
    return 0


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

    written = slides(course, course.root / chosen.tools, chosen.names)
    folder = written[0].parent.relative_to(course.root).as_posix()
    print(f"Wrote {', '.join(path.name for path in written)} to {folder}/: open them in a browser.")
    return 0


def _site(course: plan.Course, chosen: argparse.Namespace) -> int:
    from utils.lessons import site

    written = site.write(course, course.root / chosen.folder)
    print(f"Wrote {len(written)} pages to {chosen.folder}/.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
