"""MNIST, and the real digits that stand in for it where there is no network."""

import numpy as np

from utils import CourseError
from utils.data import ladder
from utils.data.dataset import Dataset
from utils.data.idx import decode_idx

MNIST = ladder.Listing(
    name="MNIST",
    folder="mnist",
    files=(
        ladder.File(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            47_040_016,
        ),
        ladder.File(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            60_008,
        ),
        ladder.File(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            7_840_016,
        ),
        ladder.File(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            10_008,
        ),
    ),
    # The first home, yann.lecun.com, has answered 403 for years. These are the mirrors of
    # torchvision, of the CVD Foundation, of the group that keeps fgnt/mnist, and of NumPyro.
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
        "https://raw.githubusercontent.com/pyro-ppl/datasets/master/mnist/",
    ),
    download_mb=11.6,
)
SOURCES = ("auto", "COURSE_DATA", "cache", "download", "embedded")


def mnist(source: str = "auto") -> Dataset:
    """Load MNIST, or real digits of the same shape where MNIST cannot be had.

    Parameters
    ----------
    source
        ``"auto"`` takes the first of ``"COURSE_DATA"``, ``"cache"``, ``"download"`` and
        ``"embedded"`` that works; one of these names insists on it.

    Returns
    -------
    A `Dataset` of 28×28 uint8 pictures: 60,000 and 10,000 of them; or, announced in one line,
    1,442 and 355 with ``source == "embedded"``.

    Raises
    ------
    CourseError
        If `source` is unknown, ``COURSE_DATA`` names a wrong directory or holds a wrong file,
        or the one place asked for does not have the data.

    Notes
    -----
    MNIST: Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0.
    """
    if source not in SOURCES:
        raise CourseError(f"source={source!r} is unknown: choose one of {', '.join(SOURCES)}.")
    if source == "embedded":
        return _embedded()
    files, rung = ladder.climb(MNIST, source)
    if files is None:
        ladder.say(
            f"MNIST is not at hand ({rung}): using the embedded data, 1,797 real handwritten "
            "digits from scikit-learn, enlarged to 28×28."
        )
        return _embedded()
    x_train, y_train, x_test, y_test = (decode_idx(files[file.name]) for file in MNIST.files)
    return Dataset(
        "MNIST",
        x_train,
        y_train,
        x_test,
        y_test,
        source=rung,
        licence="CC BY-SA 3.0 (Y. LeCun, C. Cortes, C. Burges)",
    )


def centre(image: np.ndarray) -> np.ndarray:
    """Move a picture's centre of mass to its middle, as MNIST's makers did.

    Parameters
    ----------
    image
        Shape (height, width), 0 is empty. Ink never leaves the picture: where there is no room
        it is moved as far as there is.

    Returns
    -------
    An array of the same shape and dtype.

    Raises
    ------
    CourseError
        If `image` is not a single picture.
    """
    if np.ndim(image) != 2:
        raise CourseError(f"centre takes one picture (height, width), not shape {np.shape(image)}.")
    moved = image
    for axis in (0, 1):
        ink = moved.sum(axis=1 - axis, dtype=np.float64)
        if not ink.any():
            return moved
        places = np.flatnonzero(ink)
        wanted = round((len(ink) - 1) / 2 - ink @ np.arange(len(ink)) / ink.sum())
        shift = min(max(wanted, -places[0]), len(ink) - 1 - places[-1])
        moved = np.roll(moved, shift, axis)
    return moved


def _embedded() -> Dataset:
    """Load the 1,797 digits that scikit-learn carries, as MNIST would have drawn them.

    Every fifth digit of each class goes into the test set: the same ones on every machine.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise CourseError(
            "The embedded digits come with scikit-learn, which is not installed: "
            "run `pip install scikit-learn`."
        ) from None
    cells, labels = load_digits(return_X_y=True)
    y = labels.astype(np.uint8)
    x = _enlarge(cells.reshape(-1, 8, 8) / 16)
    test = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        test[np.flatnonzero(y == digit)[4::5]] = True
    return Dataset(
        "Digits (scikit-learn)",
        x[~test],
        y[~test],
        x[test],
        y[test],
        source="embedded",
        licence="CC BY 4.0 (E. Alpaydin, C. Kaynak, UCI Machine Learning Repository)",
    )


def _enlarge(cells: np.ndarray) -> np.ndarray:
    """Turn 8×8 digits into 28×28 ones with MNIST's proportions.

    A cell holds the share of ink on 4×4 dots of the original scan, so the stroke's edge runs
    where the share passes one half. A cubic spline through the cells, tenfold in each
    direction, finds that edge; a steep ramp draws it; averaging 4×4 dots smooths it. Eight
    cells become 20 pixels, as high as MNIST's digits, and the centre of mass goes to the
    middle of the picture, as in MNIST.

    Parameters
    ----------
    cells
        Shape (N, 8, 8), the share of ink, 0 to 1.

    Returns
    -------
    uint8 array of shape (N, 28, 28).
    """
    from scipy.ndimage import zoom

    # A blank cell on each side lets the strokes end where they do, not at the frame.
    spline = zoom(np.eye(10), (10, 1), order=3, mode="grid-constant", grid_mode=True)[:, 1:-1]
    spline = spline.astype(np.float32)
    dots = spline @ cells.astype(np.float32) @ spline.T  # (N, 8, 8) -> (N, 100, 100)
    dots = np.clip((dots - 0.3) / 0.4, 0, 1)
    small = dots.reshape(-1, 25, 4, 25, 4).mean(axis=(2, 4))  # -> (N, 25, 25)
    # On a canvas of 37 = 6 + 25 + 6 there is room to slide a window of 28 over each digit.
    canvas = np.pad(small, ((0, 0), (6, 6), (6, 6)))
    place = np.arange(37) + 0.5
    ink = canvas.sum(axis=(1, 2))
    top, left = (
        np.clip(np.rint(canvas.sum(axis=axis) @ place / ink - 14), 0, 9).astype(int)
        for axis in (2, 1)
    )
    pictures = np.stack(
        [image[y : y + 28, x : x + 28] for image, y, x in zip(canvas, top, left, strict=True)]
    )
    return np.rint(pictures * 255).astype(np.uint8)
