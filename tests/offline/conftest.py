"""Every test here has a machine without a network."""

from pathlib import Path

import pytest
from offline_island import Island


@pytest.fixture
def island(tmp_path: Path) -> Island:
    """A machine without a network."""
    return Island(tmp_path)
