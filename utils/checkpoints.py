"""Trained weights that load into any framework: one safetensors file and a JSON sidecar.

The names and the layout are those of `utils.parity`. The sidecar says what the weights were
trained on, how, with which versions, and what they measured. Nothing is ever unpickled.

New files hold half-precision numbers, which halves what a clone costs: a recipe measures the
weights as they will be read back, which `stored` returns.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from utils import CourseError, files, parity

FOLDER = Path(__file__).resolve().parent.parent / "checkpoints"
LIMIT = 3_000_000


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Neutral weights and what is known of them."""

    name: str
    weights: parity.Weights
    info: dict[str, Any]


def stored(weights: parity.Weights) -> parity.Weights:
    """The weights as `save` would write and `load` return them: rounded to half precision.

    A number keeps eleven binary digits (an error of at most 1/2048 of it); what a checkpoint is
    said to measure is measured with these.

    Raises
    ------
    CourseError
        If a weight is not finite, or too large for half precision (65,504).
    """
    rounded = {}
    for key, value in weights.items():
        if not np.isfinite(value).all():
            raise CourseError(
                f"{key} holds NaN or infinity: a diverged model is not worth keeping."
            )
        if np.abs(value).max(initial=0) > np.finfo(np.float16).max:
            raise CourseError(
                f"{key} holds numbers over 65,504, too large for half precision: such weights "
                "point to a diverging model; lower the learning rate."
            )
        rounded[key] = np.asarray(value).astype(np.float16).astype(np.float32)
    return rounded


def save(name: str, weights: parity.Weights, info: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Write `weights` and their sidecar; both appear whole or not at all.

    Parameters
    ----------
    name
        File name without its ending, such as ``"02_vae"``.
    weights
        Neutral names to float32 arrays; written in half precision (see `stored`).
    info
        Anything JSON can hold: data, seed, settings, versions, metric.

    Raises
    ------
    CourseError
        If a weight is not finite or too large, the file would pass 3 MB, or there is no room.
    """
    from safetensors.numpy import save as to_bytes

    data = to_bytes(
        {key: np.ascontiguousarray(value, np.float16) for key, value in stored(weights).items()}
    )
    if len(data) > LIMIT:
        raise CourseError(
            f"{name} would take {len(data) / 1e6:.1f} MB, over {LIMIT / 1e6:.0f} MB: "
            "save a smaller model."
        )
    sidecar = {**info, "sha256": hashlib.sha256(data).hexdigest()}
    path = folder / f"{name}.safetensors"
    words = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    files.save_all({path: data, path.with_suffix(".json"): words})
    return path


def load(name: str, folder: Path = FOLDER) -> Checkpoint:
    """Read a checkpoint and check it against its sidecar.

    Raises
    ------
    CourseError
        If it is not there, is not a safetensors file, or is not the one its sidecar describes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    path = folder / f"{name}.safetensors"
    sidecar = path.with_suffix(".json")
    if not path.exists() or not sidecar.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.safetensors"))) or "none yet"
        raise CourseError(
            f"There is no checkpoint {name!r} (there are: {known}): "
            "`make train NAME=…` with the notebook's name makes its own."
        )
    data = path.read_bytes()
    info = json.loads(sidecar.read_text(encoding="utf-8"))
    restore = (
        f"restore it with `git checkout {folder.name}/{path.name} {folder.name}/{sidecar.name}`."
    )
    if hashlib.sha256(data).hexdigest() != info.get("sha256"):
        raise CourseError(
            f"{path.name} is not the file that {sidecar.name} describes, perhaps cut short: "
            f"{restore}"
        )
    try:
        weights = from_bytes(data)
    except SafetensorError as error:
        raise CourseError(f"{path.name} is not a safetensors file ({error}): {restore}") from error
    weights = {key: value.astype(np.float32, copy=False) for key, value in weights.items()}
    return Checkpoint(name, weights, info)


def load_into(model: Any, name: str, folder: Path = FOLDER) -> Checkpoint:
    """Put checkpoint `name` into a model of any framework and return it.

    Raises
    ------
    CourseError
        As `load`, or if the checkpoint belongs to another model (the model is left as it was).
    """
    checkpoint = load(name, folder)
    try:
        parity.set_weights(model, checkpoint.weights)
    except CourseError as error:
        raise CourseError(f"Checkpoint {name!r} does not fit this model. {error}") from error
    return checkpoint
