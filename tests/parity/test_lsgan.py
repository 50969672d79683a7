"""08_lsgan in three frameworks: 07's game with other losses, and what the lesson says of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import checkpoints, data, parity, results, runtime
from utils.recipes import lsgan as recipe

NAME = "08_lsgan"
SMALL = {"width": 8, "latents": 6, "batch_size": 16}
LEAST, PEARSON = "least squares (0, 1, 1)", "least squares (−1, 1, 0)"
LEFT_IN = "least squares, sigmoid left in"
LOSSES = (LEAST, PEARSON, LEFT_IN, "non-saturating", "minimax")


def table(lesson, framework):
    """The losses of a section."""
    short = {"torch": "torch", "tensorflow": "tf", "keras": "keras"}[framework]
    return getattr(lesson[framework], f"losses_{short}")


def tensors(framework, *arrays):
    """Arrays as the framework's own."""
    import keras
    import tensorflow as tf
    import torch

    make = {"torch": torch.as_tensor, "tensorflow": tf.constant}
    return [make.get(framework, keras.ops.convert_to_tensor)(a) for a in arrays]


def by_hand(loss, real, fake):
    """Both losses in NumPy."""
    if loss in ("non-saturating", "minimax"):
        judged = np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean()
        fooled = np.logaddexp(0, -fake) if loss == "non-saturating" else -np.logaddexp(0, fake)
        return judged, fooled.mean()
    if loss == LEFT_IN:
        real, fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    a, b, c = (-1, 1, 0) if loss == PEARSON else (0, 1, 1)
    return ((real - b) ** 2 + (fake - a) ** 2).mean() / 2, ((fake - c) ** 2).mean() / 2


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_are_what_the_formulas_say(lesson, framework, loss):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 3, (2, 9, 1)).astype("float32")
    losses = table(lesson, framework)
    assert tuple(losses) == LOSSES
    judged, fooled = by_hand(loss, real, fake)
    real, fake = tensors(framework, real, fake)
    assert float(losses[loss].judge(real, fake)) == pytest.approx(judged, rel=1e-5)
    assert float(losses[loss].fool(fake)) == pytest.approx(fooled, rel=1e-5)


def test_a_pull_ends_where_the_lesson_says(lesson):
    import torch

    def pull(loss, s):
        score = torch.tensor([float(s)], requires_grad=True)
        table(lesson, "torch")[loss].fool(score).backward()
        return abs(float(score.grad))

    assert [pull(LEAST, s) for s in (-6, 1, 6)] == pytest.approx([7, 0, 5])
    assert [pull(PEARSON, s) for s in (-6, 0, 6)] == pytest.approx([6, 0, 6])
    assert pull("minimax", -6) < 0.01 < 0.9 < pull("minimax", 6)
    assert pull("non-saturating", 6) < 0.01 < 0.9 < pull("non-saturating", -6)
    assert max(pull(LEFT_IN, -6), pull(LEFT_IN, 6)) < 0.01 < pull(LEFT_IN, 0)


def test_an_undecided_discriminator_pays_what_part_7_says(lesson):
    import torch

    half = torch.full((5, 1), 0.5)
    losses = table(lesson, "torch")[LEAST]
    assert float(losses.judge(half, half)) == 0.25 and float(losses.fool(half)) == 0.125


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_everything_but_the_loss_is_07s(lesson, framework):
    ours, theirs = lesson[framework], lesson[framework].dcgans[framework]
    for mine, base in ((ours.QUICK, theirs.QUICK), (ours.FULL, theirs.FULL)):
        assert mine == {**base, "loss": LEAST}
    assert {**theirs.STACKED, "loss": LEAST} == ours.STACKED
    way, base = ours.ways[framework], theirs.ways[framework]
    assert way.build is base.build and way.generate is base.generate and way.score is base.score
    assert way.train.func is base.train


def test_scores_have_no_bound_and_opinions_put_the_labels_at_0_and_1(lesson):
    opinion = lesson["torch"].opinion
    assert opinion(np.array([0.0, 0.5, 1.0, 7.0]), LEAST).tolist() == [0, 0.5, 1, 7]
    assert opinion(np.array([-1.0, 0.0, 1.0]), PEARSON).tolist() == [0, 0.5, 1]
    for loss in (LEFT_IN, "minimax"):
        assert opinion(np.array([0.0]), loss) == 0.5 and opinion(np.array([9.0]), loss) < 1
    gan = lesson["torch"].ways["torch"].build(settings(lesson, "torch", **SMALL))
    weights = parity.get_weights(gan)
    weights["discriminator.out.bias"] = np.array([40.0], "float32")
    parity.set_weights(gan, weights)
    x = np.zeros((2, 28, 28, 1), "float32")
    assert lesson["torch"].ways["torch"].score(gan, x).min() > 30


@pytest.mark.parametrize("loss", [LEAST, PEARSON])
def test_steps_of_adam_are_the_same_in_torch_and_tensorflow(lesson, digits, loss):
    import torch

    chosen = settings(lesson, "torch", **SMALL, steps=4, loss=loss)
    torch_, tf_ = lesson["torch"].dcgan_torch, lesson["tensorflow"].dcgan_tf
    one = torch_.TorchGame(torch_.TorchGAN(chosen), chosen, table(lesson, "torch"))
    two = tf_.TFGame(tf_.TFGAN(chosen), chosen, table(lesson, "tensorflow"))
    start = parity.get_weights(one.gan)
    for key, value in start.items():
        if key.endswith("kernel"):  # weights of 0.02 would leave gradients that are all rounding
            start[key] = value * 5
    for game in (one, two):
        parity.set_weights(game.gan, start)
    for x, z_d, z_g in torch_.feed(digits.x_train, chosen):
        x = x.astype("float32") / 127.5 - 1
        ours = one.step_d(torch.as_tensor(x).permute(0, 3, 1, 2), z_d), one.step_g(z_g)
        bare = two.step_d(x, z_d), two.step_g(z_g)
        assert [float(a) for a in ours] == pytest.approx([float(b) for b in bare], rel=1e-3)
    both = {"torch": {"weights": parity.get_weights(one.gan)}}
    both["tensorflow"] = {"weights": parity.get_weights(two.gan)}
    after = both["torch"]["weights"]
    assert (
        np.abs(after["discriminator.out.kernel"] - start["discriminator.out.kernel"]).max() > 5e-4
    )
    parity.compare(both, tolerance=3e-4).verdict()


KERAS_STEPS = """
import os, sys
import numpy as np
os.environ.setdefault("KERAS_BACKEND", sys.argv[1])
from types import SimpleNamespace
from utils import lessons, parity
lesson = lessons.load("08_lsgan", "keras")
import keras
assert keras.backend.backend() == sys.argv[1]
small = {"width": 8, "latents": 6, "seed": 0}
gan = lesson.ways["keras"].build(SimpleNamespace(**lesson.QUICK | small))
gan.compile(lambda: keras.optimizers.Adam(1e-3, 0.5), lesson.losses_keras[lesson.LEAST])
before = parity.get_weights(gan)
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (16, 28, 28, 1)).astype("float32")
z = rng.uniform(-1, 1, (16, 6)).astype("float32")
for _ in range(3):
    gan.train_on_batch(x, (z, z))
after = parity.get_weights(gan)
for net in ("generator", "discriminator"):
    keys = [k for k in before if k.startswith(net) and k.endswith("kernel")]
    print(net, min(np.abs(after[k] - before[k]).max() for k in keys))
"""


@pytest.mark.parametrize("backend", runtime.KERAS_BACKENDS)
def test_keras_trains_both_players_on_both_backends(backend):
    moved = keras_prints(KERAS_STEPS, backend)
    assert moved["generator"] > 1e-3 and moved["discriminator"] > 1e-3


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns_and_stopping_leaves_a_usable_model(lesson, digits, framework):
    paid = []

    def report(step, logs, preview=None):
        paid.append(logs["discriminator"])
        return step < 60

    chosen = settings(lesson, framework, **{**SMALL, "batch_size": 64}, steps=200)
    way = lesson[framework].ways[framework]
    gan = way.train(digits.x_train, chosen, report)
    assert len(paid) == 6 and paid[-1] < 0.6 * paid[0]
    made = way.generate(gan, np.zeros((2, 6), "float32"))
    assert made.shape == (2, 28, 28, 1) and 0 <= made.min() and made.max() <= 1
    x = digits.x_test[:8, ..., None].astype("float32") / 255
    assert lesson[framework].live[framework](gan, x).shape == (8,)


def test_scores_in_training_mode_agree(lesson):
    rng = np.random.default_rng(0)
    x, weights, found = rng.random((8, 28, 28, 1), dtype="float32"), None, {}
    for framework in runtime.FRAMEWORKS:
        gan = lesson[framework].ways[framework].build(settings(lesson, framework, **SMALL))
        weights = weights or parity.get_weights(gan)
        parity.set_weights(gan, weights)
        found[framework] = {"scores": lesson[framework].live[framework](gan, x)}
    parity.compare(found, tolerance=1e-5).verdict()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_plane_can_be_played_with_every_loss(lesson, framework):
    players = lesson[framework].ways[framework].players()
    assert players.losses == LOSSES
    points = data.ring(32, np.random.default_rng(0))
    for loss in (LEAST, LEFT_IN):
        players.reset(0)
        before = players.samples(5)
        paid = [players.step_d(points, loss, 1e-2) for _ in range(30)]
        players.step_g(32, loss, 1e-2)
        assert paid[-1] < paid[0] and np.abs(players.samples(5) - before).max() > 1e-3
        assert players.field(points, loss).shape == (32,)


def test_adam_moves_a_generator_that_the_loss_has_let_go(lesson):
    players = lesson["torch"].ways["torch"].players()
    points = data.ring(2000, np.random.default_rng(0), std=0.05)
    players.reset(0)
    rng = np.random.default_rng(0)
    for _ in range(600):
        players.step_d(points[rng.integers(2000, size=128)], "minimax", 1e-3)
    before = players.samples(200)
    assert 1 / (1 + np.exp(-players.game.scored(before).mean())) < 0.01
    for _ in range(50):
        players.step_g(128, "minimax", 1e-3)
    assert np.linalg.norm(players.samples(200) - before, axis=1).mean() > 0.5


def test_both_pairs_of_labels_have_the_same_divergence_with_the_best_discriminator():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(50), 2)

    def twice(a, b, c):
        best = (b * p + a * q) / (p + q)
        return ((best - c) ** 2 * (p + q)).sum()

    pearson = ((q - p) ** 2 / (p + q)).sum()
    assert twice(-1, 1, 0) == pytest.approx(pearson)
    assert 4 * twice(0, 1, 1) - 2 == pytest.approx(pearson)


# the recipe


@pytest.mark.thorough
def test_the_recipe_trains_saves_and_remeasures(lesson, digits, monkeypatch, tmp_path):
    saved = {}

    def save(name, weights, info):
        saved[name] = SimpleNamespace(weights=checkpoints.stored(weights), info=info)

    monkeypatch.setattr(checkpoints, "save", save)
    monkeypatch.setattr(recipe, "real_mnist", lambda: digits)
    bare = recipe.lessons.load(NAME, "tensorflow")
    for chosen in (bare.FULL, bare.STACKED):
        chosen.update(SMALL, steps=20)
    monkeypatch.setattr(recipe.lessons, "load", lambda name, framework: bare)
    for name, value in {"IMAGES": 200, "SEEDS": (0, 1), "RING_SEEDS": (0,), "ROUNDS": 3}.items():
        monkeypatch.setattr(recipe, name, value)
    monkeypatch.setattr(recipe, "SHORT", {"width": 8, "steps": 10})
    monkeypatch.setattr(recipe, "COUNT", 100)
    recipe.compare(tmp_path)
    recipe.train_digits(tmp_path)
    recipe.train_stacked(tmp_path)
    recipe.train_ring()
    assert set(saved) == {NAME, recipe.STACK, recipe.RING}
    assert len(saved[NAME].info["compared"]) == 2 * 2 * 2
    assert {key.split(".")[0] for key in saved[recipe.STACK].weights} == {"0", "1"}
    monkeypatch.setattr(checkpoints, "load", lambda name: saved[name] if name in saved else JUDGE)
    for name in saved:
        stated, found = recipe.remeasure(name, "tensorflow")
        assert found == pytest.approx(stated, abs=1e-3)
    records = results.measure(NAME, "tensorflow", images=200)
    assert {"recall", f"ring of Gaussians, modes, {LEAST}"} <= {r.metric for r in records}
    assert len(records) == 5 + 4 + 6


JUDGE = checkpoints.load("judge")


def test_the_stored_generators_keep_the_modes_that_the_lesson_counts():
    info = checkpoints.load(recipe.RING).info
    modes = {
        loss: [
            recipe.ring_modes(recipe.restore_ring("torch", number, seed)).modes
            for seed in info["seeds"]
        ]
        for number, loss in enumerate(info["losses"])
    }
    assert np.mean(modes[PEARSON]) < np.mean(modes[LEAST]) - 1
    assert max(modes[PEARSON]) < 8
