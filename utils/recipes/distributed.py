"""18_distributed: what each engine reaches and costs, here and between two hosts."""

import functools
import json
import re
import time
from pathlib import Path
from typing import Any

from utils import engines, hosts, lessons, results

NOTEBOOK = "18_distributed"
HEADLINES = (
    "20 steps in two processes (Keras: two replicas): largest difference from one process",
)
STEPS, SEEDS, TIMED = 20, (0, 1, 2), 12
LINKS = {"loopback": None, "1 Gbit/s": "1gbit", "100 Mbit/s": "100mbit"}
BITS = {"loopback": 0, "1 Gbit/s": 1e9, "100 Mbit/s": 1e8}
SIZES = (400_000, 4_000_000, 16_000_000)  # bytes
HIDDEN = 2048  # units of the network whose steps are timed: 1,628,170 parameters
ENGINES: dict[str, dict[str, Any]] = {
    "torch": {
        HEADLINES[0]: engines.ddp,
        "the same with FSDP2": engines.fsdp,
        "the same with gradients in fp16": lambda *a: engines.ddp("--hook", "fp16", *a),
    },
    "tensorflow": {
        HEADLINES[0]: engines.multiworker,
        "the same with two replicas of one process": engines.mirrored,
        "the same with a parameter server": engines.parameter_server,
    },
    "keras": {
        HEADLINES[0]: lambda *a: engines.mirrored("--keras", *a),
        "the same in a loop under MultiWorkerMirroredStrategy": lambda *a: engines.multiworker(
            "--keras", *a
        ),
        "the same on PyTorch, in DistributedDataParallel": engines.keras_ddp,
    },
}
_STEP = "{what}: ms a step, {link}"
_ALLREDUCE = "all-reduce of {size:,} bytes: ms, {link}"


def train(folder: Path = Path("build/train")) -> None:
    """Nothing is kept of the trainings of this notebook: `measure` runs them."""
    print(f"{NOTEBOOK}: has no checkpoint to train; `make results NAME={NOTEBOOK}` measures.")


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Differences from one process over three seeds; times on links of three speeds."""
    lesson = lessons.load(NOTEBOOK, framework)
    found = []
    for metric, launch in ENGINES[framework].items():
        gaps = []
        for seed in SEEDS:
            reached = engines.result(launch("--steps", STEPS, "--seed", seed))
            gaps.append(engines.apart(reached, lesson.alone(STEPS, seed)))
            print(f"{metric}, seed {seed}: {gaps[-1]:.1e}", flush=True)
        found.append(_record(metric, gaps, "0, but for rounding", list(SEEDS)))
    if framework == "torch":
        timed, here = ("ddp.py", "--steps", TIMED, "--hidden", HIDDEN), hosts.Loopback()
        for world, threads in ((1, 1), (1, 2), (2, 1)):
            what = f"DDP, processes × threads {world} × {threads}"
            launch = functools.partial(here.torch, *timed, world=world, threads=threads)
            found.append(_timed(what, "same batch", launch))
    if framework != "keras":
        for link, rate in LINKS.items():
            found += _times(framework, link, rate)
    return found


def _times(framework: str, link: str, rate: str | None) -> list[dict[str, Any]]:
    if rate and hosts.why_not():
        print(f"{link} is left out: {hosts.why_not()}")
        return []
    found = []
    timed = ("--steps", TIMED, "--hidden", HIDDEN)
    with hosts.Hosts(rate) if rate else hosts.Loopback() as two:
        if framework == "tensorflow":
            return [_timed("MultiWorker", link, lambda: two.multiworker(*timed))]
        with two.torch("allreduce.py", *(size // 4 for size in SIZES)) as pair:
            engines.finish(pair)
            seconds = json.loads(re.search(r"measured (.*)", pair.text()).group(1))
        for size in SIZES:
            bits = BITS[link]
            model = f"bytes / bandwidth: {8000 * size / bits:.1f}" if bits else "–"
            metric = _ALLREDUCE.format(size=size, link=link)
            found.append(_record(metric, [1000 * seconds[str(size)]], model, [0]))
        found.append(_timed("DDP", link, lambda: two.torch("ddp.py", *timed)))
        fp16 = ("--hook", "fp16", *timed)
        found.append(_timed("DDP, fp16", link, lambda: two.torch("ddp.py", *fp16)))
    return found


def _timed(what: str, link: str, launch: Any) -> dict[str, Any]:
    values = []
    for _ in range(3):
        with launch() as made:
            engines.finish(made)
            values.append(engines.milliseconds(made))
        time.sleep(0.5)
    print(f"{what}, {link}: {values} ms a step", flush=True)
    return _record(_STEP.format(what=what, link=link), values, "–", [0])


def _record(metric: str, values: list[float], reference: str, seeds: list[int]) -> dict[str, Any]:
    middle = sorted(values)[len(values) // 2]
    return {
        "metric": metric,
        "value": float(f"{middle:.3g}"),
        "low": float(f"{min(values):.3g}"),
        "high": float(f"{max(values):.3g}"),
        "spread": "half the range over three runs (a run with each of three seeds, or three runs)",
        "seeds": seeds,
        "reference": reference,
        "better": "lower",
        "profile": "full",
        "trained": "784-32-10 tanh network, batches of 64; times with 2,048 hidden units",
        "data": "embedded digits",
    }


def recorded() -> dict[str, Any]:
    """What `measure` has recorded of the links, as tables; and on which machine."""
    records = results.read(NOTEBOOK)
    values = {record.metric: record.value for record in records}
    links = {}
    for link in LINKS:
        sizes = {s: _ALLREDUCE.format(size=s, link=link) for s in SIZES}
        steps = {w: _STEP.format(what=w, link=link) for w in ("DDP", "DDP, fp16", "MultiWorker")}
        links[link] = {
            "bits": BITS[link],
            "allreduce": {str(s): values[name] / 1000 for s, name in sizes.items()},
            "step": {w: values[name] for w, name in steps.items()},
        }
    return {"machine": records[0].device, "sizes": SIZES, "links": links}
