"""The recorded runs of chapter 13, every scale and every column: see `family.py`.

TS2Vec is run in two sizes: "quick", a `DilatedNet` (32, 6, 64), and "full", the paper's (64, 10, 320); both with the
authors' number of steps and batches of 8. Its features are scored by the authors' SVM. "0 / 20 / 40 missing" are
percent of the values, dropped in train and test; the same ones for every method with one seed.
"""

import functools
import math

import numpy as np
import torch
from family_data import GESTURES, TABLES, Item, normalised, splits
from sklearn import datasets
from sklearn.model_selection import train_test_split

from ncvqvae_lite.family import views
from ncvqvae_lite.family.common import (
    ResNet1d,
    accuracy,
    fine_tune,
    from_scratch,
    knn_probe,
    linear_probe,
    pretrain,
    with_projector,
)
from ncvqvae_lite.family.contrast import debiased, mixup, mixup_loss, nt_xent
from ncvqvae_lite.family.expert import Given, expclr, expert_features, expert_views
from ncvqvae_lite.family.reduced import (
    TSTCC,
    StepFeatures,
    TimeFrequency,
    beside_spectrum,
    channel_pair,
    halves,
    tfc,
    tfc_code,
    tfc_views,
    tstcc_views,
)
from ncvqvae_lite.family.scales import DilatedNet, features, svm_probe, ts2vec
from ncvqvae_lite.family.tables import Mlp, corrupt, four_rows, labelled_part, scarf_views
from ncvqvae_lite.inference import batched

TEST = 1000  # series of a test split that are looked at
SIZES = {"quick": (32, 6, 64), "full": (64, 10, 320)}
NARROW = (64, 128, 64)  # projector: h, what follows, z


def source(seed):
    return torch.Generator().manual_seed(seed)


# --- TS2Vec ---


def with_gaps(dataset, missing, seed):
    """Splits of which so many percent of the values are NaN; which ones, the seed says."""
    d, g = splits(dataset, TEST), source(seed)
    if missing:
        d = d._replace(
            **{name: views.drop_values(getattr(d, name), missing / 100, g=g) for name in ("x_train", "x_test")}
        )
    return d


def by_svm(net, d):
    return svm_probe(features(net, d.x_train), d.y_train, features(net, d.x_test), d.y_test)


def learned(d, seed, size, **changes):
    """TS2Vec's three scores, and the accuracy of the network before it was trained."""
    net, n = DilatedNet(d.x_train.shape[1], *size), len(d.x_test)
    untrained = by_svm(net.eval(), d).accuracy
    history = ts2vec(net, d.x_train, g=source(seed), **changes)
    found = by_svm(net, d)
    scores = {name: (getattr(found, name), n) for name in ("accuracy", "auprc", "auroc")}
    return scores | {"untrained": (untrained, n), "loss": (float(np.mean(history[-20:])), len(d.x_train))}


def missing_values(dataset, setting, seed):
    """TS2Vec with missing values, by the SVM of its authors."""
    size, missing = setting.split(", ")
    return learned(with_gaps(dataset, int(missing.split()[0]), seed), seed, SIZES[size])


def filled(dataset, setting, seed):
    """The same series, filled: 1-NN after each of three ways, and two more classifiers after interpolation.

    forward: the last value before a gap; zero: train's mean, as the series are scaled.
    """
    d = with_gaps(dataset, int(setting.split()[0]), seed)
    ways = {"forward": views.fill_missing, "interpolated": views.interpolate_missing, "zero": torch.nan_to_num}
    found = {}
    for name, fill in ways.items():
        x, x_test = fill(d.x_train), fill(d.x_test)
        found[name] = knn_probe(x, d.y_train, x_test, d.y_test, k=1)
        if name == "interpolated":
            found["linear"] = linear_probe(x, d.y_train, x_test, d.y_test)
            if len(x) <= 500:  # on more, the hard margins among its candidates take minutes
                found["svm"] = svm_probe(x, d.y_train, x_test, d.y_test).accuracy
    return {name: (value, len(d.x_test)) for name, value in found.items()}


def by_batch(dataset, setting, seed):
    """TS2Vec with batches of other sizes, in 200 steps each."""
    return learned(splits(dataset, TEST), seed, SIZES["quick"], batch=int(setting.split()[1]))


def by_width(dataset, setting, seed):
    """TS2Vec with representations of other widths."""
    return learned(splits(dataset, TEST), seed, (*SIZES["quick"][:2], int(setting.split()[1])))


# --- eight systems in one loop ---


class Mixing:
    """Mixup as `pretrain` takes it: a mixture of two series and the clean ones, and the loss that knows the shares."""

    def views(self, x, g):
        mixed, self.other, self.share = mixup(x, g=g, alpha=0.2)
        return mixed, x

    def loss(self, mixed, z):
        return mixup_loss(mixed, z, self.other, self.share)


def on_series(make):
    """A system whose network is a `ResNet1d` with a projector, read at the encoder: of (views, loss) that x, g make."""

    def system(x, g):
        net = with_projector(ResNet1d(x.shape[1]), *NARROW)
        return net, *make(x, g), net.encoder, untouched

    return system


def untouched(x, g=None):
    return x


def mixing(x, g):
    both = Mixing()
    return both.views, both.loss


def tstcc(x, g):
    net = StepFeatures(ResNet1d(x.shape[1]))
    return net, tstcc_views, TSTCC(g=g), net.encoder, untouched


def time_frequency(loss):
    def system(x, g):
        net = TimeFrequency(x.shape[1])
        return net, tfc_views, loss, net.features, beside_spectrum

    return system


SYSTEMS = {  # name -> function of (series, g): network, views, loss, encoder, what the encoder reads of series
    "SimCLR": on_series(lambda x, g: (views.simclr_views, nt_xent)),
    "debiased": on_series(lambda x, g: (views.simclr_views, debiased)),
    "mixup": on_series(mixing),
    "CLOCS": on_series(lambda x, g: (halves, nt_xent)),
    "ExpCLR": on_series(lambda x, g: (expert_views(x, expert_features(x)), expclr)),
    "TS-TCC": tstcc,
    "TF-C": time_frequency(tfc),
    "TF-C, as in the code": time_frequency(tfc_code),
}


def worth(encode, d, read=untouched):
    """Probe and 5-NN on frozen features."""
    f, f_test = batched(encode, read(d.x_train)), batched(encode, read(d.x_test))
    sets = f, d.y_train, f_test, d.y_test
    return {"probe": linear_probe(*sets), "knn": knn_probe(*sets)}


def one_loop(dataset, setting, seed):
    """One system, 200 steps of 64 series, and its untrained network; "raw": the series. TS2Vec: 200 steps of 8."""
    d, g = splits(dataset, TEST), source(seed)
    n, before = len(d.x_test), {}
    if setting == "raw":
        encode, read = torch.nn.Flatten(), untouched
    elif setting == "TS2Vec":
        net = DilatedNet(d.x_train.shape[1], *SIZES["quick"]).eval()
        encode, read = net.pooled, untouched
        before = worth(encode, d)
        ts2vec(net, d.x_train, g=g, steps=200)
    else:
        net, pairs, loss, encode, read = SYSTEMS[setting](d.x_train, g)
        net.eval()
        before = worth(encode, d, read)
        of_experts = setting == "ExpCLR"  # its views look up what experts say by the numbers of rows
        rows, slow = (torch.arange(len(d.x_train)), Given()) if of_experts else (d.x_train, None)
        pretrain(net, pairs, loss, rows, steps=200, batch=64, lr=1e-3, g=g, slow=slow)
    found = worth(encode, d, read) | {f"{name}, untrained": score for name, score in before.items()}
    return {name: (score, n) for name, score in found.items()}


def normalised_system(dataset, setting, seed):
    """The untrained network of a system, of the same first weights, its batch norms with the statistics of train."""
    d = splits(dataset, TEST)
    net, _, _, encode, read = SYSTEMS[setting](d.x_train, source(seed))
    normalised(net, encode, read(d.x_train))
    return {name: (score, len(d.x_test)) for name, score in worth(encode, d, read).items()}


def other_series(x, g):
    """Nothing in common: the halves of two series that chance brought together."""
    return x[..., : x.shape[2] // 2], x[torch.randperm(len(x), generator=g)][..., x.shape[2] // 2 :]


def clocs(dataset, setting, seed):
    """CLOCS on several channels (BasicMotions 6, gestures 3), by pairs that are called positive.

    halves: of one channel of a series; leads: two of its channels at the same time; different series: halves that have
    nothing in common. The encoder reads one channel, and the probe the features of the first.
    """
    d, g = splits(dataset), source(seed)
    net = with_projector(ResNet1d(1), *NARROW).eval()
    if setting == "untrained, normalised":
        normalised(net, net.encoder, d.x_train[:, :1])
    elif setting != "untrained":
        pairs = {"halves": halves, "leads": channel_pair, "different series": other_series}[setting]
        x = d.x_train if setting == "leads" else d.x_train.flatten(0, 1)[:, None]  # else each channel is a series
        pretrain(net, pairs, nt_xent, x, steps=200, batch=40, lr=1e-3, g=g)
    found = worth(net.encoder, d, lambda x: x[:, :1])
    return {name: (score, len(d.x_test)) for name, score in found.items()}


# --- tables ---


@functools.cache
def table(name, seed):
    """A table of scikit-learn, scaled by train: (x, y, x_test, y_test); the seed draws a fifth for test."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=seed)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = 1  # of pixels that are white in all digits
    x, x_test = (torch.tensor((each - mean) / deviation, dtype=torch.float32) for each in (x, x_test))
    return x, torch.tensor(y), x_test, torch.tensor(y_test)


@functools.lru_cache(1)
def encoder(name, rate, seed, corruption="columns", batch=128):
    """SCARF's network after 300 steps, without labels."""
    x = table(name, seed)[0]
    torch.manual_seed(seed)
    net = with_projector(Mlp(x.shape[1]), 256, 256, 256)
    loss = functools.partial(nt_xent, tau=1.0)
    pretrain(net, CORRUPTIONS[corruption](x, rate), loss, x, steps=300, batch=batch, lr=1e-3, g=source(seed))
    return net.encoder


def epochs(y):
    """So many that fine-tuning takes 300 steps of at most 64 rows."""
    return math.ceil(300 / math.ceil(len(y) / 64))


def scarf(dataset, setting, seed):
    """The four rows of SCARF, and the same network without it; one of rate 0.6, no noise, all labels is changed.

    "scratch" has a larger rate for the encoder than fine-tuning, "fine_tuned, untrained" the same one.
    """
    x, y, x_test, y_test = table(dataset, seed)
    what, amount = setting.split()[0], float(setting.split()[1])
    net, g = encoder(dataset, amount if what == "rate" else 0.6, seed), source(seed)
    if what == "labels":
        rows = labelled_part(y, amount, g=g)
        x, y = x[rows], y[rows]
    if what == "noise":
        y = views.noisy_labels(y, amount, g=g)
    found = four_rows(net, x, y, x_test, y_test, g=g, epochs=epochs(y))._asdict()
    if what != "rate" or amount == 0.6:  # the rate does not change a network that has not seen it
        torch.manual_seed(seed)
        new = Mlp(x.shape[1])
        same = fine_tune(new, x[:, None], y, per_class=None, g=source(seed), epochs=epochs(y))
        found["fine_tuned, untrained"] = accuracy(same, x_test[:, None], y_test)
        scratch = from_scratch(new, x[:, None], y, per_class=None, g=source(seed), epochs=epochs(y))
        found["scratch"] = accuracy(scratch, x_test[:, None], y_test)
        found["frozen, untrained"] = linear_probe(batched(new, x), y, batched(new, x_test), y_test)
    return {name: (value, len(y_test)) for name, value in found.items()}


def by_rows(dataset, setting, seed):
    """SCARF from batches of other sizes, in 300 steps each; 128 is the size of all other runs."""
    x, y, x_test, y_test = table(dataset, seed)
    net = encoder(dataset, 0.6, seed, batch=int(setting.split()[1]))
    found = four_rows(net, x, y, x_test, y_test, g=source(seed), epochs=epochs(y))
    return {"frozen": (found.frozen, len(y_test)), "fine_tuned": (found.fine_tuned, len(y_test))}


def one_donor(x, rate):
    """All columns that are replaced in a row come from one other row, and stay as related as they were."""

    def pairs(rows, g):
        where = corrupt(rows, rate, x, g).is_replaced
        return rows, torch.where(where, x[torch.randint(len(x), (len(rows),), generator=g)], rows)

    return pairs


def uniform(x, rate):
    """New values are uniform between a column's least and largest, whatever its distribution."""
    low, high = x.amin(dim=0), x.amax(dim=0)

    def pairs(rows, g):
        where = corrupt(rows, rate, x, g).is_replaced
        return rows, torch.where(where, low + (high - low) * torch.rand(rows.shape, generator=g), rows)

    return pairs


CORRUPTIONS = {
    "columns": scarf_views,
    "one donor": one_donor,
    "uniform": uniform,
    "inverted mask": lambda x, rate: scarf_views(x, 1 - rate),
}


def variants(dataset, setting, seed):
    """SCARF's frozen features by corruptions that public code has, at a rate of 0.6."""
    x, y, x_test, y_test = table(dataset, seed)
    net = encoder(dataset, 0.6, seed, setting)
    return {"frozen": (linear_probe(batched(net, x), y, batched(net, x_test), y_test), len(y_test))}


SMALL = "GunPoint", "ItalyPowerDemand", "ECG200", "CBF"
LARGE = "SyntheticControl", "FacesUCR", "PhalangesOutlinesCorrect", "ECG5000", "TwoPatterns"
GAPS = "0 missing", "20 missing", "40 missing"
ITEMS = {
    "filled": Item(filled, (*SMALL, *LARGE), GAPS),
    "ts2vec": Item(missing_values, SMALL, tuple(f"quick, {gaps}" for gaps in GAPS)),
    "scarf": Item(
        scarf,
        TABLES,
        (
            *(f"rate {rate}" for rate in (0.0, 0.2, 0.4, 0.8, 1.0, 0.6)),
            *(f"noise {share}" for share in (0.1, 0.3, 0.5)),
            *(f"labels {share}" for share in (0.25, 0.1)),
        ),
    ),
    "systems": Item(one_loop, ("SyntheticControlGenerated",), ("raw", *SYSTEMS, "TS2Vec")),
    "ts2vec full": Item(missing_values, ("ECG200",), tuple(f"full, {gaps}" for gaps in GAPS)),
    "ecg200 batch": Item(by_batch, ("ECG200",), ("batch 4", "batch 8", "batch 16", "batch 32", "batch 64")),
    "ecg200 width": Item(by_width, ("ECG200",), ("width 16", "width 64", "width 320")),
    "systems, normalised": Item(normalised_system, ("SyntheticControlGenerated",), tuple(SYSTEMS)),
    "clocs": Item(
        clocs,
        (GESTURES, "BasicMotions"),
        ("untrained", "untrained, normalised", "halves", "leads", "different series"),
    ),
    "scarf variants": Item(variants, TABLES, tuple(CORRUPTIONS)),
    "scarf batch": Item(by_rows, TABLES, ("batch 16", "batch 32", "batch 64", "batch 128")),
    "ts2vec full, GunPoint": Item(missing_values, ("GunPoint",), tuple(f"full, {gaps}" for gaps in GAPS)),
    "ts2vec, more sets": Item(missing_values, LARGE, tuple(f"quick, {gaps}" for gaps in GAPS)),
    "ts2vec full, more sets": Item(
        missing_values, ("ItalyPowerDemand", "CBF", *LARGE), tuple(f"full, {gaps}" for gaps in GAPS)
    ),
}
