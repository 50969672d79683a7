# ---
# jupyter:
#   course:
#     title: "TensorFlow Lite"
#     summary: "A model on a phone, and on a chip with 64 kB: LiteRT's files, arithmetic with 8 bits, and a table of every model in every runtime."
#     minutes: {cpu: 60, gpu: 60}
#     prerequisites:
#       - "a classifier trained in three frameworks (12)"
#       - "files and runtimes, with ONNX (20)"
#     objectives:
#       - "turn a model of each framework into a LiteRT file, and prove that it computes the same"
#       - "read such a file down to its bytes"
#       - "choose between float16, dynamic-range and full-integer quantisation, and calibrate it properly"
#       - "compute a network with integers in NumPy, exactly as a microcontroller does"
#       - "train for few bits, prune, and say what either is good for"
#       - "let a model learn on the device that runs it"
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]
# # TensorFlow Lite
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/07_deployment/21_tflite.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/07_deployment/21_tflite.ipynb)
#
# A model on a phone, and on a chip with 64 kB: LiteRT's files, arithmetic with 8 bits, and a table of every model in every runtime.
#
# **Time:** about 60 minutes on a CPU, 60 on a GPU.
#
# **Before you start:** a classifier trained in three frameworks (12); files and runtimes, with ONNX (20).
#
# **What you will be able to do:**
#
# - turn a model of each framework into a LiteRT file, and prove that it computes the same
# - read such a file down to its bytes
# - choose between float16, dynamic-range and full-integer quantisation, and calibrate it properly
# - compute a network with integers in NumPy, exactly as a microcontroller does
# - train for few bits, prune, and say what either is good for
# - let a model learn on the device that runs it

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
import copy
import gzip
import os  # noqa: F811
import subprocess  # noqa: F811
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from utils import CourseError, checkpoints, data, exercises, lessons, lite, parity, plots, runtime
from utils.controls import Choice, Slider
from utils.data import grey
from utils.exercises import tflite as questions
from utils.explore import Explorer
from utils.lite import Lite

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# A phone, a camera or a door lock has no Python, no GPU to spare and no network that one may count on.
# What it can have is a **file** with the graph and the weights, and a **small runtime** that computes it. Two things
# make that pay: the file needs no parsing (it is used as it lies in memory), and the arithmetic can be done
# with *integers of 8 bits*, which are a quarter of the size and which cheap hardware multiplies best.
#
# **One thing, many names.** TensorFlow Lite is called **LiteRT** since 2024; the files are the same, `.tflite`.
#
# | name | what it is now |
# |---|---|
# | `ai_edge_litert` | **the runtime to use**: `Interpreter`, and the newer `CompiledModel`; no TensorFlow needed |
# | `tf.lite.TFLiteConverter` | still what converts from TensorFlow and Keras |
# | `tf.lite.Interpreter` | the same interpreter inside TensorFlow: in maintenance, warns that it is to be deleted |
# | `litert-torch` | converts from PyTorch; was `ai-edge-torch` |
# | `onnx2tf` | converts from ONNX; its authors advise litert-torch where the model is PyTorch's |
# | `tflite-micro` | the runtime for microcontrollers: the same files, no memory allocation, no operating system |
#
# TensorFlow's own packages get repairs only; what is new happens in LiteRT
# ([migration](https://ai.google.dev/edge/litert/migration)).
#
# **What you may have read.** *"Quantisation makes a model four times smaller."* In the limit; small networks keep scales, names and structure
# (part 3 counts). *"Pruning makes it faster."* Not here (part 9). *"Eight bits cost accuracy."* Wrong calibration does (part 5).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. One file, from three frameworks
#
# The classifier of [12](../03_classifiers/12_resnet.ipynb), with a softmax. Its input is what the network saw when it was trained, `grey(images)`:
# $(\text{pixel} - 33)/79$. Remember these two numbers.

# %% tags=["export"]
answers = {}  # framework -> function from inputs (N, 28, 28, 1) to probabilities (N, 10)
files = {}  # kind -> the bytes of a LiteRT file


def trained(framework):
    """The network of 12 with its trained weights."""
    lesson, point = lessons.load("12_resnet", framework), checkpoints.load("12_resnet_cutout")
    net = lesson.ways[framework].build(lesson.small(**point.info["net"]))
    parity.set_weights(net, point.weights)
    return net


# %%
digits = data.mnist()
print(digits.describe())
few = grey(digits.x_test[:64])  # 64×28×28×1
calibration = grey(digits.x_train[:200])

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### PyTorch
#
# The direct way is **litert-torch**: `litert_torch.convert(model.eval(), (example,))`, with fixed shapes. It brings JAX and
# transformers along, so it lives in an environment of its own; we hand it a program (`torch.export`), and it hands back a file. Name its
# interpreter in `COURSE_LITERT_TORCH` to see it run. (Version 0.10 gave 304 kB, and outputs within 5·10⁻⁷ of PyTorch's.)

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchDigits(nn.Module):
    """The network and its softmax."""

    def __init__(self):
        super().__init__()
        net = trained("torch").eval()
        self.net = net.to(memory_format=torch.contiguous_format)  # see below

    def forward(self, x):  # B×28×28×1 → B×10
        return self.net(x).softmax(-1)


def torch_file(module, example):
    """A module as a LiteRT file, by litert-torch; None where there is none."""
    interpreter = os.environ.get("COURSE_LITERT_TORCH")
    if not interpreter:
        print("litert-torch is not here: COURSE_LITERT_TORCH names an interpreter that has it.")
        return None
    script = Path(lessons.ROOT, "chapters", "07_deployment", "scripts", "torch_to_lite.py")
    with tempfile.TemporaryDirectory() as folder:
        program, target = Path(folder, "program.pt2"), Path(folder, "model.tflite")
        torch.export.save(torch.export.export(module, (example,)), program)
        command = [interpreter, str(script), str(program), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise CourseError(f"litert-torch could not convert: {done.stderr.strip()[-200:]}")
        return target.read_bytes()


# %% tags=["torch"]
torch_digits = TorchDigits().cpu().requires_grad_(False)
answers["torch"] = lambda x: torch_digits(torch.as_tensor(x, device="cpu")).cpu().numpy()
content = torch_file(torch_digits, torch.zeros(1, 28, 28, 1, device="cpu"))
if content:
    gap = np.abs(Lite(content)(few[:1]) - answers["torch"](few[:1])).max()
    print(f"litert-torch: {len(content):,} bytes, largest difference {gap:.0e}")

# %% [markdown]
# (12 lays its weights out channels last. Saved as a program and loaded, such weights came out in the wrong order here, and the file answered nonsense without a
# word: hence `contiguous_format`, and hence the comparison.)
#
# The other way leads through ONNX: the file of [20](20_onnx.ipynb), and **onnx2tf**. A trap: it takes every four-dimensional input for channels-first and turns
# it; `-kat` names inputs that are to stay as they are. (Version 1.29 turned this network's pictures so, and gave up at the first convolution.) `COURSE_ONNX2TF` names an interpreter that has it.


# %% tags=["export", "torch"]
def onnx_file(path):
    """An ONNX file as a LiteRT file, by onnx2tf; None where there is none."""
    interpreter = os.environ.get("COURSE_ONNX2TF")
    if not interpreter:
        print("onnx2tf is not here: COURSE_ONNX2TF names an interpreter that has it.")
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [interpreter, "-m", "onnx2tf", "-i", str(path), "-o", folder, "-n"]
        command += ["-b", "1", "-kat", "images"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        found = sorted(Path(folder).glob("*float32.tflite"))
        if done.returncode or not found:
            raise CourseError(f"onnx2tf could not convert: {(done.stdout + done.stderr)[-200:]}")
        return found[0].read_bytes()


# %% tags=["torch"]
if os.environ.get("COURSE_ONNX2TF"):
    onnx = lessons.load("20_onnx", "torch")
    try:
        content, pixels = onnx_file(onnx.file_of("digits")), onnx.inputs("digits", 1)
        gap = np.abs(Lite(content)(pixels) - onnx.source("digits", "torch")(pixels)).max()
        print(f"onnx2tf: {len(content):,} bytes, largest difference {gap:.0e}")
    except CourseError as error:
        print(error)
else:
    onnx_file(None)

# %% [markdown]
# Where neither is at hand, there is what this course does all the time: carry the *weights* across
# (`utils.parity`), and convert from TensorFlow.
#
# ### TensorFlow
#
# A converter takes a *concrete function*: a graph whose shapes are known, and the `tf.Module` that owns its variables. The batch is 1 here: with an open
# batch our `Dense` computes shapes while it runs, with operators that a microcontroller's runtime does not have (part 7). An interpreter can enlarge the
# batch later (`resize_tensor_input`).

# %% tags=["export", "tensorflow"]
import tensorflow as tf


def convert(function, module, kind="float32", samples=None):
    """A function as a LiteRT file of one of four kinds; `samples` (N, …) calibrate the integers."""
    with lite.quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]  # alone: "dynamic"
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if kind == "int8":
            converter.representative_dataset = lambda: ([x[None]] for x in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()


def tf_digits(batch=1):
    """The network with its softmax as a concrete function, and the module."""
    net = trained("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec([batch, 28, 28, 1], tf.float32)])
    def graph(x):
        return tf.nn.softmax(net(x, False))

    return graph.get_concrete_function(), net


# %% tags=["export", "tensorflow"]
def all_files(samples, wrong):
    """The four kinds, and "wrong": integers calibrated with other inputs."""
    function, net = tf_digits()
    made = {kind: convert(function, net, kind, samples) for kind in lite.KINDS}
    return made | {"wrong": convert(function, net, "int8", wrong)}


# %% tags=["tensorflow"]
tf_net = trained("tensorflow")
answers["tensorflow"] = lambda x: tf.nn.softmax(tf_net(x, False)).numpy()
files |= all_files(calibration, digits.x_train[:200, ..., None].astype("float32"))
print({kind: len(content) for kind, content in files.items()})

# %% [markdown]
# Two traps. A module with several **signatures** goes through `tf.saved_model.save` and `from_saved_model` (part 10). And the second argument must be the
# `tf.Module` that owns the variables: given a *Keras 3 model*, the converter silently writes a file without weights, and what it returns is whatever lay in memory:

# %% tags=["tensorflow", "keras"]
import keras

tiny = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
spec = tf.TensorSpec([1, 4], tf.float32)
graph = tf.function(tiny, input_signature=[spec]).get_concrete_function()
for owner in ((), (tiny,)):
    with lite.quiet():
        broken = tf.lite.TFLiteConverter.from_concrete_functions([graph], *owner).convert()
    gap = np.abs(Lite(broken)(np.ones((1, 4), "float32")) - tiny(np.ones((1, 4)))).max()
    title = "with the Keras model" if owner else "without it"
    print(f"{title:<22}{'right' if gap < 1e-5 else 'not what the model computes'}")

# %% [markdown]
# ### Keras
#
# One line: `model.export(path, format="litert")`, on the TensorFlow backend. On PyTorch's it would need litert-torch.

# %% tags=["export", "keras"]
import keras
from keras import ops


def keras_digits():
    """The network with its softmax, as a Keras model."""
    net = trained("keras")
    x = keras.Input((28, 28, 1), batch_size=1)
    return keras.Model(x, ops.softmax(net(x, training=False)))


def keras_file(model):
    """A Keras model as a LiteRT file; None where its backend has no converter."""
    if keras.backend.backend() != "tensorflow":
        print("On this backend Keras needs litert-torch: save .keras, load it under TensorFlow.")
        return None
    with tempfile.TemporaryDirectory() as folder, lite.quiet():
        path = Path(folder, "model.tflite")
        model.export(str(path), format="litert", verbose=False)
        return path.read_bytes()


# %% tags=["keras"]
keras_net = trained("keras")
answers["keras"] = lambda x: ops.convert_to_numpy(ops.softmax(keras_net(x, training=False)))
content = keras_file(keras_digits())
if content:
    gap = np.abs(Lite(content)(few[:1]) - answers["keras"](few[:1])).max()
    print(f"Keras: {len(content):,} bytes, largest difference {gap:.0e}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The same model?
#
# Whoever left TensorFlow out of this notebook gets the files from a process of its own.


# %% tags=["export"]
def files_from_elsewhere():
    """`all_files`, made by TensorFlow in another process."""
    code = """
import sys, pathlib
from utils import data, lessons
lesson, digits = lessons.load("21_tflite", "tensorflow"), data.mnist()
x = digits.x_train[:200]
for kind, content in lesson.all_files(lesson.grey(x), x[..., None].astype("float32")).items():
    pathlib.Path(sys.argv[1], kind).write_bytes(content)
"""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, folder]
        path = {**os.environ, "PYTHONPATH": str(lessons.ROOT)}
        path.pop("KERAS_BACKEND", None)
        done = subprocess.run(command, env=path, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise CourseError(f"TensorFlow could not convert: {done.stderr.strip()[-300:]}")
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


# %% tags=["nbval-check-output"]
files = files or files_from_elsewhere()
runner = Lite(files["float32"])
for framework, answer in answers.items():
    for count in (1, 3, 64):
        gap = np.abs(runner(few[:count]) - answer(few[:count])).max()
        assert gap <= 1e-5, (framework, count, gap)
print("At batch 1, 3 and 64 the file and its sources agree to 1e-5.")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. What is in the file
#
# A `.tflite` file is a [FlatBuffer](https://flatbuffers.dev): tables with offsets, and the weights between them as they will lie in memory. Nothing is parsed; a
# program maps the file and computes. The schema comes with the runtime (`tf.lite.experimental.Analyzer.analyze` prints the same). Ours has three lists: **tensors** (shape, type,
# scale), **operators** (which tensors go in and out), **buffers** (bytes).

# %%
graph = lite.graph(files["float32"])
print(
    f"version {graph.version}, {len(graph.operators)} operators, {len(graph.tensors)} tensors, identifier {files['float32'][4:8]}"
)
print(dict(Counter(operator.name for operator in graph.operators)), "\n")
for operator in [*graph.operators[:4], *graph.operators[-3:]]:
    shapes = [str(graph.tensors[i].shape) for i in (*operator.inputs, *operator.outputs)]
    print(f"{operator.name:<16}", " ".join(shapes[:-1]), "→", shapes[-1])

# %% [markdown]
# The twenty normalisations are gone: in inference a batch normalisation is a factor and a summand for each channel, and the converter has multiplied them
# into the kernels. ReLUs have become an option of the convolution before them. What do the bytes hold?


# %% tags=["export"]
PARTS = ("weights", "scales, zero points", "names", "structure")


def bytes_of(content):
    """How many bytes of a file hold what: a number for each of PARTS."""
    tensors = lite.graph(content).tensors
    weights = sum(t.data.nbytes for t in tensors if t.data is not None)
    scales = sum(4 * len(t.scale) + 8 * len(t.zero) for t in tensors)  # float32 and int64
    names = sum(len(t.name.encode()) for t in tensors)
    return weights, scales, names, len(content) - weights - scales - names


# %%
fig, ax = plots.figure(width=7, height=2.6)
left = np.zeros(len(lite.KINDS))
parts = np.array([bytes_of(files[kind]) for kind in lite.KINDS]) / 1000  # 4 kinds × 4 parts
for part, size, colour, hatch in zip(
    PARTS,
    parts.T,
    ("#0072B2", "#E69F00", "#999999", "#CC79A7"),
    ("", "//", "..", "xx"),
    strict=True,
):
    ax.barh(lite.KINDS, size, left=left, label=part, color=colour, hatch=hatch, edgecolor="white")
    left += size
ax.invert_yaxis()
ax.set_xlabel("kilobytes")
ax.legend(frameon=False, fontsize=9)
alt = "bytes of the four files: weights shrink to a quarter, scales, names and structure do not"
plots.show(fig, alt=alt)
for kind, row in zip(lite.KINDS, parts, strict=True):
    print(f"{kind:<9}", *(f"{part} {size:.1f} kB;" for part, size in zip(PARTS, row, strict=True)))

# %% [markdown]
# This is why our file shrinks by a factor of about 3 and not 4: the weights do become a quarter, and 8-bit files add a scale and a zero point for *each channel* of each
# kernel, 12 bytes beside kernels of 72 to 288. The names are the graph's, for people. A network of some millions of weights does not notice any of this (the table at the end has larger ones).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Fewer bits
#
# An integer $q$ stands for a real number $r$ by a **scale** and a **zero point**, $r = s\,(q - z)$. With 8 bits, $q$ runs from −128 to 127. Weights are symmetric ($z = 0$)
# with a scale for each output channel; activations have one scale and a zero point, so that 0, which padding and ReLU need, is *exactly* an integer.
#
# | kind | weights | arithmetic | needs |
# |---|---|---|---|
# | float32 | 32 bits | float32 | |
# | float16 | 16 bits | float32 (a GPU's in 16 bits) | |
# | dynamic | 8 bits | activations to 8 bits as they come, products of integers, the rest float32 | |
# | int8 | 8 bits | integers only | **samples**: which ranges do activations have? |


# %% tags=["export"]
def accuracy(content, images, labels, size=100):
    """Percent right, of images (N, 28, 28) in bytes."""
    runner, hits = Lite(content), 0
    for i in range(0, len(images), size):
        p = runner.real(grey(images[i : i + size]))
        hits += int((p.argmax(axis=1) == labels[i : i + size]).sum())
    return 100 * hits / len(images)


# %%
count = 1000 if session.quick else len(digits.x_test)
x_test, y_test = digits.x_test[:count], digits.y_test[:count]
reference = Lite(files["float32"])(few)
print(f"{'':<10}{'bytes':>8}{'of it':>7}{'gzip':>8}{'right, %':>10}{'apart by':>10}{'ms':>7}")
for kind in lite.KINDS:
    content, runner = files[kind], Lite(files[kind])
    gap = np.abs(runner.real(few) - reference).max()
    one = lite.quantise(few[:1], *runner.input["quantization"], runner.input["dtype"])
    fresh = Lite(content)
    ms = lite.clock(lambda runner=fresh, one=one: runner(one))[0]
    share, packed = len(content) / len(files["float32"]), len(gzip.compress(content))
    right = accuracy(content, x_test, y_test)
    print(
        f"{kind:<10}{len(content):>8}{share:>7.0%}{packed:>8}{right:>10.2f}{gap:>10.0e}{ms:>7.2f}"
    )

# %% [markdown]
# The files differ from one another by a few images at most. (In the int8 file the output has steps of 1/256.)
#
# Look at the input of the int8 file. The samples' ranges have told the converter that pixels run from 0 to 255:

# %%
scale, zero = Lite(files["int8"]).input["quantization"]
print(f"scale {scale:.6f} = 1/{1 / scale:.3f}, zero point {zero}")
q = lite.quantise(few, scale, zero)
print("an int8 input is the pixel − 128:", np.array_equal(q[..., 0], digits.x_test[:64] - 128.0))

# %% [markdown]
# $(\text{pixel} - 33)/79 = s\,(q - z)$ with $s = 1/79$ and $z = 33 - 128$: the quantised input *is* the byte, shifted. A camera's bytes go in as they come, and no floating-point number is left anywhere.
#
# **How many bits does a weight need?** A LiteRT file's weights lie in it as they are, so we can write others over them. Choose bits and a layer, and look at the levels.


# %% tags=["export"]
def rounded(weights, bits, per_channel=True, cut=1.0):
    """Weights (C, …) on the levels of so many bits; `cut`: the largest level, as a share of the largest weight."""
    axes = tuple(range(1, weights.ndim)) if per_channel else None
    top = 2 ** (bits - 1) - 1
    scale = cut * np.abs(weights).max(axis=axes, keepdims=True) / top
    scale = np.maximum(scale, np.finfo("float32").tiny)
    return (np.clip(np.round(weights / scale), -top, top) * scale).astype("float32")


def patched(content, change):
    """A float32 file whose kernels (C, …) have been replaced by change(kernel)."""
    for tensor in lite.graph(content).tensors:
        if tensor.data is not None and tensor.dtype == "float32" and tensor.data.ndim > 1:
            old = tensor.data.tobytes()
            assert content.count(old) == 1
            content = content.replace(old, np.ascontiguousarray(change(tensor.data)).tobytes())
    return content


# %%
kernels = [
    t for t in graph.tensors if t.data is not None and t.data.ndim > 1 and t.dtype == "float32"
]
LAYERS = {f"{i}: {'×'.join(map(str, t.shape))}": t.data for i, t in enumerate(kernels, start=1)}


def levels(bits, scales, cut, layer):
    """One layer's weights and their levels; the error of all layers and what it costs."""
    per_channel = scales == "one a channel"
    weights = LAYERS[layer]
    fig, ax = plots.figure(width=7, height=3)
    ax.hist(weights.ravel(), 80, color="#56B4E9")
    top = 2 ** (bits - 1) - 1
    step = cut * np.abs(weights).max() / top
    if not per_channel and bits < 7:
        for level in step * np.arange(-top, top + 1):
            ax.axvline(level, color="black", linewidth=0.6)
    content = patched(files["float32"], lambda w: rounded(w, bits, per_channel, cut))
    error = np.sqrt(np.mean((rounded(weights, bits, per_channel, cut) - weights) ** 2))
    right = accuracy(content, x_test[:400], y_test[:400])
    words = f"{bits} bits, {scales}: this layer's error {error / weights.std():.1%} of its spread"
    ax.set_title(f"{words}; all layers so: {right:.1f} % right", fontsize=10)
    ax.set(xlabel="weight", ylabel="how many", yscale="log")
    return fig


alt = "histogram of a layer's weights; the title says how large the rounding error is, and the accuracy with all layers rounded so"
panel = Explorer(
    levels,
    [
        Slider("bits", 4, 2, 8),
        Choice("scales", "one a layer", ["one a layer", "one a channel"]),
        Slider("cut", 1.0, 0.2, 1.0, label="Largest level"),
        Choice("layer", next(iter(LAYERS)), list(LAYERS)),
    ],
    title="Levels",
    alt=alt,
)
panel.show()

# %% [markdown]
# Try 4 bits with one scale a layer, then with one a channel; then 3 bits, and cut the largest weights off (*Largest level*): a few outliers stretch the scale for everybody else.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Calibrated with the wrong numbers
#
# The converter believes the samples. The most frequent mistake in every forum: samples that are not scaled as the model's inputs are, here raw bytes (0…255) instead
# of `grey` (−0.4…2.8); elsewhere a forgotten `/255`. No error, no warning. **Predict:**

# %%
exercises.predict(
    "Calibrated with raw bytes, and used properly, the int8 file gets right …",
    ["as many as before", "a few less", "less than two thirds", "one in ten, like chance"],
    key="calibration",
)

# %%
scale, zero = Lite(files["wrong"]).input["quantization"]
seen = np.unique(lite.quantise(few, scale, zero))
right = accuracy(files["wrong"], x_test, y_test)
print(f"{right:.1f} % right; the input has scale {scale:.2f}: digits arrive as {seen.tolist()}")
exercises.reveal(
    "calibration",
    "less than two thirds"
    if 20 < right < 66
    else "one in ten, like chance"
    if right < 20
    else "a few less",
)

# %% [markdown]
# The scale that suits 0…255 is 79 times too coarse for what comes: of 256 grey levels four are left, and each following layer's
# range is wrong in its own way. **Two lines would have found it**: print `input["quantization"]`, and measure the accuracy of the *file* you ship, with the code that feeds it.
# (Samples need not be many or labelled: a hundred real inputs do. They must go through the very function that prepares inputs in production.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Integers only
#
# What does a chip without floating-point numbers do? With $r = s(q - z)$ a convolution is
#
# $$q_y = z_y + \underbrace{\frac{s_x\, s_w}{s_y}}_{M}\ \sum (q_x - z_x)\, q_w .$$
#
# The sum is one of integers, in 32 bits, the bias (with scale $s_x s_w$) in it. Only $M$ is real. It is known beforehand, so it is written as
# $M = M_0\, 2^{n}$ with $\tfrac12 \le M_0 < 1$, and $M_0$ as an integer of 31 bits: multiplying by $M$ is *an integer product and a shift*
# (Jacob et al. [2018](https://arxiv.org/abs/1712.05877)). Where it rounds is part of the definition:


# %% tags=["export"]
def multiplier(real):
    """A positive real number as m · 2^(n−31): an integer below 2^31, and n."""
    share, n = np.frexp(np.float64(real))  # real = share · 2^n, ½ ≤ share < 1
    m = np.floor(share * 2.0**31 + 0.5).astype(np.int64)
    full = m == 2**31
    return np.where(full, m // 2, m), n + full


def rescale(total, m, n, twice=True):
    """total · m · 2^(n−31), rounded twice: after the product, and after the shift to the right."""
    product = (np.asarray(total, np.int64) << np.maximum(n, 0)) * m
    if not twice:  # the dense layer rounds once
        shift = 31 + np.maximum(-np.asarray(n, np.int64), 0)
        return (product + (1 << (shift - 1))) >> shift
    half = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.abs(product + half) >> 31  # the upper half, rounded towards zero
    high = np.where(product + half >= 0, high, -high)
    right = np.maximum(-np.asarray(n), 0)
    rest, limit = high & ((1 << right) - 1), (((1 << right) - 1) >> 1) + (high < 0)
    return (high >> right) + (rest > limit)


def to_int8(q, operator, out):
    """Add the zero point and cut to 8 bits; a ReLU cuts at the zero point, which stands for 0."""
    zero = int(out.zero[0])
    relu = operator.options.get("fusedActivationFunction") == 1
    return np.clip(q + zero, zero if relu else -128, 127).astype(np.int8)


# %% [markdown]
# That is all the arithmetic there is. The operators:


# %% tags=["export"]
def weighted(total, bias, operator, x, w, y, twice=True):
    """What convolution and dense layer do with their sums (…, C)."""
    scales = np.float64(x.scale[0]) * np.float64(w.scale) / np.float64(y.scale[0])  # M for each C
    return to_int8(rescale(total + bias.data, *multiplier(scales), twice), operator, y)


def convolution8(q, operator, x, w, bias, y):  # B×H×W×c → B×H/stride×W/stride×C
    size, stride = w.shape[1], operator.options["strideH"]
    q = q.astype(np.int64) - x.zero[0]
    if operator.options["padding"] == 0:  # "SAME"
        missing = max((-(-q.shape[1] // stride) - 1) * stride + size - q.shape[1], 0)
        sides = (missing // 2, missing - missing // 2)
        q = np.pad(q, ((0, 0), sides, sides, (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(q, (size, size), axis=(1, 2))
    seen = seen[:, ::stride, ::stride]  # B×h×w×c×size×size
    total = np.tensordot(seen, w.data.astype(np.int64), axes=((3, 4, 5), (3, 1, 2)))
    return weighted(total, bias, operator, x, w, y)


def dense8(q, operator, x, w, bias, y):  # B×n → B×C
    total = (q.astype(np.int64) - x.zero[0]) @ w.data.T.astype(np.int64)
    return weighted(total, bias, operator, x, w, y, twice=False)


# %% tags=["export"]
def add8(a, b, operator, first, second, y):
    """Two scales meet: both go to twice the larger one, with 20 bits to spare."""
    scales = [np.float64(tensor.scale[0]) for tensor in (first, second)]
    twice, total = 2 * max(scales), 0
    for q, tensor, scale in zip((a, b), (first, second), scales, strict=True):
        shifted = (q.astype(np.int64) - tensor.zero[0]) << 20
        total = total + rescale(shifted, *multiplier(scale / twice))
    factor = twice / (2**20 * np.float64(y.scale[0]))
    return to_int8(rescale(total, *multiplier(factor)), operator, y)


def mean8(q, operator, x, y):  # B×H×W×C → B×C
    count = q.shape[1] * q.shape[2]
    total = q.astype(np.int64).sum(axis=(1, 2)) - count * x.zero[0]
    m, n = map(int, multiplier(np.float64(x.scale[0]) / np.float64(y.scale[0])))
    bits = min(count.bit_length() - 1, 32, 31 + n)  # the division by `count` joins the product
    return to_int8(rescale(total, (m << bits) // count, n - bits), operator, y)


# %% tags=["export"]
def integers(graph, q):
    """Run an int8 graph up to its logits with NumPy's integers: a dictionary, place → (B, …) int8."""
    values = {graph.inputs[0]: q}
    for operator in graph.operators:
        first, *rest = operator.inputs
        tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs)]
        q = values[first]
        if operator.name == "CONV_2D":
            q = convolution8(q, operator, *tensors)
        elif operator.name == "FULLY_CONNECTED":
            q = dense8(q, operator, *tensors)
        elif operator.name == "ADD":
            q = add8(q, values[rest[0]], operator, *tensors)
        elif operator.name == "MEAN":
            q = mean8(q, operator, tensors[0], tensors[-1])
        elif operator.name == "PAD":  # with what stands for 0
            q = np.pad(q, tensors[1].data, constant_values=int(tensors[-1].zero[0]))
        elif operator.name == "STRIDED_SLICE":  # the shortcut with stride 2
            q = q[:, ::2, ::2]
        elif operator.name == "SOFTMAX":  # the last one
            return values
        else:
            raise CourseError(f"{operator.name} is not among the operators built here.")
        values[operator.outputs[0]] = q
    return values


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### To the bit
#
# LiteRT has three sets of kernels: the **reference** (plain loops that define what is right), **builtin** (made for speed), and the delegate **XNNPACK**, the default. All numbers of all
# layers, against ours:

# %%
graph8 = lite.graph(files["int8"])
q = lite.quantise(few[:8], *Lite(files["int8"]).input["quantization"])
ours = integers(graph8, q)
places = [operator.outputs[0] for operator in graph8.operators[:-1]]
for kernels in lite.RESOLVERS:
    runner = Lite(files["int8"], kernels=kernels, keep=True)
    gaps = []
    for i in range(len(q)):
        runner(q[i : i + 1])
        gaps += [np.abs(runner.tensor(p).astype(int) - ours[p][i : i + 1]).ravel() for p in places]
    gaps = np.concatenate(gaps)
    print(
        f"{kernels:<10}{np.mean(gaps > 0):>8.2%} of {len(gaps):,} differ, by {gaps.max()} at most"
    )

# %% [markdown]
# Equal to the reference, in every one of its numbers. The fast kernels round differently (XNNPACK multiplies by a float32 $M$) and now and then come out a level higher or lower, which
# later layers carry on; that is within the rules, and why nobody should compare int8 outputs of two devices for equality.

# %% tags=["nbval-check-output"]
reference8 = Lite(files["int8"], kernels="reference", keep=True)
logits = graph8.operators[-1].inputs[0]
for i in range(len(q)):
    reference8(q[i : i + 1])
    assert all(np.array_equal(reference8.tensor(p), ours[p][i : i + 1]) for p in places)
print("NumPy's integers equal the reference kernels' in every layer.")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Faster: delegates
#
# A **delegate** takes over the part of a graph that it can compute better, and leaves the rest to the interpreter. In Python, XNNPACK (vector instructions of the CPU) is on by default;
# `experimental_op_resolver_type=BUILTIN_WITHOUT_DEFAULT_DELEGATES` switches it off. One image, one thread, median and 95th percentile:

# %%
print(f"{'ms':<10}{'XNNPACK':>16}{'builtin':>16}")
for kind in lite.KINDS:
    cells = []
    for kernels in ("xnnpack", "builtin"):
        runner = Lite(files[kind], kernels=kernels)
        one = lite.quantise(few[:1], *runner.input["quantization"], runner.input["dtype"])
        cells.append(
            "{:.2f} / {:.2f}".format(*lite.clock(lambda runner=runner, one=one: runner(one)))
        )
    print(f"{kind:<10}" + "".join(f"{cell:>16}" for cell in cells))

# %% [markdown]
# Whether int8 is faster than float32 *with* XNNPACK depends on the network: one as narrow as ours (8 to 32 channels) has little to gain from wider vectors, and each operator has a fixed price. The table at the end measures
# larger ones too.
#
# | delegate | where | note |
# |---|---|---|
# | XNNPACK | any CPU | default |
# | GPU | phones; WebGPU in the wheel | float16 arithmetic; copies cost, so for large models |
# | NPU (Qualcomm, MediaTek, Tensor, Intel) | the maker's chip | compiled for the chip ahead of time or at the first start; int8 |
# | Core ML, Edge TPU | Apple, Coral | `load_delegate("libedgetpu.so.1")`; int8 only for the Edge TPU |
#
# **`CompiledModel`** is LiteRT's newer interface: you name accelerators, it compiles for them, and buffers are yours. An accelerator that is not there raises an error, or, where the CPU is
# among the choices, may leave the work to it: ask `is_fully_accelerated()`, and measure.


# %%
script = Path(lessons.ROOT, "chapters", "07_deployment", "scripts", "compiled.py")
with tempfile.TemporaryDirectory() as folder:  # it tells the terminal much: a process of its own
    Path(folder, "model.tflite").write_bytes(files["float32"])
    np.save(Path(folder, "x.npy"), few[:1])
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
    print(done.stdout.strip() if done.returncode == 0 else done.stderr[-300:])
    gap = np.abs(np.load(Path(folder, "y.npy")) - Lite(files["float32"])(few[:1])[0]).max()
print(f"CompiledModel and Interpreter are apart by {gap:.0e}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. A microcontroller
#
# A chip for a euro has 256 kB of RAM, no files and no `malloc`. **tflite-micro** runs the same file: the flatbuffer stays in flash memory, and everything else lives in one **arena**, an array whose size
# you choose. It brings only the operators that you register, and no Python; but its authors also build it for Python on Linux (x86-64), which makes it testable here.


# %% tags=["export"]
def micro(content, arena=400_000):
    """A file in the microcontroller's runtime: a function of one int8 or float32 input, and its arena."""
    from tflite_micro import runtime as chip

    lines = []
    with lite.overheard(lines):
        try:
            runner = chip.Interpreter.from_bytes(bytes(content), arena_size=arena)
        except RuntimeError as error:
            said = " ".join(lines)[:120] or str(error)
            raise CourseError(f"tflite-micro does not take this file: {said}") from None
        runner.print_allocations()

    def call(x):
        runner.set_input(np.ascontiguousarray(x), 0)
        runner.invoke()
        return runner.get_output(0).copy()

    used = [line for line in lines if "Arena allocation total" in line]
    return call, int(used[-1].split()[-2])


# %%
if lite.has_micro():
    for kind, x in (("float32", few), ("int8", q)):
        call, arena = micro(files[kind])
        same = Lite(files[kind], kernels="reference")
        gap = max(np.abs(call(x[i : i + 1]) - same(x[i : i + 1])).max() for i in range(8))
        print(
            f"{kind:<9}arena {arena / 1000:6.1f} kB; largest difference to the reference: {gap:.0e}"
        )
    try:
        micro(files["int8"], arena=20_000)
    except CourseError as error:
        print("An arena of 20 kB:", error)
else:
    print("tflite-micro is made for Linux on x86-64: not here.")

# %% [markdown]
# To the bit: what you test here is what the chip will say. Most of an arena holds activations, those of the layers that are alive at the same time, and the shortcuts of this network keep one more alive; they
# become a quarter. The runtime's own tables do not, so the arena is a third of the other.
#
# A chip has no file system, so the file becomes part of the program, as an array in C:


# %% tags=["export"]
def c_array(content, name):
    """A file as C source: what `xxd -i` writes, aligned as the runtime needs it."""
    rows = [
        ", ".join(f"0x{byte:02x}" for byte in content[i : i + 12])
        for i in range(0, len(content), 12)
    ]
    body = ",\n  ".join(rows)
    return (
        f"alignas(16) const unsigned char {name}[] = {{\n  {body}\n}};\n"
        f"const unsigned int {name}_len = {len(content)};\n"
    )


# %%
source = c_array(files["int8"], "digits_int8")
print(source[:190], "…", source[-60:], sep="\n")

# %% [markdown]
# With a *dynamic* batch the file would have had operators that compute shapes, and the runtime would have said which one it lacks. Try it: `convert(*tf_digits(None))`, then `micro(…)`.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Trained for few bits, and for few weights
#
# Below 8 bits, rounding *after* training hurts. **Quantisation-aware training** rounds while it trains, and gives the rounding a gradient that it does not have: forwards
# $\mathrm{round}(w)$, backwards as if it had been $w$ (the *straight-through estimator*, which [06](../01_autoencoders/06_vq_vae.ipynb) has for its codes).
#
# TensorFlow's own toolkit for this and for pruning (`tensorflow-model-optimization`) works on the old `tf_keras` only, and there is no plan for Keras 3; `torch.ao.quantization` is deprecated in favour of torchao. Both ideas are a few lines.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Rounding that learns: PyTorch


# %% tags=["export", "torch"]
def fake(values, bits, per_channel=False):
    """Values on the levels of so many bits; their gradient passes as if nothing had happened."""
    top = 2 ** (bits - 1) - 1
    axes = tuple(range(1, values.dim())) if per_channel else tuple(range(values.dim()))
    scale = values.detach().abs().amax(axes, keepdim=True).clamp(min=1e-8) / top
    levels = (values / scale).round().clamp(-top, top) * scale
    return values + (levels - values).detach()


class TorchSmall(nn.Module):
    """Two convolutions and a dense layer, which compute with so many bits; None: float32."""

    def __init__(self, bits=None):
        super().__init__()
        self.bits = bits
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.dense = nn.Linear(7 * 7 * 16, 10)

    def few(self, values, per_channel=False):
        return fake(values, self.bits, per_channel) if self.bits else values

    def forward(self, x):  # B×28×28×1 → B×10
        h = x.permute(0, 3, 1, 2)
        h = fake(h, 8) if self.bits else h  # pictures keep their 8 bits
        for layer in (self.conv1, self.conv2):  # → B×8×14×14 → B×16×7×7
            h = F.conv2d(h, self.few(layer.weight, True), layer.bias, stride=2, padding=1)
            h = self.few(F.relu(h))
        return F.linear(h.flatten(1), self.few(self.dense.weight, True), self.dense.bias)


# %% tags=["export", "torch"]
def fit_torch(model, images, labels, steps, rate, seed):
    """Adam on batches of 64 of images (N, 28, 28), bytes."""
    optimizer, rng = torch.optim.Adam(model.parameters(), rate), np.random.default_rng(seed)
    for _ in range(steps):
        chosen = rng.integers(len(images), size=64)
        logits = model(torch.as_tensor(grey(images[chosen])))
        loss = F.cross_entropy(logits, torch.as_tensor(labels[chosen].astype("int64")))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def right_torch(model, images, labels, bits):
    """Percent right, computed with so many bits."""
    model.bits, before = bits, model.bits
    guess = model(torch.as_tensor(grey(images))).argmax(dim=1).cpu().numpy()
    model.bits = before
    return 100 * np.mean(guess == labels)


# %% [markdown]
# The fair comparison: QAT has 80 more steps than the network it begins from, so the *control* gets 80 more steps in float32, and is rounded then.

# %% tags=["torch"]
steps, more = (150, 80) if session.quick else (3000, 1000)
x_train, y_train = digits.x_train, digits.y_train
torch.manual_seed(SEED)
base = fit_torch(TorchSmall(), x_train, y_train, steps, 3e-3, SEED)
control = fit_torch(copy.deepcopy(base), x_train, y_train, more, 2e-3, SEED + 1)
rows = []
for bits in (8, 4, 3, 2):
    aware = copy.deepcopy(base)
    aware.bits = bits
    fit_torch(aware, x_train, y_train, more, 2e-3, SEED + 1)
    rounded_after, aware_right = (right_torch(m, x_test, y_test, bits) for m in (control, aware))
    rows.append((bits, rounded_after, aware_right))
    print(f"{bits} bits: rounded after {rounded_after:5.1f} %, trained so {aware_right:5.1f} %")
print(f"float32: {right_torch(control, x_test, y_test, None):.1f} %")

# %% [markdown]
# At 8 bits there is nothing to repair. The fewer bits, the more is lost by rounding afterwards, and the more training wins back: at 2 bits a weight is −1, 0 or 1 times a scale, and the network has to
# be a different one. (80 steps are few; `PROFILE = "full"` takes 1,000.)
#
# In Keras the same function is `x + ops.stop_gradient(levels - x)`:


# %% tags=["export", "keras"]
import keras
from keras import layers, ops  # noqa: F811


class FewBits(layers.Layer):
    """Rounds what passes to so many bits, with a straight-through gradient."""

    def __init__(self, bits, **rest):
        super().__init__(**rest)
        self.bits = bits

    def call(self, x):
        top = 2 ** (self.bits - 1) - 1
        scale = ops.maximum(ops.max(ops.abs(x)), 1e-8) / top
        levels = ops.clip(ops.round(x / scale), -top, top) * scale
        return x + ops.stop_gradient(levels - x)


# %% tags=["keras"]
values = np.array([[-1.0, -0.4, 0.1, 0.6]], "float32")
print(ops.convert_to_numpy(FewBits(3)(values)))  # steps of 1/3

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Most weights zero: Keras
#
# **Magnitude pruning** (Han et al. [2015](https://arxiv.org/abs/1506.02626)): set the smallest weights to 0, and train on with the others. A callback is enough. **Predict** before you run it: 80 % of the weights become zeros. What becomes
# smaller or faster?

# %% tags=["keras"]
exercises.predict(
    "Of a file whose weights are 80 % zeros …",
    [
        "the file is smaller",
        "the file is as large, compressed it is smaller",
        "it is as large, but faster",
    ],
    key="pruning",
)


# %% tags=["export", "keras"]
class Prune(keras.callbacks.Callback):
    """Keeps the smallest weights of all kernels at zero: a `share` of them."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def on_train_begin(self, logs=None):
        self.kernels = [layer.kernel for layer in self.model.layers if hasattr(layer, "kernel")]
        sizes = [np.abs(ops.convert_to_numpy(kernel)) for kernel in self.kernels]
        limit = np.quantile(np.concatenate([size.ravel() for size in sizes]), self.share)
        self.masks = [(size >= limit).astype("float32") for size in sizes]
        self.on_train_batch_end(0)

    def on_train_batch_end(self, batch, logs=None):
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            kernel.assign(kernel * mask)


def small_keras(momentum=None, seed=0, rate=3e-3):
    """Two convolutions (each with a batch normalisation if it has a momentum), two dense layers."""
    keras.utils.set_random_seed(seed)
    x = h = keras.Input((28, 28, 1))
    for filters in (8, 16):  # → 14×14×8 → 7×7×16
        h = layers.Conv2D(filters, 3, 2, "same", activation="relu")(h)
        h = h if momentum is None else layers.BatchNormalization(momentum=momentum)(h)
    h = layers.Flatten()(h)  # → 784
    h = h if momentum else layers.Dense(32, activation="relu")(h)
    model = keras.Model(x, layers.Dense(10)(h))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"], jit_compile=False)
    return model


# %% tags=["keras"]
part = 1500 if session.quick else 60_000
x_part, y_part = grey(digits.x_train[:part]), digits.y_train[:part]
dense = small_keras(seed=SEED)
dense.fit(x_part, y_part, 64, 6, verbose=0)
start, measured = dense.get_weights(), []
print(f"{'zeros':<8}{'right at once':>14}{'trained on':>12}{'file':>9}{'gzip':>8}{'ms':>7}")
for share in (0.0, 0.8, 0.9):
    dense.set_weights(start)
    pruning = Prune(share)
    pruning.set_model(dense)
    pruning.on_train_begin()
    at_once = dense.evaluate(grey(x_test), y_test, 500, verbose=0)[1]
    dense.fit(x_part, y_part, 64, 3, verbose=0, callbacks=[pruning])
    after = dense.evaluate(grey(x_test), y_test, 500, verbose=0)[1]
    line = f"{share:<8.0%}{at_once:>13.1%} {after:>11.1%} "
    content = keras_file(dense)
    if content:
        runner = Lite(content)
        ms = lite.clock(lambda runner=runner: runner(few[:1]))[0]
        measured.append((len(content), len(gzip.compress(content)), ms))
        line += "{:>9}{:>8}{:>7.3f}".format(*measured[-1])
    print(line)
if measured:
    whole, packed, _ = (measured[1][i] / measured[0][i] for i in range(3))  # 80 % over 0 %
    same = "the file is as large, compressed it is smaller"
    exercises.reveal("pruning", same if whole > 0.99 > packed else "the file is smaller")

# %% [markdown]
# The row of 0 % is the fair control: the dense network, with the same three epochs more. A zero takes as many bytes as any other number, and is multiplied like any other; what shrinks is the *download*. (XNNPACK has kernels for sparse weights, for
# 1×1 convolutions in networks built like MobileNet: [TensorFlow's guide](https://www.tensorflow.org/model_optimization/guide/pruning/pruning_for_on_device_inference).) Pruning and int8 multiply: zeros of one byte compress as well.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The momentum of a short training
#
# A trap of every small demonstration with batch normalisation. Keras's momentum is 0.99: after 23 steps the moving averages still hold $0.99^{23} = 79\,\%$ of the values they began with, 0 and 1. *Training* does not use them; the *file* does.
# The same network, the same 23 steps, the same weights; only what is remembered differs:

# %% tags=["keras"]
for momentum in (0.99, 0.9):
    model = small_keras(momentum, SEED, rate=0.03)
    x_short = x_part[:1440] * 79 / 255 + 33 / 255  # 0…1: of mean 0.13, far from 0 and 1
    model.fit(x_short, y_part[:1440], 64, 1, verbose=0)
    shipped = model.evaluate((grey(x_test) * 79 + 33) / 255, y_test, 500, verbose=0)[1]
    print(f"momentum {momentum}: in inference {shipped:.1%} right, after 23 steps")

# %% [markdown]
# With 0.9 (PyTorch's 0.1 means the same) 9 % are left of the start. If a converted model is much worse than its training said, look here before you blame the converter.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Learning on the device
#
# A keyboard that learns your handwriting should not send it anywhere. A LiteRT file can hold **several signatures** that share variables: `infer`, `train`, and `get` and `put` to save and restore. TensorFlow's tutorial for this takes gradients from `GradientTape` and
# saves with `tf.raw_ops.Save`; both need *Flex*, TensorFlow's kernels inside LiteRT, and the wheels no longer have them. Its gradient of `tf.nn.relu` does not convert without:

# %% tags=["tensorflow"]
matrix = tf.Variable(tf.ones((4, 4)))
owner = tf.Module()
owner.matrix = matrix


def slope(activation):
    """A function that returns a gradient through `activation`, as a graph."""

    @tf.function(input_signature=[tf.TensorSpec([8, 4], tf.float32)])
    def graph(x):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(activation(x @ matrix))
        return tape.gradient(total, matrix)

    return graph.get_concrete_function()


for title, activation in (("relu", tf.nn.relu), ("maximum", lambda x: tf.maximum(x, 0.0))):
    try:
        print(f"{title}: converted, {len(convert(slope(activation), owner))} bytes")
    except Exception as error:
        lacks = [line for line in str(error).splitlines() if line.startswith("TF Select ops")]
        print(f"{title}: not converted; {lacks[0] if lacks else type(error).__name__}")

# %% [markdown]
# So either `tf.maximum`, or the gradients **by hand**: for a perceptron the chain rule is four lines of builtin operators.


# %% tags=["export", "tensorflow"]
HIDDEN, BATCH = 64, 32
NAMES = ("w1", "b1", "w2", "b2")
SHAPES = ((784, HIDDEN), (HIDDEN,), (HIDDEN, 10), (10,))


class Learner(tf.Module):
    """A perceptron that carries its own training step."""

    def __init__(self, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        for name, shape in zip(NAMES, SHAPES, strict=True):
            drawn = rng.normal(0, (2 / shape[0]) ** 0.5, shape) * (len(shape) > 1)
            setattr(self, name, tf.Variable(drawn.astype("float32")))

    def forward(self, x):  # B×784 → B×64, B×10
        h = tf.maximum(x @ self.w1 + self.b1, 0.0)
        return h, tf.nn.softmax(h @ self.w2 + self.b2)

    def gradients(self, x, y):
        """The cross-entropy of labels (B, 10) and its gradients, by the chain rule."""
        h, p = self.forward(x)
        loss = -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(p + 1e-9), axis=1))
        out = (p - y) / BATCH  # B×10: softmax and cross-entropy together
        back = tf.matmul(out, self.w2, transpose_b=True) * tf.cast(h > 0, tf.float32)  # B×64
        first = tf.matmul(x, back, transpose_a=True), tf.reduce_sum(back, 0)
        return loss, (*first, tf.matmul(h, out, transpose_a=True), tf.reduce_sum(out, 0))


# %% tags=["export", "tensorflow"]
class Learning(Learner):
    """Its four signatures."""

    @tf.function(input_signature=[tf.TensorSpec([None, 784])])
    def infer(self, x):
        return {"probabilities": self.forward(x)[1]}

    @tf.function(
        input_signature=[tf.TensorSpec([BATCH, 784]), tf.TensorSpec([BATCH, 10]), tf.TensorSpec([])]
    )
    def train(self, x, y, rate):
        loss, slopes = self.gradients(x, y)
        for name, slope in zip(NAMES, slopes, strict=True):
            getattr(self, name).assign_sub(rate * slope)
        return {"loss": loss}

    @tf.function(input_signature=[])
    def get(self):
        return {name: tf.identity(getattr(self, name)) for name in NAMES}

    @tf.function(input_signature=[tf.TensorSpec(shape) for shape in SHAPES])
    def put(self, w1, b1, w2, b2):
        for name, value in zip(NAMES, (w1, b1, w2, b2), strict=True):
            getattr(self, name).assign(value)
        return {"done": tf.constant(1)}


def learning_file(module):
    """A module with these signatures as one LiteRT file."""
    names = ("infer", "train", "get", "put")
    with tempfile.TemporaryDirectory() as folder, lite.quiet():
        graphs = {name: getattr(module, name).get_concrete_function() for name in names}
        tf.saved_model.save(module, folder, signatures=graphs)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(names))
        converter.experimental_enable_resource_variables = True
        return converter.convert()


# %% tags=["tensorflow"]
content = learning_file(Learning(SEED))
print(f"{len(content):,} bytes; signatures {lite.graph(content).signatures}")
rows, labels = (
    digits.x_train[:4000].reshape(-1, 784) / np.float32(255),
    np.eye(10, dtype="float32")[digits.y_train[:4000]],
)
seen = x_test.reshape(-1, 784) / np.float32(255)


def device():
    """A device: one interpreter, and a function for each signature."""
    runner = Lite(content)
    signatures = {
        n: runner.interpreter.get_signature_runner(n) for n in lite.graph(content).signatures
    }
    return runner, signatures


def right(signatures):
    return np.mean(signatures["infer"](x=seen)["probabilities"].argmax(axis=1) == y_test)


mine, phone = device()
print(f"before: {right(phone):.1%} right")
order = np.random.default_rng(SEED)
for _ in range(600):
    chosen = order.integers(len(rows), size=BATCH)
    loss = phone["train"](x=rows[chosen], y=labels[chosen], rate=np.float32(0.2))["loss"]
print(f"after 600 steps in LiteRT: {right(phone):.1%} right, loss {float(loss):.2f}")

# %% [markdown]
# Save what was learnt (`get`, any file format will do), and restore it on another device:

# %% tags=["tensorflow"]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "learnt.npz")
    np.savez(path, **phone["get"]())
    other, tablet = device()
    before = right(tablet)
    tablet["put"](**np.load(path))
same = np.array_equal(
    tablet["infer"](x=seen)["probabilities"], phone["infer"](x=seen)["probabilities"]
)
print(f"another device: {before:.1%}, restored {right(tablet):.1%}; equal to the bit: {same}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Broken files, wrong inputs
#
# `utils.lite.Lite`, which has run all files here, looks before it runs. A flatbuffer that is cut has offsets that lead nowhere: the bare runtime may refuse it in words of C++, or crash.

# %%
good = files["int8"]
flipped = good[:300] + bytes(255 - byte for byte in good[300:360]) + good[360:]
BROKEN = {
    "empty": b"",
    "cut in half": good[: len(good) // 2],
    "60 bytes flipped": flipped,
    "a Keras file": b"PK\x03\x04" + bytes(60),
}
for title, content in BROKEN.items():
    try:
        Lite(content)
        print(f"{title}: taken")
    except CourseError as error:
        print(f"{title}: {error}")
runner = Lite(good)
for x in (few[:1], q[:1].transpose(0, 3, 1, 2), q[0], q[:1, :14]):
    try:
        runner(x)
    except CourseError as error:
        print(error)

# %% [markdown]
# A flipped *weight* nobody can see: the file is well-formed and computes something else. That is what a SHA-256 beside the file is for ([19](../06_serving/19_flask.ipynb)).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. The table
#
# Four of the course's models, in nine ways to run them: `make results NAME=21_tflite`. Each cell is a process of its own, one thread, warm. Size is that of the file, and for the
# frameworks that of the float32 weights alone; latency is the median and the 95th percentile; memory is the process's peak, Python and libraries included; the largest difference is to PyTorch's outputs.
#
# The files of this table have an open batch and, as in 20, the scaling of the pixels inside. These functions are what is converted:


# %% tags=["export", "tensorflow"]
def deployed(name):
    """One of 20's models as a concrete function of inputs (B, …), and the module it consists of."""
    onnx = lessons.load("20_onnx", "tensorflow")
    if name == "digits":
        net = trained("tensorflow")
        call = lambda x: tf.nn.softmax(net(((x - 33) / 79)[..., None], False))  # noqa: E731
    elif name == "decoder":
        lesson, point = lessons.load("02_vae", "tensorflow"), checkpoints.load("02_vae_2d")
        vae = lesson.ways["tensorflow"].build(point.info["latents"])
        parity.set_weights(vae, point.weights)
        net = vae.decoder
        call = lambda z: tf.reshape(tf.sigmoid(net(z)), (-1, 28, 28))  # noqa: E731
    elif name == "generator":
        lesson, gan = onnx.loaded(name, "tensorflow")
        net = gan.generator
        call = lambda z: lesson.unspread(net(z, False), gan.settings)[..., 0]  # noqa: E731
    else:  # the detector's network; its NMS is left to the caller
        net = onnx.loaded(name, "tensorflow")[1]
        call = lambda x: net(x / 255)  # noqa: E731
    spec = tf.TensorSpec([None, *onnx.MODELS[name].example], tf.float32)
    return tf.function(call, input_signature=[spec]).get_concrete_function(), net


# %%
from utils.recipes import tflite as recipe

print(recipe.table("digits"))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The other three

# %%
for name in ("decoder", "generator", "detector"):
    print(recipe.table(name), "\n")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which one?
#
# Give a budget; the widget recommends the fastest row that fits it. Circles are as large as the files.


# %% tags=["export"]
def recommended(rows, kilobytes, ms, percent):
    """The fastest row within a size, a latency at batch 1 and at least so many percent right; or None."""
    fits = [r for r in rows if r.kilobytes <= kilobytes and r.ms <= ms and r.right >= percent]
    return min(fits, key=lambda row: row.ms, default=None)


# %%
# Circles overlap: a thin line leads from each number to its own. Places are in points from it.
beside = [(24, 32), (-16, -34), (16, 32), (44, 24), (44, 0), (-30, -32), (-26, 40), (0, -48)]
beside += [(20, 34)]


# %%
def budget(kilobytes, ms, percent):
    """Accuracy over latency, the size as area; what fits a budget is filled, the advice has a ring."""
    rows = recipe.rows("digits")  # none before `make results`
    best = recommended(rows, kilobytes, ms, percent)
    fig, ax = plots.figure(width=8, height=4)
    for number, row in enumerate(rows, start=1):
        fits = row.kilobytes <= kilobytes and row.ms <= ms and row.right >= percent
        look = {"color": recipe.COLOURS[row.way], "alpha": 0.8 if fits else 0.2}
        name = f"{number} {row.way}, {row.kilobytes:.0f} kB"
        ax.scatter(row.ms, row.right, s=2 * row.kilobytes, label=name, **look)
        place = row.ms, row.right
        ax.annotate(
            *(str(number), place, beside[(number - 1) % len(beside)]),
            **{"textcoords": "offset points", "ha": "center", "va": "center"},
            arrowprops={"arrowstyle": "-", "linewidth": 0.6},
        )
    if best:
        ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 2}
        ax.scatter(best.ms, best.right, s=2 * best.kilobytes + 200, **ring)
    ax.axvline(ms, color="black", linestyle=":", linewidth=0.8)
    ax.axhline(percent, color="black", linestyle=":", linewidth=0.8)
    ax.set(xscale="log", xlabel="ms for one image", ylabel="test images right, %")
    ax.margins(0.15, 0.25)
    if rows:
        marks = ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        for mark in marks.legend_handles:
            mark.set_sizes([30])
    words = (
        f"{best.way}: {best.kilobytes:.0f} kB, {best.ms:.2f} ms, {best.right:.2f} %" if best else ""
    )
    title = f"at most {kilobytes} kB and {ms:.3g} ms, at least {percent:g} %:"
    ax.set_title(f"{title} {words or 'nothing fits'}", fontsize=10)
    return fig


# %%
alt = "accuracy over latency of nine ways to run the classifier, areas as file sizes; the title recommends the fastest that fits the budget"
panel = Explorer(
    budget,
    [
        Slider("kilobytes", 150, 50, 400, label="Kilobytes"),
        Slider("ms", 3.0, 0.1, 100.0, log=True, label="Milliseconds"),
        Slider("percent", 99.4, 98.0, 99.8, step=0.05, label="Percent right"),
    ],
    title="A budget",
    alt=alt,
)
panel.show()

# %% [markdown]
# (Measured on a virtual machine of two cores that others used as well: read the medians, and ratios under 1.5 as equal. The 95th percentiles are mostly the neighbours'.)
#
# - **Accuracy.** 8 bits cost the classifier nothing that 10,000 images could show: 99.50 % after 99.49 ± 0.14 (asked for: less than half a point).
# - **Parity.** Float files are within 3·10⁻⁶ of PyTorch, but for the detector's raw maps (3·10⁻⁵, of numbers that are not confined to 0…1). In 8 bits single pixels of generated images move by up to 0.8, and
#   single raw outputs of the detector by 5: check what you need (samples, AP), not the largest difference.
# - **Size.** int8 is 3.7 times (detector), 3.6 (decoder), 3.4 (generator) and 3.0 times (classifier) smaller; 3.5 to 4 were asked for. The smaller the kernels, the more weigh scales and structure (part 3).
# - **Speed.** int8 was to be twice as fast as float32 with XNNPACK. With 64 images the detector is (2.1 times), the decoder 1.6, the classifier 1.4 times as fast; *for one image* the decoder is (1.4 times),
#   and the classifier is slower. Networks of 8 to 64 channels are too narrow: a call is mostly the fixed price of its operators. What made the large difference is the runtime: for one image LiteRT and ONNX Runtime beat PyTorch by 4 to 40 times.
# - **A trap.** The *dynamic* generator takes 20 times as long as the float32 one: its transposed convolutions have no fast kernel of that kind.
# - **Memory.** 50 to 90 MB with Python and NumPy, against 300 to 790 for a framework.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 13. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()` shows one.

# %% [markdown]
# **1. Scale and zero point** of 8 bits (−128…127) for activations between `low` and `high`. Zero must be exactly an integer, also where the range leaves it out.


# %%
def affine(low, high):
    """Returns scale, zero point."""
    return ...  # your code


questions.affine.check(affine)
# questions.affine.hint()
# questions.affine.solution()

# %% [markdown]
# **2. $M_0$ and the shift.** A positive real number as $M_0\, 2^n$, $\tfrac12 \le M_0 < 1$, with $M_0$ as an integer of 31 bits: `round(M0 * 2**31)`, and $n$.


# %%
def fixed(real):
    """Returns the integer, n."""
    return ...  # your code


questions.fixed.check(fixed)

# %% [markdown]
# **3. Find the wrong calibration.** An int8 input says scale and zero point; the inputs that are sent lie between `low` and `high`. Which share of the 256 levels can they reach?


# %%
def used(scale, zero, low, high):
    """A share, 0…1; levels outside −128…127 do not exist."""
    return ...  # your code


questions.used.check(used)

# %% [markdown]
# **4. Sizes.** The bytes of the weights and of their scales and zero points in an int8 file, from the kernel's shape (C, …): a byte a weight, 4 and 8 bytes a channel, and no more.


# %%
def stored(shape):
    """shape: (C, height, width, c) or (C, n)."""
    return ...  # your code


questions.stored.check(stored)

# %% [markdown]
# **5. Which kind?** A microcontroller without floating-point hardware, 128 kB of flash for the model; the float32 file has 280 kB.

# %%
questions.kind.ask()
questions.kind.check(...)  # "A", "B" or "C"

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 14. What to remember
#
# - TensorFlow Lite is LiteRT. Convert with `tf.lite.TFLiteConverter` or `model.export`, run with `ai_edge_litert`.
# - A file is tables and bytes: read it, before you ask a forum what is in it.
# - $r = s(q - z)$. Weights become a quarter; scales, names and structure do not.
# - Calibrate with inputs prepared by the code that prepares them in production, and measure the *file*.
# - An int8 network is sums of integer products, and a product and a shift to rescale: exact, and the same on a chip.
# - Delegates decide about speed more than the kind of file does. Measure where it will run.
# - Below 8 bits train with the rounding. Pruning shrinks the download, not the file, nor the time.
# - A file can learn: signatures, builtin operators, gradients by hand.
#
# | take | when |
# |---|---|
# | float32 | the network is small, nobody counts bytes |
# | float16 | half the size, no calibration; GPUs |
# | dynamic | a quarter, no samples at hand; CPUs |
# | int8 | microcontrollers, NPUs, large networks on CPUs |
# | ONNX Runtime ([20](20_onnx.ipynb)) | servers and desktops |
#
# **Further reading.** Jacob et al. ([2018](https://arxiv.org/abs/1712.05877)) on integer arithmetic; Krishnamoorthi's whitepaper
# ([2018](https://arxiv.org/abs/1806.08342)); [LiteRT's documentation](https://ai.google.dev/edge/litert); Warden and Situnayake, *TinyML* (2019).

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Previous:** [ONNX](20_onnx.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/07_deployment/20_onnx.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
