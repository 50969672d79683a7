"""Files that appear whole or not at all, whoever reads or writes them at the same time.

A draft is written beside its place, under a name of its own, and renamed when all of it is there. A
full disk, a killed kernel or a second process leave what was there before.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from utils import CourseError


def write(path: Path, content: bytes | str) -> None:
    """Put `content` (text as UTF-8) in the place of the file `path`; its folder is made.

    Raises
    ------
    OSError
        If that cannot be done; nothing is left behind.
    """
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes | str]) -> None:
    """Put several files in place that belong together: all are written before any is renamed.

    Raises
    ------
    OSError
        If one cannot be written; none is changed then.
    """
    drafts = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            drafts[path] = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
            data = content.encode() if isinstance(content, str) else content
            drafts[path].write_bytes(data)
        for path, draft in drafts.items():
            os.replace(draft, path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def save_all(contents: Mapping[Path, bytes | str]) -> None:
    """Do as `write_all`, but say in words what went wrong.

    Raises
    ------
    CourseError
        If a file cannot be written; none is changed then.
    """
    try:
        write_all(contents)
    except OSError as error:
        names = " and ".join(path.name for path in contents)
        folder = next(iter(contents)).parent
        raise CourseError(
            f"{names} cannot be written to {folder} ({error.strerror}): what was there is as it "
            "was. Make room, or see that the folder may be written to, and do it again."
        ) from error
