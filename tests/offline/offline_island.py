"""A learner's machine without a network, without data and with an empty cache."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass
class Island:
    """Runs commands that cannot reach the network, and knows who tried."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / "tmp").mkdir(exist_ok=True)

    @property
    def attempts(self) -> list[str]:
        """What wanted to leave: lines such as ``getaddrinfo example.org``."""
        log = self.home / "attempts"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def environment(self) -> dict[str, str]:
        """The variables of this machine: nothing of the course is set, every cache is empty."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith("COURSE_")}
        return keep | {
            "COURSE_CACHE": str(self.home / "cache"),
            "COURSE_NETWORK_LOG": str(self.home / "attempts"),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.home / "tmp"),
            **self.variables,
        }

    def run(
        self, *command: str, cwd: Path = ROOT, timeout: float = 120
    ) -> subprocess.CompletedProcess:
        """Run a command; its output is text."""
        return subprocess.run(
            [sys.executable, str(HERE / "without_network.py"), *command],
            cwd=cwd,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def python(self, code: str, timeout: float = 120) -> str:
        """Run Python code and return what it printed; it must not fail."""
        done = self.run(sys.executable, "-c", code, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return done.stdout
