"""A finished run, opened: sample from it, encode with it. Its folder is enough, wherever it was copied to."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch

from .config import ExperimentConfig, check_name
from .errors import BadInput, NotFound
from .experiment_parts import check_held
from .experiment_samples import classes_like, generate
from .experiment_stages import unscale
from .files import read_json
from .prior import MaskGIT
from .residuals import ResidualPieces
from .tokenizer import Tokenizer, load_tokenizer


class Run(NamedTuple):
    """A finished run."""

    tokenizer: Tokenizer
    prior: MaskGIT
    mean: float  # of the train set, in raw units
    std: float
    metrics: dict
    config: dict
    pieces: ResidualPieces | None = None  # what is added to decoded samples

    @property
    def settings(self):
        """What the run was made with, by name, sizes and steps by the number of series filled in."""
        younger = vars(ExperimentConfig("")) | {"class_counts": []}  # settings that the run did not know yet
        return SimpleNamespace(**younger | self.config | self.config.get("resolved", {}))

    @property
    def class_names(self):
        """The labels of the series it was made from, as texts in the order of their numbers.

        () without labels, and for runs of earlier versions, which knew numbers only.
        """
        return tuple(self.config.get("class_names", ()))

    def sample(self, n, class_index=None, seed=0, *, class_name=None):
        """n new series (n, C, L) in raw units; float64 where the raw series were, else float32.

        class_index   number of a class, or n of them; None: as `class_draw` says, none or each by its share of train
        class_name    the class by its name instead, one of `class_names`
        seed          equal seeds give equal series
        raises        BadInput for anything else
        """
        n, seed = _whole(n, "n", 1), _whole(seed, "seed", -(2**63))
        asked = self._asked(n, class_index, seed, class_name)
        series = generate(self.settings, self.tokenizer, self.prior, n, seed, asked, self.pieces)[1]
        return unscale(series, self.mean, self.std, getattr(torch, self.config.get("dtype", "float32")))

    def classes(self, n, class_index=None, seed=0, *, class_name=None):
        """The classes (n,) int64 of the series that `sample` with these arguments gives; None where they have none."""
        n, seed = _whole(n, "n", 1), _whole(seed, "seed", -(2**63))
        asked = self._asked(n, class_index, seed, class_name)
        return asked if asked is None else torch.as_tensor(asked).expand(n)

    def _asked(self, n, class_index, seed, class_name):
        """The class, or n of them, or None."""
        if class_index is not None and class_name is not None:
            both = f"class_index {_short(class_index)} and class_name {_short(class_name)}"
            raise BadInput(f"{both} are given, expected one of them")
        if class_name is not None:
            return self._index_of(class_name)
        if class_index is not None:
            return self._checked(n, class_index)
        settings = self.settings
        if settings.class_draw == "train" and settings.class_counts:
            return classes_like(settings.class_counts, n, seed)
        return None

    def _index_of(self, name):
        if not self.class_names:
            known = (
                "was made before names were recorded: give class_index" if self.prior.n_classes else "has no classes"
            )
            raise BadInput(f"class_name is {_short(name)}, but this run {known}")
        if not isinstance(name, str):
            raise BadInput(f"class_name is {_short(name)}, expected a text: one of {', '.join(self.class_names)}")
        check_name("class", name, self.class_names)
        return self.class_names.index(name)

    def _checked(self, n, class_index):
        """class_index as an int, or as (n,) int64."""
        k = self.prior.n_classes
        if k == 0:
            raise BadInput(f"class_index is {_short(class_index)}, but this run has no classes: leave it out")
        index = _array(class_index)
        if index.dtype.kind not in "iu" or index.shape not in ((), (n,)):
            by_name = ": a name is given as class_name" if index.dtype.kind in "US" else ""
            raise BadInput(f"class_index is {_short(class_index)}, expected a whole number or {n} of them{by_name}")
        if index.min() < 0 or index.max() >= k:
            raise BadInput(f"class_index is {_short(class_index)}, expected 0..{k - 1}: this run knows {k} classes")
        return torch.from_numpy(index.astype(np.int64)) if index.ndim else int(index)


def load_run(folder):
    """Open the folder of a finished run: the one that holds metrics.json, where it was made or copied to.

    raises   NotFound where there is none; BadInput if a part is not the one that the run was made with
    """
    if not isinstance(folder, str | os.PathLike):
        raise BadInput(f"the folder of a run is {_short(folder)}, expected a path: see `cell_folder`")
    folder = Path(folder)
    metrics, config = read_json(folder / "metrics.json"), read_json(folder / "config.json")
    whole = isinstance(metrics, dict) and isinstance(config, dict)
    if not whole or not {"tokenizer", "scale_mean", "scale_std"} <= config.keys():  # pyright: ignore[reportOptionalMemberAccess]  # a dict where `whole` is true
        raise NotFound(f"no finished run in {folder}: expected the cell folder that `run_experiment` filled")
    check_held(folder)
    held = (folder / "tokenizer.safetensors").is_file()  # runs of earlier versions had it in the shared folder only
    shared = folder / config["tokenizer"]  # pyright: ignore[reportOptionalSubscript]
    if not held and not (shared / "tokenizer.safetensors").is_file():
        raise NotFound(
            f"{folder} needs a tokenizer.safetensors, which this version puts into it and earlier ones kept in "
            f"{Path(os.path.normpath(shared))}: copy it from where the run was made"
        )
    tokenizer = load_tokenizer(folder if held else shared)
    pieces = ResidualPieces.load(folder) if (folder / "residuals.safetensors").exists() else None
    scale_of_train = config["scale_mean"], config["scale_std"]  # pyright: ignore[reportOptionalSubscript]
    return Run(tokenizer, MaskGIT.load(folder), *scale_of_train, metrics, config, pieces)  # pyright: ignore[reportArgumentType]


def _whole(value, name, least):
    """A whole number of Python or numpy, of `least` or more, as an int; neither True nor 5.0 is one."""
    number = _array(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadInput(f"{name} is {_short(value)}, expected a whole number of 64 bits: choose a smaller one")
    if number.ndim or number.dtype.kind not in "iu" or number < least:
        raise BadInput(f"{name} is {_short(value)}, expected a whole number{' of 1 or more' if least == 1 else ''}")
    return int(number)


def _array(value):
    """As an array; what numpy can make none of is an object, which is no number."""
    try:
        return np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        return np.array(None)


def _short(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
