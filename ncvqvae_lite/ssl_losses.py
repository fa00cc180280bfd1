"""Non-contrastive losses between two views, and the projector in which the views meet.

Barlow Twins (arXiv 2103.03230), VICReg (arXiv 2105.04906), VIbCReg with iterative normalisation (arXiv 2109.00783,
1904.03441). `a`, `b` are the projections of the two views, both (B, D).

The sums over off-diagonal entries of D x D matrices are computed without building such a matrix when B < D:
||A^T B||_F^2 is the sum of the elementwise product of A A^T and B B^T: D / (2B) times fewer multiplications.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .arguments import checked, count, count_from_0, flag, number
from .arguments_tensors import rows_of, two_views, weight
from .errors import BadInput
from .numerics import full_precision
from .shapes import ArrayLike, Float, Tensor


class BarlowTwins(NamedTuple):
    total: Float[Tensor, ""]  # (on_diagonal + offdiagonal * off_diagonal) / D
    on_diagonal: Float[Tensor, ""]  # sum_i (1 - C_ii)^2
    off_diagonal: Float[Tensor, ""]  # sum_{i != j} C_ij^2


class VICReg(NamedTuple):
    total: Float[Tensor, ""]  # weighted sum of the three terms
    sim: Float[Tensor, ""]  # mean squared difference of the views
    var: Float[Tensor, ""]  # hinge on the standard deviation of each feature, summed over the views
    cov: Float[Tensor, ""]  # off-diagonal (co)variance, summed over the views


@full_precision
@checked(offdiagonal=weight)
def barlow_twins(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"], offdiagonal=0.005) -> BarlowTwins:
    """Barlow Twins: the cross-correlation matrix of the views should be the identity (arXiv 2103.03230, eq. 1, / D)."""
    a, b = two_views(a, b)
    batch, dim = a.shape
    a, b = _standardise(a), _standardise(b)
    diagonal = (a * b).sum(dim=0) / batch  # (D,) C_ii
    on_diagonal = ((1 - diagonal) ** 2).sum()
    off_diagonal = _squared_norm_of_product(a, b) / batch**2 - (diagonal**2).sum()
    return BarlowTwins((on_diagonal + offdiagonal * off_diagonal) / dim, on_diagonal, off_diagonal)


@full_precision
@checked(sim=weight, var=weight, cov=weight)
def vicreg(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"], sim=25.0, var=25.0, cov=1.0) -> VICReg:
    """VICReg (arXiv 2105.04906, eqs. 1-6): invariance, variance hinge, covariance of each view."""
    a, b = two_views(a, b)
    terms = (F.mse_loss(a, b), variance_hinge(a) + variance_hinge(b), covariance(a) + covariance(b))
    return VICReg(sim * terms[0] + var * terms[1] + cov * terms[2], *terms)


@full_precision
@checked(sim=weight, var=weight, cov=weight)
def vibcreg(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"], sim=25.0, var=25.0, cov=100.0) -> VICReg:
    """VIbCReg (arXiv 2109.00783): as VICReg, with the *normalised* covariance; meant for IterNorm-whitened a, b."""
    a, b = two_views(a, b)
    terms = (F.mse_loss(a, b), variance_hinge(a) + variance_hinge(b), correlation(a) + correlation(b))
    return VICReg(sim * terms[0] + var * terms[1] + cov * terms[2], *terms)


def variance_hinge(z: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """mean_j relu(1 - sqrt(var_j + 1e-4)), unbiased variance over the batch."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def covariance(z: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Sum of the squared off-diagonal entries of the unbiased covariance of z, over D."""
    batch, dim = z.shape
    z = z - z.mean(dim=0)
    diagonal = (z**2).sum(dim=0) / (batch - 1)
    return (_squared_norm_of_product(z, z) / (batch - 1) ** 2 - (diagonal**2).sum()) / dim


def correlation(z: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Mean over all D^2 entries of the squared off-diagonal correlations of the columns of z."""
    z = F.normalize(z - z.mean(dim=0), dim=0)
    diagonal = (z**2).sum(dim=0)  # 1, or 0 for a constant column
    return (_squared_norm_of_product(z, z) - (diagonal**2).sum()) / z.shape[1] ** 2


def _squared_norm_of_product(a, b):
    """||A^T B||_F^2 for a, b (B, D), through the smaller of the D x D product and the two B x B Gram matrices."""
    batch, dim = a.shape
    if batch < dim:
        return ((a @ a.T) * (b @ b.T)).sum()
    return ((a.T @ b) ** 2).sum()


def _standardise(z):
    return (z - z.mean(dim=0)) / (z.std(dim=0) + 1e-8)


class IterNorm(nn.Module):
    """Whitening by Newton's iteration (arXiv 1904.03441, algorithm 1) in groups of D / num_groups contiguous features.

    In train mode the batch's own mean and whitening matrix are used (gradients flow through both) and running averages
    are kept for eval mode. Groups wider than the batch are rank-deficient; eps keeps them finite. Few iterations are
    part of the method: rounding errors between directions of unequal variance grow with each one, and 20 or more of
    them can ruin the result even in float64 (notebook 18 measures it).
    """

    @checked(num_features=count, num_groups=count, iterations=count_from_0, eps=number, momentum=number, affine=flag)
    def __init__(self, num_features, num_groups=64, iterations=5, eps=1e-5, momentum=0.1, affine=True):
        super().__init__()
        if num_features % num_groups:
            raise BadInput(f"{num_features} features do not split into {num_groups} equal groups")
        self.num_groups, self.iterations, self.eps, self.momentum = num_groups, iterations, eps, momentum
        width = num_features // num_groups
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_whitening", torch.eye(width).repeat(num_groups, 1, 1))  # (G, d, d)

    def forward(self, x: Float[ArrayLike, "B D"]) -> Float[Tensor, "B D"]:
        """Features whitened; in train mode B is at least 2."""
        x = rows_of(x, "features", self.running_mean, at_least=2 if self.training else 1)
        if self.training:
            mean, whitening = _whitening_matrices(x, self.num_groups, self.iterations, self.eps)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_whitening.lerp_(whitening, self.momentum)
        else:
            mean, whitening = self.running_mean, self.running_whitening
        white = _apply_whitening(x, mean, whitening)
        return white if self.weight is None else white * self.weight + self.bias


@full_precision
def _whitening_matrices(x, groups, iterations, eps):
    """x (B, D) -> mean (D,), approximate inverse square roots (G, d, d) of the groups' covariances."""
    mean = x.mean(dim=0)
    grouped = (x - mean).view(len(x), groups, -1).permute(1, 2, 0)  # (G, d, B)
    width = grouped.shape[1]
    identity = torch.eye(width, dtype=x.dtype, device=x.device)
    covariance = grouped @ grouped.transpose(1, 2) / len(x) + eps * identity  # (G, d, d)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]  # (G, 1, 1)
    normalised = covariance / trace
    p = identity.expand(groups, width, width)
    for _ in range(iterations):
        p = 1.5 * p - 0.5 * (p @ p @ p) @ normalised
    return mean, p / trace.sqrt()


@full_precision
def _apply_whitening(x, mean, whitening):
    groups, width, _ = whitening.shape
    grouped = (x - mean).view(len(x), groups, width).transpose(0, 1)  # (G, B, d)
    return (grouped @ whitening.transpose(1, 2)).transpose(0, 1).reshape(len(x), groups * width)


class Projector(nn.Module):
    """Three-layer head in which the views meet; thrown away after stage 1.

    Linear, BatchNorm, ReLU, twice, then Linear and, for VIbCReg, IterNorm (`whiten=True`). Paper: 128 -> 4096 wide.
    All views pass the linear layers in one matrix product; batch statistics are each view's own.
    """

    @checked(in_features=count, width=count, whiten=flag, groups=count)
    def __init__(self, in_features=128, width=4096, whiten=False, groups=64):
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(in_features, width), nn.BatchNorm1d(width)
        self.linear2, self.norm2 = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.linear3 = nn.Linear(width, width)
        self.whiten = IterNorm(width, num_groups=groups) if whiten else nn.Identity()

    def forward(self, *views: Float[ArrayLike, "B in_features"]) -> tuple[Float[Tensor, "B width"], ...]:
        """One projection per view."""
        views = [rows_of(x, "view", self.linear1.weight[0], at_least=2 if self.training else 1) for x in views]
        n = len(views)
        if len({len(view) for view in views}) != 1:
            raise BadInput(f"views must have one batch size, got {[len(view) for view in views]}")
        h = F.relu(self._per_view(self.norm1, self.linear1(torch.cat(views)), n))
        h = F.relu(self._per_view(self.norm2, self.linear2(h), n))
        return tuple(self.whiten(view) for view in self.linear3(h).chunk(n))

    @staticmethod
    def _per_view(norm, h, n):
        return torch.cat([norm(view) for view in h.chunk(n)])
