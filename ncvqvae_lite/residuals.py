"""What tokens left over: pieces of train series that no decoder can give back, drawn again when samples are decoded.

A few dozen codes cannot hold the noise of a series, so every decoder smooths it away and every judge sees that. Here
each code keeps the residuals of the train series over the steps of its token's place, and a sample gets, token by
token, a random piece of its own code. Costs n C L floats beside the tokenizer, and samples hold pieces of train series.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .files import load_module, save_module
from .inference import batched


class ResidualPieces(nn.Module):
    """Residuals of n series of C channels and L steps, cut into the W' places of their latent frames, P = L / W' steps.

    n, channels, length    of the series; L is that of decoded ones
    rows, frames           grid of the tokenizer, F x W'; the code of the lowest frequency row stands for a frame
    codebook_size          K
    """

    def __init__(self, n, channels, length, rows, frames, codebook_size):
        super().__init__()
        self.arguments = dict(n=n, channels=channels, length=length, rows=rows, frames=frames)
        self.arguments |= dict(codebook_size=codebook_size)
        self.length, self.rows, self.frames = length, rows, frames
        steps = -(-length // frames)  # P, the last piece is padded with 0
        self.register_buffer("pieces", torch.zeros(n * frames, channels, steps))  # sorted by code
        self.register_buffer("counts", torch.zeros(codebook_size, dtype=torch.int64))  # pieces of each code

    @classmethod
    def of(cls, tokenizer, x):
        """The pieces of series x (n, C, L) for a trained tokenizer, on its device."""
        tokens = batched(tokenizer.encode, x)  # (n, N)
        residuals = x[..., : tokenizer.out_length] - batched(tokenizer.decode, tokens)
        found = cls(*residuals.shape, *tokenizer.grid, tokenizer.codebook_size).to(x.device)
        cut = F.pad(residuals, (0, found.pieces.shape[2] * found.frames - found.length))
        cut = cut.unflatten(2, (found.frames, -1)).transpose(1, 2).flatten(0, 1)  # (n W', C, P)
        codes = found._codes(tokens).flatten()
        found.pieces.copy_(cut[codes.argsort(stable=True)])
        found.counts.copy_(torch.bincount(codes, minlength=len(found.counts)))
        return found

    def _codes(self, tokens):
        """Tokens (m, N) -> the codes of the lowest frequency row (m, W')."""
        return tokens.view(len(tokens), self.rows, self.frames)[:, 0]

    @torch.no_grad()
    def draw(self, tokens, generator=None):
        """Residuals (m, C, L) for token grids (m, N); a code that no train series has gets a piece of any code."""
        codes = self._codes(tokens)
        first = self.counts.cumsum(0) - self.counts  # (K,) where a code's pieces begin
        any_piece = self.counts[codes] == 0
        start = torch.where(any_piece, 0, first[codes])
        count = torch.where(any_piece, len(self.pieces), self.counts[codes])
        chance = torch.rand(codes.shape, generator=generator, device=codes.device, dtype=torch.float64)
        drawn = self.pieces[start + (chance * count).long()]  # (m, W', C, P)
        return drawn.transpose(1, 2).flatten(2)[..., : self.length]

    def save(self, folder):
        """Write `residuals.safetensors` into the folder."""
        save_module(self, Path(folder) / "residuals.safetensors", self.arguments)

    @classmethod
    def load(cls, folder):
        """The pieces that `save` wrote, on the CPU."""
        return load_module(Path(folder) / "residuals.safetensors", cls)
