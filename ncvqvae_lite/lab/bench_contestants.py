"""What `bench` measures: every step of the method, ours and the baseline's, ready to run."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from ..config import ExperimentConfig
from ..data import two_patterns
from ..experiment_stages import initial_weights, new_tokenizer, non_contrastive_branch, view_of
from ..fcn import FCN
from ..prior import MaskGIT
from ..training import fcn_engine, prior_engine, tokenizer_engine
from . import bench_baseline as plain

BF16 = {"precision": "bf16", "prior_precision": "bf16", "fcn_precision": "bf16"}
VARIANTS = {"paper": ("paper", {}), "paper bf16": ("paper", BF16), "improved": ("improved", {}), "quick": ("quick", {})}
CLASSES = 4


class Size(NamedTuple):
    batch: int  # series a step in stage 1, and in augmentation
    prior_batch: int  # stage 2, sampling, FCN
    length: int
    long: int  # steps of the series that are augmented
    seconds: float  # a group's share of the time budget
    rounds: int  # at least
    changes: dict


FULL = Size(128, 256, 128, 500, 6.0, 3, {})
QUICK = Size(32, 32, 128, 500, 0.5, 2, {"projector_width": 256})


class Contestant(NamedTuple):
    run: object  # () -> anything; what is timed
    eager: object  # the same without captured graphs, for counting its arithmetic
    series: int  # that one run handles
    precision: str


def contestant(task, variant, ours, size, device):
    """Build one contestant: ours, or the baseline's way to the same.

    task     "augment NAME", "stage 1 METHOD-AUGMENTATION" or "stage 1 regular", "stage 2 HEAD", "sampling HEAD", "FCN step"
    variant  a key of VARIANTS
    """
    kind, _, detail = task.rpartition(" ")
    return _BUILDERS[kind](detail, variant, ours, size, torch.device(device))


def _config(variant, size, method="regular", augmentation="none", **changes):
    preset, extra = VARIANTS[variant]
    settings = dict(dataset="TwoPatternsGenerated", method=method, augmentation=augmentation)
    return ExperimentConfig.preset(preset, **settings, **extra | size.changes | changes)


def _augment(names, variant, ours, size, device):
    names = list(plain.LOOPS) if names == "all" else [names]
    x = torch.randn(size.batch, 1, size.long, device=device, generator=torch.Generator(device).manual_seed(0))
    configs = [_config(variant, size, "barlowtwins", name) for name in names]
    if ours:
        generator = torch.Generator(device).manual_seed(0)
        run = lambda: [view_of(cfg)(x, generator=generator) for cfg in configs]
    else:
        rng = np.random.default_rng(0)
        run = lambda: [plain.view_in_loop(x, cfg.augmentation, rng, cfg.zero_tail) for cfg in configs]
    return Contestant(run, run, size.batch, "fp32")


def _stage_1(arm, variant, ours, size, device):
    method, _, augmentation = arm.partition("-")
    cfg = _config(variant, size, method, augmentation or "none")
    x = _series(size.batch, size.length, device)
    with initial_weights("bench", 0):
        tokenizer = new_tokenizer(cfg, SimpleNamespace(length=size.length, channels=1)).to(device)
        branch = {} if method == "regular" else non_contrastive_branch(cfg, device)
    settings = dict(lr=cfg.lr, weight_decay=cfg.weight_decay)
    if ours:
        engine = tokenizer_engine(
            tokenizer, x, **branch, **settings, batch_size=size.batch, precision=cfg.precision, epochs=10_000
        )
        return _of_engine(engine, size.batch)
    tokenizer = plain.plain_copy(plain.PlainTokenizer, tokenizer)
    tokenizer.quantizer.needs_init = False
    modules = torch.nn.ModuleDict({"tokenizer": tokenizer} | ({"projector": branch["projector"]} if branch else {}))
    rng = np.random.default_rng(0)
    draw = lambda: (x,) if not branch else (x, plain.view_in_loop(x, augmentation, rng, cfg.zero_tail))
    arguments = {} if not branch else dict(projector=branch["projector"], ssl_loss=plain_ssl_loss(cfg))
    arguments |= {name: branch[name] for name in ("aug_recon", "ssl_latents", "quantise_view") if branch}
    return _of_training(modules, draw, plain.stage_1_loss(tokenizer, **arguments), size.batch, settings)


def plain_ssl_loss(cfg):
    """The baseline's weighted non-contrastive loss of a configuration, (a, b) -> scalar."""
    if cfg.method == "barlowtwins":
        return lambda a, b: cfg.barlow_weight * plain.barlow_twins_matrix(a, b, cfg.barlow_offdiagonal)
    weights = dict(sim=cfg.vibcreg_sim, var=cfg.vibcreg_var, cov=cfg.vibcreg_cov)
    return lambda a, b: cfg.vibcreg_weight * plain.vibcreg_matrix(a, b, **weights)


def _prior(head, variant, size, device):
    cfg = _config(variant, size, head=head)
    with initial_weights("bench", 1):
        prior = MaskGIT(
            40, cfg.codebook_size, CLASSES, head=head, extra_positions=cfg.extra_positions, dim=cfg.prior_dim,
            width=cfg.prior_width, depth=cfg.prior_depth, heads=cfg.prior_heads,
        )  # fmt: skip
    return cfg, prior.to(device)


def _stage_2(head, variant, ours, size, device):
    cfg, prior = _prior(head, variant, size, device)
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(size.prior_batch, 40, cfg.codebook_size, generator=generator).to(device)
    classes = torch.randint(CLASSES, (size.prior_batch,), generator=generator).to(device)
    settings = dict(lr=cfg.prior_lr, weight_decay=cfg.prior_weight_decay)
    if ours:
        engine = prior_engine(
            prior, logits, classes, **settings, polarity=cfg.mask_polarity, t_per_sample=cfg.t_per_sample,
            masked_only=cfg.masked_only, p_unconditional=cfg.p_unconditional, batch_size=size.prior_batch,
            precision=cfg.prior_precision, epochs=10_000,
        )  # fmt: skip
        return _of_engine(engine, size.prior_batch)
    prior = plain.plain_copy(plain.PlainMaskGIT, prior)
    generator = torch.Generator(device).manual_seed(0)
    draw = lambda: plain.prior_batch(prior, logits, classes, cfg, generator)
    return _of_training(prior, draw, plain.stage_2_loss(prior, cfg.masked_only), size.prior_batch, settings)


def _sampling(head, variant, ours, size, device):
    cfg, prior = _prior(head, variant, size, device)
    tokenizer = new_tokenizer(cfg, SimpleNamespace(length=size.length, channels=1)).to(device)
    if not ours:
        prior = plain.plain_copy(plain.PlainMaskGIT, prior)
        tokenizer = plain.plain_copy(plain.PlainTokenizer, tokenizer)
    prior.eval(), tokenizer.eval()
    classes = torch.arange(size.prior_batch, device=device) % CLASSES
    generator = torch.Generator(device).manual_seed(0)
    settings = dict(steps=cfg.decoding_steps, choice_temperature=cfg.choice_temperature, generator=generator)
    run = lambda: tokenizer.decode(prior.sample(size.prior_batch, classes, **settings))
    return Contestant(run, run, size.prior_batch, "fp32")


def _fcn(_, variant, ours, size, device):
    cfg = _config(variant, size)
    x = _series(size.prior_batch, size.length, device)
    y = torch.arange(size.prior_batch, device=device) % CLASSES
    with initial_weights("bench", 2):
        fcn = FCN(CLASSES).to(device)
    settings = dict(lr=cfg.fcn_lr, weight_decay=cfg.fcn_weight_decay)
    if ours:
        engine = fcn_engine(
            fcn, x, y, **settings, batch_size=size.prior_batch, precision=cfg.fcn_precision, epochs=10_000
        )
        return _of_engine(engine, size.prior_batch)
    loss = lambda series, labels: F.cross_entropy(fcn(series), labels)
    return _of_training(fcn, lambda: (x, y), loss, size.prior_batch, settings)


_BUILDERS = {"augment": _augment, "stage 1": _stage_1, "stage 2": _stage_2, "sampling": _sampling, "FCN": _fcn}


def _of_engine(engine, batch):
    index = torch.arange(batch, device=engine.device)
    engine.module.train()
    if engine.device.type == "cuda":
        engine.capture()
    return Contestant(lambda: engine._run_step(index), lambda: engine.step(index), batch, engine.precision)


def _of_training(module, draw, loss, batch, settings):
    training = plain.PlainTraining(module, draw, loss, **settings)
    return Contestant(training.step, training.step, batch, "fp32")


def _series(n, length, device):
    return two_patterns(n, 4, length).x_train.to(device)
