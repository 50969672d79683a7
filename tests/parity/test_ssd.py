"""15_ssd in three frameworks: default boxes, matching, mining, the loss, training, refusals."""

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, anchors, boxes, data, parity, runtime
from utils.exercises import ssd as questions

NAME = "15_ssd"


@pytest.fixture(scope="module")
def scenes():
    digits = data.mnist("embedded")
    return data.draw_scenes(64, digits.x_train, digits.y_train, seed=1)


def tiny(lesson, framework, **changes):
    """Settings of a few short steps on patches of 48×48."""
    short = {"steps": 20, "batch_size": 8, "height": 48, "width": 48}
    return settings(lesson, framework, **{**short, **changes})


def truth(*rows):
    """A Truth of (left, top, right, bottom, label) or (…, label, crowd)."""
    table = np.array([row if len(row) == 6 else (*row, 0) for row in rows], float).reshape(-1, 6)
    return boxes.Truth(
        table[:, :4].astype("float32"), table[:, 4].astype("int64"), table[:, 5].astype(bool)
    )


def test_scales_are_the_papers(lesson):
    found = lesson["torch"].scales(0.2, 0.9, 6)
    assert found[:6] == pytest.approx([0.2 + 0.7 / 5 * (k - 1) for k in range(1, 7)])
    assert len(found) == 7  # the last map's extra square needs one more


def test_shapes_have_equal_areas_and_the_extra_square(lesson):
    found = np.array(lesson["torch"].shapes(20, 30))
    assert found[:3].prod(axis=1) == pytest.approx([400] * 3)
    assert found[:3, 0] / found[:3, 1] == pytest.approx([1, 2, 0.5])
    assert found[3] == pytest.approx([600**0.5] * 2)


def test_default_boxes_lie_on_their_cells(lesson):
    ours = lesson["torch"]
    chosen = settings(lesson, "torch")
    found = ours.default_boxes(96, 96, chosen)
    assert found.shape == (3060, 4) and found.dtype == np.float32
    at = 0
    for stride, sizes in ours.plan(chosen).items():
        side = 96 // stride
        part = found[at : at + side * side * 4].reshape(side, side, 4, 4)
        at += side * side * 4
        square = anchors.grid(side, side, stride, [sizes[0][0]], [1.0])
        assert part[:, :, 0].reshape(-1, 4) == pytest.approx(square, abs=1e-4)
        middle = (part[2, 1, :, :2] + part[2, 1, :, 2:]) / 2  # row 2, column 1
        assert middle == pytest.approx(np.tile([1.5 * stride, 2.5 * stride], (4, 1)), abs=1e-4)
        assert part[0, 0, :, 2:] - part[0, 0, :, :2] == pytest.approx(np.array(sizes), abs=1e-4)
    assert at == 3060


def test_one_map_has_the_boxes_of_all(lesson):
    ours = lesson["torch"]
    one = settings(lesson, "torch", maps=(8,))
    assert len(ours.default_boxes(96, 96, one)) == 144 * 16
    sizes = {tuple(np.round(size, 3)) for each in ours.plan(one).values() for size in each}
    all_four = ours.plan(settings(lesson, "torch")).values()
    assert sizes == {tuple(np.round(size, 3)) for each in all_four for size in each}


def test_targets_follow_the_two_steps(lesson, scenes):
    ours = lesson["torch"]
    defaults = ours.default_boxes(96, 96, settings(lesson, "torch"))
    for one in scenes[1][:20]:
        labels, offsets = ours.targets(one, defaults)
        real = one.boxes[~one.crowd]
        if not len(real):
            assert not (labels > 0).any()
            continue
        overlap = boxes.iou(defaults, real)
        assert (labels[overlap.max(axis=1) >= 0.5] > 0).all()
        found = labels > 0
        moved = anchors.decode(offsets[found], defaults[found], ours.VARIANCES)
        close = boxes.iou(moved, real)
        assert close.max(axis=1) == pytest.approx(np.ones(found.sum()), abs=1e-4)
        assert set(close.argmax(axis=1)) == set(range(len(real)))  # nobody goes without
        assert (labels[found] == 1 + one.labels[~one.crowd][close.argmax(axis=1)]).all()


def test_crowds_are_left_out_and_empty_pictures_are_background(lesson):
    ours = lesson["torch"]
    defaults = ours.default_boxes(96, 96, settings(lesson, "torch"))
    labels, offsets = ours.targets(truth(), defaults)
    assert not labels.any() and not offsets.any()
    labels, _ = ours.targets(truth((0, 0, 60, 60, 3, 1), (70, 70, 90, 92, 7)), defaults)
    inside = boxes.covered(defaults, np.array([[0, 0, 60, 60]], "float32"))[:, 0] >= 0.5
    assert set(labels) == {-1, 0, 8} and ((labels == -1) <= inside).all()
    assert (labels == -1).sum() == (inside & (labels != 8)).sum() > 100


def hard_in(ours, framework, costs, labels):
    import tensorflow as tf
    import torch

    if framework == "torch":
        return ours.hard_torch(torch.as_tensor(costs), torch.as_tensor(labels)).numpy()
    if framework == "tensorflow":
        return ours.hard_tf(tf.constant(costs), tf.constant(labels)).numpy()
    to = ours.ops.convert_to_tensor
    return parity.to_numpy(ours.hard_keras(to(costs), to(labels)))


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_mining_is_the_librarys(lesson, framework):
    rng = np.random.default_rng(0)
    costs = rng.random((8, 200)).astype("float32")
    labels = rng.choice([-1, 0, 0, 0, 0, 0, 0, 0, 0, 4], (8, 200))
    labels[0] = 0  # nothing to find
    labels[1] = 2  # nothing else
    labels[2, :150] = 1  # more asked for than there is
    found = hard_in(lesson[framework], framework, costs, labels)
    open_to = np.where(labels < 0, -np.inf, costs)
    assert np.array_equal(found, anchors.mine(open_to, labels > 0))
    assert not found[:2].any() and np.array_equal(found[2], labels[2] == 0)
    solved = [questions.hard._solution(*pair, 3) for pair in zip(costs, labels, strict=True)]
    assert np.array_equal(found, solved)


def losses_in(ours, framework, logits, found, labels, offsets, negatives):
    """The loss, and its gradients by logits and offsets."""
    import tensorflow as tf
    import torch

    if framework == "torch":
        moved = [torch.tensor(each, requires_grad=True) for each in (logits, found)]
        goals = torch.as_tensor(labels), torch.as_tensor(offsets)
        loss = ours.loss_torch(*moved, *goals, negatives)
        slopes = torch.autograd.grad(loss, moved)
        return loss.detach().numpy(), *(each.numpy() for each in slopes)
    compute = ours.loss_tf if framework == "tensorflow" else ours.loss_keras
    moved = [tf.Variable(each) for each in (logits, found)]
    with tf.GradientTape() as tape:
        inputs = [tf.convert_to_tensor(each) for each in moved]
        loss = compute(*inputs, tf.constant(labels), tf.constant(offsets), negatives)
    return loss.numpy(), *(each.numpy() for each in tape.gradient(loss, moved))


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_losses_and_gradients_agree_with_matches_injected(lesson, negatives):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 60, 5)).astype("float32")
    found = (2 * rng.normal(size=(3, 60, 4))).astype("float32")
    labels = rng.choice([-1, 0, 0, 0, 0, 0, 0, 3], (3, 60))
    labels[2] = 0  # a picture without an object
    offsets = rng.normal(size=(3, 60, 4)).astype("float32")
    given = logits, found, labels, offsets, negatives
    evidence = {
        name: dict(zip("abc", losses_in(lesson[name], name, *given), strict=True))
        for name in runtime.FRAMEWORKS
    }
    parity.compare(evidence, tolerance=1e-5).verdict()
    odds = np.exp(logits - logits.max(axis=2, keepdims=True))
    odds /= odds.sum(axis=2, keepdims=True)
    costs = -np.log(np.take_along_axis(odds, np.maximum(labels, 0)[..., None], axis=2))[..., 0]
    parts, total = 0.0, (labels > 0).sum()
    for c, gap, label in zip(costs, found - offsets, labels, strict=True):
        hard = questions.hard._solution(c, label, 3) if negatives == "hardest" else label == 0
        many = max((label > 0).sum(), 1)
        parts += many * questions.loss._solution(c, gap, label, hard)
    assert evidence["torch"]["a"] == pytest.approx(parts / total, rel=1e-5)
    if negatives == "hardest":
        assert not evidence["torch"]["b"][2].any()  # it teaches nothing


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_without_objects_costs_nothing(lesson, framework):
    shape = (2, 30)
    logits, found = np.ones((*shape, 4), "float32"), np.ones((*shape, 4), "float32")
    labels, offsets = np.zeros(shape, "int64"), np.zeros((*shape, 4), "float32")
    ours = lesson[framework]
    parts = losses_in(ours, framework, logits, found, labels, offsets, "hardest")
    assert parts[0] == 0 and not parts[1].any() and not parts[2].any()


def test_in_use_the_three_say_the_same(lesson, scenes):
    rng = np.random.default_rng(0)
    chosen = settings(lesson, "torch")
    weights = lesson["torch"].start(chosen, 0)
    for name, value in weights.items():
        if not name.endswith("kernel"):
            value += rng.uniform(0, 0.3, value.shape).astype("float32")
        if name.startswith("confidence") and name.endswith("kernel"):
            value *= 5  # so that something is found
    said, found = {}, {}
    for name in runtime.FRAMEWORKS:
        model = lesson[name].ways[name].build(chosen)
        parity.set_weights(model, weights)
        raw = lesson[name].ways[name].raw(model, scenes[0][:2])
        said[name] = dict(zip(("logits", "offsets"), raw, strict=True))
        found[name] = lesson[name].ways[name].detect(model, scenes[0][:2])
        assert parity.get_weights(model).keys() == weights.keys()
    parity.compare(said, tolerance=1e-4).verdict()
    for one in found["torch"]:
        assert 0 < len(one.boxes) <= 100 and (np.diff(one.scores) <= 0).all()
        assert one.boxes.min() >= 0 and one.boxes.max() <= 96
    for name in ("tensorflow", "keras"):
        for one, other in zip(found[name], found["torch"], strict=True):
            assert one.scores == pytest.approx(other.scores, abs=1e-3)


def test_a_few_steps_are_the_same_in_all_three(lesson, scenes):
    """Adam divides a rounding error by its own size: where a gradient is 0, steps are noise."""
    after, losses = {}, {}
    for name in runtime.FRAMEWORKS:
        chosen, said = tiny(lesson, name, steps=2, learning_rate=1e-3), []
        report = lambda step, logs, preview, said=said: said.append(logs["loss"]) or True  # noqa: E731
        model = lesson[name].ways[name].train(*scenes, chosen, report)
        after[name], losses[name] = parity.get_weights(model), said[-1]
    # Keras reports the mean of both steps; the other two the last one's loss.
    assert losses["torch"] == pytest.approx(losses["tensorflow"], rel=1e-3)
    before = lesson["torch"].start(settings(lesson, "torch"), 0)
    for name in ("tensorflow", "keras"):
        for key, value in after["torch"].items():
            gap = np.abs(value - after[name][key])
            if key.endswith("moving_variance"):
                assert gap.max() < 0.2 * np.abs(value).max()  # Keras remembers the biased one
            else:
                assert np.median(gap) < 1e-4 and np.quantile(gap, 0.99) < 1e-3, key
    moved = np.abs(after["torch"]["conv3.kernel"] - before["conv3.kernel"])
    assert np.median(moved) > 1e-3


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, scenes, framework):
    said = []

    def report(step, logs, preview=None):
        said.append(logs["loss"])
        if step == 30:
            picture = preview()
            assert picture.dtype == np.uint8 and picture.ndim == 3
        return True

    way = lesson[framework].ways[framework]
    chosen = settings(lesson, framework, steps=30, batch_size=4, augment=0.0)
    model = way.train(scenes[0][:8], scenes[1][:8], chosen, report)  # by heart
    assert len(said) == 3 and said[-1] < 0.75 * said[0]
    found = way.detect(model, scenes[0][:4], 0.05)
    assert len(found) == 4 and sum(len(one.boxes) for one in found) > 0


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model_and_odd_data_are_named(lesson, scenes, framework):
    way, seen = lesson[framework].ways[framework], []
    stop = lambda step, *_: seen.append(step) or False  # noqa: E731
    model = way.train(*scenes, tiny(lesson, framework, steps=20, height=32, width=32), stop)
    assert seen == [10]
    assert all(np.isfinite(part).all() for part in way.raw(model, scenes[0][:2]))
    for size in ((1, 1), (96, 90), (16, 96)):
        with pytest.raises(CourseError, match="multiples of 16"):
            way.detect(model, np.zeros((1, *size, 3), "uint8"))
    assert way.detect(model, scenes[0][:1], 1.1)[0].boxes.shape == (0, 4)
    wide = way.detect(model, np.zeros((1, 48, 80, 3), "uint8"), 0.0)[0]
    assert len(wide.boxes) and wide.boxes[:, 2].max() <= 80 and wide.boxes[:, 3].max() <= 48


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ((10, 10, 10, 20, 3), "Image 5"),
        ((80, 80, 120, 90, 3), "Image 5"),
        ((10, 10, 20, 20, 10), "Image 5"),
        ((np.nan, 10, 20, 20, 3), "Image 5"),
    ],
)
def test_wrong_boxes_are_refused_by_name(lesson, scenes, wrong, words):
    images, truths = scenes[0], list(scenes[1])
    truths[5] = truth(wrong)
    for name in runtime.FRAMEWORKS:
        with pytest.raises(CourseError, match=words):
            lesson[name].ways[name].train(images, truths, tiny(lesson, name), lambda *_: True)


def test_a_batch_larger_than_the_data_is_refused(lesson, scenes):
    with pytest.raises(CourseError, match="batch of 65 is larger"):
        next(lesson["torch"].feed(*scenes, tiny(lesson, "torch", batch_size=65)))


def test_a_run_resumes_where_it_was_cut(lesson, scenes, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = tiny(lesson, "tensorflow", height=32, width=32)
    trainer = bare.TFTrainer(chosen)
    bare.train_tf(*scenes, chosen, lambda step, *_: step < 10, trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    steps = []
    bare.train_tf(*scenes, chosen, lambda step, *_: steps.append(step) or True, again)
    assert steps == [20]


def test_reading_moves_boxes_and_suppresses(lesson):
    ours = lesson["torch"]
    chosen = settings(lesson, "torch")
    defaults = ours.default_boxes(96, 96, chosen)
    logits = np.zeros((len(defaults), 11), "float32")
    logits[:, 0] = 20
    offsets = np.zeros((len(defaults), 4), "float32")
    goal = np.array([[30, 20, 50, 60]], "float32")
    near = np.argsort(-boxes.iou(defaults, goal)[:, 0])[:3]
    logits[near, 4] = (30, 25, 24)  # label 3, three times
    offsets[near] = anchors.encode(goal.repeat(3, axis=0), defaults[near], ours.VARIANCES)
    found = ours.read(logits, offsets, defaults, 96, 96)
    assert found.boxes == pytest.approx(goal, abs=1e-3) and found.labels.tolist() == [3]
    assert len(ours.read(logits, offsets, defaults, 96, 96, overlap=1.0).boxes) == 3
    offsets[near[0], 3] = 30  # taller than the picture
    assert ours.read(logits, offsets, defaults, 96, 96).boxes[0, 3] == 96


def test_patches_move_boxes_with_the_picture(lesson):
    """Bright rectangles on black: wherever a patch lies, each box frames its own."""
    ours = lesson["torch"]
    image = np.zeros((96, 128, 3), "uint8")
    image[30:60, 40:70] = 255
    rng = np.random.default_rng(0)
    for flip in (False, True):
        chosen = settings(lesson, "torch", height=80, width=96, flip=flip, augment=1.0)
        for _ in range(20):
            x, moved = ours.augmented(image, truth((40, 30, 70, 60, 2)), chosen, rng)
            assert x.shape == (80, 96, 3) and x.dtype == np.float32
            bright = x.mean(axis=2) > (x.min() + x.max()) / 2
            rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
            if not bright.any() or not len(moved.boxes):
                continue
            extent = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert moved.boxes[0] == pytest.approx(np.array(extent), abs=1.5)
    out = truth((0, 0, 10, 96, 2))
    zoomed = settings(lesson, "torch", height=32, width=32, augment=1.0)
    kept = [ours.augmented(image, out, zoomed, rng)[1] for _ in range(60)]
    partly = [one for one in kept if len(one.boxes) and one.crowd.any()]
    assert partly  # of some patches only an edge of the box is left: nobody is asked to find it


def test_without_mining_digits_are_taken_for_background(lesson, scenes):
    ours, own = lesson["torch"], {}
    images, truths = scenes[0][:8], scenes[1][:8]
    defaults = ours.default_boxes(96, 96, settings(lesson, "torch"))
    for negatives in ("hardest", "all"):
        chosen = settings(lesson, "torch", steps=40, batch_size=4, augment=0.0, negatives=negatives)
        model = ours.train_torch(images, truths, chosen, lambda *_: True)
        logits, _ = ours.raw_torch(model, images)
        scores = []
        for each, one in zip(logits, truths, strict=True):
            found = ours.targets(one, defaults)[0] > 0
            scores.append(1 - ours.softmax(each[found])[:, 0])
        own[negatives] = np.concatenate(scores).mean()
    assert own["all"] < 0.7 * own["hardest"]


KERAS = """
import numpy as np
from types import SimpleNamespace
from utils import data, lessons
lesson = lessons.load("15_ssd", "keras")
digits = data.mnist("embedded")
scenes = data.draw_scenes(32, digits.x_train, digits.y_train, seed=1)
short = {"steps": 20, "batch_size": 4, "height": 32, "width": 32, "seed": 0}
said = []
report = lambda step, logs, preview: said.append(logs["loss"]) or True
model = lesson.train_keras(*scenes, SimpleNamespace(**{**lesson.QUICK, **short}), report)
print("first", said[0])
print("last", said[-1])
print("finite", float(np.isfinite(lesson.raw_keras(model, scenes[0][:2])[0]).all()))
"""


def test_keras_trains_on_pytorch_as_well():
    found = keras_prints(KERAS, "torch")
    assert found["last"] < found["first"] and found["finite"] == 1
