"""MS-SSIM against an implementation of its own, written window by window."""

import numpy as np
import pytest
from scipy import signal

from utils import CourseError, data, metrics


def pictures(n=6, side=28, seed=0):
    return np.random.default_rng(seed).random((n, side, side)).astype("float32")


def by_windows(a, b):
    """The same, for one pair, with loops over windows and numpy's weighted covariance."""
    gauss = signal.windows.gaussian(7, 1.5)
    weights = np.outer(gauss, gauss).ravel() / gauss.sum() ** 2
    exponents = np.array([0.0448, 0.2856, 0.3001])
    result = 1.0
    for scale, exponent in enumerate(exponents / exponents.sum()):
        if scale:
            a = signal.convolve2d(a, np.full((2, 2), 0.25), "valid")[::2, ::2]
            b = signal.convolve2d(b, np.full((2, 2), 0.25), "valid")[::2, ::2]
        values = []
        for row in range(a.shape[0] - 6):
            for column in range(a.shape[1] - 6):
                x = a[row : row + 7, column : column + 7].ravel().astype(float)
                y = b[row : row + 7, column : column + 7].ravel().astype(float)
                spread = np.cov(x, y, aweights=weights, ddof=0)
                value = (2 * spread[0, 1] + 0.0009) / (spread[0, 0] + spread[1, 1] + 0.0009)
                if scale == 2:
                    m, n = weights @ x, weights @ y
                    value *= (2 * m * n + 0.0001) / (m**2 + n**2 + 0.0001)
                values.append(value)
        result *= max(np.mean(values), 0) ** exponent
    return result


def test_it_agrees_with_one_written_window_by_window():
    digits = data.mnist("embedded").x_test[:4].astype("float32") / 255
    blurred = digits + 0.1 * pictures(4, seed=1)
    for a, b in (
        (digits[:2], digits[2:]),
        (digits, blurred.clip(0, 1)),
        (pictures(), 0.5 + 0 * pictures()),
    ):
        expected = [by_windows(x, y) for x, y in zip(a, b, strict=True)]
        assert metrics.ms_ssim(a, b) == pytest.approx(expected, abs=1e-6)


def test_only_equal_pictures_score_one():
    a = pictures()
    assert metrics.ms_ssim(a, a) == pytest.approx(1)
    assert (metrics.ms_ssim(a, 1 - a) < 0.01).all()  # opposite structures count as none
    assert metrics.ms_ssim(a, a[::-1]) == pytest.approx(metrics.ms_ssim(a[::-1], a))


def test_a_class_that_repeats_itself_scores_higher():
    digits = data.mnist("embedded")
    images, labels = digits.x_test.astype("float32") / 255, digits.y_test
    real = metrics.class_similarity(images, labels)
    assert real.shape == (10,) and (real < 0.8).all()
    same = np.stack([images[labels == digit][0] for digit in range(10)])
    again = np.arange(10).repeat(5)
    assert metrics.class_similarity(same[again], again) == pytest.approx(1)


def test_pairs_are_of_one_class_and_of_two_pictures():
    # two classes, each of two pictures: every pair is the two of one class
    images = pictures(4, seed=2)
    expected = metrics.ms_ssim(images[[0, 1]], images[[2, 3]])
    found = metrics.class_similarity(images, np.array([0, 1, 0, 1]), pairs=7)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (pictures(2), pictures(3), "equal shapes"),
        (pictures(2, side=26), pictures(2, side=26), "27 pixels"),
        (pictures(2).astype(np.uint8), pictures(2).astype(np.uint8), "floats 0…1"),
        (pictures(2)[0], pictures(2)[0], "floats 0…1"),
    ],
)
def test_other_pictures_are_named(a, b, said):
    with pytest.raises(CourseError, match=said):
        metrics.ms_ssim(a, b)


def test_a_class_of_one_is_named():
    with pytest.raises(CourseError, match="Class 1 has one picture"):
        metrics.class_similarity(pictures(3), np.array([0, 0, 1]))
