"""Slides are cut where the lessons say and where the room ends, and need no network."""

import re
import socket

import nbformat
import pytest
import sample_course

from utils import CourseError
from utils.lessons.__main__ import main
from utils.lessons.slides import ASSETS, HEIGHT, cut, slides


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def tools(tmp_path):
    """An environment of the website's tools, as far as slides look at it."""
    for source in ASSETS:
        folder = tmp_path / "tools/lib/python3.12/site-packages" / source
        folder.mkdir(parents=True)
        (folder / "some.js").write_text("// a script")
    return tmp_path / "tools"


def test_each_part_begins_a_slide(pretended, tools, no_network):
    written = slides(pretended, tools)
    assert [path.name for path in written] == ["00_first.slides.html", "01_tiny.slides.html"]
    assert written[0].parent == pretended.root / "build" / "slides"
    html = written[1].read_text(encoding="utf-8")
    assert "<title>A tiny model slides</title>" in html
    body = html[html.index('<div class="slides">') :]
    starts = re.findall(r"<section><section>.*?<h[12][^>]*>([^<]*)<", body, flags=re.DOTALL)
    assert starts == ["A tiny model", "1. The idea", "2. PyTorch", "3. Same model?"]
    assert "find_course" not in body, "the set-up cell is no slide"
    assert "half of 3: 1.5" in body, "stored outputs are shown"
    assert "KERAS_BACKEND = " not in body, "parameters are no slide"


def test_what_a_slide_loads_lies_beside_it(pretended, tools, no_network):
    (path,) = slides(pretended, tools, ["01_tiny"])
    html = path.read_text(encoding="utf-8")
    loaded = re.findall(r"<(?:script|link|img)[^>]* (?:src|href)=\"([^\"]+)\"", html)
    assert loaded and not [address for address in loaded if ":" in address]
    folders = {address.split("/")[0] for address in loaded}
    assert folders == {"reveal.js", "mathjax"}
    assert (path.parent / "reveal.js/some.js").is_file() and (path.parent / "some.js").is_file()


def markdown(source, kind="-"):
    return nbformat.v4.new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})


def code(lines, *outputs):
    made = [nbformat.v4.new_output("stream", text="a line\n" * n) for n in outputs]
    return nbformat.v4.new_code_cell("\n".join(["x = 1"] * lines), outputs=made)


def kinds(*cells):
    notebook = cut(nbformat.v4.new_notebook(cells=list(cells)))
    return [cell.metadata["slideshow"]["slide_type"] for cell in notebook.cells]


def test_a_full_slide_goes_on_below():
    assert kinds(markdown("# A", "slide"), code(10), code(10)) == ["slide", "-", "-"]
    assert kinds(markdown("# A", "slide"), code(20), code(20)) == ["slide", "-", "subslide"]
    assert kinds(code(30), markdown("# A", "slide"), code(30)) == ["-", "slide", "-"]
    assert kinds(code(30), markdown("a note " * 50, "notes"), code(3)) == ["-", "notes", "-"]


def test_code_and_what_came_out_part_where_they_do_not_fit_together():
    assert kinds(code(10, 5)) == ["-"]
    tall = nbformat.v4.new_notebook(cells=[code(30, 20, 3)])
    parts = cut(tall).cells
    assert [len(cell.outputs) for cell in parts] == [0, 1, 1]
    shown = [cell.metadata["slideshow"]["slide_type"] for cell in parts]
    assert shown == ["-", "subslide", "-"]


def test_the_code_of_an_output_alone_is_not_shown_twice(pretended, tools):
    chapter = pretended.chapter("01_tiny")
    notebook = nbformat.read(chapter.notebook, as_version=4)
    notebook.cells.append(code(1 + HEIGHT // 17, 30))
    notebook.cells[-1].source += "\nonce = 1"
    nbformat.write(notebook, chapter.notebook)
    (path,) = slides(pretended, tools, ["01_tiny"])
    assert path.read_text(encoding="utf-8").count(">once<") == 1


def test_without_the_tools_it_says_what_to_run(pretended, tmp_path):
    with pytest.raises(CourseError, match="run `make slides`"):
        slides(pretended, tmp_path / "nothing")


def test_pictures_beside_the_notebook_travel_with_the_slides(planted, tools, no_network):
    chapter = planted.chapter("01_tiny")
    text = chapter.lesson.read_text(encoding="utf-8").replace(
        "twice: [", "twice: ![a dot](dot.png) ["
    )
    chapter.lesson.write_text(text, encoding="utf-8")
    sample_course.pretend(planted)
    (chapter.notebook.parent / "dot.png").write_bytes(b"\x89PNG not looked at")
    (html,) = slides(planted, tools, ["01_tiny"])
    assert 'src="data:image/png;base64,' in html.read_text(encoding="utf-8")


def test_the_command_says_what_it_wrote(pretended, tools, no_network, monkeypatch, capsys):
    monkeypatch.setattr("utils.lessons.course.read", lambda: pretended)
    assert main(["slides", "--tools", str(tools), "01_tiny"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "01_tiny.slides.html to build/slides/" in said


def test_what_is_not_built_cannot_be_shown(planted, tools, monkeypatch, capsys):
    with pytest.raises(CourseError, match="No notebook is built yet"):
        slides(planted, tools)
    with pytest.raises(CourseError, match=r"02_later\.ipynb is not built yet"):
        slides(planted, tools, ["02_later"])
    monkeypatch.setattr("utils.lessons.course.read", lambda: planted)
    assert main(["slides"]) == 1
    assert "make notebooks" in capsys.readouterr().err
