"""14_faster_rcnn between its stages: what is asked of anchors, proposals, regions to learn from."""

import numpy as np
import pytest
from parity_settings import settings

from utils import CourseError, anchors, boxes, data

NAME = "14_faster_rcnn"


@pytest.fixture(scope="module")
def scenes(digits):
    """Images and truths drawn from the digits that are at hand everywhere."""
    return data.draw_scenes(40, digits.x_train, digits.y_train, seed=5)


def small(lesson):
    narrow = {"width": 4, "hidden": 16, "rois": 16, "sampled": 32, "batch_size": 4}
    return settings(lesson, "torch", **narrow)


def test_what_is_asked_of_anchors(lesson):
    ours, rng = lesson["torch"], np.random.default_rng(0)
    grid = ours.grid_of(small(lesson), 96, 96)
    truth = boxes.truth([[10, 10, 24, 24], [50, 40, 70, 76]], [3, 5])
    asked, aims = ours.ask(grid, truth, 32, rng)
    found = anchors.match(grid, truth.boxes, 0.7, 0.3)
    assert (asked >= 0).sum() == 32 and 2 <= (asked == 1).sum() <= 16
    assert set(np.flatnonzero(asked == 1)) <= set(np.flatnonzero(found >= 0))
    assert set(np.flatnonzero(asked == 0)) <= set(np.flatnonzero(found == anchors.BACKGROUND))
    ones = asked == 1
    ends = anchors.decode(aims[ones], grid[ones])
    assert ends == pytest.approx(truth.boxes[found[ones]], abs=1e-2) and not aims[~ones].any()
    nothing, _ = ours.ask(grid, boxes.truth(), 32, rng)
    assert (nothing == 0).sum() == 32 and not (nothing == 1).any()
    crowd = boxes.truth([[0, 0, 96, 96]], [1], [True])
    asked, _ = ours.ask(grid, crowd, 32, rng)
    inside = boxes.covered(grid, crowd.boxes)[:, 0] >= 0.7
    assert not (asked[inside] >= 0).any()


def test_without_the_best_anchor_large_anchors_find_nothing(lesson, scenes):
    """What part 9 lets happen."""
    ours, rng = lesson["torch"], np.random.default_rng(0)
    grid = anchors.grid(24, 24, 4, (56, 88, 128), (1.0, 1.8))
    for truth in scenes[1]:
        lone = int((~truth.crowd).sum())
        assert (ours.ask(grid, truth, 64, rng)[0] == 1).sum() >= min(lone, 1)
        assert not (ours.ask(grid, truth, 64, rng, best=False)[0] == 1).any()


def test_proposals_are_the_likely_large_and_different_ones(lesson):
    ours = lesson["torch"]
    grid = np.float32([[0, 0, 20, 20], [1, 1, 21, 21], [40, 40, 60, 60], [90, 90, 130, 130]])
    grid = np.concatenate([grid, np.float32([[30, 30, 33, 60]])])  # too thin
    scores, still = np.float32([1, 3, 2, 0, 9]), np.zeros((5, 4), "float32")
    found, sure = ours.propose(scores, still, grid, 96, 96, 100, 100)
    assert sure.tolist() == [3, 2, 0]
    assert found.tolist() == [[1, 1, 21, 21], [40, 40, 60, 60], [90, 90, 96, 96]]
    assert len(ours.propose(scores, still, grid, 96, 96, 100, 100, cut=None)[0]) == 4
    assert ours.propose(scores, still, grid, 96, 96, 3, 1)[1].tolist() == [3]
    found, _ = ours.propose(scores, still + 50, grid, 96, 96, 100, 100)  # far out of the image
    assert np.isfinite(found).all()


def test_regions_to_learn_from(lesson):
    ours, rng = lesson["torch"], np.random.default_rng(0)
    truth = boxes.truth([[10, 10, 30, 30], [50, 50, 90, 90]], [0, 7], [False, True])
    found = np.float32([[11, 11, 30, 30], [52, 52, 60, 60], *([[60, 5, 80, 20]] * 30)])
    rois, labels, aims = ours.choose(found, truth, 16, rng)
    assert (labels == 1).sum() == 2  # the proposal, and the box itself
    assert (labels == 0).sum() == 14 and rois.shape == (16, 4)
    assert not (rois == found[1]).all(axis=1).any()  # inside the crowd: nothing to learn
    ends = anchors.decode(aims[labels == 1], rois[labels == 1], ours.CODE)
    assert ends == pytest.approx(np.tile(truth.boxes[0], (2, 1)), abs=1e-2)
    rois, labels, _ = ours.choose(np.zeros((0, 4), "float32"), boxes.truth(), 8, rng)
    assert (labels == -1).all() and (rois[:, 2:] > rois[:, :2]).all()


def test_truths_travel_as_one_array(lesson, scenes):
    ours = lesson["torch"]
    some = [*scenes[1][:5], boxes.truth(), boxes.truth([[1, 2, 3, 4]], [9], [True])]
    for before, after in zip(some, ours.unpack(ours.pack(some)), strict=True):
        for one, other in zip(before, after, strict=True):
            assert np.array_equal(one, other)
    with pytest.raises(CourseError, match="An image has 3 boxes; MOST allows 2"):
        ours.pack([boxes.truth([[0, 0, 5, 5]] * 3, [0, 0, 0])], 2)


def test_samples_come_from_their_seed(lesson, scenes):
    ours, chosen = lesson["torch"], small(lesson)
    meal = next(ours.feed(*scenes, chosen))
    rng = np.random.default_rng(0)
    guess = rng.normal(size=meal.asked.shape), 0.1 * rng.normal(size=meal.aims.shape)
    one, again, other = (
        ours.regions(*guess, meal.truths, seed, chosen, 96, 96) for seed in ([0, 1], [0, 1], [0, 2])
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])
