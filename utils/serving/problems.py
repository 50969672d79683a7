"""Errors that a program can read: ``application/problem+json`` (RFC 9457), no traceback."""

import http
import json
import logging
from typing import Any

import flask
import pydantic
from werkzeug.exceptions import HTTPException

TYPE = "application/problem+json"
_log = logging.getLogger("course.serving")


class Problem(Exception):
    """Something the client is told: a status, what is wrong, where, and what to do about it."""

    def __init__(
        self, status: int, detail: str, field: str | None = None, headers: dict | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}
        self.errors = [{"field": field, "remedy": detail}] if field else []


def busy(detail: str) -> Problem:
    """No room now: come back in a second."""
    return Problem(503, detail, headers={"Retry-After": "1"})


def body(status: int, detail: str, errors: Any = (), **more: Any) -> dict[str, Any]:
    """The document itself."""
    title = http.HTTPStatus(status).phrase
    found = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return {**found, "errors": list(errors)} if errors else found


def _answer(status: int, detail: str, errors: Any = (), headers: Any = ()) -> flask.Response:
    more = {"request_id": flask.g.get("id", "")}
    if flask.request.path.startswith("/v2"):
        more["error"] = detail  # where clients of the open protocol look for it
    text = json.dumps(body(status, detail, errors, **more))
    answer = flask.Response(text, status, content_type=TYPE)
    for name, value in dict(headers).items():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def _invalid(error: pydantic.ValidationError) -> flask.Response:
    all_of_them = error.errors(include_url=False, include_context=False, include_input=False)
    found = [
        {"field": ".".join(map(str, e["loc"])) or "body", "remedy": e["msg"]}
        for e in all_of_them[:10]
    ]
    detail = f"{found[0]['field']}: {found[0]['remedy']}"
    return _answer(400 if all_of_them[0]["type"] == "json_invalid" else 422, detail, found)


def _unexpected(error: Exception) -> flask.Response:
    _log.error("unexpected", exc_info=error)  # the log has the traceback; the client has the id
    return _answer(500, "The server made a mistake. Its log says more under this request_id.")


def register(app: flask.Flask) -> None:
    """Let every error of an application be a problem document."""
    app.register_error_handler(Problem, lambda e: _answer(e.status, e.detail, e.errors, e.headers))
    app.register_error_handler(pydantic.ValidationError, _invalid)
    app.register_error_handler(  # its headers stay: a 405 must say what is allowed
        HTTPException,
        lambda e: _answer(e.code or 500, e.description or "", headers=e.get_response().headers),
    )
    app.register_error_handler(Exception, _unexpected)
