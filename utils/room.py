"""Where files go if there is no room: a full disk is named, and a home has a stand-in.

On a full disk programs fail in words that do not name it. TensorFlow, for one, runs a function's
Python loops as they stand, and complains of those.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from utils import COURSE_ID

LEAST = 2**20  # bytes: a disk with less has no room


def refuge() -> Path:
    """Among the temporary files, this user's folder for what the home does not take."""
    # One per user: a directory that belongs to somebody else cannot be written.
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "me")
    return _scratch() / f"{COURSE_ID}-{user}"


def house_matplotlib() -> None:
    """Let Matplotlib keep its list of fonts among the temporary files if the home takes none.

    It would complain in red, and collect the fonts anew in every kernel.
    """
    home = Path.home()
    if not (home.is_dir() and os.access(home, os.W_OK)):
        os.environ.setdefault("MPLCONFIGDIR", str(refuge() / "matplotlib"))


def _scratch() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # no room on any disk, not even for the byte that Python tries
        return Path(os.environ.get("TMPDIR") or os.environ.get("TEMP") or "/tmp")


def full() -> Path | None:
    """The folder for temporary files, or else the home, if its disk has no room; None if it has."""
    for folder in (_scratch(), Path.home()):
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
