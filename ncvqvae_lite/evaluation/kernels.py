"""Features of series from random convolution kernels: nothing is trained, so nothing of a data set leaks into them.

ROCKET: Dempster, Petitjean and Webb, 2020, arXiv 1910.13051. Dilations spread a kernel over up to the whole series, so
that the order of distant parts is seen, too.
"""

import numpy as np
import scipy.linalg
import torch
from torch.nn import functional as F

from ..arguments import checked, count_from_0, integer
from ..errors import BadInput
from .arrays import Scaling, series_array

SIZES = (7, 9, 11)  # taps of a kernel
DIMENSIONS = 64  # of the space in which features are compared
MIN_TRAIN = 5  # series that span a space worth the name
BATCH = 64  # series: the responses stay in a CPU's cache
MANY = 20_000  # series whose features are held at a time, and train series that span the space, drawn if there are more


class KernelFeatures:
    """Two features of each of `n_kernels` random kernels: the largest response, and the share of positive ones.

    A kernel has 7, 9 or 11 taps (no more than L), weights N(0, 1) centred in each channel, a bias U(-1, 1), a dilation
    floor(2^U(0, log2((L - 1) / (taps - 1)))) and, in one case of two, zeros around the series that keep its length. It
    reads floor(2^U(0, log2(C + 1))) channels drawn at random: one, all, or some number between, few more often.

    channels, length  C and L >= 2 of the series, which should be in units of their standard deviation (`Scaling`)
    seed              of the kernels: equal seeds give equal kernels
    """

    @checked(channels=integer, length=integer, n_kernels=integer, seed=count_from_0)
    def __init__(self, channels, length, n_kernels=500, seed=0):
        if channels < 1 or length < 2 or n_kernels < 1:
            found = f"{channels} channels, {length} steps and {n_kernels} kernels"
            raise BadInput(f"{found} give no features, expected at least 1, 2 and 1: add what lacks")
        self.channels, self.length = channels, length
        rng, alike = np.random.default_rng(seed), {}
        for _ in range(n_kernels):
            taps = min(int(rng.choice(SIZES)), length)
            dilation = int(2 ** rng.uniform(0, np.log2((length - 1) / (taps - 1))))
            padding = int(rng.integers(2)) * ((taps - 1) * dilation // 2)
            read = rng.permutation(channels)[: int(2 ** rng.uniform(0, np.log2(channels + 1)))]
            weights = np.zeros((channels, taps))
            weights[read] = rng.standard_normal((len(read), taps))
            weights[read] -= weights[read].mean(axis=1, keepdims=True)
            alike.setdefault((dilation, padding, taps), []).append((weights, rng.uniform(-1, 1)))
        self.groups = [  # kernels that one convolution computes: dilation, padding, weights (k, C, taps), biases (k,)
            (dilation, padding, *(torch.tensor(np.array(part), dtype=torch.float32) for part in zip(*kernels)))
            for (dilation, padding, _), kernels in sorted(alike.items(), key=lambda item: item[0])
        ]

    def __call__(self, x):
        """(n, C, L), numpy or torch -> (n, 2 n_kernels) float32 on the CPU: all largest responses, then all shares."""
        x = torch.from_numpy(series_array(x, "series", like=(self.channels, self.length))).float()
        return torch.cat([self._features(batch) for batch in x.split(BATCH)])

    def _features(self, x):
        largest, positive = [], []
        for dilation, padding, weights, biases in self.groups:
            responses = F.conv1d(x, weights, biases, dilation=dilation, padding=padding)  # (B, k, steps)
            largest.append(responses.amax(dim=2))
            positive.append((responses > 0).float().mean(dim=2))
        return torch.cat(largest + positive, dim=1)


class KernelSpace:
    """Kernel features as the train series see them: in few dimensions, where a Frechet distance can be estimated.

    Series are scaled by the train series (`Scaling`); features are centred and divided by their standard deviation over
    the train series, or by 0.01 where it is smaller: what hardly ever happens in them must not outweigh all else. Kept
    are the first min(64, n_train - 1) principal components, fewer where the train series span fewer, in units in which
    the train series have a total variance of 1. So a Frechet distance of 1 is as far as train series spread.

    x_train    (n_train, C, L), at least 5 series that are not all the same; of more than 20,000 so many are drawn
    n_kernels  500 give 1,000 features; more cost more and change little
    seed       of the kernels and of that draw
    raises     BadInput for other series, NaN or infinite values
    """

    @checked(n_kernels=integer, seed=count_from_0)
    def __init__(self, x_train, n_kernels=500, seed=0):
        x_train = series_array(x_train, "train series", at_least=MIN_TRAIN)
        self.scaling = Scaling.of(x_train)
        self.kernels = KernelFeatures(*x_train.shape[1:], n_kernels, seed)
        if len(x_train) > MANY:
            x_train = x_train[np.random.default_rng(seed).permutation(len(x_train))[:MANY]]
        raw = self.kernels(self.scaling(x_train)).double().numpy()
        self.mean, self.std = raw.mean(axis=0), np.maximum(raw.std(axis=0), 0.01)
        standard = (raw - self.mean) / self.std  # (n, p)
        covariance = standard.T @ standard / (len(raw) - 1)
        p, d = len(covariance), min(DIMENSIONS, len(raw) - 1, len(covariance))
        variances, components = scipy.linalg.eigh(covariance, subset_by_index=(p - d, p - 1))
        spanned = variances > 1e-9 * variances[-1]
        if variances[-1] < 1e-6:
            raise BadInput(f"all {len(raw)} train series are the same, expected series that differ: check them")
        self.components = components[:, spanned] / np.sqrt(variances[spanned].sum())  # (p, d)

    def features(self, x):
        """(n, C, L), numpy or torch, in the units of the train series given -> (n, d) float64 array."""
        x = series_array(x, "series", like=(self.kernels.channels, self.kernels.length))
        parts = (self.scaling(x[i : i + MANY]) for i in range(0, len(x), MANY))
        raw = (self.kernels(part).double().numpy() for part in parts)
        return np.concatenate([(features - self.mean) / self.std @ self.components for features in raw])
