"""A long training that is cut goes on where it was, and knows how long it has taken in all."""

import os
import signal
import subprocess
import sys

import pytest

from utils import runtime
from utils.recipes import _training as training


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    return now


def test_a_cut_training_goes_on_and_adds_up_its_time(tmp_path, clock, capsys):
    runtime.load("tensorflow")
    import tensorflow as tf

    def begin():
        trainer = tf.Module()
        trainer.step = tf.Variable(0)
        return trainer, training.Keeper("toy", trainer, 50, tmp_path)

    trainer, keeper = begin()
    trainer.step.assign(10)
    clock[0] += training.SAVE_EVERY + 10  # 70 s: time to save
    assert keeper.report(10, {"loss": 0.5})
    trainer.step.assign(20)
    clock[0] += 5  # not saved, so lost with the cut
    keeper.report(20, {"loss": 0.4})

    clock[0] += 1000  # nobody trains
    trainer, keeper = begin()
    assert int(trainer.step) == 10
    assert "from step 10 of 50" in capsys.readouterr().out
    clock[0] += 30
    assert keeper.done() == pytest.approx(training.SAVE_EVERY + 10 + 30)


# Saves after every step; the sum tells whether all that belongs to a step was saved together.
TRAINING = """
import sys
from pathlib import Path
from utils import runtime
from utils.recipes import _training as training
runtime.load("tensorflow")
import tensorflow as tf

training.SAVE_EVERY = -1.0
trainer = tf.Module()
trainer.step, trainer.sum = tf.Variable(0), tf.Variable(tf.zeros(200_000))
keeper = training.Keeper("toy", trainer, 10**9, Path(sys.argv[1]))
assert float(trainer.sum[-1]) == int(trainer.step) == float(trainer.sum[0])
for _ in range(int(sys.argv[2])):
    trainer.step.assign_add(1)
    trainer.sum.assign_add(tf.ones(200_000))
    keeper.report(int(trainer.step), {"loss": 1.0})
"""


@pytest.mark.skipif(os.name != "posix", reason="nobody is killed so elsewhere")
def test_a_training_killed_in_the_middle_of_a_save_goes_on_from_a_whole_one(tmp_path, repository):
    """As when a kernel is restarted: no farewell, and perhaps a file half written."""

    def start(steps):
        return subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(tmp_path), str(steps)],
            env=os.environ | {"PYTHONPATH": str(repository)},
            stdout=subprocess.PIPE,
            text=True,
        )

    first = start(10**9)
    for line in first.stdout:
        if line.startswith("toy: step 12 "):
            break
    first.send_signal(signal.SIGKILL)
    first.wait()
    # What a kill between two writes leaves: the data of a save that no list of saves knows.
    (tmp_path / "ckpt-99.data-00000-of-00001").write_bytes(b"half")
    (tmp_path / "ckpt-99.index").write_bytes(b"")
    second = start(3)
    said, _ = second.communicate(timeout=180)
    assert second.returncode == 0
    begun = int(said.split("from step ")[1].split(" ")[0].replace(",", ""))
    assert begun >= 12
    assert [line.split(" of ")[0] for line in said.splitlines()[1:]] == [
        f"toy: step {begun + more:,}" for more in (1, 2, 3)
    ]
