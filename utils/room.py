"""A disk without room makes programs fail in words that do not name it: here it is named.

TensorFlow, for one, then runs a function's Python loops as they stand, and complains of those.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

LEAST = 2**20  # bytes: a disk with less has no room


def full() -> Path | None:
    """The folder for temporary files, or else the home, if its disk has no room; None if it has."""
    try:
        scratch = tempfile.gettempdir()
    except FileNotFoundError:  # no room for the byte that Python tries
        scratch = os.environ.get("TMPDIR") or os.environ.get("TEMP") or "/tmp"
    for folder in (Path(scratch), Path.home()):
        try:
            if shutil.disk_usage(folder).free < LEAST:
                return folder
        except OSError:  # it is not there, or is nobody's to ask about: that is another trouble
            continue
    return None


def remedy(error: BaseException) -> str:
    """What to say after `error`: a sentence on the disk that is full.

    It is empty if there is none, or if the error says itself to make room.
    """
    folder = full()
    if folder is None or "make room" in str(error).lower():
        return ""
    return (
        f"The disk of {folder} has no room left, and that may be the cause: make room, then "
        "restart the kernel and run the notebook again."
    )


def watch() -> None:
    """Say so under every cell of this kernel that fails while the disk is full."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        if _after_a_cell in shell.events.callbacks["post_run_cell"]:
            shell.events.unregister("post_run_cell", _after_a_cell)
        shell.events.register("post_run_cell", _after_a_cell)


def _after_a_cell(result: Any) -> None:
    said = "" if result.error_in_exec is None else remedy(result.error_in_exec)
    if said:
        print(said, file=sys.stderr)
