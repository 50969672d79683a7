"""Fixtures that several unit tests share."""

import data_course
import pytest


@pytest.fixture
def server():
    """A web server on this machine that gives the small data files, with troubles to choose."""
    with data_course.serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder for MNIST's files in a course with nothing cached and no mirror yet."""
    return data_course.fresh_course(tmp_path, monkeypatch)
