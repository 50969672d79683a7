"""What the recipes of the classifiers share: a run that is kept, its sidecar, its accuracy."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, files, parity, runtime
from utils.recipes._data import kind

METRIC = "test accuracy in percent, first 1,000 test images"
COUNTED = 1000  # test images that a checkpoint is measured again on


def fit(
    name: str,
    train: Callable[[SimpleNamespace, Callable[..., bool]], Any],
    settings: SimpleNamespace,
    path: Path,
    say_every: float,
) -> tuple[parity.Weights, np.ndarray, float]:
    """Train once: what an earlier call has kept in `path` is taken from there.

    Parameters
    ----------
    name
        What is trained, for the log.
    train
        Makes a trained model of settings and a report.
    settings
        With a `seed` and a number of `steps`.
    path
        An ``.npz`` file.
    say_every
        Seconds between two lines of the log.

    Returns
    -------
    dict, ndarray, float
        The weights; (reports, 2), a step and its loss; the seconds that it took.
    """
    if path.exists():
        kept = dict(np.load(path))
        losses, seconds = kept.pop("losses", np.zeros((0, 2))), float(kept.pop("seconds"))
        return kept, losses, seconds
    reported: list[tuple[int, float]] = []
    started = said = time.monotonic()

    def report(step: int, logs: dict[str, float], preview: Any = None) -> bool:
        nonlocal said
        reported.append((step, logs["loss"]))
        if time.monotonic() - said > say_every:
            said = time.monotonic()
            print(f"{name}: step {step:,} of {settings.steps:,}, {logs}", flush=True)
        return True

    runtime.seed_everything(settings.seed)
    weights = parity.get_weights(train(settings, report))
    losses, seconds = np.array(reported).reshape(-1, 2), time.monotonic() - started
    whole = io.BytesIO()
    np.savez(whole, losses=losses, seconds=seconds, **weights)
    files.write(path, whole.getvalue())
    return weights, losses, seconds


def accuracy(way: Any, model: Any, digits: data.Dataset, images: int | None = None) -> float:
    """Percent of the first `images` test images that are given their label."""
    guess = way.logits(model, digits.x_test[:images]).argmax(axis=1)
    return float(100 * (guess == digits.y_test[:images]).mean())


def sidecar(
    settings: SimpleNamespace, seconds: float, way: Any, model: Any, mnist: data.Dataset
) -> dict[str, Any]:
    """How a checkpoint came about, and the numbers to re-measure it by.

    Parameters
    ----------
    settings, seconds
        Of its training.
    way, model
        A lesson's functions, and its model with the weights as they are stored.
    mnist
        What it is measured on; the embedded digits come besides.
    """
    both = (mnist, data.mnist("embedded"))
    found = {kind(one): round(accuracy(way, model, one, COUNTED), 4) for one in both}
    return {
        "seed": settings.seed,
        "settings": vars(settings),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC, "value": found},
    }


def remeasured(way: Any, model: Any, checkpoint: checkpoints.Checkpoint) -> tuple[float, float]:
    """The accuracy that a checkpoint's sidecar states, and the one found now."""
    digits = data.mnist()
    stated = checkpoint.info["metric"]["value"][kind(digits)]
    return stated, accuracy(way, model, digits, COUNTED)


def record(metric: str, values: list[float], reference: str) -> dict[str, Any]:
    """The mean of some seeds' values, and their range."""
    return {
        "metric": metric,
        "value": round(float(np.mean(values)), 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
        "reference": reference,
    }
