"""An error in the learner's function is shown with the line of the learner's own cell."""

import numpy as np
import pytest

from utils.exercises import Exercise

mean = Exercise(
    "mean",
    "Write mean(x).",
    solution=lambda x: x.mean(axis=1),
    cases=[(np.array([[0.0, 1.0], [2.0, 5.0]]),), lambda rng: (rng.normal(size=(4, 3)),)],
    wrong=[(lambda x: x.mean(), "one mean for all."), (lambda x: x.sum(1), "the sum.")],
)


@pytest.fixture
def shell():
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.user_ns["mean"] = mean
    yield shell
    InteractiveShell.clear_instance()


def test_an_error_shows_the_line_of_the_learners_cell(shell, capsys):
    shell.run_cell(
        "import numpy as np\n\n"
        "def mine(x):\n"
        "    total = np.sum(x)\n"
        "    return total / x.missing\n\n"
        "mean.check(mine)"
    )
    said = capsys.readouterr().out
    assert "stops in line 5 (`return total / x.missing`): it raises AttributeError" in said


def test_the_line_is_the_learners_not_the_librarys(shell, capsys):
    shell.run_cell(
        "import numpy as np\n"
        "class Mine:\n"
        "    def __call__(self, x):\n"
        "        return np.mean(x, axis='rows')\n"
        "mean.check(Mine())"
    )
    assert "stops in line 4 (`return np.mean(x, axis='rows')`)" in capsys.readouterr().out
