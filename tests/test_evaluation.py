"""Scores of generated series against loops, closed forms, the package of their authors, and series that are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.evaluation import (
    KernelFeatures,
    KernelSpace,
    allot,
    class_mix_distance,
    copy,
    jitter,
    manifold_scores,
    nearest_train,
)
from ncvqvae_lite.evaluation.copies import nearest_distances
from ncvqvae_lite.evaluation.manifold import expected_coverage
from ncvqvae_lite.metrics import frechet_distance


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def patterns():
    """200 train and 800 test series of one source, (n, 1, 128)."""
    return two_patterns(n_train=200, n_test=800)


def responses(x, weights, bias, dilation, padding):
    """What one kernel (C, taps) answers to one series (C, L), step by step."""
    padded = np.pad(x, ((0, 0), (padding, padding)))
    steps = padded.shape[1] - (weights.shape[1] - 1) * dilation
    window = (weights.shape[1] - 1) * dilation + 1
    return np.array([bias + (weights * padded[:, t : t + window : dilation]).sum() for t in range(steps)])


class TestKernelFeatures:
    @pytest.mark.parametrize(("channels", "length"), [(1, 2), (1, 16), (3, 40), (2, 101)])
    def test_against_loops(self, rng, channels, length):
        x, kernels = rng.standard_normal((3, channels, length)), KernelFeatures(channels, length, n_kernels=20)
        expected = []
        for dilation, padding, weights, biases in kernels.groups:
            for w, b in zip(weights.double().numpy(), biases.double().numpy()):
                expected.append([responses(series, w, b, dilation, padding) for series in x])
        largest = np.array([[r.max() for r in kernel] for kernel in expected]).T
        positive = np.array([[(r > 0).mean() for r in kernel] for kernel in expected]).T
        features = kernels(x).numpy()
        assert features.shape == (3, 40)
        np.testing.assert_allclose(features, np.concatenate([largest, positive], axis=1), atol=1e-5)

    @pytest.mark.parametrize(("channels", "length"), [(1, 8), (1, 16), (5, 128), (1, 2048)])
    def test_kernels_are_those_of_rocket(self, channels, length):
        groups = KernelFeatures(channels, length, n_kernels=600).groups
        assert sum(len(weights) for _, _, weights, _ in groups) == 600
        channels_read, padded, biases = [], 0, np.concatenate([biases for *_, biases in groups])
        for dilation, padding, weights, _ in groups:
            taps = weights.shape[2]
            reach = (taps - 1) * dilation
            assert taps in {min(size, length) for size in (7, 9, 11)} and 1 <= dilation and reach < length
            assert padding in (0, reach // 2)
            np.testing.assert_allclose(weights.sum(dim=2), 0, atol=1e-5)
            padded += len(weights) * (padding > 0)
            channels_read += (weights != 0).any(dim=2).sum(dim=1).tolist()
        assert abs(padded - 300) < 4 * math.sqrt(150) and -1 <= biases.min() < -0.9 and 0.9 < biases.max() < 1
        assert set(channels_read) == set(range(1, channels + 1))
        if length == 2048:  # octaves are equally likely: half of the dilations exceed the middle one
            high = sum(len(w) for dilation, _, w, _ in groups if dilation > math.sqrt(2047 / (w.shape[2] - 1)))
            assert abs(high - 300) < 4 * math.sqrt(150)

    def test_equal_seeds_equal_numbers(self, rng):
        x = torch.from_numpy(rng.standard_normal((70, 2, 50)))
        features = KernelFeatures(2, 50, n_kernels=30, seed=5)(x)
        assert torch.equal(features, KernelFeatures(2, 50, n_kernels=30, seed=5)(x))
        assert not torch.equal(features, KernelFeatures(2, 50, n_kernels=30, seed=6)(x))
        torch.testing.assert_close(features[65:], KernelFeatures(2, 50, n_kernels=30, seed=5)(x[65:]))

    @pytest.mark.parametrize("shape", [(3, 16), (3, 2, 16), (3, 1, 17)])
    def test_other_series_are_refused(self, shape):
        with pytest.raises(BadInput, match=r"expected shape \(n, 1, 16\)"):
            KernelFeatures(1, 16)(torch.zeros(shape))
        with pytest.raises(BadInput, match="1 channels, 1 steps and 500 kernels give no features"):
            KernelFeatures(1, 1)


class TestKernelSpace:
    def test_train_features_are_centred_uncorrelated_and_of_total_variance_1(self, patterns):
        features = KernelSpace(patterns.x_train).features(patterns.x_train)
        covariance = np.cov(features.T)
        assert features.shape == (200, 64) and features.dtype == np.float64
        np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
        assert np.trace(covariance) == pytest.approx(1)

    def test_distances_are_those_of_all_features_where_all_components_are_kept(self, rng):
        """Of 20 train series 19 components are all there is: the space is their standardised features, turned."""
        x = rng.standard_normal((20, 1, 32))
        space = KernelSpace(x)
        raw = KernelFeatures(1, 32)((x - x.mean()) / x.std()).double().numpy()
        standard = (raw - raw.mean(axis=0)) / np.maximum(raw.std(axis=0), 0.01)
        gram = standard @ standard.T / (standard.var(axis=0, ddof=1).sum())
        features = space.features(x)
        assert features.shape == (20, 19)
        np.testing.assert_allclose(features @ features.T, gram, atol=1e-6)

    def test_units_of_channels_do_not_matter(self, rng):
        x, new = rng.standard_normal((30, 2, 64)), rng.standard_normal((10, 2, 64))
        scale, shift = np.array([[1000.0], [0.01]]), np.array([[-5.0], [7.0]])
        features = KernelSpace(x).features(new)
        np.testing.assert_allclose(KernelSpace(x * scale + shift).features(new * scale + shift), features, atol=1e-4)

    def test_order_in_time_is_seen(self, patterns):
        """Reversed series, and those whose halves or steps changed places, have the same values."""
        space = KernelSpace(patterns.x_train)
        real, half = space.features(patterns.x_test[:400]), patterns.x_test[400:]
        floor = frechet_distance(real, space.features(half))
        assert frechet_distance(real, space.features(half.flip(2))) > 2 * floor
        assert frechet_distance(real, space.features(half.roll(64, dims=2))) > 4 * floor
        assert frechet_distance(real, space.features(half[..., torch.randperm(128)])) > 30 * floor

    @pytest.mark.parametrize("shape", [(6, 1, 16), (5, 3, 20), (9, 1, 2048)])
    def test_few_short_and_long_series(self, rng, shape):
        x = rng.standard_normal(shape)
        features = KernelSpace(torch.tensor(x, dtype=torch.float32), n_kernels=100).features(x)
        assert features.shape == (shape[0], shape[0] - 1) and np.isfinite(features).all()

    def test_constant_series_and_channels(self, rng):
        levels = np.ones((8, 1, 32)) * rng.standard_normal((8, 1, 1))  # each is constant, they differ
        assert np.isfinite(KernelSpace(levels).features(np.zeros((2, 1, 32)))).all()
        x = rng.standard_normal((12, 2, 32))
        x[:, 1] = 3.0
        assert np.isfinite(KernelSpace(x).features(x + 1)).all()
        repeated = np.repeat(x[:4], 3, axis=0)  # 12 series that span 3 dimensions
        assert KernelSpace(repeated).features(x).shape == (12, 3)
        with pytest.raises(BadInput, match="no channel of the 6 train series ever varies"):
            KernelSpace(np.ones((6, 1, 32)))
        with pytest.raises(BadInput, match="all 6 train series are the same"):
            KernelSpace(np.repeat(x[:1], 6, axis=0))

    def test_bad_series_are_refused(self, rng):
        x = rng.standard_normal((4, 1, 32))
        with pytest.raises(BadInput, match="train series: expected at least 5 rows, got 4"):
            KernelSpace(x)
        x[1, 0, 3] = np.nan
        with pytest.raises(BadInput, match="NaN or infinite values in 1 of 8 rows, the first is row 1"):
            KernelSpace(np.concatenate([x, np.zeros((4, 1, 32))]))


def brute_force(real, generated, k_wide=5, k_narrow=3):
    """Precision, recall, density, coverage, one point after another."""

    def radius(points, i, k):
        return sorted(np.linalg.norm(points[i] - p) for j, p in enumerate(points) if j != i)[k - 1]

    def holds(centres, k, points):
        radii = [radius(centres, i, k) for i in range(len(centres))]
        return np.array([[np.linalg.norm(c - p) <= r for p in points] for c, r in zip(centres, radii)])

    wide = holds(real, k_wide, generated)
    precision = holds(real, k_narrow, generated).any(axis=0).mean()
    recall = holds(generated, k_narrow, real).any(axis=0).mean()
    return precision, recall, wide.sum() / (k_wide * len(generated)), wide.any(axis=1).mean()


class TestManifoldScores:
    def test_against_loops(self, rng):
        real, generated = rng.standard_normal((40, 3)), rng.standard_normal((40, 3)) * 0.8 + 0.5
        scores = manifold_scores(torch.from_numpy(real), generated)
        assert scores[:4] == pytest.approx(brute_force(real, generated)) and scores.n == 40

    def test_against_the_package_of_the_authors(self, rng):
        prdc = pytest.importorskip("prdc", reason="not installed: prdc")
        real, generated = rng.standard_normal((300, 8)), rng.standard_normal((300, 8)) * 0.9
        narrow, wide = (prdc.compute_prdc(real, generated, nearest_k=k) for k in (3, 5))
        scores = manifold_scores(real, generated)
        assert scores[:2] == pytest.approx((narrow["precision"], narrow["recall"]))
        assert scores[2:4] == pytest.approx((wide["density"], wide["coverage"]))

    @pytest.mark.parametrize("n", [6, 50])
    def test_equal_distributions_give_density_1_and_the_coverage_of_the_closed_form(self, rng, n):
        draws = [manifold_scores(*rng.standard_normal((2, n, 4))) for _ in range(300)]
        for expected, values in ((1, [d.density for d in draws]), (expected_coverage(n), [d.coverage for d in draws])):
            assert abs(np.mean(values) - expected) < 4 * np.std(values) / math.sqrt(300)
        assert expected_coverage(1000) == pytest.approx(0.969, abs=5e-4)

    def test_a_dropped_mode_lowers_recall_and_coverage_alone(self, rng):
        centres = 10 * np.eye(4)
        real, all_modes, three = (centres[rng.integers(k, size=800)] + rng.standard_normal((800, 4)) for k in (4, 4, 3))
        floor, dropped = manifold_scores(real, all_modes), manifold_scores(real, three)
        assert dropped.recall < floor.recall - 0.15 and dropped.coverage < floor.coverage - 0.15
        assert abs(dropped.precision - floor.precision) < 0.05 and abs(dropped.density - floor.density) < 0.1

    def test_points_on_the_edge_are_inside(self, rng):
        """Of points that are copied, each lies in its own ball and in those of its k neighbours' kind."""
        real = rng.standard_normal((30, 2))
        assert manifold_scores(real, real)[:4] == pytest.approx((1, 1, 6 / 5, 1))
        assert manifold_scores(np.ones((9, 2)), np.ones((7, 2)))[:4] == pytest.approx((1, 1, 7 / 5, 1))

    def test_equally_many_points_are_drawn_by_seed(self, rng):
        real, generated = rng.standard_normal((90, 2)), rng.standard_normal((60, 2))
        assert manifold_scores(real, generated).n == 60
        seeds = [manifold_scores(real, generated, at_most=40, seed=seed) for seed in (1, 1, 2)]
        assert seeds[0].n == 40 and seeds[0] == seeds[1] != seeds[2]

    def test_too_few_points_and_other_widths_are_refused(self):
        enough = np.zeros((9, 2))
        with pytest.raises(BadInput, match="generated features: expected at least 6 rows, got 5"):
            manifold_scores(enough, np.zeros((5, 2)))
        with pytest.raises(BadInput, match=r"generated features: expected shape \(n, 2\), got \(9, 3\)"):
            manifold_scores(enough, np.zeros((9, 3)))
        with pytest.raises(BadInput, match="at_most=5"):
            manifold_scores(enough, enough, at_most=5)


class TestNearestTrain:
    def test_copies_and_near_copies_and_new_series(self, patterns, generator):
        train, test, new = patterns.x_train, patterns.x_test[:400], patterns.x_test[400:]
        for copied in (copy(train, 300, generator), jitter(train, 300, generator)):
            score = nearest_train(copied, test, train)
            assert score == (1.0, 1.0, 1.0) and score.copied
        score = nearest_train(new, test, train)
        assert abs(score.auc - 0.5) < 0.05 and score.low < 0.5 < score.high and not score.copied
        half = torch.cat([new[:200], train])
        assert nearest_train(half, test, train).auc == pytest.approx(0.75, abs=0.03)

    def test_against_all_pairs(self, rng):
        generated, test, train = (rng.integers(3, size=(n, 2, 2)).astype(float) for n in (20, 30, 10))
        scale = train.std(axis=(0, 2))[:, None]
        near, far = ([min(np.linalg.norm((x - t) / scale) for t in train) for x in xs] for xs in (generated, test))
        pairs = [0.5 if math.isclose(a, b, abs_tol=1e-9) else a < b for a, b in itertools.product(near, far)]
        assert len(set(pairs)) == 3
        assert nearest_train(generated, torch.from_numpy(test), train).auc == pytest.approx(np.mean(pairs))

    def test_interval_holds_the_truth_about_95_times_in_100(self, rng):
        """New series of the same normal distribution: 0.5, up to where the train series happen to lie."""
        train = rng.standard_normal((50, 1, 2))
        held = 0
        for seed in range(100):
            score = nearest_train(*rng.standard_normal((2, 60, 1, 2)), train, n_bootstrap=100, seed=seed)
            held += score.low <= 0.5 <= score.high
        assert 86 <= held <= 99

    def test_a_copy_far_from_zero_is_at_distance_0(self, rng):
        train = 1e8 + rng.standard_normal((300, 1, 40))
        assert (nearest_distances(train[::-1], train) == 0).all()
        assert nearest_distances(train[:1] + 1e-4, train) == pytest.approx(1e-4 * math.sqrt(40), rel=1e-3)

    def test_other_lengths_are_refused(self):
        x = np.random.default_rng(0).standard_normal((6, 1, 20))
        with pytest.raises(BadInput, match=r"test series: expected shape \(n, 1, 20\), got \(6, 1, 19\)"):
            nearest_train(x, x[..., 1:], x)


class TestBaselines:
    def test_copy_repeats_train_series_evenly(self, generator):
        x = torch.arange(5.0)[:, None, None].expand(5, 2, 3)
        drawn = copy(x, 5000, generator)
        counts = torch.bincount(drawn[:, 0, 0].long(), minlength=5)
        assert drawn.shape == (5000, 2, 3) and torch.equal(drawn, x[drawn[:, 0, 0].long()])
        assert abs(counts - 1000).max() < 4 * math.sqrt(800)

    def test_jitter_adds_a_share_of_each_channels_deviation(self, generator):
        x = torch.randn(50, 2, 40, generator=generator) * torch.tensor([[1.0], [200.0]])
        rows = torch.Generator().manual_seed(3)
        noise = jitter(x, 400, torch.Generator().manual_seed(3), noise=0.1) - copy(x, 400, rows)
        measured = noise.std(dim=(0, 2)) / x.std(dim=(0, 2), correction=0)
        torch.testing.assert_close(measured, torch.full((2,), 0.1), rtol=0.03, atol=0)
        assert abs(noise.mean(dim=(0, 2)) / noise.std(dim=(0, 2))).max() < 4 / math.sqrt(400 * 40)

    def test_equal_seeds_equal_series(self, generator):
        x = torch.randn(9, 1, 20, generator=generator)
        one, other, third = (jitter(x, 30, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(one, other) and not torch.equal(one, third)

    def test_nothing_to_copy_is_refused(self, generator):
        with pytest.raises(BadInput, match="at least one train series"):
            copy(torch.zeros(0, 1, 20), 3, generator)

    @given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers(0, 200))
    def test_allotted_samples_are_the_shares_rounded_and_as_near_as_can_be(self, counts, n):
        allotted, exact = allot(counts, n), [n * count / sum(counts) for count in counts]
        assert sum(allotted) == n and all(type(a) is int and abs(a - e) < 1 for a, e in zip(allotted, exact))
        best = min(
            sum(abs(a - e) for a, e in zip(rounded, exact))
            for rounded in itertools.product(*[{math.floor(e), math.floor(e) + 1} for e in exact])
            if sum(rounded) == n
        )
        assert sum(abs(a - e) for a, e in zip(allotted, exact)) == pytest.approx(best)

    def test_allotted_by_the_first_class_among_equals(self):
        assert allot([1, 1, 1], 4) == [2, 1, 1]
        assert allot(torch.tensor([8, 5, 3, 0]), 32) == [16, 10, 6, 0]

    @pytest.mark.parametrize(("counts", "n"), [([], 3), ([0, 0], 3), ([2, -1], 3), ([1, 2], -1)])
    def test_counts_without_shares_are_refused(self, counts, n):
        with pytest.raises(BadInput, match="cannot allot"):
            allot(counts, n)


@pytest.mark.parametrize(
    ("real", "generated", "distance"),
    [
        ([0, 1, 1, 2], torch.tensor([2, 1, 0, 1]), 0),
        ([0, 0], [1], 1),
        (["a", "b"], ["a", "a", "a", "b"], 0.25),
        ([0, 1, 2, 3], [0, 1, 2, 2], 0.25),  # a class that is never made
        ([0, 0, 0, 0], [0, 0, 0, 5], 0.25),  # one that is not real
    ],
)
def test_class_mix_distance(real, generated, distance):
    assert class_mix_distance(real, generated) == class_mix_distance(generated, real) == pytest.approx(distance)


def test_class_mix_distance_needs_labels():
    with pytest.raises(BadInput, match=r"generated labels: expected shape \(n,\)"):
        class_mix_distance([1, 2], [])


def test_real_series_stand_among_real_ones(real_data):
    """Train against test series of ECG5000 beside test series with 10 % noise."""
    data = real_data("ECG5000")
    space, real = (
        KernelSpace(data.x_train),
        data.x_test[torch.randperm(len(data.x_test))[:500]],
    )  # the file has an order
    noisy = real + 0.1 * data.x_train.std() * torch.randn(real.shape)
    features, train, noisy = (space.features(x) for x in (real, data.x_train, noisy))
    assert frechet_distance(features, noisy) > 5 * frechet_distance(features, train)
    floor, scores = manifold_scores(features, train), manifold_scores(features, noisy)
    assert scores.recall < floor.recall - 0.3 and scores.coverage < floor.coverage - 0.3
