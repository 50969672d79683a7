"""Running a notebook without anybody at the keyboard, and reading what it left behind."""

import ast
import copy
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbclient
import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from utils import CourseError, runtime

TIMEOUT = 600  # seconds a cell may take
SKIP = "skip-execution"  # the tag that nbclient, and with it papermill, looks for


def prepare(notebook: nbformat.NotebookNode, parameters: Mapping | None = None):
    """Return a copy of a notebook that will run with other parameters.

    The parameters are injected as papermill does it, in a cell of their own after the notebook's
    ``parameters`` cell. Cells tagged with a framework that ``FRAMEWORKS`` leaves out get
    nbclient's ``skip-execution`` tag; a cell tagged with several frameworks needs all of them.

    Parameters
    ----------
    notebook
        As read by ``nbformat``; it is not changed.
    parameters
        Names from the ``parameters`` cell and the literals that replace their values.

    Returns
    -------
    nbformat.NotebookNode
        The copy. Its outputs are still those of the original.

    Raises
    ------
    CourseError
        If the notebook has no ``parameters`` cell, or the cell lacks a name: papermill would only
        warn, and run with the default.
    """
    parameters = dict(parameters or {})
    prepared = copy.deepcopy(notebook)
    cells = prepared.cells
    place = next((i for i, cell in enumerate(cells) if "parameters" in tags(cell)), None)
    if place is None:
        raise CourseError('The notebook has no cell tagged "parameters", so none can be set.')
    defaults = literals(cells[place].source)
    unknown = sorted(set(parameters) - set(defaults))
    if unknown:
        raise CourseError(
            f"The notebook has no parameter {unknown[0]!r}: it has {', '.join(defaults)}."
        )
    if parameters:
        lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())]
        injected = nbformat.v4.new_code_cell("\n".join(lines), id="injected-parameters")
        injected.metadata["tags"] = ["injected-parameters"]
        cells.insert(place + 1, injected)
    chosen = {**defaults, **parameters}.get("FRAMEWORKS", runtime.FRAMEWORKS)
    for name in chosen:
        runtime.choose("The framework", name, runtime.FRAMEWORKS)
    for cell in cells:
        if (set(tags(cell)) & set(runtime.FRAMEWORKS)) - set(chosen):
            cell.metadata["tags"] = [*tags(cell), SKIP]
    return prepared


def tags(cell: Mapping) -> list[str]:
    """The tags of a cell."""
    return list(cell["metadata"].get("tags", []))


def literals(source: str) -> dict:
    """The names and values of a ``parameters`` cell.

    Raises
    ------
    CourseError
        If a line is anything but ``NAME = literal``: whatever follows from a parameter must be
        computed later, after the parameters have been injected.
    """
    values = {}
    try:
        for statement in ast.parse(source).body:
            (target,) = statement.targets
            values[target.id] = ast.literal_eval(statement.value)
    except (SyntaxError, AttributeError, ValueError):
        raise CourseError(
            "A parameters cell holds only lines of the form NAME = literal, without computations."
        ) from None
    return values


def environment() -> dict[str, str]:
    """The environment of a kernel that nobody watches: ours, and ``COURSE_HEADLESS=1``."""
    return {**os.environ, "COURSE_HEADLESS": "1"}


def execute(notebook: nbformat.NotebookNode, folder: Path, name: str) -> list[float]:
    """Run a notebook in place, in a fresh kernel and without a front end.

    Parameters
    ----------
    notebook
        Gets its outputs, its execution counts and, in ``metadata.widgets``, its widgets' state.
    folder
        The working directory of the kernel: the notebook's own folder.
    name
        What messages call the notebook.

    Returns
    -------
    list of float
        The seconds that each code cell took.

    Raises
    ------
    CourseError
        If a cell fails, takes longer than `TIMEOUT` or kills the kernel. The message names the
        cell and ends with the kernel's own last words.
    """
    code = [cell.id for _, cell in code_cells(notebook)]
    starts = []

    def note(cell: Mapping, cell_index: int) -> None:
        starts.append((code.index(cell.id) + 1, time.perf_counter()))

    client = nbclient.NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        allow_errors=False,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=note,
    )
    try:
        client.execute(env=environment())
    except CellExecutionError as error:
        problem = f"{error.ename}: {error.evalue}\n{error.traceback}"
    except CellTimeoutError:
        problem = f"still running after {TIMEOUT} s."
    except DeadKernelError:
        problem = "the kernel died here, most likely for want of memory."
    else:
        times = [start for _, start in starts] + [time.perf_counter()]
        return [end - start for start, end in zip(times, times[1:], strict=False)]
    raise CourseError(f"{name}, cell {starts[-1][0] if starts else 0}: {problem}")


def code_cells(notebook: Mapping) -> Iterator[tuple[int, Mapping]]:
    """The code cells with their numbers from 1, as they stand in the margin after Run All."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return enumerate(code, start=1)


def swallowed(notebook: Mapping) -> list[str]:
    """Errors that a widget caught and kept for itself, in the state a run has saved.

    A callback's error goes into an ``Output`` widget, a training run's into its panel: the cell
    that showed the widget looks as if nothing had happened.
    """
    saved = notebook["metadata"].get("widgets", {})
    models = saved.get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    found = []
    for model in models.values():
        state = model.get("state", {})
        for output in state.get("outputs", ()):
            if output.get("output_type") == "error":
                found.append(f"{output.get('ename')}: {output.get('evalue')}")
        text = state.get("value")
        if isinstance(text, str) and 'data-state="failed"' in text:
            words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
            found.append(f"a panel shows a failed run: {words[:300]}")
    return found


def stderr(cell: Mapping) -> str:
    """What a cell has written to the standard error stream."""
    return "".join(
        "".join(output["text"])
        for output in cell["outputs"]
        if output["output_type"] == "stream" and output["name"] == "stderr"
    )
