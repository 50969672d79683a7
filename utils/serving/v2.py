"""The Open Inference Protocol, version 2, over REST: what Triton, MLServer and KServe speak too.

With Triton's extension for binary tensors, whose bytes (little-endian) follow the JSON: its own
client uses it unless told otherwise.
"""

import math
from typing import Any

import flask
import numpy as np
from flask import current_app as app

from utils.serving import decode, observe, schemas
from utils.serving.engines import Arrays, Tensor
from utils.serving.problems import Problem
from utils.serving.registry import Version

blueprint = flask.Blueprint("v2", __name__)
KINDS = ("application/json", schemas.OCTETS, "")  # Triton's own client names no type
DTYPES = {
    name: np.dtype(name.lower().replace("fp", "float")).newbyteorder("<")
    for name in schemas.NUMBERS
}


@blueprint.get("")
def server() -> flask.Response:
    """Who this is."""
    return flask.jsonify(
        name="deep-learning-three-ways", version="1", extensions=["binary_tensor_data"]
    )


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
            body = app.data(KINDS)
            length = app.number(schemas.LENGTH, 0, len(body))
            asked = schemas.Infer.model_validate_json(body[:length])
            rest = b"" if length is None else body[length:]
            x = decode.check(
                _array(asked.inputs[0], found, rest),
                found.model.input,
                app.course.items,
                "inputs.0.data",
            )
            names = _wanted(asked, found)
        outputs = app.compute(found, x)
        with observe.span("encode"):
            known = {"model_name": model, "model_version": found.number, "id": asked.id}
            return _answer(known, outputs, names)


def _array(given: schemas.InferInput, found: Version, rest: bytes) -> np.ndarray:
    wanted = found.model.input
    if given.name != wanted.name:
        raise Problem(
            422,
            f"{found.model.name} has no input {given.name!r}: {wanted.name!r}.",
            "inputs.0.name",
        )
    size, dtype = given.parameters.get("binary_data_size"), DTYPES[given.datatype]
    if (given.data is None) == (size is None):
        raise Problem(
            422, "Send either data or binary_data_size, and one of them.", "inputs.0.data"
        )
    if len(rest) != (size or 0) or len(rest) % dtype.itemsize:
        detail = f"{len(rest)} bytes after the JSON: as many as binary_data_size, whole numbers."
        raise Problem(422, detail, "inputs.0.parameters")
    try:
        flat = (
            np.frombuffer(rest, dtype)
            if given.data is None
            else np.array(given.data, "float64").ravel()
        )
    except ValueError:  # rows of different lengths
        raise Problem(422, "Nested rows must be equally long.", "inputs.0.data") from None
    if len(flat) != math.prod(given.shape):
        raise Problem(
            422,
            f"{len(flat)} numbers do not fill the shape {given.shape}: send as many as it has.",
            "inputs.0.data",
        )
    if dtype.kind != "f" and given.data is not None:
        limits = np.iinfo(dtype)
        if len(flat) and ((flat % 1).any() or flat.min() < limits.min or flat.max() > limits.max):
            raise Problem(422, f"Not all are {given.datatype}.", "inputs.0.data")
    return flat.reshape(given.shape)


def _wanted(asked: schemas.Infer, found: Version) -> dict[str, tuple[str, bool]]:
    """The outputs that are asked for: their datatype, and whether as bytes."""
    known = {output.name: output.datatype for output in found.model.outputs}
    as_bytes = asked.parameters.get("binary_data_output", False) is True
    if not asked.outputs:
        return {name: (datatype, as_bytes) for name, datatype in known.items()}
    for i, output in enumerate(asked.outputs):
        if output.name not in known:
            detail = f"There is no output {output.name!r}: {', '.join(known)}."
            raise Problem(422, detail, f"outputs.{i}.name")
    return {
        output.name: (known[output.name], output.parameters.get("binary_data", as_bytes) is True)
        for output in asked.outputs
    }


def _answer(known: dict, outputs: Arrays, wanted: dict[str, tuple[str, bool]]) -> flask.Response:
    tensors, rest = [], b""
    for name, (datatype, as_bytes) in wanted.items():
        values = outputs[name]
        tensor = {"name": name, "shape": list(values.shape), "datatype": datatype}
        if as_bytes:
            data = values.astype(DTYPES[datatype]).tobytes()
            rest += data
            tensor["parameters"] = {"binary_data_size": len(data)}
        else:
            tensor["data"] = values.ravel().tolist()
        tensors.append(tensor)
    answer = flask.jsonify(**known, outputs=tensors)
    if rest:
        answer.headers[schemas.LENGTH] = len(answer.data)
        answer.data, answer.content_type = answer.data + rest, schemas.OCTETS
    return answer
