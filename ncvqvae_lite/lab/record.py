"""Finished cells as tidy rows: `python -m ncvqvae_lite.lab.record RUNS TABLE.csv` adds those under RUNS to a table.

One row is one metric of one cell. `changes` lists the settings that differ from the preset, so an
ablation names itself. A cell that the table has already is replaced; rows of other cells stay.
"""

import argparse
import csv
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np

from ..config import ExperimentConfig
from ..errors import BadInput, NotFound, UserError
from ..experiment_folders import read_json

CELL = ("dataset", "method", "augmentation", "seed")
KEY = (*CELL, "preset", "changes", "fcn")
COLUMNS = (*KEY, "metric", "value", "device", "threads", "seconds", "package_version", "commit")
MOST_CLASSES = 10  # class shares of generated series are listed up to this many classes


def cell_rows(folder):
    """The rows of one finished cell folder; raises BadInput where its code was not committed when it ran."""
    config, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    if str(config["commit"]).endswith("-dirty"):
        raise BadInput(f"{folder} was made by code that was not committed: commit and run it again")
    names = {f.name for f in fields(ExperimentConfig)}
    cell = {name: value for name, value in config.items() if name in names}
    preset = ExperimentConfig.preset(cell["preset_name"], **{name: cell[name] for name in CELL})
    changes = " ".join(f"{name}={value}" for name, value in cell.items() if getattr(preset, name) != value)
    seconds = round(sum(read_json(folder / "seconds.json").values()))
    shared = {name: cell[name] for name in CELL} | {"preset": cell["preset_name"], "changes": changes}
    shared |= {"fcn": config["fcn"], "seconds": seconds}
    shared |= {name: config[name] for name in ("device", "threads", "package_version", "commit")}
    return [shared | {"metric": name, "value": value} for name, value in (metrics | _class_shares(folder)).items()]


def _class_shares(folder):
    """Share of each class among generated and real series, as the FCN sees them; empty without labels."""
    with np.load(folder / "samples.npz") as samples:
        if "fcn_class" not in samples:
            return {}
        both = {"generated": samples["fcn_class"], "real": samples["fcn_class_real"]}
    n_classes = max(classes.max() for classes in both.values()) + 1
    if n_classes > MOST_CLASSES:
        return {}
    return {
        f"share_{kind}_{k}": float(np.mean(classes == k)) for kind, classes in both.items() for k in range(n_classes)
    }


def record(runs, table):
    """Add every finished cell under `runs` to the CSV file `table`; returns how many cells it took."""
    folders = sorted(file.parent for file in Path(runs).glob("cells/*/*/*/*/metrics.json"))
    if not folders:
        raise NotFound(f"no finished cell under {runs}: expected cells/<dataset>/<configuration>/<digest>/seed<k>")
    new = [row for folder in folders for row in cell_rows(folder)]
    replaced = {_key(row) for row in new}
    rows = [row for row in read_rows(table) if _key(row) not in replaced] + new
    rows.sort(key=lambda row: tuple(str(row[name]) for name in KEY))  # stable: metrics keep their order within a cell
    with open(table, "w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(folders)


def read_rows(table):
    """Rows of a table that `record` wrote, values as text; none where there is no such file yet."""
    if not Path(table).exists():
        return []
    with open(table, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def _key(row):
    return tuple(str(row[name]) for name in KEY)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Add the finished cells of a run folder to a table of results.")
    parser.add_argument("runs", type=Path)
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args(argv)
    try:
        print(f"{record(arguments.runs, arguments.table)} cells recorded in {arguments.table}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
