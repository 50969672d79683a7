"""A home in which nothing can be written: a lab's machine, a container."""

import os
from pathlib import Path

_GONE = ("XDG_", "COURSE_", "MPL", "KERAS_HOME", "IPYTHONDIR", "JUPYTER")


def environment(folder: Path) -> dict[str, str]:
    """The variables of a learner with such a home, and with room for temporary files.

    Permissions do not bind root, but nobody can make a folder where a file lies: the home is the
    file ``home`` in `folder`.
    """
    home, scratch = folder / "home", folder / "scratch"
    home.write_text("")
    scratch.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_GONE)}
    kept |= {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
    return kept | {"COURSE_OFFLINE": "1", "TMPDIR": str(scratch)}
