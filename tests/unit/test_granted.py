"""What a container grants: cores and memory, in either version of Linux's control groups."""

import math

import pytest

from utils import granted

GROUPS = {
    "version 2": (
        "0::/jobs/one\n",
        {"jobs/one/cpu.max": "150000 100000", "cpu.max": "max 100000"},
        1.5,
    ),
    "a parent's limit": ("0::/jobs/one\n", {"jobs/cpu.max": "50000 100000"}, 0.5),
    "the host's path": ("0::/docker/4fa6\n", {"cpu.max": "200000 100000"}, 2),
    "version 1": (
        "4:memory:/a\n3:cpu,cpuacct:/b\n0::/\n",
        {"cpu/b/cpu.cfs_quota_us": "300000", "cpu/b/cpu.cfs_period_us": "100000"},
        3,
    ),
    "no limit": ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
    "version 1, no limit": (
        "3:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        math.inf,
    ),
    "memory alone is limited": ("4:memory:/a\n", {"cpu/a/cpu.max": "1000 100000"}, math.inf),
    "nonsense": ("0::/\n", {"cpu.max": "a lot"}, math.inf),
}


def plant(folder, membership, files):
    (folder / "self").write_text(membership)
    for name, text in files.items():
        (folder / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fs" / name).write_text(text + "\n")


@pytest.mark.parametrize("membership, files, cores", GROUPS.values(), ids=GROUPS)
def test_a_containers_share_of_the_cores_is_read(tmp_path, membership, files, cores):
    plant(tmp_path, membership, files)
    assert granted.cores(tmp_path / "fs", tmp_path / "self") == cores
    assert granted.cores(tmp_path / "fs", tmp_path / "there is none") == math.inf


GROUPS_OF_MEMORY = {
    "version 2": ("0::/a\n", {"a/memory.max": "2147483648", "memory.max": "max"}, 2147.483648),
    "a parent's limit": ("0::/a/b\n", {"a/memory.max": "1000000", "a/b/memory.max": "max"}, 1),
    "version 1": ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "5000000"}, 5),
    "no limit": ("0::/\n", {"memory.max": "max"}, math.inf),
    "cores alone are limited": ("3:cpu:/a\n", {"cpu/a/memory.max": "1"}, math.inf),
    "nonsense": ("0::/\n", {"memory.max": "a lot"}, math.inf),
}


@pytest.mark.parametrize(
    "membership, files, mb", GROUPS_OF_MEMORY.values(), ids=GROUPS_OF_MEMORY.keys()
)
def test_a_containers_memory_is_read(tmp_path, membership, files, mb):
    plant(tmp_path, membership, files)
    assert granted.memory_mb(tmp_path / "fs", tmp_path / "self") == mb


def test_this_machine_grants_something():
    assert granted.cores() > 0 and granted.memory_mb() > 100
