"""Who plays in the playground, and for what."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np


class Players(Protocol):
    """A generator and a discriminator of points, and an optimiser for each.

    What the playground calls, always from one thread at a time. Loss names and rates come with
    every step, so that they can change in the middle of a game. For losses that want other
    targets or no sigmoid, only the methods of the players know.

    ::

        class TorchPlayers:
            losses = ("non-saturating", "minimax")

            def reset(self, seed): ...
            def step_d(self, real, loss, rate): ...
            def step_g(self, count, loss, rate): ...
            def field(self, points, loss): ...
            def samples(self, count): ...
    """

    losses: tuple[str, ...]
    """The losses that the drop-down offers, the first to begin with."""

    def reset(self, seed: int) -> None:
        """Start anew: fresh weights and fresh optimisers, decided by `seed`."""

    def step_d(self, real: np.ndarray, loss: str, rate: float) -> float:
        """Move the discriminator once, on real points ``(B, 2)`` float32 and as many samples.

        Returns what it paid, before the move.
        """

    def step_g(self, count: int, loss: str, rate: float) -> float:
        """Move the generator once, by the discriminator's opinion of `count` samples.

        Returns what it paid, before the move.
        """

    def field(self, points: np.ndarray, loss: str) -> np.ndarray:
        """The discriminator's opinion of points ``(N, 2)``: ``(N,)``, 0 made … 1 real.

        σ of a logit, or a linear score moved to that scale; 0.5 is undecided. What lies outside
        of 0…1 is shown as the nearer end.
        """

    def samples(self, count: int) -> np.ndarray:
        """`count` samples ``(count, 2)`` of the same z at every call, so that they can be followed.

        A larger `count` may append to the same first ones.
        """


class Cloud(NamedTuple):
    """Points to imitate.

    Parameters
    ----------
    points
        ``(N, 2)`` float32, within the picture. Batches are drawn from them.
    judge
        Called with samples ``(M, 2)``; what it says of them, in a few words, is shown beside the
        losses: how many modes they have, for example.
    """

    points: np.ndarray
    judge: Callable[[np.ndarray], str] | None = None
