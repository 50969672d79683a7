"""A share of the tests, and what a change can have broken."""

import json
import subprocess
import sys

import pytest
import shards

SECONDS = {"a": 100, "b": 60, "c": 50, "d": 1}


def test_shares_take_about_as_long_and_leave_nothing_out():
    one, two = (shards.share("abcd", SECONDS, f"{i}/2") for i in (1, 2))
    assert (one, two) == ({"a", "d"}, {"b", "c"})
    parts = [shards.share("abcde", SECONDS, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(g for part in parts for g in part) == list("abcde")
    assert shards.share("abcd", SECONDS, "1/1") == set("abcd")
    assert shards.share("ab", {}, "2/2") == {"b"}


@pytest.mark.parametrize("which", ["0/2", "3/2", "2", "a/b", "1/0", ""])
def test_a_share_that_is_none_is_refused(which):
    with pytest.raises(ValueError, match="second of three"):
        shards.share("ab", {}, which)


RUN = "tests/notebooks/test_notebook_papermill.py::TestOneFrameworkAlone::test_it_runs"


@pytest.mark.parametrize(
    ("files", "left_out"),
    [
        (["lessons/01_autoencoders/02_vae.py", "docs/glossary.md"], False),
        (["checkpoints/02_vae_2d.json"], False),
        (["results/02_vae.json"], False),
        (["lessons/01_autoencoders/03_cvae.py", "README.md"], True),
        (["lessons/01_autoencoders/03_cvae.py", "utils/parity.py"], False),
        (["requirements.txt"], False),
        ([], True),
    ],
)
def test_a_notebook_that_did_not_change_is_not_run(files, left_out):
    needless = shards.needless(files)
    assert needless(f"{RUN}[02_vae-torch]") == left_out
    assert needless("tests/browser/test_chapters.py::test_alive[02_vae]") == left_out
    assert not needless("tests/unit/test_shards.py::test_a[02_vae]")
    assert not needless("tests/notebooks/test_notebook_nbval.py::test_of_the_tools")


def test_a_notebook_runs_in_one_variant_and_which_alternates():
    left = {
        (name, variant)
        for name in ("00_start_here", "02_vae", "04_beta_vae")
        for variant in ("torch", "tensorflow", "keras on torch")
        if not shards.spared(f"{RUN}[{name}-{variant}]")
    }
    turns = {
        ("00_start_here", "torch"),
        ("02_vae", "keras on torch"),
        ("04_beta_vae", "tensorflow"),
    }
    assert left == turns
    assert not shards.spared("tests/parity/test_vae.py::test_a[02_vae-tensorflow]")


def test_the_browser_opens_every_third_notebook():
    opened = "tests/browser/test_chapters.py::test_a_chapter_comes_alive"
    names = ("00_start_here", "01_autoencoder", "02_vae", "03_cvae", "12_resnet")
    left = [name for name in names if not shards.spared(f"{opened}[{name}]")]
    assert left == ["00_start_here", "03_cvae", "12_resnet"]


def test_all_is_run_where_it_is_wanted(repository):
    recipe = "tests/parity/test_recipes_yolo.py"
    files = ["tests/notebooks/test_notebook_papermill.py", recipe, "--collect-only", "-q"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files]

    def count(*options):
        done = subprocess.run([*command, *options], cwd=repository, capture_output=True, text=True)
        return done.stdout.count("::test_it_runs["), recipe in done.stdout

    notebooks = len(list((repository / "chapters").glob("*/*.ipynb")))
    assert (count(), count("--thorough")) == ((notebooks, False), (3 * notebooks, True))
    assert "--thorough" in (repository / ".github" / "workflows" / "cpu.yml").read_text()


def pytest_here(repository, *options):
    files = ["tests/unit/test_shards.py", "tests/unit/test_plots.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *files]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


def test_every_test_is_in_one_share(repository):
    def collected(*options):
        said = pytest_here(repository, "--collect-only", *options).stdout
        return {line for line in said.splitlines() if "::" in line}

    one, two, everything = collected("--shard=1/2"), collected("--shard=2/2"), collected()
    assert one and two and not one & two and one | two == everything


def test_the_seconds_of_each_group_are_written(repository, tmp_path):
    path = tmp_path / "seconds.json"
    done = pytest_here(repository, f"--record-seconds={path}", "-k", "refused or grid")
    assert done.returncode == 0, done.stdout
    found = json.loads(path.read_text())
    assert set(found) == {"tests/unit/test_shards.py", "tests/unit/test_plots.py"}


def test_a_commit_that_is_none_is_said(repository):
    done = pytest_here(repository, "--collect-only", "--since=no-such-commit")
    assert done.returncode != 0 and "--since=no-such-commit: git says" in done.stderr
