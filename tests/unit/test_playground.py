"""The playground: every move is the learner's, pictures follow, errors are words."""

import io
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playground_toys import Toys

from utils import CourseError, runtime
from utils.playground import Cloud, Playground, paint

PATIENCE = 20.0
VIEW = "application/vnd.jupyter.widget-view+json"
CLOUD = np.random.default_rng(0).normal([1.0, 2.0], 0.1, (300, 2)).astype(np.float32)


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is displayed, as bundles, by a notebook that somebody watches."""
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **options: shown.append(bundle))
    monkeypatch.setattr(runtime, "headless", lambda: False)
    return shown


def make(toys: Toys | None = None, **options: Any) -> Playground:
    """A playground with a title of its own."""
    options.setdefault("title", f"toys {time.perf_counter_ns()}")
    options.setdefault("rate", 0.1)
    clouds = options.pop("clouds", {"blob": CLOUD})
    return Playground(toys or Toys(), clouds, **options)


def until(condition: Any) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def pixels(png: bytes) -> np.ndarray:
    """A picture's pixels."""
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB")).astype(int)


# the game


def test_a_step_moves_one_player_and_says_what_it_paid():
    toys = Toys()
    game = make(toys, batch=50, seed=7)
    assert toys.calls == [("reset", 7)] and game.losses == {"D": None, "G": None}
    paid = game.step_d()
    assert toys.calls[1:] == [("d", 50, "near", 0.1)]
    assert paid == game.losses["D"] == pytest.approx(5**0.5, rel=0.05)
    assert game.losses["G"] is None and game.played == 0
    game.step_g(loss="far", rate_g=0.5)
    assert toys.calls[2:] == [("g", 50, "far", 0.5)] and np.any(toys.at)


def test_a_round_is_k_moves_of_the_discriminator_and_one_of_the_generator():
    toys = Toys()
    game = make(toys, k=3)
    game.play(2)
    assert [call[0] for call in toys.calls[1:]] == list("dddgdddg") and game.played == 2
    game.play(1, k=1)
    assert [call[0] for call in toys.calls[9:]] == ["d", "g"]


def test_the_game_leads_where_the_data_are_and_reset_begins_the_same_game():
    toys = Toys()
    game = make(toys)
    game.play(100)
    assert toys.at == pytest.approx([1, 2], abs=0.05)
    end = toys.middle.copy()
    game.reset()
    assert game.played == 0 and game.losses["D"] is None and not toys.at.any()
    game.play(100)
    assert np.array_equal(toys.middle, end)


def test_the_picture_shows_field_data_and_samples_where_they_are():
    toys = Toys()
    game = make(toys, reach=3.0)
    game.play(100)
    toys.at = np.array([-2.0, -2.0])
    picture = game.picture().astype(int)
    assert picture.shape == (364, 364, 3)

    def around(x: float, y: float) -> np.ndarray:
        column, row = round((x + 3) / 6 * 361), round((3 - y) / 6 * 361)
        return picture[row - 20 : row + 20, column - 20 : column + 20].reshape(-1, 3)

    assert (around(1, 2) == paint.POINT).all(axis=1).any()
    assert not (around(1, 2) == paint.SAMPLE).all(axis=1).any()
    assert (around(-2, -2) == paint.SAMPLE).all(axis=1).any()
    red, green, blue = picture[5, 5]  # far from the middle of the discriminator's liking: orange
    assert red > blue + 100
    red, green, blue = around(1, 2).max(axis=0)
    near = around(1.35, 2.35)
    assert (near[:, 2] > near[:, 0] + 20).any()  # blue where it thinks points real


def test_what_lies_beyond_the_edge_is_shown_on_it():
    canvas = np.zeros((10, 10, 3), np.uint8)
    paint.dots(canvas, np.array([[99.0, 99.0], [-99.0, 0.0]]), np.array([9, 9, 9]), 1.0)
    assert canvas[0, 9].tolist() == [9, 9, 9] and canvas[4, 0].tolist() == [9, 9, 9]


def test_undecided_is_white_and_has_the_line():
    canvas = paint.background(np.tile(np.linspace(0, 1, 52), (52, 1)))
    middle = canvas[100].astype(int)
    assert (middle[:5] == middle[:5, :1]).sum() < 15 and middle[2, 0] > middle[2, 2] + 50
    assert middle[360, 2] > middle[360, 0] + 50
    assert (middle == 140).all(axis=1).sum() == 1 and (middle.min(axis=1) > 240).any()


def test_the_judge_of_a_cloud_has_its_say():
    judge = lambda samples: f"{len(samples)} samples"  # noqa: E731
    game = make(clouds={"blob": Cloud(CLOUD, judge)})
    assert game.words() == "round 0 · 2000 samples"
    game.play(1)
    assert game.words().startswith("round 1 · D pays 2.2") and "G pays" in game.words()


@pytest.mark.parametrize(
    ("clouds", "said"),
    [
        ({}, "has no data"),
        ({"a": np.zeros((3, 3))}, r"a must be points \(N, 2\), floats, not float64 \(3, 3\)"),
        ({"a": np.zeros((3, 2), int)}, "floats, not int64"),
        ({"a": np.full((3, 2), 3.5)}, "points beyond ±3"),
        ({"a": np.full((3, 2), np.nan)}, "points beyond ±3"),
    ],
)
def test_clouds_that_are_none_are_refused(clouds, said):
    with pytest.raises(CourseError, match=said):
        make(clouds=clouds)


def test_settings_of_a_script_are_checked():
    game = make()
    with pytest.raises(CourseError, match="D steps a round is 0"):
        game.play(1, k=0)
    with pytest.raises(CourseError, match="Loss is 'wasserstein'"):
        game.step_g(loss="wasserstein")
    with pytest.raises(CourseError, match="no setting 'rate'"):
        game.step_d(rate=1)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_diverged_game_is_said_to_be_one(displayed):
    toys = Toys()
    game = make(toys)
    toys.middle = np.array([np.inf, 0.0])
    with pytest.raises(CourseError, match="diverged: D pays inf. Press Reset"):
        game.step_d()
    toys.middle, toys.at = np.zeros(2), np.array([np.nan, 0.0])
    with pytest.raises(CourseError, match="diverged: field or samples"):
        game.picture()


# drawing


def test_drawn_points_lie_where_the_ink_is():
    drawing = np.zeros((28, 28), np.uint8)
    drawing[2, 20], drawing[27, 0] = 255, 85  # row 2, column 20: upper right
    points = paint.drawn_points(drawing, reach=2.8)
    upper = points[:, 1] > 0
    assert points.shape == (4000, 2) and upper.mean() == pytest.approx(0.75, abs=0.03)
    assert points[upper].mean(axis=0) == pytest.approx(
        [0.2 * 20.5 - 2.8, 2.8 - 0.2 * 2.5], abs=0.01
    )
    assert points[~upper].mean(axis=0) == pytest.approx([-2.7, -2.7], abs=0.01)
    with pytest.raises(CourseError, match="The pad is empty: draw something"):
        paint.drawn_points(np.zeros((28, 28), np.uint8), 3.0)


def test_the_discriminator_learns_from_the_drawing():
    toys = Toys()
    game = make(toys)
    drawing = np.zeros((28, 28), np.uint8)
    drawing[:5, :5] = 255
    game.play(200, data="my drawing", drawing=drawing)
    assert (toys.at < [-2.0, 0]).any() and toys.at[1] > 2.0


# the page


def test_without_a_front_end_it_plays_and_shows_a_picture(monkeypatch, capsys):
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **options: shown.append(bundle))
    monkeypatch.setattr(runtime, "headless", lambda: True)
    toys = Toys()
    game = make(toys, rounds=30)
    game.show()
    assert game.played == 30 and VIEW not in shown[0]
    assert "Figure: The plane of the game" in capsys.readouterr().out
    assert shown[0]["image/png"].startswith("iVBOR") and "round 30" in shown[0]["text/plain"]
    toys.trouble = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        game.show()


def test_buttons_move_the_players(displayed):
    toys = Toys()
    game = make(toys, title="Toys")
    game.show()
    (bundle,) = displayed
    assert bundle[VIEW]["model_id"] == game.view.root.model_id
    assert bundle["image/png"].startswith("iVBOR") and bundle["text/plain"].startswith("Toys: ")
    assert [call[0] for call in toys.calls] == ["reset"], "nothing moves before a click"
    before = game.png
    game.view.controls["rate_d"].value = 0.5
    game.view.controls["loss"].value = "far"
    game.view.buttons["d"].click()
    assert toys.calls[-1] == ("d", 128, "far", 0.5) and game.png != before
    game.view.buttons["g"].click()
    assert toys.calls[-1][0] == "g"
    assert "D pays" in game.view._numbers.value and "round 0" in game.view._numbers.value
    game.view.buttons["reset"].click()
    assert toys.calls[-1][0] == "reset" and np.array_equal(pixels(game.png), pixels(before))


def test_run_plays_on_until_pause_and_hears_every_change(displayed):
    toys = Toys()
    game = make(toys)
    game.show()
    buttons = game.view.buttons
    assert buttons["pause"].disabled and not buttons["run"].disabled
    buttons["run"].click()
    until(lambda: game.played > 5)
    assert game.state == "playing" and buttons["run"].disabled and not buttons["pause"].disabled
    assert threading.current_thread() is threading.main_thread()
    game.view.controls["loss"].value = "far"
    game.view.controls["k"].value = 4
    seen = len(toys.calls)
    until(lambda: ("g", 128, "far", 0.1) in toys.calls[seen:])
    seen = len(toys.calls)
    until(lambda: len(toys.calls) > seen + 12)
    assert "dddd" in "".join(call[0] for call in toys.calls[seen : seen + 12])
    buttons["pause"].click()
    assert game.wait(PATIENCE) and game.state == "paused"
    played = game.played
    assert f"round {played:,}" in game.view._numbers.value, "the last round is shown"
    time.sleep(0.05)
    assert game.played == played and not buttons["run"].disabled
    buttons["run"].click()
    until(lambda: game.played > played)
    buttons["reset"].click()
    assert game.wait(PATIENCE) and game.played == 0 and game.state == "ready"
    assert 'data-state="ready"' in game.view._status.value


def test_a_second_click_on_run_starts_no_second_game(displayed):
    game = make()
    game.show()
    game.run()
    game.run()
    playing = [t for t in threading.enumerate() if t.name == "course-playground" and t.is_alive()]
    assert len(playing) == 1
    game.pause()
    assert game.wait(PATIENCE)


def test_where_clicks_cannot_interrupt_run_plays_a_burst(displayed, monkeypatch):
    monkeypatch.setattr(runtime, "in_colab", lambda: True)
    toys = Toys()
    game = make(toys)
    game.show()
    game.view.buttons["run"].click()
    assert game.played == 100 and game.state == "paused"
    assert game.view.buttons["pause"].disabled and "burst of rounds" in game.view._status.value


def test_an_error_is_words_and_the_game_can_go_on(displayed):
    toys = Toys()
    game = make(toys)
    game.show()
    toys.trouble = ValueError("too <steep>")
    game.view.buttons["d"].click()
    assert "ValueError: too &lt;steep&gt;" in game.view._error.value
    game.view.buttons["run"].click()
    assert game.wait(PATIENCE) and game.state == "paused"
    assert "ValueError" in game.view._error.value and not game.view.buttons["run"].disabled
    toys.trouble = None
    game.view.buttons["d"].click()
    assert game.view._error.value == ""
    game.view.controls["data"].value = "my drawing"
    assert "The pad is empty" in game.view._error.value
    game.view.controls["drawing"].value = "ff" * 784
    assert game.view._error.value == ""


def test_running_the_cell_again_ends_the_first_game(displayed):
    first = make(title="Twice")
    first.show()
    first.run()
    until(lambda: first.played > 1)
    second = make(title="Twice")
    assert first.wait(PATIENCE) or first._thread is not None
    until(lambda: not first._thread.is_alive())
    assert first.view is None
    second.show()
    assert second.view is not None
