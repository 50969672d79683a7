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
import importlib
import itertools
from types import SimpleNamespace

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
# An autoencoder's codes lie wherever the encoder found room. Between them are holes, and what the
# decoder makes of a hole is anybody's guess. The VAE closes the holes with a KL divergence, which
# needs the densities of encoder and prior in closed form. The **adversarial autoencoder** (Makhzani,
# Shlens, Jaitly, Goodfellow and Frey, [2015](https://arxiv.org/abs/1511.05644)) needs neither. It
# asks a referee instead:
#
# 1. encoder and decoder rebuild each image $x$ from its code $z$, as ever;
# 2. a **discriminator** learns to tell codes from draws of a prior $p(z)$;
# 3. the encoder learns to fool it.
#
# When the discriminator can only guess, codes are spread as the prior is, and a draw from the prior
# lands where the decoder knows its way. The prior's formula is never used: whatever you can *draw*
# from will do. You will see codes take the shape of a flower, and of a Swiss roll.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What the discriminator never sees
#
# An image. You may read that an adversarial autoencoder's discriminator compares images with their
# reconstructions. It does not: it compares **codes with draws from the prior**, vectors of a few
# numbers. A discriminator of images belongs to other models, such as the VAE-GAN of Larsen et al.
# ([2016](https://arxiv.org/abs/1512.09300)); put in the place of this one it leaves the codes where
# they were. In part 9 you will try it.
#
# ### What it makes equal
#
# Averaged over the data, the encoder spreads its codes as $q(z) = \mathbb E_{x}[q(z \mid x)]$, the
# **aggregated posterior**. (Here the encoder is a plain function, one of the paper's choices; all
# spread comes from the images.) Discriminator $D$ and encoder play Goodfellow et
# al.'s game ([2014](https://arxiv.org/abs/1406.2661)):
#
# $$\min_{q} \max_{D}\;\; \mathbb E_{z \sim p}[\log D(z)] + \mathbb E_{z \sim q}[\log(1 - D(z))].$$
#
# For a given $q$ the best answer is $D^*(z) = \frac{p(z)}{p(z) + q(z)}$; put in, the game's value
# is $2\,\mathrm{JS}(p, q) - \log 4$, with the Jensen–Shannon divergence, which is zero only where
# $q = p$. So a discriminator that pays $\log 4 \approx 1.386$ is one that has been made to guess.
# The VAE's KL pulls *each* posterior towards the prior, and so pays for any information about $x$.
# This game only asks that all of them *together* fill it.

# %%
grid = np.linspace(-30, 30, 6001)


def log_density(mean, std):
    return -((grid - mean) ** 2) / (2 * std**2) - np.log(std * np.sqrt(2 * np.pi))


p = log_density(0, 5)
for mean, std in ((15, 1), (4, 4), (1, 5), (0, 5)):
    q = log_density(mean, std)
    both = np.logaddexp(p, q)  # log(p + q); D* = p / (p + q) and 1 − D* = q / (p + q)
    pays = (np.exp(p) * (both - p) + np.exp(q) * (both - q)).sum() * (grid[1] - grid[0])
    print(f"codes N({mean:>2}, {std}²), prior N(0, 5²): the best discriminator pays {pays:.3f}")
print(f"log 4 = {np.log(4):.3f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST digits in grey, 0 to 1. The reconstruction cost is the cross-entropy of grey pixels, summed
# over the image: a cost, and no likelihood (02 shows why), but an AAE claims none. Labels stay out
# of sight until part 9; until then they only colour pictures.

# %%
digits = data.mnist()
print(digits.describe())
plots.show(plots.grid(digits.x_test[:20], columns=20, scale=2), alt="twenty grey test digits")
x_train, y_train = data.flatten(digits.x_train), digits.y_train  # N×784, uint8; N
x_test, y_test = data.flatten(digits.x_test).astype("float32") / 255, digits.y_test  # grey, 0…1

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Three priors
#
# All it takes is a function that draws. A Gaussian with a standard deviation of 5, that of the
# model the paper measures; ten petals, a mixture of ten narrow Gaussians; and a Swiss roll, a line
# wound up. The last two are shapes in the plane.


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


# %%
fig, axes = plots.figure(columns=3, width=9, height=3)
for ax, prior in zip(axes, ("gaussian", "mixture", "swiss roll"), strict=True):
    ax.scatter(*draw_prior(prior, 1000, 2, np.random.default_rng(SEED)).T, s=2, c="#555555")
    ax.set(title=prior, xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
plots.show(fig, alt="1,000 draws from each prior: a round cloud, ten petals, a spiral of two turns")

# %% [markdown]
# ### What the three sections share
#
# A picture of the codes for the panel; how far codes are from a prior (the *sliced Wasserstein
# distance*: project both onto many directions, sort, take the mean gap); and `feed`, which deals
# every step its images and its draws. Because all randomness but dropout comes from there, three
# models that start alike stay alike.


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


def apart(codes, draws, directions=50):
    """Sliced Wasserstein distance between two clouds of as many points (N, latents)."""
    lines = np.random.default_rng(0).standard_normal((codes.shape[1], directions))
    lines /= np.linalg.norm(lines, axis=0)
    gaps = np.sort(codes @ lines, axis=0) - np.sort(draws @ lines, axis=0)
    return float(np.abs(gaps).mean())


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
QUICK |= {"latents": 2, "hidden": 128, "dropout": 0.0, "batch_size": 100, "steps": 600}
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
#
# *Modules and an explicit loop.* Encoder, decoder and discriminator are three networks of one kind:
# two hidden layers of ReLU units, though narrower than the paper's (a reproduction that reaches its
# number has 1,200 units; we have 128, and 256 in the full profile, so that a checkpoint stays
# small). `encode` splits the code into $z$ and, for part 9, class probabilities $y$; without
# classes, $y$ has no columns.

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


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The losses
#
# Scores are logits: $D = \sigma(s)$, and $-\log \sigma(s) = \log(1 + e^{-s})$ is `softplus(-s)`,
# exact where a sigmoid would round to 0. The encoder minimises $-\log D(z)$ instead of
# $\log(1 - D(z))$: the same aim, with a gradient that does not vanish while the discriminator is
# winning. `detach` keeps the discriminator's lesson from reaching the encoder.


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


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A step in three phases
#
# Rebuild (encoder and decoder), judge (discriminator), fool (encoder). Each phase has an optimiser
# that knows only the weights it may move, which is all the "freezing" a game needs. Adam divides
# each gradient by its own size, so the losses need no weights: the rates decide how loudly each
# phase speaks. (The fourth phase, for labels, waits for part 9.)


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


# %% [markdown]
# The borders of the section: NumPy in, NumPy out, and dropout off.


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
#
# *The bare metal.* The same three networks from variables and operations; `training` is passed by
# hand, because nothing here remembers a mode.

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


# %% [markdown] slideshow={"slide_type": "subslide"}
# Each phase has a tape of its own, and asks it for the gradient of its own variables. So nothing
# needs detaching: what a phase does not ask for does not move. `steps` runs ten of them in one
# graph. The trainer is a `tf.Module`, so `tf.train.Checkpoint` can save and resume a long run.


# %% tags=["export", "tensorflow"]
class TFPhases(tf.Module):
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


# %% tags=["export", "tensorflow"]
class TFTrainer(TFPhases):
    """The training step, and ten of them in one graph."""

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


# %% [markdown]
# `tf.data` takes the batches from the shared `feed` and prepares a few ahead.


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
    preview = functools.partial(portrait, ways["tensorflow"], trainer.aae, images, labels, settings)
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
#
# *Declaration.* `fit` owns the loop, and calls our `train_step` with what `feed` deals: images, and
# in the place of targets the draws that codes are compared with. Layer names are those of the
# checkpoint, with two underscores for the dot.

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
        self.meters = [keras.metrics.Mean(n) for n in ("loss", "discriminator", "encoder")]
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


# %% [markdown] slideshow={"slide_type": "subslide"}
# A game has no single loss, so `compute_loss` is not enough: three optimisers take turns in
# `train_step`. No layer is ever frozen.


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
# Gradients are the one thing that `keras.ops` does not have, so here the code branches: a tape on
# TensorFlow, `autograd` on PyTorch.


# %% tags=["export", "keras"]
def descend_keras(phase, loss_of):
    """One step of a phase: the gradient of its loss with respect to its networks alone."""
    optimizer, nets = phase
    variables = [w for net in nets for w in net.trainable_variables]
    framework = importlib.import_module(keras.backend.backend())  # torch or tensorflow
    if keras.backend.backend() == "torch":
        loss = loss_of()
        gradients = framework.autograd.grad(loss, [w.value for w in variables])
        with framework.no_grad():
            optimizer.apply(gradients, variables)
        return loss.detach()
    with framework.GradientTape() as tape:
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
    aae = KerasAAE(settings.latents, settings.hidden, classes, settings.dropout, settings.judged)
    rate = settings.learning_rate
    if settings.schedule == "linear":
        rate = keras.optimizers.schedules.PolynomialDecay(rate, settings.steps, rate / 20)
    aae.compile(lambda beta_1: keras.optimizers.Adam(rate, beta_1, epsilon=1e-8))
    preview = functools.partial(portrait, ways["keras"], aae, images, labels, settings)
    reporter = keras_callback(report, preview, every=10, steps=settings.steps)
    batches = keras_batches(images, labels, settings)
    aae.fit(batches, steps_per_epoch=settings.steps, shuffle=False, verbose=0, callbacks=[reporter])
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

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights, made in NumPy, goes into each model, and one batch of images and draws goes
# through it. Codes, rebuilt logits and the discriminator's scores must agree. Then each takes
# **one whole training step**, all three phases of it, by plain gradient descent: where every
# weight ends up checks losses, gradients, the order of the phases, and that each phase moves its
# own networks and no others. Dropout is off here: it draws its masks from other generators.

# %%
rng = np.random.default_rng(SEED)
ends = {"encoder": (784, 2), "decoder": (2, 784), "discriminator": (2, 1)}
weights = {}
for net, (n_in, n_out) in ends.items():
    for layer, shape in {
        "hidden1": (n_in, 128),
        "hidden2": (128, 128),
        "out": (128, n_out),
    }.items():
        weights[f"{net}.{layer}.kernel"] = rng.normal(0, 0.1, shape).astype("float32")
        weights[f"{net}.{layer}.bias"] = rng.normal(0, 0.1, shape[1:]).astype("float32")
x_same = rng.random((20, 784), dtype="float32")  # 20 made-up grey images
z_same = draw_prior("gaussian", 20, 2, rng)
none_same = (np.zeros((20, 0), "float32"), np.zeros((0, 784), "float32"), np.zeros(0, "int64"))
toy = SimpleNamespace(**QUICK, seed=SEED)
RATE = 0.01  # of the plain descent
evidence = {}  # framework -> the quantities to compare


def moved(after):
    """How far each weight has come, in units of the rate: the sum of the phases' gradients."""
    return {name: (weights[name] - after[name]) / RATE for name in weights}


# %% tags=["torch"]
trainer = TorchTrainer(toy)
parity.set_weights(trainer.aae, weights)
x, z = torch.as_tensor(x_same), torch.as_tensor(z_same)
codes, logits = trainer.aae.encode(x)[0], trainer.aae.rebuild(x)
outputs = {"codes": codes, "logits": logits, "scores": trainer.aae.discriminator(z)}
evidence["torch"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
for phase in ("rebuilding", "judging", "fooling"):
    theirs = getattr(trainer, phase).param_groups[0]["params"]
    setattr(trainer, phase, torch.optim.SGD(theirs, RATE))
losses = trainer.step(RATE, x, z, *map(torch.as_tensor, none_same))
evidence["torch"]["losses"] = np.array([float(loss) for loss in losses])
evidence["torch"]["one step of three phases"] = moved(parity.get_weights(trainer.aae))
parameters = parity.count(trainer.aae)

# %% tags=["tensorflow"]
from utils.tf_optimizers import SGD  # plain gradient descent, with the face of Adam

trainer = TFTrainer(toy)
parity.set_weights(trainer.aae, weights)
codes, logits = trainer.aae.encode(x_same)[0], trainer.aae.rebuild(x_same)
outputs = {"codes": codes, "logits": logits, "scores": trainer.aae.discriminator(z_same)}
evidence["tensorflow"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
for phase in ("rebuilding", "judging", "fooling"):
    setattr(trainer, phase, SGD(getattr(trainer, phase).parameters))
losses = trainer.step(RATE, tf.constant(x_same), tf.constant(z_same), *none_same)
evidence["tensorflow"]["losses"] = np.array([float(loss) for loss in losses])
evidence["tensorflow"]["one step of three phases"] = moved(parity.get_weights(trainer.aae))
parameters = parity.count(trainer.aae)

# %% tags=["keras"]
model = KerasAAE(2, 128)
parity.set_weights(model, weights)
codes, logits = model.encode(x_same)[0], model(x_same)
outputs = {"codes": codes, "logits": logits, "scores": model.discriminator(z_same)}
evidence["keras"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
model.compile(lambda beta_1: keras.optimizers.SGD(RATE))
found = model.train_on_batch(x_same, (z_same, *none_same), return_dict=True)
losses = [float(found[name]) for name in ("loss", "discriminator", "encoder")]
evidence["keras"]["losses"] = np.array(losses)
evidence["keras"]["one step of three phases"] = moved(parity.get_weights(model))
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
# The preview's left half shows the code plane: draws from the prior in grey, and on them the codes
# of 2,000 training images, one colour for each digit; codes beyond the frame lie on its edge. The
# right half decodes 25 draws. Watch the colours spread until they cover the grey. Then choose
# another prior, and train again. (With more than two latents you see the first two.)

# %%
start = QUICK if session.quick else FULL
most, priors = max(10_000, start["steps"]), ["gaussian", "mixture", "swiss roll"]
controls = [
    Choice("prior", start["prior"], priors, help="the shape that codes are to take"),
    Choice("judged", start["judged"], ["codes", "images", "nothing"], help="the discriminator's"),
    Slider("learning_rate", start["learning_rate"], 1e-5, 1e-1, log=True, help="of every phase"),
    Slider("latents", start["latents"], 2, 20, help="dimensions of z; 2 for petals and roll"),
    Slider("hidden", start["hidden"], 32, 512, step=32, help="units of each hidden layer"),
    Slider("dropout", start["dropout"], 0.0, 0.5, step=0.05, help="in encoder and decoder"),
    Choice("labels", start["labels"], [0, 100, 1000], help="how many labels may be seen"),
    Slider("batch_size", start["batch_size"], 10, 500, step=10, help="images in a step"),
    Slider("steps", start["steps"], 100, most, step=100, help="each has three phases"),
    Choice("schedule", start["schedule"], ["constant", "linear"], help="linear: falls to 1/20"),
]


def summary(model, settings):
    """What the panel's table lists, on up to 1,000 test images."""
    way, x, y = ways[settings.framework], x_test[:1000], y_test[:1000]
    codes = way.encode(model, x)
    draws = draw_prior(settings.prior, len(x), settings.latents, np.random.default_rng(0))
    found = {"codes to prior": apart(codes, draws)}
    if settings.labels:
        found["test error, %"] = 100 * float((way.classify(model, x).argmax(1) != y).mean())
    return found


trainers = {n: functools.partial(way.train, x_train, labels=y_train) for n, way in ways.items()}
panel = Panel(trainers, controls, title="Adversarial autoencoder", summary=summary)
panel.show()

# %% [markdown]
# No front end is needed. The same run from a script is one call, here with the ten petals:

# %%
name, *_ = ways  # the first of your frameworks
PLANE = {key: QUICK[key] for key in ("latents", "hidden", "dropout", "schedule")}
petals = settings_of(controls, name, SEED, prior="mixture", steps=300, **PLANE)
model = run(trainers[name], petals, "AAE", every=100)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Three priors, one encoder
#
# Codes of test images in three checkpoints. Nothing in the loss knows what a petal or a roll is.
# The prior's *density* is never asked for either: a program that draws from it is enough, and
# `draw_prior` is all that changes. The thinner the shape, the harder the game: a code on its way
# from one turn of the roll to another must cross where no draw ever is. A longer training is no
# cure: we trained this roll for 5,000 steps, and another, for 17,700, ended as a blob.


# %%
def restored(name, checkpoint):
    """A checkpoint's model in the framework `name`."""
    info = checkpoints.load(checkpoint).info
    model = ways[name].build(info["latents"], info["hidden"], info.get("classes", 0))
    checkpoints.load_into(model, checkpoint)
    return model


plane = restored(name, "05_aae_2d")
others = {"mixture": "05_aae_petals", "swiss roll": "05_aae_roll"}
shapes = {"gaussian": plane} | {prior: restored(name, file) for prior, file in others.items()}
fig, axes = plots.figure(columns=3, width=9, height=3.2)
for ax, (prior, shaped) in zip(axes, shapes.items(), strict=True):
    codes = ways[name].encode(shaped, x_test[:800])
    ax.scatter(*codes.T, s=2, c=COLOURS[y_test[:800]] / 255)
    ax.set(title=prior, xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    for digit in range(10):
        middle = np.median(codes[y_test[:800] == digit], axis=0)
        ax.annotate(str(digit), middle, weight="bold", bbox={"fc": "white", "ec": "none", "pad": 1})
alt = (
    "codes of test digits, coloured by digit: a round cloud, petals around an empty middle, and "
    "the arcs of a spiral with stragglers between them"
)
plots.show(fig, alt=alt)

# %% [markdown]
# ### A model that has had its time
#
# The paper measures a model with an eight-dimensional code. From here on we use one: a file that
# loads into whichever framework you run, in a second.

# %%
trained = {n: restored(n, "05_aae") for n in ways}
name, *_ = trained
way, aae = ways[name], trained[name]
print(f"{checkpoints.load('05_aae').info['what']}, in {runtime.LABELS[name]}.")
eight = draw_prior("gaussian", 48, 8, np.random.default_rng(1))
alt = "48 digits decoded from draws of the prior: most are clear, some lie between two digits"
plots.show(plots.grid(way.decode(aae, eight).reshape(-1, 28, 28), columns=16, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Walk in the plane of codes
#
# The two-dimensional model again. Move the cross through the cloud of test codes and see what
# the decoder makes of its place. Inside the prior every place is a digit, or lies between two.
# Then walk out of it, beyond 15: no training image was ever there.

# %%
cloud = np.full((302, 302, 3), 255, np.uint8)
scatter(cloud, ways[name].encode(plane, x_test[:5000]), COLOURS[y_test[:5000]])


def place(z1, z2):
    """The cloud of codes with a cross at (z1, z2), and what the place decodes to."""
    marked = cloud.copy()
    cross = np.linspace(-0.8, 0.8, 40)
    for line in (np.stack([z1 + cross, 0 * cross + z2]), np.stack([0 * cross + z1, z2 + cross])):
        scatter(marked, line.T, np.array([0, 0, 0]))
    digit = ways[name].decode(plane, np.array([[z1, z2]], "float32")).reshape(1, 28, 28)
    made = plots.grid(digit, pad=0, scale=11)[:302, :302]  # 308 → 302
    return np.hstack([marked, np.stack([made] * 3, axis=2)])


Explorer(
    place,
    [
        Slider("z1", 3.0, -20.0, 20.0, step=0.25, help="left to right"),
        Slider("z2", 3.0, -20.0, 20.0, step=0.25, help="bottom to top"),
    ],
    title="Walk in the plane of codes",
    alt="left: codes of test digits fill a round cloud, with a cross in it; right: the digit there",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Along the roll
#
# A Swiss roll is a line that has been rolled up, so *one* number says where on it you are: a
# sheet of digits in one dimension. `turns` unrolls it.

# %%
rolled = shapes["swiss roll"]


def unroll(turns):
    """Nine places along the roll; the middle one follows the slider."""
    turn = 2 * np.pi * np.linspace(max(0.1, turns - 0.4), min(2.0, turns + 0.4), 9)
    turn[4] = 2 * np.pi * turns
    path = (turn * [np.cos(turn), np.sin(turn)]).T.astype("float32")  # 9×2
    canvas = np.full((152, 152, 3), 255, np.uint8)
    scatter(canvas, draw_prior("swiss roll", 3000, 2, np.random.default_rng(0)), 190)
    scatter(canvas, path.repeat(9, axis=0) + np.indices((9, 9))[0].reshape(-1, 1) * 0.05, 0)
    made = plots.grid(ways[name].decode(rolled, path).reshape(-1, 28, 28), columns=9, scale=2)
    frame = np.full((152, made.shape[1]), 255, np.uint8)
    frame[44 : 44 + made.shape[0]] = made
    return np.hstack([canvas, np.stack([frame] * 3, axis=2)])


Explorer(
    unroll,
    [Slider("turns", 1.0, 0.1, 2.0, step=0.05, help="from the middle outwards")],
    title="Along the Swiss roll",
    alt="left: the roll with nine marked places; right: the nine digits, each turning into the next",
).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### What the discriminator is for
#
# Three short runs that differ in one thing: what the discriminator compares. *Codes* with draws
# from the prior, as above; *images* with their reconstructions, which is how the model is often
# described; or *nothing*, so that a plain autoencoder remains. The code has eight dimensions; the
# pictures show two of them. **First commit to a prediction.**

# %%
exercises.predict(
    "Whose decoded draws from the prior come closest to real digits? Where it compares …",
    ["codes", "images", "nothing"],
    key="samples",
)
exercises.predict(
    "And which rebuilds test images best? Where the discriminator compares …",
    ["codes", "images", "nothing"],
    key="rebuilding",
)

# %%
SPACE = {**PLANE, "latents": 8, "schedule": "linear"}
n = min(1000, len(x_test))
draws, x = draw_prior("gaussian", n, 8, np.random.default_rng(0)), x_test[:n]
real = judge.load().features(x)
runs, costs, distances = {}, {}, {}
print("judged     rebuilding, nats   codes to prior   Fréchet distance of decoded draws")
for judged in ("codes", "images", "nothing"):
    chosen = settings_of(controls, name, SEED, judged=judged, steps=500, **SPACE)
    model = runs[judged] = ways[name].train(x_train, chosen, lambda *_: True)
    codes = ways[name].encode(model, x)
    made = ways[name].decode(model, codes).clip(1e-6, 1 - 1e-6)
    costs[judged] = -(x * np.log(made) + (1 - x) * np.log(1 - made)).sum(axis=1).mean()
    samples = judge.load().features(ways[name].decode(model, draws))
    distances[judged] = metrics.frechet_distance(samples, real)
    gap = apart(codes, draws)
    print(f"{judged:<10} {costs[judged]:16.1f}   {gap:14.1f}   {distances[judged]:33.1f}")

# %%
fig, axes = plots.figure(columns=3, rows=2, width=9, height=6)
for (judged, model), ax, below in zip(runs.items(), *axes, strict=True):
    codes = ways[name].encode(model, x_test[:800])
    half = max(REACH, np.abs(codes).max())
    ax.scatter(*draws[:500, :2].T, s=2, c="#bbbbbb")
    ax.scatter(*codes[:, :2].T, s=2, c=COLOURS[y_test[:800]] / 255)
    ax.set(title=f"judged: {judged}", xlim=(-half, half), ylim=(-half, half), aspect="equal")
    made = ways[name].decode(model, draws[:25]).reshape(-1, 28, 28)
    below.imshow(plots.grid(made, columns=5), cmap="gray")
    below.set(xticks=[], yticks=[], title="decoded draws")
alt = (
    "codes over the prior, and decoded draws, for the three runs. Judged codes cover the prior's "
    "cloud and draws decode to digits; with judged images or nothing the codes lie elsewhere"
)
plots.show(fig, alt=alt)

# %%
exercises.reveal("samples", min(distances, key=distances.get))
exercises.reveal("rebuilding", min(costs, key=costs.get))

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** *Codes* are pulled over the prior. So short a run does not finish the work (the panel
# lets you), but draws already land nearer to codes, and more of them decode to digits.
#
# *Nothing:* the plain autoencoder serves one master and rebuilds best. Its codes lie where they
# like, and a draw from the prior falls into the holes between and around them. (In the plane, with
# so little room for holes, it may get away with it: set *latents* to 2 in the panel.)
#
# *Images:* now the discriminator has an easy task, since reconstructions are smoother than any
# image, and its gradient drowns the reconstruction's. Give it a gentler rate and it makes
# reconstructions crisper, which is what the VAE-GAN wants it for. But at any rate **nothing asks
# anything of the codes**: they ignore the prior, and so draws from it decode to nothing. Sharp
# reconstructions are no sign of a generator.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A discriminator that never learns
#
# Many Keras GANs and adversarial autoencoders on the web follow one pattern: compile the
# discriminator, set `trainable = False`, put it behind the generator and compile that. In Keras 2
# the flag was read by `compile`, so the discriminator, compiled before, went on learning by its
# own `train_on_batch`. Keras 3 reads the flag when it trains.

# %%
exercises.predict(
    "In Keras 3, five steps of such a discriminator's own train_on_batch move its weights …",
    ["as in Keras 2", "not at all", "not at all, and raise an error"],
    key="frozen",
)

# %% tags=["keras"]
import warnings

frozen = keras_mlp("discriminator", 2, 32, 1)
loss = keras.losses.BinaryCrossentropy(from_logits=True)
frozen.compile("adam", loss)
frozen.trainable = False  # "for the combined model only", as the comment there usually says
combined = keras.Sequential([keras_mlp("encoder", PIXELS, 32, 2), frozen])
combined.compile("adam", loss)
before = np.array(parity.to_numpy(frozen.weights[0]))  # a copy: the weights may move under it
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for _ in range(5):
        frozen.train_on_batch(draws[:100, :2], np.ones((100, 1), "float32"))
moved_by = np.abs(parity.to_numpy(frozen.weights[0]) - before).max()
print(f"Largest change of a weight in five steps: {moved_by:.1e}")
print("Keras warns:", next((str(w.message) for w in said if "trainable" in str(w.message)), "no"))
exercises.reveal("frozen", "not at all" if moved_by == 0 else "as in Keras 2")

# %% [markdown]
# A warning among others, no error, and a loss that still falls for the other half: the encoder
# learns to fool a discriminator that stays random. The remedy is not to freeze at all. In part 5
# each phase names the variables it moves. Whatever you build, look once whether every part moves:

# %% tags=["keras"]
ours = KerasAAE(2, 32)
ours.compile(lambda beta_1: keras.optimizers.Adam(1e-3, beta_1))
before = parity.get_weights(ours)
batch = x_train[:100].astype("float32") / 255
for _ in range(5):
    empty = np.zeros((100, 0), "float32"), np.zeros((0, PIXELS), "float32"), np.zeros(0, "int64")
    ours.train_on_batch(batch, (draws[:100, :2], *empty))
after = parity.get_weights(ours)
for net in ("encoder", "decoder", "discriminator"):
    steps = [np.abs(after[key] - before[key]).max() for key in before if key.startswith(net)]
    print(f"{net:<14} largest change of a weight {max(steps):.4f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A thousand labels
#
# The paper's semi-supervised variant splits the code: a *style* $z$ as before, and a *class* $y$,
# ten numbers from a softmax. A second discriminator compares $y$ with one-hot draws, so that $y$
# says one digit and says each about equally often; and a fourth phase moves the encoder towards
# the right label for those images that have one. Here 1,000 of the training images do.

# %%
exercises.predict(
    "A plain network of the same size, trained on the 1,000 labelled images alone, errs on about "
    "10 % of MNIST's test images. With the unlabelled images added …",
    ["it errs less often", "about as often", "more often: most images have no label"],
    key="labels",
)

# %%
from sklearn.neural_network import MLPClassifier

some = labelled(y_train, 1000, SEED)
alone = MLPClassifier((128, 128), random_state=SEED).fit(x_train[some] / 255, y_train[some])
kinds = {**PLANE, "dropout": 0.2, "schedule": "linear", "learning_rate": 2e-3}
kinds["steps"] = 900 if session.quick else 60_000
chosen = settings_of(controls, name, SEED, labels=1000, **kinds)
styled = ways[name].train(x_train, chosen, lambda *_: True, labels=y_train)
longer = restored(name, "05_aae_labels")


def error_of(model):
    """Test error of a model's classes and its standard error, in percent."""
    share = (ways[name].classify(model, x_test).argmax(axis=1) != y_test).mean()
    return 100 * share, 100 * np.sqrt(share * (1 - share) / len(x_test))


(error, spread), (least, least_spread) = error_of(styled), error_of(longer)
base = 100 * (1 - alone.score(x_test, y_test))
print(f"1,000 labels alone                   test error {base:.1f} %")
print(f"with the unlabelled images as well   test error {error:.1f} ± {spread:.1f} %")
print(f"the same, a checkpoint               test error {least:.1f} ± {least_spread:.1f} %")
print("Makhzani et al., 1,000 labels        test error 1.60 ± 0.08 %")
clear = 2 * np.sqrt(2) * spread  # what two such errors may differ by chance
outcome = "it errs less often" if error < base - clear else "about as often"
exercises.reveal("labels", outcome)

# %% [markdown]
# A short run gains a point or two on the labels alone, or nothing: after an epoch and a half the
# codes have not found their shape. The checkpoint has had fifty epochs. It is still far from the
# paper's number, and it is small: 128 units a layer and a style of two numbers.
#
# What the split buys besides: with $z$ held fixed and $y$ turned through the ten classes, the
# decoder writes all digits in one hand, and nobody labelled a handwriting. It works because two
# numbers are too few for the whole image, so the decoder has to read $y$ as well. A style of ten
# numbers and a short run would let it ignore $y$: try that in the panel.

# %%
styles = draw_prior("gaussian", 6, 2, np.random.default_rng(2))  # 6×2
codes = [np.concatenate([style, y]) for style in styles for y in np.eye(10, dtype="float32")]
sheet = ways[name].decode(longer, np.array(codes, "float32")).reshape(-1, 28, 28)
alt = "six rows of the digits 0 to 9, each row in a hand of its own: upright, slanted, broad"
plots.show(plots.grid(sheet, columns=10, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# The paper reports a **Parzen-window log-likelihood**: put a Gaussian of width $\sigma$ on each of
# 10,000 decoded draws $s$, and ask how likely the test images are under their mixture:
#
# $$\log p(x) \approx \log \frac{1}{10\,000} \sum_{s} \mathcal N(x;\, s, \sigma^2 I).$$
#
# $\sigma$ is chosen on held-out training images. Here for 500 test images, with the checkpoint in
# each framework and the same draws:

# %%
SIGMAS = (0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.25)
held_out = x_train[-500:].astype("float32") / 255  # not trained on by the checkpoint
draws = draw_prior("gaussian", 10_000, 8, np.random.default_rng(0))


def windows(samples, who):
    """Print the Parzen log-likelihood of 500 test images under windows on samples."""
    sigma = metrics.parzen_sigma(samples, held_out, SIGMAS)
    value = metrics.mean_and_error(metrics.parzen(samples, x_test[:500], sigma))
    print(f"{who:<34} {str(value):>16} nats   (σ = {sigma:g})")


for each, model in trained.items():
    windows(ways[each].decode(model, draws), f"10,000 draws, {runtime.LABELS[each]}")

# %% [markdown]
# ### A number to distrust
#
# Theis, van den Oord and Bethge ([2016](https://arxiv.org/abs/1511.01844)) advise against this
# measure: in many dimensions it says little about the true likelihood, and it prefers *averages* to
# images. See for yourself. No sample is better than a real image, so put windows on training images
# and on averages of them:

# %%
from sklearn.cluster import MiniBatchKMeans

real = x_train[: min(20_000, len(x_train) - 500)].astype("float32") / 255
windows(real[:10_000], f"{min(10_000, len(real)):,} training images")
kinds = {"max_iter": 6, "batch_size": 2000, "init": "random", "n_init": 1}
means = MiniBatchKMeans(min(500, len(real) // 3), random_state=SEED, **kinds)
windows(means.fit(real).cluster_centers_, f"{means.n_clusters} averages of them (k-means)")

# %% [markdown]
# Ten thousand real images score hardly better than 500 blurred averages of them, and both far
# below our model: an average is near to many images, an image only to itself. So the number is
# there to be compared with other papers' numbers, measured alike, and for nothing else.
#
# ### A second opinion
#
# The **Fréchet distance** fits a Gaussian to features of real images and one to features of samples,
# and measures how far apart they are (with Inception's features it is called FID, Heusel et al.,
# [2017](https://arxiv.org/abs/1706.08500)). Our features are those of the course's own frozen
# classifier, so our numbers compare with each other and not with published FIDs. Its floor is not
# zero: two samples of *real* images differ as well.

# %%
features = judge.load().features
few = x_test[:1000]
floor = metrics.frechet_distance(features(x_train[:1000]), features(few))
print(f"Fréchet distance to {len(few):,} test images: 1,000 training images {floor:.2f} (floor)")
for prior, (codes_of, model) in {
    "8-d Gaussian, checkpoint": (draws[:1000], aae),
    "2-d Gaussian, checkpoint": (draw_prior("gaussian", 1000, 2, np.random.default_rng(0)), plane),
}.items():
    made = ways[name].decode(model, codes_of)
    print(f"{prior}: {metrics.frechet_distance(features(made), features(few)):.2f}")

# %% [markdown]
# And on the whole test set, recorded by `make results`. The paper reports 340 ± 2 for its own network
# in place of ours; with 256 units instead of about a thousand we fall short by ten. Dropout earns its
# place: 60 epochs more *without* it rebuilt test images a little worse (90.1 nats after 89.5 on the
# first 1,000) and cost four nats of this number (on 600 test images).

# %%
from utils import results

results.show("05_aae")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. Who judges what?** The one thing to take away from this notebook.

# %%
questions.judged.ask()
questions.judged.check(...)  # "a", "b", "c" or "d"

# %% [markdown]
# **2. The discriminator's loss**, from its scores (logits) of real draws and of made codes. Scores
# of ±1,000 must not break it.


# %%
def judge_loss(real, made):
    """One number, from scores (B,) and (B,)."""
    return ...  # your code


questions.judge_loss.check(judge_loss)
# questions.judge_loss.hint()
# questions.judge_loss.solution()

# %% [markdown]
# **3. The encoder's loss**, the one that does not saturate.


# %%
def fool_loss(made):
    """One number, from scores (B,)."""
    return ...  # your code


questions.fool_loss.check(fool_loss)

# %% [markdown]
# **4. Parzen windows**, safe for images that lie far from every sample.


# %%
def parzen(samples, x, sigma):
    """log p of images x (N, D) under windows of width sigma on samples (M, D): shape (N,)."""
    return ...  # your code


questions.parzen.check(parzen)

# %% [markdown]
# **5. Change the data.** Any folder of images, or an IDX file such as Fashion-MNIST's, can take
# MNIST's place. Load one with `data.from_images(folder)` or `data.from_idx(images, labels)`,
# check it, put it into `x_train` and `y_train`, and train in the panel again.

# %%
my_digits = ...  # data.from_images("…") or data.from_idx("…")
questions.other_data.check(my_digits)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - The discriminator tells **codes** from draws of the prior. It never sees an image.
# - A step has three phases, each with its own optimiser: rebuild, judge, fool. At best the
#   discriminator pays log 4.
# - The prior needs no density: a program that draws from it is enough.
# - In Keras 3 a frozen discriminator does not train. Freeze nothing: name what each phase moves.
# - Split the code and give the class a prior of its own, and a few labels go a long way.
# - Parzen windows prefer blurred averages to real images. Report a second measure, and its floor.
#
# | use | when |
# |---|---|
# | an AAE | the prior is a shape without a density, or codes should carry a class and a style |
# | a VAE | you want a likelihood, or a code for each image with its own uncertainty |
# | a GAN | only the look of samples counts, and no encoder is needed |
# | a plain autoencoder | you only need compression or anomaly scores |
#
# **Further reading.** Makhzani et al. ([2015](https://arxiv.org/abs/1511.05644)); Tolstikhin et
# al., *Wasserstein Auto-Encoders* ([2018](https://arxiv.org/abs/1711.01558)), who show that the AAE
# is a special case of theirs; Theis et al. ([2016](https://arxiv.org/abs/1511.01844)) on measures.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [VQ-VAE: a dictionary of codes](06_vq_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/06_vq_vae.ipynb))
# - **Previous:** [β-VAE: taking the factors apart](04_beta_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/04_beta_vae.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
