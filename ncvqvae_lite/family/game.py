"""A game of two networks, and the second question that keeps the discriminator from forgetting (arXiv 1811.11212).

A generator makes series from noise, a discriminator tells them from real ones. In SS-GAN it also tells which of four
flips a series has (`pretexts.flips`), of real series for its own loss, of generated ones for the generator's. V is the
value of the game (arXiv 1406.2661), which the discriminator raises and the generator lowers:

    V = mean log D(x) + mean log(1 - D(G(z)))
    the discriminator minimises   -V + beta CE(flip of real series)
    the generator minimises       mean -log D(G(z)) + alpha CE(flip of generated series)

The generator's first term, as usual, replaces V, whose gradient vanishes while the discriminator wins. With alpha and
beta 0 this is a plain GAN.

    play(Generator(128), Discriminator(128), x, g=g)     Generator(128) -> series by .sample(n, g=g)
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ..arguments import checked, count, not_negative
from ..arguments_tensors import finite_series, floats, parameter_of, series_for, source
from ..errors import BadInput
from ..inference import in_eval_mode
from ..shapes import ArrayLike, Float, Int, Tensor
from ..training_engine import StepEngine
from ..training_optim import Optim, Player, adamw_over
from .pretexts import FLIPS, flips
from .scores import neighbours, two_sets

NOISE = 32  # dimensions of the generator's input
RATE, BETAS = 2e-4, (0.5, 0.9)  # of Adam, for both


def _steps(length):
    """Steps L / 8 that three halvings leave."""
    if length % 8:
        raise BadInput(f"length must be a multiple of 8, got {length}: pad or cut the series")
    return length // 8


class Generator(nn.Module):
    """Noise (B, 32) -> series (B, C, L), L a multiple of 8: a linear layer to L / 8 steps, three that double them.

    Its output is linear: a tanh, as the report on gestures has it, could not leave -1..1.
    """

    @checked(length=count, channels=count)
    def __init__(self, length, channels=1):
        super().__init__()
        self.steps, layers = _steps(length), []
        self.start = nn.Linear(NOISE, 64 * self.steps)
        for width_in, width in ((64, 64), (64, 32)):
            layers += [nn.ConvTranspose1d(width_in, width, 4, 2, 1), nn.BatchNorm1d(width), nn.ReLU()]
        self.layers = nn.Sequential(
            nn.BatchNorm1d(64), nn.ReLU(), *layers, nn.ConvTranspose1d(32, channels, 4, 2, 1)
        )  # fmt: skip

    def forward(self, z: Float[Tensor, "B 32"]) -> Float[Tensor, "B C L"]:
        return self.layers(self.start(z).view(-1, 64, self.steps))

    @in_eval_mode
    @torch.no_grad()
    @checked(n=count)
    def sample(self, n, *, g) -> Float[Tensor, "{n} C L"]:
        """n series, in eval mode."""
        weight = self.start.weight
        return self(torch.randn(n, NOISE, generator=source(g, weight), device=weight.device))


class Discriminator(nn.Module):
    """Series (B, C, L) -> (score (B,) of being real, logits (B, 4) of the flip).

    Three convolutions of stride 2 with spectral normalisation (arXiv 1802.05957) and LeakyReLU; `features` are what
    they end in, (B, 8 L).
    """

    @checked(length=count, channels=count)
    def __init__(self, length, channels=1):
        super().__init__()
        self.length, self.channels, layers = length, channels, []
        width = 64 * _steps(length)
        for width_in, width_out in ((channels, 32), (32, 64), (64, 64)):
            layers += [spectral_norm(nn.Conv1d(width_in, width_out, 5, 2, 2)), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.real, self.flip = spectral_norm(nn.Linear(width, 1)), spectral_norm(nn.Linear(width, FLIPS))

    def forward(self, x: Float[ArrayLike, "B C L"]) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 4"]]:
        h = self.features(series_for(self.real.bias, self.channels, self.length, x))
        return self.real(h)[:, 0], self.flip(h)


# --- objectives ---


class Moves(NamedTuple):
    """What a player minimises, and its two parts."""

    total: Float[Tensor, ""]
    game: Float[Tensor, ""]
    flip: Float[Tensor, ""]  # cross entropy in nats, log 4 for a guess


def value(real: Float[ArrayLike, " B"], fake: Float[ArrayLike, " B"]) -> Float[Tensor, ""]:
    """V from the scores of real and of generated series: -2 log 2 for a guess, 0 at best for the discriminator."""
    real, fake = floats(real, "scores of real series"), floats(fake, "scores of generated series")
    return -F.softplus(-real).mean() - F.softplus(fake).mean()


@checked(beta=not_negative)
def discriminator_loss(
    real: Float[ArrayLike, " B"],
    fake: Float[ArrayLike, " B"],
    logits: Float[Tensor, "B 4"],
    which: Int[Tensor, " B"],
    beta=1.0,
) -> Moves:
    """Scores of both kinds; logits of the flips `which` of *real* series."""
    game, flip = -value(real, fake), F.cross_entropy(logits, which)
    return Moves(game + beta * flip, game, flip)


@checked(alpha=not_negative)
def generator_loss(
    fake: Float[Tensor, " B"], logits: Float[Tensor, "B 4"], which: Int[Tensor, " B"], alpha=0.2
) -> Moves:
    """Scores of generated series; logits of the flips `which` of *generated* series."""
    game, flip = F.softplus(-fake).mean(), F.cross_entropy(logits, which)
    return Moves(game + alpha * flip, game, flip)


class MakerTerms(NamedTuple):
    maker: Float[Tensor, ""]
    maker_game: Float[Tensor, ""]
    maker_flip: Float[Tensor, ""]


class CriticTerms(NamedTuple):
    critic: Float[Tensor, ""]
    critic_game: Float[Tensor, ""]
    critic_flip: Float[Tensor, ""]


@checked(steps=count, batch=count, alpha=not_negative, beta=not_negative)
def play(
    generator, discriminator, x: Float[ArrayLike, "n C L"], *, g, steps=600, batch=64, alpha=0.2, beta=1.0
) -> list[dict]:
    """Train both on series, by Adam, each once a step, the generator first.

    alpha, beta  weights of the flips for generator and discriminator; 0 and 0: a plain GAN
    returns      history, a dict for each pass over the series: means of `maker`, `maker_game`, `maker_flip` (the
                 generator's), `critic`, `critic_game`, `critic_flip`; both networks are left in eval mode
    raises       BadInput for NaN, series of another shape, a batch of 1; TrainingDiverged
    """
    like = parameter_of(discriminator, "discriminator")
    x = finite_series(like, discriminator.channels, discriminator.length, x)
    if not 2 <= batch <= len(x):
        raise BadInput(f"batch must be from 2 to the number of series, {len(x)}, got {batch}: change it")
    seed = int(torch.randint(2**31 - 1, (), generator=source(g, x), device=x.device))
    history = _engine(generator, discriminator, x, steps, batch, seed, alpha, beta).run()
    generator.eval()
    discriminator.eval()
    return history


def _engine(generator, discriminator, x, steps, batch, seed, alpha, beta):
    def make(real, g):
        return generator(torch.randn(len(real), NOISE, generator=g, device=real.device))

    def maker_loss(real, g):
        fake = make(real, g)
        seen, which = flips(fake, g)
        return MakerTerms(*generator_loss(discriminator(fake)[0], discriminator(seen)[1], which, alpha))

    def critic_loss(real, g):
        with torch.no_grad():
            fake = make(real, g)
        seen, which = flips(real, g)
        scores = discriminator(real)[0], discriminator(fake)[0]
        return CriticTerms(*discriminator_loss(*scores, discriminator(seen)[1], which, beta))

    optim = Optim(steps=steps, batch_size=batch, lr=RATE, weight_decay=0.0, betas=BETAS)
    return StepEngine(
        generator, lambda index, g: (x[index],), maker_loss, terms=MakerTerms._fields, n=len(x), optim=optim, seed=seed,
        optimizers=_adam, second=Player(discriminator, critic_loss, CriticTerms._fields, _adam),
    )  # fmt: skip


def _adam(module, lr, optim, capturable):
    """Adam at one rate throughout, whatever the schedule."""
    return [adamw_over(module.parameters(), torch.full_like(lr, optim.lr), optim, capturable)]


# --- what came of it ---


def two_sample_accuracy(real: Float[ArrayLike, "n ..."], fake: Float[ArrayLike, "n ..."]) -> float:
    """Share of series whose nearest other one, among both sets, is of the same set: 0.5 where nothing tells them apart.

    arXiv 1610.06545. real, fake   (n, C, L) or features (n, D), as many of each; near 0 where fakes are copies
    """
    real, fake = two_sets(real, fake, ("real series", "generated series"))
    if len(real) != len(fake):
        raise BadInput(f"{len(real)} real and {len(fake)} generated series, expected as many of each")
    is_fake = np.arange(2 * len(real)) >= len(real)
    nearest = neighbours(np.concatenate([real, fake]), k=1).index[:, 0]
    return float(np.mean(is_fake[nearest] == is_fake))


def spread(real: Float[ArrayLike, "n ..."], fake: Float[ArrayLike, "m ..."]) -> float:
    """Root mean square deviation of generated series from their mean, in units of that of real ones: 0 at collapse."""
    real, fake = two_sets(real, fake, ("real series", "generated series"))
    if not (real != real[0]).any():
        raise BadInput("the real series are all the same, expected some that vary")
    return float(np.sqrt(fake.var(axis=0).sum() / real.var(axis=0).sum()))
