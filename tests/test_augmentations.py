"""Augmentations against slow references per series with the same draws, and against the exact law of what is drawn.

The law does not depend on the order of draws: for a short series every possible outcome is written down with its
probability, and the outcomes of many copies are counted.
"""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncvqvae_lite.augmentations import (
    AUGMENTATIONS,
    amplitude_resize,
    gaussian_noise,
    slice_and_shuffle,
    window_warp,
    zero_tail,
)

ALL = [window_warp, amplitude_resize, slice_and_shuffle, gaussian_noise, *AUGMENTATIONS.values()]
SHAPES = dict(
    batch=st.integers(1, 5), channels=st.integers(1, 3), length=st.integers(16, 300), seed=st.integers(0, 1000)
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def series(batch, channels, length, seed=0, dtype=torch.float32):
    return torch.randn(batch, channels, length, generator=seeded(seed), dtype=dtype)


def resample(values, n):
    """Linear interpolation to n points, both ends kept."""
    return np.interp(np.linspace(0, len(values) - 1, n), np.arange(len(values)), values)


def warp_one(values, start, window, points):
    """One channel of one series: the window resampled to `points`, glued, the whole resampled to its old length."""
    values = np.asarray(values, dtype=np.float64)
    middle = resample(values[start : start + window], points)
    return resample(np.concatenate([values[:start], middle, values[start + window :]]), len(values))


def shuffle_one(values, cuts, order):
    """One series (..., L), cut at the sorted `cuts` and put together in `order`."""
    segments = np.split(values, sorted(cuts), axis=-1)
    return np.concatenate([segments[i] for i in order], axis=-1)


def chi_square(outcomes, law):
    """p-value of a list of outcomes under a law {outcome: probability}; an outcome outside it is an error."""
    counts = dict.fromkeys(law, 0)
    for key in outcomes:
        counts[key] += 1
    return scipy.stats.chisquare(list(counts.values()), [p * len(outcomes) for p in law.values()]).pvalue


class TestWindowWarp:
    @settings(max_examples=40, deadline=None)
    @given(
        **SHAPES, ratio=st.sampled_from((0.2, 0.4, 0.8)), scale=st.sampled_from(((0.9, 2.0), (0.7, 0.9), (1.5, 4.0)))
    )
    def test_equals_interpolation_with_the_same_draws(self, batch, channels, length, seed, ratio, scale):
        x = series(batch, channels, length, seed)
        warped = window_warp(x, ratio, scale, seeded(seed))
        replay, window = seeded(seed), max(round(ratio * length), 1)
        starts = torch.randint(length - window, (batch, 1), generator=replay)
        factors = torch.empty(batch, 1).uniform_(*scale, generator=replay)
        assert warped.shape == x.shape
        for b in range(batch):
            points = int(np.float32(window) * factors[b].numpy()[0])
            for c in range(channels):
                expected = warp_one(x[b, c], starts[b].item(), window, points)
                np.testing.assert_allclose(warped[b, c], expected, atol=4e-6 * length)

    def test_law(self):
        """Start uniform in 0..L-w-1; the window of w = 8 steps becomes floor(8 c) points, c uniform in 0.9..2."""
        x, copies, window = series(1, 1, 20), 6000, 8
        outcomes = [(start, points) for start in range(12) for points in range(7, 16)]
        table = torch.tensor(np.array([warp_one(x[0, 0], start, window, points) for start, points in outcomes])).float()
        warped = window_warp(x.expand(copies, 1, 20), generator=seeded())[:, 0]
        distance, chosen = torch.cdist(warped, table, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
        assert distance.max() < 1e-4  # every outcome is one of the table
        found = [outcomes[i] for i in chosen.tolist()]
        share = {7: 0.8 / 8.8} | {points: 1 / 8.8 for points in range(8, 16)}
        assert chi_square([points for _, points in found], share) > 1e-3
        starts = [start for start, points in found if points != 8]  # 8 points leave the series as it is
        assert chi_square(starts, dict.fromkeys(range(12), 1 / 12)) > 1e-3

    def test_default_window_of_the_archive_lengths(self):
        """w = round(0.4 L): 26 of 65 steps, so no start beyond 38 and no more than 51 points."""
        x = series(1, 1, 65)
        outcomes = np.array([warp_one(x[0, 0], start, 26, points) for start in range(39) for points in range(23, 52)])
        warped = window_warp(x.expand(300, 1, 65), generator=seeded())[:, 0].double()
        assert torch.cdist(warped, torch.tensor(outcomes)).min(dim=1).values.max() < 1e-3

    @pytest.mark.parametrize("length", [16, 65, 140, 500, 1024])
    def test_scale_one_changes_nothing(self, length):
        x = series(4, 2, length)
        torch.testing.assert_close(window_warp(x, scale=(1.0, 1.0), generator=seeded()), x, atol=4e-6 * length, rtol=0)

    def test_ends_are_kept(self):
        x = series(200, 2, 65)
        warped = window_warp(x, generator=seeded())
        torch.testing.assert_close(warped[..., [0, -1]], x[..., [0, -1]], atol=1e-4, rtol=0)

    @pytest.mark.parametrize("scale", [(0.9, 2.0), (0.2, 0.5), (1.0, 5.0)])
    def test_order_and_range_are_kept(self, scale):
        """A rising series stays a rising one between the same ends: time is bent, never folded."""
        ramp = torch.arange(200.0).expand(100, 1, 200)
        steps = window_warp(ramp, scale=scale, generator=seeded()).diff(dim=-1)
        assert steps.min() > 0
        torch.testing.assert_close(steps.sum(dim=-1), torch.full((100, 1), 199.0), atol=1e-3, rtol=0)

    def test_constant_stays_constant(self):
        x = torch.full((3, 2, 33), 5.0)
        torch.testing.assert_close(window_warp(x, generator=seeded()), x)

    def test_channels_share_the_window(self):
        x = series(5, 1, 80).expand(5, 3, 80) * torch.tensor([1.0, -2.0, 3.0])[:, None]
        warped = window_warp(x, generator=seeded())
        torch.testing.assert_close(warped[:, 1:], warped[:, :1] * torch.tensor([-2.0, 3.0])[:, None], atol=1e-5, rtol=0)

    @pytest.mark.parametrize(
        ("length", "window", "scale", "points"),
        [
            (20, 1, 4.5, 4),  # one step, repeated
            (20, 1, 1.0, 1),
            (20, 4, 0.3, 1),
            (20, 4, 0.5, 2),
            (20, 19, 1.5, 28),
            (250, 100, 1.15, 115),
        ],
    )
    def test_edges(self, length, window, scale, points):
        """A window that starts or ends as a single step; a stretched length that is an integer."""
        x = series(6, 1, length)
        warped = window_warp(x, window / length, (scale, scale), seeded())
        starts = torch.randint(length - window, (6, 1), generator=seeded())
        for b in range(6):
            expected = warp_one(x[b, 0], starts[b].item(), window, points)
            np.testing.assert_allclose(warped[b, 0], expected, atol=4e-6 * length)

    def test_window_of_all_steps(self):
        """round(0.99 * 16) = 16: such a window has no place to start from."""
        with pytest.raises(ValueError, match="shorter than 16 steps"):
            window_warp(torch.arange(16.0).expand(3, 1, 16), ratio=0.99, generator=seeded())

    @pytest.mark.parametrize(
        ("ratio", "scale"),
        [
            (0.0, (0.9, 2.0)),
            (1.0, (0.9, 2.0)),
            (-0.4, (0.9, 2.0)),
            (0.4, (0.0, 2.0)),
            (0.4, (-1.0, 2.0)),
            (0.4, (2.0, 0.9)),
        ],
    )
    def test_refuses(self, ratio, scale):
        with pytest.raises(ValueError, match=f"got ratio {ratio}, scale"):
            window_warp(series(2, 1, 20), ratio=ratio, scale=scale)


class TestAmplitudeResize:
    @settings(max_examples=20, deadline=None)
    @given(**SHAPES, std=st.sampled_from((0.0, 0.2, 1.0)))
    def test_equals_loops_with_the_same_draws(self, batch, channels, length, seed, std):
        x, draws = series(batch, channels, length, seed), torch.randn(batch, generator=seeded(seed))
        resized = amplitude_resize(x, std, seeded(seed))
        for b in range(batch):
            expected = x[b].double().numpy() * (1 + std * draws[b].item())
            np.testing.assert_allclose(resized[b], expected, rtol=1e-5, atol=1e-6)

    def test_law(self):
        """One factor 1 + N(0, 0.2^2) per series, the same for every step and channel."""
        x = series(4000, 2, 5)
        factors = amplitude_resize(x, generator=seeded()) / x
        torch.testing.assert_close(factors, factors[:, :1, :1].expand_as(x), rtol=1e-5, atol=0)
        assert scipy.stats.kstest(factors[:, 0, 0].numpy(), "norm", args=(1, 0.2)).pvalue > 1e-3
        assert factors[:, 0, 0].std().item() == pytest.approx(0.2, rel=0.05)


class TestGaussianNoise:
    @settings(max_examples=20, deadline=None)
    @given(**SHAPES, std=st.sampled_from((0.0, 0.05, 1.0)))
    def test_equals_sum_with_the_same_draws(self, batch, channels, length, seed, std):
        x = series(batch, channels, length, seed)
        noise = torch.randn(batch, channels, length, generator=seeded(seed)).double()
        np.testing.assert_allclose(gaussian_noise(x, std, seeded(seed)), x.double() + std * noise, atol=1e-6)

    def test_law(self):
        """N(0, 0.05^2), independent over series, channels and steps."""
        noise = gaussian_noise(torch.zeros(40, 3, 200), generator=seeded()).double()
        assert scipy.stats.kstest(noise.flatten().numpy(), "norm", args=(0, 0.05)).pvalue > 1e-3
        assert noise.std().item() == pytest.approx(0.05, rel=0.02)
        unit = noise / 0.05
        for one, other in (
            (unit[:, 0], unit[:, 1]),
            (unit[:, 0], unit[:, 2]),
            (unit[:-1], unit[1:]),
            (unit[..., :-1], unit[..., 1:]),
        ):
            assert abs((one * other).mean().item()) < 4 / one.numel() ** 0.5


def law_of_shuffle(length, cut_sets, orders):
    """{resulting order of the steps: probability} when each cut set and each order is equally likely."""
    law, cut_sets, orders = {}, list(cut_sets), list(orders)
    for cuts in cut_sets:
        for order in orders:
            result = tuple(shuffle_one(np.arange(length), cuts, order).tolist())
            law[result] = law.get(result, 0) + 1 / (len(cut_sets) * len(orders))
    return law


class TestSliceAndShuffle:
    @settings(max_examples=40, deadline=None)
    @given(**SHAPES, n_segments=st.integers(2, 8))
    def test_equals_concatenation_with_the_same_draws(self, batch, channels, length, seed, n_segments):
        x, replay = series(batch, channels, length, seed), seeded(seed)
        shuffled = slice_and_shuffle(x, n_segments, generator=seeded(seed))
        cuts = torch.randint(length, (batch, n_segments - 1), generator=replay).tolist()
        orders = np.argsort(torch.rand(batch, n_segments, generator=replay).numpy(), axis=1)
        for b in range(batch):
            np.testing.assert_array_equal(shuffled[b], shuffle_one(x[b].numpy(), cuts[b], orders[b]))

    @settings(max_examples=40, deadline=None)
    @given(**SHAPES, n_segments=st.integers(2, 6))
    def test_equals_concatenation_with_the_same_draws_when_distinct(self, batch, channels, length, seed, n_segments):
        x, replay = series(batch, channels, length, seed), seeded(seed)
        shuffled = slice_and_shuffle(x, n_segments, distinct=True, generator=seeded(seed))
        scores = torch.rand(batch, length - 1, generator=replay).numpy()
        orders = list(itertools.permutations(range(n_segments)))[1:]
        picks = torch.randint(len(orders), (batch,), generator=replay).tolist()
        for b in range(batch):
            cuts = np.argsort(-scores[b])[: n_segments - 1] + 1
            np.testing.assert_array_equal(shuffled[b], shuffle_one(x[b].numpy(), cuts, orders[picks[b]]))

    @pytest.mark.parametrize(("length", "n_segments"), [(5, 4), (6, 3), (7, 2)])
    def test_law(self, length, n_segments):
        """Cuts uniform in 0..L-1 with replacement, every order equally likely: at least 1/n! stay as they were."""
        cut_sets = itertools.product(range(length), repeat=n_segments - 1)
        law = law_of_shuffle(length, cut_sets, itertools.permutations(range(n_segments)))
        steps = torch.arange(float(length)).expand(20_000, 1, length)
        shuffled = slice_and_shuffle(steps, n_segments, generator=seeded())[:, 0].int()
        assert chi_square(list(map(tuple, shuffled.tolist())), law) > 1e-3
        unchanged = (shuffled == torch.arange(length)).all(dim=1).double().mean().item()
        assert unchanged == pytest.approx(law[tuple(range(length))], rel=0.15)

    @pytest.mark.parametrize(("length", "n_segments"), [(6, 4), (9, 3), (7, 2), (4, 4)])
    def test_law_when_distinct(self, length, n_segments):
        """Distinct cuts in 1..L-1 and every order but the original, equally likely: no series stays as it was."""
        cut_sets = itertools.combinations(range(1, length), n_segments - 1)
        law = law_of_shuffle(length, cut_sets, list(itertools.permutations(range(n_segments)))[1:])
        assert tuple(range(length)) not in law
        steps = torch.arange(float(length)).expand(10_000, 1, length)
        shuffled = slice_and_shuffle(steps, n_segments, distinct=True, generator=seeded())[:, 0].int()
        assert chi_square(list(map(tuple, shuffled.tolist())), law) > 1e-3

    def test_share_of_unchanged_series(self):
        """At 128 steps and 4 segments: the original order, 1/24, and a few with empty segments (Q10)."""
        steps = torch.arange(128.0).expand(20_000, 1, 128)
        unchanged = (slice_and_shuffle(steps, generator=seeded()) == steps).all(dim=2).double().mean().item()
        assert 1 / 24 - 4 * (1 / 24 / 20_000) ** 0.5 < unchanged < 0.06
        assert not (slice_and_shuffle(steps, distinct=True, generator=seeded()) == steps).all(dim=2).any()

    def test_number_of_seams_when_distinct(self):
        """No empty segment: four segments in another order meet in one to three places that were not neighbours."""
        steps = torch.arange(64.0).expand(2000, 1, 64)
        seams = (slice_and_shuffle(steps, 4, distinct=True, generator=seeded()).diff(dim=2) != 1).sum(dim=2)
        assert set(seams.flatten().tolist()) == {1, 2, 3}

    @settings(max_examples=25, deadline=None)
    @given(**SHAPES, distinct=st.booleans())
    def test_is_a_permutation_of_steps(self, batch, channels, length, seed, distinct):
        x = series(batch, channels, length, seed)
        shuffled = slice_and_shuffle(x, distinct=distinct, generator=seeded(seed))
        assert torch.equal(shuffled.sort(dim=-1).values, x.sort(dim=-1).values)

    @pytest.mark.parametrize("distinct", [True, False])
    def test_channels_share_the_cuts_and_series_do_not(self, distinct):
        steps = torch.arange(50.0).expand(20, 3, 50) + torch.tensor([0.0, 100.0, 200.0])[:, None]
        shuffled = slice_and_shuffle(steps, distinct=distinct, generator=seeded())
        assert torch.equal(shuffled[:, 1], shuffled[:, 0] + 100) and torch.equal(shuffled[:, 2], shuffled[:, 0] + 200)
        assert len(shuffled[:, 0].unique(dim=0)) > 15

    @pytest.mark.parametrize(
        ("n_segments", "distinct", "length"),
        [(1, False, 20), (0, True, 20), (21, False, 20), (9, True, 20), (5, True, 4)],
    )
    def test_refuses(self, n_segments, distinct, length):
        with pytest.raises(ValueError, match=f"cannot cut {length} steps into {n_segments} segments"):
            slice_and_shuffle(series(2, 1, length), n_segments, distinct)


class TestZeroTail:
    @settings(max_examples=25, deadline=None)
    @given(**SHAPES, multiple=st.integers(1, 40))
    def test_zeroes_the_rest(self, batch, channels, length, seed, multiple):
        x = series(batch, channels, length, seed)
        expected = x.numpy().copy()
        for step in range(length):
            if step >= length - length % multiple:
                expected[..., step] = 0
        before = x.clone()
        np.testing.assert_array_equal(zero_tail(x, multiple), expected)
        assert torch.equal(x, before)

    @pytest.mark.parametrize("length", [500, 140, 70, 65, 398, 128])
    def test_is_what_a_round_trip_without_a_length_does(self, length):
        """The reference's detour (Q9): STFT with n_fft 32, hop 8, and an inverse that returns 8 floor(L/8) samples."""
        x, window = series(3, 1, length), torch.hann_window(32)
        spectrum = torch.stft(x[:, 0], 32, 8, window=window, onesided=False, return_complex=True)
        back = torch.istft(spectrum, 32, 8, window=window, onesided=False)
        padded = torch.nn.functional.pad(back, (0, length - back.shape[-1]))
        torch.testing.assert_close(zero_tail(x)[:, 0], padded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("augment", ALL, ids=lambda f: getattr(f, "label", None) or f.__name__)
class TestEveryAugmentation:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_shape_dtype_device_and_input(self, augment, dtype):
        x = series(3, 2, 37, dtype=dtype)
        before = x.clone()
        view = augment(x, generator=seeded())
        assert (view.shape, view.dtype, view.device) == (x.shape, x.dtype, x.device)
        assert torch.equal(x, before) and view.data_ptr() != x.data_ptr()
        assert not torch.equal(view, x) and torch.isfinite(view).all()

    def test_generator_decides(self, augment):
        x, state = series(6, 2, 40), torch.get_rng_state()
        first, again, other = (augment(x, generator=seeded(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again) and not torch.equal(first, other)
        assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn elsewhere

    def test_series_have_draws_of_their_own(self, augment):
        x = series(1, 1, 40).expand(12, 1, 40)
        assert len(augment(x, generator=seeded()).unique(dim=0)) > 8

    def test_strided_input(self, augment):
        x = series(4, 40, 2).transpose(1, 2)
        assert torch.equal(augment(x, generator=seeded()), augment(x.contiguous(), generator=seeded()))

    @pytest.mark.parametrize("shape", [(16,), (3, 16), (1, 2, 3, 16)])
    def test_refuses_other_shapes(self, augment, shape):
        with pytest.raises(ValueError, match=r"\(B, C, L\)"):
            augment(torch.randn(shape))

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_on_a_gpu(self, augment):
        """Drawn and computed on the device, without a copy to the host; another generator, so another draw."""
        x = series(3, 2, 37).cuda()
        view = augment(x, generator=torch.Generator("cuda").manual_seed(0))
        assert view.shape == x.shape and view.is_cuda and not torch.equal(view, x)


class TestFamilies:
    def test_names(self):
        assert list(AUGMENTATIONS) == ["warp", "slice", "gauss"]

    @pytest.mark.parametrize(
        ("name", "steps"),
        [("warp", [window_warp, amplitude_resize]), ("slice", [slice_and_shuffle]), ("gauss", [gaussian_noise])],
    )
    def test_steps_in_order(self, name, steps):
        x, generator = series(4, 2, 50), seeded()
        expected = x
        for step in steps:
            expected = step(expected, generator=generator)
        assert torch.equal(AUGMENTATIONS[name](x, generator=seeded()), expected)
