"""Faults: what dies, who notices, and that nothing is lost but the steps since the checkpoint."""

import re

import pytest

from utils import engines, faults

SAYS = {  # a piece of what each story must tell
    "torchrun: kill a worker": "goes on from step",
    "torchrun: SIGTERM, the machine is wanted back": "asked to leave",
    "PyTorch: a worker never joins": "1/2 clients joined",
    "PyTorch: the port is in use": "failed to listen",
    "MultiWorker: kill a worker": "Error",
    "MultiWorker: SIGTERM, the machine is wanted back": "goes on from step",
    "MultiWorker: a worker never joins": "worker 0 still ran and had to be ended",
    "MultiWorker: a wrong TF_CONFIG": "worker 2 is not in the cluster",
    "MultiWorker: the port is in use": "Could not start gRPC server",
    "ParameterServer: kill a worker": "done",
    "ParameterServer: kill the parameter server": "goes on from step",
}


# Each has a close relative among the others.
LONG = {
    "torchrun: SIGTERM, the machine is wanted back",
    "MultiWorker: kill a worker",
    "ParameterServer: kill a worker",
}


def marked(title):
    return pytest.param(title, marks=pytest.mark.thorough) if title in LONG else title


def test_every_fault_is_tested():
    assert SAYS.keys() == faults.FAULTS.keys()
    assert set(faults.QUICK) <= SAYS.keys() and LONG < SAYS.keys()


@pytest.mark.parametrize("title", [marked(title) for title in SAYS])
def test_a_fault(title, lesson):
    _, run = faults.FAULTS[title]
    story = run()
    told = "\n".join(story.lines)
    assert SAYS[title] in told
    if "kill" in title or "SIGTERM" in title:
        assert engines.apart(story.weights, lesson.alone(faults.STEPS, 0)) < 1e-6
    for step in re.findall(r"goes on from step (\d+)", told):
        assert 3 <= int(step) <= faults.STEPS


class TestLab:
    def test_without_a_front_end_it_lists_its_buttons(self, monkeypatch, capsys):
        monkeypatch.setenv("COURSE_HEADLESS", "1")
        faults.Lab({"one fault": lambda: None}, print).show()
        assert "[one fault]" in capsys.readouterr().out

    def test_a_button_runs_its_fault_and_errors_are_words(self, monkeypatch):
        monkeypatch.delenv("COURSE_HEADLESS", raising=False)
        pressed = []

        def run(title):
            pressed.append(title)
            raise faults.CourseError("in words")

        lab = faults.Lab({"a": lambda: None, "b": lambda: None}, run)
        lab.show()
        lab.buttons[1].click()
        assert pressed == ["b"]
        assert not any(button.disabled for button in lab.buttons)
