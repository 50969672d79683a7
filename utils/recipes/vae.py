"""02_vae: Burda et al.'s one-layer VAE on their schedule, and its bounds on log p(x)."""

import functools
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, lessons, metrics, parity, runtime
from utils.recipes._data import kind, real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "02_vae"
HEADLINES = (  # what the README shows of the results
    "−L_5,000, nats",
)
SEED = 0
SAMPLES = (1, 50, 5000)
METRIC = "L_50 in nats, first 1,000 test images, binarisation and noise of seed 0"
REFERENCES = {1: "ELBO, not in the paper", 50: "not in the paper for this model"}
REFERENCES[5000] = "86.76 (Burda et al. 2016, table 1, VAE k = 1)"
MODELS = {
    # name of the checkpoint -> latents, stages of the schedule: stage i has 3^i epochs
    "02_vae_2d": (2, 5),
    "02_vae": (50, 8),
}


def epochs(stages: int) -> int:
    """Epochs in the first stages of Burda et al.'s schedule: 1 + 3 + … = (3^stages − 1)/2."""
    return (3**stages - 1) // 2


def what(latents: int, trained: int) -> str:
    """How a checkpoint came about, in words."""
    planned = epochs(8)
    text = f"784-200-200-{latents} VAE, {trained:,} epochs of Burda et al.'s schedule"
    if trained < planned:
        text += f" (which has {planned:,})"
    return text


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    images = data.flatten(real_mnist().x_train)
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    for name, (latents, stages) in MODELS.items():
        _train_one(lesson, images, name, latents, stages, folder / name)


def _train_one(
    lesson: ModuleType, images: np.ndarray, name: str, latents: int, stages: int, folder: Path
) -> None:
    per_epoch = len(images) // lesson.FULL["batch_size"]
    changes = {"latents": latents, "steps": epochs(stages) * per_epoch, "seed": SEED}
    settings = SimpleNamespace(**{**lesson.FULL, **changes, "framework": "tensorflow"})
    trainer = lesson.TFTrainer(images, settings)
    keeper = Keeper(name, trainer, settings.steps, folder)
    vae = lesson.train_tf(images, settings, keeper.report, trainer)
    save(name, parity.get_weights(vae), epochs(stages), keeper.done())


def save(name: str, weights: parity.Weights, trained: int, seconds: float) -> None:
    """Write the checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    latents, _ = MODELS[name]
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    vae = lesson.TFVAE(latents)
    weights = checkpoints.stored(weights)
    parity.set_weights(vae, weights)
    bounds = {}
    for digits in (real_mnist(), data.mnist("embedded")):
        bounds[kind(digits)] = round(bound(lesson.ways["tensorflow"], vae, digits), 4)
    info = {
        "what": what(latents, trained),
        "notebook": NOTEBOOK,
        "latents": latents,
        "data": "MNIST train, 60,000 images, dynamically binarised",
        "seed": SEED,
        "settings": {**lesson.FULL, "latents": latents, "epochs": trained, "steps": trained * 3000},
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC, "value": bounds},
    }
    print(checkpoints.save(name, weights, info))


def bound(way: Any, vae: Any, digits: data.Dataset) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    x = data.binarise(data.flatten(digits.x_test[:1000]), np.random.default_rng(0))
    latents = way.encode(vae, x[:1])[0].shape[1]
    log_weights = functools.partial(way.log_weights, vae)
    return float(metrics.importance_bounds(log_weights, x, latents, (50,), SEED)[50].mean())


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the bound its sidecar states, and the one found."""
    way = lessons.load(NOTEBOOK, framework).ways[framework]
    vae = way.build(MODELS[name][0])
    checkpoint = checkpoints.load_into(vae, name)
    digits = data.mnist()
    return checkpoint.info["metric"]["value"][kind(digits)], bound(way, vae, digits)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Bounds on log p(x) over the test set and active units, with the checkpoint in `framework`."""
    digits = real_mnist()
    x = data.binarise(data.flatten(digits.x_test), np.random.default_rng(0))[:images]
    lesson = lessons.load(NOTEBOOK, framework)
    way = lesson.ways[framework]
    vae = way.build(50)
    checkpoint = checkpoints.load_into(vae, "02_vae")
    bounds = metrics.importance_bounds(
        functools.partial(way.log_weights, vae), x, 50, SAMPLES, SEED
    )
    common = {
        "seeds": [SEED],
        "better": "lower",
        "profile": "full",
        "trained": checkpoint.info["what"],
        "data": f"MNIST test, {len(x):,} images, binarised",
    }
    found = []
    for k in SAMPLES:
        estimate = metrics.mean_and_error(-bounds[k])
        found.append(
            {
                "metric": f"−L_{k:,}, nats".replace("L_1,", "ELBO,"),
                "value": round(estimate.value, 3),
                "low": round(estimate.value - estimate.error, 3),
                "high": round(estimate.value + estimate.error, 3),
                "spread": "one standard error over test images; one training seed",
                "reference": REFERENCES[k],
                **common,
            }
        )
    mean, _ = way.encode(vae, x)
    active = int(metrics.active_units(mean).sum())
    span = {"value": active, "low": active, "high": active, "spread": found[0]["spread"]}
    reference = "19 (Burda et al. 2016, table 1)"
    return [
        *found,
        {"metric": "active units", **common, **span, "reference": reference, "better": "higher"},
    ]
