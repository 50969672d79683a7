"""Data with modes that can be counted: the ring of Gaussians and stacked digits."""

import numpy as np
import pytest

from utils import CourseError, data


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_centres_stand_evenly_on_a_circle():
    centres = data.ring_centres(5, radius=3.0)
    assert centres.shape == (5, 2) and centres.dtype == np.float32
    assert np.allclose(np.linalg.norm(centres, axis=1), 3)
    gaps = np.linalg.norm(centres - np.roll(centres, 1, axis=0), axis=1)
    assert np.allclose(gaps, gaps[0]) and np.allclose(centres[0], [3, 0])


def test_points_lie_around_all_centres_alike():
    points = data.ring(8000, rng(), modes=8, radius=2.0, std=0.1)
    assert points.shape == (8000, 2) and points.dtype == np.float32
    apart = points[:, None] - data.ring_centres(8, 2.0)
    nearest = np.linalg.norm(apart, axis=2).argmin(axis=1)
    assert np.bincount(nearest).min() > 880
    assert apart[np.arange(8000), nearest].std(axis=0) == pytest.approx([0.1, 0.1], rel=0.05)


def test_the_generator_decides_the_points():
    assert np.array_equal(data.ring(9, rng(1)), data.ring(9, rng(1)))
    assert not np.array_equal(data.ring(9, rng(1)), data.ring(9, rng(2)))
    one = rng(1)
    assert not np.array_equal(data.ring(9, one), data.ring(9, one))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": 0}, "n must be a whole number of at least 1"),
        ({"modes": 2.5}, "modes must be a whole number"),
        ({"radius": 0.0}, "radius must be above 0"),
        ({"std": -1.0}, "standard deviation must be 0 or more"),
        ({"rng": 3}, "rng must be a NumPy generator"),
    ],
)
def test_a_senseless_ring_is_refused(changes, said):
    with pytest.raises(CourseError, match=said):
        data.ring(**{"n": 10, "rng": rng(), **changes})


def digits():
    """Ten plain digits: the picture of d is grey level 10 d + 1."""
    labels = np.arange(10)
    return np.tile((10 * labels + 1).astype(np.uint8)[:, None, None], (1, 28, 28)), labels


def test_three_digits_stand_in_the_channels_and_in_the_label():
    images, labels = data.stacked(*digits(), n=500, seed=3)
    assert images.shape == (500, 28, 28, 3) and images.dtype == np.uint8
    assert labels.dtype == np.int64
    read = (images[:, 5, 7].astype(int) - 1) // 10  # N×3
    assert np.array_equal(read @ [100, 10, 1], labels)
    assert 300 < len(np.unique(labels)) < 450  # 394 on average: channels are independent


def test_the_seed_decides_the_stack():
    one, again, other = (data.stacked(*digits(), n=20, seed=s).labels for s in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x / 255, y), "uint8 digits"),
        (lambda x, y: (x[..., None], y), "uint8 digits"),
        (lambda x, y: (x, y[:5]), "one whole-number label for each of the 10"),
        (lambda x, y: (x, y + 1), "labelled 0 to 9"),
    ],
)
def test_what_cannot_be_stacked_is_refused(change, said):
    with pytest.raises(CourseError, match=said):
        data.stacked(*change(*digits()), n=5)
