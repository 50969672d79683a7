"""From losses to coordinates: ranges, ticks and the thinning of long curves."""

import math
from dataclasses import dataclass

import numpy as np

# How the loss axis may be drawn, as the panel's drop-down offers it.
AXES = {
    "linear": "linear",
    "late": "linear, without the first tenth",
    "log": "logarithmic",
}


def thin(
    steps: np.ndarray, values: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reduce a curve to at most `limit` points: means of neighbours, with their range.

    Parameters
    ----------
    steps, values
        ``(n,)`` each, finite.
    limit
        The most points to keep.

    Returns
    -------
    tuple of numpy.ndarray
        Steps, means, lows and highs, ``(min(n, limit),)`` each. The last point ends at the
        last step.
    """
    count = len(steps)
    if count <= limit:
        return steps, values, values, values
    edges = np.linspace(0, count, limit + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, count))
    lows, highs = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
    # Divided before they are added, so that even the largest floats have a mean; what rounding
    # adds to them is clipped.
    with np.errstate(over="ignore"):
        means = np.add.reduceat(values / sizes.repeat(sizes), edges)
    return steps[edges + sizes - 1], np.clip(means, lows, highs), lows, highs


@dataclass(frozen=True)
class Scale:
    """Maps numbers to ``[0, 1]``, linearly or by their logarithm.

    Attributes
    ----------
    low, high
        The ends of the range, ``low < high`` (logarithms, if `log`), in units of `unit`.
    log
        Whether positions are by logarithm.
    unit
        What numbers are divided by first, so that even the largest floats have a range.
    """

    low: float
    high: float
    log: bool = False
    unit: float = 1.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Positions of `values`; those that the scale was fitted to lie in ``[0, 1]``."""
        values = np.asarray(values, dtype=float)
        if self.log:
            scaled = np.log10(np.maximum(values, np.finfo(float).tiny))
        else:
            scaled = values / self.unit
        return (scaled - self.low) / (self.high - self.low)

    def ticks(self, count: int = 5, whole: bool = False) -> list[tuple[float, str]]:
        """About `count` round (or `whole`) numbers with labels, as ``(position, label)``."""
        found = self._decades() if self.log else self._round_numbers(count, whole)
        seen: dict[str, float] = {}
        for position, label in found:
            seen.setdefault(label, position)
        return [(position, label) for label, position in seen.items()]

    def _round_numbers(self, count: int, whole: bool = False) -> list[tuple[float, str]]:
        span = self.high - self.low
        step = max(_round_step(span / count), 1.0 if whole else 0.0)
        first = math.ceil(self.low / step - 1e-9)
        numbers = [(first + i) * step for i in range(count + 3)]
        numbers = [n for n in numbers if self.low - 1e-9 * span <= n <= self.high + 1e-9 * span]
        # The room around the largest of all floats reaches beyond what a float can say.
        numbers = [n for n in numbers if math.isfinite(n * self.unit)]
        largest = max((abs(n) for n in numbers), default=0.0) * self.unit
        return [((n - self.low) / span, _label(n * self.unit, step, largest)) for n in numbers]

    def _decades(self) -> list[tuple[float, str]]:
        span = self.high - self.low
        every = max(1, math.ceil(span / 6))
        factors = (1, 2, 5) if span < 2.5 else (1,)
        found = []
        for decade in range(math.floor(self.low), math.ceil(self.high) + 1, every):
            for factor in factors:
                position = (decade + math.log10(factor) - self.low) / span
                if -1e-9 <= position <= 1 + 1e-9:
                    label = f"{factor}e{decade}" if not -4 < decade < 5 else None
                    found.append((position, label or f"{factor * 10.0**decade:g}"))
        if len(found) < 2 and self.high < 300:
            # Less than a decade between two round factors: label round numbers instead.
            line = Scale(10.0**self.low, 10.0**self.high)
            found = [
                (float(self(np.array(line.low + at * (line.high - line.low)))), label)
                for at, label in line._round_numbers(4)
            ]
        return found


def fit(values: np.ndarray, log: bool = False) -> Scale:
    """A scale that holds all `values` with a little room; finite for any finite numbers.

    Parameters
    ----------
    values
        ``(n,)`` finite numbers, possibly none.
    log
        Ask for a logarithmic scale; it needs every value above zero and is linear otherwise.
    """
    values = np.asarray(values, dtype=float)
    if not values.size:
        return Scale(0.0, 1.0)
    lowest, highest = float(values.min()), float(values.max())
    if log and lowest > 0:
        low = math.log10(max(lowest, np.finfo(float).tiny))
        high = math.log10(max(highest, np.finfo(float).tiny))
        room = max(0.04 * (high - low), 0.02)
        return Scale(low - room, high + room, log=True)
    largest = max(abs(lowest), abs(highest))
    unit = 10.0 ** math.floor(math.log10(largest)) if largest > 1e100 else 1.0
    low, high = lowest / unit, highest / unit
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-200):
        # Flat, as far as a loss can tell: give it a band of its own.
        room = 0.05 * max(abs(low), abs(high)) if largest > 1e-100 else 0.5
    else:
        room = 0.04 * (high - low)
    return Scale(low - room, high + room, unit=unit)


def _round_step(number: float) -> float:
    """The first of 1, 2, 2.5, 5, 10 times a power of ten that is not much below `number`."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= 0.8 * number)


def _label(number: float, step: float, largest: float) -> str:
    if abs(number) < 1e-9 * largest:
        return "0"
    if largest >= 1e6 or largest < 1e-3:
        return f"{number:.3g}"
    if number == int(number) and step == int(step):
        return f"{int(number):,}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{number:.{decimals + (f'{step:e}'[:3] == '2.5')}f}"
