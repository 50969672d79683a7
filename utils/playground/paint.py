"""The playground's picture: opinions as colours, points as dots, a drawing as points."""

import numpy as np

from utils import CourseError

SIDE = 364  # pixels of the picture
FIELD = 52  # places in a row at which the discriminator is asked: every seventh pixel
MADE, REAL = np.array([230, 159, 0]), np.array([86, 180, 233])  # orange and sky blue (Okabe, Ito)
SAMPLE, POINT = np.array([190, 60, 0]), np.array([20, 20, 20])
ALT = (
    "The plane of the game: light blue where the discriminator thinks points real, orange where "
    "made, white where it cannot tell; black dots are the data, dark orange ones samples."
)


def drawn_points(drawing: np.ndarray, reach: float, count: int = 4000) -> np.ndarray:
    """Points ``(count, 2)`` float32 as thickly as a drawing ``(H, W)`` uint8 has ink.

    Raises
    ------
    CourseError
        If nothing is drawn.
    """
    ink = drawing.astype(np.float64).ravel()
    if not ink.any():
        raise CourseError("The pad is empty: draw something on it, or choose other data.")
    rng = np.random.default_rng(0)
    row, column = np.divmod(rng.choice(len(ink), count, p=ink / ink.sum()), drawing.shape[1])
    place = np.stack([column, row], axis=1) + rng.random((count, 2))
    return (reach * (2 * place / drawing.shape[::-1] - 1) * [1, -1]).astype(np.float32)


def background(field: np.ndarray) -> np.ndarray:
    """Opinions ``(F, F)``, 0 made … 1 real, as a picture: orange, white at 0.5, sky blue."""
    from PIL import Image

    small = Image.fromarray(np.clip(field, 0, 1).astype(np.float32))
    opinion = np.array(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR))[..., None]
    towards = np.where(opinion < 0.5, MADE, REAL)
    strength = 0.75 * np.abs(2 * opinion - 1)
    canvas = (255 * (1 - strength) + towards * strength).astype(np.uint8)
    real = opinion[..., 0] >= 0.5  # a grey line where the opinion changes
    line = (real[1:, 1:] != real[:-1, 1:]) | (real[1:, 1:] != real[1:, :-1])
    canvas[1:, 1:][line] = 140
    return canvas


def dots(canvas: np.ndarray, points: np.ndarray, colour: np.ndarray, reach: float) -> None:
    """Dot points ``(N, 2)`` onto a square canvas; those beyond the edge lie on it."""
    size = len(canvas) - 3
    place = (np.asarray(points, np.float64) * [1, -1] + reach) / (2 * reach) * size
    column, row = np.clip(place, 0, size).astype(int).T
    for down, right in np.ndindex(3, 3):
        canvas[row + down, column + right] = colour
