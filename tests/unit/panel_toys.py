"""Small training functions and panels for the panel's tests."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from utils.controls import Choice, Slider
from utils.panel import Panel

CONTROLS = (
    Slider("steps", 20, 1, 5000, log=True),
    Slider("learning_rate", 1e-3, 1e-6, 10.0, log=True, help="How far each step goes."),
    Choice("batch_size", 64, [32, 64, 128]),
)
PATIENCE = 20.0


def descend(settings: Any, report: Callable[..., bool]) -> dict:
    """Train at once: the loss falls, samples are grey."""
    step = 0
    for step in range(1, settings.steps + 1):
        loss = math.exp(-settings.learning_rate * step) + 0.1
        if not report(step, {"loss": loss, "kl": 1 / step}, lambda: np.full((4, 6), 0.5)):
            break
    return {"step": step, "settings": settings}


class Gated:
    """A training function that takes a step when the test lets it."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []
        self.answers: list[bool] = []

    def let(self, steps: int) -> None:
        """Allow so many more steps."""
        for _ in range(steps):
            self.gate.release()

    def __call__(self, settings: Any, report: Callable[..., bool]) -> dict:
        self.threads.append(threading.current_thread())
        step = 0
        for step in range(1, settings.steps + 1):
            assert self.gate.acquire(timeout=PATIENCE), "the test forgot to let the training go on"
            self.answers.append(report(step, {"loss": 1 / step}))
            if not self.answers[-1]:
                break
        return {"step": step}


def make_panel(train: Any = descend, **options: Any) -> Panel:
    """A panel over `train`, for PyTorch unless a dictionary says otherwise."""
    trains = train if isinstance(train, dict) else {"torch": train}
    options.setdefault("title", f"toy {time.perf_counter_ns()}")
    return Panel(trains, options.pop("controls", CONTROLS), **options)


def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)
