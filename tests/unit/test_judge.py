"""The judge: the same numbers as in PyTorch, the same marks everywhere, and clear refusals."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from utils import CourseError, checkpoints, data, judge, parity, runtime


@pytest.fixture(scope="module")
def digits():
    return data.mnist("embedded")


def test_numpy_computes_what_the_network_computes_in_pytorch(digits):
    runtime.load("torch")
    import torch

    from utils.recipes import judge as recipe

    model = recipe.network().eval()
    parity.set_weights(model, judge.load().weights)
    x = digits.x_test[:200]
    with torch.no_grad():
        images = torch.from_numpy(judge.check(x)).permute(0, 3, 1, 2)
        features, logits = model.features(images).numpy(), model(images)
    np.testing.assert_allclose(judge.load().features(x), features, atol=1e-4)
    np.testing.assert_allclose(judge.load().logits(x), logits.numpy(), atol=1e-4)
    probabilities = logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(judge.load().probabilities(x), probabilities, atol=1e-4)


def test_numpy_computes_what_a_loop_over_pixels_computes():
    """Two 8-bit pictures, every product written out."""
    rng = np.random.default_rng(0)
    x = rng.random((2, 6, 6, 2)).astype(np.float32)
    kernel = rng.standard_normal((5, 5, 2, 3)).astype(np.float32)
    bias = rng.standard_normal(3).astype(np.float32)
    found = judge.Judge({"c.kernel": kernel, "c.bias": bias}, {})._convolve("c", x)
    expected = np.empty((2, 2, 2, 3))
    for b, i, j, o in np.ndindex(expected.shape):
        expected[b, i, j, o] = (x[b, i : i + 5, j : j + 5] * kernel[..., o]).sum() + bias[o]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    pooled = judge._pool(found)
    best = np.maximum(found.max(axis=(1, 2)), 0)
    np.testing.assert_array_equal(pooled, best[:, None, None])


def test_every_way_to_hand_over_images_gives_the_same_marks(digits):
    x = digits.x_test[:20]
    expected = judge.load().features(x)
    assert expected.shape == (20, judge.FEATURES) and expected.dtype == np.float32
    for same in (x.reshape(20, 784), x / np.float32(255), (x / 255.0).reshape(20, 784)):
        np.testing.assert_allclose(judge.load().features(same), expected, atol=1e-4)
    np.testing.assert_allclose(judge.load().features(x[5:6]), expected[5:6], atol=1e-4)


def test_batches_change_nothing(digits, monkeypatch):
    expected = judge.load().features(digits.x_test)
    monkeypatch.setattr(judge, "BATCH", 7)
    np.testing.assert_allclose(judge.load().features(digits.x_test), expected, atol=1e-4)


def test_probabilities_are_some_and_the_prediction_is_the_likeliest(digits):
    x = digits.x_test[:50]
    p = judge.load().probabilities(x)
    assert p.shape == (50, 10) and p.dtype == np.float32 and p.min() >= 0
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(judge.load().predict(x), p.argmax(axis=1))
    assert np.issubdtype(judge.load().predict(x).dtype, np.integer)


def test_the_surest_of_judges_does_not_overflow(digits):
    weights = judge.load().weights
    sure = judge.Judge(weights | {"logits.kernel": 1000 * weights["logits.kernel"]}, {})
    p = sure.probabilities(digits.x_test[:50])
    np.testing.assert_allclose(p.max(axis=1), 1)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_the_judge_reads_handwriting_it_has_never_seen(digits):
    assert (judge.load().predict(digits.x_test) == digits.y_test).mean() > 0.9


def test_no_feature_is_dead(digits):
    features = judge.load().features(digits.x_train)
    assert features.std(axis=0).min() > 0.01
    assert np.linalg.matrix_rank(np.cov(features, rowvar=False)) == judge.FEATURES


def test_there_is_one_judge_and_its_checkpoint_names_it():
    assert judge.load() is judge.load()
    assert judge.load().sha256 == checkpoints.load("judge").info["sha256"]
    assert judge.load().info["test_accuracy"] >= 99.4


def test_the_judge_works_without_any_framework():
    code = (
        "import sys, numpy as np; from utils import judge; "
        "judge.load().predict(np.zeros((1, 784))); "
        "print({'torch', 'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_memory_stays_small():
    images = np.zeros((2000, 28, 28), np.uint8)
    tracemalloc.start()
    judge.load().features(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


GOOD = np.full((2, 28, 28), 0.5, np.float32)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (GOOD[0], "a single image into a batch"),
        (GOOD[..., None], "not \\(2, 28, 28, 1\\): reshape"),
        (np.zeros((2, 1, 28, 28), np.uint8), "reshape"),
        (np.zeros((2, 32, 32), np.uint8), "reshape"),
        (np.float32(0.5), "not \\(\\)"),
        (np.zeros((0, 784), np.uint8), "no image"),
        (GOOD.astype(np.int64), "not int64: convert"),
        (GOOD > 0, "not bool: convert"),
        (GOOD.astype(complex), "not complex128"),
        (np.array([["a"] * 784]), "convert"),
        (GOOD * np.nan, "NaN or infinite"),
        (np.where(np.arange(28) == 3, np.nan, GOOD), "NaN or infinite"),
        (np.where(np.arange(28) == 3, -np.inf, GOOD), "NaN or infinite"),
        (GOOD * 510, "0…1, not in 255…255: divide by 255"),
        (GOOD * np.linspace(-2, 2, 28, dtype=np.float32), "tanh gives −1…1"),
        (GOOD * np.linspace(-6, 6, 28, dtype=np.float32), "logits or standardised"),
    ],
)
def test_anything_else_is_refused_with_a_remedy(images, said):
    for method in ("features", "probabilities", "predict"):
        with pytest.raises(CourseError, match=said):
            getattr(judge.load(), method)(images)


def test_rounding_at_the_ends_is_forgiven():
    edge = np.array([-1e-6, 1 + 1e-6], np.float32).repeat(392)[None]
    assert judge.load().probabilities(edge).shape == (1, 10)
    half = np.full((1, 784), 0.5, np.float16)
    assert judge.load().features(half).dtype == np.float32
