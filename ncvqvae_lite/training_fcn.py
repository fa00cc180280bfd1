"""The FCN classifier on the step engine."""

from torch.nn import functional as F

from .training_engine import FitLoss, StepEngine


def fcn_engine(fcn, x, y, *, epochs=1000, batch_size=256, lr=1e-3, weight_decay=1e-5, precision="fp32", seed=0):
    """The step engine of the FCN; see `train_fcn`."""

    def draw(index, _):
        return x[index], y[index]

    def loss(series, labels):
        return FitLoss(F.cross_entropy(fcn(series).float(), labels))

    return StepEngine(
        fcn, draw, loss, n=len(x), epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
        seed=seed, precision=precision,
    )  # fmt: skip


def train_fcn(fcn, x, y, *, loop=None, **settings):
    """Supervised training of the FCN classifier on scaled series x (n, C, L) with labels y (n,) int64.

    settings   epochs, batch_size, lr, weight_decay, precision, seed
    """
    return fcn_engine(fcn, x, y, **settings).run(**(loop or {}))
