"""The judge: a small classifier of digits, trained once and then frozen (see `utils.judge`).

It belongs to no notebook. What a learner should know of it stands in `utils.judge`; this is only
how its weights came about: PyTorch, Adam with decoupled weight decay, a learning rate that rises
briefly and then falls as half a cosine, and images that are shifted, turned and scaled a little in
every epoch. Neither an epoch nor a seed was chosen by the test set: the last weights are kept.
"""

import math
import time
from typing import Any

import numpy as np

from utils import checkpoints, data, judge, parity, runtime
from utils.recipes._data import kind, real_mnist

NOTEBOOK = "judge"
HEADLINES = (  # what the README shows of the results
    "judge's test accuracy, %",
)
SEED = 0
SETTINGS = {
    "epochs": 16,
    "batch_size": 100,
    "learning_rate": 2e-3,  # at its highest
    "warm_up": 0.05,  # the share of all steps in which it rises
    "weight_decay": 1e-2,
    "shift": 2.0,  # pixels at most, either way
    "turn": 10.0,  # degrees at most, either way
    "scale": 0.1,  # at most, either way
}
METRIC = "test accuracy in percent, first 1,000 test images"


def network() -> Any:
    """The judge as a PyTorch module, with the names and the order of axes of `utils.judge`."""
    import torch.nn.functional as F
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 16, 5)
            self.conv2 = nn.Conv2d(16, 32, 5)
            self.hidden = nn.Linear(512, judge.FEATURES)
            self.logits = nn.Linear(judge.FEATURES, 10)

        def features(self, x):  # (B, 1, 28, 28), 0…1
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)  # → 16×12×12
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # → 32×4×4
            x = self.hidden(x.permute(0, 2, 3, 1).flatten(1))  # → 512 → 64
            return F.leaky_relu(x, judge.LEAK)

        def forward(self, x):
            return self.logits(self.features(x))

    return Network()


def jitter(x: Any, generator: Any) -> Any:
    """Each image ``(B, 1, 28, 28)`` shifted, turned and scaled a little, by its own amounts."""
    import torch
    import torch.nn.functional as F

    def uniform(limit: float, count: int) -> Any:
        return limit * (2 * torch.rand(count, len(x), generator=generator) - 1)

    [angle] = uniform(math.radians(SETTINGS["turn"]), 1)
    [zoom] = 1 + uniform(SETTINGS["scale"], 1)
    right, down = uniform(SETTINGS["shift"] / 14, 2)  # the grid spans −1…1 over 28 pixels
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.stack([cos, -sin, right, sin, cos, down], 1).reshape(-1, 2, 3)
    grid = F.affine_grid(matrix, x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def train() -> None:
    """Train the judge on MNIST and save its checkpoint: some five minutes on one core."""
    runtime.begin("full", ["torch"], SEED)
    import torch
    import torch.nn.functional as F

    digits = real_mnist()
    x = torch.from_numpy(judge.check(digits.x_train)).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(digits.y_train.astype(np.int64))
    generator = torch.Generator().manual_seed(SEED)
    torch.manual_seed(SEED)
    model = network()
    rate, decay = SETTINGS["learning_rate"], SETTINGS["weight_decay"]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=decay)
    batch, epochs = SETTINGS["batch_size"], SETTINGS["epochs"]
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, steps, pct_start=SETTINGS["warm_up"], cycle_momentum=False
    )
    started = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(x), generator=generator).split(batch):
            loss = F.cross_entropy(model(jitter(x[chosen], generator)), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1:2d}  loss {total / len(x):.4f}  {seconds:4.0f} s", flush=True)
    save(parity.get_weights(model), time.monotonic() - started)


def save(weights: parity.Weights, seconds: float) -> None:
    """Write the checkpoint with its sidecar: what, how, and the numbers to re-measure it by."""
    weights = checkpoints.stored(weights)
    found = judge.Judge(weights, {})
    values = {}
    for digits in (real_mnist(), data.mnist("embedded")):
        values[kind(digits)] = round(accuracy(found, digits, 1000), 4)
    info = {
        "what": "a classifier of digits, 28×28-16-32-64-10, the frozen judge of generated images",
        "notebook": NOTEBOOK,
        "data": "MNIST train, 60,000 images, shifted, turned and scaled a little",
        "seed": SEED,
        "settings": SETTINGS,
        "seconds": round(seconds),
        "device": "cpu",
        "versions": runtime.versions(),
        "metric": {"name": METRIC, "value": values},
        "test_accuracy": round(accuracy(found, real_mnist()), 4),
    }
    print(checkpoints.save(judge.NAME, weights, info))
    judge.load.cache_clear()


def accuracy(found: judge.Judge, digits: data.Dataset, images: int | None = None) -> float:
    """Percent of the first `images` test images that are given their label."""
    right = found.predict(digits.x_test[:images]) == digits.y_test[:images]
    return float(100 * right.mean())


def remeasure(name: str, framework: str) -> tuple[float, float]:
    """The accuracy its sidecar states, and the one found; NumPy judges for every framework."""
    digits = data.mnist()
    found = judge.load()
    return found.info["metric"]["value"][kind(digits)], accuracy(found, digits, 1000)


def measure(framework: str, images: int | None = None) -> list[dict[str, Any]]:
    """The judge's accuracy on the test set; once, for there is one judge and it is NumPy's.

    It is recorded beside PyTorch, in which the weights were trained; others have nothing to add.
    """
    if framework != "torch":
        return []
    digits = real_mnist()
    found = judge.load()
    value = accuracy(found, digits, images)
    count = len(digits.x_test[:images])
    error = math.sqrt(value * (100 - value) / count)
    return [
        {
            "metric": "judge's test accuracy, %",
            "value": round(value, 3),
            "low": round(value - error, 3),
            "high": round(value + error, 3),
            "spread": "one standard error over test images; one training seed",
            "seeds": [SEED],
            "reference": "none: it judges others",
            "better": "higher",
            "profile": "full",
            "trained": found.info["what"],
            "data": f"MNIST test, {count:,} images",
        }
    ]
