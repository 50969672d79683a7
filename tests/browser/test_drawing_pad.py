"""The drawing pad on a real page: a mouse, a keyboard, and the pixels that reach the kernel."""

from collections.abc import Callable

from course_lab import PATIENCE, Notebook, until

PAD = """
import numpy as np

from utils.drawing import Drawing
from utils.explore import Explorer

start = np.zeros((28, 28), np.uint8)
start[4:24, 13:15] = 255


def mirror(drawing):
    global seen
    seen = drawing.copy()
    return np.hstack([drawing, drawing[:, ::-1]])


Explorer(mirror, [Drawing("drawing", start, help="Draw.")], "Pad", "a drawing mirrored").show()
"""
SEEN = "print(int(seen.sum()), int((seen[14] > 128).sum()), int((seen[:, 14] > 128).sum()))"


def told(notebook: Notebook) -> tuple[int, int, int]:
    """Ink in all, and lit pixels in the middle row and column, as the kernel has them."""
    notebook.run_cell(1)
    return tuple(map(int, notebook.outputs(1)[0]["text"].split()))


def test_mouse_and_keyboard_draw(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook([PAD, SEEN])
    notebook.run_all()
    explorer, canvas = notebook.explorer, notebook.explorer.locator("canvas")
    assert not explorer.locator("textarea").is_visible()
    first = notebook.image_bytes(explorer)
    assert told(notebook)[1:] == (2, 20), "it begins with the stroke that stands there"

    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box["width"] == box["height"] > 200
    middle = box["y"] + box["height"] / 2
    notebook.page.mouse.move(box["x"] + 20, middle)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + box["width"] - 20, middle, steps=8)
    during = notebook.other_image(explorer, first)  # before the button is let go
    notebook.page.mouse.up()
    notebook.page.mouse.move(box["x"] + 30, box["y"] + 20)  # draws no more
    until(lambda: told(notebook)[1], lambda lit: lit >= 22, PATIENCE, "the stroke in the kernel")
    notebook.screenshot("pad", explorer)
    assert during != first

    explorer.get_by_role("button", name="Clear").click()
    until(lambda: told(notebook)[0], (0).__eq__, PATIENCE, "an empty picture")
    canvas.focus()
    notebook.page.keyboard.press("Space")
    for _ in range(6):
        notebook.page.keyboard.press("Shift+ArrowDown")
    until(lambda: told(notebook)[2], lambda lit: 7 <= lit <= 10, PATIENCE, "a stroke by keyboard")
    canvas.focus()  # running a cell took the keyboard away
    notebook.page.keyboard.press("Delete")
    until(lambda: told(notebook)[0], (0).__eq__, PATIENCE, "an empty picture again")
    canvas.focus()
    notebook.page.keyboard.press("Tab")
    assert notebook.page.evaluate("() => document.activeElement.tagName") != "CANVAS"
    assert notebook.complaints == [] and notebook.errors() == []
