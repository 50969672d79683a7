"""04_beta_vae: a β-VAE and a plain VAE on sprites, three seeds each, and how they come apart.

Whole models of the first seed are the notebook's checkpoints. Of the other seeds the encoders are
kept, which is all that the scores need, so that every published number can be measured again.
"""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, lessons, metrics, parity, runtime
from utils.recipes._training import Keeper

NOTEBOOK = "04_beta_vae"
HEADLINES = (  # what the README shows of the results
    "β-VAE: MIG",
    "β-VAE: FactorVAE score",
    "VAE: MIG",
    "VAE: FactorVAE score",
)
SEEDS = (0, 1, 2)
OTHERS = "04_beta_vae_seeds"  # the encoders of all seeds but the first
MODELS = {
    # name of the checkpoint -> what it is called, β
    "04_beta_vae": ("β-VAE", 2.0),
    "04_beta_vae_one": ("VAE", 1.0),
}
LATENTS = 10
METRIC = "MIG (20 bins, posterior means, all 6,144 sprites, all five factors)"
DATA = "6,144 generated sprites, not dSprites; no test set, as in the literature"
CONTEXT = {
    "MIG": "dSprites: VAE .10, β-VAE .21 (InfoGAN-CR, table 1); other data, for context",
    "FactorVAE score": "dSprites: VAE .63, β-VAE .63 (InfoGAN-CR, table 1); for context",
    "DCI disentanglement": "dSprites: VAE .30, β-VAE .41 (InfoGAN-CR, table 1); for context",
}


def settings(lesson: ModuleType, beta: float, seed: int) -> SimpleNamespace:
    """The settings of one run: the lesson's full ones, with this β and this seed."""
    chosen = {**lesson.FULL, "beta": beta, "latents": LATENTS, "seed": seed}
    return SimpleNamespace(**chosen, framework="tensorflow")


def train(folder: Path = Path("build/train")) -> None:
    """Train every model with every seed and save them; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEEDS[0])
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    images = data.flatten(data.sprites().images)
    kept, seconds = {}, {}
    for name, (title, beta) in MODELS.items():
        for seed in SEEDS:
            place = folder / f"{name}_{seed}"
            kept[name, seed], took = _train_one(lesson, images, beta, seed, place)
            seconds[name] = seconds.get(name, 0) + took
            print(f"{title}, seed {seed}: MIG {_mig(kept[name, seed]):.3f}", flush=True)
    save(lesson, kept, seconds)


def _train_one(
    lesson: ModuleType, images: np.ndarray, beta: float, seed: int, folder: Path
) -> tuple[parity.Weights, float]:
    chosen = settings(lesson, beta, seed)
    runtime.seed_everything(seed)
    trainer = lesson.TFTrainer(images, chosen)
    keeper = Keeper(f"β = {beta:g}, seed {seed}", trainer, chosen.steps, folder)
    vae = lesson.train_tf(images, chosen, keeper.report, trainer)
    return checkpoints.stored(parity.get_weights(vae)), keeper.done()


def save(
    lesson: ModuleType,
    kept: dict[tuple[str, int], parity.Weights],
    seconds: dict[str, float],
) -> None:
    """Write the checkpoints of the first seed, and one file with the encoders of the others."""
    common = {
        "notebook": NOTEBOOK,
        "latents": LATENTS,
        "data": DATA,
        "device": "cpu",
        "versions": runtime.versions(),
    }
    steps = lesson.FULL["steps"]
    for name, (_, beta) in MODELS.items():
        info = {
            "what": f"β = {beta:g}, {steps:,} steps, seed {SEEDS[0]}",
            **common,
            "seed": SEEDS[0],
            "settings": {**lesson.FULL, "beta": beta},
            "seconds": round(seconds[name] / len(SEEDS)),
            "metric": {"name": METRIC, "value": round(_mig(kept[name, SEEDS[0]]), 4)},
        }
        print(checkpoints.save(name, kept[name, SEEDS[0]], info))
    encoders, migs = {}, []
    for (name, seed), weights in kept.items():
        if seed == SEEDS[0]:
            continue
        migs.append(_mig(weights))
        for key, value in weights.items():
            if key.startswith("encoder."):
                encoders[f"{name}.{seed}.{key.removeprefix('encoder.')}"] = value
    info = {
        "what": f"the encoders of seeds {SEEDS[1:]}, β = {[b for _, b in MODELS.values()]}",
        **common,
        "seed": list(SEEDS[1:]),
        "settings": lesson.FULL,
        "seconds": round(sum(seconds.values()) * (1 - 1 / len(SEEDS))),
        "metric": {"name": f"mean over the encoders of {METRIC}", "value": round(_mean(migs), 4)},
    }
    print(checkpoints.save(OTHERS, encoders, info))


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _mig(weights: parity.Weights) -> float:
    way = lessons.load(NOTEBOOK, "tensorflow").ways["tensorflow"]
    vae = way.build(LATENTS)
    parity.set_weights(vae, weights)
    return _gap(way, vae)


def codes(way: Any, vae: Any) -> np.ndarray:
    """The posterior mean of every sprite ``(6144, latents)``."""
    x = data.flatten(data.sprites().images).astype(np.float32) / 255
    return way.encode(vae, x)[0]


def _gap(way: Any, vae: Any) -> float:
    return metrics.mutual_information_gap(codes(way, vae), data.sprites().factors)


def restore(way: Any, name: str, seed: int) -> Any:
    """A model of `way` with the weights of one checkpoint and seed (the encoder's, if no first)."""
    vae = way.build(LATENTS)
    if seed == SEEDS[0]:
        checkpoints.load_into(vae, name)
        return vae
    start = f"{name}.{seed}."
    found = checkpoints.load(OTHERS).weights
    mine = {key.removeprefix(start): w for key, w in found.items() if key.startswith(start)}
    parity.set_weights(vae.encoder, mine)
    return vae


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the MIG its sidecar states, and the one found."""
    way = lessons.load(NOTEBOOK, framework).ways[framework]
    if name == OTHERS:
        pairs = [(model, seed) for model in MODELS for seed in SEEDS[1:]]
    else:
        pairs = [(name, SEEDS[0])]
    found = _mean([_gap(way, restore(way, *pair)) for pair in pairs])
    return checkpoints.load(name).info["metric"]["value"], found


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Every score of every seed of both models, with the stored encoders in `framework`."""
    way = lessons.load(NOTEBOOK, framework).ways[framework]
    factors = data.sprites().factors
    rows = np.random.default_rng(0).permutation(len(factors))[:images]
    betas = " and ".join(f"{title} with β = {beta:g}" for title, beta in MODELS.values())
    steps = checkpoints.load(next(iter(MODELS))).info["settings"]["steps"]
    trained = f"{betas}, {steps:,} steps each, seeds {', '.join(map(str, SEEDS))}"
    records = []
    for name, (title, _) in MODELS.items():
        found: dict[str, list[float]] = {}
        for seed in SEEDS:
            for metric, value in scores(codes(way, restore(way, name, seed))[rows], factors[rows]):
                found.setdefault(metric, []).append(value)
        for metric, values in found.items():
            records.append(
                {
                    "metric": f"{title}: {metric}",
                    "value": round(_mean(values), 3),
                    "low": round(min(values), 3),
                    "high": round(max(values), 3),
                    "spread": f"half the range over {len(SEEDS)} training seeds",
                    "seeds": list(SEEDS),
                    "reference": CONTEXT.get(metric, "–"),
                    "better": "higher",
                    "profile": "full",
                    "trained": trained,
                    "data": DATA if images is None else f"{images:,} of {DATA}",
                }
            )
    return records


def scores(table: np.ndarray, factors: np.ndarray) -> list[tuple[str, float]]:
    """The scores of one table of codes, by name."""
    share = len(table) * 2 // 3
    dci = metrics.dci(
        table, factors, training=min(4000, share), testing=min(2000, len(table) - share)
    )
    return [
        ("MIG", metrics.mutual_information_gap(table, factors)),
        ("FactorVAE score", metrics.factor_vae_score(table, factors)),
        ("DCI disentanglement", dci.disentanglement),
        ("DCI completeness", dci.completeness),
        ("DCI informativeness", dci.informativeness),
        ("active units", int(metrics.active_units(table).sum())),
    ]
