"""Thirteen ways to spoil good series, each from not at all to badly: which score sees what, and from how much on?

`corrupt(name, x, y, train, severity, rng)`: series x (n, C, L) with labels y (n,), numpy; `train` are the series
(m, C, L) that copies are made of, and their labels (m,). A severity of 0 changes nothing, 1 is the strongest. A new
corruption is a function and an entry in CORRUPTIONS.
"""

import numpy as np

from ..errors import BadInput


def noise(x, y, train, severity, rng):
    """Gaussian noise of `severity` deviations of all values."""
    return x + severity * x.std() * rng.standard_normal(x.shape), y


def smoothing(x, y, train, severity, rng):
    """A moving average over up to an eighth of the series, edges repeated."""
    width = 1 + 2 * round(severity * x.shape[2] / 16)
    padded = np.pad(x, ((0, 0), (0, 0), (width // 2, width // 2)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=2).mean(axis=-1), y


def offset(x, y, train, severity, rng):
    """All values up by `severity` deviations."""
    return x + severity * x.std(), y


def scale(x, y, train, severity, rng):
    """Each series stretched about its mean by the factor 1 + severity."""
    centre = x.mean(axis=2, keepdims=True)
    return centre + (1 + severity) * (x - centre), y


def dropped_class(x, y, train, severity, rng):
    """That share of the last class is lost; series of other classes, repeated, stand in their place."""
    return _lost(x, y, y == np.unique(y)[-1], severity, rng)


def dropped_mode(x, y, train, severity, rng):
    """That share of one corner is lost: of the quarter of the series that lie farthest along their main direction."""
    flat = x.reshape(len(x), -1)
    along = (flat - flat.mean(axis=0)) @ np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2][0]
    return _lost(x, y, along > np.quantile(along, 0.75), severity, rng)


def copies(x, y, train, severity, rng):
    """That share is replaced by train series."""
    return _with_train(x, y, train, severity, rng)


def near_copies(x, y, train, severity, rng):
    """That share is replaced by train series with noise of 5 % of their deviation."""
    noisy = train[0] + 0.05 * train[0].std() * rng.standard_normal(train[0].shape)
    return _with_train(x, y, (noisy, train[1]), severity, rng)


def time_warp(x, y, train, severity, rng):
    """Time runs fast and slow, by a sine of random phase: points move by up to a tenth of the series."""
    steps = np.arange(x.shape[2])
    phases = 2 * np.pi * (steps / x.shape[2] + rng.random((len(x), 1)))  # (n, L)
    moved = steps + 0.1 * severity * x.shape[2] * (np.sin(phases) - np.sin(phases[:, :1]))
    return np.array([[np.interp(place, steps, channel) for channel in one] for one, place in zip(x, moved)]), y


def reversal(x, y, train, severity, rng):
    """That share runs backwards."""
    return _replaced(x, x[:, :, ::-1], severity, rng), y


def shuffled_pieces(x, y, train, severity, rng):
    """That share is cut in four, and the pieces are put in another order."""
    pieces = np.array_split(np.arange(x.shape[2]), 4)
    orders = [np.concatenate([pieces[i] for i in _another_order(4, rng)]) for _ in x]
    return _replaced(x, np.stack([one[:, order] for one, order in zip(x, orders)]), severity, rng), y


def clipped_peaks(x, y, train, severity, rng):
    """Each series is cut off at (1 - severity) of the largest deviation from its mean."""
    centre = x.mean(axis=2, keepdims=True)
    most = (1 - severity) * abs(x - centre).max(axis=2, keepdims=True)
    return centre + np.clip(x - centre, -most, most), y


def wrong_labels(x, y, train, severity, rng):
    """That share is labelled as the next class."""
    names, number = np.unique(y, return_inverse=True)
    return x, np.where(rng.random(len(y)) < severity, names[(number + 1) % len(names)], y)


CORRUPTIONS = {
    function.__name__: function
    for function in (
        *(noise, smoothing, offset, scale, dropped_class, dropped_mode, copies, near_copies, time_warp, reversal),
        *(shuffled_pieces, clipped_peaks, wrong_labels),
    )
}


def corrupt(name, x, y, train, severity, rng):
    """(series, labels) after one corruption; see this module. raises BadInput for another name or severity."""
    if name not in CORRUPTIONS or not 0 <= severity <= 1:
        raise BadInput(f"corruption {name!r}, severity {severity}: expected one of {', '.join(CORRUPTIONS)}; 0 to 1")
    return CORRUPTIONS[name](x, y, train, severity, rng)


def _replaced(x, others, share, rng):
    """x, of which a random share is replaced by the others in the same rows."""
    return np.where(rng.random(len(x))[:, None, None] < share, others, x)


def _with_train(x, y, train, share, rng):
    """x and y, of which a random share is replaced by train series, drawn with replacement, and their labels."""
    rows, replaced = rng.integers(len(train[0]), size=len(x)), rng.random(len(x)) < share
    return np.where(replaced[:, None, None], train[0][rows], x), np.where(replaced, train[1][rows], y)


def _lost(x, y, rows, share, rng):
    """Of some rows a random share is replaced by other rows, drawn with replacement."""
    lost = np.flatnonzero(rows & (rng.random(len(x)) < share))
    others = rng.choice(np.flatnonzero(~rows), len(lost))
    x, y = x.copy(), y.copy()
    x[lost], y[lost] = x[others], y[others]
    return x, y


def _another_order(n, rng):
    """A permutation that is not the identity."""
    while (order := rng.permutation(n)).tolist() == list(range(n)):
        pass
    return order
