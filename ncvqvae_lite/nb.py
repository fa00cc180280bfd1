"""What every notebook needs: seeds, checks that can fail, places for data and runs, and the text that cells print."""

import csv
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .augmentations import AUGMENTATIONS
from .config import ExperimentConfig
from .errors import BadInput
from .experiment_stages import view_of

COMPARISONS = (
    ("fid", "generated, unconditional"),
    ("fid_reconstruction", "test series after tokens and back"),
    ("fid_train_test", "train series"),
    ("fid_test_halves", "one half of test against the other"),
)


class CheckFailed(AssertionError):
    """A value that a notebook relies on is not what it should be."""


def seed_everything(seed):
    """Seed Python, numpy and torch, ask for deterministic algorithms on a CPU, and return a torch.Generator.

    Pass the generator on; the global seeds are for code that does not take one.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    if not torch.cuda.is_available():  # a GPU lacks deterministic versions of some operations
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False
    return torch.Generator().manual_seed(seed)


def check(name, value, expected=None, *, rtol=0.0, atol=0.0, low=None, high=None, digits=None, hint=""):
    """Compare a value with what it should be; print one line that is the same on every machine, or raise.

    value     a number, text, tuple, array or tensor
    expected  exact (rtol = atol = 0): compared with ==, and the value is printed;
              with a tolerance: |value - expected| <= atol + rtol |expected| everywhere, and only that is printed
    low, high bounds of a number instead of `expected`, both inclusive; the bounds are printed
    digits    print the value too, rounded to this many significant digits: for values that are stable to so many
    hint      what to look at when the check fails
    raises    CheckFailed with both values; BadInput if neither or both of `expected` and bounds are given
    """
    value, expected = _plain(value), _plain(expected)
    bounds = low is not None or high is not None
    if bounds == (expected is not None):
        raise BadInput(f"check {name!r} needs either an expected value or bounds: give one of them")
    if bounds:
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        passed = np.ndim(value) == 0 and bool(low <= value <= high)  # False for NaN
        wanted, said = f"between {low} and {high}", f"between {low:g} and {high:g}"
    elif rtol or atol:
        same_shape = np.shape(value) == np.shape(expected)
        passed = same_shape and bool(np.allclose(value, expected, rtol=rtol, atol=atol))  # False for NaN
        wanted = f"{expected} within rtol {rtol:g}, atol {atol:g}"
        said = "ok, " + " and ".join(f"{k} {v:g}" for k, v in (("rtol", rtol), ("atol", atol)) if v)
    else:
        passed = type(value) is type(expected) and np.array_equal(value, expected)
        wanted, said = f"{expected!r}", f"{value}"
    if not passed:
        raise CheckFailed(f"{name}: found {value}, expected {wanted}" + (f". {hint}" if hint else ""))
    print(f"{name}: {said}" if digits is None else f"{name}: {value:.{digits}g} ({said})")


def _plain(value):
    """Tensors and numpy values as Python numbers and arrays, sizes and lists as tuples."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.item() if value.ndim == 0 else value
    return tuple(value) if isinstance(value, list | torch.Size) else value


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


def changed_settings(cfg):
    """The fields of a configuration that differ from its preset's, as a dict."""
    cell = dict(dataset=cfg.dataset, method=cfg.method, augmentation=cfg.augmentation, seed=cfg.seed)
    plain = vars(ExperimentConfig.preset(cfg.preset_name, **cell))
    return {name: value for name, value in vars(cfg).items() if value != plain[name]}


def describe_config(cfg):
    """A few lines of text: which cell this is, how long it trains, what differs from the preset."""
    changed = changed_settings(cfg)
    return "\n".join(
        (
            f"data set   {cfg.dataset}",
            f"method     {cfg.method} + {cfg.augmentation}, seed {cfg.seed}",
            f"preset     {cfg.preset_name}" + (f", with {json.dumps(changed)}" if changed else ""),
            f"epochs     tokenizer {cfg.epochs}, prior {cfg.prior_epochs}, FCN {cfg.fcn_epochs}"
            + (f", CAS {cfg.cas_epochs}" if cfg.cas else "")
            + ("; more where series are few" if cfg.min_steps else ""),
        )
    )


def describe_data(ds):
    """A few lines of text: sizes, source, and how many series each class has (of the first 8)."""
    sizes = f"{len(ds.x_train)} train and {len(ds.x_test)} test series, {ds.channels} channel(s), {ds.length} steps"
    lines = [f"{ds.name}: {sizes}", f"source: {ds.source}"]
    for label, name in enumerate(ds.class_names[:8]):
        train, test = (int((y == label).sum()) for y in (ds.y_train, ds.y_test))
        lines.append(f"class {name}: {train} train, {test} test")
    if ds.n_classes > 8:
        lines.append(f"... and {ds.n_classes - 8} more classes")
    return "\n".join(lines if ds.n_classes else [*lines, "no labels"])


def views_of(cfg, x, generator):
    """Views of series x (n, C, L) by each augmentation, with this configuration's settings: name -> (n, C, L)."""
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
    with open(file, newline="", encoding="utf-8") as f:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(f)]


def floors_table(metrics):
    """FID of the generated series beside what it can be compared with, as text; each line is against the test split.

    Two real samples of the same source do not have FID 0, and no sample can be better than the tokenizer's decoder.
    """
    found = [(label, metrics[name]) for name, label in COMPARISONS if name in metrics]
    if not found:
        return "FID: not computed"
    width = max(len(label) for label, _ in found)
    lines = [f"{'FID against the test split of':{width}}  value"]
    lines += [f"{label:{width}}  {value:.4g}" for label, value in found]
    if "fid_train" in metrics:
        lines.append(f"Generated against train instead of test: {metrics['fid_train']:.4g}")
    if "is" in metrics:
        lines.append(f"IS: {metrics['is']:.4g} generated, {metrics['is_real']:.4g} real test series")
    return "\n".join(lines)
