"""Tables as text: to the byte as notebooks show them, and open to scores that are registered elsewhere."""

import numpy as np
import pytest

from ncvqvae_lite import nb, tables, thesis
from ncvqvae_lite.names import SCORES, Score

METRICS = {"recon_val": 0.123456, "knn_acc": 0.5, "fid": 12.345, "fid_test_halves": 3.0, "is": 2.5, "is_real": 3.9}


def test_scores_are_listed_with_the_direction_that_is_better(monkeypatch):
    monkeypatch.setitem(SCORES, "smoothness", Score("smoothness of samples"))
    table = tables.scores_table(METRICS | {"smoothness": 1234.56, "not registered": 1.0})
    assert table == (
        "score                   value  better\n"
        "reconstruction error   0.1235  lower\n"
        "KNN accuracy              0.5  higher\n"
        "FID                     12.35  lower\n"
        "inception score           2.5  higher\n"
        "smoothness of samples    1235"
    )
    assert tables.scores_table({"fid_test_halves": 1.0}) == "no score was computed"


def test_floors_stand_below_what_was_generated():
    assert tables.floors_table(METRICS | {"fid_train": 11.0}) == (
        "FID against the test split of       value\n"
        "generated, unconditional            12.35\n"
        "one half of test against the other  3\n"
        "Generated against train instead of test: 11\n"
        "IS: 2.5 generated, 3.9 real test series"
    )


def test_published_numbers_stand_beside_ours():
    rows = thesis.compare({"fid": 3.0, "knn_acc": 0.7}, "FordA", "regular", "none")
    lines = tables.published_table(rows).splitlines()
    assert lines[:4] == [
        "Published: FordA, regular + none (4 runs)",
        "metric             ours  thesis mean  authors' min  authors' max  verdict",
        "recon                 -        0.217        0.1583        0.3129  not computed",
        "knn_acc             0.7          0.7        0.6288        0.7508  inside",
    ]
    assert lines[9:] == [
        "fid                   3         5.15         2.585         9.588  inside",
        "is                    -         1.16         1.036         1.299  not computed",
        "cas                   -        0.864        0.8565        0.8703  not computed",
        "recon and val_perplexity: last test batch only, as the authors recorded them",
    ]


def test_recorded_runs_show_the_scores_of_the_thesis_tables():
    assert list(tables.RECORDED) == ["recon_last_batch", "knn_acc", "svm_acc", "fid", "is", "cas"]
    head = "preset    seed    recon    KNN    SVM    FID     IS    CAS  FCN   changed settings"
    assert tables.recorded_cells("TwoPatterns", "regular", "none").splitlines()[0] == head


ROWS = """chapter,item,dataset,setting,seed,metric,value,n,commit
11,methods,CBF,simclr,1,probe,0.9,200,c
11,methods,CBF,simclr,2,probe,0.8,200,c
11,methods,CBF,vicreg,2,probe,0.7,200,c
11,methods,CBF,vicreg,1,probe,0.6,200,c
11,methods,CBF,vicreg,1,rank,4,200,c
12,methods,CBF,vicreg,1,probe,0.1,200,c
"""


def test_recorded_runs_of_the_family_are_means_over_seeds(monkeypatch, tmp_path):
    (tmp_path / "family.csv").write_text(ROWS)
    monkeypatch.setattr(tables, "data_file", lambda name: tmp_path / "family.csv")
    assert tables.family_table("11", "methods", {"probe": "probe on h", "rank": "rank"}).splitlines() == [
        "data set     probe on h   rank  seeds    n  setting",
        "CBF       0.850 ± 0.050      -      2  200  simclr",
        "CBF       0.650 ± 0.050  4.000      2  200  vicreg",
    ]
    assert tables.family_table("11", "none", {"probe": "probe"}) == "no recorded runs of none, chapter 11"


def test_settings_are_compared_seed_by_seed(monkeypatch, tmp_path):
    (tmp_path / "family.csv").write_text(ROWS)
    monkeypatch.setattr(tables, "data_file", lambda name: tmp_path / "family.csv")
    found = tables.family_values("11", "methods", "probe")
    assert found == {("CBF", "simclr"): {1: 0.9, 2: 0.8}, ("CBF", "vicreg"): {2: 0.7, 1: 0.6}}
    assert tables.family_sizes("11", "methods", "probe") == {"CBF": 200}
    mean, error, seeds = tables.paired(*found.values())
    assert seeds == 2 and abs(mean - 0.2) < 1e-9 and abs(error - 0.1) < 1e-9  # differences 0.3 and 0.1
    assert np.isnan(tables.paired({1: 0.9}, {1: 0.5, 2: 0.1})[1])
    assert tables.paired({1: 0.9}, {2: 0.5})[2] == 0


def test_a_verdict_needs_three_seeds_and_three_standard_errors():
    assert tables.verdict(*tables.paired({1: 0.9}, {2: 0.5})) == "not recorded"
    assert tables.verdict(*tables.paired({1: 0.9}, {1: 0.5})) == tables.verdict(0.2, 0.01, 2) == "too few runs"
    assert tables.verdict(0.2, 0.07, 5) == "not settled"
    assert tables.verdict(0.2, 0.06, 3) == "found" and tables.verdict(-0.2, 0.06, 3) == "the opposite is found"
    assert tables.verdict(0.2, 0.0, 3) == "found"  # all seeds alike


@pytest.mark.parametrize(
    ("mean", "n", "word"), [(0.09, 100, "found"), (0.08, 100, "not settled"), (-0.009, 1000, "the opposite is found")]
)
def test_a_verdict_on_one_test_set_needs_nine_of_its_series(mean, n, word):
    """Nine series that change sides, all the same way: a paired test (McNemar's) has z = 9 / sqrt(9) = 3."""
    assert tables.verdict(mean, 0.001, 3, n) == word
    assert tables.verdict(0.08, 0.001, 3) == "found"  # other test series for each seed: their error is in that of seeds


def test_notebooks_find_the_tables_in_nb():
    names = "published_table floors_table recorded_runs recorded_cells "
    names += "family_sizes family_table family_values paired verdict"
    for name in names.split():
        assert getattr(nb, name) is getattr(tables, name)
