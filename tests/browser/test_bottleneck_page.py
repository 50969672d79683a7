"""The hunt for a bottleneck on a real page: by mouse and keyboard."""

import re
from collections.abc import Callable

from course_lab import PATIENCE, Notebook, until

GAME = """
from utils.bottleneck import Hunt

GAINS = {"cache": ("loading", 55.0), "half": ("step", 10.0)}


def script(fixes):
    parts = {"loading": 60.0, "step": 40.0}
    for fix in fixes:
        parts[GAINS[fix][0]] -= GAINS[fix][1]
    return parts


hunt = Hunt(script, list(GAINS), "Toys that wait")
hunt.show()
"""
TOLD = "print(*hunt.applied)"


def test_fixes_are_tried_by_mouse_and_keyboard(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook([GAME, TOLD])
    notebook.run_all()
    game = notebook.page.locator(".course-hunt").first
    state = game.locator(".cp-status")
    until(lambda: state.get_attribute("data-state"), "ready".__eq__, PATIENCE, "a first profile")
    assert "loading" in game.inner_text() and "none yet" in state.inner_text()

    game.locator("select").nth(1).select_option("up to 3 times as fast")
    game.locator("button", has_text=re.compile("^Try it$")).click()
    until(game.inner_text, lambda words: "and it is so" in words, PATIENCE, "the outcome")
    game.locator("select").nth(0).select_option("half")
    again = game.locator("button", has_text=re.compile("^Try it$"))
    notebook.page.wait_for_timeout(500)  # a click at once would pass for an impatient second one
    again.focus()
    notebook.page.keyboard.press("Enter")
    until(state.inner_text, lambda words: "cache, half" in words, PATIENCE, "both fixes")
    notebook.screenshot("tried", game)
    notebook.run_cell(1)
    assert notebook.outputs(1)[0]["text"].split() == ["cache", "half"]
    assert notebook.complaints == [] and notebook.errors() == []
