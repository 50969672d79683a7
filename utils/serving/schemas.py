"""What may come in, and what goes out: pydantic models, and the OpenAPI document made of them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils.serving.config import Config
from utils.serving.engines import MODELS
from utils.serving.problems import TYPE

ITEMS = 64  # in one request; `Config.items` may allow fewer
Pixel = Annotated[float, Field(ge=0, le=255)]
Row = Annotated[list[Pixel], Field(min_length=28, max_length=28)]
Image = Annotated[list[Row], Field(min_length=28, max_length=28)]
Code = Annotated[list[Annotated[float, Field(ge=-4, le=4)]], Field(min_length=2, max_length=2)]


class Strict(BaseModel):
    """Nothing is guessed: no text for a number, no unknown field, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Predict(Strict):
    """Digits to be read: 28×28 bytes each, white on black."""

    images: Annotated[list[Image], Field(min_length=1, max_length=ITEMS)]


class Prediction(Strict):
    """One digit, read."""

    label: Annotated[int, Field(ge=0, le=9)]
    probabilities: Annotated[list[float], Field(min_length=10, max_length=10)]


class Predicted(Strict):
    """An answer to `Predict`."""

    model: str
    version: str
    predictions: list[Prediction]


class Generate(Strict):
    """Codes to be drawn: two numbers each."""

    latents: Annotated[list[Code], Field(min_length=1, max_length=ITEMS)]


class Generated(Strict):
    """An answer to `Generate`: 28×28 bytes each."""

    model: str
    version: str
    images: list[list[list[Annotated[int, Field(ge=0, le=255)]]]]


class Box(Strict):
    """A thing found: corners in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: int
    score: float


class Detected(Strict):
    """What is in one picture."""

    model: str
    version: str
    width: int
    height: int
    boxes: list[Box]


class Known(Strict):
    """A version that is served."""

    version: str
    checkpoint: str
    sha256: str
    engine: str
    load_seconds: float


class Models(Strict):
    """All that is served."""

    models: dict[str, list[Known]]


class Trouble(BaseModel):
    """RFC 9457: what is wrong, where, and what to do."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    error: str = ""
    errors: list[dict[str, str]] = []


class Lenient(BaseModel):
    """The open protocol lets clients add what a server does not know."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


NUMBERS = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8")
NUMBERS += ("UINT64", "UINT32", "UINT16", "UINT8")
Datatype = Literal[NUMBERS]  # type: ignore[valid-type]
Flat = Annotated[list[float], Field(max_length=1_000_000)]
Nested = Flat | list[Flat] | list[list[Flat]] | list[list[list[Flat]]]
Parameters = dict[str, bool | int | float | str]
#: Triton's extension for tensors as bytes behind the JSON, which its client uses by default.
LENGTH, OCTETS = "Inference-Header-Content-Length", "application/octet-stream"
Name = Annotated[str, Field(min_length=1, max_length=100)]


class InferInput(Lenient):
    """A tensor: its numbers in a row, or nested; or ``binary_data_size`` bytes after the JSON."""

    name: Name
    shape: Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(max_length=8)]
    datatype: Datatype
    data: Annotated[Nested | None, Field(union_mode="left_to_right")] = None
    parameters: Parameters = {}


class InferWanted(Lenient):
    """An output that is asked for; with ``binary_data``, as bytes after the JSON."""

    name: Name
    parameters: Parameters = {}


class Infer(Lenient):
    """A request of the Open Inference Protocol."""

    id: Annotated[str, Field(max_length=100)] = ""
    inputs: Annotated[list[InferInput], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[InferWanted], Field(max_length=8)] = []
    parameters: Parameters = {}


class Output(BaseModel):
    """A tensor of the answer: its numbers, or ``binary_data_size`` bytes after the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float] = []
    parameters: Parameters = {}


class Inferred(BaseModel):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str
    outputs: list[Output]


class Described(BaseModel):
    """A tensor as the protocol describes it: -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class Metadata(BaseModel):
    """A model as the protocol describes it."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Described]
    outputs: list[Described]


class Server(BaseModel):
    """The server as the protocol describes it."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the process runs."""

    live: bool


class Ready(BaseModel):
    """Whether requests are welcome."""

    ready: bool


_SHOWN = (Predict, Predicted, Generate, Generated, Detected, Models, Trouble)
_SHOWN += (Infer, Inferred, Metadata, Server, Live, Ready)
_IMAGES = ("image/png", "image/jpeg")
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def openapi(config: Config, served: list[str]) -> dict[str, Any]:
    """The document that says what this server, with these models, can be asked."""
    parts: dict[str, Any] = {}
    for model in _SHOWN:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        parts |= schema.pop("$defs", {})
        parts[model.__name__] = schema
    for schema, field in (("Predict", "images"), ("Generate", "latents")):
        parts[schema]["properties"][field]["maxItems"] = config.items

    def ref(model: type[BaseModel]) -> dict[str, Any]:
        return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}

    def answers(ok: dict[str, Any], *codes: int) -> dict[str, Any]:
        trouble = {"description": "See `detail`.", "content": {TYPE: ref(Trouble)}}
        return {"200": {"description": "OK", "content": ok}} | {str(c): trouble for c in codes}

    def json_of(model: type[BaseModel]) -> dict[str, Any]:
        return {"application/json": ref(model)}

    version = {
        "name": "version",
        "in": "query",
        "description": "Which version of the model; the newest, if none is named.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,5}$"},
    }
    deadline = {
        "name": "X-Deadline-Ms",
        "in": "header",
        "description": "How long the answer may take.",
        "schema": {"type": "integer", "minimum": 1, "maximum": config.deadline_ms},
    }
    json_bytes = {
        "name": LENGTH,
        "in": "header",
        "description": "How many bytes of the body are JSON, where tensors follow as bytes.",
        "schema": {"type": "integer", "minimum": 0, "maximum": config.body},
    }
    refusals = (400, 404, 411, 413, 415, 422, 503, 504)

    def post(summary: str, takes: dict, gives: dict, *parameters: dict) -> dict[str, Any]:
        body = {"required": True, "content": takes}
        found = {"summary": summary, "requestBody": body, "responses": answers(gives, *refusals)}
        return {"post": {**found, "parameters": [*parameters, deadline]}}

    def get(summary: str, gives: dict, *codes: int, at: str = "") -> dict[str, Any]:
        found = {"summary": summary, "responses": answers(gives, *codes)}
        named = [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in (("model", {"type": "string"}), ("version", version["schema"]))
            if f"{{{name}}}" in at
        ]
        return {"get": found | ({"parameters": named} if named else {})}

    binary = dict.fromkeys((*_IMAGES, "application/x-npy"), _BINARY)
    octets = {OCTETS: _BINARY}
    paths = {
        "/models": get("What is served", json_of(Models)),
        "/metrics": get("Numbers for Prometheus", {"text/plain": {"schema": {"type": "string"}}}),
        "/v2": get("The server", json_of(Server)),
        "/v2/health/live": get("Does the process run?", json_of(Live)),
        "/v2/health/ready": get("Are requests welcome?", json_of(Ready), 503),
    }
    if "digits" in served:
        takes = {**json_of(Predict), **binary}
        paths["/predict"] = post(MODELS["digits"].what, takes, json_of(Predicted), version)
    if "generator" in served:
        gives = {**json_of(Generated), "image/png": _BINARY}
        paths["/generate"] = post(MODELS["generator"].what, json_of(Generate), gives, version)
        paths["/generate"]["post"]["responses"]["406"] = paths["/generate"]["post"]["responses"][
            "404"
        ]
    if "detector" in served:
        paths["/detect"] = post(MODELS["detector"].what, binary, json_of(Detected), version)
    for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        paths[base] = get("One model", json_of(Metadata), 404, at=base)
        paths[f"{base}/ready"] = get("Is it ready?", json_of(Ready), 404, 503, at=base)
        infer = post("Compute", json_of(Infer) | octets, json_of(Inferred) | octets, json_bytes)
        infer["post"]["parameters"] += paths[base]["get"]["parameters"]
        paths[f"{base}/infer"] = infer
    info = {"title": "Deep learning, three ways: a model server", "version": "1"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": parts},
    }
