"""``make serve``: the model server on this machine."""

import argparse
import dataclasses
import os
import sys

from utils import CourseError
from utils.serving import observe
from utils.serving.config import HERE, Config
from utils.serving.engines import KINDS
from utils.serving.registry import write_manifest


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m utils.serving", description=__doc__)
    parser.add_argument("command", nargs="?", default="serve", choices=["serve", "manifest"])
    parser.add_argument("--host", default="127.0.0.1", help="who may reach it: only this machine")
    parser.add_argument("--port", type=int, default=8000, help="0: the system chooses")
    parser.add_argument("--quiet", action="store_true", help="no log line for each request")
    for field in dataclasses.fields(Config):
        option, default = f"--{field.name.replace('_', '-')}", field.default
        if isinstance(default, tuple):
            parser.add_argument(option, nargs="*", default=default)
        elif field.name == "engine":
            parser.add_argument(option, default=default, choices=KINDS)
        else:
            parser.add_argument(option, type=type(default), default=default)
    asked = vars(parser.parse_args(arguments))
    if asked["command"] == "manifest":
        found = write_manifest(HERE / "manifest.json")
        print("\n".join(f"{name}: {len(versions)} versions" for name, versions in found.items()))
        return 0
    from utils.serving import lifecycle

    # Read when OpenMP is loaded: a call computes with as many threads as were asked for.
    os.environ.setdefault("OMP_NUM_THREADS", str(asked["compute"]))
    if not asked["quiet"]:
        observe.log_to()
    fields = {field.name: asked[field.name] for field in dataclasses.fields(Config)}
    fields |= {n: tuple(fields[n]) for n in ("models", "origins")}
    try:
        lifecycle.serve(Config(**fields), asked["host"], asked["port"])
    except (CourseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
