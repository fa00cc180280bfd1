"""What stands in for the noise that no token carries: three kinds compared.  `python benchmarks/search_noise.py RUNS`

RUNS is the folder that `search.py` filled. For the tokenizer of the trial `preset` on every set there: test series,
after tokens and back, with each kind of noise, against the test series themselves. Rows go to `search_noise.csv`.

none      the decoder's smooth series
pieces    residuals of train series by code (`residuals.ResidualPieces`)
white     Gaussian noise with the residuals' deviation by code and step
learned   Gaussian noise with a deviation for each step that a small network reads from the latents (beta-NLL would be
          the same network trained with the decoder; here the decoder is left as it is)
"""

import argparse
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import search
import torch
from torch import nn
from torch.nn import functional as F

from ncvqvae_lite import ExperimentConfig
from ncvqvae_lite.evaluation import KernelSpace, nearest_train
from ncvqvae_lite.experiment_fcn import fcn_stage
from ncvqvae_lite.experiment_noise import noise_stage
from ncvqvae_lite.experiment_stages import Session, scale
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_weights import find_weights
from ncvqvae_lite.files import write_csv
from ncvqvae_lite.inference import batched
from ncvqvae_lite.metrics import frechet_distance
from ncvqvae_lite.residuals import ResidualPieces
from ncvqvae_lite.tokenizer import load_tokenizer

TABLE = Path(__file__).with_name("search_noise.csv")
STEPS = 400


def pieces(tokenizer, x_train):
    found = ResidualPieces.of(tokenizer, x_train)
    return lambda tokens, generator: found.draw(tokens, generator)


def white(tokenizer, x_train):
    """By code and step: the root mean square of its residual pieces, shrunk to that of all by two pieces."""
    found = ResidualPieces.of(tokenizer, x_train)
    codes = torch.repeat_interleave(torch.arange(len(found.counts)), found.counts)
    squares = torch.zeros(len(found.counts), *found.pieces.shape[1:]).index_add_(0, codes, found.pieces.square())
    overall = found.pieces.square().mean(dim=0)
    deviation = ((squares + 2 * overall) / (found.counts[:, None, None] + 2)).sqrt()  # (K, C, P)
    smooth = ResidualPieces(1, *found.pieces.shape[1:], 1, 1, len(deviation))
    smooth.pieces, smooth.counts = deviation, torch.ones_like(found.counts)
    smooth.rows, smooth.frames, smooth.length = found.rows, found.frames, found.length

    def draw(tokens, generator):
        return smooth.draw(tokens) * torch.randn(len(tokens), found.pieces.shape[1], found.length, generator=generator)

    return draw


def learned(tokenizer, x_train):
    """log deviation by step from the latents of the tokens: two convolutions, maximum likelihood of the residuals."""
    tokens = batched(tokenizer.encode, x_train)
    residuals = x_train - batched(tokenizer.decode, tokens)
    torch.manual_seed(0)
    dim, channels = tokenizer.codebook.shape[1], x_train.shape[1]
    net = nn.Sequential(nn.Conv1d(dim, 64, 3, padding=1), nn.GELU(), nn.Conv1d(64, channels * 8, 1))

    def log_deviation(tokens):
        z = tokenizer.quantizer.decode(tokens.view(-1, *tokenizer.grid))[:, :, 0]  # (B, D, W')
        fine = net(z).unflatten(1, (channels, 8)).transpose(2, 3).flatten(2)  # (B, C, 8 W')
        return F.interpolate(fine, size=residuals.shape[2], mode="linear", align_corners=True)

    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(STEPS):
        rows = torch.randint(len(tokens), (64,))
        log_s = log_deviation(tokens[rows]).clamp(min=math.log(1e-3))
        loss = (log_s + 0.5 * (residuals[rows] / log_s.exp()).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def draw(tokens, generator):
        shape = (len(tokens), channels, residuals.shape[2])
        return log_deviation(tokens).exp() * torch.randn(shape, generator=generator)

    return draw


KINDS = {
    "none": lambda tokenizer, x: lambda tokens, generator: 0.0,
    "pieces": pieces,
    "white": white,
    "learned": learned,
}


def log_spectrum(x):
    """Mean log power of each frequency over series (n, C, L)."""
    return (torch.fft.rfft(x).abs().square().mean(dim=(0, 1)) + 1e-6).log()


def compare(name, seed, runs):
    """One row for each kind of noise."""
    ds = search.data_set(name)
    scaled = scale(ds, torch.device("cpu"))
    cfg = ExperimentConfig.preset("improved", dataset=ds.name, seed=seed)
    tokenizer = load_tokenizer(cfg.tokenizer_folder(runs))
    weights, session = find_weights(ds.name), Session(runs, torch.device("cpu"))
    fcn = FCN.load(weights) if weights else fcn_stage(cfg, ds, scaled, session)[0]
    space, test = KernelSpace(scaled.x_train), scaled.x_test
    tokens = batched(tokenizer.encode, test)
    plain = batched(tokenizer.decode, tokens)
    with_pieces = noise_stage(cfg, scaled, tokenizer, runs)[0] is not None
    for kind, make in KINDS.items():
        x = plain + make(tokenizer, scaled.x_train)(tokens, torch.Generator().manual_seed(0))
        values = {
            "fid_fcn": frechet_distance(batched(fcn.features, test), batched(fcn.features, x)),
            "fid_kernels": frechet_distance(space.features(test), space.features(x)),
            "log_spectrum": (log_spectrum(x) - log_spectrum(test)).abs().mean().item(),
            "nearest_train": nearest_train(x, test, scaled.x_train).auc,
        }
        chosen = "pieces" if with_pieces else "none"
        row = {"set": name, "seed": seed, "noise": kind} | {k: format(v, ".4g") for k, v in values.items()}
        yield row | {"rule": "chosen" if kind == chosen else ""}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--sets", nargs="+", default=[*search.GENERATED, "ECG5000Fold", "WaferFold"])
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [row for name in given.sets for row in compare(name, given.seed, given.runs / name)]
    for row in rows:
        print(row)
    write_csv(TABLE, rows)


if __name__ == "__main__":
    sys.exit(main())
