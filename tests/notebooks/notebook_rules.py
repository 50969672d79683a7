"""What every stored notebook keeps to. Each rule returns the breaches it finds, in words.

`test_notebook_structure.py` sweeps the rules over the notebooks that exist;
`test_notebook_rules.py` breaks each of them once, on a small notebook, and sees it noticed.
"""

import ast
import builtins
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from utils.lessons import execute
from utils.lessons.build import SIZE_CAP, WIDGET
from utils.lessons.course import Chapter, Course
from utils.lessons.furniture import Furniture, slug_in
from utils.runtime import FRAMEWORKS

PARAMETERS = ("PROFILE", "FRAMEWORKS", "SEED", "DEVICE", "KERAS_BACKEND")
TAGS = {
    *("header", "setup", "parameters", "navigation"),
    *FRAMEWORKS,
    *("export", "same-model"),
    *("nbval-check-output", "nbval-ignore-output", "allow-stderr"),
}
SLIDES = {"slide", "subslide", "fragment", "skip", "notes", "-"}
LINES = 40
_AWAY = re.compile(r"^(?!\s*#).*((?<!cpu\(\))\.numpy\(\)|torch\.from_numpy\()")


@dataclasses.dataclass
class Book:
    """A stored notebook with what the rules need to know about it."""

    path: Path
    notebook: NotebookNode
    chapter: Chapter
    course: Course

    def code(self) -> Iterator[tuple[int, NotebookNode]]:
        """Code cells, numbered as in the margin."""
        return execute.code_cells(self.notebook)

    def tagged(self, tag: str) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if tag in execute.tags(cell)]


RULES: dict[str, Callable[[Book], list[str]]] = {}


def rule(check: Callable[[Book], list[str]]) -> Callable[[Book], list[str]]:
    RULES[check.__name__] = check
    return check


def headings(book: Book) -> list[tuple[int, str, NotebookNode]]:
    """Level, text and cell of every heading; fenced code is not searched."""
    found = []
    for cell in book.notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.MULTILINE | re.DOTALL)
            for marks, title in re.findall(r"^(#{1,6})\s+(.+?)\s*$", text, flags=re.MULTILINE):
                found.append((len(marks), title, cell))
    return found


@rule
def valid_format(book: Book) -> list[str]:
    # As it lies on disk: nbformat mends what it opens.
    raw = json.loads(book.path.read_text(encoding="utf-8"))
    ids = Counter(cell.get("id") for cell in raw["cells"])
    wrong = [f"the cell id {name!r} occurs {n} times" for name, n in ids.items() if n > 1]
    name = raw["metadata"].get("kernelspec", {}).get("name")
    wrong += [] if name == "python3" else [f"the kernel is {name!r}, not python3"]
    if wrong:
        return wrong
    try:
        nbformat.validate(raw)
    except nbformat.ValidationError as error:
        wrong.append(str(error).split("\n")[0])
    return wrong


@rule
def heading_levels(book: Book) -> list[str]:
    levels = [level for level, _, _ in headings(book)]
    wrong = [] if levels.count(1) == 1 else [f"{levels.count(1)} headings of level 1, not one"]
    if levels and levels[0] != 1:
        wrong.append("the first heading is not the title")
    for (before, _, _), (level, title, _) in zip(headings(book), headings(book)[1:], strict=False):
        if level > before + 1:
            wrong.append(f"{title!r} jumps from level {before} to {level}")
    return wrong


@rule
def twelve_parts(book: Book) -> list[str]:
    if not book.chapter.algorithm:
        return []
    found = [title for level, title, _ in headings(book) if level == 2]
    wrong = []
    if len(found) != len(book.course.anatomy):
        wrong.append(f"{len(found)} parts (H2), not {len(book.course.anatomy)}: {found}")
    for number, (wanted, title) in enumerate(zip(book.course.anatomy, found, strict=False), 1):
        numbered = re.match(r"(\d+)\. ", title)
        if numbered and int(numbered.group(1)) != number:
            wrong.append(f"part {number} calls itself {title!r}")
        if not re.sub(r"^\d+\. ", "", title).startswith(wanted):
            wrong.append(f"part {number} is {title!r}, not {wanted!r}")
    return wrong


@rule
def furniture(book: Book) -> list[str]:
    """The generated cells stand where they belong, once, and say what the course says now."""
    cells, wrong = book.notebook.cells, []
    places = {"header": 0, "setup": 1, "parameters": 2, "navigation": len(cells) - 1}
    for kind, place in places.items():
        found = [i for i, cell in enumerate(cells) if kind in execute.tags(cell)]
        if found != [place]:
            wrong.append(
                f"the {kind} cell must be cell {place + 1}: found {[i + 1 for i in found]}"
            )
    slug = slug_in(cells[0].source) or book.course.slug
    lesson = book.chapter.lesson.read_text(encoding="utf-8")
    for kind, source in (
        Furniture(book.course, book.course.built, slug).cells(book.chapter, lesson).items()
    ):
        if any(cell.source != source for cell in book.tagged(kind)):
            wrong.append(f"the {kind} cell is not as it is generated")
    for cell in book.tagged("setup"):
        if not cell.source.startswith("# @title Set-up: "):
            wrong.append("the set-up cell has no title for Colab")
        if not cell.metadata.get("jupyter", {}).get("source_hidden"):
            wrong.append("the set-up cell is not folded")
    return wrong


@rule
def never_installs(book: Book) -> list[str]:
    found = [n for n, c in book.code() if re.search(r"\b(pip3?|conda|uv)\b.*\binstall\b", c.source)]
    return [f"cell {number} installs packages" for number in found]


@rule
def parameters(book: Book) -> list[str]:
    cells = book.tagged("parameters")
    if len(cells) != 1 or cells[0].cell_type != "code":
        return [f"{len(cells)} parameters cells, not one"]
    try:
        values = execute.literals(cells[0].source)
    except Exception as error:
        return [str(error)]
    wrong = [f"the parameter {name} is missing" for name in PARAMETERS if name not in values]
    if not wrong and values["PROFILE"] != "quick":
        wrong.append(f"stored with PROFILE = {values['PROFILE']!r}")
    if not wrong and not set(values["FRAMEWORKS"]) <= set(FRAMEWORKS):
        wrong.append(f"FRAMEWORKS = {values['FRAMEWORKS']!r}")
    missing = [line for line in cells[0].source.splitlines() if line and "# @param" not in line]
    return wrong + [f"no Colab field (# @param) on the line {line!r}" for line in missing]


@rule
def executed_in_order(book: Book) -> list[str]:
    wrong = []
    for number, cell in book.code():
        if cell.execution_count != number:
            wrong.append(f"cell {number} carries the count {cell.execution_count}")
        if any(output.output_type == "error" for output in cell.outputs):
            wrong.append(f"cell {number} holds an error")
        if execute.stderr(cell) and "allow-stderr" not in execute.tags(cell):
            wrong.append(f"cell {number} wrote to stderr: {execute.stderr(cell)[:80]!r}")
    return wrong


@rule
def nothing_passing_stored(book: Book) -> list[str]:
    metadata = book.notebook.metadata
    wrong = [f"metadata.{key} is stored" for key in ("widgets", "papermill") if key in metadata]
    if "version" in metadata.get("language_info", {}):
        wrong.append("metadata.language_info.version is stored")
    for number, cell in enumerate(book.notebook.cells, start=1):
        for key in ("papermill", "execution", "ExecuteTime", "lines_to_next_cell"):
            if key in cell.metadata:
                wrong.append(f"cell {number} (of all) stores the metadata {key!r}")
        for output in cell.get("outputs", ()):
            if WIDGET in output.get("data", {}):
                wrong.append(f"cell {number} (of all) stores a widget that GitHub cannot show")
    return wrong


@rule
def tensors_come_home(book: Book) -> list[str]:
    # A tensor on a GPU has no numpy(): on a CPU nobody would notice.
    found = [cell for cell in book.tagged("torch") if cell.cell_type == "code"]
    far = [line for c in found for line in c.source.splitlines() if _AWAY.search(line)]
    return [f"a tensor that may be on a GPU: {line.strip()!r} lacks .cpu()" for line in far]


@rule
def size(book: Book) -> list[str]:
    found = book.path.stat().st_size
    return [] if found <= SIZE_CAP else [f"{found / 1e6:.2f} MB, more than {SIZE_CAP / 1e6:.0f} MB"]


@rule
def short_cells(book: Book) -> list[str]:
    cells = enumerate(book.notebook.cells, start=1)
    counts = [(number, len(cell.source.splitlines())) for number, cell in cells]
    return [f"cell {n} (of all) has {count} lines" for n, count in counts if count > LINES]


@rule
def pictures_in_words(book: Book) -> list[str]:
    """Every stored picture has a text alternative or a line ``Figure: ...`` beside it."""
    wrong = []
    for number, cell in book.code():
        silent, lines = 0, 0
        for output in cell.outputs:
            data = output.get("data", {})
            printed = output.get("text", "") + data.get("text/plain", "")
            lines += len(re.findall(r"^Figure: *\S", printed, flags=re.MULTILINE))
            for kind in [kind for kind in data if kind.startswith("image/")]:
                silent += not output.metadata.get(kind, {}).get("alt", "").strip()
        if silent > lines:
            wrong.append(
                f"cell {number} has {silent} pictures without a text, {lines} Figure: lines"
            )
    for cell in book.notebook.cells:
        if cell.cell_type == "markdown":
            bare = re.findall(r"!\[\s*\]\([^)]*\)|<img(?![^>]*\balt=\"[^\"]+\")[^>]*>", cell.source)
            wrong += [f"no alt text: {found}" for found in bare]
    return wrong


@rule
def known_tags(book: Book) -> list[str]:
    used = {tag for cell in book.notebook.cells for tag in execute.tags(cell)}
    return [f"the tag {tag!r} is unknown" for tag in sorted(used - TAGS)]


@rule
def same_model_compared(book: Book) -> list[str]:
    if not book.chapter.algorithm:
        return []
    cells = book.tagged("same-model")
    wrong = [] if cells else ["no cell is tagged same-model"]
    for cell in cells:
        if "nbval-check-output" not in execute.tags(cell) or not cell.get("outputs"):
            wrong.append("the same-model cell is not compared (nbval-check-output, with an output)")
    return wrong


@rule
def slides(book: Book) -> list[str]:
    def kind(cell: NotebookNode) -> str | None:
        return cell.metadata.get("slideshow", {}).get("slide_type")

    used = {kind(cell) for cell in book.notebook.cells} - {None}
    wrong = [f"the slide type {name!r} is unknown" for name in sorted(used - SLIDES)]
    for level, title, cell in headings(book):
        if level <= 2 and kind(cell) != "slide":
            wrong.append(f"{title!r} does not begin a slide")
    return wrong


_MACHINE = re.compile(
    r"(?<![\w./:~-])/(?:home|Users|root|tmp|var|usr|opt|private|mnt|srv|work|workspace|content|kaggle)"
    r"/[\w./-]+|\b[A-Z]:\\\\?[A-Za-z]\w+"
)


@rule
def no_machine_paths(book: Book) -> list[str]:
    wrong = []
    for number, cell in book.code():
        for output in cell.outputs:
            data = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/p")}
            text = output.get("text", "") + json.dumps(data, ensure_ascii=False)
            wrong += [f"cell {number} shows the path {path}" for path in _MACHINE.findall(text)]
    return wrong


@rule
def imports_in_their_sections(book: Book) -> list[str]:
    """A learner can run one framework's cells alone: they import what they use."""
    imported, used = {}, {}
    for number, cell in book.code():
        mine = tuple(tag for tag in execute.tags(cell) if tag in FRAMEWORKS)
        roots, names, loads = _names(cell.source)
        imported[number], used[number] = (mine, roots, names), (mine, loads)
    wrong = []
    for number, (mine, roots, _) in imported.items():
        for framework in (roots & set(FRAMEWORKS)) - set(mine):
            wrong.append(f"cell {number} imports {framework} but is not tagged so")
    for framework in sorted({tag for mine, _, _ in imported.values() for tag in mine}):
        cells = [entry for entry in imported.values() if framework in entry[0]]
        if not any(framework in roots for _, roots, _ in cells):
            wrong.append(f"no cell tagged {framework} imports it")
        own = set().union(
            *(names for mine, _, names in imported.values() if not set(mine) - {framework})
        )
        foreign = set().union(
            *(names for mine, _, names in imported.values() if set(mine) - {framework})
        )
        for number, (mine, loads) in used.items():
            if mine == (framework,) and loads & (foreign - own):
                name = sorted(loads & (foreign - own))[0]
                wrong.append(f"cell {number} ({framework}) uses {name}, imported for another one")
    return wrong


def _names(source: str) -> tuple[set[str], set[str], set[str]]:
    """Packages imported, names that the imports bind, and names read."""
    plain = "\n".join(line for line in source.splitlines() if not re.match(r"\s*[%!]", line))
    roots, names, loads = set(), set(), set()
    for node in ast.walk(ast.parse(plain)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            loads.add(node.id)
    return roots, names, loads - set(dir(builtins))


_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\]\([^)]*\))*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_ATTRIBUTE = re.compile(r"\b(?:href|src)=[\"']([^\"']+)[\"']")


def links_in(text: str) -> list[str]:
    """Every address that a Markdown text links to or shows, nested badges included."""
    without_code = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    inner = re.findall(r"!\[[^\]]*\]\(\s*<?([^)\s>]+)", without_code)
    found = _LINK.findall(without_code) + inner + _ATTRIBUTE.findall(without_code)
    found += re.findall(r"<(https?://[^>\s]+)>", without_code)
    return list(dict.fromkeys(found))


@rule
def links(book: Book) -> list[str]:
    cells = [cell.source for cell in book.notebook.cells if cell.cell_type == "markdown"]
    return broken_links("\n\n".join(cells), book.path)


@rule
def badges(book: Book) -> list[str]:
    """The badges open this very file."""
    text, address = book.notebook.cells[0].source, book.chapter.address
    slug, branch = slug_in(text), book.course.branch
    wanted = {
        "Colab": f"](https://colab.research.google.com/github/{slug}/blob/{branch}/{address})",
        "Binder": f"](https://mybinder.org/v2/gh/{slug}/{branch}?urlpath=lab/tree/{address})",
    }
    return [
        f"the {name} badge does not open {address}"
        for name, end in wanted.items()
        if end not in text
    ]


def broken_links(text: str, path: Path) -> list[str]:
    """Links in `text`, which stands in the file `path`, that lead nowhere or are malformed."""
    wrong = []
    for link in links_in(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link, flags=re.IGNORECASE):
            if not re.match(r"https://[\w-]+(\.[\w-]+)+(:\d+)?([/?#]\S*)?$", link):
                wrong.append(f"{link} is no https address")
            continue
        target, _, anchor = link.partition("#")
        where = (path.parent / target).resolve() if target else path
        if not where.exists():
            wrong.append(f"{link} leads to nothing")
        elif anchor and where.suffix in (".md", ".ipynb") and anchor.lower() not in _anchors(where):
            wrong.append(f"{link}: there is no such place in {where.name}")
    return wrong


def _anchors(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    titles = re.findall(r"^#{1,6}\s+(.+?)\s*$", text, flags=re.MULTILINE)
    # GitHub drops punctuation, Jupyter keeps it; both write dashes for spaces.
    github = {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}
    jupyter = {title.lower().replace(" ", "-") for title in titles}
    named = re.findall(r"\b(?:id|name)=\"([^\"]+)\"", text)
    return github | jupyter | {name.lower() for name in named}
