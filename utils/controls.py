"""Controls: one description of a hyperparameter gives its widget, its check and its words.

A lesson describes each hyperparameter once; the panel and the explorer build the widget from
the description, and a script can check its own settings against the same limits.
"""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils import CourseError

# A rate of zero is inside many people's idea of a range and outside everybody's idea of training.
_RATES = ("learning_rate", "lr")
# Exponents of a log slider move in twentieths of a decade: 1, 1.12, 1.26 … 10.
_LOG_STEP = 0.05
# All labels are this wide, so that sliders and menus begin in one line.
LABEL_WIDTH = "136px"


def words(name: str) -> str:
    """A label in words from a Python name: ``learning_rate`` becomes ``Learning rate``.

    A name of one or two letters is a symbol, such as ``t`` or ``z1``, and stays as it is.
    """
    text = name.replace("_", " ").strip()
    return text if len(text) < 3 else text[:1].upper() + text[1:]


def show_value(value: Any) -> str:
    """A setting as a person would write it: ``0.001``, ``3e-05``, ``yes``, ``Adam``."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    if isinstance(value, numbers.Real):
        return f"{float(value):.4g}"
    return str(value)


class Named:
    """What all controls share."""

    name: str
    label: str | None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise CourseError(
                f"A control's name must be a Python name such as learning_rate, not {self.name!r}."
            )

    def surround(self, widget: Any) -> list[Any]:
        """What is shown for `widget`: itself, and whatever else this kind of control needs."""
        return [widget]

    @property
    def title(self) -> str:
        """The label: the one given, or the name in words."""
        return self.label or words(self.name)


@dataclass(frozen=True)
class Slider(Named):
    """A number from a range.

    The setting is a whole number when `default` is one.

    Parameters
    ----------
    name
        The name under which the training code finds it: ``settings.<name>``.
    default
        Where the slider stands at first.
    low, high
        The ends of the range; both belong to it.
    step
        The distance between two positions (in decades, if `log`). By default 1 for whole
        numbers, a hundredth of the range for others and a twentieth of a decade if `log`.
    log
        Whether positions are spread over decades, as suits a learning rate.
    label, help
        What to call it, and what it does in a few words. The label comes from the name if
        none is given.

    Raises
    ------
    CourseError
        If the range is empty, the default lies outside, or a log range touches zero.
    """

    name: str
    default: float
    low: float
    high: float
    step: float | None = None
    log: bool = False
    label: str | None = None
    help: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, end in (("low", self.low), ("high", self.high)):
            if not _is_number(end) or not math.isfinite(end):
                raise CourseError(f"{self.title}: {what} must be a finite number, not {end!r}.")
        if not self.low < self.high:
            raise CourseError(
                f"{self.title}: low ({self.low}) must be smaller than high ({self.high})."
            )
        if self.log and self.low <= 0:
            raise CourseError(
                f"{self.title}: a log slider needs low above 0, not {self.low}: zero is infinitely "
                "many decades away."
            )
        if self.step is not None and not (_is_number(self.step) and 0 < self.step < math.inf):
            raise CourseError(f"{self.title}: step must be above 0, not {self.step!r}.")
        self.validate(self.default)

    @property
    def whole(self) -> bool:
        """Whether this control takes whole numbers only."""
        return isinstance(self.default, numbers.Integral)

    def validate(self, value: Any) -> int | float:
        """Return `value` as an ``int`` or ``float``, or say what is wrong with it.

        Raises
        ------
        CourseError
            If it is no number, NaN, infinite, outside the range, not whole where it must be,
            or a learning rate of zero.
        """
        span = f"from {_plain(self.low)} to {_plain(self.high)}"
        kind = "a whole number" if self.whole else "a number"
        if not _is_number(value):
            raise CourseError(f"{self.title} is {value!r}, which is no number: give {kind} {span}.")
        if value != value:  # math.isnan would refuse an int too large for a float
            raise CourseError(f"{self.title} is NaN (not a number): give {kind} {span}.")
        if self.name in _RATES and value == 0:
            raise CourseError(
                f"{self.title} is 0, so the model would never change: choose one above 0, "
                f"for example {_plain(self.default) if self.default else '0.001'}."
            )
        if not self.low <= value <= self.high:
            raise CourseError(f"{self.title} is {_plain(value)}: give {kind} {span}.")
        if self.whole:
            if value != int(value):
                raise CourseError(f"{self.title} is {_plain(value)}: give a whole number {span}.")
            return int(value)
        return float(value)

    def widget(self, continuous: bool = False) -> Any:
        """Build the ipywidget; its ``value`` is the setting.

        Parameters
        ----------
        continuous
            Whether the kernel hears of every move or only of where the slider comes to rest.
        """
        import ipywidgets as widgets

        common = {
            "value": self.default,
            "description": self.title,
            "continuous_update": continuous,
            **_style(),
        }
        if self.log:
            return widgets.FloatLogSlider(
                base=10,
                min=math.log10(self.low),
                max=math.log10(self.high),
                step=self.step or _LOG_STEP,
                readout_format=".0f" if self.whole else ".3",
                **common,
            )
        if self.whole:
            step = int(self.step or 1)
            return widgets.IntSlider(min=int(self.low), max=int(self.high), step=step, **common)
        step = self.step or (self.high - self.low) / 100
        return widgets.FloatSlider(
            min=self.low, max=self.high, step=step, readout_format=_decimals(step), **common
        )

    def read(self, widget: Any) -> int | float:
        """The setting at which `widget` stands: exactly the number that it shows.

        A log slider shows three digits of a power of ten, and three digits are what it gives.

        Raises
        ------
        CourseError
            As `validate` does.
        """
        value = widget.value
        if self.log and value != self.default and math.isfinite(value) and value > 0:
            shown = round(value) if self.whole else float(f"{value:.3g}")
            value = min(max(shown, self.low), self.high)
        return self.validate(value)


@dataclass(frozen=True)
class Choice(Named):
    """One of a few options, shown as a drop-down.

    Parameters
    ----------
    name, default, label, help
        As for `Slider`.
    options
        The values to choose from, or a mapping from label to value.

    Raises
    ------
    CourseError
        If there is no option, one stands twice, or the default is not among them.
    """

    name: str
    default: Any
    options: Sequence[Any] | Mapping[str, Any]
    label: str | None = None
    help: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = self.pairs
        if not pairs:
            raise CourseError(f"{self.title} has no options: give at least one.")
        if len({label for label, _ in pairs}) < len(pairs):
            raise CourseError(f"{self.title} offers the same option twice.")
        self.validate(self.default)

    @property
    def pairs(self) -> list[tuple[str, Any]]:
        """Every option as ``(label, value)``."""
        if isinstance(self.options, Mapping):
            return [(str(label), value) for label, value in self.options.items()]
        return [(show_value(value), value) for value in self.options]

    def validate(self, value: Any) -> Any:
        """Return the option that equals `value`, or say which ones there are.

        Raises
        ------
        CourseError
            If it is not one of the options.
        """
        for _, option in self.pairs:
            # True == 1 in Python; for a person they are different answers.
            if isinstance(option, bool) == isinstance(value, bool) and _same(option, value):
                return option
        known = ", ".join(label for label, _ in self.pairs)
        raise CourseError(f"{self.title} is {value!r}: choose one of {known}.")

    def widget(self, continuous: bool = False) -> Any:
        """Build the ipywidget; its ``value`` is the setting (`continuous` changes nothing)."""
        import ipywidgets as widgets

        return widgets.Dropdown(
            options=self.pairs, value=self.default, description=self.title, **_style()
        )

    def read(self, widget: Any) -> Any:
        """The option at which `widget` stands, checked as `validate` does."""
        return self.validate(widget.value)


@dataclass(frozen=True)
class Toggle(Named):
    """Yes or no, shown as a checkbox. Parameters as for `Slider`.

    Raises
    ------
    CourseError
        If the default is not ``True`` or ``False``.
    """

    name: str
    default: bool
    label: str | None = None
    help: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.validate(self.default)

    def validate(self, value: Any) -> bool:
        """Return `value`, or say that it must be ``True`` or ``False``.

        Raises
        ------
        CourseError
            If it is anything else (0 and 1 included: they look like numbers).
        """
        if not isinstance(value, bool | np.bool_):
            raise CourseError(f"{self.title} is {value!r}: give True or False.")
        return bool(value)

    def widget(self, continuous: bool = False) -> Any:
        """Build the ipywidget; its ``value`` is the setting (`continuous` changes nothing)."""
        import ipywidgets as widgets

        layout = widgets.Layout(width="auto")
        return widgets.Checkbox(
            value=self.default, description=self.title, indent=False, layout=layout
        )

    def read(self, widget: Any) -> bool:
        """Whether `widget` is ticked, checked as `validate` does."""
        return self.validate(widget.value)


Control = Named


def check(controls: Sequence[Control]) -> tuple[Control, ...]:
    """Return the controls as a tuple, or say what is wrong with the list.

    Raises
    ------
    CourseError
        If something in it is no control or two share a name.
    """
    seen: set[str] = set()
    for control in controls:
        if not isinstance(control, Named):
            raise CourseError(f"{control!r} is no control: use Slider, Choice or Toggle.")
        if control.name in seen:
            raise CourseError(f"Two controls are called {control.name!r}: rename one of them.")
        seen.add(control.name)
    return tuple(controls)


def values(controls: Sequence[Control], **changes: Any) -> dict[str, Any]:
    """Every control's default, with `changes` put in their place and checked.

    Raises
    ------
    CourseError
        If a change names no control or its value is refused.
    """
    return collect(controls, lambda control: control.default, **changes)


def collect(
    controls: Sequence[Control], read: Callable[[Control], Any], **changes: Any
) -> dict[str, Any]:
    """Every control's value by `read`, with `changes` in their place: all of them checked.

    Raises
    ------
    CourseError
        If a change names no control or a value is refused.
    """
    names = [control.name for control in controls]
    for name in changes:
        if name not in names:
            raise CourseError(f"There is no setting {name!r}: there are {', '.join(names)}.")
    return {
        control.name: control.validate(
            changes[control.name] if control.name in changes else read(control)
        )
        for control in controls
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _plain(value: float) -> str:
    if isinstance(value, numbers.Integral) and abs(value) < 10**15:
        return str(int(value))
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "a number too large for any range"


def _same(option: Any, value: Any) -> bool:
    try:
        return bool(option == value)
    except (TypeError, ValueError):  # an array compares element by element, and has no one answer
        return False


def _decimals(step: float) -> str:
    """A readout format with as many decimals as the step needs, from one to six."""
    return f".{min(max(1, -math.floor(math.log10(step) + 1e-9)), 6)}f"


def _style() -> dict[str, Any]:
    import ipywidgets as widgets

    return {
        "style": {"description_width": LABEL_WIDTH},
        "layout": widgets.Layout(width="auto", min_width="0"),
    }
