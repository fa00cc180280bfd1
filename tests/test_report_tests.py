"""`lab.report.tests`: the statistics against other computations, the thesis' claims against its own tables."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ncvqvae_lite.lab.report import tests
from ncvqvae_lite.thesis import author_runs


def frame(**columns):
    """A frame with the given configurations ("naive" for the first) over data sets A, B, ...; the others NaN."""
    n = len(next(iter(columns.values())))
    data = {name: columns.get(name.replace("-", "_"), [np.nan] * n) for name in (tests.NAIVE, *tests.NC)}
    return pd.DataFrame(data | {tests.NAIVE: columns["naive"]}, index=list("ABCDEFGHIJKLM"[:n]))


# --- statistics ---


def brute_force_p(differences):
    """Two-sided p of the signed-rank statistic over all signs, by the definition."""
    ranks = stats.rankdata(np.abs(differences))
    seen = abs(ranks @ np.sign(differences))
    every = [abs(ranks @ np.array(signs)) for signs in product([-1, 1], repeat=len(ranks))]
    return np.mean(np.array(every) >= seen - 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_signed_rank_p_is_exact_with_and_without_ties(seed):
    rng = np.random.default_rng(seed)
    smooth, tied = rng.normal(0.5, 1, 8), rng.integers(1, 4, 8) * rng.choice([-1, 1], 8)
    assert tests.signed_rank_p(smooth) == pytest.approx(brute_force_p(smooth))
    assert tests.signed_rank_p(smooth) == pytest.approx(stats.wilcoxon(smooth, method="exact").pvalue)
    assert tests.signed_rank_p(tied) == pytest.approx(brute_force_p(tied))
    assert tests.signed_rank_p([*tied, 0, 0]) == tests.signed_rank_p(tied)


def test_signed_rank_p_of_the_plants_of_darwin():
    """Differences in height of crossed and self-fertilised corn (Darwin, 1876), the example of scipy's manual."""
    assert tests.signed_rank_p([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]) == pytest.approx(0.0412598)


def test_no_difference_at_all_has_p_one_and_no_effect():
    assert tests.signed_rank_p([0.0, 0.0]) == 1.0 and tests.rank_biserial([0.0]) == 0.0


def test_rank_biserial_is_the_share_of_favourable_ranks_minus_the_rest():
    assert tests.rank_biserial([1, 2, 3]) == 1 and tests.rank_biserial([-5, -1]) == -1
    assert tests.rank_biserial([1, 2, -3, 4, 0]) == pytest.approx((1 + 2 + 4 - 3) / 10)
    assert tests.rank_biserial([2, -2]) == 0


def test_holm_by_hand():
    np.testing.assert_allclose(tests.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(tests.holm([0.01, np.nan, 0.02]), [0.02, np.nan, 0.02])
    np.testing.assert_allclose(tests.holm([0.9, 0.8]), [1, 1])
    assert np.isnan(tests.holm([np.nan, np.nan])).all()


def test_holm_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.uniform(0, 0.08, 6)
        rejected = np.zeros(6, bool)
        for step, i in enumerate(np.argsort(p)):  # Holm (1979): go on while p is below level / tests left
            if p[i] >= 0.05 / (6 - step):
                break
            rejected[i] = True
        assert ((tests.holm(p) < 0.05) == rejected).all()


# --- paired tests ---


def test_paired_test_knows_direction_and_scale():
    naive = [1.0, 10.0, 100.0, 4.0, 7.0, 2.0]
    halved = [value / 2 for value in naive]
    fid = tests.paired_tests(frame(naive=naive, vibcreg_gauss=halved), "fid").loc["vibcreg-gauss"]
    assert (fid.n, fid.wins, fid.losses, fid.rank_biserial) == (6, 6, 0, 1)
    assert fid.effect == pytest.approx(0.5) and fid.p == pytest.approx(2 / 2**6) and fid.p_holm == fid.p
    accuracy = tests.paired_tests(frame(naive=naive, vibcreg_gauss=halved), "cas").loc["vibcreg-gauss"]
    assert (accuracy.wins, accuracy.losses, accuracy.rank_biserial) == (0, 6, -1)
    assert accuracy.effect == pytest.approx(-np.median(halved))


def test_fewer_than_five_data_sets_are_too_few():
    table = tests.paired_tests(frame(naive=[1, 2, 3, 4, np.nan], vibcreg_gauss=[2, 3, 4, 5, 6]), "cas")
    row = table.loc["vibcreg-gauss"]
    assert (row.n, row.wins, row.effect) == (4, 4, 1.0)
    assert row[["rank_biserial", "p", "p_holm"]].isna().all()
    empty = table.loc["barlowtwins-warp"]
    assert empty.n == 0 and np.isnan(empty.effect)


def test_six_configurations_are_one_family():
    table = tests.paired_tests(tests.authors_frame("cas"), "cas")
    raw = {name: stats.wilcoxon(x, method="exact").pvalue for name, x in differences("cas").items()}
    np.testing.assert_allclose(table.p, [raw[name] for name in table.index])
    assert table.p_holm["vibcreg-gauss"] == pytest.approx(6 * min(raw.values()))
    assert (table.p_holm >= table.p).all() and (table.n == 13).all()


def differences(metric):
    """NC minus naive means of the authors' runs, computed without frames."""
    found = {name: [] for name in tests.NC}
    for dataset in tests.thesis_fcn():
        naive = np.mean(author_runs(dataset, "regular", "none")[metric])
        for name in tests.NC:
            found[name].append(np.mean(author_runs(dataset, *name.split("-"))[metric]) - naive)
    return found


def test_our_rows_give_the_frame_of_their_means():
    cell = {"method": "regular", "augmentation": "none"}
    rows = pd.DataFrame(
        [
            cell | {"dataset": "FordA", "metric": "recon_last_batch", "value": 1.0},
            cell | {"dataset": "FordA", "metric": "recon_last_batch", "value": 3.0},
            cell | {"dataset": "FordA", "metric": "recon_val", "value": 99.0},
        ]
    )
    found = tests.our_frame(rows, "recon_val")
    assert found.shape == (13, 7) and found.loc["FordA", tests.NAIVE] == 2.0 and found.notna().sum().sum() == 1


def test_all_pairs_are_one_family_two_sided_on_the_metrics_scale():
    rng = np.random.default_rng(0)
    values = pd.DataFrame(np.exp(rng.normal(size=(13, 7)) + np.arange(7) / 2), columns=[tests.NAIVE, *tests.NC])
    for metric, scale in (("fid", np.log), ("cas", lambda x: x)):
        p = sorted(
            stats.wilcoxon(scale(values[a]), scale(values[b]), method="exact").pvalue
            for i, a in enumerate(values)
            for b in values.columns[i + 1 :]
        )
        rejected = next(step for step, value in enumerate(p) if value >= 0.05 / (21 - step))
        found = tests.pair_p(values, metric)
        assert 0 < rejected < 21 == len(found) and sum(p < 0.05 for p in found.values()) == rejected
    closest, farthest = frozenset(values.columns[:2]), frozenset(values.columns[[0, 6]])
    assert found[closest] > found[farthest] == pytest.approx(21 * p[0])
    values.iloc[:9, 0] = np.nan  # 4 data sets are left: no p can be that small
    assert set(tests.pair_p(values, "fid").values()) == {1}


@pytest.mark.parametrize("metric", ["fid", "svm_acc"])
def test_ranks_are_averages_over_data_sets_without_gaps(metric):
    values = tests.authors_frame(metric)
    values.iloc[3, 2] = np.nan
    sign = 1 if metric == "fid" else -1
    whole = np.delete(values.to_numpy(), 3, axis=0)
    expected = dict(zip(values, stats.rankdata(sign * whole, axis=1).mean(axis=0)))
    ranks = tests.average_ranks(values, metric)
    assert ranks.to_dict() == pytest.approx(expected) and ranks.is_monotonic_increasing


@pytest.mark.parametrize(
    ("differ", "runs"),
    [
        ("", [(0, 4)]),
        ("ae", [(0, 3), (1, 4)]),
        ("ad be", [(0, 2), (1, 3), (2, 4)]),
        ("ac bc", [(0, 1), (2, 4)]),
        ("ab bc cd de", []),
        ("ac", [(0, 1), (1, 4)]),  # a and e do not differ, but no bar can join them past c
        ("bd", [(0, 2), (2, 4)]),
        ("ab", [(1, 4)]),
    ],
)
def test_bars_join_the_longest_runs_in_which_no_pair_differs(differ, runs):
    p = {frozenset(pair): 0.5 for pair in combinations("abcde", 2)}
    p |= {frozenset(pair): 0.049 for pair in differ.split()}
    assert tests.not_told_apart("abcde", p) == runs


# --- the thesis' claims, from its own tables ---


@pytest.mark.parametrize(
    ("table", "metric", "claimed"),
    [
        ("recon_mean", "recon_val", 9), ("recon_top1", "recon_val", 10), ("probe_mean", "knn_acc", 12),
        ("probe_mean", "svm_acc", 12), ("probe_top1", "svm_acc", 11), ("gen_mean", "is", 12), ("gen_top1", "is", 12),
        ("gen_mean", "fid", 10), ("gen_top1", "fid", 10), ("cas_mean", "cas", 13),
    ],
)  # fmt: skip
def test_some_nc_configuration_beats_naive_as_often_as_the_thesis_says(table, metric, claimed):
    best = tests.wins(tests.printed_frame(table, metric), metric).loc["best of six"]
    assert (best.wins, best.n) == (claimed, 13)
    assert best.by_chance == pytest.approx(13 * 6 / 7)


def test_claims_about_one_configuration():
    cas = tests.printed_frame("cas_mean", "cas")
    assert tests.wins(cas, "cas").loc["vibcreg-gauss", "wins"] == 12
    gain = cas[tests.NC].sub(cas[tests.NAIVE], axis=0)
    assert gain.loc["Mallat"].max() == pytest.approx(0.437)
    assert gain.loc["ElectricDevices", "vibcreg-gauss"] == pytest.approx(-0.020)  # the thesis says: within one percent


def test_best_of_six_flatters_as_much_as_stated():
    """Seven configurations drawn alike: some "NC" one beats the "naive" one on 6/7 of the data sets."""
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.normal(size=(20_000, 7)), columns=[tests.NAIVE, *tests.NC])
    table = tests.wins(values, "cas")
    assert table.wins["best of six"] == pytest.approx(table.by_chance["best of six"], rel=0.01)
    assert table.wins["vibcreg-slice"] == pytest.approx(table.by_chance["vibcreg-slice"], rel=0.03)
    assert tests.wins(-values, "fid").equals(table)


def test_best_of_six_needs_all_seven():
    table = tests.wins(frame(naive=[1.0, 1.0], vibcreg_gauss=[2.0, np.nan]), "cas")
    assert table.loc["vibcreg-gauss", ["wins", "n"]].tolist() == [1, 1]
    assert table.loc["best of six", ["wins", "n", "by_chance"]].tolist() == [0, 0, 0]
