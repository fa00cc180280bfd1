"""What a recorded run of the family learns from: the data sets by name, and the register's entries.

Made and bundled sets are everywhere; another one is read from the folder $NCVQVAE_DATA, and the items that need it are
left out where it is not there.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ncvqvae_lite import gestures, load_dataset
from ncvqvae_lite.data_files import names_in
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.generators import GENERATORS

GESTURES = "GesturesGenerated"
CAPTIONED = "CaptionedGenerated"  # `captions.captioned`: chapter 15 draws series and captions anew for each seed
BUNDLED = ("BasicMotions", "GunPoint", "ItalyPowerDemand")  # those of aeon's sets that the chapters use
TABLES = ("breast_cancer", "wine", "digits")  # scikit-learn's


class Item(NamedTuple):
    """One question of a chapter that is answered by many runs: each data set in each setting with each seed."""

    run: Callable  # (dataset, setting, seed) -> {metric: (value, n)}, n the number of series that the value is of
    datasets: tuple
    settings: tuple


class Splits(NamedTuple):
    x_train: torch.Tensor  # (n, C, L) float32, minus the mean of each of train's channels, over its deviation
    y_train: torch.Tensor  # (n,) int64
    x_test: torch.Tensor
    y_test: torch.Tensor


ONE_CLASS_FIRST = ("ECG5000",)  # sets whose first test series are all of one class


def splits(name, most_test=None):
    """A data set, standardised by its train split; `most_test` takes the first so many test series.

    Those of ONE_CLASS_FIRST are shuffled before, always in the same way. raises BadInput where a class is left out.
    """
    ds = gestures() if name == GESTURES else load_dataset(name)
    rows = torch.arange(len(ds.x_test))
    if name in ONE_CLASS_FIRST:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    rows = rows[:most_test]
    if set(ds.y_test[rows].tolist()) != set(ds.y_test.tolist()):
        raise BadInput(f"the first {most_test} test series of {name} lack a class: add it to ONE_CLASS_FIRST")
    x, x_test = ds.x_train, ds.x_test[rows]
    mean, deviation = x.mean(dim=(0, 2), keepdim=True), x.std(dim=(0, 2), correction=0, keepdim=True)
    scaled = [((each - mean) / deviation).float() for each in (x, x_test)]
    return Splits(scaled[0], ds.y_train, scaled[1], ds.y_test[rows])


def normalised(net, encode, x):
    """A network in eval mode, its batch norms with the means and variances that they see when it encodes all series x.

    The weights stay. The batch norms of a new network have 0 and 1 there and change nothing, those of a trained one do:
    so this, too, is a network that has learned nothing. encode: a part or method of net.
    """
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.reset_running_stats()
            norm.momentum = None  # no average with what was there
    with torch.no_grad():
        net.train()
        encode(x)
    return net.eval()


def missing(name):
    """Why a data set cannot be read here, in one sentence; None where it can."""
    if name in (GESTURES, CAPTIONED, *GENERATORS, *BUNDLED, *TABLES):
        return None
    folder = os.environ.get("NCVQVAE_DATA")
    if not folder:
        return f"{name} is left out: set NCVQVAE_DATA to a folder that has it"
    return None if name in names_in(Path(folder)) else f"{name} is left out: it is not in {folder} (NCVQVAE_DATA)"
