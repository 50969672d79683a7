"""``make gpu``: the PyTorch and Keras sections of the course's notebooks on a machine with a GPU.

It needs PyTorch 2.11 or later that sees an NVIDIA GPU, and no TensorFlow: Keras runs on PyTorch.
Each section runs in a kernel of its own; what happened is written to ``results/gpu/runs.json``,
failures included, and the tables of results are left alone. ``gpu_memory_mb`` says whether a
section used the GPU at all: 0 is one that computes on the CPU wherever it runs.
"""

import argparse
import dataclasses
import datetime
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from utils import CourseError, files, results, runtime
from utils.lessons import course as plan
from utils.lessons import execute

PATH = results.FOLDER / "gpu" / "runs.json"
OLDEST = (2, 11)  # of PyTorch
SECTIONS = {
    "torch": {"FRAMEWORKS": ["torch"]},
    "keras": {"FRAMEWORKS": ["keras"], "KERAS_BACKEND": "torch"},
}
# Asked in a process of its own: whoever imports PyTorch here would hold some of the GPU's memory.
_LOOK = """
import json, torch
seen = torch.cuda.is_available()
properties = torch.cuda.get_device_properties(0) if seen else None
print(json.dumps({
    "torch": torch.__version__,
    "cuda": torch.version.cuda,
    "gpu": properties.name if seen else None,
    "memory_mb": round(properties.total_memory / 1e6) if seen else 0,
}))
"""
# Appended to each notebook: what its kernel took.
_PROBE = """
import json as _json
import sys as _sys

from utils import runtime as _runtime

_cuda = _sys.modules["torch"].cuda
print(_json.dumps({
    "peak_memory_mb": round(_runtime.peak_memory_mb()),
    "gpu_memory_mb": round(_cuda.max_memory_allocated() / 1e6) if _cuda.is_available() else 0,
}))
"""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What PyTorch sees; ``torch`` is None where it cannot be imported."""

    torch: str | None = None
    cuda: str | None = None
    gpu: str | None = None
    memory_mb: int = 0

    def objection(self) -> str | None:
        """Why nothing can be run on this machine, in a sentence; None if it can."""
        if self.torch is None:
            return "PyTorch cannot be imported here: run `make lab` once, or install it."
        if self.cuda is None:
            return (
                f"PyTorch {self.torch} is a build without CUDA, so it sees no GPU: where there is "
                "one, `make clean ALL=1` and `make lab` install the other build."
            )
        if self.gpu is None:
            return (
                f"PyTorch {self.torch} sees no GPU on this machine (`nvidia-smi` should list one, "
                "and CUDA_VISIBLE_DEVICES should not hide it). Nothing was run."
            )
        found = tuple(int(number) for number in re.findall(r"\d+", self.torch)[:2])
        if found < OLDEST:
            least = ".".join(map(str, OLDEST))
            return f"PyTorch {self.torch} is older than {least}, which these runs need."
        return None


def look() -> Machine:
    """Ask PyTorch in a process of its own what it sees."""
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True)
    if done.returncode:
        return Machine()
    return Machine(**json.loads(done.stdout.splitlines()[-1]))


def run_section(
    chapter: plan.Chapter, section: str, machine: Machine, profile: str = "quick"
) -> dict[str, Any]:
    """Run one notebook's section in a fresh kernel; the notebook on disk stays as it is.

    Returns
    -------
    dict
        What is written down of it: ``passed``, the ``error`` in words or None, wall time in
        ``seconds``, peak memory of the kernel and of the GPU, the device, versions, commit.
    """
    wanted = {**SECTIONS[section], "PROFILE": profile, "DEVICE": "gpu"}
    notebook = execute.prepare(nbformat.read(chapter.notebook, as_version=4), wanted)
    notebook.cells.append(nbformat.v4.new_code_cell(_PROBE, id="probe"))
    took = {"peak_memory_mb": None, "gpu_memory_mb": None}
    started, error = time.perf_counter(), None
    try:
        execute.execute(notebook, chapter.notebook.parent, chapter.name)
    except CourseError as failure:
        error = str(failure)
    else:
        took = json.loads(notebook.cells[-1].outputs[0]["text"].splitlines()[-1])
    return {
        "notebook": chapter.name,
        "section": section,
        "profile": profile,
        "passed": error is None,
        "error": None if error is None else error[:2000],
        "seconds": round(time.perf_counter() - started, 1),
        **took,
        "device": f"GPU {machine.gpu}, {machine.memory_mb:,} MB",
        "versions": {**runtime.versions(), "torch": machine.torch, "cuda": machine.cuda},
        "commit": results.commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write(records: Sequence[dict[str, Any]], path: Path = PATH) -> None:
    """Put records into the file, in the place of earlier ones of the same run and device."""

    def key(record: dict[str, Any]) -> tuple[str, ...]:
        return tuple(record[name] for name in ("notebook", "section", "profile", "device"))

    kept = {key(record): record for record in read(path)}
    kept |= {key(record): record for record in records}
    ordered = [kept[name] for name in sorted(kept)]
    files.save_all({path: json.dumps(ordered, indent=1, ensure_ascii=False) + "\n"})


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


def main(arguments: Sequence[str] | None = None, path: Path = PATH) -> int:
    """Run what was asked for; 0 if all of it passed, 1 if something failed or nothing can run."""
    parser = argparse.ArgumentParser(prog="python -m utils.gpu_run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 02_vae; default: all")
    parser.add_argument("--section", choices=list(SECTIONS), help="default: both")
    parser.add_argument("--profile", choices=runtime.PROFILES, default="quick")
    asked = parser.parse_args(arguments)
    machine = look()
    objection = machine.objection()
    if objection:
        print(objection, file=sys.stderr)
        return 1
    course = plan.read()
    try:
        chosen = [course.chapter(name) for name in asked.names] or list(course.built)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{machine.gpu}, PyTorch {machine.torch} (CUDA {machine.cuda})", flush=True)
    failed = 0
    for chapter in chosen:
        for section in [asked.section] if asked.section else SECTIONS:
            record = run_section(chapter, section, machine, asked.profile)
            write([record], path)  # at once: a later crash takes nothing with it
            failed += not record["passed"]
            print(line(record), flush=True)
    print(f"{failed} of them failed." if failed else "All of them passed.")
    return 1 if failed else 0


def line(record: dict[str, Any]) -> str:
    """A record in a line."""
    start = f"  {record['notebook']:<18}{record['section']:<7}{record['seconds']:7.1f} s"
    if not record["passed"]:
        return f"{start}  FAILED: {record['error'].splitlines()[0]}"
    return f"{start}, {record['peak_memory_mb']} MB, on the GPU {record['gpu_memory_mb']} MB"


if __name__ == "__main__":
    sys.exit(main())
