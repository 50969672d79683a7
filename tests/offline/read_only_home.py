"""A home in which nothing can be written: a lab's machine, a container."""

import os
from pathlib import Path

_GONE = ("XDG_", "COURSE_", "MPL", "KERAS_HOME", "IPYTHONDIR", "JUPYTER", "TMP")


def no_places() -> dict[str, str]:
    """This machine's variables without those that say where programs write, and without ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_GONE)}


def environment(folder: Path) -> dict[str, str]:
    """The variables of a learner with such a home, and with room for temporary files.

    Permissions do not bind root, but nobody can make a folder where a file lies: the home is the
    file ``home`` in `folder`.
    """
    home, scratch = folder / "home", folder / "scratch"
    home.write_text("")
    scratch.mkdir()
    kept = no_places() | {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
    return kept | {"COURSE_OFFLINE": "1", "TMPDIR": str(scratch)}
