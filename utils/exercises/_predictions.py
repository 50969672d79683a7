"""Predict, run, explain: commit to a prediction before an experiment, meet it again after."""

from collections.abc import Sequence
from typing import Any

from utils import CourseError, progress, runtime

predictions: dict[str, str] = {}
"""What the learner has committed to in this kernel: key → the option, word for word."""


def predict(question: str, options: Sequence[str], key: str | None = None) -> None:
    """Ask for a prediction before an experiment runs.

    With a front end: radio buttons and a button that commits, thanks and locks; the choice then
    stands in ``predictions[key]``. Without one, the question and its options as text.

    Parameters
    ----------
    question
        What will happen?
    options
        Two or more different answers.
    key
        The name under which the choice is kept; the question itself if None.

    Raises
    ------
    CourseError
        If there are fewer than two options, or two are the same.
    """
    options = [str(option) for option in options]
    if len(options) < 2 or len(set(options)) < len(options):
        raise CourseError("A prediction needs at least two options, all different.")
    key = question if key is None else key
    text = "\n".join([f"Predict: {question}", *(f"  ( ) {option}" for option in options)])
    if runtime.headless() or not _in_notebook():
        print(text)
        return
    _show(_widget(question, options, key), text)


def reveal(key: str, outcome: str) -> None:
    """Print what happened beside what the learner predicted under `key`.

    Parameters
    ----------
    key
        The key given to `predict`.
    outcome
        The option that came true, word for word, or a sentence that says what happened.
    """
    predicted = predictions.get(key)
    if predicted is None:
        print(f"It happened: {outcome}")
    elif predicted == outcome:
        print(f"It happened: {outcome}\nYou predicted it.")
    else:
        print(f"It happened: {outcome}\nYou predicted: {predicted}\nWhat did you not expect?")


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def _widget(question: str, options: list[str], key: str) -> Any:
    """The radio buttons, the button and a line of thanks, wired together."""
    import html

    import ipywidgets as widgets

    title = widgets.HTML(f"<b>Predict:</b> {html.escape(question)}")
    radio = widgets.RadioButtons(
        options=options, value=None, layout=widgets.Layout(width="max-content")
    )
    button = widgets.Button(description="Commit", tooltip="Commit to this prediction")
    line = widgets.HTML()

    def commit(_: Any) -> None:
        if radio.value is None:
            line.value = "Choose one first: any guess will do."
            return
        predictions[key] = radio.value
        progress.note("prediction", key)
        radio.disabled = button.disabled = True
        line.value = "Thank you: your prediction is noted. Now run the experiment below."

    button.on_click(commit)
    return widgets.VBox([title, radio, button, line])


def _show(widget: Any, text: str) -> None:
    """Display `widget` where widgets live, and `text` where the file is only read."""
    from IPython.display import display

    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": text}, raw=True)
