"""The launcher: processes that end well, fail, hang, or lose their owner."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from utils import CourseError, cluster
from utils.cluster import Cluster

PATIENCE = 120  # seconds; a busy machine is slow, not wrong
# A process with a child in a session of its own, as torchrun's workers are, and a port.
FAMILY = """
import socket, subprocess, sys, time
server = socket.create_server(("127.0.0.1", 0))
command = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(command, start_new_session=True)
print("family", child.pid, server.getsockname()[1], flush=True)
time.sleep(600)
"""
OWNER = """
import sys, time
from utils.cluster import Cluster
made = Cluster("a family")
member = made.start("parent", [sys.executable, "-u", "-c", {family!r}])
made.until(lambda: "family" in member.text, 100)
print(member.pid, *member.text.split()[1:], made.folder, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
"""


def python(code):
    return [sys.executable, "-u", "-c", code]


def gone(pid):
    """Whether a process has ended (a zombie has)."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_processes_run_side_by_side_and_leave_their_words():
    with Cluster("two") as two:
        for rank in range(2):
            two.start(f"worker {rank}", python(f"print('hello from {rank}')"))
        two.wait(PATIENCE)
        assert two.text() == "hello from 0\nhello from 1"
        assert [process.status for process in two.processes] == [0, 0]
        folder = two.folder
    assert not folder.exists()


def test_a_failure_ends_the_others_and_is_quoted():
    with Cluster("a pair") as pair:
        sleeper = pair.start("sleeper", python("import time; time.sleep(600)"))
        pair.start("failure", python("raise ValueError('the reason')"))
        with pytest.raises(CourseError, match="failure ended with status 1(?s:.*)the reason"):
            pair.wait(PATIENCE)
        assert sleeper.status is not None


def test_a_killed_process_is_called_so():
    with Cluster("one") as one:
        process = one.start("victim", python("print('here'); import time; time.sleep(600)"))
        one.until(lambda: "here" in process.text, PATIENCE)
        process.kill()
        with pytest.raises(CourseError, match="victim was killed .SIGKILL."):
            one.wait(PATIENCE)


def test_a_deadline_names_who_still_ran_and_what_it_said():
    with Cluster("one") as one:
        one.start("slow", python("print('not yet', flush=True); import time; time.sleep(600)"))
        one.until(lambda: "not yet" in one.text(), PATIENCE)
        with pytest.raises(CourseError, match="after 0.1 s; slow still ran(?s:.*)not yet"):
            one.wait(0.1)
        assert one.processes[0].status is not None


def test_closing_ends_a_family_that_has_scattered():
    with Cluster("a family") as made:
        member = made.start("parent", python(FAMILY))
        made.until(lambda: "family" in member.text, PATIENCE)
        child, port = map(int, member.text.split()[1:])
        parent = member.pid
    assert gone(parent) and gone(child) and free(port)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_an_owner_that_is_killed_or_interrupted(number):
    """As when a notebook's kernel is killed, interrupted or shut down."""
    owner = subprocess.Popen(
        python(OWNER.format(family=FAMILY)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cluster.ROOT,
        env={**os.environ, "PYTHONPATH": str(cluster.ROOT)},
    )
    parent, child, port, folder = owner.stdout.readline().split()
    owner.send_signal(number)
    owner.wait(PATIENCE)
    owner.stdout.close()
    assert gone(int(parent)) and gone(int(child)) and free(int(port))
    end = time.monotonic() + PATIENCE
    while os.path.exists(folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(folder)


def test_nothing_outlives_a_guardian_that_is_killed():
    """The command itself dies with it (Linux tells it so)."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux signals the death of a parent")
    with Cluster("one") as one:
        process = one.start("sleeper", python("import time; time.sleep(600)"))
        end = time.monotonic() + PATIENCE
        while not psutil.Process(process._guardian.pid).children():
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.5)  # until the child has asked to be told
        pid = process.pid
        process._guardian.kill()
        assert gone(pid)


def test_a_wrong_task_is_refused_before_anything_starts():
    members = {"worker": ["a:1", "b:2"]}
    assert '"index": 1' in cluster.tf_config(members, "worker", 1)["TF_CONFIG"]
    with pytest.raises(CourseError, match="worker 2 is not in the cluster, which has 2 × worker"):
        cluster.tf_config(members, "worker", 2)
    with pytest.raises(CourseError, match="ps 0 is not in the cluster"):
        cluster.tf_config(members, "ps", 0)


def test_the_noise_of_frameworks_is_left_out_of_the_log():
    code = "print('I0000 00:00 1 port.cc] oneDNN custom operations'); print('words')"
    with Cluster("one") as one:
        one.start("noisy", python(code))
        one.wait(PATIENCE)
        assert one.text() == "words"
