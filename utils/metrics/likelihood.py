"""Bounds on log p(x), the price of a code, and the uncertainty of a mean."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from utils import CourseError


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` independent cases and its standard error, in the unit of the cases."""

    value: float
    error: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"


def mean_and_error(values: np.ndarray) -> Estimate:
    """The mean of `values` ``(N,)`` and the standard error of that mean, s/√N.

    Raises
    ------
    CourseError
        If there are fewer than two values, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    if len(values) < 2:
        raise CourseError("An uncertainty needs at least two values: measure on more images.")
    if not np.isfinite(values).all():
        raise CourseError("A measured value is NaN or infinite: the model has diverged.")
    return Estimate(
        float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), len(values)
    )


def log_mean_exp(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """The logarithm of the mean of exp(`values`) along `axis`, without overflow."""
    values = np.asarray(values, dtype=np.float64)
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).mean(axis=axis)) + np.squeeze(top, axis)


def importance_bounds(
    log_weights: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    latents: int,
    samples: tuple[int, ...] = (1, 50, 5000),
    seed: int = 0,
    draws_at_once: int = 5000,
) -> dict[int, np.ndarray]:
    """The importance-weighted lower bounds L_k on log p(x) of Burda et al. (2016), eq. 8.

    One set of max(k) draws serves every k: it is cut into groups of k, and the groups'
    bounds are averaged. L_1 is the ELBO, and L_k grows towards log p(x) with k.

    Parameters
    ----------
    log_weights
        Maps ``x (B, D)`` and standard normal noise ``(K, B, latents)`` to
        log p(x, z) − log q(z | x) ``(K, B)``, in nats.
    x
        Images ``(N, D)``, float32.
    latents
        Dimensions of z.
    samples
        The values of k; each must divide the largest.
    draws_at_once
        How many z are decoded at a time: what bounds the memory.

    Returns
    -------
    dict
        For each k an array ``(N,)`` of bounds in nats, one per image.
    """
    largest = max(samples)
    if any(k < 1 or largest % k for k in samples):
        raise CourseError(
            f"Each k in {samples} must be at least 1 and divide the largest, {largest}."
        )
    if largest > draws_at_once:
        draws_at_once = largest
    rng = np.random.default_rng(seed)
    at_once = max(1, draws_at_once // largest)
    bounds = {k: [] for k in samples}
    for start in range(0, len(x), at_once):
        batch = x[start : start + at_once]
        noise = rng.standard_normal((largest, len(batch), latents), dtype=np.float32)
        log_w = np.asarray(log_weights(batch, noise), dtype=np.float64)
        for k in samples:
            groups = log_w.reshape(largest // k, k, len(batch))
            bounds[k].append(log_mean_exp(groups, axis=1).mean(axis=0))
    return {k: np.concatenate(parts) for k, parts in bounds.items()}


def kl_per_unit(mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """KL(N(mean, exp(log_var)) ‖ N(0, 1)) of each latent unit, averaged over images.

    Kingma and Welling (2014), appendix B.

    Parameters
    ----------
    mean, log_var
        ``(N, latents)``.

    Returns
    -------
    numpy.ndarray
        ``(latents,)``, nats.
    """
    mean, log_var = np.asarray(mean, np.float64), np.asarray(log_var, np.float64)
    return 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).mean(axis=0)


def active_units(mean: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Which latent units carry information: Var_x(E_q[u]) > 0.01 (Burda et al. 2016, §5.2).

    Parameters
    ----------
    mean
        Posterior means ``(N, latents)``.

    Returns
    -------
    numpy.ndarray
        ``(latents,)`` bool.
    """
    return np.asarray(mean, np.float64).var(axis=0) > threshold
