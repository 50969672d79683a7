"""Calling a learner's function safely: stubs, the framework it speaks, and errors in words."""

import contextlib
import copy
import dis
import functools
import gc
import inspect
import linecache
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from utils.exercises._answers import is_blank

DOTS = "put your own work in the place of the dots, then run the cell again."


class NotAttemptedError(Exception):
    """The learner has not begun; the message says what to do."""


class CallError(Exception):
    """The learner's function cannot be called or raises; the message says it in words."""


def call_all(answer: Callable, cases: list[tuple], names: list[str]) -> list[Any]:
    """Call `answer` on each case and return its results.

    NumPy arrays go in. A function written in PyTorch or TensorFlow gets that framework's
    tensors instead, and where one language fails, the others are tried before it is blamed.

    Raises
    ------
    NotAttemptedError
        If the function is a stub.
    CallError
        If it cannot be called with these arguments, or raises in every language.
    """
    _fits(answer, cases[0], names)
    first = None
    for translate in _languages(answer):
        try:
            results = [_call(answer, tuple(map(translate, case))) for case in cases]
        except CallError as error:
            first = first or error
            continue
        if all(is_blank(result) for result in results):
            raise NotAttemptedError(_blank_in_words(answer, results[0]))
        return results
    raise first


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector waiting while a learner's function runs.

    Where an endless recursion ends, nothing has room to run. Whatever the collector found
    there could not be finalised: it would be lost, with red lines that speak of code that the
    learner never wrote.
    """
    was_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_at_work:
            gc.enable()


def _call(answer: Callable, values: tuple) -> Any:
    try:
        with _no_collection(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return answer(*values)
    except KeyboardInterrupt:  # the learner's own wish, not an answer
        raise
    except NotImplementedError:
        raise NotAttemptedError(
            "your function still raises NotImplementedError; write its body first."
        ) from None
    except BaseException as error:
        text = _text(error)
        if isinstance(error, TypeError) and "ellipsis" in text.lower():
            raise NotAttemptedError(DOTS) from None
        raise CallError(_error_in_words(error, text, answer)) from None


def quietly(function: Callable, values: tuple) -> Any:
    """Call the course's own `function` on copies of `values`, without numeric warnings."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*map(_numpy, values))


# Stubs


def _plain(answer: Any) -> Any:
    while isinstance(answer, functools.partial):
        answer = answer.func
    return inspect.unwrap(answer)


def _is_stub(answer: Any) -> bool:
    """Whether the body holds nothing but a docstring, ``pass``, ``...`` or NotImplementedError."""
    code = getattr(_plain(answer), "__code__", None)
    if code is None or set(code.co_names) - {"NotImplementedError"}:
        return False
    blank = str | types.EllipsisType | types.NoneType
    if not all(isinstance(constant, blank) for constant in code.co_consts):
        return False
    at_work = ("LOAD_FAST", "LOAD_DEREF", "BUILD_", "BINARY_", "COMPARE_")
    return not any(step.opname.startswith(at_work) for step in dis.get_instructions(code))


def _blank_in_words(answer: Any, result: Any) -> str:
    if result is None and not _is_stub(answer):
        return "your function returns None; if you have written it, end it with `return`."
    return DOTS


def _fits(answer: Callable, values: tuple, names: list[str]) -> None:
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # some callables written in C have none
        return
    try:
        signature.bind(*values)
    except TypeError:
        if _is_stub(answer):
            raise NotAttemptedError(DOTS) from None
        count = len(values)
        raise CallError(
            f"your function should take {count} argument{'s' if count != 1 else ''} "
            f"({', '.join(names[:count])}), but it is written as {signature}."
        ) from None


# The framework an answer speaks


def _languages(answer: Any) -> list[Callable[[Any], Any]]:
    """Ways to hand over an argument, the answer's own language first."""
    spoken = _roots(answer)
    known = {"numpy": _numpy, "torch": _torch, "tensorflow": _tensorflow}
    loaded = [name for name in known if name in sys.modules]
    return [known[name] for name in sorted(loaded, key=lambda name: (name not in spoken, name))]


def _roots(answer: Any) -> set[str]:
    """Names of the top-level packages that a function or a module object uses."""
    roots = {parent.__module__.split(".")[0] for parent in type(answer).__mro__}
    plain = _plain(answer)
    code, space = getattr(plain, "__code__", None), getattr(plain, "__globals__", {})
    for name in getattr(code, "co_names", ()):
        used = space.get(name)
        if isinstance(used, types.ModuleType):
            roots.add(used.__name__.split(".")[0])
        elif name in ("torch", "tensorflow"):  # imported inside the function
            roots.add(name)
    if not roots & {"torch", "tensorflow"}:
        roots.add("numpy")
    return roots


def _numpy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else copy.deepcopy(value)


def _float32(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype.kind == "f" else value.copy()


def _torch(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return copy.deepcopy(value)
    return sys.modules["torch"].as_tensor(_float32(value))


def _tensorflow(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return copy.deepcopy(value)
    return sys.modules["tensorflow"].constant(_float32(value))


# Errors in words


def _text(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        return ""
    # Addresses differ from run to run, and stored notebooks are compared with new runs.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", lines[0])[:200] if lines else ""


def _error_in_words(error: BaseException, text: str, answer: Any) -> str:
    if isinstance(error, NameError) and getattr(error, "name", None):
        said = f"the name {error.name!r} is not defined"
    elif isinstance(error, RecursionError):
        said = "it calls itself without end"
    elif isinstance(error, ZeroDivisionError):
        said = "it divides by zero"
    else:
        said = f"it raises {type(error).__name__}" + (f" ({text})" if text else "")
    return f"your function stops{_line(error, answer)}: {said}."


def _line(error: BaseException, answer: Any) -> str:
    """The last line of the learner's own code that the error went through."""
    own = getattr(_plain(answer), "__globals__", None)
    if own is None:  # an object: its class knows where it was written
        own = getattr(sys.modules.get(type(answer).__module__), "__dict__", None)
    found = None
    step = error.__traceback__
    while step is not None:
        if own is not None and step.tb_frame.f_globals is own:
            found = step
        step = step.tb_next
    if found is None:
        return ""
    number = found.tb_lineno
    source = linecache.getline(found.tb_frame.f_code.co_filename, number).strip()
    return f" in line {number}" + (f" (`{source}`)" if source else "")
