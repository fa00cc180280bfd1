"""Each view beside a loop over series, channels and steps with the same draws; what is a gap, what is refused."""

import functools
import math

import numpy as np
import pytest
import torch
from toy_family import seeded

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.family import views
from ncvqvae_lite.family.views import (
    VIEWS,
    chain,
    drop_values,
    fill_missing,
    flip_channels,
    interpolate_missing,
    maybe,
    noisy_labels,
    pair,
)

ANY = {**VIEWS, "flip_channels": flip_channels, "drift": views.drift}
SHAPES = [(5, 1, 30), (4, 3, 41), (1, 2, 10)]


def series(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(sum(shape)), dtype=dtype)


# --- the eight as loops: (x (B, C, L) as nested lists of numbers, g) -> the same ---


def by_steps(rule):
    """A loop over all steps; rule(channel (L,) array, t, i, c) is the new value of step t of channel c of series i."""
    return lambda x, *state: np.array(
        [
            [[rule(x[i, c], t, i, c, *state) for t in range(x.shape[2])] for c in range(x.shape[1])]
            for i in range(len(x))
        ]
    )


def between(channel, position):
    """A channel at a real-valued step, linearly."""
    left = min(int(position), len(channel) - 1)
    right = min(left + 1, len(channel) - 1)
    return channel[left] + (position - left) * (channel[right] - channel[left])


def blockout_loop(x, g):
    window = int(0.1 * x.shape[2])
    start = torch.randint(x.shape[2] - window + 1, (len(x), 1), generator=g)[:, 0].tolist()
    return by_steps(lambda v, t, i, c: 0 if start[i] <= t < start[i] + window else v[t])(x)


def noise_loop(x, g):
    draw = torch.rand(x.shape, generator=g, dtype=torch.float64).numpy()

    def rule(v, t, i, c):
        mean = sum(v) / len(v)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in v) / len(v))
        return v[t] + 0.1 * deviation * (2 * draw[i, c, t] - 1)

    return by_steps(rule)(x)


def crop_loop(x, g):
    length = x.shape[2]
    window = int(0.5 * length)
    start = torch.randint(length - window + 1, (len(x), 1), generator=g)[:, 0].tolist()
    return by_steps(lambda v, t, i, c: between(v, start[i] + t * (window - 1) / (length - 1)))(x)


def magnitude_loop(x, g):
    theta = 2 * math.pi * torch.rand(*x.shape[:2], 1, generator=g, dtype=torch.float64)[..., 0].numpy()
    length = x.shape[2]
    return by_steps(lambda v, t, i, c: v[t] * (1 + 0.1 * math.sin(2 * math.pi * t / length + theta[i, c])))(x)


def time_loop(x, g):
    speed = 0.8 + 0.4 * torch.rand(len(x), 1, generator=g, dtype=torch.float64)[:, 0].numpy()
    return by_steps(lambda v, t, i, c: between(v, min(t * speed[i], len(v) - 1)))(x)


def smooth_loop(x, g):
    return by_steps(lambda v, t, i, c: (v[max(t - 1, 0)] + v[t] + v[min(t + 1, len(v) - 1)]) / 3)(x)


def drift_loop(x, g):
    draw = torch.rand(2, len(x), 1, 1, generator=g, dtype=torch.float64)[..., 0, 0].numpy()
    f, theta, length = 0.5 + 1.5 * draw[0], 2 * math.pi * draw[1], x.shape[2]
    return by_steps(lambda v, t, i, c: v[t] + 3 * math.sin(2 * math.pi * f[i] * t / length + theta[i]))(x)


LOOPS = {
    "flip_time": lambda x, g: by_steps(lambda v, t, i, c: v[len(v) - 1 - t])(x),
    "flip_sign": lambda x, g: by_steps(lambda v, t, i, c: -v[t])(x),
    "blockout": blockout_loop,
    "noise": noise_loop,
    "crop_resize": crop_loop,
    "magnitude_warp": magnitude_loop,
    "time_warp": time_loop,
    "smooth": smooth_loop,
    "flip_channels": lambda x, g: by_steps(lambda v, t, i, c: x[i, x.shape[1] - 1 - c, t])(x),
    "drift": drift_loop,
}


def test_there_are_eight():
    assert list(VIEWS) == list(LOOPS)[:8] and LOOPS.keys() == ANY.keys()


@pytest.mark.parametrize("name", ANY)
class TestEveryView:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_equals_its_loop(self, name, shape):
        for seed in range(5):
            x = series(*shape)
            loop = LOOPS[name](x.numpy(), seeded(seed))
            np.testing.assert_allclose(ANY[name](x, g=seeded(seed)), loop, rtol=1e-10, atol=1e-10)

    def test_leaves_its_input_and_keeps_shape_and_type(self, name):
        for dtype in (torch.float32, torch.float64):
            x = series(4, 2, 30, dtype=dtype)
            before = x.clone()
            out = ANY[name](x, g=seeded())
            assert torch.equal(x, before) and out.shape == x.shape and out.dtype == dtype
            out += 1
            assert torch.equal(x, before)

    def test_series_are_drawn_apart(self, name):
        """Equal series become different ones, unless nothing is drawn."""
        out = ANY[name](series(1, 1, 30).repeat(20, 1, 1), g=seeded())
        distinct = len({tuple(row.flatten().tolist()) for row in out})
        assert distinct == 1 if name.startswith(("flip", "smooth")) else distinct > 5

    def test_gradients_pass(self, name):
        x = series(2, 2, 12).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: ANY[name](x, g=seeded()), [x])

    @pytest.mark.parametrize(
        ("x", "words"),
        [
            (series(2, 1, 12).fill_(math.nan), "fill gaps first, by fill_missing"),
            (series(2, 12), r"as \(n, C, L\), got \(2, 12\)"),
            (series(0, 1, 12), "at least one series"),
            ("x", "expected real numbers"),
        ],
    )
    def test_refuses_what_is_no_batch_of_series(self, name, x, words):
        with pytest.raises(BadInput, match=words):
            ANY[name](x, g=seeded())


@pytest.mark.parametrize("name", ["flip_time", "flip_sign", "flip_channels"])
def test_flipped_twice_is_the_same(name):
    x = series(3, 2, 11)
    assert torch.equal(ANY[name](ANY[name](x)), x) and not torch.equal(ANY[name](x), x)
    assert torch.equal(flip_channels(x[:, :1]), x[:, :1])


def test_blockout_reaches_every_place_and_never_past_the_end():
    out = views.blockout(torch.ones(4000, 2, 20), g=seeded())
    is_zero = (out == 0)[:, 0]
    assert torch.equal(is_zero, (out == 0)[:, 1]) and (is_zero.sum(dim=1) == 2).all()
    starts = torch.bincount(is_zero.int().argmax(dim=1), minlength=20)
    assert starts[19] == 0 and starts[:19].min() > 4000 / 19 / 2


def test_smooth_is_a_moving_average_inside_and_keeps_constants():
    x = series(2, 1, 25)
    inside = torch.nn.functional.avg_pool1d(x, 3, stride=1)
    torch.testing.assert_close(views.smooth(x)[..., 1:-1], inside)
    torch.testing.assert_close(views.smooth(torch.ones(1, 1, 9)), torch.ones(1, 1, 9))
    assert torch.equal(views.smooth(x, weight=0), x)


def test_speeds_and_crops_keep_straight_lines_straight():
    line = torch.arange(50, dtype=torch.float64).view(1, 1, 50).repeat(30, 1, 1)
    cropped = views.crop_resize(line, g=seeded()).diff(dim=2)
    torch.testing.assert_close(cropped, torch.full_like(cropped, 24 / 49))
    warped = views.time_warp(line, g=seeded())
    assert warped.max() == 49 and (warped[:, 0, 0] == 0).all()
    assert ((warped[:, 0, 1] >= 0.8) & (warped[:, 0, 1] <= 1.2)).all() and warped[:, 0, 1].std() > 0.08
    torch.testing.assert_close(views.time_warp(line, g=seeded(), speed=(1, 1)), line)


# --- put together ---


def test_chain_maybe_and_pair():
    x = series(400, 2, 10)
    twice = chain(views.flip_time, views.flip_sign)
    torch.testing.assert_close(twice(x, g=None), -x.flip(2))
    half = maybe(views.flip_sign, chance=0.3)(x, g=seeded())
    is_flipped = (half == -x).all(dim=(1, 2))
    assert torch.equal(half[~is_flipped], x[~is_flipped]) and 0.2 < is_flipped.double().mean() < 0.4
    assert torch.equal(maybe(views.flip_sign, 0)(x, g=seeded()), x)
    assert torch.equal(maybe(views.flip_sign, 1)(x, g=seeded()), -x)
    g = seeded(1)
    expected = [views.noise(x, g=g), views.noise(x, g=g)]
    for view, other in zip(pair(views.noise)(x, seeded(1)), expected, strict=True):
        assert torch.equal(view, other)
    with pytest.raises(BadInput, match=r"chance must be in 0\.\.1"):
        maybe(views.noise, 1.1)


def test_the_views_for_simclr():
    """A crop of 0.8 always, then four others by half."""
    x, g = series(6, 1, 40), seeded(2)
    by_hand = []
    for _ in range(2):
        view = views.crop_resize(x, g=g, share=0.8)
        for other in (views.blockout, views.noise, views.magnitude_warp, views.smooth):
            is_changed = torch.rand(6, 1, 1, generator=g) < 0.5
            view = torch.where(is_changed, other(view, g=g), view)
        by_hand.append(view)
    for view, other in zip(views.simclr_views(x, seeded(2)), by_hand, strict=True):
        torch.testing.assert_close(view, other)


# --- gaps and labels ---


@pytest.mark.parametrize("share", [0.2, 0.4, 0.999, 1e-9])
def test_exactly_so_many_values_are_dropped(share):
    x = series(7, 2, 30)
    gaps = drop_values(x, share, g=seeded())
    is_missing = gaps.isnan()
    assert torch.equal(is_missing[:, 0], is_missing[:, 1]) and is_missing[:, 0].sum() == int(share * 7 * 30)
    assert torch.equal(gaps[~is_missing], x[~is_missing]) and not x.isnan().any()


def test_gaps_are_filled_forward_then_backward():
    nan = math.nan
    x = np.array([[nan, nan, 3, nan, 5, nan], [1, 2, nan, nan, nan, 6]])
    filled = fill_missing(x)
    assert filled.tolist() == [[3, 3, 3, 3, 5, 5], [1, 2, 2, 2, 2, 6]] and np.isnan(x).sum() == 7
    assert filled.dtype == torch.float64
    y = drop_values(series(9, 3, 20, dtype=torch.float32), 0.5, g=seeded())
    loop = y.clone()
    for i in range(9):
        for c in range(3):
            for t in [*range(1, 20)]:
                if loop[i, c, t].isnan():
                    loop[i, c, t] = loop[i, c, t - 1]
            for t in reversed(range(19)):
                if loop[i, c, t].isnan():
                    loop[i, c, t] = loop[i, c, t + 1]
    assert torch.equal(fill_missing(y), loop) and not loop.isnan().any()
    with pytest.raises(BadInput, match="row 1 of 4 has no value at all"):
        fill_missing(torch.tensor([[[1.0], [nan]], [[2.0], [3.0]]]))


def test_gaps_are_interpolated_as_numpy_does():
    x = series(9, 3, 20, dtype=torch.float64)
    gaps = drop_values(x, 0.6, g=seeded())
    gaps[0, 0, :5] = gaps[1, 0, -4:] = math.nan
    filled, steps = interpolate_missing(gaps), np.arange(20)
    for i in range(9):
        for c in range(3):
            known = ~gaps[i, c].isnan().numpy()
            expected = np.interp(steps, steps[known], x[i, c].numpy()[known])
            assert np.allclose(filled[i, c], expected, atol=1e-12)
    assert torch.equal(filled[~gaps.isnan()], x[~gaps.isnan()]) and torch.equal(interpolate_missing(x), x)
    assert torch.equal(interpolate_missing(gaps.numpy()), filled)
    with pytest.raises(BadInput, match="no value at all"):
        interpolate_missing(torch.full((1, 1, 3), math.nan))
    infinite = torch.tensor([[1, math.inf, 3, math.nan, 5]])
    assert interpolate_missing(infinite).tolist() == [[1, math.inf, 3, 4, 5]]


@pytest.mark.parametrize("fill, value", [(fill_missing, 1), (interpolate_missing, 2)])
def test_masked_values_are_filled(fill, value):
    masked = np.ma.masked_array([[1.0, 99, 3], [4, 4, 4]], [[False, True, False], [False] * 3])
    for x in (masked, list(masked), [masked[0], [4.0, 4, 4]]):
        assert fill(x).tolist() == [[1, value, 3], [4, 4, 4]]


def test_wrong_labels_are_of_other_classes():
    y = torch.arange(6000) % 3
    noisy = noisy_labels(y, 0.3, g=seeded())
    wrong = noisy != y
    assert abs(wrong.double().mean() - 0.3) < 4 * math.sqrt(0.21 / 6000)
    counts = torch.bincount((noisy - y)[wrong] % 3, minlength=3)
    assert counts[0] == 0 and abs(counts[1] - counts[2]) < 4 * math.sqrt(wrong.sum())
    assert noisy.min() == 0 and noisy.max() == 2 and torch.equal(y, torch.arange(6000) % 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        *((functools.partial(drop_values, share=s), "share must be between 0 and 1") for s in (0, 1, -0.1, 1.5)),
        *((functools.partial(views.blockout, share=s), "share must be between 0 and 1") for s in (0, 1, 2)),
        (functools.partial(views.blockout, share=math.nan), "share must be finite"),
        (functools.partial(views.crop_resize, share=1.0), "share must be between 0 and 1"),
        (functools.partial(views.crop_resize, share=0.01), "has no step: raise the share"),
        (functools.partial(views.noise, strength=-1), "strength must be 0 or more"),
        (functools.partial(views.time_warp, speed=(1.2, 0.8)), "speed must be two numbers above 0"),
        (functools.partial(views.time_warp, speed=0.8), "speed must be two numbers"),
        (functools.partial(views.smooth, weight=1.5), r"weight must be in 0\.\.1"),
    ],
)
def test_other_settings_are_refused(call, words):
    with pytest.raises(BadInput, match=words):
        call(series(2, 1, 20), g=seeded())


def test_other_labels_and_shares_of_them_are_refused():
    for y, share, words in (
        ([0, 1], 0, "share must be between"),
        ([0, 0], 0.1, "two or more classes"),
        ([-1, 1], 0.1, "two or more classes"),
        ([0.5, 1], 0.1, "labels must be whole numbers"),
    ):
        with pytest.raises(BadInput, match=words):
            noisy_labels(torch.tensor(y), share, g=seeded())
