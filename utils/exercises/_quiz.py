"""A few questions with answers to choose from, and one sentence that follows from all of them."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from utils import runtime
from utils.exercises._engine import CORRECT, ChoiceExercise
from utils.exercises._predictions import _in_notebook, _show

UNSURE = "I am not sure"


def ask(questions: Sequence[ChoiceExercise], button: str, suggest: Callable[[list[bool]], str]):
    """Show the questions as radio buttons; without a front end, as text.

    Parameters
    ----------
    questions
        What is asked, in this order. "I am not sure" is added to each question's options.
    button
        What stands on the button below them.
    suggest
        Which questions were answered rightly -> what to say when the button is pressed.
    """
    text = "\n".join(_as_text(number, one) for number, one in enumerate(questions, start=1))
    if runtime.headless() or not _in_notebook():
        print(text)
        return
    _show(_widget(questions, button, suggest), text)


def _as_text(number: int, question: ChoiceExercise) -> str:
    return "\n".join([f"{number}. {question.question}", *_lines(question)])


def _lines(question: ChoiceExercise) -> list[str]:
    return [f"   ( ) {statement}" for statement in [*question.options.values(), UNSURE]]


def _widget(
    questions: Sequence[ChoiceExercise], button: str, suggest: Callable[[list[bool]], str]
) -> Any:
    import ipywidgets as widgets

    radios, verdicts, parts = [], [], []
    for number, question in enumerate(questions, start=1):
        title = widgets.HTML(f"<b>{number}.</b> {escape(question.question)}")
        layout = widgets.Layout(width="max-content", max_width="100%")
        options = [*question.options.values(), UNSURE]
        radios.append(widgets.RadioButtons(options=options, value=None, layout=layout))
        verdicts.append(widgets.HTML())
        parts += [title, radios[-1], verdicts[-1]]
    press = widgets.Button(description=button, layout=widgets.Layout(width="max-content"))
    press.button_style = "primary"
    line = widgets.HTML()

    def answer(_: Any) -> None:
        if all(radio.value is None for radio in radios):
            line.value = _status("Answer a question first; “I am not sure” is an answer.")
            return
        right = []
        for question, radio, verdict in zip(questions, radios, verdicts, strict=True):
            unsure = radio.value in (None, UNSURE)
            judged = question.judge(question.answer if unsure else radio.value)
            right.append(not unsure and judged.state == CORRECT)
            verdict.value = escape(f"The answer: {judged.message}" if unsure else str(judged))
        line.value = _status(suggest(right))

    press.on_click(answer)
    return widgets.VBox([*parts, press, line])


def _status(words: str) -> str:
    """Words that a screen reader says as soon as they appear."""
    return f'<p role="status"><b>{escape(words)}</b></p>'
