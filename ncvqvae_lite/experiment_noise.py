"""Whether samples get pieces of what tokens left over: decided on train series, before anything is sampled."""

import torch

from .evaluation.kernels import KernelSpace
from .experiment_samples import batched_decode
from .inference import batched
from .metrics import frechet_distance
from .residuals import ResidualPieces

FEWEST = 20  # train series: with fewer the halves tell nothing, and the rule adds none


def noise_stage(cfg, scaled, tokenizer, folder):
    """The ResidualPieces of a cell, saved in its folder, or None; and what was measured, as metrics.

    By rule they are used where they bring reconstructions of one half of the train series, with pieces of the other
    half, nearer to the originals: by the Frechet distance of random-kernel features, which need neither labels nor a
    feature net and see flat pieces as well as rough ones.
    """
    metrics = {}
    if cfg.noise == "none" or (cfg.noise == "by rule" and len(scaled.x_train) < FEWEST):
        return None, metrics
    if cfg.noise == "by rule":
        smooth, noisy = distances_without_and_with(tokenizer, scaled.x_train)
        metrics = {"noise_distance_without": smooth, "noise_distance_with": noisy, "noise": float(noisy < smooth)}
        if noisy >= smooth:
            return None, metrics
    if (folder / "residuals.safetensors").exists():
        return ResidualPieces.load(folder).to(scaled.x_train.device), metrics
    pieces = ResidualPieces.of(tokenizer, scaled.x_train)
    pieces.save(folder)
    return pieces, metrics


def distances_without_and_with(tokenizer, x):
    """Frechet distances of a half of series x (n, C, L) to its reconstructions, plain and with pieces of the other."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).to(x.device)
    giving, held = x[order[::2]], x[order[1::2]]
    pieces = ResidualPieces.of(tokenizer, giving)
    tokens = batched(tokenizer.encode, held)
    plain = batched_decode(tokenizer, tokens)
    noisy = plain + pieces.draw(tokens, torch.Generator(x.device).manual_seed(0))
    space = KernelSpace(giving[..., : tokenizer.out_length])
    real = space.features(held[..., : tokenizer.out_length])
    return tuple(frechet_distance(real, space.features(x)) for x in (plain, noisy))
