"""Stage 2: a masked generative transformer over tokens, trained to fill masked positions, sampled in a few steps.

MaskGIT (arXiv 2202.04200) with the backbone of NC-VQVAE (arXiv 2408.16613). The published comparison used two different
priors: the naive arm a tied head and training masks that *keep* the cosine share (Q3), the non-contrastive arms an
untied head and masks that *hide* it (Q4). Both are here, so that any tokens can meet either.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .arguments import checked, choice, count, count_from_0, few_or_none, flag, integer, number, path
from .arguments_tensors import classes_of, embedding, shaped, source, tokens_and_classes
from .errors import BadInput
from .files import load_module, save_module
from .inference import in_eval_mode
from .quantizer import sample_categorical
from .shapes import ArrayLike, Bool, Float, Int, Tensor

POLARITIES = ("kept", "masked")
ORDERS = ("confidence", "random")  # config.py, which loads no torch, names them too


class RMSNorm(nn.Module):
    """x / ||x|| * sqrt(width) * gain (arXiv 1910.07467)."""

    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return x * (torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-12) * self.gain)


class Attention(nn.Module):
    """Multi-head self-attention over all positions, without biases. Plain softmax: for N <= 76 as fast as fused."""

    def __init__(self, width, heads, head_width=64):
        super().__init__()
        self.heads, self.scale = heads, head_width**-0.5
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width, bias=False)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        batch, positions, _ = x.shape
        q, k, v = self.qkv(x).view(batch, positions, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, N, d) each
        weights = torch.softmax(q @ k.transpose(-1, -2) * self.scale, dim=-1)  # (B, heads, N, N)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm attention and feed-forward (GELU, multiple 1), each with its residual."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attention = RMSNorm(width), Attention(width, heads)
        self.norm2 = RMSNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class TiedHead(nn.Module):
    """Logits as dot products with the input embeddings, plus a bias for each position and token."""

    def __init__(self, n_tokens, dim, codebook_size):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_tokens, codebook_size + 1))

    def forward(self, h: Float[Tensor, "B N D"], table: Float[Tensor, "M D"]) -> Float[Tensor, "B N K"]:
        return (h @ table.T + self.bias)[..., :-1]  # (B, N, K): [MASK] is never predicted


class UntiedHead(nn.Module):
    """Logits from output weights of their own, plus a bias for each token; the input embeddings are not used."""

    def __init__(self, n_tokens, dim, codebook_size):
        super().__init__()
        self.linear = nn.Linear(dim, codebook_size)

    def forward(self, h: Float[Tensor, "B N D"], table: Float[Tensor, "M D"]) -> Float[Tensor, "B N K"]:
        return self.linear(h)  # (B, N, K)


HEADS = {"tied": TiedHead, "untied": UntiedHead}


class MaskGIT(nn.Module):
    """Bidirectional transformer that predicts tokens at all positions from a partly masked grid.

    n_tokens         N
    codebook_size    K; the tokens are 0..K-1, and K stands for [MASK]
    n_classes        number of classes, 0 for unlabelled series
    head             "tied" (the reference's naive arm) or "untied" (its non-contrastive arms)
    extra_positions  a second table of positions, in the transformer's width (Q18)
    dim, width, depth, heads   width of the embeddings and of the transformer, number of blocks, attention heads;
                     with dim = width nothing stands between embeddings, blocks and head
    zero_blocks      start every block as the identity: the weights of its two outputs are 0 (arXiv 1706.02677, 5.1)
    """

    @checked(n_tokens=count, codebook_size=count, n_classes=count_from_0, dim=count, width=count, depth=few_or_none)
    @checked(head=choice("head", HEADS), heads=count, extra_positions=flag, zero_blocks=flag)
    def __init__(
        self, n_tokens, codebook_size=32, n_classes=0, head="untied", extra_positions=False,
        dim=64, width=256, depth=4, heads=2, zero_blocks=False,
    ):  # fmt: skip
        super().__init__()
        self.arguments = dict(n_tokens=n_tokens, codebook_size=codebook_size, n_classes=n_classes, head=head)
        self.arguments |= dict(extra_positions=extra_positions, dim=dim, width=width, depth=depth, heads=heads)
        self.arguments |= dict(zero_blocks=zero_blocks)
        self.n_tokens, self.codebook_size, self.n_classes = n_tokens, codebook_size, n_classes
        self.table = nn.Parameter(torch.randn(codebook_size + 1, dim))  # the last row is [MASK]
        self.classes = nn.Parameter(torch.randn(n_classes + 1, dim))  # the last row is "no class"
        self.positions = nn.Parameter(torch.randn(n_tokens + 1, dim))  # one row unused, kept for the reference's count
        narrow = dim != width
        self.embedding_norm = nn.LayerNorm(dim, eps=1e-12) if narrow else nn.Identity()
        self.to_width = nn.Linear(dim, width, bias=False) if narrow else nn.Identity()
        self.extra_positions = nn.Parameter(torch.randn(n_tokens + 1, width)) if extra_positions else None
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.final_norm = RMSNorm(width)
        self.to_dim = nn.Linear(width, dim, bias=False) if narrow else nn.Identity()
        pre_head = (nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim, eps=1e-12))
        self.pre_head = nn.Sequential(*pre_head) if narrow else nn.Identity()
        self.head = HEADS[head](n_tokens, dim, codebook_size)
        if zero_blocks:
            for block in self.blocks:
                for p in (*block.attention.out.parameters(), *block.feed_forward[-1].parameters()):  # pyright: ignore[reportAttributeAccessIssue, reportIndexIssue]  # blocks are `Block`
                    nn.init.zeros_(p)

    @torch.no_grad()
    def start_from(self, codebook: Float[ArrayLike, "K dim"]):
        """Initialise the token embeddings with the tokenizer's codebook; they stay trainable."""
        self.table[:-1].copy_(shaped(codebook, "codebook", self.table[:-1]))

    def forward(self, tokens: Int[ArrayLike, "B N"], classes: Int[ArrayLike, " B"]) -> Float[Tensor, "B N K"]:
        """Logits for tokens in 0..K and classes in 0..n_classes (n_classes: no class)."""
        tokens, classes = tokens_and_classes(tokens, classes, self)
        h = self.embedding_norm(embedding(tokens, self.table) + self.positions[: self.n_tokens])
        h = torch.cat([embedding(classes, self.classes)[:, None], h], dim=1)  # (B, N+1, dim)
        h = self.to_width(h)
        if self.extra_positions is not None:
            h = h + self.extra_positions * self.extra_positions.shape[1] ** -0.5
        h = self.to_dim(self.final_norm(self.blocks(h)))
        return self.head(self.pre_head(h)[:, 1:], self.table).float()

    @in_eval_mode
    @torch.no_grad()
    @checked(n=integer, steps=integer, choice_temperature=number, guidance=number, batch_size=count)
    @checked(order=choice("order", ORDERS))
    def sample(
        self, n, class_index=None, steps=10, choice_temperature=4.0, guidance=1.0, generator=None, batch_size=256,
        order="confidence",
    ) -> Int[Tensor, "{n} N"]:  # fmt: skip
        """Draw n token grids, on the device of the prior, by iterative decoding (arXiv 2202.04200, section 3.2).

        class_index         None (no class), an int, or an (n,) tensor of classes
        steps               T; after step k positions are masked again: see `n_masked_after`
        choice_temperature  of the Gumbel noise on the confidence, falling linearly to 0 at the last step
        guidance            s in null + s (conditional - null); at 1 the unconditional pass is skipped
        order               "confidence" keeps the tokens that the prior is surest of; "random" those that are
                            next in a random order of each sample, which copies less of small train sets
        """
        if steps < 1 or n < 1:
            raise BadInput(f"expected at least one sample and one decoding step, got n={n}, steps={steps}")
        generator = source(generator, self.table)
        classes = classes_of(class_index, n, self.n_classes, self.table)
        if order == "random":
            choice_temperature = None
        batches = classes.split(batch_size)
        return torch.cat([self._decode(c, steps, choice_temperature, guidance, generator) for c in batches])

    def _decode(self, classes, steps, choice_temperature, guidance, generator):
        """Tokens (B, N) of samples of these classes (B,); choice_temperature None: in random order."""
        no_class = torch.full_like(classes, self.n_classes)
        tokens = torch.full((len(classes), self.n_tokens), self.codebook_size, device=classes.device)  # all [MASK]
        if choice_temperature is None:
            turn = torch.rand(tokens.shape, device=classes.device, generator=generator)
        masked_after = n_masked_after(self.n_tokens, steps)
        for k, n_masked in enumerate(masked_after, start=1):
            logits = self(tokens, classes)
            if guidance != 1.0:
                null = self(tokens, no_class)
                logits = null + guidance * (logits - null)
            is_masked = tokens == self.codebook_size
            tokens = torch.where(is_masked, sample_categorical(logits, generator), tokens)
            if choice_temperature is None:
                confidence = turn
            else:
                p_selected = torch.softmax(logits, dim=-1).gather(-1, tokens[..., None])[..., 0]  # (B, N)
                gumbel = -torch.empty_like(p_selected).exponential_(generator=generator).log()
                confidence = torch.log(p_selected + 1e-5) + choice_temperature * (1 - k / len(masked_after)) * gumbel
            confidence = confidence.masked_fill(~is_masked, torch.inf)
            remask = confidence.argsort(dim=1).argsort(dim=1) < n_masked
            tokens = torch.where(remask, self.codebook_size, tokens)
        return tokens

    def save(self, folder):
        """Write `prior.safetensors` into the folder."""
        save_module(self, path(folder, "folder") / "prior.safetensors", self.arguments)

    @classmethod
    def load(cls, folder):
        """The prior that `save` wrote, on the CPU, in eval mode."""
        return load_module(path(folder, "folder") / "prior.safetensors", cls)


def n_masked_after(n_tokens, steps):
    """How many of N positions are masked again after each of T decoding steps: a list that ends in 0.

    floor(N cos(pi k / 2T)) after step k, but at least one fewer than before, so that every step reveals a token; with
    more steps than tokens the list is shorter than T.
    """
    left, counts = n_tokens, []
    for k in range(1, steps + 1):
        left = max(0, min(left - 1, math.floor(n_tokens * math.cos(math.pi / 2 * k / steps) + 1e-9)))
        counts.append(left)
        if left == 0:
            break
    return counts


def mask_positions(
    batch, n_tokens, polarity="masked", per_sample=True, at_least=1, generator=None, device="cpu"
) -> Bool[Tensor, "{batch} {n_tokens}"]:
    """Draw the training mask `is_masked`; with t ~ U(0, 1) the cosine share is floor(cos(pi t / 2) N).

    polarity    "masked": that share is hidden (mean 0.64 of N; MaskGIT). "kept": that share stays visible and the rest
                is hidden (mean 0.36), as in the reference's naive arm (Q3).
    per_sample  one t for each sample, or one for the whole batch (Q5)
    at_least    tokens that "masked" hides whatever t; the reference has no such bound (0)
    """
    if polarity not in POLARITIES:
        raise BadInput(f"unknown mask polarity {polarity!r}: choose one of {', '.join(POLARITIES)}")
    t = torch.rand(batch if per_sample else 1, 1, device=device, generator=generator)
    share = torch.floor(torch.cos(math.pi / 2 * t) * n_tokens)  # (B or 1, 1)
    rank = torch.rand(batch, n_tokens, device=device, generator=generator).argsort(dim=1).argsort(dim=1)
    if polarity == "kept":
        return rank >= share
    return rank < share.clamp(min=at_least)


def prior_loss(
    prior, tokens: Int[Tensor, "B N"], classes: Int[Tensor, " B"], is_masked: Bool[Tensor, "B N"], masked_only=True
) -> Float[Tensor, ""]:
    """Cross-entropy of the true tokens, given those that `is_masked` leaves visible.

    masked_only  True: mean over each sample's masked positions, then over samples; False: mean over all positions,
                 visible ones too, as the reference does (Q5)
    """
    logits = prior(tokens.masked_fill(is_masked, prior.codebook_size), classes)
    losses = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")  # (B, N)
    if not masked_only:
        return losses.mean()
    hidden = is_masked.to(losses.dtype)
    return ((losses * hidden).sum(dim=1) / hidden.sum(dim=1).clamp(min=1)).mean()
