"""Explorers: pictures that the kernel draws anew as a slider moves.

A lesson gives `Explorer` a drawing function and a control for each of its arguments. Moving a
control calls the function in the kernel, with the model that was trained there.
"""

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from utils import CourseError, plots, runtime
from utils.controls import Control, check, values

_PNG = b"\x89PNG\r\n\x1a\n"

# The explorers on show by title: running a cell again replaces the one it made before.
_EXPLORERS: weakref.WeakValueDictionary[str, "Explorer"] = weakref.WeakValueDictionary()


class Explorer:
    """Move a control, see the picture change.

    Where moves come faster than `draw` draws, only the newest is drawn.

    Parameters
    ----------
    draw
        Called as ``draw(**values)`` with every control's value. Returns an image array, ``(H, W)``
        or ``(H, W, 3)``, PNG bytes, or a matplotlib ``Figure`` (made without pyplot: drawing
        happens in a thread).
    controls
        One control for each argument of `draw`.
    title
        What it is called. An explorer of the same title takes an earlier one's place, which is
        what running a cell again comes to.
    alt
        What a reader who cannot see the picture should know.
    mode
        ``"auto"``, ``"thread"`` (draw in the background) or ``"inline"`` (draw where the move is
        heard, as Colab needs it).

    Attributes
    ----------
    png
        The picture on show, as PNG bytes; empty before the first.
    drawn
        How many pictures were drawn.

    Raises
    ------
    CourseError
        If there is no control, `alt` is empty, or the mode is unknown.
    """

    def __init__(
        self,
        draw: Callable[..., Any],
        controls: Sequence[Control],
        title: str,
        alt: str,
        mode: str = "auto",
    ) -> None:
        self._controls = check(controls)
        if not self._controls:
            raise CourseError(f"The explorer {title!r} has no control: give it at least one.")
        if not alt.strip():
            raise CourseError(f"The explorer {title!r} needs `alt`: one sentence on what it shows.")
        runtime.choose("The mode", mode, ("auto", "thread", "inline"))
        self.title, self.alt = title, alt
        self.png = b""
        self.drawn = 0
        self.view: Any = None
        self._draw = draw
        self._headless = runtime.headless()
        self._inline = mode == "inline" or mode == "auto" and runtime.in_colab()
        self._lock = threading.Lock()
        self._wanted: dict[str, Any] | None = None
        self._busy = False
        self._idle = threading.Event()
        self._idle.set()
        earlier = _EXPLORERS.get(title)
        if earlier is not None and earlier.view is not None:
            earlier.view.close()
            earlier.view = None
        _EXPLORERS[title] = self

    def show(self) -> None:
        """Display the explorer with its default picture; without a front end, the picture alone.

        Raises
        ------
        Exception
            Without a front end, whatever `draw` raises. Elsewhere the explorer shows it in words.
        """
        from utils.panel import still

        if self._headless:
            self._render(values(self._controls))
            still.show(self.png, self.alt)
            print(f"Figure: {self.alt}")
            return
        if self.view is None:
            self.view = _View(self)
        self._render_in_words(self.view.values())
        still.show(self.png, f"{self.title}: {self.alt}", self.view.root)

    def redraw(self) -> None:
        """Draw anew with the controls as they stand, for example after the model was trained."""
        if self.view is None:
            return
        try:
            wanted = self.view.values()
        except CourseError as error:
            self.view.complain(str(error))
            return
        if self._inline:
            self._render_in_words(wanted)
            return
        with self._lock:
            self._wanted = wanted
            self._idle.clear()
            if self._busy:
                return  # the thread that draws takes the newest when it is ready
            self._busy = True
        threading.Thread(target=self._work, name="course-explorer", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every move so far is drawn; return False if `timeout` seconds pass first."""
        return self._idle.wait(timeout)

    def _work(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._busy = False
                    self._idle.set()
                    return
            self._render_in_words(wanted)

    def _render_in_words(self, wanted: dict[str, Any]) -> None:
        from utils.panel.engine import explain

        view = self.view
        if view is None:
            return  # the cell was run again meanwhile
        try:
            self._render(wanted)
        except BaseException as error:  # a thread's error has nowhere else to go
            view.complain(*explain(error))
            return
        view.draw(self.png, self.drawn)

    def _render(self, wanted: dict[str, Any]) -> None:
        self.png = as_png(self._draw(**wanted))
        self.drawn += 1


class _View:
    """The explorer on the page: only ipywidgets that versions 7.7 and 8.1 share."""

    def __init__(self, explorer: Explorer) -> None:
        import ipywidgets as widgets

        from utils.panel import markup
        from utils.panel.view import control_box, styled_box

        self._markup = markup
        self._alt = explorer.alt
        self._described = {control.name: control for control in explorer._controls}
        self.controls = {name: c.widget(continuous=True) for name, c in self._described.items()}
        self.image = widgets.Image(
            format="png", layout=widgets.Layout(align_self="flex-start", max_width="100%")
        )
        self._caption, self._error = widgets.HTML(), widgets.HTML()
        boxes = [control_box(c, self.controls[name]) for name, c in self._described.items()]
        self.root = widgets.VBox(
            [
                widgets.HTML(markup.title(explorer.title)),
                styled_box(boxes, "cp-controls"),
                self._error,
                styled_box([self.image], "cp-picture"),
                self._caption,
            ]
        )
        self.root.add_class("course-panel")
        self.root.add_class("course-explorer")
        for widget in self.controls.values():
            widget.observe(lambda change: explorer.redraw(), "value")

    def values(self) -> dict[str, Any]:
        """Every control's value, checked."""
        return {name: c.read(self.controls[name]) for name, c in self._described.items()}

    def draw(self, png: bytes, drawn: int) -> None:
        """Show a picture, and take away what was wrong before."""
        self._error.value = ""
        self.image.value = png
        self._caption.value = self._markup.figure_caption(self._alt, drawn)

    def complain(self, message: str, trace: str = "") -> None:
        """Show what went wrong; the last picture stays."""
        self._error.value = self._markup.error(message, trace)

    def close(self) -> None:
        """Take the explorer off the page for good."""
        from utils.panel.view import close_all

        close_all(self.root)


def as_png(picture: Any) -> bytes:
    """PNG bytes of what a drawing function may return.

    Parameters
    ----------
    picture
        An image array, ``(H, W)`` or ``(H, W, 3)``, PNG bytes, or a matplotlib ``Figure``. Small
        arrays are enlarged, pixel by pixel.

    Raises
    ------
    CourseError
        If it is none of these, or has pixels that are not finite.
    """
    from utils.panel import still

    if isinstance(picture, bytes):
        if picture.startswith(_PNG):
            return picture
        raise CourseError("draw() returned bytes that are no PNG: return an image array instead.")
    if hasattr(picture, "savefig"):
        return plots.figure_png(picture)
    array = None
    with contextlib.suppress(TypeError, ValueError):
        array = np.asarray(picture)
    if (
        array is None
        or array.dtype.kind not in "biuf"
        or array.ndim not in (2, 3)
        or not array.size
    ):
        raise CourseError(
            f"draw() returned {type(picture).__name__}: return an image array of shape (H, W) or "
            "(H, W, 3), PNG bytes or a matplotlib Figure."
        )
    return plots.to_png(still.enlarged(plots.to_uint8(array)))
