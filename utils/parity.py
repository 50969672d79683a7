"""Moving weights between frameworks, and proving that three models are one.

A model's weights travel as a dictionary of NumPy arrays with neutral names
(``encoder.hidden1.kernel``) in one layout, TensorFlow's: a dense kernel is ``(in, out)``.
PyTorch's ``weight`` is its transpose.
"""

import dataclasses
import sys
from typing import Any

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


def _torch_variables(model: Any) -> list[tuple[str, Any, bool]]:
    import torch

    found = []
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            dense = isinstance(module, torch.nn.Linear) and name == "weight"
            if name == "weight" and not dense:
                raise CourseError(
                    f"{path} is a {type(module).__name__}: parity knows Linear layers only."
                )
            found.append((f"{path}.{'kernel' if dense else name}", parameter, dense))
    return found


def _tensorflow_variables(module: Any, prefix: str = "") -> list[tuple[str, Any, bool]]:
    import tensorflow as tf

    found = []
    for name, value in vars(module).items():
        if isinstance(value, tf.Variable) and value.trainable:
            found.append((prefix + name, value, False))
        elif isinstance(value, tf.Module):
            found += _tensorflow_variables(value, f"{prefix}{name}.")
    return found


def _keras_variables(model: Any) -> list[tuple[str, Any, bool]]:
    found = []
    for variable in model.trainable_variables:
        # "vae/encoder__hidden1/kernel": the root is the model's own name, and "__" stands for the
        # dot, which Keras does not allow in a layer's name on PyTorch
        parts = variable.path.replace("__", "/").split("/")
        found.append((".".join(parts[1:] if parts[0] == model.name else parts), variable, False))
    return found


def _variables(model: Any) -> list[tuple[str, Any, bool]]:
    """(neutral name, variable, whether it is stored transposed) for each trainable variable."""
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
    """A copy of the model's trainable weights under neutral names, in one layout.

    Parameters
    ----------
    model
        A torch ``nn.Module`` of Linear layers, a ``tf.Module`` or a built ``keras.Model``.

    Raises
    ------
    CourseError
        If it is none of these, or holds a layer this module cannot name.
    """
    return {
        name: np.array(to_numpy(variable).T if transposed else to_numpy(variable))
        for name, variable, transposed in _variables(model)
    }


def named_gradients(model: Any, gradients: list) -> Weights:
    """Gradients in the order of `get_weights`'s variables, under the same names and layout.

    Parameters
    ----------
    gradients
        One per variable, as the framework returned them for `variables`.
    """
    return {
        name: np.array(to_numpy(gradient).T if transposed else to_numpy(gradient))
        for (name, _, transposed), gradient in zip(_variables(model), gradients, strict=True)
    }


def variables(model: Any) -> list:
    """The model's trainable variables in the order of their neutral names."""
    return [variable for _, variable, _ in _variables(model)]


def set_weights(model: Any, weights: Weights) -> None:
    """Put neutral `weights` into the model. Nothing changes unless every one of them fits.

    Raises
    ------
    CourseError
        Naming each weight that is missing, unexpected, or of another shape.
    """
    targets = _variables(model)
    names = [name for name, _, _ in targets]
    problems = [f"{name} is missing" for name in names if name not in weights]
    problems += [f"{name} is unexpected" for name in weights if name not in names]
    for name, variable, transposed in targets:
        shape = tuple(variable.shape)[::-1] if transposed else tuple(variable.shape)
        if name in weights and weights[name].shape != shape:
            problems.append(f"{name} is {weights[name].shape} and should be {shape}")
    if problems:
        shown = "; ".join(problems[:4]) + (
            f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        )
        raise CourseError(
            f"These weights belong to another model: {shown}. Build the model they were made for."
        )
    for name, variable, transposed in targets:
        value = weights[name].T if transposed else weights[name]
        if _kind(model) == "torch":
            import torch

            with torch.no_grad():
                variable.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        else:
            variable.assign(value)


def count(model: Any) -> int:
    """How many trainable numbers the model has."""
    return sum(int(np.prod(tuple(variable.shape))) for variable in variables(model))


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
