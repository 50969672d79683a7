"""A web server with every trouble a mirror can have, and a course with four small files."""

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import sys
import tempfile
import threading

import numpy as np

from utils.data import digits, ladder, mirrors
from utils.data.idx import encode_idx

RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": RNG.integers(0, 256, (50, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": RNG.integers(0, 10, 50, dtype=np.uint8),
    "t10k-images-idx3-ubyte": RNG.integers(0, 256, (10, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": RNG.integers(0, 10, 10, dtype=np.uint8),
}
FILES = {name: encode_idx(array) for name, array in ARRAYS.items()}
FIRST = next(iter(FILES))


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the four files, each time with the trouble that the first folder names."""

    def do_GET(self):
        trouble, name = self.path.strip("/").split("/")
        with self.server.lock:
            self.server.asked.append((trouble, name))
            count = self.server.asked.count((trouble, name))
        body = gzip.compress(FILES[name.removesuffix(".gz")])
        length = len(body)
        if trouble == "missing" or (trouble == "half" and "labels" in name):
            return self.send_error(404)
        if trouble == "forbidden":
            return self.send_error(403)
        if trouble == "busy" and count == 1:
            return self.send_error(503)
        if trouble == "html":
            body = b"<!DOCTYPE html><html><body>Please log in to the hotel's network</body></html>"
        elif trouble == "plain":
            body = FILES[name.removesuffix(".gz")]
        elif trouble == "wrong":
            body = gzip.compress(bytes(len(FILES[name.removesuffix(".gz")])))
        elif trouble == "long":
            body = gzip.compress(FILES[name.removesuffix(".gz")] + bytes(10))
        elif trouble == "bomb":
            body = gzip.compress(bytes(50_000_000))
        elif trouble == "endless":
            body = bytes(5_000_000)
        elif trouble == "silent" or (trouble == "stumbles" and count == 1):
            body = body[: len(body) // 2]  # ends early, with a length that hides it
        elif trouble == "hang":
            self.server.released.wait(30)
            return None
        elif trouble == "trickle":
            body = bytes(300)
        if trouble not in ("cut", "freeze"):
            length = len(body)
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if trouble == "html" else "application/gzip")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if trouble in ("cut", "freeze"):
            body = body[: length // 2]
        pieces = {"slow": 20, "trickle": len(body)}.get(trouble, 1)
        step = -(-len(body) // pieces)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if pieces > 1 and self.server.released.wait(0.03):
                break
        if trouble == "freeze":
            self.server.released.wait(30)
        self.close_connection = True
        return None

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.lock, self.released = [], threading.Lock(), threading.Event()

    def handle_error(self, request, client_address):
        pass  # a client that leaves early is what some tests want

    def at(self, *troubles):
        return tuple(f"http://127.0.0.1:{self.server_port}/{trouble}/" for trouble in troubles)


@contextlib.contextmanager
def serving():
    """Run a server on a free port of this machine until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def fresh_course(tmp_path, monkeypatch):
    """Set up a course with small files, nothing cached and no mirror yet.

    Returns the folder in which its cache will keep the files.
    """
    for variable in ("COURSE_DATA", "COURSE_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(mirrors, "PAUSE_SECONDS", 0.01)
    use(monkeypatch)
    cells = sys.modules["utils.data.bccd"]  # `utils.data.bccd` is the function
    nowhere = dataclasses.replace(cells.BCCD, mirrors=(), archive=None)
    monkeypatch.setattr(cells, "BCCD", nowhere)
    return tmp_path / "cache" / "mnist"


def listing(*addresses):
    files = tuple(
        ladder.File(name, hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in FILES.items()
    )
    return ladder.Listing("MNIST", "mnist", files, addresses, 0.1)


def use(monkeypatch, *addresses):
    monkeypatch.setattr(digits, "MNIST", listing(*addresses))


def fill(folder, packed=False, **changes):
    """Write the four files into `folder`; a change of None leaves a file out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in (FILES | {key.replace("_", "-"): raw for key, raw in changes.items()}).items():
        if raw is not None:
            path = folder / (name + ".gz" * packed)
            path.write_bytes(gzip.compress(raw) if packed else raw)
    return folder


def assert_real(data, source):
    assert data.source == source and data.name == "MNIST"
    for array, expected in zip(
        (data.x_train, data.y_train, data.x_test, data.y_test), ARRAYS.values(), strict=True
    ):
        np.testing.assert_array_equal(array, expected)


def assert_cached(folder, names=FILES):
    """The cache holds these files whole, and nothing else: no draft is left behind."""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: FILES[name] for name in names
    }
