"""05_aae: an 8-dimensional and a 2-dimensional adversarial autoencoder, and what they measure."""

import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, judge, lessons, metrics, parity, runtime
from utils.recipes._data import kind, real_mnist

NOTEBOOK = "05_aae"
SEED = 0
HELD_OUT = 1000  # training images at the end that only choose the width of the windows
METRIC = "cross-entropy of the rebuilt grey images, nats an image, first 1,000 test images"
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
    return (
        f"784-{s.hidden}-{s.hidden}-{s.latents} adversarial autoencoder, {s.prior} prior, "
        f"dropout {s.dropout:g}, {s.steps:,} steps of {s.batch_size} images"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    images = data.flatten(real_mnist().x_train)[:-HELD_OUT]
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    for name in MODELS:
        _train_one(lesson, images, name, folder / name)


def _train_one(lesson: ModuleType, images: np.ndarray, name: str, folder: Path) -> None:
    import tensorflow as tf

    settings = settings_of(lesson, name)
    trainer = lesson.TFTrainer(settings)
    keeper = tf.train.CheckpointManager(tf.train.Checkpoint(trainer=trainer), str(folder), 2)
    keeper.restore_or_initialize()
    print(f"{name}: from step {int(trainer.count):,} of {settings.steps:,}", flush=True)
    started = saved = time.monotonic()

    def report(step: int, logs: dict[str, float], preview: Any = None) -> bool:
        nonlocal saved
        if time.monotonic() - saved > 60:  # a cut loses a minute
            keeper.save()
            saved = time.monotonic()
            said = ", ".join(f"{key} {value:.2f}" for key, value in logs.items())
            print(f"step {step:,}: {said}", flush=True)
        return True

    aae = lesson.train_tf(images, settings, report, trainer=trainer)
    keeper.save()
    save(name, parity.get_weights(aae), settings, time.monotonic() - started)


def save(name: str, weights: parity.Weights, settings: SimpleNamespace, seconds: float) -> None:
    """Write the checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    way = lessons.load(NOTEBOOK, "tensorflow").ways["tensorflow"]
    aae = way.build(settings.latents, settings.hidden)
    parity.set_weights(aae, weights)
    both = (real_mnist(), data.mnist("embedded"))
    info = {
        "what": what(settings),
        "notebook": NOTEBOOK,
        "latents": settings.latents,
        "hidden": settings.hidden,
        "data": f"MNIST train without its last {HELD_OUT:,} images: 59,000, grey",
        "seed": SEED,
        "settings": vars(settings),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {
            "name": METRIC,
            "value": {kind(d): round(rebuilding(way, aae, d), 4) for d in both},
        },
    }
    print(checkpoints.save(name, weights, info))


def rebuilding(way: Any, aae: Any, digits: data.Dataset) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    x = grey(digits.x_test[:1000])
    made = np.clip(way.decode(aae, way.encode(aae, x)).astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-(x * np.log(made) + (1 - x) * np.log(1 - made)).sum(axis=1).mean())


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the cost its sidecar states, and the one found."""
    way = lessons.load(NOTEBOOK, framework).ways[framework]
    info = checkpoints.load(name).info
    aae = way.build(info["latents"], info["hidden"])
    checkpoints.load_into(aae, name)
    digits = data.mnist()
    return info["metric"]["value"][kind(digits)], rebuilding(way, aae, digits)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Parzen windows and Fréchet distance of the 8-d checkpoint's samples, with their floors."""
    digits = real_mnist()
    train, test = (grey(part) for part in (digits.x_train, digits.x_test[:images]))
    held_out, count = train[-HELD_OUT:], images or SAMPLES
    lesson = lessons.load(NOTEBOOK, framework)
    way = lesson.ways[framework]
    checkpoint = checkpoints.load("05_aae")
    aae = way.build(checkpoint.info["latents"], checkpoint.info["hidden"])
    checkpoints.load_into(aae, "05_aae")
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
    return [{**common, **item} for item in found]


def grey(images: np.ndarray) -> np.ndarray:
    """Bytes (N, 28, 28) as grey levels 0…1, (N, 784)."""
    return data.flatten(images).astype(np.float32) / 255
