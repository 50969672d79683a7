"""How large, how fast, how hungry and how right a deployed model is, in a process of its own.

The recipe of 21_tflite calls `prepare` once for each framework, which writes inputs, reference
outputs and files into a folder, and then `measured` for each model and way to run it.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils import CourseError, lessons, lite, runtime
from utils.lessons.course import ROOT

BATCH = 64
CALLS = 60  # that are timed, at most
WAYS = (
    *runtime.LABELS.values(),
    *(f"ONNX Runtime {kind}" for kind in ("float32", "int8")),
    *(f"LiteRT {kind}" for kind in lite.KINDS),
)
WHAT = {
    "digits": "the ResNet of 12, which digit?",
    "decoder": "the decoder of 02's VAE",
    "generator": "the generator of 07's DCGAN",
    "detector": "the YOLO of 16",
}
NAMES = tuple(WHAT)
NOTES = {
    "detector": (
        "In LiteRT the detector is its network alone: non-maximum suppression, whose number of",
        "finds is not known beforehand, is left to the caller, and not in these times; the",
        "difference there is of the network's raw maps. Elsewhere it is of scores, and of boxes as",
        "a share of the picture's side; a find that is missing counts with its score.",
    )
}


def owner(way: str) -> str:
    """Which framework's measurement has a row: that from which its file is made."""
    if way.startswith("ONNX"):
        return "torch"
    if way.startswith("LiteRT"):
        return "tensorflow"
    return next(name for name, label in runtime.LABELS.items() if label == way)


def prepare(folder: Path, framework: str, names: Sequence[str] = NAMES) -> None:
    """Write what the ways of one framework need: inputs, PyTorch's outputs, and files.

    Raises
    ------
    CourseError
        If a process that prepares fails.
    """
    _process("inputs", folder, ",".join(names))
    if framework == "tensorflow":
        _process("lite", folder, ",".join(names))
    elif framework == "torch":
        _process("onnx", folder, ",".join(names))


def measured(folder: Path, name: str, way: str, images: int | None = None) -> dict[str, Any]:
    """Measure a model in one way, in a process of its own.

    Returns
    -------
    dict
        ``bytes``, ``one`` and ``batch`` (median, fastest and 95th percentile in ms), ``calls``,
        ``memory`` (MB), ``gap`` (the largest difference to PyTorch's outputs), and for the digits
        ``right`` (percent, and its 95 % interval) of ``tested`` test images.
    """
    extra = ["--images", str(images)] if images else []
    said = _process("measure", folder, name, "--way", way, *extra)
    return json.loads(said.splitlines()[-1])


def _process(task: str, folder: Path, names: str, *extra: str) -> str:
    command = [sys.executable, "-m", "utils.bench_deployed", task, str(folder), names, *extra]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise CourseError(f"{task} of {names} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


# --- what the processes do ---------------------------------------------------------------------


def _inputs(folder: Path, names: Sequence[str]) -> None:
    """Inputs of each model, samples to calibrate with, and what PyTorch makes of the inputs."""
    from utils import data

    lesson = lessons.load("20_onnx", "torch")
    digits = data.mnist()
    np.savez(folder / "test.npz", x=digits.x_test, y=digits.y_test)
    for name in names:
        x = lesson.inputs(name, BATCH)
        samples = lesson.inputs(name, 100, 1)
        if name == "digits":
            samples = digits.x_train[:200].astype("float32")  # never the images it is tested on
        np.savez(folder / f"{name}.npz", x=x, samples=samples)
        found = lesson.source(name, "torch")(x)
        np.savez(folder / f"{name}.reference.npz", **_named(found))
        if name == "detector":
            other, net = lesson.loaded(name, "torch")
            raw = other.ways["torch"].raw(net, np.rint(x).astype("uint8"))
            np.savez(folder / "detector.raw.npz", y=raw)


def _onnx(folder: Path, names: Sequence[str]) -> None:
    lesson = lessons.load("20_onnx", "torch")
    for name in names:
        samples = np.load(folder / f"{name}.npz")["samples"]
        (folder / f"{name}.float32.onnx").write_bytes(lesson.to_onnx(name))
        (folder / f"{name}.int8.onnx").write_bytes(lesson.quantised(name, samples))


def _lite(folder: Path, names: Sequence[str]) -> None:
    lesson = lessons.load("21_tflite", "tensorflow")
    for name in names:
        function, module = lesson.deployed(name)
        samples = np.load(folder / f"{name}.npz")["samples"]
        for kind in lite.KINDS:
            content = lesson.convert(function, module, kind, samples)
            (folder / f"{name}.{kind}.tflite").write_bytes(content)
        weights = 4 * sum(int(np.prod(v.shape)) for v in module.variables)
        (folder / f"{name}.weights").write_text(str(weights))


Call = Callable[[np.ndarray], Any]


def _loaded(folder: Path, name: str, way: str) -> tuple[Call, Call, int]:
    """A call, what prepares its input (not timed), and the bytes of the file or the weights."""
    same = np.asarray
    if way.startswith("LiteRT"):
        content = (folder / f"{name}.{way.split()[1]}.tflite").read_bytes()
        runner = lite.Lite(content)
        scale, zero = runner.input["quantization"]
        return runner, lambda x: lite.quantise(x, scale, zero, runner.input["dtype"]), len(content)
    if way.startswith("ONNX"):
        import onnxruntime as ort

        content = (folder / f"{name}.{way.split()[-1]}.onnx").read_bytes()
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names, into = [o.name for o in session.get_outputs()], session.get_inputs()[0].name

        def run(x: np.ndarray) -> Any:
            found = session.run(names, {into: x})
            return found[0] if len(found) == 1 else dict(zip(names, found, strict=True))

        return run, same, len(content)
    framework = owner(way)
    runtime.begin("full", [framework])
    call = lessons.load("20_onnx", framework).source(name, framework)
    return call, same, _weights(name)


def _weights(name: str) -> int:
    """Bytes of the float32 weights of the part of a checkpoint that is deployed."""
    from utils import checkpoints

    point = checkpoints.load(_CHECKPOINTS[name])
    part = {"decoder": "decoder.", "generator": "generator."}.get(name, "")
    return 4 * sum(w.size for key, w in point.weights.items() if key.startswith(part))


_CHECKPOINTS = {
    "digits": "12_resnet_cutout",
    "decoder": "02_vae_2d",
    "generator": "07_dcgan",
    "detector": "16_yolo",
}


def _measure(folder: Path, name: str, way: str, images: int | None) -> dict[str, Any]:
    call, ready, size = _loaded(folder, name, way)
    x = np.load(folder / f"{name}.npz")["x"]
    found: dict[str, Any] = {"bytes": size, "calls": 10 if images else CALLS}
    for title, part in (("one", ready(x[:1])), ("batch", ready(x))):
        found[title] = _clock(lambda part=part: call(part), found["calls"])
    found["memory"] = round(runtime.peak_memory_mb())
    real = _real(call) if way.startswith("LiteRT") else lambda y: y
    raw = name == "detector" and way.startswith("LiteRT")
    reference = np.load(folder / f"{name}.{'raw' if raw else 'reference'}.npz")
    found["gap"] = apart(_named(real(call(ready(x)))), dict(reference))
    if name == "digits":
        found |= _right(folder, lambda part: real(call(ready(part))), images)
    return found


def _real(runner: Any) -> Call:
    scale, zero = runner.outputs[0]["quantization"]
    return lambda y: lite.dequantise(y, scale, zero)


def _clock(call: Callable[[], Any], calls: int) -> list[float]:
    """Median, fastest and 95th percentile, in ms."""
    times = lite.times(call, calls, 4.0)
    return [float(np.median(times)), float(np.min(times)), float(np.percentile(times, 95))]


def _right(folder: Path, answer: Call, images: int | None) -> dict[str, Any]:
    from utils.metrics import wilson

    test = np.load(folder / "test.npz")
    x, y = test["x"][:images], test["y"][:images]
    parts = range(0, len(x), 100)
    hits = sum(
        int((answer(x[i : i + 100].astype("float32")).argmax(axis=1) == y[i : i + 100]).sum())
        for i in parts
    )
    return {"right": [100 * hits / len(x), *wilson(hits, len(x))], "tested": len(x)}


def _named(found: Any) -> dict[str, np.ndarray]:
    return found if isinstance(found, dict) else {"y": np.asarray(found)}


def apart(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> float:
    """The largest difference between two outputs.

    Finds of a detector are compared box by box, each with the reference's nearest of its picture
    and label; one that is missing or superfluous counts as a difference of its whole score.
    """
    if "boxes" not in reference:
        return max(float(np.abs(found[k] - reference[k]).max()) for k in reference)
    worst = 0.0
    for one, other in ((found, reference), (reference, found)):
        for i in range(len(one["scores"])):
            mine = (other["pictures"] == one["pictures"][i]) & (other["labels"] == one["labels"][i])
            if not mine.any():
                worst = max(worst, float(one["scores"][i]))
                continue
            gaps = np.abs(other["boxes"][mine] - one["boxes"][i]).max(axis=1)
            scores = np.abs(other["scores"][mine] - one["scores"][i])
            worst = max(
                worst, float(np.min(np.maximum(gaps / 96, scores)))
            )  # of the picture's side
    return worst


def main(arguments: list[str] | None = None) -> None:
    """One task of one process; what it measured is its last line, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m utils.bench_deployed", description=__doc__)
    parser.add_argument("task", choices=("inputs", "onnx", "lite", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("names")
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--images", type=int)
    asked = parser.parse_args(arguments)
    if asked.task == "measure":
        print(json.dumps(_measure(asked.folder, asked.names, asked.way, asked.images)))
        return
    {"inputs": _inputs, "onnx": _onnx, "lite": _lite}[asked.task](
        asked.folder, asked.names.split(",")
    )


if __name__ == "__main__":
    main()
