"""A full disk, a killed process, two writers: what is read is always whole."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from utils import CourseError, checkpoints, files, gpu_run, results
from utils.recipes import _classifiers

OLD = {"a.kernel": np.ones((3, 2), np.float32)}
NEW = {"a.kernel": np.full((3, 2), 2, np.float32)}


@pytest.fixture
def full(monkeypatch):
    """A disk on which there is room for so many more whole files, then for half a one."""
    whole = Path.write_bytes

    def fill(room=0):
        left = [room]

        def write_bytes(path, data):
            if left[0] > 0:
                left[0] -= 1
                return whole(path, data)
            whole(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", write_bytes)

    return fill


def record(value):
    numbers = {"value": value, "low": value, "high": value, "seconds": 1.0, "peak_memory_mb": 1}
    words = dict.fromkeys(
        ["notebook", "metric", "spread", "reference", "trained", "data", "device", "commit"], "x"
    )
    known = {"framework": "torch", "better": "higher", "profile": "quick"}
    return results.Record(**words, **known, **numbers, seeds=[0], versions={})


@pytest.mark.parametrize("room", [0, 1])
def test_a_full_disk_leaves_the_last_checkpoint_and_its_sidecar(tmp_path, full, room):
    checkpoints.save("toy", OLD, {"what": "old"}, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    full(room)
    with pytest.raises(CourseError, match=r"toy.* cannot be written .*No space left.*as it was"):
        checkpoints.save("toy", NEW, {"what": "new"}, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert checkpoints.load("toy", tmp_path).info["what"] == "old"


def test_a_full_disk_leaves_results_and_readme_as_they_were(tmp_path, full):
    results.write("x", [record(1.0)], tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(f"before {results.MARKS[0]}{results.MARKS[1]} after")
    full()
    with pytest.raises(CourseError, match="No space left"):
        results.write("x", [record(2.0)], tmp_path)
    assert [r.value for r in results.read("x", tmp_path)] == [1.0]
    with pytest.raises(CourseError, match="No space left"):
        results.refresh_readme(readme, tmp_path)
    assert readme.read_text() == f"before {results.MARKS[0]}{results.MARKS[1]} after"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "x.json"]


def test_a_full_disk_leaves_the_record_of_gpu_runs(tmp_path, full):
    run = {"notebook": "a", "section": "torch", "profile": "quick", "device": "d", "seconds": 1}
    gpu_run.write([run], tmp_path / "runs.json")
    full()
    with pytest.raises(CourseError, match="No space left"):
        gpu_run.write([run | {"seconds": 2}], tmp_path / "runs.json")
    assert gpu_run.read(tmp_path / "runs.json") == [run]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "wall").write_text("")
    with pytest.raises(CourseError, match=f"cannot be written to {tmp_path / 'wall'}"):
        checkpoints.save("toy", OLD, {}, tmp_path / "wall")


def test_two_that_save_one_checkpoint_do_not_mix(tmp_path):
    """One name for both drafts would let the one rename what the other is writing."""
    failed = []

    def save(number):
        weights = {"w": np.full(100_000, number, np.float32)}
        try:
            for _ in range(15):
                checkpoints.save("toy", weights, {"number": number}, tmp_path)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and len(list(tmp_path.iterdir())) == 2
    from safetensors.numpy import load_file

    assert len(np.unique(load_file(tmp_path / "toy.safetensors")["w"])) == 1


WRITER = """
import sys
from pathlib import Path
from utils import files
path, number = Path(sys.argv[1]), 0
while True:
    number += 1
    files.write(path, str(number % 10) * 3_000_000)
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="nobody is killed so elsewhere")
def test_a_killed_kernel_leaves_a_whole_file(tmp_path, repository):
    for moment in (0.0, 0.003, 0.007):
        path = tmp_path / f"{moment}"
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env=os.environ | {"PYTHONPATH": str(repository)},
            stdout=subprocess.PIPE,
            text=True,
        )
        writer.stdout.readline()
        time.sleep(moment)  # in the middle of some later one
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        text = path.read_text()
        assert len(text) == 3_000_000 and len(set(text)) == 1


def test_a_cut_training_of_a_classifier_is_not_taken_for_a_whole_one(tmp_path, full):
    """What is read at the next start is a file that was finished, or there is none."""
    torch = pytest.importorskip("torch")

    def train(settings, report):
        report(1, {"loss": 1.0})
        return torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2)})

    settings, path = SimpleNamespace(seed=0, steps=1), tmp_path / "run" / "toy.npz"
    full()
    with pytest.raises(OSError):
        _classifiers.fit("toy", train, settings, path, 60.0)
    assert list(path.parent.iterdir()) == []


def test_json_that_is_written_can_be_read(tmp_path):
    files.write(tmp_path / "deep" / "é.json", json.dumps({"β": 1}, ensure_ascii=False))
    assert json.loads((tmp_path / "deep" / "é.json").read_text(encoding="utf-8")) == {"β": 1}
