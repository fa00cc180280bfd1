"""The recorded runs of chapter 15, series and words: see `family.py`.

Each seed draws 2,000 series with captions to learn from and 1,000 to test on, and the first weights of the towers.
Every training is 200 steps of 64 pairs by AdamW at 0.003, with a learned tau, unless a setting says otherwise.
Accuracies and recalls are of the test series; "r1_50" looks for the partner among 50, "r1" among all 1,000.
"""

from typing import NamedTuple

import numpy as np
import torch
from family_data import CAPTIONED, Item
from torch import nn
from torch.nn import functional as F

from ncvqvae_lite.family.captions import ORDERS, SYNONYMS, captioned, drop_words, encode, phrasings, swap_words
from ncvqvae_lite.family.common import ResNet1d, linear_probe, pretrain, with_projector
from ncvqvae_lite.family.contrast import nt_xent
from ncvqvae_lite.family.loop import learn
from ncvqvae_lite.family.pairs import (
    CaptionTower,
    Locked,
    TwoTowers,
    class_vectors,
    clip_loss,
    cone,
    fit_pairs,
    modality_gap,
    recall_at_1,
    shifted,
    split_half_gap,
    zero_shot,
)
from ncvqvae_lite.family.reduced import spectrum
from ncvqvae_lite.family.views import simclr_views
from ncvqvae_lite.inference import batched

TRAIN, TEST, AMONG = 2000, 1000, 50
HOW = dict(steps=200, batch=64, lr=3e-3)
ORDER_TEXTS = [phrasings(order) for order in range(4)]
SHARES = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


class Pairs(NamedTuple):
    """What a seed learns from and is tested on, and the generator of everything after it."""

    train: object  # `captions.Captioned`
    test: object
    g: torch.Generator


def drawn(seed):
    g = torch.Generator().manual_seed(seed)
    return Pairs(captioned(TRAIN, g=g), captioned(TEST, g=g), g)


# --- what towers are worth ---


def accuracy(u, classes, y):
    return (zero_shot(u, classes) == y).double().mean().item()


def named(factor):
    """Sentences that say one value of a factor, a list for each value: all orders, both words."""
    frame = "a series {order} {word}" if factor == "position" else "a {word} series {order}"
    orders = [" then ".join(order.split()) for order in ORDERS]
    return [[frame.format(order=order, word=word) for order in orders for word in words] for words in SYNONYMS[factor]]


def recall_among(u, v, size=AMONG):
    """Mean of `recall_at_1` over lists of so many candidates: 1 / size for a guess."""
    return float(np.mean([recall_at_1(one, other) for one, other in zip(u.split(size), v.split(size))]))


def true_share(u, v, data):
    """Share of the series whose nearest caption says nothing that is false of them, its own or another's."""
    chosen, is_true = zero_shot(u, v).tolist(), torch.ones(len(u), dtype=torch.bool)
    words = [set(data.captions[i].split()) for i in chosen]
    for name in ("size", "noise", "position"):
        wrong = [{*SYNONYMS[name][1 - value]} for value in data.factors[name].tolist()]
        is_true &= torch.tensor([not said & false for said, false in zip(words, wrong)])
    return (is_true & (data.factors["order"][chosen] == data.factors["order"])).double().mean().item()


def probes(embed, d):
    """Accuracy of a linear probe on the features of series, for each factor."""
    f_train, f = batched(embed, d.train.x), batched(embed, d.test.x)
    return {f"probe_{name}": linear_probe(f_train, d.train.factors[name], f, y) for name, y in d.test.factors.items()}


def said(towers, u, test):
    """Zero-shot accuracy of each factor that captions mention; the order also by fewer words, and between two."""
    classes, order = class_vectors(towers, ORDER_TEXTS), test.factors["order"]
    mixed = (order == 1) | (order == 2)
    found = {
        "zero_shot": accuracy(u, classes, order),
        "zero_shot_one_sentence": accuracy(u, class_vectors(towers, [texts[:1] for texts in ORDER_TEXTS]), order),
        "zero_shot_two_words": accuracy(u, class_vectors(towers, [[text] for text in ORDERS]), order),
        "zero_shot_mixed": accuracy(u[mixed], classes[1:3], order[mixed] - 1),
    }
    for name in ("size", "noise", "position"):
        found[f"zero_shot_{name}"] = accuracy(u, class_vectors(towers, named(name)), test.factors[name])
    return found


def retrieval(u, v):
    return {
        "r1": recall_at_1(u, v),
        "r1_back": recall_at_1(v, u),
        "r1_50": recall_among(u, v),
        "r1_50_back": recall_among(v, u),
    }


def geometry(u, v, g):
    """The gap, what halves of one modality differ by, and how narrow each cone is."""
    return {
        "gap": modality_gap(u, v).norm().item(),
        "split_half": max(split_half_gap(u, g=g), split_half_gap(v, g=g)),
        "cone_series": cone(u),
        "cone_captions": cone(v),
    }


def worth(towers, d, history=()):
    """All of the above for two towers."""
    u, v = towers.embed_series(d.test.x), towers.embed_captions(d.test.tokens)
    found = said(towers, u, d.test) | retrieval(u, v) | geometry(u, v, d.g) | probes(towers.series[0], d)
    found |= {"true_caption": true_share(u, v, d.test), "tau": towers.tau.item()}
    found = {name: (value, TEST) for name, value in found.items()}
    mixed = int(((d.test.factors["order"] == 1) | (d.test.factors["order"] == 2)).sum())
    found["zero_shot_mixed"] = (found["zero_shot_mixed"][0], mixed)
    return found | ({"loss": (float(np.mean(history[-20:])), HOW["batch"])} if len(history) else {})


def two_towers(ordered=True):
    return TwoTowers(ResNet1d(), CaptionTower(ordered=ordered))


def fit_series(towers, x, other, g):
    """Towers of two series of the same thing, both (n, C, L), by the loss of `fit_pairs`."""

    def loss(rows, g):
        return clip_loss(*towers(x[rows], other[rows]), towers.tau)

    return learn(towers, loss, torch.arange(len(x)), g=g, **HOW)


def two_series_towers():
    return TwoTowers(ResNet1d(), ResNet1d(), caption_width=64)


# --- what is learned from ---


def keywords(captions, *, g=None):
    """Only the words that say a factor: "large up down late"."""
    known = {word for pairs in SYNONYMS.values() for pair in pairs for word in pair}
    return [" ".join(word for word in caption.split() if word in known) for caption in captions]


def shuffle(captions, *, g):
    """All words of each caption in a random order."""
    split = [caption.split() for caption in captions]
    return [" ".join(words[i] for i in torch.randperm(len(words), generator=g).tolist()) for words in split]


class Spectrum(nn.Module):
    """`spectrum` as a layer."""

    def forward(self, x):
        return spectrum(x)


CHANGES = {"keywords": keywords, "swap": swap_words, "shuffle": shuffle, "drop": drop_words}


def fit_changed(towers, d, change):
    """`fit_pairs` with captions that are changed anew each time."""

    def loss(rows, g):
        texts = change([d.train.captions[row] for row in rows.tolist()], g=g)
        return clip_loss(*towers(d.train.x[rows], encode(texts)), towers.tau)

    return learn(towers, loss, torch.arange(TRAIN), g=d.g, **HOW)


def fit_within(towers, d):
    """The loss of pairs, and with the same weight NT-Xent within each modality: two views of a series, of a caption."""

    def loss(rows, g):
        x, texts = d.train.x[rows], [d.train.captions[row] for row in rows.tolist()]
        (one, other), words = simclr_views(x, g), [encode(drop_words(texts, g=g)) for _ in range(2)]
        between = clip_loss(*towers(x, d.train.tokens[rows]), towers.tau)
        series = nt_xent(towers.series(one), towers.series(other))
        return between + (series + nt_xent(*(towers.caption(each) for each in words))) / 2

    return learn(towers, loss, torch.arange(TRAIN), g=d.g, **HOW)


ALONE = {"raw": nn.Flatten(), "spectrum": nn.Sequential(Spectrum(), nn.Flatten())}  # what towers stand beside


def by_captions(dataset, setting, seed):
    """Two towers: what captions they learned from, and what they answer without a label; the series alone beside."""
    d = drawn(seed)
    if setting in ALONE:
        return {name: (value, TEST) for name, value in probes(ALONE[setting], d).items()}
    torch.manual_seed(seed)
    towers = two_towers(ordered=setting != "bag of words").eval()
    if setting == "untrained":
        return worth(towers, d)
    if setting == "within":
        return worth(towers, d, fit_within(towers, d))
    if setting in CHANGES:
        return worth(towers, d, fit_changed(towers, d, CHANGES[setting]))
    how = HOW | ({"lr": 1e-3} if setting == "rate 0.001" else {})
    return worth(towers, d, fit_pairs(towers, d.train.x, d.train.tokens, g=d.g, **how))


def by_temperature(dataset, setting, seed):
    """Two towers with a fixed tau: what they answer, and how far apart the modalities are."""
    d = drawn(seed)
    torch.manual_seed(seed)
    towers, tau = two_towers(), float(setting.removeprefix("tau "))
    history = fit_pairs(towers, d.train.x, d.train.tokens, g=d.g, tau=tau, **HOW)
    return worth(towers, d, history) | {"tau": (tau, TEST)}


# --- the series tower first ---


def by_lock(dataset, setting, seed):
    """A series tower that SimCLR taught, or nobody, and a caption tower that learns beside it, locked or not."""
    d = drawn(seed)
    torch.manual_seed(seed)
    encoder = ResNet1d().eval()
    if setting != "locked untrained":
        pretrain(with_projector(encoder, 64, 128, 64), simclr_views, nt_xent, d.train.x, g=d.g, **HOW)
    before = {f"{name}_before": (value, TEST) for name, value in probes(encoder, d).items()}
    towers = TwoTowers(encoder if setting == "unlocked" else Locked(encoder), CaptionTower())
    return before | worth(towers, d, fit_pairs(towers, d.train.x, d.train.tokens, g=d.g, **HOW))


# --- three modalities ---


def spectrum_towers(first, tower):
    """Towers of spectra and of captions; the caption tower is that of `first`, locked, or starts anew."""
    towers = TwoTowers(ResNet1d(), Locked(first.caption[0]) if tower == "shared" else CaptionTower())
    if tower == "shared":
        towers.caption[1].load_state_dict(first.caption[1].state_dict())
        towers.caption[1].requires_grad_(False)
    return towers


def by_bridge(dataset, setting, seed):
    """From series to their spectra: through the captions, which both towers learned beside, or learned as pairs.

    "captions" trains no pair of a series and a spectrum. Its control is a second caption tower, made anew ("own").
    """
    d = drawn(seed)
    torch.manual_seed(seed)
    b_train, b_test, found = spectrum(d.train.x), spectrum(d.test.x), {}
    if setting == "pairs":
        towers = two_series_towers()
        fit_series(towers, d.train.x, b_train, d.g)
        found = retrieval(towers.embed_series(d.test.x), towers.embed_captions(b_test))
        return {name: (value, TEST) for name, value in found.items()}
    first = two_towers()
    fit_pairs(first, d.train.x, d.train.tokens, g=d.g, **HOW)
    u, v = first.embed_series(d.test.x), first.embed_captions(d.test.tokens)
    for tower in ("shared", "own"):
        second = spectrum_towers(first, tower)
        fit_pairs(second, b_train, d.train.tokens, g=d.g, **HOW)
        w = second.embed_series(b_test)
        found |= {f"{tower}_{name}": value for name, value in retrieval(u, w).items()}
        to_words = recall_among(w, v if tower == "shared" else second.embed_captions(d.test.tokens))
        found[f"{tower}_words_r1_50"] = to_words
    return {name: (value, TEST) for name, value in found.items()}


# --- the gap ---


def by_shift(dataset, setting, seed):
    """The gap before and after training, and what closing or widening it changes; two towers of one modality beside."""
    d = drawn(seed)
    torch.manual_seed(seed)
    with_captions = setting == "series and captions"
    towers = (two_towers() if with_captions else two_series_towers()).eval()
    partners = d.test.tokens if with_captions else d.test.x

    def embedded():
        return towers.embed_series(d.test.x), towers.embed_captions(partners)

    found = {f"{name}_before": value for name, value in geometry(*embedded(), d.g).items()}
    if with_captions:
        fit_pairs(towers, d.train.x, d.train.tokens, g=d.g, **HOW)
    else:
        fit_series(towers, d.train.x, d.train.x, d.g)
    u, v = embedded()
    found |= geometry(u, v, d.g)
    for share in SHARES:
        one, other = shifted(u, v, share)
        found |= {f"{name}_shift_{share:g}": value for name, value in retrieval(one, other).items() if "50" in name}
        if with_captions:
            classes = F.normalize(class_vectors(towers, ORDER_TEXTS) + share / 2 * modality_gap(u, v), dim=1)
            found[f"zero_shot_shift_{share:g}"] = accuracy(one, classes, d.test.factors["order"])
    return {name: (value, TEST) for name, value in found.items()}


ON = (CAPTIONED,)
ITEMS = {
    "zero shot": Item(
        by_captions,
        ON,
        (*ALONE, "untrained", "captions", "bag of words", "rate 0.001", "within", *CHANGES),
    ),
    "gap": Item(by_shift, ON, ("series and captions", "series twice")),
    "bridge": Item(by_bridge, ON, ("captions", "pairs")),
    "lit": Item(by_lock, ON, ("locked", "unlocked", "locked untrained")),
    "temperature": Item(by_temperature, ON, tuple(f"tau {tau:g}" for tau in (0.01, 0.03, 0.1, 0.3, 1.0))),
}
