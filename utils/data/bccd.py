"""BCCD: blood cells under a microscope, with boxes; and drawn cells that stand in for them.

BCCD (Shenggan, Cosmic; MIT licence) has 364 pictures of 640×480. The course trains on its train
split of 205 and tests on its val split of 87. ``bccd.txt`` has the SHA-256 of every file.
"""

from pathlib import Path

from utils import CourseError
from utils.data import ladder
from utils.data.cells import draw_cells
from utils.data.dataset import whole_number
from utils.data.detection import Detection
from utils.data.voc import read_splits

CLASSES = ("RBC", "WBC", "Platelets")  # red and white blood cells, platelets
COMMIT = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
SPLITS = ("train", "val")  # what the course trains on, and what it tests on
SOURCES = ("auto", "COURSE_DATA", "cache", "download", "drawn")
LICENCE = "MIT (shenggan)"


def _files() -> tuple[ladder.File, ...]:
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="ascii").splitlines()
    rows = (line.split() for line in lines)
    return tuple(ladder.File(name, sha256, int(size)) for sha256, size, name in rows)


BCCD = ladder.Listing(
    name="BCCD",
    folder="bccd",
    files=_files(),
    # One file instead of hundreds, where GitHub gives it; each file in it is checked by itself.
    archive=ladder.Archive(
        "https://github.com/Shenggan/BCCD_Dataset/archive/",
        f"{COMMIT}.zip",
        f"BCCD_Dataset-{COMMIT}/BCCD/",
        20_000_000,
    ),
    mirrors=(
        f"https://raw.githubusercontent.com/Shenggan/BCCD_Dataset/{COMMIT}/BCCD/",
        f"https://cdn.jsdelivr.net/gh/Shenggan/BCCD_Dataset@{COMMIT}/BCCD/",
    ),
    download_mb=10,
    suffix="",
)


def bccd(height: int = 240, width: int = 320, source: str = "auto") -> Detection:
    """Load BCCD's blood cells, or drawn ones where they cannot be had.

    Parameters
    ----------
    height, width
        Pixels to which every picture, 640×480 at first, is scaled; its boxes with it.
    source
        ``"auto"`` takes the first of ``"COURSE_DATA"``, ``"cache"``, ``"download"`` and ``"drawn"``
        that works; one of these names insists on it.

    Returns
    -------
    Detection
        205 training and 87 test pictures, the classes RBC, WBC and Platelets. `real` is False if
        the cells are drawn, which is announced in one line.

    Raises
    ------
    CourseError
        If `source` is unknown, ``COURSE_DATA`` names a wrong directory or holds a wrong file, or
        the one place asked for does not have the data.
    """
    if source not in SOURCES:
        raise CourseError(f"source={source!r} is unknown: choose one of {', '.join(SOURCES)}.")
    height, width = whole_number("height", height), whole_number("width", width)
    if source == "drawn":
        return _drawn(height, width)
    files, rung = ladder.climb(BCCD, source)
    if files is None:
        ladder.say(
            f"BCCD is not at hand ({rung}): using drawn blood cells with the same three classes."
        )
        return _drawn(height, width)
    parts, dropped = read_splits(files.pop, SPLITS, CLASSES, height, width)
    if dropped:
        ladder.say(f"BCCD: {dropped} boxes of no width or height are left out.")
    return Detection("BCCD", CLASSES, *parts, source=rung, real=True)


def _drawn(height: int, width: int) -> Detection:
    train, test = draw_cells(205, height, width, seed=1), draw_cells(87, height, width, seed=0)
    return Detection("Drawn cells", CLASSES, *train, *test, source="drawn", real=False)
