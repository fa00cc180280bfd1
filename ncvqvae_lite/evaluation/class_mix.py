"""Class mix: the shares of the classes among generated series, beside those of real ones."""

import numpy as np

from ..arguments_arrays import plain_array
from ..errors import BadInput


def class_mix_distance(real_labels, generated_labels):
    """Total variation distance of the class shares: half the sum of |share in real - share in generated|.

    real_labels, generated_labels  (n,), (m,) of the same kind (numbers or texts), at least one each
    returns                        0 (equal shares) to 1 (no class in common)
    raises                         BadInput for other shapes
    """
    labels = [_labels(real_labels, "real"), _labels(generated_labels, "generated")]
    classes, number = np.unique(np.concatenate(labels), return_inverse=True)
    real, generated = np.split(number, [len(labels[0])])
    shares = [np.bincount(part, minlength=len(classes)) / len(part) for part in (real, generated)]
    return float(abs(shares[0] - shares[1]).sum() / 2)


def _labels(labels, name):
    labels = plain_array(labels, f"{name} labels")
    if labels.ndim != 1 or len(labels) == 0:
        raise BadInput(f"{name} labels: expected shape (n,) with n >= 1, got {labels.shape}: one label for each series")
    return labels
