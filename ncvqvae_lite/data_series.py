"""Series of one file or finished run, for those who compare sets rather than train on a data set.

.npz                 X (n, L) or (n, C, L), perhaps y (n,), in capitals or not; or the splits of a data set, X_train and
                     X_test (y_train, y_test), of which the asked-for one is read
.tsv .txt .csv .ts   as `data_text` says, also compressed. A table has its label first, or none: where the first column
                     cannot be labels, because it holds numbers with decimals or nearly all different ones, it is values
a run's folder       the samples that its own scores are of, by class where it has classes
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .data_files import OTHERS, TEXT, npz_array, npz_keys
from .data_labels import check_classes, label_names
from .data_text import read_columns
from .errors import BadInput, NotFound
from .files import read_json


class SeriesFile(NamedTuple):
    x: np.ndarray  # (n, C, L) or (n, L)
    y: list | np.ndarray | None
    told: str  # what was read, for people


def read_series(path, split):
    """The series of a file, or the samples of a run; `split`, "train" or "test", says which ones of a whole data set.

    raises  NotFound if there is no such file; BadInput if it is of another format, or is not what its format promises
    """
    path = Path(path).expanduser()
    name = path.name.lower()
    if path.is_dir():
        found = _run(path)
    elif not path.is_file():
        raise NotFound(f"no file {path}, expected one with series: correct the path")
    elif name.endswith(".npz"):
        found = _npz(path, split)
    elif name.endswith(TEXT):
        found = _text(path)
    else:
        other = next((f": {do}" for suffix, do in OTHERS.items() if name.endswith(suffix)), "")
        raise BadInput(f"{path} is not read, expected .npz, .csv, .tsv, .txt or .ts{other}")
    n, *shape = np.shape(found.x)
    channels, length = shape if len(shape) == 2 else (1, *shape)
    classes = f"{len(set(map(str, found.y)))} classes" if found.y is not None else "no labels"
    return found._replace(told=f"{n} series of {channels} channel(s) and {length} steps, {classes}{found.told}")


def _run(folder):
    config, samples = read_json(folder / "config.json"), folder / "samples.npz"
    if not isinstance(config, dict) or not (folder / "metrics.json").is_file() or not samples.is_file():
        raise NotFound(f"no finished run in {folder}, expected its metrics.json and samples.npz: name a file, or a run")
    keys = npz_keys(samples, ("x", "x_by_class", "class"))
    if "class" not in keys:
        return SeriesFile(npz_array(samples, "x"), None, " (samples of the run)")
    x, classes = npz_array(samples, "x_by_class"), npz_array(samples, "class")
    names = config.get("class_names") or [str(index) for index in range(classes.max() + 1)]  # earlier runs kept none
    return SeriesFile(x, [names[index] for index in classes], " (samples of the run, by class)")


def _npz(path, split):
    keys = npz_keys(path, ("x", "y", "x_train", "y_train", "x_test", "y_test"))
    ending = "" if "x" in keys else f"_{split}"
    if f"x{ending}" not in keys:
        raise BadInput(
            f"{path} has neither X nor X_{split}, expected one of them: write it by np.savez(file, X=..., y=...)"
        )
    x, y = (npz_array(path, keys[key]) if key in keys else None for key in (f"x{ending}", f"y{ending}"))
    if np.ndim(x) not in (2, 3):  # pyright: ignore[reportArgumentType]  # x is among the keys, so an array
        raise BadInput(
            f"{path}: {keys[f'x{ending}']} has shape {np.shape(x)}, expected (n, L) or (n, C, L): reshape it"  # pyright: ignore[reportCallIssue, reportArgumentType]
        )
    return SeriesFile(x, y, f" ({split} split)" if ending else "")  # pyright: ignore[reportArgumentType]


def _text(path):
    series, labels = read_columns(path)
    x = np.array(series)
    if labels is None or path.name.lower().removesuffix(".gz").endswith(".ts"):
        return SeriesFile(x, labels, "")
    if len(set(labels)) == 1 and _is_number(labels[0]) and len(labels) > 1:
        raise BadInput(
            f"{path}: the first column is {labels[0]} in all lines: if that is a class, there is only one: leave the "
            "column out; if it is a value, write .ts or .npz, which have labels at their own place"
        )
    try:
        check_classes([label_names(_numbers(labels), len(labels), "the first column")], "the first column")
    except BadInput:
        if not all(map(_is_number, labels)):
            raise
        return SeriesFile(np.column_stack([np.array(labels, dtype=float), x]), None, ", first column read as values")
    return SeriesFile(x, labels, " in the first column")


def _is_number(text):
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _numbers(labels):
    """Labels as numbers where all are, so that real numbers are told from classes."""
    return [float(label) for label in labels] if all(map(_is_number, labels)) else labels
