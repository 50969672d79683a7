"""Micro-batches: every answer is the right one, nothing waits for ever, the end is orderly."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from utils.serving.batcher import Batcher, Direct
from utils.serving.problems import Problem

FAR = 60.0


def double(x):
    return {"y": 2 * x}


def later(seconds=FAR):
    return time.monotonic() + seconds


@pytest.fixture
def batcher():
    made = []

    def make(call=double, most=8, wait=0.05, limit=64, noted=lambda size: None):
        made.append(Batcher(call, most, wait, limit, noted))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not each._thread.is_alive()


def test_answers_match_their_questions_and_calls_are_shared(batcher):
    sizes = []
    waiting = batcher(noted=sizes.append)

    def ask(i):
        x = np.full((1 + i % 3, 4), i, "float32")
        found, _ = waiting.run(x, later())
        return np.array_equal(found["y"], 2 * x)

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(400)))
    assert sum(sizes) == sum(1 + i % 3 for i in range(400))
    assert max(sizes) <= 8 and len(sizes) < 400


def test_other_shapes_and_large_requests_come_whole(batcher):
    waiting = batcher(most=4)
    shapes = [(1, 2), (1, 3), (9, 2), (1, 2), (4, 3), (2, 2)]
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(
            lambda s: waiting.run(np.ones(s, "float32"), later())[0]["y"].shape, shapes
        )
        assert list(found) == shapes


def test_a_mistake_reaches_everyone_and_the_thread_goes_on(batcher):
    def call(x):
        if x[0, 0] < 0:
            raise ValueError("negative")
        return double(x)

    waiting = batcher(call)
    with pytest.raises(ValueError, match="negative"):
        waiting.run(np.full((1, 1), -1.0), later())
    assert waiting.run(np.ones((1, 1)), later())[0]["y"] == 2


@pytest.fixture
def stuck():
    """A model that computes only when it is let go."""
    go, begun = threading.Event(), threading.Event()

    def call(x):
        begun.set()
        assert go.wait(60)
        return double(x)

    call.go, call.begun = go, begun
    yield call
    go.set()


def test_a_full_queue_refuses_at_once(batcher, stuck):
    waiting = batcher(stuck, most=1, limit=2)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(waiting.run, np.ones((1, 1)), later())
        assert stuck.begun.wait(60)
        others = [pool.submit(waiting.run, np.ones((1, 1)), later()) for _ in range(2)]
        while waiting.depth < 2:
            time.sleep(0.01)
        with pytest.raises(Problem) as refused:
            waiting.run(np.ones((1, 1)), later())
        assert refused.value.status == 503 and refused.value.headers["Retry-After"]
        stuck.go.set()
        assert all(one.result(60)[0]["y"] == 2 for one in [first, *others])


def test_a_deadline_ends_the_waiting_and_nothing_is_computed_for_it(batcher, stuck):
    waiting = batcher(stuck, most=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(waiting.run, np.ones((1, 1)), later())
        assert stuck.begun.wait(60)
        with pytest.raises(Problem) as late:
            waiting.run(np.full((1, 1), 5.0), later(0.05))
        assert late.value.status == 504
        stuck.go.set()
        assert first.result(60)[0]["y"] == 2
    assert waiting.run(np.ones((1, 1)), later())[0]["y"] == 2  # and not the 5's answer


def test_the_end_answers_what_waits(stuck):
    waiting = Batcher(stuck, 2, 0.01, 64)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(waiting.run, np.full((1, 1), i), later()) for i in range(6)]
        assert stuck.begun.wait(60)
        while waiting.depth < 4:
            time.sleep(0.01)
        ending = pool.submit(waiting.close)
        stuck.go.set()
        assert [one.result(60)[0]["y"].item() for one in asked] == [0, 2, 4, 6, 8, 10]
        ending.result(60)
    with pytest.raises(Problem):
        waiting.run(np.ones((1, 1)), later())
    waiting.close()  # twice does no harm


def test_without_batches_the_bounds_are_the_same(stuck):
    direct = Direct(stuck, 1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(direct.run, np.ones((1, 1)), later())
        assert stuck.begun.wait(60)
        with pytest.raises(Problem) as refused:
            direct.run(np.ones((1, 1)), later())
        assert refused.value.status == 503
        stuck.go.set()
        assert first.result(60)[0]["y"] == 2
    with pytest.raises(Problem) as late:
        direct.run(np.ones((1, 1)), later(-1))
    assert late.value.status == 504
