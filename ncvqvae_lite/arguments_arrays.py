"""Arrays as arguments of scores, which compute in float64: numpy or torch on any device, or lists of numbers."""

import numpy as np
import torch

from .arguments_tensors import floats, integers
from .errors import BadInput

ON_CPU = torch.empty(0, dtype=torch.float64)


def float_array(values, what):
    """Real numbers as a float64 array of whatever shape."""
    return floats(values.detach() if isinstance(values, torch.Tensor) else values, what, ON_CPU).numpy()


def matrix(values, name, at_least=1):
    """(n, D) as a float64 array, all finite."""
    array = float_array(values, name)
    if array.ndim != 2 or len(array) < at_least or array.shape[1] == 0:
        raise BadInput(f"{name}: expected shape (n, D) with n >= {at_least} and D >= 1, got {array.shape}")
    if not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise BadInput(f"{name}: NaN or infinite values in {len(rows)} rows, the first is row {rows[0]}; check the net")
    return array


def label_array(values, split, n):
    """Labels (n,) of any kind that can be sorted: numbers or texts."""
    labels = plain_array(values, f"{split} labels")
    if labels.shape != (n,):
        raise BadInput(f"{n} {split} series need labels of shape ({n},), got {labels.shape}")
    return labels


def plain_array(values, what):
    """Numbers or texts as an array of one of these kinds; a tensor on any device, an array or a list."""
    try:
        array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadInput(
            f"{what}: expected numbers or texts, got {type(values).__name__}: one for each series"
        ) from error
    if array.dtype == object and all(isinstance(value, str) for value in array.ravel()):
        array = array.astype(str)
    if array.dtype.kind not in "biufUS" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        kind = "NaN or infinite ones" if array.dtype.kind == "f" else f"values of type {array.dtype}"
        raise BadInput(f"{what}: expected numbers or texts, got {kind}: one for each series")
    return array


def token_array(tokens, codebook_size):
    """Tokens 0..K-1 of any shape, at least one, as one int64 array."""
    tokens = integers(tokens, "tokens", ON_CPU).numpy().ravel()
    if tokens.size == 0:
        raise BadInput(f"expected at least one integer token, got {tokens.size} of type {tokens.dtype}")
    if tokens.min() < 0 or tokens.max() >= codebook_size:
        raise BadInput(f"tokens run from {tokens.min()} to {tokens.max()}, expected 0 to {codebook_size - 1}")
    return tokens
