"""Generators that have learned nothing, to set scores beside, and the shares of classes."""

import torch

from ..errors import BadInput


def bootstrap(n, size, generator=None):
    """Rows of `size` draws with replacement from n: (size,) int64 on the generator's device. Copies, as a generator."""
    device = "cpu" if generator is None else generator.device
    return torch.randint(n, (size,), generator=generator, device=device)


def jitter(x, generator=None, noise=0.05):
    """Series x (n, C, L) with Gaussian noise of `noise` times their common standard deviation."""
    spread = x.std(correction=0)
    return x + noise * spread * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def allot(counts, n):
    """How many of n samples each class gets, in proportion to counts (k,): ints that add up to n.

    Rounded down, and what is left goes to the largest remainders (Hamilton's method), ties to the first class.
    """
    total = sum(counts)
    if total <= 0 or min(counts) < 0 or n < 0:
        raise BadInput(f"expected counts of classes that are not all 0, and n of 0 or more, got {list(counts)} and {n}")
    shares = [count * n // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda k: -(counts[k] * n % total))
    for k in by_remainder[: n - sum(shares)]:
        shares[k] += 1
    return shares
