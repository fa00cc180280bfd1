"""An encoder learned without labels as one estimator: `Representation("simclr").fit(x).transform(x)` is (n, d).

It follows the protocol of scikit-learn (parameters are kept as given, what is learned ends in `_`), so that it stands
in pipelines and grid searches: `make_pipeline(Representation(), StandardScaler(), LogisticRegression())`. A method is
one record in SYSTEMS; what it does is in its own module. Everything runs on the CPU.
"""

import copy
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import nn

from ..arguments import choice, count, optional, path, positive, seed_number
from ..arguments_tensors import usual_torch
from ..data_arrays import MIN_STEPS, doubts, not_far, plain_series, refusal, rows_text, series_array, table_doubts
from ..errors import BadInput, WeakEvidence
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
FEW = 0.1  # share of steps known in all channels below which `Representation` warns
FARTHEST = 1e15  # standard deviations of the train series: the squares of farther values are none in float32
FILLS = "family.views.interpolate_missing or fill_missing"


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
PARAMETERS = dict(
    method=choice("method", SYSTEMS), steps=optional(count), batch=optional(count), lr=positive, seed=seed_number
)


class _Learned(nn.Module):
    """What `fit` learns and `save` writes: the network, and of the train series each channel's mean and deviation."""

    saved_by = "Representation"
    mean: torch.Tensor  # (C, 1) float64
    std: torch.Tensor

    def __init__(self, channels, length, **parameters):
        super().__init__()
        self.arguments = {"channels": channels, "length": length, **parameters}
        self.net = SYSTEMS[parameters["method"]].make(channels, length)
        for name, value in (("mean", 0.0), ("std", 1.0)):
            self.register_buffer(name, torch.full((channels, 1), value, dtype=torch.float64))

    def scaled(self, x):
        """x (n, C, L) as float32, by the train series; NaN stays. Raises BadInput for values too far from these."""
        with np.errstate(over="ignore"):  # what becomes infinite is refused
            x = not_far((x - self.mean.numpy()) / self.std.numpy(), "X", FARTHEST, " standard deviations of train")
        return torch.as_tensor(x, dtype=torch.float32)


class Representation(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features of series, learned without labels, on the CPU.

    method   simclr: views of a series attract, other series repel (arXiv 2002.05709)
             vicreg: views agree, features keep their spread and are not alike (arXiv 2105.04906)
             ts2vec: each step agrees with itself in another crop, at all scales (arXiv 2106.10466); takes gaps, NaN
             mae: three in four patches are hidden and filled in (arXiv 2111.06377)
    steps    of training, None: 600; ts2vec 200, of more than 100,000 numbers 600
    batch    series a step, at most as many as there are; None: 64, ts2vec 8
    lr       learning rate
    seed     of weights, order and views: equal seeds give equal features

    Each channel is scaled by its mean and its standard deviation over the train series; as with `StandardScaler`, a
    channel that is constant there is divided by 1.

    With `ts2vec` a step is known only where none of its channels is NaN. Each series, of `fit` and of `transform`,
    needs one known step at least; where less than a tenth of all steps is known, a `WeakEvidence` warning says so.

    After `fit`: `losses_` (steps,), `n_features_in_` L, `channels_` C, and of a table with named columns
    `feature_names_in_` (L,), to which those of `transform` must be equal.
    """

    def __init__(self, method="simclr", *, steps=None, batch=None, lr=1e-3, seed=0):
        self.method, self.steps, self.batch, self.lr, self.seed = method, steps, batch, lr, seed

    @usual_torch()
    def fit(self, X, y=None):
        """Learn from series.

        X         (n, L) or (n, C, L), n and L as `from_arrays` wants them; NaN only where the method takes gaps
        y         is not looked at
        returns   self
        raises    BadInput for other series, parameters that cannot be, fewer than two series
        warns     WeakEvidence where few steps are known, and where X looks like something else than series
        """
        # As plain Python values, whatever kind of number was given
        how: dict[str, Any] = {name: check(getattr(self, name), name) for name, check in PARAMETERS.items()}
        system, seed = SYSTEMS[how["method"]], how["seed"]
        steps, batch = how["steps"] or system.steps, how["batch"] or system.batch
        named = copy.copy(self)  # has the names of columns; a refusal leaves `self` as it was
        x = named._series(X, system.gaps, reset=True)
        for sentence in (*table_doubts(X, "X"), *doubts(np.nan_to_num(x), None, "X")):
            warnings.warn(sentence, WeakEvidence, stacklevel=3)
        if batch < 2:
            raise BadInput(f"batch is {batch}, expected 2 or more: series are set side by side")
        n, channels, length = x.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learned = _Learned(channels, length, names=list(getattr(named, "feature_names_in_", ())), **how)
        mean, std = (moment(x, axis=(0, 2))[:, None] for moment in (np.nanmean, np.nanstd))  # (C, 1)
        rounding = np.finfo(np.float64).eps * n * length * np.abs(mean)  # the std of a constant is at most this
        learned.mean.copy_(torch.as_tensor(mean))
        learned.std.copy_(torch.as_tensor(np.where(std <= rounding, 1.0, std)))
        g = torch.Generator().manual_seed(seed)
        losses = system.train(learned.net, x=learned.scaled(x), steps=steps, batch=min(batch, n), lr=how["lr"], g=g)
        self.losses_ = np.array(losses)
        return self._keep(learned.eval())

    @usual_torch()
    def transform(self, X):
        """Features (n, d) float32 of series of the channels and the length that were learned from."""
        check_is_fitted(self)
        system = SYSTEMS[self.learned_.arguments["method"]]
        x = self._series(X, system.gaps)
        if x.shape[1:] != (self.channels_, self.n_features_in_):
            wanted = f"{self.n_features_in_} features as input: steps, of {self.channels_} channel(s)"
            raise BadInput(
                f"X has {x.shape[2]} features, of {x.shape[1]} channel(s), but {type(self).__name__} is "
                f"expecting {wanted}"
            )
        return system.features(self.learned_.net, self.learned_.scaled(x)).numpy()

    def save(self, folder):
        """Write `representation.safetensors` into the folder: weights, scaling, parameters and names of columns."""
        check_is_fitted(self)
        save_module(self.learned_, path(folder, "folder") / FILE, self.learned_.arguments)

    @classmethod
    @usual_torch()
    def load(cls, folder):
        """The fitted estimator that `save` wrote; its `losses_` are not kept."""
        learned = load_module(path(folder, "folder") / FILE, _Learned)
        return cls(**{name: learned.arguments[name] for name in PARAMETERS})._keep(learned)

    def _keep(self, learned):
        self.learned_ = learned
        self.channels_, self.n_features_in_ = learned.arguments["channels"], learned.arguments["length"]
        self.__dict__.pop("feature_names_in_", None)
        if names := learned.arguments.get("names"):
            self.feature_names_in_ = np.array(names, dtype=object)
        return self

    @property
    def _n_features_out(self):
        """d, for the names of the features."""
        system, one = SYSTEMS[self.learned_.arguments["method"]], torch.zeros(1, self.channels_, self.n_features_in_)
        return system.features(self.learned_.net, one).shape[1]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = self.method in SYSTEMS and SYSTEMS[self.method].gaps
        return tags

    def _series(self, x, gaps, reset=False):
        """(n, C, L) float64; NaN only with `gaps`, and then with one step at least that is known in all channels.

        reset   True in `fit`: the names of columns are kept, and two series are needed
        """
        plain = plain_series(x)
        try:  # in scikit-learn's words, which its users know
            validate_data(self, x, reset=reset, skip_check_array=True, ensure_2d=False)  # the names of columns alone
            x = check_array(plain, allow_nd=True, dtype=np.float64, ensure_all_finite=False)
            x = np.where(missing := np.isnan(x) & gaps, 0.0, x)
            check_array(x, allow_nd=True, ensure_min_samples=1 + reset, ensure_min_features=MIN_STEPS)
        except (TypeError, ValueError) as error:
            known = ", ".join(name for name, system in SYSTEMS.items() if system.gaps)
            advice = f" ({FILLS}), or take a method that knows gaps: {known}" if "contains NaN" in str(error) else ""
            raise BadInput(refusal(str(error), x, "X") + advice) from error
        series = not_far(series_array(x, "X"), "X")
        missing = missing.reshape(series.shape)
        if (empty := missing.all(axis=(1, 2))).any():
            raise BadInput(f"X has no value at all in series {int(empty.argmax())}: leave it out")
        known = ~missing.any(axis=1)  # (n, L)
        if (lost := ~known.any(axis=1)).any():
            found = f"X has no step with values in every channel, in {rows_text(np.flatnonzero(lost), len(x))}"
            raise BadInput(f"{found}: fill gaps ({FILLS}), leave out these series, or a channel")
        if known.mean() < FEW:
            found = f"only {known.mean():.1%} of the steps of X have values in every channel, the others are not seen"
            warnings.warn(f"{found}: fill gaps ({FILLS}), or leave out channels", WeakEvidence, stacklevel=4)
        return np.where(missing, np.nan, series)
