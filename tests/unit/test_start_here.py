"""The start page's model: one computation in three frameworks, and a panel that opens at once."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from utils import CourseError, lessons, runtime

pytestmark = pytest.mark.parity

ZERO_LOSS = np.log(10)


@pytest.fixture(scope="module")
def page():
    for name in runtime.FRAMEWORKS:
        pytest.importorskip(name)
    return lessons.load("00_start_here")


@pytest.fixture(params=runtime.FRAMEWORKS)
def way(request, page):
    return page.ways[request.param]


def settings(**changes):
    said = {"learning_rate": 0.1, "batch_size": 64, "steps": 20, "seed": 0}
    return types.SimpleNamespace(**said | changes)


class Recorder:
    """A report that keeps what it is told and stops after a while."""

    def __init__(self, stop=None):
        self.steps, self.losses, self.pictures, self.stop = [], [], [], stop

    def __call__(self, step, logs, preview=None):
        self.steps.append(step)
        self.losses.append(logs["loss"])
        self.pictures.append(preview())
        return self.stop is None or step < self.stop


def weights_of(way, page, model):
    """A linear model's weights and bias, read off its answers to nothing and to each pixel."""
    bias = way.logits(model, np.zeros((1, 784), "float32"))
    return way.logits(model, np.eye(784, dtype="float32")) - bias, bias[0]


def test_every_framework_is_there(page):
    assert tuple(page.ways) == runtime.FRAMEWORKS


@pytest.mark.parametrize("seed", range(3))
def test_weights_from_numpy_give_numpys_logits(way, page, seed):
    rng = np.random.default_rng(seed)
    weights = rng.normal(scale=0.05, size=(784, 10)).astype("float32")
    bias = rng.normal(size=10).astype("float32")
    images = page.x_test[:100]
    model = way.build(weights, bias)
    assert way.parameters(model) == 7850
    assert np.abs(way.logits(model, images) - (images @ weights + bias)).max() < 1e-5


def test_one_step_is_the_step_on_paper(way, page):
    """From zero weights, every probability is 1/10 and the gradient is x (1/10 − [y = k])."""
    images, labels = next(page.batches(settings(steps=1)))
    error = (0.1 - np.eye(10)[labels]) / len(labels)
    report = Recorder()
    model = way.train(settings(steps=1, learning_rate=0.3), report)
    weights, bias = weights_of(way, page, model)
    assert report.losses == pytest.approx([ZERO_LOSS], abs=1e-5)
    np.testing.assert_allclose(weights, -0.3 * images.T @ error, atol=1e-6)
    np.testing.assert_allclose(bias, -0.3 * error.sum(axis=0), atol=1e-6)


def test_three_trainings_are_one(page):
    told, models = settings(steps=60), {}
    losses = {}
    for name, way in page.ways.items():
        report = Recorder()
        models[name] = way.logits(way.train(told, report), page.x_test[:200])
        losses[name] = report.losses
        assert report.steps == list(range(1, 61))
    for name in ("tensorflow", "keras"):
        np.testing.assert_allclose(losses[name], losses["torch"], atol=1e-4)
        np.testing.assert_allclose(models[name], models["torch"], atol=1e-4)


def test_it_learns_to_read(way, page):
    model = way.train(settings(steps=300), Recorder())
    right = way.logits(model, page.x_test).argmax(axis=1) == page.y_test
    assert right.mean() > 0.85


def test_stop_leaves_a_usable_model(way, page):
    report = Recorder(stop=7)
    model = way.train(settings(steps=50), report)
    assert report.steps == list(range(1, 8))
    assert np.isfinite(way.logits(model, page.x_test[:10])).all()


def test_the_preview_is_a_picture_of_the_weights(way, page):
    report = Recorder()
    weights, _ = weights_of(way, page, way.train(settings(), report))
    last = report.pictures[-1]
    assert last.dtype == np.uint8 and last.ndim == 2
    # the weights are read back through the model, so they may round to the next grey
    assert np.abs(last.astype(int) - page.templates(weights)).max() <= 1


def test_another_seed_is_another_order(way, page):
    losses = []
    for seed in (0, 0, 1):
        report = Recorder()
        way.train(settings(seed=seed), report)
        losses.append(report.losses)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0] != pytest.approx(losses[2], abs=1e-3)


def test_batches_go_on_over_epochs_and_stop_when_told(page):
    size = len(page.x_train) // 2
    told = settings(batch_size=size, steps=5)
    seen = [(images, labels) for images, labels in page.batches(told)]
    assert [(len(images), len(labels)) for images, labels in seen] == [(size, size)] * 5
    assert not np.array_equal(seen[0][1], seen[2][1])  # the second epoch is shuffled anew


def test_a_batch_larger_than_the_data_is_refused(way, page):
    with pytest.raises(CourseError, match="larger than the data"):
        way.train(settings(batch_size=len(page.x_train) + 1), Recorder())


def test_templates_are_grey_white_and_black(page):
    weights = np.zeros((784, 10), "float32")
    weights[0, 0], weights[1, 0] = 3.0, -3.0
    picture = page.templates(weights)  # two pixels of frame, each pixel drawn twice
    assert picture.shape == ((2 * 30 + 2) * 2, (5 * 30 + 2) * 2)
    assert [picture[4, 4], picture[4, 6], picture[4, 8]] == [255, 0, 128]
    assert (page.templates(np.zeros((784, 10))) != 255).all()


KERAS_ON_TORCH = """
import json, os, sys, types
os.environ["KERAS_BACKEND"] = "torch"
from utils import lessons
page = lessons.load("00_start_here", "keras")
losses = []

def report(step, logs, preview):
    losses.append(logs["loss"])
    return True

told = types.SimpleNamespace(learning_rate=0.1, batch_size=64, steps=30, seed=0)
model = page.ways["keras"].train(told, report)
logits = page.ways["keras"].logits(model, page.x_test[:50])
print(json.dumps([losses, logits.tolist(), "tensorflow" in sys.modules]))
"""


@pytest.mark.slow
def test_keras_on_torch_is_the_same_training(page, repository):
    run = _python(KERAS_ON_TORCH, repository)
    losses, logits, loaded_tensorflow = json.loads(run.splitlines()[-1])
    report = Recorder()
    way = page.ways["torch"]
    expected = way.logits(way.train(settings(steps=30), report), page.x_test[:50])
    np.testing.assert_allclose(losses, report.losses, atol=1e-4)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert not loaded_tensorflow


# What Run All does before the panel shows a first point, as one kernel does it.
RUN_ALL = """
import json, sys, time
import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
space = {"__name__": "__main__"}
for cell in notebook.cells:
    if cell.cell_type == "code":
        exec(compile(cell.source, "cell", "exec"), space)
        if "panel.show(" in cell.source:
            break
while not space["panel"].runs or not len(space["panel"].runs[0].history):
    time.sleep(0.05)
heavy = [name for name in ("torch", "tensorflow", "keras") if name in sys.modules]
space["panel"].wait()
print(json.dumps([heavy, space["panel"].state]))
"""


@pytest.mark.slow
def test_the_panel_waits_for_no_framework_that_it_does_not_train(repository):
    """What lets it open within seconds of Run All; how many they are depends on the machine."""
    pytest.importorskip("ipywidgets")
    pytest.importorskip("torch")
    notebook = repository / "chapters" / "00_start_here" / "00_start_here.ipynb"
    said = _python(RUN_ALL, repository, str(notebook), OMP_NUM_THREADS="1")
    heavy, state = json.loads(said.splitlines()[-1])
    assert heavy == ["torch"]
    assert state == "done"


def _python(code, repository, *arguments, **changes):
    environment = {**os.environ, "PYTHONPATH": str(repository), **changes}
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=repository,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout
