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
# # 3. Non-contrastive losses
#
# A loss that only asks for agreement between two distorted copies of a series is solved by an encoder that ignores the
# series. Which terms forbid that, what does each of them really do, and is class structure readable afterwards?
#
# - **Goals**: after it you can write Barlow Twins, VICReg and VIbCReg from their formulas; see which kind of collapse each
#   term forbids; remove a term from a training and predict what happens
# - **Before**: nothing from chapters 1 and 2; covariance; batch normalisation; for exercise 3.2 eigenvectors
# - **Time**: 50 seconds of computing
# - **Data**: toy points; TwoPatternsGenerated, made by the package
# - **Answers**: the premise of the thesis (Mathisen 2024; paper: [arXiv 2408.16613](https://arxiv.org/abs/2408.16613)):
#   a non-contrastive loss shapes a representation so that classes can be read from it linearly, although it saw no
#   label; and the claim of Barlow Twins and VIbCReg that no negatives are needed against collapse

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
    width=(64, 256),  # D of the projections in the trainings of this chapter
    groups=(4, 4),  # of IterNorm there
    channels=16,  # of the encoder's first layer
    batch=64,  # B
    steps=(250, 1000),  # of each training
    rate=3e-3,
    lam=0.005,  # of Barlow Twins, as in the thesis
)

# %% [markdown]
# ## Two views of one series
#
# We have series and no labels. What can a network learn from that? One answer: *which changes do not matter*. Take a
# series, distort it twice at random, and ask the network for the same answer. The distorted copies are called *views*.
# Learning from such a task, without labels, is called *self-supervised learning* (SSL).
#
# In TwoPatternsGenerated each series is noise with two short patterns. A pattern is a *fall* (high, then low) or a
# *rise* (low, then high), and the class says which two come in which order. Places and lengths are random. In the
# figure, look at what the coloured views share with the grey series (which patterns come, in which order) and at what
# differs (where, how high, all of the noise).

# %%
from ncvqvae_lite.augmentations import amplitude_resize, gaussian_noise, window_warp
from ncvqvae_lite.data import load_dataset


def random_view(x, generator):
    """x (B, C, L) -> (B, C, L): warped in time, rescaled, with noise; another draw for each series."""
    x = window_warp(x, generator=generator)
    x = amplitude_resize(x, generator=generator)
    return gaussian_noise(x, std=0.3, generator=generator)


ds = load_dataset("TwoPatternsGenerated")
x_train, y_train = ds.x_train, ds.y_train  # (1000, 1, 128), (1000,)
x_test, y_test = ds.x_test[:1000], ds.y_test[:1000]
views = random_view(x_train, generator), random_view(x_train, generator)
print("series (n, C, L)", tuple(x_train.shape), "and one view of each", tuple(views[0].shape))

# %%
fig, axes = plots.figure(1, 2, height=3.2, sharey=True)
for ax, k, name in zip(axes[0], (1, 2), ("rise, fall", "fall, rise")):
    row = int((y_train == k).nonzero()[0])
    ax.plot(x_train[row, 0], color=plots.PALE, linewidth=3.5, label="series")
    for view, colour, label in zip(views, ("#0072B2", "#D55E00"), ("view 1", "view 2")):
        ax.plot(view[row, 0], color=colour, linewidth=1.1, label=label)
    ax.set_title(f"class no. {k}: {name}", fontsize=plots.TEXT)
    ax.set_xlabel(plots.STEPS)
axes[0, 0].set_ylabel("value (sd = 1)")
fig.legend(handles=ax.lines, loc="outside lower center", ncols=3, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# ![](drawings/two_views.svg)
#
# The game of this chapter in one picture. First the loss at its end is built, then the networks before it.

# %% [markdown]
# ## Agreement alone
#
# Let $a_n$ and $b_n$ be what the network puts out for the two views of series $n$: vectors with $D$ entries, the
# *projections*. (The name will make sense when we train.) For a batch of $B$ series they are the rows of two tensors `a`
# and `b` of shape (B, D). The demand for agreement is
#
# $$\text{sim} = \frac{1}{BD} \sum_{n,i} (a_{ni} - b_{ni})^2 .$$
#
# Do it with a pencil for the smallest network, $f(x) = w x$, and one pair of views $x_1 = 1$, $x_2 = 2$. Then
# $\text{sim} = w^2 (1 - 2)^2 = w^2$. Gradient descent with rate 0.1 multiplies $w$ by 0.8 in each step.

# %% tags=["nbval-check-output"]
own = (views[0] - views[1]).square().mean()
foreign = (views[0] - views[1].roll(1, dims=0)).square().mean()
nb.check("squared distance of two views, own over foreign series", own / foreign, low=0.1, high=0.8)
w = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
for _ in range(50):
    (slope,) = torch.autograd.grad((w * 1.0 - w * 2.0) ** 2, w)
    w = (w - 0.1 * slope).detach().requires_grad_()
nb.check("w after 50 steps is 0.8 to the 50", w, 0.8**50, rtol=1e-9)

# %% [markdown]
# The views agree because the network says 0 to everything. This is *collapse*. Nothing went wrong in the optimisation: a
# constant is the perfect answer to the question that was asked. So the question needs another part. There are two
# ideas:
#
# - **Contrastive**: the views of *other* series (negatives) must be far away. Chapter 11 is about that;
#   [chapter 18](18_losses_in_depth.ipynb) has the loss NT-Xent for comparison.
# - **Non-contrastive**: each entry of the projections must *vary* over the batch, and the entries must not all say the
#   same. No pair of different series is ever compared. That is what this chapter is about.
#
# ## Barlow Twins
#
# Zbontar et al. 2021 ([arXiv 2103.03230](https://arxiv.org/abs/2103.03230), eq. 1) look at columns instead of rows.
# Standardise each column over the batch: subtract its mean, divide by its standard deviation. Then the
# *cross-correlation* of column $i$ in the first view with column $j$ in the second is
#
# $$C_{ij} = \frac{1}{B} \sum_n \hat a_{ni} \hat b_{nj}, \qquad
# \mathcal L = \frac{1}{D} \Big[ \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2 \Big] .$$
#
# First sum: column $i$ must be the same in both views, *relative to how much it varies*. Shrinking does not help. Second
# sum: two columns must not say the same. The weight is $\lambda = 0.005$, and the thesis' code divides by $D$, which
# the paper does not.
#
# A batch of four series with $D = 2$, small enough for a pencil. The second view has its columns swapped.


# %%
def barlow_by_hand(a, b, lam):
    """Barlow Twins of a, b (B, D): total, on-diagonal sum, off-diagonal sum."""
    B, D = a.shape
    a_hat = (a - a.mean(dim=0)) / (a.std(dim=0) + 1e-8)  # (B, D), unbiased standard deviation
    b_hat = (b - b.mean(dim=0)) / (b.std(dim=0) + 1e-8)
    C = a_hat.T @ b_hat / B  # (D, D)
    on_diagonal = sum((1 - C[i, i]) ** 2 for i in range(D))
    off_diagonal = sum(C[i, j] ** 2 for i in range(D) for j in range(D) if i != j)
    return (on_diagonal + lam * off_diagonal) / D, on_diagonal, off_diagonal


square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)  # (B, D) = (4, 2)
swapped = square[:, [1, 0]]
for name, other in (("the same", square), ("swapped", swapped)):
    total, on, off = barlow_by_hand(square, other, cfg.lam)
    print(f"second view {name:8}: on-diagonal {on:.3f}, off-diagonal {off:.3f}, loss {total:.4f}")

# %% [markdown]
# The on-diagonal sum for two *identical* views should be 0 and is 0.125. Why? The standard deviation was computed with
# $B - 1$, the correlation with $B$. So $C_{ii}$ is at most $(B-1)/B$, here 3/4, and the sum $2 \cdot (1/4)^2$. At
# $B = 128$ nobody notices.
#
# [`ncvqvae_lite/ssl_losses.py`](../ncvqvae_lite/ssl_losses.py) has the package's version, without loops. We ask for the
# same value and the same gradient on random numbers, once with more series than columns, once with fewer.

# %% tags=["nbval-check-output"]
from ncvqvae_lite import ssl_losses


def check_same(name, by_hand, packaged):
    """Compare value and both gradients of two losses of (a, b) on random (B, D) in double precision."""
    for B, D in ((12, 5), (5, 12)):
        a, b = (torch.randn(B, D, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
        ours, theirs = by_hand(a, b), packaged(a, b)
        nb.check(f"{name}, B {B}, D {D}: value", theirs, ours, rtol=1e-9)
        for which, x, y in zip("ab", torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs, (a, b))):
            nb.check(f"{name}, B {B}, D {D}: gradient for {which}", y, x, rtol=1e-7, atol=1e-10)


nb.check(
    "pencil: on-diagonal, identical views", barlow_by_hand(square, square, cfg.lam)[1], 2 * (1 / 4) ** 2, rtol=1e-6
)
nb.check("pencil: off-diagonal, swapped columns", off, 2 * (3 / 4) ** 2, rtol=1e-6)
check_same(
    "Barlow Twins", lambda a, b: barlow_by_hand(a, b, cfg.lam)[0], lambda a, b: ssl_losses.barlow_twins(a, b).total
)

# %% [markdown]
# ## VICReg: one term for each demand
#
# Bardes et al. 2022 ([arXiv 2105.04906](https://arxiv.org/abs/2105.04906), eqs. 1 to 6) write the demands as three
# terms. *Invariance* is sim from above. *Variance* is a hinge, which is 0 once its demand is met: each column $z_i$ shall
# have a standard deviation of at least 1 over the batch. *Covariance* punishes columns that move together. With
# $z$ for either of `a` and `b`, and $\mathrm{Cov}(z)$ for its $D \times D$ covariance matrix (divided by $B - 1$):
#
# $$\text{var}(z) = \frac1D \sum_i \max\!\big(0,\ 1 - \sqrt{\mathrm{Var}(z_i) + 10^{-4}}\big), \qquad
# \text{cov}(z) = \frac1D \sum_{i \ne j} \mathrm{Cov}(z)_{ij}^2 ,$$
#
# $$\mathcal L = 25\, \text{sim}(a, b) + 25\, [\text{var}(a) + \text{var}(b)] + 1\, [\text{cov}(a) + \text{cov}(b)] .$$


# %%
def off_diagonal(matrix):
    """Sum of the squared entries of a square matrix off its diagonal."""
    return (matrix**2).sum() - (matrix.diagonal() ** 2).sum()


def variance_by_hand(z):
    return (1 - (z.var(dim=0) + 1e-4).sqrt()).clamp(min=0).mean()


def covariance_by_hand(z):
    centred = z - z.mean(dim=0)
    return off_diagonal(centred.T @ centred / (len(z) - 1)) / z.shape[1]


def vicreg_by_hand(a, b):
    sim = ((a - b) ** 2).mean()
    return 25 * sim + 25 * (variance_by_hand(a) + variance_by_hand(b)) + covariance_by_hand(a) + covariance_by_hand(b)


for name, z in (("square", square), ("half as large", square / 2), ("one column twice", square[:, [0, 0]])):
    print(f"{name:18} var {variance_by_hand(z):.3f}   cov {covariance_by_hand(z):.3f}")

# %% [markdown]
# **VIbCReg** (Lee and Aune 2021, [arXiv 2109.00783](https://arxiv.org/abs/2109.00783)) changes two things for time series.
# The covariance becomes the *correlation*: each centred column is divided by its length, so that the term does not
# depend on scale, and the mean runs over all $D^2$ entries. Its weight in the thesis is 100. And the projections first
# pass through **IterNorm**, a layer that *whitens*: afterwards the columns of a group have variances near 1 and are
# nearly uncorrelated. [Chapter 18](18_losses_in_depth.ipynb) builds that layer.


# %%
def correlation_by_hand(z):
    centred = z - z.mean(dim=0)
    unit = centred / centred.norm(dim=0)  # columns of length 1
    return off_diagonal(unit.T @ unit) / z.shape[1] ** 2


def vibcreg_by_hand(a, b):
    var, cov = (f(a) + f(b) for f in (variance_by_hand, correlation_by_hand))
    return 25 * ((a - b) ** 2).mean() + 25 * var + 100 * cov


# %% tags=["nbval-check-output"]
nb.check("pencil: var, sd = sqrt(1/3)", variance_by_hand(square / 2), 1 - (1 / 3 + 1e-4) ** 0.5, rtol=1e-9)
nb.check("pencil: cov of a doubled column, 2 (4/3)^2 / 2", covariance_by_hand(square[:, [0, 0]]), 16 / 9, rtol=1e-9)
nb.check("pencil: correlation of a doubled column, 2 / 4", correlation_by_hand(square[:, [0, 0]]), 0.5, rtol=1e-9)
check_same("VICReg", vicreg_by_hand, lambda a, b: ssl_losses.vicreg(a, b).total)
check_same("VIbCReg", vibcreg_by_hand, lambda a, b: ssl_losses.vibcreg(a, b).total)

# %% [markdown]
# ### Which term sees which failure
#
# Four ways to fill a plane with 200 series, $D = 2$. *Healthy*: a round cloud, both views nearly equal. *Collapsed*:
# the same, 1000 times smaller. *Line*: both columns say the same. *Disagreeing*: two unrelated clouds. The numbers below
# each cloud are the terms; which of them stick out, and where would sim alone be happiest?

# %%
noise = torch.randn(3, 200, 2, dtype=torch.float64, generator=generator)
cloud, jitter, other = 1.1 * (noise - noise.mean(dim=1, keepdim=True)) / noise.std(dim=1, keepdim=True)  # sd 1.1
clouds = {
    "healthy": (cloud, cloud + 0.1 * jitter),
    "collapsed": (cloud / 1000, cloud / 1000 + 0.0001 * jitter),
    "line": (cloud[:, [0, 0]] + 0.05 * other, cloud[:, [0, 0]] + 0.1 * jitter),
    "disagreeing": (cloud, other),
}
fig, axes = plots.figure(1, 4, height=3.8, sharey=True)
terms = {}
for ax, (name, (a, b)) in zip(axes[0], clouds.items()):
    vic, barlow = ssl_losses.vicreg(a, b), ssl_losses.barlow_twins(a, b)
    terms[name] = {"sim": vic.sim, "var": vic.var, "cov": vic.cov, "on": barlow.on_diagonal, "off": barlow.off_diagonal}
    for z, colour, label in ((a, plots.REAL, "view 1"), (b, "#0072B2", "view 2")):
        ax.plot(*z.T, ".", color=colour, markersize=2.5, label=label)
    ax.set(xlim=(-4, 4), ylim=(-4, 4), xticks=(-3, 0, 3), yticks=(-3, 0, 3), aspect="equal")
    ax.set_title(name, fontsize=plots.TEXT)
    values = [f"{label:4}{float(value):5.2f}" for label, value in terms[name].items()]
    ax.set_xlabel("\n".join(values), fontsize=plots.SMALL, family="monospace")
axes[0, 0].set_ylabel("second column")
fig.legend(handles=ax.lines, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False, markerscale=4)
fig

# %% tags=["nbval-check-output"]
nb.check("healthy: largest of all terms", max(terms["healthy"].values()), low=0, high=0.2)
nb.check("collapsed: sim", terms["collapsed"]["sim"], low=0, high=1e-6)
nb.check("collapsed: var, of at most 2", terms["collapsed"]["var"], low=1.9, high=2)
nb.check("line: cov", terms["line"]["cov"], low=1, high=4)
nb.check("line: off-diagonal, of at most 2", terms["line"]["off"], low=1.8, high=2)
nb.check("disagreeing: on-diagonal, 2 for unrelated columns", terms["disagreeing"]["on"], low=1, high=3)
for name in ("on", "off"):
    nb.check(f"Barlow's {name}-diagonal is blind to scale", terms["collapsed"][name], terms["healthy"][name], atol=1e-3)

# %% [markdown]
# Barlow Twins gives the tiny cloud the *same* loss as the healthy one: it standardises, so it cannot see size at all. Its
# protection is of another kind. Shrinking does not pay, so nothing drives the projections there. VICReg forbids a small
# spread; Barlow Twins takes away the reward for it.
#
# ## Train: a small encoder and a head
#
# Three convolutions over time; then mean and maximum over time are put side by side, as the thesis does with its latent
# grid. These 64 numbers are the *features* $h$, the representation that one keeps. A *projector* of three layers, thrown
# away after training, turns them into the projections that the loss sees. Neither has batch normalisation, on purpose:
# it fixes the variance inside the network and would hide what the loss terms do ([chapter 18](18_losses_in_depth.ipynb)
# puts it back).

# %%
from torch import nn


class Encoder(nn.Module):
    """Series (B, 1, L) -> features (B, 4 * channels)."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv1d(channels, 2 * channels, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv1d(2 * channels, 2 * channels, 5, stride=2, padding=2),
        )

    def forward(self, x):
        h = self.layers(x)  # (B, 2 * channels, L / 16)
        return torch.cat([h.mean(dim=2), h.amax(dim=2)], dim=1)  # (B, 4 * channels)


# %%
def head(in_features, width, whiten):
    """Features (B, in_features) -> projections (B, width)."""
    last = ssl_losses.IterNorm(width, num_groups=cfg.groups) if whiten else nn.Identity()
    first, middle = nn.Linear(in_features, width), nn.Linear(width, width)
    return nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), nn.Linear(width, width), last)


# %% [markdown]
# All losses below start from the same weights and see the same views in the same order. What differs is the loss.


# %%
def pairs_of_views():
    """The same draws for every loss: cfg.steps pairs of views, each (batch, 1, L)."""
    g = torch.Generator().manual_seed(cfg.seed)
    for _ in range(cfg.steps):
        x = x_train[torch.randint(len(x_train), (cfg.batch,), generator=g)]
        yield random_view(x, g), random_view(x, g)


drawn = list(pairs_of_views())


def train(loss, whiten=False):
    """The encoder and the head that cfg.steps steps with loss(a, b) give."""
    torch.manual_seed(cfg.seed)
    encoder, projector = Encoder(cfg.channels), head(4 * cfg.channels, cfg.width, whiten)
    optimizer = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=cfg.rate)
    for views in drawn:
        a, b = (projector(encoder(view)) for view in views)
        optimizer.zero_grad()
        loss(a, b).backward()
        optimizer.step()
    return encoder.eval(), projector.eval()


# %% [markdown]
# The *probe* asks whether classes are linearly readable: freeze the encoder, fit a logistic regression from features to
# labels on the train split, count how often it is right on test series. We ask twice. *As is*: features as they come;
# the probe pays for large weights (scikit-learn's default penalty), so tiny features are not heard. *Rescaled*: every
# feature divided by its standard deviation first; this asks whether anything is left at all, however faint.
#
# Chance is 1/4. Two references tell what the training adds: the raw series, and the encoder with its random first
# weights.

# %%
from sklearn.linear_model import LogisticRegression


def probe(features):
    """Test accuracy of a logistic regression on frozen (train, test) features (n, D): as is, and rescaled."""
    train, test = (h.detach().double() for h in features)
    mean, sd = train.mean(dim=0), train.std(dim=0) + 1e-12
    accuracies = []
    for a, b in ((train, test), ((train - mean) / sd, (test - mean) / sd)):
        reader = LogisticRegression(max_iter=2000, tol=1e-3).fit(a.numpy(), y_train.numpy())
        accuracies.append(float(reader.score(b.numpy(), y_test.numpy())))
    return accuracies


torch.manual_seed(cfg.seed)
untrained = Encoder(cfg.channels).eval()  # the weights that every training starts from
scores = {"raw series": probe([x_train.flatten(1), x_test.flatten(1)])}
scores["untrained"] = probe([untrained(x_train), untrained(x_test)])
print({name: [round(score, 2) for score in row] for name, row in scores.items()})

# %% [markdown]
# ### Every term removed in turn
#
# Thirteen trainings. "VICReg - variance" is VICReg with the weight of that term set to 0. Write down what you expect
# before you run it: which removals bring the probe to chance? Which do nothing?

# %%
from torch.nn import functional

vic, vib, barlow = ssl_losses.vicreg, ssl_losses.vibcreg, ssl_losses.barlow_twins
jobs = {  # name -> loss of (a, b), with IterNorm or not
    "invariance only": (functional.mse_loss, False),
    "VICReg": (lambda a, b: vic(a, b).total, False),
    "VICReg - invariance": (lambda a, b: vic(a, b, sim=0.0).total, False),
    "VICReg - variance": (lambda a, b: vic(a, b, var=0.0).total, False),
    "VICReg - covariance": (lambda a, b: vic(a, b, cov=0.0).total, False),
    "VIbCReg": (lambda a, b: vib(a, b).total, True),
    "VIbCReg - invariance": (lambda a, b: vib(a, b, sim=0.0).total, True),
    "VIbCReg - variance": (lambda a, b: vib(a, b, var=0.0).total, True),
    "VIbCReg - correlation": (lambda a, b: vib(a, b, cov=0.0).total, True),
    "VIbCReg - IterNorm": (lambda a, b: vib(a, b).total, False),
    "Barlow Twins": (lambda a, b: barlow(a, b).total, False),
    "Barlow - diagonal": (lambda a, b: cfg.lam * barlow(a, b).off_diagonal / a.shape[1], False),
    "Barlow - off-diagonal": (lambda a, b: barlow(a, b).on_diagonal / a.shape[1], False),
}

# %%
print(f"{'probe of the features':24}  as is  rescaled   their spread (mean sd)")
for name, (loss, whiten) in jobs.items():
    encoder, _ = train(loss, whiten)
    h = [encoder(x).detach() for x in (x_train, x_test)]
    scores[name] = probe(h)
    print(f"{name:24} {scores[name][0]:6.2f} {scores[name][1]:9.2f} {float(h[0].std(dim=0).mean()):15.4f}")

# %% [markdown]
# The same as a picture. Full dots: probe as is. Rings: rescaled. Read each family from its complete form downwards.
# Look for the dots on the chance line, and for removals whose dot did not move. ("Excludes chance" in the checks: what chance would
# give lies outside the expected range.)

# %%
COLOURS = {"invariance only": plots.INK, "VICReg": METHODS["vicreg"].colour, "VIbCReg": METHODS["vibcreg"].colour}
COLOURS |= {"Barlow": METHODS["barlowtwins"].colour}
fig, axes = plots.figure(1, 1, height=5.4)
ax = axes[0, 0]
for row, name in enumerate(scores):
    colour = next((c for family, c in COLOURS.items() if name.startswith(family)), plots.REAL)
    ax.plot(scores[name], [row, row], color=colour, linewidth=1.2)
    ax.plot(scores[name][0], row, "o", color=colour, markersize=9, label="as is" if row == 0 else None)
    ax.plot(scores[name][1], row, "o", markerfacecolor="none", markeredgecolor=colour, markersize=12,
            label="rescaled" if row == 0 else None)  # fmt: skip
ax.axvline(0.25, color=plots.INK, linestyle=":", label="chance")
ax.axvline(scores["untrained"][0], color=plots.REAL, linestyle="--", label="untrained, as is")
ax.set_yticks(range(len(scores)), scores, fontsize=plots.SMALL)
ax.invert_yaxis()
ax.set_xlabel("accuracy of a linear probe on the features (4 classes)")
fig.legend(loc="outside lower center", ncols=4, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
random_encoder = {"chance": 0.25, "untrained encoder": scores["untrained"][0], "raw series": scores["raw series"][0]}
for name in ("VICReg", "VIbCReg", "Barlow Twins"):
    nb.check_band(cfg, "03", f"probe, {name}", scores[name][0], random_encoder)
for name in ("invariance only", "VICReg - variance", "VIbCReg - variance"):
    nb.check_band(cfg, "03", f"probe, {name}", scores[name][0], {"untrained encoder": scores["untrained"][0]})
nb.check_band(cfg, "03", "probe, VICReg - covariance", scores["VICReg - covariance"][0], {"chance": 0.25})
nb.check_band(
    cfg, "03", "probe, Barlow - diagonal", scores["Barlow - diagonal"][0], {"Barlow Twins": scores["Barlow Twins"][0]}
)
for name in ("raw series", "untrained", "VICReg - invariance", "VIbCReg - invariance", "VIbCReg - correlation"):
    nb.record("03", f"probe, {name}", scores[name][0])
for name in ("VIbCReg - IterNorm", "Barlow - off-diagonal"):
    nb.record("03", f"probe, {name}", scores[name][0])

# %% [markdown]
# What each removal does, over the recorded seeds below: six of the preset `quick`, which this notebook runs, and four of
# `paper` (wider projector, four times the steps). Two findings turn around between them; they are marked. Differences are
# taken seed by seed, from [`chapters.csv`](../data/results/chapters.csv).
#
# - **The three complete losses** make the classes readable almost without error: far better than the raw series and the
#   random network, without a label and without a negative. Both presets.
# - **Variance is the term against collapse.** Without it VICReg's features are as small as with agreement alone, and read
#   as is, both are at chance, in both presets. VIbCReg falls there too in `quick`, although it whitens: IterNorm adds
#   $\varepsilon = 10^{-5}$ to the variances, and a network that shrinks below that is not blown up again. *Turns around:*
#   in `paper` VIbCReg without variance keeps a probe of 0.61 to 0.75.
# - **Tiny is not empty.** Rescaled, the collapsed features read better than chance, but not better than the untrained
#   network's ring. The training has destroyed part of a random representation and added nothing.
# - **Without Barlow's diagonal** nothing asks for agreement, and the probe ends between 6 points below that of the
#   untrained network and 20 above it.
# - **Covariance is not what you may have expected.** Without it the probe of VICReg and Barlow Twins falls by up to 22
#   points (by fewer than 10 in most seeds; VICReg's not at all in the seed drawn above), and that of VIbCReg, which
#   whitens anyway, not at all. The damage is in the projections, which fall onto a line
#   ([chapter 18](18_losses_in_depth.ipynb)).
# - **Without invariance** VICReg and VIbCReg lose 6 to 27 points, but stay well above the untrained network. A likely
#   reason: columns that must vary, and not all alike, have to follow what varies most, and in these series that is the
#   patterns. What is missing: which changes do not matter.
# - **VIbCReg without IterNorm** learns less in `quick`. A likely reason: the correlation does not depend on scale, so its
#   slope grows as the columns become small, and with a weight of 100 it drowns the other terms of a fresh network.
#   *Turns around:* in `paper`, with four times the steps, it loses nothing.
#
# So the premise of the thesis holds here, with three qualifications: the views must leave the class alone (chapter 4
# shows views that do not); what avoids collapse is variance, by a term, by standardising or by a layer; and our series
# are easy, with one encoder and one kind of view.
#
# ## Recorded runs
#
# One run is one draw. Below are mean and standard deviation over seeds. Believe a difference between two lines when it
# is much larger than both standard deviations.

# %%
print(nb.recorded_runs("03"))

# %% [markdown]
# ## What to take along
#
# - Agreement alone is solved by a constant. A non-contrastive loss adds: every column must vary, no two may say the same.
# - Barlow Twins standardises, so it cannot see scale; VICReg and VIbCReg have a variance term; VIbCReg also whitens.
# - Probe the features: they are what is kept. The tokenizer of chapter 5 gets such a loss on pooled latents, beside the
#   reconstruction.
# - Whitening, the floor of the loss, batch size, batch normalisation, negatives: [chapter 18](18_losses_in_depth.ipynb),
#   optional.

# %% [markdown]
# ## Exercises
#
# Each exercise is one function. The check below it says what to look at when an answer is wrong; the hint is for when you are
# stuck.

# %%
import math

import torch

from ncvqvae_lite import nb

generator = nb.seed_everything(3)
square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)  # (B, D) = (4, 2)
random = torch.randn(6, 9, dtype=torch.float64, generator=generator)  # (B, D)
print("square", tuple(square.shape), "random", tuple(random.shape))

# %% [markdown]
# ### 3.1 A test that catches the leak `*`
# A covariance term must ignore the diagonal of the covariance matrix. If the diagonal leaks in, the term punishes
# variance and works against the variance term; nothing crashes, results only get worse. Write a test that finds it:
# given any function `term(z)`, say whether the diagonal plays a part. You may call `term` on any inputs that you like.
# The implementations that the check brings along differ by constant factors, so a comparison with a reference value
# does not work.


# %% tags=["exercise"]
def leaks_diagonal(term):
    """Does this covariance term see the diagonal?

    term     function of z (B, D) that returns a () tensor
    returns  True or False
    """
    # solution: find an input (B, D) for which you know what a right term returns
    z = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]], dtype=torch.float64)
    return not math.isclose(term(z), 0, abs_tol=1e-9)
    # end of solution


# %% tags=["nbval-check-output"]
def check_leaks_diagonal(answer):
    def gram(z):
        z = z - z.mean(dim=0)
        return ((z @ z.T) ** 2).sum() - ((z**2).sum(dim=0) ** 2).sum()

    everything = lambda z: (torch.cov(z.T) ** 2).sum() / z.shape[1]  # noqa: E731
    masked = lambda z: (torch.cov(z.T).fill_diagonal_(0) ** 2).mean()  # noqa: E731

    def minus_identity(z):  # right for features of variance 1 only
        return ((torch.cov(z.T, correction=0) - torch.eye(z.shape[1], dtype=z.dtype)) ** 2).sum()

    def minus_mean(z):  # right for features of equal variances only
        return ((torch.cov(z.T) - z.var(dim=0).mean() * torch.eye(z.shape[1], dtype=z.dtype)) ** 2).sum()

    def doubled(z):  # the diagonal is subtracted twice; negative and small
        return 1e-4 * ((torch.cov(z.T) ** 2).sum() - 2 * (z.var(dim=0) ** 2).sum())

    hint = "for which features must every right term be 0? May you choose their variances?"
    wrong = everything, minus_identity, minus_mean, doubled
    for number, term in enumerate((gram, masked, *wrong), start=1):
        nb.check(f"does implementation {number} leak", answer(term), term in wrong, hint=hint)


nb.examine(check_leaks_diagonal, leaks_diagonal)


# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> `square` from the set-up has uncorrelated columns. Which accidents does it have,
# besides? Its columns have variance 1 (dividing by B). Give yours other variances. </details>


# %% tags=["solution"]
def wrong_random_input(term):
    """tests with random numbers, whose columns are correlated by chance"""
    return bool(term(random).abs() > 1e-9)


def wrong_unit_variance(term):
    """tests with columns of variance 1 only"""
    return bool(term(square).abs() > 1e-9)


def wrong_scale_test(term):
    """takes every term that changes with the scale of the features for a leak"""
    return bool((term(2 * random) - term(random)).abs() > 1e-9)


def wrong_equal_variances(term):
    """tests with columns of one variance, 4"""
    return bool(term(2 * square).abs() > 1e-9)


def wrong_positive_leak(term):
    """believes that a leak can only add to the term"""
    return leaks_diagonal(lambda z: term(z).clamp(min=0))


def wrong_large_leak(term):
    """finds leaks above 0.1 only"""
    return bool(term(square * torch.tensor([3.0, 1.0], dtype=torch.float64)).abs() > 0.1)


nb.refused(check_leaks_diagonal, wrong_random_input, wrong_unit_variance, wrong_scale_test)
nb.refused(check_leaks_diagonal, wrong_equal_variances, wrong_positive_leak, wrong_large_leak)

# %% [markdown]
# ### 3.2 IterNorm with eigenvectors `**`
# Write what IterNorm would do with infinitely many steps and no rounding: split $x$ of shape (B, D) into `groups`
# groups of neighbouring features, and in each group subtract the mean and multiply by
# $(\Sigma + \varepsilon I)^{-1/2}$, with $\Sigma$ divided by $B$. There are many matrices that whiten; IterNorm's is
# the *symmetric* one, which changes the features least: $U \operatorname{diag}(s^{-1/2})\, U^T$ with eigenvectors $U$ and
# eigenvalues $s$, $\Sigma + \varepsilon I = U \operatorname{diag}(s)\, U^T$. Without the last factor the result is white
# too, but its features are in another order and have other signs in every batch.


# %% tags=["exercise"]
def whiten_exactly(x, groups, eps=1e-5):
    """Whitening of x (B, D) in groups of D / groups neighbouring features.

    returns  (B, D)
    """
    # solution: what is done to one group? Which of the many whitening matrices is the symmetric one?
    whitened = []
    for group in x.split(x.shape[1] // groups, dim=1):  # (B, d)
        centred = group - group.mean(dim=0)
        covariance = centred.T @ centred / len(x) + eps * torch.eye(centred.shape[1], dtype=x.dtype)  # (d, d)
        values, vectors = torch.linalg.eigh(covariance)
        whitened.append(centred @ (vectors * values**-0.5) @ vectors.T)
    return torch.cat(whitened, dim=1)
    # end of solution


# %% tags=["nbval-check-output"]
def check_whiten_exactly(answer):
    from ncvqvae_lite.ssl_losses import IterNorm

    g = torch.Generator().manual_seed(4)
    mixing = torch.eye(6, dtype=torch.float64) + 0.2 * torch.randn(6, 6, dtype=torch.float64, generator=g)
    x = torch.randn(50, 6, dtype=torch.float64, generator=g) @ mixing + 1
    white = answer(x, 2)
    nb.check("shape", white.shape, (50, 6))
    blocks = torch.cov(white.T, correction=0)
    nb.check("covariance of the first group", blocks[:3, :3], torch.eye(3), atol=1e-3,
             hint="is the covariance divided by B? centred? three neighbours in each of two groups?")  # fmt: skip
    nb.check("mean", white.mean(dim=0), torch.zeros(6), atol=1e-9, hint="subtract the mean from what you whiten, too")
    for groups, eps in ((2, 0.3), (2, 1e-5), (3, 1e-5)):
        newton = IterNorm(6, num_groups=groups, iterations=10, eps=eps).double()(x)
        nb.check(f"IterNorm, 10 steps, {groups} groups, eps {eps:g}", answer(x, groups, eps), newton, rtol=1e-5, atol=1e-7,
                 hint="neighbours in a group; where does eps go; and are the features back on their own axes?")  # fmt: skip


nb.examine(check_whiten_exactly, whiten_exactly)


# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> `values, vectors = torch.linalg.eigh(S)` gives S = vectors @ diag(values) @
# vectors.T. `vectors * values ** -0.5` scales the columns. </details>


# %% tags=["solution"]
def wrong_no_rotation_back(x, groups, eps=1e-5):
    """PCA whitening: forgets to rotate back with U^T"""
    whitened = []
    for group in x.split(x.shape[1] // groups, dim=1):
        centred = group - group.mean(dim=0)
        values, vectors = torch.linalg.eigh(
            centred.T @ centred / len(x) + eps * torch.eye(centred.shape[1], dtype=x.dtype)
        )
        whitened.append(centred @ (vectors * values**-0.5))
    return torch.cat(whitened, dim=1)


def wrong_one_group(x, groups, eps=1e-5):
    """ignores the groups and whitens all features together"""
    return whiten_exactly(x, 1, eps)


def wrong_group_width(x, groups, eps=1e-5):
    """takes the number of groups for the width of a group"""
    return whiten_exactly(x, x.shape[1] // groups, eps)


nb.refused(check_whiten_exactly, wrong_no_rotation_back, wrong_one_group, wrong_group_width)

# %% [markdown]
# ### 3.3 More than two views `**`
# Nothing in VICReg needs exactly two views. Write it for any number $V \ge 2$ of them: sim is the *mean* over all pairs of
# different views, var and cov are *means* over the views, each times a constant, such that for two views this is VICReg
# as in the chapter.
# **To answer in words:** what would happen to the weights of the terms against each other if you took sums in place of
# means?


# %% tags=["exercise"]
def vicreg_of_views(views):
    """VICReg of V views, with the weights 25, 25 and 1.

    views    list of V tensors (B, D)
    returns  () tensor
    """
    # solution: over what is each of the three terms a mean, and how does it compare with two views?
    pairs = [(a, b) for i, a in enumerate(views) for b in views[:i]]
    sim = sum(((a - b) ** 2).mean() for a, b in pairs) / len(pairs)
    var = 2 * sum((1 - (z.var(dim=0) + 1e-4).sqrt()).clamp(min=0).mean() for z in views) / len(views)
    covariances = [torch.cov(z.T) for z in views]  # (D, D) each
    cov = 2 * sum(((c**2).sum() - (c.diagonal() ** 2).sum()) / len(c) for c in covariances) / len(views)
    return 25 * sim + 25 * var + cov
    # end of solution


# %% tags=["nbval-check-output"]
def check_vicreg_of_views(answer):
    from itertools import combinations

    from ncvqvae_lite.ssl_losses import vicreg

    g = torch.Generator().manual_seed(6)
    views = [scale * torch.randn(7, 4, dtype=torch.float64, generator=g) + 1 for scale in (0.3, 1.5, 0.6, 0.9)]
    nb.check("two views", answer(views[:2]), vicreg(*views[:2]).total, rtol=1e-9,
             hint="compare sim, var and cov of the chapter one by one")  # fmt: skip
    for count in (3, 4):  # a mean over the pairs of the two-view loss is the same: each view is in equally many pairs
        expected = torch.stack([vicreg(a, b).total for a, b in combinations(views[:count], 2)]).mean()
        nb.check(f"{count} views", answer(views[:count]), expected, rtol=1e-9,
                 hint="how many pairs are there, and how many views? By which of the two is each sum divided?")  # fmt: skip
    learned = [view.clone().requires_grad_() for view in views[:3]]
    slopes = torch.autograd.grad(answer(learned), learned)
    again = [view.clone().requires_grad_() for view in views[:3]]
    wanted = torch.autograd.grad(sum(vicreg(a, b).total for a, b in combinations(again, 2)) / 3, again)
    nb.check("gradient for three views", torch.stack(slopes), torch.stack(wanted), rtol=1e-7, atol=1e-10,
             hint="no view may be detached")  # fmt: skip


nb.examine(check_vicreg_of_views, vicreg_of_views)


# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> `itertools.combinations(views, 2)` lists all pairs. V views have V (V - 1) / 2 of them.
# </details>
#
# <details><summary>Answer in words</summary> The sum over pairs grows with V (V - 1) / 2, the sums over views with V. With
# constants that give the chapter's VICReg for two views, sim would weigh V - 1 times as much against var and cov as it
# did there, and what was tuned for two views no longer holds. </details>


# %% tags=["solution"]
def wrong_neighbours_only(views):
    """compares each view with the next one only"""
    sim = sum(((a - b) ** 2).mean() for a, b in zip(views, views[1:])) / (len(views) - 1)
    all_pairs = [((a - b) ** 2).mean() for i, a in enumerate(views) for b in views[:i]]
    return vicreg_of_views(views) + 25 * (sim - sum(all_pairs) / len(all_pairs))


def wrong_sums(views):
    """adds var and cov over the views in place of twice their mean"""
    pairs = [((a - b) ** 2).mean() for i, a in enumerate(views) for b in views[:i]]
    sim = sum(pairs) / len(pairs)
    return 25 * sim + (vicreg_of_views(views) - 25 * sim) * len(views) / 2


def wrong_pairs_with_oneself(views):
    """counts the pairs of a view with itself, too"""
    pairs = [((a - b) ** 2).mean() for a in views for b in views]
    others = [((a - b) ** 2).mean() for i, a in enumerate(views) for b in views[:i]]
    return vicreg_of_views(views) + 25 * (sum(pairs) / len(pairs) - sum(others) / len(others))


def wrong_first_two(views):
    """looks at the first two views only"""
    return vicreg_of_views(views[:2])


def wrong_without_hinge(views):
    """pulls deviations above 1 back, too"""
    above = sum((z.var(dim=0) + 1e-4).sqrt().sub(1).clamp(min=0).mean() for z in views)
    return vicreg_of_views(views) + 25 * 2 * above / len(views)


nb.refused(check_vicreg_of_views, wrong_neighbours_only, wrong_sums, wrong_pairs_with_oneself, wrong_first_two)
nb.refused(check_vicreg_of_views, wrong_without_hinge)
