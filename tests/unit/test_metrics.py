"""Metrics against cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils import CourseError, metrics


def gaussian_log_weights(x, eps):
    """A model with a known evidence: z ~ N(0, 1), x | z ~ N(z, 1), and q(z | x) = N(x/2, 1)."""
    z = x[:, 0] / 2 + eps[..., 0]
    log_joint = -0.5 * z**2 - 0.5 * (x[:, 0] - z) ** 2 - np.log(2 * np.pi)
    return log_joint + 0.5 * eps[..., 0] ** 2 + 0.5 * np.log(2 * np.pi)


def test_importance_bounds_rise_to_the_known_evidence():
    x = np.linspace(-2, 2, 200, dtype=np.float32)[:, None]
    bounds = metrics.importance_bounds(gaussian_log_weights, x, 1, (1, 50, 5000))
    evidence = -0.25 * x[:, 0] ** 2 - 0.5 * np.log(4 * np.pi)  # x ~ N(0, 2)
    assert bounds[1].mean() < bounds[50].mean() < bounds[5000].mean()
    assert bounds[5000].mean() == pytest.approx(evidence.mean(), abs=1e-3)
    # L_1 is the ELBO: evidence − KL(N(x/2, 1) ‖ N(x/2, ½)) = evidence − (½ − ½ log 2)
    assert bounds[1].mean() == pytest.approx(evidence.mean() - 0.5 + 0.5 * np.log(2), abs=5e-3)


def test_bounds_keep_the_images_in_order_however_many_are_decoded_at_once():
    x = np.linspace(-1, 1, 7, dtype=np.float32)[:, None]

    def no_noise(images, eps):
        return np.repeat(images[None, :, 0], len(eps), axis=0)

    for at_once in (10, 30, 10**6):
        bounds = metrics.importance_bounds(no_noise, x, 1, (1, 10), draws_at_once=at_once)
        assert np.allclose(bounds[1], x[:, 0]) and np.allclose(bounds[10], x[:, 0])


def test_samples_that_do_not_divide_are_refused():
    with pytest.raises(CourseError, match="divide"):
        metrics.importance_bounds(gaussian_log_weights, np.zeros((2, 1), np.float32), 1, (3, 50))


@given(
    arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-5, 5)),
    st.floats(-1e4, 1e4),
)
def test_log_mean_exp_shifts_with_its_input(values, shift):
    plain = np.log(np.exp(values).mean(axis=0))
    assert np.allclose(metrics.log_mean_exp(values), plain)
    assert np.allclose(metrics.log_mean_exp(values + shift), plain + shift)


def test_kl_is_zero_at_the_prior_and_known_elsewhere():
    assert metrics.kl_per_unit(np.zeros((3, 2)), np.zeros((3, 2))) == pytest.approx([0, 0])
    kl = metrics.kl_per_unit(np.full((4, 1), 2.0), np.full((4, 1), np.log(0.25)))
    assert kl == pytest.approx([0.5 * (0.25 + 4 - 1 - np.log(0.25))])


def test_a_unit_is_active_when_its_mean_moves():
    mean = np.stack([np.linspace(-1, 1, 50), np.full(50, 0.7), np.linspace(0, 0.2, 50)], axis=1)
    assert metrics.active_units(mean).tolist() == [True, False, False]


def test_standard_error_is_that_of_the_mean():
    draws = np.random.default_rng(0).normal(3, 2, 400)
    estimate = metrics.mean_and_error(draws)
    assert estimate.error == pytest.approx(draws.std(ddof=1) / 20)
    assert str(metrics.mean_and_error(np.array([1.0, 3.0]))) == "2.00 ± 1.00"


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], [np.inf, 2.0]])
def test_no_estimate_without_finite_values(values):
    with pytest.raises(CourseError):
        metrics.mean_and_error(np.array(values))
