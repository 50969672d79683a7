"""15_ssd: a detector of scenes and one of blood cells, and what mining and several maps buy."""

import functools
import json
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import boxes, checkpoints, data, files, lessons, metrics, runtime
from utils.recipes import _detectors

NOTEBOOK = "15_ssd"
HEADLINES = ("scenes AP50", "BCCD AP50")  # what the README shows
COMPARED: dict[str, dict[str, Any]] = {
    # what is said of it -> what differs from the lesson's FULL settings
    "as it is": {},
    "all negatives": {"negatives": "all"},
    "one map, stride 8": {"maps": (8,)},
}
SHORT = {"steps": 400, "batch_size": 16}
SEEN = 300  # test scenes that the comparison is measured on
BANDS = {"below 16": (0, 16), "16 to 28": (16, 28), "28 or more": (28, 1000)}  # longer side, pixels


def settings_of(lesson: ModuleType, kind: str = "scenes", **changes: Any) -> SimpleNamespace:
    """The settings of a full run, and what differs from them."""
    full = {"scenes": lesson.FULL, "bccd": lesson.CELLS}[kind]
    return SimpleNamespace(**{**full, **changes, "seed": 0, "framework": "torch"})


def what(settings: SimpleNamespace, kind: str) -> str:
    """How a checkpoint came about, in words."""
    s, named = settings, {"scenes": "scenes", "bccd": "blood cells"}[kind]
    size = f"{s.height}×{s.width}"
    return (
        f"small SSD for {named}, {len(s.maps)} maps, {s.steps:,} steps of {s.batch_size} pictures "
        f"of {size}"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save everything of the notebook; what an earlier call has finished is kept."""
    lesson = lessons.load(NOTEBOOK, "torch")
    parts = compare(lesson, folder / f"{NOTEBOOK}_parts.json")
    extras = {"scenes": {"parts": parts}, "bccd": {}}
    for kind in _detectors.KINDS:
        settings = settings_of(lesson, kind)
        extra = functools.partial(lambda found, *_: found, extras[kind])
        _detectors.train(NOTEBOOK, kind, settings, what(settings, kind), folder, extra=extra)


def recall(found: list[boxes.Found], truths: list[boxes.Truth]) -> dict[str, float]:
    """The share of digits found (IoU 0.5, right class, score 0.3), by the longer side's length."""
    hits: dict[str, list[bool]] = {name: [] for name in BANDS}
    for one, truth in zip(found, truths, strict=True):
        sure = one.scores >= 0.3
        for box, label in zip(truth.boxes[~truth.crowd], truth.labels[~truth.crowd], strict=True):
            same = one.boxes[sure & (one.labels == label)]
            side = float((box[2:] - box[:2]).max())
            band = next(name for name, (low, high) in BANDS.items() if low <= side < high)
            hits[band].append(bool((boxes.iou(same, box[None]) >= 0.5).any()))
    return {name: round(float(np.mean(each)), 4) for name, each in hits.items() if each}


def compare(lesson: ModuleType, path: Path) -> dict[str, dict[str, Any]]:
    """AP50 and recall by size, one part changed at a time; each is written to `path` at once."""
    found = json.loads(path.read_text()) if path.exists() else {}
    for title, changes in COMPARED.items():
        if title in found:
            continue
        scenes: data.Detection = _detectors.real_detection("scenes")
        images, truths = scenes.x_test[:SEEN], scenes.t_test[:SEEN]
        settings, started = settings_of(lesson, **{**SHORT, **changes}), time.monotonic()
        runtime.seed_everything(settings.seed)
        way = lesson.ways["torch"]
        model = way.train(scenes.x_train, scenes.t_train, settings, lambda *_: True)
        said = _detectors.detect(way, model, images, 0.01)
        scores = metrics.coco(said, truths, scenes.class_names)
        found[title] = {"ap": round(scores.ap, 4), "ap50": round(scores.ap50, 4)}
        found[title]["recall"] = recall(said, truths)
        files.write(path, json.dumps(found, indent=1))
        print(f"{title}: {found[title]}, {time.monotonic() - started:.0f} s", flush=True)
    return found


remeasure = _detectors.remeasured


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """What every detector is measured by; beside PyTorch, what mining and several maps buy."""
    records = _detectors.measure(NOTEBOOK, framework, images)
    if framework != "torch":  # in which the parts were compared, once
        return records
    common = {
        "seeds": [0],
        "better": "higher",
        "profile": "full",
        "spread": "one training",
        "trained": f"the same with {SHORT['steps']} steps of {SHORT['batch_size']} scenes",
        "data": f"Scenes, first {SEEN} test pictures",
    }
    for title, scores in checkpoints.load(NOTEBOOK).info.get("parts", {}).items():
        rows = {"AP50": scores["ap50"]}
        rows |= {f"recall, {band} px": value for band, value in scores["recall"].items()}
        for metric, value in rows.items():
            row = {"metric": f"short training, {title}: {metric}", "value": value}
            row |= {"low": value, "high": value, "reference": "the row “as it is”"}
            records.append({**row, **common})
    return records
