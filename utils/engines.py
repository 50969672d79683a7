"""Starts the training engines of 18_distributed on this machine, each as a `Cluster`.

Each function returns at once: several engines load side by side, unless memory is short. `result`
waits for one, and returns the weights that it reached.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from utils import cluster, granted
from utils.cluster import HOST, Cluster, free_ports, script, tf_config, torchrun

DEADLINE = 240.0  # seconds; an engine needs some ten, but a busy machine is slow, not wrong
#: MB. With less than this (Binder grants 2,147) engines take turns: a process of TensorFlow takes
#: some 400, one of PyTorch 250, and the notebook has its own three frameworks in memory.
PLENTY = 3500.0


def ring(world: int = 3) -> Cluster:
    """The ring all-reduce by hand."""
    made, addresses = Cluster(f"a ring of {world}"), addresses_of(world)
    for rank in range(world):
        made.start(f"rank {rank}", script("ring.py", rank, *addresses))
    return made


def _open(name: str) -> Cluster:
    """A cluster for an engine; where memory is short, once what else was started has ended."""
    if granted.memory_mb() < PLENTY:
        for other in cluster.still_open():
            finish(other, may_fail=other.processes)
    return Cluster(name)


def addresses_of(count: int) -> list[str]:
    """As many free addresses on this machine."""
    return [f"{HOST}:{port}" for port in free_ports(count)]


def elastic(
    name: str, *arguments: object, script_name: str = "ddp.py", restarts: int = 2, **variables: str
) -> Cluster:
    """A script of the chapter under torchrun, in two processes.

    Should one die, torchrun starts both again; without a checkpoint they begin anew.
    """
    made = _open(name)
    again(made, script_name, *arguments, restarts=restarts, **variables)
    return made


def again(
    made: Cluster, script_name: str, *arguments: object, restarts: int = 0, **variables: str
) -> cluster.Process:
    """Start a script under torchrun in a cluster that exists, with its folder."""
    command = torchrun(script_name, "--folder", made.folder, *arguments, restarts=restarts)
    return made.start("torchrun", command, variables)


def ddp(*arguments: object) -> Cluster:
    """PyTorch, two processes that average gradients."""
    return elastic("DistributedDataParallel", *arguments)


def fsdp(*arguments: object) -> Cluster:
    """PyTorch, two processes that keep half of the weights each."""
    return elastic("FSDP2", *arguments, script_name="fsdp.py")


def keras_ddp(*arguments: object) -> Cluster:
    """Keras on PyTorch, two processes."""
    name = "Keras in DistributedDataParallel"
    return elastic(name, *arguments, script_name="keras_ddp.py", KERAS_BACKEND="torch")


def mirrored(*arguments: object) -> Cluster:
    """TensorFlow (or with "--keras" Keras's fit), one process, two replicas."""
    made = _open("MirroredStrategy" + (", fit" if "--keras" in arguments else ""))
    made.start("process", script("mirrored.py", "--folder", made.folder, *arguments), _KERAS)
    return made


_KERAS = {"KERAS_BACKEND": "tensorflow"}


def multiworker(*arguments: object) -> Cluster:
    """TensorFlow (or with "--keras" Keras in a loop), two workers."""
    made = _open("MultiWorkerMirroredStrategy" + (", Keras" if "--keras" in arguments else ""))
    workers_again(made, *arguments)
    return made


def workers_again(made: Cluster, *arguments: object) -> list[cluster.Process]:
    """Start two TensorFlow workers in a cluster that exists."""
    members = {"worker": addresses_of(2)}
    command = script("multiworker.py", "--folder", made.folder, *arguments)
    return [
        made.start(f"worker {rank}", command, {**_KERAS, **tf_config(members, "worker", rank)})
        for rank in range(2)
    ]


def parameter_server(*arguments: object) -> Cluster:
    """TensorFlow, a parameter server, two workers and a chief."""
    made = _open("ParameterServerStrategy")
    servers_again(made, *arguments)
    return made


TASKS = (("ps", 0), ("worker", 0), ("worker", 1), ("chief", 0))


def servers_again(made: Cluster, *arguments: object) -> dict[str, cluster.Process]:
    """Start parameter server, workers and chief in a cluster that exists; each by its name."""
    addresses = addresses_of(4)
    members = {"chief": addresses[:1], "worker": addresses[1:3], "ps": addresses[3:]}
    command = script("parameter_server.py", "--folder", made.folder, *arguments)
    return {
        f"{kind} {index}": made.start(f"{kind} {index}", command, tf_config(members, kind, index))
        for kind, index in TASKS
    }


def result(made: Cluster, seconds: float = DEADLINE) -> dict[str, np.ndarray]:
    """Wait for an engine, and return the weights that it reached; nothing of it is left.

    Raises
    ------
    CourseError
        If it fails, or takes longer.
    """
    with made:
        finish(made, seconds)
        return weights_in(made)


def finish(made: Cluster, seconds: float = DEADLINE, may_fail: Sequence = ()) -> None:
    """Wait until the training has ended: of a parameter-server cluster, until the chief has."""
    chiefs = [p for p in made.processes if p.name == "chief 0" and p not in may_fail]
    if chiefs:
        made.until(lambda: chiefs[-1].status is not None, seconds, may_fail)
    else:
        made.wait(seconds, may_fail)


def weights_in(made: Cluster) -> dict[str, np.ndarray]:
    """The weights that a finished engine has left in its folder."""
    with np.load(made.folder / "weights.npz") as found:
        return dict(found)


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest difference between two sets of weights."""
    assert one.keys() == other.keys(), "two different models"
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def said(process: cluster.Process, text: str) -> Callable[[], Any]:
    """Whether a process has written `text` yet, for `Cluster.until`."""
    return lambda: text in process.text or process.status is not None


def milliseconds(made: Cluster) -> float:
    """The median time of a step that an engine has printed."""
    lines = [line.split() for line in made.text().splitlines() if line.startswith("ms ")]
    return float(lines[-1][1])


def interfaces(name: str) -> dict[str, str]:
    """The variables that send gloo's traffic through a network interface."""
    return {
        "GLOO_SOCKET_IFNAME": name,
        "TP_SOCKET_IFNAME": name,
    }
