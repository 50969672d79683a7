"""The three kinds of exercise: write a function, find a number, choose a statement."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from utils import progress
from utils.exercises import _answers, _calls

CORRECT, INCORRECT, NOT_ATTEMPTED = "correct", "incorrect", "not attempted"
_OPENINGS = {CORRECT: "Correct", INCORRECT: "Not yet", NOT_ATTEMPTED: "Not attempted"}

Case = tuple | Callable[[np.random.Generator], tuple]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found: `state` is one of CORRECT, INCORRECT, NOT_ATTEMPTED."""

    state: str
    message: str

    def __str__(self) -> str:
        return f"{_OPENINGS[self.state]}: {self.message}"


class Exercise:
    """A function to write, compared with a reference on several inputs.

    Parameters
    ----------
    name
        The variable that holds this exercise, and the learner's function.
    question
        What to do, in one line.
    solution
        The function that solves it; its source is what `solution` shows.
    cases
        Inputs: tuples of positional arguments, or functions of a seeded NumPy generator that
        return one. Arrays should be float64.
    wrong
        Pairs (wrong implementation, what is wrong with it).
    hints
        From a nudge to nearly the answer.
    correct
        What the learner has shown, said after a correct answer.
    reference
        The function to compare with, in NumPy; `solution` itself if None.
    tolerance
        Relative tolerance of the comparison; a hundredth at least for 16-bit answers.
    """

    def __init__(
        self,
        name: str,
        question: str,
        *,
        solution: Callable,
        cases: Sequence[Case] = (),
        wrong: Sequence[tuple[Any, str]] = (),
        hints: Sequence[str] = (),
        correct: str = "",
        reference: Callable | None = None,
        tolerance: float = 1e-4,
    ) -> None:
        self.name = name
        self.question = question
        self.wrong = tuple(wrong)
        self.hints = tuple(hints)
        self.correct = correct
        self.tolerance = tolerance
        self._solution = solution
        self._reference = reference or solution
        self._cases = tuple(cases)
        self._hints_given = 0

    def __repr__(self) -> str:
        return f"Exercise {self.name}: {self.question}"

    def check(self, answer: Any = None) -> None:
        """Say in one line whether `answer` is correct, not yet, or not attempted.

        It never raises: an error in the learner's function is reported in words.
        """
        verdict = self.judge(answer)
        print(verdict)
        if verdict.state == CORRECT:
            progress.note("exercise", self.name)

    def judge(self, answer: Any = None) -> Verdict:
        """The verdict that `check` prints."""
        try:
            return self._judge(answer)
        except _calls.NotAttemptedError as stub:
            return Verdict(NOT_ATTEMPTED, str(stub))
        except _calls.CallError as error:
            return Verdict(INCORRECT, str(error))
        except _answers.UnreadableError as kind:
            return Verdict(INCORRECT, f"the answer should be numbers; yours is {kind}.")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an object that raises when it is looked at
            kind = type(error).__name__
            return Verdict(INCORRECT, f"the answer cannot be read as numbers ({kind}).")

    def hint(self) -> None:
        """Print the next hint; the last one is repeated."""
        if not self.hints:
            print("There is no hint for this exercise.")
            return
        self._hints_given = min(self._hints_given + 1, len(self.hints))
        text = self.hints[self._hints_given - 1]
        print(f"Hint {self._hints_given} of {len(self.hints)}: {text}")

    def solution(self) -> None:
        """Print the solution: the very source that the tests check."""
        print(self.solution_source())

    def solution_source(self) -> str:
        """The source of the solution, under the name of the exercise."""
        source = textwrap.dedent(inspect.getsource(self._solution))
        return re.sub(rf"\b{self._solution.__name__}\b", self.name, source).strip()

    def inputs(self) -> list[tuple]:
        """The arguments of every case; the random ones come from a fixed seed."""
        return [
            case(np.random.default_rng(number)) if callable(case) else case
            for number, case in enumerate(self._cases)
        ]

    def _judge(self, answer: Any) -> Verdict:
        if _answers.is_blank(answer):
            raise _calls.NotAttemptedError(_calls.DOTS)
        if not callable(answer):
            call = f"check({self.name})"
            return Verdict(INCORRECT, f"hand over the function itself, without brackets: {call}.")
        cases = self.inputs()
        names = [*inspect.signature(self._reference).parameters]
        given = _calls.call_all(answer, cases, names)
        expected = [_calls.quietly(self._reference, case) for case in cases]
        for result, right, case in zip(given, expected, cases, strict=True):
            said = self._difference(result, right)
            if said:
                with_case = f"with {_answers.arguments(names, case)}, {said}."
                return Verdict(INCORRECT, self._known_mistake(given, cases) or with_case)
        agreed = f"your function agrees with the reference on all {len(cases)} inputs."
        return Verdict(CORRECT, self.correct or agreed)

    def _difference(self, result: Any, right: Any) -> str | None:
        if _answers.is_blank(result):
            return f"your function returns {result}"
        try:
            return _answers.difference(result, right, self.tolerance)
        except _answers.UnreadableError as kind:
            return f"your function should return numbers; it returns {kind}"

    def _known_mistake(self, given: list[Any], cases: list[tuple]) -> str | None:
        """The message of the first wrong implementation that gives the learner's results."""
        for mistake, message in self.wrong:
            try:
                results = [_calls.quietly(mistake, case) for case in cases]
            except Exception:  # a mistake may fail on some inputs; then it is not this one
                continue
            pairs = zip(given, results, strict=True)
            if all(_answers.agree(mine, his, self.tolerance) for mine, his in pairs):
                return message
        return None


class NumberExercise(Exercise):
    """A number to find; the solution is a function without arguments that works it out.

    Parameters are those of `Exercise`, except that there are no cases, `wrong` holds pairs
    (number, what is wrong with it), and `tolerance` is 0 (exact) unless said.
    """

    def __init__(self, name: str, question: str, *, tolerance: float = 0.0, **rest: Any) -> None:
        super().__init__(name, question, tolerance=tolerance, **rest)

    def _judge(self, answer: Any) -> Verdict:
        if callable(answer):
            answer = _calls.call_all(answer, [()], [])[0]
        if _answers.is_blank(answer):
            raise _calls.NotAttemptedError(_calls.DOTS)
        given = _answers.to_array(answer)
        if given.size != 1:
            return Verdict(INCORRECT, f"one number is asked for; yours has {given.size}.")
        if _answers.agree(given, self._reference(), self.tolerance):
            return Verdict(CORRECT, self.correct or "that is the number.")
        for mistake, message in self.wrong:
            if _answers.agree(given, mistake, self.tolerance):
                return Verdict(INCORRECT, message)
        number = _answers.numbers(given.astype(np.float64).reshape(()))
        return Verdict(INCORRECT, f"{number} is not it; hint() may help.")


class ChoiceExercise(Exercise):
    """A statement to choose among several.

    Parameters
    ----------
    name, question, hints
        As in `Exercise`.
    options
        Letter → statement, in the order shown.
    answer
        The letter of the right one.
    why
        Letter → why it is right, or what is wrong with it; one for every option.
    """

    def __init__(
        self,
        name: str,
        question: str,
        *,
        options: dict[str, str],
        answer: str,
        why: dict[str, str],
        hints: Sequence[str] = (),
    ) -> None:
        self.options = dict(options)
        self.answer = answer
        self.why = dict(why)
        wrong = [(letter, why[letter]) for letter in options if letter != answer]
        super().__init__(
            name, question, solution=lambda: answer, wrong=wrong, hints=hints, correct=why[answer]
        )

    def ask(self) -> None:
        """Print the question and its options."""
        print("\n".join([self.question, *(f"  {k}) {v}" for k, v in self.options.items())]))

    def solution_source(self) -> str:
        """The right option and why it is right."""
        return f"{self.answer}) {self.options[self.answer]}\n{self.why[self.answer]}"

    def _judge(self, answer: Any) -> Verdict:
        if _answers.is_blank(answer) or (isinstance(answer, str) and not answer.strip(" .")):
            raise _calls.NotAttemptedError("name one of the options by its letter.")
        if isinstance(answer, str):
            text = answer.strip().strip(")").lower()
            for letter, statement in self.options.items():
                if text in (letter.lower(), statement.lower()):
                    state = CORRECT if letter == self.answer else INCORRECT
                    return Verdict(state, self.why[letter])
        letters = ", ".join(f'"{letter}"' for letter in self.options)
        return Verdict(INCORRECT, f"answer with one of {letters}.")
