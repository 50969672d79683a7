"""11_vgg: the small network with three seeds, what its features are worth for letters; tests."""

import functools
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from utils import checkpoints, data, files, lessons, parity, runtime
from utils.recipes._classifiers import accuracy, fit, record, remeasured, sidecar
from utils.recipes._data import real_mnist

NOTEBOOK = "11_vgg"
HEADLINES = (  # what the README shows of the results
    "test accuracy, mean of three seeds, %",
)
SEEDS = (0, 1, 2)
NAMES = {seed: NOTEBOOK if not seed else f"{NOTEBOOK}_{seed}" for seed in SEEDS}
LETTERS, TESTED = 200, 1000  # how each way learns from them stands in the lesson's TRANSFERS
SAY_EVERY = 30.0  # seconds
REFERENCE = "reach: 99.5; course's judge 99.47"


def settings_of(lesson: ModuleType, seed: int, **changes: Any) -> SimpleNamespace:
    """The settings of a full run, and what differs from them."""
    return SimpleNamespace(**{**lesson.FULL, **changes, "seed": seed, "framework": "torch"})


def what(settings: SimpleNamespace, seed: int) -> str:
    """How a checkpoint came about, in words."""
    s = settings
    return (
        f"small VGG, row {s.row} with BatchNorm, {s.width} filters in its first layer, "
        f"{s.steps:,} steps of {s.batch_size} images, seed {seed}"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save everything of the notebook; what an earlier call has finished is kept."""
    runtime.begin("full", ["torch"], SEEDS[0])
    digits = real_mnist()
    lesson = lessons.load(NOTEBOOK, "torch")
    models = {seed: _train_one(lesson, digits, seed, folder) for seed in SEEDS}
    weights, seconds = models[SEEDS[0]]
    letters = compare(lesson, checkpoints.stored(weights), folder / f"{NOTEBOOK}_letters.json")
    save(lesson, weights, SEEDS[0], seconds, {"letters": letters})


def _train_one(
    lesson: ModuleType, digits: data.Dataset, seed: int, folder: Path
) -> tuple[parity.Weights, float]:
    train = functools.partial(lesson.train_torch, digits.x_train, digits.y_train)
    path, settings = folder / f"{NAMES[seed]}.npz", settings_of(lesson, seed)
    weights, _, seconds = fit(NAMES[seed], train, settings, path, SAY_EVERY)
    save(lesson, weights, seed, seconds)
    return weights, seconds


def compare(lesson: ModuleType, weights: parity.Weights, path: Path) -> dict[str, list[float]]:
    """Accuracy in percent on test letters, for each way to learn; a list over seeds for each.

    Each result is written to `path` at once, and not computed again.
    """
    found = json.loads(path.read_text()) if path.exists() else {}
    for seed in SEEDS:
        letters = data.letters(LETTERS, TESTED, seed=seed)
        for title, transfer in lesson.TRANSFERS.items():
            if len(found.setdefault(title, [])) > SEEDS.index(seed):
                continue
            settings = settings_of(lesson, seed, **lesson.FEW)
            runtime.seed_everything(seed)
            right = lesson.learnt(lesson.ways["torch"], letters, settings, weights, transfer)
            found[title].append(round(right, 3))
            files.write(path, json.dumps(found, indent=1))
            print(f"{title}, seed {seed}: {right:.1f} %", flush=True)
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
    model = way.build(lesson.small(settings.row, settings.width))
    parity.set_weights(model, weights)
    info = {
        "what": what(settings, seed),
        "notebook": NOTEBOOK,
        "row": settings.row,
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
    model = way.build(lesson.small(info["row"], info["width"]))
    return way, model, checkpoints.load_into(model, name)


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """The accuracy its sidecar states, and the one found now."""
    return remeasured(*restore(name, framework))


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Test accuracy of three seeds; beside PyTorch, what the features are worth for letters."""
    digits = real_mnist()
    count = len(digits.x_test[:images])
    values = []
    for name in NAMES.values():
        way, model, _ = restore(name, framework)
        values.append(accuracy(way, model, digits, images))
    info = checkpoints.load(NOTEBOOK).info
    common = {
        "seeds": list(SEEDS),
        "better": "higher",
        "profile": "full",
        "spread": "half the range over three training seeds",
    }
    trained = info["what"].rsplit(", ", 1)[0]
    metric = "test accuracy, mean of three seeds, %"
    where = f"MNIST test, {count:,} images"
    records = [record(metric, values, REFERENCE) | common | {"trained": trained, "data": where}]
    if framework != "torch":  # in which the ways to learn were compared, once
        return records
    steps = lessons.load(NOTEBOOK, framework).FEW["steps"]
    for title, values in info.get("letters", {}).items():
        metric = f"{LETTERS} letters, {title}: accuracy, %"
        row = record(metric, values, "the row “from scratch”") | common
        trained = f"{steps} steps; where features are taken over, the digits' network of seed 0"
        spread = "half the range over three seeds, of training letters as well"
        where = f"{TESTED:,} letters of typefaces not trained on"
        records.append({**row, "spread": spread, "trained": trained, "data": where})
    return records
