"""Random halves: as many series of each kind beside the same real ones, so that every number means the same.

A distance of samples depends on how many series it sees. So nothing is compared but k series with k series: a random
half of the real ones, the *reference*, with the other half (`real`), with synthetic series, with copies of train series
(`copy`), and with such copies plus noise (`jitter`). This is done for several random halves.

The spread of a score over the halves stands for its spread over new samples. For a mean this is exact: drawn without
replacement, the mean of a half of n values varies about that of all n with the variance s^2 / n, and so does the mean
of all n from one sample of n to the next (the half-sample method: McCarthy, 1969, Review of the International
Statistical Institute 37). Intervals of distances and classifiers that differ little from real series are up to twice
as wide as they need be. A bootstrap would repeat series, which distances take for copies.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from .copies import ROWS, nearest_distances
from .kernels import KernelFeatures
from .standard import Standard, distances, manifold_of_distances

HALF = 500  # series of each kind that are compared, at most
POOL = 4 * HALF  # most series of each kind that are used; of more, this many are drawn


def some(n, rng):
    """At most POOL of n rows."""
    return np.arange(n) if n <= POOL else np.sort(rng.choice(n, POOL, replace=False))


@dataclass
class Pool:
    """All series of one kind, and what is computed of them once.

    x        (n, C, L) float64, scaled
    labels   (n,) names of classes, or None
    kernels  whose features are computed
    train    (n_train, C, L), or None
    fcn      (n, D) features of a feature net, or None
    """

    x: np.ndarray
    labels: np.ndarray | None
    kernels: KernelFeatures
    train: np.ndarray | None = None
    fcn: np.ndarray | None = None

    @functools.cached_property
    def features(self):
        """(n, D) of random kernels."""
        return self.kernels(self.x).double().numpy()

    @functools.cached_property
    def nearest(self):
        """(n, 2): distance to the nearest train series, and which one that is."""
        flat, train = self.x.reshape(len(self.x), -1), self.train.reshape(len(self.train), -1)  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]  # asked for only where there are train series
        parts = [cdist(flat[i : i + ROWS], train) for i in range(0, len(flat), ROWS)]
        return np.concatenate([np.stack([d.min(axis=1), d.argmin(axis=1)], axis=1) for d in parts])

    @functools.cached_property
    def repeats(self):
        """(n,) whether a series is nearer to its nearest train series than that one is to any other train series."""
        distance, which = self.nearest.T
        which, place = np.unique(which.astype(int), return_inverse=True)
        train = self.train.reshape(len(self.train), -1)  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]
        parts = [cdist(train[which[i : i + ROWS]], train) for i in range(0, len(which), ROWS)]
        own = np.concatenate([np.partition(d, 1, axis=1)[:, 1] for d in parts])  # the nearest but itself
        return distance < own[place]


@dataclass
class Pools:
    """What is compared, by the name of its kind: "real", "synthetic" and, with train series, "copy" and "jitter".

    kinds     name -> Pool
    classify  trains a classifier of classes, as those in `classifiers`
    labelled  whether the synthetic series have labels of their own
    """

    kinds: dict[str, Pool]
    classify: Callable
    labelled: bool

    @property
    def k(self):
        """Series of each kind in a draw."""
        return min(HALF, *(len(self.kinds[name].x) // 2 for name in ("real", "synthetic")))


class Draw:
    """k series of each kind; `whose` is "reference", "real", "synthetic", "copy" or "jitter".

    What scores share (a space of features, balls, classifiers) is computed at first use, and kept as long as the draw.
    """

    standard: Callable  # `_standard` and so on, each called once for the same arguments
    among: Callable
    manifold: Callable
    to_reference: Callable
    predict: Callable
    classes: Callable

    def __init__(self, pools, rng):
        self.pools, k = pools, pools.k
        halves = rng.choice(len(pools.kinds["real"].x), 2 * k, replace=False)
        self.rows = {"reference": halves[:k], "real": halves[k:]}
        self.rows["synthetic"] = rng.choice(len(pools.kinds["synthetic"].x), k, replace=False)
        for kind in sorted(pools.kinds.keys() - self.rows.keys()):
            whole = len(pools.kinds[kind].x)
            self.rows[kind] = rng.choice(whole, k, replace=kind == "copy")  # copies go back into the bag
        for name in ("standard", "among", "manifold", "to_reference", "predict", "classes"):
            setattr(self, name, functools.cache(getattr(self, f"_{name}")))

    def of(self, whose, what):
        """What a Pool has, of the drawn series: "x", "labels", "features", "fcn", "nearest", "repeats"."""
        return getattr(self.pools.kinds["real" if whose == "reference" else whose], what)[self.rows[whose]]

    @functools.cached_property
    def space(self):
        return Standard(self.of("reference", "features"))

    def _standard(self, whose):
        """(k, D) kernel features in units of the reference."""
        return self.space(self.of(whose, "features"))

    def _among(self, whose):
        """(k, k) distances of these features."""
        return distances(self.standard(whose), self.standard(whose))

    def _manifold(self, whose):
        """ManifoldScores against the reference."""
        between = distances(self.standard("reference"), self.standard(whose))
        return manifold_of_distances(self.among("reference"), self.among(whose), between)

    def _to_reference(self, whose):
        """(k,) distance of each series to the nearest of the reference."""
        return nearest_distances(self.of(whose, "x"), self.of("reference", "x"))

    def _predict(self, whose):
        """The classifier trained on these series."""
        return self.pools.classify(*(self.of(whose, what) for what in ("x", "features", "labels")))

    def _classes(self, whose, by):
        """(k,) classes that the classifier trained on the series of `by` gives these."""
        return self.predict(by)(self.of(whose, "x"), self.of(whose, "features"))
