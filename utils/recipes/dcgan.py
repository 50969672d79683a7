"""07_dcgan: a DCGAN of digits, generators of stacked digits with and without packing, broken rules.

Of the stacked digits only the generators are kept, three seeds each, in one file: their modes are
what is measured. Of the runs that break one of the paper's rules a few samples are kept, and in
the sidecar what all of them measured.
"""

import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, judge, lessons, metrics, parity, runtime
from utils.recipes._data import real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "07_dcgan"
HEADLINES = (  # what the README shows of the results
    "Fréchet distance, the judge's features",
    "stacked MNIST, modes, packs of 2",
)
SEED = 0
SEEDS = (0, 1, 2)
PACKS = (1, 2)
RULE_STEPS, PART = 300, 2000  # of the runs that break a rule; samples to measure each by
STACKED_SAMPLES = 26_000  # as in the papers
IMAGES = 64_000  # stacked pictures to train on
METRIC = "the judge's largest probability, mean of 1,000 samples from fixed z"
PACGAN = {1: ("78.9 ± 6.5 (Lin et al. 2018)", "4.50 ± 0.13"), 2: ("1000 ± 0", "0.06 ± 0.003")}
FRECHET = "Fréchet distance, the judge's features"
JUDGED = 5000  # samples, test images and training images that are compared
KEPT = "the judge's largest probability, mean of the samples kept here"
STACK, BROKEN = "07_dcgan_stacked", "07_dcgan_rules"


def settings_of(chosen: dict[str, Any], seed: int = SEED, **changes: Any) -> SimpleNamespace:
    """Settings of a run, from the lesson's and what differs from them."""
    return SimpleNamespace(**{**chosen, "seed": seed, "framework": "tensorflow", **changes})


def what(s: SimpleNamespace) -> str:
    """How a model came about, in words."""
    packs = f", packs of {s.pack}" if s.pack > 1 else ""
    return (
        f"DCGAN of width {s.width}, {s.latents} latents{packs}, {s.loss} loss, {s.steps:,} steps "
        f"of {s.batch_size} images"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    lesson, digits = lessons.load(NOTEBOOK, "tensorflow"), real_mnist()
    chosen = settings_of(lesson.FULL)
    gan, seconds = train_one(lesson, digits.x_train, chosen, folder / NOTEBOOK)
    save(NOTEBOOK, parity.get_weights(gan), chosen, seconds)
    train_stacked(lesson, digits, folder)
    train_rules(lessons.load(NOTEBOOK, "torch"), digits)


def train_stacked(lesson: ModuleType, digits: data.Dataset, folder: Path) -> None:
    """Train on stacked digits, with and without packing, and keep the generators."""
    images = data.stacked(digits.x_train, digits.y_train, IMAGES, SEED).images
    kept, total = {}, 0.0
    for seed in SEEDS:
        for pack in PACKS:
            chosen = settings_of(lesson.STACKED, seed, pack=pack)
            place = folder / f"{STACK}_{pack}_{seed}"
            gan, seconds = train_one(lesson, images, chosen, place)
            total += seconds
            for key, value in parity.get_weights(gan.generator).items():
                kept[f"{pack}.{seed}.{key}"] = value
    chosen = settings_of(lesson.STACKED)
    extra = {"seeds": list(SEEDS), "packs": list(PACKS)}
    extra["what"] = f"generators of stacked digits, packs of {PACKS}, seeds {SEEDS}: {what(chosen)}"
    extra["data"] = f"{IMAGES:,} stacked pictures of MNIST's training digits"
    save(STACK, kept, chosen, total, **extra)


def train_rules(lesson: ModuleType, digits: data.Dataset) -> None:
    """Short runs that break the paper's rules one by one: their distances, and a few samples."""
    real = judge.load().features(few(digits.x_test))
    distances: dict[str, list[float]] = {}
    samples, started = {}, time.monotonic()
    for number, (rule, broken) in enumerate(lesson.BREAKS.items()):
        for seed in SEEDS:
            chosen = settings_of(lesson.QUICK, seed, steps=RULE_STEPS, framework="torch", **broken)
            runtime.seed_everything(seed)
            gan = lesson.train_torch(digits.x_train, chosen, lambda *_: True)
            made = lesson.generate_torch(gan, draws(chosen, PART))[..., 0]
            found = metrics.frechet_distance(judge.load().features(made), real)
            distances.setdefault(rule, []).append(round(found, 2))
            samples.setdefault(f"samples.{number}", made[:12])
        print(f"{rule}: {distances[rule]}", flush=True)
    samples = checkpoints.stored(samples)
    info = {
        "what": f"12 samples of each of {len(samples)} runs that break one rule (no model)",
        "notebook": NOTEBOOK,
        "data": "MNIST train, 60,000 images",
        "seed": SEED,
        "seeds": list(SEEDS),
        "distances": distances,
        "settings": vars(settings_of(lesson.QUICK, steps=RULE_STEPS, framework="torch")),
        "seconds": round(time.monotonic() - started),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": KEPT, "value": round(sureness_of(samples), 4)},
    }
    print(checkpoints.save(BROKEN, samples, info))


def few(images: np.ndarray) -> np.ndarray:
    """So many images, drawn at random, as the short runs are compared with."""
    return images[np.random.default_rng(SEED).choice(len(images), PART, replace=False)]


def train_one(
    lesson: ModuleType, images: np.ndarray, chosen: SimpleNamespace, folder: Path
) -> tuple[Any, float]:
    """One run with the lesson's own code, saved as it goes."""
    runtime.seed_everything(chosen.seed)
    game = lesson.TFGame(lesson.TFGAN(chosen), chosen)
    keeper = Keeper(folder.name, game, chosen.steps, folder, game.count)
    gan = lesson.train_tf(images, chosen, keeper.report, game=game)
    return gan, keeper.done()


def save(
    name: str, weights: parity.Weights, chosen: SimpleNamespace, seconds: float, **extra: Any
) -> None:
    """Write a checkpoint with its sidecar: what, how, and the number to re-measure it by."""
    weights = checkpoints.stored(weights)
    generators = weights if name == STACK else {f"1.0.{k}": v for k, v in weights.items()}
    way = lessons.load(NOTEBOOK, "tensorflow").ways["tensorflow"]
    first = fill(way.build(chosen), generators, 1, SEED)
    info = {
        "what": what(chosen),
        "notebook": NOTEBOOK,
        "data": "MNIST train, 60,000 images",
        "seed": SEED,
        "settings": vars(chosen),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC, "value": round(sureness(way, first), 4)},
    }
    print(checkpoints.save(name, weights, info | extra))


def fill(gan: Any, weights: parity.Weights, pack: int, seed: int) -> Any:
    """A GAN with the weights of one stored run in its generator (and discriminator, if kept)."""
    start = f"{pack}.{seed}."
    own = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
    whole = any(key.startswith("discriminator") for key in own)
    parity.set_weights(gan if whole else gan.generator, own)
    return gan


def draws(chosen: SimpleNamespace, count: int, seed: int = 0) -> np.ndarray:
    """The z's that samples are made of when something is measured, (count, latents)."""
    lesson = lessons.load(NOTEBOOK, chosen.framework)
    return lesson.draw_z(count, chosen, np.random.default_rng([100, seed]))


def sureness(way: Any, gan: Any) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    return sureness_of({"made": way.generate(gan, draws(gan.settings, 1000))[..., 0]})


def sureness_of(samples: dict[str, np.ndarray]) -> float:
    """The same of images (N, 28, 28)."""
    made = np.concatenate(list(samples.values()))
    return float(judge.load().probabilities(made).max(axis=1).mean())


def restore(name: str, framework: str, pack: int = 1, seed: int = SEED) -> tuple[Any, Any]:
    """A framework's functions, and a stored run as one of its models."""
    way = lessons.load(NOTEBOOK, framework).ways[framework]
    checkpoint = checkpoints.load(name)
    chosen = SimpleNamespace(**checkpoint.info["settings"])
    chosen.framework, chosen.pack = framework, pack
    gan = way.build(chosen)
    if name == STACK:
        return way, fill(gan, checkpoint.weights, pack, seed)
    parity.set_weights(gan, checkpoint.weights)
    return way, gan


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the number its sidecar states, and the one found."""
    checkpoint = checkpoints.load(name)
    stated = checkpoint.info["metric"]["value"]
    if name == BROKEN:
        return stated, sureness_of(checkpoint.weights)
    return stated, sureness(*restore(name, framework))


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Four judgements of the digits beside their floors, and the modes of stacked digits."""
    digits = real_mnist()
    rng = np.random.default_rng(SEED)
    count = min(images or JUDGED, len(digits.x_test))
    test = rng.permutation(digits.x_test)[:count]
    train_images = rng.permutation(digits.x_train)[:count]
    way, gan = restore(NOTEBOOK, framework)
    features = judge.load().features
    made = way.generate(gan, draws(gan.settings, count))[..., 0]
    real, fresh, fake = features(test), features(train_images), features(made)
    common = {
        "seeds": [SEED],
        "profile": "full",
        "trained": what(gan.settings),
        "data": f"MNIST test, {count:,} images",
        "spread": "the range over training seeds, where there are several",
    }
    found = []
    floors = judgements(real, fresh)
    for metric, value in judgements(real, fake).items():
        better = "lower" if metric == FRECHET else "higher"
        span = {"value": value, "low": value, "high": value, "better": better}
        found.append({"metric": metric, "reference": f"{floors[metric]} (training images)", **span})
    return [{**common, **item} for item in found + stacked_records(framework, images)]


def judgements(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """What part 10 says of samples, from features of real images and of theirs."""
    found = {FRECHET: metrics.frechet_distance(real, fake)}
    found |= metrics.precision_recall(real, fake)._asdict()
    found |= metrics.density_coverage(real, fake)._asdict()
    return {metric: round(float(value), 3) for metric, value in found.items()}


def stacked_records(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Modes and KL of the stacked digits' generators, mean and range over their seeds."""
    count = min(images or STACKED_SAMPLES, STACKED_SAMPLES)
    found = []
    for pack in PACKS:
        scores = []
        for seed in SEEDS:
            way, gan = restore(STACK, framework, pack, seed)
            z = draws(gan.settings, count, seed)
            parts = [way.generate(gan, z[i : i + 2000]) for i in range(0, count, 2000)]
            labels = np.concatenate([metrics.stacked_labels(part) for part in parts])
            scores.append(metrics.modes_of(labels))
        for k, (metric, better) in enumerate((("modes", "higher"), ("KL, nats", "lower"))):
            values = [round(float(score[k]), 3) for score in scores]
            found.append(
                {
                    "metric": f"stacked MNIST, {metric}, packs of {pack}",
                    "value": round(float(np.mean(values)), 3),
                    "low": min(values),
                    "high": max(values),
                    "better": better,
                    "reference": PACGAN[pack][k],
                    "seeds": list(SEEDS),
                    "trained": what(gan.settings),
                    "data": f"{count:,} samples",
                }
            )
    return found
