"""06_vq_vae: two VQ-VAEs, of 64 and of 8 codes, each with its PixelCNN, and their bits."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, lessons, metrics, parity, results, runtime
from utils.recipes._data import kind, real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "06_vq_vae"
HEADLINES = (  # what the README shows of the results
    "bits per dimension, ≤, K = 8",
    "bits per dimension, ≤, K = 64",
)
SEED = 0
MODELS = {"06_vq_vae_8": 8, "06_vq_vae": 64}  # name of the checkpoint -> codes
PRIOR = "_prior"  # the ending of the name of a VQ-VAE's prior
PRIOR_STEPS = 6_000
TOSSES = 2  # of each training image, for the prior
METRIC = "−log p({}) in nats, first 1,000 test images, binarised with seed 0"


def settings(lesson: ModuleType, codes: int, **changes: Any) -> SimpleNamespace:
    """The full profile's settings for a model of so many codes."""
    chosen = {**lesson.FULL, "codes": codes, "seed": SEED, "framework": "tensorflow", **changes}
    return SimpleNamespace(**chosen)


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    images = real_mnist().x_train
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    for name, codes in MODELS.items():
        chosen = settings(lesson, codes)
        trainer = lesson.trainer_tf(images, chosen)
        train_vqvae = functools.partial(lesson.train_tf, images)
        spent = _go_on(name, trainer, train_vqvae, chosen, folder / name)
        vqvae = trainer.model
        save(lesson, name, vqvae, vqvae, chosen, spent)
        encode = functools.partial(lesson.encode_tf, vqvae)
        grids = lesson.codes_of(encode, images, SEED, TOSSES)
        chosen = settings(lesson, codes, **lesson.PRIOR, steps=PRIOR_STEPS)
        trainer = lesson.TFTrainer(lesson.TFPrior(codes), lesson.TFPriorMeasure(grids))
        train_prior = functools.partial(lesson.train_prior_tf, grids)
        spent = _go_on(name + PRIOR, trainer, train_prior, chosen, folder / (name + PRIOR))
        save(lesson, name + PRIOR, trainer.model, vqvae, chosen, spent)


def _go_on(
    name: str, trainer: Any, train: Callable, chosen: SimpleNamespace, folder: Path
) -> float:
    """Train to the end, saving now and then; returns the seconds that this call took."""
    keeper = Keeper(name, trainer, chosen.steps, folder)
    train(chosen, keeper.report, trainer)
    return keeper.done()


def save(
    lesson: ModuleType,
    name: str,
    model: Any,
    vqvae: Any,
    chosen: SimpleNamespace,
    seconds: float,
) -> None:
    """Write a checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    weights = checkpoints.stored(parity.get_weights(model))
    parity.set_weights(model, weights)
    is_prior, way = name.endswith(PRIOR), lesson.ways["tensorflow"]
    found = {}
    for digits in (real_mnist(), data.mnist("embedded")):
        found[kind(digits)] = round(
            number(lesson, way, vqvae, model if is_prior else None, digits), 4
        )
    thing = "PixelCNN over the codes of the VQ-VAE" if is_prior else "VQ-VAE"
    info = {
        "what": f"{thing} with {chosen.codes} codes on a 7×7 grid, {chosen.steps:,} steps",
        "notebook": NOTEBOOK,
        "codes": chosen.codes,
        "data": "MNIST train, 60,000 images, dynamically binarised",
        "seed": SEED,
        "settings": {k: v for k, v in vars(chosen).items() if k not in ("seed", "framework")},
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC.format("z" if is_prior else "x|z"), "value": found},
    }
    print(checkpoints.save(name, weights, info), flush=True)


def number(lesson: ModuleType, way: Any, vqvae: Any, prior: Any, digits: data.Dataset) -> float:
    """The number by which a checkpoint is recognised (see `METRIC`): a prior's, if there is one."""
    x = data.binarise(digits.x_test[:1000], np.random.default_rng(0))
    codes, nll = lesson.reconstruction_nats(way, vqvae, x)
    return float((nll if prior is None else lesson.prior_nats(way, prior, codes)).mean())


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the number its sidecar states, and the one found."""
    lesson = lessons.load(NOTEBOOK, framework)
    way, digits = lesson.ways[framework], data.mnist()
    vqvae, prior, checkpoint = load(way, name.removesuffix(PRIOR), name.endswith(PRIOR))
    return checkpoint.info["metric"]["value"][kind(digits)], number(
        lesson, way, vqvae, prior, digits
    )


def load(way: Any, name: str, with_prior: bool = True) -> tuple[Any, Any, checkpoints.Checkpoint]:
    """A trained VQ-VAE, its prior or None, and the checkpoint that was read last."""
    vqvae, prior = way.build(MODELS[name]), None
    checkpoint = checkpoints.load_into(vqvae, name)
    if with_prior:
        prior = way.build_prior(MODELS[name])
        checkpoint = checkpoints.load_into(prior, name + PRIOR)
    return vqvae, prior, checkpoint


def bits(nats: float) -> float:
    """Bits per dimension of an MNIST image's nats."""
    return nats / (784 * math.log(2))


def reference() -> str:
    """The VAE of 02 on the same images, as it was recorded."""
    found = {r.metric: r.value for r in results.read("02_vae") if r.framework == "torch"}
    named = {"−L_5,000": "−L_5,000, nats", "−ELBO": "−ELBO, nats"}
    parts = [f"{bits(found[m]):.4f} ({name})" for name, m in named.items() if m in found]
    return "the VAE of 02_vae: " + (", ".join(parts) or "not measured yet")


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Bits per dimension and their two parts, perplexity and live codes, of both models."""
    digits = real_mnist()
    x = data.binarise(digits.x_test, np.random.default_rng(0))[:images]
    lesson = lessons.load(NOTEBOOK, framework)
    way, found = lesson.ways[framework], []
    for name, K in MODELS.items():
        vqvae, prior, _ = load(way, name)
        codes, nll = lesson.reconstruction_nats(way, vqvae, x)
        price = lesson.prior_nats(way, prior, codes)
        common = {
            "spread": "one standard error over test images; one training seed",
            "seeds": [SEED],
            "profile": "full",
            "trained": "for each number K of codes a VQ-VAE of "
            f"{lesson.FULL['steps']:,} steps of 64 images, and a prior of {PRIOR_STEPS:,}",
            "data": f"MNIST test, {len(x):,} images, binarised",
        }
        rows = {
            "bits per dimension, ≤": ((nll + price) / (784 * math.log(2)), reference()),
            "−log p(x|z), nats": (nll, "a part of the bits"),
            "−log p(z), nats": (price, f"uniform codes: {49 * math.log(K):.1f}"),
        }
        for metric, (values, beside) in rows.items():
            estimate = metrics.mean_and_error(values)
            value, error = round(estimate.value, 4), round(estimate.error, 4)
            span = {"value": value, "low": value - error, "high": value + error}
            text = {"metric": f"{metric}, K = {K}", "reference": beside, "better": "lower"}
            found.append({**text, **span, **common})
        share = lesson.usage(codes, K)
        counts = {"perplexity": lesson.perplexity(share), "live codes": int((share > 0).sum())}
        for metric, value in counts.items():
            span = {"value": round(value, 2), "low": round(value, 2), "high": round(value, 2)}
            text = {"metric": f"{metric}, K = {K}", "reference": f"at most {K}"}
            found.append({**text, **span, **common, "better": "higher"})
    return found
