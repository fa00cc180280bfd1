"""What `bench` measures, ours and the baseline's way to the same, and how: in turn, with the peak memory of each."""

import functools
import math
import sys
import time
from types import SimpleNamespace
from typing import NamedTuple

import bench_baseline as plain
import numpy as np
import torch
import torch._dynamo  # the first optimiser loads it, for seconds; loaded here, child processes share it
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.experiment_stages import initial_weights
from ncvqvae_lite.experiment_tokenizer import branch_of, new_tokenizer, view_of
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.numerics import training_numerics
from ncvqvae_lite.prior import MaskGIT
from ncvqvae_lite.training import fcn_engine, prior_engine, tokenizer_engine

BF16 = {"precision": "bf16", "prior_precision": "bf16", "fcn_precision": "bf16"}
VARIANTS = {"paper": ("paper", {}), "paper bf16": ("paper", BF16), "improved": ("improved", {})}
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
QUICK = Size(32, 16, 128, 500, 0.5, 2, {"projector_width": 256})


class Contestant(NamedTuple):
    run: object  # () -> anything; what is timed
    eager: object  # the same without captured graphs, for counting its arithmetic
    series: int  # that one run handles
    precision: str


def contestant(task, variant, ours, size, device):
    """Build one contestant: ours, or the baseline's way to the same.

    task     "augment NAME", "stage 1 METHOD-AUGMENTATION" or "stage 1 regular", "stage 2 HEAD", "sampling HEAD",
             "FCN step"
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
        views = [view_of(cfg) for cfg in configs]
        return _of_function(lambda: [view(x, generator=generator) for view in views], size.batch)
    rng = np.random.default_rng(0)
    return _of_function(
        lambda: [plain.view_in_loop(x, cfg.augmentation, rng, cfg.zero_tail) for cfg in configs], size.batch
    )


def _stage_1(arm, variant, ours, size, device):
    method, _, augmentation = arm.partition("-")
    cfg = _config(variant, size, method, augmentation or "none")
    x = _series(size.batch, size.length, device)
    with initial_weights("bench", 0):
        tokenizer = new_tokenizer(cfg, SimpleNamespace(length=size.length, channels=1)).to(device)
        branch = None if method == "regular" else branch_of(cfg, device)
    settings = dict(lr=cfg.lr, weight_decay=cfg.weight_decay)
    if ours:
        engine = tokenizer_engine(
            tokenizer, x, branch, **settings, batch_size=size.batch, precision=cfg.precision, epochs=10_000
        )
        return _of_engine(engine, size.batch)
    tokenizer = plain.plain_copy(plain.PlainTokenizer, tokenizer)
    if branch is None:
        return _of_training(tokenizer, lambda: (x,), plain.stage_1_loss(tokenizer), size.batch, settings)
    loss = plain.stage_1_loss(tokenizer, branch.projector, plain_ssl_loss(cfg), **branch.options)
    modules = torch.nn.ModuleDict({"tokenizer": tokenizer, "projector": branch.projector})
    rng = np.random.default_rng(0)
    return _of_training(
        modules, lambda: (x, plain.view_in_loop(x, augmentation, rng, cfg.zero_tail)), loss, size.batch, settings
    )


def plain_ssl_loss(cfg):
    """The baseline's weighted non-contrastive loss of a configuration, (a, b) -> scalar."""
    if cfg.method == "barlowtwins":
        return lambda a, b: cfg.barlow_weight * plain.barlow_twins_matrix(a, b, cfg.barlow_offdiagonal)
    weights = dict(sim=cfg.vibcreg_sim, var=cfg.vibcreg_var, cov=cfg.vibcreg_cov)
    return lambda a, b: cfg.vibcreg_weight * plain.vibcreg_matrix(a, b, **weights)


def _prior(head, variant, size, device):
    cfg = _config(variant, size, head=head)
    with initial_weights("bench", 1):
        sizes = {name: getattr(cfg, f"prior_{name}") for name in ("dim", "width", "depth", "heads")}
        prior = MaskGIT(40, cfg.codebook_size, CLASSES, head=head, extra_positions=cfg.extra_positions, **sizes)
    return cfg, prior.to(device)


def _stage_2(head, variant, ours, size, device):
    cfg, prior = _prior(head, variant, size, device)
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(size.prior_batch, 40, cfg.codebook_size, generator=generator).to(device)
    classes = torch.randint(CLASSES, (size.prior_batch,), generator=generator).to(device)
    settings = dict(lr=cfg.prior_lr, weight_decay=cfg.prior_weight_decay)
    if ours:
        settings |= dict(batch_size=size.prior_batch, precision=cfg.prior_precision, epochs=10_000)
        names = ("t_per_sample", "masked_only", "min_masked", "p_unconditional")
        settings |= {"polarity": cfg.mask_polarity} | {name: getattr(cfg, name) for name in names}
        return _of_engine(prior_engine(prior, logits, classes, **settings), size.prior_batch)
    prior = plain.plain_copy(plain.PlainMaskGIT, prior)
    generator = torch.Generator(device).manual_seed(0)
    loss = plain.stage_2_loss(prior, cfg.masked_only)
    draw = functools.partial(plain.prior_batch, prior, logits, classes, cfg, generator)
    return _of_training(prior, draw, loss, size.prior_batch, settings)


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
    return _of_function(lambda: tokenizer.decode(prior.sample(size.prior_batch, classes, **settings)), size.prior_batch)


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
    return _of_training(fcn, lambda: (x, y), lambda *b: F.cross_entropy(fcn(b[0]), b[1]), size.prior_batch, settings)


_BUILDERS = {"augment": _augment, "stage 1": _stage_1, "stage 2": _stage_2, "sampling": _sampling, "FCN": _fcn}


def _of_engine(engine, batch):
    index = torch.arange(batch, device=engine.device)
    engine.module.train()
    if engine.device.type == "cuda":
        engine.capture()
    return Contestant(lambda: engine._run_step(index), lambda: engine.step(index), batch, engine.precision)


def _of_function(run, batch):
    return Contestant(run, run, batch, "fp32")


def _of_training(module, draw, loss, batch, settings):
    training = plain.PlainTraining(module, draw, loss, **settings)
    return Contestant(training.step, training.step, batch, "fp32")


def _series(n, length, device):
    return two_patterns(n, 4, length).x_train.to(device)


# --- measuring ---


def _prepare(threads, device):
    torch.set_num_threads(threads)
    return training_numerics(torch.device(device))


def clock(threads, device):
    """The clock of a measurement, in seconds: CPU time for one thread on a CPU, else wall-clock time."""
    if device == "cpu" and threads == 1:
        return time.process_time
    return time.perf_counter


def timed(run, now, device, at_least=0.0):
    """Seconds of one call of `run`, averaged over as many calls as fill `at_least` seconds."""
    calls, start = 0, now()
    while True:
        run()
        calls += 1
        if device != "cpu":
            torch.cuda.synchronize()
        elapsed = now() - start
        if elapsed >= at_least:
            return elapsed / calls


def matmul_rates(threads, device, size=1536):
    """Matrix-product rate of this machine in GFLOP/s by format (TF32 for fp32 on a GPU): the best of ten products."""
    with _prepare(threads, device):
        size = size if device == "cpu" else 8192
        now, rates = clock(threads, device), {}
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            a = torch.randn(size, size, device=device).to(dtype)
            seconds = min(timed(lambda a=a: a @ a, now, device, 0.02) for _ in range(10))
            rates[name] = 2 * size**3 / seconds / 1e9
    return rates


def race(task, variants, size, threads, device):
    """Time the variants' own contestants and the first variant's baseline in turn; one dict for each of ours."""
    with _prepare(threads, device):
        runners = [contestant(task, variant, True, size, device) for variant in variants]
        runners.append(contestant(task, variants[0], False, size, device))
        gflop = [_gflop(c.eager) for c in runners]  # the first of two warm-up calls
        now = clock(threads, device)
        for_one_round = sum(timed(c.run, now, device) for c in runners)
        rounds = max(size.rounds, min(15, int(size.seconds / for_one_round)))
        at_least = 0.02 if for_one_round < 0.2 else 0.0
        seconds = np.array([[timed(c.run, now, device, at_least) for c in runners] for _ in range(rounds)])  # (R, n)
    rows = []
    for i, (variant, c) in enumerate(zip(variants, runners[:-1], strict=True)):
        row = {"task": task, "variant": variant, "precision": c.precision, "rounds": rounds, "gflop": gflop[i]}
        row |= {"ms": _quartiles(1e3 * seconds[:, i])}
        row |= {"series_per_second": c.series / float(np.median(seconds[:, i]))}
        row |= {"baseline_gflop": gflop[-1], "baseline_ms": _quartiles(1e3 * seconds[:, -1])}
        rows.append(row | {"speed_up": _quartiles(seconds[:, -1] / seconds[:, i])})
    return rows


def _gflop(run):
    """Arithmetic of one call in GFLOP: matrix products and convolutions, a multiply-add counted as 2."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def _quartiles(values):
    """(median, lower, upper quartile)."""
    return [float(v) for v in np.percentile(values, [50, 25, 75])]


def empty_memory(device):
    """Peak memory in MB of a process that only imports what the others do."""
    return _peak_mb(device)


def peak_memory(task, variant, ours, size, threads, device):
    """Peak memory of a process (of the device, on a GPU) that builds one contestant and runs it twice, in MB."""
    with _prepare(threads, device):
        runner = contestant(task, variant, ours, size, device)
        runner.run(), runner.run()
    return _peak_mb(device)


def _peak_mb(device):
    if device != "cpu":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 1e6
    if sys.platform == "win32":
        return math.nan
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
