"""TS2Vec: each step of a series has a representation, contrasted at every scale of time (arXiv 2106.10466).

Two views are two overlapping crops of a series, seen through random masks; the same step must agree in both.
Its negatives are the other series at that step (instance) and the other steps of that series (temporal), first of
single steps, then of pools of 2, 4, ... steps. Missing values are NaN: their steps are masked. All is as in the
authors' code, also where the paper differs.

`features` of a trained net are scored by `svm.svm_probe`, the authors' protocol.
"""

import copy
import functools
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, few_or_none, not_negative, optional, share
from ..arguments_tensors import a_split, floats, parameter_of, series_for, source
from ..errors import BadInput
from ..inference import batched
from ..numerics import full_precision
from ..shapes import ArrayLike, Float, Tensor
from .loop import learn
from .svm import Svm, svm_probe

__all__ = [
    "Crops", "DilatedNet", "Svm", "centred", "crop_pair", "features", "hierarchical_loss", "level_losses", "svm_probe",
    "ts2vec",
]  # fmt: skip

STEPS = (200, 600)  # of a train set of at most SMALL numbers, and of a larger one
SMALL = 100_000


# --- the network ---


class DilatedNet(nn.Module):
    """Series (B, C, L), with NaN where values are missing -> representations (B, L, out), one for each step.

    A linear layer for each step; depth + 1 residual blocks of two convolutions of 3 steps, whose dilation doubles from
    block to block; the last one has width `out`. The paper's is (64, 10, 320). A step of which any channel is NaN is 0
    for the first layer and after it, so that it is known from its neighbours only.
    """

    @checked(channels=count, width=count, depth=few_or_none, out=count)
    def __init__(self, channels=1, width=64, depth=10, out=320):
        super().__init__()
        self.channels = channels
        self.inputs = nn.Linear(channels, width)
        widths = [width] * (depth + 1) + [out]
        self.blocks = nn.Sequential(*[_Block(widths[i], widths[i + 1], 2**i, i == depth) for i in range(depth + 1)])

    def forward(self, x: Float[ArrayLike, "B C L"], g=None) -> Float[Tensor, "B L D"]:
        """In train mode half of the steps are masked after the first layer, a tenth of the results dropped, by g."""
        x = series_for(self.inputs.weight, self.channels, None, x)
        is_kept = ~x.isnan().any(dim=1)  # (B, L)
        h = self.inputs(x.masked_fill(~is_kept[:, None], 0).transpose(1, 2))  # (B, L, width)
        if self.training:
            is_kept = is_kept & (torch.rand(is_kept.shape, generator=source(g, x), device=x.device) < 0.5)
        h = self.blocks(h.masked_fill(~is_kept[..., None], 0).transpose(1, 2)).transpose(1, 2)  # (B, L, out)
        if self.training:
            h = h * (torch.rand(h.shape, generator=g, device=x.device) >= 0.1) / 0.9
        return h

    def pooled(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B D"]:
        """The representation of whole series: the largest value over time, of each column."""
        return self(x).amax(dim=1)


class _Block(nn.Module):
    """W x + f(x), f: GELU, convolution, GELU, convolution; W the identity where the widths agree, but for the last."""

    def __init__(self, width_in, width, dilation, last):
        super().__init__()
        conv = functools.partial(nn.Conv1d, kernel_size=3, padding=dilation, dilation=dilation)
        self.f = nn.Sequential(nn.GELU(), conv(width_in, width), nn.GELU(), conv(width, width))
        self.skip = nn.Conv1d(width_in, width, 1) if width_in != width or last else nn.Identity()

    def forward(self, x):
        return self.skip(x) + self.f(x)


# --- views and loss ---


class Crops(NamedTuple):
    view1: Float[Tensor, "B C L1"]  # ends with the overlap
    view2: Float[Tensor, "B C L2"]  # begins with the overlap
    overlap: int  # at least 2


def crop_pair(x: Float[ArrayLike, "B C L"], g) -> Crops:
    """Two overlapping crops of series, L at least 2; NaN passes.

    The overlap has a length uniform in 2..L and any place; view 1 begins anywhere before it, view 2 ends anywhere after
    it. Lengths are one draw for the batch, and each series is cut at a place of its own.
    """
    x = a_split(x, "series")
    length, g = x.shape[2], source(g, x)
    if length < 2:
        raise BadInput(f"a crop needs series of at least 2 steps, got {length}: take longer ones")

    def draw(low, high, size=()):
        return torch.randint(low, high + 1, size, generator=g, device=x.device)

    overlap = int(draw(2, length))
    left = int(draw(0, length - overlap))
    right = left + overlap
    first, last = int(draw(0, left)), int(draw(right, length))
    shift = draw(-first, length - last, (len(x), 1))  # (B, 1)

    def cut(start, end):
        steps = shift + torch.arange(start, end, device=x.device)  # (B, end - start)
        return x.gather(2, steps[:, None].expand(-1, x.shape[1], -1))

    return Crops(cut(first, right), cut(left, last), overlap)


@full_precision
def level_losses(
    r1: Float[ArrayLike, "B T D"], r2: Float[ArrayLike, "B T D"]
) -> list[tuple[Float[Tensor, ""], Float[Tensor, ""]]]:
    """The two losses at each scale of two representations: floor(log2 T) + 1 pairs (instance, temporal).

    Dot products, at temperature 1. instance: cross entropy of finding r2 of series i among all others of both views at
    the same step. temporal: of finding r2 of step t among all other steps of both views of the same series; 0 at the
    last scale, where there is one step. Both are means over both directions and all terms. From scale to scale
    two steps become one, their maximum, and an odd last one is dropped.
    """
    r1 = floats(r1, "first representation")
    r2 = floats(r2, "second representation", like=r1)
    if r1.ndim != 3 or r1.shape != r2.shape or 0 in r1.shape:
        raise BadInput(f"expected two representations (B, T, D) of one shape, got {tuple(r1.shape)}, {tuple(r2.shape)}")
    if len(r1) < 2:
        raise BadInput(f"a contrastive loss compares a batch of at least 2 series, got {len(r1)}: give it more")
    levels = []
    while True:
        instance = _find_partner(r1.transpose(0, 1), r2.transpose(0, 1))
        if r1.shape[1] == 1:
            return [*levels, (instance, torch.zeros_like(instance))]
        levels.append((instance, _find_partner(r1, r2)))
        r1, r2 = (F.max_pool1d(r.transpose(1, 2), 2).transpose(1, 2) for r in (r1, r2))


def _find_partner(a, b):
    """In groups (G, N, D): cross entropy of finding b_n for a_n, and a_n for b_n, among the other 2N - 1 of a group."""
    n, rows = a.shape[1], torch.cat([a, b], dim=1)  # (G, 2N, D)
    scores = rows @ rows.transpose(1, 2)  # (G, 2N, 2N)
    itself = torch.eye(2 * n, dtype=torch.bool, device=a.device)
    log_sum = scores.masked_fill(itself, -torch.inf).logsumexp(dim=2)  # (G, 2N)
    return (log_sum - (rows * rows.roll(n, dims=1)).sum(dim=2)).mean()


@checked(alpha=share)
def hierarchical_loss(r1: Float[ArrayLike, "B T D"], r2: Float[ArrayLike, "B T D"], alpha=0.5) -> Float[Tensor, ""]:
    """Mean over the scales of alpha instance + (1 - alpha) temporal, of two representations, B at least 2."""
    levels = level_losses(r1, r2)
    losses = [alpha * instance + (1 - alpha) * temporal for instance, temporal in levels]
    return sum(losses, start=torch.zeros_like(losses[0])) / len(losses)


# --- training ---


@checked(steps=optional(count), batch=count, lr=not_negative)
def ts2vec(net, x: Float[ArrayLike, "n C L"], *, g, steps=None, batch=8, lr=1e-3):
    """Train a `DilatedNet` on series, n at least 2, with NaN where values are missing.

    steps    None: 200 for up to 100,000 numbers in x, else 600
    batch    at most n are taken
    g        of the batches, crops, masks and dropout, on the device of the net
    returns  the loss of each step; the weights of the net are left at their mean over all steps, the start included
    raises   BadInput for infinite values, fewer than 2 series with values, or no step with values in all channels

    As the authors' code does, series that lack all values are left out, and if any series lacks its first or last step,
    all are `centred` (in training only).
    """
    x = a_split(x, "series")
    if x.isinf().any():
        raise BadInput("infinite values in the series: replace them, by NaN where a value is missing")
    steps = steps or STEPS[x.numel() > SMALL]
    is_missing = x.isnan().all(dim=1)  # (n, L)
    if is_missing[:, [0, -1]].any():
        x = centred(x)
    x = x[~is_missing.all(dim=1)]
    if len(x) < 2:
        raise BadInput(f"expected at least 2 series with values, got {len(x)}: give more")
    if x.isnan().any(dim=1).all():
        raise BadInput("no step of any series has values in all channels: fill the gaps, or leave out a channel")
    mean, done = copy.deepcopy(net), 0

    @torch.no_grad()
    def average():
        nonlocal done
        done += 1
        for kept, now in zip(mean.parameters(), net.parameters(), strict=True):
            kept.lerp_(now, 1 / (done + 1))

    def loss(x, g):
        view1, view2, overlap = crop_pair(x, g)
        return hierarchical_loss(net(view1, g)[:, -overlap:], net(view2, g)[:, :overlap])

    like = parameter_of(net, "net")
    x = x.to(like.device, like.dtype)
    history = learn(net, loss, x, steps=steps, batch=min(batch, len(x)), lr=lr, g=g, after=average)
    net.load_state_dict(mean.state_dict())
    return history


def centred(x: Float[ArrayLike, "n C L"]) -> Float[Tensor, "n C L"]:
    """Series, each rolled so that as many steps are missing (NaN in all channels) before as after its values.

    Series without any value stay as they are. Of an odd number of missing steps one more comes after.
    """
    x = a_split(x, "series")
    known = ~x.isnan().all(dim=1)  # (n, L)
    before, after = known.int().argmax(dim=1), known.flip(1).int().argmax(dim=1)
    shift = (before + after) // 2 - before
    steps = (torch.arange(x.shape[2], device=x.device) - shift[:, None]) % x.shape[2]  # (n, L)
    return x.gather(2, steps[:, None].expand_as(x))


def features(net, x: Float[ArrayLike, "n C L"], batch=64) -> Float[Tensor, "n D"]:
    """Features of series, NaN allowed: the largest representation over time, in eval mode."""
    return batched(net.pooled, a_split(x, "series"), batch)
