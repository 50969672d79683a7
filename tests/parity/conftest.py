"""Every test here starts from the same random numbers, so that it fails every time or never."""

import pytest

from utils import runtime


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same initial weights on every run, whichever tests ran before."""
    runtime.load(*runtime.FRAMEWORKS)
    runtime.seed_everything(0)
