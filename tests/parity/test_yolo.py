"""16_yolo in three frameworks: the loss term by term, steps, targets, switches, odd inputs."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, boxes, data, lessons, parity, runtime

NAME = "16_yolo"
ROOT = Path(__file__).resolve().parents[2]
SWITCHES = {
    "version 1": {},
    "without square roots": {"roots": False},
    "BatchNorm": {"norm": True},
    "logistic": {"logistic": True},
    "anchors": {"anchors": 3},
    "all": {"anchors": 4, "logistic": True, "norm": True},
}


@pytest.fixture(scope="module")
def some():
    """Sixty scenes of the embedded digits and what is in them."""
    digits = data.mnist("embedded")
    return data.draw_scenes(60, digits.x_train, digits.y_train, seed=3)


def settled(lesson, some, **changes):
    """Settings with what follows from the scenes."""
    return lesson["torch"].prepared(*some, settings(lesson, "torch", **changes))


def strong(lesson, s, seed=0):
    """Weights whose head says something, so that the boxes of a cell differ."""
    weights = lesson["torch"].start(s, seed)
    kernel = weights["head.kernel"]
    weights["head.kernel"] = np.random.default_rng(seed).normal(0, 0.1, kernel.shape)
    weights["head.kernel"] = weights["head.kernel"].astype("float32")
    return weights


def answers(lesson, framework, s, weights, x, grid):
    """Output, terms and gradients of a framework's model, in training mode."""
    import tensorflow as tf
    import torch

    ours = lesson[framework]
    model = ours.ways[framework].build(s)
    parity.set_weights(model, weights)
    variables = parity.variables(model)
    if framework == "torch":
        raw = model.train()(torch.as_tensor(x))
        terms = ours.loss_torch(raw, torch.as_tensor(grid), s)
        slopes = torch.autograd.grad(sum(terms.values()), variables)
    else:
        with tf.GradientTape() as tape:
            raw = model(tf.constant(x), training=True)
            loss = ours.loss_tf if framework == "tensorflow" else ours.loss_keras
            terms = loss(raw, tf.constant(grid), s)
            total = tf.add_n(list(terms.values()))
        own = [getattr(each, "value", each) for each in variables]
        slopes = tape.gradient(total, variables if framework == "tensorflow" else own)
    found = {name: parity.to_numpy(term) for name, term in terms.items()}
    return {"output": parity.to_numpy(raw), **found} | {
        "gradients": parity.named_gradients(model, slopes)
    }


@pytest.mark.parametrize("title", SWITCHES)
def test_terms_and_gradients_agree(lesson, some, title):
    # Few activations: among many, rounding puts one on the other side of the leaky ReLU's kink.
    s = settled(lesson, some, width=4, **SWITCHES[title])
    weights, (x, truths) = strong(lesson, s), some
    grid = lesson["torch"].targets(truths[:2], 96, 96, s)
    x = x[:2].astype("float32") / 255
    found = {
        framework: answers(lesson, framework, s, weights, x, grid)
        for framework in runtime.FRAMEWORKS
    }
    parity.compare(found, tolerance=1e-5).verdict()
    assert all(found["torch"][term] > 0 for term in ("centre", "size", "object", "class"))


def by_hand(raw, grid, s):
    """Version 1's loss, cell by cell and box by box, as the paper writes it."""
    terms = dict.fromkeys(("centre", "size", "object", "no object", "class"), 0.0)
    for picture, row, column in np.ndindex(raw.shape[:3]):
        said, asked = raw[picture, row, column].astype(float), grid[picture, row, column, 0]
        boxes_said, classes = said[: 5 * s.boxes].reshape(s.boxes, 5), said[5 * s.boxes :]
        ious = np.zeros(s.boxes)
        if asked[0]:
            half = asked[4:6] / 2
            centre = s.stride * asked[2:4]
            truth = np.float32([[*(centre - half), *(centre + half)]])
            here = [
                [
                    *(s.stride * b[:2] - s.unit * b[2:4] ** 2 / 2),
                    *(s.stride * b[:2] + s.unit * b[2:4] ** 2 / 2),
                ]
                for b in boxes_said
            ]
            ious = boxes.iou(np.float32(here), truth)[:, 0]
        for j, (x, y, w, h, sure) in enumerate(boxes_said):
            if asked[0] and j == ious.argmax():
                terms["centre"] += s.coord * ((x - asked[2]) ** 2 + (y - asked[3]) ** 2)
                roots = np.sqrt(asked[4:6] / s.unit)
                terms["size"] += s.coord * ((w - roots[0]) ** 2 + (h - roots[1]) ** 2)
                terms["object"] += (sure - ious[j]) ** 2
            elif not asked[1]:
                terms["no object"] += s.noobj * sure**2
        if asked[0]:
            terms["class"] += ((classes - asked[8:]) ** 2).sum()
    return {name: value / len(raw) for name, value in terms.items()}


def test_the_loss_is_the_papers_sum(lesson, some):
    import torch

    s = settled(lesson, some)
    _, truths = some
    grid = lesson["torch"].targets(truths[:6], 96, 96, s)
    raw = np.random.default_rng(0).normal(0.4, 0.3, (*grid.shape[:3], 20)).astype("float32")
    found = lesson["torch"].loss_torch(torch.as_tensor(raw), torch.as_tensor(grid), s)
    expected = by_hand(raw, grid, s)
    assert {name: float(term) for name, term in found.items()} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("changes", [{}, {"anchors": 4, "logistic": True}])
def test_what_targets_ask_for_reads_as_the_truth(lesson, some, changes):
    """A head that says exactly what it should finds every object that has a place."""
    ours, s, (_, truths) = lesson["torch"], settled(lesson, some, **changes), some
    grid = ours.targets(truths, 96, 96, s)
    there = grid[..., :1]
    if s.anchors:
        logit = np.log(np.clip(grid[..., 2:4], 1e-4, 1 - 1e-4))
        logit -= np.log(1 - np.clip(grid[..., 2:4], 1e-4, 1 - 1e-4))
        parts = [logit, grid[..., 6:8], 40 * there - 20, 40 * grid[..., 8:] - 20]
        raw = np.concatenate(parts, axis=4).reshape(*grid.shape[:3], -1)
    else:
        box = np.concatenate([grid[..., 0, 2:4], grid[..., 0, 6:8], there[..., 0, :]], axis=3)
        raw = np.concatenate([box, 0 * box, grid[..., 0, 8:]], axis=3)
    found = ours.found_of(raw, s, 96, 96, 0.5, threshold=0.99)
    for one, truth, asked in zip(found, truths, grid, strict=True):
        kept = int(asked[..., 0].sum())
        real = ~truth.crowd
        assert len(one.boxes) == kept <= real.sum()
        if kept:
            overlaps = boxes.iou(one.boxes, truth.boxes[real])
            assert overlaps.max(axis=1).min() > 0.99
            assert (truth.labels[real][overlaps.argmax(axis=1)] == one.labels).all()


def test_a_cell_keeps_one_object_in_version_1_and_one_a_prior_with_anchors(lesson):
    ours = lesson["torch"]
    nested = np.float32([[28, 24, 68, 68], [43, 39, 53, 53]])  # a digit within a zero
    truth = boxes.Truth(nested, np.array([0, 7]), np.zeros(2, bool))
    common = {"stride": 8, "classes": 10, "roots": True, "unit": 96.0}
    first = SimpleNamespace(**common, anchors=0, priors=None)
    later = SimpleNamespace(**common, anchors=2, priors=[[10, 14], [40, 44]])
    assert ours.targets([truth], 96, 96, first)[..., 0].sum() == 1
    grid = ours.targets([truth], 96, 96, later)
    assert grid[..., 0].sum() == 2
    assert grid[0, 5, 6, :, 8:].argmax(axis=1).tolist() == [7, 0]


def test_crowds_are_neither_asked_for_nor_punished(lesson):
    import torch

    ours = lesson["torch"]
    truth = boxes.Truth(np.float32([[0, 0, 48, 96]]), np.array([3]), np.array([True]))
    for changes in ({"anchors": 0, "priors": None}, {"anchors": 2, "priors": [[10, 10], [30, 30]]}):
        s = SimpleNamespace(**{**ours.QUICK, **changes, "unit": 96.0})
        grid = ours.targets([truth], 96, 96, s)
        assert grid[..., 0].sum() == 0 and grid[:, :, :6, :, 1].all()
        assert not grid[:, :, 6:, :, 1].any()
        raw = torch.zeros(1, 12, 12, ours.outputs_of(s))
        raw[:, :, :6] = 5.0
        terms = ours.loss_torch(raw, torch.as_tensor(grid), s)
        assert float(terms["no object"]) == 0


def test_anchors_are_found_by_shape(lesson):
    ours, rng = lesson["torch"], np.random.default_rng(0)
    shapes = np.array([[8.0, 20.0], [30.0, 10.0], [40.0, 40.0]])
    sizes = np.concatenate([shape * rng.uniform(0.9, 1.1, (60, 2)) for shape in shapes])
    for seed in range(5):
        found = ours.kmeans(sizes, 3, seed)
        assert found == pytest.approx(shapes, rel=0.05)
    fits = [ours.shape_iou(sizes, ours.kmeans(sizes, k)).max(axis=1).mean() for k in (1, 2, 3)]
    assert fits == sorted(fits) and fits[2] > 0.88
    with pytest.raises(CourseError, match="too few for 5 anchors"):
        ours.kmeans(sizes[:4], 5)


def test_shape_iou_is_the_iou_of_boxes_with_one_centre(lesson):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 50, (40, 2)), rng.uniform(1, 50, (7, 2))
    whole = boxes.iou(
        np.concatenate([-a, a], 1).astype("f4"), np.concatenate([-b, b], 1).astype("f4")
    )
    assert lesson["torch"].shape_iou(a, b) == pytest.approx(whole, abs=1e-5)


def test_sizes_that_are_resized_keep_their_boxes(lesson, some):
    x, truths = some
    made, moved = lesson["torch"].resized(x[:3], truths[:3], 120, 72)
    assert made.shape == (3, 120, 72, 3) and made.dtype == np.uint8
    for before, after in zip(truths[:3], moved, strict=True):
        assert after.boxes == pytest.approx(before.boxes * np.float32([0.75, 1.25] * 2), abs=1e-4)
    flat = np.full((1, 96, 96, 3), 77, "uint8")
    assert (lesson["torch"].resized(flat, [], 48, 144)[0] == 77).all()
    assert lesson["torch"].resized(x, truths, 96, 96)[0] is x


def test_multi_scale_never_repeats_a_size(lesson, some):
    s = settled(lesson, some, multiscale=True, steps=30, batch_size=2)
    sides = [x.shape[1:3] for x, _ in lesson["torch"].feed(*some, s)]
    assert all(a != b for a, b in zip(sides, sides[1:], strict=False))
    assert {side[0] for side in sides} == set(range(72, 121, 8))
    again = [x.shape[1:3] for x, _ in lesson["torch"].feed(*some, s)]
    assert again == sides


@pytest.mark.parametrize("changes", [{}, {"anchors": 4, "logistic": True, "norm": True}])
def test_ten_steps_of_adam_are_the_same(lesson, some, changes):
    after = {}
    for framework in runtime.FRAMEWORKS:
        chosen = settings(lesson, framework, steps=10, batch_size=4, **changes)
        way = lesson[framework].ways[framework]
        model = way.train(*some, chosen, lambda *_: True)
        kept = parity.get_weights(model)
        after[framework] = {
            "weights": {name: value for name, value in kept.items() if "moving" not in name}
        }
    begun = lesson["torch"].start(settled(lesson, some, **changes), 0)
    moved = after["torch"]["weights"]["conv1.kernel"] - begun["conv1.kernel"]
    assert np.abs(moved).max() > 1e-3
    # Adam divides by a gradient's size: where one is next to nothing, rounding decides its sign.
    parity.compare(after, tolerance=3e-2).verdict()
    for name, value in after["torch"]["weights"].items():
        for other in ("tensorflow", "keras"):
            assert np.abs(value - after[other]["weights"][name]).mean() < 2e-3


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns_and_stopping_leaves_a_usable_model(lesson, some, framework):
    seen = []

    def report(step, logs, preview=None):
        seen.append((step, logs["loss"]))
        if step == 20:
            picture = preview()
            assert picture.dtype == np.uint8 and picture.shape[2] == 3
        return step < 60

    way = lesson[framework].ways[framework]
    chosen = settings(lesson, framework, steps=200, anchors=4, logistic=True, norm=True)
    model = way.train(*some, chosen, report)
    assert [step for step, _ in seen] == list(range(10, 61, 10))
    assert seen[-1][1] < 0.85 * seen[0][1]
    found = way.detect(model, some[0][:4])
    assert len(found) == 4
    for one in found:
        assert isinstance(one, boxes.Found) and len(one.boxes) <= 100
        assert one.boxes.dtype == one.scores.dtype == np.float32
        assert (np.diff(one.scores) <= 0).all() and (one.scores >= 0.05).all()
        assert (one.boxes >= 0).all() and (one.boxes <= 96).all()
    other = np.zeros((1, 64, 128, 3), "uint8")  # another size, in whole cells
    assert len(way.detect(model, other)) == 1
    assert way.raw(model, other).shape[1:3] == (8, 16)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_odd_pictures_and_boxes_are_refused_by_name(lesson, some, framework):
    way = lesson[framework].ways[framework]
    x, truths = some
    model = way.build(settled(lesson, some))
    for side in (1, 50):
        with pytest.raises(CourseError, match=f"{side}×{side} do not divide into cells of 8"):
            way.detect(model, np.zeros((1, side, side, 3), "uint8"))
    chosen = settings(lesson, framework, steps=10, batch_size=4)
    wrong = {
        "label": boxes.Truth(np.float32([[1, 1, 9, 9]]), np.array([10]), np.zeros(1, bool)),
        "zero": boxes.Truth(np.float32([[5, 5, 5, 9]]), np.array([1]), np.zeros(1, bool)),
        "outside": boxes.Truth(np.float32([[90, 90, 120, 99]]), np.array([1]), np.zeros(1, bool)),
        "nan": boxes.Truth(np.float32([[1, 1, np.nan, 9]]), np.array([1]), np.zeros(1, bool)),
    }
    for each in wrong.values():
        with pytest.raises(CourseError, match="Image 2"):
            way.train(x[:8], [*truths[:2], each, *truths[3:8]], chosen, lambda *_: True)
    with pytest.raises(CourseError, match="batch of 400 is larger than the data"):
        large = settings(lesson, framework, batch_size=400)
        way.train(x, truths, large, lambda *_: True)
    nothing = boxes.Truth(np.zeros((0, 4), "f4"), np.zeros(0, int), np.zeros(0, bool))
    model = way.train(x[:8], [nothing] * 8, chosen, lambda *_: True)  # no object anywhere
    assert all(np.isfinite(value).all() for value in parity.get_weights(model).values())


def test_without_the_fourth_term_empty_cells_are_sure_as_well(lesson, some):
    """The experiment of part 9."""
    ours, ratio = lesson["torch"], {}
    way = ours.ways["torch"]
    for weight in (0.5, 0.0):
        chosen = settings(lesson, "torch", steps=80, noobj=weight)
        model = way.train(*some, chosen, lambda *_: True)
        _, sure, _ = ours.read(way.raw(model, some[0]), model.settings)
        there = ours.targets(some[1], 96, 96, model.settings)[..., 0, 0] > 0
        ratio[weight] = sure.max(axis=3)[~there].mean() / sure.max(axis=3)[there].mean()
    assert ratio[0.0] > 0.4 and ratio[0.0] > 1.5 * ratio[0.5]


KERAS_ON_TORCH = """
import numpy as np
from types import SimpleNamespace
from utils import data, lessons
lesson = lessons.load("16_yolo", "keras")
import keras
assert keras.backend.backend() == "torch"
digits = data.mnist("embedded")
x, truths = data.draw_scenes(40, digits.x_train, digits.y_train, seed=3)
for changes in ({}, {"anchors": 4, "logistic": True, "norm": True, "multiscale": True}):
    losses = []
    chosen = SimpleNamespace(**{**lesson.QUICK, **changes, "steps": 40, "seed": 0})
    model = lesson.train_keras(
        x, truths, chosen, lambda s, logs, p: losses.append(logs["loss"]) or True
    )
    assert np.isfinite(losses).all() and losses[-1] < losses[0], losses
    assert len(lesson.detect_keras(model, x[:2])) == 2
"""


def test_keras_trains_on_pytorch_as_well():
    keras_prints(KERAS_ON_TORCH, "torch")


def test_the_later_checkpoint_finds_what_is_there(lesson):
    """A picture of what the numbers in results/ say: most boxes of scenes it has never seen."""
    from utils import metrics
    from utils.recipes import _detectors

    digits = data.mnist("embedded")
    x, truths = data.draw_scenes(40, digits.x_test, digits.y_test, seed=11)
    scores = {}
    for name in (NAME, f"{NAME}_v1"):
        way, model, _ = _detectors.restore(name, "torch")
        scores[name] = metrics.coco(way.detect(model, x), truths, tuple("0123456789")).ap50
    assert min(scores.values()) > 0.6


def test_the_comparison_is_the_notebooks():
    """What the recipe calls all switches is what the lesson does."""
    from utils.recipes import yolo

    assert lessons.load(NAME, "torch").VERSION_3 == yolo.ALL_ON
