"""Recorded runs of the chapters on the family: `python benchmarks/family.py --chapter 11 --seeds 1 2 3 [--item ...]`

Goes through the items of a chapter (`family_11.py`, `family_12.py`), and puts what each run measures into
data/results/family.csv as soon as it is finished. The table is written whole or not at all, and runs that have rows in
it are skipped: after a kill the same command goes on. A run is one item on one data set in one setting with one seed.
Rows are of committed code; to run an item again, delete its rows. `--list` says what is there and what is not.
"""

import argparse
import importlib
import math
import sys
import time
from pathlib import Path

import torch
from family_data import missing
from opening import commit_of

from ncvqvae_lite.errors import BadInput, NotFound, UserError
from ncvqvae_lite.files import hold, read_csv, write_csv

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "data" / "results" / "family.csv"
COLUMNS = ("chapter", "item", "dataset", "setting", "seed", "metric", "value", "n", "commit")
RUN = COLUMNS[:5]


def items_of(chapter):
    """name -> `family_data.Item` of a chapter ("11"); raises NotFound where it has none."""
    if not Path(__file__).with_name(f"family_{chapter}.py").is_file():
        found = sorted(file.stem.removeprefix("family_") for file in Path(__file__).parent.glob("family_[0-9][0-9].py"))
        raise NotFound(f"no items of chapter {chapter}: choose from {', '.join(found)}")
    return importlib.import_module(f"family_{chapter}").ITEMS


def chosen_items(chapter, names=()):
    """The items of these names, all without any; raises BadInput for a name that the register does not have."""
    items = items_of(chapter)
    if unknown := [name for name in names if name not in items]:
        raise BadInput(f"chapter {chapter} has no item {unknown[0]!r}: choose from {', '.join(items)}")
    return {name: item for name, item in items.items() if not names or name in names}


def recorded(table):
    """The rows of the table, dicts of text."""
    return read_csv(table) if Path(table).is_file() else []


def runs(chapter, items, seeds):
    """All runs of some items: ((chapter, item, dataset, setting, seed), its function), seed by seed."""
    for seed in seeds:
        for name, item in items.items():
            for dataset in item.datasets:
                for setting in item.settings:
                    yield (chapter, name, dataset, setting, str(seed)), item.run


def rows_of(run, found, commit):
    """The rows of a finished run; raises BadInput where it measured nothing, or no number."""
    if not found:
        raise BadInput(f"the run {' '.join(run)} measured nothing: let its function return {{metric: (value, n)}}")
    for metric, (value, n) in found.items():
        if not math.isfinite(value) or n < 1:
            raise BadInput(f"the run {' '.join(run)} measured {metric} = {value} of {n}: expected a number")
    shared = dict(zip(RUN, run)) | {"commit": commit}
    return [shared | {"metric": metric, "value": f"{value:.6g}", "n": str(n)} for metric, (value, n) in found.items()]


def add(rows, table):
    """Put rows into the table: ordered by chapter, then as they came."""
    with hold(Path(table).parent, wait=True, name=f"{Path(table).name}.lock"):
        write_csv(table, sorted(recorded(table) + rows, key=lambda row: row["chapter"]), COLUMNS)


def record(chapter, items, seeds, table, commit):
    """Make the runs that the table does not have yet; those without their data set are left out with a sentence."""
    left_out = {name: missing(name) for item in items.values() for name in item.datasets}
    for sentence in filter(None, left_out.values()):
        print(sentence)
    for run, function in runs(chapter, items, seeds):
        if left_out[run[2]] or run in {tuple(row[name] for name in RUN) for row in recorded(table)}:
            continue
        start = time.process_time()
        torch.manual_seed(int(run[4]))  # of the networks' first weights
        add(rows_of(run, function(run[2], run[3], int(run[4])), commit), table)
        print(f"{', '.join(run[1:4])}, seed {run[4]}: {time.process_time() - start:.0f} CPU s", flush=True)


def listing(chapter, items, table):
    """A line for each item, data set and setting: which seeds have rows."""
    done = {}
    for row in recorded(table):
        done.setdefault(tuple(row[name] for name in RUN[:4]), []).append(row["seed"])
    for run, _ in runs(chapter, items, (0,)):
        seeds = " ".join(dict.fromkeys(done.get(run[:4], ()))) or "none"
        yield f"{', '.join(run[1:4])}: seeds {seeds}"


def main(argv=None, table=TABLE):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chapter", required=True, metavar="NN")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--item", nargs="+", default=(), metavar="NAME", help="some items of the chapter; all without")
    parser.add_argument("--list", action="store_true", help="say which runs have rows, and run nothing")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        items = chosen_items(given.chapter, given.item)
        if given.list:
            print("\n".join(listing(given.chapter, items, table)))
        else:
            commit = commit_of(ROOT / "ncvqvae_lite", *Path(__file__).parent.glob("family*.py"))
            record(given.chapter, items, given.seeds, table, commit)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
