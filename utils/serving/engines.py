"""The models, and what computes them: all engines take and give NumPy arrays, and agree to 1e-4.

Thread rules: sessions of ONNX Runtime, traced TensorFlow functions, and PyTorch and Keras models in
inference may be called from many threads at once; a LiteRT interpreter may not, so each thread
makes its own. One call computes with few threads, since many calls come at once.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from utils import CourseError, checkpoints, data, files, lessons, parity, room, runtime
from utils.lessons.course import ROOT

Arrays = dict[str, np.ndarray]
MOST = 100  # boxes of a picture


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What goes in or comes out; -1 is any length, and the first is the batch."""

    name: str
    shape: tuple[int, ...]
    low: float = float("-inf")
    high: float = float("inf")
    datatype: str = "FP32"


@dataclasses.dataclass(frozen=True)
class Model:
    """One of the course's models, as clients see it."""

    name: str
    what: str
    notebook: str
    input: Tensor
    outputs: tuple[Tensor, ...]
    example: tuple[int, ...]  # shape of the input that warms it up


_SCENE = (96, 96, 3)
MODELS = {
    model.name: model
    for model in (
        Model(
            "digits",
            "the ResNet of 12_resnet: which digit is it?",
            "12_resnet",
            Tensor("images", (-1, 28, 28), 0, 255),
            (Tensor("probabilities", (-1, 10)),),
            (28, 28),
        ),
        Model(
            "generator",
            "the decoder of 02_vae: a digit from two numbers",
            "02_vae",
            Tensor("latents", (-1, 2), -4, 4),
            (Tensor("images", (-1, 28, 28)),),
            (2,),
        ),
        Model(
            "detector",
            "the detector of 16_yolo: where are the digits?",
            "16_yolo",
            Tensor("images", (-1, -1, -1, 3), 0, 255),
            (
                Tensor("boxes", (-1, MOST, 4)),
                Tensor("scores", (-1, MOST)),
                Tensor("labels", (-1, MOST), datatype="INT64"),
                Tensor("counts", (-1,), datatype="INT64"),
            ),
            _SCENE,
        ),
    )
}


class Engine:
    """One model in memory: call it with an array (N, …), get a dictionary of arrays."""

    def __init__(self, run: Callable[[np.ndarray], Arrays], kind: str) -> None:
        self.kind, self._run = kind, run

    def __call__(self, x: np.ndarray) -> Arrays:
        """What the model makes of x."""
        return self._run(x)


def make(kind: str, model: Model, checkpoint: checkpoints.Checkpoint, threads: int = 1) -> Engine:
    """Load a checkpoint into an engine.

    Raises
    ------
    CourseError
        If the engine is unknown or not installed.
    """
    runtime.choose("The engine", kind, tuple(_KINDS))
    module, maker = _KINDS[kind]
    if importlib.util.find_spec(module) is None:
        raise CourseError(
            f"The engine {kind!r} needs the package {module}, which is not installed here: "
            f"choose another of {', '.join(_KINDS)}."
        )
    if model.name == "detector":
        # Its last step, non-maximum suppression, is NumPy: it is no single graph to be exported.
        framework = kind if kind in runtime.FRAMEWORKS else "torch"
        return Engine(_detector(framework, model, checkpoint), framework)
    return Engine(maker(model, checkpoint, threads), kind)


def _model(framework: str, model: Model, checkpoint: checkpoints.Checkpoint) -> tuple[Any, Any]:
    """The lesson, and its model with the checkpoint's weights."""
    lesson = lessons.load(model.notebook, framework)
    info = checkpoint.info
    settings = {
        "digits": lambda: lesson.small(**info["net"]),
        "generator": lambda: info["latents"],
        "detector": lambda: SimpleNamespace(**info["settings"]),
    }
    net = lesson.ways[framework].build(settings[model.name]())
    parity.set_weights(net, checkpoint.weights)
    return lesson, net


def _scale(lesson: Any) -> tuple[float, float]:
    """What the lesson does to a byte before its network sees it: factor and summand."""
    black, white = lesson.grey(np.array([0.0, 255.0]))[:, 0]
    return float(white - black) / 255, float(black)


def _torch_module(model: Model, checkpoint: checkpoints.Checkpoint) -> Any:
    import torch

    lesson, net = _model("torch", model, checkpoint)

    class Digits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, (self.factor, self.summand) = net, _scale(lesson)

        def forward(self, images: Any) -> Any:  # B×28×28 → B×10
            return self.net((images * self.factor + self.summand)[..., None]).softmax(-1)

    class Generator(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net.decoder

        def forward(self, latents: Any) -> Any:  # B×2 → B×28×28
            return torch.sigmoid(self.net(latents)).reshape(-1, 28, 28)

    return (Digits() if model.name == "digits" else Generator()).eval()


def _torch(model: Model, checkpoint: checkpoints.Checkpoint, threads: int) -> Callable:
    runtime.load("torch")
    import torch

    module, name = _torch_module(model, checkpoint), model.outputs[0].name
    torch.set_num_threads(threads)

    def run(x: np.ndarray) -> Arrays:
        with torch.inference_mode():
            return {name: module(torch.as_tensor(x)).cpu().numpy()}

    return run


def _tensorflow(model: Model, checkpoint: checkpoints.Checkpoint, threads: int) -> Callable:
    runtime.load("tensorflow")
    import tensorflow as tf

    lesson, net = _model("tensorflow", model, checkpoint)
    name = model.outputs[0].name
    shape = [None if side < 0 else side for side in model.input.shape]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def graph(x: Any) -> Any:
        if model.name == "generator":
            return tf.reshape(tf.sigmoid(net.decoder(x)), (-1, 28, 28))
        factor, summand = _scale(lesson)
        return tf.nn.softmax(net((x * factor + summand)[..., None], False))

    # A tf.function that refuses a shape keeps its lock (TensorFlow 2.21), and all other threads
    # wait for ever; its concrete function has none.
    traced = graph.get_concrete_function()
    return lambda x: {name: traced(tf.constant(x)).numpy()}


def _keras_function(model: Model, checkpoint: checkpoints.Checkpoint) -> Callable:
    runtime.load("keras")
    from keras import ops

    lesson, net = _model("keras", model, checkpoint)
    if model.name == "generator":
        return lambda z: ops.reshape(ops.sigmoid(net.decoder(z)), (-1, 28, 28))
    factor, summand = _scale(lesson)
    return lambda x: ops.softmax(net((x * factor + summand)[..., None], training=False))


def _keras(model: Model, checkpoint: checkpoints.Checkpoint, threads: int) -> Callable:
    function, name = _keras_function(model, checkpoint), model.outputs[0].name
    return lambda x: {name: parity.to_numpy(function(x))}


def onnx_file(model: Model, checkpoint: checkpoints.Checkpoint) -> Path:
    """The model as an ONNX file: exported once, then found in the cache."""
    return exported(
        lambda: _torch_module(model, checkpoint),
        checkpoint,
        model.notebook,
        model.example,
        model.input.name,
        [output.name for output in model.outputs],
    )


def exported(
    module: Callable[[], Any],
    checkpoint: checkpoints.Checkpoint,
    notebook: str,
    example: tuple[int, ...],
    input_name: str,
    output_names: list[str],
    known: str = "",
) -> Path:
    """A PyTorch module as an ONNX file with any batch: exported once, then found in the cache.

    Parameters
    ----------
    module
        Makes the module, in evaluation mode; called only where there is no file yet.
    checkpoint, notebook
        Its weights, and the notebook that has its lesson. The file's name carries both, and the
        exporter; another of any makes another file.
    example
        The shape of one input, without the batch.
    input_name, output_names
        What they are called in the file.
    known
        Anything else that the file depends on, such as the module's source.

    Raises
    ------
    CourseError
        If there is no file yet, and no place to keep one.
    """
    lesson = next((ROOT / "chapters").glob(f"*/{notebook}.ipynb"))
    parts = [checkpoint.info["sha256"].encode(), lesson.read_bytes(), Path(__file__).read_bytes()]
    parts.append(f"{runtime.version('torch')} {runtime.version('onnxscript')} {known}".encode())
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]
    name = f"{checkpoint.name}-{key}.onnx"
    for cache in (data.cache_directory(), room.refuge()):
        if (cache / "serving" / name).is_file():
            return cache / "serving" / name
    content = export(module(), example, input_name, output_names)
    folder = data.writable("serving")
    if folder is None:
        raise CourseError(
            f"The exported model {name} can be kept nowhere: make room, or set COURSE_CACHE to a "
            "directory that can be written to."
        )
    files.save_all({folder / name: content})
    return folder / name


def export(
    module: Any, example: tuple[int, ...], input_name: str, output_names: list[str]
) -> bytes:
    """A PyTorch module as the bytes of an ONNX file; its batch is left open.

    What the exporter notes of its own work, among it lines and paths of the source, stays out.
    """
    runtime.load("torch")
    import torch

    # A batch of 2: one of 1 would be taken for a constant of the model.
    example = torch.ones(2, *example, device="cpu")
    with quiet_export():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    graph = model.graph
    for parts in (graph.node, graph.value_info, graph.input, graph.output, graph.initializer):
        for part in parts:
            del part.metadata_props[:]
    del graph.metadata_props[:], model.metadata_props[:]
    return model.SerializeToString()


@contextlib.contextmanager
def quiet_export() -> Iterator[None]:
    """Keep what PyTorch's exporter tells itself to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # that torchvision, which is not needed, is not there
    try:
        silent = contextlib.redirect_stderr(io.StringIO())  # a notebook's is not file 2
        with runtime._silent_stderr(), silent, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _onnxruntime(model: Model, checkpoint: checkpoints.Checkpoint, threads: int) -> Callable:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that wait by spinning take the core from the request next door.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = ort.InferenceSession(
        onnx_file(model, checkpoint).read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in model.outputs]
    return lambda x: dict(zip(names, session.run(names, {model.input.name: x}), strict=True))


def _litert(model: Model, checkpoint: checkpoints.Checkpoint, threads: int) -> Callable:
    runtime.load("tensorflow")
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    function = _keras_function(model, checkpoint)
    shape = [None if side < 0 else side for side in model.input.shape]
    traced = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()])
    content, name, mine = converter.convert(), model.outputs[0].name, threading.local()

    def run(x: np.ndarray) -> Arrays:
        if not hasattr(mine, "interpreter"):  # one for each thread: it is not thread-safe
            mine.interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter = mine.interpreter
        place = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(place, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, x)
        interpreter.invoke()
        return {name: interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy()}

    return run


def _detector(framework: str, model: Model, checkpoint: checkpoints.Checkpoint) -> Callable:
    lesson, net = _model(framework, model, checkpoint)

    def run(x: np.ndarray) -> Arrays:
        boxes = np.zeros((len(x), MOST, 4), "float32")
        scores, labels = np.zeros((len(x), MOST), "float32"), np.zeros((len(x), MOST), "int64")
        found = lesson.ways[framework].detect(net, np.rint(x).astype("uint8"), 0.05)
        for i, one in enumerate(found):
            n = min(MOST, len(one.scores))
            boxes[i, :n], scores[i, :n], labels[i, :n] = (
                one.boxes[:n],
                one.scores[:n],
                one.labels[:n],
            )
        counts = np.array([min(MOST, len(one.scores)) for one in found], "int64")
        return {"boxes": boxes, "scores": scores, "labels": labels, "counts": counts}

    return run


_KINDS: dict[str, tuple[str, Callable]] = {
    "onnxruntime": ("onnxruntime", _onnxruntime),
    "torch": ("torch", _torch),
    "tensorflow": ("tensorflow", _tensorflow),
    "keras": ("keras", _keras),
    "litert": ("ai_edge_litert", _litert),
}
KINDS = tuple(_KINDS)
