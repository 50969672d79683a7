"""20_onnx: files against their models: difference, size, time of a call, accuracy in 8 bits."""

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from utils import data, lessons, results, runtime

NOTEBOOK = "20_onnx"
HEADLINES = (  # what the README shows of the results
    "digits: largest difference of the file to its model",
    "digits: ONNX Runtime, times as fast as the framework, batch 1",
    "digits: test accuracy in 8 bits, percent",
    "digits: file in 8 bits, times smaller",
)
ROUNDS, CALLS, BATCHES = 5, 40, (1, 64)
CALIBRATION = 200  # training digits, or inputs drawn with another seed


def train(folder: Path = Path("build/train")) -> None:
    """Say that there is nothing to train: this notebook exports the checkpoints of others."""
    print(f"{NOTEBOOK} has no checkpoint: it exports those of 02, 07, 12 and 16.", flush=True)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Every file against the model in one framework; beside PyTorch also sizes and 8 bits.

    `images` (of the other recipes: how much) makes it a short one, of so many test digits.
    """
    lesson = lessons.load(NOTEBOOK, framework)
    records = []
    for name in lesson.MODELS:
        content = lesson.to_onnx(name)
        gaps = lesson.differences(name, framework)
        what = f"{name}: largest difference of the file to its model"
        records.append(_record(what, [max(gaps)], "lower", reference="≤ 1e-5"))
        records += _times(lesson, framework, name, content, images)
        if framework == "torch":
            records += _eight_bits(lesson, name, content, images)
    return records


def _times(
    lesson: Any, framework: str, name: str, content: bytes, images: int | None
) -> list[dict[str, Any]]:
    """Milliseconds of a call in the framework and in ONNX Runtime, which take turns."""
    label, records = runtime.LABELS[framework], []
    model, ready = lesson.source(name, framework), lesson.session(content)
    for batch in BATCHES:
        x = lesson.inputs(name, batch)
        calls = {label: functools.partial(model, x)}
        calls["ONNX Runtime"] = functools.partial(lesson.run, ready, x)
        took = _turns(calls, batch, images)
        for who, times in took.items():
            records.append(_record(f"{name}: {who}, batch {batch}, ms", times, "lower", _SPREAD))
        faster = [a / b for a, b in zip(took[label], took["ONNX Runtime"], strict=True)]
        what = f"{name}: ONNX Runtime, times as fast as the framework, batch {batch}"
        records.append(_record(what, faster, "higher", _SPREAD, "≥ 2" if batch == 1 else "–"))
    return records


_SPREAD = f"range over {ROUNDS} rounds, each the median of many calls, one thread"


def _turns(
    calls: dict[str, Callable[[], Any]], batch: int, images: int | None
) -> dict[str, list[float]]:
    """Medians of each round, for each of several functions that take turns."""
    rounds, count = (2, 3) if images else (ROUNDS, CALLS if batch == 1 else CALLS // 4)
    found: dict[str, list[float]] = {who: [] for who in calls}
    for turn in range(rounds + 1):  # the first warms up
        for who, call in calls.items():
            times = []
            for _ in range(count):
                started = time.perf_counter()
                call()
                times.append(1000 * (time.perf_counter() - started))
            if turn:
                found[who].append(statistics.median(times))
    return found


def _eight_bits(lesson: Any, name: str, content: bytes, images: int | None) -> list[dict[str, Any]]:
    calibration = lesson.inputs(name, CALIBRATION, seed=1)
    if name == "digits":
        digits = data.mnist()
        calibration = digits.x_train[:: len(digits.x_train) // CALIBRATION][:CALIBRATION]
        calibration = calibration.astype("float32")
    small = lesson.quantised(name, calibration)
    records = [
        _record(f"{name}: file, kB", [len(content) / 1000], "lower"),
        _record(f"{name}: file in 8 bits, kB", [len(small) / 1000], "lower"),
        _record(
            f"{name}: file in 8 bits, times smaller",
            [len(content) / len(small)],
            "higher",
            reference="3.5 to 4",
        ),
    ]
    for batch in BATCHES:
        x, ready = lesson.inputs(name, batch), lesson.session(small)
        calls = {"8 bits": functools.partial(lesson.run, ready, x)}
        took = _turns(calls, batch, images)["8 bits"]
        records.append(_record(f"{name}: in 8 bits, batch {batch}, ms", took, "lower", _SPREAD))
    if name == "digits":
        files = {"": content, " in 8 bits": small}
        wrong = lesson.quantised(name, calibration / 255)
        files[" in 8 bits, calibrated with pictures divided by 255"] = wrong
        for title, one in files.items():
            what, right = f"digits: test accuracy{title}, percent", _accuracy(lesson, one, images)
            records.append(_record(what, [right], "higher", reference="99.5 (12)"))
    return records


def _accuracy(lesson: Any, content: bytes, images: int | None) -> float:
    digits = data.mnist()
    x, y, ready = digits.x_test[:images], digits.y_test[:images], lesson.session(content)
    parts = (x[i : i + 500].astype("float32") for i in range(0, len(x), 500))
    said = np.concatenate([lesson.run(ready, part).argmax(1) for part in parts])
    return 100 * float(np.mean(said == y))


def _record(
    metric: str, values: list[float], better: str, spread: str = "–", reference: str = "–"
) -> dict[str, Any]:
    return {
        "metric": metric,
        "value": float(f"{statistics.median(values):.4g}"),
        "low": float(f"{min(values):.4g}"),
        "high": float(f"{max(values):.4g}"),
        "spread": spread,
        "seeds": [0],
        "reference": reference,
        "better": better,
        "profile": "full",
        "trained": "12_resnet_cutout, 02_vae_2d, 07_dcgan, 16_yolo",
        "data": data.mnist().name,
    }


def table() -> str:
    """What was measured, compactly: a row for each model and framework, then the 8 bits."""
    records = results.read(NOTEBOOK)
    if not records:
        return f"Nothing measured yet: `make results NAME={NOTEBOOK}` measures."
    values = {(record.framework, record.metric): record.value for record in records}
    names = list(dict.fromkeys(record.metric.split(":")[0] for record in records))
    lines = [records[0].device, ""]
    heads = ("difference", "ms, 1", "runtime, 1", "faster", "ms, 64", "runtime, 64", "faster")
    lines.append(f"{'':<22}" + "".join(f"{head:>12}" for head in heads))
    for name in names:
        for framework, label in runtime.LABELS.items():
            wanted = [f"{name}: largest difference of the file to its model"]
            for batch in BATCHES:
                wanted += [f"{name}: {who}, batch {batch}, ms" for who in (label, "ONNX Runtime")]
                wanted.append(
                    f"{name}: ONNX Runtime, times as fast as the framework, batch {batch}"
                )
            cells = [values.get((framework, what)) for what in wanted]
            if None not in cells:
                shown = [f"{cells[0]:.0e}", *(f"{cell:.3g}" for cell in cells[1:])]
                lines.append(f"{name:<11}{label:<11}" + "".join(f"{cell:>12}" for cell in shown))
    heads = ("kB", "8 bits, kB", "smaller", "8 bits: ms, 1", "ms, 64")
    lines += ["", f"{'':<22}" + "".join(f"{head:>15}" for head in heads)]
    for name in names:
        wanted = ("file, kB", "file in 8 bits, kB", "file in 8 bits, times smaller")
        wanted += tuple(f"in 8 bits, batch {batch}, ms" for batch in BATCHES)
        cells = [values.get(("torch", f"{name}: {what}")) for what in wanted]
        if None not in cells:
            lines.append(f"{name:<22}" + "".join(f"{cell:>15.3g}" for cell in cells))
    lines.append("")
    for (_, metric), value in values.items():
        if "accuracy" in metric:
            lines.append(f"{metric.split(': ')[1]}: {value:.2f}")
    return "\n".join(lines)
