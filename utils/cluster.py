"""Several processes that train together on this machine, and are gone when they are done.

>>> with Cluster("two that greet") as pair:
...     for rank in range(2):
...         pair.start(f"worker {rank}", [sys.executable, "-c", f"print('hello from {rank}')"])
...     pair.wait(60)

Each process writes a log of its own. A process that fails, or a deadline that passes, ends all of
them and raises a `CourseError` with the end of the log. Each has a guardian
(``utils/_guardian.py``), which ends it and all its descendants when the cluster is closed, and
also when this process is interrupted or killed: nothing is left behind, neither a process nor
a port nor a file.
"""

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from utils import CourseError

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "chapters" / "05_scale" / "scripts"
HOST = "127.0.0.1"
PREFIX = "course-cluster-"  # of folders; then the number of the process that made it
LAST_WORDS = 30  # lines of a log that an error quotes
_GUARDIAN = Path(__file__).with_name("_guardian.py")
_NOISE = re.compile(
    r"oneDNN|cpu_feature_guard|absl::InitializeLog|rebuild TensorFlow|^\s*$|^\[?[IW]\d{4}|"
    r"^To enable the following|cuda_|TF-TRT|grpc_|FutureWarning|tensorflow/core"
)
_open: "weakref.WeakSet[Cluster]" = weakref.WeakSet()


def script(name: str, *arguments: object) -> list[str]:
    """The command that runs one of the chapter's scripts, such as ``"ring.py"``."""
    return [sys.executable, "-u", str(SCRIPTS / name), *map(str, arguments)]


def torchrun(
    name: str, *arguments: object, processes: int = 2, restarts: int = 0, options: Sequence = ()
) -> list[str]:
    """The command that lets torchrun start a script of the chapter on this machine.

    The port of the rendezvous is chosen by the system.
    """
    return [
        *(sys.executable, "-u", "-m", "torch.distributed.run", f"--nproc-per-node={processes}"),
        *("--nnodes=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={HOST}:0"),
        *(f"--local-addr={HOST}", f"--max-restarts={restarts}", "--monitor-interval=0.1"),
        *map(str, options),
        *(str(SCRIPTS / name), *map(str, arguments)),
    ]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; somebody may take one before you do: then start again."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def tf_config(members: Mapping[str, Sequence[str]], kind: str, index: int) -> dict[str, str]:
    """The environment variable that tells a TensorFlow process who is in the cluster and who it is.

    Parameters
    ----------
    members
        Addresses by task type: ``{"worker": ["127.0.0.1:4000", "127.0.0.1:4001"]}``.
    kind, index
        The task of this process.

    Raises
    ------
    CourseError
        If there is no such task: TensorFlow itself would wait for it, or say little.
    """
    known = members.get(kind, ())
    if not 0 <= index < len(known):
        raise CourseError(
            f"TF_CONFIG: task {kind} {index} is not in the cluster, which has "
            + ", ".join(f"{len(addresses)} × {name}" for name, addresses in members.items())
            + ": give each process a task of its own, counted from 0."
        )
    task = {"type": kind, "index": index}
    cluster = {name: list(addresses) for name, addresses in members.items()}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def environment(threads: int = 1) -> dict[str, str]:
    """What every process of a cluster is told: loopback only, one thread, few words."""
    keep = {k: v for k, v in os.environ.items() if k not in ("TF_CONFIG", "COURSE_HEADLESS")}
    path = os.pathsep.join([str(ROOT), *filter(None, [keep.get("PYTHONPATH")])])
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {
        **keep,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "GRPC_VERBOSITY": "NONE",
        "CUDA_VISIBLE_DEVICES": "-1",
        "GLOO_SOCKET_IFNAME": loopback,
        "TP_SOCKET_IFNAME": loopback,
        "NO_PROXY": "*",
        "no_proxy": "*",
        # Without it a torchrun that restarts its workers on one machine may hang: the workers'
        # store lives in torchrun itself, and the old one is still there (pytorch#135712).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",
    }


class Process:
    """One process of a `Cluster`, with its guardian and its log."""

    def __init__(self, name: str, guardian: subprocess.Popen, pipe: int, log: Path) -> None:
        self.name, self.log = name, log
        self._guardian, self._pipe = guardian, pipe

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._guardian.poll()

    @property
    def text(self) -> str:
        """What it has written so far, less what frameworks say at every start."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line for line in lines if not _NOISE.search(line))

    @property
    def pid(self) -> int:
        """The number of the process itself (not of its guardian)."""
        children = psutil.Process(self._guardian.pid).children()
        if not children:
            raise CourseError(f"{self.name} is no longer running.")
        return children[0].pid

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def close(self) -> None:
        """End it and everything that it has started; harmless if it has ended."""
        if self._pipe >= 0:
            try:
                os.write(self._pipe, b"q")
            except OSError:
                pass  # it has ended
            os.close(self._pipe)
            self._pipe = -1
        try:
            self._guardian.wait(30)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()


class Cluster:
    """Processes that belong together, and a folder for what they write.

    Parameters
    ----------
    name
        What messages call it.

    Attributes
    ----------
    folder
        A temporary folder, removed when the cluster is closed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.processes: list[Process] = []
        self._said: str | None = None
        _open.add(self)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        name: str,
        command: Sequence[str],
        variables: Mapping[str, str] | None = None,
        threads: int = 1,
    ) -> Process:
        """Start a process of this cluster; it runs on while you do something else."""
        log = self.folder / f"{len(self.processes)}.log"
        theirs, ours = os.pipe()
        os.set_inheritable(theirs, True)
        try:
            with log.open("wb") as out:
                guardian = subprocess.Popen(
                    [sys.executable, str(_GUARDIAN), str(theirs), str(self.folder), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs,),
                    start_new_session=True,
                    cwd=ROOT,
                    env={**environment(threads), **(variables or {})},
                )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.processes.append(Process(name, guardian, ours, log))
        return self.processes[-1]

    def wait(self, seconds: float, may_fail: Sequence[Process] = ()) -> None:
        """Wait until all processes have ended well.

        Parameters
        ----------
        seconds
            The deadline.
        may_fail
            Processes whose failure is part of the plan.

        Raises
        ------
        CourseError
            If one fails, or the deadline passes. All processes are ended first.
        """
        self.until(lambda: all(p.status is not None for p in self.processes), seconds, may_fail)

    def until(self, happened, seconds: float, may_fail: Sequence[Process] = ()) -> None:
        """Wait until ``happened()``; raises as `wait` does."""
        end = time.monotonic() + seconds
        try:
            while True:
                done = happened()
                for process in self.processes:
                    if process.status not in (None, 0) and process not in may_fail:
                        raise CourseError(self._obituary(process))
                if done:
                    return
                if time.monotonic() > end:
                    raise CourseError(self._overdue(seconds))
                time.sleep(0.05)
        except BaseException:
            self.close(keep=True)
            raise

    def close(self, keep: bool = False) -> None:
        """End all processes and, unless `keep`, remove the folder."""
        for process in self.processes:
            process.close()
        if not keep:
            self._said = self.text()
            shutil.rmtree(self.folder, ignore_errors=True)
            _open.discard(self)

    def text(self) -> str:
        """All logs, one after the other; also when the cluster is closed."""
        if self._said is not None:
            return self._said
        return "\n".join(process.text for process in self.processes)

    def _obituary(self, process: Process) -> str:
        status = process.status
        how = f"ended with status {status}"
        if status > 128:
            how = f"was killed ({signal.Signals(status - 128).name})"
        return f"{self.name}: {process.name} {how}. Its last words:\n{_tail(process)}"

    def _overdue(self, seconds: float) -> str:
        running = [process for process in self.processes if process.status is None]
        said = "\n".join(f"{process.name}:\n{_tail(process)}" for process in running)
        return (
            f"{self.name}: not done after {seconds:g} s; {', '.join(p.name for p in running)} "
            f"still ran and had to be ended. Last words of\n{said}"
        )


def _tail(process: Process) -> str:
    lines = process.text.splitlines()[-LAST_WORDS:]
    return "\n".join(f"  {line[:300]}" for line in lines) or "  (nothing)"


@atexit.register
def close_all() -> None:
    """Close every cluster that is still open."""
    for cluster in list(_open):
        cluster.close()


def still_open() -> list[Cluster]:
    """The clusters that are not closed yet."""
    return list(_open)


def left_over() -> list[str]:
    """What is left of the clusters of this process: guardians that run, and folders.

    An empty list, once all are closed.
    """
    mine = str(Path(tempfile.gettempdir(), f"{PREFIX}{os.getpid()}-"))
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if str(_GUARDIAN) in words and any(word.startswith(mine) for word in words):
            found.append(f"process {process.pid}")
    return found + [str(path) for path in Path(mine).parent.glob(f"{Path(mine).name}*")]
