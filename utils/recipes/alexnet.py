"""10_alexnet: the small network with three seeds, what its parts buy on few images, and tests."""

import functools
import json
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from utils import checkpoints, data, files, lessons, parity, runtime
from utils.recipes._classifiers import accuracy, fit, record, remeasured, sidecar
from utils.recipes._data import real_mnist

NOTEBOOK = "10_alexnet"
HEADLINES = (  # what the README shows of the results
    "test accuracy, mean of three seeds, %",
)
SEEDS = (0, 1, 2)
NAMES = {seed: NOTEBOOK if not seed else f"{NOTEBOOK}_{seed}" for seed in SEEDS}
FEW = 2000  # training images of the comparison of parts
COMPARED: dict[str, dict[str, Any]] = {
    # what is said of it -> what differs from the lesson's FULL settings
    "all of it": {},
    "tanh for ReLU": {"activation": "tanh"},
    "no LRN": {"norm": "none"},
    "division by 1.68 for LRN": {"norm": "constant"},
    "no dropout": {"dropout": 0.0},
    "no augmentation": {"shift": 0},
}
SHORT = {"width": 8, "steps": 500}
SAY_EVERY = 30.0  # seconds
REFERENCE = "reach: 99.3; course's judge 99.47"


def settings_of(lesson: ModuleType, seed: int, **changes: Any) -> SimpleNamespace:
    """The settings of a full run, and what differs from them."""
    return SimpleNamespace(**{**lesson.FULL, **changes, "seed": seed, "framework": "torch"})


def what(settings: SimpleNamespace, seed: int) -> str:
    """How a checkpoint came about, in words."""
    s = settings
    return (
        f"small AlexNet, {s.width} filters in its first layer, {s.steps:,} steps of "
        f"{s.batch_size} images, seed {seed}"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save everything of the notebook; what an earlier call has finished is kept."""
    runtime.begin("full", ["torch"], SEEDS[0])
    digits = real_mnist()
    lesson = lessons.load(NOTEBOOK, "torch")
    models = {seed: _train_one(lesson, digits, seed, folder) for seed in SEEDS}
    parts = compare(lesson, digits, folder / f"{NOTEBOOK}_parts.json")
    weights, seconds = models[SEEDS[0]]
    save(lesson, weights, SEEDS[0], seconds, {"parts": parts})


def _train_one(
    lesson: ModuleType, digits: data.Dataset, seed: int, folder: Path
) -> tuple[parity.Weights, float]:
    path = folder / f"{NAMES[seed]}.npz"
    before = path.exists()
    train = functools.partial(lesson.train_torch, digits.x_train, digits.y_train)
    weights, _, seconds = fit(NAMES[seed], train, settings_of(lesson, seed), path, SAY_EVERY)
    if not before:
        save(lesson, weights, seed, seconds)
    return weights, seconds


def compare(lesson: ModuleType, digits: data.Dataset, path: Path) -> dict[str, list[float]]:
    """Test accuracies in percent without one part after the other; a list over seeds for each.

    Each result is written to `path` at once, and not computed again.
    """
    found = json.loads(path.read_text()) if path.exists() else {}
    x, y = digits.x_train[:FEW], digits.y_train[:FEW]
    for seed in SEEDS:
        for title, changes in COMPARED.items():
            if len(found.setdefault(title, [])) > SEEDS.index(seed):
                continue
            started = time.monotonic()
            settings = settings_of(lesson, seed, **SHORT, **changes)
            runtime.seed_everything(seed)
            model = lesson.train_torch(x, y, settings, lambda *_: True)
            right = round(accuracy(lesson.ways["torch"], model, digits), 3)
            found[title].append(right)
            files.write(path, json.dumps(found, indent=1))
            seconds = time.monotonic() - started
            print(f"{title}, seed {seed}: {right} %, {seconds:.0f} s", flush=True)
    return found


def save(
    lesson: ModuleType,
    weights: parity.Weights,
    seed: int,
    seconds: float,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    settings, weights = settings_of(lesson, seed), checkpoints.stored(weights)
    way = lesson.ways["torch"]
    model = way.build(lesson.small(settings.width, settings.norm), settings.activation)
    parity.set_weights(model, weights)
    info = {
        "what": what(settings, seed),
        "notebook": NOTEBOOK,
        "width": settings.width,
        "data": "MNIST train, 60,000 images, shifted by up to two pixels",
        **sidecar(settings, seconds, way, model, real_mnist()),
        **(extra or {}),
    }
    print(checkpoints.save(NAMES[seed], weights, info), flush=True)


def restore(name: str, framework: str) -> tuple[Any, Any, checkpoints.Checkpoint]:
    """The lesson's functions, the checkpoint's model in that framework, and the checkpoint."""
    lesson = lessons.load(NOTEBOOK, framework)
    way, info = lesson.ways[framework], checkpoints.load(name).info
    model = way.build(lesson.small(info["width"]))
    return way, model, checkpoints.load_into(model, name)


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """The accuracy its sidecar states, and the one found now."""
    return remeasured(*restore(name, framework))


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Test accuracy of three seeds, and of five crops averaged; beside PyTorch, the parts."""
    digits = real_mnist()
    count = len(digits.x_test[:images])
    lesson = lessons.load(NOTEBOOK, framework)
    single, averaged = [], []
    for name in NAMES.values():
        way, model, checkpoint = restore(name, framework)
        single.append(accuracy(way, model, digits, images))
        odds = lesson.five_crops(lambda x: way.logits(model, x), digits.x_test[:images])  # noqa: B023
        averaged.append(float(100 * (odds.argmax(axis=1) == digits.y_test[:images]).mean()))
    info = checkpoints.load(NOTEBOOK).info
    common = {
        "seeds": list(SEEDS),
        "better": "higher",
        "profile": "full",
        "spread": "half the range over three training seeds",
    }
    trained = info["what"].rsplit(", ", 1)[0]
    found = {
        "test accuracy, mean of three seeds, %": (single, REFERENCE),
        "the same, averaged over five crops, %": (averaged, "what the paper does with ten"),
    }
    records = [
        record(metric, values, reference)
        | {**common, "trained": trained, "data": f"MNIST test, {count:,} images"}
        for metric, (values, reference) in found.items()
    ]
    if framework != "torch":  # in which the parts were compared, once
        return records
    briefly = f"the same with {SHORT['width']} filters, {SHORT['steps']:,} steps on {FEW:,} images"
    where = f"MNIST test, 10,000 images; first {FEW:,} of train"
    for title, values in info.get("parts", {}).items():
        count = len(values)
        metric = f"{FEW:,} training images, {title}: accuracy of {count} seeds, %"
        row = record(metric, values, "the row “all of it”")
        seeds = {"seeds": list(SEEDS[:count]), "spread": f"half the range over {count} seeds"}
        records.append({**row, **common, **seeds, "trained": briefly, "data": where})
    return records
