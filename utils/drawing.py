"""A control to draw on, with mouse, finger or keyboard: a picture as an explorer's argument.

It is made of core ipywidgets, like every control: an HTML widget holds the canvas, and a text
area that is not shown carries the pixels to the kernel.
"""

import dataclasses
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from utils import CourseError
from utils.controls import Named
from utils.panel.markup import PIXEL

_SIDE = 224  # pixels of the screen
_KEYS = "Arrows move the pen, Shift with an arrow draws, Space makes a dot, Delete clears."


@dataclasses.dataclass(frozen=True, eq=False)
class Drawing(Named):
    """A square grey picture that the learner draws.

    Parameters
    ----------
    name
        The argument's name.
    default
        What stands there at first: ``(size, size)``, uint8, 0 black to 255 white.
    label, help
        As for `utils.controls.Slider`.

    Raises
    ------
    CourseError
        If the default is no such picture.
    """

    name: str
    default: np.ndarray
    label: str | None = None
    help: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = np.shape(self.default)
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
            raise CourseError(
                f"{self.title}: the first picture must be square, not of shape {shape}."
            )
        self.validate(self.default)

    def validate(self, value: Any) -> np.ndarray:
        """Return `value` as the picture it is, or say what is wrong with it.

        Raises
        ------
        CourseError
            If it is not uint8, or not of the size of the default.
        """
        size = len(self.default)
        if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
            kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise CourseError(
                f"{self.title} must be a uint8 picture, 0 black to 255 white, not {kind}."
            )
        if value.shape != (size, size):
            raise CourseError(f"{self.title} must be {size}×{size} pixels, not {value.shape}.")
        return value

    def widget(self, continuous: bool = False) -> Any:
        """Build the text area that carries the pixels (`continuous` changes nothing)."""
        import ipywidgets as widgets

        area = widgets.Textarea(value=self.default.tobytes().hex(), continuous_update=True)
        area.add_class("cp-carrier")
        return area

    def surround(self, widget: Any) -> list[Any]:
        """The canvas before the text area, which the style sheet hides."""
        import ipywidgets as widgets

        return [widgets.HTML(self._html()), widget]

    def read(self, widget: Any) -> np.ndarray:
        """The picture that `widget` carries.

        Raises
        ------
        CourseError
            If somebody wrote something else into it.
        """
        size = len(self.default)
        try:
            pixels = np.frombuffer(bytes.fromhex(widget.value), np.uint8)
        except ValueError:
            pixels = np.zeros(0, np.uint8)
        if len(pixels) != size * size:
            raise CourseError(f"{self.title} is no picture of {size}×{size} pixels: press Clear.")
        return pixels.reshape(size, size)

    def _html(self) -> str:
        size, title = len(self.default), escape(self.title)
        script = escape(f"(function () {{ {_script()} }}).call(this)")
        return (
            '<div class="cp-pad">'
            f'<div class="cp-pad-side"><span>{title}</span>'
            '<button type="button">Clear</button></div>'
            f'<canvas width="{size}" height="{size}" tabindex="0" role="application"'
            f' aria-label="{title}: a pad to draw on. {_KEYS}" title="{_KEYS}"'
            f' data-value="{self.default.tobytes().hex()}"'
            f' style="width:{_SIDE}px;height:{_SIDE}px;touch-action:none;'
            'image-rendering:pixelated;cursor:crosshair"></canvas>'
            f'<img alt="" src="{PIXEL}" onload="{script}"></div>'
        )


@cache
def _script() -> str:
    return Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
