"""Moving weights between frameworks, and proving that three models are one.

A model's weights travel as a dictionary of NumPy arrays with neutral names
(``encoder.hidden1.kernel``) in one layout, TensorFlow's: a dense kernel is ``(in, out)``, a
convolution's ``(height, width, in, out)``, a transposed convolution's ``(height, width, out, in)``.
PyTorch's ``weight`` has the same numbers with its axes in another order. Beside what is trained
travels what else a model needs to give the same answers: the moving means and variances of
BatchNorm, and any other floating-point state, but no counters, seeds, metrics or buffers that
PyTorch calls non-persistent (a mask, for example, which is made and not learned).
"""

import dataclasses
import sys
from typing import Any, NamedTuple

import numpy as np

from utils import CourseError
from utils.runtime import LABELS

Weights = dict[str, np.ndarray]


def _kind(model: Any) -> str:
    """Which framework `model` belongs to."""
    # Keras first: on the torch backend its models are torch modules as well
    for name, base in (("keras", "Model"), ("torch", "nn.Module"), ("tensorflow", "Module")):
        found = sys.modules.get(name)
        for part in base.split("."):
            found = getattr(found, part, None)
        if found is not None and isinstance(model, found):
            return name
    raise CourseError(
        f"{type(model).__name__} is not a torch nn.Module, a tf.Module or a keras.Model: "
        "pass the model itself."
    )


# Every kernel of PyTorch has its output first: Linear (out, in), Conv2d (out, in, h, w) and, the
# other way round, ConvTranspose2d (in, out, h, w). TensorFlow's have the window first.
_TO_NEUTRAL = {2: (1, 0), 4: (2, 3, 1, 0)}
# What PyTorch calls weight, bias, running_mean and running_var, in Keras's words.
_NORMALISATION = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


class _Entry(NamedTuple):
    """A variable, its neutral name, how its axes turn into neutral ones, whether it is trained."""

    name: str
    variable: Any
    axes: tuple[int, ...] | None = None
    trained: bool = True

    def neutral(self, value: Any) -> np.ndarray:
        value = to_numpy(value)
        return np.array(value if self.axes is None else value.transpose(self.axes))

    def own(self, value: np.ndarray) -> np.ndarray:
        return value if self.axes is None else value.transpose(np.argsort(self.axes))

    def shape(self) -> tuple[int, ...]:
        shape = tuple(self.variable.shape)
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)


def _torch_variables(model: Any) -> list[_Entry]:
    from torch import nn

    kernels = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
    found = []
    for path, module in model.named_modules():
        names = {}
        if isinstance(module, kernels):
            names = {"weight": "kernel"}
        elif isinstance(module, norms):
            names = _NORMALISATION
        elif isinstance(module, nn.Embedding):
            names = {"weight": "embeddings"}
        prefix = f"{path}." if path else ""
        for name, parameter in module.named_parameters(recurse=False):
            if name == "weight" and name not in names:
                raise CourseError(
                    f"{path} is a {type(module).__name__}, which utils.parity cannot name: teach "
                    "it there what the layer's weights are called in TensorFlow and Keras."
                )
            axes = _TO_NEUTRAL[parameter.dim()] if names.get(name) == "kernel" else None
            found.append(_Entry(prefix + names.get(name, name), parameter, axes))
        for name, buffer in module.named_buffers(recurse=False):
            kept = name not in module._non_persistent_buffers_set
            if kept and buffer.is_floating_point():
                found.append(_Entry(prefix + names.get(name, name), buffer, trained=False))
    return found


def _tensorflow_variables(module: Any, prefix: str = "") -> list[_Entry]:
    import tensorflow as tf

    found = []
    for name, value in vars(module).items():
        if isinstance(value, tf.Variable):
            if value.trainable or value.dtype.is_floating:
                found.append(_Entry(prefix + name, value, trained=value.trainable))
        elif isinstance(value, tf.Module):
            found += _tensorflow_variables(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            for place, part in enumerate(value):
                if isinstance(part, tf.Module):
                    found += _tensorflow_variables(part, f"{prefix}{name}.{place}.")
    return found


def _keras_variables(model: Any) -> list[_Entry]:
    found = []
    trained = {id(variable) for variable in model.trainable_variables}
    for variable in model.weights:  # neither the state of metrics nor of random seeds
        # "vae/encoder__hidden1/kernel": the root is the model's own name, and "__" stands for the
        # dot, which Keras does not allow in a layer's name on PyTorch
        parts = variable.path.replace("__", "/").split("/")
        name = ".".join(parts[1:] if parts[0] == model.name else parts)
        found.append(_Entry(name, variable, trained=id(variable) in trained))
    return found


def _variables(model: Any) -> list[_Entry]:
    """Every number that makes up the model: trained variables and state such as moving means."""
    kinds = {
        "torch": _torch_variables,
        "tensorflow": _tensorflow_variables,
        "keras": _keras_variables,
    }
    return kinds[_kind(model)](model)


def to_numpy(tensor: Any) -> np.ndarray:
    """A NumPy array from a tensor of any of the three frameworks, on any device."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
    elif "keras" in sys.modules and hasattr(tensor, "value") and not hasattr(tensor, "numpy"):
        tensor = sys.modules["keras"].ops.convert_to_numpy(tensor)
    return np.asarray(tensor)


def get_weights(model: Any) -> Weights:
    """A copy of the model's weights and state under neutral names, in one layout.

    Parameters
    ----------
    model
        A torch ``nn.Module``, a ``tf.Module`` or a built ``keras.Model``.

    Raises
    ------
    CourseError
        If it is none of these, or holds a layer this module cannot name.
    """
    return {entry.name: entry.neutral(entry.variable) for entry in _variables(model)}


def named_gradients(model: Any, gradients: list) -> Weights:
    """Gradients in the order of `get_weights`'s variables, under the same names and layout.

    Parameters
    ----------
    gradients
        One per variable, as the framework returned them for `variables`.
    """
    trained = [entry for entry in _variables(model) if entry.trained]
    return {
        entry.name: entry.neutral(gradient)
        for entry, gradient in zip(trained, gradients, strict=True)
    }


def variables(model: Any) -> list:
    """The model's trainable variables in the order of their neutral names."""
    return [entry.variable for entry in _variables(model) if entry.trained]


def set_weights(model: Any, weights: Weights) -> None:
    """Put neutral `weights` into the model. Nothing changes unless every one of them fits.

    Raises
    ------
    CourseError
        Naming each weight that is missing, unexpected, or of another shape.
    """
    targets = _variables(model)
    names = [entry.name for entry in targets]
    problems = [f"{name} is missing" for name in names if name not in weights]
    problems += [f"{name} is unexpected" for name in weights if name not in names]
    for entry in targets:
        given = weights.get(entry.name)
        if given is not None and given.shape != entry.shape():
            problems.append(f"{entry.name} is {given.shape} and should be {entry.shape()}")
    if problems:
        shown = "; ".join(problems[:4]) + (
            f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        )
        raise CourseError(
            f"These weights belong to another model: {shown}. Build the model they were made for."
        )
    for entry in targets:
        value = entry.own(weights[entry.name])
        if _kind(model) == "torch":
            import torch

            with torch.no_grad():
                entry.variable.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        else:
            entry.variable.assign(value)


def count(model: Any) -> int:
    """How many trainable numbers the model has."""
    return sum(int(np.prod(tuple(variable.shape))) for variable in variables(model))


def unbiased(
    after: Weights, before: Weights, seen: dict[str, tuple[int, int]], momentum: float = 0.9
) -> Weights:
    """Keras's weights with the moving variances that PyTorch would have.

    After a batch of n values a channel, BatchNorm remembers the batch's variance: Keras as it is,
    PyTorch n / (n − 1) times it (Ioffe and Szegedy 2015, algorithm 2). What k batches have added
    can be told from what they left of the old average, momentumᵏ of it.

    Parameters
    ----------
    after, before
        The weights after those batches and before them; neither is changed.
    seen
        For each BatchNorm layer how many batches it has seen, and n.
    momentum
        Keras's: how much of the average one batch leaves.
    """
    found = dict(after)
    for layer, (batches, n) in seen.items():
        name = f"{layer}.moving_variance"
        left = momentum**batches * before[name]
        found[name] = left + (after[name] - left) * n / (n - 1)
    return found


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The largest difference between frameworks, for each quantity that was compared."""

    frameworks: tuple[str, ...]
    differences: dict[str, float]
    tolerance: float

    def numbers(self) -> str:
        """The differences themselves, one to a line (they vary a little between machines)."""
        width = max(map(len, self.differences))
        return "\n".join(
            f"{name:<{width}}  {value:.1e}" for name, value in self.differences.items()
        )

    def verdict(self) -> str:
        """One line for each quantity, the same on every machine.

        Raises
        ------
        AssertionError
            If a difference reaches the tolerance: then the models are not the same.
        """
        for name, value in self.differences.items():
            if not value < self.tolerance:
                raise AssertionError(
                    f"{name}: the frameworks differ by {value:.1e}, not below {self.tolerance:.0e}."
                )
        who = " = ".join(LABELS[name] for name in self.frameworks)
        return "\n".join(
            f"{name}: {who}, differences below {self.tolerance:.0e}" for name in self.differences
        )


def compare(results: dict[str, dict[str, Any]], tolerance: float = 1e-5) -> Comparison:
    """Compare the same quantities between frameworks.

    Parameters
    ----------
    results
        For each framework a dictionary from a quantity's name to an array, or to a
        dictionary of arrays (weights, gradients).
    tolerance
        Largest absolute difference for quantities of size one; above that it is relative to
        the largest absolute value of the quantity.

    Raises
    ------
    CourseError
        If the frameworks do not hold the same quantities in the same shapes.
    """
    first, *others = results
    differences = {}
    for quantity, reference in results[first].items():
        parts = reference if isinstance(reference, dict) else {"": reference}
        scale = max(1.0, *(float(np.nan_to_num(np.abs(p)).max(initial=0)) for p in parts.values()))
        worst = 0.0
        for other in others:
            if quantity not in results[other]:
                raise CourseError(
                    f"{LABELS[other]} has no {quantity!r} to compare with {LABELS[first]}'s."
                )
            twin = results[other][quantity]
            twins = twin if isinstance(twin, dict) else {"": twin}
            if twins.keys() != parts.keys():
                raise CourseError(
                    f"{quantity}: {LABELS[first]} and {LABELS[other]} name different parts."
                )
            for name, part in parts.items():
                if np.shape(part) != np.shape(twins[name]):
                    raise CourseError(
                        f"{quantity} {name}: shape {np.shape(part)} in {LABELS[first]}, "
                        f"{np.shape(twins[name])} in {LABELS[other]}."
                    )
                gap = np.abs(np.asarray(part, np.float64) - np.asarray(twins[name], np.float64))
                gap = np.where(np.isfinite(gap), gap, np.inf)  # NaN equals nothing
                worst = max(worst, float(gap.max(initial=0)) / scale)
        differences[quantity] = worst
    return Comparison(tuple(results), differences, tolerance)
