"""Every notebook runs from top to bottom without a network, without data, with an empty cache."""

import importlib
import pkgutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest

import utils.data
from utils.data.ladder import Listing
from utils.lessons.execute import swallowed

pytestmark = [pytest.mark.offline, pytest.mark.notebooks, pytest.mark.slow]

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
NOTEBOOKS = sorted(p for p in CHAPTERS.glob("*/*.ipynb") if not p.parent.name.startswith("."))
RUN = """
import sys
from pathlib import Path
import nbformat
from utils.lessons import execute
source, target = map(Path, sys.argv[1:])
notebook = execute.prepare(nbformat.read(source, as_version=4))
execute.execute(notebook, source.parent, source.stem)
nbformat.write(notebook, target)
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_needs_no_network(island, path):
    target = island.home / path.name
    done = island.run(sys.executable, "-c", RUN, str(path), str(target), timeout=840)
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(target, as_version=4)
    assert swallowed(notebook) == []
    # The ladder's mirrors are tried, and whoever tried is told what stands in for the data.
    # Nothing else knocks, not even quietly.
    assert {line.split()[1] for line in island.attempts} <= _mirrors()
    said = "".join(
        "".join(output.get("text", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert not island.attempts or "using the embedded data" in said


def _mirrors() -> set[str]:
    modules = [
        importlib.import_module(f"utils.data.{found.name}")
        for found in pkgutil.iter_modules(utils.data.__path__)
        if found.name != "__main__"
    ]
    listings = [x for module in modules for x in vars(module).values() if isinstance(x, Listing)]
    return {urlsplit(mirror).hostname for listing in listings for mirror in listing.mirrors}
