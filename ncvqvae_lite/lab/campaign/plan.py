"""From the cells of a campaign and what is there already to the jobs that are left. Names folders, loads no torch."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...config import ExperimentConfig
from ...fcn_weights import file_hash, find_weights
from ..results import CELL
from . import Cell
from .state import DONE, finished, has_notebook, state_of


@dataclass(frozen=True)
class Planned:
    """A cell in a run folder: where it and the stages that it builds on live, and how far they are."""

    cell: Cell
    weights: Path | None  # of the FCN behind FID and IS; None: one is trained
    folder: Path
    stages: dict  # name of a stage that other cells may share -> its folder
    state: str
    why: str  # a sentence, where it failed

    @property
    def cfg(self):
        return self.cell.cfg

    @property
    def lacks_notebook(self):
        """Done, but its executed notebook is missing or shows other code than notebook 08 has today."""
        return self.state == DONE and not has_notebook(self.folder)


@dataclass(frozen=True)
class Job:
    """One process: a stage that several cells share, or a cell, which is one executed notebook."""

    name: str  # unique in the campaign; fit for a file name
    kind: str  # "fcn", "second fcn", "tokenizer" or "cell"
    label: str
    folder: Path
    planned: Planned  # the cell, or one of those that need the stage
    needs: tuple = ()  # names of jobs that come before

    def record(self):
        """What the job's process must know, fit for JSON; `config_of` reads it."""
        cfg, weights = self.planned.cfg, self.planned.weights
        return {
            "kind": self.kind,
            "label": self.label,
            "folder": str(self.folder.resolve()),
            "needs": self.needs,
            "preset": cfg.preset_name,
            "cell": {name: getattr(cfg, name) for name in CELL},
            "settings": self.planned.cell.settings,
            "weights": str(weights.resolve()) if weights else None,
            "stages": [str(folder.resolve()) for folder in self.planned.stages.values()],
        }


def config_of(record):
    """The configuration that a job's record stands for."""
    return ExperimentConfig.preset(record["preset"], **record["cell"], **record["settings"])


def plan(campaign, out):
    """Every cell of the campaign as `Planned`, in the campaign's order; `out` is the folder of all runs."""
    weights_of = cache(find_weights)  # one question for each data set
    hash_of = cache(file_hash)
    return [_planned(cell, Path(out), weights_of, hash_of) for cell in campaign.cells()]


def _planned(cell, out, weights_of, hash_of):
    cfg, weights = cell.cfg, weights_of(cell.cfg.dataset)
    folder = cfg.cell_folder(out, hash_of(weights) if weights else "own")
    stages = {} if weights else {"fcn": cfg.fcn_folder(out)}
    if cfg.second_fcn:
        stages["second fcn"] = cfg.fcn_folder(out, cfg.fcn_seed + 1)
    stages["tokenizer"] = cfg.tokenizer_folder(out)
    return Planned(cell, weights, folder, stages, *state_of(cfg, folder, stages))


def jobs(planned):
    """The jobs that bring every cell to its end, in order: a stage that two or more of them need stands before them."""
    left = [p for p in planned if p.state != DONE or p.lacks_notebook]
    users = Counter(folder for p in left if p.state != DONE for folder in p.stages.values())
    found = {}
    for p in left:
        needs = []
        for kind, folder in p.stages.items():
            if users[folder] > 1 and not finished(folder):
                name = _name(kind, folder)
                needs.append(name)
                found.setdefault(name, Job(name, kind, _label(kind, p.cfg), folder, p))
        name = _name("cell", p.folder)
        found[name] = Job(name, "cell", p.cell.label, p.folder, p, tuple(needs))
    return list(found.values())


def _name(kind, folder):
    """fcn-ECG5000-1a2b3c4d, or cell-ECG5000-regular-none-1a2b3c4d-seed1."""
    return "-".join([kind.replace(" ", "-"), *folder.parts[-2 if "fcn" in kind else -4 :]])


def _label(kind, cfg):
    if kind == "tokenizer":
        return f"tokenizer {cfg.dataset} {cfg.method}-{cfg.augmentation} seed {cfg.seed}"
    return f"{kind} {cfg.dataset}"
