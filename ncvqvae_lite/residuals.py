"""Residuals: pieces of train series that no decoder can give back, drawn again when samples are decoded.

A few dozen codes cannot hold the noise of a series, so every decoder smooths it away and every judge sees that. Here
each code keeps the train residuals at the steps where it is the token, and a sample gets, for each token, a random
piece kept by that token's code. Costs n C L floats beside the tokenizer, and samples hold pieces of train series.
"""

# pyright: reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false, reportIndexIssue=false
import torch
from torch import nn

from .arguments import checked, count, path
from .arguments_tensors import source, tokens_of
from .files import load_module, save_module
from .inference import batched
from .shapes import ArrayLike, Float, Int, Tensor


class ResidualPieces(nn.Module):
    """Residuals of n series of C channels and L steps, P = ceil(L / W') steps for each of their W' latent frames.

    Place j starts at step round(j L / W'), so places are even; a window that would pass the end starts earlier.

    n, channels, length    of the series; L is that of decoded ones
    rows, frames           grid of the tokenizer, F x W'; the code of the lowest frequency row stands for a frame
    codebook_size          K
    """

    @checked(n=count, channels=count, length=count, rows=count, frames=count, codebook_size=count)
    def __init__(self, n, channels, length, rows, frames, codebook_size):
        super().__init__()
        self.arguments = dict(n=n, channels=channels, length=length, rows=rows, frames=frames)
        self.arguments |= dict(codebook_size=codebook_size)
        self.length, self.rows, self.frames = length, rows, frames
        steps = -(-length // frames)  # P
        self.first = [round(place * length / frames) for place in range(frames)]  # step of each place
        self.register_buffer("pieces", torch.zeros(n * frames, channels, steps))  # sorted by code
        self.register_buffer("counts", torch.zeros(codebook_size, dtype=torch.int64))  # pieces of each code

    @classmethod
    def of(cls, tokenizer, x: Float[Tensor, "n C L"]):
        """The pieces of series for a trained tokenizer, on its device."""
        tokens = batched(tokenizer.encode, x)  # (n, N)
        residuals = x[..., : tokenizer.out_length] - batched(tokenizer.decode, tokens)
        found = cls(*residuals.shape, *tokenizer.grid, tokenizer.codebook_size).to(x.device)
        windows = residuals.unfold(2, found.pieces.shape[2], 1)  # (n, C, L - P + 1, P)
        starts = [min(first, windows.shape[2] - 1) for first in found.first]
        cut = windows[:, :, starts].transpose(1, 2).flatten(0, 1)  # (n W', C, P)
        codes = found._codes(tokens).flatten()
        found.pieces.copy_(cut[codes.argsort(stable=True)])
        found.counts.copy_(torch.bincount(codes, minlength=len(found.counts)))
        return found

    def _codes(self, tokens):
        """Tokens (m, N) -> the codes of the lowest frequency row (m, W')."""
        return tokens.view(len(tokens), self.rows, self.frames)[:, 0]

    @torch.no_grad()
    def draw(self, tokens: Int[ArrayLike, "m N"], generator=None) -> Float[Tensor, "m C L"]:
        """Residuals for token grids; a code that no train series has gets a piece of any code."""
        tokens = tokens_of(tokens, ("m", self.rows * self.frames), self.counts)
        codes, generator = self._codes(tokens), source(generator, tokens)
        first = self.counts.cumsum(0) - self.counts  # (K,) where a code's pieces begin
        any_piece = self.counts[codes] == 0
        start = torch.where(any_piece, 0, first[codes])
        count = torch.where(any_piece, len(self.pieces), self.counts[codes])
        chance = torch.rand(codes.shape, generator=generator, device=codes.device, dtype=torch.float64)
        drawn = self.pieces[start + (chance * count).long()]  # (m, W', C, P)
        widths = [end - first for first, end in zip(self.first, [*self.first[1:], self.length])]
        return torch.cat([drawn[:, place, :, :width] for place, width in enumerate(widths)], dim=2)

    def save(self, folder):
        """Write `residuals.safetensors` into the folder."""
        save_module(self, path(folder, "folder") / "residuals.safetensors", self.arguments)

    @classmethod
    def load(cls, folder):
        """The pieces that `save` wrote, on the CPU."""
        return load_module(path(folder, "folder") / "residuals.safetensors", cls)
