"""The panel on the page: ipywidgets, and only what versions 7.7 and 8.1 share."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from utils import plots, runtime
from utils.controls import Choice, Control
from utils.panel import chart, markup, scales
from utils.panel.engine import ACTIVE, Engine
from utils.panel.still import enlarged

# A button's click that waited while training ran inline arrives right after it: not a new wish.
_LATE_CLICK = 0.3
_COLAB_NOTE = "To stop here: Runtime ▸ Interrupt execution (Ctrl+M I), or ■ at the cell."


def control_box(control: Control, widget: Any) -> Any:
    """A control's widget with its help under it."""
    import ipywidgets as widgets

    parts = control.surround(widget)
    if control.help:
        parts.append(widgets.HTML(markup.control_help(control.help)))
    box = widgets.VBox(parts)
    box.add_class("cp-control")
    return box


def styled_box(children: Sequence[Any], name: str) -> Any:
    """A box whose layout is the style sheet's class `name`."""
    import ipywidgets as widgets

    box = widgets.Box(list(children))
    box.add_class(name)
    return box


class View:
    """Shows an engine's state and passes the learner's wishes on.

    Parameters
    ----------
    engine
        What is shown.
    title, controls, frameworks
        As the panel was given them.
    actions
        ``train``, ``reset``: what the buttons call; errors are the callee's to show.
    inline
        Whether training happens in the main thread, where Pause and Stop cannot be heard.
    """

    def __init__(
        self,
        engine: Engine,
        title: str,
        controls: Sequence[Control],
        frameworks: Sequence[str],
        actions: dict[str, Callable[[], None]],
        inline: bool,
    ) -> None:
        import ipywidgets as widgets

        self._engine, self._actions, self._inline = engine, actions, inline
        self._lock = threading.RLock()
        self._curves = chart.Curves()
        self._marks: deque[tuple[float, int]] = deque(maxlen=40)
        self._ended = -_LATE_CLICK
        self._message = self._note = ""
        self._listed = 0
        self._described = {control.name: control for control in controls}
        self.controls = {control.name: control.widget() for control in controls}
        labels = {runtime.LABELS.get(name, name): name for name in frameworks}
        self._framework = Choice("framework", frameworks[0], labels, label="Framework")
        self.framework = self._framework.widget()
        boxes = [control_box(c, self.controls[c.name]) for c in controls]
        if len(frameworks) > 1:
            boxes.insert(0, control_box(self._framework, self.framework))
        self._build_buttons()
        axis = Choice("axis", "linear", {words: name for name, words in scales.AXES.items()})
        self.axis = axis.widget()
        self.axis.description = "Loss axis"
        self.axis.layout.width = "auto"
        self.axis.style.description_width = "76px"
        self.axis.add_class("cp-axis")
        self.axis.observe(lambda change: self.refresh(), "value")
        self._status, self._progress, self._chart = (widgets.HTML() for _ in range(3))
        self._caption, self._table, self._error = (widgets.HTML() for _ in range(3))
        self._image = widgets.Image(
            format="png", layout=widgets.Layout(align_self="flex-start", max_width="100%")
        )
        self._samples = widgets.VBox([self._image, self._caption])
        self._samples.add_class("cp-samples")
        self._samples.layout.display = "none"
        curves = widgets.VBox([self._chart, self.axis])
        curves.add_class("cp-curves")
        self.root = widgets.VBox(
            [
                widgets.HTML(markup.title(title)),
                styled_box(boxes, "cp-controls"),
                styled_box([*self.buttons.values(), self._status], "cp-row"),
                self._progress,
                self._error,
                styled_box([curves, self._samples], "cp-show"),
                self._table,
            ]
        )
        self.root.add_class("course-panel")
        self.root.add_class("course-trainer")
        self.refresh()

    def _build_buttons(self) -> None:
        import ipywidgets as widgets

        wanted = {
            "train": ("Train", "play", "success", self._train_clicked),
            "pause": ("Pause", "pause", "", self._pause_clicked),
            "stop": ("Stop", "stop", "", self._stop_clicked),
            "reset": ("Reset", "undo", "", self._reset_clicked),
        }
        self.buttons = {}
        for name, (words, icon, style, clicked) in wanted.items():
            button = widgets.Button(description=words, icon=icon, button_style=style)
            button.layout.width = "auto"
            button.on_click(clicked)
            self.buttons[name] = button

    # -- the learner's wishes ----------------------------------------------------------------

    def _train_clicked(self, button: Any) -> None:
        if self._inline and time.monotonic() - self._ended < _LATE_CLICK:
            return
        self._actions["train"]()
        self._ended = time.monotonic()

    def _pause_clicked(self, button: Any) -> None:
        if self._engine.state == "paused":
            self._engine.resume()
        else:
            self._engine.pause()

    def _stop_clicked(self, button: Any) -> None:
        self._engine.stop()

    def _reset_clicked(self, button: Any) -> None:
        self._actions["reset"]()

    # -- what the page shows -----------------------------------------------------------------

    def complain(self, message: str) -> None:
        """Show a mistake that kept a run from starting; empty words take it away."""
        with self._lock:
            self._message = message
            self._draw_words()

    def remark(self, note: str) -> None:
        """Show a remark beside the state; empty words take it away."""
        with self._lock:
            self._note = note
            self._draw_words()

    def restore(self) -> None:
        """Put every control back to its default."""
        for name, control in self._described.items():
            self.controls[name].value = control.default
        self.framework.value = self._framework.default

    def refresh(self, what: str = "state") -> None:
        """Draw what changed: ``"progress"``, ``"picture"``, or everything."""
        with self._lock:
            engine = self._engine
            if what == "picture":
                self._draw_picture()
                return
            runs = list(engine.runs)  # a reset may empty the list at any time
            curves = self._curves.of(runs)
            self._draw_progress()
            self._draw_words()
            if what == "state":
                self._draw_buttons()
                self._draw_picture()
            # Not with every frame: that would undo the reader's scrolling and selecting.
            if what == "state" or len(curves) != self._listed:
                self._listed = len(curves)
                self._table.value = markup.table(runs, curves)
            # Last, so that who sees its data-state knows that the rest is there.
            self._draw_curves(curves)

    def curves(self) -> list[chart.Curve]:
        """The curves on show."""
        with self._lock:
            return self._curves.of(list(self._engine.runs))

    def _draw_words(self) -> None:
        engine, run = self._engine, self._engine.run
        note = engine.note or self._note
        if self._inline and engine.state == "running":
            note = note or _COLAB_NOTE
        self._status.value = markup.status(engine.state, run, note)
        if self._message or run is None:
            self._error.value = markup.error(self._message)
        else:
            self._error.value = markup.error(run.message, run.trace)

    def _draw_buttons(self) -> None:
        state = self._engine.state
        heard = not self._inline
        self.buttons["train"].disabled = state in ACTIVE
        self.buttons["pause"].disabled = not (heard and state in ("running", "paused"))
        self.buttons["stop"].disabled = not (heard and state in ("running", "paused"))
        self.buttons["reset"].disabled = state == "stopping" or self._inline and state in ACTIVE
        paused = state == "paused"
        self.buttons["pause"].description = "Continue" if paused else "Pause"
        self.buttons["pause"].icon = "play" if paused else "pause"

    def _draw_curves(self, curves: Sequence[chart.Curve]) -> None:
        engine, run = self._engine, self._engine.run
        total = run.total if run is not None else 1
        svg = chart.loss_svg(curves, total, self.axis.value, engine.state)
        shown = curves[-1].run if curves else None
        self._chart.value = markup.numbers(shown) + svg + markup.legend(curves)

    def _draw_progress(self) -> None:
        engine, run = self._engine, self._engine.run
        if engine.state not in ACTIVE:
            self._marks.clear()
        elif run is not None and len(run.history):
            self._marks.append((engine.seconds, run.step))
        self._progress.value = markup.progress(engine.state, run, engine.seconds, self._speed())

    def _speed(self) -> float | None:
        """Steps a second over the last frames: the first step is no measure of the rest."""
        if len(self._marks) < 2:
            return None
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began and last > first else None

    def _draw_picture(self) -> None:
        run = self._engine.run
        if run is None:
            self._samples.layout.display = "none"
        elif run.picture is not None:
            self._image.value = plots.to_png(enlarged(run.picture))
            self._caption.value = markup.caption(run)
            self._samples.layout.display = None

    def close(self) -> None:
        """Take the panel off the page for good."""
        close_all(self.root)


def close_all(widget: Any) -> None:
    """Close a widget and everything in it, so that the kernel can forget them."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    widget.close()
