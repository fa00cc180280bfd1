"""Labels: what is equal is one class, what is not stays apart, what is missing or no class is refused."""

import datetime
import enum
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from ncvqvae_lite.data import from_arrays
from ncvqvae_lite.data_labels import check_classes, class_order, label_names
from ncvqvae_lite.errors import BadInput, WeakEvidence

X = np.random.default_rng(0).standard_normal((12, 16))


class Season(enum.IntEnum):
    WINTER = 1
    SUMMER = 2


NAMES = {
    "one number": (
        [1, 1.0, "1", "1.0", "1.", "+1", "01", " 1 ", b"1", np.int8(1), np.float32(1), "1.0000000e+00"],
        "1",
    ),
    "a half": ([0.5, "0.5", "0.50", ".5", "+0.5", Decimal("0.5"), np.float16(0.5), "5.000000e-01"], "0.5"),
    "zero": ([0, -0.0, "-0", "0.000", "0.0000000e+00"], "0"),
    "negative": ([-1, "-1.0", "-01", "-1.0000000e+00"], "-1"),
    "a hundred": ([100, 1e2, "100", "1.000000000000000000e+02"], "100"),
    "large": ([10**20, 1e20, "100000000000000000000"], "1" + "0" * 20),
    "small": ([1e-7, "0.0000001"], "0.0000001"),
    "truth": ([True, np.True_, "True"], "True"),
    "enumeration": ([Season.WINTER, 1], "1"),
    "text": (["up", b"up", np.str_("up"), " up "], "up"),
}


@pytest.mark.parametrize("case", NAMES)
def test_equal_labels_are_one_class(case):
    labels, name = NAMES[case]
    others = [f"other {i}" for i in range(2)]  # so that no list is one of numbers alone
    assert label_names([*labels, *others], len(labels) + 2, "y") == [name] * len(labels) + others


@pytest.mark.parametrize(
    "labels",
    [
        ("1E2", "100", "1e2", "1e+2", "1.0e+02", "1.0E+02", "1.0000000E+02"),
        ("1_1", "11", "1_1.0"),
        ("\uff11", "1", "\u0661"),
        ("0x1", "1", "1f", "1d0", "1/1"),
        ("None", "NA", "null", "N/A", "-", "?", "inf", "Infinity"),
        ("a", "A", "a b", "a  b"),
        ("9007199254740992", "9007199254740993"),
        (2**60, 2**60 + 1),
        ((1, 2), "12", (1, 3)),
        (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
    ],
)
def test_other_labels_stay_apart(labels):
    names = label_names(list(labels), len(labels), "y")
    assert len(set(names)) == len(labels)
    ds = from_arrays(X, [labels[0], labels[1]] * 6, X, [labels[0], labels[1]] * 6)
    assert [ds.class_names[i] for i in ds.y_train] == names[:2] * 6


MISSING = {
    "None": ["a", None],
    "NaN": [1.0, float("nan")],
    "NaN of numpy": np.array([1.0, np.nan]),
    "NaN among texts": ["a", float("nan")],
    "NaT": np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
    "NaT in ns": np.array(["2020-01-01", "NaT"], dtype="datetime64[ns]"),
    "NaT of pandas": [pd.Timestamp("2020-01-01"), pd.NaT],
    "NA": pd.Series([1, pd.NA], dtype="Int64"),
    "NA among texts": pd.Series(["a", pd.NA], dtype="string"),
    "category": pd.Series(["a", None], dtype="category"),
    "masked": np.ma.array([0, 1], mask=[False, True]),
    "masked texts": np.ma.array(["a", "b"], mask=[False, True]),
    "masked value": [np.ma.array([0, 1], mask=[False, True])[0], np.ma.masked],
    "tensor": torch.tensor([1.0, float("nan")]),
    "decimal": [Decimal(1), Decimal("nan")],
    "empty": ["a", ""],
    "blank": ["a", "  "],
    "bytes": [b"a", b""],
}


@pytest.mark.parametrize("case", MISSING)
def test_missing_labels_are_known_by_their_value(case):
    with pytest.raises(BadInput, match=r"y has no label in 1 of 2 series \(rows 1, from 0\)"):
        label_names(MISSING[case], 2, "y")


@pytest.mark.parametrize("name", ["nan", "NaT", "<NA>"])
def test_a_missing_label_that_became_text_is_warned_of(name):
    with pytest.warns(WeakEvidence, match=f"y has a class called '{name}', as a missing label is"):
        assert label_names(np.array(["a", name]), 2, "y") == ["a", name]


REAL = {
    "floats": np.linspace(0, 1, 12),
    "two floats": np.array([0.5, 1.5] * 6),
    "float32": np.array([0.5, 1.5] * 6, dtype=np.float32),
    "list": [0.5, 1] * 6,
    "infinite": [np.inf, 1.0] * 6,
    "series": pd.Series([0.25, 0.75] * 6),
    "tensor": torch.linspace(0, 1, 12),
}
DIFFERENT = {
    "numbers of rows": list(range(12)),
    "names of files": [f"file{i}" for i in range(12)],
    "texts of real numbers": [f"{v:.2f}" for v in X[:, 0]],
    "repeated texts of real numbers": [f"{v:.1f}" for v in np.linspace(0, 0.3, 12)],
    "dates": [datetime.date(2020, 1, i + 1) for i in range(12)],
}


@pytest.mark.parametrize("case", REAL)
def test_real_numbers_are_no_classes(case):
    with pytest.raises(BadInput, match=r"mine: y_train has real numbers \(.*expected classes: cut .*leave the labels"):
        from_arrays(X, REAL[case], X, REAL[case])


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("case", DIFFERENT)
def test_labels_that_are_nearly_all_different_are_no_classes(case, test):
    labels = DIFFERENT[case]
    with pytest.raises(BadInput, match=r"mine has \d+ different labels .* series, expected classes of several"):
        from_arrays(X, labels, *((X, labels) if test else ()))


def test_one_series_a_class_in_train_is_fine_where_test_has_several():
    train, test = [str(i) for i in range(12)], [str(i) for i in range(12)] * 4
    assert from_arrays(X, train, np.tile(X, (4, 1)), test).n_classes == 12
    check_classes([["0.5", "1", "1.5"] * 6], "half points")
    assert from_arrays(X, ["0.50", "0.5", "1", 1.0] * 3, X, [0.5, "0.5", "1", "1"] * 3).class_names == ("0.5", "1")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((12, 1)), r"y_train has shape \(12, 1\), expected \(12,\): flatten"),
        ([[0], [1]] * 6, r"y_train holds several values"),
        ([b"\xe9", b"a"] * 6, r"y_train has the label b'\\xe9', expected text or UTF-8"),
    ],
)
def test_what_is_no_list_of_labels(labels, message):
    with pytest.raises(BadInput, match=message):
        from_arrays(X, labels, X, labels)


def test_classes_are_ordered_by_value_then_as_texts():
    names = ["b", "10", "9", "-1", "0.5", "1E2", "1_1", "a", "nan", "100000000000000000001", "100000000000000000000"]
    expected = "-1 0.5 9 10 100000000000000000000 100000000000000000001 1E2 1_1 a b nan".split()
    assert sorted(names, key=class_order) == expected
