"""Counting modes: on a ring, and of stacked digits."""

import math

import numpy as np
import pytest

from utils import CourseError, data, metrics


def test_real_points_show_every_mode_and_the_share_that_three_deviations_allow():
    points = data.ring(20_000, np.random.default_rng(0))
    found = metrics.ring_modes(points, data.ring_centres(), 0.02)
    assert found.modes == 8 and found.quality == pytest.approx(1 - math.exp(-4.5), abs=0.003)


def test_a_mode_counts_by_one_good_sample_and_a_bad_sample_counts_for_none():
    centres = data.ring_centres(8, 2.0)
    samples = np.vstack([centres[[0, 0, 3]] + 0.02, centres[5] * 0.9, [[0.0, 0.0]]])
    assert metrics.ring_modes(samples, centres, 0.02) == (2, 3 / 5)
    assert metrics.ring_modes(samples, centres, 0.07) == (3, 4 / 5)  # 0.2 is within 3 × 0.07


def test_the_edge_of_a_mode_belongs_to_it():
    found = metrics.ring_modes(np.array([[3.0, 0.0]]), np.zeros((1, 2)), 1.0)
    assert found == (1, 1.0)
    assert metrics.ring_modes(np.array([[3.001, 0.0]]), np.zeros((1, 2)), 1.0) == (0, 0.0)


def test_points_that_are_none_are_refused():
    centres = data.ring_centres()
    with pytest.raises(CourseError, match="diverged"):
        metrics.ring_modes(np.full((3, 2), np.nan), centres, 0.1)
    with pytest.raises(CourseError, match="columns"):
        metrics.ring_modes(np.zeros((3, 3)), centres, 0.1)
    with pytest.raises(CourseError, match="above 0"):
        metrics.ring_modes(np.zeros((3, 2)), centres, 0.0)


def test_modes_and_divergence_of_known_frequencies():
    assert metrics.modes_of(np.arange(1000)) == (1000, 0.0)
    found = metrics.modes_of(np.array([7, 7, 7, 7]))
    assert found.modes == 1 and found.kl == pytest.approx(math.log(1000))
    labels = np.array([0, 0, 0, 1])
    shares = np.array([0.5, 0.5, 0.0])
    found = metrics.modes_of(labels, 3, shares)
    assert found.modes == 2
    assert found.kl == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        ([1000], {}, "run from 0 to 999, not to 1000"),
        ([-1], {}, "run from 0"),
        ([], {}, "class numbers"),
        ([0.5], {}, "class numbers"),
        ([[1]], {}, "class numbers"),
        ([2], {"classes": 3, "shares": [0.5, 0.5, 0.0]}, "would be infinite"),
        ([0], {"classes": 2, "shares": [0.5, 0.6]}, "add up to 1"),
    ],
)
def test_senseless_labels_are_refused(labels, options, said):
    with pytest.raises(CourseError, match=said):
        metrics.modes_of(np.array(labels), **options)


def test_the_judge_reads_stacked_digits():
    digits = data.mnist("embedded")
    made = data.stacked(digits.x_test, digits.y_test, n=200, seed=1)
    read = metrics.stacked_labels(made.images)
    for place in (100, 10, 1):  # each channel on its own; enlarged digits are harder than MNIST's
        assert (read // place % 10 == made.labels // place % 10).mean() > 0.85
    as_floats = metrics.stacked_labels(made.images.astype(np.float32) / 255)
    assert np.array_equal(read, as_floats)
    assert metrics.stacked_modes(made.images) == metrics.modes_of(read)
    one = metrics.stacked_modes(np.repeat(made.images[:1], 50, axis=0))
    assert one.modes == 1 and one.kl == pytest.approx(math.log(1000))
    with pytest.raises(CourseError, match=r"\(N, 28, 28, 3\), not \(200, 28, 28\)"):
        metrics.stacked_labels(made.images[..., 0])


def test_how_many_modes_to_expect():
    drawn = [len(np.unique(np.random.default_rng(s).integers(1000, size=2600))) for s in range(50)]
    assert metrics.expected_modes(2600) == pytest.approx(np.mean(drawn), abs=3)
    assert metrics.expected_modes(26_000) == pytest.approx(1000)
    assert metrics.expected_modes(0) == 0 and metrics.expected_modes(1) == pytest.approx(1)
