"""Stage 2 on the step engine: the prior over the tokens of a frozen tokenizer."""

import functools

import torch

from .arguments import checked, choice, count_from_0, flag, keywords_of, not_negative, seed_number, share
from .arguments_tensors import labels, logits_of, parameter_of
from .numerics import precision_name
from .prior import POLARITIES, mask_positions, prior_loss
from .quantizer import sample_categorical
from .training_engine import FitLoss, StepEngine
from .training_muon import muon
from .training_optim import Optim, adamw

CPU_MICRO_BATCH = 32  # on a CPU the transformer's activations then stay in the cache
OPTIM = Optim(epochs=1000, batch_size=256)


@checked(polarity=choice("mask polarity", POLARITIES), t_per_sample=flag, min_masked=count_from_0, masked_only=flag)
@checked(p_unconditional=share, muon_times=not_negative, seed=seed_number, precision=precision_name)
def prior_engine(
    prior,
    token_logits,
    classes,
    *,
    polarity="masked",
    t_per_sample=True,
    min_masked=1,
    masked_only=True,
    p_unconditional=0.2,
    muon_times=0.0,
    seed=0,
    precision="fp32",
    **optim,
):
    """The step engine of stage 2; see `train_prior`."""
    device = token_logits.device
    masking = dict(polarity=polarity, per_sample=t_per_sample, at_least=min_masked, device=device)

    def draw(index, generator):
        tokens = sample_categorical(token_logits[index], generator)  # (B, N)
        dropped = torch.rand(len(index), device=device, generator=generator) < p_unconditional
        conditions = classes[index].masked_fill(dropped, prior.n_classes)
        return tokens, conditions, mask_positions(*tokens.shape, **masking, generator=generator)  # pyright: ignore[reportArgumentType]  # keyword arguments of several types

    def loss(tokens, conditions, is_masked, _):
        return FitLoss(prior_loss(prior, tokens, conditions, is_masked, masked_only))

    return StepEngine(
        prior,
        draw,
        loss,
        terms=FitLoss._fields,
        n=len(token_logits),
        optim=OPTIM.changed(**optim),
        seed=seed,
        precision=precision,
        micro_batch=CPU_MICRO_BATCH if device.type == "cpu" else None,
        optimizers=functools.partial(muon, times=muon_times) if muon_times else adamw,
    )


@checked(loop=keywords_of(StepEngine.run))
def train_prior(prior, token_logits, classes, *, loop=None, **settings):
    """Stage 2: teach the prior to fill masked tokens.

    token_logits     (n, N, K) from the frozen tokenizer, or what is marked `on_demand`, has a length and a device, and
                     gives (B, N, K) for an index (B,). Tokens are drawn afresh from softmax(token_logits) at every
                     step (the reference's stochastic quantisation: -||z - e_k||^2)
    classes          (n,) class of each series, all 0 for unlabelled series (n_classes 0)
    polarity         "masked" or "kept"; it, min_masked (Q3) and t_per_sample (Q5): see `mask_positions`
    masked_only      see `prior_loss` (Q5)
    p_unconditional  share of samples whose class is replaced by "no class"
    muon_times       Muon for the matrices of the blocks, at so many times the learning rate; 0: AdamW for all
    loop             keyword arguments of `StepEngine.run`
    settings         seed, precision, and fields of Optim; without them OPTIM
    """
    token_logits = logits_of(token_logits, parameter_of(prior, "prior"), prior.n_tokens, prior.codebook_size)
    classes = labels(classes, len(token_logits), max(1, prior.n_classes), token_logits)
    return prior_engine(prior, token_logits, classes, **settings).run(**(loop or {}))
