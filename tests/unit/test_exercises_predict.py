"""Predict, run, explain: with a front end, without one, and when it is told nonsense."""

import IPython.display
import pytest

from utils import CourseError
from utils.exercises import _predictions, predict, predictions, reveal

OPTIONS = ["it falls", "it rises", "it <b>leaps</b>"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("COURSE_HEADLESS", raising=False)
    before = dict(predictions)
    predictions.clear()
    yield
    predictions.clear()
    predictions.update(before)


@pytest.fixture
def displayed(monkeypatch):
    """What a notebook would be sent."""
    pytest.importorskip("ipywidgets")
    sent = []
    monkeypatch.setattr(_predictions, "_in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda *a, **k: sent.append((a, k)))
    return sent


@pytest.fixture
def parts():
    pytest.importorskip("ipywidgets")
    box = _predictions._widget("What of 3 < 4?", OPTIONS, "loss")
    return box.children


def test_headless_prints_the_question_and_its_options(monkeypatch, displayed, capsys):
    monkeypatch.setenv("COURSE_HEADLESS", "1")
    predict("What happens?", OPTIONS, key="loss")
    said = capsys.readouterr().out.splitlines()
    assert said == ["Predict: What happens?", *(f"  ( ) {option}" for option in OPTIONS)]
    assert displayed == [] and predictions == {}


def test_a_script_prints_too(capsys):
    predict("What happens?", OPTIONS)
    assert capsys.readouterr().out.startswith("Predict: What happens?")


def test_a_notebook_keeps_readable_text_beside_the_widget(displayed, capsys):
    predict("What happens?", OPTIONS, key="loss")
    ((bundle,), options) = displayed[0]
    assert options == {"raw": True}
    assert bundle["text/plain"].splitlines()[0] == "Predict: What happens?"
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["version_major"] == 2 and view["model_id"]
    assert capsys.readouterr().out == ""


def test_nothing_is_chosen_for_the_learner(parts):
    title, radio, button, line = parts
    assert radio.value is None and list(radio.options) == OPTIONS
    assert "3 &lt; 4" in title.value
    button.click()
    assert "Choose one first" in line.value
    assert predictions == {} and not radio.disabled


def test_a_commitment_is_kept_thanked_for_and_locked(parts):
    _, radio, button, line = parts
    radio.value = OPTIONS[1]
    assert predictions == {}
    button.click()
    assert predictions == {"loss": OPTIONS[1]}
    assert radio.disabled and button.disabled and "Thank you" in line.value


def test_without_a_key_the_question_is_the_key(displayed, monkeypatch):
    kept = []
    monkeypatch.setattr(_predictions, "_widget", lambda q, o, key: kept.append(key) or _Model())
    predict("What happens?", OPTIONS)
    assert kept == ["What happens?"]


class _Model:
    model_id = "1"


@pytest.mark.parametrize("options", [[], ["one"], ["one", "one"], ["one", "two", "one"]])
def test_a_question_with_one_answer_is_none(options):
    with pytest.raises(CourseError, match="at least two options, all different"):
        predict("What happens?", options)


def test_reveal_compares_with_what_was_predicted(capsys):
    reveal("loss", OPTIONS[0])
    assert capsys.readouterr().out == "It happened: it falls\n"
    predictions["loss"] = OPTIONS[0]
    reveal("loss", OPTIONS[0])
    assert capsys.readouterr().out.endswith("You predicted it.\n")
    predictions["loss"] = OPTIONS[1]
    reveal("loss", OPTIONS[0])
    said = capsys.readouterr().out.splitlines()
    assert said == ["It happened: it falls", "You predicted: it rises", "What did you not expect?"]


def test_only_widgets_and_arguments_that_ipywidgets_7_has_too(parts):
    kinds = [type(part).__name__ for part in parts]
    assert kinds == ["HTML", "RadioButtons", "Button", "HTML"]
