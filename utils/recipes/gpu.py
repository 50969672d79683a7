"""17_gpu: what a training step takes as it is, in bfloat16 and compiled, on the machine at hand."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import data, lessons, runtime

NOTEBOOK = "17_gpu"
HEADLINES = (  # what the README shows of the results
    "training step, ms",
    "training step, compiled, ms",
)
REPEATS = 15
SIDE = 256  # of the matrices whose product is timed in float16


def train(folder: Path = Path("build/train")) -> None:
    """Say that there is nothing to train: this notebook only measures."""
    print(f"{NOTEBOOK} has no checkpoint: it measures how long steps take.", flush=True)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Time the lesson's training steps in one framework; `images` bounds the batch."""
    lesson = lessons.load(NOTEBOOK, framework)
    gpu = runtime._sees_gpu(framework)
    settings = SimpleNamespace(**lesson.FULL, seed=0, device="gpu" if gpu else "cpu")
    settings.batch_size = min(settings.batch_size, images or settings.batch_size)
    digits = data.mnist()
    batch = digits.x_train[: settings.batch_size], digits.y_train[: settings.batch_size]
    batch = batch[0], batch[1].astype("int64")
    found = {}
    for title, (make, first) in variants(lesson, framework, settings).items():
        seconds, begun = steps(lesson, make(), batch)
        found[f"training step{title}, ms"] = 1e3 * seconds
        if first:
            found[first] = np.array([begun])
        print(
            f"training step{title}: {lesson.in_words(seconds)}, the first {begun:.1f} s", flush=True
        )
    if framework == "torch" and not gpu:
        found |= {
            f"a product of {SIDE}×{SIDE} in float16, times as long as in float32": half(lesson)
        }
    device = {"device": f"GPU {_card()}"} if gpu else {}
    return [_item(metric, values, settings, device) for metric, values in found.items()]


def variants(
    lesson: ModuleType, framework: str, settings: SimpleNamespace
) -> dict[str, tuple[Callable[[], Any], str | None]]:
    """How a run is made, and what its first step is called where that is worth a row."""
    runner = lesson.ways[framework].runner
    compiling = "compiling, s"
    common = {
        "": (lambda: runner(settings), None),
        " in bfloat16": (lambda: runner(settings, "bfloat16"), None),
    }
    if framework == "torch":

        def compiled() -> Any:
            import torch

            made = runner(settings)
            made.forward = torch.compile(made.model)
            return made

        return {**common, ", compiled": (compiled, compiling)}
    if framework == "tensorflow":

        def line_by_line() -> Any:
            made = runner(settings)
            made.learn = made.learn_eagerly
            return made

        compiled = lambda: runner(settings, jit=True)  # noqa: E731
    else:
        line_by_line = lambda: runner(settings, run_eagerly=True)  # noqa: E731
        compiled = lambda: runner(settings, jit_compile=True)  # noqa: E731
    return {**common, ", compiled": (compiled, compiling), ", line by line": (line_by_line, None)}


def steps(lesson: ModuleType, run: Any, batch: tuple) -> tuple[np.ndarray, float]:
    """Seconds of each step, and of the very first one, which compiles."""
    started = time.perf_counter()
    float(run.step(*batch))
    begun = time.perf_counter() - started
    return lesson.timed(lambda: float(run.step(*batch)), repeats=REPEATS), begun


def half(lesson: ModuleType) -> np.ndarray:
    """How many times as long a CPU takes for a matrix product in float16."""
    import torch

    single = torch.rand(SIDE, SIDE)
    times = [
        lesson.timed(lambda matrix=matrix: matrix @ matrix, repeats=5)
        for matrix in (single.half(), single)
    ]
    return times[0] / np.median(times[1])


def _load() -> str:
    """How busy the machine is: times measured beside other programs are not the machine's own."""
    known = hasattr(os, "getloadavg")
    return f"a load average of {os.getloadavg()[0]:.0f}" if known else "an unknown load"


def _card() -> str:
    from utils import gpu_run

    return gpu_run.look().gpu or "of TensorFlow's"


def _item(
    metric: str, values: np.ndarray, settings: SimpleNamespace, device: dict[str, str]
) -> dict[str, Any]:
    low, middle, high = np.round(np.quantile(values, [0.25, 0.5, 0.75]).astype(float), 3)
    return {
        "metric": metric,
        "value": float(middle),
        "low": float(low),
        "high": float(high),
        "spread": f"the quartiles of {REPEATS} steps on a machine with {_load()}",
        "seeds": [0],
        "reference": "–",
        "better": "lower",
        "profile": "full",
        "trained": f"chapter 10's small AlexNet, width {settings.width}, batches of "
        f"{settings.batch_size} images",
        "data": "MNIST train, one batch",
        **device,
    }
