"""09_acgan's recipe from end to end on a handful of digits, cut once and resumed, and measured."""

import time

import pytest

from utils import CourseError, checkpoints, data, results
from utils.recipes import acgan as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch):
    """Embedded digits pass for MNIST, and 20 steps of a narrow model for a schedule."""
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    toy = {"latents": 4, "width": 4, "batch_size": 20, "steps": 20}
    monkeypatch.setattr(recipe, "MODELS", {"toy": toy, "toy_deaf": {**toy, "auxiliary": 0.0}})
    return digits


def test_a_cut_training_goes_on_and_saves_a_checkpoint_that_remeasures(
    handful, monkeypatch, tmp_path, capsys
):
    saved, compared = {}, []
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    monkeypatch.setattr(recipe, "compare", compared.append)
    monkeypatch.setattr(time, "monotonic", iter(range(0, 10**6, 100)).__next__)  # saves often
    lesson = recipe.lessons.load(recipe.NOTEBOOK, "tensorflow")

    def cut(images, labels, settings, report, trainer):
        lesson.train_tf(
            images, labels, settings, lambda s, logs, _: report(s, logs) and s < 10, trainer
        )
        raise KeyboardInterrupt

    broken = type("Lesson", (), {**vars(lesson), "train_tf": staticmethod(cut)})
    with pytest.raises(KeyboardInterrupt):
        recipe._train_one(broken, handful.x_train, handful.y_train, "toy", tmp_path / "toy")
    assert not saved
    recipe.train(tmp_path)
    assert "toy: from step 10 of 20" in capsys.readouterr().out
    assert list(saved) == ["toy", "toy_deaf"] and compared == [tmp_path]
    weights, info = saved["toy"]
    assert weights["generator.dense.kernel"].shape == (14, 784)
    assert info["settings"]["steps"] == 20 and "auxiliary loss, 20 steps" in info["what"]
    assert 0 < info["metric"]["value"]["embedded"] < 100
    assert "no auxiliary loss" in saved["toy_deaf"][1]["what"]


def test_the_comparison_keeps_what_it_has_and_goes_into_the_first_sidecar(
    handful, monkeypatch, tmp_path
):
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    monkeypatch.setattr(recipe, "COMPARED", {"as it is": {"width": 4}})
    monkeypatch.setattr(recipe, "SEEDS", (0, 1))
    monkeypatch.setattr(recipe, "SHORT", 10)
    monkeypatch.setattr(recipe, "_diversity", lambda *_: (0.5, 0.25))  # it has drawn no digit yet
    monkeypatch.setattr(recipe.metrics, "class_similarity", lambda *_: recipe.np.ones(10))
    recipe.compare(tmp_path)
    runs = saved["09_acgan"][1]["compared"]["runs"]
    assert [run["seed"] for run in runs] == [0, 1] and runs[0]["coverage"] == 0.5
    monkeypatch.setattr(recipe.lessons, "load", lambda *_: None)  # nothing is left to train
    recipe.compare(tmp_path)
    assert saved["09_acgan"][1]["compared"]["runs"] == runs


def test_without_mnist_nothing_is_trained(monkeypatch):
    embedded = data.mnist("embedded")
    monkeypatch.setattr(data, "mnist", lambda: embedded)
    with pytest.raises(CourseError, match="needs the real MNIST"):
        recipe.train()


def test_a_measurement_has_accuracy_diversity_and_their_floors(monkeypatch):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    monkeypatch.setattr(recipe, "SAMPLES", 1000)
    records = results.measure("09_acgan", "torch")
    values = {record.metric: record.value for record in records}
    right, tamed, guessed = (v for k, v in values.items() if k.startswith("labels of samples"))
    assert tamed >= right > 95 and guessed < 25
    assert {record.better for record in records} == {"higher", "lower"}
    assert sum("real training digits" in record.reference for record in records) == 9
    assert all(0 <= v <= 1 for k, v in values.items() if "within each class" in k)
