"""Blood cells: the ladder for hundreds of files, Pascal VOC's layout, and what is broken in it."""

import contextlib
import dataclasses
import hashlib
import http.server
import io
import sys
import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from utils import CourseError, data
from utils.data import ladder

module = sys.modules["utils.data.bccd"]  # `utils.data.bccd` is the function
BOX = (
    "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{0}</xmin>"
    "<ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"
)


def voc(*boxes, width=64, height=48, name="RBC", difficult=0):
    things = "".join(BOX.format(*box, name=name, difficult=difficult) for box in boxes)
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{things}</annotation>".encode()


def jpeg(width=64, height=48, level=120):
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), level, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def small(**changes):
    """A BCCD of four pictures: one without cells, one of a single pixel, one with flat boxes."""
    files = {
        "ImageSets/Main/train.txt": b"a\nb\n",
        "ImageSets/Main/val.txt": b"c\nd\n",
        "Annotations/a.xml": voc((4, 4, 20, 30), (10, 10, 10, 10), (30, 5, 60, 5)),
        "Annotations/b.xml": voc(),
        "Annotations/c.xml": voc((0, 0, 1, 1), width=1, height=1, name="WBC"),
        "Annotations/d.xml": voc((-5, 40, 70, 60), name="Platelets", difficult=1),
        **{f"JPEGImages/{name}.jpg": jpeg(level=40 * place) for place, name in enumerate("abd")},
        "JPEGImages/c.jpg": jpeg(1, 1),
    }
    return {**files, **{name.replace("__", "/"): raw for name, raw in changes.items()}}


def write(folder, files):
    for name, raw in files.items():
        if raw is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(raw)
    return folder


def install(monkeypatch, files, **changes):
    """Let BCCD consist of these files."""
    listed = tuple(
        ladder.File(name, hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in files.items()
    )
    fresh = {"mirrors": (), "archive": None, **changes}
    monkeypatch.setattr(module, "BCCD", dataclasses.replace(module.BCCD, files=listed, **fresh))


@pytest.fixture
def course(cache, tmp_path, monkeypatch):
    """A small BCCD in COURSE_DATA."""
    install(monkeypatch, small())
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "mine"))
    return write(tmp_path / "mine" / "bccd", small())


def test_bccd_is_read_scaled_and_mended(course, capsys):
    cells = data.bccd(24, 32)
    assert cells.real and cells.source == "COURSE_DATA"
    assert cells.x_train.shape == (2, 24, 32, 3) and cells.x_test.shape == (2, 24, 32, 3)
    np.testing.assert_array_equal(cells.t_train[0].boxes, [[2, 2, 10, 15]])
    assert cells.t_train[1].boxes.shape == (0, 4)
    np.testing.assert_array_equal(cells.t_test[0].boxes, [[0, 0, 32, 24]])
    np.testing.assert_array_equal(cells.t_test[1].boxes, [[0, 20, 32, 24]])
    assert cells.t_test[1].labels.tolist() == [2] and cells.t_test[1].crowd.tolist() == [True]
    assert "BCCD: 2 boxes of no width or height are left out." in capsys.readouterr().out


def test_the_list_of_files_is_whole():
    names = [file.name for file in module.BCCD.files]
    assert len(names) == len(set(names)) == 2 + 2 * 292
    assert sum(name.endswith(".jpg") for name in names) == 292
    assert all(len(file.sha256) == 64 and file.size > 0 for file in module.BCCD.files)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Annotations__a.xml": None}, "a.xml.*add it"),
        ({"JPEGImages__a.jpg": None}, "a.jpg.*add it"),
        ({"JPEGImages__a.jpg": jpeg(level=3)}, "a.jpg.*replace it"),
        ({"Annotations__b.xml": b""}, "b.xml is cut short.*replace it"),
    ],
)
def test_a_file_of_course_data_that_is_wrong_is_named(course, change, words):
    for name, raw in change.items():
        path = course / name.replace("__", "/")
        path.unlink()
        if raw is not None:
            path.write_bytes(raw)
    with pytest.raises(CourseError, match=words):
        data.bccd()


def test_without_any_source_cells_are_drawn_and_said_to_be(cache, capsys):
    cells = data.bccd(60, 80)
    assert not cells.real and cells.class_names == ("RBC", "WBC", "Platelets")
    assert len(cells.x_train) == 205 and len(cells.x_test) == 87
    out = capsys.readouterr().out
    assert out.count("using drawn blood cells with the same three classes") == 1
    with pytest.raises(CourseError, match="choose one of auto"):
        data.bccd(source="moon")


@contextlib.contextmanager
def serving(answers):
    """Serve these paths on this machine; yields the address and the paths that were asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = answers.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def zipped(files, prefix="top/BCCD/"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(prefix + name, raw)
    return buffer.getvalue()


@pytest.mark.parametrize("trouble", ["none", "one wrong", "no zip", "missing"])
def test_one_archive_brings_all_and_mirrors_the_rest(cache, monkeypatch, trouble):
    monkeypatch.setattr(ladder, "MANY", 2)
    files = small()
    answers = {f"/files/{name}": raw for name, raw in files.items()}
    wrong = {**files, "JPEGImages/a.jpg": jpeg(level=7), "Annotations/b.xml": 900 * b"long"}
    content = {"none": files, "one wrong": wrong}.get(trouble)
    answers["/all.zip"] = {"no zip": b"<html>"}.get(trouble) if content is None else zipped(content)
    with serving(answers) as (address, asked):
        archive = ladder.Archive(address, "all.zip", "top/BCCD/", 100_000)
        install(monkeypatch, files, mirrors=(address + "files/",), archive=archive)
        cells = data.bccd(24, 32)
        assert cells.real and cells.source == "download"
        singles = [path for path in asked if path.startswith("/files/")]
        expected = {"none": 0, "one wrong": 2}.get(trouble, len(files))
        assert len(singles) == expected
        count = len(asked)
        again = data.bccd(24, 32)
        assert again.source == "cache" and len(asked) == count
    assert (cache.parent / "bccd" / "Annotations" / "a.xml").read_bytes() == files[
        "Annotations/a.xml"
    ]
    np.testing.assert_array_equal(cells.x_test, again.x_test)


def test_what_is_too_long_is_not_even_unpacked():
    wanted = {"a": ladder.File("a", "", 10), "b": ladder.File("b", "", 10)}
    raw = zipped({"a": bytes(11), "b": bytes(10), "c": b"not asked for"}, prefix="")
    assert ladder.unzip(raw, "", wanted) == {"b": bytes(10)}


def test_the_whole_of_bccd_stays_under_100_mb():
    tracemalloc.start()
    try:
        cells = data.bccd()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cells.x_train) + len(cells.x_test) == 292 and peak < 100e6


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no XML file"),
        (b"<annotation><size>", "no XML file"),
        (b"\xff\xfe\x00not xml", "no XML file"),
        (b"<annotation/>", "<size><width>.* is None, which is no number"),
        (voc(width=0), "says that its picture has no size"),
        (voc((1, 2, 3, "x")), "<bndbox><ymax>.* is 'x', which is no number"),
        (voc((1, 2, 3, "nan")), "is 'nan', which is no number"),
        (voc((1, 2, 3, 4), name="cat"), "object 1 is a 'cat', but the classes are RBC, WBC"),
        (
            b"<annotation><size><width>9</width><height>9</height></size><object/></annotation>",
            "''",
        ),
    ],
)
def test_annotations_that_cannot_be_read_are_named(raw, words):
    with pytest.raises(CourseError, match="^x.xml.*" + words):
        data.parse_voc(raw, "x.xml", module.CLASSES)


def test_ones_own_folder(tmp_path, capsys):
    write(tmp_path / "mine", small())
    mine = data.from_voc(tmp_path / "mine", module.CLASSES, 24, 32)
    assert mine.name == "mine" and mine.real and len(mine.x_train) == 2
    assert "mine: 2 boxes of no width or height are left out." in capsys.readouterr().out
    for change, words in (
        ({"JPEGImages__a.jpg": b"no picture"}, "a.jpg is no picture that can be read"),
        ({"JPEGImages__a.jpg": jpeg()[:200]}, "a.jpg is no picture that can be read"),
        ({"Annotations__d.xml": b"<a"}, "d.xml is no XML file"),
        ({"ImageSets__Main__val.txt": b" "}, "val.txt lists no picture"),
        ({"ImageSets__Main__val.txt": b"e"}, "e.jpg cannot be read .*add it"),
    ):
        folder = write(tmp_path / "broken", small(**change))
        with pytest.raises(CourseError, match=words):
            data.from_voc(folder, module.CLASSES)
    with pytest.raises(CourseError, match="no folder Annotations"):
        data.from_voc(tmp_path, module.CLASSES)
