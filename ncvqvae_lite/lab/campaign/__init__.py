"""A campaign: data sets x configurations x seeds x ablations of one preset, from a TOML file to a list of cells.

    about = "what this campaign is for"
    preset = "paper"
    datasets = ["Symbols", "ECG5000"]
    configurations = ["regular-none", "barlowtwins-warp"]
    seeds = [1, 2, 3, 5]

    [settings]            # optional: changes of the preset, for every cell
    cas = false

    [[ablations]]         # optional, any number: changes of the preset, each crossed with everything above
    mask_polarity = "kept"

A run folder is named by its settings, so a cell that two campaigns share is one folder and is computed once.
"""

import itertools
import json
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...config import THESIS_AUGMENTATIONS, ExperimentConfig, augmentation_names, check_name, nearest
from ...errors import BadInput, NotFound
from ...names import METHODS
from ..results import CELL

SHIPPED = Path(__file__).parents[1] / "campaigns"
LISTS = {"datasets": str, "configurations": str, "seeds": int}
KEYS = {"about": str, "preset": str, **dict.fromkeys(LISTS, list), "settings": dict, "ablations": list}
OPTIONAL: dict[str, Any] = {"about": "", "settings": {}, "ablations": ()}
KINDS = {str: "a text", list: "a list", dict: "a table"}


@dataclass(frozen=True)
class Cell:
    """One seed of one configuration of one data set."""

    cfg: ExperimentConfig
    ablation: str  # the ablation's own settings as text, "" where the campaign has none

    @property
    def label(self):
        cfg = self.cfg
        return f"{cfg.dataset} {cfg.method}-{cfg.augmentation} seed {cfg.seed} {self.ablation}".rstrip()


@dataclass(frozen=True)
class Campaign:
    """What a campaign file says, checked; `cells` lists its cells in the order in which they are run."""

    name: str
    about: str
    preset: str
    datasets: tuple
    configurations: tuple
    seeds: tuple
    settings: dict
    ablations: tuple

    def cells(self):
        """Data set after data set; in each, all configurations of one seed before the next seed."""
        found, axes = [], (self.datasets, self.seeds, self.configurations, self.ablations or ({},))
        for dataset, seed, configuration, ablation in itertools.product(*axes):
            method, _, augmentation = configuration.partition("-")
            cell = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed)
            cfg = ExperimentConfig.preset(self.preset, **cell, **self.settings | ablation)
            words = [f"{name}={json.dumps(value)}".replace('"', "") for name, value in ablation.items()]
            found.append(Cell(cfg, " ".join(words)))
        return found

    def part(self, datasets=(), configurations=(), seeds=(), settings=None):
        """The same campaign for some of its data sets, configurations and seeds, and with other settings.

        raises    BadInput for what the campaign does not have, and for settings that its ablations vary
        """
        chosen = {}
        for axis, values in zip(LISTS, (datasets, configurations, seeds)):
            has = getattr(self, axis)
            for value in values:
                if value not in has:
                    close, listed = nearest(value, map(str, has)), ", ".join(map(str, has))
                    raise BadInput(f"campaign {self.name} has no {axis[:-1]} {value}{close}: it has {listed}")
            chosen[axis] = tuple(value for value in has if value in values or not values)
        if not settings:
            return replace(self, **chosen)
        for name in settings.keys() & set(itertools.chain(*self.ablations)):
            raise BadInput(f"--set {name}: the ablations of campaign {self.name} vary it, write a campaign file")
        part = replace(self, settings=self.settings | settings, **chosen)
        _check_cells(part)
        return part


def shipped():
    """Names of the campaigns that come with the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def load_campaign(name_or_file):
    """The campaign of a shipped name or of a TOML file.

    raises  NotFound with the nearest shipped names; BadInput, before any work, for whatever is wrong in the file
    """
    file = SHIPPED / f"{name_or_file}.toml"
    if str(name_or_file) not in shipped():
        file = Path(name_or_file).expanduser()
        if not file.is_file():
            close = nearest(name_or_file, shipped())
            raise NotFound(f"no campaign {name_or_file}{close}: name a TOML file or one of {', '.join(shipped())}")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        _check_content(content)
        values: dict[str, Any] = content | {axis: tuple(content[axis]) for axis in LISTS}
        campaign = Campaign(file.stem, **OPTIONAL | values)
        _check_cells(campaign)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is no TOML ({error}): see {SHIPPED / 'smoke.toml'} for an example") from None
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from None
    return campaign


def check_configuration(name):
    """Raise BadInput unless `name` is METHOD-AUGMENTATION, both registered and fit for each other."""
    if name not in configurations(THESIS_AUGMENTATIONS):  # torch is loaded only for names that the thesis does not have
        check_name("configuration", name, configurations(augmentation_names()))


def configurations(augmentations):
    """Every method with each augmentation that fits it: "none" where its loss has no second view, else the others."""
    return [f"{m}-{a}" for m in METHODS for a in augmentations if (a == "none") == (METHODS[m].loss is None)]


def _check_content(content):
    """Raise BadInput for keys and values of another kind than a campaign has, and for names that are none."""
    for key, value in content.items():
        if key not in KEYS:
            raise BadInput(f"unknown key {key!r}{nearest(key, KEYS)}, expected {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]):
            raise BadInput(f"{key} must be {KINDS[KEYS[key]]}, got {value!r}")
    needed = [key for key in KEYS if key not in OPTIONAL]
    for key in needed:
        if key not in content:
            raise BadInput(f"it lacks {key}, expected {', '.join(needed)}")
    for key, kind in LISTS.items():
        if not content[key]:
            raise BadInput(f"{key} is empty, expected at least one")
        for value in content[key]:
            if type(value) is not kind:
                raise BadInput(f"{key} must hold {'texts' if kind is str else 'whole numbers'}, got {value!r}")
    for name in content["datasets"]:
        if not re.fullmatch(r"\w[\w.-]*", name):  # names become names of folders
            raise BadInput(f"the data set {name!r} is no name: expected letters, digits, '_', '-' and '.' only")
    for name in content["configurations"]:
        check_configuration(name)
    if not all(isinstance(ablation, dict) for ablation in content.get("ablations", ())):
        raise BadInput("ablations must be tables, written [[ablations]] with settings below")


def _check_cells(campaign):
    """Build every cell once, so that a wrong setting is found now; no two may be the same run."""
    for name in (*campaign.settings, *itertools.chain(*campaign.ablations)):
        if name in (*CELL, "preset", "preset_name"):
            raise BadInput(f"{name} is no setting, the campaign lists it by itself")
    seen = {}
    for cell in campaign.cells():
        folder = cell.cfg.cell_folder("")
        if folder in seen:
            raise BadInput(f"{cell.label} is the same run as {seen[folder]}: list each once")
        seen[folder] = cell.label
