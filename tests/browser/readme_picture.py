"""The README's picture: 02_vae's panel after a run in each framework. `make picture` takes it.

Not collected as a test: it only borrows the tests' JupyterLab and browser.
"""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from course_lab import Notebook

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = ROOT / "chapters/01_autoencoders/02_vae.ipynb"


def test_take_the_picture(open_notebook: Callable[..., Notebook]) -> None:
    content = nbformat.read(CHAPTER, as_version=4)
    # what stands behind the panel is not in the picture, and need not run
    last = next(
        i
        for i, cell in enumerate(content.cells)
        if re.search(r"^panel = Panel\(", cell.source, re.M)
    )
    content.cells = content.cells[: last + 1]
    notebook = open_notebook(content, folder=str(CHAPTER.parent.relative_to(ROOT)))
    notebook.run_all(timeout=600)
    assert notebook.errors() == []
    panel = notebook.panel
    panel.scroll_into_view_if_needed()
    drop_down = panel.get_by_label("Framework")
    for run, framework in enumerate(drop_down.locator("option").all_inner_texts(), 1):
        drop_down.select_option(framework)
        notebook.button("Train").click()
        notebook.until_state("running", timeout=60)
        notebook.until_state("done", timeout=300)
        assert len(notebook.rows()) == run
    panel.screenshot(path=ROOT / "docs/panel.png")
