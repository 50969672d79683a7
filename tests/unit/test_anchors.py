"""Anchors, their coding and their matching, against loops over single boxes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import CourseError, anchors, boxes


def some_boxes(rng, count, side=60.0, whole=False):
    corners = rng.uniform(0, side, (count, 2, 2))
    corners = np.round(corners / 6) * 6 if whole else corners
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high + (1 if whole else 0.5)], axis=1, dtype="float32")


def test_a_grid_by_hand():
    found = anchors.grid(2, 3, 16, [8, 32], [0.5, 1, 2])
    assert found.shape == (2 * 3 * 6, 4) and found.dtype == np.float32
    expected = []
    for row in range(2):
        for column in range(3):
            for size in (8, 32):
                for ratio in (0.5, 1, 2):
                    wide, high = size / math.sqrt(ratio), size * math.sqrt(ratio)
                    x, y = 16 * column + 8, 16 * row + 8
                    expected.append([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2])
    assert np.allclose(found, expected, atol=1e-4)
    assert boxes.area(found) == pytest.approx(([64] * 3 + [1024] * 3) * 6, rel=1e-5)
    for bad in [(0, 1, 1, [1], [1]), (1, 1, 0, [1], [1]), (1, 1, 1, [], [1]), (1, 1, 1, [1], [0])]:
        with pytest.raises(CourseError, match="grid of anchors needs"):
            anchors.grid(*bad)


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_coding_is_the_papers_and_undone(seed):
    rng = np.random.default_rng(seed)
    real, start = some_boxes(rng, 10), some_boxes(rng, 10)
    weights = rng.uniform(1, 10, 4)
    deltas = anchors.encode(real, start, weights)
    assert deltas.dtype == np.float32
    for delta, box, anchor in zip(deltas, real.astype(float), start.astype(float), strict=True):
        # G and P of the paper, by their centres and sizes
        gx, gy, gw, gh = *((box[:2] + box[2:]) / 2), *(box[2:] - box[:2])
        px, py, pw, ph = *((anchor[:2] + anchor[2:]) / 2), *(anchor[2:] - anchor[:2])
        t = (gx - px) / pw, (gy - py) / ph, math.log(gw / pw), math.log(gh / ph)
        assert delta == pytest.approx(np.array(t) * weights, rel=1e-5, abs=1e-4)
    small = np.log((real[:, 2:] - real[:, :2]) / (start[:, 2:] - start[:, :2])).max() < anchors.MOST
    if small:
        assert np.allclose(anchors.decode(deltas, start, weights), real, atol=0.02)
    each = anchors.decode(np.stack([deltas, 0 * deltas], axis=1), start[:, None], weights)
    assert each.shape == (10, 2, 4) and np.allclose(each[:, 1], start, atol=1e-4)


def test_a_large_prediction_stays_finite():
    box = anchors.decode([[0, 0, 1000, -1000]], [[0, 0, 2, 2]])[0]
    assert np.isfinite(box).all() and box[2] - box[0] == pytest.approx(125)
    with pytest.raises(CourseError, match="no inside"):
        anchors.encode([[0, 0, 0, 4]], [[0, 0, 2, 2]])


def loops(start, real, high, low, best, crowd):
    """Matching one anchor after the other."""
    overlap = boxes.iou(start, real)
    found = []
    for anchor in range(len(start)):
        mine, most = -1, 0.0
        for box in range(len(real)):
            if not crowd[box] and overlap[anchor, box] > most:
                mine, most = box, overlap[anchor, box]
        found.append(mine if mine >= 0 and most >= high else -2 if most >= low else -1)
    if best:
        pairs = [
            (-overlap[a, b], a, b)
            for a in range(len(start))
            for b in range(len(real))
            if not crowd[b] and overlap[a, b] > 0
        ]
        taken, served = set(), set()
        for _, anchor, box in sorted(pairs):
            if anchor not in taken and box not in served:
                found[anchor] = box
                taken.add(anchor)
                served.add(box)
    share = boxes.covered(start, real)
    for anchor in range(len(start)):
        hidden = any(crowd[b] and share[anchor, b] >= high for b in range(len(real)))
        found[anchor] = -2 if found[anchor] == -1 and hidden else found[anchor]
    return found


@settings(max_examples=300)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_matching_is_the_loops(seed, best, whole):
    rng = np.random.default_rng(seed)
    start = some_boxes(rng, rng.integers(0, 25), whole=whole)
    real = some_boxes(rng, rng.integers(0, 6), whole=whole)
    crowd = rng.random(len(real)) < 0.2
    low, high = sorted(rng.choice([0.1, 0.3, 0.5, 0.7], 2))
    found = anchors.match(start, real, high, low, best, crowd)
    assert found.dtype == np.int64
    assert found.tolist() == loops(start, real, high, low, best, crowd)


def test_no_box_goes_without():
    rng = np.random.default_rng(0)
    start = anchors.grid(6, 6, 16, [16, 24, 40], [1])
    for _ in range(200):
        real = boxes.clip(some_boxes(rng, 5, 90), 96, 96)
        found = anchors.match(start, real, 0.5, 0.5)
        assert set(range(5)) <= set(found.tolist())
    assert (anchors.match(start, [], 0.5, 0.4) == -1).all()
    assert anchors.match([], real, 0.5, 0.4).shape == (0,)
    twins = np.array([[0, 0, 24, 24], [0, 0, 24, 24.0]])
    assert set(anchors.match(start, twins, 0.5, 0.5)) >= {0, 1}
    far = anchors.match(start, [[500, 500, 510, 510]], 0.5, 0.5)
    assert (far == -1).all()
    with pytest.raises(CourseError, match="must not exceed"):
        anchors.match(start, real, 0.3, 0.5)


def test_a_crowd_hides_background():
    start = np.array([[0, 0, 10, 10], [2, 2, 6, 6], [40, 40, 50, 50]], np.float32)
    real = np.array([[0, 0, 30, 30], [40, 40, 50, 50]], np.float32)
    assert anchors.match(start, real, 0.5, 0.4, crowd=[True, False]).tolist() == [-2, -2, 1]
    assert anchors.match(start, real, 0.5, 0.4, crowd=[True, True]).tolist() == [-2, -2, -2]
    with pytest.raises(CourseError, match="crowd has the shape"):
        anchors.match(start, real, 0.5, 0.4, crowd=[True])


@settings(max_examples=300)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2.5, 3]), st.integers(0, 4))
def test_hard_negatives_are_the_worst(seed, ratio, least):
    rng = np.random.default_rng(seed)
    shape = (3, int(rng.integers(1, 30)))
    losses = rng.integers(0, 8, shape) / 4  # with ties
    losses[rng.random(shape) < 0.1] = -np.inf
    positive = rng.random(shape) < 0.15
    found = anchors.mine(losses, positive, ratio, least)
    assert found.dtype == bool and not (found & positive).any()
    for row in range(3):
        room = max(int(ratio * positive[row].sum()), least)
        order = sorted(
            (-losses[row, i], i)
            for i in range(shape[1])
            if not positive[row, i] and np.isfinite(losses[row, i])
        )
        assert set(np.flatnonzero(found[row])) == {i for _, i in order[:room]}
        assert np.array_equal(anchors.mine(losses[row], positive[row], ratio, least), found[row])


def test_mining_wants_one_loss_for_each_anchor():
    with pytest.raises(CourseError, match="must agree"):
        anchors.mine(np.zeros(3), np.zeros(4, bool))
