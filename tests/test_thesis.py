"""Published numbers: the tables are complete, agree where they should, and `compare` says the right word."""

import csv
import math
import statistics
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from ncvqvae_lite import nb, tables, thesis
from ncvqvae_lite.data import THESIS_DATASETS, two_patterns
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.files import read_csv

DATASETS = (
    *("FordA", "ElectricDevices", "StarLightCurves", "Wafer", "ECG5000", "TwoPatterns", "UWaveGestureLibraryAll"),
    *("FordB", "ShapesAll", "SonyAIBORobotSurface1", "SonyAIBORobotSurface2", "Symbols", "Mallat"),
)
CONFIGURATIONS = (
    *(("regular", "none"), ("barlowtwins", "warp"), ("barlowtwins", "slice"), ("barlowtwins", "gauss")),
    *(("vibcreg", "warp"), ("vibcreg", "slice"), ("vibcreg", "gauss")),
)
TABLES = {
    "recon_mean": ("recon_val",),
    "recon_top1": ("recon_val",),
    "probe_mean": ("knn_acc", "svm_acc"),
    "probe_top1": ("knn_acc", "svm_acc"),
    "gen_mean": ("fid", "is"),
    "gen_top1": ("fid", "is"),
    "cas_mean": ("cas",),
}
RUN_METRICS = (
    *("recon_val", "knn_acc", "svm_acc", "train_perplexity", "val_perplexity", "codebook_abs_corr", "codebook_abs_cos"),
    *("train_seconds", "fid", "is", "is_std", "cas"),
)
BEST_IS_LOWEST = ("recon_val", "fid")


def rows_of(name):
    with open(thesis.data_file(name), newline="") as file:
        return list(csv.DictReader(file))


def runs_by_cell():
    """(dataset, method, augmentation, metric) -> values, read without the module under test."""
    runs = defaultdict(list)
    for row in rows_of("author_runs.csv"):
        runs[row["dataset"], row["method"], row["augmentation"], row["metric"]].append(float(row["value"]))
    return runs


def test_thesis_tables_hold_every_cell_once():
    keys = Counter(
        (r["table"], r["dataset"], r["method"], r["augmentation"], r["metric"]) for r in rows_of("thesis_tables.csv")
    )
    columns = [(table, metric) for table, metrics in TABLES.items() for metric in metrics]
    assert set(keys) == {(table, d, *c, metric) for table, metric in columns for d in DATASETS for c in CONFIGURATIONS}
    assert set(keys.values()) == {1} and len(keys) == 1001


def test_author_runs_are_complete_but_for_seven_correlations():
    runs = runs_by_cell()
    assert set(runs) == {(d, *c, m) for d in DATASETS for c in CONFIGURATIONS for m in RUN_METRICS}
    assert all(math.isfinite(value) for values in runs.values() for value in values)
    short = {key: 4 - len(values) for key, values in runs.items() if len(values) != 4}
    assert {(d, m) for d, _, _, m in short} == {("Mallat", "codebook_abs_corr")} and sum(short.values()) == 7


def test_991_printed_cells_agree_with_the_runs_and_the_ten_known_ones_do_not():
    runs, differing, agreeing = runs_by_cell(), set(), 0
    for row in rows_of("thesis_tables.csv"):
        key = (row["dataset"], row["method"], row["augmentation"], row["metric"])
        best = min if row["metric"] in BEST_IS_LOWEST else max
        exact = statistics.fmean(runs[key]) if row["table"].endswith("_mean") else best(runs[key])
        half_a_digit = 0.5 * 10 ** -len(row["value"].partition(".")[2])
        if abs(float(row["value"]) - exact) <= half_a_digit + 1e-9:
            agreeing += 1
        else:
            differing.add((row["table"], *key))
    assert agreeing == 991
    assert differing == thesis.MISPRINTS and len(differing) == 10


def test_lookups_by_hand():
    assert thesis.thesis_mean("FordA", "regular", "none") == {
        "recon_val": 0.217,
        "knn_acc": 0.7,
        "svm_acc": 0.74,
        "fid": 5.15,
        "is": 1.16,
        "cas": 0.864,
    }
    fid = thesis.author_runs("FordA", "regular", "none")["fid"]
    assert [round(value, 1) for value in fid] == [3.9, 4.5, 2.6, 9.6]
    assert len(thesis.author_runs("Mallat", "regular", "none")["codebook_abs_corr"]) == 1


@pytest.mark.parametrize("lookup", [thesis.thesis_mean, thesis.author_runs])
def test_lookups_of_what_is_not_there_say_what_is(lookup):
    with pytest.raises(BadInput, match=r"GunPoint, regular \+ none.*FordA.*vibcreg \+ gauss"):
        lookup("GunPoint", "regular", "none")
    with pytest.raises(BadInput, match=r"regular \+ gauss"):
        lookup("FordA", "regular", "gauss")


def test_data_file_names_what_is_missing():
    with pytest.raises(NotFound, match="results/nothing.csv"):
        thesis.data_file("results/nothing.csv")


def verdicts(metrics, dataset="FordA", method="regular", augmentation="none", **options):
    return {row.metric: row.verdict for row in thesis.compare(metrics, dataset, method, augmentation, **options)}


# FordA, regular: the authors' four values span recon 0.158..0.313, knn 0.629..0.751, IS 1.036..1.299, FID 2.585..9.588,
# CAS 0.857..0.870, perplexity of the last training batch 19.8..25.3.
@pytest.mark.parametrize(
    ("key", "name", "value", "verdict"),
    [
        ("recon_last_batch", "recon", 0.2, "inside"),
        ("recon_last_batch", "recon", 0.15, "better"),
        ("recon_last_batch", "recon", 0.32, "worse"),
        ("fid", "fid", 2.5, "better"),
        ("fid", "fid", 9.5, "inside"),
        ("fid", "fid", 9.6, "worse"),
        ("knn_acc", "knn_acc", 0.76, "better"),
        ("knn_acc", "knn_acc", 0.62, "worse"),
        ("is", "is", 1.3, "better"),
        ("is", "is", 1.0, "worse"),
        ("cas", "cas", 0.86, "inside"),
        ("cas", "cas", 0.8, "worse"),
        ("train_perplexity", "train_perplexity", 25.0, "inside"),
        ("train_perplexity", "train_perplexity", 19.0, "outside"),
        ("train_perplexity", "train_perplexity", 26.0, "outside"),
        ("val_perplexity_last_batch", "val_perplexity", 1.0, "outside"),
        ("codebook_abs_corr", "codebook_abs_corr", 0.999, "outside"),
    ],
)
def test_verdicts(key, name, value, verdict):
    assert verdicts({key: value})[name] == verdict


def test_the_ends_of_the_range_are_inside():
    low, high = 0.6287878787878788, 0.7507575757575757  # KNN accuracy of FordA, regular: 415 and 495.5 of 660
    assert verdicts({"knn_acc": low})["knn_acc"] == verdicts({"knn_acc": high})["knn_acc"] == "inside"


@pytest.mark.parametrize("metrics", [{}, {"fid": None}, {"fid": float("nan")}])
def test_missing_values_are_not_computed(metrics):
    rows = thesis.compare(metrics, "FordA", "regular", "none")
    assert {row.verdict for row in rows} == {"not computed"}
    assert {row.ours for row in rows} == {None}


def test_full_test_means_do_not_stand_in_for_the_last_batch():
    answer = verdicts({"recon_val": 0.2, "val_perplexity": 20.0})
    assert answer["recon"] == answer["val_perplexity"] == "not computed"


def test_rows_carry_the_published_numbers():
    row = next(r for r in thesis.compare({"fid": 3}, "FordA", "regular", "none") if r.metric == "fid")
    assert (row.ours, row.thesis_mean) == (3.0, 5.15)
    assert (row.authors_min, row.authors_max) == pytest.approx((2.5853684, 9.5879748))
    perplexity = next(r for r in thesis.compare({}, "FordA", "regular", "none") if r.metric == "train_perplexity")
    assert perplexity.thesis_mean is None and perplexity.authors_max > 25


def test_an_own_fcn_is_not_compared_on_fid_and_is():
    ours = {"fid": 3.0, "is": 1.1, "cas": 0.86}
    answer = verdicts(ours, own_fcn=True)
    assert answer["fid"] == answer["is"] == "own FCN: not comparable with the thesis"
    assert answer["cas"] == "inside"
    assert verdicts(ours)["fid"] == "inside"
    assert verdicts({}, own_fcn=True)["fid"] == "not computed"


def test_the_generated_set_is_compared_with_the_archives():
    generated = thesis.compare({"fid": 2.3}, "TwoPatternsGenerated", "barlowtwins", "gauss")
    archive = thesis.compare({"fid": 2.3}, "TwoPatterns", "barlowtwins", "gauss")
    assert [row._replace(published="") for row in generated] == [row._replace(published="") for row in archive]
    assert nb.published_table(generated).startswith("Published: archive's TwoPatterns, barlowtwins + gauss")
    assert nb.published_table(archive).startswith("Published: TwoPatterns, barlowtwins + gauss")


def series(n_train, n_test, length, n_classes, channels=1):
    """A data set of these sizes, as far as `compare` looks at it."""
    train, test = np.empty((n_train, 0)), np.empty((n_test, 0))
    return SimpleNamespace(x_train=train, x_test=test, length=length, channels=channels, n_classes=n_classes)


GUNS = (50, 150, 150, 2)


@pytest.mark.parametrize(
    ("sizes", "differs"),
    [
        ((3600, 1320, 500, 2), "3,600 train series (thesis: 3,601)"),
        ((3601, 1321, 500, 2), "1,321 test series (thesis: 1,320)"),
        ((3601, 1320, 128, 2), "128 steps (thesis: 500)"),
        ((3601, 1320, 500, 3), "3 classes (thesis: 2)"),
        ((3601, 1320, 500, 2, 3), "3 channel(s) (thesis: 1)"),
        (
            (1320, 3601, 500, 2),
            "1,320 train series (thesis: 3,601), 3,601 test series (thesis: 1,320)",
        ),  # the archive of 2015
        (GUNS, "50 train series (thesis: 3,601), 150 test series (thesis: 1,320), 150 steps (thesis: 500)"),
    ],
)
def test_other_series_of_a_thesis_name_get_no_verdict(sizes, differs):
    rows = thesis.compare({"fid": 3.0, "cas": 0.86}, "FordA", "regular", "none", ds=series(*sizes))
    words = {row.metric: row.verdict for row in rows}
    assert words["fid"] == words["cas"] == "other series than the thesis" and words["recon"] == "not computed"
    assert {(row.thesis_mean, row.authors_min, row.authors_max, row.published) for row in rows} == {(None,) * 3 + ("",)}
    heading, *lines = tables.published_table(rows).splitlines()
    assert heading == f"Published: none, these are other series than the thesis' of that name: {differs}"
    assert not any("inside" in line or "better" in line for line in lines)


@pytest.mark.parametrize("sizes", [(3601, 1320, 500, 2), (3601, 1320, 500, 0)])  # with and without labels
def test_the_series_of_the_thesis_get_its_verdicts(sizes):
    metrics = {"fid": 3.0, "cas": 0.86}
    assert verdicts(metrics, ds=series(*sizes)) == verdicts(metrics)


def test_sizes_are_those_of_the_archive(real_data):
    for name in ("ECG5000", "TwoPatterns", "Wafer", "ShapesAll", "Symbols", "UWaveGestureLibraryAll"):
        assert thesis.other_series(name, real_data(name)) == ""


def test_every_data_set_of_the_thesis_has_its_sizes():
    names = {name for name, *_ in thesis._authors()}
    assert set(thesis._sizes()) == names == set(THESIS_DATASETS)
    known = {row["dataset"]: row["n_test"] for row in read_csv(thesis.data_file("thesis_fcn.csv")) if row["n_test"]}
    assert known == {name: str(thesis._sizes()[name]["n_test"]) for name in known} and len(known) == 11


def test_a_generated_set_of_other_sizes_is_not_compared():
    ours = {"fid": 2.3}
    for ds, word in ((two_patterns(), "inside"), (two_patterns(n_train=40, n_test=20), "other series than the thesis")):
        rows = thesis.compare(ours, ds.name, "barlowtwins", "gauss", ds=ds)
        assert {row.metric: row.verdict for row in rows}["fid"] == word
    assert thesis.compare(ours, "GunPoint", "regular", "none", ds=series(*GUNS))[0].other_series == ""


@pytest.mark.parametrize("cell", [("GunPoint", "regular", "none"), ("FordA", "vicreg", "warp")])
def test_what_the_thesis_lacks_has_no_published_columns(cell):
    rows = thesis.compare({"fid": 3.0}, *cell)
    assert [row.metric for row in rows] == [metric.name for metric in thesis.METRICS]
    assert {(row.thesis_mean, row.authors_min, row.authors_max) for row in rows} == {(None, None, None)}
    assert {row.metric: row.verdict for row in rows}["fid"] == "not in the thesis"
    assert "none" in nb.published_table(rows).splitlines()[0]


def test_misprints_are_shown_as_printed_and_marked():
    rows = {row.metric: row for row in thesis.compare({}, "TwoPatterns", "barlowtwins", "gauss")}
    assert rows["svm_acc"].thesis_mean == 0.71 and rows["svm_acc"].misprint
    assert not any(row.misprint for name, row in rows.items() if name != "svm_acc")
    marked = nb.published_table(list(rows.values()))
    assert "0.71*" in marked and marked.splitlines()[-1].startswith("*")
    assert "*" not in nb.published_table(thesis.compare({}, "FordA", "regular", "none"))
