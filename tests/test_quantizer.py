"""The quantiser against loops in float64, EMA steps written by hand, exact sampling laws and a plain Lloyd."""

import copy
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ncvqvae_lite.numerics import fast_matmul
from ncvqvae_lite.quantizer import VectorQuantizer, kmeans, sample_categorical


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(z):
    """Latents (B, D, F, W) -> numpy float64 (B*F*W, D), in the order of the flattened index grid."""
    z = z.double().numpy()
    batch, _, height, width = z.shape
    return np.array([z[b, :, f, w] for b in range(batch) for f in range(height) for w in range(width)])


def distances_of(rows, codes):
    rows, codes = np.asarray(rows, dtype=np.float64), np.asarray(codes, dtype=np.float64)
    return np.array([((row - codes) ** 2).sum(axis=1) for row in rows])


def state_of(vq):
    return {name: value.clone() for name, value in vq.state_dict().items()}


class EmaByHand:
    """Appendix A.1 of van den Oord et al. with Laplace smoothing, one latent at a time."""

    def __init__(self, vq):
        self.codebook, self.sum, self.count = (
            v.double().numpy().copy() for v in (vq.codebook, vq.code_sum, vq.code_count)
        )

    def step(self, rows, decay=0.9, epsilon=1e-5):
        k = len(self.codebook)
        nearest = distances_of(rows, self.codebook).argmin(axis=1)  # with the codebook before this step
        for code in range(k):
            members = [row for row, index in zip(rows, nearest, strict=True) if index == code]
            self.count[code] = decay * self.count[code] + (1 - decay) * len(members)
            self.sum[code] = decay * self.sum[code] + (1 - decay) * np.sum(members, axis=0)
        total = self.count.sum()
        for code in range(k):
            smoothed = (self.count[code] + epsilon) / (total + k * epsilon) * total
            self.codebook[code] = self.sum[code] / smoothed

    def check(self, vq, rtol=1e-4):
        np.testing.assert_allclose(vq.code_count, self.count, rtol=rtol, atol=1e-5)
        np.testing.assert_allclose(vq.code_sum, self.sum, rtol=rtol, atol=1e-5)
        np.testing.assert_allclose(vq.codebook, self.codebook, rtol=rtol, atol=1e-4)


class TestAssignment:
    @settings(max_examples=25, deadline=None)
    @given(
        k=st.integers(2, 33),
        dim=st.integers(1, 16),
        grid=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
        training=st.booleans(),
        seed=st.integers(0, 1000),
    )
    def test_nearest_code(self, k, dim, grid, training, seed):
        torch.manual_seed(seed)
        vq = VectorQuantizer(k, dim).train(training)
        z = 2 * torch.randn(grid[0], dim, *grid[1:])
        codebook = vq.codebook.double().numpy()
        q = vq(z)
        assert q.indices.shape == grid and q.indices.dtype == torch.int64 and q.z_q.shape == z.shape
        distances = distances_of(rows_of(z), codebook)
        chosen = q.indices.flatten().numpy()
        excess = distances[np.arange(len(chosen)), chosen] - distances.min(axis=1)
        assert excess.max() < 1e-4  # fp32 may choose the other of two codes at the same distance
        np.testing.assert_allclose(rows_of(q.z_q), codebook[chosen], atol=1e-5)
        share = np.bincount(chosen, minlength=k) / len(chosen)
        expected = math.exp(-sum(p * math.log(p) for p in share if p > 0))
        assert q.perplexity.item() == pytest.approx(expected, rel=1e-4)

    def test_perplexity_of_even_and_single_use(self):
        vq = VectorQuantizer(8, 4).eval()
        assert vq(vq.decode(torch.arange(8).view(2, 1, 4))).perplexity.item() == pytest.approx(8, rel=1e-5)
        assert vq(vq.decode(torch.full((2, 1, 4), 3))).perplexity.item() == pytest.approx(1, rel=1e-5)

    def test_distances_equal_loops_under_bf16(self):
        vq, rows = VectorQuantizer(9, 32), torch.randn(40, 32)
        with fast_matmul("bf16", "cpu"):
            distances = vq.distances(rows)
            assert (rows @ rows.T).dtype == torch.bfloat16
        np.testing.assert_allclose(distances, distances_of(rows, vq.codebook), rtol=1e-5)

    def test_bf16_latents(self):
        """An encoder that runs in bf16 gets codes, loss and averages in fp32."""
        vq, z = VectorQuantizer(8, 16), torch.randn(2, 16, 3, 4).bfloat16()
        other = copy.deepcopy(vq)
        low, full = vq(z), other(z.float())
        assert low.z_q.dtype == torch.float32
        for a, b in zip(low, full, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
        torch.testing.assert_close(vq.codebook, other.codebook, rtol=0, atol=0)

    @settings(max_examples=25, deadline=None)
    @given(k=st.integers(2, 64), dim=st.integers(4, 64), batch=st.integers(1, 4), seed=st.integers(0, 1000))
    def test_codes_indices_codes(self, k, dim, batch, seed):
        torch.manual_seed(seed)
        vq = VectorQuantizer(k, dim)
        indices = torch.randint(k, (batch, 3, 5))
        z_q = vq.decode(indices)
        assert z_q.shape == (batch, dim, 3, 5)
        assert torch.equal(vq.encode(z_q), indices)
        assert torch.equal(vq.decode(vq.encode(z_q)), z_q)
        for b, f, w in ((0, 0, 0), (batch - 1, 2, 4), (0, 1, 3)):
            assert torch.equal(z_q[b, :, f, w], vq.codebook[indices[b, f, w]])


class TestGradients:
    def test_straight_through(self):
        vq, weight = VectorQuantizer(8, 6), torch.randn(2, 6, 3, 4)
        for training in (True, False):
            z = torch.randn(2, 6, 3, 4, requires_grad=True)
            (vq.train(training)(z).z_q * weight).sum().backward()
            assert torch.equal(z.grad, weight)

    @pytest.mark.parametrize("commitment", [1.0, 0.25, 0.0])
    def test_commitment(self, commitment):
        """Mean over all elements of (sg[e] - z)^2, with the codebook before the update."""
        vq = VectorQuantizer(8, 6, commitment=commitment)
        z = torch.randn(2, 6, 3, 4, requires_grad=True)
        codebook = vq.codebook.double().numpy()
        q = vq(z)
        rows = rows_of(z.detach())
        offset = rows - codebook[q.indices.flatten().numpy()]
        assert q.loss.item() == pytest.approx(commitment * np.mean(offset**2), rel=1e-5)
        q.loss.backward()
        np.testing.assert_allclose(rows_of(z.grad), commitment * 2 * offset / offset.size, atol=1e-7)

    def test_straight_through_leaves_the_codebook(self):
        vq, weight = VectorQuantizer(8, 6).train(), torch.randn(2, 6, 3, 4)
        before = state_of(vq)
        z = torch.randn(2, 6, 3, 4, requires_grad=True)
        codes = vq.straight_through(z)
        torch.testing.assert_close(codes, vq.decode(vq.encode(z)))
        (codes * weight).sum().backward()
        assert torch.equal(z.grad, weight)
        assert all(torch.equal(value, before[name]) for name, value in vq.state_dict().items())

    def test_no_parameters(self):
        """The averages are the only thing that moves the codebook: an optimiser has nothing to hold."""
        vq = VectorQuantizer()
        assert list(vq.parameters()) == []
        assert {name: tuple(value.shape) for name, value in vq.state_dict().items()} == {
            "codebook": (32, 64),
            "code_sum": (32, 64),
            "code_count": (32,),
        }


class TestMovingAverages:
    def test_start(self):
        vq = VectorQuantizer(512, 64)
        assert torch.equal(vq.code_sum, vq.codebook) and not vq.code_count.any()
        assert scipy.stats.kstest(vq.codebook.flatten().numpy(), "norm").pvalue > 1e-3

    def test_eval_mode_changes_nothing(self):
        vq = VectorQuantizer(8, 4, kmeans_init=True, expire_below=1.0).eval()
        before = state_of(vq)
        for _ in range(2):
            assert vq(torch.randn(3, 4, 2, 5)).loss.item() == 0
        assert all(torch.equal(value, before[name]) for name, value in vq.state_dict().items())

    @pytest.mark.parametrize(("decay", "smoothing"), [(0.9, 1e-5), (0.5, 1.0), (0.0, 0.1)])
    def test_steps_by_hand(self, decay, smoothing):
        vq = VectorQuantizer(5, 3, decay=decay, smoothing=smoothing)
        by_hand = EmaByHand(vq)
        for _ in range(4):
            z = torch.randn(2, 3, 3, 4) * 1.5 + 0.5
            vq(z)
            by_hand.step(rows_of(z), decay, smoothing)
            by_hand.check(vq)

    @settings(max_examples=25, deadline=None)
    @given(k=st.integers(2, 12), dim=st.integers(2, 8), batch=st.integers(1, 3), seed=st.integers(0, 1000))
    def test_one_step_of_any_shape(self, k, dim, batch, seed):
        torch.manual_seed(seed)
        vq, z = VectorQuantizer(k, dim), torch.randn(batch, dim, 2, 7)
        by_hand = EmaByHand(vq)
        vq(z)
        by_hand.step(rows_of(z))
        np.testing.assert_allclose(vq.codebook, by_hand.codebook, rtol=1e-4, atol=1e-5)

    def test_converges_to_cluster_means(self):
        """Two far clusters, two codes near them: the codes become the means (after 40 steps 0.5^40 = 1e-12)."""
        vq = VectorQuantizer(2, 2, decay=0.5)
        vq.codebook.copy_(torch.tensor([[5.0, 5.0], [-5.0, -5.0]]))
        z = torch.randn(1, 2, 4, 8) + 10 * (torch.arange(8) % 2) - 5
        for _ in range(40):
            vq(z)
        columns = z[0].movedim(0, -1)  # (F, W, D)
        expected = torch.stack([columns[:, 1::2].reshape(-1, 2).mean(0), columns[:, ::2].reshape(-1, 2).mean(0)])
        torch.testing.assert_close(vq.codebook, expected, atol=1e-4, rtol=1e-4)


class TestDeadCodes:
    def test_explode_then_decay_to_nothing(self):
        """A code that was never used has count 0, so its sum s 0.9^t is divided by epsilon / (n + K epsilon) n."""
        vq = VectorQuantizer(4, 2)
        vq.codebook.copy_(torch.tensor([[3.0, 3.0], [4.0, 4.0], [-30.0, -40.0], [30.0, -40.0]]))
        vq.code_sum.copy_(vq.codebook)
        z = 3 + torch.rand(2, 2, 3, 4)  # near the first two codes only
        norms = []
        flushes = torch.set_flush_denormal(True)
        try:
            for step in range(1, 151):
                assert vq(z).indices.max() <= 1
                total = 24 * (1 - 0.9**step)
                expected = 50 * 0.9**step / (1e-5 / (total + 4e-5) * total)
                norms.append(vq.codebook[2:].norm(dim=1).tolist())
                assert norms[-1] == pytest.approx([expected, expected], rel=1e-3)
            vq.decay = 0.1  # the rest of the way, below 1e-38, in 40 steps instead of 800
            for _ in range(40):
                assert vq(z).indices.max() <= 1
        finally:
            torch.set_flush_denormal(False)
        assert norms[0][0] > 1e6  # unreachable at once
        assert norms[90][0] > 100 > 1 > norms[149][0]  # later through the scale of the data
        assert not vq.codebook[2:].any() if flushes else vq.codebook[2:].norm() < 1e-30
        assert torch.isfinite(vq.codebook).all()

    def test_formerly_used_code_stays_put_at_first(self):
        """Sum and count decay together: the code keeps its place until the count nears epsilon."""
        vq = VectorQuantizer(2, 2)
        vq.codebook.copy_(torch.tensor([[0.0, 0.0], [8.0, 8.0]]))
        z = torch.rand(1, 2, 4, 4)
        far = z.clone()
        far[..., 2:] += 8
        vq(far)
        vq.code_sum.copy_(8 * vq.codebook)  # as after many steps: eight latents each
        vq.code_count.fill_(8)
        place = vq.codebook[1].clone()
        for _ in range(30):
            vq(z)
        torch.testing.assert_close(vq.codebook[1], place, rtol=1e-3, atol=0)
        assert vq.code_count[1].item() == pytest.approx(8 * 0.9**30, rel=1e-3)

    def test_expiry_replaces_codes_by_latents_of_the_batch(self):
        vq = VectorQuantizer(6, 3, expire_below=0.5)
        by_hand = EmaByHand(vq)
        z = 0.1 * torch.randn(2, 3, 3, 4) + 4  # one blob: nearest to one or two codes
        vq(z, generator=seeded())
        by_hand.step(rows_of(z))
        unused, rows = by_hand.count < 0.5, rows_of(z)
        assert 0 < unused.sum() < 6
        np.testing.assert_allclose(vq.code_count[~unused], by_hand.count[~unused], rtol=1e-5)
        np.testing.assert_allclose(vq.code_sum[~unused], by_hand.sum[~unused], rtol=1e-4)
        np.testing.assert_allclose(vq.code_count[unused], 0.5)
        fresh = vq.code_sum[unused].numpy() / 0.5
        assert np.abs(fresh[:, None] - rows[None]).sum(axis=2).min(axis=1).max() < 1e-5
        np.testing.assert_allclose(vq.codebook[unused], fresh, rtol=1e-3)

    def test_expiry_draws_every_latent_equally(self):
        vq, z = VectorQuantizer(6001, 1, expire_below=1e6), torch.arange(10.0).view(1, 1, 2, 5)
        vq(z, generator=seeded())
        drawn = (vq.code_sum[:, 0] / 1e6).round().long().bincount(minlength=10)
        assert len(drawn) == 10 and scipy.stats.chisquare(drawn).pvalue > 1e-3

    def test_expiry_keeps_codes_alive(self):
        """Sixteen blobs, far from the N(0, 1) start: without expiry most codes die; with it most blobs get a code."""
        centres = 40 * torch.randn(16, 4, generator=seeded(1))
        used = {}
        for expire_below in (0.0, 0.5):
            torch.manual_seed(0)
            vq = VectorQuantizer(16, 4, expire_below=expire_below)
            for step in range(10):
                points = centres[torch.randint(16, (4, 16), generator=seeded(step))]  # (B, W, D)
                z = (points + torch.randn(4, 16, 4, generator=seeded(step))).movedim(-1, 1)[:, :, None]
                q = vq(z, generator=seeded(step))
            used[expire_below] = len(q.indices.unique())
        assert used[0.0] < 9 < 11 < used[0.5], used


class TestSampling:
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
    def test_frequencies(self, temperature):
        vq, n = VectorQuantizer(6, 3), 20_000
        point = torch.randn(3)
        weights = np.exp(-distances_of(point[None], vq.codebook)[0] / temperature)
        expected = weights / weights.sum()
        indices = vq.encode(point.view(1, 3, 1, 1).expand(20, 3, 10, n // 200), temperature, seeded())
        assert indices.shape == (20, 10, 100) and indices.dtype == torch.int64
        counts = np.bincount(indices.flatten().numpy(), minlength=6)
        common = expected * n > 5
        statistic = ((counts - n * expected) ** 2 / (n * expected))[common].sum()
        assert statistic < scipy.stats.chi2.ppf(0.999, common.sum())
        assert counts[~common].sum() < 40

    def test_each_latent_has_its_own_law(self):
        """Latents that sit on well separated codes are never confused at temperature 1."""
        vq = VectorQuantizer(8, 4)
        vq.codebook.mul_(20)
        indices = torch.randint(8, (3, 5, 7))
        assert torch.equal(vq.encode(vq.decode(indices), 1.0, seeded()), indices)

    def test_cold_is_nearest_and_hot_is_uniform(self):
        vq, z = VectorQuantizer(4, 3), torch.randn(50, 3, 5, 8)
        assert torch.equal(vq.encode(z, temperature=1e-6, generator=seeded()), vq.encode(z))
        assert scipy.stats.chisquare(vq.encode(z, 1e6, seeded()).flatten().bincount(minlength=4)).pvalue > 1e-3

    def test_generator_decides(self):
        vq, z = VectorQuantizer(8, 3), torch.randn(4, 3, 5, 8)
        first, again, other = (vq.encode(z, 5.0, seeded(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again) and not torch.equal(first, other)

    def test_sample_categorical(self):
        """Log-probabilities up to a constant per row; a probability of 0 is never drawn."""
        probabilities = torch.tensor([0.0, 0.1, 0.2, 0.7])
        logits = (probabilities.log() + torch.tensor([[3.0], [-50.0]])).expand(10_000, 2, 4)
        drawn = sample_categorical(logits, seeded())
        assert drawn.shape == (10_000, 2)
        for column in drawn.T:
            counts = column.bincount(minlength=4).numpy()
            assert counts[0] == 0
            assert scipy.stats.chisquare(counts[1:], [1000, 2000, 7000]).pvalue > 1e-3


def lloyd(rows, centres, iterations):
    """Lloyd's algorithm with loops; an empty cluster keeps its centre."""
    centres = centres.copy()
    for _ in range(iterations):
        nearest = distances_of(rows, centres).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(centres))
        for k in np.flatnonzero(counts):
            centres[k] = rows[nearest == k].mean(axis=0)
    return centres, counts


def inertia(rows, centres):
    return distances_of(rows, centres).min(axis=1).sum()


class TestKmeans:
    @pytest.mark.parametrize(("m", "k", "dim"), [(40, 5, 2), (30, 8, 3), (7, 7, 2), (4, 9, 2)])
    def test_equals_lloyd(self, m, k, dim):
        rows = torch.randn(m, dim)
        start, _ = kmeans(rows, k, 0, seeded())
        centres, counts = kmeans(rows, k, 6, seeded())
        expected_centres, expected_counts = lloyd(rows.double().numpy(), start.double().numpy(), 6)
        np.testing.assert_allclose(centres, expected_centres, atol=1e-5)
        np.testing.assert_array_equal(counts, expected_counts)

    def test_starts_from_distinct_random_rows(self):
        rows = torch.arange(12.0)[:, None]
        starts = torch.stack([kmeans(rows, 5, 0, seeded(seed))[0][:, 0] for seed in range(600)]).long()
        assert all(len(start.unique()) == 5 for start in starts)
        assert scipy.stats.chisquare(starts.flatten().bincount(minlength=12)).pvalue > 1e-3

    def test_lowers_inertia(self):
        rows = torch.randn(200, 4)
        course = [inertia(rows, kmeans(rows, 8, n, seeded())[0]) for n in (0, 1, 2, 5, 10)]
        assert course == sorted(course, reverse=True) and course[-1] < 0.8 * course[0]
        assert course[-1] < 0.8 * inertia(rows, torch.randn(8, 4))

    @settings(max_examples=25, deadline=None)
    @given(m=st.integers(1, 40), k=st.integers(2, 20), dim=st.integers(1, 5), seed=st.integers(0, 1000))
    def test_any_shape(self, m, k, dim, seed):
        rows = torch.randn(m, dim, generator=seeded(seed), dtype=torch.float64)  # close rows stay apart
        centres, counts = kmeans(rows, k, generator=seeded(seed))
        assert centres.shape == (k, dim) and counts.shape == (k,) and counts.sum() == m
        assert torch.isfinite(centres).all()
        assert (counts > 0).sum() <= min(m, k)
        if m <= k:  # every row is a centre of its own
            assert (counts > 0).sum() == m and inertia(rows, centres) < 1e-8


class TestKmeansStart:
    def latents(self, seed=0):
        return 3 * torch.randn(4, 5, 3, 6, generator=seeded(seed)) + 10

    def test_training_waits_for_it(self):
        """Who trains without the package's loop is told what to call; looking at the random codes is allowed."""
        vq, z = VectorQuantizer(6, 5, kmeans_init=True), self.latents()
        random_start = vq.codebook.clone()
        with pytest.raises(ValueError, match=r"starts from k-means: call initialise\(z\)"):
            vq(z)
        vq.eval()(z)
        assert torch.equal(vq.codebook, random_start)
        vq.train().initialise(z)
        assert vq(z).loss < 10

    def test_steps_after_it_by_hand(self):
        vq, z = VectorQuantizer(6, 5, kmeans_init=True), self.latents()
        rows = rows_of(z)
        start = kmeans(torch.tensor(rows, dtype=torch.float32), 6, 0, seeded())[0].double().numpy()
        by_hand = EmaByHand(vq)
        by_hand.codebook, by_hand.count = lloyd(rows, start, 10)
        by_hand.sum, by_hand.count = by_hand.codebook * by_hand.count[:, None], by_hand.count.astype(float)
        vq.initialise(z, generator=seeded())
        q = vq(z)
        np.testing.assert_array_equal(q.indices.flatten(), distances_of(rows, by_hand.codebook).argmin(axis=1))
        assert q.loss.item() == pytest.approx(inertia(rows, by_hand.codebook) / rows.size, rel=1e-4)
        by_hand.step(rows)
        by_hand.check(vq)
        for seed in (1, 2):  # from here on averages only
            z = self.latents(seed)
            vq(z, generator=seeded())
            by_hand.step(rows_of(z))
            by_hand.check(vq)

    def test_lower_commitment_than_a_random_start(self):
        z = self.latents()
        vq = VectorQuantizer(6, 5)
        from_noise = copy.deepcopy(vq)(z).loss
        vq.initialise(z, generator=seeded())
        assert vq(z).loss < 0.2 * from_noise

    def test_fewer_latents_than_codes(self):
        vq, z = VectorQuantizer(32, 5, kmeans_init=True), self.latents()[:1, :, :1]
        vq.initialise(z, generator=seeded())
        assert vq(z).loss.item() < 1e-8
        assert torch.isfinite(vq.codebook).all()

    def test_not_after_loading(self):
        """A checkpoint's codebook is kept, also when it is loaded as a part of a larger model."""
        trained = VectorQuantizer(6, 5)
        trained(self.latents())
        loaded = VectorQuantizer(6, 5, kmeans_init=True)
        loaded.load_state_dict(trained.state_dict())
        part_of_a_model = nn.Sequential(nn.Identity(), VectorQuantizer(6, 5, kmeans_init=True))
        part_of_a_model.load_state_dict({f"1.{name}": value for name, value in trained.state_dict().items()})
        for vq in (trained, loaded, part_of_a_model[1]):
            vq(self.latents(1))
        for vq in (loaded, part_of_a_model[1]):
            for name, value in trained.state_dict().items():
                assert torch.equal(value, vq.state_dict()[name])

    def test_a_copy_starts_for_itself(self):
        """A deep copy, loaded, must not switch off the start of the original."""
        vq = VectorQuantizer(6, 5, kmeans_init=True)
        copy.deepcopy(vq).load_state_dict(vq.state_dict())
        assert vq.needs_init


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(codebook_size=1), "at least 2 codes.*got 1 of width 64"),
        (dict(dim=0), "got 32 of width 0"),
        (dict(decay=1.0), r"decay must be in \[0, 1\), got 1.0"),
        (dict(decay=-0.1), "got -0.1"),
    ],
)
def test_refuses_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(**arguments)


@pytest.mark.parametrize("shape", [(4, 64), (4, 64, 5), (1, 4, 64, 5, 5)])
def test_refuses_other_shapes(shape):
    vq = VectorQuantizer()
    for use in (vq, vq.encode):
        with pytest.raises(ValueError, match=r"\(B, D, F, W\)"):
            use(torch.zeros(shape))
