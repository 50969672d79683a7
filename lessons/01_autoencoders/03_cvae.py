# ---
# jupyter:
#   course:
#     title: "Conditional VAEs"
#     summary: "Generate the digit you ask for, and complete a digit of which you see a quarter."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "02_vae: the ELBO, the reparameterisation, importance-weighted bounds"
#     objectives:
#       - "turn the ELBO of p(x) into one of p(x | c), and say what each of the three networks sees"
#       - "write a learned prior and the KL divergence of two Gaussians in three frameworks"
#       - "separate what is written (the label) from how it is written (the code)"
#       - "complete an image from one, two or three quadrants, several ways"
#       - "say why a deterministic network blurs, and what that costs in nats"
#       - "bring about a code that carries the label, and a decoder that ignores the code"
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
# # Conditional VAEs
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/03_cvae.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/01_autoencoders/03_cvae.ipynb)
#
# Generate the digit you ask for, and complete a digit of which you see a quarter.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** 02_vae: the ELBO, the reparameterisation, importance-weighted bounds.
#
# **What you will be able to do:**
#
# - turn the ELBO of p(x) into one of p(x | c), and say what each of the three networks sees
# - write a learned prior and the KL divergence of two Gaussians in three frameworks
# - separate what is written (the label) from how it is written (the code)
# - complete an image from one, two or three quadrants, several ways
# - say why a deterministic network blurs, and what that costs in nats
# - bring about a code that carries the label, and a decoder that ignores the code

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

import numpy as np

from utils import checkpoints, data, exercises, judge, metrics, parity, plots, runtime
from utils.controls import Choice, Slider, Toggle
from utils.exercises import cvae as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# A VAE draws digits, but not the digit that you ask for. Often we know something, a **condition**
# $c$, and want the rest: an image $x$ from its label, or the hidden part of an image from the part
# we see. There is seldom one right answer. A 7 can be written in many ways, and the lower left
# quarter of a digit may belong to a 4, a 7 or a 9. So we want the distribution $p(x \mid c)$, and
# draws from it. A **conditional VAE** (Sohn, Lee and Yan,
# [2015](https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models))
# is the VAE of [02_vae](02_vae.ipynb) with $c$ on every side:
#
# $$z \sim p_\theta(z \mid c), \qquad x \sim p_\theta(x \mid z, c).$$
#
# Everything that $c$ leaves open is the business of the code $z$. (Sohn et al. call the condition
# $x$ and the answer $y$; here $x$ stays the image.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The bound
#
# Put "given $c$" behind every distribution in the derivation of the ELBO, and it still holds:
#
# $$\log p_\theta(x \mid c) \;\ge\; \mathbb E_{q_\phi(z \mid x, c)}\big[\log p_\theta(x \mid z, c)\big]
#   - \mathrm{KL}\big(q_\phi(z \mid x, c)\,\|\,p_\theta(z \mid c)\big).$$
#
# | network | sees | used |
# |---|---|---|
# | **recognition** $q_\phi(z \mid x, c)$ | the answer and the condition | in training only |
# | **prior** $p_\theta(z \mid c)$ | the condition | in training, and to draw |
# | **generation** $p_\theta(x \mid z, c)$ | a code and the condition | in training, and to draw |
#
# The prior may be *learned*: seeing a part of a digit says a lot about its code. Then the KL
# divergence is the one between two Gaussians,
#
# $$\mathrm{KL} = \tfrac12 \sum_j \Big(\frac{\sigma_j^2 + (\mu_j - \mu_{p,j})^2}{\sigma_{p,j}^2} - 1
#   + \log \sigma_{p,j}^2 - \log \sigma_j^2\Big),$$
#
# and it trains both. (Code that learns a prior, and still pays the KL from $\mathcal N(0, I)$,
# trains one prior and draws from another.) Or the prior may be *fixed*, $p(z \mid c) = p(z) =
# \mathcal N(0, I)$, which Sohn et al. allow too. We use a learned one for quadrants and a fixed
# one for labels: a code that is independent of the label is a **style** that all digits share.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why not predict the pixels directly?
#
# A network that maps $c$ to one probability for each pixel is trained by the same cross-entropy,
# without any code. But it treats the pixels as **independent** given $c$. Suppose twenty hidden
# pixels are all on or all off, with equal chances:

# %%
n = 20
independent = -n * np.log(0.5)  # the best single answer: grey, p = ½ for each pixel
with_code = -np.log(0.5)  # one coin z for all of them, then every pixel is certain
print(f"Predicted one by one: {independent:.2f} nats, and a picture in grey.")
print(f"With one coin in common: {with_code:.2f} nats, and a picture in black or in white.")

# %% [markdown]
# That is all there is to **blur**: the mean of several sharp answers. It looks worse, and it costs
# nats, the more the less is seen. We train such a network beside ours, as the baseline.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST, binarised anew each time that an image is used, as in 02_vae. Two kinds of condition:
#
# * **label**: ten numbers, a one for the digit. Every pixel is to be said.
# * **quadrants**: 784 numbers, −1 for a black pixel that is seen, 1 for a white one and **0 for a
#   hidden one**. With 0 for black the network could not tell black from hidden. Only hidden
#   pixels are to be said, and only they count in the loss.
#
# The three tasks are those of Pyro's [reproduction](https://pyro.ai/examples/cvae.html) of the
# paper: seen is the lower left quarter, the left half, or all but the lower right quarter. One
# model learns all three. Half of its training images come with one of them; for the other half
# any subset of quadrants is seen, none of them included, so that you can hide what you like in
# part 8.

# %% tags=["export"]
PIXELS, DIGITS, HIDDEN, ADAM_EPS = 784, 10, 200, 1e-4
MODELS = ("quadrants", "label", "baseline")
QUICK = {"model": "quadrants", "learning_rate": 2e-3, "beta": 1.0, "latents": 32}
QUICK |= {"batch_size": 100, "steps": 400}
FULL = {**QUICK, "batch_size": 128, "steps": 90_000}  # 192 epochs

quarter = np.zeros((4, 28, 28), "float32")  # top left, top right, bottom left, bottom right
quarter[0, :14, :14] = quarter[1, :14, 14:] = quarter[2, 14:, :14] = quarter[3, 14:, 14:] = 1
quarter = quarter.reshape(4, PIXELS)
# What is seen in the three tasks: bottom left; the left half; all but the bottom right.
TASKS = np.stack([quarter[2], quarter[0] + quarter[2], quarter[:3].sum(axis=0)])  # 3×784
EVERY = [np.float32(bits) @ quarter for bits in itertools.product((0, 1), repeat=4)][:15]
SEEN = np.concatenate([EVERY, TASKS.repeat(5, axis=0)])  # 30×784: drawn from in training


def see(x, seen):
    """Condition and hidden pixels of binary images, (B, 784) each, for the mask `seen`."""
    return ((2 * x - 1) * seen).astype("float32"), np.broadcast_to(1 - seen, x.shape)


def told(y):
    """Condition (B, 10) and hidden pixels (B, 784), all of them, for labels y (B,)."""
    return np.eye(DIGITS, dtype="float32")[y], np.ones((len(y), PIXELS), "float32")


def fill(x, hidden, p):
    """The seen pixels of x (B, 784), and p (…, B, 784) where they are hidden."""
    return np.where(hidden > 0, p, x)


# %%
digits = data.mnist()
print(digits.describe())
x_train = data.flatten(digits.x_train)  # N×784, uint8
test_coins = np.random.default_rng(0)  # tossed once: every measurement sees the same test images
x_test = data.binarise(data.flatten(digits.x_test), test_coins)  # N×784, 0 or 1
first = [int(np.argmax(digits.y_test == label)) for label in range(10)]  # one image of each digit
conditions = [see(x_test[first], seen)[0] for seen in TASKS]  # 10×784 each
rows = np.concatenate([x_test[first], *(c / 2 + 0.5 for c in conditions)])
alt = "ten binarised test digits, and below them what is seen of them in the three tasks: a "
alt += "quarter, a half, three quarters; what is hidden is grey"
plots.show(plots.grid(rows.reshape(-1, 28, 28), columns=10, scale=2), alt=alt)
print(f"Hidden pixels: {', '.join(f'{PIXELS - seen.sum():.0f}' for seen in TASKS)}.")

# %% [markdown]
# ### What the three sections share
#
# Sizes, the tasks above, and a place to put each framework's functions. Three models:
# `quadrants` (a learned prior), `label` (a fixed one) and `baseline` (quadrants without a code).

# %% tags=["export"]
Way = collections.namedtuple("Way", "build train posterior prior decode log_weights")
ways = {}  # framework -> its six functions, filled by the sections


def learning_rate(step, settings):
    """The rate of a step (counted from 0): constant for half of the run, then down to zero."""
    return settings.learning_rate * min(1.0, 2 * (1 - step / settings.steps))


def index_batches(n, settings):
    """Shuffled batches of positions in n images, epoch after epoch, one for each step."""
    rng = np.random.default_rng(settings.seed)
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), settings.steps)


def generate(way, model, c, eps):
    """Pixel probabilities (K, B, 784) for conditions c (B, ·) and noise (K, B, latents)."""
    mean, log_var = way.prior(model, c)  # B×latents
    return way.decode(model, mean + np.exp(0.5 * log_var) * eps, c)


def picture(way, model, images, settings):
    """What the panel shows: three draws for each of ten conditions, the same each time."""
    rng = np.random.default_rng(settings.seed)
    eps = rng.standard_normal((3, 10, settings.latents), dtype="float32")
    if settings.model == "label":
        rows = generate(way, model, np.eye(DIGITS, dtype="float32"), eps)  # 3×10×784
    else:
        x = data.binarise(images[:10], rng)
        c, hidden = see(x, TASKS[0])
        drawn = np.broadcast_to(generate(way, model, c, eps), (3, 10, PIXELS))
        rows = np.concatenate([c[None] / 2 + 0.5, fill(x, hidden, drawn)])  # hidden pixels grey
    return plots.grid(rows.reshape(-1, 28, 28), columns=10)


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* Four methods are the model: `features` reads the condition,
# `prior` and `posterior` say where codes lie without and with the image, `decode` draws.
# A dense layer on two inputs side by side is the sum of two dense layers, and the sum is handy:
# many codes can share one condition without its being copied.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchCVAE(nn.Module):
    """The networks of p(z|c), q(z|x, c) and p(x|z, c), for labels or for quadrants."""

    def __init__(self, model, latents):
        super().__init__()
        self.latents, self.learned = latents, model == "quadrants"
        width = HIDDEN if self.learned else DIGITS  # of a condition's features
        if self.learned:
            self.condition1, self.condition2 = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
            self.prior_mean, self.prior_log_var = (nn.Linear(HIDDEN, latents) for _ in range(2))
        self.encoder_x, self.encoder_c = nn.Linear(PIXELS, HIDDEN), nn.Linear(width, HIDDEN)
        self.encoder2 = nn.Linear(HIDDEN, HIDDEN)
        self.code_mean, self.code_log_var = (nn.Linear(HIDDEN, latents) for _ in range(2))
        self.decoder_z, self.decoder_c = nn.Linear(latents, HIDDEN), nn.Linear(width, HIDDEN)
        self.decoder2, self.logits = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, PIXELS)
        self.apply(glorot)

    def features(self, c):  # B×784 → B×200; a label is a feature as it is
        return F.relu(self.condition2(F.relu(self.condition1(c)))) if self.learned else c

    def prior(self, h):  # B×width → B×latents, twice; N(0, I) for a label
        if self.learned:
            return self.prior_mean(h), self.prior_log_var(h)
        return h.new_zeros(len(h), self.latents), h.new_zeros(len(h), self.latents)

    def posterior(self, x, h):  # B×784 and B×width → B×latents, twice
        e = F.relu(self.encoder2(F.relu(self.encoder_x(x) + self.encoder_c(h))))  # B×200
        return self.code_mean(e), self.code_log_var(e)

    def decode(self, z, h):  # …×B×latents and B×width → …×B×784, logits
        return self.logits(F.relu(self.decoder2(F.relu(self.decoder_z(z) + self.decoder_c(h)))))


# %% tags=["export", "torch"]
def glorot(layer):
    """Glorot's weights and zero biases; PyTorch's own default is another."""
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


class TorchBaseline(nn.Module):
    """The same interface without a code: prior and posterior are one, and `decode` ignores z."""

    def __init__(self, latents):
        super().__init__()
        self.latents = latents
        self.hidden1, self.hidden2 = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.logits = nn.Linear(HIDDEN, PIXELS)
        self.apply(glorot)

    def features(self, c):  # B×784 → B×200
        return F.relu(self.hidden2(F.relu(self.hidden1(c))))

    def prior(self, h):
        return h.new_zeros(len(h), self.latents), h.new_zeros(len(h), self.latents)

    def posterior(self, x, h):
        return self.prior(h)

    def decode(self, z, h):  # B×200 → B×784, logits
        return self.logits(h)


def build_torch(model, latents=QUICK["latents"]):
    """One of MODELS, with fresh weights."""
    return TorchBaseline(latents) if model == "baseline" else TorchCVAE(model, latents)


# %% [markdown] slideshow={"slide_type": "subslide"}
# The two terms. Only **hidden** pixels count, and the KL divergence is the one between two
# Gaussians.


# %% tags=["export", "torch"]
def elbo_torch(model, x, c, hidden, eps):
    """−log p(x|z, c) over hidden pixels and KL(q‖p), each of shape (B,)."""
    h = model.features(c)
    (mean, log_var), (mean_p, log_var_p) = model.posterior(x, h), model.prior(h)  # B×latents
    logits = model.decode(mean + torch.exp(0.5 * log_var) * eps, h)  # B×784
    nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    spread = (log_var.exp() + (mean - mean_p) ** 2) / log_var_p.exp()
    kl = 0.5 * (spread - 1 + log_var_p - log_var).sum(dim=1)  # sum over latents
    return (nll * hidden).sum(dim=1), kl


# %% tags=["export", "torch"]
def conditions_torch(x, y, model):
    """What the model is told about images x (B, 784) of digits y, and which pixels it is to say."""
    if model == "label":
        return F.one_hot(y, DIGITS).float(), torch.ones_like(x)
    seen = torch.as_tensor(SEEN)[torch.randint(len(SEEN), (len(x),))]  # B×784
    return (2 * x - 1) * seen, 1 - seen


def train_torch(images, labels, settings, report):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    n = data.check_batch(settings.batch_size, len(images))
    model = build_torch(settings.model, settings.latents)
    optimizer = torch.optim.Adam(model.parameters(), eps=ADAM_EPS, fused=True)
    grey, digits = torch.as_tensor(images), torch.as_tensor(labels.astype("int64"))
    for step, index in enumerate(map(torch.as_tensor, index_batches(n, settings)), start=1):
        x = torch.bernoulli(grey[index].float() / 255)  # B×784, tossed anew
        c, hidden = conditions_torch(x, digits[index], settings.model)
        nll, kl = elbo_torch(model, x, c, hidden, torch.randn(len(x), settings.latents))
        loss = (nll + settings.beta * kl).mean()
        optimizer.param_groups[0]["lr"] = learning_rate(step - 1, settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            values = (loss.item(), nll.mean().item(), kl.mean().item())
            logs = dict(zip(("loss", "reconstruction", "KL"), values, strict=True))
            if not report(step, logs, lambda: picture(ways["torch"], model, images, settings)):
                break
    return model


# %% [markdown]
# The borders of the section: NumPy in, NumPy out. `log_weights` is for part 10.


# %% tags=["export", "torch"]
@torch.no_grad()
def posterior_torch(model, x, c):
    """Means and log-variances (B, latents) of q(z|x, c)."""
    h = model.features(torch.as_tensor(c))
    return tuple(part.cpu().numpy() for part in model.posterior(torch.as_tensor(x), h))


@torch.no_grad()
def prior_torch(model, c):
    """Means and log-variances (B, latents) of p(z|c)."""
    return tuple(part.cpu().numpy() for part in model.prior(model.features(torch.as_tensor(c))))


@torch.no_grad()
def decode_torch(model, z, c):
    """Pixel probabilities (…, B, 784) of codes (…, B, latents) under conditions c (B, ·)."""
    h = model.features(torch.as_tensor(c))
    return torch.sigmoid(model.decode(torch.as_tensor(z), h)).cpu().numpy()


@torch.no_grad()
def log_weights_torch(model, x, c, hidden, eps):
    """log p(x, z|c) − log q(z|x, c), shape (K, B), for noise (K, B, latents)."""
    x, c, hidden, eps = (torch.tensor(part) for part in (x, c, hidden, eps))
    h = model.features(c)
    (mean, log_var), (mean_p, log_var_p) = model.posterior(x, h), model.prior(h)  # B×latents
    z = mean + torch.exp(0.5 * log_var) * eps  # K×B×latents
    logits = model.decode(z, h)  # K×B×784
    log_p_x = ((x * logits - F.softplus(logits)) * hidden).sum(-1)  # K×B
    distance = (z - mean_p) ** 2 / log_var_p.exp()
    # log p(z|c) − log q(z|x, c): the constants cancel, and (z − μ)/σ is the noise itself
    return (log_p_x + 0.5 * (eps**2 - distance + log_var - log_var_p).sum(-1)).cpu().numpy()


ways["torch"] = Way(
    build_torch, train_torch, posterior_torch, prior_torch, decode_torch, log_weights_torch
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* Variables, operations, a gradient tape, and functions compiled into graphs.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import Dense  # built by hand in 01_autoencoder
from utils.tf_optimizers import Adam


class TFCVAE(tf.Module):
    """The networks of p(z|c), q(z|x, c) and p(x|z, c), for labels or for quadrants."""

    def __init__(self, model, latents):
        super().__init__()
        self.latents, self.learned = latents, model == "quadrants"
        width = HIDDEN if self.learned else DIGITS  # of a condition's features
        if self.learned:
            self.condition1, self.condition2 = Dense(PIXELS, HIDDEN), Dense(HIDDEN, HIDDEN)
            self.prior_mean, self.prior_log_var = (Dense(HIDDEN, latents) for _ in range(2))
        self.encoder_x, self.encoder_c = Dense(PIXELS, HIDDEN), Dense(width, HIDDEN)
        self.encoder2 = Dense(HIDDEN, HIDDEN)
        self.code_mean, self.code_log_var = (Dense(HIDDEN, latents) for _ in range(2))
        self.decoder_z, self.decoder_c = Dense(latents, HIDDEN), Dense(width, HIDDEN)
        self.decoder2, self.logits = Dense(HIDDEN, HIDDEN), Dense(HIDDEN, PIXELS)

    def features(self, c):  # B×784 → B×200; a label is a feature as it is
        if not self.learned:
            return c
        return tf.nn.relu(self.condition2(tf.nn.relu(self.condition1(c))))

    def prior(self, h):  # B×width → B×latents, twice; N(0, I) for a label
        if self.learned:
            return self.prior_mean(h), self.prior_log_var(h)
        return (tf.zeros((tf.shape(h)[0], self.latents)),) * 2

    def posterior(self, x, h):  # B×784 and B×width → B×latents, twice
        e = tf.nn.relu(self.encoder2(tf.nn.relu(self.encoder_x(x) + self.encoder_c(h))))  # B×200
        return self.code_mean(e), self.code_log_var(e)

    def decode(self, z, h):  # …×B×latents and B×width → …×B×784, logits
        d = tf.nn.relu(self.decoder2(tf.nn.relu(self.decoder_z(z) + self.decoder_c(h))))
        return self.logits(d)


# %% tags=["export", "tensorflow"]
class TFBaseline(tf.Module):
    """The same interface without a code: prior and posterior are one, and `decode` ignores z."""

    def __init__(self, latents):
        super().__init__()
        self.latents = latents
        self.hidden1, self.hidden2 = Dense(PIXELS, HIDDEN), Dense(HIDDEN, HIDDEN)
        self.logits = Dense(HIDDEN, PIXELS)

    def features(self, c):  # B×784 → B×200
        return tf.nn.relu(self.hidden2(tf.nn.relu(self.hidden1(c))))

    def prior(self, h):
        return (tf.zeros((tf.shape(h)[0], self.latents)),) * 2

    def posterior(self, x, h):
        return self.prior(h)

    def decode(self, z, h):  # B×200 → B×784, logits
        return self.logits(h)


def build_tf(model, latents=QUICK["latents"]):
    """One of MODELS, with fresh weights."""
    return TFBaseline(latents) if model == "baseline" else TFCVAE(model, latents)


def elbo_tf(model, x, c, hidden, eps):
    """−log p(x|z, c) over hidden pixels and KL(q‖p), each of shape (B,)."""
    h = model.features(c)
    (mean, log_var), (mean_p, log_var_p) = model.posterior(x, h), model.prior(h)  # B×latents
    logits = model.decode(mean + tf.exp(0.5 * log_var) * eps, h)  # B×784
    nll = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    spread = (tf.exp(log_var) + (mean - mean_p) ** 2) / tf.exp(log_var_p)
    kl = 0.5 * tf.reduce_sum(spread - 1 + log_var_p - log_var, axis=1)  # sum over latents
    return tf.reduce_sum(nll * hidden, axis=1), kl


# %% [markdown]
# `tf.data` shuffles positions, tosses the pixels and hides quadrants, a few batches ahead.


# %% tags=["export", "tensorflow"]
def conditions_tf(x, y, model):
    """What the model is told about images x (B, 784) of digits y, and which pixels it is to say."""
    if model == "label":
        return tf.one_hot(y, DIGITS), tf.ones_like(x)
    seen = tf.gather(SEEN, tf.random.uniform((tf.shape(x)[0],), 0, len(SEEN), tf.int32))  # B×784
    return (2 * x - 1) * seen, 1 - seen


def tossed_batches(images, labels, settings):
    """An endless tf.data stream of images, conditions and hidden pixels, tossed anew."""
    size = settings.batch_size
    per_epoch = len(images) // size
    images, labels = tf.constant(images), tf.constant(labels.astype("int32"))

    def epoch(_):
        order = tf.random.shuffle(tf.range(len(images)))[: per_epoch * size]
        return tf.data.Dataset.from_tensor_slices(tf.reshape(order, (per_epoch, size)))

    def batch(index):
        grey = tf.cast(tf.gather(images, index), tf.float32) / 255  # B×784
        x = tf.cast(tf.random.uniform(tf.shape(grey)) < grey, tf.float32)
        return x, *conditions_tf(x, tf.gather(labels, index), settings.model)

    return tf.data.Dataset.range(2**62).flat_map(epoch).map(batch).prefetch(4)


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model, optimiser and step count: everything a long run needs to resume."""

    def __init__(self, settings):
        super().__init__()
        self.model = build_tf(settings.model, settings.latents)
        self.weights = parity.variables(self.model)
        self.adam = Adam(self.weights, ADAM_EPS)
        self.beta, self.step = settings.beta, tf.Variable(0, dtype=tf.int64)

    @tf.function
    def train_steps(self, batches, steps, rate):
        """Run `steps` steps; returns loss, reconstruction and KL of the last one, in nats."""
        nll = kl = tf.constant(0.0)
        for _ in tf.range(steps):
            x, c, hidden = next(batches)
            eps = tf.random.normal((tf.shape(x)[0], self.model.latents))
            with tf.GradientTape() as tape:
                nlls, kls = elbo_tf(self.model, x, c, hidden, eps)
                nll, kl = tf.reduce_mean(nlls), tf.reduce_mean(kls)
                loss = nll + self.beta * kl
            self.adam.apply(tape.gradient(loss, self.weights), rate)
            self.step.assign_add(1)
        return nll + self.beta * kl, nll, kl


# %% tags=["export", "tensorflow"]
def train_tf(images, labels, settings, report, trainer=None):
    """Train on uint8 images (N, 784); with a `trainer`, go on from where it stands."""
    data.check_batch(settings.batch_size, len(images))
    trainer = trainer or TFTrainer(settings)
    model = trainer.model
    batches = iter(tossed_batches(images, labels, settings))
    step = int(trainer.step)
    while step < settings.steps:
        steps = min(10, settings.steps - step)
        rate = learning_rate(step, settings)
        values = trainer.train_steps(batches, tf.constant(steps), tf.constant(rate))
        logs = dict(zip(("loss", "reconstruction", "KL"), map(float, values), strict=True))
        step += steps
        if not report(step, logs, lambda: picture(ways["tensorflow"], model, images, settings)):
            break
    return model


# %% tags=["export", "tensorflow"]
def posterior_tf(model, x, c):
    """Means and log-variances (B, latents) of q(z|x, c)."""
    h = model.features(tf.constant(c))
    return tuple(part.numpy() for part in model.posterior(tf.constant(x), h))


def prior_tf(model, c):
    """Means and log-variances (B, latents) of p(z|c)."""
    return tuple(part.numpy() for part in model.prior(model.features(tf.constant(c))))


def decode_tf(model, z, c):
    """Pixel probabilities (…, B, 784) of codes (…, B, latents) under conditions c (B, ·)."""
    return tf.sigmoid(model.decode(tf.constant(z), model.features(tf.constant(c)))).numpy()


@tf.function(reduce_retracing=True)
def log_weights_graph(model, x, c, hidden, eps):
    h = model.features(c)
    (mean, log_var), (mean_p, log_var_p) = model.posterior(x, h), model.prior(h)  # B×latents
    z = mean + tf.exp(0.5 * log_var) * eps  # K×B×latents
    logits = model.decode(z, h)  # K×B×784
    log_p_x = tf.reduce_sum((x * logits - tf.nn.softplus(logits)) * hidden, -1)  # K×B
    distance = (z - mean_p) ** 2 / tf.exp(log_var_p)
    return log_p_x + 0.5 * tf.reduce_sum(eps**2 - distance + log_var - log_var_p, -1)


def log_weights_tf(model, x, c, hidden, eps):
    """log p(x, z|c) − log q(z|x, c), shape (K, B), for noise (K, B, latents)."""
    return log_weights_graph(model, *map(tf.constant, (x, c, hidden, eps))).numpy()


ways["tensorflow"] = Way(build_tf, train_tf, posterior_tf, prior_tf, decode_tf, log_weights_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* Say what the layers are and what the loss is; `fit` owns the loop. What both
# models share comes first: `call` tosses the pixels, hides quadrants and returns the two terms,
# `compute_loss` adds them up.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


class KerasConditional(keras.Model):
    """What the CVAE and the baseline share: conditions, the two terms and their sum."""

    def __init__(self, model, latents, beta=1.0, seed=0):
        super().__init__()
        self.kind, self.latents, self.beta = model, latents, beta
        self.coins = keras.random.SeedGenerator(seed)
        self.parts = [keras.metrics.Mean("reconstruction"), keras.metrics.Mean("KL")]

    def conditions(self, x, y):
        """What the model is told about images x of digits y, and which pixels it is to say."""
        if self.kind == "label":
            return ops.one_hot(y, DIGITS), ops.ones_like(x)
        masks = keras.random.randint((ops.shape(x)[0],), 0, len(SEEN), seed=self.coins)
        seen = ops.take(ops.convert_to_tensor(SEEN), masks, axis=0)  # B×784
        return (2 * x - 1) * seen, 1 - seen

    def call(self, inputs):
        if len(inputs) == 4:  # part 6 says exactly what goes in
            return elbo_keras(self, *inputs)
        grey, y = inputs
        grey = ops.cast(grey, "float32") / 255  # B×784
        x = ops.cast(keras.random.uniform(ops.shape(grey), seed=self.coins) < grey, "float32")
        eps = keras.random.normal((ops.shape(x)[0], self.latents), seed=self.coins)
        return elbo_keras(self, x, *self.conditions(x, y), eps)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        for metric, value in zip(self.parts, y_pred, strict=True):
            metric.update_state(value)
        nll, kl = y_pred
        return ops.mean(nll + self.beta * kl)


# %% tags=["export", "keras"]
class KerasCVAE(KerasConditional):
    """The networks of p(z|c), q(z|x, c) and p(x|z, c), for labels or for quadrants."""

    def __init__(self, model, latents, **rest):
        super().__init__(model, latents, **rest)
        for name in ("encoder_x", "encoder_c", "decoder_z", "decoder_c"):
            setattr(self, name, layers.Dense(HIDDEN, name=name))
        names = ("encoder2", "decoder2")
        if model == "quadrants":
            names += ("condition1", "condition2")
            self.prior_mean = layers.Dense(latents, name="prior_mean")
            self.prior_log_var = layers.Dense(latents, name="prior_log_var")
        for name in names:
            setattr(self, name, layers.Dense(HIDDEN, activation="relu", name=name))
        self.code_mean = layers.Dense(latents, name="code_mean")
        self.code_log_var = layers.Dense(latents, name="code_log_var")
        self.logits = layers.Dense(PIXELS, name="logits")
        self([np.zeros((1, PIXELS), "uint8"), np.zeros(1, "int32")])  # builds the layers

    def features(self, c):  # B×784 → B×200; a label is a feature as it is
        return self.condition2(self.condition1(c)) if self.kind == "quadrants" else c

    def prior(self, h):  # B×width → B×latents, twice; N(0, I) for a label
        if self.kind == "quadrants":
            return self.prior_mean(h), self.prior_log_var(h)
        return (ops.zeros((ops.shape(h)[0], self.latents)),) * 2

    def posterior(self, x, h):  # B×784 and B×width → B×latents, twice
        e = self.encoder2(ops.maximum(self.encoder_x(x) + self.encoder_c(h), 0.0))  # B×200
        return self.code_mean(e), self.code_log_var(e)

    def decode(self, z, h):  # …×B×latents and B×width → …×B×784, logits
        return self.logits(self.decoder2(ops.maximum(self.decoder_z(z) + self.decoder_c(h), 0.0)))


# %% tags=["export", "keras"]
class KerasBaseline(KerasConditional):
    """The same interface without a code: prior and posterior are one, and `decode` ignores z."""

    def __init__(self, model, latents, **rest):
        super().__init__(model, latents, **rest)
        self.hidden1 = layers.Dense(HIDDEN, activation="relu", name="hidden1")
        self.hidden2 = layers.Dense(HIDDEN, activation="relu", name="hidden2")
        self.logits = layers.Dense(PIXELS, name="logits")
        self([np.zeros((1, PIXELS), "uint8"), np.zeros(1, "int32")])  # builds the layers

    def features(self, c):  # B×784 → B×200
        return self.hidden2(self.hidden1(c))

    def prior(self, h):
        return (ops.zeros((ops.shape(h)[0], self.latents)),) * 2

    def posterior(self, x, h):
        return self.prior(h)

    def decode(self, z, h):  # B×200 → B×784, logits
        return self.logits(h)


def build_keras(model, latents=QUICK["latents"], **rest):
    """One of MODELS, with fresh weights."""
    return (KerasBaseline if model == "baseline" else KerasCVAE)(model, latents, **rest)


# %% tags=["export", "keras"]
def elbo_keras(model, x, c, hidden, eps):
    """−log p(x|z, c) over hidden pixels and KL(q‖p), each of shape (B,)."""
    h = model.features(c)
    (mean, log_var), (mean_p, log_var_p) = model.posterior(x, h), model.prior(h)  # B×latents
    logits = model.decode(mean + ops.exp(0.5 * log_var) * eps, h)  # B×784
    nll = ops.binary_crossentropy(x, logits, from_logits=True)
    spread = (ops.exp(log_var) + (mean - mean_p) ** 2) / ops.exp(log_var_p)
    kl = 0.5 * ops.sum(spread - 1 + log_var_p - log_var, axis=1)  # sum over latents
    return ops.sum(nll * hidden, axis=1), kl


class Decay(keras.optimizers.schedules.LearningRateSchedule):
    """Constant for half of the run, then down to zero."""

    def __init__(self, rate, steps):
        self.rate, self.steps = rate, steps

    def __call__(self, step):
        return self.rate * ops.minimum(1.0, 2 * (1 - ops.cast(step, "float32") / self.steps))


def train_keras(images, labels, settings, report):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    n, size = data.check_batch(settings.batch_size, len(images)), settings.batch_size
    model = build_keras(settings.model, settings.latents, beta=settings.beta, seed=settings.seed)
    rate = Decay(settings.learning_rate, settings.steps)
    model.compile(keras.optimizers.Adam(rate, epsilon=ADAM_EPS))
    epochs = -(-settings.steps // -(-n // size))  # the callback stops within the last one

    def preview():
        return picture(ways["keras"], model, images, settings)

    callback = keras_callback(report, preview, every=10, steps=settings.steps)
    both = [images, labels.astype("int32")]
    model.fit(both, batch_size=size, epochs=epochs, verbose=0, callbacks=[callback])
    return model


# %% tags=["export", "keras"]
def posterior_keras(model, x, c):
    """Means and log-variances (B, latents) of q(z|x, c)."""
    x, c = ops.convert_to_tensor(x), ops.convert_to_tensor(c)
    return tuple(map(parity.to_numpy, model.posterior(x, model.features(c))))


def prior_keras(model, c):
    """Means and log-variances (B, latents) of p(z|c)."""
    return tuple(map(parity.to_numpy, model.prior(model.features(ops.convert_to_tensor(c)))))


def decode_keras(model, z, c):
    """Pixel probabilities (…, B, 784) of codes (…, B, latents) under conditions c (B, ·)."""
    h = model.features(ops.convert_to_tensor(c))
    return parity.to_numpy(ops.sigmoid(model.decode(ops.convert_to_tensor(z), h)))


def log_weights_keras(model, x, c, hidden, eps):
    """log p(x, z|c) − log q(z|x, c), shape (K, B), for noise (K, B, latents)."""
    x, c, hidden, eps = map(ops.convert_to_tensor, (x, c, hidden, eps))
    h = model.features(c)
    (mean, log_var), (mean_p, log_var_p) = model.posterior(x, h), model.prior(h)  # B×latents
    z = mean + ops.exp(0.5 * log_var) * eps  # K×B×latents
    logits = model.decode(z, h)  # K×B×784
    log_p_x = ops.sum((x * logits - ops.softplus(logits)) * hidden, -1)  # K×B
    distance = (z - mean_p) ** 2 / ops.exp(log_var_p)
    return parity.to_numpy(log_p_x + 0.5 * ops.sum(eps**2 - distance + log_var - log_var_p, -1))


ways["keras"] = Way(
    build_keras, train_keras, posterior_keras, prior_keras, decode_keras, log_weights_keras
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights, made in NumPy, goes into each model of quadrants; one batch, with its
# conditions and one draw of noise, goes through it. Both codes, logits, both terms and the
# gradient of every weight must agree, to within the rounding of 32-bit arithmetic.

# %%
rng = np.random.default_rng(SEED)
wide, code = (HIDDEN, HIDDEN), (HIDDEN, 32)
layout = dict.fromkeys(["condition2", "encoder_c", "encoder2", "decoder_c", "decoder2"], wide)
layout |= dict.fromkeys(["prior_mean", "prior_log_var", "code_mean", "code_log_var"], code)
layout |= {"condition1": (PIXELS, HIDDEN), "encoder_x": (PIXELS, HIDDEN)}
layout |= {"decoder_z": (32, HIDDEN), "logits": (HIDDEN, PIXELS)}
weights = {}
for name, shape in layout.items():
    weights[f"{name}.kernel"] = rng.normal(0, 0.05, shape).astype("float32")
    weights[f"{name}.bias"] = rng.normal(0, 0.05, shape[1:]).astype("float32")
x_same = rng.integers(0, 2, (20, PIXELS)).astype("float32")  # 20 made-up binary images
c_same, hidden_same = see(x_same, SEEN[rng.integers(0, len(SEEN), 20)])
eps_same = rng.standard_normal((20, 32), dtype="float32")
batch = (x_same, c_same, hidden_same, eps_same)


def quantities(way, model, nll, kl):
    """What is compared between frameworks, but for the gradients."""
    mean, log_var = way.posterior(model, x_same, c_same)
    return {
        "codes": np.concatenate([mean, log_var]),
        "prior": np.concatenate(way.prior(model, c_same)),
        "images": way.decode(model, mean, c_same),
        "reconstruction": parity.to_numpy(nll),
        "KL": parity.to_numpy(kl),
        "log weights": way.log_weights(model, *batch[:3], eps_same[None]),
    }


evidence = {}  # framework -> the quantities to compare

# %% tags=["torch"]
model = build_torch("quadrants")
parity.set_weights(model, weights)
nll, kl = elbo_torch(model, *map(torch.tensor, batch))
gradients = torch.autograd.grad((nll + kl).mean(), parity.variables(model))
evidence["torch"] = quantities(ways["torch"], model, nll, kl)
evidence["torch"]["gradients"] = parity.named_gradients(model, gradients)
parameters = parity.count(model)

# %% tags=["tensorflow"]
model = build_tf("quadrants")
parity.set_weights(model, weights)
with tf.GradientTape() as tape:
    nll, kl = elbo_tf(model, *batch)
    loss = tf.reduce_mean(nll + kl)
gradients = tape.gradient(loss, parity.variables(model))
evidence["tensorflow"] = quantities(ways["tensorflow"], model, nll, kl)
evidence["tensorflow"]["gradients"] = parity.named_gradients(model, gradients)
parameters = parity.count(model)

# %% [markdown]
# Keras hides its gradients. One step of plain gradient descent at rate 1 *is* the gradient:
# weights before minus weights after, and `fit`'s own step is checked with it.

# %% tags=["keras"]
model = build_keras("quadrants")
parity.set_weights(model, weights)
evidence["keras"] = quantities(ways["keras"], model, *model(list(batch)))
model.compile(keras.optimizers.SGD(1.0))
model.train_on_batch(list(batch))
after = parity.get_weights(model)
evidence["keras"]["gradients"] = {name: weights[name] - after[name] for name in weights}
parameters = parity.count(model)

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
comparison = parity.compare(evidence, tolerance=1e-5)
print(f"{parameters:,} parameters in each")
print(comparison.verdict())

# %% [markdown]
# The differences themselves (they vary from one processor to the next):

# %%
print(comparison.numbers())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Train it
#
# Three models to choose from: `quadrants` and `label` are the two CVAEs, `baseline` is the network
# without a code. The pictures show ten conditions; below each, three draws with the same noise
# every time. Watch the baseline: its three draws are one.

# %%
start = QUICK if session.quick else FULL
most = max(5000, start["steps"])
controls = [
    Choice("model", start["model"], MODELS, help="what is known: quadrants, or the label"),
    Slider("learning_rate", start["learning_rate"], 1e-5, 1e-1, log=True, help="Adam's step size"),
    Slider("beta", start["beta"], 0.01, 100.0, log=True, help="weight of the KL; 1 is the ELBO"),
    Slider("latents", start["latents"], 2, 100, help="dimensions of the code z"),
    Slider("batch_size", start["batch_size"], 10, 500, step=1, help="images in a step"),
    Slider("steps", start["steps"], 100, most, step=100, help="steps of the optimiser"),
]


def test_bound(model, settings):
    """−ELBO on up to 500 test images: what the panel's table lists."""
    x, y = x_test[:500], digits.y_test[:500]
    c, hidden = told(y) if settings.model == "label" else see(x, TASKS[0])
    eps = np.random.default_rng(0).standard_normal((1, len(x), settings.latents), dtype="float32")
    log_w = ways[settings.framework].log_weights(model, x, c, hidden, eps)
    return {"−ELBO, test": float(-log_w.mean())}


trainers = {
    name: functools.partial(way.train, x_train, digits.y_train) for name, way in ways.items()
}
panel = Panel(trainers, controls, title="CVAE", summary=test_bound)
panel.show()

# %% [markdown]
# No front end is needed. The same run from a script is one call, here for labels:

# %%
name, *_ = ways  # the first of your frameworks
quick = settings_of(controls, name, SEED, model="label", steps=200)
model = run(trainers[name], quick, "CVAE of labels", every=100)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Models that have had their time
#
# From here on we use three checkpoints; each loads into whichever framework you run.

# %%
files = {"quadrants": "03_cvae", "label": "03_cvae_label", "baseline": "03_cvae_baseline"}
trained = {name: {kind: way.build(kind) for kind in MODELS} for name, way in ways.items()}
for models in trained.values():
    for kind, file in files.items():
        checkpoint = checkpoints.load_into(models[kind], file)
name, *_ = trained
way, cvae, by_label, baseline = ways[name], *(trained[name][kind] for kind in MODELS)
styles = np.random.default_rng(1).standard_normal((8, 1, 32), dtype="float32")  # one for each row
every_digit = np.eye(DIGITS, dtype="float32")  # the ten labels, one-hot
samples = generate(way, by_label, every_digit, styles.repeat(DIGITS, axis=1))  # 8×10×784
alt = "8 rows of the digits 0 to 9: in a row all lean alike and have strokes of like width"
plots.show(plots.grid(samples.reshape(-1, 28, 28), columns=10, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# A column is a label, a row is one draw of $z$. Nobody told the model what a style is: since the
# label is given, the cheapest code is one that leaves it out, and what remains is the hand.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Whose hand is it?
#
# Encode a test digit together with its label, then decode its code under all ten labels.


# %%
def same_hand(digit, example):
    """A test digit, and its code decoded under the labels 0 to 9."""
    index = np.flatnonzero(digits.y_test == digit)[example]
    x, y = x_test[index : index + 1], every_digit[digit : digit + 1]
    code, _ = way.posterior(by_label, x, y)  # 1×32
    drawn = way.decode(by_label, code.repeat(DIGITS, axis=0), every_digit)  # 10×784
    return plots.grid(np.concatenate([x, drawn]).reshape(-1, 28, 28), columns=11, scale=2)


Explorer(
    same_hand,
    [
        Slider("digit", 4, 0, 9, help="which digit to take the hand from"),
        Slider("example", 0, 0, 15, help="whose: one of sixteen test images"),
    ],
    title="One hand, ten digits",
    alt="a binarised test digit, then the digits 0 to 9 written with its slant and its stroke",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Complete a digit
#
# Choose a digit, then hide and show its quadrants. In the first row stand the truth, what the
# models see (grey is hidden), the baseline's one answer, then draws of the CVAE. Leave one
# quadrant, and one draw may be a 4 and the next a 9; show three, and they hardly differ.


# %%
def complete(digit, example, top_left, top_right, bottom_left, bottom_right, noise):
    """Truth, what is seen, the baseline's answer, and fifteen completions."""
    index = np.flatnonzero(digits.y_test == digit)[example]
    x = x_test[index : index + 1]  # 1×784
    shown = np.float32([top_left, top_right, bottom_left, bottom_right]) @ quarter
    c, hidden = see(x, shown)
    eps = np.random.default_rng(noise).standard_normal((15, 1, 32), dtype="float32")
    answer = fill(x, hidden, way.decode(baseline, eps[0], c))
    drawn = fill(x, hidden, generate(way, cvae, c, eps))[:, 0]  # 15×784
    images = np.concatenate([x, c / 2 + 0.5, answer, drawn])
    return plots.grid(images.reshape(-1, 28, 28), columns=6, scale=3)


Explorer(
    complete,
    [
        Slider("digit", 9, 0, 9, help="which digit to complete"),
        Slider("example", 0, 0, 15, help="one of sixteen test images of it"),
        Toggle("top_left", False, help="show this quadrant"),
        Toggle("top_right", False, help="show this quadrant"),
        Toggle("bottom_left", True, help="show this quadrant"),
        Toggle("bottom_right", False, help="show this quadrant"),
        Slider("noise", 0, 0, 20, help="another seed, other completions"),
    ],
    title="Complete a digit",
    alt="a digit, its seen quadrant on grey, the baseline's blur, and fifteen clear completions",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which digit could it be?
#
# The judge, a classifier that none of these models has met, reads 50 completions of one test
# image of each digit. With one quadrant the model hesitates between several digits; with three
# there is little left to guess.

# %%
reader = judge.load()
x_ten = x_test[first]  # one test image of each digit
eps = np.random.default_rng(2).standard_normal((50, DIGITS, 32), dtype="float32")
fig, axes = plots.figure(columns=3, width=8.4, height=3.3)
for ax, seen, quadrants in zip(axes, TASKS, ("one quadrant", "two", "three"), strict=True):
    c, hidden = see(x_ten, seen)
    drawn = fill(x_ten, hidden, generate(way, cvae, c, eps))  # 50×10×784
    read = reader.predict(drawn.reshape(-1, 28, 28)).reshape(50, DIGITS)
    share = np.stack([(read == digit).mean(axis=0) for digit in range(DIGITS)], axis=1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.set(xticks=range(10), yticks=range(10), xlabel="digit read", title=f"{quadrants} seen")
axes[0].set_ylabel("true digit")
alt = "three tables of true digit against digit read: with one quadrant rows are spread over "
alt += "several digits, with two less, with three nearly all lies on the diagonal"
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why the baseline blurs
#
# It returns the *mean* over all completions, the best that one probability for each pixel can do.
# No digit looks like the mean. The mean of the CVAE's own completions is nearly the same picture:
# not what it knows differs, but what it can say.

# %%
c, hidden = see(x_ten, TASKS[0])
blur = fill(x_ten, hidden, way.decode(baseline, eps[0], c))  # 10×784
drawn = fill(x_ten, hidden, generate(way, cvae, c, eps))  # 50×10×784
rows = [c / 2 + 0.5, blur, drawn.mean(axis=0), *drawn[:3], x_ten]
alt = "seven rows of ten digits: what is seen, the baseline's blur, the CVAE's mean, as blurred, "
alt += "three of its completions, clear and different, and the truth"
picture_rows = plots.grid(np.concatenate(rows).reshape(-1, 28, 28), columns=10, scale=2)
plots.show(picture_rows, alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# Take the CVAE of labels: encode a digit with its own label, change the label, decode. Does the
# judge read the new label? We train three short models with β = 1/50, 1 and 50. **First commit
# to a prediction.**

# %%
exercises.predict(
    "With β = 1/50 (a cheap code), how often is the new label read, compared with β = 1?",
    ["more often", "about as often", "less often"],
    key="small beta",
)
exercises.predict(
    "With β = 50 (a dear code), twenty draws for one label will …",
    ["differ more than at β = 1", "differ about as much", "be nearly all alike"],
    key="large beta",
)


# %%
def swapped(model, x, y):
    """Codes of images x of digits y, decoded under other labels: the images and the labels."""
    code, _ = way.posterior(model, x, every_digit[y])
    other = (y + np.random.default_rng(0).integers(1, 10, len(y))) % 10
    return way.decode(model, code, every_digit[other]), other


def obedience(model):
    """How often the judge reads the new label, and how much draws for one label differ."""
    drawn, other = swapped(model, x_test[:200], digits.y_test[:200])
    eps = np.random.default_rng(1).standard_normal((20, DIGITS, 32), dtype="float32")
    spread = generate(way, model, every_digit, eps).std(axis=0).mean()
    return (reader.predict(drawn) == other).mean(), spread


runs = {}
for beta in (1 / 50, 1, 50):
    chosen = settings_of(controls, name, SEED, model="label", beta=beta, steps=400)
    runs[f"β = {beta:g}"] = way.train(x_train, digits.y_train, chosen, lambda *_: True)
runs["checkpoint (β = 1)"] = by_label
x, c = x_test[:200], every_digit[digits.y_test[:200]]
found = {}
print(f"{'':<20}{'KL':>8}{'new label read':>18}{'spread of draws':>18}")
for title, model in runs.items():
    kl = metrics.kl_per_unit(*way.posterior(model, x, c)).sum()
    found[title] = obedience(model)
    print(f"{title:<20}{kl:8.1f}{found[title][0]:18.0%}{found[title][1]:18.3f}")

# %%
cheap, middle, dear, _ = found.values()
less = "less often" if cheap[0] < 0.8 * middle[0] else "about as often"
exercises.reveal("small beta", less if cheap[0] <= 1.2 * middle[0] else "more often")
same = "be nearly all alike" if dear[1] < 0.5 * middle[1] else "differ about as much"
exercises.reveal("large beta", same)
fig, axes = plots.figure(columns=2, rows=4, width=8, height=3.4)
for (title, model), (left, right) in zip(runs.items(), axes, strict=True):
    drawn, _ = swapped(model, x_ten, np.arange(DIGITS))
    noise = np.random.default_rng(1).standard_normal((10, 1, 32), dtype="float32")
    eights = generate(way, model, every_digit[8:9], noise)[:, 0]
    for ax, images, what in ((left, drawn, "labels changed"), (right, eights, "ten draws of 8")):
        ax.imshow(plots.grid(images.reshape(-1, 28, 28), columns=10), cmap="gray")
        ax.set(xticks=[], yticks=[], title=f"{title}: {what}")
alt = "changed labels and ten draws of 8 for each model. β = 0.02: the old digits 0 to 9 come "
alt += "back, and draws of 8 are scribbles; β = 50: new digits, and ten times the same 8"
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** *Cheap code.* Whatever the code tells the decoder is nearly free, so the code
# carries the digit too, and the decoder listens to it instead of the label: **changing the label
# changes nothing**. The loss does not show it, for in training code and label always agree. Only
# the prior does: a code drawn from it knows of no digit, and the draws are scribbles. With β = 1
# the label saves the code up to $\log 10 \approx 2.3$ nats, so in time the digit leaves the code.
# That takes longer than 400 steps, as the checkpoint's line shows.
#
# *Dear code.* Nothing is worth fifty times its price. KL → 0, **the decoder ignores z** and
# returns the mean of each digit: the conditional model has become the baseline.
#
# Look at both: swap the condition under a fixed code, and redraw the code under a fixed condition.
# Each must change the image.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# $-\log p(x \mid c)$ in nats, over the hidden pixels only: 588, 392 and 196 of them. Sohn et al.
# estimate it in two ways with $K$ codes. **Monte Carlo** draws them from the prior, as the model
# is used; **importance sampling** draws them from $q$, where they explain the image, and weights
# them:
#
# $$\log \tfrac1K \sum_k p(x \mid z_k, c),\; z_k \sim p(z \mid c) \qquad\text{and}\qquad
# \log \tfrac1K \sum_k \frac{p(x \mid z_k, c)\, p(z_k \mid c)}{q(z_k \mid x, c)},\; z_k \sim q.$$
#
# Both are too low on average and rise to $\log p(x \mid c)$ with $K$; the second much sooner.


# %%
def costs(way, models, x, seen, k=100):
    """Nats for images x (B, 784): the baseline; the CVAE with z from q, from p, ELBO, MC, IS."""
    c, hidden = see(x, seen)
    eps = np.random.default_rng(SEED).standard_normal((k, len(x), 32), dtype="float32")
    log_w = way.log_weights(models["quadrants"], x, c, hidden, eps)  # k×B
    mean, log_var = way.posterior(models["quadrants"], x, c)
    from_q = way.decode(models["quadrants"], mean + np.exp(0.5 * log_var) * eps[:10], c)
    from_p = log_bernoulli(x, generate(way, models["quadrants"], c, eps), hidden)  # k×B
    return {
        "baseline": -way.log_weights(models["baseline"], x, c, hidden, eps[:1])[0],
        "z from q": -log_bernoulli(x, from_q, hidden).mean(axis=0),
        "z from p": -from_p.mean(axis=0),
        "−ELBO": -log_w.mean(axis=0),
        f"MC, {k}": -metrics.log_mean_exp(from_p),
        f"IS, {k}": -metrics.log_mean_exp(log_w),
    }


def log_bernoulli(x, p, hidden):
    """log p(x) over hidden pixels, (…, B), for probabilities p (…, B, 784)."""
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return (hidden * (x * np.log(p) + (1 - x) * np.log(1 - p))).sum(axis=-1)


for name, models in trained.items():
    table = [costs(ways[name], models, x_test[:50], seen) for seen in TASKS]
    print(f"{runtime.LABELS[name]:<14}" + "".join(f"{title:>16}" for title in table[0]))
    for quadrants, row in enumerate(table, start=1):
        cells = [str(metrics.mean_and_error(nats)) for nats in row.values()]
        print(f"{quadrants} seen        " + "".join(f"{cell:>16}" for cell in cells))

# %% [markdown] slideshow={"slide_type": "subslide"}
# *The estimators.* With one quadrant seen, MC is still far above IS: among a hundred completions
# none is this very digit. With three it is nearly there.
#
# *z from q, z from p.* The same decoder, but at test time nobody hands it a code that has seen the
# answer: the **gap between training and testing** of Sohn et al. A single draw from $p$ costs even
# more than the blur, because it is a definite digit, and seldom the true one. They also propose a
# hybrid objective, $\alpha \mathcal L_\text{CVAE} + (1 - \alpha) \mathcal L_\text{GSNN}$, whose
# second part draws $z$ from the prior in training too. At $\alpha = 0$ no recognition network is
# left, and a single draw in training pulls completions towards their mean.
#
# The whole test set, recorded by `make results`:

# %%
from utils import results

results.show("03_cvae")

# %% [markdown]
# *Conditional NLL, IS 100* is our estimate of $-\log p(x \mid c)$; pixels are binarised, the seen
# ones as well.
# **Is the reference comparable?** Pyro's [code](https://github.com/pyro-ppl/pyro/tree/dev/examples/cvae)
# says more than its tutorial. What the table there calls *Monte Carlo* is the −ELBO, with codes
# from the recognition network; pixels stay grey, seen and hidden; the weights kept are those with
# the lowest loss on the very test images that are reported; and each task has its own CVAE of 2.4
# million weights on top of its own network of 1.0 million. Ours has 0.7 million for every task, the
# baseline 0.35, and both stop at a fixed step. So we also measured *as Pyro does*: grey pixels,
# −ELBO. Both kinds of number speak of binary pixels: a grey target costs what its coins cost on
# average, so the grey −ELBO bounds the average of $-\log p(x \mid c)$ over tosses of the hidden
# pixels. It is told more (tossed coins hide something of the seen ones) and bounds less tightly.
#
# For labels there is a check. Bayes' rule says $-\log p(x \mid y) = -\log p(x) - \log 10 + (-\log
# p(y \mid x))$ where digits are equally frequent: knowing the label can save **at most 2.30
# nats** against a VAE of the same quality. (Ours was trained for 85 epochs, 02_vae's for 1,277.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. What is seen.** The condition of the quadrants' model.


# %%
def condition(x, seen):
    """Conditions (B, D) from binary images x (B, D) and masks `seen` (B, D), 1 where seen."""
    return ...  # your code


questions.condition.check(condition)
# questions.condition.hint()
# questions.condition.solution()

# %% [markdown]
# **2. The price.** KL of $q(z \mid x, c)$ from a learned prior, for each image.


# %%
def kl_gaussians(mean, log_var, mean_p, log_var_p):
    """KL(q‖p) in nats, shape (B,), from means and log-variances (B, latents) of q and of p."""
    return ...  # your code


questions.kl_gaussians.check(kl_gaussians)

# %% [markdown]
# **3. What counts.** The cost of an image, over its hidden pixels only.


# %%
def hidden_nll(x, p, seen):
    """−log p of the hidden pixels in nats, shape (B,); x, probabilities p and masks are (B, D)."""
    return ...  # your code


questions.hidden_nll.check(hidden_nll)

# %% [markdown]
# **4. The price of blur.** Twelve hidden pixels are all on in one half of the images and all off
# in the other. How many nats for each image does a code save, against the best network that
# predicts them one by one?

# %%
questions.price_of_blur.check(...)  # your number

# %% [markdown]
# **5. At test time.** To complete a digit, where does the code come from?

# %%
questions.where_from.ask()
questions.where_from.check(...)  # a letter

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - The ELBO holds under any condition. Recognition sees the answer, prior and generation do not.
# - A learned prior changes the KL divergence: it is the one between *two* Gaussians, and only
#   what is hidden counts in the reconstruction.
# - What the condition says, the code need not: labels on one side leave style on the other.
# - One probability for each pixel gives the mean of all answers: blurred, and dear in nats.
# - Test both ways in which a condition fails: swap it (a code that carries the label) and redraw
#   the code (a decoder that ignores it).
# - A conditional NLL needs its pixels, its binarisation, its estimator and its K.
#
# | use | when |
# |---|---|
# | a CVAE | one question has many right answers, and you want draws and a likelihood |
# | a deterministic network | one answer is right, or the mean is what you need |
# | a VAE | there is nothing to condition on, or you want to find structure without labels |
# | an autoregressive or diffusion model | sharpness counts more than fast draws and a code |
# | a conditional GAN | only the look of the answers counts |
#
# **Further reading.** Sohn, Lee and Yan
# ([2015](https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models));
# Kingma, Rezende, Mohamed and Welling ([2014](https://arxiv.org/abs/1406.5298)), where a label
# and a style explain a digit, and most labels are missing; Doersch's
# [tutorial](https://arxiv.org/abs/1606.05908), which goes from the VAE to the CVAE in small steps.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [β-VAE: taking the factors apart](04_beta_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/04_beta_vae.ipynb))
# - **Previous:** [Variational autoencoders](02_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/02_vae.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
