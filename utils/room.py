"""A disk without room makes programs fail in words that do not name it: here it is named.

TensorFlow, for one, then runs a function's Python loops as they stand, and complains of those.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from utils import CourseError

LEAST = 2**20  # bytes: a disk with less has no room


def full() -> Path | None:
    """The folder for temporary files, or else the home, if its disk has no room; None if it has."""
    try:
        scratch = tempfile.gettempdir()
    except FileNotFoundError:  # no room for the byte that Python tries
        scratch = tempfile._candidate_tempdir_list()[0]  # the one it would have liked best
    for folder in (Path(scratch), Path.home()):
        try:
            if shutil.disk_usage(folder).free < LEAST:
                return folder
        except OSError:  # it is not there, or is nobody's to ask about: that is another trouble
            continue
    return None


def remedy() -> str:
    """What to say after an error: a sentence on the disk that is full, or nothing at all."""
    folder = full()
    if folder is None:
        return ""
    return (
        f"The disk of {folder} has no room left, and that may be the cause: make room, then "
        "restart the kernel and run the notebook again."
    )


def watch() -> None:
    """Say so under every cell of this kernel that fails while the disk is full.

    A cell that ends in a `CourseError` has said already what to do.
    """
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        if _after_a_cell in shell.events.callbacks["post_run_cell"]:
            shell.events.unregister("post_run_cell", _after_a_cell)
        shell.events.register("post_run_cell", _after_a_cell)


def _after_a_cell(result: Any) -> None:
    error = result.error_in_exec
    if error is not None and not isinstance(error, CourseError):
        said = remedy()
        if said:
            print(said, file=sys.stderr)
