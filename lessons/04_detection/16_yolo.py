# ---
# jupyter:
#   course:
#     title: "YOLO"
#     summary: "A detector that looks once: version 1 as its paper wrote it, and what versions 2 and 3 changed, one switch at a time."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "IoU, NMS and average precision (13)"
#       - "batch normalisation in three frameworks (07)"
#     objectives:
#       - "read a grid of cells as boxes and scores, and say which box is responsible for an object"
#       - "write YOLO's loss term by term, so that three frameworks agree on it and on its gradients"
#       - "find anchors by k-means on 1 − IoU"
#       - "tell what anchors, logistic outputs, batch normalisation and multi-scale training each buy, by a measurement"
#       - "say which numbers belong to which version of YOLO"
#       - "choose between four detectors by accuracy, time and size"
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]
# # YOLO
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/04_detection/16_yolo.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/04_detection/16_yolo.ipynb)
#
# A detector that looks once: version 1 as its paper wrote it, and what versions 2 and 3 changed, one switch at a time.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** IoU, NMS and average precision (13); batch normalisation in three frameworks (07).
#
# **What you will be able to do:**
#
# - read a grid of cells as boxes and scores, and say which box is responsible for an object
# - write YOLO's loss term by term, so that three frameworks agree on it and on its gradients
# - find anchors by k-means on 1 − IoU
# - tell what anchors, logistic outputs, batch normalisation and multi-scale training each buy, by a measurement
# - say which numbers belong to which version of YOLO
# - choose between four detectors by accuracy, time and size

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
import itertools
import math
import types

import numpy as np

from utils import (
    CourseError,
    checkpoints,
    data,
    exercises,
    metrics,
    parity,
    plots,
    results,
    runtime,
)
from utils import boxes as geometry  # built by hand in 13_rcnn
from utils.controls import Slider, Toggle
from utils.exercises import yolo as questions
from utils.explore import Explorer
from utils.explore_boxes import nms_explorer
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# R-CNN and its kin look at an image many times, at each proposed region. Redmon, Divvala, Girshick
# and Farhadi ([2016](https://arxiv.org/abs/1506.02640)) look **once**. One network turns the image
# into a grid of $S \times S$ cells. The cell in which an object's *centre* lies is to find it. Each
# cell says
#
# - $B$ boxes: $x, y$ (where in the cell), $w, h$ (shares of the image) and a **confidence**,
#   $\Pr(\text{object}) \cdot \text{IoU}$ of box and object;
# - once, $C$ **conditional class probabilities** $\Pr(\text{class} \mid \text{object})$.
#
# That is a tensor of $S \times S \times (5B + C)$: detection as regression. With $S = 7$, $B = 2$ and
# Pascal VOC's $C = 20$ it is $7 \times 7 \times 30$: 98 boxes, where selective search proposes 2,000.
#
# ### The loss
#
# Of the two boxes in an object's cell, one is **responsible**: the one whose prediction overlaps the
# object most, decided anew at every step. Everything is a squared error (equation 3):
#
# $$\begin{aligned}
# &\lambda_\text{coord} \sum_{i}^{S^2} \sum_{j}^{B} 1_{ij}^\text{obj}
#   \big[ (x_i - \hat x_i)^2 + (y_i - \hat y_i)^2 \big] & \text{centre} \\
# {}+{} &\lambda_\text{coord} \sum_{i} \sum_{j} 1_{ij}^\text{obj}
#   \big[ (\sqrt{w_i} - \sqrt{\hat w_i})^2 + (\sqrt{h_i} - \sqrt{\hat h_i})^2 \big] & \text{size} \\
# {}+{} &\sum_{i} \sum_{j} 1_{ij}^\text{obj} (C_i - \hat C_i)^2 & \text{object} \\
# {}+{} &\lambda_\text{noobj} \sum_{i} \sum_{j} 1_{ij}^\text{noobj} (C_i - \hat C_i)^2 & \text{no object} \\
# {}+{} &\sum_{i} 1_{i}^\text{obj} \sum_{c} \big(p_i(c) - \hat p_i(c)\big)^2 & \text{class}
# \end{aligned}$$
#
# $1_{ij}^\text{obj}$ is 1 where box $j$ of cell $i$ is responsible for an object, $1_{ij}^\text{noobj}$
# everywhere else. Three choices, each of which you will take away in part 9 or by a slider:
#
# - $\lambda_\text{noobj} = 0.5$: most cells are empty, and would shout the few others down;
# - $\lambda_\text{coord} = 5$: there are only a few coordinates to get right;
# - **square roots**: three pixels matter more to a small box than to a large one.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What versions 2 and 3 changed
#
# Redmon and Farhadi, version by version. You will switch each on by itself.
#
# | switch | since | what changes |
# |---|---|---|
# | batch normalisation | 2 ([2017](https://arxiv.org/abs/1612.08242)) | after every convolution; "more than 2 %" mAP on VOC |
# | anchors | 2 | boxes start from priors, found by k-means in the training boxes; each has classes of its own |
# | sigmoid offsets | 2 | $\sigma(t_x), \sigma(t_y)$ keep a centre in its cell. With k-means, "almost 5 %" over plain anchors |
# | multi-scale training | 2 | another input size every ten batches |
# | logistic outputs | 3 ([2018](https://arxiv.org/abs/1804.02767)) | objectness and each class are independent yes-or-no questions: log-loss, no squared error, no softmax |
#
# Anchors by themselves bought version 2 no precision: 69.5 mAP without, 69.2 with them. They
# bought *recall*, 81 % to 88 %: "more room to improve". (Version 3 also predicts at three scales and
# has a network of 53 layers; 15 showed maps of several scales, and ours has one.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What you may have read
#
# - *"YOLO: 57.9 % mAP on COCO at 45 frames a second."* Three facts in one. Version 1 has **63.4 mAP
#   on VOC 2007 at 45 fps**, and **57.9 on VOC 2012**. Version 3, at 608 pixels, has **57.9 AP50 on
#   COCO in 51 ms**, about 20 images a second.
# - *"YOLO is very accurate."* Fast, it is: of its time's detectors, version 1 was less accurate than
#   Faster R-CNN (63.4 against 73.2 mAP on VOC 2007), and the paper says where: it misplaces boxes.
#   Its strength is context: it mistakes background for objects less than half as often as Fast R-CNN.
# - *"By Redmon and Farhadi, 2016."* Version 1: Redmon, Divvala, Girshick, Farhadi. Versions 2
#   and 3: Redmon and Farhadi. Version 4: Bochkovskiy, Wang and Liao
#   ([2020](https://arxiv.org/abs/2004.10934)); the numbers after it are not one line of work.
# - *"The YOLOv5 paper", "the YOLOv8 paper".* There is none: both are Ultralytics' software, to be
#   cited as software (and under the AGPL-3.0, which binds what you build on it). Version 7
#   [has one](https://arxiv.org/abs/2207.02696).
# - *"Each cell predicts a box and its class."* $B$ boxes, and *one* class for all of them: of two
#   objects whose centres share a cell, version 1 can find one.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The paper's network, counted
#
# 24 convolutions in GoogLeNet's manner, 1×1 to thin out and 3×3 to look, then two dense layers. The
# first twenty were trained on ImageNet for about a week. Window and filters of each:

# %%
PAPER = [(7, 64), (3, 192), (1, 128), (3, 256), (1, 256), (3, 512)]
PAPER += [(1, 256), (3, 512)] * 4 + [(1, 512), (3, 1024)] + [(1, 512), (3, 1024)] * 2
PAPER += [(3, 1024)] * 4
seen, convolutions = 3, 0
for window, filters in PAPER:
    convolutions += (window * window * seen + 1) * filters
    seen = filters
dense = [(7 * 7 * 1024 + 1) * 4096, (4096 + 1) * 7 * 7 * (2 * 5 + 20)]
print(f"{len(PAPER)} convolutions: {convolutions:>11,} parameters")
print(f"first dense layer: {dense[0]:>11,}\nsecond:            {dense[1]:>11,}")
print(f"in all:            {convolutions + sum(dense):>11,}")

# %% [markdown]
# Three quarters stand in one dense layer, which sees all cells at once: that is where the paper's
# global context comes from, and why the network takes images of one size only. Version 2 threw the
# dense layers away. So do we, from the start; our version 1 differs from the paper's in this, in
# size, and in Adam for its momentum: minutes instead of days.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# Scenes of digits, 96×96 (the checkpoints had 6,000 of them, the quick profile has the first 1,000), and [BCCD](https://github.com/Shenggan/BCCD_Dataset)'s blood cells at half
# size, 240×320, as in 13 to 15. Digits are not mirrored; cells may be.

# %%
scenes = data.scenes(*(1000, 300) if session.quick else ())
cells = data.bccd()
print(scenes.describe(), cells.describe(), sep="\n")
x_train, t_train = scenes.x_train, scenes.t_train  # N×96×96×3, uint8; a Truth each
x_test, t_test = scenes.x_test, scenes.t_test
alt = "three test scenes and the boxes in them: coloured digits on textured canvases, each in a box with its name"
plots.show(
    plots.detections(x_test[5:8], t_test[5:8], scenes.class_names, columns=3, side=1.6), alt=alt
)
alt = "a picture of blood cells and the boxes in them: many red cells, a white one, and platelets"
plots.show(
    plots.detections(cells.x_test[:1], cells.t_test[:1], cells.class_names, side=2.2), alt=alt
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What the three sections share
#
# Settings for a net of at most 0.25 million parameters. **It is fully convolutional:** where the
# paper has two dense layers, a 1×1 convolution reads each cell's features by itself. A cell is 8
# pixels wide on the scenes, so that S = 96 / 8 = 12, and 16 on the larger blood cells. Windows of 4,
# two apart, halve the side: the one size whose padding three frameworks agree on by themselves. The
# switches stand in the third line; all off is version 1.

# %% tags=["export"]
BASE = {"classes": 10, "stride": 8, "width": 16, "boxes": 2, "flip": False, "bf16": False}
BASE |= {"coord": 5.0, "noobj": 0.5, "roots": True, "jitter": 0.0}
VERSION_1 = {"norm": False, "anchors": 0, "logistic": False, "multiscale": False}
VERSION_3 = {"norm": True, "anchors": 4, "logistic": True, "multiscale": True}
QUICK = {**BASE, **VERSION_1, "learning_rate": 3e-3, "batch_size": 16, "steps": 90}
FULL = {**BASE, **VERSION_3, "learning_rate": 5e-3, "batch_size": 16, "steps": 8500}
FULL |= {"multiscale": False, "jitter": 0.05, "bf16": True}  # part 10 says why no multi-scale
CELLS = {**FULL, "classes": 3, "stride": 16, "flip": True, "jitter": 0.1}
CELLS |= {"batch_size": 8, "steps": 2000}

LEAKY, MOMENTUM, EPSILON = 0.1, 0.9, 1e-5
SPARE = 0.5  # a prior that overlaps an object by more than this is not told that nothing is there
# Filters of each convolution (for a width of 16) and its stride, for cells of 8 and of 16 pixels.
LAYERS = {
    8: ((16, 2), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (96, 1)),
    16: ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (64, 2), (64, 1)),
}
Way = collections.namedtuple("Way", "build train detect raw")
ways = {}  # framework -> its four functions, filled by the sections


# %% tags=["export"]
Layer = collections.namedtuple("Layer", "name size seen filters stride")


def layers_of(s):
    """Every convolution before the head."""
    found, seen = [], 3
    for number, (filters, stride) in enumerate(LAYERS[s.stride], start=1):
        filters = filters * s.width // 16
        found.append(Layer(f"conv{number}", 2 + stride, seen, filters, stride))  # 3 or 4 wide
        seen = filters
    return found


def outputs_of(s):
    """Numbers that a cell gives: B·5 + C in version 1, A·(5 + C) with anchors."""
    return s.anchors * (5 + s.classes) if s.anchors else s.boxes * 5 + s.classes


# %% tags=["export"]
def first_guess(s):
    """The head's bias: the middle of the cell, a middling size, and hardly any confidence."""
    sure, other = (-4.0, -2.0) if s.logistic else (0.0, 0.0)
    if s.anchors:  # σ(0) = ½ and e⁰ = 1
        return np.tile([0, 0, 0, 0, sure, *[other] * s.classes], s.anchors)
    side = 0.5 if s.roots else 0.25
    return np.array([*[0.5, 0.5, side, side, sure] * s.boxes, *[other] * s.classes])


def start(s, seed):
    """Weights to begin with, under neutral names: He et al.'s (2015), and a head that hardly speaks."""
    rng, weights = np.random.default_rng(seed), {}
    for name, size, seen, filters, _ in layers_of(s):
        shape, norm = (size, size, seen, filters), name.replace("conv", "norm")
        weights[f"{name}.kernel"] = rng.normal(0, math.sqrt(2 / math.prod(shape[:3])), shape)
        parts = {f"{name}.bias": 0}
        if s.norm:
            parts = {f"{norm}.gamma": 1, f"{norm}.beta": 0}
            parts |= {f"{norm}.moving_mean": 0, f"{norm}.moving_variance": 1}
        weights |= {part: np.full(filters, value) for part, value in parts.items()}
    weights["head.kernel"] = rng.normal(0, 0.01, (1, 1, filters, outputs_of(s)))
    weights["head.bias"] = first_guess(s)
    return {name: value.astype("float32") for name, value in weights.items()}


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Anchors, by k-means on 1 − IoU
#
# Faster R-CNN's anchors were chosen by hand. Version 2 finds them in the training boxes: k-means,
# but with $d = 1 - \mathrm{IoU}$ for a distance, for which large boxes are not worse than small ones
# because their errors have more pixels. Only shapes are compared: all boxes are moved onto one centre.


# %% tags=["export"]
def shape_iou(a, b):
    """IoU of sizes (N, 2) and (K, 2), as if all boxes had one centre: N×K."""
    both = np.minimum(a[:, None], b[None]).prod(axis=2)
    return both / (a.prod(axis=1)[:, None] + b.prod(axis=1)[None] - both)


def kmeans(sizes, k, seed=0, rounds=100):
    """K priors for boxes of `sizes` (N, 2): k-means with 1 − IoU; from small to large."""
    if len(sizes) < k:
        raise CourseError(f"{len(sizes)} boxes are too few for {k} anchors: take fewer anchors.")
    rng = np.random.default_rng(seed)
    priors = sizes[[rng.integers(len(sizes))]]
    while len(priors) < k:  # begin far apart: with boxes that no prior fits well
        odds = (1 - shape_iou(sizes, priors).max(axis=1)) ** 2 + 1e-12
        priors = np.append(priors, sizes[[rng.choice(len(sizes), p=odds / odds.sum())]], axis=0)
    for _ in range(rounds):
        nearest, before = shape_iou(sizes, priors).argmax(axis=1), priors.copy()
        for j in set(nearest):
            priors[j] = sizes[nearest == j].mean(axis=0)
        if np.allclose(priors, before):
            break
    return priors[np.argsort(priors.prod(axis=1))]


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Targets
#
# What each cell should say is NumPy's work, before the network has said anything. The one thing that
# must wait for the predictions is who of a cell's $B$ boxes is responsible; that stands in the loss.
#
# | | version 1 | with anchors (2, 3) |
# |---|---|---|
# | centre | $x, y$: where in the cell, 0…1 | $\sigma(t_x), \sigma(t_y)$: the same, and it cannot leave the cell |
# | size | $\sqrt{w}, \sqrt{h}$, as shares of the training picture's width | $w = p_w e^{t_w},\; h = p_h e^{t_h}$, for a prior $p_w \times p_h$ |
# | an object in a cell belongs to | that box of the cell whose *prediction* overlaps it most | that anchor of the cell whose *shape* fits it best |
# | classes | once a cell | once a box |
#
# Boxes of a crowd are not asked for, and nobody is punished for finding something in one.


# %% tags=["export"]
def size_code(size, s, prior=None):
    """What the network should say for a box of `size` (…, 2) pixels."""
    if s.anchors:
        return np.log(size / prior)
    return np.sqrt(size / s.unit) if s.roots else size / s.unit


def size_of(code, s):
    """Pixels (…, boxes of a cell, 2) of what the network says: the inverse."""
    if s.anchors:
        return np.asarray(s.priors) * np.exp(np.minimum(code, 5))
    return s.unit * (code**2 if s.roots else np.maximum(code, 0))


def targets(truths, height, width, s):
    """What each cell should say: (N, rows, columns, 1 or anchors, 8 + classes), float32.

    Channels: 0 an object's centre is here; 1 nothing is asked; 2, 3 the centre within the cell;
    4, 5 width and height in pixels; 6, 7 their code; the rest the class, one-hot.
    """
    rows, columns = height // s.stride, width // s.stride
    grids = np.zeros((len(truths), rows, columns, max(1, s.anchors), 8 + s.classes), "float32")
    for grid, truth in zip(grids, truths, strict=True):
        spare(grid, truth, s)
        sizes = truth.boxes[:, 2:] - truth.boxes[:, :2]
        centres = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2 / s.stride  # in cells
        cells = np.minimum(centres.astype(int), [columns - 1, rows - 1])
        best = shape_iou(sizes, np.asarray(s.priors or [(1, 1)], "float32")).argmax(axis=1)
        for i in np.flatnonzero(~truth.crowd):
            (column, row), a = cells[i], best[i]
            if grid[row, column, a, 0]:
                continue  # taken by another object: this one is lost
            code = size_code(sizes[i], s, s.priors[a] if s.anchors else None)
            grid[row, column, a, :8] = 1, 0, *(centres[i] - cells[i]), *sizes[i], *code
            grid[row, column, a, 8 + truth.labels[i]] = 1
    return grids


# %% tags=["export"]
def middles(rows, columns, stride):
    """Centres of all cells, (rows · columns, 1, 2), in pixels."""
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    return stride * np.stack([x, y], axis=2).reshape(-1, 1, 2).astype("float32")


def spare(grid, truth, s):
    """Mark what is not asked of a grid: cells in a crowd, and priors that overlap an object."""
    rows, columns, count = grid.shape[:3]
    if not len(truth.boxes):
        return
    centres, crowds = middles(rows, columns, s.stride), truth.boxes[truth.crowd]
    inside = (centres > crowds[:, :2]) & (centres < crowds[:, 2:])  # cells×crowds×2
    grid[..., 1] = inside.all(axis=2).any(axis=1).reshape(rows, columns, 1)
    if s.anchors:
        half = np.asarray(s.priors, "float32") / 2
        priors = np.concatenate([centres - half, centres + half], axis=2).reshape(-1, 4)
        near = geometry.iou(priors, truth.boxes).max(axis=1) > SPARE
        grid[..., 1] = np.maximum(grid[..., 1], near.reshape(rows, columns, count))


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Batches of many sizes
#
# **Multi-scale training:** a net without dense layers takes any size, so version 2 trains it on
# many. The paper draws a new size every ten batches; here every batch has another size than the one
# before, from three quarters to five quarters, in whole cells.


# %% tags=["export"]
def resized(images, truths, height, width):
    """Pictures (N, H, W, 3) at another size, bilinear, and their boxes."""
    if images.shape[1:3] == (height, width):
        return images, truths
    made = images.astype("float32")
    for axis, size in ((1, height), (2, width)):
        before = images.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0, before - 1)
        low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
        part = np.expand_dims((at - low).astype("float32"), tuple({0, 1, 2, 3} - {axis}))
        made = made.take(low, axis) * (1 - part) + made.take(high, axis) * part
    scale = np.float32([width / images.shape[2], height / images.shape[1]] * 2)
    truths = [truth._replace(boxes=truth.boxes * scale) for truth in truths]
    return np.rint(made).astype("uint8"), truths


def feed(images, truths, s):
    """What each step eats: pictures (B, H, W, 3), bytes, and their `targets`."""
    n = data.check_batch(s.batch_size, len(images))
    rng, last = np.random.default_rng(s.seed), 0
    epochs = (data.batches(n, s.batch_size, rng) for _ in itertools.count())
    columns = images.shape[2] // s.stride
    sizes = np.arange(columns * 3 // 4, columns * 5 // 4 + 1) if s.multiscale else [columns]
    for index in itertools.islice(itertools.chain.from_iterable(epochs), s.steps):
        x, t = images[index], [truths[i] for i in index]
        if s.jitter:
            x, t = data.jittered(x, t, rng, s.jitter, 2 * s.jitter, 2 * s.jitter, s.flip)
        if len(sizes) > 1:  # never the same twice running
            last = (last + rng.integers(1, len(sizes))) % len(sizes)
        cells = np.rint(np.array(x.shape[1:3]) / s.stride * sizes[last] / columns).astype(int)
        x, t = resized(x, t, *(s.stride * cells))
        yield x, targets(t, *x.shape[1:3], s)


# %% tags=["export"]
def prepared(images, truths, settings):
    """The settings of a training and what follows from its data; impossible boxes are refused."""
    s = types.SimpleNamespace(**{**QUICK, **vars(settings)})
    height, width = images.shape[1:3]
    refuse(height, width, s)
    for place, truth in enumerate(truths):
        geometry.check(truth, height, width, s.classes, place)
    if "unit" not in vars(s):  # otherwise they are given
        s.unit, s.priors = float(width), None
        those = np.concatenate([truth.boxes[~truth.crowd] for truth in truths]).astype(float)
        if s.anchors:
            s.priors = kmeans(those[:, 2:] - those[:, :2], s.anchors).round(1).tolist()
    return s


def refuse(height, width, s):
    """Say what is wrong with pictures that do not divide into cells."""
    if height % s.stride or width % s.stride:
        raise CourseError(
            f"Pictures of {height}×{width} do not divide into cells of {s.stride} pixels: bring "
            f"both sides to a multiple of {s.stride}."
        )


def learning_rate(step, s):
    """The rate of a step, counted from 0: it rises over a twentieth, then half a cosine."""
    rise = max(1, s.steps // 20)
    if step < rise:
        return s.learning_rate * (step + 1) / rise
    return s.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (s.steps - rise)))


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### From a grid to boxes
#
# $\text{score of a class} = \Pr(\text{class} \mid \text{object}) \times \text{confidence}$, for each
# class and box; then NMS within each class, which 13 built.


# %% tags=["export"]
def sigmoid(x):
    """1 / (1 + e⁻ˣ), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def read(raw, s):
    """A head's output (N, rows, columns, …) → boxes (N, rows, columns, B, 4), confidence, classes."""
    n, rows, columns, _ = raw.shape
    if s.anchors:
        raw = raw.reshape(n, rows, columns, s.anchors, 5 + s.classes)
        box, classes = raw[..., :5], raw[..., 5:]
    else:
        box = raw[..., : 5 * s.boxes].reshape(n, rows, columns, s.boxes, 5)
        classes = np.repeat(raw[..., None, 5 * s.boxes :], s.boxes, axis=3)
    within = sigmoid(box[..., :2]) if s.anchors else box[..., :2]
    corner = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=2)
    centre, half = s.stride * (corner[:, :, None] + within), size_of(box[..., 2:4], s) / 2
    sure = sigmoid(box[..., 4]) if s.logistic else np.clip(box[..., 4], 0, 1)
    classes = sigmoid(classes) if s.logistic else np.clip(classes, 0, 1)
    return np.concatenate([centre - half, centre + half], axis=-1), sure, classes


# %% tags=["export"]
def found_of(raw, s, height, width, score=0.05, threshold=0.45):
    """What a head's output says is in each picture: a `Found` each."""
    found = []
    for those, sure, classes in zip(*read(raw, s), strict=True):
        scores = (sure[..., None] * classes).reshape(-1, s.classes)
        place, label = np.nonzero(scores >= score)
        here = geometry.clip(those.reshape(-1, 4)[place], height, width)
        found.append(geometry.best(here, scores[place, label], label, score, threshold))
    return found


def detected(raw, model, images, score=0.05, size=32):
    """A `Found` for each picture (N, H, W, 3), bytes; `raw` is a section's forward pass."""
    height, width = images.shape[1:3]
    refuse(height, width, model.settings)
    parts = (images[at : at + size] for at in range(0, len(images), size))
    found = (found_of(raw(model, x), model.settings, height, width, score) for x in parts)
    return list(itertools.chain.from_iterable(found))


def sketch(way, model, images):
    """The panel's preview: six pictures with what is found in them, outlined."""
    shown = np.repeat(np.repeat(images[:6], 2, axis=1), 2, axis=2)
    for picture, found in zip(shown, way.detect(model, images[:6], 0.3), strict=True):
        for left, top, right, bottom in np.rint(2 * found.boxes).astype(int):
            frame = np.zeros(picture.shape[:2], bool)
            frame[max(top, 0) : bottom, max(left, 0) : right] = True
            frame[top + 2 : bottom - 2, left + 2 : right - 2] = False
            picture[frame] = 255, 80, 0
    return np.concatenate(shown, axis=1)


# %% [markdown]
# What k-means makes of the scenes' training boxes, and how well the best of K priors fits a box on
# average. Version 2 took five, where the curve bends.

# %%
sizes = np.concatenate([truth.boxes[~truth.crowd] for truth in t_train]).astype(float)
sizes = sizes[:, 2:] - sizes[:, :2]
fits, several = [], sizes[:1500]
for k in range(1, 10):
    priors = kmeans(several, k)
    fits.append(shape_iou(several, priors).max(axis=1).mean())
four = kmeans(several, 4)
fig, (left, right) = plots.figure(columns=2, width=8.5, height=3.2)
left.plot(range(1, 10), fits, marker="o", color="#0072B2")
left.set(xlabel="K", ylabel="mean IoU with the best prior", ylim=(0, 1))
right.scatter(*several.T, s=4, color="#999999", label="boxes")
right.scatter(*four.T, s=90, marker="X", color="#D55E00", edgecolor="white", label="4 priors")
right.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, 45), ylim=(0, 45))
right.legend(loc="lower right")
alt = (
    "left, the mean IoU with the best of K priors rises steeply up to K = 3 and slowly after; "
    "right, widths and heights of boxes and the four priors among them"
)
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* In the loss, read each term beside its line of the formula. Three
# places need care. The indicators and $\hat C$, the IoU of prediction and object, come from
# predictions, but no gradient flows through them. Only one of a cell's boxes is paid for its
# coordinates, so the other is free to become a specialist for other shapes. And the sums are over
# cells and boxes; only pictures are averaged.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchYOLO(nn.Module):
    """Convolutions, and a 1×1 convolution that says for each cell what there is to say."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        for name, size, seen, filters, stride in layers_of(settings):
            conv = nn.Conv2d(seen, filters, size, stride, padding=1, bias=not settings.norm)
            self.add_module(name, conv)
            if settings.norm:
                norm = nn.BatchNorm2d(filters, EPSILON, 1 - MOMENTUM)
                self.add_module(name.replace("conv", "norm"), norm)
        self.head = nn.Conv2d(filters, outputs_of(settings), 1)
        self.to(memory_format=torch.channels_last)  # how kernels and maps lie in memory: faster

    def forward(self, x):  # B×H×W×3, 0…1 → B×H/stride×W/stride×outputs
        x = (2 * x - 1).permute(0, 3, 1, 2)  # B×3×H×W
        for name, *_ in layers_of(self.settings):
            x = getattr(self, name)(x)
            x = getattr(self, name.replace("conv", "norm"))(x) if self.settings.norm else x
            x = F.leaky_relu(x, LEAKY)
        return self.head(x).permute(0, 2, 3, 1)


# %% tags=["export", "torch"]
def split_torch(raw, s):
    """A head's output → centre and code (…, boxes, 2), confidence (…, boxes), classes."""
    if s.anchors:
        raw = raw.reshape(*raw.shape[:3], s.anchors, 5 + s.classes)
        return raw[..., :2].sigmoid(), raw[..., 2:4], raw[..., 4], raw[..., 5:]
    box = raw[..., : 5 * s.boxes].reshape(*raw.shape[:3], s.boxes, 5)
    return box[..., :2], box[..., 2:4], box[..., 4], raw[..., None, 5 * s.boxes :]


def pixels_torch(code, s):
    """Sizes in pixels, as `size_of`."""
    if s.anchors:
        return torch.as_tensor(s.priors, dtype=code.dtype) * code.clamp(max=5).exp()
    return s.unit * (code**2 if s.roots else code.clamp(min=0))


def iou_torch(centre, size, centre_, size_):
    """IoU of predicted and true boxes, given by centre and size (…, 2) in pixels: (…)."""
    low = torch.maximum(centre - size / 2, centre_ - size_ / 2)
    high = torch.minimum(centre + size / 2, centre_ + size_ / 2)
    both = (high - low).clamp(min=0).prod(dim=-1)
    return both / (size.prod(dim=-1) + size_.prod(dim=-1) - both + 1e-9)


# %% tags=["export", "torch"]
def loss_torch(raw, target, s):
    """The five terms of the paper's equation 3, a dictionary: sums over a picture, batch means."""
    there, spared, (centre_, size_, code_) = (
        target[..., 0],
        target[..., 1],
        target[..., 2:8].split(2, dim=4),
    )
    centre, code, sure, classes = split_torch(raw, s)
    with torch.no_grad():  # predictions decide here, and get no gradient for it
        iou = iou_torch(s.stride * centre, pixels_torch(code, s), s.stride * centre_, size_)
        mine = there  # 1ᵢⱼ obj, with anchors: decided by shape, in `targets`
        if not s.anchors:  # the responsible box: the one that overlaps most
            mine = there * F.one_hot(iou.argmax(dim=3), s.boxes)
        others = (1 - mine) * (1 - spared)  # 1ᵢⱼ noobj
    if s.logistic:  # log-losses; a box is an object or not
        yes, no = F.softplus(-sure), F.softplus(sure)
        wrong = F.softplus(classes) - target[..., 8:] * classes
    else:  # squared errors; a box's confidence should be its IoU
        yes, no = (sure - iou) ** 2, sure**2
        wrong = (classes - target[..., 8:]) ** 2
    terms = {
        "centre": s.coord * mine * ((centre - centre_) ** 2).sum(dim=4),
        "size": s.coord * mine * ((code - code_) ** 2).sum(dim=4),
        "object": mine * yes,
        "no object": s.noobj * others * no,
        "class": there * wrong.sum(dim=4),
    }
    return {name: term.sum() / len(raw) for name, term in terms.items()}


# %% tags=["export", "torch"]
def train_torch(images, truths, settings, report):
    """Train on pictures (N, H, W, 3), bytes; stop when the steps are done or `report` says so."""
    s = prepared(images, truths, settings)
    model = TorchYOLO(s).train()
    parity.set_weights(model, start(s, s.seed))
    optimizer = torch.optim.Adam(model.parameters(), s.learning_rate)
    for step, (x, target) in enumerate(feed(images, truths, s), start=1):
        optimizer.param_groups[0]["lr"] = learning_rate(step - 1, s)
        x = torch.as_tensor(x).float() / 255
        with torch.autocast(x.device.type, torch.bfloat16, enabled=s.bf16):
            raw = model(x)
        loss = sum(loss_torch(raw.float(), torch.as_tensor(target), s).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            preview = functools.partial(sketch, ways["torch"], model, images)
            if not report(step, {"loss": loss.item()}, preview):
                break
            model.train()  # a preview leaves evaluation mode behind
    return model


# %% tags=["export", "torch"]
@torch.no_grad()
def raw_torch(model, images):
    """The head's output (N, rows, columns, outputs) for pictures (N, H, W, 3), bytes."""
    return model.eval()(torch.as_tensor(images).float() / 255).cpu().numpy()


detect_torch = functools.partial(detected, raw_torch)
ways["torch"] = Way(TorchYOLO, train_torch, detect_torch, raw_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* Convolutions and norms are the course's own `tf.Module`s. A window of 4, two
# apart, is padded by 1 on each side by "SAME" as well: nothing has to be written out. The size of a
# picture may change from step to step, so the graph is traced with unknown sides
# (`reduce_retracing`), and cells are counted with `tf.shape`, not `.shape`.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import BatchNorm, Conv2D  # built by hand in 07_dcgan and 01_autoencoder
from utils.tf_optimizers import Adam


class TFYOLO(tf.Module):
    """Convolutions, and a 1×1 convolution that says for each cell what there is to say."""

    def __init__(self, settings):
        super().__init__()
        self._settings = settings
        for name, size, seen, filters, stride in layers_of(settings):
            bias = None if settings.norm else 0.0
            setattr(self, name, Conv2D(seen, filters, size, stride, bias))
            if settings.norm:
                setattr(self, name.replace("conv", "norm"), BatchNorm(filters, MOMENTUM, EPSILON))
        self.head = Conv2D(filters, outputs_of(settings), 1)

    @property
    def settings(self):
        return self._settings

    def __call__(self, x, training=False):  # B×H×W×3, 0…1 → B×H/stride×W/stride×outputs
        x = 2 * x - 1
        for name, *_ in layers_of(self.settings):
            x = getattr(self, name)(x)
            if self.settings.norm:
                x = getattr(self, name.replace("conv", "norm"))(x, training)
            x = tf.nn.leaky_relu(x, LEAKY)
        return self.head(x)


# %% tags=["export", "tensorflow"]
def split_tf(raw, s):
    """A head's output → centre and code (…, boxes, 2), confidence (…, boxes), classes."""
    cells = tf.shape(raw)[:3]
    if s.anchors:
        raw = tf.reshape(raw, tf.concat([cells, [s.anchors, 5 + s.classes]], axis=0))
        return tf.sigmoid(raw[..., :2]), raw[..., 2:4], raw[..., 4], raw[..., 5:]
    box = tf.reshape(raw[..., : 5 * s.boxes], tf.concat([cells, [s.boxes, 5]], axis=0))
    return box[..., :2], box[..., 2:4], box[..., 4], raw[..., None, 5 * s.boxes :]


def pixels_tf(code, s):
    """Sizes in pixels, as `size_of`."""
    if s.anchors:
        return tf.constant(s.priors, tf.float32) * tf.exp(tf.minimum(code, 5.0))
    return s.unit * (code**2 if s.roots else tf.maximum(code, 0.0))


def iou_tf(centre, size, centre_, size_):
    """IoU of predicted and true boxes, given by centre and size (…, 2) in pixels: (…)."""
    low = tf.maximum(centre - size / 2, centre_ - size_ / 2)
    high = tf.minimum(centre + size / 2, centre_ + size_ / 2)
    both = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)
    areas = tf.reduce_prod(size, axis=-1) + tf.reduce_prod(size_, axis=-1)
    return both / (areas - both + 1e-9)


# %% tags=["export", "tensorflow"]
def loss_tf(raw, target, s):
    """The five terms of the paper's equation 3, a dictionary: sums over a picture, batch means."""
    there, spared = target[..., 0], target[..., 1]
    centre_, size_, code_ = target[..., 2:4], target[..., 4:6], target[..., 6:8]
    centre, code, sure, classes = split_tf(raw, s)
    iou = iou_tf(s.stride * centre, pixels_tf(code, s), s.stride * centre_, size_)
    iou = tf.stop_gradient(iou)  # predictions decide here, and get no gradient for it
    mine = there  # 1ᵢⱼ obj, with anchors: decided by shape, in `targets`
    if not s.anchors:  # the responsible box: the one that overlaps most
        mine = there * tf.one_hot(tf.argmax(iou, axis=3), s.boxes)
    others = (1 - mine) * (1 - spared)  # 1ᵢⱼ noobj
    if s.logistic:  # log-losses; a box is an object or not
        yes, no = tf.nn.softplus(-sure), tf.nn.softplus(sure)
        wrong = tf.nn.softplus(classes) - target[..., 8:] * classes
    else:  # squared errors; a box's confidence should be its IoU
        yes, no = (sure - iou) ** 2, sure**2
        wrong = (classes - target[..., 8:]) ** 2
    terms = {
        "centre": s.coord * mine * tf.reduce_sum((centre - centre_) ** 2, axis=4),
        "size": s.coord * mine * tf.reduce_sum((code - code_) ** 2, axis=4),
        "object": mine * yes,
        "no object": s.noobj * others * no,
        "class": there * tf.reduce_sum(wrong, axis=4),
    }
    pictures = tf.cast(tf.shape(raw)[0], tf.float32)
    return {name: tf.reduce_sum(term) / pictures for name, term in terms.items()}


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model and optimiser, and their step."""

    def __init__(self, settings):
        super().__init__()
        self.model, self._settings = TFYOLO(settings), settings
        parity.set_weights(self.model, start(settings, settings.seed))
        self.weights = parity.variables(self.model)
        self.optimizer = Adam(self.weights)

    @tf.function(reduce_retracing=True)  # pictures may change their size from batch to batch
    def step(self, x, target, rate):
        """One step of Adam; returns the loss."""
        with tf.GradientTape() as tape:
            raw = self.model(tf.cast(x, tf.float32) / 255, training=True)
            loss = tf.add_n(list(loss_tf(raw, target, self._settings).values()))
        self.optimizer.apply(tape.gradient(loss, self.weights), rate)
        return loss


def train_tf(images, truths, settings, report):
    """Train on pictures (N, H, W, 3), bytes; stop when the steps are done or `report` says so."""
    s = prepared(images, truths, settings)
    data.check_batch(s.batch_size, len(images))
    trainer, boxes = TFTrainer(s), max(1, s.anchors)
    kinds = (
        tf.TensorSpec([s.batch_size, None, None, 3], tf.uint8),
        tf.TensorSpec([s.batch_size, None, None, boxes, 8 + s.classes], tf.float32),
    )
    meals = tf.data.Dataset.from_generator(lambda: feed(images, truths, s), output_signature=kinds)
    preview = functools.partial(sketch, ways["tensorflow"], trainer.model, images)
    for step, (x, target) in enumerate(meals.prefetch(2), start=1):
        rate = tf.constant(learning_rate(step - 1, s))
        loss = trainer.step(x, target, rate)
        if step % 10 == 0 and not report(step, {"loss": float(loss)}, preview):
            break
    return trainer.model


# %% tags=["export", "tensorflow"]
def raw_tf(model, images):
    """The head's output (N, rows, columns, outputs) for pictures (N, H, W, 3), bytes."""
    return model(tf.constant(images.astype("float32") / 255)).numpy()


detect_tf = functools.partial(detected, raw_tf)
ways["tensorflow"] = Way(TFYOLO, train_tf, detect_tf, raw_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* `compute_loss` takes the place of a loss in `compile`: the same five terms in
# `keras.ops`, for TensorFlow and for PyTorch. `Input((None, None, 3))` leaves the sides open. The
# leaky ReLU is written as a maximum; Keras's layer has a slope of 0.3 unless told otherwise,
# `tf.nn.leaky_relu` 0.2, PyTorch's 0.01, and YOLO's is 0.1.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


class KerasYOLO(keras.Model):
    """Convolutions, and a 1×1 convolution that says for each cell what there is to say."""

    def __init__(self, settings):
        x = keras.Input((None, None, 3))  # any multiple of the stride
        h = layers.Rescaling(2, -1)(x)
        for name, size, _, filters, stride in layers_of(settings):
            kinds = {"padding": "same", "use_bias": not settings.norm, "name": name}
            h = layers.Conv2D(filters, size, stride, **kinds)(h)
            if settings.norm:
                norm = name.replace("conv", "norm")
                h = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=norm)(h)
            h = ops.maximum(h, LEAKY * h)  # leaky ReLU
        super().__init__(x, layers.Conv2D(outputs_of(settings), 1, name="head")(h), name="yolo")
        self.settings = settings

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return sum(loss_keras(y_pred, y, self.settings).values())


# %% tags=["export", "keras"]
def split_keras(raw, s):
    """A head's output → centre and code (…, boxes, 2), confidence (…, boxes), classes."""
    cells = ops.shape(raw)[:3]
    if s.anchors:
        raw = ops.reshape(raw, (*cells, s.anchors, 5 + s.classes))
        return ops.sigmoid(raw[..., :2]), raw[..., 2:4], raw[..., 4], raw[..., 5:]
    box = ops.reshape(raw[..., : 5 * s.boxes], (*cells, s.boxes, 5))
    classes = ops.expand_dims(raw[..., 5 * s.boxes :], 3)
    return box[..., :2], box[..., 2:4], box[..., 4], classes


def pixels_keras(code, s):
    """Sizes in pixels, as `size_of`."""
    if s.anchors:
        return ops.convert_to_tensor(s.priors, code.dtype) * ops.exp(ops.minimum(code, 5.0))
    return s.unit * (code**2 if s.roots else ops.maximum(code, 0.0))


def iou_keras(centre, size, centre_, size_):
    """IoU of predicted and true boxes, given by centre and size (…, 2) in pixels: (…)."""
    low = ops.maximum(centre - size / 2, centre_ - size_ / 2)
    high = ops.minimum(centre + size / 2, centre_ + size_ / 2)
    both = ops.prod(ops.maximum(high - low, 0.0), axis=-1)
    return both / (ops.prod(size, axis=-1) + ops.prod(size_, axis=-1) - both + 1e-9)


# %% tags=["export", "keras"]
def loss_keras(raw, target, s):
    """The five terms of the paper's equation 3, a dictionary: sums over a picture, batch means."""
    there, spared = target[..., 0], target[..., 1]
    centre_, size_, code_ = target[..., 2:4], target[..., 4:6], target[..., 6:8]
    centre, code, sure, classes = split_keras(raw, s)
    iou = iou_keras(s.stride * centre, pixels_keras(code, s), s.stride * centre_, size_)
    iou = ops.stop_gradient(iou)  # predictions decide here, and get no gradient for it
    mine = there  # 1ᵢⱼ obj, with anchors: decided by shape, in `targets`
    if not s.anchors:  # the responsible box: the one that overlaps most
        mine = there * ops.one_hot(ops.argmax(iou, axis=3), s.boxes, dtype=iou.dtype)
    others = (1 - mine) * (1 - spared)  # 1ᵢⱼ noobj
    if s.logistic:  # log-losses; a box is an object or not
        yes, no = ops.softplus(-sure), ops.softplus(sure)
        wrong = ops.softplus(classes) - target[..., 8:] * classes
    else:  # squared errors; a box's confidence should be its IoU
        yes, no = (sure - iou) ** 2, sure**2
        wrong = (classes - target[..., 8:]) ** 2
    terms = {
        "centre": s.coord * mine * ops.sum((centre - centre_) ** 2, axis=4),
        "size": s.coord * mine * ops.sum((code - code_) ** 2, axis=4),
        "object": mine * yes,
        "no object": s.noobj * others * no,
        "class": there * ops.sum(wrong, axis=4),
    }
    pictures = ops.cast(ops.shape(raw)[0], raw.dtype)
    return {name: ops.sum(term) / pictures for name, term in terms.items()}


# %% [markdown]
# `fit` looks at the first two batches to learn their shape; sides in which they differ may change
# from then on. That is why with multi-scale training no two batches running have the same size.


# %% tags=["export", "keras"]
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The course's `learning_rate`, for a step that is a tensor."""

    def __init__(self, s):
        self.rates = [learning_rate(step, s) for step in range(s.steps)]

    def __call__(self, step):
        rates = ops.convert_to_tensor(self.rates, "float32")
        return ops.take(rates, ops.minimum(ops.cast(step, "int32"), len(self.rates) - 1))

    def get_config(self):
        return {}


def train_keras(images, truths, settings, report):
    """Train on pictures (N, H, W, 3), bytes; stop when the steps are done or `report` says so."""
    s = prepared(images, truths, settings)
    data.check_batch(s.batch_size, len(images))
    model = KerasYOLO(s)
    parity.set_weights(model, start(s, s.seed))
    model.compile(keras.optimizers.Adam(Rate(s), epsilon=1e-8))
    preview = functools.partial(sketch, ways["keras"], model, images)
    reporter = keras_callback(report, preview, every=10, steps=s.steps)
    meals = ((x.astype("float32") / 255, target) for x, target in feed(images, truths, s))
    kinds = {"steps_per_epoch": s.steps, "shuffle": False, "verbose": 0}
    model.fit(meals, callbacks=[reporter], **kinds)
    return model


# %% tags=["export", "keras"]
def raw_keras(model, images):
    """The head's output (N, rows, columns, outputs) for pictures (N, H, W, 3), bytes."""
    return parity.to_numpy(model(images.astype("float32") / 255, training=False))


detect_keras = functools.partial(detected, raw_keras)
ways["keras"] = Way(KerasYOLO, train_keras, detect_keras, raw_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights, one batch of pictures and one grid of targets go into each model: once as
# version 1, once with every switch on and norms in training mode. Output, each term of the loss and
# the gradient of every weight must agree. The head's weights are larger than at the start, so that
# the boxes of a cell differ and somebody has to be responsible. The nets are a quarter as wide as
# usual and see two pictures: of a million activations one will lie so near zero that rounding decides
# on which side of the leaky ReLU's kink it falls, and its gradient with it.

# %%
rng = np.random.default_rng(SEED)
x_same, t_same = x_train[:2].astype("float32") / 255, t_train[:2]
cases, parameters = {}, {}  # what is compared -> settings, weights, targets; -> how many
for title, switches in {"version 1": VERSION_1, "all switches": VERSION_3}.items():
    asked = types.SimpleNamespace(**{**QUICK, **switches, "seed": SEED})
    whole = start(asked, SEED)
    parameters[title] = sum(w.size for part, w in whole.items() if "moving" not in part)
    asked.width = 4
    settled = prepared(x_train[:500], t_train[:500], asked)
    weights = start(settled, SEED)
    head = weights["head.kernel"].shape
    weights["head.kernel"] = rng.normal(0, 0.1, head).astype("float32")
    cases[title] = settled, weights, targets(t_same, 96, 96, settled)


def gathered(model, raw, terms, gradients):
    """Output, terms and gradients under neutral names."""
    found = {name: parity.to_numpy(term) for name, term in terms.items()}
    return {"output": parity.to_numpy(raw), **found} | {
        "gradients": parity.named_gradients(model, gradients)
    }


evidence = {title: {} for title in cases}  # case -> framework -> the quantities to compare

# %% tags=["torch"]
for title, (settled, weights, grid) in cases.items():
    model = TorchYOLO(settled).train()
    parity.set_weights(model, weights)
    raw = model(torch.as_tensor(x_same))
    terms = loss_torch(raw, torch.as_tensor(grid), settled)
    gradients = torch.autograd.grad(sum(terms.values()), parity.variables(model))
    evidence[title]["torch"] = gathered(model, raw, terms, gradients)

# %% tags=["tensorflow"]
for title, (settled, weights, grid) in cases.items():
    model = TFYOLO(settled)
    parity.set_weights(model, weights)
    with tf.GradientTape() as tape:
        raw = model(tf.constant(x_same), training=True)
        terms = loss_tf(raw, tf.constant(grid), settled)
        loss = tf.add_n(list(terms.values()))
    gradients = tape.gradient(loss, parity.variables(model))
    evidence[title]["tensorflow"] = gathered(model, raw, terms, gradients)

# %% tags=["keras"]
import importlib

backend = importlib.import_module(keras.backend.backend())  # torch or tensorflow
for title, (settled, weights, grid) in cases.items():
    model = KerasYOLO(settled)
    parity.set_weights(model, weights)
    found = [w.value for w in parity.variables(model)]
    if keras.backend.backend() == "torch":  # gradients are what keras.ops does not have
        raw = model(x_same, training=True)
        terms = loss_keras(raw, ops.convert_to_tensor(grid), settled)
        gradients = backend.autograd.grad(sum(terms.values()), found)
    else:
        with backend.GradientTape() as tape:
            raw = model(x_same, training=True)
            terms = loss_keras(raw, ops.convert_to_tensor(grid), settled)
            loss = sum(terms.values())
        gradients = tape.gradient(loss, found)
    evidence[title]["keras"] = gathered(model, raw, terms, gradients)

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
comparisons = {title: parity.compare(found, tolerance=1e-5) for title, found in evidence.items()}
for title, comparison in comparisons.items():
    print(f"{title}: {parameters[title]:,} parameters at full width")
    print(comparison.verdict())

# %% [markdown]
# The differences themselves (they vary from one processor to the next):

# %%
for title, comparison in comparisons.items():
    print(title, comparison.numbers(), sep="\n")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Train it
#
# All switches off is version 1; `anchors` = 0 too. The preview shows what is found in six training
# scenes with a score of at least 0.3: for a while, nothing. **A minute is not enough** for boxes
# that fit; what follows uses the checkpoint.

# %%
begin = QUICK if session.quick else FULL
controls = [
    Toggle("norm", begin["norm"], label="Batch normalisation", help="version 2"),
    Slider("anchors", begin["anchors"], 0, 8, help="of a cell; 0: version 1's two boxes"),
    Toggle("logistic", begin["logistic"], label="Logistic outputs", help="version 3"),
    Toggle("multiscale", begin["multiscale"], label="Multi-scale", help="version 2"),
    Slider("coord", begin["coord"], 0.0, 10.0, step=0.5, label="λ coord", help="the paper's: 5"),
    Slider("noobj", begin["noobj"], 0.0, 5.0, step=0.1, label="λ noobj", help="the paper's: 0.5"),
    Toggle("roots", begin["roots"], label="Square roots", help="of sizes, without anchors"),
    Slider(
        "jitter", begin["jitter"], 0.0, 0.2, step=0.01, help="shift; twice that for scale, colour"
    ),
    Slider("learning_rate", begin["learning_rate"], 1e-4, 3e-2, log=True, help="at its highest"),
    Slider("batch_size", begin["batch_size"], 4, 64, step=4, help="pictures in a step"),
    Slider(
        "steps", begin["steps"], 10, max(2000, begin["steps"]), step=10, help="of one batch each"
    ),
]


def summary(model, settings):
    """What the panel's table lists."""
    found = ways[settings.framework].detect(model, x_test[:50], 0.01)
    return {"AP50, 50 scenes": metrics.coco(found, t_test[:50], scenes.class_names).ap50}


few = slice(0, 600 if session.quick else None)
trainers = {n: functools.partial(way.train, x_train[few], t_train[few]) for n, way in ways.items()}
panel = Panel(trainers, controls, title="A small YOLO", summary=summary)
panel.show()

# %% [markdown]
# No front end is needed. The same from a script is one call:

# %%
name, *_ = ways  # the first of your frameworks
way = ways[name]
short = settings_of(controls, name, SEED, steps=60, norm=True, anchors=4, logistic=True)
model = run(trainers[name], short, "All but multi-scale", every=20)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Models that have had their time
#
# Three checkpoints: version 1 on the scenes; batch normalisation, anchors and logistic outputs on the
# scenes; the same on the blood cells. Each was trained for some minutes on one core.


# %%
def restored(name, checkpoint):
    """A checkpoint's model in the framework `name`."""
    info = checkpoints.load(checkpoint).info
    model = ways[name].build(types.SimpleNamespace(**info["settings"]))
    checkpoints.load_into(model, checkpoint)
    return model


first, later, bccd = (restored(name, f"16_yolo{end}") for end in ("_v1", "", "_bccd"))
for end in ("_v1", "", "_bccd"):
    info = checkpoints.load(f"16_yolo{end}").info
    print(f"16_yolo{end}: {info['what']}. AP50 {info['ap50']:.3f} on its test pictures.")
found = way.detect(later, x_test[5:8], 0.3)
alt = "the three test scenes of part 2 with the boxes that the network finds, each with its digit and score"
plots.show(plots.detections(x_test[5:8], found, scenes.class_names, columns=3, side=1.6), alt=alt)
found = way.detect(bccd, cells.x_test[:1], 0.4)
alt = "a picture of blood cells with the boxes that the network finds: red cells, white cells, platelets"
plots.show(plots.detections(cells.x_test[:1], found, cells.class_names, side=2.4), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### The grid, and who is responsible
#
# Version 1's whole answer to a scene. Left, the cells with an object's centre, and both boxes of
# each: solid the one that overlaps the object more, which would be responsible, dashed the other.
# Middle, every cell's confidence. Right, the class that each cell holds most likely *if* there is an
# object: a coarse map of the picture, as in the paper's figure 2.


# %%
def responsible(picture):
    """Version 1's boxes, confidences and classes for a test scene."""
    image, truth, s = x_test[picture], t_test[picture], first.settings
    those, sure, classes = (part[0] for part in read(way.raw(first, image[None]), s))
    grid = targets([truth], 96, 96, s)[0, :, :, 0]
    fig, (left, middle, right) = plots.figure(columns=3, width=8.1, height=3.0)
    plots.boxes(left, image, np.zeros((0, 4)), np.zeros(0, int), scenes.class_names)
    for row, column in np.argwhere(grid[..., 0]):
        plots.rectangle(left, 8 * np.array([column, row, column + 1, row + 1]), alpha=0.35)
        half = grid[row, column, 4:6] / 2
        centre = 8 * ([column, row] + grid[row, column, 2:4])
        ious = geometry.iou(those[row, column], np.float32([[*(centre - half), *(centre + half)]]))
        for box, iou in zip(those[row, column], ious[:, 0], strict=True):
            line = "-" if iou == ious.max() else "--"
            style = {"fill": False, "edgecolor": "#D55E00" if line == "-" else "white"}
            plots.rectangle(left, box, linestyle=line, linewidth=1.6, **style)
    left.set(title=f"{int(grid[..., 0].sum())} cells with a centre", xticks=[], yticks=[])
    middle.imshow(sure.max(axis=2), vmin=0, vmax=1, cmap="magma")
    middle.set(title="confidence, the surer box", xticks=[], yticks=[])
    guess = classes[:, :, 0].argmax(axis=2)
    right.set(xlim=(-0.5, 11.5), ylim=(11.5, -0.5), aspect="equal", facecolor="#333333")
    for row, column in np.ndindex(guess.shape):
        kind, there = int(guess[row, column]), sure[row, column].max() > 0.2
        style = {"ha": "center", "va": "center", "fontsize": 11 if there else 7}
        colour = "white" if there else "#999999"
        right.text(column, row, kind, color=colour, weight="bold" if there else "normal", **style)
    right.set(title="class, if there is an object", xticks=[], yticks=[])
    return fig


Explorer(
    responsible,
    [Slider("picture", 5, 0, 60, help="which test scene")],
    title="The grid of version 1",
    alt="left, a scene, its cells with an object's centre and the two boxes of each; "
    "middle, a map of confidence; right, the likeliest class of each cell",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Scores and suppression
#
# Everything that the later network says of a scene before NMS. Lower the least score: what was a
# handful of boxes becomes hundreds, most of them double. Raise NMS's threshold to 1: every object
# is found many times. Lower it to 0.1, and neighbours begin to cost each other their boxes.

# %%
picture = 7
those, sure, classes = (part[0] for part in read(way.raw(later, x_test[[picture]]), later.settings))
scores = (sure[..., None] * classes).reshape(-1, 10)
place, label = np.nonzero(scores > 0.01)
before = geometry.Found(
    those.reshape(-1, 4)[place].astype("float32"), scores[place, label].astype("float32"), label
)
nms_explorer(x_test[picture], before, scenes.class_names, score=0.1).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### Nobody says that there is nothing
#
# Take the fourth term of the loss away ($\lambda_\text{noobj} = 0$). Every term that is left speaks
# of cells with an object. **First commit to a prediction.**

# %%
exercises.predict(
    "Without the fourth term, the confidence in cells without an object …",
    [
        "stays near 0: nothing pushes it up",
        "rises, but far less than in cells with an object",
        "rises as it does in cells with an object",
    ],
    key="noobj",
)

# %%
x_few, t_few = x_test[:60], t_test[:60]
confidence = {}  # λ_noobj -> in cells with a centre, in the others
for weight in (0.5, 0.0):
    chosen = settings_of(controls, name, SEED, steps=80, noobj=weight)
    model = trainers[name](chosen, lambda *_: True)
    _, sure, _ = read(way.raw(model, x_few), model.settings)
    there = targets(t_few, 96, 96, model.settings)[..., 0, 0] > 0
    confidence[weight] = sure.max(axis=3)[there].mean(), sure.max(axis=3)[~there].mean()
    print(
        "λ noobj = {}: mean confidence {:.2f} in cells with a centre, {:.2f} in the others".format(
            weight, *confidence[weight]
        )
    )
inside, outside = confidence[0.0]
outcome = "rises, but far less than in cells with an object"
if outside > 0.4 * inside:
    outcome = "rises as it does in cells with an object"
elif outside < 0.1 * inside:
    outcome = "stays near 0: nothing pushes it up"
exercises.reveal("noobj", outcome)

# %% [markdown]
# Cells share their weights, and the cheapest way to say *sure* where there is an object is to say it
# everywhere: hundreds of boxes an image, none of which means anything. The other extreme has its own
# trouble: of a scene's 144 cells some 140 are empty, with two boxes each, and if each counted five
# times, silence would be the safest answer. Part 10 has the measurement.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What a square root is worth
#
# A predicted width is three pixels too large, once for a box of 14 pixels, once for one of 40. For
# the larger box that hardly matters (its IoU is 0.93, the smaller one's 0.82).

# %%
exercises.predict(
    "In the loss with square roots, the smaller box's error costs … the larger one's",
    ["a third of", "as much as", "between two and three times"],
    key="roots",
)

# %%
widths = np.arange(8, 61)
curves = {}
for roots in (True, False):
    s = types.SimpleNamespace(anchors=0, roots=roots, unit=96.0)
    curves[roots] = (size_code(widths + 3.0, s) - size_code(widths * 1.0, s)) ** 2
ratio = curves[True][widths == 14][0] / curves[True][widths == 40][0]
print(f"with square roots {ratio:.1f} times as much; without them, {1.0:.1f} times")
fig, ax = plots.figure(width=6, height=2.8)
ax.plot(widths, 1e3 * curves[True], color="#0072B2", label="square roots")
ax.plot(widths, 1e3 * curves[False], color="#D55E00", linestyle="--", label="widths themselves")
ax.set(xlabel="width of the box, pixels", ylabel="cost of 3 pixels, 1/1000", ylim=(0, None))
ax.legend()
alt = "the cost of three pixels falls with a box's width where square roots are compared, and is constant where widths are"
plots.show(fig, alt=alt)
exercises.reveal("roots", "between two and three times" if 2 < ratio < 3 else f"{ratio:.1f} times")

# %% [markdown]
# Fairer, but not fair: 14 and 40 differ by 2.9, and what IoU asks for is the *relative* error. That
# is what $t_w = \log(w / p_w)$ of the anchors gives: three pixels of 14 then cost as much as 8.6 of 40.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two centres, one cell
#
# Imagine a perfect network, one that says exactly what its targets ask for. Of two objects whose
# centres share a cell, version 1 still loses one: there is one place. With anchors a cell has a place
# for each shape, and loses objects that share cell *and* prior. How many that is, is settled before
# anything is learnt, by the data and by S.

# %%
exercises.predict(
    "300 scenes with up to eight digits, a grid of 3×3. The perfect version 1, and the perfect "
    "network with four anchors, miss …",
    [
        "over 10 % of the objects, and as many",
        "over 10 %, and about a third of that",
        "under 10 %, and about a third of that",
    ],
    key="shared",
)


# %%
def perfect(truth, height, width, s):
    """What a network finds that says exactly what `targets` asks for."""
    grid = targets([truth], height, width, s)[0]
    row, column, prior = np.nonzero(grid[..., 0])
    said = grid[row, column, prior]
    centre, half = s.stride * (np.stack([column, row], 1) + said[:, 2:4]), said[:, 4:6] / 2
    those = np.concatenate([centre - half, centre + half], axis=1).astype("float32")
    return geometry.Found(those, np.ones(len(row), "float32"), said[:, 8:].argmax(axis=1))


def grid_of(stride, anchors):
    """Settings of a grid."""
    s = types.SimpleNamespace(stride=stride, classes=10, roots=True, unit=96.0, anchors=anchors)
    s.priors = kmeans(several, anchors).tolist() if anchors else None
    return s


# %%
missed = {}
for one, stride in ((scenes, 8), (scenes, 16), (scenes, 32), (cells, 16), (cells, 40)):
    height, width = one.x_test.shape[1:3]
    objects = sum(int((~truth.crowd).sum()) for truth in one.t_test[:300])
    shares = []
    for anchors in (0, 4):
        s = grid_of(stride, anchors)
        if anchors:  # of this data set's own boxes
            those = np.concatenate([truth.boxes for truth in one.t_train[:150]]).astype(float)
            s.priors = kmeans(those[:, 2:] - those[:, :2], anchors).tolist()
        kept = sum(len(perfect(t, height, width, s).boxes) for t in one.t_test[:300])
        shares.append(100 * (1 - kept / objects))
    title = f"{one.name}, {height // stride}×{width // stride} cells"
    print(f"{title:<20} version 1 misses {shares[0]:4.1f} %, with 4 anchors {shares[1]:4.1f} %")
    missed[title] = shares
many, fewer = missed["Scenes, 3×3 cells"]
outcome = "over 10 %" if many > 10 else "under 10 %"
outcome += ", and about a third of that" if fewer < 0.6 * many else " of the objects, and as many"
exercises.reveal("shared", outcome)

# %%
coarse = [grid_of(32, anchors) for anchors in (0, 4)]
counts = [[len(perfect(truth, 96, 96, s).boxes) for truth in t_test[:300]] for s in coarse]
place = int(np.argmax(np.subtract(*counts[::-1])))  # where anchors save most
fig, axes = plots.figure(columns=3, width=6.6, height=2.5)
best = [t_test[place], *(perfect(t_test[place], 96, 96, s) for s in coarse)]
for ax, each, title in zip(axes, best, ("what is there", "version 1", "4 anchors"), strict=True):
    plots.boxes(ax, x_test[place], each.boxes, each.labels, scenes.class_names)
    ax.vlines([32, 64], 0, 96, color="white", linewidth=0.7)
    ax.hlines([32, 64], 0, 96, color="white", linewidth=0.7)
    ax.set_title(f"{title}: {len(each.boxes)} boxes", fontsize=10)
alt = "a scene on a grid of 3×3: all boxes; those a perfect version 1 finds, at most one a cell; those four anchors find"
plots.show(fig, alt=alt)

# %% [markdown]
# On our 12×12 cells next to nothing is lost, which is why version 1 does well here. Photographs with
# flocks of birds were its trouble, and the paper says so.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# COCO's average precision, by pycocotools, on 200 test scenes and 40 pictures of blood cells, in
# each framework. All test pictures, with an interval, stand in the table below.


# %%
def line(title, one):
    """A line of scores."""
    by_class = ", ".join(f"{label} {each.ap50:.2f}" for label, each in one.classes.items())
    print(f"{title:<22} AP {one.ap:.3f}  AP50 {one.ap50:.3f}  ({by_class})")


for each in ways:
    for title, checkpoint, one, count in (
        ("version 1, scenes", "16_yolo_v1", scenes, 200),
        ("later, scenes", "16_yolo", scenes, 200),
        ("later, BCCD", "16_yolo_bccd", cells, 40),
    ):
        model, found = restored(each, checkpoint), []
        for at in range(0, count, 20):  # a few pictures at a time need less memory
            found += ways[each].detect(model, one.x_test[at : at + 20], 0.05)
        line(title, metrics.coco(found, one.t_test[:count], one.class_names))
    print(f"  in {runtime.LABELS[each]}")

# %%
results.show("16_yolo")

# %% [markdown]
# **The full training:** the later network finds more than version 1 and places boxes better (AP, which
# asks for tight boxes, gains more than AP50); but version 1 had 5,000 steps, the other 8,500.
#
# **What each switch buys** stands at the end of the table, for PyTorch: version 1, 300 steps of 16
# scenes at the same rate, one thing changed. It is *one seed*: read only the large differences.
# Together, norms, anchors and logistic outputs take AP50 from 0.41 to 0.51. By themselves, norms and
# anchors change little, and logistic outputs lose 0.13 in so short a training. **Multi-scale
# training** costs the best combination 0.06: all our scenes have one size, and a network that learns
# seven has less time for each. So the checkpoints do without it. Of version 1's own choices, square
# roots are worth 0.04, and $\lambda_\text{noobj} = 5$ costs 0.14.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Four detectors
#
# The same scenes, the same blood cells, the same code to evaluate them, one CPU thread for PyTorch,
# one picture at a time. What was not measured yet is left blank.

# %%
FOUR = {
    "13_rcnn": "R-CNN",
    "14_faster_rcnn": "Faster R-CNN",
    "15_ssd": "SSD",
    "16_yolo": "YOLO",
}
recorded = {}  # detector -> metric -> value, in PyTorch
for notebook, title in FOUR.items():
    found = [one for one in results.read(notebook) if one.framework == "torch"]
    if not found:
        print(f"{title}: nothing recorded yet (`make results NAME={notebook}` measures).")
    recorded[title] = {one.metric: one.value for one in found}


def table(columns):
    """Markdown: a row for each detector, a column for each metric."""
    lines = ["| detector | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for title, numbers in recorded.items():
        shown = [numbers.get(metric) for metric in columns.values()]
        cells_ = ["–" if v is None else f"{v:,.0f}" if v > 999 else f"{v:.3g}" for v in shown]
        lines.append(f"| {title} | " + " | ".join(cells_) + " |")
    return Markdown("\n".join(lines))


from IPython.display import Markdown, display

common = {"AP": "scenes AP", "AP50": "scenes AP50", "ms": "ms per image, scenes"}
display(Markdown("**Scenes**"), table({**common, "parameters": "parameters"}))
display(table({label: f"scenes AP50: {label}" for label in scenes.class_names}))
common = {"AP": "BCCD AP", "AP50": "BCCD AP50", "ms": "ms per image, BCCD"}
common |= {label: f"BCCD AP50: {label}" for label in cells.class_names}
display(Markdown("**BCCD**"), table({**common, "parameters": "parameters, BCCD"}))

# %%
fig, axes = plots.figure(columns=2, width=9, height=3.4)
for ax, kind in zip(axes, ("scenes", "BCCD"), strict=True):
    for place, (title, numbers) in enumerate(recorded.items()):
        ms, ap = numbers.get(f"ms per image, {kind}"), numbers.get(f"{kind} AP")
        if ms is not None and ap is not None:
            ax.plot(ms, ap, "osD^"[place], color=plots.class_colour(place), markersize=9)
            ax.annotate(title, (ms, ap), (6, 4), textcoords="offset points", fontsize=9)
    ax.set(xscale="log", xlabel="ms per image, one thread", ylabel="AP", title=kind)
    ax.margins(x=0.35, y=0.25)
alt = "AP against milliseconds per image for the detectors that were measured, on scenes and on blood cells"
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How the libraries do it today
#
# - **PyTorch: torchvision.** `torchvision.models.detection` has Faster R-CNN
#   (`fasterrcnn_resnet50_fpn_v2`), SSD (`ssd300_vgg16`, `ssdlite320_mobilenet_v3_large`), RetinaNet and
#   FCOS, with COCO's weights; no R-CNN and no YOLO. A model takes a list of pictures, in training
#   with a list of `{"boxes", "labels"}`, returns losses then and boxes otherwise. The documentation
#   calls the module beta.
# - **Keras: KerasHub.** `keras_hub.models.RetinaNetObjectDetector`, on any backend; with COCO's weights
#   as `from_preset("retinanet_resnet50_fpn_coco")`. KerasCV, where a YOLOv8 stood, has moved there.
# - **TensorFlow.** The Object Detection API is deprecated ("no longer being maintained to be
#   compatible with new versions of external dependencies"), and `tf.estimator`, with which its older
#   tutorials train, left TensorFlow with 2.16. What you read about both is history.
# - **Around it.** `ImageDataGenerator` is deprecated: use `tf.data` and layers (it never moved boxes
#   along anyway). `torch.jit.trace` is deprecated: export with `torch.export`, as 20 does for ONNX.
# - **Ultralytics** is the most used YOLO, and is not any of these: a package of its own, PyTorch, AGPL-3.0.
#
# None of these is installed here: their weights must be fetched, and this course fetches nothing that
# it does not need. The boxes, anchors and losses in them are those that you have written.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. Outputs.** How many numbers does version 1 give for an image with $S = 9$, $B = 3$, $C = 20$?

# %%
questions.outputs.check(...)
# questions.outputs.hint()
# questions.outputs.solution()

# %% [markdown]
# **2. The cell** that is to find a box: its row and column, and where in it the centre is.


# %%
def cell(box, stride):
    """xyxy box (4,) in pixels → row, column, x, y; x and y are 0…1."""
    return ...  # your code


questions.cell.check(cell)

# %% [markdown]
# **3. Who is responsible?** Version 1's terms *object* and *no object* for one cell that holds an
# object's centre.


# %%
def confidence(boxes, sure, truth, noobj):
    """Predicted boxes (B, 4), their confidences (B,), the object's box (4,) → a number."""
    return ...  # your code


questions.confidence.check(confidence)

# %% [markdown]
# **4. Versions 2 and 3:** from $t_x, t_y, t_w, t_h$ to a box.


# %%
def decode(t, column, row, prior, stride):
    """t (4,), a cell and a prior (2,) in pixels → xyxy (4,) in pixels."""
    return ...  # your code


questions.decode.check(decode)

# %% [markdown]
# **5. Whose number is it?**

# %%
questions.whose.ask()
questions.whose.check("...")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - One look: a grid of cells, each answers for the objects whose centres it holds.
# - Version 1's loss is five sums of squares; who is responsible is decided by predictions, anew at
#   every step, and no gradient flows through that decision.
# - Most of a picture is empty. Every one-stage detector needs an answer to that: YOLO's is a weight,
#   SSD's a choice of negatives.
# - Anchors turn *where and how large?* into *how does it differ from what is usual?*; σ and exp keep the
#   answer possible.
# - A switch that a paper found useful may not be on your data: measure it.
# - 63.4 on VOC 2007 at 45 fps, 57.9 on VOC 2012: version 1. 57.9 AP50 on COCO in 51 ms: version 3.
#
# | take | when |
# |---|---|
# | R-CNN (13) | never for new work; to understand what the others save |
# | Faster R-CNN (14) | accuracy counts more than milliseconds, small or crowded objects |
# | SSD (15) | objects of very different sizes, a fixed input size, a tight budget of time |
# | YOLO (16) | every millisecond counts, a video, a small device; the simplest to write and to change |
# | a library's, with COCO's weights | nearly always in practice: a few hundred labelled pictures are enough for what it has not seen |
#
# The table in part 10 says how the four did here. Faster R-CNN places its boxes best (AP 0.72 on
# scenes, YOLO 0.70) and takes three times as long as YOLO; their AP50, 0.960 and 0.959, cannot be told
# apart, on blood cells neither (0.888 and 0.886). R-CNN takes more than four times as long as Faster R-CNN, and can
# find only what its proposals hold. These are small nets trained for minutes on one core, one seed
# each: it is not a ranking of the papers.
#
# **Further reading.** Redmon et al. ([2016](https://arxiv.org/abs/1506.02640)), a paper that can be read
# in an evening; Redmon and Farhadi ([2017](https://arxiv.org/abs/1612.08242)), and
# ([2018](https://arxiv.org/abs/1804.02767)), the only one of the three that is funny, and that ends by asking what
# detectors are used for: Redmon gave up computer vision in 2020, over that question; Lin et al.
# ([2017](https://arxiv.org/abs/1708.02002)) on the same flood of empty places, answered by the loss itself.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [Training on a GPU](../05_scale/17_gpu.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/05_scale/17_gpu.ipynb))
# - **Previous:** [SSD](15_ssd.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/04_detection/15_ssd.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
