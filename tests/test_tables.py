"""Tables as text: to the byte as notebooks show them, and open to scores that are registered elsewhere."""

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


def test_notebooks_find_the_tables_in_nb():
    for name in ("published_table", "floors_table", "recorded_runs", "recorded_cells"):
        assert getattr(nb, name) is getattr(tables, name)
