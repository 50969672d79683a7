"""A program with one core and a limit to its memory, as a small container would run it.

On Linux a control group (cgroup) holds the program and all that it starts: what needs more memory
than the limit is killed by the kernel, as in a container. Where no group may be made, the
program's processes are watched instead, and ended when together they pass the limit. Limits
of a process (``ulimit``) would not do: frameworks reserve far more addresses than they use, and
a program is several processes.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

MB = 10**6
_MOUNT, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PAUSE = 0.1  # seconds between two looks


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a confined program ended.

    ``cpu_seconds`` is what all its processes computed, which on a core that others use as well is
    less than ``seconds``. ``peak_mb`` is the most that they held at a time (memory of their own;
    files that the system keeps at hand are not counted), ``killed`` whether that came to the limit,
    ``enforced`` whether the kernel saw to the limit, or only a look every tenth of a second.
    """

    code: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    killed: bool
    enforced: bool


class Group:
    """A memory control group of our own, version 1 or 2.

    Parameters
    ----------
    folder
        Its folder, which is made.
    limit
        In bytes.

    Raises
    ------
    OSError
        If it may not be made, or a process may not be put into it; nothing is left behind.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder = folder
        self.second = (folder.parent / "cgroup.controllers").exists()
        if self.second and "memory" not in (folder.parent / "cgroup.subtree_control").read_text():
            (folder.parent / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
        try:
            names = ("memory.max", "memory.swap.max")
            if not self.second:
                names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            (folder / names[0]).write_text(str(limit))
            with contextlib.suppress(OSError):  # not every kernel counts swap
                (folder / names[1]).write_text("0" if self.second else str(limit))
            with subprocess.Popen(["sleep", "60"]) as probe:
                try:
                    (folder / "cgroup.procs").write_text(str(probe.pid))
                finally:
                    probe.kill()
        except OSError:
            self.close()
            raise

    def join(self) -> None:
        """Move this process into the group."""
        (self.folder / "cgroup.procs").write_text("0")

    def held(self) -> int:
        """Bytes of memory that belong to the group's processes alone."""
        numbers = _numbers(self.folder / "memory.stat")
        names = ("anon", "shmem") if self.second else ("total_rss", "total_shmem")
        return sum(numbers.get(name, 0) for name in names)

    def kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        name = "memory.events" if self.second else "memory.oom_control"
        return _numbers(self.folder / name).get("oom_kill", 0)

    def close(self) -> None:
        """End what still runs in the group, and remove it."""
        for _ in range(100):
            try:
                self.folder.rmdir()
                return
            except OSError:
                for pid in (self.folder / "cgroup.procs").read_text().split():
                    with contextlib.suppress(OSError):
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(_PAUSE)


def _numbers(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {name: int(value) for name, value in pairs}


def _groups(mount: Path, membership: Path) -> Iterator[Path]:
    """Folders in which a group might be made: this process's own group, then those above it."""
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers and "memory" not in controllers.split(","):
            continue
        root = mount / "memory" if controllers else mount
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            yield folder
            if folder == root:
                break


def group(limit: int, mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> Group | None:
    """A control group for `limit` bytes, or None where none may be made."""
    for folder in _groups(mount, membership):
        with contextlib.suppress(OSError):
            return Group(folder / f"course-{os.getpid()}", limit)
    return None


def _together(pid: int) -> int:
    """What a process and its descendants hold, in bytes; shared pages are shared out."""
    held = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                held += getattr(memory, "uss", memory.rss)
    return held


def _end(pid: int) -> None:
    """Kill a process and its descendants."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (*parent.children(recursive=True), parent):
            with contextlib.suppress(psutil.Error):
                process.kill()


def run(
    command: Sequence[str],
    limit: int,
    cores: int = 1,
    timeout: float = 1800,
    environment: Mapping[str, str] | None = None,
    enforce: bool = True,
) -> Outcome:
    """Run a program within limits, and say what it took.

    Parameters
    ----------
    command
        The program and its arguments.
    limit
        Bytes of memory for it and all that it starts.
    cores
        How many cores it may use, where the system lets us say so (Linux).
    timeout
        After so many seconds it is killed.
    environment
        Its environment; None: ours.
    enforce
        False: watch, even where a group can be made.
    """
    held_by = group(limit) if enforce else None
    pins = hasattr(os, "sched_setaffinity")

    def confine() -> None:  # in the child, before the program begins
        if held_by:
            held_by.join()
        if pins:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])

    started, before, peak, passed = time.perf_counter(), _computed(), 0, False
    try:
        child = subprocess.Popen(
            command, env=environment, preexec_fn=confine if held_by or pins else None
        )
        while child.poll() is None:
            held = held_by.held() if held_by else _together(child.pid)
            peak = max(peak, held)
            passed = not held_by and held > limit
            if passed or time.perf_counter() - started > timeout:
                _end(child.pid)
                child.wait()
            time.sleep(_PAUSE)
        seconds = time.perf_counter() - started
        killed = passed or bool(held_by and held_by.kills())
    finally:
        if held_by:
            held_by.close()
    computed = _computed() - before
    return Outcome(child.returncode, seconds, computed, peak / MB, killed, bool(held_by))


def _computed() -> float:
    """Seconds that the processes which we started, and which have ended, computed."""
    times = os.times()
    return times.children_user + times.children_system
