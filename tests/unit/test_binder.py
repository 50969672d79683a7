"""binder/: what Binder's own builder makes of it, and what its scripts do. Docker is not needed."""

import re
import subprocess
import sys

import pytest

from utils import environment

THREADS = {
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
}


@pytest.fixture
def builder(repository, monkeypatch):
    """The builder that repo2docker would take for this repository, as it takes it."""
    app = pytest.importorskip("repo2docker.app").Repo2Docker()
    monkeypatch.chdir(repository)
    for kind in app.buildpacks:
        if not kind.__module__.endswith("legacy"):
            found = kind("docker.io/library/buildpack-deps:jammy")
            found.platform = "linux/amd64"
            if found.detect():
                return found
    raise AssertionError("repo2docker recognises nothing here")


def test_binder_builds_the_pinned_environment(builder):
    assert type(builder).__name__ == "CondaBuildPack"
    assert builder.binder_dir == "binder"  # no file of the root is taken for it
    assert builder.python_version == environment.CONDA_PYTHON
    assert not builder.uses_r
    listed = builder.environment_yaml["dependencies"][-1]["pip"]
    assert listed == [environment.CPU_OPTION, *environment.pins()]


def test_binder_runs_our_scripts_in_the_course(builder):
    assert builder.get_post_build_scripts() == ["binder/postBuild"]
    assert builder.get_start_script().endswith("/binder/start")
    recipe = builder.render(build_args={})
    steps = ["env update", "COPY --chown=1000:1000 src/ ", "RUN ./binder/postBuild"]
    assert [recipe.count(step) for step in steps] == [1, 1, 1]
    places = [recipe.index(step) for step in steps]
    assert places == sorted(places)  # the environment, then the course, then its script
    assert '--file "binder/environment.yml"' in recipe
    # Built once for a Python, from that Python's lock: not from repo2docker's oldest.
    assert any(
        f"py-{environment.CONDA_PYTHON}-" in name for name in builder.get_build_script_files()
    )
    assert re.search(r"ENV R2D_ENTRYPOINT=.*/binder/start", recipe)


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_the_scripts_are_sound_and_executable(repository, name):
    path = repository / "binder" / name
    assert path.read_text().startswith("#!/bin/bash\n")
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o111, "Binder runs it as a program"


def test_a_launch_computes_with_the_containers_one_core(repository):
    """What JupyterLab would see: one thread everywhere, its own words passed on as they are."""
    code = "import os, sys; from utils import runtime; print(runtime.threads(), sys.argv[1:]); "
    code += f"print([os.environ[name] for name in {sorted(THREADS)}])"
    words = ["--ServerApp.x=a b", "$HOME"]
    done = subprocess.run(
        ["bash", str(repository / "binder" / "start"), sys.executable, "-c", code, *words],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [f"1 {words}", str(["1"] * 5)], done.stderr
