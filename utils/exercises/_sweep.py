"""What every exercise owes its learner, checked for all exercise modules that are there."""

import contextlib
import importlib
import io
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

import utils.exercises
from utils.exercises._engine import (
    CORRECT,
    INCORRECT,
    NOT_ATTEMPTED,
    ChoiceExercise,
    Exercise,
    NumberExercise,
)
from utils.exercises._own_data import OwnDataExercise


def modules() -> list[str]:
    """Names of the exercise modules: every file of this package without a leading underscore."""
    found = pkgutil.iter_modules(utils.exercises.__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def exercises_of(module: str | ModuleType) -> dict[str, Exercise]:
    """The exercises of a module, by the name of the variable that holds them."""
    if isinstance(module, str):
        module = importlib.import_module(f"utils.exercises.{module}")
    return {name: item for name, item in vars(module).items() if isinstance(item, Exercise)}


def check_all(module: str | ModuleType) -> list[str]:
    """Everything that is wrong with a module's exercises, in sentences; empty if all is well.

    The solution passes, in other dtypes and as lists too; stubs count as not attempted; every
    wrong answer is rejected with its own message; there are hints and a solution to show;
    nothing raises on answers that make no sense.
    """
    exercises = exercises_of(module)
    if not exercises:
        return [f"{module} holds no exercise."]
    return [f"{name}: {said}" for name, item in exercises.items() for said in _faults(name, item)]


def _faults(name: str, exercise: Exercise) -> list[str]:
    faults = []
    if exercise.name != name:
        faults.append(f"its name is {exercise.name!r}; it should be that of its variable.")
    if not exercise.question.strip() or "\n" in exercise.question:
        faults.append("its question should be one line.")
    if len(exercise.hints) < 2 or len(set(exercise.hints)) < len(exercise.hints):
        faults.append("it should have at least two hints, all different.")
    if not exercise.wrong:
        faults.append("it should know at least one classic wrong answer.")
    faults += _expect(exercise, CORRECT, _right_answers(exercise))
    faults += _expect(exercise, NOT_ATTEMPTED, _stubs(exercise))
    faults += _expect(exercise, None, _nonsense())
    messages = [message for _, message in exercise.wrong]
    if len(set(messages)) < len(messages):
        faults.append("two wrong answers share a message.")
    for mistake, message in exercise.wrong:
        verdict = exercise.judge(mistake)
        if verdict.state != INCORRECT or verdict.message != message:
            faults.append(f"the wrong answer of {message!r} is told {str(verdict)!r}.")
    return faults + _prints(exercise)


def _expect(exercise: Exercise, state: str | None, answers: dict[str, Any]) -> list[str]:
    """Faults of verdicts that should be `state`; None means any, as long as nothing raises."""
    faults = []
    for what, answer in answers.items():
        try:
            verdict = exercise.judge(answer)
        except Exception as error:
            faults.append(f"{what}: the check raises {type(error).__name__}.")
            continue
        wanted = verdict.state != CORRECT if state is None else verdict.state == state
        if not wanted:
            faults.append(f"{what} should be {state or 'no correct answer'}: {verdict}")
    return faults


def _right_answers(exercise: Exercise) -> dict[str, Any]:
    if isinstance(exercise, ChoiceExercise):
        statement = exercise.options[exercise.answer]
        return {"the letter": exercise.answer, "the statement": statement}
    if isinstance(exercise, OwnDataExercise):
        return exercise.right_answers()
    solution = exercise._solution
    if isinstance(exercise, NumberExercise):
        number = solution()
        return {
            "the solution": solution,
            "the number": number,
            "the number as an array": np.array([number]),
        }
    return {
        "the solution": solution,
        "the solution in float32": _converted(solution, lambda a: a.astype(np.float32)),
        "the solution as lists": _converted(solution, lambda a: a.tolist()),
        "the solution with an axis more": _converted(solution, lambda a: a[..., None]),
    }


def _converted(function: Callable, convert: Callable[[np.ndarray], Any]) -> Callable:
    def converted(*values: Any) -> Any:
        result = function(*values)
        if isinstance(result, tuple):
            return tuple(convert(np.asarray(part)) for part in result)
        return convert(np.asarray(result))

    return converted


def _stubs(exercise: Exercise) -> dict[str, Any]:
    def passes(*_: Any) -> None:
        pass

    def dots(*_: Any) -> Any:
        return ...

    def raises(*_: Any) -> None:
        raise NotImplementedError

    def no_arguments() -> None: ...

    values = {"None": None, "an ellipsis": ..., "NotImplemented": NotImplemented}
    if isinstance(exercise, ChoiceExercise):
        return values
    functions = [passes, dots, raises, no_arguments]
    return values | {f"the stub {function.__name__}": function for function in functions}


def _nonsense() -> dict[str, Any]:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise SystemExit

        def __call__(self, *_: Any) -> Any:
            raise GeneratorExit

    def stops(*_: Any) -> Any:
        raise SystemExit(1)

    def endless(*values: Any) -> Any:
        return endless(*values)

    items = ["text", b"bytes", {}, set(), object(), [[1], [1, 2]], Hostile(), Hostile]
    items += [float("nan"), 10**400, 1j, np.array(["a"]), np.array(None), slice(None)]
    items += [stops, endless, lambda *_: Hostile(), lambda *_: "text", lambda *_: float("nan")]
    return {f"nonsense {number} ({type(item).__name__})": item for number, item in enumerate(items)}


def _prints(exercise: Exercise) -> list[str]:
    """Faults of what is printed: the hints in order, and the solution as it is."""
    given, exercise._hints_given = exercise._hints_given, 0
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for _ in exercise.hints:
            exercise.hint()
        exercise.solution()
    exercise._hints_given = given
    faults, said = [], out.getvalue()
    if not all(hint in said for hint in exercise.hints):
        faults.append("its hints do not all appear.")
    if not said.rstrip().endswith(exercise.solution_source()):
        faults.append("its solution does not appear.")
    elif not isinstance(exercise, ChoiceExercise):
        try:
            compile(exercise.solution_source(), exercise.name, "exec")
        except SyntaxError:
            faults.append("its solution is not Python on its own: write it as a function.")
    return faults
