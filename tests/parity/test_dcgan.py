"""07_dcgan in three frameworks: the same steps, both players moved, rules that can be broken."""

import numpy as np
import pytest
from parity_settings import keras_prints, settings

from utils import CourseError, data, metrics, parity, runtime

NAME = "07_dcgan"
SMALL = {"width": 8, "latents": 6, "batch_size": 16}


def build(lesson, framework, **changes):
    chosen = settings(lesson, framework, **{**SMALL, **changes})
    return lesson[framework].ways[framework].build(chosen)


def alike(lesson, **changes):
    """A GAN in each framework, with the weights of the first, its averages included."""
    rng, gans, weights = np.random.default_rng(0), {}, None
    for framework in runtime.FRAMEWORKS:
        gans[framework] = build(lesson, framework, **changes)
        if weights is None:
            weights = parity.get_weights(gans[framework])
            for name, value in weights.items():
                low = 0.5 if "variance" in name else -0.2
                weights[name] = rng.uniform(low, low + 0.4, value.shape).astype("float32")
        parity.set_weights(gans[framework], weights)
    return gans, weights


def scaled(images):
    """Bytes (B, 28, 28) as the discriminator gets them: (B, 28, 28, 1), −1…1."""
    return images[..., None].astype("float32") / 127.5 - 1


def bare_games(lesson, **changes):
    """The same game in PyTorch and in TensorFlow."""
    one, two = settings(lesson, "torch", **SMALL), settings(lesson, "tensorflow", **SMALL)
    gans, start = alike(lesson, **changes)
    ours = lesson["torch"].TorchGame(gans["torch"], one)
    return ours, lesson["tensorflow"].TFGame(gans["tensorflow"], two), start


@pytest.mark.parametrize("loss", ["non-saturating", "minimax"])
def test_steps_of_adam_are_the_same_in_torch_and_tensorflow(lesson, digits, loss):
    import torch

    ours, bare, start = bare_games(lesson)
    ours.losses, bare.losses = lesson["torch"].losses_torch[loss], None
    bare.losses = lesson["tensorflow"].losses_tf[loss]
    chosen = settings(lesson, "torch", **SMALL, steps=4)
    for x, z_d, z_g in lesson["torch"].feed(digits.x_train, chosen):
        x = scaled(x[..., 0])
        mine = ours.step_d(torch.as_tensor(x).permute(0, 3, 1, 2), z_d), ours.step_g(z_g)
        theirs = bare.step_d(x, z_d), bare.step_g(z_g)
        assert [float(a) for a in mine] == pytest.approx([float(b) for b in theirs], rel=1e-3)
    both = {"torch": {"w": parity.get_weights(ours.gan)}}
    both["tensorflow"] = {"w": parity.get_weights(bare.gan)}
    after = both["torch"]["w"]
    assert all(np.abs(after[name] - start[name]).max() > 1e-4 for name in start)
    # where a gradient is all but zero, a rounding error may be worth a part of Adam's step
    parity.compare(both, tolerance=2e-4).verdict()


def test_each_half_moves_its_own_player_and_no_other(lesson, digits):
    import torch

    x, z = scaled(digits.x_train[:16]), np.random.default_rng(0).uniform(-1, 1, (16, 6))
    for framework, game in zip(("torch", "tensorflow"), bare_games(lesson), strict=False):
        real = torch.as_tensor(x).permute(0, 3, 1, 2) if framework == "torch" else x
        steps = {
            "discriminator": lambda game=game, real=real: game.step_d(real, z.astype("float32")),
            "generator": lambda game=game: game.step_g(z.astype("float32")),
        }
        for player, step in steps.items():
            before = parity.get_weights(game.gan)
            step()
            after = parity.get_weights(game.gan)
            moved = {k for k in before if (before[k] != after[k]).any() and "moving" not in k}
            assert moved == {k for k in before if k.startswith(player) and "moving" not in k}


def test_the_hand_built_batch_norm_is_the_librarys(lesson):
    from utils.tf_layers import BatchNorm

    ours, theirs = lesson["tensorflow"].BatchNorm(3), BatchNorm(3)
    rng = np.random.default_rng(0)
    for training in (True, True, False):
        x = rng.normal(2, 3, (5, 4, 4, 3)).astype("float32")
        assert np.asarray(ours(x, training)) == pytest.approx(
            np.asarray(theirs(x, training)), abs=1e-5
        )
    for part in ("moving_mean", "moving_variance"):
        assert getattr(ours, part).numpy() == pytest.approx(getattr(theirs, part).numpy(), rel=1e-5)


def test_keras_remembers_the_plain_variance_and_torch_the_unbiased_one(lesson):
    import keras
    import torch

    x = np.random.default_rng(0).normal(0, 2, (4, 3, 3, 1)).astype("float32")
    ours = lesson["torch"].torch_norm(1).train()
    ours(torch.as_tensor(x).permute(0, 3, 1, 2))
    theirs = lesson["keras"].keras_norm("norm")
    theirs(keras.ops.convert_to_tensor(x), training=True)
    assert float(ours.running_var[0]) == pytest.approx(0.9 + 0.1 * x.var(ddof=1), rel=1e-5)
    plain = float(parity.to_numpy(theirs.moving_variance)[0])
    assert plain == pytest.approx(0.9 + 0.1 * x.var(), rel=1e-5)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_kernels_start_from_the_papers_normal_and_no_bias_precedes_a_norm(lesson, framework):
    weights = parity.get_weights(build(lesson, framework, width=16, latents=40))
    for name, value in weights.items():
        if name.endswith("kernel") and value.size > 1000:
            assert value.std() == pytest.approx(0.02, rel=0.1) and abs(value.mean()) < 0.002
    biases = {name for name in weights if name.endswith("bias")}
    assert biases == {"generator.up2.bias", "discriminator.conv1.bias", "discriminator.out.bias"}


RULES = [{"resize": "pooled"}, {"norm": "nowhere"}, {"norm": "everywhere"}, {"squash": "sigmoid"}]
RULES += [{"slope": 0.0}, {"pack": 2}, {"pack": 2, "channels": 3}]


@pytest.mark.parametrize("changes", RULES, ids=str)
def test_broken_rules_and_packs_are_the_same_model_in_all_frameworks(lesson, changes):
    gans, _ = alike(lesson, **changes)
    rng, found = np.random.default_rng(1), {}
    z = rng.uniform(-1, 1, (4, 6)).astype("float32")
    x = rng.random((4, 28, 28, changes.get("channels", 1)), dtype="float32")
    for framework, gan in gans.items():
        way = lesson[framework].ways[framework]
        found[framework] = {"samples": way.generate(gan, z), "logits": way.score(gan, x)}
    assert found["torch"]["logits"].shape == (4 // changes.get("pack", 1),)
    samples = found["torch"]["samples"]
    assert 0 <= samples.min() and samples.max() <= 1 and samples.std() > 0
    parity.compare(found, tolerance=1e-5).verdict()


def test_a_pack_is_neighbours_stacked_along_the_channels(lesson):
    x = np.random.default_rng(0).random((4, 28, 28, 3), dtype="float32")
    packs = parity.to_numpy(lesson["keras"].packed(x, 2))
    assert packs.shape == (2, 28, 28, 6)
    assert (packs[0, ..., :3] == x[0]).all() and (packs[0, ..., 3:] == x[1]).all()


def test_a_guessing_discriminator_pays_log_4_and_the_losses_pull_as_part_1_draws(lesson):
    import torch

    losses = lesson["torch"].losses_torch
    nothing = torch.zeros(5, 1)
    assert float(losses["minimax"].judge(nothing, nothing)) == pytest.approx(np.log(4))
    for logit in (-6.0, 0.0, 3.0):
        d = 1 / (1 + np.exp(-logit))
        for name, pull in (("minimax", d), ("non-saturating", 1 - d)):
            s = torch.tensor([logit], requires_grad=True)
            losses[name].fool(s).backward()
            assert -float(s.grad) == pytest.approx(pull, rel=1e-4)


KERAS_STEPS = """
import os, sys
os.environ["KERAS_BACKEND"] = sys.argv[1]
import numpy as np
from types import SimpleNamespace
from utils import lessons, parity
lesson = lessons.load("07_dcgan", "keras")
import keras
assert keras.backend.backend() == sys.argv[1]
small = SimpleNamespace(**{**lesson.QUICK, "width": 8, "latents": 6})
gan = lesson.KerasGAN(small)
gan.compile(lambda: lesson.keras_adam(small), lesson.losses_keras["non-saturating"])
before = parity.get_weights(gan)
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (20, 28, 28, 1)).astype("float32")
for _ in range(5):
    gan.train_on_batch(x, (lesson.draw_z(20, small, rng), lesson.draw_z(20, small, rng)))
after = parity.get_weights(gan)
for net in ("generator", "discriminator"):
    own = [k for k in before if k.startswith(net) and "moving" not in k]
    print(net, min(np.abs(after[k] - before[k]).max() for k in own))
players = lesson.ways["keras"].players()
points = players.field(np.zeros((3, 2), "float32"), "minimax").copy()
for _ in range(3):
    players.step_d(np.ones((8, 2), "float32"), "minimax", 1e-2)
print("plane", np.abs(players.field(np.zeros((3, 2), "float32"), "minimax") - points).max())
frozen, loss = lesson.KerasDiscriminator(small), keras.losses.BinaryCrossentropy(from_logits=True)
frozen.compile("adam", loss)
frozen.trainable = False
keras.Sequential([lesson.KerasGenerator(small), frozen]).compile("adam", loss)
before = [parity.to_numpy(w).copy() for w in frozen.weights]
for _ in range(5):
    frozen.train_on_batch(x, np.ones((20, 1), "float32"))
print("frozen", max(np.abs(parity.to_numpy(w) - b).max() for w, b in zip(frozen.weights, before)))
"""


@pytest.mark.parametrize("backend", runtime.KERAS_BACKENDS)
def test_keras_trains_both_players_and_the_popular_pattern_does_not(backend):
    moved = keras_prints(KERAS_STEPS, backend)
    # the least of any weight: a lone bias may step to and fro, so that little is left after five
    assert moved["generator"] > 1e-6 and moved["discriminator"] > 1e-6
    assert moved["plane"] > 1e-3
    assert moved["frozen"] == 0.0


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, digits, framework):
    paid = []

    def report(step, logs, preview=None):
        paid.append((step, logs["discriminator"]))
        if step == 60:
            picture = preview()
            assert picture.dtype == np.uint8 and picture.shape == (184, 362, 3)
        return True

    chosen = settings(lesson, framework, width=8, steps=60)
    way = lesson[framework].ways[framework]
    gan = way.train(digits.x_train, chosen, report)
    assert [step for step, _ in paid] == list(range(10, 61, 10))
    assert paid[-1][1] < 0.7 * paid[0][1] < 1.4  # early on, the discriminator wins
    z = np.zeros((2, chosen.latents), "float32")
    assert way.generate(gan, z).shape == (2, 28, 28, 1)
    real = digits.x_test[:50, ..., None].astype("float32") / 255
    noise = np.random.default_rng(0).random((50, 28, 28, 1), dtype="float32")
    assert way.score(gan, real).mean() > way.score(gan, noise).mean()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, digits, framework):
    seen = []

    def report(step, logs, preview=None):
        seen.append(step)
        return step < 20

    way = lesson[framework].ways[framework]
    gan = way.train(digits.x_train, settings(lesson, framework, **SMALL, steps=200), report)
    assert seen == [10, 20]
    assert np.isfinite(way.generate(gan, np.zeros((1, 6), "float32"))).all()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_that_cannot_be_had_is_named(lesson, digits, framework):
    train = lesson[framework].ways[framework].train
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        train(digits.x_train, settings(lesson, framework, batch_size=5000), lambda *_: True)
    with pytest.raises(CourseError, match="packs of 3: choose a multiple"):
        train(digits.x_train, settings(lesson, framework, pack=3), lambda *_: True)


def test_a_long_run_resumes_where_it_was_cut(lesson, digits, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = settings(lesson, "tensorflow", **SMALL, steps=40)
    game = bare.TFGame(bare.TFGAN(chosen), chosen)
    bare.train_tf(digits.x_train, chosen, lambda step, *_: step < 20, game=game)
    path = tf.train.Checkpoint(trainer=game).save(str(tmp_path / "cut"))
    again = bare.TFGame(bare.TFGAN(chosen), chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    assert int(again.count) == 20 and float(again.judging.t) == 20
    steps = []
    bare.train_tf(digits.x_train, chosen, lambda step, *_: steps.append(step) or True, game=again)
    assert steps == [30, 40]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_players_of_the_plane_keep_their_word(lesson, framework):
    players = lesson[framework].ways[framework].players()
    points = data.ring(64, np.random.default_rng(0))
    one = players.samples(5)
    assert one.shape == (5, 2) and players.samples(9)[:5] == pytest.approx(one, abs=1e-6)
    before = players.field(points, "minimax")
    assert before.shape == (64,) and 0 <= before.min() and before.max() <= 1
    for _ in range(30):
        paid = players.step_d(points, "non-saturating", 1e-2)
    assert players.samples(5) == pytest.approx(one)  # the generator stood still
    assert players.field(points, "minimax").mean() > before.mean() and np.isfinite(paid)
    players.step_g(64, "minimax", 1e-2)
    assert np.abs(players.samples(5) - one).max() > 1e-4
    players.reset(0)
    assert players.samples(5) == pytest.approx(one, abs=1e-6)


def test_a_generator_that_answers_last_collapses(lesson):
    players = lesson["torch"].ways["torch"].players()
    found = {}
    for moves, rounds in ((1, 700), (8, 200)):
        players.reset(0)
        rng = np.random.default_rng(0)
        for _ in range(rounds):
            players.step_d(data.ring(64, rng, std=0.1), "non-saturating", 1e-3)
            for _ in range(moves):
                players.step_g(64, "non-saturating", 1e-3)
        samples = players.samples(500)
        found[moves] = metrics.ring_modes(samples, data.ring_centres(), 0.1).modes
    assert found[1] >= 6 and found[8] <= 1
