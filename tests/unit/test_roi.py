"""Pooling over regions against loops over single cells and sampling points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import CourseError, roi


def half_up(value):
    return math.floor(value + 0.5)


def pooled(features, box, rows, columns, stride):
    """Each cell of the box asked for the parts that it touches; exact, in fractions of parts."""
    height, width, channels = features.shape
    x0, y0, x1, y1 = (half_up(float(value) / stride) for value in box)
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    x1, y1 = min(max(x1, x0 + 1), width), min(max(y1, y0 + 1), height)
    out = np.full((rows, columns, channels), -np.inf)
    for y in range(y0, y1):
        for x in range(x0, x1):
            for i in range(rows):
                for j in range(columns):
                    # part i of n covers the cells that share any of [i·h/n, (i + 1)·h/n)
                    down = (y - y0) * rows < (i + 1) * (y1 - y0) and (y - y0 + 1) * rows > i * (
                        y1 - y0
                    )
                    right = (x - x0) * columns < (j + 1) * (x1 - x0)
                    right = right and (x - x0 + 1) * columns > j * (x1 - x0)
                    if down and right:
                        out[i, j] = np.maximum(out[i, j], features[y, x])
    return out


def bilinear(features, y, x):
    """The value at a point, as the sum of all cells weighted by their hats."""
    height, width, channels = features.shape
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(channels)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    value = np.zeros(channels)
    for row in range(height):
        for column in range(width):
            hat = max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
            value += hat * features[row, column]
    return value


def aligned(features, box, rows, columns, stride, samples):
    x0, y0, x1, y1 = (float(value) for value in box)
    out = np.zeros((rows, columns, features.shape[2]))
    for i in range(rows):
        for j in range(columns):
            for p in range(samples):
                for q in range(samples):
                    y = y0 + (y1 - y0) * (i + (p + 0.5) / samples) / rows
                    x = x0 + (x1 - x0) * (j + (q + 0.5) / samples) / columns
                    out[i, j] += bilinear(features, y / stride - 0.5, x / stride - 0.5)
    return out / samples**2


@settings(max_examples=150)
@given(st.integers(0, 10**6))
def test_both_are_the_loops(seed):
    rng = np.random.default_rng(seed)
    height, width, stride = rng.integers(1, 7, 2).tolist() + [rng.choice([1, 4, 16])]
    features = rng.normal(size=(height, width, 2)).astype(np.float32)
    size = tuple(rng.integers(1, 4, 2).tolist())
    corners = rng.uniform(-0.3, 1.3, (3, 2, 2)) * [width * stride, height * stride]
    some = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1, dtype="float32")
    samples = int(rng.integers(1, 4))
    found = roi.pool(features, some, size, stride), roi.align(features, some, size, stride, samples)
    for place, box in enumerate(some):
        assert found[0][place] == pytest.approx(pooled(features, box, *size, stride))
        expected = aligned(features, box, *size, stride, samples)
        assert found[1][place] == pytest.approx(expected, abs=1e-5)
    assert all(each.shape == (3, *size, 2) and each.dtype == np.float32 for each in found)


def test_align_reads_a_ramp_where_it_stands():
    """Features that are a linear function of place: the mean over a part is its middle's."""
    y, x = np.meshgrid(4 * (np.arange(12) + 0.5), 4 * (np.arange(16) + 0.5), indexing="ij")
    ramp = np.stack([x, y], axis=-1)
    rng = np.random.default_rng(0)
    low = rng.uniform(3, 20, (50, 2))
    some = np.concatenate([low, low + rng.uniform(1, 22, (50, 2))], axis=1)
    found = roi.align(ramp, some, 3, 4)
    for part in range(3):
        middle = low + (some[:, 2:] - low) * (part + 0.5) / 3
        assert found[:, part, part] == pytest.approx(middle, abs=1e-4)
    moved = roi.align(ramp, some + 1.5, 3, 4)
    assert moved - found == pytest.approx(1.5, abs=1e-4)  # a step of a pixel and a half shows
    assert (roi.pool(ramp, some + 0.01, 3, 4) - roi.pool(ramp, some, 3, 4) == 0).mean() > 0.9


def test_the_whole_map_at_its_own_size_is_itself():
    features = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    whole = np.array([[0, 0, 7 * 8, 5 * 8]])
    assert np.array_equal(roi.pool(features, whole, (5, 7), 8)[0], features)
    assert roi.align(features, whole, (5, 7), 8, samples=1)[0] == pytest.approx(features)
    assert roi.pool(features, np.zeros((0, 4)), 2, 8).shape == (0, 2, 2, 3)
    assert roi.align(features, np.zeros((0, 4)), 2, 8).shape == (0, 2, 2, 3)
    one = features[:1, :1]
    assert roi.pool(one, [[0, 0, 1, 1]], 2, 1) == pytest.approx(np.broadcast_to(one, (1, 2, 2, 3)))
    assert roi.align(one, [[0, 0, 1, 1]], 2, 1) == pytest.approx(np.broadcast_to(one, (1, 2, 2, 3)))


@pytest.mark.parametrize("call", [roi.pool, roi.align])
def test_mistakes_are_named(call):
    features, box = np.zeros((4, 4, 1)), [[0, 0, 8, 8]]
    with pytest.raises(CourseError, match="one image's"):
        call(features[None], box, 2, 4)
    with pytest.raises(CourseError, match="at least 1×1"):
        call(features, box, 0, 4)
    with pytest.raises(CourseError, match="stride is above 0"):
        call(features, box, 2, 0)
    with pytest.raises(CourseError, match="NaN"):
        call(features, [[0, 0, np.nan, 8]], 2, 4)
    with pytest.raises(CourseError, match=r"shape \(number, 4\)"):
        call(features, [0, 0, 8, 8], 2, 4)
    if call is roi.align:
        with pytest.raises(CourseError, match="at least one sample"):
            call(features, box, 2, 4, samples=0)
