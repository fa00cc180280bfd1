"""Views of a batch of series, all at once: a view is a claim about what does not matter.

The eight of VIEWS are those of the SimCLR and VICReg report on gestures; where its list, code and formulas disagree,
the rule that is built is told here. A view takes x (B, C, L) and g (a torch.Generator on the device of x; None is
torch's own), returns a new tensor of the same shape, type and device, and leaves x as it is. Places, speeds and masks
are drawn for each series and shared by its channels.

    once = chain(functools.partial(crop_resize, share=0.8), maybe(noise), maybe(smooth))
    a, b = pair(once)(x, g)
"""

import functools
import math

import torch

from ..arguments import checked, inner_share, not_negative, share, two_numbers
from ..arguments_tensors import a_split, finite, floats, integers, source
from ..errors import BadInput
from ..shapes import ArrayLike, Float, Int, Tensor


def clean(values: Float[ArrayLike, "B C L"], name) -> Float[Tensor, "B C L"]:
    """Series (B, C, L) without gaps."""
    return finite(a_split(values, name), "series (fill gaps first, by fill_missing)")


# --- the eight ---


@checked(x=clean)
def flip_time(x: Float[Tensor, "B C L"], *, g=None) -> Float[Tensor, "B C L"]:
    """Backwards. Nothing is drawn."""
    return x.flip(2)


@checked(x=clean)
def flip_sign(x: Float[Tensor, "B C L"], *, g=None) -> Float[Tensor, "B C L"]:
    """-x. Nothing is drawn. (The report's formula reverses the order of the channels instead: `flip_channels`.)"""
    return -x


@checked(x=clean, share=inner_share)
def blockout(x: Float[Tensor, "B C L"], *, g, share=0.1) -> Float[Tensor, "B C L"]:
    """One window of int(share L) steps is 0, in all channels; its start is uniform in 0..L - window."""
    batch, _, length = x.shape
    window = _window(share, length)
    start = torch.randint(length - window + 1, (batch, 1), generator=source(g, x), device=x.device)
    past = torch.arange(length, device=x.device) - start  # (B, L) steps since the start of the window
    return x.masked_fill(((past >= 0) & (past < window))[:, None], 0)


@checked(x=clean, strength=not_negative)
def noise(x: Float[Tensor, "B C L"], *, g, strength=0.1) -> Float[Tensor, "B C L"]:
    """Plus U(-1, 1) times `strength` times the standard deviation of the series' channel.

    The report's code adds N(0, 0.05^2): `augmentations.gaussian_noise`.
    """
    drawn = 2 * torch.rand(x.shape, generator=source(g, x), device=x.device, dtype=x.dtype) - 1
    return x + strength * x.std(dim=2, correction=0, keepdim=True) * drawn


@checked(x=clean, share=inner_share)
def crop_resize(x: Float[Tensor, "B C L"], *, g, share=0.5) -> Float[Tensor, "B C L"]:
    """A window of int(share L) steps, its start uniform in 0..L - window, stretched linearly over all L steps.

    The report's code leaves the window in its place and puts zeros around it.
    """
    batch, _, length = x.shape
    window = _window(share, length)
    start = torch.randint(length - window + 1, (batch, 1), generator=source(g, x), device=x.device)
    stretch = (window - 1) / max(length - 1, 1)
    return _at(x, start + stretch * torch.arange(length, device=x.device, dtype=x.dtype))


@checked(x=clean, strength=not_negative)
def magnitude_warp(x: Float[Tensor, "B C L"], *, g, strength=0.1) -> Float[Tensor, "B C L"]:
    """Times 1 + strength sin(2 pi t / L + theta), theta uniform in 0..2 pi for each channel of each series.

    The report's code draws one factor 1 + U(-0.1, 0.1) instead.
    """
    batch, channels, length = x.shape
    theta = 2 * math.pi * torch.rand(batch, channels, 1, generator=source(g, x), device=x.device, dtype=x.dtype)
    turn = 2 * math.pi * torch.arange(length, device=x.device, dtype=x.dtype) / length
    return x * (1 + strength * torch.sin(turn + theta))


@checked(x=clean, speed=two_numbers)
def time_warp(x: Float[Tensor, "B C L"], *, g, speed=(0.8, 1.2)) -> Float[Tensor, "B C L"]:
    """The series at another speed s, uniform between the two: its value at step t s, the last one from its end on.

    The report's second code shifts each step by its own draw instead.
    """
    low, high = speed
    if not 0 < low <= high:
        raise BadInput(f"speed must be two numbers above 0, the smaller one first, got {speed}")
    draw = torch.rand(len(x), 1, generator=source(g, x), device=x.device, dtype=x.dtype)
    steps = torch.arange(x.shape[2], device=x.device, dtype=x.dtype)
    return _at(x, (steps * (low + (high - low) * draw)).clamp(max=x.shape[2] - 1))


@checked(x=clean, weight=share)
def smooth(x: Float[Tensor, "B C L"], *, g=None, weight=2 / 3) -> Float[Tensor, "B C L"]:
    """Each step is 1 - weight of itself and weight / 2 of each neighbour; at the ends it is its own. Nothing is drawn.

    With 2/3 the moving average over three steps. (The report's code has zeros beyond the ends, so that these fade.)
    """
    before = torch.cat([x[..., :1], x[..., :-1]], dim=2)
    after = torch.cat([x[..., 1:], x[..., -1:]], dim=2)
    return (1 - weight) * x + weight / 2 * (before + after)


VIEWS = {
    view.__name__: view
    for view in (flip_time, flip_sign, blockout, noise, crop_resize, magnitude_warp, time_warp, smooth)
}


def _window(share, length):
    window = int(share * length)
    if window < 1:
        raise BadInput(f"a window of share={share} of {length} steps has no step: raise the share")
    return window


def _at(x, position):
    """x (B, C, L) at real-valued steps (B, L) in 0..L-1, linearly between two."""
    left = position.long().clamp(max=x.shape[2] - 1)
    right = (left + 1).clamp(max=x.shape[2] - 1)
    before, after = (x.gather(2, index[:, None].expand_as(x)) for index in (left, right))
    return torch.lerp(before, after, (position - left).to(x.dtype)[:, None])


# --- other changes of series ---


@checked(x=clean)
def flip_channels(x: Float[Tensor, "B C L"], *, g=None) -> Float[Tensor, "B C L"]:
    """The channels in the reverse order; of one channel the series itself. Nothing is drawn."""
    return x.flip(1)


@checked(x=clean, height=not_negative)
def drift(x: Float[Tensor, "B C L"], *, g, height=3.0) -> Float[Tensor, "B C L"]:
    """Plus height sin(2 pi f t / L + theta), f uniform in 0.5..2 and theta in 0..2 pi for each series: a nuisance.

    A data set gets it once, after its normalisation; as an augmentation it is drawn anew each time.
    """
    draw = torch.rand(2, len(x), 1, 1, generator=source(g, x), device=x.device, dtype=x.dtype)
    time = torch.arange(x.shape[2], device=x.device, dtype=x.dtype) / x.shape[2]
    return x + height * torch.sin(2 * math.pi * ((0.5 + 1.5 * draw[0]) * time + draw[1]))


# --- how views are put together ---


def chain(*views):
    """One view after the other."""

    def view(x, *, g):
        for one in views:
            x = one(x, g=g)
        return x

    return view


@checked(chance=share)
def maybe(view, chance=0.5):
    """The view for some series, each with this chance; the others as they are."""

    def sometimes(x, *, g):
        changed = torch.rand(len(x), 1, 1, generator=source(g, x), device=x.device) < chance
        return torch.where(changed, view(x, g=g), x)

    return sometimes


def pair(view):
    """What `pretrain` takes as views: (x, g) -> two draws of a view."""
    return lambda x, g: (view(x, g=g), view(x, g=g))


SIMCLR = chain(
    functools.partial(crop_resize, share=0.8), maybe(blockout), maybe(noise), maybe(magnitude_warp), maybe(smooth)
)
simclr_views = pair(SIMCLR)  # the course's views for SimCLR and VICReg: those that leave most labels what they are


# --- gaps and wrong labels ---


@checked(x=clean, share=inner_share)
def drop_values(x: Float[Tensor, "n C L"], share, *, g) -> Float[Tensor, "n C L"]:
    """NaN in exactly int(share n L) steps of the whole set x, a step of a series in all its channels."""
    n, _, length = x.shape
    order = torch.randperm(n * length, generator=source(g, x), device=x.device)
    is_missing = torch.zeros(n * length, dtype=torch.bool, device=x.device)
    is_missing[order[: int(share * n * length)]] = True
    return x.masked_fill(is_missing.view(n, 1, length), torch.nan)


def fill_missing(x: Float[ArrayLike, "*rows L"]) -> Float[Tensor, "*rows L"]:
    """Arrays (..., L) without their NaN: each becomes the last value before it, at the start the first one after.

    x        numpy or torch; other values, type and device stay as they are
    raises   BadInput where all L values of a row are missing
    """
    x = floats(x, "x")
    if x.is_meta or x.ndim == 0 or x.numel() == 0:
        raise BadInput(f"expected an array (..., L) with values, got shape {tuple(x.shape)}")
    known = ~x.isnan()
    if not known.any(dim=-1).all():
        empty = (~known.any(dim=-1)).flatten().nonzero()
        raise BadInput(f"row {int(empty[0])} of {x[..., 0].numel()} has no value at all: leave it out")
    steps = torch.arange(x.shape[-1], device=x.device)
    last = torch.where(known, steps, -1).cummax(dim=-1).values  # (..., L) last step with a value so far, or -1
    first = known.int().argmax(dim=-1, keepdim=True)
    return x.gather(-1, torch.where(last < 0, first, last))


def interpolate_missing(x: Float[ArrayLike, "*rows L"]) -> Float[Tensor, "*rows L"]:
    """Arrays (..., L) without their NaN: linear between the values on both sides, at the ends the nearest value.

    x        numpy or torch; other values, type and device stay as they are. Beside an infinite value NaN may stay
    raises   BadInput where all L values of a row are missing
    """
    x = floats(x, "x")
    before, after = fill_missing(x), fill_missing(x.flip(-1)).flip(-1)  # at the ends both are the nearest value
    known, steps = ~x.isnan(), torch.arange(x.shape[-1], device=x.device)
    last = torch.where(known, steps, -1).cummax(dim=-1).values
    following = torch.where(known, steps, x.shape[-1]).flip(-1).cummin(dim=-1).values.flip(-1)
    line = torch.lerp(before, after, (steps - last).to(x.dtype) / (following - last).clamp(min=1))
    return torch.where(known, x, line)


@checked(share=inner_share)
def noisy_labels(y: Int[ArrayLike, " n"], share, *, g) -> Int[Tensor, " n"]:
    """Labels in 0..k-1, each replaced by another class with probability `share`; which one is uniform."""
    y = integers(y, "labels", y if isinstance(y, torch.Tensor) else torch.empty(0))
    if y.ndim != 1 or len(y) == 0 or y.min() < 0 or y.max() < 1:
        raise BadInput(f"expected labels (n,) of two or more classes, numbered from 0, got shape {tuple(y.shape)}")
    g, k = source(g, y), int(y.max()) + 1
    is_wrong = torch.rand(len(y), generator=g, device=y.device) < share
    shift = torch.randint(1, k, y.shape, generator=g, device=y.device)
    return torch.where(is_wrong, (y + shift) % k, y)
