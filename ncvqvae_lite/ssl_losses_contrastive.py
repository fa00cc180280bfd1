"""The contrastive loss between two views: the views of one series attract, all other series of the batch repel.

NT-Xent, the loss of SimCLR (arXiv 2002.05709, eq. 1). `a`, `b` are the projections of the two views, both (B, D); only
their directions count. Of the 2B embeddings u of length 1 each has one partner and 2B - 2 others; the loss is the cross
entropy of finding the partner among the 2B - 1, by a softmax of u . u' / tau.

Two values to know. All embeddings equal: log(2B - 1), as for a guess. The least one, if D >= B - 1: partners equal, the
B series at the corners of a simplex: log(1 + (2B - 2) exp(-(1 + 1/(B - 1)) / tau)).
"""

from typing import NamedTuple

import torch
from torch.nn import functional as F

from .arguments import checked, positive
from .arguments_tensors import two_views
from .numerics import full_precision
from .shapes import ArrayLike, Float, Tensor


class SimCLR(NamedTuple):
    total: Float[Tensor, ""]  # pull + push, in nats
    pull: Float[Tensor, ""]  # minus the mean u . u' of partners, over tau: least where the views agree
    push: Float[Tensor, ""]  # mean log of the sum of exp(u . u' / tau) over the 2B - 1: least where series spread


@full_precision
@checked(tau=positive)
def simclr(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"], tau=0.2) -> SimCLR:
    """NT-Xent with its two parts; tau 0.2 for series (arXiv 2106.14112, 2206.08496), 0.5 in SimCLR on CIFAR-10."""
    a, b = two_views(a, b)
    u = F.normalize(torch.cat([a, b]), dim=1)  # (2B, D)
    itself = torch.eye(len(u), dtype=torch.bool, device=u.device)
    logits = (u @ u.T / tau).masked_fill(itself, -torch.inf)  # (2B, 2B)
    pull = -(u * u.roll(len(a), dims=0)).sum(dim=1).mean() / tau
    push = logits.logsumexp(dim=1).mean()
    return SimCLR(pull + push, pull, push)


def nt_xent(a: Float[ArrayLike, "B D"], b: Float[ArrayLike, "B D"], tau=0.2) -> Float[Tensor, ""]:
    """NT-Xent as one number: `simclr(a, b, tau).total`."""
    return simclr(a, b, tau).total
