"""Losses, whitening and projector against the papers' formulas, written as loops over matrix entries in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ncvqvae_lite.numerics import fast_matmul, full_precision
from ncvqvae_lite.ssl_losses import BarlowTwins, IterNorm, Projector, VICReg, barlow_twins, vibcreg, vicreg

LOSSES = [barlow_twins, vicreg, vibcreg]
BOTH_FORMS = [(4, 9), (9, 4), (6, 6), (2, 5), (5, 1)]  # B < D goes through Gram matrices, B >= D does not


def mean_of(column):
    return sum(column) / len(column)


def unbiased_variance(column):
    return sum((v - mean_of(column)) ** 2 for v in column) / (len(column) - 1)


def barlow_loops(a, b, weight=0.005):
    batch, dim = a.shape
    correlation = np.zeros((dim, dim))
    for i in range(dim):
        for j in range(dim):
            left = (a[:, i] - mean_of(a[:, i])) / (math.sqrt(unbiased_variance(a[:, i])) + 1e-8)
            right = (b[:, j] - mean_of(b[:, j])) / (math.sqrt(unbiased_variance(b[:, j])) + 1e-8)
            correlation[i, j] = sum(left * right) / batch
    on = sum((1 - correlation[i, i]) ** 2 for i in range(dim))
    off = sum(correlation[i, j] ** 2 for i in range(dim) for j in range(dim) if i != j)
    return BarlowTwins((on + weight * off) / dim, on, off)


def sim_and_var_loops(a, b):
    batch, dim = a.shape
    sim = sum((a[n, i] - b[n, i]) ** 2 for n in range(batch) for i in range(dim)) / (batch * dim)
    var = sum(max(0, 1 - math.sqrt(unbiased_variance(z[:, i]) + 1e-4)) for z in (a, b) for i in range(dim)) / dim
    return sim, var


def vicreg_loops(a, b, weights=(25, 25, 1)):
    batch, dim = a.shape
    cov = 0
    for z in (a, b):
        centred = z - z.mean(axis=0)
        for i in range(dim):
            for j in range(dim):
                if i != j:
                    cov += (sum(centred[:, i] * centred[:, j]) / (batch - 1)) ** 2 / dim
    terms = (*sim_and_var_loops(a, b), cov)
    return VICReg(sum(w * t for w, t in zip(weights, terms, strict=True)), *terms)


def vibcreg_loops(a, b, weights=(25, 25, 100)):
    _, dim = a.shape
    cov = 0
    for z in (a, b):
        centred = z - z.mean(axis=0)
        for i in range(dim):
            for j in range(dim):
                if i != j:
                    norms = math.sqrt(sum(centred[:, i] ** 2)) * math.sqrt(sum(centred[:, j] ** 2))
                    cov += (sum(centred[:, i] * centred[:, j]) / norms) ** 2 / dim**2
    terms = (*sim_and_var_loops(a, b), cov)
    return VICReg(sum(w * t for w, t in zip(weights, terms, strict=True)), *terms)


LOOPS = {barlow_twins: barlow_loops, vicreg: vicreg_loops, vibcreg: vibcreg_loops}


def two_views(batch, dim, seed=0, dtype=torch.float64):
    """Correlated views with columns of different scale, some narrower than the hinge at 1 and some wider."""
    generator = torch.Generator().manual_seed(seed)
    a, noise = torch.randn(2, batch, dim, generator=generator, dtype=dtype)
    scale = torch.linspace(0.3, 3, dim, dtype=dtype)
    return a * scale + 1, (0.8 * a + 0.6 * noise) * scale - 2


def close(result, expected, rel=1e-9):
    assert type(result) is type(expected)
    for name, value in zip(result._fields, result, strict=True):
        assert value.item() == pytest.approx(getattr(expected, name), rel=rel, abs=1e-10), name


@pytest.mark.parametrize("loss", LOSSES)
class TestEveryLoss:
    @pytest.mark.parametrize(("batch", "dim"), BOTH_FORMS)
    def test_equals_loops(self, loss, batch, dim):
        a, b = two_views(batch, dim)
        close(loss(a, b), LOOPS[loss](a.numpy(), b.numpy()))

    @settings(max_examples=20, deadline=None)
    @given(batch=st.integers(2, 10), dim=st.integers(1, 10), seed=st.integers(0, 1000))
    def test_equals_loops_at_any_shape(self, loss, batch, dim, seed):
        a, b = two_views(batch, dim, seed)
        close(loss(a, b), LOOPS[loss](a.numpy(), b.numpy()))

    @pytest.mark.parametrize(("batch", "dim"), [(64, 256), (128, 16)])
    def test_fp32_is_enough(self, loss, batch, dim):
        a, b = two_views(batch, dim)
        for low, full in zip(loss(a.float(), b.float()), loss(a, b), strict=True):
            assert low.dtype == torch.float32
            torch.testing.assert_close(low.double(), full, rtol=2e-5, atol=0)

    @pytest.mark.parametrize(("batch", "dim"), BOTH_FORMS)
    def test_symmetric_in_the_views(self, loss, batch, dim):
        a, b = two_views(batch, dim)
        for one, other in zip(loss(a, b), loss(b, a), strict=True):
            torch.testing.assert_close(one, other)

    @pytest.mark.parametrize(("batch", "dim"), BOTH_FORMS)
    def test_ignores_order_of_series_and_features(self, loss, batch, dim):
        a, b = two_views(batch, dim)
        rows, columns = torch.randperm(batch), torch.randperm(dim)
        for one, other in zip(loss(a, b), loss(a[rows][:, columns], b[rows][:, columns]), strict=True):
            torch.testing.assert_close(one, other)

    @pytest.mark.parametrize(("batch", "dim"), [(4, 7), (7, 4)])
    def test_gradient(self, loss, batch, dim):
        views = [v.requires_grad_() for v in two_views(batch, dim)]
        assert torch.autograd.gradcheck(lambda a, b: tuple(loss(a, b)), views)

    def test_no_matrix_of_features_by_features(self, loss):
        """Neither forward nor backward makes a tensor larger than the views and the Gram matrices when B < D."""
        largest = LargestTensor()
        a, b = (v.requires_grad_() for v in two_views(4, 300, dtype=torch.float32))
        with largest:
            loss(a, b).total.backward()
        assert 300 <= largest.size <= 2 * 4 * 300

    def test_computes_in_fp32_whatever_the_context(self, loss):
        """bf16 views are widened, and autocast does not reach the matrix products."""
        a, b = (v.bfloat16().requires_grad_() for v in two_views(8, 30, dtype=torch.float32))
        wide = [v.detach().float().requires_grad_() for v in (a, b)]
        expected = loss(*wide)
        with fast_matmul("bf16", "cpu"):
            results = loss(a, b), loss(*wide), loss(b=b, a=a)
            assert (wide[0] @ wide[1].T).dtype == torch.bfloat16
        for result in results:
            for value, reference in zip(result, expected, strict=True):
                assert value.dtype == torch.float32 and torch.equal(value, reference)
        for value, reference in zip(loss(a, b), LOOPS[loss](*(v.detach().double().numpy() for v in wide)), strict=True):
            assert value.item() == pytest.approx(reference, rel=1e-4)
        results[0].total.backward()
        expected.total.backward()
        torch.testing.assert_close(a.grad, wide[0].grad.bfloat16(), rtol=0, atol=0)

    def test_a_constant_feature_stays_finite(self, loss):
        a, b = two_views(6, 8, dtype=torch.float32)
        a[:, 2], b[:, 2], b[:, 5] = 0.0, 0.0, 1.0
        a.requires_grad_()
        terms = loss(a, b)
        terms.total.backward()
        assert all(torch.isfinite(value) for value in (*terms, *a.grad.flatten()))

    def test_refuses_a_batch_of_one(self, loss):
        with pytest.raises(ValueError, match="at least 2 series"):
            loss(torch.randn(1, 8), torch.randn(1, 8))

    @pytest.mark.parametrize("shapes", [((4, 8), (4, 7)), ((4, 8), (5, 8)), ((8,), (8,)), ((2, 4, 8), (2, 4, 8))])
    def test_refuses_other_shapes(self, loss, shapes):
        with pytest.raises(ValueError, match=r"two views of one shape \(B, D\)"):
            loss(*map(torch.randn, shapes))


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if torch.is_tensor(tensor):
                self.size = max(self.size, tensor.numel())
        return out


class TestBarlowTwins:
    def test_identical_decorrelated_views(self):
        """Orthogonal centred columns, twice: C = (B-1)/B on the diagonal (unbiased std, sum over B), 0 elsewhere."""
        columns = torch.linalg.qr(torch.cat([torch.ones(8, 1), torch.randn(8, 5)], dim=1).double()).Q[:, 1:]
        terms = barlow_twins(columns, columns)
        assert terms.on_diagonal.item() == pytest.approx(5 / 8**2)
        assert terms.off_diagonal.item() == pytest.approx(0, abs=1e-12)
        assert terms.total.item() == pytest.approx(1 / 8**2)

    def test_opposite_views_are_worst(self):
        a, _ = two_views(8, 3)
        assert barlow_twins(a, -a).on_diagonal.item() == pytest.approx(3 * (1 + 7 / 8) ** 2)

    def test_scale_and_shift_of_a_feature_do_not_matter(self):
        a, b = two_views(8, 12)
        moved = barlow_twins(a * torch.linspace(0.5, 50, 12) - 7, b)
        for one, other in zip(barlow_twins(a, b), moved, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("offdiagonal", [0.0, 0.005, 1.0])
    def test_weight(self, offdiagonal):
        a, b = two_views(8, 12)
        close(barlow_twins(a, b, offdiagonal), barlow_loops(a.numpy(), b.numpy(), offdiagonal))

    @pytest.mark.parametrize(("batch", "dim"), [(20, 4096), (128, 4096), (32, 256), (256, 64)])
    def test_floor_of_random_features(self, batch, dim):
        """Independent features correlate by 1/sqrt(B) by chance: off-diagonal sum D (D-1) / B, 0.005 D / B of it in
        the loss (Q17: 0.16 at B 128, 1.0 at B 20)."""
        terms = barlow_twins(torch.randn(batch, dim), torch.randn(batch, dim))
        floor = dim * (dim - 1) * (batch - 1) / batch**2
        assert terms.off_diagonal.item() == pytest.approx(floor, rel=0.04)
        share = (terms.total - terms.on_diagonal / dim).item()
        assert share == pytest.approx(0.005 * dim / batch, rel=0.1)


class TestVICRegAndVIbCReg:
    @pytest.mark.parametrize(("loss", "loops"), [(vicreg, vicreg_loops), (vibcreg, vibcreg_loops)])
    def test_weights(self, loss, loops):
        a, b = two_views(8, 5)
        for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (2.0, 3.0, 5.0)):
            close(loss(a, b, *weights), loops(a.numpy(), b.numpy(), weights))

    def test_collapsed_views(self):
        """Every series at one point: only the hinge is left, 1 - sqrt(1e-4) for each view."""
        for loss in (vicreg, vibcreg):
            terms = loss(torch.ones(6, 4), torch.ones(6, 4))
            assert [t.item() for t in terms] == pytest.approx([25 * 2 * 0.99, 0, 2 * 0.99, 0])

    def test_one_copied_feature(self):
        """Two equal columns among D orthogonal ones of variance v: covariance 2 v^2 / D, correlation 2 / D^2 a view."""
        columns = torch.linalg.qr(torch.cat([torch.ones(9, 1), torch.randn(9, 5)], dim=1).double()).Q[:, 1:]
        columns[:, 1] = columns[:, 0]
        columns = columns * math.sqrt(8 * 4)  # variance 4
        assert vicreg(columns, columns).cov.item() == pytest.approx(2 * 2 * 16 / 5)
        assert vibcreg(columns, columns).cov.item() == pytest.approx(2 * 2 / 25)
        assert vicreg(columns, columns).var.item() == 0

    def test_correlation_ignores_scale_and_covariance_does_not(self):
        a, b = two_views(8, 12)
        torch.testing.assert_close(vibcreg(3 * a, 3 * b).cov, vibcreg(a, b).cov)
        torch.testing.assert_close(vicreg(3 * a, 3 * b).cov, 81 * vicreg(a, b).cov)


class TestFullPrecision:
    """The rule that losses, distances and whitening share."""

    def test_inside_and_after(self):
        seen = []

        @full_precision
        def product(a, b, scale=1.0):
            seen.append((a.dtype, b.dtype, torch.is_autocast_enabled("cpu"), torch.get_float32_matmul_precision()))
            return a @ b * scale

        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                product(torch.ones(2, 2, dtype=torch.bfloat16), b=torch.ones(2, 2, dtype=torch.float16), scale=2.0)
                product(torch.ones(2, 2, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64))
                with pytest.raises(RuntimeError):
                    product(torch.ones(2, 2), torch.ones(3, 3))
                assert torch.is_autocast_enabled("cpu")
            assert torch.get_float32_matmul_precision() == "medium"
        finally:
            torch.set_float32_matmul_precision(before)
        assert seen[0] == (torch.float32, torch.float32, False, "highest")
        assert seen[1] == (torch.float64, torch.float64, False, "highest")
        assert product.__name__ == "product"

    def test_fast_matmul(self):
        a = torch.randn(8, 8)
        with fast_matmul("fp32", "cpu"):
            torch.testing.assert_close((a @ a).double(), a.double() @ a.double(), rtol=1e-5, atol=1e-5)
        with fast_matmul("bf16", "cpu"):
            assert (a @ a).dtype == torch.bfloat16


def iternorm_loops(x, groups, iterations=5, eps=1e-5):
    """Algorithm 1 of arXiv 1904.03441, group by group -> whitened (B, D), mean (D,), whitening (G, d, d)."""
    batch, dim = x.shape
    width = dim // groups
    white, matrices = np.zeros_like(x), []
    for g in range(groups):
        columns = slice(g * width, (g + 1) * width)
        centred = x[:, columns] - x[:, columns].mean(axis=0)
        covariance = sum(np.outer(row, row) for row in centred) / batch + eps * np.eye(width)
        trace = sum(covariance[i, i] for i in range(width))
        p = np.eye(width)
        for _ in range(iterations):
            p = 1.5 * p - 0.5 * p @ p @ p @ (covariance / trace)
        matrices.append(p / math.sqrt(trace))
        for n in range(batch):
            white[n, columns] = matrices[-1] @ centred[n]
    return white, x.mean(axis=0), np.array(matrices)


def mixed(batch, dim, seed=0, dtype=torch.float64):
    """Correlated features off the origin."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, dim, generator=generator, dtype=dtype)
    mix = torch.eye(dim, dtype=dtype) + 0.15 * torch.randn(dim, dim, generator=generator, dtype=dtype)
    return x @ mix + torch.arange(dim, dtype=dtype)


class TestIterNorm:
    @pytest.mark.parametrize(("batch", "dim", "groups"), [(12, 6, 2), (30, 8, 1), (7, 5, 5), (3, 12, 2)])
    def test_equals_loops(self, batch, dim, groups):
        x, norm = mixed(batch, dim), IterNorm(dim, groups).double()
        np.testing.assert_allclose(norm(x).detach(), iternorm_loops(x.numpy(), groups)[0], atol=1e-10)

    @settings(max_examples=20, deadline=None)
    @given(
        batch=st.integers(2, 20),
        width=st.integers(1, 6),
        groups=st.integers(1, 5),
        iterations=st.integers(0, 6),  # each one more multiplies rounding errors by 50: with 8, 2e-8
        seed=st.integers(0, 1000),
    )
    def test_equals_loops_at_any_shape(self, batch, width, groups, iterations, seed):
        x = mixed(batch, width * groups, seed)
        norm = IterNorm(width * groups, groups, iterations, eps=1e-3, affine=False).double()
        np.testing.assert_allclose(norm(x), iternorm_loops(x.numpy(), groups, iterations, 1e-3)[0], atol=1e-10)

    def test_many_iterations_reach_the_inverse_root(self):
        """By eigendecomposition: x U diag(l^-1/2) U^T has the identity as its covariance in every group."""
        x, norm = mixed(60, 12), IterNorm(12, 3, iterations=14, eps=0.0, affine=False).double()
        white = norm(x)
        for g in range(3):
            columns = x[:, 4 * g : 4 * g + 4].numpy()
            centred = columns - columns.mean(axis=0)
            values, vectors = np.linalg.eigh(centred.T @ centred / 60)
            expected = centred @ vectors @ np.diag(values**-0.5) @ vectors.T
            np.testing.assert_allclose(white[:, 4 * g : 4 * g + 4], expected, atol=1e-8)
        blocks = (white.T @ white / 60).numpy()
        np.testing.assert_allclose(blocks[:4, :4], np.eye(4), atol=1e-8)
        assert np.abs(blocks[:4, 4:8]).max() > 1e-3  # groups are not decorrelated from each other

    def test_five_iterations_come_near(self):
        white = IterNorm(8, 2, affine=False).double()(mixed(200, 8))
        assert (torch.cov(white[:, :4].T) - torch.eye(4)).abs().max() < 0.15
        assert white.mean(dim=0).abs().max() < 1e-12

    def test_affine(self):
        norm, plain = IterNorm(6, 2).double(), IterNorm(6, 2, affine=False).double()
        assert sum(p.numel() for p in norm.parameters()) == 12 and not list(plain.parameters())
        with torch.no_grad():
            norm.weight.copy_(torch.arange(1.0, 7))
            norm.bias.copy_(-torch.arange(6.0))
        x = mixed(10, 6)
        torch.testing.assert_close(norm(x), plain(x) * torch.arange(1.0, 7) - torch.arange(6.0))

    @pytest.mark.parametrize("momentum", [0.1, 0.5])
    def test_running_averages_in_eval_mode(self, momentum):
        norm = IterNorm(6, 2, momentum=momentum, affine=False).double()
        mean, whitening = np.zeros(6), np.stack([np.eye(3)] * 2)
        for seed in range(3):
            x = mixed(12, 6, seed).numpy()
            norm(torch.from_numpy(x))
            _, batch_mean, batch_whitening = iternorm_loops(x, 2)
            mean = (1 - momentum) * mean + momentum * batch_mean
            whitening = (1 - momentum) * whitening + momentum * batch_whitening
        np.testing.assert_allclose(norm.running_mean, mean, atol=1e-12)
        np.testing.assert_allclose(norm.running_whitening, whitening, atol=1e-12)
        before = copy.deepcopy(norm.state_dict())
        series = mixed(1, 6, seed=9)  # one series is enough here
        white = norm.eval()(series)[0].numpy()
        for g in range(2):
            columns = slice(3 * g, 3 * g + 3)
            expected = whitening[g] @ (series[0, columns].numpy() - mean[columns])
            np.testing.assert_allclose(white[columns], expected, atol=1e-12)
        assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())

    @pytest.mark.parametrize(("batch", "dim", "groups"), [(8, 6, 2), (3, 8, 2)])
    def test_gradient(self, batch, dim, groups):
        """Through the mean and the whitening matrix, both."""
        norm = IterNorm(dim, groups, eps=1e-3).double()
        x = mixed(batch, dim).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, *_: norm(x), (x, norm.weight, norm.bias))
        norm.eval()
        assert torch.autograd.gradcheck(norm, x)

    @pytest.mark.parametrize("batch", [2, 20])
    def test_groups_wider_than_the_batch_stay_finite(self, batch):
        """Paper setting, 64 features a group, on the tiny sets: rank at most B - 1 (Q17)."""
        norm, x = IterNorm(256, 4), mixed(batch, 256, dtype=torch.float32).requires_grad_()
        white = norm(x)
        white.square().mean().backward()
        assert torch.isfinite(white).all() and torch.isfinite(x.grad).all()
        assert white.abs().max() < 10
        expected = iternorm_loops(x.detach().double().numpy(), 4)[0]
        np.testing.assert_allclose(white.detach(), expected, atol=1e-3)

    def test_identical_series_stay_finite(self):
        x = torch.full((4, 8), 3.0, requires_grad=True)
        white = IterNorm(8, 2)(x)
        white.sum().backward()
        assert not white.any() and torch.isfinite(x.grad).all()

    def test_computes_in_fp32_under_bf16(self):
        norm, x = IterNorm(64, 4), mixed(32, 64, dtype=torch.float32)
        expected = norm(x)
        with fast_matmul("bf16", "cpu"):
            torch.testing.assert_close(norm(x), expected, rtol=0, atol=0)

    def test_refuses(self):
        with pytest.raises(ValueError, match="100 features do not split into 64 equal groups"):
            IterNorm(100)
        with pytest.raises(ValueError, match="at least 2 series to train, got 1"):
            IterNorm(8, 2)(torch.randn(1, 8))


def batchnorm_by_hand(h, norm):
    """Biased variance of this view alone."""
    weight, bias = norm.weight.detach().double().numpy(), norm.bias.detach().double().numpy()
    return (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5) * weight + bias


def linear_by_hand(h, layer):
    return h @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def linear_layers(projector):
    return [layer for layer in projector.modules() if isinstance(layer, nn.Linear)]


def small_projector(whiten=False):
    projector = Projector(6, 16, whiten=whiten, groups=4)
    with torch.no_grad():  # so that scale and shift of the norms count
        for name, parameter in projector.named_parameters():
            if "norm" in name or "whiten" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return projector


class TestProjector:
    @pytest.mark.parametrize(("whiten", "count"), [(False, 34_107_392), (True, 34_115_584)])
    def test_parameters_of_the_paper(self, whiten, count):
        """128 -> 4096 -> 4096 -> 4096; whitening adds a weight and a bias, in 64 groups of 64."""
        with torch.device("meta"):
            projector = Projector(whiten=whiten)
        assert sum(p.numel() for p in projector.parameters()) == count
        widths = [projector.linear1.in_features, *(layer.out_features for layer in linear_layers(projector))]
        assert widths == [128, 4096, 4096, 4096]
        if whiten:
            assert projector.whiten.running_whitening.shape == (64, 64, 64)

    @pytest.mark.parametrize("whiten", [False, True])
    def test_forward_by_hand(self, whiten):
        projector, views = small_projector(whiten), (torch.randn(10, 6), 5 * torch.randn(10, 6) + 3)
        for view, projection in zip(views, projector(*views), strict=True):
            h = view.double().numpy()
            h = np.maximum(batchnorm_by_hand(linear_by_hand(h, projector.linear1), projector.norm1), 0)
            h = np.maximum(batchnorm_by_hand(linear_by_hand(h, projector.linear2), projector.norm2), 0)
            h = linear_by_hand(h, projector.linear3)
            if whiten:
                weight, bias = (p.detach().double().numpy() for p in projector.whiten.parameters())
                h = iternorm_loops(h, 4)[0] * weight + bias
            np.testing.assert_allclose(projection.detach(), h, atol=1e-4)

    @pytest.mark.parametrize("whiten", [False, True])
    @pytest.mark.parametrize("training", [True, False])
    def test_two_views_equal_one_by_one(self, whiten, training):
        """Values, gradients of all parameters and views, and running statistics."""
        together = small_projector(whiten)
        together(torch.randn(10, 6))  # running statistics away from their start
        together.train(training)
        apart = copy.deepcopy(together)
        views = [torch.randn(10, 6, requires_grad=True), (5 * torch.randn(10, 6) + 3).requires_grad_()]
        copies = [v.detach().clone().requires_grad_() for v in views]
        a, b = together(*views)
        (c,), (d,) = apart(copies[0]), apart(copies[1])
        torch.testing.assert_close((a, b), (c, d), rtol=1e-4, atol=1e-5)
        barlow_twins(a, b, offdiagonal=1.0).total.backward()
        barlow_twins(c, d, offdiagonal=1.0).total.backward()
        for one, other in zip(views, copies, strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)
            assert one.grad.abs().max() > 1e-5
        for (name, one), other in zip(together.named_parameters(), apart.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5, msg=name)
        for (name, one), other in zip(together.named_buffers(), apart.buffers(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)
        if training:
            assert together.norm1.num_batches_tracked == 3

    def test_statistics_are_each_views_own(self):
        """A view's projection does not depend on the other view in train mode."""
        projector, view = small_projector(), torch.randn(10, 6)
        one, _ = projector(view, torch.randn(10, 6))
        other, _ = projector(view, 100 * torch.randn(10, 6))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)

    def test_layers(self):
        kinds = [type(layer) for layer in Projector(4, 8, whiten=True, groups=2).children()]
        assert kinds == [nn.Linear, nn.BatchNorm1d, nn.Linear, nn.BatchNorm1d, nn.Linear, IterNorm]
