"""The notebooks in chapters/, as a learner meets them: run all, train, stop, move a slider.

Every third with PyTorch alone; with --thorough every one, as it is stored.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from course_lab import Notebook, until

from utils.lessons import execute

# The cell of an exercise that asks for a function: alias of utils.exercises.…, its name there.
WRITE = re.compile(
    r"def (?P<mine>\w+)\(.*^(?P<alias>\w+)\.(?P<name>\w+)\.check\((?P=mine)\)", re.M | re.S
)
ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*/*.ipynb"))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_comes_alive(
    open_notebook: Callable[..., Notebook], path: Path, request: pytest.FixtureRequest
) -> None:
    content = nbformat.read(path, as_version=4)
    if not request.config.getoption("--thorough"):
        content = in_torch(content)
    source = "\n".join(cell.source for cell in content.cells if cell.cell_type == "code")
    notebook = open_notebook(content, folder=str(path.parent.relative_to(ROOT)))
    notebook.run_all(timeout=1200)
    assert notebook.errors() == []

    if "Panel(" in source:
        train_in_each_framework(notebook)
    hunt, faults = (notebook.page.locator(f".course-{name}") for name in ("hunt", "faults"))
    assert (hunt.count(), faults.count()) == ("Hunt(" in source, "faults.Lab(" in source)
    if hunt.count():
        hunt.locator("button", has_text=re.compile("^Try it$")).click()
        state = hunt.locator(".cp-status")
        tried = re.compile("Fixes that are in: (?!none yet)")
        until(state.inner_text, tried.match, 120, "a fix")
    if faults.count():
        faults.locator("button", has_text="the port is in use").first.click()
        refused = re.compile("failed to listen|Could not start gRPC server")  # PyTorch, TensorFlow
        until(faults.inner_text, refused.search, 240, "a fault's story")

    explorers = notebook.page.locator(".course-explorer")
    assert bool(explorers.count()) == ("Explorer(" in source)
    for i in range(explorers.count()):
        explorer = explorers.nth(i)
        explorer.scroll_into_view_if_needed()
        assert explorer.locator(".cp-error").count() == 0
        notebook.screenshot(f"explorer-{i + 1}", explorer)
    with_slider = explorers.filter(has=notebook.page.get_by_role("slider"))
    if with_slider.count():
        explorer = with_slider.first
        before = notebook.image_bytes(explorer)
        slider = explorer.get_by_role("slider").first
        now, most = (float(slider.get_attribute(f"aria-value{end}")) for end in ("now", "max"))
        slider.press("ArrowRight" if now < most else "ArrowLeft")
        notebook.other_image(explorer, before, timeout=60)
        assert explorer.locator(".cp-error").count() == 0
    solve_an_exercise(notebook, content)
    assert notebook.errors() == [] and notebook.complaints == []


def in_torch(content: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook for PyTorch alone, the quickest: nbval runs it with all, and minutes are dear."""
    content = execute.prepare(content, {"FRAMEWORKS": ["torch"]})
    # JupyterLab's Run All knows no tag that skips a cell.
    content.cells = [cell for cell in content.cells if execute.SKIP not in execute.tags(cell)]
    return content


def train_in_each_framework(notebook: Notebook) -> None:
    """Train in the panel with each framework, and stop."""
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
        for _ in range(3):  # a small model may be trained before the button is reached
            run = str(len(notebook.rows()) + 1)
            notebook.button("Train").click()
            until(lambda: notebook.data("run"), run.__eq__, 120, "the first report of a new run")
            notebook.until_step_beyond(notebook.step(), timeout=120)
            notebook.button("Stop").click()
            if notebook.until_state("stopped", "done", timeout=120) == "stopped":
                break
        assert framework in notebook.rows()[0] and notebook.rows()[0].endswith("stopped")
    notebook.screenshot("panel", panel)


def solve_an_exercise(notebook: Notebook, content: nbformat.NotebookNode) -> None:
    """Leave the first exercise that asks for a function undone, do it wrong, then right."""
    found = ((i, WRITE.search(cell.source)) for i, cell in enumerate(content.cells))
    index, match = next((i, match) for i, match in found if match)
    source = content.cells[index].source
    (module,) = re.findall(
        rf"^from utils.exercises import (\w+) as {match['alias']}$",
        "\n".join(cell.source for cell in content.cells),
        re.M,
    )
    exercise = getattr(importlib.import_module(f"utils.exercises.{module}"), match["name"])
    solution = exercise.solution_source()
    solved = re.findall(r"^def (\w+)", solution, re.M)[-1]

    def verdict() -> str:
        (output,) = notebook.outputs(index)
        return output["text"]

    assert verdict().startswith("Not attempted: ")
    for answer, opening in [
        (source.replace("return ...", "return 0.0"), "Not yet: "),
        (f"{solution}\n{match['alias']}.{match['name']}.check({solved})", "Correct: "),
    ]:
        notebook.rewrite_cell(index, answer)
        notebook.run_cell(index)
        assert verdict().startswith(opening)
