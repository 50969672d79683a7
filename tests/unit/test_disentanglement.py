"""The three scores on codes whose answer is known, and against second implementations."""

import numpy as np
import pytest
from scipy.fft import dct

from utils import CourseError, data, metrics


@pytest.fixture(scope="module")
def factors():
    return data.sprites().factors


@pytest.fixture(scope="module")
def perfect(factors):
    return (factors - factors.mean(axis=0)) / factors.std(axis=0)


def small_dci(codes, factors):
    return metrics.dci(codes, factors, training=1500, testing=600, trees=8)


def test_perfect_codes_score_one(perfect, factors):
    assert metrics.mutual_information_gap(perfect, factors) == pytest.approx(1)
    assert metrics.factor_vae_score(perfect, factors) == 1
    found = small_dci(perfect, factors)
    for value in (found.disentanglement, found.completeness, found.informativeness):
        assert value == pytest.approx(1)


def test_order_sign_scale_and_dead_units_do_not_matter(perfect, factors):
    scaled = perfect[:, ::-1] * [-3, 0.5, 40, 1, -9] + 5  # each unit has a size of its own
    codes = np.concatenate([scaled, np.full((len(perfect), 3), 2.0)], axis=1)
    assert metrics.mutual_information_gap(codes, factors) == pytest.approx(1)
    assert metrics.factor_vae_score(codes, factors) == 1
    assert small_dci(codes, factors).disentanglement == pytest.approx(1)


def test_random_codes_score_nothing(factors):
    codes = np.random.default_rng(0).standard_normal((len(factors), 10))
    assert metrics.mutual_information_gap(codes, factors) < 0.01
    assert metrics.factor_vae_score(codes, factors) == pytest.approx(1 / 5, abs=0.03)
    found = small_dci(codes, factors)
    assert found.disentanglement < 0.05 and found.completeness < 0.05
    chance = np.mean(1 / np.array(data.sprites().sizes))
    assert found.informativeness == pytest.approx(chance, abs=0.05)


def test_a_rotation_keeps_information_and_loses_the_scores(perfect, factors):
    turn = dct(np.eye(5), norm="ortho")
    assert np.allclose(turn @ turn.T, np.eye(5))
    assert metrics.mutual_information_gap(perfect @ turn, factors) < 0.1
    assert metrics.factor_vae_score(perfect @ turn, factors) < 0.6
    assert small_dci(perfect @ turn, factors).disentanglement < 0.2


def test_x_and_y_turned_by_45_degrees_have_no_gap(perfect, factors):
    codes = perfect.copy()
    codes[:, 3] = (perfect[:, 3] + perfect[:, 4]) / np.sqrt(2)
    codes[:, 4] = (perfect[:, 3] - perfect[:, 4]) / np.sqrt(2)
    # three factors have a gap of one; by symmetry the two units tell the same of x, and of y
    assert metrics.mutual_information_gap(codes, factors) == pytest.approx(3 / 5, abs=0.01)
    # of x and y, one in two votes is right
    assert metrics.factor_vae_score(codes, factors) == pytest.approx(4 / 5, abs=0.03)


def test_two_copies_of_every_unit_have_no_gap_but_serve_one_factor_each(perfect, factors):
    codes = np.concatenate([perfect, perfect], axis=1)
    assert metrics.mutual_information_gap(codes, factors) == pytest.approx(0)
    assert metrics.factor_vae_score(codes, factors) == 1
    assert small_dci(codes, factors).disentanglement == pytest.approx(1)


def test_information_is_that_of_scikit_learn(factors):
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(1)
    rows = rng.permutation(len(factors))[:700]
    codes = rng.standard_normal((700, 3)) + factors[rows][:, [1, 3, 3]]
    found = metrics.mutual_information(codes, factors[rows])
    for unit, code in enumerate(codes.T):
        edges = np.histogram_bin_edges(code, 20)
        place = np.digitize(code, edges[:-1])
        for k in range(5):
            assert found[unit, k] == pytest.approx(mutual_info_score(place, factors[rows, k]))


def test_mig_is_that_of_a_second_implementation(factors):
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(2)
    codes = rng.standard_normal((len(factors), 4)) + factors[:, [0, 1, 3, 4]]
    gaps = []
    for k in range(5):
        told = []
        for code in codes.T:
            place = np.digitize(code, np.histogram_bin_edges(code, 20)[:-1])
            told.append(mutual_info_score(factors[:, k], place))
        told.sort()
        gaps.append((told[-1] - told[-2]) / mutual_info_score(factors[:, k], factors[:, k]))
    assert metrics.mutual_information_gap(codes, factors) == pytest.approx(np.mean(gaps))


def test_entropy_is_the_logarithm_of_the_number_of_values(factors):
    assert metrics.entropies(factors) == pytest.approx(np.log(data.sprites().sizes))


def test_dci_is_the_formula_written_out(factors, perfect):
    codes = perfect + np.random.default_rng(3).normal(0, 0.7, perfect.shape)
    found = small_dci(codes, factors)
    r = found.importances
    assert r.shape == (5, 5) and r.sum(axis=0) == pytest.approx(np.ones(5))
    weighted = complete = 0.0
    for row in r:
        p = row[row > 0] / row.sum()
        weighted += row.sum() / r.sum() * (1 + (p * np.log(p)).sum() / np.log(5))
    for column in r.T:
        p = column[column > 0] / column.sum()
        complete += (1 + (p * np.log(p)).sum() / np.log(5)) / 5
    assert found.disentanglement == pytest.approx(weighted)
    assert found.completeness == pytest.approx(complete)


def test_a_collapsed_code_scores_nothing(factors):
    codes = 1e-3 * np.random.default_rng(4).standard_normal((len(factors), 10))
    assert metrics.factor_vae_score(codes, factors) == 0
    assert metrics.mutual_information_gap(np.zeros((len(factors), 10)), factors) == 0


def test_the_seed_decides_the_votes(perfect, factors):
    codes = perfect + np.random.default_rng(5).normal(0, 1.5, perfect.shape)
    first, again, other = (metrics.factor_vae_score(codes, factors, seed) for seed in (0, 0, 1))
    assert first == again and first == pytest.approx(other, abs=0.03)


def test_mistakes_are_named(factors):
    with pytest.raises(CourseError, match="one row for each picture"):
        metrics.mutual_information(np.zeros((3, 2)), factors)
    with pytest.raises(CourseError, match="whole numbers from 0"):
        metrics.factor_vae_score(np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(CourseError, match="NaN or infinite"):
        metrics.mutual_information(np.full((2, 2), np.nan), np.zeros((2, 2), int))
    with pytest.raises(CourseError, match="no gap"):
        metrics.mutual_information_gap(np.zeros((len(factors), 1)), factors)
    with pytest.raises(CourseError, match="more than 4,000 codes"):
        metrics.dci(np.zeros((40, 2)), factors[:40])


def test_a_unit_that_is_small_does_not_win_every_vote(perfect, factors):
    noisy = perfect + np.random.default_rng(6).normal(0, 0.2, perfect.shape)
    assert metrics.factor_vae_score(noisy * [3, 0.5, 40, 1, 9], factors) > 0.99
