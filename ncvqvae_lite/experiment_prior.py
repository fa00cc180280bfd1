"""Stage 2 of an experiment: a prior trained on the tokens of a frozen tokenizer."""

import math

import torch

from .experiment_samples import LOGITS
from .experiment_stages import initial_weights, optim_settings
from .files import write_csv
from .inference import batched
from .prior import MaskGIT, mask_positions, prior_loss
from .quantizer import sample_categorical
from .training_engine import derive_seed
from .training_prior import train_prior

SURE = 0.85  # mean probability of the nearest code on the train series, where the temperature is left to it


def prior_stage(cfg, ds, scaled, tokenizer, session, folder):
    """A prior trained on the frozen tokenizer's tokens, in the cell's folder (held by the caller)."""
    if (folder / "prior.safetensors").exists():
        return MaskGIT.load(folder).to(session.device)
    size = dict(dim=cfg.prior_dim, width=cfg.prior_width, depth=cfg.prior_depth, heads=cfg.prior_heads)
    size |= dict(zero_blocks=cfg.zero_blocks)
    with initial_weights("prior", cfg.seed):
        tokens_and_classes = (tokenizer.n_tokens, tokenizer.codebook_size, ds.n_classes)
        prior = MaskGIT(*tokens_and_classes, cfg.head, cfg.extra_positions, **size).to(session.device)
    if cfg.prior_start == "codebook" and cfg.prior_dim == cfg.dim:
        prior.start_from(tokenizer.codebook)
    temperature = cfg.token_temperature
    temperature = temperature or sure_temperature(token_logits(tokenizer, that_fit(tokenizer, scaled.x_train)))
    train, test = (logits_by_index(tokenizer, x, temperature) for x in (scaled.x_train, scaled.x_test))
    optim = optim_settings(cfg, len(train), "prior_")

    def judge(epoch):
        if epoch == optim["epochs"] or epoch % cfg.probe_every == 0:
            return {"validation": prior_validation(cfg, prior, test, scaled.y_test)}
        return None

    how = dict(masked_only=cfg.masked_only, p_unconditional=cfg.p_unconditional, precision=cfg.prior_precision)
    how |= dict(polarity=cfg.mask_polarity, t_per_sample=cfg.t_per_sample, min_masked=cfg.min_masked)
    how |= dict(
        muon_times=cfg.muon_times, seed=derive_seed("prior", cfg.seed), loop=session.loop("prior", folder, judge)
    )
    history = train_prior(prior, train, labels_or_zeros(scaled.y_train, train), **how, **optim)
    write_csv(folder / "history.csv", history)
    prior.eval().save(folder)
    return prior


def token_logits(tokenizer, x, temperature=1.0):
    """-||z - e_k||^2 / temperature of every token of series x: (n, N, K), from the tokenizer in eval mode."""
    return batched(tokenizer.token_logits, x).div_(temperature)


class LogitsOnDemand:
    """`token_logits` of the series that an index asks for, computed then."""

    on_demand = True

    def __init__(self, tokenizer, x, temperature):
        self.tokenizer, self.x, self.temperature = tokenizer, x, temperature
        self.device = x.device

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return token_logits(self.tokenizer, self.x[index], self.temperature)


def logits_by_index(tokenizer, x, temperature):
    """The `token_logits` of series x, to be indexed: one tensor (n, N, K) if it fits, else computed per index."""
    fits = len(x) == len(that_fit(tokenizer, x))
    return (token_logits if fits else LogitsOnDemand)(tokenizer, x, temperature)


def that_fit(tokenizer, x):
    """The series x, or a fixed random choice of them, whose token logits are at most LOGITS in all."""
    most = max(1, LOGITS // (tokenizer.n_tokens * tokenizer.codebook_size))
    if len(x) <= most:
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:most].to(x.device)]


def sure_temperature(logits, sure=SURE):
    """The temperature, 1 at most, at which the likeliest code has the probability `sure` on average; logits (n, N, K).

    Squared distances to codes have another scale for each tokenizer; with this, tokens are as random for each.
    """

    def is_sure(temperature):
        likeliest = [torch.softmax(part / temperature, dim=-1).amax(dim=-1) for part in logits.split(1024)]
        return torch.cat(likeliest).double().mean().item() >= sure

    if is_sure(1.0):
        return 1.0
    low, high = math.log(1e-4), 0.0  # sure, not sure
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if is_sure(math.exp(middle)) else (low, middle)
    return math.exp(low)


def prior_validation(cfg, prior, logits, y):
    """Loss of the prior on the test split, classes given; tokens sampled as in training, or by argmax (Q13)."""
    generator = torch.Generator(logits.device).manual_seed(0)
    classes, total = labels_or_zeros(y, logits), 0.0
    with torch.no_grad():
        for index in torch.arange(len(logits), device=logits.device).split(cfg.prior_batch_size):
            rows, labels = logits[index], classes[index]
            tokens = sample_categorical(rows, generator) if cfg.prior_validation == "sampled" else rows.argmax(dim=-1)
            masking = (cfg.mask_polarity, cfg.t_per_sample, cfg.min_masked, generator, rows.device)
            is_masked = mask_positions(*tokens.shape, *masking)
            total += prior_loss(prior, tokens, labels, is_masked, cfg.masked_only).item() * len(tokens)
    return total / len(logits)


def labels_or_zeros(y, like):
    """Labels, or class 0 for every series where there are none (a prior without classes knows only that one)."""
    return torch.zeros(len(like), dtype=torch.int64, device=like.device) if y is None else y
