"""Series drawn from a prior and decoded by its tokenizer."""

import torch


def generate(cfg, tokenizer, prior, n, seed, class_index=None):
    """n token grids (n, N) drawn from the prior, and their series (n, C, L), scaled."""
    generator = torch.Generator(prior.table.device).manual_seed(seed)
    how = dict(steps=cfg.decoding_steps, choice_temperature=cfg.choice_temperature, guidance=cfg.guidance)
    tokens = prior.sample(n, class_index, **how, generator=generator)
    return tokens, batched_decode(tokenizer, tokens)


def batched_decode(tokenizer, tokens):
    """Tokens (n, N) -> series (n, C, L), in batches."""
    return torch.cat([tokenizer.decode(part) for part in tokens.split(256)])
