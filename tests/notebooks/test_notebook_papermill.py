"""papermill: every notebook runs with one framework alone, and nothing that fails is hidden."""

import functools

import nbformat
import notebook_runs as runs
import pytest
from notebook_shelf import NOTEBOOKS

from utils import CourseError
from utils.lessons import build, execute
from utils.runtime import FRAMEWORKS

pytestmark = [pytest.mark.notebooks, pytest.mark.slow, pytest.mark.timeout(1500)]

SEED = 7  # no notebook's default
# Keras on TensorFlow has no variant of its own: nbval runs it with the two others, and which names
# its cells may use is a rule. Without --thorough a notebook runs in one of these, by its
# number, and its trainings are cut short: that leaves the hour for more notebooks. The main branch
# runs all of them, whole.
VARIANTS = {
    "torch": {"FRAMEWORKS": ["torch"]},
    "tensorflow": {"FRAMEWORKS": ["tensorflow"]},
    "keras on torch": {"FRAMEWORKS": ["keras"], "KERAS_BACKEND": "torch"},
}


@pytest.fixture(scope="session")
def execution(tmp_path_factory, few_steps):
    """Run a notebook in a variant, once for all the tests that look at it."""

    @functools.cache
    def run(path, variant):
        parameters = {**VARIANTS[variant], "SEED": SEED}
        return runs.run_papermill(path, parameters, tmp_path_factory.mktemp(path.stem), few_steps)

    return run


@pytest.fixture
def run(stored, variant, execution):
    offered = defaults(stored)["FRAMEWORKS"]
    if not set(VARIANTS[variant]["FRAMEWORKS"]) <= set(offered):
        pytest.skip(f"{stored.stem} offers {', '.join(offered)}")
    return execution(stored, variant)


@pytest.fixture
def finished(run):
    if run.error:
        pytest.skip("the notebook failed: test_it_runs says how")
    return run


def defaults(path):
    cells = nbformat.read(path, as_version=4).cells
    return execute.literals(next(c for c in cells if "parameters" in execute.tags(c)).source)


def skipped(found):
    return [cell for cell in found.notebook.cells if execute.SKIP in execute.tags(cell)]


@pytest.mark.parametrize("variant", VARIANTS)
class TestOneFrameworkAlone:
    def test_it_runs(self, run):
        assert run.error is None

    def test_it_runs_its_own_sections_and_no_other(self, finished, variant):
        (mine,) = VARIANTS[variant]["FRAMEWORKS"]
        assert all(cell.execution_count is None and not cell.outputs for cell in skipped(finished))
        for framework in FRAMEWORKS:
            for cell in finished.tagged(framework):
                wanted = set(execute.tags(cell)) & set(FRAMEWORKS) == {mine}
                assert (cell.execution_count is not None) == wanted, cell.source

    def test_it_loads_no_other_framework(self, finished, variant):
        (mine,) = VARIANTS[variant]["FRAMEWORKS"]
        backend = VARIANTS[variant].get("KERAS_BACKEND")
        # Keras's optimisers work on bare TensorFlow variables, so TensorFlow may bring Keras.
        allowed = {mine, backend} | ({"keras"} if mine == "tensorflow" else set())
        assert set(finished.frameworks) <= allowed
        if mine == "keras" and "keras" in finished.frameworks:
            assert finished.backend == backend

    def test_no_widget_kept_an_error_to_itself(self, finished):
        assert execute.swallowed(finished.notebook) == []

    def test_it_is_quiet(self, finished):
        loud = [c for c in finished.notebook.cells if c.cell_type == "code" and execute.stderr(c)]
        assert [execute.stderr(c) for c in loud if "allow-stderr" not in execute.tags(c)] == []


def test_the_seed_is_not_the_default():
    assert all(defaults(path)["SEED"] != SEED for path in NOTEBOOKS)


# --- the same on the small course, broken on purpose --------------------------------------------


@pytest.fixture
def tiny(pretended):
    return pretended.chapter("01_tiny")


def rewrite(chapter, change):
    notebook = nbformat.read(chapter.notebook, as_version=4)
    change(notebook)
    build.write(notebook, chapter)


def insert(source, *tags):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})
    return lambda notebook: notebook.cells.insert(-1, cell)


def run_tiny(tiny, tmp_path, **parameters):
    folder = tmp_path / "runs"
    folder.mkdir()
    return runs.run_papermill(tiny.notebook, parameters, folder)


def test_parameters_arrive_and_other_sections_are_skipped(tiny, tmp_path):
    before = tiny.notebook.read_bytes()
    run = run_tiny(tiny, tmp_path, FRAMEWORKS=["torch"], SEED=SEED)
    assert run.error is None
    (same,) = run.tagged("same-model")
    assert same.outputs[0].text == "seed 7 frameworks ['torch'] half of 3: 1.5\n"
    assert len(run.tagged("injected-parameters")) == 1
    assert [cell.metadata["tags"] for cell in skipped(run)] == [["keras", execute.SKIP]]
    assert skipped(run)[0].outputs == []
    assert run.frameworks == ["torch"]
    assert tiny.notebook.read_bytes() == before


def test_the_other_section_runs_when_it_is_chosen(tiny, tmp_path):
    run = run_tiny(tiny, tmp_path, FRAMEWORKS=["keras"], KERAS_BACKEND="torch")
    assert run.frameworks == ["keras"]
    assert "the Keras section ran" in run.tagged("keras")[0].outputs[0].text


def test_a_section_that_needs_another_ones_import_fails(tiny, tmp_path):
    rewrite(tiny, insert("torch_half + 1", "keras"))
    run = run_tiny(tiny, tmp_path, FRAMEWORKS=["keras"])
    assert "NameError" in run.error


def test_an_error_in_a_widget_is_found(tiny, tmp_path):
    source = "import ipywidgets\nhidden = ipywidgets.Output()\nwith hidden:\n    1 / 0"
    rewrite(tiny, insert(source))
    run = run_tiny(tiny, tmp_path, FRAMEWORKS=["torch"])
    assert run.error is None, "papermill alone does not see it"
    assert execute.swallowed(run.notebook) == ["ZeroDivisionError: division by zero"]


def test_an_error_in_a_callback_is_found(tiny, tmp_path):
    rewrite(
        tiny,
        insert(
            "import ipywidgets\n\n\ndef draw(x):\n    return 1 / x\n\n\n"
            "ipywidgets.interact(draw, x=ipywidgets.IntSlider(value=0));"
        ),
    )
    run = run_tiny(tiny, tmp_path, FRAMEWORKS=["torch"])
    assert run.error is None
    assert execute.swallowed(run.notebook) == ["ZeroDivisionError: division by zero"]


PANEL = """
import sys

sys.path.insert(0, {root!r})
from utils.controls import Slider
from utils.panel import Panel


def train(settings, report):
    report(0, {{"loss": 1.0}})
    raise ValueError("broken on purpose")


panel = Panel({{"torch": train}}, [Slider("steps", 3, 1, 10)], "A panel", mode="thread")
panel.show()
panel.start()
panel.wait()
"""


def test_a_failed_run_in_a_live_panel_is_found(tmp_path, monkeypatch):
    environment = execute.environment()
    del environment["COURSE_HEADLESS"]  # without it the panel trains in a thread, and keeps errors
    monkeypatch.setattr(execute, "environment", lambda: environment)
    source = PANEL.format(root=str(runs.ROOT))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    execute.execute(notebook, tmp_path, "a notebook")
    assert any("failed run: Failed: run 1" in line for line in execute.swallowed(notebook))


class TestPrepare:
    def open(self, tiny):
        return nbformat.read(tiny.notebook, as_version=4)

    def test_the_original_is_not_touched(self, tiny):
        notebook = self.open(tiny)
        execute.prepare(notebook, {"FRAMEWORKS": ["keras"], "SEED": 3})
        assert notebook == self.open(tiny)

    def test_without_parameters_nothing_is_injected_or_skipped(self, tiny):
        assert execute.prepare(self.open(tiny)) == self.open(tiny)

    def test_the_notebooks_own_choice_of_frameworks_counts(self, tiny):
        notebook = self.open(tiny)
        cell = next(c for c in notebook.cells if "parameters" in execute.tags(c))
        cell.source = cell.source.replace('["torch", "keras"]', '["torch"]')
        prepared = execute.prepare(notebook)
        tags = [execute.tags(cell) for cell in prepared.cells]
        assert ["keras", execute.SKIP] in tags

    def test_a_cell_of_two_frameworks_needs_both(self, tiny):
        notebook = self.open(tiny)
        insert("pass", "torch", "keras")(notebook)
        for chosen, skip in ((["torch"], True), (["torch", "keras"], False)):
            cell = execute.prepare(notebook, {"FRAMEWORKS": chosen}).cells[-2]
            assert (execute.SKIP in execute.tags(cell)) == skip

    def test_a_parameter_that_does_not_exist_is_refused(self, tiny):
        with pytest.raises(CourseError, match="no parameter 'SEEDS': it has PROFILE, FRAMEWORKS"):
            execute.prepare(self.open(tiny), {"SEEDS": 1})

    def test_a_framework_that_does_not_exist_is_refused(self, tiny):
        with pytest.raises(CourseError, match="'jax' is unknown"):
            execute.prepare(self.open(tiny), {"FRAMEWORKS": ["jax"]})

    def test_a_notebook_without_parameters_is_refused(self, tiny):
        notebook = self.open(tiny)
        notebook.cells = [c for c in notebook.cells if "parameters" not in execute.tags(c)]
        with pytest.raises(CourseError, match='no cell tagged "parameters"'):
            execute.prepare(notebook, {"SEED": 1})

    @pytest.mark.parametrize(
        "source", ["x = y", "x = 1 + z", "print(1)", "a = b = 1", "x: int = 1"]
    )
    def test_parameters_are_literals(self, source):
        with pytest.raises(CourseError, match="NAME = literal"):
            execute.literals(source)
