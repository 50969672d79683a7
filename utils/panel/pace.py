"""How often the panel draws, and how long a run has trained."""

import contextlib
import time
from collections.abc import Callable, Iterator

# Eight pictures a second look live; more only fill the wire.
FRAMES_PER_SECOND = 8
# Drawing may take at most this share of the training thread's time, however slow it is.
DRAWING_SHARE = 0.1


class Throttle:
    """Says when something may be drawn again: not too often, and not at training's expense.

    Parameters
    ----------
    every
        The shortest time between two drawings, in seconds.
    share
        The largest share of the time that drawing may take.
    clock
        Where the time comes from; tests bring their own.
    """

    def __init__(
        self,
        every: float = 1 / FRAMES_PER_SECOND,
        share: float = DRAWING_SHARE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._every, self._share, self._clock = every, share, clock
        self._next = 0.0

    def due(self) -> bool:
        """Whether the next drawing may begin."""
        return self._clock() >= self._next

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Wrap a drawing, so that its cost decides when the next one is due."""
        began = self._clock()
        try:
            yield
        finally:
            ended = self._clock()
            rest = (ended - began) * (1 / self._share - 1)
            self._next = max(began + self._every, ended + rest)


class Stopwatch:
    """Seconds spent training; pauses do not count."""

    def __init__(self) -> None:
        self._began: float | None = time.perf_counter()
        self._spent = 0.0

    def pause(self) -> None:
        """Stop counting."""
        self._spent, self._began = self.seconds, None

    def resume(self) -> None:
        """Count on."""
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        running = 0.0 if self._began is None else time.perf_counter() - self._began
        return self._spent + running
