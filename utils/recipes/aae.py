"""05_aae: an 8-dimensional and a 2-dimensional adversarial autoencoder, and what they measure."""

import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, lessons, metrics, parity, runtime
from utils.recipes._data import kind, real_mnist

NOTEBOOK = "05_aae"
SEED = 0
HELD_OUT = 1000  # training images at the end that only choose the width of the windows
METRIC = "cross-entropy of the rebuilt grey images, nats an image, first 1,000 test images"
MODELS: dict[str, dict[str, Any]] = {
    # name of the checkpoint -> what differs from the lesson's FULL settings
    "05_aae_2d": {"latents": 2, "hidden": 128, "dropout": 0.0, "steps": 23_600},
    "05_aae_roll": {"latents": 2, "hidden": 128, "dropout": 0.0, "steps": 17_700}
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


def save(
    name: str, weights: parity.Weights, settings: SimpleNamespace, seconds: float
) -> None:
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
    x = data.flatten(digits.x_test[:1000]).astype(np.float32) / 255
    made = np.clip(way.decode(aae, way.encode(aae, x)).astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-(x * np.log(made) + (1 - x) * np.log(1 - made)).sum(axis=1).mean())
