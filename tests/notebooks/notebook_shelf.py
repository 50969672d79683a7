"""The notebooks that the tests sweep over: all that lie in ``chapters/``, by lying there."""

from pathlib import Path

import utils

ROOT = Path(utils.__file__).resolve().parents[1]
NOTEBOOKS = sorted(
    path
    for path in (ROOT / "chapters").glob("**/*.ipynb")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
