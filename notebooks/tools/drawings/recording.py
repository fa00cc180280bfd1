"""What the drawings show of a trained model: `python notebooks/tools/draw.py --record` (some minutes on a CPU).

A tokenizer and a prior are trained on TwoPatternsGenerated in the thesis' layout (5 rows, 8 frames, 32 codes), with
short trainings. What they make of one series, and how they draw another, goes into notebooks/drawings/recorded.json,
so that every drawing is made again without training.
"""

import json
import math

import torch

from ncvqvae_lite.augmentations import amplitude_resize, gaussian_noise, window_warp
from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.inference import batched
from ncvqvae_lite.prior import MaskGIT, n_masked_after
from ncvqvae_lite.quantizer import sample_categorical
from ncvqvae_lite.timefreq import stft
from ncvqvae_lite.tokenizer import Tokenizer
from ncvqvae_lite.training import train_prior, train_tokenizer

SET, SEED, CODES, STEPS = "TwoPatternsGenerated", 1, 32, 10
TEMPERATURE, GUIDANCE = 4.0, 1.5
SHOWN = 1  # class of the series that is taken apart and of the one that is drawn: a rise, then a fall
ENDINGS = 5  # ways in which a half-drawn series could still end


def record():
    """Everything that the drawings need of a model, as plain numbers (a dict for JSON)."""
    torch.manual_seed(SEED)
    ds = load_dataset(SET)
    mean, std = ds.x_train.mean(), ds.x_train.std(correction=0)
    x_train, x_test = (ds.x_train - mean) / std, (ds.x_test - mean) / std
    tokenizer = Tokenizer(ds.length, n_blocks=2, codebook_size=CODES, kmeans_init=True, expire_below=1.0)
    train_tokenizer(tokenizer, x_train, epochs=30, batch_size=64, seed=SEED)
    tokenizer.eval()
    prior = MaskGIT(tokenizer.n_tokens, CODES, ds.n_classes, dim=128, width=128, depth=3, zero_blocks=True)
    logits = batched(tokenizer.token_logits, x_train)
    train_prior(prior, logits, ds.y_train, epochs=60, batch_size=128, muon_times=10.0, seed=SEED)
    prior.eval()
    with torch.no_grad():
        return taken_apart(tokenizer, x_test, ds.y_test) | drawn_anew(tokenizer, prior)


def two_views(x):
    """Two views of a series (1, 1, L), made as in chapter 3 but with noise of 0.2 in place of 0.3."""
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(2):
        view = amplitude_resize(window_warp(x, generator=generator), generator=generator)
        yield rounded(gaussian_noise(view, std=0.2, generator=generator)[0, 0])


def taken_apart(tokenizer, x, y):
    """A test series, two views of it, its spectrogram, its tokens and what the decoder makes of them."""
    one = x[[int((y == SHOWN).nonzero()[0])]]  # (1, 1, L)
    tokens = tokenizer.encode(one)  # (1, N)
    return {
        "x": rounded(one[0, 0]),
        "views": list(two_views(one)),
        "spectrogram": rounded(stft(one)[0].norm(dim=0)),  # (F, W)
        "tokens": tokens.view(tokenizer.grid).tolist(),
        "x_hat": rounded(tokenizer.decode(tokens)[0, 0]),
    }


def drawn_anew(tokenizer, prior):
    """A new series while it is drawn: its tokens after each step (-1: hidden), and ways in which it could still end."""
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.full((1, prior.n_tokens), CODES)
    left = [prior.n_tokens, *n_masked_after(prior.n_tokens, STEPS)]
    steps, endings = [tokens], []
    for k in range(STEPS):
        many = tokens.expand(ENDINGS, -1)
        for j in range(k, STEPS):
            many = step(prior, many, j, left[j + 1], generator)
        endings.append(tokenizer.decode(many)[:, 0])
        tokens = step(prior, tokens, k, left[k + 1], generator)
        steps.append(tokens)
    grids = torch.cat(steps).view(-1, *tokenizer.grid)
    return {
        "steps": torch.where(grids == CODES, -1, grids).tolist(),  # (T + 1, F, W')
        "endings": [[rounded(s) for s in series] for series in endings],  # (T, ENDINGS, L)
        "drawn": rounded(tokenizer.decode(tokens)[0, 0]),
    }


def step(prior, tokens, k, left, generator):
    """One step of `MaskGIT.sample`, which cannot start half-drawn: fill, then hide the `left` least sure ones again."""
    hidden, classes = tokens == CODES, torch.full((len(tokens),), SHOWN)
    null = prior(tokens, torch.full_like(classes, prior.n_classes))
    logits = null + GUIDANCE * (prior(tokens, classes) - null)
    tokens = torch.where(hidden, sample_categorical(logits, generator), tokens)
    p = logits.softmax(dim=-1).gather(-1, tokens[..., None])[..., 0]
    noise = -torch.empty_like(p).exponential_(generator=generator).log()
    confidence = torch.log(p + 1e-5) + TEMPERATURE * (1 - (k + 1) / STEPS) * noise
    rank = confidence.masked_fill(~hidden, math.inf).argsort(dim=1).argsort(dim=1)
    return torch.where(rank < left, CODES, tokens)


def rounded(values):
    """A tensor as nested lists with two decimals."""
    return [rounded(v) for v in values] if values.dim() > 1 else [round(float(v), 2) for v in values]


def write(file):
    """Train, and write what the drawings need to the JSON file."""
    lines = ",\n".join(f'"{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in record().items())
    file.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
