# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Stage 1: the tokenizer
#
# Spectrogram, quantizer, non-contrastive losses and views together make a network that turns a series into 40 tokens and
# back. It can be trained to copy, or to copy *and* to recognise a series behind a view. Does the second job change what
# the tokens say, and what does it cost the copy?
#
# - **Goals**: after it you can build the encoder and the decoder; say how many tokens a series gets and how much of it
#   each token has seen; write the whole loss, term by term; read probes, maps of latents and token histograms, and say
#   what the probes cannot see; choose the geometry of the tokens by bits and arithmetic; give a copy back the noise
#   that no token can carry
# - **Before**: chapters 1 to 4 (spectrogram, quantizer, losses, views). Who knows VQ-VAEs skips "Encoder and decoder" but
#   not the gradient figure at its end; who knows SSL reads of "A second job" the formula and the sentence below it
# - **Time**: 90 seconds of computing
# - **Data**: TwoPatternsGenerated, made by the package; the authors' own per-run numbers and our recorded runs, which
#   ship with it
# - **Answers**: the thesis (Mathisen 2024, stage 1 of NC-VQVAE, [arXiv 2408.16613](https://arxiv.org/abs/2408.16613))
#   says that non-contrastive losses make the classes easier to read from the tokens at little cost in reconstruction

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
import torch

from ncvqvae_lite import nb, plots
from ncvqvae_lite.names import METHODS

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(
    preset,
    seed,
    n_fft=8,  # this and the next three as in the thesis
    width=8,  # frames of the latent grid, nominally
    dim=64,  # D, width of a latent
    codes=32,  # K
    n_blocks=(2, 4),  # residual blocks of encoder and decoder each
    projector=(256, 4096),  # width of the projections
    groups=(16, 64),  # of the projections, whitened separately (chapter 3)
    train_series=(500, 1000),
    test_series=(500, 4000),
    batch=(64, 128),
    epochs=(12, 1000),
    fold_epochs=(18, 1000),  # of the tokenizers with a token for each frame
    aug_recon=0.2,  # weight of the view's reconstruction
)

# %% [markdown]
# ![](drawings/nc_vqvae.svg)
#
# The whole of NC-VQVAE in one picture. Stage 1 is this chapter, stage 2 is the next.

# %% [markdown]
# ## The series
#
# TwoPatterns: noise, and in it two patterns, each a *fall* or a *rise* (chapter 3). Two of the four classes have two
# patterns alike; the other two have one of each, and only the *order* tells them apart. From here on classes go by their names in the archive, 1 to 4;
# chapters 1 and 3 numbered them from 0. So class 1 is fall and fall, 4 is rise and rise, and 2 and 3 are the mixed ones. Series are scaled as everywhere:
# minus the mean of the train split, divided by its standard deviation.

# %%
from ncvqvae_lite.data import load_dataset

ds = load_dataset("TwoPatternsGenerated")
mean, std = ds.x_train.mean(), ds.x_train.std(correction=0)
x_train, y_train = ((ds.x_train - mean) / std)[: cfg.train_series], ds.y_train[: cfg.train_series]
x_test, y_test = ((ds.x_test - mean) / std)[: cfg.test_series], ds.y_test[: cfg.test_series]
print(f"{len(x_train)} train and {len(x_test)} test series, {ds.length} steps, classes {', '.join(ds.class_names)}")

# %% [markdown]
# ## How many tokens?
#
# The spectrogram of a series of $L$ steps has $F = n_{fft}/2 + 1$ rows and $L / hop + 1$ frames (chapter 1). The encoder
# keeps the rows and halves the frames $m$ times, until about 8 are left. The reference finds $m$ so: nominal rate
# $r = L / (\log_2 n_{fft} - 1) / 8$, rounded, and $m$ is the whole part of $\log_2 r$, at least 1. For $n_{fft} = 8$ the bracket
# is 2, the hop. Rounding down has a consequence: of a longer series between 7 and 15 frames are left, not 8.


# %%
import math


def latent_grid(length, n_fft=8, width=8):
    """Rows and frames of the latent grid of a series of `length` steps."""
    frames = length // (n_fft // 4) + 1
    rate = round(length / (math.log2(n_fft) - 1) / width)  # by how much frames should shrink
    halvings = max(1, int(math.log2(max(1, rate))))  # down to a power of two
    return n_fft // 2 + 1, frames // 2**halvings


lengths = {"SonyAIBORobotSurface2": 65, "TwoPatterns": 128, "Symbols": 398, "FordA": 500, "StarLightCurves": 1024}
for name, length in lengths.items():
    rows, frames = latent_grid(length, cfg.n_fft, cfg.width)
    bits = rows * frames * math.log2(cfg.codes)
    print(
        f"{name:22} {length:5} steps -> {rows} x {frames:2} = {rows * frames:2} tokens, {bits / length:.2f} bits a step"
    )

# %% tags=["nbval-check-output"]
from ncvqvae_lite.tokenizer import Tokenizer

with torch.device("meta"):  # shapes only, no weights
    grids = {n: Tokenizer(n).grid for n in range(16, 1100, 4)}
nb.check("lengths 16, 20 to 1096 where the grid differs", sum(latent_grid(n) != g for n, g in grids.items()), 0)
nb.check("tokens of a TwoPatterns series", math.prod(grids[128]), 40)
nb.check(
    "fewest and most frames from 128 steps on",
    [f([g[1] for n, g in grids.items() if n >= 128]) for f in (min, max)],
    [7, 15],
)

# %% [markdown]
# ## Encoder and decoder
#
# A *halving* is a convolution that takes every second frame and sees 3 rows and 4 frames; the first one turns the 2
# channels of the spectrogram (real, imaginary) into $D = 64$. A *residual block* adds something to what it is given:
# $h + f(h)$. The decoder is the mirror image, with transposed convolutions that double the frames. It doubles once more
# than the encoder halved, and a bilinear resampling then hits the right number of frames.


# %%
from torch import nn


def halving(channels, dim):
    conv = nn.Conv2d(channels, dim, (3, 4), stride=(1, 2), padding=(1, 1), padding_mode="replicate")
    return [conv, nn.BatchNorm2d(dim), nn.LeakyReLU()]


def doubling(channels, dim):
    return nn.ConvTranspose2d(channels, dim, (3, 4), stride=(1, 2), padding=(1, 1))


class Residual(nn.Module):
    def __init__(self, dim, norm):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(dim, dim, 3, padding=1), nn.Conv2d(dim, dim, 1)
        self.norm = nn.BatchNorm2d(dim) if norm else nn.Identity()

    def forward(self, h):
        inner = nn.functional.leaky_relu(self.norm(self.conv1(nn.functional.leaky_relu(h))))
        return h + self.conv2(inner)


# %%
def build_encoder(dim, halvings, blocks):
    """Spectrogram (B, 2, F, W) -> latents (B, D, F, W / 2^halvings)."""
    layers = halving(2, dim)
    for _ in range(halvings - 1):
        layers += halving(dim, dim)
    for _ in range(blocks):
        layers += [Residual(dim, norm=True), nn.BatchNorm2d(dim)]
    return nn.Sequential(*layers)


def build_decoder(dim, halvings, blocks):
    """Latents (B, D, F, W') -> (B, 2, F, 2 W' 2^halvings), still to be resampled."""
    layers = []
    for _ in range(blocks):
        layers += [Residual(dim, norm=False), nn.BatchNorm2d(dim)]
    for _ in range(halvings - 1):
        layers += [doubling(dim, dim), nn.BatchNorm2d(dim), nn.LeakyReLU()]
    return nn.Sequential(*layers, doubling(dim, 2), doubling(2, 2))


# %% [markdown]
# [`ncvqvae_lite/tokenizer.py`](../ncvqvae_lite/tokenizer.py) has the package's version. We give ours its weights and
# send 16 series through both, in the order: spectrogram, encoder, nearest codes, decoder, resampling, inverse spectrogram.

# %%
from ncvqvae_lite.timefreq import istft, stft


def new_tokenizer():
    """A tokenizer with fresh weights, the same ones in every call."""
    torch.manual_seed(cfg.seed)
    return Tokenizer(
        ds.length, n_fft=cfg.n_fft, width=cfg.width, dim=cfg.dim, n_blocks=cfg.n_blocks, codebook_size=cfg.codes,
        kmeans_init=True, expire_below=1.0,
    )  # fmt: skip


# %%
tokenizer, halvings = new_tokenizer(), 3
encoder = build_encoder(cfg.dim, halvings, cfg.n_blocks)
decoder = build_decoder(cfg.dim, halvings, cfg.n_blocks)
encoder.load_state_dict(tokenizer.encoder.layers.state_dict())
decoder.load_state_dict(tokenizer.decoder.layers.state_dict())

x = x_train[:16]  # (B, C, L)
u = stft(x, cfg.n_fft)  # (B, 2, F, W)
z = encoder(u)  # (B, D, F, W')
tokens = torch.cdist(z.movedim(1, -1).flatten(0, 2), tokenizer.quantizer.codebook).argmin(dim=1)  # (B*F*W',)
z_q = tokenizer.quantizer.codebook[tokens].view(*z[:, 0].shape, -1).movedim(-1, 1)  # (B, D, F, W')
doubled = decoder(z_q)  # (B, 2, F, 2 W' 2^m)
u_hat = nn.functional.interpolate(doubled, u.shape[2:], mode="bilinear", align_corners=True)
x_hat = istft(u_hat, ds.length, cfg.n_fft)
for name, value in dict(x=x, u=u, z=z, z_q=z_q, doubled=doubled, u_hat=u_hat, x_hat=x_hat).items():
    print(f"{name:8} {tuple(value.shape)}")

# %% tags=["nbval-check-output"]
fresh = new_tokenizer().train()  # train mode, as ours: BatchNorm takes the statistics of the batch
fresh.quantizer.needs_init = False  # no k-means yet: we compare with the first, random codes
theirs = fresh.latents(x)
series, spectrogram = fresh.generate(fresh.quantizer(theirs).z_q)
nb.check("latents: by hand and package", z, theirs, rtol=1e-4, atol=1e-4)
nb.check("spectrogram: by hand and package", u_hat, spectrogram, rtol=1e-4, atol=1e-4)
nb.check("series: by hand and package", x_hat, series, rtol=1e-4, atol=1e-4)
nb.check("grid of latents (F, W')", z.shape[2:], latent_grid(128))
count = sum(p.numel() for p in encoder[0].parameters())
nb.check("weights of the first halving: 3 x 4 x 2 x 64 + 64", count, 1600)

# %% [markdown]
# ### How much of the series has a token seen?
#
# It is tempting to think that a token stands for its eighth of the series. Ask: which steps change the latents
# of one frame? The gradient of a latent with respect to the *series* answers exactly. Where it is 0, nothing can reach
# the latent. We take frame 4 behind the halvings only and behind the whole encoder, and the first frame, in eval mode.
# (In train mode BatchNorm mixes the batch, and every series reaches every latent.)


# %%
def reach(layers, frame=4):
    """(L,) size of the gradient of one frame's latents with respect to each step of the series."""
    series = x[:8].clone().requires_grad_()
    latents = layers.eval()(stft(series, cfg.n_fft))  # (B, D, F, W')
    weights = torch.randn(latents[..., frame].shape, generator=torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad((weights * latents[..., frame]).sum(), series)
    return slope.abs().mean(dim=(0, 1))  # (B, C, L) -> (L,)


whole, halved = encoder, encoder[: 3 * halvings]
reaches = {
    "halvings only, frame 4": reach(halved),
    "whole encoder, frame 4": reach(whole),
    "whole encoder, frame 0": reach(whole, 0),
}
encoder.train()
fig, axes = plots.figure(1, 1, height=3.2)
ax = axes[0, 0]
ax.axvspan(64, 79, color=plots.PALE, alpha=0.6, linewidth=0, label="steps 64 to 79: the eighth of frame 4")
for (name, slope), colour in zip(reaches.items(), ("#0072B2", "#D55E00", "#009E73")):
    slope = slope / slope.max()
    ax.plot(torch.where(slope > 0, slope, torch.nan), color=colour, linewidth=2, label=name)
ax.set(yscale="log", xlabel=plots.STEPS, ylabel="gradient (log)")
fig.legend(loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
steps = {name: int((slope > 0).sum()) for name, slope in reaches.items()}
field = 1 + 3 * (1 + 2 + 4)  # frames: each halving adds 3 frames of the width that frames have by then
nb.check(
    "steps: (frames - 1) x hop + window - 1 (its first value is 0)",
    steps["halvings only, frame 4"],
    (field - 1) * 2 + 7,
)
nb.check("steps that reach frame 4, whole encoder", steps["whole encoder, frame 4"], low=100, high=128)
nb.check("steps that reach frame 0, whole encoder", steps["whole encoder, frame 0"], low=60, high=128)

# %% [markdown]
# The halvings see 49 steps; each residual block adds another 16 frames of the spectrogram. With two blocks, nearly the whole
# series reaches a token in the middle, and half of it a token at an end; with the thesis' four blocks it is more. So a token
# *may* say something about other parts of the series, if the loss asks for it. Keep this in mind for the probes.
#
# ## The loss of the naive tokenizer
#
# Copy, in time and in frequency, and keep the latents near their codes (chapter 2):
#
# $$\mathcal{L}_{VQ} = \mathrm{MSE}(x, \hat x) + \mathrm{MSE}(u, \hat u) + \beta\,\|z - \mathrm{sg}[z_q]\|^2 .$$
#
# All three are means over all entries. One way of training is an *arm* of the comparison. The arm with this loss alone is
# *naive* (`regular` in code, and in the thesis' tables).

# %%
mse = nn.functional.mse_loss
z_st = z + (z_q - z).detach()  # straight-through (chapter 2): the value of z_q, the gradient goes to z
u_hat = nn.functional.interpolate(decoder(z_st), u.shape[2:], mode="bilinear", align_corners=True)
x_hat = istft(u_hat, ds.length, cfg.n_fft)
by_hand = {"time": mse(x_hat, x), "spectrum": mse(u_hat, u), "commitment": mse(z, z_q.detach())}
print({name: round(value.item(), 3) for name, value in by_hand.items()})

# %% tags=["nbval-check-output"]
from ncvqvae_lite.tokenizer import naive_loss

fresh = new_tokenizer().train()
fresh.quantizer.needs_init = False
loss = naive_loss(fresh, x)
for name, value in by_hand.items():
    nb.check(f"{name}: by hand and package", value, getattr(loss, name), rtol=1e-3)
total = sum(by_hand.values())
nb.check("total", total, loss.total, rtol=1e-3)
slopes = (
    *torch.autograd.grad(total, encoder[0].weight),
    *torch.autograd.grad(loss.total, fresh.encoder.layers[0].weight),
)
nb.check("gradient of the first layer", *slopes, rtol=1e-2, atol=1e-3)

# %% [markdown]
# ## A second job: the non-contrastive branch
#
# Now a view $x'$ of every series goes through the *same* encoder. Three things happen with it.
#
# 1. Its latents $z'$ are decoded, *without the quantizer*, and compared with the view: the *augmented reconstruction*,
#    with weight 0.2.
# 2. Latents are *pooled*: for each of the $D$ numbers the mean and the maximum over the grid, 128 numbers in all.
# 3. A projector of three layers, thrown away after training, maps them to the space where the non-contrastive loss of
#    chapter 3 compares series and view.
#
# $$\mathcal{L} = \mathcal{L}_{VQ} + 0.2\,\big(\mathrm{MSE}(x', \hat x') + \mathrm{MSE}(u', \hat u')\big) +
#   \mathcal{L}_{SSL}\big(p(\mathrm{pool}\, z_q), p(\mathrm{pool}\, z')\big) .$$
#
# Look closely at the last bracket: the *quantised* latents of the series meet the *continuous* ones of the view. So the
# loss shapes codes and encoder, and the codebook follows only the series, not the views.

# %%
from ncvqvae_lite.augmentations import AUGMENTATIONS
from ncvqvae_lite.ssl_losses import Projector, barlow_twins, vibcreg

SSL = {
    "barlowtwins": ("warp", lambda a, b: barlow_twins(a, b).total),
    "vibcreg": ("gauss", lambda a, b: 0.01 * vibcreg(a, b).total),  # weights of the thesis: 1 and 0.01
}


def new_projector(method):
    torch.manual_seed(cfg.seed)
    return Projector(2 * cfg.dim, cfg.projector, whiten=method == "vibcreg", groups=cfg.groups)


# %%
def nc_loss(tokenizer, projector, ssl, x, view, aug_recon):
    """The whole loss, term by term; x and view (B, C, L)."""

    def pool(z):
        return torch.cat([z.mean(dim=(2, 3)), z.amax(dim=(2, 3))], dim=1)  # (B, D, F, W') -> (B, 2D)

    def copy_error(series, z):
        series_hat, u_hat = tokenizer.generate(z)
        return mse(series_hat, series) + mse(u_hat, stft(series, cfg.n_fft))

    q = tokenizer.quantizer(tokenizer.latents(x))
    z_view = tokenizer.latents(view)
    a, b = projector(pool(q.z_q), pool(z_view))
    return copy_error(x, q.z_q) + q.loss + aug_recon * copy_error(view, z_view) + ssl(a, b)


# %% tags=["nbval-check-output"]
from ncvqvae_lite.tokenizer import non_contrastive_loss

for method, (augmentation, ssl) in SSL.items():
    view = AUGMENTATIONS[augmentation](x, generator=generator)
    losses, slopes = [], []
    for function in (nc_loss, lambda *arguments: non_contrastive_loss(*arguments).total):
        tokenizer = new_tokenizer().train()
        tokenizer.quantizer.needs_init = False
        losses.append(function(tokenizer, new_projector(method), ssl, x, view, cfg.aug_recon))
        slopes += torch.autograd.grad(losses[-1], tokenizer.encoder.layers[0].weight)
    nb.check(f"{method}: loss by hand and package", *losses, rtol=1e-4)
    nb.check(f"{method}: gradient of the first layer", *slopes, rtol=1e-3, atol=1e-4)

# %% [markdown]
# ## Train
#
# Four tokenizers start from the same weights and see the same batches: naive, Barlow Twins with window warps, VIbCReg
# with noise, and Barlow Twins *without* the augmented reconstruction. The codebook starts from k-means, and codes that
# nobody uses are restarted (chapter 2). `train_tokenizer` is the package's loop: AdamW, learning rate 0.001 falling to 0
# along a cosine. A laptop needs about a minute for the four.

# %%
from ncvqvae_lite.training import Branch, train_tokenizer

ARMS = {
    "naive": (None, 0.0),
    "Barlow Twins": ("barlowtwins", cfg.aug_recon),
    "VIbCReg": ("vibcreg", cfg.aug_recon),
    "Barlow Twins, views not decoded": ("barlowtwins", 0.0),
}


def trained(method, aug_recon):
    """A tokenizer in eval mode."""
    tokenizer, branch = new_tokenizer(), None
    if method:
        augmentation, ssl = SSL[method]
        branch = Branch(AUGMENTATIONS[augmentation], new_projector(method), ssl, {"aug_recon": aug_recon})
    train_tokenizer(tokenizer, x_train, branch, epochs=cfg.epochs, batch_size=cfg.batch, seed=cfg.seed)
    return tokenizer.eval()


# %%
tokenizers = {}
for name, settings in ARMS.items():
    tokenizers[name] = trained(*settings)
    print("trained:", name)

# %% [markdown]
# ### The copy
#
# One test series of each class and its copies. Look for the four plateaus of the two patterns, and for what becomes
# of the noise: 40 tokens of 5 bits cannot hold it, and the decoder does not try.

# %%
COLOURS = dict(zip(ARMS, (METHODS[m].colour for m in ("regular", "barlowtwins", "vibcreg"))))
fig, axes = plots.figure(4, 3, height=6.4, sharex=True, sharey=True)
rows = [int((y_test == k).nonzero()[0]) for k in range(4)]
for column, (name, colour) in zip(axes.T, COLOURS.items()):
    copies = tokenizers[name].decode(tokenizers[name].encode(x_test[rows]))  # (4, 1, L)
    column[0].set_title(name, fontsize=plots.TEXT)
    for ax, k, copy in zip(column, rows, copies):
        ax.plot(x_test[k, 0], color=plots.REAL, linewidth=1, label="test series")
        ax.plot(copy[0], color=colour, linewidth=2, label=f"copy, {name}")
    column[-1].set_xlabel(plots.STEPS)
for ax, name in zip(axes[:, 0], ds.class_names):
    ax.set_ylabel(f"class {name}")
handles = [axes[0, 0].lines[0], *(ax.lines[1] for ax in axes[0])]
fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# ### What the tokens know
#
# Three numbers for each: the error of the copies of test series (mean squared error in time plus that in frequency, as in
# the loss; the first line is that of a flat line), and the accuracy of the two probes of the thesis (5 nearest neighbours;
# a straight border, SVM). Both read the *features* of a series, from here on its quantised latents averaged over the grid:
# 64 numbers.

# %%
from ncvqvae_lite.fcn import batched
from ncvqvae_lite.metrics import knn_accuracy, perplexity, reconstruction_error, svm_accuracy

features, test_tokens, scores = {}, {}, {}
flat = float((x_test**2).mean() + (stft(x_test, cfg.n_fft) ** 2).mean())
print(f"{'':34} error   KNN    SVM   perplexity")
print(f"{'a flat line':34} {flat:.3f}")
for name, tokenizer in tokenizers.items():
    features[name] = batched(tokenizer.features, x_train), batched(tokenizer.features, x_test)  # (n, D) each
    test_tokens[name] = batched(tokenizer.encode, x_test)  # (n, N)
    probes = features[name][0], y_train, features[name][1], y_test
    found = reconstruction_error(tokenizer, x_test).mean, knn_accuracy(*probes, k=5), svm_accuracy(*probes)
    scores[name] = dict(zip(("error", "KNN on the mean", "SVM on the mean"), found))
    used = perplexity(test_tokens[name], cfg.codes)
    print(f"{name:34} " + "  ".join(f"{value:.3f}" for value in found) + f"   {used:4.1f} of {cfg.codes}")

# %% tags=["nbval-check-output"]
for name in ("naive", "Barlow Twins", "VIbCReg"):
    nb.check_band(cfg, "05", f"{name}: error of the copies", scores[name]["error"], {"a flat line": flat})
    nb.check_band(cfg, "05", f"{name}: KNN", scores[name]["KNN on the mean"], {"chance": 0.25})
    if name != "naive":
        nb.check_band(
            cfg,
            "05",
            f"KNN, {name} minus naive",
            scores[name]["KNN on the mean"] - scores["naive"]["KNN on the mean"],
            {"no gain": 0.0},
        )
gain = scores["Barlow Twins"]["KNN on the mean"] - scores["naive"]["KNN on the mean"]
cost = scores["Barlow Twins"]["error"] / scores["naive"]["error"]
nb.check_band(cfg, "05", "error, Barlow Twins over naive", cost, {"no cost": 1.0})

# %% [markdown]
# The second job costs some accuracy of the copy, and the classes become easier to read. Over the five seeds under "Recorded runs" the
# error is 1.1 times that of the naive arm on average, with a spread of 0.011.
#
# ### Maps of the features
#
# The features of each test series, drawn in two dimensions in two ways. *PCA* shows the two widest directions of the cloud:
# distances in the picture are distances in the features, as far as these two go. *t-SNE* keeps neighbours together and
# gives up all else: gaps and sizes of its islands mean nothing. Ask of each panel: do colours mix? Which two classes?

# %%
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

MAPS = {"PCA": lambda: PCA(2), "t-SNE": lambda: TSNE(init="pca", random_state=cfg.seed)}
fig, axes = plots.figure(2, 3, height=5.6)
for i, (kind, method) in enumerate(MAPS.items()):
    for ax, name in zip(axes[i], COLOURS):
        model = method()
        points = model.fit_transform(features[name][1].double().numpy())  # (n, D) -> (n, 2)
        for k, (colour, marker) in enumerate(zip(plots.CLASS_COLOURS, plots.CLASS_MARKERS[:4])):
            style = dict(s=14, color=colour, marker=marker, linewidths=0, alpha=0.7)
            ax.scatter(*points[y_test == k].T, label=f"class {ds.class_names[k]}", **style)
        title = f"{kind}, {name}"
        if kind == "PCA":
            title += f" ({model.explained_variance_ratio_.sum():.0%})"
        ax.set(xticks=[], yticks=[], title=title)
fig.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=plots.SMALL, frameon=False
)
fig

# %% [markdown]
# (In brackets: how much of the variance of the features the two directions hold.) With the second job classes 1 and 4 come
# apart, in t-SNE at least. Classes 2 and 3 stay mixed everywhere: they have a fall and a rise each, and differ in the order
# alone. The next section but one says why order is so hard to see here.
#
# ### Which codes are used
#
# The histogram of tokens over all test series, most used code first. A flat one uses the alphabet well; its perplexity
# is the number of codes that an equally informative flat histogram would have. Where do the three differ?

# %%
from ncvqvae_lite.metrics import token_usage

fig, axes = plots.figure(1, 1, height=3.2)
ax = axes[0, 0]
for name, colour in COLOURS.items():
    usage = token_usage(test_tokens[name], cfg.codes)
    share = sorted(usage.counts / usage.counts.sum(), reverse=True)
    ax.plot(
        range(1, cfg.codes + 1),
        share,
        "o-",
        color=colour,
        markersize=4,
        label=f"{name}: perplexity {usage.perplexity:.1f}",
    )
ax.axhline(1 / cfg.codes, color=plots.INK, linewidth=1, linestyle=":", label="all codes alike")
ax.set(xlabel="code, most used first", ylabel="share of the tokens (log)", yscale="log")
ax.legend(fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# Hardly anywhere: in each arm one code takes a large part of all tokens, and the others share the rest. The second job
# changes what codes say, not how evenly they are used.
#
# ## What a probe cannot see
#
# The features are the *mean over the grid* of the code vectors. So a series with tokens $k_1, \dots, k_N$ has the features
#
# $$h = \frac1N \sum_i e_{k_i} = \sum_k \frac{n_k}{N}\, e_k,$$
#
# where $n_k$ counts how often code $k$ occurs. *Only the histogram of a series' tokens enters.* Shuffle its tokens, and
# the features stay the same, while the decoded series is another one. Both probes of the thesis are blind to order.

# %%
tokenizer, tokens = tokenizers["naive"], test_tokens["naive"]
histogram = nn.functional.one_hot(tokens, cfg.codes).double().mean(dim=1)  # (n, N) -> (n, K), rows sum to 1
from_histogram = histogram @ tokenizer.quantizer.codebook.double()  # (n, D)
order = torch.rand(tokens.shape, generator=generator).argsort(dim=1)
shuffled = tokens.gather(1, order)  # every row in an order of its own
changed = mse(tokenizer.decode(shuffled), tokenizer.decode(tokens))
print(f"mean squared change of the decoded series: {float(changed):.2f}; their variance is about 1")

# %% [markdown]
# What can a reader without order know of TwoPatterns? Two falls, two rises, or one of each: that is three quarters of the
# series, if it tells these kinds apart without error. Classes 2 and 3 are a toss to it, unless the encoder *wrote the order
# into the tokens*, which it could: tokens in the middle have seen both patterns. But a copying encoder can leave the order
# to the places of the tokens, where the decoder finds it. So let the same probe look at the places as well, the whole grid,
# $40 \times 64$ numbers; and ask for classes 2 and 3 alone. And once on the mean for
# the three *kinds* alone, with 2 and 3 as one class: which patterns, not in which order.


# %%
def grid_features(tokenizer, x):
    """Series (n, 1, L) -> code vectors of the whole grid (n, D * N)."""
    return tokenizer.quantizer.decode(batched(tokenizer.encode, x).view(-1, *tokenizer.grid)).flatten(1)


def two_and_three(z_train, y_train, z_test, y_test):
    """The same features and labels for series of classes 2 and 3 alone (labels 1 and 2)."""
    train, test = ((y == 1) | (y == 2) for y in (y_train, y_test))
    return z_train[train], y_train[train], z_test[test], y_test[test]


def kinds(y):
    """Labels (n,) with classes 2 and 3 as one: which patterns occur, in whatever order."""
    return torch.where(y == 2, 1, y)


# %%
print(f"{'':34} mean: KNN   SVM   SVM 2/3    grid: KNN   SVM   SVM 2/3")
for name, tokenizer in tokenizers.items():
    on_mean = features[name][0], y_train, features[name][1], y_test
    on_grid = grid_features(tokenizer, x_train), y_train, grid_features(tokenizer, x_test), y_test
    score = scores[name]  # holds KNN and SVM on the mean
    score["KNN on the grid"], score["SVM on the grid"] = knn_accuracy(*on_grid, k=5), svm_accuracy(*on_grid)
    for where, probes in (("mean", on_mean), ("grid", on_grid)):
        score[f"2/3 on the {where}"] = svm_accuracy(*two_and_three(*probes))
    mean, grid = ([f"{score[f'{what} on the {w}']:.3f}" for what in ("KNN", "SVM", "2/3")] for w in ("mean", "grid"))
    print(f"{name:34}     " + "  ".join(mean) + "           " + "  ".join(grid))
print("kinds alone (2 and 3 as one), on the mean:")
for name, (z_train, z_test) in features.items():
    probes = z_train, kinds(y_train), z_test, kinds(y_test)
    print(f"{name:34}     {knn_accuracy(*probes, k=5):.3f}  {svm_accuracy(*probes):.3f}")

# %% tags=["nbval-check-output"]
nb.check("features from the histogram alone", from_histogram, features["naive"][1], rtol=1e-3, atol=1e-4)
nb.check_band(cfg, "05", "decoded series change by", float(changed), {"nothing changes": 0.0})
plain, twins = scores["naive"], scores["Barlow Twins"]
nb.check_band(
    cfg,
    "05",
    "naive: SVM of 2 and 3, whole grid minus mean",
    plain["2/3 on the grid"] - plain["2/3 on the mean"],
    {"order is nothing": 0.0},
)
nb.check_band(cfg, "05", "naive: SVM of 2 and 3 on the whole grid", plain["2/3 on the grid"], {"a toss": 0.5})
nb.record("05", "naive: SVM of 2 and 3 on the mean", plain["2/3 on the mean"])
nb.record("05", "Barlow Twins: SVM of 2 and 3 on the mean", twins["2/3 on the mean"])
for probe in ("KNN", "SVM"):
    for where in ("mean", "grid"):
        nb.record(
            "05",
            f"{probe} on the {where}, Barlow Twins minus naive",
            twins[f"{probe} on the {where}"] - plain[f"{probe} on the {where}"],
        )

# %% [markdown]
# The naive tokens hold the order almost without error: the probe finds it in the places. The mean over the grid has lost most of
# it, in every arm: there the SVM tells 2 from 3 in 0.61 to 0.71 of the cases, where a toss gives 0.5. What Barlow Twins improves on
# the mean is, for the neighbours, mostly the other question, *which* patterns occur (kinds: 0.82 to 0.94). The SVM knew the
# kinds already (0.97); a good part of its gain is order. And how much of these gains is new? On the whole grid, over the seeds (below), the
# neighbours find no lead of Barlow Twins, and the SVM a smaller one. So "the probe is better" and "the tokens know more" are
# two claims, and the published probes test the first.
#
# ## Without the augmented reconstruction
#
# Why decode the view at all? The term is not needed for the non-contrastive loss. Its view is decoded from *continuous*
# latents, so it teaches the decoder something that it is never asked for later, when every series comes from codes.
# What it changes is easiest to see with four errors: series and views, from codes and from continuous latents.

# %%
view = AUGMENTATIONS["warp"](x_test, generator=generator)


@torch.no_grad()
def copy_errors(tokenizer):
    """Mean squared errors in time, by what is decoded and from what."""
    found = {}
    for what, series in (("series", x_test), ("view", view)):
        z = torch.cat([tokenizer.latents(part) for part in series.split(250)])  # (n, D, F, W')
        for source, latents in (("codes", tokenizer.quantizer(z).z_q), ("latents", z)):
            found[f"{what} from {source}"] = float(mse(tokenizer.generate(latents)[0], series))
    return found


with_term, without = (copy_errors(tokenizers[name]) for name in list(ARMS)[1::2])
print(f"{'error, Barlow Twins':22} views decoded   not decoded")
for name in with_term:
    print(f"{name:22} {with_term[name]:13.3f} {without[name]:13.3f}")
print(
    "\nprobes: "
    + "; ".join(
        f"{n}: KNN {scores[n]['KNN on the mean']:.3f}, SVM {scores[n]['SVM on the mean']:.3f}" for n in list(ARMS)[1::2]
    )
)

# %% tags=["nbval-check-output"]
ratios = {name: without[name] / with_term[name] for name in with_term}
nb.check_band(
    cfg, "05", "views from latents: error without the term over with", ratios["view from latents"], {"no effect": 1.0}
)
nb.check_band(
    cfg,
    "05",
    "series from codes: error without the term over with",
    ratios["series from codes"],
    {"as large as for views": ratios["view from latents"]},
)
difference = scores["Barlow Twins, views not decoded"]["KNN on the mean"] - scores["Barlow Twins"]["KNN on the mean"]
nb.check_band(cfg, "05", "KNN, without the term minus with", difference, {"the term makes the gain": -gain})

# %% [markdown]
# The term does what it says: views are decoded better *from latents*. What matters afterwards, series from codes and the
# probes, hardly moves. On these data and in so short a training it could be left out. The thesis kept it in all its runs and
# did not report one without.

# %% [markdown]
# ## Another geometry: a token for each frame
#
# So far every place of a series has five tokens, one for each frequency row. Do the rows need tokens of their own? They can be
# *folded* into channels: the spectrogram $(B, 2, F, W)$ becomes $(B, 2F, 1, W)$, kernels are one row high, and a latent holds
# all rows of its frame. With as many frames that is a fifth of the tokens, and so much less arithmetic that a finer grid in
# time is affordable. `FoldTokenizer` is this kind; nothing else in it is new, and losses, probes and priors do not notice. The
# presets `improved` and `quick` use it (`geometry="fold"`); `paper` has the grid of rows and frames.

# %%
from ncvqvae_lite.tokenizer import FoldTokenizer


def fold(u):
    """(B, 2C, F, W) -> (B, 2C * F, 1, W): frequency rows become channels."""
    return u.flatten(1, 2)[:, :, None]


def new_fold(width):
    """A tokenizer with a token for each frame, fresh weights; width: frames aimed at."""
    torch.manual_seed(cfg.seed)
    return FoldTokenizer(
        ds.length, n_fft=cfg.n_fft, width=width, dim=cfg.dim, n_blocks=cfg.n_blocks, codebook_size=cfg.codes,
        kmeans_init=True, expire_below=1.0,
    )  # fmt: skip


for width in (8, 16, 32):
    folded = new_fold(width)
    print(f"width {width:2}: u {tuple(u.shape)} -> {tuple(fold(u).shape)} -> latents {tuple(folded.latents(x).shape)}")

# %% [markdown]
# The *rate* of a tokenizer is what a series may cost: $N \log_2 K$ bits. Its price is arithmetic, which we count (multiplications
# and additions of one series on its way to latents and back). The same recipe as above, a few more epochs, still for much
# less arithmetic than the naive arm had.
#
# One more thing is tried. In the loss every entry of the spectrogram counts alike. So a faint row, and the fine texture of a series is
# made of faint rows, hardly counts at all. With the *spectrum weight* $w$ the error of row $r$ counts
# $1 + w / p_r$ times, where $p_r$ is its mean square over the train series: then each row has, beside its old share, one that does
# not depend on its power. `improved` has $w = 0.5$.

# %%
from torch.utils.flop_counter import FlopCounterMode


def million_operations(tokenizer):
    """Multiplications and additions of one series to latents and back, in millions."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tokenizer.generate(tokenizer.latents(x))
    return counter.get_total_flops() / len(x) / 1e6


FOLDED = {"frames, 16": (16, 0.0), "frames, 32": (32, 0.0), "frames, 32, w = 0.5": (32, 0.5)}  # width, spectrum weight
geometries = {"rows and frames": (tokenizers["naive"], cfg.epochs)}
for name, (width, weight) in FOLDED.items():
    folded = new_fold(width)
    how = dict(epochs=cfg.fold_epochs, batch_size=cfg.batch, seed=cfg.seed, spectrum_weight=weight)
    train_tokenizer(folded, x_train, **how)
    geometries[name] = folded.eval(), cfg.fold_epochs

# %%
rates, costs, copies_of, errors = {}, {}, {}, {}
print(f"{'tokens for':20} tokens   bits   operations: of a series, of the training   error")
for name, (tokenizer, epochs) in geometries.items():
    rates[name] = tokenizer.n_tokens * math.log2(cfg.codes)
    once = million_operations(tokenizer)
    costs[name] = once * epochs
    copies_of[name] = batched(tokenizer.decode, batched(tokenizer.encode, x_test))
    errors[name] = reconstruction_error(tokenizer, x_test).mean
    relative = costs[name] / costs["rows and frames"]
    print(f"{name:20} {tokenizer.n_tokens:6} {rates[name]:6.0f} {once:24.1f} M {relative:18.2f} {errors[name]:9.3f}")

# %% tags=["nbval-check-output"]
from ncvqvae_lite.tokenizer import row_weights

folded = geometries["frames, 32"][0]
nb.check("folded spectrograms that differ, by hand and package", int((fold(u) != folded.fold(u)).sum()), 0)
nb.check("unfolded again", int((folded.unfold(fold(u)) != u).sum()), 0)
nb.check("grids (rows, frames)", [t.grid for t, _ in geometries.values()], ((5, 8), (1, 16), (1, 32), (1, 32)))
power = (stft(x_train, cfg.n_fft) ** 2).mean(dim=(0, 3))[..., None]  # (2, F, 1); the imaginary part of row 0 is 0
by_hand = torch.where(power > 1e-6, 1 + 0.5 / power, 1.0)
nb.check("weights of the rows: by hand and package", by_hand, row_weights(x_train, cfg.n_fft, 0.5), rtol=1e-4)
for name in ("frames, 16", "frames, 32"):
    lower = errors[name] / errors["rows and frames"]
    nb.check_band(cfg, "05", f"error, tokens for {name} over rows and frames", lower, {"no better": 1.0})
lower = errors["frames, 32, w = 0.5"] / errors["frames, 32"]
nb.check_band(cfg, "05", "error, spectrum weight 0.5 over none", lower, {"no better": 1.0})

# %% [markdown]
# Left: error against rate; low and to the left is good. Right: what each frequency row of the test series holds, and what is left
# of it in the copies.


# %%
def row_powers(series):
    """Mean square of each frequency row, real and imaginary part together: (n, 1, L) -> (F,)."""
    return (stft(series, cfg.n_fft) ** 2).mean(dim=(0, 3)).sum(dim=0)


GEOMETRY_COLOURS = dict(zip(geometries, (plots.INK, "#56B4E9", "#0072B2", "#D55E00")))
fig, axes = plots.figure(1, 2, height=4.2)
left, right = axes[0]
for name, colour in GEOMETRY_COLOURS.items():
    left.plot(rates[name], errors[name], "o", color=colour, markersize=9, label=name)
    right.plot(row_powers(copies_of[name]), "o-", color=colour, markersize=4)
right.plot(row_powers(x_test), color=plots.REAL, linewidth=3, zorder=0, label="test series")
left.set(xlabel="bits for a series", ylabel="error of the copies", xlim=(0, 230), ylim=(0, None))
right.set(xlabel="frequency row", ylabel="mean square (log)", yscale="log", xticks=range(5))
fig.legend(loc="outside lower center", ncols=3, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# Fewer bits, a small part of the arithmetic, and still the error of the copies is lower. By rows the figure shows what copies hold,
# not their error: 16 frames hold less of rows 3 and 4 than the grid does, and 32 frames without the weight less of row 4; but these rows are faint. (All four trainings are short. The recorded
# full runs of chapter 10 have the grid.) A likely reason: when a pattern passes, all rows of a frame change together, so one
# token can say what five said before; and a training of cheap steps sees every series more often. Finer frames lower the
# error once more, for twice the bits: that many more tokens the prior of chapter 6 has to guess. The spectrum weight lifts
# the upper rows and lowers the error, and costs nothing. But whatever the geometry, the upper rows of the copies hold only a
# part of what those of the series hold. What is missing?
#
# ## What no token can carry
#
# Between its patterns a series of TwoPatterns is *noise*, and nothing tells the next step of noise; it has to be written down, step by
# step. How many bits would that take? $\log_2 10$ for each, if it is to be kept to a tenth of its deviation.

# %%
best = "frames, 32, w = 0.5"
tokenizer, copies, left_over = geometries[best][0], copies_of[best], x_test - copies_of[best]  # series (n, 1, L)
neighbours = float((left_over[..., 1:] * left_over[..., :-1]).mean() / (left_over**2).mean())
print(f"left over: {float((left_over**2).mean() / (x_test**2).mean()):.0%} of the mean square")
print(f"correlation of neighbouring steps in what is left over: {neighbours:.2f}")
print(f"bits to keep a step of noise to a tenth: {math.log2(10):.1f}; ", end="")
print(f"bits of these tokens for a step, patterns and all: {rates[best] / ds.length:.2f}")

# %% [markdown]
# So the decoder smooths: the mean of all that could be there is the best copy (least squared error). But a generated series
# without noise is known at a glance. If noise cannot be *coded*, it can be *drawn*: keep what tokens left over of the train
# series, cut at the places of the tokens, one heap of pieces for each code. When tokens are decoded, each token's place gets
# a random piece from the heap of its code. No training, thirty lines: `ResidualPieces`.


# %%
def heaps_of(tokenizer, x):
    """Code -> (count, P): what was left over of series x (n, 1, L) at the places of its tokens, P = L / W' steps."""
    tokens = batched(tokenizer.encode, x)  # (n, W')
    pieces = (x - batched(tokenizer.decode, tokens)).view(*tokens.shape, -1)  # (n, W', P)
    return {k: pieces[tokens == k] for k in range(cfg.codes)}


heaps = heaps_of(tokenizer, x_train)
sizes = [len(heap) for heap in heaps.values()]
loudness = [float(heap.std()) for heap in heaps.values() if len(heap) > 50]
print(f"pieces of {heaps[0].shape[1]} steps: {sum(sizes)}; in a heap {min(sizes)} to {max(sizes)}")
print(f"deviation of the pieces in a heap: {min(loudness):.2f} to {max(loudness):.2f}")

# %%
from ncvqvae_lite.residuals import ResidualPieces

pieces = ResidualPieces.of(tokenizer, x_train)
codes = batched(tokenizer.encode, x_test)  # (n, W')
drawn = pieces.draw(codes, generator)  # (n, 1, L)
fig, axes = plots.figure(3, 2, height=5.6, sharex=True, sharey="row")
for column, row in zip(axes.T, rows[::2]):
    column[0].set_title(f"test series of class {ds.class_names[int(y_test[row])]}")
    column[0].plot(x_test[row, 0], color=plots.REAL, linewidth=1.2, label="test series")
    column[0].plot(copies[row, 0], color="#D55E00", linewidth=1.4, label="its copy")
    column[1].plot(left_over[row, 0], color=plots.REAL, linewidth=1.2)
    column[1].plot(drawn[row, 0], color="#0072B2", linewidth=1.2, label="pieces drawn by code")
    column[2].plot((copies + drawn)[row, 0], color="#009E73", linewidth=1.2, label="copy and pieces")
    column[0].set_ylim(-2.4, 2.4)
    column[2].set(xlabel=plots.STEPS, ylim=(-2.4, 2.4))
for ax, text in zip(axes[:, 0], ("series, copy", "left over,\ndrawn", "copy +\ndrawn")):
    ax.set_ylabel(text)
handles = [axes[0, 0].lines[0], axes[0, 0].lines[1], axes[1, 0].lines[1], axes[2, 0].lines[0]]
fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# Compare grey at the top with green at the bottom. The drawn pieces are loud between the patterns and at their edges, not on
# the plateaus: the codes know where a series is noisy. A yardstick that needs neither labels nor training: the distance of
# two sets by mean and covariance (that of FID, chapter 7) of the responses of 500 random convolution kernels (chapter 4 had
# such a classifier), in units in which the train series have a variance of 1, all features together.

# %%
from ncvqvae_lite.evaluation import KernelSpace
from ncvqvae_lite.metrics import frechet_distance

space = KernelSpace(x_train)
white = copies + torch.cat(list(heaps.values())).std() * torch.randn(copies.shape, generator=generator)
sets = {"train series": x_train, "copies": copies, "copies and pieces": copies + drawn, "copies and white noise": white}
real, apart, squared = space.features(x_test), {}, {}
print(f"{'':24} distance to test series   squared error as a copy")
for name, series in sets.items():
    apart[name] = frechet_distance(real, space.features(series))
    squared[name] = float(mse(series, x_test)) if name != "train series" else math.nan
    print(f"{name:24} {apart[name]:23.3f} {squared[name]:25.3f}".replace("nan", "  -"))

# %% tags=["nbval-check-output"]
places = drawn.view(*codes.shape, -1)  # (n, W', P)
foreign = 0
for k, heap in heaps.items():
    own = {tuple(piece) for piece in heap.tolist()}
    foreign += sum(tuple(piece) not in own for piece in places[codes == k].tolist()) if own else 0
nb.check("drawn pieces that do not lie in the heap of their code", foreign, 0)
nb.check("numbers to keep, n C L", pieces.pieces.numel(), cfg.train_series * ds.length)
nearer = apart["copies and pieces"] / apart["copies"]
nb.check_band(cfg, "05", "distance to test, copies with pieces over copies", nearer, {"no nearer": 1.0})
worse = squared["copies and pieces"] / squared["copies"]
nb.check_band(cfg, "05", "squared error, copies with pieces over copies", worse, {"no worse": 1.0})
ratio = apart["copies and pieces"] / apart["copies and white noise"]
nb.check_band(cfg, "05", "distance to test, pieces over white noise", ratio, {"the codes know nothing": 1.0})

# %% [markdown]
# With its pieces a copy is a *worse copy* (its noise is another series' noise), and a far *better series*. So errors of copies
# are computed without pieces, and generated series get them (chapter 6 shows where). White noise of one size for all steps
# helps too, but less, for it lies on the plateaus as well.
#
# Pieces have a price: $n\,C\,L$ numbers lie beside the tokenizer, as many as the train split has, and every generated series
# holds splinters of train series, which may matter where those are private. And on smooth series the splinters make edges.
# So `improved` sets `noise="by rule"`: one half of the train series is copied, with pieces of the other half and without,
# and pieces are used only where they bring the copies nearer by the distance above. No test series takes part.
#
# ## On real series, trained in full
#
# Here are the authors' own runs: 13 data sets, 4 seeds, 1000 epochs. For two configurations and every data set: by how much
# the mean SVM accuracy is above that of the naive arm (right of the line: classes became easier to read), and the
# reconstruction error over the naive one's (right of the line: copies became worse).

# %%
import numpy as np
from matplotlib.ticker import LogLocator

from ncvqvae_lite.data import THESIS_DATASETS
from ncvqvae_lite.thesis import author_runs

PAIRS = (("barlowtwins", "warp"), ("vibcreg", "gauss"))
effects = {}
for method, augmentation in PAIRS:
    for d in THESIS_DATASETS:
        naive, ours = author_runs(d, "regular", "none"), author_runs(d, method, augmentation)
        gain = np.mean(ours["svm_acc"]) - np.mean(naive["svm_acc"])
        effects[method, d] = gain, np.mean(ours["recon_val"]) / np.mean(naive["recon_val"])
by_gain = sorted(THESIS_DATASETS, key=lambda d: effects["barlowtwins", d][0])

# %%
fig, axes = plots.figure(1, 2, height=5.2, sharey=True)
for i, (ax, neutral) in enumerate(zip(axes[0], (0, 1))):
    for (method, augmentation), shift in zip(PAIRS, (0.17, -0.17)):
        places, values = np.arange(len(by_gain)) + shift, [effects[method, d][i] for d in by_gain]
        colour, label = METHODS[method].colour, f"{METHODS[method].label}, {augmentation}"
        ax.hlines(places, neutral, values, color=colour, linewidth=1.2)
        ax.plot(values, places, "o", color=colour, markersize=5, label=label)
    ax.axvline(neutral, color=plots.INK, linewidth=1)
axes[0, 0].set_yticks(range(len(by_gain)), by_gain)
axes[0, 0].set_xlabel("SVM accuracy, minus naive")
axes[0, 1].set(xlabel="error over naive (log)", xscale="log")
plots.plain_log_ticks(axes[0, 1].xaxis, LogLocator(subs=(1, 1.5, 2, 5, 7)))
plots.legend_below(fig, axes[0, 0].lines[:2], 2)
fig

# %%
for method, _ in PAIRS:
    gains, costs = (np.array([effects[method, d][i] for d in THESIS_DATASETS]) for i in (0, 1))
    print(f"{method:12} SVM higher on {sum(gains > 0):2} of 13, median {np.median(gains):+.3f}; ", end="")
    print(f"error higher on {sum(costs > 1):2} of 13, median ratio {np.median(costs):.2f}")

# %% tags=["nbval-check-output"]
from scipy import stats

for method, _ in PAIRS:
    gains = np.array([effects[method, d][0] for d in THESIS_DATASETS])
    nb.check(f"{method}: data sets where SVM is higher than naive", int((gains > 0).sum()), 11)
    nb.check(f"{method}: Wilcoxon, two-sided p", stats.wilcoxon(gains).pvalue, low=0.0, high=0.05)
    nb.check(f"{method}: largest gain on", max(THESIS_DATASETS, key=lambda d: effects[method, d][0]), "TwoPatterns")
costs = np.array([[effects[m, d][1] for d in THESIS_DATASETS] for m, _ in PAIRS])
nb.check("data sets with a higher error, of 13", (costs > 1).sum(axis=1), np.array([8, 7]))

# %% [markdown]
# Here one configuration, chosen beforehand, meets one baseline (chapter 7 says why that matters), and for the SVM the gain is
# real for both: higher on 11 of 13 sets. It is large on only a few: TwoPatterns, UWaveGestureLibraryAll, ShapesAll; why on
# these was not measured. A cost is not shown: the copies became worse on about half of the sets, with medians of 1.22 and
# 1.04 times the error. (The authors' error is that of their last test batch; chapter 7 says what that means.)
#
# Our own full runs of one of the 13 sets, in the thesis' recipe. The non-contrastive arms have few seeds, so look only at how
# far runs lie apart. (A seed that stands twice was run at two versions of the code, which drew other numbers.)

# %%
from ncvqvae_lite.lab.results import load_cells

runs = load_cells()
runs = runs[(runs.dataset == "SonyAIBORobotSurface2") & (runs.preset == "paper")]
runs = runs[runs.ablation.isin(("cas=False", "fcn_precision=bf16"))]  # settings that have no part in stage 1
columns = {"recon_last_batch": "error", "knn_acc": "KNN", "svm_acc": "SVM"}
for (method, augmentation, s, _), run in runs.groupby(["method", "augmentation", "seed", "ablation"]):
    values = run.set_index("metric").value
    found = ", ".join(f"{short} {values[name]:.3f}" for name, short in columns.items())
    print(f"{method + ' + ' + augmentation:18} seed {s}: {found}")

# %% [markdown]
# ## Recorded runs
#
# The numbers of this chapter over seeds; a seed draws other first weights, batches and views.

# %%
print(nb.recorded_runs("05"))

# %% [markdown]
# ## What to take along
#
# - A series of 128 steps or more gets 35 to 75 tokens at `n_fft` 8: 5 rows times 7 to 15 frames. Each has seen far more than its own place.
#   Folded rows need one token for a frame: fewer bits and less arithmetic for a better copy.
# - The loss is copy in time and frequency, commitment, and with a view: its copy from latents, and the non-contrastive loss.
# - The probes read the histogram of the tokens. A better probe shows that the class is easier to find
#   in the codes, not that the tokens hold more of it.
# - Noise cannot be coded in a few hundred bits. It can be drawn again, from what the tokens left over, at a price.
# - Chapter 6 needs: tokens (n, N) of a frozen tokenizer, and their number K. Chapter 7 comes back to probes and their limits.

# %% [markdown]
# ## Exercises
#
# They need no code of the chapter, only this set-up. A check says what to look at when an answer is wrong.

# %%
import tracemalloc

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ncvqvae_lite import nb

generator = nb.seed_everything(1)


class LargestTensor(TorchDispatchMode):
    """Within this context `size` is the number of entries of the largest tensor that any operation returned."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.size = max(self.size, result.numel())
        return result


# %% [markdown]
# ### 5.1 How far a latent sees `*`
# A halving takes windows of 4 frames, every second one. A residual block holds one convolution over 3 frames (at the
# rate that is left), and one over 1. Over how many *frames of the spectrogram* does one latent reach, behind $m$ halvings and $b$ blocks?
# The formula for $m = 3$, $b = 0$ is in the chapter: 22.


# %% tags=["exercise"]
def receptive_field(halvings, blocks):
    """Frames of the spectrogram that reach one latent frame.

    halvings, blocks  numbers of halvings and of residual blocks
    returns           int
    """
    # solution: how much does a layer add, and how far apart are the frames that it reads?
    frames, apart = 1, 1
    for _ in range(halvings):
        frames, apart = frames + 3 * apart, 2 * apart
    return frames + blocks * 2 * apart
    # end of solution


# %% tags=["nbval-check-output"]
def check_receptive_field(answer):
    from ncvqvae_lite.tokenizer import Encoder

    for halvings, blocks in ((1, 0), (3, 0), (1, 1), (2, 1), (4, 1), (1, 2), (3, 2), (3, 3)):
        torch.manual_seed(0)
        encoder = Encoder(1, 8, halvings, blocks).eval()
        u = torch.randn(1, 2, 5, 512, generator=torch.Generator().manual_seed(1)).requires_grad_()
        latents = encoder(u)  # (1, 8, 5, W')
        (slope,) = torch.autograd.grad(latents[..., latents.shape[-1] // 2].sum(), u)
        reached = int((slope.abs().sum(dim=(0, 1, 2)) > 0).sum())
        hint = "how far apart, in frames of the spectrogram, is what a layer reads behind so many halvings?"
        nb.check(f"{halvings} halvings, {blocks} blocks", answer(halvings, blocks), reached, hint=hint)


nb.examine(check_receptive_field, receptive_field)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Go from the latent back to the spectrogram with a pencil for one halving, then two. A
# layer with a window of w frames that are d apart widens the field by (w - 1) d. </details>


# %% tags=["solution"]
def wrong_forgets_distance(halvings, blocks):
    """adds the windows as if frames were never thinned out"""
    return 1 + 3 * halvings + 2 * blocks


def wrong_product(halvings, blocks):
    """every halving multiplies the field by 4"""
    return 4**halvings + 2 * blocks


def wrong_blocks_of_input(halvings, blocks):
    """the blocks read neighbouring frames of the spectrogram"""
    return receptive_field(halvings, 0) + 2 * blocks


def wrong_blocks_thin_out(halvings, blocks):
    """each block doubles the distance of the frames, as a halving does"""
    return receptive_field(halvings, 0) + sum(2 ** (halvings + i + 1) for i in range(blocks))


nb.refused(check_receptive_field, wrong_forgets_distance, wrong_product, wrong_blocks_of_input, wrong_blocks_thin_out)

# %% [markdown]
# ### 5.2 Features without a grid `*`
# Compute the features of series from nothing but their tokens and the codebook, without building the grid of code vectors:
# no tensor and no numpy array on the way may have more entries than the largest of `tokens`, `codebook` and the result have.
# **To answer in words:** two series have the same tokens in another order; how far apart are their features?


# %% tags=["exercise"]
def features_of_tokens(tokens, codebook):
    """Mean code vector of each series, by way of the histogram of its tokens.

    tokens    (n, N) int64, 0..K-1
    codebook  (K, D)
    returns   (n, D)
    """
    # solution: how often does each code occur? all K of them, in the order of the codebook
    counts = torch.zeros(len(tokens), len(codebook), dtype=codebook.dtype)  # (n, K)
    counts.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=codebook.dtype))
    return counts / tokens.shape[1] @ codebook
    # end of solution


# %% tags=["nbval-check-output"]
def check_features_of_tokens(answer):
    draws = torch.Generator().manual_seed(3)
    codebook = torch.randn(6, 32, generator=draws)
    tokens = torch.randint(5, (7, 12), generator=draws)  # code 5 never occurs
    expected = torch.stack([codebook[row].mean(dim=0) for row in tokens])
    hint = "how much does each of the K codes weigh in the mean of one series?"
    found = answer(tokens.clone(), codebook.clone())
    nb.check("seven series", found, expected, rtol=1e-5, atol=1e-6, hint=hint)
    found = answer(tokens.flip(1), codebook.clone())
    nb.check("in another order", found, expected, rtol=1e-5, atol=1e-6, hint=hint)
    with LargestTensor() as largest:
        answer(tokens.clone(), codebook.clone())
    hint = "the grid of code vectors has 7 * 12 * 32 entries, a one-hot row for each token 7 * 12 * 6"
    nb.check("entries of the largest tensor on the way", largest.size, low=1, high=7 * 32, hint=hint)
    tokens, codebook = torch.randint(100, (20, 2000), generator=draws), torch.randn(100, 300, generator=draws)
    tracemalloc.start()  # notes what Python and numpy allocate, not what torch does
    answer(tokens, codebook)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    hint = "four times the memory of the tokens is allowed; the grid has 20 * 2000 * 300 entries in numpy, too"
    nb.check("bytes of all numpy arrays at once", peak, low=0, high=4 * tokens.nbytes, hint=hint)


nb.examine(check_features_of_tokens, features_of_tokens)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>counts.scatter_add_(1, tokens, ones)</code> counts, for each row of tokens into a
# row of <code>counts</code>, without anything larger. </details>
#
# <details><summary>Answer in words</summary> Their features are equal: a mean over all places forgets the places. A
# classifier of such features sees how often each pattern occurs, not when. </details>


# %% tags=["solution"]
def wrong_over_batch(tokens, codebook):
    """the histogram of all series together"""
    share = torch.bincount(tokens.flatten(), minlength=len(codebook)) / tokens.numel()
    return (share @ codebook).expand(len(tokens), -1)


def wrong_sum(tokens, codebook):
    """counts instead of shares"""
    return features_of_tokens(tokens, codebook) * tokens.shape[1]


def wrong_builds_the_grid(tokens, codebook):
    """right values, but through the grid of code vectors (n, N, D)"""
    return codebook[tokens].mean(dim=1)


def wrong_present(tokens, codebook):
    """codes that occur, however often"""
    present = nn.functional.one_hot(tokens, len(codebook)).amax(dim=1).to(codebook.dtype)
    return present @ codebook / present.sum(dim=1, keepdim=True)


def wrong_grid_of_numpy(tokens, codebook):
    """right values, but the grid of code vectors is a numpy array"""
    return torch.from_numpy(codebook.numpy()[tokens.numpy()].mean(axis=1))


def wrong_one_hot_of_numpy(tokens, codebook):
    """right values, but a one-hot row of numpy for each token, (n, N, K)"""
    one_hot = tokens.numpy()[:, :, None] == range(len(codebook))
    return torch.from_numpy(one_hot.mean(axis=1)).to(codebook.dtype) @ codebook


nb.refused(check_features_of_tokens, wrong_over_batch, wrong_sum, wrong_present)
nb.refused(check_features_of_tokens, wrong_builds_the_grid, wrong_grid_of_numpy, wrong_one_hot_of_numpy)

# %% [markdown]
# ### 5.3 Who learns from which term? `**`
# The whole loss has four kinds of terms: the copy of the *series* (through codes, straight-through), the *commitment*,
# the copy of the *view* (from latents), and the *ssl* loss. Four parts could learn: *encoder*, *codebook*, *decoder*,
# *projector*. Which parts get a gradient from which term? Write it down before you try it out.


# %% tags=["exercise"]
def learners():
    """Names of the parts that get a gradient from each term.

    returns  dict: "series", "commitment", "view", "ssl" -> set of "encoder", "codebook", "decoder", "projector"
    """
    # solution: for each term, go back from it: which parts does it reach?
    return {
        "series": {"encoder", "decoder"},
        "commitment": {"encoder"},
        "view": {"encoder", "decoder"},
        "ssl": {"encoder", "projector"},
    }
    # end of solution


# %% tags=["nbval-check-output"]
def check_learners(answer):
    from ncvqvae_lite.ssl_losses import Projector, barlow_twins
    from ncvqvae_lite.tokenizer import Tokenizer, pool, squared_errors

    torch.manual_seed(0)
    t, projector = Tokenizer(64, dim=8, n_blocks=1).train(), Projector(16, 32)
    x, view = torch.randn(2, 8, 1, 64)
    z_view, q = t.latents(view), t.quantizer(t.latents(x))
    terms = dict(series=sum(squared_errors(t, x, q.z_q)), commitment=q.loss, view=sum(squared_errors(t, view, z_view)))
    terms["ssl"] = barlow_twins(*projector(pool(q.z_q), pool(z_view))).total
    parts = dict(encoder=t.encoder, codebook=t.quantizer, decoder=t.decoder, projector=projector)
    for i, (term, value) in enumerate(terms.items(), start=1):
        value.backward(retain_graph=True)
        slopes = {name: [w.grad for w in part.parameters() if w.grad is not None] for name, part in parts.items()}
        moved = {name for name, found in slopes.items() if any(bool(slope.any()) for slope in found)}
        for part in parts.values():
            part.zero_grad()
        hint = "go backwards from the term, through all that it was computed from; what of that is a parameter?"
        wrong = len(moved ^ set(answer()[term]))
        nb.check(f"term {i}, {term}: parts that are missing or too many", wrong, 0, hint=hint)


nb.examine(check_learners, learners)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> The projector stands behind the pooled latents only. How does the codebook move
# (chapter 2)? </details>


# %% tags=["solution"]
def wrong_codebook_learns():
    """the codebook as a parameter"""
    return learners() | {"commitment": {"encoder", "codebook"}}


def wrong_ssl_decodes():
    """the non-contrastive loss reaches the decoder"""
    return learners() | {"ssl": {"encoder", "decoder", "projector"}}


def wrong_no_gradient_through_codes():
    """the copy teaches the decoder only"""
    return learners() | {"series": {"decoder"}}


nb.refused(check_learners, wrong_codebook_learns, wrong_ssl_decodes, wrong_no_gradient_through_codes)

# %% [markdown]
# ### 5.4 The same treatment for both `**`
# In the published loss the series enters by codes and the view by continuous latents, in the copy and in the
# non-contrastive loss. Write the symmetric variant: the view is quantised too (straight-through, by
# `tokenizer.quantizer.straight_through`, so that the codebook still follows the series alone), decoded from its codes, and
# meets the series code to code. Quantise the series first: its call moves the codebook, and the view meets the moved one.
# The chapter's `nc_loss` is the published loss.


# %% tags=["exercise"]
def symmetric_loss(tokenizer, projector, ssl, x, view, weight):
    """The whole loss with the view quantised.

    x, view    (B, C, L)
    ssl        (a, b) -> scalar
    weight     of the view's reconstruction
    tokenizer  `tokenizer.quantizer(z)` has .z_q and .loss; `tokenizer.quantizer.straight_through(z)` is z_q alone
    projector  (p, q) -> the pair (a, b) for `ssl`
    returns    scalar tensor
    """
    # solution: where does the view stand in the published loss, and what stands there now?
    from ncvqvae_lite.tokenizer import pool, squared_errors

    q = tokenizer.quantizer(tokenizer.latents(x))
    z_view = tokenizer.quantizer.straight_through(tokenizer.latents(view))
    copies = sum(squared_errors(tokenizer, x, q.z_q)) + weight * sum(squared_errors(tokenizer, view, z_view))
    return copies + q.loss + ssl(*projector(pool(q.z_q), pool(z_view)))
    # end of solution


# %% tags=["nbval-check-output"]
def check_symmetric_loss(answer):
    from ncvqvae_lite.ssl_losses import Projector, vibcreg
    from ncvqvae_lite.tokenizer import Tokenizer, non_contrastive_loss

    def ssl(a, b):
        return 0.01 * vibcreg(a, 2 * b).total  # so that it matters which of the two is the series

    def treated(function, weight):
        torch.manual_seed(0)
        tokenizer = Tokenizer(64, channels=2, n_fft=16, dim=8, n_blocks=1, commitment=0.25).train()
        projector, x = Projector(16, 32), torch.randn(8, 2, 64)
        before = tokenizer.quantizer.codebook.clone()
        loss = function(tokenizer, projector, ssl, x, x + torch.randn(8, 2, 64), weight)
        (slope,) = torch.autograd.grad(loss, tokenizer.encoder.layers[0].weight)
        return loss, slope, tokenizer.quantizer.codebook - before

    package = lambda *a: non_contrastive_loss(*a, ssl_latents="quantised", quantise_view=True).total  # noqa: E731
    for weight in (0.2, 0.7):
        (loss, slope, moved), (theirs, their_slope, their_move) = (treated(f, weight) for f in (answer, package))
        nb.check(f"loss, weight {weight}", loss, theirs, rtol=1e-4, hint="what of the view enters where, and when?")
        nb.check("gradient of the first layer", slope, their_slope, rtol=1e-3, atol=1e-4, hint="straight through")
        nb.check("codebook", moved, their_move, rtol=1e-4, atol=1e-6, hint="it follows the series alone, once")


nb.examine(check_symmetric_loss, symmetric_loss)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Start from <code>nc_loss</code> of the chapter, and change one line. <code>pool</code>
# and <code>squared_errors</code> (both errors of a copy) are in <code>ncvqvae_lite.tokenizer</code>. </details>


# %% tags=["solution"]
def wrong_published(tokenizer, projector, ssl, x, view, weight):
    """the published loss, unchanged"""
    from ncvqvae_lite.tokenizer import non_contrastive_loss

    return non_contrastive_loss(tokenizer, projector, ssl, x, view, weight).total


def wrong_moves_codebook(tokenizer, projector, ssl, x, view, weight):
    """quantises the view with the training quantizer, which moves the codebook"""
    loss = symmetric_loss(tokenizer, projector, ssl, x, view, weight)
    tokenizer.quantizer(tokenizer.latents(view).detach())
    return loss


def wrong_constant_codes(tokenizer, projector, ssl, x, view, weight):
    """no gradient through the codes of the view"""
    frozen = tokenizer.quantizer.straight_through
    tokenizer.quantizer.straight_through = lambda z: frozen(z).detach()
    return symmetric_loss(tokenizer, projector, ssl, x, view, weight)


def wrong_commitment(tokenizer, projector, ssl, x, view, weight):
    """computes the commitment by hand, without its weight in the quantizer"""
    from ncvqvae_lite.tokenizer import pool, squared_errors

    z = tokenizer.latents(x)
    z_q = tokenizer.quantizer(z).z_q
    z_view = tokenizer.quantizer.straight_through(tokenizer.latents(view))
    copies = sum(squared_errors(tokenizer, x, z_q)) + weight * sum(squared_errors(tokenizer, view, z_view))
    return copies + ((z - z_q.detach()) ** 2).mean() + ssl(*projector(pool(z_q), pool(z_view)))


nb.refused(check_symmetric_loss, wrong_published, wrong_moves_codebook, wrong_constant_codes, wrong_commitment)
