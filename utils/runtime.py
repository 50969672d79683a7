"""The one place that decides import order, threads, log levels, devices and seeds.

PyTorch, TensorFlow and Keras share one process here, and they only do so peacefully when
something decides who comes first. Nothing else in the course touches these settings.
"""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils import CourseError, granted, room, upstream

# OpenMP threads that wait by spinning take the core from whoever they wait for: next to a browser
# on two cores a training step took ten times as long. Ones that never spin are slow on an idle
# machine. A short spin is good at both. Read when OpenMP is first loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
room.house_matplotlib()

FRAMEWORKS = ("torch", "tensorflow", "keras")
PROFILES = ("quick", "full")
DEVICES = ("auto", "cpu", "gpu")
KERAS_BACKENDS = ("tensorflow", "torch")
LABELS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras"}
_moved = False  # whether PyTorch makes its tensors on a GPU


@dataclasses.dataclass(frozen=True)
class Session:
    """What a notebook was asked to run: its profile, frameworks, seed and device.

    ``device`` is ``"cpu"`` or ``"gpu"``: what ``"auto"`` turned out to be.
    """

    profile: str
    frameworks: tuple[str, ...]
    seed: int
    device: str
    keras_backend: str

    @property
    def quick(self) -> bool:
        """Whether this is the short profile that fits a lecture."""
        return self.profile == "quick"

    @property
    def torch_device(self) -> str:
        """The name PyTorch gives the device: ``"cuda"`` or ``"cpu"``."""
        return "cuda" if self.device == "gpu" else "cpu"


def choose(what: str, value: str, options: tuple[str, ...]) -> str:
    """Return `value` if it is one of `options`, or say which ones there are.

    Raises
    ------
    CourseError
        If `value` is not an option.
    """
    if value not in options:
        raise CourseError(f"{what} {value!r} is unknown: choose one of {', '.join(options)}.")
    return value


def begin(
    profile: str = "quick",
    frameworks: tuple[str, ...] | list[str] | str = FRAMEWORKS,
    seed: int = 0,
    device: str = "auto",
    keras_backend: str = "tensorflow",
    lazy: bool = False,
) -> Session:
    """Check a notebook's parameters, load its frameworks and seed them.

    Parameters
    ----------
    profile
        ``"quick"`` (a minute on two cores) or ``"full"`` (the paper's schedule).
    frameworks
        Which sections to run, in reading order.
    seed
        Seeds Python, NumPy and every framework that is loaded.
    device
        ``"auto"`` takes a GPU if all chosen frameworks see one; ``"gpu"`` insists on it.
    keras_backend
        What Keras computes with: ``"tensorflow"`` or ``"torch"``.
    lazy
        Load no framework yet; call `load` when one is needed.

    Raises
    ------
    CourseError
        For an unknown name, an empty choice, a bad seed, a GPU that is not there, or a Keras
        that already runs on another backend.
    """
    chosen = (frameworks,) if isinstance(frameworks, str) else tuple(frameworks)
    choose("The profile", profile, PROFILES)
    choose("The device", device, DEVICES)
    choose("The Keras backend", keras_backend, KERAS_BACKENDS)
    for name in chosen:
        choose("The framework", name, FRAMEWORKS)
    if not chosen:
        raise CourseError(f"FRAMEWORKS is empty: name at least one of {', '.join(FRAMEWORKS)}.")
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise CourseError(f"The seed {seed!r} must be a whole number from 0 to 2**32 - 1.")
    room.watch()
    _set_keras_backend(keras_backend)
    started = time.perf_counter()
    if not lazy or device == "gpu":
        load(*chosen)
        device = _settle_device(device, chosen)
    elif device == "auto":
        device = "cpu"
    session = Session(profile, chosen, seed, device, keras_backend)
    _move(session.torch_device)
    seed_everything(seed)
    loaded = "nothing loaded yet" if lazy else f"loaded in {time.perf_counter() - started:.0f} s"
    names = ", ".join(LABELS[name] for name in chosen)
    print(f"{names} on the {device.upper()}, profile {profile!r}, seed {seed} ({loaded}).")
    return session


def load(*frameworks: str) -> None:
    """Import frameworks quietly and in the order in which they get along.

    Importing one that is already there costs nothing.

    Raises
    ------
    CourseError
        If a name is unknown or the framework is not installed.
    """
    for name in frameworks:
        choose("The framework", name, FRAMEWORKS)
    wanted = set(frameworks)
    if "keras" in wanted:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        wanted.add(os.environ["KERAS_BACKEND"])
    missing = [name for name in FRAMEWORKS if name in wanted and name not in sys.modules]
    if missing:
        with _silent_stderr():
            upstream.triton_first(wanted)
    for name in missing:
        _import(name)


def _import(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise CourseError(
            f"{LABELS[name]} is not installed here: run `make lab`, or take {name!r} "
            "out of FRAMEWORKS."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with _silent_stderr():
        try:
            module = importlib.import_module(name)
        except FileNotFoundError as error:
            if "temporary directory" not in str(error):
                raise
            raise CourseError(
                f"{LABELS[name]} cannot be loaded: no disk here has room for a temporary file. "
                "Make room, then restart the kernel."
            ) from error
        if name == "torch":
            module.set_num_threads(threads())
        if name == "tensorflow":
            module.config.threading.set_intra_op_parallelism_threads(threads())
            module.config.threading.set_inter_op_parallelism_threads(threads())
            module.zeros(1)  # the first device is as talkative as the import
            upstream.stop_tuning(module)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Point file descriptor 2 at nothing: C++ libraries do not ask Python where to write."""
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _set_keras_backend(backend: str) -> None:
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() != backend:
        raise CourseError(
            f"Keras already runs on {keras.backend.backend()!r} in this kernel and cannot change "
            f"to {backend!r}: restart the kernel, then run the notebook again."
        )
    os.environ["KERAS_BACKEND"] = backend


def _sees_gpu(framework: str) -> bool:
    if framework == "keras":
        framework = os.environ["KERAS_BACKEND"]
    if framework == "torch":
        return sys.modules["torch"].cuda.is_available()
    return bool(sys.modules["tensorflow"].config.list_physical_devices("GPU"))


def _settle_device(device: str, frameworks: tuple[str, ...]) -> str:
    if device == "cpu":
        return "cpu"
    blind = [LABELS[name] for name in frameworks if not _sees_gpu(name)]
    if device == "gpu" and blind:
        raise CourseError(
            f'DEVICE = "gpu", but {" and ".join(blind)} sees no GPU here: set DEVICE = "auto" to '
            "run on the CPU (on Colab: Runtime ▸ Change runtime type ▸ GPU)."
        )
    return "cpu" if blind else "gpu"


def _move(device: str) -> None:
    """Let PyTorch make its tensors on this device, as the other two do by themselves.

    A GPU's convolutions and products round their inputs to 10 bits (TF32) unless told not to; the
    three frameworks would then agree to three digits only.
    """
    global _moved
    torch = sys.modules.get("torch")
    if torch and (device != "cpu" or _moved):  # back to the CPU, where an earlier call had left it
        torch.set_default_device(device)
        torch.backends.cudnn.allow_tf32 = False
        _moved = device != "cpu"
    if "tensorflow" in sys.modules and device != "cpu":
        experimental = sys.modules["tensorflow"].config.experimental
        experimental.enable_tensor_float_32_execution(False)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy's global generator and every framework that is loaded."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(seed)
    # Keras's own function would import TensorFlow to seed it. Without TensorFlow, Keras draws its
    # seeds from Python's generator and its numbers from PyTorch's, seeded above.
    if "keras" in sys.modules and "tensorflow" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed)


def threads() -> int:
    """How many threads a framework should use: ``OMP_NUM_THREADS``, or the cores we may use.

    A container sees all cores of its host and may use a share of them: more threads than that
    would only wait for each other.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, int(min(cores, granted.cores())))


def headless() -> bool:
    """Whether nobody watches: ``COURSE_HEADLESS=1`` (papermill, nbval, the build)."""
    return os.environ.get("COURSE_HEADLESS", "") == "1"


def steps(wanted: int) -> int:
    """How many steps a training of a notebook takes: `wanted`, or fewer if ``COURSE_STEPS=20``.

    With it a notebook shows in a fraction of the time that every cell runs, not that anything is
    learnt. What the reader starts by a button is never shortened.

    Raises
    ------
    CourseError
        If ``COURSE_STEPS`` is not a whole number above 0.
    """
    most = os.environ.get("COURSE_STEPS", "").strip()
    if not most:
        return wanted
    if not (most.isascii() and most.isdigit() and int(most)):
        raise CourseError(f"COURSE_STEPS={most!r} is not a whole number above 0, such as 20.")
    return min(wanted, int(most))


def in_colab() -> bool:
    """Whether this kernel is Google Colab's (Kaggle's image is built on it, and is not)."""
    return "google.colab" in sys.modules and "KAGGLE_KERNEL_RUN_TYPE" not in os.environ


def version(package: str) -> str | None:
    """The installed version of `package` without importing it, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of Python, NumPy and the installed frameworks, for a record."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    packages = {
        "torch": ("torch",),
        "tensorflow": ("tensorflow", "tensorflow-cpu"),
        "keras": ("keras",),
    }
    for name, candidates in packages.items():
        known = next((v for v in map(version, candidates) if v), None)
        if known:
            found[name] = known
    return found


def describe() -> str:
    """This machine and its versions in a few lines of words. Imports no framework."""
    found = versions()
    lines = [f"Python {found['python']} on {platform.system()} ({platform.machine()})"]
    lines[0] += f", {threads()} thread{'s' if threads() > 1 else ''} to compute with."
    for name in FRAMEWORKS:
        text = f"version {found[name]}" if name in found else "not installed"
        lines.append(f"{LABELS[name]}: {text}.")
    if os.path.exists("/proc/driver/nvidia/version"):
        lines.append('There is an NVIDIA GPU; DEVICE = "auto" uses it where the frameworks see it.')
    else:
        lines.append(
            "No NVIDIA GPU: everything runs on the CPU, and the quick profile is made for that."
        )
    return "\n".join(lines)


def peak_memory_mb() -> float:
    """The most memory this process has held so far, in MB (10⁶ bytes)."""
    # On Linux `ru_maxrss` starts at what the parent held when it began this process: a small
    # process of a large one would report its parent's peak. The kernel's own mark does not.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
