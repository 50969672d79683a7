"""Every exercise keeps its promises, and the engine that makes them does."""

import doctest
import gc
import importlib
import subprocess
import sys
import types

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import utils.exercises
from utils.exercises import (
    CORRECT,
    INCORRECT,
    NOT_ATTEMPTED,
    Exercise,
    check_all,
    exercises_of,
    modules,
)

ALL = [
    pytest.param(exercise, id=f"{module}.{name}")
    for module in modules()
    for name, exercise in exercises_of(module).items()
]


# Every exercise that is there


def test_the_start_page_has_exercises():
    assert {"parameters", "softmax"} <= set(exercises_of("start"))


@pytest.mark.parametrize("module", modules())
def test_every_exercise_module_keeps_its_promises(module):
    assert check_all(module) == []


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
scalars |= st.complex_numbers() | st.just(...) | st.just(NotImplemented) | st.fractions()
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
        | st.builds(lambda value: np.array([value], dtype=object), inner)
        | st.builds(lambda value: types.SimpleNamespace(dtype=value, shape=value), inner)
    ),
    max_leaves=8,
)
errors = st.sampled_from([ValueError, KeyError, SystemExit, RecursionError, GeneratorExit, OSError])


@pytest.mark.parametrize("exercise", ALL)
@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(value=anything)
def test_no_object_makes_a_check_raise(exercise, value):
    verdicts = [exercise.judge(value), exercise.judge(lambda *_: value)]
    assert {verdict.state for verdict in verdicts} <= {CORRECT, INCORRECT, NOT_ATTEMPTED}
    assert all("\n" not in str(verdict) for verdict in verdicts)


@pytest.mark.parametrize("exercise", ALL)
@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(error=errors, text=st.text(max_size=40))
def test_no_error_of_the_learner_escapes(exercise, error, text):
    def breaks(*_):
        raise error(text)

    assert exercise.judge(breaks).state == INCORRECT


# Promises that are broken are found: each fault of an author, seen by check_all


def _double(x):
    return 2 * x


def _exercise(**changes):
    said = {
        "name": "double",
        "question": "Write double(x).",
        "solution": _double,
        "cases": [(np.array([1.0, 3.0]),)],
        "wrong": [(lambda x: x + 2, "you add 2."), (lambda x: x**2, "you square.")],
        "hints": ["one", "two"],
    } | changes
    return Exercise(said.pop("name"), said.pop("question"), **said)


def _faults(exercise, name="double"):
    module = types.ModuleType("faulty")
    setattr(module, name, exercise)
    return " ".join(check_all(module))


def test_a_sound_exercise_has_no_faults():
    assert _faults(_exercise()) == ""


def _changes_its_input(x):
    x *= 2
    return x


FAULTS = {
    "another name": ({"name": "twice"}, "its name is 'twice'"),
    "a question of two lines": ({"question": "Write\nit."}, "one line"),
    "one hint": ({"hints": ["one"]}, "at least two hints"),
    "the same hint twice": ({"hints": ["one", "one"]}, "at least two hints"),
    "nothing wrong": ({"wrong": []}, "classic wrong answer"),
    "a wrong answer that is right": ({"wrong": [(lambda x: x + x, "no.")]}, "is told 'Correct"),
    "a wrong answer behind another": (
        {"wrong": [(lambda x: x + 2, "you add."), (lambda x: 2 + x, "the same.")]},
        "'the same.' is told 'Not yet: you add.'",
    ),
    "one message for two": (
        {"wrong": [(lambda x: x + 2, "no."), (lambda x: x**2, "no.")]},
        "share a message",
    ),
    "a wrong answer that crashes": ({"wrong": [(lambda x: x / None, "no.")]}, "'no.' is told"),
    "a solution that is wrong": (
        {"solution": lambda x: 3 * x, "reference": _double},
        "the solution should be correct",
    ),
    "a solution in the middle of a line": ({"solution": lambda x: 2 * x}, "not Python on its own"),
    "a solution that gives text": ({"solution": lambda x: str(x)}, "should be correct"),
}


@pytest.mark.parametrize(("changes", "said"), FAULTS.values(), ids=FAULTS)
def test_check_all_sees_the_fault(changes, said):
    assert said in _faults(_exercise(**changes))


def test_check_all_sees_a_check_that_raises(monkeypatch):
    exercise = _exercise()
    monkeypatch.setattr(exercise, "judge", lambda answer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _faults(exercise)
    good = Exercise.judge

    def fragile(answer=None):
        if isinstance(answer, dict):
            raise KeyError("a dictionary")
        return good(exercise, answer)

    monkeypatch.setattr(exercise, "judge", fragile)
    assert "the check raises KeyError" in _faults(exercise)


def test_check_all_wants_exercises():
    assert check_all(types.ModuleType("empty")) != []


def test_a_new_module_joins_by_being_there(tmp_path, monkeypatch):
    text = "from utils.exercises import Exercise\nbad = Exercise('x', 'y', solution=abs)\n"
    (tmp_path / "zz_new.py").write_text(text)
    (tmp_path / "_private.py").write_text("")
    monkeypatch.setattr(utils.exercises, "__path__", [*utils.exercises.__path__, str(tmp_path)])
    assert "zz_new" in modules() and "_private" not in modules()
    importlib.invalidate_caches()
    try:
        assert set(exercises_of("zz_new")) == {"bad"}
    finally:
        sys.modules.pop("utils.exercises.zz_new", None)


def test_the_example_for_authors_is_true():
    result = doctest.testmod(utils.exercises)
    assert result.attempted >= 8 and result.failed == 0


def test_exercises_load_nothing_heavy():
    code = (
        "import sys, utils.exercises as e; [e.exercises_of(m) for m in e.modules()]; "
        "print([m for m in ('torch','tensorflow','keras','IPython','ipywidgets','matplotlib') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# Any correct answer, and only a correct one

mean = Exercise(
    "mean",
    "Write mean(x).",
    solution=lambda x: x.mean(axis=1),
    cases=[(np.array([[0.0, 1.0], [2.0, 5.0]]),), lambda rng: (rng.normal(size=(4, 3)),)],
    wrong=[(lambda x: x.mean(), "one mean for all."), (lambda x: x.sum(1), "the sum.")],
)

CORRECT_ANSWERS = {
    "float64": lambda x: x.mean(1),
    "float32": lambda x: x.mean(1, dtype="float32"),
    "float16": lambda x: x.mean(1).astype("float16"),
    "a list": lambda x: [float(row.mean()) for row in x],
    "a tuple": lambda x: tuple(row.mean() for row in x),
    "a column": lambda x: x.mean(1, keepdims=True),
    "a row": lambda x: x.mean(1)[None],
    "complex, imaginary part 0": lambda x: x.mean(1).astype(complex),
    "in place": lambda x: np.add(x, 0, out=x).mean(1),
}


@pytest.mark.parametrize("answer", CORRECT_ANSWERS.values(), ids=CORRECT_ANSWERS)
def test_any_correct_answer_is_correct(answer):
    assert mean.judge(answer).state == CORRECT


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    error=st.floats(1e-2, 1e6),
    sign=st.sampled_from([-1, 1]),
    row=st.integers(0, 3),
    one=st.booleans(),
)
def test_one_number_that_is_off_is_not_correct(error, sign, row, one):
    def off(x):
        result = x.mean(axis=1)
        result[row % len(x) if one else slice(None)] += sign * error
        return result

    assert mean.judge(off).state == INCORRECT


@hypothesis.given(st.floats(-1e-7, 1e-7))
def test_rounding_is_no_mistake(error):
    assert mean.judge(lambda x: x.mean(axis=1) + error).state == CORRECT


def test_the_right_numbers_in_another_order_are_not_correct():
    assert mean.judge(lambda x: x.mean(axis=1)[::-1]).state == INCORRECT


SAID = {
    "a known mistake": (lambda x: x.sum(axis=1), "the sum."),
    "another shape": (
        lambda x: x,
        "with x = [[0, 1], [2, 5]], your result has shape (2, 2); it should",
    ),
    "other numbers": (
        lambda x: x.mean(1) + 1,
        "your result is [1.5, 4.5]; it should be [0.5, 3.5].",
    ),
    "NaN": (lambda x: x.mean(1) * np.nan, "your result holds NaN"),
    "text": (
        lambda x: "0.5",
        "with x = [[0, 1], [2, 5]], your function should return numbers; it returns a text.",
    ),
    "a ragged list": (lambda x: [[1], [1, 2]], "it returns a list with uneven rows."),
    "a function": (lambda x: np.mean, "it returns a function."),
    "two results": (lambda x: (x.mean(1), x), "it returns 2 separate results of different shapes."),
    "too many arguments": (
        lambda x, axis: x,
        "should take 1 argument (x), but it is written as (x, axis).",
    ),
    "no function": (np.zeros(2), "hand over the function itself, without brackets: check(mean)."),
    "division by zero": (lambda x: 1 / 0, "it divides by zero."),
    "a missing name": (lambda x: nmean(x), "the name 'nmean' is not defined."),  # noqa: F821
    "endless recursion": (
        lambda x: SAID["endless recursion"][0](x),
        "it calls itself without end.",
    ),
    "an exit": (lambda x: sys.exit(3), "it raises SystemExit (3)."),
}


@pytest.mark.parametrize(("answer", "said"), SAID.values(), ids=SAID)
def test_what_is_wrong_is_said(answer, said):
    verdict = mean.judge(answer)
    assert verdict.state == INCORRECT and said in verdict.message


def test_the_collector_waits_until_an_answer_has_run():
    """Where an endless recursion ends, finalisers have no room: what they say there is red."""
    at_work = []

    def endless(x):
        at_work.append(gc.isenabled())
        return endless(x)

    assert "it calls itself without end." in mean.judge(endless).message
    assert not any(at_work) and gc.isenabled()
    gc.disable()
    try:
        mean.judge(endless)
        assert not gc.isenabled()  # as it was found
    finally:
        gc.enable()


def test_large_results_are_located_not_printed():
    big = Exercise("big", "?", solution=lambda x: x, cases=[lambda rng: (rng.normal(size=(5, 8)),)])

    def off(x):
        x[2, 3] += 1
        return x

    said = big.judge(off).message
    assert said.startswith("with x of shape (5, 8), 1 of 40 numbers differ; at [2, 3] yours is")


def test_several_results_are_compared_one_by_one():
    pair = Exercise("pair", "?", solution=lambda x: (x, 2 * x), cases=[(np.array([1.0, 2.0]),)])
    assert pair.judge(lambda x: [x.tolist(), 2 * x]).state == CORRECT
    assert "result 2 of 2: your result is [1, 2]" in pair.judge(lambda x: (x, x)).message
    assert "return 2 results, in this order" in pair.judge(lambda x: x[0]).message


def test_the_learner_may_change_the_input():
    twice = _exercise(cases=[(np.array([1.0, 3.0]),)])
    assert twice.judge(_changes_its_input).state == CORRECT
    assert twice.judge(_changes_its_input).state == CORRECT  # the case itself is as it was


def test_random_inputs_are_the_same_in_every_check():
    seen = []
    for _ in range(2):
        mean.judge(lambda x: seen.append(x) or x.mean(axis=1))
    assert len(seen) == 4 and np.array_equal(seen[1], seen[3])


def test_an_interrupt_is_the_learners_own():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mean.judge(interrupted)


# Stubs


def _passes(x):
    pass


def _docstring(x):
    """Return the mean."""


def _dots(x): ...


def _returns_dots(x):
    result = ...
    return result


def _computes_with_dots(x):
    total = ...
    return total / len(x)


def _not_implemented(x):
    raise NotImplementedError("write me")


def _no_arguments():
    pass


STUBS = [None, ..., NotImplemented, _passes, _docstring, _dots, _returns_dots]
STUBS += [_computes_with_dots, _not_implemented, _no_arguments, lambda x: (None, None)]


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: getattr(stub, "__name__", str(stub)))
def test_a_stub_is_not_attempted(stub):
    assert mean.judge(stub).state == NOT_ATTEMPTED


def test_nothing_handed_over_is_not_attempted(capsys):
    mean.check()
    assert capsys.readouterr().out.startswith("Not attempted: ")


def test_a_forgotten_return_is_named():
    def forgets(x):
        x.mean(axis=1)

    assert "end it with `return`" in mean.judge(forgets).message
    assert "return" not in mean.judge(_docstring).message


def test_none_for_some_inputs_is_a_mistake():
    verdict = mean.judge(lambda x: x.mean(axis=1) if len(x) == 2 else None)
    assert verdict.state == INCORRECT and "returns None" in verdict.message


# Printing


def test_a_check_prints_one_line_that_begins_with_its_verdict(capsys):
    for answer in (lambda x: x.mean(1), lambda x: x.sum(1), ...):
        mean.check(answer)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Correct", "Not yet", "Not attempted"]


def test_hints_come_one_by_one_and_the_last_stays(capsys):
    exercise = _exercise(hints=["a nudge", "nearly the answer"])
    for _ in range(3):
        exercise.hint()
    said = capsys.readouterr().out.splitlines()
    assert said == ["Hint 1 of 2: a nudge", "Hint 2 of 2: nearly the answer"] + said[1:2]


def test_no_hint_is_said(capsys):
    _exercise(hints=[]).hint()
    assert "no hint" in capsys.readouterr().out


def test_the_solution_shown_is_the_one_that_is_checked(capsys):
    exercise = exercises_of("start")["softmax"]
    exercise.solution()
    shown = capsys.readouterr().out
    space = {"np": np}
    exec(shown, space)
    assert exercise.judge(space["softmax"]).state == CORRECT


def test_addresses_do_not_show():
    """Stored notebooks are compared with new runs, and an address is new in each."""
    said = {mean.judge(lambda x: {}[object()]).message for _ in range(2)}
    assert len(said) == 1 and "0x" not in said.pop()
