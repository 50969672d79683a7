"""Probabilities, Wilson's interval and the table of who is taken for whom."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from utils import metrics


def test_softmax_is_scipys_and_survives_large_logits():
    logits = np.random.default_rng(0).normal(size=(20, 10)) * 1e3
    assert np.allclose(metrics.softmax(logits), softmax(logits, axis=1), atol=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (9_953, 10_000), (37, 80)])
def test_wilsons_interval_is_scipys(hits, n):
    peer = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    # the textbook's 1.96 is 1.95996...
    assert metrics.wilson(hits, n) == pytest.approx((100 * peer.low, 100 * peer.high), abs=1e-3)


def test_the_confusion_counts_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 4, (2, 200))
    head, *rows = metrics.confusion(labels, answers, "abcd").splitlines()
    assert head.endswith("taken for a … d")
    counts = [[int(cell.replace("·", "0")) for cell in row.split()[1:]] for row in rows]
    assert np.array_equal(counts, confusion_matrix(labels, answers))
