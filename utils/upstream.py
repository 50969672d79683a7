"""Remedies for faults of the frameworks themselves, each with its source, until they are mended.

Only `runtime` calls them, and the tests, which load frameworks as they like.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable
from typing import Any

from utils import CourseError


def triton_first(wanted: Iterable[str] = ()) -> None:
    """Load Triton, which PyTorch's builds for GPUs bring along, before TensorFlow is loaded.

    PyTorch would load it with its first optimiser. From 3.7 on it would then call TensorFlow's
    LLVM instead of its own, and the process would end without a word.
    Source: tensorflow/tensorflow, issue 124205.

    Raises
    ------
    CourseError
        If PyTorch is wanted, and TensorFlow came before this could be called.
    """
    if "triton" in sys.modules or not all(map(importlib.util.find_spec, ("tensorflow", "triton"))):
        return
    if "tensorflow" not in sys.modules:
        with contextlib.suppress(ImportError):  # PyTorch can do without it
            importlib.import_module("triton")
    elif "torch" in (*wanted, *sys.modules):
        version = importlib.metadata.version("triton").split(".")[:2]
        if tuple(map(int, version)) >= (3, 7):
            raise CourseError(
                "TensorFlow was imported before the course was, and Triton, which belongs to "
                "PyTorch, cannot follow it: restart the kernel and run the set-up cell first."
            )


def stop_tuning(tf: Any) -> None:
    """Let iterators of tf.data tune themselves only where their dataset's options ask for it.

    TensorFlow tells the thread that tunes to end before it notes that it did, so that now and then
    the thread sleeps on, for up to a minute. Whoever drops the iterator waits for it, as a rule
    Python's collector: minutes after a training, the kernel would stand still.
    Source: tensorflow/tensorflow, ``CancellationManager::StartCancel``, ``Model::OptimizeLoop``.
    """
    iterate = tf.data.Dataset.__iter__

    @functools.wraps(iterate)
    def untuned(dataset: Any) -> Any:
        if dataset.options().autotune.enabled is None:
            options = tf.data.Options()
            options.autotune.enabled = False
            dataset = dataset.with_options(options)
        return iterate(dataset)

    tf.data.Dataset.__iter__ = untuned
