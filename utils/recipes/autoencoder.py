"""01_autoencoder: three kinds of network, a denoiser and a code of two, and what they measure."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, lessons, metrics, parity, runtime
from utils.recipes._data import kind, real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "01_autoencoder"
HEADLINES = (  # what the README shows of the results
    "cross-entropy per pixel, dense, 32-d code",
    "linear autoencoder, 6-d code: excess of its squared error over PCA's",
)
SEED = 0
METRIC = "squared error per pixel × 1,000, first 1,000 test images, whole"
MODELS = {
    # name of the checkpoint -> what differs from the lesson's full settings
    "01_autoencoder_dense": {"kind": "dense"},
    "01_autoencoder_deep": {"kind": "deep", "learning_rate": 1e-3},
    "01_autoencoder": {"kind": "conv"},
    "01_autoencoder_2d": {"kind": "deep", "latents": 2, "learning_rate": 1e-3},
    "01_autoencoder_denoise": {"kind": "conv", "erase": 0.5},
}
MEASURED = {"dense": "01_autoencoder_dense", "deep": "01_autoencoder_deep", "conv": NOTEBOOK}
REFERENCES = {
    "dense": "0.0916 (a public notebook, dense, 32-d code, 50 epochs)",
    "deep": "0.0839 (the same notebook, 128-64-32, 100 epochs)",
    "conv": "0.0903 (the same notebook, convolutional, 128-d code, 50 epochs)",
}


def settings(name: str, framework: str, lesson: Any) -> SimpleNamespace:
    """The settings that a checkpoint is trained with."""
    return SimpleNamespace(**{**lesson.FULL, **MODELS[name], "seed": SEED, "framework": framework})


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    images = data.flatten(real_mnist().x_train)
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    for name in MODELS:
        chosen = settings(name, "tensorflow", lesson)
        runtime.seed_everything(SEED)
        trainer = lesson.TFTrainer(chosen)
        keeper = Keeper(name, trainer, chosen.steps, folder / name)
        model = lesson.train_tf(images, chosen, keeper.report, trainer)
        save(name, model, chosen, keeper.done())


def save(name: str, model: Any, chosen: SimpleNamespace, seconds: float) -> None:
    """Write the checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    weights = checkpoints.stored(parity.get_weights(model))
    parity.set_weights(model, weights)
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    errors = {
        kind(digits): round(error(lesson, "tensorflow", model, digits), 4)
        for digits in (real_mnist(), data.mnist("embedded"))
    }
    epochs = chosen.steps * chosen.batch_size / 60_000
    what = f"{chosen.kind} autoencoder, {chosen.latents}-d code, {chosen.loss}, {epochs:.0f} epochs"
    if chosen.erase:
        what += f", {chosen.erase:.0%} of the input's pixels erased"
    info = {
        "what": what,
        "notebook": NOTEBOOK,
        "data": "MNIST train, 60,000 images, grey",
        "seed": SEED,
        "settings": {key: value for key, value in vars(chosen).items() if key != "framework"},
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC, "value": errors},
    }
    print(checkpoints.save(name, weights, info), flush=True)


def error(lesson: Any, framework: str, model: Any, digits: data.Dataset) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    x = (data.flatten(digits.x_test[:1000]) / 255).astype("float32")
    rebuilt = lesson.rebuild(lesson.ways[framework], model, x)
    return 1000 * float(lesson.squared_error(x, rebuilt).mean())


def restore(name: str, framework: str) -> tuple[Any, Any, checkpoints.Checkpoint]:
    """The lesson, and a checkpoint as one of its models."""
    lesson = lessons.load(NOTEBOOK, framework)
    chosen = checkpoints.load(name).info["settings"]
    model = lesson.ways[framework].build(chosen["kind"], chosen["latents"], chosen["loss"])
    return lesson, model, checkpoints.load_into(model, name)


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the error its sidecar states, and the one found."""
    lesson, model, checkpoint = restore(name, framework)
    digits = data.mnist()
    found = error(lesson, framework, model, digits)
    return checkpoint.info["metric"]["value"][kind(digits)], found


def linear_excess(lesson: Any, framework: str, images: np.ndarray, **changes: Any) -> float:
    """Train a linear autoencoder with a code of 6 on `images` (N, 784), uint8.

    Parameters
    ----------
    changes
        Settings that differ from this recipe's.

    Returns
    -------
    Its squared error over that of PCA with as many components on the same images, minus 1.
    """
    from sklearn.decomposition import PCA

    linear = {"kind": "dense", "loss": "squared error", "latents": 6, "seed": SEED}
    steps = {"learning_rate": 1e-2, "batch_size": 256, "steps": 2000, "framework": framework}
    chosen = SimpleNamespace(**{**lesson.FULL, **linear, **steps, **changes})
    way = lesson.ways[framework]
    model = way.train(images, chosen, lambda *_: True)
    x = (images / np.float32(255)).astype("float32")
    pca = PCA(chosen.latents, svd_solver="covariance_eigh").fit(x)
    least = lesson.squared_error(x, pca.inverse_transform(pca.transform(x))).mean()
    return float(lesson.squared_error(x, lesson.rebuild(way, model, x)).mean() / least - 1)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Cross-entropy per pixel of three networks, and how far a linear one is from PCA."""
    digits = real_mnist()
    x = (data.flatten(digits.x_test[:images]) / 255).astype("float32")
    common = {
        "seeds": [SEED],
        "better": "lower",
        "profile": "full",
        "data": f"MNIST test, {len(x):,} images, grey",
    }
    found = []
    for name, checkpoint in MEASURED.items():
        lesson, model, loaded = restore(checkpoint, framework)
        rebuilt = lesson.rebuild(lesson.ways[framework], model, x)
        estimate = metrics.mean_and_error(lesson.cross_entropy(x, rebuilt))
        found.append(
            {
                "metric": f"cross-entropy per pixel, {name}, 32-d code",
                "value": round(estimate.value, 5),
                "low": round(estimate.value - estimate.error, 5),
                "high": round(estimate.value + estimate.error, 5),
                "spread": "one standard error over test images; one training seed",
                "reference": REFERENCES[name],
                "trained": loaded.info["what"],
                **common,
            }
        )
    runtime.seed_everything(SEED)
    excess = round(linear_excess(lesson, framework, data.flatten(digits.x_train)), 6)
    excess_record = {
        "metric": "linear autoencoder, 6-d code: excess of its squared error over PCA's",
        "value": excess,
        "low": excess,
        "high": excess,
        "spread": "one run",
        "reference": "0 (Baldi and Hornik 1989), reach 0.001",
        "trained": "linear autoencoder, 6-d code, 2,000 steps of 256 images",
        **common,
        "data": "MNIST train, 60,000 images, grey",
    }
    return [*found, excess_record]
