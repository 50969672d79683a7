"""What only a GPU can show. Skipped where there is none; with COURSE_REQUIRE_GPU=1 an error."""

from types import SimpleNamespace

import numpy as np
import pytest

from utils import data, gpu_run, lessons, parity, runtime

pytestmark = pytest.mark.gpu
NAME = "17_gpu"


@pytest.fixture(scope="module")
def lesson():
    return lessons.load(NAME, "torch")


@pytest.fixture(scope="module")
def digits():
    found = data.mnist("embedded")
    return found.x_train[:512], found.y_train[:512].astype("int64")


def settings(lesson, device):
    return SimpleNamespace(**lesson.QUICK, seed=0, device=device)


def test_pytorch_sees_it():
    machine = gpu_run.look()
    assert machine.objection() is None, machine.objection()


def test_the_run_computes_there_and_agrees_with_the_cpu(lesson, digits):
    losses = {}
    for device in ("cpu", "gpu"):
        chosen = settings(lesson, device)
        runner = lesson.TorchRunner(chosen)
        losses[device] = lesson.go_on(runner, *digits, chosen, 4)
        kind = "cuda" if device == "gpu" else "cpu"
        assert {w.device.type for w in runner.model.parameters()} == {kind}
    assert losses["gpu"] == pytest.approx(losses["cpu"], abs=2e-2)


def test_a_run_saved_on_the_gpu_goes_on_without_one(lesson, digits, tmp_path):
    there = lesson.TorchRunner(settings(lesson, "gpu"))
    lesson.go_on(there, *digits, there.settings, 3)
    there.save(tmp_path / "saved")
    here = lesson.TorchRunner(settings(lesson, "cpu"))
    here.restore(tmp_path / "saved")
    weights, own = parity.get_weights(there.model), parity.get_weights(here.model)
    assert here.done == 3 and all(np.array_equal(weights[name], own[name]) for name in own)
    lesson.go_on(here, *digits, here.settings, 5)


def test_bfloat16_learns_there(lesson, digits):
    chosen = SimpleNamespace(**{**lesson.QUICK, "steps": 60}, seed=0, device="gpu")
    losses = lesson.go_on(lesson.TorchRunner(chosen, "bfloat16"), *digits, chosen, 60)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_a_session_on_auto_takes_it():
    assert runtime.begin("quick", ["torch"], 0, "gpu").torch_device == "cuda"
