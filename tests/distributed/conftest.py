"""What the tests of several processes share: the lesson, and a look at what is left."""

import pytest

from utils import cluster, lessons

MARKS = [pytest.mark.distributed, pytest.mark.slow]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "distributed":
            for mark in MARKS:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def lesson():
    """The exported cells of the notebook, as the scripts load them."""
    return lessons.load("18_distributed", "torch")


@pytest.fixture(autouse=True)
def nothing_left(request):
    """No process of this test, and no file, outlives it."""
    yield
    assert cluster.left_over() == []
