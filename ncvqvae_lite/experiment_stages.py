"""Common ground of the stages: scaled series, how a run is carried out, and that nothing is done twice."""

import contextlib
import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from .experiment_folders import claim, discard
from .experiment_parts import note_weights
from .files import hold, write_json, writing_to
from .training_engine import batch_sizes, derive_seed, epochs_for

CAS_SERIES = 1000  # generated, at least, for the classification accuracy score
OPTIM_FIELDS = ("batch_size", "lr", "weight_decay", "schedule", "average")


@dataclass(frozen=True)
class Session:
    """How a run is carried out; nothing here changes a number on one device.

    progress  (stage, epochs done (a fraction counts), epochs, loss terms, steps per second), or None
    """

    out_dir: Path
    device: torch.device
    progress: object = None
    checkpoint_seconds: float = 60.0

    def __post_init__(self):
        torch.set_flush_denormal(True)  # for the whole run, so that a rerun of the last stages alone computes alike

    def loop(self, stage, folder, on_epoch=None):
        """Keyword arguments for the step engine's loop."""
        progress = self.progress and functools.partial(self.progress, stage)  # pyright: ignore[reportArgumentType]  # a function or None
        loop = dict(checkpoint=folder / f"{stage}.checkpoint", checkpoint_seconds=self.checkpoint_seconds)
        return loop | dict(on_epoch=on_epoch, progress=progress)


class Scaled(NamedTuple):
    """A data set in units of the train set's scalar standard deviation, on the device; dtype is that of raw series."""

    x_train: torch.Tensor
    y_train: torch.Tensor | None
    x_test: torch.Tensor
    y_test: torch.Tensor | None
    mean: float
    std: float
    dtype: torch.dtype = torch.float32


def scale(ds, device):
    """Subtract the scalar mean of the whole train matrix, divide by its scalar population standard deviation.

    In float64, whatever the series are: of those on a large offset float32 would keep the offset and lose the shape.
    """
    mean, std = ds.x_train.double().mean().item(), ds.x_train.double().std(correction=0).item()
    x_train, x_test = (((x.double() - mean) / std).float().to(device) for x in (ds.x_train, ds.x_test))
    y_train, y_test = (y if y is None else y.to(device) for y in (ds.y_train, ds.y_test))
    return Scaled(x_train, y_train, x_test, y_test, mean, std, ds.x_train.dtype)


def unscale(series, mean, std, dtype=torch.float32):
    """Scaled series (n, C, L) in raw units, computed in the type of the raw series that mean and std are of."""
    return series.to(dtype) * std + mean


def stage(folder, settings, ds, session, make, wait=True):
    """Do a stage once, in a folder that this process holds; returns its metrics.

    settings   what the folder is for, recorded in its config.json
    make       () -> metrics, plain floats; called where the folder is not finished. They are written last
    wait       whether to wait for another process that makes the same (else it is an error)
    """
    with hold(folder, wait=wait), writing_to(folder):
        discard(folder, "*.partial")  # what a killed process was writing
        metrics = claim(folder, settings, ds, session.device)
        if metrics is None:
            metrics = make()
            note_weights(folder)
            write_json(folder / "metrics.json", metrics)
        discard(folder, "*.checkpoint")
    return metrics


@contextlib.contextmanager
def initial_weights(*seed):
    """Draw the initial weights of a network from a seed, without touching the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(*seed))
        yield


def resolve(cfg, ds):
    """The configuration for a data set: settings left to its number of train series get their values.

    Steps become as many whole epochs as fit in, at least one. The classifier behind CAS sees 1,000 series or more.
    """
    found, n = {}, len(ds.x_train)
    for name, rule in cfg.rules().items():
        value = [value for least, value in rule if n >= least][-1]
        if name.endswith("epochs"):
            stage = name.removesuffix("epochs").replace("cas_", "fcn_")
            series = max(n, CAS_SERIES) if name == "cas_epochs" else n
            value = max(1, value // len(batch_sizes(series, getattr(cfg, f"{stage}batch_size"))))
        found[name] = value
    return replace(cfg, **found)


def optim_settings(cfg, n, prefix="", epochs=None):
    """How a network is trained on n series, as fields of `Optim`: from the settings named PREFIX...; epochs replace."""
    settings = {name: getattr(cfg, prefix + name) for name in OPTIM_FIELDS if hasattr(cfg, prefix + name)}
    epochs = epochs or getattr(cfg, f"{prefix}epochs")
    return settings | {"epochs": epochs_for(n, settings["batch_size"], epochs, getattr(cfg, f"{prefix}min_steps"))}
