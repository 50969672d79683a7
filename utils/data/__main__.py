"""``python -m utils.data``: fetch what can be fetched, and say what was found."""

import argparse
import os
import sys

from utils import CourseError
from utils.data import bccd, cache_directory, mnist
from utils.data.bccd import LICENCE


def main(arguments: list[str] | None = None) -> int:
    """Fill the cache and report.

    Returns
    -------
    0 if there are data to work with, embedded ones included; 1 if the learner must mend
    something, which is said.
    """
    parser = argparse.ArgumentParser(prog="python -m utils.data", description=__doc__)
    parser.parse_args(arguments)
    print(f"COURSE_DATA: {os.environ.get('COURSE_DATA') or 'not set'}")
    print(f"Cache: {cache_directory()}")
    try:
        data = mnist()
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    print(data.describe())
    print(f"Licence: {data.licence}.")
    try:
        cells = bccd()
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    print(cells.describe())
    print(f"Licence: {LICENCE if cells.real else 'none: they are drawn'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
