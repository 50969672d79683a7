"""A control of boxes to drag, with mouse, finger or keyboard: boxes as an explorer's argument.

It is made of core ipywidgets, as `utils.drawing` is: an HTML widget holds the canvas, and a text
area that is not shown carries the corners to the kernel.
"""

import base64
import dataclasses
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from utils import CourseError, plots
from utils.controls import Named
from utils.panel.markup import PIXEL

_WIDE = 288  # pixels of the screen
_KEYS = "Arrows move a box, Shift with an arrow resizes it, Space goes to the next box."


@dataclasses.dataclass(frozen=True, eq=False)
class BoxPad(Named):
    """Boxes that the learner moves and resizes on a picture.

    Parameters
    ----------
    name
        The argument's name.
    default
        The boxes at first: ``(N, 4)`` xyxy in pixels of the picture, N ≥ 1.
    height, width
        The picture's pixels: boxes stay inside.
    image
        ``(height, width, 3)`` uint8, drawn beneath; an even ground if left out.
    names
        What stands on each box; letters if left out.
    label, help
        As for `utils.controls.Slider`.

    Raises
    ------
    CourseError
        If the default or the picture is nothing of the kind.
    """

    name: str
    default: np.ndarray
    height: int
    width: int
    image: np.ndarray | None = None
    names: Sequence[str] | None = None
    label: str | None = None
    help: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if np.ndim(self.default) != 2 or not len(self.default):
            raise CourseError(f"{self.title}: the pad needs boxes (N, 4), at least one.")
        object.__setattr__(self, "default", self.validate(self.default))
        if self.image is not None and np.shape(self.image)[:2] != (self.height, self.width):
            raise CourseError(
                f"{self.title}: the picture must be {self.height}×{self.width}, not "
                f"{np.shape(self.image)}."
            )
        if self.names is not None and len(self.names) != len(self.default):
            raise CourseError(f"{self.title}: {len(self.default)} boxes need as many names.")

    def validate(self, value: Any) -> np.ndarray:
        """Return `value` as the boxes it is, ``(N, 4)`` float32, or say what is wrong with it.

        Raises
        ------
        CourseError
            If they are not as many boxes inside the picture, each with an inside.
        """
        try:
            boxes = np.array(value, np.float32)
        except (TypeError, ValueError):
            boxes = np.zeros(0)
        if boxes.shape != (len(self.default), 4):
            raise CourseError(
                f"{self.title} must be {len(self.default)} boxes, each left, top, right, bottom."
            )
        if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
            raise CourseError(f"{self.title}: a box needs right above left and bottom above top.")
        if boxes.min() < 0 or (boxes[:, 2:] > (self.width, self.height)).any():
            raise CourseError(
                f"{self.title}: a box reaches out of the picture, {self.width} wide and "
                f"{self.height} high."
            )
        return boxes

    def widget(self, continuous: bool = False) -> Any:
        """Build the text area that carries the corners (`continuous` changes nothing)."""
        import ipywidgets as widgets

        text = "; ".join(" ".join(f"{side:.1f}" for side in box) for box in self.default)
        area = widgets.Textarea(value=text, continuous_update=True)
        area.add_class("cp-carrier")
        return area

    def surround(self, widget: Any) -> list[Any]:
        """The canvas before the text area, which the style sheet hides."""
        import ipywidgets as widgets

        return [widgets.HTML(self._html()), widget]

    def read(self, widget: Any) -> np.ndarray:
        """The boxes that `widget` carries.

        Raises
        ------
        CourseError
            If somebody wrote something else into it.
        """
        try:
            rows = [[float(side) for side in box.split()] for box in widget.value.split(";")]
        except ValueError:
            rows = []
        try:
            return self.validate(rows)
        except CourseError as error:
            raise CourseError(f"{error} Press Reset.") from None

    def _html(self) -> str:
        title, count = escape(self.title), len(self.default)
        names = self.names or [chr(ord("A") + place % 26) for place in range(count)]
        value = {
            "boxes": self.default.tolist(),
            "names": [str(name) for name in names],
            "colours": [plots.class_colour(place) for place in range(count)],
            "width": self.width,
            "height": self.height,
        }
        high = round(_WIDE * self.height / self.width)
        if self.image is not None:
            value["png"] = base64.b64encode(plots.to_png(self.image)).decode()
        script = escape(f"(function () {{ {_script()} }}).call(this)")
        return (
            '<div class="cp-pad">'
            f'<div class="cp-pad-side"><span>{title}</span>'
            f'<button type="button">Reset</button></div>'
            f'<canvas width="{2 * _WIDE}" height="{2 * high}" tabindex="0" role="application"'
            f' aria-label="{title}: boxes to drag. {_KEYS}" title="{_KEYS}"'
            f' data-value="{escape(json.dumps(value))}"'
            f' style="width:{_WIDE}px;height:{high}px;touch-action:none;cursor:move"></canvas>'
            f'<img alt="" src="{PIXEL}" onload="{script}"></div>'
        )


@cache
def _script() -> str:
    return Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
