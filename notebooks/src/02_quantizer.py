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
# # 2. Vector quantization
#
# An encoder puts out real numbers, the prior of this course predicts symbols. How do latents become symbols, how does
# a network learn through that step, and what becomes of the symbols that nobody uses?
#
# - **Goals**: after it you can write a quantizer with straight-through gradient, commitment loss and a codebook of moving averages (EMA);
#   predict on paper where a code goes; measure with perplexity how evenly a codebook is used; say what the start of
#   a codebook costs
# - **Before**: chapter 1 (a series as a grid of frequency rows and frames); gradients in PyTorch; the mean of a set of
#   vectors; what batch normalisation does
# - **Time**: 60 seconds of computing
# - **Data**: toy points made here; GunPoint (UCR archive, bundled with aeon)
# - **Answers**: the thesis (Mathisen 2024) follows van den Oord et al. 2017
#   ([arXiv 1711.00937](https://arxiv.org/abs/1711.00937), section 3.2 and appendix A.1) with 32 codes of
#   width 64; in the thesis' code these start as random normal numbers and are never restarted. This chapter measures
#   what that choice costs

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
import torch

from ncvqvae_lite import nb, plots

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(
    preset,
    seed,
    codes=32,  # K, this and the next three as in the thesis
    width=64,  # D
    decay=0.9,
    commitment=1.0,
    batch=256,  # latents per step on toy data
    toy_steps=(300, 1000),
    series_batch=(64, 128),
    train_steps=(250, 2000),
    draws=(20000, 100000),
)

# %% [markdown]
# ## Nearest code
#
# A *codebook* is a list of $K$ vectors $e_1, \dots, e_K$ of width $D$, the *codes*. The encoder puts out
# a vector of $D$ numbers for each place of a grid, a *latent* $z \in \mathbb{R}^D$. To quantise it means to replace it by the nearest code. What is stored is only the number of that code, the
# *token*:
#
# $$k(z) = \arg\min_k \|z - e_k\|^2, \qquad z_q = e_{k(z)}.$$
#
# Chapter 1 did this with columns of a spectrogram in place of latents. Here the codes have to learn together with an
# encoder. Five points and three codes in the plane are enough to see the first step with a pencil.

# %%
codes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])  # (K, D) = (3, 2)
points = torch.tensor([[1.0, 0.0], [3.0, 1.0], [1.0, 3.0], [0.0, 1.0], [5.0, 1.0]])  # (M, D) = (5, 2)
for z in points:
    distances = [float(((z - e) ** 2).sum()) for e in codes]
    print(z.tolist(), "squared distances", distances, "token", distances.index(min(distances)))

# %% [markdown]
# Two loops are slow. Broadcasting does the same at once for $M$ points (later: latents): a difference for every pair of
# point and code, squared, summed over the last axis.


# %%
def nearest(rows, codes):
    """Nearest code of each row.

    rows     (M, D)
    codes    (K, D)
    returns  (M,) int64
    """
    differences = rows[:, None, :] - codes[None, :, :]  # (M, K, D)
    return (differences**2).sum(dim=-1).argmin(dim=1)  # (M, K) -> (M,)


tokens = nearest(points, codes)
print(tokens)

# %% [markdown]
# The codes divide the plane into regions: every point of a region has the same token. Borders are straight lines half
# way between two codes. Look at how coarse this is: all that the decoder will know of a point is its colour.

# %%
import numpy as np
from matplotlib.colors import ListedColormap

across, up = torch.meshgrid(torch.linspace(-2, 7, 300), torch.linspace(-2, 6, 300), indexing="xy")
regions = nearest(torch.stack([across, up], dim=-1).reshape(-1, 2), codes).view(300, 300)
colours = plots.CLASS_COLOURS[: len(codes)]
fig, axes = plots.figure(1, 1, height=4.2)
ax = axes[0, 0]
ax.imshow(regions, origin="lower", extent=(-2, 7, -2, 6), cmap=ListedColormap(colours), alpha=0.25)
for k, colour in enumerate(colours):
    members = points[tokens == k]
    ax.plot(*codes[k], "X", color=colour, markersize=15, markeredgecolor="black", label=f"code {k}")
    ax.plot(*members.T, "o", color=colour, markersize=9, label=f"points with token {k}")
    for point in members:
        ax.plot(*torch.stack([point, codes[k]]).T, color=colour, linewidth=1.5)
ax.set_xlabel("first component")
ax.set_ylabel("second component")
ax.legend(fontsize=plots.SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
fig

# %% tags=["nbval-check-output"]
nb.check("tokens of the five points", tokens, torch.tensor([0, 1, 2, 0, 1]))
nb.check("squared distance of point 1 to its code", ((points[1] - codes[tokens[1]]) ** 2).sum(), 2.0)
nb.check("regions in the figure", regions.unique(), torch.tensor([0, 1, 2]))

# %% [markdown]
# ### From points to the latent grid
#
# The encoder's output for a batch is a tensor (B, D, F, W'): B series, and for each a grid of F frequency rows times W'
# columns, with D numbers per cell. (W' and not W: the encoder makes fewer columns of the W of the spectrogram.) *Each cell
# is one latent.* So D has to become the last axis before the grid is flattened. `reshape` alone gives the right shape and
# the wrong rows: it cuts through the grid along W'.

# %%
from ncvqvae_lite.quantizer import VectorQuantizer

B, D, F, columns, K = 4, 8, 3, 5, 16  # columns: W'
z = torch.randn(B, D, F, columns, generator=generator)
quantizer = VectorQuantizer(K, D).eval()  # eval: the codebook stays where it is
rows = z.movedim(1, -1).reshape(-1, D)  # (B, D, F, W') -> (B, F, W', D) -> (B*F*W', D)
by_hand = nearest(rows, quantizer.codebook)
mixed_up = nearest(z.reshape(-1, D), quantizer.codebook)
print(f"{len(rows)} latents, {int((by_hand != mixed_up).sum())} of them get another token from the wrong reshape")

# %% [markdown]
# [`ncvqvae_lite/quantizer.py`](../ncvqvae_lite/quantizer.py) holds the package's version. It computes the same
# distances without the (M, K, D) tensor (exercise 2.1) and returns a tuple: code vectors, tokens, loss, perplexity.

# %% tags=["nbval-check-output"]
out = quantizer(z)
by_hand_codes = quantizer.codebook[by_hand].view(B, F, columns, D).movedim(-1, 1)  # (B*F*W', D) -> (B, D, F, W')
nb.check("shape of the tokens (B, F, W')", out.indices.shape, (B, F, columns))
agree = int((by_hand.view(B, F, columns) == out.indices).sum())
nb.check("tokens that agree by hand and package", agree, B * F * columns)
nb.check("code vectors: by hand and package", by_hand_codes, out.z_q, rtol=1e-5, atol=1e-6)
nb.check("loss in eval mode", out.loss, 0.0)

# %% [markdown]
# ![](drawings/quantizer.svg)
#
# The quantizer in one picture. On the left is what you have just built. The gradient on the right comes next, and the two
# forces at the bottom after it.

# %% [markdown]
# ## A step that has no gradient
#
# Move $z$ a little and its code stays the same. So $z_q$ is a staircase: flat, with jumps at the borders. Its
# derivative is 0 wherever it exists. We ask twice: autograd, and finite differences $(q(z+h) - q(z-h)) / 2h$ on a line
# of latents with four codes.

# %%
stairs = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])  # (K, 1)
line = (torch.arange(40) / 10 - 1.45).view(-1, 1).requires_grad_()  # (40, 1), never within 0.04 of a border
h = 1e-3


def snap(z):
    return stairs[nearest(z, stairs)]  # (M, 1)


slopes = (snap(line + h) - snap(line - h)) / (2 * h)
print("autograd knows a path back to z:", snap(line).requires_grad)
print("finite differences that are not 0:", int((slopes != 0).sum()), "of", len(slopes))
print(
    "across the border at 0.5:",
    f"{float((snap(torch.tensor([[0.5 + h]])) - snap(torch.tensor([[0.5 - h]]))) / (2 * h)):.0f}",
)

# %% [markdown]
# Both say: nothing to learn from. An encoder behind this step never moves. The one non-zero value is no help either; it
# is $1 / 2h$, so it says how small $h$ was.
#
# ### The straight-through estimator
#
# van den Oord et al. (section 3.2) copy the gradient: whatever the decoder wants of $z_q$ is told to $z$. In code it is
# one line, where `detach` means "a constant from here on" (written $\mathrm{sg}[\cdot]$, stop gradient, in papers):
#
# $$z_{st} = z + \mathrm{sg}[z_q - z].$$
#
# Its *value* is $z_q$. Its *derivative* with respect to $z$ is 1, because the bracket is a constant. This is not the
# derivative of anything that was computed. It is a useful lie: a decoder that wants the code further to the right
# pushes $z$ to the right, until $z$ crosses a border and the code does change.


# %%
def straight_through(z, z_q):
    """The value of z_q, with the derivative 1 with respect to z."""
    return z + (z_q - z).detach()


target = 1.3
st = straight_through(line, snap(line))
(slope,) = torch.autograd.grad(((st - target) ** 2).sum(), line)
print("gradient at the first and last latent:", [round(float(s), 2) for s in slope[[0, -1], 0]])
print("2 (z_q - target) there:               ", [round(float(2 * (q - target)), 2) for q in snap(line)[[0, -1], 0]])

# %% [markdown]
# ## Why the latents need a leash
#
# Take one latent, fixed codes at -1, 0, 1, 2, and a decoder that wants the value 3. The best code is 2. Gradient
# descent on $(z_{st} - 3)^2$ brings $z$ there, and then? $z_q = 2$ is still not 3, so the gradient keeps pushing, for
# ever. Nothing tells the latent that it has arrived. The *commitment* term does: it pulls the latent to its code,
#
# $$\beta \, \| z - \mathrm{sg}[z_q] \|^2 .$$
#
# Where does $z$ come to rest? Both gradients together are $2(z_q - t) + 2\beta(z - z_q)$ with the target $t$. They
# cancel at $z = z_q + (t - z_q)/\beta$: for $\beta = 1$ at 3, for $\beta = 0.25$ (the value of the 2017 paper) at 6.
# The thesis has $\beta = 1$.


# %%
def descend(rule, beta=0.0, start=-0.8, target=3.0, steps=400, rate=0.1):
    """The latent after each step of gradient descent; rule: "true" gradient, or "copied" (straight-through)."""
    z, path = torch.tensor([[start]], requires_grad=True), [start]
    for _ in range(steps):
        z_q = snap(z)
        seen = straight_through(z, z_q) if rule == "copied" else z_q + 0 * z
        loss = ((seen - target) ** 2).sum() + beta * ((z - z_q.detach()) ** 2).sum()
        (slope,) = torch.autograd.grad(loss, z)
        z = (z - rate * slope).detach().requires_grad_()
        path.append(z.item())
    return path


paths = {
    "true gradient": descend("true"),
    "copied, no commitment": descend("copied"),
    "copied, commitment 0.25": descend("copied", beta=0.25),
    "copied, commitment 1": descend("copied", beta=1.0),
}
print({name: round(path[-1], 2) for name, path in paths.items()})

# %% [markdown]
# Left: the staircase, and the loss $(z_q - 1.3)^2$ with what the straight-through estimator takes for its slope. The
# loss is flat between its jumps, yet the slope that is passed on sends $z$ towards the target from both sides. Right:
# the four descents. Look for the line that never leaves its place, and for the one that never comes to rest.

# %%
x = torch.linspace(-1.6, 2.6, 421).view(-1, 1)
stair = snap(x)
fig, axes = plots.figure(1, 2, height=4.2)
left, right = axes[0]
left.plot(x, stair, color=plots.REAL, linewidth=2.5, label="code $z_q$")
left.plot(x, (stair - target) ** 2, color="#0072B2", linewidth=2, label="loss")
left.plot(x, 2 * (stair - target), color="#D55E00", linewidth=2, linestyle="--", label="slope that is passed on")
left.axhline(0, color=plots.INK, linewidth=0.8)
left.set_title("what z is told, target 1.3", fontsize=plots.TEXT)
left.set_xlabel("latent z")
left.set_ylabel("value")
for (name, path), colour in zip(paths.items(), (plots.REAL, "#D55E00", "#E69F00", "#0072B2")):
    right.plot(path[:81], color=colour, linewidth=2.2, label=name)
right.axhline(2, color=plots.INK, linewidth=1, linestyle=":", label="best code")
right.set_title("descent, target 3", fontsize=plots.TEXT)
right.set_xlabel("step")
right.set_ylabel("latent z")
for ax in (left, right):
    ax.legend(fontsize=plots.SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22))
fig

# %% tags=["nbval-check-output"]
nb.check("finite differences that are not 0", int((slopes != 0).sum()), 0)
nb.check("copied slope is 2 (z_q - t)", slope, 2 * (snap(line) - target).detach(), rtol=1e-5)
nb.check("latent with the true gradient stays", paths["true gradient"][-1], -0.8, rtol=1e-6)
drift = paths["copied, no commitment"][-1] - paths["copied, no commitment"][-101]
nb.check("drift in 100 steps without commitment", drift, 100 * 0.1 * 2 * (3 - 2), rtol=1e-3)
nb.check("rest with commitment 0.25", paths["copied, commitment 0.25"][-1], 2 + (3 - 2) / 0.25, rtol=1e-4)
nb.check("rest with commitment 1", paths["copied, commitment 1"][-1], 2 + (3 - 2) / 1, rtol=1e-4)

# %% [markdown]
# ### The same in the package
#
# For a batch the commitment loss is the mean over all $B D F W'$ entries. So a latent gets the gradient of the decoder,
# copied, plus $2\beta(z - z_q)/(BDFW')$. We let the "decoder" be a fixed random weighting of $z_q$; then its gradient is
# known.

# %% tags=["nbval-check-output"]
quantizer = VectorQuantizer(K, D, commitment=cfg.commitment)  # train mode
start_codes = quantizer.codebook.clone()  # the package moves the codebook after it has used it
weights = torch.randn(z.shape, generator=generator)
latents = z.clone().requires_grad_()
out = quantizer(latents)
(slope,) = torch.autograd.grad((weights * out.z_q).sum() + out.loss, latents)

z_q = start_codes[out.indices].movedim(-1, 1)  # (B, F, W', D) -> (B, D, F, W')
nb.check("commitment loss", out.loss, cfg.commitment * ((z - z_q) ** 2).mean(), rtol=1e-5)
nb.check("gradient of the latents", slope, weights + 2 * cfg.commitment * (z - z_q) / z.numel(), rtol=1e-5, atol=1e-7)
nb.check("the codebook has a gradient", quantizer.codebook.requires_grad, False)

# %% [markdown]
# The last line is no accident. The codebook is a *buffer*, not a parameter: no optimiser touches it. The 2017 paper
# gives two ways to move it: a third loss term $\|\mathrm{sg}[z] - e\|^2$, or, in its appendix A.1, moving averages. The
# thesis takes the second.
#
# ## Codes that follow their latents
#
# The best place for a code is the mean of the latents that chose it: the mean has the least sum of squared distances.
# But a batch is a small sample, and the encoder changes. So sum and count are averaged over the steps, with a *decay*
# $\gamma$. Let $n_k$ be the number of latents of this batch with token $k$:
#
# $$N_k \leftarrow \gamma N_k + (1-\gamma)\, n_k, \qquad
#   m_k \leftarrow \gamma\, m_k + (1-\gamma) \sum_{k(z_i) = k} z_i, \qquad
#   e_k = m_k / \tilde N_k .$$
#
# $\tilde N_k$ is the count, protected from division by zero. The common implementations smooth it with a small
# $\varepsilon = 10^{-5}$ (Laplace smoothing), and rescale so that the sum of all counts stays the same:
# $\tilde N_k = (N_k + \varepsilon) / (\sum_j N_j + K \varepsilon) \cdot \sum_j N_j$. At the start $m_k = e_k$ and
# $N_k = 0$.
#
# Do one step with a pencil for the five points above and $\gamma = 0.5$, before you read on. The tokens were 0, 1, 2,
# 0, 1.


# %%
def ema_step(rows, codes, total, count, decay, smoothing=1e-5):
    """One step of the moving averages.

    rows, codes, total  (M, D), (K, D), (K, D)
    count               (K,)
    returns             codes, total, count after the step
    """
    one_hot = torch.eye(len(codes), dtype=rows.dtype)[nearest(rows, codes)]  # (M, K)
    count = decay * count + (1 - decay) * one_hot.sum(dim=0)
    total = decay * total + (1 - decay) * one_hot.T @ rows
    smoothed = (count + smoothing) / (count.sum() + len(codes) * smoothing) * count.sum()
    return total / smoothed[:, None], total, count


moved, total, count = ema_step(points, codes, codes.clone(), torch.zeros(3), decay=0.5)
for k in range(3):
    mean = points[tokens == k].mean(dim=0)
    place = [round(v, 2) for v in moved[k].tolist()]
    print(f"code {k}: from {codes[k].tolist()}, points have mean {mean.tolist()}, to {place}")
    print(f"        = sum {total[k].tolist()} / count {count[k]:.1f}")

# %% [markdown]
# Look at code 2. It stood at (0, 4), its only point is at (1, 3), and it moves to (1, 7): away from both. Why? The sum
# starts with a whole copy of the code, the count starts with nothing. So the start position is added and never divided.
# Write one step out for a code with $n$ hits and mean $\bar z$:
#
# $$e = \frac{\gamma e^{\text{start}} + (1-\gamma)\, n \bar z}{(1-\gamma)\, n}
#     = \bar z + \frac{\gamma}{1-\gamma} \cdot \frac{e^{\text{start}}}{n} .$$
#
# With $\gamma = 0.9$ the stray term is $9\, e^{\text{start}} / n$. A code with 100 hits does not feel it. A code with
# one hit is thrown to nine times its length. Keep this in mind; it decides the fate of codes further down.

# %% tags=["nbval-check-output"]
pencil = torch.tensor([[0.5, 0.5], [6.0, 1.0], [1.0, 7.0]])
packaged = VectorQuantizer(3, 2, decay=0.5)
packaged.codebook.copy_(codes)
packaged.code_sum.copy_(codes)
packaged(points.T[None, :, :, None])  # (M, D) -> (1, D, M, 1): one series, five rows, one frame
nb.check("counts by pencil", count, torch.tensor([1.0, 1.0, 0.5]))
nb.check("codes by pencil and by hand", moved, pencil, rtol=1e-4)
nb.check("buffers of the package: count", packaged.code_count, count, rtol=1e-6)
nb.check("buffers of the package: sum", packaged.code_sum, total, rtol=1e-6)
nb.check("buffers of the package: codebook", packaged.codebook, moved, rtol=1e-6)

# %% [markdown]
# One step on friendly numbers proves little. Twenty steps on random latents, ours in double precision:

# %% tags=["nbval-check-output"]
packaged = VectorQuantizer(K, D, decay=cfg.decay)
state = packaged.codebook.double(), packaged.code_sum.double(), packaged.code_count.double()
for _ in range(20):
    z = torch.randn(8, D, 3, 5, generator=generator)
    packaged(z)
    state = ema_step(z.movedim(1, -1).reshape(-1, D).double(), *state, cfg.decay)
used = state[2] > 1e-3  # a code without hits is divided by about 1e-5, and so are its rounding errors
nb.check("count after 20 steps", packaged.code_count, state[2], rtol=1e-4, atol=1e-6)
nb.check("codes in use after 20 steps", packaged.codebook[used], state[0][used], rtol=1e-3, atol=1e-3)
smoothed = (state[2] + 1e-5) / (state[2].sum() + K * 1e-5) * state[2].sum()
nb.check("smoothing keeps the total", smoothed.sum(), state[2].sum(), rtol=1e-12)

# %% [markdown]
# ## The limit is k-means
#
# Set $\gamma = 0$ and give the step all data at once. Then each code becomes the mean of its points: one step of
# Lloyd's algorithm, which is what most people call k-means. Repeat it until nothing changes. With $\gamma = 0.9$ and
# small batches the codes make the same journey, smoothed and noisy.

# %%
corners = torch.tensor([[-1.2, -1.0], [1.3, -0.9], [0.1, 1.4], [-1.5, 0.9], [1.5, 0.8]])
cloud = corners[torch.randint(5, (1000,), generator=generator)] + 0.25 * torch.randn(1000, 2, generator=generator)
start = cloud[torch.randperm(1000, generator=generator)[:5]]  # every code starts on a point


def journey(decay, batch, steps):
    """Codes before and after each step of the package's quantizer: (steps + 1, K, D)."""
    quantizer = VectorQuantizer(5, 2, decay=decay)
    quantizer.codebook.copy_(start)
    quantizer.code_sum.copy_(start)
    places = [start]
    for _ in range(steps):
        chosen = torch.randperm(1000, generator=generator)[:batch]
        quantizer(cloud[chosen][:, :, None, None])  # (batch, D, 1, 1)
        places.append(quantizer.codebook.clone())
    return torch.stack(places)


lloyd, gradual = journey(0.0, 1000, 40), journey(cfg.decay, 100, 150)
print(lloyd.shape, gradual.shape)

# %% [markdown]
# Crosses are the start, discs the end. On the left the codes take long strides at first, then shorter ones, and stop. On the right they wander
# and keep trembling; the first stride may lead away from the data, by the stray term above. Do both end at the same
# places? If two codes share one cluster while another code serves two, you see what k-means is known for: the end
# depends on the start.

# %%
fig, axes = plots.figure(1, 2, height=4, sharex=True, sharey=True)
titles = "decay 0, all points", f"decay {cfg.decay}, 100 points a step"
for ax, places, title in zip(axes[0], (lloyd, gradual), titles):
    ax.plot(*cloud.T, ".", color=plots.PALE, markersize=3)
    for k in range(5):
        colour = plots.CLASS_COLOURS[k]
        ax.plot(*places[:, k].T, color=colour, linewidth=1.5)
        ax.plot(*places[0, k], "X", color=colour, markersize=9)
        ax.plot(*places[-1, k], "o", color=colour, markersize=12, markeredgecolor="black")
    ax.set_title(title, fontsize=plots.TEXT)
    ax.set_xlabel("first component")
axes[0, 0].set_ylabel("second component")
axes[0, 0].plot([], [], "X", color=plots.INK, label="start")
axes[0, 0].plot([], [], "o", color="white", markeredgecolor="black", markersize=10, label="end")
axes[0, 0].plot([], [], ".", color=plots.REAL, label="data")
fig.legend(loc="outside lower center", ncols=3, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# The independent witness is scikit-learn's k-means, started from the same codes.

# %% tags=["nbval-check-output"]
from sklearn.cluster import KMeans


def distortion(places):
    """Mean squared distance of the points to their nearest code."""
    return float(((cloud - places[nearest(cloud, places)]) ** 2).sum(dim=1).mean())


means = torch.stack([cloud[nearest(cloud, start) == k].mean(dim=0) for k in range(5)])
witness = KMeans(5, init=start.numpy(), n_init=1, max_iter=200, tol=0, algorithm="lloyd").fit(cloud.numpy())
course = [distortion(places) for places in lloyd]
nb.check("one step with decay 0 gives the means", lloyd[1], means, rtol=1e-4, atol=1e-5)
nb.check("40 steps give scikit-learn's centres", lloyd[-1], witness.cluster_centers_, rtol=1e-4, atol=1e-3)
nb.check("largest rise of the distortion", max(np.diff(course)), low=-10, high=1e-5)
nb.check("distortion, end with decay 0.9 over start", distortion(gradual[-1]) / course[0], low=0, high=1)

# %% [markdown]
# ## How many codes are in use?
#
# Counting the codes with at least one hit is too kind: a code with one hit in a million counts as much as one with half
# of all. *Perplexity* weighs them. With $p_k$ the share of token $k$:
#
# $$P = \exp\Big(-\sum_k p_k \log p_k\Big).$$
#
# The exponent is the entropy of the tokens. $P$ is the number of equally used codes that would have the same entropy:
# $K$ if all are used alike, 1 if one takes everything. And $\log_2 P$ is the number of bits per token that an ideal
# code needs, at most $\log_2 K$.


# %%
def perplexity(share):
    """Effective number of codes; share (K,) sums to 1."""
    share = share[share > 0]  # 0 log 0 = 0
    return torch.exp(-(share * share.log()).sum())


eighths = {
    "all 8 alike": [1, 1, 1, 1, 1, 1, 1, 1],
    "4 of 8 alike": [2, 2, 2, 2, 0, 0, 0, 0],
    "one takes half": [7, 1, 1, 1, 1, 1, 1, 1],
    "one takes all": [1, 0, 0, 0, 0, 0, 0, 0],
}
for name, hits in eighths.items():
    share = torch.tensor(hits, dtype=torch.float64) / sum(hits)
    in_use = int((share > 0).sum())
    print(f"{name:15} codes in use {in_use}  perplexity {perplexity(share):.2f}  bits {perplexity(share).log2():.2f}")

# %% tags=["nbval-check-output"]
quantizer = VectorQuantizer(8, 4).eval()
for name, expected in (("all 8 alike", 8), ("4 of 8 alike", 4), ("one takes half", 2 * 7**0.5), ("one takes all", 1)):
    indices = torch.arange(8).repeat_interleave(torch.tensor(eighths[name])).view(1, 1, -1)  # (B, F, W')
    share = torch.bincount(indices.flatten(), minlength=8) / indices.numel()
    nb.check(f"{name}: formula", perplexity(share), float(expected), rtol=1e-5)
    nb.check(f"{name}: package", quantizer(quantizer.decode(indices)).perplexity, float(expected), rtol=1e-5)

# %% [markdown]
# (Why $2\sqrt 7$ in the third check? The entropy is $\frac12 \log 2 + \frac12 \log 14 = \log \sqrt{28}$.) One warning:
# a batch of $M$ tokens cannot have a perplexity above $M$. Never compare perplexities of samples of different size when
# they are small.
#
# ## The fate of a dead code
#
# Now the codebook of the thesis: $K = 32$ codes of width 64, drawn from $N(0, 1)$, decay 0.9. We feed it latents from
# 16 tight clusters, scaled to standard deviation 1 per component, like the output of an encoder that ends in a batch
# normalisation. At step 200 the latents of the busiest code disappear: the encoder has changed its mind. That gives
# four kinds of code:
#
# - codes in use,
# - codes that were never hit,
# - codes that were hit in the first step only,
# - one code that was busy and is abandoned at step 200.
#
# Before the figure, with a pencil: what is $e_k$ of a never-hit code after step $t$? Its sum is
# $0.9^t e^{\text{start}}$. Its count is 0, so $\tilde N_k \approx 10^{-5}$. So
# $e_k \approx 10^5 \cdot 0.9^t\, e^{\text{start}}$.


# %%
def clustered_latents(clusters, n, generator, noise=0.3):
    """n latents around random centres, each component with mean 0 and standard deviation 1: (n, D)."""
    centres = torch.randn(clusters, cfg.width, generator=generator)  # (clusters, D)
    cluster = torch.randint(clusters, (n,), generator=generator)
    rows = centres[cluster] + noise * torch.randn(n, cfg.width, generator=generator)
    return (rows - rows.mean(dim=0)) / rows.std(dim=0)


rows = clustered_latents(16, 4096, generator)
quantizer = VectorQuantizer(cfg.codes, cfg.width, cfg.decay)
start_norm = quantizer.codebook.double().norm(dim=1)  # (K,)
flushed = torch.set_flush_denormal(True)  # numbers below 1e-38 become 0, as in the package's training
norms, hits = [], []
for step in range(1500):
    if step == 200:
        abandoned = int(hits[-1].argmax())
        rows = rows[nearest(rows, quantizer.codebook) != abandoned]
    chosen = torch.randint(len(rows), (cfg.batch,), generator=generator)
    out = quantizer(rows[chosen][:, :, None, None])  # (batch, D, 1, 1)
    hits.append(torch.bincount(out.indices.flatten(), minlength=cfg.codes))
    norms.append(quantizer.codebook.double().norm(dim=1))
torch.set_flush_denormal(False)
norms, hits = torch.stack(norms), torch.stack(hits)  # (steps, K) each
print("codes hit in the first step:", int((hits[0] > 0).sum()), " in the last:", int((hits[-1] > 0).sum()))

# %%
never = hits.sum(dim=0) == 0  # (K,)
flung = (hits[0] > 0) & (hits[1:].sum(dim=0) == 0)
in_use = hits[-100:].sum(dim=0) > 0
alone = torch.arange(cfg.codes) == abandoned
print(f"never hit {int(never.sum())}, hit in step 1 only {int(flung.sum())}, in use {int(in_use.sum())}, abandoned 1")

# %% [markdown]
# One panel for each kind of code, with the length of each code on a logarithmic axis; the grey band is the length of the
# latents. Look for the height of the never-hit codes at step 1, and for the step at which the codes of the upper row
# cross the band (dotted: step 110; in the lower row step 200). And for the flat pieces: after its last hit, sum and count
# of a code shrink together, so their quotient stays, until the count is as small as $\varepsilon$.

# %%
lengths = rows.norm(dim=1)
steps = np.arange(1, 401)
kinds = (
    ("never hit", never, "#D55E00"),
    ("hit in step 1 only", flung, "#E69F00"),
    ("in use", in_use, "#0072B2"),
    ("abandoned at step 200", alone, plots.INK),
)
fig, axes = plots.figure(2, 2, height=5.2, sharex=True, sharey=True)
for ax, (name, which, colour) in zip(axes.flat, kinds):
    ax.axhspan(lengths.min(), lengths.max(), color=plots.PALE)
    ax.plot(steps, norms[:400, which], color=colour, linewidth=1.2)
    count = int(which.sum())
    ax.set_title(f"{name}: {count} code{'s' if count > 1 else ''}", fontsize=plots.TEXT)
    ax.axvline(110 if ax in axes[0] else 200, color=plots.INK, linewidth=1, linestyle=":")
    ax.set(yscale="log", ylim=(1e-10, 1e7), xlim=(0, 400))
for ax in axes[1]:
    ax.set_xlabel("step")
fig.supylabel("length of the code (log scale)", fontsize=plots.TEXT)
fig

# %% tags=["nbval-check-output"]
t = torch.tensor([1, 50, 100])
growth = (norms[t - 1] / start_norm)[:, never]  # (3, never hit)
nb.check(
    "never hit: length is 1e5 * 0.9^t times the start", growth, (1e5 * 0.9**t)[:, None].expand_as(growth), rtol=1e-3
)
back = int((norms[:, never] < start_norm[never]).int().argmax(dim=0).max()) + 1
nb.check("step at which it is back at its start length", back, 110)
nb.check("log(1e-5) / log(0.9), rounded up", int(np.ceil(np.log(1e-5) / np.log(0.9))), back)
nb.check("never hit: largest length at the end", norms[-1, never].max(), low=0, high=1e-30)
nb.check("codes never hit", int(never.sum()), low=1, high=31)
stays = norms[299, abandoned] / norms[199, abandoned]
stays_flung = norms[49, flung] / norms[0, flung]
nb.check("hit in step 1 only: smallest length at step 50 over step 1", stays_flung.min(), low=0.9, high=1.1)
nb.check("abandoned: length after 100 more steps over before", stays, low=0.9, high=1.1)

# %% [markdown]
# One update is enough: a code without a hit is $90{,}000$ times as far away after step 1, and no latent will ever
# choose it there. It is back at its start length, here that of the latents, at step 110, whatever $D$, $K$ and the data are, because
# only the decay and $\varepsilon$ enter. It has a few steps to be somebody's nearest code. After that it sinks to the
# origin, and the origin is a poor place: latents of width 64 and standard deviation 1 all have a length near 8.
#
# The end of the line is a matter of arithmetic. The *sum* of a dead code is smaller than the code itself by the factor
# $\varepsilon$. Below $10^{-38}$ single precision has only *denormal* numbers with few digits left, on which processors
# are slow. Flushing turns them into exact zeros. Without it the sum would stop at a handful of the smallest number
# there is, because a tenth of it rounds to nothing:

# %%
zeros = int((norms[-1] == 0).sum())
print(f"processor can flush: {flushed}; codes that are exactly 0 at the end: {zeros} of {cfg.codes}")
sinking = torch.full((1,), 1e-30)
for _ in range(1000):
    sinking.lerp_(torch.zeros(1), 0.1)
print(f"without flushing, after 1000 steps of x <- 0.9 x: {sinking.item():.2g}")

# %% [markdown]
# ## What a better start changes
#
# Two remedies are in the package, and its preset `improved` has both. `kmeans_init=True` replaces the random start by
# k-means on the first batch, *with the counts that belong to it*. `expire_below=c` gives every code whose average count
# falls below $c$ a random latent of the batch as its new place. We run the same latents, now from 40 clusters for 32
# codes, through four codebooks. The fourth is an experiment on the cause: the random start, but with all counts at 1
# instead of 0, so that the start position is added *and* divided.


# %%
def perplexities(quantizer, rows, steps, generator):
    """Perplexity of the batch at each step; the codebook follows the batches.

    rows  (n, D), from which each step draws cfg.batch
    """
    found = []
    for _ in range(steps):
        z = rows[torch.randint(len(rows), (cfg.batch,), generator=generator)][:, :, None, None]
        if quantizer.needs_init:
            quantizer.initialise(z, generator=generator)
        found.append(float(quantizer(z, generator=generator).perplexity))
    return found


def new_quantizer(K=cfg.codes, counts=0.0, start=seed, **options):
    """A quantizer with the constants of the thesis; equal `start` gives equal N(0, 1) codes."""
    torch.manual_seed(start)
    quantizer = VectorQuantizer(K, cfg.width, cfg.decay, cfg.commitment, **options)
    quantizer.code_count.fill_(counts)
    return quantizer


print([round(p, 1) for p in perplexities(new_quantizer(), rows, 3, torch.Generator().manual_seed(seed))])


# %%
RANDOM, KMEANS, BOTH, COUNTED = "N(0, 1) start", "k-means start", "k-means, restarts", "N(0, 1), counts start at 1"
rows = clustered_latents(40, 4096, generator)
variants = {
    RANDOM: new_quantizer(),
    KMEANS: new_quantizer(kmeans_init=True),
    BOTH: new_quantizer(kmeans_init=True, expire_below=1.0),
    COUNTED: new_quantizer(counts=1.0),
}
curves = {}
for name, quantizer in variants.items():
    curves[name] = perplexities(quantizer, rows, cfg.toy_steps, torch.Generator().manual_seed(seed))
    grid = rows[:, :, None, None]
    error = float((quantizer.decode(quantizer.encode(grid)) - grid).pow(2).mean())
    print(f"{name:27} perplexity: step 1 {curves[name][0]:4.1f}, last {curves[name][-1]:4.1f}  error {error:.3f}")

# %% [markdown]
# Left, the first 20 steps: the random start loses four fifths after a single one, and the black line, which has the same codes but counts
# from 1, about a fifth. Right, means over 10 steps each: where does the random start recover? You have computed that
# step (dotted).

# %%
KIND_COLOURS = {RANDOM: "#D55E00", KMEANS: "#56B4E9", BOTH: "#0072B2", COUNTED: "#000000"}
fig, axes = plots.figure(1, 2, height=4.2, sharey=True)
left, right = axes[0]
for (name, curve), marker in zip(curves.items(), "os^D"):
    style = dict(color=KIND_COLOURS[name], markersize=4, linewidth=1.8)
    left.plot(range(1, 21), curve[:20], marker=marker, label=name, **style)
    right.plot(np.arange(5.5, 300, 10), np.reshape(curve[:300], (30, 10)).mean(axis=1), marker=marker, **style)
right.axvline(110, color=plots.INK, linewidth=1, linestyle=":")
left.set_title("the first 20 steps", fontsize=plots.TEXT)
right.set_title("300 steps, means of 10", fontsize=plots.TEXT)
for ax in (left, right):
    ax.axhline(cfg.codes, color=plots.REAL, linewidth=1, linestyle="--", label=f"K = {cfg.codes}" * (ax is left))
    ax.set(ylim=(0, cfg.codes + 1), xlabel="step")
left.set_ylabel("perplexity of a batch")
fig.legend(loc="outside lower center", fontsize=plots.SMALL, frameon=False, ncols=3)
fig

# %% [markdown]
# One codebook is one draw. So once more with eight starts, each on clusters of its own: mean perplexity in steps 11 to
# 60, and for the random start in steps 151 to 200 as well.
#
# How to read the checks: "A over B" is A divided by B. The expected range is a *band*, made from recorded runs with other seeds, and
# "excludes" names what the band leaves out: "excludes counts do not matter" means that the ratio 1, which one would get if counts did not
# matter, lies outside.

# %%
OPTIONS = {RANDOM: {}, BOTH: dict(kmeans_init=True, expire_below=1.0), COUNTED: dict(counts=1.0)}
early, late = {name: [] for name in OPTIONS}, []
for i in range(8):
    toy = clustered_latents(40, 2048, generator)
    for name, options in OPTIONS.items():
        quantizer = new_quantizer(start=1000 * seed + i, **options)
        curve = perplexities(quantizer, toy, 200 if name == RANDOM else 60, generator)
        early[name].append(float(np.mean(curve[10:60])))
        if name == RANDOM:
            late.append(float(np.mean(curve[150:])))
for name, values in (*early.items(), (f"{RANDOM}, after step 150", late)):
    print(f"{name:30} mean {np.mean(values):4.1f}, from {min(values):4.1f} to {max(values):4.1f}")

# %% tags=["nbval-check-output"]
first = np.mean(early[RANDOM])
counted, gain, second_chance = np.mean(early[COUNTED]) / first, np.mean(early[BOTH]) / first, np.mean(late) / first
nb.check("first batch is the same for random starts", curves[RANDOM][0], curves[COUNTED][0], rtol=1e-6)
nb.check("largest perplexity in the figure", max(map(max, curves.values())), low=1, high=32)
nb.check_band(
    cfg,
    "02",
    "clusters, early: perplexity, counts from 1 over N(0, 1)",
    counted,
    excludes={"counts do not matter": 1.0},
)
nb.check_band(
    cfg,
    "02",
    "clusters, early: perplexity, k-means and restarts over N(0, 1)",
    gain,
    excludes={"the start does not matter": 1.0},
)
nb.check_band(
    cfg, "02", "clusters: perplexity of N(0, 1), late over early", second_chance, excludes={"no second chance": 1.0}
)
nb.record("02", "clusters, early: perplexity, N(0, 1)", first)
nb.record("02", "clusters, early: perplexity, k-means and restarts", np.mean(early[BOTH]))
nb.record("02", "clusters, late: perplexity, N(0, 1)", np.mean(late))

# %% [markdown]
# Two troubles add up. One is the random places: even when they are counted, the perplexity is about half of that after
# k-means with restarts. The other is the first update with counts from 0, and it halves that once more: codes with few
# hits are thrown outwards by $9\,e^{\text{start}}/n$, codes with none much further, and a handful takes everything.
#
# About 100 steps later the lost codes come back through the scale of the latents, and many of them catch a cluster: an
# accidental restart. (Never-hit codes of the black line keep their place until their count, too, is as small as
# $\varepsilon$; then they sink past the latents as well.) Over the eight starts it does not reach what restarts on purpose
# reach; in a single draw, as in the figure, it may.
#
# k-means alone, in the figure, starts well, loses a fifth after the batch it was fitted to, and stays there: nothing moves a code out of a crowded place. Restarts
# do.
#
# ## Real series
#
# Is the accidental restart there in a network, too? To see that we build the smallest possible tokenizer. GunPoint
# holds 150 steps of a hand's position; we keep 144, so that 18 tokens of 8 steps cover a series. There is one row only
# (F = 1, W' = 18). As in the thesis the encoder ends in a batch normalisation.

# %%
from torch import nn
from torch.nn import functional

from ncvqvae_lite.data import load_dataset

ds = load_dataset("GunPoint", root=nb.data_dir())
mean, std = ds.x_train.mean(), ds.x_train.std()
x_train, x_test = (((x - mean) / std)[:, :, :144] for x in (ds.x_train, ds.x_test))  # (n, 1, 144) each
print(x_train.shape, x_test.shape)


# %%
class SmallTokenizer(nn.Module):
    """Encoder, quantizer (or None) and decoder for series (B, 1, 144)."""

    def __init__(self, quantizer, hidden=32):
        super().__init__()
        D = cfg.width
        first, second = nn.Conv1d(1, hidden, 8, 4, 2), nn.Conv1d(hidden, D, 4, 2, 1)  # 144 -> 36 -> 18
        self.encoder = nn.Sequential(first, nn.BatchNorm1d(hidden), nn.LeakyReLU(), second, nn.BatchNorm1d(D))
        self.quantizer = quantizer
        first, second = nn.ConvTranspose1d(D, hidden, 4, 2, 1), nn.ConvTranspose1d(hidden, 1, 8, 4, 2)  # back to 144
        self.decoder = nn.Sequential(first, nn.BatchNorm1d(hidden), nn.LeakyReLU(), second)

    def forward(self, x, generator=None):
        z = self.encoder(x)[:, :, None]  # (B, 1, 144) -> (B, D, 1, 18)
        if self.training and self.quantizer and self.quantizer.needs_init:
            self.quantizer.initialise(z, generator=generator)
        out = self.quantizer(z, generator=generator) if self.quantizer else None
        return self.decoder((out.z_q if out else z)[:, :, 0]), out  # (B, 1, 144)


print(sum(p.numel() for p in SmallTokenizer(None).parameters()), "parameters")

# %% [markdown]
# The loss is the squared error of the series plus the commitment loss. We train it with 2 to 64 codes, each time with
# the thesis' start and with k-means and restarts; and once without a quantizer, which shows what the network could do
# with unlimited bits. Everything below is measured on the test split.


# %%
def train(quantizer, steps=cfg.train_steps, frozen=False):
    """A tokenizer trained on GunPoint (quantizer None: an autoencoder), and its test error before training."""
    torch.manual_seed(seed + 1000)  # of the weights
    model, draw = SmallTokenizer(quantizer), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW((model.decoder if frozen else model).parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.train_steps)
    untrained = evaluate(model)[0]
    for _ in range(steps):
        x = x_train[torch.randint(len(x_train), (cfg.series_batch,), generator=draw)]
        x_hat, out = model(x, draw)
        loss = functional.mse_loss(x_hat, x) + (out.loss if out else 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model, untrained


@torch.no_grad()
def evaluate(model):
    """Mean squared error on the test split, and what the quantizer returned."""
    x_hat, out = model.eval()(x_test)
    model.train()
    return float(functional.mse_loss(x_hat, x_test)), out


# %%
sizes = (2, 4, 8, 16, 32, 64)
starts = {RANDOM: {}, BOTH: dict(kmeans_init=True, expire_below=1.0)}
models, errors, used_codes = {}, {}, {}
floor = evaluate(train(None)[0])[0]
for name, options in starts.items():
    for K in sizes:
        models[name, K], untrained = train(new_quantizer(K, **options))
        errors[name, K], out = evaluate(models[name, K])
        used_codes[name, K] = float(out.perplexity)
        print(f"{name:18} K {K:2}  error {errors[name, K]:.4f}  perplexity {used_codes[name, K]:4.1f}")
print(f"without a quantizer: error {floor:.4f}")

# %% [markdown]
# Left, the *rate-distortion* curve: the price in bits per token, $\log_2 K$, against the error. For scale, the error is
# 1 for a decoder that gets the same code everywhere (it can only answer with a constant), and the dotted line is the
# error of answering every series with the mean train series. Right, the perplexity: to how many equally used codes the $K$ that were paid for amount. Look at where the two starts part ways for good. Each point is one training, so one point off its line is no finding.

# %%
alike = float(((x_test - x_train.mean(dim=0)) ** 2).mean())  # the mean train series as an answer
constant = float((x_test - x_train.mean()).pow(2).mean())
bits = np.log2(sizes)
fig, axes = plots.figure(1, 2, height=4.4)
left, right = axes[0]
for name, marker in zip(starts, "os"):
    left.plot(bits, [errors[name, K] for K in sizes], marker + "-", color=KIND_COLOURS[name], label=name)
    right.plot(bits, [used_codes[name, K] for K in sizes], marker + "-", color=KIND_COLOURS[name], label=name)
left.axhline(alike, color=plots.REAL, linestyle=":", linewidth=2, label="mean train series")
left.axhline(floor, color=plots.INK, linestyle="--", linewidth=1.5, label="no quantizer")
right.plot(bits, sizes, color=plots.INK, linestyle=":", linewidth=1.5, label="all codes alike")
left.set_yscale("log")
right.set_yscale("log", base=2)
right.yaxis.set_major_formatter("{x:g}")
left.set_ylabel("test error (squared, log scale)")
right.set_ylabel("perplexity on test (log scale)")
for ax in (left, right):
    ax.set_xlabel("bits per token, $\\log_2 K$")
    ax.legend(fontsize=plots.SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
fig

# %% tags=["nbval-check-output"]
failures = {"one code everywhere": constant, "mean train series": alike, "untrained network": untrained}
fewer, cost = errors[BOTH, 2] / errors[BOTH, 32], errors[RANDOM, 32] / errors[BOTH, 32]
random_codes, both_codes = used_codes[RANDOM, 32], used_codes[BOTH, 32]
extremes = {"all codes alike": 32, "collapse": 1}
nb.check_band(cfg, "02", "series: test error, k-means and restarts", errors[BOTH, 32], failures)
nb.check_band(cfg, "02", "series: test error, N(0, 1)", errors[RANDOM, 32], failures)
nb.check_band(cfg, "02", "series: perplexity, k-means and restarts", both_codes, {RANDOM: random_codes})
nb.check_band(cfg, "02", "series: perplexity, N(0, 1)", random_codes, extremes)
nb.check_band(cfg, "02", "series: test error of 2 codes over 32", fewer, {"more codes do not help": 1.0})
nb.check_band(cfg, "02", "series: test error, N(0, 1) over k-means and restarts", cost, {"no cost": 1.0})
nb.record("02", "series: test error without a quantizer", floor)

# %% [markdown]
# With the random start, codes beyond the first ten or so buy nothing here: they are paid for in $\log_2 K$, and neither error nor perplexity gains much. Why is there no second chance at step 110? A first guess: the encoder has adapted to the codes that were alive.
# If that were it, a *frozen* encoder would bring the lost codes back.
#
# A second guess is geometry. A lost code keeps its direction $u$ while it fades, so it travels along a ray to the
# origin. By Pythagoras its smallest squared distance to a latent $z$ is $\|z\|^2 (1 - \cos^2)$, with the angle between
# $u$ and $z$ (if that is below 90 degrees). It wins $z$ if the code that serves $z$ now is further away than that. In
# 64 dimensions a random direction is nearly orthogonal to every latent: $\cos^2$ is small. So a lost code wins only
# latents that are served hardly better than by the origin. We count the latents that some lost code will win. First
# with a pencil: the latent (2, 0) has length 2 and makes 45 degrees with the diagonal, so a code that fades along the
# diagonal comes as close as $4 \cdot (1 - \frac12) = 2$ (squared). It is served by a code at (0, -1.5), squared
# distance 6.25: won.


# %%
@torch.no_grad()
def winnable(quantizer, z):
    """Share of latents z (B, D, F, W') that a code which has none of them now would win on its way to the origin."""
    rows, served = z.movedim(1, -1).reshape(-1, z.shape[1]), quantizer.encode(z).flatten()  # (M, D), (M,)
    missing = ((rows - quantizer.codebook[served]) ** 2).sum(dim=1) / (rows**2).sum(dim=1)  # (M,)
    lost = torch.bincount(served, minlength=len(quantizer.codebook)) == 0  # (K,)
    rays = functional.normalize(quantizer.codebook[lost], dim=1)
    cosines = (functional.normalize(rows, dim=1) @ rays.T).clamp(min=0)  # (M, lost codes)
    closest = 1 - cosines.square().amax(dim=1)  # (M,) in units of |z|^2
    return float((missing > closest).double().mean())


two = torch.tensor([[2.0, 0.0], [0.0, -2.0]])  # the first is badly served by code 0, the second well
pencil = VectorQuantizer(2, 2)
pencil.codebook.copy_(torch.tensor([[0.0, -1.5], [100.0, 100.0]]))  # code 1 is far out, on the diagonal
print("winnable:", winnable(pencil, two[:, :, None, None]))

# %% [markdown]
# Now the clusters and the tokenizer at step 80, before the lost codes come by; and the frozen encoder.

# %%
won = []
for i in range(8):  # eight codebooks, each on clusters of its own
    quantizer, toy = new_quantizer(start=1000 * seed + i), clustered_latents(40, 2048, generator)
    perplexities(quantizer, toy, 80, generator)
    won.append(winnable(quantizer, toy[:, :, None, None]))
won_toy = float(np.mean(won))
early_model = train(new_quantizer(32), steps=80)[0].eval()
won_series = winnable(early_model.quantizer, early_model.encoder(x_test)[:, :, None])
print(f"latents that a lost code will win: {won_toy:.1%} on the clusters, {won_series:.1%} in the tokenizer")

# %%
_, frozen = evaluate(train(new_quantizer(32), frozen=True)[0])
kmeans_error, kmeans_only = evaluate(train(new_quantizer(32, kmeans_init=True))[0])
print(f"K 32, N(0, 1) start, frozen encoder: perplexity {float(frozen.perplexity):.1f}")
print(f"K 32, k-means start without restarts: perplexity {float(kmeans_only.perplexity):.1f}, error {kmeans_error:.4f}")

# %% tags=["nbval-check-output"]
nb.check("pencil: one latent of two can be won", winnable(pencil, two[:, :, None, None]), 0.5)
nb.check_band(
    cfg, "02", "latents a fading code can win, clusters", won_toy, excludes={"the tokenizer's share": won_series}
)
nb.check_band(cfg, "02", "latents a fading code can win, series", won_series, excludes={"the clusters' share": won_toy})
nb.check_band(
    cfg, "02", "series: perplexity, N(0, 1), encoder frozen", frozen.perplexity, excludes={BOTH: used_codes[BOTH, 32]}
)
nb.record("02", "series: perplexity, k-means only", kmeans_only.perplexity)

# %% [markdown]
# The first guess is wrong: a frozen encoder does not bring them back. The second holds: on the clusters a good part of
# the latents is there to be won, in the tokenizer next to none. GunPoint is smooth, many of its latents are alike, and
# the few codes alive serve them well enough to keep every random direction out, though not well enough for the decoder.
# k-means without restarts ends in between. A restart works where the accident fails, because it puts the code *onto* a
# latent.
#
# How bad was it in the thesis? The authors' own runs recorded the perplexity of the last training batch, for the naive
# tokenizer (without a second loss) with $K = 32$ (four runs for each data set). The last column is what their uneven use costs:
# $\log_2 (32 / P)$ bits of the 5 per token.

# %%
from ncvqvae_lite.data import THESIS_DATASETS
from ncvqvae_lite.thesis import author_runs

recorded = {name: author_runs(name, "regular", "none")["train_perplexity"] for name in THESIS_DATASETS}
print(f"{'perplexity of':22} mean   min..max    bits unused")
for name, runs in recorded.items():
    print(f"{name:22} {np.mean(runs):4.1f}   {min(runs):4.1f}..{max(runs):4.1f}  {np.log2(32 / np.mean(runs)):.2f}")

# %% tags=["nbval-check-output"]
nb.check("data sets", len(recorded), 13)
nb.check("TwoPatterns, mean of four runs", np.mean(recorded["TwoPatterns"]), 24.13, atol=0.01)
nb.check(
    "lowest mean: SonyAIBORobotSurface2",
    min(recorded, key=lambda name: np.mean(recorded[name])),
    "SonyAIBORobotSurface2",
)

# %% [markdown]
# More than in our small tokenizer; still, on TwoPatterns the 32 codes work like 24 equally used ones, on some sets like 16 or
# fewer. (How many codes occur at all, a perplexity does not say.)
# Data, network and length of training all differ from ours, and the authors ran no other start, so the table cannot say
# how much of this is due to the start. Our runs say something narrower: on one set of smooth series, with a short
# training, the start decides how evenly codes are used, and from 32 codes on that shows in the error.
#
# ## A series and its tokens
#
# Eight codes are few enough to give each a colour. Number and colour of a strip are the token of those 8 steps; grey is
# the test series, black what the decoder makes of the 18 tokens. Look for tokens that mean "flat", "rising", "top". But
# a token is not quite a shape: encoder and decoder see neighbouring steps, so the same token can be drawn differently.

# %%
model = models[BOTH, 8].eval()
shown = [int((ds.y_test == c).nonzero()[0]) for c in range(2)]  # the first test series of each class
with torch.no_grad():
    x_hat, out = model(x_test[shown])
strips = out.indices[:, 0]  # (2, 1, 18) -> (2, 18)
colours = (*plots.CLASS_COLOURS[:6], "#332288", plots.CLASS_COLOURS[7])  # no black: the lines are grey and black
fig, axes = plots.figure(2, 1, height=5, sharex=True, sharey=True)
for ax, i, drawn, row in zip(axes[:, 0], shown, x_hat[:, 0], strips):
    for w, token in enumerate(row.tolist()):
        ax.axvspan(8 * w, 8 * w + 8, color=colours[token], alpha=0.35, linewidth=0)
        ax.text(8 * w + 4, 2.75, str(token), ha="center", fontsize=plots.SMALL)
    ax.plot(np.arange(144) + 0.5, x_test[i, 0], color="#666666", linewidth=3.5, label="test series")
    ax.plot(np.arange(144) + 0.5, drawn, color=plots.INK, linewidth=1.5, label="decoded from tokens")
    ax.set_title(f"class {ds.class_names[int(ds.y_test[i])]}, test series {i}", fontsize=plots.TEXT)
axes[0, 0].set_ylim(-2, 3.4)
axes[1, 0].set_xlabel(plots.STEPS)
fig.supylabel(plots.SCALED, fontsize=plots.TEXT)
fig.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False
)
fig

# %% tags=["nbval-check-output"]
with torch.no_grad():
    z = model.encoder(x_test[shown])[:, :, None]  # (2, D, 1, 18)
by_hand = nearest(z[:, :, 0].movedim(1, -1).reshape(-1, cfg.width), model.quantizer.codebook).view(2, 18)
nb.check("tokens of the drawn series (series, W')", strips.shape, (2, 18))
nb.check("tokens that agree by hand and in the figure", int((by_hand == strips).sum()), 2 * 18)
nb.check("bits for one series: 18 tokens of log2 8", 18 * np.log2(8), 54.0)
nb.check("bits for its 144 numbers in single precision", 144 * 32, 4608)

# %% [markdown]
# ## Drawing the token
#
# The prior ([`prior.py`](../ncvqvae_lite/prior.py)) is trained on tokens that are *drawn* rather than nearest: in the thesis' code, with
# probability
#
# $$P(k \mid z) = \frac{\exp(-\|z - e_k\|^2 / \tau)}{\sum_j \exp(-\|z - e_j\|^2 / \tau)}, \qquad \tau = 1 .$$
#
# A small temperature $\tau$ gives the nearest code, a large one any code. One latent at 0.4 between four codes, bars by
# the formula, dots from draws of the package's `encode`:

# %%
quantizer = VectorQuantizer(4, 1)
quantizer.codebook.copy_(stairs)  # codes -1, 0, 1, 2
latent = torch.full((cfg.draws, 1, 1, 1), 0.4)
temperatures = (0.1, 1.0, 10.0)
formula, drawn = [], []
for temperature in temperatures:
    formula.append(torch.softmax(-((0.4 - stairs[:, 0]) ** 2) / temperature, dim=0))  # (K,)
    indices = quantizer.encode(latent, temperature=temperature, generator=generator)
    drawn.append(torch.bincount(indices.flatten(), minlength=4) / cfg.draws)
fig, axes = plots.figure(1, 3, height=3.4, sharey=True)
for ax, temperature, bars, dots in zip(axes[0], temperatures, formula, drawn):
    ax.bar(range(4), bars, color=plots.PALE, label="formula")
    ax.plot(range(4), dots, "o", color="#0072B2", markersize=8, label="draws")
    ax.set_xticks(range(4), ["-1", "0", "1", "2"])
    ax.set_title(f"temperature {temperature:g}", fontsize=plots.TEXT)
    ax.set_xlabel("code")
axes[0, 0].set_ylabel("share")
axes[0, 2].legend(fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
four_sigma = 4 * 0.5 / cfg.draws**0.5  # a share has a standard deviation of at most 0.5 / sqrt(draws)
gap = float((torch.stack(formula) - torch.stack(drawn)).abs().max())
nb.check("largest gap between draws and formula in units of 4 sigma", gap / four_sigma, low=0, high=1)
nb.check("temperature 0 is the nearest code", quantizer.encode(latent[:1]), torch.tensor([[[1]]]))
nb.check("shares by the formula sum to 1", torch.stack(formula).sum(dim=1), torch.ones(3), rtol=1e-6)

# %% [markdown]
# Whether $\tau = 1$ is much depends on the distances, so on the codebook. Count how many test tokens of our tokenizers
# change when they are drawn:

# %%
for name in starts:
    model = models[name, 32].eval()
    with torch.no_grad():
        z = model.encoder(x_test)[:, :, None]  # (n, D, 1, 18)
    nearest_code = model.quantizer.encode(z)
    changed = float((model.quantizer.encode(z, temperature=1.0, generator=generator) != nearest_code).double().mean())
    nb.record("02", f"tokens changed by drawing, {'N(0, 1)' if name == RANDOM else 'k-means and restarts'}", changed)
    print(f"{name:18} K 32: {changed:.0%} of the tokens change at temperature 1")

# %% [markdown]
# At equal training the codebook with the higher perplexity mixes more. A longer training mixes more, too: in the recorded runs below both
# rows are higher in `paper`, where the random start changes more tokens than k-means and restarts do in `quick`, at a lower perplexity. A temperature is a length
# (squared) in latent space; it does not know how fine the codebook is.
#
# ## Recorded runs
#
# Means and spreads over seeds. Compare each row with its spread before you compare rows with each other: a difference
# smaller than the spread of either is no finding. Errors of different presets belong to trainings of different length.
# The longer training of `paper` wins back part of what the random start costs: the error is nearer to that of k-means
# and restarts than in `quick`, though its perplexity is still far lower.

# %%
print(nb.recorded_runs("02"))

# %% [markdown]
# ## What to take along
#
# - A token is the number of the nearest code. The encoder learns through it only because the gradient is copied, and
#   stays near its codes only because of the commitment loss.
# - Codes are moving averages of their latents; counts matter as much as sums. Perplexity says to how many
#   equally used codes a codebook amounts.
# - A random start with counts 0 loses codes at the first step. They come back by accident only where latents are badly
#   served. k-means and restarts (preset `improved`) keep them.
# - Chapter 5 needs: $z_q$ carries gradient to the encoder. Chapter 6 needs: tokens, `encode` with a temperature.

# %% [markdown]
# ## Exercises
#
# They need no code of the chapter, only this set-up. A check says what to look at when an answer is wrong.

# %%
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ncvqvae_lite import nb
from ncvqvae_lite.quantizer import VectorQuantizer

generator = nb.seed_everything(1)


class Watch(TorchDispatchMode):
    """Within this context: `size` is the number of entries of the largest tensor that any operation returned, and
    `operations` has the names of all operations."""

    size, operations = 0, ""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations += f"{function} "
        if isinstance(result, torch.Tensor):
            self.size = max(self.size, result.numel())
        return result


print(torch.randn(2, 3, generator=generator).shape)


# %%
def six_codes():
    """Places (6, 2) and counts (6,) of codes of which four are dead at the threshold 0.5, and latents (100, 2)."""
    places = torch.tensor([[1.0, 1.0], [9e4, 9e4], [-7.0, 2.0], [2.0, -1.0], [30.0, 0.0], [0.0, 0.0]])
    return places, torch.tensor([5.0, 0.0, 0.1, 0.5, 0.2, 0.0]), torch.arange(200.0).view(100, 2) / 100 + 4


# %% [markdown]
# ### 2.1 Distances without the difference tensor `*`
# The chapter's `nearest` builds differences of shape (M, K, D). For one batch of the thesis, M = 5000 latents, K = 32
# and D = 64, that is ten million numbers for a result of 160,000. Multiply out
# $\|z - e\|^2 = \|z\|^2 - 2\, z \cdot e + \|e\|^2$ and write it with one matrix product, so that no tensor on the way
# is larger than the inputs and the result.


# %% tags=["exercise"]
def squared_distances(rows, codes):
    """Squared distance of every row to every code.

    rows     (M, D)
    codes    (K, D)
    returns  (M, K)
    """
    # solution: expand the square of the difference; which of the three terms needs both z and e?
    of_rows = (rows**2).sum(dim=1, keepdim=True)  # (M, 1)
    of_codes = (codes**2).sum(dim=1)  # (K,)
    return of_rows - 2 * rows @ codes.T + of_codes  # (M, K)
    # end of solution


# %% tags=["nbval-check-output"]
def check_squared_distances(answer):
    codes = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    by_pencil = torch.tensor([[1.0, 20.0], [25.0, 0.0]])
    found = answer(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), codes)
    nb.check("two points, two codes", found, by_pencil, atol=1e-5, hint="which index does each term depend on?")
    rows, codes = torch.randn(50, 8), 2 * torch.randn(6, 8)
    loops = torch.tensor([[float(((z - e) ** 2).sum()) for e in codes] for z in rows])
    nb.check("50 x 6 random, against loops", answer(rows, codes), loops, rtol=1e-4, atol=1e-4, hint="all three terms?")
    with Watch() as watch:
        answer(rows, codes)
    nb.check("largest tensor on the way", watch.size, low=300, high=400, hint="which one is larger than (M, K)?")
    own = "dist" not in watch.operations  # of cdist
    nb.check("multiplied out, not left to torch.cdist", own, True, hint="cdist takes roots that you would square again")
    products = watch.operations.count("mm.")  # mm, addmm or bmm; a norm by einsum is one, too
    nb.check("matrix products", products, low=1, high=3, hint="one product has z . e for all z and e, without a loop")


nb.examine(check_squared_distances, squared_distances)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>keepdim=True</code> makes a column (M, 1); a vector (K,) is added to every row.
# With two points in the plane and two codes every wrong axis still gives the right shape, so compare values. </details>


# %% tags=["solution"]
def wrong_sums_over_codes(rows, codes):
    """sums the squares of the codes over the wrong axis"""
    return (rows**2).sum(dim=1, keepdim=True) - 2 * rows @ codes.T + (codes**2).sum(dim=0)


def wrong_drops_code_norms(rows, codes):
    """drops |e|^2, as if it were the same for all codes"""
    return (rows**2).sum(dim=1, keepdim=True) - 2 * rows @ codes.T


def wrong_still_builds_differences(rows, codes):
    """right values, but still through the (M, K, D) tensor"""
    return ((rows[:, None] - codes) ** 2).sum(dim=-1)


def wrong_squares_a_root(rows, codes):
    """right values, but from torch.cdist, which takes roots that are squared again"""
    return torch.cdist(rows, codes) ** 2


def wrong_loops_over_the_codes(rows, codes):
    """right values, but code by code in a loop"""
    return torch.stack([((rows - code) ** 2).sum(dim=1) for code in codes], dim=1)


nb.refused(
    check_squared_distances,
    wrong_sums_over_codes,
    wrong_drops_code_norms,
    wrong_still_builds_differences,
    wrong_squares_a_root,
    wrong_loops_over_the_codes,
)

# %% [markdown]
# ### 2.2 Where is a code after t steps? `**`
# A code starts at $e_0$, with sum $e_0$ and count 0, as in the package. At every step it gets the same $n$ latents,
# with mean $\bar z$. Find a formula for the code after $t$ steps (leave out $\varepsilon$): first the count, then the
# sum, then the quotient. **To answer in words:** how many hits per step does a code need so that its first stride does
# not throw it more than $|e_0|/10$ away from $\bar z$, at decay 0.9?


# %% tags=["exercise"]
def code_after(steps, start, mean, hits, decay):
    """Position of a code after some EMA steps on the same latents.

    steps    t, at least 1
    start    (D,) the code before the first step
    mean     (D,) of its latents, the same at each step
    hits     n, number of its latents per step
    returns  (D,)
    """
    # solution: write count and sum after t steps, each as a start that fades plus a part that arrives
    faded = decay**steps
    count = hits * (1 - faded)
    total = faded * start + (1 - faded) * hits * mean
    return total / count
    # end of solution


# %% tags=["nbval-check-output"]
def check_code_after(answer):
    start, far = torch.tensor([2.0, 0.0]), torch.tensor([-500.0, -500.0])
    rows = torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 0.0], [1.0, 2.0], [7.0, 4.0], [1.0, 4.0]]) - 3
    hint = "does the start position count in the sum, and in the count?"
    for hits, decay in ((6, 0.9), (4, 0.8)):
        quantizer = VectorQuantizer(2, 2, decay=decay)
        quantizer.codebook.copy_(torch.stack([start, far]))
        quantizer.code_sum.copy_(quantizer.codebook)
        for step in range(1, 41):
            quantizer(rows[:hits, :, None, None])
            if step in (1, 5, 40):
                found, name = answer(step, start, rows[:hits].mean(dim=0), hits, decay), f"step {step}, {hits} hits"
                nb.check(f"{name}, against the package", found, quantizer.codebook[0], rtol=1e-3, atol=1e-3, hint=hint)


nb.examine(check_code_after, code_after)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Write down the count after one, two and three steps and look for the pattern; then the
# sum. For the question, put t = 1 into your formula. </details>
#
# <details><summary>Answer in words</summary> At t = 1 the code is the mean of the latents plus 9 e_0 / n, and 9 / n is at
# most 1/10 from n = 90 hits on. </details>


# %% tags=["solution"]
def wrong_weighted_mean(steps, start, mean, hits, decay):
    """the textbook average, as if the start had been counted too"""
    return decay**steps * start + (1 - decay**steps) * mean


def wrong_one_hit(steps, start, mean, hits, decay):
    """forgets that the start is divided by the number of hits"""
    return mean + decay**steps / (1 - decay**steps) * start


def wrong_one_step_late(steps, start, mean, hits, decay):
    """counts the first step as step 0"""
    faded = decay ** (steps - 1)
    return (faded * start + (1 - faded) * hits * mean) / (hits * (1 - faded) + 1e-5)


nb.refused(check_code_after, wrong_weighted_mean, wrong_one_hit, wrong_one_step_late)

# %% [markdown]
# ### 2.3 Perplexity of a whole split `*`
# Tokens come in batches of different size. Report one perplexity for all of them. The order of your steps matters: a
# batch of 8 tokens cannot show more than 8 codes, however many the split uses.


# %% tags=["exercise"]
def split_perplexity(batches, codebook_size):
    """Perplexity of all tokens of a split together.

    batches  list of int64 tensors of any shape, values in 0..K-1
    returns  float
    """
    # solution: shares of which tokens? And what does a code without a hit add?
    tokens = torch.cat([batch.flatten() for batch in batches])
    share = torch.bincount(tokens, minlength=codebook_size).double() / len(tokens)  # (K,)
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))
    # end of solution


# %% tags=["nbval-check-output"]
def check_split_perplexity(answer):
    alike = [torch.arange(8).view(2, 4), torch.arange(8).repeat(3)]
    nb.check("8 codes alike", answer(alike, 8), 8.0, rtol=1e-4, hint="exp and log of the same base?")
    shares = torch.tensor([0.5, 0.25, 0.25])
    expected = float(torch.prod(shares**-shares))
    one = [torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])]
    nb.check("one batch, unequal shares", answer(one, 3), expected, rtol=1e-4, hint="how much does a rare code count?")
    nb.check("8 codes alike, of 32", answer(alike, 32), 8.0, rtol=1e-4, hint="what is 0 * log 0 in floats?")
    halves = [torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([2, 2])]
    nb.check("two batches with different codes", answer(halves, 4), expected, rtol=1e-4, hint="shares of which tokens?")


nb.examine(check_split_perplexity, split_perplexity)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>torch.bincount(..., minlength=K)</code> counts; drop the zeros before the
# logarithm. </details>


# %% tags=["solution"]
def wrong_mean_of_batches(batches, codebook_size):
    """averages the perplexities of the batches, as a training log does"""
    return sum(split_perplexity([batch], codebook_size) for batch in batches) / len(batches)


def wrong_zero_log_zero(batches, codebook_size):
    """0 log 0 becomes NaN"""
    share = torch.bincount(torch.cat([b.flatten() for b in batches]), minlength=codebook_size).double()
    share = share / share.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def wrong_codes_in_use(batches, codebook_size):
    """counts the codes with at least one hit"""
    return float(len(torch.cat([b.flatten() for b in batches]).unique()))


def wrong_base_two(batches, codebook_size):
    """entropy in bits, exponential with base e"""
    share = torch.bincount(torch.cat([b.flatten() for b in batches])).double()
    share = share[share > 0] / share.sum()
    return float(torch.exp(-(share * share.log2()).sum()))


# equivalent: codebook_size has no effect: a code without a hit adds nothing to the entropy
nb.refused(check_split_perplexity, wrong_mean_of_batches, wrong_zero_log_zero, wrong_codes_in_use, wrong_base_two)

# %% [markdown]
# ### 2.4 Three faults that do not crash `**`
# A colleague's training step runs, and its loss falls. The reconstructions are poor.
#
# ```python
# def quantise_step(z, codes, total, count, decay):
#     one_hot = torch.eye(len(codes))[torch.cdist(z, codes).argmin(dim=1)]
#     count = decay * count + (1 - decay) * one_hot.sum(dim=0)
#     total = decay * total + (1 - decay) * one_hot.T @ z
#     codes = total / count[:, None]
#     z_q = one_hot @ codes
#     loss = ((z_q - z) ** 2).mean()
#     return z + (z_q - z), loss, codes, total, count
# ```
#
# Find the faults and write the step as the chapter has it, in its order and with gradients only where the chapter lets
# them flow. (A missing $\varepsilon$ is not one of the faults: all counts are positive here.)


# %% tags=["exercise"]
def quantise_step(z, codes, total, count, decay):
    """One training step of a quantizer.

    z             (M, D) latents with gradient
    codes, total  (K, D), of which `codes` may ask for a gradient, and gets none; count (K,)
    returns       z_q (M, D), commitment loss (), then codes, total and count after the step
    """
    # solution: line by line: which codes does it read, and which of its tensors may pass a gradient on?
    one_hot = torch.eye(len(codes))[torch.cdist(z, codes).argmin(dim=1)]  # (M, K)
    z_q = (one_hot @ codes).detach()
    loss = ((z_q - z) ** 2).mean()
    count = decay * count + (1 - decay) * one_hot.sum(dim=0)
    total = decay * total + (1 - decay) * one_hot.T @ z.detach()
    return z + (z_q - z).detach(), loss, total / count[:, None], total, count
    # end of solution


# %% tags=["nbval-check-output"]
def check_quantise_step(answer):
    z = torch.tensor([[0.5, 0.0], [0.0, 1.0], [3.0, 3.0], [5.0, 4.0]], requires_grad=True)
    codes, count = torch.tensor([[0.0, 0.0], [4.0, 4.0]], requires_grad=True), torch.tensor([3.0, 1.0])
    weights = torch.tensor([[1.0, -2.0], [0.5, 3.0], [-1.0, 1.0], [2.0, 0.0]])
    sums, before = codes.detach() * count[:, None], codes.detach()[[0, 0, 1, 1]]
    z_q, loss, moved, total, new_count = answer(z, codes, sums.clone(), count.clone(), 0.9)
    nb.check("codes of the latents", z_q, before, atol=1e-6, hint="which codes did the latents choose from?")
    hint = "mean over all M D entries; of the codes before the step"
    nb.check("commitment loss", loss, ((before - z) ** 2).mean(), rtol=1e-5, hint=hint)
    nb.check("z_q, loss reach the latents", (z_q.requires_grad, loss.requires_grad), (True, True), hint="detach what?")
    nb.check("averages keep no graph", moved.requires_grad or total.requires_grad, False, hint="detach what?")
    slope, to_codes = torch.autograd.grad((weights * z_q).sum(), [z, codes], retain_graph=True, allow_unused=True)
    nb.check("gradient through z_q", slope, weights, atol=1e-6, hint="z + (z_q - z) is z_q: where is the constant?")
    slope, of_codes = torch.autograd.grad(loss, [z, codes], allow_unused=True)
    nb.check("gradient of the loss", slope, 2 * (z - before) / 8, atol=1e-6, hint="which of the two may move?")
    constant = to_codes is None and of_codes is None
    nb.check("codes are constant in z_q, in the loss", constant, True, hint="which tensors must be constant in each?")
    for decay, counts in ((0.9, [2.9, 1.1]), (0.5, [2.5, 1.5])):
        found = answer(z, codes, sums.clone(), count.clone(), decay)[-1]
        nb.check(f"count, decay {decay}", found, torch.tensor(counts), atol=1e-6, hint="how much of the old one stays?")
    nb.check("sum after the step", total, [[0.05, 0.1], [4.4, 4.3]], atol=1e-5, hint="how much of the old sum stays?")
    nb.check("codes after the step", moved, total / new_count[:, None], atol=1e-5, hint="sum / count, of the new ones")


nb.examine(check_quantise_step, quantise_step)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Read it line by line and ask: old codes or new? constant or not? What is the derivative
# of z + (z_q - z) when nothing is detached? </details>


# %% tags=["solution"]
def wrong_moves_first(z, codes, total, count, decay):
    """the codebook moves before the latents are quantised"""
    _, _, moved, total, count = quantise_step(z, codes, total, count, decay)
    z_q = moved[torch.cdist(z.detach(), codes).argmin(dim=1)]
    return z + (z_q - z).detach(), ((z_q - z) ** 2).mean(), moved, total, count


def wrong_keeps_the_graph(z, codes, total, count, decay):
    """sums the latents without detach, so gradient reaches the codebook and every step keeps the last one's graph"""
    z_st, loss, _, _, new_count = quantise_step(z, codes, total, count, decay)
    one_hot = torch.eye(len(codes))[torch.cdist(z, codes).argmin(dim=1)]
    total = decay * total + (1 - decay) * one_hot.T @ z
    return z_st, loss, total / new_count[:, None], total, new_count


def wrong_pulls_the_codes(z, codes, total, count, decay):
    """a commitment loss without detach, which moves the codes as well"""
    z_st, _, *rest = quantise_step(z, codes, total, count, decay)
    z_q = codes[torch.cdist(z, codes).argmin(dim=1)]
    return z_st, ((z_q - z) ** 2).mean(), *rest


def wrong_no_straight_through(z, codes, total, count, decay):
    """returns the code itself, which knows no way back to z"""
    z_st, *rest = quantise_step(z, codes, total, count, decay)
    return z_st.detach(), *rest


def wrong_codes_get_the_gradient(z, codes, total, count, decay):
    """adds z without its value to codes that still hand the gradient on"""
    _, *rest = quantise_step(z, codes, total, count, decay)
    z_q = codes[torch.cdist(z, codes).argmin(dim=1)]
    return z + z_q - z.detach(), *rest


def wrong_detaches_the_latents(z, codes, total, count, decay):
    """a commitment loss of detached latents, which pulls at nothing"""
    z_st, loss, *rest = quantise_step(z, codes, total, count, decay)
    return z_st, loss.detach(), *rest


nb.refused(
    check_quantise_step,
    wrong_moves_first,
    wrong_keeps_the_graph,
    wrong_pulls_the_codes,
    wrong_no_straight_through,
    wrong_codes_get_the_gradient,
    wrong_detaches_the_latents,
)

# %% [markdown]
# ### 2.5 Restart a dead code `**`
# A code whose average count fell below a threshold shall move to a random latent of the batch. The codebook itself is
# recomputed at every step as sum / count, so writing into the codebook alone would be undone at once. Set sum *and*
# count so that (1) the quotient is the chosen latent, (2) the count is the threshold, so the code is not restarted
# again in the next step, (3) codes in use keep what they have, (4) two dead codes need not get the same latent.


# %% tags=["exercise"]
def restart(total, count, rows, threshold, generator):
    """Sums and counts after dead codes got new places.

    total, count  (K, D), (K,) moving averages; a code with count < threshold is dead
    rows          (M, D) latents of the batch; there may be more dead codes than latents
    returns       total (K, D), count (K,)
    """
    # solution: which codes move, to which rows, and what do sum and count say afterwards?
    drawn = rows[torch.randint(len(rows), (len(count),), generator=generator)]  # (K, D)
    dead = count < threshold  # (K,)
    total = torch.where(dead[:, None], threshold * drawn, total)
    return total, torch.where(dead, threshold, count)
    # end of solution


# %% tags=["nbval-check-output"]
def check_restart(answer):
    codes, count, rows = six_codes()

    def drawn(threshold, seed):
        return answer(codes * count[:, None], count.clone(), rows, threshold, torch.Generator().manual_seed(seed))

    used, (total, new_count) = count >= 0.5, drawn(0.5, 3)
    nb.check("counts", new_count, torch.where(used, count, 0.5), atol=1e-6, hint="which codes are dead? what says (2)?")
    places = total / new_count[:, None]
    nb.check("codes in use stay", places[used], codes[used], atol=1e-5, hint="look at (3)")
    gaps = (places[~used][:, None] - rows).abs().sum(dim=2).min(dim=1).values  # (4,)
    nb.check("restarted codes stand on latents", gaps, torch.zeros(4), atol=1e-3, hint="sum / count is the place: (1)")
    nb.check("seed 3 twice, same places", drawn(0.5, 3)[0], total, atol=1e-6, hint="draw from the given generator")
    nb.check("seed 4, same places", bool((drawn(0.5, 4)[0] == total).all()), False, hint="is `generator` used?")
    nb.check("threshold 0.2: counts", drawn(0.2, 4)[1], count.clamp(min=0.2), atol=1e-6, hint="use `threshold`")
    g = torch.Generator().manual_seed(5)
    hint = "how many places are needed, of how many latents?"
    fill = lambda rows: nb.answered(answer, torch.zeros(400, 2), torch.zeros(400), rows, 1.0, g, hint=hint)[0]  # noqa: E731
    many, more, others = map(fill, (rows[:5], rows[:5], rows))
    nb.check("the next draw, same places", bool((many == more).all()), False, hint="go on with it where it stands")
    nb.check("latents used by 400 codes, of 5", len(many.unique(dim=0)), 5, hint="look at (4)")
    nb.check("latents used by 400 codes, of 100", len(others.unique(dim=0)), low=90, hint="can it be any latent?")


nb.examine(check_restart, restart)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> sum = place * count. <code>torch.where(condition[:, None], a, b)</code> chooses whole
# rows. </details>


# %% tags=["solution"]
def wrong_sum_is_the_latent(total, count, rows, threshold, generator):
    """writes the latent into the sum, though the sum is divided by the threshold"""
    drawn = rows[torch.randint(len(rows), (len(count),), generator=generator)]
    dead = count < threshold
    return torch.where(dead[:, None], drawn, total), torch.where(dead, threshold, count)


def wrong_forgets_the_count(total, count, rows, threshold, generator):
    """sets the sum only: the old count divides it"""
    drawn = rows[torch.randint(len(rows), (len(count),), generator=generator)]
    return torch.where((count < threshold)[:, None], threshold * drawn, total), count


def wrong_one_latent_for_all(total, count, rows, threshold, generator):
    """draws one latent and sends all dead codes there"""
    drawn = rows[torch.randint(len(rows), (1,), generator=generator)].expand_as(total)
    dead = count < threshold
    return torch.where(dead[:, None], threshold * drawn, total), torch.where(dead, threshold, count)


def wrong_no_latent_twice(total, count, rows, threshold, generator):
    """shuffles the latents and deals them out: there are too few where more codes are dead"""
    drawn = rows[torch.randperm(len(rows), generator=generator)[: len(count)]]
    dead = count < threshold
    return torch.where(dead[:, None], threshold * drawn, total), torch.where(dead, threshold, count)


def wrong_first_latents(total, count, rows, threshold, generator):
    """draws from the first ten latents"""
    return restart(total, count, rows[:10], threshold, generator)


def wrong_moves_everything(total, count, rows, threshold, generator):
    """moves the codes in use as well"""
    drawn = rows[torch.randint(len(rows), (len(count),), generator=generator)]
    count = count.clamp(min=threshold)
    return drawn * count[:, None], count


def wrong_own_generator(total, count, rows, threshold, generator):
    """draws from a generator of its own: the same places in every call"""
    return restart(total, count, rows, threshold, torch.Generator().manual_seed(0))


def wrong_global_state(total, count, rows, threshold, generator):
    """draws from the global random state"""
    return restart(total, count, rows, threshold, None)


def wrong_begins_anew(total, count, rows, threshold, generator):
    """begins anew from the seed of the generator: every call draws the same"""
    return restart(total, count, rows, threshold, torch.Generator().manual_seed(generator.initial_seed()))


nb.refused(
    check_restart,
    wrong_sum_is_the_latent,
    wrong_forgets_the_count,
    wrong_one_latent_for_all,
    wrong_first_latents,
    wrong_no_latent_twice,
    wrong_moves_everything,
    wrong_own_generator,
    wrong_global_state,
    wrong_begins_anew,
)
