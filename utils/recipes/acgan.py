"""09_acgan: a GAN with the auxiliary loss, one without it, and what their samples measure.

Shorter runs over three seeds (`compare`) leave only what they measured, in the first's sidecar.
"""

import itertools
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, files, judge, lessons, metrics, parity, runtime
from utils.recipes._data import kind, real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "09_acgan"
HEADLINES = (  # what the README shows of the results
    "labels of samples read rightly by the judge, %",
    "Fréchet distance, course's judge",
)
SEED = 0
SAMPLES = 10_000
STRETCH = 0.8  # of the noise, to trade variety for accuracy
AIM = "99 % or more; 10 % is chance"
METRIC = "mean probability, %, that the judge gives the label asked for, 1,000 samples"
MODELS: dict[str, dict[str, Any]] = {
    # name of the checkpoint -> what differs from the lesson's FULL settings
    "09_acgan": {},
    "09_acgan_unlabelled": {"auxiliary": 0.0},
}
COMPARED: dict[str, dict[str, Any]] = {  # short runs, with the lesson's QUICK settings
    "the paper's loss": {},
    "two softmaxes": {"head": "softmax"},
    "auxiliary loss times 10": {"auxiliary": 10.0},
}
SEEDS, SHORT = (0, 1, 2), 500  # of the short runs: seeds, steps


def settings_of(lesson: ModuleType, name: str) -> SimpleNamespace:
    """The settings with which a checkpoint is trained."""
    chosen = {**lesson.FULL, **MODELS[name], "seed": SEED, "framework": "tensorflow"}
    return SimpleNamespace(**chosen)


def what(settings: SimpleNamespace) -> str:
    """How a checkpoint came about, in words."""
    s = settings
    kinds = {0.0: "no auxiliary loss", 1.0: "auxiliary loss"}
    kinds = kinds.get(s.auxiliary, f"auxiliary loss times {s.auxiliary:g}")
    twice = " with a second softmax" if s.head == "softmax" else ""
    return (
        f"ACGAN of width {s.width}, {s.latents} latents, {kinds}{twice}, {s.steps:,} steps of "
        f"{s.batch_size} images"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    digits = real_mnist()
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    for name in MODELS:
        runtime.seed_everything(SEED)  # the same start for each
        _train_one(lesson, digits.x_train, digits.y_train, name, folder / name)
    compare(folder)


def _train_one(
    lesson: ModuleType, images: np.ndarray, labels: np.ndarray, name: str, folder: Path
) -> None:
    settings = settings_of(lesson, name)
    trainer = lesson.TFTrainer(settings)
    keeper = Keeper(name, trainer, settings.steps, folder, trainer.count)
    gan = lesson.train_tf(images, labels, settings, keeper.report, trainer)
    save(name, parity.get_weights(gan), settings, keeper.done())


def compare(folder: Path = Path("build/train")) -> None:
    """Short runs of `COMPARED` over three seeds; their measures go into the first sidecar."""
    runtime.begin("full", ["tensorflow"], SEED)
    lesson, digits, reader = lessons.load(NOTEBOOK, "tensorflow"), real_mnist(), judge.load()
    some = np.random.default_rng(SEED).permutation(len(digits.x_test))[:2000]
    real, labels = reader.features(digits.x_test[some]), digits.y_test[some]
    path = folder / f"{NOTEBOOK}_compared.json"
    found = json.loads(path.read_text()) if path.exists() else []
    for each, seed in itertools.product(COMPARED, SEEDS):
        if any((run["kind"], run["seed"]) == (each, seed) for run in found):
            continue
        runtime.seed_everything(seed)
        changes = {**lesson.QUICK, "steps": SHORT, **COMPARED[each], "seed": seed}
        settings = SimpleNamespace(**changes, framework="tensorflow")
        gan = lesson.train_tf(digits.x_train, digits.y_train, settings, lambda *_: True)
        z, _ = lesson.draw(2000, gan.latents, np.random.default_rng(SEED))
        y = np.arange(2000) % 10
        made = lesson.ways["tensorflow"].generate(gan, z, y)
        read = reader.predict(made)
        coverage, recall = _diversity(lesson, real, labels, reader.features(made), read)
        numbers = {
            "labels right, %": 100 * float((read == y).mean()),
            "coverage": coverage,
            "recall": recall,
            "MS-SSIM": float(metrics.class_similarity(made, read).mean()),
        }
        run = {"kind": each, "seed": seed, **{key: round(v, 3) for key, v in numbers.items()}}
        found.append(run)
        files.write(path, json.dumps(found))
        print(run, flush=True)
    kept = checkpoints.load(NOTEBOOK)
    short = f"the lesson's QUICK settings, {SHORT:,} steps, 2,000 samples"
    info = {**kept.info, "compared": {"settings": short, "runs": found}}
    checkpoints.save(NOTEBOOK, kept.weights, info)


def save(name: str, weights: parity.Weights, settings: SimpleNamespace, seconds: float) -> None:
    """Write the checkpoint with its sidecar: what, how, and the number to re-measure it by."""
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    gan = lesson.ways["tensorflow"].build(settings.latents, settings.width)
    weights = checkpoints.stored(weights)
    parity.set_weights(gan, weights)
    value = round(sureness(lesson, "tensorflow", gan), 4)  # looks at no image of either
    info = {
        "what": what(settings),
        "notebook": NOTEBOOK,
        "latents": settings.latents,
        "width": settings.width,
        "data": "MNIST train, 60,000, −1…1",
        "seed": SEED,
        "settings": vars(settings),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC, "value": {"mnist": value, "embedded": value}},
    }
    print(checkpoints.save(name, weights, info))


def sureness(lesson: ModuleType, framework: str, gan: Any) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    z, y = lesson.draw(1000, gan.latents, np.random.default_rng(SEED))
    made = lesson.ways[framework].generate(gan, z, y)
    return 100 * float(judge.load().probabilities(made)[np.arange(len(y)), y].mean())


def restore(name: str, framework: str) -> tuple[ModuleType, Any, checkpoints.Checkpoint]:
    """The lesson in a framework, and a checkpoint as one of its models."""
    lesson = lessons.load(NOTEBOOK, framework)
    info = checkpoints.load(name).info
    gan = lesson.ways[framework].build(info["latents"], info["width"])
    return lesson, gan, checkpoints.load_into(gan, name)


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the number its sidecar states, and the one found."""
    lesson, gan, checkpoint = restore(name, framework)
    stated = checkpoint.info["metric"]["value"][kind(data.mnist())]
    return stated, sureness(lesson, framework, gan)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Label accuracy, distance and diversity within classes of samples, beside real digits'."""
    digits, reader = real_mnist(), judge.load()
    count = min(images or SAMPLES, SAMPLES) // 10 * 10
    rng = np.random.default_rng(SEED)
    chosen = rng.permutation(len(digits.x_test))[:count]
    others = rng.permutation(len(digits.x_train))[:count]
    test, labels = digits.x_test[chosen].astype(np.float32) / 255, digits.y_test[chosen]
    train = digits.x_train[others].astype(np.float32) / 255
    real, y = reader.features(test), np.arange(count) % 10
    common = {"seeds": [SEED], "profile": "full", "data": f"{count:,} samples; MNIST test"}
    found: list[dict[str, Any]] = []

    def add(metric: str, value: float, better: str, reference: str, error: float = 0.0) -> None:
        span = (round(value, 4), round(value - error, 4), round(value + error, 4))
        found.append(
            {"metric": metric, "better": better, "reference": reference, "trained": trained}
            | dict(zip(("value", "low", "high"), span, strict=True))
            | {"spread": "one standard error over samples; one training seed", **common}
        )

    lesson = lessons.load(NOTEBOOK, framework)
    trained = "none"
    floors = _diversity(lesson, real, labels, reader.features(train), digits.y_train[others])
    alike = metrics.class_similarity(test, labels).mean()
    floor = metrics.frechet_distance(reader.features(train), real)
    for name, who, stretch in (
        ("09_acgan", "", 1.0),
        ("09_acgan", f", noise times {STRETCH}", STRETCH),
        ("09_acgan_unlabelled", ", no auxiliary loss", 1.0),
    ):
        _, gan, checkpoint = restore(name, framework)
        trained = checkpoint.info["what"]
        z, _ = lesson.draw(count, gan.latents, np.random.default_rng(SEED))
        made = lesson.ways[framework].generate(gan, (stretch * z).astype(np.float32), y)
        features, read = reader.features(made), reader.predict(made)
        share = 100 * float((read == y).mean())
        error = float(np.sqrt(share * (100 - share) / count))
        add(f"labels of samples read rightly by the judge{who}, %", share, "higher", AIM, error)
        add(
            f"Fréchet distance{who}, course's judge",
            metrics.frechet_distance(features, real),
            "lower",
            f"real training digits {floor:.2f}",
        )
        coverage, recall = _diversity(lesson, real, labels, features, read)
        within = "within each class, mean of ten"
        add(f"coverage{who}, {within}", coverage, "higher", f"real training digits {floors[0]:.3f}")
        add(f"recall{who}, {within}", recall, "higher", f"real training digits {floors[1]:.3f}")
        add(
            f"MS-SSIM{who}, {within}",
            metrics.class_similarity(made, read).mean(),
            "lower",
            f"real test digits {alike:.3f}",
        )
    return found


def _diversity(lesson: ModuleType, *sets: np.ndarray) -> tuple[float, float]:
    """The means over classes of `class_diversity`: coverage and recall."""
    coverage, recall = lesson.class_diversity(*sets).mean(axis=0)
    return float(coverage), float(recall)
