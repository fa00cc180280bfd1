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
# # 17. Spectrograms in depth
#
# Optional, after chapter 1. There a series became a picture of five rows, and the picture tokens. Why a window, why 8
# steps, why two parts, how does the inverse work, and which pictures are spectrograms at all?
#
# - **Goals**: after it you can name what a scaling destroys; say what a window of 8 steps shows and what it hides; build
#   the inverse transform and say why it uses the window twice; explain why a spectrogram has five times as many numbers
#   as its series, and what that means for a decoder
# - **Before**: chapter 1; variance of a sum; rank of a matrix
# - **Time**: 15 seconds of computing
# - **Data**: TwoPatternsGenerated, made here; GunPoint, ItalyPowerDemand, ArrowHead, ACSF1 (UCR archive) and
#   BasicMotions (UEA archive), bundled with aeon
# - **Answers**: which settings of the front end of the paper ([arXiv 2408.16613](https://arxiv.org/abs/2408.16613),
#   after TimeVQVAE, [arXiv 2303.04743](https://arxiv.org/abs/2303.04743)) matter, and what its reference code does to
#   series of odd length

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
from ncvqvae_lite import nb

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(preset, seed, toy_series=(200, 2000), noise_series=(400, 4000))

# %% [markdown]
# ## What chapter 1 left
#
# The data, and the transform by hand: $n_{fft}$ is the number of steps in a frame, $h$ the hop, $w_n$ the Hann window, and
# row $k$ of the $F = n_{fft}/2 + 1$ rows counts $k$ turns per frame. The frames are the $W$ columns. ACSF1, new here, is the
# power of a household appliance.

# %%
from ncvqvae_lite.data import load_dataset

names = ("TwoPatternsGenerated", "GunPoint", "ItalyPowerDemand", "ArrowHead", "ACSF1", "BasicMotions")
sets = {name: load_dataset(name, root=nb.data_dir()) for name in names}
motions = sets["BasicMotions"]
print({name: tuple(ds.x_train.shape) for name, ds in sets.items()})

# %%
import math

import torch

from ncvqvae_lite.timefreq import istft, stft


def hann(n_fft):
    """Window (n_fft,): 0 at its first step, 1 in the middle."""
    return 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(n_fft, dtype=torch.float64) / n_fft)


def dft_matrix(n_fft):
    """(2F, n_fft): F rows of cosines, then F rows of negative sines."""
    angle = 2 * math.pi * torch.outer(torch.arange(n_fft // 2 + 1), torch.arange(n_fft)).double() / n_fft
    return torch.cat([angle.cos(), -angle.sin()])


def stft_by_hand(x, n_fft, hop=None, window=None):
    """Spectrogram (B, 2C, F, W) of series (B, C, L), for any hop and any window."""
    window = hann(n_fft) if window is None else window
    padded = torch.nn.functional.pad(x, (n_fft // 2, n_fft // 2), mode="reflect")
    frames = padded.unfold(-1, n_fft, hop or n_fft // 4) * window.to(x.dtype)  # (B, C, W, n_fft)
    return torch.cat((frames @ dft_matrix(n_fft).to(x.dtype).T).chunk(2, dim=-1), dim=1).transpose(2, 3)


# %%
def magnitude(u):
    """(B, 2C, F, W) -> (B, C, F, W)."""
    real, imag = u.chunk(2, dim=1)
    return (real**2 + imag**2).sqrt()


def tone(frequency, length=64):
    """A cosine of so many cycles per step, (1, 1, length), float64."""
    return torch.cos(2 * math.pi * frequency * torch.arange(length, dtype=torch.float64))[None, None]


def z_normalise(x):
    """Each series (and channel) by its own mean and standard deviation: (B, C, L) -> (B, C, L)."""
    return (x - x.mean(dim=-1, keepdim=True)) / x.std(dim=-1, keepdim=True)


def scale_by_train(train, x):
    """Every value by the same two numbers, the mean and the population standard deviation of the train split."""
    mean, std = train.double().mean(), train.double().std(correction=0)
    return ((x.double() - mean) / std).float()


# %% [markdown]
# ## What a scaling destroys
#
# *Per series*: each series by its own mean and deviation. *Global*: one mean and one deviation of the train split for all.
# Which one is right depends on what the class *is*. Make a toy where the class is the height of a bump and nothing
# else: class 0 has height 1, class 1 height 2, and the place of the bump is random.


# %%
def bumps(n):
    """n series (n, 1, 64) with one bump at a random place, and their labels: the height is 1 + label."""
    label = torch.randint(2, (n,), generator=generator)
    place = 16 + 32 * torch.rand(n, 1, generator=generator)
    shape = torch.exp(-((torch.arange(64) - place) ** 2) / 32)  # (n, 64)
    return ((1.0 + label)[:, None] * shape)[:, None], label


train, y_train = bumps(cfg.toy_series)
test, y_test = bumps(cfg.toy_series)
print(train.shape, "labels", y_train[:8].tolist())

# %% [markdown]
# Left you can name the class of every bump from afar. Right, cover the colours in your mind: which bumps are class 0?

# %%
from ncvqvae_lite import plots

fig, axes = plots.figure(1, 2, height=3.4, sharex=True)
scalings = {"global": (scale_by_train(train, train), scale_by_train(train, test))}
scalings["per series"] = (z_normalise(train), z_normalise(test))
for ax, (name, (x, _)) in zip(axes[0], scalings.items()):
    for label in (0, 1):
        for row in (y_train == label).nonzero()[:6, 0]:
            ax.plot(x[row, 0], color=plots.CLASS_COLOURS[label], linewidth=1.5)
        ax.lines[-1].set_label(f"class {label}: height {1 + label}")
    ax.set_title(f"{name} scaling", fontsize=plots.TEXT)
    ax.set_xlabel(plots.STEPS)
axes[0, 0].set_ylabel("scaled value")
handles, labels = axes[0, 0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# Now let a classifier say it. The simplest one is the *nearest neighbour*: a test series gets the label of the train
# series at the smallest distance. With two classes, guessing is right half of the time.


# %%
def nearest_label(train, y_train, test):
    """Label of the train series nearest to each test series: (n_test,)."""
    distance = torch.cdist(test.flatten(1), train.flatten(1))  # (n_test, n_train)
    return y_train[distance.argmin(dim=1)]


accuracy = {}
for name, (x_train, x_test) in scalings.items():
    accuracy[name] = (nearest_label(x_train, y_train, x_test) == y_test).float().mean().item()
    print(f"{name:10} {accuracy[name]:.2f}")
    nb.record("17", f"toy accuracy, {name} scaling", accuracy[name])

# %% tags=["nbval-check-output"]
nb.check("accuracy with global scaling", accuracy["global"], low=0.95, high=1)
nb.check("accuracy with per-series scaling (guessing: 0.5)", accuracy["per series"], low=0.35, high=0.65)

# %% [markdown]
# ### What the archive did already
# Many sets of the UCR archive come z-normalised. For them somebody decided that level and amplitude do not matter. The
# next cell measures it. `level` is the largest mean of a train series, `smallest` and `largest` are standard
# deviations of train series (per channel), `global` is the one deviation of the whole train split.

# %%
print(f"{'':20}  level  smallest  largest  global")
for name, ds in sets.items():
    level, std = ds.x_train.mean(dim=-1).abs().max(), ds.x_train.std(dim=-1)
    overall = ds.x_train.double().std(correction=0)
    print(f"{name:20} {level:6.3f} {std.min():9.4f} {std.max():8.4f} {overall:7.4f}")

# %% [markdown]
# BasicMotions is raw: the largest deviation is 270 times the smallest. The others have mean 0 and deviation 1, with
# $L - 1$ in the denominator (ACSF1: with $L$). On top of this the thesis applies the global scaling (its
# code: one mean, one population deviation, that is, divided by the number of values, of the train split). For a z-normalised set that does next to nothing. The
# population deviation is $\sqrt{(L-1)/L}$, so every value is multiplied by 1.003 in GunPoint and by 1.02 in
# ItalyPowerDemand.
#
# For raw data the choice matters. Describe a series of BasicMotions by six numbers only, the standard deviation of each
# channel. How well do they tell standing, walking, running and badminton apart? And after z-normalisation?

# %% tags=["nbval-check-output"]
for name in ("TwoPatternsGenerated", "GunPoint", "ItalyPowerDemand", "ArrowHead"):
    x = sets[name].x_train.double()
    nb.check(f"{name}: global deviation", x.std(correction=0), math.sqrt(1 - 1 / x.shape[-1]), rtol=1e-5)
spread = [scale_by_train(motions.x_train, x).std(dim=-1) for x in (motions.x_train, motions.x_test)]  # (n, 6) each
right = nearest_label(spread[0], motions.y_train, spread[1]) == motions.y_test
nb.check("BasicMotions, accuracy from six amplitudes", right.float().mean(), low=0.95, high=1)
flat = z_normalise(motions.x_test).std(dim=-1)
nb.check("the same amplitudes after z-normalisation", flat, torch.ones(40, 6), rtol=1e-4)

# %% [markdown]
# Six amplitudes name the activity of nearly every test series. After z-normalisation all six are 1 for everybody.
# A generator that is trained on normalised motions cannot know how strongly somebody moves.
#
# Does that make z-normalisation wrong? Compare whole series, step by step, in place of amplitudes.

# %%
whole = {"global": lambda x: scale_by_train(motions.x_train, x), "per series": z_normalise}
for name, scaling in whole.items():
    found = nearest_label(scaling(motions.x_train), motions.y_train, scaling(motions.x_test))
    share = (found == motions.y_test).float().mean()
    badminton = found[motions.y_test == motions.class_names.index("Badminton")].bincount(minlength=4).tolist()
    print(
        f"{name:10} accuracy {share:.2f}; the ten badminton series look like",
        dict(zip(motions.class_names, badminton)),
    )

# %% [markdown]
# Now per-series scaling wins. With global scaling not one badminton series is recognised: step by step, a lively series
# is nearer to a calm one than to another lively one with other timing. So scaling is a decision about what the data
# *mean* and what is done with them. The package leaves it to you, and does only the scaling that can be undone.

# %% [markdown]
# ## What the window buys
#
# Send in waves of known frequency: a constant, the wave of row 2 and the fastest one. Predict before you read on: which
# rows answer?

# %%
answers = {f: magnitude(stft(tone(f), 8))[0, 0, :, 16] for f in (0.0, 0.25, 0.5)}  # a frame in the middle
for frequency, rows in answers.items():
    print(f"{frequency} cycles per step: rows 0 to 4 say", rows.abs().round(decimals=3).tolist())

# %% [markdown]
# A constant gets 4, the sum of the window. The wave of row 2 gets half of that, because the other half belongs to its
# mirror image with $n_{fft} - 2 = 6$ turns, a row that we do not compute. The fastest wave is its own mirror image.
#
# The wave of row 2 answers in row 2 with 2, and in both neighbours with 1. So a tone never sits in one row alone: the
# price of the window. Without it (a window of ones) there is no such spill for this tone, and we would get 4 in row 2
# and 0 elsewhere. Why pay?
#
# Because most tones do not fit into a frame a whole number of times. Sweep the frequency and record the power
# $\mathrm{Re}^2 + \mathrm{Im}^2$ of every row, averaged over the tone's phase (a sine and a cosine suffice), relative
# to the row's largest answer, in decibels ($10 \log_{10}$; minus 20 is a hundredth of the power). Look at row 0, in
# dark blue. Left, without a window, its answer falls and rises again: a tone of 0.31 cycles per step, more than two
# rows away, still gets through with 2 % of its power. That is *leakage*. Right, with the Hann window, the hill is
# twice as wide, and what is left of such a tone is less than a thousandth.

# %%
EIGHTHS = [0, 0.125, 0.25, 0.375, 0.5], ["0", "1/8", "1/4", "3/8", "1/2"]  # frequencies of the rows, as labels
frequencies = torch.linspace(0, 0.5, 401, dtype=torch.float64)
angles = 2 * math.pi * frequencies[:, None] * torch.arange(8)  # (401, 8)
waves = torch.stack([angles.cos(), angles.sin()])  # (2, 401, 8)


def response(window):
    """Power of the five rows for each frequency, averaged over phase: (401, 5), largest 1 per row."""
    real, imag = (waves * window @ dft_matrix(8).T).chunk(2, dim=-1)  # (2, 401, 5) each
    power = (real**2 + imag**2).mean(dim=0)
    return power / power.amax(dim=0)


heard = {"no window": response(torch.ones(8, dtype=torch.float64)), "Hann window": response(hann(8))}
fig, axes = plots.figure(1, 2, height=3.9, sharey=True)
for ax, (name, power) in zip(axes[0], heard.items()):
    for k in (1, 3, 0, 2, 4):
        style = dict(color=plots.PALE, linewidth=1.2) if k % 2 else dict(color=plots.CLASS_COLOURS[k], linewidth=2.2)
        label = "rows 1 and 3" if k % 2 else f"row {k}"
        ax.plot(frequencies, 10 * torch.log10(power[:, k].clamp(min=1e-9)), label=label, **style)
    ax.set(title=name, xlabel="frequency (cycles per step)", ylim=(-50, 2))
    ax.set_xticks(*EIGHTHS)
axes[0, 0].set_ylabel("answer (dB)")
fig.legend(handles=axes[0, 0].lines[1:], loc="outside lower center", ncols=4, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
pencil = {0.0: [4, 2, 0, 0, 0], 0.25: [0, 1, 2, 1, 0], 0.5: [0, 0, 0, 2, 4]}
for frequency, rows in pencil.items():
    nb.check(f"rows that hear {frequency} cycles per step", answers[frequency], torch.tensor(rows), atol=1e-9)
bare = magnitude(stft_by_hand(tone(0.25), 8, window=torch.ones(8)))[0, 0, :, 16]
nb.check("without the window", bare, torch.tensor([0, 0, 4, 0, 0]), atol=1e-9)
far = frequencies > 0.3  # more than two rows away from row 0
leak = {name: float(power[far, 0].max()) for name, power in heard.items()}
nb.check("row 0, largest far answer without window", leak["no window"], low=0.02, high=0.025)
nb.check("row 0, largest far answer with Hann", leak["Hann window"], low=0, high=0.001)

# %% [markdown]
# Keep the first line in mind: a *constant* answers with 4 in row 0 and 2 in row 1. Its power is split 16 to 4, so 80 %
# and 20 %. We will meet these numbers in real data.
#
# ## Time against frequency
#
# The rows of $n_{fft} = 8$ are 0.125 cycles per step apart. A longer frame has more rows, closer to each other: $n_{fft} = 32$ has
# 17 rows, 0.03 apart. But it also looks at 32 steps at once, and cannot say where in them something happened. Spacing
# of the rows times length of the frame is always 1. You buy one with the other.
#
# Two signals show both sides. The first is the sum of two steady tones at 6/32 and 10/32 cycles per step. The second is
# a spike: one step of 1 in zeros.

# %%
length = 96
two_tones = tone(6 / 32, length) + tone(10 / 32, length)
spike = torch.zeros(1, 1, length, dtype=torch.float64)
spike[..., 48] = 1
print("n_fft rows  row spacing (cycles/step)  frames that notice the spike  steps that they cover")
for n_fft in (8, 16, 32, 64):
    noticed = (magnitude(stft(spike, n_fft))[0, 0].amax(dim=0) > 1e-9).nonzero()[:, 0]
    centres = noticed * (n_fft // 4)
    covered = int(centres.max() - centres.min()) + n_fft
    print(f"{n_fft:5} {n_fft // 2 + 1:4} {1 / n_fft:27.3f} {len(noticed):29} {covered:22}")

# %% [markdown]
# At every $n_{fft}$ three frames notice this spike (one between two centres would be noticed by four). But with $n_{fft} = 8$ they cover 12 steps, with $n_{fft} = 64$ the whole series.
#
# Upper row of the figure: can you count the tones? With $n_{fft} = 32$ there are two steady lines, at 3/16 and 5/16. With
# $n_{fft} = 8$ the strongest row is row 2 (1/4), *between* the two tones, and it pulses: black, white, black, every 8 steps. This
# is no mistake. The sum of the two tones equals $2 \cos(2\pi \tfrac{8}{32} t) \cos(2\pi \tfrac{2}{32} t)$: one tone in
# row 2 whose amplitude swings. Both pictures are true; the short frame tells the story in time, the long one in
# frequency. (The odd columns at the right end are the mirror's work: it breaks the wave there.)
#
# Lower row: the short frame keeps the spike in 3 columns of 2 steps, the long one in 3 columns of 8 steps.


# %%
def show(ax, picture, n_fft):
    """Magnitudes (F, W) with time in steps and frequency in cycles per step, dark is large."""
    hop, (rows, frames) = n_fft // 4, picture.shape
    x = (torch.arange(frames + 1) - 0.5) * hop
    y = (torch.arange(rows + 1) - 0.5) / n_fft
    ax.pcolormesh(x, y, picture / picture.max(), cmap="Greys", vmin=0, vmax=1)
    ax.set(xlim=(0, hop * (frames - 1)), ylim=(-0.06, 0.56))
    ax.set_yticks(*EIGHTHS)


fig, axes = plots.figure(2, 2, height=5, sharex=True, sharey=True)
for row, signal, what in zip(axes, (two_tones, spike), ("two tones", "spike")):
    for ax, n_fft in zip(row, (8, 32)):
        show(ax, magnitude(stft(signal, n_fft))[0, 0], n_fft)
        ax.set_title(f"{what}, n_fft = {n_fft}", fontsize=plots.TEXT)
for ax in axes[1]:
    ax.set_xlabel(plots.STEPS)
fig.supylabel("frequency (cycles per step)", fontsize=plots.TEXT)
fig

# %% tags=["nbval-check-output"]
power = {n_fft: (magnitude(stft(two_tones, n_fft))[0, 0, :, 4:-4] ** 2).mean(dim=1) for n_fft in (8, 32)}
nb.check("n_fft 8: strongest row", int(power[8].argmax()), 2)
nb.check("n_fft 32: the two strongest rows", sorted(power[32].topk(2).indices.tolist()), (6, 10))
nb.check("n_fft 32: power in row 8, where n_fft 8 has its peak", power[32][8], 0.0, atol=1e-9)
t = torch.arange(length, dtype=torch.float64)
product = 2 * torch.cos(2 * math.pi * 8 / 32 * t) * torch.cos(2 * math.pi * 2 / 32 * t)
nb.check("two tones are one tone that swells", two_tones[0, 0], product, atol=1e-9)
for n_fft in (8, 32):
    columns = (magnitude(stft(spike, n_fft))[0, 0].amax(dim=0) > 1e-9).sum()
    nb.check(f"n_fft {n_fft}: steps from first to last frame with the spike", int(columns - 1) * n_fft // 4, n_fft // 2)

# %% [markdown]
# The short frame needs care, though. The transform with $n_{fft} = 8$ throws nothing away: we will invert it to the last digit.
# But one column cannot show a slow rhythm. The tokenizer has to find it in the *sequence* of columns, and its convolutions
# look at several columns at once. With $n_{fft} = 8$ the time structure is served, and frequency is left to be learned.
#
# ## Where the power lies
#
# How much of the power lies in each row? The cell takes all train series of each set. The last line is white noise, for
# which all rows are nearly equal (the mirrored ends favour rows 0 and 4 a little).


# %%
def share_of_rows(x):
    """Share of the power in each of the five rows, over all series and frames."""
    power = (stft(x, 8) ** 2).sum(dim=(0, 1, 3))  # (F,)
    return power / power.sum()


scaled = {name: scale_by_train(ds.x_train, ds.x_train) for name, ds in sets.items()}
noise = torch.randn(cfg.noise_series, 1, 128, generator=generator)
shares = {name: share_of_rows(x) for name, x in (scaled | {"white noise": noise}).items()}
print(f"{'power in row':20}" + "".join(f"{k:8}" for k in range(5)))
for name, share in shares.items():
    print(f"{name:20}" + "".join(f"{100 * value:6.1f} %" for value in share))

# %% tags=["nbval-check-output"]
for name in ("GunPoint", "ArrowHead"):
    nb.check(f"{name}: share of row 0 and row 1", shares[name][:2], torch.tensor([0.8, 0.2]), atol=0.01)
nb.check("TwoPatternsGenerated: share of rows 2 to 4", shares["TwoPatternsGenerated"][2:].sum(), low=0.07, high=0.1)
nb.check("ACSF1: strongest row", int(shares["ACSF1"].argmax()), 2)

# %% [markdown]
# GunPoint and ArrowHead have 80 % in row 0 and 20 % in row 1. These are the numbers of a *constant*. Within 8 steps
# these series hardly move, so five rows of picture carry little more than a smoothed copy of the series. TwoPatterns
# has its edges and its noise in the upper rows. ACSF1 lives in row 2 and above. So the same front end means different
# things for different sets, and for smooth sets no single column tells the classes apart; their sequence
# does.
#
# ## Both parts are needed
#
# Figures show magnitudes. Why does the tokenizer get real *and* imaginary parts, two channels for one?
#
# Look at $x$ and $-x$. Every entry of the transform changes its sign, so every magnitude stays the same. In
# TwoPatterns a series of class no. 0 (fall, fall), turned upside down, is one of class no. 3 (rise, rise). (The classes are *named* 1 to 4 and *numbered* from 0.)
# In magnitudes those two classes are the same thing.
#
# The figure asks more. It takes apart what magnitude and phase know, where phase is the angle of the pair (real,
# imaginary). Left, only the magnitude is kept and every wave is turned so that it peaks at the centre of its frame:
# the real part is $(-1)^k$ times the magnitude, because row $k$'s cosine is $\cos(\pi k)$ there, the imaginary part 0. Right, only the phase is kept and all magnitudes
# are set to the same number. Both are sent back with `istft`, which we build in the next section. Look at the plateaus
# below zero: where do they come back?

# %%
up_down = int((sets["TwoPatternsGenerated"].y_train == 0).nonzero()[0])
x = scaled["TwoPatternsGenerated"][up_down : up_down + 1]  # (1, 1, 128)
u = stft(x, 8)  # (1, 2, 5, 65)
m = magnitude(u)  # (1, 1, 5, 65)
sign = torch.tensor([1.0, -1, 1, -1, 1])[:, None]  # (5, 1): a wave that peaks at the centre of the frame
no_phase = istft(torch.cat([sign * m, torch.zeros_like(m)], dim=1), 128, 8)
one_magnitude = istft(u / m.clamp(min=1e-9).repeat(1, 2, 1, 1) * m.mean(), 128, 8)
fig, axes = plots.figure(1, 2, height=3.6, sharey=True)
for ax, changed, what in zip(axes[0], (no_phase, one_magnitude), ("magnitude only", "phase only")):
    ax.plot(x[0, 0], color=plots.REAL, linewidth=2.5, label="series")
    ax.plot(changed[0, 0], color=plots.INK, linewidth=1.2, label="what comes back")
    ax.set_title(what, fontsize=plots.TEXT)
    ax.set_xlabel(plots.STEPS)
axes[0, 0].set_ylabel(plots.SCALED)
fig.legend(handles=ax.lines, loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
from ncvqvae_lite.data import SIGNS

nb.check("magnitudes of x and -x", magnitude(stft(-x, 8)), m, rtol=1e-6)
nb.check("signs of class no. 0 plus those of class no. 3", (SIGNS[0] + SIGNS[3]).tolist(), (0, 0))


def correlation(a, b):
    """Of two series (1, 1, L)."""
    return torch.corrcoef(torch.cat([a, b])[:, 0])[0, 1]


nb.check("magnitude only: correlation with the series", correlation(no_phase, x), low=-0.3, high=0.3)
nb.check("magnitude only: correlation with |x|", correlation(no_phase, x.abs()), low=0.8, high=1)
nb.check("phase only: correlation with the series", correlation(one_magnitude, x), low=0.5, high=0.8)

# %% [markdown]
# From the magnitude alone comes something like $|x|$: the plateaus have their height, but all of them point up, so the
# class is gone. The phase alone keeps signs and edges and loses the heights: plateaus shrink, noise grows. The
# tokenizer keeps both parts and pays with two channels. (An iteration can recover much of a series from its
# magnitudes, because neighbouring frames overlap; see the last exercise. The sign it can never recover.)
#
# ## The way back
#
# The inverse undoes the three steps in reverse order. First the matrix. A row $0 < k < n_{fft}/2$ stands for two: a wave with
# $k$ turns and its mirror image with $n_{fft} - k$ turns, which for real numbers carries the same information. So
#
# $$w_n x_n = \frac{1}{n_{fft}} \sum_{k=0}^{n_{fft}/2} g_k \left[ \mathrm{Re}_k \cos\!\left(\tfrac{2\pi k n}{n_{fft}}\right)
# - \mathrm{Im}_k \sin\!\left(\tfrac{2\pi k n}{n_{fft}}\right) \right],
# \qquad g_0 = g_{n_{fft}/2} = 1, \quad g_k = 2 \text{ otherwise.}$$
#
# This is again a matrix, $n_{fft} \times 2F$.


# %%
def inverse_dft_matrix(n_fft):
    """(n_fft, 2F): from real and imaginary parts to the windowed frame."""
    stands_for = torch.full((n_fft // 2 + 1, 1), 2.0, dtype=torch.float64)  # (F, 1)
    stands_for[[0, -1]] = 1
    cosines, minus_sines = dft_matrix(n_fft).chunk(2)  # (F, n_fft) each
    return torch.cat([stands_for * cosines, stands_for * minus_sines]).T / n_fft


print("inverse matrix times matrix, n_fft = 4:")
print((inverse_dft_matrix(4) @ dft_matrix(4)).abs().round(decimals=6))

# %% [markdown]
# Now we have the windowed frames $w_n x_n$, and each step of the series stands in up to four of them. Which value do we
# believe? The one with the smallest squared error over all frames. For step $t$, let $n_j$ be its place in frame $j$
# and $y_j$ the frame's value there. Minimise $\sum_j (w_{n_j} x_t - y_j)^2$ over $x_t$: set the derivative to zero and
# get (D. Griffin and J. Lim, IEEE Trans. ASSP 32(2), 1984, equation 6)
#
# $$x_t = \frac{\sum_j w_{n_j} \, y_j}{\sum_j w_{n_j}^2} .$$
#
# So: multiply the frames by the window *again*, lay them over each other with their shift and add (*overlap-add*), then
# divide by the *window energy*, the same sum for the squared window.


# %%
def overlap_add(pieces, hop):
    """Frames (..., W, n_fft), each `hop` steps after the one before, summed: (..., n_fft + hop (W - 1))."""
    frames, n_fft = pieces.shape[-2:]
    total = torch.zeros(*pieces.shape[:-2], n_fft + hop * (frames - 1), dtype=pieces.dtype)
    for j in range(frames):
        total[..., j * hop : j * hop + n_fft] += pieces[..., j, :]
    return total


def istft_by_hand(u, length, n_fft, hop=None):
    """Series (B, C, length) of spectrograms (B, 2C, F, W)."""
    hop, window = hop or n_fft // 4, hann(n_fft).to(u.dtype)
    parts = torch.cat(u.transpose(2, 3).chunk(2, dim=1), dim=-1)  # (B, C, W, 2F)
    pieces = parts @ inverse_dft_matrix(n_fft).to(u.dtype).T * window  # (B, C, W, n_fft)
    energy = overlap_add((window**2).expand(u.shape[3], n_fft), hop)  # (n_fft + hop (W - 1),)
    series = overlap_add(pieces, hop) / energy.clamp(min=1e-11)
    return series[..., n_fft // 2 : n_fft // 2 + length]  # without the mirrored ends


stairs = torch.arange(1.0, 7.0, dtype=torch.float64)[None, None]  # (1, 1, 6)
print("there and back:", istft_by_hand(stft_by_hand(stairs, 4), 6, 4)[0, 0].round(decimals=9).tolist())


# %% [markdown]
# PyTorch has both transforms, too, written by other people. First the one of chapter 1; then the inverse, with gradients.


# %% tags=["nbval-check-output"]
def torch_stft(x, n_fft):
    """torch.stft for (B, C, L), in the package's layout."""
    window = torch.hann_window(n_fft, dtype=x.dtype)
    z = torch.stft(x.flatten(0, 1), n_fft, n_fft // 4, window=window, return_complex=True)  # (B*C, F, W)
    z = z.unflatten(0, x.shape[:2])  # (B, C, F, W)
    return torch.cat([z.real, z.imag], dim=1)


x = torch.randn(2, 3, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
nb.check("package and torch", stft(x, 8), torch_stft(x, 8), rtol=1e-9, atol=1e-9)
nb.check("by hand and torch", stft_by_hand(x, 8), torch_stft(x, 8), rtol=1e-9, atol=1e-9)


# %% tags=["nbval-check-output"]
def torch_istft(u, length, n_fft):
    """torch.istft for the package's layout."""
    z = torch.complex(*u.chunk(2, dim=1))  # (B, C, F, W)
    window = torch.hann_window(n_fft, dtype=u.dtype)
    series = torch.istft(z.flatten(0, 1), n_fft, n_fft // 4, window=window, length=length)
    return series.unflatten(0, z.shape[:2])


u = torch.randn(2, 6, 5, 17, dtype=torch.float64, generator=generator, requires_grad=True)  # not from any series
weight = torch.randn(2, 3, 33, dtype=torch.float64, generator=generator)
voices = {"by hand": istft_by_hand(u, 33, 8), "package": istft(u, 33, 8), "torch": torch_istft(u, 33, 8)}
gradients = {name: torch.autograd.grad((weight * voice).sum(), u)[0] for name, voice in voices.items()}
for n_fft in (4, 8, 32):
    both = inverse_dft_matrix(n_fft) @ dft_matrix(n_fft)
    nb.check(f"inverse of the matrix, n_fft {n_fft}", both, torch.eye(n_fft), atol=1e-9)
for name in ("by hand", "torch"):
    nb.check(f"{name}: values as in the package", voices[name], voices["package"], rtol=1e-9, atol=1e-9)
    nb.check(f"{name}: gradients as in the package", gradients[name], gradients["package"], rtol=1e-9, atol=1e-9)

# %% [markdown]
# ### Why the window a second time?
#
# There is a simpler way. The windows themselves add up to 2 at every step, so $\sum_j y_j / \sum_j w_{n_j}$ brings the
# series back too. The two ways differ when the picture is *not* exactly a spectrogram, as the output of a network
# never is. Say that each $y_j$ has an error of variance $\sigma^2$, independent of the others. The simple way adds
# four errors and divides by 2: variance $4 \sigma^2 / 2^2 = \sigma^2$. Least squares trusts the middle of a frame more
# than its faded ends: variance $\sum w^2 \sigma^2 / (\sum w^2)^2 = \sigma^2 / 1.5$. A third of the error power is
# gone.


# %%
def simple_inverse(u, length):
    """Adds the frames as they are and divides by the sum of the windows."""
    parts = torch.cat(u.transpose(2, 3).chunk(2, dim=1), dim=-1)  # (B, C, W, 10)
    pieces = parts @ inverse_dft_matrix(8).to(u.dtype).T  # (B, C, W, 8)
    total = overlap_add(hann(8).to(u.dtype).expand(u.shape[3], 8), 2)
    return (overlap_add(pieces, 2) / total)[..., 4 : 4 + length]


x = torch.randn(cfg.noise_series, 1, 128, dtype=torch.float64, generator=generator)
u = stft(x, 8)
off = u + torch.randn(u.shape, dtype=torch.float64, generator=generator)  # a picture that is not quite one
error = {"simple": (simple_inverse(off, 128) - x)[..., 4:-4], "least squares": (istft(off, 128, 8) - x)[..., 4:-4]}
ratio = ((error["least squares"] ** 2).mean() / (error["simple"] ** 2).mean()).item()
print(f"error power, least squares : simple = {ratio:.3f}")
nb.record("17", "error power, least squares : simple", ratio)

# %% tags=["nbval-check-output"]
nb.check("simple way, exact spectrogram", simple_inverse(u, 128), x, atol=1e-9)
nb.check("error power, least squares : simple (expected: 2/3)", ratio, low=0.65, high=0.685)

# %% [markdown]
# ### Which hops work
#
# The division needs an energy that is nowhere zero. Look at the sum of shifted squared windows for three hops. For
# $h = n_{fft}/4$ it is constant, 1.5: every step is seen equally well. For $h = n_{fft}/2$ it swings between 0.5 and 1. The
# division still repairs that exactly, but where the sum is small, an error in the spectrogram counts twice as much.
# For $h = n_{fft}$ the frames do not overlap. The window is zero at its first step, so every eighth step is multiplied by
# zero and lost.

# %%
fig, axes = plots.figure(1, 3, height=3.2, sharey=True)
energies = {}
for ax, hop in zip(axes[0], (2, 4, 8)):
    squared = (hann(8) ** 2).expand(32 // hop, 8)  # (frames, 8)
    energies[hop] = overlap_add(squared, hop)[8:24]  # away from the ends
    for start in range(0, 24, hop):
        bump = torch.cat([squared[0], squared[0, :1]])  # (9,)
        ax.plot(torch.arange(start, start + 9), bump, "--", color=plots.REAL, zorder=3, label="of one frame")
    ax.plot(torch.arange(8, 24), energies[hop], "o-", color=plots.INK, markersize=4, linewidth=3, label="sum")
    ax.set_title(f"h = {hop}", fontsize=plots.TEXT)
    ax.set(xlim=(8, 23), ylim=(-0.05, 1.7), xlabel="step")
axes[0, 0].set_ylabel("squared window")
fig.legend(handles=ax.lines[-2:], loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% tags=["nbval-check-output"]
nb.check(
    "h = n_fft/4: energy is 3 n_fft/8 / (n_fft/4) = 1.5 everywhere", energies[2], torch.full((16,), 1.5), atol=1e-12
)
swing = torch.stack([energies[4].min(), energies[4].max()])
nb.check("h = n_fft/2: smallest and largest energy", swing, torch.tensor([0.5, 1.0]), atol=1e-12)
nb.check("h = n_fft: steps with energy 0 among 16", int((energies[8] < 1e-12).sum()), 2)
x = torch.randn(1, 1, 32, dtype=torch.float64, generator=generator)
returned = {hop: istft_by_hand(stft_by_hand(x, 8, hop), 32, 8, hop) for hop in (2, 4, 8)}
nb.check("h = n_fft/4: round trip", returned[2], x, atol=1e-9)
nb.check("h = n_fft/2: round trip", returned[4], x, atol=1e-9)
lost = ((returned[8] - x).abs() > 1e-6).nonzero()[:, 2].tolist()
nb.check("h = n_fft: steps that do not come back", lost, (4, 12, 20, 28))

# %% [markdown]
# ## There and back
#
# How exact is the round trip in the precision that training uses (float32, about 7 digits)? Even and odd lengths, one
# channel and three. Then the same with `torch.istft` when nobody tells it the length, as in the reference.

# %%
print("  L  C  largest error of istft(stft(x))")
errors = []
for length in (64, 65):
    for channels in (1, 3):
        x = torch.randn(4, channels, length, generator=generator)
        errors.append((istft(stft(x, 8), length, 8) - x).abs().max().item())
        print(f"{length:3} {channels:2}  {errors[-1]:.0e}")
untold = {length: torch_istft(stft(torch.randn(1, 1, length), 8), None, 8).shape[-1] for length in (64, 65, 945)}
print("without a length:", ", ".join(f"{length} steps -> {back}" for length, back in untold.items()))

# %% tags=["nbval-check-output"]
nb.check("largest error of the round trip", max(errors), low=0, high=2e-6)
nb.check("steps that come back without a length", list(untold.values()), (64, 64, 944))

# %% [markdown]
# Nothing is lost but rounding. The reference, however, calls the inverse without a length, so it returns
# $h \, (W - 1) = 2 \lfloor L/2 \rfloor$ steps: of an odd series the last step is dropped. Of the thesis' sets this hits
# SonyAIBORobotSurface2 (65 → 64) and UWaveGestureLibraryAll (945 → 944). The package can do both: its preset `paper`
# drops the step, `quick` and `improved` keep it.
#
# ## How large are the numbers?
#
# The loss of the tokenizer has two terms: the squared error of the series and that of its spectrogram. Are they of the
# same size? Let the series be white noise of variance 1: independent values. An entry of the spectrogram is a sum of
# such values times fixed numbers, so its variance is the sum of the squares of these numbers:
#
# $$\mathrm{E}\,\mathrm{Re}_k^2 = \sum_n w_n^2 \cos^2\!\left(\tfrac{2\pi k n}{n_{fft}}\right), \qquad
# \mathrm{E}\left[\mathrm{Re}_k^2 + \mathrm{Im}_k^2\right] = \sum_n w_n^2 = \tfrac{3}{8} n_{fft} = 3 .$$
#
# Every row has the same power, 3, because $\cos^2 + \sin^2 = 1$. How real and imaginary part share it depends on the
# row.

# %%
inner = stft(noise, 8)[..., 2:-2]  # frames without mirrored values: (B, 2, 5, 61)
measured = (inner.double() ** 2).mean(dim=(0, 3))  # (2, 5)
predicted = ((dft_matrix(8) * hann(8)) ** 2).sum(dim=1).reshape(2, 5)
print("row                 ", "".join(f"{k:8}" for k in range(5)))
for part, name in enumerate(("real", "imaginary")):
    print(f"{name:10} predicted ", "".join(f"{value:8.3f}" for value in predicted[part]))
    print(f"{name:10} measured  ", "".join(f"{value:8.3f}" for value in measured[part]))
nb.record("17", "power of an entry for unit noise", measured.sum(dim=0).mean().item())

# %% tags=["nbval-check-output"]
exact = torch.tensor([[3, 1.75, 1.5, 1.75, 3], [0, 1.25, 1.5, 1.25, 0]])
nb.check("predicted power (real and imaginary by row)", predicted, exact, atol=1e-12)
nb.check("window energy, 3 n_fft/8", (hann(8) ** 2).sum(), 3.0, rtol=1e-12)
nb.check("measured power, mean over rows", measured.sum(dim=0).mean(), low=2.9, high=3.1)
nb.check("mean of all ten parts: spectral error per unit of series error", predicted.mean(), 1.5, rtol=1e-12)

# %% [markdown]
# So a white error of variance $\sigma^2$ in the series is an error of $1.5\,\sigma^2$ per entry in the spectrogram: the
# two terms of the loss are of the same size, and the spectrogram counts a little more. Two of the ten parts are always
# zero; the network has to learn that.
#
# ## How much of a spectrogram is free?
#
# A series of 128 steps has a spectrogram of $2 \cdot 5 \cdot 65 = 650$ numbers, five times as many. They cannot all be
# free. Some are always zero: the imaginary parts of rows 0 and 4, and of the whole first frame, which is its own
# mirror image. The others depend on each other. The transform is linear, so it is one big matrix $S$. For a short
# series we can write it down: feed in the unit vectors. Its *rank* is the number of directions in which spectrograms
# of real series can differ.

# %%
units = torch.eye(16, dtype=torch.float64)[:, None]  # (16, 1, 16): a spike at each step
S = stft(units, 8).flatten(1).T  # (90, 16): one column per step
R = istft(torch.eye(90, dtype=torch.float64).reshape(90, 2, 5, 9), 16, 8)[:, 0].T  # (16, 90): the way back
P = S @ R  # (90, 90): to a series and back to a spectrogram
print("S", tuple(S.shape), "rank", int(torch.linalg.matrix_rank(S)))
print("R S is the identity:", torch.allclose(R @ S, torch.eye(16, dtype=torch.float64)))
print("S R is not:", tuple(P.shape), "rank", int(torch.linalg.matrix_rank(P)))

# %% [markdown]
# 90 numbers, 16 of them free. In one direction everything is exact: series → spectrogram → series gives the series,
# $R S = 1$. In the other it is not. Take a *random* picture $u$, turn it into a series and that into a spectrogram.
# The result $P u = S R u$ is another picture, one that belongs to a series. Apply $P$ again and nothing changes,
# because $P P = S (R S) R = S R = P$. Such a matrix is a *projection*.

# %%
u = torch.randn(50, 2, 5, 65, dtype=torch.float64, generator=generator)
once = stft(istft(u, 128, 8), 8)
twice = stft(istft(once, 128, 8), 8)
kept = ((once**2).sum() / (u**2).sum()).item()
print(f"power of a random picture that survives: {kept:.3f}; 128 of 650 is {128 / 650:.3f}")
print(f"largest change at the second time: {(twice - once).abs().max():.0e}")
nb.record("17", "power of a random picture that survives", kept)

# %% tags=["nbval-check-output"]
nb.check("numbers in the spectrogram of 128 steps", stft(torch.zeros(1, 1, 128), 8).numel(), 650)
nb.check("rank of S and of P for 16 steps", [int(torch.linalg.matrix_rank(A)) for A in (S, P)], (16, 16))
nb.check("R S, series to series", R @ S, torch.eye(16), atol=1e-9)
nb.check("P P, applied twice", P @ P, P, atol=1e-9)
nb.check("a random picture comes back changed: share of its power", kept, low=0.18, high=0.25)
nb.check("the second time it does not change", twice, once, atol=1e-9)
always_zero = [stft(noise, 8)[:, 1, k].abs().max() for k in (0, 4)] + [stft(noise, 8)[:, 1, :, 0].abs().max()]
nb.check("imaginary parts of row 0, row 4, first frame", torch.stack(always_zero), torch.zeros(3), atol=1e-5)

# %% [markdown]
# About a fifth of the power survives, as 128 free numbers of 650 suggest. (Not exactly: least squares counts the inner
# rows twice, because they stand for two.)
#
# Why does this matter? The decoder of the tokenizer puts out a picture $\hat u$, 650 numbers, and nothing forces it to
# be the spectrogram of a series. The series that we get is $R \hat u$; whatever part of $\hat u$ the projection removes
# is simply not heard. The loss on the series does not see that part, the loss on the spectrogram does. And redundancy
# has a good side: an error in one entry is averaged with its neighbours by overlap-add.
#
# ## Recorded runs
#
# Mean and standard deviation of this chapter's random numbers over seeds. With more series (preset `paper`) the spread
# should shrink; a mean that moves with the preset by more than a few spreads would be a mistake in the chapter.

# %%
print(nb.recorded_runs("17"))

# %% [markdown]
# ## What to take along
#
# - Per-series scaling destroys level and amplitude. Whether that hurts depends on what the class is and on what reads it.
# - A window of 8 steps knows well *when* and badly *which frequency*; the Hann window pays with width for less leakage.
#   Smooth sets like GunPoint use two of the five rows.
# - Magnitudes lose the sign. With both parts the round trip is exact, and least squares, the window a second time, keeps
#   a third of the error power out.
# - Most pictures are not spectrograms: what a decoder puts out is projected on its way to a series.

# %% [markdown]
# ## Exercises
#
# Each exercise is a function to write and a check that tells whether it is right. Letters as in the chapter: the hop is
# $n_{fft}/4$, a spectrogram is $(B, 2C, F, W)$ with the real parts first.

# %%
import math

import torch

from ncvqvae_lite import nb
from ncvqvae_lite.timefreq import istft, stft


def frames_of(x, n_fft):
    """Windowed frames (B, C, W, n_fft) of series (B, C, L), ends mirrored, hop n_fft/4."""
    padded = torch.nn.functional.pad(x, (n_fft // 2, n_fft // 2), mode="reflect")
    return padded.unfold(-1, n_fft, n_fft // 4) * torch.hann_window(n_fft, dtype=x.dtype)


print("frames of 2 series with 3 channels of 17 steps:", tuple(frames_of(torch.zeros(2, 3, 17), 8).shape))


# %%
def magnitude(u):
    """(B, 2C, F, W) -> (B, C, F, W)."""
    real, imag = u.chunk(2, dim=1)
    return (real**2 + imag**2).sqrt()


def without_phase(m):
    """Magnitudes (B, C, F, W) as a spectrogram (B, 2C, F, W) whose waves all peak at the centre of their frames."""
    sign = (-1.0) ** torch.arange(m.shape[2], dtype=m.dtype)[:, None]  # (F, 1)
    return torch.cat([sign * m, torch.zeros_like(m)], dim=1)


print("a spectrogram without phase:", tuple(without_phase(torch.ones(2, 3, 5, 9)).shape))

# %% [markdown]
# ### 17.1 Energy without leaving the spectrogram `**`
# The matrix of the transform is, up to a factor, a rotation. So the energy of a frame, the sum of its squared
# (windowed) values, must be readable from its column of the spectrogram. Without the halving of the rows the formula is
# $\sum_n y_n^2 = \frac{1}{n_{fft}} \sum_{k=0}^{n_{fft}-1} (\mathrm{Re}_k^2 + \mathrm{Im}_k^2)$, where $y_n = w_n x_n$ (Parseval). You
# only have rows $0 \dots n_{fft}/2$. Which rows stand for two?


# %% tags=["exercise"]
def energy_of_frames(u):
    """Energy of each windowed frame.

    u        (B, 2C, F, W) spectrogram
    returns  (B, C, W)
    """
    # solution: how many rows of the full transform does each row stand for? Weigh, add up, divide
    real, imag = u.chunk(2, dim=1)  # (B, C, F, W) each
    power = real**2 + imag**2
    n_fft = 2 * (u.shape[2] - 1)
    inner = power[:, :, 1:-1].sum(dim=2)  # (B, C, W)
    return (power[:, :, 0] + 2 * inner + power[:, :, -1]) / n_fft
    # end of solution


# %% tags=["nbval-check-output"]
def check_energy_of_frames(answer):
    tone = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(16)[None, None]  # all in the last two rows
    noise = torch.randn(2, 3, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    series = {"constant": torch.ones(1, 1, 32, dtype=torch.float64), "alternating": tone, "noise, C = 3": noise}
    for name, x in series.items():
        for n_fft in (8, 16):
            expected = (frames_of(x, n_fft) ** 2).sum(dim=-1)  # (B, C, W)
            hint = "how often does each row count? Use both parts; what divides?"
            nb.check(f"{name}, n_fft {n_fft}", answer(stft(x, n_fft)), expected, rtol=1e-9, atol=1e-12, hint=hint)


nb.examine(check_energy_of_frames, energy_of_frames)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# The wave with $n_{fft} - k$ turns takes at whole steps the same values as the one with $k$ turns, backwards. Which $k$ is
# its own partner? $n_{fft}$ follows from $F$.
#
# </details>


# %% tags=["solution"]
def wrong_all_rows_once(u):
    """forgets the mirror images"""
    real, imag = u.chunk(2, dim=1)
    return (real**2 + imag**2).sum(dim=2) / (2 * (u.shape[2] - 1))


def wrong_all_rows_twice(u):
    """doubles the first and the last row too"""
    return 2 * wrong_all_rows_once(u)


def wrong_divides_by_rows(u):
    """divides by the number of rows in place of n_fft"""
    return energy_of_frames(u) * (2 * (u.shape[2] - 1)) / u.shape[2]


def wrong_first_part_only(u):
    """takes the real part for the whole"""
    real = u.chunk(2, dim=1)[0]
    return energy_of_frames(torch.cat([real, torch.zeros_like(real)], dim=1))


nb.refused(check_energy_of_frames, wrong_all_rows_once, wrong_all_rows_twice)
nb.refused(check_energy_of_frames, wrong_divides_by_rows, wrong_first_part_only)

# %% [markdown]
# ### 17.2 The constant that is not constant `**`
# The window energy is 1.5 at hop $n_{fft}/4$, so a colleague divides by 1.5 everywhere and saves the second overlap-add. In
# the middle of a series this works. Find out what it does at the ends: each step $x_t$ comes back as $a_t x_t$. Write
# the function that predicts $a_t$, from the window alone, without a spectrogram. The check runs the colleague's inverse
# on random series.


# %% tags=["exercise"]
def gain_at_each_step(length, n_fft):
    """Factor by which each step is wrong when 1.5 replaces the window energy.

    length   L
    returns  (L,) float64 tensor
    """
    # solution: which of the W frames cover a step, and with which weight? Compare with 1.5
    hop = n_fft // 4
    squared = torch.hann_window(n_fft, dtype=torch.float64) ** 2
    energy = torch.zeros(length + n_fft, dtype=torch.float64)
    for start in range(0, length + 1, hop):
        energy[start : start + n_fft] += squared
    return energy[n_fft // 2 : n_fft // 2 + length] / 1.5
    # end of solution


# %% tags=["nbval-check-output"]
def check_gain_at_each_step(answer):
    for length, n_fft in ((16, 8), (17, 8), (40, 16)):
        x = torch.randn(1, 1, length, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        pieces = frames_of(x, n_fft) * torch.hann_window(n_fft, dtype=torch.float64)  # (1, 1, W, n_fft)
        total = torch.zeros(length + n_fft, dtype=torch.float64)
        for j in range(pieces.shape[2]):
            total[j * n_fft // 4 : j * n_fft // 4 + n_fft] += pieces[0, 0, j]
        colleague = total[n_fft // 2 : n_fft // 2 + length] / 1.5
        gain = answer(length, n_fft)
        kind = f"{tuple(gain.shape)} {gain.dtype}"
        nb.check(f"one factor per step, L {length}", kind, f"({length},) torch.float64", hint="L factors in float64")
        hint = "which frames cover the first steps, and which the last? The last frame depends on L being even or odd"
        nb.check(f"factor times series, L {length}, n_fft {n_fft}", gain * x[0, 0], colleague, atol=1e-9, hint=hint)


nb.examine(check_gain_at_each_step, gain_at_each_step)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Frame $j$ covers the steps $jh - n_{fft}/2$ to $jh + n_{fft}/2 - 1$ of the series, and $j$ runs from 0 to $W - 1$. Steps near an
# end lack the frames that would be centred outside.
#
# </details>


# %% tags=["solution"]
def wrong_believes_it(length, n_fft):
    """believes that the energy is 1.5 at the ends too"""
    return torch.ones(length, dtype=torch.float64)


def wrong_float32(length, n_fft):
    """computes in float32"""
    return gain_at_each_step(length, n_fft).float()


def wrong_keeps_the_mirrored_part(length, n_fft):
    """forgets to cut off the n_fft/2 mirrored values in front"""
    energy = torch.zeros(length + n_fft, dtype=torch.float64)
    for start in range(0, length + 1, n_fft // 4):
        energy[start : start + n_fft] += torch.hann_window(n_fft, dtype=torch.float64) ** 2
    return energy[:length] / 1.5


def wrong_mirrors_the_start(length, n_fft):
    """takes the last steps for a mirror image of the first ones, which fails for even L"""
    gain = gain_at_each_step(length, n_fft)
    gain[-(length // 2) :] = gain[: length // 2].flip(0)
    return gain


nb.refused(check_gain_at_each_step, wrong_believes_it, wrong_keeps_the_mirrored_part, wrong_mirrors_the_start)
nb.refused(check_gain_at_each_step, wrong_float32)

# %% [markdown]
# ### 17.3 A series from its magnitude `**`
# The magnitude alone, sent back with waves that all peak at the centre of their frames (`without_phase` above), gave
# something like $|x|$. D. Griffin and J. Lim (1984) found an iteration that does better. Start there. Then repeat:
# *project* the picture (to a series and back to a spectrogram), and give it the *wanted magnitude* again, keeping the
# phase that the projection brought. After the last round return the series. The `m` that is given stays as it is.
#
# Why should it help? The projection makes neighbouring frames agree on what they share, and that moves their phases.


# %% tags=["exercise"]
def series_of_magnitude(m, length, n_fft, rounds):
    """A series whose spectrogram has nearly the magnitude m.

    m        (B, C, F, W) wanted magnitudes
    rounds   how often to project
    returns  (B, C, length)
    """
    # solution: what is the start, and which two things happen in each round?
    wanted = m.repeat(1, 2, 1, 1)  # (B, 2C, F, W), for both parts
    u = without_phase(m)
    for _ in range(rounds):
        u = stft(istft(u, length, n_fft), n_fft)
        u = wanted * u / magnitude(u).clamp(min=1e-12).repeat(1, 2, 1, 1)
    return istft(u, length, n_fft)
    # end of solution


# %% tags=["nbval-check-output"]
def check_series_of_magnitude(answer):
    x = 1e-3 * torch.randn(4, 2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x[0, 1] = 0  # a channel that was switched off has magnitude 0
    for length, n_fft in ((64, 16), (40, 8)):
        m = magnitude(stft(x[..., :length], n_fft))
        expected, far = istft(without_phase(m), length, n_fft), {}
        for rounds in (0, 1, 2, 3, 200):
            found = answer(given := m.clone(), length, n_fft, rounds)
            far[rounds] = (magnitude(stft(found, n_fft)) - m).norm()
            hint = "in each of the rounds project, keep that phase, put the wanted magnitude; a clamp far below m"
            hint = "0 / 0 is no number, and a channel may be switched off" if found.isnan().any() else hint
            hint = hint if rounds else "which start is asked for?"
            if rounds < 4:
                nb.check(f"L {length}, {rounds} rounds: m stays", bool((given == m).all()), True, hint="work on a copy")
                nb.check(f"{rounds} rounds: series", found, expected, atol=1e-6, hint=hint)
            real, imag = stft(expected, n_fft).chunk(2, dim=1)
            turn = torch.atan2(imag, real)
            expected = istft(torch.cat([m * turn.cos(), m * turn.sin()], dim=1), length, n_fft)
        nb.check(f"L {length}: distance to m, 200 rounds : none", far[200] / far[0], low=0, high=0.5, hint=hint)


nb.examine(check_series_of_magnitude, series_of_magnitude)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# `u / magnitude(u)`, for both parts, has magnitude 1 and the phase of `u`. Divide by a clamped magnitude.
#
# </details>


# %% tags=["solution"]
def wrong_only_projects(m, length, n_fft, rounds):
    """projects again and again, but never puts the wanted magnitude back"""
    u = without_phase(m)
    for _ in range(rounds):
        u = stft(istft(u, length, n_fft), n_fft)
    return istft(u, length, n_fft)


def wrong_never_projects(m, length, n_fft, rounds):
    """puts the wanted magnitude back, but never projects"""
    u = without_phase(m)
    for _ in range(rounds):
        u = m.repeat(1, 2, 1, 1) * u / magnitude(u).clamp(min=1e-12).repeat(1, 2, 1, 1)
    return istft(u, length, n_fft)


def wrong_scales_parts_apart(m, length, n_fft, rounds):
    """gives real and imaginary part each the wanted magnitude"""
    u = without_phase(m)
    for _ in range(rounds):
        u = m.repeat(1, 2, 1, 1) * stft(istft(u, length, n_fft), n_fft).sign()
    return istft(u, length, n_fft)


def wrong_one_round_less(m, length, n_fft, rounds):
    """stops one round early"""
    return series_of_magnitude(m, length, n_fft, max(rounds - 1, 0))


def wrong_hundred_rounds(m, length, n_fft, rounds):
    """goes on for a hundred rounds whatever is asked"""
    return series_of_magnitude(m, length, n_fft, 100 * (rounds > 0))


def wrong_large_clamp(m, length, n_fft, rounds):
    """clamps at a magnitude that is not small here"""
    u = without_phase(m)
    for _ in range(rounds):
        u = stft(istft(u, length, n_fft), n_fft)
        u = m.repeat(1, 2, 1, 1) * u / magnitude(u).clamp(min=1e-3).repeat(1, 2, 1, 1)
    return istft(u, length, n_fft)


def wrong_divides_by_zero(m, length, n_fft, rounds):
    """divides by a magnitude that may be 0"""
    u = without_phase(m)
    for _ in range(rounds):
        u = stft(istft(u, length, n_fft), n_fft)
        u = m.repeat(1, 2, 1, 1) * u / magnitude(u).repeat(1, 2, 1, 1)
    return istft(u, length, n_fft)


def wrong_moves_m(m, length, n_fft, rounds):
    """writes what it reached into the m that it was given"""
    x = istft(without_phase(m), length, n_fft)
    if rounds:
        m.copy_(1.01 * magnitude(stft(x, n_fft)))
    return x


nb.refused(check_series_of_magnitude, wrong_only_projects, wrong_never_projects, wrong_scales_parts_apart)
nb.refused(check_series_of_magnitude, wrong_one_round_less, wrong_hundred_rounds, wrong_large_clamp)
nb.refused(check_series_of_magnitude, wrong_divides_by_zero, wrong_moves_m)
