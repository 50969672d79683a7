"""The Open Inference Protocol, version 2, over REST: what Triton, MLServer and KServe speak too."""

import math
from typing import Any

import flask
import numpy as np
from flask import current_app as app

from utils.serving import decode, observe, schemas
from utils.serving.engines import Tensor
from utils.serving.problems import Problem
from utils.serving.registry import Version

blueprint = flask.Blueprint("v2", __name__)
JSON = ("application/json", "")  # Triton's own client names no type
DTYPES = {name: name.lower().replace("fp", "float") for name in schemas.NUMBERS}


@blueprint.get("")
def server() -> flask.Response:
    """Who this is."""
    return flask.jsonify(name="deep-learning-three-ways", version="1", extensions=[])


@blueprint.get("/health/live")
def live() -> flask.Response:
    """The process runs; no model is asked."""
    return flask.jsonify(live=True)


@blueprint.get("/health/ready")
def ready() -> flask.Response:
    """Models are loaded and warm, and the server is not shutting down."""
    if not app.models.ready:
        raise Problem(503, "Not ready: models are loading, or the server is shutting down.")
    return flask.jsonify(ready=True)


def _both(path: str, method: str) -> Any:
    """A route with and without a version."""

    def add(view: Any) -> Any:
        for base in ("/models/<model>", "/models/<model>/versions/<version>"):
            blueprint.add_url_rule(base + path, view_func=view, methods=[method])
        return view

    return add


@_both("", "GET")
def metadata(model: str, version: str | None = None) -> flask.Response:
    """What goes in and what comes out."""
    found = app.models.find(model, version)
    numbers = [v.number for v in app.models.models()[model]]
    return flask.jsonify(
        name=model,
        versions=numbers,
        platform=found.kind,
        inputs=[_described(found.model.input)],
        outputs=[_described(output) for output in found.model.outputs],
    )


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


@_both("/ready", "GET")
def model_ready(model: str, version: str | None = None) -> flask.Response:
    """A version that can be found is loaded and warm."""
    app.models.find(model, version)
    return ready()


@_both("/infer", "POST")
def infer(model: str, version: str | None = None) -> flask.Response:
    """Tensors in, tensors out."""
    with app.models.use(model, version) as found:
        with observe.span("decode"):
            asked = schemas.Infer.model_validate_json(app.data(JSON))
            x = decode.check(
                _array(asked.inputs[0], found), found.model.input, app.course.items, "inputs.0.data"
            )
            names = _wanted(asked, found)
        outputs = app.compute(found, x)
        with observe.span("encode"):
            tensors = [
                {
                    "name": name,
                    "shape": list(outputs[name].shape),
                    "datatype": datatype,
                    "data": outputs[name].ravel().tolist(),
                }
                for name, datatype in names.items()
            ]
            return flask.jsonify(
                model_name=model, model_version=found.number, id=asked.id, outputs=tensors
            )


def _array(given: schemas.InferInput, found: Version) -> np.ndarray:
    wanted = found.model.input
    if given.name != wanted.name:
        raise Problem(
            422,
            f"{found.model.name} has no input {given.name!r}: {wanted.name!r}.",
            "inputs.0.name",
        )
    try:
        flat = np.array(given.data, "float64").ravel()
    except ValueError:  # rows of different lengths
        raise Problem(422, "Nested rows must be equally long.", "inputs.0.data") from None
    if len(flat) != math.prod(given.shape):
        raise Problem(
            422,
            f"{len(flat)} numbers do not fill the shape {given.shape}: send as many as it has.",
            "inputs.0.data",
        )
    if not given.datatype.startswith("FP"):
        limits = np.iinfo(DTYPES[given.datatype])
        if len(flat) and ((flat % 1).any() or flat.min() < limits.min or flat.max() > limits.max):
            raise Problem(422, f"Not all are {given.datatype}.", "inputs.0.data")
    return flat.reshape(given.shape)


def _wanted(asked: schemas.Infer, found: Version) -> dict[str, str]:
    known = {output.name: output.datatype for output in found.model.outputs}
    if not asked.outputs:
        return known
    for i, output in enumerate(asked.outputs):
        if output.name not in known:
            detail = f"There is no output {output.name!r}: {', '.join(known)}."
            raise Problem(422, detail, f"outputs.{i}.name")
    return {output.name: known[output.name] for output in asked.outputs}
