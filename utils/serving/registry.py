"""Which models are served: versions, their SHA-256, warm-up, and the swap that nobody notices.

A manifest names each version's checkpoint and its SHA-256. A file that is not the one named is
never loaded, and no client can send one: a model file is a program.
"""

import contextlib
import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from utils import CourseError, checkpoints
from utils.serving import engines
from utils.serving.batcher import Batcher, Direct
from utils.serving.config import Config
from utils.serving.problems import Problem

PLAN = {  # model -> its checkpoints, the oldest first
    "digits": ("12_resnet", "12_resnet_cutout"),
    "generator": ("02_vae_2d",),
    "detector": ("16_yolo",),
}
_log = logging.getLogger("course.serving")


@dataclasses.dataclass
class Version:
    """One version of a model in memory, ready to compute."""

    model: engines.Model
    number: str
    checkpoint: str
    sha256: str
    kind: str
    seconds: float
    runner: Direct | Batcher
    users: int = 0
    retired: bool = False

    def describe(self) -> dict[str, Any]:
        """What clients may know."""
        known = {"version": self.number, "checkpoint": self.checkpoint, "sha256": self.sha256}
        return {**known, "engine": self.kind, "load_seconds": round(self.seconds, 3)}


def write_manifest(path: Path, folder: Path = checkpoints.FOLDER) -> dict[str, Any]:
    """Name every checkpoint of the plan that is there, with its SHA-256 now."""
    found: dict[str, Any] = {}
    for name, plan in PLAN.items():
        known = [c for c in plan if (folder / f"{c}.safetensors").exists()]
        if known:
            found[name] = {
                str(number): {"checkpoint": c, "sha256": checkpoints.load(c, folder).info["sha256"]}
                for number, c in enumerate(known, start=1)
            }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


Maker = Callable[[str, engines.Model, checkpoints.Checkpoint, int], Callable]


class Registry:
    """The models that are served.

    Parameters
    ----------
    config
        Which models, from which manifest, with which engine, batched or not.
    folder
        Where the checkpoints lie.
    make
        Makes an engine; a test may give another than `engines.make`.
    """

    def __init__(
        self,
        config: Config,
        folder: Path = checkpoints.FOLDER,
        make: Maker = engines.make,
    ) -> None:
        self.config, self._folder, self._make = config, folder, make
        self._lock = threading.Condition()
        self._loading = threading.Lock()
        self._models: dict[str, dict[str, Version]] = {}
        self.draining = False
        self.batched: Callable[[str, int], None] = lambda name, size: None

    def load(self) -> None:
        """Make what is served equal to the manifest; what is in use meanwhile stays until unused.

        A new version is loaded and warmed up *before* it takes its place. A version that cannot be
        loaded is named in the log, and what was there stays.

        Raises
        ------
        CourseError
            If nothing can be served, or a model that was asked for is not known.
        """
        with self._loading:
            wanted = self._wanted()
            for name, versions in wanted.items():
                for number, entry in versions.items():
                    old = self._models.get(name, {}).get(number)
                    if old and old.sha256 == entry["sha256"]:
                        continue
                    self._put(self._make_version(name, number, entry))
            for name, versions in list(self._models.items()):
                for number in list(versions):
                    if number not in wanted.get(name, {}):
                        self._remove(name, number)

    def _wanted(self) -> dict[str, dict[str, dict[str, str]]]:
        try:
            manifest = json.loads(self.config.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CourseError(
                f"The manifest {self.config.manifest} is not readable: {error}"
            ) from None
        if not self.config.models:
            return {name: v for name, v in manifest.items() if name in engines.MODELS}
        for name in self.config.models:
            if name not in manifest or name not in engines.MODELS:
                raise CourseError(
                    f"The model {name!r} is unknown: there are {', '.join(manifest)}."
                )
        return {name: manifest[name] for name in self.config.models}

    def _make_version(self, name: str, number: str, entry: dict[str, str]) -> Version:
        started, model = time.perf_counter(), engines.MODELS[name]
        checkpoint = checkpoints.load(entry["checkpoint"], self._folder)
        if checkpoint.info["sha256"] != entry["sha256"]:
            raise CourseError(
                f"{entry['checkpoint']} is not the file that the manifest names for {name} "
                f"version {number}: if it may be served, `python -m utils.serving manifest`."
            )
        engine = self._make(self.config.engine, model, checkpoint, self.config.compute)
        kind = getattr(engine, "kind", self.config.engine)
        for size in {1, max(1, self.config.batch)}:  # the first calls are slow: now, not later
            found = engine(np.ones((size, *model.example), "float32"))
            if not all(np.isfinite(v).all() and len(v) == size for v in found.values()):
                raise CourseError(f"{entry['checkpoint']} answers NaN: it cannot be served.")
        config = self.config
        if config.batch > 1:
            runner: Direct | Batcher = Batcher(
                engine,
                config.batch,
                config.wait_ms / 1000,
                config.queue,
                lambda size: self.batched(name, size),
            )
        else:
            runner = Direct(engine, config.queue)
        seconds = time.perf_counter() - started
        _log.info("loaded %s version %s in %.2f s", name, number, seconds)
        return Version(model, number, entry["checkpoint"], entry["sha256"], kind, seconds, runner)

    def _put(self, version: Version) -> None:
        with self._lock:
            versions = self._models.setdefault(version.model.name, {})
            old, versions[version.number] = versions.get(version.number), version
        self._retire(old)

    def _remove(self, name: str, number: str) -> None:
        with self._lock:
            old = self._models[name].pop(number)
            if not self._models[name]:
                del self._models[name]
        self._retire(old)

    def _retire(self, old: Version | None) -> None:
        """Nobody new gets it; when its last user has gone, it ends."""
        if old:
            with self._lock:
                old.retired = True
                self._lock.wait_for(lambda: not old.users)
            old.runner.close()

    @property
    def ready(self) -> bool:
        """Whether requests for models are welcome."""
        return bool(self._models) and not self.draining

    def models(self) -> dict[str, list[Version]]:
        """Name to versions, the newest last."""
        with self._lock:
            return {
                name: sorted(versions.values(), key=lambda v: int(v.number))
                for name, versions in self._models.items()
            }

    def find(self, name: str, number: str | None = None) -> Version:
        """One version, or the newest; 404 in words where there is none."""
        with self._lock:
            if name not in self._models:
                known = ", ".join(self._models)
                raise Problem(404, f"There is no model {name[:40]!r}: there are {known}.", "model")
            versions = self._models[name]
            number = max(versions, key=int) if number is None else number
            if number not in versions:
                known = ", ".join(sorted(versions, key=int))
                detail = f"There is no version {number[:20]!r} of {name}: {known}."
                raise Problem(404, detail, "version")
            return versions[number]

    @contextlib.contextmanager
    def use(self, name: str, number: str | None = None) -> Iterator[Version]:
        """A version that stays in memory until the block ends, whatever is swapped meanwhile."""
        with self._lock:
            version = self.find(name, number)
            version.users += 1
        try:
            yield version
        finally:
            with self._lock:
                version.users -= 1
                self._lock.notify_all()

    def queued(self) -> int:
        """Requests that wait for a batch."""
        found = [v.runner for versions in self.models().values() for v in versions]
        return sum(runner.depth for runner in found if isinstance(runner, Batcher))

    def close(self) -> None:
        """End everything, after what is under way."""
        for name, versions in self.models().items():
            for version in versions:
                self._remove(name, version.number)
