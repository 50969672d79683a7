"""The state machine that trains: one daemon thread, one lock, no widgets.

States: ``idle`` → ``running`` ⇄ ``paused`` → ``stopping`` → ``done``, ``stopped`` or ``failed``,
from each of which a new run may start and `reset` leads back to ``idle``.
"""

import contextlib
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from utils import CourseError, plots, room, runtime
from utils.panel.pace import Stopwatch, Throttle
from utils.panel.records import Run
from utils.panel.reports import check_logs, checked_model

ACTIVE = ("running", "paused", "stopping")


class Engine:
    """Runs training functions one at a time and keeps their records.

    Parameters
    ----------
    train
        Framework → ``train(settings, report) -> model``.
    summary
        ``summary(model, settings) -> dict``, measured after each run; or None.
    labels
        What the settings are called, by their names: for the records.
    notify
        Called with ``"state"`` when the state changed (everything should be redrawn),
        ``"progress"`` when a frame is due and ``"picture"`` when new samples are there; in the
        thread in which that happened.
    """

    def __init__(
        self,
        train: Mapping[str, Callable],
        summary: Callable[[Any, SimpleNamespace], Mapping[str, float]] | None,
        labels: Mapping[str, str],
        notify: Callable[[str], None],
    ) -> None:
        self.state = "idle"
        self.note = ""
        self.runs: list[Run] = []
        self.run: Run | None = None
        self.predecessor: Engine | None = None
        self._train, self._summary, self._labels, self._notify = train, summary, labels, notify
        self._models: dict[str, Run] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._go = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._clear_when_stopped = False
        self._counter = 0
        self._watch = Stopwatch()
        self._thread: threading.Thread | None = None

    # -- what buttons and code may ask for ---------------------------------------------------

    def start(self, settings: SimpleNamespace, changed: dict, inline: bool, strict: bool) -> bool:
        """Begin a run; return False if one is active, which goes on undisturbed.

        Parameters
        ----------
        settings, changed
            What the training function gets, and what of it is not a default.
        inline
            Train in this thread and return when it is over.
        strict
            Raise what went wrong after recording it (only with `inline`).
        """
        with self._lock:
            if self.state in ACTIVE:
                return False
            self._counter += 1
            self.run = Run(self._counter, settings.framework, settings, changed, self._labels)
            self.runs.append(self.run)
            self._stop.clear()
            self._go.set()
            self._idle.clear()
            self._watch = Stopwatch()
            self.note = ""
            self.state = "running"
            run, before, self._thread = self.run, self._thread, None
            if not inline:
                self._thread = threading.Thread(
                    target=self._work, args=(run, False, before), name="course-panel", daemon=True
                )
                self._thread.start()
        if inline:
            with self._interrupt_stops():
                self._work(run, strict, before)
        return True

    def pause(self) -> None:
        """Hold the run at its next report. Only a running run can pause."""
        with self._lock:
            if self.state != "running":
                return
            self._go.clear()
            self.state = "paused"
        self._notify("state")

    def resume(self) -> None:
        """Let a paused run go on."""
        with self._lock:
            if self.state != "paused":
                return
            self.state = "running"
            self._go.set()
        self._notify("state")

    def stop(self) -> None:
        """Ask the active run to end at its next report; with none active, do nothing."""
        with self._lock:
            if self.state not in ("running", "paused"):
                return
            self.state = "stopping"
            self._stop.set()
            self._go.set()
        self._notify("state")

    def reset(self) -> None:
        """Forget all runs and models; an active run is stopped first, without waiting for it."""
        with self._lock:
            if self.state in ACTIVE:
                self._clear_when_stopped = True
            else:
                self._clear()
        self.stop()
        if not self._clear_when_stopped:
            self._notify("state")

    def wait(self, timeout: float | None = None) -> str:
        """Wait until no run is active, or for `timeout` seconds; return the state."""
        deadline = None if timeout is None else time.monotonic() + timeout
        # In slices: on Windows a single long wait would not hear an interrupt.
        while not self._idle.wait(0.1):
            if deadline is not None and time.monotonic() >= deadline:
                break
        return self.state

    @property
    def seconds(self) -> float:
        """Seconds the current run has trained, without pauses."""
        return self._watch.seconds

    @property
    def last_model(self) -> Run | None:
        """The latest run that left a model."""
        return max(self._models.values(), key=lambda run: run.number, default=None)

    def model_run(self, framework: str) -> Run | None:
        """The latest run of `framework` that left a model."""
        return self._models.get(framework)

    # -- the run -----------------------------------------------------------------------------

    def _work(self, run: Run, strict: bool, before: threading.Thread | None) -> None:
        problem: BaseException | None = None
        report = _Report(self, run)
        try:
            self._notify("state")
            if before is not None:
                before.join()  # its run is over; it may still be drawing the picture for the file
            if self._turn_comes():
                runtime.seed_everything(run.settings.seed)
                model = self._train[run.framework](run.settings, report)
                if report.problem is not None:
                    raise report.problem  # the training function swallowed it; a reader must not
                run.model = checked_model(model, run.framework)
                self._keep_model(run)
                report.last_picture()
                self._measure(run)
            run.status = "stopped" if report.told_to_stop or run.model is None else "done"
        except KeyboardInterrupt as error:
            problem = error
            run.status = "stopped"
            run.message = "Interrupted in the middle of a step: this run left no model."
        except BaseException as error:  # a thread's error has nowhere else to go
            problem = error
            run.status = "failed"
            run.message, run.trace = explain(error)
        finally:
            self._end(run)
        try:
            if problem is not None and strict:
                raise problem
        finally:
            problem = None  # its traceback holds this frame, and the model with it

    def _turn_comes(self) -> bool:
        """Wait for the run of an earlier version of this panel to end; False if stopped."""
        before, self.predecessor = self.predecessor, None
        if before is not None and not before._idle.is_set():
            self.note = "Waiting for the earlier run of this panel to stop."
            self._notify("state")
            while not before._idle.wait(0.05) and not self._stop.is_set():
                pass
            self.note = ""
            self._notify("state")
        self._watch = Stopwatch()
        return not self._stop.is_set()

    def _keep_model(self, run: Run) -> None:
        """Remember the last model of each framework, and let the one before it go."""
        with self._lock:
            before = self._models.get(run.framework)
            if before is not None:
                before.model = None
            self._models[run.framework] = run

    def _measure(self, run: Run) -> None:
        if self._summary is None:
            return
        self.note = "Measuring the result."
        self._notify("state")
        results = self._summary(run.model, run.settings)
        try:
            run.results = {str(name): float(value) for name, value in results.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise CourseError(
                f"summary() must return a dictionary of numbers, not {results!r}."
            ) from error

    def _end(self, run: Run) -> None:
        with self._lock:
            run.seconds = self.seconds
            self._watch.pause()
            self.note = ""
            self.state = run.status
            if self._clear_when_stopped:
                self._clear()
        try:
            self._notify("state")
        finally:
            with self._lock:
                if self.run is run or self.run is None:  # else the next run has begun meanwhile
                    self._idle.set()

    def _clear(self) -> None:
        self._clear_when_stopped = False
        for run in self._models.values():
            run.model = None
        self._models.clear()
        self.runs.clear()
        self.run = None
        self._counter = 0
        self.note = ""
        self.state = "idle"

    def _hold(self) -> None:
        """Block the training thread while the run is paused."""
        if not self._go.is_set():
            self._watch.pause()
            self._go.wait()
            self._watch.resume()

    @contextlib.contextmanager
    def _interrupt_stops(self) -> Iterator[None]:
        """While training in the main thread, let an interrupt be the Stop button.

        The first one ends the run at its next report, which leaves a usable model; a second one
        breaks off at once.
        """
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or previous is None:
            yield
            return

        def on_interrupt(number: int, frame: Any) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            # No widget is touched here: the main thread may be in the middle of drawing one.
            self.state = "stopping"
            self._stop.set()
            self._go.set()

        signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)


class _Report:
    """What the training function calls: checks, keeps, draws when due, pauses, says stop."""

    def __init__(self, engine: Engine, run: Run) -> None:
        self.problem: Exception | None = None
        self.told_to_stop = False
        self._engine, self._run = engine, run
        self._frame, self._sample = Throttle(), Throttle()
        self._preview: Callable[[], Any] | None = None
        self._step = 0

    def __call__(self, step: int, logs: Mapping[str, float], preview: Any = None) -> bool:
        if self.problem is not None:
            raise self.problem
        engine, run = self._engine, self._run
        try:
            self._step, logs = check_logs(step, logs, self._step, run.settings)
        except CourseError as error:
            self.problem = error
            raise
        run.add(self._step, logs)
        self._preview = preview or self._preview
        if self._preview is not None and self._sample.due():
            with self._sample.spending():
                self._take_picture()
        if self._frame.due():
            with self._frame.spending():
                engine._notify("progress")
        engine._hold()
        self.told_to_stop = engine._stop.is_set()
        return not self.told_to_stop

    def last_picture(self) -> None:
        """Show samples of the finished model, unless they are on show already."""
        if self._preview is not None and self._run.picture_step != self._step:
            self._take_picture()

    def _take_picture(self) -> None:
        assert self._preview is not None
        self._run.picture = plots.to_uint8(self._preview())
        self._run.picture_step = self._step
        self._engine._notify("picture")


def explain(error: BaseException) -> tuple[str, str]:
    """What went wrong as a sentence, and as a traceback without this module's frames.

    A `CourseError` is a sentence already and needs no traceback. A full disk is named.
    """
    if isinstance(error, CourseError):
        return _and_the_disk(str(error), error), ""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    trace = "".join(traceback.format_exception(type(error), error, frames))
    detail = str(error).strip()
    words = f"{type(error).__name__}: {detail}" if detail else type(error).__name__
    return _and_the_disk(words, error), trace


def _and_the_disk(words: str, error: BaseException) -> str:
    return f"{words}\n{room.remedy(error)}".rstrip()
