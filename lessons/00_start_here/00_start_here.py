# ---
# jupyter:
#   course:
#     title: "Start here"
#     summary: "A small model, trained in three frameworks on this machine, shows how the course works."
#     minutes: {cpu: 15, gpu: 15}
#     prerequisites:
#       - "Python, and NumPy arrays with two axes"
#     objectives:
#       - "say what the three frameworks share, and at which altitude each is shown"
#       - "train a classifier from the live panel, stop it, and compare two runs"
#       - "check that three models in three frameworks are the same model"
#       - "predict the outcome of an experiment before you run it"
#       - "do an exercise with a check, hints and a solution"
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
# # Start here
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/00_start_here/00_start_here.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/00_start_here/00_start_here.ipynb)
#
# A small model, trained in three frameworks on this machine, shows how the course works.
#
# **Time:** about 15 minutes on a CPU, 15 on a GPU.
#
# **Before you start:** Python, and NumPy arrays with two axes.
#
# **What you will be able to do:**
#
# - say what the three frameworks share, and at which altitude each is shown
# - train a classifier from the live panel, stop it, and compare two runs
# - check that three models in three frameworks are the same model
# - predict the outcome of an experiment before you run it
# - do an exercise with a check, hints and a solution

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
import itertools
import types

import numpy as np

from utils import data, exercises, plots, progress, runtime
from utils.controls import Slider
from utils.exercises import start as questions
from utils.panel import Panel, keras_callback

# %% [markdown]
# Choose *Run ▸ Run All Cells* (on Colab: *Runtime ▸ Run all*), then read on: in a few seconds a
# model trains further down this page.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What this course is
#
# Every algorithm of the course is written three times, at three altitudes, and *shown to be the
# same model*:
#
# | section | altitude | what you read |
# |---|---|---|
# | **PyTorch** | modules and a loop | layers as objects, gradients by `backward()`, a training loop of your own |
# | **TensorFlow** | the bare metal | variables, operations, a gradient tape, and functions compiled into graphs |
# | **Keras** | declaration | layers, a loss and an optimiser are named; `fit` does the rest |
#
# Learn one and you have one framework's habits. Read all three and you see what belongs to the
# algorithm, because it is what stays.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why sameness has to be checked
#
# Two programs can look alike, run without a complaint, and be different models. It happens in the
# best places:
#
# - The AlexNet of [Dive into Deep Learning](https://github.com/d2l-ai/d2l-en) pads its first
#   convolution by one pixel in the PyTorch tab and by none in the TensorFlow tab. On 224×224
#   images both give 54×54 outputs, so no check of shapes notices.
# - The GoogleNet of the [UvA tutorials](https://github.com/phlippe/uvadlc_notebooks), translated
#   by hand from PyTorch to JAX, has 260,650 parameters in one and 259,338 in the other. Their
#   ResNet has 272,378 in both.
#
# Both courses are excellent, and we learned from them. Here every chapter moves one set of
# weights through all three frameworks and compares parameter counts, outputs and gradients; every
# change to the course repeats it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How a chapter works
#
# 1. **The idea**: the problem, the picture, the mathematics, with the paper.
# 2. **The data**, looked at before they are used.
# 3. **PyTorch**: the model, the loss, the training step. In the margin stand the shapes: `# (B,
#    784) → (B, 10)` is a batch of `B` pictures with 784 pixels that becomes ten numbers for each.
# 4. **TensorFlow**: the same once more, from variables and operations.
# 5. **Keras**: the same once more, declared.
# 6. **Same model?** One set of weights in all three, and the largest difference.
# 7. **Train it** in a live panel. Small trained models come with the course, so nobody has to
#    wait.
# 8. **Look inside** with explorers made for this model.
# 9. **Predict, run, explain**: commit to an answer first. It is also where we break things.
# 10. **Measure it**, with its uncertainty, beside the number in the paper.
# 11. **Exercises** that check themselves.
# 12. **What to remember**, when to use it, what to read next.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The one cell to change
#
# Near the top of each notebook is a cell of parameters. Change it, then choose *Run ▸ Restart
# Kernel and Run All Cells*.
#
# - `PROFILE`: `"quick"` takes about a minute on two cores; `"full"` follows the paper's schedule,
#   on a GPU or overnight.
# - `FRAMEWORKS`: take out those that you do not want to run. Their cells stay readable.
# - `SEED`: where the random numbers begin. `DEVICE`: `"auto"` takes a GPU if there is one.
# - `KERAS_BACKEND`: Keras is a language; `"tensorflow"` or `"torch"` does its arithmetic.
#
# To teach from a notebook, present it as slides: the cells are marked for it, and the panels stay
# live. `make slides` writes slides that need no kernel.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Where to start
#
# What is taken for granted stands at the top of each chapter. If arrays, gradients or
# convolutions are new to you, half an hour with [three short
# sections](../../docs/prerequisites.md) comes first: each in all three frameworks, with a question at
# its end. Longer, elsewhere: [NumPy for absolute
# beginners](https://numpy.org/doc/stable/user/absolute_beginners.html), [torch.autograd
# introduced](https://docs.pytorch.org/tutorials/beginner/blitz/autograd_tutorial.html), and
# [convolutional networks](https://cs231n.github.io/convolutional-networks/) in Stanford's notes.
#
# If they are not, seven questions find the chapter to begin with. Nobody counts your answers, and
# not being sure is an answer too.

# %%
exercises.placement()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What you have done so far
#
# Exercises that a check has found right, and predictions that you have committed to, are kept in a
# small file on this machine, outside the course's folder; nothing is sent anywhere. Come back to
# this cell and run it again to see how far you are.

# %%
progress.Report()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Your machine
#
# Nothing heavy is loaded yet (`lazy=True`): TensorFlow alone takes some seconds, and this page
# loads it when it is needed.

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND, lazy=True)
print(runtime.describe())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The data
#
# Handwritten digits, 28×28 grey pixels each. The course looks for them on a ladder and takes the
# first rung that holds:
#
# 1. `"COURSE_DATA"`: the folder that this environment variable names (a lab's shared disk, for
#    example);
# 2. `"cache"`: what an earlier run has downloaded;
# 3. `"download"`: MNIST's mirrors, one after the other, each file checked against its SHA-256;
# 4. `"embedded"`: 1,797 real digits that come with scikit-learn, enlarged to 28×28. No network
#    needed.
#
# So every notebook runs everywhere, and always says what it runs on. Later you can put your own
# pictures in MNIST's place.

# %% tags=["export"]
digits = data.mnist()
x_train = data.flatten(digits.x_train).astype("float32") / 255  # (N, 784), 0 black to 1 white
x_test = data.flatten(digits.x_test).astype("float32") / 255
y_train, y_test = digits.y_train.astype("int64"), digits.y_test.astype("int64")  # (N,), 0 to 9

# %%
print(digits.describe())
ten_of_each = [np.flatnonzero(y_test == label)[:10] for label in range(10)]
rows = np.stack(ten_of_each, axis=1).ravel()  # a column for each digit
alt = "ten handwritten test digits of each class, 0 to 9 from left to right"
plots.show(plots.grid(digits.x_test[rows], columns=10), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## One model, three times
#
# The smallest model that learns to read digits has a **template** for each of them: 784 weights,
# one for every pixel. It multiplies picture and template pixel by pixel, adds up, and adds a
# bias. The ten sums are the **logits**; the softmax turns them into probabilities:
#
# $$p(y = k \mid x) = \frac{e^{z_k}}{\sum_j e^{z_j}}, \qquad z = x W + b, \qquad
#   x \in \mathbb R^{784},\; W \in \mathbb R^{784 \times 10},\; b \in \mathbb R^{10}.$$
#
# Training lowers the **loss** $-\log p(y \mid x)$, averaged over a batch of pictures: each step
# moves $W$ and $b$ a little against its gradient. How little, the **learning rate** says. All
# templates begin at zero. Every digit then has probability 1/10, and the first loss is $\log 10
# \approx 2.30$: the loss of knowing nothing.

# %% [markdown] slideshow={"slide_type": "subslide"}
# The three sections share this cell: a place for each framework's functions, the batches, and the
# templates as a picture. The order of the batches depends on the seed alone, so three frameworks
# see the same pictures in the same order.

# %% tags=["export"]
ways = {}  # framework → build, parameters, logits, train
ZERO = np.zeros((784, 10), "float32"), np.zeros(10, "float32")


def batches(settings):
    """`settings.steps` batches of images (B, 784) and labels (B,)."""
    rng = np.random.default_rng(settings.seed)
    epochs = (data.batches(len(x_train), settings.batch_size, rng) for _ in itertools.count())
    for rows in itertools.islice(itertools.chain.from_iterable(epochs), settings.steps):
        yield x_train[rows], y_train[rows]


def templates(weights):
    """The ten templates as one picture: grey is 0, white speaks for the digit, black against it."""
    pictures = np.asarray(weights).T.reshape(10, 28, 28)  # (784, 10) → ten pictures
    return plots.grid(0.5 + pictures / (2 * np.abs(pictures).max() + 1e-9), columns=5, scale=2)


# %% [markdown] slideshow={"slide_type": "slide"}
# ### PyTorch: a module and a loop
#
# `backward()` finds the gradient of everything that led to the loss; the loop is ours. (On this
# page the import stands inside the functions, so that it waits until it is needed. In the
# chapters it stands at the top of the section.)


# %% tags=["export", "torch"]
def build_torch(weights, bias):
    """A linear layer that holds the given numbers, (784, 10) and (10,)."""
    runtime.load("torch")
    import torch

    model = torch.nn.Linear(784, 10)  # (B, 784) → (B, 10)
    model.weight.data = torch.tensor(weights.T)  # PyTorch keeps (out, in): (10, 784)
    model.bias.data = torch.tensor(bias)
    return model


def logits_torch(model, images):
    """What the model says of NumPy images (B, 784), as NumPy (B, 10)."""
    import torch

    return model(torch.as_tensor(images)).detach().cpu().numpy()


# %% tags=["export", "torch"]
def train_torch(settings, report):
    """One batch after the other: loss, gradients, step."""
    model = build_torch(*ZERO)
    import torch

    for step, (images, labels) in enumerate(batches(settings), start=1):
        logits = model(torch.as_tensor(images))  # (B, 784) → (B, 10)
        loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels))
        loss.backward()  # fills .grad of every parameter
        with torch.no_grad():  # the step itself is not to be differentiated
            for parameter in model.parameters():
                parameter -= settings.learning_rate * parameter.grad
                parameter.grad = None  # or the next backward() would add to it
        if not report(step, {"loss": loss.item()}, lambda: templates(model.weight.detach().T)):
            break
    return model


ways["torch"] = types.SimpleNamespace(
    build=build_torch,
    parameters=lambda model: sum(p.numel() for p in model.parameters()),
    logits=logits_torch,
    train=train_torch,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### TensorFlow: variables and a tape
#
# No layers: two variables and a matrix product. The tape records what is computed, so that it can
# be differentiated; `tf.function` compiles the step into a graph.


# %% tags=["export", "tensorflow"]
def build_tensorflow(weights, bias):
    """Two variables, (784, 10) and (10,), and what to do with images."""
    runtime.load("tensorflow")
    import tensorflow as tf

    class Softmax(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights, self.bias = tf.Variable(weights), tf.Variable(bias)

        def __call__(self, images):
            return images @ self.weights + self.bias  # (B, 784) → (B, 10)

    return Softmax()


# %% tags=["export", "tensorflow"]
def train_tensorflow(settings, report):
    """The same step with a tape, compiled once for this shape of batch."""
    model = build_tensorflow(*ZERO)
    import tensorflow as tf

    @tf.function
    def one_step(images, labels):  # (B, 784), (B,)
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images))
            loss = tf.reduce_mean(losses)  # (B,) → a number
        gradients = tape.gradient(loss, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(settings.learning_rate * gradient)
        return loss

    for step, (images, labels) in enumerate(batches(settings), start=1):
        loss = one_step(tf.constant(images), tf.constant(labels))
        if not report(step, {"loss": float(loss)}, lambda: templates(model.weights)):
            break
    return model


ways["tensorflow"] = types.SimpleNamespace(
    build=build_tensorflow,
    parameters=lambda model: sum(v.shape.num_elements() for v in model.trainable_variables),
    logits=lambda model, images: model(images).numpy(),
    train=train_tensorflow,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Keras: a declaration
#
# Say what the model is, what it should minimise and how; `fit` runs the loop. A callback brings
# the panel into it.


# %% tags=["export", "keras"]
def build_keras(weights, bias):
    """A stack of one dense layer that holds the given numbers, (784, 10) and (10,)."""
    runtime.load("keras")
    import keras

    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])  # (B, 784) → (B, 10)
    model.set_weights([weights, bias])
    return model


def logits_keras(model, images):
    """What the model says of NumPy images (B, 784), as NumPy (B, 10)."""
    import keras

    return keras.ops.convert_to_numpy(model(images))


# %% tags=["export", "keras"]
def train_keras(settings, report):
    """compile and fit, on the same batches in the same order."""
    model = build_keras(*ZERO)
    import keras

    model.compile(
        optimizer=keras.optimizers.SGD(settings.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images, labels = map(np.concatenate, zip(*batches(settings), strict=True))
    follow = keras_callback(report, lambda: templates(model.get_weights()[0]))
    size = settings.batch_size
    model.fit(images, labels, batch_size=size, shuffle=False, verbose=0, callbacks=[follow])
    return model


ways["keras"] = types.SimpleNamespace(
    build=build_keras,
    parameters=lambda model: model.count_params(),
    logits=logits_keras,
    train=train_keras,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Train it
#
# The panel trains the first framework by itself. Watch the loss fall and the templates appear.
# Then try:
#
# - choose another framework and press **Train**: the new curve lies on the old one, because it is
#   the same computation;
# - press **Stop** in the middle: you keep the model as it is;
# - move the learning rate and train again: earlier runs stay in the picture and in the table.


# %%
def accuracy(model, settings):
    """The share of test digits for which the right logit is the largest."""
    logits = ways[settings.framework].logits(model, x_test)
    return {"test accuracy": float((logits.argmax(axis=1) == y_test).mean())}


controls = [
    Slider("learning_rate", 0.1, 0.001, 100.0, log=True),
    Slider("batch_size", 64, 1, 256),
    Slider("steps", 300 if session.quick else 3000, 10, 5000),
]
train = {name: way.train for name, way in ways.items()}
panel = Panel(train, controls, title="A template for each digit", summary=accuracy, seed=SEED)
panel.show(autostart=True)

# %% [markdown]
# Each template is a kind of stencil: white where ink speaks for the digit, black where ink speaks
# against it. The template of 0 has a dark hole in its middle. Nobody drew it: it is what lowers
# the loss.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Same model?
#
# Curves that look alike prove little. So: draw random weights in NumPy, put them into each
# framework, and compare what they say of 256 test pictures with NumPy's own product.

# %% tags=["same-model", "nbval-check-output"]
panel.wait()  # two trainings at a time would only slow each other down
rng = np.random.default_rng(0)
weights = rng.normal(scale=0.05, size=(784, 10)).astype("float32")
bias = rng.normal(size=10).astype("float32")
images = x_test[:256]
expected = images @ weights + bias  # (256, 784) → (256, 10)
for name, way in ways.items():
    model = way.build(weights, bias)
    difference = np.abs(way.logits(model, images) - expected).max()
    assert difference < 1e-5, f"{name} differs by {difference:.1e}"
    count = f"{way.parameters(model):,} parameters"
    print(f"{runtime.LABELS[name]}: {count}, largest difference below 1e-05")

# %% [markdown]
# Equal outputs do not prove equal *training*: a loss that is averaged in one place and summed in
# another gives other gradients. So train each for 50 steps on the same batches, and compare
# again.


# %% tags=["same-model", "nbval-check-output"]
def recorder(losses):
    """A report that keeps the loss of every step in a list, and never asks to stop."""

    def report(step, logs, preview=None):
        losses.append(logs["loss"])
        return True

    return report


settings = types.SimpleNamespace(learning_rate=0.1, batch_size=64, steps=50, seed=0)
trained = {}
for name, way in ways.items():
    losses = []
    trained[name] = way.logits(way.train(settings, recorder(losses)), images)  # (256, 10)
    print(f"{runtime.LABELS[name]}: {len(losses)} steps, the first loss is {losses[0]:.4f}")
first = next(iter(trained.values()))
difference = max(np.abs(logits - first).max() for logits in trained.values())
assert difference < 1e-4, f"the trained models differ by {difference:.1e}"
print("largest difference after training below 1e-04")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict, run, explain
#
# Students who first predicted the outcome of a demonstration were a fifth more likely to see what
# really happened, whether or not they had guessed right (Miller and others,
# [2013](https://doi.org/10.1103/PhysRevSTPER.9.020113)). So the course asks you to commit to an
# answer. When you have run all cells, the outcome already stands further down: do not look yet.
#
# The panel's learning rate is 0.1. What if a step is five hundred times as long?

# %%
BETTER = "It learns faster: a lower loss than with 0.1, and more digits right."
GUESSING = "The loss leaps far above 2.30, and about one digit in ten is right."
STRANGE = "The loss leaps far above 2.30, and most digits are right all the same."
question = "With a learning rate of 50 instead of 0.1, what comes of 300 steps?"
exercises.predict(question, [BETTER, GUESSING, STRANGE], key="rate")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Now run it. This is training without a panel: a training function wants settings and something
# that takes its reports, and a list will do.

# %%
way = ways[session.frameworks[0]]
rates, curves, results = (0.001, 0.1, 50.0), {}, {}
for rate in rates:
    settings = types.SimpleNamespace(learning_rate=rate, batch_size=64, steps=300, seed=SEED)
    curves[rate] = []
    model = way.train(settings, recorder(curves[rate]))
    loss = np.mean(curves[rate][-30:])  # one batch is noisy, thirty are steadier
    right = (way.logits(model, x_test).argmax(axis=1) == y_test).mean()
    results[rate] = loss, right
    print(f"learning rate {rate:<5}: loss {loss:5.2f} at the end, {right:.0%} of test digits right")

# %%
figure, axes = plots.figure(width=6.5, height=3.0)
for rate, dashes in zip(rates, ("-", "--", ":"), strict=True):
    axes.plot(curves[rate], dashes, label=f"learning rate {rate:g}")
axes.axhline(np.log(10), color="grey", linewidth=0.8, label="knowing nothing: log 10")
axes.set(yscale="log", xlabel="step", ylabel="loss (logarithmic)")
axes.legend()
alt = "loss against steps: it sinks slowly with 0.001, quickly with 0.1, and leaps up with 50"
plots.show(figure, alt=alt)

# %%
loss, right = results[50.0]
leapt = max(curves[50.0]) > 10 * np.log(10) and loss > results[0.1][0]
outcome = f"The loss ends at {loss:.2f}, with {right:.0%} of test digits right."
if leapt and right > 0.5:
    outcome = STRANGE
elif leapt and right < 0.2:
    outcome = GUESSING
elif loss < results[0.1][0] and right > results[0.1][1]:
    outcome = BETTER
exercises.reveal("rate", outcome)

# %% [markdown]
# **Why.** A step is learning rate × gradient, and the softmax keeps the gradient small: no
# probability is wrong by more than one. Long steps make large weights, and the logits run to
# hundreds: the model is always sure. When it is wrong it is sure as well, and $-\log p$ charges
# that without mercy. But the *answer* is the largest logit, and making all logits a thousand
# times larger does not change which one that is. With steps so long, each wrongly read picture
# adds itself to its digit's template and takes itself from the template that won: nearly the rule
# of Rosenblatt's perceptron (1958), which learns well.
#
# The lesson for all chapters: **loss and accuracy are two questions.** And the small learning
# rate? It was on its way, slowly.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# An exercise has a check, hints and a solution. `check` looks at your answer, not at how you
# wrote it: NumPy, PyTorch and TensorFlow are all welcome. When something is wrong it tries to say
# what:

# %% tags=["nbval-check-output"]
questions.parameters.check(7840)

# %% [markdown]
# **1. Count.** How many numbers does this model learn? Put your answer in the place of the dots.
# (You have seen the number go by. Work it out all the same.)

# %% tags=["nbval-check-output"]
parameters = ...
questions.parameters.check(parameters)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **2. A softmax that does not break.** You have just met logits of some hundreds. `exp(100)` is
# more than a 32-bit float can hold, `exp(1000)` more than a 64-bit one. Write `softmax(logits)`,
# from (N, 10) to (N, 10), for logits of any size.


# %% tags=["nbval-check-output"]
def softmax(logits):
    """Probabilities (N, 10) from logits (N, 10), row by row."""
    return ...  # your code


questions.softmax.check(softmax)

# %% [markdown]
# Stuck? Each call of `hint` says a little more:

# %% tags=["nbval-check-output"]
questions.softmax.hint()

# %% [markdown]
# And if you want to see how we would do it, take the `#` away. The tests of the course check the
# solution that it shows.

# %%
# questions.softmax.solution()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What to remember
#
# - Three frameworks, three altitudes, one model: equal parameter counts, equal outputs, equal
#   training.
# - A model is its numbers. These 7,850 went from NumPy into any framework and back; one file of
#   weights will do the same.
# - Change the parameters cell, move the controls, break things. *Restart Kernel and Run All
#   Cells* mends everything.
# - Predict first, then run.
#
# The [chapter map](../../README.md#chapter-map) lists all chapters with their times and links. If
# you have no plan of your own, take them in order.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [Autoencoders](../01_autoencoders/01_autoencoder.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/01_autoencoders/01_autoencoder.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
