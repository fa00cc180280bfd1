"""Scores of features: probes, retrieval, density and rank. Nothing is trained but linear classifiers.

Features are (n, D), numpy or torch; series (n, C, L) are taken as rows of C L numbers, so that every score has the raw
series beside it. All computes in float64, distances are Euclidean and not scaled. Shares are fractions in [0, 1]; the
standard error of a share of n is `standard_error(share, n)`.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..arguments import checked, count, flag, not_negative
from ..arguments_arrays import float_array, label_array, matrix
from ..errors import BadInput
from ..shapes import ArrayLike, Float, Int, Shaped

ROWS = 1000  # whose distances to all others are held at a time


def as_rows(values: Float[ArrayLike, "n ..."], name, at_least=1) -> Float[np.ndarray, "n D"]:
    """Features (n, D), or series (n, C, L) as rows, as a finite float64 array."""
    array = float_array(values, name)
    return matrix(array.reshape(len(array), -1) if array.ndim == 3 and array.size else array, name, at_least)


def two_sets(reference, x, names=("reference", "x")):
    """Two sets of rows of one width."""
    reference, x = as_rows(reference, names[0]), as_rows(x, names[1])
    if reference.shape[1] != x.shape[1]:
        raise BadInput(f"{names[0]} has {reference.shape[1]} columns, {names[1]} {x.shape[1]}: use features of one net")
    return reference, x


# --- neighbours ---


class Neighbours(NamedTuple):
    distance: Float[np.ndarray, "n k"]  # ascending
    index: Int[np.ndarray, "n k"]  # rows of the reference


@checked(k=count)
def neighbours(reference: Float[ArrayLike, "m ..."], x: Float[ArrayLike, "n ..."] | None = None, k=5) -> Neighbours:
    """The k nearest rows of a reference to each row of x; of equally near ones the first.

    x        None: the reference itself, none of whose rows counts as its own neighbour
    raises   BadInput unless k is below m, or at most m where x is given
    """
    if x is None:
        reference = as_rows(reference, "features")
        return _sorted(reference, reference, k, nearest=True, itself=False)
    return _sorted(*two_sets(reference, x), k, nearest=True)


def _sorted(reference, x, k, nearest, itself=True):
    """The k nearest or farthest; `itself` False leaves out row i of row i."""
    most = len(reference) if itself else len(reference) - 1
    if k > most:
        raise BadInput(f"k={k} of {most} other rows: k must be below the number of series: lower it")
    distances, index = np.empty((len(x), k)), np.empty((len(x), k), dtype=np.int64)
    for first in range(0, len(x), ROWS):
        part = slice(first, min(first + ROWS, len(x)))
        d = cdist(x[part], reference)  # (rows, m)
        order = d if nearest else -d
        if not itself:
            order[np.arange(len(d)), np.arange(part.start, part.stop)] = np.inf
        index[part] = order.argsort(axis=1, kind="stable")[:, :k]
        distances[part] = np.take_along_axis(d, index[part], axis=1)
    return Neighbours(distances, index)


# --- probes ---


def linear_probe(
    f_tr: Float[ArrayLike, "n ..."], y_tr, f_te: Float[ArrayLike, "m ..."], y_te, standardise=True
) -> float:
    """Accuracy on test of a logistic regression (L2 penalty, C = 1) fitted to train features.

    y_tr, y_te   (n,), (m,) labels of at least two classes
    standardise  scale the columns by train's means and deviations; a collapse of the features may be undone by it
    """
    standardise = flag(standardise, "standardise")
    f_tr, y_tr, f_te, y_te = labelled_sets(f_tr, y_tr, f_te, y_te)
    border = LogisticRegression(C=1.0, max_iter=10_000)
    classifier = make_pipeline(StandardScaler(), border) if standardise else border
    return float(np.mean(classifier.fit(f_tr, y_tr).predict(f_te) == y_te))


@checked(k=count)
def knn_probe(f_tr: Float[ArrayLike, "n ..."], y_tr, f_te: Float[ArrayLike, "m ..."], y_te, k=5) -> float:
    """Accuracy on test of the majority of the k nearest train features; the smallest of labels that tie."""
    f_tr, y_tr, f_te, y_te = labelled_sets(f_tr, y_tr, f_te, y_te)
    names, number = np.unique(y_tr, return_inverse=True)
    votes = number[_sorted(f_tr, f_te, k, nearest=True).index]  # (m, k)
    counts = (votes[:, :, None] == np.arange(len(names))).sum(axis=1)  # (m, classes)
    return float(np.mean(names[counts.argmax(axis=1)] == y_te))


def labelled_sets(f_tr, y_tr, f_te, y_te):
    """Features and labels of train and test as arrays, of one width and of at least two train classes."""
    f_tr, f_te = two_sets(f_tr, f_te, ("train features", "test features"))
    y_tr, y_te = label_array(y_tr, "train", len(f_tr)), label_array(y_te, "test", len(f_te))
    if len(np.unique(y_tr)) < 2:
        raise BadInput(f"all train labels are {y_tr[0]}: a probe needs at least two classes")
    return f_tr, y_tr, f_te, y_te


def standard_error(share, n) -> float:
    """Binomial standard error of a share of n: sqrt(share (1 - share) / n)."""
    return float(np.sqrt(share * (1 - share) / n))


# --- retrieval ---


@checked(k=count)
def precision_at(f: Float[ArrayLike, "n ..."], y: Shaped[ArrayLike, " n"], k=5) -> float:
    """Share of the k nearest other series that have the query's label; the mean over all queries."""
    f = as_rows(f, "features")
    y = label_array(y, "feature", len(f))
    return float(np.mean(y[neighbours(f, k=k).index] == y[:, None]))


class Hubs(NamedTuple):
    index: Int[np.ndarray, " k"]  # the series that are most often among the k farthest, the most frequent first
    share: float  # of all queries' k farthest that are among these; 1: all queries share them


@checked(k=count)
def farthest_hubs(f: Float[ArrayLike, "n ..."], k=5) -> Hubs:
    """Whether all queries have the same farthest series, as outliers make them."""
    f = as_rows(f, "features")
    farthest = _sorted(f, f, k, nearest=False, itself=False).index
    counts = np.bincount(farthest.ravel(), minlength=len(f))
    hubs = np.argsort(-counts, kind="stable")[:k]
    return Hubs(hubs, float(np.isin(farthest, hubs).mean()))


# --- anomalies ---


@checked(k=count)
def density_score(
    reference: Float[ArrayLike, "m ..."], x: Float[ArrayLike, "n ..."] | None = None, k=2
) -> Float[np.ndarray, " rows"]:
    """Mean distance to the k nearest reference features: the larger, the more anomalous.

    reference  of what is normal: train features
    x          whose scores are wanted; None: the reference itself, each row judged by the others
    """
    return neighbours(reference, x, k=k).distance.mean(axis=1)


def rank_auc(normal: Float[ArrayLike, " n"], anomalous: Float[ArrayLike, " m"]) -> float:
    """Area under the ROC curve, by ranks: the probability that an anomalous score is above a normal one."""
    normal = matrix(float_array(normal, "normal scores").reshape(-1, 1), "normal scores")[:, 0]
    anomalous = matrix(float_array(anomalous, "anomalous scores").reshape(-1, 1), "anomalous scores")[:, 0]
    ranks = rankdata(np.concatenate([normal, anomalous]))  # ties share their mean rank
    m = len(anomalous)
    return float((ranks[len(normal) :].sum() - m * (m + 1) / 2) / (len(normal) * m))


# --- how features fill their space ---


def effective_rank(z: Float[ArrayLike, "n D"]) -> float:
    """exp of the entropy of the normalised singular values of z: 1 for one direction, up to D; 0 of zeros.

    Roy and Vetterli, EUSIPCO 2007. The features are not centred, so that equal embeddings have the rank 1.
    """
    values = np.linalg.svd(as_rows(z, "embeddings"), compute_uv=False)
    if not values.any():
        return 0.0
    p = values / values.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def mean_correlation(z: Float[ArrayLike, "n D"]) -> float:
    """Mean |correlation| of all pairs of different columns; constant columns are left out."""
    z = as_rows(z, "embeddings", at_least=2)
    z = z[:, np.ptp(z, axis=0) > 0]
    if z.shape[1] < 2:
        raise BadInput(f"{z.shape[1]} columns vary, expected at least 2 to correlate: the embeddings have collapsed")
    size = abs(np.corrcoef(z.T))
    return float((size.sum() - np.trace(size)) / (size.size - len(size)))


def class_separation(f: Float[ArrayLike, "n D"], y: Shaped[ArrayLike, " n"]) -> float:
    """Variance between the class means over the variance within classes, traces of both."""
    f = as_rows(f, "features")
    y = label_array(y, "feature", len(f))
    names, number = np.unique(y, return_inverse=True)
    means = np.array([f[number == c].mean(axis=0) for c in range(len(names))])  # (classes, D)
    within = ((f - means[number]) ** 2).sum()
    if within == 0:
        raise BadInput("the features of each class are all the same, expected some that vary: look at the net")
    return float(((means[number] - f.mean(axis=0)) ** 2).sum() / within)


def unit_rows(z: Float[ArrayLike, "n D"], name) -> Float[np.ndarray, "n D"]:
    """As rows of length 1; rows of zeros stay."""
    z = as_rows(z, name)
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def alignment(a: Float[ArrayLike, "n D"], b: Float[ArrayLike, "n D"]) -> float:
    """Mean squared distance of the unit vectors of partners: 0 to 4 (arXiv 2005.10242, with alpha 2)."""
    a, b = unit_rows(a, "first view"), unit_rows(b, "second view")
    if a.shape != b.shape:
        raise BadInput(f"expected two views of one shape (n, D), got {a.shape} and {b.shape}")
    return float(((a - b) ** 2).sum(axis=1).mean())


@checked(t=not_negative)
def uniformity(z: Float[ArrayLike, "n D"], t=2.0) -> float:
    """log of the mean of exp(-t |u_i - u_j|^2) over pairs of unit vectors of z: 0 all equal (arXiv 2005.10242).

    -4 t for two opposite points; near -2 t for many, spread evenly over a sphere of many dimensions.
    """
    u = unit_rows(z, "embeddings")
    if len(u) < 2:
        raise BadInput(f"uniformity needs at least 2 embeddings, got {len(u)}")
    squared = np.maximum(2 - 2 * u @ u.T, 0)
    i, j = np.triu_indices(len(u), k=1)
    return float(np.log(np.exp(-t * squared[i, j]).mean()))
