"""13_rcnn: R-CNN on scenes and blood cells, Fast R-CNN on scenes, with the same proposals."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from utils import data, lessons
from utils.recipes import _detectors
from utils.recipes._detectors import KINDS, NAMES, checkpoint_name

NOTEBOOK = "13_rcnn"
HEADLINES = (  # what the README shows of the results
    "scenes AP50",
    "BCCD AP50",
)
SEED = 0
FAST = f"{NOTEBOOK}_fast"  # the checkpoints of Fast R-CNN
SCHEDULES: dict[tuple[str, str], dict[str, Any]] = {
    # detector and data -> what differs from the lesson's FULL settings
    ("R-CNN", "scenes"): {},
    ("R-CNN", "bccd"): {"steps": 600, "images": 205},
    ("Fast R-CNN", "scenes"): {"steps": 3000},
}

remeasure = _detectors.remeasured


def settings_of(lesson: ModuleType, detector: str, kind: str) -> SimpleNamespace:
    """The settings of a full run."""
    common = {"scenes": lesson.COMMON, "bccd": lesson.CELLS}[kind]
    chosen = {**lesson.FULL, **common, **SCHEDULES[detector, kind]}
    return SimpleNamespace(**chosen | {"detector": detector, "seed": SEED, "framework": "torch"})


def name_of(detector: str, kind: str) -> str:
    """The checkpoint of a detector on some data."""
    return checkpoint_name(NOTEBOOK if detector == "R-CNN" else FAST, kind)


def what(settings: SimpleNamespace) -> str:
    """How a checkpoint came about, in words."""
    s = settings
    return (
        f"small {s.detector}, {s.width} filters in its first layer, {s.steps:,} steps of "
        f"{s.batch_size} regions of {s.images:,} pictures, seed {s.seed}"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save everything of the notebook; what an earlier call has finished is kept."""
    lesson = lessons.load(NOTEBOOK, "torch")
    for detector, kind in SCHEDULES:
        settings = settings_of(lesson, detector, kind)
        name = name_of(detector, kind)
        _detectors.train(NOTEBOOK, kind, settings, what(settings), folder, name=name)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """What all four detectors' recipes measure, of R-CNN; Fast R-CNN besides; the proposals."""
    found = _detectors.measure(NOTEBOOK, framework, images)
    way, model, checkpoint = _detectors.restore(FAST, framework)
    detection = _detectors.real_detection("scenes")
    measured = _detectors.evaluate(way, model, detection, images)
    records = _detectors.records(measured, detection, "scenes", checkpoint, images)
    found += [
        {**record, "metric": f"{record['metric']}, Fast R-CNN"}
        for record in records
        if "AP50: " not in record["metric"]
    ]
    if framework == "torch":
        found += [recall(_detectors.real_detection(kind), kind, images) for kind in KINDS]
    return found


def recall(detection: data.Detection, kind: str, images: int | None = None) -> dict[str, Any]:
    """The share of true boxes that the proposals find at all: no framework takes part in it."""
    lesson = lessons.load(NOTEBOOK, "torch")
    some = {"scenes": lesson.COMMON, "bccd": lesson.CELLS}[kind]
    pictures = detection.x_test[:images]
    regions = [lesson.proposals(x, some["regions"], some["photo"]) for x in pictures]
    [value] = lesson.recalls(regions, detection.t_test[:images], [some["regions"]])
    mean = sum(map(len, regions)) / len(regions)
    return {
        "metric": f"{NAMES[kind]}: recall of the proposals at IoU 0.5",
        "value": round(value, 4),
        "low": round(value, 4),
        "high": round(value, 4),
        "reference": f"{mean:.0f} proposals for a picture",
        "better": "higher",
        "spread": "exact",
        "seeds": [SEED],
        "profile": "full",
        "trained": "nothing: pixels are grouped",
        "data": f"{detection.name}, {len(pictures):,} test pictures",
    }
