"""Arrays, lists and tables of series as checked (n, C, L) arrays, and what looks as if something else was meant.

Private to `data`. Letters: n series, C channels, L steps.
"""

import re

import numpy as np
import torch

from .errors import BadInput, one_line

MIN_STEPS = 16  # in shorter series the encoder has no frame to halve
FAR = 1e4  # standard deviations from zero to the mean: farther out float32 has less than 3 digits for the shape
LARGEST = 1e140  # value that `not_far` lets pass: the squares of larger ones have no mean
JUDGED = 10  # series at least, to judge whether a column looks like labels
NOT_STEPS = ("label", "labels", "class", "classes", "target", "y", "id", "index", "unnamed: 0")  # names of columns


def series_array(x, what):
    """One split, (n, L) or (n, C, L) of any real type, as an (n, C, L) array of that type: finite, L >= 16.

    Masked values and None are gaps, and refused like NaN. The array may share memory with x.
    """
    if x is None:
        raise BadInput(f"{what} is None, expected (n, L) or (n, C, L): pass some series")
    x = plain_series(x)
    try:
        array = np.asarray(x)
        array = _without_objects(array) if array.dtype == object else array
    except (TypeError, ValueError, OverflowError) as error:
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
    channels, length = array.shape[1:]
    if length < MIN_STEPS:
        turn = f", or swap the axes if it is (n, L, C) with L = {channels}" if channels >= MIN_STEPS else ""
        raise BadInput(f"{what} has series of {length} steps, expected at least {MIN_STEPS}: resample them{turn}")
    if not (finite := np.isfinite(array)).all():
        found = [
            word for word, there in (("NaN (missing)", np.isnan(array)), ("infinite", np.isinf(array))) if there.any()
        ]
        raise BadInput(f"{what} has {' and '.join(found)} values {_where(~finite)}, expected none: fill or drop them")
    return array


def refusal(said, x, what):
    """Another library's refusal of x: its first words, then what `series_array` says; all of it if that takes x."""
    try:
        series_array(x, what)
    except BadInput as error:
        first = re.split(r"[.:](?:\s|$)|\n", said)[0]
        return f"{first}: {error}" + (". Reshape your data by x[None] if it is one series" if "got 1D" in first else "")
    return " ".join(said.split())


def not_far(x, what, most=LARGEST, unit=""):
    """Series (n, C, L), all values at most so far from 0; NaN passes."""
    if (far := np.abs(x) > most).any():
        found = f"values of size {np.nanmax(np.abs(x)):.3g}{unit} {_where(far)}, expected at most {most:.3g}"
        raise BadInput(f"{what} has {found}: drop these series, or mark the values as missing")
    return x


def storage_type(x):
    """The type in which a data set is kept, by its train split x (n, C, L), finite: float32, or float64 far from zero.

    "Far" is a mean of more than 10,000 standard deviations (of all values, as the experiment scales). There float32,
    whose digits end at 6e-8 of a value, would round the shape of the series by more than 6e-4 of its size.
    """
    with np.errstate(over="ignore"):  # infinite where squares are too large for any type: then the values are, too
        mean, std = x.mean(dtype=np.float64), x.std(dtype=np.float64)
    return np.dtype("<f8" if abs(mean) > FAR * std > 0 else "<f4")


def stored(x, dtype, what):
    """A copy of x (n, C, L) in `dtype`; raises BadInput where that cannot hold the values."""
    with np.errstate(over="ignore"):
        array = np.array(x, dtype=dtype, order="C")
    if not (finite := np.isfinite(array)).all():
        found = f"values of size {np.abs(x[~finite]).max():.3g}, infinite in {dtype.name}, {_where(~finite)}"
        raise BadInput(f"{what} has {found}, expected at most {np.finfo(dtype).max:.3g}: divide all by a constant")
    if x.any() and np.abs(array).max() < np.finfo(dtype).tiny:
        found = f"no value larger than {np.abs(x).max():.3g}, too small for {dtype.name}"
        raise BadInput(f"{what} has {found}, expected at least {np.finfo(dtype).tiny:.3g}: multiply all by a constant")
    return array


# ---- what looks as if something else was meant


def doubts(x, y, what):
    """Sentences about an (n, C, L) array that is allowed, but is likely something else than series; y its labels."""
    n, channels, length = x.shape
    if channels > length:
        yield f"{what} has {channels} channels of {length} steps: if that is (n, L, C), swap the last two axes"
    for step, name in ((0, "first"), (-1, "last")):
        if channels == 1 and n >= JUDGED and _like_labels(x[:, 0], step, y):
            yield f"the {name} step of {what} looks like a column of labels, or of numbers of rows: if so, drop it"


def _like_labels(x, step, y):
    """Whether one column of x (n, L) looks like labels: whole numbers that match y, or the only whole column."""
    column = x[:, step]
    values, number = np.unique(column, return_inverse=True)
    if len(values) < 2 or (column != np.round(column)).any():
        return False
    if y is not None and len(set(zip(number.tolist(), y))) == len(values) == len(set(y)):
        return True
    others = np.delete(x, step, axis=1)
    return not (others == np.round(others)).all(axis=0).any()


def table_doubts(x, what):
    """The same of what pandas knows about a table, before it becomes an array."""
    for axis, meaning in (("index", "row"), ("columns", "step")):
        if getattr(getattr(x, axis, None), "nlevels", 1) > 1:
            names = ", ".join(str(name) for name in getattr(x, axis).names)
            yield (
                f"{what} is a table with several levels ({names}) in its {axis}; each {meaning} of the table is taken "
                f"for one {'series' if meaning == 'row' else 'step'}: if not, reshape it to (n, C, L)"
            )
    for column in getattr(x, "columns", ()):
        if str(column).strip().lower() in NOT_STEPS:
            yield f"{what} is a table with a column {column!r}, which becomes a step of each series: if not, drop it"


def order_doubts(x, y, what, what_y):
    """The same of a table and its labels whose rows pandas names alike, but not in the same order."""
    rows, named = (getattr(part, "index", len) for part in (x, y))  # a method where there are no names, of lists too
    if callable(rows) or callable(named) or rows.equals(named) or not rows.is_unique:
        return
    if len(rows) == len(named) and set(rows) == set(named):
        found = f"{what} and {what_y} have the same row names in another order, and are paired by position"
        yield f"{found}: pass y.loc[x.index]"


# ---- pieces


def _without_objects(array):
    """Objects (numbers, None, pandas.NA, nested lists) as float64, NaN where a value is missing."""
    import pandas as pd  # knows what is missing; not needed for what files hold

    if texts := [value for value in array.flat if isinstance(value, (str, bytes))]:
        raise TypeError(f"the text {texts[0]!r}")  # float() would take 1_0 for 10
    return np.asarray(np.where(pd.isna(array), None, array).tolist(), dtype=np.float64)  # pyright: ignore[reportArgumentType]  # numpy takes None


def plain_series(x):
    """Series as numpy knows them: `to_numpy` of x, or of each series in a list."""
    x = to_numpy(x)
    return [to_numpy(series) for series in x] if isinstance(x, (list, tuple)) else x


def to_numpy(x):
    """A torch tensor as a numpy array, a masked array with None for what is masked; anything else as it is."""
    if isinstance(x, torch.Tensor):
        if x.layout != torch.strided or x.is_meta:
            raise BadInput("series or labels are a tensor without plain values (sparse, or on meta): convert it")
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy(force=True)
    if isinstance(x, np.ma.MaskedArray):
        if not np.ma.is_masked(x):
            return x.data
        return np.where(np.ma.getmaskarray(x), None, x.data.astype(object))  # pyright: ignore[reportArgumentType]  # numpy takes None
    return x


def rows_text(rows, n):
    """Which of n series, in words."""
    return f"{len(rows)} of {n} series (rows {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}, from 0)"


def _where(bad):
    """In which series of (n, C, L), in words, and the first place."""
    rows, step = np.flatnonzero(bad.any(axis=(1, 2))), np.argwhere(bad)[0][2]
    return f"in {rows_text(rows, len(bad))}, the first at step {step}"


def _lengths(x):
    """The lengths of the innermost rows of nested lists and arrays."""
    if isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.ndim):
        return set().union(*map(_lengths, x)) or {len(x)}
    return set()
