"""Each rule for notebooks is silent on a sound one and speaks when its guard is broken."""

import copy
import json

import nbformat
import notebook_rules as rules
import pytest
import sample_course
from nbformat.v4 import new_output

from utils.lessons import execute

CODE = "code"


def open_book(course, name="01_tiny"):
    chapter = course.chapter(name)
    notebook = nbformat.read(chapter.notebook, as_version=4)
    return rules.Book(chapter.notebook, notebook, chapter, course)


def tagged(book, tag):
    return book.tagged(tag)[0]


def put(book, source, kind="markdown", at=-1, tags=()):
    """Insert a cell; code gets no count, which other rules may then notice."""
    make = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
    book.notebook.cells.insert(at, make(source, metadata={"tags": list(tags)}))


def edit(tag, old, new):
    def breakage(book):
        cell = tagged(book, tag)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return breakage


def markdown(source):
    return lambda book: put(book, source)


def code(source, *tags):
    return lambda book: put(book, source, CODE, tags=tags)


def output(made):
    return lambda book: tagged(book, "export").outputs.append(copy.deepcopy(made))


def metadata(key, value):
    def breakage(book):
        book.notebook.metadata[key] = value

    return breakage


def cell_metadata(tag, key, value):
    def breakage(book):
        tagged(book, tag).metadata[key] = value

    return breakage


def drop(tag):
    return lambda book: book.notebook.cells.remove(tagged(book, tag))


def twice(tag):
    return lambda book: book.notebook.cells.insert(3, copy.deepcopy(tagged(book, tag)))


def retag(tag, *tags):
    return cell_metadata(tag, "tags", list(tags))


def stream(name, text):
    return output(new_output("stream", name=name, text=text))


def show(data, **meta):
    return output(new_output("display_data", data=data, metadata=meta))


def swap_parts(book):
    first, second = (c for c in book.notebook.cells if c.source.startswith(("## 1", "## 2")))
    first.source, second.source = second.source, first.source


def rename_part(book):
    cell = next(c for c in book.notebook.cells if c.source.startswith("## 2. PyTorch"))
    cell.source = "## 2. Torch"


def renumber_part(book):
    cell = next(c for c in book.notebook.cells if c.source.startswith("## 2. PyTorch"))
    cell.source = "## 3. PyTorch"


def unslide_part(book):
    cell = next(c for c in book.notebook.cells if c.source.startswith("## 2. PyTorch"))
    del cell.metadata["slideshow"]


def count(number):
    def breakage(book):
        tagged(book, "export").execution_count = number

    return breakage


def clear_same_model(book):
    tagged(book, "same-model").outputs = []


def on_disk(breakage):
    """Break the file and not only the notebook that was read from it."""

    def both(book):
        breakage(book)
        book.path.write_text(json.dumps(book.notebook), encoding="utf-8")

    return both


@on_disk
def bloat(book):
    show({"text/plain": "x" * 1_000_001})(book)


def move_setup(book):
    cells = book.notebook.cells
    cells.insert(4, cells.pop(1))


@on_disk
def same_id(book):
    book.notebook.cells[5].id = book.notebook.cells[4].id


@on_disk
def other_kernel(book):
    book.notebook.metadata.kernelspec.name = "conda-env-mine"


@on_disk
def not_a_notebook(book):
    book.notebook.cells[3]["surprise"] = 1


def import_outside_its_section(book):
    tagged(book, "keras").source = "print(torch.tensor(1))\nimport keras"


def own_sections_do_not_import(book):
    tagged(book, "keras").source = "x = 1"


PNG = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 1x1>"}
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, **PNG}
ERROR = new_output("error", ename="ValueError", evalue="no", traceback=[])

BREAKAGES = [
    ("valid_format", same_id, "occurs 2 times"),
    ("valid_format", other_kernel, "conda-env-mine"),
    ("valid_format", not_a_notebook, "surprise"),
    ("heading_levels", markdown("# Another title"), "2 headings of level 1"),
    ("heading_levels", markdown("#### Deep"), "jumps from level 2 to 4"),
    ("heading_levels", edit("header", "# A tiny model", "A tiny model"), "0 headings of level 1"),
    ("twelve_parts", markdown("## A part too many"), "4 parts"),
    ("twelve_parts", swap_parts, "part 1 "),
    ("twelve_parts", rename_part, "'2. Torch', not 'PyTorch'"),
    ("twelve_parts", renumber_part, "part 2 calls itself '3. PyTorch'"),
    ("furniture", edit("setup", "import os", "import os, re"), "setup cell is not as"),
    ("furniture", edit("header", "run a notebook", "fly"), "header cell is not as"),
    ("furniture", edit("navigation", "Previous", "Next"), "navigation cell is not as"),
    ("furniture", drop("navigation"), "navigation cell must be"),
    ("furniture", twice("setup"), "found [2, 4]"),
    ("furniture", move_setup, "setup cell must be cell 2"),
    ("furniture", edit("setup", "# @title Set-up: ", "# "), "no title"),
    ("furniture", cell_metadata("setup", "jupyter", {}), "not folded"),
    ("never_installs", code("!pip install torch"), "installs packages"),
    ("never_installs", code("%conda install numpy"), "installs packages"),
    ("parameters", edit("parameters", "SEED = 0", "SEED = 1 + 1"), "NAME = literal"),
    ("parameters", edit("parameters", "SEED = 0", "seed = 0"), "SEED is missing"),
    ("parameters", edit("parameters", '"quick"  #', '"full"  #'), "stored with PROFILE = 'full'"),
    ("parameters", edit("parameters", '"keras"]', '"jax"]'), "jax"),
    ("parameters", edit("parameters", "# @param", "#"), "no Colab field"),
    ("parameters", drop("parameters"), "0 parameters cells"),
    ("parameters", twice("parameters"), "2 parameters cells"),
    ("executed_in_order", count(None), "carries the count None"),
    ("executed_in_order", count(99), "carries the count 99"),
    ("executed_in_order", output(ERROR), "holds an error"),
    ("executed_in_order", stream("stderr", "Warning: x"), "wrote to stderr"),
    ("nothing_passing_stored", metadata("widgets", {}), "metadata.widgets"),
    ("nothing_passing_stored", metadata("papermill", {}), "metadata.papermill"),
    ("nothing_passing_stored", metadata("language_info", {"version": "3"}), "version"),
    ("nothing_passing_stored", cell_metadata("export", "execution", {}), "'execution'"),
    ("nothing_passing_stored", cell_metadata("export", "papermill", {}), "'papermill'"),
    ("nothing_passing_stored", show(WIDGET), "stores a widget"),
    ("size", bloat, "1.01 MB"),
    ("short_cells", code("x = 1\n" * 41), "has 41 lines"),
    ("short_cells", markdown("A line.\n\n" * 21), "lines"),
    ("pictures_in_words", show(PNG), "1 pictures without a text"),
    ("pictures_in_words", show(PNG, **{"image/png": {"alt": " "}}), "1 pictures without"),
    ("pictures_in_words", markdown("![](figure.png)"), "no alt text"),
    ("pictures_in_words", markdown('<img src="a.png" alt="">'), "no alt text"),
    ("known_tags", code("x = 1", "exprot"), "'exprot' is unknown"),
    ("same_model_compared", retag("same-model", "same-model"), "not compared"),
    ("same_model_compared", retag("same-model", "nbval-check-output"), "no cell is tagged"),
    ("same_model_compared", clear_same_model, "not compared"),
    ("slides", unslide_part, "'2. PyTorch' does not begin a slide"),
    ("slides", cell_metadata("export", "slideshow", {"slide_type": "side"}), "'side'"),
    ("no_machine_paths", stream("stdout", "read /home/ann/data/x.gz"), "/home/ann/data/x.gz"),
    ("no_machine_paths", stream("stdout", "in '/Users/bo/course'"), "/Users/bo/course"),
    ("no_machine_paths", show({"text/plain": r"C:\Users\bo"}), "C:"),
    ("no_machine_paths", show({"text/html": "<b>/tmp/a/b</b>"}), "/tmp/a/b"),
    ("imports_in_their_sections", code("import torch"), "not tagged so"),
    ("imports_in_their_sections", code("from keras import ops", "torch"), "imports keras"),
    ("imports_in_their_sections", import_outside_its_section, "uses torch, imported for another"),
    ("imports_in_their_sections", own_sections_do_not_import, "no cell tagged keras imports it"),
    ("tensors_come_home", edit("torch", "(3.0))", "(3.0)).numpy()"), "lacks .cpu()"),
    ("tensors_come_home", edit("torch", "torch.tensor", "torch.from_numpy"), "may be on a GPU"),
    ("links", markdown("[gone](missing.ipynb)"), "missing.ipynb leads to nothing"),
    ("links", markdown("![gone](figures/a.png)"), "leads to nothing"),
    ("links", markdown("[no](../../README.md#nowhere)"), "no such place in README.md"),
    ("links", markdown("[no](#nowhere)"), "no such place in 01_tiny.ipynb"),
    ("links", markdown("[plain](http://example.org/a)"), "no https address"),
    ("links", markdown("[local](https://localhost/x)"), "no https address"),
    ("links", markdown('<a href="gone.html">x</a>'), "gone.html leads to nothing"),
    ("badges", edit("header", "blob/main/chapters", "blob/main/lessons"), "Colab badge"),
    ("badges", edit("header", "lab/tree/chapters/01_models", "lab/tree"), "Binder badge"),
    ("badges", edit("header", "github/fallback/course", "github/other/course"), "Binder badge"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A course whose notebooks break no rule; tests change copies of them."""
    planted = sample_course.plant(tmp_path_factory.mktemp("sound"))
    sample_course.pretend(planted)
    return planted


@pytest.fixture
def book(sound):
    opened = open_book(sound)
    before = opened.path.read_bytes()
    yield opened
    opened.path.write_bytes(before)


@pytest.mark.parametrize("name", rules.RULES)
@pytest.mark.parametrize("notebook", ["00_first", "01_tiny"])
def test_a_sound_notebook_is_left_alone(sound, name, notebook):
    assert rules.RULES[name](open_book(sound, notebook)) == []


@pytest.mark.parametrize(("name", "breakage", "words"), BREAKAGES)
def test_a_rule_speaks_when_its_guard_is_broken(book, name, breakage, words):
    breakage(book)
    assert words in "\n".join(rules.RULES[name](book))


def test_every_rule_has_been_broken():
    assert {name for name, _, _ in BREAKAGES} == set(rules.RULES)


@pytest.mark.parametrize(
    "source",
    [
        "[the start](../00_first/00_first.ipynb) and [its map](../../README.md#chapter-map)",
        "[above](#1.-The-idea), [above](#1-the-idea)",
        "[a paper](https://arxiv.org/abs/1312.6114) (https://example.org/a_(b))",
        "`[not a link](gone.md)`",
        "```\n[not a link](gone.md)\n# Not a heading\n```",
        "![a cat](https://example.org/cat.png)",
        "$x^{[l]}(y)$ is a formula",
    ],
)
def test_sound_markdown_is_left_alone(book, source):
    put(book, source)
    for name in ("links", "heading_levels", "pictures_in_words"):
        assert rules.RULES[name](book) == []


@pytest.mark.parametrize(
    "outputs",
    [
        [new_output("display_data", data=PNG, metadata={"image/png": {"alt": "a line"}})],
        [
            new_output("display_data", data=PNG),
            new_output("stream", name="stdout", text="done\nFigure: a falling line\n"),
        ],
        [new_output("display_data", data={**PNG, "text/plain": "Figure: a falling line"})],
        [new_output("stream", name="stdout", text="https://x.org/home/a/b, 3/4, and/or, ~/data/x")],
    ],
)
def test_sound_outputs_are_left_alone(book, outputs):
    tagged(book, "export").outputs = outputs
    for name in ("pictures_in_words", "no_machine_paths", "executed_in_order"):
        assert rules.RULES[name](book) == []


def test_a_cell_may_be_allowed_to_warn(book):
    stream("stderr", "careful")(book)
    assert rules.RULES["executed_in_order"](book) != []
    tagged(book, "export").metadata["tags"].append("allow-stderr")
    assert rules.RULES["executed_in_order"](book) == []
    assert execute.stderr(book.tagged("allow-stderr")[0]) == "careful"
