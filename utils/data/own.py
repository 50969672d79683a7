"""The learner's own pictures in MNIST's place: a folder of PNG or JPEG files, or IDX files."""

import operator
import os
from pathlib import Path

import numpy as np

from utils import CourseError
from utils.data.dataset import Dataset, split
from utils.data.idx import read_idx
from utils.data.ladder import say

SUFFIXES = (".png", ".jpg", ".jpeg")


def from_images(
    folder: str | os.PathLike, size: int = 28, seed: int = 0, invert: bool = False
) -> Dataset:
    """Load a folder of PNG or JPEG pictures in MNIST's place.

    Pictures lie either in one subfolder per class, whose sorted names number the classes, or
    all in `folder` itself, as one class. Each becomes grey, is padded to a square with the
    colour of its border, and scaled. Transparent parts become black, or white where the
    picture itself is dark.

    Parameters
    ----------
    folder
        Where the pictures are.
    size
        Their side in pixels afterwards.
    seed
        Decides which fifth of each class becomes the test set.
    invert
        Turn dark on light into light on dark, as in MNIST.

    Returns
    -------
    A `Dataset` of pictures of shape (N, size, size).

    Raises
    ------
    CourseError
        If the folder is missing or holds no pictures, fewer than two, or pictures beside class
        folders; or if a picture cannot be read, which is named.
    """
    _check_size(size)
    root = Path(folder).expanduser()
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise CourseError(f"{root} {state}: give the folder that holds your pictures.")
    classes = _classes(root)
    paths = [(path, number) for number, members in enumerate(classes.values()) for path in members]
    if len(paths) < 2:
        raise CourseError(
            f"{root} holds only one picture ({paths[0][0].name}): two at least are needed, "
            "one to train on and one to test on."
        )
    x = np.stack([_fit(_read(path), size) for path, _ in paths])
    y = np.array([number for _, number in paths], dtype=np.int64)
    if invert:
        x = 255 - x
    elif np.median(np.concatenate([x[:, [0, -1]].ravel(), x[:, :, [0, -1]].ravel()])) > 127:
        say(
            "These pictures are dark on light, MNIST's are light on dark: "
            "from_images(folder, invert=True) turns them round."
        )
    train, test = split(y, seed)
    return Dataset(
        root.resolve().name,
        x[train],
        y[train],
        x[test],
        y[test],
        source="images",
        licence="the owner's",
        class_names=tuple(classes),
    )


def from_idx(
    images: str | os.PathLike,
    labels: str | os.PathLike | None = None,
    size: int = 28,
    seed: int = 0,
) -> Dataset:
    """Load the learner's own IDX files in MNIST's place, such as Fashion-MNIST's.

    Parameters
    ----------
    images
        A file of pictures, uint8, shape (N, height, width), gzipped or plain.
    labels
        A file of N whole numbers, shape (N,); without it all pictures form one class. The
        classes are numbered anew from 0, in the order of their labels.
    size
        Pictures of another size are padded to a square with the colour of their border and
        scaled to ``size × size`` pixels.
    seed
        Decides which fifth of the pictures of each class becomes the test set.

    Raises
    ------
    CourseError
        If a file cannot be read, holds something else, or the two do not match.
    """
    _check_size(size)
    pictures = read_idx(images)
    if pictures.dtype != np.uint8 or pictures.ndim != 3 or 0 in pictures.shape[1:]:
        raise CourseError(
            f"{images} holds {pictures.dtype} of shape {pictures.shape}, not pictures: "
            "uint8 of shape (N, height, width) is needed."
        )
    if len(pictures) < 2:
        raise CourseError(
            f"{images} holds {'1 picture' if len(pictures) else 'no pictures'}: "
            "two at least are needed, one to train on and one to test on."
        )
    y, names = np.zeros(len(pictures), np.int64), ("unlabelled",)
    if labels is not None:
        marks = read_idx(labels)
        if marks.dtype.kind not in "iu" or marks.shape != pictures.shape[:1]:
            raise CourseError(
                f"{labels} holds {marks.dtype} of shape {marks.shape}, but {len(pictures):,} "
                f"pictures need {len(pictures):,} whole numbers."
            )
        found, y = np.unique(marks, return_inverse=True)
        names = tuple(str(label) for label in found)
    if pictures.shape[1:] != (size, size):
        pictures = np.stack([_fit(picture, size) for picture in pictures])
    train, test = split(y, seed)
    return Dataset(
        Path(images).name,
        pictures[train],
        y[train],
        pictures[test],
        y[test],
        source="idx",
        licence="the owner's",
        class_names=names,
    )


def _fit(picture: np.ndarray, size: int) -> np.ndarray:
    """Pad a grey picture to a square with the colour of its border, and scale it.

    Parameters
    ----------
    picture
        Shape (height, width), uint8.
    size
        The side of the result in pixels.

    Returns
    -------
    uint8 array of shape (size, size).
    """
    from PIL import Image

    height, width = picture.shape
    side = max(height, width)
    if height != width:
        edge = np.concatenate([picture[[0, -1]].ravel(), picture[:, [0, -1]].ravel()])
        top, left = (side - height) // 2, (side - width) // 2
        square = np.full((side, side), np.median(edge).astype(np.uint8))
        square[top : top + height, left : left + width] = picture
        picture = square
    if side == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def _check_size(size: int) -> None:
    """Make sure that `size` is a whole number of pixels.

    Raises
    ------
    CourseError
        If it is not, or is below 1.
    """
    try:
        good = not isinstance(size, bool) and operator.index(size) >= 1
    except TypeError:
        good = False
    if not good:
        raise CourseError(f"size must be a whole number of pixels, at least 1, not {size!r}.")


def _classes(root: Path) -> dict[str, list[Path]]:
    """Find the pictures of each class: its name, then their paths in order."""
    loose, others = _pictures(root)
    folders = {}
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.name.startswith((".", "__")):
            folders[path.name], more = _pictures(path)
            others += more
    empty = [name for name, members in folders.items() if not members]
    full = {name: members for name, members in folders.items() if members}
    if loose and full:
        raise CourseError(
            f"{root} holds pictures ({loose[0].name}) beside folders of pictures "
            f"({next(iter(full))}/): put every picture into the folder of its class."
        )
    if not loose and not full:
        raise CourseError(
            f"{root} holds no pictures: put PNG or JPEG files into it, or into one folder per "
            "class inside it."
        )
    if others:
        files = "1 file that is" if others == 1 else f"{others} files that are"
        say(f"Left out of {root}: {files} neither PNG nor JPEG.")
    if empty:
        say(f"Left out of {root}: folders without pictures ({', '.join(empty)}).")
    return full or {"unlabelled": loose}


def _pictures(folder: Path) -> tuple[list[Path], int]:
    """List the pictures in a folder, and count the other files, hidden ones aside."""
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    return pictures, len(files) - len(pictures)


def _read(path: Path) -> np.ndarray:
    """Read one picture as grey, shape (height, width), uint8."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            return _grey(ImageOps.exif_transpose(file))
    except Image.UnidentifiedImageError:
        reason = "it is neither PNG nor JPEG, whatever its name says"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error) or type(error).__name__
    raise CourseError(
        f"{path} cannot be read as a picture ({reason}): replace it or take it out of the folder."
    )


def _grey(image) -> np.ndarray:
    """Turn a Pillow image of any mode into grey, shape (height, width), uint8."""
    if image.mode.startswith("I"):  # 16 bits: the upper byte is what 8 bits would have held
        return (np.asarray(image).clip(0, 65535) // 256).astype(np.uint8)
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return np.asarray(image.convert("L")).copy()
    image = image.convert("LA" if image.mode == "LA" else "RGBA")
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    alpha = np.asarray(image.getchannel("A"), dtype=np.float64) / 255
    ink = (grey * alpha).sum() / max(alpha.sum(), 1)
    ground = 255 if ink < 128 and alpha.min() < 1 else 0
    return np.rint(grey * alpha + ground * (1 - alpha)).astype(np.uint8)
