"""The recorded runs of chapter 11, two views and no labels: see `family.py`."""

import torch
from family_data import Item, splits

from ncvqvae_lite.family.common import knn_probe
from ncvqvae_lite.family.views import VIEWS


def preservation(dataset, setting, seed):
    """1-NN accuracy of test series seen through one view, against clean train series; "clean": through none."""
    d = splits(dataset, most_test=1000)
    g = torch.Generator().manual_seed(seed)
    seen = d.x_test if setting == "clean" else VIEWS[setting](d.x_test, g=g)
    return {"accuracy": (knn_probe(d.x_train, d.y_train, seen, d.y_test, k=1), len(seen))}


ITEMS = {
    "label preservation": Item(
        preservation,
        ("TwoPatternsGenerated", "CBFGenerated", "SyntheticControlGenerated", "GunPoint", "ItalyPowerDemand"),
        ("clean", *VIEWS),
    )
}
