"""Finished cells as tidy rows: one row is one metric of one cell, with what made it and where.

`ncvqvae campaign export` adds the cells of a campaign to a table; `python -m ncvqvae_lite.lab.results RUNS TABLE.csv`
adds every finished cell under RUNS. The table that ships, data/results/cells.csv, is read by `load_cells`.
"""

import argparse
import csv
import math
import sys
from dataclasses import fields
from pathlib import Path

from ..config import ExperimentConfig
from ..errors import BadInput, NotFound, UserError
from ..experiment_parts import check_parts
from ..files import read_json, with_its_cells, write_csv, writing_to
from ..thesis import data_file, other_sizes

CELL = ("dataset", "method", "augmentation", "seed")
KEY = (*CELL, "preset", "ablation", "fcn")
COLUMNS = (*KEY, "metric", "value", "device", "threads", "seconds", "package_version", "commit", "folder")
SHIPPED = "results/cells.csv"
MOST_CLASSES = 10  # class shares of generated series are listed up to this many classes


def export(folders, table):
    """Add the rows of finished cells to a CSV file, which is written whole or not at all.

    folders   cell folders that hold metrics.json
    table     CSV file, made if needed. A cell that it has already (same `KEY`) is replaced, rows of other cells stay
    returns   number of cells taken
    raises    as `cell_rows`; BadInput where two folders hold the same cell; RunFolderError if it cannot be written
    """
    added = {}
    _check_commits(folders)
    for folder in folders:
        rows = cell_rows(folder)
        key = key_of(rows[0])
        if key in added:
            both = f"{added[key][0]['folder']} and {rows[0]['folder']}"
            raise BadInput(f"{both} hold the same cell, made by different code: delete the one that is out of date")
        added[key] = rows
    update(table, added)
    return len(added)


def cell_rows(folder):
    """The rows of one finished cell folder, as dicts with the names of `COLUMNS`.

    `ablation` lists the settings that differ from the preset, so an ablation names itself. Besides the metrics there
    are the class shares of generated and real series, and the seconds of each stage that this cell worked on: a stage
    below one second was found finished. A tokenizer that a job of its own made for several cells counts for each.

    raises   NotFound without a finished cell; BadInput for metrics that are no finite numbers, for code that was not
             committed when it ran, where a part is not the one that the cell was made with, and for series that are
             named like a data set of the thesis and have other sizes: in a table they would pass for it
    """
    folder = Path(folder)
    config, seconds = read_json(folder / "config.json"), read_json(folder / "seconds.json")
    metrics = read_metrics(folder)
    if not (config and metrics and seconds) or folder.resolve().parts[-5] != "cells":
        raise NotFound(f"no finished cell in {folder}: expected cells/<dataset>/<configuration>/<digest>/seed<k>")
    _check_commits([folder])
    check_parts(folder)
    _check_series(folder, config)
    names = {f.name for f in fields(ExperimentConfig)}
    settings = {name: value for name, value in config.items() if name in names}
    cell = {name: settings[name] for name in CELL}
    preset = ExperimentConfig.preset(settings["preset_name"], **cell)
    ablation = " ".join(f"{name}={value}" for name, value in settings.items() if getattr(preset, name) != value)
    shared = cell | {"preset": settings["preset_name"], "ablation": ablation, "fcn": config["fcn"]}
    shared |= {name: config[name] for name in ("device", "threads", "package_version", "commit")}
    shared |= {"seconds": round(sum(seconds.values())), "folder": place_of(folder.resolve())}
    spent = stage_seconds(folder, folder / config["tokenizer"])
    costs = {f"seconds_{stage}".replace(" ", "_"): round(part, 1) for stage, part in spent.items() if part >= 1}
    values = metrics | _class_shares(folder) | costs
    return [shared | {"metric": name, "value": value} for name, value in values.items()]


def place_of(folder):
    """Where a cell lies below the folder of all runs: cells/<dataset>/<configuration>/<digest>/seed<k>."""
    return "/".join(folder.parts[-5:])


def read_metrics(folder):
    """Content of a metrics.json, None where there is none; raises BadInput unless every value is a finite number."""
    file = Path(folder) / "metrics.json"
    metrics = read_json(file)
    if not isinstance(metrics, dict | None):
        raise BadInput(f"metrics.json holds no table of numbers: {redo(file)}")
    for name, value in (metrics or {}).items():
        if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
            raise BadInput(f"metrics.json says {name} is {value!r}, expected a finite number: {redo(file)}")
    return metrics


def redo(metrics):
    """What to do about a metrics.json that is not as it should be."""
    return f"delete {metrics} and run again, finished stages are kept"


def stage_seconds(cell, tokenizer, read=read_json):
    """Seconds of each stage of a finished cell; a stage below a second was found finished, or made by a job of its own.

    cell, tokenizer  folders; a tokenizer that the cell found finished counts with the seconds of its job, if it had one
    read             reads a seconds.json
    """
    seconds = read(cell / "seconds.json") or {}
    if seconds.get("tokenizer", 0) < 1:
        seconds |= read(tokenizer / "seconds.json") or {}
    return seconds


def _check_commits(folders):
    """Refuse cells whose code, or their older tokenizer's, cannot be found again: no commit, or edits beside it."""
    commits = {}
    for folder in map(Path, folders):
        tokenizer = folder / (read_json(folder / "config.json") or {}).get("tokenizer", "")
        for part in (folder, tokenizer):
            config = read_json(part / "config.json")
            if config:
                commits[part] = config["commit"]
    refused = [part for part, commit in commits.items() if not commit or commit.endswith("-dirty")]
    if refused:
        commit = commits[refused[0]]
        found = f"was made by code that was not committed ({commit})" if commit else "names no commit"
        others = f", and so {len(refused) - 1} more of {len(commits)} folders" if refused[1:] else ""
        such = f"such folders{with_its_cells(refused[0])}"
        advice = f"delete {such} and run the cells again from a git checkout without uncommitted edits"
        raise BadInput(f"{refused[0]} {found}{others}: {advice}")


def _check_series(folder, config):
    """Refuse another data set of a name of the thesis' by its sizes, where the cell tells them: with class labels."""
    import numpy as np

    counts = config.get("class_counts")
    with np.load(folder / "samples.npz") as samples:
        if counts and "class" in samples:  # one sample by class for each test series
            sizes = {"n_train": sum(counts), "n_test": len(samples["class"]), "n_classes": len(counts)}
            sizes |= dict(zip(("channels", "length"), samples["x"].shape[1:], strict=True))
            if differs := other_sizes(config["dataset"], sizes):
                found = f"has other series than the thesis' {config['dataset']}: {differs}"
                raise BadInput(f"{folder} {found}; give them a name of their own and run again")


def _class_shares(folder):
    """Share of each class among generated and real series, as the FCN sees them; empty without labels."""
    import numpy as np

    with np.load(folder / "samples.npz") as samples:
        if "fcn_class" not in samples:
            return {}
        both = {"generated": samples["fcn_class"], "real": samples["fcn_class_real"]}
    n_classes = max(classes.max() for classes in both.values()) + 1
    classes = range(n_classes) if n_classes <= MOST_CLASSES else ()
    return {f"share_{kind}_{k}": float(np.mean(found == k)) for kind, found in both.items() for k in classes}


# --- tables ---


def update(table, new, key=KEY, columns=COLUMNS):
    """Put rows into a CSV file, which is made if needed, in place of those with the same key.

    new   rows by the values of their `key`, see `key_of`
    """
    table = Path(table)
    kept = [row for row in (read_rows(table, columns) if table.exists() else []) if key_of(row, key) not in new]
    rows = kept + [row for rows in new.values() for row in rows]
    with writing_to(table.parent):
        write_csv(table, sorted(rows, key=lambda row: key_of(row, key)), columns)  # rows of one key keep their order


def key_of(row, key=KEY):
    return tuple(str(row[name]) for name in key)


def read_rows(table=None, columns=COLUMNS):
    """Rows of an exported table as dicts of text; None reads the one that ships. NotFound or BadInput if it is none."""
    table = Path(table) if table is not None else data_file(SHIPPED)
    if not table.is_file():
        raise NotFound(f"no table at {table}: `ncvqvae campaign export` writes one")
    with open(table, encoding="utf-8", newline="") as f:
        reader = csv.DictReader(f)
        if tuple(reader.fieldnames or ()) != columns:
            raise BadInput(f"{table} has other columns than {', '.join(columns)}: export it again")
        return list(reader)


def load_cells(table=None):
    """The same rows as a pandas DataFrame: `seed`, `threads` int, `value`, `seconds` float, all others text."""
    import pandas as pd

    rows = pd.DataFrame(read_rows(table), columns=list(COLUMNS))
    return rows.astype({"seed": int, "value": float, "threads": int, "seconds": float})


def recorded_metrics(table):
    """What a table has of each cell: {`place_of` its folder: {metric: value}}, finite values only.

    The place is made of the cell's settings, of the code of all its stages and of its feature net
    (`ExperimentConfig.cell_folder`): a row with the place of a cell holds what a run of that cell would give. So the
    place says whether a row is of the same code, and not the column `commit`: a commit that mends a sentence of the
    README, a plot or a test changes no number, and by commits it would send a campaign of days back to its start. One
    that does change a number changes the place. As in a folder of runs, series are known by their name only, and
    another device counts as the same.

    raises   NotFound or BadInput for a table that is none
    """
    cells = {}
    for row in read_rows(table):
        try:
            value = float(row["value"])
        except ValueError:
            found = f"{row['metric']} of {row['folder']} is {row['value']!r}"
            raise BadInput(f"{table}: {found}, expected a number: export that cell again") from None
        if math.isfinite(value):
            cells.setdefault(row["folder"], {})[row["metric"]] = value
    return cells


def finished_cells(runs):
    """Folders of the finished cells in a folder of runs, by name, or of the one cell given; NotFound if none is."""
    runs = Path(runs)
    files = [*runs.glob("metrics.json"), *runs.glob("cells/*/*/*/*/metrics.json")]
    folders = sorted(file.parent for file in files)
    if not folders:
        raise NotFound(f"no finished cell under {runs}: expected cells/<dataset>/<configuration>/<digest>/seed<k>")
    return folders


def main(argv=None):
    parser = argparse.ArgumentParser(description="Add the finished cells of a run folder to a table of results.")
    for name in ("runs", "table"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args(argv)
    try:
        print(f"{export(finished_cells(given.runs), given.table)} cells exported to {given.table}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
