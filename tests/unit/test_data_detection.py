"""Pictures with boxes: scenes, blood cells, and augmentation that moves boxes along."""

import hashlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import CourseError, boxes, data
from utils.boxes import Truth

# `utils.data.scenes` is the function; the module of the same name stands here.
scenes = sys.modules["utils.data.scenes"]


@pytest.fixture(scope="module")
def digits():
    return data.mnist("embedded")


@pytest.fixture(scope="module")
def drawn(digits):
    return data.draw_scenes(200, digits.x_train, digits.y_train, seed=3)


def test_scenes_are_what_they_promise(drawn):
    images, truths = drawn
    assert images.shape == (200, 96, 96, 3) and images.dtype == np.uint8
    counts = np.array([len(t.boxes) for t in truths])
    assert (counts == 0).any() and counts.max() <= scenes.MOST + 1 and (counts >= 6).any()
    assert any(t.crowd.any() for t in truths)
    boxes = np.concatenate([t.boxes[~t.crowd] for t in truths])
    assert boxes.dtype == np.float32
    assert (boxes >= 0).all() and (boxes <= 96).all()
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 2
    assert longer.max() <= scenes.HIGH + 1 and np.quantile(longer, 0.05) >= scenes.LOW - 2
    labels = np.concatenate([t.labels for t in truths])
    assert labels.dtype == np.int64 and set(labels) == set(range(10))


def test_the_first_scenes_of_many_are_the_same_and_seeds_differ(digits, drawn):
    few, truths = data.draw_scenes(5, digits.x_train, digits.y_train, seed=3)
    np.testing.assert_array_equal(few, drawn[0][:5])
    for one, other in zip(truths, drawn[1], strict=False):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    other, _ = data.draw_scenes(5, digits.x_train, digits.y_train, seed=4)
    assert (few != other).mean() > 0.5


def test_a_box_is_the_extent_of_the_ink_that_is_seen(monkeypatch):
    """Blocks numbered by their brightness on black: each box's ink is found again."""
    monkeypatch.setattr(scenes, "_canvas", lambda size, rng: np.zeros((size, size, 3), np.float32))
    monkeypatch.setattr(scenes, "CROWD", 0)

    def paint(canvas, here, mask, rng):
        paint.count += 1
        canvas[here][mask >= scenes.INK] = paint.count / 255

    blocks = np.zeros((1, 28, 28), np.uint8)
    blocks[:, 4:24, 8:20] = 255
    monkeypatch.setattr(scenes, "_paint", paint)
    for seed in range(8):
        paint.count = 0
        images, truths = data.draw_scenes(1, blocks, np.array([7]), seed=seed)
        assert len(truths[0].boxes) == paint.count
        for number, box in enumerate(truths[0].boxes, start=1):
            y, x = np.nonzero(images[0, :, :, 0] == number)
            np.testing.assert_array_equal(box, [x.min(), y.min(), x.max() + 1, y.max() + 1])


def test_scenes_data_set_uses_test_digits_for_test_scenes(monkeypatch, digits):
    monkeypatch.setattr(scenes, "mnist", lambda: digits)
    made = data.scenes(train=6, test=4, seed=1)
    again, _ = data.draw_scenes(4, digits.x_test, digits.y_test, seed=0)
    np.testing.assert_array_equal(made.x_test, again)
    assert made.class_names == tuple("0123456789") and not made.real
    assert "6 training and 4 test pictures of 96×96" in made.describe()


def test_drawn_cells(digits):
    images, truths = data.draw_cells(12, 120, 160, seed=5)
    assert images.shape == (12, 120, 160, 3)
    labels = np.concatenate([t.labels for t in truths])
    assert set(labels) == {0, 1, 2} and (labels == 0).mean() > 0.5
    for truth in truths:
        assert (truth.boxes[:, 2:] > truth.boxes[:, :2]).all()
        assert (truth.boxes >= 0).all() and (truth.boxes <= [160, 120, 160, 120]).all()
    tiny, _ = data.draw_cells(2, 1, 1)
    assert tiny.shape == (2, 1, 1, 3)


def square(x, y, side=10, height=40, width=60):
    """A white square on black with its box."""
    image = np.zeros((height, width, 3), np.uint8)
    image[y : y + side, x : x + side] = 255
    box = np.array([[x, y, x + side, y + side]], np.float32)
    return image[None], [Truth(box, np.array([0]), np.array([False]))]


def extent(image):
    y, x = np.nonzero(image.mean(axis=2) > 127)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


def test_flipping_moves_boxes_along():
    images, truths = square(5, 20)
    turned, moved = data.flipped(images, truths, np.random.default_rng(0), share=1.0)
    np.testing.assert_array_equal(moved[0].boxes[0], extent(turned[0]))
    np.testing.assert_array_equal(moved[0].boxes[0], [45, 20, 55, 30])
    np.testing.assert_array_equal(truths[0].boxes[0], [5, 20, 15, 30])
    back, same = data.flipped(turned, moved, np.random.default_rng(0), share=1.0)
    np.testing.assert_array_equal(back, images)
    np.testing.assert_array_equal(same[0].boxes, truths[0].boxes)


@pytest.mark.parametrize("seed", range(20))
def test_jitter_moves_boxes_along(seed):
    images, truths = square(25, 15, 12)
    rng = np.random.default_rng(seed)
    moved, found = data.jittered(images, truths, rng, shift=0.1, scale=0.3, colour=0.0)
    assert np.abs(found[0].boxes[0] - extent(moved[0])).max() <= 1.0
    assert not found[0].crowd.any()


def test_pictures_grow_and_shrink_about_their_middle():
    images, truths = square(24, 14, 12)  # in the middle of 40×60
    for seed in range(5):
        rng = np.random.default_rng(seed)
        _, (moved,) = data.jittered(images, truths, rng, shift=0, scale=0.5, colour=0)
        left, top, right, bottom = moved.boxes[0]
        assert left + right == pytest.approx(60) and top + bottom == pytest.approx(40)


def test_jitter_cuts_drops_and_makes_crowds():
    truth = Truth(
        np.array([[-8, 0, 2, 10], [-9, 0, 1, 10], [-2, 0, 8, 10]], np.float32),
        np.array([0, 1, 2]),
        np.zeros(3, bool),
    )
    images = np.zeros((1, 40, 60, 3), np.uint8)
    rng = np.random.default_rng(0)
    _, (cut,) = data.jittered(images, [truth], rng, shift=0, scale=0, colour=0)
    np.testing.assert_array_equal(cut.boxes, [[0, 0, 2, 10], [0, 0, 8, 10]])
    np.testing.assert_array_equal(cut.labels, [0, 2])
    np.testing.assert_array_equal(cut.crowd, [True, False])


def test_pictures_without_a_box_pass_through():
    none = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    images, rng = np.zeros((2, 1, 1, 3), np.uint8), np.random.default_rng(0)
    for moved in (data.flipped, data.jittered):
        _, truths = moved(images, [none, none], rng)
        assert [t.boxes.shape for t in truths] == [(0, 4), (0, 4)]


def test_detection_refuses_what_does_not_fit():
    images, truths = square(5, 5)
    good = {
        "name": "Toy",
        "class_names": ("square",),
        "x_train": images,
        "t_train": truths,
        "x_test": images,
        "t_test": truths,
        "source": "drawn",
        "real": False,
    }
    assert data.Detection(**good).counts() == {"square": 1}
    wrong_label = [truths[0]._replace(labels=np.array([1]))]
    for change, words in (
        ({"t_train": []}, "1 train pictures but 0 truths"),
        ({"x_test": images[..., :1]}, "x_test must be a non-empty uint8"),
        ({"x_test": images[:, :20]}, "bring them to one size"),
        ({"t_test": wrong_label}, r"t_test\[0\] of Toy: box 0, .* is of class 1"),
        ({"t_test": [None]}, "must be a Truth, not"),
    ):
        with pytest.raises(CourseError, match=words):
            data.Detection(**{**good, **change})


def test_scenes_refuse_what_they_cannot_draw(digits):
    x, y = digits.x_train[:3], digits.y_train[:3]
    for call, words in (
        (lambda: data.draw_scenes(0, x, y), "count"),
        (lambda: data.draw_scenes(1, x, y, size=20), "no room"),
        (lambda: data.draw_scenes(1, x / 255, y), "uint8 digits"),
        (lambda: data.draw_scenes(1, x, y[:2]), "one whole-number label"),
        (lambda: data.draw_scenes(1, 0 * x, y), "not blank"),
    ):
        with pytest.raises(CourseError, match=words):
            call()


def test_scenes_stay_what_they_are(drawn):
    """Checkpoints were trained on these scenes: boxes that change would change what they mean."""
    boxes = np.concatenate([t.boxes for t in drawn[1]]).astype(np.int64)
    assert hashlib.sha256(boxes.tobytes()).hexdigest()[:12] == "00719407e8b9"


corner = st.integers(0, 27)
side = st.integers(1, 12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(corner, corner, side, side, st.booleans()), max_size=6),
    st.integers(0, 10**6),
    st.floats(0, 0.5),
    st.floats(0, 1),
)
def test_whatever_is_augmented_stays_sound(things, seed, shift, scale):
    """Boxes stay inside, keep an inside, and lose neither label nor order."""
    corners = [(x, y, x + w, y + h) for x, y, w, h, _ in things]
    truth = boxes.truth(corners, range(len(things)), [thing[4] for thing in things])
    images = np.zeros((1, 40, 40, 3), np.uint8)
    rng = np.random.default_rng(seed)
    out, (moved,) = data.jittered(images, [truth], rng, shift, scale, flip=True)
    boxes.check(moved, 40, 40, max(1, len(things)))
    assert out.shape == images.shape and out.dtype == np.uint8
    assert moved.labels.tolist() == sorted(moved.labels.tolist())
    assert moved.crowd[truth.crowd[moved.labels]].all(), "a crowd stays one"
    once, (turned,) = data.flipped(images, [truth], rng, share=1.0)
    _, (back,) = data.flipped(once, [turned], rng, share=1.0)
    np.testing.assert_array_equal(back.boxes, truth.boxes)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(48, 120))
def test_every_scene_is_sound(seed, size):
    digits = np.zeros((3, 28, 28), np.uint8)
    digits[0, 4:24, 12:16] = digits[1, 4:24, 4:24] = digits[2, 13:15, 2:26] = 255
    _, truths = data.draw_scenes(2, digits, np.array([1, 0, 7]), size, seed)
    for truth in truths:
        boxes.check(truth, size, size, 10)
        assert truth.crowd.sum() <= 1 and len(truth.boxes) <= 8
        overlap = boxes.iou(truth.boxes, truth.boxes) - np.eye(len(truth.boxes))
        assert overlap.max(initial=0) <= scenes.OVERLAP + 0.1  # what is hidden may shrink a box


def test_strokes_that_fade_are_left_out():
    thin = np.zeros((1, 28, 28), np.uint8)
    thin[0, 5, 5:25] = 100
    _, truths = data.draw_scenes(20, thin, np.array([1]))
    for truth in truths:
        boxes.check(truth, 96, 96, 10)
