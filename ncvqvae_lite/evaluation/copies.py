"""Copies of train series, told by distance: to the nearest train series from generated ones, and from test series.

A generator that repeats train series, with or without noise, passes every score that only compares distributions.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from ..arguments import checked, count, count_from_0
from .arrays import Scaling, series_array

COPYING = 0.6  # an AUC above it says that train series were copied
ROWS = 256  # series whose distances to all train series are held at a time
WORK = 2e10  # differences that are squared for a set of series, at most: beyond it a thousand or more are drawn


class NearestTrain(NamedTuple):
    auc: float  # 0.5: as far from train series as test series are; 1: every generated series is nearer
    low: float  # 95 % bootstrap interval over generated and test series; the train series are given
    high: float

    @property
    def copied(self):
        return self.auc > COPYING


@checked(n_bootstrap=count, seed=count_from_0)
def nearest_train(generated, test, train, n_bootstrap=1000, seed=0):
    """P(a generated series is nearer to its nearest train series than a test series to its own), ties counting half.

    Train and test series must come from the same source: where they differ, 0.5 is not what new series give.

    generated, test, train  (n, C, L), numpy or torch; scaled by the train series, channel by channel. Of very many
                            generated or test series some are drawn (`seed`), see WORK
    returns                 NearestTrain(auc, low, high)
    raises                  BadInput for unequal C or L, no series, NaN or infinite values
    """
    train = series_array(train, "train series", at_least=2)
    sets = ("generated series", generated), ("test series", test)
    generated, test = (series_array(x, name, like=train.shape[1:]) for name, x in sets)
    scale, most = Scaling.of(train), max(1000, int(WORK / train.size))
    near, far = (nearest_distances(scale(_some(x, most, seed)), scale(train)) for x in (generated, test))
    rng = np.random.default_rng(seed)
    drawn = [_share_nearer(rng.choice(near, len(near)), rng.choice(far, len(far))) for _ in range(n_bootstrap)]
    return NearestTrain(_share_nearer(near, far), *map(float, np.quantile(drawn, [0.025, 0.975])))


def _some(x, most, seed):
    """The series x, or `most` of them, drawn."""
    return x if len(x) <= most else x[np.random.default_rng(seed).permutation(len(x))[:most]]


def nearest_distances(x, train):
    """(n,) Euclidean distance of each series to its nearest train series; (n, C, L) and (m, C, L) float64 arrays.

    From differences, not from products, which would cancel: a copy is at distance 0.
    """
    flat = train.reshape(len(train), -1)
    rows = (x[i : i + ROWS].reshape(-1, flat.shape[1]) for i in range(0, len(x), ROWS))
    return np.concatenate([cdist(some, flat).min(axis=1) for some in rows])


def _share_nearer(near, far):
    """P(near < far) + P(near = far) / 2 over all pairs."""
    far = np.sort(far)
    not_farther = np.searchsorted(far, near, "left") + np.searchsorted(far, near, "right")
    return float(1 - not_farther.mean() / (2 * len(far)))
