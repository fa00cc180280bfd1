"""Generators that only repeat train series: a score that ranks them first is no evidence of generation."""

import torch

from ..arguments import checked, count_from_0, integer, not_negative
from ..arguments_tensors import floats, integers, source
from ..errors import BadInput


@checked(n=count_from_0)
def copy(x_train, n, generator):
    """n train series, drawn with replacement.

    x_train    (n_train, C, L) tensor, at least one series
    generator  torch.Generator on the CPU
    returns    (n, C, L), as x_train in dtype and device
    """
    x_train = floats(x_train, "train series")
    if x_train.ndim != 3 or len(x_train) == 0:
        raise BadInput(f"expected at least one train series, as (n, C, L), got {tuple(x_train.shape)}: pass some")
    rows = torch.randint(len(x_train), (n,), generator=source(generator, torch.empty(0)))
    return x_train[rows.to(x_train.device)]


@checked(n=count_from_0, noise=not_negative)
def jitter(x_train, n, generator, noise=0.05):
    """`copy` plus Gaussian noise; `noise` is its deviation over that of all train values of a channel."""
    x_train = floats(x_train, "train series")
    copied = copy(x_train, n, generator)
    std = x_train.double().std(dim=(0, 2), correction=0)[:, None].to(x_train.dtype)  # (C, 1)
    drawn = torch.randn(copied.shape, generator=generator, dtype=x_train.dtype)
    return copied + noise * std * drawn.to(x_train.device)


@checked(n=integer)
def allot(counts, n):
    """How many of n samples each class gets, in proportion to its count, by the method of largest remainders.

    counts   whole numbers of 0 or more, one per class, at least one above 0: of train labels, say
    n        number of samples, 0 or more
    returns  list of ints that sum to n, each its share of n rounded down or up; of equal remainders, the first class's
             is rounded up
    raises   BadInput for other counts or a negative n
    """
    counts = integers(counts, "counts", torch.empty(0)).flatten().tolist()
    if n < 0 or not counts or min(counts) < 0 or sum(counts) == 0:
        raise BadInput(f"cannot allot {n} samples by counts {counts}: expected n >= 0 and counts with one above 0")
    total = sum(counts)
    allotted = [n * count // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda c: -(n * counts[c] % total))  # stable: the first class first
    for c in by_remainder[: n - sum(allotted)]:
        allotted[c] += 1
    return allotted
