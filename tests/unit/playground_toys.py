"""Players that need no framework: a generator that moves a cloud, a discriminator with a middle."""

import numpy as np


class Toys:
    """The discriminator likes places near the mean of the data; the generator moves there."""

    losses = ("near", "far")

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.trouble: BaseException | None = None

    def reset(self, seed: int) -> None:
        """Both players at the origin."""
        self.calls.append(("reset", seed))
        rng = np.random.default_rng(seed)
        self.shape = rng.normal(0, 0.2, (4000, 2)).astype(np.float32)
        self.middle, self.at = np.zeros(2), np.zeros(2)

    def step_d(self, real: np.ndarray, loss: str, rate: float) -> float:
        """Towards the mean of the data."""
        self.calls.append(("d", len(real), loss, rate))
        if self.trouble is not None:
            raise self.trouble
        paid = float(np.linalg.norm(real.mean(axis=0) - self.middle))
        self.middle = self.middle + rate * (real.mean(axis=0) - self.middle)
        return paid

    def step_g(self, count: int, loss: str, rate: float) -> float:
        """Towards where the discriminator is, or away from it."""
        self.calls.append(("g", count, loss, rate))
        paid = float(np.linalg.norm(self.at - self.middle))
        sign = 1 if loss == "near" else -1
        self.at = self.at + sign * rate * (self.middle - self.at)
        return paid

    def field(self, points: np.ndarray, loss: str) -> np.ndarray:
        """1 in the middle, less further away."""
        return np.exp(-((points - self.middle) ** 2).sum(axis=1))

    def samples(self, count: int) -> np.ndarray:
        """The cloud where it is."""
        return (self.shape[:count] + self.at).astype(np.float32)
