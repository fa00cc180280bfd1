"""The replication lab: notebooks as jobs, campaigns over many cells, reports. Only here are workflow tools known."""

import sys

from ..errors import UserError


def exit_code(work):
    """Call `work` for a command of the lab; returns 0, or 2 after one sentence about what the user can put right."""
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
