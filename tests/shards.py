"""Which tests to run, where not all are wanted: a share of them, or what a change can have broken.

`--shard=2/3` takes the second of three shares that take about as long, by the seconds recorded in
`seconds.json` (`--record-seconds=tests/seconds.json` writes them afresh). `--since=REF` leaves out
the runs of notebooks whose lesson has not changed since that commit, provided that nothing but
lessons has. Without `--thorough` papermill runs one variant of a notebook instead of three,
by its number: PyTorch alone, TensorFlow alone, or Keras on PyTorch, in turn; and the browser, where
a notebook runs once more, opens every third notebook, with PyTorch alone.
"""

import json
import re
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

RECORD = Path(__file__).with_name("seconds.json")
_RUNS = ("test_notebook_nbval.py", "test_notebook_papermill.py", "test_chapters.py")
_VARIANTS = ("torch", "tensorflow", "keras on torch")
_ALONE = re.compile(rf"test_notebook_papermill\.py::.*\[(\d\d)_\w+-({'|'.join(_VARIANTS)})\]$")
_IN_A_BROWSER = re.compile(r"browser/test_chapters\.py::.*\[(\d\d)_\w+\]$")
_OF_A_LESSON = re.compile(r"(?:lessons|chapters)/\w+/(\w+)\.|(?:checkpoints|results)/(\d\d_\w+)\.")
_PROSE = re.compile(r"docs/|\w+\.md$|results/README\.md$")


def share(groups: Iterable[str], seconds: dict[str, float], which: str) -> set[str]:
    """The groups of one share, such as "2/3": the longest first, each to the share with least.

    Parameters
    ----------
    groups
        What must not be torn apart.
    seconds
        How long groups took; one that is not there counts as the median.
    which
        "2/3" for the second of three.

    Raises
    ------
    ValueError
        If `which` is no such share.
    """
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", which)
    if not found or int(found[1]) > int(found[2]):
        raise ValueError(
            f"--shard={which} names no share: write --shard=2/3 for the second of three"
        )
    number, shares = int(found[1]), int(found[2])
    usual = statistics.median(seconds.values()) if seconds else 1.0
    filled: list[tuple[float, list[str]]] = [(0.0, []) for _ in range(shares)]
    for group in sorted(set(groups), key=lambda g: (-seconds.get(g, usual), g)):
        least = min(range(shares), key=lambda i: (filled[i][0], i))
        total, names = filled[least]
        filled[least] = total + seconds.get(group, usual), [*names, group]
    return set(filled[number - 1][1])


def spared(test: str) -> bool:
    """Whether a test, by its id, is one of those that `--thorough` adds."""
    found = _ALONE.search(test)
    if found:
        return found[2] != _VARIANTS[int(found[1]) % 3]
    found = _IN_A_BROWSER.search(test)
    return bool(found) and int(found[1]) % 3 != 0


def changed(root: Path, since: str) -> list[str]:
    """The files that differ between a commit and the working tree.

    Raises
    ------
    ValueError
        If git knows no such commit.
    """
    command = ["git", "diff", "--name-only", since, "--"]
    git = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if git.returncode:
        raise ValueError(f"--since={since}: git says {git.stderr.strip()}")
    return git.stdout.split("\n")[:-1]


def needless(files: Iterable[str]) -> Callable[[str], bool]:
    """Says of a test, by its id, whether a change of these files cannot have broken it."""
    lessons = set()
    for file in files:
        of = _OF_A_LESSON.match(file)
        if of:
            lessons.add(of[1] or of[2])
        elif not _PROSE.match(file):
            return lambda test: False

    def untouched(test: str) -> bool:
        path, _, name = test.partition("::")
        of = re.search(r"\[(\d\d_\w+?)(?:-.*)?\]$", name)
        if path.rpartition("/")[2] not in _RUNS or not of:
            return False
        # a checkpoint is called after its notebook: 02_vae_2d belongs to 02_vae
        return not any(lesson.startswith(of[1]) for lesson in lessons)

    return untouched


class Recorder:
    """Adds up how long each group took, and writes it down when the tests are done."""

    def __init__(self, path: Path, group: Callable[[str], str]) -> None:
        self.path, self.group, self.seconds = path, group, defaultdict(float)

    def pytest_runtest_logreport(self, report: object) -> None:
        """Called for each phase of each test; side by side, in the process that leads."""
        self.seconds[self.group(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Write whole seconds and more; the quick ones count as one."""
        found = {name: max(1, round(s)) for name, s in sorted(self.seconds.items())}
        self.path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
