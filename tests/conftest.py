"""What every test shares: a clean environment, and the means to skip what cannot run here."""

import json
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import shards

from utils._chromium import chromium_command, find_chromium
from utils.environment import nvidia
from utils.runtime import threads
from utils.upstream import triton_first

#: Here a real browser, or processes that talk to each other, share two cores with other tests: one
#: that fails is tried once more, and named as RERUN at the end; one that fails again has failed.
SECOND_TRY = ("browser", "distributed", "server")

_private = ""
# A busy machine is slow, not wrong.
hypothesis.settings.register_profile("course", deadline=None)
hypothesis.settings.load_profile("course")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `shards`."""
    group = parser.getgroup("course")
    group.addoption("--shard", help="a share of the tests: 2/3 is the second of three")
    group.addoption("--since", help="leave out runs of notebooks unchanged since this commit")
    group.addoption(
        "--thorough",
        action="store_true",
        help="leave nothing out: every variant in papermill, every notebook in the browser, whole "
        "trainings, long tests",
    )
    group.addoption("--record-seconds", type=Path, help="write how long each group of tests took")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the settings of whoever runs the tests out of them, and the network too."""
    global _private
    triton_first()  # tests import TensorFlow as they like
    _private = tempfile.mkdtemp(prefix="course-tests-")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "KERAS_HOME"):
        os.environ[name] = str(Path(_private, name.lower()))
    unset = ("KERAS_BACKEND", "COURSE_HEADLESS", "COURSE_STEPS", "JUPYTER_PATH", "PYTHONSTARTUP")
    for name in unset:
        os.environ.pop(name, None)
    # Data come from COURSE_DATA, the cache or scikit-learn: a test never waits for a mirror.
    os.environ.setdefault("COURSE_OFFLINE", "1")
    # A job that a script runs in the background ignores interrupts, and so would all it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["COURSE_PROGRESS"] = "off"  # what tests solve is not what the learner has solved
    path = config.getoption("--record-seconds")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(shards.Recorder(path, together))
    jobs = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if jobs > 1:  # the cores are shared out: more threads than cores make everything slower
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads() // jobs)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the run has left in its private directories."""
    shutil.rmtree(_private, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the options say, and skip what needs a GPU where there is none.

    With ``COURSE_REQUIRE_GPU=1`` its absence is an error: a run that is meant for a GPU must not be
    green because everything was skipped.
    """
    try:
        left_out = _left_out(config, [item.nodeid for item in items])
    except ValueError as mistake:
        raise pytest.UsageError(str(mistake)) from None
    if not config.getoption("--thorough"):
        left_out |= {item.nodeid for item in items if item.get_closest_marker("thorough")}
    if left_out:
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid in left_out])
        items[:] = [i for i in items if i.nodeid not in left_out]
    if config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if item.path.parent.name in SECOND_TRY:
                item.add_marker(pytest.mark.flaky(reruns=1))
    needy = [item for item in items if item.get_closest_marker("gpu")]
    required = os.environ.get("COURSE_REQUIRE_GPU", "") == "1"
    if (needy or required) and not nvidia():
        if required:
            raise pytest.UsageError(
                "COURSE_REQUIRE_GPU=1, but there is no NVIDIA GPU here that its driver can talk to."
            )
        for item in needy:
            item.add_marker(pytest.mark.skip(reason="there is no NVIDIA GPU here"))


def _left_out(config: pytest.Config, tests: list[str]) -> set[str]:
    """The tests that --shard and --since leave out, and that --thorough would add."""
    found = set() if config.getoption("--thorough") else set(filter(shards.spared, tests))
    if config.getoption("--since"):
        files = shards.changed(config.rootpath, config.getoption("--since"))
        found |= set(filter(shards.needless(files), tests))
    if config.getoption("--shard"):
        seconds = json.loads(shards.RECORD.read_text()) if shards.RECORD.exists() else {}
        groups = [together(test) for test in tests if test not in found]
        wanted = shards.share(groups, seconds, config.getoption("--shard"))
        found |= {test for test in tests if together(test) not in wanted}
    return found


def together(test: str) -> str:
    """The group of a test, by its id: a group stays on one worker and shares what is dear there.

    A file's tests share its fixtures, the browser tests one JupyterLab, and those of a notebook in
    one variant (the text in brackets) one run of it.
    """
    path, _, name = test.partition("::")
    folder = path.rpartition("/")[0]
    if folder.endswith("browser"):
        return folder
    variant = re.search(r"\[.*\]$", name) if folder.endswith("notebooks") else None
    return path + (variant.group() if variant else "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side (-n), send groups out in the order of collection: the longest come first.

    xdist's own groups (3.8, ``--dist loadgroup``) are written into test ids, which pytest 9.2 no
    longer lets it do: there each test goes out alone.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.fixture(scope="session")
def few_steps(pytestconfig: pytest.Config) -> str:
    """``COURSE_STEPS`` for the runs of a notebook: that it learns, its build has shown."""
    return "" if pytestconfig.getoption("--thorough") else "20"


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
