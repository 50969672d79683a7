"""What long trainings share: they save themselves, say how far they are, and go on where cut."""

import time
from pathlib import Path
from typing import Any

SAVE_EVERY = 60.0  # seconds: what a cut may cost


class Keeper:
    """Saves a TensorFlow trainer to `folder` as it goes, and restores it at the start.

    Parameters
    ----------
    name
        What is trained, for the log.
    trainer
        A ``tf.Module`` that holds model, optimiser and step count.
    steps
        How many steps it will have made at the end.
    folder
        Where its state is kept.
    counter
        The variable that counts its steps: ``trainer.step`` if None.
    """

    def __init__(
        self, name: str, trainer: Any, steps: int, folder: Path, counter: Any = None
    ) -> None:
        import tensorflow as tf

        self._name, self._steps = name, steps
        self._before = tf.Variable(0.0, dtype="float64")  # seconds of earlier calls, saved as well
        state = tf.train.Checkpoint(trainer=trainer, seconds=self._before)
        self._manager = tf.train.CheckpointManager(state, str(folder), 2)
        self._manager.restore_or_initialize()
        done = int(trainer.step if counter is None else counter)
        print(f"{name}: from step {done:,} of {steps:,}", flush=True)
        self._started = self._saved = time.monotonic()
        self._earlier = float(self._before)

    def seconds(self) -> float:
        """How long the training has taken by now, in this call and in those that were cut."""
        return self._earlier + time.monotonic() - self._started

    def _save(self) -> None:
        self._before.assign(self.seconds())
        self._manager.save()

    def report(self, step: int, logs: dict[str, float], preview: Any = None) -> bool:
        """Hand this to the training function as its report."""
        if time.monotonic() - self._saved > SAVE_EVERY:
            self._save()
            self._saved = time.monotonic()
            values = ", ".join(f"{key} {value:.4g}" for key, value in logs.items())
            print(f"{self._name}: step {step:,} of {self._steps:,}, {values}", flush=True)
        return True

    def done(self) -> float:
        """Save a last time; the seconds of the whole training, earlier calls included."""
        self._save()
        return self.seconds()
