# ---
# jupyter:
#   course:
#     title: "Distributed training"
#     summary: "Several processes train one model: the arithmetic, the ring, the real engines of three frameworks, what breaks, and what a network costs."
#     minutes: {cpu: 60, gpu: 60}
#     prerequisites:
#       - "gradients and batches (01)"
#       - "batch normalisation (07)"
#     objectives:
#       - "prove that averaged gradients of equal shards are the gradient of the large batch, and mend the case where shards are unequal"
#       - "write a ring all-reduce over sockets, and predict its time from two numbers"
#       - "train with DistributedDataParallel, FSDP2, MirroredStrategy, MultiWorkerMirroredStrategy and ParameterServerStrategy, and show that each equals one process"
#       - "kill a worker, and get back everything but the steps since the last checkpoint"
#       - "say when a network is too slow, and what compression buys"
#       - "take the same script to several hosts"
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]
# # Distributed training
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/05_scale/18_distributed.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/05_scale/18_distributed.ipynb)
#
# Several processes train one model: the arithmetic, the ring, the real engines of three frameworks, what breaks, and what a network costs.
#
# **Time:** about 60 minutes on a CPU, 60 on a GPU.
#
# **Before you start:** gradients and batches (01); batch normalisation (07).
#
# **What you will be able to do:**
#
# - prove that averaged gradients of equal shards are the gradient of the large batch, and mend the case where shards are unequal
# - write a ring all-reduce over sockets, and predict its time from two numbers
# - train with DistributedDataParallel, FSDP2, MirroredStrategy, MultiWorkerMirroredStrategy and ParameterServerStrategy, and show that each equals one process
# - kill a worker, and get back everything but the steps since the last checkpoint
# - say when a network is too slow, and what compression buys
# - take the same script to several hosts

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
import json
import textwrap

import numpy as np

from utils import cluster, data, engines, exercises, faults, parity, plots, runtime
from utils.exercises import distributed as questions

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# One machine is too slow, or too small. Two ways out:
#
# | | each process holds | they exchange | when |
# |---|---|---|---|
# | **data parallelism** | the whole model, a part of each batch | gradients, once a step | the model fits on one device |
# | **sharded** data parallelism (FSDP) | a part of every weight, a part of each batch | weights when needed, gradients | it does not fit |
# | model parallelism (pipeline, tensor) | a part of the model, all of the batch | activations, all the time | one *layer* does not fit, or thousands of devices |
#
# This notebook is about the first two. Everything in it runs here, in real processes that talk
# through real sockets; where your machine has no second core to spare, it will be slower and
# otherwise the same. **Do not expect a speed-up**: two processes on two cores have the same cores
# that one process would use. What can be shown on one machine is that the result is right, what
# the network costs, and what happens when something dies.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What you may have read
#
# - *"With n workers, multiply the learning rate by n."* Only because the batch became n times as
#   large. If you keep the global batch, keep the rate: it is the same training, step by step (part 1).
# - *"Data-parallel training is approximate."* Synchronous training is exact, up to rounding, unless the
#   shards are unequal or the model has BatchNorm; both are below. *Asynchronous* training is
#   something else (part 5).
# - *"A parameter server is how one trains with many GPUs."* It was, until about 2017; all-reduce is what
#   the engines do now. It still has its place where workers come and go.
# - *"Keras's `fit` distributes everywhere."* With Keras 3 it does under `MirroredStrategy`. Under
#   `MultiWorkerMirroredStrategy` and `ParameterServerStrategy` it
#   [fails](https://github.com/keras-team/keras/issues/20585), while many tutorials still show it.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The model, and the arithmetic
#
# A small network, so that everything else can be seen: 784 pixels, 32 hidden units, 10 logits, on
# the digits that are at hand on every machine. Its gradient is written by hand, in NumPy: what all
# engines are compared with must not be one of them.

# %% tags=["export"]
SETTINGS = {"hidden": 32, "batch_size": 64, "learning_rate": 0.2}


def start(hidden, seed):
    """The weights that every engine begins with, under neutral names."""
    rng, weights = np.random.default_rng(seed), {}
    for name, shape in {"hidden": (784, hidden), "logits": (hidden, 10)}.items():
        weights[f"{name}.kernel"] = rng.normal(0, shape[0] ** -0.5, shape).astype("float32")
        weights[f"{name}.bias"] = np.zeros(shape[1], "float32")
    return weights


def logits(weights, x):
    """The hidden units (B, hidden) and the logits (B, 10) of pixels (B, 784)."""
    hidden = np.tanh(x @ weights["hidden.kernel"] + weights["hidden.bias"])
    return hidden, hidden @ weights["logits.kernel"] + weights["logits.bias"]


def gradients(weights, x, y):
    """The gradients of the mean cross-entropy, by hand."""
    hidden, error = logits(weights, x)
    error = np.exp(error - error.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)  # B×10, probabilities
    error[np.arange(len(y)), y] -= 1
    error /= len(y)  # of the mean
    back = error @ weights["logits.kernel"].T * (1 - hidden**2)  # B×hidden
    return {
        "hidden.kernel": x.T @ back,
        "hidden.bias": back.sum(axis=0),
        "logits.kernel": hidden.T @ error,
        "logits.bias": error.sum(axis=0),
    }


# %% tags=["export"]
@functools.cache
def embedded():
    """The digits that are at hand everywhere: 1,442 to train with."""
    return data.mnist("embedded")


def batch(step, size, seed):
    """The global batch of a step, counted from 0: pixels (B, 784), 0…1, and labels (B,)."""
    digits = embedded()
    index = np.random.default_rng([seed, step]).choice(len(digits.x_train), size, replace=False)
    x = data.flatten(digits.x_train[index]).astype("float32") / 255
    return x, digits.y_train[index].astype("int64")


def shard(batch, rank, world):
    """What process `rank` of `world` sees of a batch: each `world`-th row."""
    return tuple(part[rank::world] for part in batch)


def alone(steps, seed):
    """What one process reaches without any engine: the weights to compare with."""
    weights, rate = start(SETTINGS["hidden"], seed), np.float32(SETTINGS["learning_rate"])
    for step in range(steps):
        found = gradients(weights, *batch(step, SETTINGS["batch_size"], seed))
        weights = {name: w - rate * found[name] for name, w in weights.items()}
    return weights


def keep(path, weights):
    """Write weights to a file."""
    np.savez(path, **weights)


# %%
def loss_and_accuracy(weights):
    """On the test digits."""
    x, y = data.flatten(embedded().x_test).astype("float32") / 255, embedded().y_test
    _, found = logits(weights, x)
    top = found.max(axis=1)
    nats = np.log(np.exp(found - top[:, None]).sum(axis=1)) + top - found[np.arange(len(y)), y]
    return float(nats.mean()), float((found.argmax(axis=1) == y).mean())


# %% [markdown] slideshow={"slide_type": "subslide"}
# The loss of a batch $B$ is a mean, $L_B = \frac{1}{|B|} \sum_{i \in B} \ell_i$. Cut the batch into
# $n$ shards of **equal** size. Then
#
# $$\frac{1}{n} \sum_{r=1}^{n} \nabla L_{B_r}
#   = \frac{1}{n} \sum_{r=1}^{n} \frac{n}{|B|} \sum_{i \in B_r} \nabla \ell_i = \nabla L_B .$$
#
# Each process computes the gradient of its own shard; the average of these is the gradient of the whole batch.
# If everybody starts from the same weights and applies the same average, everybody has the same
# weights for ever: they need never be sent.


# %%
def average(parts, weights=None):
    """The mean of several gradients, each a dictionary; weighted, if weights are given."""
    return {
        name: np.average([p[name] for p in parts], axis=0, weights=weights) for name in parts[0]
    }


weights, whole = start(SETTINGS["hidden"], SEED), batch(0, SETTINGS["batch_size"], SEED)
large = gradients(weights, *whole)
for world in (2, 4, 8):
    shards = [shard(whole, rank, world) for rank in range(world)]
    found = average([gradients(weights, *one) for one in shards])
    print(f"{world} shards: the largest difference is {engines.apart(found, large):.0e}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Uneven shards
#
# 1,442 training images do not divide by 64: an epoch's last batch has 34, and with three workers
# some get 12 and some 11. **First commit to a prediction.**

# %%
exercises.predict(
    "A batch of 64 is cut into shards of 48 and 16. The plain average of the two gradients is …",
    ["the large batch's, up to rounding", "clearly off", "off, but only in the biases"],
    key="uneven",
)

# %%
uneven = [tuple(part[:48] for part in whole), tuple(part[48:] for part in whole)]
both = [gradients(weights, *one) for one in uneven]
size = max(np.abs(g).max() for g in large.values())
for title, shares in {"plain average": None, "weighted by size": [48, 16]}.items():
    off = engines.apart(average(both, shares), large)
    print(f"{title:<17} differs by {off:.0e}, {100 * off / size:.4f} % of the largest gradient")
plain = engines.apart(average(both), large)
exercises.reveal(
    "uneven", "clearly off" if plain > 0.01 * size else "the large batch's, up to rounding"
)

# %% [markdown]
# In the plain average an image of the small shard counts three times as much as one of the large
# shard. Weighted by the number of images it is exact again; another way is to *sum* losses and divide
# by the global batch size, which is what TensorFlow's guides do. PyTorch's sampler repeats images to make
# shards equal, or drops some (`drop_last=True`). A process with *no* batch left is worse: the others
# wait for its gradient until their time-out; PyTorch's
# [`join`](https://docs.pytorch.org/docs/stable/distributed.algorithms.join.html) is for that.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### BatchNorm is not a mean over images
#
# Its statistics are those of the shard. The mean of the shards' means is the batch's mean, but the
# mean of their variances is too small: it lacks the variance *between* shards. So a
# model with BatchNorm trains differently on eight workers with 8 images each than on one with 64.
# `SyncBatchNorm` (PyTorch) and `BatchNormalization(synchronized=True)` (Keras) exchange sums and sums
# of squares, two more all-reduces for each layer.

# %%
activations = whole[0] @ weights["hidden.kernel"]  # 64×32
for world in (2, 8, 32):
    parts = [activations[rank::world] for rank in range(world)]
    inside = np.mean([part.var(axis=0) for part in parts])
    print(
        f"{world:>2} shards of {64 // world:>2}: variance within shards {inside / activations.var(axis=0).mean():.2f} of the batch's"
    )
totals = [(len(p), p.sum(axis=0), (p**2).sum(axis=0)) for p in parts]  # what SyncBatchNorm sends
n, s1, s2 = (sum(column) for column in zip(*totals, strict=True))
print(
    f"from sums and squares: off by {np.abs(s2 / n - (s1 / n) ** 2 - activations.var(axis=0)).max():.0e}"
)

# %% [markdown]
# About $1 - 1/m$ for shards of $m$ images, as with every variance of a sample: with two images
# in a shard, half of it is missing. Our network has no BatchNorm, so that equality can be asked for.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Who sees which image, and `set_epoch`
#
# All processes draw the *same* permutation (same seed), and each takes every $n$-th entry. Nothing is
# sent. PyTorch's `DistributedSampler` does this, and its seed is `seed + epoch`; the epoch it cannot
# know. Forget `sampler.set_epoch(epoch)` and every epoch has the same batches in the same order.


# %%
def indices(images, rank, world, seed, epoch):
    """What DistributedSampler gives a rank, when the images divide by the world's size."""
    return np.random.default_rng(seed + epoch).permutation(images)[rank::world]


epochs = [[indices(12, rank, 2, SEED, epoch) for rank in range(2)] for epoch in (0, 0, 1)]
for title, (zero, one) in zip(
    ["epoch 0", "epoch 1, forgotten", "epoch 1, set_epoch(1)"], epochs, strict=True
):
    print(
        f"{title:<22} rank 0: {zero.tolist()}  rank 1: {one.tolist()}  all images once: {sorted([*zero, *one]) == list(range(12))}"
    )

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The all-reduce
#
# Every process has a gradient of $N$ numbers; every process needs the sum. If all send theirs to one,
# that one receives $(n-1) N$ numbers and sends as many: the more workers, the longer it takes. In a
# **ring** each talks only to its neighbours, and always about a $1/n$ part:
#
# 1. *reduce-scatter*, $n - 1$ turns: send a chunk to the right, add the one that comes from the left to
#    your own. Then each process has one chunk complete.
# 2. *all-gather*, $n - 1$ turns: pass the complete chunks around.
#
# Each process sends $2 \frac{n-1}{n} N$ numbers: **less than $2N$, however many take part**, and no
# algorithm can send less ([Patarasuk and Yuan 2009](https://doi.org/10.1016/j.jpdc.2008.09.002)).
# Here it is, with plain sockets; Baidu's [post](https://andrew.gibiansky.com/blog/machine-learning/baidu-allreduce/)
# (2017) brought it from supercomputers into deep learning.


# %%
def show(name, begin, end):
    """Print a part of one of this chapter's scripts: from a line that starts so to one that does."""
    text = (cluster.SCRIPTS / name).read_text(encoding="utf-8")
    start = text.rindex("\n", 0, text.index(begin) + 1) + 1
    print(textwrap.dedent(text[start : text.index(end, start)]).rstrip())


show("ring.py", "def exchange", "if __name__")

# %% [markdown]
# Three processes, each with an address; nobody is in charge. (A *deadlock* is one line away: if all
# first sent and then received, and the chunks were larger than the sockets' buffers, all would wait
# for ever. Hence the thread in `exchange`.)

# %%
with engines.ring(3) as three:
    three.wait(engines.DEADLINE)
    ring = [json.loads(process.text) for process in three.processes]
for one in ring:
    print(f"rank {one['rank']} sends to {one['right']}; off by at most {one['error']:.0e}")
measured = {int(size): seconds for size, seconds in ring[0]["seconds"].items()}

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What it costs: α and β
#
# A message of $S$ bytes takes $\alpha + \beta S$ seconds: a **latency** and a time for each byte. In
# $2(n-1)$ turns with $S/n$ bytes each,
#
# $$T(n, S) = 2 (n-1) \, \alpha + 2 \, \frac{n-1}{n} \, \beta S .$$
#
# Two numbers describe a network. We fit them to what was just measured, in the least-squares sense,
# relative to each measurement, so that small messages count as much as large ones.


# %% tags=["export"]
def ring_seconds(n, size, alpha, beta):
    """How long a ring all-reduce of `size` bytes takes n processes."""
    return 2 * (n - 1) * alpha + 2 * (n - 1) / n * beta * size


def fit(measured, n):
    """α and β from {bytes: seconds}."""
    sizes, seconds = (np.array(column, "float64") for column in zip(*measured.items(), strict=True))
    rows = np.stack([2 * (n - 1) + 0 * sizes, 2 * (n - 1) / n * sizes], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(rows / seconds[:, None], np.ones(len(sizes)), rcond=None)
    return max(alpha, 0.0), max(beta, 1e-13)


# %%
alpha, beta = fit(measured, 3)
print(f"α = {1e6 * alpha:.0f} µs, β = {1e9 * beta:.2f} ns a byte, that is {1e-9 / beta:.2f} GB/s")
print("      bytes   measured      model")
for size, seconds in measured.items():
    print(
        f"{size:>11,} {1000 * seconds:>7.2f} ms {1000 * ring_seconds(3, size, alpha, beta):>7.2f} ms"
    )
fig, ax = plots.figure(width=6, height=2.8)
sizes = np.logspace(0.5, 7.5)
ax.loglog(
    sizes, [1000 * ring_seconds(3, s, alpha, beta) for s in sizes], color="grey", label="α–β model"
)
ax.loglog(
    list(measured), [1000 * t for t in measured.values()], "o", color="#0072B2", label="measured"
)
ax.set(xlabel="bytes in the gradient", ylabel="ms for an all-reduce")
ax.legend(frameon=False)
alt = "time of a ring all-reduce of three processes against the gradient's size: flat below a few hundred kilobytes, then proportional"
plots.show(fig, alt=alt)

# %% [markdown]
# Flat, then proportional. **Small messages are all latency**: 25,450 gradients in four messages cost
# four latencies, in one message one. That is why engines glue gradients together into *buckets* (25 MB
# in PyTorch), and why they send a bucket as soon as it is full, while the backward pass still
# works on earlier layers. (Where the points lie above the line, the machine had something else to do.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. The same model in three frameworks
#
# The scripts of this chapter load these cells (`utils.lessons.load`): what you read here is what
# runs in the processes.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchNet(nn.Module):
    """Two dense layers with a tanh between them."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.logits = nn.Linear(784, hidden), nn.Linear(hidden, 10)

    def forward(self, x):  # B×784 → B×10
        return self.logits(torch.tanh(self.hidden(x)))


# %% [markdown]
# In each framework the gradient of the first batch, from the same weights, beside the one by hand:

# %% tags=["torch"]
model = TorchNet(SETTINGS["hidden"])
parity.set_weights(model, weights)
x, y = map(torch.as_tensor, whole)
found = torch.autograd.grad(F.cross_entropy(model(x), y), parity.variables(model))
gap = engines.apart(parity.named_gradients(model, found), large)
print(f"PyTorch: {parity.count(model):,} parameters, gradients differ by {gap:.0e}")

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import Dense  # built by hand in 01_autoencoder


class TFNet(tf.Module):
    """Two dense layers with a tanh between them."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.logits = Dense(784, hidden), Dense(hidden, 10)

    def __call__(self, x):  # B×784 → B×10
        return self.logits(tf.tanh(self.hidden(x)))


def gradients_tf(model, x, y):
    """Of the mean cross-entropy of these images."""
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x))
        loss = tf.reduce_mean(losses)
    return tape.gradient(loss, parity.variables(model))


# %% tags=["tensorflow"]
model = TFNet(SETTINGS["hidden"])
parity.set_weights(model, weights)
found = gradients_tf(model, *whole)
gap = engines.apart(parity.named_gradients(model, found), large)
print(f"TensorFlow: {parity.count(model):,} parameters, gradients differ by {gap:.0e}")

# %% tags=["export", "keras"]
import keras
from keras import layers


def KerasNet(hidden):
    """Two dense layers with a tanh between them."""
    x = keras.Input((784,))  # B×784
    h = layers.Dense(hidden, activation="tanh", name="hidden")(x)
    return keras.Model(x, layers.Dense(10, name="logits")(h))  # B×10


def loss_keras():
    """The mean cross-entropy in nats."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


# %% tags=["keras"]
model = KerasNet(SETTINGS["hidden"])
parity.set_weights(model, weights)
model.compile(keras.optimizers.SGD(1.0), loss_keras())
model.train_on_batch(*whole)  # one step at rate 1 is the gradient
after = parity.get_weights(model)
gap = engines.apart({name: weights[name] - after[name] for name in weights}, large)
print(f"Keras: {parity.count(model):,} parameters, gradients differ by {gap:.0e}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Synchronous engines
#
# Each of the next cells **starts** processes and returns at once; they load side by side, and the last cell
# of this part waits for all. Processes are started by a small helper,
# [`utils/cluster.py`](../../utils/cluster.py): each has a log, a deadline and a guardian that
# ends it, and all that it started, when this notebook is interrupted, closed or killed.

# %%
STEPS = 20
trained = ("--steps", STEPS, "--seed", SEED)
running = {}  # what is starting -> its cluster

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### PyTorch: `torchrun` and `DistributedDataParallel`
#
# `torchrun` starts the processes, and tells each by environment variables its `RANK`, the `WORLD_SIZE`
# and where rank 0 listens. The model is wrapped once; from then on `backward()` averages the gradients, bucket by bucket, while
# it computes. The loop is the one that you know. Between CPUs the messages are carried by **gloo**,
# between GPUs by NCCL.

# %% tags=["torch"]
show("ddp.py", "replica = ", "# A restarted")
show("ddp.py", "    x, y = lesson.shard", "    times.append")
running["DDP"] = engines.ddp(*trained)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### TensorFlow: one process, two devices; two processes
#
# `MirroredStrategy` keeps a copy of each variable on every device of one process. There is one CPU here,
# so the script splits it into two *logical devices*, which must happen before TensorFlow first
# looks at it. `strategy.run` calls the function once for each replica; `strategy.reduce` is the all-reduce.

# %% tags=["tensorflow"]
show("mirrored.py", "    @tf.function", "    def mine")
running["Mirrored"] = engines.mirrored(*trained)

# %% [markdown]
# `MultiWorkerMirroredStrategy` is the same between processes, on one host or many. Nobody starts the
# processes for you, and each learns from `TF_CONFIG` who is in the cluster and who it is. Here is what
# the first of the two is told:

# %% tags=["tensorflow"]
members = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
print(cluster.tf_config(members, "worker", 0)["TF_CONFIG"])
show("multiworker.py", "options = ", "from utils")
running["MultiWorker"] = engines.multiworker(*trained)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Keras
#
# Under `MirroredStrategy`, `fit` works: create and compile inside of `strategy.scope()`, and each batch is
# cut between the replicas. Under the other two strategies `fit` fails with Keras 3, so the
# loop is written by hand: the Keras optimiser must be built inside the scope (`optimizer.build(…)`), since
# inside a `tf.function` it is too late. And mind the loss: Keras's loss divides by the number of
# replicas by itself where a strategy is active, because `apply` *sums* the gradients. Divide again, and
# you train with half the rate. On the PyTorch backend a Keras model is a `torch.nn.Module`, and DDP drives it.

# %% tags=["keras"]
if session.keras_backend == "tensorflow":
    show("mirrored.py", "    with strategy.scope():\n        model = lesson.KerasNet", "else:")
    show("multiworker.py", "def step_keras", "def one_step")
    running["Keras, fit, Mirrored"] = engines.mirrored("--keras", *trained)
    if not session.quick:
        running["Keras, loop, MultiWorker"] = engines.multiworker("--keras", *trained)
else:
    show("keras_ddp.py", "replica = ", "if rank")
    running["Keras in DDP"] = engines.keras_ddp(*trained)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Every one equals one process
#
# Twenty steps on the same batches, with float32. **Commit to a prediction**: two processes add up in another
# order than one. After twenty steps their weights differ by …

# %%
exercises.predict(
    "After 20 steps the largest difference of any weight, one process against two, is …",
    ["exactly 0", "about 1e-7", "about 1e-3"],
    key="equal",
)

# %%
reference = alone(STEPS, SEED)
moved = engines.apart(reference, start(SETTINGS["hidden"], SEED))
print(f"in 20 steps of one process a weight moves by up to {moved:.2f}; the engines differ by")
gaps = {title: engines.apart(engines.result(one), reference) for title, one in running.items()}
for title, gap in gaps.items():
    print(f"{title:<25} {gap:.1e}")
assert max(gaps.values()) < 1e-6, "the engines no longer agree with one process"
exercises.reveal("equal", "about 1e-7")

# %% [markdown]
# A few units in the last place of a float32. It is the same training, spread over processes.
# (A long training drifts apart, as it does between two graphics cards: rounding errors grow.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. More engines
#
# These are started by the full profile, or by you: set `MORE = True`. What they reached when the
# results were recorded stands in part 9.

# %%
MORE = not session.quick
more = {}


def compare(title, launch, gap=1e-6):
    """Run an engine to its end, and print its distance from one process."""
    found = engines.apart(engines.result(launch()), reference)
    more[title] = found
    print(f"{title:<32} differs by {found:.1e}")
    assert found < gap


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### FSDP2: nobody holds the whole model
#
# Adam keeps two more numbers for each weight, and with the gradient that is 16 bytes for each
# parameter in float32, on *every* device. `fully_shard` cuts each weight into as many parts as there
# are processes; a layer is gathered just before it is used. Per step each process sends
# about $3N$ numbers in place of $2N$: half as much again buys $1/n$ of the memory. (This is ZeRO's third stage,
# [Rajbhandari et al. 2020](https://arxiv.org/abs/1910.02054).) FSDP1, the class of the older tutorials, is deprecated.

# %% tags=["torch"]
show("fsdp.py", "for layer in", "kernel = ")
if MORE:
    compare("FSDP2", lambda: engines.fsdp(*trained))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A communication hook: gradients in half precision
#
# `fp16_compress_hook` sends each bucket as 16-bit numbers: half the bytes, and no longer the same
# training to the last digit. Part 7 shows when it pays. On gloo the bf16 hook raises an error, and
# PowerSGD (low-rank gradients, [Vogels et al. 2019](https://arxiv.org/abs/1905.13727)) needs all gradients
# in one bucket.

# %% tags=["torch"]
if MORE:
    compare("DDP, gradients in fp16", lambda: engines.ddp("--hook", "fp16", *trained), gap=1e-2)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A parameter server
#
# The variables live in one process, the **parameter server** (`ps`). **Workers** fetch them, and send back
# gradients or changes. A **chief** hands out the work, through a `ClusterCoordinator`, and notices who dies. Run
# so that the chief waits for both gradients and averages them, it equals one process like all others.
# Run *asynchronously*, as it was made for, a worker computes with weights that others have changed
# meanwhile: gradients are **stale**, nobody waits, and no two runs are the same.

# %% tags=["tensorflow"]
show("parameter_server.py", "if asked.asynchronous", "        counter.assign_add")
if MORE:
    four = engines.parameter_server(*trained)
    compare("ParameterServer, synchronous", lambda: four)
    late = engines.result(engines.parameter_server("--asynchronous", *trained))
    gap, (nats, _) = engines.apart(late, reference), loss_and_accuracy(late)
    print(f"asynchronous: differs by {gap:.1e}; test loss {nats:.3f}, of one process ", end="")
    print(f"{loss_and_accuracy(reference)[0]:.3f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A cluster, by its addresses
#
# A TensorFlow cluster is a list of addresses by *task type*; each process runs a server at its own and
# calls the others by **RPC** (remote procedure calls, gRPC's): "run this function on these tensors, and send me
# the result". Nothing more is behind `schedule`. These were the addresses of the clusters above:


# %% tags=["tensorflow"]
def addresses(made):
    """What the processes of a cluster said about where they are."""
    words = ("listens", "lives", " of 2, process")
    said = made.text().splitlines()
    print(f"{made.name}:", *(line for line in said if any(w in line for w in words)), sep="\n  ")


addresses(running["MultiWorker"])
if MORE:
    addresses(four)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### TPUs
#
# Eight cores, one address, and the same two calls as everywhere, `scope` and `run`. This needs a TPU (on Colab:
# *Runtime ▸ Change runtime type ▸ TPU*) and was **not run** for this notebook:
#
# ```python
# resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
# tf.config.experimental_connect_to_cluster(resolver)
# tf.tpu.experimental.initialize_tpu_system(resolver)  # forgets everything that was on it
# strategy = tf.distribute.TPUStrategy(resolver)
# print(strategy.num_replicas_in_sync)  # 8
# with strategy.scope():
#     model = TFNet(SETTINGS["hidden"])
# ```
#
# XLA compiles the step for fixed shapes, so `drop_remainder=True` is a must there: a last, smaller batch would
# be compiled anew.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Faults
#
# With 1,000 machines that fail once in three years each, one fails every day. What matters is
# what the others do, and what is lost.
#
# | what happens | torchrun | MultiWorker | ParameterServer |
# |---|---|---|---|
# | a worker dies | ends all, starts all again (`--max-restarts`) | the others' all-reduce fails (`UnavailableError`); somebody must start all again | its work goes to another; training goes on |
# | the machine is wanted back (SIGTERM) | your handler: all save at the same step, and leave | `PreemptionCheckpointHandler` | the chief must save |
# | a worker never joins | time-out | waits; the launcher's deadline is sooner | not tried here |
# | the parameter server dies | – | – | the weights are gone: an error at the chief, and the checkpoint |
#
# Restarted processes load the last checkpoint. Since `batch(step)` depends on nothing but the step, they repeat
# exactly the steps since, and the end is **the same as without the fault**. That is what the lab below
# checks. (Without `TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`, torchrun's restart on one machine
# [hangs](https://github.com/pytorch/pytorch/issues/135712) now and then; the helper sets it.)

# %%
known = {
    title: function
    for title, (framework, function) in faults.FAULTS.items()
    if framework in session.frameworks
}


def break_it(title):
    """Run one fault, tell what happened, and compare the end with an unbroken run."""
    story = known[title]()
    story.tell()
    if story.weights is not None:
        gap = engines.apart(story.weights, alone(faults.STEPS, 0))
        print(f"after step {faults.STEPS}: {gap:.1e} from a run without the fault")
        assert gap < 1e-6


faults.Lab(known, break_it).show()

# %% [markdown]
# Without a front end no button can be pressed; so here is one of them (the full profile runs all).
# **Before you look**: rank 1 is killed with SIGKILL, which cannot be caught, after step 6 of 12;
# checkpoints are written after steps 4 and 8. From which step does rank *0* go on?

# %%
exercises.predict(
    "Rank 1 is killed after step 6. Rank 0, which is well, …",
    ["goes on alone", "waits at step 7 for ever", "is ended as well, and starts again from step 4"],
    key="killed",
)

# %%
chosen = list(known) if not session.quick else [t for t in known if t in faults.QUICK][:1]
for title in chosen:
    print(f"--- {title}")
    break_it(title)
exercises.reveal("killed", "is ended as well, and starts again from step 4")

# %% [markdown]
# Rank 0 cannot go on alone: its next all-reduce needs rank 1. So `torchrun` ends it too, waits until all
# are there again, and everybody loads step 4. Two steps were computed twice; nothing else was lost. How often
# to save? If saving takes $c$ seconds and a fault comes every $M$ seconds, about every $\sqrt{2 c M}$ seconds
# ([Young 1974](https://doi.org/10.1145/361147.361115)).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Two hosts on one machine
#
# A Linux **network namespace** has interfaces and addresses of its own. Two of them, a virtual cable in between,
# and `tc` to make the cable slow: two hosts, as far as gloo and gRPC can tell. It takes root, so the
# numbers below are recorded ones (`make results NAME=18_distributed` repeats them):

# %%
from utils import hosts, results
from utils.recipes import distributed as recipe

recorded = recipe.recorded()
print(recorded["machine"])
print("This machine could repeat it." if not hosts.why_not() else f"Not here: {hosts.why_not()}.")
print("\nall-reduce of two hosts, gloo: measured, and bytes / bandwidth\n")
print(" " * 12 + "".join(f"{title:>22}" for title in recorded["links"]))
for size in recorded["sizes"]:
    row = f"{size / 1e6:>9.1f} MB"
    for link in recorded["links"].values():
        model = f"{1000 * 8 * size / link['bits']:.0f}" if link["bits"] else "–"
        row += f"{1000 * link['allreduce'][str(size)]:>13.1f} /{model:>5} ms"
    print(row)

# %% [markdown]
# For $n = 2$ the model says $\beta S$: bytes divided by bandwidth. Large messages obey it within a few percent; it
# is the cheapest honest prediction of your next cluster's speed.
#
# **Commit to a prediction**: a network of 1.6 million weights (6.5 MB of gradients), batches of 32 on each host.

# %%
exercises.predict(
    "Gradients as 16-bit numbers make a step shorter …",
    ["on all three", "between the hosts, not on loopback", "only at 100 Mbit/s", "nowhere"],
    key="fp16",
)

# %%
print("ms a step" + "".join(f"{title:>16}" for title in recorded["links"]))
for title in ("DDP", "DDP, fp16", "MultiWorker"):
    cells = (f"{link['step'][title]:>16.0f}" for link in recorded["links"].values())
    print(f"{title:<12}" + "".join(cells)[3:])
gain = {t: link["step"]["DDP"] / link["step"]["DDP, fp16"] for t, link in recorded["links"].items()}
print("fp16 is faster by " + ", ".join(f"{value:.2f} ({title})" for title, value in gain.items()))
helps = [title for title, value in gain.items() if value > 1.1]
outcome = ["nowhere", "only at 100 Mbit/s", "between the hosts, not on loopback", "on all three"]
exercises.reveal("fp16", outcome[len(helps)])

# %% [markdown]
# Compression pays where the wire is what one waits for; where it is not, converting costs. The
# arithmetic says so before any run: at 100 Mbit/s 6.5 MB take 0.52 s, and half of them half.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Large batches
#
# More workers, each with the same number of images: the batch grows. Goyal et al.
# ([2017](https://arxiv.org/abs/1706.02677)) trained ResNet-50 with batches of 8,192 on 256 GPUs in an hour,
# as accurately as with 256 images on 8, by two rules:
#
# - **linear scaling**: a batch $k$ times as large, a rate $k$ times as large. One large step then
#   goes about where $k$ small ones would have gone, *if the gradient changes little meanwhile*;
# - **gradual warm-up**: it changes much at the beginning; so start with the small rate, and raise it over the first epochs.
#
# In the same number of *images* seen, a batch of 512 makes an eighth of the steps of a batch of 64.
# We try it with a careful rate for batches of 64, 0.05, and with one four times as large, which
# is better for them.

# %%
exercises.predict(
    "Batches of 512 (8 × 64), the same number of images. What comes closest to batches of 64?",
    ["the old rate", "the rate × 8", "neither comes near"],
    key="scaling",
)


# %%
def train(size, rate, images, warm=0, seed=SEED):
    """Plain descent on so many images; the rate rises over the first `warm` steps."""
    weights, losses = start(SETTINGS["hidden"], seed), []
    for step in range(images // size):
        now = rate * min(1, (step + 1) / warm) if warm else rate
        found = gradients(weights, *batch(step, size, seed))
        weights = {name: w - np.float32(now) * found[name] for name, w in weights.items()}
        losses.append(loss_and_accuracy(weights)[0])
    return weights, losses


IMAGES, CAREFUL, BOLD = 64 * 320, 0.05, 0.2
RUNS = {  # what the row says -> size of the batch, what multiplies the rate, steps of warm-up
    "batch 64": (64, 1, 0),
    "the old rate": (512, 1, 0),
    "the rate × 8": (512, 8, 0),
    "the same, warm-up": (512, 8, 5),
}

# %%
fig, axes = plots.figure(columns=2, width=9, height=3)
ends = {}
for ax, base in zip(axes, (CAREFUL, BOLD), strict=True):
    print(f"base rate {base}")
    for title, (size, factor, warm) in RUNS.items():
        reached, losses = train(size, factor * base, IMAGES, warm)
        ax.plot(size * np.arange(1, len(losses) + 1), losses, label=title)
        ends[base, title], right = loss_and_accuracy(reached)
        print(
            f"  {title:<18} {len(losses):>3} steps, test loss {ends[base, title]:.3f}, "
            f"accuracy {100 * right:.1f} %"
        )
    ax.set(title=f"base rate {base}", xlabel="images seen", ylabel="test loss, nats", yscale="log")
axes[0].legend(frameon=False, fontsize=9)
alt = (
    "test loss against images seen, two base rates: with the careful one eight times the rate "
    "follows the small batch; with the bold one it stays far above"
)
plots.show(fig, alt=alt)
small = ends[CAREFUL, "batch 64"]
near = {t: abs(ends[CAREFUL, t] - small) for t in ("the old rate", "the rate × 8")}
best = min(near, key=near.get)
exercises.reveal("scaling", best if near[best] < 0.2 else "neither comes near")

# %% [markdown]
# With the careful rate the rule works: the old rate wastes the larger batch, eight times the rate brings
# it back. With the bold one it **fails**, and so does the warm-up: a step of 1.6 is longer than
# this loss surface allows at any time, and not only at the start. Warm-up is for
# networks that are wilder at their start than later; ours is not, and loses a little by it. So the rule
# is a first guess to be checked, with an end: beyond some batch size the gradient is precise enough, and
# more images in a step buy nothing
# ([McCandlish et al. 2018](https://arxiv.org/abs/1812.06162)).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Measure it

# %%
results.show("18_distributed")

# %% [markdown]
# **No speed-up is claimed.** Compare at equal core counts: the rows *processes × threads* take one batch
# of 64 on one core or on two. Two processes were slower than one, since this network computes for less
# time than its 6.5 MB of gradients take to be exchanged, even within one machine. (The machine had other work meanwhile, so
# take the times as rough ones: the range of three runs stands beside each.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Beyond: an extrapolation
#
# What the cost model says about more workers, **not measured**: a step computes for $c$ seconds, then exchanges
# $S$ bytes; nothing overlaps. The efficiency is $c / (c + T(n, S))$.

# %%
NETWORKS = {
    "1 Gbit/s": (1e-4, 8 / 1e9),
    "25 Gbit/s": (2e-5, 8 / 25e9),
    "100 Gbit/s": (1e-5, 8 / 100e9),
}
MODELS = {"ResNet-50": (25_557_032, 0.2), "VGG-16": (138_357_544, 0.4)}  # weights, seconds a step
print("efficiency in % (assumed seconds a step)   " + "".join(f"{n:>8}" for n in (8, 64, 256)))
for model, (count, compute) in MODELS.items():
    for network, (a, b) in NETWORKS.items():
        row = (compute / (compute + ring_seconds(n, 4 * count, a, b)) for n in (8, 64, 256))
        print(
            f"{model:<10} {compute} s, {network:>10}{'':<16}"
            + "".join(f"{100 * e:>8.0f}" for e in row)
        )

# %% [markdown]
# Published, for comparison: **90 %** for ResNet-50 on 256 GPUs (Goyal et al., from 8 to 256, on 50 Gbit/s Ethernet, with the exchange
# hidden behind the backward pass); [Horovod](https://github.com/horovod/horovod/blob/master/docs/benchmarks.rst) reports **90 %** for
# Inception V3 and ResNet-101, and **68 %** for VGG-16, on 512 GPUs with 25 Gbit/s. The model explains the difference: VGG-16 has more than five
# times ResNet-50's weights to send. Real engines do better than this table because they overlap; real networks do worse because
# they are shared.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. The same script, beyond one machine
#
# `ddp.py` does not know how many hosts there are; whoever starts it does. Four ways, each a short
# file in [`scripts/`](scripts). They are checked for their syntax, and **were not run**: this course has no cluster.
#
# | file | who finds the machines | who restarts |
# |---|---|---|
# | [`torchrun_hosts.sh`](scripts/torchrun_hosts.sh) | you, one shell on each | torchrun |
# | [`slurm.sbatch`](scripts/slurm.sbatch) | the queue of a university's cluster | torchrun, and `--requeue` |
# | [`skypilot.yaml`](scripts/skypilot.yaml) | SkyPilot, at the cloud you have an account with | `sky jobs launch` |
# | [`trainjob.yaml`](scripts/trainjob.yaml) | Kubernetes, with Kubeflow Trainer v2 | the job's restart policy |

# %%
print((cluster.SCRIPTS / "slurm.sbatch").read_text(encoding="utf-8"))

# %% [markdown]
# What changes outside: the checkpoint's folder must be one that all hosts see; the port must be open between them; on
# machines with several networks gloo and NCCL must be told which (`GLOO_SOCKET_IFNAME`, `NCCL_SOCKET_IFNAME`); and nothing
# of this traffic is encrypted or checked, so it belongs into a private network.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()` shows one.

# %% [markdown]
# **1. Uneven shards.** The gradient of the whole batch, from the shards' mean gradients and sizes.


# %%
def merge(gradients, sizes):
    """gradients (workers, …), each the mean over its shard; sizes (workers,) → (…)."""
    return ...  # your code


questions.merge.check(merge)
# questions.merge.hint()
# questions.merge.solution()

# %% [markdown]
# **2. Reduce-scatter.** What does each process hold after the first half of the ring?


# %%
def scattered(values):
    """values (n, n): chunk c of process r → (n, n) after n − 1 turns, as `ring.py` does it."""
    return ...  # your code


questions.scattered.check(scattered)

# %% [markdown]
# **3. The bill.** How long does it take, from α and β?


# %%
def seconds(n, size, alpha, beta):
    """A ring all-reduce of `size` bytes among n processes."""
    return ...  # your code


questions.seconds.check(seconds)

# %% [markdown]
# **4. Who sees what.** The indices of one rank in one epoch, where the images need not divide: repeat
# images from the beginning of the permutation until they do.


# %%
def indices_of(permutation, rank, world):
    """permutation (images,) → (⌈images / world⌉,)."""
    return ...  # your code


questions.indices_of.check(indices_of)

# %% [markdown]
# **5. Linear scaling with warm-up.** The rate of a step, counted from 0: it rises in a straight line from
# the base rate at step 0 to $k$ times the base rate at step `warm`, and stays.


# %%
def rate_of(step, base, k, warm):
    """Goyal et al.'s gradual warm-up."""
    return ...  # your code


questions.rate_of.check(rate_of)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - Averaged gradients of equal shards *are* the large batch's gradient. Unequal shards need weights; BatchNorm
#   needs more.
# - A ring sends less than $2N$ numbers from each process, however many there are. Two numbers, α and β, predict it.
# - All synchronous engines equal one process to the last digits. If yours does not, look at shards, the loss's
#   divisor, and `set_epoch`.
# - A dead worker stops everybody but a parameter server. Checkpoints and a batch that depends only on the step bring all back.
# - A waiting process needs a deadline: nothing tells it that nobody will come.
#
# | take | when |
# |---|---|
# | one process | it fits, and you can wait: nothing here is free |
# | `MirroredStrategy`, DDP on one host | several GPUs in one machine |
# | DDP with torchrun, MultiWorkerMirroredStrategy | several machines; torchrun also restarts |
# | FSDP2 | the model or its optimiser does not fit on a device |
# | ParameterServerStrategy | workers that come and go, huge embeddings |
# | fp16 or PowerSGD hooks | the wire is slow: measure first |
#
# **Further reading.** Goyal et al. ([2017](https://arxiv.org/abs/1706.02677)), a model of careful reporting; Li et al.
# ([2020](https://arxiv.org/abs/2006.15704)) on how DDP overlaps and buckets; Dean et al.
# ([2012](https://papers.nips.cc/paper/4687-large-scale-distributed-deep-networks)) on parameter servers; *Dive into Deep Learning*,
# [chapter 13](https://d2l.ai/chapter_computational-performance/index.html).

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [Serving a model with Flask](../06_serving/19_flask.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/06_serving/19_flask.ipynb))
# - **Previous:** [Training on a GPU](17_gpu.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/05_scale/17_gpu.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
