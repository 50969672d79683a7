"""Driving JupyterLab: what the browser tests ask of a notebook, in their own words."""

import os
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import nbformat

# On a busy machine five seconds, Playwright's own patience, are too short.
PATIENCE = 30.0

_CELLS = "window.jupyterapp.shell.currentWidget.content.model.cells"
_KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
# The kernel has finished a cell. An asterisk says only that the page has asked for it, and a kernel
# that hung as it started may have called itself busy before.
_BEGUN = f"() => [...Array({_CELLS}.length).keys()].some(i => {_CELLS}.get(i).executionCount)"
_READY = (
    f"() => {{ try {{ return {_KERNEL}.status === 'idle' || {_KERNEL}.status === 'busy' }}"
    " catch (e) { return false } }"
)
# A kernel that has not answered after so many seconds never will: now and then one hangs as it
# starts. A reader restarts it, and so do we.
_START = 40.0
_TRIES = 3


class Lab:
    """A running JupyterLab server."""

    def __init__(self, url: str, token: str, root: Path) -> None:
        self.url, self.token, self.root = url, token, root

    def write(self, name: str, cells: list[str] | nbformat.NotebookNode) -> None:
        """Put a notebook without outputs into the server's folder."""
        if isinstance(cells, list):
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(source) for source in cells],
                metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            )
        else:
            notebook = cells
        for cell in notebook.cells:
            if cell.cell_type == "code":
                # A saved count would look like a finished run.
                cell.outputs, cell.execution_count = [], None
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, self.root / name)

    def forget_kernels(self) -> None:
        """Shut every kernel down, so that tests do not share the machine."""
        import json

        def ask(path: str, method: str = "GET") -> bytes:
            request = urllib.request.Request(
                f"{self.url}/api/{path}",
                method=method,
                headers={"Authorization": f"token {self.token}"},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read()

        for session in json.loads(ask("sessions")):
            ask(f"sessions/{session['id']}", "DELETE")


class Notebook:
    """A notebook open in a browser's page."""

    def __init__(self, page: Any, lab: Lab, name: str, test: str) -> None:
        self.page, self._lab, self._name, self._test = page, lab, name, test
        page.set_default_timeout(PATIENCE * 1000)
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    # -- the notebook ------------------------------------------------------------------------

    def open(self) -> None:
        """Load the page and wait for the kernel."""
        workspace = re.sub(r"\W", "-", self._name)
        self.page.goto(
            f"{self._lab.url}/lab/workspaces/{workspace}/tree/{self._name}?token={self._lab.token}"
        )
        self._until_ready()

    def reload(self) -> None:
        """Load the page again, as a reader does who closed the tab by mistake."""
        self.page.reload()
        self._until_ready()

    def _until_ready(self) -> None:
        for _ in range(_TRIES - 1):
            if self._soon(_READY):
                return
            self._another_kernel()
        self.page.wait_for_function(_READY, timeout=90_000)

    def _soon(self, condition: str) -> bool:
        """Whether `condition` holds within the time that a kernel takes to start."""
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            if self.page.evaluate(condition):
                return True
            time.sleep(0.1)
        return False

    def _another_kernel(self) -> None:
        print("The kernel does not answer: the page gets another one.")
        self._lab.forget_kernels()
        self.page.reload()

    def command(self, name: str) -> None:
        """Execute a command of JupyterLab without waiting for its end."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)

    def run_all(self, timeout: float = 180) -> None:
        """Run every cell and wait until all have run."""
        for _ in range(_TRIES):
            self.command("notebook:run-all-cells")
            if self._soon(_BEGUN):
                break
            self._another_kernel()
            self._until_ready()
        self.until_idle(timeout)
        self.settle()

    def settle(self) -> None:
        """Wait until widgets have stopped moving: a click on its way would miss its button."""

        def places() -> list:
            return self.page.evaluate(
                "() => [...document.querySelectorAll('.course-panel, .course-panel button')]"
                ".map(e => { const r = e.getBoundingClientRect();"
                "return [r.x, r.y, r.width, r.height] })"
            )

        seen = [places()]

        def still() -> bool:
            time.sleep(0.25)
            seen.append(places())
            return seen[-1] == seen[-2]

        until(still, bool, PATIENCE, "widgets at rest")

    def start_cell(self, index: int) -> None:
        """Run one cell without waiting for it."""
        self.page.evaluate(
            "i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i; }", index
        )
        self.command("notebook:run-cell")

    def rewrite_cell(self, index: int, source: str) -> None:
        """Put another text into a cell."""
        self.page.evaluate(
            f"([i, text]) => {{ {_CELLS}.get(i).sharedModel.setSource(text); }}", [index, source]
        )

    def run_cell(self, index: int, timeout: float = 60) -> None:
        """Run one cell and wait until the kernel is idle again."""
        before = self.counts()[index]
        self.start_cell(index)
        self.page.wait_for_function(
            f"([i, n]) => {_CELLS}.get(i).executionCount > n && {_KERNEL}.status === 'idle'",
            arg=[index, before or 0],
            timeout=timeout * 1000,
        )
        self.settle()

    def until_idle(self, timeout: float = 180) -> None:
        """Wait until every code cell has run, or one has failed, and the kernel rests."""
        try:
            self._wait_until_idle(timeout)
        except Exception as error:
            dialogs = self.page.locator(".jp-Dialog").all_inner_texts()
            raise AssertionError(
                f"the cells did not come to an end in {timeout} s: kernel {self.kernel_status()}, "
                f"counts {self.counts()}, errors {self.errors()}, dialogs {dialogs}"
            ) from error

    def _wait_until_idle(self, timeout: float) -> None:
        self.page.wait_for_function(
            f"() => {{ const cells = [...Array({_CELLS}.length).keys()].map(i => {_CELLS}.get(i))"
            ".filter(c => c.type === 'code' && c.sharedModel.getSource().trim());"
            "const failed = cells.some(c => [...Array(c.outputs.length).keys()]"
            ".some(i => c.outputs.get(i).type === 'error'));"
            f"return {_KERNEL}.status === 'idle' && (failed || cells.every(c => c.executionCount))"
            "}",
            timeout=timeout * 1000,
        )

    def counts(self) -> list[int | None]:
        """The execution count of every cell."""
        return self.page.evaluate(
            f"() => [...Array({_CELLS}.length).keys()].map(i => {_CELLS}.get(i).executionCount)"
        )

    def outputs(self, index: int | None = None) -> list[dict]:
        """The outputs of one cell, or of all, as the file would hold them."""
        found = self.page.evaluate(
            f"() => [...Array({_CELLS}.length).keys()].map(i => {_CELLS}.get(i))"
            ".map(c => c.type === 'code' ? c.outputs.toJSON() : [])"
        )
        return [out for cell in found for out in cell] if index is None else found[index]

    def errors(self) -> list[str]:
        """Every error among the outputs, as ``name: message``."""
        return [
            f"{out['ename']}: {out['evalue']}"
            for out in self.outputs()
            if out["output_type"] == "error"
        ]

    def kernel_status(self) -> str:
        """``idle``, ``busy`` …"""
        return self.page.evaluate(f"() => {_KERNEL}.status")

    def interrupt(self) -> None:
        """Press ■."""
        self.page.evaluate(f"() => {{ {_KERNEL}.interrupt(); }}")

    def save(self) -> nbformat.NotebookNode:
        """Save the file and read it."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        return nbformat.read(self._lab.root / self._name, as_version=4)

    # -- the panel ---------------------------------------------------------------------------

    @property
    def panel(self) -> Any:
        """The training panel (the last one, if there are several)."""
        return self.page.locator(".course-trainer").last

    def button(self, words: str) -> Any:
        """A button of the panel, by what stands on it."""
        # Not by accessible name: the icon's glyph is a part of that.
        return self.panel.locator("button", has_text=re.compile(f"^{words}$"))

    def data(self, name: str) -> str:
        """An attribute ``data-<name>`` of the loss curve."""
        return self.panel.locator("svg.cp-chart").get_attribute(f"data-{name}") or ""

    def step(self) -> int:
        """The last step that the chart shows."""
        return int(self.data("step"))

    def state(self) -> str:
        """The state that the panel shows."""
        return self.data("state")

    def until_state(self, *states: str, timeout: float = PATIENCE) -> str:
        """Wait until the panel shows one of `states`."""
        return until(self.state, lambda state: state in states, timeout, f"state in {states}")

    def until_step_beyond(self, step: int, timeout: float = PATIENCE) -> int:
        """Wait until the chart has passed `step`."""
        return until(self.step, lambda now: now > step, timeout, f"step > {step}")

    def rows(self) -> list[str]:
        """The rows of the table of runs, as text, the latest first."""
        return self.panel.locator("table.cp-runs tbody tr").all_inner_texts()

    def settled_step(self) -> int:
        """The step after the one under way is reported."""
        time.sleep(0.5)
        return self.step()

    @property
    def explorer(self) -> Any:
        """The first explorer."""
        return self.page.locator(".course-explorer").first

    def nudge(self, label: str, key: str, times: int = 1, box: Any = None) -> None:
        """Press a key on the slider with this label, and let the kernel hear of it.

        A slider that moves faster than the kernel answers keeps its last position to itself for
        a moment; a click right after it would overtake.
        """
        row = (box or self.panel).locator(".widget-hslider", has_text=re.compile(f"^{label}"))
        handle = row.get_by_role("slider")
        for _ in range(times):
            handle.press(key)
        # The page sends a slider's last value only when the kernel has answered an earlier one:
        # a button pressed at once would overtake it. No hand is that fast.
        self.page.wait_for_timeout(500)
        self.page.wait_for_function(f"() => {_KERNEL}.status === 'idle'")
        quiet = [False]
        while len(quiet) < 4 or not all(quiet[-3:]):
            time.sleep(0.15)
            quiet.append(self.kernel_status() == "idle")

    def image_bytes(self, box: Any) -> bytes:
        """The picture that a panel or explorer shows, as the browser has it."""
        box.locator("img.widget-image").first.wait_for()
        numbers = box.locator("img.widget-image").first.evaluate(
            "async e => [...new Uint8Array(await (await fetch(e.src)).arrayBuffer())]"
        )
        return bytes(numbers)

    def other_image(self, box: Any, before: bytes, timeout: float = PATIENCE) -> bytes:
        """Wait for a picture that differs from `before`."""
        return until(lambda: self.image_bytes(box), before.__ne__, timeout, "another picture")

    # -- the keyboard ------------------------------------------------------------------------

    def focused(self) -> str:
        """What has the keyboard, by its label or by what stands on it."""
        return self.page.evaluate(
            "() => { const e = document.activeElement;"
            "if (e.tagName === 'BUTTON') return e.textContent.trim();"
            "const box = e.closest('.jupyter-widgets');"
            "const words = [...(box || e).querySelectorAll('label, .widget-label-basic')]"
            ".map(label => label.textContent.replace('\\u200b', '').trim()).filter(Boolean);"
            "return words.length ? words[0] : e.tagName }"
        )

    def tab_to(self, label: str, back: bool = False) -> None:
        """Press Tab until the keyboard is at `label`."""
        seen = []
        for _ in range(40):
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            seen.append(self.focused())
            if seen[-1] == label:
                return
        raise AssertionError(f"Tab never came to {label!r}: it came to {seen}")

    def focus_ring(self) -> bool:
        """Whether what has the keyboard is marked."""
        return self.page.evaluate(
            "() => { const s = getComputedStyle(document.activeElement);"
            "return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 }"
        )

    # -- looks -------------------------------------------------------------------------------

    def theme(self, dark: bool) -> None:
        """Switch to JupyterLab's dark theme, or back."""
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            "JupyterLab Dark" if dark else "JupyterLab Light",
        )
        light = "false" if dark else "true"
        self.page.locator(f'body[data-jp-theme-light="{light}"]').wait_for(state="attached")

    def screenshot(self, what: str, target: Any = None) -> None:
        """Keep a screenshot of the page or of one element, if COURSE_SCREENSHOTS is set."""
        folder = os.environ.get("COURSE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            stem = re.sub(r"\W+", "_", self._test).strip("_")
            (target or self.page).screenshot(path=Path(folder) / f"{stem}-{what}.png")

    def close(self) -> None:
        """Leave the page and its kernel."""
        self.page.context.close()
        self._lab.forget_kernels()


def until(read: Any, wanted: Any, timeout: float, what: str) -> Any:
    """Call `read` until its value is `wanted`; fail saying what it was at last."""
    deadline = time.monotonic() + timeout
    while True:
        value = read()
        if wanted(value):
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}: it is {value!r}"
        time.sleep(0.05)
