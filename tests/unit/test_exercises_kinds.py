"""Exercises that ask for a number, and those that ask for a statement."""

import types

import numpy as np
import pytest

from utils.exercises import (
    CORRECT,
    INCORRECT,
    NOT_ATTEMPTED,
    ChoiceExercise,
    NumberExercise,
    check_all,
)

# Numbers and choices

count = NumberExercise(
    "count", "How many?", solution=lambda: 7850, wrong=[(7840, "the biases are missing.")]
)


@pytest.mark.parametrize(
    "answer", [7850, 7850.0, np.int32(7850), np.array([[7850]]), [7850], lambda: 7850]
)
def test_a_number_may_have_any_type(answer):
    assert count.judge(answer).state == CORRECT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (7840, "the biases are missing."),
        (7851, "7851 is not it"),
        ([1, 2], "one number is asked for; yours has 2."),
        ("7850", "yours is a text."),
        (float("nan"), "nan is not it"),
        (10**400, "yours is too large a number."),
    ],
)
def test_a_wrong_number_is_talked_to(answer, said):
    verdict = count.judge(answer)
    assert verdict.state == INCORRECT and said in verdict.message


def test_a_number_with_a_tolerance():
    bits = NumberExercise("bits", "?", solution=lambda: np.log2(10), tolerance=1e-2)
    assert bits.judge(3.32).state == CORRECT
    assert bits.judge(3.2).state == INCORRECT


choice = ChoiceExercise(
    "choice",
    "Which altitude?",
    options={"a": "a loop", "b": "a tape"},
    answer="b",
    why={"a": "the loop is PyTorch's.", "b": "the tape records."},
    hints=["one", "two"],
)


@pytest.mark.parametrize("answer", ["b", "B", " b) ", "a tape", "A tape"])
def test_a_choice_by_letter_or_statement(answer):
    assert str(choice.judge(answer)) == "Correct: the tape records."


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ("a", INCORRECT, "the loop is PyTorch's."),
        ("c", INCORRECT, 'answer with one of "a", "b".'),
        (2, INCORRECT, 'answer with one of "a", "b".'),
        ("", NOT_ATTEMPTED, "by its letter"),
        ("...", NOT_ATTEMPTED, "by its letter"),
        (None, NOT_ATTEMPTED, "by its letter"),
    ],
)
def test_another_choice_is_talked_to(answer, state, said):
    verdict = choice.judge(answer)
    assert verdict.state == state and said in verdict.message


def test_a_choice_asks_and_solves(capsys):
    choice.ask()
    choice.solution()
    said = capsys.readouterr().out
    assert "a) a loop" in said and said.endswith("b) a tape\nthe tape records.\n")
    module = types.ModuleType("two")
    module.choice, module.count = choice, count
    faults = check_all(module)
    assert faults and all(fault.startswith("count:") for fault in faults)
