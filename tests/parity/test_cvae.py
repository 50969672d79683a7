"""03_cvae in three frameworks: the same steps, conditions that hide, and what breaks it."""

import numpy as np
import pytest
from parity_settings import settings

from utils import CourseError, checkpoints, data, judge, metrics, parity, runtime

NAME = "03_cvae"
KINDS = ("quadrants", "label", "baseline")


def batch_of(lesson, kind, n=20):
    """Made-up binary images with their conditions, hidden pixels and noise."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (n, 784)).astype("float32")
    module = lesson["torch"]
    seen = module.SEEN[rng.integers(0, len(module.SEEN), n)]
    c, hidden = module.told(np.arange(n) % 10) if kind == "label" else module.see(x, seen)
    return x, c, hidden, rng.standard_normal((n, 32), dtype="float32")


@pytest.mark.parametrize("kind", KINDS)
def test_five_steps_of_adam_are_the_same_in_torch_and_tensorflow(lesson, kind):
    import tensorflow as tf
    import torch

    ours, bare = lesson["torch"], lesson["tensorflow"]
    batch = batch_of(lesson, kind)
    one, two = ours.build_torch(kind), bare.build_tf(kind)
    weights = parity.get_weights(two)
    parity.set_weights(one, weights)
    optimizer = torch.optim.Adam(one.parameters(), 1e-3, eps=ours.ADAM_EPS, fused=True)
    adam = bare.Adam(parity.variables(two), ours.ADAM_EPS)
    for _ in range(5):
        nll, kl = ours.elbo_torch(one, *map(torch.tensor, batch))
        optimizer.zero_grad()
        (nll + kl).mean().backward()
        optimizer.step()
        with tf.GradientTape() as tape:
            nll, kl = bare.elbo_tf(two, *batch)
            loss = tf.reduce_mean(nll + kl)
        adam.apply(tape.gradient(loss, adam.parameters), tf.constant(1e-3))
    moved = parity.get_weights(one)
    assert np.abs(moved["logits.kernel"] - weights["logits.kernel"]).max() > 1e-3
    both = {"torch": {"weights": moved}, "tensorflow": {"weights": parity.get_weights(two)}}
    parity.compare(both, tolerance=1e-5).verdict()


@pytest.mark.parametrize("kind", KINDS)
def test_all_three_models_are_the_same_in_all_three_frameworks(lesson, kind):
    x, c, hidden, eps = batch_of(lesson, kind)
    weights, found = None, {}
    for name in runtime.FRAMEWORKS:
        way = lesson[name].ways[name]
        model = way.build(kind)
        weights = weights or parity.get_weights(model)
        parity.set_weights(model, weights)
        found[name] = {
            "posterior": np.concatenate(way.posterior(model, x, c)),
            "prior": np.concatenate(way.prior(model, c)),
            "images": way.decode(model, np.stack([eps, 2 * eps]), c),
            "log weights": way.log_weights(model, x, c, hidden, np.stack([eps, 2 * eps])),
        }
    parity.compare(found, tolerance=1e-5).verdict()
    if kind != "quadrants":  # N(0, I)
        assert not found["torch"]["prior"].any()


def test_keras_hides_what_it_does_not_tell(lesson, digits, images):
    module = lesson["keras"]
    x = data.binarise(images[:200], np.random.default_rng(0))
    c, hidden = module.build_keras("quadrants").conditions(x, digits.y_train[:200])
    c, hidden = parity.to_numpy(c), parity.to_numpy(hidden)
    assert np.array_equal(c, (2 * x - 1) * (1 - hidden))
    shown = (1 - hidden).reshape(-1, 2, 14, 2, 14).mean(axis=(2, 4)).reshape(-1, 4)
    assert set(np.unique(shown)) == {0.0, 1.0}  # whole quadrants
    assert 12 <= len(np.unique(shown, axis=0)) <= 15  # and never all four
    c, hidden = module.build_keras("label").conditions(x, digits.y_train[:200])
    assert np.array_equal(parity.to_numpy(c).argmax(axis=1), digits.y_train[:200])
    assert parity.to_numpy(hidden).all()


def test_the_tasks_show_one_two_and_three_quadrants(lesson):
    tasks = lesson["torch"].TASKS.reshape(3, 28, 28)
    assert tasks.sum(axis=(1, 2)).tolist() == [196, 392, 588]
    assert tasks[0, 14:, :14].all() and tasks[1, :, :14].all() and not tasks[2, 14:, 14:].any()
    assert np.unique(lesson["torch"].SEEN, axis=0).shape == (15, 784)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_only_hidden_pixels_count(lesson, framework):
    x, c, hidden, eps = batch_of(lesson, "baseline")
    way = lesson[framework].ways[framework]
    model = way.build("baseline")
    other = np.where(hidden > 0, x, 1 - x)  # the seen pixels turned, the condition kept
    before, after = (way.log_weights(model, v, c, hidden, eps[None]) for v in (x, other))
    assert np.array_equal(before, after)
    turned = way.log_weights(model, 1 - x, c, hidden, eps[None])
    told = c.any(axis=1)  # a fresh network that is told nothing says ½ everywhere
    assert (np.abs(turned - before)[0][told] > 1e-3).all()


@pytest.mark.parametrize("kind", ("quadrants", "label"))
def test_log_weights_average_to_the_elbo(lesson, kind):
    import torch

    x, c, hidden, _ = batch_of(lesson, kind, n=4)
    ours = lesson["torch"]
    torch.manual_seed(0)
    model = ours.build_torch(kind)
    n = 2000
    eps = np.random.default_rng(1).standard_normal((n, 4, 32), dtype="float32")
    log_w = ours.log_weights_torch(model, x, c, hidden, eps)  # n×4
    parts = [torch.tensor(np.tile(part, (n, 1))) for part in (x, c, hidden)]
    with torch.no_grad():
        nll, kl = ours.elbo_torch(model, *parts, torch.tensor(eps.reshape(-1, 32)))
    gap = log_w + (nll + kl).numpy().reshape(n, 4)  # the KL of each draw, and in closed form
    assert (np.abs(gap.mean(axis=0)) < 5 * gap.std(axis=0) / n**0.5).all()
    assert (metrics.log_mean_exp(log_w) >= log_w.mean(axis=0)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns(lesson, digits, images, framework, kind):
    losses = []

    def report(step, logs, preview=None):
        losses.append((step, logs["loss"]))
        if step == 200:
            assert preview().dtype == np.uint8
        return True

    chosen = settings(lesson, framework, model=kind, steps=200)
    lesson[framework].ways[framework].train(images, digits.y_train, chosen, report)
    assert [step for step, _ in losses] == list(range(10, 201, 10))
    # masks differ from batch to batch, and with them what a batch costs
    assert np.mean([loss for _, loss in losses[-5:]]) < 0.75 * losses[0][1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, digits, images, framework):
    way = lesson[framework].ways[framework]
    steps = []

    def report(step, logs, preview=None):
        steps.append(step)
        return step < 30

    model = way.train(images, digits.y_train, settings(lesson, framework, steps=200), report)
    assert steps == [10, 20, 30]
    c, _ = lesson[framework].see(np.zeros((2, 784), "float32"), lesson[framework].TASKS[0])
    drawn = lesson[framework].generate(way, model, c, np.zeros((3, 2, 32), "float32"))
    assert drawn.shape == (3, 2, 784) and np.isfinite(drawn).all()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_larger_than_the_data_is_named(lesson, digits, images, framework):
    way = lesson[framework].ways[framework]
    with pytest.raises(CourseError, match="batch of 5,000 is larger than the data"):
        chosen = settings(lesson, framework, batch_size=5000)
        way.train(images, digits.y_train, chosen, lambda *_: True)


def test_a_long_run_resumes_where_it_was_cut(lesson, digits, images, tmp_path):
    import tensorflow as tf

    bare = lesson["tensorflow"]
    chosen = settings(lesson, "tensorflow", steps=40)
    trainer = bare.TFTrainer(chosen)
    bare.train_tf(images, digits.y_train, chosen, lambda step, *_: step < 20, trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    assert int(again.step) == 20 and float(again.adam.t) == 20
    steps = []
    bare.train_tf(images, digits.y_train, chosen, lambda s, *_: steps.append(s) or True, again)
    assert steps == [30, 40]


def test_the_rate_falls_in_the_second_half(lesson):
    chosen = settings(lesson, "torch", steps=100, learning_rate=0.5)
    rates = [lesson["torch"].learning_rate(step, chosen) for step in (0, 50, 75, 100)]
    assert rates == [0.5, 0.5, 0.25, 0.0]
    decay = lesson["keras"].Decay(0.5, 100)
    assert [float(decay(step)) for step in (0, 50, 75, 100)] == rates


def obedience(module, way, model, digits):
    """How often a digit's code under another label is read as that label; spread of draws."""
    x = data.binarise(data.flatten(digits.x_test[:100]), np.random.default_rng(0))
    y = digits.y_test[:100]
    code, _ = way.posterior(model, x, module.told(y)[0])
    read = judge.load().predict(way.decode(model, code, module.told((y + 1) % 10)[0]))
    eps = np.random.default_rng(0).standard_normal((10, 10, 32), dtype="float32")
    drawn = module.generate(way, model, module.told(np.arange(10))[0], eps)
    return (read == (y + 1) % 10).mean(), drawn.std(axis=0).mean()


def test_a_cheap_code_carries_the_label_and_a_dear_one_nothing(lesson, digits, images):
    module = lesson["torch"]
    way, found = module.ways["torch"], {}
    for beta in (0.02, 50.0):
        chosen = settings(lesson, "torch", model="label", steps=400, beta=beta)
        model = way.train(images, digits.y_train, chosen, lambda *_: True)
        found[beta] = obedience(module, way, model, digits)
    assert found[0.02][0] < 0.2 and found[50.0][0] > 0.8
    assert found[50.0][1] < 0.3 * found[0.02][1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_trained_label_model_obeys_and_varies(lesson, digits, framework):
    way = lesson[framework].ways[framework]
    model = way.build("label")
    checkpoints.load_into(model, "03_cvae_label")
    read, spread = obedience(lesson[framework], way, model, digits)
    assert read > 0.8 and spread > 0.05


def test_a_code_saves_nats_the_more_the_less_is_seen(lesson, digits):
    module = lesson["torch"]
    way = module.ways["torch"]
    models = {kind: way.build(kind) for kind in ("quadrants", "baseline")}
    checkpoints.load_into(models["quadrants"], "03_cvae")
    checkpoints.load_into(models["baseline"], "03_cvae_baseline")
    x = data.binarise(data.flatten(digits.x_test[:100]), np.random.default_rng(0))
    eps = np.random.default_rng(0).standard_normal((50, len(x), 32), dtype="float32")
    saved = []
    for seen in module.TASKS:
        costs = {
            kind: -metrics.log_mean_exp(way.log_weights(model, x, *module.see(x, seen), eps)).mean()
            for kind, model in models.items()
        }
        saved.append(costs["baseline"] - costs["quadrants"])
    assert saved[0] > saved[1] > saved[2] > 0.5
