"""Pictures with boxes: what every detection loader returns, and augmentation of both."""

import dataclasses

import numpy as np

from utils import CourseError, boxes
from utils.boxes import Truth
from utils.data.dataset import generator, kind_of

LEAST = 2.0  # pixels: a box cut to less by augmentation is dropped
KEPT = 0.4  # share of its area that a box must keep inside the picture


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Detection:
    """Colour pictures of one size and what is in each, split into a training and a test set.

    Parameters
    ----------
    name
        What the data are called, for titles and tables.
    class_names
        One name for each class; labels are positions in it.
    x_train, x_test
        Pictures, ``(N, height, width, 3)`` uint8.
    t_train, t_test
        A `utils.boxes.Truth` for each: boxes, labels, crowds.
    source
        Where they came from, in words.
    real
        Whether somebody took these pictures; False if they were drawn.

    Raises
    ------
    CourseError
        If shapes, dtypes, lengths or labels do not fit together.
    """

    name: str
    class_names: tuple[str, ...]
    x_train: np.ndarray
    t_train: list[Truth]
    x_test: np.ndarray
    t_test: list[Truth]
    source: str
    real: bool

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            check_pictures(getattr(self, f"x_{part}"), f"{self.name}: x_{part}")
            self._check(part, getattr(self, f"x_{part}"), getattr(self, f"t_{part}"))
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise CourseError(
                f"{self.name}: training pictures are {self.x_train.shape[1:]} and test pictures "
                f"{self.x_test.shape[1:]}: bring them to one size."
            )

    def _check(self, part: str, x: np.ndarray, truths: list[Truth]) -> None:
        if len(x) != len(truths):
            raise CourseError(
                f"{self.name}: {len(x):,} {part} pictures but {len(truths):,} truths: "
                "each picture needs one, with no box where there is nothing."
            )
        for place, truth in enumerate(truths):
            where = f"t_{part}[{place}] of {self.name}"
            if not isinstance(truth, boxes.Truth):
                raise CourseError(f"{where} must be a Truth, not {kind_of(truth)}: boxes.truth().")
            boxes.check(truth, *x.shape[1:3], len(self.class_names), where)

    def counts(self, part: str = "train") -> dict[str, int]:
        """How many boxes each class has in ``"train"`` or ``"test"``, crowds not counted."""
        truths = {"train": self.t_train, "test": self.t_test}[part]
        labels = np.concatenate([t.labels[~t.crowd] for t in truths]).astype(np.int64)
        found = np.bincount(labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, map(int, found), strict=True))

    def describe(self) -> str:
        """Say in one line what the data are, how many, and where they came from."""
        height, width = self.x_train.shape[1:3]
        train, test = (sum(self.counts(part).values()) for part in ("train", "test"))
        return (
            f"{self.name}: {len(self.x_train):,} training and {len(self.x_test):,} test pictures "
            f"of {height}×{width} with {train:,} and {test:,} boxes, "
            f"{len(self.class_names)} classes, source: {self.source}."
        )

    def __repr__(self) -> str:
        return f"<Detection {self.describe()}>"


def check_pictures(images: np.ndarray, name: str = "images") -> np.ndarray:
    """Return `images` if they are uint8 pictures ``(N, height, width, 3)``; refuse if not."""
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] != 3
        or 0 in images.shape
    ):
        raise CourseError(
            f"{name} must be a non-empty uint8 array of shape (N, height, width, 3), not "
            f"{kind_of(images)}."
        )
    return images


def flipped(
    images: np.ndarray, truths: list[Truth], rng: np.random.Generator, share: float = 0.5
) -> tuple[np.ndarray, list[Truth]]:
    """Mirror some pictures left to right, with their boxes.

    Right for blood cells, wrong for digits: a mirrored 2 is no 2. So scenes do without it.

    Parameters
    ----------
    images, truths
        ``(N, height, width, 3)`` uint8, and what is in each.
    rng
        A NumPy generator; it decides which are mirrored.
    share
        How many of all, on average.

    Returns
    -------
    ndarray, list of Truth
        New ones; what was given stays as it was.
    """
    check_pictures(images)
    images, truths = images.copy(), list(truths)
    width = images.shape[2]
    for place in np.flatnonzero(generator(rng).random(len(images)) < share):
        images[place] = images[place, :, ::-1]
        left, top, right, bottom = truths[place].boxes.T
        moved = np.stack([width - right, top, width - left, bottom], axis=1)
        truths[place] = truths[place]._replace(boxes=moved.astype(np.float32))
    return images, truths


def jittered(
    images: np.ndarray,
    truths: list[Truth],
    rng: np.random.Generator,
    shift: float = 0.1,
    scale: float = 0.2,
    colour: float = 0.2,
    flip: bool = False,
) -> tuple[np.ndarray, list[Truth]]:
    """Shift, scale and tint pictures at random, with their boxes.

    Boxes are cut at the picture's edge. One that keeps less than 40 % of its area becomes a crowd,
    which training and evaluation leave out: as a box it would ask for what nobody can tell, and
    without one it would teach the detector to miss it. Less than two pixels of a side are dropped.
    What comes in has the mean colour.

    Parameters
    ----------
    images, truths
        ``(N, height, width, 3)`` uint8, and what is in each.
    rng
        A NumPy generator; it decides everything.
    shift
        The most that a picture moves, as a share of its sides.
    scale
        The most that it grows or shrinks: 0.2 is from 1/1.2 to 1.2.
    colour
        The most that brightness, contrast and each colour change, as a share.
    flip
        Whether half of them are mirrored as well (`flipped`): not for digits.

    Returns
    -------
    ndarray, list of Truth
        New ones; what was given stays as it was.
    """
    from PIL import Image

    check_pictures(images)
    generator(rng)
    if flip:
        images, truths = flipped(images, truths, rng)
    count, height, width, _ = images.shape
    out, moved = np.empty_like(images), []
    for place, (image, truth) in enumerate(zip(images, truths, strict=True)):
        zoom = (1 + scale) ** rng.uniform(-1, 1)
        dx, dy = rng.uniform(-shift, shift, 2) * (width, height)
        # What stands at (x, y) afterwards stood at ((x - left) / zoom, (y - top) / zoom) before.
        left, top = dx + (1 - zoom) * width / 2, dy + (1 - zoom) * height / 2
        mean = tuple(int(v) for v in image[::4, ::4].reshape(-1, 3).mean(axis=0))
        warped = Image.fromarray(image).transform(
            (width, height),
            Image.Transform.AFFINE,
            (1 / zoom, 0, -left / zoom, 0, 1 / zoom, -top / zoom),
            Image.Resampling.BILINEAR,
            fillcolor=mean,
        )
        gain = (1 + rng.uniform(-colour, colour)) * (1 + rng.uniform(-colour, colour, 3) / 2)
        offset = 255 * rng.uniform(-colour, colour) / 2
        table = np.arange(256)[:, None] * gain + offset  # (256, 3): every byte's new value
        table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
        out[place] = table[np.asarray(warped), np.arange(3)]
        corners = truth.boxes * np.float32(zoom) + np.float32([left, top, left, top])
        moved.append(_cut(truth._replace(boxes=corners), height, width))
    return out, moved


def _cut(truth: Truth, height: int, width: int) -> Truth:
    """Cut boxes at the picture's edge; what is nearly gone becomes a crowd."""
    inside = boxes.clip(truth.boxes, height, width)
    seen = (inside[:, 2:] - inside[:, :2] >= LEAST).all(axis=1)
    little = boxes.area(inside) < KEPT * boxes.area(truth.boxes)
    return Truth(inside[seen], truth.labels[seen], (truth.crowd | little)[seen])
