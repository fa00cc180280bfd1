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
# # 7. Evaluation
#
# Five numbers decide in the thesis which method is better: KNN and SVM accuracy, FID, IS and CAS. What does each of them
# see, what is it blind to, and how much of a difference is chance?
#
# - **Goals**: after it you can compute every score of the thesis by hand; name its floor and its ceiling; fool it;
#   recognise three slips that changed published numbers; say what four runs can show
# - **Before**: chapter 1 (series, scaling); mean and covariance of vectors. Chapter 5 used the probes, chapter 6 FID and IS
# - **Time**: 75 minutes of reading, 60 seconds of computing
# - **Data**: ItalyPowerDemand (UCR archive, bundled with aeon); the authors' own per-run numbers, which ship with the package
# - **Answers**: the thesis (Mathisen 2024) counts on how many of 13 data sets some non-contrastive configuration beats the
#   plain VQVAE. This chapter measures how many such wins no effect at all would give

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
import math

import numpy as np
import torch

from ncvqvae_lite import nb, plots
from ncvqvae_lite.names import METHODS

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(
    preset,
    seed,
    neighbours=5,  # of the KNN probe, as in the thesis
    splits=10,  # of the inception score, as in the thesis
    fcn_epochs=(60, 1000),
    cas_epochs=(40, 300),
    samples=(200, 500),  # series that every generator draws
    tuning_steps=(40, 200),
    trials=2000,  # of each simulation
)

# %% [markdown]
# ## Real series to be compared with
#
# ItalyPowerDemand: days of 24 hours; label 0 (class "1" of the archive) is October to March, label 1 (class "2") April to
# September. 67 train and 1,029 test series. They are short, so every experiment below takes seconds, and the many test series let us see what
# chance does.

# %%
from ncvqvae_lite.data import load_dataset

ds = load_dataset("ItalyPowerDemand", root=nb.data_dir())
mean, std = ds.x_train.mean(), ds.x_train.std(correction=0)
x_train, x_test = (ds.x_train - mean) / std, (ds.x_test - mean) / std  # (67, 1, 24), (1029, 1, 24)
y_train, y_test = ds.y_train, ds.y_test
print(nb.describe_data(ds).replace(ds.source, "bundled with aeon"))

# %% [markdown]
# ## Probes: is the class in the features?
#
# A *probe* is a simple classifier on top of fixed features. Its accuracy says how easily the class can be read off. The
# thesis uses two: the majority among the 5 nearest train series, and a straight border (a linear support vector
# machine). Before either, each feature is scaled to the range -1 to 1 *of the train split*. Test features may leave
# that range; to scale them by their own would let the test set speak.


# %%
def scale_by_train(z_train, z_test):
    """Both (n, D), moved and stretched so that the train features fill -1..1."""
    low, high = z_train.min(dim=0).values, z_train.max(dim=0).values  # (D,)
    return [2 * (z - low) / (high - low) - 1 for z in (z_train, z_test)]


def knn(z_train, y_train, z_test, y_test, k):
    """Share of test rows whose k nearest train rows vote for the right class."""
    z_train, z_test = scale_by_train(z_train.double(), z_test.double())
    nearest = torch.cdist(z_test, z_train).topk(k, largest=False).indices  # (n_test, k)
    votes = torch.nn.functional.one_hot(y_train[nearest]).sum(dim=1)  # (n_test, classes)
    return float((votes.argmax(dim=1) == y_test).double().mean())


raw = (x_train[:, 0], y_train, x_test[:, 0], y_test)  # the 24 values themselves as features
hours = {h: (x_train[:, 0, h : h + 1], y_train, x_test[:, 0, h : h + 1], y_test) for h in (14, 19)}  # one feature
print(f"KNN on 24 values {knn(*raw, cfg.neighbours):.3f}", end="")
print("".join(f", on the value at hour {h} alone {knn(*hours[h], cfg.neighbours):.3f}" for h in hours))

# %% tags=["nbval-check-output"]
from ncvqvae_lite.metrics import knn_accuracy, svm_accuracy

nb.check("KNN on 24 values: by hand and package", knn(*raw, 5), knn_accuracy(*raw, k=5), atol=1e-9)
for h in hours:
    nb.check(f"KNN on hour {h}: by hand and package", knn(*hours[h], 5), knn_accuracy(*hours[h], k=5), atol=0.02)
nb.check("KNN on hour 14", knn_accuracy(*hours[14], k=5), low=0.7, high=0.8)
nb.check("SVM on hour 14", svm_accuracy(*hours[14]), low=0.45, high=0.55)
nb.check("SVM on hour 19", svm_accuracy(*hours[19]), low=0.95, high=1.0)

# %% [markdown]
# One hour in the evening is enough for either. At 14 o'clock the neighbours know three days of four, and the straight
# border knows nothing: chance is one half. The high values there belong to class 1 (summer), most of those in the
# middle to class 0, and the low ones to both: no single border tells them apart. *A probe judges features and classifier together.*
#
# ## The Fréchet distance: are two clouds alike?
#
# Take features of real and of generated series, fit a Gaussian to each cloud, and measure the distance of the two
# Gaussians (Heusel et al. 2017, [arXiv 1706.08500](https://arxiv.org/abs/1706.08500)):
#
# $$d^2 = \|\mu_a - \mu_b\|^2 + \mathrm{tr}\big(S_a + S_b - 2 (S_a S_b)^{1/2}\big).$$
#
# For one feature this is $(\mu_a - \mu_b)^2 + (\sigma_a - \sigma_b)^2$. Check that with a pencil: for numbers the
# root of $\sigma_a^2 \sigma_b^2$ is $\sigma_a \sigma_b$. The root of a matrix product needs its eigenvalues:
# $S_a S_b$ has none below 0, and the trace of its root is the sum of their roots.


# %%
def frechet(a, b):
    """Squared Fréchet distance of Gaussians fitted to a (n, D) and b (m, D)."""
    a, b = a.double(), b.double()
    shift = a.mean(dim=0) - b.mean(dim=0)  # (D,)
    s_a, s_b = torch.cov(a.T), torch.cov(b.T)  # (D, D)
    eigenvalues = torch.linalg.eigvals(s_a @ s_b).real.clamp(min=0)  # (D,)
    return float(shift @ shift + s_a.trace() + s_b.trace() - 2 * eigenvalues.sqrt().sum())


a = torch.randn(300, 4, generator=generator, dtype=torch.float64)
b = 0.5 * torch.randn(400, 4, generator=generator, dtype=torch.float64) + 1
print(f"two clouds in 4 dimensions: {frechet(a, b):.2f}; without chance it would be 4 (1 + 0.5^2) = 5")

# %% tags=["nbval-check-output"]
from ncvqvae_lite.metrics import frechet_distance

u, v = a[:, :1], 3 * b[:, :1]
pencil = float((u.mean() - v.mean()) ** 2 + (u.std() - v.std()) ** 2)
nb.check("one feature: package and pencil", frechet_distance(u, v), pencil, rtol=1e-9)
nb.check("four features: by hand and package", frechet(a, b), frechet_distance(a, b), rtol=1e-6)
nb.check("a cloud and itself", frechet_distance(a, a), 0.0, atol=1e-9)
nb.check("moved by (1, 1, 1, 1)", frechet_distance(a, a + 1), 4.0, rtol=1e-9)

# %% [markdown]
# ### Which features?
#
# For images the features come from a network trained on ImageNet. Series have no such network. The thesis trains one
# *per data set*: a fully convolutional network (FCN, Wang et al. 2016,
# [arXiv 1611.06455](https://arxiv.org/abs/1611.06455)), taught to tell the classes of the train split. Its last layer
# before the classes gives 128 features. So FID here means: *alike in what tells the classes apart.*
# [`ncvqvae_lite/fcn.py`](../ncvqvae_lite/fcn.py) holds the network.

# %%
from ncvqvae_lite.fcn import FCN, batched
from ncvqvae_lite.training import train_fcn


def trained_fcn(x, y, epochs):
    """An FCN trained on x (n, C, L) with labels y, in eval mode."""
    fcn = FCN(ds.n_classes, channels=x.shape[1])
    train_fcn(fcn, x, y, epochs=epochs, batch_size=64, lr=1e-3, weight_decay=1e-5, seed=seed)
    return fcn.eval()


def accuracy(fcn, x=x_test, y=y_test):
    return float((batched(fcn, x).argmax(dim=1) == y).double().mean())


fcn = trained_fcn(x_train, y_train, cfg.fcn_epochs)
f_train, f_test = batched(fcn.features, x_train), batched(fcn.features, x_test)  # (67, 128), (1029, 128)
print(f"test accuracy of the FCN: {accuracy(fcn):.3f}")

# %% [markdown]
# ### A floor that depends on how many you drew
#
# What is a good FID? Compare real with real: two halves of the test split come from one source, so a perfect generator
# could not do better. The distance is not 0, because means and covariances of a finite sample are off by chance, and
# where the true distance is 0 *every* error makes it larger. The bias falls like $1/n$. So FIDs of different $n$ cannot be
# compared, and a generator that may draw more samples looks better.


# %%
def two_real_samples(n):
    """FID of two disjoint random samples of n test series each."""
    order = torch.randperm(len(f_test), generator=generator)
    return frechet_distance(f_test[order[:n]], f_test[order[n : 2 * n]])


sizes = (16, 32, 64, 128, 256, 512)
floors = {n: [two_real_samples(n) for _ in range(40)] for n in sizes}
fig, axes = plots.figure(1, 1, height=3.6)
ax = axes[0, 0]
for n, values in floors.items():
    ax.plot([n] * len(values), values, "o", color=plots.REAL, markersize=4)
centres = [np.median(values) for values in floors.values()]
ax.plot(sizes, centres, color=plots.INK, linewidth=2, label="median of 40 draws")
ax.plot(sizes, centres[2] * sizes[2] / np.array(sizes), ":", color=plots.INK, label="falls like 1 / n")
ax.set(xscale="log", yscale="log", xlabel="series in each sample", ylabel="FID, real against real")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend(fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
fcn_accuracy, ratio = accuracy(fcn), np.median(floors[64]) / np.median(floors[512])
nb.check_band(cfg, "07", "test accuracy of the FCN", fcn_accuracy, {"chance": 0.5})
nb.check_band(cfg, "07", "floor of FID: n 64 over n 512", ratio, {"no bias": 1.0, "1 / n squared": 64.0})
nb.check("median FID falls from n 16 to 64 to 512", centres[0] > centres[2] > centres[5], True)

# %% [markdown]
# ## The inception score: sure, and of many kinds
#
# Ask the FCN for class probabilities $p(y|x)$ of each generated series. Good samples should make it *sure* (each row
# near one class), and there should be *all classes* (the mean $p(y)$ is broad). The score joins both
# (Salimans et al. 2016, [arXiv 1606.03498](https://arxiv.org/abs/1606.03498)):
#
# $$\mathrm{IS} = \exp\big(\textstyle\frac{1}{n} \sum_i \mathrm{KL}(p(y|x_i) \,\|\, p(y))\big), \qquad 1 \le \mathrm{IS} \le k .$$
#
# 1 when every series gives the same answer, $k$ when the FCN is sure of each and all $k$ classes are equally often. It
# never looks at a real series. The thesis computes it on 10 splits of the samples and reports their mean.


# %%
def inception(p):
    """exp of the mean KL divergence of the rows of p (n, k) from their mean."""
    p = p.double()
    return float(torch.exp((p * ((p + 1e-16).log() - (p.mean(dim=0) + 1e-16).log())).sum(dim=1).mean()))


print("sure, three classes alike:", round(inception(torch.eye(3).repeat(4, 1)), 3))
print("sure, always class 0:     ", round(inception(torch.eye(3)[[0, 0, 0]]), 3))
print("never sure:               ", round(inception(torch.full((6, 3), 1 / 3)), 3))

# %% tags=["nbval-check-output"]
from ncvqvae_lite.metrics import inception_score

p_test = batched(fcn.probabilities, x_test)  # (1029, 2)
split = p_test[: 1029 // 10 * 10].view(10, -1, 2)  # the package drops the remainder; seed=None keeps the order
by_hand = np.mean([inception(p) for p in split])
nb.check("ten splits: by hand and package", by_hand, inception_score(p_test, 10, seed=None).mean, rtol=1e-6)
nb.check("k classes, sure", inception_score(torch.eye(3).repeat(40, 1), 1).mean, 3.0, rtol=1e-6)
shares = torch.tensor([0.9, 0.1], dtype=torch.float64)
lopsided = torch.eye(2)[[0] * 90 + [1] * 10]
nb.check(
    "sure, shares 0.9 and 0.1: exp(entropy)", inception(lopsided), torch.exp(-(shares * shares.log()).sum()), rtol=1e-6
)

# %% [markdown]
# Splits have a price. With few series each split misses classes, and the score of *perfect* answers falls below $k$:

# %%
perfect = {}
for n in (20, 100, 1000):
    p = torch.eye(5)[torch.arange(n) % 5]  # (n, 5): sure, five classes alike
    perfect[n] = np.mean([inception_score(p, cfg.splits, seed=i).mean for i in range(50)])
    print(
        f"{n:5} series of five classes, perfect answers: IS {perfect[n]:.2f} over ten splits, {inception(p):.2f} in one"
    )

# %% tags=["nbval-check-output"]
nb.check("20 series: two in each split, so at most 2", perfect[20], low=1, high=2)
nb.check("1000 series: nearly 5", perfect[1000], low=4.8, high=5)

# %% [markdown]
# So read IS beside the score of as many real series (`is_real` in the results), not beside $k$.

# %% [markdown]
# ## CAS: train on generated, test on real
#
# The classification accuracy score (Ravuri and Vinyals 2019,
# [arXiv 1905.10887](https://arxiv.org/abs/1905.10887)) turns it around. A *new* classifier is trained on generated
# series, of the classes they were generated for, and tested on real ones. What the generator leaves out, the classifier
# cannot learn. A useful yardstick is the accuracy after training on the real train split. It is called the ceiling, but
# where train series are few, many generated ones can lift a classifier a little above it.


# %%
def cas(x, y):
    """Accuracy on the real test split of an FCN that saw generated series only."""
    torch.manual_seed(seed)
    return accuracy(trained_fcn(x, y, cfg.cas_epochs))


ceiling = cas(x_train, y_train)
print(f"trained on the real train split: {ceiling:.3f}")

# %% [markdown]
# ## Eight generators
#
# No deep network is needed to learn what scores see. Each of these draws series with classes:
#
# | | what it does |
# |---|---|
# | real | other test series: as good as it gets |
# | copies | train series, drawn again and again |
# | blurred | copies plus noise |
# | Gaussian | one Gaussian per class, fitted to its train series |
# | one class | the Gaussian of class 0 alone, with labels at random |
# | one each | one train series per class, repeated, with a little noise |
# | fools IS | noise, changed until the FCN is sure of it |
# | fools FID | noise, changed until its features have the mean and covariance of the train features |


# %%
def pick(rows, n):
    return rows[torch.randint(len(rows), (n,), generator=generator)]


def gaussian_of(x, n):
    """n draws (n, 1, L) of the Gaussian with the mean and covariance of x (m, 1, L)."""
    centre = x.mean(dim=0)
    weights = torch.randn(n, len(x), generator=generator) / math.sqrt(len(x) - 1)  # random mixtures of the residuals
    return centre + torch.einsum("nm,mcl->ncl", weights, x - centre)


def labelled(make):
    """Series and labels, half of the samples of each class; make(k, n) -> (n, 1, L)."""
    half = cfg.samples // 2
    return torch.cat([make(k, half) for k in (0, 1)]), torch.tensor([0, 1]).repeat_interleave(half)


def noisy(x, std):
    return x + std * torch.randn(x.shape, generator=generator)


def of_class(k):
    return x_train[y_train == k]


# %%
order = torch.randperm(len(x_test), generator=generator)
kept, rest = order[: cfg.samples], order[cfg.samples :]  # `rest` is what all generators are compared with
drawn = {
    "real": (x_test[kept], y_test[kept]),
    "copies": labelled(lambda k, n: pick(of_class(k), n)),
    "blurred": labelled(lambda k, n: noisy(pick(of_class(k), n), 0.5)),
    "Gaussian": labelled(lambda k, n: gaussian_of(of_class(k), n)),
    "one class": (gaussian_of(of_class(0), cfg.samples), torch.arange(cfg.samples) % 2),
    "one each": labelled(lambda k, n: noisy(of_class(k)[:1].expand(n, -1, -1), 0.02)),
}

# %% [markdown]
# The last two use what every network offers: the gradient with respect to its *input*. We start from noise and go
# downhill on a loss that is the score itself, or nearly so.


# %%
def tuned(loss):
    """Noise (n, 1, L) after steps of Adam on `loss(x)`."""
    x = torch.randn(cfg.samples, 1, x_train.shape[-1], generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.1)
    for _ in range(cfg.tuning_steps):
        (x.grad,) = torch.autograd.grad(loss(x), [x])
        optimiser.step()
    return x.detach()


wanted = torch.arange(cfg.samples) % 2  # the class that each series shall pretend to be
centre, spread = f_train.mean(dim=0), torch.cov(f_train.T)


def moments(x):
    """How far mean and covariance of the features are from those of the train series."""
    f = fcn.features(x)
    return ((f.mean(dim=0) - centre) ** 2).sum() + ((torch.cov(f.T) - spread) ** 2).sum().sqrt()


drawn["fools IS"] = (tuned(lambda x: torch.nn.functional.cross_entropy(fcn(x), wanted)), wanted)
fooling = tuned(moments)
drawn["fools FID"] = (fooling, batched(fcn, fooling).argmax(dim=1))

# %% [markdown]
# Look at three draws of each, before you look at any score. Which would you accept as days of power demand?

# %%
fig, axes = plots.figure(2, 4, height=4.6, sharex=True)
for ax, (name, (x, y)) in zip(axes.flat, drawn.items()):
    for k in (0, 1):
        for series in x[y == k][:3]:
            ax.plot(series[0], color=plots.CLASS_COLOURS[k], linewidth=1.2, label=f"class {k}")
    ax.set_title(name, fontsize=plots.TEXT)
for ax in axes[-1]:
    ax.set_xlabel("hour")
fig.supylabel(plots.SCALED, fontsize=plots.TEXT)
handles = [axes[0, 0].lines[0], axes[0, 0].lines[-1]]
fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# Now the scores. One more column asks for something that none of the thesis' scores does: how near is the nearest train
# series, compared with how near it is to a real test series? Around 1 is right; near 0 means memorised.


# %%
def nearest(x, to):
    """Median distance of the series x to the nearest of `to`."""
    return float(torch.cdist(x[:, 0], to[:, 0]).min(dim=1).values.median())


usual = nearest(x_test[rest], x_train)
scores = {}
print(f"{'':10}     FID      IS     CAS   nearest train")
for name, (x, y) in drawn.items():
    features, p = batched(fcn.features, x), batched(fcn.probabilities, x)
    found = (
        frechet_distance(f_test[rest], features),
        inception_score(p, cfg.splits).mean,
        cas(x, y),
        nearest(x, x_train) / usual,
    )
    scores[name] = dict(zip(("FID", "IS", "CAS", "nearest"), found))
    print(f"{name:10} " + " ".join(f"{value:7.2f}" for value in found))

# %% [markdown]
# Each panel is one score; the dotted line is what real series get. For FID low is good, for IS and CAS high. Find a
# generator that beats or nearly reaches the real series in one panel and is worthless in another.

# %%
fig, axes = plots.figure(1, 4, height=3.8, sharey=True)
for ax, (score, better) in zip(axes[0], (("FID", "low"), ("IS", "high"), ("CAS", "high"), ("nearest", "1"))):
    values = [scores[name][score] for name in drawn]
    ax.plot(values, range(len(drawn)), "o", color=plots.INK, markersize=7)
    ax.axvline(scores["real"][score], color=plots.REAL, linestyle=":")
    ax.set_title(f"{score} ({better} is good)", fontsize=plots.SMALL)
    ax.grid(axis="y", alpha=0.3)
axes[0, 0].set_xscale("log")
axes[0, 0].set_yticks(range(len(drawn)), list(drawn))
axes[0, 0].invert_yaxis()
fig

# %% tags=["nbval-check-output"]
real, copies, one, sure, near = (scores[n] for n in ("real", "copies", "one class", "fools IS", "fools FID"))
nb.check_band(cfg, "07", "IS of what fools IS over IS of real", sure["IS"] / real["IS"], {"worse than real": 0.95})
nb.check_band(cfg, "07", "CAS of what fools IS", sure["CAS"], {"real": real["CAS"]})
nb.check_band(cfg, "07", "FID of what fools FID over FID of one class", near["FID"] / one["FID"], {"no better": 1.0})
nb.check_band(cfg, "07", "CAS of one class", one["CAS"], {"real": real["CAS"]})
nb.check_band(cfg, "07", "CAS of copies minus CAS of real", copies["CAS"] - real["CAS"], {"found out": -0.4})
nb.check("copies: distance to the nearest train series", copies["nearest"], 0.0, atol=1e-3)
for name, found in scores.items():
    for score, value in found.items():
        nb.record("07", f"{name}: {score}", value)

# %% [markdown]
# - **IS** is fooled by noise that the FCN is sure of. It never compares with real series.
# - **FID** sees only what its 128 features see, and of those only mean and covariance. Anything else may be nonsense.
# - **CAS** pays for the right link between class and series, and for diversity. It does not see *copying*: a generator
#   that returns its train series scores like real ones.
# - Copies are found by the distance to the train split alone. FID *against the train split* would even praise them, and
#   the feature network has seen exactly those series.
#
# So no score alone, and not even all three: copies pass every one of them, and noise that was tuned to the features of
# the FCN passes nearly. It is the last column, which none of the thesis' scores has, that finds both out.
#
# ## Three slips
#
# The numbers that the thesis compares were computed with three slips. None is a crime, each changes a number.
#
# ### The last batch only
#
# The error of the test set was logged once per batch, and each batch overwrote the last. What remained is the mean of
# the *last* batch: of $1029 = 8 \cdot 128 + 5$ series, five. Here an "autoencoder" of four principal components stands
# for the tokenizer. Grey: what the last batch would have said in other orders of the file.

# %%
flat, centre_day = x_test[:, 0].double(), x_train[:, 0].double().mean(dim=0)
directions = torch.linalg.svd(x_train[:, 0].double() - centre_day, full_matrices=False).Vh[:4]  # (4, 24)
rebuilt = centre_day + (flat - centre_day) @ directions.T @ directions  # (1029, 24)
errors = ((flat - rebuilt) ** 2).mean(dim=1)  # (1029,)
last = 1029 % 128
shuffled = [float(errors[torch.randperm(1029, generator=generator)[:last]].mean()) for _ in range(cfg.trials)]
in_file_order = [float(batch.mean()) for batch in errors.split(128)]
fig, axes = plots.figure(1, 1, height=3.2)
ax = axes[0, 0]
ax.hist(shuffled, bins=40, color=plots.PALE, label="last batch, other orders")
ax.axvline(float(errors.mean()), color=plots.INK, linewidth=2, label="all 1,029 series")
ax.axvline(
    in_file_order[-1],
    color=METHODS["barlowtwins"].colour,
    linewidth=2,
    linestyle="--",
    label="last batch, file order",
)
ax.set(xlabel="mean squared error", ylabel="orders of the file")
ax.legend(fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
nb.check("series in the last batch", last, 5)
nb.check("spread of the last batch", np.std(shuffled), float(errors.std()) / math.sqrt(last), rtol=0.1)
nb.check("mean over orders is the mean over all", np.mean(shuffled), float(errors.mean()), rtol=0.05)
average = np.average(in_file_order, weights=[len(batch) for batch in errors.split(128)])
nb.check("batches weighted by size give it too", average, float(errors.mean()), rtol=1e-9)

# %% [markdown]
# ### Probes in train mode
#
# A network with batch normalisation behaves differently while it trains: it centres features with the mean of the
# *batch*. The probes of the thesis ran in that mode. Then the features of a series depend on its neighbours in the
# file. If a batch holds one class only, its mean *is* the class, and subtracting it removes what the probe looks for.
# And each batch moves the running statistics, which are saved: test series leave a trace in the model.


# %%
def features_in_train_mode(x, batch=128):
    """Features of x with the statistics of each batch; a copy of the FCN, so that ours stays as it is."""
    net = FCN(ds.n_classes)
    net.load_state_dict(fcn.state_dict())
    net.train()
    with torch.no_grad():
        return torch.cat([net.pooled(part) for part in x.split(batch)]), net


by_class, mixed = y_test.argsort(stable=True), torch.randperm(len(y_test), generator=generator)
probe = {"eval mode": knn_accuracy(f_train, y_train, f_test, y_test, k=5)}
train_mode, _ = features_in_train_mode(x_train)
for name, rows in (("train mode, mixed", mixed), ("train mode, sorted by class", by_class)):
    found, changed = features_in_train_mode(x_test[rows])
    probe[name] = knn_accuracy(train_mode, y_train, found, y_test[rows], k=5)
print("\n".join(f"{name:28} {value:.3f}" for name, value in probe.items()))

# %% tags=["nbval-check-output"]
first, again = fcn.norm1, changed.norm1
averages = [fcn.conv1(torch.nn.functional.pad(part, (0, 1))).mean(dim=(0, 2)) for part in x_test[by_class].split(128)]
moved = first.running_mean
for batch_mean in averages:
    moved = 0.9 * moved + 0.1 * batch_mean
nb.check("running mean after the probe", again.running_mean, moved.detach(), rtol=1e-3, atol=1e-4)
nb.check("batches of test series", len(averages), 9)
nb.check("weight of test series in it: 1 - 0.9^9", 1 - 0.9 ** len(averages), 0.6126, atol=1e-4)
lost = probe["eval mode"] - probe["train mode, sorted by class"]
nb.check_band(cfg, "07", "KNN accuracy that sorting by class takes in train mode", lost, {"order does not matter": 0.0})

# %% [markdown]
# ### A running mean of accuracies
#
# CAS was reported as a running mean over *test batches*, $v \leftarrow 0.99\, v + 0.01\, a$ from $v = 0$, from the
# first epoch on. Three things follow. It lags: half of its weight lies on the last 69 batches. A batch of 5 series
# weighs as much as one of 256. And it starts at 0: after $m$ batches its weights sum to $1 - 0.99^m$, so a short
# training cannot reach its own accuracy.


# %%
def running(accuracies, decay=0.99):
    v = 0.0
    for a in accuracies:
        v = decay * v + (1 - decay) * a
    return v


rates = np.clip(1 - 0.5 * np.exp(-np.arange(400) / 40), 0, 0.95)  # accuracy per epoch of some classifier
batches = np.repeat(rates, 5) + 0.05 * np.tile([0, 0, 0, 0, -1], 400)  # the small fifth batch is harder
reported = [running(batches[: 5 * (epoch + 1)]) for epoch in range(400)]
true = np.average(batches.reshape(400, 5), axis=1, weights=[256, 256, 256, 256, 5])
fig, axes = plots.figure(1, 1, height=3.2)
axes[0, 0].plot(true, color=plots.INK, linewidth=2, label="accuracy on the test split")
axes[0, 0].plot(
    reported, color=METHODS["barlowtwins"].colour, linewidth=2, linestyle="--", label="running mean of batches"
)
axes[0, 0].set(xlabel="epoch", ylabel="CAS", ylim=(0, 1))
axes[0, 0].legend(fontsize=plots.SMALL, frameon=False, loc="lower right")
fig

# %% tags=["nbval-check-output"]
from ncvqvae_lite.metrics import running_accuracy

nb.check("running mean: by hand and package", running(batches), running_accuracy(batches), rtol=1e-9)
nb.check("batches that hold half of the weight", math.log(0.5) / math.log(0.99), 69.0, atol=0.05)
nb.check("all correct, 100 batches", running([1.0] * 100), 1 - 0.99**100, rtol=1e-9)
nb.check("reported minus true, last epoch", reported[-1] - true[-1], -0.05 * (1 / 5 - 5 / 1029), atol=2e-3)
nb.check("reported minus true, epoch 20", reported[20] - true[20], low=-0.6, high=-0.1)

# %% [markdown]
# ## Four runs are few
#
# The authors published the number of every run. FID of the plain VQVAE on FordA: four seeds, four values.

# %%
from scipy import stats

from ncvqvae_lite.data import THESIS_DATASETS
from ncvqvae_lite.thesis import CONFIGURATIONS, author_runs

runs = {(d, c): np.array(author_runs(d, *c)["fid"]) for d in THESIS_DATASETS for c in CONFIGURATIONS}
naive = CONFIGURATIONS[0]
four = runs["FordA", naive]
half_width = stats.t.ppf(0.975, df=3) * four.std(ddof=1) / math.sqrt(4)
print("FordA, regular:", ", ".join(f"{v:.1f}" for v in sorted(four)))
print(f"mean {four.mean():.1f}, 95 % interval {four.mean() - half_width:.1f} to {four.mean() + half_width:.1f}")

# %% [markdown]
# From nearly 0 to twice the mean: four values say little about their mean when one of them is twice the others. The
# figure has all runs of two configurations. Ask for each data set: would four
# other seeds keep the order?

# %%
shown = (naive, ("vibcreg", "gauss"))
fig, axes = plots.figure(1, 1, height=5.0)
ax = axes[0, 0]
for i, d in enumerate(THESIS_DATASETS):
    for c, shift, marker in zip(shown, (-0.15, 0.15), "os"):
        label = f"{c[0]} + {c[1]}" if i == 0 else None
        ax.plot(runs[d, c], [i + shift] * 4, marker, color=METHODS[c[0]].colour, markersize=5, label=label)
ax.set_yticks(range(13), THESIS_DATASETS)
ax.invert_yaxis()
ax.set(xscale="log", xlabel="FID of each of the authors' four runs")
fig.legend(loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig


# %%
def clear(a, b):
    """Whether the 95 % interval of the difference of two means (Welch) leaves out 0."""
    return bool(stats.ttest_ind(a, b, equal_var=False).pvalue < 0.05)


others = CONFIGURATIONS[1:]
lower = sum(runs[d, c].mean() < runs[d, naive].mean() for d in THESIS_DATASETS for c in others)
surely_lower = sum(
    runs[d, c].mean() < runs[d, naive].mean() and clear(runs[d, c], runs[d, naive])
    for d in THESIS_DATASETS
    for c in others
)
print(
    f"non-contrastive FID below naive: {lower} of 78 cells (a data set with a configuration); clearly, at 95 %: {surely_lower}"
)

# %% [markdown]
# ### The best of six
#
# "On 10 of 13 data sets some non-contrastive configuration has a lower FID." Six configurations compete with one
# baseline, each has another chance to be lucky, and the winner is chosen on the test results. How many wins would there
# be *without any effect*, if all seven were the same method with different seeds? Every one of the seven is then
# equally likely to be the best: the baseline loses with probability 6/7.

# %%
from ncvqvae_lite.thesis import thesis_mean

wins = 0
for d in THESIS_DATASETS:
    wins += min(thesis_mean(d, *c)["fid"] for c in others) < thesis_mean(d, *naive)["fid"]
draws = torch.randn(cfg.trials, 13, 7, 4, generator=generator).mean(dim=3)  # 13 data sets, 7 equal methods, 4 seeds
by_luck = (draws[..., 1:].min(dim=2).values < draws[..., 0]).sum(dim=1)  # (trials,)
print(f"wins in the thesis: {wins} of 13; without any effect {by_luck.double().mean():.1f} on average")
print(
    f"without any effect, 10 or more wins happen in {float((by_luck >= 10).double().mean()):.0%} of {cfg.trials} trials"
)

# %% tags=["nbval-check-output"]
nb.check("wins in the thesis' table", wins, 10)
nb.check("wins without any effect", float(by_luck.double().mean()), 13 * 6 / 7, atol=0.15)
chance = float((by_luck >= 10).double().mean())
nb.check("10 or more: simulation and binomial", chance, stats.binom.sf(9, 13, 6 / 7), atol=0.04)
nb.check("cells with a lower FID", int(lower), 46)
nb.check("cells with a clearly lower FID", int(surely_lower), 18)

# %% [markdown]
# Ten wins are *fewer* than luck alone would give on average. This does not say that the losses do nothing: it says that
# this way of counting cannot show it. What can: compare *one* configuration, chosen beforehand, with the baseline;
# pair what can be paired (the same data set, the same seed, the same tokens); give the interval of the paired
# difference. Chapter 10 does so with the authors' numbers and with ours.
#
# Pairing helps when what is shared makes both numbers move together. Two methods, each the same "seed effect" plus a
# little of its own:

# %%
shared = torch.randn(cfg.trials, 4, generator=generator)  # what a seed does to both
ours = shared + 0.3 * torch.randn(cfg.trials, 4, generator=generator) - 0.7  # better by 0.7
theirs = shared + 0.3 * torch.randn(cfg.trials, 4, generator=generator)
paired = stats.ttest_rel(ours, theirs, axis=1).pvalue
unpaired = stats.ttest_ind(ours, theirs, axis=1, equal_var=False).pvalue
print(
    f"a true difference is found at 95 %: paired {np.mean(paired < 0.05):.0%}, unpaired {np.mean(unpaired < 0.05):.0%}"
)

# %% tags=["nbval-check-output"]
nb.check("paired: found", float(np.mean(paired < 0.05)), low=0.5, high=0.8)
nb.check("unpaired: found", float(np.mean(unpaired < 0.05)), low=0.02, high=0.2)

# %% [markdown]
# ## Recorded runs
#
# Scores of the eight generators over seeds; a seed draws other samples and trains other networks.

# %%
print(nb.recorded_runs("07"))

# %% [markdown]
# ## What to take along
#
# - Every score has a floor, a ceiling and a blind spot. Print all three beside it.
# - FID depends on the features and on the number of samples; IS never sees a real series; CAS does not mind copies.
# - Accumulate over the whole split, judge in eval mode, report the last accuracy.
# - Four runs per cell and the best of six against one: count what luck would give before counting wins.
# - Chapter 8 needs: the names of all scores. Chapter 10 needs: paired differences with intervals.

# %% [markdown]
# ## Exercises
#
# They need nothing from the chapter but this set-up. A check says what to look at when an answer is wrong.

# %%
import numpy as np
import torch

from ncvqvae_lite import nb

generator = nb.seed_everything(1)

# %% [markdown]
# ### 7.1 The share of the score that is the class mix `*`
# A generator makes perfect series, so the FCN is sure of each, but draws class $c$ with probability $q_c$. What is its
# inception score, for any $q$? (One split, very many samples.) Which $q$ gives 1, which gives the number of classes?


# %% tags=["exercise"]
def score_of_mix(q):
    """Inception score of sure answers with class shares q.

    q        (k,) float, sums to 1, may hold zeros
    returns  float
    """
    # solution: write the KL divergence of a sure row from q, then its mean over samples; mind classes without any
    q = q[q > 0]
    return float(torch.exp(-(q * q.log()).sum()))
    # end of solution


# %% tags=["nbval-check-output"]
def check_score_of_mix(answer):
    from ncvqvae_lite.metrics import inception_score

    for counts in ((50, 50), (90, 10), (20, 30, 50), (100, 0)):
        p = torch.eye(len(counts))[[k for k, n in enumerate(counts) for _ in range(n)]]
        found = answer(torch.tensor(counts) / 100)
        hint = "the natural logarithm? And what does a class without samples add?"
        nb.check(f"shares {counts}", found, inception_score(p, 1).mean, rtol=1e-4, hint=hint)


check_score_of_mix(score_of_mix)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Write KL(p || q) for p = (0, 1, 0), then average over classes. </details>


# %% tags=["solution"]
def wrong_not_a_number(q):
    """0 log 0 becomes NaN"""
    return float(torch.exp(-(q * q.log()).sum()))


def wrong_bits(q):
    """entropy in bits, exponential with base e"""
    q = q[q > 0]
    return float(torch.exp(-(q * q.log2()).sum()))


def wrong_counts_classes(q):
    """the number of classes that occur"""
    return float((q > 0).sum())


nb.refused(check_score_of_mix, wrong_not_a_number, wrong_bits, wrong_counts_classes)

# %% [markdown]
# ### 7.2 Scale, but by what? `*`
# Scale features to -1..1 for a probe. Train and test must be treated alike, the test split must not speak, and a
# feature that is constant in train must not end in a division by zero: it becomes 0 in both splits.


# %% tags=["exercise"]
def scale_features(z_train, z_test):
    """Both splits, with the train features filling -1..1.

    z_train, z_test  (n, D), (m, D)
    returns          both, scaled; features that are constant in train are 0 in both
    """
    # solution: which split may say where -1 and 1 lie? And what would be divided by zero?
    low, high = z_train.min(dim=0).values, z_train.max(dim=0).values
    size = torch.where(high > low, high - low, 1.0)
    return [torch.where(high > low, 2 * (z - low) / size - 1, 0.0) for z in (z_train, z_test)]
    # end of solution


# %% tags=["nbval-check-output"]
def check_scale_features(answer):
    z_train = torch.tensor([[0.0, 5.0, 7.0], [4.0, 5.0, 9.0], [2.0, 5.0, 7.0]])
    z_test = torch.tensor([[6.0, 6.0, 8.0], [2.0, 5.0, 7.0]])
    found = answer(z_train, z_test)
    expected = torch.tensor([[-1.0, 0, -1], [1, 0, 1], [0, 0, -1]])
    hint = "by train alone: its smallest value becomes -1, its largest 1, and what is constant there 0"
    nb.check("train fills -1..1", found[0], expected, atol=1e-6, hint=hint)
    expected = torch.tensor([[2.0, 0, 0], [0, 0, -1]])
    nb.check("test by the numbers of train", found[1], expected, atol=1e-6, hint="whose minima and maxima?")


check_scale_features(scale_features)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Test features may leave the range; that is right. <code>torch.where</code> chooses per
# feature. </details>


# %% tags=["solution"]
def wrong_each_by_itself(z_train, z_test):
    """scales the test split by its own minima and maxima"""
    return [scale_features(z, z)[0] for z in (z_train, z_test)]


def wrong_both_together(z_train, z_test):
    """minima and maxima over both splits: the test set speaks"""
    return scale_features(torch.cat([z_train, z_test]), z_train)[1], scale_features(
        torch.cat([z_train, z_test]), z_test
    )[1]


def wrong_clipped(z_train, z_test):
    """clips test features to the range of train"""
    return [z.clamp(-1, 1) for z in scale_features(z_train, z_test)]


nb.refused(check_scale_features, wrong_each_by_itself, wrong_both_together, wrong_clipped)

# %% [markdown]
# ### 7.3 The floor of the first term `**`
# Two samples of $n$ and $m$ rows come from the *same* distribution with covariance $S$. What is the expected value of
# $\|\mu_a - \mu_b\|^2$, the first term of the Fréchet distance? So what becomes of this first term when both
# samples are four times as large, though nothing got better?


# %% tags=["exercise"]
def expected_shift(covariance, n, m):
    """Expected squared distance of the means of two samples from one distribution.

    covariance  (D, D)
    n, m        number of rows of each sample
    returns     float
    """
    # solution: how does a mean of n rows scatter, how the difference of two means? Then the expected square
    return float(covariance.trace()) * (1 / n + 1 / m)
    # end of solution


# %% tags=["nbval-check-output"]
def check_expected_shift(answer):
    draws = torch.Generator().manual_seed(2)
    mix = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.5, 3.0]])
    for n, m in ((10, 10), (20, 80)):
        a, b = (torch.randn(20000, k, 3, generator=draws).mean(dim=1) @ mix.T for k in (n, m))
        simulated = ((a - b) ** 2).sum(dim=1).mean()
        found = answer(mix @ mix.T, n, m)
        nb.check(f"n {n}, m {m}: simulation", found, simulated, rtol=0.04, hint="variances of independent means add up")


check_expected_shift(expected_shift)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> For one feature: the variance of a mean of n values is the variance over n. The squared
# length of a vector is the sum over its features. </details>


# %% tags=["solution"]
def wrong_one_sample(covariance, n, m):
    """forgets that the other mean moves too"""
    return float(covariance.trace()) / n


def wrong_pooled(covariance, n, m):
    """as if both samples were one of n + m rows"""
    return float(covariance.trace()) / (n + m)


def wrong_root(covariance, n, m):
    """standard deviations instead of variances"""
    return float(covariance.diagonal().sqrt().sum()) * (1 / n + 1 / m)


nb.refused(check_expected_shift, wrong_one_sample, wrong_pooled, wrong_root)

# %% [markdown]
# ### 7.4 The interval of a paired difference `**`
# Two methods were run with the same seeds. Give the 95 % interval of the mean difference $a - b$, by Student's $t$. With
# how many seeds does the factor in front of the standard error fall below 2.1?


# %% tags=["exercise"]
def paired_interval(a, b):
    """95 % interval of the mean of a - b, where a[i] and b[i] share their seed.

    a, b     (n,) numpy arrays, n at least 2
    returns  (low, high)
    """
    # solution: bring it to the interval of a single mean; of which sample, with how many degrees of freedom?
    from scipy import stats

    d = a - b
    half = stats.t.ppf(0.975, df=len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)
    # end of solution


# %% tags=["nbval-check-output"]
def check_paired_interval(answer):
    a, b = np.array([3.0, 5.0, 9.0, 4.0]), np.array([2.0, 5.0, 7.0, 3.0])
    low, high = answer(a, b)
    nb.check("centre", (low + high) / 2, 1.0, rtol=1e-6, hint="mean of a - b")
    hint = "standard deviation of the differences with n - 1; t with 3 degrees of freedom is 3.182"
    nb.check("half width", (high - low) / 2, 3.182446 * np.sqrt(2 / 3) / 2, rtol=1e-4, hint=hint)
    draws = np.random.default_rng(1)
    sets = [(s, s + draws.normal(size=5)) for s in 5 * draws.normal(size=(1000, 5))]
    inside = np.mean([low <= 0 <= high for low, high in (answer(x, y) for x, y in sets)])
    nb.check("equal methods: 0 lies inside", float(inside), low=0.93, high=0.97, hint="95 % of the time, for any n")


check_paired_interval(paired_interval)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>scipy.stats.t.ppf(0.975, df)</code>. For the question, try it for
# growing n. </details>


# %% tags=["solution"]
def wrong_normal(a, b):
    """1.96, as if the spread were known"""
    d = a - b
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


def wrong_unpaired(a, b):
    """treats the two as independent samples"""
    from scipy import stats

    half = stats.t.ppf(0.975, df=2 * len(a) - 2) * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    return (a - b).mean() - half, (a - b).mean() + half


def wrong_spread_of_runs(a, b):
    """the spread of single differences, not of their mean"""
    from scipy import stats

    d = a - b
    half = stats.t.ppf(0.975, df=len(d) - 1) * d.std(ddof=1)
    return d.mean() - half, d.mean() + half


nb.refused(check_paired_interval, wrong_normal, wrong_unpaired, wrong_spread_of_runs)
