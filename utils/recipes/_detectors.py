"""What the recipes of the four detectors share: data, training, sidecars, and the same numbers.

A detector is measured on the scenes and on BCCD's val split. Its two checkpoints carry the
notebook's name, the second with ``_bccd`` behind it. A recipe is then short: it imports `data` (as
every recipe), names its `NOTEBOOK` and `HEADLINES`, makes the settings, and hands them to `train`;
`remeasure` is `remeasured`, and `measure` calls this module's.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from utils import CourseError, checkpoints, data, lessons, metrics, parity, runtime
from utils.boxes import Found
from utils.recipes._classifiers import fit
from utils.recipes._data import real_mnist

KINDS = ("scenes", "bccd")
METRIC = "mean score of the 20 surest boxes, on pictures that need no files"
SURE = 20  # boxes that the sidecar's number is the mean of
PICTURES = 4  # that it is measured on
BATCH = 16  # pictures at a time
TIMED, WARM = (
    20,
    3,
)  # pictures whose time is taken one by one, and those before that are not counted
NAMES = {"scenes": "scenes", "bccd": "BCCD"}  # how the metrics call them


class Evaluation(NamedTuple):
    """What a detector reaches on some pictures, how sure that is, and how long it takes."""

    scores: metrics.Scores
    low: metrics.Scores
    high: metrics.Scores
    ms: float  # per picture: the median of single ones
    ms_low: float  # and their quartiles
    ms_high: float
    found: list[Found]


def checkpoint_name(notebook: str, kind: str) -> str:
    """A detector's checkpoint for ``"scenes"`` or ``"bccd"``."""
    return notebook if kind == "scenes" else f"{notebook}_{kind}"


def real_detection(kind: str) -> data.Detection:
    """The scenes of MNIST's digits, or BCCD itself.

    Raises
    ------
    CourseError
        If they cannot be had: a number measured on a substitute would be another number.
    """
    if runtime.choose("The data", kind, KINDS) == "scenes":
        real_mnist()
        return data.scenes()
    cells = data.bccd()
    if not cells.real:
        raise CourseError(
            "The full profile needs the real BCCD: connect to a network once, or set COURSE_DATA "
            "to a folder that holds bccd/."
        )
    return cells


def detect(way: Any, model: Any, images: np.ndarray, score: float = 0.05) -> list[Found]:
    """What a model finds in each picture, a few pictures at a time."""
    found = []
    for start in range(0, len(images), BATCH):
        found += way.detect(model, images[start : start + BATCH], score=score)
    return found


def evaluate(
    way: Any, model: Any, detection: data.Detection, count: int | None = None, score: float = 0.01
) -> Evaluation:
    """COCO's average precision on the first `count` test pictures, and the time for one.

    Parameters
    ----------
    way, model
        A lesson's functions, and its model.
    detection
        The data.
    count
        How many test pictures; all by default.
    score
        From which score on detections count. Average precision asks for the unsure ones too.

    Returns
    -------
    Evaluation
        Time is the median over single pictures, after some that are not counted: from uint8 pixels
        to boxes, NMS included.
    """
    images, truths = detection.x_test[:count], detection.t_test[:count]
    found = detect(way, model, images, score)
    scores = metrics.coco(found, truths, detection.class_names)
    low, high = metrics.coco_range(found, truths, detection.class_names)
    times = []
    for place in range(WARM + TIMED):
        one = images[place % len(images)][None]
        started = time.perf_counter()
        way.detect(model, one)
        times.append(1000 * (time.perf_counter() - started))
    quartiles = statistics.quantiles(times[WARM:], n=4)
    return Evaluation(scores, low, high, quartiles[1], quartiles[0], quartiles[2], found)


def train(
    notebook: str,
    kind: str,
    settings: SimpleNamespace,
    what: str,
    folder: Path = Path("build/train"),
    say_every: float = 30.0,
    extra: Callable[[Any, Any, Evaluation], dict[str, Any]] | None = None,
    name: str | None = None,
) -> tuple[Any, Any, Evaluation]:
    """Train in PyTorch and save the checkpoint; weights that an earlier call made are taken.

    Parameters
    ----------
    notebook
        Its lesson's `ways["torch"]` has ``build(settings)``, ``train(images, truths, settings,
        report)`` and ``detect(model, images, score)``.
    kind
        ``"scenes"`` or ``"bccd"``.
    settings
        The lesson's, with `seed`, `steps` and all that ``build`` asks for: the sidecar keeps them,
        and `restore` builds from them.
    what
        The model in words, for the sidecar.
    folder
        Where unfinished things are kept.
    say_every
        Seconds between two lines of the log.
    extra
        Given the functions, the model and what was measured: more for the sidecar.
    name
        Of the checkpoint, where a notebook has more than one detector.

    Returns
    -------
    The lesson's functions, the model with its weights as they are stored, and what it measures.
    """
    runtime.begin("full", ["torch"], settings.seed)
    detection, name = real_detection(kind), name or checkpoint_name(notebook, kind)
    way = lessons.load(notebook, "torch").ways["torch"]

    def run(settings: SimpleNamespace, report: Callable[..., bool]) -> Any:
        return way.train(detection.x_train, detection.t_train, settings, report)

    weights, _, seconds = fit(name, run, settings, folder / f"{name}.npz", say_every)
    weights = checkpoints.stored(weights)
    model = way.build(settings)
    parity.set_weights(model, weights)
    measured = evaluate(way, model, detection)
    info = {
        "what": what,
        "notebook": notebook,
        "kind": kind,
        "data": detection.describe(),
        "seed": settings.seed,
        "settings": vars(settings),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC, "value": round(sureness(way, model, kind), 4)},
        "ap": round(measured.scores.ap, 4),
        "ap50": round(measured.scores.ap50, 4),
        **(extra(way, model, measured) if extra else {}),
    }
    print(checkpoints.save(name, weights, info), flush=True)
    print(f"{name}: AP {measured.scores.ap:.3f}, AP50 {measured.scores.ap50:.3f}", flush=True)
    return way, model, measured


def sureness(way: Any, model: Any, kind: str) -> float:
    """The number that a checkpoint is measured again by, in a moment and without any file.

    The mean score of its 20 surest boxes on four pictures: scenes of the embedded digits, or drawn
    blood cells. It says that the weights arrived, and nothing of how good they are.
    """
    if kind == "scenes":
        digits = data.mnist("embedded")
        images, _ = data.draw_scenes(PICTURES, digits.x_test, digits.y_test, seed=1)
    else:
        images, _ = data.draw_cells(PICTURES, seed=1)
    scores = np.concatenate([one.scores for one in detect(way, model, images)])
    return float(np.sort(scores)[::-1][:SURE].sum() / SURE)


def restore(name: str, framework: str) -> tuple[Any, Any, checkpoints.Checkpoint]:
    """The lesson's functions, the checkpoint's model in that framework, and the checkpoint."""
    info = checkpoints.load(name).info
    way = lessons.load(info["notebook"], framework).ways[framework]
    model = way.build(SimpleNamespace(**{**info["settings"], "framework": framework}))
    return way, model, checkpoints.load_into(model, name)


def remeasured(name: str, framework: str) -> tuple[float, float]:
    """What a checkpoint's sidecar states, and what is found now."""
    way, model, checkpoint = restore(name, framework)
    return checkpoint.info["metric"]["value"], sureness(way, model, checkpoint.info["kind"])


def measure(
    notebook: str, framework: str, images: int | None = None, kinds: Sequence[str] = KINDS
) -> list[dict[str, Any]]:
    """The same numbers for each of the four detectors, for results/.

    Parameters
    ----------
    notebook, framework
        Whose checkpoints, and in which framework.
    images
        How many test pictures; all by default.
    kinds
        On which data.
    """
    found = []
    for kind in kinds:
        way, model, checkpoint = restore(checkpoint_name(notebook, kind), framework)
        detection = real_detection(kind)
        measured = evaluate(way, model, detection, images)
        found += records(measured, detection, kind, checkpoint, images)
    return found


def records(
    measured: Evaluation,
    detection: data.Detection,
    kind: str,
    checkpoint: checkpoints.Checkpoint,
    images: int | None = None,
) -> list[dict[str, Any]]:
    """One evaluation as records: AP, AP50, AP50 of each class, time, parameters."""
    name, info = NAMES[kind], checkpoint.info
    common = {
        "seeds": [info["seed"]],
        "profile": "full",
        "trained": info["what"],
        "data": f"{detection.name}, {len(detection.x_test[:images]):,} test pictures",
    }
    reach = {"scenes": "reach: 0.95 for 14 to 16", "bccd": "reach: 0.75 for the best"}[kind]
    drawn = {"better": "higher", "spread": "95 % over test pictures drawn anew"}
    numbers = [
        (f"{name} AP", measured.scores.ap, measured.low.ap, measured.high.ap, ""),
        (f"{name} AP50", measured.scores.ap50, measured.low.ap50, measured.high.ap50, reach),
    ]
    for label in detection.class_names:
        ends = (one.classes[label].ap50 for one in (measured.low, measured.high))
        numbers.append((f"{name} AP50: {label}", measured.scores.classes[label].ap50, *ends, ""))
    found = [
        {
            "metric": metric,
            "value": round(value, 4),
            # Means over drawn pictures lean a little; the value itself is always possible.
            "low": round(min(low, value), 4),
            "high": round(max(high, value), 4),
            "reference": reference,
            **drawn,
            **common,
        }
        for metric, value, low, high, reference in numbers
        if np.isfinite([value, low, high]).all()
    ]
    threads = runtime.threads()
    time_of = {
        "metric": f"ms per image, {name}",
        "value": round(measured.ms, 2),
        "low": round(measured.ms_low, 2),
        "high": round(measured.ms_high, 2),
        "reference": f"{threads} thread{'s' if threads > 1 else ''}, one picture at a time",
        "better": "lower",
        "spread": "quartiles of single pictures",
    }
    count = parameters(checkpoint.weights)
    size = {
        "metric": "parameters" if kind == "scenes" else f"parameters, {name}",
        "value": count,
        "low": count,
        "high": count,
        "reference": "",
        "better": "lower",
        "spread": "exact",
    }
    return [*found, {**time_of, **common}, {**size, **common}]


def parameters(weights: parity.Weights) -> int:
    """How many numbers are trained; moving averages are not."""
    return sum(value.size for name, value in weights.items() if ".moving_" not in name)
