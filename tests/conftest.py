"""What every test shares: a clean environment, and the means to skip what cannot run here."""

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

from utils._chromium import chromium_command, find_chromium
from utils.environment import nvidia

_private = ""
# A busy machine is slow, not wrong.
hypothesis.settings.register_profile("course", deadline=None)
hypothesis.settings.load_profile("course")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the settings of whoever runs the tests out of them, and the network too."""
    global _private
    _private = tempfile.mkdtemp(prefix="course-tests-")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "KERAS_HOME"):
        os.environ[name] = str(Path(_private, name.lower()))
    for name in ("KERAS_BACKEND", "COURSE_HEADLESS", "JUPYTER_PATH", "PYTHONSTARTUP"):
        os.environ.pop(name, None)
    # Data come from COURSE_DATA, the cache or scikit-learn: a test never waits for a mirror.
    os.environ.setdefault("COURSE_OFFLINE", "1")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the run has left in its private directories."""
    shutil.rmtree(_private, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a GPU where there is none."""
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if needy and not nvidia():
        for item in needy:
            item.add_marker(pytest.mark.skip(reason="there is no NVIDIA GPU here"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium that starts; without one the test is skipped, naming the remedy."""
    path = find_chromium()
    if path is None:
        pytest.skip(f"there is no Chromium here; to install it: {chromium_command()}")
    return path
