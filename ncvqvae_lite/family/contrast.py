"""Losses that set one series against others, and the one that has no others: what goes into `pretrain` as its loss.

SimCLR's NT-Xent (`ssl_losses_contrastive`, where the tokenizer has it from) and its relatives. `a`, `b` are the
projections of two views (B, D), B at least 2; only their directions count. Where a loss keeps something (a predictor, a
queue) it is a class whose objects are called as the functions are.
"""

import copy
import math

import torch
from scipy.special import betaincinv
from torch import nn
from torch.nn import functional as F

from ..arguments import below_1, checked, count, not_negative, positive, share
from ..arguments_tensors import finite, floats, integers, source, two_views
from ..errors import BadInput
from ..numerics import full_precision
from ..shapes import ArrayLike, Float, Int, Tensor
from ..ssl_losses_contrastive import SimCLR, nt_xent, simclr
from .views import clean

__all__ = [
    "NNCLR", "MoCo", "Momentum", "Queue", "SimCLR", "SimSiam", "debiased", "hard_negatives", "info_nce", "mixup",
    "mixup_loss", "nce", "negative_cosine", "nt_xent", "nt_xent_floor", "simclr",
]  # fmt: skip


# --- pairs among pairs ---


@full_precision
def info_nce(logits: Float[ArrayLike, "N N"]) -> Float[Tensor, ""]:
    """Cross entropy of the pair (i, i) among (i, 1..N), from their scores: log N for a guess (arXiv 1807.03748).

    log N - info_nce is a lower bound of the mutual information in nats, and never more than log N.
    """
    logits = floats(logits, "logits")
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1] or len(logits) < 2:
        raise BadInput(f"expected scores of N x N pairs, N at least 2, got {tuple(logits.shape)}: score each with each")
    return (logits.logsumexp(dim=1) - logits.diagonal()).mean()


@full_precision
def nce(real: Float[ArrayLike, " n"], shuffled: Float[ArrayLike, " m"]) -> Float[Tensor, ""]:
    """Logistic loss of telling real pairs from shuffled ones by scores: log 2 for a guess.

    The best score is log p(x, y) / (p(x) p(y)) (Gutmann and Hyvarinen, AISTATS 2010, with as many pairs of each).
    """
    real, shuffled = floats(real, "scores of real pairs"), floats(shuffled, "scores of shuffled pairs")
    if 0 in (real.numel(), shuffled.numel()):
        raise BadInput(f"expected scores of both kinds, got {real.numel()} and {shuffled.numel()}: give some of each")
    return (F.softplus(-real).mean() + F.softplus(shuffled).mean()) / 2


@checked(batch=count, tau=positive)
def nt_xent_floor(batch, tau=0.2):
    """The least value of NT-Xent for a batch of so many series in D >= B - 1 dimensions: a simplex, partners equal."""
    if batch < 2:
        raise BadInput(f"batch must be 2 or more, got {batch}: a contrastive loss compares series")
    return math.log1p((2 * batch - 2) * math.exp(-(1 + 1 / (batch - 1)) / tau))


# --- other weights for the negatives ---


@full_precision
@checked(tau=positive, prior=below_1)
def debiased(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"], tau=0.2, prior=0.1) -> Float[Tensor, ""]:
    """NT-Xent whose negatives are corrected for those of the anchor's own class, a share `prior` (arXiv 2007.00224).

    The mean of exp(s / tau) over the negatives becomes (mean - prior exp(s+ / tau)) / (1 - prior), at least
    exp(-1 / tau), with s+ the partners' cosine. prior 0 is NT-Xent.
    """
    partner, others = _cosines(*two_views(a, b))
    log_mean = (others / tau).logsumexp(dim=1) - math.log(others.shape[1])
    own = (partner / tau - log_mean).clamp(max=80).exp()  # in units of the mean; clamped, so that fp32 holds it
    corrected = (1 - prior * own) / (1 - prior)
    floor = (-1 / tau - log_mean).exp()
    return _cross_entropy(partner / tau, log_mean + torch.maximum(corrected, floor).log(), others.shape[1])


@full_precision
@checked(tau=positive, beta=not_negative)
def hard_negatives(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"], tau=0.2, beta=1.0) -> Float[Tensor, ""]:
    """NT-Xent whose negatives weigh by softmax(beta s), s their cosine to the anchor (arXiv 2010.04592); 0 is NT-Xent.

    (The paper's code has s / tau in the weight, and corrects as `debiased` does.)
    """
    partner, others = _cosines(*two_views(a, b))
    log_mean = (beta * others + others / tau).logsumexp(dim=1) - (beta * others).logsumexp(dim=1)
    return _cross_entropy(partner / tau, log_mean, others.shape[1])


def _cosines(a, b):
    """Cosines of 2B embeddings to their partners (2B,) and to all others (2B, 2B - 2)."""
    u = F.normalize(torch.cat([a, b]), dim=1)
    same = torch.eye(len(a), dtype=torch.bool, device=u.device).repeat(2, 2)  # itself and its partner
    return (u * u.roll(len(a), dims=0)).sum(dim=1), (u @ u.T)[~same].view(len(u), -1)


def _cross_entropy(positive, log_mean, n):
    """-log of e^positive / (e^positive + n e^log_mean), the mean over anchors."""
    return (torch.logaddexp(positive, log_mean + math.log(n)) - positive).mean()


# --- no negatives ---


def negative_cosine(p: Float[ArrayLike, "B D"], z: Float[ArrayLike, "B D"]) -> Float[Tensor, ""]:
    """-cos(p, z), the mean over rows."""
    return -F.cosine_similarity(*two_views(p, z), dim=1).mean()


class SimSiam(nn.Module):
    """Each view predicts the other, which gets no gradient, by a small net (arXiv 2011.10566): -1 to 1.

    (negative_cosine(p(a), sg(b)) + negative_cosine(p(b), sg(a))) / 2, where no gradient passes sg. Without sg the
    embeddings collapse.
    dim, hidden   D of the projections, and of the predictor p: Linear, BatchNorm, ReLU, Linear
    """

    @checked(dim=count, hidden=count)
    def __init__(self, dim=64, hidden=32):
        super().__init__()
        self.predict = nn.Sequential(nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"]) -> Float[Tensor, ""]:
        a, b = two_views(a, b)
        one, other = negative_cosine(self.predict(a), b.detach()), negative_cosine(self.predict(b), a.detach())
        return (one + other) / 2


# --- negatives from a queue ---


class Momentum(nn.Module):
    """A copy of a network that follows it: w <- momentum w + (1 - momentum) w of the network; no gradient passes.

    Statistics of BatchNorm are its own, moved by the views it sees.
    """

    @checked(momentum=share)
    def __init__(self, net, momentum=0.99):
        super().__init__()
        self.net, self.momentum = copy.deepcopy(net).train(), momentum

    @torch.no_grad()
    def forward(self, x):
        return self.net(x)

    @torch.no_grad()
    def follow(self, net):
        for mine, its in zip(self.net.parameters(), net.parameters(), strict=True):
            mine.lerp_(its, 1 - self.momentum)


class Queue:
    """The last `size` unit vectors that were pushed, `vectors` (size, D); before that, random directions from g."""

    @checked(size=count, dim=count)
    def __init__(self, size=512, dim=64, *, g):
        device = torch.device("cpu") if g is None else g.device
        self.vectors = F.normalize(torch.randn(size, dim, generator=g, device=device), dim=1)
        self.place = 0  # of the oldest

    def push(self, u: Float[Tensor, "B D"]):
        """Unit vectors take the place of the oldest; of more than `size` the last ones."""
        u = u.detach()[-len(self.vectors) :]
        rows = (self.place + torch.arange(len(u), device=u.device)) % len(self.vectors)
        self.vectors = self.vectors.index_copy(0, rows, u.to(self.vectors))  # anew: a gradient may need the old ones
        self.place = (self.place + len(u)) % len(self.vectors)


class MoCo:
    """The partner (from a `Momentum` network) among the embeddings of earlier batches (arXiv 1911.05722).

    Each call pushes b into the queue: `pretrain(..., loss=MoCo(queue), slow=Momentum(net))`.
    """

    @checked(tau=positive)
    def __init__(self, queue, tau=0.2):
        self.queue, self.tau = queue, tau

    def __call__(self, a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"]) -> Float[Tensor, ""]:
        u, v = (F.normalize(z, dim=1) for z in two_views(a, b))
        partner = (u * v).sum(dim=1, keepdim=True)  # (B, 1)
        logits = torch.cat([partner, u @ self.queue.vectors.T.to(u.dtype)], dim=1) / self.tau  # (B, 1 + size)
        self.queue.push(v)
        return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


class NNCLR:
    """The partner is replaced by its nearest neighbour in a queue (arXiv 2104.14548): `info_nce`, both ways.

    Each call pushes a into the queue.
    """

    @checked(tau=positive)
    def __init__(self, queue, tau=0.2):
        self.queue, self.tau = queue, tau

    def __call__(self, a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"]) -> Float[Tensor, ""]:
        u, v = (F.normalize(z, dim=1) for z in two_views(a, b))
        losses = [info_nce(self._nearest(one) @ other.T / self.tau) for one, other in ((u, v), (v, u))]
        self.queue.push(u)
        return (losses[0] + losses[1]) / 2

    def _nearest(self, u):
        vectors = self.queue.vectors.to(u.dtype)
        return vectors[(u @ vectors.T).argmax(dim=1)]


# --- between two series ---


@checked(x=clean, alpha=positive)
def mixup(
    x: Float[Tensor, "B C L"], *, g, alpha=1.0
) -> tuple[Float[Tensor, "B C L"], Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Each series mixed with another row of the batch: (share x_i + (1 - share) x_other, other, share).

    share   from Beta(alpha, alpha): uniform at 1, near 0 or 1 below
    """
    g = source(g, x)
    other = torch.randperm(len(x), generator=g, device=x.device)
    draw = torch.rand(len(x), generator=g, device=x.device, dtype=torch.float64)
    part = torch.from_numpy(betaincinv(alpha, alpha, draw.cpu().numpy())).to(x.device, x.dtype)
    weight = part[:, None, None]
    return weight * x + (1 - weight) * x[other], other, part


@full_precision
@checked(tau=positive)
def mixup_loss(mixed: Float[ArrayLike, "B D"], z: Float[ArrayLike, "B D"], other, share, tau=0.2) -> Float[Tensor, ""]:
    """Cross entropy of finding both parents of a mixture among the clean embeddings (arXiv 2203.09270; 2010.08887).

    mixed, z       projections of the mixtures and of the clean series
    other, share   as `mixup` gives them: the target is `share` for row i and 1 - share for row other[i]; share 1 is
                   `info_nce` of the cosines over tau
    """
    mixed, z = two_views(mixed, z)
    other, share = integers(other, "other", z), finite(floats(share, "share", z), "share")
    if other.shape != share.shape or other.shape != (len(z),):
        raise BadInput(f"expected other and share ({len(z)},), got {tuple(other.shape)} and {tuple(share.shape)}")
    log_p = (F.normalize(mixed, dim=1) @ F.normalize(z, dim=1).T / tau).log_softmax(dim=1)  # (B, B)
    own, others = log_p.diagonal(), log_p.gather(1, other[:, None])[:, 0]
    return -(share * own + (1 - share) * others).mean()
