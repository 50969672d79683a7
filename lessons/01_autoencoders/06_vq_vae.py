# ---
# jupyter:
#   course:
#     title: "VQ-VAE: a dictionary of codes"
#     summary: "Discrete codes: a codebook that learns beside the network, how it dies, and a prior that makes it generate."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "the variational autoencoder and its bound (chapter 02_vae)"
#       - "convolutions, and cross-entropy as a price in nats"
#     objectives:
#       - "send a gradient straight through an argmin, and say which term trains which weights"
#       - "write the codebook loss, the commitment loss and the moving-average codebook in PyTorch, TensorFlow and Keras"
#       - "measure a codebook by its live codes and its perplexity, kill it, and revive it"
#       - "build masked convolutions whose masks are neither trained nor stored, and sample with them"
#       - "turn reconstruction and prior into bits per dimension, and compare them honestly with a VAE's"
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
# # VQ-VAE: a dictionary of codes
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/06_vq_vae.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/01_autoencoders/06_vq_vae.ipynb)
#
# Discrete codes: a codebook that learns beside the network, how it dies, and a prior that makes it generate.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** the variational autoencoder and its bound (chapter 02_vae); convolutions, and cross-entropy as a price in nats.
#
# **What you will be able to do:**
#
# - send a gradient straight through an argmin, and say which term trains which weights
# - write the codebook loss, the commitment loss and the moving-average codebook in PyTorch, TensorFlow and Keras
# - measure a codebook by its live codes and its perplexity, kill it, and revive it
# - build masked convolutions whose masks are neither trained nor stored, and sample with them
# - turn reconstruction and prior into bits per dimension, and compare them honestly with a VAE's

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

from utils import checkpoints, data, exercises, parity, plots, runtime
from utils.controls import Choice, Slider, Toggle
from utils.exercises import vq_vae as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# A VAE's code is a cloud of real numbers, and its prior a fixed bell. The **vector-quantised VAE**
# (van den Oord, Vinyals and Kavukcuoglu, [2017](https://arxiv.org/abs/1711.00937)) writes an image
# as a small grid of *words* from a dictionary that it learns:
#
# 1. the **encoder** turns the image into a grid of vectors $z_e(x)$, here 7×7 of them;
# 2. each is replaced by the nearest of $K$ **codebook** vectors $e_1 \dots e_K$:
#    $$z_q(x) = e_k, \qquad k = \arg\min_j \lVert z_e(x) - e_j \rVert;$$
# 3. the **decoder** turns the grid of codebook vectors back into an image, $p(x \mid z_q)$.
#
# While this trains, every word counts as equally likely. A KL term would be the constant $\log K$
# for each place, so there is none, and no posterior collapse. Which words follow which is learned
# **afterwards**, by a second network over the grid: the **prior** $p(z)$, a PixelCNN. Only with it
# is there something to draw new images from.
#
# You may have read that VQ-VAEs suit *discrete data such as text*. It is the **codes** that are
# discrete; the paper's data are images, audio and video.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Three losses, three addressees
#
# $$L = \underbrace{-\log p(x \mid z_q(x))}_{\text{decoder, and encoder}}
#   + \underbrace{\lVert \mathrm{sg}[z_e(x)] - e \rVert^2}_{\text{codebook}}
#   + \beta\, \underbrace{\lVert z_e(x) - \mathrm{sg}[e] \rVert^2}_{\text{encoder: commitment}}$$
#
# where sg, *stop gradient*, passes a value on and no gradient back. (It is equation 3 of the paper,
# whose first term has lost its minus sign.)
#
# - The **argmin** has no useful gradient: move $z_e$ a little, and $k$ stays the same. The
#   **straight-through estimator** copies the decoder's gradient at $z_q$ to $z_e$, as if nothing had
#   happened in between: $z_e + \mathrm{sg}[z_q - z_e]$ has $z_q$'s value and $z_e$'s gradient.
# - So the **codebook gets no gradient from the reconstruction**. Texts that say it learns by
#   comparing input and output are wrong. It learns from the second term alone, which pulls each code
#   to the mean of the vectors that chose it: a step of k-means.
# - The **commitment** term keeps the encoder near the codes it has chosen. It is not what makes the
#   choice hard (the argmin does): without it the encoder may run away faster than the codebook
#   follows. The paper takes $\beta = 0.25$, and found anything from 0.1 to 2 as good.
#
# Each term is **summed over the grid and averaged over the batch**, as the reconstruction is. The
# library pythae sums the two last terms over the whole batch, so that its β grows with the batch.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A codebook without a loss
#
# Means can also be followed directly. Appendix A.1 of the paper (its experiments do not use it, most
# code since then does) keeps moving averages of how many vectors chose a code and of their sum,
#
# $$N_k \leftarrow \gamma N_k + (1 - \gamma)\, n_k, \qquad
#   m_k \leftarrow \gamma m_k + (1 - \gamma) \sum_{z \to k} z, \qquad e_k = m_k / N_k.$$
#
# Either way, a code that no vector chooses is never moved, and a code that never moves is never
# chosen: it is **dead**. Below, four codes follow 300 points in three heaps. One of them starts too
# far away.

# %%
rng = np.random.default_rng(SEED)
heaps = np.array([[0, 0], [2, 0.4], [0.7, 1.8]])
points = heaps[rng.integers(0, 3, 300)] + 0.25 * rng.standard_normal((300, 2))  # 300×2
codebook = np.array([[0.5, 0.5], [0.9, 0.3], [0.6, 0.9], [4.0, 2.5]])  # 4×2
start, N, m = codebook.copy(), np.ones(4), codebook.copy()
for _ in range(60):
    nearest = ((points[:, None] - codebook) ** 2).sum(-1).argmin(1)  # 300
    chosen = np.eye(4)[nearest]  # 300×4, one-hot
    N, m = 0.9 * N + 0.1 * chosen.sum(0), 0.9 * m + 0.1 * chosen.T @ points
    codebook = m / N[:, None]
fig, ax = plots.figure(width=6, height=2.6)
ax.scatter(*points.T, c=np.array(["#0072B2", "#D55E00", "#009E73", "#000000"])[nearest], s=6)
ax.plot([start[:, 0], codebook[:, 0]], [start[:, 1], codebook[:, 1]], color="0.6", lw=1)
ax.scatter(*start.T, marker="o", facecolor="none", edgecolor="0.4", label="start")
ax.scatter(*codebook.T, marker="X", color="black", s=70, label="after 60 steps")
ax.legend(frameon=False)
alt = "300 points in three heaps; three codes have moved to the heaps' centres, one, far away, has not moved"
plots.show(fig, alt=alt)
print("chosen by", *chosen.sum(0).astype(int), "points")

# %% [markdown]
# The remedy is as blunt as the problem: put a dead code where a vector of the current batch is.
# That is **revival** (k-means users call it a restart; it is not in the paper). We call a code dead
# when its $N_k$ falls below 1: fewer than one vector in a batch.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST, binarised as in `02_vae`: a pixel is on with its grey value as probability, and the coins
# are tossed anew each time an image is used. The test images are tossed once, with the same seed as
# there: so both chapters measure on *the same* 10,000 black-and-white images.

# %%
digits = data.mnist()
print(digits.describe())
x_train = digits.x_train  # N×28×28, uint8
test_coins = np.random.default_rng(0)  # tossed once: every measurement sees the same test images
x_test = data.binarise(digits.x_test, test_coins)  # N×28×28, 0 or 1
first = [int(np.argmax(digits.y_test == label)) for label in range(10)]  # one image of each digit
again = data.binarise(digits.x_test[first], np.random.default_rng(1))
rows = np.concatenate([digits.x_test[first] / 255, x_test[first], again])
alt = "ten test digits in grey, and below them two tosses of their pixels: only edges change"
plots.show(plots.grid(rows, columns=10, scale=2), alt=alt)

# %% [markdown]
# Keep the ragged edges in mind. They are coin tosses, and no model can predict them: a code that
# remembers them pays for chance. Part 10 will show the bill.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What the three sections share
#
# The network is the paper's (§4.1) made small: two 4×4 convolutions of stride 2, two residual blocks
# (ReLU, 3×3, ReLU, 1×1), and their mirror image; 32 channels instead of 256. Shapes are written as
# height×width×channels.

# %% tags=["export"]
SIDE, GRID, DIM = 28, 7, 16  # image, grid of codes, length of a code
CHANNELS, WIDTH, BLOCKS = 32, 32, 4  # of encoder and decoder; of the prior
DECAY = 0.99  # γ, of the moving averages

QUICK = {"learning_rate": 1e-3, "beta": 0.25, "codes": 64, "rule": "EMA", "revive": True}
QUICK |= {"batch_size": 64, "steps": 150, "schedule": "constant"}
FULL = {**QUICK, "steps": 8_000, "schedule": "linear"}
PRIOR = {"learning_rate": 2e-3, "schedule": "linear"}  # what differs for the prior

Way = collections.namedtuple("Way", "build train encode decode build_prior train_prior predict")
ways = {}  # framework -> its seven functions, filled by the sections


# %% tags=["export"]
def learning_rate(step, settings):
    """The rate of a step (counted from 0): constant, or falling in a straight line to 0."""
    left = 1 - step / settings.steps if settings.schedule == "linear" else 1.0
    return settings.learning_rate * left


def index_batches(n, settings):
    """Shuffled batches of positions in n examples, epoch after epoch, one for each step."""
    rng = np.random.default_rng(settings.seed)
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), settings.steps)


def codes_of(encode, images, seed, tosses=1):
    """The codes (N·tosses, 7, 7), as bytes, of uint8 images that are tossed anew each time."""
    rng = np.random.default_rng(seed)
    parts = [
        images[start : start + 500] for _ in range(tosses) for start in range(0, len(images), 500)
    ]
    return np.concatenate([encode(data.binarise(part, rng)) for part in parts]).astype("uint8")


def probability(logits):
    """The Bernoulli probability of each logit, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def preview_of(encode, decode, images):
    """What the panel shows while it trains: eight images, and their reconstructions below."""
    x = data.binarise(images[:8], np.random.default_rng(0))  # 8×28×28
    return lambda: plots.grid(np.concatenate([x, probability(decode(encode(x)))]), columns=8)


# %% [markdown]
# What an image costs: the coding of its pixels, given the codes, and the coding of its codes, given
# those before. And how a codebook is used: the share of each code, and the **perplexity** $e^{H}$ of
# these shares, which is the number of codes that would be in use if all were used alike.


# %% tags=["export"]
def reconstruction_nats(way, vqvae, x):
    """Codes (N, 7, 7) and −log p(x|z_q), shape (N,), of black-and-white images (N, 28, 28)."""
    codes, nats = [], []
    for start in range(0, len(x), 500):
        some = x[start : start + 500]
        codes.append(way.encode(vqvae, some))
        logits = way.decode(vqvae, codes[-1]).astype("float64")  # N×28×28
        nats.append((np.logaddexp(0, logits) - some * logits).sum((1, 2)))
    return np.concatenate(codes), np.concatenate(nats)


def prior_nats(way, prior, codes):
    """−log p(z), shape (N,), of grids of codes (N, 7, 7)."""
    nats = []
    for start in range(0, len(codes), 500):
        some = codes[start : start + 500].astype("int64")
        logits = way.predict(prior, some).astype("float64")  # N×7×7×K
        at = np.take_along_axis(logits, some[..., None], -1)[..., 0]
        nats.append((np.logaddexp.reduce(logits, -1) - at).sum((1, 2)))
    return np.concatenate(nats)


def usage(codes, K):
    """The share of each of the K codes, shape (K,)."""
    return np.bincount(codes.ravel().astype(int), minlength=K) / codes.size


def perplexity(share):
    """exp of the entropy of shares (K,)."""
    used = share[share > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A mask for a prior
#
# The PixelCNN (van den Oord, Kalchbrenner and Kavukcuoglu,
# [2016](https://arxiv.org/abs/1601.06759)) reads the grid like a page, and predicts each code from
# the codes before it. One pass predicts all 49 places at once, if no convolution may look ahead:
# a **mask** sets part of its kernel to zero. The first layer's mask, kind A, hides the place itself
# as well; later ones, kind B, may see it, since what stands there by now knows only the past.


# %% tags=["export"]
def causal_mask(kind, size):
    """The mask of a size×size kernel: 1 for what comes before the middle, in reading order."""
    mask = np.zeros((size, size, 1, 1), "float32")
    middle = size // 2
    mask[:middle] = 1  # the rows above
    mask[middle, : middle + (kind == "B")] = 1  # to the left; in kind B the middle too
    return mask


# %%
for kind, size in (("A", 7), ("B", 3)):
    print(f"kind {kind}:", causal_mask(kind, size)[:, :, 0, 0].astype(int), sep="\n")

# %% [markdown]
# The mask is a constant of the architecture. It must not be **trained** (the zeros would fill), and
# need not be **stored** (it can be computed): part 6 checks both.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* PyTorch puts channels first; the codebook wants vectors, so the
# encoder ends and the decoder begins with a permutation.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchResidual(nn.Module):
    """ReLU, 3×3, ReLU, 1×1, and the input added to it."""

    def __init__(self):
        super().__init__()
        self.conv3 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, h):  # B×32×7×7
        return h + self.conv1(F.relu(self.conv3(F.relu(h))))


class TorchEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, CHANNELS // 2, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(CHANNELS // 2, CHANNELS, 4, stride=2, padding=1)
        self.res1, self.res2 = TorchResidual(), TorchResidual()
        self.out = nn.Conv2d(CHANNELS, DIM, 1)

    def forward(self, x):  # B×28×28
        h = F.relu(self.conv1(x[:, None]))  # 28×28×1 → 14×14×16
        h = self.res2(self.res1(self.conv2(h)))  # → 7×7×32
        return self.out(F.relu(h)).permute(0, 2, 3, 1)  # → B×7×7×16, channels last


# %% tags=["export", "torch"]
class TorchDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Conv2d(DIM, CHANNELS, 3, padding=1)
        self.res1, self.res2 = TorchResidual(), TorchResidual()
        self.up1 = nn.ConvTranspose2d(CHANNELS, CHANNELS // 2, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(CHANNELS // 2, 1, 4, stride=2, padding=1)

    def forward(self, z):  # B×7×7×16
        h = self.res2(self.res1(self.into(z.permute(0, 3, 1, 2))))  # → 7×7×32
        return self.up2(F.relu(self.up1(F.relu(h))))[:, 0]  # → 14×14×16 → B×28×28, logits


# %% [markdown] slideshow={"slide_type": "subslide"}
# The codebook: find, follow, revive. `size` and `sums` are $N$ and $m$. They are part of the model's
# state but no weights: buffers. Both start at zero, so with revival on, the first batch finds every
# code dead and puts it where a vector is: a sensible start for free.


# %% tags=["export", "torch"]
class TorchCodebook(nn.Module):
    """K vectors, trained by a loss or by moving averages, and a memory of how often each is used."""

    def __init__(self, codes, rule="EMA", revive=True):
        super().__init__()
        self.rule, self.revive = rule, revive
        start = (2 * torch.rand(codes, DIM) - 1) / codes  # U(−1/K, 1/K), as is usual
        self.embeddings = nn.Parameter(start, requires_grad=rule == "loss")  # K×D
        self.register_buffer("size", torch.zeros(codes))  # N, K
        self.register_buffer("sums", torch.zeros(codes, DIM))  # m, K×D

    def forward(self, z):  # …×D → codes (…) and their vectors (…×D)
        e = self.embeddings.detach()
        distances = (e**2).sum(1) - 2 * z.detach() @ e.T  # …×K, less ‖z‖², the same for every code
        codes = distances.argmin(-1)
        return codes, self.embeddings[codes]

    @torch.no_grad()
    def follow(self, z, codes):  # z: …×D, codes: …
        """One step of the moving averages; revive what has died."""
        flat, e = z.reshape(-1, DIM), self.embeddings  # n×D, K×D
        chosen = F.one_hot(codes.flatten(), len(e)).float()  # n×K
        self.size.lerp_(chosen.sum(0), 1 - DECAY)
        self.sums.lerp_(chosen.T @ flat, 1 - DECAY)
        if self.rule == "EMA":
            known = self.size[:, None] > 1e-6  # a code that nobody ever chose stays where it is
            e.copy_(torch.where(known, self.sums / self.size[:, None], e))
        if self.revive:
            dead = self.size[:, None] < 1
            picked = flat[torch.randint(len(flat), (len(e),))]  # K×D, from this batch
            for held in (e, self.sums):
                held.copy_(torch.where(dead, picked, held))
            self.size.clamp_(min=1)


# %% [markdown] slideshow={"slide_type": "subslide"}
# The model is one line long where it matters: `z + (q - z).detach()` goes straight through.


# %% tags=["export", "torch"]
def glorot_torch(model):
    """Glorot's weights and zero biases in every convolution, as in the other two sections."""
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


class TorchVQVAE(nn.Module):
    """A convolutional encoder, a codebook, and a decoder that returns Bernoulli logits."""

    def __init__(self, codes, rule="EMA", revive=True):
        super().__init__()
        self.encoder, self.decoder = TorchEncoder(), TorchDecoder()
        self.codebook = TorchCodebook(codes, rule, revive)
        glorot_torch(self)

    def forward(self, x):  # B×28×28
        z = self.encoder(x)  # B×7×7×16
        codes, q = self.codebook(z)  # B×7×7, B×7×7×16
        straight = z + (q - z).detach()  # the value of q, the gradient of z
        return self.decoder(straight), z, codes, q


def losses_torch(x, logits, z, q):
    """−log p(x|z_q), codebook loss and commitment, each of shape (B,): sums over an image."""
    nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2))
    codebook = ((z.detach() - q) ** 2).sum((1, 2, 3))  # moves the codebook only
    commitment = ((z - q.detach()) ** 2).sum((1, 2, 3))  # moves the encoder only
    return nll, codebook, commitment


# %% [markdown]
# With the moving averages the codebook takes no gradients at all (`requires_grad=False`), and the
# codebook loss in the sum moves nothing: one formula serves both rules.


# %% tags=["export", "torch"]
def train_torch(images, settings, report):
    """Train on uint8 images (N, 28, 28); stop when the steps are done or `report` says so."""
    n = data.check_batch(settings.batch_size, len(images))
    vqvae = TorchVQVAE(settings.codes, settings.rule, settings.revive)
    optimizer = torch.optim.Adam(parity.variables(vqvae), fused=True)
    encode, decode = (functools.partial(f, vqvae) for f in (encode_torch, decode_torch))
    preview = preview_of(encode, decode, images)
    images = torch.as_tensor(images)  # N×28×28, uint8
    for step, index in enumerate(index_batches(n, settings), start=1):
        x = torch.bernoulli(images[torch.as_tensor(index)].float() / 255)  # tossed anew
        logits, z, codes, q = vqvae(x)
        nll, codebook, commitment = losses_torch(x, logits, z, q)
        loss = (nll + codebook + settings.beta * commitment).mean()
        vqvae.codebook.follow(z, codes)
        optimizer.param_groups[0]["lr"] = learning_rate(step - 1, settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            values = (loss.item(), nll.mean().item(), commitment.mean().item())
            logs = dict(zip(("loss", "reconstruction", "commitment"), values, strict=True))
            if not report(step, logs, preview):
                break
    return vqvae


# %% tags=["export", "torch"]
@torch.no_grad()
def encode_torch(vqvae, x):
    """Codes (B, 7, 7) of black-and-white images (B, 28, 28)."""
    codes, _ = vqvae.codebook(vqvae.encoder(torch.as_tensor(x)))
    return codes.cpu().numpy()


@torch.no_grad()
def decode_torch(vqvae, codes):
    """Pixel logits (B, 28, 28) of codes (B, 7, 7)."""
    return vqvae.decoder(vqvae.codebook.embeddings[torch.as_tensor(codes).long()]).cpu().numpy()


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The prior
#
# A masked convolution is a convolution with its kernel multiplied by the mask at every call. The
# mask is a buffer with `persistent=False`: it moves to the GPU with the model, and stays out of its
# `state_dict`.


# %% tags=["export", "torch"]
class TorchMasked(nn.Conv2d):
    """A convolution that sees only what comes before, in reading order."""

    def __init__(self, kind, n_in, n_out, size):
        super().__init__(n_in, n_out, size, padding=size // 2)
        mask = torch.as_tensor(causal_mask(kind, size)).permute(3, 2, 0, 1)  # 1×1×size×size
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class TorchBlock(nn.Module):
    """ReLU, 1×1, ReLU, masked 3×3, ReLU, 1×1, and the input added to it."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(WIDTH, WIDTH // 2, 1), nn.Conv2d(WIDTH // 2, WIDTH, 1)
        self.masked = TorchMasked("B", WIDTH // 2, WIDTH // 2, 3)

    def forward(self, h):  # B×32×7×7
        return h + self.up(F.relu(self.masked(F.relu(self.down(F.relu(h))))))


class TorchPrior(nn.Module):
    """A PixelCNN over the grid of codes."""

    def __init__(self, codes):
        super().__init__()
        self.first = TorchMasked("A", codes, WIDTH, 7)
        self.blocks = nn.ModuleList(TorchBlock() for _ in range(BLOCKS))
        self.logits = nn.Conv2d(WIDTH, codes, 1)
        glorot_torch(self)

    def forward(self, codes):  # B×7×7
        words = F.one_hot(codes, self.logits.out_channels).float()  # B×7×7×K
        h = self.first(words.permute(0, 3, 1, 2))  # → B×32×7×7
        for block in self.blocks:
            h = block(h)
        return self.logits(F.relu(h)).permute(0, 2, 3, 1)  # → B×7×7×K


# %% tags=["export", "torch"]
def train_prior_torch(codes, settings, report):
    """Train on grids of codes (N, 7, 7); the loss is −log p(z) in nats."""
    n = data.check_batch(settings.batch_size, len(codes))
    prior = TorchPrior(settings.codes)
    optimizer = torch.optim.Adam(prior.parameters(), fused=True)
    grids = torch.as_tensor(codes)
    for step, index in enumerate(index_batches(n, settings), start=1):
        batch = grids[torch.as_tensor(index)].long()  # B×7×7
        logits = prior(batch).permute(0, 3, 1, 2)  # B×K×7×7: PyTorch wants the classes second
        loss = F.cross_entropy(logits, batch, reduction="none").sum((1, 2)).mean()
        optimizer.param_groups[0]["lr"] = learning_rate(step - 1, settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0 and not report(step, {"loss": loss.item()}):
            break
    return prior


@torch.no_grad()
def predict_torch(prior, codes):
    """Logits (B, 7, 7, K) of each code given the codes before it."""
    return prior(torch.as_tensor(codes).long()).cpu().numpy()


ways["torch"] = Way(
    *(TorchVQVAE, train_torch, encode_torch, decode_torch),
    *(TorchPrior, train_prior_torch, predict_torch),
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* No Keras layers: variables, operations, a gradient tape, and functions compiled
# into graphs. Channels come last here, as the codebook wants them.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import Conv2D, Conv2DTranspose  # built by hand in 01_autoencoder
from utils.tf_optimizers import Adam


class TFResidual(tf.Module):
    """ReLU, 3×3, ReLU, 1×1, and the input added to it."""

    def __init__(self):
        super().__init__()
        self.conv3, self.conv1 = Conv2D(CHANNELS, CHANNELS, 3), Conv2D(CHANNELS, CHANNELS, 1)

    def __call__(self, h):  # B×7×7×32
        return h + self.conv1(tf.nn.relu(self.conv3(tf.nn.relu(h))))


class TFEncoder(tf.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = Conv2D(1, CHANNELS // 2, 4, stride=2)
        self.conv2 = Conv2D(CHANNELS // 2, CHANNELS, 4, stride=2)
        self.res1, self.res2 = TFResidual(), TFResidual()
        self.out = Conv2D(CHANNELS, DIM, 1)

    def __call__(self, x):  # B×28×28
        h = tf.nn.relu(self.conv1(x[..., None]))  # 28×28×1 → 14×14×16
        h = self.res2(self.res1(self.conv2(h)))  # → 7×7×32
        return self.out(tf.nn.relu(h))  # → B×7×7×16


# %% tags=["export", "tensorflow"]
class TFDecoder(tf.Module):
    def __init__(self):
        super().__init__()
        self.into = Conv2D(DIM, CHANNELS, 3)
        self.res1, self.res2 = TFResidual(), TFResidual()
        self.up1 = Conv2DTranspose(CHANNELS, CHANNELS // 2, 4)
        self.up2 = Conv2DTranspose(CHANNELS // 2, 1, 4)

    def __call__(self, z):  # B×7×7×16
        h = self.res2(self.res1(self.into(z)))  # → 7×7×32
        return self.up2(tf.nn.relu(self.up1(tf.nn.relu(h))))[..., 0]  # → 14×14×16 → B×28×28


# %% tags=["export", "tensorflow"]
class TFCodebook(tf.Module):
    """K vectors, trained by a loss or by moving averages, and a memory of how often each is used."""

    def __init__(self, codes, rule="EMA", revive=True):
        super().__init__()
        self.rule, self.revive = rule, revive
        start = tf.random.uniform((codes, DIM), -1 / codes, 1 / codes)  # as is usual
        self.embeddings = tf.Variable(start, trainable=rule == "loss")  # K×D
        self.size = tf.Variable(tf.zeros(codes), trainable=False)  # N, K
        self.sums = tf.Variable(tf.zeros((codes, DIM)), trainable=False)  # m, K×D

    def __call__(self, z):  # …×D → codes (…) and their vectors (…×D)
        e = self.embeddings
        distances = tf.reduce_sum(e**2, 1) - 2 * tf.tensordot(z, e, [[-1], [1]])  # …×K, less ‖z‖²
        codes = tf.argmin(distances, -1, output_type=tf.int32)
        return codes, tf.gather(e, codes)

    def follow(self, z, codes):  # z: …×D, codes: …
        """One step of the moving averages; revive what has died."""
        flat, e = tf.reshape(z, (-1, DIM)), self.embeddings  # n×D, K×D
        chosen = tf.one_hot(tf.reshape(codes, [-1]), e.shape[0])  # n×K
        size = DECAY * self.size + (1 - DECAY) * tf.reduce_sum(chosen, 0)
        sums = DECAY * self.sums + (1 - DECAY) * tf.matmul(chosen, flat, transpose_a=True)
        if self.rule == "EMA":  # a code that nobody ever chose stays where it is
            e = tf.where(size[:, None] > 1e-6, tf.math.divide_no_nan(sums, size[:, None]), e)
        if self.revive:
            dead = size[:, None] < 1
            places = tf.random.uniform([e.shape[0]], 0, tf.shape(flat)[0], tf.int32)
            picked = tf.gather(flat, places)  # K×D, from this batch
            e, sums = tf.where(dead, picked, e), tf.where(dead, picked, sums)
            size = tf.maximum(size, 1.0)
        self.embeddings.assign(e)
        self.size.assign(size)
        self.sums.assign(sums)


# %% [markdown] slideshow={"slide_type": "subslide"}
# The `argmin` has no gradient in any framework: the tape finds no way through it. Nor through
# `tf.stop_gradient`, which is the sg of the formula.


# %% tags=["export", "tensorflow"]
class TFVQVAE(tf.Module):
    """A convolutional encoder, a codebook, and a decoder that returns Bernoulli logits."""

    def __init__(self, codes, rule="EMA", revive=True):
        super().__init__()
        self.encoder, self.decoder = TFEncoder(), TFDecoder()
        self.codebook = TFCodebook(codes, rule, revive)

    def __call__(self, x):  # B×28×28
        z = self.encoder(x)  # B×7×7×16
        codes, q = self.codebook(z)  # B×7×7, B×7×7×16
        straight = z + tf.stop_gradient(q - z)  # the value of q, the gradient of z
        return self.decoder(straight), z, codes, q


def losses_tf(x, logits, z, q):
    """−log p(x|z_q), codebook loss and commitment, each of shape (B,): sums over an image."""
    nll = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    codebook = (tf.stop_gradient(z) - q) ** 2  # moves the codebook only
    commitment = (z - tf.stop_gradient(q)) ** 2  # moves the encoder only
    return tuple(
        tf.reduce_sum(term, tf.range(1, tf.rank(term))) for term in (nll, codebook, commitment)
    )


# %% [markdown]
# One trainer serves the VQ-VAE and the prior: it keeps model, optimiser and step count in variables,
# so that a long run can be saved and resumed, and runs as many steps in one graph as it is given
# rates.


# %% tags=["export", "tensorflow"]
def index_stream(n, batch_size):
    """An endless tf.data stream of shuffled batches of positions in n examples."""
    per_epoch = n // batch_size

    def epoch(_):
        order = tf.random.shuffle(tf.range(n))[: per_epoch * batch_size]
        return tf.data.Dataset.from_tensor_slices(tf.reshape(order, (per_epoch, batch_size)))

    return tf.data.Dataset.range(2**62).flat_map(epoch)


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model, optimiser and step count; `measure(model, batch)` gives the loss and what to log."""

    def __init__(self, model, measure):
        super().__init__()
        self.model, self.measure = model, measure
        self.weights = parity.variables(model)
        self.adam, self.step = Adam(self.weights), tf.Variable(0, dtype=tf.int64)

    @tf.function
    def train_steps(self, batches, rates):
        """One step for each rate; returns the loss and the logs of the last one."""
        values = tf.zeros(self.measure.logged)
        for rate in rates:
            with tf.GradientTape() as tape:
                loss, values = self.measure(self.model, next(batches))
            self.adam.apply(tape.gradient(loss, self.weights), rate)
            self.step.assign_add(1)
        return values

    def run(self, batches, settings, logged, report):
        """Train to the last of the settings' steps, or until `report` says so."""
        iterator, step = iter(batches), int(self.step)
        while step < settings.steps:
            steps = range(step, min(step + 10, settings.steps))
            rates = tf.constant([learning_rate(s, settings) for s in steps], tf.float32)
            values = self.train_steps(iterator, rates).numpy()
            step += len(steps)
            if not report(step, dict(zip(logged, map(float, values), strict=True))):
                break
        return self.model


# %% tags=["export", "tensorflow"]
class TFMeasure:
    """The loss of a VQ-VAE on a batch of positions: bytes are tossed, terms averaged."""

    logged = 3  # numbers returned

    def __init__(self, images, beta):
        self.images, self.beta = tf.constant(images), beta  # N×28×28, uint8

    def __call__(self, vqvae, index):
        grey = tf.cast(tf.gather(self.images, index), tf.float32) / 255  # B×28×28
        x = tf.cast(tf.random.uniform(tf.shape(grey)) < grey, tf.float32)  # tossed anew
        logits, z, codes, q = vqvae(x)
        nll, codebook, commitment = map(tf.reduce_mean, losses_tf(x, logits, z, q))
        vqvae.codebook.follow(z, codes)
        loss = nll + codebook + self.beta * commitment
        return loss, tf.stack([loss, nll, commitment])


# %% tags=["export", "tensorflow"]
def trainer_tf(images, settings):
    """A VQ-VAE with its optimiser, before its first step."""
    vqvae = TFVQVAE(settings.codes, settings.rule, settings.revive)
    return TFTrainer(vqvae, TFMeasure(images, settings.beta))


def train_tf(images, settings, report, trainer=None):
    """Train on uint8 images (N, 28, 28); with a `trainer`, go on from where it stands."""
    n = data.check_batch(settings.batch_size, len(images))
    trainer = trainer or trainer_tf(images, settings)
    encode, decode = (functools.partial(f, trainer.model) for f in (encode_tf, decode_tf))
    preview = preview_of(encode, decode, images)
    names, batches = ("loss", "reconstruction", "commitment"), index_stream(n, settings.batch_size)
    return trainer.run(batches, settings, names, lambda *told: report(*told, preview))


@tf.function(reduce_retracing=True)
def encode_graph(vqvae, x):
    return vqvae.codebook(vqvae.encoder(x))[0]


def encode_tf(vqvae, x):
    """Codes (B, 7, 7) of black-and-white images (B, 28, 28)."""
    return encode_graph(vqvae, tf.constant(x)).numpy()


def decode_tf(vqvae, codes):
    """Pixel logits (B, 28, 28) of codes (B, 7, 7)."""
    return vqvae.decoder(tf.gather(vqvae.codebook.embeddings, np.asarray(codes, "int32"))).numpy()


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The prior
#
# The mask is a `tf.constant`, not a `tf.Variable`: nothing that lists variables (the optimiser, a
# checkpoint) can find it.


# %% tags=["export", "tensorflow"]
class TFMasked(Conv2D):
    """A convolution that sees only what comes before, in reading order."""

    def __init__(self, kind, n_in, n_out, size):
        super().__init__(n_in, n_out, size)
        self.mask = tf.constant(causal_mask(kind, size))  # size×size×1×1

    def __call__(self, x):
        return tf.nn.conv2d(x, self.kernel * self.mask, 1, "SAME") + self.bias


class TFBlock(tf.Module):
    """ReLU, 1×1, ReLU, masked 3×3, ReLU, 1×1, and the input added to it."""

    def __init__(self):
        super().__init__()
        self.down, self.up = Conv2D(WIDTH, WIDTH // 2, 1), Conv2D(WIDTH // 2, WIDTH, 1)
        self.masked = TFMasked("B", WIDTH // 2, WIDTH // 2, 3)

    def __call__(self, h):  # B×7×7×32
        relu = tf.nn.relu
        return h + self.up(relu(self.masked(relu(self.down(relu(h))))))


class TFPrior(tf.Module):
    """A PixelCNN over the grid of codes."""

    def __init__(self, codes):
        super().__init__()
        self.first = TFMasked("A", codes, WIDTH, 7)
        self.blocks = [TFBlock() for _ in range(BLOCKS)]
        self.logits = Conv2D(WIDTH, codes, 1)

    def __call__(self, codes):  # B×7×7
        h = self.first(tf.one_hot(codes, self.logits.bias.shape[0]))  # 7×7×K → 7×7×32
        for block in self.blocks:
            h = block(h)
        return self.logits(tf.nn.relu(h))  # → B×7×7×K


# %% tags=["export", "tensorflow"]
class TFPriorMeasure:
    """The loss of a prior on a batch of positions: −log p(z) in nats."""

    logged = 1

    def __init__(self, codes):
        self.codes = tf.constant(codes)  # N×7×7

    def __call__(self, prior, index):
        batch = tf.cast(tf.gather(self.codes, index), tf.int32)  # B×7×7
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=batch, logits=prior(batch))
        loss = tf.reduce_mean(tf.reduce_sum(nats, [1, 2]))
        return loss, loss[None]


def train_prior_tf(codes, settings, report, trainer=None):
    """Train on grids of codes (N, 7, 7); with a `trainer`, go on from where it stands."""
    n = data.check_batch(settings.batch_size, len(codes))
    trainer = trainer or TFTrainer(TFPrior(settings.codes), TFPriorMeasure(codes))
    return trainer.run(index_stream(n, settings.batch_size), settings, ("loss",), report)


@tf.function(reduce_retracing=True)
def predict_graph(prior, codes):
    return prior(codes)


def predict_tf(prior, codes):
    """Logits (B, 7, 7, K) of each code given the codes before it."""
    return predict_graph(prior, tf.constant(np.asarray(codes, "int32"))).numpy()


ways["tensorflow"] = Way(
    *(TFVQVAE, train_tf, encode_tf, decode_tf),
    *(TFPrior, train_prior_tf, predict_tf),
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* The network is a functional model; the codebook is a layer with weights of its own.
#
# Here lies a trap. A popular Keras example keeps its codebook in a `tf.Variable` attribute of the
# layer. Keras 2 tracked it. **Keras 3 does not**: the layer has no trainable weights, no gradient
# ever reaches the codebook, and the model trains around a dictionary that stays as random as it was
# born, without an error. The remedy is `add_weight`; the test is to look whether it moves.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


def keras_residual(h, name):
    """ReLU, 3×3, ReLU, 1×1, and the input added to it."""
    # max(h, 0) is ReLU: TensorFlow's graph rewriter stumbles over its own when a sum comes before
    inner = layers.Conv2D(CHANNELS, 3, padding="same", name=f"{name}__conv3")(ops.maximum(h, 0.0))
    return h + layers.Conv2D(CHANNELS, 1, name=f"{name}__conv1")(ops.relu(inner))


def keras_encoder():
    """28×28 → 7×7×16."""
    x = keras.Input((SIDE, SIDE))
    half = {"kernel_size": 4, "strides": 2, "padding": "same"}
    h = ops.expand_dims(x, -1)  # 28×28×1
    h = layers.Conv2D(CHANNELS // 2, **half, activation="relu", name="encoder__conv1")(
        h
    )  # 14×14×16
    h = layers.Conv2D(CHANNELS, **half, name="encoder__conv2")(h)  # 7×7×32
    h = keras_residual(keras_residual(h, "encoder__res1"), "encoder__res2")
    return keras.Model(x, layers.Conv2D(DIM, 1, name="encoder__out")(ops.relu(h)), name="encoder")


def keras_decoder():
    """7×7×16 → 28×28 logits."""
    z = keras.Input((GRID, GRID, DIM))
    twice = {"kernel_size": 4, "strides": 2, "padding": "same"}
    h = layers.Conv2D(CHANNELS, 3, padding="same", name="decoder__into")(z)  # 7×7×32
    h = keras_residual(keras_residual(h, "decoder__res1"), "decoder__res2")
    h = layers.Conv2DTranspose(CHANNELS // 2, **twice, name="decoder__up1")(ops.relu(h))  # 14×14×16
    h = layers.Conv2DTranspose(1, **twice, name="decoder__up2")(ops.relu(h))  # 28×28×1
    return keras.Model(z, ops.squeeze(h, -1), name="decoder")


# %% [markdown] slideshow={"slide_type": "subslide"}
# `call` takes `training`, as a BatchNormalization's does: while training, the layer follows and
# revives, and its weights are assigned, not trained. `ops.stop_gradient` is sg on every backend.


# %% tags=["export", "keras"]
class KerasCodebook(layers.Layer):
    """K vectors, trained by a loss or by moving averages, and a memory of how often each is used."""

    def __init__(self, codes, rule="EMA", revive=True, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.rule, self.revive, self.codes = rule, revive, codes
        self.draws = keras.random.SeedGenerator(seed)
        start = keras.initializers.RandomUniform(-1 / codes, 1 / codes)  # as is usual
        known = {"name": "embeddings", "initializer": start, "trainable": rule == "loss"}
        kept = {"initializer": "zeros", "trainable": False}
        self.embeddings = self.add_weight(shape=(codes, DIM), **known)  # K×D
        self.size = self.add_weight(shape=(codes,), name="size", **kept)  # N
        self.sums = self.add_weight(shape=(codes, DIM), name="sums", **kept)  # m, K×D

    def call(self, z, training=False):  # …×D → codes (…) and their vectors (…×D)
        e = ops.stop_gradient(ops.convert_to_tensor(self.embeddings))
        distances = ops.sum(e**2, 1) - 2 * ops.tensordot(ops.stop_gradient(z), e, [[-1], [1]])
        codes = ops.argmin(distances, -1)
        q = ops.take(self.embeddings, codes, axis=0)
        if training:
            self.follow(ops.stop_gradient(z), codes)
        return codes, q

    def follow(self, z, codes):  # z: …×D, codes: …
        """One step of the moving averages; revive what has died."""
        flat, e = ops.reshape(z, (-1, DIM)), ops.stop_gradient(self.embeddings)  # n×D, K×D
        chosen = ops.one_hot(ops.reshape(codes, (-1,)), self.codes)  # n×K
        size = DECAY * self.size + (1 - DECAY) * ops.sum(chosen, 0)
        sums = DECAY * self.sums + (1 - DECAY) * ops.matmul(ops.transpose(chosen), flat)
        if self.rule == "EMA":  # a code that nobody ever chose stays where it is
            e = ops.where(size[:, None] > 1e-6, ops.divide_no_nan(sums, size[:, None]), e)
        if self.revive:
            dead = size[:, None] < 1
            places = keras.random.randint((self.codes,), 0, ops.shape(flat)[0], seed=self.draws)
            picked = ops.take(flat, places, axis=0)  # K×D, from this batch
            e, sums = ops.where(dead, picked, e), ops.where(dead, picked, sums)
            size = ops.maximum(size, 1.0)
        self.embeddings.assign(e)
        self.size.assign(size)
        self.sums.assign(sums)


# %% tags=["export", "keras"]
class KerasVQVAE(keras.Model):
    """A convolutional encoder, a codebook, and a decoder that returns Bernoulli logits."""

    def __init__(self, codes, rule="EMA", revive=True, beta=0.25, seed=0):
        super().__init__()
        self.encoder, self.decoder = keras_encoder(), keras_decoder()
        self.codebook = KerasCodebook(codes, rule, revive, seed, name="codebook")
        self.beta, self.coins = beta, keras.random.SeedGenerator(seed)
        self.parts = [keras.metrics.Mean("reconstruction"), keras.metrics.Mean("commitment")]

    def call(self, x, training=False):
        if keras.backend.standardize_dtype(x.dtype) == "uint8":
            x = ops.cast(x, "float32") / 255  # grey bytes to probabilities
        coins = keras.random.uniform(ops.shape(x), seed=self.coins)
        x = ops.cast(coins < x, "float32")  # B×28×28, tossed anew; black and white stays
        z = self.encoder(x)  # B×7×7×16
        codes, q = self.codebook(z, training=training)  # B×7×7, B×7×7×16
        straight = z + ops.stop_gradient(q - z)  # the value of q, the gradient of z
        return x, self.decoder(straight), z, codes, q

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        x, logits, z, _, q = y_pred
        nll, codebook, commitment = losses_keras(x, logits, z, q)
        for metric, value in zip(self.parts, (nll, commitment), strict=True):
            metric.update_state(value)
        return ops.mean(nll + codebook + self.beta * commitment)


def losses_keras(x, logits, z, q):
    """−log p(x|z_q), codebook loss and commitment, each of shape (B,): sums over an image."""
    nll = ops.sum(ops.binary_crossentropy(x, logits, from_logits=True), axis=(1, 2))
    codebook = ops.sum((ops.stop_gradient(z) - q) ** 2, axis=(1, 2, 3))  # moves the codebook only
    commitment = ops.sum((z - ops.stop_gradient(q)) ** 2, axis=(1, 2, 3))  # moves the encoder only
    return nll, codebook, commitment


# %% tags=["export", "keras"]
def adam_of(settings):
    """Adam with ε = 1e-8 (the paper's and PyTorch's), and the settings' schedule."""
    rate = settings.learning_rate
    if settings.schedule == "linear":
        rate = keras.optimizers.schedules.PolynomialDecay(rate, settings.steps, 0.0)
    return keras.optimizers.Adam(rate, epsilon=1e-8)


def fit_keras(model, x, y, settings, report, preview=None):
    """`fit` for as many steps as the settings have; the callback stops within the last epoch."""
    epochs = -(-settings.steps // -(-len(x) // settings.batch_size))
    reporter = keras_callback(report, preview, every=10, steps=settings.steps)
    how = {"batch_size": settings.batch_size, "epochs": epochs, "verbose": 0}
    model.fit(x, y, callbacks=[reporter], **how)
    return model


def train_keras(images, settings, report):
    """Train on uint8 images (N, 28, 28); stop when the steps are done or `report` says so."""
    data.check_batch(settings.batch_size, len(images))
    chosen = (settings.codes, settings.rule, settings.revive, settings.beta, settings.seed)
    vqvae = KerasVQVAE(*chosen)
    vqvae.compile(adam_of(settings))
    encode, decode = (functools.partial(f, vqvae) for f in (encode_keras, decode_keras))
    return fit_keras(vqvae, images, None, settings, report, preview_of(encode, decode, images))


def encode_keras(vqvae, x):
    """Codes (B, 7, 7) of black-and-white images (B, 28, 28)."""
    codes, _ = vqvae.codebook(vqvae.encoder(ops.convert_to_tensor(x)))
    return parity.to_numpy(codes)


def decode_keras(vqvae, codes):
    """Pixel logits (B, 28, 28) of codes (B, 7, 7)."""
    words = ops.take(vqvae.codebook.embeddings, ops.cast(codes, "int32"), axis=0)
    return parity.to_numpy(vqvae.decoder(words))


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The prior
#
# A mask of NumPy, kept as an attribute, is no weight: Keras neither trains nor saves it. The loss
# is an ordinary function of codes and logits, so `compile` and `fit` need nothing else.


# %% tags=["export", "keras"]
class KerasMasked(layers.Conv2D):
    """A convolution that sees only what comes before, in reading order."""

    def __init__(self, kind, filters, size, **kwargs):
        super().__init__(filters, size, padding="same", **kwargs)
        self.mask = causal_mask(kind, size)  # size×size×1×1

    def call(self, x):
        return ops.conv(x, self.kernel * self.mask, padding="same") + self.bias


def keras_block(h, name):
    """ReLU, 1×1, ReLU, masked 3×3, ReLU, 1×1, and the input added to it."""
    inner = layers.Conv2D(WIDTH // 2, 1, name=f"{name}__down")(ops.maximum(h, 0.0))
    inner = KerasMasked("B", WIDTH // 2, 3, name=f"{name}__masked")(ops.relu(inner))
    return h + layers.Conv2D(WIDTH, 1, name=f"{name}__up")(ops.relu(inner))


def keras_prior(codes):
    """A PixelCNN over the grid of codes: 7×7 → 7×7×K logits."""
    grid = keras.Input((GRID, GRID), dtype="int32")
    h = KerasMasked("A", WIDTH, 7, name="first")(ops.one_hot(grid, codes))  # 7×7×K → 7×7×32
    for block in range(BLOCKS):
        h = keras_block(h, f"blocks__{block}")
    return keras.Model(grid, layers.Conv2D(codes, 1, name="logits")(ops.relu(h)), name="prior")


def nats_keras(codes, logits):
    """−log p(z), shape (B,): a sum over the grid."""
    each = ops.sparse_categorical_crossentropy(codes, logits, from_logits=True)  # B×7×7
    return ops.sum(each, axis=(1, 2))


# %% tags=["export", "keras"]
def train_prior_keras(codes, settings, report):
    """Train on grids of codes (N, 7, 7); the loss is −log p(z) in nats."""
    data.check_batch(settings.batch_size, len(codes))
    prior = keras_prior(settings.codes)
    prior.compile(adam_of(settings), loss=nats_keras)
    return fit_keras(prior, codes, codes, settings, report)


def predict_keras(prior, codes):
    """Logits (B, 7, 7, K) of each code given the codes before it."""
    return parity.to_numpy(prior(ops.cast(codes, "int32")))


ways["keras"] = Way(
    *(KerasVQVAE, train_keras, encode_keras, decode_keras),
    *(keras_prior, train_prior_keras, predict_keras),
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights, made in NumPy, goes into each model, and a few made-up images through it:
# latents, codes, logits, all three losses, every gradient, one step of the moving averages, and the
# prior with its gradients must agree. Note what is *not* in the list of weights: the masks.

# %%
rng = np.random.default_rng(SEED)
bone = {"conv3": (3, 3, 32, 32), "conv1": (1, 1, 32, 32)}
layout = {"conv1": (4, 4, 1, 16), "conv2": (4, 4, 16, 32), "out": (1, 1, 32, 16)}
layout = {f"encoder.{name}": shape for name, shape in layout.items()}
ups = {"into": (3, 3, 16, 32), "up1": (4, 4, 16, 32), "up2": (4, 4, 1, 16)}  # up: h×w×out×in
layout |= {f"decoder.{name}": shape for name, shape in ups.items()}
for half, block in itertools.product(("encoder", "decoder"), ("res1", "res2")):
    layout |= {f"{half}.{block}.{name}": shape for name, shape in bone.items()}
grid = {"first": (7, 7, 64, 32), "logits": (1, 1, 32, 64)}
for block in range(BLOCKS):
    small = {"down": (1, 1, 32, 16), "masked": (3, 3, 16, 16), "up": (1, 1, 16, 32)}
    grid |= {f"blocks.{block}.{name}": shape for name, shape in small.items()}


def made_up(layout):
    """Kernels of the size that Glorot would draw, and biases."""
    weights = {}
    for name, shape in layout.items():
        channels = shape[2] if ".up" in name and shape[0] == 4 else shape[3]
        scale = math.sqrt(2 / (shape[0] * shape[1] * (shape[2] + shape[3])))
        weights[f"{name}.kernel"] = rng.normal(0, scale, shape).astype("float32")
        weights[f"{name}.bias"] = rng.normal(0, 0.05, channels).astype("float32")
    return weights


weights, prior_weights = made_up(layout), made_up(grid)
weights["codebook.embeddings"] = rng.normal(0, 0.5, (64, DIM)).astype("float32")
weights |= {"codebook.size": np.ones(64, "float32")}
weights |= {"codebook.sums": weights["codebook.embeddings"].copy()}
x_same = rng.integers(0, 2, (4, 28, 28)).astype("float32")  # four made-up binary images
k_same = rng.integers(0, 64, (4, 7, 7)).astype("int32")  # and four made-up grids of codes
evidence = {}  # framework -> the quantities to compare
names = ("logits", "latents", "codes", "quantised", "reconstruction", "codebook loss", "commitment")

# %% tags=["torch"]
model = TorchVQVAE(64, rule="loss")
parity.set_weights(model, weights)
outputs = model(torch.as_tensor(x_same))
losses = losses_torch(torch.as_tensor(x_same), outputs[0], outputs[1], outputs[3])
nll, codebook, commitment = (term.mean() for term in losses)
e = model.codebook.embeddings
(lost,) = torch.autograd.grad(nll, e, retain_graph=True, allow_unused=True)
print("The reconstruction's gradient for the codebook:", lost)
gradients = torch.autograd.grad(nll + codebook + 0.25 * commitment, parity.variables(model))
found = {n: parity.to_numpy(v) for n, v in zip(names, (*outputs, *losses), strict=True)}
found["gradients"] = parity.named_gradients(model, gradients)
moving = TorchVQVAE(64, rule="EMA", revive=False)
parity.set_weights(moving, weights)
moving.codebook.follow(outputs[1], outputs[2])
found["moving averages"] = parity.get_weights(moving)
prior = TorchPrior(64)
parity.set_weights(prior, prior_weights)
k = torch.as_tensor(k_same).long()
logits = prior(k)
nats = F.cross_entropy(logits.permute(0, 3, 1, 2), k, reduction="none").sum((1, 2)).mean()
found["prior"] = parity.to_numpy(logits)
gradients = torch.autograd.grad(nats, parity.variables(prior))
found["prior's gradients"] = parity.named_gradients(prior, gradients)
evidence["torch"], parameters = found, (parity.count(model), parity.count(prior))

# %% tags=["tensorflow"]
model = TFVQVAE(64, rule="loss")
parity.set_weights(model, weights)
with tf.GradientTape(persistent=True) as tape:
    outputs = model(x_same)
    losses = losses_tf(x_same, outputs[0], outputs[1], outputs[3])
    nll, codebook, commitment = map(tf.reduce_mean, losses)
    loss = nll + codebook + 0.25 * commitment
lost = tape.gradient(nll, model.codebook.embeddings)
print("The reconstruction's gradient for the codebook:", lost)
gradients = tape.gradient(loss, parity.variables(model))
gradients = list(map(tf.convert_to_tensor, gradients))  # gather's gradient comes as a list of rows
found = {n: parity.to_numpy(v) for n, v in zip(names, (*outputs, *losses), strict=True)}
found["gradients"] = parity.named_gradients(model, gradients)
moving = TFVQVAE(64, rule="EMA", revive=False)
parity.set_weights(moving, weights)
moving.codebook.follow(outputs[1], outputs[2])
found["moving averages"] = parity.get_weights(moving)
prior = TFPrior(64)
parity.set_weights(prior, prior_weights)
with tf.GradientTape() as tape:
    logits = prior(k_same)
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=k_same, logits=logits)
    nats = tf.reduce_mean(tf.reduce_sum(nats, [1, 2]))
found["prior"] = parity.to_numpy(logits)
gradients = tape.gradient(nats, parity.variables(prior))
found["prior's gradients"] = parity.named_gradients(prior, gradients)
evidence["tensorflow"], parameters = found, (parity.count(model), parity.count(prior))

# %% [markdown]
# Keras hides its gradients; one step of plain gradient descent at rate 1 *is* the gradient (as in
# `02_vae`). The moving averages are followed by a call with `training=True`.

# %% tags=["keras"]
model = KerasVQVAE(64, rule="loss", revive=False)
parity.set_weights(model, weights)
_, *outputs = model(x_same)
losses = losses_keras(x_same, outputs[0], outputs[1], outputs[3])
found = {n: parity.to_numpy(v) for n, v in zip(names, (*outputs, *losses), strict=True)}
model.compile(keras.optimizers.SGD(1.0))
model.train_on_batch(x_same)
after = parity.get_weights(model)
kept = ("codebook.size", "codebook.sums")  # state, moved by another rule
found["gradients"] = {n: weights[n] - after[n] for n in weights if n not in kept}
moving = KerasVQVAE(64, rule="EMA", revive=False)
parity.set_weights(moving, weights)
moving.codebook(outputs[1], training=True)
found["moving averages"] = parity.get_weights(moving)
prior = keras_prior(64)
parity.set_weights(prior, prior_weights)
found["prior"] = parity.to_numpy(prior(k_same))
prior.compile(keras.optimizers.SGD(1.0), loss=nats_keras)
prior.train_on_batch(k_same, k_same)
after = parity.get_weights(prior)
found["prior's gradients"] = {name: prior_weights[name] - after[name] for name in prior_weights}
evidence["keras"], parameters = found, (parity.count(model), parity.count(prior))

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
comparison = parity.compare(evidence, tolerance=1e-5)
print("{:,} parameters in each VQ-VAE, {:,} in each prior".format(*parameters))
print(comparison.verdict())

# %%
print(comparison.numbers())

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Whose gradient is it?
#
# PyTorch and TensorFlow answered `None`: between reconstruction and codebook there is no path at
# all. In Keras we cannot ask, but can check: with nothing from the reconstruction, the codebook's
# gradient must be $\frac{2}{B} \sum_{z \to k} (e_k - z)$, the codebook loss's own, to the last digit.


# %%
def loss_of_the_codebook_alone(z, codes, e):
    """The gradient that the codebook loss has by itself, K×D."""
    gradient = np.zeros_like(e)
    np.add.at(gradient, codes.ravel(), 2 * (e[codes] - z).reshape(-1, DIM) / len(z))
    return gradient


for name, found in evidence.items():
    alone = loss_of_the_codebook_alone(
        found["latents"], found["codes"], weights["codebook.embeddings"]
    )
    gap = np.abs(alone - found["gradients"]["codebook.embeddings"]).max()
    print(f"{runtime.LABELS[name]:<11} codebook's gradient = the codebook loss's: {gap < 1e-4}")

# %% [markdown]
# And the masks: half of each masked kernel's gradient is exactly zero, so what stands there never
# counts and never moves.

# %%
for name, found in evidence.items():
    hidden = found["prior's gradients"]["first.kernel"] * (1 - causal_mask("A", 7))
    stored = [weight for weight in found["prior's gradients"] if "mask" in weight.split(".")]
    label = f"{runtime.LABELS[name]:<11}"
    print(f"{label} nothing behind the mask: {not hidden.any()}; masks stored: {len(stored)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Train it
#
# First stage: encoder, codebook and decoder together. The preview shows eight training images and
# their reconstructions. Try both rules for the codebook, and switch revival off.

# %%
start = QUICK if session.quick else FULL
most = max(1000, start["steps"])
controls = [
    Slider("learning_rate", start["learning_rate"], 1e-5, 1e-1, log=True, help="Adam's step size"),
    Slider("beta", start["beta"], 0.0, 5.0, step=0.05, help="weight of the commitment"),
    Slider("codes", start["codes"], 2, 512, help="K, the size of the codebook"),
    Choice("rule", start["rule"], ["EMA", "loss"], help="how the codebook learns"),
    Toggle("revive", start["revive"], help="move dead codes to where vectors are"),
    Slider("batch_size", start["batch_size"], 8, 256, step=8, help="images in a step"),
    Slider("steps", start["steps"], 50, most, step=50, help="steps of the optimiser"),
    Choice("schedule", start["schedule"], ["constant", "linear"], help="linear: falls to 0"),
]


def test_codes(model, settings):
    """How well 300 test images are rebuilt, and how the codebook is used: for the panel's table."""
    codes, nll = reconstruction_nats(ways[settings.framework], model, x_test[:300])
    share = usage(codes, settings.codes)
    counts = {"perplexity": perplexity(share), "live codes": int((share > 0).sum())}
    return {"−log p(x|z), test": float(nll.mean()), **counts}


trainers = {name: functools.partial(way.train, x_train) for name, way in ways.items()}
panel = Panel(trainers, controls, title="VQ-VAE", summary=test_codes)
panel.show()

# %% [markdown]
# No front end is needed. Here is the paper's own rule, the codebook loss, from a script:

# %%
name, *_ = ways  # the first of your frameworks
settings = settings_of(controls, name, SEED, rule="loss", steps=100)
model = run(trainers[name], settings, "VQ-VAE with the codebook loss", every=50)
print({key: round(value, 1) for key, value in test_codes(model, settings).items()})

# %% [markdown] slideshow={"slide_type": "slide"}
# ### A model that has had its time
#
# Two checkpoints, one of 64 codes and one of 8, each with its prior, trained for longer. They load
# into whichever framework you run. (Their numbers are in part 10.)

# %%
trained = {}  # framework, K -> VQ-VAE and prior
for (name, way), K in itertools.product(ways.items(), (64, 8)):
    stem = "06_vq_vae" if K == 64 else f"06_vq_vae_{K}"
    vqvae, prior = way.build(K), way.build_prior(K)
    checkpoint = checkpoints.load_into(vqvae, stem)
    checkpoints.load_into(prior, f"{stem}_prior")
    trained[name, K] = vqvae, prior
    if name == next(iter(ways)):
        print(f"{checkpoint.info['what']}, in {runtime.LABELS[name]}.")
name, *_ = ways
way, (vqvae, prior) = ways[name], trained[name, 64]
codes, _ = reconstruction_nats(way, vqvae, x_test[first])
rebuilt = [
    probability(way.decode(trained[name, K][0], way.encode(trained[name, K][0], x_test[first])))
    for K in (64, 8)
]
alt = "ten binarised test digits; below them rebuilt from 49 of 64 codes, and from 49 of 8"
plots.show(plots.grid(np.concatenate([x_test[first], *rebuilt]), columns=10, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Second stage: the prior, on the codes of the training images. It starts at $49 \log K$ nats, which
# is what uniform codes cost.

# %%
coder, _ = trained[name, 8]
grids = codes_of(functools.partial(way.encode, coder), x_train[:5000], SEED)  # N×7×7
prior_controls = [
    Slider("learning_rate", PRIOR["learning_rate"], 1e-5, 1e-1, log=True, help="Adam's step size"),
    Slider("codes", 8, 8, 512, help="K: 8, or more than there are"),
    Slider("batch_size", start["batch_size"], 8, 256, step=8, help="grids in a step"),
    Slider("steps", 100, 50, most, step=50, help="steps of the optimiser"),
    Choice("schedule", PRIOR["schedule"], ["constant", "linear"], help="linear: falls to 0"),
]


def test_price(model, settings):
    """The price of the codes of 300 test images: for the panel's table."""
    codes = way.encode(coder, x_test[:300])
    return {"−log p(z), test": float(prior_nats(ways[settings.framework], model, codes).mean())}


prior_trainers = {n: functools.partial(w.train_prior, grids) for n, w in ways.items()}
Panel(prior_trainers, prior_controls, title="Prior", summary=test_price).show()
print(f"Uniform codes: {49 * math.log(8):.1f} nats.")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### A digit as 49 words
#
# The numbers have no order, so their colours are taken from the codebook: each code's vector, seen
# along its three main directions, as red, green and blue. Like colours are like codes. Then change
# one word and see what it meant.

# %%
from matplotlib.patches import Rectangle


def palette(vqvae):
    """A colour (K, 3) for each code: its vector's first three principal components."""
    e = parity.get_weights(vqvae)["codebook.embeddings"]
    e = e - e.mean(axis=0)
    axes = np.linalg.svd(e, full_matrices=False)[2][:3]  # 3×D
    rank = np.argsort(np.argsort(e @ axes.T, axis=0), axis=0)  # even shares of each colour
    return 0.25 + 0.75 * rank / len(e)


def tile(pixels):
    """Grey images (N, 28, 28) as colour."""
    return np.repeat(np.asarray(pixels)[..., None], 3, axis=-1)


colours = palette(vqvae)


def change(digit, row, column, code):
    """A digit's codes, its reconstruction, and the reconstruction with one code changed."""
    before = way.encode(vqvae, x_test[first[digit]][None])  # 1×7×7
    after = before.copy()
    after[0, row - 1, column - 1] = code
    old, new = probability(way.decode(vqvae, np.concatenate([before, after])))
    fig, axes = plots.figure(columns=4, width=9, height=2.6)
    axes[0].imshow(colours[after[0]])
    for i, j in itertools.product(range(GRID), range(GRID)):
        axes[0].text(j, i, after[0, i, j], ha="center", va="center", fontsize=8)
    frame = {"fill": False, "edgecolor": "black", "linewidth": 2}
    axes[0].add_patch(Rectangle((column - 1.5, row - 1.5), 1, 1, **frame))
    for ax, picture, limit in zip(axes[1:], (old, new, new - old), (0, 0, -1), strict=True):
        ax.imshow(picture, cmap="gray" if limit == 0 else "RdBu_r", vmin=limit, vmax=1)
    for ax, title in zip(axes, ("codes", "rebuilt", "one changed", "difference"), strict=True):
        ax.set(xticks=[], yticks=[], title=title)
    return fig


# %%
Explorer(
    change,
    [
        Slider("digit", 3, 0, 9, help="which test digit"),
        Slider("row", 4, 1, 7, help="row of the code to change"),
        Slider("column", 4, 1, 7, help="its column"),
        Slider("code", 20, 0, 63, help="what it is changed to"),
    ],
    title="Change one code",
    alt="a 3 as a 7 by 7 grid of coloured numbers, its reconstruction, the same with one code "
    "changed, and the difference, nearly all of it around that code",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Written row by row
#
# To draw a new image, start with an empty grid. Ask the prior for the first code, draw it, put it
# in, ask for the second … 49 passes, each of which uses one of the 49 predictions. The decoder turns
# the full grid into an image at once. Below, places not yet written are filled with the code for
# empty paper.


# %%
@functools.lru_cache(maxsize=16)
def draw_codes(K, n, seed):
    """n grids of codes (n, 7, 7) from the prior, drawn code by code."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((n, GRID, GRID), "int64")
    for row, column in itertools.product(range(GRID), range(GRID)):
        logits = way.predict(trained[name, K][1], codes)[:, row, column]  # n×K
        codes[:, row, column] = (logits + rng.gumbel(size=logits.shape)).argmax(-1)
    return codes


paper = np.bincount(way.encode(vqvae, x_test[:200])[:, 0, 0]).argmax()  # in a corner


def write(rows, seed):
    """Above, eight grids of codes, written down to a row; below, what they decode to."""
    codes = draw_codes(64, 8, seed).copy()
    cells = colours[codes]  # 8×7×7×3
    codes[:, rows:], cells[:, rows:] = paper, 0.1
    cells = cells.repeat(4, axis=1).repeat(4, axis=2)  # 8×28×28×3
    images = tile(probability(way.decode(vqvae, codes)))
    return plots.grid(np.concatenate([cells, images]), columns=8, scale=2)


Explorer(
    write,
    [
        Slider("rows", 5, 0, 7, help="rows that the prior has written"),
        Slider("seed", 0, 0, 99, help="another eight"),
    ],
    title="Written row by row",
    alt="eight coloured grids, written down to the fifth row, and below them eight digits, whose "
    "lower parts are still missing",
).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### A dead codebook
#
# Codes begin in a small cube around zero, as is usual. We train with 64 codes, with and without
# revival; with 512 codes; and with 64 and no commitment. **First commit to a prediction.**

# %%
exercises.predict(
    "Without revival, how many of the 64 codes are in use after 100 steps?",
    ["all 64", "about half", "fewer than 16"],
    key="dead codes",
)
exercises.predict(
    "Which prior's samples look like digits: uniform codes, or the PixelCNN's?",
    ["both: the decoder knows only digits", "the PixelCNN's only", "neither"],
    key="uniform prior",
)

# %%
cases = {
    "64 codes, revival": {},
    "64 codes": {"revive": False},
    "64 codes, β = 0": {"revive": False, "beta": 0.0},
    "512 codes": {"revive": False, "codes": 512},
}
rows, live = [], {}
print(f"{'100 steps':<20}{'−log p(x|z)':>14}{'perplexity':>14}{'live codes':>14}")
for case, changes in cases.items():
    chosen = settings_of(controls, name, SEED, **{"steps": 100, **changes})
    runtime.seed_everything(SEED)
    model = way.train(x_train, chosen, lambda *_: True)
    codes, nll = reconstruction_nats(way, model, x_test[:300])
    share = usage(codes, chosen.codes)
    live[case] = int((share > 0).sum())
    print(f"{case:<20}{nll.mean():>14.1f}{perplexity(share):>14.1f}{live[case]:>14}")
    rows.append(probability(way.decode(model, way.encode(model, x_test[first]))))
alt = "the same ten digits rebuilt in the four cases, none of them sharp yet; a blur at β = 0"
plots.show(plots.grid(np.concatenate(rows), columns=10, scale=2), alt=alt)
found = live["64 codes"]
verdict = "fewer than 16" if found < 16 else "about half" if found < 48 else "all 64"
exercises.reveal("dead codes", verdict)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** At the start all vectors lie together, and so do all codes. A few codes happen to be
# nearest, are pulled along, and get nearer still; the rest are dead before they were ever asked.
# More codes are no remedy: of 512, nearly all are dead as well. Revival moves the dead to where the
# vectors are, and they begin to compete; given more steps, all 64 are in use (part 10).
#
# Without **commitment** nothing keeps the encoder's vectors near their codes: they grow and drift,
# the straight-through gradient is taken at a code and applied to a vector far from it, and fewer
# codes still are chosen. Look at perplexity and live codes, not at the loss: a dead codebook still
# trains, as a smaller one.

# %%
rng = np.random.default_rng(SEED)
uniform = rng.integers(0, 64, (10, GRID, GRID))
pictures = [probability(way.decode(vqvae, z)) for z in (uniform, draw_codes(64, 10, 1))]
pictures.append(probability(way.decode(coder, draw_codes(8, 10, 1))))
alt = (
    "ten images from uniform codes: scribbles; ten from the prior over 64 codes, and ten from the "
)
alt += "one over 8: strokes that meet, many of them digits"
plots.show(plots.grid(np.concatenate(pictures), columns=10, scale=2), alt=alt)
exercises.reveal("uniform prior", "the PixelCNN's only")

# %% [markdown]
# **Explain.** The uniform prior of the first stage was a convenience of training, not a description
# of the codes. Each place is decoded into a plausible stroke, but nobody sees to it that strokes
# meet. The first stage alone is **no generator**, however good its reconstructions.
#
# Compare the last two rows as well: 8 codes rebuild an image less well than 64, and yet write the
# better digits, because they are easier to foresee. Part 10 puts numbers to this. (Our PixelCNN is
# small, and it has a *blind spot*: stacked masked 3×3 kernels miss a wedge to the upper right. The
# gated PixelCNN of the same year mends that.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# The code is a function of the image, so there is no posterior to average over; but one code gives
# a bound, since $p(x) = \sum_z p(x \mid z)\,p(z)$ has no negative terms:
#
# $$-\log p(x) \;\le\; -\log p(x \mid z_q(x)) - \log p(z), \qquad
#   \text{bits per dimension} = \frac{\text{nats}}{784 \log 2}.$$
#
# It is the length of a message: first the codes, then the pixels for someone who has the codes.
# Likelihood, images and tosses are those of `02_vae`, so the bits can be compared. Here on 200
# test images, in each framework:

# %%
columns = ("−log p(x|z)", "−log p(z)", "nats", "bits/dim", "perplexity", "live")
print(f"{'':<20}" + "".join(f"{column:>13}" for column in columns))
for (framework, K), (vqvae_k, prior_k) in trained.items():
    codes, nll = reconstruction_nats(ways[framework], vqvae_k, x_test[:200])
    price = prior_nats(ways[framework], prior_k, codes)
    total, share = (nll + price).mean(), usage(codes, K)
    values = (nll.mean(), price.mean(), total, total / (784 * math.log(2)), perplexity(share))
    cells = "".join(f"{v:>13.{d}f}" for v, d in zip(values, (1, 1, 1, 3, 1), strict=True))
    label = f"{runtime.LABELS[framework]}, K = {K}"
    print(f"{label:<20}{cells}{(share > 0).sum():>13}")

# %% [markdown]
# And on the whole test set, recorded by `make results`:

# %%
from utils import results

results.show("06_vq_vae")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The bill
#
# **We have not reached what we aimed at**: neither model comes below the VAE of `02_vae` on these
# images, and the larger codebook, whose reconstructions are the better ones, is further away. Why?
# In the first stage a code costs nothing, so the encoder buys all it can. Beyond the digit's shape
# there is only one thing left to buy: the coins.

# %%
grey = np.clip(digits.x_test[:1000] / 255, 1e-12, 1 - 1e-12)
tossing = -(grey * np.log(grey) + (1 - grey) * np.log(1 - grey)).sum((1, 2)).mean()
print(f"The tosses of a test image hold {tossing:.1f} nats of chance, digit or no digit.")
tosses = [data.binarise(digits.x_test[:200], np.random.default_rng(seed)) for seed in (1, 2)]
for K in (64, 8):
    one, two = (way.encode(trained[name, K][0], x) for x in tosses)
    print(
        f"K = {K:>2}: {(one != two).mean():.0%} of the codes differ between two tosses of an image"
    )

# %% [markdown]
# A reconstruction that costs less than the tosses' chance, as with 64 codes, must have been told about
# them, by the codes. There no prior can foresee them, and what was saved on the pixels is paid on the codes, with
# interest. The VAE is spared this: its KL charges for information while the encoder trains, and its
# noise carries away what is not worth its price. A deterministic code has neither.
#
# So $K$ is no dial for quality alone: compare models by the **sum** of both prices.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()` shows
# one. Each works on NumPy arrays.

# %% [markdown]
# **1. The nearest.** For each vector, the number of its code.


# %%
def quantise(z, codebook):
    """Numbers, shape (N,), of the nearest of the codes (K, D) to each row of z (N, D)."""
    return ...  # your code


questions.quantise.check(quantise)
# questions.quantise.hint()
# questions.quantise.solution()

# %% [markdown]
# **2. Straight through.** What reaches the encoder?


# %%
def encoder_gradient(gradient, z, q, beta):
    """The whole loss's gradient at z (N, D), from the reconstruction's gradient at q (N, D)."""
    return ...  # your code


questions.encoder_gradient.check(encoder_gradient)

# %% [markdown]
# **3. How many codes?** $e^H$ of the codes' shares; some codes may never occur.


# %%
def perplexity_of(codes, K):
    """The perplexity of an array of codes from 0 to K − 1: one number."""
    return ...  # your code


questions.perplexity_of.check(perplexity_of)

# %% [markdown]
# **4. The bits.** From the two prices in nats.


# %%
def bits_per_dim(nll, prior, pixels):
    """Bits for each pixel, shape (N,), from −log p(x|z) and −log p(z) in nats, (N,) each."""
    return ...  # your code


questions.bits_per_dim.check(bits_per_dim)

# %% [markdown]
# **5. Count.** How many trained parameters has the VQ-VAE of part 3 with 64 codes, when a loss trains
# the codebook? Do it by hand, layer by layer, then check.

# %%
questions.parameter_count.check(...)  # your number

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - Three terms, three addressees. Reconstruction: decoder and, straight through, encoder. Codebook
#   loss (or moving averages): codebook. Commitment: encoder. The codebook gets nothing from the
#   reconstruction.
# - A codebook dies quietly. Watch live codes and perplexity; revive; and make sure that the codebook
#   is a weight which your framework knows.
# - The first stage compresses; only with a prior over its codes does it generate.
# - Count **both** prices: pixels given codes, and codes. More codes lower the first and raise the
#   second.
# - A mask belongs to the architecture: neither trained nor stored.
#
# | use | when |
# |---|---|
# | a VQ-VAE with a prior | the code should be discrete: for a sequence model to write, to store, to send |
# | a VAE | you want a smooth code to walk in, one stage, and the better bound of the two here |
# | a plain autoencoder | you only need compression or anomaly scores |
# | a GAN | only the look of samples counts, and no likelihood is needed |
#
# You may read that VQ-VAEs are *better* or *more efficient* than VAEs. The paper reports 4.67 bits per
# dimension on CIFAR-10, against 4.51 for its VAE: close, and not better.
#
# **Further reading.** van den Oord et al. ([2017](https://arxiv.org/abs/1711.00937)); the gated
# PixelCNN, which has no blind spot (van den Oord et al., [2016](https://arxiv.org/abs/1606.05328));
# Razavi et al., *VQ-VAE-2* ([2019](https://arxiv.org/abs/1906.00446)), with grids above grids.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [DCGAN](../02_gans/07_dcgan.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/02_gans/07_dcgan.ipynb))
# - **Previous:** [Adversarial autoencoders](05_aae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/05_aae.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
