"""The panel on a real JupyterLab: what a learner does with it, on purpose and by mistake."""

import base64
import re
import time
from collections.abc import Callable

import pytest
from course_lab import PATIENCE, Notebook, until

TOY = """
import time

import numpy as np

from utils.controls import Choice, Slider, Toggle
from utils.explore import Explorer
from utils.panel import Panel


def waves(phase, size=48):
    y, x = np.mgrid[:size, : size * 2] / 6
    return (np.sin(x + phase) * np.cos(y) + 1) / 2


def train(settings, report):
    rng = np.random.default_rng(settings.seed)
    for step in range(1, settings.steps + 1):
        time.sleep(0.002)
        if settings.mistake and step == 30:
            raise ValueError("shapes (3,) and <4> do not fit")
        loss = 2 * np.exp(-step * settings.learning_rate * 4) + 0.3 + 0.1 * rng.random()
        if not report(step, {"loss": loss, "kl": 1 / step}, lambda: waves(step / 50)):
            break
    return {"step": step}
"""

PANEL = """
panel = Panel(
    {"torch": train, "tensorflow": train, "keras": train},
    [
        Slider("steps", 20000, 10, 20000, log=True, help="How often the weights are updated."),
        Slider("learning_rate", 0.001, 1e-5, 1.0, log=True, help="How far each update goes."),
        Choice("batch_size", 64, [32, 64, 128], help="Images in a step."),
        Toggle("mistake", False, label="Make a mistake", help="Raise an error at step 30."),
    ],
    title="Train a toy model",
    summary=lambda model, settings: {"test score": model["step"] / 1000},
)
panel.show()
"""

EXPLORER = """
Explorer(
    lambda phase, size: waves(phase, size),
    [Slider("phase", 0.0, -3.0, 3.0), Slider("size", 48, 16, 96, help="Height of the picture.")],
    title="Walk through waves",
    alt="Waves that move to the left as the phase grows.",
).show()
"""

Open = Callable[..., Notebook]


def short(panel: str, steps: int) -> str:
    """The panel's cell with fewer steps by default."""
    return panel.replace('Slider("steps", 20000', f'Slider("steps", {steps}')


def test_train_slider_drop_down_stop(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, PANEL])
    notebook.run_all()
    assert notebook.errors() == []
    assert notebook.state() == "idle" and notebook.button("Stop").is_disabled()
    notebook.screenshot("1-idle", notebook.panel)
    notebook.button("Train").click()
    notebook.until_step_beyond(notebook.until_step_beyond(50))
    notebook.screenshot("2-running", notebook.panel)

    # Settings may be changed meanwhile: they count for the next run.
    notebook.panel.get_by_label("Framework").select_option("Keras")
    notebook.nudge("Learning rate", "ArrowRight", 20)

    notebook.button("Pause").click()
    notebook.until_state("paused")
    held = notebook.settled_step()
    time.sleep(0.5)
    assert notebook.step() == held
    notebook.button("Continue").click()
    notebook.until_step_beyond(held)

    began = time.monotonic()
    notebook.button("Stop").click()
    notebook.until_state("stopped")
    assert time.monotonic() - began < 10, "Stop is heard within a step or two"
    assert re.search(r"PyTorch\s+defaults", notebook.rows()[0])

    notebook.nudge("Steps", "ArrowLeft", 30)
    notebook.button("Train").click()
    notebook.until_state("done")
    assert notebook.data("run") == "2"
    # The table is a widget of its own, and reaches the page after the state does.
    until(lambda: notebook.rows()[0], lambda row: row.endswith("done"), PATIENCE, "the table")
    first, second = reversed(notebook.rows())
    assert first.endswith("stopped")
    assert re.search(r"Keras\s+steps 631, learning rate 0.01\s", second)
    legend = notebook.panel.locator(".cp-legend").inner_text()
    assert "2 Keras" in legend and "1 PyTorch" in legend
    assert notebook.panel.locator("svg.cp-chart polyline").count() == 2
    assert "0.631" in second, "the table shows what summary() measured"
    caption = notebook.panel.get_by_text("Samples: run 2, Keras, step 631")
    caption.wait_for()
    assert notebook.image_bytes(notebook.panel).startswith(b"\x89PNG")
    notebook.panel.get_by_label("Framework").select_option("TensorFlow")
    notebook.button("Train").click()
    until(lambda: len(notebook.rows()), (3).__eq__, PATIENCE, "the third run")
    notebook.until_state("done")
    notebook.screenshot("3-compare", notebook.panel)
    notebook.theme(dark=True)
    notebook.screenshot("4-dark", notebook.panel)
    notebook.theme(dark=False)
    assert notebook.complaints == []


@pytest.mark.parametrize("width", [1000, 1500])
def test_the_panel_fits_its_page(open_notebook: Open, width: int) -> None:
    notebook = open_notebook([TOY, short(PANEL, 300), EXPLORER], width=width)
    notebook.command("application:toggle-left-area")
    notebook.run_all()
    notebook.button("Train").click()
    notebook.until_state("done")
    notebook.screenshot("panel", notebook.panel)
    notebook.screenshot("explorer", notebook.explorer)
    for box in (notebook.panel, notebook.explorer):
        inside, outside = box.evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert inside <= outside, "nothing needs scrolling sideways"


def test_a_double_click_trains_once(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, short(PANEL, 400)])
    notebook.run_all()
    notebook.button("Train").dblclick()
    notebook.until_state("done")
    time.sleep(0.5)
    assert notebook.state() == "done" and notebook.data("run") == "1"
    assert len(notebook.rows()) == 1


def test_an_error_in_training_is_shown_in_words(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, short(PANEL, 400)])
    notebook.run_all()
    notebook.panel.get_by_label("Make a mistake").check()
    notebook.button("Train").click()
    notebook.until_state("failed")
    alert = notebook.panel.get_by_role("alert")
    assert "ValueError: shapes (3,) and <4> do not fit" in alert.inner_text()
    assert not alert.locator("pre").is_visible(), "the traceback is folded away"
    alert.locator("summary").click()
    assert "raise ValueError" in alert.locator("pre").inner_text()
    notebook.screenshot("panel", notebook.panel)
    assert notebook.errors() == []
    assert re.search(r"PyTorch\s+make a mistake yes\s.*failed$", notebook.rows()[0])

    notebook.panel.get_by_label("Make a mistake").uncheck()
    notebook.button("Train").click()
    notebook.until_state("done")
    assert alert.count() == 0


def test_an_interrupt_does_no_harm(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, PANEL])
    notebook.run_all()
    notebook.button("Train").click()
    before = notebook.until_step_beyond(20)
    notebook.interrupt()
    notebook.until_step_beyond(before + 200)
    assert notebook.state() == "running"
    notebook.button("Stop").click()
    notebook.until_state("stopped")
    assert notebook.errors() == []


def test_an_interrupted_wait_leaves_the_run_to_the_panel(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, PANEL, "panel.wait()"])
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.button("Train").click()
    notebook.until_step_beyond(20)
    notebook.start_cell(2)
    status = notebook.panel.locator(".cp-status")
    until(status.inner_text, lambda text: "A cell waits" in text, PATIENCE, "the word on waiting")
    before = notebook.step()
    notebook.interrupt()
    until(notebook.errors, bool, PATIENCE, "the interrupted cell")
    assert notebook.errors() == ["KeyboardInterrupt: "]
    notebook.until_step_beyond(before + 50)
    assert "the run goes on" in status.inner_text()
    notebook.button("Stop").click()
    notebook.until_state("stopped")


def test_running_the_cell_again_stops_the_old_run(open_notebook: Open) -> None:
    threads = (
        "import threading\n"
        "print([t.name for t in threading.enumerate()].count('course-panel'), 'training')"
    )
    notebook = open_notebook([TOY, PANEL, threads])
    notebook.run_all()
    notebook.button("Train").click()
    notebook.until_step_beyond(200)
    notebook.run_cell(1)
    assert notebook.page.locator(".course-trainer").count() == 1
    assert notebook.state() == "idle" and notebook.rows() == []
    notebook.button("Train").click()
    notebook.until_step_beyond(20)
    assert notebook.data("run") == "1"

    def training() -> str:
        notebook.run_cell(2)
        return notebook.outputs(2)[0]["text"]

    assert training() == "1 training\n", "the old run is over, not merely out of sight"
    notebook.button("Stop").click()
    notebook.until_state("stopped")
    until(training, "0 training\n".__eq__, PATIENCE, "the end of the thread")
    assert notebook.errors() == []


def test_a_reloaded_page_finds_the_run(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, PANEL])
    notebook.run_all()
    notebook.button("Train").click()
    before = notebook.until_step_beyond(20)
    notebook.save()
    notebook.reload()
    notebook.until_step_beyond(before + 100)
    assert notebook.state() == "running"
    notebook.button("Stop").click()
    notebook.until_state("stopped")
    assert len(notebook.rows()) == 1


def test_the_keyboard_is_enough(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, PANEL])
    press = notebook.page.keyboard.press
    notebook.run_all()
    notebook.command("notebook:enter-command-mode")

    notebook.tab_to("Framework")
    for key in ("Space", "ArrowDown", "Enter"):  # open the menu, move, choose
        press(key)
    assert notebook.focused() == "Framework"
    notebook.tab_to("Steps")
    notebook.tab_to("Learning rate")
    press("ArrowRight")
    notebook.tab_to("Batch size")
    notebook.tab_to("Make a mistake")
    notebook.tab_to("Train")
    assert notebook.focus_ring(), "the button with the keyboard is marked"
    press("Enter")
    notebook.until_step_beyond(20)
    assert notebook.data("run") == "1"
    press("Tab")
    assert notebook.focused() == "Pause"
    press("Space")
    notebook.until_state("paused")
    assert notebook.focused() == "Continue", "the keyboard stays where it was"
    press("Space")
    notebook.until_state("running")
    press("Tab")
    assert notebook.focused() == "Stop"
    press("Space")
    notebook.until_state("stopped")
    assert re.search(r"TensorFlow\s+learning rate 0.00112\s", notebook.rows()[0])
    # The page is still the same one: a step back from Stop is Reset's and Train's neighbourhood.
    notebook.tab_to("Train", back=True)
    press("Space")
    until(lambda: notebook.data("run"), "2".__eq__, PATIENCE, "the second run")
    notebook.tab_to("Stop")
    press("Space")
    notebook.until_state("stopped")
    notebook.tab_to("Loss axis")
    for key in ("Space", "ArrowDown", "ArrowDown", "Enter"):
        press(key)
    axis = notebook.panel.locator("svg.cp-chart text", has_text="(log)")
    axis.wait_for()
    assert notebook.complaints == []


def test_an_explorer_follows_mouse_and_keyboard(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, EXPLORER])
    notebook.run_all()
    explorer = notebook.explorer
    first = notebook.image_bytes(explorer)
    notebook.nudge("Phase", "ArrowRight", 3, explorer)
    second = notebook.other_image(explorer, first)
    handle = explorer.get_by_role("slider").first
    box = handle.bounding_box()
    notebook.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2, steps=5)
    during = notebook.other_image(explorer, second)  # before the button is let go
    assert len({first, second, during}) == 3
    notebook.page.mouse.up()
    assert "Waves that move" in explorer.inner_text()
    assert notebook.complaints == []


def test_the_file_keeps_a_picture_and_no_widget_state(open_notebook: Open) -> None:
    notebook = open_notebook([TOY, short(PANEL, 300), EXPLORER])
    notebook.run_all()
    notebook.button("Train").click()
    notebook.until_state("done")
    stored = until(
        lambda: [o for o in notebook.outputs(1) if "image/png" in o.get("data", {})],
        bool,
        PATIENCE,
        "the picture in the file",
    )
    assert "PyTorch (defaults): done at step 300" in stored[0]["data"]["text/plain"]
    assert base64.b64decode(stored[0]["data"]["image/png"]).startswith(b"\x89PNG")
    # The picture is for the file: on the page the live panel stands in its place.
    assert notebook.page.locator(".jp-RenderedImage img").first.is_hidden()
    assert "image/png" in notebook.outputs(2)[0]["data"]
    saved = notebook.save()
    assert "widgets" not in saved.metadata
    assert notebook.panel.locator("svg.cp-chart").is_visible()
