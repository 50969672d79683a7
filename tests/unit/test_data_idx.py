"""The IDX format: what is written comes back, and nothing else passes for it."""

import gzip

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from utils import CourseError
from utils.data import read_idx, write_idx
from utils.data.idx import BadBytesError, decode_idx, encode_idx, unpack

dtypes = st.sampled_from(["u1", "i1", "<i2", ">i2", "<i4", ">i4", "<f4", ">f4", "<f8", ">f8"])
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)
arrays = dtypes.flatmap(lambda kind: hnp.arrays(np.dtype(kind), shapes))


@given(arrays)
def test_what_is_encoded_comes_back(array):
    back = decode_idx(encode_idx(array))
    assert back.dtype == array.dtype.newbyteorder("=") and back.dtype.isnative
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


def test_the_bytes_are_those_of_the_format():
    assert encode_idx(np.array([[1, 2, 3]], np.uint8)).hex() == "000008020000000100000003010203"
    assert encode_idx(np.array([1, -2], "<i2")).hex() == "00000b01000000020001fffe"
    assert encode_idx(np.array([1.0], "f4")).hex() == "00000d01000000013f800000"


@given(array=arrays, data=st.data())
def test_a_file_cut_anywhere_is_refused(array, data):
    raw = encode_idx(array)
    with pytest.raises(BadBytesError):
        decode_idx(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(BadBytesError, match="too long"):
        decode_idx(raw + b"\0")


@given(st.binary(max_size=200))
@example(b"\0\0\x08\xff")
@example(b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
@example(b"\0\0\x07\x01\0\0\0\0")
@example(b"<html>")
@example(b"\x1f\x8b\x08")
def test_any_bytes_are_read_or_refused_in_words(raw):
    try:
        array = decode_idx(unpack(raw))
    except BadBytesError as error:
        assert str(error).startswith("is ")
    else:
        assert encode_idx(array) == unpack(raw)


@given(raw=st.binary(min_size=1, max_size=400), data=st.data())
def test_a_gzip_archive_cut_or_bent_anywhere_is_refused(raw, data):
    packed = gzip.compress(raw)
    assert unpack(packed) == raw and unpack(raw[:1] * 3) == raw[:1] * 3
    with pytest.raises(BadBytesError):
        unpack(packed[: data.draw(st.integers(2, len(packed) - 1))])
    place = data.draw(st.integers(len(packed) - 8, len(packed) - 1))  # its own checksum
    bent = bytearray(packed)
    bent[place] ^= 0x55
    with pytest.raises(BadBytesError, match="damaged"):
        unpack(bytes(bent))


def test_a_small_archive_of_a_huge_file_is_not_unpacked_whole():
    assert len(unpack(gzip.compress(bytes(10_000_000)), limit=1001)) == 1001


@pytest.mark.parametrize("name", ["pictures-idx3-ubyte", "pictures-idx3-ubyte.gz"])
def test_files_are_written_and_read(tmp_path, name):
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    path = write_idx(tmp_path / name, array)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    np.testing.assert_array_equal(read_idx(path), array)
    with pytest.raises(CourseError, match="exists already"):
        write_idx(path, array[:1])
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, np.uint16), np.zeros(3, np.int64), np.array(1, np.uint8), np.zeros(2, bool)],
)
def test_what_idx_cannot_hold_is_refused_before_a_file_is_made(tmp_path, array):
    with pytest.raises(CourseError, match="IDX cannot hold"):
        write_idx(tmp_path / "x", array)
    assert not (tmp_path / "x").exists()


def test_a_bad_file_is_named_with_its_fault_and_the_remedy(tmp_path):
    path = tmp_path / "mine"
    with pytest.raises(CourseError, match=r"mine cannot be read .*: check the path"):
        read_idx(path)
    for content, fault in [
        (b"  \n<!DOCTYPE html>", "a web page"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file .it begins with 89 50 4e 47"),
        (encode_idx(np.zeros(9, np.uint8))[:-2], "promises 17 bytes and there are 15"),
        (b"", "cut short"),
    ]:
        path.write_bytes(content)
        with pytest.raises(CourseError, match=rf"mine is .*{fault}.*replace it with a complete"):
            read_idx(path)
    with pytest.raises(CourseError, match="cannot be written"):
        write_idx(tmp_path / "no" / "x", np.zeros(3, np.uint8))
