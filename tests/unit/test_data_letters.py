"""Letters drawn in matplotlib's typefaces: the same for a seed, even, and of faces kept apart."""

import numpy as np
import pytest

from utils import CourseError, data
from utils.data.letters import FACES


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_seed_decides_the_training_letters_and_not_the_test():
    one, again, other = data.letters(30, 20), data.letters(30, 20), data.letters(30, 20, seed=1)
    assert np.array_equal(one.x_train, again.x_train)
    assert not np.array_equal(one.x_train, other.x_train)
    assert np.array_equal(one.x_test, other.x_test)
    assert one.x_train.shape == (30, 28, 28) and one.x_train.dtype == np.uint8
    assert one.class_names == tuple("ABCDEFGHIJ") and one.source == "drawn"


def test_classes_are_even():
    drawn = data.letters(57, 40)
    counts = np.bincount(drawn.y_train, minlength=10)
    assert counts.max() - counts.min() <= 1 and (np.bincount(drawn.y_test) == 4).all()


def test_no_typeface_is_in_both_parts():
    assert not set(FACES["train"]) & set(FACES["test"])


@pytest.mark.parametrize("face", [*FACES["train"], *FACES["test"]])
def test_letters_are_whole_white_on_black_and_differ(face):
    drawn = data.draw_letters(np.arange(10).repeat(5), rng(), (face,))
    assert (drawn.max(axis=(1, 2)) > 200).all() and np.median(drawn) == 0
    border = np.concatenate([drawn[:, [0, -1]].ravel(), drawn[:, :, [0, -1]].ravel()])
    assert (border > 64).mean() < 0.01
    means = drawn.reshape(10, 5, -1).mean(axis=1)
    gaps = np.abs(means[:, None] - means).mean(axis=2)[~np.eye(10, dtype=bool)]
    assert gaps.min() > 3


def test_senseless_letters_are_refused(monkeypatch):
    with pytest.raises(CourseError, match="numbered 0 to 9"):
        data.draw_letters(np.array([10]), rng(), ("DejaVuSans",))
    with pytest.raises(CourseError, match="train must be a whole number"):
        data.letters(0)
    with pytest.raises(CourseError, match="rng must be a NumPy generator"):
        data.draw_letters(np.array([1]), 3, ("DejaVuSans",))
    with pytest.raises(CourseError, match="typeface NoSuchFace is missing"):
        data.draw_letters(np.array([1]), rng(), ("NoSuchFace",))
