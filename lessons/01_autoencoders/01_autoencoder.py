# ---
# jupyter:
#   course:
#     title: "Autoencoders"
#     summary: "A network that rebuilds its input through a narrow code: compression, PCA, denoising, anomalies, and why it is no generator."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "matrices, and what a gradient is"
#       - "a dense layer; convolutions are introduced here"
#     objectives:
#       - "build dense, deep and convolutional autoencoders in PyTorch, TensorFlow and Keras"
#       - "write dense layers, convolutions, their transposes and Adam with bare TensorFlow"
#       - "show that a linear autoencoder is principal component analysis, and what depth adds"
#       - "say why drawing random codes does not generate, and see the holes where it fails"
#       - "train a denoiser, and use reconstruction errors to find anomalies, knowing when they mislead"
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
# # Autoencoders
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/01_autoencoder.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/01_autoencoders/01_autoencoder.ipynb)
#
# A network that rebuilds its input through a narrow code: compression, PCA, denoising, anomalies, and why it is no generator.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** matrices, and what a gradient is; a dense layer; convolutions are introduced here.
#
# **What you will be able to do:**
#
# - build dense, deep and convolutional autoencoders in PyTorch, TensorFlow and Keras
# - write dense layers, convolutions, their transposes and Adam with bare TensorFlow
# - show that a linear autoencoder is principal component analysis, and what depth adds
# - say why drawing random codes does not generate, and see the holes where it fails
# - train a denoiser, and use reconstruction errors to find anomalies, knowing when they mislead

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

from utils import checkpoints, data, exercises, metrics, parity, plots, runtime
from utils.controls import Choice, Slider
from utils.drawing import Drawing
from utils.exercises import autoencoder as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# An **autoencoder** is a network that learns to return its input. That would be pointless if it
# were easy, so it is made hard: between the two halves stands a **code** $z$ with far fewer
# numbers than the image has pixels.
#
# $$x \;\xrightarrow{\;\text{encoder } f\;}\; z = f(x) \;\xrightarrow{\;\text{decoder } g\;}\;
#   \hat x = g(z), \qquad \min_{f,\,g}\; \frac1N \sum_n L\big(x_n,\, g(f(x_n))\big).$$
#
# To rebuild 784 pixels from 32 numbers the network must find out how digits vary, and spend the
# code on that. No labels are needed. Hinton and Salakhutdinov
# ([2006](https://doi.org/10.1126/science.1127647)) made deep autoencoders work on images and
# compared them with principal component analysis, as we will.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two losses
#
# For one image with pixels $x_i \in [0, 1]$ and outputs $\hat x_i$, averaged over the $D = 784$ pixels:
#
# $$L_2 = \frac1D \sum_i (x_i - \hat x_i)^2, \qquad
#   L_\text{CE} = -\frac1D \sum_i \big(x_i \log \hat x_i + (1 - x_i) \log (1 - \hat x_i)\big).$$
#
# The **squared error** fits any output. The **cross-entropy** needs $\hat x_i \in (0, 1)$, so the
# decoder ends in a sigmoid; it punishes confident mistakes and trains faster on nearly black and
# white digits. On *grey* pixels its minimum is not zero but the pixels' entropy (part 2 computes
# it): it is a cost, not a likelihood. The next notebook, on the VAE, makes it one.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Linear means PCA
#
# Take linear $f$ and $g$ and the squared error. The best a linear map through $k$ numbers can do
# is to project onto the $k$ directions of largest variance: the span of the first $k$ **principal
# components** (Bourlard and Kamp, [1988](https://doi.org/10.1007/BF00332918); Baldi and Hornik,
# [1989](https://doi.org/10.1016/0893-6080(89)90014-2), who show that every other critical point
# is a saddle). The autoencoder finds the same *subspace*; its code is some invertible mixture of
# the components, not the components themselves. So PCA is the yardstick: whatever a deep
# autoencoder does better, it owes to its nonlinearities. Part 9 trains a linear one and checks.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST digits, grey values divided by 255. The labels are only for looking: training does not use
# them.

# %%
digits = data.mnist()
print(digits.describe())
x_train = data.flatten(digits.x_train)  # N×784, uint8
x_test = (data.flatten(digits.x_test) / 255).astype("float32")  # N×784, 0 to 1
first = [int(np.argmax(digits.y_test == label)) for label in range(10)]  # one image of each digit
alt = "one test digit of each class, 0 to 9, in grey"
plots.show(plots.grid(x_test[first].reshape(-1, 28, 28), columns=10, scale=2), alt=alt)

# %% [markdown]
# What would a *perfect* reconstruction cost? Nothing in squared error; in cross-entropy the
# entropy of the grey pixels. No autoencoder can go below this number.


# %% tags=["export"]
def cross_entropy(x, pixels):
    """Cross-entropy per pixel of images x and reconstructions, both (N, 784): shape (N,), nats."""
    pixels = np.clip(pixels.astype("float64"), 1e-7, 1 - 1e-7)
    return -(x * np.log(pixels) + (1 - x) * np.log(1 - pixels)).mean(axis=1)


def squared_error(x, pixels):
    """Squared error per pixel of images and reconstructions, both (N, 784): shape (N,)."""
    return ((x.astype("float64") - pixels) ** 2).mean(axis=1)


# %%
print(f"floor of the cross-entropy: {cross_entropy(x_test, x_test).mean():.4f} nats per pixel")
mean_image = np.broadcast_to(x_train.mean(axis=0) / 255, x_test.shape)
print(f"the mean image for all:     {cross_entropy(x_test, mean_image).mean():.4f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What the three sections share
#
# Three kinds of network, each with a code of any size and the same loss functions:
#
# | kind | encoder | decoder |
# |---|---|---|
# | `dense` | 784 → code | code → 784 |
# | `deep` | 784 → 256 → 128 → code | code → 128 → 256 → 784 |
# | `conv` | 28×28×1 → 14×14×16 → 7×7×32 → code | code → 7×7×32 → 14×14×16 → 28×28×1 |
#
# Hidden layers have ReLUs; the code itself has none (a ReLU there would leave units that are
# always zero). The decoder returns **logits** if the loss is the cross-entropy, pixels if it is
# the squared error. Adam's rate falls along half a cosine. To train a **denoiser** (Vincent et al.,
# [2008](https://doi.org/10.1145/1390156.1390294)) a share of the input's pixels is erased, and
# the loss compares with the whole image.

# %% tags=["export"]
PIXELS, LOSSES = 784, ("cross-entropy", "squared error")
WIDTHS = {"dense": (), "deep": (256, 128), "conv": (16, 32)}  # hidden units or channels
QUICK = {"kind": "deep", "latents": 32, "loss": "cross-entropy", "erase": 0.0}
QUICK |= {"learning_rate": 2e-3, "batch_size": 128, "steps": 800}
FULL = {**QUICK, "kind": "conv", "steps": 20 * 468}  # 20 epochs

Way = collections.namedtuple("Way", "build train encode decode")
ways = {}  # framework -> its four functions, filled by the sections


# %% tags=["export"]
def learning_rate(step, settings):
    """The rate of a step, counted from 0: half a cosine from its start down to zero."""
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


def index_batches(n, settings):
    """Shuffled batches of positions in n images, epoch after epoch, one for each step."""
    rng = np.random.default_rng(settings.seed)
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), settings.steps)


def rebuild(way, model, x):
    """Reconstructions (N, 784) of images (N, 784), a thousand at a time."""
    parts = (x[start : start + 1000] for start in range(0, len(x), 1000))
    return np.concatenate([way.decode(model, way.encode(model, part)) for part in parts])


def before_and_after(way, model, images):
    """A picture: sixteen of the images (uint8), and below each what the model makes of it."""
    x = (images[:16] / 255).astype("float32")
    pairs = np.concatenate([x[:8], rebuild(way, model, x[:8]), x[8:], rebuild(way, model, x[8:])])
    return plots.grid(pairs.reshape(-1, 28, 28), columns=8)


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* PyTorch's convolutions want the channels first, so images are
# B×1×28×28 here and B×28×28×1 in the other two. That matters where a picture is flattened:
# channels-first and channels-last put the same numbers in another **order**, and a dense layer
# after it would see them permuted. We permute before flattening, so that one set of weights fits
# all three.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchStack(nn.Module):
    """Dense layers with ReLUs between them, and none after the last."""

    def __init__(self, *widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x):  # B×first width
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)  # B×last width


# %% tags=["export", "torch"]
class TorchConvEncoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        a, b = WIDTHS["conv"]
        self.conv1 = nn.Conv2d(1, a, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(a, b, 4, stride=2, padding=1)
        self.code = nn.Linear(7 * 7 * b, latents)

    def forward(self, x):  # B×784
        h = F.relu(self.conv1(x.view(-1, 1, 28, 28)))  # 1×28×28 → 16×14×14
        h = F.relu(self.conv2(h))  # → 32×7×7
        return self.code(h.permute(0, 2, 3, 1).flatten(1))  # 7×7×32 → 1568 → latents


class TorchConvDecoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        a, b = WIDTHS["conv"]
        self.hidden = nn.Linear(latents, 7 * 7 * b)
        self.up1 = nn.ConvTranspose2d(b, a, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(a, 1, 4, stride=2, padding=1)

    def forward(self, z):  # B×latents
        h = F.relu(self.hidden(z)).view(-1, 7, 7, WIDTHS["conv"][1])  # → 7×7×32
        h = F.relu(self.up1(h.permute(0, 3, 1, 2)))  # 32×7×7 → 16×14×14
        return self.up2(h).flatten(1)  # → 1×28×28 → 784


# %% [markdown]
# `ConvTranspose2d` is not an inverse: it is the *transpose* of the strided convolution's matrix,
# the operation that carries gradients backwards through it. It makes each input pixel paint a 4×4
# patch, two pixels apart; where patches overlap they add. A kernel size that the stride divides
# (4 and 2) lets every output pixel receive equally many contributions, which avoids the
# checkerboards of 3×3 kernels (Odena et al., [2016](https://doi.org/10.23915/distill.00003)).


# %% tags=["export", "torch"]
class TorchAutoencoder(nn.Module):
    """Encoder and decoder of one kind, and the loss they are trained with."""

    def __init__(self, kind, latents, loss):
        super().__init__()
        self.loss = loss
        if kind == "conv":
            self.encoder, self.decoder = TorchConvEncoder(latents), TorchConvDecoder(latents)
        else:
            widths = (PIXELS, *WIDTHS[kind], latents)
            self.encoder, self.decoder = TorchStack(*widths), TorchStack(*widths[::-1])
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)  # Glorot's, as in the other two
            else:
                nn.init.zeros_(parameter)

    def forward(self, x):  # B×784
        return self.decoder(self.encoder(x))  # B×784, logits or pixels


def loss_torch(model, x, seen):
    """The mean loss per pixel of rebuilding x (B, 784) from what is seen of it."""
    if model.loss == "cross-entropy":
        return F.binary_cross_entropy_with_logits(model(seen), x)
    return F.mse_loss(model(seen), x)


# %% tags=["export", "torch"]
def train_torch(images, settings, report):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    n = data.check_batch(settings.batch_size, len(images))
    model = TorchAutoencoder(settings.kind, settings.latents, settings.loss)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    pixels = torch.as_tensor(images)  # N×784, uint8: a quarter of the memory of floats
    for step, index in enumerate(index_batches(n, settings), start=1):
        x = pixels[torch.as_tensor(index)].float() / 255  # B×784
        seen = x * (torch.rand_like(x) >= settings.erase) if settings.erase else x
        loss = loss_torch(model, x, seen)
        optimizer.param_groups[0]["lr"] = learning_rate(step - 1, settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            preview = functools.partial(before_and_after, ways["torch"], model, images)
            if not report(step, {"loss": loss.item()}, preview):
                break
    return model


@torch.no_grad()
def encode_torch(model, x):
    """Codes (N, latents) of images (N, 784)."""
    return model.encoder(torch.as_tensor(x)).cpu().numpy()


@torch.no_grad()
def decode_torch(model, z):
    """Pixels (N, 784) of codes (N, latents)."""
    out = model.decoder(torch.as_tensor(z))
    return (out.sigmoid() if model.loss == "cross-entropy" else out).cpu().numpy()


ways["torch"] = Way(TorchAutoencoder, train_torch, encode_torch, decode_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* Three layers and an optimiser, each in a few lines. From the next notebook on
# they come from `utils.tf_layers` and `utils.tf_optimizers`, which hold nothing else.

# %% tags=["export", "tensorflow"]
import tensorflow as tf


def glorot(shape, fan_in, fan_out):
    """Uniform weights with variance 2 / (fan_in + fan_out)."""
    limit = (6 / (fan_in + fan_out)) ** 0.5
    return tf.Variable(tf.random.uniform(shape, -limit, limit))


class Dense(tf.Module):
    """y = x W + b."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.kernel = glorot((n_in, n_out), n_in, n_out)
        self.bias = tf.Variable(tf.zeros(n_out))

    def __call__(self, x):  # B×n_in → B×n_out
        return tf.matmul(x, self.kernel) + self.bias


# %% [markdown] slideshow={"slide_type": "subslide"}
# A convolution slides one kernel over the image: every output pixel is a weighted sum of a
# window, with the same weights everywhere. With stride 2 and "same" padding the image halves.
# *A trap:* "same" pads 28 pixels by one on each side for a 4×4 kernel, as PyTorch's `padding=1`
# does. For a 3×3 kernel it pads one pixel in all, on the right and at the bottom, and PyTorch's
# `padding=1` computes something else.


# %% tags=["export", "tensorflow"]
class Conv2D(tf.Module):
    """H×W×n_in → H/stride × W/stride × n_out."""

    def __init__(self, n_in, n_out, size, stride):
        super().__init__()
        window = size * size
        self.kernel = glorot((size, size, n_in, n_out), window * n_in, window * n_out)
        self.bias = tf.Variable(tf.zeros(n_out))
        self._stride = stride

    def __call__(self, x):
        return tf.nn.conv2d(x, self.kernel, self._stride, "SAME") + self.bias


class Conv2DTranspose(tf.Module):
    """H×W×n_in → stride·H × stride·W × n_out: the kernel is that of the convolution back."""

    def __init__(self, n_in, n_out, size, stride):
        super().__init__()
        window = size * size
        self.kernel = glorot((size, size, n_out, n_in), window * n_in, window * n_out)
        self.bias = tf.Variable(tf.zeros(n_out))
        self._n_out, self._stride = n_out, stride

    def __call__(self, x):
        side = x.shape[1] * self._stride
        shape = (tf.shape(x)[0], side, side, self._n_out)
        return tf.nn.conv2d_transpose(x, self.kernel, shape, self._stride, "SAME") + self.bias


# %% tags=["export", "tensorflow"]
class TFStack(tf.Module):
    """Dense layers with ReLUs between them, and none after the last."""

    def __init__(self, *widths):
        super().__init__()
        self.layers = [Dense(a, b) for a, b in itertools.pairwise(widths)]

    def __call__(self, x):  # B×first width
        for layer in self.layers[:-1]:
            x = tf.nn.relu(layer(x))
        return self.layers[-1](x)  # B×last width


class TFConvEncoder(tf.Module):
    def __init__(self, latents):
        super().__init__()
        a, b = WIDTHS["conv"]
        self.conv1, self.conv2 = Conv2D(1, a, 4, 2), Conv2D(a, b, 4, 2)
        self.code = Dense(7 * 7 * b, latents)

    def __call__(self, x):  # B×784
        h = tf.nn.relu(self.conv1(tf.reshape(x, (-1, 28, 28, 1))))  # 28×28×1 → 14×14×16
        h = tf.nn.relu(self.conv2(h))  # → 7×7×32
        return self.code(tf.reshape(h, (-1, 7 * 7 * h.shape[3])))  # → 1568 → latents


class TFConvDecoder(tf.Module):
    def __init__(self, latents):
        super().__init__()
        a, b = WIDTHS["conv"]
        self.hidden = Dense(latents, 7 * 7 * b)
        self.up1, self.up2 = Conv2DTranspose(b, a, 4, 2), Conv2DTranspose(a, 1, 4, 2)

    def __call__(self, z):  # B×latents
        h = tf.reshape(tf.nn.relu(self.hidden(z)), (-1, 7, 7, WIDTHS["conv"][1]))  # → 7×7×32
        h = tf.nn.relu(self.up1(h))  # → 14×14×16
        return tf.reshape(self.up2(h), (-1, PIXELS))  # → 28×28×1 → 784


# %% tags=["export", "tensorflow"]
class TFAutoencoder(tf.Module):
    """Encoder and decoder of one kind, and the loss they are trained with."""

    def __init__(self, kind, latents, loss):
        super().__init__()
        self.loss = loss
        if kind == "conv":
            self.encoder, self.decoder = TFConvEncoder(latents), TFConvDecoder(latents)
        else:
            widths = (PIXELS, *WIDTHS[kind], latents)
            self.encoder, self.decoder = TFStack(*widths), TFStack(*widths[::-1])

    def __call__(self, x):  # B×784
        return self.decoder(self.encoder(x))  # B×784, logits or pixels


def loss_tf(model, x, seen):
    """The mean loss per pixel of rebuilding x (B, 784) from what is seen of it."""
    if model.loss == "cross-entropy":
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=model(seen))
        return tf.reduce_mean(losses)
    return tf.reduce_mean((x - model(seen)) ** 2)


# %% [markdown] slideshow={"slide_type": "subslide"}
# **Adam** (Kingma and Ba, [2015](https://arxiv.org/abs/1412.6980), algorithm 1) keeps running
# means $m$ of the gradient and $v$ of its square, corrects them for their start at zero, and steps
# by $\alpha\, \hat m / (\sqrt{\hat v} + \epsilon)$. TensorFlow has the update as one fused kernel,
# which adds its epsilon to the *uncorrected* $\sqrt v$. Multiplying $\epsilon$ by
# $\sqrt{1-\beta_2^t}$ makes it that of the paper and of PyTorch: one of the small differences by
# which "the same" training run drifts apart.


# %% tags=["export", "tensorflow"]
class Adam(tf.Module):
    """Kingma and Ba's Adam with β₁ = 0.9, β₂ = 0.999."""

    def __init__(self, parameters, epsilon=1e-8):
        super().__init__()
        self.parameters, self.epsilon = parameters, epsilon
        self.m = [tf.Variable(tf.zeros_like(w)) for w in parameters]
        self.v = [tf.Variable(tf.zeros_like(w)) for w in parameters]
        self.t = tf.Variable(0.0)

    def apply(self, gradients, rate):
        self.t.assign_add(1.0)
        beta1_power, beta2_power = 0.9**self.t, 0.999**self.t
        for w, m, v, g in zip(self.parameters, self.m, self.v, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=w.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=beta1_power,
                beta2_power=beta2_power,
                lr=rate,
                beta1=0.9,
                beta2=0.999,
                epsilon=self.epsilon * tf.sqrt(1 - beta2_power),
                grad=g,
            )


# %% [markdown]
# `tf.function` traces the ten steps between two reports into one graph. `tf.data` shuffles
# positions and gathers images a few batches ahead.


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model, optimiser and step count: everything a long run needs to resume."""

    def __init__(self, settings):
        super().__init__()
        self.model = TFAutoencoder(settings.kind, settings.latents, settings.loss)
        self.weights = parity.variables(self.model)
        self.adam, self.step = Adam(self.weights), tf.Variable(0, dtype=tf.int64)
        self._erase = settings.erase

    @tf.function
    def train_steps(self, batches, rates):
        """One step for each of the rates; returns the last one's loss."""
        loss = tf.constant(0.0)
        for rate in rates:
            x = next(batches)  # B×784
            seen = x
            if self._erase:
                seen = x * tf.cast(tf.random.uniform(tf.shape(x)) >= self._erase, tf.float32)
            with tf.GradientTape() as tape:
                loss = loss_tf(self.model, x, seen)
            self.adam.apply(tape.gradient(loss, self.weights), rate)
            self.step.assign_add(1)
        return loss


def grey_batches(images, batch_size):
    """An endless tf.data stream of shuffled batches (B, 784), 0 to 1."""
    per_epoch = len(images) // batch_size
    images = tf.constant(images)  # N×784, uint8

    def epoch(_):
        order = tf.random.shuffle(tf.range(len(images)))[: per_epoch * batch_size]
        return tf.data.Dataset.from_tensor_slices(tf.reshape(order, (per_epoch, batch_size)))

    def grey(index):
        return tf.cast(tf.gather(images, index), tf.float32) / 255  # B×784

    return tf.data.Dataset.range(2**62).flat_map(epoch).map(grey).prefetch(4)


# %% tags=["export", "tensorflow"]
def train_tf(images, settings, report, trainer=None):
    """Train on uint8 images (N, 784); with a `trainer`, go on from where it stands."""
    data.check_batch(settings.batch_size, len(images))
    trainer = trainer or TFTrainer(settings)
    batches = iter(grey_batches(images, settings.batch_size))
    step = int(trainer.step)
    while step < settings.steps:
        ahead = range(step, min(step + 10, settings.steps))
        rates = [learning_rate(at, settings) for at in ahead]
        loss = float(trainer.train_steps(batches, tf.constant(rates)))
        step += len(rates)
        preview = functools.partial(before_and_after, ways["tensorflow"], trainer.model, images)
        if not report(step, {"loss": loss}, preview):
            break
    return trainer.model


def encode_tf(model, x):
    """Codes (N, latents) of images (N, 784)."""
    return model.encoder(tf.constant(x)).numpy()


def decode_tf(model, z):
    """Pixels (N, 784) of codes (N, latents)."""
    out = model.decoder(tf.constant(z))
    return (tf.sigmoid(out) if model.loss == "cross-entropy" else out).numpy()


ways["tensorflow"] = Way(TFAutoencoder, train_tf, encode_tf, decode_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* Layers are called on symbolic inputs, `compute_loss` says what to minimise, `fit`
# owns the loop, and the cosine is a ready-made schedule.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


def keras_stack(name, *widths):
    """Dense layers with ReLUs between them, and none after the last."""
    x = h = keras.Input((widths[0],))
    for i, units in enumerate(widths[1:]):
        relu = "relu" if i < len(widths) - 2 else None
        h = layers.Dense(units, activation=relu, name=f"{name}__layers__{i}")(h)  # B×units
    return keras.Model(x, h, name=name)


def keras_conv_encoder(latents):
    a, b = WIDTHS["conv"]
    same = {"strides": 2, "padding": "same", "activation": "relu"}
    x = keras.Input((PIXELS,))
    h = layers.Reshape((28, 28, 1))(x)  # 784 → 28×28×1
    h = layers.Conv2D(a, 4, name="encoder__conv1", **same)(h)  # → 14×14×16
    h = layers.Conv2D(b, 4, name="encoder__conv2", **same)(h)  # → 7×7×32
    h = layers.Dense(latents, name="encoder__code")(layers.Flatten()(h))  # → 1568 → latents
    return keras.Model(x, h, name="encoder")


def keras_conv_decoder(latents):
    a, b = WIDTHS["conv"]
    same = {"strides": 2, "padding": "same"}
    z = keras.Input((latents,))
    h = layers.Dense(7 * 7 * b, activation="relu", name="decoder__hidden")(z)
    h = layers.Reshape((7, 7, b))(h)  # → 7×7×32
    h = layers.Conv2DTranspose(a, 4, activation="relu", name="decoder__up1", **same)(h)  # → 14×14
    h = layers.Conv2DTranspose(1, 4, name="decoder__up2", **same)(h)  # → 28×28×1
    return keras.Model(z, layers.Flatten()(h), name="decoder")


# %% tags=["export", "keras"]
class KerasAutoencoder(keras.Model):
    """Encoder and decoder of one kind, and the loss they are trained with."""

    def __init__(self, kind, latents, loss, erase=0.0, seed=0):
        super().__init__()
        self.objective, self.erase = loss, erase  # `loss` is Keras's own name
        self.coins = keras.random.SeedGenerator(seed)
        if kind == "conv":
            self.encoder, self.decoder = keras_conv_encoder(latents), keras_conv_decoder(latents)
        else:
            widths = (PIXELS, *WIDTHS[kind], latents)
            self.encoder = keras_stack("encoder", *widths)
            self.decoder = keras_stack("decoder", *widths[::-1])

    def call(self, x, training=False):  # B×784
        x = ops.cast(x, "float32") / 255  # bytes wait in memory, a quarter of the size of floats
        if training and self.erase:
            coins = keras.random.uniform(ops.shape(x), seed=self.coins)
            x = x * ops.cast(coins >= self.erase, "float32")
        return self.decoder(self.encoder(x))  # B×784, logits or pixels

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return loss_keras(self, ops.cast(x, "float32") / 255, y_pred)


def loss_keras(model, x, out):
    """The mean loss per pixel of images x (B, 784) and what the model returned for them."""
    if model.objective == "cross-entropy":
        return ops.mean(ops.binary_crossentropy(x, out, from_logits=True))
    return ops.mean((x - out) ** 2)


# %% tags=["export", "keras"]
def train_keras(images, settings, report):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    n = data.check_batch(settings.batch_size, len(images))
    model = KerasAutoencoder(
        settings.kind, settings.latents, settings.loss, settings.erase, settings.seed
    )
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    model.compile(keras.optimizers.Adam(rate, epsilon=1e-8))
    epochs = -(-settings.steps // -(-n // settings.batch_size))  # rounded up, twice
    preview = functools.partial(before_and_after, ways["keras"], model, images)
    reporter = keras_callback(report, preview, every=10, steps=settings.steps)
    model.fit(
        images,
        batch_size=settings.batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[reporter],
    )
    return model


def encode_keras(model, x):
    """Codes (N, latents) of images (N, 784)."""
    return parity.to_numpy(model.encoder(ops.convert_to_tensor(x)))


def decode_keras(model, z):
    """Pixels (N, 784) of codes (N, latents)."""
    out = model.decoder(ops.convert_to_tensor(z))
    return parity.to_numpy(ops.sigmoid(out) if model.objective == "cross-entropy" else out)


ways["keras"] = Way(KerasAutoencoder, train_keras, encode_keras, decode_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# Weights made in NumPy go into every kind of network in every framework, with the same batch.
# Codes, outputs, loss and the gradient of every weight must agree to within the rounding of
# 32-bit arithmetic. Kernels are stored `(height, width, in, out)` in TensorFlow and Keras and
# `(out, in, height, width)` in PyTorch; `utils.parity` reorders the axes.

# %%
rng = np.random.default_rng(SEED)
a, b = WIDTHS["conv"]
shapes = {"dense": {}, "deep": {}, "conv": {}}
for kind in ("dense", "deep"):
    widths = (784, *WIDTHS[kind], 32)
    for half, sizes in (("encoder", widths), ("decoder", widths[::-1])):
        for i, shape in enumerate(itertools.pairwise(sizes)):
            shapes[kind][f"{half}.layers.{i}"] = shape
shapes["conv"] = {
    "encoder.conv1": (4, 4, 1, a),
    "encoder.conv2": (4, 4, a, b),
    "encoder.code": (7 * 7 * b, 32),
    "decoder.hidden": (32, 7 * 7 * b),
    "decoder.up1": (4, 4, a, b),  # a transposed convolution's kernel: …, out, in
    "decoder.up2": (4, 4, 1, a),
}
weights = {kind: {} for kind in shapes}
for kind, layout in shapes.items():
    for name, shape in layout.items():
        out = shape[-2] if ".up" in name else shape[-1]
        weights[kind][f"{name}.kernel"] = rng.normal(0, 0.05, shape).astype("float32")
        weights[kind][f"{name}.bias"] = rng.normal(0, 0.05, out).astype("float32")
bytes_same = rng.integers(0, 256, (20, 784)).astype("uint8")  # 20 made-up images
x_same = (bytes_same / 255).astype("float32")
evidence = {}  # framework -> the quantities to compare

# %% tags=["torch"]
evidence["torch"], parameters = {}, {}
for kind in shapes:
    model = TorchAutoencoder(kind, 32, "cross-entropy")
    parity.set_weights(model, weights[kind])
    x = torch.as_tensor(x_same)
    loss = loss_torch(model, x, x)
    gradients = torch.autograd.grad(loss, parity.variables(model))
    evidence["torch"] |= {
        f"{kind}: codes": encode_torch(model, x_same),
        f"{kind}: outputs": parity.to_numpy(model(x)),
        f"{kind}: loss": parity.to_numpy(loss),
        f"{kind}: gradients": parity.named_gradients(model, gradients),
    }
    parameters[kind] = parity.count(model)

# %% tags=["tensorflow"]
evidence["tensorflow"], parameters = {}, {}
for kind in shapes:
    model = TFAutoencoder(kind, 32, "cross-entropy")
    parity.set_weights(model, weights[kind])
    with tf.GradientTape() as tape:
        loss = loss_tf(model, x_same, x_same)
    gradients = tape.gradient(loss, parity.variables(model))
    evidence["tensorflow"] |= {
        f"{kind}: codes": encode_tf(model, x_same),
        f"{kind}: outputs": model(x_same).numpy(),
        f"{kind}: loss": loss.numpy(),
        f"{kind}: gradients": parity.named_gradients(model, gradients),
    }
    parameters[kind] = parity.count(model)

# %% [markdown]
# Keras hides its gradients, and each backend computes them differently. But one step of plain
# gradient descent at rate 1 *is* the gradient: weights before minus weights after.

# %% tags=["keras"]
evidence["keras"], parameters = {}, {}
for kind in shapes:
    model = KerasAutoencoder(kind, 32, "cross-entropy")
    parity.set_weights(model, weights[kind])
    out = model(bytes_same)
    evidence["keras"] |= {
        f"{kind}: codes": encode_keras(model, x_same),
        f"{kind}: outputs": parity.to_numpy(out),
        f"{kind}: loss": parity.to_numpy(loss_keras(model, x_same, out)),
    }
    model.compile(keras.optimizers.SGD(1.0))
    model.train_on_batch(bytes_same)
    after = parity.get_weights(model)
    gradients = {name: before - after[name] for name, before in weights[kind].items()}
    evidence["keras"][f"{kind}: gradients"] = gradients
    parameters[kind] = parity.count(model)

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
comparison = parity.compare(evidence, tolerance=1e-5)
for kind, count in parameters.items():
    print(f"{kind:<5} {count:>7,} parameters in each")
print(comparison.verdict())

# %% [markdown]
# The differences themselves (they vary from one processor to the next):

# %%
print(comparison.numbers())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Train it
#
# Choose a framework, a kind and a code size, press **Train**; change something, train again:
# earlier runs stay in the picture. The preview shows sixteen training images and, below each,
# what the model makes of it. Things worth trying: a code of 2; `dense` with the squared error
# (a linear network); half the pixels erased.

# %%
start = QUICK if session.quick else FULL
most = max(5000, start["steps"])
controls = [
    Choice("kind", start["kind"], list(WIDTHS), help="the network: see the table in part 2"),
    Slider("latents", start["latents"], 1, 128, help="numbers in the code"),
    Choice("loss", start["loss"], LOSSES, help="what is minimised, per pixel"),
    Slider("erase", start["erase"], 0.0, 0.9, step=0.05, help="share of the input's pixels erased"),
    Slider("learning_rate", start["learning_rate"], 1e-5, 1e-1, log=True, help="Adam's first rate"),
    Slider("batch_size", start["batch_size"], 16, 1024, step=16, help="images in a step"),
    Slider("steps", start["steps"], 50, most, step=50, help="steps of the optimiser"),
]


def test_errors(model, settings):
    """Both errors on up to 500 whole test images: what the panel's table lists."""
    x = x_test[:500]
    rebuilt = rebuild(ways[settings.framework], model, x)
    return {
        "squared error, test": float(squared_error(x, rebuilt).mean()),
        "cross-entropy, test": float(cross_entropy(x, rebuilt).mean()),
    }


trainers = {name: functools.partial(way.train, x_train) for name, way in ways.items()}
panel = Panel(trainers, controls, title="Autoencoder", summary=test_errors)
panel.show()

# %% [markdown]
# No front end is needed. The same run from a script is one call:

# %%
name, *_ = ways  # the first of your frameworks
chosen = settings_of(controls, name, SEED, latents=2, steps=200)
model = run(trainers[name], chosen, "Autoencoder", every=100)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Models that have had their time
#
# From here on we use checkpoints trained for 20 epochs: one file for each model, which loads into
# whichever framework you run.

# %%
name, *_ = ways
way = ways[name]


def restore(checkpoint, framework=name):
    """The model of a checkpoint, in a framework, and what its file says about it."""
    info = checkpoints.load(checkpoint).info
    settings = info["settings"]
    model = ways[framework].build(settings["kind"], settings["latents"], settings["loss"])
    checkpoints.load_into(model, checkpoint)
    return model, info


kinds = {
    "dense": "01_autoencoder_dense",
    "deep": "01_autoencoder_deep",
    "conv": "01_autoencoder",
}
trained = {kind: restore(checkpoint)[0] for kind, checkpoint in kinds.items()}
rows = {kind: rebuild(way, model, x_test[first]) for kind, model in trained.items()}
alt = "ten test digits, and below them their reconstructions by the dense, the deep and the "
alt += "convolutional network: the first blurs, the other two are hard to tell from the originals"
grid = np.concatenate([x_test[first], *rows.values()]).reshape(-1, 28, 28)
plots.show(plots.grid(grid, columns=10, scale=2), alt=alt)
for kind, pixels in rows.items():
    print(f"{kind:<5} {cross_entropy(x_test[first], pixels).mean():.4f} nats per pixel")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Walk between two digits
#
# Above, points on the line between two codes, decoded; below, the same shares of the two images.
# The path through code space bends one shape into the other better than the fade does, but look
# at its middle: nothing ever asked these codes to mean something.

# %%
conv = trained["conv"]


def walk(start, end, t):
    """Above, points on the line between two codes; below, on that between two images."""
    pair = x_test[[first[start], first[end]]]  # 2×784
    codes = way.encode(conv, pair)  # 2×32
    path = np.linspace(0, 1, 9)[:, None]
    path[4] = t  # the middle tile follows the slider
    between = way.decode(conv, ((1 - path) * codes[0] + path * codes[1]).astype("float32"))
    faded = (1 - path) * pair[0] + path * pair[1]
    return plots.grid(np.concatenate([between, faded]).reshape(-1, 28, 28), columns=9, scale=3)


Explorer(
    walk,
    [
        Slider("start", 4, 0, 9, help="digit on the left"),
        Slider("end", 7, 0, 9, help="digit on the right"),
        Slider("t", 0.5, 0.0, 1.0, step=0.02, help="place of the middle tile on the line"),
    ],
    title="Walk between two digits",
    alt="two rows of nine images: above, decoded codes between a 4 and a 7; below, the images fade",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Draw a digit
#
# Your drawing is moved to the middle, as MNIST's digits are, and goes through a network. Draw a
# digit; then draw something else: a letter, a face, a straight line. Which of them come back?

# %%
denoiser, _ = restore("01_autoencoder_denoise")
networks = {**trained, "denoiser": denoiser}


def redraw(drawing, network, erase):
    """What the network sees, and what it makes of it."""
    seen = data.centre(drawing).reshape(1, 784) / np.float32(255)
    seen = seen * (np.random.default_rng(SEED).random(seen.shape) >= erase)
    rebuilt = rebuild(way, networks[network], seen.astype("float32"))
    return plots.grid(np.stack([seen, rebuilt]).reshape(-1, 28, 28), columns=2, scale=8)


Explorer(
    redraw,
    [
        Drawing("drawing", digits.x_test[first[2]], help="mouse, finger or keyboard"),
        Choice("network", "conv", list(networks), help="the denoiser trained with half erased"),
        Slider("erase", 0.0, 0.0, 0.9, step=0.1, help="share of the pixels erased"),
    ],
    title="Draw a digit",
    alt="left, the drawing as the network sees it; right, what the network makes of it",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Repair
#
# Half of the pixels erased, at random. The plain network has only ever seen whole digits, and takes
# what is missing for pale and broken writing; the denoiser was asked for the whole digit all
# along. What it has learned is what digits look like, not how to copy (Vincent et al., 2008).

# %%
whole = x_test[:500]
damaged = (whole * (np.random.default_rng(SEED).random(whole.shape) >= 0.5)).astype("float32")
repaired = {kind: rebuild(way, networks[kind], damaged) for kind in ("conv", "denoiser")}
sheets = np.stack([sheet[:10] for sheet in (whole, damaged, *repaired.values())])
alt = (
    "ten test digits; the same with half of their pixels black; the plain network's reconstructions, "
    "pale and thin; the denoiser's, which are whole digits"
)
plots.show(plots.grid(sheets.reshape(-1, 28, 28), columns=10, scale=2), alt=alt)
for kind, pixels in repaired.items():
    print(f"{kind:<8} squared error {squared_error(whole, pixels).mean():.4f} per pixel")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why it is no generator
#
# A code of two numbers can be looked at whole. Each dot is a test digit's code; the numerals
# stand at the middle of each class. There is no fixed scale, no centre, and no reason for the
# space *between* the dots to decode to anything: it holds no training image. To generate, one
# would have to know where codes lie, and an autoencoder does not say.

# %%
flat, _ = restore("01_autoencoder_2d")
codes2 = way.encode(flat, x_test[:3000])  # 3000×2
labels2 = digits.y_test[:3000]
low, high = np.percentile(codes2, [1, 99], axis=0)
side = 16
z1, z2 = np.meshgrid(np.linspace(low[0], high[0], side), np.linspace(high[1], low[1], side))
plane = way.decode(flat, np.stack([z1.ravel(), z2.ravel()], axis=1).astype("float32"))
plane = plots.grid(plane.reshape(-1, 28, 28), columns=side, pad=0)  # 448×448


# %%
def hole(z1, z2):
    """The codes of test digits, the plane decoded, and the digit at the chosen point."""
    fig, (left, middle, right) = plots.figure(columns=3, width=9, height=3)
    for label in np.unique(labels2):
        x, y = codes2[labels2 == label].T
        left.scatter(x, y, s=2, alpha=0.5, color=f"C{label % 10}", linewidths=0)
        box = {"boxstyle": "circle", "facecolor": "white", "pad": 0.15, "linewidth": 0.5}
        left.text(np.median(x), np.median(y), str(label), ha="center", va="center", bbox=box)
    extent = (low[0], high[0], low[1], high[1])
    left.set(xlim=extent[:2], ylim=extent[2:], xlabel="$z_1$", ylabel="$z_2$", title="codes")
    middle.imshow(plane, cmap="gray", extent=extent, aspect="auto")
    middle.set(xlabel="$z_1$", title="the plane, decoded")
    point = low + (high - low) * np.array([z1, z2])
    for ax, colour in ((left, "black"), (middle, "orange")):
        ax.plot(*point, marker="+", markersize=16, color=colour, markeredgewidth=2)
    digit = way.decode(flat, point[None].astype("float32")).reshape(28, 28)
    right.imshow(digit, cmap="gray", vmin=0, vmax=1)
    right.set(xticks=[], yticks=[], title="at the cross")
    return fig


Explorer(
    hole,
    [
        Slider("z1", 0.5, 0.0, 1.0, step=0.01, help="left to right, as a share of the width"),
        Slider("z2", 0.5, 0.0, 1.0, step=0.01, help="bottom to top"),
    ],
    title="Holes in the code space",
    alt="left, codes: a crowd of overlapping classes, streaks that leave it, and empty space; middle, "
    "the plane decoded, where digits blend into one another; right, the picture at the cross",
).show()

# %% [markdown]
# Thirty-two numbers do not help. Below, codes drawn from a normal distribution with the mean and
# the covariance of the real codes, as one might try. Count how many of the images you can name:
# the real codes fill only a part of that ellipsoid, and the decoder was never asked about the
# rest.

# %%
real = way.encode(conv, x_test)
rng = np.random.default_rng(SEED)
drawn = rng.multivariate_normal(real.mean(axis=0), np.cov(real.T), 32).astype("float32")
alt = "32 images decoded from random codes: some could pass for digits, many are knots of strokes"
plots.show(plots.grid(way.decode(conv, drawn).reshape(-1, 28, 28), columns=16, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### A linear autoencoder and PCA
#
# A `dense` network with the squared error has no nonlinearity at all. We train one with a code of
# six, and put scikit-learn's PCA with six components beside it. **First commit to a prediction.**

# %%
exercises.predict(
    "Linear autoencoder and PCA, six numbers each: what will agree?",
    [
        "the errors, but not the codes",
        "the codes, but not the errors",
        "both: they are the same method",
        "neither: gradient descent stops in a local minimum",
    ],
    key="linear",
)

# %%
from sklearn.decomposition import PCA

linear = {"kind": "dense", "loss": "squared error", "latents": 6}
chosen = settings_of(controls, name, SEED, **linear, learning_rate=1e-2, batch_size=256, steps=1000)
model = way.train(x_train, chosen, lambda *_: True)
grey = (x_train / np.float32(255)).astype("float32")
pca = PCA(6, svd_solver="covariance_eigh").fit(grey)
scores = pca.transform(grey[:2000])  # up to 2000×6
least = squared_error(grey, pca.inverse_transform(pca.transform(grey))).mean()
found = squared_error(grey, rebuild(way, model, grey)).mean()
between = np.corrcoef(scores.T, way.encode(model, grey[:2000]).T)[:6, 6:]
print(f"squared error, training images: PCA {least:.5f}, linear autoencoder {found:.5f}")
print(f"excess over PCA: {found / least - 1:.1e} of the error")
print(f"largest correlation of each code with a component: {np.abs(between).max(axis=0).round(2)}")
same_error, same_codes = found / least < 1.01, np.abs(between).max(axis=0).min() > 0.99
outcome = {
    (True, False): "the errors, but not the codes",
    (False, True): "the codes, but not the errors",
    (True, True): "both: they are the same method",
    (False, False): "neither: gradient descent stops in a local minimum",
}[same_error, bool(same_codes)]
exercises.reveal("linear", outcome)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** For any invertible 6×6 matrix $A$, the code $Az$ with the decoder $g \circ A^{-1}$
# rebuilds exactly as well, so nothing makes the network choose PCA's axes or their order. What is
# fixed is the subspace. And gradient descent arrives: this landscape has saddles but no bad
# minima. How *soon* it arrives depends on the gap between the sixth eigenvalue of the images'
# covariance and the seventh; where two are nearly equal, neither direction is much better. What
# depth adds to the linear network's quality, part 10 measures.
#
# ### Anomalies, and how the method fails
#
# The most common use of an autoencoder: train on what is normal, and flag what it rebuilds badly.
# We leave one digit out of training, train for a few seconds, and ask whether its reconstruction
# error gives the stranger away. The **AUROC** is the chance that a stranger has a larger error
# than a known digit: 1 is perfect, 0.5 is a coin.

# %%
exercises.predict(
    "Three networks, each trained without one digit. Which stranger will be hardest to detect?",
    ["the 0", "the 1", "the 8", "all will be easy: none was ever seen"],
    key="anomaly",
)

# %%
from sklearn.metrics import roc_auc_score


def detect(stranger, latents, steps=400):
    """AUROC of the squared error on test images, trained without the digit `stranger`."""
    chosen = settings_of(controls, name, SEED, kind="deep", latents=latents, steps=steps)
    model = way.train(x_train[digits.y_train != stranger], chosen, lambda *_: True)
    x, unknown = x_test[:4000], digits.y_test[:4000] == stranger
    return roc_auc_score(unknown, squared_error(x, rebuild(way, model, x))), model


aurocs = {}
for stranger in (0, 1, 8):
    aurocs[stranger], _ = detect(stranger, latents=8)
    print(f"trained without the {stranger}: AUROC {aurocs[stranger]:.2f}")
exercises.reveal("anomaly", f"the {min(aurocs, key=aurocs.get)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** The error measures how *complicated* an image is as much as how *strange*. A 1 is
# one stroke with little ink: even a network that never saw it rebuilds it with less error than
# most digits it knows, so ranking by error calls the stranger especially normal. On MNIST its
# AUROC is worse than a coin's. A complicated stranger stands out. Remedies:
# compare with a baseline (the error of the mean image, or of PCA), learn the distribution of
# codes, or score with a model that has a likelihood, and then check that too (Nalisnick et al.,
# [2019](https://arxiv.org/abs/1810.09136), found the same failure in deep likelihood models).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# Cross-entropy per pixel on the test images, whole and grey, with the checkpoints in each
# framework; the standard error says how much another thousand images might change it.

# %%
print(f"{'nats per pixel':<12}" + "".join(f"{kind:>20}" for kind in kinds))
for framework in ways:
    cells = []
    for checkpoint in kinds.values():
        model, _ = restore(checkpoint, framework)
        pixels = rebuild(ways[framework], model, x_test[:1000])
        estimate = metrics.mean_and_error(cross_entropy(x_test[:1000], pixels))
        cells.append(f"{estimate.value:.4f} ± {estimate.error:.4f}")
    print(f"{runtime.LABELS[framework]:<14}" + "".join(f"{cell:>20}" for cell in cells))

# %% [markdown]
# And on the whole test set, recorded by `make results`. The references are notebooks that many
# learners have met: a dense network with a ReLU code, a deep one, and a convolutional one whose
# code had 128 numbers, four times ours.

# %%
from utils import results

results.show("01_autoencoder")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. The sizes.** How many parameters has the convolutional network with a code of 32? Do it by
# hand: encoder, then decoder.

# %%
questions.parameter_count.check(...)  # your number
# questions.parameter_count.hint()
# questions.parameter_count.solution()

# %% [markdown]
# **2. Cross-entropy from logits.** Without forming the sigmoid, so that a logit of 1,000 neither
# overflows nor turns into $\log 0$. One number for each image: the mean over its pixels.


# %%
def cross_entropy_from_logits(x, logits):
    """Mean over pixels, shape (B,), in nats, of images x (B, D) in 0…1 and logits (B, D)."""
    return ...  # your code


questions.cross_entropy_from_logits.check(cross_entropy_from_logits)

# %% [markdown]
# **3. PCA as an autoencoder.** From the images' mean and their first $k$ principal directions,
# write the reconstruction.


# %%
def pca_rebuild(x, mean, components):
    """Reconstructions (B, D) of x (B, D), from a mean (D,) and orthonormal components (k, D)."""
    return ...  # your code


questions.pca_rebuild.check(pca_rebuild)

# %% [markdown]
# **4. Corruption.** Erase each pixel with a given probability, using uniform draws, as the
# denoiser's training does.


# %%
def erase_pixels(x, uniform, share):
    """x (B, D) with pixels set to 0 where its draw, in [0, 1), falls below `share`."""
    return ...  # your code


questions.erase_pixels.check(erase_pixels)

# %% [markdown]
# **5. Change the data.** Any folder of images, or an IDX file such as Fashion-MNIST's, can take
# MNIST's place. Load one with `data.from_images(folder)` or `data.from_idx(images, labels)`,
# check it, put it into `x_train`, and train in the panel again.

# %%
my_pictures = ...  # data.from_images("…") or data.from_idx("…")
questions.other_data.check(my_pictures)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - A narrow code forces the network to find how the data vary. With linear halves and the squared
#   error it finds PCA's subspace; depth and convolutions do better with the same number of codes.
# - Cross-entropy on grey pixels is a cost with a floor above zero, not a likelihood.
# - Flattening order, "same" padding, Adam's epsilon and the initialisation differ between
#   frameworks: check that models agree before you compare their results.
# - The decoder is trained where codes of real images lie, and nowhere else: drawing random codes
#   is not generation.
# - A reconstruction error says how complicated an image is as well as how strange: test an
#   anomaly detector on the anomalies you expect, simple ones included.
#
# | use | when |
# |---|---|
# | PCA | a linear code is enough, or you need it at once and explained |
# | an autoencoder | compression, features or denoising, and you have no labels |
# | a denoising autoencoder | the input is damaged, or features should survive noise |
# | a VAE ([next](02_vae.ipynb)) | you want to generate, or need a likelihood |
#
# **Further reading.** Hinton and Salakhutdinov
# ([2006](https://doi.org/10.1126/science.1127647)); Vincent et al., *Stacked denoising
# autoencoders* ([2010](https://www.jmlr.org/papers/v11/vincent10a.html)); Goodfellow, Bengio and
# Courville, *Deep Learning*, [chapter 14](https://www.deeplearningbook.org/contents/autoencoders.html).

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [Variational autoencoders](02_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/02_vae.ipynb))
# - **Previous:** [Start here](../00_start_here/00_start_here.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/00_start_here/00_start_here.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
