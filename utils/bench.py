"""``make bench``: how fast the lessons' own code is, as ratios measured side by side in one run.

For each framework the VAE's training step is compared with a textbook loop (PyTorch: a
DataLoader over PIL images and an unfused optimiser; TensorFlow and Keras: the same code without
compiling the step), the two taking turns, and with the machine's floor: the step's
floating-point operations over the matrix-multiplication rate measured here. Then ResNet-20's (see
`utils.bench_resnet`), each notebook's wall time and peak memory, and import times. Nothing here
passes or fails.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from utils import data, lessons, runtime

BATCH, LATENTS = 100, 50
Report = Callable[..., bool]


def gemm_rate(size: int = 1024, repeats: int = 20) -> float:
    """Floating-point operations per second of a float32 matrix product with the same threads."""
    a = np.random.default_rng(0).random((size, size), dtype=np.float32)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(times)


def step_flops(batch: int = BATCH, latents: int = LATENTS) -> int:
    """Multiplications and additions of the VAE's training step in its matrix products.

    Each weight is used once forwards, once for its own gradient and, except in the first layer,
    once for the gradient of its input: 2 operations each per image.
    """
    first = 784 * 200
    rest = 200 * 200 + 2 * 200 * latents + latents * 200 + 200 * 200 + 200 * 784
    return 2 * batch * (2 * first + 3 * rest)


def seconds_per_step(train: Callable[[Report], Any]) -> float:
    """Median seconds of a step over what `train` reports, without the first fifth."""
    marks: list[tuple[int, float]] = []

    def report(step: int, logs: Any = None, preview: Any = None) -> bool:
        marks.append((step, time.perf_counter()))
        return True

    train(report)
    marks = marks[len(marks) // 5 :]
    pairs = zip(marks, marks[1:], strict=False)
    return statistics.median((t1 - t0) / (s1 - s0) for (s0, t0), (s1, t1) in pairs)


def textbook_torch(lesson: ModuleType, images: np.ndarray, settings: Any, report: Report) -> None:
    """The loop that most tutorials show: PIL images through a DataLoader, one `.item()` a step."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    class Digits(Dataset):
        def __init__(self) -> None:
            self.images = [Image.fromarray(image.reshape(28, 28)) for image in images]

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Any:
            grey = torch.from_numpy(np.array(self.images[index], np.float32) / 255)
            return torch.bernoulli(grey.flatten())

    vae = lesson.TorchVAE(settings.latents, lesson.pixel_bias(images))
    optimizer = torch.optim.Adam(vae.parameters(), settings.learning_rate, eps=lesson.ADAM_EPS)
    step = 0
    while True:
        for x in DataLoader(Digits(), settings.batch_size, shuffle=True, drop_last=True):
            nll, kl = lesson.elbo_torch(vae, x, torch.randn(len(x), settings.latents))
            loss = (nll + kl).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            step += 1
            if step % 10 == 0:
                report(step)
            if step == settings.steps:
                return


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """TensorFlow runs its functions line by line, as code without `tf.function` would."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def compare(
    framework: str, images: np.ndarray, blocks: int, steps: int
) -> tuple[float, list[float]]:
    """Seconds of the lesson's step, and in each block the textbook's time over the lesson's."""
    lesson = lessons.load("02_vae", framework)
    settings = SimpleNamespace(
        **{**lesson.QUICK, "batch_size": BATCH, "steps": steps, "seed": 0, "framework": framework}
    )

    def ours(report: Report) -> None:
        lesson.ways[framework].train(images, settings, report)

    def textbook(report: Report) -> None:
        if framework == "torch":
            textbook_torch(lesson, images, settings, report)
        else:
            with uncompiled():
                ours(report)

    mine, ratios = [], []
    for _ in range(blocks):
        mine.append(seconds_per_step(ours))
        ratios.append(seconds_per_step(textbook) / mine[-1])
    return statistics.median(mine), ratios


def _one(framework: str, blocks: int, steps: int) -> None:
    """Measure one framework in this process and print its row."""
    runtime.begin("quick", [framework])
    images = data.flatten(data.mnist().x_train)
    rate = gemm_rate()
    seconds, ratios = compare(framework, images, blocks, steps)
    share = step_flops() / rate / seconds
    print(
        f"  {runtime.LABELS[framework]:<11}{1e3 * seconds:6.2f} ms a step (batch {BATCH}); "
        f"textbook {statistics.median(ratios):5.1f}× as long "
        f"({min(ratios):.1f}–{max(ratios):.1f} over {blocks} blocks); "
        f"{share:4.0%} of the floor at {rate / 1e9:.0f} GFLOP/s"
    )


def _notebooks() -> None:
    """Run each notebook in its quick profile in a fresh kernel; wall time and peak memory."""
    import nbformat

    from utils.lessons import course, execute

    line = "from utils import runtime as _r; print(f'{_r.peak_memory_mb():.0f}')"
    for chapter in course.read().built:
        notebook = execute.prepare(nbformat.read(chapter.notebook, as_version=4))
        notebook.cells.append(nbformat.v4.new_code_cell(line))
        started = time.perf_counter()
        execute.execute(notebook, chapter.notebook.parent, chapter.name)
        seconds = time.perf_counter() - started
        peak = notebook.cells[-1].outputs[0].text.strip()
        print(f"  {chapter.name:<18}{seconds:5.0f} s, peak {peak} MB", flush=True)


def _imports() -> None:
    for name in ("utils", *runtime.FRAMEWORKS):
        code = (
            f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
        )
        times = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            times.append(float(done.stdout.split()[-1]))
        print(f"  import {name:<12}{statistics.median(times):6.2f} s")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.bench", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--blocks", type=int, default=5, help="turns of each of the two loops")
    parser.add_argument("--steps", type=int, default=200, help="training steps in a turn")
    parser.add_argument("--framework", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.framework:
        _one(asked.framework, asked.blocks, asked.steps)
        return 0
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{runtime.threads()} threads, load average {load} at the start")
    print("The VAE's training step:", flush=True)
    for framework in runtime.FRAMEWORKS:
        again = [sys.executable, "-m", "utils.bench", "--framework", framework]
        counts = ["--blocks", str(asked.blocks), "--steps", str(asked.steps)]
        done = subprocess.run([*again, *counts], stdout=subprocess.PIPE, text=True, check=True)
        print("\n".join(x for x in done.stdout.splitlines() if x.startswith("  ")), flush=True)
    print("ResNet-20's training step, against the first line of each framework:", flush=True)
    subprocess.run([sys.executable, "-m", "utils.bench_resnet"], check=True)
    print("Imports, in a fresh process:", flush=True)
    _imports()
    print("Notebooks, quick profile, all frameworks:", flush=True)
    _notebooks()
    return 0


if __name__ == "__main__":
    sys.exit(main())
