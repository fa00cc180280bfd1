"""Distances of plain statistics of series: of their values, of how these follow one another, of their frequencies.

They need no features and no labels, and name what is wrong where a score of features only says that something is. Each
takes two sets (n, C, L) and (m, C, L) in like units, for example scaled by one `Scaling`, and averages over channels.
"""

import numpy as np
from scipy.stats import wasserstein_distance

from .arrays import series_array

QUIETEST = 1e-4  # of the mean power: below it a frequency counts as silent (40 dB under the mean)


def marginal_distance(real, generated):
    """Wasserstein-1 distance of all values, whatever their place in the series; in the unit of the values."""
    real, generated = _both(real, generated)
    return float(np.mean([wasserstein_distance(a.ravel(), b.ravel()) for a, b in _channels(real, generated)]))


def autocorrelation_distance(real, generated):
    """Mean |difference| of the mean autocorrelations over the lags 1 to L // 2; 0 to 2."""
    real, generated = _both(real, generated)
    lags = slice(1, max(1, real.shape[2] // 2) + 1)
    return float(abs(autocorrelation(real) - autocorrelation(generated))[:, lags].mean())


def spectrum_distance(real, generated):
    """Mean |difference| of the mean power spectra over all frequencies, the mean value's among them; in decibels."""
    real, generated = _both(real, generated)
    powers = [power_spectrum(x) for x in (real, generated)]  # (C, L // 2 + 1)
    floor = QUIETEST * powers[0].mean()
    quiet = [10 * np.log10(np.maximum(power, floor)) for power in powers] if floor > 0 else powers
    return float(abs(quiet[0] - quiet[1]).mean())


def autocorrelation(x):
    """(n, C, L) -> (C, L) mean over the series of r_k = sum_t d_t d_(t+k) / sum_t d_t^2, d the deviations of a series
    from its mean; a constant series counts as 0 at every lag."""
    deviations = x - x.mean(axis=2, keepdims=True)
    length = x.shape[2]
    spectrum = np.abs(np.fft.rfft(deviations, 2 * length, axis=2)) ** 2  # padded by zeros, so that nothing wraps round
    products = np.fft.irfft(spectrum, axis=2)[:, :, :length]
    energy = products[:, :, :1]
    varies = x.max(axis=2, keepdims=True) > x.min(axis=2, keepdims=True)
    return np.where(varies, products / np.where(varies, energy, 1), 0).mean(axis=0)


def power_spectrum(x):
    """(n, C, L) -> (C, L // 2 + 1) mean over the series of |rfft|^2 / L."""
    return (np.abs(np.fft.rfft(x, axis=2)) ** 2 / x.shape[2]).mean(axis=0)


def _both(real, generated):
    real = series_array(real, "real series")
    return real, series_array(generated, "generated series", like=real.shape[1:])


def _channels(real, generated):
    return zip(real.transpose(1, 0, 2), generated.transpose(1, 0, 2))
