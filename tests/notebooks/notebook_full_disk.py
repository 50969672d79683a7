"""A notebook whose disk fills up once its frameworks are loaded."""

from pathlib import Path

import full_disk
import nbformat

# The notebook's kernel is started, and its cells run until the frameworks are there.
BEFORE = """
import nbclient, nbformat
from utils.lessons import execute

path, folder, cell_timeout = {path!r}, {folder!r}, {cell_timeout!r}
notebook = execute.prepare(nbformat.read(path, as_version=4))
client = nbclient.NotebookClient(
    notebook,
    timeout=cell_timeout,
    kernel_name="python3",
    allow_errors=True,
    resources={{"metadata": {{"path": folder}}}},
)
kernel = client.setup_kernel(env=execute.environment())
kernel.__enter__()

def run(index, cell):
    if cell.cell_type == "code":
        client.execute_cell(cell, index)

[begin] = [i for i, cell in enumerate(notebook.cells) if "runtime.begin(" in cell.source]
load = nbformat.v4.new_code_cell("runtime.load(*FRAMEWORKS)", id="load")
notebook.cells.insert(begin + 1, load)
for index, cell in enumerate(notebook.cells[: begin + 2]):
    run(index, cell)
"""
# With no room left, the rest of them, as far as Run All comes.
AFTER = """
for index, cell in enumerate(notebook.cells[begin + 2 :], begin + 2):
    run(index, cell)
    if any(output.output_type == "error" for output in cell.get("outputs", ())):
        break
client.set_widgets_metadata()
kernel.__exit__(None, None, None)
print("RESULT" + nbformat.writes(notebook))
"""


def run(path: Path, steps: str, cell_timeout: int) -> nbformat.NotebookNode:
    """Run a stored notebook up to the first cell that fails, if one does.

    No training takes more than `steps` steps, if that is not empty. The test is skipped where a
    process can have no disk of its own.
    """
    before = BEFORE.format(path=str(path), folder=str(path.parent), cell_timeout=cell_timeout)
    variables = {"COURSE_STEPS": steps, "COURSE_PROGRESS": "off"}
    done = full_disk.run(before, AFTER, variables, timeout=1200)
    result = done.stdout.partition("RESULT")[2]
    assert result, done.stdout + done.stderr
    return nbformat.reads(result, as_version=4)
