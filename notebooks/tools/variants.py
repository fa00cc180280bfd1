"""Variants of exercises: `python notebooks/tools/variants.py SEED` writes exercises with other constants, no solutions.

A seed draws the constants of each exercise that has a rule (`variant_rules.py`); statement, check, hint and solution
change together. Equal seeds give equal bytes. Before anything is written, each variant is tried: its solution passes
its check; its stub, its wrong answers and the published solution fail.

Solutions, with model answers to the questions in words, are written only when asked for (--solutions), into a folder of
their own. Whoever knows the seed can make them too: take a long one, and keep it.
"""

import argparse
import hashlib
import io
import random
import re
import sys
from contextlib import redirect_stdout
from copy import deepcopy
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(NOTEBOOKS.parent), str(NOTEBOOKS / "tools")]  # a checkout need not be installed

from build import sources, write  # noqa: E402
from chapters import colab_setup, describe, notebook_of, read_cells  # noqa: E402
from exercises import MODEL, parse, stub, without_answers  # noqa: E402
from nbformat.v4 import new_markdown_cell  # noqa: E402
from variant_rules import RULES  # noqa: E402

from ncvqvae_lite.errors import BadInput, UserError  # noqa: E402
from ncvqvae_lite.nb_checks import CheckFailed  # noqa: E402

OUT = NOTEBOOKS / "teaching" / "built" / "variants"


def code_of(seed):
    """A short name of a seed, for titles and the folder: it tells variants apart and does not tell the seed."""
    return hashlib.sha256(f"variant {seed}".encode()).hexdigest()[:6]


def replace(cells, replaced, number):
    """Cells with all old texts replaced at once, longest first; raises BadInput for a text that no cell holds."""
    missing = [old for old in replaced if not any(old in cell.source for cell in cells)]
    if missing:
        raise BadInput(f"exercise {number} does not hold {missing[0]!r}: mend its rule in variant_rules.py")
    pattern = re.compile("|".join(re.escape(old) for old in sorted(replaced, key=len, reverse=True)))
    changed = [deepcopy(cell) for cell in cells]
    for cell in changed:
        cell.source = pattern.sub(lambda found: replaced[found[0]], cell.source)
    return changed


def variant(cells, seed, rules=None):
    """(cells of the exercises that have a rule, with heading and set-up; the published exercises that they stand for).

    cells  of a chapter from "## Exercises" on
    """
    rules = RULES if rules is None else rules
    setup, published = parse(cells)
    chosen = [exercise for exercise in published if exercise.name in rules]
    changed = [deepcopy(cell) for cell in setup]
    for exercise in chosen:
        drawn = rules[exercise.name](random.Random(f"{seed} {exercise.name}"))
        changed += replace(exercise[-5:], drawn, exercise.number)
    return changed, chosen


def prove(cells, published):
    """Run a variant: raises BadInput unless its solutions pass and stubs, wrong and published answers fail."""
    setup, exercises = parse(cells)
    namespace = {}

    def run(source):
        with redirect_stdout(io.StringIO()):
            exec(compile(source, "variant", "exec"), namespace)

    def passes(number, source, check, refusals):
        run(source)
        try:
            run(check)
        except refusals:
            return False
        except Exception as error:
            raise BadInput(f"the check of exercise {number} fails by {type(error).__name__}: {error}") from error
        return True

    for cell in setup:
        if cell.cell_type == "code":
            run(cell.source)
    for exercise, old in zip(exercises, published):
        number, check = exercise.number, exercise.check.source
        if passes(number, stub(exercise), check, NotImplementedError):
            raise BadInput(f"the stub of exercise {number} passes the check of this variant")
        if passes(number, old.solution.source, check, Exception):
            raise BadInput(f"the published solution of exercise {number} passes the check of this variant")
        if not passes(number, exercise.solution.source, check, CheckFailed):
            raise BadInput(f"the solution of exercise {number} fails the check of this variant")
        run(exercise.wrong.source)  # nb.refused raises where a wrong answer passes


def variant_notebooks(source, seed, solutions=False):
    """(folder, notebook) of a chapter's variant, tried by running it; empty for a chapter without a rule."""
    found = read_cells(source)[1]
    cells, published = variant(found, seed) if found else ([], [])
    if not published:
        return []
    try:
        prove(cells, published)
    except CheckFailed as error:
        raise BadInput(f"{source.name}: {error}") from error
    wanted = [("exercises", without_answers(cells))] + [("solutions", cells)] * solutions
    chapter, made = describe(source), []
    for cell in wanted[0][1]:
        cell.source = MODEL.sub("", cell.source)  # model answers are for the teacher
    for folder, kept in wanted:
        title = f"# {int(chapter.number)}. {chapter.title}: {folder}, variant {code_of(seed)}"
        words = kept[0].source.split("\n", 1)[1].strip()  # below "## Exercises"
        head = f"{title}\n\n{words}\n\nThese are not the published tasks: mind their words and numbers."
        cells_of = [new_markdown_cell(head), colab_setup(), *kept[1:]]
        made.append((folder, notebook_of(cells_of)))
    return made


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", help="a number or a word; equal seeds give equal variants")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="chapters, two digits; all without any")
    parser.add_argument(
        "--out", type=Path, default=None, help="folder instead of notebooks/teaching/built/variants/CODE"
    )
    parser.add_argument("--solutions", action="store_true", help="write solutions, too")
    arguments = parser.parse_args(argv)
    out = arguments.out or OUT / code_of(arguments.seed)  # the folder is handed out: it does not tell the seed
    try:
        made = [
            (folder, source.stem, notebook)
            for source in sources(arguments.numbers)
            for folder, notebook in variant_notebooks(source, arguments.seed, arguments.solutions)
        ]
        if not made:
            raise BadInput("none of these chapters has an exercise with variants")
    except (UserError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for folder, stem, notebook in made:
        (out / folder).mkdir(parents=True, exist_ok=True)
        write(out / folder / f"{stem}.ipynb", (nbformat.writes(notebook) + "\n").encode())
    count = sum(folder == "exercises" for folder, _, _ in made)
    print(f"variant {code_of(arguments.seed)}, {count} chapters, each check tried: {out / 'exercises'}")
    if arguments.solutions:
        print(f"solutions, for the teacher: {out / 'solutions'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
