"""The notebooks as slides: one HTML file each, cut where the lessons' slideshow metadata says.

Reveal.js and MathJax lie beside the slides, so that a lecture room needs no network.
"""

import base64
import re
import shutil
from pathlib import Path

import jinja2
import nbformat
from nbconvert import SlidesExporter
from traitlets.config import Config

from utils import CourseError
from utils.lessons.course import Course
from utils.lessons.execute import tags
from utils.lessons.furniture import about, words_for_badges

#: Where the tools of the website have what the slides need -> its name beside the slides.
ASSETS = {"sphinx_revealjs/_static/revealjs": "reveal.js", "sphinx-mathjax-offline/static": "."}
WIDTH, HEIGHT = 1280, 720  # pixels
ROOM = 680  # of the height: an estimate may be a line short
PICTURE = 560  # pixels, the tallest picture
SMALLEST = 0.5  # of its size: below it, letters of 7 pixels
LETTERS = 95  # in a line of prose
_OUTPUT = "output-alone"

# nbconvert's own template asks three servers for its scripts, and for an old MathJax.
_TEMPLATE = (
    """\
{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
<script>
MathJax = {
  tex: {inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]], tags: "ams"},
  options: {enableMenu: false},
  loader: {load: []},
};
</script>
<script defer src="mathjax/tex-chtml-full.js"></script>
{%- endblock -%}
{%- block html_head_css -%}
<style>
.reveal .slides { text-align: left; }
.reveal .slides section { padding: 0; }
.reveal h1, .reveal h2, .reveal h3 { text-transform: none; }
.reveal .slides section.tall { max-height: HEIGHTpx; overflow-y: auto; }
.reveal img { max-height: PICTUREpx; margin: 0; }
:root { --jp-code-font-size: 14px; --jp-cell-prompt-width: 0px; }
</style>
{%- endblock -%}
{%- block footer_js -%}
<script src="reveal.js/dist/reveal.js"></script>
<script src="reveal.js/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({
  controls: true, progress: true, history: true, hash: true, center: false, margin: 0.02,
  width: WIDTH, height: HEIGHT, plugins: [RevealNotes],
}).then(() => {
  // What is taller than the room, such as a wide table, is made smaller until it fits; lines grow
  // longer as it shrinks. Below SMALLEST nobody reads it: then it scrolls, by the keyboard too.
  const measure = () => {
    const slide = Reveal.getCurrentSlide();
    if (slide.dataset.size || slide.scrollHeight <= HEIGHT) { return; }
    const box = document.createElement("div");
    box.append(...slide.childNodes);
    slide.append(box);
    let size = 1;
    const fits = () => box.scrollHeight * size <= HEIGHT;
    while (!fits() && size > SMALLEST) {
      size -= 0.05;
      box.style.width = `${100 / size}%`;
    }
    box.style.transformOrigin = "top left";
    box.style.transform = `scale(${size})`;
    box.style.marginBottom = `${(size - 1) * box.scrollHeight}px`;
    slide.dataset.size = size.toFixed(2);
    if (!fits()) {
      slide.classList.add("tall");
      slide.tabIndex = 0;
    }
  };
  Reveal.on("slidechanged", measure);
  measure();
});
</script>
{%- endblock -%}
""".replace("WIDTH", str(WIDTH))
    .replace("HEIGHT", str(HEIGHT))
    .replace("PICTURE", str(PICTURE))
    .replace("SMALLEST", str(SMALLEST))
)


def slides(course: Course, tools: Path, names: list[str] | None = None) -> list[Path]:
    """Write ``build/slides/NAME.slides.html`` for each notebook, with its stored outputs.

    Parameters
    ----------
    course
        The plan, rooted in the repository.
    tools
        The environment of the website's tools, which carries reveal.js and MathJax
        (``make slides`` makes it).
    names
        Which notebooks; None or an empty list takes every one that is built.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    CourseError
        If a notebook is not built, or there is none at all, or the tools are not there.
    """
    chapters = [course.chapter(name) for name in names] if names else list(course.built)
    if not chapters:
        raise CourseError("No notebook is built yet: run `make notebooks` first.")
    for chapter in chapters:
        if not chapter.notebook.is_file():
            raise CourseError(f"{chapter.address} is not built yet: run `make notebooks` first.")
    folder = course.root / "build" / "slides"
    _place_assets(tools, folder)
    exporter = SlidesExporter(
        extra_loaders=[jinja2.DictLoader({"course.html.j2": _TEMPLATE})],
        template_file="course.html.j2",
        config=Config(
            TagRemovePreprocessor={"enabled": True, "remove_input_tags": {_OUTPUT}},
        ),
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        reveal_url_prefix="reveal.js",
        reveal_theme="white",  # its typeface comes with it
    )
    written = []
    for chapter in chapters:
        notebook = cut(nbformat.read(chapter.notebook, as_version=4))
        metadata = {"name": about(chapter).title, "path": str(chapter.notebook.parent)}
        html, _ = exporter.from_notebook_node(notebook, {"metadata": metadata})
        path = folder / f"{chapter.name}.slides.html"
        path.write_text(html, encoding="utf-8")
        written.append(path)
    return written


def cut(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Begin another slide below where a cell would no longer fit; the lessons' own cuts stay.

    Heights are estimated, with the fonts of the template. Code and what came out of it part where
    they do not fit together; what is taller than the room even so can be scrolled. Parameters are
    no slide, and badges become words.
    """
    filled = 0
    notebook.cells = [part for cell in notebook.cells for part in _parts(cell)]
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        if "parameters" in tags(cell):
            kind = "skip"
        if cell.cell_type == "markdown":
            cell.source = words_for_badges(cell.source)
        height = _height(cell)
        if kind in ("slide", "subslide"):
            filled = 0
        elif kind == "-" and filled and filled + height > ROOM:
            kind, filled = "subslide", 0
        if kind not in ("skip", "notes"):
            filled += height
        cell.metadata["slideshow"] = {"slide_type": kind}
    return notebook


def _parts(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cell; or, where it is too tall, its code and each of its outputs on their own."""
    if cell.cell_type != "code" or not cell.outputs or _height(cell) <= ROOM:
        return [cell]
    parts = [cell]
    for output in cell.outputs:
        parts.append(nbformat.v4.new_code_cell(cell.source, outputs=[output]))
        parts[-1].metadata["tags"] = [_OUTPUT]
    cell.outputs = []
    return parts


def _height(cell: nbformat.NotebookNode) -> float:
    """About how many pixels a cell takes from top to bottom."""
    if cell.cell_type == "markdown":
        blocks = re.split(r"\n\s*\n", cell.source.strip())
        return 30 + sum(_block(block) for block in blocks)
    height = 34 + 17 * len(cell.source.splitlines()) if _OUTPUT not in tags(cell) else 0
    for output in cell.get("outputs", []):
        found = output.get("data", {})
        if "image/png" in found:
            png = base64.b64decode(found["image/png"])
            width, tall = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
            height += min(PICTURE, tall * min(1, (WIDTH - 60) / max(1, width))) + 20
        elif "text/markdown" in found:
            height += sum(_block(b) for b in re.split(r"\n\s*\n", found["text/markdown"]))
        else:
            text = output.get("text") or found.get("text/plain", "")
            height += 12 + 20 * len(text.splitlines())
    return height


def _block(text: str) -> float:
    """About how many pixels a paragraph, a list, a table or a formula takes."""
    lines = text.splitlines()
    if text.startswith("#"):
        return 80
    if text.startswith("|"):
        return sum(16 + 26 * -(-len(line) // 80) for line in lines)
    if text.startswith("```"):
        return 20 * len(lines)
    items = re.split(r"\n(?=[-*] |\d+\. )", text)
    rows = sum(-(-len(item) // LETTERS) for item in items)
    return 20 + 28 * rows + 40 * text.count("$$") / 2


def _place_assets(tools: Path, folder: Path) -> None:
    """Copy what the slides load into their folder."""
    for source, name in ASSETS.items():
        found = next(iter(sorted(tools.glob(f"[Ll]ib/**/site-packages/{source}"))), None)
        if found is None:
            raise CourseError(
                f"{tools} holds no {source.split('/')[0]}: run `make slides`, which installs it."
            )
        shutil.copytree(found, folder / name, dirs_exist_ok=True)
