"""The pins, the files that repeat them, and what an import brings with it."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import utils
from utils import environment

ROOT = Path(__file__).resolve().parents[2]
PINS = [Requirement(line) for line in environment.pins()]
HEAVY = ("torch", "tensorflow", "keras", "jax", "matplotlib")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "utils").glob("**/*.py")
    # tf_*.py hold what only the TensorFlow sections import: layers are TensorFlow.
    if path.name != "__main__.py" and not path.name.startswith("tf_")
)
TRACKED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
    capture_output=True,
    text=True,
).stdout.splitlines()


def run(code: str, **variables: str) -> subprocess.CompletedProcess:
    """Run `code` in a Python of its own that knows this repository."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


# --- The pins ---------------------------------------------------------------------------------


def test_every_pin_is_one_exact_version():
    # A local version ("+cpu") exists on one index only.
    exact = re.compile(r"==[^*+,]+")
    loose = [pin for pin in PINS if not exact.fullmatch(str(pin.specifier)) or pin.url]
    assert loose == []
    assert len(PINS) > 150


def test_nothing_is_pinned_twice_for_one_machine():
    variables = [
        {"python_version": v, "python_full_version": f"{v}.{patch}", "sys_platform": s}
        | {"platform_machine": m}
        for v in ("3.11", "3.12", "3.13")
        for patch in (2, 9)
        for s, m in (
            ("linux", "x86_64"),
            ("linux", "aarch64"),
            ("darwin", "arm64"),
            ("win32", "AMD64"),
        )
    ]
    for machine in variables:
        names = [
            canonicalize_name(pin.name).removesuffix("-cpu")
            for pin in PINS
            if pin.marker is None or pin.marker.evaluate(machine)
        ]
        assert len(names) == len(set(names))
        assert {"torch", "tensorflow", "keras"} <= set(names)


def test_installed_versions_match_the_pins():
    wanted = {
        pin.name: next(iter(pin.specifier)).version
        for pin in PINS
        if pin.marker is None or pin.marker.evaluate()
    }
    installed = {name: _installed(name) for name in wanted}
    assert installed == wanted, "run `make environment`"


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        "tensorflow-cpu",
        "jupyterlab",
        "papermill",
        "jupyter-repo2docker",
        "axe-playwright-python",
    ],
)
def test_what_a_package_needs_is_pinned_too(name):
    """The pins are closed: no requirement is left for pip to choose a version for."""
    pinned = {canonicalize_name(pin.name) for pin in PINS}
    try:
        needs = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not for this platform")
    for need in map(Requirement, needs):
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            # CUDA's packages come with PyTorch's CUDA build, which fixes each of them.
            known = canonicalize_name(need.name) in pinned
            assert known or re.match("nvidia|cuda|triton", need.name), need


def test_the_course_asks_for_less_than_colab_ships():
    """Installing the course on Colab must move neither NumPy nor a framework."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert not {"torch", "tensorflow", "tensorflow-cpu", "keras"} & set(asked)
    colab = [Requirement(line) for line in environment.pins(ROOT / ".github/colab.txt")]
    shipped = {r.name: next(iter(r.specifier)).version for r in colab if r.specifier}
    assert {"numpy", "ipywidgets", "ipython"} <= set(shipped) & set(asked)
    assert [name for name in shipped if name in asked and shipped[name] not in asked[name]] == []
    assert {s.operator for specifiers in asked.values() for s in specifiers} == {">="}


def test_the_course_is_cited_as_what_it_is():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    course = tomllib.loads((ROOT / "utils/lessons/course.toml").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["message"] and cited["title"]
    assert cited["authors"] == project["authors"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert cited["repository-code"] == f"https://github.com/{course['repository']}"


@pytest.mark.parametrize("name", ["environment.yml", "binder/environment.yml"])
def test_the_conda_files_list_the_pins(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text == environment.conda_file(name), "run `make environment`"
    python, pip, by_pip = yaml.safe_load(text)["dependencies"]
    lines = by_pip["pip"]
    # repo2docker reads this form alone, and builds Python 3.10 for any other.
    assert re.fullmatch(r"python=3\.\d+", python)
    assert pip == "pip"
    assert lines[0] == environment.CPU_OPTION
    assert lines[1:] == environment.pins()


def test_no_index_but_pytorchs_is_named():
    if not TRACKED:
        pytest.skip("this is not a git checkout")
    index = re.compile(r"(?:https?|file)://[^\s\"'`)]*/(?:simple|whl)\b[^\s\"'`)]*")
    option = re.compile(r"--(?:extra-index-url|index-url|find-links|trusted-host)[ =]+(\S+)")
    found = []
    for name in TRACKED:
        path = ROOT / name
        if path.suffix in (".png", ".safetensors") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [(name, match.group(0)) for match in index.finditer(text)]
        if path.suffix != ".py":
            found += [(name, match.group(1)) for match in option.finditer(text)]
    assert ("environment.yml", environment.CPU_INDEX) in found
    assert [(name, url) for name, url in found if url != environment.CPU_INDEX] == []


# --- Imports ----------------------------------------------------------------------------------


def test_an_import_loads_no_framework():
    """An import stays quick by loading nothing heavy; `make bench` measures the time."""
    done = run(
        "import importlib, json, sys\n"
        f"for name in {MODULES!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = [heavy for heavy in {HEAVY} if heavy in sys.modules]\n"
        "    if heavy: sys.exit(f'{name} imports {heavy}')\n"
    )
    assert done.returncode == 0, done.stderr


BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import importlib
for name in {modules!r}:
    importlib.import_module(name)
"""


@pytest.mark.parametrize(
    "absent",
    [("torch",), ("tensorflow", "keras"), ("torch", "tensorflow", "keras", "matplotlib")],
    ids="+".join,
)
def test_every_module_imports_where_a_framework_is_absent(absent):
    done = run(BLOCK.format(absent=absent, modules=MODULES))
    assert done.returncode == 0, done.stderr


def test_utils_is_this_repositorys_and_says_so():
    assert Path(utils.__file__).parent == ROOT / "utils"
    assert utils.COURSE_ID == "deep-learning-three-ways"
