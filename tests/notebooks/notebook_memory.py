"""A plugin for the pytest that runs nbval: writes down the peak memory of the notebook's kernel."""

import json
import os
import sys
from pathlib import Path

import psutil

_peak = {"peak_mb": 0.0}


def _held(pid: int) -> float:
    """The most memory a process has held, in MB (10⁶ bytes); where only now can be seen, now."""
    if sys.platform == "linux":
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return psutil.Process(pid).memory_info().rss / 1e6


def pytest_runtest_teardown(item) -> None:
    """After each cell, while the kernel still lives."""
    kernel = getattr(item.parent, "kernel", None)
    if kernel is not None and kernel.is_alive():
        _peak["peak_mb"] = max(_peak["peak_mb"], _held(kernel.km.provisioner.pid))
        Path(os.environ["NOTEBOOK_MEMORY"]).write_text(json.dumps(_peak))
