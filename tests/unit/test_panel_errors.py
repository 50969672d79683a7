"""What goes wrong is said in words, in the panel; nothing is swallowed."""

import math
from typing import Any

import numpy as np
import pytest
from panel_toys import PATIENCE, descend, make_panel

from utils import CourseError
from utils.panel import markup
from utils.panel.reports import check_logs


def failed(train: Any, **options: Any) -> Any:
    """A panel whose run has failed."""
    panel = make_panel(train, **options)
    panel.view.buttons["train"].click()
    assert panel.wait(PATIENCE) == "failed"
    return panel


def shown(panel: Any) -> str:
    """What the panel's error box holds."""
    return panel.view._error.value


def test_an_error_in_training_is_shown_with_a_folded_traceback() -> None:
    def train(settings: Any, report: Any) -> None:
        raise ValueError("shapes <3> & (4,) do not fit")

    panel = failed(train)
    assert panel.runs[0].message == "ValueError: shapes <3> & (4,) do not fit"
    assert "ValueError: shapes &lt;3&gt; &amp; (4,) do not fit" in shown(panel)
    assert "<3>" not in shown(panel)
    assert "<details>" in shown(panel) and 'raise ValueError("' not in shown(panel)
    assert "raise ValueError(&quot;shapes" in shown(panel)
    assert "engine.py" not in panel.runs[0].trace
    assert "Failed: run 1, PyTorch." in panel.view._status.value
    assert not panel.view.buttons["train"].disabled and panel.view.buttons["stop"].disabled


def test_a_course_error_is_one_sentence_without_a_traceback() -> None:
    def train(settings: Any, report: Any) -> None:
        raise CourseError("The batch is larger than the data: choose a smaller one.")

    panel = failed(train)
    assert panel.runs[0].message.startswith("The batch is larger")
    assert "The batch is larger than the data" in shown(panel)
    assert "details" not in shown(panel) and "CourseError" not in shown(panel)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_loss_that_is_not_finite_fails_in_words_and_names_a_remedy(value: float) -> None:
    def train(settings: Any, report: Any) -> dict:
        for step in range(1, 10):
            report(step, {"loss": value if step == 4 else 1.0})
        return {}

    panel = make_panel(train)
    panel.start(learning_rate=2.0)
    assert panel.wait(PATIENCE) == "failed"
    became = "NaN" if value != value else "infinite"
    expected = f"The loss became {became} at step 4: lower the learning rate (it was 2) and"
    assert panel.runs[0].message.startswith(expected)
    assert panel.runs[0].step == 3
    assert expected in shown(panel)


def test_swallowing_the_panels_error_does_not_save_the_run() -> None:
    def train(settings: Any, report: Any) -> dict:
        try:
            report(1, {"loss": math.nan})
        except CourseError:
            pass
        return {}

    panel = failed(train)
    assert "became NaN" in panel.runs[0].message
    with pytest.raises(CourseError):
        panel.model()


def test_a_run_that_failed_keeps_the_model_before_it() -> None:
    def train(settings: Any, report: Any) -> dict:
        if settings.learning_rate > 1:
            raise RuntimeError("diverged")
        return descend(settings, report)

    panel = make_panel(train)
    panel.start()
    panel.wait(PATIENCE)
    panel.start(learning_rate=2.0)
    assert panel.wait(PATIENCE) == "failed"
    assert panel.model()["step"] == 20


@pytest.mark.parametrize(
    ("step", "logs", "words"),
    [
        (0.5, {"loss": 1}, "whole numbers"),
        (True, {"loss": 1}, "whole numbers"),
        (3, {"loss": 1}, "step 3 after step 4"),
        (5, {}, "dictionary of numbers"),
        (5, 0.3, "dictionary of numbers"),
        (5, {"loss": "low"}, "not one number"),
        (5, {"loss": np.zeros(3)}, "not one number"),
        (5, {"loss": None}, "not one number"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused(step: Any, logs: Any, words: str) -> None:
    with pytest.raises(CourseError, match=words):
        check_logs(step, logs, last=4)


def test_arrays_of_one_number_are_numbers() -> None:
    assert check_logs(np.int64(5), {"loss": np.float32(0.5)}, 4) == (5, {"loss": 0.5})
    assert check_logs(4, {"loss": np.array(0.5)}, 4) == (4, {"loss": 0.5})


def test_a_forgotten_return_is_named() -> None:
    panel = failed(lambda settings, report: None)
    assert "PyTorch returned no model: end it with `return model`" in shown(panel)


@pytest.mark.parametrize("results", [7, {"score": "high"}, None])
def test_a_summary_that_makes_no_sense_is_named_and_the_model_kept(results: Any) -> None:
    panel = failed(descend, summary=lambda model, settings: results)
    assert "summary() must return a dictionary of numbers" in shown(panel)
    assert panel.model()["step"] == 20


@pytest.mark.parametrize("picture", [np.full((3, 3), np.nan), "no image"])
def test_a_preview_that_fails_fails_the_run(picture: Any) -> None:
    def train(settings: Any, report: Any) -> dict:
        report(1, {"loss": 1.0}, lambda: picture)
        return {}

    failed(train)


@pytest.mark.parametrize("rate", [0, 0.0, math.nan, -1, 99, "fast"])
def test_a_bad_learning_rate_starts_nothing_and_is_shown(rate: Any) -> None:
    panel = make_panel()
    with pytest.raises(CourseError, match="Learning rate is"):
        panel.start(learning_rate=rate)
    assert panel.state == "idle" and panel.runs == []
    assert "Learning rate is" in shown(panel)
    panel.start()
    assert panel.wait(PATIENCE) == "done" and shown(panel) == ""


def test_a_bad_value_in_a_widget_is_shown_by_the_button() -> None:
    panel = make_panel()
    panel.view.controls["learning_rate"].min = -400  # as a front end gone astray might
    panel.view.controls["learning_rate"].set_trait("value", 0.0)
    panel.view.buttons["train"].click()
    assert panel.state == "idle" and "so the model would never change" in shown(panel)


def test_unknown_names_are_refused() -> None:
    panel = make_panel()
    with pytest.raises(CourseError, match="'keras' is unknown: choose one of torch"):
        panel.start("keras")
    with pytest.raises(CourseError, match="no setting 'momentum'"):
        panel.start(momentum=0.9)


def test_even_a_system_exit_ends_in_words() -> None:
    def train(settings: Any, report: Any) -> None:
        raise SystemExit(3)

    assert "SystemExit: 3" in shown(failed(train))


def test_words_of_the_learner_are_escaped_everywhere() -> None:
    nasty = '<script>alert("x")</script>'

    def train(settings: Any, report: Any) -> dict:
        report(1, {nasty: 1.0})
        return {}

    panel = make_panel(train, title=nasty, summary=lambda model, settings: {nasty: 1.0})
    panel.start()
    panel.wait(PATIENCE)
    view = panel.view
    page = [view._status, view._chart, view._table, view._error, view._progress, view._caption]
    assert all("<script" not in widget.value for widget in page)
    assert "<script" not in markup.title(nasty) and "<script" not in markup.control_help(nasty)
    assert "&lt;script&gt;" in view._table.value and "&lt;script&gt;" in view._chart.value
