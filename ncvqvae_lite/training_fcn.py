"""The FCN classifier on the step engine."""

from torch.nn import functional as F

from .arguments import checked, keywords_of, seed_number
from .arguments_tensors import finite_series, labels, parameter_of
from .numerics import precision_name
from .training_engine import FitLoss, StepEngine
from .training_optim import Optim

OPTIM = Optim(epochs=1000, batch_size=256, weight_decay=1e-5)


@checked(seed=seed_number, precision=precision_name)
def fcn_engine(fcn, x, y, *, seed=0, precision="fp32", **optim):
    """The step engine of the FCN; see `train_fcn`."""

    def draw(index, _):
        return x[index], y[index]

    def loss(series, labels, _):
        return FitLoss(F.cross_entropy(fcn(series).float(), labels))

    optim = OPTIM.changed(**optim)
    return StepEngine(fcn, draw, loss, terms=FitLoss._fields, n=len(x), optim=optim, seed=seed, precision=precision)


@checked(loop=keywords_of(StepEngine.run))
def train_fcn(fcn, x, y, *, seed=0, precision="fp32", loop=None, **optim):
    """Supervised training of the FCN classifier on scaled series x (n, C, L) with labels y (n,) int64.

    loop   keyword arguments of `StepEngine.run`
    optim  fields of Optim; without them OPTIM
    """
    x = finite_series(parameter_of(fcn, "fcn"), fcn.channels, None, x)
    y = labels(y, len(x), fcn.n_classes, x)
    return fcn_engine(fcn, x, y, seed=seed, precision=precision, **optim).run(**(loop or {}))
