"""Features in units of reference series, and the scores that rest on their distances.

All features are kept. Principal components fitted to the reference would be fewer, but it spreads along its own ones
more than any other series do: their balls would hold nearly all there is, bad series too.
"""

import numpy as np

from ..errors import BadInput
from .manifold import K_DENSITY, K_PRECISION, ManifoldScores

SMALLEST = 0.01  # deviation of a feature: what hardly ever happens in the reference must not outweigh all else
ROUNDING = 1e-12  # of squared lengths: a squared distance below it is 0


class Standard:
    """Features minus the mean of the reference, divided by its deviation, or by SMALLEST where that is smaller.

    raw     (n, p) features of the reference, n >= 2, for example those of `KernelFeatures`
    spread  of the reference: its total variance in these units
    raises  BadInput if all of them are the same
    """

    def __init__(self, raw):
        self.mean, self.std = raw.mean(axis=0), np.maximum(raw.std(axis=0), SMALLEST)
        self.spread = self(raw).var(axis=0, ddof=1).sum()
        if self.spread < 1e-6:
            raise BadInput(f"all {len(raw)} reference series are the same, expected series that differ: check them")

    def __call__(self, raw):
        return (raw - self.mean) / self.std


def distances(a, b):
    """(n, p), (m, p) -> (n, m) Euclidean distances, from products: with a thousand features, 30 times as fast as from
    differences."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    squared = squares - 2 * a @ b.T
    return np.sqrt(np.where(squared < ROUNDING * squares, 0, squared))


def manifold_of_distances(among_real, among_generated, between):
    """`manifold_scores` of n real and n generated points whose distances are known: three (n, n), the last one real by
    generated."""
    narrow, wide = np.partition(among_real, (K_PRECISION, K_DENSITY), axis=1)[:, [K_PRECISION, K_DENSITY]].T
    theirs = np.partition(among_generated, K_PRECISION, axis=1)[:, K_PRECISION]
    in_wide_ball = between <= wide[:, None]
    return ManifoldScores(
        precision=float((between <= narrow[:, None]).any(axis=0).mean()),
        recall=float((between <= theirs).any(axis=1).mean()),
        density=float(in_wide_ball.sum(axis=0).mean() / K_DENSITY),
        coverage=float(in_wide_ball.any(axis=1).mean()),
        n=len(between),
    )
