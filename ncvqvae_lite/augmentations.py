"""Augmented views of a batch of series, all series at once, on whatever device they are.

The three families of the NC-VQVAE thesis (Mathisen 2024): `warp` (window warp, then amplitude resize), `slice`
(slice and shuffle), `gauss` (jitter). Window, cuts and amplitude are drawn once per series and shared by its channels;
noise is independent. Every function takes x (B, C, L) and returns a new tensor of the same shape, dtype and device.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from .arguments import checked, flag, integer, number, two_numbers
from .arguments_tensors import any_series, source
from .errors import BadInput
from .shapes import ArrayLike, Float, Tensor


@checked(x=any_series, ratio=number, scale=two_numbers)
def window_warp(x: Float[Tensor, "B C L"], ratio=0.4, scale=(0.9, 2.0), generator=None) -> Float[Tensor, "B C L"]:
    """Stretch or squeeze one random window of each series, then resample the whole to L steps.

    ratio    window length as a fraction of L, in (0, 1)
    scale    (low, high) of the uniform stretch factor; at 1 the series is unchanged
    raises   ValueError for a window of no or of all steps, or a factor that is not positive
    """
    (batch, _, length), generator = x.shape, source(generator, x)
    window = max(round(ratio * length), 1)
    if not 0 < ratio < 1 or window >= length or not 0 < scale[0] <= scale[1] <= length:
        expected = f"a window shorter than {length} steps, 0 < low <= high <= {length}"
        raise BadInput(f"expected {expected}; got ratio {ratio}, scale {tuple(scale)}")
    start = _randint(length - window, (batch, 1), x, generator).float()  # (B, 1)
    factor = torch.empty(batch, 1, device=x.device).uniform_(*scale, generator=generator)
    warped = (window * factor).floor().clamp(min=1)  # (B, 1) samples that the window is resampled to
    longest = length - window + math.ceil(window * scale[1]) + 1
    q = torch.arange(longest, device=x.device)  # steps of: before + warped window + after
    past_start = q - start  # (B, longest)
    within = start + past_start * ((window - 1) / (warped - 1).clamp(min=1))
    position = torch.where(past_start < warped, torch.where(past_start < 0, q, within), q - warped + window)
    glued = _interpolate(x, position)  # (B, C, longest)
    stretch = (length - window + warped - 1) / (length - 1)  # (B, 1) glued steps per step of the result
    return _interpolate(glued, torch.arange(length, device=x.device) * stretch)


def _interpolate(x, position):
    """Linear interpolation of x (B, C, L) at the real-valued steps `position` (B, M), kept in 0..L-1: (B, C, M)."""
    last = x.shape[-1] - 1
    left = position.long().clamp_(max=last)  # (B, M)
    right = (left + 1).clamp_(max=last)
    return torch.lerp(_take(x, left), _take(x, right), (position - left).to(x.dtype)[:, None, :])


@checked(x=any_series, std=number)
def amplitude_resize(x: Float[Tensor, "B C L"], std=0.2, generator=None) -> Float[Tensor, "B C L"]:
    """Multiply each series by one factor 1 + N(0, std^2)."""
    generator = source(generator, x)
    return x * (1 + std * torch.randn(len(x), 1, 1, device=x.device, dtype=x.dtype, generator=generator))


@checked(x=any_series, n_segments=integer, distinct=flag)
def slice_and_shuffle(
    x: Float[Tensor, "B C L"], n_segments=4, distinct=False, generator=None
) -> Float[Tensor, "B C L"]:
    """Cut each series into segments and put them together in a random order.

    n_segments  number of segments, at least 2 (at most 8 when `distinct`)
    distinct    False, as in the reference: cut points are uniform in 0..L-1 with replacement, so segments may be empty
                and the order may come out unchanged. True: no empty segment, and never the original order.
    """
    (batch, _, length), generator = x.shape, source(generator, x)
    if not 2 <= n_segments <= (min(8, length) if distinct else length):
        raise BadInput(f"cannot cut {length} steps into {n_segments} segments (distinct={distinct})")
    if distinct:
        scores = torch.rand(batch, length - 1, device=x.device, generator=generator)
        cuts = scores.topk(n_segments - 1, dim=1).indices + 1  # (B, n-1) distinct, in 1..L-1
        order = _permutation(1 + _randint(math.factorial(n_segments) - 1, (batch,), x, generator), n_segments)
    else:
        cuts = _randint(length, (batch, n_segments - 1), x, generator)
        order = torch.rand(batch, n_segments, device=x.device, generator=generator).argsort(dim=1)
    edges = torch.nn.functional.pad(cuts.sort(dim=1).values, (1, 0))  # (B, n) start of each segment
    ends = torch.nn.functional.pad(edges[:, 1:], (0, 1), value=length)
    sizes = (ends - edges).gather(1, order)  # (B, n) in the new order
    new_ends = sizes.cumsum(dim=1)
    time = torch.arange(length, device=x.device).expand(batch, length).contiguous()
    segment = torch.searchsorted(new_ends, time, right=True)  # (B, L) which new segment a step falls in
    shift = edges.gather(1, order) - (new_ends - sizes)  # (B, n) from new place to old
    return _take(x, time + shift.gather(1, segment))


def _permutation(rank, n):
    """Permutation number `rank` (B,) of 0..n-1 in lexicographic order (B, n); number 0 is the identity."""
    order = [rank // math.factorial(n - 1 - i) % (n - i) for i in range(n)]  # Lehmer code: rank among those left over
    for i in reversed(range(n)):
        for j in range(i + 1, n):
            order[j] = order[j] + (order[j] >= order[i])
    return torch.stack(order, dim=1)


@checked(x=any_series, std=number)
def gaussian_noise(x: Float[Tensor, "B C L"], std=0.05, generator=None) -> Float[Tensor, "B C L"]:
    """Add independent N(0, std^2) to every step of every channel."""
    generator = source(generator, x)
    return x + std * torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)


def zero_tail(x: Float[Tensor, "B C L"], multiple=8) -> Float[Tensor, "B C L"]:
    """Zero the last L mod `multiple` steps: the effect of the reference's second STFT on its views (Q9)."""
    keep = x.shape[-1] // multiple * multiple
    return torch.nn.functional.pad(x[..., :keep], (0, x.shape[-1] - keep))


def _warp(x, generator=None):
    return amplitude_resize(window_warp(x, generator=generator), generator=generator)


@dataclass(frozen=True)
class Augmentation:
    """A family of views.

    fn              (x, generator=None, **arguments) -> views of x, of the same shape; x itself is untouched
    label, colour   in figures
    settings        argument of fn -> the setting (of ExperimentConfig) that gives its value
    """

    fn: Callable
    label: str
    colour: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, x: Float[ArrayLike, "B C L"], generator=None, **arguments) -> Float[Tensor, "B C L"]:
        return self.fn(x, generator=generator, **arguments)


AUGMENTATIONS = {
    "warp": Augmentation(_warp, "warp", "#E69F00"),
    "slice": Augmentation(slice_and_shuffle, "slice", "#56B4E9", {"distinct": "distinct_slices"}),
    "gauss": Augmentation(gaussian_noise, "gauss", "#CC79A7"),
}
SHIPPED = dict(AUGMENTATIONS)  # what is registered later, or in place of these, is told apart by its code


def _take(x, index):
    """x (B, C, L), index (B, L) -> x[b, c, index[b, l]]."""
    return x.gather(2, index[:, None, :].expand(-1, x.shape[1], -1))


def _randint(high, shape, like, generator):
    """Uniform integers 0..high-1 on the device of `like`."""
    return torch.randint(high, shape, device=like.device, generator=generator)
