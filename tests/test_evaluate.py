"""`evaluate`: its parts against loops and other libraries, its scores on series that are known, its files and words."""

import json
import re

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.model_selection import StratifiedKFold

from ncvqvae_lite import cli, evaluate
from ncvqvae_lite.data import synthetic_control, two_patterns
from ncvqvae_lite.data_series import read_series
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.evaluation import (
    CORRUPTIONS,
    autocorrelation_distance,
    classifiers,
    comparison,
    corrupt,
    discriminative_auc,
    kernel_inception_distance,
    manifold_scores,
    marginal_distance,
    reading,
    spectrum_distance,
)
from ncvqvae_lite.evaluation.draws import Draw
from ncvqvae_lite.evaluation.inputs import sets_of
from ncvqvae_lite.evaluation.manifold import expected_coverage
from ncvqvae_lite.evaluation.scores import SCORES
from ncvqvae_lite.evaluation.standard import distances, manifold_of_distances
from ncvqvae_lite.evaluation.statistics import autocorrelation
from ncvqvae_lite.fcn import FCN

ENTRY = {"value", "low", "high", "real", "copy", "jitter"}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(comparison, "DRAWS", 4)
    monkeypatch.setattr(comparison, "FLOOR_DRAWS", 2)


@pytest.fixture(scope="module")
def control():
    """Train, real and fresh series of one source, (n, 1, 60) and names of their classes."""
    real, fresh = synthetic_control(n_train=120, n_test=120, seed=1), synthetic_control(n_train=120, n_test=6, seed=2)
    parts = (real.x_train, real.y_train), (real.x_test, real.y_test), (fresh.x_train, fresh.y_train)
    return [(x.double().numpy(), np.array(list("abcdef"))[y]) for x, y in parts]


def compare(control, synthetic=None, **changes):
    """`evaluate` of fresh series, or of others with their labels."""
    (train, y_train), (real, y_real), fresh = control
    x, y = synthetic or fresh
    given = dict(real_labels=y_real, synthetic_labels=y, train=train, train_labels=y_train) | changes
    return evaluate(real, x, **given)


class TestParts:
    def test_kid_against_the_kernel_of_scikit_learn(self, rng):
        a, b = rng.standard_normal((30, 5)), 0.5 + rng.standard_normal((20, 5))
        among = []
        for x in (a, b):
            values = polynomial_kernel(x, degree=3, coef0=1)  # gamma 1 / D
            among.append(values[~np.eye(len(x), dtype=bool)].mean())
        expected = sum(among) - 2 * polynomial_kernel(a, b, degree=3, coef0=1).mean()
        assert kernel_inception_distance(a, torch.tensor(b)) == pytest.approx(expected, rel=1e-9)

    def test_kid_of_equal_distributions_is_0_on_average(self, rng):
        values = [kernel_inception_distance(*rng.standard_normal((2, 15, 4))) for _ in range(400)]
        assert abs(np.mean(values)) < 3 * np.std(values) / 20

    def test_manifold_of_distances_is_that_of_features(self, rng):
        real, generated = rng.standard_normal((40, 12)), 0.3 + rng.standard_normal((40, 12))
        real[5:10] = real[4]  # balls of radius 0
        generated[:3], generated[7] = real[:3], real[4]
        found = manifold_of_distances(
            *(distances(a, b) for a, b in ((real, real), (generated, generated), (real, generated)))
        )
        assert found == pytest.approx(manifold_scores(real, generated))
        np.testing.assert_allclose(distances(real, generated), cdist(real, generated), atol=1e-9)

    def test_manifold_scores_of_series_of_one_source(self, control):
        """Density is 1, and coverage what theory says, as the features are not fitted to the reference."""
        (_, _), (real, _), (fresh, _) = control
        pools = comparison._pools(sets_of(real, fresh), None, 0, False)
        rng = np.random.default_rng(0)
        draws = [Draw(pools, rng) for _ in range(10)]
        for whose in ("real", "synthetic"):
            _, _, density, coverage, n = np.mean([draw.manifold(whose) for draw in draws], axis=0)
            assert density == pytest.approx(1, abs=0.15)
            assert coverage == pytest.approx(expected_coverage(int(n)), abs=0.03)

    def test_discriminative_auc_against_counted_pairs(self, rng):
        a, b = rng.standard_normal((25, 3)), 0.7 + rng.standard_normal((25, 3))
        from sklearn.linear_model import LogisticRegression

        x, y, found = np.concatenate([a, b]), np.repeat([0, 1], 25), []
        for fit, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(x, y):
            centre, spread = x[fit].mean(axis=0), x[fit].std(axis=0)
            net = LogisticRegression(C=0.01, max_iter=1000, tol=1e-3).fit((x[fit] - centre) / spread, y[fit])
            scores = (x[held_out] - centre) / spread @ net.coef_[0]
            pairs = scores[y[held_out] == 1][:, None] - scores[y[held_out] == 0]
            found.append((pairs > 0).mean() + (pairs == 0).mean() / 2)
        assert discriminative_auc(a, b) == pytest.approx(np.mean(found), abs=1e-6)
        assert discriminative_auc(a, 9 + a) == 1

    def test_marginal_distance_is_the_mean_shift_of_sorted_values(self, rng):
        a, b = rng.standard_normal((7, 2, 12)), 1 + 2 * rng.standard_normal((7, 2, 12))
        channels = [abs(np.sort(a[:, c].ravel()) - np.sort(b[:, c].ravel())).mean() for c in (0, 1)]
        assert marginal_distance(a, b) == pytest.approx(np.mean(channels))
        assert marginal_distance(a, a + 3) == pytest.approx(3)

    def test_autocorrelation_against_loops(self, rng):
        x = rng.standard_normal((3, 2, 11)).cumsum(axis=2)
        expected = np.zeros((2, 11))
        for series in x:
            for c, values in enumerate(series):
                d = values - values.mean()
                expected[c] += [(d[: 11 - k] * d[k:]).sum() / (d * d).sum() / 3 for k in range(11)]
        np.testing.assert_allclose(autocorrelation(x), expected, atol=1e-12)
        other = x[:, :, ::-1].cumsum(axis=2)
        expected = abs(autocorrelation(x) - autocorrelation(other))[:, 1:6].mean()
        assert autocorrelation_distance(x, other) == pytest.approx(expected)
        assert autocorrelation_distance(x, -3 * x + 7) == pytest.approx(0, abs=1e-12)
        assert (autocorrelation(np.ones((2, 1, 8))) == 0).all()

    def test_spectrum_distance_of_louder_series_is_their_decibels(self, rng):
        x = rng.standard_normal((5, 1, 32))
        assert spectrum_distance(x, 10 * x) == pytest.approx(20)
        t = np.arange(32)
        spectrum = [abs((x[i, 0] * np.exp(-2j * np.pi * f * t / 32)).sum()) ** 2 for i in range(5) for f in range(17)]
        power = np.reshape(spectrum, (5, 17)).mean(axis=0)
        other = np.roll(x, 3, axis=0) + x
        theirs = (abs(np.fft.fft(other[:, 0])[:, :17]) ** 2).mean(axis=0)
        assert spectrum_distance(x, other) == pytest.approx(abs(10 * np.log10(power / theirs)).mean())

    def test_the_spread_of_random_halves_is_that_of_the_mean_of_all(self, rng):
        values = rng.standard_normal(60)
        halves = [rng.choice(values, 30, replace=False).mean() for _ in range(20_000)]
        assert np.var(halves) == pytest.approx(values.var(ddof=1) / 60, rel=0.05)


SEEN_BY = {  # corruption -> scores that must tell it, in order of severity
    "noise": ("fid", "discriminative", "spectrum"),
    "smoothing": ("fid", "discriminative", "spectrum"),
    "offset": ("marginal",),
    "scale": ("marginal", "spectrum"),
    "dropped_class": ("class_mix", "coverage"),
    "dropped_mode": ("recall", "discriminative"),
    "copies": ("copied", "nearest_train", "near_copies"),
    "near_copies": ("copied", "nearest_train", "near_copies"),
    "time_warp": ("fid", "discriminative"),
    "reversal": ("fid", "trts"),
    "shuffled_pieces": ("discriminative", "autocorrelation"),
    "clipped_peaks": ("marginal", "discriminative"),
    "wrong_labels": ("trts", "tstr"),
}


@pytest.fixture(scope="module")
def patterns():
    """As `control`, (n, 1, 128)."""
    real, fresh = two_patterns(n_train=200, n_test=200, seed=1), two_patterns(n_train=200, n_test=4, seed=2)
    parts = (real.x_train, real.y_train), (real.x_test, real.y_test), (fresh.x_train, fresh.y_train)
    return [(x.double().numpy(), y.numpy().astype(str)) for x, y in parts]


class TestCorruptions:
    def values(self, patterns, x, y, names):
        """Mean scores of corrupted series over four halves."""
        (train, y_train), (real, y_real), _ = patterns
        pools = comparison._pools(sets_of(real, x, train, y_real, y, y_train), None, 0, False)
        rng = np.random.default_rng(0)
        draws = [Draw(pools, rng) for _ in range(4)]
        return {name: np.mean([SCORES[name].compute(draw, "synthetic") for draw in draws]) for name in names}

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_scores_order_its_severities(self, patterns, corruption):
        train, _, (fresh, y) = patterns
        found = []
        for severity in (0, 0.4, 1):
            x, labels = corrupt(corruption, fresh, y, train, severity, np.random.default_rng(0))
            if severity == 0:
                np.testing.assert_allclose(x, fresh, atol=1e-12)
                assert (labels == y).all()
            found.append(self.values(patterns, x, labels, SEEN_BY[corruption]))
        for name in SEEN_BY[corruption]:
            first, second, third = (SCORES[name].excess(values[name], found[0][name]) for values in found)
            if SCORES[name].better == "half":
                first, second, third = (values[name] for values in found)
            assert first < second <= third, (corruption, name, found)  # a score may have reached its end

    def test_what_only_labels_see(self, patterns):
        train, _, (fresh, y) = patterns
        x, wrong = corrupt("wrong_labels", fresh, y, train, 0.5, np.random.default_rng(0))
        blind, seeing = ("fid", "precision", "coverage", "spectrum"), ("trts",)
        before, after = (self.values(patterns, fresh, labels, blind + seeing) for labels in (y, wrong))
        assert all(before[name] == after[name] for name in blind)
        assert after["trts"] < before["trts"] - 0.3

    def test_refuses_what_it_does_not_know(self, patterns):
        train, _, (fresh, y) = patterns
        for name, severity in (("nosie", 0.5), ("noise", 1.5)):
            with pytest.raises(BadInput, match="expected one of noise, smoothing"):
                corrupt(name, fresh, y, train, severity, np.random.default_rng(0))


class TestEvaluate:
    def test_fresh_series_read_as_real_and_copies_as_copies(self, control):
        fresh, copied = compare(control), compare(control, synthetic=control[0])
        assert fresh.keys() == SCORES.keys() - {"fid_fcn"}
        assert all(entry.keys() == ENTRY for entry in fresh.values())
        assert all(entry["low"] <= entry["value"] <= entry["high"] for entry in fresh.values())
        assert reading.judged(fresh) == "real"
        assert reading.judged(copied) == "copy"
        assert copied.verdict.startswith("A copy: copied 1.00")
        assert copied["nearest_train"]["value"] == copied["near_copies"]["value"] == 1
        for name in ("fid", "coverage", "tstr"):  # copies are as good as real ones but for being copies
            assert reading.word(copied, name) in ("as real", "close")
        assert fresh["copied"]["copy"] == pytest.approx(1) == fresh["copied"]["jitter"]

    def test_worse_series_are_worse(self, control):
        fresh, y = control[2]
        rng, words = np.random.default_rng(0), []
        for share in (0.3, 1.0, 4.0):
            noisy = fresh + share * fresh.std() * rng.standard_normal(fresh.shape)
            words.append(reading.judged(found := compare(control, synthetic=(noisy, y))))
        order = list(reading.WORDS)
        assert words[-1] == "far"
        reasons, alike = found.verdict.removesuffix(".").split("; as real: ")
        assert alike.split(", ") == [name for name in reading.REASONS if reading.word(found, name) == "as real"]
        assert reasons.startswith("Far from real: fid ") and "copied" in alike and "copied" not in reasons
        assert words == sorted(words, key=order.index)

    def test_flat_lines_are_no_copies(self, control):
        fresh, y = control[2]
        flat = np.broadcast_to(fresh.mean(), fresh.shape)
        assert reading.judged(compare(control, synthetic=(flat, y))) == "far"

    def test_a_distribution_fitted_to_train_series_is_no_copier(self, control):
        rng, ds = np.random.default_rng(0), synthetic_control(n_train=600, n_test=6, seed=3)
        train, y = ds.x_train.double().numpy()[:, 0], ds.y_train.numpy()
        parts = [train[y == number] for number in range(6)]
        x = np.concatenate([rng.multivariate_normal(part.mean(axis=0), np.cov(part.T), 30) for part in parts])
        found = compare(control, synthetic=(x, None), train=train, train_labels=None)
        assert found["copied"]["value"] < 0.1
        assert reading.judged(found) in ("close", "visible")

    def test_a_few_copies_among_bad_series_are_found(self, control):
        (train, y_train), (fresh, y) = control[0], control[2]
        x = 3 * fresh
        x[::3], y = train[::3], np.where(np.arange(len(y)) % 3 == 0, y_train, y)
        found = compare(control, synthetic=(x, y))
        assert found["copied"]["value"] == pytest.approx(1 / 3, abs=0.05)
        assert found["nearest_train"]["value"] < 0.5  # on average they lie far off
        assert reading.judged(found) == "copy"

    def test_some_copies_among_good_series_are_not_as_good_as_real(self, control):
        (train, y_train), (fresh, y) = control[0], control[2]
        rows = np.arange(len(y)) % 5 == 0
        x, y = np.where(rows[:, None, None], train, fresh), np.where(rows, y_train, y)
        found = compare(control, synthetic=(x, y))
        assert reading.judged(found) == "close"
        assert re.search(r"copied 0\.[12]", found.verdict)

    def test_a_class_that_lacks_is_visible(self, patterns):
        x, y = patterns[2]
        found = compare(patterns, synthetic=(x[y != "1"], y[y != "1"]))
        assert reading.judged(found) == "visible"
        assert "synthetic series lack classes of the real ones: 1." in found.notes

    @pytest.mark.parametrize("n", [24, 40])
    def test_copies_are_found_where_series_are_few(self, control, n):
        (train, y_train), (real, y_real), (fresh, y) = control
        few = dict(real_labels=y_real[:n], train=train, train_labels=y_train)
        copies = evaluate(real[:n], train[: 2 * n], synthetic_labels=y_train[: 2 * n], **few)
        new = evaluate(real[:n], fresh[: 2 * n], synthetic_labels=y[: 2 * n], **few)
        assert reading.judged(copies) == "copy"
        assert reading.judged(new) == "real"
        assert copies["copied"]["value"] - new["copied"]["value"] > 0.9

    def test_means_of_classes_are_no_copies(self, control):
        """They are nearer to train series than real ones are, and many are alike, but none repeats a series."""
        (train, y_train), _, (_, y) = control
        means = np.stack([train[y_train == name].mean(axis=0) for name in y])
        found = compare(control, synthetic=(means, y))
        assert found["nearest_train"]["low"] > 0.55
        assert found["copied"]["value"] == pytest.approx(0, abs=0.05)
        assert reading.judged(found) == "far"

    def test_equal_seeds_give_equal_numbers(self, control):
        assert compare(control, seed=3) == compare(control, seed=3)
        assert compare(control, seed=3) != compare(control, seed=4)

    def test_real_series_given_as_synthetic_ones_are_named(self, control):
        fresh, y = control[2]
        x = np.concatenate([control[1][0][:30], fresh[:90]])
        assert (
            "30 of 120 synthetic series are real ones, to the last digit." in compare(control, synthetic=(x, y)).notes
        )
        assert compare(control).notes == ()

    def test_unlabelled(self, control):
        none = dict(real_labels=None, synthetic_labels=None, train_labels=None)
        found = compare(control, **none)
        assert {"tstr", "trts", "class_mix"} <= found.left_out.keys()
        assert found.left_out["tstr"] == "the real series have no labels"
        assert "fid" in found

    def test_class_mix_of_unlabelled_series_is_seen_by_a_classifier(self, control):
        fresh, y = control[2]
        some = fresh[(y != "a") & (y != "b")]
        found = compare(control, synthetic=(some, None))
        assert found["class_mix"]["value"] == pytest.approx(1 / 3, abs=0.12)
        assert "trts" in found.left_out

    def test_several_channels_and_unequal_lengths_and_numbers(self, rng):
        x = [rng.standard_normal((n, 3, length)).cumsum(axis=2) for n, length in ((60, 40), (45, 38), (50, 40))]
        found = evaluate(torch.tensor(x[0]), x[1].tolist(), train=x[2])
        assert found.k == 22
        assert "real series have 40 steps, of which the first 38 are compared." in found.notes
        assert 0.2 < found["discriminative"]["value"] < 0.8
        assert found["copied"]["copy"] == pytest.approx(1)

    def test_a_small_set_leaves_out_what_it_is_too_small_for(self, control):
        fresh, y = control[2]
        found = compare(control, synthetic=(fresh[:8], y[:8]))
        assert {"fid", "kid", "precision", "discriminative"} <= found.left_out.keys()
        assert found.left_out["fid"] == "it compares halves of 10 series or more, and these have 4"
        assert {"marginal", "spectrum", "nearest_train"} <= found.keys()
        assert found.verdict.startswith("Too few series")

    def test_a_feature_net_gives_one_more(self, control, tmp_path):
        FCN(6).save(tmp_path / "net.safetensors")
        found = compare(control, fcn=tmp_path / "net.safetensors")
        assert found["fid_fcn"]["value"] >= 0
        with pytest.raises(BadInput, match="reads 2 channels, the series have 1"):
            compare(control, fcn=FCN(6, channels=2))

    def test_thorough_trains_nets(self, control, monkeypatch):
        monkeypatch.setattr(comparison, "DRAWS", 2)
        monkeypatch.setattr(comparison, "FLOOR_DRAWS", 0)
        monkeypatch.setitem(classifiers.FCN_TRAINING, "steps", 3)  # far too few: nets know less than linear classifiers
        assert compare(control, thorough=True)["tstr"]["value"] < compare(control)["tstr"]["value"] - 0.2

    def test_series_far_from_zero(self, control):
        """Scores do not depend on the units of the series."""
        (train, y_train), (real, y_real), (fresh, y) = control
        moved = [(1e6 + 1e-3 * x, labels) for x, labels in control]
        ours, theirs = compare(control), compare(moved)
        for name, entry in ours.items():
            assert theirs[name]["value"] == pytest.approx(entry["value"], abs=2e-3), name

    @pytest.mark.parametrize("factor", [1e9, 1e200])
    def test_a_wild_series_among_good_ones(self, control, factor, tmp_path):
        """It is in some halves only, so intervals hold 0."""
        fresh, _ = control[2]
        wild = np.concatenate([fresh[:39], factor * fresh[39:40]])
        found = evaluate(fresh[40:], wild)
        assert found.excess["fid"][0] < 0
        assert reading.judged(found) == "far"
        assert max(map(len, found.table().splitlines())) < 120
        found.write_json(tmp_path / "scores.json")  # refuses infinite numbers
        found.write_html(tmp_path / "page.html")

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (dict(real_labels=["x"] * 120), "no class in common"),
            (dict(synthetic_labels=["a"] * 3), "3 labels for 120 series"),
            (dict(train=None), "train_labels are given without train"),
            (dict(fcn=3), "fcn is int"),
            (dict(train=np.zeros((5, 2, 60)), train_labels=None), "numbers of channels differ"),
            (dict(seed=1.5), "seed must be a whole number"),
        ],
    )
    def test_bad_input(self, control, change, sentence):
        with pytest.raises(BadInput, match=sentence):
            compare(control, **change)

    def test_bad_series(self, control):
        fresh = control[2][0]
        with pytest.raises(BadInput, match="NaN or infinite values in 1 of 120 series, the first is row 7"):
            evaluate(fresh, np.where(np.arange(120)[:, None, None] == 7, np.nan, fresh))
        with pytest.raises(BadInput, match=r"shape \(60,\), expected"):
            evaluate(fresh, fresh[0, 0])
        with pytest.raises(
            BadInput, match=r"synthetic has no series \(shape \(0, 1, 60\)\), expected at least 4: give more"
        ):
            evaluate(fresh, fresh[:0])
        with pytest.raises(BadInput, match="same constant"):
            evaluate(np.ones((20, 30)), fresh[:, 0, :30])


class TestFiles:
    def test_formats_and_splits(self, tmp_path, rng):
        x, y = rng.standard_normal((12, 1, 20)).round(3), np.array(list("ababab" * 2))
        np.savez(tmp_path / "one.npz", X=x, y=y)
        np.savez(tmp_path / "set.npz", X_train=x[:2], y_train=y[:2], X_test=x[2:], y_test=y[2:])
        lines = [",".join([label, *map(str, one)]) for label, one in zip(y, x[:, 0])]
        (tmp_path / "labelled.csv").write_text("\n".join(lines))
        (tmp_path / "plain.csv").write_text("\n".join(line[2:] for line in lines))
        for name in ("one.npz", "labelled.csv"):
            found = read_series(tmp_path / name, "test")
            np.testing.assert_allclose(np.reshape(found.x, (12, 20)), x[:, 0])
            assert list(found.y) == list(y)
        plain = read_series(tmp_path / "plain.csv", "test")
        assert plain.y is None and "first column read as values" in plain.told
        np.testing.assert_allclose(plain.x, x[:, 0])
        assert len(read_series(tmp_path / "set.npz", "train").x) == 2
        assert "test split" in read_series(tmp_path / "set.npz", "test").told

    def test_the_folder_of_a_finished_run_is_its_samples(self, tmp_path):
        """By class and with the names of the classes; without classes as they are."""
        x = np.arange(32.0).reshape(2, 1, 16)
        (tmp_path / "config.json").write_text('{"class_names": ["calm", "storm"]}')
        np.savez(tmp_path / "samples.npz", **{"x": x, "x_by_class": x + 1, "class": np.array([1, 0]), "tokens": x})
        with pytest.raises(NotFound, match="no finished run"):
            read_series(tmp_path, "test")
        (tmp_path / "metrics.json").write_text("{}")
        found = read_series(tmp_path, "test")
        np.testing.assert_array_equal(found.x, x + 1)
        assert found.y == ["storm", "calm"] and "samples of the run, by class" in found.told
        (tmp_path / "config.json").write_text("{}")
        assert read_series(tmp_path, "test").y == ["1", "0"]
        np.savez(tmp_path / "samples.npz", x=x, tokens=x)
        found = read_series(tmp_path, "test")
        np.testing.assert_array_equal(found.x, x)
        assert found.y is None

    def test_what_is_no_file_of_series(self, tmp_path):
        with pytest.raises(NotFound, match="no file"):
            read_series(tmp_path / "nothing.csv", "test")
        np.savez(tmp_path / "other.npz", weights=np.zeros(3))
        with pytest.raises(BadInput, match="has neither X nor X_test"):
            read_series(tmp_path / "other.npz", "test")
        (tmp_path / "a.mat").write_text("x")
        with pytest.raises(BadInput, match="scipy.io.loadmat"):
            read_series(tmp_path / "a.mat", "test")
        (tmp_path / "start.csv").write_text("0,1.5,2.5\n0,2.5,1.5\n")
        with pytest.raises(BadInput, match="the first column is 0 in all lines"):
            read_series(tmp_path / "start.csv", "test")

    def test_the_command(self, control, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (train, y_train), (real, y_real), (fresh, y) = control
        np.savez("real.npz", X_train=train, y_train=y_train, X_test=real, y_test=y_real)
        np.savez("new.npz", x=fresh, y=y)
        command = ["evaluate", "real.npz", "new.npz", "--train", "real.npz", "--out", "page.html", "--json", "s.json"]
        assert cli.main(command) == 0
        said = capsys.readouterr().out
        assert "train: real.npz, 120 series of 1 channel(s) and 60 steps, 6 classes (train split)" in said
        assert "fid_fcn is left out: no feature net was given" in said
        scores = json.loads((tmp_path / "s.json").read_text())
        assert all(entry.keys() == ENTRY for entry in scores.values())
        page = (tmp_path / "page.html").read_text()
        assert page.count("data:image/png;base64,") == 3 and "http" not in page
        assert re.search(r"As good as real: fid [0-9.]+ \(real [0-9.]+\)", said)
        assert cli.main(["evaluate", "real.npz", "new.npz", "--out", "page.pdf"]) == 2
