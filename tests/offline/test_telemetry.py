"""Nothing of the course tells anybody what is run."""

import os
import re
import subprocess
import sys

import pytest

# Where ONNX Runtime runs tests, or a CI does, it is silent by itself: here it is not to know.
MUTE = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_", "XDG_", "PYTEST_")


@pytest.fixture
def traces(tmp_path, repository):
    """A function that runs code with an empty home, and says which files are in it afterwards."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(MUTE)}

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=kept | {"HOME": str(tmp_path), "PYTHONPATH": str(repository)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return {path.name for path in tmp_path.rglob("*") if path.is_file()}

    return run


def test_onnx_runtime_gives_no_machine_a_number(traces):
    # One home for both: the first run must leave nothing, or the second shows nothing.
    told = traces("import utils, onnxruntime")
    if "deviceid" not in traces("import onnxruntime"):
        pytest.skip("this build of ONNX Runtime tells nobody anything")
    assert "deviceid" not in told


def test_every_lesson_imports_the_course_before_it(repository):
    found = 0
    for lesson in sorted((repository / "lessons").glob("*/*.py")):
        text = lesson.read_text(encoding="utf-8")
        for place in re.finditer(r"^import onnxruntime|^from onnxruntime", text, re.MULTILINE):
            before = text[: place.start()]
            assert re.search(r"^(import|from) utils", before, re.MULTILINE), lesson
            found += 1
    assert found
