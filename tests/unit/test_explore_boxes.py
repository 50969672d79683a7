"""The explorers of boxes: what they draw, and the pad that carries boxes from the page."""

import numpy as np
import pytest

from utils import CourseError, boxes, controls, explore_boxes
from utils.box_pad import BoxPad
from utils.boxes import Found

IMAGE = np.full((48, 64, 3), 120, np.uint8)
NAMES = ("cat", "dog")
START = np.float32([[4, 4, 20, 20], [30, 10, 50, 40]])
FOUND = Found(
    np.float32([[4, 4, 20, 20], [5, 5, 21, 21], [4, 4, 20, 20], [30, 10, 50, 40]]),
    np.float32([0.9, 0.8, 0.7, 0.04]),
    np.array([0, 0, 1, 1]),
)


def words(explorer, **changes):
    """Every word in the figure that an explorer draws."""
    settings = controls.values(explorer._controls, **changes)
    fig = explorer._draw(**settings)
    return " | ".join(
        text for ax in fig.axes for text in [ax.get_title(), *(t.get_text() for t in ax.texts)]
    )


def test_iou_is_that_of_the_boxes():
    explorer = explore_boxes.iou_explorer(IMAGE)
    same = np.float32([[0, 0, 10, 10], [0, 0, 10, 10]])
    assert "IoU = 1.00" in words(explorer, boxes=same)
    half = np.float32([[0, 0, 10, 10], [0, 0, 10, 5]])
    said = words(explorer, boxes=half)
    assert "IoU = 0.50" in said and "A ∩ B = 50 pixels" in said and "a hit" in said
    apart = np.float32([[0, 0, 10, 10], [30, 30, 40, 40]])
    said = words(explorer, boxes=apart)
    assert "IoU = 0.00" in said and "GIoU = -0.88" in said


def test_nms_keeps_what_the_sliders_say():
    explorer = explore_boxes.nms_explorer(IMAGE, FOUND, NAMES)
    assert "3 boxes of score ≥ 0.05" in words(explorer)
    assert "2 kept, 1 suppressed" in words(explorer)
    assert "1 kept, 2 suppressed" in words(explorer, by_class=False)
    assert "4 kept, 0 suppressed" in words(explorer, threshold=1.0, score=0.0)
    assert "0 kept, 0 suppressed" in words(explorer, score=1.0)


def test_matches_are_counted_for_each_box():
    truth = boxes.truth(START, [0, 1])
    explorer = explore_boxes.matches_explorer(IMAGE, truth, sizes=(16, 28), stride=8)
    assert "96 anchors" in words(explorer) and "box 1: " in words(explorer)
    none = words(explorer, high=0.9, low=0.9, scale=0.4, best=False)
    assert ": 0 matched" in none
    kept = words(explorer, high=0.9, low=0.9, scale=0.4)
    assert ": 2 matched" in kept and "box 1: 1, box 2: 1" in kept
    assert "ignored" in words(explorer, low=0.9)  # a low above the high one is taken for it


@pytest.mark.parametrize("make", ["iou", "nms", "matches"])
def test_without_a_front_end_there_is_a_picture(make, capsys, monkeypatch):
    monkeypatch.setenv("COURSE_HEADLESS", "1")
    explorer = {
        "iou": lambda: explore_boxes.iou_explorer(),
        "nms": lambda: explore_boxes.nms_explorer(IMAGE, FOUND, NAMES),
        "matches": lambda: explore_boxes.matches_explorer(IMAGE, boxes.truth(START, [0, 1])),
    }[make]()
    explorer.show()
    assert explorer.png.startswith(b"\x89PNG") and "Figure: " in capsys.readouterr().out


def test_nothing_to_show_is_said():
    nothing = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int))
    with pytest.raises(CourseError, match="no box to suppress"):
        explore_boxes.nms_explorer(IMAGE, nothing, NAMES)
    with pytest.raises(CourseError, match="no box to match"):
        explore_boxes.matches_explorer(IMAGE, boxes.truth())


def test_the_pad_carries_boxes_both_ways():
    pad = BoxPad("boxes", START, 48, 64)
    widget = pad.widget()
    np.testing.assert_array_equal(pad.read(widget), START)
    widget.value = "1.0 2.0 3.5 4.0; 0 0 64 48"
    np.testing.assert_array_equal(pad.read(widget), [[1, 2, 3.5, 4], [0, 0, 64, 48]])
    assert pad.read(widget).dtype == np.float32


@pytest.mark.parametrize(
    ("junk", "said"),
    [
        ("", "must be 2 boxes"),
        ("1 2 3 4", "must be 2 boxes"),
        ("1 2 3 4; 1 2 3", "must be 2 boxes"),
        ("a b c d; e f g h", "must be 2 boxes"),
        ("1 2 3 4; 5 5 5 9", "needs right above left"),
        ("1 2 3 4; nan 2 3 4", "needs right above left"),
        ("1 2 3 4; 1 2 3 400", "reaches out of the picture"),
    ],
)
def test_what_is_no_boxes_is_refused(junk, said):
    pad = BoxPad("boxes", START, 48, 64)
    widget = pad.widget()
    widget.value = junk
    with pytest.raises(CourseError, match=f"{said}.*Press Reset"):
        pad.read(widget)


def test_the_first_boxes_and_the_picture_are_checked():
    for change, said in (
        ({"default": np.zeros((0, 4))}, "at least one"),
        ({"default": START + 40}, "reaches out"),
        ({"image": IMAGE[:5]}, "must be 48×64"),
        ({"names": ["A"]}, "as many names"),
    ):
        with pytest.raises(CourseError, match=said):
            BoxPad(**{"name": "boxes", "default": START, "height": 48, "width": 64, **change})


def test_the_page_gets_a_named_canvas_and_no_markup_from_labels():
    pad = BoxPad("boxes", START, 48, 64, IMAGE, names=["<b>", '"'], label="<Drag>")
    html, carrier = pad.surround(pad.widget())
    assert 'aria-label="&lt;Drag&gt;: boxes to drag. Arrows move a box' in html.value
    assert "<Drag>" not in html.value and "<b>" not in html.value
    assert ">Reset</button>" in html.value and "cp-carrier" in carrier._dom_classes
    assert "iVBORw0KGgo" in html.value  # the picture, as PNG
