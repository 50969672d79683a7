"""Average precision: ours equals COCO's own code, and both refuse what cannot be evaluated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import CourseError, boxes, metrics
from utils.boxes import Found, Truth
from utils.metrics import detection

NAMES = ("cat", "dog", "bird", "nobody")


def found(corners=(), scores=(), labels=()):
    corners = np.array(corners, np.float32).reshape(-1, 4)
    return Found(corners, np.array(scores, np.float32), np.array(labels, np.int64))


def random_case(seed, images=6):
    """Boxes, crowds and detections near them: coarse numbers, so that many are equal."""
    rng = np.random.default_rng(seed)
    truths, said = [], []
    for _ in range(images):
        count = int(rng.integers(0, 6))
        low = rng.integers(0, 20, (count, 2))
        corners = np.concatenate([low, low + rng.integers(1, 12, (count, 2))], axis=1)
        truth = boxes.truth(corners, rng.integers(0, 3, count), rng.random(count) < 0.25)
        near = np.repeat(truth.boxes, rng.integers(0, 4, count), axis=0)
        near = near + rng.integers(-2, 3, near.shape) * rng.choice([0, 0.5, 1])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + rng.integers(0, 2, (len(near), 2)))
        extra = rng.integers(0, 3)
        low = rng.integers(0, 20, (extra, 2))
        far = np.concatenate([low, low + rng.integers(1, 12, (extra, 2))], axis=1)
        all_of = np.concatenate([near, far])
        scores = rng.integers(0, 6, len(all_of)) / 5  # many are equal
        truths.append(truth)
        said.append(found(all_of, scores, rng.integers(0, 3, len(all_of))))
    return said, truths


@pytest.mark.parametrize("block", range(10))
def test_ours_equals_pycocotools(block):
    """A thousand images in all: crowds, equal scores, equal overlaps, empty images."""
    for seed in range(20 * block, 20 * block + 20):
        said, truths = random_case(seed)
        scores = metrics.coco(said, truths, NAMES)
        ours = np.array(
            [
                [metrics.average_precision(said, truths, label, t).ap for label in range(4)]
                for t in detection.THRESHOLDS
            ]
        )
        theirs = np.array([s.ap50 for s in scores.classes.values()])
        np.testing.assert_allclose(ours[0], theirs, atol=1e-12)
        theirs = np.array([s.ap for s in scores.classes.values()])
        np.testing.assert_allclose(ours.mean(axis=0), theirs, atol=1e-12)
        there = ~np.isnan(ours[0])
        assert math.isnan(scores.classes["nobody"].ap)
        if there.any():
            assert scores.ap75 == pytest.approx(ours[5, there].mean(), abs=1e-12)
            assert scores.ap == pytest.approx(ours[:, there].mean(), abs=1e-12)


def test_a_perfect_detector_and_a_silent_one():
    _, truths = random_case(3)
    perfect = [
        Found(t.boxes[~t.crowd], np.ones((~t.crowd).sum(), np.float32), t.labels[~t.crowd])
        for t in truths
    ]
    scores = metrics.coco(perfect, truths, NAMES)
    assert scores[:3] == pytest.approx((1, 1, 1))
    silent = metrics.coco([found()] * len(truths), truths, NAMES)
    assert silent[:3] == (0, 0, 0)


def test_nothing_to_find_is_nan_and_not_zero():
    scores = metrics.coco([found([[0, 0, 5, 5]], [0.9], [0])], [boxes.truth()], NAMES)
    assert all(math.isnan(value) for value in scores[:3])
    curve = metrics.average_precision([found([[0, 0, 5, 5]], [0.9], [0])], [boxes.truth()], 0)
    assert math.isnan(curve.ap)


def test_by_hand():
    """The surest detection is wrong, the next two right, the last a second of one box."""
    truths = [boxes.truth([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0])]
    corners = [[50, 50, 60, 60], [0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 9]]
    said = [found(corners, [0.9, 0.8, 0.7, 0.6], [0] * 4)]
    curve = metrics.average_precision(said, truths, 0)
    np.testing.assert_allclose(curve.recall, [0, 0.5, 1, 1])
    np.testing.assert_allclose(curve.precision, [0, 1 / 2, 2 / 3, 2 / 4])
    assert curve.ap == pytest.approx(2 / 3)  # the outline is 2/3 everywhere
    for points in (11, None):
        ap = metrics.average_precision(said, truths, 0, points=points).ap
        assert ap == pytest.approx(2 / 3)


def test_three_ways_to_average_differ():
    truths = [boxes.truth([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 0])]
    said = [found([[0, 0, 10, 10]], [0.9], [0])]
    aps = [metrics.average_precision(said, truths, 0, points=p).ap for p in (None, 11, 101)]
    assert aps == pytest.approx([1 / 3, 4 / 11, 34 / 101])


def test_crowds_forgive():
    crowd = Truth(np.float32([[0, 0, 40, 40]]), np.array([0]), np.array([True]))
    one = boxes.truth([[60, 60, 70, 70]], [0])
    both = Truth(*(np.concatenate(pair) for pair in zip(crowd, one, strict=True)))
    inside = [[1, 1, 8, 8], [2, 2, 9, 9], [10, 10, 39, 39]]
    said = [found([*inside, [60, 60, 70, 70]], [0.9, 0.8, 0.7, 0.6], [0] * 4)]
    assert metrics.coco(said, [both], NAMES).ap50 == pytest.approx(1)
    plain = both._replace(crowd=np.array([False, False]))
    assert metrics.coco(said, [plain], NAMES).ap50 < 0.8


def test_of_equal_overlaps_the_last_box_is_taken():
    """As in COCO's code: only so is the first box left for the second detection."""
    truths = [boxes.truth([[0, 0, 10, 8], [0, 2, 10, 10]], [0, 0])]
    said = [found([[0, 0, 10, 10], [0, 0, 10, 8]], [0.9, 0.8], [0, 0])]
    assert metrics.coco(said, truths, NAMES).ap75 == pytest.approx(1)
    assert metrics.average_precision(said, truths, 0, 0.75).ap == pytest.approx(1)


@pytest.mark.parametrize("corners", [[3, 3, 3, 3], [3, 3, 3, 8], [8, 3, 3, 7], [8, 8, 3, 3]])
def test_a_detection_without_an_inside_is_wrong_even_in_a_crowd(corners):
    crowd = boxes.truth([[0, 0, 9, 9], [20, 20, 30, 30]], [0, 0], [True, False])
    said = [found([corners, [20, 20, 30, 30]], [0.9, 0.5], [0, 0])]
    assert metrics.coco(said, [crowd], NAMES).ap50 == pytest.approx(0.5)
    assert metrics.average_precision(said, [crowd], 0).ap == pytest.approx(0.5)


def test_only_a_hundred_detections_of_a_class_count():
    truths = [boxes.truth([[0, 0, 10, 10]], [0])]
    corners = np.tile(np.float32([[50, 50, 60, 60]]), (100, 1))
    corners = np.concatenate([corners, [[0, 0, 10, 10]]])
    said = [found(corners, np.linspace(1, 0.1, 101), [0] * 101)]
    assert metrics.coco(said, truths, NAMES).ap50 == 0
    assert metrics.average_precision(said, truths, 0).ap == 0


def test_it_is_silent(capsys):
    said, truths = random_case(0)
    metrics.coco(said, truths, NAMES)
    assert capsys.readouterr() == ("", "")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_better_scores_for_right_ones_never_hurt(seed):
    """Average precision looks at order alone, and every wrong detection more costs or is free."""
    said, truths = random_case(seed, images=2)
    ap = metrics.average_precision(said, truths, 0).ap
    stretched = [one._replace(scores=one.scores**3 / 2 + 0.1) for one in said]
    again = metrics.average_precision(stretched, truths, 0).ap
    far = found([[500, 500, 510, 510]], [2.0], [0])
    worse = [Found(*(np.concatenate(p) for p in zip(one, far, strict=True))) for one in said]
    lower = metrics.average_precision(worse, truths, 0).ap
    if math.isnan(ap):
        assert math.isnan(again) and math.isnan(lower)
    else:
        assert again == ap and lower <= ap


def test_what_cannot_be_evaluated_is_refused_by_name():
    good, truth = found([[0, 0, 5, 5]], [0.9], [0]), boxes.truth([[0, 0, 5, 5]], [0])
    flat = truth._replace(boxes=np.float32([[1, 1, 1, 4]]))
    for said, truths, words in (
        ([], [truth], "1 images but detections of 0"),
        ([good._replace(scores=np.float32([math.nan]))], [truth], "Image 0: a score is NaN"),
        ([good._replace(boxes=np.float32([[0, 0, math.inf, 1]]))], [truth], "infinite corner"),
        ([good._replace(labels=np.array([4]))], [truth], "labels run from 0 to 4"),
        ([good], [truth._replace(labels=np.array([-1]))], "labels run from -1"),
        ([good], [flat], "Image 0: a true box has no width or height"),
        ([good._replace(scores=np.zeros(2))], [truth], "give every box one of each"),
        ([good._replace(boxes=np.zeros(4))], [truth], r"shape \(number, 4\)"),
    ):
        with pytest.raises(CourseError, match=words):
            metrics.coco(said, truths, NAMES)


def test_the_range_is_around_the_value_and_narrows_with_more_images():
    widths = []
    for images in (10, 160):
        said, truths = random_case(5, images)
        value, (low, high) = (
            metrics.coco(said, truths, NAMES),
            metrics.coco_range(said, truths, NAMES),
        )
        assert low.ap50 <= value.ap50 <= high.ap50
        assert low.classes["cat"].ap50 <= value.classes["cat"].ap50 <= high.classes["cat"].ap50
        assert math.isnan(low.classes["nobody"].ap)
        widths.append(high.ap50 - low.ap50)
    assert 0 < widths[1] < widths[0]


def test_drawing_every_image_once_is_the_value_itself():
    said, truths = random_case(7, 8)
    for label in range(3):
        right, image = detection._ranked(said, truths, label, 0.5)
        wanted = sum(int((~t.crowd[t.labels == label]).sum()) for t in truths)
        once = detection._weighted(right, np.ones((1, len(image)), int), np.array([wanted]))
        assert once[0] == pytest.approx(metrics.average_precision(said, truths, label).ap)
