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
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from ...config import ExperimentConfig, check_name, nearest
from ...errors import BadInput, NotFound
from ...names import METHODS
from ...thesis import CONFIGURATIONS
from ..results import CELL

SHIPPED = Path(__file__).parents[1] / "campaigns"
LISTS = {"datasets": str, "configurations": str, "seeds": int}
KEYS = {"about": str, "preset": str, **dict.fromkeys(LISTS, list), "settings": dict, "ablations": list}
OPTIONAL = {"about": "", "settings": {}, "ablations": ()}
KINDS = {str: "a text", list: "a list", dict: "a table"}


@dataclass(frozen=True)
class Cell:
    """One seed of one configuration of one data set."""

    cfg: ExperimentConfig
    settings: dict  # what differs from the preset, as the campaign says it
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
        axes = (self.datasets, self.seeds, self.configurations, self.ablations or ({},))
        return [self._cell(*place) for place in itertools.product(*axes)]

    def _cell(self, dataset, seed, configuration, ablation):
        method, _, augmentation = configuration.partition("-")
        settings = self.settings | ablation
        cell = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed)
        cfg = ExperimentConfig.preset(self.preset, **cell, **settings)
        return Cell(cfg, settings, " ".join(f"{name}={_shown(value)}" for name, value in ablation.items()))

    def part(self, datasets=(), configurations=(), seeds=(), settings=None):
        """The same campaign for some of its data sets, configurations and seeds, and with other settings.

        settings  as for `changed`
        raises    BadInput for what the campaign does not have
        """
        chosen = {}
        for axis, values in zip(LISTS, (datasets, configurations, seeds)):
            has = getattr(self, axis)
            for value in values:
                if value not in has:
                    close, listed = nearest(value, map(str, has)), ", ".join(map(str, has))
                    raise BadInput(f"campaign {self.name} has no {axis[:-1]} {value}{close}: it has {listed}")
            chosen[axis] = tuple(value for value in has if value in values or not values)
        part = replace(self, **chosen)
        return part.changed(settings) if settings else part

    def changed(self, settings):
        """The same campaign with other settings, which may not touch what its ablations vary; BadInput if they do."""
        for name in settings.keys() & set(itertools.chain(*self.ablations)):
            raise BadInput(f"--set {name}: the ablations of campaign {self.name} vary it, write a campaign file")
        changed = replace(self, settings=self.settings | settings)
        _check_cells(changed, f"campaign {self.name}")
        return changed


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is no TOML ({error}): see {SHIPPED / 'smoke.toml'} for an example") from None
    try:
        _check_keys(content)
        _check_values(content)
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from None
    values = content | {axis: tuple(content[axis]) for axis in LISTS}
    campaign = Campaign(file.stem, **OPTIONAL | values)
    _check_cells(campaign, file)
    return campaign


def check_configuration(name):
    """Raise BadInput unless `name` is METHOD-AUGMENTATION, both registered and fit for each other."""
    if name not in configurations({augmentation for _, augmentation in CONFIGURATIONS}):
        from ...augmentations import AUGMENTATIONS  # here: torch is loaded only for names that the thesis does not have

        check_name("configuration", name, configurations(("none", *AUGMENTATIONS)))


def configurations(augmentations):
    """Every method with each augmentation that fits it: "none" where its loss has no second view, else the others."""
    return [f"{m}-{a}" for m in METHODS for a in augmentations if (a == "none") == (METHODS[m].loss is None)]


def _check_keys(content):
    for key in content:
        if key not in KEYS:
            raise BadInput(f"unknown key {key!r}{nearest(key, KEYS)}, expected {', '.join(KEYS)}")
    needed = [key for key in KEYS if key not in OPTIONAL]
    for key in needed:
        if key not in content:
            raise BadInput(f"it lacks {key}, expected {', '.join(needed)}")


def _check_values(content):
    """Raise BadInput for values of another kind than a campaign has, and for names that are none."""
    for key, value in content.items():
        if not isinstance(value, KEYS[key]):
            raise BadInput(f"{key} must be {KINDS[KEYS[key]]}, got {value!r}")
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


def _check_cells(campaign, source):
    """Build every cell once, so that a wrong setting is found now; no two may be the same run."""
    seen, settings = {}, [*campaign.settings, *itertools.chain(*campaign.ablations)]
    for name in (*CELL, "preset", "preset_name"):
        if name in settings:
            raise BadInput(f"{source}: {name} is no setting, the campaign lists it by itself")
    try:
        cells = campaign.cells()
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None
    for cell in cells:
        folder = cell.cfg.cell_folder("")
        if folder in seen:
            raise BadInput(f"{source}: {cell.label} is the same run as {seen[folder]}: list each once")
        seen[folder] = cell.label


def _shown(value):
    return str(value).lower() if isinstance(value, bool) else value
