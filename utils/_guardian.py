"""Runs a command, and lets nothing of it live longer than whoever asked for it.

``python _guardian.py FD FOLDER COMMAND …``: when the pipe behind the file descriptor FD is closed,
because its owner asked for the end or died in any manner, and also when COMMAND ends by itself,
every process that descends from COMMAND is killed, those included that made a session or a process
group of their own, as torchrun's workers do. If the owner died, FOLDER is removed as well.

SIGTERM is passed on to the command. The exit status is the command's; a signal's is 128 + number.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _sweep() -> None:
    """Kill all descendants, again and again until none is left."""
    for _ in range(200):
        left = [p for p in psutil.Process().children(recursive=True) if _alive(p)]
        if not left:
            break
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        psutil.wait_procs(left, timeout=0.2)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main(pipe: int, folder: str, command: list[str]) -> int:
    """Run the command; return its exit status."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans among its descendants become our children
    os.set_blocking(pipe, False)
    child = None

    def pass_on(number: int, frame: object) -> None:
        if child is not None:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the owner's to handle
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        # Should even this process be killed, the command dies with it.
        preexec_fn=lambda: (
            signal.signal(signal.SIGINT, signal.default_int_handler),
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        ),
    )
    asked = orphaned = False
    while child.poll() is None and not (asked or orphaned):
        if select.select([pipe], [], [], 0.05)[0]:
            word = os.read(pipe, 1)
            asked, orphaned = word == b"q", not word
    _sweep()
    status = child.wait()
    if orphaned:
        time.sleep(0.1)  # others of the same folder may still be writing
        shutil.rmtree(folder, ignore_errors=True)
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
