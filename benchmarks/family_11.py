"""The recorded runs of chapter 11, two views and no labels: see `family.py`.

All of them learn without labels by SimCLR's recipe at one size: 64 series a step, Adam at 1e-3, 200 steps, or 100 where
labels follow (few labels, transfer, preprocessing). Accuracies are of test series; "probe" is a logistic regression.
"""

import functools

import numpy as np
import torch
from family_data import GESTURES, Item, Splits, normalised, splits
from torch import nn
from torch.nn import functional as F

from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.family import views
from ncvqvae_lite.family.common import (
    ResNet1d,
    accuracy,
    alignment,
    class_separation,
    effective_rank,
    few_labels,
    fine_tune,
    from_scratch,
    knn_probe,
    linear_probe,
    mean_correlation,
    pretrain,
    uniformity,
    with_projector,
)
from ncvqvae_lite.family.contrast import NNCLR, MoCo, Momentum, Queue, SimSiam, hard_negatives, nt_xent
from ncvqvae_lite.inference import batched
from ncvqvae_lite.ssl_losses import barlow_twins, vicreg

TEST = 1000  # series of a test split that are looked at
TRAINING = dict(steps=200, batch=64, lr=1e-3)
SHORT = 100  # steps where labels follow
UWAVE = "UWaveGestureLibraryAll"
NARROW, WIDE = (64, 128, 64), (64, 256, 256, 256)  # projectors: h, what follows, z


def source(seed):
    return torch.Generator().manual_seed(seed)


# --- what a view does to labels ---


def preservation(dataset, setting, seed):
    """1-NN accuracy of test series seen through one view, against clean train series; "clean": through none."""
    d = splits(dataset, TEST)
    seen = d.x_test if setting == "clean" else views.VIEWS[setting](d.x_test, g=source(seed))
    return {"accuracy": (knn_probe(d.x_train, d.y_train, seen, d.y_test, k=1), len(seen))}


# --- one loop, many losses ---


class Answering(SimSiam):
    """SimSiam without its stop: the gradient passes on both sides."""

    def forward(self, a, b):
        return -(F.cosine_similarity(self.predict(a), b).mean() + F.cosine_similarity(self.predict(b), a).mean()) / 2


def flipped(flip):
    """SimCLR's views, each upside down or backwards with probability one half."""
    return views.pair(views.chain(views.SIMCLR, views.maybe(flip)))


METHODS = {  # name -> (loss of a generator, projector, views)
    "simclr": (lambda g: nt_xent, NARROW, views.simclr_views),
    "vicreg": (lambda g: lambda a, b: vicreg(a, b).total, WIDE, views.simclr_views),
    "barlow": (lambda g: lambda a, b: barlow_twins(a, b).total, WIDE, views.simclr_views),
    "simsiam": (lambda g: SimSiam(), NARROW, views.simclr_views),
    "simsiam, no stop": (lambda g: Answering(), NARROW, views.simclr_views),
    "moco": (lambda g: MoCo(Queue(g=g)), NARROW, views.simclr_views),
    "nnclr": (lambda g: NNCLR(Queue(g=g)), NARROW, views.simclr_views),
    "hard negatives": (lambda g: hard_negatives, NARROW, views.simclr_views),
    "simclr + flip_sign": (lambda g: nt_xent, NARROW, flipped(views.flip_sign)),
    "simclr + flip_time": (lambda g: nt_xent, NARROW, flipped(views.flip_time)),
}


def trained(x, g, loss=nt_xent, widths=NARROW, pairs=views.simclr_views, encoder=None, **changes):
    """A network with its projector after `pretrain`, and the loss of each step."""
    net = with_projector(encoder or ResNet1d(x.shape[1]), *widths)
    slow = Momentum(net) if isinstance(loss, MoCo) else None
    return net, pretrain(net, pairs, loss, x, g=g, slow=slow, **(TRAINING | changes))


def worth(net, d, g):
    """What features h and projections z are worth, and how they fill their space."""
    n, (one, other) = len(d.x_test), views.simclr_views(d.x_test, g)
    found = {}
    for name, embed in (("h", net.encoder), ("z", net)):
        f_train, f = batched(embed, d.x_train), batched(embed, d.x_test)
        found[f"probe_{name}"] = linear_probe(f_train, d.y_train, f, d.y_test)
        found[f"probe_train_{name}"] = linear_probe(f_train, d.y_train, f_train, d.y_train)
        found[f"knn_{name}"] = knn_probe(f_train, d.y_train, f, d.y_test)
        found[f"rank_{name}"] = effective_rank(f)
        found[f"spread_{name}"] = F.normalize(f, dim=1).std(dim=0).mean().item() * f.shape[1] ** 0.5  # 1: a sphere
        found[f"alignment_{name}"] = alignment(batched(embed, one), batched(embed, other))
        found[f"uniformity_{name}"] = uniformity(f)
        found[f"correlation_{name}"] = mean_correlation(f)
        found[f"separation_{name}"] = class_separation(f, d.y_test)
    return {name: (value, len(d.x_train) if "train" in name else n) for name, value in found.items()}


def method(dataset, setting, seed):
    """Features of an encoder trained by one loss, or by none; both flips are views that destroy labels."""
    d, g = splits(dataset, TEST), source(seed)
    if setting in ("untrained", "untrained, normalised"):
        net = with_projector(ResNet1d(d.x_train.shape[1]), *NARROW).eval()
        return worth(normalised(net, net, d.x_train) if setting != "untrained" else net, d, g)
    loss, widths, pairs = METHODS[setting]
    net, history = trained(d.x_train, g, loss(g), widths, pairs)
    return worth(net, d, g) | {"loss": (float(np.mean(history[-20:])), TRAINING["batch"])}


def cropped(share):
    """SimCLR's views with a window of another size."""
    rest = [views.maybe(view) for view in (views.blockout, views.noise, views.magnitude_warp, views.smooth)]
    return views.pair(views.chain(functools.partial(views.crop_resize, share=share), *rest))


STRENGTHS = {  # how hard the views of a series are to recognise
    "no crop": views.pair(views.noise),
    "crop 0.4": cropped(0.4),
}


def strength(dataset, setting, seed):
    """SimCLR with weaker and stronger views; those of 0.8 are the method "simclr"."""
    d, g = splits(dataset, TEST), source(seed)
    net, history = trained(d.x_train, g, pairs=STRENGTHS[setting])
    return worth(net, d, g) | {"loss": (float(np.mean(history[-20:])), TRAINING["batch"])}


class Rows(nn.Module):
    """A network that does not know what time is: every step a column. (B, 1, L) -> (B, 64)."""

    def __init__(self, length):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(length, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64))

    def forward(self, x):
        return self.layers(x.flatten(1))


def bias(dataset, setting, seed):
    """SimCLR of a network without convolutions, which may reach the same loss with other features."""
    d, g = splits(dataset, TEST), source(seed)
    rows = Rows(d.x_train.shape[2])
    if setting == "no convolution, untrained":
        return worth(with_projector(rows, *NARROW).eval(), d, g)
    net, history = trained(d.x_train, g, encoder=rows)
    return worth(net, d, g) | {"loss": (float(np.mean(history[-20:])), TRAINING["batch"])}


# --- few labels ---


def with_few_labels(nets, d, labels, seed):
    """Accuracy of classifiers made with so many labels of each class: of trained encoders, and of an untrained one."""
    found, n = {}, len(d.x_test)
    for per_class in labels:
        for name, net in nets.items():
            tuned = fine_tune(net, d.x_train, d.y_train, per_class=per_class, g=source(seed))
            found[f"{name}_tuned_{per_class}"] = accuracy(tuned, d.x_test, d.y_test)
            rows = few_labels(d.y_train, per_class, source(seed))
            f_train, f = batched(net, d.x_train[rows]), batched(net, d.x_test)
            found[f"{name}_probe_{per_class}"] = linear_probe(f_train, d.y_train[rows], f, d.y_test)
        x, y = d.x_train[rows], d.y_train[rows]
        found[f"raw_{per_class}"] = knn_probe(x, y, d.x_test, d.y_test, k=1)
        torch.manual_seed(seed)
        empty = ResNet1d(d.x_train.shape[1])
        scratch = from_scratch(empty, d.x_train, d.y_train, per_class=per_class, g=source(seed))
        found[f"scratch_{per_class}"] = accuracy(scratch, d.x_test, d.y_test)
    return {name: (value, n) for name, value in found.items()}


def few(dataset, setting, seed):
    """Few-label curves of SimCLR's encoder, fine-tuned and frozen, of training from scratch, and of the raw series."""
    d = splits(dataset, TEST)
    net, _ = trained(d.x_train, source(seed), steps=SHORT)
    return with_few_labels({"simclr": net.encoder}, d, (3, 11, 28), seed)


def motions(name):
    """Three channels: the gestures, the accelerometer of BasicMotions, the three axes that UWave's series join.

    Of UWave the train split alone, every second series to test: its test split is kept for the campaigns.
    """
    d = splits(name)
    if name == UWAVE:
        x = d.x_train.view(len(d.x_train), 3, -1)
        return Splits(x[::2], d.y_train[::2], x[1::2], d.y_train[1::2])
    return d._replace(x_train=d.x_train[:, :3], x_test=d.x_test[:, :3])


def transfer(dataset, setting, seed):
    """Pre-training on the series of one set, few labels of the other; beside pre-training on that set's own series.

    setting: "to" and the set of the labels, or "from" and the set without.
    """
    other, target = map(motions, (dataset, setting.split()[1]))
    if setting.startswith("from"):
        other, target = target, other
    nets = {}
    for name, x in (("other", other.x_train), ("own", target.x_train)):
        torch.manual_seed(seed)
        nets[name] = trained(x, source(seed), steps=SHORT, batch=min(64, len(x) // 2))[0].encoder
    return with_few_labels(nets, target, (1, 3), seed)


# --- what is done to series before ---


def scaled(d):
    """Minus the mean of each of train's channels, over its deviation."""
    mean, deviation = d.x_train.mean(dim=(0, 2), keepdim=True), d.x_train.std(dim=(0, 2), keepdim=True)
    return [(x - mean) / deviation for x in (d.x_train, d.x_test)]


def scaled_by_all(d):
    """Scaled by train and test together: a leak."""
    both = torch.cat([d.x_train, d.x_test])
    return [(x - both.mean(dim=(0, 2), keepdim=True)) / both.std(dim=(0, 2), keepdim=True) for x in (d[0], d[2])]


def min_max(d):
    """Scaled, then to 0..1 by train's extremes of each channel."""
    x, x_test = scaled(d)
    low, high = x.amin(dim=(0, 2), keepdim=True), x.amax(dim=(0, 2), keepdim=True)
    return [(each - low) / (high - low) for each in (x, x_test)]


def without_outliers(d):
    """Scaled; values beyond 3 deviations are taken for missing, and filled forward, then backward."""
    return [views.fill_missing(x.masked_fill(x.abs() > 3, torch.nan)) for x in scaled(d)]


def averaged(d):
    """Scaled, then a moving average over five steps."""
    return [F.avg_pool1d(F.pad(x, (2, 2), mode="replicate"), 5, stride=1) for x in scaled(d)]


def uncorrelated(d):
    """Scaled, without channels that correlate by more than 0.3 with an earlier one that is kept."""
    x, x_test = scaled(d)
    size = torch.corrcoef(x.transpose(0, 1).flatten(1)).abs()  # (C, C)
    kept = []
    for channel in range(len(size)):
        if all(size[channel, other] <= 0.3 for other in kept):
            kept.append(channel)
    return [x[:, kept], x_test[:, kept]]


PREPARED = {
    "raw": lambda d: [d.x_train, d.x_test],
    "scaled": scaled,
    "scaled by train and test": scaled_by_all,
    "min-max": min_max,
    "no outliers": without_outliers,
    "moving average": averaged,
    "correlation filter": uncorrelated,
}


def preprocessing(dataset, setting, seed):
    """Probe of SimCLR's features, and 1-NN of the series, from 2 labels a class after one way to prepare the series.

    Means over 20 draws of the labels.
    """
    ds, g = load_dataset(dataset), source(seed)
    x, x_test = PREPARED[setting](Splits(ds.x_train, ds.y_train, ds.x_test, ds.y_test))
    net, _ = trained(x, g, steps=SHORT, batch=32)
    f_train, f = batched(net.encoder, x), batched(net.encoder, x_test)
    draws = [few_labels(ds.y_train, 2, g) for _ in range(20)]
    found = {
        "probe_2": np.mean([linear_probe(f_train[r], ds.y_train[r], f, ds.y_test) for r in draws]),
        "raw_2": np.mean([knn_probe(x[r], ds.y_train[r], x_test, ds.y_test, k=1) for r in draws]),
    }
    return {name: (float(value), len(x_test)) for name, value in found.items()} | {"channels": (x.shape[1], len(x))}


TWO = ("TwoPatternsGenerated",)
NORMALISED = (*TWO, "CBFGenerated", "SyntheticControlGenerated", "GunPoint", "ItalyPowerDemand")
ITEMS = {
    "label preservation": Item(preservation, NORMALISED, ("clean", *views.VIEWS)),
    "methods": Item(method, TWO, ("untrained", "untrained, normalised", *METHODS)),
    "few labels": Item(few, TWO, ("simclr",)),
    "encoder": Item(bias, TWO, ("no convolution", "no convolution, untrained")),
    "strength": Item(strength, TWO, tuple(STRENGTHS)),
    "transfer to motions": Item(transfer, (GESTURES,), ("to BasicMotions",)),
    "transfer to gestures": Item(transfer, ("BasicMotions",), (f"to {GESTURES}",)),
    "preprocessing": Item(preprocessing, ("BasicMotions",), tuple(PREPARED)),
    "transfer from UWave": Item(transfer, (UWAVE,), ("to BasicMotions",)),
    "transfer to UWave": Item(transfer, (UWAVE,), (f"from {GESTURES}",)),
}
