"""The playground on the page: only ipywidgets that versions 7.7 and 8.1 share."""

from html import escape

from utils.panel import markup
from utils.panel.view import close_all, control_box, styled_box
from utils.playground.game import Playground
from utils.playground.paint import ALT

_STATES = {
    "ready": ("Ready", "D step and G step move one player once; Run plays on."),
    "playing": ("Playing", "Rates, loss, data and k can be changed as it runs."),
    "paused": ("Paused", "Reset begins the same game again."),
}
_COLAB_NOTE = "Here Run plays a burst of rounds at a time."


class View:
    """Shows a playground and passes the learner's wishes on."""

    def __init__(self, playground: Playground) -> None:
        import ipywidgets as widgets

        self._playground = playground
        described = playground.controls
        self.controls = {c.name: c.widget(continuous=True) for c in described}
        boxes = [control_box(c, self.controls[c.name]) for c in described]
        wanted = {
            "d": ("D step", "", "", lambda: playground.act(playground.step_d)),
            "g": ("G step", "", "", lambda: playground.act(playground.step_g)),
            "run": ("Run", "play", "success", playground.run),
            "pause": ("Pause", "pause", "", playground.pause),
            "reset": ("Reset", "undo", "", playground.reset),
        }
        self.buttons = {}
        for name, (words, icon, style, clicked) in wanted.items():
            button = widgets.Button(description=words, icon=icon, button_style=style)
            button.layout.width = "auto"
            button.on_click(lambda _, clicked=clicked: clicked())
            self.buttons[name] = button
        self._image = widgets.Image(
            format="png", layout=widgets.Layout(align_self="flex-start", max_width="100%")
        )
        self._status, self._numbers, self._error = (widgets.HTML() for _ in range(3))
        controls = widgets.VBox(boxes)
        controls.add_class("cp-aside")
        legend = widgets.HTML(f'<div class="cp-note">{escape(ALT)}</div>')
        picture = widgets.VBox([self._image, self._numbers, legend])
        picture.add_class("cp-field")
        self.root = widgets.VBox(
            [
                widgets.HTML(markup.title(playground.title)),
                styled_box([*self.buttons.values(), self._status], "cp-row"),
                self._error,
                styled_box([picture, controls], "cp-show"),
            ]
        )
        self.root.add_class("course-panel")
        self.root.add_class("course-playground")
        self._state = ""
        self._drawn = 0
        for widget in self.controls.values():
            widget.observe(lambda change: playground.redraw(), "value")

    def draw(self, png: bytes, words: str, state: str) -> None:
        """Show a picture and where the game stands; take away what was wrong before."""
        self._error.value = ""
        self._image.value = png
        self._drawn += 1
        numbers = f'<div class="cp-note cp-numbers" data-drawn="{self._drawn}">'
        self._numbers.value = f"{numbers}{escape(words)}</div>"
        self._set(state)

    def complain(self, state: str, message: str, trace: str = "") -> None:
        """Show what went wrong; the last picture stays."""
        self._error.value = markup.error(message, trace)
        self._set(state)

    def _set(self, state: str) -> None:
        if state == self._state:  # what has not changed would be read aloud again
            return
        self._state = state
        title, note = _STATES[state]
        inline = self._playground.inline
        note = _COLAB_NOTE if inline else note
        div = f'<div class="cp-status" role="status" data-state="{state}">'
        self._status.value = div + f"<b>{title}.</b> {note}</div>"
        playing = state == "playing"
        for name in ("d", "g", "run"):
            self.buttons[name].disabled = playing
        self.buttons["pause"].disabled = inline or not playing

    def close(self) -> None:
        """Take the playground off the page for good."""
        close_all(self.root)
