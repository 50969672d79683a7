"""19_flask: how many requests a second, beside twenty lines of Flask and the bare model."""

import os
from pathlib import Path
from typing import Any

from utils import bench_serving, results, runtime
from utils.serving.load import Pressed

NOTEBOOK = "19_flask"
HEADLINES = (  # what the README shows of the results
    "twenty lines of Flask, 64 clients: requests a second",
    "server with batches, 64 clients: requests a second",
    "bare calls, 64 threads: requests a second",
)
SECONDS, ROUNDS = 1.0, 3
TITLES = {  # what the load test calls it -> what the table calls it
    "twenty lines": "twenty lines of Flask",
    "server, JSON": "server, asked in JSON",
    "server": "server",
    "server, batches": "server with batches",
    "bare calls": "bare calls",
    "server, 16 digits": "server, 16 digits a request",
    "bare calls, 16 digits": "bare calls of 16 digits",
    "LitServe": "LitServe",
    "LitServe, batches": "LitServe with batches",
}


def train(folder: Path = Path("build/train")) -> None:
    """Say that there is nothing to train: this notebook serves the checkpoints of others."""
    print(f"{NOTEBOOK} has no checkpoint: it serves those of 12_resnet and 02_vae.", flush=True)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Load tests of one framework's engine, and beside PyTorch's also of ONNX Runtime.

    An interpreter that has LitServe, to compare with, is named in ``COURSE_LITSERVE``; `images`
    (of the other recipes: how much) makes the test a short one.
    """
    seconds, rounds = (0.3, 1) if images else (SECONDS, ROUNDS)
    found = _engine(framework, seconds, rounds, "")
    if framework == "torch":
        found += _engine("onnxruntime", seconds, rounds, "ONNX Runtime: ")
    return found


def _engine(engine: str, seconds: float, rounds: int, prefix: str) -> list[dict[str, Any]]:
    rival = os.environ.get("COURSE_LITSERVE")
    runs = bench_serving.measure(engine, seconds, rival, rounds)
    records = []
    for title in runs:
        if title not in TITLES:
            continue
        for i, clients in enumerate(bench_serving.CLIENTS):
            what = f"{prefix}{TITLES[title]}, {_clients(title, clients)}"
            pressed = [one[i] for one in runs[title]]
            records.append(
                _record(f"{what}: requests a second", [p.rate for p in pressed], "higher")
            )
            if "bare" not in title:
                records += _waits(what, pressed)
    return records


def _waits(what: str, pressed: list[Pressed]) -> list[dict[str, Any]]:
    return [
        _record(f"{what}: p{at}, ms", [p.percentile(at) for p in pressed], "lower")
        for at in (50, 95, 99)
    ]


def _record(metric: str, values: list[float], better: str) -> dict[str, Any]:
    middle = sorted(values)[len(values) // 2]
    return {
        "metric": metric,
        "value": float(f"{middle:.3g}"),
        "low": float(f"{min(values):.3g}"),
        "high": float(f"{max(values):.3g}"),
        "spread": f"half the range over {len(values)} runs; the load generator shares the machine",
        "seeds": [0],
        "reference": "–",
        "better": better,
        "profile": "full",
        "trained": "12_resnet_cutout, one thread a call, one digit a request",
        "data": "embedded digits",
    }


def table() -> str:
    """What was measured, compactly: a row for each server, a column for each number of clients."""
    records = results.read(NOTEBOOK)
    if not records:
        return f"Nothing measured yet: `make results NAME={NOTEBOOK}` measures."
    values = {(record.framework, record.metric): record.value for record in records}
    lines = [f"{records[0].device}; requests a second, and p50 / p95 / p99 in ms"]
    engines = [(f, "", runtime.LABELS[f]) for f in runtime.FRAMEWORKS]
    for framework, prefix, label in [*engines, ("torch", "ONNX Runtime: ", "ONNX Runtime")]:
        clients = "".join(f"{_clients('', n):>32}" for n in bench_serving.CLIENTS)
        lines.append(f"\n{label:<24}{clients}")
        for title in TITLES.values():
            cells = ""
            for n in bench_serving.CLIENTS:
                what = f"{prefix}{title}, {_clients(title, n)}"
                rate = values.get((framework, f"{what}: requests a second"))
                waits = [values.get((framework, f"{what}: p{at}, ms")) for at in (50, 95, 99)]
                shown = "" if None in waits else " / ".join(map(_short, waits))
                cells += "" if rate is None else f"{_short(rate):>9}{shown:>23}"
            lines += [f"{title:<24}{cells}"] if cells else []
    return "\n".join(lines)


def _clients(title: str, count: int) -> str:
    who = "threads" if "bare" in title else "clients"
    return f"{count} {who if count > 1 else who[:-1]}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
