"""Every switch and limit of the server in one place."""

import dataclasses
from pathlib import Path

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Config:
    """How to serve; each field is an option of ``python -m utils.serving`` as well.

    Batching is a switch because it is no gain by itself: it pays where a call costs much whatever
    its size (Keras), and costs where it does not (ONNX Runtime). Measured: ``make bench-serving``.
    """

    engine: str = "onnxruntime"  # or torch, tensorflow, keras, litert
    models: tuple[str, ...] = ()  # names; none: all whose checkpoints are there
    manifest: Path = HERE / "manifest.json"
    threads: int = 8  # that handle requests
    compute: int = 1  # threads of one call of a model
    batch: int = 0  # images in a micro-batch; 0: each request by itself
    wait_ms: float = 3.0  # how long the first of a batch waits for company at most
    queue: int = 64  # requests that may wait; one more is refused with 503
    deadline_ms: int = 10_000  # what a request may take; clients may ask for less
    items: int = 64  # images or codes in one request
    body: int = 8_000_000  # bytes of a request
    pixels: int = 4_000_000  # of a picture, before it is unpacked
    drain_s: float = 20.0  # how long a shutdown waits for answers under way
    origins: tuple[str, ...] = ()  # other sites whose pages may call (CORS); none by default
