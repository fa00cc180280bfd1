"""One cell of the thesis' tables, end to end: series -> tokenizer -> prior -> samples -> scores.

Before any work it refuses what cannot work, and it warns of what would say little (a flat channel, a weak FCN).
Everything is resumable: a finished stage is never redone, an unfinished one continues at its last checkpoint, and the
results are written last. Equal seeds give equal numbers on one CPU, interrupted or not; on a GPU some gradients are
summed in an order that varies.
"""

import json
import os
import warnings
from pathlib import Path

import torch

from .arguments import checked, function, instance_of, not_negative, optional, path
from .arguments_tensors import device as usable_device
from .config import ExperimentConfig
from .data import TimeSeriesDataset
from .errors import BadInput, WeakEvidence
from .experiment_budget import check_budget
from .experiment_card import write_card
from .experiment_cas import classification_accuracy_score  # noqa: F401 (a public name)
from .experiment_cell import make_cell
from .experiment_folders import finished_metrics
from .experiment_run import Run, load_run  # noqa: F401 (public names)
from .experiment_stages import Session, resolve, scale, stage
from .experiment_tokenizer import new_tokenizer
from .fcn import FCN
from .fcn_weights import file_hash
from .names import SCORES


@checked(out_dir=path, fcn_weights=optional(path), progress=optional(function), checkpoint_seconds=not_negative)
def run_experiment(
    cfg, ds, out_dir: str | Path = "runs", fcn_weights=None, *, device=None, progress=None, checkpoint_seconds=60.0
):
    """Run one configuration on one data set, or what is left of it, and return its metrics.

    cfg          ExperimentConfig
    ds           TimeSeriesDataset of the name in cfg
    out_dir      folder of all runs; see `cell_folder` for where this one lives
    fcn_weights  safetensors file of the FCN behind FID and IS; None trains one on the train split
    device       "cpu", "cuda", ...; None takes a GPU where there is one
    progress     (stage, epochs done, epochs, loss terms, steps per second), called about once a second; of the
                 epoch that runs a fraction is done
    returns      dict of plain floats, explained in data/README.md; what could not be computed is absent, and
                 `not_computed` says why
    raises       BadInput, NotFound or RunFolderError before any work starts; TrainingDiverged during training
    warns        LongRun before hours of work; WeakEvidence of a channel that the common scaling leaves nearly flat, and
                 of an FCN near chance
    """
    check_experiment(cfg, ds, fcn_weights)
    device = usable_device(device)
    for sentence in _flat_channels(ds):
        warnings.warn(sentence, WeakEvidence, stacklevel=3)  # past the check of arguments
    session = Session(Path(out_dir), device, progress, checkpoint_seconds)
    folder = cell_folder(cfg, out_dir, fcn_weights)
    metrics = finished_metrics(folder, ds) or _resume(cfg, ds, session, folder, fcn_weights)
    for sentence in _weak_fcns(ds, metrics):
        warnings.warn(sentence, WeakEvidence, stacklevel=3)  # past the check of arguments
    return metrics


def _resume(cfg, ds, session, folder, fcn_weights):
    """Write down what the cell's folder is for, and do what is left."""
    check_budget(cfg, ds, session, folder, fcn_weights)
    scaled = scale(ds, session.device)
    settings = json.loads(json.dumps(vars(cfg)))
    settings |= {"tokenizer": os.path.relpath(cfg.tokenizer_folder(session.out_dir), folder)}
    settings |= {"fcn": file_hash(fcn_weights) if fcn_weights else "own"}
    settings |= {"scale_mean": scaled.mean, "scale_std": scaled.std}
    settings |= {"resolved": {name: getattr(resolve(cfg, ds), name) for name in cfg.rules()}}
    settings |= {"class_counts": torch.bincount(ds.y_train).tolist() if ds.n_classes else []}  # of train
    settings |= {"class_names": ds.class_names, "dtype": str(scaled.dtype).removeprefix("torch.")}

    def make():
        metrics = make_cell(cfg, ds, scaled, session, folder, fcn_weights)
        weak = [*_flat_channels(ds), *_weak_fcns(ds, metrics)]
        write_card(folder, cfg, ds, metrics, not_computed(cfg, ds), weak, fcn_weights)
        return metrics

    return stage(folder, settings, ds, session, make, wait=False)


@checked(cfg=instance_of(ExperimentConfig), out_dir=path, fcn_weights=optional(path))
def cell_folder(cfg, out_dir: str | Path = "runs", fcn_weights=None):
    """The folder that `run_experiment` with these arguments fills."""
    return cfg.cell_folder(out_dir, file_hash(fcn_weights) if fcn_weights else "own")


# --- what cannot work, and what says little ---


def check_experiment(cfg, ds, fcn_weights=None):
    """Raise before any work what would fail later."""
    instance_of(ExperimentConfig)(cfg, "cfg")
    instance_of(TimeSeriesDataset)(ds, "ds")
    if cfg.dataset != ds.name:
        raise BadInput(f"the configuration is for {cfg.dataset}, the series are {ds.name}: make them agree")
    check_content(ds)
    check_trainable(cfg, ds)
    if fcn_weights is None:
        return
    if ds.n_classes == 0:
        raise BadInput(f"{ds.name} has no labels, so no FID is computed: leave out the FCN weights {fcn_weights}")
    fcn = FCN.load(fcn_weights)
    if (fcn.n_classes, fcn.channels) != (ds.n_classes, ds.channels):
        raise BadInput(
            f"{fcn_weights} is for {fcn.n_classes} classes and {fcn.channels} channel(s), {ds.name} has {ds.n_classes} "
            f"and {ds.channels}: give the weights of this data set, or none to train them"
        )


def check_content(ds):
    """Raise BadInput for values that no data set has when it is made: somebody edited them since."""
    edited = f"but {ds.name} had none when it was made: make it again with `from_arrays`, not by editing its tensors"
    for name in ("x_train", "x_test"):
        if not torch.isfinite(getattr(ds, name)).all():
            raise BadInput(f"{name} holds NaN or infinite values, {edited}")
    if ds.x_train.min() == ds.x_train.max():
        raise BadInput(f"every value of x_train is {ds.x_train.min():g}, expected series that vary: check {ds.name}")
    for name in ("y_train", "y_test") if ds.n_classes else ():
        if getattr(ds, name).min() < 0 or getattr(ds, name).max() >= ds.n_classes:
            raise BadInput(f"{name} holds labels outside 0..{ds.n_classes - 1}, {edited}")


def check_trainable(cfg, ds):
    """Raise BadInput where no tokenizer of this configuration fits the series."""
    if cfg.n_fft // 2 >= ds.length:
        raise BadInput(f"n_fft {cfg.n_fft} needs series longer than {cfg.n_fft // 2} steps, {ds.name} has {ds.length}")
    with torch.device("meta"):
        new_tokenizer(resolve(cfg, ds), ds)


def not_computed(cfg, ds):
    """Scores of the tables that this configuration and data set do not have: name -> reason."""
    reasons = {name: score.lacks(ds) for name, score in SCORES.items() if score.short and score.lacks(ds)}
    if ds.n_classes and not cfg.cas:
        reasons["cas"] = "switched off (cas=false)"
    return reasons


def _flat_channels(ds):
    """A sentence for each channel that the one common scaling leaves nearly flat within its typical (median) series."""
    x = ds.x_train.double()
    total = x.std(correction=0).item()
    for channel, own in enumerate(x.std(dim=2, correction=0).median(dim=0).values.tolist()):
        if own < 0.1 * total:
            yield (
                f"channel {channel} of {ds.name} has standard deviation {own:.3g} within its typical series, all is "
                f"divided by {total:.3g}: look for outliers, scale each channel or series, or leave the channel out"
            )


def _weak_fcns(ds, metrics):
    """A sentence for each FCN less than a quarter of the way from the most frequent class's share to 1."""
    for fid, name in (("fid", "fcn_accuracy"), ("fid_second", "fcn_accuracy_second")):
        if name in metrics:
            share = torch.bincount(ds.y_test).max().item() / len(ds.y_test)
            if metrics[name] < share + (1 - share) / 4:
                yield (
                    f"the FCN behind {fid} classifies {metrics[name]:.0%} of the test series of {ds.name} right, "
                    f"always naming the most frequent class {share:.0%}: check labels and scaling, raise fcn_min_steps"
                )
