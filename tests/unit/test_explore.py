"""Explorers: every move is drawn or overtaken by a newer one; errors are words; a still stays."""

import io
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from utils import CourseError, explore, runtime
from utils.controls import Choice, Slider, Toggle
from utils.explore import Explorer, as_png

PATIENCE = 20.0
CONTROLS = [Slider("grey", 0.5, 0.0, 1.0), Slider("size", 4, 1, 20)]
VIEW = "application/vnd.jupyter.widget-view+json"


def draw(grey: float, size: int) -> np.ndarray:
    """A grey square."""
    return np.full((size, size), grey)


def shade(png: bytes) -> int:
    """The first pixel of a picture."""
    return Image.open(io.BytesIO(bytes(png))).convert("L").getpixel((0, 0))


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is displayed, as bundles."""
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **options: shown.append(bundle))
    return shown


def make(draw: Any = draw, **options: Any) -> Explorer:
    """An explorer with a title of its own."""
    options.setdefault("title", f"toy {time.perf_counter_ns()}")
    return Explorer(draw, options.pop("controls", CONTROLS), alt="A grey square.", **options)


def test_it_shows_the_default_and_follows_the_slider(displayed: list[dict]) -> None:
    explorer = make(title="Greys")
    explorer.show()
    assert shade(explorer.png) == 128 and explorer.drawn == 1
    (bundle,) = displayed
    assert bundle[VIEW]["model_id"] == explorer.view.root.model_id
    assert bundle["image/png"].startswith("iVBOR")
    assert bundle["text/plain"] == "Greys: A grey square."
    explorer.view.controls["grey"].value = 1.0
    assert explorer.wait(PATIENCE)
    assert shade(explorer.png) == shade(explorer.view.image.value) == 255
    assert "A grey square." in explorer.view._caption.value
    assert 'data-drawn="2"' in explorer.view._caption.value


def test_of_a_burst_only_the_newest_is_drawn(displayed: list[dict]) -> None:
    begun, go, seen = threading.Event(), threading.Event(), []

    def slow(grey: float, size: int) -> np.ndarray:
        seen.append(grey)
        if len(seen) == 2:
            begun.set()
            assert go.wait(PATIENCE)
        return draw(grey, size)

    explorer = make(slow)
    explorer.show()
    for tenth in range(1, 10):
        explorer.view.controls["grey"].value = tenth / 10
        if tenth == 1:
            assert begun.wait(PATIENCE)
    go.set()
    assert explorer.wait(PATIENCE)
    assert seen == [0.5, 0.1, 0.9] and shade(explorer.png) == 230


def test_a_move_never_waits_for_the_drawing(displayed: list[dict]) -> None:
    go = threading.Event()

    def slow(grey: float, size: int) -> np.ndarray:
        if grey != 0.5:
            assert go.wait(PATIENCE)
        return draw(grey, size)

    explorer = make(slow)
    explorer.show()
    began = time.perf_counter()
    for grey in np.linspace(0, 0.4, 20):
        explorer.view.controls["grey"].value = grey
    assert time.perf_counter() - began < 2
    assert not explorer.wait(0.01)
    go.set()
    assert explorer.wait(PATIENCE) and shade(explorer.png) == 102


def test_inline_draws_where_the_move_is_heard(
    displayed: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def watched(grey: float, size: int) -> np.ndarray:
        threads.append(threading.current_thread())
        return draw(grey, size)

    monkeypatch.setattr(runtime, "in_colab", lambda: True)
    explorer = make(watched)
    explorer.show()
    explorer.view.controls["grey"].value = 1.0
    assert shade(explorer.png) == 255 and set(threads) == {threading.main_thread()}


def test_an_error_is_shown_in_words_and_the_last_picture_stays(displayed: list[dict]) -> None:
    def picky(grey: float, size: int) -> np.ndarray:
        if grey > 0.8:
            raise ValueError("too <light>")
        return draw(grey, size)

    explorer = make(picky)
    explorer.show()
    explorer.view.controls["grey"].value = 0.9
    assert explorer.wait(PATIENCE)
    assert "ValueError: too &lt;light&gt;" in explorer.view._error.value
    assert "<details>" in explorer.view._error.value and shade(explorer.view.image.value) == 128
    explorer.view.controls["grey"].value = 0.2
    assert explorer.wait(PATIENCE)
    assert explorer.view._error.value == "" and shade(explorer.view.image.value) == 51


def test_an_error_in_the_first_picture_is_shown_in_words_too(displayed: list[dict]) -> None:
    def broken(grey: float, size: int) -> None:
        raise CourseError("Train the model first.")

    explorer = make(broken)
    explorer.show()
    assert "Train the model first." in explorer.view._error.value
    assert "image/png" not in displayed[0] and VIEW in displayed[0]


def test_headless_draws_once_and_raises(
    displayed: list[dict], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_HEADLESS", "1")
    explorer = make()
    explorer.show()
    assert explorer.view is None and explorer.drawn == 1
    assert VIEW not in displayed[0] and displayed[0]["image/png"].startswith("iVBOR")
    assert capsys.readouterr().out == "Figure: A grey square.\n"
    with pytest.raises(ZeroDivisionError):
        make(lambda grey, size: 1 / 0).show()


def test_running_the_cell_again_replaces_it(displayed: list[dict]) -> None:
    old = make(title="the same")
    old.show()
    root = old.view.root
    new = make(title="the same")
    assert old.view is None and (root.comm is None or root.comm._closed)
    new.show()
    assert new.view is not None
    old.redraw()  # a move that was still on its way
    assert old.drawn == 1


def test_every_control_reaches_the_drawing(displayed: list[dict]) -> None:
    seen: list[dict] = []

    def remember(**values: Any) -> np.ndarray:
        seen.append(values)
        return np.zeros((2, 2))

    controls = [Slider("n", 3, 1, 9), Choice("kind", "a", ["a", "b"]), Toggle("grid", False)]
    explorer = make(remember, controls=controls)
    explorer.show()
    for name, value in (("n", 5), ("kind", "b"), ("grid", True)):
        explorer.view.controls[name].value = value
        assert explorer.wait(PATIENCE)
    assert seen[0] == {"n": 3, "kind": "a", "grid": False}
    assert seen[-1] == {"n": 5, "kind": "b", "grid": True}
    explorer.redraw()
    assert explorer.wait(PATIENCE) and len(seen) == 5


def test_sliders_speak_while_they_move(displayed: list[dict]) -> None:
    explorer = make()
    explorer.show()
    assert all(widget.continuous_update for widget in explorer.view.controls.values())


@pytest.mark.parametrize("wrong", [{"controls": []}, {"mode": "magic"}])
def test_an_explorer_that_cannot_work_is_refused_at_once(wrong: dict) -> None:
    with pytest.raises(CourseError):
        make(**wrong)
    with pytest.raises(CourseError, match="needs `alt`"):
        Explorer(draw, CONTROLS, "title", alt=" ")


def test_figures_and_png_bytes_are_pictures_too() -> None:
    from utils import plots

    figure, axes = plots.figure(width=3, height=2)
    axes.plot([0, 1])
    assert Image.open(io.BytesIO(as_png(figure))).size == (300, 200)
    png = plots.to_png(np.zeros((3, 5)))
    assert as_png(png) is png


@pytest.mark.parametrize(
    "picture",
    [None, b"GIF89a", "text", np.zeros(5), np.zeros((2, 2, 2, 2)), np.zeros((0, 3)), object()],
)
def test_what_is_no_picture_is_named(picture: Any) -> None:
    with pytest.raises(CourseError, match=r"draw\(\) returned"):
        as_png(picture)


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([None, 3]))
@settings(deadline=None, max_examples=40)
def test_small_pictures_are_enlarged_pixel_by_pixel(h: int, w: int, channels: int | None) -> None:
    array = np.random.default_rng(0).random((h, w) if channels is None else (h, w, channels))
    image = Image.open(io.BytesIO(as_png(array)))
    factor = max(1, 320 // max(h, w))
    assert image.size == (w * factor, h * factor)
    corner = np.asarray(image)[0, 0].tolist()
    assert np.asarray(image)[factor - 1, factor - 1].tolist() == corner


def test_pixels_that_are_not_finite_are_named() -> None:
    with pytest.raises(CourseError, match="NaN or infinite pixels"):
        as_png(np.full((2, 2), np.nan))


def test_titles_are_forgotten_with_their_explorers() -> None:
    import gc

    title = make().title
    gc.collect()
    assert title not in explore._EXPLORERS
