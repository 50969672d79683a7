"""The fault lab of 18_distributed: break a running engine, and report what it does.

Each fault is a function without arguments. It starts real processes, breaks something, waits for
what follows, and returns a `Story`; nothing it started is left.
"""

import dataclasses
import os
import re
import signal
import socket
import time
from collections.abc import Callable

import numpy as np

from utils import CourseError, engines, runtime
from utils.cluster import HOST, Cluster, Process, free_ports, script, tf_config

STEPS, EVERY = 12, 4  # a training's steps, and how often it saves
TRAINING = ("--steps", STEPS, "--save-every", EVERY, "--pause", 0.3)
PATIENCE = 240.0


@dataclasses.dataclass
class Story:
    """What happened: lines for the reader, and the weights at the end if training went on."""

    lines: list[str]
    weights: dict[str, np.ndarray] | None = None

    def tell(self) -> None:
        """Print it."""
        print("\n".join(self.lines))


FAULTS: dict[str, tuple[str, Callable[[], Story]]] = {}  # title -> framework, function


def fault(title: str, framework: str) -> Callable:
    """Enter a function in the list of faults."""

    def enter(function: Callable[[], Story]) -> Callable[[], Story]:
        FAULTS[title] = (framework, function)
        return function

    return enter


def _wait_for(made: Cluster, process: Process, text: str, may_fail: tuple = ()) -> None:
    made.until(engines.said(process, text), PATIENCE, may_fail)
    if text not in process.text:
        raise CourseError(f"{process.name} never said {text!r}, only:\n{process.text[-2000:]}")


def _lines(text: str, pattern: str, most: int = 3) -> list[str]:
    """The first lines that match, once each."""
    found = [line.strip()[:150] for line in text.splitlines() if re.search(pattern, line)]
    return [f"    {line}" for line in list(dict.fromkeys(found))[:most]]


def _process_of(text: str, who: str) -> int:
    """The number of a process, from its own greeting; the last one if it was restarted."""
    return int(re.findall(rf"{who}\b.*process (\d+)", text)[-1])


@fault("torchrun: kill a worker", "torch")
def kill_torch() -> Story:
    """Torchrun notices, ends the others, starts all of them again; they load the checkpoint."""
    with engines.elastic("torchrun", *TRAINING, restarts=3) as made:
        [agent] = made.processes
        _wait_for(made, agent, f"rank 1: step {EVERY + 2}")
        os.kill(_process_of(agent.text, "rank 1 of 2"), signal.SIGKILL)
        lines = [f"rank 1 is killed after step {EVERY + 2}; torchrun starts all ranks again:"]
        engines.finish(made, PATIENCE)
        lines += _lines(agent.text, "goes on from step")
        return Story(lines, engines.weights_in(made))


@fault("torchrun: SIGTERM, the machine is wanted back", "torch")
def preempt_torch() -> Story:
    """The rank that hears the signal tells the others at the step's end; all save and leave."""
    with engines.elastic("torchrun", *TRAINING) as made:
        [agent] = made.processes
        _wait_for(made, agent, "rank 1: step 5")
        os.kill(_process_of(agent.text, "rank 1 of 2"), signal.SIGTERM)
        engines.finish(made, PATIENCE)
        lines = ["rank 1 gets SIGTERM in step 5 or 6:", *_lines(agent.text, "asked to leave")]
        second = engines.again(made, "ddp.py", *TRAINING)
        engines.finish(made, PATIENCE)
        lines += ["started again:", *_lines(second.text, "goes on from step")]
        return Story(lines, engines.weights_in(made))


@fault("PyTorch: a worker never joins", "torch")
def absent_torch() -> Story:
    """Rank 0 of 2 is alone; its patience is five seconds."""
    return _alone(free_ports(1)[0], "--patience", 5)


@fault("PyTorch: the port is in use", "torch")
def port_torch() -> Story:
    """Somebody else listens where rank 0 wants to."""
    with socket.create_server((HOST, 0)) as other:
        return _alone(other.getsockname()[1])


def _alone(port: int, *arguments: object) -> Story:
    variables = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": HOST, "MASTER_PORT": str(port)}
    with Cluster("one rank of two") as made:
        command = script("ddp.py", "--folder", made.folder, *arguments)
        rank = made.start("rank 0", command, variables)
        return _ends_in_words(made, rank)


def _ends_in_words(made: Cluster, process: Process) -> Story:
    """Expect the process to fail; quote its last error."""
    started = time.monotonic()
    made.until(lambda: process.status is not None, PATIENCE, [process])
    if not process.status:
        raise CourseError(f"{process.name} should have failed, and has not.")
    line = f"{process.name} ended with status {process.status}"
    seconds = time.monotonic() - started
    words = _lines(process.text, r"^[\w.]*(Error|Exception|Timeout)\b.*:|Check failed|F\d{4}.*: ")
    return Story([f"{line} after {seconds:.0f} s:", *words[-1:]])


@fault("MultiWorker: kill a worker", "tensorflow")
def kill_multiworker() -> Story:
    """The survivor's all-reduce fails; TensorFlow restarts nobody: we start both again."""
    with Cluster("MultiWorkerMirroredStrategy") as made:
        zero, one = engines.workers_again(made, *TRAINING)
        _wait_for(made, one, f"worker 1: step {EVERY + 2}")
        one.kill()
        made.until(lambda: zero.status is not None, PATIENCE, [zero, one])
        lines = [f"worker 1 is killed after step {EVERY + 2}; worker 0 ends as well:"]
        lines += _lines(zero.text, r"^[\w.]*Error\b", 1)
        fresh = engines.workers_again(made, *TRAINING)
        made.until(lambda: all(p.status is not None for p in fresh), PATIENCE, [zero, one])
        lines += ["both are started again:", *_lines(made.text(), "goes on from step")]
        return Story(lines, engines.weights_in(made))


@fault("MultiWorker: SIGTERM, the machine is wanted back", "tensorflow")
def preempt_multiworker() -> Story:
    """PreemptionCheckpointHandler tells the others, all save at the same step, and exit."""
    training = (*TRAINING, "--preemptible")
    with Cluster("MultiWorkerMirroredStrategy") as made:
        first = engines.workers_again(made, *training)
        _wait_for(made, first[1], "worker 1: step 3")
        first[1].kill(signal.SIGTERM)
        made.until(lambda: all(p.status is not None for p in first), PATIENCE, first)
        lines = [f"worker 1 gets SIGTERM; the two end with {[p.status for p in first]},"]
        fresh = engines.workers_again(made, *training)
        made.until(lambda: all(p.status is not None for p in fresh), PATIENCE, first)
        lines += ["and, started again:", *_lines(made.text(), "goes on from step")]
        return Story(lines, engines.weights_in(made))


@fault("MultiWorker: a worker never joins", "tensorflow")
def absent_multiworker() -> Story:
    """TensorFlow would wait on; our launcher's deadline is sooner."""
    members = {"worker": engines.addresses_of(2)}
    with Cluster("MultiWorkerMirroredStrategy, alone") as made:
        command = script("multiworker.py", "--folder", made.folder)
        made.start("worker 0", command, tf_config(members, "worker", 0))
        try:
            made.wait(12)
        except CourseError as error:
            return Story(["the launcher says:", *str(error).splitlines()[:1]])
    raise CourseError("It should have waited, and has not.")


@fault("MultiWorker: a wrong TF_CONFIG", "tensorflow")
def wrong_config() -> Story:
    """Two workers, and a process that believes to be the third: refused before it starts."""
    try:
        tf_config({"worker": engines.addresses_of(2)}, "worker", 2)
    except CourseError as error:
        lines = ["the launcher says:", f"    {error}", "without it, TensorFlow says:"]
    members = {"worker": engines.addresses_of(2)}
    wrong = tf_config(members, "worker", 1)["TF_CONFIG"].replace('"index": 1', '"index": 2')
    with Cluster("a wrong TF_CONFIG") as made:
        command = script("multiworker.py", "--folder", made.folder)
        worker = made.start("worker 2", command, {"TF_CONFIG": wrong})
        return Story([*lines, *_ends_in_words(made, worker).lines])


@fault("MultiWorker: the port is in use", "tensorflow")
def port_multiworker() -> Story:
    """Somebody else listens where worker 0 wants to."""
    with socket.create_server((HOST, 0)) as other:
        taken = f"{HOST}:{other.getsockname()[1]}"
        members = {"worker": [taken, *engines.addresses_of(1)]}
        with Cluster("a port in use") as made:
            command = script("multiworker.py", "--folder", made.folder)
            worker = made.start("worker 0", command, tf_config(members, "worker", 0))
            return _ends_in_words(made, worker)


@fault("ParameterServer: kill a worker", "tensorflow")
def kill_ps_worker() -> Story:
    """The coordinator gives its work to the other one; training goes on."""
    with Cluster("ParameterServerStrategy") as made:
        tasks = engines.servers_again(made, *TRAINING)
        victim, chief = tasks["worker 1"], tasks["chief 0"]
        _wait_for(made, chief, f"chief: step {EVERY + 2}")
        victim.kill()
        engines.finish(made, PATIENCE, [victim])
        lines = [f"worker 1 is killed after step {EVERY + 2}; the chief goes on:"]
        lines += _lines(chief.text, f"step {STEPS} of|done")
        return Story(lines, engines.weights_in(made))


@fault("ParameterServer: kill the parameter server", "tensorflow")
def kill_ps() -> Story:
    """The weights are gone: an error at the chief; a new cluster loads the checkpoint."""
    with Cluster("ParameterServerStrategy") as made:
        tasks = engines.servers_again(made, *TRAINING)
        chief, old = tasks["chief 0"], list(tasks.values())
        _wait_for(made, chief, f"chief: step {EVERY + 2}")
        tasks["ps 0"].kill()
        made.until(lambda: chief.status is not None, PATIENCE, old)
        lines = [f"the ps is killed after step {EVERY + 2}; the chief ends with {chief.status}:"]
        lines += _lines(chief.text, r"^[\w.]*Error\b", 1)
        for process in old:
            process.close()
        tasks = engines.servers_again(made, *TRAINING)
        engines.finish(made, PATIENCE, old)
        lines += ["all four are started again:"]
        lines += _lines(tasks["chief 0"].text, "goes on from step")
        return Story(lines, engines.weights_in(made))


# What the quick profile runs where nobody can press a button: the first that it has.
QUICK = ("torchrun: kill a worker", "MultiWorker: a wrong TF_CONFIG")


class Lab:
    """A button for each fault, and room for what it tells.

    Parameters
    ----------
    faults
        Titles, and the functions behind them.
    run
        Called with a title when its button is pressed; prints what happened.
    """

    def __init__(self, faults: dict[str, Callable[[], Story]], run: Callable[[str], None]) -> None:
        self._faults, self._run = faults, run
        self.view = None
        self.output = None

    def show(self) -> None:
        """Display the buttons; without a front end, a list of them."""
        if runtime.headless():
            print("Buttons (in a live notebook):")
            for title, function in self._faults.items():
                print(f"  [{title}] {(function.__doc__ or '').strip()}")
            return
        import ipywidgets as widgets
        from IPython.display import display

        self.output = widgets.Output()
        layout = widgets.Layout(width="auto")
        self.buttons = [
            widgets.Button(description=title, tooltip=function.__doc__ or title, layout=layout)
            for title, function in self._faults.items()
        ]
        for button in self.buttons:
            button.on_click(self._press)
        rows = widgets.Box(self.buttons, layout=widgets.Layout(flex_flow="row wrap"))
        self.view = widgets.VBox([rows, self.output])
        self.view.add_class("course-faults")
        display(self.view)

    def _press(self, button: object) -> None:
        for each in self.buttons:
            each.disabled = True
        self.output.clear_output()
        try:
            with self.output:
                print(f"{button.description} … (half a minute, more on a busy machine)")
            with self.output:
                try:
                    self._run(button.description)
                except CourseError as error:
                    print(error)
        finally:
            for each in self.buttons:
                each.disabled = False
