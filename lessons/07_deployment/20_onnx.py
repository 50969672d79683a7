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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort

from utils import CourseError, checkpoints, data, exercises, lessons, parity, plots, runtime
from utils.serving import engines

# %%
chosen = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# A trained model is a graph of operations and a heap of numbers. ONNX is a file format for both.

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


def inputs(name, n, seed=0):
    """n inputs (n, …), float32: pixels are 0…255, latents as their lesson draws them."""
    rng = np.random.default_rng(seed)
    if name == "decoder":
        return rng.standard_normal((n, 2), dtype="float32")
    if name == "generator":
        return rng.uniform(-1, 1, (n, 64)).astype("float32")
    digits = data.mnist()
    if name == "digits":
        return np.resize(digits.x_test, (n, 28, 28)).astype("float32")
    return data.draw_scenes(n, digits.x_test, digits.y_test, seed=seed)[0].astype("float32")


# %% tags=["export"]
def loaded(name, framework):
    """A model's lesson, and its network with the trained weights."""
    point = checkpoints.load(MODELS[name].checkpoint)
    lesson = lessons.load(MODELS[name].notebook, framework)
    net = lesson.ways[framework].build(SimpleNamespace(**point.info["settings"]))
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


@functools.cache
def file_of(name):
    """The path of a model's file, without the NMS; where PyTorch is not loaded, another process
    makes it."""
    if "torch" not in runtime.FRAMEWORKS or "TorchDetectorFile" not in globals():
        code = "from utils import lessons\nimport sys\n"
        code += "print(lessons.load('20_onnx', 'torch').file_of(sys.argv[1]))"
        command = [sys.executable, "-c", code, name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=engines.ROOT)
        if done.returncode:
            raise CourseError(
                f"PyTorch writes the file of {name}, and could not: {done.stderr[-200:]}"
            )
        return done.stdout.splitlines()[-1]
    point, model = checkpoints.load(MODELS[name].checkpoint), MODELS[name]
    if name in ("digits", "decoder"):
        served = engines.MODELS["digits" if name == "digits" else "generator"]
        return engines.onnx_file(served, point)
    kind = TorchGeneratorFile if name == "generator" else TorchDetectorFile
    outputs = ["images"] if name == "generator" else ["all_boxes", "all_scores"]
    return engines.exported(
        lambda: kind(*loaded(name, "torch")).eval(),
        *(point, model.notebook, model.example, model.input, outputs),
        inspect.getsource(kind),
    )


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


# %% tags=["export"]
def quantised(name, calibration, **options):
    """A model's file with weights and activations in 8 bits, as (QDQ) the runtime fuses them.

    `calibration` (N, …) are inputs as the model will see them: their ranges become its scales.
    """
    network = Path(file_of(name)).read_bytes()
    network = onnx.load_from_string(quantise(network, calibration, **options))
    return (with_nms(network) if name == "detector" else network).SerializeToString()


def quantise(content, calibration, **options):
    """Any file with float input: static quantisation, a scale a channel."""
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):
        def __init__(self, name):
            self.parts = iter([{name: calibration[i : i + 32]} for i in range(0, len(calibration), 32)])

        def get_next(self):
            return next(self.parts, None)

    name = onnx.load_from_string(content).graph.input[0].name
    with tempfile.TemporaryDirectory() as folder:
        whole, ready, small = (Path(folder, f"{step}.onnx") for step in ("whole", "ready", "small"))
        whole.write_bytes(content)
        quant_pre_process(whole, ready, skip_symbolic_shape=True)
        settings = {"per_channel": True, "quant_format": q.QuantFormat.QDQ}
        settings |= {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType.QInt8}
        q.quantize_static(ready, small, Reader(name), **settings | options)
        return small.read_bytes()

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Previous:** [Serving a model with Flask](../06_serving/19_flask.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/06_serving/19_flask.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
