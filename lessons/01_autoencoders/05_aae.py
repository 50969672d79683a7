# ---
# jupyter:
#   course:
#     title: "Adversarial autoencoders"
#     summary: "A discriminator that never sees an image: it shapes the codes, into any prior that you can draw from."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "the autoencoder (01) and why its codes are no generator"
#       - "the VAE (02): prior, encoder, decoder"
#     objectives:
#       - "say what the discriminator of an adversarial autoencoder compares, and what it does not"
#       - "write its three-phase training step in PyTorch, TensorFlow and Keras"
#       - "give codes the shape of a Gaussian, of ten petals or of a Swiss roll"
#       - "train a classifier from 1,000 labels and the unlabelled rest"
#       - "break the model three ways, and recognise each"
#       - "measure samples by Parzen windows and by a Fréchet distance, and distrust the first"
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
# # Adversarial autoencoders
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/05_aae.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/01_autoencoders/05_aae.ipynb)
#
# A discriminator that never sees an image: it shapes the codes, into any prior that you can draw from.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** the autoencoder (01) and why its codes are no generator; the VAE (02): prior, encoder, decoder.
#
# **What you will be able to do:**
#
# - say what the discriminator of an adversarial autoencoder compares, and what it does not
# - write its three-phase training step in PyTorch, TensorFlow and Keras
# - give codes the shape of a Gaussian, of ten petals or of a Swiss roll
# - train a classifier from 1,000 labels and the unlabelled rest
# - break the model three ways, and recognise each
# - measure samples by Parzen windows and by a Fréchet distance, and distrust the first

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

from utils import CourseError, checkpoints, data, exercises, judge, metrics, parity, plots, runtime
from utils.controls import Choice, Slider
from utils.exercises import aae as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# IDEA

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# DATA

# %%
digits = data.mnist()
print(digits.describe())
x_train, y_train = data.flatten(digits.x_train), digits.y_train  # N×784, uint8; N
x_test, y_test = data.flatten(digits.x_test).astype("float32") / 255, digits.y_test  # grey, 0…1

# %% [markdown]
# shared


# %% tags=["export"]
REACH = 16  # all three priors lie within ±16


def draw_prior(name, n, latents, rng):
    """n codes (n, latents) from a prior by its name."""
    if name == "gaussian":
        return 5 * rng.standard_normal((n, latents), dtype="float32")
    if latents != 2:
        raise CourseError(f"The prior {name!r} is a shape in the plane: set latents to 2.")
    if name == "mixture":  # ten petals: long away from the middle, narrow across
        angle = 2 * np.pi * rng.integers(10, size=n) / 10
        along, across = rng.normal(8, 1.8, n), rng.normal(0, 0.7, n)
        z = along * [np.cos(angle), np.sin(angle)] + across * [-np.sin(angle), np.cos(angle)]
    else:  # a Swiss roll: two turns outwards, evenly filled along the way
        turn = 4 * np.pi * np.sqrt(rng.random(n))
        z = turn * [np.cos(turn), np.sin(turn)] + rng.normal(0, 0.3, (2, n))
    return z.T.astype("float32")  # n×2


# %% tags=["export"]
TAB10 = "1f77b4 ff7f0e 2ca02c d62728 9467bd 8c564b e377c2 7f7f7f bcbd22 17becf"
COLOURS = np.array([list(bytes.fromhex(colour)) for colour in TAB10.split()], np.uint8)  # 10×3


def scatter(canvas, points, colours):
    """Dot points (N, 2) onto a square canvas; those beyond ±REACH lie on its edge."""
    size = len(canvas) - 2
    place = (points * [1, -1] + REACH) / (2 * REACH) * size
    column, row = np.clip(np.nan_to_num(place), 0, size).astype(int).T
    for down, right in np.ndindex(2, 2):
        canvas[row + down, column + right] = colours


def portrait(way, aae, images, labels, settings):
    """Left: draws from the prior in grey, codes of images on them. Right: draws, decoded."""
    rng = np.random.default_rng(0)
    draws = draw_prior(settings.prior, 2000, settings.latents, rng)
    codes = way.encode(aae, images[:2000].astype("float32") / 255)
    canvas = np.full((302, 302, 3), 255, np.uint8)
    scatter(canvas, draws[:, :2], np.array([190, 190, 190]))
    scatter(canvas, codes[:, :2], 0 if labels is None else COLOURS[labels[:2000]])
    some = draws[:25]
    if settings.labels:  # a style and a class
        some = np.hstack([some, np.eye(CLASSES, dtype="float32")[np.arange(25) % CLASSES]])
    made = plots.grid(way.decode(aae, some).reshape(-1, 28, 28), columns=5, scale=2)
    return np.hstack([canvas, np.stack([made[:302, :302]] * 3, axis=2)])


# %% tags=["export"]
PIXELS, CLASSES = 784, 10
QUICK = {"learning_rate": 1e-3, "prior": "gaussian", "judged": "codes", "labels": 0}
QUICK |= {"latents": 2, "hidden": 128, "dropout": 0.0, "batch_size": 100, "steps": 1000}
QUICK["schedule"] = "constant"
FULL = {**QUICK, "latents": 8, "hidden": 256, "dropout": 0.1, "steps": 88_500}
FULL["schedule"] = "linear"

Way = collections.namedtuple("Way", "build train encode classify decode")
ways = {}  # framework -> its five functions, filled by the sections


def learning_rate(step, settings):
    """The rate of a step (counted from 0): constant, or falling in a line to a twentieth."""
    share = step / settings.steps if settings.schedule == "linear" else 0
    return settings.learning_rate * (1 - 0.95 * share)


def labelled(labels, count, seed):
    """Positions of `count` images, as many of each digit: those whose labels may be seen."""
    order = np.random.default_rng(seed).permutation(len(labels))
    each = [order[labels[order] == digit][: count // CLASSES] for digit in range(CLASSES)]
    return np.concatenate(each)


def feed(images, labels, settings, start=0):
    """What each step eats: images, draws from the priors of z and y, labelled images, labels."""
    n = data.check_batch(settings.batch_size, len(images))
    rng = np.random.default_rng([settings.seed, start])
    known = labelled(labels, settings.labels, settings.seed) if settings.labels else np.arange(0)
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    steps = settings.steps - start
    for index in itertools.islice(itertools.chain.from_iterable(epochs), steps):
        z = draw_prior(settings.prior, len(index), settings.latents, rng)  # B×latents
        y = np.eye(CLASSES, dtype="float32")[rng.integers(CLASSES, size=len(index))]  # B×10
        some = rng.choice(known, len(index)) if len(known) else known
        answers = labels[some].astype("int64") if len(known) else known  # B, or none
        yield images[index], z, y, images[some], answers


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchMLP(nn.Module):
    """Two hidden ReLU layers: encoder, decoder and discriminators are all of this kind."""

    def __init__(self, n_in, hidden, n_out, dropout=0.0):
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(n_in, hidden), nn.Linear(hidden, hidden)
        self.out, self.dropout = nn.Linear(hidden, n_out), dropout
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)  # Glorot's; PyTorch's own default is another
            nn.init.zeros_(layer.bias)

    def forward(self, x):  # B×n_in
        h = F.dropout(F.relu(self.hidden1(x)), self.dropout, self.training)  # B×hidden
        h = F.dropout(F.relu(self.hidden2(h)), self.dropout, self.training)  # B×hidden
        return self.out(h)  # B×n_out


# %% tags=["export", "torch"]
class TorchAAE(nn.Module):
    """Encoder, decoder and a discriminator of codes; with `classes`, a code y and its own."""

    def __init__(self, latents, hidden, classes=0, dropout=0.0, judged="codes"):
        super().__init__()
        self.latents, self.judged = latents, judged
        self.encoder = TorchMLP(PIXELS, hidden, latents + classes, dropout)
        self.decoder = TorchMLP(latents + classes, hidden, PIXELS, dropout)
        self.discriminator = TorchMLP(PIXELS if judged == "images" else latents, hidden, 1)
        self.label_discriminator = TorchMLP(classes, hidden, 1) if classes else None

    def encode(self, x):  # B×784 → B×latents and B×classes
        out = self.encoder(x)
        return out[:, : self.latents], out[:, self.latents :].softmax(dim=1)

    def rebuild(self, x):  # B×784 → B×784, logits
        return self.decoder(torch.cat(self.encode(x), dim=1))

    def rivals(self, x, z, y):
        """For each discriminator: itself, what is real to it, and what tries to pass for real."""
        if self.judged == "nothing":
            return []
        if self.judged == "images":  # the popular error, for part 9
            return [(self.discriminator, x, torch.sigmoid(self.rebuild(x)))]
        codes, classes = self.encode(x)
        found = [(self.discriminator, z, codes)]
        if self.label_discriminator is not None:
            found.append((self.label_discriminator, y, classes))
        return found


# %% tags=["export", "torch"]
def reconstruction_torch(aae, x):
    """Cross-entropy of the rebuilt grey images, summed over pixels: B."""
    logits = aae.rebuild(x)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)


def judge_torch(rivals):
    """What the discriminators pay: real ones should score 1, made ones 0."""
    total = torch.zeros(())
    for discriminator, real, made in rivals:
        total = total + F.softplus(-discriminator(real)).mean()  # −log D(real)
        total = total + F.softplus(discriminator(made.detach())).mean()  # −log(1 − D(made))
    return total


def fool_torch(rivals):
    """What the encoder pays: the made ones should score 1 (the non-saturating loss)."""
    total = torch.zeros(())
    for discriminator, _, made in rivals:
        total = total + F.softplus(-discriminator(made)).mean()  # −log D(made)
    return total


def likelihood_torch(aae, known, answers):
    """What the encoder pays for labelled images: −log y of the right label."""
    return F.nll_loss(aae.encode(known)[1].clamp(min=1e-7).log(), answers)


# %% tags=["export", "torch"]
class TorchTrainer:
    """A model and an optimiser for each phase of its training step."""

    def __init__(self, settings):
        classes, kinds = CLASSES if settings.labels else 0, (settings.dropout, settings.judged)
        self.aae = aae = TorchAAE(settings.latents, settings.hidden, classes, *kinds)
        made_by = [aae.encoder, aae.decoder] if settings.judged == "images" else [aae.encoder]
        judges = [part for part in (aae.discriminator, aae.label_discriminator) if part]
        self.rebuilding = self.adam(0.9, aae.encoder, aae.decoder)
        self.judging, self.fooling = self.adam(0.5, *judges), self.adam(0.5, *made_by)
        self.classifying = self.adam(0.9, aae.encoder)

    def adam(self, beta1, *modules):
        parameters = [p for module in modules for p in module.parameters()]
        return torch.optim.Adam(parameters, betas=(beta1, 0.999), fused=True)

    def descend(self, optimizer, loss, rate):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def step(self, rate, x, z, y, known, answers):
        """One step on images x (B, 784), draws z and y, and labelled images with their labels."""
        aae = self.aae.train()
        rebuild = self.descend(self.rebuilding, reconstruction_torch(aae, x).mean(), rate)
        if not (rivals := aae.rivals(x, z, y)):
            return rebuild, torch.zeros(()), torch.zeros(())
        judge = self.descend(self.judging, judge_torch(rivals), rate)
        fool = self.descend(self.fooling, fool_torch(rivals), rate)
        if len(known):
            self.descend(self.classifying, likelihood_torch(aae, known, answers), rate)
        return rebuild, judge, fool


# %% tags=["export", "torch"]
def train_torch(images, settings, report, labels=None):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    trainer = TorchTrainer(settings)
    aae, steps = trainer.aae, feed(images, labels, settings)
    for step, (x, z, y, known, answers) in enumerate(steps, start=1):
        x, known = torch.as_tensor(x).float() / 255, torch.as_tensor(known).float() / 255
        draws = torch.as_tensor(z), torch.as_tensor(y)
        rate = learning_rate(step - 1, settings)
        losses = trainer.step(rate, x, *draws, known, torch.as_tensor(answers))
        if step % 10 == 0:
            logs = dict(zip(("loss", "discriminator", "encoder"), map(float, losses), strict=True))
            preview = functools.partial(portrait, ways["torch"], aae, images, labels, settings)
            if not report(step, logs, preview):
                break
    return aae


# %% tags=["export", "torch"]
@torch.no_grad()
def encode_torch(aae, x):
    """Codes z (B, latents) of grey images (B, 784)."""
    return aae.eval().encode(torch.as_tensor(x))[0].cpu().numpy()


@torch.no_grad()
def classify_torch(aae, x):
    """Class probabilities y (B, classes) of grey images (B, 784)."""
    return aae.eval().encode(torch.as_tensor(x))[1].cpu().numpy()


@torch.no_grad()
def decode_torch(aae, codes):
    """Grey images (B, 784) of codes (B, latents + classes)."""
    return torch.sigmoid(aae.eval().decoder(torch.as_tensor(codes))).cpu().numpy()


ways["torch"] = Way(TorchAAE, train_torch, encode_torch, classify_torch, decode_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import Dense  # built by hand in 01_autoencoder
from utils.tf_optimizers import Adam


class TFMLP(tf.Module):
    """Two hidden ReLU layers: encoder, decoder and discriminators are all of this kind."""

    def __init__(self, n_in, hidden, n_out, dropout=0.0):
        super().__init__()
        self.hidden1, self.hidden2 = Dense(n_in, hidden), Dense(hidden, hidden)
        self.out, self.dropout = Dense(hidden, n_out), dropout

    def __call__(self, x, training=False):  # B×n_in
        rate = self.dropout if training else 0.0
        h = tf.nn.dropout(tf.nn.relu(self.hidden1(x)), rate)  # B×hidden
        h = tf.nn.dropout(tf.nn.relu(self.hidden2(h)), rate)  # B×hidden
        return self.out(h)  # B×n_out


# %% tags=["export", "tensorflow"]
class TFAAE(tf.Module):
    """Encoder, decoder and a discriminator of codes; with `classes`, a code y and its own."""

    def __init__(self, latents, hidden, classes=0, dropout=0.0, judged="codes"):
        super().__init__()
        self.latents, self.judged = latents, judged
        self.encoder = TFMLP(PIXELS, hidden, latents + classes, dropout)
        self.decoder = TFMLP(latents + classes, hidden, PIXELS, dropout)
        self.discriminator = TFMLP(PIXELS if judged == "images" else latents, hidden, 1)
        self.label_discriminator = TFMLP(classes, hidden, 1) if classes else None

    def encode(self, x, training=False):  # B×784 → B×latents and B×classes
        out = self.encoder(x, training)
        return out[:, : self.latents], tf.nn.softmax(out[:, self.latents :])

    def rebuild(self, x, training=False):  # B×784 → B×784, logits
        return self.decoder(tf.concat(self.encode(x, training), axis=1), training)

    def rivals(self, x, z, y):
        """For each discriminator: itself, what is real to it, and what tries to pass for real."""
        if self.judged == "nothing":
            return []
        if self.judged == "images":  # the popular error, for part 9
            return [(self.discriminator, x, tf.sigmoid(self.rebuild(x, training=True)))]
        codes, classes = self.encode(x, training=True)
        found = [(self.discriminator, z, codes)]
        if self.label_discriminator is not None:
            found.append((self.label_discriminator, y, classes))
        return found


# %% tags=["export", "tensorflow"]
def reconstruction_tf(aae, x, training=False):
    """Cross-entropy of the rebuilt grey images, summed over pixels: B."""
    logits = aae.rebuild(x, training)
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits), axis=1)


def judge_tf(rivals):
    """What the discriminators pay: real ones should score 1, made ones 0."""
    total = tf.constant(0.0)
    for discriminator, real, made in rivals:
        total += tf.reduce_mean(tf.nn.softplus(-discriminator(real)))  # −log D(real)
        total += tf.reduce_mean(tf.nn.softplus(discriminator(made)))  # −log(1 − D(made))
    return total


def fool_tf(rivals):
    """What the encoder pays: the made ones should score 1 (the non-saturating loss)."""
    total = tf.constant(0.0)
    for discriminator, _, made in rivals:
        total += tf.reduce_mean(tf.nn.softplus(-discriminator(made)))  # −log D(made)
    return total


def likelihood_tf(aae, known, answers):
    """What the encoder pays for labelled images: −log y of the right label."""
    y = aae.encode(known, training=True)[1]  # B×10
    right = tf.gather(y, answers, axis=1, batch_dims=1)  # B
    return -tf.reduce_mean(tf.math.log(tf.maximum(right, 1e-7)))


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """A model, an optimiser for each phase, and a step count: all that a long run resumes."""

    def __init__(self, settings):
        super().__init__()
        classes, kinds = CLASSES if settings.labels else 0, (settings.dropout, settings.judged)
        self.aae = aae = TFAAE(settings.latents, settings.hidden, classes, *kinds)
        made_by = [aae.encoder, aae.decoder] if settings.judged == "images" else [aae.encoder]
        judges = [part for part in (aae.discriminator, aae.label_discriminator) if part]
        self.rebuilding = self.adam(0.9, aae.encoder, aae.decoder)
        self.judging, self.fooling = self.adam(0.5, *judges), self.adam(0.5, *made_by)
        self.classifying = self.adam(0.9, aae.encoder)
        self.count = tf.Variable(0, dtype=tf.int64)

    def adam(self, beta1, *modules):
        parameters = [w for module in modules for w in parity.variables(module)]
        return Adam(parameters, beta1=beta1)

    def descend(self, adam, loss_of, rate):
        with tf.GradientTape() as tape:
            loss = loss_of()
        adam.apply(tape.gradient(loss, adam.parameters), rate)
        return loss

    def step(self, rate, x, z, y, known, answers):
        """One step on images x (B, 784), draws z and y, and labelled images with their labels."""
        aae = self.aae
        costs = functools.partial(reconstruction_tf, aae, x, training=True)
        rebuild = self.descend(self.rebuilding, lambda: tf.reduce_mean(costs()), rate)
        judge = fool = tf.constant(0.0)
        if aae.judged != "nothing":
            judge = self.descend(self.judging, lambda: judge_tf(aae.rivals(x, z, y)), rate)
            fool = self.descend(self.fooling, lambda: fool_tf(aae.rivals(x, z, y)), rate)
        if aae.label_discriminator is not None:
            self.descend(self.classifying, lambda: likelihood_tf(aae, known, answers), rate)
        self.count.assign_add(1)
        return rebuild, judge, fool

    @tf.function
    def steps(self, batches, count, rate):
        """Run `count` steps in one graph; returns the three losses of the last."""
        losses = (tf.constant(0.0),) * 3
        for _ in tf.range(count):
            losses = self.step(rate, *next(batches))
        return losses


# %% tags=["export", "tensorflow"]
def stream(images, labels, settings, start=0):
    """A tf.data stream of `feed`'s steps, prepared while the graph is busy with earlier ones."""
    kinds = [tf.TensorSpec([None, PIXELS], tf.uint8)]
    kinds += [tf.TensorSpec([None, settings.latents]), tf.TensorSpec([None, CLASSES])]
    kinds += [tf.TensorSpec([None, PIXELS], tf.uint8), tf.TensorSpec([None], tf.int64)]
    steps = functools.partial(feed, images, labels, settings, start)
    batches = tf.data.Dataset.from_generator(steps, output_signature=tuple(kinds))

    def to_grey(x, z, y, known, answers):
        return tf.cast(x, tf.float32) / 255, z, y, tf.cast(known, tf.float32) / 255, answers

    return batches.map(to_grey).prefetch(4)


def train_tf(images, settings, report, labels=None, trainer=None):
    """Train on uint8 images (N, 784); with a `trainer`, go on from where it stands."""
    trainer = trainer or TFTrainer(settings)
    step = int(trainer.count)
    data.check_batch(settings.batch_size, len(images))
    batches = iter(stream(images, labels, settings, step))
    preview = functools.partial(
        portrait, ways["tensorflow"], trainer.aae, images, labels, settings
    )
    while step < settings.steps:
        count, rate = min(10, settings.steps - step), learning_rate(step, settings)
        losses = trainer.steps(batches, tf.constant(count), tf.constant(rate, tf.float32))
        logs = dict(zip(("loss", "discriminator", "encoder"), map(float, losses), strict=True))
        step += count
        if not report(step, logs, preview):
            break
    return trainer.aae


# %% tags=["export", "tensorflow"]
def encode_tf(aae, x):
    """Codes z (B, latents) of grey images (B, 784)."""
    return aae.encode(tf.constant(x))[0].numpy()


def classify_tf(aae, x):
    """Class probabilities y (B, classes) of grey images (B, 784)."""
    return aae.encode(tf.constant(x))[1].numpy()


def decode_tf(aae, codes):
    """Grey images (B, 784) of codes (B, latents + classes)."""
    return tf.sigmoid(aae.decoder(tf.constant(codes))).numpy()


ways["tensorflow"] = Way(TFAAE, train_tf, encode_tf, classify_tf, decode_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


def keras_mlp(name, n_in, hidden, n_out, dropout=0.0):
    """Two hidden ReLU layers: encoder, decoder and discriminators are all of this kind."""
    x = keras.Input((n_in,))  # B×n_in
    h = layers.Dense(hidden, activation="relu", name=f"{name}__hidden1")(x)  # B×hidden
    h = layers.Dropout(dropout)(h)
    h = layers.Dense(hidden, activation="relu", name=f"{name}__hidden2")(h)  # B×hidden
    h = layers.Dropout(dropout)(h)
    return keras.Model(x, layers.Dense(n_out, name=f"{name}__out")(h), name=name)  # B×n_out


# %% tags=["export", "keras"]
def reconstruction_keras(aae, x, training=False):
    """Cross-entropy of the rebuilt grey images, summed over pixels: B."""
    logits = aae(x, training=training)
    return ops.sum(ops.binary_crossentropy(x, logits, from_logits=True), axis=1)


def judge_keras(rivals):
    """What the discriminators pay: real ones should score 1, made ones 0."""
    total = 0.0
    for discriminator, real, made in rivals:
        total += ops.mean(ops.softplus(-discriminator(real)))  # −log D(real)
        total += ops.mean(ops.softplus(discriminator(made)))  # −log(1 − D(made))
    return total


def fool_keras(rivals):
    """What the encoder pays: the made ones should score 1 (the non-saturating loss)."""
    total = 0.0
    for discriminator, _, made in rivals:
        total += ops.mean(ops.softplus(-discriminator(made)))  # −log D(made)
    return total


def likelihood_keras(aae, known, answers):
    """What the encoder pays for labelled images: −log y of the right label."""
    y = aae.encode(known, training=True)[1]
    return ops.mean(ops.sparse_categorical_crossentropy(answers, y))


# %% tags=["export", "keras"]
class KerasNetworks(keras.Model):
    """Encoder, decoder and a discriminator of codes; with `classes`, a code y and its own."""

    def __init__(self, latents, hidden, classes=0, dropout=0.0, judged="codes"):
        super().__init__()
        self.latents, self.judged = latents, judged
        self.encoder = keras_mlp("encoder", PIXELS, hidden, latents + classes, dropout)
        self.decoder = keras_mlp("decoder", latents + classes, hidden, PIXELS, dropout)
        seen = PIXELS if judged == "images" else latents
        self.discriminator = keras_mlp("discriminator", seen, hidden, 1)
        self.label_discriminator = None
        if classes:
            self.label_discriminator = keras_mlp("label_discriminator", classes, hidden, 1)

    def encode(self, x, training=False):  # B×784 → B×latents and B×classes
        out = self.encoder(x, training=training)
        y = out[:, self.latents :]
        return out[:, : self.latents], ops.softmax(y) if self.label_discriminator else y

    def call(self, x, training=False):  # B×784 → B×784, logits
        return self.decoder(ops.concatenate(self.encode(x, training), axis=1), training=training)

    def rivals(self, x, z, y):
        """For each discriminator: itself, what is real to it, and what tries to pass for real."""
        if self.judged == "images":  # the popular error, for part 9
            return [(self.discriminator, x, ops.sigmoid(self(x, training=True)))]
        codes, classes = self.encode(x, training=True)
        found = [(self.discriminator, z, codes)]
        if self.label_discriminator:
            found.append((self.label_discriminator, y, classes))
        return found


# %% tags=["export", "keras"]
class KerasAAE(KerasNetworks):
    """The networks with `compile` and `train_step`, which `fit` calls for every batch."""

    def compile(self, make):
        """Give each phase its networks and an optimiser, made by a function of beta_1."""
        super().compile()
        judges = [net for net in (self.discriminator, self.label_discriminator) if net]
        made_by = [self.encoder, self.decoder] if self.judged == "images" else [self.encoder]
        self.rebuilding = self.phase(make(0.9), self.encoder, self.decoder)
        self.judging, self.fooling = self.phase(make(0.5), *judges), self.phase(make(0.5), *made_by)
        self.classifying = self.phase(make(0.9), self.encoder)
        self.meters = [keras.metrics.Mean(n) for n in ("loss", "discriminator", "encoder")]

    def phase(self, optimizer, *nets):
        optimizer.build([w for net in nets for w in net.trainable_variables])
        return optimizer, nets

    def train_step(self, batch):
        """The step on images x (B, 784) and, as `fit`'s targets, all else that `feed` yields."""
        x, (z, y, known, answers), _ = keras.utils.unpack_x_y_sample_weight(batch)
        costs = functools.partial(reconstruction_keras, self, x, training=True)
        losses = [descend_keras(self.rebuilding, lambda: ops.mean(costs()))]
        if self.judged != "nothing":
            rivals = functools.partial(self.rivals, x, z, y)
            losses.append(descend_keras(self.judging, lambda: judge_keras(rivals())))
            losses.append(descend_keras(self.fooling, lambda: fool_keras(rivals())))
        if self.label_discriminator:
            descend_keras(self.classifying, lambda: likelihood_keras(self, known, answers))
        for meter, loss in zip(self.meters, losses, strict=False):
            meter.update_state(loss)
        return {meter.name: meter.result() for meter in self.meters}


# %% [markdown]
# descend


# %% tags=["export", "keras"]
def descend_keras(phase, loss_of):
    """One step of a phase: the gradient of its loss with respect to its networks alone."""
    optimizer, nets = phase
    variables = [w for net in nets for w in net.trainable_variables]
    if keras.backend.backend() == "torch":
        import torch

        loss = loss_of()
        gradients = torch.autograd.grad(loss, [w.value for w in variables])
        with torch.no_grad():
            optimizer.apply(gradients, variables)
        return loss.detach()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = loss_of()
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss


# %% tags=["export", "keras"]
def keras_batches(images, labels, settings):
    """What `feed` yields, as `fit` wants it: (images, targets)."""
    for x, z, y, known, answers in feed(images, labels, settings):
        yield x.astype("float32") / 255, (z, y, known.astype("float32") / 255, answers)


def train_keras(images, settings, report, labels=None):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    data.check_batch(settings.batch_size, len(images))
    classes = CLASSES if settings.labels else 0
    aae = KerasAAE(
        settings.latents, settings.hidden, classes, settings.dropout, settings.judged
    )
    rate = settings.learning_rate
    if settings.schedule == "linear":
        rate = keras.optimizers.schedules.PolynomialDecay(rate, settings.steps, rate / 20)
    aae.compile(lambda beta_1: keras.optimizers.Adam(rate, beta_1, epsilon=1e-8))
    preview = functools.partial(portrait, ways["keras"], aae, images, labels, settings)
    reporter = keras_callback(report, preview, every=10, steps=settings.steps)
    batches = keras_batches(images, labels, settings)
    aae.fit(batches, steps_per_epoch=settings.steps, verbose=0, callbacks=[reporter])
    return aae


# %% tags=["export", "keras"]
def encode_keras(aae, x):
    """Codes z (B, latents) of grey images (B, 784)."""
    return parity.to_numpy(aae.encode(ops.convert_to_tensor(x))[0])


def classify_keras(aae, x):
    """Class probabilities y (B, classes) of grey images (B, 784)."""
    return parity.to_numpy(aae.encode(ops.convert_to_tensor(x))[1])


def decode_keras(aae, codes):
    """Grey images (B, 784) of codes (B, latents + classes)."""
    return parity.to_numpy(ops.sigmoid(aae.decoder(ops.convert_to_tensor(codes))))


ways["keras"] = Way(KerasAAE, train_keras, encode_keras, classify_keras, decode_keras)

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Previous:** [Variational autoencoders](02_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/02_vae.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
