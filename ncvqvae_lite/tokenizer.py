"""Stage 1: the VQVAE that turns a series into tokens and back, and its naive and non-contrastive losses.

Architecture of NC-VQVAE (arXiv 2408.16613; as TimeVQVAE): a spectrogram, a convolutional encoder that halves the time
axis m times, a vector quantizer, a mirrored decoder, the inverse spectrogram. There are two kinds of tokenizer: one has
a token for every frequency row and latent frame, the other one for every latent frame.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false, reportReturnType=false
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .arguments import checked, count, few, few_or_none, fft_size, flag, odd, path, plain
from .arguments_tensors import finite_series, pictures, series_for, tokens_of
from .errors import BadInput
from .files import load_module, save_module
from .inference import in_eval_mode
from .quantizer import VectorQuantizer
from .shapes import ArrayLike, Float, Int, Tensor
from .timefreq import istft, n_frames, stft

WEIGHED = 1 << 22  # values of series whose spectrograms are held at a time for `row_weights`


def n_halvings(length, n_fft=8, width=8):
    """How often the encoder halves the frames so that about `width` remain.

    The nominal rate round(L / (log2(n_fft) - 1) / width) is rounded down to a power of two (Q22), at least 2.
    """
    rate = max(1, round(length / (math.log2(n_fft) - 1) / width))
    return max(1, int(math.log2(rate)))


class ResidualBlock(nn.Module):
    """x + f(x), f: LeakyReLU, rows x 3 convolution, (BatchNorm), LeakyReLU, 1x1 convolution."""

    def __init__(self, dim, norm, rows=3):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, (rows, 3), padding=(rows // 2, 1))
        self.conv2 = nn.Conv2d(dim, dim, 1)
        self.norm = nn.BatchNorm2d(dim) if norm else nn.Identity()

    def forward(self, x: Float[Tensor, "B D F W"]) -> Float[Tensor, "B D F W"]:
        return x + self.conv2(F.leaky_relu(self.norm(self.conv1(F.leaky_relu(x)))))


class Encoder(nn.Module):
    """Spectrogram (B, 2C, F, W) -> latents (B, dim, F, W // 2^halvings), of unit scale: it ends in a BatchNorm.

    rows   height of the kernels: 3 frequency rows; 1 for folded spectrograms (B, 2CF, 1, W), with C F in place of C
    """

    @checked(channels=count, dim=count, halvings=few, n_blocks=few_or_none, rows=odd)
    def __init__(self, channels=1, dim=64, halvings=4, n_blocks=4, rows=3):
        super().__init__()
        self.least, layers = 2**halvings, []  # frames that become one
        for i in range(halvings):
            shape = dict(kernel_size=(rows, 4), stride=(1, 2), padding=(rows // 2, 1), padding_mode="replicate")
            conv = nn.Conv2d(2 * channels if i == 0 else dim, dim, **shape)
            layers += [conv, nn.BatchNorm2d(dim), nn.LeakyReLU()]
        for _ in range(n_blocks):
            layers += [ResidualBlock(dim, norm=True, rows=rows), nn.BatchNorm2d(dim)]
        self.layers = nn.Sequential(*layers)

    def forward(self, u: Float[ArrayLike, "B C2 F W"]) -> Float[Tensor, "B D F w"]:
        u = pictures(u, "spectrogram", self.layers[0], self.least)
        return self.layers(u.contiguous(memory_format=torch.channels_last))


class Decoder(nn.Module):
    """Latents (B, dim, F, W') -> spectrogram (B, 2C, F, W).

    Doubles the frames once more than the encoder halved them, then resamples to W bilinearly. `rows` as in `Encoder`.
    """

    @checked(channels=count, dim=count, halvings=few, n_blocks=few_or_none, frames=count, rows=odd)
    def __init__(self, channels=1, dim=64, halvings=4, n_blocks=4, frames=251, rows=3):
        super().__init__()
        self.frames = frames
        layers = []
        for _ in range(n_blocks):
            layers += [ResidualBlock(dim, norm=False, rows=rows), nn.BatchNorm2d(dim)]
        for _ in range(halvings - 1):
            layers += [_doubling(dim, dim, rows), nn.BatchNorm2d(dim), nn.LeakyReLU()]
        layers += [_doubling(dim, 2 * channels, rows), _doubling(2 * channels, 2 * channels, rows)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[ArrayLike, "B D F w"]) -> Float[Tensor, "B C2 F W"]:
        z = pictures(z, "latents", next(m for m in self.layers.modules() if hasattr(m, "in_channels")))
        u = self.layers(z.contiguous(memory_format=torch.channels_last)).float()  # (B, 2C, F, W' * 2^(m+1))
        return F.interpolate(u, size=(u.shape[2], self.frames), mode="bilinear", align_corners=True)


def _doubling(channels_in, channels_out, rows):
    return nn.ConvTranspose2d(channels_in, channels_out, (rows, 4), (1, 2), (rows // 2, 1))


class Tokenizer(nn.Module):
    """Series (B, C, L), scaled -> N tokens (B, N) -> series; a token for each frequency row and latent frame.

    The prior and the experiment know of a tokenizer only: encode, decode, features, token_logits, reconstruction_loss,
    n_tokens, codebook, codebook_size, save, load. The losses below and training read latents, quantizer, generate,
    n_fft and start_codebook. Another kind has these, the same constructor, and an entry in TOKENIZERS.

    length, channels   L and C of the series
    n_fft, width       frequency resolution; number of frames that the encoder aims at
    dim, n_blocks      width D of the latents; residual blocks of encoder and decoder each
    odd_tail           True returns all L samples; False drops the last of an odd length, as the reference does (Q12)
    quantizer          further arguments of VectorQuantizer

    Series may be numpy arrays or of float64. `encode` to `reconstruction_loss` compute in eval mode, without gradients,
    whatever the mode of the tokenizer, which stays as it is; they refuse NaN (BadInput), for which they wait for a GPU.
    """

    kernel_rows = 3  # height of the kernels of encoder and decoder

    @checked(length=count, channels=count, n_fft=fft_size, width=count, dim=count, n_blocks=few_or_none, odd_tail=flag)
    def __init__(self, length, channels=1, n_fft=8, width=8, dim=64, n_blocks=4, odd_tail=True, **quantizer):
        super().__init__()
        self.arguments = dict(length=length, channels=channels, n_fft=n_fft, width=width, dim=dim, n_blocks=n_blocks)
        self.arguments |= dict(odd_tail=odd_tail, **{name: plain(value) for name, value in quantizer.items()})
        self.length, self.channels, self.n_fft = length, channels, n_fft
        self.out_length = length if odd_tail else length // 2 * 2
        frames, halvings = n_frames(length, n_fft), n_halvings(length, n_fft, width)
        if frames >> halvings < 1:
            raise BadInput(f"series of {length} steps are too short for n_fft {n_fft}: use 16 steps or more")
        pictures, rows = self.fold(torch.empty(1, 2 * channels, n_fft // 2 + 1, 1)).shape[1:3]
        self.grid = (rows, frames >> halvings)  # (F, W') of the latents; N = F * W'
        self.encoder = Encoder(pictures // 2, dim, halvings, n_blocks, rows=self.kernel_rows)
        self.quantizer = VectorQuantizer(dim=dim, **quantizer)
        self.decoder = Decoder(pictures // 2, dim, halvings, n_blocks, frames, rows=self.kernel_rows)
        self.to(memory_format=torch.channels_last)

    def fold(self, u: Float[Tensor, "B C2 F W"]) -> Float[Tensor, "B C3 f W"]:
        """The spectrogram u as the encoder reads it: as it is."""
        return u

    def unfold(self, u: Float[Tensor, "B C3 f W"]) -> Float[Tensor, "B C2 F W"]:
        """The inverse of `fold`."""
        return u

    @property
    def n_tokens(self):
        return self.grid[0] * self.grid[1]

    @property
    def codebook(self) -> Float[Tensor, "K D"]:
        return self.quantizer.codebook

    @property
    def codebook_size(self):
        return len(self.codebook)

    def latents(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B D f w"]:
        """Continuous latents of series."""
        x = series_for(self.codebook, self.channels, self.length, x)
        return self.encoder(self.fold(stft(x, self.n_fft)))

    @torch.no_grad()
    def start_codebook(self, x: Float[ArrayLike, "B C L"], generator=None):
        """K-means of the latents of series as the first codebook, if `kmeans_init` still waits for one.

        The latents are those of train mode, as in the first step.
        """
        if self.quantizer.needs_init:
            self.quantizer.initialise(self.train().latents(x), generator=generator)

    def generate(self, z: Float[ArrayLike, "B D f w"]) -> tuple[Float[Tensor, "B C L"], Float[Tensor, "B 2*C F W"]]:
        """Series and spectrogram of latents, quantised or not."""
        u = self.unfold(self.decoder(z))
        return istft(u, self.out_length, self.n_fft), u

    def _series(self, x):
        return finite_series(self.codebook, self.channels, self.length, x)

    @in_eval_mode
    @torch.no_grad()
    def encode(self, x: Float[ArrayLike, "B C L"], temperature=0.0, generator=None) -> Int[Tensor, "B N"]:
        """Tokens of series, int64, row-major over (frequency, time); at temperature 0 equal in any batch."""
        z = self.latents(x := self._series(x))
        tokens = self.quantizer.encode(z, temperature, generator).flatten(1)
        if temperature == 0 and len(x) > 1:  # rounding differs with the batch: encode series with ties alone
            for i in self.quantizer.undecided(z).nonzero()[:, 0].tolist():
                tokens[i] = self.quantizer.encode(self.latents(x[i : i + 1])).flatten()
        return tokens

    @in_eval_mode
    @torch.no_grad()
    def decode(self, tokens: Int[ArrayLike, "B N"]) -> Float[Tensor, "B C L"]:
        """Series of tokens in 0..K-1."""
        tokens = tokens_of(tokens, ("B", self.n_tokens), self.codebook)
        return self.generate(self.quantizer.decode(tokens.view(-1, *self.grid)))[0]

    @in_eval_mode
    @torch.no_grad()
    def token_logits(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B N K"]:
        """-||z - e_k||^2 for every token position and code."""
        z = self.latents(self._series(x))  # (B, D, F, W')
        return -self.quantizer.distances(z.movedim(1, -1).flatten(0, 2)).view(len(z), self.n_tokens, -1)

    @in_eval_mode
    @torch.no_grad()
    def features(self, x: Float[ArrayLike, "B C L"]) -> Float[Tensor, "B D"]:
        """Quantised latents averaged over the grid: what the probes read."""
        return self.mean_codes(self._series(x))

    def mean_codes(self, x: Float[ArrayLike, "B C L"], generator=None) -> Float[Tensor, "B D"]:
        """`features` in the tokenizer's own mode: in train mode statistics and codebook move (Q2)."""
        return self.quantizer(self.latents(x), generator).z_q.mean(dim=(2, 3))

    @in_eval_mode
    @torch.no_grad()
    def reconstruction_loss(self, x: Float[ArrayLike, "B C L"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean squared errors in time and over the spectrogram, without gradients."""
        x = self._series(x)
        return squared_errors(self, x, self.quantizer(self.latents(x)).z_q)

    def save(self, folder):
        """Write `tokenizer.safetensors` into the folder: weights, codebook, and the arguments of the constructor."""
        save_module(self, path(folder, "folder") / "tokenizer.safetensors", self.arguments)

    @classmethod
    def load(cls, folder):
        """The tokenizer that `save` wrote, on the CPU, in eval mode."""
        return load_module(path(folder, "folder") / "tokenizer.safetensors", cls)


class FoldTokenizer(Tokenizer):
    """A token for each latent frame: the frequency rows are folded into channels, convolutions run along time alone.

    Latents are (B, D, 1, W'). A fifth of the tokens (n_fft 8) at the same W', so a finer W' is affordable.
    """

    kernel_rows = 1

    def fold(self, u: Float[Tensor, "B C2 F W"]) -> Float[Tensor, "B C2*F 1 W"]:
        return u.flatten(1, 2)[:, :, None]

    def unfold(self, u: Float[Tensor, "B C2F 1 W"]) -> Float[Tensor, "B C2 F W"]:
        return u[:, :, 0].unflatten(1, (2 * self.channels, -1))


TOKENIZERS = {"grid": Tokenizer, "fold": FoldTokenizer}  # kind (the setting `geometry`) -> class


def load_tokenizer(folder):
    """The tokenizer that `save` of any kind wrote, on the CPU, in eval mode."""
    return load_module(path(folder, "folder") / "tokenizer.safetensors", *TOKENIZERS.values())


class TokenizerLoss(NamedTuple):
    total: Float[Tensor, ""]
    time: Float[Tensor, ""]  # MSE(x, x_hat)
    spectrum: Float[Tensor, ""]  # MSE(u, u_hat), by `row_weights` if there are any
    commitment: Float[Tensor, ""]
    perplexity: Float[Tensor, ""]  # of the codes in this batch
    augmented: Float[Tensor, ""]  # time + spectrum of the view
    ssl: Float[Tensor, ""]  # weighted non-contrastive loss


def squared_errors(
    tokenizer, x: Float[Tensor, "B C L"], z: Float[Tensor, "B D f w"], row_weights=None
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean squared errors of the series and of the spectrogram decoded from latents z; the longer series is cut.

    row_weights   (2C, F, 1) of the spectrogram's rows, see `row_weights`; None: all 1
    """
    x_hat, u_hat = tokenizer.generate(z)
    time, u = F.mse_loss(x_hat, x[..., : x_hat.shape[-1]]), stft(x, tokenizer.n_fft)
    if row_weights is None:
        return time, F.mse_loss(u_hat, u)
    return time, (row_weights * (u_hat - u).square()).mean()


def row_weights(x: Float[Tensor, "n C L"], n_fft, weight) -> Float[Tensor, "2*C F 1"]:
    """1 + weight / (mean square of a row of the spectrogram over all series).

    So faint rows, which hold the fine texture, count in the error too. Rows that are 0 in all series stay at 1.
    """
    parts = x.split(max(1, WEIGHED // x[0].numel()))
    power = sum(len(part) / len(x) * stft(part, n_fft).square().mean(dim=(0, 3)) for part in parts)[..., None]
    return torch.where(power > 1e-6, 1 + weight / power.clamp(min=1e-6), 1.0)


def naive_loss(tokenizer, x: Float[Tensor, "B C L"], generator=None, row_weights=None) -> TokenizerLoss:
    """MSE(x, x_hat) + MSE(u, u_hat) + commitment: the VQVAE alone. `generator` serves the restart of unused codes."""
    q = tokenizer.quantizer(tokenizer.latents(x), generator)
    time, spectrum = squared_errors(tokenizer, x, q.z_q, row_weights)
    zero = torch.zeros_like(time)
    return TokenizerLoss(time + spectrum + q.loss, time, spectrum, q.loss, q.perplexity, zero, zero)


def non_contrastive_loss(
    tokenizer, projector, ssl_loss, x: Float[Tensor, "B C L"], view: Float[Tensor, "B C L"], aug_recon=0.2,
    ssl_latents="mixed", quantise_view=False, generator=None, row_weights=None,
) -> TokenizerLoss:  # fmt: skip
    """The naive loss, plus the augmented view's reconstruction, plus the loss between the projected views.

    projector      maps pooled latents of both views, (B, 2D) each, to their projections
    ssl_loss       (a, b) -> weighted scalar
    aug_recon      weight of the view's reconstruction
    ssl_latents    what enters the projector (Q7): "mixed", the original quantised and the view continuous, as in the
                   reference; "quantised" or "continuous", both alike
    quantise_view  decode the view from its codes instead of its continuous latents (Q8); never moves the codebook
    generator      of the restart of unused codes
    row_weights    see `squared_errors`
    """
    z = tokenizer.latents(x)
    q = tokenizer.quantizer(z, generator)
    time, spectrum = squared_errors(tokenizer, x, q.z_q, row_weights)
    z_view = tokenizer.latents(view)
    needs_codes = quantise_view or ssl_latents == "quantised"
    q_view = tokenizer.quantizer.straight_through(z_view) if needs_codes else None
    augmented = sum(squared_errors(tokenizer, view, q_view if quantise_view else z_view, row_weights))
    first = z if ssl_latents == "continuous" else q.z_q
    second = q_view if ssl_latents == "quantised" else z_view
    ssl = ssl_loss(*projector(pool(first), pool(second)))
    total = time + spectrum + q.loss + aug_recon * augmented + ssl
    return TokenizerLoss(total, time, spectrum, q.loss, q.perplexity, augmented, ssl)


def pool(z: Float[Tensor, "B D F W"]) -> Float[Tensor, "B 2*D"]:
    """Global average and global maximum, side by side."""
    return torch.cat([z.mean(dim=(2, 3)), z.amax(dim=(2, 3))], dim=1)
