"""Estimates before work: the time and memory that a cell takes on this machine, and settings that would fit.

Trainings and sampling are counted (`experiment_counts`) and set against the machine (`experiment_machine`). Scores and
probes are left out, so that the estimate is one from below: what is refused would not have fitted.
"""

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from .errors import BadInput, LongRun
from .experiment_counts import FLOAT, Shape, count_fcn, count_prior, count_tokenizer
from .experiment_machine import free_memory, speed
from .experiment_stages import CAS_SERIES, optim_settings, resolve
from .names import SCORES
from .training_prior import CPU_MICRO_BATCH

LONG_RUN = 3 * 3600  # seconds: a longer one is announced
SHARE = 0.5  # of a convolution's speed that whole training steps reach, 0.3 to 0.7
COPIES = 8  # of all series that are held at a time, at most: raw, scaled, generated, and in float64 while one is made

# What makes a stage smaller, the gentlest first, and down to which value; what makes it shorter.
SMALLER = {
    "fcn": {"fcn_batch_size": 8},
    "tokenizer": {"batch_size": 8, "codebook_size": 32, "dim": 16},
    "prior": {"prior_batch_size": 8, "codebook_size": 32, "prior_width": 64},
    "samples": {"codebook_size": 32, "prior_width": 64},
    "cas": {"fcn_batch_size": 8},
}
EPOCHS = {"fcn": "fcn_", "tokenizer": "", "prior": "prior_"}  # stage -> prefix of its epochs and min_steps


class Need(NamedTuple):
    seconds: float  # on this machine
    memory: float  # bytes, beside the series


def check_budget(cfg, ds, session, folder, fcn_weights=None):
    """Before what is left of a cell is done: refuse what this machine's memory cannot hold, announce what takes hours.

    folder  of the cell
    raises  BadInput where a stage needs more memory than is free, with the settings that would fit
    warns   LongRun of a run that takes hours, with settings that make it shorter
    """
    device, done = session.device, finished_stages(cfg, session.out_dir, folder, fcn_weights)
    cfg, free = resolve(cfg, ds), free_memory(device) - COPIES * FLOAT * (ds.x_train.numel() + ds.x_test.numel())
    found = {stage: need for stage, need in needs(cfg, ds, device).items() if stage not in done}
    changes, too_large = {}, [stage for stage, need in found.items() if need.memory > free]
    for stage in too_large:
        changes |= smaller(replace(cfg, **changes), ds, device, stage, free)
    if too_large:
        stage = max(too_large, key=lambda name: found[name].memory)
        smaller_run = f"set {_in_words(changes)}" if changes else "use shorter or fewer series"
        raise BadInput(
            f"{stage} of {ds.name} ({ds.sizes}) needs about {_gigabytes(found[stage].memory)} of memory, "
            f"{_gigabytes(max(free, 0))} are free: {smaller_run}, or use a larger machine"
        )
    seconds = sum(need.seconds for need in found.values())
    if seconds > LONG_RUN:
        changes = shorter(cfg, len(ds.x_train), found)
        others = needs(replace(cfg, **changes), ds, device)
        left = sum(need.seconds for stage, need in others.items() if stage not in done)
        parts = ", ".join(f"{stage} {_hours(need.seconds)}" for stage, need in found.items() if need.seconds >= 360)
        sentence = f"this run takes about {_hours(seconds)} or more here ({parts})"
        warnings.warn(f"{sentence}: {_in_words(changes)} make it {_hours(left)}", LongRun, stacklevel=3)


def finished_stages(cfg, out_dir, folder, fcn_weights):
    """Names of the stages that need not be done any more."""
    files = {
        "fcn": fcn_weights or cfg.fcn_folder(out_dir) / "metrics.json",
        "tokenizer": cfg.tokenizer_folder(out_dir) / "metrics.json",
        "prior": folder / "prior.safetensors",
    }
    return {stage for stage, file in files.items() if Path(file).exists()}


def smaller(cfg, ds, device, stage, free):
    """Changes of settings with which a stage has the memory that is free; {} if there are none."""
    changes = {}
    for name, least in SMALLER[stage].items():
        while getattr(cfg, name) > least:
            changes[name] = max(least, getattr(cfg, name) // 2)
            cfg = replace(cfg, **changes)
            if needs(cfg, ds, device)[stage].memory <= free:
                return changes
    return {"cas": False} if stage == "cas" else {}


def shorter(cfg, n_train, found):
    """Changes of settings with which the stages that take longest take a part of LONG_RUN."""
    part, changes = LONG_RUN / len(found), {}
    for stage, need in found.items():
        if stage == "cas" and need.seconds > part:
            changes["cas"] = False
        elif stage in EPOCHS and need.seconds > part:
            epochs = optim_settings(cfg, n_train, EPOCHS[stage])["epochs"]
            changes[f"{EPOCHS[stage]}epochs"] = max(1, int(epochs * part / need.seconds))
            changes |= {name: 0 for name in [f"{EPOCHS[stage]}min_steps"] if getattr(cfg, name)}
    return changes


def _in_words(changes):
    return ", ".join(f"{name}={str(value).lower()}" for name, value in changes.items())


def _hours(seconds):
    return f"{seconds / 3600:.1f} h"


def _gigabytes(number):
    return f"{number / 1e9:.1f} GB"


# --- what each stage needs ---


def needs(cfg, ds, device):
    """stage -> Need of a configuration whose rules are resolved, for a TimeSeriesDataset."""
    shape = Shape.of(ds)
    n_train, n_test = shape.n_train, shape.n_test
    per_second = speed(device) * SHARE
    found = {}

    def training(stage, step, batch_size, n, prefix, epochs=None):
        epochs = optim_settings(cfg, n, prefix, epochs)["epochs"]
        found[stage] = Need(3 * step.operations / batch_size * n * epochs / per_second, step.memory)

    def fcn_step(n):
        return count_fcn(shape, min(cfg.fcn_batch_size, n))

    if not SCORES["fid"].lacks(ds):
        training("fcn", fcn_step(n_train), min(cfg.fcn_batch_size, n_train), n_train, "fcn_")
    training("tokenizer", count_tokenizer(cfg, shape), min(cfg.batch_size, n_train), n_train, "")
    micro = min(cfg.prior_batch_size, n_train, CPU_MICRO_BATCH if device.type == "cpu" else math.inf)
    prior, sampling = count_prior(cfg, shape, micro)
    training("prior", prior, micro, n_train, "prior_")
    n_samples = max(n_test, cfg.min_samples) + (n_test if ds.n_classes else 0)
    found["samples"] = Need(sampling.operations * n_samples / per_second, sampling.memory)
    if cfg.cas and not SCORES["cas"].lacks(ds):
        n = max(n_train, CAS_SERIES)
        training("cas", fcn_step(n), min(cfg.fcn_batch_size, n), n, "fcn_", cfg.cas_epochs)
        extra = sampling.operations * n / per_second
        found["cas"] = found["cas"]._replace(seconds=found["cas"].seconds + extra)
    return found
