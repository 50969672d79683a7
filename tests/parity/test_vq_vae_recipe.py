"""`make train NAME=06_vq_vae` from end to end on a handful of digits, cut once and resumed."""

import dataclasses

import pytest

from utils import checkpoints, data, results
from utils.recipes import vq_vae as recipe

pytestmark = pytest.mark.thorough


@pytest.fixture
def handful(monkeypatch, tmp_path):
    """300 embedded digits pass for MNIST, and 20 steps for a schedule."""
    digits = data.mnist("embedded")
    few = dataclasses.replace(digits, x_train=digits.x_train[:300], y_train=digits.y_train[:300])
    plain = recipe.settings
    monkeypatch.setattr(recipe, "real_mnist", lambda: few)
    monkeypatch.setattr(recipe, "MODELS", {"toy": 8})
    monkeypatch.setattr(recipe, "PRIOR_STEPS", 20)
    monkeypatch.setattr(
        recipe, "settings", lambda lesson, K, **c: plain(lesson, K, **{"steps": 20, **c})
    )
    saved = {}
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.update({args[0]: args[1:]}))
    return saved


def test_a_cut_training_goes_on_and_saves_what_remeasures(handful, monkeypatch, tmp_path, capsys):
    import tensorflow as tf

    lesson = recipe.lessons.load(recipe.NOTEBOOK, "tensorflow")
    chosen = recipe.settings(lesson, 8)
    trainer = lesson.trainer_tf(recipe.real_mnist().x_train, chosen)

    def cut(settings, report, trainer):
        lesson.train_tf(recipe.real_mnist().x_train, settings, lambda step, *_: step < 10, trainer)

    recipe._go_on("toy", trainer, cut, chosen, tmp_path / "toy")
    assert int(trainer.step) == 10 and float(trainer.adam.t) == 10
    recipe.train(tmp_path)
    assert "toy: from step 10 of 20" in capsys.readouterr().out
    assert set(handful) == {"toy", "toy_prior"}
    for weights, info in handful.values():
        assert info["codes"] == 8 and info["settings"]["steps"] == 20
        assert info["metric"]["value"]["embedded"] > 10
        assert not any("mask" in name.split(".") for name in weights)
    assert handful["toy"][0]["codebook.embeddings"].shape == (8, 16)
    assert tf.train.latest_checkpoint(str(tmp_path / "toy_prior"))


def test_a_measurement_has_the_bits_their_parts_and_the_codebook(monkeypatch):
    digits = data.mnist("embedded")
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    records = results.measure("06_vq_vae", "torch", images=20)
    values = {record.metric: record.value for record in records}
    for K in (8, 64):
        bits = values[f"bits per dimension, ≤, K = {K}"]
        parts = values[f"−log p(x|z), nats, K = {K}"] + values[f"−log p(z), nats, K = {K}"]
        assert bits == pytest.approx(recipe.bits(parts), abs=1e-3)
        assert 1 < values[f"perplexity, K = {K}"] <= values[f"live codes, K = {K}"] <= K
    assert "0.1103" in f"{recipe.bits(59.94):.4f}" and "02_vae" in recipe.reference()
