"""Data without a network, without COURSE_DATA and with an empty cache."""

import json
import sys
import time

import pytest

pytestmark = pytest.mark.offline

LOAD = """
import json
from utils import data
digits = data.mnist()
print(json.dumps([
    digits.source, str(digits.x_train.dtype), digits.x_train.shape, digits.x_test.shape,
    sorted(set(digits.y_train.tolist())), float(digits.x_train.std()),
]))
"""


def test_the_command_says_what_it_found_and_succeeds(island):
    started = time.monotonic()
    done = island.run(sys.executable, "-m", "utils.data")
    assert done.returncode == 0, done.stderr
    assert "embedded" in done.stdout
    assert "scikit-learn" in done.stdout
    assert island.attempts, "the mirrors were not even tried"
    assert time.monotonic() - started < 60, "a learner without a network has to wait"


def test_real_digits_stand_in(island):
    announcement, found = island.python(LOAD).strip().rsplit("\n", 1)
    source, dtype, train, test, labels, spread = json.loads(found)
    assert source == "embedded"
    assert dtype == "uint8"
    assert train[1:] == test[1:] == [28, 28]
    assert train[0] + test[0] == 1797
    assert labels == list(range(10))
    assert spread > 40, "these are not pictures"
    assert "not at hand" in announcement


def test_course_offline_does_not_even_knock(island):
    island.variables["COURSE_OFFLINE"] = "1"
    island.python(LOAD)
    assert island.attempts == []


def test_a_wrong_course_data_is_named_not_replaced(island):
    island.variables["COURSE_DATA"] = str(island.home / "nowhere")
    done = island.run(sys.executable, "-m", "utils.data")
    assert done.returncode == 1
    assert "COURSE_DATA" in done.stderr
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr
