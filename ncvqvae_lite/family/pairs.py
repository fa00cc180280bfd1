"""Two towers: a series and its caption as two views of one thing, each with an encoder of its own (CLIP, 2103.00020).

Both end on one sphere, where a series lies near its caption. Then classes need no labels but names (`class_vectors`,
`zero_shot`); one tower may stay as it was (`Locked`: LiT, arXiv 2111.07991), or serve two others that never met.

    towers = TwoTowers(ResNet1d(), CaptionTower())
    fit_pairs(towers, data.x, data.tokens, g=g)
    classes = class_vectors(towers, [phrasings(order) for order in range(4)])        (4, D)
    zero_shot(towers.embed_series(x), classes)                                       (n,) in 0..3

u, v (n, D) are the embeddings of series and of captions; but for `TwoTowers`, only their directions count.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, count_from_0, flag, not_negative, number, positive
from ..arguments_tensors import embedding, finite_series, floats, integers, parameter_of, source, two_views
from ..errors import BadInput
from ..inference import batched
from ..numerics import full_precision
from ..shapes import ArrayLike, Float, Int, Tensor
from .captions import LONGEST, WORDS, encode
from .contrast import info_nce
from .loop import learn
from .masked import WideBlock

LEAST_TAU = 1 / 100  # CLIP: the learned 1 / tau is clipped at 100

# --- towers ---


class CaptionTower(nn.Module):
    """Tokens (B, 10) of captions -> features (B, 32): embedding, positions, one transformer block, mean over the words.

    `captions.encode` fills captions up to 10 tokens with 0. The block attends to these places too, so tokens of another
    length, which would have other features, are refused.

    ordered   False: without positions, a bag of words, which cannot tell "up then down" from "down then up"
    """

    @checked(width=count, heads=count, ordered=flag)
    def __init__(self, width=32, heads=4, ordered=True):
        super().__init__()
        self.words = nn.Parameter(torch.randn(len(WORDS), width))
        self.positions = nn.Parameter(torch.randn(LONGEST, width)) if ordered else None
        self.block = WideBlock(width, heads)

    def forward(self, tokens: Int[ArrayLike, "B 10"]) -> Float[Tensor, "B D"]:
        tokens = integers(tokens, "tokens", self.words)
        if tokens.ndim != 2 or tokens.shape[1] != LONGEST:
            raise BadInput(f"expected tokens (B, {LONGEST}) of captions, got {tuple(tokens.shape)}: captions.encode")
        h = embedding(tokens, self.words)  # (B, 10, width)
        if self.positions is not None:
            h = h + self.positions
        is_word = (tokens > 0).to(h.dtype)[..., None]
        return (self.block(h) * is_word).sum(dim=1) / is_word.sum(dim=1).clamp(min=1)


class Locked(nn.Module):
    """A trained network that stays as it is, weights and statistics, while what stands behind it learns."""

    def __init__(self, net):
        super().__init__()
        self.net = net.requires_grad_(False).eval()

    def train(self, mode=True):
        super().train(mode)
        self.net.eval()
        return self

    @torch.no_grad()
    def forward(self, x):
        return self.net(x)


class TwoTowers(nn.Module):
    """(series (B, C, L), tokens (B, M)) -> unit vectors u, v (B, dim): two encoders, a linear layer behind each.

    `tau` is learned, from 0.07 on, at least 0.01.
    """

    @checked(dim=count)
    def __init__(self, series, caption, dim=32, series_width=64, caption_width=32):
        super().__init__()
        self.series = nn.Sequential(series, nn.Linear(series_width, dim))
        self.caption = nn.Sequential(caption, nn.Linear(caption_width, dim))
        self.log_scale = nn.Parameter(torch.tensor(-math.log(0.07)))  # log 1 / tau

    @property
    def tau(self) -> Float[Tensor, ""]:
        return (-self.log_scale).exp().clamp(min=LEAST_TAU)

    def forward(
        self, x: Float[ArrayLike, "B C L"], tokens: Int[ArrayLike, "B M"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        return F.normalize(self.series(x), dim=1), F.normalize(self.caption(tokens), dim=1)

    def embed_series(self, x: Float[Tensor, "n C L"]) -> Float[Tensor, "n D"]:
        """u, in eval mode, a batch at a time."""
        return F.normalize(batched(self.series, x), dim=1)

    def embed_captions(self, tokens: Int[Tensor, "n M"]) -> Float[Tensor, "n D"]:
        """v, likewise."""
        return F.normalize(batched(self.caption, tokens), dim=1)


# --- loss and training ---


@full_precision
def clip_loss(u: Float[ArrayLike, "B D"], v: Float[ArrayLike, "B D"], tau=0.07) -> Float[Tensor, ""]:
    """InfoNCE of the cosines over tau, the mean of both directions: which v is the partner of u_i, which u of v_i.

    B is at least 2; tau above 0, a number or a () tensor that may be learned. log B for a guess.
    """
    u, v = two_views(u, v)
    if not isinstance(tau, torch.Tensor):
        tau = positive(tau, "tau")
    scores = F.normalize(u, dim=1) @ F.normalize(v, dim=1).T / tau  # (B, B)
    return (info_nce(scores) + info_nce(scores.T)) / 2


@checked(steps=count_from_0, batch=count, lr=not_negative)
def fit_pairs(
    towers, x: Float[ArrayLike, "n C L"], tokens: Int[ArrayLike, "n M"], *, g, steps=400, batch=128, lr=1e-3, tau=None
) -> list[float]:
    """Train both towers on series and the tokens of their captions, by `clip_loss`.

    tau      fixed; None: the towers' own, which is learned
    returns  the loss of each step
    """
    x = floats(x, "series", parameter_of(towers, "towers"))
    tokens = integers(tokens, "tokens", x)
    if len(x) != len(tokens) or batch < 2:
        raise BadInput(
            f"{len(x)} series, {len(tokens)} captions, batch {batch}: as many of each, and a batch of 2 or more"
        )
    x = finite_series(x, x.shape[1], None, x)
    if tau is not None:
        tau = positive(tau, "tau")

    def loss(rows, g):
        u, v = towers(x[rows], tokens[rows])
        return clip_loss(u, v, towers.tau if tau is None else tau)

    return learn(towers, loss, torch.arange(len(x), device=x.device), steps=steps, batch=batch, lr=lr, g=g)


# --- what they are good for ---


def class_vectors(towers, phrasings) -> Float[Tensor, "k D"]:
    """Unit vectors of k classes: each the mean over ways to say it, a list of texts for each class."""
    device, vectors = parameter_of(towers, "towers").device, []
    for texts in phrasings:
        vectors.append(towers.embed_captions(encode(texts).to(device)).mean(dim=0))
    return F.normalize(torch.stack(vectors), dim=1)


def zero_shot(u: Float[Tensor, "n D"], classes: Float[Tensor, "k D"]) -> Int[Tensor, " n"]:
    """Which of k class vectors is nearest to each embedding."""
    return (F.normalize(u, dim=1) @ F.normalize(classes, dim=1).T).argmax(dim=1)


def recall_at_1(u: Float[ArrayLike, "n D"], v: Float[ArrayLike, "n D"]) -> float:
    """Share of u whose nearest of all v is its partner: 1 / n for a guess."""
    u, v = two_views(u, v)
    return (zero_shot(u, v) == torch.arange(len(u), device=u.device)).double().mean().item()


# --- the gap between modalities (arXiv 2203.02053) ---


@full_precision
def modality_gap(u: Float[ArrayLike, "n D"], v: Float[ArrayLike, "m D"]) -> Float[Tensor, " D"]:
    """mean(u) - mean(v) of unit vectors; its length is the gap."""
    u, v = floats(u, "first embeddings"), floats(v, "second embeddings")
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1] or 0 in (*u.shape, *v.shape):
        raise BadInput(f"expected embeddings (n, D) and (m, D), got {tuple(u.shape)} and {tuple(v.shape)}")
    return F.normalize(u, dim=1).mean(dim=0) - F.normalize(v, dim=1).mean(dim=0)


def split_half_gap(u: Float[ArrayLike, "n D"], *, g) -> float:
    """Length of the gap between two random halves of the same embeddings: what a gap must exceed."""
    u = floats(u, "embeddings")
    if len(u) < 2:
        raise BadInput(f"expected at least 2 embeddings to split, got {len(u)}")
    one, other = u[torch.randperm(len(u), generator=source(g, u), device=u.device)].chunk(2)
    return modality_gap(one, other).norm().item()


def cone(u: Float[ArrayLike, "n D"]) -> float:
    """Mean cosine of two different rows, n at least 2: 0 where they spread, 1 where they are one."""
    u = F.normalize(floats(u, "embeddings"), dim=1)
    if len(u) < 2:
        raise BadInput(f"expected at least 2 embeddings, got {len(u)}")
    return ((u.sum(dim=0).square().sum() - len(u)) / (len(u) * (len(u) - 1))).item()


@checked(share=number)
def shifted(
    u: Float[Tensor, "n D"], v: Float[Tensor, "m D"], share
) -> tuple[Float[Tensor, "n D"], Float[Tensor, "m D"]]:
    """Unit vectors u, v moved towards each other along their gap: `share` 0 as they are, 1 closes it, -1 doubles it.

    u - share gap / 2 and v + share gap / 2, at unit length again.
    """
    if share == 0:  # as they are, to the bit
        return u, v
    half = share / 2 * modality_gap(u, v)
    return F.normalize(F.normalize(u, dim=1) - half, dim=1), F.normalize(F.normalize(v, dim=1) + half, dim=1)
