"""The recorded runs of chapter 12, peeling VICReg: see `family.py`.

Every training is 150 steps of 64 series by Adam at 0.001, of a ResNet1d with a projector 64-256-256-256; VICReg's views
are `simclr_views`. Accuracies are those of 5 nearest neighbours ("knn") and of a linear probe ("probe") on the frozen
features of the first 1,000 test series.
"""

import numpy as np
import torch
from family_data import Item, splits

from ncvqvae_lite import vicreg
from ncvqvae_lite.family.common import (
    ResNet1d,
    density_score,
    effective_rank,
    knn_probe,
    linear_probe,
    pretrain,
    rank_auc,
    with_projector,
)
from ncvqvae_lite.family.peel import eigenmaps, neighbour_pairs, neighbour_views, purity, same_class_pairs
from ncvqvae_lite.family.views import SIMCLR, chain, drift, pair, simclr_views
from ncvqvae_lite.inference import batched

TEST, HEIGHT, FOLDS = 1000, 3.0, 5
HOW = dict(steps=150, batch=64, lr=1e-3)
SHARES = {"raw": 0.0, "a quarter random": 0.25, "half random": 0.5, "random": 1.0}


def trained(x, g, views=simclr_views, index=None, var=25.0):
    """A network that VICReg taught: by views, or by neighbours (n, k) where `index` is given."""
    net = with_projector(ResNet1d(x.shape[1]), 64, 256, 256, 256)
    rows = x if index is None else torch.arange(len(x))
    views = views if index is None else neighbour_views(x, index)
    pretrain(net, views, lambda a, b: vicreg(a, b, var=var).total, rows, g=g, **HOW)
    return net


def accuracies(encoder, d):
    """5-NN and probe on frozen features of series d."""
    train, test = batched(encoder, d.x_train), batched(encoder, d.x_test)
    return {
        "knn": (knn_probe(train, d.y_train, test, d.y_test), len(test)),
        "probe": (linear_probe(train, d.y_train, test, d.y_test), len(test)),
    }


def by_neighbours(dataset, setting, seed):
    """VICReg with the 3 nearest series for views; nearest in which space, or which share of them is random."""
    d, g = splits(dataset, TEST), torch.Generator().manual_seed(seed)
    found = {}
    if setting == "learned":
        first = trained(d.x_train, g)
        found = {f"{name} of the first encoder": score for name, score in accuracies(first.encoder, d).items()}
        index = neighbour_pairs(batched(first.encoder, d.x_train), 3)
    elif setting == "same class":
        index = same_class_pairs(d.y_train, 3, g=g)
    else:
        index = neighbour_pairs(d.x_train, 3, replace=SHARES[setting], g=g)
    found |= accuracies(trained(d.x_train, g, index=index).encoder, d)
    return found | {"purity": (purity(index, d.y_train), index.numel())}


def under_drift(dataset, setting, seed):
    """All series drift; views, or neighbours in the drifting or in the clean series, or the drifting series alone."""
    clean, g = splits(dataset, TEST), torch.Generator().manual_seed(seed)
    d = clean._replace(x_train=drift(clean.x_train, g=g, height=HEIGHT), x_test=drift(clean.x_test, g=g, height=HEIGHT))
    if setting == "raw":
        return accuracies(torch.nn.Flatten(), d)
    if setting.startswith("views"):
        views = pair(chain(SIMCLR, drift)) if setting == "views with drift" else simclr_views
        return accuracies(trained(d.x_train, g, views).encoder, d)
    index = neighbour_pairs(clean.x_train if setting == "neighbours of the clean series" else d.x_train, 3)
    found = accuracies(trained(d.x_train, g, index=index).encoder, d)
    return found | {"purity": (purity(index, d.y_train), index.numel())}


def spectral(dataset, setting, seed):
    """Eigenmaps of 1,000 series with a drift of some height: 5-NN and probe in 5 folds, on codes and on series."""
    d, g = splits(dataset), torch.Generator().manual_seed(seed)
    x, y = torch.cat([d.x_train, d.x_test]), torch.cat([d.y_train, d.y_test])
    rows = torch.randperm(len(x), generator=g)[:1000]
    x, y = drift(x[rows], g=g, height=float(setting.removeprefix("drift "))), y[rows]
    found = {"purity": (purity(neighbour_pairs(x, 10), y), 10 * len(x))}
    for name, codes in (("", eigenmaps(x).numpy()), (" of raw series", x.flatten(1).numpy())):
        for metric, score in (("knn", knn_probe), ("probe", linear_probe)):
            found[metric + name] = (in_folds(score, codes, y.numpy()), len(x))
    return found


def in_folds(score, f, y):
    """Mean accuracy of 5 folds, each row read by the other four."""
    fold = np.arange(len(f)) % FOLDS
    return float(np.mean([score(f[fold != k], y[fold != k], f[fold == k], y[fold == k]) for k in range(FOLDS)]))


def peeled(dataset, setting, seed):
    """A set of the archive: series, untrained features, VICReg, the same without variance, neighbours for views."""
    d, g = splits(dataset, TEST), torch.Generator().manual_seed(seed)
    if setting in ("raw", "untrained"):
        return accuracies(encoder_of(setting, d.x_train, g), d)
    index = neighbour_pairs(d.x_train, 3) if setting == "neighbours" else None
    net = trained(d.x_train, g, index=index, var=0.0 if setting == "no variance" else 25.0)
    z = batched(net, d.x_test)
    found = accuracies(net.encoder, d) | {"sd of z": (z.std(dim=0).mean().item(), len(z))}
    found["rank of z"] = (effective_rank(z), len(z))
    return found | ({} if index is None else {"purity": (purity(index, d.y_train), index.numel())})


def encoder_of(setting, x, g):
    """Series as they are ("raw"), the features of an untrained network, or of one that VICReg taught on x ("views")."""
    if setting == "raw":
        return torch.nn.Flatten()
    return ResNet1d(x.shape[1]).eval() if setting == "untrained" else trained(x, g).encoder


def near_anomaly(dataset, setting, seed):
    """One class is left out of training and is the anomaly: mean and least AUC over classes, by 2 neighbours."""
    d, g = splits(dataset, TEST), torch.Generator().manual_seed(seed)
    areas = []
    for label in d.y_train.unique():
        x, odd = d.x_train[d.y_train != label], d.y_test == label
        encode = encoder_of(setting, x, g)
        score = density_score(batched(encode, x), batched(encode, d.x_test))
        areas.append(rank_auc(score[~odd.numpy()], score[odd.numpy()]))
    return {"mean AUC": (float(np.mean(areas)), len(d.x_test)), "least AUC": (min(areas), len(d.x_test))}


MADE = "TwoPatternsGenerated", "CBFGenerated", "SyntheticControlGenerated"
ITEMS = {
    "neighbours": Item(by_neighbours, MADE[:1], (*SHARES, "same class", "learned")),
    "drift": Item(
        under_drift,
        MADE[1:],
        ("raw", "views", "views with drift", "neighbours", "neighbours of the clean series"),
    ),
    "eigenmaps": Item(spectral, MADE, ("drift 0", "drift 1", "drift 2", "drift 3")),
    "peeled": Item(peeled, ("FacesUCR",), ("raw", "untrained", "views", "no variance", "neighbours")),
    "near anomaly": Item(near_anomaly, ("SyntheticControlGenerated",), ("raw", "untrained", "views")),
}
