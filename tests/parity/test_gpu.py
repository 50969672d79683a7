"""17_gpu: runs continue exactly, halves are rounded as promised, and nothing is left running."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from parity_settings import keras_prints

from utils import CourseError, data, lessons, parity, results, runtime
from utils.recipes import gpu as recipe

NAME = "17_gpu"


def settings(lesson, **changes):
    """A narrow network and small batches."""
    few = {"width": 8, "batch_size": 32, "steps": 12, "seed": 0, "device": "cpu"}
    return SimpleNamespace(**{**lesson["torch"].QUICK, **few, **changes})


@pytest.fixture(scope="module")
def few(digits):
    return digits.x_train[:160], digits.y_train[:160].astype("int64")  # 5 steps an epoch


def cut_and_continued(lesson, framework, few, folder, chosen, cut=3, end=8):
    """Weights and losses of a run in one go, and of one that was cut and restored elsewhere."""
    ours = lesson[framework]
    make = ours.ways[framework].runner
    straight = make(chosen)
    ours.go_on(straight, *few, chosen, cut)
    straight.save(folder / "saved")
    losses = ours.go_on(straight, *few, chosen, end)
    again = make(chosen)
    again.restore(folder / "saved")
    assert again.done == cut
    resumed = ours.go_on(again, *few, chosen, end)
    return [
        (parity.get_weights(run.model), found)
        for run, found in ((straight, losses), (again, resumed))
    ]


def apart(one, other):
    gaps = [np.abs(one[0][name] - other[0][name]).max() for name in one[0]]
    return max(*gaps, np.abs(np.subtract(one[1], other[1])).max())


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_continued_run_is_the_uninterrupted_one(lesson, few, framework, tmp_path):
    straight, resumed = cut_and_continued(lesson, framework, few, tmp_path, settings(lesson))
    assert apart(straight, resumed) < 1e-6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_also_with_dropout_whose_generator_is_saved(lesson, few, framework, tmp_path):
    chosen = settings(lesson, dropout=0.5)
    straight, resumed = cut_and_continued(lesson, framework, few, tmp_path, chosen)
    assert apart(straight, resumed) < 1e-6


def test_keras_alone_forgets_the_masks(lesson, few, tmp_path, monkeypatch):
    runner = lesson["keras"].KerasRunner
    monkeypatch.setattr(
        runner,
        "restore",
        lambda self, folder: self.model.load_weights(folder / "run.weights.h5"),
    )
    chosen = settings(lesson, dropout=0.5)
    straight, resumed = cut_and_continued(lesson, "keras", few, tmp_path, chosen)
    assert apart(straight, resumed) > 1e-4


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_weights_alone_are_not_enough(lesson, few, framework):
    ours, chosen = lesson[framework], settings(lesson)
    kept, forgetful = (ours.ways[framework].runner(chosen) for _ in range(2))
    ours.go_on(kept, *few, chosen, 3)
    parity.set_weights(forgetful.model, parity.get_weights(kept.model))
    ours.go_on(kept, *few, chosen, 6)
    ours.go_on(forgetful, *few, chosen, 3)
    one, other = (parity.get_weights(run.model) for run in (kept, forgetful))
    assert max(np.abs(one[name] - other[name]).max() for name in one) > 1e-4


ON_TORCH = """
import tempfile
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from utils import data, lessons, parity
lesson = lessons.load("17_gpu", "keras")
assert keras.backend.backend() == "torch"
digits = data.mnist("embedded")
few = digits.x_train[:160], digits.y_train[:160].astype("int64")
changes = {"batch_size": 32, "dropout": 0.5, "seed": 0, "device": "cpu"}
chosen = SimpleNamespace(**{**lesson.QUICK, **changes})
straight, again = lesson.KerasRunner(chosen), lesson.KerasRunner(chosen)
lesson.go_on(straight, *few, chosen, 3)
with tempfile.TemporaryDirectory() as folder:
    straight.save(Path(folder, "saved"))
    lesson.go_on(straight, *few, chosen, 6)
    again.restore(Path(folder, "saved"))
lesson.go_on(again, *few, chosen, 6)
one, other = parity.get_weights(straight.model), parity.get_weights(again.model)
print("apart", max(np.abs(one[name] - other[name]).max() for name in one))
gradients = lesson.gradients_keras(again, *(part[:8] for part in few))
print("gradient", np.abs(gradients["conv1.kernel"]).max())
half = lesson.KerasRunner(chosen, "bfloat16")
print("loss", lesson.go_on(half, *few, chosen, 1)[0])
"""


@pytest.mark.thorough
def test_keras_continues_on_pytorch_as_well():
    found = keras_prints(ON_TORCH, "torch")
    assert found["apart"] < 1e-6 and found["gradient"] > 0 and 1 < found["loss"] < 4


def test_the_three_runs_and_their_gradients_agree(lesson, few):
    after, chosen = {}, settings(lesson)
    for name in runtime.FRAMEWORKS:
        ours, way = lesson[name], lesson[name].ways[name]
        runner = way.runner(chosen)
        losses = np.array(ours.go_on(runner, *few, chosen, 6))
        gradients = way.gradients(runner, few[0][:32], few[1][:32])
        logits = parity.to_numpy(way.logits(runner, few[0][:8]))
        weights = parity.get_weights(runner.model)
        after[name] = {"losses": losses, "weights": weights, "logits": logits}
        after[name]["gradients"] = gradients
    parity.compare(after, tolerance=1e-3).verdict()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_half_precision_learns_and_its_masters_stay_whole(lesson, few, framework):
    ours, chosen = lesson[framework], settings(lesson, steps=40)
    ends = {}
    for precision in ("float32", "bfloat16"):
        runner = ours.ways[framework].runner(chosen, precision)
        losses = ours.go_on(runner, *few, chosen, 40)
        ends[precision] = np.mean(losses[-5:])
        assert np.mean(losses[:5]) > 1.5 * ends[precision]
        weights = parity.get_weights(runner.model)
        assert {value.dtype for value in weights.values()} == {np.dtype("float32")}
    assert ends["bfloat16"] == pytest.approx(ends["float32"], abs=0.2)
    assert ends["bfloat16"] != ends["float32"]


def test_the_copies_are_taken_back_whatever_happens(lesson):
    import tensorflow as tf

    ours = lesson["tensorflow"]
    model = ours.TFRunner(settings(lesson)).model
    kernel = model.conv1.kernel
    with pytest.raises(ValueError, match="no"), ours.rounded(model, tf.bfloat16):
        assert model.conv1.kernel.dtype == tf.bfloat16 and model.dense8.bias.dtype == tf.bfloat16
        raise ValueError("no")
    assert model.conv1.kernel is kernel and kernel.dtype == tf.float32


def test_a_falling_rate_is_traced_once(lesson, few):
    ours, chosen = lesson["tensorflow"], settings(lesson)
    runner = ours.TFRunner(chosen)
    ours.go_on(runner, *few, chosen, 4)
    assert runner.learn.experimental_get_tracing_count() == 1


def test_an_epoch_has_every_image_once_and_the_order_needs_no_memory(lesson):
    ours, chosen = lesson["torch"], settings(lesson, batch_size=10)
    epochs = [[ours.order(step, 45, chosen) for step in range(4 * e, 4 * e + 4)] for e in (0, 1)]
    for epoch in epochs:
        assert len(np.unique(np.concatenate(epoch))) == 40
    assert not np.array_equal(epochs[0][0], epochs[1][0])
    again = lessons.load(NAME, "torch")
    assert np.array_equal(again.order(6, 45, chosen), epochs[1][2])
    other = settings(lesson, batch_size=10, seed=1)
    assert not np.array_equal(ours.order(0, 45, other), epochs[0][0])


def test_a_save_is_whole_or_not_there(lesson, tmp_path):
    whole = lesson["torch"].whole
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "saved") as part:
        (part / "half").write_text("x")
        raise KeyboardInterrupt
    assert not (tmp_path / "saved").exists()
    with whole(tmp_path / "saved") as part:
        assert list(part.iterdir()) == []  # what the cut one left is gone
        (part / "all").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert (tmp_path / "saved" / "all").exists()


def test_bfloat16_by_hand_is_the_frameworks(lesson):
    import torch

    numbers = np.random.default_rng(0).normal(size=2000).astype("float32")
    numbers *= np.float32(10.0) ** np.random.default_rng(1).integers(-20, 20, 2000)
    ties = (np.arange(0x3F800000, 0x3F900000, 0x4000, dtype=np.uint32)).view(np.float32)
    for given in (numbers.astype("float32"), ties, np.float32([0, -1, 1e-40])):
        wanted = torch.as_tensor(given).bfloat16().float().numpy()
        assert np.array_equal(lesson["torch"].bfloat16(given), wanted)


def test_prefetched_batches_are_the_same_in_the_same_order(lesson):
    prefetch = lesson["torch"].prefetch
    assert list(prefetch(iter(range(50)))) == list(range(50))
    assert list(prefetch(iter([]))) == []

    def broken():
        yield 1
        raise CourseError("the drive is gone")

    batches = prefetch(broken())
    assert next(batches) == 1
    with pytest.raises(CourseError, match="the drive is gone"):
        next(batches)


def test_leaving_a_prefetched_loop_leaves_no_thread(lesson):
    made = []

    def endless():
        while True:
            made.append(1)
            yield len(made)

    for batch in lesson["torch"].prefetch(endless(), ahead=3):
        if batch == 5:
            break
    for thread in threading.enumerate():
        if thread.name == "course-prefetch":
            thread.join(60)
            assert not thread.is_alive()
    assert 5 <= len(made) <= 10


def test_the_clock_starts_after_the_warm_up_and_stops_after_the_wait(lesson, monkeypatch):
    ours, now, done = lesson["torch"], [0.0], []
    monkeypatch.setattr(ours, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def work():
        done.append("work")
        now[0] += 100.0 if len(done) < 3 else 1.0

    def wait():
        done.append("wait")
        now[0] += 2.0

    assert ours.timed(work, repeats=3, warm_up=2, wait=wait).tolist() == [3.0, 3.0, 3.0]
    assert done == ["work", "work", "wait", *["work", "wait"] * 3]
    assert ours.in_words(np.array([0.001, 0.002, 0.003])) == "2 ms (1.5 to 2.5)"


def test_intensities_are_the_formulas(lesson):
    ours = lesson["torch"]
    found = {piece.name: ours.intensity_of(piece) for piece in ours.pieces(settings(lesson))}
    assert found["add"] == pytest.approx(1 / 12) and found["ReLU"] == pytest.approx(1 / 8)
    assert found["product 256"] == pytest.approx(256 / 6)
    assert found["dense, batch 32"] > 10 * found["dense, batch 1"]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_piece_runs_in_every_framework(lesson, framework):
    ours = lesson[framework]
    operations = ours.ways[framework].operations("cpu")
    for piece in ours.pieces(settings(lesson, batch_size=4)):
        if piece.flops < 1e8:
            assert ours.speed_of(piece, operations) > 0


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_slow_script_says_where_its_time_goes(lesson, few, framework, tmp_path):
    ours, chosen = lesson[framework], settings(lesson)
    drive = ours.Drive(*few, wait=0.001)
    assert np.array_equal(drive.decode(drive.fetch([3, 1])), few[0][[3, 1]])
    parts = {"waiting for data", "training step", "checking test images", "writing the log"}
    way = ours.ways[framework]
    for fixes in (set(), {"prefetch"}, {"decode once", "check less often", "bfloat16"}):
        found = ours.slow_script(frozenset(fixes), way, drive, chosen, tmp_path, steps=4)
        assert found.keys() == parts and all(value > 0 for value in found.values())
    assert len((tmp_path / "log").read_text().splitlines()) == 12
    few_lines = ours.slow_script(frozenset({"log less often"}), way, drive, chosen, tmp_path, 4)
    assert few_lines.keys() == parts
    assert len((tmp_path / "log").read_text().splitlines()) == 13


def test_another_process_gets_its_variables_and_its_errors_come_back(lesson):
    ours = lesson["torch"]
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    assert ours.elsewhere(code, CUDA_VISIBLE_DEVICES="3") == "3"
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        ours.elsewhere("1 / 0")


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_recipe_times_steps(framework, monkeypatch):
    digits = data.mnist("embedded")
    monkeypatch.setattr(data, "mnist", lambda: digits)
    monkeypatch.setattr(recipe, "REPEATS", 2)
    monkeypatch.setattr(recipe, "SIDE", 16)
    compilers = recipe.variants  # compiling takes what it takes: not here
    monkeypatch.setattr(
        recipe,
        "variants",
        lambda *given: {k: v for k, v in compilers(*given).items() if k != ", compiled"},
    )
    records = results.measure(NAME, framework, images=8)
    found = {record.metric for record in records}
    assert {"training step, ms", "training step in bfloat16, ms"} <= found
    assert all(record.value > 0 and "batches of 8" in record.trained for record in records)
    assert ("product" in "".join(found)) == (framework == "torch")


def test_a_missing_gpu_can_be_an_error(repository):
    from utils.environment import nvidia

    if nvidia():
        pytest.skip("there is an NVIDIA GPU here")
    code = (
        "import os, sys, pytest; os.environ['COURSE_REQUIRE_GPU'] = '1';"
        "sys.exit(pytest.main(['-q', '--collect-only', 'tests/gpu', '-p', 'no:cacheprovider']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repository
    )
    assert done.returncode == 4 and "COURSE_REQUIRE_GPU=1, but there is no" in (
        done.stdout + done.stderr
    )
