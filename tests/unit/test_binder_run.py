"""``make binder``: what is asked of a confined run, and what is written down of it."""

import json
import os
from pathlib import Path

import pytest

from utils import binder_run, confined
from utils.lessons import course as plan

SAID = {"error": None, "seconds": 61.2, "data": "embedded", "device": "CPU P1, 1 thread"}


@pytest.fixture
def confinement(monkeypatch):
    """A machine on which each run ends as the test says."""
    asked = []
    ends = {"said": SAID, "killed": False}

    def run(command, limit, **options):
        asked.append((command, limit))
        if ends["said"]:
            Path(command[command.index("--inside") + 1]).write_text(json.dumps(ends["said"]))
        code = 0 if ends["said"] else -9
        return confined.Outcome(code, 70.0, 50.0, 1234.5, ends["killed"], True)

    monkeypatch.setattr(confined, "run", run)
    return ends, asked


def test_a_notebook_runs_behind_binders_start_within_2_gb(confinement, tmp_path, capsys):
    path = tmp_path / "binder" / "runs.json"
    assert binder_run.main(["00_start_here"], path) == 0
    [(command, limit)] = confinement[1]
    assert command[:2] == ["bash", str(plan.ROOT / "binder" / "start")]
    assert "00_start_here" in command and limit == 2 * 1024**3
    [record] = binder_run.read(path)
    assert record["passed"] and record["seconds"] == 61.2 and record["cpu_seconds"] == 50
    assert "1,234 MB" in capsys.readouterr().out
    page = path.with_name("README.md").read_text()
    assert "| 00_start_here | ran to its end | 61 | 50 | 1,234 | embedded |" in page
    assert "CPU P1, 1 thread" in page
    assert "Not run within these limits yet: 01_autoencoder, " in page


def test_one_that_is_killed_says_so_and_stands_in_the_table(confinement, tmp_path, capsys):
    path = tmp_path / "runs.json"
    confinement[0].update(said=None, killed=True)
    assert binder_run.main(["00_start_here", "02_vae"], path) == 1
    assert "2 of them failed" in capsys.readouterr().out
    assert all("needs more than 2,147 MB" in one["error"] for one in binder_run.read(path))
    assert "**failed**" in path.with_name("README.md").read_text()
    confinement[0].update(said={**SAID, "error": "cell 3: NameError"}, killed=False)
    assert binder_run.main(["02_vae"], path) == 1
    first, second = binder_run.read(path)
    assert "2,147" in first["error"] and second["error"] == "cell 3: NameError"


def test_an_unknown_notebook_is_said_to_be_one(confinement, tmp_path, capsys):
    assert binder_run.main(["99_none"], tmp_path / "runs.json") == 1
    assert "'99_none' is not in the plan" in capsys.readouterr().err
    assert not confinement[1]


def test_what_was_measured_here_stayed_within_binders_limits():
    records = binder_run.read()
    assert records
    # 18 starts several processes with a framework each: it needs more, and the README says so.
    assert {one["notebook"] for one in records if not one["passed"]} <= {"18_distributed"}
    assert all(one["peak_mb"] < one["limit_mb"] for one in records if one["passed"])
    kept = binder_run.PATH.with_name("README.md").read_text(encoding="utf-8")
    rows = [line for line in kept.splitlines() if line.startswith("| ")]
    fresh = binder_run.table(records).splitlines()
    assert rows == [line for line in fresh if line.startswith("| ")]


@pytest.mark.skipif(os.environ.get("COURSE_LONG", "") != "1", reason="COURSE_LONG=1 runs them all")
@pytest.mark.timeout(7200)
@pytest.mark.slow
def test_every_notebook_runs_within_binders_limits():
    records = [binder_run.run(chapter) for chapter in plan.read().built]
    failed = [binder_run.line(one) for one in records if not one["passed"]]
    assert not failed, "\n".join(failed)
