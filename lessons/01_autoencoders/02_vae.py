# ---
# jupyter:
#   course:
#     title: "Variational autoencoders"
#     summary: "A generator with a likelihood: the ELBO, the reparameterisation, and what breaks them."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "gradients and one optimiser (gradient descent is enough)"
#       - "the normal distribution, expectations and Bayes' rule"
#     objectives:
#       - "derive the evidence lower bound (ELBO) and say what each of its two terms does"
#       - "write the reparameterisation and the closed-form KL divergence in PyTorch, TensorFlow and Keras"
#       - "check that three models in three frameworks are the same model"
#       - "walk through a latent space, and read which of its units carry information"
#       - "bring about posterior collapse, and recognise it"
#       - "measure log p(x) with an importance-weighted bound and its uncertainty"
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
# # Variational autoencoders
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/02_vae.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/01_autoencoders/02_vae.ipynb)
#
# A generator with a likelihood: the ELBO, the reparameterisation, and what breaks them.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** gradients and one optimiser (gradient descent is enough); the normal distribution, expectations and Bayes' rule.
#
# **What you will be able to do:**
#
# - derive the evidence lower bound (ELBO) and say what each of its two terms does
# - write the reparameterisation and the closed-form KL divergence in PyTorch, TensorFlow and Keras
# - check that three models in three frameworks are the same model
# - walk through a latent space, and read which of its units carry information
# - bring about posterior collapse, and recognise it
# - measure log p(x) with an importance-weighted bound and its uncertainty

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

from utils import checkpoints, data, exercises, metrics, parity, plots, runtime
from utils.controls import Choice, Slider
from utils.exercises import vae as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# An autoencoder squeezes an image $x$ into a short code $z$ and rebuilds it. It says nothing
# about which codes are *likely*: pick one at random and the decoder may return noise. A
# **variational autoencoder** (Kingma and Welling, [2014](https://arxiv.org/abs/1312.6114);
# Rezende, Mohamed and Wierstra, [2014](https://arxiv.org/abs/1401.4082)) is a probabilistic model
# that repairs this:
#
# 1. draw a code from a fixed **prior**, $z \sim p(z) = \mathcal N(0, I)$;
# 2. draw the image from a **decoder**, $x \sim p_\theta(x \mid z)$.
#
# Training should make the data likely, so we would like to maximise $\log p_\theta(x) = \log \int
# p_\theta(x \mid z)\, p(z)\, dz$. The integral runs over every code and cannot be computed.
# Almost all codes explain a given image badly, so guessing them from the prior wastes nearly
# every guess. The **encoder** $q_\phi(z \mid x)$ learns where to look: a normal distribution
# whose mean and variance a network reads off the image.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The bound
#
# For any $q$ that covers $p$, Bayes' rule $p_\theta(x)\,p_\theta(z \mid x) = p_\theta(x \mid
# z)\,p(z)$ gives
#
# $$\log p_\theta(x)
#   = \underbrace{\mathbb E_{q}\big[\log p_\theta(x \mid z)\big]
#   - \mathrm{KL}\big(q_\phi(z \mid x)\,\|\,p(z)\big)}_{\text{ELBO}}
#   \;+\; \underbrace{\mathrm{KL}\big(q_\phi(z \mid x)\,\|\,p_\theta(z \mid x)\big)}_{\ge\, 0}.$$
#
# *Why:* take $\log p_\theta(x) = \log p_\theta(x \mid z) + \log p(z) - \log p_\theta(z \mid x)$,
# which holds for every $z$; add and subtract $\log q_\phi(z \mid x)$; average over $q$.
#
# The last term is never negative, so the **evidence lower bound** (ELBO) never exceeds $\log
# p_\theta(x)$, and the gap is exactly how far the encoder is from the true posterior. The first
# term asks that the code rebuild its image; the second is the price, in nats, of a code that
# differs from the prior. We minimise $-\text{ELBO}$ with respect to $\theta$ and $\phi$ together.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A price in closed form
#
# With $q = \mathcal N(\mu, \mathrm{diag}\,\sigma^2)$ the KL divergence needs no sampling (Kingma
# and Welling, appendix B). Networks return $\log\sigma^2$, which may be any real number:
#
# $$\mathrm{KL} = \tfrac12 \sum_j \big(\sigma_j^2 + \mu_j^2 - 1 - \log \sigma_j^2\big).$$
#
# A **sum** over the latent units $j$, not a mean. Code that averages here (it is common) divides
# the price by the number of units. In part 9 you will see what that buys, and what it costs.
#
# ### A gradient through a random draw
#
# $\mathbb E_{q_\phi}[\log p_\theta(x \mid z)]$ is estimated with one draw of $z$. But how does a
# draw depend on $\phi$? Written as a deterministic function of outside noise, it simply does:
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I), \qquad \sigma = e^{\frac12 \log \sigma^2}.$$
#
# This is the **reparameterisation**. The alternative, the score-function (REINFORCE) estimator,
# multiplies $f(z)$ by $\nabla_\phi \log q_\phi(z)$. Both are unbiased. The cell below estimates
# $\frac{d}{d\mu}\, \mathbb E[z^2] = 2\mu$ both ways, and compares how much they scatter.

# %%
rng = np.random.default_rng(SEED)
mu, eps = 1.5, rng.standard_normal(100_000)
z = mu + eps  # σ = 1
gradients = {
    "reparameterised": 2 * z,  # d(z²)/dμ, because dz/dμ = 1
    "score function": z**2 * (z - mu),  # z² · d log N(z; μ, 1)/dμ
}
for name, estimate in gradients.items():
    print(f"{name:<16} mean {estimate.mean():.2f} (exact 3.00), variance {estimate.var():5.1f}")

# %% [markdown]
# One noisy gradient per image is enough for the first; the second would need many draws to be as
# steady, and the disadvantage grows with the number of latents.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST digits, grey values 0–255. Our decoder will return one Bernoulli probability for each
# pixel, so its images are **black or white**. We follow Salakhutdinov and Murray (2008) and Burda
# et al.: a pixel is on with its grey value as probability, and the coins are tossed again each
# time that an image is used (*dynamic binarisation*).

# %%
digits = data.mnist()
print(digits.describe())
x_train = data.flatten(digits.x_train)  # N×784, uint8
test_coins = np.random.default_rng(0)  # tossed once: every measurement sees the same test images
x_test = data.binarise(data.flatten(digits.x_test), test_coins)  # N×784, 0 or 1
first = [int(np.argmax(digits.y_test == label)) for label in range(10)]  # one image of each digit
toss = [data.binarise(digits.x_test[first], np.random.default_rng(seed)) for seed in (1, 2)]
rows = np.concatenate([digits.x_test[first] / 255, *toss])
alt = "ten test digits in grey, and below them two tosses of their pixels: only edges change"
plots.show(plots.grid(rows, columns=10, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why not simply feed the grey values?
#
# Most tutorials put grey $x \in [0, 1]$ into the Bernoulli cross-entropy $-x\log p -
# (1-x)\log(1-p)$. It trains, but it is no log-likelihood: $p^x(1-p)^{1-x}$ does not integrate to
# one over $[0, 1]$ (the constant that is missing gives the *continuous Bernoulli* of Loaiza-Ganem
# and Cunningham, [2019](https://arxiv.org/abs/1907.06845)). Nor is zero within reach: even a
# perfect $p = x$ pays the pixel's entropy. The number that such a loss reports cannot be compared
# with any in the literature.

# %%
grey = np.clip(data.flatten(digits.x_test[:1000]) / 255, 1e-12, 1 - 1e-12)  # 1000×784
floor = -(grey * np.log(grey) + (1 - grey) * np.log(1 - grey)).sum(axis=1)
print(f"A perfect reconstruction of a grey test image costs {floor.mean():.1f} nats, not 0.")

# %% [markdown]
# ### What the three sections share
#
# Sizes, the recipe, and a place to put each framework's functions. The network is the one of
# Burda, Grosse and Salakhutdinov ([2016](https://arxiv.org/abs/1509.00519), §5.1): two hidden
# layers of 200 tanh units on either side of 50 latents, Glorot initialisation, Adam with
# $\epsilon = 10^{-4}$, the output bias set from the mean image. Their schedule has eight stages:
# stage $i$ lasts $3^i$ epochs at a rate of $10^{-3} \cdot 10^{-i/7}$.

# %% tags=["export"]
PIXELS, HIDDEN, ADAM_EPS = 784, 200, 1e-4
QUICK = {"learning_rate": 1e-3, "beta": 1.0, "latents": 50, "batch_size": 100, "steps": 800}
QUICK["schedule"] = "constant"
FULL = {**QUICK, "batch_size": 20, "steps": 3280 * 3000, "schedule": "burda"}  # 3,280 epochs

Way = collections.namedtuple("Way", "build train encode decode log_weights")
ways = {}  # framework -> its five functions, filled by the sections


# %% tags=["export"]
def learning_rate(step, settings, n):
    """The rate of a step (counted from 0) on n images: constant, or Burda et al.'s stages."""
    if settings.schedule == "constant":
        return settings.learning_rate
    epoch, stage = step * settings.batch_size // n, 0
    while epoch >= (3 ** (stage + 1) - 1) // 2:  # stages 0…i last 1 + 3 + … + 3^i epochs
        stage += 1
    return settings.learning_rate * 10 ** (-stage / 7)


def index_batches(n, settings):
    """Shuffled batches of positions in n images, epoch after epoch, one for each step."""
    rng = np.random.default_rng(settings.seed)
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), settings.steps)


def pixel_bias(images):
    """The logit of each pixel's mean: what the decoder should say before it knows anything."""
    mean = np.clip(images.mean(axis=0) / 255, 0.001, 0.999)
    return np.log(mean / (1 - mean)).astype("float32")


def prior_noise(settings, n=32):
    """Fixed draws from the prior, so that successive previews show the same codes."""
    rng = np.random.default_rng(settings.seed)
    return rng.standard_normal((n, settings.latents), dtype="float32")


def picture(probabilities):
    """A grid of the images (N, 784), eight to a row."""
    return plots.grid(probabilities.reshape(-1, 28, 28), columns=8)


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* A module holds the weights, `forward` says how data flows, and
# the loop is ours to read.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchEncoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.mean, self.log_var = nn.Linear(HIDDEN, latents), nn.Linear(HIDDEN, latents)

    def forward(self, x):  # B×784
        h = torch.tanh(self.hidden2(torch.tanh(self.hidden1(x))))  # B×200
        return self.mean(h), self.log_var(h)  # B×latents, twice


class TorchDecoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(latents, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.logits = nn.Linear(HIDDEN, PIXELS)

    def forward(self, z):  # …×latents
        return self.logits(torch.tanh(self.hidden2(torch.tanh(self.hidden1(z)))))  # …×784, logits


# %% tags=["export", "torch"]
class TorchVAE(nn.Module):
    """A Gaussian encoder and a Bernoulli decoder, two tanh layers each."""

    def __init__(self, latents, bias=None):
        super().__init__()
        self.encoder, self.decoder = TorchEncoder(latents), TorchDecoder(latents)
        for layer in (*self.encoder.children(), *self.decoder.children()):
            nn.init.xavier_uniform_(layer.weight)  # Glorot's; PyTorch's own default is another
            nn.init.zeros_(layer.bias)
        if bias is not None:
            self.decoder.logits.bias.data.copy_(torch.as_tensor(bias))

    def forward(self, x, eps):
        mean, log_var = self.encoder(x)
        z = mean + torch.exp(0.5 * log_var) * eps  # the reparameterisation
        return self.decoder(z), mean, log_var


# %% [markdown]
# The two terms of $-\text{ELBO}$, in nats for each image. The Bernoulli likelihood takes
# **logits**: `binary_cross_entropy_with_logits` stays exact where `log(sigmoid(…))` would round
# to $\log 0$.


# %% tags=["export", "torch"]
def elbo_torch(vae, x, eps):
    """−log p(x|z) and KL(q‖p), each of shape (B,), for noise eps (B, latents)."""
    logits, mean, log_var = vae(x, eps)
    nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(
        dim=1
    )  # sum over pixels
    kl = 0.5 * (log_var.exp() + mean**2 - 1 - log_var).sum(dim=1)  # sum over latents
    return nll, kl


# %% [markdown] slideshow={"slide_type": "subslide"}
# The loop: pick images, toss their pixels, compute the loss, step. `report` tells the panel how
# it goes, and answers whether to go on.


# %% tags=["export", "torch"]
def train_torch(images, settings, report):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    n = data.check_batch(settings.batch_size, len(images))
    vae = TorchVAE(settings.latents, pixel_bias(images))
    optimizer = torch.optim.Adam(vae.parameters(), eps=ADAM_EPS, fused=True)
    images = torch.as_tensor(images)  # N×784, uint8: a quarter of the memory of floats
    noise = torch.as_tensor(prior_noise(settings))
    for step, index in enumerate(index_batches(n, settings), start=1):
        x = torch.bernoulli(images[torch.as_tensor(index)].float() / 255)  # B×784, tossed anew
        nll, kl = elbo_torch(vae, x, torch.randn(len(x), settings.latents))  # B, B
        loss = (nll + settings.beta * kl).mean()
        optimizer.param_groups[0]["lr"] = learning_rate(step - 1, settings, n)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            values = (loss.item(), nll.mean().item(), kl.mean().item())
            logs = dict(zip(("loss", "reconstruction", "KL"), values, strict=True))
            if not report(step, logs, lambda: picture(decode_torch(vae, noise))):
                break
    return vae


# %% [markdown]
# The borders of the section: NumPy in, NumPy out, so that all that follows works with any
# framework. `log_weights` is for part 10: $\log w = \log p(x, z) - \log q(z \mid x)$ for many $z$
# per image.


# %% tags=["export", "torch"]
@torch.no_grad()
def encode_torch(vae, x):
    """Posterior means and log-variances (B, latents) of binary images (B, 784)."""
    return tuple(part.cpu().numpy() for part in vae.encoder(torch.as_tensor(x)))


@torch.no_grad()
def decode_torch(vae, z):
    """Pixel probabilities (B, 784) of codes (B, latents)."""
    return torch.sigmoid(vae.decoder(torch.as_tensor(z))).cpu().numpy()


@torch.no_grad()
def log_weights_torch(vae, x, eps):
    """log p(x, z) − log q(z|x), shape (K, B), for images (B, 784) and noise (K, B, latents)."""
    x, eps = torch.as_tensor(x), torch.as_tensor(eps)
    mean, log_var = vae.encoder(x)
    z = mean + torch.exp(0.5 * log_var) * eps  # K×B×latents
    logits = vae.decoder(z)  # K×B×784
    log_p_x = (x * logits).sum(-1) - F.softplus(logits).sum(-1)  # K×B
    # log p(z) − log q(z|x): the constants cancel, and (z − μ)/σ is the noise itself
    return (log_p_x + 0.5 * (eps**2 - z**2 + log_var).sum(-1)).cpu().numpy()


ways["torch"] = Way(TorchVAE, train_torch, encode_torch, decode_torch, log_weights_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* No Keras layers: variables, operations, a gradient tape, and functions
# compiled into graphs.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import Dense  # built by hand in 01_autoencoder
from utils.tf_optimizers import Adam


class TFEncoder(tf.Module):
    def __init__(self, latents):
        super().__init__()
        self.hidden1, self.hidden2 = Dense(PIXELS, HIDDEN), Dense(HIDDEN, HIDDEN)
        self.mean, self.log_var = Dense(HIDDEN, latents), Dense(HIDDEN, latents)

    def __call__(self, x):  # B×784
        h = tf.tanh(self.hidden2(tf.tanh(self.hidden1(x))))  # B×200
        return self.mean(h), self.log_var(h)  # B×latents, twice


class TFDecoder(tf.Module):
    def __init__(self, latents, bias=0.0):
        super().__init__()
        self.hidden1, self.hidden2 = Dense(latents, HIDDEN), Dense(HIDDEN, HIDDEN)
        self.logits = Dense(HIDDEN, PIXELS, bias)

    def __call__(self, z):  # …×latents
        return self.logits(tf.tanh(self.hidden2(tf.tanh(self.hidden1(z)))))  # …×784, logits


# %% tags=["export", "tensorflow"]
class TFVAE(tf.Module):
    """A Gaussian encoder and a Bernoulli decoder, two tanh layers each."""

    def __init__(self, latents, bias=0.0):
        super().__init__()
        self.encoder, self.decoder = TFEncoder(latents), TFDecoder(latents, bias)

    def __call__(self, x, eps):
        mean, log_var = self.encoder(x)
        z = mean + tf.exp(0.5 * log_var) * eps  # the reparameterisation
        return self.decoder(z), mean, log_var


def elbo_tf(vae, x, eps):
    """−log p(x|z) and KL(q‖p), each of shape (B,), for noise eps (B, latents)."""
    logits, mean, log_var = vae(x, eps)
    nll = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits), axis=1)
    kl = 0.5 * tf.reduce_sum(tf.exp(log_var) + mean**2 - 1 - log_var, axis=1)
    return nll, kl


# %% [markdown]
# `tf.data` shuffles *indices*, not images (one permutation an epoch instead of 60,000 small
# copies), and tosses the pixels in the pipeline, a few batches ahead.


# %% tags=["export", "tensorflow"]
def tossed_batches(images, batch_size):
    """An endless tf.data stream of shuffled, freshly binarised batches (B, 784)."""
    per_epoch = len(images) // batch_size
    images = tf.constant(images)  # N×784, uint8

    def epoch(_):
        order = tf.random.shuffle(tf.range(len(images)))[: per_epoch * batch_size]
        return tf.data.Dataset.from_tensor_slices(tf.reshape(order, (per_epoch, batch_size)))

    def binarise(index):
        grey = tf.cast(tf.gather(images, index), tf.float32) / 255  # B×784
        return tf.cast(tf.random.uniform(tf.shape(grey)) < grey, tf.float32)

    return tf.data.Dataset.range(2**62).flat_map(epoch).map(binarise).prefetch(4)


# %% [markdown] slideshow={"slide_type": "subslide"}
# `tf.function` turns the step, and the loop of ten steps around it, into one graph: Python speaks
# to it once per ten steps. The trainer keeps model, optimiser and step count in variables, so
# `tf.train.Checkpoint` can save and resume a long run: `make train` does, for the hours that the
# full schedule takes.


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model, optimiser and step count: everything a long run needs to resume."""

    def __init__(self, images, settings):
        super().__init__()
        self.vae = TFVAE(settings.latents, pixel_bias(images))
        self.weights = parity.variables(self.vae)
        self.adam = Adam(self.weights, ADAM_EPS)
        self.beta, self.step = settings.beta, tf.Variable(0, dtype=tf.int64)

    @tf.function
    def train_steps(self, batches, steps, rate):
        """Run `steps` steps; returns loss, reconstruction and KL of the last one, in nats."""
        nll = kl = tf.constant(0.0)
        for _ in tf.range(steps):
            x = next(batches)  # B×784
            eps = tf.random.normal((tf.shape(x)[0], self.vae.encoder.mean.bias.shape[0]))
            with tf.GradientTape() as tape:
                nlls, kls = elbo_tf(self.vae, x, eps)
                nll, kl = tf.reduce_mean(nlls), tf.reduce_mean(kls)
                loss = nll + self.beta * kl
            self.adam.apply(tape.gradient(loss, self.weights), rate)
            self.step.assign_add(1)
        return nll + self.beta * kl, nll, kl


# %% tags=["export", "tensorflow"]
def train_tf(images, settings, report, trainer=None):
    """Train on uint8 images (N, 784); with a `trainer`, go on from where it stands."""
    n = data.check_batch(settings.batch_size, len(images))
    trainer = trainer or TFTrainer(images, settings)
    noise = prior_noise(settings)
    batches = iter(tossed_batches(images, settings.batch_size))
    step = int(trainer.step)
    while step < settings.steps:
        steps = min(10, settings.steps - step)
        rate = learning_rate(step, settings, n)
        values = trainer.train_steps(batches, tf.constant(steps), tf.constant(rate))
        logs = dict(zip(("loss", "reconstruction", "KL"), map(float, values), strict=True))
        step += steps
        if not report(step, logs, lambda: picture(decode_tf(trainer.vae, noise))):
            break
    return trainer.vae


# %% tags=["export", "tensorflow"]
def encode_tf(vae, x):
    """Posterior means and log-variances (B, latents) of binary images (B, 784)."""
    return tuple(part.numpy() for part in vae.encoder(tf.constant(x)))


def decode_tf(vae, z):
    """Pixel probabilities (B, 784) of codes (B, latents)."""
    return tf.sigmoid(vae.decoder(tf.constant(z))).numpy()


@tf.function(reduce_retracing=True)
def log_weights_graph(vae, x, eps):
    mean, log_var = vae.encoder(x)
    z = mean + tf.exp(0.5 * log_var) * eps  # K×B×latents
    logits = vae.decoder(z)  # K×B×784
    log_p_x = tf.reduce_sum(x * logits, -1) - tf.reduce_sum(tf.nn.softplus(logits), -1)  # K×B
    return log_p_x + 0.5 * tf.reduce_sum(eps**2 - z**2 + log_var, -1)


def log_weights_tf(vae, x, eps):
    """log p(x, z) − log q(z|x), shape (K, B), for images (B, 784) and noise (K, B, latents)."""
    return log_weights_graph(vae, tf.constant(x), tf.constant(eps)).numpy()


ways["tensorflow"] = Way(TFVAE, train_tf, encode_tf, decode_tf, log_weights_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* Say what the layers are and what the loss is; `fit` owns the loop. The same code
# runs on TensorFlow and on PyTorch, chosen by `KERAS_BACKEND`. Layer names are those of the
# checkpoint, with two underscores for the dot that PyTorch would not accept.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


def keras_encoder(latents):
    """784 → 200 → 200 → latents, twice."""
    x = keras.Input((PIXELS,))  # B×784
    h = layers.Dense(HIDDEN, activation="tanh", name="encoder__hidden1")(x)  # B×200
    h = layers.Dense(HIDDEN, activation="tanh", name="encoder__hidden2")(h)  # B×200
    mean = layers.Dense(latents, name="encoder__mean")(h)  # B×latents
    log_var = layers.Dense(latents, name="encoder__log_var")(h)  # B×latents
    return keras.Model(x, [mean, log_var], name="encoder")


def keras_decoder(latents, bias=None):
    """latents → 200 → 200 → 784 logits."""
    start = "zeros" if bias is None else keras.initializers.Constant(bias)
    z = keras.Input((latents,))  # B×latents
    h = layers.Dense(HIDDEN, activation="tanh", name="decoder__hidden1")(z)  # B×200
    h = layers.Dense(HIDDEN, activation="tanh", name="decoder__hidden2")(h)  # B×200
    logits = layers.Dense(PIXELS, bias_initializer=start, name="decoder__logits")(h)  # B×784
    return keras.Model(z, logits, name="decoder")


# %% [markdown] slideshow={"slide_type": "subslide"}
# `compute_loss` is where Keras 3 wants a loss that is not a function of labels and predictions
# alone. The pixels are tossed inside `call`; an image that is already black and white passes
# through unchanged, because $u < 1$ always and $u < 0$ never for $u \in [0, 1)$. Bytes become
# probabilities there too, so that 60,000 images wait as bytes, a quarter of the memory of floats.


# %% tags=["export", "keras"]
class KerasVAE(keras.Model):
    """A Gaussian encoder and a Bernoulli decoder, two tanh layers each."""

    def __init__(self, latents, bias=None, beta=1.0, seed=0):
        super().__init__()
        self.encoder, self.decoder = keras_encoder(latents), keras_decoder(latents, bias)
        self.beta, self.coins = beta, keras.random.SeedGenerator(seed)
        self.parts = [keras.metrics.Mean("reconstruction"), keras.metrics.Mean("KL")]

    def call(self, inputs):
        x, eps = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)  # part 6 gives eps
        if keras.backend.standardize_dtype(x.dtype) == "uint8":
            x = ops.cast(x, "float32") / 255  # grey bytes to probabilities
        coins = keras.random.uniform(ops.shape(x), seed=self.coins)
        x = ops.cast(coins < x, "float32")  # B×784, tossed anew
        mean, log_var = self.encoder(x)
        if eps is None:
            eps = keras.random.normal(ops.shape(mean), seed=self.coins)
        z = mean + ops.exp(0.5 * log_var) * eps  # the reparameterisation
        return x, self.decoder(z), mean, log_var

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        nll, kl = elbo_keras(*y_pred)
        for metric, value in zip(self.parts, (nll, kl), strict=True):
            metric.update_state(value)
        return ops.mean(nll + self.beta * kl)


def elbo_keras(x, logits, mean, log_var):
    """−log p(x|z) and KL(q‖p), each of shape (B,), from what `call` returns."""
    nll = ops.sum(ops.binary_crossentropy(x, logits, from_logits=True), axis=1)
    kl = 0.5 * ops.sum(ops.exp(log_var) + mean**2 - 1 - log_var, axis=1)
    return nll, kl


# %% tags=["export", "keras"]
def train_keras(images, settings, report):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    n = data.check_batch(settings.batch_size, len(images))
    vae = KerasVAE(settings.latents, pixel_bias(images), settings.beta, settings.seed)
    vae.compile(keras.optimizers.Adam(settings.learning_rate, epsilon=ADAM_EPS))
    noise, per_epoch = prior_noise(settings), -(-n // settings.batch_size)
    epochs = -(-settings.steps // per_epoch)  # the callback stops within the last one

    def rate(epoch):
        return learning_rate(epoch * per_epoch, settings, n)

    def preview():
        return picture(decode_keras(vae, noise))

    reporter = keras_callback(report, preview, every=10, steps=settings.steps)
    callbacks = [keras.callbacks.LearningRateScheduler(rate), reporter]
    vae.fit(images, batch_size=settings.batch_size, epochs=epochs, verbose=0, callbacks=callbacks)
    return vae


# %% tags=["export", "keras"]
def encode_keras(vae, x):
    """Posterior means and log-variances (B, latents) of binary images (B, 784)."""
    return tuple(parity.to_numpy(part) for part in vae.encoder(ops.convert_to_tensor(x)))


def decode_keras(vae, z):
    """Pixel probabilities (B, 784) of codes (B, latents)."""
    return parity.to_numpy(ops.sigmoid(vae.decoder(ops.convert_to_tensor(z))))


def log_weights_keras(vae, x, eps):
    """log p(x, z) − log q(z|x), shape (K, B), for images (B, 784) and noise (K, B, latents)."""
    x, eps = ops.convert_to_tensor(x), ops.convert_to_tensor(eps)
    mean, log_var = vae.encoder(x)
    z = mean + ops.exp(0.5 * log_var) * eps  # K×B×latents
    rows = ops.reshape(z, (-1, z.shape[-1]))  # KB×latents: a Keras model knows one batch axis
    logits = ops.reshape(vae.decoder(rows), (*z.shape[:2], PIXELS))  # K×B×784
    log_p_x = ops.sum(x * logits, -1) - ops.sum(ops.softplus(logits), -1)  # K×B
    return parity.to_numpy(log_p_x + 0.5 * ops.sum(eps**2 - z**2 + log_var, -1))


ways["keras"] = Way(KerasVAE, train_keras, encode_keras, decode_keras, log_weights_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights, made in NumPy, goes into each model; one batch and one draw of noise go
# through it. Codes, logits, both terms of the ELBO and the gradient of every weight must agree,
# to within the rounding of 32-bit arithmetic. Kernels are stored `(in, out)` in TensorFlow and
# Keras and `(out, in)` in PyTorch: `utils.parity` transposes.

# %%
rng = np.random.default_rng(SEED)
layout = {
    "encoder.hidden1": (784, 200),
    "encoder.hidden2": (200, 200),
    "encoder.mean": (200, 50),
    "encoder.log_var": (200, 50),
    "decoder.hidden1": (50, 200),
    "decoder.hidden2": (200, 200),
    "decoder.logits": (200, 784),
}
weights = {}
for name, shape in layout.items():
    weights[f"{name}.kernel"] = rng.normal(0, 0.05, shape).astype("float32")
    weights[f"{name}.bias"] = rng.normal(0, 0.05, shape[1:]).astype("float32")
x_same = rng.integers(0, 2, (20, 784)).astype("float32")  # 20 made-up binary images
eps_same = rng.standard_normal((20, 50), dtype="float32")
evidence = {}  # framework -> the quantities to compare

# %% tags=["torch"]
model = TorchVAE(50)
parity.set_weights(model, weights)
x, eps = torch.as_tensor(x_same), torch.as_tensor(eps_same)
logits, mean, log_var = model(x, eps)
nll, kl = elbo_torch(model, x, eps)
gradients = torch.autograd.grad((nll + kl).mean(), parity.variables(model))
outputs = {"codes": torch.cat([mean, log_var]), "logits": logits, "reconstruction": nll, "KL": kl}
evidence["torch"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["torch"]["gradients"] = parity.named_gradients(model, gradients)
evidence["torch"]["log weights"] = log_weights_torch(model, x_same, eps_same[None])
parameters = parity.count(model)

# %% tags=["tensorflow"]
model = TFVAE(50)
parity.set_weights(model, weights)
with tf.GradientTape() as tape:
    logits, mean, log_var = model(x_same, eps_same)
    nll, kl = elbo_tf(model, x_same, eps_same)
    loss = tf.reduce_mean(nll + kl)
gradients = tape.gradient(loss, parity.variables(model))
outputs = {
    "codes": tf.concat([mean, log_var], 0),
    "logits": logits,
    "reconstruction": nll,
    "KL": kl,
}
evidence["tensorflow"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["tensorflow"]["gradients"] = parity.named_gradients(model, gradients)
evidence["tensorflow"]["log weights"] = log_weights_tf(model, x_same, eps_same[None])
parameters = parity.count(model)

# %% [markdown]
# Keras hides its gradients, and each backend computes them differently. But one step of plain
# gradient descent at rate 1 *is* the gradient: weights before minus weights after. So this also
# checks what `fit` itself does.

# %% tags=["keras"]
model = KerasVAE(50)
parity.set_weights(model, weights)
_, logits, mean, log_var = model([x_same, eps_same])
nll, kl = elbo_keras(x_same, logits, mean, log_var)
outputs = {
    "codes": ops.concatenate([mean, log_var]),
    "logits": logits,
    "reconstruction": nll,
    "KL": kl,
}
evidence["keras"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["keras"]["log weights"] = log_weights_keras(model, x_same, eps_same[None])
model.compile(keras.optimizers.SGD(1.0))
model.train_on_batch([x_same, eps_same])
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
# Choose a framework, press **Train**, change something, train again: earlier runs stay in the
# picture. The images are decoded from the same 32 draws from the prior each time, so you watch
# one set of codes learn to be digits.

# %%
start = QUICK if session.quick else FULL
most = max(5000, start["steps"])
controls = [
    Slider("learning_rate", start["learning_rate"], 1e-5, 1e-1, log=True, help="Adam's step size"),
    Slider("beta", start["beta"], 0.01, 100.0, log=True, help="weight of the KL; 1 is the ELBO"),
    Slider("latents", start["latents"], 2, 100, help="dimensions of the code z"),
    Slider("batch_size", start["batch_size"], 10, 500, step=10, help="images in a step"),
    Slider("steps", start["steps"], 100, most, step=100, help="steps of the optimiser"),
    Choice("schedule", start["schedule"], ["constant", "burda"], help="burda: eight stages"),
]


def test_bound(model, settings):
    """−ELBO and active units on up to 500 test images: what the panel's table lists."""
    way, x = ways[settings.framework], x_test[:500]
    eps = np.random.default_rng(0).standard_normal((1, len(x), settings.latents), dtype="float32")
    active = metrics.active_units(way.encode(model, x)[0])
    loss = -way.log_weights(model, x, eps).mean()
    return {"−ELBO, test": float(loss), "active units": int(active.sum())}


trainers = {name: functools.partial(way.train, x_train) for name, way in ways.items()}
panel = Panel(trainers, controls, title="VAE", summary=test_bound)
panel.show()

# %% [markdown]
# No front end is needed. The same run from a script is one call:

# %%
name, *_ = ways  # the first of your frameworks
model = run(trainers[name], settings_of(controls, name, SEED, steps=200), "VAE", every=100)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### A model that has had its time
#
# A minute is enough for digits, not for good ones. From here on we use a checkpoint trained on
# the paper's schedule: one file that loads into whichever framework you run, in a second.

# %%
trained = {name: way.build(50) for name, way in ways.items()}
for model in trained.values():
    checkpoint = checkpoints.load_into(model, "02_vae")
name, *_ = trained
way, vae = ways[name], trained[name]
print(f"{checkpoint.info['what']}, in {runtime.LABELS[name]}.")
codes = np.random.default_rng(1).standard_normal((48, 50), dtype="float32")
samples = way.decode(vae, codes).reshape(-1, 28, 28)
alt = "48 digits decoded from draws of the prior: most are clear, some lie between two digits"
plots.show(plots.grid(samples, columns=16, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Which units carry information?
#
# A unit whose posterior equals the prior for every image costs nothing and says nothing. Burda et
# al. call a unit *active* when the variance of its posterior mean over the data exceeds 0.01.

# %%
mean, log_var = way.encode(vae, x_test[:2000])
kl, active = metrics.kl_per_unit(mean, log_var), metrics.active_units(mean)
order = np.argsort(-kl)  # most informative first
fig, ax = plots.figure(height=2.4)
ax.bar(range(len(kl)), kl[order], color=np.where(active[order], "#0072B2", "#999999"))
ax.set(xlabel="latent unit, sorted", ylabel="KL (nats)")
alt = f"KL of each latent unit, sorted: {active.sum()} of 50 are active, the others are at zero"
plots.show(fig, alt=alt)
print(f"KL in total {kl.sum():.1f} nats; active units: {active.sum()}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Walk along one unit
#
# Encode a digit, then move one unit of its code and leave the others alone. Try the first units,
# then one beyond the active ones.


# %%
def walk(digit, unit, value):
    """The chosen digit, its reconstruction, and the reconstruction with one unit moved."""
    index = first[digit]
    code, _ = way.encode(vae, x_test[index : index + 1])  # 1×50
    codes = np.repeat(code, 2, axis=0)  # 2×50
    codes[1, order[unit]] = value
    images = np.concatenate([x_test[index : index + 1], way.decode(vae, codes)])
    return plots.grid(images.reshape(-1, 28, 28), columns=3, scale=5)


Explorer(
    walk,
    [
        Slider("digit", 3, 0, 9, help="which test digit"),
        Slider("unit", 0, 0, 49, help="latent unit, most informative first"),
        Slider("value", -2.0, -4.0, 4.0, step=0.1, help="what the unit is set to"),
    ],
    title="Walk along one latent unit",
    alt="three images: a binarised digit, its reconstruction, and the same with one unit moved",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### From one digit to another
#
# A straight line between two codes passes through digits; a straight line between two *images*
# passes through ghosts.


# %%
def morph(start, end, t):
    """Above, points on the line between two codes; below, the same shares of the two images."""
    pair = x_test[[first[start], first[end]]]  # 2×784
    codes, _ = way.encode(vae, pair)  # 2×50
    path = np.linspace(0, 1, 9)[:, None]
    path[4] = t  # the middle tile follows the slider
    between = way.decode(vae, ((1 - path) * codes[0] + path * codes[1]).astype("float32"))
    faded = (1 - path) * pair[0] + path * pair[1]
    return plots.grid(np.concatenate([between, faded]).reshape(-1, 28, 28), columns=9, scale=3)


Explorer(
    morph,
    [
        Slider("start", 1, 0, 9, help="digit on the left"),
        Slider("end", 8, 0, 9, help="digit on the right"),
        Slider("t", 0.5, 0.0, 1.0, step=0.02, help="place of the middle tile on the line"),
    ],
    title="From one digit to another",
    alt="two rows of images: above, decoded codes turn a 1 into an 8; below, the two images fade",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A plane of digits
#
# With two latents the whole space can be drawn. This checkpoint has the same layers and a
# two-dimensional code. The grid is even in *probability* (each axis through the normal's inverse
# distribution function, as in figure 4 of Kingma and Welling), so equal areas hold equal shares
# of the prior.

# %%
from scipy.stats import norm

vae2 = way.build(2)
checkpoints.load_into(vae2, "02_vae_2d")
side = 15
share = (np.arange(side) + 0.5) / side  # the middle of each of 15 equal shares
z1, z2 = np.meshgrid(norm.ppf(share), norm.ppf(share[::-1]))
plane = way.decode(vae2, np.stack([z1.ravel(), z2.ravel()], axis=1).astype("float32"))  # 225×784
plane = plots.grid(plane.reshape(-1, 28, 28), columns=side, pad=0)  # 420×420


def point(z1, z2):
    """The plane with the tile around (z1, z2) inverted, and the digit that (z1, z2) decodes to."""
    marked = plane.copy()
    row, column = 28 * int(side * norm.cdf(-z2)), 28 * int(side * norm.cdf(z1))
    marked[row : row + 28, column : column + 28] ^= 255  # black on white
    digit = way.decode(vae2, np.array([[z1, z2]], "float32")).reshape(1, 28, 28)
    return np.hstack([marked, plots.grid(digit, pad=0, scale=side)])  # 420×840


Explorer(
    point,
    [
        Slider("z1", 0.5, -2.0, 2.0, step=0.05, help="left to right"),
        Slider("z2", 0.5, -2.0, 2.0, step=0.05, help="bottom to top"),
    ],
    title="A plane of digits",
    alt="left: 15 by 15 digits fill the latent plane, neighbours alike; right: the marked point's",
).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# The loss is reconstruction + β·KL. The ELBO has β = 1. We train three short models: with β =
# 1/50 (what you get by *averaging* the KL over 50 latents), β = 1, and β = 50. **First commit to
# a prediction.**

# %%
exercises.predict(
    "With β = 1/50, compared with β = 1, on test images …",
    [
        "reconstructions get better, samples get better",
        "reconstructions get better, samples get worse",
        "reconstructions get worse, samples get better",
    ],
    key="small beta",
)
exercises.predict(
    "With β = 50, how many of the 50 latent units stay active?",
    ["all 50", "about half", "none, or almost none"],
    key="large beta",
)

# %%
runs, lines = {}, []
eps = np.random.default_rng(0).standard_normal((50, 100, 50), dtype="float32")
for beta in (1 / 50, 1, 50):
    chosen = settings_of(controls, name, SEED, beta=beta, steps=1000)
    model = runs[beta] = way.train(x_train, chosen, lambda *_: True)
    mean, log_var = way.encode(model, x_test[:100])
    kl = metrics.kl_per_unit(mean, log_var).sum()
    log_w = way.log_weights(model, x_test[:100], eps[:, : len(mean)])
    active = metrics.active_units(mean).sum()
    lines.append((beta, -log_w.mean() - kl, kl, -log_w.mean(), active))
print(
    "    β   reconstruction     KL   −ELBO   active units   (nats per test image, −ELBO at β = 1)"
)
for beta, nll, kl, bound, active in lines:
    print(f"{beta:5.2f}   {nll:14.1f}  {kl:5.1f}   {bound:5.1f}   {active:12d}")

# %%
fig, axes = plots.figure(columns=2, rows=3, width=8, height=2.4)
for (beta, model), (left, right) in zip(runs.items(), axes, strict=True):
    mean, _ = way.encode(model, x_test[first])
    for ax, z, title in ((left, mean, "reconstructions"), (right, codes[:10], "samples")):
        images = way.decode(model, z).reshape(-1, 28, 28)
        ax.imshow(plots.grid(images, columns=10), cmap="gray")
        ax.set(xticks=[], yticks=[], title=f"β = {beta:g}: {title}")
alt = (
    "ten reconstructions and ten samples for each β. β = 0.02 rebuilds sharply and samples "
    "scribbles; β = 1 does both fairly; β = 50 returns one blur for everything"
)
plots.show(fig, alt=alt)

# %% [markdown]
# Better and worse, in numbers: the Fréchet distance between real images and 500 samples, in the
# feature space of the course's own classifier (`utils.judge`). Lower is better.

# %%
from utils import judge

features = judge.load().features
rng = np.random.default_rng(SEED)
some = rng.permutation(len(digits.x_test))[:500]  # at random: MNIST's first are the neatest
real, z = features(digits.x_test[some]), rng.standard_normal((500, 50), dtype="float32")
distance = {
    beta: metrics.frechet_distance(real, features(way.decode(model, z).reshape(-1, 28, 28)))
    for beta, model in runs.items()
}
print("   ".join(f"β = {beta:g}: distance {value:.0f}" for beta, value in distance.items()))
words = {True: "better", False: "worse"}
reconstructions = words[lines[0][1] < lines[1][1]]
samples = words[distance[1 / 50] < distance[1]]
exercises.reveal("small beta", f"reconstructions get {reconstructions}, samples get {samples}")
active = int(lines[2][4])
outcome = {0: "none, or almost none", 1: "about half", 2: "all 50"}[round(active / 25)]
exercises.reveal("large beta", outcome)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** *Small β.* Information is nearly free, so the encoder buys a lot of it: sharp
# reconstructions, but the codes leave the prior. A draw from the prior then lands where the
# decoder has never been. The loss looks better; the ELBO (β = 1, the only one that bounds $\log
# p(x)$) is worse.
#
# *Large β.* Each nat of code costs fifty nats of reconstruction, and no unit is worth that. Every
# unit falls back to the prior, KL → 0, and the decoder learns one mean image for all: **posterior
# collapse**. It also happens at β = 1 when the decoder is so strong that it does not need the
# code, or early in training while codes are still noise. Look for it in the KL *per unit*, not in
# the loss. Remedies: let β grow from 0 to 1 over the first steps (Bowman et al.,
# [2016](https://arxiv.org/abs/1511.06349)), or a weaker decoder.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# The ELBO bounds $\log p(x)$ from below with one draw. Averaging $k$ *weights* before taking the
# logarithm gives a tighter bound (Burda et al., eq. 8), which rises to $\log p(x)$ as $k$ grows:
#
# $$\mathcal L_k = \mathbb E\Big[\log \tfrac1k \sum_{i=1}^k w_i\Big], \qquad w_i = \frac{p_\theta(x, z_i)}{q_\phi(z_i \mid x)},
# \qquad \mathcal L_1 = \text{ELBO} \le \mathcal L_k \le \log p_\theta(x).$$
#
# Here on 100 test images, with the checkpoint in each framework and the same noise. The standard
# error says how much another hundred images might change the number.

# %%
print(f"{'−log p(x) ≤, nats':<20}{'k = 1':>16}{'k = 50':>16}{'k = 5,000':>16}")
for name, model in trained.items():
    bounds = metrics.importance_bounds(
        functools.partial(ways[name].log_weights, model), x_test[:100], latents=50
    )
    row = [str(metrics.mean_and_error(-bounds[k])) for k in (1, 50, 5000)]
    print(f"{runtime.LABELS[name]:<20}" + "".join(f"{cell:>16}" for cell in row))

# %% [markdown]
# And on the whole test set, recorded by `make results`, beside table 1 of Burda et al.:

# %%
from utils import results

results.show("02_vae")

# %% [markdown]
# Beware of the neighbours: a fixed binarisation, grey pixels, or a k that is not stated each move
# the number by nats. Compare only what is measured alike.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. The price.** KL of $\mathcal N(\mu, \sigma^2)$ from the prior, for each image.


# %%
def kl_divergence(mean, log_var):
    """KL in nats, shape (B,), from means and log-variances (B, latents)."""
    return ...  # your code


questions.kl_divergence.check(kl_divergence)
# questions.kl_divergence.hint()
# questions.kl_divergence.solution()

# %% [markdown]
# **2. The draw.** Reparameterise.


# %%
def reparameterise(mean, log_var, eps):
    """z of shape (B, latents), distributed as N(mean, exp(log_var))."""
    return ...  # your code


questions.reparameterise.check(reparameterise)

# %% [markdown]
# **3. The bound.** $\mathcal L_k$ from log-weights, without overflow (weights of $e^{-80}$ or
# $e^{800}$ must not break it).


# %%
def iwae_bound(log_weights):
    """L_k in nats, shape (B,), from log w of shape (k, B)."""
    return ...  # your code


questions.iwae_bound.check(iwae_bound)

# %% [markdown]
# **4. Count.** How many parameters has the network of part 3, with 50 latents? Do it by hand,
# layer by layer, then check.

# %%
questions.parameter_count.check(...)  # your number

# %% [markdown]
# **5. Change the data.** Any folder of images, or an IDX file such as Fashion-MNIST's, can take
# MNIST's place. Load one with `data.from_images(folder)` or `data.from_idx(images, labels)`,
# check it, put it into `x_train`, and train in the panel again.

# %%
my_digits = ...  # data.from_images("…") or data.from_idx("…")
questions.other_data.check(my_digits)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - ELBO = reconstruction − KL. The gap to $\log p(x)$ is the KL from the encoder to the true
#   posterior.
# - $z = \mu + e^{\frac12 \log\sigma^2} \odot \varepsilon$ makes a draw differentiable. The KL is
#   **summed** over latents, and noise has standard deviation 1: scale either, and you train
#   another objective.
# - A Bernoulli likelihood wants binary pixels. On grey ones it is a cost, not a likelihood.
# - KL per unit shows collapse; the loss hides it.
# - Report $\mathcal L_k$ with its $k$, its standard error and its binarisation.
#
# | use | when |
# |---|---|
# | a VAE | you want a likelihood, an encoder and a smooth code; fast sampling; blur is acceptable |
# | a plain autoencoder | you only need compression or anomaly scores |
# | VQ-VAE and a learned prior | the code should be discrete, or samples must be sharper |
# | a GAN | only the look of samples counts, and no likelihood is needed |
#
# **Further reading.** Kingma and Welling, *An Introduction to Variational Autoencoders*
# ([2019](https://arxiv.org/abs/1906.02691)); Burda et al.
# ([2016](https://arxiv.org/abs/1509.00519)); Lucas et al., *Don't Blame the ELBO!*
# ([2019](https://arxiv.org/abs/1911.02469)) on why collapse is not only the bound's fault.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [Conditional VAEs](03_cvae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/03_cvae.ipynb))
# - **Previous:** [Autoencoders](01_autoencoder.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/01_autoencoder.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
