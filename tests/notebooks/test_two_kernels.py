"""Two notebooks at once on one cache, and a kernel that is restarted while its panel trains."""

import json
import os

import pytest
from jupyter_client.manager import start_new_kernel
from notebook_shelf import ROOT

pytestmark = [pytest.mark.notebooks, pytest.mark.slow]

# What a learner does on the start page: look at the data, train in the panel, do an exercise.
BEGIN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from utils import data, lessons
from utils.controls import Slider
from utils.exercises import start as questions
from utils.panel import Panel

page = lessons.load("00_start_here", "torch")

def train(steps):
    controls = [Slider("learning_rate", 0.1, 0.001, 1.0), Slider("batch_size", 64, 1, 256)]
    controls.append(Slider("steps", steps, 10, 10**6))
    panel = Panel({{"torch": page.ways["torch"].train}}, controls, title="Digits", seed=0)
    panel.show(autostart=True)
    return panel

print(len(data.mnist().x_train))
"""
SHORT = """
panel = train(20)
panel.wait()
questions.parameters.check(7850)
print(panel.state, [run.status for run in panel.runs])
"""
LONG = "panel = train(10**6)"
STATE = "print(panel.state, panel.runs[-1].status if panel.runs else '')"


class Kernel:
    """A kernel as a notebook has it, without a front end."""

    def __init__(self, environment):
        self.manager, self.client = start_new_kernel(
            kernel_name="python3", env=environment, cwd=str(ROOT / "chapters" / "00_start_here")
        )

    def begin(self, code):
        """Send a cell, and do not wait for it."""
        return self.client.execute(code)

    def end(self, cell, seconds=120):
        """Wait for a cell; what it printed."""
        printed = []
        while True:
            message = self.client.get_iopub_msg(timeout=seconds)
            if message["parent_header"].get("msg_id") != cell:
                continue
            kind, content = message["msg_type"], message["content"]
            assert kind != "error", "\n".join(content.get("traceback", ()))
            if kind == "stream":
                printed += content["text"].splitlines()
            if kind == "status" and content["execution_state"] == "idle":
                return printed

    def run(self, code):
        return self.end(self.begin(code))

    def restart(self):
        self.manager.restart_kernel(now=True)  # as JupyterLab does: no farewell
        self.client.wait_for_ready(timeout=60)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def two(tmp_path):
    """Two kernels of one learner: one cache, one record of what is done."""
    environment = os.environ | {
        "COURSE_CACHE": str(tmp_path / "cache"),
        "COURSE_PROGRESS": str(tmp_path / "kept" / "progress"),
        "COURSE_OFFLINE": "1",
    }
    environment.pop("COURSE_DATA", None)
    kernels = []
    try:
        for _ in range(2):
            kernels.append(Kernel(environment))
        yield kernels
    finally:
        for kernel in kernels:
            kernel.close()


def test_two_notebooks_at_once_and_one_of_them_restarted_while_it_trains(two, tmp_path):
    first, second = two
    begun = [kernel.begin(BEGIN) for kernel in two]
    for kernel, cell in zip(two, begun, strict=True):
        assert kernel.end(cell)[-1] == "1442"  # the digits inside scikit-learn
    first.run(LONG)
    while not first.run(STATE)[-1].startswith("running"):
        pass
    cell = second.begin(SHORT)
    first.restart()
    assert first.run("print('panel' in globals())") == ["False"], "a fresh kernel knows nothing"
    again = first.begin(BEGIN + SHORT)
    assert second.end(cell)[-1] == "done ['done']"
    assert first.end(again)[-1] == "done ['done']"
    lines = list(filter(None, (tmp_path / "kept" / "progress").read_text().splitlines()))
    done = {"notebook": "00_start_here", "kind": "exercise", "name": "parameters"}
    assert lines and all(json.loads(line) == done for line in lines), "whole lines, nothing mixed"
    left = [path.name for path in tmp_path.rglob(".*")]
    assert left == [], "no draft is left behind"
