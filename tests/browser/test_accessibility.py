"""axe-core on what the course shows in JupyterLab: its own outputs, in the light and dark theme."""

from collections.abc import Callable

import pytest
from accessibility import violations
from course_lab import Notebook
from test_panel_scenarios import EXPLORER, PANEL, TOY

WORDS = """
from utils import exercises, progress

exercises.predict("What happens to the loss?", ["It falls.", "It rises."], key="loss")
exercises.placement()
progress.Report()
"""


@pytest.fixture
def lively(open_notebook: Callable[..., Notebook]) -> Notebook:
    """A notebook with a run in its panel, a failed one, an explorer, a quiz and a prediction."""
    short = PANEL.replace('"steps", 20000', '"steps", 60')
    notebook = open_notebook([TOY, short, EXPLORER, WORDS])
    notebook.run_all()
    assert notebook.errors() == []
    notebook.button("Train").click()
    notebook.until_state("done")
    notebook.panel.get_by_label("Make a mistake").check()
    notebook.button("Train").click()
    notebook.until_state("failed")
    notebook.page.get_by_role("button", name="Where do I start?").click()
    notebook.settle()
    return notebook


def test_the_courses_outputs_are_accessible(lively: Notebook) -> None:
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        lively.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
        )
        lively.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light",
            arg=str("Light" in theme).lower(),
        )
        found, checked = violations(lively.page, ".jp-OutputArea-output")
        assert found == [], "\n".join([theme, *found])
        assert {"label", "button-name", "color-contrast", "image-alt"} <= checked, "it saw little"
