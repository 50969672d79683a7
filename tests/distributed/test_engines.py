"""Every synchronous engine, in real processes, reaches what one process reaches.

Keras in DistributedDataParallel is compared by the notebook itself, when its tests run it with
Keras on PyTorch.
"""

import sys

import pytest

from utils import engines, granted
from utils.cluster import Cluster

STEPS = 12
ENGINES = {
    "DDP": engines.ddp,
    "FSDP2": engines.fsdp,
    "MultiWorker": engines.multiworker,
    "Mirrored": engines.mirrored,
    "ParameterServer": engines.parameter_server,
    "Keras fit, Mirrored": lambda *a: engines.mirrored("--keras", *a),
    "Keras loop, MultiWorker": lambda *a: engines.multiworker("--keras", *a),
}


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_equals_one_process(name, lesson):
    launch = ENGINES[name]
    made = launch("--steps", STEPS, "--seed", 1)
    found = engines.result(made)
    if name == "FSDP2":  # each process keeps half of the weights
        assert made.text().count("12725 of 25450 numbers") >= 2
    expected = lesson.alone(STEPS, 1)
    assert engines.apart(found, expected) < 1e-6
    assert engines.apart(expected, lesson.start(32, 1)) > 0.01, "nothing was learnt"


def test_gradients_in_half_precision_come_close_and_no_closer(lesson):
    found = engines.result(engines.ddp("--steps", STEPS, "--hook", "fp16"))
    gap = engines.apart(found, lesson.alone(STEPS, 0))
    assert 1e-6 < gap < 1e-2


@pytest.mark.parametrize("granted_mb, lasts", [(2147.5, 2), (16_000.0, 600)])
def test_engines_take_turns_where_memory_is_short(monkeypatch, granted_mb, lasts):
    monkeypatch.setattr(granted, "memory_mb", lambda: granted_mb)
    monkeypatch.setattr(engines, "torchrun", lambda *a, **b: [sys.executable, "-c", ""])
    # One that failed must not stop the next: whoever asks for its result hears of it.
    code = f"import time; time.sleep({lasts}); 1 / 0"
    with Cluster("an engine") as first:
        process = first.start("slow", [sys.executable, "-c", code])
        with engines.elastic("another"):
            assert (process.status is not None) == (granted_mb < engines.PLENTY)
