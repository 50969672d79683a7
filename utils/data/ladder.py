"""The ladder: where a dataset's files are looked for, and how they are trusted.

`COURSE_DATA`, then the cache, then the mirrors. A file counts only if its bytes, unpacked, have
the SHA-256 that is written down for it; what fails is named and never used. The embedded
substitute at the foot of the ladder belongs to each dataset's own module.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from utils import COURSE_ID, CourseError, files, room
from utils.data import mirrors
from utils.data.idx import BadBytesError, unpack

MANY = 20  # files missing from here on are worth an archive


@dataclasses.dataclass(frozen=True)
class File:
    """One file of a dataset, unpacked: its name, its SHA-256 and its length in bytes."""

    name: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class Listing:
    """What the ladder must know of a dataset.

    Parameters
    ----------
    name
        What people call it: ``"MNIST"``.
    folder
        Its folder in ``COURSE_DATA`` and in the cache.
    files
        What it consists of.
    mirrors
        Addresses that end in a slash; ``file.name + suffix`` is appended.
    download_mb
        What a learner downloads in all, in megabytes.
    suffix
        What mirrors append to each name.
    archive
        Asked for before the mirrors, where many files are missing.
    """

    name: str
    folder: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    download_mb: float
    suffix: str = ".gz"
    archive: "Archive | None" = None


class Archive(NamedTuple):
    """One zip file with all of a dataset: its address without the name, and its name.

    `prefix` stands before each file's name in it. It has at most `size` bytes.
    """

    address: str
    name: str
    prefix: str
    size: int


class Broken(NamedTuple):
    """A cached file that is not what it should be, and why."""

    path: Path
    file: File
    reason: str


def say(line: str) -> None:
    """Tell the learner something in one line."""
    print(line, flush=True)


def offline() -> bool:
    """Whether ``COURSE_OFFLINE`` forbids the network."""
    return os.environ.get("COURSE_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def cache_directory() -> Path:
    """Name the directory for downloads: ``COURSE_CACHE``, or the platform's own place.

    It need not exist yet.
    """
    chosen = os.environ.get("COURSE_CACHE", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    import pooch  # takes 0.1 s, and is not needed when the learner has chosen

    return Path(pooch.os_cache(COURSE_ID))


def check(raw: bytes, file: File) -> bytes:
    """Unpack `raw` and make sure that it is `file`, byte for byte.

    Returns
    -------
    The unpacked bytes.

    Raises
    ------
    BadBytesError
        With the reason, if it is anything else.
    """
    # One byte more than expected is enough to see that a file is too long, and a small archive
    # that unpacks to gigabytes stays harmless.
    data = unpack(raw, limit=file.size + 1)
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return data
    if data[:64].lstrip()[:1] == b"<":
        raise BadBytesError("is a web page, not a data file")
    if len(data) < file.size:
        raise BadBytesError(f"is cut short: it has {len(data):,} bytes instead of {file.size:,}")
    if len(data) > file.size:
        raise BadBytesError(f"is too long: it has more than {file.size:,} bytes")
    raise BadBytesError("has the right length but other contents (its SHA-256 does not match)")


def from_course_data(source: Listing) -> dict[str, bytes] | None:
    """Read a dataset from the directory in ``COURSE_DATA``, which is only ever read.

    Returns
    -------
    The unpacked files by name; None if the variable is not set, or the directory does not hold
    this dataset (which is said).

    Raises
    ------
    CourseError
        If the directory does not exist, or a file in it is missing, unreadable or wrong.
    """
    chosen = os.environ.get("COURSE_DATA", "").strip()
    if not chosen:
        return None
    root = Path(chosen).expanduser().absolute()
    remedy = "or unset COURSE_DATA to let the course find the data itself"
    if not root.is_dir():
        state = "is not a directory" if root.exists() else "does not exist"
        raise CourseError(f"COURSE_DATA is set to {root}, which {state}: correct it, {remedy}.")
    folder = root / source.folder
    if not folder.is_dir():
        say(
            f"COURSE_DATA ({root}) has no folder {source.folder}/: "
            f"{source.name} is looked for elsewhere."
        )
        return None
    found = {}
    for file in source.files:
        path = _find(folder, file.name)
        if path is None:
            raise CourseError(
                f"COURSE_DATA: {folder} has no {file.name} (or {file.name}.gz): add it, {remedy}."
            )
        try:
            found[file.name] = check(path.read_bytes(), file)
        except OSError as error:
            raise CourseError(
                f"COURSE_DATA: {path} cannot be read ({error.strerror}): make it readable, "
                f"{remedy}."
            ) from None
        except BadBytesError as error:
            raise CourseError(
                f"COURSE_DATA: {path} {error}, so it is not {source.name}'s {file.name}: "
                f"replace it with a complete copy, {remedy}."
            ) from None
    return found


def _find(folder: Path, name: str) -> Path | None:
    # Some archives write train-images.idx3-ubyte, and some tools unpack without renaming.
    for stem in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = folder / (stem + suffix)
            if path.is_file():
                return path
    return None


def from_cache(source: Listing) -> tuple[dict[str, bytes], list[Broken]]:
    """Read what the cache holds of a dataset.

    Returns
    -------
    The sound files by name, and the broken ones. Those stay where they are: a download replaces
    them, and `set_aside` moves them out of the way.
    """
    found, broken = {}, []
    for folder in (cache_directory() / source.folder, room.refuge() / source.folder):
        for file in source.files:
            path = folder / file.name
            if file.name in found:
                continue
            try:
                found[file.name] = check(path.read_bytes(), file)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                broken.append(Broken(path, file, f"cannot be read ({error.strerror})"))
            except BadBytesError as error:
                broken.append(Broken(path, file, str(error)))
    return found, broken


def set_aside(broken: list[Broken]) -> None:
    """Rename broken cache files, so that nothing takes them for good ones, and say so."""
    for path, file, reason in broken:
        try:
            check(path.read_bytes(), file)
        except FileNotFoundError:
            continue
        except (OSError, BadBytesError):
            pass
        else:
            continue  # another process has mended it meanwhile
        try:
            path.replace(path.with_name(path.name + ".broken"))
            say(f"The cached file {path} {reason}: it is set aside as {path.name}.broken.")
        except OSError:
            say(f"The cached file {path} {reason}: it is not used. Delete it if you can.")


def from_mirrors(source: Listing, found: dict[str, bytes]) -> tuple[dict[str, bytes], str]:
    """Download the files of a dataset that are not in `found`, and store them in the cache.

    Every file that arrives whole is stored at once, so that a broken connection costs only
    the rest.

    Returns
    -------
    All files by name that are now at hand, and why any are missing, in words.
    """
    if offline():
        return found, "COURSE_OFFLINE forbids the network"
    wanted = {f.name + source.suffix: f for f in source.files if f.name not in found}
    say(f"Downloading {source.name} (up to {source.download_mb:g} MB) ...")
    folder, found = writable(source.folder), dict(found)

    def accept(name: str, raw: bytes) -> None:
        file = wanted[name]
        found[file.name] = check(raw, file)
        if folder is None:
            return
        try:
            files.write(folder / file.name, found[file.name])
        except OSError as error:
            say(
                f"{folder / file.name} could not be stored ({error.strerror}): it will be "
                "downloaded again next time."
            )

    if source.archive and len(wanted) > MANY:

        def accept_all(name: str, raw: bytes) -> None:
            for member, data in unzip(raw, source.archive.prefix, wanted).items():
                with contextlib.suppress(BadBytesError):  # the mirrors may have a better one
                    accept(member, data)

        sizes = {source.archive.name: source.archive.size}
        mirrors.fetch((source.archive.address,), sizes, accept_all)
    missing = {name: f.size for name, f in wanted.items() if f.name not in found}
    return found, mirrors.fetch(source.mirrors, missing, accept) if missing else ""


def unzip(raw: bytes, prefix: str, wanted: Mapping[str, File]) -> dict[str, bytes]:
    """The wanted files of a zip archive, by name; what is missing or too long is left out.

    Raises
    ------
    BadBytesError
        If it is no zip archive, or a damaged one.
    """
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            there = {info.filename: info for info in archive.infolist()}
            for name, file in wanted.items():
                info = there.get(prefix + name)
                if info is not None and info.file_size <= file.size:
                    found[name] = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise BadBytesError(f"is no zip archive that opens ({error})") from None
    return found


def climb(source: Listing, rung: str = "auto") -> tuple[dict[str, bytes] | None, str]:
    """Go down the ladder until a dataset is found.

    Parameters
    ----------
    source
        The dataset.
    rung
        ``"auto"`` tries one after the other; ``"COURSE_DATA"``, ``"cache"`` and ``"download"``
        insist on one.

    Returns
    -------
    The unpacked files by name and the rung they stood on; or, under ``"auto"`` alone, None
    and why no rung had them.

    Raises
    ------
    CourseError
        If the learner's own directory is wrong, or the one rung asked for has nothing.
    """
    if rung in ("auto", "COURSE_DATA"):
        files = from_course_data(source)
        if files is not None:
            return files, "COURSE_DATA"
        if rung == "COURSE_DATA":
            raise CourseError(
                f"{source.name} was asked for from COURSE_DATA, which does not hold it: set "
                f"COURSE_DATA to a directory with a folder {source.folder}/."
            )
    found, broken = ({}, []) if rung == "download" else from_cache(source)
    if len(found) == len(source.files):
        set_aside(broken)
        return found, "cache"
    if rung == "cache":
        set_aside(broken)
        raise CourseError(
            f"The cache {cache_directory()} does not hold all of {source.name}: fill it with "
            '`python -m utils.data`, or choose source="auto".'
        )
    if not offline():
        for path, _, reason in broken:
            say(f"The cached file {path} {reason}: a fresh copy is needed.")
    found, reason = from_mirrors(source, found)
    if len(found) == len(source.files):
        return found, "download"
    set_aside(broken)
    if rung == "download":
        raise CourseError(
            f"{source.name} could not be downloaded ({reason}): try again later, or choose "
            'source="auto".'
        )
    return None, reason


def writable(name: str) -> Path | None:
    """Make the cache folder `name`, or one among the temporary files if that is impossible.

    Which of them, and why, is printed; None if neither can be written to.
    """
    cache, refuge = cache_directory(), room.refuge()
    try:
        return _ready(cache / name)
    except OSError as error:
        trouble = f"The cache {cache} cannot be written ({error.strerror})"
    remedy = "Set COURSE_CACHE to a directory of yours to keep the data."
    try:
        folder = _ready(refuge / name)
        say(f"{trouble}: using {refuge} for now. {remedy}")
        return folder
    except OSError:
        say(f"{trouble}, nor can {refuge}: nothing is stored. {remedy}")
        return None


def _ready(folder: Path) -> Path:
    """Make a folder and prove that files can be written into it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return folder
