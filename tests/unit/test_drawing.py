"""The drawing pad's Python side; what happens on the page is tested in a browser."""

import numpy as np
import pytest

from utils import CourseError, controls
from utils.drawing import Drawing
from utils.explore import Explorer

PICTURE = np.arange(16, dtype=np.uint8).reshape(4, 4)


def test_the_widget_carries_the_default_and_what_is_drawn():
    pad = Drawing("digit", PICTURE)
    widget = pad.widget()
    assert np.array_equal(pad.read(widget), PICTURE)
    widget.value = "ff" * 16
    assert (pad.read(widget) == 255).all()
    assert pad.title == "Digit"


@pytest.mark.parametrize("junk", ["", "ff" * 15, "zz" * 16, "no picture"])
def test_what_is_no_picture_is_refused(junk):
    pad = Drawing("digit", PICTURE)
    widget = pad.widget()
    widget.value = junk
    with pytest.raises(CourseError, match="Digit is no picture of 4×4 pixels: press Clear"):
        pad.read(widget)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (PICTURE.astype("float32"), "not float32"),
        ([[1]], "not list"),
        (PICTURE[:3], "must be 4×4 pixels"),
    ],
)
def test_values_of_a_script_are_checked(value, said):
    with pytest.raises(CourseError, match=said):
        controls.values([Drawing("digit", PICTURE)], digit=value)


@pytest.mark.parametrize("default", [np.zeros((4, 5), np.uint8), np.zeros(4, np.uint8)])
def test_the_first_picture_is_square(default):
    with pytest.raises(CourseError, match="must be square"):
        Drawing("digit", default)


def test_the_page_gets_a_named_canvas_a_button_and_no_markup_from_labels():
    pad = Drawing("digit", PICTURE, label="<Draw>")
    html, carrier = pad.surround(pad.widget())
    assert 'aria-label="&lt;Draw&gt;: a pad to draw on. Arrows move the pen' in html.value
    assert "<Draw>" not in html.value and ">Clear</button>" in html.value
    assert f'data-value="{PICTURE.tobytes().hex()}"' in html.value
    assert "cp-carrier" in carrier._dom_classes


def test_an_explorer_draws_from_it():
    seen = []
    pad = Drawing("digit", PICTURE)
    explorer = Explorer(lambda digit: seen.append(digit.copy()) or digit, [pad], "Pad", "a pad")
    explorer.show()
    assert np.array_equal(seen[-1], PICTURE)
    if explorer.view is not None:
        explorer.view.controls["digit"].value = "80" * 16
        assert explorer.wait(10)
        assert (seen[-1] == 128).all()
