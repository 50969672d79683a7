"""Every synchronous engine, in real processes, reaches what one process reaches.

Keras in DistributedDataParallel is compared by the notebook itself, when its tests run it with
Keras on PyTorch.
"""

import pytest

from utils import engines

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
