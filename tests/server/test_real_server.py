"""A real server in a process of its own: load, swaps, signals, hostile clients; all is answered.

Long runs are scaled down; COURSE_LONG=1 asks for the full ones.
"""

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from utils import checkpoints, environment
from utils.cluster import Cluster
from utils.serving.load import press, request

LONG = os.environ.get("COURSE_LONG", "") == "1"
CODES = {"latents": [[0.5, -0.5]]}
GIVEN = r'requests_total{code="200",route="/generate"} ([\d.]+)'
linux = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="pipes")]


def post(port, path, data, kind="application/json", timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, data, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def under_load(port, answers=50):
    """Return once the server has given so many good answers, as it counts them itself."""
    ends, given = time.monotonic() + 60, 0
    while given < answers:
        assert time.monotonic() < ends, "no load came"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            counted = re.search(GIVEN, answer.read().decode())
        given = float(counted[1]) if counted else 0


@pytest.fixture(scope="module")
def port():
    """A server with batches, for the tests that leave it as it was."""
    with Cluster("the model server") as cluster:
        options = ("--port", "0", "--quiet", "--batch", "8", "--threads", "16", "--queue", "512")
        process = cluster.start("server", [sys.executable, "-m", "utils.serving", *options])
        cluster.until(lambda: "Serving on" in process.text, 180)
        yield int(re.search(r"Serving on http://[^:]+:(\d+)/", process.text).group(1))


def test_32_threads_get_the_answers_to_their_own_questions(port):
    codes = np.random.default_rng(0).normal(size=(32, 2)).round(3)
    wanted = {}
    for i, code in enumerate(codes):
        wanted[i] = json.loads(post(port, "/generate", json.dumps({"latents": [code.tolist()]}))[1])

    def ask(i):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(200 if LONG else 12):
            body = json.dumps({"latents": [codes[i].tolist()]})
            connection.request("POST", "/generate", body, {"Content-Type": "application/json"})
            found = json.loads(connection.getresponse().read())
            gap = np.abs(np.subtract(found["images"], wanted[i]["images"])).max()
            assert gap <= 1  # a batch may round another way
        connection.close()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(ask, range(32)))


@linux
def test_500_connections_are_answered(port):
    found = press(port, request("/generate", CODES), 500 if LONG else 200, 2, most=1000)
    assert found.cut == found.refused == 0
    assert set(found.codes) <= {200, 503} and found.codes[200] > 100


def test_slow_clients_hold_nobody_up(port):
    slow = []
    try:
        for _ in range(40):  # more than there are threads
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(request("/generate", CODES)[:-5])  # the rest never comes
            slow.append(connection)
        assert post(port, "/generate", json.dumps(CODES))[0] == 200
        slow[0].sendall(request("/generate", CODES)[-5:])  # or comes late
        slow[0].settimeout(60)
        assert slow[0].recv(20).startswith(b"HTTP/1.1 200")
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    "message",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: gzip\r\nContent-Type: image/png\r\n\r\n",
        b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
    ],
    ids=["garbage", "negative", "no number", "enormous", "encoding", "long path", "long header"],
)
def test_what_is_no_http_is_refused_as_a_problem(port, message):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(message)
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = connection.recv(65536)
            assert data, answer
            answer += data
    status = int(answer.split()[1])
    assert 400 <= status < 500 or status == 501, answer
    assert b"application/problem+json" in answer


def test_enormous_bodies_are_refused(port):
    status, text = post(port, "/predict", bytes(9_000_000), "image/png")
    assert status == 413 and json.loads(text)["status"] == 413


def test_a_public_client_of_the_open_protocol_works(port):
    """NVIDIA's client for Triton, from its own environment; tensors as bytes and as JSON."""
    venv = Path(f"{sys.prefix}-client")
    if not (venv / ".ready").exists():
        pytest.skip(
            "Triton's client is not here: `make test` installs it, where there is a network"
        )
    script = Path(__file__).with_name("public_client.py")
    command = [environment.python_of(venv), script, str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["server"]["extensions"] == ["binary_tensor_data"] and found["old"] == "1"
    assert found["model"]["inputs"][0] == {
        "name": "images",
        "datatype": "FP32",
        "shape": [-1, 28, 28],
    }
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28))
    status, text = post(port, "/predict", npy(images), "application/x-npy")
    wanted = [row["probabilities"] for row in json.loads(text)["predictions"]]
    answers = [found[f"{binary}, {how}"] for binary in (True, False) for how in (None, True, False)]
    for answer in answers:
        np.testing.assert_allclose(answer, wanted, atol=1e-5)
    assert found["unknown"][0] == "404" and "no model 'nothing'" in found["unknown"][1]
    assert found["wrong"][0] == "422" and "latents" in found["wrong"][1]


@linux
def test_memory_does_not_grow(start):
    """Good requests, bad ones, new connections and old: the process stays as large as it was."""
    process, port = start("--models", "generator", "digits")
    server, rounds = psutil.Process(process.pid), 50 if LONG else 3
    each = 250
    good, bad = request("/generate", CODES), request("/predict", {"images": [[[0]]]})
    picture = request("/predict", npy(np.zeros((28, 28))), "application/x-npy")
    sizes = []
    for _ in range(rounds + 2):  # the first two fill pools and caches
        for message in (good, bad, picture):
            assert press(port, message, 16, 600, most=each).cut == 0
        assert press(port, good, 8, 600, most=each, keep_alive=False).cut == 0
        sizes.append(server.memory_info().rss / 1e6)
    print(f"{4 * each * (rounds + 2)} requests: {sizes[1]:.0f} to {max(sizes[2:]):.0f} MB")
    assert max(sizes[2:]) - sizes[1] < 30


@linux
@pytest.mark.parametrize("options", [(), ("--batch", "8")], ids=["single", "batched"])
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "new connections"])
def test_sigterm_under_load_answers_everything_that_was_accepted(start, options, keep_alive):
    process, port = start("--models", "generator", *options)
    found = []
    pressing = threading.Thread(
        target=lambda: found.append(
            press(port, request("/generate", CODES), 24, 600, keep_alive=keep_alive)
        )
    )
    pressing.start()
    under_load(port)
    process.kill(signal.SIGTERM)
    pressing.join(120)
    start.cluster.wait(120)
    assert process.status == 0
    assert found[0].cut == 0 and set(found[0].codes) <= {200, 503}
    assert found[0].codes[200] > 0 and found[0].refused == 24  # then nobody listened


@linux
def test_sigkill_loses_what_was_under_way_and_nothing_else(start):
    process, port = start("--models", "generator")
    before = post(port, "/generate", json.dumps(CODES))[1]
    found = []
    pressing = threading.Thread(
        target=lambda: found.append(press(port, request("/generate", CODES), 16, 600))
    )
    pressing.start()
    under_load(port)
    process.kill(signal.SIGKILL)
    pressing.join(120)
    assert found[0].cut + found[0].refused == 16
    start.cluster.processes.clear()
    _, port = start("--models", "generator")
    assert post(port, "/generate", json.dumps(CODES))[1] == before


@linux
def test_a_new_manifest_is_taken_over_under_load(start, tmp_path):
    def write(name):
        entry = {"checkpoint": name, "sha256": checkpoints.load(name).info["sha256"]}
        (tmp_path / "part").write_text(json.dumps({"digits": {"1": entry}}))
        os.replace(tmp_path / "part", tmp_path / "manifest.json")

    def serves():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/models")
        found = json.loads(connection.getresponse().read())["models"]["digits"][0]["checkpoint"]
        connection.close()
        return found

    write("12_resnet")
    process, port = start("--manifest", str(tmp_path / "manifest.json"))
    found, ends = [], time.monotonic() + 90
    message = request("/predict", npy(np.zeros((28, 28))), "application/x-npy")
    pressing = threading.Thread(target=lambda: found.append(press(port, message, 16, 4)))
    pressing.start()
    for name in ("12_resnet_cutout", "12_resnet"):
        write(name)
        process.kill(signal.SIGHUP)
        while serves() != name and time.monotonic() < ends:
            time.sleep(0.05)
        assert serves() == name
    pressing.join(120)
    assert found[0].cut == 0 and set(found[0].codes) == {200}


@linux
def test_gunicorn_loads_after_the_fork(tmp_path):
    pytest.importorskip("gunicorn")
    with Cluster("gunicorn") as cluster:
        code = "import sys; from gunicorn.app.wsgiapp import run; sys.exit(run())"
        options = ("-c", "python:utils.serving.lifecycle", "-b", "127.0.0.1:0", "-w", "1")
        app = "utils.serving.lifecycle:gunicorn_app()"
        process = cluster.start("server", [sys.executable, "-c", code, *options, app])

        def answers():
            known = re.search(r"Listening at: http://127.0.0.1:(\d+)", process.text)
            if not known:
                return False
            try:
                return (
                    post(int(known.group(1)), "/generate", json.dumps(CODES), timeout=5)[0] == 200
                )
            except OSError:
                return False

        cluster.until(answers, 120)


def test_the_command_line_says_what_is_wrong():
    def run(*options):
        command = [sys.executable, "-m", "utils.serving", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = run("--models", "nothing", "--port", "0")
    assert done.returncode == 1 and "'nothing' is unknown" in done.stderr
    assert "Traceback" not in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--models", "generator", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1 and "Traceback" not in done.stderr
