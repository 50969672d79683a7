# ---
# jupyter:
#   course:
#     title: "AlexNet"
#     summary: "The network that made computer vision learn its features: counted, proven the same in three frameworks, trained small, and taken apart."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "convolutions in three frameworks, and Adam by hand (01)"
#     objectives:
#       - "count the 60,965,224 parameters of AlexNet by hand, and say where nearly all of them are"
#       - "tell the paper's network from the one that libraries ship under its name"
#       - "write grouped convolutions, local response normalisation and momentum so that three frameworks agree"
#       - "load weights of torchvision's layout into all three, and know the trap that lies in flattening"
#       - "measure what ReLU, LRN, dropout and augmentation each buy, with an interval"
#       - "look at filters, feature maps and the worst mistakes of a classifier"
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
# # AlexNet
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/03_classifiers/10_alexnet.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/03_classifiers/10_alexnet.ipynb)
#
# The network that made computer vision learn its features: counted, proven the same in three frameworks, trained small, and taken apart.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** convolutions in three frameworks, and Adam by hand (01).
#
# **What you will be able to do:**
#
# - count the 60,965,224 parameters of AlexNet by hand, and say where nearly all of them are
# - tell the paper's network from the one that libraries ship under its name
# - write grouped convolutions, local response normalisation and momentum so that three frameworks agree
# - load weights of torchvision's layout into all three, and know the trap that lies in flattening
# - measure what ReLU, LRN, dropout and augmentation each buy, with an interval
# - look at filters, feature maps and the worst mistakes of a classifier

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

from utils import checkpoints, data, exercises, metrics, parity, parity_torchvision, plots, runtime
from utils.controls import Choice, Slider
from utils.drawing import Drawing
from utils.exercises import alexnet as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# Until 2012 most systems that named what is in a photograph computed features that people had
# designed, and learnt only the last step. Krizhevsky, Sutskever and Hinton
# ([2012](https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks))
# trained one convolutional network on 1.2 million images, **from pixels to 1,000 classes**, and won
# that year's ImageNet challenge with a top-5 error of **15.3 %**; the second-best entry had 26.2 %.
# (The 15.3 % are seven networks averaged, two of them pre-trained on a larger ImageNet. A single
# one had 18.2 % on the validation set.)
#
# Convolutional networks were not new: LeCun et al. ([1998](https://doi.org/10.1109/5.726791)) read
# digits with one. New was the size, made possible by labelled images and two graphics cards of 3
# GB, and by five decisions:
#
# | decision | what for |
# |---|---|
# | ReLU in place of tanh | the gradient does not fade where a unit is large: faster training |
# | local response normalisation (LRN) | units at one place compete across channels |
# | pooling windows of 3, two apart, so that they overlap | slightly better than windows of 2 |
# | dropout: half of the dense layers' hidden units, at random | 58 million parameters that would overfit |
# | augmentation: crops, mirror images, shifted colours | more images from the same ones |
#
# You will measure four of the five.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What you may have read
#
# - *"AlexNet uses small filters."* Its first are 11×11, four pixels apart, the next 5×5. Small
#   filters everywhere are VGG's idea (11).
# - *"AlexNet introduced ReLUs, dropout, data augmentation."* It used them together, and large. Each
#   is older, and the paper says where it comes from.
# - *"Input 224×224."* So says the paper; but then eleven pixels, four apart and without padding,
#   do not give its 55×55 outputs. 227 without padding does (Caffe), or 224 with a padding of 2
#   (torchvision). The parameters are the same.
# - *"torchvision's AlexNet is the paper's."* It is a later one of Krizhevsky's
#   ([2014](https://arxiv.org/abs/1404.5997), *One weird trick*): one column, other widths, and in
#   libraries no LRN. And not quite that either: the 2014 paper gives its fourth convolution 384
#   filters, the configuration file published with Krizhevsky's code 256, and libraries
#   [copied the file](https://github.com/pytorch/vision/pull/463).

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One table, three networks
#
# All there is to say about each stands in one table. `groups = 2` cuts a layer in two halves that
# do not see each other: the paper's two graphics cards, which only talk to each other in the
# third convolution and in the dense layers. The small one is ours: the same kinds of layers for
# 28×28 pixels, without the last pooling, since maps of 4×4 are small already.

# %% tags=["export"]
Net = collections.namedtuple("Net", "side channels convolutions hidden classes")
Conv = collections.namedtuple("Conv", "filters size stride padding groups then")

PAPER = Net(
    side=227,
    channels=3,
    convolutions=(
        Conv(96, 11, 4, 0, 1, "norm pool"),
        Conv(256, 5, 1, 2, 2, "norm pool"),
        Conv(384, 3, 1, 1, 1, ""),
        Conv(384, 3, 1, 1, 2, ""),
        Conv(256, 3, 1, 1, 2, "pool"),
    ),
    hidden=(4096, 4096),
    classes=1000,
)
ONE_COLUMN = PAPER._replace(  # the "one weird trick" version, as libraries ship it
    side=224,
    convolutions=(
        Conv(64, 11, 4, 2, 1, "pool"),
        Conv(192, 5, 1, 2, 1, "pool"),
        Conv(384, 3, 1, 1, 1, ""),
        Conv(256, 3, 1, 1, 1, ""),
        Conv(256, 3, 1, 1, 1, "pool"),
    ),
)


# %% tags=["export"]
SCALE = 2**0.75  # for part 9: what is left of LRN where its sum is next to nothing


def small(width=16, norm="LRN", classes=10):
    """AlexNet for grey 28×28 images; `width` filters in its first layer."""
    after = {"LRN": "norm pool", "constant": "scale pool", "none": "pool"}[norm]
    convolutions = (
        Conv(width, 7, 1, 0, 1, after),
        Conv(2 * width, 5, 1, 2, 2, after),
        Conv(3 * width, 3, 1, 1, 1, ""),
        Conv(3 * width, 3, 1, 1, 2, ""),
        Conv(2 * width, 3, 1, 1, 2, ""),
    )
    return Net(28, 1, convolutions, (192, 192), classes)


# %% [markdown] slideshow={"slide_type": "subslide"}
# Sizes follow. A window of $k$ pixels, $s$ apart, on $n$ pixels padded by $p$ at each end fits in
# $\lfloor (n + 2p - k) / s \rfloor + 1$ places. A filter sees `channels / groups` inputs.


# %% tags=["export"]
Layer = collections.namedtuple("Layer", "name kernel out")


def layers_of(net):
    """Name, kernel's shape and output's shape of each layer with weights."""
    found, side, channels = [], net.side, net.channels
    for number, c in enumerate(net.convolutions, start=1):
        side = (side + 2 * c.padding - c.size) // c.stride + 1
        kernel = (c.size, c.size, channels // c.groups, c.filters)
        found.append(Layer(f"conv{number}", kernel, (side, side, c.filters)))
        channels = c.filters
        if "pool" in c.then:
            side = (side - 3) // 2 + 1
    units = side * side * channels
    for number, width in enumerate((*net.hidden, net.classes), start=len(found) + 1):
        found.append(Layer(f"dense{number}", (units, width), (width,)))
        units = width
    return found


def parameters_of(layer):
    """A kernel's numbers and a bias for each output."""
    return math.prod(layer.kernel) + layer.kernel[-1]


# %%
totals = {}
for title, net in {"Krizhevsky et al. 2012": PAPER, "one column": ONE_COLUMN}.items():
    print(f"{title}\nlayer    kernel            output            parameters")
    for layer in layers_of(net):
        kernel, out = ("×".join(map(str, shape)) for shape in (layer.kernel, layer.out))
        print(f"{layer.name:<8} {kernel:<17} {out:<17} {parameters_of(layer):>10,}")
    totals[title] = sum(map(parameters_of, layers_of(net)))
    dense = sum(parameters_of(layer) for layer in layers_of(net) if "dense" in layer.name)
    share = 100 * dense / totals[title]
    print(f"{'in all':<44} {totals[title]:>10,}, {share:.0f} % of them dense\n")

# %% [markdown]
# Narrower convolutions, and yet more parameters: without groups each filter sees all channels.
# In both, the dense layers hold 96 % of the parameters. (The convolutions do most of the
# arithmetic: each of their weights is used at every place.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST digits. Grey values are brought to about mean 0 and standard deviation 1 with two numbers
# (the paper subtracts the training set's mean from each pixel).

# %%
digits = data.mnist()
print(digits.describe())
x_train, y_train = digits.x_train, digits.y_train  # N×28×28, uint8; N
x_test, y_test = digits.x_test, digits.y_test


# %% tags=["export"]
def grey(images):
    """Bytes (N, 28, 28) as the network's input (N, 28, 28, 1): MNIST's mean is 33, its std 79."""
    return ((images.astype("float32") - 33) / 79)[..., None]


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### More images from the same ones
#
# The paper cuts windows of 224 pixels at random from images of 256. We pad by 2 and cut 28 from 32:
# the same thing, to scale. It also mirrors images; **digits must not be mirrored**, since a
# mirrored 2 is no 2, and a mirrored 3 might pass for another label. An augmentation is a claim
# about the labels: *this change does not matter*. All images wait in memory as bytes, and a batch
# is one indexing operation.


# %% tags=["export"]
def crops(images, most, rng):
    """Each image (N, side, side) shifted by up to `most` pixels, black where nothing is."""
    if not most:
        return images
    side, places = images.shape[1], 2 * most + 1
    padded = np.pad(images, [(0, 0), (most, most), (most, most)])
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    down, right = rng.integers(places, size=(2, len(images)))
    return views[np.arange(len(images)), down, right]


# %%
sheet = np.concatenate(
    [x_test[:2], crops(x_test[[0] * 9 + [1] * 9], 2, np.random.default_rng(SEED))]
)
alt = "two test digits, each followed by nine copies, shifted by up to two pixels"
order = [0, *range(2, 11), 1, *range(11, 20)]
plots.show(plots.grid(sheet[order], columns=10, scale=2), alt=alt)

# %% [markdown]
# ### What the three sections share
#
# The batches, the learning rate, and the **start**: weights are drawn here, once, so that the three
# networks begin as one. The paper draws from a normal distribution with a standard deviation of
# 0.01, and starts biases at 1 where that gives ReLUs something to work with. We use He et al.'s
# ([2015](https://arxiv.org/abs/1502.01852)) $\sqrt{2 / n_\text{in}}$, which came three years later;
# part 9 shows why. Only the first and the last layer start smaller, at 0.02: the last one so that
# the first steps are gentle, the first one so that you will see what its filters learn, and not
# what they started from. The rate falls along half a cosine; the paper divided it by 10 three
# times, by hand, whenever the validation error stopped falling.

# %% tags=["export"]
QUICK = {"width": 8, "activation": "relu", "norm": "LRN", "dropout": 0.5, "shift": 2}
QUICK |= {"init": "he", "learning_rate": 0.05, "decay": 5e-4, "batch_size": 128, "steps": 150}
FULL = {**QUICK, "width": 16, "steps": 10 * 468}  # 10 epochs
MOMENTUM = 0.9

Way = collections.namedtuple("Way", "build train logits maps")
ways = {}  # framework -> its four functions, filled by the sections


def start(net, init, seed):
    """Weights to begin with, under neutral names: "he" or "paper"."""
    rng, weights = np.random.default_rng(seed), {}
    ones = ("conv2", "conv4", "conv5", "dense6", "dense7") if init == "paper" else ()
    for name, kernel, _ in layers_of(net):
        std = 0.01 if init == "paper" else math.sqrt(2 / math.prod(kernel[:-1]))
        if init == "he" and name in ("conv1", "dense8"):
            std = 0.02
        weights[f"{name}.kernel"] = rng.normal(0, std, kernel).astype("float32")
        weights[f"{name}.bias"] = np.full(kernel[-1], float(name in ones), "float32")
    return weights


def net_of(settings, labels):
    """The small network that the settings ask for, with a class for each label."""
    return small(settings.width, settings.norm, int(labels.max()) + 1)


# %% tags=["export"]
def learning_rate(step, settings):
    """The rate of a step, counted from 0: half a cosine from its start down to zero."""
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


def feed(images, labels, settings, begin=0):
    """What each step eats: images (B, 28, 28), bytes, freshly cropped, and labels (B,)."""
    n = data.check_batch(settings.batch_size, len(images))
    rng = np.random.default_rng([settings.seed, begin])
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    for index in itertools.islice(itertools.chain.from_iterable(epochs), settings.steps - begin):
        yield crops(images[index], settings.shift, rng), labels[index].astype("int64")


def in_parts(function, images, size=500):
    """What `function` makes of images, a part at a time."""
    parts = (images[at : at + size] for at in range(0, len(images), size))
    return np.concatenate([function(part) for part in parts])


def softmax(logits):
    """Probabilities from logits (N, classes)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def five_crops(logits, images, most=2):
    """Probabilities of images, averaged over the middle and four crops at the corners."""
    side, padded = images.shape[1], np.pad(images, [(0, 0), (most, most), (most, most)])
    places = [(most, most), *itertools.product((0, 2 * most), repeat=2)]
    views = [padded[:, down : down + side, right : right + side] for down, right in places]
    return np.mean([softmax(logits(view)) for view in views], axis=0)


# %% tags=["export"]
def filters(model):
    """A picture: the first layer's filters, each stretched from black to white."""
    kernel = parity.get_weights(model)["conv1.kernel"][:, :, 0].transpose(2, 0, 1)  # width×7×7
    low, high = kernel.min(axis=(1, 2), keepdims=True), kernel.max(axis=(1, 2), keepdims=True)
    return plots.grid((kernel - low) / (high - low + 1e-9), columns=4, pad=1, scale=6)


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* The LRN of the paper divides each output $a^i$, after the ReLU,
# by what its neighbours in the channel direction do at the same place:
#
# $$b^i = a^i \Big/ \Big(k + \alpha \sum_{j = i - 2}^{i + 2} (a^j)^2\Big)^\beta,
#   \qquad k = 2,\; n = 5,\; \alpha = 10^{-4},\; \beta = 0.75.$$
#
# **A trap:** PyTorch's `local_response_norm` divides α by the window's $n = 5$. What the paper
# calls $10^{-4}$ is $5 \cdot 10^{-4}$ there, and its default for $k$ is 1. It also took
# twice the time of all the rest of our network, on our CPU. A sum over neighbouring channels is a 1×1 convolution whose
# kernel has ones in a band around the diagonal; so that is what we use, and part 6 compares.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


def lrn_torch(x):  # B×C×H×W → the same
    channel = torch.arange(x.shape[1])
    band = ((channel[:, None] - channel).abs() <= 2).to(x)  # C×C: 1 for each neighbour
    around = F.conv2d(x * x, band[:, :, None, None])
    return x * (2.0 + 1e-4 * around) ** -0.75


# %% tags=["export", "torch"]
class TorchAlexNet(nn.Module):
    """Any network of the table; images come and maps go channels last, as in the other two."""

    def __init__(self, net, activation="relu", dropout=0.5):
        super().__init__()
        self.net, self.dropout = net, dropout
        self.activation = {"relu": F.relu, "tanh": torch.tanh}[activation]
        plan, settings = layers_of(net), net.convolutions
        for layer, c in zip(plan, settings, strict=False):
            seen = layer.kernel[2] * c.groups
            conv = nn.Conv2d(seen, c.filters, c.size, c.stride, c.padding, groups=c.groups)
            self.add_module(layer.name, conv)
        self.dense = [layer.name for layer in plan[len(settings) :]]
        for layer in plan[len(settings) :]:
            self.add_module(layer.name, nn.Linear(*layer.kernel))
        self.to(memory_format=torch.channels_last)  # how they lie in memory: a quarter faster here

    def maps(self, x):  # B×H×W×C
        """What each convolution makes, after its activation, and what the dense layers get."""
        x, found = x.permute(0, 3, 1, 2), []  # B×C×H×W
        for number, c in enumerate(self.net.convolutions, start=1):
            x = self.activation(getattr(self, f"conv{number}")(x))
            found.append(x.permute(0, 2, 3, 1))
            x = lrn_torch(x) if "norm" in c.then else x
            x = x / SCALE if "scale" in c.then else x
            x = F.max_pool2d(x, 3, 2) if "pool" in c.then else x
        return found, x.permute(0, 2, 3, 1).flatten(1)  # channels last before it is flattened

    def forward(self, x):  # B×H×W×C → B×classes, logits
        _, x = self.maps(x)
        for name in self.dense[:-1]:
            x = self.activation(getattr(self, name)(x))
            x = F.dropout(x, self.dropout, self.training)
        return getattr(self, self.dense[-1])(x)


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The loss and the step
#
# The paper's update for a weight $w$ with the gradient $g$, the rate ε and a *velocity* $v$:
#
# $$v \leftarrow 0.9\, v - 0.0005\, \varepsilon\, w - \varepsilon\, g, \qquad w \leftarrow w + v.$$
#
# $0.0005\, w$ is the gradient of $\frac{0.0005}{2} w^2$, so **weight decay** is a term of the loss
# here (of kernels only). The rate stands *inside* the velocity. `torch.optim.SGD` keeps it outside:
# $v \leftarrow 0.9 v + g$, $w \leftarrow w - \varepsilon v$. With a constant rate that is the same;
# the moment the rate changes it is not. So we write the paper's rule.


# %% tags=["export", "torch"]
def loss_torch(model, logits, labels, decay):
    """Cross-entropy, and half the decay times the sum of the squared weights of kernels."""
    squares = sum((w**2).sum() for w in model.parameters() if w.dim() > 1)
    return F.cross_entropy(logits, labels) + 0.5 * decay * squares


class TorchMomentum:
    """v ← 0.9 v − ε g, w ← w + v: the paper's rule, and Keras's."""

    def __init__(self, parameters):
        self.parameters = list(parameters)
        self.velocities = [torch.zeros_like(w) for w in self.parameters]

    @torch.no_grad()
    def step(self, rate):
        for w, v in zip(self.parameters, self.velocities, strict=True):
            w.add_(v.mul_(MOMENTUM).sub_(rate * w.grad))
            w.grad = None


# %% tags=["export", "torch"]
def train_torch(images, labels, settings, report):
    """Train on uint8 images (N, 28, 28); stop when the steps are done or `report` says so."""
    net = net_of(settings, labels)
    model = TorchAlexNet(net, settings.activation, settings.dropout).train()
    parity.set_weights(model, start(net, settings.init, settings.seed))
    momentum = TorchMomentum(model.parameters())
    for step, (x, y) in enumerate(feed(images, labels, settings), start=1):
        logits = model(torch.as_tensor(grey(x)))
        loss = loss_torch(model, logits, torch.as_tensor(y), settings.decay)
        loss.backward()
        momentum.step(learning_rate(step - 1, settings))
        if step % 10 == 0:
            preview = functools.partial(filters, model)
            if not report(step, {"loss": loss.item()}, preview):
                break
    return model


@torch.no_grad()
def logits_torch(model, images):
    """Logits (N, classes) of images (N, 28, 28), bytes; dropout is off."""
    model.eval()
    return in_parts(lambda part: model(torch.as_tensor(grey(part))).cpu().numpy(), images)


@torch.no_grad()
def maps_torch(model, images):
    """What each convolution makes of images: a list of arrays (N, H, W, channels)."""
    return [parity.to_numpy(found) for found in model.maps(torch.as_tensor(grey(images)))[0]]


ways["torch"] = Way(TorchAlexNet, train_torch, logits_torch, maps_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* Three traps:
#
# - **Groups.** `tf.nn.conv2d` takes a kernel that expects half of the channels and uses it for two
#   halves. On a CPU its *gradient* cannot be relied on: our network's fails with a complaint about
#   the kernel's size. So each half is convolved by itself, as on two graphics cards.
# - **Padding is written out.** `"SAME"` would pad 224 pixels, eleven at a time and four apart, to
#   56 outputs, not 55; and where it needs an odd number it pads below and to the right. The same for
#   pooling: `"VALID"` is PyTorch's.
# - **LRN counts otherwise again.** `depth_radius` is 2 for a window of 5, and α is not divided.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import Dense  # built by hand in 01_autoencoder


class Convolution(tf.Module):
    """A convolution with explicit padding; a kernel of fewer channels than x means groups."""

    def __init__(self, kernel, stride, padding):
        super().__init__()
        self.kernel = tf.Variable(tf.zeros(kernel))  # size×size×channels/groups×filters
        self.bias = tf.Variable(tf.zeros(kernel[-1]))
        self._stride, self._pads = stride, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]

    def __call__(self, x):  # B×H×W×channels
        groups = x.shape[3] // self.kernel.shape[2]
        halves = zip(tf.split(x, groups, 3), tf.split(self.kernel, groups, 3), strict=True)
        found = [tf.nn.conv2d(part, kernel, self._stride, self._pads) for part, kernel in halves]
        return tf.concat(found, axis=3) + self.bias


def lrn_tf(x):  # B×H×W×C → the same
    return tf.nn.local_response_normalization(x, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)


# %% tags=["export", "tensorflow"]
class TFAlexNet(tf.Module):
    """Any network of the table."""

    def __init__(self, net, activation="relu", dropout=0.5):
        super().__init__()
        self.net, self.dropout = net, dropout
        self.activation = {"relu": tf.nn.relu, "tanh": tf.tanh}[activation]
        plan, settings = layers_of(net), net.convolutions
        for layer, c in zip(plan, settings, strict=False):
            setattr(self, layer.name, Convolution(layer.kernel, c.stride, c.padding))
        self.dense = [layer.name for layer in plan[len(settings) :]]
        for layer in plan[len(settings) :]:
            setattr(self, layer.name, Dense(*layer.kernel))

    def maps(self, x):  # B×H×W×C
        """What each convolution makes, after its activation, and what the dense layers get."""
        found = []
        for number, c in enumerate(self.net.convolutions, start=1):
            x = self.activation(getattr(self, f"conv{number}")(x))
            found.append(x)
            x = lrn_tf(x) if "norm" in c.then else x
            x = x / SCALE if "scale" in c.then else x
            x = tf.nn.max_pool2d(x, 3, 2, "VALID") if "pool" in c.then else x
        return found, tf.reshape(x, (-1, math.prod(x.shape[1:])))

    def __call__(self, x, training=False):  # B×H×W×C → B×classes, logits
        _, x = self.maps(x)
        for name in self.dense[:-1]:
            x = self.activation(getattr(self, name)(x))
            x = tf.nn.dropout(x, self.dropout) if training else x
        return getattr(self, self.dense[-1])(x)


# %% tags=["export", "tensorflow"]
def loss_tf(model, logits, labels, decay):
    """Cross-entropy, and half the decay times the sum of the squared weights of kernels."""
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    squares = tf.add_n([tf.reduce_sum(w**2) for w in parity.variables(model) if w.shape.rank > 1])
    return tf.reduce_mean(costs) + 0.5 * decay * squares


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model, velocities and step count: everything that a long run needs to resume."""

    def __init__(self, settings, net):
        super().__init__()
        self.model = TFAlexNet(net, settings.activation, settings.dropout)
        parity.set_weights(self.model, start(net, settings.init, settings.seed))
        self.weights, self.decay = parity.variables(self.model), settings.decay
        self.velocities = [tf.Variable(tf.zeros_like(w)) for w in self.weights]
        self.count = tf.Variable(0, dtype=tf.int64)

    def step(self, x, labels, rate):
        """One step of the paper's momentum; returns the loss."""
        with tf.GradientTape() as tape:
            loss = loss_tf(self.model, self.model(x, training=True), labels, self.decay)
        gradients = tape.gradient(loss, self.weights)
        for w, v, g in zip(self.weights, self.velocities, gradients, strict=True):
            v.assign(MOMENTUM * v - rate * g)
            w.assign_add(v)
        self.count.assign_add(1)
        return loss

    @tf.function
    def steps(self, batches, rates):
        """A step for each of the rates, in one graph; returns the last one's loss."""
        loss = tf.constant(0.0)
        for rate in rates:
            loss = self.step(*next(batches), rate)
        return loss


# %% tags=["export", "tensorflow"]
def stream(images, labels, settings, begin=0):
    """A tf.data stream of `feed`'s steps, prepared while the graph is busy with earlier ones."""
    kinds = tf.TensorSpec([None, 28, 28], tf.uint8), tf.TensorSpec([None], tf.int64)
    steps = functools.partial(feed, images, labels, settings, begin)
    batches = tf.data.Dataset.from_generator(steps, output_signature=kinds)

    def to_grey(x, y):
        return (tf.cast(x, tf.float32)[..., None] - 33) / 79, y  # B×28×28×1

    return batches.map(to_grey).prefetch(4)


def train_tf(images, labels, settings, report, trainer=None):
    """Train on uint8 images (N, 28, 28); with a `trainer`, go on from where it stands."""
    data.check_batch(settings.batch_size, len(images))
    trainer = trainer or TFTrainer(settings, net_of(settings, labels))
    step = int(trainer.count)
    batches = iter(stream(images, labels, settings, step))
    preview = functools.partial(filters, trainer.model)
    while step < settings.steps:
        ahead = range(step, min(step + 10, settings.steps))
        rates = tf.constant([learning_rate(at, settings) for at in ahead])
        loss = float(trainer.steps(batches, rates))
        step += len(ahead)
        if not report(step, {"loss": loss}, preview):
            break
    return trainer.model


# %% tags=["export", "tensorflow"]
def logits_tf(model, images):
    """Logits (N, classes) of images (N, 28, 28), bytes; dropout is off."""
    return in_parts(lambda part: model(tf.constant(grey(part))).numpy(), images)


def maps_tf(model, images):
    """What each convolution makes of images: a list of arrays (N, H, W, channels)."""
    return [found.numpy() for found in model.maps(tf.constant(grey(images)))[0]]


ways["tensorflow"] = Way(TFAlexNet, train_tf, logits_tf, maps_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* Grouped convolutions, pooling and dropout are layers. LRN is not: no Keras 3 layer
# has it, so it is three lines of `keras.ops`. Keras's `weight_decay` is another trap: it shrinks
# weights *beside* the momentum (decoupled, Loshchilov and Hutter,
# [2019](https://arxiv.org/abs/1711.05101)), while the paper's passes through it. So the decay
# stays in the loss.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


class GroupedConv2D(layers.Conv2D):
    """Keras's own, but each group by itself: its way on TensorFlow is compiled, and slow here."""

    def convolution_op(self, inputs, kernel):
        parts = ops.split(inputs, self.groups, axis=-1), ops.split(kernel, self.groups, axis=-1)
        groups = zip(*parts, strict=True)
        found = [ops.conv(x, part, self.strides, self.padding) for x, part in groups]
        return ops.concatenate(found, axis=-1)


class LRN(layers.Layer):
    """Local response normalisation with the constants of Krizhevsky et al. (2012)."""

    def call(self, x):  # B×H×W×C → the same
        channel = ops.arange(x.shape[-1])
        band = ops.cast(ops.abs(channel[:, None] - channel) <= 2, x.dtype)  # C×C: neighbours
        return x * (2.0 + 1e-4 * ops.matmul(x * x, band)) ** -0.75


# %% tags=["export", "keras"]
class KerasAlexNet(keras.Model):
    """Any network of the table."""

    def __init__(self, net, activation="relu", dropout=0.5, decay=0.0):
        x = h = keras.Input((net.side, net.side, net.channels))
        plan = layers_of(net)
        for layer, c in zip(plan, net.convolutions, strict=False):
            h = layers.ZeroPadding2D(c.padding)(h) if c.padding else h
            kinds = {"strides": c.stride, "groups": c.groups, "activation": activation}
            h = GroupedConv2D(c.filters, c.size, name=layer.name, **kinds)(h)
            h = LRN()(h) if "norm" in c.then else h
            h = layers.Rescaling(1 / SCALE)(h) if "scale" in c.then else h
            h = layers.MaxPooling2D(3, 2)(h) if "pool" in c.then else h
        h = layers.Flatten()(h)
        for layer in plan[len(net.convolutions) : -1]:
            h = layers.Dense(layer.kernel[1], activation=activation, name=layer.name)(h)
            h = layers.Dropout(dropout)(h)
        super().__init__(x, layers.Dense(net.classes, name=plan[-1].name)(h), name="alexnet")
        self.net, self.decay = net, decay

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return loss_keras(self, y_pred, y, self.decay)


def loss_keras(model, logits, labels, decay):
    """Cross-entropy, and half the decay times the sum of the squared weights of kernels."""
    costs = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    kernels = [w for w in model.trainable_variables if len(w.shape) > 1]
    return ops.mean(costs) + 0.5 * decay * sum(ops.sum(w * w) for w in kernels)


# %% tags=["export", "keras"]
def train_keras(images, labels, settings, report):
    """Train on uint8 images (N, 28, 28); stop when the steps are done or `report` says so."""
    data.check_batch(settings.batch_size, len(images))
    net = net_of(settings, labels)
    model = KerasAlexNet(net, settings.activation, settings.dropout, settings.decay)
    parity.set_weights(model, start(net, settings.init, settings.seed))
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    model.compile(keras.optimizers.SGD(rate, momentum=MOMENTUM))
    reporter = keras_callback(
        report, functools.partial(filters, model), every=10, steps=settings.steps
    )
    batches = ((grey(x), y) for x, y in feed(images, labels, settings))
    kinds = {"steps_per_epoch": settings.steps, "shuffle": False, "verbose": 0}
    model.fit(batches, callbacks=[reporter], **kinds)
    return model


def logits_keras(model, images):
    """Logits (N, classes) of images (N, 28, 28), bytes; dropout is off."""
    return in_parts(lambda part: parity.to_numpy(model(grey(part), training=False)), images)


def maps_keras(model, images):
    """What each convolution makes of images: a list of arrays (N, H, W, channels)."""
    names = [layer.name for layer in layers_of(model.net) if "conv" in layer.name]
    outputs = [model.get_layer(name).output for name in names]
    maps = keras.Model(model.inputs[0], outputs)(grey(images))
    return [parity.to_numpy(found) for found in maps]


ways["keras"] = Way(KerasAlexNet, train_keras, logits_keras, maps_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights and one batch go into each model: logits, loss (with its decay) and the
# gradient of every weight must agree. Dropout is off; it draws its masks from other generators.
# The weights are ten times as large as usual, so that LRN has something to do.

# %%
rng = np.random.default_rng(SEED)
net = small(8)
weights = {name: 3 * value for name, value in start(net, "he", SEED).items()}
x_same = rng.normal(size=(10, 28, 28, 1)).astype("float32")  # ten made-up images
y_same = np.arange(10)
evidence = {}  # framework -> the quantities to compare

# %% tags=["torch"]
model = TorchAlexNet(net).eval()
parity.set_weights(model, weights)
logits = model(torch.as_tensor(x_same))
loss = loss_torch(model, logits, torch.as_tensor(y_same), 5e-4)
gradients = parity.named_gradients(model, torch.autograd.grad(loss, parity.variables(model)))
outputs = {"logits": logits, "loss": loss}
evidence["torch"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["torch"]["gradients"] = gradients
parameters = parity.count(model)
maps = torch.rand(2, 12, 5, 5) * 100
library = F.local_response_norm(maps, size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)
print(f"our LRN and PyTorch's differ by at most {(lrn_torch(maps) - library).abs().max():.0e}")
literal = F.local_response_norm(maps, size=5, alpha=1e-4, beta=0.75, k=2.0)
print(f"with the paper's α put in as it is: by {(lrn_torch(maps) - literal).abs().max():.1f}")

# %% tags=["tensorflow"]
model = TFAlexNet(net)
parity.set_weights(model, weights)
with tf.GradientTape() as tape:
    logits = model(tf.constant(x_same))
    loss = loss_tf(model, logits, y_same, 5e-4)
gradients = tape.gradient(loss, parity.variables(model))
outputs = {"logits": logits, "loss": loss}
evidence["tensorflow"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["tensorflow"]["gradients"] = parity.named_gradients(model, gradients)
parameters = parity.count(model)

# %% [markdown]
# Gradients are the one thing that `keras.ops` does not have, so here the code branches: a tape on
# TensorFlow, `autograd` on PyTorch.

# %% tags=["keras"]
import importlib

model = KerasAlexNet(net)
parity.set_weights(model, weights)
backend = importlib.import_module(keras.backend.backend())  # torch or tensorflow
found = [w.value for w in parity.variables(model)]
if keras.backend.backend() == "torch":
    logits = model(x_same)
    loss = loss_keras(model, logits, y_same, 5e-4)
    gradients = backend.autograd.grad(loss, found)
else:
    with backend.GradientTape() as tape:
        logits = model(x_same)
        loss = loss_keras(model, logits, y_same, 5e-4)
    gradients = tape.gradient(loss, found)
outputs = {"logits": logits, "loss": loss}
evidence["keras"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["keras"]["gradients"] = parity.named_gradients(model, gradients)
parameters = parity.count(model)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### And the same as everybody's?
#
# Weights of AlexNet travel in **torchvision's layout**: a dictionary with keys such as
# `features.0.weight` and `classifier.1.weight`. `utils.parity_torchvision` has a table that says
# which key is which layer, and one trap to mind: torchvision flattens maps *channels first*, so the
# rows of the first dense kernel stand in another order. Here a random dictionary of that layout, a
# sixteenth as wide (the tests do it at full width), goes through all three.

# %%
thin = ONE_COLUMN._replace(
    convolutions=tuple(c._replace(filters=c.filters // 16) for c in ONE_COLUMN.convolutions),
    hidden=(64, 64),
    classes=10,
)
table = parity_torchvision.narrow(parity_torchvision.ALEXNET, channels=16)
state = {}  # torchvision's layout: kernels have their output first
for row, layer in zip(table, layers_of(thin), strict=True):
    shape = layer.kernel[::-1] if row.kind == "dense" else [layer.kernel[i] for i in (3, 2, 0, 1)]
    scale = math.sqrt(2 / math.prod(layer.kernel[:-1]))
    state[f"{row.theirs}.weight"] = rng.normal(0, scale, shape).astype("float32")
    state[f"{row.theirs}.bias"] = rng.normal(0, 0.1, shape[0]).astype("float32")
theirs = parity_torchvision.neutral(state, table)
photo = rng.normal(size=(1, 224, 224, 3)).astype("float32")
print(*state, sep=", ")

# %% [markdown]
# `TorchvisionLayout` is not ours: these are the layers of libraries, in the order in which their
# keys count them. (Its dropout comes *before* each dense layer; the paper's, and ours, after.)


# %% tags=["torch"]
class TorchvisionLayout(nn.Module):
    def __init__(self, a, b, c, d, e, hidden, classes):
        super().__init__()
        relu, pool = functools.partial(nn.ReLU, inplace=True), functools.partial(nn.MaxPool2d, 3, 2)
        self.features = nn.Sequential(
            *(nn.Conv2d(3, a, 11, 4, 2), relu(), pool()),
            *(nn.Conv2d(a, b, 5, padding=2), relu(), pool()),
            *(nn.Conv2d(b, c, 3, padding=1), relu()),
            *(nn.Conv2d(c, d, 3, padding=1), relu()),
            *(nn.Conv2d(d, e, 3, padding=1), relu(), pool()),
        )
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(e * 6 * 6, hidden), relu()),
            *(nn.Dropout(), nn.Linear(hidden, hidden), relu()),
            nn.Linear(hidden, classes),
        )

    def forward(self, x):  # B×3×224×224
        return self.classifier(self.features(x).flatten(1))  # C, H, W


standard = TorchvisionLayout(4, 12, 24, 16, 16, 64, 10).eval()
standard.load_state_dict({key: torch.as_tensor(value) for key, value in state.items()})
expected = standard(torch.as_tensor(photo).permute(0, 3, 1, 2)).detach().cpu().numpy()
model = TorchAlexNet(thin).eval()
parity.set_weights(model, theirs)
evidence["torch"]["torchvision's layout"] = model(torch.as_tensor(photo)).detach().cpu().numpy()
gap = np.abs(evidence["torch"]["torchvision's layout"] - expected).max()
print(f"the layout's own network and ours differ by at most {gap:.0e}")
with torch.device("meta"):  # shapes without memory: both would fill half a gigabyte
    for title, big in {"Krizhevsky et al. 2012": PAPER, "one column": ONE_COLUMN}.items():
        print(f"{title}: {parity.count(TorchAlexNet(big)):,} parameters")

# %% tags=["tensorflow"]
model = TFAlexNet(thin)
parity.set_weights(model, theirs)
evidence["tensorflow"]["torchvision's layout"] = model(tf.constant(photo)).numpy()

# %% tags=["keras"]
model = KerasAlexNet(thin)
parity.set_weights(model, theirs)
evidence["keras"]["torchvision's layout"] = parity.to_numpy(model(photo))

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
comparison = parity.compare(evidence, tolerance=1e-5)
print(*(f"{title}: {total:,} parameters" for title, total in totals.items()), sep="\n")
print(f"the small network: {parameters:,} parameters in each")
print(comparison.verdict())

# %% [markdown]
# The differences themselves (they vary from one processor to the next):

# %%
print(comparison.numbers())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Train it
#
# The preview shows the **first layer's filters** as they form. The loss includes the weight decay's
# part, so it does not go to zero.

# %%
begin = QUICK if session.quick else FULL
most = max(5000, begin["steps"])
controls = [
    Choice("activation", begin["activation"], ["relu", "tanh"], help="after each layer"),
    Choice("norm", begin["norm"], ["LRN", "constant", "none"], help="constant: divides by 1.68"),
    Slider("dropout", begin["dropout"], 0.0, 0.8, step=0.1, help="of the dense layers' units"),
    Slider("shift", begin["shift"], 0, 4, help="pixels that images are moved by, at most"),
    Choice("init", begin["init"], ["he", "paper"], help="paper: a standard deviation of 0.01"),
    Slider("width", begin["width"], 8, 32, step=8, help="filters of the first layer"),
    Slider("learning_rate", begin["learning_rate"], 1e-3, 1.0, log=True, help="at its highest"),
    Slider("decay", begin["decay"], 1e-5, 1e-2, log=True, help="weight decay"),
    Slider("batch_size", begin["batch_size"], 16, 512, step=16, help="images in a step"),
    Slider("steps", begin["steps"], 10, most, step=10, help="of one batch each"),
]


def right(way, model, images=1000):
    """Percent of the first test images that get their label."""
    guess = way.logits(model, x_test[:images]).argmax(axis=1)
    return 100 * float((guess == y_test[:images]).mean())


def summary(model, settings):
    """What the panel's table lists."""
    return {"test accuracy, %": right(ways[settings.framework], model)}


trainers = {n: functools.partial(way.train, x_train, y_train) for n, way in ways.items()}
panel = Panel(trainers, controls, title="A small AlexNet", summary=summary)
panel.show()

# %% [markdown]
# No front end is needed. The same from a script is one call; here it keeps a picture of the filters
# now and then:

# %%
name, *_ = ways  # the first of your frameworks
short = settings_of(controls, name, SEED, width=16, steps=90)
frames = {}


def watched(settings, report):
    """Train, and keep the filters of steps 10, 30 and 90."""

    def keeping(step, logs, preview):
        if step in (10, 30, 90):
            frames[f"after {step} steps"] = preview()
        return report(step, logs, preview)

    return trainers[name](settings, keeping)


model = run(watched, short, "Filters", every=30)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A model that has had its time
#
# Ten epochs, in a file that loads into whichever framework you run. Its filters
# began as noise and are now smooth: bars, edges and blobs, at several angles. The paper's figure 3
# shows the same at 11×11, and one thing more: the filters of one graphics card were
# grey, those of the other coloured. Ours have no colours to divide.


# %%
def restored(name, checkpoint="10_alexnet"):
    """The checkpoint's model in the framework `name`."""
    model = ways[name].build(small(checkpoints.load(checkpoint).info["width"]))
    checkpoints.load_into(model, checkpoint)
    return model


trained = {n: restored(n) for n in ways}
way, alexnet = ways[name], trained[name]
frames["checkpoint"] = filters(alexnet)
print(f"{checkpoints.load('10_alexnet').info['what']}, in {runtime.LABELS[name]}.")
fig, axes = plots.figure(columns=4, width=9, height=2.6)
for ax, (title, frame) in zip(axes, frames.items(), strict=False):  # fewer if cut short
    ax.imshow(frame, cmap="gray")
    ax.set(title=title, xticks=[], yticks=[])
alt = (
    "sixteen filters of 7×7 at four times: noise after 10 steps, the first bars among it after 90, "
    "and in the checkpoint smooth bars and edges at many angles"
)
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Draw a digit
#
# Draw with mouse, finger or keyboard, and choose a layer. In the middle stands what each of its
# filters makes of your digit: bright where it answers. Early maps still look like the digit;
# later ones say *where something is* that no longer looks like one. On the right the probabilities.


# %%
def look(drawing, layer):
    """The drawing, the maps of a layer, and the probabilities."""
    maps = way.maps(alexnet, drawing[None])[layer - 1][0].transpose(2, 0, 1)  # C×H×W
    top = np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-6)
    odds = softmax(way.logits(alexnet, drawing[None]))[0]
    fig, (left, middle, bars) = plots.figure(columns=3, width=9, height=3)
    left.imshow(drawing, cmap="gray")
    middle.imshow(plots.grid(np.clip(maps / top, 0, 1)), cmap="magma")
    bars.barh(digits.class_names, odds, color="#0072B2")
    bars.set(xlim=(0, 1), title=f"{digits.class_names[odds.argmax()]}: {odds.max():.1%}")
    bars.invert_yaxis()
    side = "×".join(map(str, maps.shape[1:]))
    for ax, title in ((left, "28×28"), (middle, f"conv{layer}: {len(maps)} maps of {side}")):
        ax.set(title=title, xticks=[], yticks=[])
    return fig


Explorer(
    look,
    [
        Drawing("drawing", x_test[int(np.argmax(y_test == 5))], help="mouse, finger or keyboard"),
        Slider("layer", 1, 1, 5, help="which convolution's maps"),
    ],
    title="Draw a digit",
    alt="left, a digit; in the middle, the maps that a layer makes of it; right, probabilities",
).show()

# %% [markdown]
# It must name a digit whatever you draw. Try a letter, or nothing: a probability near 100 % is the
# share among ten answers, not a promise that the picture is one of them.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What does a filter wait for?
#
# For each filter, the test images that excite it most. Those of the first layer want an edge at
# some angle; those of the fifth often one digit, or a part that few digits have.

# %%
several = x_test[:500]
peaks = [maps.max(axis=(1, 2)) for maps in way.maps(alexnet, several)]  # of each layer, 500×C


def excited(layer, number):
    """Ten images that excite a filter most, and the maps it makes of them."""
    number = min(number, peaks[layer - 1].shape[1])
    best = several[np.argsort(-peaks[layer - 1][:, number - 1])[:10]]
    maps = way.maps(alexnet, best)[layer - 1][..., number - 1]  # 10×H×W
    maps = maps / max(maps.max(), 1e-6)
    place = np.arange(28) * maps.shape[1] // 28
    return plots.grid(
        np.concatenate([best / 255, maps[:, place][:, :, place]]), columns=10, scale=2
    )


Explorer(
    excited,
    [
        Slider("layer", 5, 1, 5, help="which convolution"),
        Slider("number", 1, 1, 48, help="which of its filters"),
    ],
    title="What a filter waits for",
    alt="above, the ten test digits that excite a filter most; below, where in them it answers",
).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### What does each part buy?
#
# The paper had 1.2 million images for 60 million parameters, and its parts fight overfitting. So
# that there is something to fight, here are only 1,000 digits, and six networks: with everything,
# and without one part each. **First commit to a prediction.**

# %%
FEW = {"steps": 120, "batch_size": 64}
VARIANTS = {
    "all of it": {},
    "tanh for ReLU": {"activation": "tanh"},
    "no LRN": {"norm": "none"},
    "1.68 for LRN": {"norm": "constant"},
    "no dropout": {"dropout": 0.0},
    "no augmentation": {"shift": 0},
}
exercises.predict(
    "A thousand images, eight epochs. Which network does best on test images?",
    list(VARIANTS),
    key="parts",
)

# %%
few, scores = slice(0, 1000), {}
for title, changes in VARIANTS.items():
    chosen = settings_of(controls, name, SEED, **{**QUICK, **FEW, **changes})
    model = way.train(x_train[few], y_train[few], chosen, lambda *_: True)
    scores[title] = right(way, model, 2000)
    print(f"{title:<16} test accuracy {scores[title]:.1f} %")
exercises.reveal("parts", max(scores, key=scores.get))

# %% [markdown]
# **Explain**, with care: one seed and eight epochs. In our run
#
# - *augmentation and dropout* cost several points. They make the task harder, and pay when a network
#   would otherwise learn its training images by heart; eight epochs are too few for that.
# - *tanh* did best, which is not what the books say. The paper's claim is about speed: a network of
#   four convolutional layers reached a training error of 25 % on CIFAR-10 six times as fast with
#   ReLUs. A claim belongs to the setting in which it was measured.
# - *LRN*, a mere division by 1.68 in its place, and nothing at all are too close to tell apart by
#   one seed. The last experiment of this part shows why the first two are the same.
#
# Part 10 has the same comparison with three seeds, 2,000 images and 32 epochs.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A start of 0.01
#
# The paper's start, a standard deviation of 0.01 and biases of 1, was made for filters that sum
# over hundreds to thousands of inputs, and for pixels up to ±128. Ours sum over 49 pixels of size
# one. Everything else stays as it is.

# %%
exercises.predict(
    "With the paper's start, after 80 steps on all training images, the small network …",
    ["is about as good", "has learnt more slowly", "still guesses"],
    key="start",
)

# %%
reached = {}
for init in ("he", "paper"):
    chosen = settings_of(controls, name, SEED, **{**QUICK, "steps": 80, "init": init})
    begun = way.build(net_of(chosen, y_train))
    parity.set_weights(begun, start(net_of(chosen, y_train), init, SEED))
    spread = way.logits(begun, x_test[:200]).std(axis=0).mean()
    reached[init] = right(way, trainers[name](chosen, lambda *_: True))
    print(
        f"{init:<6} logits of 200 images differ by {spread:.0e} at first; then {reached[init]:.1f} %"
    )
most_common = 100 * np.bincount(y_test[:1000]).max() / 1000
outcome = "has learnt more slowly"
if reached["paper"] < most_common + 3:
    outcome = "still guesses"
elif reached["paper"] > reached["he"] - 3:
    outcome = "is about as good"
exercises.reveal("start", outcome)

# %% [markdown]
# Each layer multiplies what reaches it by about $0.01 \sqrt{n_\text{in}}$: with $n_\text{in}$ from
# 49 to 256 that is 0.07 to 0.16, and after eight layers almost nothing of the image is left. All
# images look the same to the last layer, and the gradient on its way back shrinks as much. He et
# al.'s factor of $\sqrt{2/n_\text{in}}$ keeps the size of what passes, whatever $n_\text{in}$ is.
# So does batch normalisation (07), which is why 0.01 has become rare.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The order of a flattened map
#
# Somebody carries the trained network to another framework, transposes every kernel rightly, and
# forgets one thing: that the maps are flattened channels first there and channels last here. All
# shapes fit. No error is raised.

# %%
exercises.predict(
    "The trained network, with only the rows of its first dense kernel in the other order, gets …",
    ["about 99 %, as before", "some points less", "a quarter or less"],
    key="order",
)

# %%
right_order = parity.get_weights(alexnet)
rows = right_order["dense6.kernel"]  # 4·4·channels × units
channels = len(rows) // 16
other = rows.reshape(4, 4, channels, -1).transpose(2, 0, 1, 3).reshape(rows.shape)
wrongly = way.build(alexnet.net)
parity.set_weights(wrongly, {**right_order, "dense6.kernel": other})
before, after = right(way, alexnet), right(way, wrongly)
print(f"rows in order {before:.1f} %, rows of the other order {after:.1f} %")
outcome = "about 99 %, as before" if after > 97 else "some points less"
exercises.reveal("order", "a quarter or less" if after < 30 else outcome)

# %% [markdown]
# A test that only compares shapes passes, and so does one that looks whether the loss can be
# computed. Compare *outputs*, as in part 6. (Exercise 3 puts the rows right.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What LRN does here
#
# The denominator is $(2 + 10^{-4} \sum a^2)^{0.75}$. If the sum is small it is the constant
# $2^{0.75} = 1.68$, and LRN but another learning rate. How large is it in the trained network?

# %%
for layer, maps in enumerate(way.maps(alexnet, x_test[:200])[:2], start=1):
    channel = np.arange(maps.shape[-1])
    band = np.abs(channel[:, None] - channel) <= 2
    below = (2 + 1e-4 * (maps**2 @ band)) ** 0.75
    print(
        f"after conv{layer}: divided by {below.min():.3f} to {below.max():.3f}, {below.mean():.3f} on average"
    )

# %% [markdown]
# So on inputs of size one the paper's constants leave LRN almost nothing to do but to divide by
# 1.68, which is what *1.68 for LRN* did above. The paper's pixels reached ±128, so that its
# activations lay on another scale; there LRN took 1.4 points off the top-1 error. Two years later
# Simonyan and Zisserman ([2015](https://arxiv.org/abs/1409.1556)) tried it in VGG and found no
# gain, at the price of memory and time; then came batch normalisation. **Constants belong to a
# scale**: take them over, and you take over the scale.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# On all test images, in each framework. A share $p$ of $n$ images is itself uncertain; Wilson's
# interval ([1927](https://doi.org/10.1080/01621459.1927.10502953)) says within what (95 %), and
# unlike $p \pm 2 \sqrt{p (1-p)/n}$ it never passes 100 %.


# %%
def wilson(hits, n, z=1.96):
    """The 95 % interval of a share, in percent."""
    p = hits / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return 100 * (middle - half), 100 * (middle + half)


guesses = {}
for each, model in trained.items():
    guesses[each] = ways[each].logits(model, x_test).argmax(axis=1)
    hits, n = int((guesses[each] == y_test).sum()), len(y_test)
    low, high = wilson(hits, n)
    print(
        f"{runtime.LABELS[each]:<10} {100 * hits / n:.2f} %, 95 % interval {low:.2f} to {high:.2f}"
    )

# %% [markdown]
# The three agree, because they are one network. The interval is about 0.3 points wide: of two
# networks that differ by less, 10,000 test images cannot tell which is better. A seed makes a
# difference too, so what `make results` records is the mean of three, with their range.
#
# The paper's own last step: it classifies ten crops of each test image and averages the
# probabilities. Here are five crops (no mirrors), on 2,000 images:

# %%
few = x_test[:2000]
single = right(way, alexnet, 2000)
odds = five_crops(lambda images: way.logits(alexnet, images), few)
print(
    f"one crop {single:.2f} %, five crops {100 * (odds.argmax(axis=1) == y_test[:2000]).mean():.2f} %"
)

# %%
from utils import results

results.show("10_alexnet")

# %% [markdown]
# Averaging over crops buys nothing that 10,000 digits could show: they are centred already.
#
# The parts, on 2,000 images: **shifts by two pixels buy 0.6 points** (95.6 % without them, 96.2 %
# with), and the seeds of the two do not overlap. The rest cannot be told apart by three seeds. Tanh,
# LRN, its constant and nothing at all stand within 0.7 points of each other. Dropout buys 0.9 points
# on average, and what it buys for certain is calm: without it the seeds lie 2.1 points apart, from
# below all the others to above most of them.

# %% [markdown]
# | beside it, on MNIST's test set | accuracy, % |
# |---|---|
# | [keras.io's first convnet](https://keras.io/examples/vision/mnist_convnet/), 34,826 parameters | about 99.0–99.1 |
# | [pytorch/examples](https://github.com/pytorch/examples/tree/main/mnist), 1.2 million parameters, 14 epochs | 99.19 |
# | the course's [judge](../../utils/judge.py), a quarter of the size | 99.47 |
# | ResNet-20, pre-activation, with cutout ([hysts](https://github.com/hysts/pytorch_image_classification)) | 99.75 |
#
# MNIST cannot show why AlexNet mattered: the judge, a plain network a quarter of the size, does as
# well or better. On photographs of a thousand kinds it took the best error from 26.2 % to 15.3 %.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The mistakes
#
# Which digits are taken for which, and the mistakes that the network was surest of.

# %%
guess = guesses[name]
print(metrics.confusion(y_test, guess, digits.class_names))
missed = np.flatnonzero(guess != y_test)
sure = softmax(way.logits(alexnet, x_test[missed]))[np.arange(len(missed)), guess[missed]]
worst = np.argsort(-sure)[:16]
images = missed[worst]
captions = [
    f"{y_test[i]} → {guess[i]}\n{odds:.0%}" for i, odds in zip(images, sure[worst], strict=True)
]
fig = plots.captioned(x_test[images], captions)
alt = "the sixteen surest mistakes, each with its label, the network's answer and its probability"
plots.show(fig, alt=alt)

# %% [markdown]
# Some are the network's, many the writer's, and a few the label's. Look at what remains before
# you chase it: beyond some point a higher score on this test set means having learnt its mistakes.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. Count it.** The paper's network, by hand, from the table in part 1 (without the column of
# parameters): one number.

# %%
questions.count.check(...)
# questions.count.hint()
# questions.count.solution()

# %% [markdown]
# **2. Local response normalisation**, as in the paper, over the last axis.


# %%
def lrn(x, k, n, alpha, beta):
    """x (…, channels) → the same shape; n is the width of the window."""
    return ...  # your code


questions.lrn.check(lrn)

# %% [markdown]
# **3. Put the rows right.** A dense kernel was trained behind maps that were flattened channels
# first. Reorder its rows for maps that are flattened channels last.


# %%
def rows(kernel, channels, height, width):
    """(channels·height·width, units) → the same shape, rows in the other order."""
    return ...  # your code


questions.rows.check(rows)

# %% [markdown]
# **4. The paper's momentum**, with a rate that changes from step to step.


# %%
def descend(w, gradients, rates, decay):
    """The weight (n,) after a step for each gradient (n,) and rate; the velocity starts at 0."""
    return ...  # your code


questions.descend.check(descend)

# %% [markdown]
# **5. Change the data.** Any folder of images, or an IDX file such as Fashion-MNIST's, can take
# MNIST's place; the network gets as many outputs as there are classes. Load one with
# `data.from_images(folder)` or `data.from_idx(images, labels)`, check it, put it into `x_train`,
# `y_train`, `x_test` and `y_test`, and run part 7 again. May *your* pictures be mirrored?

# %%
my_pictures = ...  # data.from_images("…") or data.from_idx("…")
questions.other_data.check(my_pictures)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - Eight layers with weights, 60,965,224 parameters, 96 % of them in three dense layers.
# - What libraries ship as AlexNet is a later network, and in one layer not even its paper's.
# - Constants and scales travel together: LRN's α, a start of 0.01, a rate.
# - Of the parts, on few digits, only augmentation bought more than a seed changes.
# - α divided by n, padding "same", the order of a flattened map, the rate inside or outside of the
#   momentum: four places where three frameworks compute something else, and none raises an error.
# - An accuracy has an interval, and a seed has a range. Say both.
#
# | take | when |
# |---|---|
# | AlexNet | you read the history, or an old model needs it; for new work it is beaten at any size |
# | a small convolutional network of your own | small images, few classes, a tight budget |
# | VGG (11) | simple features to reuse, and memory to spare |
# | ResNet (12) | almost always else: deeper, smaller, easier to train |
# | dropout and augmentation | few images; check that the label survives the augmentation |
# | LRN | never in new networks: batch normalisation took its place |
#
# **Further reading.** Krizhevsky et al.
# ([2012](https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks)):
# still a model of a short paper; Krizhevsky ([2014](https://arxiv.org/abs/1404.5997)) on splitting
# networks over graphics cards; Zeiler and Fergus ([2014](https://arxiv.org/abs/1311.2901)), who
# looked inside and mended the first layer; Srivastava et al.
# ([2014](https://jmlr.org/papers/v15/srivastava14a.html)) on dropout.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [VGG](11_vgg.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/03_classifiers/11_vgg.ipynb))
# - **Previous:** [ACGAN: a generator that takes requests](../02_gans/09_acgan.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/02_gans/09_acgan.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
