"""Measured results: one JSON file per notebook, and the tables made from them.

``python -m utils.results train NAME`` trains a notebook's checkpoint on the paper's schedule and
goes on where it was cut; ``measure NAME`` measures the checkpoint in each framework and writes
``results/NAME.json``; ``table`` refreshes the tables: each recipe's `HEADLINES` in the README,
every number in ``results/README.md``. Nothing else writes there: no number is typed.
"""

import argparse
import dataclasses
import importlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils import CourseError, files, runtime

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "results"
MARKS = ("<!-- results -->", "<!-- /results -->")
_FULL = """\
# Results

Every number that was measured, written by `make results` from the records beside this file, which
also say with which versions, on which device, in what time and memory. The notes on ± and on the
models stand below the table.
"""


@dataclasses.dataclass(frozen=True)
class Record:
    """One measured number and the circumstances under which it was measured.

    ``low`` and ``high`` span the uncertainty that ``spread`` names; ``seconds`` and
    ``peak_memory_mb`` are those of the measurement; ``trained`` says how the model came about.
    """

    notebook: str
    framework: str
    metric: str
    value: float
    low: float
    high: float
    spread: str
    seeds: list[int]
    reference: str
    better: str
    profile: str
    trained: str
    data: str
    device: str
    seconds: float
    peak_memory_mb: float
    versions: dict[str, str]
    commit: str

    def __post_init__(self) -> None:
        runtime.choose("The framework", self.framework, runtime.FRAMEWORKS)
        runtime.choose("“better”", self.better, ("higher", "lower"))
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise CourseError(
                f"{self.metric} measured {self.value}: a diverged run is not a result."
            )
        if not self.low <= self.value <= self.high:
            raise CourseError(
                f"{self.metric}: {self.value} is not between {self.low} and {self.high}."
            )


def processor() -> str:
    """The device of a measurement in words, such as ``CPU AMD EPYC, 1 thread``."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    count = runtime.threads()
    return f"CPU {name}, {count} thread{'s' if count > 1 else ''}"


def commit() -> str:
    """The commit that is checked out, with a + if code or checkpoints differ from it."""

    def git(*arguments: str) -> subprocess.CompletedProcess:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    try:
        head = git("rev-parse", "--short=10", "HEAD")
        same = git("diff", "--quiet", "HEAD", "--", "utils", "chapters", "checkpoints")
    except OSError:
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+" if same.returncode else "")


def read(notebook: str, folder: Path = FOLDER) -> list[Record]:
    """The records of a notebook, oldest first; an empty list if none were measured yet.

    Raises
    ------
    CourseError
        If the file is damaged.
    """
    path = folder / f"{notebook}.json"
    if not path.exists():
        return []
    try:
        return [Record(**item) for item in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise CourseError(
            f"{path.name} is damaged ({error}): restore it with `git checkout results/{path.name}`."
        ) from error


def write(notebook: str, records: list[Record], folder: Path = FOLDER) -> Path:
    """Replace the records of the frameworks and profiles measured now; keep the others."""
    fresh = {(r.framework, r.profile) for r in records}
    kept = [r for r in read(notebook, folder) if (r.framework, r.profile) not in fresh]
    ordered = sorted(
        kept + records, key=lambda r: (runtime.FRAMEWORKS.index(r.framework), r.profile)
    )
    path = folder / f"{notebook}.json"
    text = json.dumps([dataclasses.asdict(r) for r in ordered], indent=1, ensure_ascii=False)
    files.save_all({path: text + "\n"})
    return path


def rows(records: list[Record]) -> list[list[str]]:
    """One row for each metric: metric, a cell for each framework, reference, data."""
    lines: dict[str, list[str]] = {}
    for record in records:
        key = f"{record.metric} ({record.profile})"
        row = lines.setdefault(key, [key, "–", "–", "–", record.reference, record.data])
        row[1 + runtime.FRAMEWORKS.index(record.framework)] = _cell(record)
    return list(lines.values())


def _cell(record: Record) -> str:
    """A value and its uncertainty, which is given to two digits."""
    half = (record.high - record.low) / 2
    if not half:
        return f"{record.value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{record.value:.{digits}f} ± {half:.{digits}f}"


_NONE = ("–", "exact")  # the spread of a number that has none


def markdown(
    notebook: str | None = None,
    folder: Path = FOLDER,
    headlines: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """One notebook's results as a Markdown table, or every notebook's, with notes below.

    Parameters
    ----------
    notebook
        Which one; None: all of them.
    folder
        Where the records lie.
    headlines
        For each notebook the metrics to show, all of them where it has no entry; the notes are
        left out. None: every metric.

    Raises
    ------
    CourseError
        If a headline was never measured.
    """
    names = [notebook] if notebook else sorted(path.stem for path in folder.glob("*.json"))
    head = ["metric", *(runtime.LABELS[n] for n in runtime.FRAMEWORKS), "reference", "data"]
    head = head if notebook else ["notebook", *head]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    notes = []
    for name in names:
        records = read(name, folder)
        if not records:
            return f"Nothing measured yet: `make results NAME={name}` measures."
        if headlines is not None:
            records = _chosen(name, records, headlines.get(name))
        start = [] if notebook else [name]
        lines += ["| " + " | ".join([*start, *row]) + " |" for row in rows(records)]
        first = records[0]
        models = list(dict.fromkeys(record.trained for record in records))
        word = "model" if len(models) == 1 else "models"
        spread = next((r.spread for r in records if r.spread not in _NONE), "not given")
        note = f"± is {spread}; {word}: {'; '.join(models)}; {first.device}."
        notes.append(note if notebook else f"{name}: {note}")
    return "\n".join(lines if headlines is not None else [*lines, "", *notes])


def _chosen(name: str, records: list[Record], metrics: Sequence[str] | None) -> list[Record]:
    if metrics is None:
        return records
    missing = set(metrics) - {record.metric for record in records}
    if missing:
        raise CourseError(
            f"{name} has no result {sorted(missing)[0]!r}, which its recipe calls a headline: "
            f"measure it (`make results NAME={name}`), or mend HEADLINES."
        )
    return [record for record in records if record.metric in metrics]


def show(notebook: str) -> None:
    """Display a notebook's results as a table in its cell."""
    from IPython.display import Markdown, display

    display(Markdown(markdown(notebook)))


def headlines() -> dict[str, Sequence[str]]:
    """For each notebook the metrics that the README shows."""
    return {notebook: module.HEADLINES for notebook, module in recipes().items()}


def refresh(readme: Path = ROOT / "README.md", folder: Path = FOLDER) -> None:
    """Write the headlines into the README, and everything into ``results/README.md``."""
    refresh_readme(readme, folder, headlines())
    files.save_all({folder / "README.md": full_table(folder)})


def full_table(folder: Path = FOLDER) -> str:
    """The text of ``results/README.md``: every number that was measured, and how."""
    return f"{_FULL}\n{markdown(folder=folder)}\n"


def refresh_readme(
    readme: Path = ROOT / "README.md",
    folder: Path = FOLDER,
    shown: Mapping[str, Sequence[str]] | None = None,
) -> bool:
    """Put the table between the README's markers; says whether anything changed."""
    text = readme.read_text(encoding="utf-8")
    start, end = MARKS
    if start not in text or end not in text:
        raise CourseError(f"{readme.name} has lost its markers {start} … {end}: put them back.")
    before, rest = text.split(start, 1)
    fresh = (
        f"{before}{start}\n{markdown(folder=folder, headlines=shown)}\n{end}{rest.split(end, 1)[1]}"
    )
    if fresh != text:
        files.save_all({readme: fresh})
    return fresh != text


def recipes() -> dict[str, Any]:
    """For each notebook the module that says how its checkpoint is trained and measured."""
    paths = sorted((Path(__file__).parent / "recipes").glob("[!_]*.py"))
    modules = [importlib.import_module(f"utils.recipes.{path.stem}") for path in paths]
    return {module.NOTEBOOK: module for module in modules}


def recipe(notebook: str) -> Any:
    """The recipe of one notebook.

    Raises
    ------
    CourseError
        If it has none.
    """
    known = recipes()
    return known[runtime.choose("The notebook", notebook, tuple(known))]


def measure(notebook: str, framework: str, images: int | None = None) -> list[Record]:
    """Load the notebook's checkpoint into `framework` and measure it in this process."""
    module = recipe(notebook)
    runtime.begin("full", [framework])
    started = time.perf_counter()
    found = module.measure(framework, images)
    common = {
        "notebook": notebook,
        "framework": framework,
        "device": processor(),
        "seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mb": round(runtime.peak_memory_mb()),
        "versions": runtime.versions(),
        "commit": commit(),
    }
    return [Record(**{**common, **item}) for item in found]  # a recipe may know the device better


def _measure_all(name: str, images: int | None) -> None:
    """Measure in a process for each framework: honest memory, and no interference."""
    recipe(name)
    extra = [] if images is None else ["--images", str(images)]
    for framework in runtime.FRAMEWORKS:
        again = [sys.executable, "-m", "utils.results", "measure", name]
        subprocess.run([*again, "--framework", framework, *extra], check=True)
    print(markdown(name))


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 1 with a sentence that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m utils.results", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train checkpoints on the papers' schedules")
    measuring = commands.add_parser("measure", help="measure checkpoints in each framework")
    for command in (training, measuring):
        command.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    measuring.add_argument("--framework", help="only this one, in this process")
    measuring.add_argument("--images", type=int, help="only the first so many test images")
    commands.add_parser("table", help="refresh the tables in the READMEs")
    asked = parser.parse_args(arguments)
    try:
        for name in getattr(asked, "names", None) or recipes():
            if asked.command == "train":
                recipe(name).train()
            elif asked.command == "measure" and asked.framework:
                write(name, measure(name, asked.framework, asked.images))
            elif asked.command == "measure":
                _measure_all(name, asked.images)
        if asked.command != "train":
            refresh()
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode  # it has said what was wrong
    return 0


if __name__ == "__main__":
    sys.exit(main())
