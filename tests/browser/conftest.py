"""A real JupyterLab on a loopback port and a real browser in front of it."""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from course_lab import Lab, Notebook

# The windowed notebook keeps off-screen cells out of the page; news ask the network.
_SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none", "autoStartDefaultKernel": true}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "docmanager-extension/plugin": '{"autosave": false}',
}
_FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def lab(chromium: str, repository: Path, tmp_path_factory: Any, few_steps: str) -> Iterator[Lab]:
    """A JupyterLab with settings, workspaces and kernels of its own, and nothing of the user's."""
    pytest.importorskip("jupyterlab")
    home = tmp_path_factory.mktemp("lab")
    for name, text in _SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root = home / "root"
    _stand_in(repository, root)
    token, port = secrets.token_hex(16), _free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"]
    command += [f"--LabApp.user_settings_dir={home / 'settings'}"]
    command += [f"--LabApp.workspaces_dir={home / 'workspaces'}"]
    command += ["--LabApp.extension_manager=readonly"]
    with open(home / "server.log", "w") as log:
        # In a session of its own: interrupting the tests lets them end the server in good order.
        server = subprocess.Popen(
            command,
            env={**_environment(home, repository), "COURSE_STEPS": few_steps},
            cwd=root,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _until_it_answers(server, f"{url}/api?token={token}", home / "server.log")
            yield Lab(url, token, root)
        finally:
            server.terminate()  # shuts the kernels down too
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """Chromium, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_notebook(lab: Lab, browser: Any, request: Any) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook of the given cells (or an existing one) in a page of its own."""
    opened: list[Notebook] = []

    def open_one(
        cells: list[str] | nbformat.NotebookNode, width: int = 1240, folder: str = ""
    ) -> Notebook:
        name = re.sub(r"\W+", "_", request.node.name).strip("_") + ".ipynb"
        path = str(Path(folder, name)) if folder else name
        lab.write(path, cells)
        context = browser.new_context(viewport={"width": width, "height": 1000})
        notebook = Notebook(context.new_page(), lab, path, request.node.name)
        opened.append(notebook)
        notebook.open()
        return notebook

    yield open_one
    for notebook in opened:
        notebook.close()


def _stand_in(repository: Path, root: Path) -> None:
    """A course whose notebooks may be written to: everything else in it is the real one."""
    (root / "chapters").mkdir(parents=True)
    for entry in repository.iterdir():
        if entry.name != "chapters" and not entry.name.startswith("."):
            (root / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(home: Path, repository: Path) -> dict[str, str]:
    ours = {
        "PYTHONPATH": str(repository),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    unset = ("COURSE_HEADLESS", "JUPYTER_TOKEN", "JUPYTER_PATH", "JUPYTERLAB_DIR")
    return {k: v for k, v in os.environ.items() if k not in unset} | ours


def _until_it_answers(server: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
