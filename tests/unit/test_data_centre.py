"""Moving a drawing to where MNIST's digits stand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import CourseError, data


@given(st.integers(0, 24), st.integers(0, 24))
def test_a_blob_goes_to_the_middle_whole(top, left):
    image = np.zeros((28, 28), np.uint8)
    image[top : top + 4, left : left + 4] = 200
    moved = data.centre(image)
    assert moved.dtype == np.uint8 and moved.sum() == image.sum()
    assert (moved[12:16, 12:16] == 200).all()


def test_ink_never_leaves_the_picture():
    image = np.zeros((9, 9), np.uint8)
    image[0, 0] = 255
    image[:, 8] = 1  # reaches both edges: there is no room to move down
    moved = data.centre(image)
    assert moved.sum() == image.sum() and moved[0].max() == 255
    assert moved[:, 0].argmax() == 0 and moved[0, 0] == 255


def test_an_empty_picture_stays_and_a_batch_is_refused():
    assert not data.centre(np.zeros((28, 28), np.uint8)).any()
    with pytest.raises(CourseError, match="one picture"):
        data.centre(np.zeros((2, 28, 28)))
