"""Features in units of reference series, and in the few directions in which these differ most."""

import numpy as np
import scipy.linalg

from ..errors import BadInput
from .kernels import DIMENSIONS

SMALLEST = 0.01  # deviation of a feature: what hardly ever happens in the reference must not outweigh all else


class PrincipalSpace:
    """What `KernelSpace` does with series, for features that are at hand: fitted to those of reference series.

    `standard` centres features and divides them by their deviations; `principal` gives the first min(64, n - 1)
    principal components of that, fewer where the reference spans fewer, in units in which it has a total variance of 1.
    So a Frechet distance of 1 is as far as the reference spreads.

    raw     (n, p) features of the reference, n >= 2, for example those of `KernelFeatures`
    raises  BadInput if all of them are the same
    """

    def __init__(self, raw):
        self.mean, self.std = raw.mean(axis=0), np.maximum(raw.std(axis=0), SMALLEST)
        standard = self.standard(raw)
        n, d = len(raw), min(DIMENSIONS, len(raw) - 1, raw.shape[1])
        # of the n x n products: with fewer series than features, these are fewer than the covariances
        variances, rows = scipy.linalg.eigh(standard @ standard.T / (n - 1), subset_by_index=(n - d, n - 1))
        if variances[-1] < 1e-6:
            raise BadInput(f"all {n} reference series are the same, expected series that differ: check them")
        spanned = variances > 1e-9 * variances[-1]
        directions = standard.T @ rows[:, spanned]  # (p, d), their norms (n - 1)^(1/2) times the deviations
        directions /= np.linalg.norm(directions, axis=0)
        self.components = directions / np.sqrt(variances[spanned].sum())

    def standard(self, raw):
        return (raw - self.mean) / self.std

    def principal(self, raw):
        return self.standard(raw) @ self.components
