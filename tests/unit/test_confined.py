"""A program within limits: one core, so much memory and no more, whoever sees to it."""

import os
import sys

import pytest

from utils import confined

HOLD = """
import time
held = bytearray(200_000_000)
for place in range(0, len(held), 4096):
    held[place] = 1
time.sleep(0.5)
"""
# What a shell would do: the memory is a grandchild's.
CHILD = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {HOLD!r}]))"
MANY, FEW = 400 * confined.MB, 100 * confined.MB


@pytest.fixture(params=["by the kernel", "watched"])
def enforce(request):
    """Both ways to see to a limit, as far as this machine has them."""
    if request.param == "watched":
        return False
    group = confined.group(MANY)
    if group is None:
        pytest.skip("no memory control group may be made here")
    group.close()
    return True


def test_what_stays_within_the_limit_runs_and_is_measured(enforce):
    outcome = confined.run([sys.executable, "-c", CHILD], MANY, enforce=enforce)
    assert outcome.code == 0 and not outcome.killed and outcome.enforced == enforce
    assert 200 < outcome.peak_mb < 260
    assert 0 < outcome.cpu_seconds < outcome.seconds + 0.1


def test_what_needs_more_is_ended_and_said_to_have_needed_more(enforce):
    outcome = confined.run([sys.executable, "-c", CHILD], FEW, enforce=enforce)
    assert outcome.code != 0 and outcome.killed


def test_what_never_ends_is_ended(enforce):
    endless = [sys.executable, "-c", "import time; time.sleep(60)"]
    outcome = confined.run(endless, MANY, timeout=0.5, enforce=enforce)
    assert outcome.code != 0 and not outcome.killed and outcome.seconds < 30


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_it_has_one_core_and_keeps_it():
    ask = "import os, sys; from utils import runtime; sys.exit(runtime.threads())"
    alone = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    root = str(confined.Path(confined.__file__).parents[1])
    command = [sys.executable, "-c", ask]
    assert confined.run(command, MANY, environment={**alone, "PYTHONPATH": root}).code == 1


@pytest.fixture
def second(tmp_path, monkeypatch):
    """Plain folders that look like control groups of version 2: ours is in /jobs/one."""
    monkeypatch.setattr(confined, "_PAUSE", 0)
    for folder in ("jobs/one", "jobs", ""):
        (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / folder / "cgroup.controllers").write_text("cpu memory\n")
        (tmp_path / "fs" / folder / "cgroup.subtree_control").write_text("cpu\n")
    (tmp_path / "self").write_text("0::/jobs/one\n")
    return tmp_path


def test_a_group_of_version_2_gets_its_limit_and_no_swap(second):
    group = confined.group(12345, second / "fs", second / "self")
    assert group.folder.parent == second / "fs/jobs/one"
    assert (group.folder / "memory.max").read_text() == "12345"
    assert (group.folder / "memory.swap.max").read_text() == "0"
    assert (second / "fs/jobs/one/cgroup.subtree_control").read_text() == "+memory"
    (group.folder / "memory.stat").write_text("anon 7\nfile 100\nshmem 2\n")
    (group.folder / "memory.events").write_text("oom 1\noom_kill 3\n")
    assert (group.held(), group.kills()) == (9, 3)


def test_where_our_own_group_may_not_be_divided_one_above_it_is(second):
    control = second / "fs/jobs/one/cgroup.subtree_control"
    control.unlink()
    control.mkdir()  # nobody can write there, whatever the permissions
    group = confined.group(1, second / "fs", second / "self")
    assert group.folder.parent == second / "fs/jobs"


def test_without_control_groups_there_is_none(tmp_path):
    assert confined.group(1, tmp_path, tmp_path / "there is none") is None
    (tmp_path / "self").write_text("4:cpu:/a\n")
    assert confined.group(1, tmp_path, tmp_path / "self") is None
