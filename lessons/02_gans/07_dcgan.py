# ---
# jupyter:
#   course:
#     title: "DCGAN"
#     summary: "Two networks play a game until one draws digits: the rules that made it playable, one by one."
#     minutes: {cpu: 55, gpu: 50}
#     prerequisites:
#       - "convolutions and their transposes (01)"
#       - "the adversarial autoencoder (05): a discriminator, and logits"
#     objectives:
#       - "write the two halves of a GAN's training step in PyTorch, TensorFlow and Keras"
#       - "say why the generator's loss is not the discriminator's with a minus sign"
#       - "build batch normalisation by hand, and tell its two modes apart"
#       - "name the rules of DCGAN, and what each is for"
#       - "provoke mode collapse, measure it, and pack against it"
#       - "judge samples by four numbers, each beside its floor"
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
# # DCGAN
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/02_gans/07_dcgan.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/02_gans/07_dcgan.ipynb)
#
# Two networks play a game until one draws digits: the rules that made it playable, one by one.
#
# **Time:** about 55 minutes on a CPU, 50 on a GPU.
#
# **Before you start:** convolutions and their transposes (01); the adversarial autoencoder (05): a discriminator, and logits.
#
# **What you will be able to do:**
#
# - write the two halves of a GAN's training step in PyTorch, TensorFlow and Keras
# - say why the generator's loss is not the discriminator's with a minus sign
# - build batch normalisation by hand, and tell its two modes apart
# - name the rules of DCGAN, and what each is for
# - provoke mode collapse, measure it, and pack against it
# - judge samples by four numbers, each beside its floor

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
from utils.exercises import dcgan as questions
from utils.explore import Explorer
from utils.panel import Panel, keras_callback

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# A generative adversarial network (Goodfellow et al., [2014](https://arxiv.org/abs/1406.2661)) is two
# networks and a game. The **generator** $G$ turns random numbers $z$ into an image. The
# **discriminator** $D$ says how likely an image is to be real. $D$ is paid for telling the two apart,
# $G$ for being taken for real:
#
# $$\min_{G} \max_{D}\;\; \mathbb E_{x}[\log D(x)] + \mathbb E_{z}[\log(1 - D(G(z)))].$$
#
# Nobody compares a sample with a target, pixel by pixel, so nothing asks for the average of all
# answers, which is what blurs an autoencoder's. Against the best discriminator,
# $D^* = p_x / (p_x + p_G)$, the game's value is $2\,\mathrm{JS}(p_x, p_G) - \log 4$ (05 has the
# numbers): it is least where samples are spread as the data are.
#
# That is the theory. In practice neither network is ever best, and early GANs of images would not
# train. **DCGAN** (Radford, Metz and Chintala, [2016](https://arxiv.org/abs/1511.06434)) found
# convolutional networks that did. It adds no formula; it is a list of rules.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The rules
#
# | the paper's rule | in this notebook |
# |---|---|
# | no pooling: strided convolutions shrink, transposed ones enlarge | kernel 4, stride 2 |
# | BatchNorm in both networks, but not at $G$'s output nor $D$'s input | `norm` |
# | no hidden dense layers | one projection of $z$, one output |
# | $G$: ReLU, and tanh at the end; images in −1…1 | `squash` |
# | $D$: LeakyReLU with slope 0.2 | `slope` |
# | all weights from a normal distribution, mean 0, standard deviation 0.02 | `deviation` |
# | Adam, rate 0.0002, $\beta_1$ = 0.5 instead of 0.9 | `beta1` |
# | $z$ uniform (of 100 numbers; we take 64, in −1…1) | `prior` |
#
# Each is a switch here. In part 9 you break them one by one. (The paper's batches have 128 images,
# ours 64, and our networks are narrow, so that a laptop can play.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two losses for the generator
#
# In the formula $G$ minimises $\log(1 - D(G(z)))$: that is the **minimax** loss. At the start, when
# samples are poor, $D$ is sure that they are, and there this loss is flat. So the same paper goes on
# and has $G$ minimise $-\log D(G(z))$ instead: the **non-saturating** loss, which
# almost every GAN since means by "the" loss. It is not the discriminator's with another sign.
#
# Let $s$ be $D$'s logit of a sample, $D = \sigma(s)$. The two slopes are
#
# $$\frac{d}{ds} \log(1 - \sigma(s)) = -\sigma(s), \qquad
#   \frac{d}{ds} \left(-\log \sigma(s)\right) = \sigma(s) - 1.$$

# %%
s = np.linspace(-8, 8, 161)
D = 1 / (1 + np.exp(-s))
fig, axes = plots.figure(columns=2, width=9, height=3)
for ax, curves_of in zip(
    axes, ((-np.logaddexp(0, s), np.logaddexp(0, -s)), (D, 1 - D)), strict=True
):
    for values, name, style in zip(
        curves_of, ("minimax", "non-saturating"), ("--", "-"), strict=True
    ):
        ax.plot(s, values, style, label=name)
    ax.axvspan(-8, -3, color="#eeeeee")
    ax.set(xlabel="logit s of a sample")
axes[0].set(title="what the generator pays")
axes[1].set(title="how strongly it is pulled, −d/ds")
axes[0].legend()
alt = (
    "two panels over the logit: both losses fall to the right; in the grey region of samples that D "
    "recognises, the minimax loss is flat and its pull near 0, the non-saturating pull near 1"
)
plots.show(fig, alt=alt)

# %% [markdown]
# In the grey region $D$ sees through the samples. There the minimax pull is $D$ itself, nearly
# nothing; the other is $1 - D$, nearly one. Both losses want the same thing and, where $D = 1/2$,
# pull alike. (05's encoder was taught by the same loss. There $D$ saw codes; here it sees images.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# MNIST digits in grey. tanh gives −1…1, so images are brought into that range: ink is 1, paper −1.
# Labels are for judging alone; neither player sees one.

# %%
digits = data.mnist()
print(digits.describe())
plots.show(plots.grid(digits.x_test[:20], columns=20, scale=2), alt="twenty grey test digits")
x_train, y_train = digits.x_train, digits.y_train  # N×28×28, uint8; N
x_test = digits.x_test.astype("float32") / 255  # N×28×28, 0…1

# %% [markdown]
# ### What the three sections share
#
# The settings, with every rule among them; `draw_z`; and `feed`, which deals each step its images and
# two fresh batches of $z$, one for each half of the step. All randomness of a run but the initial
# weights comes from there.

# %% tags=["export"]
SIDE = 28
RULES = {"prior": "uniform", "deviation": 0.02, "norm": "paper", "slope": 0.2}
RULES |= {"squash": "tanh", "resize": "strided", "beta1": 0.5}
QUICK = {"learning_rate": 2e-4, "loss": "non-saturating", "latents": 64, "width": 16}
QUICK |= {"channels": 1, "pack": 1, "batch_size": 64, "steps": 300, **RULES}
FULL = {**QUICK, "width": 32, "steps": 15_000}
STACKED = {**QUICK, "latents": 20, "channels": 3, "steps": 5_000}

BREAKS = {  # what part 9 says of each
    "as the paper has it": {},
    "pooling, no strides": {"resize": "pooled"},
    "no BatchNorm": {"norm": "nowhere"},
    "BatchNorm everywhere": {"norm": "everywhere"},
    "sigmoid, pixels 0…1": {"squash": "sigmoid"},
    "ReLU in D": {"slope": 0.0},
    "kernels N(0, 0.2²)": {"deviation": 0.2},
    "β₁ = 0.9": {"beta1": 0.9},
    "Gaussian z": {"prior": "gaussian"},
}
PLANE = {"latents": 8, "prior": "uniform", "hidden": 64, "learning_rate": 1e-3, "beta1": 0.5}

Way = collections.namedtuple("Way", "build train generate score players")
Losses = collections.namedtuple("Losses", "judge fool")  # of (real, fake) logits; of fake logits
ways = {}  # framework -> its five functions, filled by the sections


# %% tags=["export"]
def draw_z(n, settings, rng):
    """n points (n, latents) for the generator to start from."""
    if settings.prior == "uniform":
        return rng.uniform(-1, 1, (n, settings.latents)).astype("float32")
    return rng.standard_normal((n, settings.latents), dtype="float32")


def check_pack(settings):
    """A batch must fall into whole packs."""
    if settings.batch_size % settings.pack:
        raise CourseError(
            f"A batch of {settings.batch_size} does not fall into packs of {settings.pack}: "
            "choose a multiple."
        )


def feed(images, settings, start=0):
    """What each step eats: images (B, 28, 28, C) as bytes, and a z for each half of the step."""
    n = data.check_batch(settings.batch_size, len(images))
    check_pack(settings)
    images = images.reshape(len(images), SIDE, SIDE, settings.channels)
    rng = np.random.default_rng([settings.seed, start])
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    steps = settings.steps - start
    for index in itertools.islice(itertools.chain.from_iterable(epochs), steps):
        z = [draw_z(len(index), settings, rng) for _ in range(2)]  # B×latents, twice
        yield images[index], *z


# %% [markdown]
# Next, the range of pixels, and what the panel will show: 36 samples, always from the same $z$, and
# below them both losses so far. In a game a falling loss proves nothing, since it depends on the
# other player: **look at the samples**.


# %% tags=["export"]
def spread(images, settings):
    """0…1 (NumPy or a tensor) to the range that the generator's last layer has."""
    return 2 * images - 1 if settings.squash == "tanh" else images


def unspread(pixels, settings):
    """And back."""
    return (pixels + 1) / 2 if settings.squash == "tanh" else pixels


class Watch:
    """Hands reports on, with a picture: samples from fixed z above, both losses so far below."""

    def __init__(self, report, way, gan, settings):
        self.report, self.losses = report, []
        self.draw = lambda z: way.generate(gan, z)
        self.z = draw_z(36, settings, np.random.default_rng(0))

    def __call__(self, step, logs, preview=None):
        self.losses.append((logs["discriminator"], logs["generator"]))
        return self.report(step, logs, self.picture)

    def picture(self):
        samples = self.draw(self.z)  # 36×28×28×C
        samples = samples[..., 0] if samples.shape[-1] == 1 else samples
        sheet = plots.grid(samples, columns=12)  # 92×362
        sheet = sheet if sheet.ndim == 3 else np.stack([sheet] * 3, axis=2)
        return np.vstack([sheet, curves(self.losses, *sheet.shape[1::-1])])


# %% tags=["export"]
def curves(losses, width, height):
    """Both losses as a picture: the discriminator's in blue, the generator's in orange."""
    canvas = np.full((height, width, 3), 255, np.uint8)
    values = np.array(losses)  # steps×2
    low, high = min(0, values.min()), max(2, np.quantile(values, 0.99))
    place = np.linspace(0, len(values) - 1, 4 * width)  # four dots for each column
    canvas[int((high - 0) / (high - low) * (height - 2)), ::3] = 128  # zero, dotted
    for player, colour in enumerate(((0, 114, 178), (230, 120, 0))):
        heights = np.interp(place, np.arange(len(values)), values[:, player])
        rows = ((high - heights.clip(low, high)) / (high - low) * (height - 2)).astype(int)
        columns = np.arange(4 * width) // 4
        canvas[rows, columns] = canvas[rows + 1, columns] = colour
    return canvas


# %% [markdown]
# Last, the players of a game in the plane, for the playground of part 8: two small networks whose
# whole world can be drawn.


# %% tags=["export"]
def belief(scores, loss):
    """What a logit says as a probability: 0 made … 1 real."""
    return 1 / (1 + np.exp(-scores))


class Players:
    """The two players of a game in the plane, with NumPy at the borders, for `utils.playground`."""

    def __init__(self, game_of, losses, opinion):
        self.game_of, self.table, self.opinion = game_of, losses, opinion
        self.losses = tuple(losses)
        self.settings = SimpleNamespace(**PLANE, loss=self.losses[0])
        self.reset(0)

    def reset(self, seed):
        runtime.seed_everything(seed)
        self.rng = np.random.default_rng(seed)
        self.game = self.game_of(self.settings, self.table)

    def draws(self, count, rng):
        return draw_z(count, self.settings, rng)

    def step_d(self, real, loss, rate):
        z = self.draws(len(real), self.rng)
        return float(self.game.step_d(real, z, np.float32(rate), self.table[loss]))

    def step_g(self, count, loss, rate):
        z = self.draws(count, self.rng)
        return float(self.game.step_g(z, np.float32(rate), self.table[loss]))

    def field(self, points, loss):
        return self.opinion(self.game.scored(points), loss)

    def samples(self, count):
        return self.game.made(self.draws(count, np.random.default_rng(1)))


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* The generator projects $z$ to 7×7 pixels of many channels and
# doubles the side twice. Read the comments for the shapes, and look where BatchNorm is missing.
# (`torch_up`, `torch_down` and `torch_norm` are a transposed convolution, a convolution and a
# `BatchNorm2d`; below you see how their switches work.)

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchGenerator(nn.Module):
    """z → image: one projection, then the side doubles twice."""

    def __init__(self, settings):
        super().__init__()
        s, w = settings, settings.width
        plain = s.norm == "nowhere"  # a bias before a BatchNorm would be subtracted again
        self.project = nn.Linear(s.latents, 7 * 7 * 2 * w, bias=plain)
        self.norm1 = torch_norm(2 * w, not plain)
        self.up1 = torch_up(2 * w, w, s, bias=plain)
        self.norm2 = torch_norm(w, not plain)
        self.up2 = torch_up(w, s.channels, s)
        self.norm3 = torch_norm(s.channels, s.norm == "everywhere")
        self.squash = torch.tanh if s.squash == "tanh" else torch.sigmoid
        torch_start(self, s.deviation)

    def forward(self, z):  # B×latents
        h = self.project(z).unflatten(1, (7, 7, -1)).permute(0, 3, 1, 2)  # → 2w×7×7
        h = F.relu(self.norm1(h))
        h = F.relu(self.norm2(self.up1(h)))  # → w×14×14
        return self.squash(self.norm3(self.up2(h)))  # → C×28×28, −1…1


# %% tags=["export", "torch"]
class TorchDiscriminator(nn.Module):
    """Image (or a pack of them) → one logit: the side halves twice, by strides."""

    def __init__(self, settings):
        super().__init__()
        s, w = settings, settings.width
        self.pack, self.slope = s.pack, s.slope
        plain = s.norm == "nowhere"
        self.conv1 = torch_down(s.channels * s.pack, w, s, bias=s.norm != "everywhere")
        self.norm1 = torch_norm(w, s.norm == "everywhere")
        self.conv2 = torch_down(w, 2 * w, s, bias=plain)
        self.norm2 = torch_norm(2 * w, not plain)
        self.out = nn.Linear(7 * 7 * 2 * w, 1)
        torch_start(self, s.deviation)

    def forward(self, x):  # B×C×28×28
        x = x.reshape(-1, x.shape[1] * self.pack, *x.shape[2:])  # a pack is one deep image
        h = F.leaky_relu(self.norm1(self.conv1(x)), self.slope)  # → w×14×14
        h = F.leaky_relu(self.norm2(self.conv2(h)), self.slope)  # → 2w×7×7
        return self.out(h.permute(0, 2, 3, 1).flatten(1))  # → B/pack×1


# %% [markdown]
# A layer before a BatchNorm needs no bias: the mean is subtracted right after it. Nor would Adam let a
# useless one rest: its gradient is a rounding error, which Adam divides by its own size.
#
# One thing to know when you read other code: `BatchNorm2d(n, 0.8)`, as a much-copied collection of
# GANs has it, sets not the momentum but the second argument, $\epsilon$ = 0.8.


# %% tags=["export", "torch"]
def torch_norm(channels, wanted=True):
    """Batch normalisation as the other sections have it, or nothing."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1) if wanted else nn.Identity()


def torch_start(net, deviation):
    """All kernels from N(0, deviation²), all biases 0."""
    for name, parameter in net.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, 0, deviation)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


# %% tags=["export", "torch"]
class TorchPooled(nn.Conv2d):
    """For part 9: resize without strides, by pooling (halve) or by repeating pixels (double)."""

    def forward(self, x):
        x = F.interpolate(x, scale_factor=2) if self.double else x
        h = super().forward(F.pad(x, (1, 2, 1, 2)))  # TensorFlow's "same" for a kernel of 4
        return h if self.double else F.max_pool2d(h, 2)


def torch_resize(n_in, n_out, settings, bias, double):
    if settings.resize == "strided":
        kind = nn.ConvTranspose2d if double else nn.Conv2d
        return kind(n_in, n_out, 4, stride=2, padding=1, bias=bias)
    layer = TorchPooled(n_in, n_out, 4, bias=bias)
    layer.double = double
    return layer


def torch_up(n_in, n_out, settings, bias=True):
    return torch_resize(n_in, n_out, settings, bias, double=True)


def torch_down(n_in, n_out, settings, bias=True):
    return torch_resize(n_in, n_out, settings, bias, double=False)


class TorchGAN(nn.Module):
    """Both players in one module: one checkpoint, one comparison."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.generator = TorchGenerator(settings)
        self.discriminator = TorchDiscriminator(settings)


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The losses
#
# $D$ ends in a logit $s$. Then $-\log \sigma(s)$ is `softplus(-s)`, and $-\log(1 - \sigma(s))$ is
# `softplus(s)`, both exact where a sigmoid would round to 0 or 1.


# %% tags=["export", "torch"]
def judge_torch(real, fake):
    """What the discriminator pays, from its logits: −log D(x) − log(1 − D(G(z)))."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def fool_torch(fake):
    """What the generator pays: −log D(G(z)), the non-saturating loss."""
    return F.softplus(-fake).mean()


def evade_torch(fake):
    """What it pays in the minimax game: log(1 − D(G(z)))."""
    return -F.softplus(fake).mean()


losses_torch = {"non-saturating": Losses(judge_torch, fool_torch)}
losses_torch["minimax"] = Losses(judge_torch, evade_torch)


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A step in two halves
#
# First the discriminator: a batch of images and a batch of samples, **each on its own**, because
# BatchNorm would otherwise let one see the other's statistics. `detach` stops the lesson at the
# samples. Then the generator, with new samples, through a discriminator that stands still: we ask
# autograd for the generator's gradients and no others. Nothing needs freezing.
#
# (BatchNorm is in training mode throughout, so $D$'s moving averages follow all three batches that it
# sees in a step. It is the same in all sections.)


# %% tags=["export", "torch"]
class TorchHalves:
    """Any two networks, an optimiser for each, and the two halves of a step."""

    def __init__(self, gan, settings, losses=losses_torch):
        self.gan, self.losses, self.rate = gan, losses[settings.loss], settings.learning_rate
        betas = (settings.beta1, 0.999)
        self.judging, self.fooling = (
            torch.optim.Adam(net.parameters(), betas=betas)
            for net in (gan.discriminator, gan.generator)
        )

    def descend(self, optimizer, loss, rate):
        group = optimizer.param_groups[0]
        gradients = torch.autograd.grad(loss, group["params"])  # of these weights, no others
        for parameter, gradient in zip(group["params"], gradients, strict=True):
            parameter.grad = gradient
        group["lr"] = self.rate if rate is None else float(rate)
        optimizer.step()
        return loss.detach()

    def step_d(self, real, z, rate=None, losses=None):
        """The discriminator's half: real batch and made batch, each on its own."""
        gan = self.gan.train()
        made = gan.generator(torch.as_tensor(z)).detach()
        scores = gan.discriminator(torch.as_tensor(real)), gan.discriminator(made)
        return self.descend(self.judging, (losses or self.losses).judge(*scores), rate)

    def step_g(self, z, rate=None, losses=None):
        """The generator's half."""
        gan = self.gan.train()
        scores = gan.discriminator(gan.generator(torch.as_tensor(z)))
        return self.descend(self.fooling, (losses or self.losses).fool(scores), rate)


# %% tags=["export", "torch"]
class TorchGame(TorchHalves):
    """The game, and what can be seen of it."""

    @torch.no_grad()
    def made(self, z):
        """What the generator makes of z, as it comes out of the network: NumPy."""
        return self.gan.eval().generator(torch.as_tensor(z)).cpu().numpy()

    @torch.no_grad()
    def scored(self, x):
        """Logits (N,) of what goes into the discriminator: NumPy."""
        return self.gan.eval().discriminator(torch.as_tensor(x)).cpu().numpy()[:, 0]


# %% tags=["export", "torch"]
def train_torch(images, settings, report, losses=losses_torch):
    """Train on bytes (N, 28, 28[, C]); stop when the steps are done or `report` says so."""
    game = TorchGame(TorchGAN(settings), settings, losses)
    report = Watch(report, ways["torch"], game.gan, settings)
    for step, (x, z_d, z_g) in enumerate(feed(images, settings), start=1):
        x = spread(torch.as_tensor(x).permute(0, 3, 1, 2) / 255, settings)
        paid = game.step_d(x, z_d), game.step_g(z_g)
        if step % 10 == 0:
            logs = dict(zip(("discriminator", "generator"), map(float, paid), strict=True))
            if not report(step, logs):
                break
    return game.gan


# %% [markdown]
# The borders of the section: NumPy in, NumPy out, pixels 0…1, BatchNorm in evaluation mode.


# %% tags=["export", "torch"]
@torch.no_grad()
def generate_torch(gan, z):
    """Images (N, 28, 28, C), 0…1, of z (N, latents)."""
    made = gan.eval().generator(torch.as_tensor(z)).permute(0, 2, 3, 1)
    return unspread(made, gan.settings).cpu().numpy()


@torch.no_grad()
def score_torch(gan, images):
    """Logits (N/pack,) of images (N, 28, 28, C), 0…1."""
    x = torch.as_tensor(images).permute(0, 3, 1, 2)
    return gan.eval().discriminator(spread(x, gan.settings)).cpu().numpy()[:, 0]


# %% tags=["export", "torch"]
class TorchMLP(nn.Module):
    """Two hidden ReLU layers, for the plane."""

    def __init__(self, n_in, hidden, n_out):
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(n_in, hidden), nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, n_out)
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):  # B×n_in → B×n_out
        return self.out(F.relu(self.hidden2(F.relu(self.hidden1(x)))))


class TorchPlane(nn.Module):
    """Two players of points in the plane."""

    def __init__(self, settings):
        super().__init__()
        self.generator = TorchMLP(settings.latents, settings.hidden, 2)
        self.discriminator = TorchMLP(2, settings.hidden, 1)


def players_torch(losses=losses_torch, opinion=belief):
    """A game in the plane, for `utils.playground`."""
    return Players(lambda s, table: TorchGame(TorchPlane(s), s, table), losses, opinion)


ways["torch"] = Way(TorchGAN, train_torch, generate_torch, score_torch, players_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* One layer is new, and built by hand.
#
# ### Batch normalisation
#
# In training each channel is brought to mean 0 and variance 1 over the batch and all pixels, and
# then scaled by $\gamma$ and shifted by $\beta$, which are learned (Ioffe and Szegedy,
# [2015](https://arxiv.org/abs/1502.03167)):
#
# $$y = \gamma\, \frac{x - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + \epsilon}} + \beta.$$
#
# So what an image becomes depends on its neighbours in the batch. To be used on its own it needs
# numbers that stay: **moving averages** of mean and variance, which only watch during training and
# take over in evaluation mode. Which variance do they remember? The formula divides by the plain
# variance of the batch; the paper and PyTorch remember $n/(n-1)$ times that, the unbiased estimate,
# and so do we; Keras remembers the plain one. You will meet the difference in part 6.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import Conv2D, Conv2DTranspose, Dense  # built by hand in 01_autoencoder
from utils.tf_optimizers import Adam


class BatchNorm(tf.Module):
    """Each channel to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, channels, momentum=0.9, epsilon=1e-5):
        super().__init__()
        self.gamma = tf.Variable(tf.ones(channels))
        self.beta = tf.Variable(tf.zeros(channels))
        self.moving_mean = tf.Variable(tf.zeros(channels), trainable=False)
        self.moving_variance = tf.Variable(tf.ones(channels), trainable=False)
        self._rest, self._epsilon = 1 - momentum, epsilon

    def __call__(self, x, training):  # …×channels
        if not training:
            return self.rescale(x, self.moving_mean, self.moving_variance)
        mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
        n = tf.cast(tf.size(x) / tf.size(mean), tf.float32)  # values that a channel has
        self.moving_mean.assign_sub(self._rest * (self.moving_mean - mean))
        unbiased = variance * n / (n - 1)
        self.moving_variance.assign_sub(self._rest * (self.moving_variance - unbiased))
        return self.rescale(x, mean, variance)

    def rescale(self, x, mean, variance):
        return (x - mean) * tf.math.rsqrt(variance + self._epsilon) * self.gamma + self.beta


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The two networks
#
# The same shapes as in PyTorch, channels last. `training` is passed by hand: nothing here remembers a
# mode.


# %% tags=["export", "tensorflow"]
class TFGenerator(tf.Module):
    """z → image: one projection, then the side doubles twice."""

    def __init__(self, settings):
        super().__init__()
        s, w = settings, settings.width
        plain = s.norm == "nowhere"
        bias = 0.0 if plain else None  # a bias before a BatchNorm would be subtracted again
        self.project = Dense(s.latents, 7 * 7 * 2 * w, bias)
        self.norm1 = tf_norm(2 * w, not plain)
        self.up1 = tf_up(2 * w, w, s, bias)
        self.norm2 = tf_norm(w, not plain)
        self.up2 = tf_up(w, s.channels, s)
        self.norm3 = tf_norm(s.channels, s.norm == "everywhere")
        self.squash = tf.tanh if s.squash == "tanh" else tf.sigmoid
        tf_start(self, s.deviation)

    def __call__(self, z, training):  # B×latents
        h = self.project(z)
        h = tf.reshape(h, (-1, 7, 7, h.shape[1] // 49))  # → 7×7×2w
        h = tf.nn.relu(self.norm1(h, training))
        h = tf.nn.relu(self.norm2(self.up1(h), training))  # → 14×14×w
        return self.squash(self.norm3(self.up2(h), training))  # → 28×28×C, −1…1


# %% tags=["export", "tensorflow"]
class TFDiscriminator(tf.Module):
    """Image (or a pack of them) → one logit: the side halves twice, by strides."""

    def __init__(self, settings):
        super().__init__()
        s, w = settings, settings.width
        self.pack, self.slope = s.pack, s.slope
        plain = s.norm == "nowhere"
        first = None if s.norm == "everywhere" else 0.0
        self.conv1 = tf_down(s.channels * s.pack, w, s, first)
        self.norm1 = tf_norm(w, s.norm == "everywhere")
        self.conv2 = tf_down(w, 2 * w, s, 0.0 if plain else None)
        self.norm2 = tf_norm(2 * w, not plain)
        self.out = Dense(7 * 7 * 2 * w, 1)
        tf_start(self, s.deviation)

    def __call__(self, x, training):  # B×28×28×C
        if self.pack > 1:  # a pack is one deep image
            side, channels = x.shape[1], x.shape[3]
            x = tf.reshape(x, (-1, self.pack, side, side, channels))
            x = tf.transpose(x, (0, 2, 3, 1, 4))
            x = tf.reshape(x, (-1, side, side, self.pack * channels))
        h = tf_leaky(self.norm1(self.conv1(x), training), self.slope)  # → 14×14×w
        h = tf_leaky(self.norm2(self.conv2(h), training), self.slope)  # → 7×7×2w
        return self.out(tf.reshape(h, (-1, self.out.kernel.shape[0])))  # → B/pack×1


# %% tags=["export", "tensorflow"]
def tf_leaky(h, slope):
    """Positive numbers as they are, negative ones times the slope."""
    return tf.maximum(slope * h, h)


def tf_norm(channels, wanted=True):
    """Batch normalisation, or nothing."""
    return BatchNorm(channels) if wanted else lambda x, training: x


def tf_start(net, deviation):
    """All kernels from N(0, deviation²); biases are 0 already."""
    for weights in net.trainable_variables:
        if len(weights.shape) > 1:
            weights.assign(deviation * tf.random.normal(weights.shape))


# %% tags=["export", "tensorflow"]
class TFPooled(Conv2D):
    """For part 9: resize without strides, by pooling (halve) or by repeating pixels (double)."""

    def __call__(self, x):
        if self.double:
            return super().__call__(tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2))
        return tf.nn.max_pool2d(super().__call__(x), 2, 2, "VALID")


def tf_resize(n_in, n_out, settings, bias, double):
    if settings.resize == "strided":
        return (Conv2DTranspose if double else Conv2D)(n_in, n_out, 4, 2, bias)
    layer = TFPooled(n_in, n_out, 4, 1, bias)
    layer.double = double
    return layer


def tf_up(n_in, n_out, settings, bias=0.0):
    return tf_resize(n_in, n_out, settings, bias, double=True)


def tf_down(n_in, n_out, settings, bias=0.0):
    return tf_resize(n_in, n_out, settings, bias, double=False)


class TFGAN(tf.Module):
    """Both players in one module: one checkpoint, one comparison."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.generator, self.discriminator = TFGenerator(settings), TFDiscriminator(settings)


# %% tags=["export", "tensorflow"]
def judge_tf(real, fake):
    """What the discriminator pays, from its logits: −log D(x) − log(1 − D(G(z)))."""
    return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))


def fool_tf(fake):
    """What the generator pays: −log D(G(z)), the non-saturating loss."""
    return tf.reduce_mean(tf.nn.softplus(-fake))


def evade_tf(fake):
    """What it pays in the minimax game: log(1 − D(G(z)))."""
    return -tf.reduce_mean(tf.nn.softplus(fake))


losses_tf = {"non-saturating": Losses(judge_tf, fool_tf)}
losses_tf["minimax"] = Losses(judge_tf, evade_tf)


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The game
#
# Each half has a tape of its own and asks it for the gradient of its own player's variables. Samples
# made outside of the discriminator's tape are constants to it: no `detach` is needed.


# %% tags=["export", "tensorflow"]
class TFHalves(tf.Module):
    """Any two networks, an optimiser for each, and the two halves of a step."""

    def __init__(self, gan, settings, losses=losses_tf):
        super().__init__()
        self.gan, self.losses, self.rate = gan, losses[settings.loss], settings.learning_rate
        nets = gan.discriminator, gan.generator
        self.judging, self.fooling = (
            Adam(parity.variables(net), beta1=settings.beta1) for net in nets
        )
        self.count = tf.Variable(0, dtype=tf.int64)

    def descend(self, adam, tape, loss, rate):
        gradients = tape.gradient(loss, adam.parameters)  # of these weights, no others
        adam.apply(gradients, self.rate if rate is None else rate)
        return loss

    @tf.function
    def step_d(self, real, z, rate=None, losses=None):
        """The discriminator's half: real batch and made batch, each on its own."""
        made = self.gan.generator(z, training=True)
        with tf.GradientTape() as tape:
            scores = [self.gan.discriminator(x, training=True) for x in (real, made)]
            loss = (losses or self.losses).judge(*scores)
        return self.descend(self.judging, tape, loss, rate)

    @tf.function
    def step_g(self, z, rate=None, losses=None):
        """The generator's half."""
        with tf.GradientTape() as tape:
            made = self.gan.generator(z, training=True)
            loss = (losses or self.losses).fool(self.gan.discriminator(made, training=True))
        return self.descend(self.fooling, tape, loss, rate)


# %% tags=["export", "tensorflow"]
class TFGame(TFHalves):
    """The game: many steps at once, and what can be seen of it."""

    @tf.function
    def steps(self, batches, count):
        """Run `count` whole steps in one graph; returns both losses of the last."""
        paid = tf.constant(0.0), tf.constant(0.0)
        for _ in tf.range(count):
            x, z_d, z_g = next(batches)
            paid = self.step_d(x, z_d), self.step_g(z_g)
            self.count.assign_add(1)
        return paid

    def made(self, z):
        """What the generator makes of z, as it comes out of the network: NumPy."""
        return self.gan.generator(tf.constant(z), training=False).numpy()

    def scored(self, x):
        """Logits (N,) of what goes into the discriminator: NumPy."""
        return self.gan.discriminator(tf.constant(x), training=False).numpy()[:, 0]


# %% [markdown]
# `tf.data` takes the batches from the shared `feed`, and ten steps run in one graph.


# %% tags=["export", "tensorflow"]
def stream(images, settings, start=0):
    """A tf.data stream of `feed`'s steps, prepared while the graph is busy with earlier ones."""
    kinds = [tf.TensorSpec([None, SIDE, SIDE, settings.channels], tf.uint8)]
    kinds += [tf.TensorSpec([None, settings.latents])] * 2
    batches = tf.data.Dataset.from_generator(
        lambda: feed(images, settings, start), output_signature=tuple(kinds)
    )

    def ready(x, z_d, z_g):
        return spread(tf.cast(x, tf.float32) / 255, settings), z_d, z_g

    return batches.map(ready).prefetch(4)


def train_tf(images, settings, report, losses=losses_tf, game=None):
    """Train on bytes (N, 28, 28[, C]); with a `game`, go on from where it stands."""
    data.check_batch(settings.batch_size, len(images))
    check_pack(settings)
    game = game or TFGame(TFGAN(settings), settings, losses)
    report = Watch(report, ways["tensorflow"], game.gan, settings)
    step = int(game.count)
    batches = iter(stream(images, settings, step))
    while step < settings.steps:
        count = min(10, settings.steps - step)
        paid = game.steps(batches, tf.constant(count))
        step += count
        logs = dict(zip(("discriminator", "generator"), map(float, paid), strict=True))
        if not report(step, logs):
            break
    return game.gan


# %% tags=["export", "tensorflow"]
def generate_tf(gan, z):
    """Images (N, 28, 28, C), 0…1, of z (N, latents)."""
    return unspread(gan.generator(tf.constant(z), training=False), gan.settings).numpy()


def score_tf(gan, images):
    """Logits (N/pack,) of images (N, 28, 28, C), 0…1."""
    x = spread(tf.constant(images), gan.settings)
    return gan.discriminator(x, training=False).numpy()[:, 0]


# %% tags=["export", "tensorflow"]
class TFMLP(tf.Module):
    """Two hidden ReLU layers, for the plane."""

    def __init__(self, n_in, hidden, n_out):
        super().__init__()
        self.hidden1, self.hidden2 = Dense(n_in, hidden), Dense(hidden, hidden)
        self.out = Dense(hidden, n_out)

    def __call__(self, x, training=False):  # B×n_in → B×n_out
        return self.out(tf.nn.relu(self.hidden2(tf.nn.relu(self.hidden1(x)))))


class TFPlane(tf.Module):
    """Two players of points in the plane."""

    def __init__(self, settings):
        super().__init__()
        self.generator = TFMLP(settings.latents, settings.hidden, 2)
        self.discriminator = TFMLP(2, settings.hidden, 1)


def players_tf(losses=losses_tf, opinion=belief):
    """A game in the plane, for `utils.playground`."""
    return Players(lambda s, table: TFGame(TFPlane(s), s, table), losses, opinion)


ways["tensorflow"] = Way(TFGAN, train_tf, generate_tf, score_tf, players_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* Two functional models; layer names are those of the checkpoint, with two underscores
# for the dot. Keras's BatchNormalization has other constants by default (momentum 0.99, ε = 0.001),
# and its LeakyReLU another slope (0.3): we state ours.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


def KerasGenerator(settings):
    """z → image: one projection, then the side doubles twice."""
    s, w = settings, settings.width
    plain = s.norm == "nowhere"  # a bias before a BatchNorm would be subtracted again
    start = keras.initializers.RandomNormal(0, s.deviation)
    z = keras.Input((s.latents,))  # B×latents
    same = {"use_bias": plain, "kernel_initializer": start}
    h = layers.Dense(7 * 7 * 2 * w, name="generator__project", **same)(z)
    h = layers.Reshape((7, 7, 2 * w))(h)  # → 7×7×2w
    h = layers.ReLU()(keras_norm("generator__norm1", not plain)(h))
    h = keras_up(h, w, "generator__up1", s, **same)  # → 14×14×w
    h = layers.ReLU()(keras_norm("generator__norm2", not plain)(h))
    h = keras_up(h, s.channels, "generator__up2", s, kernel_initializer=start)
    h = keras_norm("generator__norm3", s.norm == "everywhere")(h)
    return keras.Model(z, layers.Activation(s.squash)(h), name="generator")  # 28×28×C, −1…1


# %% tags=["export", "keras"]
def KerasDiscriminator(settings):
    """Image (or a pack of them) → one logit: the side halves twice, by strides."""
    s, w = settings, settings.width
    plain, everywhere = s.norm == "nowhere", s.norm == "everywhere"
    start = keras.initializers.RandomNormal(0, s.deviation)
    x = keras.Input((SIDE, SIDE, s.channels * s.pack))  # B/pack×28×28×(pack·C)
    h = keras_down(x, w, "discriminator__conv1", s, not everywhere, start)  # → 14×14×w
    h = keras_leaky(keras_norm("discriminator__norm1", everywhere)(h), s.slope)
    h = keras_down(h, 2 * w, "discriminator__conv2", s, plain, start)  # → 7×7×2w
    h = keras_leaky(keras_norm("discriminator__norm2", not plain)(h), s.slope)
    out = layers.Dense(1, name="discriminator__out", kernel_initializer=start)
    return keras.Model(x, out(layers.Flatten()(h)), name="discriminator")  # B/pack×1


def packed(x, pack):
    """Images (B, 28, 28, C) → packs (B/pack, 28, 28, pack·C)."""
    if pack == 1:
        return x
    side, channels = x.shape[1], x.shape[3]
    x = ops.reshape(x, (-1, pack, side, side, channels))
    x = ops.transpose(x, (0, 2, 3, 1, 4))
    return ops.reshape(x, (-1, side, side, pack * channels))


# %% tags=["export", "keras"]
def keras_leaky(h, slope):
    """What `layers.LeakyReLU` does; TensorFlow's graph optimiser logs an error at that layer."""
    return ops.maximum(slope * h, h)


def keras_norm(name, wanted=True):
    """Batch normalisation with PyTorch's constants (Keras's own: 0.99 and 1e-3), or nothing."""
    if not wanted:
        return layers.Identity()
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def keras_up(h, filters, name, settings, **kinds):
    kinds |= {"padding": "same", "name": name}
    if settings.resize == "strided":
        return layers.Conv2DTranspose(filters, 4, strides=2, **kinds)(h)
    return layers.Conv2D(filters, 4, **kinds)(layers.UpSampling2D()(h))  # for part 9


def keras_down(h, filters, name, settings, use_bias, start):
    kinds = {"padding": "same", "name": name, "use_bias": use_bias, "kernel_initializer": start}
    if settings.resize == "strided":
        return layers.Conv2D(filters, 4, strides=2, **kinds)(h)
    return layers.MaxPooling2D()(layers.Conv2D(filters, 4, **kinds)(h))  # for part 9


# %% tags=["export", "keras"]
def judge_keras(real, fake):
    """What the discriminator pays, from its logits: −log D(x) − log(1 − D(G(z)))."""
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))


def fool_keras(fake):
    """What the generator pays: −log D(G(z)), the non-saturating loss."""
    return ops.mean(ops.softplus(-fake))


def evade_keras(fake):
    """What it pays in the minimax game: log(1 − D(G(z)))."""
    return -ops.mean(ops.softplus(fake))


losses_keras = {"non-saturating": Losses(judge_keras, fool_keras)}
losses_keras["minimax"] = Losses(judge_keras, evade_keras)


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A `train_step` that trains both
#
# `fit` calls `train_step` with images and, in the place of targets, the two batches of $z$. No layer
# is ever frozen: each half names the variables that it moves. Gradients are the one thing that
# `keras.ops` does not have, so there the code branches. (Part 9 shows what the popular way, compile
# and then freeze, does under Keras 3.)


# %% tags=["export", "keras"]
class KerasPlayers(keras.Model):
    """Any two networks, and an optimiser for each."""

    def __init__(self, generator, discriminator, pack=1):
        super().__init__()
        self.generator, self.discriminator, self.pack = generator, discriminator, pack
        self.meters = [keras.metrics.Mean(name) for name in ("discriminator", "generator")]
        self.built = True  # both networks are: Keras need not call the model to find out

    def call(self, z, training=False):
        return self.generator(z, training=training)

    def compile(self, make, game_losses):
        """Give each player an optimiser, made by a function without arguments."""
        super().compile()
        self.game_losses = game_losses
        self.judging, self.fooling = make(), make()
        self.judging.build(self.discriminator.trainable_variables)
        self.fooling.build(self.generator.trainable_variables)

    def logits(self, x):
        return self.discriminator(packed(x, self.pack), training=True)


# %% tags=["export", "keras"]
class KerasGame(KerasPlayers):
    """The game: the two halves of a step, and what can be seen of it."""

    def step_d(self, real, z, rate=None, losses=None):
        """The discriminator's half: real batch and made batch, each on its own."""
        made = ops.stop_gradient(self.generator(z, training=True))
        judge = (losses or self.game_losses).judge
        weights = self.discriminator.trainable_variables
        return descend_keras(
            self.judging, weights, lambda: judge(self.logits(real), self.logits(made)), rate
        )

    def step_g(self, z, rate=None, losses=None):
        """The generator's half."""
        fool = (losses or self.game_losses).fool
        weights = self.generator.trainable_variables
        return descend_keras(
            self.fooling, weights, lambda: fool(self.logits(self.generator(z, training=True))), rate
        )

    def made(self, z):
        """What the generator makes of z, as it comes out of the network: NumPy."""
        return parity.to_numpy(self.generator(ops.convert_to_tensor(z), training=False))

    def scored(self, x):
        """Logits (N,) of what goes into the discriminator: NumPy."""
        x = packed(ops.convert_to_tensor(x), self.pack)
        return parity.to_numpy(self.discriminator(x, training=False))[:, 0]


# %% tags=["export", "keras"]
def descend_keras(optimizer, variables, loss_of, rate=None):
    """One step of one player: the gradient of its loss with respect to its own weights alone."""
    framework = importlib.import_module(keras.backend.backend())  # torch or tensorflow
    if rate is not None:
        optimizer.learning_rate = rate
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


class KerasGAN(KerasGame):
    """The two convolutional players, and the step that `fit` calls for every batch."""

    def __init__(self, settings):
        super().__init__(KerasGenerator(settings), KerasDiscriminator(settings), settings.pack)
        self.settings = settings

    def train_step(self, batch):
        """A whole step: `fit`'s inputs are images, its targets the two batches of z."""
        x, (z_d, z_g), _ = keras.utils.unpack_x_y_sample_weight(batch)
        for meter, loss in zip(self.meters, (self.step_d(x, z_d), self.step_g(z_g)), strict=True):
            meter.update_state(loss)
        return {meter.name: meter.result() for meter in self.meters}


# %% tags=["export", "keras"]
def keras_adam(settings):
    """Adam with the paper's β₁ and PyTorch's ε."""
    return keras.optimizers.Adam(settings.learning_rate, settings.beta1, epsilon=1e-8)


def train_keras(images, settings, report, losses=losses_keras):
    """Train on bytes (N, 28, 28[, C]); stop when the steps are done or `report` says so."""
    data.check_batch(settings.batch_size, len(images))
    check_pack(settings)
    gan = KerasGAN(settings)
    gan.compile(lambda: keras_adam(settings), losses[settings.loss])
    report = Watch(report, ways["keras"], gan, settings)
    reporter = keras_callback(report, every=10, steps=settings.steps)
    batches = (
        (spread(x.astype("float32") / 255, settings), (z_d, z_g))
        for x, z_d, z_g in feed(images, settings)
    )
    gan.fit(batches, steps_per_epoch=settings.steps, shuffle=False, verbose=0, callbacks=[reporter])
    return gan


# %% tags=["export", "keras"]
def generate_keras(gan, z):
    """Images (N, 28, 28, C), 0…1, of z (N, latents)."""
    made = gan.generator(ops.convert_to_tensor(z), training=False)
    return unspread(parity.to_numpy(made), gan.settings)


def score_keras(gan, images):
    """Logits (N/pack,) of images (N, 28, 28, C), 0…1."""
    x = packed(ops.convert_to_tensor(spread(images, gan.settings)), gan.pack)
    return parity.to_numpy(gan.discriminator(x, training=False))[:, 0]


# %% tags=["export", "keras"]
def keras_mlp(name, n_in, hidden, n_out):
    """Two hidden ReLU layers, for the plane."""
    x = keras.Input((n_in,))  # B×n_in
    h = layers.Dense(hidden, activation="relu", name=f"{name}__hidden1")(x)
    h = layers.Dense(hidden, activation="relu", name=f"{name}__hidden2")(h)
    return keras.Model(x, layers.Dense(n_out, name=f"{name}__out")(h), name=name)  # B×n_out


def keras_plane(settings, losses):
    """A game of points in the plane; on TensorFlow its half-steps become graphs."""
    nets = (
        ("generator", settings.latents, settings.hidden, 2),
        ("discriminator", 2, settings.hidden, 1),
    )
    game = KerasGame(*(keras_mlp(*net) for net in nets))
    game.compile(lambda: keras_adam(settings), losses[settings.loss])
    if keras.backend.backend() == "tensorflow":
        graph = functools.partial(importlib.import_module("tensorflow").function, autograph=False)
        game.step_d, game.step_g = graph(game.step_d), graph(game.step_g)
    return game


def players_keras(losses=losses_keras, opinion=belief):
    """A game in the plane, for `utils.playground`."""
    return Players(keras_plane, losses, opinion)


ways["keras"] = Way(KerasGAN, train_keras, generate_keras, score_keras, players_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights and moving averages, made in NumPy, goes into each model. Samples and logits are
# compared with BatchNorm in **evaluation** mode and in **training** mode. Then each takes **one full
# step of the discriminator and one of the generator**, by plain gradient descent: where every weight
# ends up checks losses, gradients, BatchNorm's own derivative, and that each half moves its own player
# and no other.

# %%
rng = np.random.default_rng(SEED)
toy = SimpleNamespace(**QUICK, seed=SEED)
w, RATE = toy.width, 0.1  # channels; the rate of the plain descent
kernels = {"generator.project": (toy.latents, 98 * w), "generator.up1": (4, 4, w, 2 * w)}
kernels |= {"generator.up2": (4, 4, 1, w), "discriminator.conv1": (4, 4, 1, w)}
kernels |= {"discriminator.conv2": (4, 4, w, 2 * w), "discriminator.out": (98 * w, 1)}
weights = {f"{k}.kernel": rng.normal(0, 0.05, v).astype("float32") for k, v in kernels.items()}
biases = {"generator.up2": 1, "discriminator.conv1": w, "discriminator.out": 1}
weights |= {f"{k}.bias": rng.normal(0, 0.1, n).astype("float32") for k, n in biases.items()}
VALUES = {"generator.norm1": 49, "generator.norm2": 196, "discriminator.norm2": 49}  # an image
for layer, n in {
    "generator.norm1": 2 * w,
    "generator.norm2": w,
    "discriminator.norm2": 2 * w,
}.items():
    for part, low in {
        "gamma": 0.8,
        "beta": -0.2,
        "moving_mean": -0.2,
        "moving_variance": 0.5,
    }.items():
        weights[f"{layer}.{part}"] = rng.uniform(low, low + 0.4, n).astype("float32")
x_same = rng.uniform(-1, 1, (12, SIDE, SIDE, 1)).astype("float32")  # 12 made-up images
z_d, z_g = (draw_z(12, toy, rng) for _ in range(2))
evidence = {}  # framework -> the quantities to compare


def weigh(outputs, losses, after):
    """The quantities of a framework: outputs, losses, and where the step has led."""
    moving = {part: {k: v for k, v in after.items() if part in k} for part in ("mean", "variance")}
    trained = {k: (weights[k] - v) / RATE for k, v in after.items() if "moving" not in k}
    found = {name: np.ravel(parity.to_numpy(value)) for name, value in outputs.items()}
    found["losses"] = np.array([float(loss) for loss in losses])
    found["one step of D, one of G"] = trained
    return found | {f"moving {part}s": values for part, values in moving.items()}


# %% tags=["torch"]
gan = TorchGAN(toy)
parity.set_weights(gan, weights)
x, z = torch.as_tensor(x_same).permute(0, 3, 1, 2), torch.as_tensor(z_d)
outputs = {}
for mode in ("evaluation", "training"):
    gan.train(mode == "training")
    outputs[f"samples, {mode} mode"] = gan.generator(z).permute(0, 2, 3, 1)
    outputs[f"logits, {mode} mode"] = gan.discriminator(x)
parity.set_weights(gan, weights)  # training mode has moved the averages
game = TorchGame(gan, toy)
for half, net in (("judging", gan.discriminator), ("fooling", gan.generator)):
    setattr(game, half, torch.optim.SGD(net.parameters(), RATE))
losses = game.step_d(x, z_d, RATE), game.step_g(z_g, RATE)
evidence["torch"] = weigh(outputs, losses, parity.get_weights(gan))
parameters = parity.count(gan)

# %% tags=["tensorflow"]
from utils.tf_optimizers import SGD

gan = TFGAN(toy)
parity.set_weights(gan, weights)
outputs = {}
for mode in ("evaluation", "training"):
    outputs[f"samples, {mode} mode"] = gan.generator(z_d, training=mode == "training")
    outputs[f"logits, {mode} mode"] = gan.discriminator(x_same, training=mode == "training")
parity.set_weights(gan, weights)  # training mode has moved the averages
game = TFGame(gan, toy)
for half in ("judging", "fooling"):
    setattr(game, half, SGD(getattr(game, half).parameters))
losses = game.step_d(x_same, z_d, RATE), game.step_g(z_g, RATE)
evidence["tensorflow"] = weigh(outputs, losses, parity.get_weights(gan))
parameters = parity.count(gan)

# %% [markdown]
# Keras remembers the plain variance of a batch. What the others would remember follows from it
# exactly: after $k$ batches of $n$ values each, $0.9^k$ of the old average is left, and all that
# came on top has to be multiplied by $n/(n-1)$. In a step $G$'s layers see two batches, $D$'s three.
# (Of 12 images and 7×7 pixels, $n$ = 588 and the factor is 1.0017: small enough to be overlooked.)

# %% tags=["keras"]
model = KerasGAN(toy)
parity.set_weights(model, weights)
outputs = {}
for mode in ("evaluation", "training"):
    outputs[f"samples, {mode} mode"] = model.generator(z_d, training=mode == "training")
    outputs[f"logits, {mode} mode"] = model.discriminator(x_same, training=mode == "training")
parity.set_weights(model, weights)  # training mode has moved the averages
model.compile(lambda: keras.optimizers.SGD(RATE), losses_keras["non-saturating"])
found = model.train_on_batch(x_same, (z_d, z_g), return_dict=True)
seen = {  # layer -> batches in a step, values of a channel in each
    layer: (2 if layer.startswith("generator") else 3, 12 * values)
    for layer, values in VALUES.items()
}
after = parity.unbiased(parity.get_weights(model), weights, seen)
losses = found["discriminator"], found["generator"]
evidence["keras"] = weigh(outputs, losses, after)
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
# Above: 36 samples from $z$ that never change. Below: what both players pay, the discriminator in
# blue, the generator in orange, zero dotted. A discriminator that can only guess pays log 4 ≈ 1.39;
# it hardly ever gets there. Every rule of part 1 is a control. (The panel's own curve shows the
# discriminator's loss.)

# %%
start = QUICK if session.quick else FULL
norms = ["paper", "nowhere", "everywhere"]
most = max(10_000, start["steps"])
controls = [
    Slider("learning_rate", start["learning_rate"], 1e-5, 1e-2, log=True, help="of both players"),
    Choice("loss", start["loss"], ["non-saturating", "minimax"], help="the generator's"),
    Slider("steps", start["steps"], 50, most, step=50, help="each moves D once and G once"),
    Slider("width", start["width"], 8, 64, step=8, help="channels at 14×14; twice as many at 7×7"),
    Slider("latents", start["latents"], 2, 128, help="numbers in z"),
    Slider("batch_size", start["batch_size"], 16, 256, step=16, help="images in a step"),
    Choice("prior", start["prior"], ["uniform", "gaussian"], help="where z comes from"),
    Choice("norm", start["norm"], norms, help="where BatchNorm stands"),
    Slider("slope", start["slope"], 0.0, 0.5, step=0.05, help="of LeakyReLU in D; 0 is ReLU"),
    Choice("squash", start["squash"], ["tanh", "sigmoid"], help="G's end, and the pixels' range"),
    Choice("resize", start["resize"], ["strided", "pooled"], help="how sides halve and double"),
    Slider("deviation", start["deviation"], 0.002, 0.5, log=True, help="of the first weights"),
    Slider("beta1", start["beta1"], 0.0, 0.95, step=0.05, help="Adam's memory of gradients"),
    Choice("pack", start["pack"], [1, 2, 4], help="images that D judges together (part 9)"),
]


# %%
def sample(way, gan, count, seed=0):
    """Grey samples (count, 28, 28), 0…1, of a model."""
    return way.generate(gan, draw_z(count, gan.settings, np.random.default_rng([7, seed])))[..., 0]


def summary(gan, settings):
    """What the panel's table lists, of 1,000 samples."""
    made = sample(ways[settings.framework], gan, 1000)
    distance = metrics.frechet_distance(judge.load().features(made), real_features)
    return {"Fréchet distance": distance}


def train_grey(way, settings, report):
    """What the panel calls: one channel, the training digits."""
    settings.channels = 1
    return way.train(x_train, settings, report)


some = np.random.default_rng(0).choice(len(x_test), min(1000, len(x_test)), replace=False)
real_features = judge.load().features(x_test[some])
trainers = {n: functools.partial(train_grey, way) for n, way in ways.items()}
panel = Panel(trainers, controls, title="DCGAN", summary=summary)
panel.show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A model that has had its time
#
# In so short a run strokes appear, and few digits. From here on we use a wider model that was
# trained for a quarter of an hour: a file that loads into whichever framework you run, in a second.


# %%
def restored(name):
    """The checkpoint's GAN in the framework `name`."""
    gan = ways[name].build(SimpleNamespace(**checkpoints.load("07_dcgan").info["settings"]))
    checkpoints.load_into(gan, "07_dcgan")
    return gan


trained = {name: restored(name) for name in ways}
name, *_ = trained  # the first of your frameworks
way, gan = ways[name], trained[name]
print(f"{checkpoints.load('07_dcgan').info['what']}, in {runtime.LABELS[name]}.")
alt = "64 samples: most are clear digits in strokes of many kinds, some are none"
plots.show(plots.grid(sample(way, gan, 64), columns=16, scale=2), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Has it learned them by heart?
#
# Samples above, and below each the training image with the nearest pixels.

# %%
made = sample(way, gan, 12, seed=1)
squares = []
for part in np.array_split(data.flatten(x_train), 20):  # a twentieth at a time, to save memory
    part = part.astype("float32") / 255
    squares.append((part**2).sum(axis=1) - 2 * made.reshape(12, -1) @ part.T)  # but for ‖s‖²
nearest = np.concatenate(squares, axis=1).argmin(axis=1)
pairs = np.concatenate([made, x_train[nearest] / 255])
alt = "twelve samples and their nearest training digits: often the same digit, in another hand"
plots.show(plots.grid(pairs, columns=12, scale=2), alt=alt)

# %% [markdown]
# Neighbours, not copies. The paper's own test is a walk between two samples: a model that has learned
# by heart jumps from one memory to the next, and one that has not changes smoothly.
#
# ### Walk

# %%
corners = draw_z(40, gan.settings, np.random.default_rng(2))


def walk(start, end):
    """Twelve steps on the straight line between two z's."""
    share = np.linspace(0, 1, 12, dtype="float32")[:, None]
    z = (1 - share) * corners[start] + share * corners[end]
    return plots.grid(way.generate(gan, z)[..., 0], columns=12, scale=2)


Explorer(
    walk,
    [
        Slider("start", 3, 0, 39, help="one of forty draws of z"),
        Slider("end", 17, 0, 39, help="another"),
    ],
    title="Walk between two samples",
    alt="twelve digits from left to right: the first turns into the last in small steps",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Arithmetic
#
# The paper's famous picture: *smiling woman − neutral woman + neutral man = smiling man*, computed
# with $z$'s, each the mean of three, since single ones were unstable. With digits: *bold a − thin a
# + thin b* should be a bold *b*. Here each is the mean of thirty. Nobody told the model about ink
# or about digits: the judge names them, and we sort them by ink.

# %%
z_many = draw_z(4000, gan.settings, np.random.default_rng(3))
made = way.generate(gan, z_many)[..., 0]  # 4,000×28×28
marks = judge.load().probabilities(made)  # 4,000×10
ink = made.mean(axis=(1, 2))


def concept(digit, bold, count=30):
    """The mean z of the boldest or thinnest samples of a digit."""
    sure = np.flatnonzero((marks.argmax(axis=1) == digit) & (marks.max(axis=1) > 0.9))
    order = sure[np.argsort(ink[sure])]
    return z_many[order[-count:] if bold else order[:count]].mean(axis=0)


def arithmetic(a, b, strength):
    """Bold a, thin a, thin b, and thin b + strength · (bold a − thin a)."""
    bold_a, thin_a, thin_b = concept(a, True), concept(a, False), concept(b, False)
    z = np.stack([bold_a, thin_a, thin_b, thin_b + strength * (bold_a - thin_a)])
    return plots.grid(way.generate(gan, z.astype("float32"))[..., 0], columns=4, scale=3)


Explorer(
    arithmetic,
    [
        Choice("a", 0, list(range(10)), help="the digit that says what bold means"),
        Choice("b", 7, list(range(10)), help="the digit that shall become bold"),
        Slider("strength", 1.0, -1.0, 2.0, step=0.1, help="how much of it"),
    ],
    title="Bold a − thin a + thin b",
    alt="four digits: a bold one, a thin one of the same kind, a thin other one, and the result",
).show()

# %% [markdown]
# Does it always work? We need not choose a pretty example, having a judge: all ninety pairs.

# %%
ends = {bold: np.stack([concept(d, bold) for d in range(10)]) for bold in (True, False)}
a, b = np.array([(a, b) for a in range(10) for b in range(10) if a != b]).T  # 90, 90
before = way.generate(gan, ends[False][b])[..., 0]
after = way.generate(gan, ends[True][a] - ends[False][a] + ends[False][b])[..., 0]
still = (judge.load().predict(after) == b).mean()
bolder = (after.mean(axis=(1, 2)) > 1.2 * before.mean(axis=(1, 2))).mean()
print(f"90 pairs: {still:.0%} are still read as b, {bolder:.0%} have a fifth more ink than thin b")

# %% [markdown]
# Mostly, then: the direction "bolder" carries over from digit to digit, and sometimes drags the digit
# along. A published row of four faces does not say how many rows there were.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The playground
#
# A game in the plane can be seen whole. Black dots are the data, eight Gaussians on a ring; orange
# dots are samples; the background is the discriminator's opinion of every place, blue for real. Press
# **D step**: the background learns. Press **G step**: the samples run towards the blue. Then let both
# run, and change their rates, the number of $D$'s moves or the loss under their hands; or draw data
# of your own.

# %%
from utils.playground import Cloud, Playground

STD = 0.1  # of each Gaussian
points = data.ring(2000, np.random.default_rng(SEED), std=STD)


def on_the_ring(samples):
    """How many of the eight Gaussians have samples, in words."""
    found = metrics.ring_modes(samples, data.ring_centres(), STD)
    return f"{found.modes} of 8 modes, {found.quality:.0%} of samples within three deviations"


clouds = {"ring": Cloud(points, on_the_ring)}
players = way.players()
Playground(players, clouds, title="A game in the plane", rounds=1500).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### Mode collapse, on demand
#
# The ring again. In a fair game each player moves once in a round. Now let the generator move
# **eight times** to the discriminator's once.

# %%
exercises.predict(
    "There are eight Gaussians. After 300 rounds, a generator that moves eight times as often …",
    ["covers all eight, sooner", "covers some of them", "sits on one, or between two"],
    key="collapse",
)


# %%
def play(rounds, moves, seed):
    """So many rounds of one move of D and some of G; the samples after each tenth of them."""
    players.reset(seed)
    rng = np.random.default_rng(seed)
    for number in range(1, rounds + 1):
        players.step_d(data.ring(128, rng, std=STD), "non-saturating", 1e-3)
        for _ in range(moves):
            players.step_g(128, "non-saturating", 1e-3)
        if number % (rounds // 10) == 0:
            yield players.samples(1000)


history = {moves: list(play(rounds, moves, SEED)) for moves, rounds in ((1, 1600), (8, 300))}
for moves, clouds_of in history.items():
    found = [metrics.ring_modes(cloud, data.ring_centres(), STD) for cloud in clouds_of]
    print(f"G moves {moves}×: modes after each tenth {[each.modes for each in found]}")
fig, axes = plots.figure(columns=5, rows=2, width=9, height=3.8)
for row, clouds_of in zip(axes, history.values(), strict=True):
    for ax, place in zip(row, (1, 3, 5, 7, 9), strict=True):
        ax.scatter(*points[:300].T, s=2, c="#bbbbbb")
        ax.scatter(*clouds_of[place][:300].T, s=2, c="#D55E00")
        ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
axes[0, 0].set_ylabel("G moves once")
axes[1, 0].set_ylabel("G moves 8×")
alt = (
    "five moments of two games: in the fair one samples spread, then gather on all eight Gaussians; "
    "where G moves eight times, all samples sit in one clump, which jumps from place to place"
)
plots.show(fig, alt=alt)

# %%
most_modes = max(
    metrics.ring_modes(cloud, data.ring_centres(), STD).modes for cloud in history[8][3:]
)
outcome = "sits on one, or between two" if most_modes <= 2 else "covers some of them"
exercises.reveal("collapse", outcome)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** Against a discriminator that stands still, what is a generator's best answer? Not the
# data, but the *one place* that $D$ believes in most: every sample is judged on its own, so nothing
# says "you have been here already". In $\min_G \max_D$ the discriminator answers after the generator
# and forbids that; let the generator answer last, and the game is $\max_D \min_G$, which is another.
# $D$ then learns that this place is false, and the clump moves on, round and round. This is **mode
# collapse**, and the loss curves do not show it.
#
# A remedy that is hardly longer than its name: **packing** (Lin et al.,
# [2018](https://arxiv.org/abs/1712.04086)). Let $D$ judge $m$ images *together*, stacked along the
# channels: all real or all made. A pack of equal samples is found out at a glance.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A thousand modes
#
# On real images nobody can count modes, so the literature stacks three digits as the red, green and
# blue channel of one picture: a thousand classes, and the judge reads each channel. Srivastava et al.
# and Lin et al. draw 26,000 samples and count the classes, and the KL divergence of their
# frequencies from even ones. Lin et al. report for a DCGAN **78.9 ± 6.5** modes in ten runs (99 were
# reported before), and **1000** for packs of two.

# %%
exercises.predict(
    "Our narrow DCGANs had 5,000 steps on stacked digits, each with three seeds. Of 1,000 modes …",
    [
        "packs find nearly all, single images under 200",
        "both find most; packs find more",
        "both find most; packs make no clear difference",
    ],
    key="packs",
)

# %%
file = checkpoints.load("07_dcgan_stacked")


def stacked_generator(pack, seed):
    """A stored generator of stacked digits, in a GAN of the first framework."""
    stacked = way.build(SimpleNamespace(**{**file.info["settings"], "pack": pack}))
    key = f"{pack}.{seed}."
    own = {k.removeprefix(key): v for k, v in file.weights.items() if k.startswith(key)}
    parity.set_weights(stacked.generator, own)
    return stacked


COUNT = 1000  # the papers' 26,000 are in part 10
print(f"even chances would show {metrics.expected_modes(COUNT):.0f} of 1,000 in {COUNT:,} samples")
found, sheets = {}, []
for pack in (1, 2):
    scores = []
    for seed in (0, 1, 2):
        stacked = stacked_generator(pack, seed)
        z = draw_z(COUNT, stacked.settings, np.random.default_rng([9, seed]))
        pictures = way.generate(stacked, z)  # 2,600×28×28×3
        scores.append(metrics.stacked_modes(pictures))
    sheets.append(pictures[:12])
    found[pack] = [score.modes for score in scores]
    kl = ", ".join(f"{score.kl:.2f}" for score in scores)
    print(f"packs of {pack}: modes {found[pack]}, KL {kl} nats")
alt = (
    "two rows of stacked digits, red, green and blue over each other: unpacked above, packed below"
)
plots.show(plots.grid(np.concatenate(sheets), columns=12, scale=2), alt=alt)

# %%
if min(found[2]) > max(found[1]):
    outcome = "both find most; packs find more"
    if max(found[1]) < 200:
        outcome = "packs find nearly all, single images under 200"
else:
    outcome = "both find most; packs make no clear difference"
exercises.reveal("packs", outcome)

# %% [markdown]
# **Explain.** Neither of the published numbers. Without packing our generators already show far more
# modes than those 79, and packs of two find *no more*; their KL is, if anything, larger (part 10 has
# the numbers for 26,000 samples). Two readings are open, and a small run cannot decide between them:
#
# - A mode count belongs to a network and its training as much as to an idea. Lin et al. themselves
#   report 31 to 628 modes for DCGANs whose discriminators have a quarter or half of the generator's
#   size, in the same experiment.
# - Our packs had little time. A batch of 64 images is 32 packs, so $D$ takes half as many decisions,
#   each harder; and 5,000 steps are a twentieth of Lin et al.'s 50 epochs.
#
# Nor does a mode count say that pictures are good: the judge finds a digit in anything.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The rules, one by one
#
# Short runs, each of which breaks one rule and keeps the others.

# %%
exercises.predict(
    "Which single break hurts a short run most?",
    list(BREAKS)[1:],
    key="rules",
)

# %%
broken = checkpoints.load("07_dcgan_rules")
distances, steps = broken.info["distances"], broken.info["settings"]["steps"]
print(
    f"Recorded: {steps} steps, three seeds each; Fréchet distance of 2,000 samples to test images"
)
for rule, values in distances.items():
    print(f"{rule:<22} {np.mean(values):6.0f}   ({min(values):.0f} to {max(values):.0f})")
sheet = np.concatenate([broken.weights[f"samples.{i}"][:12] for i in range(len(distances))])
alt = (
    "nine rows of samples, one for each line of the table: strokes with the paper's rules, clear "
    "strokes with pooling, blots without BatchNorm, noise with large kernels, grids with β₁ = 0.9"
)
plots.show(plots.grid(sheet, columns=12), alt=alt, width=700)
worst = max(distances, key=lambda rule: np.mean(distances[rule]))
exercises.reveal("rules", worst)

# %% [markdown]
# **Explain.** The paper found its rules by what it calls extensive exploration, and prints no table
# like this one. At this length, on digits, with small networks:
#
# - **Five rules earn their place.** *No BatchNorm*: signals shrink from layer to layer when kernels
#   start as small as 0.02, and nothing brings them back. *BatchNorm everywhere*: $D$'s first layer
#   can no longer see how bright an image is, nor $G$'s last one choose it. *Pixels 0…1*: the sigmoid
#   is tanh in another range, $2\sigma(x) - 1 = \tanh(x/2)$, but paper is now 0, which a kernel passes on
#   as nothing. *Large kernels* begin a game of noise against noise. *β₁ = 0.9*: momentum remembers an
#   opponent who has moved since.
# - **Two make no difference here**: LeakyReLU in $D$, and uniform $z$.
# - **One break helps**: with pooling the distance is halved. It is not free, for each convolution now
#   works at the larger side, four times the work; and it is a short race, not the end of a long one.
#   But "no pooling" is no law.
#
# The explanations are the usual ones; the table shows only *that* it happens. Every break is a
# control of the panel in part 7, with the same 300 steps: run the race further.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A discriminator that never learns
#
# Most Keras GANs on the web follow one pattern: compile the discriminator, set `trainable = False`,
# put it behind the generator and compile that. In Keras 2 the flag was read by `compile`, and the
# discriminator, compiled before, went on learning. Keras 3 reads it when it trains.

# %%
exercises.predict(
    "In Keras 3, five steps of such a discriminator's own train_on_batch move its weights …",
    ["as in Keras 2", "not at all", "not at all, and raise an error"],
    key="frozen",
)

# %% tags=["keras"]
import warnings

small = SimpleNamespace(**{**QUICK, "width": 8})
frozen, generator = KerasDiscriminator(small), KerasGenerator(small)
loss = keras.losses.BinaryCrossentropy(from_logits=True)
frozen.compile("adam", loss)
frozen.trainable = False  # "for the combined model only", as the comment there usually says
combined = keras.Sequential([generator, frozen])
combined.compile("adam", loss)
batch = spread(x_train[:32, ..., None].astype("float32") / 255, small)
before = np.array(parity.to_numpy(frozen.weights[0]))  # a copy: the weights may move under it
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for _ in range(5):
        frozen.train_on_batch(batch, np.ones((32, 1), "float32"))
moved_by = np.abs(parity.to_numpy(frozen.weights[0]) - before).max()
print(f"Largest change of a weight in five steps: {moved_by:.1e}")
print("Keras warns:", next((str(w.message) for w in said if "trainable" in str(w.message)), "no"))
exercises.reveal("frozen", "not at all" if moved_by == 0 else "as in Keras 2")

# %% [markdown]
# A warning among others, no error, and a generator's loss that falls fast: it plays against random
# weights. Whatever you build, look once whether every part moves. Ours, part 5:

# %% tags=["keras"]
ours = KerasGAN(small)
ours.compile(lambda: keras_adam(small), losses_keras["non-saturating"])
before = parity.get_weights(ours)
for _ in range(5):
    rng = np.random.default_rng(0)
    ours.train_on_batch(batch, (draw_z(32, small, rng), draw_z(32, small, rng)))
after = parity.get_weights(ours)
for net in ("generator", "discriminator"):
    own = [k for k in before if k.startswith(net) and "moving" not in k]
    steps = [np.abs(after[k] - before[k]).max() for k in own]
    print(f"{net:<14} largest change of a weight {max(steps):.4f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# A GAN has no likelihood to report; it is judged by its samples. Four numbers, all from the features
# of the course's frozen classifier, which has never seen a sample, and beside each its **floor**:
# what *real* training images score against the same test images.
#
# - **Fréchet distance**: how far apart two Gaussians are that are fitted to the features. (With
#   Inception's features it is the FID; ours compares with ours alone.)
# - **Precision**: the share of samples that lie among the real images. **Recall**: the share of real
#   images that lie among the samples. **Density** and **coverage** (Naeem et al.,
#   [2020](https://arxiv.org/abs/2002.09797)) ask the same, and are fooled less easily by outliers.

# %%
count = min(1000, len(x_test))
features = judge.load().features
rng = np.random.default_rng(SEED)
real = features(x_test[rng.permutation(len(x_test))[:count]])
fresh = features(x_train[rng.permutation(len(x_train))[:count]])
print(f"{count:,} of each            Fréchet  precision  recall  density  coverage")
for who, fake in {
    "training images (floor)": fresh,
    **{
        f"DCGAN, {runtime.LABELS[n]}": features(sample(ways[n], g, count))
        for n, g in trained.items()
    },
}.items():
    distance = metrics.frechet_distance(real, fake)
    numbers = *metrics.precision_recall(real, fake), *metrics.density_coverage(real, fake)
    print(f"{who:<24} {distance:7.1f}  " + "  ".join(f"{value:7.2f}" for value in numbers))

# %% [markdown]
# Which digits does it draw? The data have each about equally often.

# %%
counts = np.bincount(judge.load().predict(sample(way, gan, 2000)), minlength=10)
print("2,000 samples, by digit:", {digit: int(n) for digit, n in enumerate(counts)})

# %% [markdown]
# The three rows are one: the same weights, the same $z$. The distance is far above its floor. About
# half of the samples lie among real digits (the others are the ones you could not read), and a
# nought is drawn four times as often as a four: a mild collapse that no loss curve and hardly an
# eye would have found. No seed was chosen for its result; a wider network and a longer, decaying
# schedule would do better, and the full profile is yours.
#
# And on more images, recorded by `make results`, with the modes of the stacked digits:

# %%
from utils import results

results.show("07_dcgan")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. Which loss pulls?** Part 1's picture in words.

# %%
questions.pull.ask()
questions.pull.check(...)  # "a", "b", "c" or "d"

# %% [markdown]
# **2. Batch normalisation** in training mode, for images (B, H, W, C).


# %%
def batch_norm(x, gamma, beta, epsilon):
    """Each channel to mean 0, variance 1, then scaled and shifted."""
    return ...  # your code


questions.batch_norm.check(batch_norm)
# questions.batch_norm.hint()
# questions.batch_norm.solution()

# %% [markdown]
# **3. Packing.** Stack m images at a time along the channels: (B, H, W, C) → (B/m, H, W, m·C). Then
# set *pack* in the panel to 2 and train: that is all that PacGAN changes.


# %%
def pack(images, m):
    """Packs of m neighbours in the batch, the first image's channels first."""
    return ...  # your code


questions.pack.check(pack)

# %% [markdown]
# **4. Count the modes.** From the labels of samples: how many of the classes appear, and the KL
# divergence of their frequencies from even ones, in nats.


# %%
def modes(labels, classes):
    """(number of classes that appear, KL(frequencies ‖ even))"""
    return ...  # your code


questions.modes.check(modes)

# %% [markdown]
# **5. Change the data.** Any folder of images, or an IDX file such as Fashion-MNIST's, can take
# MNIST's place. Load one with `data.from_images(folder)` or `data.from_idx(images, labels)`,
# check it, put its pictures into `x_train`, and train in the panel again. (The judge knows digits
# only: its numbers mean nothing there.)

# %%
my_digits = ...  # data.from_images("…") or data.from_idx("…")
questions.other_data.check(my_digits)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - Two players, two losses, two optimisers; each half of a step moves one player alone. In Keras 3,
#   name what moves, and freeze nothing.
# - The non-saturating loss pulls where samples are bad; the minimax loss does not.
# - BatchNorm has two modes, and moving averages that frameworks keep differently.
# - DCGAN is a list of rules for its time. Break each before you believe it.
# - A generator that answers last collapses. Loss curves do not show it: look, and count modes.
# - Report a distance with its floor, and a number for diversity beside one for quality.
#
# | use | when |
# |---|---|
# | a DCGAN | a small, fast generator of one kind of picture, with nothing to say about likelihood |
# | packing | samples look good and all alike |
# | an LSGAN (08) | you would rather not tune a logarithm; the same networks |
# | an ACGAN (09) | there are labels, and you want to ask for a class |
# | a VAE (02) | you need codes of given images, or a likelihood |
#
# **Further reading.** Goodfellow et al. ([2014](https://arxiv.org/abs/1406.2661)); Radford et al.
# ([2016](https://arxiv.org/abs/1511.06434)); Metz et al., *Unrolled GANs*
# ([2017](https://arxiv.org/abs/1611.02163)), where the ring comes from; Lin et al., *PacGAN*
# ([2018](https://arxiv.org/abs/1712.04086)); Lucic et al., *Are GANs Created Equal?*
# ([2018](https://arxiv.org/abs/1711.10337)), who tune seven of them alike.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [Least-squares GAN](08_lsgan.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/02_gans/08_lsgan.ipynb))
# - **Previous:** [VQ-VAE: a dictionary of codes](../01_autoencoders/06_vq_vae.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/06_vq_vae.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
