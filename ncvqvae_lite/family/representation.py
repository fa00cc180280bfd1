"""An encoder learned without labels as one estimator: `Representation("simclr").fit(x).transform(x)` is (n, d).

It follows the protocol of scikit-learn (parameters are kept as given, what is learned ends in `_`), so that it stands
in pipelines and grid searches: `make_pipeline(Representation(), StandardScaler(), LogisticRegression())`. A method is
one record in SYSTEMS; what it does is in its own module.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import nn

from ..arguments import choice, count, path, positive, seed_number
from ..data_arrays import MIN_STEPS, series_array
from ..errors import BadInput
from ..files import load_module, save_module
from ..inference import batched
from ..ssl_losses import vicreg
from . import scales
from .common import ResNet1d, pretrain, with_projector
from .contrast import nt_xent
from .loop import learn
from .masked import MAE, PatchNet
from .views import simclr_views

FILE = "representation.safetensors"
LEAST_STD = 1e-8  # a channel that is constant in all train series stays at 0


@dataclass(frozen=True)
class System:
    """A method.

    make      (channels, length) -> network; weights are drawn here
    train     (net, x (n, C, L), steps=, batch=, lr=, g=) -> the loss of each step; `net` is left in eval mode
    features  (net, x (n, C, L)) -> (n, d)
    steps, batch   defaults; with steps None, `train` has its own
    gaps      True where NaN, missing values, may be among the series
    """

    make: Callable
    train: Callable
    features: Callable
    steps: int | None = 600
    batch: int = 64
    gaps: bool = False


def _of_encoder(net, x):
    return batched(net.encoder, x)


def _projected(*widths):
    return lambda channels, length: with_projector(ResNet1d(channels), *widths)


def _masked(channels, length):
    """Patches of 8 steps, of short series smaller ones, so that there are four at least."""
    return MAE(PatchNet(length, channels, patch=min(8, length // 4)))


def _fill_in(net, x, **how):
    return learn(net, net.masked_loss(), x, **how)


def _vicreg(a, b):
    return vicreg(a, b).total


SYSTEMS = {
    "simclr": System(
        _projected(64, 128, 64), functools.partial(pretrain, views=simclr_views, loss=nt_xent), _of_encoder
    ),
    "vicreg": System(
        _projected(64, 256, 256, 256), functools.partial(pretrain, views=simclr_views, loss=_vicreg), _of_encoder
    ),
    "ts2vec": System(
        lambda channels, length: scales.DilatedNet(channels), scales.ts2vec, scales.features, None, batch=8, gaps=True
    ),
    "mae": System(_masked, _fill_in, _of_encoder),
}


class _Learned(nn.Module):
    """What `fit` learns and `save` writes: the network, and of the train series each channel's mean and deviation."""

    mean: torch.Tensor  # (C, 1) float64
    std: torch.Tensor

    def __init__(self, channels, length, **parameters):
        super().__init__()
        self.arguments = {"channels": channels, "length": length, **parameters}
        self.net = SYSTEMS[parameters["method"]].make(channels, length)
        for name, value in (("mean", 0.0), ("std", 1.0)):
            self.register_buffer(name, torch.full((channels, 1), value, dtype=torch.float64))

    def scaled(self, x):
        """x (n, C, L) as float32, by the train series; NaN stays."""
        return torch.as_tensor((x - self.mean.numpy()) / self.std.numpy(), dtype=torch.float32)


class Representation(TransformerMixin, BaseEstimator):
    """Features of series, learned without labels.

    method   simclr: views of a series attract, other series repel (arXiv 2002.05709)
             vicreg: views agree, features keep their spread and are not alike (arXiv 2105.04906)
             ts2vec: each step agrees with itself in another crop, at all scales (arXiv 2106.10466); NaN is missing
             mae: three in four patches are hidden and filled in (arXiv 2111.06377)
    steps    of training, None: 600; ts2vec 200, of more than 100,000 numbers 600
    batch    series a step, at most as many as there are; None: 64, ts2vec 8
    lr       learning rate
    seed     of weights, order and views: equal seeds give equal features

    After `fit`: `losses_` (steps,), `n_features_in_` L, `channels_` C.
    """

    def __init__(self, method="simclr", *, steps=None, batch=None, lr=1e-3, seed=0):
        self.method, self.steps, self.batch, self.lr, self.seed = method, steps, batch, lr, seed

    def fit(self, X, y=None):
        """Learn from series.

        X         (n, L) or (n, C, L), n and L as `from_arrays` wants them; NaN only where the method takes gaps
        y         is not looked at
        returns   self
        raises    BadInput for other series, parameters that cannot be, fewer than two series
        """
        system = SYSTEMS[choice("method", SYSTEMS)(self.method, "method")]
        steps = system.steps if self.steps is None else count(self.steps, "steps")
        batch = system.batch if self.batch is None else count(self.batch, "batch")
        lr, seed = positive(self.lr, "lr"), seed_number(self.seed, "seed")
        x = _series(X, system.gaps, at_least=2)
        if batch < 2:
            raise BadInput(f"batch is {batch}, expected 2 or more: series are set side by side")
        n, channels, length = x.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learned = _Learned(channels, length, **self.get_params())
        learned.mean.copy_(torch.as_tensor(np.nanmean(x, axis=(0, 2))[:, None]))
        learned.std.copy_(torch.as_tensor(np.nanstd(x, axis=(0, 2))[:, None]).clamp(min=LEAST_STD))
        g = torch.Generator().manual_seed(seed)
        losses = system.train(learned.net, x=learned.scaled(x), steps=steps, batch=min(batch, n), lr=lr, g=g)
        self.losses_ = np.array(losses)
        return self._keep(learned.eval())

    def transform(self, X):
        """Features (n, d) float32 of series of the channels and the length that were learned from."""
        check_is_fitted(self)
        system = SYSTEMS[self.learned_.arguments["method"]]
        x = _series(X, system.gaps)
        if x.shape[1:] != (self.channels_, self.n_features_in_):
            wanted = f"{self.n_features_in_} features as input: steps, of {self.channels_} channel(s)"
            raise BadInput(
                f"X has {x.shape[2]} features, of {x.shape[1]} channel(s), but {type(self).__name__} is "
                f"expecting {wanted}"
            )
        return system.features(self.learned_.net, self.learned_.scaled(x)).numpy()

    def save(self, folder):
        """Write `representation.safetensors` into the folder: weights, scaling and parameters."""
        check_is_fitted(self)
        save_module(self.learned_, path(folder, "folder") / FILE, self.learned_.arguments)

    @classmethod
    def load(cls, folder):
        """The fitted estimator that `save` wrote; its `losses_` are not kept."""
        learned = load_module(path(folder, "folder") / FILE, _Learned)
        names = cls().get_params()
        return cls(**{name: learned.arguments[name] for name in names})._keep(learned)

    def _keep(self, learned):
        self.learned_ = learned
        self.channels_, self.n_features_in_ = learned.arguments["channels"], learned.arguments["length"]
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = self.method in SYSTEMS and SYSTEMS[self.method].gaps
        return tags


def _series(x, gaps, at_least=1):
    """(n, C, L) float64; NaN only with `gaps`, and then with at least one value in each series."""
    try:  # in scikit-learn's words, which its users know
        sizes = dict(allow_nd=True, ensure_min_samples=at_least, ensure_min_features=MIN_STEPS)
        x = check_array(x, dtype=np.float64, ensure_all_finite="allow-nan" if gaps else True, **sizes)
    except (TypeError, ValueError) as error:
        said, known = " ".join(str(error).split()), [name for name, system in SYSTEMS.items() if system.gaps]
        advice = f" Fill the gaps (family.views.fill_missing), or take a method that knows them: {', '.join(known)}"
        raise BadInput(said + (advice if "contains NaN" in said else "")) from error
    missing = np.isnan(x)
    series = series_array(np.where(missing, 0.0, x), "X")
    missing = missing.reshape(series.shape)
    if (empty := missing.all(axis=(1, 2))).any():
        raise BadInput(f"X has no value at all in series {int(empty.argmax())}: leave it out")
    return np.where(missing, np.nan, series)
