"""The picture a notebook keeps of its widgets, for readers without a kernel."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from utils import plots
from utils.panel.chart import Curve
from utils.panel.records import Run

_VIEW = "application/vnd.jupyter.widget-view+json"


def panel_png(title: str, curves: Sequence[Curve], runs: Sequence[Run]) -> bytes:
    """The panel as a picture: overlaid curves, and the last samples of each framework.

    Parameters
    ----------
    title
        The panel's title.
    curves
        As `Curves.of` makes them.
    runs
        All runs; the latest picture of each framework is shown.
    """
    shown = list({run.framework: run for run in runs if run.picture is not None}.values())
    # Broad pictures, such as rows of digits, stand one below the other; others side by side.
    broad = all(run.picture.shape[1] > 1.5 * run.picture.shape[0] for run in shown)
    rows, columns = (max(len(shown), 1), 1) if broad else (1, len(shown))
    width = 6.0 + bool(shown) * (2.4 if broad else 1.7 * columns)
    fig = _figure(width, max(3.1, 1.3 * rows))
    columns *= bool(shown)
    places = fig.add_gridspec(rows, 1 + columns, width_ratios=[2.6] + [1.0] * columns)
    _curves_into(fig.add_subplot(places[:, 0]), curves)
    for i, run in enumerate(shown):
        ax = fig.add_subplot(places[i, 1] if broad else places[0, 1 + i])
        ax.imshow(run.picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(f"{run.label}, step {run.picture_step:,}", fontsize=8)
        ax.set_axis_off()
    fig.suptitle(title, fontsize=11, x=0.01, ha="left")
    return plots.figure_png(fig)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def _curves_into(ax: Any, curves: Sequence[Curve]) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("step")
    ax.set_ylabel(curves[-1].run.loss_name if curves else "loss")
    ax.grid(axis="y", alpha=0.3)
    for curve in curves:
        dash = (0, curve.dashes) if curve.dashes else "-"
        changes = f", {curve.run.describe_changes()}" if curve.run.changed else ""
        label = f"{curve.run.number} {curve.run.label}{changes}"
        width = 1.8 if curve.current else 1.3
        ax.plot(curve.steps, curve.means, color=curve.colour, ls=dash, lw=width, label=label)
    if curves:
        ax.legend(frameon=False, fontsize=8)
    else:
        ax.text(0.5, 0.5, "no run yet", ha="center", transform=ax.transAxes)


def bundle(png: bytes, text: str, widget: Any = None) -> dict[str, Any]:
    """What one output holds: a widget for the page, a picture and a text for the file.

    JupyterLab shows the widget; GitHub, exports and readers without a kernel get the picture.
    """
    data = {"text/plain": text}
    if png:
        data["image/png"] = base64.b64encode(png).decode()
    if widget is not None:
        data[_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return data


def show(png: bytes, text: str, widget: Any = None) -> Any:
    """Display a `bundle`; return the handle that can replace it, or None outside a kernel."""
    from IPython.display import display

    metadata = {"image/png": {"alt": text}} if png else {}
    return display(bundle(png, text, widget), raw=True, display_id=True, metadata=metadata)


def enlarged(picture: np.ndarray, side: int = 320) -> np.ndarray:
    """The picture with every pixel repeated, so that its longer side comes near `side`."""
    factor = max(1, side // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
