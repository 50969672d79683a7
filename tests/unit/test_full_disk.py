"""A disk with no room left: who has begun goes on, and what cannot be done is named."""

import full_disk
import pytest
from test_read_only_home import SESSION

pytestmark = pytest.mark.slow


def test_a_disk_that_fills_up_stops_nobody_who_has_begun():
    done = full_disk.run("from utils import runtime; runtime.load('keras')", SESSION)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1] == "the end", done.stderr
    assert sum(line.startswith("Correct:") for line in lines) == 2
    told = [line for line in lines if "Your progress is not kept" in line]
    assert len(told) == 1 and "No space left on device" in told[0] and "/tmp/home" in told[0]
    assert "Traceback" not in done.stderr


def test_on_a_full_disk_data_are_there_and_what_is_not_is_named():
    load = "from utils import data, runtime; print(data.mnist()); runtime.load('keras')"
    done = full_disk.run("", load)
    assert "embedded" in done.stdout
    assert done.stderr.splitlines()[-1].endswith(
        "no disk here has room for a temporary file. Make room, then restart the kernel."
    )
