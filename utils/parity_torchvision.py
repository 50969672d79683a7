"""Weights in the layout of torchvision's classifiers, and in the course's own.

The state dictionaries of torchvision name layers by their place (``features.0.weight``); ours
have neutral names (``conv1.kernel``), as `utils.parity` keeps them. A *table* says which is which,
one row for each layer. torchvision itself is not needed.

The trap is where maps are flattened: torchvision's lie channels first (C, H, W), ours channels
last (H, W, C), so the rows of the first dense kernel stand in another order. A row that says of
what shape the maps were puts them right.

Examples
--------
>>> import numpy as np
>>> table = [Row("fc", "dense", "dense", maps=(2, 1, 2))]  # 2 channels of 1×2 pixels
>>> state = {"fc.weight": np.array([[1.0, 2.0, 10.0, 20.0]]), "fc.bias": np.array([0.5])}
>>> neutral(state, table)["dense.kernel"].ravel().tolist()
[1.0, 10.0, 2.0, 20.0]
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from utils import CourseError
from utils.parity import Weights, to_numpy


class Row(NamedTuple):
    """One layer: torchvision's name, ours, its kind, and the maps that it flattens.

    Parameters
    ----------
    theirs
        Name in the state dictionary, without ``.weight``.
    ours
        Neutral name, without ``.kernel``.
    kind
        ``"conv"``, ``"conv without bias"``, ``"dense"`` or ``"norm"``.
    maps
        For the dense layer after flattening, (channels, height, width) of the maps before it.
    """

    theirs: str
    ours: str
    kind: str
    maps: tuple[int, int, int] | None = None


# For each kind: their variables and our names for them.
_PARTS = {
    "conv": {"weight": "kernel", "bias": "bias"},
    "conv without bias": {"weight": "kernel"},
    "dense": {"weight": "kernel", "bias": "bias"},
    "norm": {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
}
_IGNORED = {"norm": ("num_batches_tracked",)}  # a counter, no weight; a state may lack it

ALEXNET = (
    *(Row(f"features.{i}", f"conv{n}", "conv") for n, i in enumerate((0, 3, 6, 8, 10), 1)),
    Row("classifier.1", "dense6", "dense", maps=(256, 6, 6)),
    Row("classifier.4", "dense7", "dense"),
    Row("classifier.6", "dense8", "dense"),
)


def vgg(blocks: Sequence[int], norm: bool = False) -> list[Row]:
    """The rows of a VGG whose blocks have so many convolutions: (2, 2, 3, 3, 3) for VGG-16.

    Parameters
    ----------
    blocks
        How many convolutions each block has; a pooling, which has no key, ends it.
    norm
        Whether a BatchNorm follows each convolution (``vgg16_bn``).
    """
    rows, place = [], 0
    for b, count in enumerate(blocks, start=1):
        for n in range(1, count + 1):
            rows.append(Row(f"features.{place}", f"conv{b}_{n}", "conv"))
            if norm:
                rows.append(Row(f"features.{place + 1}", f"norm{b}_{n}", "norm"))
            place += 3 if norm else 2  # the ReLU counts too
        place += 1  # and the pooling
    rows.append(Row("classifier.0", "dense1", "dense", maps=(512, 7, 7)))
    return [*rows, Row("classifier.3", "dense2", "dense"), Row("classifier.6", "dense3", "dense")]


def resnet(blocks: Sequence[int], kind: str) -> list[Row]:
    """The rows of a ResNet with projections where shapes change (the paper's shortcuts B).

    Parameters
    ----------
    blocks
        How many blocks each stage has: (2, 2, 2, 2) for ResNet-18, (3, 4, 6, 3) for 34 and 50.
    kind
        ``"basic"`` or ``"bottleneck"``.
    """
    rows = [Row("conv1", "stem", "conv without bias"), Row("bn1", "stem_norm", "norm")]
    number = 0
    for stage, count in enumerate(blocks, start=1):
        for place in range(count):
            number += 1
            theirs, ours = f"layer{stage}.{place}", f"block{number}"
            for part in range(1, 3 if kind == "basic" else 4):
                rows.append(Row(f"{theirs}.conv{part}", f"{ours}.conv{part}", "conv without bias"))
                rows.append(Row(f"{theirs}.bn{part}", f"{ours}.norm{part}", "norm"))
            if not place and (stage > 1 or kind == "bottleneck"):
                way = f"{theirs}.downsample"
                rows.append(Row(f"{way}.0", f"{ours}.shortcut", "conv without bias"))
                rows.append(Row(f"{way}.1", f"{ours}.shortcut_norm", "norm"))
    return [*rows, Row("fc", "dense", "dense")]


def parts(row: Row) -> dict[str, str]:
    """What torchvision calls each of a layer's variables, and what we call it."""
    return dict(_PARTS[row.kind])


def keys(table: Sequence[Row]) -> list[str]:
    """Every key that a state dictionary of this table must hold, in its order."""
    return [f"{row.theirs}.{part}" for row in table for part in _PARTS[row.kind]]


def names(table: Sequence[Row]) -> dict[str, str]:
    """Their keys to our names, in their order."""
    return {
        f"{row.theirs}.{theirs}": f"{row.ours}.{ours}"
        for row in table
        for theirs, ours in _PARTS[row.kind].items()
    }


def neutral(state: Mapping[str, Any], table: Sequence[Row]) -> Weights:
    """The course's weights from a state dictionary in torchvision's layout.

    Parameters
    ----------
    state
        Keys to tensors or arrays.
    table
        The model's rows, such as `ALEXNET`. For a narrower model of the same layout, see `narrow`.

    Returns
    -------
    dict
        Neutral names to arrays, for `utils.parity.set_weights`.

    Raises
    ------
    CourseError
        Naming each key that is missing or unexpected, or an array that cannot be the layer's.
    """
    wanted = keys(table)
    ignored = {f"{row.theirs}.{part}" for row in table for part in _IGNORED.get(row.kind, ())}
    problems = [f"{key} is missing" for key in wanted if key not in state]
    problems += [f"{key} is unexpected" for key in state if key not in {*wanted, *ignored}]
    if problems:
        more = f"; and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise CourseError(
            f"This state dictionary is not of the model's layout: {'; '.join(problems[:6])}{more}."
        )
    weights = {}
    for row in table:
        for theirs, ours in _PARTS[row.kind].items():
            value = to_numpy(state[f"{row.theirs}.{theirs}"])
            if ours == "kernel":
                value = _kernel(row, value)
            weights[f"{row.ours}.{ours}"] = np.ascontiguousarray(value)
    return weights


def _kernel(row: Row, value: np.ndarray) -> np.ndarray:
    """A kernel in TensorFlow's layout: (height, width, in, out), or (in, out)."""
    axes = 2 if row.kind == "dense" else 4
    if value.ndim != axes:
        raise CourseError(
            f"{row.theirs}.weight has {value.ndim} axes, but the kernel of a {row.kind} has {axes}."
        )
    if row.kind != "dense":
        return value.transpose(2, 3, 1, 0)
    if row.maps is not None:
        channels, height, width = row.maps
        if value.shape[1] != channels * height * width:
            raise CourseError(
                f"{row.theirs}.weight reads {value.shape[1]:,} numbers, but maps of "
                f"{channels}×{height}×{width} have {channels * height * width:,}."
            )
        maps = value.reshape(-1, channels, height, width)
        value = maps.transpose(0, 2, 3, 1).reshape(len(value), -1)  # C, H, W → H, W, C
    return value.T


def narrow(table: Sequence[Row], channels: int) -> list[Row]:
    """The table of the same layout with other widths: maps of so many channels are flattened."""
    return [row._replace(maps=(channels, *row.maps[1:])) if row.maps else row for row in table]
