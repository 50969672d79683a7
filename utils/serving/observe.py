"""What the server says about itself: metrics, one log line a request, ids, and where time went."""

import contextlib
import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Iterator

import flask
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from utils.serving.registry import Registry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ID = re.compile(r"[\w.-]{1,64}")
_PARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_log = logging.getLogger("course.serving")


class Lines(logging.Formatter):
    """A JSON object a line: nothing that a client sends can begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        found = {"time": self.formatTime(record), "level": record.levelname}
        found |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)


def log_to(stream=sys.stderr) -> None:
    """Send the server's log lines somewhere."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    _log.handlers, _log.propagate = [handler], False
    _log.setLevel(logging.INFO)


@contextlib.contextmanager
def span(name: str) -> Iterator[None]:
    """Note how long a part of this request takes."""
    started = time.perf_counter()
    try:
        yield
    finally:
        note(name, time.perf_counter() - started)


def note(name: str, seconds: float) -> None:
    """Add to a part of this request."""
    spans = flask.g.spans
    spans[name] = spans.get(name, 0.0) + seconds


class Metrics:
    """The numbers of one application, in a registry of their own."""

    def __init__(self, models: Registry) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter("requests", "Answers", ["route", "code"], registry=own)
        buckets = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
        self.seconds = Histogram(
            "request_seconds", "Arrival to answer", ["route"], registry=own, buckets=buckets
        )
        self.running = Gauge("requests_in_progress", "Requests being answered", registry=own)
        sizes = (1, 2, 4, 8, 16, 32, 64, 128)
        self.sizes = Histogram("batch_size", "Items", ["model"], registry=own, buckets=sizes)
        Gauge("queue_depth", "Waiting for a batch", registry=own).set_function(models.queued)
        self.info = Gauge(
            "model_info", "1 for each version", ["model", "version", "sha256"], registry=own
        )
        self.loading = Gauge("model_load_seconds", "", ["model", "version"], registry=own)
        self._models = models
        models.batched = lambda name, size: self.sizes.labels(name).observe(size)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        self.info.clear()
        self.loading.clear()
        for name, versions in self._models.models().items():
            for v in versions:
                self.info.labels(name, v.number, v.sha256[:16]).set(1)
                self.loading.labels(name, v.number).set(v.seconds)
        return generate_latest(self.registry)


def register(app: flask.Flask, metrics: Metrics) -> None:
    """Watch every request of an application."""

    @app.before_request
    def begin() -> None:
        g, environ, now = flask.g, flask.request.environ, time.monotonic()
        asked, parent = environ.get("HTTP_X_REQUEST_ID", ""), environ.get("HTTP_TRACEPARENT", "")
        g.id = asked if _ID.fullmatch(asked) else secrets.token_hex(16)
        g.parent = parent if _PARENT.fullmatch(parent) else None
        g.spans = {}
        g.arrived = environ.get("course.arrived", now)  # before it waited for a thread
        if now > g.arrived:
            note("queue", now - g.arrived)
        g.counted = True
        metrics.running.inc()

    @app.after_request
    def end(answer: flask.Response) -> flask.Response:
        g, request = flask.g, flask.request
        if not g.get("counted"):
            return answer
        seconds = time.monotonic() - g.arrived
        route = request.url_rule.rule if request.url_rule else "unknown"
        metrics.requests.labels(route, str(answer.status_code)).inc()
        metrics.seconds.labels(route).observe(seconds)
        spans = {**g.spans, "total": seconds}
        answer.headers["X-Request-ID"] = g.id
        answer.headers["Server-Timing"] = ", ".join(
            f"{name};dur={1000 * s:.2f}" for name, s in spans.items()
        )
        if g.parent:
            answer.headers["traceparent"] = g.parent
        if _log.isEnabledFor(logging.INFO):
            fields = {"id": g.id, "method": request.method, "route": route}
            fields |= {"status": answer.status_code, "trace": g.parent}
            fields |= {f"{name}_ms": round(1000 * s, 2) for name, s in spans.items()}
            _log.info("request", extra={"fields": fields})
        return answer

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        if flask.g.pop("counted", False):
            metrics.running.dec()
