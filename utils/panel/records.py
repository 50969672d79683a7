"""What a run leaves behind: its reports, kept small, and a record to compare it by."""

import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from utils import runtime
from utils.controls import show_value, words


class History(Sequence):
    """The reports of one run, read as a list of ``(step, logs)``.

    They are stored in columns: a run of the full profile reports a million times, and a million
    dictionaries would weigh half a gigabyte.
    """

    def __init__(self) -> None:
        self._steps = array("q")
        self._columns: dict[str, array] = {}
        # The learner may ask for a redraw while the training thread appends.
        self._lock = threading.Lock()

    def append(self, step: int, logs: Mapping[str, float]) -> None:
        """Add one report; a name may come late or be missing now and then."""
        with self._lock:
            for name in logs:
                if name not in self._columns:
                    self._columns[name] = array("d", [np.nan]) * len(self._steps)
            for name, column in self._columns.items():
                column.append(logs.get(name, np.nan))
            self._steps.append(step)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        with self._lock:
            logs = {name: column[index] for name, column in self._columns.items()}
            # A value that is NaN was never reported: reports refuse NaN.
            return self._steps[index], {k: v for k, v in logs.items() if v == v}

    def __iter__(self) -> Iterator[tuple[int, dict[str, float]]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} reports of {', '.join(self.names) or 'nothing'}>"

    @property
    def names(self) -> list[str]:
        """The names reported so far; the first is the one that is plotted."""
        return list(self._columns)

    def curve(self, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one name (by default the first), as two arrays of one length."""
        with self._lock:
            name = name if name is not None else next(iter(self._columns), None)
            if name not in self._columns:
                return np.empty(0), np.empty(0)
            steps = np.array(self._steps, dtype=float)
            values = np.array(self._columns[name], dtype=float)
        known = ~np.isnan(values)
        return steps[known], values[known]


@dataclass
class Run:
    """One training run: what was asked, what was reported, how it ended.

    Attributes
    ----------
    number
        1 for the first run of a panel.
    framework
        ``"torch"``, ``"tensorflow"`` or ``"keras"``.
    settings
        What the training function was given.
    changed
        The settings that differ from the panel's defaults.
    labels
        What the panel's controls are called, by their names.
    history
        The reports, as a sequence of ``(step, logs)``.
    status
        ``"running"``, ``"done"``, ``"stopped"`` or ``"failed"``.
    seconds
        Time spent training, without pauses.
    results
        What the panel's `summary` measured.
    model
        The trained model, or None: a panel keeps only the last model of each framework.
    picture
        The last samples, an image array, or None; `picture_step` says of which step.
    message, trace
        What went wrong, in words and as a traceback; empty if nothing did.
    """

    number: int
    framework: str
    settings: SimpleNamespace
    changed: dict[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    history: History = field(default_factory=History)
    status: str = "running"
    seconds: float = 0.0
    results: dict[str, float] = field(default_factory=dict)
    model: Any = field(default=None, repr=False)
    picture: np.ndarray | None = field(default=None, repr=False)
    picture_step: int = 0
    message: str = ""
    trace: str = field(default="", repr=False)
    lowest: tuple[int, float] | None = None

    @property
    def label(self) -> str:
        """The framework's name as people write it."""
        return runtime.LABELS.get(self.framework, self.framework)

    @property
    def total(self) -> int:
        """How many steps the run was asked for."""
        return int(self.settings.steps)

    @property
    def step(self) -> int:
        """The last step reported, 0 before the first."""
        return self.history[-1][0] if len(self.history) else 0

    @property
    def loss_name(self) -> str:
        """The name that is plotted: the first one reported."""
        return self.history.names[0] if self.history.names else "loss"

    @property
    def loss(self) -> float | None:
        """The plotted value of the last report, None before the first."""
        return self.history[-1][1].get(self.loss_name) if len(self.history) else None

    def add(self, step: int, logs: Mapping[str, float]) -> None:
        """Keep one report that has been checked, and the lowest plotted value with its step."""
        self.history.append(step, logs)
        loss = logs.get(self.loss_name)
        if loss is not None and (self.lowest is None or loss < self.lowest[1]):
            self.lowest = (step, loss)

    def describe_changes(self) -> str:
        """The settings in which this run differs from the defaults, in words."""
        if not self.changed:
            return "defaults"
        return ", ".join(
            f"{_in_a_sentence(self.labels.get(name) or words(name))} {show_value(value)}"
            for name, value in self.changed.items()
        )

    def line(self) -> str:
        """The run in one line of text, for notebooks read without a kernel."""
        parts = [f"{self.label} ({self.describe_changes()}): {self.status}"]
        parts[0] += f" at step {self.step} of {self.total} in {self.seconds:.1f} s"
        if self.loss is not None and self.lowest is not None:
            parts.append(f"{self.loss_name} {self.loss:.4g} (lowest {self.lowest[1]:.4g})")
        parts += [f"{name} {value:.4g}" for name, value in self.results.items()]
        return "; ".join(parts) + "."


def _in_a_sentence(label: str) -> str:
    """``Learning rate`` begins small within a sentence; ``KL weight`` does not."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]
