"""Scores that cannot be fooled, for any generator of series: no training, no labels, and baselines to set them beside.

Series are (n, C, L), features (n, d), numpy or torch on any device; everything but the convolutions is in float64.

kernels     `KernelSpace(x_train).features(x)`: random-kernel features, for Frechet distances and the manifold scores
manifold    `manifold_scores(real, generated)`: precision, recall, density and coverage of features
copies      `nearest_train(generated, test, train)`: are generated series nearer to train series than test series are?
class_mix   `class_mix_distance(real_labels, generated_labels)`: total variation distance of class shares
baselines   `copy` and `jitter`: two generators that only repeat train series; `allot`: samples per class
arrays      what all of these accept, and the scaling of series

A score says something beside two others only: real series against real ones of the same numbers, and `copy`, which a
score of quality alone ranks first.
"""

from .baselines import allot, copy, jitter
from .class_mix import class_mix_distance
from .copies import NearestTrain, nearest_train
from .kernels import KernelFeatures, KernelSpace
from .manifold import ManifoldScores, manifold_scores

__all__ = [
    "KernelFeatures", "KernelSpace", "ManifoldScores", "NearestTrain", "allot", "class_mix_distance", "copy", "jitter",
    "manifold_scores", "nearest_train",
]  # fmt: skip
