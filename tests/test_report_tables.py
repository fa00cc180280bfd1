"""`lab.report.tables`: which rows stand beside the thesis, what the verdicts say, what is counted."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_weights import THESIS_WEIGHTS, file_hash, weights_digest
from ncvqvae_lite.lab.report import tables
from ncvqvae_lite.lab.report.prior import prior_rows
from ncvqvae_lite.lab.results import COLUMNS, load_cells
from ncvqvae_lite.thesis import CONFIGURATIONS, author_runs

pd = pytest.importorskip("pandas")

SONY = "SonyAIBORobotSurface2"
OURS = {"recon_val": "recon_last_batch"}  # the one metric of the tables that has two names


def cell(dataset=SONY, method="regular", augmentation="none", seed=1, ablation="", fcn=None, **metrics):
    """Rows of one cell as `load_cells` gives them."""
    hashes = sorted(tables.thesis_fcn()[dataset]["hashes"]) if dataset in tables.thesis_fcn() else ["own"]
    shared = dict.fromkeys(COLUMNS, "") | {
        "dataset": dataset, "method": method, "augmentation": augmentation, "seed": seed, "preset": "paper",
        "ablation": ablation, "fcn": fcn or hashes[0], "device": "cpu", "threads": 1, "seconds": 10.0,
        "commit": "0123456789ab",
    }  # fmt: skip
    return [shared | {"metric": name.removesuffix("_"), "value": float(value)} for name, value in metrics.items()]


def frame(*cells):
    return pd.DataFrame([row for rows in cells for row in rows], columns=list(COLUMNS))


def authors_again():
    """A campaign that found the authors' own numbers: all seeds, all cells, all metrics of the tables."""
    cells = []
    for dataset in tables.thesis_fcn():
        for configuration in CONFIGURATIONS:
            runs = author_runs(dataset, *configuration)
            for i, seed in enumerate(tables.SEEDS):
                found = {OURS.get(m, m): runs[m][i] for m in ("recon_val", "knn_acc", "svm_acc", "fid", "is", "cas")}
                cells.append(cell(dataset, *configuration, seed, **found))
    return frame(*cells)


@pytest.fixture(scope="module")
def whole():
    return tables.comparable(authors_again())


# --- which rows count ---


def test_all_numbers_of_a_cell_are_of_one_tokenizer_that_is_not_chosen_for_its_scores():
    fp32 = cell(ablation="cas=False", recon_val=0.30, fid=1.0, knn_acc=0.5)
    bf16 = cell(ablation="precision=bf16 cas=False", recon_val=0.29, fid=9.0, knn_acc=0.9)
    other = cell(ablation="fcn_precision=bf16", recon_val=0.28, fid=8.0, cas=0.9)
    for cells in itertools.permutations((fp32, bf16, other)):
        rows = tables.comparable(frame(*cells)).set_index("metric").value
        assert (rows["recon_val"], rows["fid"], rows["knn_acc"]) == (0.30, 1.0, 0.5) and "cas" not in rows
        assert prior_rows(frame(*cells), "fid").value.tolist() == [1.0]
    fuller = [cell(ablation=text, recon_val=0.31, fid=2.0) for text in ("head=untied", "mask_polarity=masked", "")]
    assert prior_rows(frame(fp32, *fuller), "fid").value.tolist() == [2.0] * 3  # the tokenizer with more runs
    assert tables.comparable(frame(fp32, *fuller)).set_index("metric").value["fid"] == 2.0


def test_of_equal_tokenizers_the_first_of_the_table_stands_for_all_numbers():
    low = cell(ablation="cas=False", recon_val=0.29, fid=9.0, knn_acc=0.9)
    high = cell(ablation="", recon_val=0.30, fid=1.0, knn_acc=0.5)
    for cells, fid, knn in (((low, high), 9.0, 0.9), ((high, low), 1.0, 0.5)):
        rows = tables.comparable(frame(*cells)).set_index("metric").value
        assert (rows["fid"], rows["knn_acc"]) == (fid, knn)
        assert prior_rows(frame(*cells), "fid").value.tolist() == [fid]


def test_tables_and_priors_have_the_same_numbers_in_the_table_that_ships():
    cells, key = load_cells(), [*tables.CELL, "seed", "ablation"]
    for metric in ("fid", "is"):
        rows = tables.comparable(cells)
        ours = rows[rows.metric == metric].set_index(key).value
        theirs = prior_rows(cells, metric).set_index(key).value
        assert len(ours) and theirs[ours.index].equals(ours)


def test_only_the_thesis_recipe_counts():
    rows = tables.comparable(
        frame(
            cell(seed=1, fid=1.0),
            cell(seed=2, ablation="cas=False", fid=2.0),
            cell(seed=3, ablation="mask_polarity=masked cas=False", fid=3.0),
            cell(seed=5, ablation="reproduce_probe_leak=True", fid=4.0),
            cell(seed=7, ablation="prior_precision=bf16", fid=5.0),
            cell("TwoPatternsGenerated", seed=8, fid=6.0),
            [row | {"preset": "improved"} for row in cell(seed=9, fid=7.0)],
        )
    )
    assert dict(zip(rows.seed, rows.value)) == {1: 1.0, 2: 2.0, 7: 5.0}
    assert dict(zip(rows.seed, rows.reduced)) == {1: "", 2: "", 7: "prior_precision"}


def test_fid_and_is_need_the_feature_net_of_the_thesis_and_other_metrics_do_not():
    rows = tables.comparable(frame(cell(fcn="own", recon_last_batch=0.6, fid=1.0, is_=1.5, is_real=1.8, cas=0.9)))
    assert sorted(rows.metric) == ["cas", "recon_last_batch"]
    for fcn in tables.thesis_fcn()[SONY]["hashes"]:
        assert "fid" in set(tables.comparable(frame(cell(fcn=fcn, fid=1.0))).metric)
    other = next(iter(tables.thesis_fcn()["FordA"]["hashes"]))
    assert tables.comparable(frame(cell(fcn=other, fid=1.0))).empty


def test_of_several_runs_of_a_seed_the_one_in_full_precision_counts():
    runs = [
        cell(ablation="precision=bf16 cas=False", knn_acc=0.1, fid=0.1),
        cell(ablation="fcn_precision=bf16", knn_acc=0.2, fid=0.2, cas=0.2),
        cell(ablation="prior_precision=bf16 cas=False", knn_acc=0.2, fid=0.3),
    ]
    for order in (runs, runs[::-1]):
        rows = tables.comparable(frame(*order)).set_index("metric")
        assert rows.value.to_dict() == {"knn_acc": 0.2, "fid": 0.2, "cas": 0.2}
        assert rows.reduced.to_dict() == {"knn_acc": "", "fid": "", "cas": "fcn_precision"}


def test_hashes_are_those_of_the_thesis_weights(reference_fcn, tmp_path):
    for dataset, net in tables.thesis_fcn().items():
        file = reference_fcn(dataset)
        assert weights_digest(file) == THESIS_WEIGHTS[dataset]
        FCN.load(file).save(tmp_path / "imported.safetensors")  # what `ncvqvae fcn import` writes
        assert net["hashes"] == {file_hash(file), file_hash(tmp_path / "imported.safetensors")}


@pytest.mark.parametrize("dataset", ["SonyAIBORobotSurface1", SONY])
def test_accuracies_of_the_feature_nets(reference_fcn, real_data, dataset):
    ds, net = real_data(dataset), FCN.load(reference_fcn(dataset))
    mean, std = ds.x_train.mean(), ds.x_train.std(correction=0)
    right = net((ds.x_test - mean) / std).argmax(dim=1) == ds.y_test
    assert right.double().mean().item() == pytest.approx(tables.thesis_fcn()[dataset]["accuracy"], abs=0.002)


# --- verdicts ---


@pytest.mark.parametrize(
    ("value", "better", "word"),
    [(1.0, "lower", "inside"), (4.0, "higher", "inside"), (0.9, "lower", "better"), (0.9, "higher", "worse"),
     (4.1, "lower", "worse"), (4.1, "higher", "better")],
)  # fmt: skip
def test_verdict_by_range_and_direction(value, better, word):
    assert tables.verdict(value, [2.0, 1.0, 4.0, 3.0], better) == word


def test_means_differ_as_students_test_says():
    rng = np.random.default_rng(0)
    decisions = []
    for shift in np.linspace(0, 6, 40):
        ours, theirs = rng.normal(shift, 1, 3), rng.normal(0, 1, 4)
        expected = stats.ttest_ind(ours, theirs).pvalue < 0.05
        assert tables.differs(ours, theirs) == expected
        decisions.append(expected)
    assert any(decisions) and not all(decisions)


def test_one_seed_differs_outside_the_prediction_interval():
    theirs = np.array([1.0, 2.0, 4.0, 5.0])
    half = stats.t.ppf(0.975, 3) * theirs.std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert not tables.differs([theirs.mean() + 0.999 * half], theirs)
    assert tables.differs([theirs.mean() + 1.001 * half], theirs)
    assert tables.differs([2.0], [1.0, 1.0, 1.0, 1.0]) and not tables.differs([1.0], [1.0, 1.0, 1.0, 1.0])


def test_a_true_replication_is_inside_as_often_as_stated():
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(100_000, 4))
    for n in (1, 2, 4):
        means = rng.normal(size=(100_000, n)).mean(axis=1)
        share = np.mean((theirs.min(axis=1) <= means) & (means <= theirs.max(axis=1)))
        assert tables.inside_by_chance(n) == pytest.approx(share, abs=0.006)
    assert tables.inside_by_chance(1) == pytest.approx(3 / 5)  # any of 5 exchangeable values but the extremes


# --- the tables ---


def test_the_authors_numbers_are_inside_everywhere(whole):
    table = tables.thesis_tables(whole)
    assert len(table) == 1001 and (table.n == 4).all() and (table.verdict == "inside").all()
    means = table[table.statistic == "mean"]
    assert not means.differs.any() and np.allclose(means.ours, means.authors_mean)
    digits = [len(text.partition(".")[2]) for text in means.printed]
    off = abs(means.ours - means.printed.astype(float)) > 0.5001 * 10.0 ** -np.array(digits)
    assert (off == means.misprint).all()  # what is printed is the rounded mean, but for the known misprints
    best = table[(table.table == "gen_top1") & (table.dataset == "FordA") & (table.method == "regular")]
    assert dict(zip(best.metric, best.ours.round(2))) == {"fid": 2.59, "is": 1.3}  # as the thesis prints them


def test_our_side_is_mean_spread_and_best_over_seeds():
    values = {1: 5.0, 2: 4.0, 3: 9.0}
    rows = tables.comparable(frame(*(cell(seed=seed, fid=value) for seed, value in values.items())))
    table = tables.thesis_tables(rows)
    table = table[(table.dataset == SONY) & (table.method == "regular") & (table.metric == "fid")].set_index("table")
    mean = table.loc["gen_mean"]
    assert (mean.ours, mean.n, mean.sd) == (6.0, 3, pytest.approx(np.std([5, 4, 9], ddof=1)))
    assert mean.verdict == "inside" and mean.differs is False
    best = table.loc["gen_top1"]
    assert (best.ours, best.verdict, best.differs) == (4.0, "fewer than 4 seeds", None)


def test_empty_cells_stay_empty():
    table = tables.thesis_tables(tables.comparable(frame()))
    assert len(table) == 1001 and table.ours.isna().all() and (table.verdict == "not run").all()
    counts = tables.count_verdicts(table).set_index(["table", "metric"])
    assert counts.loc[("all", ""), "cells"] == 1001 and counts.run.sum() == 0
    assert tables.coverage(tables.comparable(frame()))["run"] == 0
    assert tables.floors(tables.comparable(frame()))[list(tables.FLOORS)].isna().all(axis=None)


def test_verdicts_are_counted_per_table_and_in_all():
    rows = frame(
        cell(seed=1, recon_last_batch=0.6, knn_acc=0.5, fid=1.0),
        cell("Wafer", "vibcreg", "gauss", recon_last_batch=99.0, knn_acc=1.0),
    )
    counts = tables.count_verdicts(tables.thesis_tables(tables.comparable(rows))).set_index(["table", "metric"])
    columns = ["run", "inside", "better", "worse", "fewer than 4 seeds"]
    assert counts.loc[("recon_mean", "recon_val"), [*columns, "compared", "differ"]].tolist() == [2, 1, 0, 1, 0, 2, 1]
    assert counts.loc[("probe_mean", "knn_acc"), ["better", "worse"]].tolist() == [1, 1]
    best = counts.loc[("recon_top1", "recon_val")]
    assert best[columns].tolist() == [2, 0, 0, 0, 2] and best[["compared", "inside_expected"]].isna().all()
    each, whole = counts[counts.index.get_level_values(0) != "all"], counts.loc["all"]
    for kind, part in (("", each), ("mean", each[each.compared.notna()]), ("top1", each[each.compared.isna()])):
        assert (part[columns].sum() == whole.loc[kind, columns]).all()
    assert whole.loc["mean"].inside_expected == pytest.approx(0.6 * whole.loc["mean"].compared)


def test_coverage_of_the_grid(whole):
    assert tables.coverage(whole) == {
        "cells": 364, "run": 364, "with_cas": 364, "datasets": 13, "configurations": 7, "other": 0,
    }  # fmt: skip
    part = tables.coverage(tables.comparable(frame(cell(fid=1.0), cell(seed=9, fid=1.0), cell(seed=2, knn_acc=1.0))))
    assert (part["run"], part["other"], part["with_cas"], part["datasets"]) == (1, 1, 0, 1)


def test_floors_are_means_over_cells_and_the_ceiling_is_the_accuracy():
    rows = frame(
        cell(seed=1, fid_train_test=1.8, fid_reconstruction=3.0, is_real=1.81),
        cell(seed=2, fid_train_test=1.8, fid_reconstruction=4.0, is_real=1.81),
        cell(seed=3, fcn="own", fid_reconstruction=99.0),
    )
    floors = tables.floors(tables.comparable(rows)).loc[SONY]
    assert floors.fid_reconstruction == 3.5 and floors.fid_train_test == pytest.approx(1.8)
    assert np.isnan(floors.fid_test_halves) and floors.fcn_accuracy == 0.9748


def test_the_table_that_ships_goes_through():
    table = tables.thesis_tables(tables.comparable(load_cells()))
    assert (table.n > 0).sum() >= 45
    sony = table[(table.dataset == SONY) & (table.method == "vibcreg") & (table.augmentation == "gauss")]
    sony = sony[sony.table == "cas_mean"].iloc[0]
    assert sony.reduced == "fcn_precision" or sony.n > 1
