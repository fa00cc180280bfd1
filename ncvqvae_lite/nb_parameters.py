"""Names of a notebook's parameters: one that its parameters cell does not declare is refused, however it is run.

papermill only warns of such a name and runs the notebook with the defaults of the others: on another data set, say.
"""

import ast
import sys
from itertools import pairwise

from .config import nearest
from .errors import BadInput


def check_parameter_names(declared, given):
    """Raise BadInput, with the nearest names, unless the notebook declares every name that is given."""
    for name in given:
        if name not in declared:
            close = nearest(name, declared)
            raise BadInput(f"unknown parameter {name!r}{close}: the notebook has {', '.join(declared)}")


def refuse_unknown_parameters(cells=None):
    """Check the parameters that papermill itself gave the running notebook, if it did.

    It puts them into a cell of their own, which begins with "# Parameters", right behind the parameters cell: the one
    that holds `name: type = value` lines alone. Its own parameters, PAPERMILL_INPUT_PATH and such, are no mistake.

    cells    sources of the cells that were run, in order; if not given, those of the running IPython, if there is one
    raises   BadInput for a name that the parameters cell does not declare
    """
    if cells is None:
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        cells = shell.user_ns.get("In", []) if shell else []
    for before, cell in reversed([*pairwise(cells)]):  # the last time counts, where cells were run again by hand
        declared = _assigned(before, ast.AnnAssign)
        if declared and cell.startswith("# Parameters\n"):
            given = _assigned(cell, ast.Assign) or []
            check_parameter_names(declared, [name for name in given if not name.startswith("PAPERMILL_")])
            return


def _assigned(source, kind):
    """Names that a cell assigns to if it consists of assignments of this kind to plain names, else None."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # of a cell that failed for it
        return None
    targets = [getattr(s, "target", None) or s.targets[0] for s in statements if isinstance(s, kind)]
    return [t.id for t in targets] if len(targets) == len(statements) else None
