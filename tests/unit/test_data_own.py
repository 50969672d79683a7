"""The learner's own pictures: image folders and IDX files in MNIST's place."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from utils import CourseError
from utils.data import from_idx, from_images, write_idx
from utils.data.own import _fit, _grey

CANVAS = np.zeros((60, 60), np.uint8)
CANVAS[15:45, 20:40] = 200  # a light bar on black
COLOUR = np.dstack([CANVAS, CANVAS, CANVAS])


def picture(mode):
    """The light bar on black, as a file of this mode would hold it."""
    grey = Image.fromarray(CANVAS)
    if mode == "I;16":
        return Image.fromarray(CANVAS.astype(np.uint16) * 257)
    if mode == "RGBA":  # everything but the bar is transparent, over a misleading white
        pixels = np.dstack([COLOUR, np.where(CANVAS > 0, 255, 0).astype(np.uint8)])
        pixels[CANVAS == 0, :3] = 255
        return Image.fromarray(pixels)
    if mode == "LA":
        return picture("RGBA").convert("LA")
    if mode == "P with transparency":
        image = Image.fromarray((CANVAS > 0).astype(np.uint8)).convert("P")
        image.putpalette([255, 255, 255, 200, 200, 200])  # the ground is white, and not there
        image.info["transparency"] = 0
        return image
    if mode == "P":
        return grey.convert("RGB").quantize(4)
    if mode == "1":
        return Image.fromarray(CANVAS > 0)
    return grey.convert(mode)


def save(folder, *names, image=None, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (image or picture("L")).save(folder / name, **options)
    return folder


@pytest.mark.parametrize(
    "mode", ["L", "LA", "RGB", "RGBA", "P", "P with transparency", "I;16", "1"]
)
def test_png_pictures_of_every_mode_become_the_same_grey(tmp_path, mode, capsys):
    save(tmp_path, "a.png", "b.png", image=picture(mode))
    data = from_images(tmp_path, size=60)
    light = 255 if mode == "1" else 200
    expected = np.where(CANVAS > 0, light, 0)
    for x in (data.x_train, data.x_test):
        assert x.dtype == np.uint8 and x.shape == (1, 60, 60)
        assert np.abs(x[0].astype(int) - expected).max() <= 2  # a palette may round
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_pictures_are_read(tmp_path, mode):
    save(tmp_path, "a.jpg", "b.JPEG", image=picture(mode), quality=95)
    x = from_images(tmp_path, size=60).x_train[0].astype(int)
    assert np.abs(x - CANVAS).mean() < 3


def test_a_photograph_that_was_turned_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees to look at it
    save(tmp_path, "a.jpg", "b.jpg", image=picture("L"), exif=exif, quality=95)
    x = from_images(tmp_path, size=60).x_train[0].astype(int)
    assert np.abs(x - np.rot90(CANVAS, 3)).mean() < 3


def test_dark_strokes_on_a_transparent_ground_do_not_vanish():
    ink = np.zeros((20, 20, 4), np.uint8)
    ink[5:15, 8:12, 3] = 255  # black, and nothing around it
    grey = _grey(Image.fromarray(ink))
    assert grey[10, 10] == 0 and grey[0, 0] == 255
    ink[..., :3] = 255  # the same in white
    grey = _grey(Image.fromarray(ink))
    assert grey[10, 10] == 255 and grey[0, 0] == 0


@given(
    height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 40),
    ground=st.integers(0, 255),
)  # fmt: skip
def test_odd_sizes_are_padded_with_the_colour_of_their_border(height, width, size, ground):
    plain = _fit(np.full((height, width), ground, np.uint8), size)
    assert plain.shape == (size, size) and plain.dtype == np.uint8
    assert (plain == ground).all()


def test_a_tall_picture_keeps_its_proportions_and_its_middle():
    tall = np.zeros((80, 20), np.uint8)
    tall[10:70, 6:14] = 255
    x = _fit(tall, 40).astype(float)
    rows, columns = (x > 127).any(axis=1).sum(), (x > 127).any(axis=0).sum()
    assert (rows, columns) == (30, 4)
    np.testing.assert_allclose(x.sum(axis=1) @ np.arange(40) / x.sum(), 19.5, atol=0.05)
    np.testing.assert_allclose(x.sum(axis=0) @ np.arange(40) / x.sum(), 19.5, atol=0.05)


def test_a_picture_of_the_right_size_is_left_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(_fit(noise, 28), noise)


def test_each_subfolder_is_a_class_in_the_order_of_their_names(tmp_path, capsys):
    for number, name in enumerate(["zebra", "ant", "mule"]):
        for index in range(10):
            image = Image.fromarray(np.full((28, 28), 10 * number + index, np.uint8))
            save(tmp_path / name, f"{index}.png", image=image)
    save(tmp_path / ".ipynb_checkpoints", "x.png")
    save(tmp_path / "__MACOSX", "x.png")
    (tmp_path / "ant" / ".DS_Store").write_text("")
    data = from_images(tmp_path)
    assert data.class_names == ("ant", "mule", "zebra")
    assert data.source == "images" and data.name == tmp_path.name
    assert len(data.x_train) == 24 and np.bincount(data.y_test).tolist() == [2, 2, 2]
    # The grey value says which picture it is: labels go with their pictures, none occurs twice.
    x = np.concatenate([data.x_train, data.x_test])[:, 0, 0]
    y = np.concatenate([data.y_train, data.y_test])
    assert sorted(x) == list(range(30))
    np.testing.assert_array_equal(y, np.array([2, 0, 1])[x // 10])
    assert (np.diff(data.y_train) < 0).any()  # shuffled, not class after class
    assert capsys.readouterr().out == ""
    again, other = from_images(tmp_path), from_images(tmp_path, seed=1)
    np.testing.assert_array_equal(data.x_test, again.x_test)
    assert (data.x_test != other.x_test).any()


def test_a_flat_folder_is_one_class(tmp_path):
    save(tmp_path, *(f"{index}.png" for index in range(10)))
    data = from_images(tmp_path)
    assert data.class_names == ("unlabelled",) and not data.y_train.any()
    assert (len(data.x_train), len(data.x_test)) == (8, 2)


def test_what_is_left_out_is_said(tmp_path, capsys):
    save(tmp_path / "cats", "a.png", "b.png")
    (tmp_path / "cats" / "notes.txt").write_text("")
    (tmp_path / "dogs").mkdir()
    data = from_images(tmp_path)
    assert data.class_names == ("cats",)
    out = capsys.readouterr().out
    assert "1 file that is neither PNG nor JPEG" in out and "without pictures (dogs)" in out


def test_dark_on_light_is_pointed_out_and_can_be_inverted(tmp_path, capsys):
    save(tmp_path, "a.png", "b.png", image=Image.fromarray(255 - CANVAS))
    plain = from_images(tmp_path)
    assert "invert=True" in capsys.readouterr().out
    turned = from_images(tmp_path, invert=True)
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(turned.x_train, 255 - plain.x_train)


def test_folders_that_do_not_serve_are_refused_in_words(tmp_path):
    with pytest.raises(CourseError, match="nowhere does not exist: give the folder"):
        from_images(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="holds no pictures: put PNG or JPEG"):
        from_images(tmp_path)
    save(tmp_path, "only.png")
    with pytest.raises(CourseError, match=r"only one picture \(only.png\)"):
        from_images(tmp_path)
    with pytest.raises(CourseError, match="is not a folder"):
        from_images(tmp_path / "only.png")
    save(tmp_path / "cats", "a.png", "b.png")
    with pytest.raises(CourseError, match=r"\(only.png\) beside folders of pictures \(cats/\)"):
        from_images(tmp_path)
    for size in (0, -28, 2.5, "28", True, None):
        with pytest.raises(CourseError, match="size must be a whole number of pixels"):
            from_images(tmp_path / "cats", size=size)


@pytest.mark.parametrize("fault", ["text", "cut", "empty", "gif", "header"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, fault):
    save(tmp_path, "a.png", "b.png", image=picture("RGB"))
    path = tmp_path / "broken.png"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8))
    noise.save(path)
    raw = path.read_bytes()
    if fault == "gif":
        noise.save(path, format="GIF")
    else:
        path.write_bytes(
            {"text": b"no picture", "cut": raw[: len(raw) // 2], "empty": b"", "header": raw[:20]}[
                fault
            ]
        )
    with pytest.raises(CourseError, match=r"broken\.png cannot be read .*: replace it or take"):
        from_images(tmp_path)


def test_a_picture_of_absurd_size_is_named(tmp_path, monkeypatch):
    save(tmp_path, "a.png", "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(CourseError, match=r"a\.png cannot be read"):
        from_images(tmp_path)


# IDX files


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(n=st.integers(2, 40), seed=st.integers(0, 99))
def test_idx_files_take_mnists_place(tmp_path, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    x[:, 0, 0] = np.arange(n)
    y = rng.integers(1, 27, n, dtype=np.uint8)  # EMNIST counts its letters from 1
    for name, array in (("x.gz", x), ("y", y)):
        (tmp_path / name).unlink(missing_ok=True)
        write_idx(tmp_path / name, array)
    data = from_idx(tmp_path / "x.gz", tmp_path / "y", seed=seed)
    assert data.source == "idx" and data.name == "x.gz"
    both = [(data.x_train, data.y_train), (data.x_test, data.y_test)]
    number = np.concatenate([part[:, 0, 0] for part, _ in both])
    assert sorted(number) == list(range(n))
    for part, labels in both:
        np.testing.assert_array_equal(part, x[part[:, 0, 0]])
        np.testing.assert_array_equal(
            [int(data.class_names[label]) for label in labels], y[part[:, 0, 0]]
        )


def test_idx_pictures_of_another_size_are_scaled(tmp_path):
    images = write_idx(tmp_path / "x", np.full((5, 30, 40), 7, np.uint8))
    data = from_idx(images)
    assert data.x_train.shape == (4, 28, 28) and (data.x_train == 7).all()
    assert data.class_names == ("unlabelled",)
    assert from_idx(images, size=16).x_train.shape == (4, 16, 16)


def test_idx_files_that_do_not_serve_are_refused_in_words(tmp_path):
    images = write_idx(tmp_path / "x", np.zeros((3, 28, 28), np.uint8))
    for name, array, words in [
        ("short", np.zeros(2, np.uint8), r"shape \(2,\), but 3 pictures need 3 whole numbers"),
        ("floats", np.zeros(3, np.float32), "holds float32"),
        ("wide", np.zeros((3, 1), np.uint8), r"shape \(3, 1\)"),
    ]:
        with pytest.raises(CourseError, match=words):
            from_idx(images, write_idx(tmp_path / name, array))
    for name, array, words in [
        ("labels", np.zeros(9, np.uint8), r"holds uint8 of shape \(9,\), not pictures"),
        ("reals", np.zeros((3, 4, 4), np.float32), "holds float32"),
        ("flat", np.zeros((3, 0, 4), np.uint8), "not pictures"),
        ("one", np.zeros((1, 4, 4), np.uint8), "holds 1 picture: two at least"),
    ]:
        with pytest.raises(CourseError, match=words):
            from_idx(write_idx(tmp_path / name, array))
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"\0\0\x08\x01")[:-3])
    with pytest.raises(CourseError, match=r"half\.gz is cut short"):
        from_idx(tmp_path / "half.gz")
