"""The ladder from rung to rung: COURSE_DATA, the cache, the embedded digits, the command."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from data_course import FILES, FIRST, assert_cached, assert_real, fill, use

from utils import CourseError
from utils.data import __main__ as command
from utils.data import ladder, mnist
from utils.data.idx import BadBytesError

# The first rung: COURSE_DATA


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dots", [False, True])
def test_course_data_comes_first(cache, tmp_path, monkeypatch, server, packed, dots, capsys):
    use(monkeypatch, *server.at("good"))
    folder = fill(tmp_path / "mine" / "mnist", packed)
    if dots:
        for path in list(folder.iterdir()):
            path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "mine"))
    assert_real(mnist(), "COURSE_DATA")
    assert not server.asked and not cache.exists() and capsys.readouterr().out == ""
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_course_data_goes_by_content_not_by_name(cache, tmp_path, monkeypatch):
    folder = fill(tmp_path / "mnist", packed=True)
    plain = folder / f"{FIRST}.gz"
    plain.write_bytes(FILES[FIRST])  # a browser that unpacks and keeps the name
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert_real(mnist(), "COURSE_DATA")


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (FILES[FIRST][:1000], "is cut short: it has 1,000 bytes instead of 39,216"),
        (FILES[FIRST] + b"\0", "is too long"),
        (FILES[FIRST][:-1] + b"\0", "has the right length but other contents"),
        (gzip.compress(FILES[FIRST])[:-100], "is cut short: its gzip archive ends too early"),
        (b"\x1f\x8b" + bytes(100), "is damaged"),
        (b"<html>404</html>", "is a web page"),
        (b"", "is cut short: it has 0 bytes"),
    ],
)
def test_a_wrong_file_in_course_data_is_named_and_kept(
    cache, tmp_path, monkeypatch, server, raw, fault
):
    use(monkeypatch, *server.at("good"))
    fill(cache)  # what lies further down must not cover the mistake up
    folder = fill(tmp_path / "mnist", train_images_idx3_ubyte=raw)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(CourseError) as caught:
        mnist()
    message = str(caught.value)
    assert str(folder / FIRST) in message and fault in message
    assert "replace it with a complete copy, or unset COURSE_DATA" in message
    assert (folder / FIRST).read_bytes() == raw and not server.asked


def test_a_missing_file_in_course_data_is_named(cache, tmp_path, monkeypatch):
    fill(tmp_path / "mnist", t10k_labels_idx1_ubyte=None)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").mkdir()  # some archives do this
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(CourseError, match=r"has no t10k-labels-idx1-ubyte .*: add it, or unset"):
        mnist()


def test_course_data_that_is_no_directory_is_an_error(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(CourseError, match=r"nowhere, which does not exist: correct it, or unset"):
        mnist()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "file"))
    with pytest.raises(CourseError, match="which is not a directory"):
        mnist()


def test_course_data_without_mnist_says_so_and_goes_on(cache, tmp_path, monkeypatch, capsys):
    fill(cache)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert_real(mnist(), "cache")
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "has no folder mnist/" in out
    with pytest.raises(CourseError, match="does not hold it"):
        mnist("COURSE_DATA")


def test_an_empty_course_data_counts_as_unset(cache, monkeypatch, capsys):
    fill(cache)
    monkeypatch.setenv("COURSE_DATA", " ")
    assert_real(mnist(), "cache")
    assert capsys.readouterr().out == ""


def test_a_small_archive_of_a_huge_file_is_not_unpacked_whole():
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadBytesError, match="too long"):
            ladder.check(bomb, ladder.File("labels", "", 1000))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# One rung alone


def test_offline_never_touches_the_network(cache, monkeypatch, server, capsys):
    use(monkeypatch, *server.at("good"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    assert mnist().source == "embedded"
    out = capsys.readouterr().out
    assert not server.asked and out.count("\n") == 1 and "COURSE_OFFLINE forbids" in out
    with pytest.raises(CourseError, match="COURSE_OFFLINE forbids the network"):
        mnist("download")
    fill(cache)
    assert_real(mnist(), "cache")
    monkeypatch.setenv("COURSE_OFFLINE", "0")
    assert_real(mnist("download"), "download")


def test_one_rung_can_be_insisted_on(cache, monkeypatch, server):
    with pytest.raises(CourseError, match=r"source='web' is unknown: choose one of auto,"):
        mnist("web")
    with pytest.raises(CourseError, match="fill it with `python -m utils.data`"):
        mnist("cache")
    use(monkeypatch, *server.at("missing"))
    with pytest.raises(CourseError, match=r"could not be downloaded \(127.*404.*: try again"):
        mnist("download")
    fill(cache)
    assert_real(mnist("cache"), "cache")
    use(monkeypatch, *server.at("good"))
    server.asked.clear()
    assert mnist("embedded").source == "embedded" and not server.asked


# The command


def test_the_command_prefetches_and_reports(cache, monkeypatch, server, capsys):
    use(monkeypatch, *server.at("good"))
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert "COURSE_DATA: not set" in out and f"Cache: {cache.parent}" in out
    assert "MNIST: 50 training and 10 test pictures of 28×28" in out and "CC BY-SA 3.0" in out
    assert_cached(cache)


def test_the_command_is_content_with_the_embedded_data(cache, capsys):
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert "source: embedded" in out and "Drawn cells: 205 training and 87 test pictures" in out


def test_the_command_fails_in_words(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "nowhere"))
    assert command.main([]) == 1
    assert "which does not exist" in capsys.readouterr().err


def test_the_cache_has_a_place_of_its_own_by_default(monkeypatch):
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    assert ladder.cache_directory().name == "deep-learning-three-ways"
    monkeypatch.setenv("COURSE_CACHE", "~/somewhere")
    assert ladder.cache_directory() == Path.home() / "somewhere"
