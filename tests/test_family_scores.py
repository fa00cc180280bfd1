"""Probes, retrieval and density beside scikit-learn; ranks and spreads beside their formulas, written as loops."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family.common import (
    alignment,
    class_separation,
    density_score,
    effective_rank,
    farthest_hubs,
    knn_probe,
    linear_probe,
    mean_correlation,
    neighbours,
    precision_at,
    rank_auc,
    standard_error,
    uniformity,
)

RNG = np.random.default_rng(4)
Y_TRAIN, Y_TEST = RNG.integers(3, size=90), RNG.integers(3, size=60)
F_TRAIN = RNG.standard_normal((90, 5)) + Y_TRAIN[:, None]
F_TEST = RNG.standard_normal((60, 5)) + Y_TEST[:, None]
SPLITS = (F_TRAIN, Y_TRAIN, F_TEST, Y_TEST)


# --- probes ---


@pytest.mark.parametrize("standardise", [True, False])
def test_linear_probe_is_the_minimum_of_its_loss(standardise):
    """Its share of right answers is that of weights at which the gradient of C sum log-loss + |w|^2 / 2 is 0."""
    mean, deviation = (F_TRAIN.mean(axis=0), F_TRAIN.std(axis=0)) if standardise else (0, 1)
    train, test = ((f * [1, 5, 0.2, 1, 1] - mean) / deviation for f in (F_TRAIN, F_TEST))
    if standardise:
        train, test = ((f - mean) / deviation for f in (F_TRAIN, F_TEST))
    x, y = torch.tensor(train), torch.tensor(Y_TRAIN)
    w = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ w + b, y, reduction="sum") + (w**2).sum() / 2
        value.backward()
        return value

    optimizer.step(loss)
    right = ((torch.tensor(test) @ w + b).argmax(dim=1).numpy() == Y_TEST).mean()
    f_train, f_test = (F_TRAIN, F_TEST) if standardise else (train, test)
    assert linear_probe(f_train, Y_TRAIN, f_test, Y_TEST, standardise=standardise) == pytest.approx(right, abs=1 / 60)
    if not standardise:
        fitted = LogisticRegression(max_iter=1000).fit(train, Y_TRAIN)
        assert linear_probe(train, Y_TRAIN, test, Y_TEST, standardise=False) == fitted.score(test, Y_TEST)


def test_standardising_undoes_a_collapse_in_numbers_only():
    tiny = [1e-6 * f + 1 for f in (F_TRAIN, F_TEST)]
    collapsed = linear_probe(tiny[0], Y_TRAIN, tiny[1], Y_TEST, standardise=False)
    assert collapsed < 0.45 < linear_probe(tiny[0], Y_TRAIN, tiny[1], Y_TEST) == linear_probe(*SPLITS)


@pytest.mark.parametrize("k", [1, 2, 5, 90])
def test_knn_probe(k):
    fitted = KNeighborsClassifier(k, algorithm="brute").fit(F_TRAIN, Y_TRAIN)
    assert knn_probe(*SPLITS, k=k) == pytest.approx(fitted.score(F_TEST, Y_TEST), abs=1e-12)
    names = np.array(["a", "b", "c"])
    assert knn_probe(F_TRAIN, names[Y_TRAIN], torch.tensor(F_TEST), names[Y_TEST], k=k) == knn_probe(*SPLITS, k=k)


def test_series_are_taken_as_rows():
    series = [torch.tensor(f).view(-1, 1, 5) for f in (F_TRAIN, F_TEST)]
    assert knn_probe(series[0], Y_TRAIN, series[1], Y_TEST) == knn_probe(*SPLITS)


# --- retrieval and density ---


@pytest.mark.parametrize("k", [1, 3, 89])
def test_neighbours_and_what_is_made_of_them(k, monkeypatch):
    monkeypatch.setattr("ncvqvae_lite.family.scores.ROWS", 40)  # several blocks
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(F_TRAIN)
    distance, index = search.kneighbors()  # without each row itself
    found = neighbours(F_TRAIN, k=k)
    np.testing.assert_allclose(found.distance, distance)
    assert np.array_equal(found.index, index) and found.index.dtype == np.int64
    assert precision_at(F_TRAIN, Y_TRAIN, k) == pytest.approx((Y_TRAIN[index] == Y_TRAIN[:, None]).mean())
    np.testing.assert_allclose(density_score(F_TRAIN, k=k), distance.mean(axis=1))
    distance, index = search.kneighbors(F_TEST)
    np.testing.assert_allclose(density_score(F_TRAIN, F_TEST, k), distance.mean(axis=1))
    assert np.array_equal(neighbours(F_TRAIN, F_TEST, k).index, index)


def test_equal_rows_are_no_neighbours_of_themselves():
    f = np.array([[0.0], [0.0], [1.0]])
    assert neighbours(f, k=2).index.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_farthest_hubs():
    f = np.array([[0.0], [1.0], [2.0], [3.0], [50.0], [-40.0]])
    hubs = farthest_hubs(f, k=1)
    assert hubs.index.tolist() == [4] and hubs.share == 5 / 6  # the query 50 itself has another one
    loop = [sorted(range(90), key=lambda j, i=i: -np.linalg.norm(F_TRAIN[i] - F_TRAIN[j]))[:5] for i in range(90)]
    counts = np.bincount(np.ravel(loop), minlength=90)
    found = farthest_hubs(F_TRAIN, k=5)
    assert counts[found.index].tolist() == sorted(counts)[:-6:-1]
    assert found.share == pytest.approx(np.isin(loop, found.index).mean())


def test_auc_by_ranks_counts_pairs():
    normal, anomalous = RNG.integers(20, size=50).astype(float), RNG.integers(10, 30, size=50).astype(float)
    pairs = sum((a > n) + (a == n) / 2 for a in anomalous for n in normal) / 2500
    assert rank_auc(normal, anomalous) == pytest.approx(pairs, abs=1e-12)
    truth = np.repeat([0, 1], 50)
    assert rank_auc(normal, anomalous) == pytest.approx(roc_auc_score(truth, np.concatenate([normal, anomalous])))
    assert rank_auc([1, 2], [3, 4]) == 1 and rank_auc([3, 4], [1, 2]) == 0 and rank_auc([1, 1], [1]) == 0.5


# --- how features fill their space ---


def test_effective_rank():
    assert effective_rank(np.ones((9, 4))) == pytest.approx(1)
    assert effective_rank(np.zeros((9, 4))) == 0
    columns = np.linalg.qr(RNG.standard_normal((9, 4)))[0]
    assert effective_rank(7 * columns) == pytest.approx(4)
    values = [3, 1, 0, 0]
    p = [3 / 4, 1 / 4]
    assert effective_rank(columns * values) == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)))


def test_mean_correlation_and_class_separation_equal_loops():
    f = np.column_stack([F_TRAIN, np.full(90, 3.0)])  # a constant column is left out
    loop = [abs(np.corrcoef(F_TRAIN[:, i], F_TRAIN[:, j])[0, 1]) for i in range(5) for j in range(5) if i != j]
    assert mean_correlation(f) == pytest.approx(np.mean(loop))
    between = within = 0.0
    for row, label in zip(F_TRAIN, Y_TRAIN, strict=True):
        mean = F_TRAIN[Y_TRAIN == label].mean(axis=0)
        between += sum((mean - F_TRAIN.mean(axis=0)) ** 2)
        within += sum((row - mean) ** 2)
    assert class_separation(F_TRAIN, Y_TRAIN) == pytest.approx(between / within)


def test_alignment_and_uniformity_equal_loops():
    a, b = F_TRAIN[:12], F_TEST[:12]
    u, v = ([row / math.sqrt(sum(row**2)) for row in z] for z in (a, b))
    assert alignment(a, b) == pytest.approx(sum(sum((p - q) ** 2) for p, q in zip(u, v, strict=True)) / 12)
    loop = [math.exp(-2 * sum((u[i] - u[j]) ** 2)) for i in range(12) for j in range(12) if i != j]
    assert uniformity(a) == pytest.approx(math.log(sum(loop) / len(loop)))
    assert alignment(a, 3 * a) == pytest.approx(0) and uniformity(np.ones((4, 3))) == pytest.approx(0, abs=1e-12)
    assert alignment(a, -a) == pytest.approx(4) and uniformity([[1.0], [-1.0]]) == pytest.approx(-8)
    many = RNG.standard_normal((800, 500))
    assert uniformity(many) == pytest.approx(-4, abs=0.05)  # cosines near 0: |u - u'|^2 near 2


def test_standard_error():
    assert standard_error(0.88, 100) == pytest.approx(0.0325, abs=1e-4) and standard_error(1.0, 10) == 0


# --- refused ---

BAD = F_TRAIN.copy()
BAD[3, 1] = math.nan


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: neighbours(F_TRAIN, k=90), "k=90 of 89 other rows: k must be below the number of series"),
        (lambda: precision_at(F_TRAIN, Y_TRAIN, k=90), "k must be below"),
        (lambda: density_score(F_TRAIN, F_TEST, k=91), "k=91 of 90"),
        (lambda: farthest_hubs(F_TRAIN, k=90), "k must be below"),
        (lambda: knn_probe(*SPLITS, k=0), "k must be a whole number of 1 or more"),
        (lambda: knn_probe(F_TRAIN, Y_TRAIN, F_TEST[:, :4], Y_TEST), "train features has 5 columns, test features 4"),
        (lambda: linear_probe(BAD, Y_TRAIN, F_TEST, Y_TEST), "train features: NaN or infinite values in 1 rows"),
        (lambda: linear_probe(F_TRAIN, Y_TRAIN[:9], F_TEST, Y_TEST), "90 train series need labels"),
        (lambda: linear_probe(F_TRAIN, 0 * Y_TRAIN, F_TEST, Y_TEST), "at least two classes"),
        (lambda: linear_probe(*SPLITS, standardise=2), "standardise must be True or False"),
        (lambda: density_score(BAD), "NaN"),
        (lambda: effective_rank(BAD), "NaN"),
        (lambda: rank_auc([1.0], [math.nan]), "anomalous scores: NaN"),
        (lambda: mean_correlation(np.ones((5, 3))), "0 columns vary"),
        (lambda: class_separation(np.ones((4, 2)), [0, 0, 1, 1]), "all the same"),
        (lambda: alignment(F_TRAIN, F_TEST), "two views of one shape"),
        (lambda: uniformity(F_TRAIN[:1]), "at least 2 embeddings"),
    ],
)
def test_refused_in_one_sentence(call, words):
    with pytest.raises(BadInput, match=words) as error:
        call()
    assert "\n" not in str(error.value)
