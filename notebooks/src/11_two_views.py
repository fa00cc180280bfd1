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
# # 11. Two views and no labels
#
# A view is a claim about what does not matter. What does a network learn from such claims alone, what does a wrong one
# cost, and can the price be known before anything is trained?
#
# - **Goals**: after it you can write eight views of a series as a loop and as a batch; predict from a table of
#   neighbours how well the best features can do under a view; write NT-Xent and know its value for a guess and its least one;
#   run SimCLR by its algorithm, and its relatives in the same loop; compare them over seeds without fooling yourself
# - **Before**: chapter 3 (VICReg, Barlow Twins), chapter 4 (what a view promises); logistic regression
# - **Time**: 70 seconds of computing
# - **Data**: TwoPatternsGenerated and eight generated gestures, made by the package; GunPoint, ItalyPowerDemand,
#   BasicMotions (UCR and UEA archives, bundled with aeon); our recorded runs, UWaveGestureLibraryAll among them, which
#   ship with it
# - **Answers**: SimCLR (Chen et al. 2020, [arXiv 2002.05709](https://arxiv.org/abs/2002.05709)) and what reports and
#   tutorials say of it and its relatives on time series: which losses are better, which views, how few labels are
#   enough, what preprocessing matters, whether features of one domain serve another. At the end stands what was found,
#   not found and not settled

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
import math

import numpy as np
import torch

from ncvqvae_lite import nb, plots

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(
    preset,
    seed,
    tests=(1000, 4000),  # test series that are looked at
    steps=(120, 400),  # of each training
    batch=64,  # B, series a step
    rate=1e-3,
    tau=0.2,
    per_class=11,  # labelled series of each class, where labels are few
    tune_epochs=(60, 100),
)

# %% [markdown]
# ![](drawings/family.svg)
#
# A map of what is to come. Chapters 11 to 16 differ in one thing before all: what is compared with what.

# %% [markdown]
# ## Eight views
#
# Chapters 3 and 4 made two views of a series and asked for features that agree. The series stay those of chapter 3:
# noise with two patterns, each a *fall* or a *rise*, whose order makes the class. This chapter takes the eight views
# that introductions to contrastive learning on series list, and asks of each what it claims:
#
# | view | rule | claims that this does not matter |
# |---|---|---|
# | `flip_time` | reverse the steps | the direction of time |
# | `flip_sign` | $-x$ | up or down |
# | `blockout` | one window of 10 % is 0 | any short piece |
# | `noise` | $+\,0.1\,\sigma\,U(-1, 1)$ | small changes of single steps |
# | `crop_resize` | half of the series, stretched to all of it | where, how fast, and what the rest is |
# | `magnitude_warp` | $\times (1 + 0.1 \sin(2 \pi t / L + \theta))$ | slow changes of size |
# | `time_warp` | read at $t s$, $s \sim U(0.8, 1.2)$ | speed |
# | `smooth` | a third of each step and its neighbours | single steps |

# %%
from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.family.views import SIMCLR, VIEWS, chain, flip_sign, flip_time, maybe, pair, simclr_views

ds = load_dataset("TwoPatternsGenerated")
x_train, y_train = ds.x_train, ds.y_train  # (1000, 1, 128), (1000,)
x_test, y_test = ds.x_test[: cfg.tests], ds.y_test[: cfg.tests]
fig, axes = plots.figure(4, 2, height=6.6, sharex=True, sharey=True)
row = int((y_train == 1).nonzero()[2])
for ax, (name, view) in zip(axes.T.flat, VIEWS.items()):
    ax.plot(x_train[row, 0], color=plots.PALE, linewidth=3, label="series")
    ax.plot(view(x_train[row : row + 1], g=generator)[0, 0], color="#0072B2", linewidth=1.1, label="its view")
    ax.set_title(name, fontsize=plots.TEXT)
for ax in axes[3]:
    ax.set_xlabel(plots.STEPS)
fig.supylabel("value (sd = 1)", fontsize=plots.TEXT)
plots.legend_below(fig, axes[0, 0].lines, 2)
fig

# %% [markdown]
# A loop says what each of them does to one series, given what was drawn for it. The package draws for a whole batch and
# reads all series at once ([`family/views.py`](../ncvqvae_lite/family/views.py)). With the same draws both must agree.

# %%
length, steps = 128, np.arange(128)
block, window = int(0.1 * length), int(0.5 * length)  # 12 and 64 steps
BY_LOOP = {  # of one series (C, L), and what was drawn for it
    "flip_time": lambda s, _: s[:, ::-1],
    "flip_sign": lambda s, _: -s,
    "blockout": lambda s, start: np.where((steps >= start) & (steps < start + block), 0, s),
    "noise": lambda s, draw: s + 0.1 * s.std(axis=1, keepdims=True) * draw,
    "crop_resize": lambda s, start: read(s, start + (window - 1) / (length - 1) * steps),
    "magnitude_warp": lambda s, theta: s * (1 + 0.1 * np.sin(2 * np.pi * steps / length + theta)),
    "time_warp": lambda s, speed: read(s, steps * speed),
    "smooth": lambda s, _: (read(s, steps - 1) + s + read(s, steps + 1)) / 3,
}


def read(s, places):
    """A series (C, L) at real-valued steps, linearly between two; beyond its ends it stays at its last value."""
    return np.stack([np.interp(places, steps, channel) for channel in s])


# %%
def drawn(name, n, channels, g):
    """What a view draws for n series, in the package's order."""
    if name in ("blockout", "crop_resize"):
        room = length - (block if name == "blockout" else window)
        return torch.randint(room + 1, (n, 1), generator=g)
    if name == "noise":
        return 2 * torch.rand(n, channels, length, generator=g) - 1
    if name == "magnitude_warp":
        return 2 * math.pi * torch.rand(n, channels, 1, generator=g)
    if name == "time_warp":
        return 0.8 + 0.4 * torch.rand(n, 1, generator=g)
    return torch.zeros(n)


def again():
    """A generator at the same place each time."""
    return torch.Generator().manual_seed(seed)


two_channels = torch.randn(16, 2, length, generator=generator)  # (B, C, L)
looped = {}
for name, view in BY_LOOP.items():
    draws = drawn(name, 16, 2, again()).numpy()
    looped[name] = np.stack([view(s, draw) for s, draw in zip(two_channels.numpy(), draws)])
print({name: found.shape for name, found in looped.items()})

# %% tags=["nbval-check-output"]
for name, view in VIEWS.items():
    nb.check(f"{name}: loop and batch", view(two_channels, g=again()), looped[name], atol=1e-4)
twice = [view(view(two_channels)) for view in (flip_time, flip_sign)]
nb.check("flips twice: steps that differ", sum(int((t != two_channels).sum()) for t in twice), 0)
average = two_channels.unfold(2, 3, 1).mean(dim=3)  # (B, C, L - 2), a moving average over three steps
nb.check("smooth is a moving average inside", VIEWS["smooth"](two_channels)[:, :, 1:-1], average, atol=1e-6)

# %% [markdown]
# ### Where descriptions disagree
#
# In the report on gestures that lists these eight, the list, the code and the formulas say different things in five
# places. "Flipping" reverses the order of the *channels* in the formula (of one channel: nothing). The crop stays in its
# place with zeros around it in the code. The magnitude is one random factor in the code, a wave in the formula.
# Smoothing has zeros beyond the ends in the code, so the ends fade. And the time warp of its first code page, which is
# common elsewhere too, has a bug. Read it before you look at the output:


# %%
def warp_as_often_written(s, speed):
    """One channel (L,), read at steps 0, speed, 2 speed, ... below L."""
    places = np.arange(0, len(s), speed)
    return np.interp(places, np.arange(len(s)), s)


for speed in (0.8, 1.0, 1.25):
    print(f"speed {speed:4}: {len(warp_as_often_written(x_train[0, 0].numpy(), speed))} steps of {length}")

# %% [markdown]
# A batch of such views does not stack, and whoever cuts all to the shortest one throws data away. Ours reads at
# $0, s, 2s, \dots$, exactly $L$ times, and stays at the last value when the series has ended.
#
# ## The price of a claim, before training
#
# Take test series, look at them through a view, and ask which *clean* training series is nearest. If the label of that
# neighbour is still right, the view kept what the label needs. No network takes part. Of five sets and all views, the
# mean over five draws (recorded; `benchmarks/family.py`, item "label preservation"):

# %%
kept = nb.family_values("11", "label preservation", "accuracy")
sets = list(dict.fromkeys(dataset for dataset, _ in kept))
heat = np.array([[np.mean(list(kept[d, name].values())) for name in ("clean", *VIEWS)] for d in sets])  # (5, 9)
fig, axes = plots.figure(1, 1, height=3.9)
ax = axes[0, 0]
ax.imshow(heat, cmap="viridis", vmin=0, vmax=1, aspect="auto")
for (i, j), value in np.ndenumerate(heat):
    ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=plots.SMALL, color="w" if value < 0.6 else "k")
ax.set_xticks(range(9), ("clean", *VIEWS), rotation=35, ha="right")
ax.set_yticks(range(len(sets)), [name.removesuffix("Generated") for name in sets])
ax.set_title("share of labels that the nearest clean series still has", fontsize=plots.TEXT)
fig

# %% [markdown]
# Column by column, a view may be harmless on one set and cost much on another (`time_warp` on CBF and on
# ItalyPowerDemand), and upside down is nobody's friend. By chance the five sets would have .25, .33, .17, .50 and .50
# (1,000 test series each; GunPoint has 150, a standard error of .03).
#
# A high share says that a view is harmless. A low one alone does not say that it is not: the nearest series also
# changes when patterns *move*. `crop_resize` keeps .32 on TwoPatterns, and training with crops of 80 % will be the best
# of this chapter. What binds is an *exchange* of classes. Look at `flip_sign` on TwoPatterns: next to no label
# survives, which is stranger than chance. We compute this row again, here.


# %%
from ncvqvae_lite.family.common import neighbours


def seen_as(view):
    """(4, 4): of the test series of each class (rows), the share that looks like each class through a view."""
    nearest = neighbours(x_train, view(x_test, g=generator), k=1).index[:, 0]
    counts = torch.zeros(4, 4).index_put((y_test, y_train[nearest]), torch.ones(()), accumulate=True)
    return counts / counts.sum(dim=1, keepdim=True)


tables = {name: seen_as(view) for name, view in VIEWS.items()}
right = {name: float((table.diagonal() * torch.bincount(y_test) / len(y_test)).sum()) for name, table in tables.items()}
print("\n".join(f"{name:15} {share:.3f}" for name, share in right.items()))

# %%
fig, axes = plots.figure(1, 3, height=3.2, sharey=True)
orders = ("fall, fall", "rise, fall", "fall, rise", "rise, rise")
for ax, name in zip(axes[0], ("smooth", "flip_time", "flip_sign")):
    ax.imshow(tables[name].numpy(), cmap="viridis", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(tables[name].numpy()):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=plots.SMALL, color="w" if value < 0.6 else "k")
    ax.set_title(name, fontsize=plots.TEXT)
    ax.set_xticks(range(4), orders, rotation=40, ha="right")
    ax.set_yticks(range(4), orders)
axes[0, 0].set_ylabel("class of the series")
fig.supxlabel("class that its view looks like", fontsize=plots.TEXT)
fig

# %% tags=["nbval-check-output"]
nb.check("labels kept by flip_sign", right["flip_sign"], low=0, high=0.03)
nb.check_band(cfg, "11", "labels kept by blockout", right["blockout"], {"chance": 0.25, "as sign flip": 0.0})
nb.check("sign flip: class that each class looks like", tables["flip_sign"].argmax(dim=1).tolist(), (3, 2, 1, 0))
nb.check("time flip: class that each class looks like", tables["flip_time"].argmax(dim=1).tolist(), (3, 1, 2, 0))
nb.check("heat map: sets, and views with the clean series", heat.shape, (5, 9))
nb.check("heat map: labels kept by sign flips, TwoPatterns", heat[0, 2], low=0, high=0.03)
nb.check("figure: each row of a table sums to 1", tables["smooth"].sum(dim=1), torch.ones(4), atol=1e-5)

# %% [markdown]
# The labels are not lost at random, they are *exchanged*. Upside down, a fall is a rise: "fall, fall" becomes
# "rise, rise", "rise, fall" becomes "fall, rise". Backwards, a fall is a rise too, and the order is reversed as well:
# "rise, fall" read from the end is "rise, fall" again, but "fall, fall" is "rise, rise".
#
# Features that keep the promise of a view, $h(x') = h(x)$, give both classes of an exchanged pair the same answer. At
# best one of the two is right. So the table gives the **cap**: with the classes $c \to \pi(c)$ in cycles, equally
# frequent, no classifier on such features is right more often than (number of cycles) / (number of classes).


# %%
def cap(exchange):
    """Best accuracy on features that cannot tell class c from class exchange[c], classes equally frequent."""
    if sorted(exchange) != list(range(len(exchange))):
        raise ValueError(f"{exchange} is no exchange of classes: it says nothing about a cap")
    cycles, left = 0, set(range(len(exchange)))
    while left:
        cycles, c = cycles + 1, min(left)
        while c in left:
            left.remove(c)
            c = exchange[c]
    return cycles / len(exchange)


exchanges = {name: tables[name].argmax(dim=1).tolist() for name in ("flip_sign", "flip_time")}
caps = {name: cap(exchange) for name, exchange in exchanges.items()}
print(caps)

# %% [markdown]
# Half, and three quarters. Both numbers are predictions: made from labels and neighbours, before any network. Tables as
# good as these exist for labelled series only; the point is that the price of a wrong claim is *in the data*, not in
# the loss. We come back to collect.
#
# ## NT-Xent: find your partner
#
# Now the loss. A batch of $B$ series gives $2B$ views, and a network gives each an embedding, of which only the
# direction $u$ counts. View $i$ has one partner $p(i)$, the other view of its series, and $2B - 2$ strangers. SimCLR's
# loss asks view $i$ to pick its partner out of all others, by a softmax over cosines with temperature $\tau$:
#
# $$\ell_i = -\log \frac{\exp(u_i \cdot u_{p(i)} / \tau)}{\sum_{j \ne i} \exp(u_i \cdot u_j / \tau)}, \qquad
# \text{NT-Xent} = \frac{1}{2B} \sum_i \ell_i .$$
#
# A pencil is enough for $B = 2$, $\tau = 1$, in the plane. Let both views of the first series be $(1, 0)$ and both of
# the second $(0, 1)$. Each view sees its partner at cosine 1 and two strangers at 0: $\ell = \log(e + 2) - 1$. What if
# the second series moves to $(-1, 0)$?


# %%
def nt_xent_by_loop(a, b, tau):
    """NT-Xent of a, b (B, D), view by view."""
    u = [z / z.norm() for z in (*a, *b)]  # 2B unit vectors
    total = 0.0
    for i in range(len(u)):
        others = torch.stack([u[i] @ u[j] / tau for j in range(len(u)) if j != i])  # (2B - 1,)
        total = total + others.logsumexp(dim=0) - u[i] @ u[(i + len(a)) % len(u)] / tau
    return total / len(u)


corner = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
print(
    f"at right angles {nt_xent_by_loop(corner, corner, 1.0):.4f}, opposite {nt_xent_by_loop(opposite, opposite, 1.0):.4f}"
)

# %% tags=["nbval-check-output"]
from ncvqvae_lite.family.contrast import debiased, hard_negatives, info_nce, nce, nt_xent, nt_xent_floor

nb.check("pencil: right angles", nt_xent_by_loop(corner, corner, 1.0), math.log(math.e + 2) - 1, rtol=1e-9)
nb.check("pencil: opposite", nt_xent_by_loop(opposite, opposite, 1.0), math.log(1 + 2 * math.exp(-2)), rtol=1e-9)
a, b = (torch.randn(9, 5, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
nb.check("loop and package: value", nt_xent(a, b, cfg.tau), nt_xent_by_loop(a, b, cfg.tau), rtol=1e-9)
gradients = [torch.autograd.grad(loss(a, b, cfg.tau), (a, b)) for loss in (nt_xent, nt_xent_by_loop)]
nb.check("loop and package: gradient", gradients[0][0], gradients[1][0], rtol=1e-6, atol=1e-9)
equal = torch.ones(cfg.batch, 8, dtype=torch.float64, requires_grad=True)
nb.check("all embeddings equal: log(2B - 1)", nt_xent(equal, equal, cfg.tau), math.log(2 * cfg.batch - 1), rtol=1e-9)
(slope,) = torch.autograd.grad(nt_xent(equal, equal, cfg.tau), equal)
nb.check("and its gradient there: a standstill", float(slope.abs().max()), 0.0, atol=1e-12)
apart = nt_xent(equal.detach(), -equal.detach(), cfg.tau)
nb.check("partners opposite, all others equal: more than a guess", float(apart) - math.log(2 * cfg.batch - 1), low=1.0)
nb.check("pencil: the floor of B 2", nt_xent_floor(2, 1.0), math.log(1 + 2 * math.exp(-2)), rtol=1e-9)

# %% [markdown]
# Two values to remember when you watch a training. **Equal embeddings** give $\log(2B - 1)$, as good as a guess; with
# $B = 64$ that is 4.84. The **floor** has partners equal and the $B$ series at the corners of a simplex, at cosine
# $-1/(B-1)$, for which $z$ needs $B - 1$ columns: $\log(1 + (2B-2)\, e^{-(1 + 1/(B-1))/\tau})$. It is nearer to 0 the smaller $\tau$ is, so losses at
# different temperatures do not compare.
#
# Collapse is not a minimum here, but a standstill: the gradient at equal embeddings is exactly 0, and any step away from
# them in which partners stay equal lowers the loss. (Partners pushed *apart* cost more than a guess.) That is the whole
# difference to sim of chapter 3. What holds the embeddings apart are the strangers.
#
# ## What the loss measures: a bound that cannot be large
#
# NT-Xent is a member of a family. Given pairs $(x, y)$ that belong together, *InfoNCE* scores each $x_i$ with all
# $N$ partners and takes the cross entropy of the right one. Then $\log N - \text{InfoNCE}$ is a lower bound of the
# *mutual information* of $x$ and $y$ (van den Oord et al. 2018, [arXiv 1807.03748](https://arxiv.org/abs/1807.03748)),
# with equality only in the limit. How good is it? Take Gaussian pairs whose mutual information is known, 5 nats, and
# give InfoNCE the best scores there are, $\log p(x, y) / p(x) p(y)$:

# %%
nats, dims = 5.0, 10
rho = math.sqrt(1 - math.exp(-2 * nats / dims))  # correlation of each of ten columns


def log_ratio(x, y):
    """log p(x, y) / p(x) p(y) of all pairs of x (n, d), y (m, d): (n, m)."""
    squares = (x**2).sum(dim=1)[:, None] + (y**2).sum(dim=1)
    return -x.shape[1] / 2 * math.log(1 - rho**2) - (rho**2 * squares - 2 * rho * x @ y.T) / (2 * (1 - rho**2))


x, noise = torch.randn(2, 8192, dims, dtype=torch.float64, generator=generator)
y = rho * x + math.sqrt(1 - rho**2) * noise
bounds = {}
for n in (4, 16, 64, 256):
    losses = [info_nce(log_ratio(x[i : i + n], y[i : i + n])) for i in range(0, len(x), n)]
    bounds[n] = math.log(n) - float(torch.stack(losses).mean())
print({n: round(bound, 2) for n, bound in bounds.items()})

# %%
fig, axes = plots.figure(1, 1, height=3.4)
ax = axes[0, 0]
sizes = np.array(list(bounds))
ax.axhline(nats, color=plots.REAL, linewidth=2, label="true mutual information")
ax.plot(sizes, np.log(sizes), ":", color=plots.INK, label="log N")
ax.plot(sizes, list(bounds.values()), "o-", color="#0072B2", linewidth=2, label="log N - InfoNCE, best scores")
ax.set_xscale("log", base=2)
ax.set_xticks(sizes, sizes)
ax.set(xlabel="N, partners to choose from", ylabel="nats", ylim=(0, 5.7))
ax.legend(fontsize=plots.SMALL, frameon=False, loc="lower right")
fig

# %% tags=["nbval-check-output"]
for n, expected in zip(bounds, (1.33, 2.55, 3.55, 4.25)):
    nb.check(f"N {n}: bound with the best scores", bounds[n], expected, atol=0.12)
nb.check("bounds above log N", sum(bound > math.log(n) for n, bound in bounds.items()), 0)
nb.check("bounds above the mutual information", sum(bound > nats for bound in bounds.values()), 0)

# %% [markdown]
# A bound never exceeds $\log N$. With 16 partners it cannot say more than 2.77 nats even with perfect scores: this is
# why contrastive methods ask for large batches or queues. And it means that a small loss on a small batch is no sign of
# good features.
#
# An older relative, *noise-contrastive estimation* (NCE), asks a yes-no question: does this pair belong together, or
# was it shuffled? A logistic regression that answers it has learned the log-ratio itself. For one column and
# $\rho$ as above, the features $x^2, y^2, xy$ suffice. Compare what it learned with the truth:

# %%
from sklearn.linear_model import LogisticRegression


def pair_features(x, y):
    return torch.stack([x**2, y**2, x * y], dim=1).numpy()  # (n, 3)


one_x, one_y = x[:, 0], y[:, 0]
real, shuffled = pair_features(one_x, one_y), pair_features(one_x, one_y.roll(1))
judge = LogisticRegression(C=1e6).fit(np.concatenate([real, shuffled]), np.repeat([1, 0], len(real)))
learned = judge.decision_function(real)
truth = np.array([float(log_ratio(p[None, None], q[None, None])) for p, q in zip(one_x[:2000], one_y[:2000])])
slope, offset = np.polyfit(truth, learned[:2000], 1)
scores = [torch.from_numpy(judge.decision_function(f)) for f in (real, shuffled)]
print(f"learned = {slope:.3f} true {offset:+.3f}; NCE {nce(*scores):.3f}, of a guess {math.log(2):.3f}")

# %% tags=["nbval-check-output"]
nb.check("NCE: slope of the learned log-ratio over the true one", slope, 1.0, atol=0.1)
nb.check("NCE: its loss is below that of a guess", float(nce(*scores)), low=0.2, high=0.65)
nb.check("NCE of a guess is log 2", nce(torch.zeros(5), torch.zeros(7)), math.log(2), rtol=1e-6)

# %% [markdown]
# ## Pre-train, freeze, classify
#
# SimCLR's recipe for series in three steps:
#
# 1. **Pre-train** an encoder $x \to h$ with a small *projector* $h \to z$ behind it, so that the $z$ of two views find
#    each other by NT-Xent. No label is used.
# 2. **Freeze** the encoder and throw the projector away.
# 3. **Classify** $h$ by a straight border, a *linear probe*, fitted to labels.
#
# The encoder here is a small residual network of convolutions (`ResNet1d`, 57,000 weights, $h$ of 64 numbers); the
# projector has one hidden layer. The views that we claim to be harmless are a crop of 80 % and, each with probability
# one half, `blockout`, `noise`, `magnitude_warp` and `smooth`: no flip. Step 1 in full:

# %%
from ncvqvae_lite.family.common import ResNet1d, pretrain, with_projector


def fresh(*widths):
    """An encoder with a projector, with the same first weights for every loss."""
    torch.manual_seed(seed)
    return with_projector(ResNet1d(1), *widths)


training = dict(batch=cfg.batch, lr=cfg.rate)
print(sum(p.numel() for p in fresh(64, 128, 64).encoder.parameters()), "weights of the encoder")


# %%
def pretrain_by_hand(net, x, steps, g):
    optimizer, history = torch.optim.Adam(net.parameters(), lr=cfg.rate), []
    order = torch.randperm(len(x), generator=g)
    net.train()
    for step in range(steps):
        rows = order[step * cfg.batch : (step + 1) * cfg.batch]
        a, b = SIMCLR(x[rows], g=g), SIMCLR(x[rows], g=g)  # (B, C, L) each
        loss = nt_xent(net(a), net(b), cfg.tau)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history


first = pretrain_by_hand(fresh(64, 128, 64), x_train, 4, again())
packaged = pretrain(fresh(64, 128, 64), simclr_views, nt_xent, x_train, steps=4, g=again(), **training)
print(" ".join(f"{loss:.3f}" for loss in first))

# %% tags=["nbval-check-output"]
nb.check("four steps by hand and by the package: losses", packaged, np.array(first), rtol=1e-3)
nb.check("the first loss is near that of a guess, 4.84", first[0] / math.log(2 * cfg.batch - 1), low=0.5, high=1.1)

# %% [markdown]
# The loop takes a pair of functions, one that makes views and one that compares them, and every method of this chapter
# is such a pair. We train two: SimCLR, and SimCLR with a claim that we know to be wrong, each view upside
# down with probability one half.

# %%
from ncvqvae_lite.family.common import knn_probe, linear_probe
from ncvqvae_lite.inference import batched


def loss(a, b):
    return nt_xent(a, b, cfg.tau)


PAIRS = {"SimCLR": simclr_views, "SimCLR, sign flips": pair(chain(SIMCLR, maybe(flip_sign)))}
nets, history = {"untrained": fresh(64, 128, 64).eval()}, {}
for name, views in PAIRS.items():
    nets[name] = fresh(64, 128, 64)
    history[name] = pretrain(nets[name], views, loss, x_train, steps=cfg.steps, g=again(), **training)
    print(f"{name:20} first ten steps {np.mean(history[name][:10]):.2f}, last ten {np.mean(history[name][-10:]):.2f}")

# %%
fig, axes = plots.figure(1, 1, height=3.4)
ax = axes[0, 0]
for name, colour in zip(history, ("#0072B2", "#D55E00")):
    ax.plot(history[name], color=colour, linewidth=1.3, label=name)
ax.axhline(math.log(2 * cfg.batch - 1), color=plots.INK, linestyle=":", label="all embeddings equal")
ax.axhline(nt_xent_floor(cfg.batch, cfg.tau), color=plots.INK, linestyle="--", label="floor")
ax.set(xlabel="step", ylabel="NT-Xent of the step", ylim=(0, 6.4))
ax.legend(fontsize=plots.SMALL, frameon=False, ncols=2, loc="upper right")
fig

# %% [markdown]
# Step 2 sounds trivial: do not change the encoder. But BatchNorm has a memory that moves with every batch that passes in
# training mode, no gradient needed. We count the tensors of the encoder that differ after the probe, and after one
# careless pass.

# %%
import copy


def tensors_changed(net, act):
    """How many tensors of a network, its BatchNorm statistics included, are others after act()."""
    before = copy.deepcopy(net.state_dict())
    act()
    return sum(not torch.equal(before[name], value) for name, value in net.state_dict().items())


def probes(embed):
    """Linear probe and 5-NN accuracy on test of features (n, D) that `embed` gives."""
    f_train, f = batched(embed, x_train), batched(embed, x_test)
    return linear_probe(f_train, y_train, f, y_test), knn_probe(f_train, y_train, f, y_test)


frozen = nets["SimCLR"].encoder
by_probe = tensors_changed(frozen, lambda: probes(frozen))
careless = copy.deepcopy(frozen).train()
by_pass = tensors_changed(careless, lambda: careless(x_test[:64]))
print(f"changed by the probe: {by_probe}, by a pass in training mode: {by_pass} of {len(frozen.state_dict())}")

# %%
found = {"raw series": (linear_probe(x_train, y_train, x_test, y_test), knn_probe(x_train, y_train, x_test, y_test))}
for name, net in nets.items():
    found[f"{name}, h"], found[f"{name}, z"] = probes(net.encoder), probes(net)
print(f"{'features':24}probe  5-NN   (one standard error of a share of {len(x_test)}: at most 0.016)")
print("\n".join(f"{name:24}{linear:.3f}  {knn:.3f}" for name, (linear, knn) in found.items()))

# %% tags=["nbval-check-output"]
nb.check("tensors that the probe changed", by_probe, 0)
nb.check("tensors that a pass in training mode changed: 3 for each of 7 BatchNorms", by_pass, 21)
lowest = min(history["SimCLR"]) - nt_xent_floor(cfg.batch, cfg.tau)
nb.check("lowest loss of a step, minus the floor", lowest, low=0, high=3)
gain = found["SimCLR, h"][0] - found["untrained, h"][0]
nb.check_band(cfg, "11", "SimCLR's probe on h", found["SimCLR, h"][0], {"chance": 0.25, "raw series": 0.79})
nb.check_band(cfg, "11", "SimCLR's probe above that of the untrained encoder", gain, {"no gain": 0.0})
drop = found["SimCLR, z"][0] - found["SimCLR, sign flips, z"][0]
nb.check_band(cfg, "11", "probe on z: what sign flips take", drop, {"harmless": 0.0})
nb.check_band(
    cfg, "11", "probe on z with sign flips", found["SimCLR, sign flips, z"][0], {"chance": 0.25, "harmless": 0.95}
)

# %% [markdown]
# Without a label SimCLR's features separate nearly all series, where a straight border in the raw series and one in an
# *untrained* network of the same shape do not. (Always print the untrained network: random convolutions are not nothing.)
#
# And the wrong claim has its price: on $z$, where the loss holds, the probe falls most of the way to the predicted one
# half (few steps do not make $z$ fully invariant). On $h$, in front of the projector, it falls less. But look beside it:
# in the recorded runs below, $h$ with sign flips reads about as well as an *untrained* $h$ (0.80 and 0.79; a little better
# here). By that measure the wrong claim cost all that training had won. (There is a second untrained network further
# below, which is easier to beat.)
#
# ### The cap, exactly
#
# Training makes features invariant in part only. We can make them invariant *exactly*: $h(x) + h(-x)$ is the same for
# $x$ and $-x$, whatever the encoder. Test it on the test series together with their flips, with the labels that the
# flips have. Each pair gets one answer for two labels, so there the cap is algebra. The test series *alone* are the
# real test of the prediction: there nothing but the exchange of classes forbids more.


# %%
def exact_cap(embed, flip, exchange):
    """Probe of embed(x) + embed(flip x): on test series with their flips, and on the test series alone."""
    labels = torch.cat([y_test, torch.tensor(exchange)[y_test]])
    f_train, f, f_flipped = (batched(embed, x) for x in (x_train, x_test, flip(x_test)))
    f_train_flipped = batched(embed, flip(x_train))
    same, same_train = f + f_flipped, f_train + f_train_flipped
    doubled = linear_probe(same_train, y_train, torch.cat([same, same]), labels)
    return doubled, linear_probe(same_train, y_train, same, y_test)


exact = {
    (flip.__name__, name): exact_cap(nets[name].encoder, flip, exchanges[flip.__name__])
    for flip in (flip_sign, flip_time)
    for name in ("untrained", "SimCLR")
}
for (flip, name), (doubled, alone) in exact.items():
    print(f"{flip}, {name:10} with flips {doubled:.3f}, test series alone {alone:.3f}; predicted cap {caps[flip]}")

# %%
recorded = {name: nb.family_values("11", "methods", f"probe_{name}") for name in "hz"}
fig, axes = plots.figure(1, 2, height=3.7, sharey=True)
for ax, flip in zip(axes[0], ("flip_sign", "flip_time")):
    bars = {"SimCLR\nh": ("h", "simclr"), "flips\nh": ("h", f"simclr + {flip}"), "flips\nz": ("z", f"simclr + {flip}")}
    for place, (layer, setting) in enumerate(bars.values()):
        values = list(recorded[layer]["TwoPatternsGenerated", setting].values())
        ax.plot([place] * len(values), values, "o", color="#0072B2", markersize=7, alpha=0.6, label="runs")
    ax.plot(3, exact[flip, "SimCLR"][0], "D", color="#009E73", markersize=8, label="exactly invariant")
    ax.axhline(caps[flip], color="#D55E00", linewidth=2, label="predicted cap")
    ax.set_xticks(range(4), [*bars, "exactly\ninvariant"])
    ax.set_title(flip, fontsize=plots.TEXT)
    ax.set_ylim(0.4, 1.03)
axes[0, 0].set_ylabel("accuracy of the probe")
handles = {line.get_label(): line for line in axes[0, 0].lines}
plots.legend_below(fig, [handles[name] for name in ("runs", "exactly invariant", "predicted cap")], 3)
fig

# %% tags=["nbval-check-output"]
nb.check("predicted cap of sign flips", caps["flip_sign"], 0.5)
nb.check("predicted cap of time flips", caps["flip_time"], 0.75)
on_z = {flip: np.mean(list(recorded["z"]["TwoPatternsGenerated", f"simclr + {flip}"].values())) for flip in caps}
nb.check(
    "recorded runs: probe on z, sign flips below time flips",
    float(on_z["flip_time"] - on_z["flip_sign"]),
    low=0.1,
    high=0.6,
)
for (flip, name), (_, alone) in exact.items():
    error = (caps[flip] * (1 - caps[flip]) / len(y_test)) ** 0.5
    nb.check(
        f"{flip}, {name}: test series alone, above the cap in standard errors", (alone - caps[flip]) / error, high=3
    )
nb.check_band(
    cfg, "11", "SimCLR made invariant to signs", exact["flip_sign", "SimCLR"][0], {"chance": 0.25, "no cap": 0.95}
)
nb.check_band(
    cfg, "11", "SimCLR made invariant to time", exact["flip_time", "SimCLR"][0], {"chance": 0.25, "no cap": 0.95}
)

# %% [markdown]
# Exactly invariant features keep to the cap, also on the test series alone (within three standard errors), and those of the trained encoder come near it. A trained network alone
# (circles: recorded runs of 200 steps, one a seed) keeps the promise in part only, and so may stay above: far for $h$, less for $z$.
# The cap binds features that *keep* the promise; a loss only asks for it.
#
# ## The relatives, in one loop
#
# Chapter 3 built VICReg and Barlow Twins. Two things to know about them. VICReg of a *constant* embedding
# is $25 \cdot 2 \cdot (1 - 0.01) = 49.5$: the variance of both views is missing, all else is perfect. And Barlow Twins
# is often printed with a cross-correlation that is not centred,
#
# $$C_{ij} = \frac{\sum_n a_{ni} b_{nj}}{\sqrt{\sum_n a_{ni}^2} \sqrt{\sum_n b_{nj}^2}} .$$
#
# On centred embeddings that is the correlation. On shifted ones it is not: watch the off-diagonal entries.


# %%
from ncvqvae_lite.ssl_losses import barlow_twins, vicreg


def as_printed(a, b):
    """The cross-correlation (D, D) of a, b (B, D) without centring."""
    return (a / a.norm(dim=0)).T @ (b / b.norm(dim=0))


def off_diagonal(C):
    return float(C[~torch.eye(len(C), dtype=torch.bool)].abs().mean())


def centre(z):
    return z - z.mean(dim=0)


first_view, other = torch.randn(2, 64, 8, dtype=torch.float64, generator=generator)
second_view = first_view + 0.3 * other
for shift in (0, 1, 3):
    plain, centred = (as_printed(f(first_view + shift), f(second_view + shift)) for f in (lambda z: z, centre))
    print(
        f"mean of the embeddings {shift}: off-diagonal as printed {off_diagonal(plain):.2f}, centred {off_diagonal(centred):.2f}"
    )

# %% tags=["nbval-check-output"]
constant = torch.full((cfg.batch, 16), 0.7, dtype=torch.float64)
nb.check("VICReg of a constant embedding", float(vicreg(constant, constant).total), 49.5, rtol=1e-6)
C = np.corrcoef(first_view.T, second_view.T)[:8, 8:]
nb.check("centred: the correlations", as_printed(centre(first_view), centre(second_view)), C, atol=1e-6)
of_package = barlow_twins(first_view + 3, second_view + 3).on_diagonal  # its deviations are divided by B - 1
nb.check("the package's diagonal is centred", of_package, ((1 - np.diag(C) * 63 / 64) ** 2).sum(), rtol=1e-5)
nb.check("as printed, shifted by 3: off-diagonal", off_diagonal(plain), low=0.8, high=1.0)
nb.check("hard negatives with beta 0 are NT-Xent", hard_negatives(a, b, beta=0.0), nt_xent(a, b), rtol=1e-9)
nb.check("debiased with prior 0 is NT-Xent", debiased(a, b, prior=0.0), nt_xent(a, b), rtol=1e-9)

# %% [markdown]
# As printed, the loss would push the *means* of the features to zero, and call any two positive features, as they come
# out of a ReLU, redundant.
#
# The other relatives change where the strangers come from, or do without:
#
# | method | strangers | what keeps it from collapse |
# |---|---|---|
# | SimCLR | the batch | strangers |
# | hard negatives ([2010.04592](https://arxiv.org/abs/2010.04592)) | the batch, near ones weigh more | strangers |
# | MoCo ([1911.05722](https://arxiv.org/abs/1911.05722)) | a queue of 512 earlier embeddings, made by a slow copy of the network | strangers |
# | NNCLR ([2104.14548](https://arxiv.org/abs/2104.14548)) | the batch; the partner is replaced by its nearest neighbour in a queue | strangers |
# | SimSiam ([2011.10566](https://arxiv.org/abs/2011.10566)) | none: a predictor on one side, no gradient on the other | the stopped gradient |
# | Barlow Twins, VICReg | none | variance and decorrelation of the features |
#
# Recorded runs, one loop, one encoder, SimCLR's views, 200 steps, no setting tuned for any of them. Projectors differ:
# Barlow Twins and VICReg have 64-256-256-256, all others 64-128-64. "untrained" has first weights, and batch norms that
# change nothing, as they hold a mean of 0 and a variance of 1; "untrained, normalised" has the same weights, and batch
# norms that hold the means and variances of the train series, as those of a trained network do. Nothing has been
# learned in either.

# %%
print(nb.family_table("11", "methods", {"probe_h": "probe h", "knn_h": "5-NN h", "probe_z": "probe z"}))

# %%
methods = dict(zip(("simclr", "vicreg", "barlow", "simsiam", "moco", "nnclr"), plots.CLASS_COLOURS))
methods |= {"simsiam, no stop": plots.CLASS_COLOURS[3], "untrained": plots.REAL}
two = "TwoPatternsGenerated"


def of(metric, setting, item="methods"):
    """Values over the seeds of a recorded number."""
    return np.array(list(nb.family_values("11", item, metric)[two, setting].values()))


n_two = nb.family_sizes("11", "methods", "probe_h")[two]  # test series


def error_of(values):
    """Standard error of their mean; NaN, which draws no bar, for a single run."""
    return values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan


print("runs:", {name: len(of("probe_h", name)) for name in methods})

# %%
fig, axes = plots.figure(1, 2, height=4.2)
plane, worth = axes[0]
for place, (name, colour) in enumerate(methods.items()):
    marker = "x" if name in ("simsiam, no stop", "untrained") else "o"
    plane.plot(of("uniformity_z", name), of("alignment_z", name), marker, color=colour, markersize=7, label=name)
    worth.plot(of("probe_h", name), [place] * len(of("probe_h", name)), marker, color=colour, markersize=7)
plane.set(xlabel="uniformity of z\n(left: spread over the sphere)", ylabel="alignment of z (low: views agree)")
worth.set(xlabel="accuracy of the probe on h")
worth.set_yticks(range(len(methods)), methods)
worth.invert_yaxis()
fig

# %% [markdown]
# The left figure has the two things that a contrastive loss wants (Wang and Isola 2020,
# [arXiv 2005.10242](https://arxiv.org/abs/2005.10242)): *alignment*, the squared distance of partners on the unit sphere,
# and *uniformity*, $\log$ of the mean $e^{-2 |u_i - u_j|^2}$ over pairs, which is 0 where all embeddings are equal. Collapse
# is the corner at the bottom right: perfect agreement about nothing. The plain untrained network lies there, as its
# embeddings differ little. With batch norms that hold the statistics of train, as in training, the same weights lie far
# off ($-2.4$ and 0.7, outside the figure). So SimSiam without its stop does not stay in the corner, it comes there: that
# is collapse. (Its $h$ still tells classes better than that of an untrained network, plain or normalised. Of its $z$,
# beside the plain one, that is not settled: embeddings differ, but by very little.)
# The marks are runs, one a seed.
#
# ### Two hypotheses, tested
#
# The report on gestures ends with two hypotheses and no test. H1: *VICReg gives more diverse features.* H2: *SimCLR
# separates the classes better.* Before looking we fix what would count, all on $h$, test series, differences of runs
# with the same seed: for H1 a higher effective rank and a lower mean correlation of features; for H2 a larger variance
# between classes over that within, and a better 5-NN accuracy. (The two projectors differ, which may be a reason for any
# difference.) A difference counts when there are at least three
# runs of each, and it is more than three standard errors away from 0. How often would chance alone do that? With five
# seeds, as here, in 4 % of cases, with three in 9.5 % (Student's $t$ with 4 and 2 degrees of freedom). Chapters 11 to 16
# have dozens of such rows, so a few of them are chance; the difference itself and its error stand beside the word.
#
# The error is one over seeds. All seeds look at the same test series, and how other series would have come out it does not
# know. Take one run. If $d$ test series more are right than before, then $d$ or more of them have changed sides. If there
# were no difference for other series, each of those would be the toss of a coin, and the standard error of $d$ would be
# $\sqrt{d}$ or more (McNemar's test): fewer than nine are within three errors of none. A mean over seeds, or over draws
# of labels, may have a smaller error, as other series change each time; what is recorded does not tell. So nine is a rule
# on the safe side: a difference of accuracies of fewer than nine series of a shared test set is not called settled.


# %%
def verdict(mean, error, seeds, n=None):
    """What three standard errors say of a difference that was expected to be positive.

    n   of a difference of accuracies: the test series, where all seeds share them
    """
    if seeds < 3:
        return "too few runs"
    if not abs(mean) > 3 * error or (n and round(abs(mean) * n, 3) < 9):
        return "not settled"
    return "found" if mean > 0 else "the opposite is found"


def difference(mean, error, seeds):
    """As text, with the standard error where there is more than one run."""
    return f"{mean:+.4f}" + (f" ± {error:.4f}, {seeds} seeds" if seeds > 1 else ", one run")


# %%
HYPOTHESES = (  # what, of which number, of which method the number should be larger, than of which other
    ("H1, effective rank", "rank_h", "vicreg", "simclr"),
    ("H1, correlation", "correlation_h", "simclr", "vicreg"),
    ("H2, class separation", "separation_h", "simclr", "vicreg"),
    ("H2, 5-NN accuracy", "knn_h", "simclr", "vicreg"),
)
outcome = {}
for what, metric, larger, smaller in HYPOTHESES:
    values = nb.family_values("11", "methods", metric)
    mean, error, seeds = nb.paired(values[two, larger], values[two, smaller])
    outcome[what] = verdict(mean, error, seeds, n_two if "accuracy" in what else None)
    print(f"{what:22} {larger} - {smaller}: {difference(mean, error, seeds)}: {outcome[what]}")

# %% [markdown]
# The same rule for the probe on $h$, every other row of the table against SimCLR:

# %%
of_h = {setting: values for (_, setting), values in nb.family_values("11", "methods", "probe_h").items()}
for name in (name for name in of_h if name != "simclr"):
    mean, error, seeds = nb.paired(of_h[name], of_h["simclr"])
    side = {"found": "above SimCLR", "the opposite is found": "below SimCLR"}.get(verdict(mean, error, seeds, n_two))
    print(f"{name:21} - simclr: {difference(mean, error, seeds)}: {side or 'not settled'}")

# %% tags=["nbval-check-output"]
collapsed = of("spread_z", "simsiam, no stop").mean() / of("spread_z", "simsiam").mean()
nb.check("methods in the figure", len(methods), 8)
nb.check("spread of z on the sphere, SimSiam without its stop over SimSiam", float(collapsed), low=0, high=0.5)
above = [name for name in methods if of("probe_h", name).min() > of("probe_h", "untrained").max()]
nb.check("methods whose worst probe is above the best of untrained networks", len(above), 7)
nb.check("hypotheses with an outcome", len(outcome), 4)

# %% [markdown]
# ## How strong should views be?
#
# Tian et al. 2020 ([arXiv 2005.10243](https://arxiv.org/abs/2005.10243)) ask for views that share what the label needs and
# *nothing else* (*InfoMin*). Too weak, and partners are found by details that no label needs (noise survives in both views). Too
# strong, and what the label needs is gone. Recorded: SimCLR whose views have no crop but noise only, the crop of 80 %
# from above, and one of 40 %; and the same loss for a network without convolutions, to which steps are columns in any
# order.

# %%
print(nb.family_table("11", "strength", {"probe_h": "probe h", "knn_h": "5-NN h", "loss": "loss at the end"}))
print(nb.family_table("11", "encoder", {"probe_h": "probe h", "knn_h": "5-NN h", "loss": "loss at the end"}))
simclr = [f"{of(metric, 'simclr').mean():.3f}" for metric in ("probe_h", "knn_h", "loss")]
print("beside crop 0.8 (simclr above): probe h {}, 5-NN h {}, loss {}\n".format(*simclr))
probes = dict(of_h)
for item in ("strength", "encoder"):
    probes |= {setting: values for (_, setting), values in nb.family_values("11", item, "probe_h").items()}
for weaker in ("no crop", "crop 0.4", "no convolution"):
    lead = nb.paired(probes["simclr"], probes[weaker])
    print(f"probe h, simclr - {weaker}: {difference(*lead)}: {verdict(*lead, n_two)}")
gap = of("probe_train_h", "simclr") - of("probe_h", "simclr")
print(f"SimCLR's probe on train minus that on test: {gap.mean():.3f}")

# %% tags=["nbval-check-output"]
best = float(of("probe_h", "simclr").mean())
below = {name: best - float(of("probe_h", name, "strength").mean()) for name in ("no crop", "crop 0.4")}
losses = [
    float(of("loss", *which).mean()) for which in (("no crop", "strength"), ("simclr",), ("crop 0.4", "strength"))
]
nb.check("losses that rise with the strength of the views", sum(a < b for a, b in zip(losses, losses[1:])), 2)
nb.check("probe: noise only below the crop of 0.8", below["no crop"], low=0.02, high=0.5)
nb.check("probe: crop of 0.4 below that of 0.8", below["crop 0.4"], low=0.01, high=0.5)
without = best - float(of("probe_h", "no convolution", "encoder").mean())
nb.check("probe: no convolution below convolutions", without, low=0.05, high=0.5)

# %% [markdown]
# The *loss* is lowest for the weakest views, and their features are the worst. So the loss of a contrastive training must
# never choose its views. Stronger ones than ours cost accuracy again: between the two lies the choice. And the same loss
# function with the same views gives other features in another network; without convolutions even an untrained one tells
# what it is worth (last row). What an encoder finds easy (patterns, wherever
# they are) is a claim too, and the architecture makes it.
#
# ## Few labels
#
# What are features without labels good for? For the day when there are few. `fine_tune` puts a linear head on a copy of
# the encoder and trains both, the encoder at a tenth of the head's rate, while BatchNorm keeps the statistics of
# pre-training. Beside it: the same network from scratch. The labelled series are drawn for each class.

# %%
from ncvqvae_lite.family.common import accuracy, fine_tune, from_scratch

labels = dict(per_class=cfg.per_class, epochs=cfg.tune_epochs)
tuned = fine_tune(nets["SimCLR"].encoder, x_train, y_train, g=again(), **labels)
torch.manual_seed(seed)
scratch = from_scratch(ResNet1d(1), x_train, y_train, g=again(), **labels)
few = {name: accuracy(net, x_test, y_test) for name, net in (("fine-tuned", tuned), ("from scratch", scratch))}
print(f"{4 * cfg.per_class} labels:", ", ".join(f"{name} {share:.3f}" for name, share in few.items()))

# %%
counts = (3, 11, 28)
fig, axes = plots.figure(1, 1, height=3.9)
ax = axes[0, 0]
curves = {
    "simclr_tuned": "SimCLR, fine-tuned",
    "simclr_probe": "SimCLR, frozen, probe",
    "scratch": "from scratch",
    "raw": "raw series, 1-NN",
}
ends = {}
for (metric, label), colour in zip(curves.items(), ("#0072B2", "#56B4E9", "#D55E00", plots.REAL)):
    values = [of(f"{metric}_{count}", "simclr", "few labels") for count in counts]
    means, errors = [v.mean() for v in values], [error_of(v) for v in values]
    ax.errorbar([4 * count for count in counts], means, errors, fmt="o-", color=colour, label=label, capsize=3)
    ends[metric] = means
ax.set_xscale("log")
ax.set_xticks([4 * count for count in counts], [4 * count for count in counts])
ax.set(xlabel="labelled series, all classes together", ylabel="accuracy on test", ylim=(0.2, 1.02))
ax.minorticks_off()
handles = ax.get_legend_handles_labels()
fig.legend(*handles, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
nb.check_band(
    cfg, "11", "44 labels: fine-tuned above from scratch", few["fine-tuned"] - few["from scratch"], {"no gain": 0.0}
)
nb.check_band(cfg, "11", "44 labels: fine-tuned", few["fine-tuned"], {"chance": 0.25, "raw 1-NN": 0.43})
nb.check("figure: curves from few to many labels that rise", sum(m[0] < m[1] < m[2] for m in ends.values()), 4)
ahead = [ends["simclr_tuned"][i] - ends["scratch"][i] for i in range(3)]
nb.check("figure: least lead of fine-tuning over scratch", float(min(ahead)), low=0.05, high=1)

# %% [markdown]
# (The curves are of recorded runs, after 100 steps of pre-training; bars are standard errors over seeds.) Pre-training
# without labels is worth many labels here. From scratch has as few steps as fine-tuning, which starves it. For comparison:
# on the archive's TwoPatterns a supervised residual network is printed with .27, .86 and .91 at 12, 45 and 111 labels,
# and the triplet loss of Franceschi et al. 2019 with an SVM with .72, .94 and .99 (tables of their public repository,
# White-Link/UnsupervisedScalableRepresentationLearningTimeSeries). Ours are generated series of the same recipe, so
# these are neighbours of our numbers, not a race. Our network from scratch stays far below that supervised one.
#
# ## Another domain
#
# "Pre-train on gestures, fine-tune on activities" is what the report proposes (its summary says the reverse). Eight
# generated gestures of three axes stand for the one, the accelerometer of BasicMotions (four activities, 40 series to
# train and 40 to test) for the other. Then recorded gestures, of UWaveGestureLibraryAll (eight classes, three axes of 315
# steps; its train split alone, half of it to test), in the place of either. With one and with three labels of each class:
# an encoder pre-trained on the *other* set, one pre-trained on the set's *own* series, and none; beside them 1-NN.

# %%
tuned_of = {
    f"{name}_{k}": f"{label}, {k}"
    for k in (1, 3)
    for name, label in (("other_tuned", "other"), ("own_tuned", "own"), ("scratch", "none"), ("raw", "1-NN"))
}
TRANSFERS = {  # the recorded item -> data set and setting of its runs
    "transfer to motions": ("GesturesGenerated", "to BasicMotions"),
    "transfer to gestures": ("BasicMotions", "to GesturesGenerated"),
    "transfer from UWave": ("UWaveGestureLibraryAll", "to BasicMotions"),
    "transfer to UWave": ("UWaveGestureLibraryAll", "from GesturesGenerated"),
}
for item in TRANSFERS:
    print(nb.family_table("11", item, tuned_of))

# %%
moved = {"other": [], "own": []}  # verdicts over no pre-training
for item, sets in TRANSFERS.items():
    n = nb.family_sizes("11", item, "scratch_1")[sets[0]]
    for k in (1, 3):
        for name, outcomes in moved.items():
            tuned, none = (nb.family_values("11", item, m)[sets] for m in (f"{name}_tuned_{k}", f"scratch_{k}"))
            lead = nb.paired(tuned, none)
            outcomes.append(verdict(*lead, n))
            print(f"{item}, {k} of each class: {name:5} - none {difference(*lead)}: {outcomes[-1]}")

# %% [markdown]
# One label of each class and a network from scratch nearly solve BasicMotions and the generated gestures, so little is left
# that another domain, or the set's own series, could add. The gestures of UWave are hard from few labels, and there
# pre-training *costs*: on generated gestures, and on the set's own series too, it ends below no pre-training, and all
# three are far below 1-NN on the series as they are. Possible reasons, not tested: SimCLR's views may cut away what tells
# these gestures apart; 100 steps may be too few; and fine-tuning moves the encoder at a tenth of the rate that training
# from scratch has. A transfer worth the name has to beat that column of 1-NN.
#
# ## What is done to series before
#
# Preprocessing advice is cheap to give and seldom tested. First gaps. `fill_missing` takes the last value before a gap,
# and at the start the first one after it. By loop:

# %%
from ncvqvae_lite.family.views import drop_values, fill_missing


def fill_by_loop(series):
    """A list of numbers without its NaN: forward first, then backward for what is left at the start."""
    filled = list(series)
    for t in range(1, len(filled)):
        filled[t] = filled[t - 1] if math.isnan(filled[t]) else filled[t]
    for t in range(len(filled) - 2, -1, -1):
        filled[t] = filled[t + 1] if math.isnan(filled[t]) else filled[t]
    return filled


nan = math.nan
print(fill_by_loop([nan, nan, 3.0, nan, 5.0, nan]))

# %% tags=["nbval-check-output"]
short = torch.tensor([nan, nan, 3.0, nan, 5.0, nan])
nb.check("a leading gap is filled from the right", fill_missing(short).tolist(), (3.0, 3.0, 3.0, 3.0, 5.0, 5.0))
holes = drop_values(x_test[:20], 0.4, g=generator)
by_loop = torch.tensor([fill_by_loop(series.tolist()) for series in holes[:, 0]])
nb.check("loop and package", fill_missing(holes)[:, 0], by_loop, atol=1e-7)
nb.check("values that were missing", int(holes.isnan().sum()), int(0.4 * 20 * 128))
nb.check("values that are missing still", int(fill_missing(holes).isnan().sum()), 0)

# %% [markdown]
# Then scales. BasicMotions comes in raw units, six channels. Each way to prepare it, then SimCLR for 100 steps, then a
# probe from *two* labels of each class (mean over 20 draws of the labels); beside it 1-NN on the prepared series
# themselves, which has no network to adapt:

# %%
print(nb.family_table("11", "preprocessing", {"probe_2": "probe", "raw_2": "1-NN", "channels": "channels"}))
effects, n_motions = {}, nb.family_sizes("11", "preprocessing", "probe_2")["BasicMotions"]
prepared = nb.family_values("11", "preprocessing", "probe_2")
for _, setting in prepared:
    if setting != "scaled":
        mean, error, seeds = nb.paired(prepared["BasicMotions", setting], prepared["BasicMotions", "scaled"])
        effects[setting] = verdict(mean, error, seeds, n_motions)
        print(f"{setting:26} - scaled: {difference(mean, error, seeds)}: {effects[setting]}")
raw = nb.family_values("11", "preprocessing", "raw_2")
smoothing = nb.paired(*(raw["BasicMotions", setting] for setting in ("moving average", "scaled")))
print(f"1-NN on the series, moving average - scaled: {difference(*smoothing)}: {verdict(*smoothing, n_motions)}")

# %% tags=["nbval-check-output"]
nb.check("ways to prepare series that were compared with scaling", len(effects), 6)
nb.check("directions and label counts of the transfer", len(moved["other"]), 8)
worst = min(np.mean(list(values.values())) for values in prepared.values())
nb.check("lowest mean accuracy of the probe after any preparation", float(worst), low=0.5, high=1)
nb.check("1-NN: moving average above scaling", smoothing[0], low=0.05, high=0.2)

# %% [markdown]
# The advice was to scale, to cut outliers, to smooth, to drop channels that repeat others. For features that a network
# learns, none of the lines above is settled, and a gain could not be: a probe that reads 0.96 leaves 2 of 40 test series,
# and the rule asks for nine. 1-NN, which adapts to nothing, is better by 0.1 after smoothing with all five seeds. That is
# 4 of 40 series, which the rule does not settle either; it is strict here, as each accuracy is a mean over 20 draws of
# labels. So ask of every such advice: for which reader of the series, and seen on how many of them?
#
# ## What the survey tables show, and what they do not
#
# Reports like to close with ImageNet accuracies (percent; as collected by the report on gestures, not by us):
#
# | kind | method | linear probe | fine-tuned |
# |---|---|---|---|
# | pretext | rotation, jigsaw, colourisation, random weights | 38.7, 45.7, 39.6, 17.1 | |
# | contrastive | SimCLR; MoCo v1, v2, v3 | 73.9; 60.6, 72.2, 76.7 | |
# | clusters, distillation | SwAV, BYOL, SimSiam, DINO | 75.3, 74.3, 71.3, 78.2 | |
# | non-contrastive | Barlow Twins, VICReg | 73.2, 73.2 | |
# | masked | MAE, BEiT, iBOT | 67.8, 56.7, 79.5 | 83.6, 83.4, 84.0 |
#
# Encoders, epochs and views differ from row to row, so one or two points decide nothing. A pattern is large enough to
# survive that: masked models read worse by a probe than they fine-tune. What we can test here is its other half: how
# much does fine-tuning add to SimCLR's probe, from equal labels?
#
# Five of the methods are in no loop of this course; iBOT is told in chapter 14. **MoCo v3** (Chen et al. 2021,
# [arXiv 2104.02057](https://arxiv.org/abs/2104.02057)) has no queue any more: a slow copy of the network encodes the
# partners of a large batch. With transformers its training became unstable, less so when their first layer kept its random
# weights. **BYOL** (Grill et al. 2020, [arXiv 2006.07733](https://arxiv.org/abs/2006.07733)) is SimSiam with a slow copy
# on the stopped side. **DINO** (Caron et al. 2021, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294)) predicts what
# the slow copy says of another crop, as a distribution over made-up classes; the copy's answers are centred and sharpened,
# and need both against collapse. **SwAV** (Caron et al. 2020, [arXiv 2006.09882](https://arxiv.org/abs/2006.09882))
# assigns views to learnt prototypes, each of which gets an equal share of the batch (Sinkhorn's algorithm), and
# predicts a view's prototype from the other view. Its *multi-crop* adds small crops to two large ones.

# %%
for count in counts:
    both = [nb.family_values("11", "few labels", f"simclr_{how}_{count}")[two, "simclr"] for how in ("tuned", "probe")]
    mean, error, seeds = nb.paired(*both)
    print(
        f"{4 * count:3} labels: fine-tuned - probe {difference(mean, error, seeds)}: {verdict(mean, error, seeds, n_two)}"
    )

# %% [markdown]
# With few labels fine-tuning adds to SimCLR's probe, most with 12 labels (between 44 and 112 it is not settled which adds
# more). So a gain by fine-tuning is no mark
# of masked models alone; whether theirs is larger needs both on one network (chapter 14).
#
# ## What was found, what was not
#
# Every claim of the sources about views, contrastive losses and their use on series, where this chapter tests it, and
# how it came out. "Found" and "not settled" follow the rule from above: three runs or more, three standard errors, and of
# accuracies nine test series.

# %%
report = """
views that destroy labels, trained | Pre-train, freeze, classify | found for sign flips on z: accuracy falls, but the probe stays above the cap, as the network is only nearly invariant
eight views; list, code and formula agree | Where descriptions disagree | not found: five disagree, one has a bug
NT-Xent: value of a guess, of a simplex | NT-Xent: find your partner | found, exactly
pre-train, freeze, classify | Pre-train, freeze, classify | found: above raw and untrained
Barlow Twins as printed | The relatives, in one loop | not found: needs centring
VICReg's terms | The relatives, in one loop | found: 49.5
five challenges of self-supervised learning | What was found, what was not | each led to a part, listed there
ImageNet accuracies of 17 methods | What the survey tables show, and what they do not | survey; the pattern is tested here and in chapter 14
MoCo v3, BYOL, DINO, SwAV | What the survey tables show, and what they do not | survey
"""
tutorial = """
views that destroy labels cost what the data say | The cap, exactly | exact: at most .50 and .75 for exact invariance
augmentations are universal | The price of a claim, before training | not found: set by set
InfoNCE bounds information by log N | What the loss measures: a bound that cannot be large | found
NCE learns the log-ratio | What the loss measures: a bound that cannot be large | found
alignment and uniformity | The relatives, in one loop | drawn for each method; the bound is an open question
other teachers: reconstruction, distillation, clusters | What was found, what was not | a list of chapters, there
supervised contrast; a curriculum of views | What to take along | open questions
viewmaker, feature dropout, TaCL | What was found, what was not | survey
SwAV's prototypes, multi-crop | What the survey tables show, and what they do not | survey
views of graphs and texts, adversarial views, back-translation | What was found, what was not | survey
outlook: estimators, views that adapt, explanations | What was found, what was not | survey
"""

# %%


def by_runs(said, *pairs):
    """An outcome by the rule, for pairs of settings of which the first should have the better probe: the weakest of them."""
    found = {verdict(*nb.paired(probes[better], probes[worse]), n_two) for better, worse in pairs}
    return f"{said}: {'found' if found == {'found'} else 'seen, not settled'}"


# %%
few_labels = verdict(
    *nb.paired(*(nb.family_values("11", "few labels", m)[two, "simclr"] for m in ("simclr_tuned_11", "scratch_11"))),
    n_two,
)
probe_z = nb.family_values("11", "methods", "probe_z")[two, "simclr"]


def moved_to(first, last):
    return " / ".join(dict.fromkeys(moved["other"][first:last]))


H1, H2 = (" / ".join(dict.fromkeys(v for k, v in outcome.items() if h in k)) for h in ("H1", "H2"))
report += f"""
MoCo v2 adds a projector to v1 | The relatives, in one loop | SimCLR with one, probe on h above z: {verdict(*nb.paired(probes["simclr"], probe_z), n_two)}
SimSiam needs its stop | The relatives, in one loop | {by_runs("z shrinks to a spot; probe", ("simsiam", "simsiam, no stop"))}
H1: VICReg has more diverse features | Two hypotheses, tested | {H1}
H2: SimCLR separates classes better | Two hypotheses, tested | {H2}
views: too weak, too strong | How strong should views be? | {by_runs("both cost accuracy", ("simclr", "no crop"), ("simclr", "crop 0.4"))}
few labels suffice | Few labels | 44 labels, over scratch in as few steps: {few_labels}
another domain helps | Another domain | to motions and generated gestures {moved_to(0, 6)}; to UWave's gestures {moved_to(6, 8)}
scaling, outliers, filters | What is done to series before | probe: {" / ".join(dict.fromkeys(effects.values()))}; 1-NN, moving average: {verdict(*smoothing, n_motions)}
filling gaps | What is done to series before | shown and checked, not compared
contrastive models overfit | How strong should views be? | not seen: probe's gap between train and test {gap.mean():.3f}
"""
print(sum(" | " in line for line in report.splitlines()), "rows from the report")

# %%
others = (
    f"{name} {verdict(*nb.paired(probes[name], probes['simclr']), n_two)}"
    for name in ("moco", "nnclr", "hard negatives")
)
tutorial += f"""
better than SimCLR: MoCo, NNCLR, hard negatives | The relatives, in one loop | probe on h: {"; ".join(others)}
InfoMin: what the label needs, nothing else | How strong should views be? | {by_runs("weaker and stronger views cost accuracy", ("simclr", "no crop"), ("simclr", "crop 0.4"))}
same loss, other network | How strong should views be? | {by_runs("convolutions matter", ("simclr", "no convolution"))}
"""
index = nb.source_index(report=report, tutorial=tutorial)
index

# %% tags=["nbval-check-output"]
nb.check("rows of the index", len(index.rows), 33)

# %% [markdown]
# A **survey** row names what stands here in words only, because it needs other data than series or a training of
# its own. *Viewmaker* (Tamkin et al. 2021, [arXiv 2010.07432](https://arxiv.org/abs/2010.07432)) trains a second network
# to make the views, against the first. *Feature dropout* (Tamkin et al. 2023,
# [arXiv 2212.08378](https://arxiv.org/abs/2212.08378)) is what its views do: they destroy at random what one task needs,
# and so keep it from suppressing what another task needs. So a view that costs one label may help several, which our sets
# with one label cannot show. *TaCL* (Su et al. 2021, [arXiv 2111.04198](https://arxiv.org/abs/2111.04198)) contrasts the
# words of a text with those that a frozen copy sees. Views of graphs, adversarial ones and back-translation are made for
# other data. The tutorial's outlook (estimators of information, views that adapt, explanations) asks
# questions and names no method. Rotation-like pretexts and masked models are chapter 14's, series and words chapter 15's.
#
# The **five challenges** of the report, and where they are answered: design of the pretext (the cap), little and unclean
# data (few labels; gaps), collapse (SimSiam without its stop; more in chapter 3), stability (dots of the figures: seeds),
# transfer (another domain).
#
# **Other teachers** than two views, and where they are: reconstruction (chapters 2 and 5), distillation (MoCo's slow copy
# and SimSiam's stopped side, above), guessing hidden tokens (chapter 6). Clusters as teachers (SwAV) are
# told in words only, above.
#
# ## Recorded runs
#
# The banded numbers of this chapter over seeds. A seed draws first weights, order and views; the series stay.

# %%
print(nb.recorded_runs("11"))

# %% [markdown]
# ## What to take along
#
# - A view is a claim. Exchange of classes under it gives a cap on what invariant features can do, before any training.
# - NT-Xent has a floor, and $\log(2B - 1)$ is a guess: its value where all embeddings are equal, a standstill, and not its
#   largest (partners pushed apart cost more). Its value says nothing about views: weaker ones have lower losses and
#   worse features.
# - Print the untrained network, the raw series and the seeds beside every method. Differences between methods are small
#   beside what learning adds at all, and a ranking is one of this loop, this encoder and these steps.
# - BatchNorm in training mode is a leak: test batches change the encoder.
# - Chapter 3's losses and this chapter's are pairs of functions for one loop: `pretrain(net, views, loss, x, ...)`.
#
# Three open questions `***`, without a check. *Supervised contrast*: with labels, every series of the class is a partner;
# average over them, and see what the wrong flips cost then. *Curriculum*: let the crop shrink from 1 to 0.4 over the
# steps; is the end better than 0.8 throughout? *How good must the guess be*: alignment and uniformity bound from below
# what a decoder of $z$ can reconstruct; derive the bound for unit vectors, and test it with the untrained network.

# %% [markdown]
# ## Exercises
#
# They need no code of the chapter, only this set-up. A check says what to look at when an answer is wrong.

# %%
import copy

import torch

from ncvqvae_lite import nb
from ncvqvae_lite.family.common import ResNet1d

generator = nb.seed_everything(1)


def untrained():
    """An encoder in training mode, 60 series (60, 1, 32), labels 0, 1 and 2 of 24, 18 and 18 of them, a generator."""
    g = torch.manual_seed(6)  # the global one, for the weights, too
    encoder, x = ResNet1d(1).train(), torch.randn(60, 1, 32, generator=g)
    encoder(3 * x + 1)  # the statistics of its BatchNorm are not those of x
    return encoder, x, (torch.arange(60) + 2) % 10 % 3, g


# %% [markdown]
# ### 11.1 Blockout for a batch `*`
# In each series one window of `window` steps becomes 0, in all of its channels. Every series has its own start, uniform
# over all places where the window fits. No loop. The input stays as it is.


# %% tags=["exercise"]
def blockout_batch(x, window, g):
    """One window of zeros in each series.

    x        (B, C, L)
    window   steps, 1 to L
    g        torch.Generator
    returns  (B, C, L)
    """
    # solution: at which steps may a window begin, and which steps does it cover?
    start = torch.randint(x.shape[2] - window + 1, (len(x), 1, 1), generator=g)
    past = torch.arange(x.shape[2]) - start  # (B, 1, L) steps since the start
    return x.masked_fill((past >= 0) & (past < window), 0)
    # end of solution


# %% tags=["nbval-check-output"]
def check_blockout_batch(answer):
    x = torch.rand(4000, 2, 10, generator=torch.Generator().manual_seed(3)) + 1
    before = x.clone()
    found = answer(x, 3, torch.Generator().manual_seed(4))
    nb.check("the input stays as it is", bool((x == before).all()), True, hint="masked_fill, not masked_fill_")
    zeros = found == 0  # (B, C, L)
    nb.check("both channels alike", bool((zeros[:, 0] == zeros[:, 1]).all()), True, hint="one window for all channels")
    counts = zeros[:, 0].sum(dim=1)
    nb.check("zeros in each series", (int(counts.min()), int(counts.max())), (3, 3), hint="does the window always fit?")
    wide = (answer(x, 5, torch.Generator().manual_seed(4)) == 0).sum(dim=2)
    nb.check("zeros with a window of 5", (int(wide.min()), int(wide.max())), (5, 5), hint="use `window`")
    starts = torch.bincount(zeros[:, 0].int().argmax(dim=1), minlength=8)
    nb.check("rarest of the 8 starts in 4000 series", int(starts.min()), low=400, high=500,
             hint="own start for each series, 0 and L - window included")  # fmt: skip
    nb.check("all other values", bool((found[~zeros] == x[~zeros]).all()), True)
    again, another = (answer(x, 3, torch.Generator().manual_seed(seed)) for seed in (4, 5))
    nb.check("equal generators, equal windows", bool((again == found).all()), True, hint="draw from g")
    nb.check("another generator, other windows", bool((another == found).all()), False, hint="draw from g")
    g = torch.Generator().manual_seed(4)
    first, second = (answer(x, 3, g) for _ in range(2))
    nb.check("the next draw, other windows", bool((first == second).all()), False, hint="go on with g where it stands")
    nb.check_no_loop(answer, (torch.ones(4, 2, 9), 2, g), (torch.ones(40, 3, 12), 4, g))


nb.examine(check_blockout_batch, blockout_batch)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>torch.randint(n, shape)</code> draws from 0 to n - 1. A start of shape (B, 1, 1)
# compares with <code>torch.arange(L)</code> to (B, 1, L). </details>


# %% tags=["solution"]
def wrong_one_window(x, window, g):
    """one window for the whole batch"""
    start = int(torch.randint(x.shape[2] - window + 1, (1,), generator=g))
    found = x.clone()
    found[:, :, start : start + window] = 0
    return found


def wrong_over_the_end(x, window, g):
    """the window may run over the end, so some series get fewer zeros"""
    past = torch.arange(x.shape[2]) - torch.randint(x.shape[2], (len(x), 1, 1), generator=g)
    return x.masked_fill((past >= 0) & (past < window), 0)


def wrong_channels(x, window, g):
    """each channel has a window of its own"""
    start = torch.randint(x.shape[2] - window + 1, (*x.shape[:2], 1), generator=g)
    past = torch.arange(x.shape[2]) - start
    return x.masked_fill((past >= 0) & (past < window), 0)


def wrong_nothing_drawn(x, window, g):
    """deals the starts out in turn, without a draw"""
    past = torch.arange(x.shape[2]) - (torch.arange(len(x)) % (x.shape[2] - window + 1))[:, None, None]
    return x.masked_fill((past >= 0) & (past < window), 0)


def wrong_begins_anew(x, window, g):
    """begins anew from the seed of the generator: every call draws the same"""
    return blockout_batch(x, window, torch.Generator().manual_seed(g.initial_seed()))


def wrong_loop(x, window, g):
    """goes through the series in a loop"""
    return torch.cat([blockout_batch(series[None], window, g) for series in x])


nb.refused(check_blockout_batch, wrong_one_window, wrong_over_the_end, wrong_channels, wrong_nothing_drawn)
nb.refused(check_blockout_batch, wrong_begins_anew, wrong_loop)

# %% [markdown]
# ### 11.2 NT-Xent from its matrix `**`
# Write NT-Xent without a loop: one matrix of all cosines, without each view's cosine to itself, and the cross entropy of
# the partner in each row. Which column is the partner of row $i$? **To answer in words:** embeddings stay as they are,
# but twice as many series are put into a batch, and the loss goes up. Why, and what does that say of the features?


# %% tags=["exercise"]
def nt_xent_matrix(a, b, tau):
    """NT-Xent of the projections of two views.

    a, b     (B, D)
    tau      temperature
    returns  () tensor
    """
    # solution: which candidates does a view have, and which of them is right?
    u = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
    cosines = (u @ u.T / tau).masked_fill(torch.eye(len(u), dtype=torch.bool), -torch.inf)  # (2B, 2B)
    partner = torch.arange(len(u)).roll(len(a))
    return torch.nn.functional.cross_entropy(cosines, partner)
    # end of solution


# %% tags=["nbval-check-output"]
def check_nt_xent_matrix(answer):
    g = torch.Generator().manual_seed(5)
    a, b = (z.requires_grad_() for z in torch.randn(2, 6, 4, dtype=torch.float64, generator=g))
    value = answer(a, b, 0.5)
    nb.check("it has a gradient", getattr(value, "requires_grad", False), True, hint="return a tensor; detach nothing")
    one, guess = torch.ones(6, 4, dtype=torch.float64), torch.tensor(11.0).double().log()
    nb.check("equal embeddings: log(2B - 1)", answer(one, one, 0.5), guess, rtol=1e-6, hint="how many candidates?")
    nb.check("only directions count", answer(7 * a, b / 3, 0.5).detach(), value.detach(), rtol=1e-6, hint="cosines")

    def by_loop(a, b, tau):
        rows, total = [z / z.norm() for z in (*a, *b)], 0.0
        for i in range(12):
            terms = [torch.exp(rows[i] @ rows[j] / tau) for j in range(12) if j != i]
            total = total - torch.log(torch.exp(rows[i] @ rows[(i + 6) % 12] / tau) / sum(terms)) / 12
        return total

    for tau in (0.5, 0.1):
        nb.check(f"random embeddings, tau {tau}", answer(a, b, tau).detach(), by_loop(a, b, tau).detach(), rtol=1e-6,
                 hint="compare one row of logits with a loop: which place is the partner's, what does tau do?")  # fmt: skip
    slopes = [torch.autograd.grad(loss, a)[0] for loss in (value, by_loop(a, b, 0.5))]
    nb.check("the gradient", *slopes, rtol=1e-6, atol=1e-9, hint="a view is a candidate of the others, too")
    nb.check_no_loop(answer, (a[:3, :2].clone(), b[:3, :2].clone(), 0.5), (a, b, 0.5))


nb.examine(check_nt_xent_matrix, nt_xent_matrix)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>cross_entropy(logits, target)</code> takes the softmax itself. With -inf a candidate has
# probability 0. </details>
#
# <details><summary>Answer in words</summary> Each view has to be told from about twice as many strangers: the sum in the
# denominator gets new terms, and the old ones stay, so on average the loss goes up. Where all embeddings are equal it
# goes from log(2B - 1) to log(4B - 1). Of the features that says nothing; losses can be compared at equal B and equal tau
# only. </details>


# %% tags=["solution"]
def wrong_itself_kept(a, b, tau):
    """each view may pick itself"""
    u = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
    return torch.nn.functional.cross_entropy(u @ u.T / tau, (torch.arange(len(u)) + len(a)) % len(u))


def wrong_partner(a, b, tau):
    """takes the next row for the partner"""
    u = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
    cosines = (u @ u.T / tau).masked_fill(torch.eye(len(u), dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(cosines, (torch.arange(len(u)) + len(a) + 1) % len(u))


def wrong_temperature(a, b, tau):
    """multiplies by the temperature"""
    return nt_xent_matrix(a, b, 1 / tau)


def wrong_lengths(a, b, tau):
    """forgets to make unit vectors"""
    u = torch.cat([a, b])
    products = (u @ u.T / tau).masked_fill(torch.eye(len(u), dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(products, (torch.arange(len(u)) + len(a)) % len(u))


def wrong_power_of_tau(a, b, tau):
    """divides by 2 tau^2, which is tau where tau is 0.5"""
    return nt_xent_matrix(a, b, 2 * tau**2)


def wrong_detached(a, b, tau):
    """a number without a gradient"""
    return nt_xent_matrix(a, b, tau).detach()


def wrong_loop(a, b, tau):
    """goes through the views in a loop"""
    u, losses = torch.nn.functional.normalize(torch.cat([a, b]), dim=1), []
    for i in range(len(u)):
        cosines = u @ u[i] / tau
        others = torch.cat([cosines[:i], cosines[i + 1 :]])
        losses.append(others.logsumexp(dim=0) - cosines[(i + len(a)) % len(u)])
    return torch.stack(losses).mean()


nb.refused(check_nt_xent_matrix, wrong_itself_kept, wrong_partner, wrong_temperature, wrong_lengths)
nb.refused(check_nt_xent_matrix, wrong_power_of_tau, wrong_detached, wrong_loop)

# %% [markdown]
# ### 11.3 Few labels, by the rules `**`
# Make what a few-label probe needs from a trained encoder: features and labels of `per_class` training series of *each*
# class, drawn at random without replacement, and features of the test series. The encoder must come out as it went in,
# and a test series must get the same features whichever others are tested with it. **To answer in words:** the encoder
# is left in training mode, and the test series go through it in batches of 32, sorted by class. No weight learns. Why may
# the accuracy fall?


# %% tags=["exercise"]
def few_label_features(encoder, x, y, x_test, per_class, g):
    """Features for a probe with few labels.

    encoder    module (B, C, L) -> (B, 64) with BatchNorm; it may come in training mode
    x, y       (n, C, L), (n,) labels 0..k-1
    x_test     (m, C, L)
    per_class  labelled series of each class
    returns    (k per_class, 64) features, (k per_class,) their labels, (m, 64) features of the test series; no gradient
    """
    # solution: which rows, and in what state is the encoder?
    order = torch.randperm(len(y), generator=g)
    rows = torch.cat([order[y[order] == c][:per_class] for c in y.unique()])
    mode = encoder.training
    encoder.eval()
    with torch.no_grad():
        features = encoder(x[rows]), y[rows], encoder(x_test)
    encoder.train(mode)
    return features
    # end of solution


# %% tags=["nbval-check-output"]
def check_few_label_features(answer):
    encoder, x, y, g = untrained()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    f, labels, f_test = answer(encoder, x, y, x[:8], 5, torch.Generator().manual_seed(7))
    moved = sum(not torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    nb.check("tensors changed, training", (moved, encoder.training), (0, True), hint="what does BatchNorm change?")
    nb.check("labels of each class", labels.bincount(minlength=3).tolist(), (5, 5, 5), hint="draw for each class")
    nb.check("different series", len({tuple(row.tolist()) for row in f}), 15, hint="without replacement")
    own = copy.deepcopy(encoder).eval()(x).detach()
    nearest = lambda features: torch.cdist(features.detach(), own).argmin(dim=1)  # noqa: E731
    nb.check("labels of another series", int((y[nearest(f)] != labels).sum()), 0, hint="whose features, whose labels?")
    again, _, alone = answer(encoder, x, y, x[:1], 5, torch.Generator().manual_seed(7))
    nb.check("a test series alone", f_test[:1], alone, atol=1e-5, hint="eval mode: features must not see the batch")
    nb.check("equal generators, equal series", again, f, atol=1e-5, hint="draw at random, from g")
    nb.check("features with a gradient", f.requires_grad or f_test.requires_grad, False, hint="nothing learns here")
    others, more = (answer(encoder, x, y, x[:8], 5, g)[0] for _ in range(2))
    nb.check("another draw, other series", bool(torch.allclose(f, others)), False, hint="draw at random, from g")
    nb.check("the next draw, other series", bool(torch.allclose(others, more)), False, hint="go on with g as it is")
    draws = [answer(encoder.eval(), x, y, x[:1], 18, g) for _ in range(12)]
    nb.check("training, after eval mode", encoder.training, False, hint="it must come out as it went in")
    nb.check("18 of each class", draws[0][1].bincount().tolist(), (18, 18, 18), hint="draw for each class")
    nb.check("series in twelve draws", len(nearest(torch.cat([d[0] for d in draws])).unique()), 60, hint="all may come")


nb.examine(check_few_label_features, few_label_features)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>order[y[order] == c]</code> are the rows of class c in the shuffled order. </details>
#
# <details><summary>Answer in words</summary> In training mode BatchNorm subtracts the mean of the batch. In a batch of
# one class that is what its series have in common, and what would tell them from the other classes. The same series in
# mixed batches keep more of it, so the accuracy depends on the order of the test series. And the statistics that
# BatchNorm keeps for later move towards test. </details>


# %% tags=["solution"]
def _features(encoder, x, rows, y, x_test):
    mode = encoder.training
    encoder.eval()
    with torch.no_grad():
        features = encoder(x[rows]), y[rows], encoder(x_test)
    encoder.train(mode)
    return features


def wrong_always_trains(encoder, x, y, x_test, per_class, g):
    """leaves the encoder in training mode, however it came"""
    found = few_label_features(encoder, x, y, x_test, per_class, g)
    encoder.train()
    return found


def wrong_same_places(encoder, x, y, x_test, per_class, g):
    """draws places once, in the smallest class, for all classes"""
    places = torch.randperm(int(y.bincount().min()), generator=g)[:per_class]
    return _features(encoder, x, torch.cat([(y == c).nonzero()[:, 0][places] for c in y.unique()]), y, x_test)


def wrong_not_by_class(encoder, x, y, x_test, per_class, g):
    """draws from all series, not from each class"""
    rows = torch.randperm(len(y), generator=g)[: per_class * (int(y.max()) + 1)]
    return _features(encoder, x, rows, y, x_test)


def wrong_training_mode(encoder, x, y, x_test, per_class, g):
    """leaves BatchNorm in training mode: test series leak into each other and into the encoder"""
    order = torch.randperm(len(y), generator=g)
    rows = torch.cat([order[y[order] == c][:per_class] for c in range(int(y.max()) + 1)])
    with torch.no_grad():
        return encoder(x[rows]), y[rows], encoder(x_test)


def wrong_first_rows(encoder, x, y, x_test, per_class, g):
    """takes the first series of each class, every time the same"""
    rows = torch.cat([(y == c).nonzero()[:per_class, 0] for c in range(int(y.max()) + 1)])
    return _features(encoder, x, rows, y, x_test)


def wrong_with_replacement(encoder, x, y, x_test, per_class, g):
    """may draw a series twice"""
    rows = [(y == c).nonzero()[:, 0] for c in range(int(y.max()) + 1)]
    rows = torch.cat([r[torch.randint(3, (per_class,), generator=g)] for r in rows])
    return _features(encoder, x, rows, y, x_test)


def wrong_labels(encoder, x, y, x_test, per_class, g):
    """asks for the class by the unshuffled labels, and hands out labels by class"""
    order, k = torch.randperm(len(y), generator=g), int(y.max()) + 1
    rows = torch.cat([order[y == c][:per_class] for c in range(k)])
    f, _, f_test = _features(encoder, x, rows, y, x_test)
    return f, torch.arange(k).repeat_interleave(per_class), f_test


def wrong_left_in_eval(encoder, x, y, x_test, per_class, g):
    """leaves the encoder in eval mode"""
    found = few_label_features(encoder, x, y, x_test, per_class, g)
    encoder.eval()
    return found


nb.refused(check_few_label_features, wrong_not_by_class, wrong_training_mode, wrong_first_rows, wrong_with_replacement)


def wrong_begins_anew(encoder, x, y, x_test, per_class, g):
    """begins anew from the seed of the generator: every call draws the same"""
    return few_label_features(encoder, x, y, x_test, per_class, torch.Generator().manual_seed(g.initial_seed()))


nb.refused(check_few_label_features, wrong_labels, wrong_left_in_eval, wrong_begins_anew)
nb.refused(check_few_label_features, wrong_always_trains, wrong_same_places)
