"""Pictures as arrays and as PNG."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from utils import CourseError, plots


def test_a_grid_keeps_every_image_in_its_place():
    images = np.stack([np.full((4, 3), value, np.uint8) for value in (0, 50, 100, 150, 200)])
    picture = plots.grid(images, columns=3, pad=1)
    assert picture.shape == (2 * 5 + 1, 3 * 4 + 1)
    assert (picture[1:5, 5:8] == 50).all() and (picture[6:10, 5:8] == 200).all()
    assert picture[0, 0] == picture[7, 10] == 96  # the padding, and the place that stayed empty


def test_a_grid_of_colour_and_an_enlarged_one():
    picture = plots.grid(np.zeros((2, 4, 4, 3)), columns=2, pad=0, scale=3)
    assert picture.shape == (12, 24, 3) and picture.dtype == np.uint8


def test_floats_are_clipped_and_bytes_stay():
    assert plots.to_uint8(np.array([-1.0, 0.0, 0.5, 2.0])).tolist() == [0, 0, 128, 255]
    assert plots.to_uint8(np.array([3, 255], np.uint8)).tolist() == [3, 255]
    assert plots.to_uint8(np.array([0, 1])).tolist() == [0, 255]
    assert plots.to_uint8(np.array([0, 200])).tolist() == [0, 200]


def test_a_diverged_picture_is_named():
    with pytest.raises(CourseError, match="diverged"):
        plots.to_uint8(np.array([np.nan]))


@pytest.mark.parametrize("shape", [(28, 28), (0, 4, 4), (2, 2, 2, 2, 2)])
def test_what_is_no_stack_of_images_is_refused(shape):
    with pytest.raises(CourseError, match="grid needs images"):
        plots.grid(np.zeros(shape))


def test_a_png_holds_the_picture():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(plots.to_png(picture)))), picture)


def test_each_picture_has_its_caption():
    pictures = [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.ones((4, 4))]
    fig = plots.captioned(pictures, ["a", "b", "c"], columns=2)
    assert [ax.get_title() for ax in fig.axes] == ["a", "b", "c", ""]
    assert [len(ax.images) for ax in fig.axes] == [1, 1, 1, 0]
    with pytest.raises(ValueError, match="shorter"):
        plots.captioned(pictures, ["a", "b"])
    assert plots.captioned([], []).axes  # nothing to show is an empty figure


def test_show_prints_what_it_shows_and_insists_on_it(capsys):
    plots.show(np.zeros((4, 4)), alt="a black square")
    assert "Figure: a black square" in capsys.readouterr().out
    with pytest.raises(CourseError, match="alt"):
        plots.show(np.zeros((4, 4)), alt=" ")


def test_figures_need_no_pyplot():
    code = (
        "import sys; from utils import plots; fig, axes = plots.figure(columns=2)\n"
        "assert plots.figure_png(fig).startswith(b'\\x89PNG') and len(axes) == 2\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_points_cover_nothing():
    fig, ax = plots.figure()
    points = {f"a name of some length {n}": (1 + 0.2 * n, 1 + n % 2 / 5) for n in range(6)}
    ax.plot(*zip(*points.values(), strict=True), "o")
    ax.set(xlim=(0, 4), ylim=(0, 3))
    plots.name_points(ax, points)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == list(points)
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(a.overlaps(b) for a, b in pairs)
    places = ax.transData.transform(list(points.values()))
    assert not any(box.contains(x, y) for box in boxes for x, y in places)


def test_names_stand_there_even_without_room():
    _, ax = plots.figure(width=1, height=1)
    points = {f"{n} name that is much too long": (0.5, 0.5) for n in range(30)}
    plots.name_points(ax, points)
    assert len(ax.texts) == 30
