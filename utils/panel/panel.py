"""`Panel`: the engine that trains and the view that shows it, joined."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from utils import CourseError, runtime
from utils.controls import Control, check, collect
from utils.panel import chart, still
from utils.panel.engine import ACTIVE, Engine
from utils.panel.records import Run

MODES = ("auto", "thread", "inline")

# The panels on show by title: running a cell again replaces the panel it made before.
_PANELS: weakref.WeakValueDictionary[str, "Panel"] = weakref.WeakValueDictionary()


class Panel:
    """Train with a button, watch it live, compare runs.

    Parameters
    ----------
    train
        Framework → training function. It is called as ``train(settings, report)`` and returns
        the trained model. ``settings`` has every control's value, ``framework`` and ``seed``.
        Every few steps it calls ``report(step, logs, preview)``: `logs` maps names to numbers,
        the first of which is plotted; `preview`, if given, makes an image array, ``(H, W)`` or
        ``(H, W, 3)``, when a picture is due. When ``report`` returns False, the learner pressed
        Stop: leave the loop and return the model as it is.
    controls
        One control for each hyperparameter; one of them is called ``steps``.
    title
        What the panel is called. A panel of the same title takes an earlier one's place, which
        is what running a cell again comes to.
    frameworks
        Which frameworks to offer, in which order; by default all of `train`.
    summary
        ``summary(model, settings) -> dict``: results for the table of runs, measured after
        each run in the training thread.
    mode
        ``"auto"``, ``"thread"`` (train in the background) or ``"inline"`` (train in the main
        thread, as Colab needs it). Without a front end a panel trains at once, whatever its mode.
    seed
        Seeds every run, so that equal settings give equal results; a control of this name wins.

    Attributes
    ----------
    view
        The widgets, or None without a front end.

    Raises
    ------
    CourseError
        If there is nothing to train, a framework has no training function, no control is called
        ``steps``, or the mode is unknown.
    """

    def __init__(
        self,
        train: Mapping[str, Callable[..., Any]],
        controls: Sequence[Control],
        title: str,
        frameworks: Sequence[str] | None = None,
        summary: Callable[[Any, SimpleNamespace], Mapping[str, float]] | None = None,
        mode: str = "auto",
        seed: int = 0,
    ) -> None:
        self._controls = check(controls)
        names = {control.name for control in self._controls}
        if "steps" not in names or "framework" in names:
            raise CourseError(
                f"The panel {title!r} needs a control called 'steps', and none called 'framework': "
                "that is what its drop-down is for."
            )
        self.frameworks = _chosen(train, frameworks, title)
        if mode not in MODES:
            raise CourseError(f"The mode {mode!r} is unknown: choose one of {', '.join(MODES)}.")
        self.title, self._seed = title, seed
        self._headless = runtime.headless()
        self._inline = mode == "inline" or mode == "auto" and runtime.in_colab()
        labels = {control.name: control.title for control in self._controls}
        self._engine = Engine(train, summary, labels, self._changed)
        self._handle: Any = None
        self.view: Any = None
        self._take_over()
        if not self._headless:
            from utils.panel.view import View

            actions = {"train": self._train_pressed, "reset": self._reset_pressed}
            self.view = View(
                self._engine, title, self._controls, self.frameworks, actions, self._inline
            )

    def _take_over(self) -> None:
        """Stop an earlier panel of this title, and let the next run wait for its thread."""
        earlier = _PANELS.get(self.title)
        if earlier is not None:
            earlier._retire()
            self._engine.predecessor = earlier._engine
        _PANELS[self.title] = self

    def _retire(self) -> None:
        view, self.view, self._handle = self.view, None, None
        self._engine.stop()
        if view is not None:
            view.close()

    # -- what a notebook calls ---------------------------------------------------------------

    @property
    def state(self) -> str:
        """``idle``, ``running``, ``paused``, ``stopping``, ``done``, ``stopped`` or ``failed``."""
        return self._engine.state

    @property
    def runs(self) -> list[Run]:
        """The records of all runs since the last reset, oldest first."""
        return list(self._engine.runs)

    def show(self, autostart: bool = False) -> None:
        """Display the panel; without a front end, train every framework with the defaults.

        Parameters
        ----------
        autostart
            Begin a run at once, as if Train had been pressed.

        Raises
        ------
        Exception
            Without a front end, whatever a training function raises.
        """
        if self._headless:
            self._show_headless()
            return
        still.show(b"", f"Panel {self.title!r}: run this cell to use it.", self.view.root)
        if not self._inline:
            # The picture for the file is an output of its own, which the panel's style hides
            # while the panel is live: replacing the panel's own output would take the keyboard
            # focus away and build the page anew. Colab keeps widgets in its own way.
            self._handle = still.show(b"", self._text())
        if autostart:
            self.start()

    def start(self, framework: str | None = None, **changes: Any) -> None:
        """Begin a run, or go on with a paused one; with one running, do nothing.

        Parameters
        ----------
        framework
            Which one to train; by default the one that the drop-down shows.
        changes
            Settings that differ, for this run, from what the controls show.

        Raises
        ------
        CourseError
            For an unknown framework or setting, or a value that its control refuses; the panel
            shows it too.
        """
        if self._engine.state == "paused":
            self._engine.resume()
        if self._engine.state in ACTIVE:
            return
        try:
            settings, changed = self._read(framework, changes)
        except CourseError as error:
            if self.view is not None:
                self.view.complain(str(error))
            raise
        if self.view is not None:
            self.view.complain("")
        inline = self._inline or self._headless
        self._engine.start(settings, changed, inline=inline, strict=self._headless)

    def pause(self) -> None:
        """Hold the run at its next report; `start` lets it go on."""
        self._engine.pause()

    def stop(self) -> None:
        """End the run at its next report; its model is kept."""
        self._engine.stop()

    def reset(self) -> None:
        """Forget runs and models, and set every control to its default.

        A run in progress is stopped first; the panel is empty once it has ended.
        """
        if self.view is not None:
            self.view.restore()
            self.view.complain("")
        self._engine.reset()

    def wait(self, timeout: float | None = None) -> str:
        """Wait until no run is active, or for `timeout` seconds.

        While a cell waits, the kernel hears no button. Interrupting the wait (■) does not end
        the run: the panel goes on with it.

        Returns
        -------
        str
            The state after waiting.

        Raises
        ------
        KeyboardInterrupt
            If the wait was interrupted.
        """
        remark = self.view.remark if self.view is not None else lambda note: None
        if self._engine.state in ACTIVE:
            remark("A cell waits for this run: the buttons answer once ■ ends the wait.")
        try:
            state = self._engine.wait(timeout)
            remark("")
            return state
        except KeyboardInterrupt:
            active = self._engine.state in ACTIVE
            remark("The wait was interrupted; the run goes on. Stop ends it." if active else "")
            raise

    def model(self, framework: str | None = None) -> Any:
        """The last model that a run left, of one framework or of whichever came last.

        Raises
        ------
        CourseError
            If there is none yet.
        """
        if framework is not None:
            runtime.choose("The framework", framework, self.frameworks)
            run = self._engine.model_run(framework)
        else:
            run = self._engine.last_model
        if run is not None:
            return run.model
        whose = f" of {runtime.LABELS.get(framework, framework)}" if framework else ""
        if self.state in ACTIVE:
            raise CourseError(f"No model{whose} yet: the run is not over. Wait, or press Stop.")
        last = self._engine.run
        if last is not None and last.message and framework in (None, last.framework):
            raise CourseError(f"No model{whose}: the last run {last.status}: {last.message}")
        raise CourseError(f"No model{whose} yet: press Train in the panel {self.title!r} first.")

    # -- inside ------------------------------------------------------------------------------

    def _read(
        self, framework: str | None, changes: dict[str, Any]
    ) -> tuple[SimpleNamespace, dict[str, Any]]:
        """The settings of the next run, and those of them that are not the defaults."""
        if framework is None:
            framework = self.view.framework.value if self.view else self.frameworks[0]
        runtime.choose("The framework", framework, self.frameworks)

        def read(control: Control) -> Any:
            if self.view is None:
                return control.default
            return control.read(self.view.controls[control.name])

        found = collect(self._controls, read, **changes)
        if self._headless:  # a reader who presses Train gets all the steps that the slider shows
            found["steps"] = runtime.steps(found["steps"])
        defaults = {control.name: control.default for control in self._controls}
        changed = {name: value for name, value in found.items() if value != defaults[name]}
        return SimpleNamespace(**{"seed": self._seed, **found}, framework=framework), changed

    def _train_pressed(self) -> None:
        try:
            self.start()
        except CourseError:
            pass  # the panel shows it; a button has nobody to raise to

    def _reset_pressed(self) -> None:
        self.reset()

    def _changed(self, what: str) -> None:
        view, handle = self.view, self._handle
        if view is None:
            return
        view.refresh(what)
        if what == "state" and self.state not in ACTIVE and self._engine.runs and handle:
            self._store(view, handle)

    def _store(self, view: Any, handle: Any) -> None:
        """Give the notebook's file the picture of how things stand."""
        png = still.panel_png(self.title, view.curves(), self.runs)
        text = self._text()
        metadata = {"image/png": {"alt": text}}
        handle.update(still.bundle(png, text), raw=True, metadata=metadata)

    def _text(self) -> str:
        lines = [f"Panel {self.title!r}"]
        lines += [run.line() for run in self.runs]
        if len(lines) == 1:
            lines.append("no run yet.")
        return ": ".join(lines[:2]) + "".join(f"\n{line}" for line in lines[2:])

    def _show_headless(self) -> None:
        for framework in self.frameworks:
            self.start(framework)
            print(self._engine.runs[-1].line())
        curves = chart.Curves().of(self._engine.runs)
        png = still.panel_png(self.title, curves, self._engine.runs)
        still.show(png, self._text())
        print(f"Figure: {self.title}: {chart.in_words(curves)}")


def _chosen(
    train: Mapping[str, Callable[..., Any]], frameworks: Sequence[str] | None, title: str
) -> tuple[str, ...]:
    if not train:
        raise CourseError(f"The panel {title!r} has nothing to train: give it a function.")
    for name in train:
        runtime.choose("The framework", name, runtime.FRAMEWORKS)
    chosen = tuple(train) if frameworks is None else tuple(frameworks)
    for name in chosen:
        if name not in train:
            raise CourseError(
                f"The panel {title!r} has no training function for {name!r}: it has "
                f"{', '.join(train)}. Run that framework's section first."
            )
    if not chosen:
        raise CourseError(f"The panel {title!r} has no framework to offer: name at least one.")
    return chosen
