"""The box pad on a real page: a mouse, a keyboard, and the boxes that reach the kernel."""

from collections.abc import Callable

from course_lab import PATIENCE, Notebook, until

PAD = """
import numpy as np

from utils.explore_boxes import iou_explorer

start = np.float32([[10, 10, 40, 40], [50, 50, 80, 80]])
image = np.full((96, 96, 3), 200, np.uint8)
explorer = iou_explorer(image, start)
explorer.show()
"""
SEEN = "print(*explorer.view.values()['boxes'].ravel().round().astype(int))"


def told(notebook: Notebook) -> list[int]:
    """The corners of both boxes, as the kernel has them."""
    notebook.run_cell(1)
    return list(map(int, notebook.outputs(1)[0]["text"].split()))


def test_mouse_and_keyboard_move_boxes(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook([PAD, SEEN])
    notebook.run_all()
    explorer, canvas = notebook.explorer, notebook.explorer.locator("canvas")
    assert not explorer.locator("textarea").is_visible()
    first = notebook.image_bytes(explorer)
    assert told(notebook) == [10, 10, 40, 40, 50, 50, 80, 80]

    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    scale = box["width"] / 96

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + scale * x, box["y"] + scale * y

    notebook.page.mouse.move(*at(25, 25))
    notebook.page.mouse.down()
    notebook.page.mouse.move(*at(45, 35), steps=5)
    during = notebook.other_image(explorer, first)  # before the button is let go
    notebook.page.mouse.up()
    moved = [30, 20, 60, 50, 50, 50, 80, 80]
    until(lambda: told(notebook), moved.__eq__, PATIENCE, "the first box at its new place")
    assert during != first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    notebook.page.mouse.move(*at(80, 80))
    notebook.page.mouse.down()
    notebook.page.mouse.move(*at(70, 90), steps=5)
    notebook.page.mouse.up()
    resized = [30, 20, 60, 50, 50, 50, 70, 90]
    until(lambda: told(notebook), resized.__eq__, PATIENCE, "the second box with a corner moved")
    notebook.screenshot("boxes", explorer)

    canvas.focus()
    notebook.page.keyboard.press("Space")
    for key in ("ArrowLeft", "ArrowLeft", "Shift+ArrowDown"):
        notebook.page.keyboard.press(key)
    by_keys = [28, 20, 58, 51, 50, 50, 70, 90]
    until(lambda: told(notebook), by_keys.__eq__, PATIENCE, "the first box by keyboard")
    canvas.focus()  # running a cell took the keyboard away
    notebook.page.keyboard.press("Tab")
    assert notebook.page.evaluate("() => document.activeElement.tagName") != "CANVAS"
    explorer.get_by_role("button", name="Reset").click()
    start = [10, 10, 40, 40, 50, 50, 80, 80]
    until(lambda: told(notebook), start.__eq__, PATIENCE, "the boxes as they were")
    assert notebook.complaints == [] and notebook.errors() == []
