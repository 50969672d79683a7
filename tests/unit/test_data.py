"""What every loader returns, and the steps between it and a model."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_digits

from utils import CourseError
from utils.data import Dataset, batches, binarise, check_batch, digits, flatten, mnist
from utils.data.dataset import split

REAL = os.environ.get("COURSE_DATA")
seeds = st.integers(0, 2**32 - 1)


def parts(**changes):
    """The fields of a sound dataset, with changes."""
    fields = {
        "name": "Test",
        "x_train": np.zeros((4, 5, 6), np.uint8),
        "y_train": np.array([0, 1, 2, 9]),
        "x_test": np.zeros((2, 5, 6), np.uint8),
        "y_test": np.array([3, 4], np.uint8),
        "source": "embedded",
        "licence": "none",
    }
    return fields | changes


def test_a_dataset_describes_itself_in_one_line():
    line = Dataset(**parts()).describe()
    assert line == "Test: 4 training and 2 test pictures of 5×6, 10 classes, source: embedded."
    assert line in repr(Dataset(**parts()))
    alone = Dataset(
        **parts(y_train=np.zeros(4, int), y_test=np.zeros(2, int), class_names=("cat",))
    )
    assert "one class (cat)" in alone.describe()


def test_a_dataset_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dataset(**parts()).name = "other"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": np.zeros((4, 5, 6))}, "x_train must be .* uint8 .* not float64"),
        ({"x_train": np.zeros((4, 30), np.uint8)}, r"x_train must be .* shape \(4, 30\)"),
        ({"x_test": np.zeros((0, 5, 6), np.uint8)}, "x_test must be a non-empty"),
        ({"x_train": [[1]]}, "x_train must be .* not a list"),
        ({"y_train": np.array([0.0, 1, 2, 3])}, "y_train must be .* whole numbers"),
        ({"y_test": np.array([[0], [1]])}, "y_test must be .* whole numbers"),
        ({"y_train": np.array([0, 1, 2])}, "4 train pictures but 3 labels"),
        ({"y_train": np.array([0, 1, 2, 10])}, "from 0 to 10, but 10 class names"),
        ({"y_test": np.array([-1, 1])}, "from -1 to 1"),
        ({"class_names": ("a", "b")}, "2 class names allow 0 to 1"),
        ({"x_test": np.zeros((2, 6, 5), np.uint8)}, "training pictures are 5×6 and test pictures"),
    ],
)
def test_a_dataset_that_does_not_fit_together_is_refused(changes, words):
    with pytest.raises(CourseError, match=words):
        Dataset(**parts(**changes))


@given(x=hnp.arrays(np.uint8, hnp.array_shapes(max_dims=3, max_side=9)), seed=seeds)
def test_binarise_gives_zeros_and_ones_and_keeps_black_and_white(x, seed):
    drawn = binarise(x, np.random.default_rng(seed))
    assert drawn.dtype == np.float32 and drawn.shape == x.shape
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    assert not drawn[x == 0].any() and drawn[x == 255].all()
    np.testing.assert_array_equal(drawn, binarise(x, np.random.default_rng(seed)))


def test_binarise_turns_each_grey_on_as_often_as_it_is_bright():
    draws = 40_000
    x = np.broadcast_to(np.arange(256, dtype=np.uint8), (draws, 256))
    share = binarise(x, np.random.default_rng(0)).mean(axis=0)
    p = np.arange(256) / 255
    # Five standard errors: one draw in 7,000 of all 256 greys together would fall outside.
    assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / draws) + 1e-6).all()


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
def test_binarise_keeps_black_and_white_at_the_ends_of_the_draw(draw):
    class Always(np.random.Generator):
        def random(self, size, dtype):
            return np.full(size, draw, dtype)

    x = np.array([0, 1, 254, 255], np.uint8)
    grey = draw == 0  # the smallest draw turns on every grey, the largest none
    on = binarise(x, Always(np.random.PCG64(0)))
    np.testing.assert_array_equal(on, [0, grey, grey, 1])


def test_binarise_draws_afresh_each_time():
    rng, x = np.random.default_rng(0), np.full((20, 20), 128, np.uint8)
    assert (binarise(x, rng) != binarise(x, rng)).any()


@pytest.mark.parametrize("x", [np.full((2, 2), 0.5), np.zeros((2, 2), np.int64), [0, 255], None])
def test_binarise_refuses_what_is_not_uint8(x):
    with pytest.raises(CourseError, match="before any division by 255"):
        binarise(x, np.random.default_rng(0))


@pytest.mark.parametrize("rng", [0, None, np.random.RandomState(0)])
def test_a_generator_must_be_one(rng):
    with pytest.raises(CourseError, match=r"np\.random\.default_rng\(seed\)"):
        binarise(np.zeros((2, 2), np.uint8), rng)
    with pytest.raises(CourseError, match=r"np\.random\.default_rng\(seed\)"):
        batches(4, 2, rng)


def test_flatten_keeps_the_pixels_in_order_and_does_not_copy():
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    flat = flatten(x)
    np.testing.assert_array_equal(flat, [range(12), range(12, 24)])
    assert flat.dtype == np.uint8 and np.shares_memory(flat, x)
    assert flatten(np.zeros((0, 28, 28))).shape == (0, 784)
    with pytest.raises(CourseError, match="flatten needs pictures"):
        flatten(np.zeros(3))


@given(data=st.data(), n=st.integers(1, 300), seed=seeds)
def test_batches_deal_every_example_at_most_once(data, n, seed):
    size = data.draw(st.integers(1, n))
    dealt = list(batches(n, size, np.random.default_rng(seed)))
    assert [len(batch) for batch in dealt] == [size] * (n // size)
    everything = np.concatenate(dealt)
    assert len(np.unique(everything)) == len(everything)
    assert everything.min() >= 0 and everything.max() < n
    if n % size == 0:
        assert sorted(everything) == list(range(n))
    again = batches(n, size, np.random.default_rng(seed))
    np.testing.assert_array_equal(everything, np.concatenate(list(again)))


def test_batches_are_shuffled_anew_each_epoch():
    rng = np.random.default_rng(0)
    first, second = (np.concatenate(list(batches(100, 10, rng))) for _ in range(2))
    assert (first != np.arange(100)).any() and (first != second).any()
    left_out = {tuple(set(range(7)) - set(next(batches(7, 6, rng)))) for _ in range(60)}
    assert len(left_out) == 7  # the dropped example is not always the same


@pytest.mark.parametrize(
    ("n", "size", "words"),
    [
        (10, 11, "A batch of 11 is larger than the data .10 examples.: choose .* 1 to 10"),
        (10, 0, "batch_size must be .* at least 1, not 0"),
        (10, -3, "not -3"),
        (10, 2.0, "not 2.0"),
        (10, True, "not True"),
        (10, float("nan"), "not nan"),
        (10, "4", "not '4'"),
        (0, 1, "n must be"),
    ],
)
def test_batches_refuse_bad_sizes_at_the_call(n, size, words):
    with pytest.raises(CourseError, match=words):
        batches(n, size, np.random.default_rng(0))
    with pytest.raises(CourseError, match=words):
        check_batch(size, n)


def test_sizes_may_be_numpys_numbers():
    assert check_batch(np.uint8(200), np.int64(1000)) == 1000
    assert len(list(batches(np.int64(1000), np.uint8(200), np.random.default_rng(0)))) == 5


@given(
    y=hnp.arrays(np.int64, st.integers(2, 200), elements=st.integers(0, 5)),
    seed=seeds,
)
def test_a_split_is_a_partition_with_every_class_in_proportion(y, seed):
    train, test = split(y, seed)
    assert sorted([*train, *test]) == list(range(len(y)))
    assert len(train) and len(test)
    for label in np.unique(y):
        members, held_out = (y == label).sum(), (y[test] == label).sum()
        assert abs(held_out - members / 5) <= 0.5 or members < 5
    np.testing.assert_array_equal(test, split(y, seed)[1])


# The embedded digits


@pytest.fixture(scope="module")
def embedded():
    return mnist("embedded")


def test_the_embedded_digits_take_mnists_place(embedded, monkeypatch):
    assert embedded.source == "embedded" and "scikit-learn" in embedded.name
    assert embedded.x_train.shape == (1442, 28, 28) and embedded.x_test.shape == (355, 28, 28)
    assert embedded.x_train.dtype == embedded.y_train.dtype == np.uint8
    assert embedded.class_names == tuple("0123456789")


def test_the_embedded_split_is_fixed_and_stratified(embedded):
    for y, low, high in ((embedded.y_train, 140, 147), (embedded.y_test, 34, 36)):
        counts = np.bincount(y)
        assert len(counts) == 10 and low <= counts.min() and counts.max() <= high
    pictures = np.concatenate([flatten(embedded.x_train), flatten(embedded.x_test)])
    assert len(np.unique(pictures, axis=0)) == 1797  # no test digit among the training digits
    seen, expected = [0] * 10, []
    for label in load_digits().target:  # every fifth of its class, in scikit-learn's order
        seen[label] += 1
        if seen[label] % 5 == 0:
            expected.append(label)
    np.testing.assert_array_equal(embedded.y_test, expected)


def test_the_embedded_digits_look_like_mnists(embedded):
    x = embedded.x_train.astype(float)
    assert (x.max(axis=(1, 2)) == 255).all() and (x.min(axis=(1, 2)) == 0).all()
    # MNIST: mean 33, 19 % of the pixels not black, and 8 % neither dark nor bright, which
    # a blurred enlargement has three times over.
    assert 30 < x.mean() < 45 and 0.18 < (x > 0).mean() < 0.27
    assert ((x > 31) & (x < 224)).mean() < 0.11
    place = np.arange(28) + 0.5
    ink = x.sum(axis=(1, 2))
    for axis in (1, 2):
        assert np.abs(x.sum(axis=axis) @ place / ink - 14).max() <= 0.51
    rows = (x > 127).any(axis=2).sum(axis=1)
    assert np.median(rows) == 20  # as high as MNIST's digits


def test_a_nearest_neighbour_reads_the_embedded_digits(embedded):
    train, test = (flatten(x).astype(np.float32) for x in (embedded.x_train, embedded.x_test))
    distance = (train**2).sum(axis=1) - 2 * test @ train.T
    guess = embedded.y_train[distance.argmin(axis=1)]
    assert (guess == embedded.y_test).mean() > 0.97


def test_mnist_is_listed_with_the_sizes_its_shapes_need():
    sizes = [file.size for file in digits.MNIST.files]
    assert sizes == [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert all(address.startswith("https://") and address[-1] == "/" for address in
               digits.MNIST.mirrors)  # fmt: skip


@pytest.mark.skipif(not REAL, reason="COURSE_DATA is not set, so the real MNIST is not at hand")
def test_the_real_mnist_is_read_from_course_data(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", REAL)
    data = mnist()
    assert data.source == "COURSE_DATA" and data.name == "MNIST" and not capsys.readouterr().out
    assert data.x_train.shape == (60_000, 28, 28) and data.x_test.shape == (10_000, 28, 28)
    assert data.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert round(data.x_train.mean() / 255, 4) == 0.1307  # the mean everyone normalises by
    assert data.x_train.flags.writeable  # PyTorch warns about arrays that are not


def test_importing_the_data_loads_no_framework_and_nothing_slow():
    code = (
        "import sys, utils.data; print([m for m in ('torch', 'tensorflow', 'keras', 'matplotlib',"
        " 'sklearn', 'scipy', 'PIL', 'pooch', 'requests') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
