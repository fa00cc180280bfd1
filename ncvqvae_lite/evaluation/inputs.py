"""The input of `evaluate`, looked at before any work: sets of series that can be compared, and what that took."""

import functools
import warnings
from dataclasses import dataclass

import numpy as np

from ..arguments_arrays import float_array
from ..data_arrays import order_doubts
from ..data_labels import check_classes, label_names
from ..errors import BadInput, WeakEvidence
from .arrays import Scaling

FEWEST = 4  # series: a half of them are two
SHORTEST = 2  # steps
FARTHEST = 1e6  # deviations of all real values: what lies beyond counts as there, or its powers are no numbers


@dataclass(frozen=True)
class Sets:
    """Series (n, C, L) float64 in the units given, equal C and L; labels (n,) texts, or None.

    train, train_labels  None where there are none
    notes                sentences on what was done to make the sets comparable, and on what looks wrong
    """

    real: np.ndarray
    real_labels: np.ndarray | None
    synthetic: np.ndarray
    synthetic_labels: np.ndarray | None
    train: np.ndarray | None
    train_labels: np.ndarray | None
    notes: tuple[str, ...]

    @functools.cached_property
    def scaling(self):
        return Scaling.of(self.real)

    def scaled(self, x):
        """Series in the units of the real ones, channel by channel."""
        return np.clip(self.scaling(x), -FARTHEST, FARTHEST)

    @property
    def classes(self):
        """Names of the classes of the real series, sorted, or ()."""
        return () if self.real_labels is None else tuple(np.unique(self.real_labels))


def sets_of(real, synthetic, train=None, real_labels=None, synthetic_labels=None, train_labels=None):
    """Checked Sets of arrays, tensors or lists; raises BadInput as `evaluate` does.

    WeakEvidence is warned of where the names of rows say that labels are in another order than their series.
    """
    notes = []
    pairs = (("real", real, real_labels), ("synthetic", synthetic, synthetic_labels), ("train", train, train_labels))
    for sentence in (doubt for name, x, y in pairs for doubt in order_doubts(x, y, name, f"{name}_labels")):
        warnings.warn(sentence, WeakEvidence, stacklevel=4)
    given = {"real": real, "synthetic": synthetic} | ({} if train is None else {"train": train})
    series = {name: _series(x, name) for name, x in given.items()}
    channels = {name: x.shape[1] for name, x in series.items()}
    if len(set(channels.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in channels.items())
        raise BadInput(f"numbers of channels differ ({found}), expected equal ones: give sets of the same kind")
    lengths = {name: x.shape[2] for name, x in series.items()}
    shortest = min(lengths.values())
    for name, length in lengths.items():
        if length > shortest:
            notes.append(f"{name} series have {length} steps, of which the first {shortest} are compared.")
    series = {name: x[:, :, :shortest] for name, x in series.items()}
    if np.ptp(series["real"]) == 0:
        raise BadInput("real series are all the same constant, expected series that vary: check what was read")
    given = {"real": real_labels, "synthetic": synthetic_labels, "train": train_labels}
    if train is None and train_labels is not None:
        raise BadInput("train_labels are given without train: give the series, too, or leave the labels out")
    labels = {name: None if y is None else _labels(y, len(series[name]), name) for name, y in given.items()}
    notes += _repeated(series) + _strangers(labels)
    return Sets(
        *(series["real"], labels["real"], series["synthetic"], labels["synthetic"]),
        *(series.get("train"), labels["train"], tuple(notes)),
    )


def _series(x, name):
    x = float_array(x, f"{name} series")
    if x.ndim in (2, 3) and len(x) == 0:
        raise BadInput(f"{name} has no series (shape {x.shape}), expected at least {FEWEST}: give more")
    if x.ndim not in (2, 3) or x.size == 0:
        raise BadInput(f"{name} series have shape {x.shape}, expected (n, L) or (n, C, L): reshape them")
    x = x if x.ndim == 3 else x[:, None, :]
    if len(x) < FEWEST:
        raise BadInput(f"{name} has {len(x)} series, expected at least {FEWEST}: give more")
    if x.shape[2] < SHORTEST:
        raise BadInput(f"{name} has series of {x.shape[2]} step, expected at least {SHORTEST}: give longer ones")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
    if len(bad):
        found = f"in {len(bad)} of {len(x)} series, the first is row {bad[0]}"
        raise BadInput(f"{name} has NaN or infinite values {found}, expected none: fill or drop them")
    return x


def _labels(y, n, name):
    names = label_names(y, n, f"{name}_labels")
    check_classes([names], f"{name}_labels")
    return np.array(names)


def _repeated(series):
    """A note where synthetic series are real ones, as when one file is given twice."""
    real = {one.tobytes() for one in series["real"]}
    repeated = sum(one.tobytes() in real for one in series["synthetic"])
    found = f"{repeated} of {len(series['synthetic'])} synthetic series are real ones, to the last digit."
    return [found] if repeated else []


def _strangers(labels):
    """Notes on classes that one set has and the real one lacks; BadInput where no class is in common."""
    notes = []
    for name in ("synthetic", "train"):
        if labels["real"] is None or labels[name] is None:
            continue
        ours, real = set(labels[name]), set(labels["real"])
        if not ours & real:
            found = f"{name}_labels ({_few(ours)}) have no class in common with real_labels ({_few(real)})"
            raise BadInput(f"{found}, expected the same names: rename them")
        if ours - real:
            notes.append(f"{name} series have classes that real ones lack: {_few(ours - real)}.")
        if real - ours:
            notes.append(f"{name} series lack classes of the real ones: {_few(real - ours)}.")
    return notes


def _few(names):
    names = sorted(names)
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
