"""Build the environment from the pins, and write the files that repeat them.

``make`` calls this before anything is installed, so it needs nothing but the standard library::

    python -m utils.environment build     # .venv from requirements.txt
    python -m utils.environment write     # environment.yml and binder/environment.yml
    python -m utils.environment browser   # Chromium for the browser tests, where that is possible
"""

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from utils import CourseError
from utils._chromium import ensure_chromium

ROOT = Path(__file__).resolve().parents[1]
#: PyTorch's own index of CPU builds. PyPI's build for Linux carries CUDA: over 2 GB more.
CPU_OPTION = "--extra-index-url https://download.pytorch.org/whl/cpu"
CPU_INDEX = CPU_OPTION.split()[1]
#: The first Python that the course runs on, and the last that TensorFlow has a wheel for.
OLDEST, NEWEST = (3, 11), (3, 13)
#: What the conda files ask for; the pins hold on every supported Python.
CONDA_PYTHON = "3.12"

_SOURCES = ("requirements.txt", "pyproject.toml")
_BYTES_NEEDED = 4_000_000_000
_VENV_OPTIONS: list[str] = []
_CONDA_FILES = {
    "environment.yml": """\
# The environment for conda and mamba:
#     conda env create -f environment.yml && conda activate deep-learning-three-ways
#     pip install --no-deps --no-build-isolation -e . && jupyter lab
# Written from requirements.txt by `make environment`: change the pins there.
name: deep-learning-three-ways
""",
    "binder/environment.yml": """\
# The environment on Binder. The pins are listed, not included with `-r`: Binder then keeps the
# built layer for as long as they stay the same.
# Written from requirements.txt by `make environment`: change the pins there.
""",
}


def pins(path: Path = ROOT / "requirements.txt") -> list[str]:
    """Return the requirement lines of `path`, without comments and empty lines."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def conda_file(name: str) -> str:
    """Return the text of one conda file, ``"environment.yml"`` or ``"binder/environment.yml"``.

    PyTorch's index of CPU builds stands first: on macOS and Windows it changes nothing, on
    Linux it keeps CUDA out. On a GPU machine take ``make lab``, which looks for the GPU.
    """
    items = [CPU_OPTION, *pins()]
    return (
        _CONDA_FILES[name]
        + "channels:\n  - conda-forge\ndependencies:\n"
        + f"  - python={CONDA_PYTHON}\n  - pip\n  - pip:\n"
        + "".join(f"      - {item}\n" for item in items)
    )


def write(root: Path = ROOT) -> None:
    """Write both conda files from ``requirements.txt``."""
    for name in _CONDA_FILES:
        (root / name).write_text(conda_file(name), encoding="utf-8")
        print(f"Wrote {name}: {len(pins())} pins.")


def build(venv: Path) -> None:
    """Create or update the virtual environment `venv`, and stamp it when it is whole.

    The stamp ``.ready`` is written last, so an installation that was interrupted is seen and
    begun afresh. It records where the environment stands: one that was moved is rebuilt.

    Raises
    ------
    CourseError
        If this Python, this platform or this disk will not do, if `venv` is not ours to
        replace, or if the installation fails.
    """
    if _stamp(venv) == _expected_stamp(venv) and _works(venv):
        (venv / ".ready").touch()
        return
    _check_machine(venv)
    started = time.monotonic()
    updating = _stamp(venv)[:1] == [str(venv)] and _works(venv)
    doing = "Updating" if updating else "Building"
    print(f"{doing} the environment in {venv.name}/ with Python {platform.python_version()}.")
    print("It takes about 2 minutes and 3 GB, once; later calls start at once.")
    if updating:
        (venv / ".ready").rename(venv / ".building")
    else:
        _create(venv)
    index = _torch_index()
    _pip(venv, "-r", "requirements.txt", *index)
    _pip(venv, "--no-deps", "--no-build-isolation", "-e", ".")
    (venv / ".building").write_text("\n".join(_expected_stamp(venv)) + "\n", encoding="utf-8")
    (venv / ".building").replace(venv / ".ready")
    print(f"The environment is ready ({time.monotonic() - started:.0f} s).")


def build_site(venv: Path) -> None:
    """Create the environment of the website's tools, from ``docs/requirements.txt``.

    Raises
    ------
    CourseError
        If `venv` is not ours to replace, or if the installation fails.
    """
    _beside(venv, "docs/requirements.txt", "Sphinx and its extensions", "half a minute, 300 MB")


def build_tools(venv: Path) -> None:
    """Create the environment of the contributors' tools, from ``.github/tools.txt``.

    Raises
    ------
    CourseError
        If `venv` is not ours to replace, or if the installation fails.
    """
    what = "pre-commit, nbdime, pip-audit and actionlint"
    _beside(venv, ".github/tools.txt", what, "half a minute, 200 MB")


def build_colab(venv: Path) -> None:
    """Create an environment with the versions that Google Colab ships, from ``.github/colab.txt``.

    Raises
    ------
    CourseError
        If `venv` is not ours to replace, or if the installation fails.
    """
    # As the notebooks' set-up cell has it: the clone is on the path, nothing is reinstalled.
    course = ("--no-deps", "-e", ".")
    what = "the versions that Colab ships"
    _beside(venv, ".github/colab.txt", what, "3 minutes, 3 GB", _torch_index(), course)


def build_client(venv: Path) -> None:
    """Create the environment of the open protocol's public client, which one of the tests asks.

    Without a network this says so, and returns: that test is skipped then.

    Raises
    ------
    CourseError
        If `venv` is not ours to replace.
    """
    _check_ours(venv)
    what = "a public client of the model server, for one test,"
    try:
        quick = ("--retries=0", "--timeout=10")
        _beside(venv, "tests/server/client.txt", what, "half a minute, 170 MB", quick)
    except CourseError:
        print(f"It could not be installed: that test will be skipped ({venv / 'install.log'}).")


def _beside(
    venv: Path, requirements: str, what: str, cost: str, options: Iterable[str] = (), *more: tuple
) -> None:
    _check_ours(venv)
    print(f"Installing {what} into {venv.name}/ ({cost}, once).")
    _create(venv)
    for arguments in (("-r", requirements, *options), *more):
        _pip(venv, *arguments)
    (venv / ".building").replace(venv / ".ready")


def python_of(venv: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _expected_stamp(venv: Path) -> list[str]:
    digests = [
        f"{name} {hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}" for name in _SOURCES
    ]
    return [str(venv), *digests]


def _stamp(venv: Path) -> list[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (venv / ".ready").read_text(encoding="utf-8").splitlines()
    return []


def _works(venv: Path) -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run([python_of(venv), "-c", ""], capture_output=True).returncode == 0
    return False


def _check_machine(venv: Path) -> None:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise CourseError(
            f"This is Python {platform.python_version()}; the course needs 3.11, 3.12 or 3.13. "
            "Name one: make PYTHON=/path/to/python3.12"
        )
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise CourseError(
            "PyTorch and TensorFlow no longer support Macs with an Intel processor "
            "(or this is an Intel Python on Apple silicon: install the native one). "
            "The notebooks run on Colab and Binder: see README.md."
        )
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise CourseError(
            f"{sys.executable} cannot create virtual environments: install its venv package "
            f"(Debian, Ubuntu: sudo apt-get install python{minor}-venv), then run make again."
        )
    _check_ours(venv)
    free = shutil.disk_usage(ROOT).free
    if free < _BYTES_NEEDED and not venv.exists():
        raise CourseError(
            f"The environment needs about 3 GB and {free / 1e9:.1f} GB are free on this disk: "
            "make room (4 GB), then run make again."
        )


def _check_ours(venv: Path) -> None:
    if venv.exists() and not any((venv / mark).exists() for mark in (".ready", ".building")):
        raise CourseError(
            f"{venv} was not made by this course, so it is left alone: move it away, "
            "or choose another place with make VENV=other-directory"
        )


def _create(venv: Path) -> None:
    if venv.exists():
        print("What was there was unfinished or has been moved: it is built afresh.")
        shutil.rmtree(venv)
    venv.mkdir(parents=True)
    # From here on the directory is known as ours, however this ends.
    (venv / ".building").touch()
    command = [sys.executable, "-m", "venv", *_VENV_OPTIONS, str(venv)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        reason = (made.stderr or made.stdout).strip().splitlines()[-1:]
        raise CourseError(f"`{' '.join(command)}` failed: {' '.join(reason)}")


def _torch_index() -> list[str]:
    """Decide where PyTorch comes from, say so, and return the options for pip."""
    if not sys.platform.startswith("linux"):
        return []  # the build on PyPI is the right one
    if nvidia():
        print("There is an NVIDIA GPU: PyTorch with CUDA (2 GB more); TensorFlow stays on the CPU.")
        return []
    if _reachable(f"{CPU_INDEX}/torch/"):
        print(f"No NVIDIA GPU: PyTorch's CPU build, from {CPU_INDEX}")
        return CPU_OPTION.split()
    print("No NVIDIA GPU, but PyTorch's index of CPU builds cannot be reached: pip takes the build")
    print("it finds elsewhere. If that is the one with CUDA, it runs too, but is 2 GB larger.")
    return []


def nvidia() -> bool:
    """Whether this machine has an NVIDIA GPU that its driver can talk to."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
        return found.returncode == 0 and "GPU" in found.stdout
    return False


def _reachable(url: str, seconds: float = 6) -> bool:
    """Ask `url` once. In a thread, because a name server that is silent heeds no time-out."""
    answers: list[bool] = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            with urllib.request.urlopen(url, timeout=seconds) as response:
                answers.append(response.status == 200)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers == [True]


def _pip(venv: Path, *arguments: str) -> None:
    """Install with the environment's own pip: its output in a log, a short progress shown."""
    log = venv / "install.log"
    command = [str(python_of(venv)), "-I", "-m", "pip", "install", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", *arguments]
    # A user-wide `user = true` in pip's configuration must not lead out of the environment.
    variables = os.environ | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    with log.open("a", encoding="utf-8") as out:
        begin = out.tell()
        pip = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            _watch(pip, log, begin)
        except KeyboardInterrupt:
            pip.terminate()
            pip.wait()
            raise
    if pip.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        print("\n".join(f"  | {line}" for line in tail), file=sys.stderr)
        raise CourseError(
            f"pip could not finish (its log: {log}). "
            "Check the network, then run make again: nothing half-built is used."
        )


def _watch(pip: subprocess.Popen, log: Path, begin: int) -> None:
    """Show one line that counts packages: rewritten on a terminal, now and then elsewhere."""
    live, started, shown = sys.stdout.isatty(), time.monotonic(), 0.0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            pip.wait(timeout=0.5)
        seconds = time.monotonic() - started
        if pip.returncode is not None:
            break
        if live or seconds - shown >= 20:
            shown = seconds
            text = log.read_bytes()[begin:].decode(errors="replace")
            if "\nInstalling collected packages" in text:
                what = "installing what was downloaded"
            else:
                found = text.count("\nCollecting ") + text.count("\nRequirement already ")
                total = max(found, len(pins()) - text.count("\nIgnoring "))
                what = f"{found} of {total} packages found"
            line = f"  {seconds:3.0f} s: {what} ..."
            print(f"\r{line:<70}" if live else line, end="" if live else "\n", flush=True)
    if live and seconds > 1:
        print("\r" + " " * 70 + "\r", end="", flush=True)


def main(arguments: list[str]) -> int:
    """Run one of the actions below; return the exit status."""
    place = arguments[1] if len(arguments) > 1 else None
    actions = {
        "build": lambda: build(ROOT / (place or ".venv")),
        "site": lambda: build_site(ROOT / (place or ".venv-site")),
        "tools": lambda: build_tools(ROOT / (place or ".venv-tools")),
        "colab": lambda: build_colab(ROOT / (place or ".venv-colab")),
        "client": lambda: build_client(ROOT / (place or ".venv-client")),
        "write": write,
        "browser": ensure_chromium,
    }
    if not arguments or arguments[0] not in actions:
        print(f"Usage: python -m utils.environment {' | '.join(actions)}", file=sys.stderr)
        return 2
    try:
        actions[arguments[0]]()
    except CourseError as mistake:
        print(f"\n{mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Nothing half-built is used: run make again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
