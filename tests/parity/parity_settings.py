"""What parity tests call: a lesson's settings, and Keras on a backend of their choice."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def settings(lesson: dict[str, ModuleType], framework: str, **changes: Any) -> SimpleNamespace:
    """The quick profile's settings of a lesson with seed 0, and what differs from them."""
    quick = {**lesson[framework].QUICK, "seed": 0, "framework": framework}
    return SimpleNamespace(**{**quick, **changes})


def keras_prints(code: str, backend: str) -> dict[str, float]:
    """Run code with Keras, seeded, on a backend; it prints lines of a name and a number."""
    seeded = f"import keras\nkeras.utils.set_random_seed(0)\n{code}"
    run = subprocess.run(
        [sys.executable, "-c", seeded, backend],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [line.split() for line in run.stdout.splitlines()]
    return {line[0]: float(line[1]) for line in lines if len(line) == 2}
