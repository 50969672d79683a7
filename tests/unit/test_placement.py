"""The placement quiz: right answers are right, and what it suggests can be read in order."""

import itertools

import pytest

from utils.exercises import CORRECT, INCORRECT, _placement, _quiz, placement
from utils.lessons import course

QUESTIONS = list(_placement.START)


@pytest.fixture
def parts():
    pytest.importorskip("ipywidgets")
    *rows, button, line = _quiz._widget(QUESTIONS, "Go", _placement.suggest).children
    return list(zip(rows[::3], rows[1::3], rows[2::3], strict=True)), button, line


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_one_option_is_right_and_every_other_says_why_not(question):
    verdicts = {letter: question.judge(letter) for letter in question.options}
    right = [letter for letter, verdict in verdicts.items() if verdict.state == CORRECT]
    assert right == [question.answer]
    assert {v.state for v in verdicts.values()} == {CORRECT, INCORRECT}
    assert len({v.message for v in verdicts.values()}) == len(question.options) == len(question.why)


def test_the_right_answer_has_no_favourite_place():
    assert {question.answer for question in QUESTIONS} == {"a", "b", "c"}


def test_every_pattern_of_answers_leads_to_a_notebook_that_is_there():
    plan = course.read()
    order = [chapter.name for chapter in plan.chapters]
    written = {chapter.name for chapter in plan.written}
    starts = list(_placement.START.values())
    assert starts == sorted(starts, key=order.index) and set(starts) <= written
    for right in itertools.product([True, False], repeat=len(QUESTIONS)):
        said = _placement.suggest(list(right))
        missed = [name for name, knows in zip(starts, right, strict=True) if not knows]
        if not missed:
            assert "start with the part that you like" in said
        elif missed[0] == "00_start_here":
            assert said.startswith("Start here:")
        else:
            assert f"then start with {missed[0]}." in said
            assert all(name in said for name in missed)


def test_a_learner_who_knows_all_but_the_vae_is_sent_there(parts):
    rows, button, line = parts
    for question, (_, radio, _) in zip(QUESTIONS, rows, strict=True):
        radio.value = question.options[question.answer]
    rows[3][1].value = _quiz.UNSURE
    button.click()
    assert "start with 02_vae." in line.value and 'role="status"' in line.value
    assert [verdict.value.split(":")[0] for _, _, verdict in rows] == [
        "Correct" if i != 3 else "The answer" for i in range(7)
    ]
    rows[3][1].value = QUESTIONS[3].options["b"]  # answers may be changed
    button.click()
    assert rows[3][2].value.startswith("Not yet: that is the other term")


def test_nothing_is_chosen_beforehand_and_nothing_is_said_about_nothing(parts):
    rows, button, line = parts
    assert all(radio.value is None and radio.options[-1] == _quiz.UNSURE for _, radio, _ in rows)
    button.click()
    assert "Answer a question first" in line.value
    assert all(verdict.value == "" for _, _, verdict in rows)
    assert "28×28" in rows[0][0].value and "<b>1.</b>" in rows[0][0].value


def test_an_open_question_counts_as_one_not_known(parts):
    rows, button, line = parts
    rows[1][1].value = QUESTIONS[1].options["b"]
    button.click()
    assert "Start here" in line.value


def test_without_a_front_end_the_questions_are_text(capsys):
    placement()
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("   ( ) ") for line in said) == 4 * len(QUESTIONS)
    assert said[0] == f"1. {QUESTIONS[0].question}"
