"""Scores that cannot be fooled, against loops, closed forms and generators whose quality is known."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.evaluation import KernelSpace, RandomKernels, allot, bootstrap, jitter, manifold, nearest_train
from ncvqvae_lite.metrics import frechet_distance


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- random kernels ---


@pytest.mark.parametrize(("channels", "length"), [(1, 8), (1, 16), (3, 33), (1, 2048)])
def test_features_by_numpy(channels, length):
    kernels, x = RandomKernels(channels, length, n_kernels=20, seed=3), torch.randn(2, channels, length)
    found, place = kernels(x).numpy(), 0
    for (size, dilation, padded), (weights, biases) in kernels.groups.items():
        assert (size - 1) * dilation < length
        assert weights.sum(dim=(1, 2)).abs().max() < 1e-5  # centred
        wide = np.zeros((len(weights), channels, (size - 1) * dilation + 1))
        wide[..., ::dilation] = weights.numpy()
        around = (size - 1) * dilation // 2 if padded else 0
        for k in range(len(weights)):
            for series in range(2):
                data = np.pad(x[series].double().numpy(), ((0, 0), (around, around)))
                response = correlate(data, wide[k], mode="valid")[0] + biases[k].item()
                assert found[series, place + k] == pytest.approx(response.max(), rel=1e-4, abs=1e-4)
                assert found[series, place + len(weights) + k] == pytest.approx((response > 0).mean(), abs=2 / length)
        place += 2 * len(weights)
    assert place == found.shape[1] == 40


def test_kernels_are_drawn_by_their_seed():
    x = torch.randn(4, 1, 50)
    assert torch.equal(RandomKernels(1, 50, 30, seed=1)(x), RandomKernels(1, 50, 30, seed=1)(x))
    assert not torch.equal(RandomKernels(1, 50, 30, seed=1)(x), RandomKernels(1, 50, 30, seed=2)(x))


def test_kernels_see_the_order_of_patterns():
    """Classes 2 and 3 of TwoPatterns differ by the order of two shapes alone."""
    ds = two_patterns(600, 1)
    x, y = ds.x_train, ds.y_train
    space = KernelSpace(x)
    second, third = space(x[y == 1]), space(x[y == 2])
    half = len(second) // 2
    assert frechet_distance(second, third) > 2 * frechet_distance(second[:half], second[half:])


def test_the_space_has_the_variance_of_its_reference_in_all():
    x = two_patterns(300, 1).x_train
    z = KernelSpace(x)(x)
    assert z.shape == (300, 64) and z.mean(dim=0).abs().max() < 1e-9
    assert 0.7 < z.var(dim=0, correction=0).sum() <= 1 + 1e-9
    off = torch.cov(z.T, correction=0)
    assert (off - off.diagonal().diag()).abs().max() < 1e-9  # principal components


def test_few_series_and_constant_ones_have_a_space():
    x = torch.randn(3, 2, 20)
    assert KernelSpace(x)(torch.randn(5, 2, 20)).shape == (5, 2)
    assert KernelSpace(torch.ones(10, 1, 20))(torch.randn(4, 1, 20)).isfinite().all()
    with pytest.raises(BadInput, match="3 reference series or more, got 2"):
        KernelSpace(x[:2])
    with pytest.raises(BadInput, match=r"expected series \(n, 2, 20\), got \(5, 1, 20\)"):
        KernelSpace(x)(torch.randn(5, 1, 20))
    with pytest.raises(BadInput, match="3 steps or more, got 2"):
        RandomKernels(1, 2)


# --- the manifold ---


def manifold_by_loops(real, generated):
    def radius(x, i, k):
        return sorted(float((x[i] - x[j]).norm()) for j in range(len(x)) if j != i)[k - 1]

    def inside(point, x, k):
        return [bool((point - x[i]).norm() <= radius(x, i, k)) for i in range(len(x))]

    precision = np.mean([any(inside(g, real, 3)) for g in generated])
    recall = np.mean([any(inside(r, generated, 3)) for r in real])
    balls = np.array([inside(g, real, 5) for g in generated])  # (generated, real)
    return precision, recall, balls.sum(axis=1).mean() / 5, balls.any(axis=0).mean()


def test_manifold_by_loops():
    real, generated = (torch.randn(25, 3, generator=seeded(i), dtype=torch.float64) for i in (1, 2))
    assert manifold(real, generated * 1.3 + 0.3) == pytest.approx(manifold_by_loops(real, generated * 1.3 + 0.3))


def test_coverage_of_equal_distributions_in_closed_form():
    """1 - prod_{i=1..5} (n - i) / (2n - i), Naeem et al. 2020; density 1."""
    n = 400
    found = [manifold(*torch.randn(2, n, 8, generator=seeded(i), dtype=torch.float64)) for i in range(10)]
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, 6)])
    assert np.mean([m.coverage for m in found]) == pytest.approx(expected, abs=0.01)
    assert np.mean([m.density for m in found]) == pytest.approx(1, abs=0.05)


def test_a_dropped_mode_lowers_recall_and_coverage_only():
    def modes(n, kept, seed):
        centres = 6 * torch.eye(4, 8)[torch.randint(kept, (n,), generator=seeded(seed))]
        return centres + torch.randn(n, 8, generator=seeded(seed + 1))

    whole, dropped = (manifold(modes(800, 4, 1), modes(800, kept, 5)) for kept in (4, 3))
    assert whole.recall - dropped.recall > 0.15 and whole.coverage - dropped.coverage > 0.15
    assert dropped.precision > whole.precision - 0.05


def test_manifold_of_unequal_or_few_points():
    points = torch.randn(1500, 4)
    assert manifold(points, points[:20]).precision == manifold(points, points[:20]).precision
    with pytest.raises(BadInput, match="7 points or more"):
        manifold(points, points[:6])
    with pytest.raises(BadInput, match="alike"):
        manifold(points, torch.randn(20, 3))


# --- copies ---


def test_nearest_train_by_loops():
    generated, test, train = (torch.randn(n, 2, 5, generator=seeded(n)) for n in (7, 9, 8))
    test[0] = generated[0]  # a tie

    def nearest(x):
        return min(float((x - t).double().norm()) for t in train)

    pairs = [(nearest(g), nearest(t)) for g in generated for t in test]
    expected = np.mean([1.0 if g < t else 0.5 if g == t else 0.0 for g, t in pairs])
    assert nearest_train(generated, test, train) == pytest.approx(expected)


def test_copies_and_near_copies_are_seen_and_fresh_series_are_not():
    ds = two_patterns(200, 800)
    train, test, fresh = ds.x_train, ds.x_test[:400], ds.x_test[400:]
    assert nearest_train(train, test, train) == 1
    assert nearest_train(jitter(train, seeded()), test, train) == 1
    assert nearest_train(fresh, test, train) == pytest.approx(0.5, abs=0.06)  # 3 deviations of 400 against 400


# --- baselines ---


@pytest.mark.parametrize(
    ("counts", "n", "expected"),
    [
        ([1, 1], 5, [3, 2]),
        ([6, 14], 601, [180, 421]),
        ([0, 3], 4, [0, 4]),
        ([8, 5, 3, 3, 3, 3], 995, [319, 199, 120, 119, 119, 119]),
    ],
)
def test_allotment_by_largest_remainders(counts, n, expected):
    assert allot(counts, n) == expected
    assert sum(expected) == n and all(abs(e - n * c / sum(counts)) < 1 for e, c in zip(expected, counts))


def test_allotment_needs_counts():
    for counts, n in (([0, 0], 3), ([1, -1], 3), ([1], -1)):
        with pytest.raises(BadInput, match="expected counts of classes"):
            allot(counts, n)


def test_bootstrap_and_jitter():
    rows = bootstrap(10, 5000, seeded())
    assert rows.shape == (5000,) and (torch.bincount(rows, minlength=10) / 5000 - 0.1).abs().max() < 0.02
    assert torch.equal(rows, bootstrap(10, 5000, seeded()))
    x = 3 * torch.randn(200, 2, 30)
    assert (jitter(x, seeded()) - x).std().item() == pytest.approx(0.15, rel=0.05)
