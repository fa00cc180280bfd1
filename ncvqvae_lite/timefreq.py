"""Short-time Fourier transform and its inverse, as real tensors.

The tokenizer reads a series as a small picture: `F` frequency rows by `W` frames, real and imaginary parts as channels.
Settings of the paper (arXiv 2408.16613, as TimeVQVAE): n_fft 8, hop n_fft/4, periodic Hann window, centred frames with
reflected ends, one-sided, not normalised. For a series of unit variance E|STFT|^2 = sum(window^2) = 3 at n_fft 8.
"""

# pyright: reportAttributeAccessIssue=false
import torch
from torch.nn import functional as F

from .arguments import checked, fft_size, integer
from .arguments_tensors import any_series, floats
from .errors import BadInput
from .shapes import ArrayLike, Float, Tensor


def n_frames(length, n_fft=8):
    """Number of frames W of a series of `length` steps."""
    return length // (n_fft // 4) + 1


@checked(x=any_series, n_fft=fft_size)
def stft(x: Float[Tensor, "B C L"], n_fft=8) -> Float[Tensor, "B 2*C {n_fft//2+1} W"]:
    """Spectrogram of a batch of series.

    x        L > n_fft/2, because the ends are reflected
    returns  the real parts of all channels, then the imaginary parts; W = L // hop + 1
    """
    if x.shape[-1] <= n_fft // 2:
        raise BadInput(f"series of {x.shape[-1]} steps are too short for n_fft {n_fft}")
    padded = F.pad(x, (n_fft // 2, n_fft // 2), mode="reflect")  # (B, C, L + n_fft)
    frames = padded.unfold(-1, n_fft, n_fft // 4)  # (B, C, W, n_fft)
    spectrum = torch.fft.rfft(frames * _hann(n_fft, x))  # (B, C, W, F) complex
    u = torch.cat([spectrum.real, spectrum.imag], dim=1)  # (B, 2C, W, F)
    return u.transpose(2, 3)  # (B, 2C, F, W)


@checked(u=floats, length=integer, n_fft=fft_size)
def istft(u: Float[ArrayLike, "B C2 F W"], length, n_fft=8) -> Float[Tensor, "B C2//2 {length}"]:
    """Series of a batch of spectrograms: least-squares overlap-add, the inverse of `stft`.

    u        (B, 2C, n_fft//2+1, W) as `stft` makes it, or any other spectrogram of that shape
    length   samples to return, at most hop * W - 1
    """
    if u.ndim != 4 or u.shape[2] != n_fft // 2 + 1 or u.shape[1] % 2 or 0 in u.shape:
        raise BadInput(f"expected a spectrogram (B, 2C, {n_fft // 2 + 1}, W) for n_fft {n_fft}, got {tuple(u.shape)}")
    frames, hop = u.shape[3], n_fft // 4
    if not 0 < length < hop * frames:
        raise BadInput(f"{frames} frames with hop {hop} give 1 to {hop * frames - 1} samples, not {length}")
    real, imag = u.transpose(2, 3).chunk(2, dim=1)  # (B, C, W, F) each
    window = _hann(n_fft, u)
    pieces = torch.fft.irfft(torch.complex(real, imag), n=n_fft) * window  # (B, C, W, n_fft)
    energy = (window**2).expand(1, 1, frames, n_fft)
    middle = slice(n_fft // 2, n_fft // 2 + length)
    return (_overlap_add(pieces, hop) / _overlap_add(energy, hop).clamp(min=1e-11))[..., middle]


def _overlap_add(pieces, hop):
    """(B, C, W, n_fft) frames, each shifted by `hop` from the one before, summed: (B, C, n_fft + hop * (W - 1))."""
    batch, channels, frames, n_fft = pieces.shape
    columns = pieces.reshape(batch * channels, frames, n_fft).transpose(1, 2)  # (B*C, n_fft, W)
    total = n_fft + hop * (frames - 1)
    summed = F.fold(columns, output_size=(1, total), kernel_size=(1, n_fft), stride=(1, hop))
    return summed.reshape(batch, channels, total)


def _hann(n_fft, like):
    return torch.hann_window(n_fft, periodic=True, dtype=like.dtype, device=like.device)
