"""Ten letters in many typefaces, drawn and not downloaded: a second task for what digits taught.

The typefaces are those that matplotlib carries. Test letters come from another family of typefaces
than training letters, so that knowing a typeface by heart does not help.
"""

import functools
from pathlib import Path

import numpy as np

from utils import CourseError
from utils.data.dataset import Dataset, generator, whole_number

LETTERS = "ABCDEFGHIJ"
SIDE, FINE = 28, 4  # pixels of a picture, and how many times finer it is drawn
FACES = {  # family of the training letters: DejaVu and STIX; of the test letters: Computer Modern
    "train": (
        "DejaVuSans",
        "DejaVuSans-Bold",
        "DejaVuSansMono",
        "DejaVuSerif",
        "DejaVuSerif-BoldItalic",
        "STIXGeneral",
        "STIXGeneralBolIta",
    ),
    "test": ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
}


@functools.cache
def _font(face: str, size: int):
    import matplotlib
    from PIL import ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    if not path.exists():
        raise CourseError(
            f"matplotlib's typeface {face} is missing ({path}): install matplotlib again."
        )
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def draw_letters(
    labels: np.ndarray, rng: np.random.Generator, faces: tuple[str, ...]
) -> np.ndarray:
    """Draw letters, white on black, each in a typeface, size, angle and place of its own.

    Parameters
    ----------
    labels
        ``(N,)``, 0…9: positions in `LETTERS`.
    rng
        A NumPy generator; it decides everything else.
    faces
        Names of matplotlib's typefaces to choose from.

    Returns
    -------
    numpy.ndarray
        ``(N, 28, 28)`` uint8.

    Raises
    ------
    CourseError
        If a label names no letter, or a typeface is not there.
    """
    from PIL import Image, ImageDraw

    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not set(labels) <= set(range(10)):
        raise CourseError("Letters are numbered 0 to 9: give an array (N,) of such labels.")
    rng, large = generator(rng), SIDE * FINE
    found = np.zeros((len(labels), SIDE, SIDE), np.uint8)
    for place, label in enumerate(labels):
        face, size = faces[rng.integers(len(faces))], int(FINE * rng.integers(19, 27))
        angle, shift = rng.uniform(-15, 15), FINE * rng.uniform(-2, 2, size=2)
        canvas = Image.new("L", (large, large))
        left, top, right, bottom = _font(face, size).getbbox(LETTERS[label])
        middle = (large - np.array([left + right, top + bottom])) / 2
        where = tuple(map(float, middle + shift))
        ImageDraw.Draw(canvas).text(where, LETTERS[label], fill=255, font=_font(face, size))
        turned = canvas.rotate(angle, Image.Resampling.BILINEAR)
        found[place] = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX))
    return found


def letters(train: int = 200, test: int = 1000, seed: int = 0) -> Dataset:
    """Draw a data set of the letters A to J; the same seed draws the same one.

    Parameters
    ----------
    train, test
        How many pictures of each part; the classes are as even as they can be.
    seed
        Decides the training letters. The test letters are the same for every seed.

    Raises
    ------
    CourseError
        If a number is not whole or below 1, or a typeface is not there.
    """
    parts = {}
    for part, count, draw in (
        ("train", train, np.random.default_rng([1, int(seed)])),
        ("test", test, np.random.default_rng(0)),
    ):
        labels = draw.permutation(np.arange(whole_number(part, count)) % len(LETTERS))
        parts[part] = draw_letters(labels, draw, FACES[part]), labels.astype(np.int64)
    return Dataset(
        "Letters",
        *parts["train"],
        *parts["test"],
        source="drawn",
        licence="the typefaces': DejaVu (Bitstream Vera), STIX (OFL), Computer Modern (BaKoMa)",
        class_names=tuple(LETTERS),
    )
