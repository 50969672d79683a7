"""Scenes to detect digits in: drawn, exact, and different from seed to seed.

One to eight digits of 14 to 40 pixels stand on a textured canvas, in colours of their own, and may
hide a little of one another. Some scenes hold none. Some hold a *crowd*: a swarm of tiny digits
with one box around all, as COCO marks what nobody wants to tell apart (``iscrowd``).
"""

import functools

import numpy as np

from utils import CourseError
from utils.boxes import Truth
from utils.data.dataset import kind_of, whole_number
from utils.data.detection import Detection
from utils.data.digits import mnist

SIDE = 96  # pixels of a scene
LOW, HIGH = 14, 40  # pixels of a digit's longer side
MOST = 8  # digits in a scene
EMPTY, CROWD = 0.04, 0.06  # shares of scenes
INK = 96  # a digit's pixel counts as ink from here on, of 255
OVERLAP = 0.25  # the most that two boxes may overlap (IoU)
INSIDE = 0.5  # the most of a box that may lie within another
VISIBLE = 0.8  # the least share of a digit's ink that is seen
TRIES = 12  # places to try for a digit before it is left out
CONTRAST = 0.35  # least difference of brightness between a digit and the canvas, of 1
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def draw_scenes(
    count: int, digits: np.ndarray, labels: np.ndarray, size: int = SIDE, seed: int = 0
) -> tuple[np.ndarray, list[Truth]]:
    """Draw scenes of digits with the box of each.

    A box is the extent of the ink that can be seen. Scene number i is the same however many are
    drawn: the first hundred of a thousand are the hundred that would be drawn alone.

    Parameters
    ----------
    count
        How many scenes.
    digits, labels
        Digits ``(N, 28, 28)`` uint8, white on black, and what they are ``(N,)``, 0…9.
    size
        Pixels of a scene's side, from 48.
    seed
        The same seed draws the same scenes of the same digits.

    Returns
    -------
    ndarray, list of Truth
        ``(count, size, size, 3)`` uint8, and what is in each.

    Raises
    ------
    CourseError
        If the digits are no such arrays, or a number makes no sense.
    """
    count, size = whole_number("count", count), whole_number("size", size)
    if size < HIGH + 8:
        raise CourseError(f"A scene of {size} pixels has no room for its digits: take 48 or more.")
    inks, labels = _inks(digits, labels)
    images = np.empty((count, size, size, 3), np.uint8)
    truths = []
    for place in range(count):
        rng = np.random.default_rng([int(seed), place])
        images[place], truth = _scene(inks, labels, size, rng)
        truths.append(truth)
    return images, truths


def scenes(train: int = 6000, test: int = 1000, size: int = SIDE, seed: int = 0) -> Detection:
    """Scenes of digits, to learn detection on: those of MNIST, or of the digits in its place.

    Training scenes are made of training digits and test scenes of test digits.

    Parameters
    ----------
    train, test
        How many scenes of each. Fewer are the first of more.
    size
        Pixels of a scene's side.
    seed
        Decides the training scenes. The test scenes are the same for every seed.

    Raises
    ------
    CourseError
        If a number makes no sense.
    """
    source = mnist()
    parts = [
        draw_scenes(train, source.x_train, source.y_train, size, 2 * int(seed) + 1),
        draw_scenes(test, source.x_test, source.y_test, size, 0),
    ]
    return Detection(
        "Scenes",
        tuple("0123456789"),
        *parts[0],
        *parts[1],
        source=f"drawn from {source.name}",
        real=False,
    )


def _inks(digits: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Each digit cut out to the extent of its ink; what has no ink is left out."""
    if not isinstance(digits, np.ndarray) or digits.dtype != np.uint8 or digits.ndim != 3:
        raise CourseError(f"Scenes need uint8 digits (N, height, width), not {kind_of(digits)}.")
    labels = np.asarray(labels)
    if labels.shape != (len(digits),) or labels.dtype.kind not in "iu":
        raise CourseError(
            f"Scenes need one whole-number label for each of the {len(digits):,} digits, not "
            f"{kind_of(labels)}."
        )
    found, kept = [], []
    ink = digits >= INK
    rows, columns = ink.any(axis=2), ink.any(axis=1)
    for place in np.flatnonzero(rows.any(axis=1)):
        y, x = np.flatnonzero(rows[place]), np.flatnonzero(columns[place])
        found.append(digits[place, y[0] : y[-1] + 1, x[0] : x[-1] + 1])
        kept.append(place)
    if not found:
        raise CourseError("Scenes need at least one digit that is not blank.")
    return found, labels[kept].astype(np.int64)


def _scene(inks: list, labels: np.ndarray, size: int, rng: np.random.Generator) -> tuple:
    canvas = _canvas(size, rng)
    owner = np.full((size, size), -1, np.int8)  # which digit's ink is seen at each pixel
    crowd = rng.random() < CROWD
    wanted = 0 if rng.random() < EMPTY else int(rng.integers(1, MOST + 1))
    boxes, names, crowds, inked = [], [], [], []
    if crowd:
        box, name = _swarm(canvas, inks, labels, rng)
        boxes, names, crowds, inked = [box], [name], [True], [0]
        wanted = min(wanted, 3)
    for _ in range(wanted):
        pick = int(rng.integers(len(inks)))
        side = np.exp(rng.uniform(np.log(LOW), np.log(HIGH)))
        mask = _resized(inks[pick], side)
        if not (mask >= INK).any():  # strokes so thin that they fade when made smaller
            continue
        spot = _spot(mask >= INK, boxes, owner, inked, size, rng)
        if spot is None:
            continue
        top, left = spot
        here = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
        _paint(canvas, here, mask, rng)
        owner[here][mask >= INK] = len(boxes)
        boxes.append(_extent(mask >= INK, top, left))
        names.append(int(labels[pick]))
        crowds.append(False)
        inked.append(int((mask >= INK).sum()))
    for number, crowded in enumerate(crowds):  # what was painted later may hide an edge
        if not crowded:
            boxes[number] = _extent(owner == number, 0, 0)
    truth = Truth(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(names, np.int64),
        np.array(crowds, bool),
    )
    return np.rint(255 * np.clip(canvas, 0, 1)).astype(np.uint8), truth


def _extent(ink: np.ndarray, top: int, left: int) -> tuple[int, int, int, int]:
    y, x = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return left + x[0], top + y[0], left + x[-1] + 1, top + y[-1] + 1


def _resized(ink: np.ndarray, side: float) -> np.ndarray:
    """A digit whose longer side is `side` pixels; its ink still reaches every edge."""
    from PIL import Image

    scale = side / max(ink.shape)
    height, width = (max(3, round(scale * length)) for length in ink.shape)
    image = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _spot(
    ink: np.ndarray,
    boxes: list,
    owner: np.ndarray,
    inked: list,
    size: int,
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Where a digit may stand: hardly on another's box, and hiding hardly any of its ink."""
    height, width = ink.shape
    others = np.array(boxes, np.float32).reshape(-1, 4)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    for _ in range(TRIES):
        top = int(rng.integers(0, size - height + 1))
        left = int(rng.integers(0, size - width + 1))
        if not len(others):
            return top, left
        wide = np.minimum(others[:, 2], left + width) - np.maximum(others[:, 0], left)
        high = np.minimum(others[:, 3], top + height) - np.maximum(others[:, 1], top)
        shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
        if (shared / (areas + height * width - shared)).max() > OVERLAP:
            continue
        if (shared / np.minimum(areas, height * width)).max() > INSIDE:
            continue
        if inked[0] == 0 and shared[0] > 0:  # a crowd is not painted over
            continue
        after = owner.copy()
        after[top : top + height, left : left + width][ink] = -1
        left_over = np.bincount(after[after >= 0], minlength=len(boxes))
        if all(n >= VISIBLE * m for n, m in zip(left_over, inked, strict=True)):
            return top, left
    return None


def _paint(canvas: np.ndarray, here: tuple, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Blend a digit into the canvas, in a colour that stands out from what lies around it."""
    beneath = canvas[here]
    around = beneath[::2, ::2].reshape(-1, 3)
    under = float(around.mean(axis=0) @ LUMA)
    for _ in range(20):
        colour = rng.random(3, dtype=np.float32)
        apart = abs(around - colour).sum(axis=1)  # and from other digits' ink
        if abs(float(colour @ LUMA) - under) >= CONTRAST and (apart < CONTRAST).mean() < 0.02:
            break
    else:
        colour = np.full(3, float(under < 0.5), np.float32)
    share = mask[..., None] / np.float32(255)
    beneath += share * (colour - beneath)


def _swarm(canvas: np.ndarray, inks: list, labels: np.ndarray, rng: np.random.Generator) -> tuple:
    """A crowd: tiny digits of one class, too many and too small to tell apart."""
    size = len(canvas)
    pick = int(rng.integers(len(inks)))
    height, width = rng.integers(24, 41, size=2)
    top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
    same = np.flatnonzero(labels == labels[pick])
    ink = np.zeros((size, size), bool)
    for _ in range(int(height * width // 45)):
        mask = _resized(inks[same[rng.integers(len(same))]], rng.uniform(7, 10))
        y = int(top + rng.integers(0, max(1, height - mask.shape[0] + 1)))
        x = int(left + rng.integers(0, max(1, width - mask.shape[1] + 1)))
        here = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
        _paint(canvas, here, mask, rng)
        ink[here] |= mask >= INK
    if not ink.any():
        ink[top : top + height, left : left + width] = True
    return _extent(ink, 0, 0), int(labels[pick])


@functools.lru_cache(maxsize=8)
def _ramps(size: int, knots: int) -> np.ndarray:
    """Linear interpolation from `knots` values to `size` pixels, as a matrix."""
    place = np.linspace(0, knots - 1, size)
    return np.clip(1 - abs(place[:, None] - np.arange(knots)), 0, 1).astype(np.float32)


def _canvas(size: int, rng: np.random.Generator) -> np.ndarray:
    """A ground of clouds, stripes or weave, ``(size, size, 3)`` floats about 0…1."""
    base = rng.uniform(0.1, 0.9, 3).astype(np.float32)
    tint = rng.uniform(-0.12, 0.12, 3).astype(np.float32)
    clouds = np.zeros((size, size), np.float32)
    for knots, strength in ((5, 0.6), (13, 0.4)):
        ramps = _ramps(size, knots)
        clouds += strength * (
            ramps @ rng.uniform(-1, 1, (knots, knots)).astype(np.float32) @ ramps.T
        )
    kind = rng.integers(3)  # clouds alone, or with stripes, or with two crossed sets of them
    pattern = np.zeros((size, size), np.float32)
    place = np.arange(size, dtype=np.float32)
    for _ in range(kind):
        angle, period = rng.uniform(0, np.pi), rng.uniform(5, 16)
        turned = np.cos(angle) * place[:, None] + np.sin(angle) * place
        pattern += np.sin(2 * np.pi / period * turned)
    grain = rng.standard_normal((size, size), dtype=np.float32)
    light = 0.10 * clouds + 0.035 * pattern + 0.02 * grain
    return base + light[..., None] + clouds[..., None] * tint
