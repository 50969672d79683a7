"""Sprites with known factors, drawn and not downloaded, in the manner of dSprites.

Every picture is decided by five factors: which shape, how large, how far turned, and where. So a
model's code can be compared with what really varies. dSprites (Matthey et al. 2017) has 737,280
pictures of 64×64; these are smaller and fewer, and are not dSprites.
"""

import dataclasses
import functools

import numpy as np

from utils import CourseError

SIDE = 32  # pixels
SHAPES = ("ellipse", "triangle", "heart")
AREAS = (65.0, 92.0, 130.0, 184.0)  # pixels that a sprite of each size covers, whatever its shape
FACTORS = {"shape": len(SHAPES), "size": len(AREAS), "orientation": 8, "x": 8, "y": 8}
# The area of each form as `_level` describes it; the heart's, and the height of its centroid, are
# numerical. Equal areas keep shape and size apart: else both would show as "more white".
UNIT_AREAS = {"ellipse": np.pi / 2, "triangle": 3 * np.sqrt(3) / 4, "heart": 3.6620}
HEART_CENTRE = 0.2935
TURN = np.pi / 2 / FACTORS["orientation"]  # a quarter turn in all, less than any shape's symmetry


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sprites:
    """Every combination of the factors, once each.

    Parameters
    ----------
    images
        ``(N, 32, 32)`` uint8: 0 is black, 255 white, and there is nothing between.
    factors
        ``(N, 5)`` int64: which value each factor has, from 0. Rows are in counting order, the last
        factor fastest.
    """

    images: np.ndarray
    factors: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """The factors, in the order of their columns."""
        return tuple(FACTORS)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each factor has."""
        return tuple(FACTORS.values())

    def index(self, **values: int) -> int:
        """The row of the sprite with these factors; a factor left out has its middle value.

        Raises
        ------
        CourseError
            If a factor is unknown or its value does not exist.
        """
        unknown = sorted(set(values) - set(FACTORS))
        if unknown:
            raise CourseError(
                f"Sprites have no factor {unknown[0]!r}: choose among {', '.join(FACTORS)}."
            )
        row = [values.get(name, size // 2) for name, size in FACTORS.items()]
        return int(np.ravel_multi_index(_checked(np.array([row]))[0], self.sizes))

    def describe(self) -> str:
        """Say in one line how many there are and what varies."""
        factors = ", ".join(f"{name} ({size})" for name, size in FACTORS.items())
        return f"Sprites: {len(self.images):,} pictures of {SIDE}×{SIDE}; factors: {factors}."

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


@functools.cache
def sprites() -> Sprites:
    """Draw every sprite: 6,144 pictures, the same on every machine, in a moment.

    Returns
    -------
    Sprites
        Read-only, because all callers share it.
    """
    shape = tuple(FACTORS.values())
    factors = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1)
    found = Sprites(draw_sprites(factors), factors)
    found.images.setflags(write=False)
    found.factors.setflags(write=False)
    return found


def sample_factors(n: int, seed: int = 0) -> np.ndarray:
    """Draw `n` sprites' factors ``(n, 5)`` at random, every value equally likely."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, n) for size in FACTORS.values()], axis=1)


def draw_sprites(factors: np.ndarray) -> np.ndarray:
    """Draw the sprites that have these factors.

    A pixel is white where its centre lies inside the shape. Nothing is random, and nothing is
    smoothed: a Bernoulli likelihood wants black and white.

    Parameters
    ----------
    factors
        ``(N, 5)`` whole numbers: shape, size, orientation, x (to the right) and y (down).

    Returns
    -------
    numpy.ndarray
        ``(N, 32, 32)`` uint8, 0 or 255.

    Raises
    ------
    CourseError
        If the shape is wrong or a factor has no such value.
    """
    factors = _checked(factors)
    kinds, size, turn = (FACTORS[name] for name in ("shape", "size", "orientation"))
    wanted = np.ravel_multi_index(factors[:, :3].T, (kinds, size, turn))
    # A place is a whole pixel, so that each of the 96 forms is drawn once and then cut out.
    window = np.arange(SIDE)
    images = np.zeros((len(factors), SIDE, SIDE), np.uint8)
    for form in np.unique(wanted):
        rows = np.flatnonzero(wanted == form)
        canvas = _stencil(*np.unravel_index(form, (kinds, size, turn)))  # 39×39
        # The form's centre is pixel 19 of the canvas and shall be pixel 12 + x of the picture.
        right, down = 7 - factors[rows, 3], 7 - factors[rows, 4]
        images[rows] = canvas[
            (down[:, None] + window)[:, :, None], (right[:, None] + window)[:, None, :]
        ]
    return images


@functools.cache
def _stencil(shape: int, size: int, orientation: int) -> np.ndarray:
    """One form in the middle of a canvas of 39×39, uint8."""
    level = _level(shape, size, orientation)
    return np.where(level <= 0, 255, 0).astype(np.uint8)


def _level(shape: int, size: int, orientation: int) -> np.ndarray:
    """At each pixel centre a number that is negative inside the form and positive outside."""
    place = np.arange(SIDE + 7) - (SIDE // 2 + 3)
    right, down = np.meshgrid(place, place)
    angle = orientation * TURN
    u = np.cos(angle) * right + np.sin(angle) * down  # turned clockwise, as y points down
    v = np.sin(angle) * right - np.cos(angle) * down  # upwards from here on
    kind = SHAPES[shape]
    u, v = (w * np.sqrt(UNIT_AREAS[kind] / AREAS[size]) for w in (u, v))
    if kind == "ellipse":  # twice as long as it is wide
        return (2 * u) ** 2 + v**2 - 1
    if kind == "triangle":  # three half-planes at half a radius from the centre
        return np.maximum(-v, np.abs(u) * np.sqrt(3) / 2 + v / 2) - 0.5
    v = v + HEART_CENTRE
    return (u**2 + v**2 - 1) ** 3 - u**2 * v**3


def _checked(factors: np.ndarray) -> np.ndarray:
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS) or factors.dtype.kind not in "iu":
        raise CourseError(
            f"Sprites need factors of shape (N, {len(FACTORS)}), whole numbers for "
            f"{', '.join(FACTORS)}, not {factors.dtype} of shape {factors.shape}."
        )
    for column, (name, size) in zip(factors.T, FACTORS.items(), strict=True):
        if len(column) and not 0 <= column.min() <= column.max() < size:
            raise CourseError(f"The factor {name} runs from 0 to {size - 1}: bring it inside.")
    return factors
