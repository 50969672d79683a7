"""Every notebook on a disk that fills up: it runs on, or what it says names the disk."""

import notebook_full_disk
import notebook_runs as runs
import pytest

from utils.lessons import execute

pytestmark = [pytest.mark.notebooks, pytest.mark.slow, pytest.mark.timeout(1500)]

FULL = "has no room left"  # in the words of `utils.room`


@pytest.mark.thorough
def test_what_fails_names_the_disk(stored, few_steps):
    notebook = notebook_full_disk.run(stored, few_steps, runs.CELL_TIMEOUT)
    ran = [cell for _, cell in execute.code_cells(notebook) if cell.execution_count]
    assert len(ran) > 5
    errors = [output for output in ran[-1].outputs if output.output_type == "error"]
    said = execute.stderr(ran[-1]) + "".join(error.evalue for error in errors)
    assert not errors or FULL in said or "Make room" in said, errors
