"""08_lsgan: 07's networks with a least-squares loss, on digits, stacked digits and a ring.

Of ring and stacked digits only the generators are kept, three seeds for each pair of labels, in one
file. Short runs of 07's loss and of least squares, three seeds each, leave only what they
measured, in the sidecar.
"""

import itertools
import json
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, files, judge, lessons, metrics, parity, runtime
from utils.recipes import dcgan
from utils.recipes._data import real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "08_lsgan"
HEADLINES = (  # what the README shows of the results
    "Fréchet distance, the judge's features",
    "stacked MNIST, modes, least squares (0, 1, 1)",
)
SEED = 0
SEEDS = (0, 1, 2)
IMAGES = 64_000  # stacked pictures to train on, as in 07
SHORT = {"width": 16, "steps": 1_000}  # of the runs that compare the losses over seeds
COMPARED: dict[str, dict[str, Any]] = {
    "07's networks": {},
    "without BatchNorm": {"norm": "nowhere"},
}
COUNT = 5_000  # samples in a Fréchet distance of those
RING_METRIC = "share of 2,000 samples within three deviations of a mode"
METRIC = "the judge's largest probability, mean of 1,000 samples from fixed z"
STACK, RING = "08_lsgan_stacked", "08_lsgan_ring"
ROUNDS, STD, RATE, BATCH = 6_000, 0.05, 1e-3, 128  # of the games in the plane
RING_SEEDS = (0, 1, 2, 3, 4)


def settings_of(chosen: dict[str, Any], seed: int = SEED, **changes: Any) -> SimpleNamespace:
    """Settings of a run, from the lesson's and what differs from them."""
    return SimpleNamespace(**{**chosen, "seed": seed, "framework": "tensorflow", **changes})


def what(s: SimpleNamespace) -> str:
    """How a model came about, in words."""
    return (
        f"07's networks of width {s.width}, {s.latents} latents, {s.loss}, {s.steps:,} steps of "
        f"{s.batch_size} images"
    )


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    train_stacked(folder)
    train_ring()
    compare(folder)
    train_digits(folder)  # last: its sidecar says what was compared


def train_digits(folder: Path = Path("build/train")) -> None:
    """Train on digits, as 07 does."""
    runtime.begin("full", ["tensorflow"], SEED)
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    chosen = settings_of(lesson.FULL)
    gan, seconds = train_one(lesson, real_mnist().x_train, chosen, folder / NOTEBOOK)
    extra = {"data": "MNIST train, 60,000 images", "short": SHORT, "compared": compared(folder)}
    save(NOTEBOOK, parity.get_weights(gan), chosen, seconds, **extra)


def train_stacked(folder: Path = Path("build/train")) -> None:
    """Train on the stacked digits of 07, with both pairs of labels, and keep the generators."""
    runtime.begin("full", ["tensorflow"], SEED)
    lesson, digits = lessons.load(NOTEBOOK, "tensorflow"), real_mnist()
    images = data.stacked(digits.x_train, digits.y_train, IMAGES, SEED).images
    kept, total, losses = {}, 0.0, list(lesson.SCHEMES)
    for number, loss in enumerate(losses):
        for seed in SEEDS:
            chosen = settings_of(lesson.STACKED, seed, loss=loss)
            gan, seconds = train_one(lesson, images, chosen, folder / f"{STACK}_{number}_{seed}")
            total += seconds
            kept |= generator_of(gan, f"{number}.{seed}.")
    chosen = settings_of(lesson.STACKED)
    extra = {"seeds": list(SEEDS), "losses": losses}
    extra["what"] = f"generators of stacked digits, both pairs of labels, seeds {SEEDS}"
    extra["what"] += f": {what(chosen)}"
    extra["data"] = f"{IMAGES:,} stacked pictures of MNIST's training digits"
    save(STACK, kept, chosen, total, **extra)


def train_ring() -> None:
    """Play for a ring of eight Gaussians with every loss, and keep the generators."""
    runtime.begin("full", ["tensorflow"], SEED)
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    players = lesson.ways["tensorflow"].players()
    kept, losses, began = {}, ("non-saturating", *lesson.SCHEMES), time.monotonic()
    for number, loss in enumerate(losses):
        for seed in RING_SEEDS:
            play(players, loss, seed)
            kept |= generator_of(players.game.gan, f"{number}.{seed}.")
            print(loss, seed, ring_modes(players), flush=True)
    chosen = settings_of(lesson.dcgan_tf.PLANE, rounds=ROUNDS, std=STD, rate=RATE, batch=BATCH)
    weights = checkpoints.stored(kept)
    players.reset(SEED)
    fill(players.game.gan, weights)
    info = {
        "what": f"generators of a ring of eight Gaussians (σ = {STD}), {len(losses)} losses, "
        f"seeds {RING_SEEDS}, {ROUNDS:,} rounds of {BATCH} points",
        "data": "a mixture of eight Gaussians on a circle of radius 2",
        "seeds": list(RING_SEEDS),
        "losses": list(losses),
        "metric": {"name": RING_METRIC, "value": round(ring_modes(players).quality, 4)},
    }
    checkpoints.save(RING, weights, common(chosen, time.monotonic() - began) | info)


def play(players: Any, loss: str, seed: int) -> None:
    """One game in the plane from its start."""
    players.reset(seed)
    rng = np.random.default_rng([seed, 1])
    for _ in range(ROUNDS):
        players.step_d(data.ring(BATCH, rng, std=STD), loss, RATE)
        players.step_g(BATCH, loss, RATE)


def ring_modes(players: Any) -> metrics.RingModes:
    """What is found among 2,000 samples of a game in the plane."""
    return metrics.ring_modes(players.samples(2000), data.ring_centres(), STD)


def compare(folder: Path = Path("build/train"), kinds: tuple[str, ...] = tuple(COMPARED)) -> None:
    """Short runs of 07's loss and of least squares, over seeds: their Fréchet distances."""
    runtime.begin("full", ["tensorflow"], SEED)
    lesson, digits = lessons.load(NOTEBOOK, "tensorflow"), real_mnist()
    features = judge.load().features
    real = features(_some(digits.x_test))
    for kind, seed in itertools.product(kinds, SEEDS):
        for loss in ("non-saturating", lesson.LEAST):
            chosen = settings_of(lesson.FULL, seed, loss=loss, **SHORT, **COMPARED[kind])
            place = folder / f"{NOTEBOOK}_{kind}_{loss}_{seed}".replace(" ", "_")
            if (place / "measured.json").exists():
                continue
            gan, _ = train_one(lesson, digits.x_train, chosen, place)
            made = features(samples(lesson, gan, COUNT)[..., 0])
            distance = round(metrics.frechet_distance(made, real), 2)
            found = {"kind": kind, "loss": loss, "seed": seed, "distance": distance}
            files.write(place / "measured.json", json.dumps(found))
            print(found, flush=True)


def compared(folder: Path) -> list[dict[str, Any]]:
    """What the short runs measured, as far as they have been made."""
    paths = sorted(folder.glob(f"{NOTEBOOK}_*/measured.json"))
    return [json.loads(path.read_text()) for path in paths]


def _some(images: np.ndarray, count: int = COUNT) -> np.ndarray:
    order = np.random.default_rng(0).permutation(len(images))
    return images[order[:count]]


def train_one(
    lesson: ModuleType, images: np.ndarray, chosen: SimpleNamespace, folder: Path
) -> tuple[Any, float]:
    """One run with the lesson's own code, saved as it goes."""
    runtime.seed_everything(chosen.seed)
    of_07 = lesson.dcgan_tf
    game = of_07.TFGame(of_07.TFGAN(chosen), chosen, lesson.losses_tf)
    keeper = Keeper(folder.name, game, chosen.steps, folder, game.count)
    gan = of_07.train_tf(images, chosen, keeper.report, lesson.losses_tf, game)
    return gan, keeper.done()


def save(
    name: str, weights: parity.Weights, chosen: SimpleNamespace, seconds: float, **extra: Any
) -> None:
    """Write a checkpoint with its sidecar: what, how, and the number to re-measure it by."""
    weights = checkpoints.stored(weights)
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    first = fill(lesson.ways["tensorflow"].build(chosen), weights)
    info = {"what": what(chosen), **common(chosen, seconds)}
    info["metric"] = {"name": METRIC, "value": round(sureness(lesson, first), 4)}
    print(checkpoints.save(name, weights, info | extra))


def common(chosen: SimpleNamespace, seconds: float) -> dict[str, Any]:
    """What all sidecars say."""
    return {
        "notebook": NOTEBOOK,
        "seed": SEED,
        "settings": vars(chosen),
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
    }


def generator_of(gan: Any, run: str) -> parity.Weights:
    """The generator's weights under names that begin with `run`."""
    weights = parity.get_weights(gan)
    return {f"{run}{key}": w for key, w in weights.items() if key.startswith("generator.")}


def fill(gan: Any, weights: parity.Weights, run: str = "0.0.") -> Any:
    """Put weights into a GAN: both players' or, of a file of several runs, one generator's."""
    own = {k.removeprefix(run): v for k, v in weights.items() if k.startswith(run)}
    parity.set_weights(gan, {**parity.get_weights(gan), **own} if own else weights)
    return gan


def samples(lesson: ModuleType, gan: Any, count: int, seed: int = 0) -> np.ndarray:
    """Images (count, 28, 28, C), 0…1, from z that `seed` decides."""
    way, of_07 = (table[gan.settings.framework] for table in (lesson.ways, lesson.dcgans))
    z = of_07.draw_z(count, gan.settings, np.random.default_rng([100, seed]))
    return np.concatenate([way.generate(gan, z[i : i + 1000]) for i in range(0, count, 1000)])


def sureness(lesson: ModuleType, gan: Any) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    made = samples(lesson, gan, 1000)[..., 0]
    return float(judge.load().probabilities(made).max(axis=1).mean())


def restore_ring(framework: str, number: int = 0, seed: int = SEED) -> Any:
    """The players of `framework` with the generator of a stored game."""
    players = lessons.load(NOTEBOOK, framework).ways[framework].players()
    game = players.game  # in Keras the game is the model that holds both networks
    fill(getattr(game, "gan", game), checkpoints.load(RING).weights, f"{number}.{seed}.")
    return players


def restore(name: str, framework: str, number: int = 0, seed: int = SEED) -> tuple[ModuleType, Any]:
    """The lesson in a framework, and a stored run as one of its models."""
    lesson, checkpoint = lessons.load(NOTEBOOK, framework), checkpoints.load(name)
    chosen = SimpleNamespace(**checkpoint.info["settings"])
    chosen.framework = framework
    gan = fill(lesson.ways[framework].build(chosen), checkpoint.weights, f"{number}.{seed}.")
    return lesson, gan


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the number its sidecar states, and the one found."""
    info = checkpoints.load(name).info
    if name == RING:
        return info["metric"]["value"], ring_modes(restore_ring(framework)).quality
    return info["metric"]["value"], sureness(*restore(name, framework))


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """07's judgements of the digits, the modes of stacked digits and those of the ring."""
    digits = real_mnist()
    rng = np.random.default_rng(SEED)
    count = min(images or dcgan.JUDGED, len(digits.x_test))
    test = rng.permutation(digits.x_test)[:count]
    train_images = rng.permutation(digits.x_train)[:count]
    lesson, gan = restore(NOTEBOOK, framework)
    features = judge.load().features
    fake = features(samples(lesson, gan, count)[..., 0])
    real, fresh = features(test), features(train_images)
    shared = {
        "seeds": [SEED],
        "profile": "full",
        "trained": what(gan.settings),
        "data": f"MNIST test, {count:,} images",
        "spread": "the range over training seeds, where there are several",
    }
    found, floors = [], dcgan.judgements(real, fresh)
    for metric, value in dcgan.judgements(real, fake).items():
        better = "lower" if metric == dcgan.FRECHET else "higher"
        span = {"value": value, "low": value, "high": value, "better": better}
        found.append({"metric": metric, "reference": f"{floors[metric]} (training images)", **span})
    found += stacked_records(framework, images) + ring_records(framework)
    return [{**shared, **item} for item in found]


def over_seeds(values: list[float], digits: int = 3) -> dict[str, Any]:
    """Mean and range."""
    mean = round(float(np.mean(values)), digits)
    return {"value": mean, "low": round(min(values), digits), "high": round(max(values), digits)}


def stacked_records(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Modes and KL of the stacked digits' generators, mean and range over their seeds."""
    count = min(images or dcgan.STACKED_SAMPLES, dcgan.STACKED_SAMPLES)
    found = []
    for number, loss in enumerate(checkpoints.load(STACK).info["losses"]):
        scores = []
        for seed in SEEDS:
            lesson, gan = restore(STACK, framework, number, seed)
            scores.append(metrics.stacked_modes(samples(lesson, gan, count, seed)))
        common = {"seeds": list(SEEDS), "data": f"{count:,} samples"}
        common["trained"] = what(SimpleNamespace(**vars(gan.settings) | {"loss": loss}))
        for k, (metric, better) in enumerate((("modes", "higher"), ("KL, nats", "lower"))):
            span = over_seeds([float(score[k]) for score in scores])
            reference = "of 1,000" if metric == "modes" else "0 is best"
            item = {"metric": f"stacked MNIST, {metric}, {loss}", "better": better}
            found.append({**common, **item, **span, "reference": reference})
    return found


def ring_records(framework: str) -> list[dict[str, Any]]:
    """Modes and good samples on the ring, mean and range over seeds, of 07's loss as well."""
    info, found = checkpoints.load(RING).info, []
    for number, loss in enumerate(info["losses"]):
        scores = [ring_modes(restore_ring(framework, number, seed)) for seed in info["seeds"]]
        common = {"seeds": info["seeds"], "data": "2,000 samples", "trained": info["what"]}
        for k, (metric, reference) in enumerate(
            (("modes", "of 8"), ("good samples", "at best 0.989"))
        ):
            span = over_seeds([float(score[k]) for score in scores])
            item = {"metric": f"ring of Gaussians, {metric}, {loss}", "better": "higher"}
            found.append({**common, **item, **span, "reference": reference})
    return found
