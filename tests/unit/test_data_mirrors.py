"""Mirrors, with a real web server on this machine: what helps, what is refused, how long."""

import socket
import threading
import time

import pytest
from data_course import FIRST, assert_cached, assert_real, fill, use

from utils.data import mirrors, mnist


def test_a_download_fills_the_cache_once(cache, monkeypatch, server, capsys):
    use(monkeypatch, *server.at("good"))
    assert_real(mnist(), "download")
    assert capsys.readouterr().out == "Downloading MNIST (up to 0.1 MB) ...\n"
    assert_cached(cache)
    assert_real(mnist(), "cache")
    assert len(server.asked) == 4 and capsys.readouterr().out == ""
    assert_real(mnist("download"), "download")  # asked for by name: afresh
    assert len(server.asked) == 8


def test_only_what_is_missing_is_downloaded(cache, monkeypatch, server):
    use(monkeypatch, *server.at("good"))
    fill(cache, t10k_labels_idx1_ubyte=None)
    assert_real(mnist(), "download")
    assert server.asked == [("good", "t10k-labels-idx1-ubyte.gz")]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("missing", "the answer is 404 Not Found"),
        ("forbidden", "the answer is 403 Forbidden"),
        ("html", "the file is a web page"),
        ("cut", "the connection broke off"),
        ("silent", "the file is cut short: its gzip archive ends too early"),
        ("wrong", "the file has the right length but other contents"),
        ("long", "the file is too long"),
        ("bomb", "the file is too long"),
        ("endless", "sends more than the file can hold"),
        ("hang", "no answer for 1.5 s"),
        ("freeze", "no answer for 1.5 s"),
        ("trickle", "no answer for 1.5 s"),
    ],
)
def test_the_next_mirror_helps_when_one_fails(cache, monkeypatch, server, capsys, trouble, reason):
    if trouble in ("hang", "freeze", "trickle"):
        monkeypatch.setattr(mirrors, "SILENCE_SECONDS", 1.5)
    use(monkeypatch, *server.at(trouble, "good"))
    started = time.monotonic()
    assert_real(mnist(), "download")
    assert time.monotonic() - started < 20  # the server itself would be silent for 30
    assert_cached(cache)
    # Alone, the same mirror leaves nothing in the cache and the embedded digits in its place.
    for path in cache.iterdir():
        path.unlink()
    use(monkeypatch, *server.at(trouble))
    capsys.readouterr()
    assert mnist().source == "embedded"
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and out[0].startswith("Downloading")
    assert out[1].startswith("MNIST is not at hand (127.0.0.1:") and reason in out[1]
    assert "1,797 real handwritten digits" in out[1]
    assert_cached(cache, [])


def test_a_mirror_that_has_only_some_files_is_completed_by_another(cache, monkeypatch, server):
    use(monkeypatch, *server.at("half", "good"))
    assert_real(mnist(), "download")
    assert server.asked.count(("half", f"{FIRST}.gz")) == 1
    assert ("good", f"{FIRST}.gz") not in server.asked


def test_a_mirror_that_serves_unpacked_bytes_is_good(cache, monkeypatch, server):
    use(monkeypatch, *server.at("plain"))
    assert_real(mnist(), "download")


@pytest.mark.parametrize("trouble", ["busy", "stumbles"])
def test_a_passing_trouble_is_tried_again(cache, monkeypatch, server, trouble):
    use(monkeypatch, *server.at(trouble))
    assert_real(mnist(), "download")
    assert len(server.asked) == 8


def test_a_404_is_not_tried_again(cache, monkeypatch, server):
    use(monkeypatch, *server.at("missing"))
    assert mnist().source == "embedded"
    assert len(server.asked) == 1


def test_after_some_silent_mirrors_the_rest_is_not_tried(cache, monkeypatch, server):
    monkeypatch.setattr(mirrors, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(mirrors, "PATIENCE_SECONDS", 1.5)
    use(monkeypatch, *server.at("hang", "hang", "hang", "hang"))
    assert mnist().source == "embedded"
    assert len(server.asked) == 2


def test_the_waits_that_learners_meet_are_short():
    assert mirrors.PATIENCE_SECONDS + mirrors.SILENCE_SECONDS <= 20


def test_a_port_where_nobody_listens_is_unreachable(cache, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    use(monkeypatch, f"http://127.0.0.1:{port}/a/", f"http://127.0.0.1:{port}/b/")
    assert mnist().source == "embedded"
    assert f"MNIST is not at hand (127.0.0.1:{port}: cannot be reached)" in capsys.readouterr().out


def test_without_a_network_names_are_not_found(cache, monkeypatch, capsys):
    def lost(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", lost)
    use(monkeypatch, "http://one.example/", "http://two.example/")
    assert mnist().source == "embedded"
    assert "(one.example, two.example: cannot be reached)" in capsys.readouterr().out


def test_a_name_server_that_does_not_answer_costs_seconds(cache, monkeypatch, capsys):
    released = threading.Event()

    def wait(*args, **kwargs):
        released.wait(30)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    monkeypatch.setattr(mirrors, "SILENCE_SECONDS", 1.5)
    use(monkeypatch, "http://one.example/")
    started = time.monotonic()
    try:
        assert mnist().source == "embedded"
        assert time.monotonic() - started < 20
    finally:
        released.set()
    assert "(one.example: no answer for 1.5 s)" in capsys.readouterr().out
