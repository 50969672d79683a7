"""Finding the bottleneck as a game: a script's profile, fixes to choose from, and what they bring.

A lesson gives `Hunt` a function that runs the script with some fixes and says where its time went.
"""

import time
import weakref
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from utils import CourseError, runtime
from utils.controls import Choice

Profile = dict[str, float]  # a part of the script -> milliseconds a step
GUESSES = {
    "slower": (0.0, 0.9),
    "no difference": (0.9, 1.1),
    "up to 1.5 times as fast": (1.1, 1.5),
    "up to 3 times as fast": (1.5, 3.0),
    "even faster": (3.0, float("inf")),
}
_WIDTH = 28  # characters of the longest bar of a profile in text

# The hunts on show by title: running a cell again replaces the one it made before.
_HUNTS: weakref.WeakValueDictionary[str, "Hunt"] = weakref.WeakValueDictionary()


def guess_of(ratio: float) -> str:
    """The option of `GUESSES` that a speed-up makes true."""
    return next(words for words, (low, high) in GUESSES.items() if low <= ratio < high)


def bars(profile: Profile) -> str:
    """A profile in text: its parts, the longest first, and their sum."""
    total, most = sum(profile.values()), max(profile.values())
    width = max(map(len, profile))
    lines = [
        f"{part:<{width}} {value:7.1f} ms {value / total:5.0%}  "
        + "█" * round(_WIDTH * value / most)
        for part, value in sorted(profile.items(), key=lambda item: -item[1])
    ]
    return "\n".join([*lines, f"{'a step':<{width}} {total:7.1f} ms"])


class Hunt:
    """Choose a fix, say what it will bring, try it, look at the new profile.

    Parameters
    ----------
    script
        Called as ``script(fixes)`` with a frozen set of the fixes to apply; runs for a second or
        two and returns the milliseconds a step of each of its parts.
    fixes
        What may be tried; two or more.
    title
        What it is called. A hunt of the same title takes an earlier one's place.

    Attributes
    ----------
    applied
        The fixes that are in, in the order in which they were tried.
    profile
        Where the script's time goes with them; empty before the first run.
    tries
        For each try the fix, the guess (None where nobody guessed) and how many times as fast
        the script became by it.

    Raises
    ------
    CourseError
        If there are fewer than two fixes, or one stands twice.
    """

    def __init__(
        self, script: Callable[[frozenset[str]], Profile], fixes: Sequence[str], title: str
    ) -> None:
        if len(fixes) < 2 or len(set(fixes)) < len(fixes):
            raise CourseError("A hunt needs at least two fixes, all different.")
        self.title, self.fixes = title, tuple(fixes)
        self._script = script
        self.applied: list[str] = []
        self.profile: Profile = {}
        self.tries: list[tuple[str, str | None, float]] = []
        self.view: Any = None
        earlier = _HUNTS.get(title)
        if earlier is not None and earlier.view is not None:
            earlier.view.close()
            earlier.view = None
        _HUNTS[title] = self

    def measure(self, fixes: Sequence[str] = ()) -> Profile:
        """Run the script with these fixes and return its profile; nothing else changes.

        Raises
        ------
        CourseError
            If the script names no part, or a part that took no time at all is all there is.
        """
        for fix in fixes:
            runtime.choose("The fix", fix, self.fixes)
        profile = dict(self._script(frozenset(fixes)))
        if not profile or not sum(profile.values()) > 0:
            raise CourseError("The script says nothing about its time: let it return milliseconds.")
        return profile

    def start(self) -> Profile:
        """Take all fixes out, and measure."""
        self.applied, self.tries = [], []
        self.profile = self.measure()
        return self.profile

    def attempt(self, fix: str, guess: str | None = None) -> float:
        """Put one fix in, measure, and return how many times as fast the script became.

        Raises
        ------
        CourseError
            If the fix is unknown or already in, or the guess is none of `GUESSES`.
        """
        runtime.choose("The fix", fix, self.fixes)
        if guess is not None:
            runtime.choose("The guess", guess, tuple(GUESSES))
        if fix in self.applied:
            raise CourseError(f"“{fix}” is in already: choose another, or start again.")
        before = self.profile or self.start()
        after = self.measure([*self.applied, fix])
        ratio = sum(before.values()) / sum(after.values())
        self.applied.append(fix)
        self.profile = after
        self.tries.append((fix, guess, ratio))
        return ratio

    def table(self) -> str:
        """The tries so far, in text."""
        lines = []
        for fix, guess, ratio in self.tries:
            said = "" if guess is None else f"; you said: {guess}"
            said += ", and it is so" if guess == guess_of(ratio) else ""
            lines.append(f"{fix}: {ratio:.2f} times as fast{said}")
        return "\n".join(lines)

    def show(self) -> None:
        """Display the game; without a front end every fix is tried alone, and the best named.

        Raises
        ------
        Exception
            Without a front end, whatever the script raises. Elsewhere it is shown in words.
        """
        if runtime.headless():
            print(f"{bars(self.start())}\n\nEach fix alone:")
            total, alone = sum(self.profile.values()), {}
            for fix in self.fixes:
                alone[fix] = total / sum(self.measure([fix]).values())
            width = max(map(len, self.fixes))
            for fix, ratio in sorted(alone.items(), key=lambda item: -item[1]):
                print(f"  {fix:<{width}}  {ratio:.2f} times as fast")
            best = max(alone, key=alone.get)
            self.attempt(best)
            print(f"\nWith “{best}”:\n{bars(self.profile)}")
            return
        from IPython.display import display

        if self.view is None:
            self.view = _View(self)
        self.view.act(self.start)
        bundle = {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.view.root.model_id,
            },
            "text/plain": f"{self.title}\n{bars(self.profile) if self.profile else ''}",
        }
        display(bundle, raw=True)


class _View:
    """The game on the page: only ipywidgets that versions 7.7 and 8.1 share."""

    def __init__(self, hunt: Hunt) -> None:
        import ipywidgets as widgets

        from utils.panel import markup
        from utils.panel.view import control_box, styled_box

        self._hunt, self._markup = hunt, markup
        self._last = 0.0
        described = (
            Choice("fix", hunt.fixes[0], hunt.fixes),
            Choice("guess", "no difference", list(GUESSES), label="It will be", help="your guess"),
        )
        self.controls = {c.name: c.widget() for c in described}
        self.buttons = {
            "try": widgets.Button(description="Try it", icon="play", button_style="success"),
            "again": widgets.Button(description="Start again", icon="undo"),
        }
        self.buttons["try"].on_click(lambda _: self._clicked(self._try))
        self.buttons["again"].on_click(lambda _: self._clicked(hunt.start))
        self._status, self._profile, self._tries, self._error = (widgets.HTML() for _ in range(4))
        boxes = [control_box(c, self.controls[c.name]) for c in described]
        self.root = widgets.VBox(
            [
                widgets.HTML(markup.title(hunt.title)),
                self._profile,
                styled_box(boxes, "cp-controls"),
                styled_box([*self.buttons.values(), self._status], "cp-row"),
                self._error,
                self._tries,
            ]
        )
        self.root.add_class("course-panel")
        self.root.add_class("course-hunt")

    def _try(self) -> None:
        self._hunt.attempt(self.controls["fix"].value, self.controls["guess"].value)

    def _clicked(self, action: Callable[[], Any]) -> None:
        # A second click of an impatient hand waits until the first one's run is over: let it pass.
        if time.monotonic() - self._last > 0.3:
            self.act(action)

    def act(self, action: Callable[[], Any]) -> None:
        """Do something that takes a moment, and show where the game stands then."""
        from utils.panel.engine import explain

        for button in self.buttons.values():
            button.disabled = True
        self._say("measuring", "Measuring …")
        try:
            action()
        except BaseException as error:
            self._error.value = self._markup.error(*explain(error))
        else:
            self._error.value = ""
        finally:
            for button in self.buttons.values():
                button.disabled = False
        self._last = time.monotonic()
        inside = ", ".join(self._hunt.applied) or "none yet"
        self._say("ready", f"Fixes that are in: {inside}.")
        if self._hunt.profile:
            self._profile.value = f"<pre>{escape(bars(self._hunt.profile))}</pre>"
        self._tries.value = f"<pre>{escape(self._hunt.table())}</pre>"

    def _say(self, state: str, words: str) -> None:
        self._status.value = (
            f'<div class="cp-status" role="status" data-state="{state}">{escape(words)}</div>'
        )

    def close(self) -> None:
        """Take the game off the page for good."""
        from utils.panel.view import close_all

        close_all(self.root)
