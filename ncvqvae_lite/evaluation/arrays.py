"""Arrays as the scores take them: finite series (n, C, L), features (n, d); the units in which series are compared."""

from typing import NamedTuple

import numpy as np

from ..arguments_arrays import float_array
from ..errors import BadInput


def series_array(x, name, at_least=1, like=None):
    """Series, numpy or torch on any device, as a float64 array (n, C, L).

    at_least  how few series are allowed
    like      (C, L) that they must have, or None
    raises    BadInput for another shape, fewer series, NaN or infinite values
    """
    return _checked(x, name, at_least, ("n", *(like or ("C", "L"))))


def feature_array(z, name, at_least=1, like=None):
    """Features as a float64 array (n, d); `like` is (d,) or None, the rest as in `series_array`."""
    return _checked(z, name, at_least, ("n", *(like or ("d",))))


def _checked(values, name, at_least, shape):
    array = float_array(values, name)
    fits = (size > 0 if isinstance(wanted, str) else size == wanted for size, wanted in zip(array.shape[1:], shape[1:]))
    if array.ndim != len(shape) or not all(fits):
        wanted = ", ".join(map(str, shape))
        raise BadInput(f"{name}: expected shape ({wanted}), got {array.shape}: reshape, or compare like with like")
    if len(array) < at_least:
        raise BadInput(f"{name}: expected at least {at_least} rows, got {len(array)}: this score needs more series")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=tuple(range(1, array.ndim))))
    if len(bad):
        raise BadInput(f"{name}: NaN or infinite values in {len(bad)} of {len(array)} rows, the first is row {bad[0]}")
    return array


class Scaling(NamedTuple):
    """Units of the train series, channel by channel: channels measured in unlike units count alike."""

    mean: np.ndarray  # (C, 1)
    std: np.ndarray  # (C, 1); 1 for a channel that never varies

    @classmethod
    def of(cls, x_train):
        """x_train (n, C, L), as `series_array` gives it; raises BadInput if no value differs from another."""
        low, high = x_train.min(axis=(0, 2)), x_train.max(axis=(0, 2))
        if (low == high).all():
            raise BadInput(f"no channel of the {len(x_train)} train series ever varies, expected series: check them")
        std = np.where(low < high, x_train.std(axis=(0, 2)), 1.0)
        return cls(x_train.mean(axis=(0, 2))[:, None], std[:, None])

    def __call__(self, x):
        return (x - self.mean) / self.std
