"""Labels of any kind as names of classes: what is equal is one class, what is not stays apart. Private to `data`.

A number, and a text that is a plain decimal, is named by its value: 1, 1.0, "1", "1.00" are "1"; 0.5 and "0.50" are
"0.5". So is a number as a program prints it, %e of C with six decimals or more: the archive's text files write label 1
as 1.0000000e+00. Every other text names itself: "1E2" and "1_1" are neither "100" nor "11".
Missing is what has no value (None, NaN, NaT, pandas.NA, masked) or no text; a class may be called None or NA.
"""

import re
import warnings
from collections.abc import Hashable
from decimal import Decimal

import numpy as np

from .data_arrays import JUDGED, rows_text, to_numpy
from .errors import BadInput, WeakEvidence

DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
PRINTED = re.compile(r"[+-]?[0-9]+\.[0-9]{6,}e[+-][0-9]{2,3}")  # 1.0000000e+00
WHAT_IF = "cut numbers into ranges (pandas.cut), pass the column with the classes, or leave the labels out"


def label_names(y, n, what):
    """n labels of any hashable kind as a list of texts.

    raises  BadInput if they are not n, one is missing, or they are real numbers, not classes
    warns   WeakEvidence of a class with the name that a missing value gets when it is turned to text
    """
    y = to_numpy(y)
    y = y if isinstance(y, (list, tuple)) else np.atleast_1d(np.asarray(y))
    if isinstance(y, np.ndarray) and y.ndim > 1:
        raise BadInput(f"{what} has shape {y.shape}, expected ({n},): flatten one column, number one-hot rows")
    y = [to_numpy(label) for label in y]
    y = [label.item() if isinstance(label, (np.generic, np.ndarray)) and label.ndim == 0 else label for label in y]
    if not all(isinstance(label, Hashable) for label in y):  # pyright: ignore[reportGeneralTypeIssues]  # no array is hashable
        raise BadInput(f"{what} holds several values per series, expected shape ({n},): flatten, number one-hot rows")
    if len(y) != n:
        raise BadInput(f"{what} has {len(y)} labels for {n} series, expected one each: correct the labels")
    missing = [row for row, label in enumerate(y) if _is_missing(label)]
    if missing:
        raise BadInput(f"{what} has no label in {rows_text(missing, n)}, expected one for each: drop these rows")
    real = [label for label in y if isinstance(label, float) and not label.is_integer()]
    if real and all(isinstance(label, (int, float)) for label in y):
        found = ", ".join(f"{label:g}" for label in sorted(set(real))[:3])
        raise BadInput(f"{what} has real numbers ({found}, ...), expected classes: {WHAT_IF}; names can be texts")
    names = [_class_name(label, what) for label in y]
    for name in {"nan", "NaT", "<NA>"} & set(names):
        sentence = (
            f"{what} has a class called {name!r}, as a missing label is when it is turned to text: drop such rows"
        )
        warnings.warn(sentence, WeakEvidence, stacklevel=3)
    return names


def check_classes(splits, name):
    """Refuse labels that are nearly all different in every split: targets to predict, or numbers of rows.

    splits   lists of names. One may have a series a class (as the archive's Fungi in train), not all of them
    """
    different, n = sorted(set().union(*splits), key=class_order), sum(map(len, splits))
    fractions = all(DECIMAL.fullmatch(label) for label in different) and any("." in label for label in different)
    least = 5 if fractions else 2  # series a class, on average
    if n >= JUDGED and all(len(names) < least * len(set(names)) for names in splits):
        found = f"{len(different)} different labels ({', '.join(different[:3])}, ...) for {n} series"
        raise BadInput(f"{name} has {found}, expected classes of several series each: {WHAT_IF}")


def class_order(name):
    """Sort key of class names: numbers first, by value, then texts."""
    return (0, Decimal(name), name) if DECIMAL.fullmatch(name) else (1, 0, name)


def _is_missing(label):
    if isinstance(label, (str, bytes)):
        return not label.strip()
    if label is None or isinstance(label, (bool, int, float)):
        return label is None or label != label
    import pandas as pd  # knows NaT and NA; not needed for what files hold

    return pd.isna(label) is True


def _class_name(label, what):
    if isinstance(label, bytes):
        try:
            label = label.decode()
        except UnicodeDecodeError as error:
            raise BadInput(f"{what} has the label {label!r}, expected text or UTF-8: decode the labels") from error
    if isinstance(label, int) and not isinstance(label, bool):
        return str(int(label))
    return _decimal(repr(label)) if isinstance(label, float) and np.isfinite(label) else plain_name(str(label).strip())


def plain_name(text):
    """The name of the class that is written so."""
    return _decimal(text) if DECIMAL.fullmatch(text) or PRINTED.fullmatch(text) else text


def _decimal(text):
    """A number in its shortest plain form: "1", "-2.5"."""
    value = Decimal(text)
    shortest = f"{value:f}"
    shortest = shortest.rstrip("0").rstrip(".") if "." in shortest else shortest
    return shortest.lstrip("+") if value else "0"


# ---- a test split by class


def hold_out(n, y, name):
    """Rows (train, test): about one series in five, the same ones every time, and the same share of every class.

    The series are lined up by class, shuffled within each (seed 0), and the third of every five is held out. So a class
    gives a fifth of its series, rounded up or down, and never its last one.
    """
    y = np.zeros(n, dtype=int) if y is None else y
    order = np.lexsort((np.random.default_rng(0).random(n), y))
    order = order[np.bincount(y)[y[order]] > 1]
    test = np.sort(order[2::5])
    if len(test) == 0:
        raise BadInput(
            f"{name}: x_train has {n} series of {y.max() + 1} class(es), too few to hold out a fifth: pass x_test"
        )
    return np.setdiff1d(np.arange(n), test), test
