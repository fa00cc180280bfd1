"""Costs of cells here, stage by stage, beside the arithmetic that the thesis' recipe needs."""

import numpy as np
import pandas as pd

from ...thesis import CONFIGURATIONS
from ..campaign.costs import counted_work
from ..text import counted, duration
from .entries import Entry, Table, empty, number
from .tables import SEEDS, bf16_settings

# Column of reference_cost.csv -> (its head here, in how many configurations of the thesis a cell has that stage).
STAGES = {"naive": ("tokenizer, naive", 1), "nc": ("tokenizer, NC", len(CONFIGURATIONS) - 1)}
STAGES |= {"prior": ("prior", len(CONFIGURATIONS)), "cas": ("CAS", len(CONFIGURATIONS))}
MACHINE = ["device", "threads", "precision"]  # what times are not mixed over


def reference_cost():
    """PFLOP of each stage of one cell (1000 epochs), from data/reference_cost.csv; index data set."""
    return pd.DataFrame.from_dict(counted_work(), orient="index")[list(STAGES)]


def stage_seconds(cells):
    """Median wall seconds of each stage, where it was timed: index `MACHINE` and data set, columns `STAGES`.

    cells   data frame of `results.load_cells`; rows of the preset `paper` with all its epochs count. A cell with any
            part in bf16 has the precision "partly bf16", and stays apart from "fp32"
    """
    cells = cells.assign(precision=["partly bf16" if bf16_settings(text) else "fp32" for text in cells.ablation])
    shortened = cells.ablation.str.contains("epochs=")
    timed = cells[(cells.preset == "paper") & ~shortened & cells.dataset.isin(reference_cost().index)]
    of_arm = timed.method.map(lambda method: "naive" if method == "regular" else "nc")
    stage = timed.metric.map({"seconds_prior": "prior", "seconds_cas": "cas"})
    timed = timed.assign(stage=stage.mask(timed.metric == "seconds_tokenizer", of_arm))
    table = timed.pivot_table("value", [*MACHINE, "dataset"], "stage", aggfunc="median")
    return table.reindex(columns=list(STAGES))


def cost_table(cells):
    """Measured seconds and speed by data set and machine, and the whole grid at that speed; None without times."""
    work, spent = reference_cost(), stage_seconds(cells)
    if spent.empty:
        return None
    body = []
    for (device, threads, precision), part in spent.groupby(level=MACHINE):
        part, machine = part.droplevel(MACHINE), f"{device}, {counted(threads, 'thread')}, {precision}"
        for dataset, seconds in part.iterrows():
            line = [_timed(seconds[column], work.loc[dataset, column]) for column in STAGES]
            body.append([Entry(text=dataset, small=(machine,)), *line])
        whole = Entry(text="all 364 cells", small=(f"at these speeds, {machine}",))
        body.append([whole, *(_whole(part[name], work[name], len(SEEDS) * n) for name, (_, n) in STAGES.items())])
    return Table(["data set", *(head for head, _ in STAGES.values())], body)


def _timed(seconds, pflop):
    if np.isnan(seconds):
        return empty("not timed")
    return Entry(duration(seconds), small=(f"{number(pflop * 1e6 / seconds)} GFLOP/s",))


def _whole(seconds, pflop, cells):
    """Time of a stage in the whole grid, at the speed of the data sets that were timed."""
    seconds = seconds.dropna()
    if seconds.empty:
        return empty("not timed")
    speed = pflop[seconds.index].sum() / seconds.sum()  # PFLOP per second
    return Entry(duration(cells * pflop.sum() / speed), small=(f"{number(cells * pflop.sum())} PFLOP",))
