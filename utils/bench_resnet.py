"""ResNet-20's training step: what each trick buys against the textbook loop, all in one run.

The textbook loop is what most tutorials show: PIL images through a DataLoader, shifted one by one,
float32, maps stored channel by channel, one ``.item()`` a step. Each trick is added to it alone,
then all together, then `torch.compile` on top; and the bare TensorFlow step and Keras's `fit` with
and without XLA. What a trick does not buy is said as plainly as what it does.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import data, lessons, parity, runtime

BATCH, WIDTH, DEPTH = 128, 16, 20
Report = Callable[..., bool]
Times = dict[str, list[tuple[float, float]]]  # of each block: seconds of a step by clock and by CPU
# what is said of it -> (batches in memory, channels last, bf16, compiled)
TRICKS: dict[str, tuple[bool, bool, bool, bool]] = {
    "textbook loop": (False, False, False, False),
    "batches in memory": (True, False, False, False),
    "channels last": (False, True, False, False),
    "bf16": (False, False, True, False),
    "all three": (True, True, True, False),
    "all three, torch.compile": (True, True, True, True),
}


def settings_of(lesson: ModuleType, framework: str, steps: int) -> SimpleNamespace:
    """The lesson's settings for ResNet-20 as wide as the paper's."""
    own = {"width": WIDTH, "depth": DEPTH, "batch_size": BATCH, "steps": steps, "seed": 0}
    return SimpleNamespace(**{**lesson.FULL, **own, "bf16": False, "framework": framework})


def one_by_one(images: np.ndarray, labels: np.ndarray, steps: int) -> Iterator[tuple[Any, Any]]:
    """Batches as a textbook makes them: an image at a time, out of a DataLoader."""
    import torch
    from PIL import Image, ImageChops
    from torch.utils.data import DataLoader, Dataset

    class Digits(Dataset):
        def __init__(self) -> None:
            self.images = [Image.fromarray(image) for image in images]

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Any:
            right, down = (int(n) for n in torch.randint(-2, 3, (2,)))
            image = ImageChops.offset(self.images[index], right, down)
            return (torch.from_numpy(np.array(image, np.float32)) - 33) / 79, int(labels[index])

    loader, made = DataLoader(Digits(), BATCH, shuffle=True, drop_last=True), 0
    while True:
        for x, y in loader:
            yield x[..., None], y
            made += 1
            if made == steps:
                return


class TorchLoop:
    """A model that keeps training, with some of the tricks; each turn makes a few steps.

    Parameters
    ----------
    lesson
        12_resnet's exported cells.
    images, labels
        To train on.
    tricks
        A row of `TRICKS`.
    """

    def __init__(
        self,
        lesson: ModuleType,
        images: np.ndarray,
        labels: np.ndarray,
        tricks: tuple[bool, bool, bool, bool],
    ) -> None:
        import torch

        self.lesson, self.images, self.labels = lesson, images, labels
        self.memory, self.last, bf16, compiled = tricks
        net = lesson.small(WIDTH, DEPTH)
        self.model = lesson.TorchResNet(net).train()
        parity.set_weights(self.model, lesson.start(net, 0))
        self.momentum = lesson.TorchMomentum(self.model.parameters())
        self.bf16 = bf16
        if not self.last:
            self.model.to(memory_format=torch.contiguous_format)
        self.run = torch.compile(self.model) if compiled else self.model
        # `step_torch` looks at the weights of what it calls: those of a compiled model too

    def turn(self, steps: int, report: Report) -> None:
        """Make so many steps."""
        import torch

        settings = settings_of(self.lesson, "torch", steps)
        settings.bf16 = self.bf16
        if self.memory:
            batches: Any = self.lesson.feed(self.images, self.labels, settings)
        else:
            batches = one_by_one(self.images, self.labels, steps)
        for step, (x, y) in enumerate(batches, start=1):
            grey = torch.as_tensor(self.lesson.grey(x)) if self.memory else x
            if not self.last:  # channel by channel, as loaders give it. For PyTorch one channel of
                # stride 1 lies channels last, and all maps after it would: say it by the stride.
                grey = grey.reshape(len(grey), 1, *grey.shape[1:3]).permute(0, 2, 3, 1)
            y = torch.as_tensor(y)
            loss = self.lesson.step_torch(self.run, self.momentum, grey, y, 0.01, settings)
            if not self.memory:
                loss.item()
            report(step)


class TFLoop:
    """The lesson's bare step, compiled by XLA or not."""

    def __init__(
        self, lesson: ModuleType, images: np.ndarray, labels: np.ndarray, xla: bool
    ) -> None:
        import tensorflow as tf

        self.lesson, self.images, self.labels = lesson, images, labels
        settings = settings_of(lesson, "tensorflow", 1)
        self.trainer = lesson.TFTrainer(settings, lesson.small(WIDTH, DEPTH))
        self.step = tf.function(self.trainer.step, jit_compile=xla)

    def turn(self, steps: int, report: Report) -> None:
        """Make so many steps."""
        import tensorflow as tf

        settings = settings_of(self.lesson, "tensorflow", steps)
        batches = self.lesson.feed(self.images, self.labels, settings)
        for step, (x, y) in enumerate(batches, start=1):
            float(self.step(tf.constant(self.lesson.grey(x)), tf.constant(y), tf.constant(0.01)))
            report(step)


class KerasLoop:
    """Keras's own training step, compiled by XLA or not."""

    def __init__(
        self, lesson: ModuleType, images: np.ndarray, labels: np.ndarray, xla: bool
    ) -> None:
        import keras

        self.lesson, self.images, self.labels = lesson, images, labels
        net = lesson.small(WIDTH, DEPTH)
        self.model = lesson.KerasResNet(net, 1e-4)
        parity.set_weights(self.model, lesson.start(net, 0))
        self.model.compile(keras.optimizers.SGD(0.01, momentum=0.9), jit_compile=xla)

    def turn(self, steps: int, report: Report) -> None:
        """Make so many steps."""
        settings = settings_of(self.lesson, "keras", steps)
        batches = self.lesson.feed(self.images, self.labels, settings)
        for step, (x, y) in enumerate(batches, start=1):
            self.model.train_on_batch(self.lesson.grey(x), y)
            report(step)


def seconds_per_step(turn: Callable[[Report], Any]) -> tuple[float, float]:
    """Median seconds of a step, by the clock and of the processor, without the first fifth."""
    marks: list[tuple[float, float]] = []

    def report(*_: Any) -> bool:
        marks.append((time.perf_counter(), time.process_time()))
        return True

    turn(report)
    steps = np.diff(np.array(marks[len(marks) // 5 :]), axis=0)
    wall, processor = np.median(steps, axis=0)
    return float(wall), float(processor)


def take_turns(
    loops: dict[str, Callable[[], Any]], blocks: int, steps: int
) -> tuple[Times, dict[str, str]]:
    """What `seconds_per_step` says of each loop in each block, and why some loops do not run.

    Parameters
    ----------
    loops
        What is said of a loop -> a function that makes it.
    blocks
        Turns of each loop; before the first, each has a turn that does not count.
    steps
        Steps in a turn.
    """
    ready, failed = {}, {}
    for title, make in loops.items():
        try:
            ready[title] = make()
            ready[title].turn(2, lambda *_: True)  # compiling and first allocations do not count
        except Exception as error:  # a compiler that is not there is an answer, not an accident
            failed[title] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:80]}"
            ready.pop(title, None)
    times: Times = {title: [] for title in ready}
    for _ in range(blocks):
        for title, loop in ready.items():
            turn = lambda report, loop=loop: loop.turn(steps, report)  # noqa: E731
            times[title].append(seconds_per_step(turn))
    return times, failed


def ratios(times: Times, base: str, column: int) -> dict[str, tuple[float, float, float]]:
    """How many times as fast as `base` each loop was: median, lowest, highest over the blocks.

    Parameters
    ----------
    times
        From `take_turns`.
    base
        The loop to compare with.
    column
        0 for the clock, 1 for the processor's time.
    """
    found = {}
    for title, mine in times.items():
        pairs = zip(times[base], mine, strict=True)
        each = [theirs[column] / own[column] for theirs, own in pairs]
        found[title] = (statistics.median(each), min(each), max(each))
    return found


def rows(times: Times, failed: dict[str, str], base: str) -> list[str]:
    """A line for each loop."""
    said, clock, processor = [], ratios(times, base, 0), ratios(times, base, 1)
    for title in times:
        middle, low, high = clock[title]
        pays = "" if title == base or processor[title][0] > 1.05 else "  does not pay here"
        milliseconds = 1e3 * statistics.median(wall for wall, _ in times[title])
        blocks = f"{low:.2f}–{high:.2f} over {len(times[title])} blocks"
        said.append(
            f"  {title:<25}{milliseconds:7.1f} ms a step, {middle:5.2f}× as fast ({blocks}), "
            f"processor {processor[title][0]:5.2f}×{pays}"
        )
    return said + [f"  {title:<25} does not run here: {reason}" for title, reason in failed.items()]


def loops_of(framework: str, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The loops of a framework; the first is what the others are compared with."""
    lesson = lessons.load("12_resnet", framework)
    if framework == "torch":
        return {
            title: lambda tricks=tricks: TorchLoop(lesson, images, labels, tricks)
            for title, tricks in TRICKS.items()
        }
    kind, name = (TFLoop, "bare") if framework == "tensorflow" else (KerasLoop, "Keras")
    return {
        f"{name}{', XLA' if xla else ''}": lambda xla=xla: kind(lesson, images, labels, xla)
        for xla in (False, True)
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m utils.bench_resnet", description=__doc__)
    parser.add_argument("--blocks", type=int, default=5, help="turns of each loop")
    parser.add_argument("--steps", type=int, default=10, help="training steps in a turn")
    parser.add_argument("--framework", choices=runtime.FRAMEWORKS, help="one of them alone")
    asked = parser.parse_args(arguments)
    digits = data.mnist()
    for framework in (asked.framework,) if asked.framework else runtime.FRAMEWORKS:
        runtime.begin("quick", [framework])
        loops = loops_of(framework, digits.x_train[:5000], digits.y_train[:5000])
        times, failed = take_turns(loops, asked.blocks, asked.steps)
        load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
        threads = f"{runtime.threads()} threads, load average {load}"
        print(f" {runtime.LABELS[framework]}, batch {BATCH}, {threads}:")
        print("\n".join(rows(times, failed, next(iter(loops)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
