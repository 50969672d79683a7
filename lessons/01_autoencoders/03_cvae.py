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
# TODO

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
# TODO

# %% tags=["export"]
PIXELS, DIGITS, HIDDEN, ADAM_EPS = 784, 10, 200, 1e-4
MODELS = ("quadrants", "label", "baseline")
QUICK = {"model": "quadrants", "learning_rate": 2e-3, "beta": 1.0, "latents": 32}
QUICK |= {"batch_size": 100, "steps": 500}
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


def fill(x, hidden, p):
    """The seen pixels of x (B, 784), and p (…, B, 784) where they are hidden."""
    return np.where(hidden > 0, p, x)


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
    return tuple(part.numpy() for part in model.posterior(torch.as_tensor(x), h))


@torch.no_grad()
def prior_torch(model, c):
    """Means and log-variances (B, latents) of p(z|c)."""
    return tuple(part.numpy() for part in model.prior(model.features(torch.as_tensor(c))))


@torch.no_grad()
def decode_torch(model, z, c):
    """Pixel probabilities (…, B, 784) of codes (…, B, latents) under conditions c (B, ·)."""
    h = model.features(torch.as_tensor(c))
    return torch.sigmoid(model.decode(torch.as_tensor(z), h)).numpy()


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
    return (log_p_x + 0.5 * (eps**2 - distance + log_var - log_var_p).sum(-1)).numpy()


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
    model = build_keras(
        settings.model, settings.latents, beta=settings.beta, seed=settings.seed
    )
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

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Previous:** [Variational autoencoders](02_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/02_vae.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
