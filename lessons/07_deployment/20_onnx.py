# ---
# jupyter:
#   course:
#     title: "ONNX"
#     summary: "The course's own models leave their frameworks: what is in the file, how it gets there and back, and what makes it fast, small, or wrong."
#     minutes: {cpu: 60, gpu: 60}
#     prerequisites:
#       - "a classifier trained in three frameworks (12)"
#     objectives:
#       - "read an ONNX file, build one by hand, and run one with sixty lines of NumPy"
#       - "export from PyTorch, Keras and bare TensorFlow, with any batch and non-maximum suppression inside"
#       - "prove that a file computes what its model computes, and take it back into a framework to train on"
#       - "say what ONNX Runtime does to a graph, and measure it without fooling yourself"
#       - "quantise to 8 bits, by hand and by the runtime, and see what wrong calibration costs"
#       - "refuse a broken, foreign or hostile file in words"
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]
# # ONNX
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/07_deployment/20_onnx.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/07_deployment/20_onnx.ipynb)
#
# The course's own models leave their frameworks: what is in the file, how it gets there and back, and what makes it fast, small, or wrong.
#
# **Time:** about 60 minutes on a CPU, 60 on a GPU.
#
# **Before you start:** a classifier trained in three frameworks (12).
#
# **What you will be able to do:**
#
# - read an ONNX file, build one by hand, and run one with sixty lines of NumPy
# - export from PyTorch, Keras and bare TensorFlow, with any batch and non-maximum suppression inside
# - prove that a file computes what its model computes, and take it back into a framework to train on
# - say what ONNX Runtime does to a graph, and measure it without fooling yourself
# - quantise to 8 bits, by hand and by the runtime, and see what wrong calibration costs
# - refuse a broken, foreign or hostile file in words

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
import collections
import functools
import inspect
import subprocess  # noqa: F811
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from utils import CourseError, checkpoints, data, exercises, lessons, parity, plots, runtime
from utils.serving import engines
from utils.controls import Choice, Slider
from utils.exercises import onnx as questions
from utils.explore import Explorer
from utils.graphs import draw, legend

import onnx
import onnxruntime as ort  # after utils, which tells it to keep to itself what it runs

# %%
chosen = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# A trained model is a list of operations and a heap of numbers. Each framework keeps both in a form that it alone can read: to answer one
# question with a PyTorch checkpoint you install PyTorch. [ONNX](https://onnx.ai), the Open Neural Network Exchange, writes both down for everybody:
#
# - a **graph**: nodes, each with an operator's name (`Conv`, `Relu`), the names of what it reads and of what it makes, and attributes (strides, padding);
# - **initialisers**: the numbers, under names that nodes read;
# - **inputs and outputs** with types and shapes, where a dimension may be a word (`batch`);
# - two versions: that of the format (**IR**), and the **opset**, that of the dictionary in which `Conv` is looked up.
#
# All of it is one [Protocol Buffers](https://protobuf.dev) message. What is *not* in it: how pictures have to be prepared, unless you put it in; how
# the model was trained; any Python.
#
# **What you may have read.** *"ONNX makes models fast."* The file does nothing; a *runtime* may be fast (part 8). *"Convert it, and it is the same
# model."* Prove it (part 6). *"One line of* `quantize_dynamic`*, and it is smaller and faster."* Smaller (part 9). *"An ONNX file holds no code, so it is safe."* It
# can hold paths (part 10).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. What is in the file: one by hand
#
# Before any exporter: a dense layer with a ReLU, $y = \max(0, xW + b)$, written with `onnx.helper`. Every edge is a name; nothing else ties two nodes together.

# %% tags=["export"]
from onnx import TensorProto, helper, numpy_helper


def by_hand():
    """y = max(0, x W + b): three nodes, two initialisers, any batch."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(4, 3)).astype("float32")
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        initializer=[
            numpy_helper.from_array(w, "W"),
            numpy_helper.from_array(np.float32([0.5, 0, -0.5]), "b"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


# %% tags=["nbval-check-output"]
mine = by_hand()
onnx.checker.check_model(mine, full_check=True)  # names, types, shapes, order
print(onnx.printer.to_text(mine))

# %% [markdown]
# That is the whole file, as text (`onnx.parser` reads this notation back: part 5 uses it). And it runs, with no framework in sight:

# %%
x = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")
w, b = (numpy_helper.to_array(value) for value in mine.graph.initializer)
ready = ort.InferenceSession(mine.SerializeToString())
print(f"{len(mine.SerializeToString())} bytes; the largest difference to NumPy:", end=" ")
print(np.abs(ready.run(["y"], {"x": x})[0] - np.maximum(0, x @ w + b)).max())
alt = "three boxes in a row, MatMul, Add and Relu, joined by lines"
plots.show(draw(mine.graph, 5, "Three nodes, in the order in which they run", 3.4), alt=alt)

# %% [markdown]
# **Predict**: the same three nodes, listed in another order in the file. The names say what belongs together.

# %%
exercises.predict(
    "A file whose nodes stand in the order Relu, Add, MatMul …",
    ["runs: the names decide", "is refused: the list must be in an order that can run"],
    key="order",
)

# %%
shuffled = onnx.load_from_string(mine.SerializeToString())
nodes = list(shuffled.graph.node)[::-1]
del shuffled.graph.node[:]
shuffled.graph.node.extend(nodes)
try:
    onnx.checker.check_model(shuffled)
    outcome = "runs: the names decide"
except onnx.checker.ValidationError as error:
    print(str(error).splitlines()[0])
    outcome = "is refused: the list must be in an order that can run"
exercises.reveal("order", outcome)

# %% [markdown]
# The standard asks for nodes that are *sorted topologically*: whoever reads may run them one after the other, and never has to plan. That makes a
# reader of such files astonishingly simple. You will write one in part 4.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. A real one: the classifier's file
#
# Four of the course's models leave home in this notebook. The file of each is written by PyTorch (part 5 shows how), once, and then found in the cache.

# %% tags=["export"]
Deployed = collections.namedtuple("Deployed", "what notebook checkpoint example input outputs")
FOUND = ("boxes", "scores", "labels", "pictures")  # a row each for everything that was found
MODELS = {
    "digits": Deployed(
        *("the ResNet of 12: which digit?", "12_resnet", "12_resnet_cutout"),
        *((28, 28), "images", ("probabilities",)),
    ),
    "decoder": Deployed(
        *("the decoder of 02's VAE", "02_vae", "02_vae_2d", (2,), "latents", ("images",)),
    ),
    "generator": Deployed(
        *("the generator of 07's DCGAN", "07_dcgan", "07_dcgan", (64,), "latents", ("images",)),
    ),
    "detector": Deployed(
        *("the YOLO of 16, with its NMS", "16_yolo", "16_yolo", (96, 96, 3), "images", FOUND),
    ),
}
SCORE, OVERLAP, MOST = 0.05, 0.45, 100  # of the detector, as 16 has them


@functools.cache
def mnist():
    """The digits, read once: each reading holds much more memory for a moment."""
    return data.mnist()


def inputs(name, n, seed=0):
    """n inputs (n, …), float32: pixels are 0…255, latents as their lesson draws them."""
    rng = np.random.default_rng(seed)
    if name == "decoder":
        return rng.standard_normal((n, 2), dtype="float32")
    if name == "generator":
        return rng.uniform(-1, 1, (n, 64)).astype("float32")
    digits = mnist()
    if name == "digits":
        return np.resize(digits.x_test, (n, 28, 28)).astype("float32")
    return data.draw_scenes(n, digits.x_test, digits.y_test, seed=seed)[0].astype("float32")


# %% tags=["export"]
def loaded(name, framework):
    """A model's lesson, and its network with the trained weights."""
    point = checkpoints.load(MODELS[name].checkpoint)
    lesson = lessons.load(MODELS[name].notebook, framework)
    settings = SimpleNamespace(**point.info["settings"])
    if name == "digits":
        settings = lesson.small(**point.info["net"])
    elif name == "decoder":
        settings = point.info["latents"]
    net = lesson.ways[framework].build(settings)
    parity.set_weights(net, point.weights)
    return lesson, net


def source(name, framework):
    """The course's own model: a function of an array, in PyTorch, TensorFlow or Keras."""
    if name in ("digits", "decoder"):  # the server of 19 calls it the generator
        served = engines.MODELS["digits" if name == "digits" else "generator"]
        engine = engines.make(framework, served, checkpoints.load(MODELS[name].checkpoint))
        return lambda x: engine(x)[served.outputs[0].name]
    lesson, net = loaded(name, framework)
    way = lesson.ways[framework]
    if name == "generator":
        return lambda z: way.generate(net, z)[..., 0]  # N×64 → N×28×28, 0…1
    return lambda x: flat(way.detect(net, np.rint(x).astype("uint8"), SCORE))


def flat(found):
    """What was found in each picture, as arrays of all finds: how a graph can return it."""
    pictures = np.repeat(np.arange(len(found)), [len(one.scores) for one in found])
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]  # boxes, scores, labels
    return dict(zip(FOUND, (*parts, pictures), strict=True))


# %% tags=["export", "torch"]
import torch
from torch import nn


class TorchGeneratorFile(nn.Module):
    """07's generator, with pixels as the others have them."""

    def __init__(self, lesson, gan):
        super().__init__()
        self.generator, self.lesson, self.settings = gan.generator, lesson, gan.settings

    def forward(self, latents):  # B×64 → B×28×28, 0…1
        return self.lesson.unspread(self.generator(latents)[:, 0], self.settings)


# %% tags=["export", "torch"]
class TorchDetectorFile(nn.Module):
    """16's network and what its `read` does in NumPy: from pictures to all boxes and scores."""

    def __init__(self, lesson, net, height=96, width=96):
        super().__init__()
        self.net, self.lesson, s = net, lesson, net.settings
        across, down = np.meshgrid(np.arange(width // s.stride), np.arange(height // s.stride))
        corner = np.stack([across, down], axis=2)[:, :, None].astype("float32")
        self.register_buffer("corner", torch.as_tensor(corner))  # 12×12×1×2
        self.register_buffer("most", torch.tensor([width, height, width, height]).float())

    def forward(self, images):  # B×96×96×3, 0…255 → boxes B×576×4, scores B×10×576
        s = self.net.settings
        centre, code, sure, classes = self.lesson.split_torch(self.net(images / 255), s)
        centre = s.stride * (self.corner + centre)  # B×12×12×4×2
        half = self.lesson.pixels_torch(code, s) / 2
        boxes = torch.cat([centre - half, centre + half], dim=-1).flatten(1, 3)  # B×576×4
        boxes = torch.minimum(boxes.clamp(min=0), self.most)
        inside = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)  # B×576
        sure = sure.sigmoid().flatten(1, 3) * inside
        return boxes, (sure[..., None] * classes.sigmoid().flatten(1, 3)).transpose(1, 2)


# %% tags=["export"]
NMS = f"""
<ir_version: 10, opset_import: ["": 20]>
nms (float[batch, places, 4] all_boxes, float[batch, classes, places] all_scores)
    => (float[found, 4] boxes, float[found] scores, int64[found] labels, int64[found] pictures)
<int64[1] at_most = {{{MOST}}}, float[1] overlap = {{{OVERLAP}}}, float[1] least = {{{SCORE}}},
 int64[1] last = {{-1}}, double two = {{2.0}}>
{{
    kept = NonMaxSuppression (all_boxes, all_scores, at_most, overlap, least)
    found_scores = GatherND (all_scores, kept)
    found_pictures, found_labels, place = Split <axis = 1, num_outputs = 3> (kept)
    which = Concat <axis = 1> (found_pictures, place)
    found_boxes = GatherND (all_boxes, which)
    wide_scores = Cast <to = 11> (found_scores)
    wide_pictures = Cast <to = 11> (found_pictures)
    column = Mul (wide_pictures, two)
    behind = Squeeze (column, last)
    key = Sub (wide_scores, behind)
    count = Shape (key)
    ordered, order = TopK <axis = 0, sorted = 1> (key, count)
    boxes = Gather (found_boxes, order)
    scores = Gather (found_scores, order)
    labels_column = Gather (found_labels, order)
    labels = Squeeze (labels_column, last)
    pictures_column = Gather (found_pictures, order)
    pictures = Squeeze (pictures_column, last)
}}
"""


def with_nms(network):
    """A graph with `all_boxes` and `all_scores`, and non-maximum suppression joined to it."""
    suppression = onnx.parser.parse_model(NMS)
    joints = [(name, name) for name in ("all_boxes", "all_scores")]
    return onnx.compose.merge_models(network, suppression, joints)


# %% tags=["export"]
def to_onnx(name):
    """A model as the bytes of an ONNX file, for any batch: exported from PyTorch once, then kept."""
    network = onnx.load_from_string(Path(file_of(name)).read_bytes())
    network = with_nms(network) if name == "detector" else network
    return network.SerializeToString()


# %% tags=["export"]
@functools.cache
def files_elsewhere():
    """The paths of all files, made by a process that has PyTorch."""
    code = "from utils import lessons; lesson = lessons.load('20_onnx', 'torch')\n"
    code += "print(*map(lesson.file_of, lesson.MODELS), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=engines.ROOT
    )
    if done.returncode:
        raise CourseError(f"PyTorch writes the files, and could not: {done.stderr[-200:]}")
    return dict(zip(MODELS, done.stdout.splitlines()[-len(MODELS) :], strict=True))


@functools.cache
def file_of(name):
    """The path of a model's file, without the NMS."""
    if "TorchDetectorFile" not in globals():  # no PyTorch here
        return files_elsewhere()[name]
    point, model = checkpoints.load(MODELS[name].checkpoint), MODELS[name]
    if name in ("digits", "decoder"):
        served = engines.MODELS["digits" if name == "digits" else "generator"]
        return engines.onnx_file(served, point)
    kind = TorchGeneratorFile if name == "generator" else TorchDetectorFile
    outputs = ["images"] if name == "generator" else ["all_boxes", "all_scores"]
    return engines.exported(
        lambda: kind(*loaded(name, "torch")).eval(),
        *(point, model.notebook, model.example, model.input, outputs),
        inspect.getsource(kind.__init__) + inspect.getsource(kind.forward),
    )


# %%
files, started = {}, time.perf_counter()
for name, model in MODELS.items():
    files[name] = to_onnx(name)
    print(f"{name:<10}{len(files[name]) / 1000:>8.0f} kB   {model.what}")
print(f"after {time.perf_counter() - started:.0f} s")

# %% [markdown]
# Read the classifier's. Nothing here needs more than `onnx` itself:

# %%
graph = onnx.load_from_string(files["digits"]).graph


def shape_of(value):
    """Dimensions of an input or output: a number each, or a word."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_param or dim.dim_value for dim in dims)


def operators(graph):
    """How many nodes of each operator, the most frequent first."""
    count = collections.Counter(node.op_type for node in graph.node)
    return " · ".join(f"{number} {name}" for name, number in count.most_common())


def read_out(content):
    """What a file says of itself."""
    model = onnx.load_from_string(content)
    graph, weights = model.graph, model.graph.initializer
    for what, values in (("in", graph.input), ("out", graph.output)):
        print(f"{what}:", *(f"{value.name} {shape_of(value)}" for value in values))
    print(f"IR {model.ir_version}, opset {model.opset_import[0].version}, by {model.producer_name}")
    numbers = sum(np.prod(value.dims, dtype=int) for value in weights)
    print(f"{len(weights)} initialisers, {numbers:,} numbers; {len(graph.node)} nodes:")
    print(operators(graph))


read_out(files["digits"])
alt = (
    "sixty boxes in three rows: preparation of the pixels, then pairs of Conv and Relu with an Add "
    "after every second, arcs around them, and at the end a mean, a Gemm and a Softmax"
)
title = "The ResNet of 12: the arcs are its shortcuts"
plots.show(legend(draw(graph, 20, title)), alt=alt)

# %% [markdown]
# Two things to notice. **There is no BatchNorm.** In evaluation mode it is $a x + c$ with fixed numbers, and the exporter has folded it into the convolution before it:
# $w \to a w$, $b \to a b + c$. And **preparation is inside**: `Mul` and `Add` bring bytes, 0…255, to the range the network was trained on. What a client must do to its pixels, some client will
# forget.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Sixty lines of NumPy run it
#
# A runtime, at its simplest: a dictionary of everything that is known, and a loop. Each operator is a function of arrays; the file says in which order.


# %% tags=["export"]
def interpret(model, x, operators, keep=None):
    """Run a graph's nodes in order; `operators` has a function for each. Returns the output.

    `keep`, a dictionary, gets every value that is made, under its name.
    """
    graph = model.graph
    values = {one.name: operators["Constant"](one) for one in graph.initializer}
    values[graph.input[0].name] = x
    for node in graph.node:
        if node.op_type not in operators:
            raise CourseError(
                f"This interpreter knows {', '.join(sorted(operators))}, and no {node.op_type}: "
                "write it and add it to the table."
            )
        given = [values[name] if name else None for name in node.input]
        told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        values[node.output[0]] = operators[node.op_type](*given, **told)
    if keep is not None:
        keep |= values
    return values[graph.output[0].name]


# %% tags=["export"]
def conv(x, w, b=None, *, strides, pads, **_):  # B×C×H×W, O×C×h×w → B×O×H'×W'
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]]  # B×C×H'×W'×h×w
    y = np.tensordot(windows, w, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
    return y if b is None else y + b[:, None, None]


def cut(x, starts, ends, axes, steps=None):
    places = [slice(None)] * x.ndim
    for i, axis in enumerate(axes):
        places[axis] = slice(starts[i], ends[i], 1 if steps is None else steps[i])
    return x[tuple(places)]


def pad(x, pads, value=0.0, **_):  # all beginnings, then all ends
    value = np.float32(0 if value is None else value)
    return np.pad(x, np.reshape(pads, (2, -1)).T, constant_values=value)


# %% tags=["export"]
def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def gemm(a, b, c, alpha=1.0, beta=1.0, transA=0, transB=0):
    return alpha * (a.T if transA else a) @ (b.T if transB else b) + beta * c


NUMPY = {
    "Constant": numpy_helper.to_array,
    "Conv": conv,
    "Gemm": gemm,
    "Add": np.add,
    "Mul": np.multiply,
    "Relu": lambda x: np.maximum(x, 0),
    "Softmax": softmax,
    "Slice": cut,
    "Pad": pad,
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "Transpose": lambda x, perm: np.transpose(x, perm),
    "ReduceMean": lambda x, axes, keepdims=1, **_: x.mean(tuple(axes), keepdims=bool(keepdims)),
}


# %% tags=["export"]
def session(content, threads=1, level="all", **settings):
    """A file's bytes, ready to run in ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.graph_optimization_level = LEVELS[level]
    for key, value in settings.items():
        setattr(options, key, value)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def run(ready, x):
    """What a session makes of x: an array, or a dictionary where there are several."""
    names = [output.name for output in ready.get_outputs()]
    found = ready.run(names, {ready.get_inputs()[0].name: x})
    return found[0] if len(found) == 1 else dict(zip(names, found, strict=True))


# %%
digits, x = onnx.load_from_string(files["digits"]), inputs("digits", 64)
said = [interpret(digits, part, NUMPY) for part in np.split(x, 8)]  # 8×28×28 → 8×10, each
said = np.concatenate(said)
theirs = run(session(files["digits"]), x)
lines = sum(
    len(inspect.getsource(f).splitlines()) for f in (interpret, conv, cut, pad, softmax, gemm)
)
print(
    f"{lines + len(NUMPY) + 1} lines of Python; to ONNX Runtime {np.abs(said - theirs).max():.1e}"
)
print(f"and {np.mean(said.argmax(1) == mnist().y_test[:64]):.1%} of the 64 digits are right")

# %% [markdown]
# That is all there is to running a neural network: the rest of a runtime is speed. Walk through the graph yourself, node by node; where the maps are
# pictures you can watch a digit turn into an opinion.

# %%
walks = {}  # which digit -> everything the interpreter made of it


def at_node(node, digit):
    """The digit, and what the graph has made of it after so many nodes."""
    if digit not in walks:
        values = {}
        interpret(digits, x[digit : digit + 1], NUMPY, values)
        walks[digit] = values
    one = digits.graph.node[node - 1]
    value = walks[digit][one.output[0]]
    fig, (left, right) = plots.figure(columns=2, width=7, height=2.7)
    left.imshow(x[digit], cmap="gray")
    left.set_title("what goes in", fontsize=9)
    left.set_axis_off()
    shape = "×".join(map(str, value.shape))
    right.set_title(f"node {node} of {len(digits.graph.node)}, {one.op_type}: {shape}", fontsize=9)
    if value.ndim == 4 and min(value.shape) > 0 and value.shape[2:] != (1, 1):
        maps = value[0] if value.shape[-1] > 1 else value[0].transpose(2, 0, 1)
        maps = (maps - maps.min()) / max(float(np.ptp(maps)), 1e-9)
        right.imshow(plots.grid(maps, columns=4 if len(maps) < 17 else 8), cmap="gray")
        right.set_axis_off()
    elif value.ndim == 3:
        right.imshow(value[0], cmap="gray")
        right.set_axis_off()
    else:
        right.bar(range(value.size), value.ravel(), color="#0072B2")
        right.set_xlabel("class" if value.size == 10 else "channel")
    return fig


# %%
alt = "on the left a digit, on the right the maps or numbers that the chosen node makes of it"
walk = Explorer(
    at_node,
    [Slider("node", 12, 1, len(digits.graph.node)), Slider("digit", 0, 0, 63)],
    title="Node by node",
    alt=alt,
)
walk.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Out of the frameworks
#
# ### PyTorch
#
# `torch.onnx.export(…, dynamo=True)` runs `torch.export`, which reads the *program*, with symbols for sizes that may vary, and writes each of its operations in ONNX. It is the default since
# PyTorch 2.9. Three habits:
#
# - `eval()` first, or BatchNorm and dropout go out in training mode;
# - an example of **two** inputs: a size of 1 is special everywhere (it broadcasts), and a batch of 1 would be taken for a constant;
# - say which dimension is open, and then **assert** that it is.

# %% tags=["torch"]

lesson, vae = loaded("decoder", "torch")


def exported(module, example, **options):
    """PyTorch's own exporter, without what it tells itself."""
    with engines.quiet_export():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
            **options,
        )
    return program.model_proto


fresh = exported(vae.decoder, torch.zeros(2, 2), input_names=["z"], output_names=["logits"])
assert shape_of(fresh.graph.input[0]) == ("batch", 2)
assert run(session(fresh.SerializeToString()), np.zeros((3, 2), "float32")).shape == (3, 784)
notes = {note.key: note.value for note in fresh.graph.node[0].metadata_props}
print("The VAE's decoder:", operators(fresh.graph))
print("and notes on the first node:", *notes, sep="\n  ")
print("one of which ends:", notes["pkg.torch.onnx.stack_trace"].splitlines()[-1].strip())

# %% [markdown]
# The notes say from which line of whose file each node came: a `stack_trace` holds **paths and source of the machine that exported**. In the classifier's file they were 68 of 364 kB. Useful to a colleague, and not
# meant for the public. The course's own export (`utils/serving/engines.py`) takes them out.
#
# **Tracing**, the older way (`dynamo=False`, `torch.jit.trace`), ran the model once and wrote down what happened. It is deprecated, and here is why. A model with an `if`:

# %% tags=["torch"]
import io
import warnings


class Doubting(torch.nn.Module):
    """Doubles what is bright on average, and negates the rest."""

    def forward(self, x):
        return 2 * x if x.mean() > 0 else -x


class Sure(torch.nn.Module):
    """The same, as arithmetic: both are computed, one is chosen."""

    def forward(self, x):
        return torch.where(x.mean() > 0, 2 * x, -x)


# %% tags=["torch"]
dark, stream = -np.ones((1, 3), "float32"), io.BytesIO()
with engines.quiet_export(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it does warn; many a log is long
    torch.onnx.export(
        Doubting(),
        (torch.ones(2, 3),),
        stream,
        dynamo=False,
        dynamic_axes={"x": [0]},
        input_names=["x"],
    )
print("the model:  ", Doubting()(torch.tensor(dark))[0].tolist())
print("its tracing:", run(session(stream.getvalue()), dark)[0].tolist())
try:
    exported(Doubting(), torch.ones(2, 3))
except Exception as error:
    reason = next(line for line in str(error).splitlines() if "data-dependent" in line)
    print("its export: ", reason.split(": ")[1][:64], "…")
print(
    "mended:     ",
    run(session(exported(Sure(), torch.ones(2, 3)).SerializeToString()), dark)[0].tolist(),
)

# %% [markdown]
# The tracing saw a bright example, wrote "times two", and is wrong about everything dark, silently. `torch.export` refuses: *it cannot know which way*. The remedy
# says the choice in arithmetic (`torch.where`; for branches that are dear, `torch.cond`).
#
# **Operators that do not export.** ONNX has about two hundred; PyTorch has many more. A real case: subtract each picture's median, to get rid of a grey background.


# %% tags=["torch"]
class Median(torch.nn.Module):
    def forward(self, x):  # B×P
        return x - torch.median(x, dim=1, keepdim=True).values


class SortedMedian(torch.nn.Module):
    """The same of operators that ONNX has: sort, and take the middle (the lower of two)."""

    def forward(self, x):  # B×P
        return x - torch.sort(x, dim=1).values[:, (x.shape[1] - 1) // 2, None]


example = torch.tensor(np.random.default_rng(0).normal(size=(2, 6)).astype("float32"))
try:
    exported(Median(), example)
except Exception as error:
    print(
        next(line for line in str(error).splitlines() if "No ONNX function" in line).split("'>: ")[
            1
        ][:96]
    )
mended = exported(SortedMedian(), example)
gap = np.abs(
    run(session(mended.SerializeToString()), example.numpy(force=True))
    - Median()(example).numpy(force=True)
).max()
print(f"mended: {operators(mended.graph)}; difference {gap:.0e}")

# %% [markdown]
# In this order: say it in other operators; register a translation of your own (`custom_translation_table=`); leave the step out of the graph; or write a custom operator
# for the runtime, which then has to travel with the file.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Non-maximum suppression, inside
#
# A detector's last step is no arithmetic on tensors of fixed size: how many boxes are left depends on the picture. 16 did it in NumPy. ONNX has an operator for it, `NonMaxSuppression`. The network, up to
# all 576 boxes of a picture, is exported as `TorchDetectorFile` (part 3); the rest is written by hand in the text notation (`NMS`) and joined by `onnx.compose.merge_models`.
#
# How many were found is a dimension with a name, `found`, that differs from call to call, so the outputs are lists of all finds, with the picture of each; sorted by picture, then by score.

# %%
read_out(files["detector"])
scenes = inputs("detector", 3)
found = run(session(files["detector"]), scenes)
fig, axes = plots.figure(columns=3, width=7.5, height=2.6)
for place, ax in enumerate(axes):
    ax.imshow(scenes[place] / 255)
    ax.set_axis_off()
    sure = (found["pictures"] == place) & (found["scores"] > 0.3)
    for box, label in zip(found["boxes"][sure], found["labels"][sure], strict=True):
        plots.rectangle(ax, box, fill=False, edgecolor="white", linewidth=1.5)
        ax.text(box[0], box[1] - 1, str(label), color="white", fontsize=9)
alt = "three scenes of coloured digits, each digit in a white frame with its name"
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Keras
#
# `model.export(path, format="onnx")` (call the model once before: it has to know its shapes). On TensorFlow it goes through [tf2onnx](https://github.com/onnx/tensorflow-onnx), on PyTorch through PyTorch's *tracing* exporter. A process has
# one backend; the other one gets a process of its own.

# %% tags=["export"]
KERAS_EXPORT = """
import json, sys, warnings
import numpy as np
from utils import data, parity, runtime
runtime.load("keras")
from utils import lessons
lesson = lessons.load("20_onnx", "keras")
print(json.dumps(lesson.keras_file(sys.argv[1])))
"""

# %% tags=["export", "keras"]
import keras


def keras_file(path):
    """12's network by Keras's own export; returns the difference to Keras, and the backend."""
    import logging

    lesson, net = loaded("digits", "keras")
    x = lesson.grey(inputs("digits", 3))  # 3×28×28×1
    said = parity.to_numpy(net(x, training=False))
    logging.disable(logging.WARNING)
    try:
        with engines.quiet_export():
            net.export(path, format="onnx", verbose=False)
    finally:
        logging.disable(logging.NOTSET)
    gap = np.abs(run(session(Path(path).read_bytes()), x) - said).max()
    return float(gap), keras.backend.backend()


# %% tags=["keras"]
import json

other = "torch" if chosen.keras_backend == "tensorflow" else "tensorflow"
with tempfile.TemporaryDirectory() as folder:
    for backend in (chosen.keras_backend, other):
        path = str(Path(folder, f"{backend}.onnx"))
        if backend == other:
            command = [sys.executable, "-c", KERAS_EXPORT, path]
            process = {**os.environ, "KERAS_BACKEND": backend}
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=engines.ROOT, env=process
            )
            if done.returncode:
                print(f"on {backend}: not here ({done.stderr.strip().splitlines()[-1][:60]})")
                continue
            gap, name = json.loads(done.stdout.splitlines()[-1])
        else:
            gap, name = keras_file(path)
        print(f"--- Keras on {name}: {gap:.1e} to Keras itself")
        read_out(Path(path).read_bytes())

# %% [markdown]
# Both are right to seven digits, and how different: on PyTorch ten times the nodes, because the tracing wrote down all the bookkeeping with shapes that Keras does on the way. (A
# runtime folds most of it away when it loads the file.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### TensorFlow
#
# A bare `tf.Module` has no `export`. What tf2onnx takes is a `tf.function` with an `input_signature`, in which `None` is the open batch.

# %% tags=["export", "tensorflow"]
import tensorflow as tf


def tf_file():
    """12's network, a tf.Module, as a file; and what TensorFlow says of three digits."""
    with engines.quiet_export():
        import tf2onnx

        lesson, net = loaded("digits", "tensorflow")
        signature = [tf.TensorSpec([None, 28, 28, 1], tf.float32, name="images")]
        graph = tf.function(lambda images: net(images, False), input_signature=signature)
        model, _ = tf2onnx.convert.from_function(graph, signature, opset=18)
        x = lesson.grey(inputs("digits", 3))
        return model.SerializeToString(), x, graph(tf.constant(x)).numpy()


# %% tags=["tensorflow"]
content, x_tf, said_tf = tf_file()
read_out(content)
print(f"{np.abs(run(session(content), x_tf) - said_tf).max():.1e} to TensorFlow itself")

# %% [markdown]
# TensorFlow keeps channels last, ONNX's `Conv` wants them second: a `Reshape` or `Transpose` at the door, and the rest is rewritten. tf2onnx writes at most opset 18.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# Each file against the course's own model in every framework, for one input, three, and 64. Images and probabilities to $10^{-5}$; boxes are in pixels of a scene of 96, so to $10^{-5}$ of its side. The detector must also find *the same* things.


# %% tags=["export"]
def differences(name, framework, batches=(1, 3, 64)):
    """The largest difference of a file to its model, for each batch."""
    model, ready = source(name, framework), session(to_onnx(name))
    worst = []
    for n in batches:
        x = inputs(name, n)
        mine, its = run(ready, x), model(x)
        if isinstance(mine, dict):
            same = all(np.array_equal(mine[k], its[k]) for k in ("labels", "pictures"))
            gaps = [np.abs(mine[k] - its[k]).max() / s for k, s in (("boxes", 96), ("scores", 1))]
            worst.append(float(max(gaps)) if same else np.inf)
        else:
            worst.append(float(np.abs(mine - its).max()))
    return worst


# %%
gaps = {}
print(f"{'':<11}{'':<12}" + "".join(f"{f'batch {n}':>10}" for n in (1, 3, 64)))
for name in MODELS:
    for framework in chosen.frameworks:
        gaps[name, framework] = differences(name, framework)
        print(f"{name:<11}{runtime.LABELS[framework]:<12}", end="")
        print("".join(f"{gap:>10.0e}" for gap in gaps[name, framework]))

# %% tags=["same-model", "nbval-check-output"]
assert max(map(max, gaps.values())) < 1e-5
print("All files compute what their models compute, differences below 1e-05.")

# %% [markdown]
# Why not zero? The runtime adds the same numbers in another order, and `float32` keeps seven digits. What such a table catches: a forgotten `eval()`, a batch that is a constant, another padding, channels in the wrong
# place. Take **real inputs** and more than one batch size; noise at batch 1 passes many a wrong file.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. The way back
#
# A file from elsewhere, and you want to train on. The same interpreter takes it into a framework: hand it a table of *that framework's* operations, and the gradients come by themselves.


# %% tags=["export"]
def trained(model):
    """Names of the initialisers that are weights: floats with at least one dimension."""
    floats = (v for v in model.graph.initializer if v.data_type == TensorProto.FLOAT)
    return [value.name for value in floats if len(value.dims)]


def table(tensor, weights, **operations):
    """The interpreter's table: weights are handed in, other floats are constants, integers stay."""

    def constant(one):
        value = numpy_helper.to_array(one)
        if one.name in weights:
            return weights[one.name]
        return tensor(value.copy()) if value.dtype == np.float32 else value.tolist()

    return {"Constant": constant, **operations}


# %% tags=["export", "torch"]
from torch.nn import functional as F


class TorchFromONNX(torch.nn.Module):
    """A graph's weights as parameters, its nodes as PyTorch's operations."""

    def __init__(self, content):
        super().__init__()
        self.model = onnx.load_from_string(content)
        values = {v.name: numpy_helper.to_array(v).copy() for v in self.model.graph.initializer}
        self.names = trained(self.model)
        weights = (torch.nn.Parameter(torch.as_tensor(values[name])) for name in self.names)
        self.weights = torch.nn.ParameterList(weights)

    def forward(self, x):
        weights = dict(zip(self.names, self.weights, strict=True))
        return interpret(self.model, x, table(torch.as_tensor, weights, **TORCH))


# %% tags=["export", "torch"]
def torch_conv(x, w, b=None, *, strides, pads, **_):
    top, left, bottom, right = pads
    return F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, strides)


def torch_pad(x, pads, *_, **__):
    n = len(pads) // 2
    pairs = [(pads[i], pads[i + n]) for i in reversed(range(n))]  # PyTorch begins at the end
    return F.pad(x, [side for pair in pairs for side in pair])


TORCH = {
    "Conv": torch_conv,
    "Pad": torch_pad,
    "Slice": cut,
    "Gemm": lambda a, b, c, transB=0, **_: a @ (b.T if transB else b) + c,
    "Add": torch.add,
    "Mul": torch.mul,
    "Relu": torch.relu,
    "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "Unsqueeze": lambda x, axes: x.unsqueeze(axes[0] if isinstance(axes, list) else axes),
    "Transpose": lambda x, perm: x.permute(*perm),
    "ReduceMean": lambda x, axes, keepdims=1, **_: x.mean(tuple(axes), bool(keepdims)),
}

# %% tags=["export", "tensorflow"]


class TFFromONNX(tf.Module):
    """A graph's weights as variables, its nodes as TensorFlow's operations."""

    def __init__(self, content):
        super().__init__()
        self.model = onnx.load_from_string(content)
        values = {v.name: numpy_helper.to_array(v) for v in self.model.graph.initializer}
        self.names = trained(self.model)
        self.weights = [tf.Variable(values[name]) for name in self.names]

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28], tf.float32)], autograph=False)
    def __call__(self, x):
        weights = dict(zip(self.names, self.weights, strict=True))
        return interpret(self.model, x, table(tf.constant, weights, **TENSORFLOW))


# %% tags=["export", "tensorflow"]
def tf_conv(x, w, b=None, *, strides, pads, **_):  # on a CPU TensorFlow wants channels last
    top, left, bottom, right = pads
    x = tf.pad(tf.transpose(x, (0, 2, 3, 1)), ((0, 0), (top, bottom), (left, right), (0, 0)))
    y = tf.nn.conv2d(x, tf.transpose(w, (2, 3, 1, 0)), strides, "VALID")
    return tf.transpose(y if b is None else y + b, (0, 3, 1, 2))


TENSORFLOW = {
    "Conv": tf_conv,
    "Pad": lambda x, pads, *_, **__: tf.pad(x, np.reshape(pads, (2, -1)).T),
    "Slice": lambda x, *where: cut_tf(x, *where),
    "Gemm": lambda a, b, c, transB=0, **_: tf.matmul(a, b, transpose_b=bool(transB)) + c,
    "Add": tf.add,
    "Mul": tf.multiply,
    "Relu": tf.nn.relu,
    "Softmax": lambda x, axis=-1: tf.nn.softmax(x, axis),
    "Unsqueeze": lambda x, axes: tf.expand_dims(x, axes[0]),
    "Transpose": lambda x, perm: tf.transpose(x, perm),
    "ReduceMean": lambda x, axes, keepdims=1, **_: tf.reduce_mean(x, axes, bool(keepdims)),
}


def cut_tf(x, starts, ends, axes, steps):
    places = [slice(None)] * len(x.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places[axis] = slice(start, min(end, 2**31 - 1), step)
    return x[tuple(places)]


# %% [markdown]
# Inside a `tf.function` the interpreter runs *once*, while TensorFlow traces: what is left is a TensorFlow graph, and the interpreter is gone.
#
# Something the model has never seen: digits in fog, a third of the contrast on grey. How good is it, and what do a few steps on 512 of them do?

# %%
dataset = mnist()


def in_fog(images):
    return 100 + 0.3 * images.astype("float32")


x_odd, y_odd = in_fog(dataset.x_train[:512]), dataset.y_train[:512].astype("int64")
x_fair, y_fair = in_fog(dataset.x_test[:256]), dataset.y_test[:256]
STEPS, RATE = 8 if chosen.quick else 100, 1e-3


def right(probabilities):
    return f"{100 * np.mean(probabilities.argmax(1) == y_fair):.1f} %"


first = {}  # framework -> the first step's gradients
its = run(session(files["digits"]), x_fair)


def batch_of(step):
    """64 digits in fog."""
    these = slice(64 * (step % 8), 64 * (step % 8) + 64)
    return x_odd[these], y_odd[these]


# %% tags=["torch"]
back = TorchFromONNX(files["digits"])
optimizer = torch.optim.Adam(back.parameters(), RATE)
parts = np.split(x_fair, 8)  # the interpreter keeps every map of what it is given
with torch.no_grad():
    said = np.concatenate([back(torch.as_tensor(x)).numpy(force=True) for x in parts])
print(f"PyTorch, {np.abs(said - its).max():.0e} to the file; in fog {right(said)}")
for step in range(STEPS):
    x_step, y_step = map(torch.as_tensor, batch_of(step))
    loss = F.nll_loss(torch.log(back(x_step) + 1e-9), y_step)
    optimizer.zero_grad()
    loss.backward()
    if not step:
        first["torch"] = [w.grad.clone().numpy(force=True) for w in back.parameters()]
    optimizer.step()
with torch.no_grad():
    print(
        f"after {STEPS} steps:",
        right(np.concatenate([back(torch.as_tensor(x)).numpy(force=True) for x in parts])),
    )

# %% tags=["tensorflow"]
from utils.tf_optimizers import Adam

back_tf = TFFromONNX(files["digits"])
optimizer_tf = Adam(back_tf.weights)
said = back_tf(tf.constant(x_fair)).numpy()
print(f"TensorFlow, {np.abs(said - its).max():.0e} to the file; in fog {right(said)}")
for step in range(STEPS):
    x_step, y_step = batch_of(step)
    with tf.GradientTape() as tape:
        p = tf.gather(back_tf(tf.constant(x_step)), y_step, batch_dims=1)
        loss = -tf.reduce_mean(tf.math.log(p + 1e-9))
    gradients = tape.gradient(loss, back_tf.weights)
    if not step:
        first["tensorflow"] = [g.numpy() for g in gradients]
    optimizer_tf.apply(gradients, RATE)
print(f"after {STEPS} steps:", right(back_tf(tf.constant(x_fair)).numpy()))


# %%
def written_back(content, weights):
    """The file again, with other numbers: no exporter is needed, the graph is the same."""
    model = onnx.load_from_string(content)
    for value in model.graph.initializer:
        if value.name in weights:
            value.CopyFrom(numpy_helper.from_array(weights[value.name], value.name))
    return model.SerializeToString()


if len(first) == 2:
    scale = max(np.abs(g).max() for g in first["torch"])
    apart = max(np.abs(a - b).max() for a, b in zip(*first.values(), strict=True)) / scale
    print(f"the first step's gradients, PyTorch and TensorFlow: {apart:.0e} apart")
if first:
    model = back if "torch" in first else back_tf
    values = [w.numpy(force=True) if "torch" in first else w.numpy() for w in model.weights]
    again = written_back(files["digits"], dict(zip(model.names, values, strict=True)))
    print("and in ONNX Runtime again:", right(run(session(again), x_fair)))

# %% [markdown]
# The first step's gradients agree to four digits or so: they pass the logarithm of tiny probabilities, which magnifies what differs in the seventh.
# And a detail: BatchNorm is gone (folded), so what you train on is the network as it stands, without it. For a new run of some length go back to the lesson; for a small correction this does.
#
# Ready-made: [onnx2torch](https://github.com/ENOT-AutoDL/onnx2torch) builds an `nn.Module` layer by layer (it needs torchvision, which the course's environment leaves
# out), [onnx2tf](https://github.com/PINTO0309/onnx2tf) makes TensorFlow and LiteRT models; its own README now recommends LiteRT Torch instead, and fed with a *Keras-exported* file, channels last, it silently takes it for channels
# second unless told `-kat`. onnx-tf, which older tutorials use, is no longer maintained.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. ONNX Runtime
#
# [ONNX Runtime](https://onnxruntime.ai) reads the file, rewrites the graph for the machine at hand, and runs it. (Since version 1.29 its official builds for Linux and macOS also [report to Microsoft](https://github.com/microsoft/onnxruntime/pull/27379) what they load, unless `ORT_DISABLE_TELEMETRY=1` stands in the environment before they are imported. The course sets it; your own program has to.)
#
# **Predict** how much the rewriting is worth, one picture, one thread:

# %%
exercises.predict(
    "From no optimisation to all of it, a call for one digit becomes …",
    ["hardly faster: the arithmetic is the same", "1.2 to 3 times as fast", "over 3 times as fast"],
    key="levels",
)


# %% tags=["export"]
def milliseconds(function, *arguments, repeats=60):
    """The median time of a call, after a few that warm up."""
    times = []
    for _ in range(repeats + 5):
        begun = time.perf_counter()
        function(*arguments)
        times.append(1000 * (time.perf_counter() - begun))
    return float(np.median(times[5:]))


def optimised(content, level):
    """The graph as the runtime has rewritten it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "after.onnx")
        session(content, level=level, optimized_model_filepath=str(path))
        return onnx.load(path).graph


# %%
took = {}
for level in LEVELS:
    ready = session(files["digits"], level=level)
    took[level] = milliseconds(run, ready, x[:1])
    after = optimised(files["digits"], level)
    print(f"{level:<9}{took[level]:>6.2f} ms, {len(after.node)} nodes: {operators(after)}")
ratio = took["none"] / took["all"]
exercises.reveal(
    "levels",
    "hardly faster: the arithmetic is the same"
    if ratio < 1.2
    else "1.2 to 3 times as fast"
    if ratio < 3
    else "over 3 times as fast",
)
alt = (
    "the same network after optimisation: the convolutions carry the mark of the runtime's own "
    "operators, and most of the ReLUs and Adds are gone or have become part of them"
)
plots.show(draw(optimised(files["digits"], "all"), 20, "After all optimisations"), alt=alt)

# %% [markdown]
# *Basic* rewriting is what any reader might do (fold constants, drop what does nothing), and PyTorch's exporter has done it already. *Extended* joins operators: `FusedConv` is a convolution that applies
# its ReLU while the number is still in a register. *All* also lays channels in blocks of 8 or 16, one vector register wide (`nchwc`, between `ReorderInput` and `ReorderOutput`), and takes the ReLU, and where it can the shortcut's Add, into the
# convolution. The arithmetic is the same; memory is walked through fewer times. A saved optimised graph is made for this machine: ship the plain one.
#
# ### Threads
#
# `intra_op_num_threads` share one operator, `inter_op` run independent branches side by side. Small networks at batch 1 gain little from either; a server that answers many at once wants **one** thread a call. By
# default the runtime takes all cores, and its threads *spin* while they wait: beside a web server, switch that off (`session.intra_op.allow_spinning`).
#
# Measure here, live:


# %%
def latencies(batch, threads, model):
    """Milliseconds of a call at each level."""
    x = inputs(model, batch)
    repeats = 12 if batch < 8 else 4
    times = [
        milliseconds(run, session(files[model], threads, one), x, repeats=repeats) for one in LEVELS
    ]
    fig, ax = plots.figure(width=6.5, height=2.3)
    bars = ax.barh(list(LEVELS), times, color=["#BBBBBB", "#9BBDDB", "#4F93C6", "#0072B2"])
    ax.bar_label(bars, [f" {t:.2f}" for t in times], fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="ms a call, median", ylabel="optimisation", xlim=(0, 1.18 * max(times)))
    ax.set_title(f"{model}, batch {batch}, {threads} thread{'s'[: threads > 1]}", fontsize=10)
    return fig


alt = "four bars: the time of a call without optimisation, with basic, extended and all of it"
panel = Explorer(
    latencies,
    [Slider("batch", 1, 1, 64), Slider("threads", 1, 1, 4), Choice("model", "digits", list(files))],
    title="Levels, threads and batches",
    alt=alt,
)
panel.show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Providers, binding, profile
#
# **Execution providers** are who computes: CUDA, TensorRT, CoreML, OpenVINO, the CPU. You give a list in order of preference; each takes the nodes it knows, and the rest falls to the next. *Ask what you got*: a GPU that is not found is no error.

# %%
print("in this build:", ", ".join(ort.get_available_providers()))
with engines.quiet_export():
    asked = ort.InferenceSession(
        files["digits"],
        providers=[
            p
            for p in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if p in ort.get_available_providers()
        ],
    )
print("and used:     ", ", ".join(asked.get_providers()))

# %% [markdown]
# **I/O binding**: `run` makes a new array for every answer. Bound once, the runtime reads from and writes to memory that you own; on a GPU that saves a copy each way, which can cost more than the network. On a CPU there is little
# to save:

# %%
ready, x64 = session(files["digits"]), inputs("digits", 64)
answer, binding = np.empty((64, 10), "float32"), ready.io_binding()
binding.bind_cpu_input("images", x64)
binding.bind_output("probabilities", "cpu", 0, np.float32, answer.shape, answer.ctypes.data)
ready.run_with_iobinding(binding)
assert np.array_equal(answer, run(ready, x64))
print(
    f"run {milliseconds(run, ready, x64, repeats=8):.1f} ms, bound {milliseconds(ready.run_with_iobinding, binding, repeats=8):.1f} ms"
)

# %% [markdown]
# **The profile** says which node takes the time (a JSON file, for [Perfetto](https://ui.perfetto.dev) or for three lines of Python):

# %%
import json

with tempfile.TemporaryDirectory() as folder:
    watched = session(
        files["detector"], enable_profiling=True, profile_file_prefix=str(Path(folder, "profile"))
    )
    for _ in range(5):
        run(watched, scenes)
    events = json.loads(Path(watched.end_profiling()).read_text())
spent = collections.Counter()
for event in events:
    if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
        spent[event["args"]["op_name"]] += event["dur"]
whole = sum(spent.values())
print(
    "The detector:",
    ", ".join(f"{name} {100 * t / whole:.0f} %" for name, t in spent.most_common(6)),
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Eight bits
#
# Weights and activations as bytes: a quarter of the size, and integer arithmetic. A real number $r$ becomes a byte $q$ by a **scale** $s$ and a **zero point** $z$:
#
# $$q = \mathrm{clip}\big(\mathrm{round}(r/s) + z,\; 0,\; 255\big), \qquad r \approx s\,(q - z).$$
#
# Weights are known: their scales, one for each output channel, follow from their largest value. What range activations have depends on what goes in. **Static** quantisation tries it out beforehand with a few inputs, the
# **calibration**; **dynamic** quantisation looks anew at every call.
#
# In the file this is **QDQ**: a `QuantizeLinear` and a `DequantizeLinear` around everything, which by themselves only round. A runtime that has an integer convolution replaces the whole pattern by it. (Where are the ReLUs? A range that
# begins at 0 has the zero point 0: what is negative is clipped anyway.)


# %% tags=["export"]
def quantised(name, calibration, **options):
    """A model's file with weights and activations in 8 bits, as (QDQ) the runtime fuses them.

    `calibration` (N, …) are inputs as the model will see them: their ranges become its scales.
    """
    network = Path(file_of(name)).read_bytes()
    network = onnx.load_from_string(quantise(network, calibration, **options))
    return (with_nms(network) if name == "detector" else network).SerializeToString()


KERNELS = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Relu", "Slice", "Pad", "ReduceMean"]


def quantise(content, calibration, **options):
    """Any file with float input: static quantisation, a scale a channel."""
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load_from_string(content).graph.input[0].name
    parts = iter([{name: calibration[i : i + 32]} for i in range(0, len(calibration), 32)])
    reader = type("Reader", (q.CalibrationDataReader,), {"get_next": lambda _: next(parts, None)})
    with tempfile.TemporaryDirectory() as folder, engines.quiet_export():
        whole, ready, small = (Path(folder, f"{step}.onnx") for step in ("whole", "ready", "small"))
        whole.write_bytes(content)
        quant_pre_process(whole, ready, skip_symbolic_shape=True)
        settings = {"per_channel": True, "op_types_to_quantize": KERNELS}
        settings |= {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType.QInt8}
        q.quantize_static(ready, small, reader(), **settings | options)
        return slim(small.read_bytes())


# %% tags=["export"]
def slim(content):
    """The same graph with names of two letters, and without what nobody needs to run it."""
    model = onnx.load_from_string(content)
    graph, known = model.graph, {}
    kept = {value.name for value in (*graph.input, *graph.output)}

    def short(name):
        return name if not name or name in kept else known.setdefault(name, f"t{len(known):x}")

    for node in graph.node:
        node.name = ""
        node.input[:], node.output[:] = map(short, node.input), map(short, node.output)
    for value in graph.initializer:
        value.name = short(value.name)
    graph.ClearField("value_info")
    used = {node.domain for node in graph.node}
    for one in [one for one in model.opset_import if one.domain not in used]:
        model.opset_import.remove(one)
    return model.SerializeToString()


# %%
draw_from = dataset.x_train[:: len(dataset.x_train) // 100][:100].astype("float32")
small = quantised("digits", draw_from)
read_out(small)
few = onnx.load_from_string(small).graph
fixed = {value.name for value in few.initializer}
path = [node for node in few.node if node.input[0] not in fixed][:20]  # without the weights' own
del few.node[:]
few.node.extend(path)
alt = "the first 20 nodes: before and after every convolution stand boxes to and from 8 bits"
plots.show(legend(draw(few, 20, "The beginning of the quantised graph")), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One layer by hand
#
# The decoder's middle layer, 200 → 200, as the runtime computes it, and in NumPy: bytes in, products of bytes added in 32 bits, one multiplication at the end. With $x = s_x (q_x - z_x)$ and $w = s_w q_w$:
#
# $$x \cdot w + b = s_x s_w \Big( \sum (q_x - z_x)\, q_w + q_b \Big), \qquad q_b = \mathrm{round}\big(b / (s_x s_w)\big).$$


# %% tags=["export"]
def one_layer():
    """The decoder's second dense layer as a file of its own, and 256 inputs for it."""
    model = onnx.load_from_string(to_onnx("decoder"))
    before, layer = [node for node in model.graph.node if node.op_type in ("Tanh", "Gemm")][1:3]
    entrance = helper.make_tensor_value_info(before.output[0], TensorProto.FLOAT, ["batch", 200])
    leave = helper.make_tensor_value_info(layer.output[0], TensorProto.FLOAT, ["batch", 200])
    weights = [v for v in model.graph.initializer if v.name in layer.input]
    graph = helper.make_graph([layer], "layer", [entrance], [leave], weights)
    opset = [helper.make_opsetid("", 20)]
    alone = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    values = {}
    interpret(model, inputs("decoder", 256), {**NUMPY, **MORE}, values)
    return alone, values[before.output[0]]


MORE = {  # what the decoder needs beside the classifier's
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Reshape": lambda x, shape, **_: x.reshape(tuple(shape)),
}


# %% tags=["export"]
def quantised_layer(content, x):
    """A Gemm with QDQ around it, computed in whole numbers: x (B, in) → (B, out) bytes."""
    model = onnx.load_from_string(content)
    values = {v.name: numpy_helper.to_array(v) for v in model.graph.initializer}
    by_output = {node.output[0]: node for node in model.graph.node}
    layer = next(node for node in model.graph.node if node.op_type == "Gemm")
    (sx, zx), (sw, _), _ = (
        [values[name] for name in by_output[origin].input[1:]] for origin in layer.input
    )
    qw, qb = (values[by_output[origin].input[0]].astype("int64") for origin in layer.input[1:])
    sy, zy = (
        values[name]
        for name in next(n for n in model.graph.node if n.input[0] == layer.output[0]).input[1:]
    )
    qx = np.clip(np.rint(x / sx) + zx, 0, 255).astype("int64")
    total = (qx - int(zx)) @ (qw.T if qw.shape[0] == len(sw) else qw) + qb  # whole numbers
    return np.clip(np.rint(total * (sx * sw / sy)) + zy, 0, 255), float(sy), float(zy)


# %%
alone, x_layer = one_layer()
for bits in (8, 7):
    layer = quantise(alone, x_layer, reduce_range=bits == 7)
    q, scale, zero = quantised_layer(layer, x_layer)
    its = np.rint(run(session(layer), x_layer) / scale + zero)
    away = np.abs(its - q)
    print(
        f"weights in {bits} bits: {np.mean(away == 0):.2%} of {q.size:,} bytes equal, at most {away.max():.0f} apart"
    )

# %% [markdown]
# With weights in seven bits the bytes agree. With all eight they agree where the processor has instructions for it (VNNI, from about 2019); older ones add two products in 16 bits, where $2 \cdot 255 \cdot 127$ does not fit, and the
# sum is cut off, quietly. On such machines `reduce_range=True` buys exactness for one bit.
#
# ### Calibration, right and wrong
#
# Our file wants bytes, 0…255. **Predict** what happens if the calibration pictures were divided by 255, as they are nearly everywhere else. The weights are not touched, and neither are the pictures in use.

# %%
exercises.predict(
    "Calibrated with pictures 255 times too dark, the accuracy is …",
    ["the same", "a few points lower", "near chance"],
    key="calibration",
)

# %%
x_all, y_all = dataset.x_test.astype("float32"), dataset.y_test
x_all, y_all = (x_all[:600], y_all[:600]) if chosen.quick else (x_all, y_all)


def accuracy(content, factor=1.0):
    """In percent, on the test pictures times a factor."""
    ready = session(content, runtime.threads())
    parts = [run(ready, factor * x_all[i : i + 50]) for i in range(0, len(x_all), 50)]
    return 100 * np.mean(np.concatenate(parts).argmax(1) == y_all)


def for_share(content):
    """The same network for pixels 0…1: one Mul in front."""
    model = onnx.load_from_string(content)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(255), "full"))
    for node in model.graph.node:
        node.input[:] = ["bytes" if name == "images" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Mul", ["images", "full"], ["bytes"]))
    return model.SerializeToString()


# %%
noise = np.random.default_rng(0).uniform(0, 255, draw_from.shape).astype("float32")
ones = dataset.x_train[dataset.y_train == 1][:100].astype("float32")
share = for_share(files["digits"])
found = {
    "not quantised": accuracy(files["digits"]),
    "calibrated with 100 digits": accuracy(small),
    "… with ones only": accuracy(quantised("digits", ones)),
    "… with noise": accuracy(quantised("digits", noise)),
    "… with digits divided by 255": accuracy(quantised("digits", draw_from / 255)),
    "a file for 0…1: with digits in 0…1": accuracy(quantise(share, draw_from / 255), 1 / 255),
    "… the division by 255 forgotten": accuracy(quantise(share, draw_from), 1 / 255),
}
for title, value in found.items():
    print(f"{title:<38}{value:>6.1f} %")
wrong = found["… with digits divided by 255"]
best = found["not quantised"]
exercises.reveal(
    "calibration",
    "near chance" if wrong < 40 else "the same" if wrong > best - 1 else "a few points lower",
)

# %% [markdown]
# Ranges 255 times too narrow: everything brighter than nearly black is cut off, and all pictures look alike. Too wide (the last row): the whole picture falls into one or two bytes. *Both files
# are sound*, have the right size, and answer; only a measurement tells. Noise of the right range does well here, which says what calibration is after: ranges, not meaning.
#
# ### Dynamic, on a convolutional network
#
# Many a tutorial begins with `quantize_dynamic`, since it needs no data.


# %%
def dynamic(content):
    """Weights in 8 bits, activations quantised anew at every call."""
    from onnxruntime import quantization as q

    model = onnx.load_from_string(content)
    model.graph.ClearField("value_info")  # shapes of names that it is about to change
    with tempfile.TemporaryDirectory() as folder, engines.quiet_export():
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        onnx.save(model, before)
        q.quantize_dynamic(before, after)
        return after.read_bytes()


print(f"{'':<20}{'kB':>6}{'accuracy':>11}{'ms, 1 digit':>13}")
loose = dynamic(files["digits"])
for title, content in (
    ("float32", files["digits"]),
    ("int8, static", small),
    ("int8, dynamic", loose),
):
    ms = milliseconds(run, session(content), x[:1])
    print(f"{title:<20}{len(content) / 1000:>6.0f}{accuracy(content):>9.1f} %{ms:>13.2f}")
print(operators(onnx.load_from_string(loose).graph))

# %% [markdown]
# Several times **slower** than not quantised: before each convolution the maps are searched for their range, and `ConvInteger` knows neither fusion nor blocks of channels. Dynamic quantisation is for networks whose
# time goes into reading large weight matrices (transformers, LSTMs). For convolutions: static.
#
# **The size.** A quarter was promised. Small models do not quite get there: each channel keeps a scale, each layer its nodes and names. That is a fixed sum, and `slim` (names shortened, notes dropped) makes it smaller:

# %%
for name in MODELS:
    packed = quantised(name, inputs(name, 16, seed=1))
    weights = sum(
        np.prod(v.dims, dtype=int) for v in onnx.load_from_string(files[name]).graph.initializer
    )
    extra = (len(packed) - weights) / 1000
    print(
        f"{name:<10}{len(files[name]) / 1000:>5.0f} kB → {len(packed) / 1000:>4.0f} kB, {len(files[name]) / len(packed):.2f} times smaller; {extra:>3.0f} kB are not weights"
    )

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. What goes wrong
#
# ### Versions
#
# Four numbers that must fit. Who writes a file chooses the opset; who reads it must know it.


# %% tags=["export"]
@functools.cache
def newest_opset():
    """The newest opset that this ONNX Runtime takes: found by trying."""
    for version in range(onnx.defs.onnx_opset_version(), 0, -1):
        model = by_hand()
        model.opset_import[0].version = version
        try:
            session(model.SerializeToString())
        except Exception:
            continue
        return version
    return 0


# %%
print(
    f"onnx {onnx.__version__} knows opset {onnx.defs.onnx_opset_version()} and IR {onnx.IR_VERSION}"
)
print(f"ONNX Runtime {ort.__version__} takes opset {newest_opset()}")
for name in ("digits", "detector"):
    model = onnx.load_from_string(files[name])
    print(f"{name}: opset {model.opset_import[0].version}, IR {model.ir_version}")
old = by_hand()
old.opset_import[0].version = 13
new = onnx.version_converter.convert_version(old, 20)
print(f"by hand, opset 13 → {new.opset_import[0].version}: converted")
try:
    onnx.version_converter.convert_version(by_hand(), 13)
except RuntimeError as error:
    print("by hand, opset 20 → 13:", str(error).split("failed: ")[-1])

# %% [markdown]
# `helper.make_model` stamps the newest that `onnx` knows, which the runtime may not: say `opset_imports` *and* `ir_version`. The remedy for a file from the future is a newer runtime, an export with a lower `opset_version`, or
# `onnx.version_converter`, which goes up well and down badly.
#
# ### External data
#
# A Protocol Buffers message ends at 2 GB. Larger models keep their numbers in files beside the graph, and the graph has their *paths*. Move one without the other, and:

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "model.onnx")
    onnx.save_model(
        onnx.load_from_string(files["digits"]),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=1024,
    )
    print({p.name: p.stat().st_size for p in sorted(Path(folder).iterdir())})
    print("both there:", run(session(str(path)), x[:1]).argmax())
    Path(folder, "weights.bin").rename(Path(folder, "elsewhere.bin"))
    try:
        session(str(path))
    except Exception as error:
        print(
            f"moved: {type(error).__name__}: … {str(error).split('weights.bin')[0][-60:].split('/')[0]}weights.bin"
        )

# %% [markdown]
# `torch.onnx.export` writes external data by default; for small models `external_data=False`. And a path is something to be suspicious of: a file from a stranger may name `../../somebody's/secrets` as its "weights". `onnx`
# and ONNX Runtime refuse paths that leave the folder; it took [a vulnerability](https://nvd.nist.gov/vuln/detail/CVE-2022-25882) before they did.
#
# ### Files from strangers
#
# What a runtime says about a bad file is for its authors (`INVALID_PROTOBUF`, `Got: 4 Expected: 3`). A door of your own says what was expected, what was found, and what to do:

# %% tags=["export"]
FOREIGN = {  # how other files begin: offset, bytes
    "a LiteRT (TensorFlow Lite) model": (4, b"TFL3"),
    "a zip archive, as .keras and PyTorch's .pt are": (0, b"PK\x03\x04"),
    "an HDF5 file, as Keras 2 wrote": (0, b"\x89HDF"),
    "a safetensors file: weights without a graph": (8, b'{"'),
    "a web page, perhaps an error of the server it was fetched from": (0, b"<"),
    "a picture (PNG)": (0, b"\x89PNG"),
    "a note of Git LFS in place of the file: run `git lfs pull`": (0, b"version https://git-lfs"),
}


def opened(content, threads=1, title="This file"):
    """A session for a file from anywhere, or a `CourseError` that says what is wrong with it."""
    if not content:
        raise CourseError(f"{title} is empty: fetch it again.")
    for what, (at, start) in FOREIGN.items():
        if content[at : at + len(start)] == start:
            raise CourseError(f"{title} is not ONNX but {what}.")
    try:
        model = onnx.load_from_string(content)
    except Exception:
        raise CourseError(
            f"{title} ({len(content):,} bytes) is damaged or cut short: fetch it again, and "
            "compare its SHA-256 with the one published."
        ) from None
    if not model.graph.node or not model.ir_version:
        raise CourseError(f"{title} holds no graph: it is no ONNX file, or was cut short.")
    check_versions(model, title)
    check_external(model, title)
    try:
        onnx.checker.check_model(content)
        return session(content, threads)
    except Exception as error:
        reason = " ".join(str(error).split("==>")[0].split())[:200]
        if isinstance(error, UnicodeDecodeError):
            reason = "a name in it is no text: the file is damaged"
        raise CourseError(f"{title} is no model that can run: {reason}") from None


# %% tags=["export"]
def check_versions(model, title):
    """Refuse a format or a dictionary of operators that nobody here knows."""
    if model.ir_version > onnx.IR_VERSION:
        raise CourseError(
            f"{title} is of IR version {model.ir_version}, and {onnx.IR_VERSION} is the newest "
            "known here: upgrade onnx and onnxruntime, or save it with an older ir_version."
        )
    for one in model.opset_import:
        newest = newest_opset()
        if one.domain in ("", "ai.onnx") and one.version > newest:
            raise CourseError(
                f"{title} is of opset {one.version}, and {newest} is the newest that ONNX Runtime "
                f"{ort.__version__} takes: upgrade it, or export with opset_version={newest}."
            )
    domains = {node.domain for node in model.graph.node}
    own = {name for name in domains if name.split(".")[0] not in ("", "ai", "com")}
    own |= {name for name in domains if name.startswith("com.") and "microsoft" not in name}
    if own:
        raise CourseError(
            f"{title} needs operators of {', '.join(sorted(own))}, which ONNX does not have: "
            "register their library, or export without them."
        )


# %% tags=["export"]
def check_external(model, title):
    """Refuse numbers that lie outside the file, above all outside its folder."""
    for value in model.graph.initializer:
        for entry in value.external_data:
            if entry.key != "location":
                continue
            if Path(entry.value).is_absolute() or ".." in Path(entry.value).parts:
                raise CourseError(
                    f"{title} wants to read {entry.value}, outside its own folder, for "
                    f"{value.name}: do not trust it."
                )
            raise CourseError(
                f"{title} keeps {value.name} in {entry.value} beside it: load it by its path, with "
                "both in one folder, or save it whole (save_as_external_data=False)."
            )


# %% tags=["export"]
def asked(ready, x):
    """`run`, but an input that does not fit is refused in words."""
    wanted = ready.get_inputs()[0]
    expected = "×".join(map(str, wanted.shape))
    if x.dtype != np.float32:
        raise CourseError(
            f"{wanted.name} must be float32 and is {x.dtype}: x.astype('float32') (its values "
            "stay as they are: does the model expect 0…255 or 0…1?)."
        )
    fits = len(x.shape) == len(wanted.shape) and all(
        not isinstance(side, int) or side == found
        for side, found in zip(wanted.shape, x.shape, strict=True)
    )
    if fits:
        return run(ready, x)
    found, remedy = "×".join(map(str, x.shape)), "bring it to that shape"
    if len(x.shape) == len(wanted.shape) == 4:
        for order, name, its in (
            ((0, 3, 1, 2), "last", "second"),
            ((0, 2, 3, 1), "second", "last"),
        ):
            turned = [x.shape[i] for i in order]
            if all(
                not isinstance(s, int) or s == t for s, t in zip(wanted.shape, turned, strict=True)
            ):
                remedy = f"it has channels {name}, the model wants them {its}: x.transpose{order}"
    elif len(x.shape) == len(wanted.shape) - 1:
        remedy = "the batch is missing: x[None]"
    elif x.shape[-1] == 1 and len(x.shape) == len(wanted.shape) + 1:
        remedy = "it has an axis too many, the channel: x[..., 0]"
    raise CourseError(f"{wanted.name} must be {expected} and is {found}: {remedy}.")


# %%
def spoilt(change):
    """The classifier's file after a change to its message."""
    model = onnx.load_from_string(files["digits"])
    change(model)
    return model.SerializeToString()


def escape(model):
    one = model.graph.initializer[0]
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    one.external_data.add(key="location", value="../../secrets/key")


whole = files["digits"]
STRANGERS = {
    "half of it": whole[: len(whole) // 2],
    "one byte changed": whole[:3000] + bytes([whole[3000] ^ 255]) + whole[3001:],
    "weights only": (checkpoints.FOLDER / "12_resnet.safetensors").read_bytes(),
    "a web page": b"<html>404</html>",
    "from the future": spoilt(lambda m: setattr(m.opset_import[0], "version", 99)),
    "a newer format": spoilt(lambda m: setattr(m, "ir_version", 40)),
    "an unknown operator": spoilt(lambda m: setattr(m.graph.node[4], "op_type", "Convolve")),
    "somebody's own": spoilt(lambda m: setattr(m.graph.node[4], "domain", "com.acme")),
    "a path that escapes": spoilt(escape),
}
for title, content in STRANGERS.items():
    try:
        opened(content)
        print(f"{title}: it runs")
    except CourseError as error:
        print(f"{title:<21}{error}")

# %% [markdown]
# One byte changed, in the right place, is a file that loads and computes nonsense: no parser can know. Only a **checksum** can, from a place you trust (19's manifest has one for each model).
#
# And an input that does not fit:

# %%
pictures = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 28, 28])
means = helper.make_tensor_value_info("means", TensorProto.FLOAT, ["batch", 3, 1, 1])
node = helper.make_node("GlobalAveragePool", ["pictures"], ["means"])
graph = helper.make_graph([node], "means", [pictures], [means])
opset = [helper.make_opsetid("", 20)]
channels_second = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
one = np.zeros((1, 28, 28), "float32")
for content, wrong in (
    (whole, one.astype("uint8")),
    (whole, one[0]),
    (whole, one[..., None]),
    (whole, one[:, :27]),
    (channels_second, np.zeros((1, 28, 28, 3), "float32")),
):
    try:
        asked(opened(content), wrong)
    except CourseError as error:
        print(error)

# %% [markdown]
# The layout is the treacherous one: 3×32×32 taken for 32×32×3 is noticed, but a model with open sides takes a 3-pixel-high picture with 32 channels' worth of nonsense without a word. Name your dimensions (`channels`, `height`), and test
# with a picture that is not square.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Measure it
#
# `make results NAME=20_onnx`: every model, its file in 32 and in 8 bits, one thread, warm, medians; PyTorch and ONNX Runtime take turns. Accuracy on the whole test set.

# %%
from utils.recipes import onnx as recipe

print(recipe.table())

# %% [markdown]
# - **Difference**: $10^{-5}$ was asked for, and every file keeps it, against all three frameworks.
# - **Speed, one input**: at least 4 times as fast as PyTorch without compilation (twice was asked for), and far more against the others. The frameworks' time goes into
#   getting from one operation to the next. With 64 inputs it goes into arithmetic, which is the same for all, and the factor shrinks to about two.
# - **Accuracy in 8 bits**: 99.47 against 99.49 %; half a point was allowed.
# - **Size**: 3.5 times was asked for. Three models reach it; the classifier stays at 3.3, for it has 68,000 weights in 19 layers, and 18 of its 86 kB are scales, nodes and names.
# - **Speed in 8 bits**: nothing gained on this processor, which has no instructions for products of bytes (VNNI); what they would save goes into rounding.
#
# The machine was busy with other things while it measured: read a ratio of two or less as "about the same".

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()` shows one.

# %% [markdown]
# **1. In order.** Can these nodes run in the order in which they stand?


# %%
def runs(nodes, given):
    """nodes: a list of pairs (names it reads, names it makes); given: names known at the start."""
    return ...  # your code


questions.runs.check(runs)
# questions.runs.hint()
# questions.runs.solution()

# %% [markdown]
# **2. An operator for the interpreter.** `MaxPool` with windows of 2×2 and strides of 2. ONNX has channels second.


# %%
def max_pool(x):
    """x (N, C, H, W), H and W even → (N, C, H/2, W/2)."""
    return ...  # your code


questions.max_pool.check(max_pool)

# %% [markdown]
# **3. Scale and zero point** for a range of activations, as bytes 0…255. Zero itself must have a byte of its own.


# %%
def parameters(low, high):
    """low < high: an array of the scale and the zero point."""
    return ...  # your code


questions.parameters.check(parameters)

# %% [markdown]
# **4. What wrong calibration costs.** Numbers from 0 to `true` are stored in bytes whose range was calibrated as 0…`calibrated`. The largest error?


# %%
def worst(true, calibrated):
    """Both above 0; zero point 0."""
    return ...  # your code


questions.worst.check(worst)

# %% [markdown]
# **5. A fixed batch.**

# %%
questions.fixed.ask()
answer = "..."  # a letter
questions.fixed.check(answer)

# %% [markdown]
# **6. Your own.** Take another network of the course, `11_vgg` for one: export it, prove it, and write what the interpreter lacks (exercise 2).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 13. What to remember
#
# - A file is a sorted list of nodes and a heap of named numbers: sixty lines of NumPy run it.
# - Export in evaluation mode, with an example of two, an open batch that you *assert*, and the preparation of the inputs inside.
# - A file is proven, not converted: real inputs, several batches, every output.
# - `torch.export` refuses what it cannot know; tracing wrote down the wrong thing.
# - The speed is the runtime's: joined operators, blocked channels, one thread a call.
# - Quantise convolutions statically, calibrate with inputs *exactly* as the model will see them, and measure the accuracy: a wrong range looks like a right file.
# - Check what you load: checksum, versions, paths; and what you feed: type, shape, layout.
#
# | take | when |
# |---|---|
# | ONNX Runtime | servers, desktops, browsers (WebAssembly); models from anywhere |
# | [LiteRT](../../README.md#chapter-map) (21) | telephones, microcontrollers |
# | the framework itself, compiled | you train and serve in one place, and nobody else reads the model |
# | OpenVINO, TensorRT | Intel's or NVIDIA's hardware alone, and the last factor of two; both read ONNX |
#
# **Further reading.** The [operators](https://onnx.ai/onnx/operators/) and the [specification](https://github.com/onnx/onnx/blob/main/docs/IR.md); ONNX Runtime on
# [quantisation](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html) and [graph optimisations](https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html); PyTorch's [exporter](https://docs.pytorch.org/docs/stable/onnx.html);
# Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference* ([2018](https://arxiv.org/abs/1712.05877)).

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [TensorFlow Lite](21_tflite.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/07_deployment/21_tflite.ipynb))
# - **Previous:** [Serving a model with Flask](../06_serving/19_flask.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/06_serving/19_flask.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
