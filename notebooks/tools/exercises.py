"""Exercises in a chapter's source: solution cell, check cell, hint, wrong answers; here they become stubs and proofs.

An exercise is five cells: its heading "### 3.1 Title `**`", a cell tagged `exercise` that defines one function with the
solution between two marker comments, a check cell that defines `check_<name>` and has `nb.examine` call it, a cell
tagged `hint`, and one tagged `solution` with wrong answers that the check refuses.

A question that no check can grade stands in the statement behind "**To answer in words:**", and its model answer,
folded, in the hint cell as `<details><summary>Answer in words</summary> ... </details>`. A learner gets a cell for it.
"""

import ast
import re
from copy import deepcopy
from typing import NamedTuple

from nbformat.v4 import new_markdown_cell

BEGIN, END = "# solution:", "# end of solution"
QUESTION = re.compile(r"\*\*To answer\s+in\s+words:\*\*")
MODEL = re.compile(r"\n*<details><summary>Answer in words</summary>.*?</details>", re.DOTALL)


class Exercise(NamedTuple):
    number: str  # "3.1"
    title: str
    stars: str  # "*" five minutes, "**" twenty, "***" open
    name: str  # of the function that the learner writes
    statement: object  # the five cells
    solution: object
    check: object
    hint: object
    wrong: object

    @property
    def wrong_names(self):
        """Names of the wrong answers."""
        body = ast.parse(self.wrong.source).body
        return [node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("wrong_")]


def parse(cells):
    """(set-up cells, exercises) of the cells from "## Exercises" on; raises ValueError where the layout is another."""
    starts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("### ")]
    if not starts or starts != list(range(starts[0], len(cells), 5)):
        raise ValueError(
            f"exercises must follow each other, five cells each; headings are cells {starts} of {len(cells)}"
        )
    return cells[: starts[0]], [_exercise(cells[i : i + 5]) for i in starts]


def _exercise(cells):
    heading = re.match(r"### (\d+\.\d+) (.+?) `(\*{1,3})`\n", cells[0].source)
    if not heading:
        raise ValueError(f"expected a heading like '### 3.1 Title `**`', found {cells[0].source.splitlines()[0]!r}")
    tags = [tuple(cell.metadata.get("tags", ())) for cell in cells[1:]]
    if tags != [("exercise",), ("nbval-check-output",), ("hint",), ("solution",)]:
        raise ValueError(
            f"exercise {heading[1]}: its cells are tagged {tags}, expected exercise, check, hint, solution"
        )
    functions = [node.name for node in ast.parse(cells[1].source).body if isinstance(node, ast.FunctionDef)]
    if len(functions) != 1:
        raise ValueError(f"exercise {heading[1]} defines {functions}, expected one function")
    return Exercise(heading[1], heading[2], heading[3], functions[0], *cells)


def stub(exercise):
    """Source of the exercise cell with a NotImplementedError, which says what to do, in place of the solution."""
    lines = exercise.solution.source.splitlines()
    begins = [i for i, line in enumerate(lines) if line.strip().startswith(BEGIN)]
    ends = [i for i, line in enumerate(lines) if line.strip() == END]
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise ValueError(f"exercise {exercise.number} needs one line '{BEGIN} ...' and below it one '{END}'")
    indent = lines[begins[0]][: -len(lines[begins[0]].lstrip())]
    guidance = lines[begins[0]].strip().removeprefix(BEGIN).strip()
    message = f"Exercise {exercise.number}: {guidance}".replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join([*lines[: begins[0]], f'{indent}raise NotImplementedError("{message}")', *lines[ends[0] + 1 :]])


def without_answers(cells):
    """The same cells for the learner: stubs, and no cell that gives an answer away."""
    setup, exercises = parse(cells)
    kept = [deepcopy(cell) for cell in setup]
    for exercise in exercises:
        empty = deepcopy(exercise.solution)
        empty.source = stub(exercise)
        kept += [deepcopy(exercise.statement), empty, deepcopy(exercise.check)]
        if QUESTION.search(exercise.statement.source):
            kept.append(
                new_markdown_cell(f"**Your answer in words to {exercise.number}** (double-click here to write):")
            )
        kept.append(deepcopy(exercise.hint))
    return kept


def overview(cells, stem):
    """A list of the exercises, for the end of the chapter."""
    lines = [f"- {e.number} {e.title} `{e.stars}`" for e in parse(cells)[1]]
    where = f"In [their own notebook](exercises/{stem}.ipynb), each with a check; [solutions](solutions/{stem}.ipynb)."
    return "\n".join(["## Exercises", "", where, "`*` five minutes, `**` twenty, `***` open.", "", *lines])
