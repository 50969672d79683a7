"""13_rcnn: its geometry against the library's, both detectors in three frameworks, its claims."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from parity_settings import keras_prints

from utils import CourseError, anchors, boxes, data, metrics, parity, roi, runtime

NAME = "13_rcnn"
KINDS = ("R-CNN", "Fast R-CNN")


@pytest.fixture(scope="module")
def scenes(digits):
    """Scenes that are at hand everywhere: pictures, truths."""
    return data.draw_scenes(24, digits.x_train, digits.y_train, seed=1)


def chosen(lesson, framework, **changes):
    """The quick profile's settings for scenes, and what differs from them."""
    ours = lesson[framework]
    some = {**ours.QUICK, **ours.COMMON, "seed": 0, "framework": framework, "images": 24}
    return SimpleNamespace(**some | {"width": 8, "steps": 20, "mined": 600} | changes)


def some_boxes(rng, count, side=96.0):
    corners = rng.uniform(0, side, (count, 2, 2))
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, np.maximum(high, low + 1)], axis=1, dtype="float32")


@trying(max_examples=100)
@given(st.integers(0, 10**6))
def test_the_geometry_is_the_librarys(lesson, seed):
    ours, rng = lesson["torch"], np.random.default_rng(seed)
    a, b = some_boxes(rng, rng.integers(1, 12)), some_boxes(rng, rng.integers(1, 6))
    assert ours.area(a) == pytest.approx(boxes.area(a))
    assert ours.iou(a, b) == pytest.approx(boxes.iou(a, b), abs=1e-5)
    assert ours.giou(a, b) == pytest.approx(boxes.giou(a, b), abs=1e-5)
    scores = rng.integers(0, 9, len(a)) / 8  # with ties
    labels = rng.integers(0, 3, len(a))
    assert np.array_equal(ours.nms(a, scores, 0.4), boxes.nms(a, scores, 0.4))
    by_class = ours.nms_by_class(a, scores, labels, 0.4)
    assert np.array_equal(by_class, boxes.batched_nms(a, scores, labels, 0.4))
    start = some_boxes(rng, len(a))
    deltas = ours.encode(a.astype(float), start.astype(float))
    assert deltas == pytest.approx(anchors.encode(a, start), abs=1e-4)
    assert ours.decode(deltas, start.astype(float)) == pytest.approx(a, abs=1e-3)
    assert np.array_equal(ours.match(a, b, 0.5, 0.3), anchors.match(a, b, 0.5, 0.3))
    assert (ours.match(a, b[:0], 0.5, 0.3) == -1).all()


@trying(max_examples=40)
@given(st.integers(0, 10**6))
def test_regions_are_pooled_as_in_the_library(lesson, seed):
    ours, rng = lesson["torch"], np.random.default_rng(seed)
    maps = rng.normal(size=(6, 9, 2)).astype("float32")
    some = some_boxes(rng, 3, 48) * np.float32([1.4, 1, 1.4, 1])
    for box, pooled, aligned in zip(
        some, roi.pool(maps, some, 3, 8), roi.align(maps, some, 3, 8), strict=True
    ):
        assert ours.roi_pool(maps, box, 3, 8) == pytest.approx(pooled)
        assert ours.roi_align(maps, box, 3, 8) == pytest.approx(aligned, abs=1e-4)


@trying(max_examples=40)
@given(st.integers(0, 10**6), st.integers(4, 33), st.integers(4, 33))
def test_gathered_points_are_roi_align(lesson, seed, height, width):
    ours, rng = lesson["torch"], np.random.default_rng(seed)
    rows, columns = height // 4, width // 4
    maps = rng.normal(size=(2, rows, columns, 3)).astype("float32")
    # in pixels of whole cells: what is beyond them does not reach the map
    limit = np.float32([4 * columns, 4 * rows] * 2)
    some = boxes.clip(some_boxes(rng, 6, 40), limit[1], limit[0]).reshape(2, 3, 4)
    some = np.minimum(some, limit)
    index, weight = ours.points(some, height, width)
    read = (maps.reshape(-1, 3)[index] * weight[..., None]).sum(axis=3)
    for image in range(2):
        expected = roi.align(maps[image], some[image], ours.CELL, ours.STRIDE)
        assert read[image] == pytest.approx(expected.reshape(3, -1, 3), abs=1e-5)
    assert weight.sum(axis=-1) == pytest.approx(1)


@trying(max_examples=60)
@given(st.integers(0, 10**6))
def test_average_precision_is_cocos(lesson, seed):
    ours, rng = lesson["torch"], np.random.default_rng(seed)
    truths, found, scores, right = [], [], [], []
    for _ in range(4):
        real = some_boxes(rng, rng.integers(0, 4))
        truths.append(boxes.truth(real, np.zeros(len(real), int)))
        near = np.repeat(real, 2, axis=0) + rng.normal(0, 6, (2 * len(real), 4))
        some = boxes.clip(np.concatenate([near, some_boxes(rng, 2)]), 96, 96)
        some = some[(some[:, 2:] - some[:, :2] > 1).all(axis=1)]
        one = boxes.best(some, rng.permutation(len(some)) / 20 + 0.1, [0] * len(some), 0, 1.0)
        found.append(one)
        scores.append(one.scores)
        right.append(ours.right_ones(one.boxes, real))
    there = sum(len(truth.boxes) for truth in truths)
    curve = metrics.average_precision(found, truths, 0)
    if there:
        order = np.lexsort((np.arange(len(np.concatenate(scores))), -np.concatenate(scores)))
        ap, recall, _ = ours.average_precision(
            np.concatenate(scores)[order], np.concatenate(right)[order], there
        )
        assert ap == pytest.approx(curve.ap) and recall == pytest.approx(curve.recall)
        assert ap == pytest.approx(metrics.coco(found, truths, ["digit"]).ap50, abs=1e-6)


def test_proposals_find_nearly_every_digit(lesson, scenes):
    ours, (images, truths) = lesson["torch"], scenes
    regions = [ours.proposals(image) for image in images]
    assert all(len(some) <= 60 and some.dtype == np.float32 for some in regions)
    for some in regions:
        assert np.array_equal(boxes.clip(some, 96, 96), some) and (boxes.area(some) > 0).all()
    few, all_ = ours.recalls(regions, truths, [5, 60])
    assert few < all_ and all_ > 0.85
    assert np.array_equal(ours.proposals(images[0]), regions[0])
    photo, _ = data.draw_cells(1, seed=1)
    assert len(ours.proposals(photo[0], 300, True)) > 50


def test_images_with_nothing_in_them_have_few_proposals_or_none(lesson):
    ours = lesson["torch"]
    for shape in [(1, 1), (7, 40), (8, 8), (33, 47)]:
        for photo in (False, True):
            assert ours.proposals(np.zeros((*shape, 3), "uint8"), photo=photo).shape[1] == 4
    assert ours.proposals(np.zeros((1, 1, 3), "uint8")).shape == (0, 4)


def test_crops_are_the_boxes_with_their_context(lesson):
    ours, rng = lesson["torch"], np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 40, 50, 3)).astype("uint8")
    same = ours.crops(image, [0], [[6, 4, 38, 36]], context=0)  # 32×32: nothing is warped
    assert same[0] == pytest.approx(ours.centred(image[0, 4:36, 6:38]), abs=1e-5)
    inner = ours.SIDE - 2 * ours.CONTEXT
    with_context = ours.crops(image, [0], [[10, 8, 10 + inner, 8 + inner]])
    assert with_context[0] == pytest.approx(ours.centred(image[0, 6:38, 8:40]), abs=1e-5)
    corner = ours.crops(image, [0], [[0, 0, inner, inner]])[0]
    edge = ours.CONTEXT
    assert not corner[:edge].any() and not corner[:, :edge].any()
    assert corner[edge:, edge:].any()


def test_each_stage_learns_from_what_the_paper_says(lesson, scenes):
    ours, (images, truths) = lesson["torch"], scenes
    settings = chosen(lesson, "torch")
    windows = ours.windows_of(images, truths, settings)
    labels = ours.labels_of(windows)
    for number, truth in enumerate(truths):
        own = windows.image == number
        real = truth.boxes[~truth.crowd]
        assert np.array_equal(windows.boxes[own & windows.exact], real)
        if not len(real):
            assert (labels[own] == 10).all()
            continue
        both = boxes.iou(windows.boxes[own], real)
        assert np.array_equal(windows.nearest[own], real[both.argmax(axis=1)])
        positive = both.max(axis=1) >= 0.5
        assert np.array_equal(labels[own] < 10, positive)
        expected = truth.labels[~truth.crowd][both.argmax(axis=1)]
        assert (both.max(axis=1)[positive] == windows.overlaps[own].max(axis=1)[positive]).all()
        assert (labels[own][positive] == expected[positive]).mean() > 0.99
    for x, y in ours.feed(images, windows, settings):
        assert x.shape == (64, 32, 32, 3) and (y < 10).sum() == 16
    (x, index, weight), (y, targets) = next(ours.feed_fast(images, windows, settings))
    assert x.shape == (2, 96, 96, 3) and index.shape == weight.shape == (2, 32, 16, 16)
    assert y.shape == (2, 32) and targets.shape == (2, 32, 4) and np.isfinite(targets).all()


def test_in_a_crowd_nothing_is_background(lesson, scenes):
    ours, image = lesson["torch"], scenes[0][:1]
    crowd = boxes.truth([[0, 0, 96, 96]], [3], [True])
    windows = ours.windows_of(image, [crowd], chosen(lesson, "torch"))
    assert len(windows.image) == 0
    with pytest.raises(CourseError, match="image is all crowd|nothing to learn"):
        ours.prepared(image, [crowd], chosen(lesson, "torch"))


@pytest.mark.parametrize("words", ["of class 10", "no inside", "reaches out"])
def test_a_bad_truth_is_refused_by_name(lesson, scenes, words):
    bad = {"of class 10": ([[0, 0, 9, 9]], [10]), "no inside": ([[5, 5, 5, 9]], [1])}
    some, labels = bad.get(words, ([[0, 0, 97, 9]], [1]))
    truths = [scenes[1][0], boxes.truth(some, labels)]
    with pytest.raises(CourseError, match=f"Image 1: box 0.*{words}"):
        lesson["torch"].prepared(scenes[0][:2], truths, chosen(lesson, "torch"))


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_the_same_in_each(lesson, scenes, framework, kind):
    """Ten steps of Adam from one start on the same batches; and the start itself stays put."""
    expected = steps_taken(lesson, scenes, "torch", kind)
    found = steps_taken(lesson, scenes, framework, kind)
    begun = lesson["torch"].start(chosen(lesson, "torch", detector=kind))
    assert found.keys() == expected.keys() == begun.keys()
    moved = [name for name in begun if np.abs(expected[name] - begun[name]).max() > 1e-3]
    assert set(moved) == {name for name in begun if not name.startswith(("svm", "ridge"))}
    for name, value in expected.items():
        gap = np.abs(found[name] - value)  # Adam makes steps of noise where a gradient is noise
        assert np.median(gap) < 1e-4 and gap.mean() < 5e-4 and gap.max() < 2e-2, name


TAKEN = {}


def steps_taken(lesson, scenes, framework, kind):
    """The weights after ten steps; R-CNN's last stages are left out."""
    if (framework, kind) not in TAKEN:
        ours = lesson[framework]
        settings = chosen(lesson, framework, detector=kind, steps=10, images=8)
        way, fitted = ours.ways[framework], ours.fit_heads
        ours.fit_heads = lambda *_: {}
        try:
            model = way.train(*scenes, settings, lambda *_: True)
        finally:
            ours.fit_heads = fitted
        TAKEN[framework, kind] = parity.get_weights(model)
    return TAKEN[framework, kind]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_set_of_weights_finds_the_same_everywhere(lesson, scenes, framework, kind):
    rng, found = np.random.default_rng(0), {}
    weights = lesson["torch"].start(chosen(lesson, "torch", detector=kind))
    weights = {name: value + rng.normal(0, 0.05, value.shape) for name, value in weights.items()}
    weights = {name: value.astype("float32") for name, value in weights.items()}
    images = scenes[0][:3]
    regions = [lesson["torch"].proposals(image) for image in images]
    for each in {"torch", framework}:
        way = lesson[each].ways[each]
        model = way.build(chosen(lesson, each, detector=kind))
        parity.set_weights(model, weights)
        some = [way.judge(model, *pair) for pair in zip(images, regions, strict=True)]
        found[each] = some, way.probabilities(model, images[0], regions[0])
        assert found[each][1].sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert len(way.detect(model, images, regions=regions)) == 3
    for (scores, deltas), (theirs, others) in zip(
        found[framework][0], found["torch"][0], strict=True
    ):
        assert scores == pytest.approx(theirs, abs=1e-5)
        assert deltas == pytest.approx(others, abs=1e-4)
    assert found[framework][1] == pytest.approx(found["torch"][1], abs=1e-5)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_stopping_leaves_a_usable_model_of_any_size_of_image(lesson, scenes, framework, kind):
    way, seen = lesson[framework].ways[framework], []
    settings = chosen(lesson, framework, detector=kind, steps=40, images=6)
    model = way.train(*scenes, settings, lambda step, *_: seen.append(step) or step < 20)
    assert seen == [10, 20]
    for shape in [(1, 1), (40, 61), (96, 96)]:
        image = scenes[0][:2, : shape[0], : shape[1]]
        found = way.detect(model, image, score=0.0)
        assert len(found) == 2
        for one in found:
            assert len(one.scores) <= 100 and (np.diff(one.scores) <= 0).all()
            assert np.array_equal(boxes.clip(one.boxes, *shape), one.boxes)
            assert ((one.labels >= 0) & (one.labels < 10)).all()
    with pytest.raises(CourseError, match="uint8"):
        way.detect(model, image[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_hundred_steps_find_digits(lesson, digits, kind):
    """On scenes that it has seen: the whole way from pixels to AP works."""
    images, truths = data.draw_scenes(12, digits.x_train, digits.y_train, seed=3)
    steps = {"R-CNN": 80, "Fast R-CNN": 200}[kind]
    settings = chosen(lesson, "torch", detector=kind, steps=steps, images=12, batch_size=96)
    losses = []
    way = lesson["torch"].ways["torch"]
    model = way.train(
        images, truths, settings, lambda _, logs, __: losses.append(logs["loss"]) or True
    )
    assert np.mean(losses[-2:]) < 0.6 * losses[0]
    found = way.detect(model, images, 0.01)
    assert metrics.coco(found, truths, list("0123456789")).ap50 > 0.3


def test_the_loss_is_fast_r_cnns(lesson):
    """Against a loop over regions; background asks nothing of the deltas."""
    import torch

    rng = np.random.default_rng(0)
    logits, deltas = rng.normal(size=(2, 5, 4)), rng.normal(0, 2, (2, 5, 3, 4))
    labels, targets = rng.integers(0, 4, (2, 5)), rng.normal(size=(2, 5, 4))
    total = 0.0
    for i, j in np.ndindex(2, 5):
        u = labels[i, j]
        total += math.log(np.exp(logits[i, j]).sum()) - logits[i, j, u]
        if u < 3:
            off = np.abs(deltas[i, j, u] - targets[i, j])
            total += np.where(off < 1, off**2 / 2, off - 0.5).sum()
    given_ = [torch.as_tensor(each) for each in (logits, deltas, labels, targets)]
    loss = lesson["torch"].loss_fast_torch(given_[:2], *given_[2:])
    assert float(loss) == pytest.approx(total / 10)


def test_svms_and_regressions_know_what_they_were_shown(lesson):
    """Features that say it all: the SVMs separate, and the regression moves boxes the right way."""
    ours, rng = lesson["torch"], np.random.default_rng(0)
    real = np.tile(np.float32([[20, 20, 60, 60]]), (400, 1))
    real[:, [1, 3]] += np.arange(400, dtype="float32")[:, None] / 32  # no two are the same
    shift = rng.uniform(-6, 6, 400)
    some = real + shift[:, None] * np.float32([1, 0, 1, 0])
    exact = np.arange(400) < 60
    some[exact] = real[exact]
    labels = rng.integers(0, 2, 400)
    overlaps = np.zeros((400, 3), "float32")
    overlaps[np.arange(400), labels] = np.where(rng.random(400) < 0.5, 0.8, 0.1)
    overlaps[exact] = np.eye(3)[labels[exact]]
    windows = ours.Windows(np.zeros(400, int), some, overlaps, real, exact)
    clue = np.concatenate([5 * overlaps, rng.normal(size=(400, 3))], axis=1)
    pooled = np.stack([shift * ~exact, np.ones(400)], axis=1)
    seen = {tuple(box): place for place, box in enumerate(some)}
    ours_crops = ours.crops
    ours.crops = lambda images, which, boxes_: np.array([seen[tuple(box)] for box in boxes_])
    try:
        settings = SimpleNamespace(seed=0, classes=3, mined=400)
        heads = ours.fit_heads(lambda at: (pooled[at], clue[at]), None, windows, settings)
    finally:
        ours.crops = ours_crops
    margins = clue @ heads["svm.kernel"] + heads["svm.bias"]
    for label in range(2):
        own = exact & (labels == label)
        assert margins[own, label].min() > margins[overlaps[:, label] < 0.3, label].mean()
    assert (margins[:, 2] == -3).all()  # a class that is nowhere
    deltas = (pooled @ heads["ridge.kernel"] + heads["ridge.bias"]).reshape(400, 3, 4)
    close = (overlaps[:, 0] > 0.6) & ~exact
    assert np.corrcoef(deltas[close, 0, 0], -shift[close])[0, 1] > 0.99


def test_keras_learns_on_pytorch_too():
    code = f"""
import sys
from types import SimpleNamespace
from utils import data, lessons, runtime
runtime.begin("quick", ["keras"], 0, "cpu", sys.argv[1])
ours = lessons.load("{NAME}", "keras")
digits = data.mnist("embedded")
images, truths = data.draw_scenes(6, digits.x_train, digits.y_train, seed=3)
for kind in {KINDS}:
    some = {{**ours.QUICK, **ours.COMMON, "seed": 0, "images": 6, "steps": 60, "mined": 200}}
    settings = SimpleNamespace(**some | {{"detector": kind, "width": 8, "framework": "keras"}})
    losses = []
    way = ours.ways["keras"]
    report = lambda s, logs, p: losses.append(logs["loss"]) or True
    model = way.train(images, truths, settings, report)
    print(kind.split()[0], losses[-1] / losses[0])
    print("found-" + kind.split()[0], len(way.detect(model, images[:1], 0.0)[0].boxes))
"""
    found = keras_prints(code, "torch")
    assert found["R-CNN"] < 0.9 and found["Fast"] < 0.9
    assert found["found-R-CNN"] > 0 and found["found-Fast"] > 0
