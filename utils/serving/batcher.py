"""Who waits for the model: each request by itself, or several together in one call.

Both have a bounded queue (one request too many is refused at once: a queue without end only
lets everybody wait for an answer that comes too late) and both refuse what is too late already.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from utils.serving.engines import Arrays
from utils.serving.problems import Problem, busy

FULL = "The queue is full: try again after Retry-After seconds, or send fewer requests at a time."
LATE = "The deadline passed before the model was free: allow more time, or come back later."


class Direct:
    """The model is called in the thread of the request."""

    def __init__(self, call: Callable[[np.ndarray], Arrays], limit: int) -> None:
        self._call, self._room = call, threading.BoundedSemaphore(limit)

    def run(self, x: np.ndarray, deadline: float) -> tuple[Arrays, float]:
        """What the model makes of x, and the seconds that x waited."""
        if not self._room.acquire(blocking=False):
            raise busy(FULL)
        try:
            if time.monotonic() > deadline:
                raise Problem(504, LATE)
            return self._call(x), 0.0
        finally:
            self._room.release()

    def close(self) -> None:
        """Nothing to end."""


class Job(NamedTuple):
    """A request that waits."""

    x: np.ndarray
    deadline: float
    since: float
    answer: Future


class Batcher:
    """A thread that collects requests for a moment and calls the model once for all of them.

    Parameters
    ----------
    call
        The model: arrays (N, …) in, a dictionary of arrays (N, …) out.
    most
        Items in a batch. A request with more runs alone.
    wait
        Seconds that the first of a batch waits for others: what batching may cost at most.
    limit
        Requests that may wait.
    noted
        Told the size of each batch.
    """

    def __init__(
        self,
        call: Callable[[np.ndarray], Arrays],
        most: int,
        wait: float,
        limit: int,
        noted: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._call, self._most, self._wait, self._noted = call, most, wait, noted
        self._jobs: queue.Queue[Job | None] = queue.Queue(limit)
        self._lock, self._closed = threading.Lock(), False
        self._held: Job | None = None  # did not fit into the last batch: first of the next
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Requests that wait now."""
        return self._jobs.qsize()

    def run(self, x: np.ndarray, deadline: float) -> tuple[Arrays, float]:
        """What the model makes of x, and the seconds that x waited."""
        job = Job(x, deadline, time.monotonic(), Future())
        with self._lock:  # so that nothing comes after the end
            if self._closed:
                raise busy("This version of the model is being replaced: try again.")
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                raise busy(FULL) from None
        try:
            return job.answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            job.answer.cancel()
            raise Problem(504, LATE) from None

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        ending = False
        while not ending:
            jobs, ending = self._gather()
            jobs = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
            if jobs:
                self._serve(jobs)

    def _gather(self) -> tuple[list[Job], bool]:
        first = self._held or self._jobs.get()
        self._held = None
        if first is None:
            return [], True
        jobs, size, end = [first], len(first.x), time.monotonic() + self._wait
        while size < self._most:
            try:
                job = self._jobs.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            if size + len(job.x) > self._most or job.x.shape[1:] != first.x.shape[1:]:
                self._held = job
                break
            jobs.append(job)
            size += len(job.x)
        return jobs, False

    def _serve(self, jobs: list[Job]) -> None:
        begun = time.monotonic()
        for job in [job for job in jobs if job.deadline < begun]:
            job.answer.set_exception(Problem(504, LATE))
        jobs = [job for job in jobs if job.deadline >= begun]
        if not jobs:
            return
        try:
            found = self._call(np.concatenate([job.x for job in jobs]))
            self._noted(sum(len(job.x) for job in jobs))
        except Exception as error:
            for job in jobs:
                job.answer.set_exception(error)
            return
        at = 0
        for job in jobs:
            part = {name: values[at : at + len(job.x)] for name, values in found.items()}
            at += len(job.x)
            job.answer.set_result((part, begun - job.since))
