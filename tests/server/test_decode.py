"""The decoders against bytes that nobody has thought of: an answer or a refusal, never a 500."""

import io
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

KINDS = st.sampled_from(["image/png", "image/jpeg", "application/x-npy", "application/json"])
quiet = settings(
    max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _whole():
    """Bodies that are all right, to be spoilt."""
    found = {}
    for mime, kind in (("image/png", "PNG"), ("image/jpeg", "JPEG")):
        stream = io.BytesIO()
        Image.fromarray(np.arange(784, dtype="uint8").reshape(28, 28)).save(stream, kind)
        found[mime] = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 28, 28)))
    found["application/x-npy"] = stream.getvalue()
    found["application/json"] = b'{"images":[' + str([[0] * 28] * 28).encode() + b"]}"
    return found


WHOLE = _whole()


def never_500(client, kind, data):
    answer = client.post("/predict", data=data, content_type=kind)
    assert answer.status_code in (200, 400, 413, 415, 422), (answer.status_code, data[:200])


@quiet
@given(kind=KINDS, data=st.binary(max_size=300))
def test_any_bytes(client, kind, data):
    never_500(client, kind, data)


@quiet
@given(kind=KINDS, at=st.floats(0, 1), new=st.binary(max_size=8), cut=st.booleans())
def test_good_bodies_spoilt(client, kind, at, new, cut):
    whole = WHOLE[kind]
    place = int(at * len(whole))
    never_500(client, kind, whole[:place] + new + (b"" if cut else whole[place + len(new) :]))


@quiet
@given(
    shape=st.lists(st.integers(-3, 10**18), max_size=5),
    dtype=st.sampled_from(["<f4", ">f8", "|u1", "<U9", "|O", "<c16", "<f16", "|V8", "<M8", "junk"]),
    order=st.sampled_from(["True", "False", "None", "__import__('os')"]),
    body=st.integers(0, 4000),
)
def test_headers_of_arrays_that_promise_anything(client, shape, dtype, order, body):
    header = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {tuple(shape)}, }}\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    never_500(client, "application/x-npy", data + bytes(body))


def png_of(side):
    """A PNG of side × side black pixels, written without unpacking it."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return len(data).to_bytes(4, "big") + name + data + check.to_bytes(4, "big")

    packer, rows = zlib.compressobj(9), []
    for _ in range(side):
        rows.append(packer.compress(bytes(side + 1)))
    size = side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    data = b"".join(rows) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's mark of memory")
def test_a_picture_of_169_megapixels_is_refused_before_it_is_unpacked(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_of(13_000))
    assert (tmp_path / "bomb.png").stat().st_size < 500_000
    code = """
        import sys
        from pathlib import Path
        from utils.runtime import peak_memory_mb
        from utils.serving import decode
        from utils.serving.problems import Problem
        data, before = Path(sys.argv[1]).read_bytes(), peak_memory_mb()
        try:
            decode.image(data, "PNG", 4_000_000)
        except Problem as problem:
            assert problem.status == 413 and "13000" in problem.detail
            print(peak_memory_mb() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "bomb.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 20  # unpacked it takes 169 MB at least
