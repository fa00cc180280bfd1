"""ExpCLR: no views at all; the distances of embeddings are to follow those of an expert's features (arXiv 2206.11517).

f = expert_features(x)
pretrain(net, expert_views(x, f), expclr, torch.arange(len(x)), ..., g=g, slow=Given())
"""

import math

import torch
from torch.nn import functional as F

from ..arguments import checked, positive
from ..arguments_tensors import finite, floats
from ..errors import BadInput
from ..numerics import full_precision
from ..shapes import ArrayLike, Float, Tensor
from .views import clean


@checked(x=clean)
def expert_features(x: Float[Tensor, "n C L"]) -> Float[Tensor, "n 8*C"]:
    """What an expert may note of series, L at least 4; each column of mean 0 and deviation 1.

    Of each channel: mean absolute difference; dominant frequency, in cycles, and its share of the power; changes of
    sign; standard deviations of both halves; places of the largest and of the smallest value. Columns that are constant
    become 0.
    """
    length = x.shape[2]
    if length < 4:
        raise BadInput(f"an expert needs series of at least 4 steps, got {length}: take longer ones")
    power = torch.fft.rfft(x - x.mean(dim=2, keepdim=True), dim=2).abs().square()  # (n, C, L // 2 + 1)
    most, cycles = power.max(dim=2)
    half, is_negative = length // 2, x < 0
    columns = [
        x.diff(dim=2).abs().mean(dim=2), cycles, most / power.sum(dim=2).clamp(min=1e-30),
        (is_negative[..., 1:] != is_negative[..., :-1]).sum(dim=2),
        x[..., :half].std(dim=2, correction=0), x[..., half:].std(dim=2, correction=0),
        x.argmax(dim=2), x.argmin(dim=2),
    ]  # fmt: skip
    f = torch.cat([column.double() for column in columns], dim=1)  # (n, 8 C)
    f = f - f.mean(dim=0)
    deviation = f.std(dim=0, correction=0)
    return (f / torch.where(deviation > 1e-9, deviation, torch.inf)).to(x.dtype)


def expert_views(x: Float[Tensor, "n C L"], f: Float[Tensor, "n E"]):
    """What `pretrain` takes as views, of rows (B,): (series, what the expert notes of them)."""
    if len(x) != len(f):
        raise BadInput(f"{len(x)} series and features of {len(f)}: use those of one set")
    return lambda rows, g: (x[rows], f[rows])


class Given:
    """In the place of `pretrain`'s slow network: the second view is an embedding already."""

    def __call__(self, b: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        return b

    def follow(self, net):
        pass


@full_precision
@checked(delta=positive, tau=positive)
def expclr(h: Float[ArrayLike, "B D"], f: Float[ArrayLike, "B E"], delta=1.0, tau=1.0) -> Float[Tensor, ""]:
    """tau log mean exp(L_ij / tau) over pairs of a batch: for a small tau the worst pair counts, for a large the mean.

    h, f   B is at least 2. L_ij = ((1 - s_ij) delta - |h_i - h_j|)^2, s_ij = 1 - |f_i - f_j| / the largest
           such distance in the batch (the paper: in the set)
    """
    h, f = floats(h, "embeddings"), finite(floats(f, "expert features"), "expert features")
    if h.ndim != 2 or f.ndim != 2 or len(h) != len(f):
        raise BadInput(
            f"expected embeddings and features of the same series, got {tuple(h.shape)} and {tuple(f.shape)}"
        )
    if len(h) < 2:
        raise BadInput(f"a contrastive loss compares a batch of at least 2 series, got {len(h)}: give it more")
    apart = F.pdist(f.to(h.dtype))  # (pairs,) in 0.., as 1 - s is below
    apart = apart / apart.max().clamp(min=1e-12)
    errors = (apart * delta - F.pdist(h)).square()
    return tau * ((errors / tau).logsumexp(dim=0) - math.log(len(errors)))
