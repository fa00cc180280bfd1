"""The files of a data set in a folder, found and read. Private to `data`, which joins the splits.

Formats, one series per row or line:
    NAME.npz                       X_train, X_test (n, L) or (n, C, L); y_train, y_test, both or neither
    NAME_TRAIN.tsv|txt|csv, _TEST  label first, then L values (see `data_text`)
    NAME_TRAIN.ts, _TEST           the .ts text of sktime and aeon: channels separated by colons, label last
each in the folder itself or in its subfolder NAME, text also compressed: NAME_TRAIN.tsv.gz.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .data_arrays import MIN_STEPS  # noqa: F401 (of generated series, too)
from .data_text import read_text, refuse_disguise
from .errors import BadInput, NotFound, one_line

TEXT = (".tsv", ".txt", ".ts", ".csv", ".tsv.gz", ".txt.gz", ".ts.gz", ".csv.gz")  # read in this order, after .npz
OTHERS = {  # formats that are not read -> what reads them
    ".arff": "fetch the .ts of the archive, or read it with scipy.io.arff.loadarff",
    ".mat": "read it with scipy.io.loadmat",
    ".xlsx": "save it as .csv, label first and without a header, or read it with pandas.read_excel",
    ".parquet": "read it with pandas.read_parquet",
    ".npy": "read it with numpy.load",
}
NAMED = re.compile(rf"(.+?)(?:\.npz|_(?:TRAIN|TEST)(?:{'|'.join(map(re.escape, TEXT))}))")


class RawSplits(NamedTuple):
    """What a place holds: series as arrays or nested lists, labels as they stand there, and what was read or made."""

    x_train: object
    y_train: object  # None: unlabelled
    x_test: object
    y_test: object
    files: str


def _file_sets(folder, name):
    """The files that make up `name`, a tuple for each format and place, in the order in which they are tried."""
    for place in (folder, folder / name):
        yield (place / f"{name}.npz",)
        for suffix in TEXT:
            yield place / f"{name}_TRAIN{suffix}", place / f"{name}_TEST{suffix}"


def find_files(folder, name):
    """(files of `name`, those of them that are absent), a complete set if there is one; of none ((), [])."""
    sets = [(files, [file for file in files if not file.exists()]) for files in _file_sets(folder, name)]
    begun = [(files, absent) for files, absent in sets if len(absent) < len(files)]
    return min(begun, key=lambda found: len(found[1]), default=((), []))


def find_other(folder, name):
    """A file of `name` in a format that is not read, or None."""
    places = ((place, part) for place in (folder, folder / name) for part in (name, f"{name}_TRAIN", f"{name}_TEST"))
    files = (place / f"{part}{suffix}" for place, part in places for suffix in OTHERS)
    return next((file for file in files if file.is_file()), None)


def find_misnamed(folder, name):
    """A text file of that name that is no split's, or in other case: Mine.csv, mine_train.csv; or None."""
    begins = re.compile(rf"{re.escape(name)}([-_ .]?(train|test))?({'|'.join(map(re.escape, TEXT))})", re.IGNORECASE)
    files = sorted(file for place in (folder, Path(folder) / name) for file in Path(place).expanduser().glob("*.*"))
    return next((file for file in files if begins.fullmatch(file.name)), None)


def names_of_splits(file, name):
    """The names that files of `name` must have in the format of `file`, in words."""
    suffix = next(suffix for suffix in reversed(TEXT) if file.name.lower().endswith(suffix))
    return f"{name}_TRAIN{suffix} and {name}_TEST{suffix}"


def read_folder(folder, name):
    """Both splits of `name` in `folder` or its subfolder `name`, or None when the folder holds nothing of that name.

    raises  NotFound if there is no such folder; BadInput if a split is missing or a file cannot be read
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise NotFound(f"found no folder {folder}, expected one with {name}: correct --data (root) or NCVQVAE_DATA")
    files, absent = find_files(folder, name)
    if not files:
        if other := find_other(folder, name):
            do = f"{OTHERS[other.suffix]} and pass the arrays to from_arrays"
            raise BadInput(
                f"{other} is {other.suffix}, which is not read, expected .npz, .tsv, .txt, .csv or .ts: {do}"
            )
        return None
    if len(files) == 1:
        return read_npz(*files)
    train, test = files
    if absent:
        present, split = (train, "test") if test in absent else (test, "train")
        raise _split_missing(present, split, absent[0].name)
    return RawSplits(*read_text(train), *read_text(test), f"{train} and {test.name}")


def names_in(folder):
    """Names of the data sets that `folder` and its subfolders hold, whole or half, for messages."""
    folder, names = Path(folder).expanduser(), set()
    for file in (*folder.glob("*.*"), *folder.glob("*/*.*")):
        named = NAMED.fullmatch(file.name)
        if named and (file.parent == folder or file.parent.name == named[1]):
            names.add(named[1])
    return names


def _split_missing(path, split, lacking):
    return BadInput(
        f"{path} comes without a {split} split ({lacking} is missing), expected train and test: "
        "add it, or pass the arrays that you have to from_arrays"
    )


def npz_keys(path, wanted=("x_train", "y_train", "x_test", "y_test")):
    """Names of the wanted arrays of a .npz, as they are there: {"x_train": "X_train", ...}.

    raises  BadInput if it is no .npz, or two names have one meaning
    """
    try:
        with open(path, "rb") as file:
            refuse_disguise(path, file.read(200))
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is no .npz of plain arrays ({one_line(error)}): fetch or write it again") from error
    keys = {}
    for name in names:
        if (key := name.lower()) in wanted:
            if key in keys:
                raise BadInput(f"{path} has both {keys[key]} and {name}, expected one of them: write it again with one")
            keys[key] = name
    return keys


def read_npz(path):
    """Both splits of a .npz, labels None where it has none; raises BadInput as `read_folder` does."""
    keys = npz_keys(path)
    for split in ("train", "test"):
        if f"x_{split}" not in keys:
            raise _split_missing(path, split, f"X_{split}")
    arrays = {key: npz_array(path, name) for key, name in keys.items()}
    return RawSplits(arrays["x_train"], arrays.get("y_train"), arrays["x_test"], arrays.get("y_test"), str(path))


def npz_array(path, name) -> np.ndarray:
    """One array of a .npz; raises BadInput where it cannot be read, or would need Python objects."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        found, do = one_line(error), "fetch or write it again"
        if "Object arrays" in found:
            found = f"{name} holds Python objects, which are not loaded as that could run code"
            do = f"write it again by np.savez with {name}={name}.astype({'str' if name[0] in 'yY' else 'float'})"
        raise BadInput(f"{path} is no .npz of plain arrays ({found}): {do}") from error
