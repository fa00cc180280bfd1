"""Stage 2 on the step engine: the prior over the tokens of a frozen tokenizer."""

import torch

from .prior import mask_positions, prior_loss
from .quantizer import sample_categorical
from .training_engine import FitLoss, StepEngine

CPU_MICRO_BATCH = 32  # on a CPU the transformer's activations then stay in the cache


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
