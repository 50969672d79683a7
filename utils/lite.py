"""LiteRT files: run one, look into one, and refuse what is none, in words. No framework is needed.

`Lite` runs a ``.tflite`` file; `graph` reads its operators, tensors and constants. 21_tflite shows
what stands behind both.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from utils import CourseError, runtime

KINDS = ("float32", "float16", "dynamic", "int8")
IDENTIFIER = b"TFL3"
RESOLVERS = ("xnnpack", "builtin", "reference")
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive, such as a .keras or a .pt file",
    b"\x89HDF": "an HDF5 file, such as Keras's .h5",
    b"\x08\x0a:\x00": "an ONNX file",
    b"\x89PNG": "a picture",
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    ``scale`` and ``zero`` (C,) or (1,) are empty where it is not quantised; ``axis`` is the one
    with a scale for each index. ``data`` is None where it is computed. ``shape`` has -1 for a
    length that is left open.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    data: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator: its name, the places of its tensors (-1: none), and its options."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Graph:
    """The first subgraph of a file, and what the file says of itself."""

    version: int
    description: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[str, ...]


def check(content: bytes) -> bytes:
    """Return `content` if it can be a LiteRT file.

    Raises
    ------
    CourseError
        If it is empty, of another kind, or cut or damaged where the schema can tell.
    """
    if len(content) < 8:
        raise CourseError(
            f"A LiteRT file was expected and {len(content)} bytes were found: read the whole file."
        )
    if content[4:8] != IDENTIFIER:
        kind = next((what for head, what in _FOREIGN.items() if content.startswith(head)), None)
        if kind is None and content[:1] == b"\x08":
            kind = "perhaps an ONNX file"
        raise CourseError(
            f"This is no LiteRT file: bytes 4 to 8 should be {IDENTIFIER!r} and are "
            f"{bytes(content[4:8])!r}{f' ({kind})' if kind else ''}. Convert the model first."
        )
    return content


def graph(content: bytes) -> Graph:
    """What stands in a file, read by the schema that the runtime brings along.

    Raises
    ------
    CourseError
        If it is no LiteRT file, or is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    check(content)
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        return _graph(model, schema)
    except CourseError:
        raise
    except Exception as error:  # flatbuffers reads past the end in many ways
        raise CourseError(
            f"The LiteRT file is damaged or cut ({len(content):,} bytes, {type(error).__name__} "
            "where its tables should be): convert or copy it again."
        ) from None


def _graph(model: Any, schema: Any) -> Graph:
    operators = {v: k for k, v in vars(schema.BuiltinOperator).items() if k.isupper()}
    part = model.subgraphs[0]
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]

    def text(raw: Any) -> str:
        return (raw or b"").decode("utf-8", "replace")

    return Graph(
        model.version,
        text(model.description),
        tuple(_tensor(t, model.buffers, schema, text) for t in part.tensors),
        tuple(
            Operator(
                operators[codes[o.opcodeIndex]],
                tuple(map(int, o.inputs)),
                tuple(map(int, o.outputs)),
                dict(vars(o.builtinOptions)) if o.builtinOptions else {},
            )
            for o in part.operators
        ),
        tuple(map(int, part.inputs)),
        tuple(map(int, part.outputs)),
        tuple(text(s.signatureKey) for s in model.signatureDefs or ()),
    )


def _tensor(tensor: Any, buffers: list, schema: Any, text: Any) -> Tensor:
    types = {v: k.lower() for k, v in vars(schema.TensorType).items() if k.isupper()}
    dtype = types[tensor.type]
    open_shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    shape = () if open_shape is None else tuple(int(n) for n in open_shape)
    q, raw = tensor.quantization, buffers[tensor.buffer].data
    scaled = q is not None and q.scale is not None
    data = None
    if raw is not None and len(raw) and dtype in _WIDTHS:
        data = np.asarray(raw, np.uint8).view(_WIDTHS[dtype]).reshape(shape)
    return Tensor(
        text(tensor.name),
        shape,
        dtype,
        np.asarray(q.scale if scaled else [], np.float32),
        np.asarray(q.zeroPoint if scaled else [], np.int64),
        int(q.quantizedDimension) if scaled else 0,
        data,
    )


_WIDTHS = {
    name: name for name in ("float32", "float16", "int8", "uint8", "int16", "int32", "int64")
} | {"bool": "bool"}


class Lite:
    """A file, ready to run: call it with an array, get an array (or a list of several).

    Parameters
    ----------
    content
        The file's bytes.
    threads
        How many threads a call may use.
    kernels
        ``"xnnpack"`` (the default delegate), ``"builtin"`` (without any), or ``"reference"``
        (the plain loops that define what is right).
    keep
        Keep what is in between: `tensor` then gives it.

    Raises
    ------
    CourseError
        If the file is none, damaged, or needs an operator that this runtime does not have.
    """

    def __init__(
        self, content: bytes, threads: int = 1, kernels: str = "xnnpack", keep: bool = False
    ) -> None:
        runtime.choose("The kernels", kernels, RESOLVERS)
        graph(content)
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kinds = (
            OpResolverType.AUTO,
            OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            OpResolverType.BUILTIN_REF,
        )
        try:
            with quiet():  # the runtime announces its delegate on the terminal
                self.interpreter = Interpreter(
                    model_content=bytes(content),
                    num_threads=threads,
                    experimental_op_resolver_type=dict(zip(RESOLVERS, kinds, strict=True))[kernels],
                    experimental_preserve_all_tensors=keep,
                )
                self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise CourseError(
                f"LiteRT does not take this file: {_first(error)} "
                "Convert it with operators that the runtime has."
            ) from None
        inputs = self.interpreter.get_input_details()  # none where only signatures have some
        self.input = inputs[0] if inputs else None
        self.outputs = self.interpreter.get_output_details()

    def __call__(self, x: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """What the model makes of x, in the types of the file (int8 stays int8)."""
        place = self.input["index"]
        expect(x, self.input["shape_signature"], self.input["dtype"])
        if tuple(self.input["shape"]) != x.shape:
            with quiet():
                self.interpreter.resize_tensor_input(place, x.shape)
                self.interpreter.allocate_tensors()
            self.input = self.interpreter.get_input_details()[0]
        self.interpreter.set_tensor(place, x)
        self.interpreter.invoke()
        found = [self.interpreter.get_tensor(o["index"]).copy() for o in self.outputs]
        return found[0] if len(found) == 1 else found

    def real(self, x: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """The same from and to real numbers: quantised on the way in, and back on the way out."""
        found = self(quantise(x, *self.input["quantization"], self.input["dtype"]))
        several = found if isinstance(found, list) else [found]
        back = [
            dequantise(one, *o["quantization"])
            for one, o in zip(several, self.outputs, strict=True)
        ]
        return back if isinstance(found, list) else back[0]

    def tensor(self, place: int) -> np.ndarray:
        """A tensor of the last call, by its place in `graph`; the file was opened with `keep`."""
        return self.interpreter.get_tensor(place).copy()


def expect(x: np.ndarray, shape: Sequence[int], dtype: Any) -> None:
    """Refuse an input of another type or shape; -1 and the batch are free.

    Raises
    ------
    CourseError
        Names what was expected and found, and the axes' order where that is the mistake.
    """
    x, dtype, shape = np.asarray(x), np.dtype(dtype), [int(n) for n in shape]
    if x.dtype != dtype:
        hint = " (quantise it first: `real` does)" if dtype == np.int8 else ""
        raise CourseError(f"The file expects {dtype} and was given {x.dtype}{hint}.")
    wanted = tuple(shape[1:])
    fits = x.ndim == len(shape) and all(
        n in (-1, m) for n, m in zip(wanted, x.shape[1:], strict=True)
    )
    if fits and len(x):
        return
    named = "(B" + "".join(f", {n}" for n in wanted) + ")"
    hint = ""
    if x.ndim == len(shape) == 4 and (*x.shape[2:], x.shape[1]) == wanted:
        hint = ": channels come last here (NHWC); transpose with (0, 2, 3, 1)"
    elif x.shape == wanted:
        hint = ": the batch is missing; take x[None]"
    raise CourseError(f"The file expects inputs {named} and was given {x.shape}{hint}.")


def quantise(x: np.ndarray, scale: float, zero: int, dtype: Any = np.int8) -> np.ndarray:
    """Real numbers as integers: round(x / scale) + zero, within the type; as it is for scale 0."""
    if not scale:
        return np.asarray(x, dtype)
    limits = np.iinfo(dtype)
    rounded = np.round(np.asarray(x, np.float32) / np.float32(scale)) + zero
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def dequantise(q: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """Integers as the real numbers they stand for: scale · (q − zero); as it is for scale 0."""
    return np.float32(scale) * (q.astype(np.int32) - zero).astype(np.float32) if scale else q


def times(call: Callable[[], Any], most: int = 50, seconds: float = 2.0) -> np.ndarray:
    """Milliseconds of each of several calls, after three that warm up.

    At most so many are timed, and fewer (but five) where they take longer than `seconds`.
    """
    for _ in range(3):
        call()
    found: list[float] = []
    started = time.perf_counter()
    while len(found) < most and (len(found) < 5 or time.perf_counter() - started < seconds):
        before = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - before))
    return np.array(found)


def clock(call: Callable[[], Any], most: int = 50, seconds: float = 2.0) -> tuple[float, float]:
    """The median and the 95th percentile of `times`."""
    found = times(call, most, seconds)
    return float(np.median(found)), float(np.percentile(found, 95))


@functools.cache
def has_micro() -> bool:
    """Whether the microcontroller's runtime is installed here: Linux on x86-64 only."""
    try:
        import tflite_micro  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what runtimes and converters say to themselves from the page."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with runtime._silent_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def overheard(lines: list[str]) -> Iterator[None]:
    """Collect what C++ writes to the terminal's error stream, such as an arena's sizes."""
    sys.stderr.flush()
    saved, (out, into) = os.dup(2), os.pipe()
    try:
        os.dup2(into, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(into)
        os.close(saved)
        with os.fdopen(out, encoding="utf-8", errors="replace") as stream:
            lines += stream.read().splitlines()


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200].rstrip(".") + "."
