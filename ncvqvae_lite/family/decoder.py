"""Codes without an encoder: each series has a free vector, and one decoder makes its views from it.

Latent optimisation, as the VICReg exercise asks for it: what links a code to its series is that the decoder must make
the series from it, seen through one of a few fixed augmentations. A new series has no code: it is searched for.
"""

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, count_from_0, not_negative
from ..arguments_tensors import finite_series, source
from ..errors import BadInput
from ..numerics import training_numerics
from ..shapes import ArrayLike, Float, Tensor
from ..ssl_losses import covariance, variance_hinge
from .views import clean, flip_sign, flip_time, smooth

SPREAD = 0.1  # weight of variance and covariance of the codes


def identity(x: Float[Tensor, "B C L"], *, g=None) -> Float[Tensor, "B C L"]:
    return x


FIXED = (identity, smooth, flip_time, flip_sign)  # nothing of these is drawn


class AutoDecoder(nn.Module):
    """(codes (B, dim), number of an augmentation) -> series (B, C, L), by an MLP of 128 and 128 units.

    codes   (n, dim) of the series that it was trained on, by `auto_decoder`
    """

    def __init__(self, codes: Float[Tensor, "n D"], channels, length, augmentations=FIXED):
        super().__init__()
        self.codes, self.augmentations = nn.Parameter(codes), tuple(augmentations)
        self.channels, self.length = channels, length
        self.net = nn.Sequential(
            nn.Linear(codes.shape[1] + len(self.augmentations), 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
            nn.Linear(128, channels * length),
        )  # fmt: skip

    def forward(self, codes: Float[Tensor, "B D"], number) -> Float[Tensor, "B C L"]:
        which = F.one_hot(torch.tensor(number, device=codes.device), len(self.augmentations))
        inputs = torch.cat([codes, which.to(codes.dtype).expand(len(codes), -1)], dim=1)
        return self.net(inputs).view(len(codes), self.channels, self.length)

    def error(self, codes: Float[Tensor, "B D"], x: Float[Tensor, "B C L"]) -> Float[Tensor, ""]:
        """Mean squared error of all augmentations of series, made from their codes."""
        made = [F.mse_loss(self(codes, a), view(x)) for a, view in enumerate(self.augmentations)]
        return torch.stack(made).mean()

    @checked(steps=count_from_0, lr=not_negative)
    def encode(self, x: Float[ArrayLike, "B C L"], steps=100, lr=0.05) -> Float[Tensor, "B D"]:
        """Codes of new series: so many Adam steps from 0, each series for itself."""
        x = finite_series(self.codes, self.channels, self.length, x)
        codes = torch.zeros(len(x), self.codes.shape[1], device=x.device, requires_grad=True)
        optimizer = torch.optim.Adam([codes], lr=lr)
        for _ in range(steps):
            (codes.grad,) = torch.autograd.grad(self.error(codes, x) * len(x), codes)  # not divided by other series
            optimizer.step()
        return codes.detach()


@checked(x=clean, dim=count, steps=count_from_0, lr=not_negative)
def auto_decoder(x: Float[Tensor, "n C L"], *, g, dim=16, steps=400, lr=0.01, augmentations=FIXED) -> AutoDecoder:
    """Train codes and decoder together on series, n at least 2, all at each Adam step.

    The loss is `AutoDecoder.error` plus 0.1 times VICReg's variance and covariance terms of the codes. Codes, from
    N(0, 1), and decoder start from g.
    """
    if len(x) < 2:
        raise BadInput("the variance of codes needs at least 2 series, got 1: give more")
    g = source(g, x)
    codes = torch.randn(len(x), dim, generator=g, device=x.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=g, device=x.device)))
        model = AutoDecoder(codes, x.shape[1], x.shape[2], augmentations).to(x.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    with training_numerics(x.device):
        for _ in range(steps):
            optimizer.zero_grad()
            spread = variance_hinge(model.codes) + covariance(model.codes)
            (model.error(model.codes, x.to(codes.dtype)) + SPREAD * spread).backward()
            optimizer.step()
    return model
