"""The hunt for a bottleneck: fixes are tried, guesses compared, errors are words."""

import time
from typing import Any

import pytest

from utils import CourseError, bottleneck, runtime
from utils.bottleneck import Hunt

VIEW = "application/vnd.jupyter.widget-view+json"
GAINS = {"cache": ("loading", 55.0), "half": ("step", 10.0), "log less": ("log", 0.9)}


class Script:
    """A script of 100 ms whose fixes take what `GAINS` says."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []
        self.trouble: Exception | None = None

    def __call__(self, fixes: frozenset[str]) -> dict[str, float]:
        self.asked.append(fixes)
        if self.trouble:
            raise self.trouble
        parts = {"loading": 60.0, "step": 39.0, "log": 1.0}
        for fix in fixes:
            part, gain = GAINS[fix]
            parts[part] -= gain
        return parts


def make(script: Any = None, **options: Any) -> Hunt:
    options.setdefault("title", f"hunt {time.perf_counter_ns()}")
    return Hunt(script or Script(), list(GAINS), **options)


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **options: shown.append(bundle))
    monkeypatch.setattr(runtime, "headless", lambda: False)
    return shown


def test_a_fix_stays_in_and_the_next_one_is_measured_on_top():
    script = Script()
    hunt = make(script)
    assert hunt.attempt("cache", "up to 3 times as fast") == pytest.approx(100 / 45)
    assert hunt.attempt("half") == pytest.approx(45 / 35)
    assert script.asked == [frozenset(), {"cache"}, {"cache", "half"}]
    assert hunt.applied == ["cache", "half"] and sum(hunt.profile.values()) == pytest.approx(35)
    assert (
        "cache: 2.22 times as fast; you said: up to 3 times as fast, and it is so" in hunt.table()
    )
    hunt.start()
    assert hunt.applied == [] and hunt.tries == [] and sum(hunt.profile.values()) == 100


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.5, "slower"),
        (0.95, "no difference"),
        (1.0, "no difference"),
        (1.3, "up to 1.5 times as fast"),
        (2.0, "up to 3 times as fast"),
        (50.0, "even faster"),
    ],
)
def test_every_outcome_has_one_guess(ratio, words):
    assert bottleneck.guess_of(ratio) == words


def test_a_wrong_guess_is_not_called_right():
    hunt = make()
    hunt.attempt("log less", "even faster")
    assert hunt.table() == "log less: 1.01 times as fast; you said: even faster"


def test_bars_are_in_order_and_add_up():
    lines = bottleneck.bars({"a": 10.0, "b": 30.0}).splitlines()
    assert lines[0].startswith("b") and "75%" in lines[0] and lines[0].count("█") == 28
    assert lines[1].startswith("a") and lines[1].count("█") == 9
    assert lines[2].split() == ["a", "step", "40.0", "ms"]


def test_mistakes_are_named():
    hunt = make()
    with pytest.raises(CourseError, match="The fix 'magic' is unknown"):
        hunt.attempt("magic")
    with pytest.raises(CourseError, match="The guess 'twice' is unknown"):
        hunt.attempt("half", "twice")
    hunt.attempt("half")
    with pytest.raises(CourseError, match="“half” is in already"):
        hunt.attempt("half")
    with pytest.raises(CourseError, match="at least two fixes"):
        Hunt(Script(), ["one"], "short")
    with pytest.raises(CourseError, match="says nothing about its time"):
        make(lambda fixes: {}).start()


def test_without_a_front_end_every_fix_is_tried_alone(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "headless", lambda: True)
    script = Script()
    hunt = make(script)
    hunt.show()
    said = capsys.readouterr().out
    alone = [{"cache"}, {"half"}, {"log less"}]
    assert script.asked == [frozenset(), *alone, {"cache"}] and hunt.applied == ["cache"]
    assert said.index("cache   ") < said.index("half    ") < said.index("log less")
    assert "2.22 times as fast" in said and "With “cache”:" in said
    script.trouble = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        hunt.show()


def test_the_buttons_try_and_start_again(displayed, monkeypatch):
    monkeypatch.setattr(bottleneck.time, "monotonic", iter(range(100)).__next__)
    hunt = make(title="Slow")
    hunt.show()
    (bundle,) = displayed
    view = hunt.view
    assert bundle[VIEW]["model_id"] == view.root.model_id and "loading" in bundle["text/plain"]
    assert "loading" in view._profile.value and "none yet" in view._status.value
    view.controls["guess"].value = "up to 3 times as fast"
    view.buttons["try"].click()
    assert hunt.applied == ["cache"] and "and it is so" in view._tries.value
    assert "Fixes that are in: cache." in view._status.value
    view.buttons["try"].click()
    assert "is in already" in view._error.value and not view.buttons["try"].disabled
    view.controls["fix"].value = "half"
    view.buttons["try"].click()
    assert view._error.value == "" and hunt.applied == ["cache", "half"]
    view.buttons["again"].click()
    assert hunt.applied == [] and "none yet" in view._status.value


def test_an_impatient_second_click_passes(displayed, monkeypatch):
    now = [10.0]
    monkeypatch.setattr(bottleneck.time, "monotonic", lambda: now[0])
    hunt = make()
    hunt.show()
    now[0] += 1
    hunt.view.buttons["try"].click()
    hunt.view.buttons["again"].click()  # queued while the try was measured
    assert hunt.applied == ["cache"]


def test_a_script_that_fails_is_words_on_the_page(displayed, monkeypatch):
    monkeypatch.setattr(bottleneck.time, "monotonic", iter(range(100)).__next__)
    script = Script()
    hunt = make(script)
    hunt.show()
    script.trouble = RuntimeError("out of <memory>")
    hunt.view.buttons["try"].click()
    assert "RuntimeError: out of &lt;memory&gt;" in hunt.view._error.value
    assert hunt.applied == []
    script.trouble = None
    hunt.view.buttons["try"].click()
    assert hunt.view._error.value == "" and hunt.applied == ["cache"]


def test_running_the_cell_again_takes_the_first_one_off_the_page(displayed):
    first = make(title="Twice")
    first.show()
    second = make(title="Twice")
    assert first.view is None
    second.show()
    assert second.view is not None
