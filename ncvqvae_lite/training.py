"""The three trainings of the method, each a few lines on the step engine: tokenizer, prior, and the FCN classifier.

All take tensors on the network's device, the fields of `training_optim.Optim` by keyword, and in `loop` the keyword
arguments of `StepEngine.run`. All return the history: one dict of mean loss terms per epoch.
"""

from .training_fcn import fcn_engine, train_fcn
from .training_prior import prior_engine, train_prior
from .training_tokenizer import Branch, tokenizer_engine, train_tokenizer

__all__ = ["Branch", "fcn_engine", "prior_engine", "tokenizer_engine", "train_fcn", "train_prior", "train_tokenizer"]
