"""21_tflite: each deployed model in nine ways: size, latency, memory, accuracy, difference."""

import collections
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from utils import bench_deployed as bench
from utils import results

NOTEBOOK = "21_tflite"
HEADLINES = (  # what the README shows of the results
    "digits, LiteRT float32: ms, 1 image",
    "digits, LiteRT int8: ms, 1 image",
    "digits, LiteRT float32: test accuracy, %",
    "digits, LiteRT int8: test accuracy, %",
    "digits, LiteRT float32: kB",
    "digits, LiteRT int8: kB",
)
COLOURS = {  # Okabe and Ito
    "PyTorch": "#D55E00",
    "TensorFlow": "#0072B2",
    "Keras": "#009E73",
    **dict.fromkeys(("ONNX Runtime float32", "ONNX Runtime int8"), "#CC79A7"),
    **dict.fromkeys([way for way in bench.WAYS if way.startswith("LiteRT")], "#E69F00"),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A model in one way of running it. Latencies are pairs, median and 95th percentile."""

    way: str
    kilobytes: float
    one: tuple[float, float]
    batch: tuple[float, float]
    memory: float
    gap: float
    right: float | None
    right_range: tuple[float, float] | None
    device: str

    @property
    def ms(self) -> float:
        """The median for one image."""
        return self.one[0]


def train(folder: Path = Path("build/train")) -> None:
    """Say that there is nothing to train: the models are those of other notebooks."""
    print(f"{NOTEBOOK} has no checkpoint: it deploys those of 12, 02, 07 and 16.", flush=True)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Measure one framework's rows: PyTorch's with ONNX Runtime's, TensorFlow's with LiteRT's.

    `images` bounds the test images, the calls that are timed, and the models: the digits alone.
    """
    records = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = bench.NAMES[:1] if images else bench.NAMES
        bench.prepare(folder, framework, names)
        for model in names:
            for way in bench.WAYS:
                if bench.owner(way) == framework:
                    found = bench.measured(folder, model, way, images)
                    print(f"{model}, {way}: {found}", flush=True)
                    records += _records(model, way, found)
    return records


def _records(model: str, way: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    title = f"{model}, {way}"
    late = f"up to the 95th percentile of {found['calls']} calls, from the fastest"
    records = [
        _record(f"{title}: kB", [found["bytes"] / 1000], "exact"),
        _record(f"{title}: ms, 1 image", found["one"], late),
        _record(f"{title}: ms, {bench.BATCH} images", found["batch"], late),
        _record(f"{title}: peak memory, MB", [found["memory"]], "one run"),
        _record(f"{title}: largest difference", [found["gap"]], f"{bench.BATCH} inputs"),
    ]
    if "right" in found:
        spread = f"the 95 % interval of {found['tested']:,} test images"
        records.append(_record(f"{title}: test accuracy, %", found["right"], spread, "higher"))
    return records


def _record(metric: str, values: list[float], spread: str, better: str = "lower") -> dict[str, Any]:
    """A record of one number, or of three: value, low, high."""
    value, low, high = [float(f"{v:.4g}") for v in (values if len(values) == 3 else 3 * values)]
    return {
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "spread": spread,
        "seeds": [0],
        "reference": "–",
        "better": better,
        "profile": "full",
        "trained": "the checkpoints of 12 (cutout), 02 (2 latents), 07 and 16; one thread a call",
        "data": "MNIST test" if metric.startswith("digits") else "the model's own inputs",
    }


def rows(model: str) -> list[Row]:
    """What was measured of one model, a row for each way; an empty list if nothing was."""
    found: dict[str, dict[str, results.Record]] = collections.defaultdict(dict)
    for record in results.read(NOTEBOOK):
        name, _, rest = record.metric.partition(", ")
        way, _, what = rest.partition(": ")
        if name == model:
            found[way][what] = record
    return [_row(way, found[way]) for way in bench.WAYS if "kB" in found[way]]


def _row(way: str, cells: dict[str, results.Record]) -> Row:
    one, batch = cells["ms, 1 image"], cells[f"ms, {bench.BATCH} images"]
    right = cells.get("test accuracy, %")
    return Row(
        way,
        cells["kB"].value,
        (one.value, one.high),
        (batch.value, batch.high),
        cells["peak memory, MB"].value,
        cells["largest difference"].value,
        right and right.value,
        right and (right.low, right.high),
        one.device,
    )


def table(model: str) -> str:
    """What was measured of one model, a line for each way to run it."""
    found = rows(model)
    if not found:
        return f"{model}: nothing measured yet: `make results NAME={NOTEBOOK}` measures."
    lines = [f"{model}: {bench.WHAT[model]} ({found[0].device})"]
    lines.append(
        f"{'':<21}{'kB':>7}{'ms, batch 1':>17}{f'ms, batch {bench.BATCH}':>16}{'MB':>6}"
        f"{'apart by':>10}{'right, %':>14}"
    )
    for row in found:
        right = "–"
        if row.right is not None and row.right_range is not None:
            half = (row.right_range[1] - row.right_range[0]) / 2
            right = f"{row.right:.2f} ± {half:.2f}"
        lines.append(
            f"{row.way:<21}{row.kilobytes:>7.0f}{_pair(row.one):>17}{_pair(row.batch):>16}"
            f"{row.memory:>6.0f}{row.gap:>10.0e}{right:>14}"
        )
    return "\n".join([*lines, *bench.NOTES.get(model, ())])


def _pair(times: tuple[float, float]) -> str:
    return " / ".join(f"{t:.0f}" if t >= 100 else f"{t:.3g}" for t in times)
