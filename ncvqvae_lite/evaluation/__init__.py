"""Scores that cannot be fooled, for any generator of series: no training, no labels, and baselines to set them beside.

Series are (n, C, L), features (n, d), numpy or torch on any device; everything but the convolutions is in float64.

comparison  `evaluate(real, synthetic, ...)`: all scores, each beside that of real series and of copies
reading     scores in words, and the verdict: by which rule
scores      what each score asks, which way is good, what failure would give, and how it is computed
draws       the random halves of which every score is computed
kernels     `KernelSpace(x_train).features(x)`: random-kernel features, for Frechet distances and the manifold scores
manifold    `manifold_scores(real, generated)`: precision, recall, density and coverage of features
copies      `nearest_train(generated, test, train)`: are generated series nearer to train series than test series are?
class_mix   `class_mix_distance(real_labels, generated_labels)`: total variation distance of class shares
statistics  distances of values, autocorrelations and spectra
kid         `kernel_inception_distance(a, b)` of features
classifiers `discriminative_auc(real, generated)`, and classifiers of classes
corruptions `corrupt(name, ...)`: thirteen ways to spoil series, to see what scores see
baselines   `copy` and `jitter`: two generators that only repeat train series; `allot`: samples per class
arrays      what all of these accept, and the scaling of series

Read a score beside two others: that of real series against as many real ones, which no generator needs
to beat, and that of `copy`, which every score of likeness ranks first. Chapter 07 builds the main ones by hand.
"""

from .baselines import allot, copy, jitter
from .class_mix import class_mix_distance
from .classifiers import discriminative_auc
from .comparison import Evaluation, evaluate
from .copies import NearestTrain, nearest_train
from .corruptions import CORRUPTIONS, corrupt
from .kernels import KernelFeatures, KernelSpace
from .kid import kernel_inception_distance
from .manifold import ManifoldScores, manifold_scores
from .statistics import autocorrelation_distance, marginal_distance, spectrum_distance

__all__ = [
    "CORRUPTIONS", "Evaluation", "KernelFeatures", "KernelSpace", "ManifoldScores", "NearestTrain", "allot",
    "autocorrelation_distance", "class_mix_distance", "copy", "corrupt", "discriminative_auc", "evaluate", "jitter",
    "kernel_inception_distance", "manifold_scores", "marginal_distance", "nearest_train", "spectrum_distance",
]  # fmt: skip
