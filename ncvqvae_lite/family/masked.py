"""Masked modelling: a part of a series is hidden and predicted from the rest, as values (MAE) or as tokens (BEiT).

MAE (arXiv 2111.06377): the encoder sees the visible patches alone, a small decoder fills in the others. BEiT (arXiv
2106.08254): the encoder sees a mask in place of the hidden patches and tells their tokens. A vocabulary is a function
of series: `PatchTokens`, by k-means, or `TokenizerTokens`, by a trained tokenizer of the course.

    net = PatchNet(128)                                        h = net(x)       (n, 64)
    model = MAE(net)                     learn(model, model.masked_loss(0.75), x, steps=600, batch=128, lr=1e-3, g=g,
                                               weight_decay=0.05)

P patches, D width; is_hidden (B, P) bool is True where a patch is hidden, as many in each row.
"""

import torch
from torch import nn
from torch.nn import functional as F

from ..arguments import checked, count, few_or_none, inner_share
from ..arguments_tensors import a_split, finite_series, parameter_of, series_for, source
from ..errors import BadInput
from ..prior import Attention, Block, RMSNorm
from ..quantizer import kmeans
from ..shapes import ArrayLike, Bool, Float, Int, Tensor
from .views import interpolate_missing

# --- what is hidden ---


@checked(n=count, patches=count, share=inner_share)
def patch_mask(n, patches, share, g) -> Bool[Tensor, "{n} {patches}"]:
    """is_hidden on the device of g: exactly round(share P) patches of each row, drawn for itself.

    With a patch for each step it is a mask of points.
    raises   BadInput where that hides none of them, or all
    """
    hidden = round(share * patches)
    if not 0 < hidden < patches:
        raise BadInput(f"share={share} of {patches} patches hides {hidden} of them: leave some, and hide some")
    device = g.device if isinstance(g, torch.Generator) else torch.device("cpu")
    turn = torch.rand(n, patches, generator=source(g, torch.empty(0, device=device)), device=device)
    return turn.argsort(dim=1).argsort(dim=1) < hidden


def hidden_steps(is_hidden: Bool[Tensor, "B P"], patch, length) -> Bool[Tensor, "B L"]:
    """The steps of hidden patches, at most `length`."""
    return is_hidden.repeat_interleave(patch, dim=1)[:, :length]


def interpolated(x: Float[ArrayLike, "B C L"], is_missing: Bool[ArrayLike, "B L"]) -> Float[Tensor, "B C L"]:
    """Series whose steps is_missing lie on lines between their visible neighbours; ends are flat.

    What a model that fills in patches must beat.
    raises   BadInput where a series has no visible step
    """
    x = a_split(x, "series")
    is_missing = _as_mask(is_missing, x)
    if is_missing.shape != (len(x), x.shape[2]) or is_missing.all(dim=1).any():
        raise BadInput(f"expected which of {x.shape[2]} steps are missing, not all of a series: make the mask anew")
    return interpolate_missing(x.masked_fill(is_missing[:, None], torch.nan))


def _as_mask(mask, like):
    """A mask as a bool tensor on the device of `like`; raises BadInput for what is none."""
    try:
        mask = torch.as_tensor(mask, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"expected a mask as a bool tensor, array or nested lists, got {type(mask).__name__}") from error
    if mask.dtype != torch.bool:
        raise BadInput(f"expected a mask of True and False, got {mask.dtype}: draw it by patch_mask")
    return mask


# --- the network ---


class WideBlock(Block):
    """The prior's block with heads that share the width, and a feed-forward of twice the width."""

    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.attention = Attention(width, heads, width // heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class PatchNet(nn.Module):
    """Series (B, C, L) -> features (B, D), the mean over P = ceil(L / patch) patches.

    A linear layer for each patch (the last one is filled up by its last step), learned positions, `depth` transformer
    blocks with normalisation before each part.
    """

    @checked(length=count, channels=count, patch=count, width=count, depth=few_or_none, heads=count)
    def __init__(self, length, channels=1, patch=8, width=64, depth=3, heads=4):
        super().__init__()
        if width % heads:
            raise BadInput(f"width {width} is no multiple of {heads} heads: change one of them")
        self.length, self.channels, self.patch, self.width = length, channels, patch, width
        self.n_patches = -(-length // patch)
        self.inputs = nn.Linear(channels * patch, width)
        self.positions = nn.Parameter(0.02 * torch.randn(self.n_patches, width))
        self.blocks = nn.Sequential(*[WideBlock(width, heads) for _ in range(depth)])
        self.norm = RMSNorm(width)

    def patches(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B P width"]:
        """Pieces of `patch` steps of series, all channels one after the other."""
        x = series_for(self.positions, self.channels, self.length, x)
        filled = F.pad(x, (0, self.n_patches * self.patch - self.length), mode="replicate")
        return filled.unflatten(2, (self.n_patches, self.patch)).transpose(1, 2).flatten(2)

    def embed(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B P D"]:
        """Patches with their positions, before the blocks."""
        return self.inputs(self.patches(x)) + self.positions

    def encode(self, h: Float[Tensor, "B P D"]) -> Float[Tensor, "B P D"]:
        """Any number of the embedded patches, after the blocks."""
        return self.norm(self.blocks(h))

    def forward(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B D"]:
        return self.encode(self.embed(x)).mean(dim=1)


# --- MAE ---


class MAE(nn.Module):
    """A `PatchNet` and the decoder that fills in hidden patches: one block over the encoded and the masked ones.

    encoder   what is kept
    """

    def __init__(self, encoder, heads=4):
        super().__init__()
        self.encoder, width = encoder, encoder.width
        self.to_decoder = nn.Linear(width, width)
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(encoder.n_patches, width))
        self.decoder = nn.Sequential(
            WideBlock(width, heads), RMSNorm(width), nn.Linear(width, encoder.channels * encoder.patch)
        )

    def forward(self, x: Float[ArrayLike, "B C L"], is_hidden: Bool[ArrayLike, "B P"]) -> Float[Tensor, "B P width"]:
        """Patches as the decoder fills them in, the visible ones too."""
        h = self.encoder.embed(x)  # (B, P, D)
        is_hidden = _mask(is_hidden, h)
        visible = (~is_hidden).nonzero()[:, 1].view(len(h), -1, 1).expand(-1, -1, h.shape[2])  # (B, visible, D)
        seen = self.to_decoder(self.encoder.encode(h.gather(1, visible)))
        filled = self.mask.expand_as(h).scatter(1, visible, seen)
        return self.decoder(filled + self.positions)

    def fill(self, x: Float[ArrayLike, "B C L"], is_hidden: Bool[ArrayLike, "B P"]) -> Float[Tensor, "B C L"]:
        """Series: hidden patches as the decoder fills them in, the others as they are."""
        made, own = self(x, is_hidden), self.encoder.patches(x)
        patches = torch.where(_as_mask(is_hidden, own)[..., None], made, own)
        series = patches.unflatten(2, (self.encoder.channels, self.encoder.patch)).transpose(1, 2).flatten(2)
        return series[..., : self.encoder.length]

    def loss(self, x: Float[ArrayLike, "B C L"], is_hidden: Bool[ArrayLike, "B P"]) -> Float[Tensor, ""]:
        """Mean squared error of the hidden patches; what is made of the visible ones does not count."""
        made, own = self(x, is_hidden), self.encoder.patches(x)
        is_hidden = _as_mask(is_hidden, own)
        return F.mse_loss(made[is_hidden], own[is_hidden])

    def masked_loss(self, share=0.75):
        """What `learn` takes as loss: `loss` with a share of the patches hidden, drawn anew for each batch."""
        return lambda x, g: self.loss(x, patch_mask(len(x), self.encoder.n_patches, share, g))


def _mask(is_hidden, h):
    """is_hidden as a tensor, if it hides as many of the patches h (B, P, D) in each row, some and not all."""
    is_hidden = _as_mask(is_hidden, h)
    if is_hidden.shape == h.shape[:2]:
        counts = is_hidden.sum(dim=1)
        if (counts == counts[0]).all() and 0 < counts[0] < h.shape[1]:
            return is_hidden
    raise BadInput(
        f"expected is_hidden {tuple(h.shape[:2])} bool, as many in each row and not all, got "
        f"{tuple(is_hidden.shape)}: draw it by patch_mask"
    )


# --- BEiT ---


class PatchTokens:
    """Tokens (B, P, 1) of the patches of series: the nearest of k centres that k-means finds among those of x.

    net   `PatchNet`, whose patches they are
    """

    @checked(k=count)
    def __init__(self, net, x: Float[ArrayLike, "n C L"], k=64, *, g):
        self.net, self.k = net, k
        rows = net.patches(finite_series(parameter_of(net, "net"), net.channels, net.length, x)).flatten(0, 1)
        self.centres = kmeans(rows.detach(), k, generator=source(g, rows))[0]

    def __call__(self, x: Float[ArrayLike, "B C L"]) -> Int[Tensor, "B P 1"]:
        patches = self.net.patches(x)  # (B, P, width)
        return torch.cdist(patches.flatten(0, 1), self.centres).argmin(dim=1).view(len(patches), -1, 1)


class TokenizerTokens:
    """Tokens (B, P, F) of series by a trained tokenizer: the F of each of its W' frames.

    A `PatchNet` for it has patch = ceil(L / W') and so as many patches as there are frames.
    """

    def __init__(self, tokenizer):
        self.tokenizer, self.k = tokenizer, tokenizer.codebook_size
        self.patch = -(-tokenizer.length // tokenizer.grid[1])

    def __call__(self, x: Float[ArrayLike, "B C L"]) -> Int[Tensor, "B P F"]:
        return self.tokenizer.encode(x).unflatten(1, self.tokenizer.grid).transpose(1, 2)


class BEiT(nn.Module):
    """A `PatchNet` and a head that tells the tokens of hidden patches, which the net sees as a learned mask.

    encoder   what is kept
    tokens    vocabulary of `k` words: series -> (B, P, any number of tokens a patch)
    """

    def __init__(self, encoder, tokens):
        super().__init__()
        self.encoder, self.tokens = encoder, tokens
        device = parameter_of(encoder, "encoder").device
        found = tuple(tokens(torch.zeros(1, encoder.channels, encoder.length, device=device)).shape)
        if found[:2] != (1, encoder.n_patches):
            raise BadInput(f"tokens of {found[1]} frames for {encoder.n_patches} patches: make patches as long")
        self.mask = nn.Parameter(0.02 * torch.randn(encoder.width))
        self.head = nn.Linear(encoder.width, found[2] * tokens.k)

    def forward(self, x: Float[ArrayLike, "B C L"], is_hidden: Bool[ArrayLike, "B P"]) -> Float[Tensor, "B P F k"]:
        """Logits of the F tokens of each patch."""
        net = self.encoder
        h = net.inputs(net.patches(x))
        h = torch.where(_mask(is_hidden, h)[..., None], self.mask, h)
        return self.head(net.encode(h + net.positions)).unflatten(2, (-1, self.tokens.k))

    def loss(self, x: Float[ArrayLike, "B C L"], is_hidden: Bool[ArrayLike, "B P"]) -> Float[Tensor, ""]:
        """Cross entropy in nats, the mean over the tokens of the hidden patches: log k for a guess."""
        logits, tokens = self(x, is_hidden), self.tokens(x)
        is_hidden = _as_mask(is_hidden, logits)
        return F.cross_entropy(logits[is_hidden].flatten(0, 1), tokens[is_hidden].flatten())

    def masked_loss(self, share=0.4):
        """As of `MAE`."""
        return lambda x, g: self.loss(x, patch_mask(len(x), self.encoder.n_patches, share, g))
