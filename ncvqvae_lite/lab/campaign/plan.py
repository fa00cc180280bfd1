"""The jobs of a campaign that are left, given its cells and what is there already. Names folders, loads no torch."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ...fcn_weights import file_hash, find_weights
from ..results import place_of
from . import Cell
from .state import DONE, RECORDED, finished, has_notebook, missing_metrics, state_of


@dataclass(frozen=True)
class Planned(Cell):
    """A cell in a run folder: where it and the stages that it builds on live, and how far they are."""

    weights: Path | None  # of the FCN behind FID and IS; None: one is trained
    folder: Path
    stages: dict  # name of a stage that other cells may share -> its folder
    state: str
    why: str  # a sentence, where it failed
    recorded: dict = field(default_factory=dict)  # its metrics in a table of results, where such is asked

    @property
    def over(self):
        """Whether nothing is left to compute."""
        return self.state in (DONE, RECORDED)

    @property
    def lacks_notebook(self):
        """Done, but its executed notebook is missing or shows other code than notebook 08 has today."""
        return self.state == DONE and not has_notebook(self.folder)


@dataclass(frozen=True)
class Job:
    """One process: a stage that several cells share, or a cell, which is one executed notebook."""

    kind: str  # "fcn", "second fcn", "tokenizer" or "cell"
    folder: Path
    planned: Planned  # the cell, or one of those that need the stage
    needs: tuple = ()  # names of jobs that come before

    @property
    def name(self):
        """Unique, fit for a file name: fcn-ECG5000-1a2b3c4d, or cell-ECG5000-regular-none-1a2b3c4d-seed1."""
        return "-".join([self.kind.replace(" ", "-"), *self.folder.parts[-2 if "fcn" in self.kind else -4 :]])

    @property
    def label(self):
        """In words for the user."""
        if self.kind == "cell":
            return self.planned.label
        cfg = self.planned.cfg
        return f"{self.kind} {cfg.dataset if 'fcn' in self.kind else Cell(cfg, '').label}"

    def record(self):
        """What the job's process must know, fit for JSON."""
        weights = self.planned.weights
        return {
            "kind": self.kind,
            "label": self.label,
            "folder": str(self.folder.resolve()),
            "needs": self.needs,
            "cfg": vars(self.planned.cfg),
            "weights": str(weights.resolve()) if weights else None,
            "stages": [str(folder.resolve()) for folder in self.planned.stages.values()],
        }


def plan(campaign, out, recorded=None):
    """Every cell of the campaign as `Planned`, in the campaign's order.

    out        folder of all runs
    recorded   of `results.recorded_metrics`: a cell that is whole there counts as over, be it not done in `out`
    """
    weights_of, hash_of = cache(find_weights), cache(file_hash)  # one question for each data set
    found = []
    for cell in campaign.cells():
        cfg, weights = cell.cfg, weights_of(cell.cfg.dataset)
        folder = cfg.cell_folder(Path(out), hash_of(weights) if weights else "own")
        stages = {} if weights else {"fcn": cfg.fcn_folder(out)}
        if cfg.second_fcn:
            stages["second fcn"] = cfg.fcn_folder(out, cfg.fcn_seed + 1)
        stages["tokenizer"] = cfg.tokenizer_folder(out)
        state, why = state_of(cfg, folder, stages)
        metrics = recorded.get(place_of(folder), {}) if recorded else {}
        if metrics and state != DONE and not missing_metrics(cfg, metrics):
            state, why = RECORDED, ""
        found.append(Planned(cfg, cell.ablation, weights, folder, stages, state, why, metrics))
    return found


def jobs(planned):
    """The jobs that bring every cell to its end, in order: a stage that two or more of them need stands before them."""
    left = [p for p in planned if not p.over or p.lacks_notebook]
    users = Counter(folder for p in left if not p.over for folder in p.stages.values())
    found = {}
    for p in left:
        shared = {kind: f for kind, f in p.stages.items() if users[f] > 1 and not finished(f)}
        stages = [Job(kind, folder, p) for kind, folder in shared.items()]
        for job in (*stages, Job("cell", p.folder, p, tuple(stage.name for stage in stages))):
            found.setdefault(job.name, job)
    return list(found.values())
