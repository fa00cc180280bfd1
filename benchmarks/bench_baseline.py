"""The same computations written the way the reference implementation writes them: what `bench` compares with.

Augmentation series by series in numpy, D x D correlation matrices, every network called once per view, contiguous
convolutions, plain AdamW, the prior's whole batch at once with a fused attention call, two decoding passes where one
would do; all in fp32 and eager. Losses and gradients are the same as ours: tests/test_bench.py asserts that.

The baseline is faster than the authors' unchanged code, so a ratio to it understates what is gained over that code.
AGAINST_AUTHORS says what was measured against the latter.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

from ncvqvae_lite.prior import MaskGIT, mask_positions, prior_loss
from ncvqvae_lite.quantizer import sample_categorical
from ncvqvae_lite.timefreq import istft, stft
from ncvqvae_lite.tokenizer import Tokenizer, naive_loss, non_contrastive_loss

# Ours and theirs in alternating processes on one machine.
AGAINST_AUTHORS = (
    "The baseline is faster than the authors' unchanged code: the ratios understate the gain. Of that code's time\n"
    "(fp32, one thread, CPU time) ours takes 0.77 in stage 1 regular, 0.47 with barlowtwins-warp, 0.50 with\n"
    "vibcreg-gauss, 0.79 in stage 2, 0.46 in sampling with a class and 0.93 without."
)

# --- augmentations, one series (C, L) of numpy numbers at a time ---


def warp_series(x, start, factor, amplitude, ratio=0.4):
    """Window warp of x (C, L) from step `start`, then multiply by `amplitude`; linear resampling keeps both ends."""
    length = x.shape[1]
    window = max(round(ratio * length), 1)
    size = max(int(window * factor), 1)
    rows = []
    for row in x:
        warped = _resample(row[start : start + window], size)
        rows.append(_resample(np.concatenate([row[:start], warped, row[start + window :]]), length))
    return np.stack(rows) * amplitude


def slice_series(x, cuts, order):
    """Cut x (C, L) at the steps `cuts`, put the segments together in `order`."""
    segments = np.split(x, np.sort(cuts), axis=1)
    return np.concatenate([segments[i] for i in order], axis=1)


def _resample(row, size):
    return np.interp(np.linspace(0, len(row) - 1, size), np.arange(len(row)), row)


def _warp(x, rng):
    start = rng.integers(x.shape[1] - max(round(0.4 * x.shape[1]), 1))
    return warp_series(x, start, rng.uniform(0.9, 2.0), 1 + rng.normal(0, 0.2))


def _slice(x, rng):
    return slice_series(x, rng.integers(x.shape[1], size=3), rng.permutation(4))


def _gauss(x, rng):
    return x + rng.normal(0, 0.05, x.shape)


LOOPS = {"warp": _warp, "slice": _slice, "gauss": _gauss}


def view_in_loop(x, name, rng, zero_tail=True):
    """Augmented views of x (B, C, L): a Python loop over the series, with numpy; the tail zeroed as in Q9."""
    views = np.stack([LOOPS[name](series, rng) for series in x.cpu().numpy()])
    if zero_tail:
        views[..., x.shape[2] // 8 * 8 :] = 0
    return torch.as_tensor(views, dtype=x.dtype).to(x.device)


# --- losses with their D x D matrices ---


def barlow_twins_matrix(a, b, offdiagonal=0.005):
    """Barlow Twins loss of a, b (B, D) from the whole cross-correlation matrix."""
    a, b = ((z - z.mean(dim=0)) / (z.std(dim=0) + 1e-8) for z in (a, b))
    matrix = a.T @ b / len(a)  # (D, D)
    on_diagonal = (1 - matrix.diagonal()).square().sum()
    return (on_diagonal + offdiagonal * _off_diagonal(matrix).square().sum()) / a.shape[1]


def vibcreg_matrix(a, b, sim=25.0, var=25.0, cov=100.0):
    """VIbCReg loss of a, b (B, D) from the whole correlation matrix of each view."""
    hinge = sum(F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean() for z in (a, b))
    correlation = 0
    for z in (a, b):
        z = F.normalize(z - z.mean(dim=0), dim=0)
        correlation = correlation + _off_diagonal(z.T @ z).square().sum() / z.shape[1] ** 2
    return sim * F.mse_loss(a, b) + var * hinge + cov * correlation


def _off_diagonal(matrix):
    dim = len(matrix)
    return matrix.flatten()[:-1].view(dim - 1, dim + 1)[:, 1:].flatten()


# --- networks: the same parameters, another way through them ---


class PlainTokenizer(Tokenizer):
    """A Tokenizer whose convolutions see contiguous (B, C, F, W) pictures instead of channels-last ones."""

    def __init__(self, *args, **arguments):
        super().__init__(*args, **arguments)
        self.to(memory_format=torch.contiguous_format)

    def latents(self, x):
        return self.encoder.layers(stft(x, self.n_fft).contiguous())

    def generate(self, z):
        u = self.decoder.layers(z.contiguous())
        u = F.interpolate(u, size=(u.shape[2], self.decoder.frames), mode="bilinear", align_corners=True)
        return istft(u, self.out_length, self.n_fft), u


class PlainMaskGIT(MaskGIT):
    """A MaskGIT with a fused attention call and norms taken literally."""

    def forward(self, tokens, classes):
        h = self.embedding_norm(F.embedding(tokens, self.table) + self.positions[: self.n_tokens])
        h = self.to_width(torch.cat([F.embedding(classes, self.classes)[:, None], h], dim=1))  # (B, N+1, width)
        if self.extra_positions is not None:
            h = h + self.extra_positions * self.extra_positions.shape[1] ** -0.5
        for block in self.blocks:
            h = h + _attend(block.attention, _rms_norm(block.norm1, h))
            h = h + block.feed_forward(_rms_norm(block.norm2, h))
        h = self.pre_head(self.to_dim(_rms_norm(self.final_norm, h)))
        return self.head(h[:, 1:], self.table)

    def sample(self, n, class_index=None, **settings):
        """Guidance one rounding step above 1: both passes run at every step, with the result of one."""
        return super().sample(n, class_index, **settings | {"guidance": math.nextafter(1.0, 2.0)})


def _rms_norm(norm, x):
    return F.normalize(x, dim=-1) * x.shape[-1] ** 0.5 * norm.gain


def _attend(attention, x):
    batch, positions, _ = x.shape
    q, k, v = attention.qkv(x).view(batch, positions, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, scale=attention.scale)  # (B, heads, N, d)
    return attention.out(mixed.transpose(1, 2).flatten(2))


def plain_copy(kind, module):
    """The same weights in the baseline's class: `kind` is PlainTokenizer or PlainMaskGIT."""
    copy = kind(**module.arguments).to(next(module.parameters()).device)
    copy.load_state_dict(module.state_dict())
    return copy


# --- training steps ---


class PlainTraining:
    """One training: `step()` draws a batch, computes the loss, and moves every parameter by plain AdamW.

    draw   () -> tuple of batch tensors
    loss   (*tensors) -> scalar
    """

    def __init__(self, module, draw, loss, *, lr, weight_decay, total_steps=10_000):
        self.module, self.draw, self.loss = module.train(), draw, loss
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=lr, weight_decay=weight_decay, foreach=False, fused=False
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, total_steps)

    def step(self):
        self.optimizer.zero_grad()
        self.loss(*self.draw()).backward()
        self.optimizer.step()
        self.schedule.step()


def stage_1_loss(tokenizer, projector=None, ssl_loss=None, aug_recon=0.2, ssl_latents="mixed", quantise_view=False):
    """The loss of a batch and its view, (x, view) -> scalar; of the batch alone where there is no projector."""
    if projector is None:
        return lambda x: naive_loss(tokenizer, x).total

    def one_view_at_a_time(*views):
        return tuple(projector(view)[0] for view in views)

    return lambda x, view: (
        non_contrastive_loss(
            tokenizer, one_view_at_a_time, ssl_loss, x, view, aug_recon, ssl_latents, quantise_view
        ).total
    )


def prior_batch(prior, token_logits, classes, cfg, generator):
    """Tokens, conditions and mask of a stage-2 batch, drawn as in `training_prior.prior_engine`."""
    tokens = sample_categorical(token_logits, generator)
    dropped = torch.rand(len(tokens), device=tokens.device, generator=generator) < cfg.p_unconditional
    conditions = classes.masked_fill(dropped, prior.n_classes)
    settings = dict(polarity=cfg.mask_polarity, per_sample=cfg.t_per_sample, at_least=cfg.min_masked)
    mask = mask_positions(*tokens.shape, **settings, generator=generator, device=tokens.device)
    return tokens, conditions, mask


def stage_2_loss(prior, masked_only):
    """The loss of a stage-2 batch, (tokens, conditions, is_masked) -> scalar."""
    return lambda tokens, conditions, is_masked: prior_loss(prior, tokens, conditions, is_masked, masked_only)
