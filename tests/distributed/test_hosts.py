"""Two hosts on one machine, where network namespaces may be made."""

import json
import re

import pytest

from utils import CourseError, cluster, engines, hosts

STEPS = 6


@pytest.fixture(scope="module")
def two():
    reason = hosts.why_not()
    if reason:
        pytest.skip(f"there can be no two hosts on this machine: {reason}")
    made = hosts.Hosts("100mbit")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_left():
    """The hosts themselves live as long as this file's tests."""


def test_ddp_across_two_hosts_equals_one_process(two, lesson):
    found = engines.result(two.torch("ddp.py", "--steps", STEPS))
    assert engines.apart(found, lesson.alone(STEPS, 0)) < 1e-6


def test_multiworker_across_two_hosts_equals_one_process(two, lesson):
    found = engines.result(two.multiworker("--steps", STEPS))
    assert engines.apart(found, lesson.alone(STEPS, 0)) < 1e-6


def test_the_link_is_as_slow_as_it_says(two):
    """Bytes / bandwidth is a lower bound, less what the shaper lets pass at once."""
    size = 4_000_000
    with two.torch("allreduce.py", size // 4) as pair:
        engines.finish(pair)
        seconds = json.loads(re.search(r"measured (.*)", pair.text()).group(1))[str(size)]
    assert seconds > 0.8 * 8 * size / 1e8


def test_closing_twice_is_harmless_and_leaves_nothing(two):
    two.close()
    two.close()
    assert cluster.left_over() == []


def test_a_machine_that_cannot_says_why(monkeypatch):
    monkeypatch.setattr(hosts, "why_not", lambda: "the reason")
    with pytest.raises(CourseError, match="no two hosts on this machine: the reason"):
        hosts.Hosts("1gbit")
