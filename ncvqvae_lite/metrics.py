"""Scores of tokenizers, tokens and generated series (chapter 07; thesis, Mathisen 2024; paper, arXiv 2408.16613).

Arrays may be numpy or torch; everything is computed in float64 and returned as plain numbers. The functions take
features, probabilities or tokens, which `inference.batched(net.features, x)` and its like give. Only
`reconstruction_error` runs a network: it averages `tokenizer.squared_errors`, which training minimises too.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from .arguments import checked, count, count_from_0, integer, number, optional
from .arguments_arrays import float_array, label_array, matrix, token_array
from .arguments_tensors import a_split, parameter_of
from .errors import BadInput
from .inference import eval_mode
from .shapes import ArrayLike, Float, Int

CODES = 2000  # whose cosines with all others are held at a time
SVM_STEPS = 10_000_000  # libsvm's own limit, which scikit-learn lifts; real features take thousands


class ReconstructionError(NamedTuple):
    mean: float  # over all series
    last_batch: float  # over the last batch in file order: what the thesis reports (Q1)


@checked(batch_size=count)
def reconstruction_error(tokenizer, x: Float[ArrayLike, "n C L"], batch_size=128) -> ReconstructionError:
    """MSE(x, x_hat) + MSE(u, u_hat) of a tokenizer, in eval mode (restored afterwards), without gradients.

    u is the STFT of x, u_hat the decoder's spectrogram (real and imaginary parts), x_hat its inverse STFT.

    tokenizer   nn.Module whose `reconstruction_loss(x)` gives the two errors as scalar tensors, quantising by argmax
    x           scaled series in file order; each batch is moved to the device of the tokenizer
    batch_size  128 in the thesis; it decides which series make up the last batch: n mod 128, or 128
    returns     ReconstructionError(mean, last_batch)
    """
    device, x = parameter_of(tokenizer, "tokenizer").device, a_split(x, "series")
    batches = x.split(batch_size)
    with eval_mode(tokenizer), torch.no_grad():
        losses = torch.stack([torch.stack(tokenizer.reconstruction_loss(b.to(device))).double().sum() for b in batches])
    losses = losses.cpu().numpy()
    return ReconstructionError(float(np.average(losses, weights=[len(b) for b in batches])), float(losses[-1]))


@checked(k=count)
def knn_accuracy(z_train: Float[ArrayLike, "n D"], y_train, z_test: Float[ArrayLike, "m D"], y_test, k=5) -> float:
    """Accuracy in [0, 1] of k nearest neighbours (uniform weights, Euclidean) fitted on train features.

    z_train, z_test   features, scaled to (-1, 1) by the minima and maxima of the train features
    y_train, y_test   (n,), (m,) integer labels
    raises            BadInput for shapes that do not match, NaN, one class only, or fewer train series than k
    """
    return _probe(KNeighborsClassifier(k), z_train, y_train, z_test, y_test, n_needed=k)


def svm_accuracy(z_train: Float[ArrayLike, "n D"], y_train, z_test: Float[ArrayLike, "m D"], y_test) -> float:
    """Accuracy in [0, 1] of a support vector classifier (linear kernel, C = 1); arguments as `knn_accuracy`."""
    with warnings.catch_warnings():
        # Features of a collapsed tokenizer differ by rounding only: libsvm may then circle around the solution for ever
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _probe(SVC(kernel="linear", C=1.0, max_iter=SVM_STEPS), z_train, y_train, z_test, y_test, n_needed=2)


def _probe(classifier, z_train, y_train, z_test, y_test, n_needed):
    z_train, z_test = matrix(z_train, "train features"), matrix(z_test, "test features")
    if z_train.shape[1] != z_test.shape[1]:
        raise BadInput(f"train features have {z_train.shape[1]} columns, test features {z_test.shape[1]}: use one net")
    y_train, y_test = label_array(y_train, "train", len(z_train)), label_array(y_test, "test", len(z_test))
    if len(z_train) < n_needed:
        raise BadInput(f"{len(z_train)} train series are fewer than the {n_needed} that this probe needs: add series")
    if len(np.unique(y_train)) < 2:
        raise BadInput(f"all train labels are {y_train[0]}: a probe needs at least two classes")
    scaler = MinMaxScaler((-1, 1)).fit(z_train)
    classifier.fit(scaler.transform(z_train), y_train)
    return float(np.mean(classifier.predict(scaler.transform(z_test)) == y_test))


def frechet_distance(features_a: Float[ArrayLike, "n_a D"], features_b: Float[ArrayLike, "n_b D"]) -> float:
    """Frechet distance of two Gaussians fitted to two sets of features (Heusel et al., 2017, arXiv 1706.08500).

    ||mu_a - mu_b||^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), with unbiased covariances and nothing added to them.

    With centred rows A, scaled so that S_a = A^T A, and B likewise, the trace of (S_a S_b)^(1/2) is the sum of the
    singular values of A B^T. No matrix root is taken, so fewer rows than columns (rank-deficient covariances) are
    as exact as any. A thin QR replaces A by its small triangular factor.

    features_a, features_b   for the FID, `FCN.features` of test and of generated series
    returns                  0 or more; rounding below 0 is cut
    raises                   BadInput for fewer than 2 rows, unequal D, NaN or infinite values
    """
    a, b = matrix(features_a, "features_a", at_least=2), matrix(features_b, "features_b", at_least=2)
    if a.shape[1] != b.shape[1]:
        raise BadInput(f"the sets have {a.shape[1]} and {b.shape[1]} features: compute both with the same net")
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    shift = a.mean(axis=0) - b.mean(axis=0)
    trace_of_root = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + (root_a**2).sum() + (root_b**2).sum() - 2 * trace_of_root))


def _covariance_root(features):
    """(n, D) -> R (min(n, D), D) with R^T R the unbiased covariance."""
    centred = features - features.mean(axis=0)
    return np.linalg.qr(centred, mode="r") / np.sqrt(len(features) - 1)


class InceptionScore(NamedTuple):
    mean: float  # over the splits; from 1 (all alike) to the number of classes
    std: float  # over the splits, ddof 0


@checked(n_splits=integer, seed=optional(count_from_0))
def inception_score(probabilities: Float[ArrayLike, "n k"], n_splits=10, seed=0) -> InceptionScore:
    """Per split, exp of the mean KL(p(y|x) || p(y)), p(y) the split's mean (Salimans et al., 2016, arXiv 1606.03498).

    probabilities  each row sums to 1: `FCN.probabilities` of generated series
    n_splits       splits of floor(n / n_splits) rows; the remainder is left out
    seed           of the shuffle before splitting; None keeps the order
    returns        InceptionScore(mean, std); 1e-16 is added inside both logarithms, as the reference does
    raises         BadInput for fewer rows than splits, or rows that are no probabilities
    """
    p = matrix(probabilities, "probabilities")
    if not 1 <= n_splits <= len(p):
        raise BadInput(f"{n_splits} splits need as many samples, got {len(p)}: draw more or lower n_splits")
    if p.min() < 0 or abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise BadInput("rows must be probabilities that sum to 1: pass FCN.probabilities, not logits")
    if seed is not None:
        p = np.random.default_rng(seed).permutation(p)
    size = len(p) // n_splits
    p = p[: size * n_splits].reshape(n_splits, size, -1)
    marginal = p.mean(axis=1, keepdims=True)
    divergence = (p * (np.log(p + 1e-16) - np.log(marginal + 1e-16))).sum(axis=2)  # (splits, size)
    scores = np.exp(divergence.mean(axis=1))
    return InceptionScore(float(scores.mean()), float(scores.std()))


class TokenUsage(NamedTuple):
    counts: np.ndarray  # (K,) int64, how often each code occurs
    perplexity: float  # effective number of codes in use, 1..K
    coverage: float  # share of the K codes that occur at all
    entropy: float  # nats, 0..log K
    gini: float  # inequality of the counts: 0 all equal, 1 - 1/K all tokens alike


@checked(codebook_size=count)
def token_usage(tokens: Int[ArrayLike, "..."], codebook_size) -> TokenUsage:
    """Statistics of how often each of K codes occurs.

    raises   BadInput for no tokens, other types, or values outside 0..K-1
    """
    counts = np.bincount(token_array(tokens, codebook_size), minlength=codebook_size)
    p = counts[counts > 0] / counts.sum()
    rank = np.arange(1, codebook_size + 1)
    gini = ((2 * rank - codebook_size - 1) * np.sort(counts)).sum() / (codebook_size * counts.sum())
    return TokenUsage(counts, _perplexity(counts), len(p) / codebook_size, float(-(p * np.log(p)).sum()), float(gini))


@checked(codebook_size=count)
def perplexity(tokens: Int[ArrayLike, "..."], codebook_size) -> float:
    """exp(-sum_k p_k log(p_k + 1e-10)), p_k the share of code k among the tokens; arguments as `token_usage`."""
    return _perplexity(np.bincount(token_array(tokens, codebook_size), minlength=codebook_size))


def _perplexity(counts):
    p = counts / counts.sum()
    return float(np.exp(-(p * np.log(p + 1e-10)).sum()))


class CodebookSimilarity(NamedTuple):
    abs_corr: float
    abs_cos: float


def codebook_similarity(codebook: Float[ArrayLike, "K D"]) -> CodebookSimilarity:
    """Mean |correlation| and mean |cosine| over all pairs of different codes.

    Codes that training left unused decay to zero, and their correlation is 0/0. They are left out: all-zero rows of
    the cosine, constant rows (zero included) of the correlation.

    returns   both numbers in 0..1; nan where fewer than two codes remain
    raises    BadInput for another shape, NaN or infinite values
    """
    codes = matrix(codebook, "codebook")
    varying = codes[np.ptp(codes, axis=1) > 0]
    nonzero = codes[np.any(codes != 0, axis=1)]
    centred = varying - varying.mean(axis=1, keepdims=True)
    return CodebookSimilarity(_mean_abs_cosine(centred), _mean_abs_cosine(nonzero))


def _mean_abs_cosine(rows):
    if len(rows) < 2:
        return float("nan")
    unit = rows / abs(rows).max(axis=1, keepdims=True)  # first to a largest entry of 1: tiny rows would underflow
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    number, total = np.arange(len(rows)), 0.0
    for some in np.split(number, range(CODES, len(rows), CODES)):
        total += abs(unit[some] @ unit.T)[number > some[:, None]].sum()
    return float(total / (len(rows) * (len(rows) - 1) / 2))


@checked(n_unseen=integer, decay=number)
def running_accuracy(batch_accuracies: Float[ArrayLike, "..."], n_unseen=0, decay=0.99) -> float:
    """Exponential moving average v <- (1 - decay) accuracy + decay v from v = 0: the reference's CAS (Q16).

    batch_accuracies  in the order of training: the test batches of epoch 1, then of epoch 2, ...
    n_unseen          how many earlier batches were not evaluated; they count as the weighted mean of the given ones,
                      so the given ones' average is rescaled to the total weight 1 - decay^(all batches)
    raises            BadInput for no accuracies, a negative n_unseen or a decay outside (0, 1)
    """
    accuracies = float_array(batch_accuracies, "accuracies").ravel()
    if accuracies.size == 0 or n_unseen < 0 or not 0 < decay < 1:
        raise BadInput(
            f"expected accuracies, n_unseen >= 0 and 0 < decay < 1; got {accuracies.size}, {n_unseen} and {decay}"
        )
    weights = decay ** np.arange(accuracies.size)[::-1]  # the last batch weighs most
    return float(np.average(accuracies, weights=weights) * (1 - decay ** (n_unseen + accuracies.size)))
