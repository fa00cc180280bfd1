"""Precision, recall, density and coverage: are generated series near real ones, and real ones near generated ones?

The ball around a point reaches to its k-th neighbour in its own set. Precision and recall: Kynkaanniemi et al., 2019,
arXiv 1904.06991; density and coverage: Naeem et al., 2020, arXiv 2002.09797.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from ..arguments import checked, count_from_0, integer
from ..errors import BadInput
from .arrays import feature_array

K_PRECISION = 3  # neighbours, for precision and recall
K_DENSITY = 5  # for density and coverage


class ManifoldScores(NamedTuple):
    """For equal distributions density is 1 and coverage `expected_coverage(n)` on average; precision and recall are
    below 1 and depend on n and d, so that they need the value of real against real series beside them."""

    precision: float  # share of generated points in the ball of any real point
    recall: float  # share of real points in the ball of any generated point
    density: float  # mean number of real balls around a generated point, over k; above 1 where real points are dense
    coverage: float  # share of real balls that hold a generated point
    n: int  # points of each set that were compared


@checked(at_most=integer, seed=count_from_0)
def manifold_scores(real, generated, at_most=1000, seed=0):
    """Precision and recall (k = 3), density and coverage (k = 5) of generated against real features.

    All four depend on the number of points: the same number of each is drawn, at most `at_most`, without
    replacement (`seed`). A point on the edge of a ball is in it.

    real, generated  (n, d), (m, d), numpy or torch; at least 6 of each
    raises           BadInput for fewer, unequal d, NaN or infinite values
    """
    real = feature_array(real, "real features", at_least=K_DENSITY + 1)
    generated = feature_array(generated, "generated features", at_least=K_DENSITY + 1, like=real.shape[1:])
    n = min(len(real), len(generated), at_most)
    if n <= K_DENSITY:
        raise BadInput(f"at_most={at_most} points are too few for balls to the {K_DENSITY}-th neighbour: raise it")
    rng = np.random.default_rng(seed)
    real, generated = (points[rng.choice(len(points), n, replace=False)] for points in (real, generated))
    among_real = np.sort(cdist(real, real), axis=1)  # column k: to the k-th neighbour; column 0: to itself
    among_generated = np.sort(cdist(generated, generated), axis=1)
    between = cdist(real, generated)  # (n real, n generated)
    in_wide_ball = between <= among_real[:, K_DENSITY, None]
    return ManifoldScores(
        precision=float((between <= among_real[:, K_PRECISION, None]).any(axis=0).mean()),
        recall=float((between <= among_generated[:, K_PRECISION]).any(axis=1).mean()),
        density=float(in_wide_ball.sum(axis=0).mean() / K_DENSITY),
        coverage=float(in_wide_ball.any(axis=1).mean()),
        n=n,
    )


def expected_coverage(n):
    """Mean coverage of n points by n of the same distribution: 1 - prod_{i=1..k} (n - i) / (2n - i), k = 5.

    The product is the probability that the k nearest of the other 2n - 1 points are all real ones.
    """
    i = np.arange(1, K_DENSITY + 1)
    return float(1 - np.prod((n - i) / (2 * n - i)))
