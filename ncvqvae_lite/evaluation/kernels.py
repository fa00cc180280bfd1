"""Features of random convolution kernels, dilated up to the length of the series (ROCKET, arXiv 1910.13051).

Nothing is trained, so nothing leaks, and unlabelled series have them too. Where a convolutional classifier averages
short patterns over time, these kernels reach across a series and see in which order patterns come.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

from ..errors import BadInput

BATCH = 256  # series at a time


class RandomKernels:
    """`n_kernels` kernels for series of C channels and L steps; two features each: the maximum, the share above 0.

    Lengths 7, 9 or 11 (3 where L is shorter than 11), weights N(0, 1) less their mean, bias U(-1, 1), dilation
    2^U(0, log2((L - 1) / (length - 1))), padding or none, each with probability 1/2. A kernel reads all channels, its
    weights divided by the square root of their number.
    """

    def __init__(self, channels, length, n_kernels=500, seed=0):
        if length < 3:
            raise BadInput(f"random kernels need series of 3 steps or more, got {length}")
        self.channels, self.length = channels, length
        rng = np.random.default_rng(seed)
        sizes = rng.choice([7, 9, 11] if length >= 11 else [3], n_kernels)
        dilations = np.floor(2 ** (rng.random(n_kernels) * np.log2((length - 1) / (sizes - 1)))).astype(int)
        padded, biases = rng.random(n_kernels) < 0.5, rng.uniform(-1, 1, n_kernels)
        groups = {}
        for kernel in zip(sizes.tolist(), dilations.tolist(), padded.tolist(), biases.tolist(), strict=True):
            weights = rng.standard_normal((channels, kernel[0]))
            weights = (weights - weights.mean()) / math.sqrt(channels)
            groups.setdefault(kernel[:3], []).append((weights, kernel[3]))
        self.groups = {
            key: (torch.tensor(np.stack(weights), dtype=torch.float32), torch.tensor(biases, dtype=torch.float32))
            for key, (weights, biases) in ((key, zip(*pairs)) for key, pairs in sorted(groups.items()))
        }

    @torch.no_grad()
    def __call__(self, x):
        """x (n, C, L) -> (n, 2 n_kernels) float32 on the device of x."""
        if x.ndim != 3 or x.shape[1:] != (self.channels, self.length):
            raise BadInput(f"expected series (n, {self.channels}, {self.length}), got {tuple(x.shape)}")
        return torch.cat([self._features(batch.float()) for batch in x.split(BATCH)])

    def _features(self, x):
        found = []
        for (size, dilation, padded), (weights, biases) in self.groups.items():
            padding = (size - 1) * dilation // 2 if padded else 0
            y = F.conv1d(x, weights.to(x.device), biases.to(x.device), padding=padding, dilation=dilation)
            found += [y.amax(dim=2), (y > 0).float().mean(dim=2)]
        return torch.cat(found, dim=1)


class KernelSpace:
    """Random-kernel features in units of reference series x (n, C, L), in their at most `dimensions` main directions.

    Each feature is divided by its deviation over the reference, then the features are projected to the reference's
    principal components, fewer than n, so that Gaussians can be fitted to them. In all the variance of the reference
    is 1 (of what the axes keep, less): a Frechet distance of 0.1 is a tenth of it.
    """

    def __init__(self, x, n_kernels=500, dimensions=64, seed=0):
        if len(x) < 3:
            raise BadInput(f"a space of random kernels needs 3 reference series or more, got {len(x)}")
        self.kernels = RandomKernels(*x.shape[1:], n_kernels, seed)
        features = self.kernels(x).double()
        self.mean, spread = features.mean(dim=0), features.std(dim=0, correction=0)
        varies = spread > 1e-6 * (1 + self.mean.abs())  # constant ones say nothing
        self.scale = torch.where(varies, 1 / spread, 0.0) / varies.sum().clamp(min=1).sqrt()
        rank = min(dimensions, len(x) - 1, features.shape[1])
        self.axes = torch.linalg.svd((features - self.mean) * self.scale, full_matrices=False).Vh[:rank].T

    def __call__(self, x):
        """x (n, C, L) -> (n, d) float64."""
        return ((self.kernels(x).double() - self.mean) * self.scale) @ self.axes
