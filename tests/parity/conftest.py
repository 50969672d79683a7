"""What the parity tests share: their lesson in each framework, digits, the same random start."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from utils import data, lessons, runtime


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same initial weights on every run, whichever tests ran before."""
    runtime.load(*runtime.FRAMEWORKS)
    runtime.seed_everything(0)


@pytest.fixture(scope="module")
def lesson(request: Any) -> dict[str, ModuleType]:
    """The exported cells of the notebook that the test file calls NAME, for each framework."""
    return {name: lessons.load(request.module.NAME, name) for name in runtime.FRAMEWORKS}


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    """The digits that are at hand everywhere."""
    return data.mnist("embedded")


@pytest.fixture(scope="module")
def images(digits: data.Dataset) -> np.ndarray:
    """Their training images, (N, 784), uint8."""
    return data.flatten(digits.x_train)
