"""Tables instead of series: SCARF replaces columns of a row by those of other rows (arXiv 2106.15147).

A row and its corruption are the two views; everything else is SimCLR. With it goes the comparison that a table asks
for: the raw columns by a linear border and by a forest, beside the features frozen and fine-tuned.

    net = with_projector(Mlp(x.shape[1]), 256, 256, 256)
    pretrain(net, scarf_views(x), functools.partial(nt_xent, tau=1.0), x, steps=300, batch=128, lr=1e-3, g=g)
    four_rows(net.encoder, x, y, x_test, y_test, g=g)

Columns are those of the train set scaled to mean 0 and deviation 1, by the train set's own.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from ..arguments import checked, count, count_from_0, inner_share, share
from ..arguments_tensors import finite, floats, integers, rows_of, source
from ..errors import BadInput
from ..inference import batched
from ..shapes import ArrayLike, Bool, Float, Int, Tensor
from .few import accuracy, fine_tune
from .scores import labelled_sets, linear_probe, unit_rows


class Mlp(nn.Module):
    """Rows (B, M), or as (B, 1, M), -> features (B, width): `depth` linear layers, each with its ReLU."""

    @checked(columns=count, width=count, depth=count)
    def __init__(self, columns, width=256, depth=4):
        super().__init__()
        self.columns, layers = columns, []
        for i in range(depth):
            layers += [nn.Linear(width if i else columns, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[ArrayLike, "B ..."]) -> Float[Tensor, "B D"]:
        weight = next(self.parameters())  # (width, M) of the first layer
        x = floats(x, "rows", weight)
        return self.layers(rows_of(x[:, 0] if x.ndim == 3 else x, "rows", weight[0]))


# --- views ---


class Corrupted(NamedTuple):
    x: Float[Tensor, "B M"]
    is_replaced: Bool[Tensor, "B M"]  # int(rate M) of each row; the new value may equal the old one


@checked(rate=share)
def corrupt(x: Float[ArrayLike, "B M"], rate, reference: Float[ArrayLike, "n M"], g) -> Corrupted:
    """Rows, of each int(rate M) columns replaced by the value of a random row of the reference.

    Columns are drawn for each row without replacement, and for each of them the row that its value comes from: so
    columns keep their own distributions and lose their correlations.

    g        on the device of x
    raises   BadInput for a rate outside 0..1, NaN, or a reference of other columns
    """
    x = finite(_table(x, "rows"), "rows")
    reference = finite(_table(reference, "reference", x), "reference")
    if reference.shape[1] != x.shape[1]:
        raise BadInput(f"rows have {x.shape[1]} columns, the reference {reference.shape[1]}: use those of one table")
    g = source(g, x)
    turn = torch.rand(x.shape, generator=g, device=x.device).argsort(dim=1).argsort(dim=1)
    is_replaced = turn < int(rate * x.shape[1])
    donors = torch.randint(len(reference), x.shape, generator=g, device=x.device)
    return Corrupted(torch.where(is_replaced, reference.gather(0, donors), x), is_replaced)


@checked(rate=share)
def scarf_views(reference: Float[ArrayLike, "n M"], rate=0.6):
    """What `pretrain` takes as views: (rows as they are, rows with columns from the reference)."""
    return lambda x, g: (x, corrupt(x, rate, reference, g).x)


def _table(values, what, like=None):
    x = floats(values, what, like)
    if x.ndim != 2 or 0 in x.shape:
        raise BadInput(f"{what}: expected a table (n, M), got {tuple(x.shape)}: reshape it")
    return x


# --- evaluation ---


@checked(share=inner_share)
def labelled_part(y: Int[ArrayLike, " n"], share, *, g) -> Int[Tensor, " m"]:
    """Row numbers of a share of the labels: of each class round(share n_class), at least 1, drawn by g."""
    y = integers(y, "labels", y if isinstance(y, torch.Tensor) else torch.empty(0))
    if y.ndim != 1 or len(y) == 0:
        raise BadInput(f"expected labels (n,), got {tuple(y.shape)}")
    order = torch.randperm(len(y), generator=source(g, y), device=y.device)
    rows = [order[y[order] == c] for c in y.unique()]
    return torch.cat([of_class[: max(1, round(share * len(of_class)))] for of_class in rows])


class FourRows(NamedTuple):
    linear: float  # accuracy on test of a logistic regression on the raw columns
    forest: float  # of a random forest of 100 trees on them
    frozen: float  # of a logistic regression on the features of the frozen network
    fine_tuned: float  # of network and linear head, trained on the labels


@checked(epochs=count_from_0)
def four_rows(
    net, x_tr: Float[ArrayLike, "n M"], y_tr, x_te: Float[ArrayLike, "m M"], y_te, *, g, epochs=100
) -> FourRows:
    """Accuracies with and without a pre-trained network, from the same labelled rows.

    net          rows (B, M) -> (B, D), such as `Mlp`; it stays as it is
    x_tr, y_tr   (n, M), (n,) the rows whose labels may be used, all of them; labels 0..k-1, wrong ones too
    x_te, y_te   (m, M), (m,)
    g            of the forest and of fine-tuning, on the device of the rows
    epochs       of fine-tuning
    """
    x_tr = finite(_table(x_tr, "train rows"), "train rows")
    x_te = finite(_table(x_te, "test rows", x_tr), "test rows")
    a, y_a, b, y_b = labelled_sets(x_tr, y_tr, x_te, y_te)  # as arrays
    seed = int(torch.randint(2**31 - 1, (), generator=source(g, x_tr), device=x_tr.device))
    forest = RandomForestClassifier(100, random_state=seed).fit(a, y_a)
    tuned = fine_tune(net, x_tr[:, None], y_tr, per_class=None, g=g, epochs=epochs)
    return FourRows(
        linear_probe(a, y_a, b, y_b),
        float(np.mean(forest.predict(b) == y_b)),
        linear_probe(batched(net, x_tr), y_a, batched(net, x_te), y_b),
        accuracy(tuned, x_te[:, None], y_te),
    )


def positive_rank(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"]) -> float:
    """Mean rank of the partner among all B rows of b by their cosines to a row of a.

    B: the partner is always the most similar one; (B + 1) / 2: a guess; rows that tie share their mean rank.
    """
    a, b = unit_rows(a, "first view"), unit_rows(b, "second view")
    if a.shape != b.shape or len(a) < 2:
        raise BadInput(f"expected two views (B, D) of one shape, B at least 2, got {a.shape} and {b.shape}")
    return float(np.diag(rankdata(a @ b.T, axis=1)).mean())
