"""IDX, the file format of MNIST: a few header bytes, then the numbers as they lie in memory.

Bytes 0 and 1 are zero, byte 2 names the type, byte 3 the number of axes; each axis' length
follows in four bytes, most significant first; so do the numbers. (Y. LeCun, C. Cortes and
C. Burges, "The MNIST database of handwritten digits", section "File formats".)
"""

import gzip
import io
import math
import os
import zlib
from pathlib import Path

import numpy as np

from utils import CourseError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(kind).newbyteorder("="): code for code, kind in _TYPES.items()}
_GZIP = b"\x1f\x8b"


class BadBytesError(ValueError):
    """Bytes that are not what they should be; the message goes on from "this file …"."""


def decode_idx(raw: bytes) -> np.ndarray:
    """Read an array from the bytes of an IDX file.

    Returns
    -------
    A writable array of the machine's own byte order.

    Raises
    ------
    BadBytesError
        With the reason, if header, type or length are wrong.
    """
    if raw[:64].lstrip()[:1] == b"<":
        raise BadBytesError("is a web page, not an IDX file")
    if len(raw) < 4:
        raise BadBytesError(f"is cut short: {len(raw)} bytes cannot hold an IDX header")
    if raw[0] or raw[1] or raw[2] not in _TYPES or not raw[3]:
        raise BadBytesError(f"is not an IDX file (it begins with {raw[:4].hex(' ')})")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise BadBytesError(f"is cut short: {len(raw)} bytes cannot hold its header")
    shape = tuple(int(side) for side in np.frombuffer(raw, ">u4", raw[3], offset=4))
    dtype = np.dtype(_TYPES[raw[2]])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        wrong = "is cut short" if len(raw) < expected else "is too long"
        raise BadBytesError(
            f"{wrong}: its header promises {expected:,} bytes and there are {len(raw):,}"
        )
    values = np.frombuffer(raw, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))  # a copy: writable, in native order


def encode_idx(array: np.ndarray) -> bytes:
    """Write an array as the bytes of an IDX file: the inverse of `decode_idx`.

    Raises
    ------
    CourseError
        If IDX has no type for the array's dtype, or no room for its shape.
    """
    array = np.asarray(array)
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None or not 1 <= array.ndim <= 255 or max(array.shape) >= 2**32:
        raise CourseError(
            f"IDX cannot hold {array.dtype} of shape {array.shape}: it knows 8-bit integers, "
            "signed 16- and 32-bit integers and floats, in at least one axis."
        )
    header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(_TYPES[code]).tobytes()


def unpack(raw: bytes, limit: int | None = None) -> bytes:
    """Undo gzip if `raw` is gzipped, by its first bytes and not by its name.

    Parameters
    ----------
    raw
        The bytes as they came.
    limit
        Read at most so many bytes: a small archive can hold a very large file.

    Raises
    ------
    BadBytesError
        If the archive is cut short or damaged.
    """
    if raw[:2] != _GZIP:
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            return stream.read(-1 if limit is None else limit)
    except EOFError:
        raise BadBytesError("is cut short: its gzip archive ends too early") from None
    except (OSError, zlib.error) as error:
        raise BadBytesError(f"is damaged: its gzip archive does not open ({error})") from None


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read an IDX file, gzipped or plain.

    Parameters
    ----------
    path
        The file, as ``train-images-idx3-ubyte.gz``.

    Raises
    ------
    CourseError
        If the file is missing, unreadable, cut short or not IDX.
    """
    path = Path(path).expanduser()
    try:
        return decode_idx(unpack(path.read_bytes()))
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror}): check the path.") from None
    except BadBytesError as error:
        raise CourseError(f"{path} {error}: replace it with a complete copy.") from None


def write_idx(path: str | os.PathLike, array: np.ndarray) -> Path:
    """Save an array as an IDX file, gzipped if the name ends in ``.gz``.

    An existing file is never overwritten.

    Raises
    ------
    CourseError
        If IDX cannot hold the array, or the file exists or cannot be written.
    """
    path, raw = Path(path).expanduser(), encode_idx(array)
    try:
        with open(path, "xb") as file:
            file.write(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)
    except FileExistsError:
        raise CourseError(f"{path} exists already: choose another name or delete it.") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be written ({error.strerror}).") from None
    return path
