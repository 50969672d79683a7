"""What the panel's widgets show and do, without a browser: buttons, table, progress, samples."""

import re
from typing import Any

import numpy as np
import pytest
from panel_toys import CONTROLS, PATIENCE, Gated, descend, make_panel, until

from utils.controls import Slider
from utils.panel import markup


def buttons(panel: Any) -> dict[str, bool]:
    """Which buttons can be pressed, by what stands on them."""
    return {button.description: not button.disabled for button in panel.view.buttons.values()}


def text(html: str) -> list[str]:
    """The words of every table cell."""
    return re.findall(r"<t[dh][^>]*>(?:<svg.*?</svg>)?([^<]*)</t[dh]>", html)


def test_buttons_follow_the_state() -> None:
    train = Gated()
    panel = make_panel(train)
    press = {name: button.click for name, button in panel.view.buttons.items()}
    ready = {"Train": True, "Pause": False, "Stop": False, "Reset": True}
    assert buttons(panel) == ready
    press["train"]()
    until(lambda: not panel.view.buttons["stop"].disabled)
    assert buttons(panel) == {"Train": False, "Pause": True, "Stop": True, "Reset": True}
    press["train"]()
    press["pause"]()
    assert panel.state == "paused"
    assert buttons(panel) == {"Train": False, "Continue": True, "Stop": True, "Reset": True}
    press["pause"]()
    assert panel.state == "running" and panel.view.buttons["pause"].description == "Pause"
    press["stop"]()
    assert buttons(panel) == {"Train": False, "Pause": False, "Stop": False, "Reset": False}
    press["stop"]()
    train.let(1)
    assert panel.wait(PATIENCE) == "stopped"
    assert buttons(panel) == ready and len(panel.runs) == 1
    press["reset"]()
    assert panel.state == "idle" and panel.view._table.value == ""


def test_the_table_compares_runs() -> None:
    panel = make_panel(
        {"torch": descend, "keras": descend},
        summary=lambda model, settings: {"score": model["step"] * settings.learning_rate},
    )
    panel.start()
    panel.wait(PATIENCE)
    panel.start("keras", learning_rate=0.5, steps=4)
    panel.wait(PATIENCE)
    words = text(panel.view._table.value)
    assert words[:8] == [
        "Run",
        "Framework",
        "Settings",
        "Last loss",
        "Lowest loss",
        "score",
        "Time",
        "Status",
    ]
    assert words[8:14] == ["2", "Keras", "steps 4, learning rate 0.5", "0.2353", "0.2353", "2"]
    assert words[16:22] == ["1", "PyTorch", "defaults", "1.08", "1.08", "0.02"]
    assert words[15] == words[23] == "done"
    assert re.fullmatch(r"\d+\.\d s", words[14])
    assert 'data-run="2" data-status="done"' in panel.view._table.value


def test_results_show_in_legend_status_and_numbers() -> None:
    panel = make_panel()
    panel.start(learning_rate=0.01)
    panel.wait(PATIENCE)
    view = panel.view
    assert 'role="status"' in view._status.value and "Done: run 1, PyTorch." in view._status.value
    assert "loss <b>0.9187</b> (last) · <b>0.9187</b> (lowest, step 20)" in view._chart.value
    assert "kl <b>0.05</b>" in view._chart.value
    assert "1 PyTorch, learning rate 0.01 (this run)" in view._chart.value
    assert 'aria-valuenow="100"' in view._progress.value
    assert "step 20 of 20" in view._progress.value and "left" not in view._progress.value


def test_samples_are_shown_and_those_of_the_finished_model_last() -> None:
    def train(settings: Any, report: Any) -> dict:
        model = {"grey": 0.0}
        for step in range(1, 6):
            model["grey"] = step / 10
            report(step, {"loss": 1.0}, lambda: np.full((4, 8), model["grey"]))
        return model

    panel = make_panel(train)
    assert panel.view._samples.layout.display == "none"
    panel.start()
    panel.wait(PATIENCE)
    assert panel.view._samples.layout.display is None
    assert bytes(panel.view._image.value).startswith(b"\x89PNG")
    assert "Samples: run 1, PyTorch, step 5" in panel.view._caption.value
    assert panel.runs[0].picture.tolist() == [[128] * 8] * 4
    panel.reset()
    assert panel.view._samples.layout.display == "none"


def test_a_preview_is_only_made_when_a_picture_is_due() -> None:
    calls = []

    def train(settings: Any, report: Any) -> dict:
        for step in range(1, 2001):
            report(step, {"loss": 1.0}, lambda step=step: calls.append(step) or np.zeros((2, 2)))
        return {}

    panel = make_panel(train)
    panel.start(steps=2000)
    panel.wait(PATIENCE)
    assert calls[0] == 1 and calls[-1] == 2000 and len(calls) < 200


def test_one_framework_needs_no_drop_down() -> None:
    lone, pair = make_panel(), make_panel({"torch": descend, "keras": descend})
    assert not _holds(lone.view.root, lone.view.framework)
    assert _holds(pair.view.root, pair.view.framework)
    assert pair.view.framework.options == (("PyTorch", "torch"), ("Keras", "keras"))
    pair.view.framework.value = "keras"
    pair.start()
    pair.wait(PATIENCE)
    assert pair.runs[0].framework == "keras"


def _holds(box: Any, widget: Any) -> bool:
    return box is widget or any(_holds(child, widget) for child in getattr(box, "children", ()))


def test_every_control_has_a_label_and_its_help() -> None:
    panel = make_panel()
    for control in CONTROLS:
        assert panel.view.controls[control.name].description == control.title
    assert any("How far each step goes." in html for html in _texts(panel.view.root))


def _texts(box: Any) -> list[str]:
    own = [box.value] if type(box).__name__ == "HTML" else []
    return own + [t for child in getattr(box, "children", ()) for t in _texts(child)]


def test_reset_puts_the_controls_back() -> None:
    panel = make_panel({"torch": descend, "keras": descend})
    panel.view.controls["batch_size"].value = 32
    panel.view.framework.value = "keras"
    panel.view.buttons["reset"].click()
    assert panel.view.controls["batch_size"].value == 64
    assert panel.view.framework.value == "torch"


def test_another_axis_redraws_at_once() -> None:
    panel = make_panel()
    panel.start()
    panel.wait(PATIENCE)
    linear = panel.view._chart.value
    panel.view.axis.value = "log"
    assert panel.view._chart.value != linear and "loss (log)" in panel.view._chart.value


def test_time_left_comes_from_the_latest_steps() -> None:
    from collections import deque

    panel = make_panel()
    panel.view._marks = deque([(10.0, 100), (12.0, 300)])
    assert panel.view._speed() == 100
    run = panel._engine
    assert run.run is None and markup.progress("idle", None, 0, None) == ""
    train = Gated()
    slow = make_panel(train, controls=[Slider("steps", 1000, 1, 1000)])
    slow.start()
    train.let(300)
    until(lambda: len(slow.runs[0].history) == 300)
    html = markup.progress("running", slow.runs[0], 12.0, 100.0)
    assert "step 300 of 1,000 · 12 s · 100 steps/s · 7.0 s left" in html
    assert 'role="progressbar"' in html and 'aria-valuenow="30"' in html
    slow.stop()
    train.let(1)
    slow.wait(PATIENCE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (4.25, "4.2 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert markup.duration(seconds) == words


def test_only_widgets_and_traits_that_both_versions_share() -> None:
    """What ipywidgets 7.7 has not: `tooltip` on sliders, `Layout.border_top`, TagsInput …"""
    panel = make_panel({"torch": descend, "keras": descend})
    kinds = {type(widget).__name__ for widget in _family(panel.view.root)}
    shared = {"Box", "VBox", "HTML", "Image", "Button", "Dropdown", "Checkbox"}
    assert kinds <= shared | {"IntSlider", "FloatSlider", "FloatLogSlider"}


def _family(box: Any) -> list[Any]:
    return [box, *(w for child in getattr(box, "children", ()) for w in _family(child))]
