"""Tests that share an expensive run stay on one worker when the suite runs side by side."""

import importlib.util
import re
import subprocess
import sys

import pytest

pytest.importorskip("xdist")


@pytest.fixture(scope="module")
def together(repository):
    path = repository / "tests" / "conftest.py"
    spec = importlib.util.spec_from_file_location("the_suite", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.together


RUNS = "tests/notebooks/test_notebook_papermill.py::TestOneFrameworkAlone::"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (f"{RUNS}test_it_runs[02_vae-torch]", f"{RUNS}test_it_is_quiet[02_vae-torch]", True),
        (f"{RUNS}test_it_runs[02_vae-torch]", f"{RUNS}test_it_runs[02_vae-keras]", False),
        (f"{RUNS}test_it_runs[02_vae-torch]", f"{RUNS}test_it_runs[03_cvae-torch]", False),
        ("tests/browser/a.py::test_a[02_vae]", "tests/browser/b.py::test_b", True),
        ("tests/parity/a.py::test_a[torch]", "tests/parity/a.py::test_b[keras]", True),
        ("tests/parity/a.py::test_a", "tests/parity/b.py::test_a", False),
    ],
)
def test_who_stays_together(together, first, second, same):
    assert (together(first) == together(second)) == same


def test_the_suite_is_sent_out_so(repository):
    """Two files, two workers: each file on one of them."""
    files = ["tests/unit/test_plots.py", "tests/unit/test_checkpoints.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider", *files],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    workers = {file: set(re.findall(rf"\[(gw\d)\].*{file}::", done.stdout)) for file in files}
    assert all(len(used) == 1 for used in workers.values())
    assert workers[files[0]] != workers[files[1]]
