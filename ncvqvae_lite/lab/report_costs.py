"""What cells cost here, stage by stage, beside the arithmetic that the thesis' recipe needs."""

import csv

import numpy as np
import pandas as pd

from ..thesis import CONFIGURATIONS, data_file
from .report_html import counted, number, paragraph, table, text
from .report_tables import SEEDS, bf16_settings

# Column of reference_cost.csv -> (stage in the rows' names, whose cells, how many cells of a data set in the thesis).
N_NC = len(CONFIGURATIONS) - 1
STAGES = {
    "naive": ("tokenizer", "naive", len(SEEDS)),
    "nc": ("tokenizer", "NC", len(SEEDS) * N_NC),
    "prior": ("prior", "all", len(SEEDS) * (N_NC + 1)),
    "cas": ("cas", "all", len(SEEDS) * (N_NC + 1)),
}
MACHINE = ["device", "threads", "precision"]  # what times are not mixed over
HEADS = {"naive": "tokenizer, naive", "nc": "tokenizer, NC", "prior": "prior", "cas": "CAS"}


def reference_cost():
    """PFLOP of each stage of one cell (1000 epochs), from data/reference_cost.csv; index data set."""
    with open(data_file("reference_cost.csv"), newline="") as file:
        rows = {row.pop("dataset"): row for row in csv.DictReader(file)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(STAGES)).astype(float)


def stage_seconds(cells):
    """Median wall seconds of each stage, where it was timed: index `MACHINE` and data set, columns `STAGES`.

    cells   data frame of `results.load_cells`; rows of the preset `paper` with all its epochs count. A cell with any
            part in bf16 has the precision "partly bf16", and stays apart from "fp32"
    """
    cells = cells.assign(precision=["partly bf16" if bf16_settings(text) else "fp32" for text in cells.ablation])
    shortened = cells.ablation.str.contains("epochs=")
    timed = cells[(cells.preset == "paper") & ~shortened & cells.dataset.isin(reference_cost().index)]
    where = [*MACHINE, "dataset"]
    found = {}
    for column, (stage, whose, _) in STAGES.items():
        rows = timed[timed.metric == f"seconds_{stage}"]
        if whose != "all":
            rows = rows[(rows.method == "regular") == (whose == "naive")]
        found[column] = rows.groupby(where).value.median()
    table_of = pd.DataFrame(found)
    return table_of.rename_axis(index=where) if len(table_of) else table_of


def costs(cells):
    """The section: measured seconds and speed by data set and device, and the whole grid at that speed."""
    work, spent = reference_cost(), stage_seconds(cells)
    about = (
        "Median wall time of a stage in one cell of the preset paper, and the speed that it means: counted arithmetic "
        "of the stage over its time. Stages that were found finished, or rows without times, do not count. "
        "Cells with a part in bf16 stand apart."
    )
    if spent.empty:
        return paragraph(about) + paragraph("No row of this table has times of single stages yet.", "note")
    body = []
    for (device, threads, precision), part in spent.groupby(level=MACHINE):
        part, machine = part.droplevel(MACHINE), f"{text(device)}, {counted(threads, 'thread')}, {precision}"
        for dataset, seconds in part.iterrows():
            name = f"{text(dataset)}<br><small>{machine}</small>"
            body.append([name, *(_timed(seconds[column], work.loc[dataset, column]) for column in STAGES)])
        name = f"all 364 cells<br><small>at these speeds, {machine}</small>"
        body.append([name, *(_whole(part[column], work[column], STAGES[column][2]) for column in STAGES)])
    note = (
        "The machine may have been busy with other work. CAS is counted as the thesis computed it, with the test set "
        "after every epoch; here it is evaluated only where its running mean feels it. Last row: the arithmetic of the "
        "whole thesis at the speed of the measured cells together. Small data sets run at a lower speed, so it is an "
        "upper guess while only those were timed."
    )
    return paragraph(about) + table(["data set", *HEADS.values()], body) + paragraph(note, "note")


def _timed(seconds, pflop):
    if np.isnan(seconds):
        return "empty", "not timed"
    return f"<b>{duration(seconds)}</b><br><small>{number(pflop * 1e6 / seconds)} GFLOP/s</small>"


def _whole(seconds, pflop, cells):
    """Time of a stage in the whole grid, at the speed of the data sets that were timed."""
    seconds = seconds.dropna()
    if seconds.empty:
        return "empty", "not timed"
    speed = pflop[seconds.index].sum() / seconds.sum()  # PFLOP per second
    return f"<b>{duration(cells * pflop.sum() / speed)}</b><br><small>{number(cells * pflop.sum())} PFLOP</small>"


def duration(seconds):
    """Seconds as text in the unit that fits."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
