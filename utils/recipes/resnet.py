"""12_resnet: some seeds, with and without cutout, the degradation experiment, a loss surface."""

import functools
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, files, lessons, parity, runtime
from utils.recipes._classifiers import accuracy, fit, record, remeasured, sidecar
from utils.recipes._data import real_mnist

NOTEBOOK = "12_resnet"
HEADLINES = (  # what the README shows of the results
    "test accuracy, mean of the seeds, %",
)
# For each ending of the checkpoints' names: with more seeds here, `train` makes what is missing.
SEEDS: dict[str, tuple[int, ...]] = {"": (0, 1, 2), "_cutout": (0,)}
CUTOUT = "the same with cutout, %"
HOLE = 12  # pixels of cutout's square
GROUPS = {"": 0, "_cutout": HOLE}  # ending of the checkpoints' names -> the hole trained with
NAMES = {
    (ending, seed): NOTEBOOK + ending + (f"_{seed}" if seed else "")
    for ending in GROUPS
    for seed in SEEDS[ending]
}
COMPARED = {  # the degradation experiment: what is said of it -> what differs
    "plain-20": {"depth": 20, "shortcut": "none"},
    "plain-56": {"depth": 56, "shortcut": "none"},
    "ResNet-20": {"depth": 20, "shortcut": "A"},
    "ResNet-56": {"depth": 56, "shortcut": "A"},
}
COMPARED_SEEDS = (0, 1)
BRIEF = {"steps": 300, "shift": 0, "learning_rate": 0.1, "decay": 1e-4, "batch_size": 64}
TRAINING_IMAGES = 5000  # on which the training error is measured after the run
GRID = np.linspace(-1, 1, 13)  # where the surface is measured, in both directions
SAY_EVERY = 30.0  # seconds


def settings_of(lesson: ModuleType, seed: int, **changes: Any) -> SimpleNamespace:
    """The settings of a full run, and what differs from them."""
    return SimpleNamespace(**{**lesson.FULL, **changes, "seed": seed, "framework": "torch"})


def what(settings: SimpleNamespace) -> str:
    """How a checkpoint came about, in words."""
    s = settings
    return (
        f"ResNet-{s.depth}, {s.width} channels in its first stage, {s.steps:,} steps of "
        f"{s.batch_size} images{', cutout' if s.hole else ''}, seed {s.seed}"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save everything of the notebook; what an earlier call has finished is kept."""
    runtime.begin("full", ["torch"], 0)
    digits = real_mnist()
    lesson = lessons.load(NOTEBOOK, "torch")
    everything(lesson, digits, folder)


def everything(lesson: ModuleType, digits: data.Dataset, folder: Path) -> None:
    """`train`, with the lesson and the digits at hand."""
    first = SEEDS[""][0]
    weights, seconds = _train_one(lesson, digits, first, folder, "")
    extra = {"degradation": compare(lesson, digits, folder), "surfaces": {}}
    for title in ("plain-56", "ResNet-56"):
        extra["surfaces"][title] = surface(lesson, digits, title, folder)
    save(lesson, weights, settings_of(lesson, first), "", seconds, extra)
    for ending, seed in NAMES:
        if (ending, seed) != ("", first):
            _train_one(lesson, digits, seed, folder, ending)


def _fit(
    lesson: ModuleType, digits: data.Dataset, settings: SimpleNamespace, path: Path, said_of: str
) -> tuple[parity.Weights, np.ndarray, float]:
    """Weights, losses and seconds of a run on the images that are not held out."""
    kept = lesson.held_out(digits.x_train)
    train = functools.partial(lesson.train_torch, digits.x_train[:kept], digits.y_train[:kept])
    return fit(said_of, train, settings, path, SAY_EVERY)


def _train_one(
    lesson: ModuleType, digits: data.Dataset, seed: int, folder: Path, ending: str
) -> tuple[parity.Weights, float]:
    name, settings = NAMES[ending, seed], settings_of(lesson, seed, hole=GROUPS[ending])
    before = (folder / f"{name}.npz").exists()
    weights, _, seconds = _fit(lesson, digits, settings, folder / f"{name}.npz", name)
    if not before:
        save(lesson, weights, settings, ending, seconds)
    return weights, seconds


def compare(lesson: ModuleType, digits: data.Dataset, folder: Path) -> dict[str, list[dict]]:
    """Plain and residual networks of two depths: curves and training errors, over the seeds."""
    kept = lesson.held_out(digits.x_train)
    x, y = digits.x_train[:kept][:TRAINING_IMAGES], digits.y_train[:kept][:TRAINING_IMAGES]
    found: dict[str, list[dict]] = {title: [] for title in COMPARED}
    for seed in COMPARED_SEEDS:
        for title, changes in COMPARED.items():
            settings = settings_of(lesson, seed, **BRIEF, **changes)
            path = folder / f"{NOTEBOOK}_{title}_{seed}.npz"
            run, losses, seconds = _fit(lesson, digits, settings, path, f"{title}, seed {seed}")
            model = _model(lesson, settings, run)
            logits = lesson.logits_torch(model, x)
            odds = lesson.softmax(logits.astype("float64"))[np.arange(len(y)), y]
            entry = {
                "seed": seed,
                "training error, %": round(float(100 * (logits.argmax(axis=1) != y).mean()), 2),
                "training loss": round(float(-np.log(np.maximum(odds, 1e-30)).mean()), 4),
                "test accuracy, %": round(accuracy(lesson.ways["torch"], model, digits), 3),
                "losses": [[int(step), round(float(loss), 4)] for step, loss in losses],
                "gradients": flow(lesson, model, x[:128], y[:128]),
                "seconds": round(seconds),
            }
            found[title].append(entry)
            said = {k: v for k, v in entry.items() if k not in ("losses", "gradients")}
            print(title, said, flush=True)
    return found


def flow(lesson: ModuleType, model: Any, x: np.ndarray, y: np.ndarray) -> list[float]:
    """The size of the gradient of each block's convolutions, from the input to the output."""
    found = lesson.gradients_torch(model, x, y)
    names = [name for name in lesson.layers_of(model.net) if "conv" in name]
    return [float(f"{np.linalg.norm(found[name]):.3g}") for name in names]


def _model(lesson: ModuleType, settings: SimpleNamespace, weights: parity.Weights) -> Any:
    net = lesson.small(settings.width, settings.depth, settings.version, settings.shortcut)
    model = lesson.ways["torch"].build(net)
    parity.set_weights(model, weights)
    return model


def directions(weights: parity.Weights, seed: int) -> list[parity.Weights]:
    """Two random directions, each filter as long as the weights' own (Li et al. 2018)."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(2):
        drawn = {}
        for name, value in weights.items():
            if not name.endswith("kernel"):
                continue  # norms and biases stay where they are
            noise = rng.normal(size=value.shape)
            axes = tuple(range(value.ndim - 1))
            length = np.sqrt((noise**2).sum(axis=axes)) + 1e-10
            noise *= np.sqrt((value**2).sum(axis=axes)) / length
            drawn[name] = noise.astype("float32")
        found.append(drawn)
    return found


def surface(
    lesson: ModuleType, digits: data.Dataset, title: str, folder: Path, images: int = 128
) -> list[list[float]]:
    """Training loss around a trained network of the degradation experiment, over `GRID`²."""
    path = folder / f"{NOTEBOOK}_surface_{title}.json"
    if path.exists():
        return json.loads(path.read_text())
    import torch

    settings = settings_of(lesson, COMPARED_SEEDS[0], **BRIEF, **COMPARED[title])
    run = dict(np.load(folder / f"{NOTEBOOK}_{title}_{COMPARED_SEEDS[0]}.npz"))
    weights = {name: run[name] for name in run if name not in ("losses", "seconds")}
    model, (one, two) = _model(lesson, settings, weights), directions(weights, COMPARED_SEEDS[0])
    x = torch.as_tensor(lesson.grey(digits.x_train[:images]))
    y = torch.as_tensor(digits.y_train[:images].astype("int64"))
    found = []
    for a in GRID:
        row = []
        for b in GRID:
            moved = {k: v + a * one[k] + b * two[k] if k in one else v for k, v in weights.items()}
            parity.set_weights(model, moved)
            model.train()  # norms take the batch's statistics: those remembered fit one point only
            with torch.no_grad():
                row.append(round(float(lesson.loss_torch(model, model(x), y, 0.0)), 4))
        found.append(row)
    files.write(path, json.dumps(found))
    print(f"surface of {title} done", flush=True)
    return found


def save(
    lesson: ModuleType,
    weights: parity.Weights,
    settings: SimpleNamespace,
    ending: str,
    seconds: float,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    weights = checkpoints.stored(weights)
    way, model = lesson.ways["torch"], _model(lesson, settings, weights)
    info = {
        "what": what(settings),
        "notebook": NOTEBOOK,
        "net": {"width": settings.width, "depth": settings.depth, "version": settings.version},
        "data": "MNIST train, first 55,000 images, shifted by up to two pixels",
        **sidecar(settings, seconds, way, model, real_mnist()),
        **(extra or {}),
    }
    print(checkpoints.save(NAMES[ending, settings.seed], weights, info), flush=True)


def restore(name: str, framework: str) -> tuple[Any, Any, checkpoints.Checkpoint]:
    """The lesson's functions, the checkpoint's model in that framework, and the checkpoint."""
    lesson = lessons.load(NOTEBOOK, framework)
    way, net = lesson.ways[framework], lesson.small(**checkpoints.load(name).info["net"])
    model = way.build(net)
    return way, model, checkpoints.load_into(model, name)


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """The accuracy its sidecar states, and the one found now."""
    return remeasured(*restore(name, framework))


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Test accuracy of the seeds without and with cutout; beside PyTorch, the degradation."""
    digits = real_mnist()
    count = len(digits.x_test[:images])
    records = []
    for ending, metric, reference in (
        ("", HEADLINES[0], "reach: 99.6; hysts 99.60"),
        ("_cutout", CUTOUT, "reach: 99.75; hysts 99.75, 100 epochs"),
    ):
        values: list[float] = []
        for seed in SEEDS[ending]:
            way, model, checkpoint = restore(NAMES[ending, seed], framework)
            values.append(accuracy(way, model, digits, images))
        if not values:
            continue
        row = record(metric, values, reference) | over_seeds(values, "higher")
        trained = checkpoint.info["what"].rsplit(", ", 1)[0]
        records.append(row | {"trained": trained, "data": f"MNIST test, {count:,} images"})
    if framework == "torch":  # in which the depths were compared, once
        info = checkpoints.load(NOTEBOOK).info
        for title, runs in info.get("degradation", {}).items():
            values = [run["training error, %"] for run in runs]
            metric = f"{title}, training error after {BRIEF['steps']:,} steps, %"
            row = record(metric, values, "plain-56 against plain-20") | over_seeds(values, "lower")
            where = f"MNIST train, {TRAINING_IMAGES:,} of the images trained on"
            records.append(row | {"trained": "without augmentation, 8 channels", "data": where})
    return records


def over_seeds(values: list[float], better: str) -> dict[str, Any]:
    """What a record says of its seeds."""
    several = f"half the range over {len(values)} training seeds"
    return {
        "seeds": list(range(len(values))),
        "better": better,
        "profile": "full",
        "spread": several if len(values) > 1 else "one training seed",
    }
