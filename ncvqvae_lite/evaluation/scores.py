"""The scores of `evaluate`, each a record and a function (draw, whose) -> number, of `whose` against the reference.

A new score is a function and a record here; see `draws` for what it may look at.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from ..metrics import frechet_distance
from .class_mix import class_mix_distance
from .classifiers import discriminative_auc
from .kid import kernel_inception_distance
from .statistics import autocorrelation_distance, marginal_distance, spectrum_distance

NEAREST = 0.1  # share of real series that set what is near


@dataclass(frozen=True)
class Score:
    """One number about synthetic series.

    label    in tables
    question what it answers, in a few words
    better   "lower", "higher", or "half": 0.5 is best
    range    its smallest and largest value
    compute  (Draw, whose) -> float
    failed   by how much a failing generator is worse than real series: distances by the spread of real ones, shares as
             if all were told apart or copied, frequencies by 20 dB. None if higher is better (a failure then loses the
             whole real value), or if there is no scale
    least    series of each kind that it needs
    needs    of "train", "fcn", "labels" (real ones), "both labels"
    """

    label: str
    question: str
    better: str
    range: tuple[float, float]
    compute: Callable
    failed: float | None = None
    least: int = 2
    needs: str = ""

    def excess(self, value, real):
        """By how much a value is worse than that of real series; below 0: better. Arrays or numbers."""
        if self.better == "half":
            return abs(value - 0.5) - abs(real - 0.5)
        return value - real if self.better == "lower" else real - value


def fid(draw, whose):
    return frechet_distance(draw.standard("reference"), draw.standard(whose)) / draw.space.spread


def kid(draw, whose):
    return kernel_inception_distance(draw.standard("reference"), draw.standard(whose))


def fid_fcn(draw, whose):
    return frechet_distance(draw.of("reference", "fcn"), draw.of(whose, "fcn"))


def precision(draw, whose):
    return draw.manifold(whose).precision


def recall(draw, whose):
    return draw.manifold(whose).recall


def density(draw, whose):
    return draw.manifold(whose).density


def coverage(draw, whose):
    return draw.manifold(whose).coverage


def discriminative(draw, whose):
    return discriminative_auc(draw.of("reference", "features"), draw.of(whose, "features"))


def tstr(draw, whose):
    return float(np.mean(draw.classes("reference", by=whose) == draw.of("reference", "labels")))


def trts(draw, whose):
    return float(np.mean(draw.classes(whose, by="reference") == draw.of(whose, "labels")))


def class_mix(draw, whose):
    found = draw.of(whose, "labels") if draw.pools.labelled else draw.classes(whose, by="reference")
    return class_mix_distance(draw.of("reference", "labels"), found)


def nearest_train(draw, whose):
    near, far = (draw.of(name, "nearest")[:, 0] for name in (whose, "reference"))
    return float(roc_auc_score(np.repeat([1, 0], [len(near), len(far)]), -np.concatenate([near, far])))


def copied(draw, whose):
    """Share of the series that repeat train series, as estimated from whose neighbours they are.

    Of n train series and k others of one source, the nearest to a new series is a train series with the probability
    p = n / (n + k), at any distance; to a copy, always. So if s of the series are copies, a share
    q = s + (1 - s) p has a train series nearest, and s = (q - p) / (1 - p). Only series within half
    the distance of the nearest tenth of real series count. New series are hardly ever so near: one without noise is
    1 / sqrt(2) as far from a noisy one as two noisy ones are from each other. So smooth samples, and those of a
    distribution that was fitted to the train series, have 0.
    """
    n, k = len(draw.pools.kinds["real"].train), draw.pools.k
    to_train, to_real = draw.of(whose, "nearest")[:, 0], draw.to_reference(whose)
    of_new_ones = np.minimum(draw.of("real", "nearest")[:, 0], draw.to_reference("real"))
    near = np.minimum(to_train, to_real) <= np.quantile(of_new_ones, NEAREST) / 2
    of_train = (to_train < to_real) + (to_train == to_real) / 2
    return float((near * (of_train - n / (n + k))).mean() * (n + k) / k)


def near_copies(draw, whose):
    return float(draw.of(whose, "repeats").mean())


def marginal(draw, whose):
    return marginal_distance(draw.of("reference", "x"), draw.of(whose, "x"))


def autocorrelation(draw, whose):
    return autocorrelation_distance(draw.of("reference", "x"), draw.of(whose, "x"))


def spectrum(draw, whose):
    return spectrum_distance(draw.of("reference", "x"), draw.of(whose, "x"))


ANY, POSITIVE, SHARE = (-np.inf, np.inf), (0, np.inf), (0, 1)
LABELLED = "both labels"
SCORES = {
    "fid": Score("Frechet distance", "are the clouds of shapes alike?", "lower", POSITIVE, fid, 1, 10),
    "kid": Score("kernel inception distance", "the same, whatever their number?", "lower", ANY, kid, None, 10),
    "fid_fcn": Score(
        "Frechet distance, FCN", "alike in what tells classes?", "lower", POSITIVE, fid_fcn, None, 10, "fcn"
    ),
    "precision": Score("precision", "is each near real series?", "higher", SHARE, precision, None, 6),
    "recall": Score("recall", "is each real series within their reach?", "higher", SHARE, recall, None, 6),
    "density": Score("density", "are they where real series crowd?", "higher", POSITIVE, density, None, 6),
    "coverage": Score("coverage", "which share of real series has a likeness?", "higher", SHARE, coverage, None, 6),
    "discriminative": Score(
        "discriminative AUC", "can a classifier tell them from real series?", "lower", SHARE, discriminative, 0.5, 10
    ),
    "tstr": Score(
        "train synthetic, test real", "do they teach the classes?", "higher", SHARE, tstr, None, 10, LABELLED
    ),
    "trts": Score("train real, test synthetic", "are they of their class?", "higher", SHARE, trts, None, 10, LABELLED),
    "class_mix": Score("class mix", "do the classes come in their shares?", "lower", SHARE, class_mix, 1, 10, "labels"),
    "nearest_train": Score(
        "nearest-train AUC",
        "are they nearer to train series than real ones are?",
        "half",
        SHARE,
        nearest_train,
        0.5,
        2,
        "train",
    ),
    "copied": Score("copied share", "which share repeats train series?", "lower", (-np.inf, 1), copied, 1, 10, "train"),
    "near_copies": Score(
        "near copies",
        "which share is nearer to a train series than that is to any other?",
        "lower",
        SHARE,
        near_copies,
        1,
        2,
        "train",
    ),
    "marginal": Score("values", "are values distributed alike?", "lower", POSITIVE, marginal, 1),
    "autocorrelation": Score(
        "autocorrelation", "do values follow one another alike?", "lower", (0, 2), autocorrelation, 1
    ),
    "spectrum": Score("spectrum, dB", "is each frequency as strong?", "lower", POSITIVE, spectrum, 20),
}
