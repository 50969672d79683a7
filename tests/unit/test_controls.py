"""Controls: what they accept, what they refuse in words, what their widgets give."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from utils import CourseError, controls
from utils.controls import Choice, Slider, Toggle

RATE = Slider("learning_rate", 1e-3, 0.0, 1.0)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1))
@settings(deadline=None)
def test_a_slider_takes_every_number_of_its_range(a: float, b: float, at: float) -> None:
    low, high = sorted((a, b))
    assume(low < high)
    value = min(max(low + at * (high - low), low), high)
    assert Slider("x", low, low, high).validate(value) == value


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans(), st.binary()))
@settings(deadline=None)
def test_a_slider_returns_a_number_of_its_range_or_raises(value: object) -> None:
    slider = Slider("x", 0.5, 0.0, 1.0)
    try:
        found = slider.validate(value)
    except CourseError as error:
        assert "x is" in str(error) and "from 0 to 1" in str(error)
    else:
        assert isinstance(found, float) and 0 <= found <= 1 and found == value


@given(st.one_of(st.floats(), st.integers()))
@settings(deadline=None)
def test_a_whole_slider_returns_a_whole_number_or_raises(value: float) -> None:
    slider = Slider("steps", 10, 1, 100)
    try:
        found = slider.validate(value)
    except CourseError as error:
        assert "whole number" in str(error)
    else:
        assert isinstance(found, int) and 1 <= found <= 100 and found == value


@pytest.mark.parametrize("value", [0, 0.0, np.float32(0)])
def test_a_learning_rate_of_zero_has_its_own_sentence(value: float) -> None:
    with pytest.raises(CourseError, match="never change: choose one above 0, for example 0.001"):
        RATE.validate(value)
    assert Slider("dropout", 0.5, 0.0, 1.0).validate(value) == 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "NaN"),
        (math.inf, "is inf"),
        (2, "is 2"),
        ("0.1", "no number"),
        (True, "no number"),
        (None, "no number"),
        (10**400, "too large"),
    ],
)
def test_what_is_no_setting_is_refused_in_words(value: object, words: str) -> None:
    with pytest.raises(CourseError, match=words) as caught:
        RATE.validate(value)
    assert "Learning rate" in str(caught.value) and "from 0 to 1" in str(caught.value)


def test_numpy_numbers_become_plain_ones() -> None:
    assert type(RATE.validate(np.float32(0.5))) is float
    assert type(Slider("n", 1, 0, 9).validate(np.int64(3))) is int


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 1.0, "high": 0.0},
        {"low": math.nan},
        {"high": math.inf},
        {"low": "0"},
        {"log": True},
        {"default": 3.0},
        {"default": math.nan},
        {"step": 0},
        {"step": -1.0},
        {"name": "learning rate"},
        {"name": 7},
    ],
)
def test_a_slider_that_cannot_work_is_refused_at_once(wrong: dict) -> None:
    with pytest.raises(CourseError):
        Slider(**{"name": "x", "default": 0.5, "low": 0.0, "high": 1.0, **wrong})


def test_a_choice_gives_the_option_itself() -> None:
    choice = Choice("size", 64, [32, 64, 128])
    assert choice.validate(np.int64(32)) == 32 and type(choice.validate(np.int64(32))) is int
    named = Choice("noise", None, {"none": None, "some": 0.1})
    assert named.validate(0.1) == 0.1 and named.validate(None) is None


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none()))
@settings(deadline=None)
def test_a_choice_returns_an_option_or_names_them_all(value: object) -> None:
    options = [1, 2.5, "Adam"]
    try:
        assert Choice("x", 1, options).validate(value) in options
    except CourseError as error:
        assert "choose one of 1, 2.5, Adam" in str(error)
        assert not any(value == option for option in options) or isinstance(value, bool)


def test_true_is_not_one() -> None:
    with pytest.raises(CourseError):
        Choice("x", 1, [0, 1]).validate(True)
    with pytest.raises(CourseError):
        Toggle("x", True).validate(1)
    with pytest.raises(CourseError):
        Choice("x", 1, [0, 1]).validate(np.zeros(3))


def test_choices_that_cannot_work_are_refused_at_once() -> None:
    for options, default in (([], 1), ([1, 1], 1), ([1, 2], 3)):
        with pytest.raises(CourseError):
            Choice("x", default, options)


def test_values_are_defaults_with_checked_changes() -> None:
    several = [RATE, Choice("size", 64, [32, 64]), Toggle("shift", False)]
    assert controls.values(several) == {"learning_rate": 1e-3, "size": 64, "shift": False}
    assert controls.values(several, shift=True)["shift"] is True
    with pytest.raises(
        CourseError, match="no setting 'rate': there are learning_rate, size, shift"
    ):
        controls.values(several, rate=1)
    with pytest.raises(CourseError, match="Size is 7"):
        controls.values(several, size=7)


def test_a_list_of_controls_is_checked() -> None:
    with pytest.raises(CourseError, match="Two controls are called 'learning_rate'"):
        controls.check([RATE, RATE])
    with pytest.raises(CourseError, match="no control"):
        controls.check([RATE, "steps"])


@pytest.mark.parametrize(
    ("control", "kind"),
    [
        (Slider("a", 0.5, 0.0, 1.0), "FloatSlider"),
        (Slider("b", 5, 0, 10), "IntSlider"),
        (Slider("c", 1e-3, 1e-6, 1.0, log=True), "FloatLogSlider"),
        (Slider("d", 200, 10, 1000, log=True), "FloatLogSlider"),
        (Choice("e", 64, [32, 64]), "Dropdown"),
        (Choice("f", None, {"none": None, "some": 1}), "Dropdown"),
        (Toggle("g", True), "Checkbox"),
    ],
)
def test_a_fresh_widget_gives_the_default(control: controls.Control, kind: str) -> None:
    widget = control.widget()
    assert type(widget).__name__ == kind
    assert widget.description == control.title
    assert control.read(widget) == control.default
    assert type(control.read(widget)) is type(control.default)


@given(st.floats(-6, 0))
@settings(deadline=None)
def test_a_log_slider_gives_the_three_digits_it_shows(exponent: float) -> None:
    control = Slider("learning_rate", 1e-3, 1e-6, 1.0, log=True)
    widget = control.widget()
    widget.value = 10**exponent
    found = control.read(widget)
    assert found == float(f"{found:.3g}") and found == pytest.approx(10**exponent, rel=6e-3)


@given(st.floats(0, 1))
@settings(deadline=None)
def test_a_whole_log_slider_gives_whole_numbers_of_its_range(at: float) -> None:
    control = Slider("steps", 200, 10, 1000, log=True)
    widget = control.widget()
    widget.value = 10 ** (widget.min + at * (widget.max - widget.min))
    found = control.read(widget)
    assert isinstance(found, int) and 10 <= found <= 1000


@given(st.floats(-1e300, 1e300))
@settings(deadline=None)
def test_values_are_shown_as_people_write_them(value: float) -> None:
    assert float(controls.show_value(value)) == pytest.approx(value, rel=1e-3)
    assert controls.show_value(60_000) == "60,000" and controls.show_value(True) == "yes"
    assert controls.words("learning_rate") == "Learning rate" and controls.words("z1") == "z1"
