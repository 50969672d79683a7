"""Reading an answer, whatever it is made of, and saying how it differs from the right one."""

from typing import Any

import numpy as np


class UnreadableError(Exception):
    """The answer is not made of numbers; the message says what it is instead."""


def is_blank(value: Any) -> bool:
    """Whether `value` is a placeholder: None, ``...``, NotImplemented, or a list that holds one."""
    if value is None or value is Ellipsis or value is NotImplemented:
        return True
    if type(value) in (tuple, list):
        return any(item is None or item is Ellipsis for item in value)
    return False


def to_array(value: Any) -> np.ndarray:
    """Turn numbers, lists and tensors of any framework into an array, its dtype kept.

    Raises
    ------
    UnreadableError
        If `value` does not hold real numbers in a rectangular arrangement.
    """
    if type(value) in (tuple, list):
        parts = [to_array(item) for item in value]
        if len({part.shape for part in parts}) > 1:
            several = f"{len(parts)} separate results of different shapes"
            raise UnreadableError(several if type(value) is tuple else "a list with uneven rows")
        value = parts
    elif callable(getattr(value, "detach", None)):  # a PyTorch tensor, on any device
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype):  # NumPy has no such type
            value = value.float()
    if isinstance(value, str | bytes) or callable(value):
        raise UnreadableError(_kind(value))
    array = np.asarray(value)
    if array.dtype.kind == "c" and not np.any(array.imag):
        array = array.real
    if array.dtype.kind not in "biuf" and "bfloat16" not in str(array.dtype):
        raise UnreadableError(_kind(value))
    return array


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int):
        return "too large a number"
    return "a function" if callable(value) else f"an object of type {type(value).__name__}"


def agree(answer: Any, expected: Any, tolerance: float) -> bool:
    """Whether two results are the same numbers; NaN equals NaN."""
    try:
        return difference(answer, expected, tolerance, nan_is_fine=True) is None
    except UnreadableError:
        return False


def difference(
    answer: Any, expected: Any, tolerance: float, nan_is_fine: bool = False
) -> str | None:
    """Say in words how `answer` differs from `expected`, or return None.

    Raises
    ------
    UnreadableError
        If `answer` is not made of numbers.
    """
    if type(expected) is tuple:
        return _tuple_difference(answer, expected, tolerance, nan_is_fine)
    given, right = to_array(answer), to_array(expected).astype(np.float64)
    if "float16" in str(getattr(answer, "dtype", "")):  # bfloat16 too: two digits are all it has
        tolerance = max(tolerance, 1e-2)
    given = given.astype(np.float64)
    if np.squeeze(given).shape != np.squeeze(right).shape:
        return f"your result has {shape(given)}; it should have {shape(right)}"
    shown = shape(right) if right.size > 6 else None
    given, flat = given.reshape(right.shape), right
    if not nan_is_fine and np.isnan(given).any() and not np.isnan(right).any():
        return f"your result holds NaN: {numbers(given)}" if not shown else "your result holds NaN"
    scale = np.max(np.abs(flat[np.isfinite(flat)]), initial=0.0)
    near = np.isclose(
        given, flat, rtol=tolerance, atol=max(0.1 * tolerance * scale, 1e-9), equal_nan=True
    )
    if near.all():
        return None
    if not shown:
        return f"your result is {numbers(given)}; it should be {numbers(right)}"
    with np.errstate(all="ignore"):
        gap = np.where(near, -1.0, np.nan_to_num(np.abs(given - flat), nan=np.inf))
    worst = np.unravel_index(np.argmax(gap), gap.shape)
    where = ", ".join(map(str, worst))
    return (
        f"{int((~near).sum())} of {right.size} numbers differ; at [{where}] yours is "
        f"{given[worst]:.4g} and should be {right[worst]:.4g}"
    )


def _tuple_difference(
    answer: Any, expected: tuple, tolerance: float, nan_is_fine: bool
) -> str | None:
    if not isinstance(answer, tuple | list) or len(answer) != len(expected):
        return f"return {len(expected)} results, in this order, separated by commas"
    for place, (given, right) in enumerate(zip(answer, expected, strict=True), start=1):
        said = difference(given, right, tolerance, nan_is_fine)
        if said:
            return f"result {place} of {len(expected)}: {said}"
    return None


def shape(array: np.ndarray) -> str:
    """The shape of `array` in words."""
    return f"shape {array.shape}" if array.ndim else "no axes (a single number)"


def numbers(array: np.ndarray) -> str:
    """The numbers of a small array on one line, to four digits."""
    if array.ndim == 0:
        return f"{float(array):.6g}"
    text = np.array2string(
        array, separator=", ", formatter={"float_kind": "{:.4g}".format}, threshold=20
    )
    return " ".join(text.split())


def arguments(names: list[str], values: tuple) -> str:
    """Name the inputs of a case: small ones in full, large ones by their shape."""
    said = []
    for position, value in enumerate(values):
        name = names[position] if position < len(names) else f"argument {position + 1}"
        if isinstance(value, np.ndarray) and value.size > 6:
            said.append(f"{name} of shape {value.shape}")
        elif isinstance(value, np.ndarray | np.generic | float | int):
            said.append(f"{name} = {numbers(np.asarray(value, dtype=np.float64))}")
        else:
            said.append(f"{name}")
    return ", ".join(said)
