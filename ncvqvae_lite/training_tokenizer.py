"""Stage 1 on the step engine: the naive tokenizer, or one with a non-contrastive branch."""

import torch
from torch import nn

from .tokenizer import naive_loss, non_contrastive_loss
from .training_engine import StepEngine


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
