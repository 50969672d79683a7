"""16_yolo: checkpoints for scenes and BCCD, version 1 beside them, and what each switch buys."""

import json
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from utils import checkpoints, data, files, lessons, metrics, parity, runtime
from utils.recipes import _detectors
from utils.recipes._classifiers import fit, record

__all__ = ["data", "measure", "remeasure", "train"]

NOTEBOOK = "16_yolo"
FIRST = f"{NOTEBOOK}_v1"  # version 1's checkpoint
HEADLINES = ("scenes AP50", "BCCD AP50")
SEED, SEEDS = 0, (0,)
FIRST_STEPS = 5000
SHORT = {"steps": 300, "bf16": True}  # of the comparison of switches
COUNTED = 500  # test scenes that it counts on
SAY_EVERY = 30.0  # seconds
ALL_ON = {"norm": True, "anchors": 4, "logistic": True, "multiscale": True}
COMPARED: dict[str, dict[str, Any]] = {
    # what is said of it -> what differs from version 1
    "version 1": {},
    "+ batch normalisation": {"norm": True},
    "+ anchors": {"anchors": 4},
    "+ logistic": {"logistic": True},
    "+ multi-scale": {"multiscale": True},
    "all four": ALL_ON,
    "all but multi-scale": {**ALL_ON, "multiscale": False},
    "version 1 without square roots": {"roots": False},
    "version 1, λ noobj = 5": {"noobj": 5.0},
}


def settings_of(lesson: ModuleType, kind: str, **changes: Any) -> SimpleNamespace:
    """A full run's settings, with the anchors that its training boxes give."""
    base = {"scenes": lesson.FULL, "bccd": lesson.CELLS}[kind]
    settings = SimpleNamespace(**{**base, **changes, "seed": SEED, "framework": "torch"})
    detection = _detectors.real_detection(kind)
    return lesson.prepared(detection.x_train, detection.t_train, settings)


def first_settings(lesson: ModuleType) -> SimpleNamespace:
    """Version 1."""
    rate = {"learning_rate": lesson.QUICK["learning_rate"], "steps": FIRST_STEPS}
    return settings_of(lesson, "scenes", **lesson.VERSION_1, **rate)


def what(settings: SimpleNamespace) -> str:
    """A model in words."""
    s = settings
    kind = f"{s.anchors} anchors, logistic, BatchNorm" if s.anchors else f"version 1, B = {s.boxes}"
    return f"small YOLO ({kind}), {s.steps:,} steps of {s.batch_size} pictures, seed {s.seed}"


def train(folder: Path = Path("build/train")) -> None:
    """Train and save everything of the notebook; what an earlier call has finished is kept."""
    runtime.begin("full", ["torch"], SEED)
    lesson = lessons.load(NOTEBOOK, "torch")
    for kind in _detectors.KINDS:
        settings = settings_of(lesson, kind)
        _detectors.train(NOTEBOOK, kind, settings, what(settings), folder, SAY_EVERY)
    parts = compare(lesson, folder / f"{NOTEBOOK}_parts.json")
    train_first(lesson, folder, {"parts": parts})


def train_first(lesson: ModuleType, folder: Path, extra: dict[str, Any]) -> None:
    """Version 1 on the scenes, and its checkpoint."""
    settings, way = first_settings(lesson), lesson.ways["torch"]
    scenes = _detectors.real_detection("scenes")

    def run(settings: SimpleNamespace, report: Any) -> Any:
        return way.train(scenes.x_train, scenes.t_train, settings, report)

    weights, _, seconds = fit(FIRST, run, settings, folder / f"{FIRST}.npz", SAY_EVERY)
    weights = checkpoints.stored(weights)
    model = way.build(settings)
    parity.set_weights(model, weights)
    measured = _detectors.evaluate(way, model, scenes)
    value = round(_detectors.sureness(way, model, "scenes"), 4)
    info = {
        "what": what(settings),
        "notebook": NOTEBOOK,
        "kind": "scenes",
        "data": scenes.describe(),
        "seed": SEED,
        "settings": vars(settings),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": _detectors.METRIC, "value": value},
        "ap": round(measured.scores.ap, 4),
        "ap50": round(measured.scores.ap50, 4),
        **extra,
    }
    print(checkpoints.save(FIRST, weights, info), flush=True)
    print(f"{FIRST}: AP {measured.scores.ap:.3f}, AP50 {measured.scores.ap50:.3f}", flush=True)


def compare(lesson: ModuleType, path: Path) -> dict[str, list[float]]:
    """AP50 on test scenes with one switch of version 1 changed; a list over seeds for each.

    Each result is written to `path` at once, and not computed again.
    """
    found = json.loads(path.read_text()) if path.exists() else {}
    scenes, way = _detectors.real_detection("scenes"), lesson.ways["torch"]
    for seed in SEEDS:
        for title, changes in COMPARED.items():
            if len(found.setdefault(title, [])) > SEEDS.index(seed):
                continue
            started = time.monotonic()
            chosen = {**lesson.QUICK, **SHORT, **changes, "seed": seed, "framework": "torch"}
            runtime.seed_everything(seed)
            model = way.train(
                scenes.x_train, scenes.t_train, SimpleNamespace(**chosen), lambda *_: True
            )
            boxes = _detectors.detect(way, model, scenes.x_test[:COUNTED], 0.01)
            scores = metrics.coco(boxes, scenes.t_test[:COUNTED], scenes.class_names)
            found[title].append(round(scores.ap50, 4))
            files.write(path, json.dumps(found, indent=1))
            seconds = time.monotonic() - started
            print(f"{title}, seed {seed}: AP50 {scores.ap50:.3f}, {seconds:.0f} s", flush=True)
    return found


remeasure = _detectors.remeasured


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """The detectors' common numbers; version 1's; beside PyTorch, what each switch buys."""
    found = _detectors.measure(NOTEBOOK, framework, images)
    way, model, checkpoint = _detectors.restore(FIRST, framework)
    scenes = _detectors.real_detection("scenes")
    measured = _detectors.evaluate(way, model, scenes, images)
    of_first = _detectors.records(measured, scenes, "scenes", checkpoint, images)
    for one in of_first:
        if one["metric"].startswith(("scenes AP", "ms", "parameters")) and ":" not in one["metric"]:
            found.append({**one, "metric": f"version 1: {one['metric']}", "reference": ""})
    if framework == "torch":
        common = {
            "seeds": list(SEEDS),
            "better": "higher",
            "profile": "full",
            "spread": "a single training seed",
            "trained": f"{SHORT['steps']} steps of 16 scenes",
            "data": f"Scenes, {COUNTED} test pictures",
        }
        for title, values in checkpoint.info["parts"].items():
            found.append(record(f"short training, AP50: {title}", values, "") | common)
    return found
