"""The panel's state machine: start, pause, continue, stop, reset, and every wrong order of them."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from panel_toys import PATIENCE, Gated, descend, make_panel, until

from utils import CourseError


def test_a_run_goes_from_idle_to_done_and_leaves_a_record() -> None:
    panel = make_panel()
    assert panel.state == "idle" and panel.runs == []
    panel.start(learning_rate=0.5)
    assert panel.wait(PATIENCE) == "done"
    (run,) = panel.runs
    assert (run.framework, run.status, run.step, run.total) == ("torch", "done", 20, 20)
    assert run.changed == {"learning_rate": 0.5}
    assert [step for step, _ in run.history] == list(range(1, 21))
    assert run.history[0][1] == {"loss": pytest.approx(0.7065, abs=1e-4), "kl": 1.0}
    assert run.lowest == (20, run.loss) and 0 < run.seconds < PATIENCE
    assert panel.model() is run.model and run.model["step"] == 20
    settings = run.model["settings"]
    assert (settings.framework, settings.seed, settings.batch_size) == ("torch", 0, 64)


def test_training_happens_in_one_daemon_thread() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.start()
    train.let(20)
    panel.wait(PATIENCE)
    (thread,) = train.threads
    assert thread is not threading.main_thread() and thread.daemon


def test_a_second_start_changes_nothing() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.start()
    train.let(3)
    until(lambda: len(panel.runs[0].history) == 3)
    panel.start(learning_rate=0.5)
    panel.start()
    # Two clicks may pass the panel's own check at once; the lock lets one of them through.
    assert not panel._engine.start(panel.runs[0].settings, {}, inline=False, strict=False)
    assert panel.state == "running" and len(panel.runs) == 1
    train.let(17)
    assert panel.wait(PATIENCE) == "done"
    assert len(train.threads) == 1 and panel.runs[0].step == 20


def test_a_paused_run_waits_and_goes_on_where_it_was() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.start()
    train.let(2)
    until(lambda: len(train.answers) == 2)
    panel.pause()
    assert panel.state == "paused"
    train.let(18)
    until(lambda: len(panel.runs[0].history) == 3)  # the step under way is reported, then held
    assert panel.wait(0.2) == "paused" and len(train.answers) == 2
    panel.start()
    assert panel.wait(PATIENCE) == "done"
    assert len(panel.runs) == 1 and all(train.answers)


def test_pauses_do_not_count_as_training_time() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.start()
    panel.pause()
    train.let(20)
    until(lambda: len(panel.runs[0].history) == 1)
    panel.wait(0.6)
    panel.start()
    panel.wait(PATIENCE)
    assert panel.runs[0].seconds < 0.5


def test_stop_leaves_a_usable_model() -> None:
    train = Gated()
    panel = make_panel(train, summary=lambda model, settings: {"score": model["step"]})
    panel.start()
    train.let(3)
    until(lambda: len(train.answers) == 3)
    panel.stop()
    assert panel.state == "stopping"
    train.let(1)
    assert panel.wait(PATIENCE) == "stopped"
    assert train.answers == [True, True, True, False]
    assert panel.model("torch") == {"step": 4}
    assert panel.runs[0].status == "stopped" and panel.runs[0].results == {"score": 4.0}


def test_a_paused_run_can_be_stopped() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.start()
    train.let(1)
    panel.pause()
    panel.stop()
    train.let(1)
    assert panel.wait(PATIENCE) == "stopped"


def test_stop_and_pause_before_any_start_do_nothing() -> None:
    panel = make_panel()
    panel.stop()
    panel.pause()
    assert panel.state == "idle" and panel.wait(1) == "idle"
    panel.start()
    assert panel.wait(PATIENCE) == "done"
    panel.stop()
    panel.pause()
    assert panel.state == "done"


def test_a_run_that_was_over_before_stop_was_heard_is_done() -> None:
    panel = make_panel(lambda settings, report: "a model")
    panel.start()
    assert panel.wait(PATIENCE) == "done" and panel.model() == "a model"


def test_after_a_stop_or_an_error_a_new_run_starts() -> None:
    outcomes = iter([ValueError("first"), None])

    def train(settings: Any, report: Any) -> dict:
        problem = next(outcomes)
        if problem:
            raise problem
        return descend(settings, report)

    panel = make_panel(train)
    panel.start()
    assert panel.wait(PATIENCE) == "failed"
    with pytest.raises(CourseError, match="the last run failed: ValueError: first"):
        panel.model()
    panel.start()
    assert panel.wait(PATIENCE) == "done"
    assert [run.status for run in panel.runs] == ["failed", "done"]
    assert [run.number for run in panel.runs] == [1, 2]


def test_a_run_that_starts_while_the_last_one_is_still_drawing_waits_for_it() -> None:
    train = Gated()
    panel = make_panel(train)
    notify, drawing, go = panel._engine._notify, threading.Event(), threading.Event()

    def slow(what: str) -> None:
        notify(what)
        if what == "state" and panel.state == "done" and not go.is_set():
            drawing.set()
            assert go.wait(PATIENCE)

    panel._engine._notify = slow
    panel.start()
    train.let(20)
    assert drawing.wait(PATIENCE)
    panel.start()
    train.let(5)
    assert panel.wait(0.3) == "running" and len(panel.runs[1].history) == 0
    go.set()
    until(lambda: len(panel.runs[1].history) == 5)
    assert panel.wait(0.3) == "running"
    assert sum(thread.is_alive() for thread in train.threads) == 1
    train.let(15)
    assert panel.wait(PATIENCE) == "done" and len(panel.runs) == 2


def test_reset_forgets_runs_and_models() -> None:
    panel = make_panel()
    panel.start()
    panel.wait(PATIENCE)
    panel.reset()
    assert panel.state == "idle" and panel.runs == []
    with pytest.raises(CourseError, match="press Train"):
        panel.model()
    panel.start()
    panel.wait(PATIENCE)
    assert panel.runs[0].number == 1


def test_reset_during_a_run_stops_it_first() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.start()
    train.let(1)
    until(lambda: len(train.answers) == 1)
    panel.reset()
    assert panel.state == "stopping"
    train.let(1)
    assert panel.wait(PATIENCE) == "idle" and panel.runs == []


def test_wait_gives_up_after_its_time() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.start()
    assert panel.wait(0.05) == "running"
    panel.stop()
    train.let(1)
    panel.wait(PATIENCE)


class Model:
    """Something that a weak reference can watch."""


def test_only_the_last_model_of_each_framework_is_kept() -> None:
    panel = make_panel(dict.fromkeys(("torch", "keras"), lambda settings, report: Model()))
    seen = []
    for framework in ("torch", "keras", "torch"):
        panel.start(framework)
        panel.wait(PATIENCE)
        seen.append(weakref.ref(panel.model(framework)))
    gc.collect()
    assert [ref() is not None for ref in seen] == [False, True, True]
    assert [run.model is not None for run in panel.runs] == [False, True, True]
    assert panel.model() is panel.model("torch") and panel.model("keras") is seen[1]()
    panel.reset()
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3


def test_a_model_before_its_time_is_refused_in_words() -> None:
    train = Gated()
    panel = make_panel(train, title="digits")
    with pytest.raises(CourseError, match="press Train in the panel 'digits'"):
        panel.model("torch")
    with pytest.raises(CourseError, match="'jax' is unknown"):
        panel.model("jax")
    panel.start()
    with pytest.raises(CourseError, match="the run is not over"):
        panel.model()
    panel.stop()
    train.let(1)
    panel.wait(PATIENCE)


def test_settings_are_read_once_at_the_start() -> None:
    train = Gated()
    panel = make_panel(train)
    panel.view.controls["steps"].value = 5
    panel.start()
    train.let(1)
    until(lambda: len(train.answers) == 1)
    panel.view.controls["steps"].value = 50
    train.let(4)
    assert panel.wait(PATIENCE) == "done"
    assert panel.runs[0].total == 5 and len(train.answers) == 5


def test_equal_settings_give_equal_runs() -> None:
    def train(settings: Any, report: Any) -> list:
        return [np.random.random(), settings.seed]

    panel = make_panel(train, seed=7)
    found = []
    for _ in range(2):
        panel.start()
        panel.wait(PATIENCE)
        found.append(panel.model())
    assert found[0] == found[1] and found[0][1] == 7


def test_a_seed_control_wins_over_the_panels_seed() -> None:
    from utils.controls import Slider

    controls = [Slider("steps", 2, 1, 9), Slider("seed", 3, 0, 99)]
    panel = make_panel(lambda settings, report: settings, controls=controls, seed=7)
    panel.start()
    panel.wait(PATIENCE)
    assert panel.model().seed == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"train": {}}, "nothing to train"),
        ({"train": {"jax": descend}}, "'jax' is unknown"),
        ({"frameworks": ["keras"]}, "no training function for 'keras': it has torch"),
        ({"frameworks": []}, "no framework to offer"),
        ({"controls": []}, "needs a control called 'steps'"),
        ({"mode": "magic"}, "mode 'magic' is unknown"),
    ],
)
def test_a_panel_that_cannot_work_is_refused_at_once(wrong: dict, words: str) -> None:
    with pytest.raises(CourseError, match=words):
        make_panel(**wrong)
