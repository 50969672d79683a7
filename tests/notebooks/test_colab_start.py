"""A first start on Colab: an empty folder, one notebook, another `utils` already loaded.

`test_notebook_furniture` tries the set-up cell by itself; here the whole start page runs behind it,
from a clone that git believes to come from GitHub.
"""

import json
import os
import re
import subprocess

import nbclient
import nbformat
import pytest
from notebook_shelf import ROOT

pytestmark = [pytest.mark.notebooks, pytest.mark.slow]

# Colab's kernel knows google.colab before the first cell, and a learner may have brought a utils.
STARTUP = "import google.colab\nimport utils, utils.plots\n"
PROBE = """\
import json, sys
from utils import runtime
questions.parameters.check(7850)
mine = {k: m.__file__ for k, m in sys.modules.items() if k.split(".")[0] == "utils"}
print(json.dumps([mine, panel.state, [run.status for run in panel.runs], runtime.in_colab()]))
"""


PAGE = ROOT / "chapters/00_start_here/00_start_here.ipynb"
(REPOSITORY,) = re.findall(r'REPOSITORY = \\"(.*?)\\"', PAGE.read_text(encoding="utf-8"))


def git(*arguments, **options):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, **options).stdout


@pytest.fixture
def github(tmp_path):
    """A repository whose main branch is the course as it lies here, and a git that finds it."""
    store = tmp_path / "github"
    git("init", "-q", "--bare", "-b", "main", str(store))
    ours = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        f"--git-dir={store}",
        f"--work-tree={ROOT}",
    ]
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-zco", "--exclude-standard"], capture_output=True
    )
    names = [
        name for name in listed.stdout.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists()
    ]
    what = b"\0".join(names) or b"."  # not a checkout: everything that .gitignore lets through
    git(*ours, "add", "--pathspec-from-file=-", "--pathspec-file-nul", input=what, cwd=ROOT)
    git(*ours, "commit", "-qm", "the course")
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{store}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
    }


@pytest.fixture
def colab(tmp_path, github):
    """The environment of a kernel as Colab starts it."""
    modules = tmp_path / "modules"
    for name in ("google/colab/__init__.py", "utils/__init__.py", "utils/plots.py"):
        (modules / name).parent.mkdir(parents=True, exist_ok=True)
        (modules / name).write_text("")
    startup = tmp_path / "ipython/profile_default/startup/colab.py"
    startup.parent.mkdir(parents=True)
    startup.write_text(STARTUP)
    keep = {k: v for k, v in os.environ.items() if not k.startswith("COURSE_")}
    offline = {"COURSE_OFFLINE": "1", "COURSE_CACHE": str(tmp_path / "cache")}
    offline["COURSE_PROGRESS"] = str(tmp_path / "progress")
    places = {"PYTHONPATH": str(modules), "IPYTHONDIR": str(tmp_path / "ipython")}
    return keep | github | offline | places


def test_the_start_page_runs_to_its_end_on_colab(colab, tmp_path):
    content = tmp_path / "content"
    content.mkdir()
    notebook = nbformat.read(PAGE, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    client = nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(content)}}
    )
    client.execute(env=colab)
    said = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    assert not [output for output in said if output.output_type == "error"]
    assert f"Fetching the course from {REPOSITORY}" in said[0].text
    modules, *state = json.loads(said[-1].text.splitlines()[-1])
    clone = content / REPOSITORY.split("/")[-1]
    strangers = {
        name: file for name, file in modules.items() if not file.startswith(f"{clone}/utils/")
    }
    assert not strangers and "utils.plots" in modules
    assert state == ["done", ["done"], True]
    kept = json.loads((tmp_path / "progress").read_text())
    assert kept == {"notebook": "00_start_here", "kind": "exercise", "name": "parameters"}
    assert [path.name for path in content.iterdir()] == [clone.name]
    assert not git("-C", str(clone), "status", "--porcelain"), "the clone stays as it was fetched"
