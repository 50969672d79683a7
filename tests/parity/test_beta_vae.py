"""04_beta_vae in three frameworks: the same steps, the capacity, and what β does."""

import numpy as np
import pytest
from parity_settings import settings

from utils import CourseError, data, lessons, metrics, parity, results, runtime
from utils.recipes import beta_vae as recipe

NAME = "04_beta_vae"


@pytest.fixture(scope="module")
def images():
    return data.flatten(data.sprites().images)


def train(lesson, images, framework="torch", **changes):
    runtime.seed_everything(0)
    way = lesson[framework].ways[framework]
    return way, way.train(images, settings(lesson, framework, **changes), lambda *_: True)


def codes(way, model, images):
    return way.encode(model, images.astype("float32") / 255)[0]


def test_five_steps_of_adam_are_the_same_in_all_three(lesson, images):
    import tensorflow as tf
    import torch

    ours, bare, keras = (lesson[name] for name in runtime.FRAMEWORKS)
    rng = np.random.default_rng(0)
    x = images[rng.integers(0, len(images), 20)].astype("float32") / 255
    eps = rng.standard_normal((20, 10), dtype="float32")
    weights = parity.get_weights(bare.TFVAE(10))
    one, two, three = ours.TorchVAE(10), bare.TFVAE(10), keras.KerasVAE(10, None, 4.0, 3.0, 4)
    for model in (one, two, three):
        parity.set_weights(model, weights)
    optimizer = torch.optim.Adam(one.parameters(), 1e-3, fused=True)
    adam = bare.Adam(parity.variables(two))
    three.compile(keras.keras.optimizers.Adam(1e-3, epsilon=1e-8))
    for step in range(1, 6):
        capacity = 3.0 * min(1.0, step / 4)
        nll, kl = ours.parts_torch(one, torch.from_numpy(x), torch.from_numpy(eps))
        optimizer.zero_grad()
        ours.objective_torch(nll, kl, 4.0, capacity).backward()
        optimizer.step()
        with tf.GradientTape() as tape:
            loss = bare.objective_tf(*bare.parts_tf(two, x, eps), 4.0, capacity)
        adam.apply(tape.gradient(loss, adam.parameters), tf.constant(1e-3))
        three.train_on_batch([x, eps])
    found = [{"weights": parity.get_weights(model)} for model in (one, two, three)]
    moved = dict(zip(runtime.FRAMEWORKS, found, strict=True))
    kernel = "encoder.mean.kernel"
    assert np.abs(found[0]["weights"][kernel] - weights[kernel]).max() > 1e-3
    keras_own = moved.pop("keras")
    parity.compare(moved, tolerance=5e-5).verdict()
    # Keras adds epsilon before the bias correction: only where gradients vanish does it show
    gaps = [np.abs(keras_own["weights"][k] - found[0]["weights"][k]) for k in weights]
    gaps = np.concatenate([gap.ravel() for gap in gaps])
    assert np.quantile(gaps, 0.999) < 1e-5 and gaps.max() < 5e-3


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_every_framework_learns_and_reports(lesson, images, framework):
    seen = []

    def report(step, logs, preview=None):
        seen.append((step, logs["loss"]))
        if step == 200:
            assert preview().dtype == np.uint8
        return True

    way = lesson[framework].ways[framework]
    way.train(images, settings(lesson, framework, steps=200), report)
    assert [step for step, _ in seen] == list(range(10, 201, 10))
    assert seen[-1][1] < 0.7 * seen[0][1]


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_stopping_leaves_a_usable_model(lesson, images, framework):
    way, seen = lesson[framework].ways[framework], []

    def report(step, *_):
        seen.append(step)
        return step < 30

    model = way.train(images, settings(lesson, framework, steps=200), report)
    assert seen == [10, 20, 30]
    assert np.isfinite(way.decode(model, np.zeros((1, 10), "float32"))).all()


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_batch_larger_than_the_data_is_named(lesson, images, framework):
    with pytest.raises(CourseError, match="larger than the data"):
        way = lesson[framework].ways[framework]
        way.train(images[:50], settings(lesson, framework, batch_size=64), lambda *_: True)


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_kl_follows_a_rising_capacity(lesson, images, framework):
    logs = []
    way = lesson[framework].ways[framework]
    chosen = settings(lesson, framework, steps=500, beta=50.0, capacity=5.0)
    way.train(images, chosen, lambda step, values, *_: logs.append(values["KL"]) or True)
    assert logs[-1] == pytest.approx(5.0, abs=0.6)
    assert logs[5] < 2.5  # step 60 of a ramp of 250


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_a_beta_of_three_hundred_switches_every_unit_off(lesson, images, framework):
    way, model = train(lesson, images, framework, steps=400, beta=300.0)
    table = codes(way, model, images)
    assert metrics.active_units(table).sum() == 0
    assert metrics.mutual_information_gap(table, data.sprites().factors) < 0.05
    assert metrics.factor_vae_score(table, data.sprites().factors) == 0


def test_a_larger_beta_costs_reconstruction_and_saves_nats(lesson, images):
    x = images[::5].astype("float32") / 255
    eps = np.random.default_rng(0).standard_normal((len(x), 10), dtype="float32")
    found = []
    for beta in (0.05, 1.0, 16.0):
        way, model = train(lesson, images, steps=400, beta=beta)
        found.append([part.mean() for part in way.terms(model, x, eps)])
    (low, many), (middle, some), (high, few) = found
    assert low < middle < high and many > some > few


def test_a_long_run_resumes_where_it_was_cut(lesson, images, tmp_path):
    import tensorflow as tf

    bare, chosen = lesson["tensorflow"], settings(lesson, "tensorflow", steps=40)
    trainer = bare.TFTrainer(images, chosen)
    bare.train_tf(images, chosen, lambda step, *_: step < 20, trainer)
    path = tf.train.Checkpoint(trainer=trainer).save(str(tmp_path / "cut"))
    again = bare.TFTrainer(images, chosen)
    tf.train.Checkpoint(trainer=again).restore(path).assert_consumed()
    steps = []
    bare.train_tf(images, chosen, lambda step, *_: steps.append(step) or True, again)
    assert steps == [30, 40] and int(again.step) == 40


def test_a_traversal_moves_one_unit_in_each_row(lesson, images):
    way = lesson["torch"].ways["torch"]
    seen = []

    def decode(z):
        seen.append(z)
        return np.zeros((len(z), images.shape[1]))

    model = way.build(10)
    image = images[0]
    made = lesson["torch"].traversal(lambda x: way.encode(model, x), decode, image)
    assert made.shape == (70, 32, 32)
    (mean,) = way.encode(model, image[None].astype("float32") / 255)[0]
    table = seen[0].reshape(10, 7, 10)
    for unit in range(10):
        assert np.allclose(table[unit, :, unit], np.linspace(-2, 2, 7))
        assert np.allclose(np.delete(table[unit], unit, axis=1), np.delete(mean, unit))


@pytest.mark.thorough
def test_train_saves_every_seed_and_measure_finds_them_again(monkeypatch, tmp_path):
    from utils import checkpoints

    opened = lessons.load(NAME, "tensorflow")
    monkeypatch.setitem(opened.FULL, "steps", 30)
    load = lessons.load
    monkeypatch.setattr(
        lessons, "load", lambda name, fw=None: opened if fw == "tensorflow" else load(name, fw)
    )
    # `load_into` calls `load`, so that both read from the folder of this test
    save, read = checkpoints.save, checkpoints.load
    monkeypatch.setattr(checkpoints, "save", lambda *a: save(*a, folder=tmp_path))
    monkeypatch.setattr(checkpoints, "load", lambda name, *_: read(name, tmp_path))
    recipe.train(tmp_path / "train")
    for name in (*recipe.MODELS, recipe.OTHERS):
        stated, found = recipe.remeasure(name, "tensorflow")
        assert found == pytest.approx(stated, abs=1e-3)
    records = {r.metric: r for r in results.measure(NAME, "tensorflow", images=600)}
    assert records["β-VAE: MIG"].seeds == [0, 1, 2]
    assert {"VAE: MIG", "VAE: FactorVAE score", "β-VAE: DCI disentanglement"} <= set(records)
    assert records["VAE: MIG"].low < records["VAE: MIG"].high
