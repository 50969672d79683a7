"""The plan of the course, and the name of its repository."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import utils
from utils import CourseError
from utils.lessons import course as plan

ROOT = Path(utils.__file__).resolve().parents[1]
ORDER = """
00_start_here 01_autoencoder 02_vae 03_cvae 04_beta_vae 05_aae 06_vq_vae 07_dcgan 08_lsgan 09_acgan
10_alexnet 11_vgg 12_resnet 13_rcnn 14_faster_rcnn 15_ssd 16_yolo 17_gpu 18_distributed 19_flask
20_onnx 21_tflite
""".split()


def write_plan(root: Path, *names: str) -> Path:
    notebooks = ", ".join(f'{{ name = "{name}", title = "T" }}' for name in names)
    path = root / "utils" / "lessons" / "course.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        'repository = "fallback/course"\nbranch = "main"\nanatomy = []\n[[part]]\nfolder = "00_a"\n'
        f'title = "A"\nalgorithms = false\nnotebooks = [{notebooks}]\n'
    )
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def test_the_plan_is_the_course_in_reading_order():
    course = plan.read()
    assert course.root == ROOT
    assert [chapter.name for chapter in course.chapters] == ORDER
    assert len(course.anatomy) == 12
    vae = course.chapter("02_vae")
    assert vae.address == "chapters/01_autoencoders/02_vae.ipynb"
    assert vae.source == "lessons/01_autoencoders/02_vae.py"
    algorithms = [chapter.name for chapter in course.chapters if chapter.algorithm]
    assert algorithms == ORDER[1:17]


def test_an_unknown_chapter_is_told_the_plan():
    with pytest.raises(CourseError, match=r"'2_vae' is not in the plan.*02_vae"):
        plan.read().chapter("2_vae")


def test_a_folder_without_a_course_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"utils/lessons/course\.toml is missing"):
        plan.read(tmp_path)


def test_a_name_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(CourseError, match="names 01_a twice"):
        plan.read(write_plan(tmp_path, "01_a", "02_b", "01_a"))


def test_built_and_written_go_by_what_is_there(tmp_path):
    course = plan.read(write_plan(tmp_path, "01_a", "02_b"))
    assert course.built == course.written == ()
    first, second = course.chapters
    for path in (second.lesson, second.notebook, first.lesson):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert course.built == (second,)
    assert course.written == (first, second)


def test_strays_are_found_and_hidden_copies_are_not(tmp_path):
    course = plan.read(write_plan(tmp_path, "01_a"))
    stray = tmp_path / "chapters" / "00_a" / "01_b.ipynb"
    hidden = tmp_path / "chapters" / "00_a" / ".ipynb_checkpoints" / "01_a-checkpoint.ipynb"
    for path in (course.chapters[0].notebook, stray, hidden):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert course.strays() == [stray]


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/some-one/three.ways",
        "https://github.com/some-one/three.ways.git",
        "https://github.com/some-one/three.ways/",
        "https://token@github.com/some-one/three.ways.git",
        "git@github.com:some-one/three.ways.git",
        "ssh://git@github.com/some-one/three.ways.git",
        "git://github.com/some-one/three.ways",
    ],
)
def test_github_in_all_its_spellings(address):
    assert plan.github_slug(address) == "some-one/three.ways"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://gitlab.com/a/b",
        "/srv/git/a.git",
        "https://github.com/a",
        "https://notgithub.com/a/b",
        "https://github.com.evil.org/a/b",
        "https://github.com/a/b/c",
    ],
)
def test_other_remotes_are_not_github(address):
    assert plan.github_slug(address) is None


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda name: not name.endswith(".git")
)


@given(owner=names, name=names)
def test_any_owner_and_name_survive(owner, name):
    for form in ("https://github.com/{}.git", "git@github.com:{}.git", "https://github.com/{}"):
        assert plan.github_slug(form.format(f"{owner}/{name}")) == f"{owner}/{name}"


def test_origin_names_the_repository(tmp_path):
    write_plan(tmp_path, "01_a")
    assert plan.read(tmp_path).slug == "fallback/course", "no repository"
    git(tmp_path, "init", "-q")
    assert plan.read(tmp_path).slug == "fallback/course", "no origin"
    git(tmp_path, "remote", "add", "origin", "git@github.com:fork/ways.git")
    assert plan.read(tmp_path).slug == "fork/ways"
    git(tmp_path, "remote", "set-url", "origin", "https://gitlab.com/a/b")
    assert plan.read(tmp_path).slug == "fallback/course", "not GitHub"


def test_somebody_elses_repository_around_the_course_does_not_name_it(tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "git@github.com:outer/thing.git")
    inner = write_plan(tmp_path / "vendored", "01_a")
    assert plan.read(inner).slug == "fallback/course"


def test_a_machine_without_git_takes_the_fallback(tmp_path, monkeypatch):
    write_plan(tmp_path, "01_a")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert plan.read(tmp_path).slug == "fallback/course"
