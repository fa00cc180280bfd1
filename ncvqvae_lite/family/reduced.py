"""Three contrastive systems for series, each reduced to the views, the loss and the net that `pretrain` takes.

TS-TCC (arXiv 2106.14112): from the past of one view the steps of the other are predicted. TF-C (arXiv 2206.08496):
series and spectrum are two views of one thing. CLOCS (arXiv 2005.13249): so are the halves of a series, and its leads.

    net = StepFeatures(ResNet1d())                     pretrain(net, tstcc_views, TSTCC(g=g), x, ..., g=g)
    net = TimeFrequency()                              pretrain(net, tfc_views, tfc, x, ..., g=g)
    net = with_projector(ResNet1d(), 64, 128, 64)      pretrain(net, halves, nt_xent, x, ..., g=g)

Of the first and the third `net.encoder` is kept; the second is used as it is.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, not_negative, positive, share
from ..arguments_tensors import a_split, floats, source, two_views
from ..errors import BadInput
from ..prior import Block
from ..shapes import ArrayLike, Float, Tensor
from .common import ResNet1d, with_projector
from .contrast import info_nce, nt_xent
from .views import clean

AHEAD = 3  # steps of the encoder (8 of the series each) that TS-TCC predicts


# --- TS-TCC ---


@checked(x=clean, segments=count, jitter=not_negative)
def tstcc_views(
    x: Float[Tensor, "B C L"], g, segments=8, jitter=0.8
) -> tuple[Float[Tensor, "B C L"], Float[Tensor, "B C L"]]:
    """Weak and strong view of series.

    weak     each channel of a series times one draw from N(2, 1.1^2)
    strong   cut at random places into 1 to 8 pieces, which are put together in random order, plus N(0, 0.8^2)

    The authors' code (emadeldeen24/TS-TCC, dataloader/augmentations.py) draws a factor for each time step, which all
    channels share, and cuts into max_segments - 1 pieces at most.
    """
    g, (batch, channels, length) = source(g, x), x.shape
    scale = 2 + 1.1 * torch.randn(batch, channels, 1, generator=g, device=x.device, dtype=x.dtype)
    pieces = torch.randint(1, segments + 1, (batch, 1), generator=g, device=x.device)
    cuts = torch.randint(1, max(length, 2), (batch, segments - 1), generator=g, device=x.device)
    cuts = cuts.masked_fill(torch.arange(segments - 1, device=x.device) >= pieces - 1, length)  # not made
    steps = torch.arange(length, device=x.device)
    piece = (steps[:, None] >= cuts[:, None]).sum(dim=2)  # (B, L)
    turn = torch.rand(batch, segments, generator=g, device=x.device).gather(1, piece)
    order = turn.argsort(dim=1, stable=True)  # (B, L)
    strong = x.gather(2, order[:, None].expand_as(x))
    return x * scale, strong + jitter * torch.randn(x.shape, generator=g, device=x.device, dtype=x.dtype)


class StepFeatures(nn.Module):
    """(B, C, L) -> the steps of a `ResNet1d` before their mean is taken, (B, L / 8, 64)."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Float[Tensor, "B C L"]) -> Float[Tensor, "B T 64"]:
        return self.encoder.blocks(self.encoder.stem(x)).transpose(1, 2)


class TSTCC(nn.Module):
    """Loss of the steps z_a, z_b (B, T, D) of two views: temporal (both directions) + 0.7 contextual.

    Up to a random step t a context c is read by one transformer block, at a learned token. temporal: `info_nce` of
    W_k c_a with step t + k of view b among the other series at that step, the mean over k = 1, 2, 3; and the other way
    round. contextual: NT-Xent of projections of the two contexts.

    g   of the step t; the parameters are drawn from torch's own
    """

    @checked(dim=count, tau=positive, weight=not_negative)
    def __init__(self, dim=64, tau=0.2, weight=0.7, *, g):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(dim))
        self.context = Block(dim, heads=4)
        self.heads = nn.ModuleList([nn.Linear(dim, dim) for _ in range(AHEAD)])
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, dim // 2))
        self.tau, self.weight, self.g = tau, weight, g

    def forward(self, z_a: Float[Tensor, "B T D"], z_b: Float[Tensor, "B T D"]) -> Float[Tensor, ""]:
        steps = z_a.shape[1]
        if steps <= AHEAD:
            raise BadInput(f"{steps} encoded steps, expected more than the {AHEAD} to predict: series of 32 and more")
        t = int(torch.randint(steps - AHEAD, (), generator=source(self.g, z_a), device=z_a.device))
        c_a, c_b = self.read(z_a[:, : t + 1]), self.read(z_b[:, : t + 1])
        ahead = slice(t + 1, t + 1 + AHEAD)
        temporal = self.temporal(c_a, z_b[:, ahead]) + self.temporal(c_b, z_a[:, ahead])
        return temporal + self.weight * nt_xent(self.project(c_a), self.project(c_b), self.tau)

    def read(self, z: Float[Tensor, "B t D"]) -> Float[Tensor, "B D"]:
        """Context of the steps."""
        token = self.token.expand(len(z), 1, -1)
        return self.context(torch.cat([token, z], dim=1))[:, 0]

    def temporal(self, c: Float[Tensor, "B D"], z: Float[Tensor, "B 3 D"]) -> Float[Tensor, ""]:
        """Mean InfoNCE of a context with the AHEAD next steps of the other view."""
        losses = [info_nce(head(c) @ z[:, k].T) for k, head in enumerate(self.heads)]
        return torch.stack(losses).mean()


# --- TF-C ---


@checked(x=clean)
def spectrum(x: Float[Tensor, "B C L"]) -> Float[Tensor, "B C L"]:
    """Sizes of the Fourier coefficients of series, stretched linearly over L steps."""
    size = torch.fft.rfft(x, dim=2, norm="ortho").abs()
    return F.interpolate(size, size=x.shape[2], mode="linear", align_corners=True)


def beside_spectrum(x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B C2 L"]:
    """What `TimeFrequency` reads of series: their channels and those of the spectrum, C2 = 2C."""
    x = floats(x, "series")
    return torch.cat([x, spectrum(x)], dim=1)


@checked(x=clean, jitter=not_negative, drop=share, add=share)
def tfc_views(
    x: Float[Tensor, "B C L"], g, jitter=0.5, drop=0.1, add=0.1
) -> tuple[Float[Tensor, "B 2*C L"], Float[Tensor, "B 2*C L"]]:
    """(as it is, changed), each series beside its spectrum.

    Series get N(0, jitter^2). In the spectrum a share `drop` of the steps becomes 0, and to a share `add` of them up to
    a tenth of its largest value is added.
    """
    g, own = source(g, x), spectrum(x)
    draw = torch.rand(3, *x.shape, generator=g, device=x.device, dtype=x.dtype)
    more = (draw[1] < add) * draw[2] * 0.1 * own.amax(dim=2, keepdim=True)
    changed = own.masked_fill(draw[0] < drop, 0) + more
    noisy = x + jitter * torch.randn(x.shape, generator=g, device=x.device, dtype=x.dtype)
    return torch.cat([x, own], dim=1), torch.cat([noisy, changed], dim=1)


class TimeFrequency(nn.Module):
    """Two `ResNet1d` with projectors, of series and of spectrum (B, 2C, L) -> (B, 128), the first half of the series.

    `features` are those of both encoders, (B, 128).
    """

    @checked(channels=count)
    def __init__(self, channels=1):
        super().__init__()
        self.nets = nn.ModuleList([with_projector(ResNet1d(channels), 64, 128, 64) for _ in range(2)])

    def forward(self, x: Float[ArrayLike, "B C2 L"]) -> Float[Tensor, "B 128"]:
        return torch.cat([net(part) for net, part in zip(self.nets, self._parts(x))], dim=1)

    def features(self, x: Float[ArrayLike, "B C2 L"]) -> Float[Tensor, "B 128"]:
        return torch.cat([net.encoder(part) for net, part in zip(self.nets, self._parts(x))], dim=1)  # pyright: ignore[reportCallIssue]  # a network

    def _parts(self, x):
        x = a_split(x, "series")
        if x.shape[1] % 2:
            raise BadInput(f"expected series beside their spectra, (B, 2C, L), got {tuple(x.shape)}: beside_spectrum")
        return x.chunk(2, dim=1)


class Tfc(NamedTuple):
    time: Float[Tensor, ""]  # NT-Xent of the two views of the series,
    frequency: Float[Tensor, ""]  # of those of the spectrum,
    both: Float[Tensor, ""]  # of series and spectrum, unchanged
    consistency: Float[Tensor, ""]  # sum of 1 + both - NT-Xent over the three other pairs of series and spectrum


def tfc_terms(a: Float[ArrayLike, "B D2"], b: Float[ArrayLike, "B D2"], tau=0.2) -> Tfc:
    """The terms of TF-C of two views, each of series and spectrum; a is the unchanged one."""
    (time, frequency), (time_b, frequency_b) = (z.chunk(2, dim=1) for z in two_views(a, b))
    both = nt_xent(time, frequency, tau)
    pairs = ((time, frequency_b), (time_b, frequency), (time_b, frequency_b))
    consistency = sum((1 + both - nt_xent(*pair, tau) for pair in pairs), start=torch.zeros_like(both))
    return Tfc(nt_xent(time, time_b, tau), nt_xent(frequency, frequency_b, tau), both, consistency)


@checked(weight=share)
def tfc(a: Float[ArrayLike, "B D2"], b: Float[ArrayLike, "B D2"], tau=0.2, weight=0.5) -> Float[Tensor, ""]:
    """The loss of the paper: weight (time + frequency) + (1 - weight) consistency."""
    terms = tfc_terms(a, b, tau)
    return weight * (terms.time + terms.frequency) + (1 - weight) * terms.consistency


def tfc_code(a: Float[ArrayLike, "B D2"], b: Float[ArrayLike, "B D2"], tau=0.2) -> Float[Tensor, ""]:
    """The loss that the authors' code minimises: 0.2 (time + frequency) + both. It computes consistency for nothing."""
    terms = tfc_terms(a, b, tau)
    return 0.2 * (terms.time + terms.frequency) + terms.both


# --- CLOCS ---


@checked(x=clean)
def halves(x: Float[Tensor, "B C L"], g=None) -> tuple[Float[Tensor, "B C L//2"], Float[Tensor, "B C L//2"]]:
    """Both halves of series as views; of an odd length the last step goes. Nothing is drawn."""
    half = x.shape[2] // 2
    if half == 0:
        raise BadInput("a series of 1 step has no halves: take longer ones")
    return x[..., :half], x[..., half : 2 * half]


@checked(x=clean)
def channel_pair(x: Float[Tensor, "B C L"], g) -> tuple[Float[Tensor, "B 1 L"], Float[Tensor, "B 1 L"]]:
    """Two different channels of each series, at the same time; C at least 2."""
    if x.shape[1] < 2:
        raise BadInput("a pair of channels needs series of at least 2 channels, got 1: use `halves`")
    draw = torch.rand(x.shape[:2], generator=source(g, x), device=x.device)
    pick = draw.argsort(dim=1)[:, :2, None].expand(-1, -1, x.shape[2])
    first, second = x.gather(1, pick).split(1, dim=1)
    return first, second
