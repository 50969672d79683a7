"""Folders in Pascal VOC's layout: pictures, XML files with boxes, and lists of names.

``JPEGImages/NAME.jpg`` and ``Annotations/NAME.xml`` belong together, and
``ImageSets/Main/train.txt`` lists the names of a split.
"""

import io
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from utils import CourseError, boxes
from utils.boxes import Truth
from utils.data import ladder
from utils.data.dataset import whole_number
from utils.data.detection import Detection


def from_voc(
    folder: str | os.PathLike,
    class_names: Sequence[str],
    height: int = 240,
    width: int = 320,
    train: str = "train",
    test: str = "val",
) -> Detection:
    """Load your own pictures with boxes, in Pascal VOC's layout.

    Parameters
    ----------
    folder
        The one that holds ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``.
    class_names
        The classes that may stand in the annotations, in the order of their numbers.
    height, width
        Pixels to which every picture is scaled, whatever its shape; its boxes with it.
    train, test
        Names of the lists in ``ImageSets/Main``, without ``.txt``.

    Raises
    ------
    CourseError
        If a file is missing or broken, or names an unknown class: file and remedy are named.
    """
    root = Path(folder).expanduser()
    if not (root / "Annotations").is_dir():
        raise CourseError(
            f"{root} has no folder Annotations: give the folder of Pascal VOC's layout."
        )
    height, width = whole_number("height", height), whole_number("width", width)

    def read(name: str) -> bytes:
        try:
            return (root / name).read_bytes()
        except OSError as error:
            raise CourseError(
                f"{root / name} cannot be read ({error.strerror}): add it, or take its name out of "
                "the lists in ImageSets/Main."
            ) from None

    parts, dropped = read_splits(read, (train, test), tuple(class_names), height, width)
    if dropped:
        ladder.say(f"{root.name}: {dropped} boxes of no width or height are left out.")
    return Detection(root.name, tuple(class_names), *parts, source=str(root), real=True)


def read_splits(
    read: Callable[[str], bytes],
    splits: Sequence[str],
    classes: tuple[str, ...],
    height: int,
    width: int,
) -> tuple[list, int]:
    """Pictures and truths of each split in turn, and how many boxes were left out.

    Parameters
    ----------
    read
        Gives the bytes of a file by its name in the layout; each is asked for once.
    splits, classes, height, width
        As for `from_voc`.
    """
    parts, dropped = [], 0
    for split in splits:
        images, truths, lost = _split(read, split, classes, height, width)
        parts += [images, truths]
        dropped += lost
    return parts, dropped


def _split(
    read: Callable[[str], bytes], split: str, classes: tuple[str, ...], height: int, width: int
) -> tuple[np.ndarray, list[Truth], int]:
    """One split, and how many boxes were left out."""
    listing = f"ImageSets/Main/{split}.txt"
    names = read(listing).decode(errors="replace").split()
    if not names:
        raise CourseError(f"{listing} lists no picture: write the names into it, one a line.")
    images, truths, dropped = np.empty((len(names), height, width, 3), np.uint8), [], 0
    for place, name in enumerate(names):
        picture, annotation = f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml"
        images[place], size = decode(read(picture), picture, height, width)
        truth, lost = parse_voc(read(annotation), annotation, classes)
        factor = np.float32([width / size[0], height / size[1]] * 2)
        truths.append(truth._replace(boxes=truth.boxes * factor))
        dropped += lost
    return images, truths, dropped


def decode(raw: bytes, name: str, height: int, width: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a picture and scale it.

    Returns
    -------
    ndarray, tuple
        ``(height, width, 3)`` uint8; the width and height it had.

    Raises
    ------
    CourseError
        If it is no picture that can be read: `name` is named.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(raw)) as picture:
            size = picture.size
            scaled = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CourseError(
            f"{name} is no picture that can be read ({error}): replace it with a sound copy."
        ) from None
    return np.asarray(scaled), size


def parse_voc(raw: bytes, name: str, classes: tuple[str, ...]) -> tuple[Truth, int]:
    """Read a Pascal VOC annotation.

    Coordinates are taken as they stand. (VOC counts pixels from 1, LabelImg, which BCCD was made
    with, from 0: half a pixel is less than anybody's hand.) Boxes are cut at the picture's edge.

    Parameters
    ----------
    raw
        The bytes of the XML file.
    name
        Its name, for messages.
    classes
        The class names that may stand in it.

    Returns
    -------
    Truth, int
        What is in the picture; VOC's ``difficult`` counts as a crowd, which evaluation leaves out
        as VOC does. And how many boxes had no width or height and were left out.

    Raises
    ------
    CourseError
        If it is no such file, names an unknown class, or a number is missing.
    """
    try:
        root = ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise CourseError(
            f"{name} is no XML file that can be read ({error}): replace it with a sound copy."
        ) from None
    width, height = (_number(root, f"size/{side}", name) for side in ("width", "height"))
    if min(width, height) <= 0:
        raise CourseError(f"{name} says that its picture has no size: correct <size>.")
    corners, labels, crowd = [], [], []
    for number, thing in enumerate(root.iter("object"), start=1):
        what = (thing.findtext("name") or "").strip()
        if what not in classes:
            raise CourseError(
                f"{name}: object {number} is a {what!r}, but the classes are "
                f"{', '.join(classes)}: correct its <name>, or name its class too."
            )
        sides = ("xmin", "ymin", "xmax", "ymax")
        corners.append([_number(thing, f"bndbox/{side}", name) for side in sides])
        labels.append(classes.index(what))
        crowd.append((thing.findtext("difficult") or "0").strip() == "1")
    whole = boxes.truth(corners, labels, crowd)
    truth = boxes.sound(whole, height, width)
    return truth, len(whole.labels) - len(truth.labels)


def _number(node: ElementTree.Element, path: str, name: str) -> float:
    text = node.findtext(path)
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value):
        raise CourseError(
            f"{name}: <{path.replace('/', '><')}> of <{node.tag}> is {text!r}, which is no "
            "number: correct it."
        )
    return value
