"""Text that could become other series: read as it stands, or refused with its place. The right values stand here."""

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest

from ncvqvae_lite import cli_doctor, data, data_files
from ncvqvae_lite.data import from_arrays, load_dataset
from ncvqvae_lite.errors import BadInput, NotFound, WeakEvidence

X = np.random.default_rng(0).integers(-2000, 2000, (12, 16)) / 1000 + 0.0001  # no whole number among them
Y = ["1", "2"] * 6
EXPECTED = from_arrays(X, Y, X, Y)


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("NCVQVAE_DATA", raising=False)


def table(separator="\t", labels=Y):
    return [separator.join([label, *(f"{v:.4f}" for v in x)]) for label, x in zip(labels, X, strict=True)]


def ts(*header, labels=Y, lines=None):
    lines = lines or [",".join(f"{v:.4f}" for v in x) + f":{y}" for x, y in zip(X, labels, strict=True)]
    return [*header, "@data", *lines]


def read(folder, lines, suffix=".tsv"):
    """The data set whose two splits are the same text (lines, or bytes as they are)."""
    content = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
    for split in ("TRAIN", "TEST"):
        (folder / f"Mine_{split}{suffix}").write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    return load_dataset("Mine", root=folder)


def refused(folder, lines, suffix=".tsv"):
    with pytest.raises(BadInput) as error:
        read(folder, lines, suffix)
    text = str(error.value)
    assert "\n" not in text and len(text) < 500 and "Mine" in text and (": " in text)
    return text.replace(str(folder), "")


# ---- read as it stands

SAME = {
    "tabs": (table(), ".tsv"),
    "commas": (table(","), ".csv"),
    "commas in .txt": (table(","), ".txt"),
    "semicolons": (table(";"), ".csv"),
    "blanks": (table("  "), ".txt"),
    "tabs and blanks": (table(" \t "), ".tsv"),
    "byte-order mark": (b"\xef\xbb\xbf" + "\n".join(table()).encode(), ".tsv"),
    "byte-order mark in .csv": (b"\xef\xbb\xbf" + "\n".join(table(",")).encode(), ".csv"),
    "byte-order mark in .ts": (b"\xef\xbb\xbf" + "\n".join(ts()).encode(), ".ts"),
    "Windows": ("\r\n".join(table()).encode(), ".tsv"),
    "old Mac": ("\r".join(table()).encode(), ".tsv"),
    "blank lines": (["", *table(), "  ", ""], ".tsv"),
    "a separator at each line's end": ([line + "\t" for line in table()], ".tsv"),
    "quotes": ([",".join(f'"{word}"' for word in line.split(",")) for line in table(",")], ".csv"),
    "quoted labels, blanks": (table("  ", [f'"{y}"' for y in Y]), ".txt"),
    "gzip, tabs": (table(), ".tsv.gz"),
    "gzip, blanks": (table(" "), ".txt.gz"),
    "gzip, commas": (table(","), ".csv.gz"),
    "gzip, .ts": (ts(), ".ts.gz"),
    "as MATLAB prints": (table("  ", [f"{float(y):.7e}" for y in Y]), ".txt"),
    "as numpy.savetxt prints": (table(" ", [f"{float(y):.18e}" for y in Y]), ".txt"),
    ".ts with comments": (["% one", "# two", *ts("% three", "@classLabel true 1 2"), " # four", "%"], ".ts"),
    ".ts with a true header": (
        ts("@univariate true", "@equalLength true", "@seriesLength 16", "@dimensions 1", "@classLabel true 1 2"),
        ".ts",
    ),
    ".ts, classes in other words": (ts("@CLASSLABEL TRUE 1.0 2.0 3.0"), ".ts"),
    ".ts, longest of unequal": (ts("@equalLength false", "@seriesLength 20"), ".ts"),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_series_in_many_ways_of_writing(tmp_path, case):
    ds = read(tmp_path, *SAME[case])
    assert ds.content_hash == EXPECTED.content_hash and ds.class_names == ("1", "2")


def test_a_separator_at_each_lines_end_may_be_a_missing_value(tmp_path):
    lines = [line + "," for line in table(",")]
    with pytest.warns(WeakEvidence, match=r"_TRAIN.csv: each line ends with a separator, .* write NaN there"):
        assert read(tmp_path, lines, ".csv").length == X.shape[1]


@pytest.mark.parametrize("pair", [("1E2", "100"), ("1_1", "11"), ("None", "NA"), ("walk fast", "sit"), ("a", "A")])
def test_labels_of_files_keep_their_names(tmp_path, pair):
    for name, (lines, suffix) in {
        "t": (table(labels=list(pair) * 6), ".tsv"),
        "s": (ts(labels=list(pair) * 6), ".ts"),
    }.items():
        (tmp_path / name).mkdir()
        ds = read(tmp_path / name, lines, suffix)
        assert sorted(ds.class_names) == sorted(pair)
        assert [ds.class_names[i] for i in ds.y_train] == list(pair) * 6


@pytest.mark.parametrize("label", ["a;b", '"a;b;"', '"a, b;"', "a\tb", '"a\t\tb"'])
def test_the_separator_is_what_stands_most_often_outside_quotes(tmp_path, label):
    ds = read(tmp_path, table(",", [label, "c"] * 6), ".csv")
    assert ds.class_names == (label.strip('"'), "c") and (ds.x_train == EXPECTED.x_train).all()


# ---- refused with the place


def changed(lines, row, old, new):
    return [*lines[:row], lines[row].replace(old, new, 1), *lines[row + 1 :]]


VALUE = f"{X[4, 1]:.4f}"  # step 2 of line 5, column 3
LAST = ["\t".join([*line.split("\t")[1:], line[0]]) for line in table()]
WRONG = {
    "a gap": (changed(table(), 4, VALUE, ""), r"missing values .* 1 of 12 .*line 5, step 2 \(from 1\)"),
    "a gap at the end": (changed(table(","), 4, f"{X[4, -1]:.4f}", ""), r"missing .*line 5, step 16"),
    "NaN": (changed(table(" "), 4, VALUE, "NaN"), r"missing values .*line 5, step 2"),
    "NA": (changed(table(), 4, VALUE, "NA"), r"missing values .*line 5, step 2"),
    "padding of a sheet": ([line + ",,," for line in table(",")], r"missing values .* 12 of 12 .*line 1, step 17"),
    "a word": (changed(table(), 4, VALUE, "high"), r"line 5: column 3 holds 'high'.*between tabs"),
    "an underscore": (changed(table(), 4, VALUE, "1_0"), r"line 5: column 3 holds '1_0', expected numbers"),
    "other digits": (changed(table(), 4, VALUE, "\u0661.5"), r"line 5: column 3 holds '\u0661.5'"),
    "decimal commas": ([line.replace(".", ",") for line in table(";")], r"line 1: column 2 .*with decimal points"),
    "decimal commas, tabs": ([line.replace(".", ",") for line in table()], r"line 1: column 2 .*with decimal points"),
    "decimal commas, blanks": ([line.replace(".", ",") for line in table(" ")], r"line 1: column 2 .*between commas"),
    "another separator": (changed(table(), 4, table()[4], table(",")[4]), r"line 5 has 0 values between tabs"),
    "a shorter line": (changed(table(), 4, "\t" + VALUE, ""), r"line 5 has 15 values .*line 16 .*unequal lengths"),
    "a header": (["label\t" + "\t".join(f"t{i}" for i in range(16)), *table()], r"line 1: found words \('t0'.*pandas"),
    "numbers of columns": ([",".join(map(str, range(17))), *table(",")], r"line 1: found a header of numbers \(1, 2,"),
    "label and numbers": (["y," + ",".join(map(str, range(16))), *table(",")], r"line 1: found a header .*\(0, 1"),
    "times": (["label\t" + "\t".join(f"{i / 30:.3f}" for i in range(16)), *table()], r"line 1: found .*\(0, 0\.03"),
    "times, label 0": (["0," + ",".join(str(10 * i) for i in range(16)), *table(",")], r"line 1: found .*\(0, 10"),
    "times, uneven": (["t\t" + "\t".join(str(i * i) for i in range(16)), *table()], r"line 1: found a header .*\(0, 1"),
    "times, labels in words": (
        ["class," + ",".join(str(i * i) for i in range(16)), *table(",", ["up", "down"] * 6)],
        r"line 1: found a header of numbers .*move the line down",
    ),
    "no labels": ([line.split(",", 1)[1] for line in table(",")], r"first column holds real numbers.*\.npz or \.ts"),
    "bars": (table("|"), r"line 1: found '1\|.*' and no values, expected a label and values, between tabs"),
    "pandas' index": (
        ["," + ",".join(map(str, range(17))), *(f"{i},{line}" for i, line in enumerate(table(",")))],
        r"line 1 has no label .*header=False, index=False",
    ),
    "numbers of rows first": (
        [f"{i},{line}" for i, line in enumerate(table(","))],
        r"12 different labels \(0, 1, 2, \.\.\.\) for 24 series",
    ),
    "label last": (LAST, r"label seems to stand in the last column"),
    "label last, a word": ([line[:-1] + "up" for line in LAST], r"line 1: column 17 holds 'up'.*after the label"),
    "a comment": (changed(table(), 4, "1\t", "#1\t"), r"line 5: found '#1', a comment"),
    "no label": (changed(table(), 4, "1\t", "\t"), r"line 5 has no label"),
    "a line of tabs": (changed(table(), 4, table()[4], "\t" * 16), r"line 5 has no label"),
    "marks inside": (changed(table(), 4, "1\t", "\ufeff1\t"), r"line 5, sign 1: found the invisible '\\ufeff'"),
    "a hidden blank": (changed(table(), 4, "1\t", "1\u200b\t"), r"line 5, sign 2: found the invisible"),
    "half a quote": (changed(table(), 4, "1\t", '"1\t'), r"line 5: .*quotes in pairs"),
    "UTF-16": ("\n".join(table()).encode("utf-16"), r"UTF-16, expected UTF-8"),
    "Latin-1": ("\n".join(table(labels=["\xe9", "a"] * 6)).encode("latin-1"), r"cannot be read as text"),
    "a web page": (b"\n<!DOCTYPE html>\n<html></html>", r"is a web page instead"),
    "an LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"Git-LFS pointer.*git lfs pull"),
    "an annex pointer": (b"/annex/objects/SHA256E-s1--0.tsv\n", r"git-annex pointer"),
    "an answer": (b"404: Not Found", r"line 1: found words \('Not', 'Found'"),
    "gzip without its name": (gzip.compress(b"1\t2"), r"compressed by gzip: add \.gz"),
    "a zip archive": (b"PK\x03\x04" + bytes(50), r"zip archive"),
}  # fmt: skip
WRONG_TS = {
    "series length": (ts("@seriesLength 17"), r"line 3 has 16 steps, the header says @seriesLength 17"),
    "dimensions": (ts("@dimensions 2"), r"line 3 has 1 channel\(s\), the header says @dimensions 2"),
    "dimension": (ts("@dimension 3"), r"header says @dimensions 3"),
    "univariate": (ts("@univariate false"), r"line 3 has 1 channel, the header says @univariate false"),
    "multivariate": (ts("@univariate true", lines=["1,2:3,4:a"]), r"line 3 has 2 channels, .*@univariate true"),
    "equal length": (ts("@equalLength true", lines=["1,2:a", "1,2,3:a"]), r"line 4 has 3 steps, .*@equalLength true"),
    "classes": (ts("@classLabel true 1 3"), r"line 4 has the label '2', which @classLabel does not list"),
    "labels not announced": (ts("@classLabel false"), r"line 3 has 1 values in channel 2, 16 in the first"),
    "channels": (ts(lines=["1,2:3,4:a", "1,2:a"]), r"line 3 has 1 channel\(s\), the first series 2"),
    "no label": (ts(lines=["1,2:a", "1,2"]), r"line 3 has no label \(found values.*@classLabel false above @data"),
    "no label, announced": (ts("@classLabel true", lines=["1,2:a", "1,2"]), r"line 4 has no label .*drop the line$"),
    "no label, channels": (ts(lines=["1,2:3,4:a", "1,2:3,4"]), r"line 3 has no label \(found values"),
    "? as label": (ts(lines=["1,2:a", "1,2:?"]), r"line 3 has no label \(found '\?'"),
    "empty label": (ts(lines=["1,2:a", "1,2:"]), r"line 3 has no label \(found ''"),
    "? as value": (ts(lines=["1,2:3,4:a", "1,2:3,?:a"]), r"missing values .*line 3, step 2 \(from 1\)"),
    "empty value": (ts(lines=["1,2,3:a", "1,,3:a"]), r"missing values .*line 3, step 2"),
    "?? in a value": (ts(lines=["1,-?:a"]), r"line 2: channel 1, step 2 holds '-\?'"),
    "underscore": (ts(lines=["1,2:1_0,2:a"]), r"line 2: channel 2, step 1 holds '1_0'"),
    "no number in the header": (ts("@seriesLength many"), r"@seriesLength is 'many', expected a whole number"),
    "no truth in the header": (ts("@univariate maybe"), r"@univariate is 'maybe', expected true or false"),
    "classes without true": (ts("@classLabel 1 2"), r"@classLabel is '1', expected true or false"),
    "nothing said": (ts("@equalLength"), r"@equalLength is '', expected true or false"),
    "an LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", r"Git-LFS pointer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_tables_that_would_become_other_series(tmp_path, case):
    lines, message = WRONG[case]
    assert_found(refused(tmp_path, lines), message)


@pytest.mark.parametrize("case", WRONG_TS)
def test_ts_files_that_are_not_as_they_say(tmp_path, case):
    lines, message = WRONG_TS[case]
    assert_found(refused(tmp_path, lines, ".ts"), message)


def assert_found(text, message):
    assert re.search(message, text), text


def test_damaged_gzip(tmp_path):
    for split in ("TRAIN", "TEST"):
        (tmp_path / f"Mine_{split}.tsv.gz").write_bytes(gzip.compress("\n".join(table()).encode())[:60])
    with pytest.raises(BadInput, match=r"Mine_TRAIN\.tsv\.gz cannot be read"):
        load_dataset("Mine", root=tmp_path)


def test_a_ramp_that_is_a_series_is_read(tmp_path):
    """Its label is a class of others, too: no header."""
    lines = table()
    lines[0] = "1\t" + "\t".join(map(str, range(16)))
    assert read(tmp_path, lines).x_train[0, 0].tolist() == list(range(16))


def test_ramps_of_classes_that_occur_once_are_read(tmp_path):
    lines = ["\t".join([str(label), *(f"{label * step:g}" for step in range(16))]) for label in range(1, 5)]
    assert read(tmp_path, lines).class_names == tuple("1234")


def test_series_that_end_alike_beside_labels_with_fractions_are_read(tmp_path):
    lines = [line.rsplit("\t", 1)[0] + "\t0" for line in table(labels=["0.5", "1.5"] * 6)]
    assert read(tmp_path, lines).class_names == ("0.5", "1.5")


@pytest.mark.parametrize("kind", ["tabs", "commas", "blanks", ".ts with a true header"])
def test_one_changed_sign_never_moves_what_stands_elsewhere(tmp_path, kind):
    """60 random edits of a file: refused, or at most one value, label or line is another one."""
    random, (lines, suffix) = np.random.default_rng(0), SAME[kind]
    text, was = "\n".join(lines), EXPECTED
    signs = [
        "",
        '"',
        ",",
        ";",
        "\t",
        " ",
        ":",
        "?",
        "@",
        "\n",
        "\0",
        "\ufeff",
        "_",
        "e",
        "-",
        "+",
        ".",
        "nan",
        "1",
        "\u0661",
    ]
    for _ in range(60):
        at, sign, cut = random.integers(len(text)), signs[random.integers(len(signs))], random.integers(2)
        try:
            ds = read(tmp_path, (text[:at] + sign + text[at + cut :]).encode(), suffix)
        except BadInput:
            continue
        assert ds.x_train.shape == was.x_train.shape
        values = (ds.x_train != was.x_train).sum()
        labels = sum(ds.class_names[i] != was.class_names[j] for i, j in zip(ds.y_train, was.y_train))
        assert values + labels <= 1, (at, sign, cut)


# ---- npz


def npz(folder, **arrays):
    np.savez(folder / "Mine.npz", **arrays)
    return load_dataset("Mine", root=folder)


@pytest.mark.parametrize("twice", ["x_train", "X_TEST", "Y_train"])
def test_two_keys_of_one_meaning(tmp_path, twice):
    arrays = dict(X_train=X, y_train=Y, x_test=X, y_test=Y)
    with pytest.raises(BadInput, match=rf"has both .* and {twice}, expected one of them"):
        npz(tmp_path, **arrays, **{twice: arrays[next(key for key in arrays if key.lower() == twice.lower())]})


def test_objects_in_npz_are_named_with_what_converts_them(tmp_path):
    labels, series = np.array(Y, dtype=object), X.astype(object)
    with pytest.raises(BadInput, match=r"y_train holds Python objects.*y_train=y_train\.astype\(str\)"):
        npz(tmp_path, X_train=X, y_train=labels, X_test=X, y_test=Y)
    with pytest.raises(BadInput, match=r"X_test holds Python objects.*X_test=X_test\.astype\(float\)"):
        npz(tmp_path, X_train=X, X_test=series)
    extra = np.array([{}])  # nothing that is asked for
    ds = npz(tmp_path, X_train=X, y_train=labels.astype(str), X_test=X, y_test=Y, notes=extra)
    assert ds.content_hash == EXPECTED.content_hash


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"<html>404</html>"])
def test_what_stands_in_place_of_an_npz(tmp_path, content):
    (tmp_path / "Mine.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"Mine\.npz is a (Git-LFS pointer|web page) instead"):
        load_dataset("Mine", root=tmp_path)
    assert cli_doctor.state_in(data.Source("here", None, None, lambda: tmp_path), "Mine").startswith("unreadable: ")


# ---- formats that are found, and those that are not read


@pytest.mark.parametrize("suffix", data_files.TEXT)
def test_every_text_format_is_found_in_every_place(tmp_path, monkeypatch, suffix):
    here = data.Source("here", None, None, lambda: tmp_path)
    lines = ts() if ".ts" in (suffix, suffix.removesuffix(".gz")) else table()
    (tmp_path / "Mine").mkdir()
    for folder in (tmp_path / "Mine", tmp_path):
        assert read(folder, lines, suffix).content_hash == EXPECTED.content_hash
        assert data_files.names_in(tmp_path) == {"Mine"}
        monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path))
        assert f"Mine_TRAIN{suffix} and Mine_TEST{suffix}, in the folder that NCV" in load_dataset("Mine").source
        assert cli_doctor.state_in(here, "Mine") == (
            f"complete: {folder}/Mine_TRAIN{suffix} and Mine_TEST{suffix}".replace("/", os.sep)
        )
    for folder in (tmp_path / "Mine", tmp_path):
        (folder / f"Mine_TEST{suffix}").unlink()
    with pytest.raises(BadInput, match="without a test split"):
        load_dataset("Mine", root=tmp_path)
    assert cli_doctor.state_in(here, "Mine").startswith("partial: ")


@pytest.mark.parametrize("file", ["Mine.mat", "Mine_TRAIN.mat", "Mine_TEST.arff", "Mine/Mine_TRAIN.arff", "Mine.xlsx"])
def test_formats_that_are_not_read_are_named_with_what_reads_them(tmp_path, file):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=rf"{path.name} is {path.suffix}, which is not read, .* from_arrays") as error:
        load_dataset("Mine", root=tmp_path)
    assert {".mat": "loadmat", ".arff": "loadarff", ".xlsx": ".csv"}[path.suffix] in str(error.value)
    assert cli_doctor.state_in(data.Source("here", None, None, lambda: tmp_path), "Mine").startswith("unreadable: ")
    with pytest.raises(NotFound, match="holds no data set"):
        load_dataset("Other", root=tmp_path)
    read(tmp_path, table())  # what is read goes first


@pytest.mark.parametrize("file", ["Mine.csv", "mine_TRAIN.csv", "Mine_train.csv", "Mine/Mine-test.CSV", "Mine.csv.gz"])
def test_files_that_are_named_otherwise_are_told_how(tmp_path, file):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(table(",")))
    end = ".csv.gz" if file.endswith(".gz") else ".csv"
    with pytest.raises(NotFound) as error:
        load_dataset("Mine", root=tmp_path)
    told = f"found {path.name}, expected Mine_TRAIN{end} and Mine_TEST{end}: rename or split it"
    assert str(error.value) == f"Mine is not in {tmp_path}: {told}"
    with pytest.raises(NotFound, match="Min is not in .*, which holds"):
        load_dataset("Min", root=tmp_path)


# ---- the small files that came with the list of what users have

ODD = Path(os.environ.get("NCVQVAE_DATA") or "nowhere").parent / "odd"


@pytest.mark.skipif(not (ODD / "TwoKeys.npz").exists(), reason="odd inputs: no folder `odd` beside $NCVQVAE_DATA")
def test_odd_inputs_give_what_their_readme_says():
    for name in ("Bom", "Percent", "Comma"):
        assert load_dataset(name, ODD).class_names == ("1", "2")
        assert load_dataset(name, ODD).x_train.shape == (4, 1, 16)
    assert load_dataset("Bom", ODD).content_hash == load_dataset("Comma", ODD).content_hash
    for name, words in {"Gaps": "missing values .*line 1, step 2", "ObjLab": "astype", "TwoKeys": "has both"}.items():
        with pytest.raises(BadInput, match=words):
            load_dataset(name, ODD)
