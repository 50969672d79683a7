# ---
# jupyter:
#   course:
#     title: "Least-squares GAN"
#     summary: "The networks of 07 and a loss without a sigmoid: a parabola never stops pulling. What that changes, counted."
#     minutes: {cpu: 40, gpu: 35}
#     prerequisites:
#       - "DCGAN (07): the two players, their step, its two losses"
#     objectives:
#       - "change a GAN's loss and nothing else, in PyTorch, TensorFlow and Keras"
#       - "say where each of three generator losses has no gradient"
#       - "choose labels for the least-squares losses, and say which give a Pearson χ²"
#       - "count modes on a ring of Gaussians and on stacked digits, over seeds"
#       - "tell what a paper claims from what your own measurement supports"
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
# # Least-squares GAN
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/02_gans/08_lsgan.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/02_gans/08_lsgan.ipynb)
#
# The networks of 07 and a loss without a sigmoid: a parabola never stops pulling. What that changes, counted.
#
# **Time:** about 40 minutes on a CPU, 35 on a GPU.
#
# **Before you start:** DCGAN (07): the two players, their step, its two losses.
#
# **What you will be able to do:**
#
# - change a GAN's loss and nothing else, in PyTorch, TensorFlow and Keras
# - say where each of three generator losses has no gradient
# - choose labels for the least-squares losses, and say which give a Pearson χ²
# - count modes on a ring of Gaussians and on stacked digits, over seeds
# - tell what a paper claims from what your own measurement supports

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
import functools
from types import SimpleNamespace

import numpy as np

from utils import checkpoints, data, exercises, judge, lessons, metrics, parity, plots, runtime
from utils.controls import Choice, Slider
from utils.exercises import lsgan as questions
from utils.panel import Panel
from utils.playground import Cloud, Playground

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# 07's discriminator is a classifier: its score $s$ is a logit, and a sample that it takes for real is
# done, however unlike the data it may be. Mao, Li, Xie, Lau, Wang and Smolley
# ([2017](https://arxiv.org/abs/1611.04076)) replace the classifier by a regression. Choose a label
# $a$ for made images, $b$ for real ones, and $c$ for what the generator wants its images to be taken
# for, and let both players pay a squared distance:
#
# $$\min_D\; \tfrac12 \mathbb E_{x}[(D(x) - b)^2] + \tfrac12 \mathbb E_{z}[(D(G(z)) - a)^2],
# \qquad \min_G\; \tfrac12 \mathbb E_{z}[(D(G(z)) - c)^2].$$
#
# That is the **least-squares GAN**. Networks, data, optimiser and step are 07's: in code six lines
# change. The paper promises two things: better images, and a more stable training, with less mode
# collapse. Here you will measure both, and not everything will turn out as promised.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Where the pull ends
#
# What reaches the generator is the derivative of its loss by the score, and how that score changes
# with the image. Here is the first factor alone, for three losses.

# %%
s = np.linspace(-8, 8, 321)
probability = 1 / (1 + np.exp(-s))
pulls = {  # |dL/ds|
    "minimax, log(1 − σ(s))": (probability, "--"),
    "non-saturating, −log σ(s)": (1 - probability, ":"),
    "least squares, ½(s − 1)²": (np.abs(s - 1), "-"),
}
fig, ax = plots.figure(width=7, height=3)
for label, (pull, line) in pulls.items():
    ax.plot(s, pull, line, label=label, lw=2)
    print(
        f"{label:<26} pull at s = −6: {pull[40]:7.4f}   at 0: {pull[160]:.4f}   at 6: {pull[280]:.4f}"
    )
ax.set(xlabel="score s of a made image", ylabel="pull |dL/ds|", ylim=(0, 4))
ax.legend(frameon=False)
alt = (
    "the pull of three losses over the score: minimax rises from 0 on the left to 1, non-saturating "
    "falls from 1 to 0 on the right, least squares is a V with its foot at 1 and no bound"
)
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# - **Minimax** lets go on the left, where the discriminator is sure that an image is made: at the
#   start of every training.
# - **Non-saturating** lets go on the right: images that pass for real get no more lessons, even if
#   they lie far from all data. This is the case the paper is about.
# - **Least squares** lets go at one point, $s = c$. It pulls back an image that is *too* real.
#
# Two popular errors. (1) *"The discriminator's last layer is a sigmoid."* It is **linear**: a
# sigmoid would bring back the very saturation that the loss is there to avoid, on both sides at once
# (part 9 leaves it in). (2) The scales of the first two curves and the third are not the same: a
# least-squares score lives between its labels, so the far left and right of the V are hardly ever
# visited. We shall look where scores really are.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which labels?
#
# For a given generator with density $q$, and data $p$, the best discriminator is the labels' mean,
# weighted by the densities: $D^* = \frac{b\,p + a\,q}{p + q}$. Put it in, and add to the
# generator's loss the term $\tfrac12\mathbb E_p[(D - c)^2]$, which contains no $G$:
#
# $$2\,C(G) = \int \frac{\big((b - c)(p + q) - (b - a)\,q\big)^2}{p + q}\,dx.$$
#
# If **$b - c = 1$ and $b - a = 2$**, this is $\int \frac{(2q - (p + q))^2}{p + q}\,dx$: the
# **Pearson $\chi^2$ divergence** between $p + q$ and $2q$, zero only where $q = p$. The labels
# $(a, b, c) = (-1, 1, 0)$ meet the condition. The labels $(0, 1, 1)$, which look like 07's and which
# most programs use, do **not**: $b - c = 0$. "LSGAN minimises Pearson's $\chi^2$" is a popular half
# of the truth. Let us see what $(0, 1, 1)$ does minimise.

# %%
x = np.linspace(-12, 12, 4801)


def normal(mean, std):
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))


def twice_cost(p, q, a, b, c):
    """2 C(G): both terms, with the best discriminator for labels a, b, c."""
    best = (b * p + a * q) / (p + q)
    return ((best - c) ** 2 * (p + q)).sum() * (x[1] - x[0])


p = normal(0, 1)
print("q            χ²(p + q ‖ 2q)   2C of (−1, 1, 0)   2C of (0, 1, 1)   4 · 2C of (0, 1, 1) − 2")
for mean, std in ((4, 1), (1, 1), (0, 2), (0, 1)):
    q = normal(mean, std)
    pearson = ((2 * q - (p + q)) ** 2 / (p + q)).sum() * (x[1] - x[0])
    first, second = (twice_cost(p, q, *labels) for labels in ((-1, 1, 0), (0, 1, 1)))
    print(f"N({mean}, {std}²) {pearson:17.4f} {first:18.4f} {second:17.4f} {4 * second - 2:25.4f}")

# %% [markdown]
# The same divergence, divided by four and moved by a half (three lines of algebra show why). So with
# a perfect discriminator the two pairs of labels want the same. But no step of the training has one,
# and the term that we added has no gradient for the generator. What a *step* does differs: where the
# discriminator is undecided, halfway between $a$ and $b$, the labels $(0, 1, 1)$ still pull with ½,
# as much as 07's loss does, and $(-1, 1, 0)$ not at all. The paper found both pairs alike and used
# $(0, 1, 1)$; a [longer version](https://arxiv.org/abs/1712.06391) found $(-1, 1, 0)$ better. Part 9
# counts.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data
#
# Three kinds, all from 07: digits; *stacked* digits, three of them in the channels of one picture,
# which makes 1,000 classes that a classifier of digits can count; and points on a ring of eight
# Gaussians, whose modes can be counted without any classifier.

# %%
digits = data.mnist()
print(digits.describe())
stack = data.stacked(digits.x_train, digits.y_train, n=2600, seed=SEED)
ring = data.ring(2000, np.random.default_rng(SEED), std=0.05)
fig, axes = plots.figure(columns=3, width=9, height=2.6)
axes[0].imshow(plots.grid(digits.x_test[:32], columns=8), cmap="gray")
axes[1].imshow(plots.grid(stack.images[:32], columns=8))
axes[2].scatter(*ring[:600].T, s=2, c="#333333")
for ax, title in zip(axes, ("digits", "stacked digits", "a ring"), strict=True):
    ax.set(xticks=[], yticks=[], title=title, aspect="equal")
alt = "digits in grey; digits stacked in red, green and blue; eight small clouds on a circle"
plots.show(fig, alt=alt)
x_train, x_test = digits.x_train, digits.x_test

# %% [markdown]
# ### What the three sections share
#
# The labels, a scale on which scores of all losses can be compared, and `adopt`: everything else
# comes from 07, settings included.

# %% tags=["export"]
SCHEMES = {  # the labels a (made), b (real) and c (what the generator wants)
    "least squares (0, 1, 1)": (0.0, 1.0, 1.0),
    "least squares (−1, 1, 0)": (-1.0, 1.0, 0.0),
}
LEAST, PEARSON = SCHEMES
LEFT_IN = "least squares, sigmoid left in"  # the popular error, for part 9
QUICK, FULL, STACKED = {}, {}, {}  # 07's settings but for the loss, filled by the sections
ways, dcgans = {}, {}  # framework -> its five functions; framework -> 07's exported cells
live = {}  # framework -> the discriminator's scores in training mode


def opinion(scores, loss):
    """What a score says on a scale from 0 made to 1 real."""
    if loss in SCHEMES:
        a, b, _ = SCHEMES[loss]
        return (scores - a) / (b - a)
    return 1 / (1 + np.exp(-scores))  # a logit


def adopt(framework, dcgan, losses):
    """Take everything from 07 but the losses."""
    for mine, theirs in ((QUICK, dcgan.QUICK), (FULL, dcgan.FULL), (STACKED, dcgan.STACKED)):
        mine.update(theirs, loss=LEAST)
    way, dcgans[framework] = dcgan.ways[framework], dcgan
    ways[framework] = way._replace(
        train=functools.partial(way.train, losses=losses),
        players=functools.partial(way.players, losses, opinion),
    )


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop*, and all of them stand in [07](07_dcgan.ipynb): `lessons.load` runs
# the cells that define its networks, its two half-steps and its training function, the very ones
# that you read there. Its discriminator ends in a linear layer already, because 07 keeps the sigmoid
# in the loss. So the loss is all there is to write.

# %% tags=["export", "torch"]
import torch

dcgan_torch = lessons.load("07_dcgan", "torch")


def least_squares_torch(a, b, c):
    """The losses of both players, from scores that no sigmoid has touched."""

    def assess(real, fake):
        return ((real - b) ** 2).mean() / 2 + ((fake - a) ** 2).mean() / 2

    def fool(fake):
        return ((fake - c) ** 2).mean() / 2

    return dcgan_torch.Losses(assess, fool)


def with_sigmoid_torch(losses):
    """The popular error: labels 0 and 1 look like probabilities, so a sigmoid is left in."""
    return dcgan_torch.Losses(
        lambda real, fake: losses.judge(torch.sigmoid(real), torch.sigmoid(fake)),
        lambda fake: losses.fool(torch.sigmoid(fake)),
    )


losses_torch = {name: least_squares_torch(*labels) for name, labels in SCHEMES.items()}
losses_torch[LEFT_IN] = with_sigmoid_torch(losses_torch[LEAST])
losses_torch |= dcgan_torch.losses_torch  # and the two of 07, to compare
adopt("torch", dcgan_torch, losses_torch)


@torch.no_grad()
def live_torch(gan, images):
    """Scores (N,) of images 0…1 in training mode, with the batch's own statistics."""
    x = torch.as_tensor(2 * images - 1).permute(0, 3, 1, 2)
    return gan.discriminator.train()(x).cpu().numpy()[:, 0]


live["torch"] = live_torch

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* The same, from variables and operations.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

dcgan_tf = lessons.load("07_dcgan", "tensorflow")


def least_squares_tf(a, b, c):
    """The losses of both players, from scores that no sigmoid has touched."""

    def assess(real, fake):
        return tf.reduce_mean((real - b) ** 2) / 2 + tf.reduce_mean((fake - a) ** 2) / 2

    def fool(fake):
        return tf.reduce_mean((fake - c) ** 2) / 2

    return dcgan_tf.Losses(assess, fool)


def with_sigmoid_tf(losses):
    """The popular error: labels 0 and 1 look like probabilities, so a sigmoid is left in."""
    return dcgan_tf.Losses(
        lambda real, fake: losses.judge(tf.sigmoid(real), tf.sigmoid(fake)),
        lambda fake: losses.fool(tf.sigmoid(fake)),
    )


losses_tf = {name: least_squares_tf(*labels) for name, labels in SCHEMES.items()}
losses_tf[LEFT_IN] = with_sigmoid_tf(losses_tf[LEAST])
losses_tf |= dcgan_tf.losses_tf  # and the two of 07, to compare
adopt("tensorflow", dcgan_tf, losses_tf)


def live_tf(gan, images):
    """Scores (N,) of images 0…1 in training mode, with the batch's own statistics."""
    return gan.discriminator(tf.constant(2 * images - 1), training=True).numpy()[:, 0]


live["tensorflow"] = live_tf

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* `keras.ops`, so that it runs on either backend. Note what is not here: popular Keras
# programs compile the discriminator with `loss="mse"` and freeze it inside a second model, a pattern
# that trains nothing in Keras 3 (05 shows it). 07's `train_step` names what each half moves.

# %% tags=["export", "keras"]
from keras import ops

dcgan_keras = lessons.load("07_dcgan", "keras")


def least_squares_keras(a, b, c):
    """The losses of both players, from scores that no sigmoid has touched."""

    def assess(real, fake):
        return ops.mean((real - b) ** 2) / 2 + ops.mean((fake - a) ** 2) / 2

    def fool(fake):
        return ops.mean((fake - c) ** 2) / 2

    return dcgan_keras.Losses(assess, fool)


def with_sigmoid_keras(losses):
    """The popular error: labels 0 and 1 look like probabilities, so a sigmoid is left in."""
    return dcgan_keras.Losses(
        lambda real, fake: losses.judge(ops.sigmoid(real), ops.sigmoid(fake)),
        lambda fake: losses.fool(ops.sigmoid(fake)),
    )


losses_keras = {name: least_squares_keras(*labels) for name, labels in SCHEMES.items()}
losses_keras[LEFT_IN] = with_sigmoid_keras(losses_keras[LEAST])
losses_keras |= dcgan_keras.losses_keras  # and the two of 07, to compare
adopt("keras", dcgan_keras, losses_keras)


def live_keras(gan, images):
    """Scores (N,) of images 0…1 in training mode, with the batch's own statistics."""
    return parity.to_numpy(gan.discriminator(2 * images - 1, training=True))[:, 0]


live["keras"] = live_keras

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# 07 has compared the networks in all modes. Here one set of weights, made in NumPy, goes into each
# model, and for **both pairs of labels** each takes one full step of the discriminator and one of
# the generator, by plain gradient descent. Where the weights end up checks the new losses and
# their gradients through the whole networks, batch normalisation included.

# %%
toy = SimpleNamespace(**QUICK | {"width": 8, "latents": 16, "seed": SEED})
rng = np.random.default_rng(SEED)
x_same = rng.random((12, 28, 28, 1), dtype="float32")  # 12 made-up images, 0…1
z_d, z_g = rng.uniform(-1, 1, (2, 12, toy.latents)).astype("float32")
RATE = 0.01  # of the plain descent
evidence = {}  # framework -> the quantities to compare


def made_up(gan):
    """The same weights for whichever framework's GAN: each array from its name and shape."""
    weights = {}
    for key, value in sorted(parity.get_weights(gan).items()):
        low = 0.5 if key.endswith(("gamma", "moving_variance")) else -0.1
        draw = np.random.default_rng(list(key.encode())).random(value.shape)
        weights[key] = (low + 0.2 * draw).astype("float32")
    return weights


def gather(framework, gan, steps_of):
    """Scores, then for each pair of labels: what both paid, and where the weights went."""
    weights = made_up(gan)
    parity.set_weights(gan, weights)
    found = {"scores": ways[framework].score(gan, x_same)}
    for loss in SCHEMES:
        parity.set_weights(gan, weights)
        paid = [float(loss) for loss in steps_of(loss)]
        after = {k: v for k, v in parity.get_weights(gan).items() if "moving" not in k}
        found[f"losses, {loss}"] = np.array(paid)
        found[f"steps, {loss}"] = {k: (weights[k] - v) / RATE for k, v in after.items()}
    evidence[framework] = found
    return parity.count(gan)


# %% tags=["torch"]
gan_torch = dcgan_torch.TorchGAN(toy)


def steps_torch(loss):
    game = dcgan_torch.TorchGame(
        gan_torch, SimpleNamespace(**vars(toy) | {"loss": loss}), losses_torch
    )
    game.judging = torch.optim.SGD(gan_torch.discriminator.parameters(), RATE)
    game.fooling = torch.optim.SGD(gan_torch.generator.parameters(), RATE)
    real = torch.as_tensor(2 * x_same - 1).permute(0, 3, 1, 2)
    return game.step_d(real, z_d, RATE), game.step_g(z_g, RATE)


parameters = gather("torch", gan_torch, steps_torch)

# %% tags=["tensorflow"]
from utils.tf_optimizers import SGD

gan_tf = dcgan_tf.TFGAN(toy)


def steps_tf(loss):
    game = dcgan_tf.TFGame(gan_tf, SimpleNamespace(**vars(toy) | {"loss": loss}), losses_tf)
    game.judging, game.fooling = SGD(game.judging.parameters), SGD(game.fooling.parameters)
    return game.step_d(tf.constant(2 * x_same - 1), z_d, RATE), game.step_g(z_g, RATE)


parameters = gather("tensorflow", gan_tf, steps_tf)

# %% tags=["keras"]
import keras

gan_keras = dcgan_keras.KerasGAN(toy)


def steps_keras(loss):
    gan_keras.compile(lambda: keras.optimizers.SGD(RATE), losses_keras[loss])
    gan_keras.reset_metrics()  # Keras 3.13 goes on with the means of the pair before
    found = gan_keras.train_on_batch(2 * x_same - 1, (z_d, z_g), return_dict=True)
    return found["discriminator"], found["generator"]


parameters = gather("keras", gan_keras, steps_keras)

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
# Above: samples from fixed $z$. Below: what both players pay, the discriminator in blue, the
# generator in orange, zero dotted. With labels $(0, 1, 1)$ a discriminator that can only guess pays
# ¼, and a generator that it cannot tell from the data ⅛. Change the loss and train again. The curves of
# different losses have different units: **compare samples and the Fréchet distance, never losses.**

# %%
name, *_ = ways  # the first of your frameworks
start = dict(QUICK if session.quick else FULL)
most = max(10_000, start["steps"])
norms = {"as in the paper": "paper", "nowhere": "nowhere"}
controls = [
    Choice("loss", LEAST, [*SCHEMES, LEFT_IN, "non-saturating", "minimax"], help="of both"),
    Choice("norm", "paper", norms, label="BatchNorm", help="“nowhere” is the paper's hard case"),
    Slider("learning_rate", start["learning_rate"], 1e-5, 1e-2, log=True, help="of both players"),
    Slider("width", start["width"], 8, 64, step=8, help="channels at 14×14; twice as many at 7×7"),
    Slider("steps", start["steps"], 50, most, step=50, help="each moves D once and G once"),
]


def sample(framework, gan, count, seed=0):
    """Samples (count, 28, 28, C), 0…1."""
    z = dcgans[framework].draw_z(count, gan.settings, np.random.default_rng([7, seed]))
    return ways[framework].generate(gan, z)


def train_digits(framework, settings, report):
    """What the panel calls: 07's settings, and the controls' on top."""
    chosen = SimpleNamespace(**start | vars(settings))
    return ways[framework].train(x_train, chosen, report)


def summary(gan, settings):
    """What the panel's table lists, of 1,000 samples."""
    made = features(sample(settings.framework, gan, 1000)[..., 0])
    return {"Fréchet distance": metrics.frechet_distance(made, real)}


features = judge.load().features
some = np.random.default_rng(0).permutation(len(x_test))[:1000]
real = features(x_test[some])
trainers = {n: functools.partial(train_digits, n) for n in ways}
panel = Panel(trainers, controls, title="Least-squares GAN", summary=summary)
panel.show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two models that have had their time
#
# In so short a run strokes appear, and few digits. From here on we use a wider model, trained as long as
# 07's and from the same seed, and put 07's beside it. Both files load into whichever framework you
# run.


# %%
def restored(framework, file, run=""):
    """A checkpoint's GAN; of a file of several runs, the generator whose names begin with `run`."""
    found = checkpoints.load(file)
    gan = ways[framework].build(SimpleNamespace(**found.info["settings"]))
    own = {k.removeprefix(run): w for k, w in found.weights.items() if k.startswith(run)}
    if not any(key.startswith("generator.") for key in own):
        own = {f"generator.{key}": w for key, w in own.items()}
    parity.set_weights(gan, parity.get_weights(gan) | own)
    return gan


gans = {"08 LSGAN": restored(name, "08_lsgan"), "07 DCGAN": restored(name, "07_dcgan")}
print(f"{checkpoints.load('08_lsgan').info['what']}, in {runtime.LABELS[name]}.")
for label, gan in gans.items():
    sheet = plots.grid(sample(name, gan, 48)[..., 0], columns=16, scale=2)
    plots.show(sheet, alt=f"48 samples of {label}, most of them clear digits")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Where scores really are
#
# The curves of part 1 say how hard a score is pulled; these histograms say which scores there are.
# (In training mode, where each batch is normalised by itself: that is what the game was played with.)
# Above them, the mean pull of each model's own loss on its own samples.

# %%
fig, axes = plots.figure(columns=2, width=9, height=2.8)
for ax, (label, gan) in zip(axes, gans.items(), strict=True):
    made = sample(name, gan, len(some), seed=1)
    scores = {"real": live[name](gan, x_test[some][..., None].astype("float32") / 255)}
    scores["made"] = live[name](gan, made)
    for kind, colour in (("real", "#56B4E9"), ("made", "#D55E00")):
        ax.hist(scores[kind], bins=40, alpha=0.7, color=colour, label=kind)
    ax.set(title=label, xlabel="score", yticks=[])
    ax.legend(frameon=False)
    s = scores["made"]
    pull = np.abs(s - 1) if label.startswith("08") else 1 / (1 + np.exp(s))
    weak = (pull < 0.1).mean()
    print(f"{label}: mean pull on samples {pull.mean():.2f}; below 0.1 for {weak:.1%} of them")
alt = (
    "histograms of scores of real and made digits: LSGAN's lie around its labels 0 and 1, DCGAN's "
    "logits spread over many units; in both the two kinds overlap"
)
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The playground, with five losses
#
# 07's game in the plane. Change the loss in the middle of a game and watch the background: least
# squares has no sigmoid, so its landscape goes on rising or falling where the other's is flat.

# %%
STD = 0.05  # of each Gaussian
points = data.ring(5000, np.random.default_rng(SEED), std=STD)


def on_the_ring(samples):
    """How many of the eight Gaussians have samples, in words."""
    found = metrics.ring_modes(samples, data.ring_centres(), STD)
    return f"{found.modes} of 8 modes, {found.quality:.0%} of samples within three deviations"


game = Playground(
    ways[name].players(), {"ring": Cloud(points, on_the_ring)}, "The plane, five losses", rounds=500
)
game.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### A discriminator with a head start
#
# Saturation is what least squares is meant to cure. So provoke it: let the discriminator move 600
# times alone, and look how hard each loss then pulls at the samples. Then the generator makes 50
# moves, with the discriminator frozen.

# %%
exercises.predict(
    "With its pull all but gone, the generator of the minimax game …",
    ["stays where it is", "moves less than half as far as others", "moves at least as far"],
    key="saturated",
)

# %%
slopes = {  # |dL/ds|, by the name of the loss
    "minimax": lambda s: 1 / (1 + np.exp(-s)),
    "non-saturating": lambda s: 1 / (1 + np.exp(s)),
    LEAST: lambda s: np.abs(s - 1),
    LEFT_IN: lambda s: (1 - opinion(s, LEFT_IN)) ** 2 * opinion(s, LEFT_IN),
}
players, far = ways[name].players(), {}
print("loss                             mean score   mean pull   samples moved by")
for loss, slope in slopes.items():
    players.reset(SEED)
    rng = np.random.default_rng(SEED)
    for _ in range(600):
        players.step_d(points[rng.integers(len(points), size=128)], loss, 1e-3)
    before = players.samples(500)
    scores = players.game.scored(before)
    for _ in range(50):
        players.step_g(128, loss, 1e-3)
    far[loss] = np.linalg.norm(players.samples(500) - before, axis=1).mean()
    print(f"{loss:<32} {scores.mean():10.2f} {slope(scores).mean():11.4f} {far[loss]:18.2f}")

# %%
ratio = far["minimax"] / np.median([far["non-saturating"], far[LEAST]])
outcomes = "stays where it is", "moves less than half as far as others", "moves at least as far"
exercises.reveal("saturated", outcomes[int(np.digitize(ratio, [0.1, 0.5]))])

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** The pull does vanish, by two powers of ten for the sigmoid left in, by three for
# minimax. Yet the samples move, those of minimax fastest: they fly right past the ring. **Adam**
# divides every gradient by its own size, so a loss that is a thousand times flatter makes steps as
# large, until gradients come near Adam's $\epsilon$. "Least squares cures vanishing gradients" is
# true of the loss, and no explanation of a training with Adam. (With plain gradient descent the
# factor would go straight into the step.)
#
# ### Which labels keep the modes?
#
# Theory prefers $(-1, 1, 0)$: it meets the $\chi^2$ condition. Three games on the ring, which differ
# in the loss alone.

# %%
exercises.predict(
    "Which generator covers most of the eight Gaussians?",
    ["07's, non-saturating", "least squares (0, 1, 1)", "least squares (−1, 1, 0)"],
    key="labels",
)

# %%
counts = {}
fig, axes = plots.figure(columns=3, width=9, height=3.2)
for ax, loss in zip(axes, ("non-saturating", LEAST, PEARSON), strict=True):
    players.reset(SEED)
    rng = np.random.default_rng(SEED)
    for _ in range(1000):
        players.step_d(points[rng.integers(len(points), size=128)], loss, 1e-3)
        players.step_g(128, loss, 1e-3)
    found = counts[loss] = metrics.ring_modes(players.samples(2000), data.ring_centres(), STD)
    ax.scatter(*points[:400].T, s=3, c="#999999")
    ax.scatter(*players.samples(600).T, s=2, c="#D55E00")
    ax.set(title=loss, xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
    print(f"{loss:<26} {found.modes} modes, {found.quality:.0%} of samples of good quality")
alt = "the ring in grey and 600 samples in orange after 1,000 rounds of each of three losses"
plots.show(fig, alt=alt)

# %%
most_modes = max(found.modes for found in counts.values())
titles = {"non-saturating": "07's, non-saturating"}
winners = [titles.get(loss, loss) for loss, found in counts.items() if found.modes == most_modes]
exercises.reveal("labels", " and ".join(winners))

# %% [markdown]
# One seed, and a short game: not yet an answer. A checkpoint keeps the generators of fifteen longer
# ones, five seeds for each loss.

# %%
found = checkpoints.load("08_lsgan_ring").info
print(f"after {found['settings']['rounds']:,} rounds         modes, seed by seed   good samples")
for number, loss in enumerate(found["losses"]):
    modes, quality = [], []
    for seed in found["seeds"]:
        players.reset(seed)
        network = getattr(players.game, "gan", players.game)
        run = f"{number}.{seed}."
        weights = checkpoints.load("08_lsgan_ring").weights
        own = {k.removeprefix(run): w for k, w in weights.items() if k.startswith(run)}
        parity.set_weights(network, parity.get_weights(network) | own)
        each = metrics.ring_modes(players.samples(2000), data.ring_centres(), STD)
        modes.append(each.modes)
        quality.append(each.quality)
    print(f"{loss:<26} {modes}        {np.mean(quality):.0%}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Explain.** The pair of labels that theory prefers keeps the fewest modes, with each of the five
# seeds; what it has, it draws well. The likely reason stands in part 1: where the discriminator is
# undecided, $(-1, 1, 0)$ does not pull. A generator that sits on half of the ring, and fools the
# discriminator there, is left in peace. $(0, 1, 1)$ goes on pulling with ½, as 07's loss does, and
# pulls samples across. Least squares *as such* is no cure for mode collapse: one pair of labels
# does about as well as 07 on this ring, and the other worse.
#
# ### Without batch normalisation
#
# The paper's own test of stability takes batch normalisation away, from the generator or from both
# players: its least-squares GANs learned at least sometimes where ordinary ones did not. Here are
# short runs with it and without (in both players), three seeds each, trained by this notebook's
# recipe (a run takes a minute, so they are not repeated here). On so short a run the distance says
# how *fast* a loss learns.

# %%
short = checkpoints.load("08_lsgan").info
print(
    f"Fréchet distance, width {short['short']['width']}, {short['short']['steps']:,} steps, by seed"
)
for kind in dict.fromkeys(run["kind"] for run in short["compared"]):
    for loss in ("non-saturating", LEAST):
        runs = [r for r in short["compared"] if (r["kind"], r["loss"]) == (kind, loss)]
        distances = [r["distance"] for r in sorted(runs, key=lambda r: r["seed"])]
        print(f"{kind:<18} {loss:<26} {distances}   mean {np.mean(distances):.0f}")

# %% [markdown]
# With batch normalisation both learn, and 07's loss is *ahead* after so many steps, with every seed.
# Without it both are still far from digits. We therefore saw nothing of the promised stability; with
# a few minutes on one core we did not train as long as the paper did, nor on its images.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# ### Digits
#
# Four numbers, each beside its floor: the **Fréchet distance** of the judge's features (with
# Inception's it is called FID), and how much of the samples lies in the data (*precision*,
# *density*) and of the data in the samples (*recall*, *coverage*). 1,000 samples of each model
# against 1,000 test images.

# %%
order = np.random.default_rng(1).permutation(len(x_train))[:1000]
sets = {"training images (floor)": features(x_train[order])}
for label, gan in gans.items():
    sets[label] = features(sample(name, gan, 1000)[..., 0])
print(f"{'':<26}{'Fréchet':>8}{'precision':>11}{'recall':>8}{'density':>9}{'coverage':>10}")
for label, made in sets.items():
    first, second = metrics.precision_recall(real, made), metrics.density_coverage(real, made)
    numbers = (
        f"{first.precision:11.2f}{first.recall:8.2f}{second.density:9.2f}{second.coverage:10.2f}"
    )
    print(f"{label:<26}{metrics.frechet_distance(made, real):8.1f}{numbers}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Stacked digits
#
# A thousand classes, and a generator that knows nothing of them. 07's networks and settings, three
# seeds for each loss, 1,000 samples each (so few show fewer classes even of real pictures: that is
# the first row). The table below it has the papers' 26,000.

# %%
print(f"{'':<28}classes among 1,000 samples, seed by seed")
read = metrics.stacked_modes(stack.images[:1000])
print(f"{'real pictures (ceiling)':<28}{read.modes}")
stored = {"non-saturating (07)": ("07_dcgan_stacked", "1.")}
stored |= {loss: ("08_lsgan_stacked", f"{i}.") for i, loss in enumerate(SCHEMES)}
for label, (file, prefix) in stored.items():
    found = [
        metrics.stacked_modes(sample(name, restored(name, file, f"{prefix}{seed}."), 1000))
        for seed in (0, 1, 2)
    ]
    print(f"{label:<28}{[each.modes for each in found]}")

# %%
shown = [restored(name, "07_dcgan_stacked", "1.0."), restored(name, "08_lsgan_stacked", "0.0.")]
sheets = [plots.grid(sample(name, gan, 24), columns=12, scale=2) for gan in shown]
alt = "stacked samples in colour: two rows of 07's, then two rows of least squares (0, 1, 1)"
plots.show(np.vstack(sheets), alt=alt)

# %% [markdown]
# And all of it measured in each framework, recorded by `make results`:

# %%
from utils import results

results.show("08_lsgan")

# %% [markdown]
# So, is it "more stable, with less mode collapse"? What we measured:
#
# - **Digits:** as good as 07's within what one seed each can tell; both far from the floor.
# - **Stacked digits:** among 26,000 samples $(0, 1, 1)$ shows the most classes on average, by about as
#   much as seeds of one loss differ; the ranges of all three losses overlap.
# - **The ring:** $(0, 1, 1)$ is about as good as 07's loss; $(-1, 1, 0)$ loses half the modes.
# - **Speed:** 07's loss is ahead in short runs.
#
# The claims may well hold for other networks, images and times, and our nets are small. But
# the loss alone did not buy stability here. Lucic et al.
# ([2018](https://arxiv.org/abs/1711.10337)) came to a like result with far more computing: given the same
# budget of tuning, no loss was better throughout.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one. Each works on NumPy arrays.

# %% [markdown]
# **1. Which labels?** The condition under which the least-squares loss is Pearson's $\chi^2$.

# %%
questions.labels.ask()
questions.labels.check(...)  # "a", "b", "c" or "d"

# %% [markdown]
# **2. The discriminator's loss**, from its scores of real and of made images, for any labels.


# %%
def assess(real, fake, a, b):
    """One number, from scores (B,) and (B,)."""
    return ...  # your code


questions.assess.check(assess)
# questions.assess.hint()
# questions.assess.solution()

# %% [markdown]
# **3. The sigmoid left in.** The generator pays $\tfrac12(\sigma(s) - 1)^2$. How does that change
# with the score? Differentiate it by hand, and look at your answer for $s = \pm 6$.


# %%
def slope(s):
    """d/ds of ½(σ(s) − 1)², for scores s of any shape."""
    return ...  # your code


questions.slope.check(slope)

# %% [markdown]
# **4. The best discriminator** at places where the data have density $p$ and the generator $q$.


# %%
def best(p, q, a, b):
    """D* for arrays p and q, with labels a (made) and b (real)."""
    return ...  # your code


questions.best.check(best)

# %% [markdown]
# **5. Count the modes.** A mode is found if a sample lies within three standard deviations of its
# centre and no other centre is nearer.


# %%
def count_modes(samples, centres, std):
    """How many of the centres (M, 2) are found by the samples (N, 2)."""
    return ...  # your code


questions.count_modes.check(count_modes)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - LSGAN changes the loss and nothing else. The discriminator's output is **linear**.
# - Its pull grows with the distance from $c$; cross-entropies let go on one side.
# - $b - c = 1$, $b - a = 2$ makes it Pearson's $\chi^2$. $(0, 1, 1)$ breaks the condition and, with a
#   perfect discriminator, minimises the same divergence.
# - Adam rescales gradients: a saturated loss slows a training far less than its curve suggests.
# - What we measured: alike on digits and stacked digits; on the ring the labels matter more than the
#   change from cross-entropy to squares. Count modes before you believe a loss.
#
# | use | when |
# |---|---|
# | least squares (0, 1, 1) | you want a loss without logarithms, whose scores keep to a known scale |
# | least squares (−1, 1, 0) | the χ² matters to you; not where modes lie far apart |
# | 07's non-saturating loss | in doubt: it was never behind here, and ahead in short runs |
# | other rates, moves or networks | modes are missing: the loss is not the first thing to change |
#
# **Further reading.** Mao et al. ([2017](https://arxiv.org/abs/1611.04076)) and their longer version
# ([2018](https://arxiv.org/abs/1712.06391)); Lucic et al., *Are GANs Created Equal?*
# ([2018](https://arxiv.org/abs/1711.10337)), who give seven losses the same budget and find no loss
# that is better throughout; Lin et al., *PacGAN* ([2018](https://arxiv.org/abs/1712.04086)).

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [ACGAN: a generator that takes requests](09_acgan.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/02_gans/09_acgan.ipynb))
# - **Previous:** [DCGAN](07_dcgan.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/02_gans/07_dcgan.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
