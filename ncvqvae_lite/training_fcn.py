"""The FCN classifier on the step engine."""

from torch.nn import functional as F

from .training_engine import FitLoss, StepEngine
from .training_optim import Optim

OPTIM = Optim(epochs=1000, batch_size=256, weight_decay=1e-5)


def fcn_engine(fcn, x, y, *, seed=0, precision="fp32", **optim):
    """The step engine of the FCN; see `train_fcn`."""

    def draw(index, _):
        return x[index], y[index]

    def loss(series, labels, _):
        return FitLoss(F.cross_entropy(fcn(series).float(), labels))

    optim = OPTIM.changed(**optim)
    return StepEngine(fcn, draw, loss, terms=FitLoss._fields, n=len(x), optim=optim, seed=seed, precision=precision)


def train_fcn(fcn, x, y, *, seed=0, precision="fp32", loop=None, **optim):
    """Supervised training of the FCN classifier on scaled series x (n, C, L) with labels y (n,) int64.

    loop   keyword arguments of `StepEngine.run`
    optim  fields of Optim; without them OPTIM
    """
    return fcn_engine(fcn, x, y, seed=seed, precision=precision, **optim).run(**(loop or {}))
