"""``make binder``: every notebook as Binder would run it, with one core and 2 GB of memory.

Each runs behind ``binder/start``, beside a JupyterLab server as there, in a control group that the
kernel holds to the limit (see `utils.confined`). What it took is written to
``results/binder/runs.json``, failures included, and as a table beside it.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from utils import CourseError, confined, files, results, runtime
from utils.lessons import course as plan
from utils.lessons import execute

PATH = results.FOLDER / "binder" / "runs.json"
LIMIT = 2 * 1024**3  # bytes: what mybinder.org gives a session
_TABLE = """\
# Every notebook with one core and 2 GB

Written by `make binder` from `runs.json` beside it: the quick profile with all three frameworks,
behind `binder/start`, beside an idle JupyterLab server that shares the limit of {limit:,} MB.
*Seconds* are from the start of the kernel to its last cell; *computed* is what all processes of the
session took of the core, JupyterLab's start with them: where it is much less than *seconds*, others
used the core meanwhile. *Peak* is the most memory that they held at a time; *data* is where MNIST
came from. {enforced}

| notebook | outcome | seconds | computed, s | peak, MB | data |
|---|---|---|---|---|---|
"""


def run(chapter: plan.Chapter, limit: int = LIMIT) -> dict[str, Any]:
    """Run one notebook within Binder's limits; the notebook on disk stays as it is.

    Returns
    -------
    dict
        What is written down of it: ``passed``, the ``error`` in words or None, ``seconds`` from
        the start of its kernel to its last cell, ``cpu_seconds`` and ``peak_mb`` of all processes
        together.
    """
    with tempfile.TemporaryDirectory(prefix="course-binder-") as folder:
        report = Path(folder, "report.json")
        start = [str(plan.ROOT / "binder" / "start"), sys.executable, "-m", "utils.binder_run"]
        command = ["bash", *start, chapter.name, "--inside", str(report)]
        outcome = confined.run(command, limit)
        said = json.loads(report.read_text()) if report.is_file() else {}
    error = said.get("error", f"it ended with exit code {outcome.code}")
    if outcome.killed:
        error = f"it needs more than {limit / confined.MB:,.0f} MB: {error}"
    return {
        "notebook": chapter.name,
        "passed": error is None,
        "error": None if error is None else error[:2000],
        "seconds": said.get("seconds", round(outcome.seconds, 1)),
        "cpu_seconds": round(outcome.cpu_seconds, 1),
        "peak_mb": round(outcome.peak_mb),
        "limit_mb": round(limit / confined.MB),
        "enforced": outcome.enforced,
        "data": said.get("data", "–"),
        "device": said.get("device", "–"),
        "versions": runtime.versions(),
        "commit": results.commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def inside(chapter: plan.Chapter) -> dict[str, Any]:
    """Within the limits: start a JupyterLab as Binder does, run the notebook beside it."""
    from utils import data  # here: the process outside needs no data

    with tempfile.TemporaryDirectory(prefix="course-binder-lab-") as folder:
        log = Path(folder, "log")
        with log.open("w") as words:
            lab = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"],
                cwd=plan.ROOT,
                stdout=words,
                stderr=subprocess.STDOUT,
            )
        try:
            _until_it_serves(lab, log)
            notebook = execute.prepare(nbformat.read(chapter.notebook, as_version=4))
            started, error = time.perf_counter(), None
            try:
                execute.execute(notebook, chapter.notebook.parent, chapter.name)
            except CourseError as failure:
                error = str(failure)
            seconds = round(time.perf_counter() - started, 1)
        finally:
            lab.terminate()
            lab.wait()
    source = data.mnist().source
    return {"error": error, "seconds": seconds, "data": source, "device": results.processor()}


def _until_it_serves(lab: subprocess.Popen, log: Path, seconds: float = 120) -> None:
    started = time.perf_counter()
    while "is running at" not in log.read_text():
        if lab.poll() is not None or time.perf_counter() - started > seconds:
            raise CourseError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def write(record: dict[str, Any], path: Path = PATH) -> None:
    """Put a record in the place of the same notebook's last one, and write the table afresh."""
    kept = {one["notebook"]: one for one in read(path)} | {record["notebook"]: record}
    records = [kept[name] for name in sorted(kept)]
    text = json.dumps(records, indent=1, ensure_ascii=False) + "\n"
    files.save_all({path: text, path.with_name("README.md"): table(records)})


def read(path: Path = PATH) -> list[dict[str, Any]]:
    """What was written down so far; an empty list if nothing was.

    Raises
    ------
    CourseError
        If the file is damaged.
    """
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise CourseError(f"{path.name} is damaged ({error}): get it back from git.") from error


def table(records: Sequence[dict[str, Any]]) -> str:
    """The records as a page."""
    watched = sorted(record["notebook"] for record in records if not record["enforced"])
    how = "The kernel saw to the limit for all of them."
    if watched:
        how = f"Without a control group, looked at every tenth of a second: {', '.join(watched)}."
    rows = []
    for one in records:
        end = "ran to its end" if one["passed"] else "**failed**: " + one["error"].splitlines()[0]
        end = end.replace("|", "\\|")
        cells = [one["notebook"], end, f"{one['seconds']:.0f}", f"{one['cpu_seconds']:.0f}"]
        rows.append("| " + " | ".join([*cells, f"{one['peak_mb']:,}", one["data"]]) + " |")
    notes = sorted({f"{one['device']}, {one['date']}" for one in records})
    missing = sorted({one.name for one in plan.read().built} - {one["notebook"] for one in records})
    if missing:
        rows.append(f"\nNot run within these limits yet: {', '.join(missing)}.")
    limit = max((one["limit_mb"] for one in records), default=round(LIMIT / confined.MB))
    text = _TABLE.format(limit=limit, enforced=how)
    return text + "\n".join([*rows, "", "Measured on: " + "; ".join(notes) + ".", ""])


def main(arguments: Sequence[str] | None = None, path: Path = PATH) -> int:
    """Run what was asked for; 0 if all of it passed, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m utils.binder_run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 02_vae; default: all")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    course = plan.read()
    try:
        chosen = [course.chapter(name) for name in asked.names] or list(course.built)
        if asked.inside:
            asked.inside.write_text(json.dumps(inside(chosen[0])))
            return 0
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    failed = 0
    for chapter in chosen:
        record = run(chapter)
        write(record, path)  # at once: a later crash takes nothing with it
        failed += not record["passed"]
        print(line(record), flush=True)
    print(f"{failed} of them failed." if failed else "All of them passed.")
    return 1 if failed else 0


def line(record: dict[str, Any]) -> str:
    """A record in a line."""
    start = f"  {record['notebook']:<18}{record['seconds']:7.1f} s, {record['peak_mb']:,} MB"
    return start if record["passed"] else f"{start}  FAILED: {record['error'].splitlines()[0]}"


if __name__ == "__main__":
    sys.exit(main())
