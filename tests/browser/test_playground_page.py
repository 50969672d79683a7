"""The playground on a real page: clicks, keys, a drawing, and a picture that moves."""

import re
import time
from collections.abc import Callable
from typing import Any

from course_lab import PATIENCE, Notebook, until

GAME = """
import sys

sys.path.insert(0, "tests/unit")
import numpy as np
from playground_toys import Toys

from utils import data
from utils.playground import Playground

toys = Toys()
ring = data.ring(1000, np.random.default_rng(0), std=0.05) + np.float32([0.8, 0])
Playground(toys, {"ring": ring}, "Toys at play", rate=0.01).show()
"""
TOLD = "print(*[call[0] for call in toys.calls])"


def moves(notebook: Notebook) -> list[str]:
    """What the kernel's players were asked to do."""
    notebook.run_cell(1)
    return notebook.outputs(1)[0]["text"].split()


def button(game: Any, words: str) -> Any:
    """A button by what stands on it."""
    return game.locator("button", has_text=re.compile(f"^{words}$"))


def test_the_game_is_played_by_mouse_and_keyboard(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook([GAME, TOLD])
    notebook.run_all()
    game = notebook.page.locator(".course-playground").first
    state = game.locator(".cp-status")
    first = notebook.image_bytes(game)
    assert moves(notebook) == ["reset"]
    button(game, "D step").click()
    second = notebook.other_image(game, first)
    button(game, "G step").focus()
    notebook.page.keyboard.press("Enter")
    notebook.other_image(game, second)
    assert moves(notebook) == ["reset", "d", "g"]

    button(game, "Run").click()
    until(lambda: state.get_attribute("data-state"), "playing".__eq__, PATIENCE, "the game on")
    numbers = game.locator(".cp-numbers")
    until(
        lambda: int(re.search(r"round ([\d,]+)", numbers.inner_text())[1].replace(",", "")),
        lambda played: played > 20,
        PATIENCE,
        "rounds",
    )
    seen = notebook.image_bytes(game)
    notebook.other_image(game, seen)
    game.locator("select").nth(1).select_option("far")  # while it runs
    button(game, "Pause").click()
    until(lambda: state.get_attribute("data-state"), "paused".__eq__, PATIENCE, "a pause")
    notebook.screenshot("paused", game)
    time.sleep(0.3)
    before = numbers.inner_text()
    time.sleep(0.5)
    assert numbers.inner_text() == before
    notebook.nudge("D steps a round", "ArrowRight", 2, box=game)
    button(game, "Reset").click()
    until(lambda: state.get_attribute("data-state"), "ready".__eq__, PATIENCE, "a new game")
    until(lambda: numbers.inner_text(), lambda words: words == "round 0", PATIENCE, "round 0")

    game.locator("select").nth(0).select_option("my drawing")
    alert = game.locator(".cp-error")
    until(lambda: alert.count() and alert.inner_text(), lambda t: "empty" in str(t), PATIENCE, "it")
    canvas = game.locator("canvas")
    canvas.focus()
    empty = notebook.image_bytes(game)
    notebook.page.keyboard.press("Space")
    drawn = notebook.other_image(game, empty)
    until(alert.count, (0).__eq__, PATIENCE, "no more complaint")
    button(game, "D step").click()
    notebook.other_image(game, drawn)
    notebook.screenshot("drawn", game)
    assert notebook.complaints == [] and notebook.errors() == []
