"""A pytest plugin beside nbval, `-p mutate`: a checked cell must also fail when any one digit of its output is changed.

nbval runs each notebook once and compares the cells tagged `nbval-check-output`, and here also those that show numbers
of data/results (`recorded.showing`): these print the same until the tables change. It skips a cell without an execution
count, and a sanitiser may hide a number. So after each comparison that passes, the stored output is changed by one
digit, at every digit in turn, and compared with nbval's own comparison, which must notice.

Not compared, and so not changed, is a number directly behind the sign "≈": `nb.check` has compared it, with a tolerance
that text does not have.
"""

import copy
import re

from chapters import CHECKED
from nbval.plugin import IPyNbCell
from recorded import showing

ABOUT = re.compile(r"≈[-+]?(?:nan|inf|[\d.]+(?:e[-+]?\d+)?)")
compare, run = IPyNbCell.compare_outputs, IPyNbCell.runtest


def same_everywhere(outputs):
    """The same outputs without the numbers that another machine may round to another digit."""
    outputs = copy.deepcopy(outputs)
    for output in outputs:
        if "text" in output:
            output["text"] = ABOUT.sub("≈", output["text"])
    return outputs


def mutants(outputs):
    """Copies of a cell's outputs, each with one digit of its printed text replaced by the next one."""
    for i, output in enumerate(outputs):
        for digit in re.finditer(r"\d", output.get("text", "")):
            other = copy.deepcopy(outputs)
            text, place = output["text"], digit.start()
            other[i]["text"] = text[:place] + str((int(digit[0]) + 1) % 10) + text[place + 1 :]
            yield other


def compare_and_mutate(cell, test, ref, skip_compare=None):
    """nbval's comparison; then the same with every mutant, which must differ."""
    test, ref = same_everywhere(test), same_everywhere(ref)
    if not compare(cell, test, ref, skip_compare):
        return False
    changed = list(mutants(ref))
    survivors = [mutant for mutant in changed if compare(cell, test, mutant, skip_compare)]
    cell.mutants, cell.survivors = len(changed), len(survivors)
    return True


def run_and_mutate(cell):
    """nbval's run of a cell; a checked cell whose mutants were not all noticed fails."""
    cell.mutants = cell.survivors = 0
    run(cell)
    if CHECKED in cell.cell.metadata.get("tags", ()):
        if not cell.mutants:
            cell.raise_cell_error("A checked cell without a number, or one that nbval does not compare")
    if cell.options["check"]:
        if cell.survivors:
            cell.raise_cell_error(f"{cell.survivors} of {cell.mutants} changed digits go unnoticed")
    cell.user_properties.append(("mutants", cell.mutants))


def pytest_collection_modifyitems(items):
    """Cells that show recorded numbers are compared, tagged or not."""
    notebooks = {}
    for item in items:
        if isinstance(item, IPyNbCell):
            notebooks.setdefault(item.parent, []).append(item)
    for cells in notebooks.values():
        for place in showing([item.cell.source for item in cells]):
            cells[place].options["check"] = True


def pytest_configure():
    IPyNbCell.compare_outputs, IPyNbCell.runtest = compare_and_mutate, run_and_mutate


def pytest_unconfigure():
    IPyNbCell.compare_outputs, IPyNbCell.runtest = compare, run


def pytest_terminal_summary(terminalreporter):
    """How many digits were changed, all workers together."""
    done = [dict(r.user_properties).get("mutants", 0) for r in terminalreporter.getreports("passed")]
    if any(done):
        cells = sum(map(bool, done))
        terminalreporter.write_line(f"mutation: {sum(done)} changed digits in {cells} checked cells, all noticed")
