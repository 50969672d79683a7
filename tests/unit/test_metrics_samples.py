"""Metrics of samples against closed forms, naive loops and what must not change them."""

import math
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from utils import CourseError, metrics
from utils.metrics import samples

SETS = ["frechet_distance", "kernel_distance", "precision_recall", "density_coverage"]


def gaussian(n, d, seed=0, shift=0.0, spread=1.0):
    rng = np.random.default_rng(seed)
    return (shift + spread * rng.standard_normal((n, d))).astype(np.float32)


def exact_gaussian(n, mean, covariance, seed=0):
    """A sample whose mean and sample covariance are exactly these."""
    white = np.random.default_rng(seed).standard_normal((n, len(mean)))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def rotation(d, seed=0):
    return scipy.stats.ortho_group.rvs(d, random_state=seed)


# Fréchet distance


def test_the_frechet_distance_of_known_gaussians():
    # Commuting covariances: Σ (√λ_a − √λ_b)² beside the distance of the means
    a = exact_gaussian(50, np.array([1.0, 0.0, -2.0]), np.diag([1.0, 4.0, 9.0]))
    b = exact_gaussian(70, np.array([0.0, 2.0, -2.0]), np.diag([4.0, 4.0, 25.0]), seed=1)
    assert metrics.frechet_distance(a, b) == pytest.approx(1 + 4 + (1 + 0 + 4))


def test_the_frechet_distance_of_covariances_that_do_not_commute():
    one, other = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    a, b = exact_gaussian(50, np.zeros(2), one), exact_gaussian(50, np.zeros(2), other, 1)
    # For 2×2: the trace of the root is √(tr + 2√det), and of Σ_a Σ_b both are plain
    product = one @ other
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    assert metrics.frechet_distance(a, b) == pytest.approx(5 + 6 - 2 * root)


@given(seed=st.integers(0, 1000), d=st.integers(1, 6))
def test_the_frechet_distance_equals_the_textbook_formula(seed, d):
    mixer = np.random.default_rng(seed).standard_normal((d, d))
    a, b = gaussian(40, d, seed) @ mixer, gaussian(30, d, seed + 1, 0.5, 2)
    cov_a, cov_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0, dtype=np.float64)) ** 2).sum()
    expected += np.trace(cov_a + cov_b - 2 * root)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_feature_that_never_changes_does_no_harm():
    a, b = gaussian(100, 5), gaussian(100, 5, 1)
    dead = np.zeros((100, 2), np.float32)
    with_dead = metrics.frechet_distance(np.hstack([a, dead]), np.hstack([b, dead]))
    assert with_dead == pytest.approx(metrics.frechet_distance(a, b))


def test_features_that_depend_on_each_other_do_no_harm():
    # Turned by 45°, a feature told twice is one of √2 its size and one that is always 0
    a, b = gaussian(100, 5), gaussian(100, 5, 1)
    twice = metrics.frechet_distance(np.hstack([a, a]), np.hstack([b, b]))
    assert twice == pytest.approx(2 * metrics.frechet_distance(a, b))


def test_the_frechet_distance_of_equals_is_too_large_by_an_amount_that_falls_as_one_over_n():
    mean = {
        n: np.mean(
            [metrics.frechet_distance(gaussian(n, 8, s), gaussian(n, 8, s + 99)) for s in range(20)]
        )
        for n in (250, 1000)
    }
    assert mean[1000] > 0 and mean[250] / mean[1000] == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize("n", [5, 8])
def test_a_covariance_needs_more_samples_than_features(n):
    many, few = gaussian(100, 8), gaussian(n, 8)
    for pair in ((many, few), (few, many)):
        with pytest.raises(CourseError, match=f"more than 8 samples, and there are {n}: draw more"):
            metrics.frechet_distance(*pair)


def test_the_floor_draws_as_many_of_each_at_random():
    # Sorted as a data set may be: the first rows are of one kind, and all rows are of one kind
    train, test = (np.sort(gaussian(2000, 2, s), axis=0) for s in (0, 1))
    floor = metrics.frechet_floor(train, test, 500)
    assert floor < 0.1 < metrics.frechet_distance(train[:500], test)
    assert floor == metrics.frechet_floor(train, test, 500)
    assert floor != metrics.frechet_floor(train, test, 500, seed=1)
    # All of a side are taken, each once
    whole = metrics.frechet_distance(train, test)
    assert metrics.frechet_floor(train, test) == pytest.approx(whole)
    assert metrics.frechet_floor(train, test[:1500]) != pytest.approx(whole)
    for count in (0, 2001):
        with pytest.raises(CourseError, match=f"draw 1 to 2000, not {count}"):
            metrics.frechet_floor(train, test, count)


# Kernel distance


@given(seed=st.integers(0, 1000), n=st.integers(2, 7), m=st.integers(2, 7), d=st.integers(1, 4))
def test_the_kernel_distance_equals_a_loop_over_pairs(seed, n, m, d):
    a, b = gaussian(n, d, seed).astype(float), gaussian(m, d, seed + 1, 1).astype(float)

    def mean(pairs):
        return np.mean([(x @ y / d + 1) ** 3 for x, y in pairs])

    expected = mean([(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    expected += mean([(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    expected -= 2 * mean([(x, y) for x in a for y in b])
    assert metrics.kernel_distance(a, b) == pytest.approx(expected)


def test_the_kernel_distance_is_right_on_average_for_few_samples():
    values = [
        metrics.kernel_distance(gaussian(10, 4, s), gaussian(10, 4, s + 9999)) for s in range(500)
    ]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))
    assert metrics.kernel_distance(gaussian(10, 4), gaussian(10, 4, 1, 3)) > 10 * np.std(values)


# Precision, recall, density, coverage


def naive(real, fake, k):
    """The four numbers from the definitions, one pair of points at a time."""

    def radii(points):
        distances = [sorted(math.dist(p, q) for q in points) for p in points]
        return [row[k] for row in distances]  # row[0] is the point itself

    def inside(x, centres, reach):
        return [math.dist(x, c) <= r for c, r in zip(centres, reach, strict=True)]

    r_real, r_fake = radii(real), radii(fake)
    return {
        "precision": np.mean([any(inside(y, real, r_real)) for y in fake]),
        "recall": np.mean([any(inside(x, fake, r_fake)) for x in real]),
        "density": np.mean([sum(inside(y, real, r_real)) / k for y in fake]),
        "coverage": np.mean(
            [any(math.dist(x, y) <= r for y in fake) for x, r in zip(real, r_real, strict=True)]
        ),
    }


def all_four(real, fake, k):
    found = metrics.precision_recall(real, fake, k)._asdict()
    return found | metrics.density_coverage(real, fake, k)._asdict()


@given(
    seed=st.integers(0, 1000),
    n=st.integers(6, 20),
    m=st.integers(6, 20),
    d=st.sampled_from([1, 2, 20]),  # scikit-learn searches another way in 20 dimensions
    k=st.integers(1, 5),
    shift=st.sampled_from([0, 1, 3]),
)
def test_precision_recall_density_coverage_equal_their_definitions(seed, n, m, d, k, shift):
    real, fake = gaussian(n, d, seed), gaussian(m, d, seed + 1, shift / d, 0.8)
    assert all_four(real, fake, k) == pytest.approx(naive(real, fake, k))


@pytest.mark.parametrize("d", [2, 64])
def test_identical_and_disjoint_sets(d):
    real = gaussian(60, d)
    same = all_four(real, real, 4)
    # Each ball holds its centre and, its surface included, k neighbours
    assert same == pytest.approx({"precision": 1, "recall": 1, "density": 5 / 4, "coverage": 1})
    apart = all_four(real, real + 1000, 4)
    assert apart == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_missing_modes_lower_recall_and_coverage_bad_samples_precision_and_density():
    one, other = gaussian(100, 2), gaussian(100, 2, 1, shift=50)
    both = np.concatenate([one, other])
    missing = all_four(both, gaussian(200, 2, 2), 5)
    assert missing["precision"] > 0.9 and missing["density"] > 0.9
    assert missing["recall"] < 0.5 and missing["coverage"] <= 0.5
    bad = all_four(one, np.concatenate([gaussian(100, 2, 3), other]), 5)
    assert bad["recall"] > 0.9 and bad["coverage"] > 0.9
    assert bad["precision"] <= 0.5 and bad["density"] < 0.6


def test_an_outlier_raises_precision_but_hardly_density():
    real, fake = gaussian(200, 2), gaussian(200, 2, 1, shift=20)
    assert metrics.precision_recall(real, fake).precision == 0
    outlier = np.concatenate([real, np.array([[40.0, 40.0]], np.float32)])
    assert metrics.precision_recall(outlier, fake).precision == 1  # one ball holds them all
    assert metrics.density_coverage(outlier, fake, 3).density == pytest.approx(1 / 3)


def test_a_generator_that_repeats_one_image_is_precise_and_covers_nothing():
    real = gaussian(200, 8)
    found = all_four(real, np.repeat(real[:1], 200, axis=0), 5)
    assert found["precision"] == 1 and found["recall"] == pytest.approx(1 / 200)
    assert found["coverage"] < 0.2


@pytest.mark.parametrize(("n", "m", "k"), [(60, 60, 5), (60, 20, 2)])
def test_equal_distributions_have_the_expected_density_and_coverage(n, m, k):
    found = np.array(
        [
            metrics.density_coverage(gaussian(n, 3, s), gaussian(m, 3, s + 9999), k)
            for s in range(200)
        ]
    )
    error = found.std(axis=0) / math.sqrt(len(found))
    expected = [1, metrics.expected_coverage(n, m, k)]
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * error)


def test_expected_coverage_tends_to_what_the_paper_says():
    assert metrics.expected_coverage(10**6, 10**6, 5) == pytest.approx(1 - 2**-5, abs=1e-5)
    assert metrics.expected_coverage(2, 1, 1) == pytest.approx(1 / 2)  # nearer: the real, the fake


@pytest.mark.parametrize("k", [0, 10, 11])
def test_k_must_leave_a_neighbour(k):
    points = gaussian(10, 2)
    for metric in (metrics.precision_recall, metrics.density_coverage):
        with pytest.raises(CourseError, match=f"1 ≤ k < 10, the number of points, not k = {k}"):
            metric(points, points, k)


# Parzen windows


def test_one_window_is_a_gaussian_density():
    x, sample = gaussian(20, 5), gaussian(1, 5, 1)
    expected = scipy.stats.multivariate_normal(sample[0], 0.3**2 * np.eye(5)).logpdf(x)
    np.testing.assert_allclose(metrics.parzen(sample, x, 0.3), expected, rtol=1e-6)


@given(seed=st.integers(0, 1000), sigma=st.sampled_from([0.01, 0.2, 3.0]), d=st.integers(1, 9))
def test_parzen_equals_a_loop_over_windows(seed, sigma, d):
    made, x = gaussian(7, d, seed).astype(float), gaussian(5, d, seed + 1).astype(float)
    expected = []
    for image in x:
        terms = [scipy.stats.norm.logpdf(image, centre, sigma).sum() for centre in made]
        expected.append(scipy.special.logsumexp(terms) - math.log(len(made)))
    np.testing.assert_allclose(metrics.parzen(made, x, sigma), expected, rtol=1e-9)


def test_parzen_windows_are_a_density():
    made, grid = gaussian(5, 1), np.linspace(-8, 8, 4001)[:, None]
    density = np.exp(metrics.parzen(made, grid, 0.4))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1)


def test_parzen_far_away_and_narrow_stays_finite():
    far = metrics.parzen(np.zeros((3, 784)), np.ones((2, 784)), 0.01)
    assert np.allclose(far, -784 / (2 * 0.01**2) - 784 * math.log(0.01 * math.sqrt(2 * math.pi)))


def test_parzen_takes_images_and_keeps_their_order_in_blocks(monkeypatch):
    made, x = gaussian(30, 784).reshape(-1, 28, 28), gaussian(50, 784, 1).reshape(-1, 28, 28)
    whole = metrics.parzen(made, x, 1.0)
    monkeypatch.setattr(samples, "BLOCK", 7 * len(made))
    np.testing.assert_allclose(metrics.parzen(made, x, 1.0), whole)
    np.testing.assert_allclose(metrics.parzen(made[::-1], x[::-1], 1.0), whole[::-1])


def test_sigma_is_the_likeliest_of_those_tried():
    made, x = gaussian(200, 3, spread=0.5), gaussian(100, 3, 1, spread=0.5)
    tried = (0.01, 0.05, 0.2, 0.4, 3.0)
    means = [metrics.parzen(made, x, sigma).mean() for sigma in tried]
    found = metrics.parzen_sigma(made, x, tried)
    assert found == tried[int(np.argmax(means))] and found not in (tried[0], tried[-1])
    assert metrics.parzen_sigma(made, x) in samples.SIGMAS
    assert (samples.SIGMAS[0], samples.SIGMAS[-1]) == pytest.approx((0.1, 1))


def test_a_better_generator_is_likelier_and_so_is_a_worse_one_that_clusters():
    """What Theis et al. (2016) warn of: the data's own samples are not the best ones."""
    x = gaussian(500, 36)
    own = gaussian(200, 36, 1)
    shrunk = own * 0.5  # nearer to the middle than data ever are
    shifted = own + 3
    best = {
        name: max(metrics.parzen(made, x, sigma).mean() for sigma in (0.5, 0.8, 1.0, 1.2))
        for name, made in {"own": own, "shrunk": shrunk, "shifted": shifted}.items()
    }
    true = scipy.stats.norm.logpdf(x).sum(axis=1).mean()
    assert best["shrunk"] > best["own"] > best["shifted"] and best["own"] < true - 3


@pytest.mark.parametrize("sigma", [0, -1, math.nan, math.inf])
def test_sigma_must_be_positive(sigma):
    with pytest.raises(CourseError, match="σ must be a positive number"):
        metrics.parzen(np.zeros((2, 3)), np.zeros((2, 3)), sigma)
    with pytest.raises(CourseError, match="σ must be a positive number"):
        metrics.parzen_sigma(np.zeros((2, 3)), np.zeros((2, 3)), [])


# All of them


@given(seed=st.integers(0, 1000))
def test_neither_a_rotation_nor_a_shift_of_both_sets_nor_their_order_matters(seed):
    real, fake = gaussian(40, 4, seed).astype(float), gaussian(30, 4, seed + 1, 0.5).astype(float)
    turn = rotation(4, seed)
    for name in [*SETS, "parzen"]:
        metric = getattr(metrics, name)
        extra = (0.5,) if name == "parzen" else ()
        shift = 0 if name == "kernel_distance" else 10  # its kernel knows the origin
        plain = metric(real, fake, *extra)
        turned = metric(real[::-1] @ turn + shift, fake @ turn + shift, *extra)
        np.testing.assert_allclose(turned, plain, rtol=1e-7, atol=1e-9)


@given(seed=st.integers(0, 1000))
def test_distances_are_symmetric_and_precision_is_recall_the_other_way_round(seed):
    a, b = gaussian(40, 4, seed), gaussian(30, 4, seed + 1, 0.5)
    assert metrics.frechet_distance(a, b) == pytest.approx(metrics.frechet_distance(b, a))
    assert metrics.kernel_distance(a, b) == pytest.approx(metrics.kernel_distance(b, a))
    assert metrics.precision_recall(a, b) == metrics.precision_recall(b, a)[::-1]
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", [*SETS, "parzen"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x[0], "set of points"),
        (lambda x: x[:0], "set of points"),
        (lambda x: np.where(x > 0, np.nan, x), "NaN or infinite"),
        (lambda x: np.where(x > 0, np.inf, x), "NaN or infinite"),
        (lambda x: x.astype(np.uint8), "divide grey levels by 255"),
        (lambda x: x[:, :3], "4 and 3 columns|3 and 4 columns"),
    ],
)
def test_bad_input_is_named(name, spoil, said):
    good = gaussian(20, 4)
    extra = (0.5,) if name == "parzen" else ()
    for pair in ((good, spoil(good)), (spoil(good), good)):
        with pytest.raises(CourseError, match=said):
            getattr(metrics, name)(*pair, *extra)


def test_one_sample_has_no_kernel_distance():
    with pytest.raises(CourseError, match="at least two samples"):
        metrics.kernel_distance(gaussian(1, 3), gaussian(10, 3))


@pytest.mark.parametrize("name", [*SETS, "parzen"])
def test_memory_stays_small(name):
    a, b = gaussian(6000, 10), gaussian(6000, 10, 1)
    extra = (0.5,) if name == "parzen" else ()
    getattr(metrics, name)(a[:100], b[:100], *extra)  # imports
    tracemalloc.start()
    getattr(metrics, name)(a, b, *extra)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6  # all 36 million distances would take 288 MB
