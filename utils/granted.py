"""What Linux grants this process's control group: in a container, often less than there is.

Each group up to the root may be limited. Version 2 of control groups says how in one file
(``cpu.max``, ``memory.max``; "max" is no limit), version 1 in files of other names.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

MOUNT, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> float:
    """How many cores' time is granted, such as 0.5; infinite without a limit."""
    return _least("cpu", _cores, mount, membership)


def memory_mb(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> float:
    """How much memory is granted, in MB (10⁶ bytes); infinite without a limit."""
    return _least("memory", _memory_mb, mount, membership)


def _least(controller: str, read: Callable[[Path], float], mount: Path, membership: Path) -> float:
    found = [math.inf]
    for folder in _groups(controller, mount, membership):
        with contextlib.suppress(OSError, ValueError):  # no such file, or nothing we can read
            found.append(read(folder))
    return min(found)


def _groups(controller: str, mount: Path, membership: Path) -> Iterator[Path]:
    """The folders of this process's groups that may limit it, each before its parent."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = mount / controller if controllers else mount
        group = root / path.lstrip("/")
        # In a container the path may be the host's: then only the root is there to read.
        for folder in (group, *group.parents):
            yield folder
            if folder == root:
                break


def _cores(folder: Path) -> float:
    if (folder / "cpu.max").exists():  # microseconds in a period
        quota, period = map(float, (folder / "cpu.max").read_text().split())
    else:
        quota = float((folder / "cpu.cfs_quota_us").read_text())
        period = float((folder / "cpu.cfs_period_us").read_text())
    return quota / period if quota > 0 and period > 0 else math.inf


def _memory_mb(folder: Path) -> float:
    name = "memory.max" if (folder / "memory.max").exists() else "memory.limit_in_bytes"
    return float((folder / name).read_text()) / 1e6
