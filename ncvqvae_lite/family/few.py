"""Few labels: an encoder that was trained without any, fine-tuned on them, against one that was not trained before.

SimCLR's protocol (arXiv 2002.05709): a linear head on the encoder, both trained on a few series of each class.
BatchNorm keeps the statistics of pre-training, so that a small batch, or the test set, cannot move them.
"""

import copy
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, count_from_0, not_negative, optional
from ..arguments_tensors import any_series, finite_series, integers, parameter_of, source
from ..errors import BadInput
from ..inference import batched
from ..numerics import training_numerics
from ..shapes import ArrayLike, Float, Int, Tensor

MOST_CLASSES = 10_000
Series = Float[ArrayLike, "n C L"]
Labels = Int[ArrayLike, " n"]


@checked(per_class=optional(count))
def few_labels(y: Labels, per_class, g) -> Int[Tensor, " m"]:
    """Rows of `per_class` series of each class, drawn without replacement; None: all rows.

    y        labels 0..k-1
    raises   BadInput if a class has fewer
    """
    y = _labels(y, None)
    if per_class is None:
        return torch.arange(len(y), device=y.device)
    counts = torch.bincount(y)
    if short := [c for c, many in enumerate(counts.tolist()) if many < per_class]:
        found = f"class {short[0]} has {counts[short[0]]} series"
        raise BadInput(f"{found}, fewer than per_class={per_class}: lower it, or take None for all")
    order = torch.randperm(len(y), generator=source(g, y), device=y.device)
    return torch.cat([order[y[order] == c][:per_class] for c in range(len(counts))])


@checked(per_class=optional(count), epochs=count_from_0, lr=not_negative, head_lr=not_negative, batch=count)
def fine_tune(net, x: Series, y: Labels, *, per_class, g, epochs=100, lr=1e-4, head_lr=1e-3, batch=64) -> nn.Module:
    """A classifier: a copy of a trained encoder and a linear head, both trained on a few labelled series, by Adam.

    net        encoder, series (B, C, L) -> (B, D); it stays as it is
    x, y       series and labels 0..k-1, from which `few_labels` draws
    per_class  labelled series of each class, None for all
    g          of the draw and the order, on the device of x
    lr         of the encoder, `head_lr` of the head, which starts at 0. BatchNorm keeps the statistics of `pretrain`
    returns    module that maps series (B, C, L) to logits (B, k), in eval mode
    """
    classifier, x, y = _with_head(net, x, y)
    encoder, head = classifier
    groups = [dict(params=encoder.parameters(), lr=lr), dict(params=head.parameters(), lr=head_lr)]
    return _fit(classifier.eval(), groups, x, y, few_labels(y, per_class, g), epochs, batch, g)


@checked(per_class=optional(count), epochs=count_from_0, lr=not_negative, batch=count)
def from_scratch(net, x: Series, y: Labels, *, per_class, g, epochs=100, lr=1e-3, batch=64) -> nn.Module:
    """What stands beside `fine_tune`: the same classifier of an untrained encoder, all of it trained at one rate.

    BatchNorm is trained too. Arguments and result as of `fine_tune`.
    """
    classifier, x, y = _with_head(net, x, y)
    rows = few_labels(y, per_class, g)
    groups = [dict(params=classifier.parameters(), lr=lr)]
    return _fit(classifier.train(), groups, x, y, rows, epochs, batch, g).eval()


def accuracy(classifier, x: Series, y: Labels) -> float:
    """Share of the series to which a classifier gives their labels."""
    x = _series(classifier, x)
    y = _labels(y, len(x)).to(x.device)
    return (batched(classifier, x).argmax(dim=1) == y).double().mean().item()


def _with_head(net, x, y):
    x = _series(net, x)
    y, encoder = _labels(y, len(x)).to(x.device), copy.deepcopy(net)
    width, k = batched(encoder, x[:1]).shape[1], int(y.max()) + 1
    head = nn.utils.skip_init(nn.Linear, width, k, device=x.device)
    for p in head.parameters():
        nn.init.zeros_(p)
    return nn.Sequential(OrderedDict(encoder=encoder, head=head)), x, y


def _fit(classifier, groups, x, y, rows, epochs, batch, g):
    optimizer = torch.optim.Adam(groups)
    with training_numerics(x.device):
        for _ in range(epochs):
            for some in rows[torch.randperm(len(rows), generator=g, device=x.device)].split(batch):
                optimizer.zero_grad()
                F.cross_entropy(classifier(x[some]), y[some]).backward()
                optimizer.step()
    return classifier


def _series(net, x):
    like = parameter_of(net, "the network")
    return finite_series(like, any_series(x, "series").shape[1], None, x)


def _labels(y, n):
    """Labels (n,) as int64; n None: as many as there are."""
    like = y if isinstance(y, torch.Tensor) else torch.empty(0)
    y = integers(y, "labels", like)
    if y.ndim != 1 or len(y) == 0 or n not in (None, len(y)):
        raise BadInput(
            f"expected labels of shape ({'n' if n is None else n},), got {tuple(y.shape)}: give one a series"
        )
    if y.min() < 0 or y.max() >= MOST_CLASSES:
        raise BadInput(f"labels run from {y.min()} to {y.max()}, expected 0 to k - 1: number the classes")
    return y
