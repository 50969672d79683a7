# ---
# jupyter:
#   course:
#     title: "Variational autoencoders"
#     summary: "A generator with a likelihood: the ELBO, the reparameterisation, and what breaks them."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "Gradients and one optimiser (gradient descent is enough)"
#       - "The normal distribution, expectations, Bayes' rule"
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

# %% [markdown] tags=["header"] slideshow={"slide_type": "slide"}
# generated

# %% tags=["setup"]
# generated

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
import types

import numpy as np

from utils import checkpoints, data, exercises, metrics, parity, plots, runtime
from utils.controls import Choice, Slider
from utils.exercises import vae as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback, printing_report

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# An autoencoder squeezes an image $x$ into a short code $z$ and rebuilds it. It says nothing about
# which codes are *likely*: pick one at random and the decoder may return noise. A **variational
# autoencoder** (Kingma and Welling, [2014](https://arxiv.org/abs/1312.6114); Rezende, Mohamed and
# Wierstra, [2014](https://arxiv.org/abs/1401.4082)) is a probabilistic model that repairs this:
#
# 1. draw a code from a fixed **prior**, $z \sim p(z) = \mathcal N(0, I)$;
# 2. draw the image from a **decoder**, $x \sim p_\theta(x \mid z)$.
#
# Training should make the data likely, so we would like to maximise
# $\log p_\theta(x) = \log \int p_\theta(x \mid z)\, p(z)\, dz$. The integral runs over every code
# and cannot be computed. Almost all codes explain a given image badly, so guessing them from the
# prior wastes nearly every guess. The **encoder** $q_\phi(z \mid x)$ learns where to look:
# a normal distribution whose mean and variance a network reads off the image.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The bound
#
# For any $q$ that covers $p$, Bayes' rule $p_\theta(x)\,p_\theta(z \mid x) = p_\theta(x \mid z)\,p(z)$ gives
#
# $$\log p_\theta(x)
#   = \underbrace{\mathbb E_{q}\big[\log p_\theta(x \mid z)\big]
#   - \mathrm{KL}\big(q_\phi(z \mid x)\,\|\,p(z)\big)}_{\text{ELBO}}
#   \;+\; \underbrace{\mathrm{KL}\big(q_\phi(z \mid x)\,\|\,p_\theta(z \mid x)\big)}_{\ge\, 0}.$$
#
# *Why:* take $\log p_\theta(x) = \log p_\theta(x \mid z) + \log p(z) - \log p_\theta(z \mid x)$, which holds
# for every $z$; add and subtract $\log q_\phi(z \mid x)$; average over $q$.
#
# The last term is never negative, so the **evidence lower bound** (ELBO) never exceeds
# $\log p_\theta(x)$, and the gap is exactly how far the encoder is from the true posterior. The first term
# asks that the code rebuild its image; the second is the price, in nats, of a code that
# differs from the prior. We minimise $-\text{ELBO}$ with respect to $\theta$ and $\phi$ together.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A price in closed form
#
# With $q = \mathcal N(\mu, \mathrm{diag}\,\sigma^2)$ the KL divergence needs no sampling (Kingma and Welling,
# appendix B). Networks return $\log\sigma^2$, which may be any real number:
#
# $$\mathrm{KL} = \tfrac12 \sum_j \big(\sigma_j^2 + \mu_j^2 - 1 - \log \sigma_j^2\big).$$
#
# A **sum** over the latent units $j$, not a mean. Code that averages here (it is common) divides the price
# by the number of units. In part 9 you will see what that buys, and what it costs.
#
# ### A gradient through a random draw
#
# $\mathbb E_{q_\phi}[\log p_\theta(x \mid z)]$ is estimated with one draw of $z$. But how does a draw depend on
# $\phi$? Written as a deterministic function of outside noise, it simply does:
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
reparameterised = 2 * z  # d(z²)/dμ, because dz/dμ = 1
score_function = z**2 * (z - mu)  # z² · d log N(z; μ, 1)/dμ
for name, estimate in {"reparameterised": reparameterised, "score function": score_function}.items():
    print(f"{name:<16} mean {estimate.mean():.2f} (exact 3.00), variance {estimate.var():5.1f}")

# %% [markdown]
# One noisy gradient per image is enough for the first; the second would need many draws to be as
# steady, and the disadvantage grows with the number of latents.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST digits, grey values 0–255. Our decoder will return one Bernoulli probability for each pixel, so its images are
# **black or white**. We follow Salakhutdinov and Murray (2008) and Burda et al.: a pixel is on with its grey value as
# probability, and the coins are tossed again each time that an image is used (*dynamic binarisation*).

# %%
digits = data.mnist()
print(digits.describe())
x_train = data.flatten(digits.x_train)  # N×784, uint8
x_test = data.binarise(data.flatten(digits.x_test), np.random.default_rng(0))  # N×784, 0 or 1, fixed
first = [int(np.flatnonzero(digits.y_test == label)[0]) for label in range(10)]  # one test image of each digit
toss = [data.binarise(digits.x_test[first], np.random.default_rng(seed)) for seed in (1, 2)]
rows = np.concatenate([digits.x_test[first] / 255, *toss])
alt = "ten test digits in grey, and below them two tosses of the same pixels: edges change, strokes stay"
plots.show(plots.grid(rows, columns=10, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why not simply feed the grey values?
#
# Most tutorials put grey $x \in [0, 1]$ into the Bernoulli cross-entropy $-x\log p - (1-x)\log(1-p)$. It trains, but it is
# no log-likelihood: $p^x(1-p)^{1-x}$ does not integrate to one over $[0, 1]$ (the constant that is
# missing gives the *continuous Bernoulli* of Loaiza-Ganem and Cunningham,
# [2019](https://arxiv.org/abs/1907.06845)). Nor is zero within reach: even a perfect $p = x$ pays
# the pixel's entropy. The number that such a loss reports cannot be compared with any in the literature.

# %%
grey = np.clip(data.flatten(digits.x_test) / 255, 1e-12, 1 - 1e-12)  # N×784
floor = -(grey * np.log(grey) + (1 - grey) * np.log(1 - grey)).sum(axis=1)
print(f"Cross-entropy of a perfect reconstruction of grey test images: {floor.mean():.1f} nats, not 0.")

# %% [markdown]
# ### What the three sections share
#
# Sizes, the recipe, and a place to put each framework's functions. The network is the one of Burda, Grosse and
# Salakhutdinov ([2016](https://arxiv.org/abs/1509.00519), §5.1): two hidden layers of 200 tanh units on either side of 50 latents,
# Glorot initialisation, Adam with $\epsilon = 10^{-4}$, the output bias set from the mean image.
# Their schedule has eight stages: stage $i$ lasts $3^i$ epochs at a rate of $10^{-3} \cdot 10^{-i/7}$.

# %% tags=["export"]
PIXELS, HIDDEN, ADAM_EPS = 784, 200, 1e-4
QUICK = {"learning_rate": 1e-3, "beta": 1.0, "latents": 50, "batch_size": 100, "steps": 1000, "schedule": "constant"}
FULL = {**QUICK, "batch_size": 20, "steps": 3280 * 3000, "schedule": "burda"}  # 3,280 epochs of 3,000 batches

Way = collections.namedtuple("Way", "build train encode decode log_weights")
ways = {}  # framework -> its five functions, filled by the sections


def learning_rate(step, settings, n):
    """The rate of a step (counted from 0) on n images: constant, or Burda et al.'s stages."""
    if settings.schedule == "constant":
        return settings.learning_rate
    epoch, stage = step * settings.batch_size // n, 0
    while epoch >= (3 ** (stage + 1) - 1) // 2:  # stages 0…i last 1 + 3 + … + 3^i epochs
        stage += 1
    return settings.learning_rate * 10 ** (-stage / 7)


def pixel_bias(images):
    """The logit of each pixel's mean: what the decoder should say before it knows anything."""
    mean = np.clip(images.mean(axis=0) / 255, 0.001, 0.999)
    return np.log(mean / (1 - mean)).astype("float32")


def prior_noise(settings, n=32):
    """Fixed draws from the prior, so that successive previews show the same codes."""
    return np.random.default_rng(settings.seed).standard_normal((n, settings.latents), dtype="float32")


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* A module holds the weights, `forward` says how data flows, and the loop is ours to read.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchVAE(nn.Module):
    """A Gaussian encoder and a Bernoulli decoder, two tanh layers each."""

    def __init__(self, latents, bias=None):
        super().__init__()
        self.encoder = nn.ModuleDict({  # 784 → 200 → 200 → latents, twice
            "hidden1": nn.Linear(PIXELS, HIDDEN), "hidden2": nn.Linear(HIDDEN, HIDDEN),
            "mean": nn.Linear(HIDDEN, latents), "log_var": nn.Linear(HIDDEN, latents)})
        self.decoder = nn.ModuleDict({  # latents → 200 → 200 → 784
            "hidden1": nn.Linear(latents, HIDDEN), "hidden2": nn.Linear(HIDDEN, HIDDEN),
            "logits": nn.Linear(HIDDEN, PIXELS)})
        for layer in (*self.encoder.values(), *self.decoder.values()):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        if bias is not None:
            self.decoder["logits"].bias.data.copy_(torch.as_tensor(bias))

    def encode(self, x):  # B×784
        h = torch.tanh(self.encoder["hidden1"](x))  # B×200
        h = torch.tanh(self.encoder["hidden2"](h))  # B×200
        return self.encoder["mean"](h), self.encoder["log_var"](h)  # B×latents, twice

    def decode(self, z):  # …×latents
        h = torch.tanh(self.decoder["hidden1"](z))  # …×200
        h = torch.tanh(self.decoder["hidden2"](h))  # …×200
        return self.decoder["logits"](h)  # …×784, logits

    def forward(self, x, eps):
        mean, log_var = self.encode(x)
        z = mean + torch.exp(0.5 * log_var) * eps  # the reparameterisation
        return self.decode(z), mean, log_var


# %% [markdown]
# The two terms of $-\text{ELBO}$, in nats for each image. The Bernoulli likelihood takes **logits**:
# `binary_cross_entropy_with_logits` stays exact where `log(sigmoid(…))` would round to $\log 0$.

# %% tags=["export", "torch"]
def elbo_torch(vae, x, eps):
    """−log p(x|z) and KL(q‖p), each of shape (B,), for noise eps (B, latents)."""
    logits, mean, log_var = vae(x, eps)
    nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)  # sum over pixels
    kl = 0.5 * (log_var.exp() + mean**2 - 1 - log_var).sum(dim=1)  # sum over latents
    return nll, kl


# %% [markdown] slideshow={"slide_type": "subslide"}
# The loop: pick images, toss their pixels, compute the loss, step. `report` tells the panel how it goes, and answers
# whether to go on.

# %% tags=["export", "torch"]
def train_torch(images, settings, report):
    """Train on uint8 images (N, 784); stop when the steps are done or `report` says so."""
    n = data.check_batch(settings.batch_size, len(images))
    vae = TorchVAE(settings.latents, pixel_bias(images))
    optimizer = torch.optim.Adam(vae.parameters(), eps=ADAM_EPS, fused=True)
    images = torch.as_tensor(images)  # N×784, uint8: a quarter of the memory of floats
    noise = torch.as_tensor(prior_noise(settings))
    rng = np.random.default_rng(settings.seed)
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    for step, index in enumerate(itertools.chain.from_iterable(epochs)):
        if step == settings.steps:
            break
        x = torch.bernoulli(images[torch.as_tensor(index)].float() / 255)  # B×784, tossed anew
        nll, kl = elbo_torch(vae, x, torch.randn(len(x), settings.latents))
        loss = (nll + settings.beta * kl).mean()
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings, n)
        optimizer.step()
        if (step + 1) % 10 == 0:
            logs = {"loss": loss.item(), "reconstruction": nll.mean().item(), "KL": kl.mean().item()}
            if not report(step + 1, logs, lambda: plots.grid(decode_torch(vae, noise).reshape(-1, 28, 28), 8)):
                break
    return vae


# %% [markdown]
# The borders of the section: NumPy in, NumPy out, so that all that follows works with any framework. `log_weights` is for
# part 10: $\log w = \log p(x, z) - \log q(z \mid x)$ for many $z$ per image.

# %% tags=["export", "torch"]
@torch.no_grad()
def encode_torch(vae, x):
    """Posterior means and log-variances (B, latents) of binary images (B, 784)."""
    return tuple(part.cpu().numpy() for part in vae.encode(torch.as_tensor(x)))


@torch.no_grad()
def decode_torch(vae, z):
    """Pixel probabilities (B, 784) of codes (B, latents)."""
    return torch.sigmoid(vae.decode(torch.as_tensor(z))).cpu().numpy()


@torch.no_grad()
def log_weights_torch(vae, x, eps):
    """log p(x, z) − log q(z|x), shape (K, B), for images (B, 784) and noise (K, B, latents)."""
    x, eps = torch.as_tensor(x), torch.as_tensor(eps)
    mean, log_var = vae.encode(x)
    z = mean + torch.exp(0.5 * log_var) * eps  # K×B×latents
    logits = vae.decode(z)  # K×B×784
    log_p_x = (x * logits).sum(-1) - F.softplus(logits).sum(-1)  # K×B
    # log p(z) − log q(z|x): the constants cancel, and (z − μ)/σ is the noise itself
    return (log_p_x + 0.5 * (eps**2 - z**2 + log_var).sum(-1)).cpu().numpy()


ways["torch"] = Way(TorchVAE, train_torch, encode_torch, decode_torch, log_weights_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* No Keras layers: variables, operations, a gradient tape, and functions compiled into graphs.

# %% tags=["export", "tensorflow"]
import tensorflow as tf


class Dense(tf.Module):
    """y = x W + b with Glorot-uniform weights."""

    def __init__(self, n_in, n_out, bias=0.0):
        super().__init__()
        limit = (6 / (n_in + n_out)) ** 0.5
        self.kernel = tf.Variable(tf.random.uniform((n_in, n_out), -limit, limit))
        self.bias = tf.Variable(tf.zeros(n_out) + bias)

    def __call__(self, x):
        return tf.tensordot(x, self.kernel, 1) + self.bias


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


# %% [markdown] slideshow={"slide_type": "subslide"}
# Adam, by hand around TensorFlow's fused kernel. The kernel adds its epsilon to $\sqrt{v}$, the paper and PyTorch to the
# *corrected* $\sqrt{\hat v}$: multiplying by $\sqrt{1-\beta_2^t}$ makes them one. With $\epsilon = 10^{-4}$ the
# difference is visible in early steps, and it is a classic reason why "the same" training run differs.

# %% tags=["export", "tensorflow"]
class Adam(tf.Module):
    """Kingma and Ba's Adam (2015, algorithm 1), β₁ = 0.9, β₂ = 0.999."""

    def __init__(self, parameters):
        super().__init__()
        self.parameters = parameters
        self.m = [tf.Variable(tf.zeros_like(w)) for w in parameters]
        self.v = [tf.Variable(tf.zeros_like(w)) for w in parameters]
        self.t = tf.Variable(0.0)

    def apply(self, gradients, rate):
        self.t.assign_add(1.0)
        beta1_power, beta2_power = 0.9**self.t, 0.999**self.t
        epsilon = ADAM_EPS * tf.sqrt(1 - beta2_power)
        for w, m, v, g in zip(self.parameters, self.m, self.v, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=w.handle, m=m.handle, v=v.handle, beta1_power=beta1_power, beta2_power=beta2_power,
                lr=rate, beta1=0.9, beta2=0.999, epsilon=epsilon, grad=g)


# %% [markdown]
# `tf.data` shuffles *indices*, not images (one permutation an epoch instead of 60,000 small copies), and tosses the
# pixels in the pipeline, a few batches ahead.

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
# `tf.function` turns the step, and the loop of ten steps around it, into one graph: Python speaks to it once per ten
# steps. The trainer keeps model, optimiser and step count in variables, so `tf.train.Checkpoint` can save and resume a long
# run: `make train` does, for the hours that the full schedule takes.

# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model, optimiser and step count: everything a long run needs to resume."""

    def __init__(self, images, settings):
        super().__init__()
        self.vae = TFVAE(settings.latents, pixel_bias(images))
        self.weights = parity.variables(self.vae)
        self.adam = Adam(self.weights)
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
        if not report(step, logs, lambda: plots.grid(decode_tf(trainer.vae, noise).reshape(-1, 28, 28), 8)):
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
# *Declaration.* Say what the layers are and what the loss is; `fit` owns the loop. The same code runs on TensorFlow and
# on PyTorch, chosen by `KERAS_BACKEND`. Layer names are those of the checkpoint.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


def keras_encoder(latents):
    """784 → 200 → 200 → latents, twice."""
    x = keras.Input((PIXELS,))  # B×784
    h = layers.Dense(HIDDEN, activation="tanh", name="encoder.hidden1")(x)  # B×200
    h = layers.Dense(HIDDEN, activation="tanh", name="encoder.hidden2")(h)  # B×200
    mean = layers.Dense(latents, name="encoder.mean")(h)  # B×latents
    log_var = layers.Dense(latents, name="encoder.log_var")(h)  # B×latents
    return keras.Model(x, [mean, log_var], name="encoder")


def keras_decoder(latents, bias=None):
    """latents → 200 → 200 → 784 logits."""
    start = "zeros" if bias is None else keras.initializers.Constant(bias)
    z = keras.Input((latents,))  # B×latents
    h = layers.Dense(HIDDEN, activation="tanh", name="decoder.hidden1")(z)  # B×200
    h = layers.Dense(HIDDEN, activation="tanh", name="decoder.hidden2")(h)  # B×200
    logits = layers.Dense(PIXELS, bias_initializer=start, name="decoder.logits")(h)  # B×784
    return keras.Model(z, logits, name="decoder")


# %% [markdown] slideshow={"slide_type": "subslide"}
# `compute_loss` is where Keras 3 wants a loss that is not a function of labels and predictions alone. The pixels are tossed
# inside `call`; an image that is already black and white passes through unchanged, because $u < 1$ always and $u < 0$ never
# for $u \in [0, 1)$.

# %% tags=["export", "keras"]
class KerasVAE(keras.Model):
    """A Gaussian encoder and a Bernoulli decoder, two tanh layers each."""

    def __init__(self, latents, bias=None, beta=1.0, seed=0):
        super().__init__()
        self.encoder, self.decoder = keras_encoder(latents), keras_decoder(latents, bias)
        self.beta, self.coins = beta, keras.random.SeedGenerator(seed)
        self.parts = [keras.metrics.Mean("reconstruction"), keras.metrics.Mean("KL")]

    def call(self, inputs):
        x, eps = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)  # eps is given in part 6 only
        x = ops.cast(keras.random.uniform(ops.shape(x), seed=self.coins) < x, "float32")  # B×784, tossed anew
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
    noise, per_epoch = prior_noise(settings), n // settings.batch_size
    grey = images[: per_epoch * settings.batch_size].astype("float32") / 255

    def preview():
        return plots.grid(decode_keras(vae, noise).reshape(-1, 28, 28), 8)

    vae.fit(
        grey, batch_size=settings.batch_size, epochs=-(-settings.steps // per_epoch), verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(epoch * per_epoch, settings, n)),
            keras_callback(report, preview, every=10, steps=settings.steps)])
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
    logits = vae.decoder(ops.reshape(z, (-1, z.shape[-1])))  # KB×784: a Keras model knows one batch axis
    logits = ops.reshape(logits, (*z.shape[:2], PIXELS))  # K×B×784
    log_p_x = ops.sum(x * logits, -1) - ops.sum(ops.softplus(logits), -1)  # K×B
    return parity.to_numpy(log_p_x + 0.5 * ops.sum(eps**2 - z**2 + log_var, -1))


ways["keras"] = Way(KerasVAE, train_keras, encode_keras, decode_keras, log_weights_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights, made in NumPy, goes into each model; one batch and one draw of noise go through it. Codes, logits, both terms
# of the ELBO and the gradient of every weight must agree, to within the rounding of 32-bit arithmetic. Kernels are
# stored `(in, out)` in TensorFlow and Keras and `(out, in)` in PyTorch: `utils.parity` transposes.

# %%
rng = np.random.default_rng(SEED)
layout = {"encoder.hidden1": (784, 200), "encoder.hidden2": (200, 200), "encoder.mean": (200, 50),
          "encoder.log_var": (200, 50), "decoder.hidden1": (50, 200), "decoder.hidden2": (200, 200),
          "decoder.logits": (200, 784)}
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
outputs = {"codes": tf.concat([mean, log_var], 0), "logits": logits, "reconstruction": nll, "KL": kl}
evidence["tensorflow"] = {name: parity.to_numpy(value) for name, value in outputs.items()}
evidence["tensorflow"]["gradients"] = parity.named_gradients(model, gradients)
evidence["tensorflow"]["log weights"] = log_weights_tf(model, x_same, eps_same[None])
parameters = parity.count(model)

# %% [markdown]
# Keras hides its gradients, and each backend computes them differently. But one step of plain gradient descent at rate 1 *is*
# the gradient: weights before minus weights after. So this also checks what `fit` itself does.

# %% tags=["keras"]
model = KerasVAE(50)
parity.set_weights(model, weights)
_, logits, mean, log_var = model([x_same, eps_same])
nll, kl = elbo_keras(x_same, logits, mean, log_var)
outputs = {"codes": ops.concatenate([mean, log_var]), "logits": logits, "reconstruction": nll, "KL": kl}
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
# Choose a framework, press **Train**, change something, train again: earlier runs stay in the picture. The images are
# decoded from the same 32 draws from the prior each time, so you watch one set of codes learn to be digits.

# %%
defaults = QUICK if session.quick else FULL
controls = [
    Slider("learning_rate", defaults["learning_rate"], 1e-5, 1e-1, log=True, help="step size of Adam"),
    Slider("beta", defaults["beta"], 0.01, 100.0, log=True, help="weight of the KL term; 1 is the ELBO"),
    Slider("latents", defaults["latents"], 2, 100, help="dimensions of the code z"),
    Slider("batch_size", defaults["batch_size"], 10, 500, step=10, help="images in a step"),
    Slider("steps", defaults["steps"], 100, max(5000, defaults["steps"]), step=100, help="steps of the optimiser"),
    Choice("schedule", defaults["schedule"], ["constant", "burda"], help="constant, or Burda et al.'s eight stages"),
]


def test_bound(model, settings):
    """−ELBO and active units on 500 test images: what the panel's table lists."""
    way = ways[settings.framework]
    eps = np.random.default_rng(0).standard_normal((1, 500, settings.latents), dtype="float32")
    mean, _ = way.encode(model, x_test[:500])
    bound = way.log_weights(model, x_test[:500], eps[:, : len(x_test)])
    return {"−ELBO, test": float(-bound.mean()), "active units": int(metrics.active_units(mean).sum())}


trainers = {name: functools.partial(way.train, x_train) for name, way in ways.items()}
panel = Panel(trainers, controls, title="VAE", summary=test_bound)
panel.show()

# %% [markdown]
# No front end is needed. The same run from a script is one call:

# %%
name, *_ = ways
settings = types.SimpleNamespace(**{**QUICK, "steps": 200, "seed": SEED, "framework": name})
model = ways[name].train(x_train, settings, printing_report(every=100))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### A model that has had its time
#
# A minute is enough for digits, not for good ones. From here on we use a checkpoint trained on the paper's schedule: one file, loaded
# into whichever framework you run. Nothing below waits for training.

# %%
trained = {name: way.build(50) for name, way in ways.items()}
for model in trained.values():
    checkpoint = checkpoints.load_into(model, "02_vae")
name, *_ = trained
way, vae = ways[name], trained[name]
print(f"{checkpoint.info['what']}, in {runtime.LABELS[name]}.")
samples = way.decode(vae, prior_noise(types.SimpleNamespace(seed=1, latents=50), n=48))
alt = "48 digits decoded from random draws of the prior; most are clear, some lie between two digits"
plots.show(plots.grid(samples.reshape(-1, 28, 28), columns=16, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Which units carry information?
#
# A unit whose posterior equals the prior for every image costs nothing and says nothing. Burda et al. call a unit *active*
# when the variance of its posterior mean over the data exceeds 0.01.

# %%
mean, log_var = way.encode(vae, x_test[:2000])
kl, active = metrics.kl_per_unit(mean, log_var), metrics.active_units(mean)
order = np.argsort(-kl)  # most informative first
fig, ax = plots.figure(height=2.4)
ax.bar(range(len(kl)), kl[order], color=np.where(active[order], "#0072B2", "#999999"))
ax.set(xlabel="latent unit, sorted", ylabel="KL (nats)")
alt = f"KL of each latent unit, sorted: {active.sum()} of 50 units are active, the others are at zero"
plots.show(fig, alt=alt)
print(f"KL in total {kl.sum():.1f} nats; active units: {active.sum()}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Walk along one unit
#
# Encode a digit, then move one unit of its code and leave the others alone. Try the first units, then one beyond the active
# ones.


# %%
def walk(digit, unit, value):
    """The chosen digit, its reconstruction, and the reconstruction with one unit moved."""
    index = first[digit]
    code, _ = way.encode(vae, x_test[index : index + 1])  # 1×50
    codes = np.repeat(code, 2, axis=0)  # 2×50
    codes[1, order[unit]] = value
    images = np.concatenate([x_test[index : index + 1], way.decode(vae, codes)])
    return plots.grid(images.reshape(-1, 28, 28), columns=3, scale=5)


Explorer(walk, [Slider("digit", 3, 0, 9, help="which test digit"),
                Slider("unit", 0, 0, 49, help="latent unit, most informative first"),
                Slider("value", 2.0, -4.0, 4.0, step=0.1, help="what the unit is set to")],
         title="Walk along one latent unit",
         alt="three images: a binarised digit, its reconstruction, and the same with one unit moved").show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### From one digit to another
#
# A straight line between two codes passes through digits; a straight line between two *images* passes through ghosts.


# %%
def morph(start, end, t):
    """Top row: t of the way in the latent space; bottom row: the same share of cross-fading pixels."""
    pair = x_test[[first[start], first[end]]]  # 2×784
    codes, _ = way.encode(vae, pair)  # 2×50
    path = np.linspace(0, 1, 9)[:, None]
    path[4] = t  # the middle tile follows the slider
    between = way.decode(vae, ((1 - path) * codes[0] + path * codes[1]).astype("float32"))
    faded = (1 - path) * pair[0] + path * pair[1]
    return plots.grid(np.concatenate([between, faded]).reshape(-1, 28, 28), columns=9, scale=3)


Explorer(morph, [Slider("start", 1, 0, 9, help="digit on the left"), Slider("end", 8, 0, 9, help="digit on the right"),
                 Slider("t", 0.5, 0.0, 1.0, step=0.02, help="place of the middle tile on the line")],
         title="From one digit to another",
         alt="two rows of nine images: above, decoded codes turn a 1 into an 8; below, the two images fade").show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A plane of digits
#
# With two latents the whole space can be drawn. This checkpoint has the same layers and a two-dimensional code. The
# grid is even in *probability* (each axis through the normal's inverse distribution function, as in figure 4 of Kingma and Welling), so
# equal areas hold equal shares of the prior.

# %%
from scipy.stats import norm

vae2 = way.build(2)
checkpoints.load_into(vae2, "02_vae_2d")
share = np.linspace(0.025, 0.975, 20)  # quantiles
z1, z2 = np.meshgrid(norm.ppf(share), norm.ppf(share[::-1]))
plane = way.decode(vae2, np.stack([z1.ravel(), z2.ravel()], axis=1).astype("float32"))  # 400×784
manifold = plots.grid(plane.reshape(-1, 28, 28), columns=20, pad=0)  # 560×560


def point(z1, z2):
    """The plane with the point (z1, z2) marked, and the digit that it decodes to."""
    picture = np.repeat(manifold[:, :, None], 3, axis=2)
    column, row = int(norm.cdf(z1) * 559), int((1 - norm.cdf(z2)) * 559)
    picture[max(row - 2, 0) : row + 3] = picture[max(row - 2, 0) : row + 3] // 2 + (90, 50, 0)
    picture[:, max(column - 2, 0) : column + 3] = picture[:, max(column - 2, 0) : column + 3] // 2 + (90, 50, 0)
    digit = way.decode(vae2, np.array([[z1, z2]], "float32")).reshape(28, 28)
    big = plots.to_uint8(digit).repeat(20, 0).repeat(20, 1)  # 560×560
    return np.concatenate([picture, np.repeat(big[:, :, None], 3, axis=2)], axis=1)


Explorer(point, [Slider("z1", 0.5, -2.0, 2.0, step=0.05, help="left to right"),
                 Slider("z2", 0.5, -2.0, 2.0, step=0.05, help="bottom to top")],
         title="A plane of digits",
         alt="left: 20 by 20 decoded digits that fill the latent plane, neighbours alike; right: the marked one").show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# The loss is reconstruction + β·KL. The ELBO has β = 1. We train three short models: with β = 1/50 (what you get by
# *averaging* the KL over 50 latents), β = 1, and β = 50. **First commit to a prediction.**

# %%
exercises.predict(
    "With β = 1/50, compared with β = 1, on test images …",
    ["reconstructions get better, samples get better", "reconstructions get better, samples get worse",
     "reconstructions get worse, samples get better"], key="small beta")
exercises.predict(
    "With β = 50, how many of the 50 latent units stay active?",
    ["all 50", "about half", "none, or almost none"], key="large beta")

# %%
runs, lines = {}, []
eps = np.random.default_rng(0).standard_normal((50, 100, 50), dtype="float32")
for beta in (1 / 50, 1, 50):
    settings = types.SimpleNamespace(**{**QUICK, "beta": beta, "steps": 600, "seed": SEED, "framework": name})
    model = runs[beta] = way.train(x_train, settings, lambda *_: True)
    mean, log_var = way.encode(model, x_test[:100])
    kl = metrics.kl_per_unit(mean, log_var).sum()
    log_w = way.log_weights(model, x_test[:100], eps[:, : len(mean)])
    active = metrics.active_units(mean).sum()
    lines.append((beta, -log_w.mean() - kl, kl, -log_w.mean(), active))
print("    β   reconstruction     KL   −ELBO   active units   (nats per test image; −ELBO with β = 1)")
for beta, nll, kl, bound, active in lines:
    print(f"{beta:5.2f}   {nll:14.1f}  {kl:5.1f}   {bound:5.1f}   {active:12d}")

# %%
noise = prior_noise(types.SimpleNamespace(seed=2, latents=50), n=12)
tiles = []
for model in runs.values():
    mean, _ = way.encode(model, x_test[first[:6]])
    tiles += [way.decode(model, mean), way.decode(model, noise)]  # 6 reconstructions, 12 samples
alt = ("three rows for β = 1/50, 1 and 50: six reconstructions, then twelve samples. Small β rebuilds well and samples "
       "badly; β = 50 returns the same blur for everything")
plots.show(plots.grid(np.concatenate(tiles).reshape(-1, 28, 28), columns=18, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** *Small β.* Information is nearly free, so the encoder buys a lot of it: sharp reconstructions, but the codes
# leave the prior. A draw from the prior then lands where the decoder has never been. The loss looks better; the ELBO
# (β = 1, the only one that bounds $\log p(x)$) is worse.
#
# *Large β.* Each nat of code costs fifty nats of reconstruction, and no unit is worth that. Every unit falls back to the prior, KL → 0,
# and the decoder learns one mean image for all: **posterior collapse**. It also happens at β = 1 when the decoder is so strong
# that it does not need the code, or early in training while codes are still noise. Look for it in the KL *per unit*, not in
# the loss. Remedies: let β grow from 0 to 1 over the first steps (Bowman et al.,
# [2016](https://arxiv.org/abs/1511.06349)), or a weaker decoder.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# The ELBO bounds $\log p(x)$ from below with one draw. Averaging $k$ *weights* before taking the logarithm gives a tighter bound (Burda et
# al., eq. 8), which rises to $\log p(x)$ as $k$ grows:
#
# $$\mathcal L_k = \mathbb E\Big[\log \tfrac1k \sum_{i=1}^k w_i\Big], \qquad w_i = \frac{p_\theta(x, z_i)}{q_\phi(z_i \mid x)},
# \qquad \mathcal L_1 = \text{ELBO} \le \mathcal L_k \le \log p_\theta(x).$$
#
# Here on 100 test images, with the checkpoint in each framework and the same noise. The standard error says how much another hundred
# images might change the number.

# %%
print(f"{'−log p(x) ≤, nats':<20}{'k = 1':>16}{'k = 50':>16}{'k = 5,000':>16}")
for name, model in trained.items():
    bounds = metrics.importance_bounds(functools.partial(ways[name].log_weights, model), x_test[:100], latents=50)
    row = [str(metrics.mean_and_error(-bounds[k])) for k in (1, 50, 5000)]
    print(f"{runtime.LABELS[name]:<20}" + "".join(f"{cell:>16}" for cell in row))

# %% [markdown]
# And on the whole test set, recorded by `make results`, beside table 1 of Burda et al.:

# %%
from utils import results

print(results.table("02_vae"))

# %% [markdown]
# Beware of the neighbours: a fixed binarisation, grey pixels, or a k that is not stated each move the number by nats. Compare only
# what is measured alike.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()` shows one. Each works on NumPy arrays.

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
# **3. The bound.** $\mathcal L_k$ from log-weights, without overflow (weights of $e^{-80}$ or $e^{800}$ must not break it).


# %%
def iwae_bound(log_weights):
    """L_k in nats, shape (B,), from log w of shape (k, B)."""
    return ...  # your code


questions.iwae_bound.check(iwae_bound)

# %% [markdown]
# **4. Count.** How many parameters has the network of part 3, with 50 latents? Do it by hand, layer by layer, then check.

# %%
questions.parameter_count.check(...)  # your number

# %% [markdown]
# **5. Change the data.** Any folder of images, or an IDX file such as Fashion-MNIST's, can take MNIST's place. Load one with
# `data.from_images(folder)` or `data.from_idx(images, labels)`, check it, put it into `x_train`, and train in the panel again.

# %%
my_digits = ...  # data.from_images("…") or data.from_idx("…")
questions.other_data.check(my_digits)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - ELBO = reconstruction − KL. The gap to $\log p(x)$ is the KL from the encoder to the true posterior.
# - $z = \mu + e^{\frac12 \log\sigma^2} \odot \varepsilon$ makes a draw differentiable. The KL is **summed** over latents, and noise has
#   standard deviation 1: scale either, and you train another objective.
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
# ([2019](https://arxiv.org/abs/1906.02691)); Burda et al. ([2016](https://arxiv.org/abs/1509.00519)); Lucas et al., *Don't Blame the ELBO!*
# ([2019](https://arxiv.org/abs/1911.02469)) on why collapse is not only the bound's fault.

# %% [markdown] tags=["navigation"]
# generated
