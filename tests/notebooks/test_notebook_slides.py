"""Slides are cut where the lessons say, and written without a network."""

import re
import socket

import pytest
import sample_course

from utils import CourseError
from utils.lessons.__main__ import main
from utils.lessons.slides import slides


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_each_part_begins_a_slide(pretended, no_network):
    written = slides(pretended)
    assert [path.name for path in written] == ["00_first.slides.html", "01_tiny.slides.html"]
    assert written[0].parent == pretended.root / "build" / "slides"
    html = written[1].read_text(encoding="utf-8")
    assert "<title>A tiny model slides</title>" in html
    body = html[html.index('<div class="slides">') :]
    starts = re.findall(r"<section><section>.*?<h[12][^>]*>([^<]*)<", body, flags=re.DOTALL)
    assert starts == ["A tiny model", "1. The idea", "2. PyTorch", "3. Same model?"]
    assert "find_course" not in body, "the set-up cell is no slide"
    assert "half of 3: 1.5" in body, "stored outputs are shown"


def test_pictures_beside_the_notebook_travel_with_the_slides(planted, no_network):
    chapter = planted.chapter("01_tiny")
    text = chapter.lesson.read_text(encoding="utf-8").replace(
        "twice: [", "twice: ![a dot](dot.png) ["
    )
    chapter.lesson.write_text(text, encoding="utf-8")
    sample_course.pretend(planted)
    (chapter.notebook.parent / "dot.png").write_bytes(b"\x89PNG not looked at")
    (html,) = slides(planted, ["01_tiny"])
    assert 'src="data:image/png;base64,' in html.read_text(encoding="utf-8")


def test_the_command_says_what_it_wrote(pretended, no_network, monkeypatch, capsys):
    monkeypatch.setattr("utils.lessons.course.read", lambda: pretended)
    assert main(["slides", "01_tiny"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "01_tiny.slides.html to build/slides/" in said


def test_what_is_not_built_cannot_be_shown(planted, monkeypatch, capsys):
    with pytest.raises(CourseError, match="No notebook is built yet"):
        slides(planted)
    with pytest.raises(CourseError, match=r"02_later\.ipynb is not built yet"):
        slides(planted, ["02_later"])
    monkeypatch.setattr("utils.lessons.course.read", lambda: planted)
    assert main(["slides"]) == 1
    assert "make notebooks" in capsys.readouterr().err
