"""Series drawn from a prior and decoded by its tokenizer."""

import torch

from .evaluation.baselines import allot
from .inference import fitting
from .numerics import fast_matmul

LOGITS = 1 << 27  # of tokens and codes, held at a time


def logits_batch(batch_size, n_tokens, codebook_size):
    """How many series make a batch of token logits, at most `batch_size`, and at least one."""
    return max(1, min(batch_size, LOGITS // (n_tokens * codebook_size)))


def generate(cfg, tokenizer, prior, n, seed, class_index=None, pieces=None):
    """n token grids (n, N) drawn from the prior, and their series (n, C, L), scaled.

    class_index   None: no class; an int or an (n,) tensor
    pieces        ResidualPieces, which are added to the series, or None
    """
    generator = torch.Generator(prior.table.device).manual_seed(seed)
    how = dict(batch_size=logits_batch(256, prior.n_tokens, prior.codebook_size), order=cfg.order)
    how |= dict(steps=cfg.decoding_steps, choice_temperature=cfg.choice_temperature, guidance=cfg.guidance)
    with fast_matmul(cfg.sampling_precision, prior.table.device.type):
        tokens = prior.sample(n, class_index, **how, generator=generator)
    series = batched_decode(tokenizer, tokens)
    return tokens, series if pieces is None else series + pieces.draw(tokens, generator)


def batched_decode(tokenizer, tokens):
    """Tokens (n, N) -> series (n, C, L), in batches."""
    return torch.cat([tokenizer.decode(part) for part in tokens.split(fitting(256, tokenizer.out_length))])


def classes_like(counts, n, seed=0):
    """Classes of n samples by the shares of counts (k,): exact to one series each, in random order; (n,) int64."""
    classes = torch.arange(len(counts)).repeat_interleave(torch.tensor(allot(counts, n)))
    return classes[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]
