"""The plain routes: a picture, an array or JSON in; JSON or a picture out."""

import functools
import io

import flask
import numpy as np
from flask import current_app as app
from PIL import Image

from utils.serving import decode, observe, schemas
from utils.serving.config import HERE
from utils.serving.problems import Problem

blueprint = flask.Blueprint("plain", __name__)
PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
JSON = "application/json"
BINARY = (*decode.KINDS, decode.NPY)


def _version() -> str | None:
    asked = flask.request.args.getlist("version")
    return asked[-1] if asked else None


@blueprint.post("/predict")
def predict() -> flask.Response:
    """Say which digit it is."""
    with app.models.use("digits", _version()) as version:
        with observe.span("decode"):
            kind, data = flask.request.mimetype, app.data((JSON, *BINARY))
            if kind == JSON:
                x = np.array(schemas.Predict.model_validate_json(data).images)
            elif kind == decode.NPY:
                x = decode.npy(data)
            else:
                picture = decode.image(data, decode.KINDS[kind], app.course.pixels)
                x = decode.grey(picture, 28)
            x = decode.check(x, version.model.input, app.course.items, "images")
        found = app.compute(version, x)["probabilities"]
        with observe.span("encode"):
            answers = zip(
                found.argmax(1).tolist(), found.astype(float).round(6).tolist(), strict=True
            )
            rows = [{"label": label, "probabilities": row} for label, row in answers]
            return flask.jsonify(model="digits", version=version.number, predictions=rows)


@blueprint.post("/generate")
def generate() -> flask.Response:
    """Draw digits from codes; one as a PNG, if that is what is accepted."""
    accepted = flask.request.accept_mimetypes
    wanted = accepted.best_match([JSON, "image/png"]) if accepted else JSON
    if wanted is None:
        raise Problem(406, "Accept: application/json or image/png.", "Accept")
    with app.models.use("generator", _version()) as version:
        with observe.span("decode"):
            codes = schemas.Generate.model_validate_json(app.data((JSON,))).latents
            x = decode.check(np.array(codes), version.model.input, app.course.items, "latents")
        images = app.compute(version, x)["images"]
        with observe.span("encode"):
            images = np.rint(255 * images).astype("uint8")  # N×28×28
            if wanted == "image/png":  # several stand below each other
                stream = io.BytesIO()
                Image.fromarray(images.reshape(-1, 28)).save(stream, "PNG")
                return flask.Response(stream.getvalue(), content_type="image/png")
            return flask.jsonify(model="generator", version=version.number, images=images.tolist())


@blueprint.post("/detect")
def detect() -> flask.Response:
    """Say what is where."""
    with app.models.use("detector", _version()) as version:
        with observe.span("decode"):
            kind, data = flask.request.mimetype, app.data(BINARY)
            if kind == decode.NPY:
                x = decode.npy(data)
                if x.ndim == 2:  # grey, as a PNG may be
                    x = np.repeat(x[..., None], 3, axis=-1)
            else:
                x = decode.colour(decode.image(data, decode.KINDS[kind], app.course.pixels))
            x = decode.check(x, version.model.input, 1, "image")
            height, width = x.shape[1:3]
            if height * width > app.course.pixels:
                raise Problem(
                    413, f"More than {app.course.pixels:,} pixels: scale it down.", "image"
                )
            # The network's stride: what is missing is black at the right and below.
            x = np.pad(x, [(0, 0), (0, -height % 32), (0, -width % 32), (0, 0)])
        found = {name: values[0] for name, values in app.compute(version, x).items()}
        with observe.span("encode"):
            boxes = np.clip(found["boxes"], 0, [width, height, width, height])
            rows = [
                dict(zip(("x0", "y0", "x1", "y1"), map(float, boxes[i]), strict=True))
                | {"label": int(found["labels"][i]), "score": float(found["scores"][i])}
                for i in range(int(found["counts"]))
            ]
            size = {"width": int(width), "height": int(height)}
            return flask.jsonify(model="detector", version=version.number, **size, boxes=rows)


@blueprint.get("/models")
def models() -> flask.Response:
    """What is served."""
    found = {n: [v.describe() for v in versions] for n, versions in app.models.models().items()}
    return flask.jsonify(models=found)


@blueprint.get("/metrics")
def metrics() -> flask.Response:
    """Numbers for Prometheus."""
    return flask.Response(app.metrics.text(), content_type=observe.CONTENT_TYPE)


@blueprint.get("/openapi.json")
def document() -> flask.Response:
    """What this server can be asked."""
    return flask.jsonify(app.document())


def _page(file: str, kind: str) -> flask.Response:
    return flask.Response((HERE / file).read_bytes(), content_type=kind)


for _path, (_file, _kind) in PAGES.items():
    blueprint.add_url_rule(_path, _file.replace(".", "_"), functools.partial(_page, _file, _kind))
