"""The three trainings of the method, each a few lines on the step engine: tokenizer, prior, and the FCN classifier.

All take tensors that already lie on the network's device. `loop` holds keyword arguments of `StepEngine.run`:
checkpoint, checkpoint_seconds, on_epoch, progress. All return the history: one dict of mean loss terms per epoch.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .prior import mask_positions, prior_loss
from .quantizer import sample_categorical
from .tokenizer import naive_loss, non_contrastive_loss
from .training_engine import StepEngine

CPU_MICRO_BATCH = 32  # on a CPU the transformer's activations then stay in the cache


class FitLoss(NamedTuple):
    total: torch.Tensor


def tokenizer_engine(
    tokenizer, x, *, view=None, projector=None, ssl_loss=None, aug_recon=0.2, ssl_latents="mixed", quantise_view=False,
    epochs=1000, batch_size=128, lr=1e-3, weight_decay=1e-3, precision="fp32", seed=0,
):  # fmt: skip
    """The step engine of stage 1; see `train_tokenizer`."""
    modules = nn.ModuleDict({"tokenizer": tokenizer})
    if view is not None:
        modules["projector"] = projector
    if tokenizer.quantizer.needs_init:
        with torch.no_grad():  # k-means on the latents of one random batch, before any step is captured
            generator = torch.Generator(x.device).manual_seed(seed)
            first = torch.randperm(len(x), device=x.device, generator=generator)[:batch_size]
            tokenizer.train()
            tokenizer.quantizer.initialise(tokenizer.latents(x[first]).float(), generator=generator)

    def draw(index, generator):
        batch = x[index]
        return (batch,) if view is None else (batch, view(batch, generator=generator))

    def loss(batch, *views):
        if view is None:
            return naive_loss(tokenizer, batch, engine.generator)
        return non_contrastive_loss(
            tokenizer, projector, ssl_loss, batch, *views, aug_recon, ssl_latents, quantise_view, engine.generator
        )

    engine = StepEngine(
        modules, draw, loss, n=len(x), epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
        seed=seed, precision=precision,
    )  # fmt: skip
    return engine


def train_tokenizer(tokenizer, x, *, loop=None, **settings):
    """Stage 1 (thesis, section on the NC-VQVAE objective): the naive VQVAE, or with a non-contrastive branch.

    x          (n, C, L) scaled series
    view       (x, generator) -> augmented x; None trains the naive VQVAE, and then `projector`, `ssl_loss` are not used
    projector  ssl_losses.Projector; trained along and thrown away
    ssl_loss   (a, b) -> weighted scalar loss of the projected views
    aug_recon, ssl_latents, quantise_view   see `non_contrastive_loss` (Q6, Q7, Q8)
    settings   epochs, batch_size, lr, weight_decay, precision, seed
    """
    return tokenizer_engine(tokenizer, x, **settings).run(**(loop or {}))


def prior_engine(
    prior, token_logits, classes, *, polarity="masked", t_per_sample=True, masked_only=True, min_masked=1,
    p_unconditional=0.2, epochs=1000, batch_size=256, lr=1e-3, weight_decay=1e-3, precision="fp32", seed=0,
):  # fmt: skip
    """The step engine of stage 2; see `train_prior`."""

    def draw(index, generator):
        tokens = sample_categorical(token_logits[index], generator)  # (B, N)
        dropped = torch.rand(len(index), device=tokens.device, generator=generator) < p_unconditional
        conditions = classes[index].masked_fill(dropped, prior.n_classes)
        settings = dict(polarity=polarity, per_sample=t_per_sample, at_least=min_masked)
        return tokens, conditions, mask_positions(*tokens.shape, **settings, generator=generator, device=tokens.device)

    def loss(tokens, conditions, is_masked):
        return FitLoss(prior_loss(prior, tokens, conditions, is_masked, masked_only))

    return StepEngine(
        prior, draw, loss, n=len(token_logits), epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
        seed=seed, precision=precision, micro_batch=CPU_MICRO_BATCH if token_logits.device.type == "cpu" else None,
    )  # fmt: skip


def train_prior(prior, token_logits, classes, *, loop=None, **settings):
    """Stage 2: teach the prior to fill masked tokens.

    token_logits     (n, N, K) from the frozen tokenizer; tokens are drawn afresh from softmax(token_logits) at every
                     step (the reference's stochastic quantisation: -||z - e_k||^2)
    classes          (n,) class of each series, all 0 for unlabelled series (n_classes 0)
    polarity         "masked" or "kept"; it, min_masked (Q3) and t_per_sample (Q5): see `mask_positions`
    masked_only      see `prior_loss` (Q5)
    p_unconditional  share of samples whose class is replaced by "no class"
    settings         epochs, batch_size, lr, weight_decay, precision, seed
    """
    return prior_engine(prior, token_logits, classes, **settings).run(**(loop or {}))


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
