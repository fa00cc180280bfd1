"""Loading, checking and numbering of series."""

import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from ncvqvae_lite import cli_doctor, data, data_archive, data_files
from ncvqvae_lite.data import (
    THESIS_DATASETS,
    TimeSeriesDataset,
    from_arrays,
    load_dataset,
    two_patterns,
)
from ncvqvae_lite.data_files import MIN_STEPS
from ncvqvae_lite.errors import BadInput, NotFound, UserError

needs_aeon = pytest.mark.skipif(not importlib.util.find_spec("aeon"), reason="aeon is not installed (the extra `data`)")


def series(n=10, length=20, channels=None, seed=0):
    shape = (n, length) if channels is None else (n, channels, length)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def splits(labels=("1", "2"), channels=None):
    """X_train (10, ...), y_train, X_test (6, ...), y_test."""
    return series(10, channels=channels), list(labels) * 5, series(6, channels=channels, seed=1), list(labels) * 3


def sentence(error):
    """The text of a user error, which must be one line that says what was expected or what to do."""
    text = str(error.value)
    assert isinstance(error.value, UserError)
    assert "\n" not in text and len(text) < 500 and not text.endswith(".")
    assert ": " in text
    return text


@pytest.fixture(autouse=True)
def nowhere(tmp_path_factory, monkeypatch):
    """No folder, an empty cache, and no network: what a test finds, it has put there."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.delenv("NCVQVAE_DATA", raising=False)
    monkeypatch.setenv("NCVQVAE_CACHE", str(cache))

    def refuse(*args, **kwargs):
        raise OSError("the network is off in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return cache


# ---- writing the formats


def write_npz(folder, name, x_train, y_train, x_test, y_test):
    np.savez(folder / f"{name}.npz", X_train=x_train, y_train=np.array(y_train), X_test=x_test, y_test=np.array(y_test))


def write_table(folder, name, x_train, y_train, x_test, y_test, suffix=".tsv", separator="\t", label="{}"):
    for split, x, y in (("TRAIN", x_train, y_train), ("TEST", x_test, y_test)):
        lines = [separator.join([label.format(y_), *(f"{v:.9g}" for v in row)]) for row, y_ in zip(x, y, strict=True)]
        (folder / f"{name}_{split}{suffix}").write_text("\n".join(lines) + "\n")


def write_ts(folder, name, x_train, y_train, x_test, y_test):
    for split, x, y in (("TRAIN", x_train, y_train), ("TEST", x_test, y_test)):
        classes = " ".join(sorted(set(y)))
        head = f"# a comment\n@problemName {name}\n@timeStamps false\n@classLabel true {classes}\n@data\n"
        lines = [
            ":".join([*(",".join(f"{v:.9g}" for v in channel) for channel in np.atleast_2d(row)), label])
            for row, label in zip(x, y, strict=True)
        ]
        (folder / f"{name}_{split}.ts").write_text(head + "\n".join(lines) + "\n")


def write_txt(folder, name, *arrays):
    """As in the archive's text files: blanks, labels as floats."""
    write_table(folder, name, *arrays, suffix=".txt", separator="  ", label="{}.0000000e+00")


WRITERS = {"npz": write_npz, "tsv": write_table, "txt": write_txt, "ts": write_ts}


# ---- arrays


def test_shapes_types_and_numbers_of_a_data_set():
    x_train, y_train, x_test, y_test = splits(("b", "a"))
    ds = from_arrays(x_train, y_train, torch.from_numpy(x_test), y_test)
    assert isinstance(ds, TimeSeriesDataset)
    assert ds.x_train.shape == (10, 1, 20) and ds.x_test.shape == (6, 1, 20)
    assert ds.x_train.dtype == ds.x_test.dtype == torch.float32
    assert ds.y_train.dtype == ds.y_test.dtype == torch.int64
    np.testing.assert_array_equal(ds.x_train[:, 0].numpy(), x_train)  # raw values
    np.testing.assert_array_equal(ds.x_test[:, 0].numpy(), x_test)
    assert (ds.length, ds.channels, ds.n_classes) == (20, 1, 2)
    assert ds.name == "mine" and ds.source == "arrays given by the caller"
    assert "10 train and 6 test" in repr(ds) and "tensor" not in repr(ds)
    with pytest.raises(AttributeError):
        ds.name = "other"


@pytest.mark.parametrize(
    ("train", "test", "names", "train_numbers", "test_numbers"),
    [
        (["b", "a", "c", "a"], ["c", "b"], ("a", "b", "c"), [1, 0, 2, 0], [2, 1]),
        ([10, 2, -1, 2], [-1, 10], ("-1", "2", "10"), [2, 1, 0, 1], [0, 2]),
        (["10", "2", "-1", "2"], [-1.0, 10.0], ("-1", "2", "10"), [2, 1, 0, 1], [0, 2]),  # text of numbers is numbers
        (["x", 3, "1.5", b"x"], ["1.5", 3.0], ("1.5", "3", "x"), [2, 1, 0, 2], [0, 1]),
        ([True, False, True, True], [False, False], ("False", "True"), [1, 0, 1, 1], [0, 0]),
        (torch.tensor([7, 5, 5, 7]), np.array([5, 7], dtype=np.int8), ("5", "7"), [1, 0, 0, 1], [0, 1]),
    ],
)
def test_labels_are_numbered_in_the_sorted_order_of_train(train, test, names, train_numbers, test_numbers):
    ds = from_arrays(series(4), train, series(2), test)
    assert ds.class_names == names
    assert ds.y_train.tolist() == train_numbers
    assert ds.y_test.tolist() == test_numbers


def test_a_class_that_test_lacks_is_fine():
    ds = from_arrays(series(4), [0, 1, 2, 0], series(2), [0, 2])
    assert ds.n_classes == 3 and ds.y_test.tolist() == [0, 2]


@pytest.mark.parametrize(
    "give",
    [
        lambda x: x,
        lambda x: x.astype(np.float64),
        lambda x: torch.from_numpy(x).requires_grad_(),
        lambda x: x.tolist(),
        lambda x: [torch.from_numpy(row) for row in x],
        lambda x: x.astype(object),
        lambda x: np.asfortranarray(x),
    ],
    ids=["float32", "float64", "tensor", "lists", "tensors", "object", "fortran"],
)
@pytest.mark.parametrize("channels", [None, 3])
def test_every_kind_of_array_gives_the_same_content(give, channels):
    x_train, y_train, x_test, y_test = splits(channels=channels)
    ds = from_arrays(give(x_train), y_train, give(x_test), y_test)
    assert ds.channels == (channels or 1)
    assert ds.content_hash == from_arrays(x_train, y_train, x_test, y_test).content_hash
    np.testing.assert_array_equal(ds.x_train.numpy(), x_train.reshape(10, -1, 20))


def test_integers_and_bfloat16_become_float32():
    whole = np.arange(80).reshape(4, 20)
    assert torch.equal(from_arrays(whole).x_test, from_arrays(whole.astype(np.float32)).x_test)
    assert torch.equal(from_arrays(torch.from_numpy(whole).bfloat16()).x_test, from_arrays(whole).x_test)


def test_a_data_set_does_not_share_memory_with_the_callers_arrays():
    x_train, y_train, x_test, y_test = splits()
    ds = from_arrays(x_train, y_train, x_test, y_test)
    before = ds.x_train.clone()
    x_train[:] = 0
    assert torch.equal(ds.x_train, before)


def test_content_hash_sees_values_shapes_and_labels_but_not_names():
    x_train, y_train, x_test, y_test = splits()
    base = from_arrays(x_train, y_train, x_test, y_test)
    assert len(base.content_hash) == 64 and int(base.content_hash, 16) >= 0
    assert base.content_hash == from_arrays(x_train, y_train, x_test, y_test, name="other").content_hash
    changed = x_train.copy()
    changed[3, 4] = np.nextafter(changed[3, 4], np.float32(9))
    others = [
        from_arrays(changed, y_train, x_test, y_test),
        from_arrays(x_train, y_train[::-1], x_test, y_test),
        from_arrays(x_train, y_train, x_test, y_test[::-1]),
        from_arrays(x_train, None, x_test),
        from_arrays(x_train, y_train, x_test[::-1], y_test),
        from_arrays(x_train.reshape(5, 2, 20), None, x_test.reshape(3, 2, 20)),
    ]
    assert len({base.content_hash, *(other.content_hash for other in others)}) == 7


def test_content_hash_is_sha256_of_types_shapes_and_bytes():
    x = np.arange(64, dtype="<f4").reshape(2, 2, 16)
    y = np.array([0, 1], dtype="<i8")
    text = b"<f4(2, 2, 16)" + x.tobytes() + b"<i8(2,)" + y.tobytes()
    assert from_arrays(x, y, x, y).content_hash == hashlib.sha256(text + text).hexdigest()


# ---- no labels, no test set


def test_without_labels():
    ds = from_arrays(series(10), None, series(6))
    assert ds.y_train is None and ds.y_test is None
    assert ds.n_classes == 0 and ds.class_names == ()


@pytest.mark.parametrize("n", [3, 4, 5, 10, 37, 1000])
def test_a_fifth_is_held_out_without_labels(n):
    x = series(n)
    ds = from_arrays(x)
    assert len(ds.x_test) == round(n / 5) and len(ds.x_train) + len(ds.x_test) == n
    rows = {row.tobytes(): i for i, row in enumerate(x)}
    held = [rows[row.numpy().tobytes()] for row in ds.x_test[:, 0]]
    kept = [rows[row.numpy().tobytes()] for row in ds.x_train[:, 0]]
    assert sorted(held + kept) == list(range(n))  # each series once
    assert held == sorted(held) and kept == sorted(kept)  # in the order given
    assert "held out" in ds.source and f"{len(held)} of the {n}" in ds.source
    assert ds.content_hash == from_arrays(x).content_hash


def test_the_held_out_fifth_is_a_draw_not_every_fifth_row():
    ds = from_arrays(np.arange(1000.0)[:, None] * np.ones(16))
    rows = ds.x_test[:, 0, 0].numpy().astype(int)
    assert len(set(np.diff(rows))) > 5
    assert len(set(rows % 5)) == 5


@pytest.mark.parametrize("counts", [(50, 50), (37, 11, 5, 3, 2), (2, 2), (1, 1, 1, 30), (9, 1)])
def test_the_held_out_fifth_is_stratified(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    ds = from_arrays(series(len(labels)), labels)
    assert ds.n_classes == len(counts)
    for label, count in enumerate(counts):
        held, kept = (ds.y_test == label).sum().item(), (ds.y_train == label).sum().item()
        assert held + kept == count and kept >= 1
        assert held in ((0,) if count == 1 else (count // 5, -(-count // 5)))
    for x, y in ((ds.x_train, ds.y_train), (ds.x_test, ds.y_test)):  # labels stay with their series
        for row, label in zip(x, y, strict=True):
            assert labels[np.flatnonzero((series(len(labels)) == row.numpy()).all(axis=1))] == label


# ---- bad input


X = series(10)
Y = [0, 1] * 5
NAN, INF = X.copy(), X.copy()
NAN[[2, 3, 5, 6, 7, 9], 4] = np.nan
INF[8, 0] = -np.inf
RAGGED = [[0.1] * 20, [0.2] * 18, [0.3] * 25]

BAD_ARRAYS = {
    "short": ((series(10, 15),), r"15 steps.*at least 16"),
    "channels last": ((series(10, 3, channels=40),), r"3 steps.*\(n, L, C\) with L = 40"),
    "nan": ((NAN, Y), r"NaN.*6 of 10 series \(rows 2, 3, 5, 6, 7, \.\.\., from 0\)"),
    "infinite": ((INF,), r"infinite.*rows 8, from 0"),
    "nan in test": ((X, Y, NAN, Y), r"x_test has NaN"),
    "too large for float32": ((X.astype(np.float64) * 1e300,), r"infinite"),
    "None among values": (([[1.0] * 20, [None] * 20, [2.0] * 20],), r"NaN.*rows 1"),
    "unequal lists": ((RAGGED,), r"unequal lengths \(18 to 25 steps\)"),
    "unequal arrays": (([np.array(row) for row in RAGGED],), r"unequal lengths \(18 to 25"),
    "unequal tensors": (([torch.tensor(row) for row in RAGGED],), r"unequal lengths \(18 to 25"),
    "unequal objects": ((np.array([np.array(row) for row in RAGGED], dtype=object),), r"unequal lengths \(18 to 25"),
    "unequal with channels": (([np.ones((2, 20)), np.ones((2, 30))],), r"unequal lengths \(20 to 30"),
    "unequal channels": (([np.ones((2, 20)), np.ones((3, 20))],), r"expected \(n, L\) or \(n, C, L\)"),
    "one series": ((X[:1],), r"1 series.*at least 2"),
    "no series": ((X[:0],), r"x_train is empty.*\(0, 20\)"),
    "empty list": (([],), r"empty"),
    "no steps": ((X[:, :0],), r"empty.*\(10, 0\)"),
    "empty test": ((X, Y, X[:0], []), r"x_test is empty"),
    "one dimension": ((X[0],), r"shape \(20,\).*\(n, C, L\)"),
    "four dimensions": ((X[None, None],), r"shape \(1, 1, 10, 20\)"),
    "a number": ((3.0,), r"shape \(\)"),
    "nothing": ((None,), r"x_train"),
    "a name": (("GunPoint",), r"real numbers"),
    "texts": ((X.astype(str),), r"real numbers"),
    "objects": (([[object()] * 20] * 3,), r"no plain numbers"),
    "complex": ((X.astype(complex),), r"complex128.*real numbers"),
    "complex tensor": ((torch.from_numpy(X.astype(np.complex64)),), r"complex64.*real numbers"),
    "constant": ((np.full((10, 20), 2.5),), r"every value of x_train is 2\.5.*vary"),
    "test of other length": ((X, Y, series(10, 21), Y), r"of 20 steps.*of 21 steps"),
    "test of other channels": ((series(10, channels=2), Y, series(10, channels=3), Y), r"2 channel.*3 channel"),
    "too few labels": ((X, Y[:9], X, Y), r"y_train has 9 labels for 10 series"),
    "too many test labels": ((X, Y, X, [*Y, 1]), r"y_test has 11 labels for 10 series"),
    "no labels at all": ((X, [], X, []), r"0 labels for 10"),
    "a single label": ((X, 1), r"1 labels for 10"),
    "one class": ((X, [4] * 10), r"one class 4"),
    "unknown test labels": ((X, Y, X, [0, 1, 7, 8, "z", *Y[:5]]), r"y_train lacks \(7, 8, z\), expected 0, 1"),
    "one-hot": ((X, np.eye(2)[Y]), r"one-hot"),
    "one-hot tensor": ((X, torch.eye(2)[Y]), r"one-hot"),
    "missing label": ((X, [0, 1, None, 1, float("nan"), 0, 0, 0, 0, ""]), r"no label in 3 of 10 series \(rows 2, 4, 9"),
    "labels for train only": ((X, Y, X), r"y_test is missing"),
    "labels for test only": ((X, None, X, Y), r"y_train is missing"),
    "test labels without test": ((X, Y, None, Y), r"y_test is given without x_test"),
    "nothing to hold out": ((X[:2],), r"2 series of 1 class\(es\), too few to hold out"),
    "classes too small to hold out": (
        (X[:4], [0, 1, 2, 3]),
        r"4 series of 4 class\(es\), too few to hold out.*pass x_test",
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(case):
    arrays, message = BAD_ARRAYS[case]
    with pytest.raises(BadInput, match=message) as error:
        from_arrays(*arrays)
    assert sentence(error).startswith("mine: ")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a b", None, 3, "-x", "x\n"])
def test_names_that_cannot_be_file_names(name):
    for load in (lambda: from_arrays(X, name=name), lambda: load_dataset(name)):
        with pytest.raises(BadInput, match="expected letters") as error:
            load()
        assert repr(name) in sentence(error)


def test_sixteen_steps_and_three_series_are_enough():
    assert MIN_STEPS == 16
    assert from_arrays(series(3, 16)).length == 16


# ---- files in a folder


@pytest.mark.parametrize("labels", [("1", "2"), ("-1", "1"), ("9", "10")])
@pytest.mark.parametrize("sub", ["", "Mine"])
def test_all_formats_give_the_same_content(tmp_path, labels, sub):
    arrays = splits(labels)
    expected = from_arrays(*arrays)
    assert expected.class_names == labels
    for suffix, write in WRITERS.items():
        folder = tmp_path / suffix / sub
        folder.mkdir(parents=True)
        write(folder, "Mine", *arrays)
        ds = load_dataset("Mine", root=tmp_path / suffix)
        assert ds.content_hash == expected.content_hash, suffix
        assert ds.class_names == labels and ds.name == "Mine"
        assert f".{suffix}" in ds.source and "given as root" in ds.source and str(folder) in ds.source
        assert torch.equal(ds.x_test, expected.x_test) and torch.equal(ds.y_test, expected.y_test)


def test_channels_and_text_labels_in_npz_and_ts(tmp_path):
    arrays = splits(("up", "down"), channels=3)
    expected = from_arrays(*arrays)
    write_npz(tmp_path, "A", *arrays)
    write_ts(tmp_path, "B", *arrays)
    for name in "AB":
        ds = load_dataset(name, root=str(tmp_path))
        assert ds.channels == 3 and ds.class_names == ("down", "up")
        assert ds.content_hash == expected.content_hash


def test_npz_without_labels(tmp_path):
    np.savez(tmp_path / "U.npz", x_train=X, X_test=X)  # either case of the X
    ds = load_dataset("U", root=tmp_path)
    assert ds.n_classes == 0 and ds.content_hash == from_arrays(X, None, X).content_hash


def test_ts_without_labels(tmp_path):
    for split in ("TRAIN", "TEST"):
        lines = [",".join(f"{v:.9g}" for v in row) for row in X]
        (tmp_path / f"U_{split}.ts").write_text("@classLabel false\n@data\n" + "\n".join(lines))
    assert load_dataset("U", root=tmp_path).content_hash == from_arrays(X, None, X).content_hash


def test_a_complete_format_goes_before_half_of_another(tmp_path):
    write_table(tmp_path, "Mine", *splits())
    (tmp_path / "Mine_TEST.tsv").unlink()
    write_ts(tmp_path, "Mine", *splits())
    assert "Mine_TRAIN.ts " in load_dataset("Mine", root=tmp_path).source


@needs_aeon
def test_ncvqvae_data_goes_before_what_aeon_bundles(tmp_path, monkeypatch):
    write_npz(tmp_path, "GunPoint", *splits())
    monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path))
    ds = load_dataset("GunPoint")
    assert ds.length == 20 and "NCVQVAE_DATA" in ds.source
    assert "aeon bundles" in load_dataset("ItalyPowerDemand").source  # not in the folder: on to aeon


def test_root_goes_before_ncvqvae_data_and_nothing_comes_after_it(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_npz(tmp_path / "a", "GunPoint", *splits())
    write_npz(tmp_path / "b", "Other", *splits())
    monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path / "a"))
    assert "given as root" in load_dataset("Other", root=tmp_path / "b").source
    with pytest.raises(NotFound, match="GunPoint is not in .*which holds Other") as error:
        load_dataset("GunPoint", root=tmp_path / "b")
    assert str(tmp_path / "b") in sentence(error)


def test_the_nearest_names_of_a_full_folder(tmp_path):
    for name in ("GunPoint", "ECG200", "ECG5000", "Wafer", "FordA", "FordB", "CBF", "Mallat", "Symbols"):
        write_npz(tmp_path, name, *splits())
    write_table(tmp_path, "Yoga", *splits())
    (tmp_path / "README.txt").write_text("not a data set")
    with pytest.raises(NotFound, match=r"10 data sets \(nearest: ECG5000, ECG200\)") as error:
        load_dataset("ecg500", root=tmp_path)
    sentence(error)
    with pytest.raises(NotFound, match="none with a similar name"):
        load_dataset("qqqqqqq", root=tmp_path)


def test_an_empty_folder_and_a_folder_that_is_none(tmp_path, monkeypatch):
    with pytest.raises(NotFound, match="holds no data set") as error:
        load_dataset("GunPoint", root=tmp_path)
    sentence(error)
    missing = tmp_path / "missing"
    with pytest.raises(NotFound, match="found no folder .*missing") as error:
        load_dataset("GunPoint", root=missing)
    sentence(error)
    monkeypatch.setenv("NCVQVAE_DATA", str(missing))
    with pytest.raises(NotFound, match="NCVQVAE_DATA"):
        load_dataset("GunPoint")


def broken(folder, write):
    """The folder with a data set Mine in which something is wrong."""
    write_table(folder, "Mine", *splits())
    train = folder / "Mine_TRAIN.tsv"
    write(folder, train, train.read_text().splitlines())


def ts(folder, head, line="1,2,3:1"):
    for file in folder.glob("*.tsv"):
        file.unlink()
    for split in ("TRAIN", "TEST"):
        (folder / f"Mine_{split}.ts").write_text(f"{head}\n{line}\n" if line else f"{head}\n")


def npz(folder, **arrays):
    np.savez(folder / "Mine.npz", **arrays)


def truncated_npz(folder):
    npz(folder, X_train=X, y_train=Y, X_test=X, y_test=Y)
    content = (folder / "Mine.npz").read_bytes()
    (folder / "Mine.npz").write_bytes(content[: len(content) // 2])


def damaged_npz(folder):
    np.savez_compressed(folder / "Mine.npz", X_train=X, y_train=Y, X_test=X, y_test=Y)
    content = bytearray((folder / "Mine.npz").read_bytes())
    content[100:300] = bytes(200)
    (folder / "Mine.npz").write_bytes(content)


def npy_named_npz(folder):
    np.save(folder / "Mine.npy", X)
    (folder / "Mine.npy").rename(folder / "Mine.npz")


RAGGED_TS = "\n".join(",".join(map(str, range(n))) + ":1" for n in (20, 22, 17))
BAD_FILES = {
    "no test file": (lambda f, t, rows: (f / "Mine_TEST.tsv").unlink(), r"without a test split \(Mine_TEST\.tsv"),
    "no train file": (lambda f, t, rows: t.unlink(), r"without a train split \(Mine_TRAIN\.tsv"),
    "empty": (lambda f, t, rows: t.write_text(""), r"Mine_TRAIN\.tsv is empty"),
    "blank": (lambda f, t, rows: t.write_text("\n \n"), r"Mine_TRAIN\.tsv is empty"),
    "binary": (lambda f, t, rows: t.write_bytes(b"\xff\xfe\x00\x80" * 50), r"cannot be read as text"),
    "words": (lambda f, t, rows: t.write_text("\n".join(rows[:3] + ["1\tabc"])), r"line 4: .*'abc'.*numbers only"),
    "header": (lambda f, t, rows: t.write_text("\n".join(["label\tt0", *rows])), r"line 1: .*'t0'"),
    "unequal": (lambda f, t, rows: t.write_text("\n".join([*rows, rows[0][:-30]])), r"unequal lengths"),
    "a gap": (
        lambda f, t, rows: t.write_text("\n".join([*rows, "1" + "\tNaN" * 20])),
        r"NaN.*1 of 11 series \(rows 10",
    ),
    "labels only": (lambda f, t, rows: t.write_text("1\n2\n"), r"line 1: found .1. and no values"),
    "one row": (lambda f, t, rows: t.write_text(rows[0]), r"1 series"),
    "one class": (lambda f, t, rows: t.write_text("\n".join(rows[::2])), r"one class 1"),
    "npz without test": (lambda f, t, rows: npz(f, X_train=X, y_train=Y), r"Mine\.npz .*without a test split \(X_test"),
    "npz without train": (lambda f, t, rows: npz(f, X_test=X, y_test=Y), r"without a train split \(X_train"),
    "npz of something else": (lambda f, t, rows: npz(f, a=X), r"without a train split"),
    "npz half labelled": (lambda f, t, rows: npz(f, X_train=X, y_train=Y, X_test=X), r"y_test is missing"),
    "npz of objects": (lambda f, t, rows: npz(f, X_train=np.array([{}, {}]), X_test=X), r"no \.npz of plain arrays"),
    "npz truncated": (lambda f, t, rows: truncated_npz(f), r"Mine\.npz is no \.npz"),
    "npz damaged": (lambda f, t, rows: damaged_npz(f), r"Mine\.npz is no \.npz"),
    "npz empty": (lambda f, t, rows: (f / "Mine.npz").write_bytes(b""), r"Mine\.npz is no \.npz"),
    "npz of text": (lambda f, t, rows: (f / "Mine.npz").write_text("hello"), r"Mine\.npz is no \.npz"),
    "npy": (lambda f, t, rows: npy_named_npz(f), r"Mine\.npz is no \.npz"),
    "ts without series": (lambda f, t, rows: ts(f, "@data", ""), r"empty"),
    "ts without header": (lambda f, t, rows: ts(f, "1,2,3:1"), r"line 1: found '1,2,3:1'.*@data"),
    "ts with time stamps": (lambda f, t, rows: ts(f, "@timeStamps true\n@data", "1,2:1"), r"time stamps"),
    "ts for regression": (lambda f, t, rows: ts(f, "@targetLabel true\n@data"), r"regression targets"),
    "ts of unequal lengths": (lambda f, t, rows: ts(f, "@data", RAGGED_TS), r"unequal lengths \(17 to 22"),
    "ts with words": (lambda f, t, rows: ts(f, "@data", "1,x,3:1"), r"line 2: .*'x'"),
    "ts with a gap": (lambda f, t, rows: ts(f, "@data", "1,2,?" + ",3" * 20 + ":1"), r"NaN.*rows 0"),
    "ts of uneven channels": (
        lambda f, t, rows: ts(f, "@data", "1,2:3,4:1\n1,2:1"),
        r"expected \(n, L\) or \(n, C, L\)",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path, case):
    write, message = BAD_FILES[case]
    broken(tmp_path, write)
    with pytest.raises(BadInput, match=message) as error:
        load_dataset("Mine", root=tmp_path)
    assert "Mine" in sentence(error)


# ---- aeon: bundle, download, cache


@needs_aeon
def test_what_aeon_bundles_needs_no_network_and_no_import_of_aeon():
    code = (
        "import sys; from ncvqvae_lite.data import load_dataset; import ncvqvae_lite.data_files\n"
        "assert not {'aeon', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "ds = load_dataset('GunPoint')\n"
        "assert not {'aeon', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "print(tuple(ds.x_train.shape), tuple(ds.x_test.shape), ds.class_names, ds.source)"
    )
    environment = {**os.environ, "NCVQVAE_DATA": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(50, 1, 150) (150, 1, 150) ('1', '2') read from ")
    assert "aeon bundles" in done.stdout


@needs_aeon
@pytest.mark.parametrize("name", ["GunPoint", "ItalyPowerDemand"])
def test_bundled_series_are_those_of_the_archive(real_data, name, monkeypatch):
    bundled = load_dataset(name)
    monkeypatch.setenv("NCVQVAE_DATA", REAL)
    assert "aeon bundles" in bundled.source
    assert bundled.content_hash == real_data(name).content_hash


REAL = os.environ.get("NCVQVAE_DATA", "")


@needs_aeon
def test_our_reader_of_ts_agrees_with_aeon():
    from aeon.datasets import load_classification

    ds = load_dataset("BasicMotions")
    for split, x, y in (("train", ds.x_train, ds.y_train), ("test", ds.x_test, ds.y_test)):
        theirs, labels = load_classification("BasicMotions", split=split)
        np.testing.assert_array_equal(x.numpy(), theirs.astype(np.float32))
        assert [ds.class_names[i].lower() for i in y] == labels.tolist()


@needs_aeon
def test_unequal_lengths_in_the_bundle_are_an_error():
    with pytest.raises(BadInput, match=r"JapaneseVowels: x_train holds unequal lengths \(7 to 26 steps\)"):
        load_dataset("JapaneseVowels")


@needs_aeon
@pytest.mark.parametrize("name", ["Gunpiont", "gunpoint"])
def test_unknown_names(name):
    with pytest.raises(NotFound, match=rf"{name} is not among the \d+ data sets \(nearest: GunPoint") as error:
        load_dataset(name)
    sentence(error)


@pytest.fixture
def archive(monkeypatch):
    """A stand-in for aeon's loader; `archive.calls` says what was asked for, `archive.answer` is what comes."""
    datasets = pytest.importorskip("aeon.datasets")

    class Archive:
        def __init__(self):
            self.calls, self.answer = [], None

        def __call__(self, name, split=None, extract_path=None):
            self.calls.append((name, split))
            return self.answer(split, extract_path)

    stand_in = Archive()
    monkeypatch.setattr(datasets, "load_classification", stand_in)
    return stand_in


def good_answer(split, _):
    x_train, y_train, x_test, y_test = splits(("1", "2"))
    x, y = (x_train, y_train) if split == "train" else (x_test, y_test)
    return x[:, None, :].astype(np.float64), np.array(y)


def test_a_download_is_cached_with_its_hash_and_read_from_there(archive, nowhere):
    archive.answer = good_answer
    first = load_dataset("Wafer")
    assert first.content_hash == from_arrays(*splits()).content_hash
    assert "downloaded" in first.source and str(nowhere) in first.source
    assert archive.calls == [("Wafer", "train"), ("Wafer", "test")]
    assert sorted(file.name for file in nowhere.iterdir()) == ["Wafer.npz", "Wafer.sha256"]  # nothing left over
    assert (nowhere / "Wafer.sha256").read_text() == first.content_hash
    again = load_dataset("Wafer")
    assert len(archive.calls) == 2
    assert again.content_hash == first.content_hash and again.class_names == first.class_names
    assert "earlier" in again.source


def test_a_cached_file_that_has_changed_is_an_error(archive, nowhere):
    archive.answer = good_answer
    load_dataset("Wafer")
    x_train, y_train, x_test, y_test = splits()
    x_train[0, 0] += 1e-3
    write_npz(nowhere, "Wafer", x_train, y_train, x_test, y_test)
    with pytest.raises(BadInput, match=r"Wafer\.npz is not as it was downloaded .*delete it") as error:
        load_dataset("Wafer")
    sentence(error)
    write_npz(nowhere, "Wafer", *splits())  # as it was: fine, whatever the compression
    load_dataset("Wafer")
    (nowhere / "Wafer.sha256").unlink()
    with pytest.raises(BadInput, match="not as it was"):
        load_dataset("Wafer")
    (nowhere / "Wafer.npz").write_bytes(b"half")
    with pytest.raises(BadInput, match="no .npz of plain arrays"):
        load_dataset("Wafer")
    (nowhere / "Wafer.npz").unlink()
    load_dataset("Wafer")
    assert len(archive.calls) == 4


def test_a_host_that_is_down(archive, nowhere):
    def down(split, folder):
        try:
            raise OSError("Name or service not known")
        except OSError as error:
            raise ValueError("Could not download.\nMore text") from error

    archive.answer = down
    with pytest.raises(NotFound, match=r"Wafer .*download failed \(Name or service not known\).*NCVQVAE_DATA") as error:
        load_dataset("Wafer")
    assert "by hand" in sentence(error) and "Generated" not in str(error.value)
    assert list(nowhere.iterdir()) == []
    for name in ("TwoPatterns", "CBF", "SyntheticControl"):
        with pytest.raises(NotFound, match=f"or use {name}Generated") as error:  # named, not taken
            load_dataset(name)
        sentence(error)


@needs_aeon
def test_the_real_loader_with_the_network_off(nowhere):
    with pytest.raises(NotFound, match=r"Wafer .*download failed \(.*the network is off in this test"):
        load_dataset("Wafer")
    assert list(nowhere.iterdir()) == []


def test_a_host_that_never_answers(archive, nowhere):
    answered = threading.Event()
    archive.answer = lambda split, folder: answered.wait(20)
    with pytest.raises(NotFound, match=r"nothing came for 0\.1 s"):
        data_archive.download("Wafer", nowhere, patience=0.1)
    answered.set()


def test_a_slow_host_is_waited_for_once_bytes_have_come(archive, nowhere):
    started = threading.Event()

    def slow(split, folder):
        (data_archive.Path(folder) / "Wafer_TRAIN.ts").write_text("begun")
        started.wait(0.3)
        return good_answer(split, folder)

    archive.answer = slow
    raw = data_archive.download("Wafer", nowhere, patience=0.1)
    assert len(raw.x_train) == 10 and len(raw.x_test) == 6


def test_a_download_that_cannot_be_used_is_not_cached(archive, nowhere):
    archive.answer = lambda split, folder: ([np.zeros((1, 20)), np.ones((1, 25))], np.array(["1", "2"]))
    with pytest.raises(BadInput, match=r"Wafer: x_train holds unequal lengths \(20 to 25"):
        load_dataset("Wafer")
    assert list(nowhere.iterdir()) == []


def test_a_cache_that_cannot_be_written(archive, tmp_path, monkeypatch):
    archive.answer = good_answer
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="cannot write to the cache .*set NCVQVAE_CACHE") as error:
        load_dataset("Wafer")
    sentence(error)
    assert archive.calls == []


@needs_aeon
def test_the_thirteen_data_sets():
    assert len(THESIS_DATASETS) == len(set(THESIS_DATASETS)) == 13
    assert THESIS_DATASETS[0] == "FordA" and THESIS_DATASETS[-1] == "Mallat"
    assert data_archive.archive_names() >= set(THESIS_DATASETS)


# ---- sources


def test_a_source_from_outside_is_looked_at_in_its_turn(monkeypatch, tmp_path, capsys):
    asked = []

    def find(name):
        asked.append(name)
        return from_arrays(*splits(), name=name, source="a drawer") if name in ("Mine", "Wafer") else None

    monkeypatch.setitem(data.SOURCES, "drawer", data.Source("my drawer", find, lambda: {"Mine", "Wafer"}))
    assert load_dataset("Mine").source == "a drawer" and load_dataset("Mine").name == "Mine"
    load_dataset("TwoPatternsGenerated")
    write_npz(tmp_path, "Mine", *splits())
    monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path))
    assert "NCVQVAE_DATA" in load_dataset("Mine").source  # the folder comes first
    with pytest.raises(NotFound, match="(nearest: |has )Mine"):
        load_dataset("Minee")
    with pytest.raises(NotFound, match="Wafer is not in"):
        load_dataset("Wafer", root=tmp_path)  # a root is the only place
    assert asked == ["Mine", "Mine", "Minee"]

    monkeypatch.setattr(data, "SOURCES", {"drawer": data.SOURCES["drawer"]})
    cli_doctor.report_data()
    lines = capsys.readouterr().out.splitlines()
    assert "  my drawer: Mine, Wafer" in lines
    states = dict(line.split(maxsplit=1) for line in lines if line.startswith("  ") and ": Mine" not in line)
    assert states["Wafer"] == "complete: my drawer" and states["FordA"] == "missing"


def test_another_generator_is_an_entry(monkeypatch, tmp_path):
    def ramps(n=10):
        x = np.arange(1.0, n + 1)[:, None] * np.linspace(0, 1, 32)
        return data_files.RawSplits(x, ["up", "down"] * 5, x, ["up", "down"] * 5, "made by a ramp")

    monkeypatch.setitem(data.GENERATORS, "Ramps", ramps)
    ds = load_dataset("Ramps", root=tmp_path)
    assert ds.source == "made by a ramp" and ds.class_names == ("down", "up") and ds.length == 32
    assert load_dataset("Ramps").content_hash == ds.content_hash
    with pytest.raises(NotFound, match="(nearest: |has )Ramps"):
        load_dataset("Ramp")


def test_files_that_make_a_data_set(tmp_path):
    assert data_files.find_files(tmp_path, "Mine") == ((), []) and data_files.names_in(tmp_path) == set()
    (tmp_path / "Mine_TEST.txt").write_text("")
    both = (tmp_path / "Mine_TRAIN.txt", tmp_path / "Mine_TEST.txt")
    assert data_files.find_files(tmp_path, "Mine") == (both, [both[0]])
    assert data_files.names_in(tmp_path) == {"Mine"}
    inside = tmp_path / "Mine"
    inside.mkdir()
    write_ts(inside, "Mine", *splits())
    assert data_files.find_files(tmp_path, "Mine") == ((inside / "Mine_TRAIN.ts", inside / "Mine_TEST.ts"), [])
    (inside / "Other.npz").write_text("")  # in a subfolder of another name
    assert data_files.find_files(tmp_path, "Other") == ((), []) and data_files.names_in(tmp_path) == {"Mine"}


# ---- without aeon


@pytest.fixture
def no_aeon(monkeypatch):
    """As where the extra `data` is not installed."""
    monkeypatch.setitem(sys.modules, "aeon", None)


def test_files_and_generators_need_no_aeon(no_aeon, nowhere, tmp_path, monkeypatch):
    write_npz(tmp_path, "Mine", *splits())
    assert load_dataset("Mine", root=tmp_path).n_classes == 2
    monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path))
    assert "NCVQVAE_DATA" in load_dataset("Mine").source
    assert load_dataset("TwoPatternsGenerated").n_classes == 4


def test_an_earlier_download_is_checked_without_aeon(archive, nowhere, monkeypatch):
    archive.answer = good_answer
    ds = load_dataset("Wafer")
    monkeypatch.setitem(sys.modules, "aeon", None)
    assert load_dataset("Wafer").content_hash == ds.content_hash


@pytest.mark.parametrize("name", ["GunPoint", "Wafer", "Gunpiont"])
def test_without_aeon_the_message_says_what_to_install(no_aeon, name, tmp_path, monkeypatch):
    install = r"pip install 'ncvqvae-lite\[data\]'"
    with pytest.raises(NotFound, match=rf"{name} is not on this machine, which has CBFGen.*{install}") as error:
        load_dataset(name)
    sentence(error)
    for known in "ABCDEFGHI":
        write_npz(tmp_path, f"Gunpoint{known}", *splits())
    monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path))
    with pytest.raises(NotFound, match=rf"which has 12 data sets \(.*\), and .*{install}") as error:
        load_dataset(name)
    sentence(error)


# ---- generated, and never in the archive's place


@needs_aeon
def test_the_generator_by_name_and_never_for_the_archives_set(tmp_path, monkeypatch):
    assert load_dataset("TwoPatternsGenerated", root=tmp_path).content_hash == two_patterns().content_hash
    monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path))
    with pytest.raises(NotFound, match="TwoPatterns is not on this machine"):
        load_dataset("TwoPatterns")
