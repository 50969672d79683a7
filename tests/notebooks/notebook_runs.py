"""Running notebooks from tests: through papermill, and through nbval in a pytest of its own."""

import dataclasses
import json
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest import mock

import nbformat
import papermill
import read_only_home
from notebook_shelf import ROOT
from offline_island import Island

from utils.lessons import execute

HERE = Path(__file__).resolve().parent
CELL_TIMEOUT = 180  # seconds
NOTEBOOK_TIMEOUT = 1200

# Appended to a run: what the kernel has in memory when everything is done.
_PROBE = """\
import json as _json
import sys as _sys

_keras = _sys.modules.get("keras")
print(_json.dumps({
    "frameworks": [name for name in ("torch", "tensorflow", "keras") if name in _sys.modules],
    "backend": _keras.backend.backend() if _keras else None,
}))
"""


@dataclasses.dataclass
class Run:
    """A notebook that papermill has run, and what its kernel held at the end."""

    notebook: nbformat.NotebookNode
    error: str | None
    frameworks: list[str]
    backend: str | None

    def tagged(self, tag: str) -> list[nbformat.NotebookNode]:
        return [cell for cell in self.notebook.cells if tag in execute.tags(cell)]


def run_papermill(path: Path, parameters: dict, folder: Path, steps: str = "") -> Run:
    """Run a stored notebook with other parameters; results go into `folder`, never back.

    It runs as for a learner whose home cannot be written; no training takes more than `steps`
    steps, if that is not empty.
    """
    prepared = execute.prepare(nbformat.read(path, as_version=4), parameters)
    prepared.cells.append(nbformat.v4.new_code_cell(_PROBE, id="probe"))
    source, result = folder / "prepared.ipynb", folder / "executed.ipynb"
    nbformat.write(prepared, source)
    variables = read_only_home.environment(folder) | {
        "COURSE_HEADLESS": "1",
        "COURSE_STEPS": steps,
        # A kernel must be able to say where it listens: Jupyter's own condition.
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    if "COURSE_DATA" in os.environ:
        variables["COURSE_DATA"] = os.environ["COURSE_DATA"]
    error = None
    try:
        with mock.patch.dict(os.environ, variables, clear=True):
            papermill.execute_notebook(
                source,
                result,
                parameters,
                cwd=path.parent,
                kernel_name="python3",
                progress_bar=False,
                execution_timeout=CELL_TIMEOUT,
            )
    except papermill.PapermillExecutionError as failure:
        error = str(failure)
    notebook = nbformat.read(result, as_version=4)
    held = {"frameworks": [], "backend": None}
    if error is None:
        held = json.loads(notebook.cells[-1].outputs[0].text)
    return Run(notebook, error, **held)


@dataclasses.dataclass
class Validation:
    """What nbval said about a notebook, its kernel's peak memory, and who tried to leave."""

    failures: dict[str, str]
    passed: int
    peak_mb: float
    attempts: list[str]
    log: str


def run_nbval(path: Path, folder: Path, steps: str = "") -> Validation:
    """Run ``pytest --nbval-lax`` on a notebook as it is stored.

    It runs as a learner without a network, without data and with an empty cache would; no training
    takes more than `steps` steps, if that is not empty.
    """
    report, memory = folder / "report.xml", folder / "memory.json"
    island = Island(folder)
    island.variables = {
        "COURSE_HEADLESS": "1",
        "COURSE_STEPS": steps,
        "NOTEBOOK_MEMORY": str(memory),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
    }
    done = island.run(
        *(
            *(sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env"),
            *("-q", "-p", "notebook_memory", "-p", "no:cacheprovider"),
            *("-o", "addopts=", "-o", "timeout=0", "-c", os.devnull, f"--rootdir={path.parent}"),
            f"--nbval-cell-timeout={CELL_TIMEOUT}",
            f"--junitxml={report}",
            str(path),
        ),
        cwd=path.parent,
        timeout=NOTEBOOK_TIMEOUT,
    )
    log = done.stdout + done.stderr
    failures, passed = {}, 0
    cases = list(ElementTree.parse(report).iter("testcase")) if report.is_file() else []
    for case in cases:
        problem = next((child for child in case if child.tag in ("failure", "error")), None)
        if problem is None:
            passed += 1
        else:
            failures[case.get("name")] = problem.text or problem.get("message")
    if done.returncode != 0 and not failures:
        failures["pytest"] = log
    peak = json.loads(memory.read_text())["peak_mb"] if memory.is_file() else float("nan")
    return Validation(failures, passed, peak, island.attempts, log)
