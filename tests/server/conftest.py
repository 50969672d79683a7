"""What the server's tests share: an application whose models compute nothing, and a real server."""

import io
import re
import sys

import numpy as np
import pytest

from utils import cluster
from utils.serving import Config, create_app
from utils.serving.registry import Registry


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "server":
            item.add_marker(pytest.mark.server)


class FakeEngine:
    """Answers that name their question: the first output is made of the input's mean."""

    kind = "fake"

    def __init__(self, model, checkpoint):
        self.model, self.checkpoint, self.calls = model, checkpoint, []
        self.before = lambda x: None

    def __call__(self, x):
        self.calls.append(len(x))
        self.before(x)
        mean = x.reshape(len(x), -1).mean(axis=1)
        found = {}
        for output in self.model.outputs:
            shape = (len(x), *[abs(n) for n in output.shape[1:]])
            values = np.zeros(shape, "int64" if output.datatype == "INT64" else "float32")
            values.reshape(len(x), -1)[:, 0] = mean
            found[output.name] = values
        return found


@pytest.fixture
def make_app(tmp_path):
    """Makes an application with fake engines; `app.engines` maps (model, version) to them."""
    made = []

    def make(**settings):
        engines = {}

        def engine(kind, model, checkpoint, threads):
            engines[model.name, checkpoint.name] = found = FakeEngine(model, checkpoint)
            return found

        config = Config(**settings)
        registry = Registry(config, make=engine)
        registry.load()
        app = create_app(config, registry)
        app.engines = engines
        made.append(registry)
        return app

    yield make
    for registry in made:
        registry.close()


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def npy():
    def to_bytes(array, **kinds):
        stream = io.BytesIO()
        np.save(stream, np.asarray(array), **kinds)
        return stream.getvalue()

    return to_bytes


@pytest.fixture
def start(request):
    """Starts a real server in a process of its own; returns the process and its port."""
    before, made = cluster.left_over(), cluster.Cluster("the model server")

    def begin(*options, threads=1):
        command = [sys.executable, "-m", "utils.serving", "--port", "0", "--quiet", *options]
        process = made.start("server", command, threads=threads)
        made.until(lambda: "Serving on" in process.text, 120)
        return process, int(re.search(r"Serving on http://[^:]+:(\d+)/", process.text).group(1))

    begin.cluster = made
    yield begin
    made.close()
    assert set(cluster.left_over()) <= set(before)
