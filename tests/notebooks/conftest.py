"""What the tests of notebooks share: the notebooks that exist, and a small course to break."""

import pytest
import sample_course
from notebook_shelf import NOTEBOOKS, ROOT

from utils.lessons import course as plan


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that asks for `stored` all the notebooks there are, by being there."""
    if "stored" in metafunc.fixturenames:
        metafunc.parametrize("stored", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@pytest.fixture(scope="session")
def course() -> plan.Course:
    return plan.read(ROOT)


@pytest.fixture
def planted(tmp_path) -> plan.Course:
    """A course in miniature: two lessons, nothing built."""
    return sample_course.plant(tmp_path)


@pytest.fixture
def pretended(planted) -> plan.Course:
    """The same, with its notebooks as a run would have left them."""
    sample_course.pretend(planted)
    return planted
