"""Time left of a campaign, estimated: counted arithmetic of each stage, times the seconds that such work cost.

The work of a stage, in PFLOP per 1000 epochs, is data/reference_cost.csv; it is counted for the thesis' data sets and
sizes. Seconds come from the seconds.json of finished cells in the run folder and from the rows of those that count as
done because a table of results has them; without such cells, from the recorded ones that ship.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import chain
from statistics import median

from ...files import read_csv
from ...names import METHODS
from ...thesis import data_file
from ..results import read_rows, stage_seconds
from ..text import duration
from .state import RECORDED, finished, read_mark

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
def counted_work():
    """Data set -> {column of data/reference_cost.csv: PFLOP per 1000 epochs}."""
    rows = read_csv(data_file("reference_cost.csv"))
    return {row.pop("dataset"): {column: float(pflop) for column, pflop in row.items()} for row in rows}


def _counted(dataset, method):
    """PFLOP of each stage per 1000 epochs, {"tokenizer": ..., "prior": ..., "cas": ...}; empty if nobody counted."""
    stage_1 = "naive" if METHODS[method].loss is None else "nc"  # a second view costs about the same with any loss
    columns = {"tokenizer": stage_1, "prior": "prior", "cas": "cas"}
    counted = counted_work().get(dataset.removesuffix("Generated"))
    return {stage: counted[column] for stage, column in columns.items()} if counted else {}


def work(cfg):
    """PFLOP of each stage that a cell has; empty for a data set, or for networks, whose work nobody counted."""
    if cfg.geometry != "grid":
        return {}
    epochs = {"tokenizer": cfg.epochs, "prior": cfg.prior_epochs} | ({"cas": cfg.cas_epochs} if cfg.cas else {})
    counted = _counted(cfg.dataset, cfg.method)
    return {stage: counted[stage] * n / 1000 for stage, n in epochs.items() if counted}


def estimate(planned):
    """Time left for the cells of a plan (from `plan.plan`), as an `Estimate`."""
    same, rates = defaultdict(list), defaultdict(list)  # seconds of equal cells; seconds per PFLOP of a stage
    done = [p for p in planned if p.over]
    for p in done:
        counted = work(p.cfg)
        for stage, seconds in _spent(p).items():
            same[p.folder.parent, stage].append(seconds)
            if stage in counted:
                rates[stage].append(seconds / counted[stage])
    where = "here or in the table of results" if any(p.state == RECORDED for p in done) else "here"
    sources = [f"measured on {len(done)} finished cells {where}"] if same else []
    if not rates:
        rates["any"] = _recorded_rates()
        sources += [f"speed of {len(rates['any'])} recorded cells, one CPU core"]
    pooled = list(chain(*rates.values()))

    def expected(p, stage):
        """Seconds of a stage of a cell; None where nothing tells."""
        times, counted = same[p.folder.parent, stage], work(p.cfg)
        if times:
            return median(times)
        return counted[stage] * median(rates[stage] or pooled) if stage in counted and pooled else None

    left, made = [], set()
    for p in planned:
        if p.over:
            continue
        tokenizer = p.stages["tokenizer"]
        stages = [] if tokenizer in made or finished(tokenizer) else ["tokenizer"]
        made.add(tokenizer)
        left.append([expected(p, stage) for stage in [*stages, "prior", *["cas"] * p.cfg.cas]])
    known = [sum(seconds) for seconds in left if None not in seconds]
    return Estimate(sum(known), len(known), len(left) - len(known), ", else ".join(sources))


def _spent(p):
    """Seconds of each stage of a finished cell; a stage below a second was found finished, and is left out."""
    if p.state == RECORDED:
        cell = {name.removeprefix("seconds_").replace("_", " "): value for name, value in p.recorded.items()}
    else:
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
        counted = {stage: pflop for stage, pflop in _counted(dataset, method).items() if spent[stage]}
        if counted.keys() >= {"tokenizer", "prior"}:
            rates.append(sum(spent.values()) / sum(counted.values()))
    return rates
