"""Boxes against other ways to the same answers: pixels counted one by one, a textbook, COCO's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from utils import CourseError, boxes

SIDE = 24  # of the canvas on which pixels are counted


@st.composite
def whole(draw, least=0, most=6):
    """Boxes with whole corners within the canvas, some without an inside."""
    count = draw(st.integers(least, most))
    corner = st.integers(0, SIDE)
    found = [
        (min(a, c), min(b, d), max(a, c), max(b, d))
        for a, b, c, d in (draw(st.tuples(*[corner] * 4)) for _ in range(count))
    ]
    return np.array(found, np.float32).reshape(-1, 4)


def real(rng, count, side=100.0):
    """Boxes with any corners, none without an inside."""
    corners = rng.uniform(0, side, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1) + 0.5], axis=1, dtype="float32")


def painted(box):
    """The set of the canvas's pixels in a box."""
    x0, y0, x1, y1 = box.astype(int)
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


@settings(max_examples=200)
@given(whole(), whole())
def test_overlaps_are_counted_pixels(a, b):
    union_over = boxes.iou(a, b)
    generalised, share = boxes.giou(a, b), boxes.covered(a, b)
    assert union_over.shape == generalised.shape == share.shape == (len(a), len(b))
    assert {each.dtype for each in (union_over, generalised, share)} == {np.dtype("float32")}
    for i, first in enumerate(a):
        pixels = painted(first)
        assert boxes.area(a)[i] == len(pixels)
        for j, second in enumerate(b):
            others = painted(second)
            common, union = len(pixels & others), len(pixels | others)
            low, high = np.minimum(first, second)[:2], np.maximum(first, second)[2:]
            around = len(painted(np.array([*low, *high])))
            expected = common / union if union else 0.0
            assert union_over[i, j] == pytest.approx(expected, abs=1e-6)
            empty = (around - union) / around if around else 0.0
            assert generalised[i, j] == pytest.approx(expected - empty, abs=1e-6)
            assert share[i, j] == pytest.approx(common / len(pixels) if pixels else 0, abs=1e-6)


def test_cocos_own_code_agrees_on_thousands_of_boxes():
    rng = np.random.default_rng(0)
    for scale in (10, 100, 5000):
        a, b = real(rng, 120, scale), real(rng, 80, scale)
        as_xywh = [boxes.convert(each, "xyxy", "xywh").astype(np.float64) for each in (a, b)]
        judge = coco.iou(*as_xywh, [0] * len(b))
        assert np.abs(boxes.iou(a, b) - judge).max() < 1e-4
        crowds = coco.iou(*as_xywh, [1] * len(b))
        assert np.abs(boxes.covered(a, b) - crowds).max() < 1e-4


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_overlap_has_the_laws_of_overlap(seed):
    rng = np.random.default_rng(seed)
    a, b = real(rng, 5), real(rng, 7)
    found, general = boxes.iou(a, b), boxes.giou(a, b)
    assert np.allclose(found, boxes.iou(b, a).T) and np.allclose(general, boxes.giou(b, a).T)
    assert np.allclose(np.diag(boxes.iou(a, a)), 1) and np.allclose(np.diag(boxes.giou(a, a)), 1)
    assert ((found >= 0) & (found <= 1)).all()
    assert ((general > -1) & (general <= found + 1e-6)).all()
    shift = np.tile(rng.uniform(-50, 50, 2), 2)
    moved = [3 * each + shift for each in (a, b)]
    assert np.allclose(boxes.iou(*moved), found, atol=1e-4)  # neither shift nor scale matters
    inside = a * np.float32(0.5) + np.tile(a[:, :2] + a[:, 2:], 2) / 4  # the middle quarter
    assert np.allclose(np.diag(boxes.iou(a, inside)), 0.25, atol=1e-3)
    assert np.allclose(np.diag(boxes.covered(inside, a)), 1, atol=1e-3)


@settings(max_examples=300)
@given(st.integers(0, 10**6), st.sampled_from(boxes.FORMATS), st.sampled_from(boxes.FORMATS))
def test_formats_convert_there_and_back(seed, first, second):
    rng = np.random.default_rng(seed)
    some, size = real(rng, 6), {"height": rng.integers(1, 500), "width": rng.integers(1, 500)}
    for source in (first, f"{first}n"):
        given_ = boxes.convert(some, "xyxy", source, **size)
        for target in (second, f"{second}n"):
            there = boxes.convert(given_, source, target, **size)
            assert there.dtype == np.float32
            assert np.allclose(boxes.convert(there, target, "xyxy", **size), some, atol=2e-3)
    assert np.array_equal(boxes.convert(some, first, first), some)


def test_formats_by_hand():
    box = [[10, 20, 40, 60]]
    size = {"height": 100, "width": 200}
    expected = {
        "xywh": [10, 20, 30, 40],
        "cxcywh": [25, 40, 30, 40],
        "xyxyn": [0.05, 0.2, 0.2, 0.6],
        "xywhn": [0.05, 0.2, 0.15, 0.4],
        "cxcywhn": [0.125, 0.4, 0.15, 0.4],
    }
    for target, numbers in expected.items():
        found = boxes.convert(box, "xyxy", target, **size)
        assert found[0] == pytest.approx(numbers)
        assert boxes.convert(found, target, "xyxy", **size)[0] == pytest.approx(box[0])
    assert boxes.convert([], "xyxy", "cxcywhn", 10, 10).shape == (0, 4)


def textbook(some, scores, threshold):
    """NMS as a textbook has it: compare every pair, in the order of scores."""
    order = sorted(range(len(some)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        for j in kept:
            a, b = some[i].astype(float), some[j].astype(float)
            wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
            if wide * high > threshold * union:
                break
        else:
            kept.append(i)
    return kept


@settings(max_examples=300)
@given(whole(most=14), st.integers(0, 10**6), st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0]))
def test_nms_is_the_textbooks(some, seed, threshold):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, len(some)) / 4  # with ties
    labels = rng.integers(0, 3, len(some))
    found = boxes.nms(some, scores, threshold)
    assert found.dtype == np.int64 and found.tolist() == textbook(some, scores, threshold)
    by_class = [
        np.flatnonzero(labels == label)[textbook(some[labels == label], own, threshold)]
        for label in range(3)
        for own in [scores[labels == label]]
    ]
    expected = sorted(np.concatenate(by_class).tolist(), key=lambda i: (-scores[i], i))
    assert boxes.batched_nms(some, scores, labels, threshold).tolist() == expected


def test_nms_leaves_what_does_not_overlap_and_one_of_what_does():
    rng = np.random.default_rng(0)
    some = real(rng, 300)
    scores = rng.random(300)
    kept = boxes.nms(some, scores, 0.3)
    assert (np.diff(scores[kept]) <= 0).all()
    among = boxes.iou(some[kept], some[kept])
    assert (among[~np.eye(len(kept), dtype=bool)] <= 0.3 + 1e-6).all()
    gone = np.setdiff1d(np.arange(300), kept)
    better = (scores[kept] > scores[gone, None]) & (boxes.iou(some[gone], some[kept]) > 0.3 - 1e-6)
    assert better.any(axis=1).all()
    assert boxes.nms(boxes.truth().boxes, [], 0.5).shape == (0,)
    assert boxes.batched_nms([], [], [], 0.5).shape == (0,)


def test_the_best_are_few_enough_and_sound():
    some = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9], [5, 5, 5, 8], [50, 50, 60, 60]])
    found = boxes.best(some, [0.5, 0.9, 0.8, 0.99, 0.04], [0, 0, 1, 0, 0])
    assert found.labels.tolist() == [0, 1] and found.scores == pytest.approx([0.9, 0.8])
    assert [part.dtype.name for part in found] == ["float32", "float32", "int64"]
    assert len(boxes.best(some, [0.5, 0.9, 0.8, 0.9, 0.9], [0, 1, 2, 3, 4], most=2).scores) == 2
    assert boxes.best(some, [np.nan] * 5, [0] * 5).boxes.shape == (0, 4)
    assert boxes.best([], [], []).boxes.shape == (0, 4)


@given(st.integers(0, 10**6))
def test_clipping_keeps_what_is_inside(seed):
    some = real(np.random.default_rng(seed), 8) - 20
    found = boxes.clip(some, 50, 70)
    frame = np.array([[0, 0, 70, 50]])
    assert boxes.area(found) == pytest.approx(
        (boxes.covered(some, frame)[:, 0] * boxes.area(some)).tolist(), abs=0.1
    )
    assert (boxes.covered(found, frame)[boxes.area(found) > 0] > 0.999).all()


BAD = {
    "a NaN or infinite side": ([[0, 0, np.nan, 5]], [0]),
    "has no inside": ([[5, 5, 5, 9]], [0]),
    "bottom top": ([[5, 5, 9, 3]], [0]),
    "reaches out of the image, 20 wide and 10 high": ([[0, 0, 20.5, 5]], [0]),
    "is of class 3, but classes run from 0 to 2": ([[0, 0, 5, 5]], [3]),
    "is of class -1": ([[0, 0, 5, 5]], [-1]),
}


@pytest.mark.parametrize("words", BAD)
def test_a_bad_box_is_named(words):
    some, labels = BAD[words]
    good = [[1, 1, 4, 4]]
    with pytest.raises(CourseError, match=words) as caught:
        boxes.check(boxes.truth(good + some, [0, *labels]), 10, 20, 3, image=7)
    assert "Image 7: box 1" in str(caught.value)
    assert boxes.check(boxes.truth(good, [2]), 10, 20, 3).labels.tolist() == [2]


def test_wrong_shapes_are_named():
    good = boxes.truth([[1, 1, 4, 4]], [0])
    assert boxes.check(boxes.truth(), 1, 1, 1).boxes.shape == (0, 4)  # nothing in it
    with pytest.raises(CourseError, match="labels has the shape"):
        boxes.check(good._replace(labels=np.zeros(2, int)), 10, 10, 1)
    with pytest.raises(CourseError, match="crowd has the shape"):
        boxes.check(good._replace(crowd=np.zeros((1, 1), bool)), 10, 10, 1)
    with pytest.raises(CourseError, match="whole numbers"):
        boxes.check(good._replace(labels=np.zeros(1)), 10, 10, 1)
    with pytest.raises(CourseError, match="boxes.truth"):
        boxes.check(good._replace(boxes=np.zeros(0)), 10, 10, 1)
    for call in (boxes.area, lambda box: boxes.iou(box, box), lambda box: boxes.clip(box, 9, 9)):
        with pytest.raises(CourseError, match=r"shape \(number, 4\)"):
            call(np.array([0, 0, 5, 5]))
    with pytest.raises(CourseError, match="scores has the shape"):
        boxes.nms(np.ones((2, 4)), [0.5], 0.5)
    with pytest.raises(CourseError, match="no box format 'yxyx'"):
        boxes.convert(good.boxes, "yxyx", "xyxy")
    with pytest.raises(CourseError, match="height= and width="):
        boxes.convert(good.boxes, "xyxy", "cxcywhn")


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_what_is_sound_passes_the_check(seed):
    rng = np.random.default_rng(seed)
    some = rng.choice([-5.0, 0, 3, 8, 20, 21, np.nan, np.inf], (6, 4), p=[0.14] * 6 + [0.08] * 2)
    given_ = boxes.truth(some, rng.integers(0, 2, 6), rng.random(6) < 0.3)
    found = boxes.sound(given_, 8, 20)
    boxes.check(found, 8, 20, 2)
    gone = boxes.dropped(given_, 8, 20)
    assert len(found.boxes) == 6 - gone.sum()
    assert np.array_equal(found.labels, given_.labels[~gone])
    assert np.array_equal(found.crowd, given_.crowd[~gone])
    again = boxes.sound(found, 8, 20)
    assert np.array_equal(again.boxes, found.boxes)


def test_a_box_over_an_image_of_one_pixel_is_sound():
    one = boxes.truth([[0, 0, 1, 1], [0.5, 0, 0.5, 1], [2, 2, 5, 5]], [0, 0, 0])
    assert boxes.dropped(one, 1, 1).tolist() == [False, True, True]
    assert boxes.sound(one, 1, 1).boxes.tolist() == [[0, 0, 1, 1]]
