"""Boxes in figures: a colour and a name for each, and nothing drawn that does not fit together."""

import numpy as np
import pytest

from utils import CourseError, boxes, plots
from utils.boxes import Found

IMAGE = np.full((40, 60, 3), 90, np.uint8)
NAMES = ("RBC", "WBC")


def drawn(fig):
    """The words and the outlines of every picture in a figure."""
    texts = [[text.get_text() for text in ax.texts] for ax in fig.axes]
    outlines = [[patch.get_linestyle() for patch in ax.patches] for ax in fig.axes]
    return texts, outlines


def test_every_box_has_its_name_and_crowds_are_dashed():
    truth = boxes.truth([[5, 5, 20, 20], [30, 10, 50, 30]], [0, 1], [False, True])
    said = Found(np.float32([[1, 1, 9, 9]]), np.float32([0.5]), np.array([1]))
    fig = plots.detections(np.stack([IMAGE] * 3), [truth, said, boxes.truth()], NAMES, columns=2)
    texts, outlines = drawn(fig)
    assert texts == [["RBC", "WBC (crowd)"], ["WBC 0.50"], [], []]
    assert outlines[0] == ["-", "-", "--", "--"]
    assert plots.figure_png(fig).startswith(b"\x89PNG")


def test_colours_are_ten_and_stay():
    assert len({plots.class_colour(label) for label in range(10)}) == 10
    assert plots.class_colour(0) == plots.class_colour(10)


def test_boxes_that_do_not_fit_are_refused():
    _, ax = plots.figure()
    for box, labels, scores, words in (
        ([[0, 0, 5, 5]], [0, 1], None, "as many labels"),
        ([[0, 0, 5, 5]], [0], [0.5, 0.4], "as many labels and scores"),
        ([[0, 0, 5, 5]], [2], None, "Label 2 has no name"),
    ):
        with pytest.raises(CourseError, match=words):
            plots.boxes(ax, IMAGE, box, np.array(labels), NAMES, scores)
    with pytest.raises(CourseError, match="1 pictures need"):
        plots.detections(IMAGE[None], [], NAMES)
