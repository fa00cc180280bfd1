"""Kernel inception distance: a distance of two clouds of features that is not biased by their numbers."""

import numpy as np

from .arrays import feature_array


def kernel_inception_distance(features_a, features_b):
    """Unbiased estimate of the squared maximum mean discrepancy (Binkowski et al., 2018, arXiv 1801.01401).

    With the kernel k(a, b) = (a . b / D + 1)^3: the mean of k over pairs of different rows of A, plus that of B, minus
    twice the mean over all pairs of a row of A and one of B. Equal distributions give 0 on average, whatever the
    numbers of rows, so that single values may be below 0.

    features_a, features_b  (n, D), (m, D), numpy or torch; at least 2 rows each
    raises                  BadInput for fewer, unequal D, NaN or infinite values
    """
    a = feature_array(features_a, "features_a", at_least=2)
    b = feature_array(features_b, "features_b", at_least=2, like=a.shape[1:])
    return _among(a) + _among(b) - 2 * float(_kernel(a, b).mean())


def _among(a):
    """Mean of the kernel over pairs of different rows."""
    values, n = _kernel(a, a), len(a)
    return float((values.sum() - np.trace(values)) / (n * (n - 1)))


def _kernel(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3
