"""Which cells of a notebook show numbers of data/results, found by reading its code.

What such a cell prints follows from the tables alone, so the tests compare it with what it prints when it is run again
(notebooks/tools/mutate.py). `python notebooks/tools/recorded.py` lists the cells of all chapters.

A value is recorded if it comes from a reader of data/results, from a file there, from another recorded value, or from a
function that uses one. A cell shows recorded values if one of its expressions, a call of print for example, has one.
"""

import ast
import re
import sys
from pathlib import Path

import nbformat

READERS = {
    "recorded_runs",
    "recorded_cells",
    "recorded_demonstration",
    "family_values",
    "family_table",
    "load_cells",
    "load_panels",
    "load_curves",
}
FOLDER = "results/"  # how a name of a file begins that a cell reads itself
CHANGES = {"append", "extend", "update", "add", "insert", "setdefault"}  # methods that put a value into another


def showing(sources):
    """Places (a set of indices) of the code cells that show recorded values.

    sources  the code cells of one notebook in their order, as text
    """
    recorded, found = set(), set()
    for place, source in enumerate(sources):
        code = re.sub(r"^( *)%.*", r"\1pass", source, flags=re.MULTILINE)  # a line for IPython
        body = ast.parse(code).body
        if _follow(body, recorded):
            found.add(place)
    return found


def _follow(body, recorded):
    """Go through statements in their order, with the names of recorded values; whether an expression shows some."""
    shows = False
    for node in body:
        if isinstance(node, ast.FunctionDef):
            own = _arguments(node.args).union(*map(_stored, node.body))
            _mark({node.name}, _uses(node.body, recorded - own), recorded)
        elif isinstance(node, ast.For):
            _mark(_stored(node.target), _uses([node.iter], recorded), recorded)
            for _ in range(2):  # what the end of the body makes, its beginning may show in the next round
                shows |= _follow([*node.body, *node.orelse], recorded)
        elif isinstance(node, ast.If | ast.While | ast.With):
            shows |= _follow([*node.body, *getattr(node, "orelse", ())], recorded)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            uses = node.value is not None and _uses([node.value], recorded)
            for target in targets:
                _mark(_stored(target), uses, recorded, only_more=isinstance(node, ast.AugAssign))
                if uses:
                    recorded |= _owner(target)
        elif isinstance(node, ast.Expr) and _uses([node.value], recorded):
            call = node.value
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in CHANGES:
                recorded |= _owner(call)
            else:
                shows = True
    return shows


def _mark(names, uses, recorded, only_more=False):
    if uses:
        recorded |= names
    elif not only_more:
        recorded -= names


def _uses(nodes, recorded):
    """Whether some code calls a reader, names a file of the folder, or reads a recorded name that it does not bind."""
    walked = [node for top in nodes for node in ast.walk(top)]
    bound = set()
    for node in walked:
        if isinstance(node, ast.comprehension):
            bound |= _stored(node.target)
        if isinstance(node, ast.Lambda):
            bound |= _arguments(node.args)
    for node in walked:
        if isinstance(node, ast.Attribute) and node.attr in READERS:
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in READERS or node.id in recorded - bound:
                return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(FOLDER):
            return True
    return False


def _stored(code):
    """Names that some code gives a value to."""
    return {node.id for node in ast.walk(code) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _owner(target):
    """The name whose part an assignment changes: a in a[0] = 1, in a.b = 1 and in a.setdefault(0, {})[1] = 2."""
    while isinstance(target, ast.Subscript | ast.Attribute | ast.Call):
        target = target.func if isinstance(target, ast.Call) else target.value
    return {target.id} if isinstance(target, ast.Name) else set()


def _arguments(arguments):
    return {argument.arg for argument in ast.walk(arguments) if isinstance(argument, ast.arg)}


def main():
    for file in sorted(Path(__file__).resolve().parents[1].glob("[0-9][0-9]_*.ipynb")):
        cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        for place in sorted(showing([cell.source for cell in cells])):
            printed = "".join(output.get("text", "") for output in cells[place].outputs).splitlines()
            print(f"{file.stem[:2]}  {cells[place].id}  {printed[0] if printed else '(prints nothing)'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
