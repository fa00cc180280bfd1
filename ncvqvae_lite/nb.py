"""Helpers for every notebook: seeds, checks that can fail, places for data and runs, descriptions as text.

Notebooks find here, as nb.check or nb.floors_table, what `nb_checks` and `tables` hold too.
"""

import json
import os
import random
from dataclasses import make_dataclass, replace
from pathlib import Path

import numpy as np
import torch

from .arguments import seed_number
from .augmentations import AUGMENTATIONS
from .config import PRESETS, ExperimentConfig, check_name
from .errors import BadInput
from .files import read_csv
from .nb_checks import (  # noqa: F401 (notebooks write nb.check)
    CheckFailed,
    answered,
    check,
    check_band,
    check_no_loop,
    examine,
    record,
    refused,
)
from .nb_parameters import refuse_unknown_parameters  # chapter 10, which seeds nothing, calls it itself
from .nb_sources import source_index  # noqa: F401
from .tables import (  # noqa: F401
    closing_table,
    family_sizes,
    family_table,
    family_values,
    floors_table,
    paired,
    published_table,
    recorded_cells,
    recorded_demonstration,
    recorded_runs,
    verdict,
)


def seed_everything(seed):
    """Seed Python, numpy and torch, ask for deterministic algorithms on a CPU, and return a torch.Generator.

    seed      a whole number of 64 bits

    Pass the generator on; the global seeds are for code that does not take one. As a notebook calls this right behind
    its parameters, those that it does not declare are refused here (BadInput).
    """
    refuse_unknown_parameters()
    seed = seed_number(seed, "seed")
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    if not torch.cuda.is_available():  # a GPU lacks deterministic versions of some operations
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]  # torch's types lack it
    return torch.Generator().manual_seed(seed)


# --- places ---


def data_dir(name=""):
    """The folder `name` of series, the same one from wherever a notebook is started, as `root` of `load_dataset`.

    Without a name None: `load_dataset` then looks in $NCVQVAE_DATA and its other usual places.
    """
    return _place(name) if name else None


def out_dir(name="runs"):
    """The folder `name` for results, the same one from wherever a notebook is started.

    An absolute name is taken as it is. Another lies in $NCVQVAE_OUT if that is set, else in the checkout that this
    package is imported from, else in the current folder.
    """
    base = os.environ.get("NCVQVAE_OUT")
    return Path(base).expanduser() / name if base else _place(name)


def _place(name):
    here = Path(__file__).resolve().parent.parent
    base = here if (here / "pyproject.toml").is_file() else Path.cwd()
    return base / Path(name).expanduser()


# --- one chapter ---


def describe_machine(effort):
    """The first line of a chapter: where it computes and how long, and on Colab how to get a GPU."""
    preset = os.environ.get("NCVQVAE_PRESET") or "quick, unless the next cell says otherwise"
    device = "GPU" if torch.cuda.is_available() else "CPU"
    advice = "" if device == "GPU" else "\nA GPU is not needed. On Colab: Runtime, Change runtime type, T4 GPU."
    return f"device: {device}; preset: {preset}; about {effort} on a laptop CPU{advice}"


def chapter_config(preset, seed, **sizes):
    """The numbers of a chapter as a frozen record, which is printed; the rest of a chapter reads numbers from here.

    preset  quick, paper or improved; replaced by $NCVQVAE_PRESET where that is set
    sizes   name=(in quick, in the others), two values of one type; or name=value, a parameter that every preset shares
    raises  BadInput for an unknown preset or two types
    """
    preset = os.environ.get("NCVQVAE_PRESET") or preset
    check_name("preset", preset, PRESETS)
    if type(seed) is not int or seed < 0:
        raise BadInput(f"seed must be a whole number from 0 on, got {seed!r}")
    values = {"preset": preset, "seed": seed}
    for name, size in sizes.items():
        both = size if isinstance(size, tuple) else (size, size)
        if len(both) != 2 or type(both[0]) is not type(both[1]):
            raise BadInput(f"{name} needs a value for quick and one of the same type for the others, got {size!r}")
        values[name] = both[preset != "quick"]
    print("\n".join(f"{name:12} {value}" for name, value in values.items()))
    return make_dataclass("ChapterConfig", values, frozen=True)(**values)


# --- one experiment ---


def experiment_config(dataset, method, augmentation, seed, preset, settings="{}"):
    """The frozen configuration that a notebook's parameters stand for.

    preset    replaced by $NCVQVAE_PRESET where that is set
    settings  single fields by name as a JSON object, for example '{"epochs": 50}'
    raises    BadInput for unknown names, values of another type, and text that is no JSON object
    """
    try:
        changes = json.loads(settings)
    except (TypeError, ValueError) as error:
        raise BadInput(f"settings {settings!r} are no JSON ({error}): write them like '{{\"epochs\": 50}}'") from None
    if not isinstance(changes, dict):
        raise BadInput(f"settings must be a JSON object, got {settings!r}: write them like '{{\"epochs\": 50}}'")
    cell = dict(dataset=dataset, method=method, augmentation=augmentation, seed=seed)
    for name in changes.keys() & (cell.keys() | {"preset"}):
        raise BadInput(f"{name} stands in settings, but is a parameter of its own: set that one")
    return ExperimentConfig.preset(os.environ.get("NCVQVAE_PRESET") or preset, **cell, **changes)


changed_settings = ExperimentConfig.changes  # of a configuration: its fields that differ from its preset's, as a dict


def describe_config(cfg):
    """A few lines of text: which cell this is, how long it trains, what differs from the preset."""
    changed = cfg.changes()
    changes = f", with {json.dumps(changed)}" if changed else ""
    amounts = {"tokenizer": (cfg.epochs, cfg.min_steps), "prior": (cfg.prior_epochs, cfg.prior_min_steps)}
    amounts |= {"FCN": (cfg.fcn_epochs, cfg.fcn_min_steps)}
    amounts |= {"CAS": (cfg.cas_epochs, cfg.fcn_min_steps)} if cfg.cas else {}
    listed = ", ".join(f"{stage} {_amount(*of)}" for stage, of in amounts.items())
    return (
        f"data set   {cfg.dataset}\nmethod     {cfg.method} + {cfg.augmentation}, seed {cfg.seed}\n"
        f"preset     {cfg.preset_name}{changes}\n"
        f"epochs     {listed}"
    )


def _amount(epochs, min_steps):
    if not epochs:
        return "by the number of series"
    return f"{epochs}" + (f" (at least {min_steps} steps)" if min_steps else "")


def describe_data(ds):
    """A few lines of text: sizes, source, and how many series each class has (of the first 8)."""
    lines = [f"{ds.name}: {ds.sizes}", f"source: {ds.source}"]
    for label, name in enumerate(ds.class_names[:8]):
        train, test = (int((y == label).sum()) for y in (ds.y_train, ds.y_test))
        lines.append(f"class {name}: {train} train, {test} test")
    if ds.n_classes > 8:
        lines.append(f"... and {ds.n_classes - 8} more classes")
    return "\n".join(lines if ds.n_classes else [*lines, "no labels"])


def views_of(cfg, x, generator):
    """Views of series x (n, C, L) by each augmentation, with this configuration's settings: name -> (n, C, L)."""
    from .experiment_tokenizer import view_of  # what runs experiments is loaded by few chapters

    variants = {name: replace(cfg, method="vibcreg", augmentation=name) for name in AUGMENTATIONS}
    return {name: view_of(variant)(x, generator=generator) for name, variant in variants.items()}


def print_epochs(lines=4):
    """A `progress` for `run_experiment` that prints at most `lines` lines per training, the same ones in every run."""
    reached = {}

    def progress(stage, done, epochs, terms, rate):
        if done <= reached.get(stage, 0):  # another training of the same name
            reached[stage] = 0
        for mark in sorted({max(1, epochs * i // lines) for i in range(1, lines + 1)}):
            if reached.get(stage, 0) < mark <= done:
                print(f"{stage}: {mark} of {epochs} epochs")
        reached[stage] = done

    return progress


def read_history(file):
    """The rows of a history.csv, one dict of floats per epoch; values that were not computed are absent."""
    return [{name: float(text) for name, text in row.items() if text} for row in read_csv(file)]
