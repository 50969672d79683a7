# ---
# jupyter:
#   course:
#     title: "SSD"
#     summary: "A detector in one pass: default boxes on four maps, matched, mined and trained three times over."
#     minutes: {cpu: 50, gpu: 40}
#     prerequisites:
#       - "boxes, IoU, NMS, box coding and average precision (13)"
#       - "batch normalisation in three frameworks (07)"
#     objectives:
#       - "lay out SSD's default boxes by the paper's formula, and count SSD300's 8,732"
#       - "match default boxes with objects, and say what each is asked to answer"
#       - "write the loss with its hard negatives so that three frameworks agree, gradients included"
#       - "train a detector from scratch, and see what goes wrong without hard negatives or with one map"
#       - "read a detector's score and NMS thresholds, and know what each costs"
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"} tags=["header"]
# # SSD
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/04_detection/15_ssd.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/deep-learning-three-ways/deep-learning-three-ways/main?urlpath=lab/tree/chapters/04_detection/15_ssd.ipynb)
#
# A detector in one pass: default boxes on four maps, matched, mined and trained three times over.
#
# **Time:** about 50 minutes on a CPU, 40 on a GPU.
#
# **Before you start:** boxes, IoU, NMS, box coding and average precision (13); batch normalisation in three frameworks (07).
#
# **What you will be able to do:**
#
# - lay out SSD's default boxes by the paper's formula, and count SSD300's 8,732
# - match default boxes with objects, and say what each is asked to answer
# - write the loss with its hard negatives so that three frameworks agree, gradients included
# - train a detector from scratch, and see what goes wrong without hard negatives or with one map
# - read a detector's score and NMS thresholds, and know what each costs

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
from types import SimpleNamespace

import numpy as np
from PIL import Image

from utils import CourseError, anchors, boxes, checkpoints, data, exercises
from utils import metrics, parity, plots, runtime
from utils.controls import Choice, Slider
from utils.exercises import ssd as questions
from utils.explore import Explorer
from utils.metrics import softmax
from utils.panel import Panel, keras_callback, run
from utils.panel import settings as settings_of

# %%
session = runtime.begin(PROFILE, FRAMEWORKS, SEED, DEVICE, KERAS_BACKEND)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# Faster R-CNN (14) looks twice: first for regions, then, region by region, for what
# is in them. Liu et al. ([2016](https://arxiv.org/abs/1512.02325)) left the second look out. Their
# **single shot detector** lays a fixed set of *default boxes* over the picture, at every cell of
# several maps of one convolutional network, and asks for each box at once: *which class, or
# background, and how should you be moved to fit?* One pass, then non-maximum suppression.
#
# Three ideas carry it:
#
# 1. **Several maps.** Fine maps, early in the network, find small objects, coarse ones large objects.
# 2. **Default boxes** of several shapes in every cell, so that each has a modest correction to learn.
# 3. **Hard negatives.** Nearly all default boxes are background. Of those only the ones that the
#    network gets most wrong are trained on, three for each positive.
#
# | on PASCAL VOC 2007 (as the SSD paper reports them) | mAP | frames a second |
# |---|---|---|
# | Faster R-CNN, VGG-16 | 73.2 | 7 |
# | YOLO | 63.4 | 45 |
# | SSD300 | 74.3 | 59 |
# | SSD512 | 76.8 | 22 |

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What you may have read
#
# - *"SSD encodes offsets with variances of 0.1 and 0.2."* The published **code** does, and nearly
#   every copy of it. The paper has no variances: its equation divides by the default box's size, takes
#   a logarithm, and stops. Asked, the author answers that they
#   [scale the gradient](https://github.com/weiliu89/caffe/issues/75). Part 2 shows what they do.
# - *"SSD300 scores 77.2."* With a data augmentation that was added to the paper later; 74.3 is the
#   network of the table above. Say which.
# - *"The scales go evenly from 0.2 to 0.9 over the six maps."* By the formula, yes; on VOC SSD300 then
#   sets the first map apart, at 0.1.
# - *"One shot, so no NMS."* Several default boxes answer for each object, on purpose. Without NMS each
#   object would be reported many times.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Default boxes, counted
#
# Map $k$ of $m$ has boxes of scale
#
# $$s_k = s_\text{min} + \frac{s_\text{max} - s_\text{min}}{m - 1} (k - 1),$$
#
# a share of the picture's side, and for each ratio $a$ the width $s_k \sqrt a$ and the height
# $s_k / \sqrt a$: the same area, another shape. For $a = 1$ there is one more, of scale
# $\sqrt{s_k s_{k+1}}$, between this map's and the next. With ratios 1, 2 and ½ that makes 4 boxes a
# cell, with 3 and ⅓ as well 6. A box's centre is its cell's: $(i + 0.5) / n$ for cell $i$ of $n$.
#
# SSD300 predicts from six maps: VGG-16's conv4_3 and, where its dense layers were, five more.

# %%
SSD300 = {  # map: cells at a side, default boxes in each cell
    "conv4_3": (38, 4),  # 300 → 150 → 75 → 38: the third pooling rounds up
    "conv7": (19, 6),
    "conv8_2": (10, 6),
    "conv9_2": (5, 6),
    "conv10_2": (3, 4),
    "conv11_2": (1, 4),
}
for title, (side, each) in SSD300.items():
    print(f"{title:<9} {side:>2}×{side:<2} cells × {each} boxes = {side * side * each:>5,}")
total_300 = sum(side * side * each for side, each in SSD300.values())
print(f"SSD300: {total_300:,} default boxes, two thirds of them on the first map")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The data, and what each box is to say
#
# Scenes of digits, drawn, so that we know every box exactly; and BCCD, photographs of blood cells with
# boxes that people drew. A dashed box is a *crowd*: many objects that nobody wants to tell apart. It is
# left out of training and of measuring.

# %%
how_many = (800, 200) if session.quick else (6000, 1000)
scenes = data.scenes(*how_many)
cells = data.bccd()
for one in (scenes, cells):
    print(one.describe())
print("boxes in the test pictures of blood cells:", cells.counts("test"))
x_train, t_train = scenes.x_train, scenes.t_train  # N×96×96×3, uint8; N truths
x_test, t_test = scenes.x_test, scenes.t_test
alt = "three scenes of coloured digits on textured ground, each digit with its box and label"
fig = plots.detections(x_train[:3], t_train[:3], scenes.class_names, side=1.8)
plots.show(fig, alt=alt)

# %%
alt = "two photographs of blood cells with the boxes of red and white cells and platelets"
some = cells.x_train[1:3], cells.t_train[1:3]
plots.show(plots.detections(*some, cells.class_names, side=2.0), alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Our default boxes
#
# Four maps, with a cell every 4, 8, 16 and 32 pixels; 4 boxes a cell, of the ratios that the paper
# uses on its first map. The scales go by its formula, here in pixels, so that one network can take
# pictures of several sizes. `settings` are all that a training needs to know; blood cells have their
# own.

# %% tags=["export"]
STRIDES = (4, 8, 16, 32)  # pixels from one cell to the next, in each of four maps
RATIOS = (1.0, 2.0, 0.5)  # width by height
VARIANCES = (10.0, 10.0, 5.0, 5.0)  # 1/0.1 for the centre, 1/0.2 for the sides

QUICK = {"classes": 10, "smallest": 14, "largest": 46, "maps": STRIDES, "negatives": "hardest"}
QUICK |= {"height": 96, "width": 96, "flip": False, "augment": 0.5}
QUICK |= {"learning_rate": 4e-3, "batch_size": 16, "steps": 60}
FULL = {**QUICK, "batch_size": 32, "steps": 2800}
CELLS = {**FULL, "classes": 3, "smallest": 20, "largest": 100, "flip": True, "augment": 1.0}
CELLS |= {"maps": (8, 16, 32), "height": 160, "width": 208, "batch_size": 8, "steps": 600}

Way = collections.namedtuple("Way", "build train detect raw")
ways = {}  # framework -> its four functions, filled by the sections


def filled(settings):
    """The settings, and QUICK's for what they leave out."""
    return SimpleNamespace(**{**QUICK, **vars(settings)})


def scales(smallest, largest, count):
    """s₁ … s₍ₘ₊₁₎: evenly spaced from the smallest to the largest, and one step beyond."""
    step = (largest - smallest) / (count - 1)
    return [smallest + step * k for k in range(count + 1)]


def shapes(scale, following, ratios=RATIOS):
    """Widths and heights of a cell's default boxes: one for each ratio, and the extra square."""
    found = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in ratios]
    return [*found, (math.sqrt(scale * following),) * 2]


# %% tags=["export"]
def plan(settings):
    """For each map that predicts, its stride and the shapes of a cell's boxes, in pixels.

    Where a map is left out (part 9), its boxes move to the first that is there.
    """
    s = scales(settings.smallest, settings.largest, len(STRIDES))
    found = {stride: [] for stride in settings.maps}
    for stride, scale, following in zip(STRIDES, s, s[1:], strict=False):
        home = stride if stride in found else settings.maps[0]
        found[home] += shapes(scale, following)
    return found


@functools.lru_cache(maxsize=8)
def _boxes_of(height, width, cells):
    found = []
    for stride, sizes in cells:
        y, x = np.mgrid[: height // stride, : width // stride] * stride + stride / 2
        middle = np.stack([x, y, x, y], axis=-1)[:, :, None]  # rows×columns×1×4
        w, h = np.array(sizes).T
        found.append((middle + np.stack([-w, -h, w, h], axis=-1) / 2).reshape(-1, 4))
    return np.concatenate(found).astype("float32")


def default_boxes(height, width, settings):
    """All default boxes of a picture, (A, 4) xyxy: map by map, row by row, cell by cell."""
    if min(height, width) < 32 or height % 16 or width % 16:
        raise CourseError(
            f"The picture has {height}×{width} pixels: this network takes sides from 32, in "
            "multiples of 16. Pad it, or scale it and its boxes."
        )
    return _boxes_of(height, width, tuple((k, tuple(v)) for k, v in plan(settings).items()))


# %%
begin = QUICK if session.quick else FULL
ours = SimpleNamespace(**begin, seed=SEED)
defaults = default_boxes(96, 96, ours)
for stride, sizes in plan(ours).items():
    shown = ", ".join(f"{w:.0f}×{h:.0f}" for w, h in sizes)
    print(f"a cell every {stride:>2} pixels: {(96 // stride) ** 2:>3} cells, boxes of {shown}")
print(f"{len(defaults):,} default boxes for a scene of 96×96")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Matching, box by box
#
# Which default boxes shall find which object? The paper's rule has two steps:
#
# 1. each object gets the default box with which it overlaps best, so that none goes without;
# 2. besides, every default box with an IoU above 0.5 with an object is to find that object.
#
# So an object has several positives, unlike in YOLO. All the rest is background. Notebook 13
# built `match`; here is what it decides for one scene. On the left the best box for each object, on
# the right all that were matched.

# %%
scene = 4
truth = t_train[scene]
overlap = boxes.iou(defaults, truth.boxes)  # A×objects
index = anchors.match(defaults, truth.boxes, 0.5, 0.5, crowd=truth.crowd)
edges = np.cumsum([(96 // stride) ** 2 * 4 for stride in STRIDES])
print("digit  width×height  best IoU  boxes matched, of them at a stride of 4, 8, 16, 32")
for number, (box, label) in enumerate(zip(truth.boxes, truth.labels, strict=True)):
    at = np.searchsorted(edges, np.flatnonzero(index == number), side="right")
    w, h = box[2:] - box[:2]
    each = ", ".join(map(str, np.bincount(at, minlength=4)))
    print(f"{label:>5} {w:>7.0f}×{h:<5.0f} {overlap[:, number].max():>8.2f} {len(at):>9}   {each}")
fig, axes = plots.figure(columns=2, width=6, height=3)
best = overlap.argmax(axis=0)
plots.boxes(axes[0], x_train[scene], defaults[best], truth.labels, scenes.class_names)
some = np.flatnonzero(index >= 0)
plots.boxes(axes[1], x_train[scene], defaults[some], -np.ones(len(some), int), ())
axes[0].set_title("the best default box of each object")
axes[1].set_title(f"all {len(some)} that were matched")
alt = "one scene twice: with one default box for each digit, and with all that were matched"
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What a matched box is to say
#
# Its class, and four numbers that lead from the default box $d$ to the object $g$:
#
# $$\hat g^{cx} = (g^{cx} - d^{cx}) / d^w, \quad \hat g^{cy} = (g^{cy} - d^{cy}) / d^h, \quad
#   \hat g^w = \log(g^w / d^w), \quad \hat g^h = \log(g^h / d^h).$$
#
# So the paper. Its code divides the first two by 0.1 and the others by 0.2. Why? Look at how large
# they are.

# %%
plain, scaled = [], []
for truth in t_train[:200]:
    index = anchors.match(defaults, truth.boxes, 0.5, 0.5, crowd=truth.crowd)
    some = index >= 0
    pairs = truth.boxes[index[some]], defaults[some]
    plain.append(anchors.encode(*pairs))
    scaled.append(anchors.encode(*pairs, VARIANCES))
for title, found in {"the paper's": plain, "with variances": scaled}.items():
    spread = np.concatenate(found).std(axis=0)
    print(f"standard deviation of {title:<14}", *(f"{value:.2f}" for value in spread))

# %% [markdown]
# Matched boxes are close to their objects, so the paper's numbers are small: about 0.1 to 0.3. As they
# are, the offsets would hardly count beside the classes in the loss, and more so because smooth L1 is
# *quadratic* for small errors. Divided, they are of about size one. (So 0.1 and 0.2 are standard
# deviations; "variance" is what the code calls them.)


# %% tags=["export"]
def targets(truth, defaults, threshold=0.5):
    """What each default box is to say: a label (A,), and an offset (A, 4).

    Label 0 is background, 1 + c is class c, and -1 is left out (most of it lies in a crowd).
    """
    index = anchors.match(defaults, truth.boxes, threshold, threshold, crowd=truth.crowd)
    labels = np.where(index == anchors.IGNORED, -1, 0)
    offsets = np.zeros((len(defaults), 4), "float32")
    found = index >= 0
    labels[found] = 1 + truth.labels[index[found]]
    offsets[found] = anchors.encode(truth.boxes[index[found]], defaults[found], VARIANCES)
    return labels, offsets


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The loss
#
# $N$ default boxes were matched. With the class $c$ that box $i$ is to say (0 is background), its
# logits, and its offsets $l_i$:
#
# $$L = \frac 1 N \Big( \sum_{i \in \text{Pos} \cup \text{Hard}} -\log p_i(c_i)
#   + \alpha \sum_{i \in \text{Pos}} \sum_{j=1}^{4} \mathrm{smooth}_{L1}(l_{ij} - \hat g_{ij}) \Big),
#   \qquad \alpha = 1,$$
#
# $\mathrm{smooth}_{L1}(x)$ is $x^2 / 2$ up to 1 and $|x| - 1/2$ beyond (Girshick,
# [2015](https://arxiv.org/abs/1504.08083)): an outlier pulls with a force of 1, not more. The loss is
# divided by $N$, not by the number of boxes; the paper sets it to 0 where $N = 0$. Here $N$ is the
# batch's.
#
# **Hard** are those background boxes whose classes cost most at the moment, three for each positive of
# the same picture. Which they are changes with every step:


# %%
def mine(costs, positive, ratio=3):
    """The negatives that count, (A,): the dearest, `ratio` for each positive."""
    costs = np.where(positive, -np.inf, costs)
    dearest = np.argsort(-costs, kind="stable")
    hard = np.zeros(len(costs), bool)
    hard[dearest[: ratio * positive.sum()]] = True
    return hard & ~positive


rng = np.random.default_rng(SEED)
costs, positive = rng.exponential(size=3060), np.arange(3060) < 40
hard = mine(costs, positive)
print(f"{positive.sum()} positives, {hard.sum()} of {(~positive).sum():,} negatives;", end=" ")
print("the library's are the same:", np.array_equal(hard, anchors.mine(costs, positive)))

# %% [markdown]
# A picture in which nothing is to be found has no positives, so it gets no negatives either: it
# teaches nothing. That is the paper's rule, not an oversight of ours.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Augmentation, in small
#
# For each training picture the paper takes the whole of it, or a patch whose IoU with an object is at
# least 0.1, 0.3, 0.5, 0.7 or 0.9, or any patch at all, of a tenth of the picture or more; an object
# stays if its centre does. Then mirror images and shifted colours. Ours is milder: patches of nearly
# the same size, centres by the same rule, colours. **Digits are not mirrored**, blood cells are. And
# an object of which a part can still be seen though its centre is gone would be wrong as background:
# it becomes a crowd.


# %% tags=["export"]
def patch(image, truth, size, rng):
    """A part of a picture, brought to `size` (height, width), and the boxes that are in it."""
    zoom = np.exp(rng.uniform(-0.25, 0.25) + rng.uniform(-0.1, 0.1, 2))
    part = np.minimum(image.shape[:2], np.array(size) * zoom)  # how high, how wide
    top, left = rng.uniform(0, image.shape[:2] - part)
    box = (left, top, left + part[1], top + part[0])
    out = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, box)
    scale = np.tile(np.array(size)[::-1] / part[::-1], 2)
    moved = (truth.boxes - [left, top, left, top]) * scale
    middle = (moved[:, :2] + moved[:, 2:]) / 2
    inside = ((middle > 0) & (middle < size[::-1])).all(axis=1)
    # A box whose centre is outside is nobody's to find: it becomes a crowd, which is left out.
    moved = boxes.clip(moved.astype("float32"), *size)
    seen = (moved[:, 2:] - moved[:, :2] >= 2).all(axis=1)
    crowd = truth.crowd | ~inside
    return np.asarray(out), boxes.Truth(moved[seen], truth.labels[seen], crowd[seen])


def augmented(image, truth, settings, rng):
    """A picture (height, width, 3), floats, as a step eats it, and its boxes."""
    size = settings.height, settings.width
    if image.shape[:2] != size or rng.random() < settings.augment:
        image, truth = patch(image, truth, size, rng)
    x = image.astype("float32") / 255
    if settings.augment:  # brightness, contrast and each colour
        x = (x - 0.5) * rng.uniform(0.8, 1.2) + 0.5 + rng.uniform(-0.1, 0.1)
        x = x * rng.uniform(0.9, 1.1, 3).astype("float32")
    if settings.flip and rng.random() < 0.5:  # digits must not be mirrored; cells may
        left, top, right, bottom = truth.boxes.T
        turned = np.stack([size[1] - right, top, size[1] - left, bottom], axis=1)
        x, truth = x[:, ::-1], truth._replace(boxes=turned)
    return np.asarray(x, "float32"), truth


# %%
rng = np.random.default_rng(SEED)
changed = SimpleNamespace(**{**begin, "augment": 1.0})
two = [augmented(x_train[4], t_train[4], changed, rng) for _ in range(2)]
views, moved = zip(*two, strict=True)
alt = "two patches of one scene, moved, scaled and tinted, with the boxes moved along"
fig = plots.detections(np.clip(np.stack(views), 0, 1), moved, scenes.class_names, side=1.8)
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The network, and what the three sections share
#
# SSD begins with VGG-16, trained on ImageNet. Ours begins with noise and is narrow: eight
# convolutions, about 300,000 parameters. Two of them halve the picture instead of VGG's pooling, to
# save time. At four depths, two convolutions of 3×3 read the maps: one says the classes of a cell's
# four boxes, the other their offsets.
#
# **Batch normalisation** follows each convolution of the trunk. The paper has none; with VGG's weights
# it can do without. But it has something in its place at one spot: conv4_3's features are larger than
# the later maps', so each cell's vector is divided by its L2 norm and multiplied by a scale that is
# learned, from 20 on. Here all maps come out of a norm and a ReLU, on one scale; we leave it out.
#
# Also unlike the paper: Adam with a rate that falls along half a cosine, where it takes SGD with
# momentum, a rate of 10⁻³ and two drops. From noise and with minutes to spend that is the safer choice;
# we have not compared the two.

# %% tags=["export"]
Layer = collections.namedtuple("Layer", "name seen filters size stride pool map")
TRUNK = (  # `pool`: maxima of 2×2 first; `map`: the stride of the map that this layer makes
    Layer("1", 3, 16, 4, 2, False, None),  # H×W×3 → H/2×W/2×16
    Layer("2", 16, 32, 4, 2, False, None),  # → H/4×W/4×32
    Layer("3", 32, 32, 3, 1, False, None),
    Layer("4", 32, 48, 3, 1, False, 4),  # → H/4×W/4×48
    Layer("5", 48, 64, 3, 1, True, None),
    Layer("6", 64, 64, 3, 1, False, 8),  # → H/8×W/8×64
    Layer("7", 64, 64, 3, 1, True, 16),  # → H/16×W/16×64
    Layer("8", 64, 64, 3, 1, True, 32),  # → H/32×W/32×64
)
MOMENTUM, EPSILON = 0.9, 1e-5  # of the norms
ADAM_EPSILON = 1e-8


# %% tags=["export"]
def start(settings, seed):
    """Weights to begin with, under neutral names (He et al.'s start)."""
    rng, weights = np.random.default_rng(seed), {}

    def kernel(name, size, seen, made, std=None):
        std = std or math.sqrt(2 / (size * size * seen))
        weights[f"{name}.kernel"] = rng.normal(0, std, (size, size, seen, made)).astype("float32")

    for layer in TRUNK:
        kernel(f"conv{layer.name}", layer.size, layer.seen, layer.filters)
        for part, value in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
            weights[f"norm{layer.name}.{part}"] = np.full(layer.filters, value, "float32")
    for stride, made in heads(settings).items():
        for name, outputs in made.items():
            kernel(f"{name}{stride}", 3, width_at(stride), outputs, std=0.01)
            weights[f"{name}{stride}.bias"] = np.zeros(outputs, "float32")
    return weights


def width_at(stride):
    """How many maps there are at a stride."""
    return next(layer.filters for layer in TRUNK if layer.map == stride)


def heads(settings):
    """For each stride that predicts, the outputs of its two convolutions."""
    return {
        stride: {"confidence": len(sizes) * (1 + settings.classes), "offset": len(sizes) * 4}
        for stride, sizes in plan(settings).items()
    }


# %% tags=["export"]
def learning_rate(step, settings):
    """The rate of a step, counted from 0: half a cosine from its start down to zero."""
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


def feed(images, truths, settings, begin=0):
    """What each step eats: pictures (B, H, W, 3) 0…1, labels (B, A), offsets (B, A, 4)."""
    n = data.check_batch(settings.batch_size, len(images))
    height, width = images.shape[1:3]
    for place, truth in enumerate(truths):
        boxes.check(truth, height, width, settings.classes, place)
    defaults = default_boxes(settings.height, settings.width, settings)
    rng = np.random.default_rng([settings.seed, begin])
    epochs = (data.batches(n, settings.batch_size, rng) for _ in itertools.count())
    for index in itertools.islice(itertools.chain.from_iterable(epochs), settings.steps - begin):
        pairs = [augmented(images[i], truths[i], settings, rng) for i in index]
        goals = [targets(truth, defaults) for _, truth in pairs]
        labels, offsets = (np.stack(each) for each in zip(*goals, strict=True))
        yield np.stack([x for x, _ in pairs]), labels, offsets


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### From answers to detections
#
# Softmax; leave background out; keep what scores enough; move the default boxes; suppress, class by
# class, what overlaps a better box by more than 0.45; keep the best. The paper keeps 200 of each
# picture, COCO's evaluation counts 100, and so do we.


# %% tags=["export"]
def read(logits, offsets, defaults, height, width, score=0.05, overlap=0.45, most=100):
    """What the net says of one picture, logits (A, 1 + classes) and offsets (A, 4), as `Found`."""
    odds = softmax(logits)[:, 1:]  # without background
    box, label = np.nonzero(odds >= score)  # one default box may name several classes
    scores = odds[box, label]
    first = np.argsort(-scores, kind="stable")[:400]
    box, label, scores = box[first], label[first], scores[first]
    where = boxes.clip(anchors.decode(offsets[box], defaults[box], VARIANCES), height, width)
    return boxes.best(where, scores, label, score, overlap, most)


def found_by(raw, model, images, score=0.05, overlap=0.45):
    """Detections in each of the pictures (N, H, W, 3), bytes."""
    height, width = images.shape[1:3]
    defaults = default_boxes(height, width, model.settings)
    found = []
    for at in range(0, len(images), 50):
        for logits, offsets in zip(*raw(model, images[at : at + 50]), strict=True):
            found.append(read(logits, offsets, defaults, height, width, score, overlap))
    return found


# %% tags=["export"]
def outlined(image, found):
    """A picture twice as large, in few colours, with a frame in its class's for each box found."""
    canvas = (image // 32 * 32 + 16).repeat(2, axis=0).repeat(2, axis=1)
    for box, label in zip(found.boxes, found.labels, strict=True):
        colour = [int(plots.class_colour(label)[i : i + 2], 16) for i in (1, 3, 5)]
        most = np.tile(canvas.shape[1::-1], 2) - 1
        left, top, right, bottom = np.minimum(2 * box, most).astype(int)
        canvas[[top, bottom], left : right + 1] = colour
        canvas[top : bottom + 1, [left, right]] = colour
    return canvas


def sheet(framework, model, images):
    """A picture: what the model finds in the first four pictures, with a score of 0.3 or more."""
    found = ways[framework].detect(model, images[:4], 0.3)
    pairs = zip(images[:4], found, strict=True)
    return plots.grid(np.stack([outlined(*pair) for pair in pairs]), columns=4)


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. PyTorch
#
# *Modules and an explicit loop.* What comes out of a head is turned to channels last and read cell by
# cell, box by box: the very order of `default_boxes`. Here a mistake raises no error. It would teach
# every box another one's answer.

# %% tags=["export", "torch"]
import torch
from torch import nn
from torch.nn import functional as F


class TorchSSD(nn.Module):
    """The trunk, and two convolutions at each map; pictures come channels last."""

    def __init__(self, settings):
        super().__init__()
        self.settings = filled(settings)
        for c in TRUNK:
            conv = nn.Conv2d(c.seen, c.filters, c.size, c.stride, 1, bias=False)
            self.add_module(f"conv{c.name}", conv)
            norm = nn.BatchNorm2d(c.filters, eps=EPSILON, momentum=1 - MOMENTUM)
            self.add_module(f"norm{c.name}", norm)
        for stride, made in heads(self.settings).items():
            for name, outputs in made.items():
                self.add_module(f"{name}{stride}", nn.Conv2d(width_at(stride), outputs, 3, 1, 1))
        self.to(memory_format=torch.channels_last)

    def maps(self, x):  # B×H×W×3 → stride: B×C×H/stride×W/stride
        x, found = x.permute(0, 3, 1, 2), {}
        for c in TRUNK:
            x = F.max_pool2d(x, 2) if c.pool else x
            x = F.relu(getattr(self, f"norm{c.name}")(getattr(self, f"conv{c.name}")(x)))
            if c.map:
                found[c.map] = x
        return found

    def forward(self, x):  # B×H×W×3 → B×A×(1 + classes), B×A×4
        maps, found = self.maps(x), []
        for name, last in (("confidence", 1 + self.settings.classes), ("offset", 4)):
            at = {stride: getattr(self, f"{name}{stride}") for stride in self.settings.maps}
            parts = [head(maps[stride]) for stride, head in at.items()]
            parts = [part.permute(0, 2, 3, 1).reshape(len(x), -1, last) for part in parts]
            found.append(torch.cat(parts, dim=1))
        return found


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The loss and the step
#
# Mining is a sort within each picture, and a sort of the sorted: `argsort` of `argsort` is each box's
# rank. The costs are detached there, since a choice has no gradient.


# %% tags=["export", "torch"]
def hard_torch(costs, labels, ratio=3):
    """The negatives that count, (B, A): in each picture the dearest, `ratio` for a positive."""
    costs = costs.masked_fill(labels != 0, -torch.inf)
    rank = costs.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rank < ratio * (labels > 0).sum(dim=1, keepdim=True)) & (labels == 0)


def loss_torch(logits, found, labels, offsets, negatives="hardest"):
    """The confidences' cost and the offsets', for each positive of the batch."""
    costs = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
    costs, positive = costs.view(labels.shape), labels > 0
    hard = hard_torch(costs.detach(), labels) if negatives == "hardest" else labels == 0
    place = F.smooth_l1_loss(found[positive], offsets[positive], reduction="sum")
    return (costs[positive | hard].sum() + place) / positive.sum().clamp(min=1)


# %% tags=["export", "torch"]
def train_torch(images, truths, settings, report):
    """Train on pictures (N, H, W, 3), bytes; stop when the steps are done or `report` says so."""
    settings = filled(settings)
    model = TorchSSD(settings).train()
    parity.set_weights(model, start(settings, settings.seed))
    adam = torch.optim.Adam(model.parameters(), eps=ADAM_EPSILON)
    preview = functools.partial(sheet, "torch", model, images)
    for step, batch in enumerate(feed(images, truths, settings), start=1):
        x, labels, offsets = map(torch.as_tensor, batch)
        loss = loss_torch(*model(x), labels, offsets, settings.negatives)
        adam.zero_grad()
        loss.backward()
        for group in adam.param_groups:
            group["lr"] = learning_rate(step - 1, settings)
        adam.step()
        if step % 10 == 0 or step == settings.steps:
            if not report(step, {"loss": loss.item()}, preview):
                break
            model.train()  # a preview leaves evaluation mode behind
    return model.eval()


@torch.no_grad()
def raw_torch(model, images):
    """Logits (N, A, 1 + classes) and offsets (N, A, 4) of pictures (N, H, W, 3), bytes."""
    found = model.eval()(torch.as_tensor(images).float() / 255)
    return [part.cpu().numpy() for part in found]


detect_torch = functools.partial(found_by, raw_torch)
ways["torch"] = Way(TorchSSD, train_torch, detect_torch, raw_torch)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. TensorFlow
#
# *The bare metal.* `BatchNorm` is 07's, `Adam` 01's. Three places to mind:
#
# - **A window of 4, two apart.** `"SAME"` pads one pixel at every side of an even picture, as
#   PyTorch's `padding=1` does. A window of 3, two apart, would be padded by 0 and 1 here and by 1
#   and 1 there, and every default box would look half a cell away from where it lies.
# - **Channels last.** The head's output is read cell by cell, box by box, without turning axes.
# - **No boolean indexing inside the graph**: what does not count is multiplied by 0 instead, so that
#   all shapes stay known.

# %% tags=["export", "tensorflow"]
import tensorflow as tf

from utils.tf_layers import BatchNorm, Conv2D  # built by hand in 01_autoencoder and 07_dcgan
from utils.tf_optimizers import Adam


class TFSSD(tf.Module):
    """The trunk, and two convolutions at each map."""

    def __init__(self, settings):
        super().__init__()
        self.settings = filled(settings)
        for c in TRUNK:
            conv = Conv2D(c.seen, c.filters, c.size, c.stride, bias=None)
            setattr(self, f"conv{c.name}", conv)
            setattr(self, f"norm{c.name}", BatchNorm(c.filters, MOMENTUM, EPSILON))
        for stride, made in heads(self.settings).items():
            for name, outputs in made.items():
                setattr(self, f"{name}{stride}", Conv2D(width_at(stride), outputs, 3))

    def maps(self, x, training=False):  # B×H×W×3 → stride: B×H/stride×W/stride×C
        found = {}
        for c in TRUNK:
            x = tf.nn.max_pool2d(x, 2, 2, "VALID") if c.pool else x
            x = getattr(self, f"conv{c.name}")(x)
            x = tf.nn.relu(getattr(self, f"norm{c.name}")(x, training))
            if c.map:
                found[c.map] = x
        return found

    def __call__(self, x, training=False):  # B×H×W×3 → B×A×(1 + classes), B×A×4
        maps, found = self.maps(x, training), []
        for name, last in (("confidence", 1 + self.settings.classes), ("offset", 4)):
            at = {stride: getattr(self, f"{name}{stride}") for stride in self.settings.maps}
            parts = [head(maps[stride]) for stride, head in at.items()]
            parts = [tf.reshape(part, (tf.shape(x)[0], -1, last)) for part in parts]
            found.append(tf.concat(parts, axis=1))
        return found


# %% tags=["export", "tensorflow"]
def hard_tf(costs, labels, ratio=3):
    """The negatives that count, (B, A): in each picture the dearest, `ratio` for a positive."""
    costs = tf.where(labels == 0, costs, -np.inf)
    order = tf.argsort(costs, axis=1, direction="DESCENDING", stable=True)
    rank = tf.argsort(order, axis=1)
    positives = tf.reduce_sum(tf.cast(labels > 0, tf.int32), axis=1, keepdims=True)
    return (rank < ratio * positives) & (labels == 0)


def loss_tf(logits, found, labels, offsets, negatives="hardest"):
    """The confidences' cost and the offsets', for each positive of the batch."""
    asked = tf.maximum(labels, 0)
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=asked, logits=logits)
    positive = labels > 0
    hard = hard_tf(tf.stop_gradient(costs), labels) if negatives == "hardest" else labels == 0
    gap = tf.abs(found - offsets)  # smooth L1: a parabola up to 1, a line beyond
    smooth = tf.reduce_sum(tf.where(gap < 1, 0.5 * gap**2, gap - 0.5), axis=2)
    place = tf.reduce_sum(tf.where(positive, smooth, 0.0))
    total = tf.reduce_sum(tf.where(positive | hard, costs, 0.0)) + place
    return total / tf.maximum(tf.reduce_sum(tf.cast(positive, tf.float32)), 1.0)


# %% tags=["export", "tensorflow"]
class TFTrainer(tf.Module):
    """Model, optimiser and step count: everything that a long run needs to resume."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.model = TFSSD(settings)
        parity.set_weights(self.model, start(settings, settings.seed))
        self.weights = parity.variables(self.model)
        self.adam = Adam(self.weights, epsilon=ADAM_EPSILON)
        self.count = tf.Variable(0, dtype=tf.int64)

    def step(self, x, labels, offsets, rate):
        """One step on a batch; returns the loss."""
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            loss = loss_tf(*outputs, labels, offsets, self.settings.negatives)
        self.adam.apply(tape.gradient(loss, self.weights), rate)
        self.count.assign_add(1)
        return loss

    @tf.function
    def steps(self, batches, rates):
        """A step for each of the rates, in one graph; returns the last one's loss."""
        loss = tf.constant(0.0)
        for rate in rates:
            loss = self.step(*next(batches), rate)
        return loss


# %% tags=["export", "tensorflow"]
def stream(images, truths, settings, begin=0):
    """A tf.data stream of `feed`'s steps, prepared while the graph is busy with earlier ones."""
    size, count = (settings.height, settings.width), settings.batch_size
    defaults = len(default_boxes(*size, settings))
    kinds = (
        tf.TensorSpec([count, *size, 3], tf.float32),
        tf.TensorSpec([count, defaults], tf.int64),
        tf.TensorSpec([count, defaults, 4], tf.float32),
    )
    steps = functools.partial(feed, images, truths, settings, begin)
    return tf.data.Dataset.from_generator(steps, output_signature=kinds).prefetch(4)


def train_tf(images, truths, settings, report, trainer=None):
    """Train on pictures (N, H, W, 3), bytes; with a `trainer`, go on from where it stands."""
    settings = filled(settings)
    next(feed(images, truths, settings))  # what is wrong with the data is said here, in words
    trainer = trainer or TFTrainer(settings)
    step = int(trainer.count)
    batches = iter(stream(images, truths, settings, step))
    preview = functools.partial(sheet, "tensorflow", trainer.model, images)
    while step < settings.steps:
        ahead = range(step, min(step + 10, settings.steps))
        rates = tf.constant([learning_rate(at, settings) for at in ahead])
        loss = float(trainer.steps(batches, rates))
        step += len(ahead)
        if not report(step, {"loss": loss}, preview):
            break
    return trainer.model


# %% tags=["export", "tensorflow"]
def raw_tf(model, images):
    """Logits (N, A, 1 + classes) and offsets (N, A, 4) of pictures (N, H, W, 3), bytes."""
    return [part.numpy() for part in model(tf.constant(images, tf.float32) / 255)]


detect_tf = functools.partial(found_by, raw_tf)
ways["tensorflow"] = Way(TFSSD, train_tf, detect_tf, raw_tf)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Keras
#
# *Declaration.* The height and width of the input are left open, so one model takes pictures of any
# size. What a step is to say comes as `y`: a pair of labels and offsets. The loss is no sum over
# examples (it is divided by the batch's positives), so it stands in `compute_loss`.

# %% tags=["export", "keras"]
import keras
from keras import layers, ops


class KerasSSD(keras.Model):
    """The trunk, and two convolutions at each map."""

    def __init__(self, settings):
        settings = filled(settings)
        x = h = keras.Input((None, None, 3))
        maps = {}
        for c in TRUNK:
            h = layers.MaxPooling2D(2)(h) if c.pool else h
            kinds = {"padding": "same", "use_bias": False, "name": f"conv{c.name}"}
            h = layers.Conv2D(c.filters, c.size, c.stride, **kinds)(h)
            norm = layers.BatchNormalization(
                momentum=MOMENTUM, epsilon=EPSILON, name=f"norm{c.name}"
            )
            h = layers.ReLU()(norm(h))
            if c.map:
                maps[c.map] = h
        found = []
        for name, last in (("confidence", 1 + settings.classes), ("offset", 4)):
            parts = []
            for stride in settings.maps:
                outputs = heads(settings)[stride][name]
                head = layers.Conv2D(outputs, 3, padding="same", name=f"{name}{stride}")
                parts.append(layers.Reshape((-1, last))(head(maps[stride])))
            found.append(layers.Concatenate(axis=1)(parts) if len(parts) > 1 else parts[0])
        super().__init__(x, found, name="ssd")
        self.settings = settings

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return loss_keras(*y_pred, *y, self.settings.negatives)


# %% tags=["export", "keras"]
def hard_keras(costs, labels, ratio=3):
    """The negatives that count, (B, A): in each picture the dearest, `ratio` for a positive."""
    costs = ops.where(labels == 0, costs, -float("inf"))
    rank = ops.argsort(ops.argsort(-costs, axis=1), axis=1)
    positives = ops.sum(ops.cast(labels > 0, "int32"), axis=1, keepdims=True)
    return ops.logical_and(rank < ratio * positives, labels == 0)


def loss_keras(logits, found, labels, offsets, negatives="hardest"):
    """The confidences' cost and the offsets', for each positive of the batch."""
    asked, positive = ops.maximum(labels, 0), labels > 0
    costs = ops.sparse_categorical_crossentropy(asked, logits, from_logits=True)
    hard = labels == 0
    if negatives == "hardest":
        hard = hard_keras(ops.stop_gradient(costs), labels)
    gap = ops.abs(found - offsets)  # smooth L1: a parabola up to 1, a line beyond
    smooth = ops.sum(ops.where(gap < 1, 0.5 * gap**2, gap - 0.5), axis=2)
    place = ops.sum(ops.where(positive, smooth, 0.0))
    total = ops.sum(ops.where(ops.logical_or(positive, hard), costs, 0.0)) + place
    return total / ops.maximum(ops.sum(ops.cast(positive, "float32")), 1.0)


# %% tags=["export", "keras"]
def train_keras(images, truths, settings, report):
    """Train on pictures (N, H, W, 3), bytes; stop when the steps are done or `report` says so."""
    settings = filled(settings)
    next(feed(images, truths, settings))  # what is wrong with the data is said here, in words
    model = KerasSSD(settings)
    parity.set_weights(model, start(settings, settings.seed))
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    model.compile(keras.optimizers.Adam(rate, epsilon=ADAM_EPSILON))
    preview = functools.partial(sheet, "keras", model, images)
    reporter = keras_callback(report, preview, every=10, steps=settings.steps)
    batches = ((x, (labels, offsets)) for x, labels, offsets in feed(images, truths, settings))
    kinds = {"steps_per_epoch": settings.steps, "shuffle": False, "verbose": 0}
    model.fit(batches, callbacks=[reporter], **kinds)
    return model


def raw_keras(model, images):
    """Logits (N, A, 1 + classes) and offsets (N, A, 4) of pictures (N, H, W, 3), bytes."""
    found = model(images.astype("float32") / 255, training=False)
    return [parity.to_numpy(part) for part in found]


detect_keras = functools.partial(found_by, raw_keras)
ways["keras"] = Way(KerasSSD, train_keras, detect_keras, raw_keras)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Same model?
#
# One set of weights, two made-up pictures and their matches go into each model, in training mode:
# logits, offsets, which negatives count, the loss and the gradient of every weight must agree. (The
# norms' moving averages are compared in the tests: Keras remembers the biased variance, the others the
# unbiased one, see [07](../02_gans/07_dcgan.ipynb).)
#
# One thing to know about gradients: where the input of a ReLU is within a rounding error of 0, one
# framework may let a gradient through and another not. The numbers below are drawn with a seed for
# which no input comes closer than 0.0001.

# %%
base = filled(SimpleNamespace(seed=SEED))
rng = np.random.default_rng(52)
weights = start(base, 52)
for each, value in weights.items():
    if each.endswith(("gamma", "beta", "bias")):  # norms that do not begin as the identity
        value += rng.uniform(0, 0.3, value.shape).astype("float32")
pictures = rng.random((2, 32, 64, 3)).astype("float32")
objects = np.array([[4, 4, 20, 24], [30, 6, 60, 30]], "float32")
truths = [
    boxes.Truth(objects, np.array([3, 7]), np.array([False, False])),
    boxes.Truth(objects, np.array([1, 0]), np.array([False, True])),  # the second is a crowd
]
goals = [targets(truth, default_boxes(32, 64, base)) for truth in truths]
labels_same, offsets_same = (np.stack(each) for each in zip(*goals, strict=True))
evidence = {}  # framework -> the quantities to compare


def noted(model, outputs, loss, hard, gradients):
    """What is compared, as NumPy arrays."""
    quantities = {"logits": outputs[0], "offsets": outputs[1], "loss": loss, "negatives": hard}
    found = {name: parity.to_numpy(value).astype("float32") for name, value in quantities.items()}
    return {**found, "gradients": parity.named_gradients(model, gradients)}


# %% tags=["torch"]
model = TorchSSD(base).train()
parity.set_weights(model, weights)
labels, offsets = torch.as_tensor(labels_same), torch.as_tensor(offsets_same)
outputs = model(torch.as_tensor(pictures))
costs = F.cross_entropy(outputs[0].flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
hard = hard_torch(costs.view(labels.shape), labels)
loss = loss_torch(*outputs, labels, offsets)
gradients = torch.autograd.grad(loss, parity.variables(model))
evidence["torch"] = noted(model, outputs, loss, hard, gradients)
parameters = parity.count(model)

# %% tags=["tensorflow"]
model = TFSSD(base)
parity.set_weights(model, weights)
with tf.GradientTape() as tape:
    outputs = model(tf.constant(pictures), training=True)
    loss = loss_tf(*outputs, labels_same, offsets_same)
gradients = tape.gradient(loss, parity.variables(model))
costs = tf.nn.sparse_softmax_cross_entropy_with_logits(np.maximum(labels_same, 0), outputs[0])
hard = hard_tf(costs, labels_same)
evidence["tensorflow"] = noted(model, outputs, loss, hard, gradients)
parameters = parity.count(model)

# %% [markdown]
# Gradients are the one thing that `keras.ops` does not have, so here the code branches: a tape on
# TensorFlow, `autograd` on PyTorch.

# %% tags=["keras"]
import importlib

model = KerasSSD(base)
parity.set_weights(model, weights)
backend = importlib.import_module(keras.backend.backend())  # torch or tensorflow
labels, offsets = ops.convert_to_tensor(labels_same), ops.convert_to_tensor(offsets_same)
moved = [w.value for w in parity.variables(model)]
if keras.backend.backend() == "torch":
    outputs = model(pictures, training=True)
    loss = loss_keras(*outputs, labels, offsets)
    gradients = backend.autograd.grad(loss, moved)
else:
    with backend.GradientTape() as tape:
        outputs = model(pictures, training=True)
        loss = loss_keras(*outputs, labels, offsets)
    gradients = tape.gradient(loss, moved)
asked = ops.maximum(labels, 0)
costs = ops.sparse_categorical_crossentropy(asked, outputs[0], from_logits=True)
evidence["keras"] = noted(model, outputs, loss, hard_keras(costs, labels), gradients)
parameters = parity.count(model)

# %% tags=["same-model", "nbval-check-output"] slideshow={"slide_type": "subslide"}
comparison = parity.compare(evidence, tolerance=1e-5)
print(f"SSD300: {total_300:,} default boxes; ours, for 96×96 pixels: {len(defaults):,}")
print(f"{parameters:,} parameters in each")
print(comparison.verdict())

# %% [markdown]
# The differences themselves (they vary from one processor to the next):

# %%
print(comparison.numbers())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Train it
#
# The preview shows what is found, with a score of 0.3 or more, in four training scenes. At first
# nothing: the network learns to say *background*. Then the large digits.

# %%
most = max(4000, begin["steps"])
controls = [
    Choice("negatives", "hardest", ["hardest", "all"], help="which background counts"),
    Choice("maps", STRIDES, {"four": STRIDES, "one, stride 8": (8,)}, help="maps that predict"),
    Slider("smallest", begin["smallest"], 8, 24, help="pixels: the first map's scale"),
    Slider("largest", begin["largest"], 30, 90, help="pixels: the last map's scale"),
    Slider("augment", begin["augment"], 0.0, 1.0, step=0.1, help="share of scenes cut to a patch"),
    Slider("learning_rate", begin["learning_rate"], 1e-4, 0.05, log=True, help="at its highest"),
    Slider("batch_size", begin["batch_size"], 4, 64, step=4, help="scenes in a step"),
    Slider("steps", begin["steps"], 10, most, step=10, help="of one batch each"),
]


def summary(model, settings):
    """What the panel's table lists."""
    found = ways[settings.framework].detect(model, x_test[:100])
    return {"AP50 on 100 test scenes": metrics.coco(found, t_test[:100], scenes.class_names).ap50}


trainers = {n: functools.partial(way.train, x_train, t_train) for n, way in ways.items()}
panel = Panel(trainers, controls, title="A small SSD", summary=summary)
panel.show()

# %% [markdown]
# No front end is needed. The same from a script is one call:

# %%
name, *_ = ways  # the first of your frameworks
short = settings_of(controls, name, SEED, steps=30)
model = run(trainers[name], short, "A small SSD", every=10)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A model that has had its time
#
# Two checkpoints, which load into whichever framework you run: one for scenes, one for blood cells.
# They are the same class of network; settings say how many classes, how large the default boxes.


# %%
def restored(name, checkpoint="15_ssd"):
    """The checkpoint's model in the framework `name`."""
    model = ways[name].build(SimpleNamespace(**checkpoints.load(checkpoint).info["settings"]))
    checkpoints.load_into(model, checkpoint)
    return model


trained = {n: restored(n) for n in ways}
way, ssd = ways[name], trained[name]
print(f"{checkpoints.load('15_ssd').info['what']}, in {runtime.LABELS[name]}.")
alt = "three test scenes with the digits found in them, each with its class and score"
some = [0, 2, 5]
found = way.detect(ssd, x_test[some], 0.4)
fig = plots.detections(x_test[some], found, scenes.class_names, side=2.0)
plots.show(fig, alt=alt)

# %%
haematologist = restored(name, "15_ssd_bccd")
print(f"{checkpoints.load('15_ssd_bccd').info['what']}.")
some = [0, 1]
found = way.detect(haematologist, cells.x_test[some], 0.4)
alt = "two test photographs of blood cells with the cells found in them"
plots.show(plots.detections(cells.x_test[some], found, cells.class_names, side=2.0), alt=alt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Look inside
#
# ### Default boxes, and whose they are
#
# Choose an object, a map, a shape and a threshold. The object has its colour and label; the grey frames are
# default boxes of that map whose IoU with it reaches the threshold. Slide the threshold down and see how many boxes
# would be made to answer for one object; slide it up and see objects left with nothing but their best
# box. Small objects have no box on the coarse maps at any sensible threshold.


# %%
SHAPES = ("all shapes", "square", "wide, 2 to 1", "tall, 1 to 2", "the extra square")


def matched(scene, item, stride, shape, threshold):
    """A scene, one of its objects, and the default boxes of a map that overlap it enough."""
    truth = t_test[scene]
    fig, ax = plots.figure(width=4, height=3.4)
    if not len(truth.boxes):
        plots.boxes(ax, x_test[scene], truth.boxes, truth.labels, ())
        ax.set_title("no object, so no positives")
        return fig
    item = min(item, len(truth.boxes)) - 1
    overlap = boxes.iou(defaults, truth.boxes[item : item + 1])[:, 0]
    at = np.repeat(STRIDES, [(96 // each) ** 2 * 4 for each in STRIDES])
    wanted = ((at == stride) | (stride == 0)) & ((np.arange(len(at)) % 4 == shape) | (shape < 0))
    near = np.flatnonzero((overlap >= threshold) & wanted)
    shown = near[np.argsort(-overlap[near])][:60]
    frames = np.concatenate([defaults[shown], truth.boxes[item : item + 1]])
    which = np.append(np.full(len(shown), -1), truth.labels[item])
    plots.boxes(ax, x_test[scene], frames, which, scenes.class_names)
    best = f"best box of all: IoU {overlap.max():.2f}, stride {at[overlap.argmax()]}"
    ax.set_title(f"{len(near)} default boxes, {best}", fontsize=9)
    return fig


Explorer(
    matched,
    [
        Slider("scene", 3, 0, len(x_test) - 1, help="which test scene"),
        Slider("item", 1, 1, 8, help="which of its objects"),
        Choice("stride", 0, {"all maps": 0, **{f"every {s} pixels": s for s in STRIDES}}),
        Choice("shape", -1, dict(zip(SHAPES, range(-1, 4), strict=True)), help="of the box"),
        Slider("threshold", 0.5, 0.1, 0.9, step=0.05, help="least IoU"),
    ],
    title="Default boxes and an object",
    alt="a scene; one digit framed, and the default boxes that overlap it enough",
).show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two thresholds
#
# The network's answers stay as they are; only the reading changes. A low score threshold shows all
# that the network ever thought of; a high one what it is sure of. With an NMS threshold near 1 every
# object is reported several times; near 0 neighbours suppress each other.

# %%
answers = [part[:40] for part in way.raw(ssd, x_test[:40])]


def thresholds(scene, score, overlap):
    """What is found in a scene with these thresholds, and what is there."""
    logits, offsets = (part[scene] for part in answers)
    found = read(logits, offsets, defaults, 96, 96, score, overlap)
    fig, (left, right) = plots.figure(columns=2, width=6, height=3)
    plots.boxes(left, x_test[scene], *found[::2], scenes.class_names, found.scores)
    truth = t_test[scene]
    plots.boxes(right, x_test[scene], *truth[:2], scenes.class_names, crowd=truth.crowd)
    left.set_title(f"found: {len(found.boxes)}")
    right.set_title(f"there: {(~truth.crowd).sum()}")
    return fig


Explorer(
    thresholds,
    [
        Slider("scene", 5, 0, 39, help="which test scene"),
        Slider("score", 0.3, 0.01, 0.95, step=0.01, help="least score"),
        Slider("overlap", 0.45, 0.05, 1.0, step=0.05, label="NMS", help="IoU that suppresses"),
    ],
    title="Score and NMS",
    alt="left, what is found in a scene with these thresholds; right, what is there",
).show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Predict, run, explain
#
# ### Without hard negatives
#
# The network learns **eight scenes by heart**: 60 steps, no augmentation. Once three negatives count
# for each positive, once *all* background does, about seventy for each positive. **First commit to a
# prediction.** What will the default boxes that match a digit say about *that digit's own class*?

# %%
exercises.predict(
    "Trained on all negatives, a box on a digit gives the digit's own class …",
    ["a higher score: it has seen more", "about the same", "a lower score"],
    key="mining",
)


# %%
def on_digits(model, images, truths):
    """What boxes matched with a digit say: the mean score of its class, and of background."""
    own, background = [], []
    for each, truth in zip(way.raw(model, images)[0], truths, strict=True):
        labels, _ = targets(truth, defaults)
        odds = softmax(each[labels > 0])
        own.append(odds[np.arange(len(odds)), labels[labels > 0]])
        background.append(odds[:, 0])
    return np.concatenate(own).mean(), np.concatenate(background).mean()


eight = x_train[:8], t_train[:8]
few = {"steps": 60, "batch_size": 4, "augment": 0.0, "learning_rate": QUICK["learning_rate"]}
own = {}
for negatives in ("hardest", "all"):
    chosen = settings_of(controls, name, SEED, **few, negatives=negatives)
    model = way.train(*eight, chosen, lambda *_: True)
    own[negatives], background = on_digits(model, *eight)
    sure = sum(int((one.scores >= 0.3).sum()) for one in way.detect(model, eight[0]))
    print(
        f"{negatives:<8} own class {own[negatives]:.2f}, background {background:.2f}; "
        f"detections with a score of 0.3 or more: {sure}"
    )
ratio = own["all"] / own["hardest"]
outcome = "a higher score: it has seen more" if ratio > 1.1 else "about the same"
exercises.reveal("mining", "a lower score" if ratio < 0.9 else outcome)

# %% [markdown]
# Seventy negatives for a positive, all of the same opinion: the gradient says *background, background*,
# and the quickest way to a small loss is to believe it everywhere. The digits' own pull comes through
# in the end, but late. Mining asks the network only about background that it still gets wrong.
# (Lin et al. [2017](https://arxiv.org/abs/1708.02002) found another cure: keep all negatives, and
# weigh each by how wrong it is. Their *focal loss* replaced mining in most later detectors.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Without several maps
#
# All default boxes, of all sizes, sit on one map with a cell every 8 pixels, 16 to a cell; the
# trainings are longer than would fit here, so `make train` ran them once: 400 steps of 16 scenes. A
# digit counts as found if a box of its class overlaps it by half, with a score of 0.3 or more.

# %%
exercises.predict(
    "With one map instead of four, which digits suffer most?",
    ["small ones, below 16 pixels", "those in between", "large ones, of 28 pixels or more"],
    key="maps",
)

# %%
parts = checkpoints.load("15_ssd").info["parts"]
bands = list(parts["as it is"]["recall"])
print(f"{'share found, by longer side':<28}", *(f"{band:>11}" for band in bands), f"{'AP50':>7}")
for title, scores in parts.items():
    each = (f"{scores['recall'][band]:>11.2f}" for band in bands)
    print(f"{title:<28}", *each, f"{scores['ap50']:>7.2f}")
lost = [parts["as it is"]["recall"][b] - parts["one map, stride 8"]["recall"][b] for b in bands]
options = ["small ones, below 16 pixels", "those in between", "large ones, of 28 pixels or more"]
exercises.reveal("maps", options[int(np.argmax(lost))])

# %% [markdown]
# Large digits hardly notice. Of those in between nearly half are lost, and of the small ones nearly
# all: with a cell every 8 pixels, a digit
# of 14 pixels may have its centre 4 pixels off in both directions, and then its IoU with a default box
# of its very size is 100 / 292 = 0.34. No box is matched but the best one, and a single box must answer
# for all places in its cell. (Also in the table: *all negatives*, trained as long. Hardly any box dares
# to score 0.3. One training each; the paper's own table of maps left out says the same.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Measure it
#
# COCO's evaluation, by its authors' code: **AP50** counts a box as right if its IoU with an object of
# its class is 0.5 or more; **AP** is the mean over ten such thresholds, 0.5 to 0.95. Here on the first
# 100 test scenes, in each framework.

# %%
for each, model in trained.items():
    found = ways[each].detect(model, x_test[:100], 0.01)
    scores = metrics.coco(found, t_test[:100], scenes.class_names)
    print(f"{runtime.LABELS[each]:<10} AP {scores.ap:.3f}, AP50 {scores.ap50:.3f}")

# %% [markdown]
# The three agree, because they are one network. On all test pictures, with 95 % intervals from test
# pictures drawn anew:

# %%
from utils import results

results.show("15_ssd")

# %% [markdown]
# On scenes the AP50 of 0.944 stays just below the 0.95 that this part of the course set out to reach.
# **Ones** cost most, and the default boxes say why: none is narrower than one to two, and many ones
# are. Of the ones in 600 training scenes 28 % have no default box with an IoU of 0.5, and a one gets 4.5
# positives on average, where other digits get 8 to 10. A ratio of ⅓, which the paper has on its middle
# maps, is the remedy to try: default boxes are chosen for the objects that you expect.
#
# Blood cells: white ones are large and stand out, red ones overlap and are cut by the edge, and
# platelets are small and few, and found worst. 205 photographs are not many.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Where it fails
#
# Precision and recall of blood cells, class by class: as the score threshold falls, more is found
# (recall) and less of it is right (precision). The area below is AP50, here by our
# own code of it.

# %%
few = slice(0, 30)
found = way.detect(haematologist, cells.x_test[few], 0.02)
fig, ax = plots.figure(width=6, height=3)
for label, title in enumerate(cells.class_names):
    curve = metrics.average_precision(found, cells.t_test[few], label)
    style = {"color": plots.class_colour(label), "linestyle": ("-", "--", ":")[label]}
    ax.plot(curve.recall, curve.precision, label=f"{title}: {curve.ap:.2f}", **style)
ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
ax.legend(title="AP50, 30 photographs")
alt = "precision against recall for red cells, white cells and platelets, a curve for each"
plots.show(fig, alt=alt)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How the libraries do it today
#
# | | SSD | training loop |
# |---|---|---|
# | PyTorch | torchvision: `ssd300_vgg16`, `ssdlite320_mobilenet_v3_large`, with weights for COCO | yours; the model returns its losses in training mode |
# | TensorFlow | the Object Detection API had several; it is no longer maintained, and its `tf.estimator` left TensorFlow with 2.16 | – |
# | Keras | KerasHub has other one-stage detectors, such as RetinaNet (with the focal loss) | `fit` |
#
# torchvision's SSD has what this notebook has: `DefaultBoxGenerator`, `SSDMatcher` (best box and
# threshold), a `BoxCoder` with weights (10, 10, 5, 5), hard negatives three to one. Its COCO weights
# score an AP of 25.1.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Exercises
#
# Fill in, run, read what the check says. `hint()` can be called more than once; `solution()` shows
# one. Each works on NumPy arrays.

# %% [markdown]
# **1. Count them.** SSD512's default boxes: one number.

# %%
print(questions.count.question)
questions.count.check(...)
# questions.count.hint()
# questions.count.solution()

# %% [markdown]
# **2. Shapes.** Widths and heights of a cell's default boxes; the extra square comes last.


# %%
def shapes_mine(scale, following, ratios):
    """(len(ratios) + 1, 2): width and height of each."""
    return ...  # your code


questions.shapes.check(shapes_mine)

# %% [markdown]
# **3. Hard negatives**, for labels in which 0 is background and −1 is left out.


# %%
def hard_mine(costs, labels, ratio):
    """Which negatives count: (A,) bool."""
    return ...  # your code


questions.hard.check(hard_mine)

# %% [markdown]
# **4. The loss** of one picture, from each box's cost $-\log p$ and the gaps $l - \hat g$.


# %%
def loss_mine(costs, gaps, labels, hard):
    """Classes of positives and hard negatives, places of positives, divided by N."""
    return ...  # your code


questions.loss.check(loss_mine)

# %% [markdown]
# **5. Nothing there.** Answer with a letter.

# %%
questions.empty.ask()
questions.empty.check(...)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What to remember
#
# - One pass: for each of some thousand default boxes a class or background, and four numbers.
# - SSD300 has 8,732 default boxes, 5,776 of them on its first, finest map.
# - An object is matched with its best box and with every box of IoU above 0.5.
# - Only positives and three hard negatives for each are trained on; the loss is divided by the number
#   of positives. A picture without objects teaches nothing.
# - The variances 0.1 and 0.2 come from the code, and are standard deviations: they bring the offsets
#   to size one.
# - NMS belongs to it: several boxes answer for each object, on purpose.
#
# | take | when |
# |---|---|
# | SSD | one pass must do, on a small machine; objects of known sizes, for which you can choose default boxes |
# | Faster R-CNN (14) | accuracy and small objects matter more than speed |
# | YOLO (16) | the same trade as SSD; later versions took over several maps and default boxes |
# | RetinaNet, or a detector without default boxes | new work: focal loss in place of mining |
#
# **Further reading.** Liu et al. ([2016](https://arxiv.org/abs/1512.02325)), its tables of what each
# part buys above all; Erhan et al. ([2014](https://arxiv.org/abs/1312.2249)), MultiBox, from which
# matching and "default boxes" come; Liu et al. ([2015](https://arxiv.org/abs/1506.04579)), ParseNet,
# whose L2 normalisation SSD takes over; Lin et al. ([2017](https://arxiv.org/abs/1708.02002)), RetinaNet.

# %% [markdown] slideshow={"slide_type": "skip"} tags=["navigation"]
# - **Next:** [YOLO](16_yolo.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/04_detection/16_yolo.ipynb))
# - **Previous:** [Faster R-CNN](14_faster_rcnn.ipynb) ([in Colab](https://colab.research.google.com/github/deep-learning-three-ways/deep-learning-three-ways/blob/main/chapters/04_detection/14_faster_rcnn.ipynb))
# - **All chapters:** [the chapter map](../../README.md#chapter-map) ([on GitHub](https://github.com/deep-learning-three-ways/deep-learning-three-ways#chapter-map))
