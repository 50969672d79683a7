# ---
# jupyter:
#   course:
#     title: "VGG"
#     summary: "Only 3×3 windows, from one table: counted, drawn, proven the same in three frameworks, trained small, and its features put to other use."
#     minutes: {cpu: 55, gpu: 45}
#     prerequisites:
#       - "AlexNet, momentum and flattening (10)"
#       - "BatchNorm and its two modes (07)"
#     objectives:
#       - "build five networks from one table, and count 138,357,544 parameters without building one"
#       - "say what two 3×3 windows have over one of 5×5, and compute what a unit can see"
#       - "say where a network's memory goes: weights here, activations there"
#       - "find out why a deep plain network does not start, and mend it in three ways"
#       - "transfer features to another task: freeze, warm up, thaw, with the right preprocessing and BatchNorm in the right mode"
#       - "measure what each of these buys, with an interval"
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]
# # VGG
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/03_classifiers/11_vgg.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/03_classifiers/11_vgg.ipynb)
#
# Only 3×3 windows, from one table: counted, drawn, proven the same in three frameworks, trained small, and its features put to other use.
#
# **Time:** about 55 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** AlexNet, momentum and flattening (10); BatchNorm and its two modes (07).
#
# **What you will be able to do:**
#
# - build five networks from one table, and count 138,357,544 parameters without building one
# - say what two 3×3 windows have over one of 5×5, and compute what a unit can see
# - say where a network's memory goes: weights here, activations there
# - find out why a deep plain network does not start, and mend it in three ways
# - transfer features to another task: freeze, warm up, thaw, with the right preprocessing and BatchNorm in the right mode
# - measure what each of these buys, with an interval

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

import numpy as np

from utils import checkpoints, data, exercises, lessons, parity, parity_torchvision, plots, runtime
from utils.controls import Choice, Slider, Toggle
from utils.data import grey, in_parts
from utils.drawing import Drawing
from utils.exercises import vgg as questions
from utils.explore import Explorer
from utils.metrics import confusion, softmax, wilson
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# AlexNet (10) had five convolutions with windows of 11, 5 and 3 pixels. Does it pay to go
# **deeper**, everything else held still? Simonyan and Zisserman
# ([2015](https://arxiv.org/abs/1409.1556)) took one window, 3×3, the smallest that knows left from
# right and up from down, and did nothing but add layers. From 11 layers with weights to 16 the top-5
# error on ImageNet's validation set fell from **10.4 to 8.8 %**; 19 layers, at 9.0, brought no more, and
# training images of varied scale brought both near 8. The team, the Visual Geometry Group, came
# first in ImageNet's localisation of 2014 and second in its classification.
#
# All there is to say stands in one table, whose rows are the paper's columns: five blocks of
# convolutions that keep the size, each block followed by 2×2 pooling; then three dense layers.
# `256/1` is a window of 1×1.

# %% tags=["export"]
TABLE = {  # filters of each convolution; "|" is a pooling
    "A": "64    | 128     | 256 256         | 512 512         | 512 512",
    "B": "64 64 | 128 128 | 256 256         | 512 512         | 512 512",
    "C": "64 64 | 128 128 | 256 256 256/1   | 512 512 512/1   | 512 512 512/1",
    "D": "64 64 | 128 128 | 256 256 256     | 512 512 512     | 512 512 512",
    "E": "64 64 | 128 128 | 256 256 256 256 | 512 512 512 512 | 512 512 512 512",
}
Net = collections.namedtuple("Net", "side channels blocks hidden classes norm")
Layer = collections.namedtuple("Layer", "name kernel out")


def blocks_of(row):
    """A row of the table as ((filters, window), …) for each block."""
    words = [[word.partition("/") for word in block.split()] for block in row.split("|")]
    return tuple(tuple((int(made), int(size or 3)) for made, _, size in block) for block in words)


def paper(row, norm=False):
    """The paper's network; `norm` puts a BatchNorm behind each convolution."""
    return Net(224, 3, blocks_of(TABLE[row]), (4096, 4096), 1000, norm)


# %% tags=["export"]
def layers_of(net):
    """Name, kernel's shape and output's shape of each layer with weights."""
    found, side, channels = [], net.side, net.channels
    for b, block in enumerate(net.blocks, start=1):
        for n, (made, size) in enumerate(block, start=1):
            out = (side, side, made)
            found.append(Layer(f"conv{b}_{n}", (size, size, channels, made), out))
            channels = made
        side = side // 2  # 2×2 pooling, two apart
    units = side * side * channels
    for n, width in enumerate((*net.hidden, net.classes), start=1):
        found.append(Layer(f"dense{n}", (units, width), (width,)))
        units = width
    return found


def norm_of(layer):
    """The name of the BatchNorm behind a convolution."""
    return layer.name.replace("conv", "norm")


def parameters_of(net):
    """Kernels, a bias for each output, and with BatchNorm two numbers more for each filter."""
    extra = {4: 2 if net.norm else 0, 2: 0}  # by the kernel's axes
    return sum(
        math.prod(layer.kernel) + (1 + extra[len(layer.kernel)]) * layer.kernel[-1]
        for layer in layers_of(net)
    )


# %%
print("row  layers   parameters   with BatchNorm   convolutions alone")
counted = {}
for row in TABLE:
    plain, normed = parameters_of(paper(row)), parameters_of(paper(row, norm=True))
    plan = layers_of(paper(row))
    alone = sum(math.prod(x.kernel) + x.kernel[-1] for x in plan if "conv" in x.name)
    counted |= {row: plain, f"{row} with BatchNorm": normed}
    print(f"{row:<4} {len(plan):>6} {plain:>12,} {normed:>16,} {alone:>20,}")

# %% [markdown]
# Nearly all of it is dense, 123.6 of 138.4 million in D, so the eight layers between A and E
# hardly show. The paper rounds to 133, 133, 134, 138 and 144 million.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What you may have read
#
# - *"There are two VGGs, 16 and 19."* There are six networks: A, A with LRN, B, C, D (16 layers), E
#   (19). Without all of them there would be no experiment: A with LRN was no better than A (10), B
#   better than A, C better than B (a 1×1 window adds a ReLU), D better than C (so does context).
# - *"VGG won ImageNet 2014."* The localisation, yes; the classification went to GoogLeNet.
# - *"VGG has batch normalisation."* It came half a year later. Libraries add it.
# - *"Small filters, so few parameters."* Few per layer; 138 million in all, twice AlexNet.
# - *"Weights start with a standard deviation of 0.01."* The paper says "zero mean and $10^{-2}$
#   **variance**", which is a deviation of 0.1. Much code reads 0.01. Part 9 computes what each does.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why 3×3
#
# A unit behind two layers of 3×3 sees 5×5 pixels, behind three 7×7. With $C$ channels in and out,
# three layers have $3 \cdot 9\,C^2 = 27\,C^2$ weights, one layer of 7×7 has $49\,C^2$, **81 % more**,
# and one ReLU where three had three. (The authors tried it: B with its pairs of 3×3 replaced by one
# 5×5 each had a top-1 error 7 % higher.)
#
# What a unit can see, its **receptive field**, follows from two numbers that each layer moves: how
# many pixels of the input it spans, and how far apart, in the input, neighbouring units lie.


# %% tags=["export"]
def fields(net):
    """For each convolution: (first pixel that its first unit sees, last pixel, step)."""
    found, low, high, step = {}, 0, 0, 1
    for b, block in enumerate(net.blocks, start=1):
        for n, (_, size) in enumerate(block, start=1):
            low, high = low - size // 2 * step, high + size // 2 * step
            found[f"conv{b}_{n}"] = (low, high, step)
        high, step = high + step, 2 * step  # a pooled unit spans two, and lies two apart
    return found


# %%
from matplotlib.patches import Rectangle

RED, BLUE, GREEN = "#D55E00", "#0072B2", "#009E73"  # of Okabe and Ito, told apart by all eyes
fig, (left, middle, right_ax) = plots.figure(columns=3, width=9.5, height=2.9)
left.imshow(np.ones((7, 7)), cmap="gray", vmin=0, vmax=1)
left.set(xticks=np.arange(-0.5, 7), yticks=np.arange(-0.5, 7), title="three 3×3 see 7×7")
left.grid(color="#bbbbbb")
left.tick_params(labelbottom=False, labelleft=False, length=0)
for reach, colour, width in ((3, GREEN, 4), (2, BLUE, 3), (1, RED, 2)):
    corner, span = 3 - reach - 0.5, 2 * reach + 1
    frame = {"fill": False, "edgecolor": colour, "linewidth": width}
    left.add_patch(Rectangle((corner, corner), span, span, **frame))
windows = np.array([3, 5, 7, 9, 11])
middle.plot(windows, windows**2, "o-", color=RED, label="one window")
middle.plot(windows, 9 * (windows - 1) // 2, "s--", color=BLUE, label="a stack of 3×3")
middle.set(xlabel="receptive field, pixels", title="weights, in units of C²", xticks=windows)
middle.legend(frameon=False)
for row, colour, style in (("A", RED, "o-"), ("D", BLUE, "s--"), ("E", GREEN, "^:")):
    seen = [high - low + 1 for low, high, _ in fields(paper(row)).values()]
    right_ax.plot(range(1, len(seen) + 1), seen, style, color=colour, label=row, markersize=4)
right_ax.set(xlabel="convolution", title="pixels that a unit sees, each way")
right_ax.axhline(224, color="#888888", linewidth=1)
right_ax.legend(frameon=False)
alt = (
    "left, nested squares of 3, 5 and 7 pixels; in the middle, weights of one window growing with "
    "the square of its size, those of a stack of 3×3 in a straight line; right, receptive fields of "
    "A, D and E growing to 134, 196 and 252 pixels"
)
plots.show(fig, alt=alt)

# %% [markdown]
# In the last convolutions of D a unit sees 196 of the 224 pixels, in E more than there are. Deep, a
# unit sees everything; early, next to nothing. Part 8 shows what ours see.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Where the memory goes
#
# Weights are stored once, but what a layer puts out is kept **for every image** of a batch until the
# backward pass has used it. The two sit at opposite ends of the network.

# %%
plan = layers_of(paper("D"))
weights_at = [math.prod(x.kernel) + x.kernel[-1] for x in plan]
outputs_at = [math.prod(x.out) for x in plan]
work_at = [math.prod(x.kernel) * math.prod(x.out[:-1]) for x in plan]  # multiplications and sums
fig, axes = plots.figure(columns=3, width=9.5, height=3.9)
for ax, values, colour, title in zip(
    axes,
    (weights_at, outputs_at, work_at),
    (RED, BLUE, GREEN),
    ("weights", "outputs", "multiply-adds"),
    strict=True,
):
    ax.barh(range(len(plan)), np.array(values) / 1e6, color=colour)
    ax.set(title=f"{title}, millions", yticks=[])
    ax.invert_yaxis()
axes[0].set_yticks(range(len(plan)), [x.name for x in plan], fontsize=8)
alt = (
    "the sixteen layers of D: nearly all weights lie in the first dense layer, nearly all outputs in "
    "the first four convolutions, the arithmetic in nearly all convolutions"
)
plots.show(fig, alt=alt)
print(f"{plan[13].name}: {weights_at[13]:,} of {sum(weights_at):,} parameters")
print(f"outputs, before pooling: {sum(outputs_at):,} numbers, {4 * sum(outputs_at) / 1e6:.0f} MB")
print(
    f"a batch of 256: {256 * 4 * sum(outputs_at) / 1e9:.1f} GB; weights: {4 * counted['D'] / 1e9:.2f} GB"
)
print(f"one image forward: {sum(work_at) / 1e9:.2f} billion multiply-adds")

# %% [markdown]
# **One layer holds three quarters of D's parameters** (other texts call it `fc6`), and does under 1 %
# of the arithmetic. To train on less memory, shrink the batch or the image, not the dense layers; to
# store less, shrink the dense layers. GoogLeNet and ResNet (12) average each map instead of
# flattening it, and the dense layers are gone.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST digits to learn on, standardised with two numbers as in 10, and shifted by up to two pixels.
# The paper jitters the *scale* as well: the shorter side of a training image is drawn from 256 to 512.

# %%
digits = data.mnist()
print(digits.describe())
x_train, y_train = digits.x_train, digits.y_train  # N×28×28, uint8; N
x_test, y_test = digits.x_test, digits.y_test

# %% [markdown]
# And a **second task**, for which there is little to learn from: 200 letters in typefaces of two
# families; the 1,000 test letters come from a third family that training never shows. They are drawn
# by `data.letters`, each at an angle, in a size and in a place of its own.

# %%
letters = data.letters(200, seed=SEED)
print(letters.describe())
sheet = np.concatenate([letters.x_train[:20], letters.x_test[:20]])
alt = "two rows of letters A to J for training, two more, in other typefaces, for testing"
plots.show(plots.grid(sheet, columns=10, scale=2), alt=alt)


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The small network
#
# The first three blocks of a row of the same table, `width` / 64 as wide, and 96 units in place of
# 4,096. It takes 28 pixels to 14, 7 and 3. The paper's are ReLU, momentum 0.9 and a weight decay of
# 0.0005; not the paper's are BatchNorm, a start after He et al. (10), and a dropout of 0.2: of 96
# units fewer can be spared than of 4,096.


# %% tags=["export"]
def small(row="D", width=16, norm=True, classes=10):
    """The first three blocks of a row, for grey 28×28 images."""
    blocks = [
        tuple((made * width // 64, size) for made, size in block)
        for block in blocks_of(TABLE[row])[:3]
    ]
    return Net(28, 1, tuple(blocks), (96, 96), classes, norm)


QUICK = {"row": "D", "width": 8, "norm": True, "init": "he", "dropout": 0.2, "shift": 2}
QUICK |= {"learning_rate": 0.05, "decay": 5e-4, "batch_size": 64, "steps": 100, "frozen": 0}
FULL = {**QUICK, "width": 16, "batch_size": 128, "steps": 10 * 468}  # 10 epochs
MOMENTUM = 0.9

Way = collections.namedtuple("Way", "build train logits maps")
ways = {}  # framework -> its four functions, filled by the sections


def net_of(settings, labels):
    """The small network that the settings ask for, with a class for each label."""
    return small(settings.row, settings.width, settings.norm, int(labels.max()) + 1)


# %% tags=["export"]
def deviation(init, kernel):
    """The standard deviation to draw a kernel with: "he", "glorot", or a number in words."""
    n_in, window = math.prod(kernel[:-1]), math.prod(kernel[:-2])
    known = {"he": 2 / n_in, "glorot": 2 / (n_in + window * kernel[-1])}  # variances
    return math.sqrt(known[init]) if init in known else float(init)


def start(net, init, seed):
    """Weights to begin with, under neutral names."""
    rng, weights = np.random.default_rng(seed), {}
    for layer in layers_of(net):
        std, made = deviation(init, layer.kernel), layer.kernel[-1]
        weights[f"{layer.name}.kernel"] = rng.normal(0, std, layer.kernel).astype("float32")
        weights[f"{layer.name}.bias"] = np.zeros(made, "float32")
        if net.norm and "conv" in layer.name:
            for part in ("gamma", "beta", "moving_mean", "moving_variance"):
                fill = float(part in ("gamma", "moving_variance"))
                weights[f"{norm_of(layer)}.{part}"] = np.full(made, fill, "float32")
    return weights


# %% [markdown]
# ### One training function for everything
#
# Training comes in *stages*. From scratch there is one. For transfer there are two: first only the
# **head** learns, the dense layers, while all convolutions are **frozen**; then everything **thaws** and
# learns on, at a fifth of the rate. In each stage the rate falls along half a cosine to zero. And
# training may begin with weights of another network, whole or in part; the rest is drawn anew.

# %% tags=["export"]
Stage = collections.namedtuple("Stage", "head_only first end rate")


def stages(settings):
    """From which step to which only the head learns, or everything, and at what rate at first."""
    rate, frozen = settings.learning_rate, min(settings.frozen, settings.steps)
    found = [Stage(True, 0, frozen, rate), Stage(False, frozen, settings.steps, rate)]
    if frozen:
        found[1] = found[1]._replace(rate=rate / 5)
    return [stage for stage in found if stage.first < stage.end]


def learning_rate(step, stage):
    """The rate of a step, counted from 0: half a cosine down to zero at the stage's end."""
    gone = (step - stage.first) / (stage.end - stage.first)
    return stage.rate * 0.5 * (1 + math.cos(math.pi * gone))


def begun(settings, labels, begin=None):
    """The network and its first weights: those that `begin` holds, by name, and the rest drawn."""
    net = net_of(settings, labels)
    return net, {**start(net, settings.init, settings.seed), **(begin or {})}


def features(weights):
    """Everything but the head: what is carried to another task."""
    return {name: value for name, value in weights.items() if "dense" not in name}


# %% tags=["export"]
def feed(images, labels, settings, stage):
    """What each step of a stage eats: inputs (B, 28, 28, 1), freshly shifted, and labels (B,)."""
    n = data.check_batch(settings.batch_size, len(images))
    rng = np.random.default_rng([settings.seed, stage.first])
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    for index in itertools.islice(itertools.chain.from_iterable(epochs), stage.end - stage.first):
        yield grey(data.crops(images[index], settings.shift, rng)), labels[index].astype("int64")


def glimpse(maps):
    """A picture: eight maps of the first and of the last convolution of one image."""
    rows = []
    for found in (maps[0][0], maps[-1][0]):  # H×W×C
        found = found.transpose(2, 0, 1)[:8]
        place = np.arange(28) * found.shape[1] // 28
        rows.append(found[:, place][:, :, place] / max(found.max(), 1e-6))
    return plots.grid(np.clip(np.concatenate(rows), 0, 1), columns=8, scale=2)


# %% [markdown]
# Five ways to learn from few pictures, for part 9: whether features are taken over, and for what
# share of the steps they stay frozen.

# %% tags=["export"]
Transfer = collections.namedtuple("Transfer", "taken frozen longer")
TRANSFERS = {
    "from scratch": Transfer(False, 0.0, 1),
    "from scratch, four times as long": Transfer(False, 0.0, 4),
    "frozen": Transfer(True, 1.0, 1),
    "frozen, then thawed": Transfer(True, 0.5, 1),
    "everything at once": Transfer(True, 0.0, 1),
}
FEW = {"steps": 100, "batch_size": 32}


def learnt(way, pictures, settings, weights, transfer):
    """Percent of the test pictures that are right after one of the ways to learn."""
    steps = transfer.longer * settings.steps
    changes = {"steps": steps, "frozen": round(transfer.frozen * steps)}
    chosen = type(settings)(**{**vars(settings), **changes})
    begin = features(weights) if transfer.taken else None
    model = way.train(pictures.x_train, pictures.y_train, chosen, lambda *_: True, begin)
    guess = way.logits(model, pictures.x_test).argmax(axis=1)
    return 100 * float((guess == pictures.y_test).mean())


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* The model loops over the table. Layers are called as in Caffe,
# `conv3_2` for the second convolution of the third block, and BatchNorm stands between a convolution and its
# ReLU. (The convolution's bias is then superfluous, since BatchNorm subtracts it again; torchvision
# keeps the 4,224 of them, so its VGG-16 with BatchNorm has 138,365,992 parameters, and so has ours.)

# %% tags=["export", "torch"]
import copy

import torch
from torch import nn
from torch.nn import functional as F


class TorchVGG(nn.Module):
    """Any network of the table; images come and maps go channels last, as in the other two."""

    def __init__(self, net, dropout=0.5):
        super().__init__()
        self.net, self.dropout = net, dropout
        for layer in layers_of(net):
            if "dense" in layer.name:
                self.add_module(layer.name, nn.Linear(*layer.kernel))
                continue
            size, _, seen, made = layer.kernel
            self.add_module(layer.name, nn.Conv2d(seen, made, size, padding=size // 2))
            if net.norm:
                self.add_module(norm_of(layer), nn.BatchNorm2d(made, eps=1e-5, momentum=0.1))
        self.to(memory_format=torch.channels_last)  # how they lie in memory: faster on a CPU

    def maps(self, x):  # B×H×W×C
        """What each convolution makes, after its ReLU, and what the dense layers get."""
        x, found = x.permute(0, 3, 1, 2), []  # B×C×H×W
        for b, block in enumerate(self.net.blocks, start=1):
            for n in range(1, len(block) + 1):
                x = getattr(self, f"conv{b}_{n}")(x)
                x = F.relu(getattr(self, f"norm{b}_{n}")(x) if self.net.norm else x)
                found.append(x.permute(0, 2, 3, 1))
            x = F.max_pool2d(x, 2)  # half the side, rounded down
        return found, x.permute(0, 2, 3, 1).flatten(1)  # channels last before it is flattened

    def forward(self, x):  # B×H×W×C → B×classes, logits
        _, x = self.maps(x)
        for number in range(1, len(self.net.hidden) + 1):
            x = F.relu(getattr(self, f"dense{number}")(x))
            x = F.dropout(x, self.dropout, self.training)
        return getattr(self, f"dense{len(self.net.hidden) + 1}")(x)


# %% [markdown]
# ### Freezing, and its trap
#
# To freeze a layer is two things in PyTorch. `requires_grad_(False)` keeps the optimiser from its
# weights. But a BatchNorm in training mode goes on using the **new** data's statistics and overwriting
# its moving averages, for those are no weights. So frozen layers go into evaluation mode as well.


# %% tags=["export", "torch"]
def thaw_torch(model, head_only):
    """Put the layers that learn into training mode, the others to rest; returns the weights."""
    for name, layer in model.train().named_children():
        learns = "dense" in name or not head_only
        layer.train(learns).requires_grad_(learns)
    return [w for w in model.parameters() if w.requires_grad]


def loss_torch(model, logits, labels, decay):
    """Cross-entropy, and half the decay times the sum of the squared weights of kernels."""
    squares = sum((w**2).sum() for w in model.parameters() if w.dim() > 1)
    return F.cross_entropy(logits, labels) + 0.5 * decay * squares


# %% tags=["export", "torch"]
TorchMomentum = lessons.load("10_alexnet", "torch").TorchMomentum  # v ← 0.9 v − ε g, w ← w + v


def train_torch(images, labels, settings, report, begin=None):
    """Train on images (N, 28, 28), perhaps from weights of another task; `report` may stop it."""
    net, weights = begun(settings, labels, begin)
    model = TorchVGG(net, settings.dropout)
    parity.set_weights(model, weights)
    for stage in stages(settings):
        momentum = TorchMomentum(thaw_torch(model, stage.head_only))
        batches = feed(images, labels, settings, stage)
        for step, (x, y) in enumerate(batches, start=stage.first + 1):
            logits = model(torch.as_tensor(x))
            loss = loss_torch(model, logits, torch.as_tensor(y), settings.decay)
            loss.backward()
            momentum.step(learning_rate(step - 1, stage))
            if step % 10 == 0:
                preview = functools.partial(preview_torch, model, images[:1])
                if not report(step, {"loss": loss.item()}, preview):
                    return model
    return model


# %% tags=["export", "torch"]
@torch.no_grad()
def logits_torch(model, images):
    """Logits (N, classes) of images (N, 28, 28); BatchNorm and dropout in evaluation mode."""
    model.eval()
    return in_parts(lambda part: model(torch.as_tensor(grey(part))).cpu().numpy(), images)


@torch.no_grad()
def maps_torch(model, images):
    """What each convolution makes of images: a list of arrays (N, H, W, channels)."""
    model.eval()
    return [parity.to_numpy(found) for found in model.maps(torch.as_tensor(grey(images)))[0]]


def preview_torch(model, images):
    """The same as a picture, of a copy: the model itself stays in training mode."""
    return glimpse(maps_torch(copy.deepcopy(model), images))


ways["torch"] = Way(TorchVGG, train_torch, logits_torch, maps_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* Convolution, dense layer and BatchNorm were built by hand in 01 and 07. For windows
# of 3, one apart, `"SAME"` pads as PyTorch's `padding=1` does (two apart it would not, see 01); and
# pooling by `"VALID"` rounds 7 / 2 down to 3, where `"SAME"` would make 4 of it. That a layer is frozen
# is said twice here too: BatchNorm is told that it does not train, and the tape asks for the head's
# gradients only.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import BatchNorm, Conv2D, Dense  # built by hand in 01 and 07


class TFVGG(tf.Module):
    """Any network of the table."""

    def __init__(self, net, dropout=0.5):
        super().__init__()
        self.net, self.dropout = net, dropout
        for layer in layers_of(net):
            if "dense" in layer.name:
                setattr(self, layer.name, Dense(*layer.kernel))
                continue
            size, _, seen, made = layer.kernel
            setattr(self, layer.name, Conv2D(seen, made, size))
            if net.norm:
                setattr(self, norm_of(layer), BatchNorm(made, momentum=0.9, epsilon=1e-5))

    def maps(self, x, training=False):  # B×H×W×C
        """What each convolution makes, after its ReLU, and what the dense layers get."""
        found = []
        for b, block in enumerate(self.net.blocks, start=1):
            for n in range(1, len(block) + 1):
                x = getattr(self, f"conv{b}_{n}")(x)
                x = getattr(self, f"norm{b}_{n}")(x, training) if self.net.norm else x
                x = tf.nn.relu(x)
                found.append(x)
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        return found, tf.reshape(x, (-1, math.prod(x.shape[1:])))

    def __call__(self, x, training=False, head_only=False):  # B×H×W×C → B×classes, logits
        _, x = self.maps(x, training and not head_only)
        for number in range(1, len(self.net.hidden) + 1):
            x = tf.nn.relu(getattr(self, f"dense{number}")(x))
            x = tf.nn.dropout(x, self.dropout) if training else x
        return getattr(self, f"dense{len(self.net.hidden) + 1}")(x)


# %% tags=["export", "tensorflow"]
def loss_tf(model, logits, labels, decay):
    """Cross-entropy, and half the decay times the sum of the squared weights of kernels."""
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    squares = tf.add_n([tf.reduce_sum(w**2) for w in parity.variables(model) if w.shape.rank > 1])
    return tf.reduce_mean(costs) + 0.5 * decay * squares


class TFStage(tf.Module):
    """A stage of training: the weights that learn, and their velocities."""

    def __init__(self, model, decay, head_only):
        super().__init__()
        self.model, self.decay, self.head_only = model, decay, head_only
        head = [w for n in range(1, 4) for w in getattr(model, f"dense{n}").trainable_variables]
        self.weights = head if head_only else parity.variables(model)
        self.velocities = [tf.Variable(tf.zeros_like(w)) for w in self.weights]

    def step(self, x, labels, rate):
        """One step of momentum; returns the loss."""
        with tf.GradientTape() as tape:
            logits = self.model(x, training=True, head_only=self.head_only)
            loss = loss_tf(self.model, logits, labels, self.decay)
        gradients = tape.gradient(loss, self.weights)
        for w, v, g in zip(self.weights, self.velocities, gradients, strict=True):
            v.assign(MOMENTUM * v - rate * g)
            w.assign_add(v)
        return loss

    @tf.function
    def steps(self, batches, rates):
        """A step for each of the rates, in one graph; returns the last one's loss."""
        loss = tf.constant(0.0)
        for rate in rates:
            loss = self.step(*next(batches), rate)
        return loss


# %% tags=["export", "tensorflow"]
def stream(images, labels, settings, stage):
    """A tf.data stream of `feed`'s batches, prepared while the graph is busy with earlier ones."""
    kinds = tf.TensorSpec([None, 28, 28, 1], tf.float32), tf.TensorSpec([None], tf.int64)
    meals = functools.partial(feed, images, labels, settings, stage)
    return tf.data.Dataset.from_generator(meals, output_signature=kinds).prefetch(4)


def train_tf(images, labels, settings, report, begin=None):
    """Train on images (N, 28, 28), perhaps from weights of another task; `report` may stop it."""
    data.check_batch(settings.batch_size, len(images))
    net, weights = begun(settings, labels, begin)
    model = TFVGG(net, settings.dropout)
    parity.set_weights(model, weights)
    for stage in stages(settings):
        trainer = TFStage(model, settings.decay, stage.head_only)
        batches = iter(stream(images, labels, settings, stage))
        for step in range(stage.first, stage.end, 10):
            ahead = range(step, min(step + 10, stage.end))
            rates = tf.constant([learning_rate(at, stage) for at in ahead])
            loss = float(trainer.steps(batches, rates))
            preview = functools.partial(preview_tf, model, images[:1])
            if not report(ahead[-1] + 1, {"loss": loss}, preview):
                return model
    return model


# %% tags=["export", "tensorflow"]
def logits_tf(model, images):
    """Logits (N, classes) of images (N, 28, 28); BatchNorm and dropout in evaluation mode."""
    return in_parts(lambda part: model(tf.constant(grey(part))).numpy(), images)


def maps_tf(model, images):
    """What each convolution makes of images: a list of arrays (N, H, W, channels)."""
    return [found.numpy() for found in model.maps(tf.constant(grey(images)))[0]]


def preview_tf(model, images):
    """The same as a picture."""
    return glimpse(maps_tf(model, images))


ways["tensorflow"] = Way(TFVGG, train_tf, logits_tf, maps_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* The model is a loop over the table again. Keras's BatchNorm has other constants by
# default (momentum 0.99, ε = 0.001), and remembers the batch's biased variance (07). **Freezing is one
# word here:** `trainable = False` keeps the optimiser away and, for a BatchNorm, means evaluation mode as
# well. That holds from the next `compile` on, so each stage compiles anew.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


class KerasVGG(keras.Model):
    """Any network of the table."""

    def __init__(self, net, dropout=0.5, decay=0.0):
        x = h = keras.Input((net.side, net.side, net.channels))
        plan = {layer.name: layer for layer in layers_of(net)}
        for b, block in enumerate(net.blocks, start=1):
            for n, (made, size) in enumerate(block, start=1):
                h = layers.Conv2D(made, size, padding="same", name=f"conv{b}_{n}")(h)
                if net.norm:
                    name = norm_of(plan[f"conv{b}_{n}"])
                    h = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(h)
                h = layers.ReLU(name=f"relu{b}_{n}")(h)
            h = layers.MaxPooling2D(2)(h)
        h = layers.Flatten()(h)
        for number, width in enumerate(net.hidden, start=1):
            h = layers.Dense(width, activation="relu", name=f"dense{number}")(h)
            h = layers.Dropout(dropout)(h)
        h = layers.Dense(net.classes, name=f"dense{len(net.hidden) + 1}")(h)
        super().__init__(x, h, name="vgg")
        self.net, self.decay = net, decay

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return loss_keras(self, y_pred, y, self.decay)


def loss_keras(model, logits, labels, decay):
    """Cross-entropy, and half the decay times the sum of the squared weights of kernels."""
    costs = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    kernels = [w for w in model.weights if len(w.shape) > 1]
    return ops.mean(costs) + 0.5 * decay * sum(ops.sum(w * w) for w in kernels)


# %% tags=["export", "keras"]
def train_keras(images, labels, settings, report, begin=None):
    """Train on images (N, 28, 28), perhaps from weights of another task; `report` may stop it."""
    data.check_batch(settings.batch_size, len(images))
    net, weights = begun(settings, labels, begin)
    model, go = KerasVGG(net, settings.dropout, settings.decay), True
    parity.set_weights(model, weights)
    preview = functools.partial(preview_keras, model, images[:1])
    for stage in stages(settings):

        def told(step, logs, preview, first=stage.first):
            nonlocal go
            go = report(first + step, logs, preview)
            return go

        for layer in model.layers:
            layer.trainable = "dense" in layer.name or not stage.head_only
        steps = stage.end - stage.first
        rate = keras.optimizers.schedules.CosineDecay(stage.rate, steps)
        model.compile(keras.optimizers.SGD(rate, momentum=MOMENTUM))
        reporter = keras_callback(told, preview, every=10, steps=steps)
        kinds = {"steps_per_epoch": steps, "shuffle": False, "verbose": 0}
        model.fit(feed(images, labels, settings, stage), callbacks=[reporter], **kinds)
        if not go:
            break
    return model


# %% tags=["export", "keras"]
def logits_keras(model, images):
    """Logits (N, classes) of images (N, 28, 28); BatchNorm and dropout in evaluation mode."""
    return in_parts(lambda part: parity.to_numpy(model(grey(part), training=False)), images)


def maps_keras(model, images):
    """What each convolution makes of images: a list of arrays (N, H, W, channels)."""
    names = [layer.name.replace("conv", "relu") for layer in layers_of(model.net)]
    outputs = [model.get_layer(name).output for name in names if "relu" in name]
    maps = keras.Model(model.inputs[0], outputs)(grey(images), training=False)
    return [parity.to_numpy(found) for found in maps]


def preview_keras(model, images):
    """The same as a picture."""
    return glimpse(maps_keras(model, images))


ways["keras"] = Way(KerasVGG, train_keras, logits_keras, maps_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights and one batch go into each. BatchNorm makes two models of one, so both are
# compared: the logits in **evaluation** mode, then logits, loss and the gradient of every weight in
# **training** mode, and the moving averages after that batch (Keras's with the variance
# corrected by $n/(n-1)$, as in 07). Dropout is off.

# %%
rng = np.random.default_rng(SEED)
net = small("D", 8)
weights = start(net, "he", SEED)
for key in weights:  # moving averages, scales and shifts as after some training
    if "norm" in key:
        weights[key] = weights[key] + rng.uniform(0, 0.5, weights[key].shape).astype("float32")
x_same = rng.normal(size=(10, 28, 28, 1)).astype("float32")  # ten made-up images
y_same = np.arange(10)
evidence = {}  # framework -> the quantities to compare
seen = {norm_of(x): (1, 10 * x.out[0] * x.out[1]) for x in layers_of(net) if "conv" in x.name}


def averages(weights):
    """The moving averages among a model's weights."""
    return {key: value for key, value in weights.items() if "moving" in key}


# %% tags=["torch"]
model = TorchVGG(net, dropout=0.0).eval()
parity.set_weights(model, weights)
outputs = {"logits, evaluation": model(torch.as_tensor(x_same))}
model.train()
outputs["logits, training"] = logits = model(torch.as_tensor(x_same))
outputs["loss"] = loss = loss_torch(model, logits, torch.as_tensor(y_same), 5e-4)
gradients = parity.named_gradients(model, torch.autograd.grad(loss, parity.variables(model)))
evidence["torch"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["torch"]["gradients"] = gradients
evidence["torch"]["moving averages"] = averages(parity.get_weights(model))
parameters = parity.count(model)

# %% tags=["tensorflow"]
model = TFVGG(net, dropout=0.0)
parity.set_weights(model, weights)
outputs = {"logits, evaluation": model(tf.constant(x_same))}
with tf.GradientTape() as tape:
    outputs["logits, training"] = logits = model(tf.constant(x_same), training=True)
    outputs["loss"] = loss = loss_tf(model, logits, y_same, 5e-4)
gradients = tape.gradient(loss, parity.variables(model))
evidence["tensorflow"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["tensorflow"]["gradients"] = parity.named_gradients(model, gradients)
evidence["tensorflow"]["moving averages"] = averages(parity.get_weights(model))
parameters = parity.count(model)

# %% [markdown]
# Gradients are the one thing that `keras.ops` does not have, so here the code branches: a tape on
# TensorFlow, `autograd` on PyTorch.

# %% tags=["keras"]
import importlib

model = KerasVGG(net, dropout=0.0)
parity.set_weights(model, weights)
backend = importlib.import_module(keras.backend.backend())  # torch or tensorflow
found = [w.value for w in parity.variables(model)]
outputs = {"logits, evaluation": model(x_same, training=False)}
if keras.backend.backend() == "torch":
    outputs["logits, training"] = logits = model(x_same, training=True)
    outputs["loss"] = loss = loss_keras(model, logits, y_same, 5e-4)
    gradients = backend.autograd.grad(loss, found)
else:
    with backend.GradientTape() as tape:
        outputs["logits, training"] = logits = model(x_same, training=True)
        outputs["loss"] = loss = loss_keras(model, logits, y_same, 5e-4)
    gradients = tape.gradient(loss, found)
evidence["keras"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["keras"]["gradients"] = parity.named_gradients(model, gradients)
corrected = parity.unbiased(parity.get_weights(model), weights, seen)
evidence["keras"]["moving averages"] = averages(corrected)
parameters = parity.count(model)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### And the same as everybody's?
#
# A random dictionary in torchvision's layout of `vgg16_bn`, a sixteenth as wide (the tests compare the
# keys and shapes at full width), goes through all three. A missing or an extra key is an error that
# names it.

# %%
net16 = paper("D", norm=True)
thin = net16._replace(
    blocks=tuple(tuple((made // 16, size) for made, size in block) for block in net16.blocks),
    hidden=(64, 64),
    classes=10,
)
table = parity_torchvision.vgg([len(block) for block in thin.blocks], norm=True)
table = parity_torchvision.narrow(table, channels=32)
drawn = start(thin, "he", SEED)  # neutral; turned round into torchvision's layout
state = {}
for row in table:
    for theirs, ours in parity_torchvision.parts(row).items():
        value = drawn[f"{row.ours}.{ours}"]
        if ours == "kernel":
            if row.maps:  # rows H, W, C → C, H, W
                c, h, w = row.maps
                value = value.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(value.shape)
            value = value.T if value.ndim == 2 else value.transpose(3, 2, 0, 1)
        state[f"{row.theirs}.{theirs}"] = value
theirs = parity_torchvision.neutral(state, table)
photo = rng.normal(size=(1, 224, 224, 3)).astype("float32")
print(*list(state)[:8], "…", *list(state)[-2:], sep=", ")
try:
    parity_torchvision.neutral({k: v for k, v in state.items() if k != "features.1.bias"}, table)
except Exception as error:
    print(f"{type(error).__name__}: {error}")


# %% tags=["torch"]
def torchvision_layout(net):
    """The libraries' own layers, in the order in which their keys count them."""
    features, seen = [], net.channels
    for block in net.blocks:
        for made, _ in block:
            features += [nn.Conv2d(seen, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU()]
            seen = made
        features.append(nn.MaxPool2d(2, 2))
    first, second = net.hidden
    dense = [nn.Linear(seen * 7 * 7, first), nn.ReLU(), nn.Dropout()]
    dense += [nn.Linear(first, second), nn.ReLU(), nn.Dropout(), nn.Linear(second, net.classes)]
    parts = {"features": nn.Sequential(*features), "classifier": nn.Sequential(*dense)}
    return nn.ModuleDict(parts).eval()


standard = torchvision_layout(thin)
tensors = {key: torch.as_tensor(np.ascontiguousarray(value)) for key, value in state.items()}
standard.load_state_dict(tensors, strict=False)  # without the batch counters
with torch.no_grad():
    maps = standard["features"](torch.as_tensor(photo).permute(0, 3, 1, 2))
    expected = standard["classifier"](maps.flatten(1)).cpu().numpy()  # C, H, W
model = TorchVGG(thin).eval()
parity.set_weights(model, theirs)
evidence["torch"]["torchvision's layout"] = model(torch.as_tensor(photo)).detach().cpu().numpy()
gap = np.abs(evidence["torch"]["torchvision's layout"] - expected).max() / np.abs(expected).max()
print(f"the layout's own network and ours differ by at most {gap:.0e} of the largest logit")
with torch.device("meta"):  # shapes without memory: E alone would fill half a gigabyte
    for row in TABLE:
        print(f"{row}: {parity.count(TorchVGG(paper(row))):,} parameters")

# %% tags=["tensorflow"]
model = TFVGG(thin)
parity.set_weights(model, theirs)
evidence["tensorflow"]["torchvision's layout"] = model(tf.constant(photo)).numpy()

# %% tags=["keras"]
model = KerasVGG(thin)
parity.set_weights(model, theirs)
evidence["keras"]["torchvision's layout"] = parity.to_numpy(model(photo, training=False))

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
comparison = parity.compare(evidence, tolerance=1e-4)
print(*(f"{title}: {total:,} parameters" for title, total in counted.items()), sep="\n")
print(f"the small network: {parameters:,} parameters in each")
print(comparison.verdict())

# %% [markdown]
# The differences themselves (they vary from one processor to the next):

# %%
print(comparison.numbers())

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What everybody's weights expect of a picture
#
# The same layout, and still two kinds of weights. torchvision trained its own, on red, green, blue
# from 0 to 1, standardised. The authors' weights, which `keras.applications.VGG16` loads, come from
# Caffe: **blue first**, 0 to 255, only the mean taken off. Keras's `preprocess_input` does that; a
# division by 255 in its place raises no error, and costs what part 9 measures.


# %%
def for_torchvision(photo):  # bytes (…, 3), red first
    return (photo / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def for_caffe(photo):
    return photo[..., ::-1] - np.array([103.939, 116.779, 123.68])


orange = np.array([255, 165, 0], "uint8")
print("an orange pixel, as torchvision's VGG wants it", np.round(for_torchvision(orange), 2))
print("                 as Keras's VGG wants it      ", np.round(for_caffe(orange), 1))
print("                 divided by 255               ", np.round(orange / 255, 2))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Train it
#
# The preview shows eight maps of the first convolution and, below, of the last, for one training digit.
# The loss includes the weight decay's part, so it does not go to zero. *Frozen* matters when training
# begins with another network's features: from random ones it shows what a head alone can do.

# %%
base = QUICK if session.quick else FULL
controls = [
    Choice("row", base["row"], list(TABLE), help="of the table; its first three blocks"),
    Toggle("norm", base["norm"], help="a BatchNorm behind each convolution"),
    Choice("init", base["init"], ["he", "glorot", "0.1", "0.07", "0.01"], help="or a deviation"),
    Slider("dropout", base["dropout"], 0.0, 0.8, step=0.1, help="of the dense layers' units"),
    Slider("shift", base["shift"], 0, 4, help="pixels that images are moved by, at most"),
    Slider("width", base["width"], 8, 32, step=8, help="filters of the first layer"),
    Slider("learning_rate", base["learning_rate"], 1e-3, 1.0, log=True, help="at its highest"),
    Slider("decay", base["decay"], 1e-5, 1e-2, log=True, help="weight decay"),
    Slider("batch_size", base["batch_size"], 16, 512, step=16, help="images in a step"),
    Slider("steps", base["steps"], 10, max(5000, base["steps"]), step=10, help="of a batch each"),
    Slider("frozen", base["frozen"], 0, max(5000, base["steps"]), step=10, help="first steps"),
]


def right(way, model, images=1000):
    """Percent of the first test images that get their label."""
    guess = way.logits(model, x_test[:images]).argmax(axis=1)
    return 100 * float((guess == y_test[:images]).mean())


def summary(model, settings):
    """What the panel's table lists."""
    return {"test accuracy, %": right(ways[settings.framework], model)}


trainers = {n: functools.partial(way.train, x_train, y_train) for n, way in ways.items()}
panel = Panel(trainers, controls, title="A small VGG", summary=summary)
panel.show()

# %% [markdown]
# No front end is needed. The same from a script is one call:

# %%
name, *_ = ways  # the first of your frameworks
model = run(trainers[name], settings_of(controls, name, SEED, steps=60), "A small VGG", every=20)
print(f"{right(ways[name], model):.1f} % of 1,000 test images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A model that has had its time
#
# Ten epochs of a network twice as wide, in a file that loads into whichever framework you run.


# %%
def restored(name, checkpoint="11_vgg"):
    """The checkpoint's model in the framework `name`."""
    info = checkpoints.load(checkpoint).info
    model = ways[name].build(small(info["row"], info["width"]))
    checkpoints.load_into(model, checkpoint)
    return model


trained = {n: restored(n) for n in ways}
way, vgg, known = ways[name], trained[name], checkpoints.load("11_vgg").weights
print(f"{checkpoints.load('11_vgg').info['what']}, in {runtime.LABELS[name]}.")
five = x_test[int(np.argmax(y_test == 5))]
alt = "eight maps of the first layer, edges of a 5, and eight of the last, a few coarse blots"
plots.show(glimpse(way.maps(vgg, five[None])), alt=alt)

# %% [markdown]
# Above, edges and strokes, as sharp as the image; below, 7×7 places that say how much of something is
# there, and roughly where. Pooling has given away the place to win the meaning.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### What a unit sees, and what it waits for
#
# Choose a convolution and one of its filters. Above are the ten test images that excite it most; the
# frame is the **receptive field** of the unit that answers. Below is what lies inside the frame, all
# that this unit ever sees. Start at layer 1 and go up.

# %%
several, plan = x_test[:300], [x.name for x in layers_of(vgg.net) if "conv" in x.name]
reach, peaks = fields(vgg.net), []  # of each layer: 300×C values, and the places where they stand
for maps in way.maps(vgg, several):
    flat = maps.reshape(len(several), -1, maps.shape[-1])
    peaks.append((flat.max(axis=1), flat.argmax(axis=1), maps.shape[2]))


def box(layer, place, wide):
    """First and last row and column that the unit at a place of a layer's map sees."""
    low, high, step = reach[plan[layer - 1]]
    top, left = (int(at) * step for at in divmod(int(place), wide))
    ends = (top + low, top + high, left + low, left + high)
    return [min(max(end, 0), 27) for end in ends]


def framed(image, ends):
    """The image in colour with a frame, and what the frame holds, enlarged to the same size."""
    top, bottom, left, right = ends
    inside = image[top : bottom + 1, left : right + 1]
    rows, columns = (np.arange(28) * length // 28 for length in inside.shape)
    colour = np.repeat(image[..., None], 3, axis=2)
    for edge in ((top, slice(left, right + 1)), (bottom, slice(left, right + 1))):
        colour[edge] = 230, 120, 0
    for edge in ((slice(top, bottom + 1), left), (slice(top, bottom + 1), right)):
        colour[edge] = 230, 120, 0
    return colour, np.repeat(inside[rows][:, columns, None], 3, axis=2)


# %%
def excited(layer, number):
    """Ten images that excite a filter most, framed, and what it sees of each."""
    values, places, wide = peaks[layer - 1]
    number = min(number, values.shape[1]) - 1
    best = np.argsort(-values[:, number])[:10]
    pairs = [framed(several[i], box(layer, places[i, number], wide)) for i in best]
    whole, parts = zip(*pairs, strict=True)
    return plots.grid(np.stack([*whole, *parts]), columns=10, scale=2)


Explorer(
    excited,
    [
        Slider("layer", 4, 1, len(plan), help="which convolution"),
        Slider("number", 3, 1, 64, help="which of its filters"),
    ],
    title="What a unit sees",
    alt="above, ten test digits with a framed patch; below, the patches that excite a filter most",
).show()

# %% [markdown]
# The one shown first, the third filter of layer 4, sees 14×14 pixels and waits for a small **loop**:
# that of a 6, an 8, a 9, and the closed top of a 4. Layer 1 sees 3×3 pixels and knows an edge or a tone;
# from layer 6 on the field is larger than the digit.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Draw
#
# Your own digit, with mouse, finger or keyboard: where it excites the filter most, everything that the
# filter makes of it, and the probabilities.


# %%
def look(drawing, layer, number):
    """The drawing with the field of its most excited unit, the filter's map, the probabilities."""
    maps = way.maps(vgg, drawing[None])[layer - 1][0]
    number = min(number, maps.shape[-1]) - 1
    found = maps[..., number]
    odds = softmax(way.logits(vgg, drawing[None]))[0]
    fig, (left, middle, bars) = plots.figure(columns=3, width=9, height=3)
    left.imshow(framed(drawing, box(layer, found.argmax(), found.shape[1]))[0])
    middle.imshow(found, cmap="magma", vmin=0)
    bars.barh(digits.class_names, odds, color="#0072B2")
    bars.set(xlim=(0, 1), title=f"{digits.class_names[odds.argmax()]}: {odds.max():.1%}")
    bars.invert_yaxis()
    side = "×".join(map(str, found.shape))
    for ax, title in ((left, "what it sees"), (middle, f"{plan[layer - 1]}, {number + 1}: {side}")):
        ax.set(title=title, xticks=[], yticks=[])
    return fig


Explorer(
    look,
    [
        Drawing("drawing", five, help="mouse, finger or keyboard"),
        Slider("layer", 4, 1, len(plan), help="which convolution"),
        Slider("number", 3, 1, 64, help="which of its filters"),
    ],
    title="Draw a digit",
    alt="left, a digit with a framed patch; in the middle, a filter's map of it; right, probabilities",
).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### A deep plain network does not start
#
# The authors could not train E from random weights. They trained A, and began the others with A's first
# four convolutions and three dense layers; then, after submission, found that a start after Glorot and
# Bengio ([2010](https://proceedings.mlr.press/v9/glorot10a.html)) makes it unnecessary. Why? A ReLU
# layer multiplies the size of what passes by about $\sigma \sqrt{n_\text{in} / 2}$ (10). At full size,
# over all layers:

# %%
print("start            A         D         E")
for init in ("0.01", "0.1", "glorot", "he"):
    gains = []
    for row in "ADE":
        kernels = [x.kernel for x in layers_of(paper(row))[:-1]]
        logs = [math.log10(deviation(init, k) * math.sqrt(math.prod(k[:-1]) / 2)) for k in kernels]
        gains.append(f"{10 ** sum(logs):9.0e}")
    print(f"{init:<10}", *gains)

# %% [markdown]
# A deviation of 0.01 loses the image, in E five thousand times as much as in A. The paper's literal
# variance of 0.01 makes everything a hundred thousand to two billion times as large. Glorot's start
# loses two or three powers of ten, which can be borne; He et al.'s, by construction, none. Now our
# small A and E, without BatchNorm. Their layers are narrower, so the threshold lies elsewhere: at 0.07.
# **First commit to a prediction.**

# %%
STARTS = {
    "0.07": {"init": "0.07"},
    "grown from A": {"init": "0.07", "learning_rate": 0.02},
    "glorot": {"init": "glorot"},
    "0.07 and BatchNorm": {"init": "0.07", "norm": True},
}
exercises.predict(
    "A started at a deviation of 0.07 learns. E, four layers deeper, with the same start …",
    ["learns as well", "learns more slowly", "still guesses"],
    key="start",
)

# %%
PLAIN = {"norm": False, "dropout": 0.0, "width": 8, "batch_size": 64, "learning_rate": 0.05}
SHARED = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "dense1", "dense2", "dense3")
shallow = {**QUICK, **PLAIN, "row": "A", "init": "0.07", "steps": 120}
model = trainers[name](settings_of(controls, name, SEED, **shallow), lambda *_: True)
reached = {"A": right(way, model)}
from_a = {k: w for k, w in parity.get_weights(model).items() if k.split(".")[0] in SHARED}
print(f"A, 0.07                 {reached['A']:.1f} %")
for title, changes in STARTS.items():
    chosen = {**QUICK, **PLAIN, "row": "E", "steps": 100, **changes}
    chosen = settings_of(controls, name, SEED, **chosen)
    begin = from_a if "grown" in title else None
    reached[title] = right(way, trainers[name](chosen, lambda *_: True, begin=begin))
    print(f"E, {title:<20} {reached[title]:.1f} %")
most_common = 100 * np.bincount(y_test[:1000]).max() / len(y_test[:1000])
outcome = "learns more slowly"
if reached["0.07"] < most_common + 8:
    outcome = "still guesses"
elif reached["0.07"] > reached["A"] - 5:
    outcome = "learns as well"
exercises.reveal("start", outcome)

# %% [markdown]
# **Explain.** With the start that serves A, E guesses: four more layers shrink what passes, and the
# gradient on its way back, by another factor of about twenty. Three remedies, in the order of history:
# layers that have already learnt (the paper's; by *name*, since the fourth convolution of A does not
# have the shape of E's), kernels drawn to size, and BatchNorm, which measures what passes and
# sets it right. After 100 steps BatchNorm is far ahead, and it forgives the wrong start. A last warning:
# none of the plain starts is safe; other seeds do better or worse by tens of points.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The wrong range
#
# The trained network gets the test digits prepared otherwise. (Each function undoes what `grey` is about
# to do, so that the network sees exactly the range named.)

# %%
RANGES = {
    "standardised, as in training": lambda x: x,
    "0 to 1": lambda x: x / 255 * 79 + 33,
    "-1 to 1": lambda x: (x / 127.5 - 1) * 79 + 33,
    "0 to 255": lambda x: x.astype("float32") * 79 + 33,
    "standardised, ink and paper swapped": lambda x: 255 - x,
}
exercises.predict(
    "Digits from 0 to 1 in place of -0.4 to 2.8. The trained network, 99.5 % before, gets …",
    ["as many right", "some points less", "less than half"],
    key="range",
)

# %%
ranges = {}
for title, made in RANGES.items():
    guess = way.logits(vgg, made(x_test[:1000])).argmax(axis=1)
    ranges[title] = 100 * (guess == y_test[:1000]).mean()
    print(f"{title:<36} {ranges[title]:.1f} %")
outcome = "some points less"
if ranges["0 to 1"] > 98.5:
    outcome = "as many right"
elif ranges["0 to 1"] < 50:
    outcome = "less than half"
exercises.reveal("range", outcome)

# %% [markdown]
# **Explain.** No error, no warning, and four of ten digits misread. The first BatchNorm
# subtracts the mean and divides by the deviation of its *training* inputs, and every layer after it was
# tuned to what then comes. There is no law in which range hurts most: ten times the contrast harms
# less here than a third of it. The rule is only that **the range belongs to the weights**: whoever takes
# them takes it too. With a network of ImageNet's, that is the pixel of part 6.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### From digits to letters
#
# Two hundred letters, and a test in typefaces that no training letter has. What are features
# learnt from *digits* worth for them?

# %%
exercises.predict(
    "100 steps on 200 letters. Which way of learning does best on new typefaces?",
    list(TRANSFERS),
    key="transfer",
)

# %%
learned = {}
few = settings_of(controls, name, SEED, **{**FULL, **FEW})
for title, transfer in TRANSFERS.items():
    if session.quick and transfer.longer > 1:
        print(f"{title:<34} see part 10")
        continue
    learned[title] = learnt(way, letters, few, known, transfer)
    print(f"{title:<34} {learned[title]:.1f} %")
exercises.reveal("transfer", max(learned, key=learned.get))

# %% [markdown]
# **Explain.** Strokes, corners and loops serve letters as well. With one seed the order of the ways may
# change, so here is what three say (other training letters each time, PyTorch): from scratch 49 to
# 83 %, and with four times the steps 92 to 95; frozen 90 to 97; **frozen, then thawed, 97 to 99**;
# everything at once 95 to 99. So frozen features of another task are worth as much as four times the
# training, and thawed ones more; thawing helps in every seed; that the head should settle *first*, only in two of three. The usual reason
# for it is that a random head sends large, senseless gradients back into good features. In our small
# network they do little harm.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Frozen, and yet it moves
#
# Somebody freezes *all weights* of the digits' network, but leaves it in training mode while letters
# pass through: letters prepared as the digits were, letters divided by 255, and letters black on white.
# No weight changes. Afterwards the network reads its digits again, rightly prepared.

# %%
exercises.predict(
    "Twenty batches of letters black on white, all weights frozen. Then digits are read …",
    ["as before", "some points worse", "much worse"],
    key="mode",
)
drift = {}


def batches_of(made):
    """Twenty batches of letters, prepared in one of the ways of RANGES."""
    return [grey(made(letters.x_train[at : at + 50])) for at in range(0, 200, 50)] * 5


passing = {
    title: batches_of(RANGES[title])
    for title in ("standardised, as in training", "0 to 1", "standardised, ink and paper swapped")
}

# %% tags=["torch"]
drift["torch"] = {}
for title, batches in passing.items():
    model = restored("torch")
    model.train().requires_grad_(False)  # frozen?
    for x in batches:
        model(torch.as_tensor(x))
    drift["torch"][title] = right(ways["torch"], model)
print("PyTorch, requires_grad_(False):", drift["torch"])

# %% tags=["tensorflow"]
drift["tensorflow"] = {}
for title, batches in passing.items():
    model = restored("tensorflow")
    for x in batches:
        model(tf.constant(x), training=True)  # no tape, no optimiser: no weight can move
    drift["tensorflow"][title] = right(ways["tensorflow"], model)
print("TensorFlow, training=True:", drift["tensorflow"])

# %% tags=["keras"]
drift["keras"] = {}
for title, batches in passing.items():
    model = restored("keras")
    for x in batches:
        model(x, training=True)  # no step is taken
    drift["keras"][title] = right(ways["keras"], model)
print("Keras, training=True:", drift["keras"])
model = restored("keras")
model.trainable = False
for x in batches:  # the worst of them
    model(x, training=True)
print("Keras, trainable = False besides:", right(ways["keras"], model))

# %%
before, after = right(way, vgg), drift[name]["standardised, ink and paper swapped"]
outcome = "as before" if after > before - 1 else "some points worse"
exercises.reveal("mode", "much worse" if after < before - 10 else outcome)

# %% [markdown]
# **Explain.** The moving averages went over to the letters. Where letters look like digits, little is
# lost, and that is what makes the mistake hard to find; where they do not, the network has forgotten how to
# see. Its accuracy on letters, meanwhile, may look well, since in training mode each batch is
# normalised by itself. Only evaluation mode freezes a BatchNorm, and Keras's `trainable = False` is the
# one switch here that includes it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# On all test images, with Wilson's interval (10); in the quick profile the second and third framework
# read the first 2,000.


# %%
guesses = {}
for each, model in trained.items():
    shown = x_test[: 2000 if session.quick and each != name else None]
    guesses[each] = ways[each].logits(model, shown).argmax(axis=1)
    n = len(shown)
    hits = int((guesses[each] == y_test[:n]).sum())
    low, high = wilson(hits, n)
    print(
        f"{runtime.LABELS[each]:<10} {n:,} images: {100 * hits / n:.2f} %, "
        f"95 % interval {low:.2f} to {high:.2f}"
    )
same = all((guess == guesses[name][: len(guess)]).all() for guess in guesses.values())
print("All name the same digits." if same else "They do not all name the same digits.")

# %%
from utils import results

results.show("11_vgg")

# %% [markdown]
# The three frameworks agree, because they are one network. All three seeds reach 99.5 %, and none of
# them is as low as the best of the small AlexNet (99.43), which has as many parameters: 175,946
# against 174,970. That does not say *what* brought it: this network is deeper, has smaller windows,
# BatchNorm and less dropout, all at once. The paper's own comparison changed one thing at a time.

# %% [markdown]
# | beside it, on MNIST's test set | accuracy, % |
# |---|---|
# | a public notebook: ImageNet's VGG-16, frozen, its input merely divided by 255 | 95.05 |
# | small AlexNet (10), three seeds | 99.40 |
# | the course's [judge](../../utils/judge.py) | 99.47 |
# | ResNet-20, pre-activation, with cutout ([hysts](https://github.com/hysts/pytorch_image_classification)) | 99.75 |

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The mistakes
#
# Which digits are taken for which, and the mistakes that the network was surest of.

# %%
guess = guesses[name]
print(confusion(y_test, guess, digits.class_names))
missed = np.flatnonzero(guess != y_test)
sure = softmax(way.logits(vgg, x_test[missed]))[np.arange(len(missed)), guess[missed]]
worst = np.argsort(-sure)[:16]
images = missed[worst]
captions = [
    f"{y_test[i]} → {guess[i]}\n{odds:.0%}" for i, odds in zip(images, sure[worst], strict=True)
]
fig = plots.captioned(x_test[images], captions)
alt = "the sixteen surest mistakes, each with its label, the network's answer and its probability"
plots.show(fig, alt=alt)

# %% [markdown]
# A loop that is nearly closed or not quite, a 7 with a bow at its foot, a 4 whose top meets: the
# mistakes are about what makes one digit another, and some of them a reader would make too.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. Count it.** Configuration D for CIFAR's colour images of 32×32 pixels and ten classes, dense
# layers of 4,096 and all, without BatchNorm: one number, by hand.

# %%
questions.count.check(...)
# questions.count.hint()
# questions.count.solution()

# %% [markdown]
# **2. What a unit sees**, behind any layers, pooling included.


# %%
def field(layers):
    """layers: [(size, stride), …] from the input on → pixels, each way."""
    return ...  # your code


questions.field.check(field)

# %% [markdown]
# **3. Prepare a photograph** for the weights of 2014.


# %%
def caffe(photo):
    """Bytes (…, 3), red, green, blue → floats (…, 3) as Caffe's VGG wants them."""
    return ...  # your code


questions.caffe.check(caffe)

# %% [markdown]
# **4. Frozen?** One letter.

# %%
questions.frozen.ask()
questions.frozen.check(...)

# %% [markdown]
# **5. Change the data.** Any folder of images, or an IDX file such as Fashion-MNIST's, can take
# the letters' place, or MNIST's. Load one with `data.from_images(folder)` or
# `data.from_idx(images, labels)`, check it, and give its first 200 training pictures to `learnt` in part
# 9. Do features of digits help *your* pictures? When would you expect them to hurt?

# %%
my_pictures = ...  # data.from_images("…") or data.from_idx("…")
questions.other_data.check(my_pictures)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - One window, 3×3, one table, five networks: 132,863,336 to 143,667,240 parameters, three quarters of
#   D's in one dense layer. The memory of training lies at the other end, in the first outputs.
# - Two 3×3 see what one 5×5 sees, with fewer weights and one ReLU more.
# - A deep plain network starts if what passes keeps its size: grown, drawn to size, or normalised.
# - Transfer: take the features, freeze them, let the new head settle, thaw everything at a lower rate.
#   With the preprocessing they were trained with, and BatchNorm in evaluation mode while frozen.
# - Frozen weights are not a frozen layer. Keras's `trainable = False` means both, PyTorch's
#   `requires_grad_(False)` only the first.
#
# | take | when |
# |---|---|
# | VGG's convolutions | as features for something else: style transfer, perceptual losses, SSD (15) |
# | VGG's dense layers | never: average the maps instead |
# | BatchNorm | always, in a plain network of this depth |
# | frozen features | a few hundred pictures, a related task |
# | freeze, then thaw | the same, and a little time |
# | training from scratch | many pictures, or none alike |
# | ResNet (12) | for new work: deeper, smaller, easier to train |
#
# **Further reading.** Simonyan and Zisserman ([2015](https://arxiv.org/abs/1409.1556)), a model of an
# experiment that changes one thing; Ioffe and Szegedy ([2015](https://arxiv.org/abs/1502.03167)) on
# BatchNorm; Yosinski et al. ([2014](https://arxiv.org/abs/1411.1792)) on how transferable features
# are, layer by layer; Luo et al. ([2016](https://arxiv.org/abs/1701.04128)) on how little of its
# receptive field a unit really uses.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [ResNet](12_resnet.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/03_classifiers/12_resnet.ipynb))
# - **Previous:** [AlexNet](10_alexnet.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/03_classifiers/10_alexnet.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
