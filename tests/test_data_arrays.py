"""Arrays and tables: precision far from zero, gaps, true messages, and shapes that look like something else."""

import hashlib
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from ncvqvae_lite import evaluate
from ncvqvae_lite.data import cbf, from_arrays, load_dataset, synthetic_control, two_patterns
from ncvqvae_lite.errors import BadInput, WeakEvidence

X = np.random.default_rng(0).standard_normal((12, 16))
Y = [0, 1] * 6

# ---- precision


@pytest.mark.parametrize("offset", [2.4e6, -1e9, 1.7e9, 1e12])  # Julian days, counters, seconds
def test_far_from_zero_the_shape_stays(offset):
    ds = from_arrays(X + offset, Y, X[:4] + offset, Y[:4])
    assert ds.x_train.dtype == ds.x_test.dtype == torch.float64
    np.testing.assert_array_equal(ds.x_train[:, 0].numpy(), X + offset)
    shape = ds.x_train[:, 0].numpy() - offset
    assert np.abs(shape - X).max() < 1e-3
    assert np.abs((X + offset).astype(np.float32) - offset - X).max() > 0.05  # what float32 would have left


@pytest.mark.parametrize("sign", [1, -1])
def test_float64_begins_at_ten_thousand_standard_deviations(sign):
    unit = (X - X.mean()) / X.std()
    assert from_arrays(unit + sign * 9_900).x_train.dtype == torch.float32
    assert from_arrays(unit + sign * 10_100).x_train.dtype == torch.float64


def test_the_train_split_decides_for_both():
    near, far = X, X + 1e9
    assert [x.dtype for x in both(near, far)] == [torch.float32] * 2
    assert [x.dtype for x in both(far, near)] == [torch.float64] * 2
    assert [x.dtype for x in both(far, None)] == [torch.float64] * 2  # a fifth held out


def both(train, test):
    ds = from_arrays(train, None, test)
    return ds.x_train, ds.x_test


def test_whole_numbers_far_from_zero_stay_whole():
    counter = 10**12 + np.arange(12 * 16).reshape(12, 16)
    for give in (counter, counter.tolist(), torch.from_numpy(counter), counter.astype(object)):
        ds = from_arrays(give, None, give)
        np.testing.assert_array_equal(ds.x_train[:, 0].numpy(), counter.astype(np.float64))
    assert ds.content_hash == from_arrays(counter.astype(float), None, counter.astype(float)).content_hash


def test_what_float32_would_make_constant_varies():
    ds = from_arrays(1e9 + X * 0.01)
    assert len(ds.x_train.unique()) > 100


def test_the_content_hash_of_float64_is_of_its_bytes():
    x = X[:, None] + 1e9
    text = b"<f8(12, 1, 16)" + x.tobytes() + b"none"
    assert from_arrays(x, None, x).content_hash == hashlib.sha256(text + text).hexdigest()


def test_files_far_from_zero_are_read_in_float64(tmp_path):
    x = X + 1e9
    np.savez(tmp_path / "A.npz", X_train=x, X_test=x, y_train=Y, y_test=Y)
    for split in ("TRAIN", "TEST"):
        np.savetxt(tmp_path / f"B_{split}.csv", np.c_[Y, x], delimiter=",", fmt="%.17g")
    a, b = load_dataset("A", tmp_path), load_dataset("B", tmp_path)
    assert a.x_test.dtype == torch.float64
    assert a.content_hash == b.content_hash == from_arrays(x, Y, x, Y).content_hash


# ---- gaps, and messages about values


GAPS = np.where(X > 1.5, np.nan, X)  # in rows 2, 3, 4, 5, 10; the first at step 9


@pytest.mark.parametrize(
    "give",
    [
        lambda: GAPS,
        lambda: np.ma.masked_invalid(GAPS),
        lambda: np.ma.array(X, mask=X > 1.5),
        lambda: np.ma.array((X * 100).astype(int), mask=X > 1.5),
        lambda: np.ma.array(X, mask=X > 1.5)[:, None],
        lambda: [np.ma.array(x, mask=x > 1.5) for x in X],
        lambda: pd.DataFrame(GAPS),
        lambda: pd.DataFrame(X).astype("Float64").mask(X > 1.5),
        lambda: np.where(X > 1.5, None, X.astype(object)),
        lambda: torch.from_numpy(GAPS),
    ],
    ids=["NaN", "invalid", "masked", "integers", "channels", "list", "table", "nullable", "None", "tensor"],
)
def test_gaps_are_refused_however_they_are_marked(give):
    found = r"has NaN \(missing\) values in 5 of 12 series \(rows 2, 3, 4, 5, 10, from 0\), the first at step 9"
    with pytest.raises(BadInput, match="x_train " + found):
        from_arrays(give())
    with pytest.raises(BadInput, match="x_test " + found):
        from_arrays(X, None, give())


def test_a_mask_that_hides_nothing_changes_nothing():
    for mask in (np.ma.nomask, np.zeros(X.shape, bool)):
        masked = np.ma.array(X, mask=mask)
        assert from_arrays(masked, None, masked).content_hash == from_arrays(X, None, X).content_hash


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.where(X > 1.5, np.inf, X), r"has infinite values in 5 of 12"),
        (np.where(X > 1.5, np.nan, np.where(X < -1.5, -np.inf, X)), r"has NaN \(missing\) and infinite values in"),
        (X * 1e300, r"has values of size 2\.4\d*e\+300, infinite in float32, in 12 of 12 .*at most 3\.4e\+38.*divide"),
        (X * 1e-42, r"has no value larger than 2\.4\d*e-42, too small for float32.*multiply"),
        (X * 1e-200, r"too small for float32"),
        (X * 1e-300, r"too small for float32"),
        (np.full((12, 16), 1e9 + 0.25), r"every value of x_train is 1e\+09, expected series that vary"),
    ],
)
def test_messages_about_values_are_true(x, message):
    with pytest.raises(BadInput, match=message):
        from_arrays(x)


# ---- what looks as if something else was meant


def doubts(*arguments):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        from_arrays(*arguments)
    assert all(issubclass(one.category, WeakEvidence) for one in found)
    return [str(one.message) for one in found]


LEVELS = pd.MultiIndex.from_product([range(6), ["a", "b"]], names=["patient", "sensor"])
CHANNELS = pd.MultiIndex.from_product([["x", "y"], range(16)], names=["channel", "time"])
DOUBTFUL = {
    "time before channels": ((np.random.default_rng(1).random((12, 50, 20)),), r"50 channels of 20 steps: .*swap"),
    "labels first": ((np.c_[Y, X], Y), r"first step of mine: x_train looks like a column of labels"),
    "labels last": ((np.c_[X, Y], Y), r"last step of mine: x_train looks like a column of labels"),
    "labels first, no labels given": ((np.c_[Y, X],), r"first step"),
    "labels first, of counts": ((np.c_[Y, np.random.default_rng(1).poisson(5, (12, 16))], Y), r"first step"),
    "labels by other numbers": ((np.c_[np.array(Y) * 3 - 1, X], ["up", "down"] * 6), r"first step"),
    "numbers of rows": ((np.c_[range(12), X], Y), r"first step .*numbers of rows"),
    "a table's label": ((pd.DataFrame(X).rename(columns={7: "Label"}),), r"a column 'Label', which becomes a step"),
    "a table's index": ((pd.DataFrame(X).rename(columns={0: "Unnamed: 0"}),), r"a column 'Unnamed: 0'"),
    "rows in levels": (
        (pd.DataFrame(X, index=LEVELS),),
        r"several levels \(patient, sensor\) in its index.*one series",
    ),
    "columns in levels": (
        (pd.DataFrame(np.c_[X, X], columns=CHANNELS),),
        r"\(channel, time\) in its columns.*one step",
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_is_likely_something_else_is_warned_of(case):
    arrays, message = DOUBTFUL[case]
    with pytest.warns(WeakEvidence, match=message):
        from_arrays(*arrays)


@pytest.mark.parametrize(
    "arrays",
    [
        (X, Y),
        (np.random.default_rng(1).poisson(5, (12, 16)), Y),
        (np.random.default_rng(1).integers(0, 2, (12, 16)), Y),
        (np.c_[np.zeros(12), X], Y),  # starts at zero
        (X.reshape(6, 2, 16), Y[:6]),
        (X[:, None].repeat(16, axis=1), Y),  # as many channels as steps
        (pd.DataFrame(X), pd.Series(Y)),
        (pd.DataFrame(X, index=pd.Index(range(12), name="patient")), Y),
        (pd.DataFrame(X, index=list("lkjihgfedcba")), pd.Series(Y, index=list("lkjihgfedcba"))),
        (pd.DataFrame(X), pd.Series(Y, index=range(12, 24))),
    ],
)
def test_ordinary_arrays_raise_no_doubt(arrays):
    assert doubts(*arrays) == []


def test_labels_in_another_order_than_their_series_are_warned_of():
    x, y = pd.DataFrame(X, index=list("abcdefghijkl")), pd.Series(Y, index=list("abcdefghijkl"))
    told = "{} have the same row names in another order, and are paired by position: pass y.loc[x.index]"
    assert doubts(x, y[::-1]) == [told.format("mine: x_train and y_train")]
    assert doubts(x, y, pd.DataFrame(X), pd.Series(Y)[::-1]) == [told.format("mine: x_test and y_test")]
    with pytest.warns(WeakEvidence, match=re.escape(told.format("synthetic and synthetic_labels"))):
        evaluate(x, x + 1, real_labels=y, synthetic_labels=y[::-1])


def test_our_own_and_real_series_raise_no_doubt(monkeypatch, real_data):
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeakEvidence)
        for made in (two_patterns, cbf, synthetic_control):
            made(n_train=40, n_test=20)
        for name in ("ItalyPowerDemand", "GunPoint"):
            real_data(name)
