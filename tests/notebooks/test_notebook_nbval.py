"""nbval: every notebook runs as it is stored, its same-model cell prints what is stored.

Trainings are cut short unless --thorough is given: what they learnt is stored in the notebook
by a build, which never cuts them, and what is compared here does not depend on them.

The run holds all three frameworks in one kernel, so it also shows what a learner's machine needs;
and it has no network, no data and an empty cache, so it shows that none of them is needed.
"""

import functools
import importlib
import pkgutil
from urllib.parse import urlsplit

import nbformat
import notebook_runs as runs
import pytest

import utils.data
from utils.data.ladder import Listing
from utils.lessons import build, execute

pytestmark = [pytest.mark.notebooks, pytest.mark.slow, pytest.mark.timeout(1500)]

# Binder gives 2,147 MB to the kernel and the server together, and an idle server holds 100. Of what
# is measured here, some 400 are pages of libraries, which can be dropped if need be. `make binder`
# runs every notebook under the limit itself.
MEMORY_MB = 1800


@pytest.fixture(scope="session")
def validation(tmp_path_factory, few_steps):
    """Validate a notebook, once for all the tests that look at it."""

    @functools.cache
    def validate(path):
        return runs.run_nbval(path, tmp_path_factory.mktemp(path.stem), few_steps)

    return validate


def mirrors():
    """The hosts from which the ladder of `utils.data` may fetch."""
    modules = [
        importlib.import_module(f"utils.data.{found.name}")
        for found in pkgutil.iter_modules(utils.data.__path__)
        if found.name != "__main__"
    ]
    listings = [x for module in modules for x in vars(module).values() if isinstance(x, Listing)]
    places = {mirror for listing in listings for mirror in listing.mirrors}
    places |= {listing.archive.address for listing in listings if listing.archive}
    return {urlsplit(place).hostname for place in places}


def test_it_runs_as_stored(stored, validation):
    result = validation(stored)
    assert result.failures == {}, result.log
    cells = list(execute.code_cells(nbformat.read(stored, as_version=4)))
    assert result.passed == len(cells)


@pytest.mark.memory
def test_the_kernel_fits_on_binder(stored, validation):
    assert validation(stored).peak_mb < MEMORY_MB


@pytest.mark.offline
def test_nothing_but_the_data_is_looked_for_outside(stored, validation):
    # The mirrors may be tried. Nothing else knocks, not even quietly.
    assert {line.split()[1] for line in validation(stored).attempts} <= mirrors()


# --- the same on the small course, broken on purpose --------------------------------------------


@pytest.fixture
def tiny(pretended):
    return pretended.chapter("01_tiny")


def validate_tiny(tiny, tmp_path, change=lambda notebook: None):
    notebook = nbformat.read(tiny.notebook, as_version=4)
    change(notebook)
    build.write(notebook, tiny)
    folder = tmp_path / "runs"
    folder.mkdir()
    return runs.run_nbval(tiny.notebook, folder)


def test_a_sound_notebook_passes_cell_by_cell(tiny, tmp_path):
    result = validate_tiny(tiny, tmp_path)
    assert result.failures == {}, result.log
    assert result.passed == 6
    assert 30 < result.peak_mb < 400, "a kernel with nothing in it"


def test_a_stored_output_that_is_no_longer_true_fails(tiny, tmp_path):
    def change(notebook):
        (cell,) = (c for c in notebook.cells if "same-model" in execute.tags(c))
        cell.outputs[0].text = cell.outputs[0].text.replace("1.5", "1.6")

    (text,) = validate_tiny(tiny, tmp_path, change).failures.values()
    assert "1.6" in text and "1.5" in text


def test_a_cell_that_raises_fails(tiny, tmp_path):
    def change(notebook):
        notebook.cells.insert(-1, nbformat.v4.new_code_cell("1 / 0", execution_count=7))

    (text,) = validate_tiny(tiny, tmp_path, change).failures.values()
    assert "ZeroDivisionError" in text


def test_who_wants_to_leave_is_seen(tiny, tmp_path):
    def change(notebook):
        knock = "import contextlib, socket\n"
        knock += "with contextlib.suppress(OSError): socket.getaddrinfo('example.org', 443)"
        notebook.cells.insert(-1, nbformat.v4.new_code_cell(knock, execution_count=7))

    result = validate_tiny(tiny, tmp_path, change)
    assert result.failures == {}, result.log
    assert result.attempts == ["getaddrinfo example.org"]


def test_the_kernels_memory_is_seen_at_its_peak(tiny, tmp_path):
    def change(notebook):
        # Held for a moment only: what counts is the peak.
        source = "held = bytearray(b'x') * 700_000_000\ndel held"
        notebook.cells.insert(-1, nbformat.v4.new_code_cell(source, execution_count=7))

    result = validate_tiny(tiny, tmp_path, change)
    assert result.failures == {}, result.log
    assert 700 < result.peak_mb < 1100
