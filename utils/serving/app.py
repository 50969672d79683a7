"""The factory: one application, with its models, limits, errors and metrics; nothing is global."""

import json
import time
from typing import Any

import flask
from flask.json.provider import DefaultJSONProvider

from utils.serving import observe, problems, routes, schemas, v2
from utils.serving.batcher import FULL
from utils.serving.config import Config
from utils.serving.problems import Problem, busy
from utils.serving.registry import Registry, Version

# The page loads nothing from elsewhere, and no other site may put it into a frame.
POLICY = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; frame-ancestors 'none'"


class Json(DefaultJSONProvider):
    """JSON proper: Flask's own would write NaN, which is none."""

    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode

    def dumps(self, obj: Any, **more: Any) -> str:
        """Text, or an error."""
        return self.encode(obj)


class Course(flask.Flask):
    """A Flask application that knows its models."""

    json_provider_class = Json

    def __init__(self, config: Config, registry: Registry) -> None:
        super().__init__("utils.serving", static_folder=None, template_folder=None)
        self.course, self.models = config, registry
        self.metrics = observe.Metrics(registry)
        self.config["MAX_CONTENT_LENGTH"] = config.body

    def document(self) -> dict[str, Any]:
        """The OpenAPI document, true now."""
        return schemas.openapi(self.course, list(self.models.models()))

    def number(self, header: str, least: int, most: int) -> int | None:
        """A header of this request that is a whole number; None where it was not sent."""
        asked = flask.request.headers.get(header)
        if asked is None:
            return None
        if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
            asked = "-1"
        if not least <= int(asked) <= most:
            raise Problem(422, f"{header}: a whole number from {least} to {most}.", header)
        return int(asked)

    def deadline(self) -> float:
        """When this request's time is up, by the clock of `time.monotonic`."""
        most = self.course.deadline_ms
        return flask.g.arrived + (self.number("X-Deadline-Ms", 1, most) or most) / 1000

    def compute(self, version: Version, x: Any) -> dict[str, Any]:
        """Run a model for this request, and note how long that took."""
        started = time.perf_counter()
        found, waited = version.runner.run(x, self.deadline())
        observe.note("queue", waited)
        observe.note("infer", time.perf_counter() - started - waited)
        return found

    def data(self, kinds: tuple[str, ...]) -> bytes:
        """The body, if it has one of these content types and is not encoded once more."""
        request = flask.request
        if request.content_encoding:
            raise Problem(
                415, "Send the body as it is, without Content-Encoding.", "Content-Encoding"
            )
        if request.mimetype not in kinds:
            raise Problem(415, f"Content-Type: one of {', '.join(kinds)}.", "Content-Type")
        return request.get_data(cache=False)


def create_app(config: Config | None = None, registry: Registry | None = None) -> Course:
    """The application for any WSGI server.

    Parameters
    ----------
    config
        Every switch and limit.
    registry
        The models. Without one, those of `config` are loaded and warmed up before this returns.
    """
    config = config or Config()
    if registry is None:
        registry = Registry(config)
        registry.load()
    app = Course(config, registry)
    observe.register(app, app.metrics)
    problems.register(app)
    app.register_blueprint(routes.blueprint)
    app.register_blueprint(v2.blueprint, url_prefix="/v2")

    @app.before_request
    def room() -> None:
        if flask.request.environ.get("course.full") and flask.request.method == "POST":
            raise busy(FULL)

    @app.after_request
    def headers(answer: flask.Response) -> flask.Response:
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["Content-Security-Policy"] = POLICY
        origin = flask.request.headers.get("Origin")
        if origin in config.origins:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Allow-Headers"] = "Content-Type"
            answer.headers.add("Vary", "Origin")
        return answer

    return app
