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
# # 9. Your own series
#
# You have a table of numbers and want more series like them. Which settings do you choose, and when should you not
# believe what comes out?
#
# - **Goals**: after it you can hand any table of series to the package; choose geometry, window and augmentation by
#   measuring; train, save, load and sample; bring channels of different units together; read what is missing from generated
#   series and what is copied; test them with something that no score knows
# - **Before**: chapters 1 and 5 (windows, token grid); 4 and 7 help
# - **Time**: 60 seconds of computing
# - **Data**: ItalyPowerDemand (UCR archive, bundled with aeon) as a table of your own would be; heated rooms, made here
#   by a rule that we can check
# - **Answers**: the thesis (Mathisen 2024) uses one window and one width for all its data sets, each with one channel.
#   This chapter measures what these settings do on a set of your own, lets the preset `improved` choose the others by the
#   number of series, and sees what a second channel changes

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
import math
import tempfile
from pathlib import Path

import numpy as np
import torch

from ncvqvae_lite import nb, plots

generator = nb.seed_everything(seed)
torch.set_flush_denormal(True)  # numbers near 0 become 0: some CPUs are very slow with them
folder = tempfile.TemporaryDirectory()  # yours would be a folder that stays
cfg = nb.chapter_config(
    preset,
    seed,
    rows=200,  # series of the table
    rooms=(240, 1000),
    few=16,
    choice_steps=(100, 1000),  # of each tokenizer that is tried
    tokenizer_steps=(300, 0),  # of each run; 0: what the preset `improved` has for so many series
    prior_steps=(400, 0),
)

# %% [markdown]
# ## From a table to a data set
#
# Here is a table as it may lie on your disk: one row per day, first a label in words, then 24 hourly values. (It is
# ItalyPowerDemand, whose days were brought to mean 0 by those who collected it; we write 200 of them to a file.)

# %%
from ncvqvae_lite.data import load_dataset

known = load_dataset("ItalyPowerDemand", root=nb.data_dir())
days = torch.cat([known.x_train, known.x_test])[:, 0]  # (1096, 24)
half_year = torch.cat([known.y_train, known.y_test])  # 0 is October to March
order = torch.randperm(len(days), generator=generator)
table = Path(folder.name, "demand.csv")
with open(table, "w") as f:
    for row in order[: cfg.rows].tolist():
        label = ("winter", "summer")[half_year[row]]
        f.write(",".join([label, *(f"{value:.5f}" for value in days[row].tolist())]) + "\n")
print(table.read_text()[:60], "...")

# %% [markdown]
# Reading it is your part; any tool will do. The package wants two arrays: series (n, L), or (n, C, L) with C channels,
# and labels (n,) of any kind, or none.

# %%
from ncvqvae_lite.data import from_arrays

cells = [line.split(",") for line in table.read_text().splitlines()]
labels, values = [row[0] for row in cells], np.array([row[1:] for row in cells], dtype=float)  # (n,), (n, L)
mine = from_arrays(values, labels, name="demand")
print(nb.describe_data(mine))

# %% [markdown]
# Two things to notice. A fifth was held out as a test set, the same share of each class: without it no number below
# would mean anything. And classes are numbered in the *sorted* order of their names, so class 0 is now "summer". When
# you ask for class 0 later, look at `class_names`.
#
# ### What it refuses
#
# Tables are rarely so tidy. Each message says what was found and what to do.

# %%
from ncvqvae_lite.errors import BadInput

gap = values.copy()
gap[3, 10:12] = np.nan
inputs = {
    "a gap": (gap, labels),
    "unequal lengths": ([row[: 24 - i % 3] for i, row in enumerate(values)], labels),
    "axes (n, L, C)": (np.zeros((200, 3, 100)).transpose(0, 2, 1), labels),
    "a label too few": (values, labels[1:]),
    "one label for all": (values, ["day"] * len(values)),
    "too short": (values[:, :12], labels),
}
refusals = {}
for what, (x, y) in inputs.items():
    try:
        from_arrays(x, y, name="demand")
    except BadInput as error:
        refusals[what] = str(error)
        print(f"{what}:\n    {error}")

# %% [markdown]
# Gaps you fill or drop, unequal lengths you resample (exercise 9.1).
#
# What it *cannot* refuse, because nothing in the numbers shows it: labels in another order than the rows; the same
# series twice; a sensor that was replaced half way; windows cut from one long recording so that they overlap. In the
# last case train and test share values, and every score flatters (exercise 9.2).

# %% tags=["nbval-check-output"]
nb.check("inputs refused", (len(refusals), len(inputs)), (6, 6))
nb.check("train and test series", (len(mine.x_train), len(mine.x_test)), (160, 40))
nb.check("names of class 0 and class 1", mine.class_names, ("summer", "winter"))
both = torch.cat([mine.y_train, mine.y_test])
shares = [float((mine.y_test == k).sum() - (both == k).sum() / 5) for k in (0, 1)]
nb.check("held out of each class: a fifth, but for rounding", max(map(abs, shares)) < 1, True)

# %% [markdown]
# ## One number for level, one for size
#
# Networks like values around 1. The experiment subtracts *one* number from everything and divides by *one* other: mean
# and standard deviation of the whole train split, over all series, channels and steps. Differences between series stay.
# Remember "over all channels": it will bite below.

# %%
from ncvqvae_lite.experiment_stages import scale

mean, std = mine.x_train.double().mean(), mine.x_train.double().std(correction=0)
x_train, x_test = (((x.double() - mean) / std).float() for x in (mine.x_train, mine.x_test))
print(f"mean {mean:.3f}, standard deviation {std:.3f} in the units of the table")

# %% tags=["nbval-check-output"]
scaled = scale(mine, torch.device("cpu"))
nb.check("mean: by hand and package", float(mean), scaled.mean, rtol=1e-6, atol=1e-9)
nb.check("standard deviation: by hand and package", float(std), scaled.std, rtol=1e-6)
nb.check("scaled test series: by hand and package", x_test, scaled.x_test, rtol=1e-5, atol=1e-6)

# %% [markdown]
# ## How many tokens?
#
# Three settings decide how finely a series is cut into tokens. The `geometry`: a token for each frequency row and frame (`grid`, as in the thesis), or
# rows folded together and a token for each frame (`fold`, chapter 5). A window of `n_fft` values moves in steps of a quarter of
# its length and gives $n_{fft}/2 + 1$ frequency rows: a long window knows *which* frequency, a short one *when*
# (chapter 1). Then the encoder halves the frames until about `width` are left (chapter 5). "About": it can only halve. The
# aimed-at rate $L / (\log_2 n_{fft} - 1) / width$ is rounded down to a power of two, at least 2. (The rule is `latent_grid` of
# chapter 5, now for any geometry, window and width.)


# %%
def latent_grid(length, geometry, n_fft, width):
    """(F, W') of the token grid, F = 1 for "fold"; W' = 0 means that the series is too short."""
    frames = length // (n_fft // 4) + 1
    rate = max(1, round(length / (math.log2(n_fft) - 1) / width))
    halvings = max(1, math.floor(math.log2(rate)))
    return n_fft // 2 + 1 if geometry == "grid" else 1, frames >> halvings


some = [(24, "grid", 8, 8), (24, "grid", 4, 2), (24, "fold", 8, 32), (24, "fold", 4, 32), (128, "grid", 8, 8)]
some += [(128, "fold", 8, 32), (128, "fold", 8, 16), (1000, "grid", 8, 8), (1000, "fold", 8, 32), (24, "grid", 16, 1)]
print("length  geometry  n_fft  width   F x W'  tokens  bits at K = 64   values for each token")
for length, geometry, n_fft, width in some:
    F, W = latent_grid(length, geometry, n_fft, width)
    bits = f"{F * W:6} {F * W * math.log2(64):15.0f}  {length / (F * W):22.1f}" if W else "  too short for this"
    print(f"{length:6}  {geometry:8} {n_fft:6} {width:6}  {F:3} x {W:<3}{bits}")

# %% tags=["nbval-check-output"]
from ncvqvae_lite.tokenizer import TOKENIZERS

agree, asked = 0, 0
for geometry in TOKENIZERS:
    for length in (16, 24, 51, 100, 128, 577, 1000):
        for n_fft, width in ((4, 1), (4, 8), (8, 2), (8, 8), (8, 32), (16, 1), (16, 16), (32, 4), (32, 32)):
            asked += 1
            wanted = latent_grid(length, geometry, n_fft, width)
            try:
                with torch.device("meta"):  # shapes without numbers
                    found = TOKENIZERS[geometry](length, n_fft=n_fft, width=width).grid
            except (BadInput, ValueError):
                found = wanted[0], 0
            agree += found == wanted
nb.check("token grids: by hand and package", (agree, asked), (126, 126))
nb.check("tokens of a day, the thesis' settings", math.prod(latent_grid(24, "grid", 8, 8)), 30)
nb.check("tokens of a day, folded, n_fft 4", math.prod(latent_grid(24, "fold", 4, 32)), 12)

# %% [markdown]
# So the thesis' settings turn a day of 24 values into 30 tokens, *more* tokens than values. Nothing forbids it, but the prior
# then has more to get right than there is. What do fewer tokens cost? Try: a few short trainings with 64 codes, each judged by the
# error on the held-out days, divided by their variance. A yardstick: how good is it to answer every day with the mean
# day?

# %%
from ncvqvae_lite.training import train_tokenizer
from ncvqvae_lite.training_engine import epochs_for


def short_training(x, geometry, n_fft, width):
    """A tokenizer after a few steps on x (n, C, L), in eval mode."""
    torch.manual_seed(seed)
    settings = dict(n_fft=n_fft, width=width, n_blocks=2, codebook_size=64, kmeans_init=True, expire_below=1.0)
    tokenizer = TOKENIZERS[geometry](x.shape[2], x.shape[1], **settings)
    epochs = epochs_for(len(x), 64, 1, cfg.choice_steps)  # as many epochs as give so many steps
    train_tokenizer(tokenizer, x, epochs=epochs, batch_size=64, lr=3e-3, schedule="warm-up", seed=seed)
    return tokenizer.eval()


def there_and_back(tokenizer, x):
    return tokenizer.decode(tokenizer.encode(x))


# %%
choices = (("grid", 8, 8), ("grid", 4, 2), ("fold", 16, 32), ("fold", 8, 32), ("fold", 4, 32))  # geometry, n_fft, width
tried = {choice: short_training(x_train, *choice) for choice in choices}
decoded = {choice: there_and_back(tokenizer, x_test) for choice, tokenizer in tried.items()}
errors = {c: float(((x_hat - x_test) ** 2).mean() / x_test.var(correction=0)) for c, x_hat in decoded.items()}
mean_day = float(((x_train.mean(dim=0) - x_test) ** 2).mean() / x_test.var(correction=0))
for choice, error in errors.items():
    print(
        "geometry {}, n_fft {:2}, width {:2}: ".format(*choice), f"{tried[choice].n_tokens:2} tokens, error {error:.3f}"
    )
print(f"the mean day: {mean_day:.3f}")

# %% [markdown]
# Left: what each choice costs and brings; low and to the left is good. Right: one day of the test split, and what two
# choices keep of it. Is the detail that gets lost a detail that you care for? No number can answer that for you.

# %%
fig, axes = plots.figure(1, 2, height=4.2)
left, right = axes[0]
marked = dict(zip(choices, ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00")))
above = {("grid", 8), ("grid", 4), ("fold", 16)}  # where the name stands
for (geometry, n_fft, width), colour in marked.items():
    at = tried[geometry, n_fft, width].n_tokens, errors[geometry, n_fft, width]
    left.loglog(*at, "o" if geometry == "fold" else "s", color=colour, markersize=9)
    place = dict(xytext=(0, 9 if (geometry, n_fft) in above else -35), textcoords="offset points", ha="center")
    left.annotate(f"{geometry}\nn_fft {n_fft}", at, **place, fontsize=plots.SMALL)
left.axhline(mean_day, color=plots.INK, linestyle=":")
left.text(2.2, 1.03 * mean_day, "the mean day", va="bottom", fontsize=plots.SMALL)
left.set(xlabel="tokens for one day (log)", ylabel="error / variance (log)", xlim=(1.9, 48), ylim=(0.008, 0.35))
left.set_xticks([3, 6, 9, 12, 30], [3, 6, 9, 12, 30])
left.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2], [0.01, 0.02, 0.05, 0.1, 0.2])
left.minorticks_off()
right.plot(x_test[0, 0], color=plots.REAL, linewidth=3, label="a test day")
for choice in (choices[0], choices[-1]):
    label = f"from {tried[choice].n_tokens} tokens"
    right.plot(decoded[choice][0, 0], color=marked[choice], linewidth=1.8, label=label)
right.set(xlabel="hour", ylabel=plots.SCALED)
fig.legend(loc="outside lower center", ncols=3, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
folded = errors["fold", 4, 32]
nb.check_band(cfg, "09", "error, fold, n_fft 4 (12 tokens)", folded, {"the mean day": mean_day})
ratio = folded / errors["grid", 8, 8]
nb.check_band(cfg, "09", "error, fold, n_fft 4 (12 tokens) over the thesis' settings (30)", ratio, {"no better": 1.0})
nb.record("09", "error, fold, n_fft 8 (6 tokens)", errors["fold", 8, 32])
nb.record("09", "error, fold, n_fft 16 (3 tokens)", errors["fold", 16, 32])
nb.record("09", "error, grid, n_fft 8 (30 tokens)", errors["grid", 8, 8])
nb.record("09", "error, grid, n_fft 4 (9 tokens)", errors["grid", 4, 2])
nb.record("09", "error of the mean day", mean_day)

# %% [markdown]
# Many tokens are not what these days need. Folded rows make do with a fifth of them: three tokens, 18 bits, are about as good as the 180 bits of the thesis'
# settings. And among the folded the shortest window is the best, for a day has sharp rises at fixed hours. (So it was, on average, over
# the seeds of the recorded runs below. The trainings were short, and a long one may like many tokens better; try again with more steps before a large
# experiment.) We go on with `fold` and `n_fft` 4.
#
# One warning: we have now *chosen* by the held-out days, here and in the next section. What is scored on them afterwards flatters a
# little. For numbers that you publish, hold out a second set that no choice has seen.
#
# ## Which augmentation?
#
# An augmentation promises that its views keep the class (chapter 4). Ask your own labels: train the simplest
# classifier, 5 nearest neighbours, on series *and* views, and ask it about views of held-out series. A fall says that
# views no longer tell the class.

# %%
from ncvqvae_lite import ExperimentConfig
from ncvqvae_lite.metrics import knn_accuracy

amounts = dict(cas=False)  # nothing else is set by hand, unless the trainings are to be short:
if cfg.tokenizer_steps:
    amounts |= dict(epochs=1, min_steps=cfg.tokenizer_steps, prior_epochs=1, prior_min_steps=cfg.prior_steps)
cell = dict(dataset="demand", method="barlowtwins", augmentation="gauss", seed=seed)
plan = ExperimentConfig.preset("improved", **cell, n_fft=4, **amounts)

x, n = torch.cat([x_train, x_test]), len(x_train)
plain = knn_accuracy(x_train[:, 0], mine.y_train, x_test[:, 0], mine.y_test)
kept = {}
for _ in range(10):  # views are random: ten draws
    for name, view in nb.views_of(plan, x, generator).items():
        rows, row_labels = torch.cat([x_train, view[:n]])[:, 0], torch.cat([mine.y_train, mine.y_train])
        kept.setdefault(name, []).append(knn_accuracy(rows, row_labels, view[n:, 0], mine.y_test))
print(f"series themselves: {plain:.3f}; chance: 0.5")
for name, found in kept.items():
    print(f"views by {name:6} {np.mean(found):.3f}")

# %% tags=["nbval-check-output"]
shuffled, noisy = np.mean(kept["slice"]), np.mean(kept["gauss"])
nb.check_band(cfg, "09", "KNN on views by slice", shuffled, {"the class is kept": plain})
nb.check_band(cfg, "09", "KNN on views by gauss", noisy, {"chance": 0.5, "as by slice": shuffled})
nb.record("09", "KNN on views by warp", np.mean(kept["warp"]))

# %% [markdown]
# This test is a veto only: by it the best view would be no change at all. A view has to change something, too, or there is
# nothing to learn from it.
#
# In a day the *hour* matters, so cutting it into pieces and shuffling them takes the class away; noise of the thesis'
# strength keeps it. Hence `augmentation="gauss"`. Without labels nobody can measure this: then ask yourself whether you
# would call a view "the same thing", or take the naive tokenizer (`method="regular"`), which needs no views.
#
# ## Sizes by the number of series
#
# Codes, steps, depth: how many? With few series a large prior learns them by heart, with many a small one misses half. The preset `improved`
# leaves these numbers open (0, or "by n"), and `run_experiment` fills them in when it sees the series (`resolve`). What you set by hand stays.

# %%
from ncvqvae_lite.experiment_stages import resolve

rules = ExperimentConfig.preset("improved", dataset="demand").rules()
mine_by_n = resolve(ExperimentConfig.preset("improved", dataset="demand"), mine)
for name, rule in rules.items():
    what = name.replace("epochs", "steps") if name.endswith("epochs") else name
    by_n = ", ".join(f"{value} from {least} on" for least, value in rule)
    print(f"{what:14} {by_n:38} here {name}={getattr(mine_by_n, name)}")

# %% [markdown]
# (A number of steps becomes a number of passes over the series, epochs.) This chapter has to be quick, so its trainings are shorter than that;
# with `tokenizer_steps` and `prior_steps` 0 in the first cell the preset decides alone.
#
# ## Train, save, load, sample
#
# One call trains tokenizer and prior, draws samples and scores them. Everything goes into a folder, and the name of the
# folder has a digest of all settings: another setting is another folder.

# %%
from ncvqvae_lite import cell_folder, load_run, run_experiment
from ncvqvae_lite.experiment import not_computed

runs = Path(folder.name, "runs")
metrics = run_experiment(plan, mine, runs, progress=nb.print_epochs(2))
where = cell_folder(plan, runs)
print("in the folder of the run:", ", ".join(sorted(file.name for file in where.iterdir() if file.suffix)))
for name in ("recon_val", "knn_acc", "svm_acc", "fcn_accuracy", "fid", "fid_by_class", "fid_train_test"):
    print(f"{name:18} {metrics[name]:.3f}")
print("not computed:", not_computed(plan, mine))

# %% [markdown]
# FID compares features of a classifier that was trained on your train split. `fcn_accuracy` is the share of test series that it
# gets right: near chance (`run_experiment` then warns) FID and IS say little, whatever their value. `fid` is that of free draws, as published;
# `fid_by_class` is that of what you get: classes with their shares of train (chapter 6).
#
# Tomorrow, in another notebook, the folder is enough. `sample` does what you could do by hand: draw tokens from the
# prior, decode them, multiply by the standard deviation, add the mean. The result is in the units of your table. Equal
# seeds give equal series.

# %%
from ncvqvae_lite.experiment_samples import generate

run = load_run(where)
new = run.sample(50, class_index=0, seed=3)  # (50, 1, 24): fifty days of class 0, "summer"
full = resolve(plan, mine)
tokens, x_hat = generate(full, run.tokenizer, run.prior, 50, 3, 0, run.pieces)  # (50, N), (50, 1, 24)
by_hand = x_hat * std + mean
print(
    f"{tuple(new.shape)}, tokens {tuple(tokens.shape)}; first hours of the first day:", new[0, 0, :3].numpy().round(2)
)

# %% tags=["nbval-check-output"]
nb.check("fifty days (n, C, L)", new.shape, (50, 1, 24))
nb.check("sample: by hand and package", by_hand.float(), new, rtol=1e-4, atol=1e-5)
nb.check("loaded again, equal seed: equal series", torch.equal(load_run(where).sample(50, 0, seed=3), new), True)
nb.check("another seed: other series", torch.equal(run.sample(50, 0, seed=4), new), False)
trained_again = []
run_experiment(plan, mine, runs, progress=lambda *epoch: trained_again.append(epoch))
nb.check("epochs that a second run_experiment trains", len(trained_again), 0)
nb.check("tokens", tokens.shape, (50, 12))

# %% [markdown]
# Ask for no class, and each day gets one: the classes have their shares of your train split, exactly to one day. A generator
# that draws class and day together may well forget a class; this one cannot. (To know afterwards which day is what, draw the classes
# yourself, by `classes_like`, and hand them over.)
#
# Left held-out days, right generated ones, row by row. Look for the same hours of rise and fall, the same spread, and
# for days in the wrong row.

# %%
from ncvqvae_lite.experiment_samples import classes_like

wanted = classes_like(run.config["class_counts"], 200)  # (200,) in random order
generated = run.sample(200, wanted, seed=0)
plots.real_and_generated(mine.x_test, mine.y_test, generated, wanted, mine.class_names, "barlowtwins")

# %% [markdown]
# A day in the wrong row is the prior's mistake, and there may be one among the first eight. How many are there in all? FID comes from a network that was trained on your few series. A second opinion costs nothing: do the
# nearest real train days agree with the class that a generated day was asked for?

# %%
neighbours = {
    "test days": knn_accuracy(mine.x_train[:, 0], mine.y_train, mine.x_test[:, 0], mine.y_test),
    "generated days": knn_accuracy(mine.x_train[:, 0], mine.y_train, generated[:, 0], wanted),
}
print("5 nearest train days agree with the class:", {name: round(value, 3) for name, value in neighbours.items()})
top = {"test": mine.x_test[mine.y_test == 1], "generated": generated[wanted == 1]}
peaks = {name: float(x[:, 0, 17:24].amax(dim=1).std()) for name, x in top.items()}
print("deviation of the evening peaks (17 to 23 h) of winter days:", {name: round(v, 2) for name, v in peaks.items()})

# %% tags=["nbval-check-output"]
nb.check("200 days without a class are these", torch.equal(run.sample(200, seed=0), generated), True)
share = float((mine.y_train == 0).double().mean())
nb.check("summer days, beyond their share of train", abs(int((wanted == 0).sum()) - 200 * share) < 1, True)
agreed = neighbours["generated days"]
nb.check_band(cfg, "09", "generated days whose class the neighbours confirm", agreed, {"class ignored": 0.5})
nb.record("09", "test days whose class the neighbours confirm", neighbours["test days"])
nb.record("09", "deviation of evening peaks, generated over real", peaks["generated"] / peaks["test"])

# %% [markdown]
# Nearly all are in the right row. But agreement with the class says nothing about variety: two hundred times the mean day of its class would
# please the neighbours best. So the second line asks whether the evening peaks vary as much as real ones. Measure what *you* need, beside
# the scores.
#
# ### Noise, and its price
#
# A generated day is not only what its tokens say. Tokens leave something over (chapter 5), and the preset adds pieces of what they left over
# of train days, if the rule finds that this brings copies nearer to their originals. Did it here? And what does it cost?

# %%
if "noise" in metrics:
    without, with_pieces = metrics["noise_distance_without"], metrics["noise_distance_with"]
    print(
        f"half of the train days, distance of their copies: {without:.3f} without pieces, {with_pieces:.3f} with pieces"
    )
print("pieces are added:", run.pieces is not None)
if run.pieces is not None:
    numbers, days_of_train = run.pieces.pieces.numel(), len(mine.x_train)
    print(f"numbers kept in the run's folder: {numbers}, n C L = {days_of_train} x 1 x 24")

# %% [markdown]
# So the folder of such a run holds as many numbers as the train split, and what it generates holds splinters of train series. Where yours are
# confidential, say `noise="none"`. (With fewer than 20 series the rule has too little to go by and adds none.)
#
# ## Two channels and a rule
#
# Now series with more than one channel. To know whether generated ones are right, we make rooms that obey a rule. A
# heater is switched on for 8 to 14 steps or for 24 to 30 steps, never for anything in between. Power $p$ is in kW. The
# room follows slowly: $w_t = 0.9\, w_{t-1} + 0.1\, p_t$, and the thermometer shows $20 + 10 w$ °C. No score of the
# package knows this rule, so it makes an honest judge.


# %%
def warmth(power):
    """power (n, L) in kW -> w (n, L) by the rule, starting cold."""
    w = [torch.zeros_like(power[:, 0])]
    for p in power.unbind(dim=1):
        w.append(0.9 * w[-1] + 0.1 * p)
    return torch.stack(w[1:], dim=1)


def rooms(n, steps=64):
    """(n, 2, steps): power in kW, temperature in degrees C."""
    is_long = torch.rand(n, 1, generator=generator) < 0.5
    start, extra, size = torch.rand(3, n, 1, generator=generator)
    first, power = 4 + 20 * start, 0.8 + 0.4 * size
    t = torch.arange(steps)
    on = (t >= first) & (t < first + torch.where(is_long, 24.0, 8.0) + 6 * extra)
    p = power * on + 0.03 * torch.randn(n, steps, generator=generator)
    return torch.stack([p, 20 + 10 * warmth(p) + 0.1 * torch.randn(n, steps, generator=generator)], dim=1)


# %%
def broken(x):
    """How far temperatures are from what the rule makes of the power, over their variance: 0 is perfect."""
    w = (x[:, 1] - 20) / 10
    return float(((w - warmth(x[:, 0])) ** 2).mean() / w.var())


seen, unseen = rooms(cfg.rooms), rooms(cfg.rooms)  # for training, and never shown
mixed = torch.stack([unseen[:, 0], unseen[:, 1].roll(1, dims=0)], dim=1)  # power and temperature of two rooms
print(f"the rule is broken by {broken(unseen):.4f} in real rooms, by {broken(mixed):.2f} when channels are mixed up")

# %% [markdown]
# ### Units
#
# Temperatures lie far above powers. One mean and one deviation for both: what is left of the power? We train two short
# tokenizers, on the raw units and on channels that were brought to mean 0 and deviation 1 *each*, by the numbers of the
# train rooms.

# %%
centre, spread = seen.mean(dim=(0, 2), keepdim=True), seen.std(dim=(0, 2), keepdim=True)  # (1, 2, 1)
one = seen.mean(), seen.std()
print("mean of power and temperature:", centre.flatten().numpy().round(2))
print("deviation of each channel after the common scaling:", (spread.flatten() / one[1]).numpy().round(3))


def channel_errors(middle, size):
    """Rooms decoded from their tokens, and each channel's error over its variance."""
    tokenizer = short_training((seen - middle) / size, "fold", 8, 32)
    decoded = there_and_back(tokenizer, (unseen - middle) / size) * size + middle
    return decoded, ((decoded - unseen) ** 2).mean(dim=(0, 2)) / unseen.var(dim=(0, 2))


by_units = {"one scale for both": channel_errors(*one), "a scale for each": channel_errors(centre, spread)}
for name, (x_hat, found) in by_units.items():
    print(f"{name:19} error / variance: power {found[0]:.3f}, temperature {found[1]:.3f}; rule {broken(x_hat):.3f}")

# %% [markdown]
# A room that the tokenizers never saw, after tokens and back. Grey is the room.

# %%
fig, axes = plots.figure(1, 2, height=3.6)
for c, (ax, unit) in enumerate(zip(axes[0], ("power (kW)", "temperature (°C)"))):
    ax.plot(unseen[0, c], color=plots.REAL, linewidth=3.5, label="the room")
    for (name, (x_hat, _)), colour in zip(by_units.items(), ("#D55E00", "#0072B2")):
        ax.plot(x_hat[0, c], color=colour, linewidth=1.6, label=name)
    ax.set(xlabel=plots.STEPS, ylabel=unit)
fig.legend(handles=axes[0, 0].lines, loc="outside lower center", ncols=3, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
lost, held = (float(found[0]) for _, found in by_units.values())
nb.check_band(cfg, "09", "error of the power, one scale for both", lost, {"a scale for each": held})
nb.check("one scale for both is worse than a constant", lost, low=1.0)
nb.check_band(cfg, "09", "error of the power, a scale for each", held, {"constant": 1.0})

# %% [markdown]
# With one scale the power is noise: worse than a constant, whose error would be 1. `run_experiment` warns of a channel
# that keeps less than a tenth of a deviation within a series; the right scale it cannot know. *Scale channels of different units
# yourself, by the train split, and undo it afterwards* (exercise 9.4). The run's folder does not know your numbers: save
# `centre` and `spread` beside it.
#
# Another number worth knowing: the grid of tokens does not depend on the channels. One channel or six, each token then
# has to say more. More channels may need more codes (`codebook_size`) or more tokens.

# %% tags=["nbval-check-output"]
same = [TOKENIZERS["fold"](64, channels, width=32).n_tokens for channels in (1, 2, 6)]
nb.check("tokens of 64 steps with 1, 2 and 6 channels", same, (16, 16, 16))


# %% [markdown]
# ## New rooms, judged by the rule
#
# The rooms have no labels: the prior then learns all of them together, and FID, IS and CAS cannot be computed. We do
# not need them.

# %%
heated = from_arrays((seen - centre) / spread, x_test=(unseen - centre) / spread, name="rooms")
plan_rooms = ExperimentConfig.preset("improved", dataset="rooms", seed=seed, **amounts)
run_experiment(plan_rooms, heated, runs, progress=nb.print_epochs(1))
many = load_run(cell_folder(plan_rooms, runs))
print("not computed:", ", ".join(not_computed(plan_rooms, heated)))
print("pieces are added:", many.pieces is not None)


def back(run, x):
    """Rooms after tokens and back, in kW and degrees C."""
    x_hat = there_and_back(run.tokenizer, ((x - centre) / spread - run.mean) / run.std)
    return (x_hat * run.std + run.mean) * spread + centre


# %%
new_rooms = many.sample(len(unseen), seed=0) * spread + centre  # both scalings undone
through = back(many, unseen)
alone = torch.stack([new_rooms[:, 0], new_rooms[:, 1].roll(1, dims=0)], dim=1)
sources = {
    "real rooms": unseen,
    "real, after tokens": through,
    "generated": new_rooms,
    "generated, channels mixed": alone,
}
for name, x in sources.items():
    print(f"{name:26} the rule is broken by {broken(x):.4f}")

# %% [markdown]
# Three generated rooms. Dashed: the temperature that the rule computes from the power in the panel above. Where the
# blue line leaves the dashed one, the room is impossible, however natural it looks.

# %%
from ncvqvae_lite.names import METHODS

fig, axes = plots.figure(2, 3, height=4.4, sharex=True, sharey="row")
for column, room in zip(axes.T, new_rooms):
    column[0].plot(room[0], color=METHODS["regular"].colour, linewidth=1.6)
    column[1].plot(room[1], color=METHODS["regular"].colour, linewidth=1.6, label="generated")
    wanted_by_rule = 20 + 10 * warmth(room[None, 0])[0]
    column[1].plot(wanted_by_rule, "--", color=plots.INK, linewidth=1.6, label="the rule, from its power")
    column[1].set_xlabel(plots.STEPS)
axes[0, 0].set_ylabel("power (kW)")
axes[1, 0].set_ylabel("temp. (°C)")
fig.legend(handles=axes[1, 0].lines, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
ours, apart = broken(new_rooms), broken(alone)
nb.record("09", "rule broken: generated rooms over real ones after tokens", ours / broken(through))
nb.check_band(cfg, "09", "rule broken, generated rooms", ours, {"channels do not know each other": apart})
nb.check_band(cfg, "09", "rule broken, real rooms after tokens", broken(through), {"as generated": ours})

# %% [markdown]
# The channels know each other: one token speaks about both. And the tokens alone break the rule already, by several
# times the noise of the thermometer; no sample can be expected to do better than they. *Compare with what the tokenizer
# leaves of real series, not with perfection.*
#
# ## When not to believe the samples
#
# ### Kinds that do not exist
#
# The rule has a second half: heaters run for 8 to 14 or for 24 to 30 steps. Count the steps with power above 0.4 kW.

# %%
duration = {name: (x[:, 0] > 0.4).sum(dim=1) for name, x in sources.items() if name != "generated, channels mixed"}
fig, axes = plots.figure(1, 1, height=3.2)
ax = axes[0, 0]
bins = np.arange(-0.5, 41)
ax.axvspan(15.5, 22.5, color="#F0E442", alpha=0.4, label="never happens")
for (name, steps), colour in zip(duration.items(), (plots.REAL, plots.INK, METHODS["regular"].colour)):
    filled = name == "real rooms"
    kind = dict(histtype="stepfilled", alpha=0.6) if filled else dict(histtype="step", linewidth=1.8)
    ax.hist(steps.clamp(max=40), bins=bins, color=colour, label=name, **kind)
ax.set(xlabel="steps with the heater on", ylabel="rooms")
fig.legend(loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
impossible = {name: float(((steps > 15) & (steps < 23)).double().mean()) for name, steps in duration.items()}
nb.check("real rooms in the forbidden range", impossible["real rooms"], 0.0)
made_up, tokens_alone = impossible["generated"], impossible["real, after tokens"]
nb.check_band(cfg, "09", "generated rooms in the forbidden range", made_up, {"as tokens alone": tokens_alone})
nb.record("09", "real rooms after tokens in the forbidden range", tokens_alone)

# %% [markdown]
# A part of the generated rooms (one in ten, over the seeds) is of a kind that does not exist, and no temperature gives them away; of the real rooms, tokens alone
# bring hardly any there. So it is the prior: it seems to fill some tokens of a short heating and some of a
# long one. Whether more training helps was not measured here. If your series have kinds, *count them* in real and
# generated series by a rule of your own, before you count on the samples.
#
# ### Copies, and what is missing
#
# With few train series a generator can repeat them. How would you see it? The distance to the nearest train series is
# small for copies, but it is small for blurred series as well, because blurred is near to everything. Fair is a
# comparison of two sets of *equal size* from the same source, one that was trained on and one that was not: which of
# them holds the nearest neighbour of a generated series? Without copies it is a coin toss. We train once more, on 16
# rooms.

# %%
few_rooms = from_arrays(((seen - centre) / spread)[: cfg.few], x_test=(unseen - centre) / spread, name="few-rooms")
plan_few = ExperimentConfig.preset("improved", dataset="few-rooms", seed=seed, **amounts)
run_experiment(plan_few, few_rooms, runs)
few = load_run(cell_folder(plan_few, runs))


from ncvqvae_lite.evaluation import copy, jitter  # two generators that have learned nothing


def nearest(x, to):
    """(n,) distance of each room in x to the nearest of `to`, in units of the channels' deviations."""
    x, to = (((each - centre) / spread).flatten(1) for each in (x, to))
    return torch.cdist(x, to).min(dim=1).values


def nearer_to_seen(x, trained_on, sets=20):
    """Share of rooms nearer to those trained on than to as many others; the mean over several sets of others."""
    toss = [nearest(x, trained_on) < nearest(x, rooms(len(trained_on))) for _ in range(sets)]
    return float(torch.stack(toss).double().mean())


# %%
few_new = few.sample(len(unseen), seed=0) * spread + centre
sources = {  # name -> rooms, and those that they were made from
    "trained on all rooms": (new_rooms, seen),
    "trained on 16 rooms": (few_new, seen[: cfg.few]),
    "real rooms, not seen": (rooms(len(unseen)), seen[: cfg.few]),
    "copies of all rooms": (seen, seen),
    "copies of the 16": (copy(seen[: cfg.few], len(unseen), generator), seen[: cfg.few]),
    "the 16 with noise": (jitter(seen[: cfg.few], len(unseen), generator), seen[: cfg.few]),
}
copies = {name: nearer_to_seen(*both) for name, both in sources.items()}
for name, share in copies.items():
    print(f"{name:22} nearer to the train rooms: {share:.2f}")

# %% [markdown]
# The opposite of a copyist is a generator that leaves things out. In a space of features (those of random kernels, chapter 5), *coverage* is the share of
# unseen rooms to which some generated room is nearer than their fifth neighbour among the unseen. *Recall* is the share of unseen rooms that are nearer
# to some generated room than its third neighbour among the generated. And the quick test for copies, without a second set: how often is a generated room
# nearer to the train rooms than an unseen one is? One half is ideal, 1 a copyist.

# %%
from ncvqvae_lite.evaluation import KernelSpace, manifold_scores, nearest_train

space = KernelSpace(seen)  # scales every channel by its own deviation
real_features, looks = space.features(unseen), {}
print(f"{'':22} coverage  recall  nearest-train AUC")
for name, (new, train) in sources.items():
    found = manifold_scores(real_features, space.features(new))
    looks[name] = found.coverage, found.recall, nearest_train(new, unseen, train).auc
    print(f"{name:22} {found.coverage:8.2f} {found.recall:7.2f} {looks[name][2]:18.2f}")

# %% tags=["nbval-check-output"]
memorised, honest = copies["trained on 16 rooms"], copies["trained on all rooms"]
nb.check_band(cfg, "09", "trained on 16 rooms: nearer to them", memorised, {"a coin toss": 0.5})
nb.check_band(cfg, "09", "trained on all rooms: nearer to them", honest, {"as with 16": memorised})
nb.check("copies of all rooms: nearest-train AUC", looks["copies of all rooms"][2], 1.0)
covered = looks["trained on all rooms"][0]
nb.check_band(
    cfg, "09", "coverage, trained on all rooms", covered, {"copies of all rooms": looks["copies of all rooms"][0]}
)
nb.record("09", "recall, trained on all rooms", looks["trained on all rooms"][1])
for i, what in enumerate(("coverage", "recall")):
    nb.record("09", f"{what}, trained on 16 rooms", looks["trained on 16 rooms"][i])
    nb.record("09", f"{what}, copies of the 16", looks["copies of the 16"][i])
nb.record("09", "nearest-train AUC, trained on all rooms", looks["trained on all rooms"][2])
nb.record("09", "nearest-train AUC, trained on 16 rooms", looks["trained on 16 rooms"][2])

# %% [markdown]
# Read line by line. *Copies of all rooms* have the best coverage and recall of all generators: neither sees a copy, only the last column does. The run on *16 rooms*
# copies (both tests say so) and reaches only a part of what there is. The run on *all rooms* leaves about half of the unseen rooms without a near one; does it copy? The quick test
# says no, it even lies below one half. The fair one says: a little. Both are right. Some generated rooms are like no real room, so they are far from the train
# rooms too, and make the quick test look innocent; for the fair test they are a toss, and the others tell. (The toss itself, rooms that
# no one was trained on, is not exactly one half, because 16 rooms may happen to lie better or worse than 16 others.)
# With files of your own the unseen set is the test split, and train is cut to its size for the fair test. Every run has `coverage`, `recall` and
# `nearest_train` among its metrics.
#
# ### Outside of what was seen
#
# Tokens can say only what train series made them learn. Take real rooms and make the heater stronger by a factor, with
# the temperatures that follow. What is left of the power after tokens and back?

# %%
factors = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0])
zero = torch.tensor([0.0, 20.0]).view(1, 2, 1)  # no power, 20 degrees
asked = [(unseen - zero) * float(f) + zero for f in factors]
peaks = np.array([[float(x[:, 0].amax(dim=1).median()) for x in (a, back(many, a))] for a in asked])  # (factors, 2)
fig, axes = plots.figure(1, 1, height=3.4)
ax = axes[0, 0]
highest = seen[:, 0].amax(dim=1)  # of each train room
ax.axvspan(float(highest.min()), float(highest.max()), color=plots.PALE, alpha=0.6, label="peaks in the train rooms")
ax.plot([0, 3.2], [0, 3.2], ":", color=plots.INK, label="nothing lost")
ax.plot(*peaks.T, "o-", color=METHODS["regular"].colour, label="after tokens and back")
ax.set(xlabel="peak power, median of the rooms (kW)", ylabel="after tokens (kW)")
ax.legend(fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
usual, extreme = peaks[3, 1] / peaks[3, 0], peaks[-1, 1] / peaks[-1, 0]
nb.check_band(cfg, "09", "share of the peak left, heater as in train", usual, {"three times the heater": extreme})
nb.check_band(cfg, "09", "share of the peak left, three times the heater", extreme, {"nothing lost": 1.0})

# %% [markdown]
# Within the range of the train rooms the line follows the dotted one. Beyond, it is flat, and weaker heaters are made stronger or lost. So do not expect a generated
# room with a stronger heater than those seen; an *unusual* real series comes out as a usual one. Samples cannot tell
# you how extreme tomorrow can be.
#
# ### A list to go through
#
# | question | how to answer it | here |
# |---|---|---|
# | Is it in the tokens? | decode the tokens of test series, look at the worst | error, rule after tokens |
# | Are channels seen at all? | error of each channel over its variance | one scale for both |
# | Do channels belong together? | a rule, or a correlation, against mixed-up channels | the rule |
# | Are all kinds there, and no others? | count by a rule of your own | durations |
# | Is anything missing? | coverage and recall, beside those of real series | 16 rooms |
# | Are they new? | nearer to train than to as many unseen? nearest-train AUC | 16 rooms |
# | May pieces of train series be given away? | if not, `noise="none"` | price of noise |
# | Is the level right? | range of train, against the range you need | stronger heaters |
# | Is the test set independent? | split by source and by time, not by row | exercise 9.2 |
# | Has it been used to choose? | a second held-out set for the final numbers | geometry, window, augmentation |
#
# ## Recorded runs
#
# Means and spread over seeds; a seed draws other days and other rooms and trains other networks.

# %%
print(nb.recorded_runs("09"))

# %% [markdown]
# ## What to take along
#
# - Two arrays are enough. Look at `class_names` before you ask for class 0.
# - Take the fewest tokens that keep what you care for, and an augmentation that your labels survive. Leave the sizes to the preset.
# - Without a class, samples have the classes' shares of your train split. Samples with noise hold pieces of train series.
# - The package scales by one number. Bring channels of different units together yourself, and undo it.
# - A good score is no proof. Test samples with a rule that the training did not know, and beside it what the tokenizer
#   leaves of real series.
# - Few series: ask for copies, and for what is missing. No score sees both. Rare or extreme series: do not ask a generator.
# - Features of your series instead of new ones, learned without labels: [chapter 16](16_features.ipynb).

# %% [markdown]
# ## Exercises
#
# They need no code of the chapter, only this set-up. A check says what to look at when an answer is wrong.

# %%
import numpy as np
import torch

from ncvqvae_lite import nb

generator = nb.seed_everything(1)

# %% [markdown]
# ### 9.1 One length for all `*`
# Your series have unequal lengths, and each covers one whole process, from its start to its end. Resample each to
# `length` steps by linear interpolation, so that the first and the last value stay.


# %% tags=["exercise"]
def equal_lengths(series, length):
    """Series of unequal lengths as one array.

    series   list of 1-D numpy arrays, each of at least 2 steps
    length   steps of the result, at least 2
    returns  (n, length); first and last values are those of each series
    """
    # solution: at which places of each series are the new values read?
    return np.stack([np.interp(np.linspace(0, len(s) - 1, length), np.arange(len(s)), s) for s in series])
    # end of solution


# %% tags=["nbval-check-output"]
def check_equal_lengths(answer):
    short, long = np.array([0.0, 2.0, 4.0]), np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0])
    found = answer([short, long], 5)
    nb.check("shape", found.shape, (2, 5), hint="one row for each series")
    hint = "a straight line stays a straight line, with the same ends"
    nb.check("short series", found[0], np.array([0.0, 1.0, 2.0, 3.0, 4.0]), atol=1e-9, hint=hint)
    nb.check("long series", found[1], np.array([5.0, 3.0, 1.0, -1.0, -3.0]), atol=1e-9, hint=hint)
    bump = answer([np.array([0.0, 0.0, 6.0, 0.0])], 7)[0]
    wanted = np.array([0.0, 0.0, 0.0, 3.0, 6.0, 3.0, 0.0])
    nb.check("a bump between steps", bump, wanted, atol=1e-9, hint="interpolate between the two neighbours")


nb.examine(check_equal_lengths, equal_lengths)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>np.linspace(0, len(s) - 1, length)</code> are the places to read at, and
# <code>np.interp</code> reads. </details>


# %% tags=["solution"]
def wrong_padded(series, length):
    """fills up with zeros, or cuts"""
    return np.stack([np.pad(s[:length], (0, max(0, length - len(s)))) for s in series])


def wrong_nearest(series, length):
    """takes the nearest step instead of interpolating"""
    return np.stack([s[np.linspace(0, len(s) - 1, length).round().astype(int)] for s in series])


def wrong_end(series, length):
    """stops one step before the end"""
    return np.stack([np.interp(np.arange(length) * len(s) / length, np.arange(len(s)), s) for s in series])


nb.refused(check_equal_lengths, wrong_padded, wrong_nearest, wrong_end)

# %% [markdown]
# ### 9.2 Windows of one recording `**`
# You cut one long recording into windows of `length` steps that start every `stride` steps, and hold out the *last*
# windows as a test set. Which windows go where, if none of the test windows may share a step with a train window? Test
# gets a fifth of all windows, rounded down. Every other window that shares a step with a test window is dropped.


# %% tags=["exercise"]
def split_windows(steps, length, stride, holdout=0.2):
    """Numbers of the train and of the test windows; window i covers steps i * stride ... i * stride + length - 1.

    steps    of the recording; windows that would reach beyond it do not exist
    holdout  share of all windows that is held out, rounded down to a whole number
    returns  (train, test), two 1-D numpy arrays of window numbers, both ascending
    """
    # solution: the last fifth is test; train windows have to end before the first test window starts
    n = (steps - length) // stride + 1
    test = np.arange(n - int(holdout * n), n)
    train = np.arange(n)
    return train[train * stride + length <= test[0] * stride], test
    # end of solution


# %% tags=["nbval-check-output"]
def check_split_windows(answer):
    for steps, length, stride, holdout in ((100, 10, 10, 0.2), (105, 20, 5, 0.2), (103, 16, 3, 0.35)):
        train, test = answer(steps, length, stride, holdout)
        windows = [set(range(i, i + length)) for i in range(0, steps - length + 1, stride)]
        said = f"{steps} steps, windows of {length} every {stride}, {holdout:g}"
        hint = "the last windows, their number rounded down; does the last one reach the end?"
        nb.check(f"{said}: number of test windows", len(test), int(holdout * len(windows)), hint=hint)
        nb.check(
            f"{said}: first and last",
            (int(test[0]), int(test[-1])),
            (len(windows) - len(test), len(windows) - 1),
            hint=hint,
        )
        seen = set().union(*(windows[i] for i in train))
        shared = sum(bool(seen & windows[i]) for i in test)
        nb.check(f"{said}: test windows that share steps", shared, 0, hint="where does the last train window end?")
        start = test[0] * stride
        could = sum(max(w) < start for w in windows)
        nb.check(f"{said}: train windows", len(train), could, hint="drop no more than you must")


nb.examine(check_split_windows, split_windows)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Window i ends before step <code>i * stride + length</code>. With a stride shorter
# than the windows, some windows between train and test are lost. </details>


# %% tags=["solution"]
def wrong_no_gap(steps, length, stride, holdout=0.2):
    """all windows before the test windows, overlaps included"""
    n = (steps - length) // stride + 1
    return np.arange(n - int(holdout * n)), np.arange(n - int(holdout * n), n)


def wrong_at_random(steps, length, stride, holdout=0.2):
    """every fifth window"""
    n = np.arange((steps - length) // stride + 1)
    return n[n % 5 != 4], n[n % 5 == 4]


def wrong_gap_of_a_window(steps, length, stride, holdout=0.2):
    """drops as many windows as a window has steps"""
    train, test = split_windows(steps, length, stride, holdout)
    return train[train < test[0] - length], test


def wrong_always_a_fifth(steps, length, stride, holdout=0.2):
    """holds out a fifth, whatever is asked for"""
    return split_windows(steps, length, stride)


nb.refused(check_split_windows, wrong_no_gap, wrong_at_random, wrong_gap_of_a_window, wrong_always_a_fifth)

# %% [markdown]
# ### 9.3 What was never seen `**`
# Among your $n$ train series there is none with a certain fault. How frequent can the fault be all the same? Give the
# largest share $p$ with which $n$ series without a single fault still happen with probability 0.05. **To answer in
# words:** what is it for $n = 300$, roughly, and what will a generator say that was trained on them?


# %% tags=["exercise"]
def largest_share(n, chance=0.05):
    """The share p of faults for which n independent series without any have the probability `chance`.

    n        int, at least 1
    returns  float in (0, 1)
    """
    # solution: how probable are n series without a fault?
    return 1 - chance ** (1 / n)
    # end of solution


# %% tags=["nbval-check-output"]
def check_largest_share(answer):
    draws = np.random.default_rng(1)
    for n in (3, 20, 300):
        p = answer(n)
        none = np.mean(draws.binomial(n, min(max(p, 0.0), 1.0), size=100_000) == 0)
        hint = "with which probability are all n series without a fault, if each has one with probability p?"
        nb.check(f"n {n}: simulated share of tables without a fault", float(none), low=0.047, high=0.053, hint=hint)
    found = answer(50, chance=0.5)
    nb.check("n 50, one table in two", (1 - found) ** 50, 0.5, rtol=1e-9, hint="use the argument `chance`")


nb.examine(check_largest_share, largest_share)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Solve (1 - p)^n = 0.05 for p. </details>
#
# <details><summary>Answer in words</summary> Nearly 3 / n (log 0.05 is -3): one in a hundred at n = 300. A generator that
# learned from these series says that the fault never happens. </details>


# %% tags=["solution"]
def wrong_one_in_n(n, chance=0.05):
    """one of n would have been seen"""
    return 1 / n


def wrong_rule_of_three(n, chance=0.05):
    """3 / n also where n is small"""
    return 3 / n


def wrong_other_tail(n, chance=0.05):
    """the share with which a fault is missed 95 % of the time"""
    return 1 - (1 - chance) ** (1 / n)


nb.refused(check_largest_share, wrong_one_in_n, wrong_rule_of_three, wrong_other_tail)

# %% [markdown]
# ### 9.4 Undo two scalings `*`
# Channels were brought to mean 0 and deviation 1 each, as with the rooms. A run on these series then has one more mean
# and deviation. Write the way back, from what the networks make to the units of the table.


# %% tags=["exercise"]
def to_units(x, run_mean, run_std, centre, spread):
    """From the networks' scale to the table's units.

    x                  (n, C, L), as decoded from tokens
    run_mean, run_std  numbers: the run's scaling, applied last on the way in
    centre, spread     (C,): the scaling of each channel, applied first on the way in
    returns            (n, C, L)
    """
    # solution: undo the last scaling first; one number for each channel
    return (x * run_std + run_mean) * spread[:, None] + centre[:, None]
    # end of solution


# %% tags=["nbval-check-output"]
def check_to_units(answer):
    draws = torch.Generator().manual_seed(3)
    wanted = torch.randn(5, 2, 2, generator=draws, dtype=torch.float64) * torch.tensor([[0.5], [4.0]]) + 20
    centre, spread = wanted.mean(dim=(0, 2)), wanted.std(dim=(0, 2))
    channels = torch.stack([(wanted[:, c] - centre[c]) / spread[c] for c in (0, 1)], dim=1)
    for mean, std in ((0.3, 1.7), (-1.2, 0.4)):
        found = answer((channels - mean) / std, mean, std, centre, spread)
        nb.check(f"run of mean {mean}: shape", found.shape, (5, 2, 2), hint="(n, C, L) stays (n, C, L)")
        hint = "last in, first out; and is the number of a channel used for this channel, not for a step?"
        nb.check(f"run of mean {mean}, deviation {std}: in units", found, wanted, rtol=1e-9, hint=hint)


nb.examine(check_to_units, to_units)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> <code>spread[:, None]</code> has shape (C, 1) and meets (n, C, L) channel by channel.
# Here C and L are both 2, so the wrong axis raises no error. </details>


# %% tags=["solution"]
def wrong_order(x, run_mean, run_std, centre, spread):
    """undoes the channels first"""
    return (x * spread[:, None] + centre[:, None]) * run_std + run_mean


def wrong_axis(x, run_mean, run_std, centre, spread):
    """one number for each step"""
    return (x * run_std + run_mean) * spread + centre


def wrong_one_way(x, run_mean, run_std, centre, spread):
    """scales once more instead of undoing"""
    return ((x - run_mean) / run_std) * spread[:, None] + centre[:, None]


nb.refused(check_to_units, wrong_order, wrong_axis, wrong_one_way)
