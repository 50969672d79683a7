"""What every loader returns, and the three small steps between it and a model."""

import dataclasses
import operator
from collections.abc import Iterator

import numpy as np

from utils import CourseError


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Grey pictures with labels, split into a training and a test set.

    Parameters
    ----------
    name
        What the data are called, for titles and tables.
    x_train, x_test
        Pictures, shape (N, height, width), uint8: 0 is black, 255 white.
    y_train, y_test
        Class numbers, shape (N,), an integer dtype: positions in `class_names`.
    source
        Where they came from: ``"COURSE_DATA"``, ``"cache"``, ``"download"``, ``"embedded"``,
        or ``"images"`` and ``"idx"`` for the learner's own.
    licence
        The licence they are under, and whose they are.
    class_names
        One name for each class; the digits when left out.

    Raises
    ------
    CourseError
        If shapes, dtypes, lengths or labels do not fit together.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: str
    licence: str
    class_names: tuple[str, ...] = tuple("0123456789")

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            self._check(part, getattr(self, f"x_{part}"), getattr(self, f"y_{part}"))
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            train, test = (_times(x.shape[1:]) for x in (self.x_train, self.x_test))
            raise CourseError(
                f"{self.name}: training pictures are {train} and test pictures {test}: "
                "bring them to one size."
            )

    def _check(self, part: str, x: np.ndarray, y: np.ndarray) -> None:
        if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 3 or 0 in x.shape:
            raise CourseError(
                f"{self.name}: x_{part} must be a non-empty uint8 array of shape "
                f"(N, height, width), not {kind_of(x)}."
            )
        if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu" or y.ndim != 1:
            raise CourseError(
                f"{self.name}: y_{part} must be an array of whole numbers of shape (N,), "
                f"not {kind_of(y)}."
            )
        if len(x) != len(y):
            raise CourseError(
                f"{self.name}: {len(x):,} {part} pictures but {len(y):,} labels: "
                "each picture needs one."
            )
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= len(self.class_names):
            raise CourseError(
                f"{self.name}: the labels in y_{part} run from {low} to {high}, but "
                f"{len(self.class_names)} class names allow 0 to {len(self.class_names) - 1}."
            )

    def describe(self) -> str:
        """Say in one line what the data are, how many, and where they came from."""
        count = len(self.class_names)
        classes = f"{count} classes" if count > 1 else f"one class ({self.class_names[0]})"
        return (
            f"{self.name}: {len(self.x_train):,} training and {len(self.x_test):,} test pictures "
            f"of {_times(self.x_train.shape[1:])}, {classes}, source: {self.source}."
        )

    def __repr__(self) -> str:
        return f"<Dataset {self.describe()}>"


def binarise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw black-and-white pictures: each pixel is on with probability ``x / 255``.

    A fresh draw for every batch is the "dynamic binarisation" of Burda et al. (2016).

    Parameters
    ----------
    x
        Pictures of any shape, uint8, 0 to 255.
    rng
        A NumPy generator, such as ``np.random.default_rng(0)``.

    Returns
    -------
    float32 array of `x`'s shape, holding only 0 and 1.

    Raises
    ------
    CourseError
        If `x` is not uint8, or `rng` is not a generator.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8:
        raise CourseError(
            f"binarise needs uint8 pictures from 0 to 255, not {kind_of(x)}: "
            "pass x_train as it comes, before any division by 255."
        )
    # The draw lies in [0, 1) in steps of 2**-24, so 0 is never on and 255 always.
    draw = generator(rng).random(x.shape, dtype=np.float32)
    return np.less(draw, x / np.float32(255)).astype(np.float32)


def flatten(x: np.ndarray) -> np.ndarray:
    """Lay each picture out as one row: (N, height, width) becomes (N, height × width).

    The dtype stays, and the pixels are not copied where NumPy can avoid it.

    Raises
    ------
    CourseError
        If `x` has no picture axes to flatten.
    """
    if not isinstance(x, np.ndarray) or x.ndim < 2:
        raise CourseError(f"flatten needs pictures of shape (N, height, width), not {kind_of(x)}.")
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def check_batch(batch_size: int, n: int) -> int:
    """Return `n`, the number of examples, if at least one batch can be dealt from them.

    Raises
    ------
    CourseError
        If a number is not whole, is below 1, or a batch is larger than the data.
    """
    n, batch_size = whole_number("n", n), whole_number("batch_size", batch_size)
    if batch_size > n:
        raise CourseError(
            f"A batch of {batch_size:,} is larger than the data ({n:,} examples): "
            f"choose a batch size from 1 to {n:,}."
        )
    return n


def batches(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Deal the numbers 0 to ``n - 1`` into shuffled batches: one epoch.

    The last, partial batch is dropped, so that every step sees the same shape; the next epoch
    shuffles anew and leaves out others.

    Parameters
    ----------
    n
        How many examples there are.
    batch_size
        How many go into one batch, 1 to `n`.
    rng
        A NumPy generator; it decides the order.

    Returns
    -------
    An iterator over int64 arrays of shape (batch_size,), ``n // batch_size`` of them.

    Raises
    ------
    CourseError
        At the call, not at the first batch, if a number is not whole, `n` or `batch_size` is
        below 1, or a batch is larger than the data.
    """
    n, batch_size = check_batch(batch_size, n), int(batch_size)
    order = generator(rng).permutation(n)
    full = n - n % batch_size
    return (order[start : start + batch_size] for start in range(0, full, batch_size))


def split(y: np.ndarray, seed: int, test: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Divide labelled examples at random, each class in the same proportion.

    Parameters
    ----------
    y
        Class numbers, shape (N,), at least two of them.
    seed
        The same seed divides the same labels the same way.
    test
        The share of each class that goes into the test set, rounded.

    Returns
    -------
    The shuffled positions of the training and of the test examples; neither is empty.
    """
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        held_out[members[: min(round(len(members) * test), len(members) - 1)]] = True
    if not held_out.any():  # every class is tiny: the largest gives one up
        labels, counts = np.unique(y, return_counts=True)
        held_out[np.flatnonzero(y == labels[counts.argmax()])[-1]] = True
    order = rng.permutation(len(y))
    return order[~held_out[order]], order[held_out[order]]


def whole_number(name: str, value: object) -> int:
    """Return `value`, called `name`, if it is a whole number of at least 1; refuse it if not."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1:
        raise CourseError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return number


def generator(rng: object) -> np.random.Generator:
    """Return `rng` if it is a NumPy generator; refuse it if not."""
    if not isinstance(rng, np.random.Generator):
        raise CourseError(
            f"rng must be a NumPy generator, not {rng!r}: pass np.random.default_rng(seed)."
        )
    return rng


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(side) for side in shape)


def kind_of(value: object) -> str:
    """What a value is, for a message: dtype and shape of an array, else its type."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"a {type(value).__name__}"
