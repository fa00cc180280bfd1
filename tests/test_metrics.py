"""Metrics against the same maths written as loops, scipy, closed forms, and numbers known for real series."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ncvqvae_lite import metrics
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.fcn import FCN, batched
from ncvqvae_lite.metrics import (
    codebook_similarity,
    frechet_distance,
    inception_score,
    knn_accuracy,
    perplexity,
    reconstruction_error,
    running_accuracy,
    svm_accuracy,
    token_usage,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def scaled(data):
    """Train and test series, scaled by the scalar mean and population std of the whole train matrix."""
    mean, std = data.x_train.double().mean().float(), data.x_train.double().std(correction=0).float()
    return (data.x_train - mean) / std, (data.x_test - mean) / std


class HalvingTokenizer(nn.Module):
    """Reconstructs x / 2 in eval mode, nothing in train mode; its "spectrum" error is the mean square of x."""

    def __init__(self):
        super().__init__()
        self.frozen_part = nn.BatchNorm1d(1).eval()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.batch_sizes = []

    def reconstruction_loss(self, x):
        self.batch_sizes.append(len(x))
        x_hat = torch.zeros_like(x) if self.training else self.scale * x
        return (x - x_hat).square().mean(), x.square().mean()


class TestReconstructionError:
    @pytest.mark.parametrize("n", [1, 127, 128, 129, 256, 300])
    def test_full_mean_and_last_batch(self, n):
        x, tokenizer = torch.randn(n, 1, 6) * torch.linspace(1, 5, n)[:, None, None], HalvingTokenizer().train()
        tokenizer.frozen_part.eval()
        error = reconstruction_error(tokenizer, x)
        per_series = [1.25 * np.mean(series.double().numpy() ** 2) for series in x]
        assert error.mean == pytest.approx(np.mean(per_series), rel=1e-5)
        assert error.last_batch == pytest.approx(np.mean(per_series[-(n % 128 or 128) :]), rel=1e-5)
        assert type(error.mean) is float and type(error.last_batch) is float
        assert tokenizer.batch_sizes == [128] * (n // 128) + ([n % 128] if n % 128 else [])
        assert tokenizer.training and not tokenizer.frozen_part.training

    def test_refuses_no_series(self):
        for x in (torch.zeros(0, 1, 6), torch.zeros(4, 6)):
            with pytest.raises(BadInput, match="at least one series"):
                reconstruction_error(HalvingTokenizer(), x)


def blobs(rng, n, n_classes=3, dim=5, spread=0.1):
    """Separable classes in `dim` dimensions, each column on a scale of its own."""
    y = np.arange(n) % n_classes
    return (np.eye(n_classes, dim)[y] + spread * rng.normal(size=(n, dim))) * 10.0 ** np.arange(dim), y


class TestProbes:
    @pytest.mark.parametrize("probe", [knn_accuracy, svm_accuracy])
    def test_separable_and_shuffled(self, rng, probe):
        (z_train, y_train), (z_test, y_test) = blobs(rng, 300), blobs(rng, 600)
        assert probe(z_train, y_train, z_test, y_test) == 1.0
        chance = probe(z_train, rng.permutation(y_train), z_test, rng.permutation(y_test))
        assert abs(chance - 1 / 3) < 4 * math.sqrt(2 / 9 / 600)  # four standard errors of 600 guesses

    def test_numpy_and_torch_agree(self, rng):
        (z_train, y_train), (z_test, y_test) = blobs(rng, 90, spread=0.6), blobs(rng, 90, spread=0.6)
        tensors = [torch.tensor(v) for v in (z_train, y_train, z_test, y_test)]
        for probe in (knn_accuracy, svm_accuracy):
            result = probe(*tensors)
            assert type(result) is float and 0.5 < result < 1 and result == probe(z_train, y_train, z_test, y_test)

    def test_knn_equals_loops(self, rng):
        (z_train, y_train), (z_test, y_test) = blobs(rng, 60, spread=0.8), blobs(rng, 80, spread=0.8)
        low, high = z_train.min(axis=0), z_train.max(axis=0)
        scale = lambda z: 2 * (z - low) / (high - low) - 1  # noqa: E731
        correct = 0
        for series, label in zip(scale(z_test), y_test, strict=True):
            nearest = np.argsort([np.sqrt(((series - other) ** 2).sum()) for other in scale(z_train)])[:5]
            correct += np.bincount(y_train[nearest], minlength=3).argmax() == label
        assert knn_accuracy(z_train, y_train, z_test, y_test) == pytest.approx(correct / 80)

    def test_svm_boundary_is_that_of_c_1(self):
        """Minimise w^2 / 2 + sum of hinge losses over a grid; the boundary is 0.1 (C = 3: -0.2, C = 0.3: 0.5)."""
        z_train, y_train = np.array([-1.0, -0.9, -0.8, -0.7, 0.0, 1.0]), np.array([0, 0, 0, 0, 1, 1])
        w, b = np.meshgrid(np.linspace(0, 6, 601), np.linspace(-3, 3, 601), indexing="ij")
        hinges = [np.maximum(0, 1 - sign * (w * z + b)) for z, sign in zip(z_train, 2 * y_train - 1, strict=True)]
        best = np.argmin(w**2 / 2 + sum(hinges))
        boundary = -b.flat[best] / w.flat[best]
        z_test = np.array([[boundary - 0.05], [boundary + 0.05]])
        assert svm_accuracy(z_train[:, None], y_train, z_test, np.array([0, 1])) == 1.0
        assert svm_accuracy(100 + 7 * z_train[:, None], y_train, 100 + 7 * z_test, np.array([0, 1])) == 1.0

    def test_svm_is_linear(self):
        square, exclusive_or = np.array([[0, 0], [1, 1], [0, 1], [1, 0]] * 5), np.array([0, 0, 1, 1] * 5)
        assert svm_accuracy(square, exclusive_or, square, exclusive_or) <= 0.75  # no line separates it
        assert knn_accuracy(square, exclusive_or, square, exclusive_or) == 1.0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (dict(z_train=np.zeros((4, 5)), y_train=np.arange(4)), "fewer than the 5"),
            (dict(y_train=np.zeros(60)), "at least two classes"),
            (dict(y_train=np.arange(59) % 2), "need labels of shape"),
            (dict(y_test=np.zeros((60, 1))), "need labels of shape"),
            (dict(z_test=np.zeros((60, 4))), "use one net"),
            (dict(z_test=np.zeros((0, 5)), y_test=np.zeros(0)), "expected shape"),
            (dict(z_train=np.full((60, 5), np.nan)), "NaN or infinite values in 60 rows"),
        ],
    )
    def test_bad_input(self, rng, change, message):
        (z_train, y_train), (z_test, y_test) = blobs(rng, 60), blobs(rng, 60)
        arguments = dict(z_train=z_train, y_train=y_train, z_test=z_test, y_test=y_test) | change
        with pytest.raises(BadInput, match=message):
            knn_accuracy(**arguments)


def frechet_by_sqrtm(a, b):
    """The textbook formula: covariances by loops, and a matrix square root."""
    covariances = []
    for z in (a, b):
        mean = z.mean(axis=0)
        covariances.append(sum(np.outer(row - mean, row - mean) for row in z) / (len(z) - 1))
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


def frechet_by_eigenvalues(a, b):
    """The trace of the root as the sum of the roots of the product's eigenvalues: works for any rank."""
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    eigenvalues = np.linalg.eigvals(cov_a @ cov_b).real.clip(0)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * np.sqrt(eigenvalues).sum()


def sample_with(mean, covariance, n, rng):
    """n rows whose sample mean and unbiased covariance are exactly the given ones."""
    rows = rng.normal(size=(n, len(mean)))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    return rows @ np.linalg.cholesky(covariance).T + mean


class TestFrechetDistance:
    @settings(max_examples=30, deadline=None)
    @given(n=st.integers(8, 40), m=st.integers(8, 40), dim=st.integers(1, 6), seed=st.integers(0, 1000))
    def test_equals_sqrtm(self, n, m, dim, seed):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)), 3 * rng.normal(size=(m, dim)) + 1
        assert frechet_distance(a, b) == pytest.approx(frechet_by_sqrtm(a, b), rel=1e-6, abs=1e-6)

    def test_commuting_gaussians(self, rng):
        """With covariances Q diag(s) Q^T and Q diag(t) Q^T: |mean shift|^2 + sum (sqrt s - sqrt t)^2."""
        q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
        s, t, shift = rng.uniform(0.1, 5, 6), rng.uniform(0.1, 5, 6), rng.normal(size=6)
        a = sample_with(np.zeros(6), q @ np.diag(s) @ q.T, 50, rng)
        b = sample_with(shift, q @ np.diag(t) @ q.T, 70, rng)
        closed_form = shift @ shift + ((np.sqrt(s) - np.sqrt(t)) ** 2).sum()
        assert frechet_distance(a, b) == pytest.approx(closed_form, rel=1e-10)

    def test_one_dimension(self):
        a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0], [9.0]])  # means 1, 5; unbiased variances 2, 16
        assert frechet_distance(a, b) == pytest.approx(16 + (math.sqrt(2) - 4) ** 2, rel=1e-12)

    def test_fewer_rows_than_columns(self, rng):
        """27 rows in 128 dimensions. No shared columns: the root of S_a S_b is 0; b = 2 a: it is 2 S_a."""
        a, b = np.zeros((27, 128)), np.zeros((30, 128))
        a[:, :64], b[:, 64:] = rng.normal(size=(27, 64)), rng.normal(size=(30, 64)) + 1
        disjoint = ((a.mean(0) - b.mean(0)) ** 2).sum() + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum()
        assert frechet_distance(a, b) == pytest.approx(disjoint, rel=1e-12)
        assert frechet_distance(a, 2 * a) == pytest.approx((a.mean(0) ** 2).sum() + a.var(0, ddof=1).sum(), rel=1e-12)
        mixed = b + np.roll(b, 64, axis=1)
        assert frechet_distance(a, mixed) == pytest.approx(frechet_by_eigenvalues(a, mixed), rel=1e-5)

    def test_properties(self, rng):
        a, b = rng.normal(size=(50, 8)), 2 * rng.normal(size=(40, 8))
        turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
        assert 0 <= frechet_distance(a, a) < 1e-12
        assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
        assert frechet_distance(a, a + 3) == pytest.approx(8 * 9, rel=1e-12)
        assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-10)
        as_tensors = frechet_distance(torch.tensor(a, requires_grad=True), torch.tensor(b))
        assert type(as_tensors) is float and as_tensors == frechet_distance(a, b)

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            (np.zeros((1, 3)), np.zeros((5, 3))),
            (np.zeros((5, 3)), np.zeros((5, 4))),
            (np.zeros(5), np.zeros((5, 1))),
            (np.full((5, 3), np.inf), np.zeros((5, 3))),
        ],
    )
    def test_bad_input(self, a, b):
        with pytest.raises(BadInput):
            frechet_distance(a, b)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            pytest.param("ECG5000", 0.2575, marks=pytest.mark.slow),
            pytest.param("TwoPatterns", 0.2963, marks=pytest.mark.slow),
            ("SonyAIBORobotSurface2", 1.9042),
        ],
    )
    def test_train_against_test_of_real_series(self, real_data, reference_fcn, name, expected):
        """Known values of the reference's FCN, all series whole (an odd length keeps its last sample)."""
        data, net = real_data(name), FCN.load(reference_fcn(name))
        train, test = (batched(net.features, x) for x in scaled(data))
        distance = frechet_distance(train, test)
        assert distance == pytest.approx(expected, abs=0.6e-4)
        by_eigenvalues = frechet_by_eigenvalues(train.double().numpy(), test.double().numpy())
        assert distance == pytest.approx(by_eigenvalues, abs=1e-5)

    def test_real_series_of_odd_length_cut_by_one(self, real_data, reference_fcn):
        """65 steps become 64 in the reference's STFT round trip (Q12): then the same sets are 1.83 apart, not 1.90."""
        data, net = real_data("SonyAIBORobotSurface2"), FCN.load(reference_fcn("SonyAIBORobotSurface2"))
        train, test = (batched(net.features, x[..., :64]) for x in scaled(data))
        assert frechet_distance(train, test) == pytest.approx(1.83, abs=0.005)


class TestInceptionScore:
    @settings(max_examples=20, deadline=None)
    @given(n=st.integers(10, 47), k=st.integers(2, 6), n_splits=st.integers(1, 10), seed=st.integers(0, 99))
    def test_equals_loops(self, n, k, n_splits, seed):
        p = np.random.default_rng(seed).dirichlet(np.full(k, 0.3), size=n)
        scores, size = [], n // n_splits
        for split in range(n_splits):
            part = p[split * size : (split + 1) * size]
            scores.append(np.exp(np.mean([scipy.stats.entropy(row, part.mean(axis=0)) for row in part])))
        result = inception_score(p, n_splits, seed=None)
        assert result == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9, abs=1e-9)
        assert type(result.mean) is float and type(result.std) is float

    def test_bounds(self):
        certain = np.eye(4)[np.arange(400) % 4]
        assert inception_score(certain, seed=None) == pytest.approx((4.0, 0.0), abs=1e-9)  # each class, surely
        assert inception_score(certain[:1].repeat(400, axis=0), seed=None) == pytest.approx((1.0, 0.0))
        assert inception_score(np.full((50, 4), 0.25)) == pytest.approx((1.0, 0.0))

    def test_seed_shuffles(self):
        sorted_by_class = np.eye(4)[np.arange(400) // 100]
        assert inception_score(sorted_by_class, seed=None).mean < 2  # a split sees one or two classes
        shuffled = inception_score(sorted_by_class, seed=3)
        assert 3.5 < shuffled.mean < 4 and shuffled == inception_score(torch.tensor(sorted_by_class), seed=3)
        assert shuffled != inception_score(sorted_by_class, seed=4)

    def test_bad_input(self):
        p = np.full((9, 2), 0.5)
        with pytest.raises(BadInput, match="10 splits need as many samples, got 9"):
            inception_score(p)
        for bad in (p * 3, p - [[1.0, -1.0]]):
            with pytest.raises(BadInput, match="not logits"):
                inception_score(bad, n_splits=3)

    def test_real_two_patterns(self, real_data, reference_fcn):
        """The real test split scores 3.47 of 4 with the reference's FCN."""
        data, net = real_data("TwoPatterns"), FCN.load(reference_fcn("TwoPatterns"))
        _, x_test = scaled(data)
        assert inception_score(batched(net.probabilities, x_test)).mean == pytest.approx(3.47, abs=0.01)


class TestTokens:
    @settings(max_examples=30, deadline=None)
    @given(tokens=st.lists(st.integers(0, 6), min_size=1, max_size=60), spare=st.integers(1, 5))
    def test_equals_loops(self, tokens, spare):
        size = 6 + spare
        counts = [sum(t == k for t in tokens) for k in range(size)]
        shares = [c / len(tokens) for c in counts]
        usage = token_usage(np.array(tokens), size)
        assert usage.counts.tolist() == counts
        assert usage.coverage == pytest.approx(len(set(tokens)) / size)
        assert usage.entropy == pytest.approx(-sum(p * math.log(p) for p in shares if p > 0), abs=1e-12)
        differences = sum(abs(a - b) for a, b in itertools.product(counts, counts))
        assert usage.gini == pytest.approx(differences / (2 * size * sum(counts)), abs=1e-12)
        by_formula = math.exp(-sum(p * math.log(p + 1e-10) for p in shares))
        assert usage.perplexity == perplexity(torch.tensor(tokens).view(1, -1), size) == pytest.approx(by_formula)

    def test_extremes(self):
        even, alike = token_usage(torch.arange(32).repeat(3, 2), 32), token_usage(torch.full((5, 8), 7), 32)
        assert even.counts.tolist() == [6] * 32
        assert even[1:] == pytest.approx((32, 1, math.log(32), 0))
        assert alike[1:] == pytest.approx((1, 1 / 32, 0, 31 / 32), abs=1e-8)
        assert all(type(value) is float for value in (*even[1:], *alike[1:]))

    @pytest.mark.parametrize("tokens", [[], [0.5], [-1, 2], [3, 4]])
    def test_bad_input(self, tokens):
        for statistic in (token_usage, perplexity):
            with pytest.raises(BadInput):
                statistic(np.array(tokens), 4)


class TestCodebookSimilarity:
    def test_equals_loops(self, rng):
        codebook = rng.normal(size=(6, 10)) + 0.5
        pairs = list(itertools.combinations(codebook, 2))
        correlation = np.mean([abs(scipy.stats.pearsonr(a, b).statistic) for a, b in pairs])
        cosine = np.mean([abs(a @ b) / math.sqrt((a @ a) * (b @ b)) for a, b in pairs])
        assert codebook_similarity(codebook) == pytest.approx((correlation, cosine))
        assert codebook_similarity(torch.tensor(codebook) * 1e-30) == pytest.approx((correlation, cosine))

    def test_dead_rows_are_left_out(self, rng):
        live = rng.normal(size=(4, 10))
        with_zeros = np.vstack([np.zeros((2, 10)), live, np.zeros((1, 10))])
        assert codebook_similarity(with_zeros) == pytest.approx(codebook_similarity(live))
        with_constant = np.vstack([live, np.full((1, 10), 0.1)])  # has a cosine, but no correlation
        assert codebook_similarity(with_constant).abs_corr == pytest.approx(codebook_similarity(live).abs_corr)
        cosines = [abs(a @ b) / math.sqrt((a @ a) * (b @ b)) for a, b in itertools.combinations(with_constant, 2)]
        assert codebook_similarity(with_constant).abs_cos == pytest.approx(np.mean(cosines))

    def test_fewer_than_two_live_rows(self):
        one_code = np.vstack([np.zeros((3, 4)), [[1.0, 2, 3, 4]]])
        assert all(math.isnan(value) for value in codebook_similarity(one_code))

    def test_nan_is_refused(self):
        with pytest.raises(BadInput, match="NaN"):
            codebook_similarity(np.full((3, 4), np.nan))


class TestRunningAccuracy:
    @staticmethod
    def loop(accuracies, decay=0.99):
        v = 0.0
        for accuracy in accuracies:
            v = (1 - decay) * accuracy + decay * v
        return v

    def test_equals_loop(self, rng):
        accuracies = rng.uniform(size=700)
        assert running_accuracy(accuracies) == pytest.approx(self.loop(accuracies))
        assert running_accuracy(torch.tensor(accuracies), decay=0.9) == pytest.approx(self.loop(accuracies, 0.9))
        assert type(running_accuracy([1])) is float and running_accuracy([1]) == pytest.approx(0.01)

    @settings(max_examples=20, deadline=None)
    @given(n_tail=st.integers(1, 200), n_unseen=st.integers(0, 500), seed=st.integers(0, 99))
    def test_unseen_batches_count_as_the_tails_weighted_mean(self, n_tail, n_unseen, seed):
        tail = np.random.default_rng(seed).uniform(size=n_tail)
        weights = [0.99 ** (n_tail - 1 - i) for i in range(n_tail)]
        typical = sum(w * v for w, v in zip(weights, tail, strict=True)) / sum(weights)
        assert running_accuracy(tail, n_unseen) == pytest.approx(self.loop([typical] * n_unseen + list(tail)))

    @pytest.mark.parametrize(("accuracies", "n_unseen", "decay"), [([], 0, 0.99), ([0.5], -1, 0.99), ([0.5], 0, 1.0)])
    def test_bad_input(self, accuracies, n_unseen, decay):
        with pytest.raises(BadInput):
            running_accuracy(accuracies, n_unseen, decay)


def test_svm_of_collapsed_features_comes_to_an_end(monkeypatch):
    """Five places on a line, apart from rounding, with labels by chance: libsvm never meets its tolerance here."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    rng = np.random.default_rng(41)
    places = np.repeat([-1, -0.5, 0, 0.5, 1.0], [9, 7, 8, 1, 1])
    z = places[:, None] * np.ones(64) + 1e-6 * rng.normal(size=(26, 64))
    y = rng.permutation([1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    with pytest.warns(ConvergenceWarning):
        SVC(kernel="linear", C=1.0, max_iter=1_000_000).fit(z, y)
    monkeypatch.setattr(metrics, "SVM_STEPS", 1_000_000)
    assert svm_accuracy(z, y, z, y) >= max(y.mean(), 1 - y.mean())  # as good as naming the larger class
