"""Notebooks as modules: the models live in the lessons, and `load` hands them to everyone else.

The rest of this package is for contributors: `utils.lessons.build` makes the notebooks in
``chapters/`` from the text in ``lessons/``, and ``python -m utils.lessons`` runs it.
"""

import json
import linecache
import sys
import types
from pathlib import Path

from utils import CourseError, runtime
from utils.lessons.course import ROOT

__all__ = ["load", "names"]


def names() -> list[str]:
    """The notebooks that `load` can open, in reading order."""
    return list(_notebooks(ROOT))


def load(name: str, framework: str | None = None) -> types.ModuleType:
    """Run the cells tagged ``export`` of a notebook and return what they define.

    Every call reads the notebook afresh, a copy that the reader has edited and saved included,
    and returns a new module; nothing is kept from an earlier call. The frameworks that the
    cells need are imported first, quietly and in an order in which they get along.

    Parameters
    ----------
    name
        The notebook's file name without its ending: ``"02_vae"``.
    framework
        ``"torch"``, ``"tensorflow"`` or ``"keras"``: run the cells that belong to no framework
        and those of this one. None runs all of them.

    Returns
    -------
    module
        A module with the cells' names in it. Errors inside them show the notebook's line, in a
        "file" such as ``chapters/01_autoencoders/02_vae.ipynb, cell 12``; cells are numbered as
        in the margin after Run All, which counts code cells only.

    Raises
    ------
    CourseError
        If the notebook or the framework is unknown, the file is no readable notebook, or no
        cell is tagged ``export``.
    """
    return _load(ROOT, name, framework)


def _notebooks(root: Path) -> dict[str, Path]:
    found = sorted((root / "chapters").glob("*/*.ipynb"))
    return {path.stem: path for path in found if not path.parent.name.startswith(".")}


def _load(root: Path, name: str, framework: str | None) -> types.ModuleType:
    if framework is not None:
        runtime.choose("The framework", framework, runtime.FRAMEWORKS)
    known = _notebooks(root)
    if name not in known:
        listed = ", ".join(known) or "none is built yet (run `make notebooks`)"
        raise CourseError(f"There is no notebook {name!r} in chapters/: {listed}.")
    address = known[name].relative_to(root).as_posix()
    cells = _exported(known[name], address, framework)
    if not cells:
        raise CourseError(
            f'{address} has no cell tagged "export" to run'
            + (f" for {framework!r}." if framework else ".")
        )
    needed = {tag for tags, _, _ in cells for tag in tags if tag in runtime.FRAMEWORKS}
    runtime.load(*needed)

    title = f"lesson_{name}" + (f"_{framework}" if framework else "")
    module = types.ModuleType(title, f"The exported cells of {address}.")
    module.__file__ = str(known[name])
    # Data classes and pickles look their module up by name while its cells still run.
    before = sys.modules.get(title)
    sys.modules[title] = module
    try:
        for _, number, source in cells:
            filename = _remember(f"{address}, cell {number}", source)
            exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        if before is None:
            del sys.modules[title]
        else:
            sys.modules[title] = before
        raise
    return module


def _exported(path: Path, address: str, framework: str | None) -> list[tuple[set, int, str]]:
    """The tags, number and source of each cell to run."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        sources = [
            (set(cell["metadata"].get("tags", [])), number, "".join(cell["source"]))
            for number, cell in enumerate(code, start=1)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CourseError(
            f"{address} is not a readable notebook ({type(error).__name__}: {error}): get it back "
            f"with `git checkout {address}`."
        ) from None
    return [
        (tags, number, source)
        for tags, number, source in sources
        if "export" in tags
        and (framework is None or not (tags & set(runtime.FRAMEWORKS)) - {framework})
    ]


def _remember(filename: str, source: str) -> str:
    """Let tracebacks and `inspect` find `source`; return the name they will find it under.

    A module loaded before the notebook was edited keeps its own source: TensorFlow reads the
    source of a function when it first traces it, and must not be given a newer one.
    """
    lines = source.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    version, base = 1, filename
    while filename in linecache.cache and linecache.cache[filename][2] != lines:
        version += 1
        filename = f"{base} (version {version})"
    # Without a modification time the entry survives linecache.checkcache().
    linecache.cache[filename] = (len(source), None, lines, filename)
    return filename
