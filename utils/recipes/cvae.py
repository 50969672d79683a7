"""03_cvae: digits from labels and from quadrants, the network that blurs, and what each costs."""

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import checkpoints, data, judge, lessons, metrics, parity, runtime
from utils.recipes._data import kind, real_mnist
from utils.recipes._training import Keeper

NOTEBOOK = "03_cvae"
HEADLINES = (  # what the README shows of the results
    "conditional NLL, IS 100, 1 quadrant seen, nats",
)
SEED = 0
DRAWS = 100  # codes for each image in the importance-weighted estimate
STYLES = 1000  # samples of each digit that the judge reads
METRIC = "−log p(x|c) ≤, k = 50, nats, first 500 test images, coins and noise of seed 0; "
WHAT = {
    "quadrants": "784-200-200-32 CVAE of quadrants",
    "label": "784-200-200-32 CVAE of labels",
    "baseline": "784-200-200-784 network without a code",
}
MODELS = {
    # name of the checkpoint -> the lesson's model, steps of 128 images
    "03_cvae_baseline": ("baseline", 20_000),
    "03_cvae_label": ("label", 40_000),
    "03_cvae": ("quadrants", 90_000),
}
PYRO = (71.8, 51.0, 24.2)  # Pyro's tutorial: CVAE, and network without a code
PYRO_NN = (100.4, 61.9, 25.4)


def train(folder: Path = Path("build/train")) -> None:
    """Train and save every checkpoint of the notebook; goes on where an earlier call was cut."""
    runtime.begin("full", ["tensorflow"], SEED)
    digits = real_mnist()
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    for name, (model, steps) in MODELS.items():
        _train_one(lesson, digits, name, model, steps, folder / name)


def _train_one(
    lesson: ModuleType, digits: data.Dataset, name: str, model: str, steps: int, folder: Path
) -> None:
    changes = {"model": model, "steps": steps, "seed": SEED, "framework": "tensorflow"}
    settings = SimpleNamespace(**{**lesson.FULL, **changes})
    trainer = lesson.TFTrainer(settings)
    keeper = Keeper(name, trainer, steps, folder)
    images = data.flatten(digits.x_train)
    trained = lesson.train_tf(images, digits.y_train, settings, keeper.report, trainer)
    save(name, parity.get_weights(trained), steps, keeper.done())


def save(name: str, weights: parity.Weights, steps: int, seconds: float) -> None:
    """Write the checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    model, _ = MODELS[name]
    lesson = lessons.load(NOTEBOOK, "tensorflow")
    trained = lesson.build_tf(model)
    weights = checkpoints.stored(weights)
    parity.set_weights(trained, weights)
    bounds = {}
    for digits in (real_mnist(), data.mnist("embedded")):
        bounds[kind(digits)] = round(bound(lesson, "tensorflow", trained, model, digits), 4)
    task = "all pixels, label given" if model == "label" else "bottom left quadrant seen"
    info = {
        "what": f"{WHAT[model]}, {steps:,} steps of {lesson.FULL['batch_size']} images",
        "notebook": NOTEBOOK,
        "model": model,
        "data": "MNIST train, 60,000 images, dynamically binarised",
        "seed": SEED,
        "settings": {**lesson.FULL, "model": model, "steps": steps},
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC + task, "value": bounds},
    }
    print(checkpoints.save(name, weights, info))


def bounds(
    way: Any,
    model: Any,
    x: np.ndarray,
    condition: Callable[[slice], tuple[np.ndarray, np.ndarray]],
    samples: tuple[int, ...],
) -> dict[int, np.ndarray]:
    """Importance-weighted bounds on log p(x|c) of every image, in nats, for each k.

    Parameters
    ----------
    way
        The framework's functions, one of a lesson's ``ways``.
    x
        Binary images ``(N, 784)``.
    condition
        Maps a slice of the images to their conditions and hidden pixels.
    samples
        The values of k.
    """
    # `importance_bounds` cuts x into batches: the positions travel with the pixels
    places = np.concatenate([np.arange(len(x))[:, None], x], axis=1)

    def log_weights(part: np.ndarray, noise: np.ndarray) -> np.ndarray:
        first = int(part[0, 0])
        c, hidden = condition(slice(first, first + len(part)))
        return way.log_weights(model, part[:, 1:].astype("float32"), c, hidden, noise)

    return metrics.importance_bounds(log_weights, places, model.latents, samples, SEED)


def of_labels(y: np.ndarray) -> Callable[[slice], tuple[np.ndarray, np.ndarray]]:
    """The conditions of the label model: the digit, one-hot; every pixel is to be said."""
    c = np.eye(10, dtype="float32")[y]
    return lambda part: (c[part], np.ones((len(c[part]), 784), "float32"))


def of_task(lesson: ModuleType, x: np.ndarray, task: int) -> Callable:
    """The conditions of task 0, 1 or 2: one, two or three quadrants are seen."""
    return lambda part: lesson.see(x[part], lesson.TASKS[task])


def bound(lesson: ModuleType, framework: str, trained: Any, model: str, digits: Any) -> float:
    """The number by which a checkpoint is recognised: see `METRIC`."""
    x = data.binarise(data.flatten(digits.x_test[:500]), np.random.default_rng(0))
    condition = of_labels(digits.y_test[:500]) if model == "label" else of_task(lesson, x, 0)
    return -float(bounds(lesson.ways[framework], trained, x, condition, (50,))[50].mean())


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """Load a checkpoint into `framework`: the bound its sidecar states, and the one found."""
    lesson = lessons.load(NOTEBOOK, framework)
    model, _ = MODELS[name]
    trained = lesson.ways[framework].build(model)
    checkpoint = checkpoints.load_into(trained, name)
    digits = data.mnist()
    stated = checkpoint.info["metric"]["value"][kind(digits)]
    return stated, bound(lesson, framework, trained, model, digits)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """Conditional NLL of quadrants and labels over the test set, and whether samples obey."""
    digits = real_mnist()
    grey = data.flatten(digits.x_test)[:images]
    x, y = data.binarise(data.flatten(digits.x_test), np.random.default_rng(0)), digits.y_test
    x, y = x[: len(grey)], y[: len(grey)]
    lesson = lessons.load(NOTEBOOK, framework)
    way, found, told = lesson.ways[framework], [], {}
    models = {}
    for name, (model, _) in MODELS.items():
        models[model] = way.build(model)
        told[model] = checkpoints.load_into(models[model], name).info["what"]

    def add(metric: str, costs: np.ndarray, model: str, reference: str, binarised: str) -> None:
        estimate = metrics.mean_and_error(costs)
        span = {"value": estimate.value, "low": estimate.value - estimate.error}
        span["high"] = estimate.value + estimate.error
        found.append(
            {
                "metric": metric,
                **{key: round(value, 3) for key, value in span.items()},
                "spread": "one standard error over test images; one training seed",
                "seeds": [SEED],
                "reference": reference,
                "better": "lower",
                "profile": "full",
                "trained": told[model],
                "data": f"MNIST test, {len(x):,} images, {binarised}",
            }
        )

    for task, words in enumerate(("1 quadrant", "2 quadrants", "3 quadrants")):
        pyro = f"{PYRO[task]} (Pyro's tutorial: grey pixels, −ELBO)"
        costs = bounds(way, models["quadrants"], x, of_task(lesson, x, task), (DRAWS,))
        metric = f"conditional NLL, IS {DRAWS}, {words} seen, nats"
        add(metric, -costs[DRAWS], "quadrants", pyro, "binarised")
        g = (grey / 255).astype("float32")
        costs = bounds(way, models["quadrants"], g, of_task(lesson, g, task), (1, 10))
        metric = f"as Pyro does: −ELBO, {words} seen, nats"
        add(metric, -costs[1], "quadrants", pyro, "grey")
        costs = bounds(way, models["baseline"], g, of_task(lesson, g, task), (1,))
        metric = f"as Pyro does: no code, {words} seen, nats"
        add(
            metric, -costs[1], "baseline", f"{PYRO_NN[task]} (Pyro's tutorial: grey pixels)", "grey"
        )
    costs = bounds(way, models["label"], x, of_labels(y), (DRAWS,))
    metric = f"conditional NLL, IS {DRAWS}, label known, nats"
    add(metric, -costs[DRAWS], "label", "86.53, without the label (02_vae, k = 5,000)", "binarised")
    return [*found, {**found[-1], **_obedience(lesson, way, models["label"], images)}]


def _obedience(lesson: ModuleType, way: Any, model: Any, images: int | None) -> dict[str, Any]:
    """How often the judge reads the digit that was asked for, in percent."""
    each = STYLES if images is None else images
    rng, asked = np.random.default_rng(SEED), np.eye(10, dtype="float32")
    right = 0
    for start in range(0, each, 100):
        eps = rng.standard_normal((min(100, each - start), 10, model.latents), dtype="float32")
        drawn = lesson.generate(way, model, asked, eps)
        read = judge.load().predict(drawn.reshape(-1, 28, 28)).reshape(-1, 10)
        right += int((read == np.arange(10)).sum())
    share = right / (10 * each)
    error = math.sqrt(share * (1 - share) / (10 * each))
    return {
        "metric": "samples that the judge reads as their label, %",
        "value": round(100 * share, 2),
        "low": round(100 * (share - error), 2),
        "high": round(100 * (share + error), 2),
        "reference": "99.47, real test digits",
        "better": "higher",
        "data": f"{10 * each:,} samples, {each:,} of each digit, as probabilities",
    }
