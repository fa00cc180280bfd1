"""How long the rest of a campaign may take: counted arithmetic of each stage, times the seconds that such work cost.

The work of a stage, in PFLOP per 1000 epochs, is data/reference_cost.csv; it is counted for the thesis' data sets and
sizes. Seconds come from the seconds.json of finished cells in the run folder, else from the recorded cells that ship.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from statistics import median

from ...files import read_csv
from ...names import METHODS
from ...thesis import data_file
from ..results import read_rows, stage_seconds
from ..text import duration
from .state import DONE, finished, read_mark

STAGES = {"tokenizer": ("tokenizer",), "prior": ("prior", "evaluation"), "cas": ("cas",)}  # with what seconds.json says


@dataclass(frozen=True)
class Estimate:
    """Seconds that the estimated cells need one after another, how many cells that is, and where the speed is from."""

    seconds: float
    cells: int
    unknown: int  # cells of data sets whose work nobody counted and of which none is finished
    source: str

    def __str__(self):
        if not self.cells:
            return "time left: unknown, no finished cell tells how fast this goes" if self.unknown else "nothing left"
        left = f"time left: about {duration(self.seconds)} with one job at a time ({self.source})"
        return left + (f"; unknown for {self.unknown} more cells" if self.unknown else "")


@cache
def _counted():
    """Data set -> {column: PFLOP per 1000 epochs}."""
    rows = read_csv(data_file("reference_cost.csv"))
    return {row.pop("dataset"): {column: float(pflop) for column, pflop in row.items()} for row in rows}


def _work(dataset, method, epochs):
    """PFLOP of each stage, after so many epochs (stage -> number); empty for a data set whose work nobody counted."""
    stage_1 = "naive" if METHODS[method].loss is None else "nc"  # a second view costs about the same with any loss
    counted = _counted().get(dataset)
    column = {"tokenizer": stage_1, "prior": "prior", "cas": "cas"}
    return {stage: counted[column[stage]] * n / 1000 for stage, n in epochs.items()} if counted else {}


def work(cfg):
    """PFLOP of each stage of a cell, {"tokenizer": ..., "prior": ..., "cas": ...}; empty where nobody counted them."""
    epochs = {"tokenizer": cfg.epochs, "prior": cfg.prior_epochs} | ({"cas": cfg.cas_epochs} if cfg.cas else {})
    return _work(cfg.dataset.removesuffix("Generated"), cfg.method, epochs)


def estimate(planned):
    """Time left for the cells of a plan (from `plan.plan`), as an `Estimate`."""
    same, rates = defaultdict(list), defaultdict(list)  # seconds of equal cells; seconds per PFLOP of a stage
    done = [p for p in planned if p.state == DONE]
    for p in done:
        counted = work(p.cfg)
        for stage, seconds in _spent(p).items():
            same[p.folder.parent, stage].append(seconds)
            if stage in counted:
                rates[stage].append(seconds / counted[stage])
    sources = [f"measured on {len(done)} finished cells here"] if same else []
    if not rates:
        rates["any"] = _recorded_rates()
        sources += [f"speed of {len(rates['any'])} recorded cells, one CPU core"]
    return _sum_up(planned, same, rates, ", else ".join(sources))


def _sum_up(planned, same, rates, source):
    total, cells, unknown, stages_seen = 0.0, 0, 0, set()
    pooled = [rate for values in rates.values() for rate in values]
    for p in planned:
        if p.state == DONE:
            continue
        counted, seconds = work(p.cfg), 0.0
        for stage in STAGES if p.cfg.cas else ("tokenizer", "prior"):
            shared = p.stages["tokenizer"] if stage == "tokenizer" else None
            if shared and (shared in stages_seen or finished(shared)):
                continue
            if same[p.folder.parent, stage]:
                seconds += median(same[p.folder.parent, stage])
            elif stage in counted and pooled:
                seconds += counted[stage] * median(rates[stage] or pooled)
            else:
                unknown += 1
                break
            stages_seen.add(shared)
        else:
            total, cells = total + seconds, cells + 1
    return Estimate(total, cells, unknown, source)


def _spent(p):
    """Seconds of each stage of a finished cell; a stage below a second was found finished, and is left out."""
    cell = stage_seconds(p.folder, p.stages["tokenizer"], read_mark)
    seconds = {stage: sum(cell.get(part, 0) for part in parts) for stage, parts in STAGES.items()}
    return {stage: spent for stage, spent in seconds.items() if spent >= 1}


def _recorded_rates():
    """Seconds per PFLOP of the recorded cells in the paper preset on a CPU: in fp32, with the time of all their stages.

    A cell that found its tokenizer finished, and was not told what it had cost, has no row for it and is left out.
    """
    stage_of = {f"seconds_{part}": stage for stage, parts in STAGES.items() for part in parts}
    cells = defaultdict(lambda: dict.fromkeys(STAGES, 0.0))
    for row in read_rows():
        timed = row["metric"] in stage_of and (row["preset"], row["device"]) == ("paper", "cpu")
        if timed and not any(text in row["ablation"] for text in ("bf16", "epochs")):
            key = tuple(row[name] for name in ("dataset", "method", "augmentation", "seed", "ablation"))
            cells[key][stage_of[row["metric"]]] += float(row["value"])
    rates = []
    for (dataset, method, *_), spent in cells.items():
        counted = _work(dataset, method, {stage: 1000 for stage in STAGES if spent[stage]})
        if counted.keys() >= {"tokenizer", "prior"}:
            rates.append(sum(spent.values()) / sum(counted.values()))
    return rates
