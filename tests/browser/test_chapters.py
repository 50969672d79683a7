"""Every notebook in chapters/, as a learner meets it: run all, train, stop, move a slider."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from course_lab import Notebook, until

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*/*.ipynb"))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_comes_alive(open_notebook: Callable[..., Notebook], path: Path) -> None:
    content = nbformat.read(path, as_version=4)
    source = "\n".join(cell.source for cell in content.cells if cell.cell_type == "code")
    notebook = open_notebook(content, folder=str(path.parent.relative_to(ROOT)))
    notebook.run_all(timeout=1200)
    assert notebook.errors() == []

    panel = notebook.panel
    panel.scroll_into_view_if_needed()
    assert panel.is_visible()
    notebook.until_state("idle", "done", "stopped")  # a panel may train on its own at first
    notebook.nudge("Steps", "End")  # long enough to be stopped
    drop_down = panel.get_by_label("Framework")
    offered = drop_down.locator("option").all_inner_texts() if drop_down.count() else [""]
    for framework in offered:
        if framework:
            drop_down.select_option(framework)
        run = str(len(notebook.rows()) + 1)
        notebook.button("Train").click()
        until(lambda: notebook.data("run"), run.__eq__, 120, "the first report of a new run")
        notebook.until_step_beyond(notebook.step(), timeout=120)
        notebook.button("Stop").click()
        notebook.until_state("stopped", timeout=120)
        assert framework in notebook.rows()[0] and notebook.rows()[0].endswith("stopped")
    notebook.screenshot("panel", panel)

    explorers = notebook.page.locator(".course-explorer")
    assert bool(explorers.count()) == ("Explorer(" in source)
    for i in range(explorers.count()):
        explorer = explorers.nth(i)
        explorer.scroll_into_view_if_needed()
        assert explorer.locator(".cp-error").count() == 0
        notebook.screenshot(f"explorer-{i + 1}", explorer)
    if explorers.count():
        explorer = explorers.first
        before = notebook.image_bytes(explorer)
        explorer.get_by_role("slider").first.press("ArrowRight")
        notebook.other_image(explorer, before, timeout=60)
        assert explorer.locator(".cp-error").count() == 0
    assert notebook.errors() == [] and notebook.complaints == []
