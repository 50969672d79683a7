"""The Keras callback on both backends: counted over all epochs, loss first, stops when told."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_SETUP = """
import sys
import numpy as np
from utils import runtime
runtime.begin(frameworks="keras", keras_backend=sys.argv[1])
import keras
from utils.panel import keras_callback

def fit(report, every=1, epochs=2, batches=5, **options):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"], **options)
    x = np.ones((4 * batches, 3), "float32")
    callback = keras_callback(report, preview="the preview", every=every)
    model.fit(x, x[:, :1], batch_size=4, epochs=epochs, verbose=0, callbacks=[callback])

calls = []
def report(step, logs, preview):
    calls.append((step, list(logs), preview, float(logs["loss"])))
    return step != stop_at

stop_at = None
fit(report)
assert [c[0] for c in calls] == list(range(1, 11)), calls
assert all(c[1] == ["loss", "mae"] for c in calls), calls
assert all(c[2] == "the preview" for c in calls)
assert calls[-1][3] < calls[0][3]

calls.clear()
fit(report, every=3)
assert [c[0] for c in calls] == [3, 6, 9, 10], calls

calls.clear()
stop_at = 7
fit(report)
assert [c[0] for c in calls] == list(range(1, 8)), calls

stop_at = None
if sys.argv[1] == "tensorflow":  # Keras on torch takes one step at a time
    calls.clear()
    fit(report, steps_per_execution=5)
    assert [c[0] for c in calls] == [5, 10], calls

def failing(step, logs, preview):
    raise RuntimeError("shown, not swallowed")
try:
    fit(failing)
except RuntimeError as error:
    print("all good:", error)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_keras_fit_reports_and_stops(backend: str) -> None:
    for name in ("keras", backend):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", _SETUP, backend],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "all good: shown, not swallowed" in done.stdout, done.stdout + done.stderr
