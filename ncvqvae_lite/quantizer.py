"""Vector quantisation with a codebook that follows the encoder by exponential moving averages.

van den Oord et al. 2017 (arXiv 1711.00937), section 3.2 and appendix A.1; constants of the NC-VQVAE thesis
(Mathisen 2024): 32 codes of width 64, decay 0.9, commitment weight 1. Off unless asked for: k-means start, restarts.
"""

# pyright: reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .arguments import below_1, checked, flag, integer, not_negative, number
from .arguments_tensors import finite, latents, source, tokens_of
from .errors import BadInput
from .numerics import full_precision
from .shapes import ArrayLike, Bool, Float, Int, Tensor


class Quantized(NamedTuple):
    z_q: Float[Tensor, "B D F W"]  # code vectors; gradients pass straight through to z
    indices: Int[Tensor, "B F W"]  # int64
    loss: Float[Tensor, ""]  # commitment loss, 0 in eval mode
    perplexity: Float[Tensor, ""]  # exp(entropy) of the codes in this batch, 1..K


class VectorQuantizer(nn.Module):
    """Nearest-code quantiser.

    codebook_size  K
    dim            D, width of a code
    decay          of the moving averages, per training step
    commitment     weight of mean (sg[e] - z)^2
    kmeans_init    start from k-means of a batch of latents instead of N(0, 1): whoever trains calls `initialise` first
    expire_below   a code whose average count falls below this is replaced by a random latent of the batch; 0 is off
    """

    @checked(codebook_size=integer, dim=integer, decay=below_1, commitment=number, kmeans_init=flag)
    def __init__(
        self, codebook_size=32, dim=64, decay=0.9, commitment=1.0, kmeans_init=False, expire_below=0.0, smoothing=1e-5
    ):
        super().__init__()
        if codebook_size < 2 or dim < 1:
            raise BadInput(f"a codebook needs at least 2 codes of width 1, got {codebook_size} of width {dim}")
        self.decay, self.commitment = decay, commitment
        self.expire_below, self.smoothing = number(expire_below, "expire_below"), number(smoothing, "smoothing")
        self.needs_init = kmeans_init  # until `initialise`, or until a trained codebook is loaded
        codebook = torch.randn(codebook_size, dim)
        self.register_buffer("codebook", codebook)  # (K, D)
        self.register_buffer("code_sum", codebook.clone())  # (K, D) moving sum of the latents of each code
        self.register_buffer("code_count", torch.zeros(codebook_size))  # (K,) moving count
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "needs_init", False))

    def forward(self, z: Float[ArrayLike, "B D F W"], generator=None) -> Quantized:
        """In train mode the codebook moves *after* this batch was quantised with it.

        raises  BadInput in train mode when kmeans_init was asked for and `initialise` has not been called
        """
        z = latents(z, self.codebook)
        flat = _to_rows(z)  # (B*F*W, D)
        if self.training and self.needs_init:
            raise BadInput("this codebook starts from k-means: call initialise(z) on first latents before training it")
        indices = self.distances(flat).argmin(dim=1)  # (B*F*W,)
        codes = F.embedding(indices, self.codebook)
        one_hot = (indices[:, None] == torch.arange(len(self.codebook), device=z.device)).to(flat.dtype)
        share = one_hot.mean(dim=0)  # (K,)
        perplexity = torch.exp(-(share * torch.log(share + 1e-10)).sum())
        loss = flat.new_zeros(())
        if self.training:
            loss = self.commitment * F.mse_loss(flat, codes)
            self._update(flat.detach(), one_hot, generator)
        codes = flat + (codes - flat).detach()  # straight-through estimator
        return Quantized(_from_rows(codes, z), indices.view(z.shape[0], *z.shape[2:]), loss, perplexity)

    @torch.no_grad()
    @checked(temperature=not_negative)
    def encode(self, z: Float[ArrayLike, "B D F W"], temperature=0.0, generator=None) -> Int[Tensor, "B F W"]:
        """The nearest codes of latents, or a draw from softmax(-||z - e||^2 / temperature)."""
        z = finite(latents(z, self.codebook), "latents")
        distances = self.distances(_to_rows(z))
        if temperature > 0:
            indices = sample_categorical(-distances / temperature, source(generator, z))
        else:
            indices = distances.argmin(dim=1)
        return indices.view(z.shape[0], *z.shape[2:])

    @torch.no_grad()
    def undecided(self, z: Float[Tensor, "B D F W"], margin=1e-5) -> Bool[Tensor, " B"]:
        """Whether two codes tie, up to rounding, somewhere in a series.

        margin   largest such gap of the two smallest squared distances, over ||z||^2 + the larger one
        """
        rows = _to_rows(z)
        first, second = self.distances(rows).topk(2, dim=1, largest=False).values.unbind(dim=1)  # (B*F*W,) each
        return (second - first <= margin * (rows.square().sum(dim=1) + second)).view(len(z), -1).any(dim=1)

    def straight_through(self, z: Float[Tensor, "B D F W"]) -> Float[Tensor, "B D F W"]:
        """The codes of z, with the gradient passed straight through; the codebook does not move."""
        nearest = self.distances(_to_rows(z)).argmin(dim=1).view(z.shape[0], *z.shape[2:])
        return z + (F.embedding(nearest, self.codebook).movedim(-1, 1) - z).detach()

    def decode(self, indices: Int[ArrayLike, "B F W"]) -> Float[Tensor, "B D F W"]:
        """The codes of indices in 0..K-1."""
        indices = tokens_of(indices, ("B", "F", "W"), self.codebook)
        return F.embedding(indices, self.codebook).movedim(-1, 1)

    def distances(self, rows: Float[Tensor, "M D"]) -> Float[Tensor, "M K"]:
        """Squared Euclidean distance of each row to every code."""
        return _squared_distances(rows, self.codebook)

    @torch.no_grad()
    def initialise(self, z: Float[ArrayLike, "B D F W"], iterations=10, generator=None):
        """Start the codebook from k-means of the latents z, each code with the count k-means gave it."""
        rows = _to_rows(finite(latents(z, self.codebook), "latents")).detach()
        centres, counts = kmeans(rows, len(self.codebook), iterations, generator)
        self.codebook.copy_(centres)
        self.code_count.copy_(counts)
        self.code_sum.copy_(centres * counts[:, None])
        self.needs_init = False

    @torch.no_grad()
    def _update(self, rows, one_hot, generator):
        """Exponential moving averages with Laplace-smoothed counts (appendix A.1 of van den Oord et al.)."""
        self.code_count.lerp_(one_hot.sum(dim=0), 1 - self.decay)
        self.code_sum.lerp_(_class_sums(one_hot, rows), 1 - self.decay)
        if self.expire_below > 0:
            self._restart_unused(rows, generator)
        total = self.code_count.sum()
        smoothed = (self.code_count + self.smoothing) / (total + len(self.codebook) * self.smoothing) * total
        self.codebook.copy_(self.code_sum / smoothed[:, None])

    def _restart_unused(self, rows, generator):
        """Give every code below the usage threshold a random latent, and the averages that go with it."""
        unused = self.code_count < self.expire_below  # (K,)
        pick = torch.rand(len(self.codebook), device=rows.device, generator=generator) * len(rows)
        fresh = rows[pick.long().clamp(max=len(rows) - 1)]  # (K, D)
        self.code_count.copy_(torch.where(unused, self.expire_below, self.code_count))
        self.code_sum.copy_(torch.where(unused[:, None], fresh * self.expire_below, self.code_sum))


def sample_categorical(logits: Float[Tensor, "*rows K"], generator=None) -> Int[Tensor, "*rows"]:
    """One draw per row from softmax(logits), by the Gumbel-max rule: fixed shapes, no sync."""
    exponential = torch.empty_like(logits).exponential_(generator=generator)
    return (logits - exponential.log()).argmax(dim=-1)


@torch.no_grad()
def kmeans(
    rows: Float[Tensor, "M D"], k, iterations=10, generator=None
) -> tuple[Float[Tensor, "{k} D"], Float[Tensor, " {k}"]]:
    """Centres and counts of Lloyd's algorithm. An empty cluster, as of a start row drawn again, keeps its centre."""
    start = torch.rand(max(len(rows), k), device=rows.device, generator=generator).argsort()[:k] % len(rows)
    centres = rows[start].clone()
    clusters = torch.arange(k, device=rows.device)
    counts = rows.new_zeros(k)
    for _ in range(iterations):
        one_hot = (_squared_distances(rows, centres).argmin(dim=1)[:, None] == clusters).to(rows.dtype)  # (M, k)
        counts = one_hot.sum(dim=0)
        means = _class_sums(one_hot, rows) / counts.clamp(min=1)[:, None]
        centres = torch.where(counts[:, None] > 0, means, centres)
    return centres, counts


@full_precision
def _squared_distances(rows, codes):
    return (rows**2).sum(1, keepdim=True) - 2 * rows @ codes.T + (codes**2).sum(1)  # (M, K)


@full_precision
def _class_sums(one_hot, rows):
    return one_hot.T @ rows  # (K, D)


def _to_rows(z):
    return z.movedim(1, -1).reshape(-1, z.shape[1]).float()  # (B*F*W, D)


def _from_rows(rows, like):
    batch, dim, height, width = like.shape
    return rows.view(batch, height, width, dim).movedim(-1, 1)  # (B, D, F, W)
