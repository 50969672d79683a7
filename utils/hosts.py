"""Two hosts on one machine: Linux network namespaces, joined by a link of a chosen speed.

Each host is a process that only sleeps, in a network namespace without a name. A namespace without
a name ends with its last process, and with it the link: the guardians of `utils.cluster` see to
that, whatever happens to us.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from utils import CourseError, cluster, engines
from utils.cluster import Cluster, script, tf_config

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29500  # nobody else is in a fresh namespace
BURST = "256kb"


def why_not() -> str:
    """Why this machine cannot play two hosts; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are a feature of Linux"
    missing = [tool for tool in ("ip", "tc", "unshare", "nsenter") if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} is not installed (packages iproute2 and util-linux)"
    if os.geteuid() != 0:
        return "creating network namespaces needs root"
    tried = subprocess.run(["unshare", "-n", "true"], capture_output=True)
    if tried.returncode:
        return "this kernel (or container) lets nobody create network namespaces"
    return ""


class Hosts:
    """Two hosts with a link between them, for a ``with`` statement.

    Parameters
    ----------
    rate
        The link's speed in the words of ``tc``, such as ``"100mbit"``, in each direction.

    Raises
    ------
    CourseError
        If the machine cannot do it, with the reason.
    """

    def __init__(self, rate: str) -> None:
        reason = why_not()
        if reason:
            raise CourseError(f"There can be no two hosts on this machine: {reason}.")
        self.rate = rate
        self._cluster = Cluster(f"two hosts at {rate}")
        try:
            self._pids = [self._host(number) for number in range(2)]
            one, other = self._pids
            self._run(
                *("ip", "link", "add", "eth0", "netns", str(one), "type", "veth"),
                *("peer", "name", "eth0", "netns", str(other)),
            )
            for number in range(2):
                self._wire(number)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Hosts":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the hosts; namespaces and link go with them."""
        self._cluster.close()

    def on(self, host: int, command: Sequence[str]) -> list[str]:
        """The command that runs `command` on a host."""
        return ["nsenter", "-t", str(self._pids[host]), "-n", *command]

    def torch(self, name: str, *arguments: object) -> Cluster:
        """A PyTorch script of the chapter, one process on each host."""
        made = Cluster(f"{name} on two hosts at {self.rate}")
        for rank in range(2):
            variables = {
                **{"RANK": str(rank), "WORLD_SIZE": "2"},
                **{"MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": str(PORT)},
                **engines.interfaces("eth0"),
            }
            command = self.on(rank, script(name, *(_with_folder(made, arguments))))
            made.start(f"rank {rank}", command, variables)
        return made

    def multiworker(self, *arguments: object) -> Cluster:
        """MultiWorkerMirroredStrategy, a worker on each host."""
        made = Cluster(f"MultiWorkerMirroredStrategy on two hosts at {self.rate}")
        members = {"worker": [f"{address}:{PORT}" for address in ADDRESSES]}
        for rank in range(2):
            command = self.on(rank, script("multiworker.py", *_with_folder(made, arguments)))
            made.start(f"worker {rank}", command, tf_config(members, "worker", rank))
        return made

    def _host(self, number: int) -> int:
        process = self._cluster.start(f"host {number}", ["unshare", "-n", "sleep", "infinity"])
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net"):
                    return process.pid
            except (CourseError, OSError):
                pass  # not there yet
            time.sleep(0.02)
        raise CourseError("A network namespace could not be made.")

    def _wire(self, host: int) -> None:
        address = f"{ADDRESSES[host]}/24"
        self._run(*self.on(host, ["ip", "link", "set", "lo", "up"]))
        self._run(*self.on(host, ["ip", "addr", "add", address, "dev", "eth0"]))
        self._run(*self.on(host, ["ip", "link", "set", "eth0", "up"]))
        shape = ["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", self.rate]
        self._run(*self.on(host, [*shape, "burst", BURST, "latency", "400ms"]))

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CourseError(
                f"`{' '.join(command[:6])} …` failed, so there is no link between two hosts: "
                f"{done.stderr.strip()}"
            )


def _with_folder(made: Cluster, arguments: Sequence[object]) -> list[object]:
    """Only the training scripts write into a folder."""
    numbers = all(str(one).isdigit() for one in arguments)
    return list(arguments) if arguments and numbers else ["--folder", made.folder, *arguments]


class Loopback:
    """The same two processes without hosts: on this machine, over its loopback device."""

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def torch(self, name: str, *arguments: object, world: int = 2, threads: int = 1) -> Cluster:
        """A PyTorch script of the chapter in two processes, or in another number of them."""
        made, [port] = Cluster(f"{name} over loopback"), cluster.free_ports(1)
        for rank in range(world):
            variables = {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_PORT": str(port)}
            command = script(name, *_with_folder(made, arguments))
            there = {**variables, "MASTER_ADDR": cluster.HOST}
            made.start(f"rank {rank}", command, there, threads)
        return made

    def multiworker(self, *arguments: object) -> Cluster:
        """MultiWorkerMirroredStrategy in two processes."""
        return engines.multiworker(*arguments)
