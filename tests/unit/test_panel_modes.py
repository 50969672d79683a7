"""Where a panel trains: in a thread, in the main thread, without a front end, in plain code."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from panel_toys import CONTROLS, PATIENCE, Gated, descend, make_panel, until

from utils import CourseError, panel, runtime
from utils.panel import pace


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No front end."""
    monkeypatch.setenv("COURSE_HEADLESS", "1")


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is displayed, as bundles."""
    shown: list[dict] = []

    def display(bundle: dict, **options: Any) -> SimpleNamespace:
        shown.append(bundle)
        return SimpleNamespace(update=lambda new, **more: shown.append(new))

    monkeypatch.setattr("IPython.display.display", display)
    return shown


VIEW = "application/vnd.jupyter.widget-view+json"


# -- without a front end -------------------------------------------------------------------------


def test_headless_trains_every_framework_with_the_defaults(
    headless: None, displayed: list[dict], capsys: pytest.CaptureFixture
) -> None:
    trained = []

    def train(settings: Any, report: Any) -> dict:
        trained.append((settings.framework, settings.steps, threading.current_thread()))
        return descend(settings, report)

    toy = make_panel(dict.fromkeys(("torch", "tensorflow", "keras"), train), title="Digits")
    toy.show()
    main = threading.main_thread()
    assert trained == [("torch", 20, main), ("tensorflow", 20, main), ("keras", 20, main)]
    assert [run.status for run in toy.runs] == ["done"] * 3
    (bundle,) = displayed
    assert VIEW not in bundle and bundle["image/png"].startswith("iVBOR")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    assert printed[0].startswith("PyTorch (defaults): done at step 20 of 20 in ")
    assert printed[3].startswith("Figure: Digits: loss against step, run 3, Keras")
    assert toy.model("keras")["step"] == 20


def test_few_steps_are_for_nobodys_eyes_only(
    headless: None, displayed: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_STEPS", "3")
    toy = make_panel(descend)
    toy.show()
    assert toy.model()["step"] == 3
    monkeypatch.delenv("COURSE_HEADLESS")
    pressed = make_panel(descend)
    pressed.start()
    assert pressed.wait() == "done" and pressed.model()["step"] == 20


def test_headless_raises_what_went_wrong(headless: None, displayed: list[dict]) -> None:
    def broken(settings: Any, report: Any) -> None:
        raise ValueError("not swallowed")

    toy = make_panel({"torch": descend, "keras": broken})
    with pytest.raises(ValueError, match="not swallowed"):
        toy.show()
    assert [run.status for run in toy.runs] == ["done", "failed"]
    with pytest.raises(CourseError, match="became NaN at step 1"):
        make_panel(lambda settings, report: report(1, {"loss": float("nan")})).show()
    with pytest.raises(KeyboardInterrupt):
        make_panel(_interrupted).show()


def _interrupted(settings: Any, report: Any) -> None:
    raise KeyboardInterrupt


def test_headless_builds_no_widget() -> None:
    """Papermill would write widgets' state into the file."""
    code = (
        "import sys; sys.path.insert(0, 'tests/unit')\n"
        "from panel_toys import make_panel\n"
        "make_panel().show()\n"
        "print('widgets', 'ipywidgets' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "COURSE_HEADLESS": "1", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "widgets False" in done.stdout, done.stdout + done.stderr


# -- in the main thread --------------------------------------------------------------------------


def test_inline_trains_in_the_calling_thread_and_draws_meanwhile() -> None:
    seen = []

    def train(settings: Any, report: Any) -> dict:
        view = toy.view
        report(1, {"loss": 1.0})
        seen.append((threading.current_thread(), 'data-step="1"' in view._chart.value))
        seen.append((view.buttons["stop"].disabled, "To stop here" in view._status.value))
        return {"step": 1}

    toy = make_panel(train, mode="inline")
    toy.view.buttons["train"].click()
    assert toy.state == "done" and toy.model() == {"step": 1}
    assert seen == [(threading.main_thread(), True), (True, True)]


def test_a_click_that_waited_while_training_ran_inline_starts_nothing() -> None:
    toy = make_panel(mode="inline")
    toy.view.buttons["train"].click()
    toy.view.buttons["train"].click()
    assert len(toy.runs) == 1
    time.sleep(0.35)
    toy.view.buttons["train"].click()
    assert len(toy.runs) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupt_is_the_stop_button_inline() -> None:
    def train(settings: Any, report: Any) -> dict:
        for step in range(1, 100):
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            if not report(step, {"loss": 1.0}):
                break
        return {"step": step}

    toy = make_panel(train, mode="inline")
    before = signal.getsignal(signal.SIGINT)
    toy.start()
    assert toy.state == "stopped" and toy.model() == {"step": 3}
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_a_second_interrupt_breaks_off_inline() -> None:
    def train(settings: Any, report: Any) -> dict:
        report(1, {"loss": 1.0})
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(PATIENCE)
        return {}

    toy = make_panel(train, mode="inline")
    toy.start()
    assert toy.state == "stopped" and "left no model" in toy.view._error.value
    with pytest.raises(CourseError):
        toy.model()
    toy._engine._train["torch"] = descend
    toy.start()
    assert toy.state == "done"


def test_colab_trains_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "in_colab", lambda: True)
    toy = make_panel()
    toy.start()
    assert toy.state == "done"


# -- running a cell again, waiting ---------------------------------------------------------------


def test_running_the_cell_again_stops_the_old_run_and_waits_for_it() -> None:
    old_train, new_train = Gated(), Gated()
    old = make_panel(old_train, title="the same")
    old.start()
    old_train.let(2)
    until(lambda: len(old_train.answers) == 2)
    widgets = [old.view.root, *old.view.buttons.values()]
    new = make_panel(new_train, title="the same")
    assert old.state == "stopping" and old.view is None
    assert all(widget.comm is None or widget.comm._closed for widget in widgets)
    new_train.let(20)
    new.start()
    until(lambda: "earlier run" in new.view._status.value, "the word on the earlier run")
    assert new_train.threads == [] and new.state == "running"
    old_train.let(1)
    assert new.wait(PATIENCE) == "done"
    assert old.state == "stopped" and old.model() == {"step": 3}


def test_stop_is_heard_while_a_run_waits_for_its_turn() -> None:
    old_train, new_train = Gated(), Gated()
    old = make_panel(old_train, title="the same again")
    old.start()
    new = make_panel(new_train, title="the same again")
    new.start()
    new.stop()
    assert new.wait(PATIENCE) == "stopped" and new_train.threads == []
    old_train.let(1)
    old.wait(PATIENCE)


def test_panels_of_other_titles_are_left_alone() -> None:
    train = Gated()
    toy = make_panel(train)
    toy.start()
    make_panel()
    assert toy.state == "running" and toy.view is not None
    train.let(20)
    assert toy.wait(PATIENCE) == "done"


def test_an_interrupted_wait_leaves_the_run_going(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Gated()
    toy = make_panel(train)
    toy.start()
    said = []

    def interrupt(timeout: float) -> bool:
        said.append(toy.view._status.value)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(toy._engine._idle, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            toy.wait()
    assert "A cell waits for this run" in said[0]
    assert toy.state == "running" and "the run goes on" in toy.view._status.value
    train.let(20)
    assert toy.wait(PATIENCE) == "done"
    assert "interrupted" not in toy.view._status.value


def test_waiting_takes_no_error_away() -> None:
    toy = make_panel(_interrupted)
    toy.start()
    assert toy.wait(PATIENCE) == "stopped"
    assert toy.wait() == "stopped" and "left no model" in toy.view._error.value


# -- what the file keeps -------------------------------------------------------------------------


def test_the_file_keeps_a_picture_of_how_things_stand(displayed: list[dict]) -> None:
    toy = make_panel(title="Digits")
    toy.show(autostart=True)
    assert toy.wait(PATIENCE) == "done"
    widget, empty, picture = displayed
    assert widget[VIEW]["model_id"] == toy.view.root.model_id
    assert "run this cell" in widget["text/plain"]
    assert "image/png" not in empty and "no run yet" in empty["text/plain"]
    assert VIEW not in picture and picture["image/png"].startswith("iVBOR")
    assert "PyTorch (defaults): done at step 20 of 20" in picture["text/plain"]


# -- how often it draws --------------------------------------------------------------------------


def test_drawing_is_capped_in_rate_and_in_share() -> None:
    now = [0.0]
    throttle = pace.Throttle(every=0.125, share=0.1, clock=lambda: now[0])
    assert throttle.due()
    with throttle.spending():
        now[0] += 0.001
    assert not throttle.due()
    now[0] = 0.124
    assert not throttle.due()
    now[0] = 0.125
    assert throttle.due()
    with throttle.spending():
        now[0] += 0.5  # a slow picture: it may take a tenth of the time, no more
    now[0] += 4.4
    assert not throttle.due()
    now[0] += 0.2
    assert throttle.due()


def test_a_fast_loop_is_drawn_eight_times_a_second_at_most() -> None:
    def train(settings: Any, report: Any) -> dict:
        began, step = time.perf_counter(), 0
        while time.perf_counter() - began < 1.0:
            step += 1
            report(step, {"loss": 1.0}, lambda: [[0.5]])
        return {"step": step}

    toy = make_panel(train)
    drawn: list[str] = []
    notify = toy._engine._notify
    toy._engine._notify = lambda what: (drawn.append(what), notify(what))
    toy.start()
    toy.wait(PATIENCE)
    assert 2 <= drawn.count("progress") <= 9 and 2 <= drawn.count("picture") <= 10
    assert toy.model()["step"] > 1000


# -- plain code ----------------------------------------------------------------------------------


def test_a_run_in_plain_code_prints_lines(capsys: pytest.CaptureFixture) -> None:
    settings = panel.settings(CONTROLS, "keras", seed=3, steps=4)
    assert (settings.framework, settings.seed, settings.learning_rate) == ("keras", 3, 1e-3)
    model = panel.run(descend, settings, "Digits", every=2)
    assert model["step"] == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Digits: Keras."
    assert [line.split(":")[0] for line in lines[1:4]] == ["step 1", "step 2", "step 4"]
    assert lines[-1].startswith("Trained in ")


def test_plain_code_takes_few_steps_where_few_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COURSE_STEPS", "3")
    settings = panel.settings(CONTROLS, "torch", steps=12)
    assert panel.run(descend, settings)["step"] == settings.steps == 3


def test_plain_code_is_as_strict_as_the_panel() -> None:
    with pytest.raises(CourseError, match="Learning rate is 0"):
        panel.settings(CONTROLS, "torch", learning_rate=0)
    settings = panel.settings(CONTROLS, "torch", learning_rate=5.0)
    with pytest.raises(CourseError, match=r"NaN at step 2: lower the learning rate \(it was 5\)"):
        panel.run(lambda s, report: report(2, {"loss": float("nan")}), settings)
    with pytest.raises(CourseError, match="returned no model"):
        panel.run(lambda s, report: None, settings)
    for every in (0, -1, 1.5, True):
        with pytest.raises(CourseError, match="every"):
            panel.printing_report(every)


def test_a_printing_report_keeps_what_was_reported(capsys: pytest.CaptureFixture) -> None:
    report = panel.printing_report(every=10)
    assert all(report(step, {"loss": 1 / step}) for step in range(1, 31))
    assert len(report.history) == 30 and report.history[-1] == (30, {"loss": pytest.approx(1 / 30)})
    assert len(capsys.readouterr().out.splitlines()) == 4
