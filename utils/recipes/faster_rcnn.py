"""14_faster_rcnn: scenes and blood cells, and how the proposals sharpen on the way."""

import functools
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, files, lessons, metrics, parity, roi, runtime
from utils.recipes import _detectors
from utils.recipes._classifiers import fit
from utils.recipes._detectors import checkpoint_name, real_detection, remeasured

NOTEBOOK = "14_faster_rcnn"
HEADLINES = ("scenes AP50", "BCCD AP50")  # what the README shows of the results
SEED = 0
WATCHED = (10, 50, 100, 200, 500, 1000, 2000, 4000, 8000)  # steps at which proposals are kept
SCENES, BEST = 4, 12  # of so many scenes the best few
SAY_EVERY = 30.0  # seconds
REGIONS = {"RoIAlign": roi.align, "RoI pooling": roi.pool}  # two ways to a region's features
HEADS = ("hidden", "classes", "offsets")  # what is trained again to compare them
BRIEF, COMPARED = 300, 300  # steps of that, and test scenes that it is measured on


def settings_of(lesson: ModuleType, kind: str, **changes: Any) -> SimpleNamespace:
    """The settings of a full run on ``"scenes"`` or ``"bccd"``, and what differs from them."""
    full = {"scenes": lesson.FULL, "bccd": lesson.CELLS}[kind]
    return SimpleNamespace(**{**full, **changes, "seed": SEED, "framework": "torch"})


def what(settings: SimpleNamespace) -> str:
    """How a checkpoint came about, in words."""
    s = settings
    return (
        f"Faster R-CNN, {s.width} filters in its first layer, trained jointly, {s.steps:,} steps "
        f"of {s.batch_size} images, seed {s.seed}"
    )


def watched_scenes() -> np.ndarray:
    """The scenes on which proposals are watched: drawn from digits that are at hand everywhere."""
    digits = data.mnist("embedded")
    return data.draw_scenes(SCENES, digits.x_test, digits.y_test, seed=3)[0]


def best_proposals(lesson: ModuleType, way: Any, model: Any, images: np.ndarray) -> list:
    """Of each image its best proposals, as rows of four sides and a score."""
    rows = []
    for _, found, scores in lesson.proposals(way.look, model, images):
        chances = 1 / (1 + np.exp(-scores[:BEST, None]))
        rows.append(np.round(np.hstack([found[:BEST], chances]), 2).tolist())
    return rows


def fit_watched(kind: str, folder: Path) -> dict[str, Any]:
    """Train once and keep the weights; for the scenes, what was proposed at some steps."""
    path = folder / f"{NOTEBOOK}_watched.json"
    runtime.begin("full", ["torch"], SEED)
    lesson, detection = lessons.load(NOTEBOOK, "torch"), real_detection(kind)
    images, kept = watched_scenes(), {}

    def run(settings: SimpleNamespace, report: Any) -> Any:
        def watching(step: int, logs: dict[str, float], preview: Any) -> bool:
            if kind == "scenes" and (step in WATCHED or step == settings.steps):
                watch = preview.__self__
                kept[str(step)] = best_proposals(lesson, watch.way, watch.model, images)
            return report(step, logs, preview)

        return lesson.train_torch(detection.x_train, detection.t_train, settings, watching)

    name = checkpoint_name(NOTEBOOK, kind)
    fit(name, run, settings_of(lesson, kind), folder / f"{name}.npz", SAY_EVERY)
    if kept:
        files.write(path, json.dumps(kept))
    return {"watched": json.loads(path.read_text())} if kind == "scenes" else {}


def fresh_heads(
    lesson: ModuleType, detection: data.Detection, weights: parity.Weights, how: str
) -> metrics.Scores:
    """Train the second stage anew, on the first stage's fixed features, and measure it.

    The features were learnt with RoIAlign, so it starts with an advantage that cannot be told
    apart here.
    """
    import torch

    settings = settings_of(lesson, "scenes", steps=BRIEF)
    stride, (height, width) = lesson.stride_of(settings), detection.x_train.shape[1:3]
    fixed = {name: value for name, value in weights.items() if name.split(".")[0] not in HEADS}
    model = lesson.TorchFasterRCNN(settings).eval()
    parity.set_weights(model, {**lesson.start(settings, SEED), **fixed})
    adam = torch.optim.Adam([w for head in HEADS for w in getattr(model, head).parameters()])

    def heads(features: np.ndarray, rois: np.ndarray) -> tuple[Any, Any]:
        pairs = zip(features, rois, strict=True)
        found = np.stack([REGIONS[how](*pair, lesson.REGION, stride) for pair in pairs])
        hidden = torch.relu(model.hidden(torch.as_tensor(found).flatten(2)))
        return model.classes(hidden), model.offsets(hidden).unflatten(2, (-1, 4))

    for step, meal in enumerate(lesson.feed(detection.x_train, detection.t_train, settings)):
        features, *guess = lesson.look_torch(model, meal.images)
        sample = lesson.regions(*guess, meal.truths, meal.seed, settings, height, width)
        rois, *answers = sample
        first = [torch.as_tensor(part) for part in guess]
        parts = lesson.losses_torch(first, heads(features, rois), meal, answers, settings)
        adam.param_groups[0]["lr"] = lesson.learning_rate(step, settings)
        adam.zero_grad()
        (parts[2] + parts[3]).backward()
        adam.step()

    @torch.no_grad()
    def judge(model: Any, features: np.ndarray, rois: np.ndarray) -> list[np.ndarray]:
        return [parity.to_numpy(part) for part in heads(features, rois)]

    images, truths = detection.x_test[:COMPARED], detection.t_test[:COMPARED]
    found = lesson.detect(lesson.look_torch, judge, model, images, score=0.01)
    return metrics.coco(found, truths, detection.class_names)


def compare(folder: Path, weights: parity.Weights) -> dict[str, dict[str, float]]:
    """AP, AP50 and AP75 of fresh heads for each way to a region's features; kept in `folder`."""
    path = folder / f"{NOTEBOOK}_regions.json"
    if not path.exists():
        lesson, detection = lessons.load(NOTEBOOK, "torch"), real_detection("scenes")
        found = {}
        for how in REGIONS:
            runtime.seed_everything(SEED)
            scores = fresh_heads(lesson, detection, weights, how)
            numbers = {"AP": scores.ap, "AP50": scores.ap50, "AP75": scores.ap75}
            found[how] = {name: round(value, 4) for name, value in numbers.items()}
            print(f"fresh heads, {how}: {found[how]}", flush=True)
        files.write(path, json.dumps(found))
    return json.loads(path.read_text())


def train(folder: Path = Path("build/train")) -> None:
    """Train and save everything of the notebook; what an earlier call has finished is kept."""
    for kind in _detectors.KINDS:
        watched = fit_watched(kind, folder)
        if kind == "scenes":
            kept = dict(np.load(folder / f"{NOTEBOOK}.npz"))
            weights = {name: value for name, value in kept.items() if "." in name}
            watched["regions"] = compare(folder, checkpoints.stored(weights))
        settings = settings_of(lessons.load(NOTEBOOK, "torch"), kind)
        told = NOTEBOOK, kind, settings, what(settings)
        _detectors.train(*told, folder, SAY_EVERY, functools.partial(_as_it_is, watched))


def _as_it_is(watched: dict[str, Any], *_: Any) -> dict[str, Any]:
    return watched


remeasure = remeasured


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Average precision, time and size, as for every detector; beside PyTorch, fresh heads."""
    found = _detectors.measure(NOTEBOOK, framework, images)
    info = checkpoints.load(NOTEBOOK).info
    if framework != "torch" or "regions" not in info:  # in which they were compared, once
        return found
    common = {
        "better": "higher",
        "seeds": [SEED],
        "profile": "full",
        "spread": "one run",
        "trained": f"heads anew, {BRIEF} steps, on the checkpoint's first stage",
        "data": f"Scenes, first {COMPARED:,} test pictures",
    }
    for how, numbers in info["regions"].items():
        for name, value in numbers.items():
            ends = {"value": value, "low": value, "high": value}
            metric = f"scenes, fresh heads with {how}: {name}"
            found.append({"metric": metric, **ends, "reference": "the other way", **common})
    return found
