# ---
# jupyter:
#   course:
#     title: "Training on a GPU"
#     summary: "What a GPU is good at, measured; half precision, compilers, input pipelines and profiles, each weighed; a run that goes on as if nothing had happened."
#     minutes: {cpu: 50, gpu: 45}
#     prerequisites:
#       - "a classifier trained in three frameworks (10)"
#     objectives:
#       - "time code so that the number means something"
#       - "tell from arithmetic intensity whether memory or arithmetic is the limit"
#       - "put tensors on a device in three frameworks, and notice when they are elsewhere"
#       - "train in half precision without losing small gradients"
#       - "weigh a compiler's first call against what it saves"
#       - "find the bottleneck of a slow training script from its profile"
#       - "save a run and continue it exactly: weights, momentum, step, order of the data"
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
# # Training on a GPU
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/05_scale/17_gpu.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/05_scale/17_gpu.ipynb)
#
# What a GPU is good at, measured; half precision, compilers, input pipelines and profiles, each weighed; a run that goes on as if nothing had happened.
#
# **Time:** about 50 minutes on a CPU, 45 on a GPU.
#
# **Before you start:** a classifier trained in three frameworks (10).
#
# **What you will be able to do:**
#
# - time code so that the number means something
# - tell from arithmetic intensity whether memory or arithmetic is the limit
# - put tensors on a device in three frameworks, and notice when they are elsewhere
# - train in half precision without losing small gradients
# - weigh a compiler's first call against what it saves
# - find the bottleneck of a slow training script from its profile
# - save a run and continue it exactly: weights, momentum, step, order of the data

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
import contextlib
import functools
import os  # noqa: F811
import shutil
import subprocess  # noqa: F811
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from utils import data, exercises, lessons, parity, plots, runtime
from utils.bottleneck import Hunt
from utils.controls import Choice, Slider
from utils.exercises import gpu as questions
from utils.explore import Explorer

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown]
# Every cell of this chapter runs with and without a GPU, and says on which it ran. The stored
# outputs come from the machine named below; your times will be others. **Compare ratios, not
# milliseconds, and do not trust ratios below 1.2.**

# %%
from utils import results

load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
print(f"{results.processor()}{load}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. How to time it
#
# A CPU has a few cores, each made to finish *one* thing soon. A GPU has thousands of small ones, made
# to finish *many* things per second: any single one waits longer. Training is many things: the same
# few operations on every pixel, channel and image of a batch.
#
# Whether it pays is a matter of measuring, and a measurement can go wrong in four ways:
#
# 1. **The first call** does what later ones need not: it loads libraries, picks algorithms,
#    compiles, fills caches. Call a few times first: *warm up*.
# 2. **The call returns before the work is done.** A GPU works through a queue, and Python only adds to
#    it. Wait for the queue to be empty: *synchronise*.
# 3. **One number is none.** Other programs run, clocks change with the temperature. Repeat; report
#    the *median* and the *spread*.
# 4. **Something else is timed**: the loading, the `print`, the copy back.


# %% tags=["export"]
def timed(work, repeats=7, warm_up=2, wait=lambda: None):
    """Seconds of each of `repeats` calls, after some that do not count."""
    for _ in range(warm_up):
        work()
    wait()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()  # never time.time(): that clock may be set back
        work()
        wait()
        seconds.append(time.perf_counter() - started)
    return np.array(seconds)


def in_words(seconds):
    """Median and quartiles in milliseconds."""
    low, middle, high = 1e3 * np.quantile(seconds, [0.25, 0.5, 0.75])
    return f"{middle:.3g} ms ({low:.3g} to {high:.3g})"


# %% [markdown]
# The second mistake is easy to make, and there is no error message. Here is a queue that works as a
# GPU's does, on any machine: one worker, in the background, that takes up what it is handed.

# %%
exercises.predict(
    "A product of two 1500×1500 matrices is handed to the queue and the clock stopped at once. It says …",
    ["about as much as with waiting", "half of it", "less than a tenth of it"],
    key="queue",
)

# %%
square = np.random.default_rng(SEED).random((1500, 1500), dtype=np.float32)
with ThreadPoolExecutor(max_workers=1) as queue:
    last = None

    def launch():
        global last
        last = queue.submit(np.matmul, square, square)

    hasty, patient = [], []
    for _ in range(5):
        hasty.append(timed(launch, repeats=1, warm_up=0)[0])
        last.result()  # so that the next one finds the queue empty
        patient.append(timed(launch, 1, 0, wait=lambda: last.result())[0])
hasty, patient = np.array(hasty), np.array(patient)
print(f"without waiting {in_words(hasty)}\nwith waiting    {in_words(patient)}")
share = np.median(hasty) / np.median(patient)
outcome = "about as much as with waiting" if share > 0.75 else "half of it"
exercises.reveal("queue", "less than a tenth of it" if share < 0.1 else outcome)

# %% [markdown]
# The hasty clock measured how long it takes to *ask*. On a GPU every framework behaves so: wait with
# `torch.cuda.synchronize()`, with `tf.test.experimental.sync_devices()`, or by fetching a result as
# a NumPy array, which cannot be done before it exists. It is also why `loss.item()` after every
# step costs time on a GPU: the queue runs empty each time.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. What a GPU is good at
#
# Each operation moves bytes between memory and arithmetic units, and calculates. **Arithmetic
# intensity** is the ratio:
#
# $$I = \frac{\text{floating-point operations}}{\text{bytes moved}}.$$
#
# - Adding two vectors of $n$ float32: $n$ operations, $12 n$ bytes (two read, one written).
#   $I = 1/12$, whatever $n$.
# - Multiplying two $n \times n$ matrices: $2 n^3$ operations on at least $12 n^2$ bytes. $I = n/6$:
#   the larger, the better.
#
# A machine with a peak of $P$ operations and $B$ bytes a second can do at most
#
# $$\min(P, \; I \cdot B)$$
#
# operations a second. Drawn over $I$ with both axes logarithmic, that is a sloping line that ends
# under a flat one: the **roofline** (Williams, Waterman and Patterson,
# [2009](https://doi.org/10.1145/1498765.1498785)). Left of the corner, at $I = P / B$, *memory* is the
# limit, and faster arithmetic buys nothing; right of it, *arithmetic* is.
#
# | from data sheets, not measured | float32, TFLOP/s | 16 bits, TFLOP/s | memory, GB/s | corner, float32 | corner, 16 bits |
# |---|---|---|---|---|---|
# | [T4](https://www.nvidia.com/en-us/data-center/tesla-t4/) (as on Colab) | 8.1 | 65 | 320 | 25 | 203 |
# | [A100, 40 GB](https://images.nvidia.com/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf) | 19.5 | 312 | 1,555 | 13 | 201 |
#
# **Half precision moves the corner to the right**: on these the arithmetic becomes 8 to 16 times as
# fast, and the memory's bytes only half as many. Few layers have an intensity of 200.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The roof over this machine
#
# Both numbers can be measured: a large matrix product for $P$, copying a large array for $B$ (a copy
# reads and writes every byte). It is a copy by as many threads as there are cores; one alone rarely
# saturates the memory. A roof is the *best* that was seen, so in this part and in part 7, and nowhere
# else, the fastest call counts and not the median.


# %% tags=["export"]
def peak_numpy(n=1536):
    """Floating-point operations per second of NumPy's matrix product."""
    square = np.random.default_rng(0).random((n, n), dtype=np.float32)
    return 2 * n**3 / timed(lambda: square @ square).min()  # a peak: the best that was seen


def bandwidth_numpy(megabytes=64):
    """Bytes per second that a copy reads and writes, with a thread on each core."""
    parts = runtime.threads()
    source = np.ones((parts, megabytes * 2**18 // parts), dtype=np.float32)
    target = np.empty_like(source)  # written once before the clock starts: memory is lent lazily
    with ThreadPoolExecutor(parts) as pool:
        seconds = timed(lambda: list(pool.map(np.copyto, target, source)))
    return 2 * source.nbytes / seconds.min()


# %%
peak, bandwidth = peak_numpy(), bandwidth_numpy()
print(f"CPU, by NumPy: {peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s")
print(f"the corner is at {peak / bandwidth:.1f} operations a byte")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. From the driver to the framework, without folklore
#
# Four things must fit together: the **GPU**, its **driver** (the only part that belongs to the
# operating system), the **CUDA libraries** (which do mathematics and convolutions, cuDNN among them)
# and the **framework**, built for one version of these libraries. `pip` brings the third with the
# fourth. What you may have read, and what is true today:
#
# - *"Install the CUDA toolkit and cuDNN first."* Not for the wheels: they bring their own copies. You
#   need a driver, and the toolkit only if you compile CUDA code yourself.
# - *"`nvidia-smi` shows the CUDA version that is installed."* It shows the newest one that the *driver*
#   can serve. The framework's own is `torch.version.cuda`, or `tf.sysconfig.get_build_info()`.
# - *"`pip install tensorflow-gpu`."* That package is gone: its
#   [last version](https://pypi.org/project/tensorflow-gpu/) exists to fail. `pip install
#   "tensorflow[and-cuda]"` installs TensorFlow with the libraries; plain `tensorflow` finds no GPU
#   unless they are there already.
# - *"cuDNN is optional, an accelerator."* A GPU build of either framework does its convolutions with
#   it. If TensorFlow cannot load it, it prints a line and goes on *without any GPU*.
# - *"Create a session with `allow_growth`."* Sessions went with TensorFlow 1. Part 5 has what
#   replaced them.
# - *"One environment for both."* The newest TensorFlow wheel asks for CUDA 12 libraries
#   (`nvidia-…-cu12`), PyTorch's for CUDA 13; `pip` installs both without a complaint, and two packages
#   then write the *same* file, `nvidia/nccl/lib/libnccl.so.2`: the later one wins. On a GPU machine
#   take **two environments**, and two kernels. (The lessons are the same in both. Colab has its own
#   pair, which was chosen to fit.)
#
# **Power and heat.** A data-centre GPU turns electricity into heat: up to 70 W (T4), 400 W (A100
# SXM), 700 W ([H100 SXM](https://www.nvidia.com/en-us/data-center/h100/)), and all of it must leave
# the room. A card that gets too hot, or asks for more power than it is granted, lowers its clock and
# says nothing; your times go up in the afternoon. `nvidia-smi
# --query-gpu=power.draw,temperature.gpu,clocks.sm --format=csv -l 1` shows it. A watt that a
# faster script does not draw is the cheapest one; so the rest of this chapter is about that.

# %%
try:
    query = "name,driver_version,memory.total,power.limit,temperature.gpu"
    asked = ["nvidia-smi", f"--query-gpu={query}", "--format=csv"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    print(found.stdout.strip() or "nvidia-smi is here, but finds no GPU.")
except (OSError, subprocess.TimeoutExpired):
    print("No NVIDIA driver on this machine: all that follows runs on the CPU.")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The model, and a run that can be cut anywhere
#
# The network is chapter 10's small AlexNet, taken from there as it is (in the variant that divides by
# 1.68 instead of normalising, which chapter 10 found to be the same). Around it each section builds a
# `Runner`: a training run that takes a step, saves itself, and restores itself **exactly**. All of
# its state:
#
# | state | where it is kept |
# |---|---|
# | weights | the model |
# | velocities | the optimiser: with momentum, half of the state; with Adam, two thirds |
# | the number of the step | a counter: the learning rate follows from it |
# | the order of the data | **nowhere: it follows from the step and the seed** |
# | random numbers (dropout) | a generator's state; here dropout is off, see below |
#
# The fourth row is the trick. If a shuffle comes out of a generator that was started once, its state
# has to be saved too, and most scripts forget: after a restart they begin an epoch anew, see some
# images twice and others not at all. A function has nothing to forget.

# %% tags=["export"]
QUICK = {"width": 8, "batch_size": 64, "steps": 12, "learning_rate": 0.05, "decay": 5e-4}
QUICK |= {"activation": "relu", "norm": "constant", "dropout": 0.0, "init": "he", "shift": 0}
FULL = {**QUICK, "width": 16, "batch_size": 128, "steps": 40}


@functools.lru_cache(maxsize=2)
def shuffled(n, seed, epoch):
    """The order of n images in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def order(step, n, settings):
    """Which images a step eats, counted from 0: a function of the step and the seed alone."""
    epoch, place = divmod(step, n // settings.batch_size)
    begin = place * settings.batch_size
    return shuffled(n, settings.seed, epoch)[begin : begin + settings.batch_size]


def go_on(runner, images, labels, settings, until):
    """Take steps until so many are done in all; returns the losses."""
    losses = []
    while runner.done < until:
        index = order(runner.done, len(images), settings)
        losses.append(float(runner.step(images[index], labels[index])))
    return losses


# %% [markdown]
# A save can be cut as well. So it goes into a folder beside the final one, which gets its name only
# once everything is in it: renaming happens wholly or not at all.


# %% tags=["export"]
@contextlib.contextmanager
def whole(folder):
    """A folder to write into that gets its name when it is complete, and only then."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # what a cut save has left
    part.mkdir(parents=True)
    yield part
    part.rename(folder)


def elsewhere(code, **variables):
    """What a fresh Python process prints, with other environment variables."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return done.stdout.strip()


Operations = collections.namedtuple("Operations", "put wait add relu product conv")
Way = collections.namedtuple("Way", "runner operations gradients logits")
ways = {}  # framework -> its four functions, filled by the sections
balance = []  # what a compiler cost and saved: framework, what, seconds, before, after

# %%
import logging

# Many runs, and each has graphs of its own: TensorFlow would warn that it traces so often.
logging.getLogger("tensorflow").setLevel(logging.ERROR)
digits = data.mnist()
x_train, y_train = digits.x_train, digits.y_train.astype("int64")
settings = SimpleNamespace(**QUICK, seed=SEED, device=session.device)
few, few_labels = x_train[:512], y_train[:512]  # 8 steps an epoch

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. PyTorch
#
# *Nothing moves by itself.* A tensor is on the device where it was made, `model.to(device)` moves a
# model in place, `tensor.to(device)` returns another tensor, and an operation on tensors of two devices
# is an error. That is strict, and good: you see where you are.

# %% tags=["export", "torch"]
import torch
from torch.nn import functional as F

alexnet_torch = lessons.load("10_alexnet", "torch")


def operations_torch(device):
    """A few operations on tensors of a device, and how to wait for them."""
    where = torch.device("cuda" if device == "gpu" else "cpu")
    wait = torch.cuda.synchronize if device == "gpu" else lambda: None

    def conv(x, kernel):  # B×H×W×C, k×k×C×F → B×F×H×W
        return F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding="same")

    def put(array):
        return torch.as_tensor(array).to(where)

    return Operations(put, wait, torch.add, torch.relu, torch.matmul, conv)


# %% tags=["torch"]
print("PyTorch", torch.__version__, "built for CUDA", torch.version.cuda)
if torch.cuda.is_available():
    print(torch.cuda.get_device_name(), "is", torch.empty(1, device="cuda").device)
else:
    try:
        torch.empty(1, device="cuda")
    except (AssertionError, RuntimeError) as error:
        print(f"no GPU, and PyTorch says so: {type(error).__name__}: {str(error).splitlines()[0]}")
code = "import torch; print(torch.cuda.device_count())"
hidden = elsewhere(code, CUDA_VISIBLE_DEVICES="-1")
print(f"{torch.cuda.device_count()} GPUs here, {hidden} with CUDA_VISIBLE_DEVICES=-1")

# %% [markdown]
# `CUDA_VISIBLE_DEVICES` decides which GPUs a process may see, and how they are numbered: with
# `CUDA_VISIBLE_DEVICES=2,3`, `cuda:0` is the third card. It is read once, when CUDA starts; set it before
# that, at best outside of Python. That is why the cell above asks *another* process.


# %% tags=["export", "torch"]
class TorchRunner:
    """A training run of chapter 10's classifier that can be cut after any step."""

    def __init__(self, settings, precision="float32"):
        self.settings, self.mixed, self.done = settings, precision != "float32", 0
        self.device = torch.device("cuda" if settings.device == "gpu" else "cpu")
        net = alexnet_torch.small(settings.width, settings.norm)
        model = alexnet_torch.TorchAlexNet(net, settings.activation, settings.dropout)
        parity.set_weights(model, alexnet_torch.start(net, settings.init, settings.seed))
        self.model = model.train().to(self.device)  # before an optimiser takes hold of its weights
        self.momentum = alexnet_torch.TorchMomentum(self.model.parameters())
        self.forward = self.model  # part 4 puts a compiled one here

    def step(self, x, y):
        """One step on images (B, 28, 28), bytes; returns the loss, still on the device."""
        s = self.settings
        x = torch.as_tensor(alexnet_torch.grey(x)).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits = self.forward(x)
        y = torch.as_tensor(y).to(self.device)
        loss = alexnet_torch.loss_torch(self.model, logits.float(), y, s.decay)
        loss.backward()
        self.momentum.step(alexnet_torch.learning_rate(self.done, s))
        self.done += 1
        return loss.detach()

    def save(self, folder):
        state = {"weights": self.model.state_dict(), "velocities": self.momentum.velocities}
        state |= {"done": self.done, "random": torch.get_rng_state()}
        with whole(folder) as part:
            torch.save(state, part / "run.pt")

    def restore(self, folder):
        state = torch.load(folder / "run.pt", map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["weights"])
        for mine, saved in zip(self.momentum.velocities, state["velocities"], strict=True):
            mine.copy_(saved)  # into the one on its device
        self.done = state["done"]
        torch.set_rng_state(state["random"])


# %% [markdown]
# - `map_location="cpu"` lets a run that was saved on a GPU go on without one.
# - `weights_only=True` loads tensors and plain containers, and runs no code that a stranger put into
#   the file.
# - `torch.get_rng_state()` is the CPU's generator; on a GPU dropout draws from another one
#   (`torch.cuda.get_rng_state()`), and a run with dropout keeps both.


# %% tags=["export", "torch"]
def gradients_torch(runner, images, labels):
    """The gradient of each weight, under neutral names."""
    x = torch.as_tensor(alexnet_torch.grey(images)).to(runner.device)
    y = torch.as_tensor(labels).to(runner.device)
    loss = alexnet_torch.loss_torch(runner.model, runner.model(x), y, 0.0)
    found = torch.autograd.grad(loss, parity.variables(runner.model))
    return parity.named_gradients(runner.model, found)


@torch.no_grad()
def logits_torch(runner, images):
    """Logits (N, 10) of images (N, 28, 28), bytes."""
    return runner.model(torch.as_tensor(alexnet_torch.grey(images)).to(runner.device))


ways["torch"] = Way(TorchRunner, operations_torch, gradients_torch, logits_torch)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What it takes, and layout
#
# Images can lie in memory channel by channel (*channels first*) or pixel by pixel (*channels last*).
# PyTorch's shapes are always B×C×H×W; `memory_format` says how the numbers *lie*. A GPU's tensor cores
# want all channels of a pixel side by side; what a processor likes, the cell says.

# %% tags=["torch"]
x, y = few[:64], few_labels[:64]
wait = operations_torch(session.device).wait
for layout in (torch.contiguous_format, torch.channels_last):
    runner = TorchRunner(settings)
    runner.model.to(memory_format=layout)
    words = in_words(timed(functools.partial(runner.step, x, y), wait=wait))
    print(f"{str(layout).removeprefix('torch.'):<18} {words}")
runner = TorchRunner(settings, "bfloat16")
print(f"… and in bfloat16  {in_words(timed(functools.partial(runner.step, x, y), wait=wait))}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A profile
#
# `torch.profiler` notes when each operation begins and ends, on the CPU and on the GPU. *Self* time
# is what an operation took without those that it called. Read it from the top: **what is not there
# cannot be saved there.**

# %% tags=["torch"]
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler talks to itself otherwise
kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
runner = TorchRunner(settings)
runner.step(x, y)
with profile(activities=kinds) as trace:
    for _ in range(3):
        runner.step(x, y)
rows = sorted(trace.key_averages(), key=lambda row: -row.self_cpu_time_total)
total = sum(row.self_cpu_time_total for row in rows)
print("operation                          calls   self, ms a step   share")
for row in rows[:7]:
    own = row.self_cpu_time_total
    print(f"{row.key[:34]:<34} {row.count:>5} {own / 3e3:>12.2f} {own / total:>12.0%}")
with tempfile.TemporaryDirectory() as folder:
    trace.export_chrome_trace(str(Path(folder, "trace.json")))
    kilobytes = Path(folder, "trace.json").stat().st_size / 1e3
print(f"the whole trace: {kilobytes:.0f} KB; keep it, and drop it on https://ui.perfetto.dev")

# %% [markdown]
# The gradients of convolutions come first, as they should: they are two convolutions each. On a GPU look
# at two more things: *gaps* in the GPU's row of the trace (it is waiting for you), and
# `cudaMemcpy` (something travels).

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### `torch.compile` and CUDA graphs
#
# `torch.compile(model)` watches one call, writes a program for it (C++ on a CPU, Triton on a GPU), fuses
# what works on the same numbers, and compiles that. The first call takes long; a new shape makes it
# compile again. On two cores that takes tens of seconds for our network, so it is left to the full
# profile, and recorded: part 11 has the balance.


# %% tags=["torch"]
def compile_torch(settings, x, y, **options):
    """Seconds of the first compiled step, and of the steps before and after compiling."""
    runner, wait = TorchRunner(settings), operations_torch(settings.device).wait
    before = timed(functools.partial(runner.step, x, y), wait=wait)
    runner.forward = torch.compile(runner.model, **options)
    started = time.perf_counter()
    runner.step(x, y)
    wait()
    first = time.perf_counter() - started
    return first, before, timed(functools.partial(runner.step, x, y), wait=wait)


if not session.quick:
    first, before, after = compile_torch(settings, x, y)
    balance.append(("PyTorch", "torch.compile", first, np.median(before), np.median(after)))

# %% [markdown]
# On a GPU a small network has another problem: *launching* an operation costs the CPU some
# microseconds, and our operations take no longer. A **CUDA graph** records all launches of a step
# once and replays them with a single one. The price: fixed shapes, fixed places in memory, no
# decisions in Python. `torch.compile(model, mode="reduce-overhead")` makes them for you; by hand it is

# %% tags=["torch"]
if torch.cuda.is_available():
    model = TorchRunner(SimpleNamespace(**{**vars(settings), "device": "gpu"})).model.eval()
    always = torch.rand(64, 28, 28, 1, device="cuda")  # each replay reads from here
    with torch.no_grad():
        plain = timed(lambda: model(always), wait=torch.cuda.synchronize)  # and warms up
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = model(always)  # each replay writes here
    replayed = timed(graph.replay, wait=torch.cuda.synchronize)
    print(f"one launch after the other {in_words(plain)}, replayed {in_words(replayed)}")
else:
    print("CUDA graphs need a GPU: nothing to replay here.")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. TensorFlow
#
# *Everything moves by itself.* TensorFlow takes a GPU if it sees one, and copies tensors to and fro as
# it needs. That is comfortable, and hides mistakes: with **soft placement**, the default,
# `tf.device("/GPU:0")` on a machine without a GPU computes on the CPU and says nothing.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

alexnet_tf = lessons.load("10_alexnet", "tensorflow")


def operations_tf(device):
    """A few operations on tensors, where TensorFlow puts them, and how to wait for them."""

    def conv(x, kernel):  # B×H×W×C, k×k×C×F → B×H×W×F
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    wait = tf.test.experimental.sync_devices if device == "gpu" else lambda: None
    return Operations(tf.constant, wait, tf.add, tf.nn.relu, tf.matmul, conv)


# %% tags=["tensorflow"]
print("TensorFlow", tf.__version__, "sees", len(tf.config.list_physical_devices("GPU")), "GPUs")
with tf.device("/GPU:7"):
    print('asked for "/GPU:7", and got', tf.ones(2).device.rpartition("/")[2])
tf.config.set_soft_device_placement(False)
try:
    with tf.device("/GPU:7"):
        tf.ones(2)
except tf.errors.InvalidArgumentError as error:
    print("without soft placement:", error.message.split(". ")[0][:66], "…")
finally:
    tf.config.set_soft_device_placement(True)

# %% [markdown]
# Nobody has eight GPUs here, and yet no word of complaint. **Look at `tensor.device`**, or switch soft
# placement off while you test.
#
# TensorFlow also takes *all* of a GPU's memory at once, unless it is told to let it grow; and it can
# split a device in several *logical* ones, to try code for many devices on one. Both must be
# said **before** the first tensor exists, in a notebook before anything else; afterwards:

# %% tags=["tensorflow"]
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
try:
    tf.config.set_logical_device_configuration(cpu, two)
except RuntimeError as error:
    print("too late in this kernel:", error)

# %% [markdown]
# So it happens in a process of its own. (The same trap waits for `set_memory_growth`. This course sets
# `TF_FORCE_GPU_ALLOW_GROWTH=true` before it imports TensorFlow, which comes to the same.)

# %% tags=["tensorflow"]
code = """
import tensorflow as tf
for gpu in tf.config.list_physical_devices("GPU"):
    tf.config.experimental.set_memory_growth(gpu, True)
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
print(*[device.name for device in tf.config.list_logical_devices("CPU")])
with tf.device("/CPU:1"):
    print("a tensor on", tf.ones(2).device.rpartition("/")[2])
print(len(tf.config.list_physical_devices("GPU")), "GPUs")
"""
print(elsewhere(code, CUDA_VISIBLE_DEVICES="-1"))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The run, and half precision by hand
#
# There is no autocast at this altitude, so here it is: the weights stay in float32, as *masters*; the
# model computes with copies rounded to 16 bits; gradients pass back through the rounding as if it
# were not there and meet the masters in float32. The loss, too, is computed in float32.


# %% tags=["export", "tensorflow"]
@contextlib.contextmanager
def rounded(model, dtype):
    """Inside, the model's layers hold copies of their weights in another type."""
    layers = [layer for layer in model.submodules if hasattr(layer, "kernel")]
    masters = [(layer, layer.kernel, layer.bias) for layer in layers]
    for layer, kernel, bias in masters:
        vars(layer).update(kernel=tf.cast(kernel, dtype), bias=tf.cast(bias, dtype))
    try:
        yield
    finally:
        for layer, kernel, bias in masters:
            vars(layer).update(kernel=kernel, bias=bias)


# %% tags=["export", "tensorflow"]
class TFRunner(alexnet_tf.TFTrainer):
    """A training run of chapter 10's classifier that can be cut after any step."""

    def __init__(self, settings, precision="float32", jit=None):
        super().__init__(settings, alexnet_tf.small(settings.width, settings.norm))
        self.settings, self.half = settings, tf.as_dtype(precision)
        self.learn = tf.function(self.learn_eagerly, jit_compile=jit)

    @property
    def done(self):
        return int(self.count)

    def logits(self, x):
        if self.half == tf.float32:
            return self.model(x, training=True)
        with rounded(self.model, self.half):
            return tf.cast(self.model(tf.cast(x, self.half), training=True), tf.float32)

    def learn_eagerly(self, x, y, rate):
        with tf.GradientTape() as tape:
            loss = alexnet_tf.loss_tf(self.model, self.logits(x), y, self.decay)
        gradients = tape.gradient(loss, self.weights)
        for w, v, g in zip(self.weights, self.velocities, gradients, strict=True):
            v.assign(alexnet_tf.MOMENTUM * v - rate * g)
            w.assign_add(v)
        self.count.assign_add(1)
        return loss

    def step(self, x, y):
        """One step on images (B, 28, 28), bytes; returns the loss."""
        rate = tf.constant(alexnet_tf.learning_rate(self.done, self.settings))  # see below
        return self.learn(tf.constant(alexnet_tf.grey(x)), tf.constant(y), rate)

    def save(self, folder):
        with whole(folder) as part:
            tf.train.Checkpoint(run=self).write(str(part / "run"))

    def restore(self, folder):
        tf.train.Checkpoint(run=self).read(str(folder / "run")).assert_consumed()


# %% [markdown]
# `tf.train.Checkpoint` follows attributes: weights, velocities and the counter are found because they
# are `tf.Variable`s of the run. A plain Python number would be forgotten, without a word;
# `assert_consumed()` at least notices what the file has and the run has not.


# %% tags=["export", "tensorflow"]
def gradients_tf(runner, images, labels):
    """The gradient of each weight, under neutral names."""
    with tf.GradientTape() as tape:
        logits = runner.model(tf.constant(alexnet_tf.grey(images)))
        loss = alexnet_tf.loss_tf(runner.model, logits, labels, 0.0)
    found = tape.gradient(loss, parity.variables(runner.model))
    return parity.named_gradients(runner.model, found)


def logits_tf(runner, images):
    """Logits (N, 10) of images (N, 28, 28), bytes."""
    return runner.model(tf.constant(alexnet_tf.grey(images)))


ways["tensorflow"] = Way(TFRunner, operations_tf, gradients_tf, logits_tf)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### `tf.function`, XLA, and the retracing trap
#
# A function under `tf.function` runs Python once, to *trace* it; later calls run the graph. A new
# trace is made for each new **kind** of argument: another shape, another type, and, for arguments
# that are Python numbers, **another value**.

# %% tags=["tensorflow"]
exercises.predict(
    "f(rate) under tf.function is called with 0.1, 0.01, 0.001 and then with the same three as "
    "tf.constant(…). How often does Python run through f?",
    ["once", "2 times", "4 times", "6 times"],
    key="traces",
)

# %% tags=["tensorflow"]
runs = []


@tf.function
def scaled(rate):
    runs.append(rate)  # Python: happens while tracing, and only then
    return rate * 2.0


for rate in (0.1, 0.01, 0.001):
    scaled(rate)
for rate in (0.1, 0.01, 0.001):
    scaled(tf.constant(rate))
exercises.reveal("traces", f"{len(runs)} times")

# %% [markdown]
# Three for three Python numbers, one for all tensors of a kind. A learning rate that falls with every
# step, passed as a Python number, compiles the training step *at every step*. TensorFlow warns
# after the fifth; the remedy stands in `TFRunner.step`: `tf.constant`.
#
# `jit_compile=True` hands the graph to **XLA**, which fuses operations and compiles them.

# %% tags=["tensorflow"]
eager = TFRunner(settings)
eager.learn = eager.learn_eagerly
x, y, wait = few[:64], few_labels[:64], operations_tf(session.device).wait
before = timed(lambda: eager.step(x, y), repeats=5, wait=wait)
print(f"{'line by line':<20} {in_words(before)}")
for what, options in {"tf.function": {}, "with XLA": {"jit": True}}.items():
    runner, started = TFRunner(settings, **options), time.perf_counter()
    float(runner.step(x, y))
    first = time.perf_counter() - started
    after = timed(functools.partial(runner.step, x, y), wait=wait)
    balance.append(("TensorFlow", what, first, np.median(before), np.median(after)))
    print(f"{what:<20} {in_words(after)}, the first {first:.1f} s")
runner = TFRunner(settings, "bfloat16")
print(f"… and in bfloat16    {in_words(timed(functools.partial(runner.step, x, y), wait=wait))}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A profile
#
# TensorFlow's profiler writes what TensorBoard's profile page reads. That page is a package of its own
# now (`xprof`); but the file is a list of events, and ten lines read it. Times *include* what an
# operation calls, so they do not add up.

# %% tags=["tensorflow"]
from tensorflow.tsl.profiler.protobuf import xplane_pb2

with tempfile.TemporaryDirectory() as folder:
    runner = TFRunner(settings)
    float(runner.step(x, y))  # traced before the clock starts
    tf.profiler.experimental.start(folder)
    for _ in range(3):
        float(runner.step(x, y))
    tf.profiler.experimental.stop()
    [path] = Path(folder).rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
spent, calls = collections.Counter(), collections.Counter()
for plane in space.planes:
    for line in plane.lines:
        for event in line.events:
            kind = plane.event_metadata[event.metadata_id].name.rpartition(":")[2]
            spent[kind] += event.duration_ps / 3e9
            calls[kind] += 1
graph_kinds = ("Conv", "_Fused", "Max", "Mat", "Relu", "Sparse", "Bias", "Add", "Mul", "Sum")
rows = [row for row in spent.most_common() if row[0].startswith(graph_kinds)]
print("operation                          calls   ms a step")
for kind, milliseconds in rows[:7]:
    print(f"{kind[:34]:<34} {calls[kind]:>5} {milliseconds:>11.2f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Keras
#
# *The backend decides.* On TensorFlow the rules of part 5 hold, on PyTorch Keras itself puts every
# tensor on the GPU if there is one: no `.to(device)`. To insist: `with keras.device("cpu:0")`.
# Mixed precision is a *policy*, one word; XLA an argument of `compile`.

# %% tags=["export", "keras"]
import keras
from keras import ops

alexnet_keras = lessons.load("10_alexnet", "keras")


def operations_keras(device):
    """A few operations on the backend's tensors; fetching one number waits for all."""
    latest = [ops.zeros(1)]

    def keep(operation):
        def kept(*tensors):
            latest[0] = operation(*tensors)

        return kept

    def wait():
        if device == "gpu":
            ops.convert_to_numpy(ops.ravel(latest[0])[:1])

    conv = functools.partial(ops.conv, strides=1, padding="same")
    kinds = map(keep, (ops.add, ops.relu, ops.matmul, conv))
    return Operations(ops.convert_to_tensor, wait, *kinds)


# %% [markdown]
# A policy of `mixed_bfloat16` lets layers compute in bfloat16 while their weights stay float32, the
# masters of part 5. What it leaves to you is the *end*: the logits come out in 16 bits, and a loss
# should not be summed in 8 bits of precision. So the loss casts first.


# %% tags=["export", "keras"]
class KerasClassifier(alexnet_keras.KerasAlexNet):
    """Chapter 10's, with a loss in float32 whatever the layers compute in."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return alexnet_keras.loss_keras(self, ops.cast(y_pred, "float32"), y, self.decay)


def random_states(model):
    """The states of all generators that dropout draws from."""
    layers = [layer for layer in model.layers if hasattr(layer, "seed_generator")]
    states = [parity.to_numpy(layer.seed_generator.state) for layer in layers]
    if keras.backend.backend() == "torch":  # there it draws from PyTorch's own
        states.append(sys.modules["torch"].get_rng_state().numpy())
    return states


def set_random_states(model, states):
    layers = [layer for layer in model.layers if hasattr(layer, "seed_generator")]
    if keras.backend.backend() == "torch":
        library = sys.modules["torch"]
        library.set_rng_state(library.as_tensor(states.pop(), device="cpu"))
    for layer, state in zip(layers, states, strict=True):
        layer.seed_generator.state.assign(state)


# %% tags=["export", "keras"]
class KerasRunner:
    """A training run of chapter 10's classifier that can be cut after any step."""

    def __init__(self, settings, precision="float32", **options):
        policy = keras.config.dtype_policy()
        if precision != "float32":
            keras.config.set_dtype_policy(f"mixed_{precision}")  # for layers built from now on
        try:
            net = alexnet_keras.small(settings.width, settings.norm)
            arguments = net, settings.activation, settings.dropout, settings.decay
            self.model = KerasClassifier(*arguments)
        finally:
            keras.config.set_dtype_policy(policy)
        parity.set_weights(self.model, alexnet_keras.start(net, settings.init, settings.seed))
        schedules = keras.optimizers.schedules
        rate = schedules.CosineDecay(settings.learning_rate, settings.steps)
        momentum = keras.optimizers.SGD(rate, momentum=alexnet_keras.MOMENTUM)
        self.model.compile(momentum, **{"jit_compile": False, **options})
        momentum.build(self.model.trainable_variables)  # or there is nothing to restore into

    @property
    def done(self):
        return int(self.model.optimizer.iterations)

    def step(self, x, y):
        """One step on images (B, 28, 28), bytes; returns the loss."""
        self.model.reset_metrics()  # Keras 3.13 would return the mean loss of all calls so far
        return self.model.train_on_batch(alexnet_keras.grey(x), y)

    def save(self, folder):
        with whole(folder) as part:
            self.model.save_weights(part / "run.weights.h5")  # velocities and counter as well
            np.savez(part / "seeds.npz", *random_states(self.model))  # these it forgets

    def restore(self, folder):
        self.model.load_weights(folder / "run.weights.h5")
        set_random_states(self.model, list(np.load(folder / "seeds.npz").values()))


# %% [markdown]
# `save_weights` writes the optimiser's state along, which is easily overlooked; it leaves out the
# state of dropout's generators, which is overlooked more easily still: with dropout, a run restored
# by `load_weights` alone goes on with other masks. (They differ by backend: a layer's own generator on
# TensorFlow, PyTorch's global one on PyTorch, unless a seed was given.) (`keras.callbacks.BackupAndRestore` does all of this
# for `fit`. It is exact where it saves after each epoch.)


# %% tags=["export", "keras"]
def gradients_keras(runner, images, labels):
    """The gradient of each weight, under neutral names; here the backends part."""
    model, x = runner.model, alexnet_keras.grey(images)
    found = [w.value for w in parity.variables(model)]
    if keras.backend.backend() == "torch":
        loss = alexnet_keras.loss_keras(model, model(x), labels, 0.0)
        gradients = sys.modules["torch"].autograd.grad(loss, found)
    else:
        with sys.modules["tensorflow"].GradientTape() as tape:
            loss = alexnet_keras.loss_keras(model, model(x), labels, 0.0)
        gradients = tape.gradient(loss, found)
    return parity.named_gradients(model, gradients)


def logits_keras(runner, images):
    """Logits (N, 10) of images (N, 28, 28), bytes."""
    return ops.cast(runner.model(alexnet_keras.grey(images), training=False), "float32")


ways["keras"] = Way(KerasRunner, operations_keras, gradients_keras, logits_keras)

# %% tags=["keras"]
where = ops.zeros(1)
print("Keras on", keras.backend.backend(), "puts a tensor on", getattr(where, "device", "?"))
x, y = few[:64], few_labels[:64]
for precision in ("float32", "bfloat16"):
    runner = KerasRunner(settings, precision)
    print(f"{precision:<10} {in_words(timed(functools.partial(runner.step, x, y)))}")
runner = KerasRunner(settings, run_eagerly=True)
print(f"line by line {in_words(timed(lambda: runner.step(x, y), repeats=3, warm_up=1))}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Layers under the roof
#
# What a network is made of, timed one by one, in the first framework you chose. The bytes are those that
# *must* move: inputs, weights, outputs, each once. Caches can do better (our small arrays fit into
# them), and bad code does worse.

# %% tags=["export"]
Piece = collections.namedtuple("Piece", "name flops operation arrays outputs")


def pieces(settings):
    """Pieces of the classifier and some plain operations, with random numbers to work on."""
    rng, w, found = np.random.default_rng(0), settings.width, []
    some = functools.partial(rng.random, dtype=np.float32)
    for n in (64, 256, 1024):
        found.append(
            Piece(f"product {n}", 2 * n**3, "product", (some((n, n)), some((n, n))), n * n)
        )
    n = 2**22
    found.append(Piece("add", n, "add", (some(n), some(n)), n))
    found.append(Piece("ReLU", n, "relu", (some(n),), n))
    for b in (1, settings.batch_size):
        first, third = (some((b, 28, 28, 1)), some((7, 7, 1, w))), (some((b, 4, 4, 2 * w)),)
        third += (some((3, 3, 2 * w, 3 * w)),)
        dense = some((b, 32 * w)), some((32 * w, 192))
        found += [
            Piece(f"conv 1, batch {b}", 2 * 49 * w * 784 * b, "conv", first, 784 * w * b),
            Piece(f"conv 3, batch {b}", 2 * 9 * 6 * w * w * 16 * b, "conv", third, 48 * w * b),
            Piece(f"dense, batch {b}", 2 * 32 * w * 192 * b, "product", dense, 192 * b),
        ]
    return found


# %% tags=["export"]
def intensity_of(piece):
    """Operations a byte."""
    moved = sum(array.nbytes for array in piece.arrays) + 4 * piece.outputs
    return piece.flops / moved


def speed_of(piece, operations):
    """Operations a second, on the device of `operations`."""
    tensors = [operations.put(array) for array in piece.arrays]
    call = functools.partial(getattr(operations, piece.operation), *tensors)
    many = 1 if piece.flops > 2e8 else 10  # short ones are timed in tens

    def work():
        for _ in range(many):
            call()

    return many * piece.flops / timed(work, repeats=7, wait=operations.wait).min()


# %%
name = session.frameworks[0]
way = ways[name]
operations, measured = way.operations(session.device), {}
for piece in pieces(settings):
    measured[piece.name] = intensity_of(piece), speed_of(piece, operations)
if session.device == "gpu":  # a GPU has a roof of its own: what we saw it reach
    peak, bandwidth = 0, 12 * measured["add"][1]
peak = max(peak, *(speed for _, speed in measured.values()))
print(f"{'piece':<20} FLOP/byte   GFLOP/s   of the roof there")
for title, (intensity, speed) in measured.items():
    roof = min(peak, intensity * bandwidth)
    print(f"{title:<20} {intensity:>9.2f} {speed / 1e9:>9.1f} {speed / roof:>12.0%}")

# %%
fig, ax = plots.figure(width=8.5, height=4)
axis = np.geomspace(0.05, 1000, 400)
ax.loglog(axis, np.minimum(peak, axis * bandwidth) / 1e9, color="black")
ax.axvline(peak / bandwidth, color="grey", lw=0.7, ls=":")
for title, (intensity, speed) in measured.items():
    kind = title.split()[0].rstrip(",")
    colour = {"product": "C0", "add": "C1", "ReLU": "C1", "conv": "C2", "dense": "C3"}[kind]
    ax.plot(intensity, speed / 1e9, "o", color=colour)
ax.set(
    xlabel="operations a byte",
    ylabel="GFLOP/s",
    ylim=(min(speed for _, speed in measured.values()) / 2e9, None),
    title=f"{runtime.LABELS[name]}, {session.device.upper()}",
)
plots.name_points(ax, {title: (x, speed / 1e9) for title, (x, speed) in measured.items()})
alt = "the roofline of this machine, and under it the operations and layers that were timed"
plots.show(fig, alt=alt)

# %% [markdown]
# - *add* and *ReLU* have no choice: their intensity is 1/12 and 1/8. Only **fusing** them with their
#   neighbours helps, so that numbers stay in registers; that is most of what compilers do.
# - The *dense* layer at batch 1 reads every weight for two operations. At batch 64 it uses each 64
#   times. **A larger batch is a higher intensity**, as long as weights dominate.
# - *Small* pieces are far below every roof: a call costs some microseconds, whatever it computes. On
#   a GPU this matters more, because the rest is so fast.
# - One roof is not like another: with nothing else running, NumPy's product (OpenBLAS) reached 229
#   GFLOP/s on our two cores, and PyTorch's (MKL) 91. A peak is always *somebody's* peak, and what
#   other programs take of it nobody tells: see the load average at the top.
# - A point *above* the slope is no miracle: what fits into the processor's caches need not come from
#   memory, and the slope is memory's.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which limit would it hit elsewhere?
#
# The roofs of the T4 and the A100 come from data sheets; nobody reaches them. What carries over is
# **on which side of the corner** a layer lies.

# %%
LAYERS = {"add": None, "dense 256 → 192": (256, 192), "dense 9,216 → 4,096": (9216, 4096)}
SHEETS = {"T4": (8.1e12, 65e12, 320e9), "A100": (19.5e12, 312e12, 1555e9)}


def roofs(layer, batch, numbers):
    size, shape = {"32 bits": 4, "16 bits": 2}[numbers], LAYERS[layer]
    intensity = 1 / (3 * size)
    if shape:
        n_in, n_out = shape
        moved = size * (batch * n_in + n_in * n_out + batch * n_out)
        intensity = 2 * batch * n_in * n_out / moved
    fig, ax = plots.figure(width=7.5, height=3.6)
    machines = {"here, 32 bits": (peak, bandwidth)}
    for title, (single, half, memory) in SHEETS.items():
        machines[f"{title} (data sheet)"] = (half if size == 2 else single), memory
    axis = np.geomspace(0.05, 5000, 200)
    for title, (most, memory) in machines.items():
        [line] = ax.loglog(axis, np.minimum(most, axis * memory) / 1e9, label=title)
        reached = min(most, intensity * memory)
        ax.plot(intensity, reached / 1e9, "o", color=line.get_color())
    ax.axvline(intensity, color="grey", lw=0.7, ls=":")
    sides = ["memory" if intensity * b < p else "arithmetic" for p, b in machines.values()]
    words = ", ".join(
        f"{t.split(',')[0].split(' (')[0]}: {s}" for t, s in zip(machines, sides, strict=True)
    )
    ax.set(xlabel="operations a byte", ylabel="GFLOP/s, at most", title=f"The limit is … {words}")
    ax.legend(fontsize=8)
    return fig


# %%
Explorer(
    roofs,
    [
        Choice("layer", "dense 256 → 192", list(LAYERS)),
        Slider("batch", 64, 1, 4096, log=True),
        Choice("numbers", "32 bits", ["32 bits", "16 bits"]),
    ],
    title="Three roofs",
    alt="the rooflines of this machine, a T4 and an A100, and where the chosen layer meets each",
).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Cut, and continued
#
# Twelve steps in one go; beside it, five steps, a save, and **another** run, freshly made, that
# restores and takes the remaining seven. An epoch ends in between. Weights and losses must be the same
# numbers, in each framework; and since the three start alike, across frameworks too.

# %%
evidence, apart = {}, {}
with tempfile.TemporaryDirectory() as folder:
    for each in session.frameworks:
        saved = Path(folder, each)
        straight = ways[each].runner(settings)
        go_on(straight, few, few_labels, settings, 5)
        straight.save(saved)
        after = {"losses": np.array(go_on(straight, few, few_labels, settings, 12))}
        again = ways[each].runner(settings)
        again.restore(saved)
        resumed = {"losses": np.array(go_on(again, few, few_labels, settings, 12))}
        for found, model in ((after, straight.model), (resumed, again.model)):
            found["weights"] = parity.get_weights(model)
        gaps = [np.abs(after["losses"] - resumed["losses"]).max()]
        for weight, value in after["weights"].items():
            gaps.append(np.abs(value - resumed["weights"][weight]).max())
        apart[each], evidence[each] = max(gaps), after

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
tolerance = 1e-6 if session.device == "cpu" else 1e-3  # a GPU may add up in another order
for each, gap in apart.items():
    assert gap < tolerance, f"{each}: the continued run is {gap:.1e} away"
    print(f"{runtime.LABELS[each]}: continued = uninterrupted, differences below {tolerance:.0e}")
print(parity.compare(evidence, tolerance=1e-3).verdict())

# %%
print(*(f"{runtime.LABELS[each]}: {gap:.1e}" for each, gap in apart.items()), sep="\n")
print(parity.compare(evidence, tolerance=1e-3).numbers())

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What most scripts save
#
# … is the weights. Say a run of 100 steps is cut after 50, and a new one starts from its weights, with
# fresh momentum, at step 0 of its schedule. Both take 30 more.

# %%
exercises.predict(
    "In the thirty steps after the cut, the mean loss of the run that kept only its weights is …",
    ["the same (within 2 %)", "higher", "lower"],
    key="weights",
)

# %%
longer = SimpleNamespace(**{**vars(settings), "steps": 100})
kept, forgetful = way.runner(longer), way.runner(longer)
go_on(kept, few, few_labels, longer, 50)
parity.set_weights(forgetful.model, parity.get_weights(kept.model))
curves = {"everything kept": go_on(kept, few, few_labels, longer, 80)}
curves["only the weights"] = go_on(forgetful, few, few_labels, longer, 30)
fig, ax = plots.figure(width=7, height=2.8)
for title, losses in curves.items():
    ax.plot(range(51, 81), losses, label=title)
ax.set(xlabel="step", ylabel="loss")
ax.legend()
plots.show(fig, alt="the loss after the cut, of the run that kept everything and the forgetful one")
kept_all, weights_only = (np.mean(losses) for losses in curves.values())
change = weights_only / kept_all - 1
print(f"mean loss of thirty steps: {kept_all:.3f} and {weights_only:.3f} ({change:+.0%})")
outcome = "higher" if change > 0 else "lower"
exercises.reveal("weights", "the same (within 2 %)" if abs(change) < 0.02 else outcome)

# %% [markdown]
# In our run it is 12 % higher. Nothing fails, and a curve that looks a little odd is easily explained away. Which way it goes depends
# on the moment: without velocities the first steps are short, with the rate of the beginning they
# are long, and the images are those of the first epoch again. **That it differs at all** means that no
# experiment after a restart can be repeated. Chapter 18 adds the cluster's side: being killed is
# normal there.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Half the bits
#
# | | exponent | fraction | largest | smallest normal | smallest above 0 | step at 1 |
# |---|---|---|---|---|---|---|
# | float32 | 8 bits | 23 bits | 3.4·10³⁸ | 1.2·10⁻³⁸ | 1.4·10⁻⁴⁵ | 1.2·10⁻⁷ |
# | float16 | 5 | 10 | 65,504 | 6.1·10⁻⁵ | 6.0·10⁻⁸ | 9.8·10⁻⁴ |
# | bfloat16 | 8 | 7 | 3.4·10³⁸ | 1.2·10⁻³⁸ | 9.2·10⁻⁴¹ | 7.8·10⁻³ |
#
# float16 is *fine* and *short*, bfloat16 is *coarse* and *long*: it is a float32 whose last 16 bits
# were rounded away. Two things go wrong with 16 bits, and each has its remedy (Micikevicius et al.,
# [2018](https://arxiv.org/abs/1710.03740)).


# %% tags=["export"]
def bfloat16(x):
    """float32 numbers rounded to bfloat16 (to the nearest, ties to even), as float32."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    odd = (bits >> 16) & 1  # whether the last bit that stays is 1
    return ((bits + 0x7FFF + odd) & np.uint32(0xFFFF0000)).view(np.float32)


# %%
print(
    "π as float32, float16, bfloat16:",
    *(np.float32(np.pi), np.float16(np.pi), bfloat16([np.pi])[0]),
)
exercises.predict(
    "A weight of 1 in bfloat16 is moved by 0.001, a thousand times. It ends at …",
    ["about 2", "about 1.5", "1"],
    key="masters",
)

# %%
ends = {}
for kind, keep in {"float32": np.float32, "float16": np.float16, "bfloat16": bfloat16}.items():
    weight = np.float32(1)
    for _ in range(1000):
        weight = keep(np.float32(weight) + np.float32(0.001))
    ends[kind] = float(weight)
    print(f"{kind:<9} {ends[kind]:.4f}")
outcome = "about 2" if ends["bfloat16"] > 1.8 else "about 1.5"
exercises.reveal("masters", "1" if ends["bfloat16"] < 1.1 else outcome)

# %% [markdown]
# Near 1 bfloat16's next number is 1.0078; 1.001 is rounded back, every time. **Updates are small beside
# weights**, so weights need bits: they stay in float32, the *masters*, and only what is multiplied is
# rounded. All three sections above do it.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Gradients that vanish, and loss scaling
#
# The other danger is float16's short range: what lies below 6·10⁻⁸ becomes zero, gradients first. The
# remedy costs nothing. Multiply the *loss* by $S$; by the chain rule every gradient is multiplied too,
# *before* it is rounded; divide by $S$ afterwards, in float32. Too large an $S$ overflows: then skip the
# step and halve $S$. After 2,000 good steps double it. (`torch.amp.GradScaler` starts at 2¹⁶ with just
# these rules.) bfloat16 has float32's range and needs none of it.
#
# It matters late: as the loss falls, gradients shrink. Here are those of chapter 10's *trained* network
# (its checkpoint), one for each weight. Move the scale.

# %%
from utils import checkpoints

trained = checkpoints.load("10_alexnet").info["settings"]
runner = way.runner(SimpleNamespace(**{**vars(settings), **trained, "device": session.device}))
checkpoints.load_into(runner.model, "10_alexnet")
found = way.gradients(runner, x_train[:64], y_train[:64])
gradients = np.concatenate([np.ravel(value) for value in found.values()]).astype("float32")
gradients = gradients[gradients != 0]  # dead units have none in any format


def fate(gradients, scale):
    """Shares of the gradients that float16 makes zero, and infinite, when scaled."""
    with np.errstate(over="ignore"):
        half = (gradients * np.float32(scale)).astype(np.float16)
    return np.mean(half == 0), np.mean(np.isinf(half))


for power in (0, 4, 8, 12, 16, 20, 24):
    lost, over = fate(gradients, 2.0**power)
    print(f"scale 2^{power:<2}: {lost:7.2%} become zero, {over:7.2%} infinite")


# %%
def scaled_histogram(power):
    lost, over = fate(gradients, 2.0**power)
    fig, ax = plots.figure(width=7.5, height=3)
    ax.hist(np.log2(np.abs(gradients)) + power, bins=np.arange(-50, 30), color="C0")
    ax.axvspan(-50, -25, color="C3", alpha=0.15)
    ax.axvspan(16, 30, color="C3", alpha=0.15)
    ax.axvline(-14, color="grey", ls=":", lw=0.8)
    ax.set(xlabel="log₂ of the gradient times the scale", ylabel="weights", xlim=(-50, 30))
    ax.set_title(f"scale 2^{power}: {lost:.2%} lost, {over:.2%} too large", fontsize=10)
    return fig


Explorer(
    scaled_histogram,
    [Slider("power", 0, 0, 30, help="of two: the loss's scale")],
    title="A loss scale",
    alt="how many gradients have which size; shaded: what float16 makes zero (left) and infinite "
    "(right); dotted: below here it loses digits",
).show()

# %% [markdown]
# Unscaled, a seventh of this network's gradients vanish; with GradScaler's 2¹⁶ it is less than a
# hundredth, and none is too large. In an untrained network hardly any do: a test of the first
# steps would not have noticed.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Does it cost accuracy, does it pay?
#
# The same run, 60 steps, in float32 and with bfloat16 copies. Whether it is *faster* depends on the
# processor: GPUs since Ampere and CPUs with AVX512-BF16 or AMX multiply bfloat16 in hardware, others
# imitate it, and are slower. float16 is not for CPUs at all.

# %%
longer = SimpleNamespace(**{**vars(settings), "steps": 60})
for precision in ("float32", "bfloat16"):
    runner, started = way.runner(longer, precision), time.perf_counter()
    losses = go_on(runner, x_train[:1400], y_train[:1400], longer, 60)
    seconds = time.perf_counter() - started
    print(
        f"{precision:<9} mean loss of the last ten steps {np.mean(losses[-10:]):.3f}, {seconds:.1f} s"
    )

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Feeding it
#
# A step cannot begin before its batch is there. Loading $L$ seconds and computing $S$ seconds in turn
# takes $L + S$; loading the *next* batch while this one is computed takes $\max(L, S)$. That is
# **prefetching**: nothing becomes faster, but one of the two waits for free. By hand it is a queue
# and a thread.


# %% tags=["export"]
def prefetch(batches, ahead=2):
    """The same batches, made in a thread, up to `ahead` of them in advance."""
    import queue
    import threading

    ready, enough, end = queue.Queue(ahead), threading.Event(), object()

    def offer(item):
        while not enough.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(item, timeout=0.05)

    def work():
        try:
            for batch in batches:
                offer(batch)
                if enough.is_set():
                    return
            offer(end)
        except BaseException as error:  # it belongs to whoever waits for the batch
            offer(error)

    threading.Thread(target=work, name="course-prefetch", daemon=True).start()
    try:
        while (batch := ready.get()) is not end:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        enough.set()  # also where the loop was left early: no thread stays behind


# %% [markdown]
# And something to load: digits as PNG files on a drive at the other end of a network. Each batch waits
# 15 ms for the drive (here: sleeps) and is then decoded image by image.


# %% tags=["export"]
class Drive:
    """Images as PNG files, far away."""

    def __init__(self, images, labels, wait=0.015):
        self.files, self.labels, self.wait = [plots.to_png(x) for x in images], labels, wait

    def fetch(self, index):
        time.sleep(self.wait)
        return [self.files[i] for i in index]

    def decode(self, files):
        import io

        from PIL import Image

        return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])

    def batches(self, settings, count):
        for step in range(count):
            index = order(step, len(self.files), settings)
            yield self.decode(self.fetch(index)), self.labels[index]


# %%
drive, runner = Drive(few, few_labels), way.runner(settings)
runner.step(few[:64], few_labels[:64])  # the first one compiles
loading = timed(lambda: next(drive.batches(settings, 1)))
computing = timed(lambda: float(runner.step(few[:64], few_labels[:64])))
print(f"loading {in_words(loading)}, computing {in_words(computing)}")
exercises.predict(
    "With prefetching, a step takes …",
    ["as long as both together", "about as long as the longer of the two", "less than either"],
    key="prefetch",
)


# %%
def a_step(runner, batches):
    """Median seconds from the end of one step to the end of the next."""
    marks = []
    for x, y in batches:
        float(runner.step(x, y))
        marks.append(time.perf_counter())
    return np.median(np.diff(marks))


L, S, each_way = np.median(loading), np.median(computing), {}
for title, feed in {"in turn": iter, "prefetched": prefetch}.items():
    each_way[title] = a_step(runner, feed(drive.batches(settings, 24)))
    print(f"{title:<11} {1e3 * each_way[title]:.1f} ms a step")
print(f"L + S = {1e3 * (L + S):.1f} ms, max(L, S) = {1e3 * max(L, S):.1f} ms")
took, middle = each_way["prefetched"], (L + S + max(L, S)) / 2
outcome = "as long as both together" if took > middle else "about as long as the longer of the two"
exercises.reveal("prefetch", "less than either" if took < min(L, S) else outcome)

# %% [markdown]
# Waiting is hidden completely; decoding only where a core is free for it, so that the truth lies
# between the two formulas. Where no core is free, a thread more can even cost time. What the
# frameworks offer:
#
# | | prefetching | more hands | to the GPU |
# |---|---|---|---|
# | PyTorch | `DataLoader(num_workers=2, prefetch_factor=2)`, in processes | `num_workers` | `pin_memory=True`, then `.to(device, non_blocking=True)` |
# | TensorFlow | `dataset.prefetch(tf.data.AUTOTUNE)`, in threads | `.map(…, num_parallel_calls=tf.data.AUTOTUNE)` | by itself |
# | Keras | any of the two; `keras.utils.PyDataset(workers=2)` | `workers` | the backend's |
#
# `AUTOTUNE` lets TensorFlow choose the numbers while it runs. In this course it does so only where a
# dataset's options ask for it (`options.autotune.enabled = True`): the thread that tunes can hold up the
# whole kernel when its iterator is dropped (`utils/upstream.py` says why).
#
# **Pinned memory** cannot be swapped out, so the GPU can fetch from it by itself while the CPU goes on. It
# helps only together with `non_blocking=True`, and not at all without a GPU. And before any of this:
# *if the data fit into memory, decode them once and index*. All of MNIST is 47 MB.

# %% tags=["tensorflow"]
stream = tf.data.Dataset.from_generator(
    functools.partial(drive.batches, settings, 24),
    output_signature=(tf.TensorSpec([None, 28, 28], tf.uint8), tf.TensorSpec([None], tf.int64)),
)
for title, dataset in {"in turn": stream, "prefetch(2)": stream.prefetch(2)}.items():
    runner = TFRunner(settings)
    runner.step(few[:64], few_labels[:64])
    seconds = a_step(runner, ((x.numpy(), y.numpy()) for x, y in dataset))
    print(f"tf.data, {title:<12} {1e3 * seconds:.1f} ms a step")

# %% tags=["torch"]
if torch.cuda.is_available():
    batch = torch.rand(4096, 28, 28, 1)
    for title, source in {"pageable": batch, "pinned": batch.pin_memory()}.items():
        seconds = timed(
            lambda s=source: s.to("cuda", non_blocking=True), wait=torch.cuda.synchronize
        )
        print(f"{title}: {batch.nbytes / np.median(seconds) / 1e9:.1f} GB/s to the GPU")
else:
    print("No GPU: a tensor is where it is needed already, and pinning it would change nothing.")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Is a compiler worth its time?
#
# A compiler takes $C$ seconds once and saves $b - a$ at every step. It has paid for itself after
#
# $$n = \frac{C}{b - a} \text{ steps, and never if } a \ge b.$$

# %%
print(f"{'':<32} compile  before   after   pays after")
for framework, what, first, before, after in balance:  # empty: nothing was compiled above
    steps = "never" if after >= before else f"{first / (before - after):,.0f} steps"
    times = f"{first:6.1f} s {1e3 * before:5.1f} ms {1e3 * after:5.1f} ms"
    print(f"{framework + ', ' + what:<32} {times}   {steps}")

# %% [markdown]
# (The first step under `tf.function` traces; the one *before* runs line by line. Whether XLA beats the
# plain graph is another question: compare the two *after*s.) What takes longer was recorded by `make
# results NAME=17_gpu`, on the machine that the table names, with the width and the batch of the full
# profile. It was a busy machine, so read factors, not digits. Run it to have your own.

# %%
results.show("17_gpu")

# %% [markdown]
# In these records **no compiler paid**: PyTorch's and XLA's programs were slower than the libraries'
# ready-made convolutions, which is most of what our network is. (In the cell above, on a smaller
# network, XLA may win.) Nor do 16 bits pay everywhere: TensorFlow's
# bfloat16 steps took longer, on a processor that has instructions for bfloat16, and a product in
# float16 took hundreds of times as long. None of this says anything about a GPU, where launching
# and moving cost more than calculating. That is the point: *measure where you train*.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. Find the bottleneck
#
# A training script, as one finds them. It is correct, and slow. Below it stands where its time goes, by
# a stopwatch around each part; you have five fixes. **Choose one, say what it will bring, and try.** What
# you have tried stays in; *Start again* takes all of them out.
#
# | fix | what it changes |
# |---|---|
# | prefetch | the next batches are made in a thread |
# | decode once | the images are fetched and decoded before the training, and indexed |
# | check less often | the test images are classified every 20 steps, not after every second one |
# | bfloat16 | the step computes with rounded copies |
# | log less often | a line is written into a file every 20 steps, not after each |


# %% tags=["export"]
class Stopwatch:
    """Seconds spent in each part of a loop."""

    def __init__(self):
        self.parts = collections.defaultdict(list)

    @contextlib.contextmanager
    def __call__(self, part):
        started = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part].append(time.perf_counter() - started)


# %% tags=["export"]
def slow_script(fixes, way, drive, settings, folder, steps=16):
    """Milliseconds a step of each part of the training loop, with some fixes applied."""
    watch, rarely = Stopwatch(), 20
    runner = way.runner(settings, "bfloat16" if "bfloat16" in fixes else "float32")
    tests = drive.decode(drive.files[:256])
    warm_up = slice(settings.batch_size)
    runner.step(tests[warm_up], drive.labels[warm_up])  # what compiles, compiles before the clock
    if "decode once" in fixes:
        indices = (order(step, len(tests), settings) for step in range(steps))
        batches = ((tests[i], drive.labels[i]) for i in indices)
    else:
        batches = drive.batches(settings, steps)
    feed = prefetch(batches) if "prefetch" in fixes else batches
    with open(Path(folder, "log"), "a", encoding="utf-8") as log:
        for step in range(steps):
            with watch("waiting for data"):
                x, y = next(feed)
            with watch("training step"):
                loss = float(runner.step(x, y))
            if step % (rarely if "check less often" in fixes else 2) == 1:
                with watch("checking test images"):
                    parity.to_numpy(way.logits(runner, tests))  # fetching waits
            if step % (rarely if "log less often" in fixes else 1) == 0:
                with watch("writing the log"):
                    print(step, loss, file=log, flush=True)
    feed.close()  # a thread that made batches ends here
    # The median, so that another program's burst does not count, as often as the part ran.
    return {part: 1e3 * np.median(s) * len(s) / steps for part, s in watch.parts.items()}


# %%
FIXES = ["prefetch", "decode once", "check less often", "bfloat16", "log less often"]


def script(fixes):
    with tempfile.TemporaryDirectory() as folder:
        return slow_script(fixes, way, drive, settings, folder)


hunt = Hunt(script, FIXES, title="A slow script")
hunt.show()

# %% [markdown]
# Three things to take along:
#
# - A part that takes a share $p$ of the time can, if it vanishes entirely, make the whole $1/(1-p)$ times
#   as fast (Amdahl's law). *Look first, then fix the largest.*
# - After a fix the profile is another one. *Prefetch* and *decode once* attack the same part: after the
#   second the first is worth nothing, and gains do not multiply.
# - Halving the bits is what people try first. It can shorten the step's own share, and nothing else;
#   and writing a line into a file costs next to nothing, whatever it feels like.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 13. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()`
# shows one.

# %% [markdown]
# **1. Intensity.** A dense layer without a bias, `n_in` → `n_out`, on a batch, in float32: operations a byte
# of its forward pass, each number moved once.


# %%
def intensity(n_in, n_out, batch):
    """Floating-point operations a byte."""
    return ...  # your code


questions.intensity.check(intensity)
# questions.intensity.hint()
# questions.intensity.solution()

# %% [markdown]
# **2. Under the roof.** The least time that an operation can take on a machine with a peak (operations a
# second) and a bandwidth (bytes a second).


# %%
def least_time(flops, moved, peak, bandwidth):
    """Seconds, at least."""
    return ...  # your code


questions.least_time.check(least_time)

# %% [markdown]
# **3. Dynamic loss scaling.** Given, step by step, whether all gradients were finite, return the scale
# *after* each step: halve it where they were not; double it after `patience` finite steps in a row.


# %%
def scales(finite, start, patience):
    """finite: booleans, one a step. Returns the scale after each, as many numbers."""
    return ...  # your code


questions.scales.check(scales)

# %% [markdown]
# **4. When has the compiler paid?** The first whole number of steps after which compiling (seconds, once) is
# not slower in all; infinity if it never pays.


# %%
def break_even(compiling, before, after):
    """Steps; `before` and `after` are seconds a step."""
    return ...  # your code


questions.break_even.check(break_even)

# %% [markdown]
# **5. Amdahl's law.** Loading takes 60 % of a step's time. A faster drive makes it ten times as fast, without
# prefetching. How many times as fast is the whole step?

# %%
questions.amdahl.check(...)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 14. What to remember
#
# - Warm up, synchronise, repeat; median and spread. A GPU's call returns before its work is done.
# - Operations a byte decide: left of the corner memory is the limit, right of it arithmetic. Larger
#   batches and fused operations move to the right.
# - The driver belongs to the system, everything else comes with the wheel. Two frameworks, two
#   environments.
# - PyTorch never moves a tensor by itself, TensorFlow always does, and puts it on the CPU in silence
#   where there is no GPU: look at `.device`.
# - 16 bits for products, 32 for weights, sums and losses. float16 needs a loss scale, bfloat16 does not.
# - The state of a run is weights, optimiser, step, order of the data, random numbers. Make the order a
#   function of the step, and save into a folder that is renamed at the end.
# - Profile before you fix.
#
# | the profile says | try, in this order |
# |---|---|
# | waiting for data | decode once; prefetch; more workers; pinned memory |
# | many small operations, gaps on the GPU | a larger batch; `tf.function`; a compiler; CUDA graphs |
# | products and convolutions | 16 bits; channels last; a smaller network; a larger GPU |
# | additions, normalisations, activations | a compiler that fuses |
# | `.item()`, logging, checking | do it less often |
# | nothing stands out | stop: it is fast enough |
#
# **Further reading.** Williams, Waterman and Patterson
# ([2009](https://doi.org/10.1145/1498765.1498785)) on the roofline; Micikevicius et al.
# ([2018](https://arxiv.org/abs/1710.03740)) on mixed precision; Horace He's
# [*Making deep learning go brrrr*](https://horace.io/brrr_intro.html) on overhead, memory and
# arithmetic; PyTorch's [performance tuning guide](https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html)
# and TensorFlow's on [tf.data](https://www.tensorflow.org/guide/data_performance).

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [Distributed training](18_distributed.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/05_scale/18_distributed.ipynb))
# - **Previous:** [YOLO](../04_detection/16_yolo.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/04_detection/16_yolo.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
