"""The replication lab: notebooks as jobs, campaigns over many cells, reports. Only here are workflow tools known."""

import argparse
import sys
from pathlib import Path

from ..errors import UserError


def command(work, about, paths, argv=None):
    """A command of the lab: call `work` with the paths that the command line names.

    about     a sentence for --help
    paths     argument or option -> further settings of argparse's `add_argument`; each is a parameter of `work`
    returns   0, or 2 after one sentence about what the user can put right
    """
    parser = argparse.ArgumentParser(description=about)
    for name, settings in paths.items():
        parser.add_argument(name, type=Path, **settings)
    try:
        work(**vars(parser.parse_args(argv)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
