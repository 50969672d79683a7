"""A disk with no room left, for everything that writes: home, caches, temporary files."""

import os
import subprocess
import sys

import pytest
from test_read_only_home import SESSION

pytestmark = pytest.mark.slow

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


@pytest.fixture
def full(repository):
    """A function that runs one code, fills the disk, and runs another."""
    if sys.platform != "linux":
        pytest.skip("mounts of a process's own are Linux's")
    places = [place for place in ("/tmp", "/var/tmp", "/dev/shm") if os.path.isdir(place)]
    if any(str(path).startswith(place) for place in places for path in (repository, sys.prefix)):
        pytest.skip(f"the course itself lies in one of {', '.join(places)}")
    gone = ("XDG_", "COURSE_", "MPL", "KERAS_HOME", "IPYTHONDIR", "JUPYTER", "TMP")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(gone)}
    variables |= {"HOME": "/tmp/home", "COURSE_OFFLINE": "1", "PYTHONPATH": str(repository)}

    def run(before, after):
        done = subprocess.run(
            [sys.executable, "-c", WALLS, before, after, *places],
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
        )
        if done.returncode == 77:
            pytest.skip("this machine lets no process have mounts of its own")
        return done

    return run


def test_a_disk_that_fills_up_stops_nobody_who_has_begun(full):
    done = full("from utils import runtime; runtime.load('keras')", SESSION)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1] == "the end", done.stderr
    assert sum(line.startswith("Correct:") for line in lines) == 2
    told = [line for line in lines if "Your progress is not kept" in line]
    assert len(told) == 1 and "No space left on device" in told[0] and "/tmp/home" in told[0]
    assert "Traceback" not in done.stderr


def test_on_a_full_disk_data_are_there_and_what_is_not_is_named(full):
    done = full("", "from utils import data, runtime; print(data.mnist()); runtime.load('keras')")
    assert "embedded" in done.stdout
    assert done.stderr.splitlines()[-1].endswith(
        "no disk here has room for a temporary file. Make room, then restart the kernel."
    )
