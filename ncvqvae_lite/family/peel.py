"""VICReg peeled: its parts are taken away one at a time, until Laplacian eigenmaps remain.

The peeling is that of the VICReg exercise on CIFAR-10 (views, variance term, encoder, augmentations). Neighbours in
some space take the place of views (`neighbour_pairs`, `neighbour_views`); free vectors that of the encoder
(`free_table`; `decoder.AutoDecoder`). Both together are `eigenmaps` (Belkin and Niyogi 2003; that VICReg with such
views has its solution: Balestriero and LeCun, arXiv 2205.11508).

Features are (n, D), numpy or torch; series (n, C, L) are taken as rows. Results are tensors on the CPU.
"""

import numpy as np
import scipy.linalg
import torch
from scipy.stats import rankdata

from ..arguments import checked, count, count_from_0, not_negative, share
from ..arguments_arrays import label_array, plain_array
from ..arguments_tensors import integers, source
from ..errors import BadInput
from ..shapes import ArrayLike, Float, Int, Shaped, Tensor
from ..ssl_losses import vicreg
from .decoder import FIXED, AutoDecoder, auto_decoder
from .scores import as_rows, neighbours

__all__ = [
    "FIXED", "AutoDecoder", "auto_decoder", "dissect", "eigenmaps", "free_table", "neighbour_graph", "neighbour_pairs",
    "neighbour_views", "purity", "row_pairs", "same_class_pairs", "subspace_cosine",
]  # fmt: skip

NO_DEVICE = torch.empty(0)

# --- neighbours instead of views ---


@checked(k=count, replace=share)
def neighbour_pairs(f: Float[ArrayLike, "n ..."], k=3, replace=0.0, g=None) -> Int[Tensor, "n {k}"]:
    """The k nearest other series of each of n, by features: row numbers, the nearest first.

    replace   share of all n k neighbours that a random other series replaces; g draws which, and by what
    raises    BadInput for k >= n, NaN, or a share above 0 without g
    """
    index = torch.from_numpy(neighbours(f, k=k).index)
    if replace and g is None:
        raise BadInput(f"replace={replace} draws at random: pass g, as in torch.Generator().manual_seed(0)")
    if replace:
        n, cells = len(index), torch.randperm(index.numel(), generator=source(g, index))
        cells = cells[: round(replace * index.numel())]
        index.view(-1)[cells] = _others(cells // k, n, g)
    return index


@checked(k=count)
def same_class_pairs(y: Shaped[ArrayLike, " n"], k=3, *, g) -> Int[Tensor, "n {k}"]:
    """k other series of the class of each of n, drawn with replacement: what the best neighbours would be."""
    y = plain_array(y, "labels")
    y = label_array(y, "feature", y.size)
    index = torch.empty(len(y), k, dtype=torch.int64)
    for name in np.unique(y):
        rows = torch.from_numpy(np.flatnonzero(y == name))
        if len(rows) < 2:
            raise BadInput(f"class {name} has one series only, expected two or more: leave it out")
        mine = torch.arange(len(rows)).repeat_interleave(k)
        index[rows] = rows[_others(mine, len(rows), source(g, rows))].view(-1, k)
    return index


def _others(rows, n, g):
    """For each of some rows of n, another one."""
    drawn = torch.randint(n - 1, rows.shape, generator=g)
    return drawn + (drawn >= rows)


def _table(index):
    """Neighbours (n, k) as a tensor on the CPU."""
    index = integers(index, "neighbours", NO_DEVICE)
    if index.ndim != 2 or 0 in index.shape or index.min() < 0:
        raise BadInput(f"expected neighbours as row numbers (n, k) from 0 on, got {tuple(index.shape)}")
    return index


def purity(index: Int[ArrayLike, "n k"], y: Shaped[ArrayLike, " n"]) -> float:
    """Share of neighbours that have the label of their series."""
    index = _table(index).numpy()
    y = label_array(y, "feature", len(index))
    if index.max() >= len(y):
        raise BadInput(f"neighbours run to row {index.max()} of {len(y)} series: use those of the same set")
    return float(np.mean(y[index] == y[:, None]))


def neighbour_views(x: Float[Tensor, "n C L"], index: Int[ArrayLike, "n k"]):
    """What `pretrain` takes as views, of rows (B,) in place of series: (x[row], x of one of its neighbours).

    `pretrain(net, neighbour_views(x, index), loss, torch.arange(n), ...)`
    """
    index = _table(index)
    if len(index) != len(x) or index.max() >= len(x):
        raise BadInput(f"{len(x)} series and neighbours of {len(index)}, up to row {index.max()}: use those of one set")
    index = index.to(x.device)

    def views(rows, g):
        pick = torch.randint(index.shape[1], rows.shape, generator=source(g, x), device=x.device)
        return x[rows], x[index[rows, pick]]

    return views


# --- free vectors instead of an encoder ---


def row_pairs(index: Int[ArrayLike, "n k"]) -> Int[Tensor, "m 2"]:
    """All n k pairs (row, one of its neighbours)."""
    index = _table(index)
    rows = torch.arange(len(index)).repeat_interleave(index.shape[1])
    return torch.stack([rows, index.reshape(-1)], dim=1)


@checked(dim=count, steps=count_from_0, lr=not_negative)
def free_table(
    pairs: Int[ArrayLike, "m 2"], dim=16, *, g, steps=500, lr=0.05, **weights
) -> Float[Tensor, "rows {dim}"]:
    """VICReg without an encoder: free vectors, the two of each pair as views, all pairs at each Adam step.

    pairs     row numbers. Pairs (i, n + i): two vectors for each series, which nothing links to the data.
              `row_pairs(neighbour_pairs(x))`: one vector each, and VICReg is the problem of Laplacian eigenmaps
    g         of the start, N(0, 1)
    weights   sim, var, cov of `vicreg`
    """
    pairs = _table(pairs)
    if pairs.shape[1] != 2 or len(pairs) < 2:
        raise BadInput(f"expected two or more pairs (m, 2) of row numbers, got {tuple(pairs.shape)}")
    table = torch.randn(int(pairs.max()) + 1, dim, generator=source(g, pairs)).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        vicreg(table[pairs[:, 0]], table[pairs[:, 1]], **weights).total.backward()
        optimizer.step()
    return table.detach()


# --- neither: the eigenmaps ---


@checked(k=count)
def neighbour_graph(x: Float[ArrayLike, "n ..."], k=10) -> Float[Tensor, "n n"]:
    """W, float64, of zeros and ones: an edge where either series is among the k nearest of the other."""
    index = neighbours(x, k=k).index
    w = torch.zeros(len(index), len(index), dtype=torch.float64)
    w.scatter_(1, torch.from_numpy(index), 1.0)
    return torch.maximum(w, w.T)


@checked(k=count, dim=count)
def eigenmaps(x: Float[ArrayLike, "n ..."], k=10, dim=32) -> Float[Tensor, "n {dim}"]:
    """Codes, float64, of series by the `neighbour_graph` alone: Laplacian eigenmaps (Belkin and Niyogi 2003).

    The columns y solve (D - W) y = lambda D y, D the degrees, for the smallest lambda, from I - D^-1/2 W D^-1/2; their
    sum of d y^2 is 1, between two of them the sum of d y y' is 0. The constant solution, lambda 0, is left out (where
    the graph falls apart there are more of lambda 0, constant on each part). Transductive: a new series has no code
    before all is computed anew. The matrix is dense, and its time grows with n^3.

    raises   BadInput for k or dim >= n, NaN
    """
    w = neighbour_graph(x, k).numpy()
    n = len(w)
    if dim >= n:
        raise BadInput(f"dim={dim} codes of {n} series: dim must be below their number: lower it")
    root = np.sqrt(w.sum(axis=1))  # (n,)
    constant = root / np.linalg.norm(root)
    laplacian = np.eye(n) - w / root / root[:, None] + 3 * np.outer(constant, constant)  # the constant one comes last
    vectors = scipy.linalg.eigh(laplacian, subset_by_index=(0, dim - 1))[1]
    return torch.from_numpy(vectors / root[:, None])


def subspace_cosine(a: Float[ArrayLike, "n p"], b: Float[ArrayLike, "n q"]) -> float:
    """Mean squared cosine of the principal angles between the columns of a and b, centred: 0 to 1.

    1 where the smaller space lies in the other one; about max(p, q) / n for random columns.
    """
    a, b = as_rows(a, "a", at_least=2), as_rows(b, "b", at_least=2)
    if len(a) != len(b):
        raise BadInput(f"{len(a)} and {len(b)} rows: the columns must be of the same series")
    basis_a, basis_b = (scipy.linalg.orth(z - z.mean(axis=0)) for z in (a, b))
    if 0 in (basis_a.shape[1], basis_b.shape[1]):
        raise BadInput("all rows are equal, expected columns that vary: the codes have collapsed")
    cosines = np.linalg.svd(basis_a.T @ basis_b, compute_uv=False)
    return float(np.mean(cosines**2))


# --- what single units say ---


def dissect(f: Float[ArrayLike, "n D"], concepts: Shaped[ArrayLike, "n ..."]) -> Float[Tensor, "D K"]:
    """How well each unit alone tells a concept: areas under the ROC curve, of whichever sign is better, .5 to 1.

    f          features
    concepts   (n, K) of 0 and 1, or (n,): which series have it; each has series with and without
    """
    f, concepts = as_rows(f, "features"), np.asarray(plain_array(concepts, "concepts"))
    has = concepts.reshape(len(concepts), -1).astype(bool) if concepts.ndim in (1, 2) and concepts.size else concepts
    if has.dtype != bool or len(has) != len(f):
        raise BadInput(f"expected concepts of 0 and 1, ({len(f)}, K), got {concepts.shape} of {concepts.dtype}")
    n_with = has.sum(axis=0)  # (K,)
    if not ((n_with > 0) & (n_with < len(f))).all():
        raise BadInput(f"concept {int(np.argmin((n_with > 0) & (n_with < len(f))))} is the same in all series: drop it")
    ranks = rankdata(f, axis=0)  # (n, D), ties share their mean rank
    area = (ranks.T @ has - n_with * (n_with + 1) / 2) / (n_with * (len(f) - n_with))  # (D, K)
    return torch.from_numpy(np.maximum(area, 1 - area))
