"""Series that are made: whether they follow the recipe, and how they stand beside those of the archive."""

import numpy as np
import pytest
import torch
from scipy import stats

from ncvqvae_lite import cbf, gestures, load_dataset, synthetic_control, two_patterns
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.generators import (
    GENERATORS,
    _paths,
    _raw_cbf,
    _raw_gestures,
    _raw_synthetic_control,
    _raw_two_patterns,
)

MADE = {  # name of the generator's data set: the function of `data`, number of classes, length, whose recipe
    "TwoPatternsGenerated": (two_patterns, 4, 128, "Geurts"),
    "CBFGenerated": (cbf, 3, 128, "Saito"),
    "SyntheticControlGenerated": (synthetic_control, 6, 60, "Alcock"),
}
every_generator = pytest.mark.parametrize("name", MADE)


# ---- what they have in common


def test_all_generators_are_tested():
    assert MADE.keys() == GENERATORS.keys()


@every_generator
def test_generated_data_set(name):
    make, n_classes, length, whose = MADE[name]
    ds = make(200, 300, seed=3)
    assert ds.name == name and ds.class_names == tuple(map(str, range(1, n_classes + 1)))
    assert ds.x_train.shape == (200, 1, length) and ds.x_test.shape == (300, 1, length)
    assert ds.x_train.dtype == torch.float32 and ds.y_train.dtype == torch.int64
    for x in (ds.x_train, ds.x_test):
        assert x.mean(dim=2).abs().max() < 1e-6
        np.testing.assert_allclose(x.std(dim=2, correction=1), 1, atol=1e-6)
    assert whose in ds.source and "seed 3" in ds.source and "scaled" not in ds.source


@every_generator
def test_by_name_with_the_defaults(name):
    assert load_dataset(name).content_hash == MADE[name][0]().content_hash


@every_generator
def test_the_seed_decides_and_the_train_set_does_not_depend_on_the_size_of_test(name):
    make = MADE[name][0]
    a, b, other, longer = make(50, 50), make(50, 50), make(50, 50, seed=1), make(50, 80)
    assert a.content_hash == b.content_hash != other.content_hash
    assert torch.equal(a.x_train, longer.x_train) and not torch.equal(a.x_train, other.x_train)
    assert not torch.equal(a.x_train, a.x_test)


@pytest.mark.parametrize(
    ("name", "scaled"), [*zip(MADE, ("from 16..32 steps to 32..64", "from 128 steps to 256", "from 60 steps to 256"))]
)
def test_other_lengths_scale_the_patterns_and_say_so(name, scaled):
    ds = MADE[name][0](20, 20, length=256)
    assert ds.length == 256 and f"scaled {scaled}" in ds.source


@every_generator
@pytest.mark.parametrize("seed", range(10))
def test_the_smallest_train_set_has_every_class(name, seed):
    make, n_classes, *_ = MADE[name]
    assert sorted(make(n_classes, 1, seed=seed).y_train.tolist()) == list(range(n_classes))


BAD = [{"length": 15}, {"n_train": 2}, {"n_test": 0}, {"length": 128.0}, {"n_train": "many"}, {"seed": -1}]


@every_generator
@pytest.mark.parametrize("bad", BAD, ids=str)
def test_other_arguments_are_refused_in_one_sentence(name, bad):
    make = MADE[name][0]
    ((what, value),) = bad.items()
    with pytest.raises(
        BadInput, match=rf"^{make.__name__} got {what}={value!r}, expected a whole number of at least \d+:"
    ):
        make(**bad)


# ---- TwoPatterns by its recipe

SIGNS = {0: (1, -1, 1, -1), 1: (-1, 1, 1, -1), 2: (1, -1, -1, 1), 3: (-1, 1, -1, 1)}


def raw(n=3000, length=128, seed=0, recipe=_raw_two_patterns, n_classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    return labels, *recipe(labels, length, rng)


@pytest.mark.parametrize("length", [16, 17, 64, 128, 300])
def test_patterns_stand_where_they_should(length):
    labels, x, starts, lengths = raw(400, length)
    assert x.shape == (400, length)
    assert lengths.min() >= length // 8 and lengths.max() <= length // 4
    for row, label, (s1, s2), (l1, l2) in zip(x, labels, starts, lengths, strict=True):
        assert 0 <= s1 and s1 + l1 <= s2 and s2 + l2 < length  # apart, and the last step free
        noise = np.ones(length, dtype=bool)
        signs = iter(SIGNS[label])
        for start, extent in ((s1, l1), (s2, l2)):
            half = -(-extent // 2)  # of an odd length the first plateau is the longer
            assert np.all(row[start : start + half] == 5 * next(signs))
            assert np.all(row[start + half : start + extent] == 5 * next(signs))
            noise[start : start + extent] = False
        assert not np.any(np.abs(row[noise]) == 5)


def test_noise_lengths_starts_and_classes_are_drawn_as_told():
    labels, x, starts, lengths = raw(20000)
    covered = np.zeros_like(x, dtype=bool)
    for pattern in (0, 1):
        step = np.arange(128) - starts[:, pattern, None]
        covered |= (step >= 0) & (step < lengths[:, pattern, None])
    assert stats.kstest(x[~covered][:200_000], "norm").pvalue > 1e-3
    assert stats.chisquare(np.bincount(labels)).pvalue > 1e-3
    for pattern in (0, 1):
        assert stats.chisquare(np.bincount(lengths[:, pattern])[16:], np.full(17, 20000 / 17)).pvalue > 1e-3
    assert abs(stats.spearmanr(lengths[:, 0], lengths[:, 1]).statistic) < 4 / np.sqrt(20000)
    end = starts[:, 0] + lengths[:, 0]
    rooms = (128 - lengths.sum(axis=1), 128 - lengths[:, 1] - end)  # number of places the pattern may start at
    jitter = np.random.default_rng(1).random(20000)  # makes a uniform integer a uniform number
    for place, room in ((starts[:, 0], rooms[0]), (starts[:, 1] - end, rooms[1])):
        assert place.min() == 0 and (place == room - 1).any()
        assert stats.kstest((place + jitter) / room, "uniform").pvalue > 1e-3


# ---- cylinder, bell and funnel by their recipe


def pattern_by_loop(label, start, end, length):
    """Cylinder, bell or funnel of height 6, step by step."""
    shape = np.zeros(length)
    for step in range(start, end + 1):
        ramp = 6 * (step - start) / (end - start)
        shape[step] = (6, ramp, 6 - ramp)[label]
    return shape


@pytest.mark.parametrize("length", [16, 17, 64, 128, 300])
def test_cylinders_bells_and_funnels_stand_in_noise(length):
    labels, x, starts, ends = raw(600, length, recipe=_raw_cbf, n_classes=3)
    assert x.shape == (600, length)
    assert starts.min() >= length // 8 - 1 and starts.max() < length // 4
    assert ends.min() >= length // 2 and ends.max() < length
    noise = [row - pattern_by_loop(*where, length) for row, *where in zip(x, labels, starts, ends, strict=True)]
    assert stats.kstest(np.ravel(noise), "norm").pvalue > 1e-3
    per_class = [np.ravel([n for n, label in zip(noise, labels, strict=True) if label == k]).std() for k in range(3)]
    np.testing.assert_allclose(per_class, 1, atol=4 / np.sqrt(2 * 150 * length))


def test_starts_and_ends_are_uniform_and_independent():
    labels, _, starts, ends = raw(20000, recipe=_raw_cbf, n_classes=3)
    table = np.histogram2d(starts, ends, bins=[np.arange(15, 32), np.arange(64, 129, 8)])[0]
    assert table.sum() == 20000 and stats.chi2_contingency(table).pvalue > 1e-3
    for drawn, first, places in ((starts, 15, 16), (ends, 64, 64), (labels, 0, 3)):
        counts = np.bincount(drawn - first, minlength=places)
        assert len(counts) == places and stats.chisquare(counts).pvalue > 1e-3


# ---- control charts by their recipe


@pytest.mark.parametrize("length", [16, 60, 128])
def test_control_charts_are_a_pattern_in_uniform_noise(length):
    labels, x, patterns = raw(1200, length, recipe=_raw_synthetic_control, n_classes=6)
    assert stats.kstest(((x - patterns).ravel() - 24) / 12, "uniform").pvalue > 1e-3
    normal, cyclic, up, down, raised, lowered = (patterns[labels == label] for label in range(6))
    assert not normal.any()

    slopes = np.diff(np.concatenate([up, -down]), axis=1) * length / 60  # in units a step of 60
    np.testing.assert_allclose(slopes, np.broadcast_to(slopes[:, :1], slopes.shape))  # straight lines
    assert not up[:, 0].any() and not down[:, 0].any()
    assert stats.kstest((slopes[:, 0] - 0.2) / 0.3, "uniform").pvalue > 1e-3

    shifted = np.concatenate([raised, -lowered])
    before = (shifted == 0).sum(axis=1)  # steps
    assert before.min() >= length // 3 and before.max() < 2 * length // 3
    assert all((row[place:] == row[-1]).all() for row, place in zip(shifted, before, strict=True))
    assert stats.kstest((shifted[:, -1] - 7.5) / 12.5, "uniform").pvalue > 1e-3

    # A sine s of period T has s[t - 1] + s[t + 1] = 2 cos(2 pi / T) s[t], whatever its amplitude and phase.
    middle, sides = cyclic[:, 1:-1], cyclic[:, :-2] + cyclic[:, 2:]
    cosine = (middle * sides).sum(axis=1) / (middle**2).sum(axis=1) / 2
    np.testing.assert_allclose(sides, 2 * cosine[:, None] * middle, atol=1e-9)
    turn = np.arccos(cosine)  # radians a step
    assert stats.kstest((2 * np.pi / turn * 60 / length - 10) / 5, "uniform").pvalue > 1e-3
    assert not cyclic[:, 0].any()  # and from 0 it rises
    assert stats.kstest((cyclic[:, 1] / np.sin(turn) - 10) / 5, "uniform").pvalue > 1e-3


# ---- gestures by their recipe


def test_gestures_are_turned_stretched_and_resized_paths_in_noise():
    labels = np.random.default_rng(0).integers(8, size=3000)
    x, speed, rotation, size = _raw_gestures(labels, 60, np.random.default_rng(1))
    paths = np.stack([_paths(labels[[i]], np.arange(60)[None] / 60 * speed[i])[0] for i in range(300)])
    noise = x[:300] - np.array([s * r @ path for s, r, path in zip(size, rotation, paths)])
    assert stats.kstest(noise.ravel() / 0.1, "norm").pvalue > 1e-3
    for drawn in (speed, size):
        assert stats.kstest((drawn - 0.8) / 0.4, "uniform").pvalue > 1e-3
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (3000, 3, 3)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1)
    angle = np.arccos((np.trace(rotation, axis1=1, axis2=2) - 1) / 2)
    assert stats.kstest(np.rad2deg(angle) / 20, "uniform").pvalue > 1e-3
    axis = np.stack([(rotation[:, i, j] - rotation[:, j, i]) for i, j in ((2, 1), (0, 2), (1, 0))], axis=1)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    assert stats.kstest((axis[:, 2] + 1) / 2, "uniform").pvalue > 1e-3  # of directions on a sphere


def test_each_path_is_a_sum_of_four_sines_of_deviation_1():
    whole = _paths(np.arange(8), np.broadcast_to(np.linspace(0, 1, 1000), (8, 1000)))
    np.testing.assert_allclose(whole.mean(axis=2), 0, atol=1e-9)
    np.testing.assert_allclose(whole.std(axis=2), 1)
    # Four sines and a constant solve a recurrence of order 9: the Hankel matrix of a path has the rank 9.
    path = _paths(np.arange(8), np.broadcast_to(np.arange(400) / 40, (8, 400)))
    for channel in path.reshape(24, 400):
        values = np.linalg.svd(np.lib.stride_tricks.sliding_window_view(channel, 100), compute_uv=False)
        assert values[9] < 1e-9 * values[0] < values[8]


def test_the_data_set_of_gestures():
    ds, other = gestures(), gestures(40, 9, length=64, seed=1)
    assert ds.x_train.shape == ds.x_test.shape == (400, 3, 100) and ds.name == "GesturesGenerated"
    assert other.x_train.shape == (40, 3, 64) and other.x_test.shape == (9, 3, 64)
    assert sorted(set(ds.y_train.tolist())) == list(range(8)) and "our own recipe, with seed 0" in ds.source
    assert torch.equal(gestures(40, 3).x_train, gestures(40, 8).x_train)
    assert (
        nearest_neighbour_error(ds.x_train.flatten(1)[:, None], ds.y_train, ds.x_test.flatten(1)[:, None], ds.y_test)
        < 0.05
    )
    means = [
        torch.stack([d.x_train[d.y_train == k].mean(dim=0)[:, :50] for k in range(8)]) for d in (ds, gestures(seed=7))
    ]
    torch.testing.assert_close(*means, atol=0.7, rtol=0)  # the gestures are the same for all seeds


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_other_arguments_of_gestures_are_refused(bad):
    ((what, value),) = bad.items()
    with pytest.raises(BadInput, match=rf"^gestures got {what}={value!r}, expected a whole number of at least \d+:"):
        gestures(**bad)


# ---- generated beside real


def both_splits(ds):
    return torch.cat([ds.x_train, ds.x_test])[:, 0].double().numpy(), torch.cat([ds.y_train, ds.y_test]).numpy()


@pytest.mark.parametrize(("name", "n_train"), [("TwoPatterns", 1000), ("CBF", 30), ("SyntheticControl", 300)])
def test_values_are_distributed_as_in_the_real_set(real_data, name, n_train):
    """The distance between the archive's own two splits is the yardstick."""
    x, y = both_splits(real_data(name))
    made, y_made = both_splits(MADE[f"{name}Generated"][0]())
    yardstick = stats.ks_2samp(x[:n_train].ravel(), x[n_train:].ravel()).statistic
    assert stats.ks_2samp(x.ravel(), made.ravel()).statistic < yardstick < 0.01
    assert stats.ks_2samp(x.ravel(), np.random.default_rng(0).standard_normal(x.size)).statistic > 0.02
    for label in range(y.max() + 1):  # the mean series of each class: up to 512 comparisons, each within 4.5 SE
        a, b = x[y == label], made[y_made == label]
        error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
        assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4.5 * error)


def nearest_neighbour_error(x_train, y_train, x_test, y_test):
    """Share of test series whose Euclidean nearest neighbour in train has another label."""
    a, b = x_train[:, 0].double(), x_test[:, 0].double()
    squared = a.square().sum(dim=1) - 2 * b @ a.T  # (n_test, n_train), up to a constant per test series
    return (y_train[squared.argmin(dim=1)] != y_test).double().mean().item()


@pytest.mark.parametrize("seed", range(5))
def test_two_patterns_train_and_test_as_well_as_real_ones(real_data, seed):
    real, made = real_data("TwoPatterns"), two_patterns(seed=seed)
    on_real = nearest_neighbour_error(real.x_train, real.y_train, real.x_test, real.y_test)
    assert on_real == pytest.approx(0.0932, abs=1e-4)  # published for the archive's set
    assert abs(nearest_neighbour_error(made.x_train, made.y_train, real.x_test, real.y_test) - on_real) < 0.01
    assert abs(nearest_neighbour_error(real.x_train, real.y_train, made.x_test, made.y_test) - on_real) < 0.01


@pytest.mark.parametrize(
    ("name", "published", "printed"),
    [("CBF", 0.148, {"from made": (0.140, 0.036), "resplit": (0.153, 0.047)}),
     ("SyntheticControl", 0.12, {"from made": (0.107, 0.012), "resplit": (0.102, 0.019)})],
)  # fmt: skip
def test_small_sets_train_and_test_as_well_as_real_ones(real_data, name, published, printed):
    """The errors of 20 seeds, of as many series as the archive has, beside that of its split and of 20 other splits.

    printed    in data/README.md: mean and standard deviation
    """
    real, make = real_data(name), MADE[f"{name}Generated"][0]
    x, y = torch.cat([real.x_train, real.x_test]), torch.cat([real.y_train, real.y_test])
    n = len(real.x_train)
    on_real = nearest_neighbour_error(x[:n], y[:n], x[n:], y[n:])
    assert on_real == pytest.approx(published, abs=5e-4)  # published for the archive's set
    errors = {"from made": [], "on made": [], "resplit": []}
    for seed in range(20):
        made = make(n, len(real.x_test), seed=seed)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        errors["from made"].append(nearest_neighbour_error(made.x_train, made.y_train, real.x_test, real.y_test))
        errors["on made"].append(nearest_neighbour_error(x[:n], y[:n], made.x_test, made.y_test))
        errors["resplit"].append(nearest_neighbour_error(x[order[:n]], y[order[:n]], x[order[n:]], y[order[n:]]))
    for made in ("from made", "on made"):
        assert abs(np.mean(errors[made]) - on_real) < 2 * np.std(errors[made], ddof=1)
    spread = np.std(errors["resplit"], ddof=1)
    assert abs(np.mean(errors["from made"]) - np.mean(errors["resplit"])) < 4 * spread * np.sqrt(2 / 20)
    assert 0.5 < np.std(errors["from made"], ddof=1) / spread < 2
    for what, numbers in printed.items():
        assert (np.mean(errors[what]), np.std(errors[what], ddof=1)) == pytest.approx(numbers, abs=1e-3)


def plateaus(x):
    """Start and length of each run of at least 8 equal values, one list per series."""
    found = []
    for equal in np.abs(np.diff(x, axis=1)) < 1e-4:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], equal, [0]])))
        found.append([(s, e - s + 1) for s, e in zip(edges[::2], edges[1::2], strict=True) if e - s + 1 >= 8])
    return found


def test_plateaus_are_as_in_the_real_set(real_data):
    measured = []
    for x in (both_splits(real_data("TwoPatterns"))[0], both_splits(two_patterns())[0]):
        found = plateaus(x)
        assert {len(runs) for runs in found} == {3, 4}  # three where two plateaus of one sign touch
        assert max(start + extent for runs in found for start, extent in runs) == 127  # the last step stays free
        four = np.array([[extent for _, extent in runs] for runs in found if len(runs) == 4])  # (n, 4)
        assert set((four[:, ::2] - four[:, 1::2]).ravel()) == {0, 1}
        measured.append((1 - len(four) / len(found), four[:, :2].sum(axis=1), four[:, 2:].sum(axis=1)))
    (touch, *real), (touch_made, *made) = measured
    assert abs(touch - touch_made) < 4 * np.sqrt(2 * touch * (1 - touch) / 5000)
    for a, b in zip(real, made, strict=True):
        assert (a.min(), a.max()) == (b.min(), b.max()) == (16, 32)
        assert abs(a.mean() - b.mean()) < 4 * a.std() * np.sqrt(2 / len(a))
        assert abs(a.std() - b.std()) < 4 * a.std() / np.sqrt(len(a))
        assert stats.chi2_contingency([np.bincount(a)[16:], np.bincount(b)[16:]]).pvalue > 1e-3


def best_fit(x, patterns):
    """For each series of x (n, L) the pattern of (m, L) that least squares choose: its row, and their correlation."""
    patterns = patterns - patterns.mean(axis=1, keepdims=True)
    x = x - x.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(patterns, axis=1)
    likeness = x @ patterns.T / norms  # (n, m)
    return likeness.argmax(axis=1), likeness.max(axis=1)


def alike(a, b):
    return stats.ks_2samp(a, b).pvalue > 1e-3


@pytest.mark.parametrize("label", [0, 1, 2], ids=["cylinder", "bell", "funnel"])
def test_cbf_starts_ends_and_heights_are_as_in_the_real_set(real_data, label):
    """Not as in Saito's thesis: there the length is uniform on 32..96 and the height from N(6, 1)."""
    places = np.array([(start, end) for start in range(8, 40) for end in range(start + 20, 128, 2)])
    patterns = np.array([pattern_by_loop(label, *place, 128) for place in places])
    real, y = both_splits(real_data("CBF"))
    made, y_made = both_splits(cbf())
    (a, fit), (b, fit_made) = (best_fit(x, patterns) for x in (real[y == label], made[y_made == label]))
    (starts, ends), (starts_made, ends_made) = places[a].T, places[b].T
    assert alike(starts, starts_made) and alike(ends, ends_made) and alike(fit, fit_made)
    assert abs(stats.spearmanr(starts, ends).statistic) < 4 / np.sqrt(len(starts))

    rng = np.random.default_rng(0)
    starts = rng.integers(15, 32, size=1000)
    thesis = [pattern_by_loop(label, s, s + extent, 128) for s, extent in zip(starts, rng.integers(32, 97, size=1000))]
    thesis = np.array(thesis) * rng.normal(1, 1 / 6, size=(1000, 1)) + rng.standard_normal((1000, 128))
    c, fit_thesis = best_fit(thesis, patterns)
    assert not alike(ends, places[c].T[1]) and not alike(fit, fit_thesis)


def test_control_charts_have_periods_shifts_and_heights_as_in_the_real_set(real_data):
    """Correlation with the best pattern follows the ratio of its height to the noise."""
    time = np.arange(60)
    periods, places = np.arange(9, 16, 0.1), np.arange(10, 51)
    sines, trend = np.sin(2 * np.pi * time / periods[:, None]), time[None] * 1.0
    shifts = (time >= places[:, None]) * 1.0
    patterns = {1: sines, 2: trend, 3: -trend, 4: shifts, 5: -shifts}
    (real, y), (made, y_made) = both_splits(real_data("SyntheticControl")), both_splits(synthetic_control())
    for label, candidates in patterns.items():
        (a, fit), (b, fit_made) = (best_fit(x, candidates) for x in (real[y == label], made[y_made == label]))
        assert alike(a, b) and alike(fit, fit_made)
    from_step_1 = best_fit(real[y == 1], np.sin(2 * np.pi * (time + 1) / periods[:, None]))[1]
    assert not alike(from_step_1, best_fit(made[y_made == 1], sines)[1])  # so a phase of one step would be seen
