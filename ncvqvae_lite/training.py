"""The three trainings of the method, each a few lines on the step engine: tokenizer, prior, and the FCN classifier.

All take tensors that already lie on the network's device, and the fields of `training_optim.Optim` by keyword. `loop`
holds keyword arguments of `StepEngine.run`: checkpoint, checkpoint_seconds, on_epoch, progress. All return the history:
one dict of mean loss terms per epoch.
"""

from .training_fcn import fcn_engine, train_fcn
from .training_prior import prior_engine, train_prior
from .training_tokenizer import Branch, tokenizer_engine, train_tokenizer

__all__ = ["Branch", "fcn_engine", "prior_engine", "tokenizer_engine", "train_fcn", "train_prior", "train_tokenizer"]
