"""Exercises of 19_flask: statuses, Little's law, percentiles, finite numbers, batches."""

import math

import numpy as np

from utils.exercises import Exercise

_STATUS = {
    "wrong shape": 422,
    "broken JSON": 400,
    "unknown path": 404,
    "too large": 413,
    "queue full": 503,
    "bug": 500,
}


def _status_of(what):
    return {
        "wrong shape": 422,  # well-formed, but not what the model takes
        "broken JSON": 400,
        "unknown path": 404,
        "too large": 413,
        "queue full": 503,  # with Retry-After
        "bug": 500,
    }[what]


def _changed(**codes):
    found = {name.replace("_", " "): code for name, code in codes.items()}
    found = {("broken JSON" if n == "broken json" else n): c for n, c in found.items()}
    return lambda what: {**_STATUS, **found}[what]


status_of = Exercise(
    "status_of",
    "Write status_of(what): the HTTP status for each of six things that go wrong.",
    solution=_status_of,
    cases=[(what,) for what in _STATUS],
    wrong=[
        (lambda what: 500, "500 says that the server made a mistake; only the last one is."),
        (
            lambda what: 400,
            "not all of it is the request's fault, and some has a status of its own.",
        ),
        (
            _changed(wrong_shape=500, broken_json=500),
            "a broken request is the client's mistake: 4xx, or you will be woken for it.",
        ),
        (
            _changed(wrong_shape=400),
            "JSON that can be read but does not fit has a status of its own: 422.",
        ),
        (_changed(queue_full=500), "a full queue is no mistake of anybody's: come back later."),
        (
            _changed(queue_full=429),
            "429 says that *this client* asks too much; here all of them do.",
        ),
        (lambda what: 200, "a program reads the status: 200 would say that all is well."),
    ],
    hints=[
        "4xx: the client must change something. 5xx: it may try the same again.",
        "400 cannot be read, 422 can be read and does not fit, 413 too large, 503 come back later.",
    ],
    correct="and a client knows from the first digit whether to try again.",
)


def _waiting(clients, per_second):
    return 1000 * clients / per_second


waiting = Exercise(
    "waiting",
    "Write waiting(clients, per_second): the mean milliseconds from question to answer.",
    solution=_waiting,
    cases=[(64.0, 1000.0), (1.0, 500.0), (8.0, 100.0)],
    wrong=[
        (lambda clients, per_second: clients / per_second, "these are seconds."),
        (
            lambda clients, per_second: 1000 / per_second,
            "that is the time between two answers; each client waits for all the others too.",
        ),
        (
            lambda clients, per_second: per_second / clients,
            "upside down: more clients wait longer.",
        ),
        (
            lambda clients, per_second: 1000 * (clients - 1) / per_second,
            "the request that is being answered is under way as well.",
        ),
    ],
    hints=["Requests under way = throughput × time.", "clients = per_second × seconds."],
    correct="so a throughput without the number of clients says nothing about waiting.",
)


def _percentile(times, percent):
    ordered = np.sort(times)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


percentile = Exercise(
    "percentile",
    "Write percentile(times, percent): within which time were so many percent answered?",
    solution=_percentile,
    cases=[
        (np.array([3.0, 1.0, 2.0, 10.0]), 50),
        (np.array([3.0, 1.0, 2.0, 10.0]), 75),
        (np.array([3.0, 1.0, 2.0, 10.0]), 100),
        (np.array([3.0, 1.0, 2.0, 10.0]), 60),
        (np.array([5.0]), 99),
    ],
    wrong=[
        (lambda times, percent: np.mean(times), "this is the mean: it hides the slow ones."),
        (lambda times, percent: np.max(times), "this is the slowest of all."),
        (
            lambda times, percent: np.asarray(times)[math.ceil(len(times) * percent / 100) - 1],
            "sort first.",
        ),
        (
            lambda times, percent: np.percentile(times, percent),
            "NumPy interpolates by default; here it is one of the measured times.",
        ),
        (
            lambda times, percent: np.sort(times)[
                min(len(times) - 1, int(len(times) * percent / 100))
            ],
            "one place too far where the share comes out even: of four times, 50 % is the second.",
        ),
    ],
    hints=["Sort. How many must be covered?", "⌈N · percent / 100⌉ of them: that place, from 1."],
    correct="this is how load tests report p50, p95 and p99.",
)


def _safe(numbers):
    with np.errstate(over="ignore"):
        return np.isfinite(np.asarray(numbers).astype("float32"))


def _unlike(function):
    def wrong(numbers):
        with np.errstate(all="ignore"):
            return function(np.asarray(numbers))

    return wrong


safe = Exercise(
    "safe",
    "Write safe(numbers): which of these float64 numbers are finite as float32?",
    solution=_safe,
    cases=[
        (np.array([0.5, 1e39]),),
        (np.array([1.0, np.nan, np.inf, -np.inf]),),
        (np.array([-1e39, 3e38, 1e-50]),),
    ],
    wrong=[
        (
            _unlike(np.isfinite),
            "1e39 is finite in 64 bits; as float32 it is infinite. Check after the cast.",
        ),
        (_unlike(lambda n: ~np.isnan(n)), "infinity is no number to compute with either."),
        (
            _unlike(lambda n: np.abs(n) < 1e6),
            "3e38 is a float32: whether it makes sense as a pixel is another question.",
        ),
        (
            _unlike(lambda n: n.astype("float32") == n),
            "0.1 is not exactly a float32, and 1e-50 becomes 0: both are harmless.",
        ),
    ],
    hints=["The largest float32 is about 3.4e38.", "astype first, then isfinite."],
    correct="1e39 passes every check that is made before the cast.",
)


def _gain(a, b, n):
    return n * (a + b) / (a + b * n)


gain = Exercise(
    "gain",
    "Write gain(a, b, n): the throughput of batches of n, over that of single calls.",
    solution=_gain,
    cases=[(10.0, 1.0, 8.0), (0.1, 1.0, 32.0), (5.0, 0.5, 1.0)],
    wrong=[
        (lambda a, b, n: n, "only if an image cost nothing: b = 0."),
        (lambda a, b, n: 1 + a / b, "this is the limit for large n."),
        (
            lambda a, b, n: (a + b * n) / (n * (a + b)),
            "upside down: this is the time, as a share of before.",
        ),
        (lambda a, b, n: n * a / (a + b * n), "a single call has its own image to compute too."),
        (lambda a, b, n: (a + b) / (a + b * n), "the batch answers n requests, not one."),
    ],
    hints=["Single: 1 / (a + b) requests a second.", "Batches: n / (a + b n) a second."],
    correct="with a = 0 it is 1: there is nothing to buy back.",
)
