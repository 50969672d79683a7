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
PLANE = {"latents": 2, "hidden": 128, "dropout": 0.0}
MODELS: dict[str, list[dict[str, Any]]] = {
    # name of the checkpoint -> its stages: what each changes of the lesson's FULL settings
    "05_aae_2d": [{**PLANE, "steps": 23_600}],
    "05_aae_roll": [{**PLANE, "steps": 17_700, "prior": "swiss roll"}],
    # 150 epochs, and 60 without dropout, in which the decoder learns to be exact
    "05_aae": [{}, {"dropout": 0.0, "learning_rate": 5e-4, "steps": 35_400}],
}


def stages(lesson: ModuleType, name: str) -> list[SimpleNamespace]:
    """The settings of each stage in which a checkpoint is trained."""
    fixed = {"seed": SEED, "framework": "tensorflow"}
    return [SimpleNamespace(**{**lesson.FULL, **change, **fixed}) for change in MODELS[name]]


def what(trained: list[SimpleNamespace]) -> str:
    """How a checkpoint came about, in words."""
    s = trained[0]
    steps = ", then ".join(f"{s.steps:,} steps with dropout {s.dropout:g}" for s in trained)
    return (
        f"784-{s.hidden}-{s.hidden}-{s.latents} adversarial autoencoder, {s.prior} prior, "
        f"{steps}, {s.batch_size} images a step"
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

    weights, started = None, time.monotonic()
    for number, settings in enumerate(stages(lesson, name), start=1):
        trainer = lesson.TFTrainer(settings)
        if weights is not None:
            parity.set_weights(trainer.aae, weights)
        saved = tf.train.Checkpoint(trainer=trainer)
        keeper = tf.train.CheckpointManager(saved, str(folder / str(number)), 2)
        keeper.restore_or_initialize()
        begun = f"from step {int(trainer.count):,} of {settings.steps:,}"
        print(f"{name}, stage {number}: {begun}", flush=True)
        aae = lesson.train_tf(images, settings, _Reporter(keeper), trainer=trainer)
        keeper.save()
        weights = parity.get_weights(aae)
    save(name, weights, stages(lesson, name), time.monotonic() - started)


class _Reporter:
    """A report that saves once a minute, which is what a cut then loses."""

    def __init__(self, keeper: Any) -> None:
        self.keeper, self.saved = keeper, time.monotonic()

    def __call__(self, step: int, logs: dict[str, float], preview: Any = None) -> bool:
        if time.monotonic() - self.saved > 60:
            self.keeper.save()
            self.saved = time.monotonic()
            said = ", ".join(f"{key} {value:.2f}" for key, value in logs.items())
            print(f"step {step:,}: {said}", flush=True)
        return True


def save(
    name: str, weights: parity.Weights, trained: list[SimpleNamespace], seconds: float
) -> None:
    """Write the checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    way, first = lessons.load(NOTEBOOK, "tensorflow").ways["tensorflow"], trained[0]
    aae = way.build(first.latents, first.hidden)
    parity.set_weights(aae, weights)
    both = (real_mnist(), data.mnist("embedded"))
    info = {
        "what": what(trained),
        "notebook": NOTEBOOK,
        "latents": first.latents,
        "hidden": first.hidden,
        "data": f"MNIST train without its last {HELD_OUT:,} images: 59,000, grey",
        "seed": SEED,
        "settings": [vars(stage) for stage in trained],
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
