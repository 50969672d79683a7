"""The application, with models that compute nothing: every answer, and every refusal in words."""

import io
import json
import logging

import numpy as np
import pytest
from PIL import Image

from utils.serving import Config, observe

BLACK = [[0.0] * 28] * 28
IMAGE = {"name": "images", "shape": [1, 28, 28], "datatype": "FP32", "data": [0.0] * 784}


def problem(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    found = json.loads(answer.data)
    assert found["status"] == status and found["title"]
    assert found["request_id"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.text
    for word in words:
        assert word in json.dumps(found, ensure_ascii=False)
    return found


def png(size=(28, 28), mode="L", kind="PNG"):
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind)
    return stream.getvalue()


def test_the_three_ways_to_send_an_image_agree(client, npy):
    grey = np.full((28, 28), 7)
    stream = io.BytesIO()
    Image.fromarray(grey.astype("uint8")).save(stream, "PNG")
    answers = [
        client.post("/predict", json={"images": [grey.tolist()]}),
        client.post("/predict", data=npy(grey), content_type="application/x-npy"),
        client.post(
            "/predict", data=npy(grey[None].astype(">f8")), content_type="application/x-npy"
        ),
        client.post(
            "/predict", data=npy(np.asfortranarray(grey)), content_type="application/x-npy"
        ),
        client.post("/predict", data=stream.getvalue(), content_type="image/png"),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert all(a.json["predictions"][0]["probabilities"][0] == 7 for a in answers)
    assert answers[0].json["model"] == "digits" and answers[0].json["version"] == "2"


def test_codes_become_pictures_in_json_or_png(client):
    codes = {"latents": [[0.5, 0.5], [1, 1]]}
    answer = client.post("/generate", json=codes)
    assert np.array(answer.json["images"]).shape == (2, 28, 28)
    picture = client.post("/generate", json=codes, headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(picture.data)).size == (28, 56)
    problem(client.post("/generate", json=codes, headers={"Accept": "text/html"}), 406, "Accept")


BAD_JSON = {
    "not JSON": (b"{", 400, "JSON"),
    "empty": (b"", 400, "JSON"),
    "cut short": (json.dumps({"images": [BLACK]}).encode()[:-3], 400, "JSON"),
    "a list": (b"[]", 422, "body"),
    "another field": (b'{"images": [], "image": 1}', 422, "image"),
    "no image": (b'{"images": []}', 422, "images"),
    "text for a number": (b'{"images": [[["0"]]]}', 422, "images.0"),
    "a boolean": (json.dumps({"images": [[[True] * 28] * 28]}).encode(), 422, "number"),
    "NaN": (json.dumps({"images": [[[float("nan")] * 28] * 28]}).encode(), 422, "finite"),
    "1e39": (json.dumps({"images": [[[1e39] * 28] * 28]}).encode(), 422, "255"),
    "1e400": (b'{"images": [[[1e400]]]}', 422, "finite"),
    "256": (json.dumps({"images": [[[256] * 28] * 28]}).encode(), 422, "255"),
    "27 rows": (json.dumps({"images": [BLACK[:27]]}).encode(), 422, "images.0"),
    "65 images": (json.dumps({"images": [BLACK] * 65}).encode(), 422, "64"),
    "not UTF-8": (b'{"images": "\xff"}', 400, "JSON"),
    "deep": (b"[" * 100_000, 400, "recursion"),
    "deep and complete": (b"[" * 50_000 + b"]" * 50_000, 400, "recursion"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_refused_in_words(client, name):
    data, status, word = BAD_JSON[name]
    found = problem(
        client.post("/predict", data=data, content_type="application/json"), status, word
    )
    assert found["errors"][0]["field"] and found["errors"][0]["remedy"]


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((27, 28)), "27×28"),
        (np.zeros((0, 28, 28)), "0 of them"),
        (np.zeros((65, 28, 28)), "64"),
        (np.full((28, 28), np.nan), "NaN"),
        (np.full((28, 28), 1e39), "float32"),
        (np.full((28, 28), -1), "0 to 255"),
        (np.zeros((28, 28), complex), "dtype"),
        (np.zeros((28, 28), "S3"), "dtype"),
        (np.zeros((28, 28), bool), "dtype"),
        (np.zeros((28, 28), [("a", "f4")]), "dtype"),
        (np.float32(3), "shape"),
    ],
)
def test_arrays_that_are_no_images_are_refused(client, npy, array, word):
    problem(client.post("/predict", data=npy(array), content_type="application/x-npy"), 422, word)


def test_a_pickle_is_never_opened(client, npy, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    data = npy(np.array([Bomb()], object), allow_pickle=True)
    problem(client.post("/predict", data=data, content_type="application/x-npy"), 422, "dtype")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"", "image/png", 422),
        (b"hello", "image/png", 422),
        (png()[:40], "image/png", 422),
        (png(kind="JPEG")[:200], "image/jpeg", 422),
        (png(kind="JPEG"), "image/png", 422),  # what it says and what it is differ
        (png(kind="GIF"), "image/png", 422),
        (png((2001, 2000)), "image/png", 413),
        (png(), "image/gif", 415),
        (png(), "text/html", 415),
        (png(), None, 415),
        (b"a=1", "application/x-www-form-urlencoded", 415),
    ],
)
def test_files_that_are_no_pictures_are_refused(client, data, kind, status):
    problem(client.post("/predict", data=data, content_type=kind), status)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_all_kinds_of_pictures_are_read(client, mode):
    answer = client.post("/predict", data=png((50, 31), mode), content_type="image/png")
    assert answer.status_code == 200


def test_bodies_are_bounded(make_app):
    client = make_app(body=1000).test_client()
    problem(client.post("/predict", data=b"x" * 1001, content_type="image/png"), 413)
    packed = client.post("/predict", data=b"x", headers={"Content-Encoding": "gzip"})
    problem(packed, 415, "Content-Encoding")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/v2/models/other",
        "/v2/models/..%2f..%2fetc/infer",
        "/v2/models/digits/versions/9",
    ],
)
def test_what_is_not_there_is_404(client, path):
    problem(client.get(path) if "infer" not in path else client.post(path, json={}), 404)


def test_a_name_is_never_a_path(client):
    for name in ("../12_resnet", "..%2f..%2fsetup", "%00", "a" * 5000, "digits/../generator"):
        answer = client.get(f"/v2/models/{name}")
        assert answer.status_code == 404 and len(answer.data) < 1000
        answer = client.post(f"/predict?version={name}", json={"images": [BLACK]})
        assert answer.status_code == 404 and len(answer.data) < 1000


def test_a_wrong_method_says_what_is_allowed(client):
    answer = client.get("/predict")
    problem(answer, 405)
    assert "POST" in answer.headers["Allow"]


def test_a_mistake_of_ours_has_an_id_and_no_traceback(app, client, caplog):
    app.engines["digits", "12_resnet_cutout"].before = lambda x: 1 / 0
    with caplog.at_level(logging.ERROR, "course.serving"):
        found = problem(client.post("/predict", json={"images": [BLACK]}), 500)
    assert "ZeroDivisionError" not in found["detail"] and "ZeroDivisionError" in caplog.text


def test_nan_is_never_written_as_json(app, client):
    def poison(x):
        x[:] = np.nan

    app.engines["digits", "12_resnet_cutout"].before = poison
    answer = client.post("/predict", json={"images": [BLACK]})
    problem(answer, 500)
    answer = client.post("/v2/models/digits/infer", json={"inputs": [IMAGE]})
    assert answer.status_code == 500 and b"NaN" not in answer.data


def test_versions_stand_side_by_side(client):
    for version in ("1", "2"):
        body = {"images": [BLACK]}
        assert client.post(f"/predict?version={version}", json=body).json["version"] == version
        path = f"/v2/models/digits/versions/{version}/infer"
        assert client.post(path, json={"inputs": [IMAGE]}).json["model_version"] == version
    problem(client.post("/predict?version=3", json={"images": [BLACK]}), 404, "1, 2")


def test_the_open_protocol(client):
    assert client.get("/v2").json["name"]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    known = client.get("/v2/models/digits").json
    assert known["versions"] == ["1", "2"] and known["platform"] == "fake"
    assert known["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 28, 28]}]
    assert client.get("/v2/models/digits/ready").json == {"ready": True}
    asked = {"id": "42", "inputs": [{**IMAGE, "data": [BLACK], "shape": [1, 28, 28]}], "new": 1}
    answer = client.post("/v2/models/digits/infer", json=asked).json
    assert client.post("/v2/models/digits/infer", data=json.dumps(asked)).json == answer  # no type
    assert answer["id"] == "42" and answer["outputs"][0]["shape"] == [1, 10]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "other"}, "name"),
        ({"shape": [2, 28, 28]}, "data"),
        ({"shape": [1, 784]}, "data"),
        ({"shape": [1, 28, 28.0]}, "shape"),
        ({"shape": [-1, 28, 28]}, "shape"),
        ({"datatype": "BYTES"}, "datatype"),
        ({"datatype": "UINT8", "data": [0.5] * 784}, "data"),
        ({"datatype": "INT8", "data": [200] * 784}, "data"),
        ({"data": [1e39] * 784}, "data"),
        ({"data": [[0.0], [0.0, 1.0]]}, "data"),
        ({"data": ["0"] * 784}, "data"),
        ({"data": []}, "data"),
        ({"data": None}, "data"),
        ({"parameters": {"binary_data_size": 0}}, "data"),
    ],
)
def test_the_open_protocol_refuses_in_words(client, change, field):
    answer = client.post("/v2/models/digits/infer", json={"inputs": [{**IMAGE, **change}]})
    found = problem(answer, 422)
    assert field in found["errors"][0]["field"]
    assert found["error"] == found["detail"]  # where the protocol has it


def ask_in_bytes(client, tensor, data, **more):
    """A request whose tensor follows the JSON as bytes, as Triton's client sends it."""
    head = json.dumps({"inputs": [tensor], **more.pop("asked", {})}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), **more}
    return client.post("/v2/models/digits/infer", data=head + data, headers=headers)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "u1", "<u2", "<i4", "<i8"])
def test_tensors_as_bytes_say_the_same_as_tensors_as_json(client, dtype):
    images = np.arange(2 * 784).reshape(2, 28, 28) % 100
    name = np.dtype(dtype).name.upper().replace("FLOAT", "FP")
    tensor = {"name": "images", "shape": [2, 28, 28], "datatype": name}
    asked = {"inputs": [{**tensor, "data": images.tolist()}]}
    wanted = client.post("/v2/models/digits/infer", json=asked).json["outputs"][0]
    data = images.astype(dtype).tobytes()
    tensor["parameters"] = {"binary_data_size": len(data)}
    in_json = ask_in_bytes(client, tensor, data)
    assert in_json.json["outputs"] == [wanted] and in_json.content_type == "application/json"
    for asked in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]},
    ):
        answer = ask_in_bytes(client, tensor, data, asked=asked)
        assert answer.content_type == "application/octet-stream"
        length = int(answer.headers["Inference-Header-Content-Length"])
        (output,) = json.loads(answer.data[:length])["outputs"]
        rest = answer.data[length:]
        assert output["parameters"] == {"binary_data_size": len(rest)} and "data" not in output
        assert np.frombuffer(rest, "<f4").tolist() == wanted["data"]


@pytest.mark.parametrize(
    ("size", "data", "headers", "field"),
    [
        (3136, bytes(3135), {}, "parameters"),
        (3136, bytes(3137), {}, "parameters"),
        (3135, bytes(3135), {}, "parameters"),
        (3132, bytes(3132), {}, "data"),
        (0, b"", {}, "data"),
        (True, b"x", {}, "parameters"),
        ("3136", bytes(3136), {}, "parameters"),
        (3136, np.full(784, np.nan, "<f4").tobytes(), {}, "data"),
        (3136, bytes(3136), {"Inference-Header-Content-Length": "99999"}, "Inference-Header"),
        (3136, bytes(3136), {"Inference-Header-Content-Length": "-1"}, "Inference-Header"),
    ],
)
def test_bytes_that_are_not_the_tensor_promised_are_refused(client, size, data, headers, field):
    tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": size}
    answer = ask_in_bytes(client, tensor, data, **headers)
    assert field in problem(answer, 422)["errors"][0]["field"]


def test_an_unknown_output_is_refused(client):
    asked = {"inputs": [IMAGE], "outputs": [{"name": "logits"}]}
    problem(client.post("/v2/models/digits/infer", json=asked), 422, "outputs.0.name")


def test_ready_until_it_drains_and_live_all_the_time(app, client):
    app.models.draining = True
    problem(client.get("/v2/health/ready"), 503)
    problem(client.get("/v2/models/digits/ready"), 503)
    assert client.get("/v2/health/live").status_code == 200
    assert client.post("/predict", json={"images": [BLACK]}).status_code == 200  # was accepted


def test_a_full_line_is_said_at_once(client):
    full = {"course.full": True}
    answer = client.post("/predict", json={"images": [BLACK]}, environ_overrides=full)
    problem(answer, 503, "queue")
    assert answer.headers["Retry-After"] == "1"
    assert client.get("/v2/health/live", environ_overrides=full).status_code == 200


@pytest.mark.parametrize("asked", ["0", "-1", "x", "1e3", "²", "999999999999", ""])
def test_a_deadline_is_a_number(client, asked):
    headers = {"X-Deadline-Ms": asked}
    answer = client.post("/predict", json={"images": [BLACK]}, headers=headers)
    problem(answer, 422, "X-Deadline-Ms")


def test_what_is_too_late_is_not_computed(app, client):
    engine = app.engines["digits", "12_resnet_cutout"]
    engine.calls.clear()
    late = {"course.arrived": 0.0}
    problem(client.post("/predict", json={"images": [BLACK]}, environ_overrides=late), 504)
    assert engine.calls == []


def test_metrics_count_and_their_labels_stay_few(client):
    for path in ("/nothing", "/nowhere", "/v2/models/digits", "/v2/models/other"):
        client.get(path)
    client.post("/predict", json={"images": [BLACK]})
    text = client.get("/metrics").text
    assert 'requests_total{code="404",route="unknown"} 2.0' in text
    assert 'requests_total{code="200",route="/predict"} 1.0' in text
    assert 'requests_total{code="404",route="/v2/models/<model>"} 1.0' in text
    assert "requests_in_progress 1.0" in text  # this one
    assert 'model_info{model="digits",sha256="' in text and "request_seconds_bucket" in text
    assert "nowhere" not in text


def test_a_request_has_an_id_a_trace_and_its_times(client):
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = {"X-Request-ID": "mine-1", "traceparent": parent}
    answer = client.post("/predict", json={"images": [BLACK]}, headers=headers)
    assert answer.headers["X-Request-ID"] == "mine-1" and answer.headers["traceparent"] == parent
    timing = answer.headers["Server-Timing"]
    assert all(f"{name};dur=" in timing for name in ("decode", "queue", "infer", "encode", "total"))
    answer = client.get("/models", headers={"X-Request-ID": "a b", "traceparent": "x"})
    assert answer.headers["X-Request-ID"] != "a b" and "traceparent" not in answer.headers


def test_a_log_line_is_one_line_of_json(client):
    stream = io.StringIO()
    observe.log_to(stream)
    try:
        client.get("/nothing", headers={"X-Request-ID": "x" * 65, "User-Agent": "a\\nb"})
        client.post("/predict", json={"images": [BLACK]})
    finally:
        logger = logging.getLogger("course.serving")
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["status"] for line in lines] == [404, 200]
    assert lines[1]["route"] == "/predict" and lines[1]["infer_ms"] >= 0


def test_nothing_of_a_debugger_and_no_other_origin(app, client):
    assert app.debug is False and app.testing is False
    assert client.get("/console").status_code == 404
    answer = client.get("/models", headers={"Origin": "https://example.org"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert Config().origins == ()


def test_an_origin_may_be_allowed(make_app):
    client = make_app(origins=("https://example.org",)).test_client()
    for origin, wanted in (("https://example.org", "https://example.org"), ("https://a.org", None)):
        answer = client.get("/models", headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == wanted


def test_the_page_needs_nothing_from_elsewhere(client):
    for path in ("/", "/page.js", "/page.css"):
        answer = client.get(path)
        assert answer.status_code == 200 and "://" not in answer.text
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert client.get("/openapi.json").json["paths"]["/predict"]


def test_the_detector_answers_boxes_in_the_picture(make_app, monkeypatch, tmp_path, npy):
    """The route, without a detector in the manifest and with it."""
    app = make_app()
    manifest = json.loads(app.course.manifest.read_text())
    del manifest["detector"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    without = make_app(manifest=tmp_path / "manifest.json").test_client()
    assert "/detect" not in without.get("/openapi.json").json["paths"]
    problem(without.post("/detect", data=png(), content_type="image/png"), 404)
    client = app.test_client()

    def one_box(x):
        height, width = x.shape[1:3]
        assert height % 32 == width % 32 == 0
        boxes = np.zeros((1, 100, 4), "float32")
        boxes[0, 0] = (1, 2, 200, 3)
        found = {"boxes": boxes, "scores": np.full((1, 100), 0.5, "float32")}
        return {**found, "labels": np.full((1, 100), 7), "counts": np.array([1])}

    name = app.models.models()["detector"][-1]
    name.runner._call = one_box
    answer = client.post("/detect", data=png((50, 40), "RGB"), content_type="image/png").json
    box = {"x0": 1.0, "y0": 2.0, "x1": 50.0, "y1": 3.0, "label": 7, "score": 0.5}
    assert answer["boxes"] == [box] and (answer["width"], answer["height"]) == (50, 40)
    grey = npy(np.zeros((40, 50)))
    answer = client.post("/detect", data=grey, content_type="application/x-npy").json
    assert (answer["width"], answer["height"]) == (50, 40)
    wrong = npy(np.zeros((40, 50, 4)))
    problem(client.post("/detect", data=wrong, content_type="application/x-npy"), 422, "shape")
