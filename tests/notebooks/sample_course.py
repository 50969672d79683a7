"""A course in miniature, in a folder of its own: what the tests of the tools work on."""

import shutil
from pathlib import Path

import nbformat

import utils
from utils.lessons import build, course, execute

PLAN = """
repository = "fallback/course"
branch = "main"
anatomy = ["The idea", "PyTorch", "Same model?"]

[[part]]
folder = "00_first"
title = "First steps"
algorithms = false
notebooks = [{ name = "00_first", title = "First" }]

[[part]]
folder = "01_models"
title = "Models"
algorithms = true
notebooks = [{ name = "01_tiny", title = "Tiny" }, { name = "02_later", title = "Later" }]
"""

HEADER = """\
# ---
# jupyter:
#   course:
#     title: {title}
#     summary: "A model of one line: small, but complete."
#     minutes: {{cpu: 5, gpu: 3}}
#     prerequisites: {needs}
#     objectives:
#       - run a notebook
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

"""

BODY = '''\
# %% tags=["parameters"]
PROFILE = "quick"  # @param ["quick", "full"]
FRAMEWORKS = ["torch", "keras"]  # @param {type:"raw"}
SEED = 0  # @param {type:"integer"}
DEVICE = "auto"  # @param ["auto", "cpu", "gpu"]
KERAS_BACKEND = "tensorflow"  # @param ["tensorflow", "torch"]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. The idea
#
# Half of a number, twice: [the README](../../README.md).

# %% tags=["export"]
import math


def half(number):
    """Divide by two."""
    return number / 2


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. PyTorch

# %% tags=["export", "torch"]
import torch

torch_half = half(torch.tensor(3.0))

# %% tags=["keras"]
import keras

print("the Keras section ran, on", keras.backend.backend())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. Same model?

# %% tags=["nbval-check-output", "same-model"]
print("seed", SEED, "frameworks", FRAMEWORKS, "half of 3:", half(3))
'''

KERAS = """
class backend:
    @staticmethod
    def backend():
        import os

        return os.environ.get("KERAS_BACKEND", "nothing")
"""


def plant(folder: Path) -> course.Course:
    """Write the miniature course into `folder`: two lessons, no notebooks, a README."""
    source = Path(utils.__file__).parent
    package = folder / "utils"
    (package / "lessons").mkdir(parents=True)
    for name in ("__init__.py", "runtime.py"):
        shutil.copy(source / name, package)
    for path in (source / "lessons").glob("*.py"):
        shutil.copy(path, package / "lessons")
    (package / "lessons" / "course.toml").write_text(PLAN, encoding="utf-8")
    first = HEADER.format(title="First steps", needs="[]") + BODY
    tiny = (
        HEADER.format(title="A tiny model", needs='["00_first", "02_later", "some algebra"]') + BODY
    )
    for part, name, text in (("00_first", "00_first", first), ("01_models", "01_tiny", tiny)):
        path = folder / "lessons" / part / f"{name}.py"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    # Stand-ins that load at once: the set-up cell puts this folder before the real packages.
    (folder / "torch.py").write_text("def tensor(number):\n    return number\n", encoding="utf-8")
    (folder / "keras.py").write_text(KERAS, encoding="utf-8")
    markers = "<!-- chapter-map -->\n<!-- /chapter-map -->"
    (folder / "README.md").write_text(f"# The course\n\n{markers}\n", encoding="utf-8")
    return course.read(folder)


def pretend(planted: course.Course) -> None:
    """Build the notebooks without a kernel, with the counts and the one output of a real run."""
    build.build(planted, run=False)
    for chapter in planted.built:
        notebook = nbformat.read(chapter.notebook, as_version=4)
        for number, cell in execute.code_cells(notebook):
            cell.execution_count = number
            if "same-model" in execute.tags(cell):
                text = "seed 0 frameworks ['torch', 'keras'] half of 3: 1.5\n"
                cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        build.write(notebook, chapter)
