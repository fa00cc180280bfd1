"""Series in, checked and numbered: a named data set, your own arrays, or series that are made.

Values are raw: the scaling (one scalar mean and standard deviation of the train set) belongs to the experiment.
Letters: n series, C channels, L steps, k classes.

Sources: UCR archive, H. A. Dau et al., IEEE/CAA J. Autom. Sinica 6(6), 2019; the thirteen data sets are those of the
paper (arXiv 2408.16613) and the thesis (Mathisen 2024).
"""

import difflib
import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import data_archive, data_files, generators
from .arguments import checked, optional, path, shown
from .data_arrays import doubts, order_doubts, series_array, storage_type, stored, table_doubts
from .data_labels import check_classes, class_order, hold_out, label_names
from .errors import BadInput, NotFound, WeakEvidence, one_line
from .files import atomic, cache_dir
from .generators import GENERATORS, SIGNS  # noqa: F401 (the latter for those who look here)

THESIS_DATASETS = tuple(
    "FordA ElectricDevices StarLightCurves Wafer ECG5000 TwoPatterns UWaveGestureLibraryAll FordB ShapesAll "
    "SonyAIBORobotSurface1 SonyAIBORobotSurface2 Symbols Mallat".split()
)


@dataclass(frozen=True, eq=False, repr=False)
class TimeSeriesDataset:
    """A train and a test set of equally long series.

    x_train, x_test  (n, C, L) on the CPU, raw values: float32, or float64 where train's mean is more than 10,000 of its
                     standard deviations from zero, so that the shape survives (counters, prices, seconds)
    y_train, y_test  (n,) int64 in 0..k-1, or None: unlabelled
    class_names      the k labels as text, in the order of their numbers
    source           one sentence: where the series come from
    content_hash     sha256 of the four arrays (shapes and bytes), whatever the file format they came in
    """

    x_train: torch.Tensor
    y_train: torch.Tensor | None
    x_test: torch.Tensor
    y_test: torch.Tensor | None
    class_names: tuple[str, ...]
    name: str
    source: str
    content_hash: str

    @property
    def length(self):
        """L, in steps."""
        return self.x_train.shape[2]

    @property
    def channels(self):
        """C."""
        return self.x_train.shape[1]

    @property
    def n_classes(self):
        """k; 0 without labels."""
        return len(self.class_names)

    @property
    def sizes(self):
        """In words: numbers of series, channels and steps."""
        n_train, n_test = len(self.x_train), len(self.x_test)
        return f"{n_train} train and {n_test} test series, {self.channels} channel(s), {self.length} steps"

    def __repr__(self):
        return f"TimeSeriesDataset({self.name}: {self.sizes}, {self.n_classes} classes; {self.source})"


def from_arrays(x_train, y_train=None, x_test=None, y_test=None, *, name="mine", source="arrays given by the caller"):
    """A data set from numpy arrays, torch tensors or lists.

    x_train, x_test  (n, L) or (n, C, L), L >= 16, finite; without x_test a fifth of train is held out (`hold_out`)
    y_train, y_test  (n,) labels of any hashable kind, both or neither; classes are numbered in the sorted order of
                     train's labels, numbers first. Equal plain decimals are one class: "1", 1, 1.0 (see `data_labels`)
    source           one sentence: where they come from
    raises           BadInput, with what was found, what was expected and what to do
    warns            WeakEvidence where the shape, or a table's names, say that something else than series was meant,
                     or that labels are in another order
    """
    _check_name(name)
    if y_test is not None and x_test is None:
        raise BadInput(f"{name}: y_test is given without x_test, expected both or neither: pass x_test too")
    if x_test is not None and (y_train is None) != (y_test is None):
        lacking = "y_train" if y_train is None else "y_test"
        raise BadInput(f"{name}: only {lacking} is missing, expected labels for both splits or for none: pass it too")
    suspected = [
        *table_doubts(x_train, f"{name}: x_train"),
        *order_doubts(x_train, y_train, f"{name}: x_train", "y_train"),
        *order_doubts(x_test, y_test, f"{name}: x_test", "y_test"),
    ]
    x_train = series_array(x_train, f"{name}: x_train")
    if len(x_train) < 2:
        raise BadInput(f"{name}: x_train holds 1 series, expected at least 2: add more")
    if x_train.min() == x_train.max():
        raise BadInput(f"{name}: every value of x_train is {x_train.min():g}, expected series that vary: check it")
    dtype = storage_type(x_train)
    x_train = stored(x_train, dtype, f"{name}: x_train")
    if x_test is not None:
        x_test = stored(series_array(x_test, f"{name}: x_test"), dtype, f"{name}: x_test")
        if x_train.shape[1:] != x_test.shape[1:]:
            train, test = (f"{x.shape[1]} channel(s) of {x.shape[2]} steps" for x in (x_train, x_test))
            raise BadInput(f"{name}: x_train has {train}, x_test {test}, expected the same: cut or resample one")
    classes, number = (), {}
    if y_train is not None:
        names = label_names(y_train, len(x_train), f"{name}: y_train")
        names_test = None if x_test is None else label_names(y_test, len(x_test), f"{name}: y_test")
        check_classes([names] if x_test is None else [names, names_test], name)
        classes = tuple(sorted(set(names), key=class_order))
        if len(classes) < 2:
            raise BadInput(f"{name}: y_train has the one class {classes[0]}, expected at least 2: or pass no labels")  # pyright: ignore[reportGeneralTypeIssues]  # classes is not empty
        number = {label: i for i, label in enumerate(classes)}
        y_train = np.array([number[label] for label in names], dtype="<i8")
    suspected += doubts(x_train, y_train, f"{name}: x_train")
    if x_test is None:
        train, test = hold_out(len(x_train), y_train, name)
        source += f"; without a test set {len(test)} of the {len(x_train)} train series, a fifth, were held out as one"
        x_train, x_test = x_train[train], x_train[test]
        y_train, y_test = (y_train[train], y_train[test]) if classes else (None, None)  # pyright: ignore[reportOptionalSubscript]  # y_train is an array where there are classes
    elif classes:
        unknown = ", ".join(sorted(set(names_test) - set(classes), key=class_order)[:5])  # pyright: ignore[reportArgumentType]  # a list where there are classes and test series
        if unknown:
            had = ", ".join(classes[:10])
            raise BadInput(f"{name}: y_test has labels that y_train lacks ({unknown}), expected {had}: drop these rows")
        y_test = np.array([number[label] for label in names_test], dtype="<i8")  # pyright: ignore[reportOptionalIterable]
    for sentence in suspected:
        warnings.warn(sentence, WeakEvidence, stacklevel=2)
    arrays = (x_train, y_train, x_test, y_test)
    tensors = (None if array is None else torch.from_numpy(array) for array in arrays)
    return TimeSeriesDataset(*tensors, classes, name, source, content_hash(*arrays))  # pyright: ignore[reportCallIssue]  # four tensors


def content_hash(*arrays):
    """sha256 of arrays or CPU tensors (types, shapes and bytes) in this order; None, of no labels, counts too."""
    digest = hashlib.sha256()
    for array in arrays:
        array = array if array is None else np.asarray(array)
        digest.update(b"none" if array is None else f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _check_name(name):
    """Names become names of files and folders."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        said = "expected letters, digits, '_', '-' and '.' only: rename it"
        raise BadInput(f"the data set is called {shown(name)}, {said}")


# ---- data sets by name


def two_patterns(n_train=1000, n_test=4000, length=128, seed=0) -> TimeSeriesDataset:
    """The data set TwoPatternsGenerated: series, recipe and arguments are those of `generators.two_patterns`.

    Its labels 0..3 stand for the archive's classes "1".."4".
    """
    return _made("TwoPatternsGenerated", n_train, n_test, length, seed)  # pyright: ignore[reportReturnType]  # this generator exists


def cbf(n_train=600, n_test=3000, length=128, seed=0) -> TimeSeriesDataset:
    """The data set CBFGenerated, by `generators.cbf`; labels 0..2 are the archive's: cylinder, bell, funnel."""
    return _made("CBFGenerated", n_train, n_test, length, seed)  # pyright: ignore[reportReturnType]  # this generator exists


def synthetic_control(n_train=600, n_test=2400, length=60, seed=0) -> TimeSeriesDataset:
    """The data set SyntheticControlGenerated, by `generators.synthetic_control`; labels 0..5 are the archive's."""
    return _made("SyntheticControlGenerated", n_train, n_test, length, seed)  # pyright: ignore[reportReturnType]  # this generator exists


def gestures(n_train=400, n_test=400, length=100, seed=0):
    """Eight gestures in three channels, by `generators.gestures`; labels 0..7. Known to no command, only here."""
    *arrays, source = generators.gestures(n_train, n_test, length, seed)
    return from_arrays(*arrays, name="GesturesGenerated", source=source)


def _made(name, *arguments) -> TimeSeriesDataset | None:
    """The data set of a generator, or None where no generator has that name."""
    if name not in GENERATORS:
        return None
    *arrays, source = GENERATORS[name](*arguments)
    return from_arrays(*arrays, name=name, source=source)


@checked(root=optional(path))
def load_dataset(name, root=None):
    """The data set `name`, looked for in `root` if given, else in one place of SOURCES after the other.

    name    of the UCR archive, or of a file in the folder; that of a generator is always made
    root    folder with NAME.npz, or NAME_TRAIN.tsv (.txt, .ts, .csv; also .gz) and NAME_TEST.tsv, itself or in its
            subfolder NAME
    raises  NotFound if no place has it, with the nearest names (a given root is the only place);
            BadInput if a file lacks a split, is damaged, or holds unusable series

    A download is kept in $NCVQVAE_CACHE (else ~/.cache/ncvqvae_lite) with its content hash, checked at each later use.
    """
    _check_name(name)
    if root is not None and name not in GENERATORS:
        found = _read(root, name, "in the folder given as root")
        if found is None:
            if (file := data_files.find_misnamed(root, name)) is not None:
                expected = data_files.names_of_splits(file, name)
                raise NotFound(f"{name} is not in {root}: found {file.name}, expected {expected}: rename or split it")
            held = _nearest(name, data_files.names_in(root))
            raise NotFound(f"{name} is not in {root}, which holds {held}: correct the name or add {name}.npz there")
        return found
    for source in SOURCES.values():
        if (found := source.find(name)) is not None:
            return found
    near = _nearest(name, set().union(*(source.names() for source in SOURCES.values())))
    if not data_archive.archive_names():  # aeon's, which is an extra
        raise NotFound(
            f"{name} is not on this machine, which has {near}, and what brings the archive, aeon, is not installed: "
            "pip install 'ncvqvae-lite[data]', or set NCVQVAE_DATA to a folder that has it"
        )
    raise NotFound(f"{name} is not among the {near}: correct the name, or set NCVQVAE_DATA to a folder that has it")


def _nearest(name, names):
    """The names if they are few, else their number and those that look like `name`."""
    names = sorted(names)
    if len(names) <= 8:
        return ", ".join(names) or "no data set"
    folded = {known.lower(): known for known in names}
    close = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    return f"{len(names)} data sets ({'nearest: ' + ', '.join(close) if close else 'none with a similar name'})"


# ---- where data sets are looked for


@dataclass(frozen=True)
class Source:
    """A place where `load_dataset` looks for series, and of which `doctor` tells what it has.

    label    what `doctor` calls it
    find     name -> data set, as of `from_arrays`, or None where it has none of that name
    names    () -> names of the data sets that it has
    folder   () -> where it is a folder: its path, or None if none is set
    state    what `doctor` says of a data set that is here and in no folder: "complete" or "missing"
    """

    label: str
    find: Callable
    names: Callable
    folder: Callable = lambda: None
    state: str = "complete"


def _folder(label, folder, where):
    """The source that reads files in a folder; `where` ends the sentence that says where series come from."""
    return Source(
        label,
        find=lambda name: _read(folder(), name, where) if folder() else None,
        names=lambda: data_files.names_in(folder()) if folder() else set(),
        folder=lambda: Path(folder()).expanduser() if folder() else None,
    )


def _read(folder, name, where):
    if (found := data_files.read_folder(folder, name)) is None:
        return None
    *arrays, files = found
    return from_arrays(*arrays, name=name, source=f"read from {files}, {where}")


def _from_cache(name):
    """An earlier download, if there is one and it is as it came."""
    cached = cache_dir() / f"{name}.npz"
    if not cached.exists():
        return None
    *arrays, file = data_files.read_npz(cached)
    dataset = from_arrays(*arrays, name=name, source=f"read from {file}, which aeon downloaded earlier")
    record = cached.with_suffix(".sha256")
    if not record.exists() or record.read_text().strip() != dataset.content_hash:
        raise BadInput(f"{cached} is not as it was downloaded (see {record.name}): delete it to download it again")
    return dataset


def _download(name):
    """From the archive into the cache: NAME.sha256, then NAME.npz, both by rename, so that no half file ever counts."""
    if name not in data_archive.archive_names():
        return None
    cached = cache_dir() / f"{name}.npz"
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cached.parent).close()
    except OSError as error:
        raise BadInput(f"cannot write to the cache ({one_line(error)}): set NCVQVAE_CACHE") from error
    *arrays, files = data_archive.download(name, cached.parent, made=GENERATORS)
    dataset = from_arrays(*arrays, name=name, source=f"downloaded from {files}, and cached as {cached}")
    labels = {"y_train": np.array(arrays[1], dtype=str), "y_test": np.array(arrays[3], dtype=str)}
    with atomic(cached.with_suffix(".sha256")) as file:
        file.write(dataset.content_hash)
    with atomic(cached, "wb") as file:
        np.savez_compressed(file, X_train=dataset.x_train, X_test=dataset.x_test, **labels)  # pyright: ignore[reportArgumentType]  # labels are arrays
    return dataset


SOURCES = {  # in the order in which they are looked at
    "made": Source("made by the package", _made, lambda: set(GENERATORS)),
    "folder": _folder("$NCVQVAE_DATA", lambda: os.environ.get("NCVQVAE_DATA"), "in the folder that NCVQVAE_DATA names"),
    "bundle": _folder("bundled with aeon", data_archive.bundled_folder, "which aeon bundles"),
    "cache": Source("downloaded earlier", _from_cache, lambda: data_files.names_in(cache_dir()), cache_dir),
    "archive": Source("downloaded when it is first used", _download, data_archive.archive_names, state="missing"),
}
