"""A cache that is broken, shared or cannot be written: never half a file, never trained on."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from data_course import ARRAYS, FILES, FIRST, assert_cached, assert_real, fill, use

from utils import files
from utils.data import digits, ladder, mnist

BROKEN = [FILES[FIRST][:1000], b"", bytes(len(FILES[FIRST])), b"<html>"]


@pytest.mark.parametrize("raw", BROKEN)
def test_a_broken_cache_file_is_named_and_replaced(cache, monkeypatch, server, capsys, raw):
    use(monkeypatch, *server.at("good"))
    fill(cache, train_images_idx3_ubyte=raw)
    assert_real(mnist(), "download")
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"The cached file {cache / FIRST} ") and "fresh copy" in first
    assert_cached(cache)
    assert server.asked == [("good", f"{FIRST}.gz")]


@pytest.mark.parametrize("raw", BROKEN)
def test_a_broken_cache_file_is_set_aside_without_a_network(cache, monkeypatch, capsys, raw):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    fill(cache, train_images_idx3_ubyte=raw)
    data = mnist()
    assert data.source == "embedded" and len(data.x_train) == 1442
    out = capsys.readouterr().out.splitlines()
    assert str(cache / FIRST) in out[0] and f"set aside as {FIRST}.broken" in out[0]
    assert "embedded" in out[1] and len(out) == 2
    assert (cache / f"{FIRST}.broken").read_bytes() == raw and not (cache / FIRST).exists()
    assert mnist().source == "embedded"
    assert "set aside" not in capsys.readouterr().out


def test_a_cache_file_that_was_mended_meanwhile_is_not_set_aside(cache, capsys):
    fill(cache, train_images_idx3_ubyte=b"half")
    _, broken = ladder.from_cache(digits.MNIST)
    fill(cache)  # another process has finished its download
    ladder.set_aside(broken)
    assert_cached(cache)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("spoil", ["file", "parent is a file", "folder is a file"])
def test_a_cache_that_cannot_be_written_gives_way_to_a_temporary_one(
    cache, tmp_path, monkeypatch, server, capsys, spoil
):
    # Permissions do not bind root, but nobody can make a directory where a file lies.
    use(monkeypatch, *server.at("good"))
    (tmp_path / "wall").write_text("")
    place = {"file": "wall", "parent is a file": "wall/cache", "folder is a file": "cache"}[spoil]
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / place))
    if spoil == "folder is a file":
        cache.parent.mkdir()
        cache.write_text("")
    assert_real(mnist(), "download")
    out = capsys.readouterr().out
    assert f"{tmp_path / place} cannot be written" in out and "Set COURSE_CACHE" in out
    [refuge] = (tmp_path / "temporary").iterdir()
    assert str(refuge) in out
    assert_cached(refuge / "mnist")
    assert_real(mnist(), "cache")  # and it is found again
    assert len(server.asked) == 4
    assert (tmp_path / "wall").read_text() == ""


def test_without_any_place_to_write_the_data_are_still_used(
    cache, tmp_path, monkeypatch, server, capsys
):
    use(monkeypatch, *server.at("good"))
    (tmp_path / "wall").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "wall"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "wall"))
    assert_real(mnist(), "download")
    assert "nothing is stored" in capsys.readouterr().out


def test_a_full_disk_leaves_no_half_file(cache, monkeypatch, server, capsys):
    use(monkeypatch, *server.at("good"))

    def full(path, data):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert_real(mnist(), "download")
    assert "could not be stored (No space left on device)" in capsys.readouterr().out
    assert_cached(cache, [])


def test_readers_never_see_half_a_file_while_two_write_it(tmp_path):
    path, stop, seen, failed = tmp_path / "file", threading.Event(), set(), []
    contents = [bytes([digit]) * 4_000_000 for digit in (1, 2)]
    files.write(path, contents[0])

    def write(content):
        try:
            for _ in range(20):
                files.write(path, content)
        except OSError as error:
            failed.append(error)

    def read():
        while not stop.is_set():
            raw = path.read_bytes()
            seen.add((len(raw), raw[:1], raw[-1:]))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert seen <= {(4_000_000, b"\1", b"\1"), (4_000_000, b"\2", b"\2")}
    assert not failed and [entry.name for entry in tmp_path.iterdir()] == ["file"]


WORKER = """
import json, sys
from utils import files
from utils.data import digits, ladder, mnist
name, folder, files, mirrors, megabytes = json.loads(sys.argv[1])
files = tuple(ladder.File(*file) for file in files)
digits.MNIST = ladder.Listing(name, folder, files, tuple(mirrors), megabytes)
data = mnist()
print(data.source, int(data.x_train.sum()), int(data.y_test.sum()))
"""


def test_two_processes_fill_one_cache(cache, server):
    files = [[file.name, file.sha256, file.size] for file in digits.MNIST.files]
    recipe = json.dumps(["MNIST", "mnist", files, server.at("slow"), 0.1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, recipe], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(ladder.__file__).parents[2])},
        )
        for _ in range(2)
    ]  # fmt: skip
    x, y = (int(array.sum()) for array in list(ARRAYS.values())[::3])
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and out.splitlines()[-1].split()[1:] == [str(x), str(y)]
    assert server.asked.count(("slow", f"{FIRST}.gz")) == 2  # they did run side by side
    assert_cached(cache)
