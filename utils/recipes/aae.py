"""05_aae: an 8-dimensional and a 2-dimensional adversarial autoencoder, and what they measure."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, judge, lessons, metrics, parity, runtime
from utils.recipes._data import kind, real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "05_aae"
HEADLINES = (  # what the README shows of the results
    "Parzen log-likelihood, 10,000 samples, nats",
    "test error with 1,000 labels, %",
)
SEED = 0
HELD_OUT = 1000  # training images at the end that only choose the width of the windows
METRIC = "cross-entropy of the rebuilt grey images, nats an image, first 1,000 test images"
ERRORS = "test error, %, first 1,000 test images"
SAMPLES = 10_000
SIGMAS = tuple(np.round(np.arange(0.12, 0.251, 0.01), 2))
REFERENCE = "340 ± 2 (Makhzani et al. 2015)"
FLOOR = "a warning: real images score less (Theis et al. 2016)"
MODELS: dict[str, dict[str, Any]] = {
    # name of the checkpoint -> what differs from the lesson's FULL settings
    "05_aae_2d": {"latents": 2, "hidden": 128, "dropout": 0.0, "steps": 23_600},
    "05_aae_petals": {"latents": 2, "hidden": 128, "dropout": 0.0, "steps": 23_600}
    | {"prior": "mixture"},
    "05_aae_roll": {"latents": 2, "hidden": 128, "dropout": 0.0, "steps": 5_000}
    | {"prior": "swiss roll"},
    "05_aae_labels": {"latents": 2, "hidden": 128, "dropout": 0.2, "steps": 30_000}
    | {"labels": 1000, "learning_rate": 2e-3},
    "05_aae": {},
}


def settings_of(lesson: ModuleType, name: str) -> SimpleNamespace:
    """The settings with which a checkpoint is trained."""
    return SimpleNamespace(
        **{**lesson.FULL, **MODELS[name], "seed": SEED, "framework": "tensorflow"}
    )


def what(settings: SimpleNamespace) -> str:
    """How a checkpoint came about, in words."""
    s = settings
    known = f", {s.labels:,} labels" if s.labels else ""
    return (
        f"784-{s.hidden}-{s.hidden}-{s.latents} adversarial autoencoder, {s.prior} prior, "
        f"dropout {s.dropout:g}{known}, {s.steps:,} steps of {s.batch_size} images"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    digits = real_mnist()
    images, labels = data.flatten(digits.x_train)[:-HELD_OUT], digits.y_train[:-HELD_OUT]
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    for name in MODELS:
        _train_one(lesson, images, name, folder / name, labels)


def _train_one(
    lesson: ModuleType,
    images: np.ndarray,
    name: str,
    folder: Path,
    labels: np.ndarray | None = None,
) -> None:
    settings = settings_of(lesson, name)
    trainer = lesson.TFTrainer(settings)
    keeper = Keeper(name, trainer, settings.steps, folder, trainer.count)
    aae = lesson.train_tf(images, settings, keeper.report, labels, trainer)
    save(name, parity.get_weights(aae), settings, keeper.done())


def save(name: str, weights: parity.Weights, settings: SimpleNamespace, seconds: float) -> None:
    """Write the checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    way = lessons.load(NOTEBOOK, "tensorflow").ways["tensorflow"]
    classes = 10 if settings.labels else 0
    aae = way.build(settings.latents, settings.hidden, classes)
    weights = checkpoints.stored(weights)
    parity.set_weights(aae, weights)
    measured = errors if classes else rebuilding
    both = (real_mnist(), data.mnist("embedded"))
    info = {
        "what": what(settings),
        "notebook": NOTEBOOK,
        "latents": settings.latents,
        "hidden": settings.hidden,
        "classes": classes,
        "data": f"MNIST train without its last {HELD_OUT:,} images: 59,000, grey",
        "seed": SEED,
        "settings": vars(settings),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {
            "name": ERRORS if classes else METRIC,
            "value": {kind(d): round(measured(way, aae, d), 4) for d in both},
        },
    }
    print(checkpoints.save(name, weights, info))


def rebuilding(way: Any, aae: Any, digits: data.Dataset) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    x = grey(digits.x_test[:1000])
    made = np.clip(way.decode(aae, way.encode(aae, x)).astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-(x * np.log(made) + (1 - x) * np.log(1 - made)).sum(axis=1).mean())


def errors(way: Any, aae: Any, digits: data.Dataset, images: int | None = 1000) -> float:
    """The share of test images whose class is wrong, in percent: see `ERRORS`."""
    guessed = way.classify(aae, grey(digits.x_test[:images])).argmax(axis=1)
    return 100 * float((guessed != digits.y_test[:images]).mean())


def restore(name: str, framework: str) -> tuple[Any, Any, checkpoints.Checkpoint]:
    """A framework's functions, and a checkpoint as one of its models."""
    way = lessons.load(NOTEBOOK, framework).ways[framework]
    info = checkpoints.load(name).info
    aae = way.build(info["latents"], info["hidden"], info.get("classes", 0))
    return way, aae, checkpoints.load_into(aae, name)


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the number its sidecar states, and the one found."""
    way, aae, checkpoint = restore(name, framework)
    digits = data.mnist()
    measured = errors if checkpoint.info.get("classes") else rebuilding
    return checkpoint.info["metric"]["value"][kind(digits)], measured(way, aae, digits)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Parzen windows and Fréchet distance of the 8-d checkpoint's samples, with their floors."""
    digits = real_mnist()
    train, test = (grey(part) for part in (digits.x_train, digits.x_test[:images]))
    held_out, count = train[-HELD_OUT:], images or SAMPLES
    lesson = lessons.load(NOTEBOOK, framework)
    way, aae, checkpoint = restore("05_aae", framework)
    draws = lesson.draw_prior("gaussian", SAMPLES, 8, np.random.default_rng(SEED))
    made = way.decode(aae, draws)
    features = judge.load().features
    real = features(test)
    common = {
        "seeds": [SEED],
        "profile": "full",
        "trained": checkpoint.info["what"],
        "data": f"MNIST test, {len(test):,} images, grey",
        "spread": "one standard error over test images; one training seed",
    }
    found = []
    for metric, samples, reference in (
        (f"Parzen log-likelihood, {SAMPLES:,} samples, nats", made, REFERENCE),
        (f"the same of {SAMPLES:,} training images, nats", train[:SAMPLES], FLOOR),
    ):
        sigma = metrics.parzen_sigma(samples, held_out, SIGMAS)
        estimate = metrics.mean_and_error(metrics.parzen(samples, test, sigma))
        span = {
            "value": round(estimate.value, 2),
            "low": round(estimate.value - estimate.error, 2),
            "high": round(estimate.value + estimate.error, 2),
        }
        found.append({"metric": metric, **span, "better": "higher", "reference": reference})
    for metric, samples, reference in (
        ("Fréchet distance of samples, course's judge", made, "floor: the row below"),
        ("Fréchet distance of training images, its floor", train, "real against real"),
    ):
        value = round(metrics.frechet_distance(features(samples[:count]), real), 3)
        span = {"value": value, "low": value, "high": value}
        found.append({"metric": metric, **span, "better": "lower", "reference": reference})
    classifier_way, classifier, labelled = restore("05_aae_labels", framework)
    error = errors(classifier_way, classifier, digits, images)
    spread = 100 * float(np.sqrt(error / 100 * (1 - error / 100) / len(test)))
    found.append(
        {
            "metric": "test error with 1,000 labels, %",
            "value": round(error, 3),
            "low": round(error - spread, 3),
            "high": round(error + spread, 3),
            "better": "lower",
            "reference": "1.60 ± 0.08 (Makhzani et al. 2015)",
            "trained": labelled.info["what"],
        }
    )
    return [{**common, **item} for item in found]


def grey(images: np.ndarray) -> np.ndarray:
    """Bytes (N, 28, 28) as grey levels 0…1, (N, 784)."""
    return data.flatten(images).astype(np.float32) / 255
