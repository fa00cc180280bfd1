"""Stage 1 on the step engine: the naive tokenizer, or one with a non-contrastive branch."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import nn

from .arguments import checked, instance_of, keywords_of, not_negative, optional, seed_number
from .arguments_tensors import finite_series, parameter_of
from .errors import BadInput
from .numerics import precision_name
from .tokenizer import TokenizerLoss, naive_loss, non_contrastive_loss, row_weights
from .training_engine import StepEngine, batch_sizes
from .training_optim import Optim

OPTIM = Optim(epochs=1000, batch_size=128)


class Branch(NamedTuple):
    """What the non-contrastive branch adds to the naive tokenizer."""

    view: Callable  # (x, generator) -> augmented x
    projector: nn.Module  # ssl_losses.Projector; trained along and thrown away
    ssl_loss: Callable  # (a, b) -> weighted scalar loss of the projected views
    options: Mapping = MappingProxyType({})  # aug_recon, ssl_latents, quantise_view: see `non_contrastive_loss`


@checked(branch=optional(instance_of(Branch)), spectrum_weight=not_negative, seed=seed_number, precision=precision_name)
def tokenizer_engine(tokenizer, x, branch=None, *, spectrum_weight=0.0, seed=0, precision="fp32", **optim):
    """The step engine of stage 1; see `train_tokenizer`."""
    optim = OPTIM.changed(**optim)
    if branch is not None and min(batch_sizes(len(x), optim.batch_size)) < 2:
        found = f"{len(x)} series in batches of {optim.batch_size}"
        raise BadInput(f"a non-contrastive branch needs batches of 2 or more series, got {found}: raise batch_size")
    generator = torch.Generator(x.device).manual_seed(seed)
    first = torch.randperm(len(x), device=x.device, generator=generator)[: optim.batch_size]
    tokenizer.start_codebook(x[first], generator)  # before any step is captured
    weights = row_weights(x, tokenizer.n_fft, spectrum_weight) if spectrum_weight else None

    def draw(index, generator):
        batch = x[index]
        return (batch,) if branch is None else (batch, branch.view(batch, generator=generator))

    def branch_loss(batch, view, generator):
        networks = tokenizer, branch.projector, branch.ssl_loss  # pyright: ignore[reportOptionalMemberAccess]  # called only with a branch
        how = dict(generator=generator, row_weights=weights)
        return non_contrastive_loss(*networks, batch, view, **branch.options, **how)  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]

    return StepEngine(
        nn.ModuleList([tokenizer] if branch is None else [tokenizer, branch.projector]),
        draw,
        functools.partial(naive_loss, tokenizer, row_weights=weights) if branch is None else branch_loss,
        terms=TokenizerLoss._fields,
        n=len(x),
        optim=optim,
        seed=seed,
        precision=precision,
    )


@checked(loop=keywords_of(StepEngine.run))
def train_tokenizer(tokenizer, x, branch=None, *, loop=None, **settings):
    """Stage 1 (thesis, section on the NC-VQVAE objective): the naive VQVAE, or with a non-contrastive branch.

    x         (n, C, L) scaled series
    branch    Branch; None trains the naive VQVAE
    loop      keyword arguments of `StepEngine.run`
    settings  spectrum_weight (0: none; see `tokenizer.row_weights`), seed, precision, and fields of Optim; else OPTIM
    """
    x = finite_series(parameter_of(tokenizer, "tokenizer"), tokenizer.channels, tokenizer.length, x)
    return tokenizer_engine(tokenizer, x, branch, **settings).run(**(loop or {}))
