"""The one callback through which every training function speaks: `report(step, logs, preview)`."""

import math
import numbers
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from utils import CourseError, runtime
from utils.controls import Control, show_value, values
from utils.panel.records import History

Report = Callable[..., bool]


def settings(
    controls: Sequence[Control], framework: str, seed: int = 0, **changes: Any
) -> SimpleNamespace:
    """The settings a panel would pass to its training function, for a run without a panel.

    Parameters
    ----------
    controls
        The panel's controls.
    framework
        ``"torch"``, ``"tensorflow"`` or ``"keras"``.
    seed
        Passed on as ``settings.seed``, unless a control has that name.
    changes
        Settings that differ from the defaults.

    Returns
    -------
    SimpleNamespace
        ``framework``, ``seed`` and a value for each control; ``steps`` as `runtime.steps` allows.

    Raises
    ------
    CourseError
        For an unknown name or a value that its control refuses.
    """
    chosen = {"seed": seed, **values(controls, **changes)}
    if "steps" in chosen:
        chosen["steps"] = runtime.steps(chosen["steps"])
    return SimpleNamespace(**chosen, framework=framework)


def check_logs(
    step: Any, logs: Any, last: int, told: SimpleNamespace | None = None
) -> tuple[int, dict[str, float]]:
    """Return `step` and `logs` as plain numbers, or say what the training reported wrongly.

    Parameters
    ----------
    step, logs
        What the training function passed to `report`; tensors of one element are numbers too.
    last
        The step of the report before this one.
    told
        The run's settings, so that the remedy can name the learning rate.

    Raises
    ------
    CourseError
        If the step is no whole number or runs backwards, nothing is reported, or a value is no
        number or not finite.
    """
    if not isinstance(step, numbers.Integral) or isinstance(step, bool):
        raise CourseError(f"report() was given the step {step!r}: count steps in whole numbers.")
    if step < last:
        raise CourseError(
            f"report() was given step {step} after step {last}: count steps over the whole run, "
            "not over one epoch."
        )
    if not isinstance(logs, Mapping) or not logs:
        raise CourseError('report() needs a dictionary of numbers, such as {"loss": 0.3}.')
    numbers_ = {}
    for name, value in logs.items():
        try:
            numbers_[str(name)] = number = float(value)
        except (TypeError, ValueError) as error:
            raise CourseError(
                f"report() was given {name} = {value!r}, which is not one number."
            ) from error
        if not math.isfinite(number):
            raise CourseError(_diverged(str(name), number, int(step), told))
    return int(step), numbers_


def _diverged(name: str, value: float, step: int, told: SimpleNamespace | None) -> str:
    became = "NaN" if math.isnan(value) else "infinite"
    rate = next((r for r in ("learning_rate", "lr") if hasattr(told, r)), None)
    remedy = "lower the learning rate"
    if rate:
        remedy += f" (it was {show_value(getattr(told, rate))})"
    return f"The {name} became {became} at step {step}: {remedy} and train again."


class PrintingReport:
    """A report that prints a line now and then: made by `printing_report`."""

    def __init__(self, every: int, told: SimpleNamespace | None) -> None:
        self.every = every
        self.history = History()
        self._told = told
        self._last = 0

    def __call__(self, step: int, logs: Mapping[str, float], preview: Any = None) -> bool:
        """Check and keep one report; print it if `every` steps have passed. Always True."""
        previous = self._last
        step, logs = check_logs(step, logs, previous, self._told)
        first = not len(self.history)
        self.history.append(step, logs)
        self._last = step
        if first or step // self.every > previous // self.every:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in logs.items())
            print(f"step {step}: {shown}")
        return True


def printing_report(every: int = 100, told: SimpleNamespace | None = None) -> PrintingReport:
    """A `report` for scripts, and for readers who prefer code to buttons.

    Parameters
    ----------
    every
        Print the first report and then one every so many steps.
    told
        The run's settings: if the loss becomes NaN, the message can name the learning rate.

    Returns
    -------
    PrintingReport
        Called like the panel's; keeps what was reported in ``.history``.

    Raises
    ------
    CourseError
        If `every` is not a whole number above 0; and, when called, as the panel's does.

    Examples
    --------
    >>> report = printing_report(every=2)
    >>> for step in range(1, 5):
    ...     _ = report(step, {"loss": 1 / step})
    step 1: loss 1
    step 2: loss 0.5
    step 4: loss 0.25
    """
    if not isinstance(every, numbers.Integral) or isinstance(every, bool) or every < 1:
        raise CourseError(f"every = {every!r}: give a whole number of steps above 0.")
    return PrintingReport(int(every), told)


def run(
    train: Callable[[SimpleNamespace, Report], Any],
    settings: SimpleNamespace,
    title: str = "Training",
    every: int | None = None,
) -> Any:
    """Train once in plain sight, without a panel: print lines, return the model.

    Parameters
    ----------
    train
        The training function that a panel would be given.
    settings
        Its settings, as `settings` makes them.
    title
        What the first line says.
    every
        Steps between two lines; by default about ten lines in all.

    Returns
    -------
    object
        What `train` returned.

    Raises
    ------
    CourseError
        If a loss is not finite, or `train` returned nothing.
    """
    report = printing_report(every or max(1, settings.steps // 10), settings)
    print(f"{title}: {runtime.LABELS.get(settings.framework, settings.framework)}.")
    runtime.seed_everything(settings.seed)
    started = time.perf_counter()
    model = checked_model(train(settings, report), settings.framework)
    print(f"Trained in {time.perf_counter() - started:.1f} s.")
    return model


def checked_model(model: Any, framework: str) -> Any:
    """Return `model`, or say that the training function forgot to return one.

    Raises
    ------
    CourseError
        If `model` is None.
    """
    if model is None:
        name = runtime.LABELS.get(framework, framework)
        raise CourseError(
            f"The training function of {name} returned no model: end it with `return model`."
        )
    return model


def keras_callback(
    report: Report,
    preview: Callable[[], Any] | None = None,
    every: int = 1,
    steps: int | None = None,
) -> Any:
    """A Keras callback that calls `report` after batches, and stops when it says so.

    Keras's metrics are running means over the epoch, which would draw a smoother curve than the
    other frameworks', and one that jumps at each epoch. `report` is given the mean since its last
    call instead. What a ``train_step`` returns besides metrics is averaged as it is.

    Parameters
    ----------
    report
        The panel's report, or `printing_report`'s.
    preview
        Passed on to `report`.
    every
        Report every so many batches.
    steps
        Stop after so many batches, and report the last; None leaves that to ``fit``'s epochs.

    Returns
    -------
    keras.callbacks.Callback
        For ``model.fit(callbacks=[...])``, on every backend of Keras 3.

    Raises
    ------
    CourseError
        If `every` or `steps` is not a whole number above 0.
    """
    for name, number in (("every", every), ("steps", 1 if steps is None else steps)):
        if not isinstance(number, numbers.Integral) or isinstance(number, bool) or number < 1:
            raise CourseError(f"{name} = {number!r}: give a whole number of batches above 0.")
    runtime.load("keras")
    import keras

    class ReportCallback(keras.callbacks.Callback):
        """Counts batches over all epochs and hands the panel what they cost."""

        def on_train_begin(self, logs: dict | None = None) -> None:
            self._step = self._reported = 0
            self._sums: dict[str, float] = {}
            self._running = {metric.name for metric in self.model.metrics}

        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            self._before_epoch, self._seen, self._means = self._step, 0, {}

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            # With steps_per_execution above 1, `batch` jumps: count from it, not from the calls.
            seen, logs = batch + 1, dict(logs or {})
            for name, mean in logs.items():
                since = mean * (seen - self._seen)
                if name in self._running:
                    since = mean * seen - self._means.get(name, 0.0) * self._seen
                self._sums[name] = self._sums.get(name, 0.0) + since
            self._seen, self._means, self._step = seen, logs, self._before_epoch + seen
            last = steps is not None and self._step >= steps
            if last or self._step - self._reported >= every:
                self._pass_on()
            if last:
                self.model.stop_training = True

        def on_train_end(self, logs: dict | None = None) -> None:
            if self._step > self._reported:
                self._pass_on()

        def _pass_on(self) -> None:
            batches, self._reported = self._step - self._reported, self._step
            # Keras sorts its logs by name, and the panel plots the first.
            ordered = sorted(self._sums.items(), key=lambda item: item[0] != "loss")
            self._sums = {}
            if not report(self._step, {name: value / batches for name, value in ordered}, preview):
                self.model.stop_training = True

    return ReportCallback()
