"""The rule for noise: do samples get pieces of what tokens left over? Decided on train series, before sampling."""

import numpy as np
import torch

from .evaluation.kernels import KernelSpace
from .experiment_samples import batched_decode
from .inference import batched
from .metrics import frechet_distance
from .residuals import ResidualPieces

FEWEST = 20  # train series: with fewer the halves tell nothing, and the rule adds none
HALVINGS = 10  # ways in which the train series are cut in two


def noise_stage(cfg, scaled, tokenizer, folder):
    """The ResidualPieces of a cell, saved in its folder, or None; and what was measured, as metrics.

    By rule, pieces are used if those of one half of the train series bring reconstructions of the other half nearer
    to the originals, by the Frechet distance of random-kernel features (which need neither labels nor a
    feature net and see flat pieces as well as rough ones): on average over ten halvings, by more than two
    standard errors of the mean difference (as if the halvings were independent, which they are not quite).
    """
    metrics = {}
    if cfg.noise == "none" or (cfg.noise == "by rule" and len(scaled.x_train) < FEWEST):
        return None, metrics
    if cfg.noise == "by rule":
        distances = distances_without_and_with(tokenizer, scaled.x_train)  # (HALVINGS, 2)
        without, with_pieces = distances.mean(axis=0)
        gain = distances[:, 0] - distances[:, 1]
        error = gain.std(ddof=1) / len(gain) ** 0.5
        metrics = {"noise_distance_without": without, "noise_distance_with": with_pieces, "noise_gain_error": error}
        metrics = {name: float(value) for name, value in metrics.items()} | {"noise": float(gain.mean() > 2 * error)}
        if not metrics["noise"]:
            return None, metrics
    if (folder / "residuals.safetensors").exists():
        return ResidualPieces.load(folder).to(scaled.x_train.device), metrics
    pieces = ResidualPieces.of(tokenizer, scaled.x_train)
    pieces.save(folder)
    return pieces, metrics


def distances_without_and_with(tokenizer, x):
    """Frechet distances of a half of series x (n, C, L) to its reconstructions, plain and with pieces of the other.

    returns (HALVINGS, 2) array
    """
    tokens = batched(tokenizer.encode, x)
    plain, original = batched_decode(tokenizer, tokens), x[..., : tokenizer.out_length]
    space = KernelSpace(original)
    real, smooth = space.features(original), space.features(plain)
    draws, distances = torch.Generator(x.device).manual_seed(0), []
    for order in np.random.default_rng(0).permuted(np.tile(np.arange(len(x)), (HALVINGS, 1)), axis=1):
        giving, held = order[::2], order[1::2]
        pieces = ResidualPieces.of(tokenizer, x[giving])
        noisy = space.features(plain[held] + pieces.draw(tokens[held], draws))
        distances.append([frechet_distance(real[held], features) for features in (smooth[held], noisy)])
    return np.array(distances)
