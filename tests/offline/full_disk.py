"""A disk with no room left, for everything that writes: home, caches, temporary files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import read_only_home

ROOT = Path(__file__).resolve().parents[2]
#: Where programs write without being asked; the learner's home lies in the first.
PLACES = [place for place in ("/tmp", "/var/tmp", "/dev/shm") if os.path.isdir(place)]

# In a process with mounts of its own, small file systems lie over the places that are written to.
# The first code runs in one of them; they are filled to the last byte; then the second code runs.
WALLS = """
import ctypes, os, sys
from pathlib import Path

NEW_USER, NEW_MOUNTS, PRIVATE = 0x10000000, 0x00020000, 1 << 18 | 1 << 14
libc = ctypes.CDLL(None, use_errno=True)
before, after, *places = sys.argv[1:]
if libc.unshare(NEW_MOUNTS) and libc.unshare(NEW_USER | NEW_MOUNTS):
    sys.exit(77)
libc.mount(None, b"/", None, PRIVATE, None)
for place in places:
    if libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, b"size=8m"):
        sys.exit(77)
    Path(place, "home").mkdir()
os.chdir(places[0])
exec(before)
for place in places:
    with open(Path(place, "everything"), "wb", buffering=0) as file:
        try:
            while file.write(bytes(512)):
                pass
        except OSError:
            pass
try:
    Path("one more").write_text("no room")
except OSError:
    exec(after)
"""


def environment() -> dict[str, str]:
    """The variables of a learner whose home and caches are where the disk will be full."""
    mine = {"HOME": "/tmp/home", "COURSE_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return read_only_home.no_places() | mine


def run(
    before: str, after: str, variables: dict[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess:
    """Run one code, fill the disk, and run another; the test is skipped where that cannot be."""
    if sys.platform != "linux":
        pytest.skip("mounts of a process's own are Linux's")
    if any(str(path).startswith(place) for place in PLACES for path in (ROOT, sys.prefix)):
        pytest.skip(f"the course itself lies in one of {', '.join(PLACES)}")
    done = subprocess.run(
        [sys.executable, "-c", WALLS, before, after, *PLACES],
        env=environment() | (variables or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode == 77:
        pytest.skip("this machine lets no process have mounts of its own")
    return done
