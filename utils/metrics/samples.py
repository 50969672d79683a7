"""How good a set of generated samples is: distances, fidelity and diversity, and Parzen windows.

All but `parzen` compare *features*, such as the 64 of `utils.judge`. A number is comparable only
with one from the same features and as many samples, and it means little without the **floor**
beside it: what real images score that the generator has not seen (`frechet_floor`; for the others,
call the metric with training and test features). Draw the real images at random: the two halves of
MNIST's test set come from different groups of writers, and their Fréchet distance is 28.6 by the
judge's features, where 5,000 random test images are 2.3 from 5,000 random training images.

==================  ======  =======  =========================================================
metric              better  at best  what it is blind to
==================  ======  =======  =========================================================
`frechet_distance`  lower   0        all but mean and covariance; too large for few samples
`kernel_distance`   lower   0        little, but it is noisy; right on average for few samples
precision           higher  below 1  modes that are missing; what an outlier's ball lets in
density             higher  1        modes that are missing
recall              higher  below 1  bad samples, as long as there are good ones too
coverage            higher  below 1  the same; it is best at `expected_coverage`
`parzen`            higher  –        most of what matters: see the warning there
==================  ======  =======  =========================================================

"At best" is what samples from the data's own distribution tend to, given enough of them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from utils import CourseError

BLOCK = 2_000_000  # distances held at a time: 16 MB
SIGMAS = tuple(np.logspace(-1, 0, 10))  # for pixels 0…1; those of Goodfellow et al.'s script


class PrecisionRecall(NamedTuple):
    """How many fakes are within the real data, and how many real data within the fakes; 0…1."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """How densely fakes lie among the data (about 1 is right), and how many data have one; 0…1."""

    density: float
    coverage: float


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance between Gaussians fitted to two sets: of Inception features, the FID.

    d² = ‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½), Heusel et al. (2017), eq. 6, with sample
    covariances (N − 1 in the denominator) in double precision. It is a squared distance, in the
    features' unit squared.

    A finite sample makes it too large, and fewer samples make it larger: compare only numbers from
    equally many. Between equal Gaussians it falls about as 1/N.

    Parameters
    ----------
    a, b
        Features ``(N, D)`` and ``(M, D)``; N, M > D.

    Raises
    ------
    CourseError
        If a covariance could not have full rank because N ≤ D, or the features are no such arrays.
    """
    a, b = pair(a, b)
    for features in (a, b):
        n, d = features.shape
        if n <= d:
            raise CourseError(
                f"A covariance of {d} features needs more than {d} samples, and there are {n}: "
                "draw more (ten times as many is little), or use `kernel_distance`."
            )
    difference = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    # Σ_a Σ_b has the eigenvalues of Σ_a^½ Σ_b Σ_a^½, whose roots are the singular values of
    # Σ_a^½ Σ_b^½: all real, so nothing imaginary needs to be thrown away as sqrtm's result does.
    roots = np.linalg.svd(_root(cov_a) @ _root(cov_b), compute_uv=False)
    squared = difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum()
    return max(0.0, float(squared))  # rounding may leave −1e-15


def frechet_floor(
    train: np.ndarray, test: np.ndarray, count: int | None = None, seed: int = 0
) -> float:
    """The Fréchet distance between real and real: the floor under every generator's.

    Parameters
    ----------
    train, test
        Features of training images ``(N, D)`` and of test images ``(M, D)``.
    count
        How many of each to draw at random: as many as the generator's samples that the floor is
        shown beside. Without it, as many as the smaller set has.

    Raises
    ------
    CourseError
        If there are not so many, or `frechet_distance` cannot be had from them.
    """
    train, test = pair(train, test)
    most = min(len(train), len(test))
    count = most if count is None else count
    if not 0 < count <= most:
        raise CourseError(f"There are {most} images on one side: draw 1 to {most}, not {count}.")
    rng = np.random.default_rng(seed)
    drawn = [x[rng.choice(len(x), count, replace=False)] for x in (train, test)]
    return frechet_distance(*drawn)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance, of full rank or not."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The kernel distance (of Inception features, the KID): right on average however few samples.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel
    k(x, y) = (x·y / D + 1)³, Bińkowski et al. (2018), over all pairs at once. It may come out a
    little below zero where the sets are alike: that is what unbiased means.

    Parameters
    ----------
    a, b
        Features ``(N, D)`` and ``(M, D)``; N, M ≥ 2.
    """
    a, b = pair(a, b)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise CourseError("The kernel distance needs at least two samples on each side.")
    return float(_kernel_within(a) + _kernel_within(b) - 2 * _kernel_sum(a, b) / (n * m))


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    return sum(float(((part @ b.T / a.shape[1] + 1) ** 3).sum()) for part in _blocks(a, len(b)))


def _kernel_within(a: np.ndarray) -> float:
    """The mean kernel between two different points of one set."""
    with_themselves = (((a * a).mean(axis=1) + 1) ** 3).sum()
    return (_kernel_sum(a, a) - with_themselves) / (len(a) * (len(a) - 1))


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall of Kynkäänniemi et al. (2019).

    Around each point of a set lies a ball that reaches its k-th nearest neighbour in the set; the
    union of the balls stands for the support of the distribution. Precision is the share of fakes
    in the real support, recall the share of real points in the fakes' support. Balls include their
    surface, as in the paper.

    One outlier with its huge ball can raise either; `density_coverage` is less easily fooled.

    Parameters
    ----------
    real, fake
        Features ``(N, D)`` and ``(M, D)``; N, M > k.
    k
        3 in the paper. Both numbers depend on N and M: compare only equally many, as there.
    """
    real, fake = pair(real, fake)
    return PrecisionRecall(
        float((_balls_around(fake, real, k) > 0).mean()),
        float((_balls_around(real, fake, k) > 0).mean()),
    )


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = 5) -> DensityCoverage:
    """Density and coverage of Naeem et al. (2020).

    The balls are only around real points and reach their k-th nearest real neighbour. Density is
    the mean number of balls that a fake lies in, over k: it may exceed 1, where fakes crowd
    together in the densest places. Coverage is the share of balls with a fake inside. Of equal
    distributions the expected density is 1, the expected coverage that of `expected_coverage`.

    Parameters
    ----------
    real, fake
        Features ``(N, D)`` and ``(M, D)``; N > k.
    k
        5 in the paper.
    """
    from sklearn.neighbors import NearestNeighbors

    real, fake = pair(real, fake)
    density = _balls_around(fake, real, k).mean() / k
    nearest, _ = NearestNeighbors(n_neighbors=1).fit(fake).kneighbors(real)
    return DensityCoverage(float(density), float((nearest[:, 0] <= _radii(real, k)).mean()))


def expected_coverage(real: int, fake: int, k: int = 5) -> float:
    """The coverage to expect of `fake` samples from the data's own distribution, of `real` points.

    1 − (N−1)…(N−k) / ((N+M−1)…(N+M−k)), Naeem et al. (2020), lemma 2: a ball stays empty if its
    centre's k nearest neighbours, of N − 1 real points and M fakes, are all real. For many points
    and N = M it is 1 − 2⁻ᵏ: 0.969 for k = 5.
    """
    steps = range(1, k + 1)
    return 1 - math.prod((real - i) / (real + fake - i) for i in steps)


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """The distance from each of the points ``(N, D)`` to its k-th nearest neighbour: ``(N,)``."""
    from sklearn.neighbors import NearestNeighbors

    if not 1 <= k < len(points):
        raise CourseError(
            f"A k-th nearest neighbour needs 1 ≤ k < {len(points)}, the number of points, not "
            f"k = {k}."
        )
    distances, _ = NearestNeighbors(n_neighbors=k).fit(points).kneighbors()  # without itself
    return distances[:, -1] * (1 + 1e-9)  # rounding must not push a point off the surface


def _balls_around(points: np.ndarray, centres: np.ndarray, k: int) -> np.ndarray:
    """In how many of the centres' balls (to their k-th neighbour) each point lies: ``(N,)``."""
    from scipy.spatial.distance import cdist

    radii = _radii(centres, k)
    return np.concatenate(
        [(cdist(part, centres) <= radii).sum(axis=1) for part in _blocks(points, len(centres))]
    )


def parzen(samples: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """Log-likelihood of `x` under Gaussian Parzen windows around generated samples, in nats.

    log p(x) = log (1/S) Σ_s N(x; s, σ²·1): the protocol of Breuleux et al. (2011), by which
    Goodfellow et al. (2014) and Makhzani et al. (2016) report MNIST: 10,000 samples, grey levels
    0…1, σ from `parzen_sigma` on validation images, then mean and standard error over the 10,000
    test images (`mean_and_error`).

    **Warning.** It is here to compare with those papers, and says little about anything else. Theis
    et al. (2016) show that even of 36 pixels very many samples leave it far from the true
    log-likelihood, that it is largely independent of that and of the look of samples, and that
    k-means centres score higher than the training images they were made from. They advise against
    it. Indeed 10,000 of
    MNIST's own training images reach 242.8 ± 2.1 nats here (σ = 0.167, drawn with seed 0): less
    than the 340 ± 2 that Makhzani et al. report for a generator. More is not better.

    Parameters
    ----------
    samples
        Generated images ``(S, D)`` (or ``(S, 28, 28)``), floats 0…1.
    x
        Images to judge, ``(N, D)`` likewise.
    sigma
        The width of the windows, in the unit of a pixel.

    Returns
    -------
    numpy.ndarray
        ``(N,)`` float64, in nats for a whole image.
    """
    return _parzen(samples, x, (sigma,))[0]


def parzen_sigma(
    samples: np.ndarray, x_validation: np.ndarray, sigmas: Sequence[float] = SIGMAS
) -> float:
    """The one of `sigmas` under which validation images are most likely on average (`parzen`).

    Goodfellow et al.'s script tries ten from 0.1 to 1 on 1,000 images. If the best is the first or
    the last of yours, widen the range. Validation images are neither test images nor any that the
    generator was trained on.

    Parameters
    ----------
    samples, x_validation
        As `samples` and `x` of `parzen`.
    sigmas
        The widths to try, in the unit of a pixel.
    """
    means = _parzen(samples, x_validation, sigmas).mean(axis=1)
    return float(tuple(sigmas)[int(means.argmax())])


def _parzen(samples: np.ndarray, x: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Log-likelihoods ``(sigmas, N)``; the distances, which cost most, are computed once."""
    if not len(sigmas) or not all(0 < sigma < math.inf for sigma in sigmas):
        raise CourseError(f"σ must be a positive number, not {sigmas}: pixels 0…1 want about 0.2.")
    x, samples = pair(x, samples)
    count, d = samples.shape
    lengths = (samples**2).sum(axis=1)
    found = []
    for part in _blocks(x, count):
        squared = part @ samples.T  # ‖x − s‖² = ‖x‖² − 2 x·s + ‖s‖²
        squared *= -2
        squared += lengths
        squared += (part**2).sum(axis=1, keepdims=True)
        least = np.maximum(squared.min(axis=1, keepdims=True), 0)
        squared -= least
        found.append([_log_mean(squared, least, sigma) for sigma in sigmas])
    constants = [d * math.log(sigma * math.sqrt(2 * math.pi)) for sigma in sigmas]
    return np.concatenate(found, axis=1) - np.array(constants)[:, None]


def _log_mean(excess: np.ndarray, least: np.ndarray, sigma: float) -> np.ndarray:
    scaled = excess / (-2 * sigma**2)
    np.exp(scaled, out=scaled)
    return np.log(scaled.mean(axis=1)) - least[:, 0] / (2 * sigma**2)


def _blocks(a: np.ndarray, columns: int) -> Iterator[np.ndarray]:
    """Rows of `a`, so many at a time that each block times `columns` stays small."""
    size = max(1, BLOCK // columns)
    return (a[start : start + size] for start in range(0, len(a), size))


def pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as finite float64 ``(N, D)``; images are flattened.

    Raises
    ------
    CourseError
        If they are not, or differ in D.
    """
    both = []
    for given in (a, b):
        rows = np.asarray(given)
        if rows.ndim < 2 or not rows.size:
            raise CourseError(
                f"Expected a set of points (N, D), not an array of shape {rows.shape}: one row for "
                "each sample."
            )
        if rows.dtype.kind != "f":
            raise CourseError(
                f"Expected floats, not {rows.dtype}: divide grey levels by 255, convert others "
                "with `.astype(np.float32)`."
            )
        rows = rows.reshape(len(rows), -1).astype(np.float64)
        if not np.isfinite(rows).all():
            raise CourseError("Some values are NaN or infinite: the generator has diverged.")
        both.append(rows)
    if both[0].shape[1] != both[1].shape[1]:
        raise CourseError(
            f"The two sets have {both[0].shape[1]} and {both[1].shape[1]} columns: compare "
            "features with features of the same kind."
        )
    return both[0], both[1]
