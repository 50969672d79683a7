"""The loss curve as inline SVG: small, readable in both themes, and in words for screen readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from utils.panel.records import Run
from utils.panel.scales import Scale, fit, thin

# Hues say the framework, as in the course's figures; shades and dashes say which of its runs.
# Each keeps a contrast of 3 : 1 on white and on black.
COLOURS = {
    "torch": ("#D55E00", "#C2406E", "#A9711A", "#E0554F"),
    "tensorflow": ("#0072B2", "#6F62D0", "#1C87A6", "#8C57C6"),
    "keras": ("#009E73", "#6B8A00", "#3D8060", "#978200"),
}
DASHES = ((7, 4), (2, 3), (9, 3, 2, 3), (4, 2), (12, 4), (1, 2, 6, 2))
EARLIER_SHOWN = 7
POINTS = 260
EARLIER_POINTS = 140

WIDTH, HEIGHT = 640, 290
LEFT, RIGHT, TOP, BOTTOM = 62, 30, 12, 44


@dataclass(frozen=True)
class Curve:
    """One run's loss, thinned, and how it is drawn.

    Attributes
    ----------
    run
        The run it belongs to.
    colour, dash
        How it looks; the current run is solid whatever its dash.
    current
        Whether this is the run in progress, or the last one.
    steps, means, lows, highs
        ``(n,)`` arrays; lows and highs equal means where nothing was thinned.
    """

    run: Run
    colour: str
    dash: tuple[int, ...]
    current: bool
    steps: np.ndarray
    means: np.ndarray
    lows: np.ndarray
    highs: np.ndarray

    @property
    def thinned(self) -> bool:
        """Whether some drawn point stands for several reports that differ."""
        return bool((self.lows != self.highs).any())

    @property
    def dashes(self) -> tuple[int, ...]:
        """The dash pattern in which it is drawn, empty for a solid line."""
        return () if self.current else self.dash


class Curves:
    """Makes the curves of a panel's runs, and remembers those of runs that are over."""

    def __init__(self) -> None:
        self._known: dict[int, tuple] = {}

    def of(self, runs: Sequence[Run]) -> list[Curve]:
        """The last run's curve and those of earlier runs that report the same name.

        The current one comes last, so that it is drawn on top.
        """
        reported = [run for run in runs if len(run.history)]
        if not reported:
            return []
        current = runs[-1]
        name = (current if len(current.history) else reported[-1]).loss_name
        alike = [run for run in reported if run.loss_name == name][-EARLIER_SHOWN - 1 :]
        counts: dict[str, int] = {}
        order = {}
        for run in runs:
            order[run.number] = counts.get(run.framework, 0)
            counts[run.framework] = order[run.number] + 1
        return [self._curve(run, order[run.number], run is current) for run in alike]

    def _curve(self, run: Run, nth: int, current: bool) -> Curve:
        shades = COLOURS.get(run.framework, COLOURS["tensorflow"])
        look = (shades[nth % len(shades)], DASHES[(run.number - 1) % len(DASHES)], current)
        if current or run.number not in self._known:
            points = thin(*run.history.curve(), POINTS if current else EARLIER_POINTS)
            if not current:
                self._known[run.number] = (run, points)
        else:
            known, points = self._known[run.number]
            if known is not run:  # after a reset, numbers begin again
                self._known.clear()
                return self._curve(run, nth, current)
        return Curve(run, *look, *points)


def loss_svg(curves: Sequence[Curve], total: int, axis: str = "linear", state: str = "idle") -> str:
    """The chart as one SVG element.

    Parameters
    ----------
    curves
        As `Curves.of` makes them; may be empty.
    total
        The steps of the run in progress: the chart is that wide from the start.
    axis
        ``"linear"``, ``"late"`` (linear, the first tenth of each run left out) or ``"log"``.
    state
        The panel's state, kept in ``data-state``.

    Returns
    -------
    str
        With ``data-run``, ``data-step`` and ``data-loss`` of the last curve, and in words as its
        ``aria-label``.
    """
    kept = [_cut(curve) for curve in curves] if axis == "late" else list(curves)
    x = Scale(0.0, float(max([total, 1, *(c.steps[-1] for c in curves if len(c.steps))])))
    ends = [a for c in kept for a in (c.means, *((c.lows, c.highs) if c.current else ()))]
    y = fit(np.concatenate(ends) if ends else np.empty(0), log=axis == "log")
    name = curves[-1].run.loss_name if curves else "loss"
    ink = "".join(_draw(curve, x, y) for curve in kept) + _numbers(kept, x, y)
    parts = [_frame(x, y, name), f'<g class="cp-ink">{ink}</g>']
    if not curves:
        parts.append(_text(WIDTH / 2, HEIGHT / 2 - 10, "The loss appears here.", "middle", 0.75))
    return (
        f'<svg class="cp-chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" {_data(curves, state)} '
        f'aria-label="{escape(in_words(curves), quote=True)}">{"".join(parts)}</svg>'
    )


def in_words(curves: Sequence[Curve]) -> str:
    """What the chart shows, for those who do not see it."""
    if not curves:
        return "Loss curve, empty: no run has reported yet."
    run = curves[-1].run
    text = f"{run.loss_name} against step, run {run.number}, {run.label}: "
    text += f"step {run.step} of {run.total}"
    if run.loss is not None and run.lowest is not None:
        text += f", last {run.loss:.4g}, lowest {run.lowest[1]:.4g} at step {run.lowest[0]}"
    if len(curves) > 1:
        text += f"; {len(curves) - 1} earlier run{'s' if len(curves) > 2 else ''} behind it"
    return text + "."


def swatch(curve: Curve) -> str:
    """A short stroke in the curve's colour and dashes, for legend and table."""
    return (
        '<svg class="cp-swatch cp-ink" width="30" height="10" aria-hidden="true">'
        f'<line x1="1" y1="5" x2="29" y2="5" {_stroke(curve)}/></svg>'
    )


def _cut(curve: Curve) -> Curve:
    late = curve.steps >= 0.1 * curve.steps[-1]
    arrays = (curve.steps, curve.means, curve.lows, curve.highs)
    return Curve(curve.run, curve.colour, curve.dash, curve.current, *(a[late] for a in arrays))


def _data(curves: Sequence[Curve], state: str) -> str:
    if not curves:
        return f'data-state="{state}" data-run="0" data-step="0" data-loss=""'
    run = curves[-1].run
    loss = "" if run.loss is None else repr(run.loss)
    return f'data-state="{state}" data-run="{run.number}" data-step="{run.step}" data-loss="{loss}"'


def _place(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the view box from positions in [0, 1]."""
    return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)


def _points(x: np.ndarray, y: np.ndarray) -> str:
    # One format for all of them: a thousand f-strings would be most of a frame's cost.
    flat = np.stack(_place(x, y), axis=1).ravel().tolist()
    return ("%.1f,%.1f " * len(x) % tuple(flat)).rstrip()


def _stroke(curve: Curve) -> str:
    width, opacity = (2.2, 1) if curve.current else (1.5, 0.85)
    look = f'stroke="{curve.colour}" stroke-width="{width}" stroke-opacity="{opacity}"'
    if curve.dashes:
        look += f' stroke-dasharray="{" ".join(map(str, curve.dashes))}"'
    return look + ' stroke-linejoin="round" fill="none"'


def _draw(curve: Curve, x: Scale, y: Scale) -> str:
    if not len(curve.steps):
        return ""
    across, line = x(curve.steps), y(curve.means)
    parts = []
    if curve.current and curve.thinned:
        there, back = _points(across, y(curve.highs)), _points(across[::-1], y(curve.lows)[::-1])
        parts.append(
            f'<polygon points="{there} {back}" fill="{curve.colour}" fill-opacity="0.18"/>'
        )
    parts.append(f'<polyline points="{_points(across, line)}" {_stroke(curve)}/>')
    if curve.current:
        (cx, cy) = _place(across[-1], line[-1])
        parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3.5" fill="{curve.colour}"/>')
    return "".join(parts)


def _numbers(curves: Sequence[Curve], x: Scale, y: Scale) -> str:
    """Each run's number at the end of its curve, moved apart where two would overlap."""
    marks = []
    for curve in curves:
        if len(curve.steps):
            cx, cy = _place(x(curve.steps[-1]), y(curve.means[-1]))
            marks.append((float(cy) + 4, float(cx) + 7, curve))
    marks.sort(key=lambda mark: mark[0])
    heights = [mark[0] for mark in marks]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + 12)
    limit = HEIGHT - BOTTOM + 2.0
    for i in reversed(range(len(heights))):
        heights[i] = limit = min(heights[i], limit)
        limit -= 12
    return "".join(
        f'<text x="{min(left, WIDTH - 18):.1f}" y="{height:.1f}" fill="{curve.colour}" '
        f'font-size="13" font-weight="{700 if curve.current else 400}">{curve.run.number}</text>'
        for height, (_, left, curve) in zip(heights, marks, strict=True)
    )


def _text(x: float, y: float, text: str, anchor: str, opacity: float = 1.0, extra: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" '
        f'fill-opacity="{opacity}" font-size="13"{extra}>{escape(text)}</text>'
    )


def _frame(x: Scale, y: Scale, name: str) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    grid, marks = [], []
    for position, label in y.ticks(5):
        height = float(_place(0.0, position)[1])
        grid.append(f"M{LEFT} {height:.1f}H{right}")
        marks.append(_text(LEFT - 8, height + 4.5, label, "end", 0.85))
    for position, label in x.ticks(6, whole=True):
        across = float(_place(position, 0.0)[0])
        grid.append(f"M{across:.1f} {bottom}v5")
        marks.append(_text(across, bottom + 18, label, "middle", 0.85))
    middle = (TOP + bottom) / 2
    turned = f' transform="rotate(-90 14 {middle:.0f})"'
    axis = _text(14, middle, name + (" (log)" if y.log else ""), "middle", 1, turned)
    return (
        f'<path d="{"".join(grid)}" stroke="currentColor" stroke-opacity="0.16" fill="none"/>'
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}" stroke="currentColor" stroke-opacity="0.5" '
        f'fill="none"/>{"".join(marks)}{axis}'
        f"{_text((LEFT + right) / 2, HEIGHT - 6, 'step', 'middle')}"
    )
