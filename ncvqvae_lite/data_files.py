"""From what a user has (files, aeon's series, arrays) to checked arrays. Private to `data`, which joins the splits.

Formats, one series per row or line:
    NAME.npz                    X_train, X_test (n, L) or (n, C, L); y_train, y_test, both or neither
    NAME_TRAIN.tsv|txt, _TEST   the UCR archive's text: label first, then L values, separated by tabs or blanks
    NAME_TRAIN.ts, _TEST        the .ts text of sktime and aeon: channels separated by colons, label last
each in the folder itself or in its subfolder NAME.
"""

import importlib.util
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .errors import BadInput, NotFound

MIN_STEPS = 16  # in shorter series the encoder has no frame to halve


class RawSplits(NamedTuple):
    """What a place holds: series as arrays or nested lists, labels as they stand there, and what was read or made."""

    x_train: object
    y_train: object  # None: unlabelled
    x_test: object
    y_test: object
    files: str


# ---- files in a folder


def _file_sets(folder, name):
    """The files that make up `name`, a tuple for each format and place, in the order in which they are tried."""
    for place in (folder, folder / name):
        yield (place / f"{name}.npz",)
        for suffix in _TEXT:
            yield place / f"{name}_TRAIN{suffix}", place / f"{name}_TEST{suffix}"


def find_files(folder, name):
    """(files of `name`, those of them that are absent), a complete set if there is one; of none ((), [])."""
    sets = [(files, [file for file in files if not file.exists()]) for files in _file_sets(folder, name)]
    begun = [(files, absent) for files, absent in sets if len(absent) < len(files)]
    return min(begun, key=lambda found: len(found[1]), default=((), []))


def read_folder(folder, name):
    """Both splits of `name` in `folder` or its subfolder `name`, or None when the folder holds nothing of that name.

    raises  NotFound if there is no such folder; BadInput if a split is missing or a file cannot be read
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise NotFound(f"found no folder {folder}, expected one with {name}: correct --data (root) or NCVQVAE_DATA")
    files, absent = find_files(folder, name)
    if not files:
        return None
    if len(files) == 1:
        return read_npz(*files)
    train, test = files
    if absent:
        present, split = (train, "test") if test in absent else (test, "train")
        raise _split_missing(present, split, absent[0].name)
    read = _TEXT[train.suffix]
    return RawSplits(*read(train), *read(test), f"{train} and {test.name}")


def names_in(folder):
    """Names of the data sets that `folder` and its subfolders hold, whole or half, for messages."""
    folder, names = Path(folder).expanduser(), set()
    for file in (*folder.glob("*.*"), *folder.glob("*/*.*")):
        name = file.stem.removesuffix("_TRAIN").removesuffix("_TEST")
        if any(file in files for files in _file_sets(folder, name)):
            names.add(name)
    return names


def _split_missing(path, split, lacking):
    return BadInput(
        f"{path} comes without a {split} split ({lacking} is missing), expected train and test: "
        "add it, or pass the arrays that you have to from_arrays"
    )


def read_npz(path):
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key.lower(): archive[key] for key in archive.files}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"{path} is no .npz of plain arrays ({one_line(error)}): fetch or write it again") from error
    for split in ("train", "test"):
        if f"x_{split}" not in arrays:
            raise _split_missing(path, split, f"X_{split}")
    return RawSplits(arrays["x_train"], arrays.get("y_train"), arrays["x_test"], arrays.get("y_test"), str(path))


def _lines(path):
    """Numbered lines of a text file, blank ones left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as text ({one_line(error)}): fetch or write it again") from error
    if not text.strip():
        raise BadInput(f"{path} is empty, expected one series per line: fetch or write it again")
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _floats(words, path, number):
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise BadInput(f"{path}, line {number}: {one_line(error)}, expected numbers only: correct the line") from error


def _read_table(path):
    """Label first, then the values."""
    labels, series = [], []
    for number, line in _lines(path):
        label, *values = line.split()
        labels.append(label)
        series.append(_floats(values, path, number))
    return series, labels


def _read_ts(path):
    """A header of `@key value` lines up to `@data`, then `v,v,...:v,v,...:label`; `?` is a missing value."""
    header, labels, series = {}, [], []
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        if "data" not in header:
            key, *value = line.lower().split(maxsplit=1)
            if not key.startswith("@"):
                raise BadInput(f"{path}, line {number}: found {key[:20]!r}, expected a header up to @data: correct it")
            header[key[1:]] = value[0] if value else ""
            continue
        channels = line.strip().split(":")
        if header.get("classlabel", "true").startswith("true"):
            labels.append(channels.pop().strip())
        series.append([_floats(channel.replace("?", "nan").split(","), path, number) for channel in channels])
    for key, what in (("timestamps", "time stamps"), ("targetlabel", "regression targets")):
        if header.get(key, "").startswith("true"):
            raise BadInput(f"{path} holds {what}, expected plain values with classes: pass arrays to from_arrays")
    if not series:
        raise BadInput(f"{path} is empty, expected series after a line @data: fetch or write it again")
    return series, labels or None


_TEXT = {".tsv": _read_table, ".txt": _read_table, ".ts": _read_ts}  # read in this order, after .npz


def one_line(error):
    """The text of an error, on one line and cut to a length that a sentence can carry."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


# ---- aeon: what it bundles, what it downloads


def bundled_folder():
    """The folder of the series that come with aeon, found without importing aeon (seconds); None without aeon."""
    spec = importlib.util.find_spec("aeon")
    folder = spec and Path(spec.origin).parent / "datasets" / "data"
    return folder if folder and folder.is_dir() else None


def archive_names():
    """Names that aeon can download; none without aeon."""
    if not importlib.util.find_spec("aeon"):
        return set()
    from aeon.datasets.tsc_datasets import tsc_zenodo

    return set(tsc_zenodo)


def download(name, folder, patience=60.0, made=()):
    """Both splits of `name` from the archive through aeon, by way of a temporary folder inside `folder`.

    aeon waits long for a host that never answers, so it works in a thread: if the first byte has not come after
    `patience` seconds, we stop waiting. `made` are names of generated data sets, one of which may stand in.
    raises  NotFound with what to do instead, whatever went wrong on the way
    """
    from aeon.datasets import load_classification

    got = {}

    def fetch(target):
        try:
            for split in ("train", "test"):
                got[split] = load_classification(name, split=split, extract_path=target)[:2]
        except Exception as error:  # aeon and the network raise many kinds, and each means: no data
            got["error"] = error

    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-", ignore_cleanup_errors=True) as target:
        worker = threading.Thread(target=fetch, args=(target,), daemon=True)
        worker.start()
        worker.join(patience)
        if worker.is_alive() and not any(file.is_file() for file in Path(target).rglob("*")):
            got["error"] = TimeoutError(f"nothing came for {patience:g} s")
        else:
            worker.join()
    if "error" in got:
        cause = got["error"]
        while cause.__cause__:  # aeon wraps what went wrong
            cause = cause.__cause__
        instead = f", or use {name}Generated, made by the same recipe" if f"{name}Generated" in made else ""
        raise NotFound(
            f"{name} is not on this machine and its download failed ({one_line(cause)}): fetch the UCR archive "
            f"by hand from www.timeseriesclassification.com and set NCVQVAE_DATA to its folder{instead}"
        ) from got["error"]
    return RawSplits(*got["train"], *got["test"], "the archive, by aeon")


# ---- arrays, lists and labels of one split


def series_array(x, what):
    """One split, (n, L) or (n, C, L) of any real type, as a new (n, C, L) float32 array of finite values, L >= 16."""
    x = _to_numpy(x)
    x = [_to_numpy(series) for series in x] if isinstance(x, (list, tuple)) else x
    try:
        array = np.asarray(x)
        array = np.asarray(array.tolist(), dtype=np.float64) if array.dtype == object else array
    except (TypeError, ValueError) as error:
        low, high = min(lengths := _lengths(x) or {0}), max(lengths)
        found = f"unequal lengths ({low} to {high} steps)" if low < high else f"no plain numbers ({one_line(error)})"
        raise BadInput(f"{what} holds {found}, expected (n, L) or (n, C, L): cut, resample or convert them") from error
    if array.size == 0:
        raise BadInput(f"{what} is empty (shape {array.shape}), expected (n, L) or (n, C, L): pass some series")
    if array.dtype.kind not in "fiub":
        raise BadInput(f"{what} holds values of type {array.dtype}, expected real numbers: convert them")
    if array.ndim not in (2, 3):
        raise BadInput(f"{what} has shape {array.shape}, expected (n, L) or (n, C, L): reshape it")
    array = array if array.ndim == 3 else array[:, None, :]  # (n, C, L)
    n, channels, length = array.shape
    if length < MIN_STEPS:
        turn = f", or swap the axes if it is (n, L, C) with L = {channels}" if channels >= MIN_STEPS else ""
        raise BadInput(f"{what} has series of {length} steps, expected at least {MIN_STEPS}: resample them{turn}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is found below
        array = np.array(array, dtype="<f4", order="C")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))
    if len(bad):
        raise BadInput(f"{what} has NaN or infinite values in {_rows(bad, n)}, expected none: fill or drop them")
    return array


def label_names(y, n, what):
    """n labels as text, the same from every format: 1, 1.0, "1" and "1.0000000e+00" are all "1"."""
    y = _to_numpy(y)
    y = [_to_numpy(label) for label in (y if isinstance(y, (list, tuple)) else np.atleast_1d(np.asarray(y)))]
    y = [label.item() if isinstance(label, (np.generic, np.ndarray)) and label.ndim == 0 else label for label in y]
    if not all(isinstance(label, Hashable) for label in y):
        raise BadInput(f"{what} holds several values per series, expected shape ({n},): flatten, number one-hot rows")
    if len(y) != n:
        raise BadInput(f"{what} has {len(y)} labels for {n} series, expected one each: correct the labels")
    names = [_class_name(label) for label in y]
    missing = [row for row, name in enumerate(names) if name.lower() in ("nan", "none", "")]
    if missing:
        raise BadInput(f"{what} has no label in {_rows(missing, n)}, expected one for each: drop these rows")
    return names


def _class_name(label):
    text = (label.decode() if isinstance(label, bytes) else str(label)).strip()
    order = class_order(text)[1]
    return str(int(order)) if order is not None and order.is_integer() and abs(order) < 2**53 else text


def class_order(name):
    """Sort key of class names: numbers first, by value, then texts."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, None, name


def _rows(rows, n):
    return f"{len(rows)} of {n} series (rows {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}, from 0)"


def _to_numpy(x):
    """A torch tensor as a numpy array; anything else as it is."""
    if not isinstance(x, torch.Tensor):
        return x
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy(force=True)


def _lengths(x):
    """The lengths of the innermost rows of nested lists and arrays."""
    if isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.ndim):
        return set().union(*map(_lengths, x)) or {len(x)}
    return set()
