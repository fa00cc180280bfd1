"""Scores of generated series that cannot be fooled, and what they are set beside; for any generator.

kernels     features of random convolution kernels: no training, no labels, and they see the order of patterns
manifold    precision, recall, density, coverage: what is missing, and what is not like anything real
copies      are generated series nearer to train than fresh ones?
baselines   copies, copies with noise, classes by their shares
"""

from .baselines import allot, bootstrap, jitter
from .copies import nearest_train
from .kernels import KernelSpace, RandomKernels
from .manifold import manifold

__all__ = ["KernelSpace", "RandomKernels", "allot", "bootstrap", "jitter", "manifold", "nearest_train"]
