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
# - **Goals**: after it you can write Barlow Twins, VICReg and VIbCReg with IterNorm from their formulas; see which kind
#   of collapse each term forbids; compute their $D \times D$ sums without a $D \times D$ matrix; say what batch size
#   and projector width do
# - **Before**: nothing from chapters 1 and 2; covariance and eigenvalues; batch normalisation
# - **Time**: 60 seconds of computing
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
    small_batch=8,
    steps=(250, 1000),  # of each training
    rate=3e-3,
    lam=0.005,  # of Barlow Twins; this and the next two as in the thesis
    wide=4096,  # width of the thesis' projector
    thesis_batch=128,
)

# %% [markdown]
# ## Two views of one series
#
# We have series and no labels. What can a network learn from that? One answer: *which changes do not matter*. Take a
# series, distort it twice at random, and ask the encoder for the same answer. The distorted copies are called *views*.
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
fig, axes = plots.figure(2, 2, height=4.6, sharex=True, sharey=True)
for k, (ax, name) in enumerate(zip(axes.flat, ("fall, fall", "rise, fall", "fall, rise", "rise, rise"))):
    row = int((y_train == k).nonzero()[0])
    ax.plot(x_train[row, 0], color=plots.PALE, linewidth=3.5, label="series")
    for view, colour, label in zip(views, ("#0072B2", "#D55E00"), ("view 1", "view 2")):
        ax.plot(view[row, 0], color=colour, linewidth=1.1, label=label)
    ax.set_title(f"class {ds.class_names[k]}: {name}", fontsize=plots.TEXT)
for ax in axes[1]:
    ax.set_xlabel(plots.STEPS)
fig.supylabel("value (sd = 1)", fontsize=plots.TEXT)
fig.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=plots.SMALL, frameon=False
)
fig

# %% tags=["nbval-check-output"]
nb.check("shape of a view (n, C, L)", views[0].shape, (1000, 1, 128))
nb.check("finite values in both views", int(sum(view.isfinite().sum() for view in views)), 2 * 1000 * 128)
own = (views[0] - views[1]).square().mean()
foreign = (views[0] - views[1].roll(1, dims=0)).square().mean()
nb.check("squared distance of two views, own over foreign series", own / foreign, low=0.1, high=0.8)

# %% [markdown]
# ![](drawings/two_views.svg)
#
# The game of this chapter in one picture. First the loss at its end is built, then the networks before it.

# %% [markdown]
# ## Agreement alone
#
# Let $a_n$ and $b_n$ be what the network says about the two views of series $n$: vectors with $D$ entries, the
# *features*. For a batch of $B$ series they are the rows of two tensors `a` and `b` of shape (B, D). The demand for
# agreement is
#
# $$\text{sim} = \frac{1}{BD} \sum_{n,i} (a_{ni} - b_{ni})^2 .$$
#
# Do it with a pencil for the smallest network, $f(x) = w x$, and one pair of views $x_1 = 1$, $x_2 = 2$. Then
# $\text{sim} = w^2 (1 - 2)^2 = w^2$. Gradient descent with rate 0.1 multiplies $w$ by 0.8 in each step.

# %% tags=["nbval-check-output"]
w = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
for _ in range(50):
    (slope,) = torch.autograd.grad((w * 1.0 - w * 2.0) ** 2, w)
    w = (w - 0.1 * slope).detach().requires_grad_()
nb.check("w after 50 steps is 0.8 to the 50", w, 0.8**50, rtol=1e-9)
nb.check("output for x = 1 is nearly the output for x = 2", w * 1.0, w * 2.0, atol=1e-4)

# %% [markdown]
# The views agree because the network has gone silent. This is *collapse*. Nothing went wrong in the optimisation: a
# constant is the perfect answer to the question that was asked. So the question needs another part. There are two
# ideas:
#
# - **Contrastive**: the views of *other* series (negatives) must be far away. NT-Xent does it; we come back to it.
# - **Non-contrastive**: the *features* must vary over the batch, and must not all say the same. No pair of different
#   series is ever compared. That is what this chapter is about.
#
# ## Barlow Twins
#
# Zbontar et al. 2021 ([arXiv 2103.03230](https://arxiv.org/abs/2103.03230), eq. 1) look at columns instead of rows.
# Standardise each feature over the batch: subtract its mean, divide by its standard deviation. Then the
# *cross-correlation* of feature $i$ in the first view with feature $j$ in the second is
#
# $$C_{ij} = \frac{1}{B} \sum_n \hat a_{ni} \hat b_{nj}, \qquad
# \mathcal L = \frac{1}{D} \Big[ \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2 \Big] .$$
#
# First sum: feature $i$ must be the same in both views, *relative to how much it varies*. A feature that goes silent
# does not become better by it. Second sum: two features must not say the same. The weight is $\lambda = 0.005$, and the
# reference divides by $D$, which the paper does not.
#
# A batch of four series with two features, small enough for a pencil. The second view has its features swapped.


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
# $B = 128$ nobody notices; now you will know where it comes from.
#
# [`ncvqvae_lite/ssl_losses.py`](../ncvqvae_lite/ssl_losses.py) has the package's version, without loops. We ask for the
# same value and the same gradient on random numbers, once with more series than features, once with fewer.

# %% tags=["nbval-check-output"]
from ncvqvae_lite import ssl_losses


def check_same(name, by_hand, packaged, B, D):
    """Compare value and both gradients of two losses of (a, b) on random (B, D) in double precision."""
    a, b = (torch.randn(B, D, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    ours, theirs = by_hand(a, b), packaged(a, b)
    nb.check(f"{name}, B {B}, D {D}: value", theirs, ours, rtol=1e-9)
    for which, x, y in zip("ab", torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs, (a, b))):
        nb.check(f"{name}, B {B}, D {D}: gradient for {which}", y, x, rtol=1e-7, atol=1e-10)


def total_by_hand(a, b):
    return barlow_by_hand(a, b, cfg.lam)[0]


_, on, _ = barlow_by_hand(square, square, cfg.lam)
_, _, off = barlow_by_hand(square, swapped, cfg.lam)
nb.check("pencil: on-diagonal, identical views", on, 2 * (1 / 4) ** 2, rtol=1e-6)
nb.check("pencil: off-diagonal, swapped features", off, 2 * (3 / 4) ** 2, rtol=1e-6)
for B, D in ((12, 5), (5, 12)):
    check_same("Barlow Twins", total_by_hand, lambda a, b: ssl_losses.barlow_twins(a, b).total, B, D)

# %% [markdown]
# ## VICReg: one term for each demand
#
# Bardes et al. 2022 ([arXiv 2105.04906](https://arxiv.org/abs/2105.04906), eqs. 1 to 6) write the demands as three
# terms. *Invariance* is sim from above. *Variance* is a hinge, which is 0 once its demand is met: each feature $z_i$ shall have a standard deviation of at
# least 1 over the batch. *Covariance* punishes features that move together. With $\mathrm{Cov}(z)$ for the $D \times D$
# covariance matrix of one view (divided by $B - 1$):
#
# $$\text{var}(z) = \frac1D \sum_i \max\!\big(0,\ 1 - \sqrt{\mathrm{Var}(z_i) + 10^{-4}}\big), \qquad
# \text{cov}(z) = \frac1D \sum_{i \ne j} \mathrm{Cov}(z)_{ij}^2 ,$$
#
# $$\mathcal L = 25\, \text{sim}(a, b) + 25\, [\text{var}(a) + \text{var}(b)] + 1\, [\text{cov}(a) + \text{cov}(b)] .$$
#
# Each view has its own variance and covariance; only sim looks at both.


# %%
def variance_by_hand(z):
    return sum((1 - (z[:, i].var() + 1e-4).sqrt()).clamp(min=0) for i in range(z.shape[1])) / z.shape[1]


def covariance_by_hand(z):
    B, D = z.shape
    z = z - z.mean(dim=0)
    Cov = z.T @ z / (B - 1)  # (D, D)
    return (Cov**2).masked_fill(torch.eye(D, dtype=torch.bool), 0).sum() / D


def vicreg_by_hand(a, b):
    sim = ((a - b) ** 2).mean()
    return 25 * sim + 25 * (variance_by_hand(a) + variance_by_hand(b)) + covariance_by_hand(a) + covariance_by_hand(b)


for name, z in (("square", square), ("half as large", square / 2), ("one feature twice", square[:, [0, 0]])):
    print(f"{name:18} var {variance_by_hand(z):.3f}   cov {covariance_by_hand(z):.3f}")

# %% tags=["nbval-check-output"]
nb.check("pencil: sim of swapped features, 16 / 8", ((square - swapped) ** 2).mean(), 2.0)
nb.check("pencil: var, sd = sqrt(1/3)", variance_by_hand(square / 2), 1 - (1 / 3 + 1e-4) ** 0.5, rtol=1e-9)
nb.check("pencil: cov of a doubled feature, 2 (4/3)^2 / 2", covariance_by_hand(square[:, [0, 0]]), 16 / 9, rtol=1e-9)
for B, D in ((12, 5), (5, 12)):
    check_same("VICReg", vicreg_by_hand, lambda a, b: ssl_losses.vicreg(a, b).total, B, D)

# %% [markdown]
# ### Which term sees which failure
#
# Four ways to fill a plane with 200 series, $D = 2$. *Healthy* (no bar to see in its row is right): a round cloud, both views nearly equal. *Collapsed*:
# the same, 1000 times smaller. *Line*: both features say the same. *Disagreeing*: two unrelated clouds. Look for the
# bars that stick out in a row, and at the row where sim alone would be happiest.

# %%
clouds, B = {}, 200
noise = torch.randn(3, B, 2, dtype=torch.float64, generator=generator)
cloud, jitter, other = 1.1 * (noise - noise.mean(dim=1, keepdim=True)) / noise.std(dim=1, keepdim=True)  # sd 1.1
clouds["healthy"] = cloud, cloud + 0.1 * jitter
clouds["collapsed"] = cloud / 1000, cloud / 1000 + 0.0001 * jitter
clouds["line"] = cloud[:, [0, 0]] + 0.05 * other, cloud[:, [0, 0]] + 0.1 * jitter
clouds["disagreeing"] = cloud, other
terms = {}
for name, (a, b) in clouds.items():
    vic, barlow = ssl_losses.vicreg(a, b), ssl_losses.barlow_twins(a, b)
    terms[name] = [float(t) for t in (vic.sim, vic.var, vic.cov, barlow.on_diagonal, barlow.off_diagonal)]
    print(f"{name:12}", "  ".join(f"{t:6.3f}" for t in terms[name]))

# %%
fig, axes = plots.figure(4, 2, height=6.6)
labels = "sim", "var", "cov", "on-\ndiag.", "off-\ndiag."
colours = ["#56B4E9"] * 3 + [METHODS["barlowtwins"].colour] * 2
for (left, right), (name, (a, b)) in zip(axes, clouds.items()):
    for z, colour, label in ((a, plots.REAL, "view 1"), (b, "#0072B2", "view 2")):
        left.plot(*z.T, ".", color=colour, markersize=3, label=label)
    left.set(xlim=(-4, 4), ylim=(-4, 4))
    left.set_ylabel(name, fontsize=plots.TEXT)
    right.bar(range(5), terms[name], color=colours)
    right.set(ylim=(0, 4), xticks=range(5))
    right.set_xticklabels(labels if name == "disagreeing" else [], fontsize=plots.SMALL)
axes[0, 0].set_title("200 series in two features", fontsize=plots.TEXT)
axes[0, 1].set_title("VICReg (blue), Barlow (orange)", fontsize=plots.TEXT)
axes[3, 0].set_xlabel("feature 1", fontsize=plots.SMALL)
axes[0, 1].text(2, 1.6, "all terms near 0", ha="center", fontsize=plots.SMALL)
fig.supylabel("feature 2 (left), value of the term (right)", fontsize=plots.SMALL)
handles = axes[0, 0].get_legend_handles_labels()
fig.legend(*handles, loc="outside lower left", ncols=2, fontsize=plots.SMALL, frameon=False, markerscale=4)
fig

# %% tags=["nbval-check-output"]
table = dict(zip(clouds, (dict(zip(("sim", "var", "cov", "on", "off"), row)) for row in terms.values())))
nb.check("healthy: largest of all terms", max(terms["healthy"]), low=0, high=0.2)
nb.check("collapsed: sim", table["collapsed"]["sim"], low=0, high=1e-6)
nb.check("collapsed: var, of at most 2", table["collapsed"]["var"], low=1.9, high=2)
nb.check("line: cov", table["line"]["cov"], low=1, high=4)
nb.check("line: off-diagonal, of at most 2", table["line"]["off"], low=1.8, high=2)
nb.check("disagreeing: on-diagonal, 2 for unrelated features", table["disagreeing"]["on"], low=1, high=3)
nb.check("Barlow Twins is blind to scale", terms["collapsed"][3:], terms["healthy"][3:], atol=1e-3)

# %% [markdown]
# Read the second row again. Barlow Twins gives the tiny cloud the *same* loss as the healthy one: it standardises, so
# it cannot see size at all. Its protection is of another kind. Shrinking does not pay, so nothing drives the features
# there. VICReg forbids a small spread; Barlow Twins takes away the reward for it.
#
# ## VIbCReg: correlations and whitening
#
# Lee and Aune 2021 ([arXiv 2109.00783](https://arxiv.org/abs/2109.00783)) change two things in VICReg for time series.
# First, the covariance becomes the *correlation*: each centred column is divided by its length, so that the term does
# not depend on scale. The mean runs over all $D^2$ entries. The thesis weights it with 100 and trains with
# $0.01\,(25\,\text{sim} + 25\,\text{var} + 100\,\text{cov})$; the 0.01 sets the balance with the reconstruction loss,
# which this chapter does not have.


# %%
def correlation_by_hand(z):
    D = z.shape[1]
    z = z - z.mean(dim=0)
    z = z / (z**2).sum(dim=0).sqrt()  # columns of length 1
    M = z.T @ z  # (D, D), correlations
    return (M**2).masked_fill(torch.eye(D, dtype=torch.bool), 0).sum() / D**2


def vibcreg_by_hand(a, b):
    var, cov = (f(a) + f(b) for f in (variance_by_hand, correlation_by_hand))
    return 25 * ((a - b) ** 2).mean() + 25 * var + 100 * cov


line = clouds["line"][0]
for factor in (1, 0.01):
    cov, correlation = covariance_by_hand(factor * line), correlation_by_hand(factor * line)
    print(f"line, times {factor:4}: cov {cov:.2g}, correlation {correlation:.2g}")

# %% tags=["nbval-check-output"]
nb.check("pencil: a doubled feature, 2 / 4", correlation_by_hand(square[:, [0, 0]]), 0.5, rtol=1e-9)
for B, D in ((12, 5), (5, 12)):
    check_same("VIbCReg", vibcreg_by_hand, lambda a, b: ssl_losses.vibcreg(a, b).total, B, D)

# %% [markdown]
# Second, the projections pass through **IterNorm** (Huang et al. 2019,
# [arXiv 1904.03441](https://arxiv.org/abs/1904.03441), algorithm 1), a layer that *whitens*: it subtracts the mean and
# multiplies by the inverse square root of the covariance, so that afterwards all features have variance 1 and no two
# are correlated. With eigenvalues $s_i$ and eigenvectors $u_i$ of $\Sigma$ that is
# $\Sigma^{-1/2} = \sum_i s_i^{-1/2} u_i u_i^T$. Eigenvectors are slow on a GPU and their gradients blow up where two
# eigenvalues meet. Newton's iteration needs matrix products only:
#
# $$P_0 = I, \qquad P_{k+1} = \tfrac32 P_k - \tfrac12 P_k^3 \Sigma_N, \qquad
# \Sigma_N = \Sigma / \operatorname{tr} \Sigma ,$$
#
# and $P_k / \sqrt{\operatorname{tr} \Sigma}$ tends to $\Sigma^{-1/2}$. All $P_k$ have the eigenvectors of $\Sigma$, so
# each eigenvalue goes its own way: for a share $s$ of the trace, a number $p$ follows
# $p \leftarrow 1.5\,p - 0.5\,p^3 s$ to $1/\sqrt{s}$. With a pencil: $s = 1/4$, start at 1: 1.375, 1.7376, ..., 2.

# %%
for share in (1 / 4, 1 / 64, 1 / 1000):
    p, path = 1.0, []
    for _ in range(10):
        p = 1.5 * p - 0.5 * p**3 * share
        path.append(p)
    print(f"share {share:.3f}, wanted {share**-0.5:5.2f}: " + " ".join(f"{p:5.2f}" for p in path))

# %% [markdown]
# A small share has a long way: as long as $p^3 s$ is small, each step only multiplies $p$ by 1.5. The variance that a
# direction has afterwards is $s p^2$, and it should be 1. The thesis stops after five steps. In a group of 64 features
# an average share is 1/64; there five steps reach $6.13^2 / 64 = 0.59$. Directions with a small share stay small. That
# is not all bad: in a batch they are the least certain ones, and full whitening makes them as loud as the others.
#
# Now for matrices. The layer adds $\varepsilon I$ with $\varepsilon = 10^{-5}$ to the covariance, which it divides by
# $B$.


# %%
def newton_whitening(x, steps, eps=1e-5):
    """x (B, d) -> approximate inverse square root of its covariance (d, d)."""
    x = x - x.mean(dim=0)
    identity = torch.eye(x.shape[1], dtype=x.dtype)
    cov = x.T @ x / len(x) + eps * identity
    P = identity
    for _ in range(steps):
        P = 1.5 * P - 0.5 * P @ P @ P @ cov / cov.trace()
    return P / cov.trace().sqrt()


def exact_whitening(x, eps=1e-5):
    """The same from eigenvalues and eigenvectors."""
    cov = torch.cov(x.T, correction=0) + eps * torch.eye(x.shape[1], dtype=x.dtype)
    values, vectors = torch.linalg.eigh(cov)
    return vectors @ torch.diag(values**-0.5) @ vectors.T


rotation = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64, generator=generator))[0]
sd = 2 * torch.logspace(0, -0.75, 8, dtype=torch.float64)  # (8,) from 2 to 0.36: variances from 4 to 0.13
x = torch.randn(500, 8, dtype=torch.float64, generator=generator) * sd @ rotation.T  # (B, d), correlated
errors = {}
for steps in (1, 3, 5, 8, 10, 12, 15, 20, 25):
    errors[steps] = float((newton_whitening(x, steps) - exact_whitening(x)).abs().max())
    print(f"{steps:2} steps: largest error {errors[steps]:.0e}")

# %% [markdown]
# Down to nothing after ten steps, as planned. Then up again, to nonsense. What is this? The formula is right, the
# computer rounds. A rounding error need not have the eigenvectors of $\Sigma$. Take one that mixes directions $i$ and
# $j$, near the solution, put it into the iteration and keep what is linear in it: it comes out multiplied by
#
# $$1 - \tfrac12 (r + r^2), \qquad r = \sqrt{s_j / s_i} .$$
#
# For equal variances this is 0. For $s_j = 16\, s_i$ it is $-9$: each step makes such an error nine times larger, and
# $10^{-16}$ needs 17 steps to become 1. So this iteration must be stopped early, also for this reason. Five steps are
# safe; "more iterations, better whitening" is a mistake that costs a night. (Relatives of Newton's iteration with this
# weakness have long been known: Higham 1986, "Newton's method for the matrix square root".)

# %% [markdown]
# Whitened features are $(x - \bar x) P^T$. The figure shows the covariance of the eight features before, after five
# steps and after exact whitening. Look for the diagonal: pale squares on it are features with a large part
# in directions that five steps have not lifted to 1.

# %%
centred = x - x.mean(dim=0)
covariances = {
    "before": torch.cov(x.T, correction=0),
    "5 Newton steps": torch.cov((centred @ newton_whitening(x, 5).T).T, correction=0),
    "exact": torch.cov((centred @ exact_whitening(x).T).T, correction=0),
}
fig, axes = plots.figure(1, 3, height=3.0)
for ax, (name, cov) in zip(axes[0], covariances.items()):
    image = ax.imshow(cov, cmap="PuOr_r", vmin=-1.5, vmax=1.5)
    ax.set_title(name, fontsize=plots.TEXT)
    ax.set_xlabel("feature")
    ax.set(xticks=range(0, 8, 2), yticks=range(0, 8, 2))
axes[0, 0].set_ylabel("feature")
fig.colorbar(image, ax=axes[0, 2], label="covariance", extend="both")
fig

# %% tags=["nbval-check-output"]
identity = torch.eye(8, dtype=torch.float64)
nb.check(
    "largest off-diagonal covariance before", (covariances["before"] * (1 - identity)).abs().max(), low=0.3, high=4
)
nb.check("exact whitening gives the identity", covariances["exact"], identity, atol=1e-3)
nb.check("10 Newton steps: error", errors[10], low=0, high=1e-6)
nb.check("25 Newton steps: error", errors[25], low=1)
layer = ssl_losses.IterNorm(16, num_groups=2).double()  # train mode: whitens with the batch's own statistics
x = (torch.randn(40, 16, dtype=torch.float64, generator=generator) * 2).requires_grad_()  # (B, D), two groups of 8
groups = [(g - g.mean(dim=0)) @ newton_whitening(g, 5).T for g in x.split(8, dim=1)]
weights = torch.randn(40, 16, dtype=torch.float64, generator=generator)
ours, theirs = torch.cat(groups, dim=1), layer(x)
nb.check("IterNorm: by hand and package", theirs, ours, rtol=1e-6, atol=1e-8)
(slope,), (slope_theirs,) = (torch.autograd.grad((weights * y).sum(), x) for y in (ours, theirs))
nb.check("IterNorm: gradient through the whitening", slope_theirs, slope, rtol=1e-6, atol=1e-8)

# %% [markdown]
# Groups: 4096 features would need a $4096 \times 4096$ matrix, and a batch of 128 cannot fill it. So IterNorm cuts them
# into 64 groups of 64 neighbours and whitens each alone. Features of different groups may still be correlated; that is
# left to the correlation term.
#
# How far do five steps get in a group of 64, and what happens when the group is *wider than the batch*? A centred batch
# of $B$ series spans at most $B - 1$ directions. In the others the variance is 0, and no whitening can make it 1. The
# figure shows the variance that each of the 64 directions has after the layer, sorted. Look at where the lines fall to
# 0.

# %%
spectra = {}
for B in (512, 128, 32, 16):
    x = torch.randn(B, 64, dtype=torch.float64, generator=generator)
    whitened = (x - x.mean(dim=0)) @ newton_whitening(x, 5).T
    spectra[B] = torch.linalg.eigvalsh(torch.cov(whitened.T, correction=0)).flip(0).clamp(min=0)  # (64,), falling
fig, axes = plots.figure(1, 1, height=3.4)
ax = axes[0, 0]
for (B, spectrum), style in zip(spectra.items(), ("-", "--", "-.", ":")):
    ax.plot(range(1, 65), spectrum, style, color=METHODS["vibcreg"].colour, linewidth=2.2, label=f"batch of {B}")
ax.axhline(1, color=plots.INK, linewidth=0.8)
ax.set_xlabel("direction of a group of 64 features")
ax.set_ylabel("variance after IterNorm")
ax.legend(fontsize=plots.SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
fig

# %% tags=["nbval-check-output"]
for B, spectrum in spectra.items():
    nb.check(f"directions with variance, batch of {B}", int((spectrum > 1e-6).sum()), min(64, B - 1))
nb.check("largest variance stays near 1", max(float(s[0]) for s in spectra.values()), low=0.9, high=1.01)
nb.check("smallest variance, batch of 512", spectra[512][-1], low=0.2, high=0.7)

# %% [markdown]
# The thesis uses batches of 20 to 128 and groups of 64. Up to a batch of 64 a group has directions without variance.
#
# ## The same sum from a smaller matrix
#
# The off-diagonal sum runs over $D^2$ entries, 16.8 million for $D = 4096$. But with a batch of 128 all of them are
# made of two thin matrices $X$ and $Y$ of shape $B \times D$ (the standardised views, over $\sqrt B$; for a covariance
# $X = Y$). Write the squared Frobenius norm $\|M\|_F^2 = \sum_{ij} M_{ij}^2$ as the trace $\operatorname{tr}(M M^T)$,
# and use that factors under a trace may rotate, $\operatorname{tr}(PQ) = \operatorname{tr}(QP)$:
#
# $$\|X^T Y\|_F^2 = \operatorname{tr}(X^T Y\, Y^T X) = \operatorname{tr}(X X^T\, Y Y^T)
# = \sum_{nm} (X X^T)_{nm} (Y Y^T)_{nm} .$$
#
# $X X^T$ and $Y Y^T$ are *Gram matrices*: $B \times B$, one entry for each pair of series. No $D \times D$ matrix is
# left. The off-diagonal sum is this norm minus the diagonal's part, and a diagonal entry $\sum_n X_{ni} Y_{ni}$ costs
# $B$ products only.
#
# Pencil: $X = Y = (1, 2)$, one series, two features. $X^T X$ has entries 1, 2, 2, 4, squares 1 + 4 + 4 + 16 = 25. The
# Gram matrix is the single number 5, and $5^2 = 25$.


# %%
def off_diagonal_gram(a, b):
    """Sum of the squared off-diagonal entries of a^T b for a, b (B, D)."""
    gram = ((a @ a.T) * (b @ b.T)).sum()  # (B, B) * (B, B)
    diagonal = (a * b).sum(dim=0)  # (D,)
    return gram - (diagonal**2).sum()


for B, D in ((20, 4096), (128, 4096), (128, 256), (128, 64)):
    wide, small = B * D**2, 2 * B**2 * D
    print(f"B {B:4}, D {D:5}: {wide:14,} products with D x D, {small:12,} with B x B, ratio {wide / small:7.2f}")

# %% [markdown]
# The ratio is $D / 2B$: 16 times fewer for the thesis' sizes. Where $2B > D$ the direct way is cheaper. The package
# switches at $B = D$, by the size of the matrix, not by the number of products.

# %% tags=["nbval-check-output"]
one = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
nb.check("pencil: off-diagonal, 25 - 1 - 16", off_diagonal_gram(one, one), 8.0)
a, b = (torch.randn(20, 300, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
direct = ((a.T @ b) ** 2).masked_fill(torch.eye(300, dtype=torch.bool), 0).sum()
gram = off_diagonal_gram(a, b)
nb.check("B x B and D x D: value", gram, direct, rtol=1e-10)
for which, x, y in zip("ab", torch.autograd.grad(direct, (a, b)), torch.autograd.grad(gram, (a, b))):
    nb.check(f"B x B and D x D: gradient for {which}", y, x, rtol=1e-8, atol=1e-8)
nb.check("products at B 128, D 4096: ratio", 128 * 4096**2 / (2 * 128**2 * 4096), 16.0)

# %% [markdown]
# ## What batch size and width do
#
# The Gram form also shows a limit. $C$ is made of $B$ centred rows, so its rank is at most $B - 1$, but Barlow Twins
# wants it to be the identity of rank $D$. For $D \ge B$ this is impossible. How far away must we stay? Take identical
# views. Then all $C_{ii}$ are $c = (B-1)/B$, as in the pencil example. The trace of $C$ is $c D$, and it is also the
# sum of the eigenvalues, of which at most $B - 1$ are not 0. Their squares have the smallest sum when they are equal:
# $\|C\|_F^2 \ge (cD)^2 / (B - 1)$. Minus the diagonal's $c^2 D$:
#
# $$\frac{\lambda}{D} \sum_{i \ne j} C_{ij}^2 \ \ge\ \lambda c^2 \Big( \frac{D}{B-1} - 1 \Big).$$
#
# And random features, which mean nothing at all? Two unrelated features have a squared correlation of $1/(B-1)$ on
# average, so the left side is about $\lambda c^2 (D - 1) / (B - 1)$, roughly $\lambda D / B$. Compare points and lines:
# where $D$ is much larger than $B$, random noise is already close to the best that *any* features can do.

# %%
batch_sizes = [20, 32, 64, 128, 256, 512]
floors = {}
for D in (cfg.wide, 512, 64):
    for B in batch_sizes:
        z = torch.randn(B, D, generator=generator)
        floors[D, B] = cfg.lam * float(ssl_losses.barlow_twins(z, z).off_diagonal) / D
fig, axes = plots.figure(1, 1, height=3.9)
ax = axes[0, 0]
for D, marker, line in zip((cfg.wide, 512, 64), "o^s", ("-", "--", ":")):
    colour = METHODS["barlowtwins"].colour
    ax.plot(
        batch_sizes, [floors[D, B] for B in batch_sizes], marker, color=colour, markersize=8, label=f"random, D = {D}"
    )
    bound = [cfg.lam * (1 - 1 / B) ** 2 * (D / (B - 1) - 1) if D >= B else float("nan") for B in batch_sizes]
    ax.plot(batch_sizes, bound, line, color=plots.INK, linewidth=1.5, label=f"least possible, D = {D}")
ax.set_xscale("log", base=2)
ax.set_yscale("log")
ax.set_xticks(batch_sizes, batch_sizes)
ax.set_xlabel("batch size B")
ax.set_ylabel("off-diagonal part of the loss")
ax.legend(fontsize=plots.SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
fig

# %% tags=["nbval-check-output"]
for B in (20, cfg.thesis_batch):
    expected = cfg.lam * (cfg.wide - 1) * (B - 1) / B**2
    nb.check(f"floor at D {cfg.wide}, B {B}: measured and by formula", floors[cfg.wide, B], expected, rtol=0.02)
    least = cfg.lam * (1 - 1 / B) ** 2 * (cfg.wide / (B - 1) - 1)
    nb.check(f"floor at D {cfg.wide}, B {B}: by formula", expected, digits=2, low=least, high=least * 1.1)

# %% [markdown]
# At the thesis' width, with views that agree, the off-diagonal part cannot fall below about 0.15 for a batch of 128 and
# 0.97 for a batch of 20, however good the encoder. This is not a failure of training, but remember it when you read a Barlow Twins loss that refuses to
# fall.
#
# ## With negatives: NT-Xent
#
# The contrastive way, for comparison (SimCLR, Chen et al. 2020, [arXiv 2002.05709](https://arxiv.org/abs/2002.05709),
# eq. 1). Put both views into one list of $2B$ rows and scale each row to length 1. For row $n$ there is one *positive*,
# the other view of the same series, and $2B - 2$ *negatives*. The loss is the cross-entropy of guessing the positive
# from similarities (dot products $s_{nm}$) over a temperature $\tau$:
#
# $$\ell_n = -\log \frac{\exp(s_{n,\text{pos}(n)} / \tau)}{\sum_{m \ne n} \exp(s_{nm} / \tau)} .$$
#
# Pencil: if everything has collapsed, all similarities are equal and the guess is one of $2B - 1$. The loss is
# $\log(2B - 1)$. Without negatives in the sum it would be 0, the best possible. So the negatives are the protection.

# %%
from torch.nn import functional


def nt_xent(a, b, temperature=0.2):
    """NT-Xent of a, b (B, D)."""
    B = len(a)
    z = functional.normalize(torch.cat([a, b]), dim=1)  # (2B, D)
    similarity = z @ z.T / temperature  # (2B, 2B)
    similarity = similarity.masked_fill(torch.eye(2 * B, dtype=torch.bool), float("-inf"))  # not with oneself
    positive = torch.cat([torch.arange(B, 2 * B), torch.arange(B)])  # (2B,)
    return functional.cross_entropy(similarity, positive)


print("  B   collapsed  agreeing  |   sim    var    cov   of the same agreeing views")
agreeing = torch.randn(256, 32, generator=generator)
agreeing = agreeing, agreeing + 0.5 * torch.randn(256, 32, generator=generator)
for B in (1, 2, 8, 64, 256):
    parts = list(zip(*(z.split(B) for z in agreeing)))  # 256 / B batches
    contrastive = sum(float(nt_xent(a, b)) for a, b in parts) / len(parts)
    row = f"{B:3}   {float(nt_xent(torch.ones(B, 32), torch.ones(B, 32))):9.3f}  {contrastive:8.3f}  |"
    if B > 1:
        vic = torch.tensor([[float(t) for t in ssl_losses.vicreg(a, b)[1:]] for a, b in parts]).mean(dim=0)
        row += "".join(f"{t:7.3f}" for t in vic)
    print(row)

# %% [markdown]
# With one series there are no negatives and the loss is 0 whatever the network does. With more, the *task* changes with
# the batch: finding one among 511 is harder than among 15, so the value grows for the same projections. VICReg's sim
# does not change. Its var and cov estimate a property of the whole data set, and a small batch only estimates it badly
# (cov counts chance correlations, as in the section before). Both kinds of loss depend on the batch, for different
# reasons.

# %% tags=["nbval-check-output"]
import math

eye = torch.eye(6, dtype=torch.float64)  # six series, all orthogonal, both views equal: 10 negatives at similarity 0
nb.check("collapsed, B 64: log(2B - 1)", nt_xent(torch.ones(64, 32), torch.ones(64, 32)), math.log(127), rtol=1e-5)
nb.check("orthogonal, B 6", nt_xent(eye, eye), math.log(math.exp(5) + 10) - 5, rtol=1e-9)
a, b = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator)
z = torch.cat([a, b]) / torch.cat([a, b]).norm(dim=1, keepdim=True)
losses = []
for n in range(10):
    others = [torch.exp(z[n] @ z[m] / 0.2) for m in range(10) if m != n]
    losses.append(-torch.log(torch.exp(z[n] @ z[(n + 5) % 10] / 0.2) / sum(others)))
nb.check("formula, row by row", nt_xent(a, b), sum(losses) / 10, rtol=1e-9)

# %% [markdown]
# ## Train: a small encoder and a head
#
# Three convolutions over time; then mean and maximum over time are put side by side, as the thesis does with its latent
# grid. These 64 numbers are the *features* $h$, the representation. A *projector* of three layers, thrown away after
# training, makes the projections $z$ that the loss sees. Careful with one word: until here "features" were the $D$ numbers that
# the loss sees. From here on those are called projections, and features are what the encoder says before the
# projector. Neither has batch normalisation, and that is on purpose: it
# fixes the variance inside the network and would hide what the loss terms do. We put it back at the end.

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
        h = self.layers(x)  # (B, 2 * channels, W)
        return torch.cat([h.mean(dim=2), h.amax(dim=2)], dim=1)  # (B, 4 * channels)


# %%
class Head(nn.Module):
    """Features of any number of views -> projections (B, width) of each."""

    def __init__(self, in_features, width, whiten):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.whiten = ssl_losses.IterNorm(width, num_groups=cfg.groups) if whiten else nn.Identity()

    def forward(self, *views):
        return tuple(self.whiten(self.layers(view)) for view in views)


# %%
def batches_of_views(batch):
    """The same draws for every loss: cfg.steps pairs of views, each (batch, 1, L)."""
    g = torch.Generator().manual_seed(cfg.seed)
    for _ in range(cfg.steps):
        x = x_train[torch.randint(len(x_train), (batch,), generator=g)]
        yield random_view(x, g), random_view(x, g)


drawn = {batch: list(batches_of_views(batch)) for batch in (cfg.batch, cfg.small_batch)}
weights = sum(
    p.numel() for p in [*Encoder(cfg.channels).parameters(), *Head(4 * cfg.channels, cfg.width, True).parameters()]
)
print(f"{weights} weights, {len(drawn[cfg.batch])} steps of {cfg.batch} pairs of views")

# %% [markdown]
# All losses below start from the same weights and see the same views in the same order. What differs is the loss.
# During training we note the *spread*: the standard deviation of a feature over the batch, averaged over features.

# %%
from typing import NamedTuple


class Trained(NamedTuple):
    encoder: nn.Module
    head: nn.Module
    spread: torch.Tensor  # (steps, 2): of the features, of the projections


def train(loss, whiten=False, batch=cfg.batch, head=Head):
    """Train an encoder and a head with loss(a, b)."""
    torch.manual_seed(cfg.seed)
    encoder = Encoder(cfg.channels)
    projector = head(4 * cfg.channels, cfg.width, whiten)
    optimizer = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=cfg.rate)
    spread = []
    for views in drawn[batch]:
        features = [encoder(view) for view in views]
        a, b = projector(*features)
        optimizer.zero_grad()
        loss(a, b).backward()
        optimizer.step()
        spread.append([float(z.detach().std(dim=0).mean()) for z in (features[0], a)])
    return Trained(encoder.eval(), projector.eval(), torch.tensor(spread))


# %% [markdown]
# The *probe* asks whether classes are linearly readable: freeze the encoder, fit a logistic regression from features to
# labels on the train split, count how often it is right on test series. We ask twice. *As is*: features as they come;
# the probe pays for large weights (scikit-learn's default penalty), so a whisper is not heard. *Rescaled*: every
# feature divided by its standard deviation first; this asks whether anything is left at all, however faint.
#
# Chance is 1/4. Two references tell what the training adds: the raw series, and the encoder with its random first
# weights.

# %%
from sklearn.linear_model import LogisticRegression


@torch.no_grad()
def outputs(module, x):
    """Outputs of a network for x, in double precision."""
    out = module(x)
    return (out[0] if isinstance(out, tuple) else out).double()


def probe(train_features, test_features, rescale=False):
    """Test accuracy of a logistic regression on frozen features (n, D)."""
    if rescale:
        mean, sd = train_features.mean(dim=0), train_features.std(dim=0) + 1e-12
        train_features, test_features = (train_features - mean) / sd, (test_features - mean) / sd
    reader = LogisticRegression(max_iter=2000, tol=1e-3).fit(train_features.numpy(), y_train.numpy())
    return float(reader.score(test_features.numpy(), y_test.numpy()))


# %%
torch.manual_seed(cfg.seed)
untrained = Encoder(cfg.channels).eval()  # the weights that every training starts from
references = {
    "raw series": [x.flatten(1).double() for x in (x_train, x_test)],  # (n, 1, L) -> (n, L)
    "untrained": [outputs(untrained, x) for x in (x_train, x_test)],
}
scores = {name: (probe(*h), probe(*h, rescale=True)) for name, h in references.items()}
print({name: [round(score, 2) for score in row] for name, row in scores.items()})

# %% [markdown]
# ### Collapse, watched
#
# The toy from the beginning, now in earnest: agreement alone, beside VICReg. Left, the spread during training; the
# scale is logarithmic. Look at which of the two falls first and furthest, features or projections. Right, two features
# of 300 test series before and after training with agreement alone. Both panels on the right show a
# range of the same length; colours are classes.

# %%
runs = {
    "invariance only": train(functional.mse_loss),
    "VICReg": train(lambda a, b: ssl_losses.vicreg(a, b).total),
}
COLOURS = {"invariance only": plots.INK, "VICReg": METHODS["vicreg"].colour, "VIbCReg": METHODS["vibcreg"].colour}
COLOURS |= {"Barlow": METHODS["barlowtwins"].colour, "NT-Xent": "#CC79A7"}
before, after = (outputs(e, x_test[:300]) for e in (untrained, runs["invariance only"].encoder))
pair = before.std(dim=0).topk(2).indices  # the two features that vary most before training
shrunk = float(after.std(dim=0).mean() / before.std(dim=0).mean())
print(f"mean spread of the features after training, as a part of that before: {shrunk:.3f}")

# %%
fig, axes = plots.figure(1, 3, height=3.9)
left = axes[0, 0]
for name, run in runs.items():
    for column, style, what in ((0, "-", "features"), (1, ":", "projections")):
        left.plot(run.spread[:, column], style, color=COLOURS[name], linewidth=2.2, label=f"{name}, {what}")
left.set_yscale("log")
left.set_xlabel("step")
left.set_ylabel("spread (sd over the batch)")
reach = 1.1 * float((before[:, pair] - before[:, pair].mean(dim=0)).abs().max())
for ax, h, title in zip(axes[0, 1:], (before, after), ("before", "after")):
    for k, colour in enumerate(plots.CLASS_COLOURS[:4]):
        ax.plot(*h[y_test[:300] == k][:, pair].T, plots.CLASS_MARKERS[k], color=colour, markersize=3.5)
    middle = h[:, pair].mean(dim=0)
    ax.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
    ax.set_title(f"{title}: 300 series", fontsize=plots.TEXT)
    ax.set_xlabel("a feature\n(colour: class)")
    ax.locator_params(nbins=3)
axes[0, 1].set_ylabel("another feature")
fig.legend(loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
log_spread = {name: run.spread[-20:].mean(dim=0).log10() for name, run in runs.items()}
nb.check_band(
    cfg, "03", "log10 spread of projections, invariance only", float(log_spread["invariance only"][1]), {"VICReg": 0.0}
)
nb.check_band(cfg, "03", "log10 spread of projections, VICReg", float(log_spread["VICReg"][1]), {"collapse": -4.0})
nb.check_band(cfg, "03", "features shrink to, invariance only", shrunk, {"nothing happens": 1.0})

# %% [markdown]
# The projections go silent first: shrinking the last layers is the shortest way to agreement. The features follow, as
# far as the gradient still reaches them, and that gradient dies together with the projections. So the features keep a
# faint copy of what the random network knew. This is why one looks at projections to *see* collapse and at features to
# *use* the network.
#
# ### Every term removed in turn
#
# Fourteen trainings, two of which you have already seen. "VICReg - variance" is VICReg with the weight of that term set to 0. Write down what you expect
# before you run it: which removals bring the probe to chance? Which do nothing?


# %%
def part(loss, **weights):
    return lambda a, b: loss(a, b, **weights).total


def barlow_diagonal(a, b):
    return ssl_losses.barlow_twins(a, b).on_diagonal / a.shape[1]


def barlow_rest(a, b):
    return cfg.lam * ssl_losses.barlow_twins(a, b).off_diagonal / a.shape[1]


# %%
vic, vib = ssl_losses.vicreg, ssl_losses.vibcreg
jobs = {  # name -> loss, with IterNorm or not
    "VICReg - invariance": (part(vic, sim=0.0), False),
    "VICReg - variance": (part(vic, var=0.0), False),
    "VICReg - covariance": (part(vic, cov=0.0), False),
    "VIbCReg": (part(vib), True),
    "VIbCReg - invariance": (part(vib, sim=0.0), True),
    "VIbCReg - variance": (part(vib, var=0.0), True),
    "VIbCReg - correlation": (part(vib, cov=0.0), True),
    "VIbCReg - IterNorm": (part(vib), False),
    "Barlow Twins": (part(ssl_losses.barlow_twins, offdiagonal=cfg.lam), False),
    "Barlow - diagonal": (barlow_rest, False),
    "Barlow - off-diagonal": (barlow_diagonal, False),
    "NT-Xent": (nt_xent, False),
}
print(len(jobs) + len(runs), "trainings in all, the two above included")

# %%
for name, (loss, whiten) in jobs.items():
    runs[name] = train(loss, whiten)


def read(run):
    """Probe of the features as is and rescaled, and of the projections as is."""
    h = [outputs(run.encoder, x) for x in (x_train, x_test)]
    z = [outputs(run.head, x.float()) for x in h]
    return probe(*h), probe(*h, rescale=True), probe(*z)


order = ["invariance only", *(n for f in ("VICReg", "VIbCReg", "Barlow", "NT-Xent") for n in runs if n.startswith(f))]
lines = [f"{'':22} features: as is  rescaled  projections: as is   spread of h"]
for name in order:
    scores[name] = read(runs[name])
    as_is, rescaled, projections = scores[name]
    spread = float(runs[name].spread[-1, 0])
    lines.append(f"{name:22} {as_is:15.2f}{rescaled:10.2f}{projections:20.2f}{spread:14.4f}")
print("\n".join(lines))

# %% [markdown]
# The same as a picture. Full dots: probe as is. Rings: rescaled. Read each family from its complete form downwards.
# Look for the dots on the chance line, and for removals whose dot did not move.

# %%
fig, axes = plots.figure(1, 1, height=6.0)
ax = axes[0, 0]
shown = ["raw series", "untrained", *order]
for row, name in enumerate(shown):
    colour = next((c for family, c in COLOURS.items() if name.startswith(family)), plots.REAL)
    ax.plot(scores[name][:2], [row, row], color=colour, linewidth=1.2)
    ax.plot(scores[name][0], row, "o", color=colour, markersize=9, label="as is" if row == 0 else None)
    ax.plot(scores[name][1], row, "o", markerfacecolor="none", markeredgecolor=colour, markersize=12,
            label="rescaled" if row == 0 else None)  # fmt: skip
ax.axvline(0.25, color=plots.INK, linestyle=":", label="chance")
ax.axvline(scores["untrained"][0], color=plots.REAL, linestyle="--", label="untrained, as is")
ax.set_yticks(range(len(shown)), shown, fontsize=plots.SMALL)
ax.invert_yaxis()
ax.set_xlim(0.2, 1.03)
ax.set_xlabel("accuracy of a linear probe on the features (4 classes)")
fig.legend(loc="outside lower center", ncols=4, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
random_encoder = {"chance": 0.25, "untrained encoder": scores["untrained"][0], "raw series": scores["raw series"][0]}
for name in ("VICReg", "VIbCReg", "Barlow Twins", "NT-Xent"):
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
# Three removals bring the probe to chance or leave it there, all by silence: agreement alone, and VICReg and VIbCReg
# without variance. One does nothing: VIbCReg without correlation. (VICReg without covariance may do nothing with one seed; over six seeds it does.) In detail, with six seeds (the recorded runs below show
# the spread):
#
# - **The four complete losses** make the classes readable almost without error: far better than the raw series and the
#   random network, and without a label. Three of them without a negative.
# - **Variance is the term against collapse.** Without it VICReg is as silent as agreement alone, and read as is, both
#   are at chance. VIbCReg falls there too, or nearly, although it whitens: IterNorm adds $\varepsilon = 10^{-5}$ to the
#   variances, and a network that shrinks below it is not blown up again.
# - **Silent is not empty.** Rescaled, the collapsed features read better than chance, but not better than the untrained
#   network's ring. The training has destroyed part of a random representation and added nothing.
# - **Without Barlow's diagonal** nothing asks for agreement, and the probe stays about where the untrained network was.
#   Decorrelation alone teaches little here.
# - **Covariance is not what you may have expected.** Without it the features of VICReg and Barlow Twins lose a few points
#   in most seeds and 14 to 23 in the worst one, and those of VIbCReg, which whitens anyway, nothing. The next figure
#   shows where the damage is.
# - **Without invariance** VICReg and VIbCReg lose roughly 5 to 25 points, but stay well above the untrained network. A
#   likely reason: features that must vary, and not all alike, have to follow what varies most, and in these series that
#   is the patterns. What is missing: which changes do not matter.
# - **VIbCReg without IterNorm** learns less in this time, in most seeds hardly more than the untrained network knows. A likely reason: the correlation does not
#   depend on scale, so its slope grows as features become small (halve the features and it doubles). With a weight of
#   100 and the small features of a fresh network it drowns the other terms. Whitening sets the scale before the loss
#   looks.
#
# ### Collapse to a line
#
# There is a second kind of collapse: projections vary, but all in one direction. The figure shows the variance of the
# projections in each direction, sorted, as a share of the largest. Look at how fast the dashed lines fall: these are
# the losses without covariance or off-diagonal term.

# %%
projected = {}
for name in ("VICReg", "VICReg - covariance", "Barlow Twins", "Barlow - off-diagonal", "VIbCReg", "NT-Xent"):
    z = outputs(runs[name].head, outputs(runs[name].encoder, x_test).float())  # (n, D)
    variances = torch.linalg.eigvalsh(torch.cov(z.T)).flip(0).clamp(min=0)
    projected[name] = variances / variances[0]
fig, axes = plots.figure(1, 1, height=3.9)
ax = axes[0, 0]
for name, shares in projected.items():
    colour = next(c for family, c in COLOURS.items() if name.startswith(family))
    style = "--" if " - " in name else "-"
    ax.plot(range(1, 21), shares[:20], style, color=colour, linewidth=2.2, label=name)
ax.set_yscale("log")
ax.set_ylim(1e-5, 1.5)
ax.set_xlabel("direction of the projections (20 largest)")
ax.set_ylabel("variance / largest")
ax.set_xticks([1, 5, 10, 15, 20])
ax.legend(fontsize=plots.SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
fig

# %% tags=["nbval-check-output"]
for name in ("VICReg - covariance", "Barlow - off-diagonal"):
    nb.check_band(cfg, "03", f"log10 second direction, {name}", float(projected[name][1].log10()), {"healthy": -0.3})
nb.check_band(cfg, "03", "log10 second direction, VIbCReg", float(projected["VIbCReg"][1].log10()), {"a line": -1.5})

# %% [markdown]
# Without the term all features of a projection say the same: one number per series is enough to be invariant and to
# vary. One number does not hold four classes well, and the projections' column of the table shows it. The features
# *before* the projector suffer much less: the projector is free to drop what the encoder still knows. So we probe
# features: they are what the tokenizer keeps, the projector is thrown away. And the terms for decorrelation protect the
# projections first, the features only through them.
#
# ### Batch normalisation is a variance term in disguise
#
# The thesis' projector, `Projector` in the package, has batch normalisation after its first two layers. It divides by
# the standard deviation of the batch, so the features behind it cannot get smaller, whatever the encoder does. We take
# two losses that collapsed above, and the complete VIbCReg, with this projector.


# %%
def package_head(in_features, width, whiten):
    return ssl_losses.Projector(in_features, width, whiten, groups=cfg.groups)


normed = {
    "invariance only": train(functional.mse_loss, head=package_head),
    "VIbCReg - variance": train(part(vib, var=0.0), whiten=True, head=package_head),
    "VIbCReg": train(part(vib), whiten=True, head=package_head),
}
lines = ["probe as is             without batch norm   with batch norm   projections' spread with it"]
for name, run in normed.items():
    scores[f"{name}, batch norm"] = read(run)
    without, with_norm = scores[name][0], scores[f"{name}, batch norm"][0]
    lines.append(f"{name:22} {without:15.2f}{with_norm:20.2f}{float(run.spread[-1, 1]):20.3f}")
print("\n".join(lines))

# %% tags=["nbval-check-output"]
name = "VIbCReg - variance"
without = {"the same without batch norm": scores[name][0], "chance": 0.25}
nb.check_band(cfg, "03", "probe, VIbCReg - variance, batch norm", scores[f"{name}, batch norm"][0], without)
nb.check_band(
    cfg, "03", "probe, invariance only, batch norm", scores["invariance only, batch norm"][0], {"chance": 0.25}
)

# %% [markdown]
# With batch normalisation VIbCReg hardly misses its variance term. Agreement alone still silences the projections: only
# the last layer is left to shrink, and it does. But now the encoder keeps more than a random network knows. So a claim
# like "this term prevents collapse" always means: *in this network*. Whoever tests terms of a loss must say where the
# normalisations are.
#
# ### A small batch
#
# The same number of steps with 8 series in a batch: an eighth of the series seen, 14 negatives instead of 126, and
# IterNorm groups wider than the batch.

# %%
small, lines = {}, []
for name in ("VICReg", "VIbCReg", "Barlow Twins", "NT-Xent"):
    loss, whiten = jobs.get(name, (part(vic), False))
    small[name] = train(loss, whiten, batch=cfg.small_batch)
    h = [outputs(small[name].encoder, x) for x in (x_train, x_test)]
    scores[f"{name}, small batch"] = probe(*h), probe(*h, rescale=True)
    few, many = scores[f"{name}, small batch"][0], scores[name][0]
    lines.append(f"{name:14} batch of {cfg.batch}: {many:.2f}   batch of {cfg.small_batch}: {few:.2f}")
print("\n".join(lines))

# %% tags=["nbval-check-output"]
for name in small:
    nb.check_band(cfg, "03", f"probe, {name}, small batch", scores[f"{name}, small batch"][0], random_encoder)

# %% [markdown]
# All four lose a few points at most. On these series NT-Xent with 14 negatives is no worse than the others:
# "contrastive losses need huge batches" is about harder data (Chen et al. 2020, section 5.2, on ImageNet). What the
# small batch does to each is what the earlier sections say: fewer negatives, a higher floor, whitening without full
# rank.
#
# The claim of the thesis' premise holds here, with three qualifications: the views must leave the class alone
# (chapter 4 shows views that do not); what avoids collapse is variance, by a term, by standardising or by a layer; and
# our series are easy, with one encoder and one kind of view.

# %% [markdown]
# ## Recorded runs
#
# One run is one draw. Below are mean and standard deviation over seeds for the numbers of this chapter. Believe a
# difference between two lines when it is much larger than both standard deviations.
#
# Two findings depend on the size, so do not take them from the small run alone. In `paper` (wide projector, longer
# training) VIbCReg without its variance term no longer falls to chance, and without IterNorm it loses nothing. VICReg
# without its variance term is at chance in both.

# %%
print(nb.recorded_runs("03"))

# %% [markdown]
# ## What to take along
#
# - Agreement alone is solved by silence. A non-contrastive loss adds: every feature must vary, no two may say the same.
# - Barlow Twins standardises, so it cannot see scale; VICReg and VIbCReg have a variance term; VIbCReg also whitens.
# - $\|X^T Y\|_F^2$ costs $D / 2B$ times less through $B \times B$ Gram matrices; with $D > B$ the off-diagonal sum has
#   a floor.
# - Probe features, watch projections. The tokenizer of chapter 5 gets such a loss on pooled latents, beside the
#   reconstruction.

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
# ### 3.1 Are two representations the same? `**`
# The Gram trick has a second life. To compare two representations of the same $B$ series, $X$ of width $D_1$ and $Y$ of
# width $D_2$, one uses *linear CKA* (Kornblith et al. 2019, [arXiv 1905.00414](https://arxiv.org/abs/1905.00414),
# section 3): with centred columns
#
# $$\text{CKA} = \frac{\|X^T Y\|_F^2}{\|X^T X\|_F \, \|Y^T Y\|_F} .$$
#
# It is 1 for a rotated or rescaled copy. Write it with $B \times B$ matrices only, so that it works for $D = 100\,000$.


# %% tags=["exercise"]
def linear_cka(x, y):
    """Similarity of two representations of the same series.

    x        (B, D1)
    y        (B, D2)
    returns  () tensor in 0..1
    """
    # solution: centre the columns, make the two (B, B) Gram matrices, write all three norms with them
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    gram_x, gram_y = x @ x.T, y @ y.T  # (B, B)
    return (gram_x * gram_y).sum() / (gram_x.norm() * gram_y.norm())
    # end of solution


# %% tags=["nbval-check-output"]
def check_linear_cka(answer):
    x, y = random + 2, torch.cat([random[:, :2] ** 2, random[:, 4:5]], dim=1)  # (6, 9), (6, 3)
    rotation = torch.linalg.qr(random[:, :6])[0]
    nb.check("rotated and rescaled", answer(x[:, :6], 3 * x[:, :6] @ rotation), 1.0, rtol=1e-9,
             hint="the denominator has the norms of X^T X and Y^T Y, not of X and Y")  # fmt: skip
    centred_x, centred_y = x - x.mean(dim=0), y - y.mean(dim=0)
    norms = [torch.linalg.matrix_norm(m) for m in (centred_x.T @ centred_x, centred_y.T @ centred_y)]
    expected = torch.linalg.matrix_norm(centred_x.T @ centred_y) ** 2 / (norms[0] * norms[1])
    nb.check("widths 9 and 3", answer(x, y), expected, rtol=1e-9, hint="centre each column over the series first")
    wide = torch.ones(3, 20_000).cumsum(dim=0) + torch.arange(20_000) % 2  # slow? a D x D matrix has 1.6 GB here
    nb.check("width 20000", answer(wide, wide), 1.0, rtol=1e-4)


check_linear_cka(linear_cka)


# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> The chapter shows it for the numerator. With y = x the same identity gives the norm
# of X^T X: it is the norm of the Gram matrix X X^T. </details>


# %% tags=["solution"]
def wrong_not_centred(x, y):
    """forgets to centre the columns"""
    gram_x, gram_y = x @ x.T, y @ y.T
    return (gram_x * gram_y).sum() / (gram_x.norm() * gram_y.norm())


def wrong_denominator(x, y):
    """divides by the squared norms of X and Y instead of those of X^T X and Y^T Y"""
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return ((x @ x.T) * (y @ y.T)).sum() / ((x**2).sum() * (y**2).sum())


def wrong_centres_rows(x, y):
    """centres each series over its features instead of each feature over the series"""
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    gram_x, gram_y = x @ x.T, y @ y.T
    return (gram_x * gram_y).sum() / (gram_x.norm() * gram_y.norm())


nb.refused(check_linear_cka, wrong_not_centred, wrong_denominator, wrong_centres_rows)

# %% [markdown]
# ### 3.2 A test that catches the leak `*`
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
    z = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]], dtype=torch.float64) + 5
    return bool(term(z).abs() > 1e-9)
    # end of solution


# %% tags=["nbval-check-output"]
def check_leaks_diagonal(answer):
    def gram(z):
        z = z - z.mean(dim=0)
        return ((z @ z.T) ** 2).sum() - ((z**2).sum(dim=0) ** 2).sum()

    def masked(z):
        return (torch.cov(z.T).reshape(z.shape[1], -1).fill_diagonal_(0) ** 2).mean()

    def everything(z):
        return (torch.cov(z.T) ** 2).sum() / z.shape[1]

    def minus_identity(z):  # right for features of variance 1 only
        return ((torch.cov(z.T, correction=0) - torch.eye(z.shape[1], dtype=z.dtype)) ** 2).sum()

    hint = "the term of uncorrelated features must be 0, whatever their variances are"
    terms = (gram, False), (masked, False), (everything, True), (minus_identity, True)
    for number, (term, leaks) in enumerate(terms, start=1):
        nb.check(f"implementation {number}, {term.__name__}", answer(term), leaks, hint=hint)


check_leaks_diagonal(leaks_diagonal)


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


nb.refused(check_leaks_diagonal, wrong_random_input, wrong_unit_variance, wrong_scale_test)

# %% [markdown]
# ### 3.3 IterNorm with eigenvectors `**`
# Write what IterNorm would do with infinitely many steps and no rounding: split $x$ of shape (B, D) into `groups`
# groups of neighbouring features, and in each group subtract the mean and multiply by
# $(\Sigma + \varepsilon I)^{-1/2}$, with $\Sigma$ divided by $B$. There are many matrices that whiten; IterNorm's is
# the *symmetric* one, $U \operatorname{diag}(s^{-1/2})\, U^T$, which changes the features least. Without the last
# factor the result is white too, but its features are in another order and have other signs in every batch.


# %% tags=["exercise"]
def whiten_exactly(x, groups, eps=1e-5):
    """Whitening of x (B, D) in groups of D / groups neighbouring features.

    returns  (B, D)
    """
    # solution: loop over x.split(width, dim=1), whiten each group with torch.linalg.eigh, join with torch.cat
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
             hint="is the covariance divided by B? are the features centred?")  # fmt: skip
    nb.check("mean", white.mean(dim=0), torch.zeros(6), atol=1e-9, hint="subtract the mean from what you whiten, too")
    newton = IterNorm(6, num_groups=2, iterations=10).double()(x)
    nb.check("IterNorm with 10 steps", white, newton, rtol=1e-5, atol=1e-7,
             hint="two groups of three neighbours, not three of two; and rotate back: U diag(s^-1/2) U^T")  # fmt: skip


check_whiten_exactly(whiten_exactly)


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
# ### 3.4 How many directions are in use? `*`
# The figure of sorted variances can be put into one number. Let $s_i$ be the variances along the principal directions
# (eigenvalues of the covariance), $q_i = s_i / \sum_j s_j$ their shares. The *effective rank* is the exponential of the
# entropy of the shares, $\exp(-\sum_i q_i \log q_i)$ (after Roy and Vetterli 2007, who take singular values). With $D$
# equal variances it is $D$, with a single one 1. First predict, then apply it to the projections in the chapter: which
# of the fourteen losses gives a value near 1? Which the largest? And is the number of a completely collapsed cloud,
# 1000 times smaller, smaller too?


# %% tags=["exercise"]
def effective_rank(z):
    """Effective number of directions in which z (B, D) varies; unlike the spread, it does not depend on scale.

    returns  () tensor between 1 and min(B - 1, D)
    """
    # solution: eigenvalues of the covariance, shares, entropy (0 log 0 counts as 0), exponential
    variances = torch.linalg.eigvalsh(torch.cov(z.T)).clamp(min=0)  # (D,)
    shares = variances / variances.sum()
    return torch.exp(torch.special.entr(shares).sum())
    # end of solution


# %% tags=["nbval-check-output"]
def check_effective_rank(answer):
    nb.check("square", answer(square), 2.0, rtol=1e-6, hint="two uncorrelated features of equal variance")
    unequal = square * torch.tensor([3.0, 1.0], dtype=torch.float64)
    expected = math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    nb.check("variances 9 to 1", answer(unequal), expected, rtol=1e-6, hint="variances, not standard deviations")
    doubled = square[:, [0, 0, 0]]
    nb.check("one feature three times", answer(doubled), 1.0, rtol=1e-4,
             hint="directions, not features: eigenvalues, not the diagonal; 0 log 0 is 0")  # fmt: skip
    nb.check("1000 times smaller", answer(unequal / 1000), expected, rtol=1e-6, hint="shares do not depend on scale")
    nb.check("far from the origin", answer(unequal + 50), expected, rtol=1e-6, hint="covariance: subtract the mean")


check_effective_rank(effective_rank)


# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> `torch.special.entr(q)` is -q log q, with 0 at 0. </details>


# %% tags=["solution"]
def wrong_diagonal(z):
    """takes the variances of the features instead of those of the directions"""
    shares = z.var(dim=0) / z.var(dim=0).sum()
    return torch.exp(torch.special.entr(shares).sum())


def wrong_mean_stays(z):
    """forgets to subtract the mean"""
    variances = torch.linalg.svdvals(z) ** 2
    return torch.exp(torch.special.entr(variances / variances.sum()).sum())


def wrong_standard_deviations(z):
    """takes shares of standard deviations instead of variances"""
    deviations = torch.linalg.eigvalsh(torch.cov(z.T)).clamp(min=0).sqrt()
    return torch.exp(torch.special.entr(deviations / deviations.sum()).sum())


nb.refused(check_effective_rank, wrong_diagonal, wrong_mean_stays, wrong_standard_deviations)

# %% [markdown]
# ### 3.5 Features on the floor `**`
# The floor of the chapter, written for correlations ($c = 1$): over all $i \ne j$ the squared correlations of $D$
# features sum to at least $D\,(D/(B-1) - 1)$. Show that this can be reached, for $B = 3$ series and any $D \ge 2$.
# Centred columns of three entries lie in a plane. So draw the $D$ features as arrows in a plane, all of the same length.
# Their correlation is the cosine of the angle between them. Which angles make the sum of squared cosines smallest?
# Return the features, standardised: mean 0 and unbiased standard deviation 1.


# %% tags=["exercise"]
def features_on_the_floor(D):
    """Three series with D features whose squared correlations have the smallest possible sum.

    returns  (3, D) float64, each column with mean 0 and standard deviation 1 (unbiased)
    """
    # solution: two orthonormal vectors that are orthogonal to (1, 1, 1) span the plane; spread D lines evenly over pi
    plane = torch.tensor([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]], dtype=torch.float64)  # (2, 3)
    plane = plane / plane.norm(dim=1, keepdim=True)
    angles = torch.arange(D, dtype=torch.float64) * math.pi / D
    arrows = torch.stack([angles.cos(), angles.sin()])  # (2, D)
    return plane.T @ arrows * math.sqrt(2)  # (3, 2) @ (2, D); length sqrt(B - 1)
    # end of solution


# %% tags=["nbval-check-output"]
def check_features_on_the_floor(answer):
    for D in (2, 3, 4, 7):
        z = answer(D)
        nb.check(f"D {D}: shape", z.shape, (3, D))
        nb.check(
            f"D {D}: means", z.mean(dim=0), torch.zeros(D), atol=1e-9, hint="arrows must be orthogonal to (1, 1, 1)"
        )
        nb.check(f"D {D}: standard deviations", z.std(dim=0), torch.ones(D), rtol=1e-6, hint="length sqrt(B - 1)")
        off_diagonal = (torch.corrcoef(z.T) ** 2).sum() - D
        nb.check(f"D {D}: on the floor", off_diagonal, D * (D / 2 - 1), rtol=1e-6, atol=1e-9,
                 hint="an arrow and its opposite are fully correlated: the angle between lines counts")  # fmt: skip


check_features_on_the_floor(features_on_the_floor)


# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> For D = 2 two orthogonal arrows reach 0. Turning an arrow by 180 degrees changes
# nothing. So the angles live on a half circle: for D = 4 take 0, 45, 90 and 135 degrees. </details>


# %% tags=["solution"]
def wrong_full_circle(D):
    """spreads arrows over the full circle, where opposite ones are fully correlated"""
    plane = torch.tensor([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]], dtype=torch.float64)
    plane = plane / plane.norm(dim=1, keepdim=True)
    angles = torch.arange(D, dtype=torch.float64) * 2 * math.pi / D
    return plane.T @ torch.stack([angles.cos(), angles.sin()]) * math.sqrt(2)


def wrong_plane(D):
    """spreads them in a plane that is not orthogonal to (1, 1, 1)"""
    angles = torch.arange(D, dtype=torch.float64) * math.pi / D
    return torch.stack([angles.cos(), angles.sin(), torch.zeros(D, dtype=torch.float64)]) * math.sqrt(2)


def wrong_random(D):
    """hopes that random features are uncorrelated"""
    z = torch.randn(3, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return (z - z.mean(dim=0)) / z.std(dim=0)


nb.refused(check_features_on_the_floor, wrong_full_circle, wrong_plane, wrong_random)
