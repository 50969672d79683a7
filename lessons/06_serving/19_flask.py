# ---
# jupyter:
#   course:
#     title: "Serving a model with Flask"
#     summary: "From twenty lines of Flask to a server one would run: what goes wrong, measured, and what each part of the answer is for."
#     minutes: {cpu: 60, gpu: 60}
#     prerequisites:
#       - "a classifier trained in three frameworks (12)"
#     objectives:
#       - "write a REST service for a model, and ask it from Python, the shell and a browser"
#       - "make a call of a model cheap: loaded once, compiled, or as an ONNX file"
#       - "choose between threads and processes, and say why a fork after TensorFlow hangs"
#       - "tell from two numbers whether batching pays"
#       - "refuse bad requests in words, and too many at once"
#       - "measure a server: percentiles, throughput, and what nobody should leave out"
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]
# # Serving a model with Flask
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/06_serving/19_flask.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/06_serving/19_flask.ipynb)
#
# From twenty lines of Flask to a server one would run: what goes wrong, measured, and what each part of the answer is for.
#
# **Time:** about 60 minutes on a CPU, 60 on a GPU.
#
# **Before you start:** a classifier trained in three frameworks (12).
#
# **What you will be able to do:**
#
# - write a REST service for a model, and ask it from Python, the shell and a browser
# - make a call of a model cheap: loaded once, compiled, or as an ONNX file
# - choose between threads and processes, and say why a fork after TensorFlow hangs
# - tell from two numbers whether batching pays
# - refuse bad requests in words, and too many at once
# - measure a server: percentiles, throughput, and what nobody should leave out

# %% cellView="form" jupyter={"source_hidden": true} slideshow={"slide_type": "skip"} tags=["setup"]
# @title Set-up: find the course's own code (on Colab and Kaggle it is fetched first)
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = "https://github.com/deep-learning-three-ways/deep-learning-three-ways"


def find_course():
    """The folder of the course: this one, one above it or, on a hosted machine, a fresh clone."""
    clone = Path.cwd() / REPOSITORY.rsplit("/", 1)[-1]
    for folder in (Path.cwd(), *Path.cwd().parents, clone):
        if (folder / "utils" / "lessons" / "course.toml").is_file():
            return folder
    if "google.colab" not in sys.modules and "KAGGLE_KERNEL_RUN_TYPE" not in os.environ:
        raise FileNotFoundError(
            f"The course is not around this notebook: clone {REPOSITORY} and open it from there."
        )
    print(f"Fetching the course from {REPOSITORY}")
    command = ["git", "clone", "--quiet", "--depth", "1", "--branch", "main", REPOSITORY]
    git = subprocess.run([*command, str(clone)], capture_output=True, text=True)
    if git.returncode != 0:
        raise ConnectionError(
            f"The course could not be fetched: see that the internet is switched on for this "
            f"notebook, then run this cell again. Git says: {git.stderr.strip()}"
        )
    return clone


course = find_course()
# Another package of the name "utils" must not stand in the way of the course's own.
loaded = getattr(sys.modules.get("utils"), "__file__", None)
if loaded is None or Path(loaded).resolve().parents[1] != course.resolve():
    for name in [name for name in sys.modules if name.split(".")[0] == "utils"]:
        del sys.modules[name]
if sys.path[0] != str(course):
    sys.path.insert(0, str(course))

# %% tags=["parameters"]
PROFILE = "quick"  # @param ["quick", "full"]
FRAMEWORKS = ["torch", "tensorflow", "keras"]  # @param {type:"raw"}
SEED = 0  # @param {type:"integer"}
DEVICE = "auto"  # @param ["auto", "cpu", "gpu"]
KERAS_BACKEND = "tensorflow"  # @param ["tensorflow", "torch"]

# %% tags=["export"]
import contextlib
import io
import json
import signal
import statistics
import threading
import time

import numpy as np

from utils import checkpoints, data, exercises, lessons, parity, plots, runtime
from utils.exercises import flask as questions

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# A trained model helps nobody until somebody else's program can ask it. The oldest way that still works
# everywhere is HTTP: a **request** (a method, a path, headers, a body) and a **response** (a status, headers, a
# body), both plain bytes. **REST**, Roy Fielding's name for how the web is built
# ([2000](https://ics.uci.edu/~fielding/pubs/dissertation/top.htm)), asks for a little more:
#
# - what one can ask about are *resources* with addresses: `/v2/models/digits`;
# - methods mean the same everywhere: `GET` looks and changes nothing, `POST` hands something over;
# - the server keeps no memory of the conversation: each request says all that is needed. So any of several
#   servers can answer it, and one that dies is replaced by another;
# - the **status** says how it went, to programs as well:
#
# | status | means | the client should |
# |---|---|---|
# | 200 | here it is | go on |
# | 400, 415, 422 | your request is broken; of a type I do not take; well-formed, but not what I take | mend it: repeating it is of no use |
# | 404, 405 | there is no such thing; not by this method | look at the address |
# | 413 | too large | send less |
# | 500 | my mistake | tell me |
# | 503, 504 | too busy; too late | wait (`Retry-After`), then try again |
#
# **What you may have read.** *"REST means JSON."* It does not; a picture is best sent as a picture (part 5).
# *"Flask is too slow for models."* The model and the encoding take the time, not the framework (part 10). *"Use*
# `async`*."* That helps whoever waits for *others*; a model computes (part 6).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. A model behind a function
#
# To a server a model is a function from arrays to arrays. The model is the ResNet of
# [12](../03_classifiers/12_resnet.ipynb), with its scaling and its softmax inside: what a client must do to its
# pixels by itself, some client will forget.

# %% tags=["export"]
CHECKPOINT = "12_resnet_cutout"
calls = {}  # title -> function from images (N, 28, 28), 0…255, to probabilities (N, 10)


def loaded(framework):
    """The lesson of 12, and its network with the trained weights."""
    lesson, point = lessons.load("12_resnet", framework), checkpoints.load(CHECKPOINT)
    net = lesson.ways[framework].build(lesson.small(**point.info["net"]))
    parity.set_weights(net, point.weights)
    return lesson, net


# %%
digits = data.mnist("embedded")
images, labels = digits.x_test[:64].astype("float32"), digits.y_test[:64]  # 64×28×28
one = images[:1]

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### PyTorch
#
# `eval()`, or BatchNorm answers each client according to who else is in the batch; `inference_mode`, or
# every request records a graph for gradients that nobody will ask for.

# %% tags=["export", "torch"]
import torch


def serve_torch():
    lesson, net = loaded("torch")
    net.eval()

    @torch.inference_mode()
    def call(x):  # N×28×28 → N×10
        return net(torch.as_tensor(lesson.grey(x))).softmax(-1).cpu().numpy()

    return call


calls["PyTorch"] = serve_torch()

# %% [markdown]
# ### TensorFlow
#
# `tf.function` traces once for each shape. With the batch left open in an `input_signature` there is one trace for all;
# without it, a client who sends 7 images makes the server compile.
#
# What is called is that one trace, the *concrete function*. A `tf.function` that is called with a shape its signature does not
# allow raises an error and, in TensorFlow 2.21, never lets go of its lock: every other thread then waits for ever.

# %% tags=["export", "tensorflow"]
import tensorflow as tf


def serve_tf():
    lesson, net = loaded("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32)])
    def graph(x):
        return tf.nn.softmax(net(x, False))

    traced = graph.get_concrete_function()
    return lambda x: traced(tf.constant(lesson.grey(x))).numpy()


calls["tf.function"] = serve_tf()

# %% [markdown]
# ### Keras
#
# `model.predict(x)` is what most tutorials put behind a route. It is a *loop over a dataset*, with callbacks and
# a progress bar, made for thousands of images. `model(x)` is the call.

# %% tags=["export", "keras"]
from keras import ops


def serve_keras():
    lesson, net = loaded("keras")

    def call(x):
        return parity.to_numpy(ops.softmax(net(lesson.grey(x), training=False)))

    def by_predict(x):
        return parity.to_numpy(ops.softmax(net.predict(lesson.grey(x), verbose=0)))

    return call, by_predict


calls["Keras: model(x)"], calls["Keras: predict"] = serve_keras()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### ONNX Runtime
#
# A file that holds the graph and the weights, and a small library that runs it: no framework in
# the server at all. PyTorch writes such a file with `torch.onnx.export(module, (example,), dynamo=True,
# dynamic_shapes=…)`; give it an example of **two** images, or the 1 becomes a constant. ([20](../../README.md#chapter-map)
# opens the file.) The server exports once and finds the file in its cache afterwards.

# %% tags=["export", "torch"]
from utils.serving import engines


def serve_onnx():
    engine = engines.make("onnxruntime", engines.MODELS["digits"], checkpoints.load(CHECKPOINT))
    return lambda x: engine(x)["probabilities"]


calls["ONNX Runtime"] = serve_onnx()

# %% [markdown]
# All must say the same, for one image and for 64:

# %% tags=["nbval-check-output"]
reference = next(iter(calls.values()))(images)
for title, call in calls.items():
    for x, expected in ((images, reference), (one, reference[:1])):
        assert np.abs(call(x) - expected).max() < 1e-4, title
print("All agree to 1e-4.")

# %% [markdown]
# **Commit to a prediction** before you time them. One image, a network of 70,000 weights:

# %%
exercises.predict(
    "From the fastest way to the slowest, a call for one image takes …",
    ["about as long: the arithmetic is the same", "up to 3 times as long", "over 10 times as long"],
    key="calls",
)


# %% tags=["export"]
def milliseconds(function, *arguments, repeats=15):
    """The median time of a call, after two that warm up."""
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        function(*arguments)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[2:])


# %%
took = {}
print(f"{'':<18}{'1 image':>10}{'64 images':>12}   ms")
for title, call in calls.items():
    took[title] = [milliseconds(call, x, repeats=7) for x in (one, images)]
    print(f"{title:<18}{took[title][0]:>10.2f}{took[title][1]:>12.1f}")
ratio = max(t[0] for t in took.values()) / min(t[0] for t in took.values())
exercises.reveal(
    "calls",
    "over 10 times as long"
    if ratio > 10
    else "up to 3 times as long"
    if ratio < 3
    else f"{ratio:.0f} times as long",
)

# %% [markdown]
# The arithmetic *is* the same. What differs is what surrounds it: Python that walks through layers, checks and converts,
# and, for `predict`, a whole data pipeline. That price is paid once a call, whether for one image or for 64.
# Remember it: it decides about batching (part 7).
#
# **The model loaded in each request** is the other classic. (It began as a remedy: in TensorFlow 1 a graph belonged to the thread that
# made it, and `Tensor … is not an element of this graph` drove
# [thousands](https://github.com/keras-team/keras/issues/6462) to load it anew in every thread.)

# %%
loaders = {"torch": "serve_torch", "tensorflow": "serve_tf", "keras": "serve_keras"}
name = session.frameworks[0]
started = time.perf_counter()
fresh = globals()[loaders[name]]()
(fresh[0] if isinstance(fresh, tuple) else fresh)(one)
seconds = time.perf_counter() - started
titles = {"torch": "PyTorch", "tensorflow": "tf.function", "keras": "Keras: model(x)"}
once = took[titles[name]][0]
print(f"{titles[name]}: load and answer {1000 * seconds:.0f} ms, answer {once:.1f} ms")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. Twenty lines of Flask
#
# An **application**, a **route** (a path, a method, and the function behind them), the **request** of the moment,
# a **response**. The model is loaded once, when the program starts.

# %%
from flask import Flask, jsonify, request

app = Flask("twenty_lines")
model = calls[titles[name]]


@app.route("/predict", methods=["POST"])
def predict():
    x = np.array(request.get_json()["image"], "float32")[None]  # 1×28×28, 0…255
    p = model(x)[0]  # 10
    return jsonify({"label": int(p.argmax()), "probabilities": p.tolist()})


# %% [markdown]
# Flask's **test client** asks it without a server or a network: this is how applications are tested.

# %%
client = app.test_client()
answer = client.post("/predict", json={"image": one[0].tolist()})
print(answer.status, "|", answer.content_type)
print(f"label {answer.json['label']}, and the digit is a {labels[0]}")
alt = "the digit that was sent"
plots.show(plots.grid(one.astype("uint8"), scale=4), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### And over a real socket
#
# `app.run()` would start Flask's development server and never return. Here it runs in a thread, on a port that the system
# chooses, and ends with the cell.

# %%
import shutil
import subprocess  # noqa: F811
import urllib.request

import requests
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        """Say nothing: a notebook is no log."""


@contextlib.contextmanager
def developing(app):
    """Flask's development server, as long as the block lasts; yields its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# %%
body = json.dumps({"image": one[0].tolist()}).encode()
with developing(app) as address:
    asked = urllib.request.Request(address + "/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        print("Python:", answer.status, answer.read()[:60])
    command = ["curl", "--silent", "--json", "@-", f"{address}/predict"]
    if shutil.which("curl"):
        done = subprocess.run(command, input=body, capture_output=True, timeout=60)
        print("curl:  ", done.stdout[:60])
    answer = requests.post(f"{address}/predict", json={"image": one[0].tolist()}, timeout=60)
    print("requests:", answer.status_code, "label", answer.json()["label"])
print(" ".join(command[:-1]), "http://…/predict < digit.json")

# %% [markdown]
# With the package [`requests`](https://requests.readthedocs.io), which many install first, it is one line.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. What is wrong with twenty lines
#
# They work, for a friendly client. Here is the other kind. **Predict**: someone sends the number `1e39` as a pixel, a finite
# number in JSON and in Python.

# %%
exercises.predict(
    "A pixel of 1e39. The twenty lines answer …",
    ["400, the client's mistake", "500, a crash", "200, and something that is no JSON"],
    key="1e39",
)


# %%
def spoilt(pixel):
    """A digit with another first pixel."""
    image = one[0].tolist()
    image[0][0] = pixel
    return image


BAD = {
    "no JSON": b"{",
    "another name": json.dumps({"picture": one[0].tolist()}),
    "27 rows": json.dumps({"image": one[0, :27].tolist()}),
    "a word as a pixel": json.dumps({"image": spoilt("black")}),
    "true as a pixel": json.dumps({"image": spoilt(True)}),
    "a pixel of −7000": json.dumps({"image": spoilt(-7000)}),
    "a pixel of 1e39": json.dumps({"image": spoilt(1e39)}),
    "1,000 nested lists": b'{"image": ' + b"[" * 1000 + b"]" * 1000 + b"}",
}


def strict(text):
    """JSON as the standard has it, not as Python has it."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


# %%
app.logger.disabled = True  # it would write eight tracebacks
for title, body in BAD.items():
    with np.errstate(all="ignore"):
        answer = client.post("/predict", data=body, content_type="application/json")
    told = " ".join(answer.text.split())[:58]
    print(f"{title:<20}{answer.status_code}  {answer.mimetype:<17} {told}")
    if "1e39" in title:
        try:
            strict(answer.text)
            outcome = f"{answer.status_code}, in proper JSON"
        except ValueError:
            outcome = "200, and something that is no JSON"
exercises.reveal("1e39", outcome)

# %% [markdown]
# Three kinds of wrong. **500** for the *client's* mistakes: whoever watches the server is woken at night because a stranger
# misspelt a name. **HTML** to a program that expects JSON, and no word of what to mend. And the worst, **200** for nonsense: 27 rows, `true`
# for a number, a pixel of −7000 get a confident answer (a network that averages over places takes any size), and 1e39 is finite in 64 bits, infinite once it is cast to `float32`, NaN after the network, and
# `NaN` in the answer, which is not JSON: the *client's* parser fails, and the log shows a success.
#
# The course's server, `utils/serving`, on the same requests. Its application is made by a
# **factory**, `create_app(config, registry)`: nothing is global, and a test (or a notebook) can hand it any models.

# %% tags=["export"]
from utils.serving import Config, create_app
from utils.serving.registry import Registry


class Engine:
    """A function of this notebook in the place of an engine of the server."""

    kind = "notebook"

    def __init__(self, call, output="probabilities"):
        self.call, self.output = call, output

    def __call__(self, x):
        return {self.output: self.call(x)}


def serving_app(call, **switches):
    """The server's application around one of our functions, with any switch of `Config`."""
    config = Config(models=("digits",), **switches)
    registry = Registry(config, make=lambda *_: Engine(call))
    registry.load()
    return create_app(config, registry)


# %%
ours = serving_app(model)
client = ours.test_client()
for title, body in BAD.items():
    body = body if isinstance(body, bytes) else body.encode()
    if b"[[" in body and title[0] != "1":  # our route takes a list of images
        body = body.replace(b'"image"', b'"images"').replace(b"[[", b"[[[", 1)[:-1] + b"]}"
    answer = client.post("/predict", data=body, content_type="application/json")
    print(f"{title:<20}{answer.status_code}  {json.loads(answer.text)['detail'][:78]}")

# %% [markdown]
# Every error is a document of one form, `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)),
# with a status that tells whose mistake it is, the field, and the remedy. What goes in is declared once, as
# [pydantic](https://docs.pydantic.dev) models (`utils/serving/schemas.py`), *strict*: no text for a number, no `true`
# for 1, no unknown field. Numbers are checked for being finite **after** the cast. From the same models comes `/openapi.json`, and
# a test lets [schemathesis](https://schemathesis.readthedocs.io) invent requests and hold the server to its own document.

# %%
answer = client.post("/predict", json={"images": [one[0].tolist()]})
print(json.dumps(answer.json)[:100], "…\n")
for header in ("Content-Type", "X-Request-ID", "Server-Timing"):
    print(f"{header}: {answer.headers[header]}")
answer = client.post("/predict", json={"images": one.tolist(), "image": 1})
print("\n" + json.dumps(json.loads(answer.text), indent=1))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. How the bytes get in
#
# `Server-Timing` tells where the time went. How much of it is *reading the request* depends on the encoding. The same pixels, in four of
# them, small and as large as ImageNet's:

# %%
from PIL import Image

from utils.serving import decode


def encodings(array):
    """The same picture in four ways: bytes, and how they become an array again."""
    text = json.dumps(array.astype("float32").tolist()).encode()
    stream, picture, photo = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(stream, array.astype("float32"))
    Image.fromarray(array).save(picture, "PNG")
    Image.fromarray(array).save(photo, "JPEG", quality=90)

    def opened(data, kind):
        return np.asarray(decode.image(data, kind, 4_000_000))

    return {
        "JSON": (text, lambda: np.array(json.loads(text), "float32")),
        ".npy, float32": (stream.getvalue(), lambda: decode.npy(stream.getvalue())),
        "PNG": (picture.getvalue(), lambda: opened(picture.getvalue(), "PNG")),
        "JPEG": (photo.getvalue(), lambda: opened(photo.getvalue(), "JPEG")),
    }


tiles = np.tile(np.concatenate(digits.x_test[:8], axis=0), (1, 8))  # 224×224
large = np.stack([tiles, np.roll(tiles, 9, 0), np.roll(tiles, 9, 1)], axis=2)
print(f"{'':<15}{'28×28':>24}{'224×224×3':>26}")
for (title, *_), *pairs in zip(
    encodings(digits.x_test[0]).items(),
    encodings(digits.x_test[0]).values(),
    encodings(large).values(),
    strict=True,
):
    cells = (f"{len(b) / 1000:>12.1f} kB {milliseconds(f, repeats=5):>7.3f} ms" for b, f in pairs)
    print(f"{title:<15}" + "".join(cells))

# %% [markdown]
# JSON writes each number as text, and text must be read digit by digit. It is the right thing for a person with `curl` and for small
# things. For arrays take `.npy` (with `allow_pickle=False`, always: a pickle is a program, and loading it runs it),
# for pictures take pictures.
#
# Compressed bytes have their own trap: 500 kB of PNG can hold 169 *mega*pixels of black. Unpacked, that is a
# **decompression bomb**. The server reads the size from the file's header, and refuses before it unpacks:


# %%
def black(side):
    """A PNG of side × side black pixels."""
    stream = io.BytesIO()
    Image.new("L", (side, side)).save(stream, "PNG")
    return stream.getvalue()


bomb = black(4000)
print(f"{len(bomb) / 1000:.0f} kB would become {4000 * 4000 / 1e6:.0f} MB")
for title, pixels in (("limit off", 10**9), ("limit on", Config().pixels)):
    bombed = serving_app(model, pixels=pixels).test_client()
    started = time.perf_counter()
    answer = bombed.post("/predict", data=bomb, content_type="image/png")
    print(f"{title}: {answer.status_code} after {1000 * (time.perf_counter() - started):.0f} ms")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Many at once: threads, processes, and a fork that hangs
#
# | | threads (waitress, gunicorn `gthread`) | processes (gunicorn's workers) | one thread with `async` |
# |---|---|---|---|
# | memory | one model | a model each | one model |
# | Python code at once | one line at a time (the GIL) | truly | one line at a time |
# | model code at once | truly: engines let the GIL go while they compute | truly | **no**: while it computes, nobody else is served |
# | on Windows | yes | no `fork` | yes |
#
# So the default here is [waitress](https://docs.pylonsproject.org/projects/waitress/): one process, eight threads, and one event loop that collects
# requests, so that a slow client holds no thread. Where Python itself becomes the limit, add processes.
#
# A process is quickly made by **fork**: a copy of the parent, whose memory is shared until somebody writes. So why not load the model, then fork
# (`gunicorn --preload`), and have four workers for the memory of one?

# %%
exercises.predict(
    "The parent has computed with the model. The forked child …",
    ["computes as well", "raises an error", "waits for ever"],
    key="fork",
)

# %%
import sys

from utils.cluster import ROOT, Cluster

SCRIPTS = ROOT / "chapters" / "06_serving" / "scripts"
which = (
    "tensorflow" if "tensorflow" in (name, session.keras_backend) and name != "torch" else "torch"
)
with Cluster("a fork") as forked:
    forked.start("parent", [sys.executable, str(SCRIPTS / "fork.py"), which, "4"])
    forked.wait(120)
    print(f"{runtime.LABELS[which]}: " + "; ".join(forked.text().splitlines()[-2:]))
exercises.reveal("fork", "waits for ever" if "ended" in forked.text() else "computes as well")

# %% [markdown]
# `fork` copies the memory and **one thread**: the one that called it. The framework's own pool of threads, which did the
# computing, exists in the child only as a note in memory that says "eight workers are waiting". The child hands them work and waits. No error, no log line: at the first
# request the client times out. It is reported again and again
# ([gunicorn](https://github.com/benoitc/gunicorn/issues/2478), [PyTorch](https://github.com/pytorch/pytorch/issues/17199)).
# So: **load after the fork** (gunicorn: `post_worker_init`; `utils/serving/lifecycle.py` is such a configuration), and never
# `--preload` a model that has computed.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Waiting for company
#
# Sixteen clients ask at once, each for one image. Sixteen calls, or one call with sixteen images? A call for $n$ images takes about
#
# $$t(n) = a + b\,n,$$
#
# with $a$ for being called at all and $b$ for each image. Part 2's two columns give both. One by one, $n$ images
# take $n(a+b)$; together $a + bn$. So the gain is at most
#
# $$\frac{n(a+b)}{a+bn} \;\longrightarrow\; \frac{a+b}{b} = 1 + \frac{a}{b}.$$

# %%
print(f"{'':<18}{'a, ms':>8}{'b, ms':>8}{'1 + a/b':>10}")
for title, (single, many) in took.items():
    b = max((many - single) / 63, 1e-3)
    a = max(single - b, 0)
    most = f"{1 + a / b:.1f}" if a < 100 * b else "over 100"
    print(f"{title:<18}{a:>8.2f}{b:>8.3f}{most:>10}")

# %% [markdown]
# A **micro-batcher** collects: the first request waits at most `wait_ms` for others, then one call answers all. It is a thread, a bounded queue, and a
# `Future` for each request (`utils/serving/batcher.py`). **Predict** from the table what it will do:

# %%
exercises.predict(
    "Sixteen clients at once; batching gains most for …",
    ["the slowest way of calling", "the fastest way of calling", "it gains equally everywhere"],
    key="batch",
)

# %%
from concurrent.futures import ThreadPoolExecutor

from utils.serving.batcher import Batcher, Direct


def served_per_second(runner, seconds, clients=16):
    """Requests of one image a second, by so many clients, each in a thread of its own."""
    end = time.monotonic() + seconds

    def ask(i):
        count = 0
        while time.monotonic() < end:
            runner.run(images[i : i + 1], time.monotonic() + 60)
            count += 1
        return count

    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        total = sum(pool.map(ask, range(clients)))
    runner.close()
    return total / (time.monotonic() - started)


gains, for_so_long = {}, 0.7 if session.quick else 5
for title, call in calls.items():
    engine = Engine(call)
    single = served_per_second(Direct(engine, 64), for_so_long)
    together = served_per_second(Batcher(engine, 16, 0.003, 64), for_so_long)
    gains[title] = together / single
    print(
        f"{title:<18}{single:>8.0f} /s single{together:>8.0f} /s batched{gains[title]:>7.1f} times"
    )
best = max(gains, key=gains.get)
slow = max(took, key=lambda title: took[title][0]) == best or best.startswith("Keras")
exercises.reveal("batch", "the slowest way of calling" if slow else f"{best}")

# %% [markdown]
# Batching buys back the *overhead* of a call. Keras has much of it, so it gains much. ONNX Runtime has next to none:
# there the gain differs from run to run, and may be a loss, for batching has a price of its own, a wait and two hand-overs between threads. A client who is alone pays it in full. On a GPU $a$ is large (a launch costs the same for one image as for a hundred) and $b$ tiny: batching is
# what makes GPU servers pay (Triton's documentation [reports](https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/optimization.html)
# 3.7 times). So it is a switch here, `--batch 32`, off by default, and you measure before you turn it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. A server one would run
#
# What else production asks for. Each part is shown by switching it off.
#
# ### A bounded queue
#
# More requests than can be served: where do they wait, and how long? A model that takes 20 ms, one thread, 24 impatient clients: an answer after more than
# 200 ms is of no use to them.

# %%
from utils.serving.lifecycle import Server
from utils.serving.load import press
from utils.serving.load import request as message


@contextlib.contextmanager
def serving(app):
    """Our server in a thread, as long as the block lasts; yields it."""
    server = Server(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def slow_model(x):
    time.sleep(0.02)
    return np.full((len(x), 10), 0.1, "float32")


# %%
def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


KIND = "application/x-npy"
asked = message("/predict", npy(one), KIND)
BOUNDS = {
    "no bound": {"queue": 10_000},
    "a deadline of 200 ms": {"queue": 10_000, "deadline_ms": 200},
    "at most 4 wait": {"queue": 4},
}
for title, switches in BOUNDS.items():
    with serving(serving_app(slow_model, threads=1, **switches)) as server:
        found = press(server.port, asked, clients=24, seconds=1.5)
    useful = max(sum(t < 0.2 for t in found.times) - found.codes[503], 0)
    refused = ", ".join(f"{found.codes[c]} × {c}" for c in (503, 504) if found.codes[c])
    print(
        f"{title:<22}{found.codes[200]:>4} answers,{useful:>4} of them in time; "
        f"refused: {refused or 'nobody'}"
    )

# %% [markdown]
# Without a bound everybody waited in line for half a second, and but for the first few *no* answer came while somebody still wanted it:
# the server did its best, and helped nobody. With a deadline (of the server, or a client's own in `X-Deadline-Ms`) nothing is computed any more for those who have given up: 504, too late.
# With a bound those who get in are served in time, and the others learn at once, 503 with
# `Retry-After`, to come back or to go elsewhere. A long queue does not add capacity; it turns overload into delay.
#
# ### A new version, without a failed request
#
# A **manifest** names each version's checkpoint and its SHA-256; a file that is not the one named is never loaded, and no client can send
# one: a model file is a program. The new version is loaded and warmed up *first*, then put in place; the old one stays until its last user has gone.

# %%
import tempfile
from pathlib import Path

print(Config().manifest.read_text()[:330], "…")


def write_manifest(path, checkpoint):
    entry = {"checkpoint": checkpoint, "sha256": checkpoints.load(checkpoint).info["sha256"]}
    path.write_text(json.dumps({"digits": {"1": entry}}))


# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "manifest.json")
    write_manifest(path, "12_resnet")
    swapping = serving_app(model, manifest=path)
    found = []
    with serving(swapping) as server:
        pressing = threading.Thread(target=lambda: found.append(press(server.port, asked, 8, 1.5)))
        pressing.start()
        for checkpoint in ("12_resnet_cutout", "12_resnet", "12_resnet_cutout"):
            time.sleep(0.3)
            write_manifest(path, checkpoint)
            swapping.models.load()  # what SIGHUP asks a running server to do
        pressing.join()
        print("now served:", swapping.models.find("digits").checkpoint)
failed = sum(found[0].codes.values()) - found[0].codes[200] + found[0].cut
print(f"three swaps under load: {failed} requests failed")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What a server says about itself
#
# `/v2/health/live`: the process runs (if not: restart it). `/v2/health/ready`: send requests (not while it loads, not once it ends).
# `/metrics`: counters and histograms for [Prometheus](https://prometheus.io), with few labels: a label that a client can choose
# grows without end. In the log, one line of JSON a request, with an id that the client gets too.

# %%
client = ours.test_client()
for path in ("/v2/health/live", "/v2/health/ready", "/nothing"):
    print(f"GET {path:<20}{client.get(path).status_code}")
lines = client.get("/metrics").text.splitlines()
print(*(line for line in lines if line.startswith(("requests_total", "model_info"))), sep="\n")

# %% [markdown]
# ### The open protocol
#
# Our routes are ours. Triton, MLServer, OpenVINO's server and KServe agreed on one set, the
# [Open Inference Protocol](https://github.com/kserve/open-inference-protocol): any tensors in, any tensors out, with
# names, shapes and types. A client for one works with all, and with this server (a test asks it with NVIDIA's own client
# for Triton, which sends its tensors as bytes behind the JSON):

# %%
print(json.dumps(client.get("/v2/models/digits").json, indent=1)[:420])
tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8"}
tensor["data"] = one[0].astype("uint8").ravel().tolist()
answer = client.post("/v2/models/digits/infer", json={"inputs": [tensor]}).json
print(answer["outputs"][0]["shape"], "label", int(np.argmax(answer["outputs"][0]["data"])))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Under load
#
# Now as a process of its own: what `make serve` starts. Open its address in a browser while it runs: draw a digit and see
# the probabilities; move two sliders, and see what a VAE makes of them; drop a picture.

# %%
import re

served_by = "onnxruntime" if "torch" in session.frameworks else name
house = Cluster("the model server")  # ends with the notebook, whatever happens
write_manifest(house.folder / "manifest.json", CHECKPOINT)
options = ("--port", "0", "--quiet", "--engine", served_by)
command = [sys.executable, "-m", "utils.serving", *options]
command += ["--manifest", str(house.folder / "manifest.json")]


def served():
    """A server in a process of its own, and its port."""
    process = house.start("server", command)
    house.until(lambda: "Serving on" in process.text, 180)
    return process, int(re.search(r"Serving on http://[^:]+:(\d+)/", process.text).group(1))


process, port = served()
known = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/models", timeout=60).read())
print(*(f"{n}: {v['checkpoint']} in {v['engine']}" for n, (v,) in known["models"].items()))

# %% [markdown]
# **Percentiles, not means.** If one request in a hundred takes a second, the mean hardly moves; but a page that makes a hundred requests
# is slow for most of its readers. So report p50, p95 and p99, the throughput, *and the failures*: errors are fast, and a
# server that refuses everything has an excellent mean.
#
# **Little's law** ties the numbers together: requests under way = throughput × time each takes. With 64 clients that ask
# again as soon as they are answered, $64 = \lambda W$: a server that does 1,000 a second has them wait 64 ms each, however fast its model is.

# %%
from utils.controls import Choice, Slider
from utils.explore import Explorer

BODIES = {
    ".npy": asked,
    "JSON": message("/predict", {"images": one.tolist()}),
    "PNG": message("/predict", encodings(digits.x_test[0])["PNG"][0], "image/png"),
}


def pressed(clients, body):
    """Press the server for a second: how long did the answers take?"""
    found = press(port, BODIES[body], clients, 1.0 if session.quick else 5.0)
    fig, ax = plots.figure(width=7, height=2.8)
    times = 1000 * np.array(found.times)
    ax.hist(times, bins=np.geomspace(max(0.1, times.min()), times.max() + 1, 40), color="tab:blue")
    for percent, style in ((50, "-"), (95, "--"), (99, ":")):
        at = found.percentile(percent)
        ax.axvline(at, color="black", linestyle=style, label=f"p{percent} {at:.1f} ms")
    ax.set(xscale="log", xlabel="ms from question to answer", ylabel="answers")
    failed = sum(found.codes.values()) - found.codes[200] + found.cut
    ax.set_title(
        f"{clients} clients, {body}: {found.rate:.0f} a second, {failed} failed", fontsize=10
    )
    ax.legend(frameon=False, fontsize=9)
    return fig


alt = "histogram of the times to an answer, with the 50th, 95th and 99th percentile marked"
panel = Explorer(
    pressed,
    [Slider("clients", 8, 1, 128), Choice("body", ".npy", list(BODIES))],
    title="Load",
    alt=alt,
)
panel.show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The end
#
# Servers end often: for every new release. `SIGTERM` asks politely. **Predict** what becomes of the requests that are under way,
# with 16 clients at it:

# %%
exercises.predict(
    "SIGTERM under load. Of the requests that were accepted …",
    [
        "a few are cut",
        "all that were computing are answered, the queued are cut",
        "all are answered",
    ],
    key="end",
)

# %%
found = []
pressing = threading.Thread(target=lambda: found.append(press(port, asked, 16, 60)))
pressing.start()
time.sleep(1)
process.kill(signal.SIGTERM)
pressing.join()
house.wait(60)
print(f"{found[0].codes[200]} answered, {found[0].cut} accepted and not answered")
print(
    f"{found[0].refused} of 16 clients found nobody when they came back; exit status {process.status}"
)
exercises.reveal("end", "all are answered" if not found[0].cut else "a few are cut")
process, port = served()  # another takes its place: the sliders above go on working

# %% [markdown]
# On SIGTERM `ready` says no (so that a load balancer sends nobody new), whoever already waits in the system's line is let in, the door is shut, everything accepted is
# answered with `Connection: close`, and then the process ends. waitress by itself would have cut what was queued. (Against `SIGKILL` nothing
# helps but a client that tries again; which is why asking twice must do no harm.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# `make bench-serving`: the twenty lines on Flask's development server, the bare call of the model in as many threads (the ceiling), and the server, in one run;
# 1, 8 and 64 clients, one digit each. The load generator shares the machine's cores.

# %%
from utils.recipes import flask as recipe

print(recipe.table())

# %% [markdown]
# Four engines: PyTorch's own, a traced `tf.function`, Keras's call, and ONNX Runtime. Read Keras's rows first: there the call is most of the time, and
# batches win. Then the rows of ONNX Runtime, where the model takes a fraction of a millisecond: with one digit a request, what one
# measures is HTTP, Python and the generator, and no Python server comes near the bare call. With 16 digits in a request the model has something to do, and HTTP is a surcharge.
#
# At 64 clients: with batches Keras answers 37 times as many requests as twenty lines (three times were asked for). ONNX Runtime behind HTTP reaches a
# tenth of its bare calls with one digit a request, and half with 16. LitServe, which serves the same file,
# was ahead without batches (1,230 to 979 a second) and behind with them (1,000 to 1,110).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()` shows one.

# %% [markdown]
# **1. Whose mistake?** The status that a server should answer.


# %%
def status_of(what):
    """what: one of "wrong shape", "broken JSON", "unknown path", "too large", "queue full", "bug"."""
    return ...  # your code


questions.status_of.check(status_of)
# questions.status_of.hint()
# questions.status_of.solution()

# %% [markdown]
# **2. Little's law.** The mean milliseconds of an answer, from the clients of a closed loop and the throughput.


# %%
def waiting(clients, per_second):
    """clients ask again as soon as they are answered."""
    return ...  # your code


questions.waiting.check(waiting)

# %% [markdown]
# **3. Percentiles.** The smallest of the measured times within which at least `percent` of the requests were answered.


# %%
def percentile(times, percent):
    """times (N,), in any order; 0 < percent ≤ 100."""
    return ...  # your code


questions.percentile.check(percentile)

# %% [markdown]
# **4. Safe numbers.** Which of these may be given to a model that computes in float32? (N,) booleans.


# %%
def safe(numbers):
    """numbers (N,), float64, as JSON had them."""
    return ...  # your code


questions.safe.check(safe)

# %% [markdown]
# **5. Does batching pay?** The gain in throughput of batches of $n$ over single calls, from $a$ and $b$.


# %%
def gain(a, b, n):
    """A call for n images takes a + b n."""
    return ...  # your code


questions.gain.check(gain)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - A model is a function from arrays to arrays: load it once, warm it up, call it, and not by `predict`.
# - A server is mostly about requests that are *not* friendly: validate strictly, check numbers after the cast, bound everything, and say in words what to mend.
# - Send arrays as arrays and pictures as pictures.
# - Threads for a model in one process; load after a fork, never before.
# - Batches buy back overhead: 1 + a/b at most, and at the cost of waiting.
# - An overloaded server that refuses early serves more people in time than one that accepts all.
# - Percentiles and failures, not means.
#
# | take | when |
# |---|---|
# | this server, or your own in its manner | a lecture, a test, an intranet; one machine |
# | [LitServe](https://github.com/Lightning-AI/LitServe), [BentoML](https://github.com/bentoml/BentoML) | several models and machines, in Python |
# | [Triton](https://github.com/triton-inference-server/server) | GPUs, many models, the last factor of two |
# | no server | the model fits on the client's device (21) |
#
# Before the open internet, put a reverse proxy in front: encryption, who may ask, how often.
#
# **Further reading.** [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110) (what HTTP means); Flask's own
# [tutorial](https://flask.palletsprojects.com/en/stable/tutorial/); Dean and Barroso, *The Tail at Scale*
# ([2013](https://doi.org/10.1145/2408776.2408794)).

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [ONNX](../07_deployment/20_onnx.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/07_deployment/20_onnx.ipynb))
# - **Previous:** [Distributed training](../05_scale/18_distributed.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/05_scale/18_distributed.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
