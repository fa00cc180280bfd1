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
# # 1. Series and spectrograms
#
# A series is scaled, turned into a small picture of frequency against time, and the picture into a row of numbers, the
# tokens. What does each step do, and what does it lose?
#
# - **Goals**: after it you can say what a series, a batch and a split are here; scale a data set and say what that keeps;
#   build a short-time Fourier transform from a matrix product; read a spectrogram of five rows; turn series into tokens
#   and back
# - **Before**: matrix products; sine and cosine; PyTorch tensors
# - **Time**: 10 seconds of computing
# - **Data**: TwoPatternsGenerated, made here; GunPoint, ArrowHead (UCR archive) and BasicMotions (UEA archive), bundled
#   with aeon
# - **Answers**: the front end of the paper ([arXiv 2408.16613](https://arxiv.org/abs/2408.16613)), taken over from
#   TimeVQVAE ([arXiv 2303.04743](https://arxiv.org/abs/2303.04743)): one scalar mean and deviation for all series, then
#   a spectrogram with windows of 8 steps, 2 steps apart

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
from ncvqvae_lite import nb

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(preset, seed, codes=32, train_series=(300, 1000), test_series=(300, 1000))

# %% [markdown]
# ![](drawings/tokens.svg)
#
# What the tokenizer makes of a series, and the way back. This chapter does it without the two networks, which come in chapter 5.

# %% [markdown]
# ## What a series is here
#
# A *series* is a list of $L$ numbers, one per time step. A recording may have several of them at once: $C$ channels,
# for example the three axes of an accelerometer. A *batch* holds $B$ series of equal length in one tensor of shape
# $(B, C, L)$. Wherever this course passes series to a function, they have that shape, also for $B = 1$ or $C = 1$.
#
# A *data set* is two fixed batches. The *train split* is for learning, the *test split* only for judging. Nothing may
# be computed from the test split and then used in training, not even a mean. A *label* is a number $0 \dots k-1$ for
# the class of a series. The tokenizer never sees it; labels return in later chapters.
# [`ncvqvae_lite/data.py`](../ncvqvae_lite/data.py) loads and checks all this.

# %%
from ncvqvae_lite.data import load_dataset

names = ("TwoPatternsGenerated", "GunPoint", "ArrowHead", "BasicMotions")
sets = {name: load_dataset(name, root=nb.data_dir()) for name in names}
print(f"{'':20}  train   test  C     L  classes")
for name, ds in sets.items():
    print(f"{name:20} {len(ds.x_train):6} {len(ds.x_test):6} {ds.channels:2} {ds.length:5} {ds.n_classes:8}")

# %% [markdown]
# GunPoint follows a hand that draws a gun or only points. ArrowHead walks around the outline of an arrow head.
# BasicMotions is a smart watch on a wrist. TwoPatternsGenerated is artificial: two patterns in noise, each a *fall* (first high,
# then low) or a *rise* (first low, then high). Which two come in which order is the class; their places are random.
#
# Look for what separates the classes in each panel. Is it a level, a shape, or a place in time? And how fast do the
# curves change from one step to the next?

# %%
from ncvqvae_lite import plots


def first_of_each_class(ds):
    """Index of the first train series of each class."""
    return [int((ds.y_train == label).nonzero()[0]) for label in range(ds.n_classes)]


fig, axes = plots.figure(1, 3, height=3.2)
for ax, name in zip(axes[0], ("GunPoint", "ArrowHead", "TwoPatternsGenerated")):
    for label, row in enumerate(first_of_each_class(sets[name])):
        ax.plot(sets[name].x_train[row, 0], color=plots.CLASS_COLOURS[label], linewidth=1.5, label=f"class no. {label}")
    ax.set_title(f"{name}\nL = {sets[name].length}", fontsize=plots.SMALL)
    ax.set_xlabel(plots.STEPS)
axes[0, 0].set_ylabel("value (as in the file)")
fig.legend(handles=ax.lines, loc="outside lower center", ncols=4, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# GunPoint and ArrowHead: a shape (small bumps beside the plateau, the form of the valley), and slow curves. TwoPatterns: an order of
# falls and rises, with jumps; its lines cover each other, so follow one colour.

# %% tags=["nbval-check-output"]
import torch

batch = sets["BasicMotions"].x_train[:8]
nb.check("8 series of BasicMotions (B, C, L)", batch.shape, (8, 6, 100))
nb.check("series of ArrowHead drawn", len(first_of_each_class(sets["ArrowHead"])), 3)
for name, ds in sets.items():
    distance = torch.cdist(ds.x_test.flatten(1), ds.x_train.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    nb.check(f"{name}: test series that are also in train", int((distance == 0).any(dim=1).sum()), 0)

# %% [markdown]
# ## Two ways to scale
#
# Networks like values around 1. There are two ways to get there. *Per series* (z-normalisation): each series is shifted
# by its own mean and divided by its own standard deviation. *Global*: one mean and one deviation, two numbers, computed
# once over all values of the train split and used for every series.
#
# Take two series that you can check with a pencil: the second is three times the first, plus 5.


# %%
def z_normalise(x):
    """Each series (and channel) by its own mean and population standard deviation: (B, C, L) -> (B, C, L)."""
    return (x - x.mean(dim=-1, keepdim=True)) / x.std(dim=-1, correction=0, keepdim=True)


def scale_by_train(train, x):
    """Every value by the same two numbers, the mean and the population standard deviation of the train split."""
    mean, std = train.double().mean(), train.double().std(correction=0)
    return ((x.double() - mean) / std).float()


small = torch.tensor([0.0, 1.0, 0.0, -1.0])
pair = torch.stack([small, 3 * small + 5])[:, None]  # (2, 1, 4)
print("per series\n", z_normalise(pair)[:, 0])
print("global\n", scale_by_train(pair, pair)[:, 0])

# %% [markdown]
# After per-series scaling the two cannot be told apart: level and amplitude are gone. Global scaling keeps the
# differences between series, and two numbers undo it. The thesis scales globally, and so does the package. Many sets of
# the UCR archive, however, come z-normalised. [Chapter 17](17_spectrograms.ipynb) measures what that costs, and where
# it pays.

# %% tags=["nbval-check-output"]
from ncvqvae_lite.experiment_stages import scale

twins = z_normalise(pair)
nb.check("z-normalised pencil series are twins", twins[1], twins[0], atol=1e-6)
motions = sets["BasicMotions"]
ours, package = scale_by_train(motions.x_train, motions.x_test), scale(motions, torch.device("cpu")).x_test
nb.check("test split scaled here and by the package", ours, package, rtol=1e-5, atol=1e-6)

# %% [markdown]
# ## Frames: cutting the series
#
# The *short-time Fourier transform* (STFT) asks at many places of the series: which frequencies are present *here*? Cut
# the series into overlapping pieces, the *frames*. Fade each piece out at both ends with a *window*. Multiply each piece
# with a matrix of sines and cosines.
#
# Three numbers say how: $n_{fft}$, the number of steps in a frame; the *hop* $h$, the number of steps from one frame to
# the next; and $W$, the number of frames, which become the columns of the picture. The paper has $n_{fft} = 8$ and
# $h = 2$. For the pencil we take $n_{fft} = 4$ and $h = 1$.
#
# Frame $j$ is centred on step $jh$. The first one therefore begins $n_{fft}/2$ steps *before* the series. The missing
# values are mirrored at the first and the last step, which themselves are not repeated.


# %%
def frames_of(x, n_fft, hop):
    """Pieces of the series with mirrored ends, one every `hop` steps: (B, C, L) -> (B, C, W, n_fft)."""
    length = x.shape[-1]
    place = torch.arange(-(n_fft // 2), length + n_fft // 2).abs()  # left of step 0: mirrored
    place = (length - 1) - (length - 1 - place).abs()  # right of step L - 1: mirrored
    padded = x[..., place]  # (B, C, L + n_fft)
    starts = torch.arange(0, length + 1, hop)  # (W,), W = L // hop + 1
    return padded[..., starts[:, None] + torch.arange(n_fft)]  # (B, C, W, n_fft)


stairs = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=torch.float64)[None, None]  # (1, 1, 6)
frames_of(stairs, n_fft=4, hop=1)[0, 0]

# %% [markdown]
# The third frame, `1 2 3 4`, is the first one that lies inside the series. In each row the third number is the centre.
#
# ## A matrix that asks for frequencies
#
# A frame that is simply cut out has jumps at its ends that are not in the series. The *Hann window* fades them out:
# $w_n = \frac12 - \frac12 \cos(2\pi n / n_{fft})$ for $n = 0 \dots n_{fft}-1$.
#
# Then row $k$ of the spectrogram compares the windowed frame with a cosine and a sine that turn $k$ times per frame:
#
# $$\mathrm{Re}_k = \sum_n \cos\!\left(\tfrac{2\pi k n}{n_{fft}}\right) w_n x_n, \qquad
# \mathrm{Im}_k = -\sum_n \sin\!\left(\tfrac{2\pi k n}{n_{fft}}\right) w_n x_n, \qquad k = 0 \dots n_{fft}/2 .$$
#
# Those are $F = n_{fft}/2 + 1$ rows; in the last one the wave is up and down at every step. Both sums are products of a matrix with a vector. Stack the cosines on the negative sines.


# %%
import math


def hann(n_fft):
    """Window (n_fft,): 0 at its first step, 1 in the middle."""
    return 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(n_fft, dtype=torch.float64) / n_fft)


def dft_matrix(n_fft):
    """(2F, n_fft): F rows of cosines, then F rows of negative sines."""
    turns = torch.outer(torch.arange(n_fft // 2 + 1), torch.arange(n_fft)) / n_fft  # (F, n_fft)
    angle = 2 * math.pi * turns.double()
    return torch.cat([angle.cos(), -angle.sin()])


print("window", hann(4))
print(dft_matrix(4).round().int())

# %% [markdown]
# With $n_{fft} = 4$ everything is 0, 1 or -1. Two of the sines are zero, so 6 rows ask only 4 questions, as many as the
# frame has steps. Multiply the frame `1 2 3 4` in your head:
# the window makes it $0, 1, 3, 2$, and the matrix $6, -3, 0$ (real part) and $0, 1, 0$ (imaginary part).


# %%
def stft_by_hand(x, n_fft):
    """Spectrogram (B, 2C, F, W) of series (B, C, L): real parts of all channels, then imaginary parts."""
    pieces = frames_of(x, n_fft, n_fft // 4) * hann(n_fft).to(x.dtype)  # (B, C, W, n_fft)
    rows = pieces @ dft_matrix(n_fft).to(x.dtype).T  # (B, C, W, 2F)
    real, imag = rows.chunk(2, dim=-1)  # (B, C, W, F) each
    return torch.cat([real, imag], dim=1).transpose(2, 3)  # (B, 2C, F, W)


u = stft_by_hand(stairs, n_fft=4)
print("shape (B, 2C, F, W):", tuple(u.shape))
real, imag = (u[0, :, :, 2].round(decimals=6) + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0
print("third frame: real", real, "imaginary", imag)

# %% [markdown]
# The package has the same in [`ncvqvae_lite/timefreq.py`](../ncvqvae_lite/timefreq.py), with a fast Fourier transform
# in place of the matrix. Both must agree on random series of odd length with three channels, and so must the gradients,
# because the tokenizer is trained *through* this transform. For them we need one number to differentiate: the sum of all
# entries, each times a random weight. ([Chapter 17](17_spectrograms.ipynb) asks PyTorch's own transform, too.)

# %% tags=["nbval-check-output"]
from ncvqvae_lite.timefreq import istft, stft

nb.check("pencil: real part of the third frame", u[0, 0, :, 2], torch.tensor([6.0, -3.0, 0.0]), atol=1e-12)
nb.check("pencil: imaginary part", u[0, 1, :, 2], torch.tensor([0.0, 1.0, 0.0]), atol=1e-12)
x = torch.randn(2, 3, 33, dtype=torch.float64, generator=generator, requires_grad=True)
weight = torch.randn(2, 6, 5, 17, dtype=torch.float64, generator=generator)
both = {"by hand": stft_by_hand(x, 8), "package": stft(x, 8)}
slopes = {name: torch.autograd.grad((weight * u).sum(), x)[0] for name, u in both.items()}
nb.check("shape (B, 2C, F, W)", both["package"].shape, (2, 6, 5, 17))
nb.check("values by hand and package", both["by hand"], both["package"], rtol=1e-9, atol=1e-9)
nb.check("gradients by hand and package", slopes["by hand"], slopes["package"], rtol=1e-9, atol=1e-9)

# %% [markdown]
# ## What five rows ask for
#
# From here on $n_{fft} = 8$ as in the paper, so $F = 5$ rows. Row $k$ turns $k$ times in 8 steps: its frequency is
# $k/8$ *cycles per step*. At $r$ steps per second that is $k r / 8$ hertz, for a watch that measures 10 times per second
# 0, 1.25, 2.5, 3.75 and 5 Hz.
#
# The figure shows the ten questions: each curve is the window times a cosine (left) or a negative sine (right). Dots
# are the 8 numbers that really enter. Row 0 is the window itself, a local mean. Row 4 alternates: a sharp edge or noise
# excites it. The dots of two sines are flat, so 10 questions are only 8.

# %%
t, steps = torch.linspace(0, 8, 201, dtype=torch.float64), torch.arange(8)
smooth_window = 0.5 - 0.5 * torch.cos(2 * math.pi * t / 8)
questions = dft_matrix(8) * hann(8)  # (10, 8)
fig, axes = plots.figure(1, 2, height=4.2, sharey=True)
for ax, wave, part in zip(axes[0], (torch.cos, lambda angle: -torch.sin(angle)), (questions[:5], questions[5:])):
    for k in range(5):
        ax.plot(t, 2.3 * k + smooth_window * wave(2 * math.pi * k * t / 8), color=plots.CLASS_COLOURS[k], linewidth=1.3)
        ax.plot(steps, 2.3 * k + part[k], "o", color=plots.CLASS_COLOURS[k], markersize=5)
    ax.set_xlabel("step in the frame, n")
    ax.set_yticks([2.3 * k for k in range(5)], [f"row {k}" for k in range(5)])
axes[0, 0].set_title("real part: window × cosine", fontsize=plots.TEXT)
axes[0, 1].set_title("imaginary part: −window × sine", fontsize=plots.TEXT)
fig

# %% [markdown]
# ## Real series as pictures
#
# For the eye one takes the *magnitude* $\sqrt{\mathrm{Re}^2 + \mathrm{Im}^2}$ of each entry. Four activities from
# BasicMotions, first channel, globally scaled. Above the series, below the magnitudes in five rows, on a logarithmic grey
# scale from 0.01 (white) to 20 (black). How dark is the picture as a whole? That is amplitude, which global scaling has kept. And which rows are dark?
# Standing is pale, and what there is lies in rows 0 and 1. The sharp swings of badminton and running reach up to row 4.
# The watch measures 10 times per second, so row 1 is 1.25 Hz: near the rhythm of running, about one swing per second,
# and the darkest row there. Badminton swings more slowly: row 0.


# %%
def magnitude(u):
    """(B, 2C, F, W) -> (B, C, F, W)."""
    real, imag = u.chunk(2, dim=1)
    return (real**2 + imag**2).sqrt()


chosen = scale_by_train(motions.x_train, motions.x_train)[first_of_each_class(motions)][:, :1]  # (4, 1, 100)
pictures = torch.log10(magnitude(stft(chosen, 8)).clamp(min=1e-2))[:, 0]  # (4, F, W)
fig, axes = plots.figure(2, 4, height=3.8, sharex=True, sharey="row")
for column, label in zip(axes.T, (2, 3, 0, 1)):  # from calm to lively
    column[0].plot(chosen[label, 0], color=plots.CLASS_COLOURS[label], linewidth=1.2)
    column[0].set_title(motions.class_names[label], fontsize=plots.TEXT)
    edges = torch.arange(pictures.shape[2] + 1) * 2 - 1  # a column is centred on every second step
    column[1].pcolormesh(edges, torch.arange(6) - 0.5, pictures[label], cmap="Greys", vmin=-2, vmax=1.3)
    column[1].set(xlim=(0, 100), yticks=range(5), xlabel="step")
axes[0, 0].set_ylabel("scaled value")
axes[1, 0].set_ylabel("row k")
fig

# %% [markdown]
# The tokenizer gets the real *and* the imaginary parts, because magnitudes
# cannot tell $x$ from $-x$. In TwoPatterns a series of class no. 0 (fall, fall), turned upside down, is one
# of class no. 3 (rise, rise): in magnitudes those two classes are the same.
#
# With both parts nothing is lost. `istft` brings the series back: it undoes the matrix, multiplies with the window
# again, lays the frames over each other and divides by the sum of the squared windows ([chapter 17](17_spectrograms.ipynb)
# builds it by hand). There and back:

# %% tags=["nbval-check-output"]
nb.check("pictures drawn (classes, F, W)", pictures.shape, (4, 5, 51))
nb.check("the calmest of the four", motions.class_names[int(pictures.mean(dim=(1, 2)).argmin())], "Standing")
nb.check("questions that are not zero", int((questions.abs().amax(dim=1) > 1e-9).sum()), 8)
for name in ("TwoPatternsGenerated", "GunPoint", "BasicMotions"):
    x = sets[name].x_train
    nb.check(f"{name}: magnitudes of x and -x", magnitude(stft(-x, 8)), magnitude(stft(x, 8)), rtol=1e-6)
    nb.check(f"{name}: there and back", istft(stft(x, 8), x.shape[-1], 8), x, atol=1e-4)

# %% [markdown]
# ## The first token
#
# A column of the spectrogram of one channel is ten numbers: five rows, two parts each. They say what the series does in
# 8 steps. There are only so many things that a series does in 8 steps: it stays up, falls, is noisy. So take all columns
# of the train split, find $K = 32$ typical ones, and write for each column only the *number* of the typical one that is
# nearest. That number is a **token**, the list of typical columns a **codebook**. k-means finds the list: it looks
# for 32 centres with a small sum of squared distances between columns and their nearest centre. We number the centres
# from the lowest local mean (row 0, real part) to the highest.

# %%
from sklearn.cluster import KMeans

ds = sets["TwoPatternsGenerated"]
x_train = scale_by_train(ds.x_train, ds.x_train)[: cfg.train_series]  # (n, 1, 128)
x_test = scale_by_train(ds.x_train, ds.x_test)[: cfg.test_series]


def columns_of(x):
    """(n, 1, L) -> (n, W, 10): the columns of each spectrogram, real parts of the five rows, then imaginary parts."""
    return stft(x, 8).flatten(1, 2).transpose(1, 2)  # (n, 2, F, W) -> (n, 2F, W) -> (n, W, 2F)


def find_codes(K):
    """Codebook (K, 10) of the columns of the train split, the lowest local mean first."""
    found = KMeans(K, n_init=1, random_state=seed).fit(columns_of(x_train).flatten(0, 1).numpy())
    codes = torch.from_numpy(found.cluster_centers_)
    return codes[codes[:, 0].argsort()]


codes = find_codes(cfg.codes)
print("columns of the train split", tuple(columns_of(x_train).shape), "-> codebook", tuple(codes.shape))

# %% [markdown]
# To *encode* a series is to look up the nearest code of each column; to *decode* tokens is to write the codes side by
# side and send the picture back with `istft`.


# %%
def encode(x, codes):
    """Tokens (n, W) of series (n, 1, L)."""
    return torch.cdist(columns_of(x), codes).argmin(dim=2)


def decode(tokens, codes, length):
    """Series (n, 1, length) of tokens (n, W)."""
    u = codes[tokens].transpose(1, 2).unflatten(1, (2, -1))  # (n, W, 2F) -> (n, 2, F, W)
    return istft(u, length, 8)


tokens = encode(x_test, codes)
x_hat = decode(tokens, codes, 128)
print("tokens of the first test series:", *tokens[0].tolist())

# %% [markdown]
# From top to bottom: a test series; its spectrogram (magnitudes); its 65 tokens, one colour for each code, dark for a
# low local mean and bright for a high one; and what comes back from the tokens. Look at what the tokens keep, and at
# what they make of the noise.

# %%
shown = int((ds.y_test == 1).nonzero()[0])
fig, axes = plots.figure(4, 1, height=6.2, sharex=True)
series, picture, strip, back = axes[:, 0]
series.plot(x_test[shown, 0], color=plots.REAL, linewidth=2)
edges = torch.arange(tokens.shape[1] + 1) * 2 - 1
picture.pcolormesh(edges, torch.arange(6) - 0.5, magnitude(stft(x_test[shown : shown + 1], 8))[0, 0], cmap="Greys")
strip.pcolormesh(edges, [0, 1], tokens[shown : shown + 1], cmap=plots.colour_map(cfg.codes), vmin=0, vmax=cfg.codes - 1)
back.plot(x_test[shown, 0], color=plots.REAL, linewidth=3, label="series")
back.plot(x_hat[shown, 0], color=plots.INK, linewidth=1.3, label="decoded from its tokens")
for ax, label in zip(axes[:, 0], ("series", "row k", "tokens", "decoded")):
    ax.set_ylabel(label, fontsize=plots.TEXT)
picture.set_yticks([0, 2, 4])
strip.set_yticks([])
back.set(xlabel=plots.STEPS, xlim=(0, 127))
fig.legend(*back.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
fig

# %% [markdown]
# What do more codes buy? The error is the mean squared error on test series, over their variance: 1 for a decoder that
# knows nothing but the mean.

# %%
error = {}
for K in (2, 8, 32, 128):
    books = codes if cfg.codes == K else find_codes(K)
    error[K] = float((decode(encode(x_test, books), books, 128) - x_test).square().mean() / x_test.var())
    print(f"{K:3} codes, {65 * math.log2(K):5.0f} bits a series: error {error[K]:.3f}")
    nb.record("01", f"error of series from tokens, {K} codes", error[K])

# %% tags=["nbval-check-output"]
nb.check("tokens of 300 series (n, W)", encode(x_test[:300], codes).shape, (300, 65))
nearest = ((columns_of(x_test[:5])[:, :, None] - codes) ** 2).sum(dim=3).argmin(dim=2)  # every distance written out
nb.check("tokens of five series that agree with all distances", int((nearest == tokens[:5]).sum()), 5 * 65)
nb.check("codes that are tokens of a test series", len(tokens.unique()), low=25, high=32)
nb.check("error with 32 codes (1: nothing but the mean)", error[32], low=0.02, high=0.04)
nb.check("error with 32 codes over error with 8", error[32] / error[8], low=0.1, high=0.5)

# %% [markdown]
# That is a tokenizer already: 65 tokens of 5 bits in place of 128 numbers, and no network. What do the next chapters
# add? The encoder of the thesis is a network: it looks at many columns at once, makes 40 tokens of this series, and its
# codes are learned together with it ([chapter 2](02_quantizer.ipynb)). A second loss shapes what it learns so that
# classes can be read from it ([chapter 3](03_ssl_losses.ipynb)). And since a series is now a short text of 32 letters,
# a model of such texts can write new ones ([chapter 6](06_prior.ipynb)).
#
# ## Recorded runs
#
# Mean and standard deviation of this chapter's errors over seeds.

# %%
print(nb.recorded_runs("01"))

# %% [markdown]
# ## What to take along
#
# - A batch is $(B, C, L)$. Its spectrogram is $(B, 2C, F, W)$ with $F = 5$ and $W = \lfloor L/2 \rfloor + 1$: the input
#   of the encoder. The way there and back loses nothing.
# - Global scaling keeps level and amplitude between series. Per-series scaling destroys both, and for many sets the
#   archive did it.
# - A token is the number of the nearest code. Here a code is a typical column; from chapter 2 on it is learned together
#   with a network.
# - More of the same, optional: [chapter 17](17_spectrograms.ipynb).

# %% [markdown]
# ## Exercises
#
# Each exercise is a function to write and a check that tells whether it is right. Letters as in the chapter: the hop is
# $n_{fft}/4$, a spectrogram is $(B, 2C, F, W)$ with the real parts first.

# %%
import math

import torch

from ncvqvae_lite import nb
from ncvqvae_lite.timefreq import stft


def magnitude(u):
    """(B, 2C, F, W) -> (B, C, F, W)."""
    real, imag = u.chunk(2, dim=1)
    return (real**2 + imag**2).sqrt()


print("magnitudes of 2 spectrograms with 3 channels:", tuple(magnitude(stft(torch.zeros(2, 3, 17), 8)).shape))

# %% [markdown]
# ### 1.1 Which row hears it? `*`
# A sensor measures `rate` times per second. It records a pure tone of `frequency` hertz, and you compute its
# spectrogram with frames of `n_fft` steps. In which row is the magnitude largest? Write down the answer as a formula,
# without computing a spectrogram. The check builds the tone and looks.
#
# Mind tones faster than half the rate: between two measurements they turn by more than half a circle, and the measured
# values are those of a slower tone. A wheel in a film that seems to turn backwards is the same thing.


# %% tags=["exercise"]
def strongest_row(frequency, rate, n_fft):
    """Row with the largest magnitude for a pure tone.

    frequency  of the tone, in hertz, at least 0
    rate       measurements per second
    returns    int in 0..n_fft/2
    """
    # solution: from hertz to cycles per step, from there to a row; mind tones above half the rate
    cycles = (frequency / rate) % 1  # whole turns between two steps cannot be seen
    cycles = min(cycles, 1 - cycles)  # turning backwards looks like turning forwards
    return round(cycles * n_fft)
    # end of solution


# %% tags=["nbval-check-output"]
def check_strongest_row(answer):
    slow = "rows lie rate / n_fft hertz apart, from 0 to half the rate"
    fast = "a tone above half the rate looks like a slower one: what do the measured values look like?"
    cases = ((1.25, 10, 8, slow), (3.75, 10, 8, slow), (2.2, 10, 32, slow), (50, 1000, 64, slow), (7.5, 10, 8, fast))
    cases += ((13, 10, 32, fast), (23, 10, 32, fast))
    for frequency, rate, n_fft, hint in cases:
        t = torch.arange(512, dtype=torch.float64) / rate  # seconds
        u = stft(torch.cos(2 * math.pi * frequency * t)[None, None], n_fft)
        heard = int((magnitude(u)[0, 0, :, 4:-4] ** 2).mean(dim=1).argmax())
        name = f"row of {frequency} Hz at {rate} steps per second, n_fft {n_fft}"
        nb.check(name, int(answer(frequency, rate, n_fft)), heard, hint=hint)


nb.examine(check_strongest_row, strongest_row)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# First divide by the rate: cycles per step. Draw the points of a tone with 0.75 cycles per step, then of one with 0.25.
#
# </details>


# %% tags=["solution"]
def wrong_counts_rows(frequency, rate, n_fft):
    """divides the range up to half the rate by the number of rows, not by the gaps between them"""
    cycles = (frequency / rate) % 1
    return round(min(cycles, 1 - cycles) / 0.5 * (n_fft // 2 + 1))


def wrong_does_not_fold(frequency, rate, n_fft):
    """lets the rows go on above half the rate"""
    return round(frequency / rate * n_fft)


def wrong_clips(frequency, rate, n_fft):
    """puts every tone above half the rate into the last row"""
    return min(round(frequency / rate * n_fft), n_fft // 2)


nb.refused(check_strongest_row, wrong_counts_rows, wrong_does_not_fold, wrong_clips)

# %% [markdown]
# ### 1.2 Scaling with holes `*`
# Real recordings have gaps, marked by NaN ("not a number"). Any sum with a NaN in it is NaN. Write the global scaling
# so that gaps do not matter: one mean and one *population* standard deviation (denominator: the number of values) of
# the train split, over all values that exist; apply both to both splits; then put 0, the mean, into the gaps. This is
# what the reference does with its data.


# %% tags=["exercise"]
def scale_with_gaps(train, test):
    """Both splits, scaled by the train split; gaps become 0.

    train, test  (n, C, L) float64, NaN where a value is missing
    returns      (train, test), scaled, without NaN
    """
    # solution: which values give the statistics, and when are the gaps filled?
    values = train[~train.isnan()]
    mean, std = values.mean(), values.std(correction=0)
    return tuple(((x - mean) / std).nan_to_num(nan=0.0) for x in (train, test))
    # end of solution


# %% tags=["nbval-check-output"]
def check_scale_with_gaps(answer):
    train = torch.tensor([[[2.0, 4.0, math.nan, 6.0]], [[math.nan, 8.0, 8.0, 8.0]]], dtype=torch.float64)
    test = torch.tensor([[[6.0, 60.0, math.nan, 0.0]]], dtype=torch.float64)
    scaled_train, scaled_test = answer(train, test)
    root = math.sqrt(16 / 3)  # the six values 2 4 6 8 8 8 have mean 6 and squared deviations 16 4 0 4 4 4
    expected = torch.tensor([[[-4.0, -2.0, 0.0, 0.0]], [[0.0, 2.0, 2.0, 2.0]]]) / root
    hint = "which values count, by what number is the sum of squares divided, and whose statistics scale which split?"
    nb.check("train split", scaled_train, expected, rtol=1e-6, atol=1e-9, hint=hint)
    expected = torch.tensor([[[0.0, 54.0, 0.0, -6.0]]]) / root
    nb.check("test split", scaled_test, expected, rtol=1e-6, atol=1e-9, hint=hint)


nb.examine(check_scale_with_gaps, scale_with_gaps)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# `train[~train.isnan()]` is a flat tensor of the values that exist. `nan_to_num` fills gaps.
#
# </details>


# %% tags=["solution"]
def wrong_fills_first(train, test):
    """puts 0 into the gaps before it computes the mean"""
    return scale_with_gaps(train.nan_to_num(nan=0.0), test)


def wrong_sample_deviation(train, test):
    """divides by the number of values minus one (the default of torch)"""
    values = train[~train.isnan()]
    return tuple(((x - values.mean()) / values.std()).nan_to_num(nan=0.0) for x in (train, test))


def wrong_scales_test_by_test(train, test):
    """scales the test split by its own mean and deviation"""
    return scale_with_gaps(train, train)[0], scale_with_gaps(test, test)[0]


def wrong_each_series(train, test):
    """gives each series its own mean and deviation"""
    return tuple(torch.stack([scale_with_gaps(row, row)[0] for row in x]) for x in (train, test))


nb.refused(check_scale_with_gaps, wrong_fills_first, wrong_sample_deviation)
nb.refused(check_scale_with_gaps, wrong_scales_test_by_test, wrong_each_series)

# %% [markdown]
# ### 1.3 Half as many tokens `**`
# A token for every column is dear. Let a token stand for a *block* of `width` neighbouring columns: block 0 holds columns
# 0 to `width` $- 1$, block 1 the next ones, and so on. Columns at the end that do not fill a block are left out. The
# vector of a block holds its numbers in the order in which `u[i, :, :, first:last].flatten()` lists them. Write it for a
# whole batch, without a loop. (With it, `columns_of` in the chapter makes blocks for k-means. Try 32 codes and a width
# of 2: what happens to the error?)


# %% tags=["exercise"]
def blocks_of_columns(u, width):
    """One vector for each block of columns.

    u        (B, 2C, F, W) spectrograms
    width    columns in a block, at most W
    returns  (B, W // width, 2C * F * width)
    """
    # solution: which axis must move, and why does a reshape alone not do it?
    blocks = u.shape[3] // width
    cut = u[..., : blocks * width].unflatten(3, (blocks, width))  # (B, 2C, F, blocks, width)
    return cut.movedim(3, 1).flatten(2)
    # end of solution


# %% tags=["nbval-check-output"]
def check_blocks_of_columns(answer):
    generator = torch.Generator().manual_seed(5)
    for channels, frames, width in ((1, 8, 2), (3, 9, 2), (1, 11, 3), (2, 5, 1)):
        u = torch.randn(4, 2 * channels, 5, frames, generator=generator)
        found, count = answer(u, width), frames // width
        name = f"C {channels}, W {frames}, width {width}"
        nb.check(f"{name}: shape", tuple(found.shape), (4, count, 10 * channels * width), hint="W // width blocks")
        wanted = [[u[i, :, :, b * width : (b + 1) * width].flatten() for b in range(count)] for i in range(4)]
        hint = "look at one block of one series: which columns does it hold, and in which order are its numbers?"
        nb.check(f"{name}: numbers", found, torch.stack([torch.stack(row) for row in wanted]), rtol=1e-6, hint=hint)
    nb.check_no_loop(answer, (torch.ones(2, 4, 5, 7), 2), (torch.ones(4, 6, 7, 13), 3))


nb.examine(check_blocks_of_columns, blocks_of_columns)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# A reshape never moves numbers, so it can only split or join neighbouring axes. The axis of the blocks has to be moved.
#
# </details>


# %% tags=["solution"]
def wrong_reshape_alone(u, width):
    """gets the shape right by a reshape alone and cuts across rows and columns"""
    blocks = u.shape[3] // width
    return u[..., : blocks * width].reshape(len(u), blocks, -1)


def wrong_leaves_out_the_first(u, width):
    """leaves out columns at the start in place of the end"""
    return blocks_of_columns(u[..., u.shape[3] % width :], width)


def wrong_columns_far_apart(u, width):
    """puts columns into a block that are W // width apart"""
    blocks = u.shape[3] // width
    return u[..., : blocks * width].unflatten(3, (width, blocks)).movedim(4, 1).flatten(2)


def wrong_order(u, width):
    """lists a block column by column"""
    found = blocks_of_columns(u, width).unflatten(2, (-1, width))
    return found.transpose(2, 3).flatten(2)


def wrong_loop(u, width):
    """goes through the blocks in a loop"""
    blocks = u.shape[3] // width
    return torch.stack([u[..., b * width : (b + 1) * width].flatten(1) for b in range(blocks)], dim=1)


nb.refused(check_blocks_of_columns, wrong_reshape_alone, wrong_leaves_out_the_first)
nb.refused(check_blocks_of_columns, wrong_columns_far_apart, wrong_order, wrong_loop)
