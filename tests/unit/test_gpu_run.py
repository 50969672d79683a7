"""Runs on a GPU, on a machine that pretends to have one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from utils import CourseError, gpu_run
from utils.gpu_run import Machine
from utils.lessons import course as plan
from utils.lessons import execute

CARD = Machine("2.13.0+cu130", "13.0", "Pretended P1", 16_000)
TOOK = {"peak_memory_mb": 900, "gpu_memory_mb": 120}


@pytest.fixture
def course(tmp_path):
    """A course of two notebooks, the second of which has no section in Keras."""
    chapters = []
    for name in ("01_one", "02_two"):
        chapter = plan.Chapter(name, name, "part", "Part", False, tmp_path)
        notebook = nbformat.v4.new_notebook()
        wanted = 'PROFILE = "quick"\nFRAMEWORKS = ["torch"]\nSEED = 0\nDEVICE = "auto"\n'
        cell = nbformat.v4.new_code_cell(wanted + 'KERAS_BACKEND = "tensorflow"')
        cell.metadata["tags"] = ["parameters"]
        own = nbformat.v4.new_code_cell("1")
        own.metadata["tags"] = ["tensorflow"]
        notebook.cells = [cell, own]
        chapter.notebook.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, chapter.notebook)
        chapters.append(chapter)
    return plan.Course(tmp_path, "owner/name", "main", (), tuple(chapters))


@pytest.fixture
def pretended(monkeypatch, course):
    """The machine, the course, and a kernel that notes what it was given."""
    seen = []

    def run(notebook, folder, name):
        seen.append((name, folder, notebook))
        output = nbformat.v4.new_output("stream", text=f"words\n{json.dumps(TOOK)}\n")
        notebook.cells[-1].outputs = [output]
        return []

    monkeypatch.setattr(gpu_run, "look", lambda: CARD)
    monkeypatch.setattr(gpu_run.plan, "read", lambda: course)
    monkeypatch.setattr(execute, "execute", run)
    return seen


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Machine(), "PyTorch cannot be imported"),
        (Machine("2.13.0+cpu"), "a build without CUDA"),
        (Machine("2.13.0+cu130", "13.0"), "sees no GPU on this machine"),
        (Machine("2.10.1", "12.8", "Card", 1), "2.10.1 is older than 2.11"),
    ],
)
def test_a_machine_that_cannot_is_refused_in_words(machine, said, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_run, "look", lambda: machine)
    assert gpu_run.main([], tmp_path / "runs.json") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs.json").exists()


@pytest.mark.parametrize("version", ["2.11.0", "2.11.0+cu128", "3.0.0a0"])
def test_a_new_enough_pytorch_with_a_gpu_is_welcome(version):
    assert Machine(version, "13.0", "Card", 1).objection() is None


def test_both_sections_of_every_notebook_run_and_are_written_down(pretended, capsys, tmp_path):
    path = tmp_path / "gpu" / "runs.json"
    assert gpu_run.main([], path) == 0
    records = gpu_run.read(path)
    assert [(r["notebook"], r["section"]) for r in records] == [
        ("01_one", "keras"),
        ("01_one", "torch"),
        ("02_two", "keras"),
        ("02_two", "torch"),
    ]
    for record in records:
        assert record["passed"] and record["error"] is None
        assert record["device"] == "GPU Pretended P1, 16,000 MB"
        assert record["versions"]["torch"] == CARD.torch and record["versions"]["cuda"] == "13.0"
        assert record["gpu_memory_mb"] == 120 and record["peak_memory_mb"] == 900
        assert record["seconds"] >= 0 and record["commit"] and len(record["date"]) == 10
    said = capsys.readouterr().out
    assert "Pretended P1" in said and "on the GPU 120 MB" in said and "All of them passed" in said


def test_a_section_gets_its_parameters_and_leaves_tensorflow_out(pretended, course, tmp_path):
    before = course.chapters[0].notebook.read_bytes()
    assert gpu_run.main(["01_one"], tmp_path / "runs.json") == 0
    assert [name for name, _, _ in pretended] == ["01_one", "01_one"]
    injected = [execute.literals(notebook.cells[1].source) for _, _, notebook in pretended]
    common = {"PROFILE": "quick", "DEVICE": "gpu"}
    assert injected[0] == {"FRAMEWORKS": ["torch"], **common}
    assert injected[1] == {"FRAMEWORKS": ["keras"], "KERAS_BACKEND": "torch", **common}
    for _, folder, notebook in pretended:
        assert execute.SKIP in execute.tags(notebook.cells[2])
        assert folder == course.chapters[0].notebook.parent
    assert course.chapters[0].notebook.read_bytes() == before


def test_one_that_fails_is_named_and_the_others_go_on(pretended, monkeypatch, capsys, tmp_path):
    working = execute.execute

    def run(notebook, folder, name):
        if name == "01_one":
            raise CourseError("01_one, cell 3: RuntimeError: two devices\nTraceback …")
        return working(notebook, folder, name)

    monkeypatch.setattr(execute, "execute", run)
    path = tmp_path / "runs.json"
    assert gpu_run.main(["--section", "torch"], path) == 1
    first, second = gpu_run.read(path)
    assert not first["passed"] and "two devices" in first["error"]
    assert first["gpu_memory_mb"] is None and second["passed"]
    said = capsys.readouterr().out
    assert "FAILED: 01_one, cell 3: RuntimeError: two devices\n" in said
    assert "1 of them failed" in said


def test_a_later_run_takes_the_place_of_the_same_one_only(tmp_path):
    path = tmp_path / "runs.json"
    one = {"notebook": "a", "section": "torch", "profile": "quick", "device": "P1", "seconds": 1}
    gpu_run.write([one], path)
    gpu_run.write([{**one, "device": "P2"}, {**one, "seconds": 2}], path)
    found = gpu_run.read(path)
    assert [(r["device"], r["seconds"]) for r in found] == [("P1", 2), ("P2", 1)]
    path.write_text("[{")
    with pytest.raises(CourseError, match="damaged"):
        gpu_run.read(path)


def test_an_unknown_notebook_is_said_to_be_one(pretended, capsys, tmp_path):
    assert gpu_run.main(["99_none"], tmp_path / "runs.json") == 1
    assert "'99_none' is not in the plan" in capsys.readouterr().err


def test_the_probe_reads_what_a_kernel_took():
    code = f"import torch\n{gpu_run._PROBE}"
    root = Path(gpu_run.__file__).resolve().parents[1]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=hidden
    )
    took = json.loads(done.stdout)
    assert took["gpu_memory_mb"] == 0 and 50 < took["peak_memory_mb"] < 2000


def test_the_real_machine_can_be_looked_at():
    machine = gpu_run.look()
    assert machine.torch and (machine.gpu is None) == (machine.memory_mb == 0)


def test_the_workflow_and_the_makefile_call_it(repository):
    assert "make gpu" in (repository / ".github" / "workflows" / "gpu.yml").read_text()
    assert "-m utils.gpu_run" in (repository / "Makefile").read_text()
