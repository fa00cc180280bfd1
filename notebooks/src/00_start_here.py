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
# # 0. Start here
#
# How can a computer learn to draw new time series, and how do we find out whether they are any good?
#
# - **Goals**: see a trained model at work before building one; know what each chapter adds; choose a route
# - **Before**: Python; a first course in linear algebra; what a neural network and a gradient step are
# - **Time**: 10 minutes of reading, 5 seconds of computing
# - **Data**: TwoPatternsGenerated, made by the package; what a recorded run generated (`data/results/example.npz`)
# - **Answers**: the thesis' premise (Mathisen 2024): a series can be written as a few dozen tokens and drawn anew from them

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved; nothing is trained here, so they do the same

# %%
import numpy as np
import torch

from ncvqvae_lite import nb, plots
from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.names import METHODS
from ncvqvae_lite.thesis import data_file

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(preset, seed, neighbours=1)
example = np.load(data_file("results/example.npz"))
ds = load_dataset("TwoPatternsGenerated")

# %% [markdown]
# ## The idea in one picture
#
# **Upper row, from left to right.** A series is a list of 128 numbers. Its *spectrogram* says how much of each frequency
# there is at each time (chapter 1). A network, the *encoder*, turns this picture into a small grid of *tokens*: whole
# numbers from 0 to 31, each the name of one entry in a table, the *codebook* (chapter 2). A second network, the *decoder*,
# turns the tokens into a series again. What it gives back is close to the series, though the tokens are far less than the
# series: everything that one token cannot say was dropped.
#
# **Lower row.** If series are tokens, then *new tokens are new series*. A third network, the *prior*, learns which tokens
# go together. To draw a series it starts from a grid in which every token is hidden, fills in those of which it is most
# certain, looks again, fills in more, and after ten steps the decoder turns the grid into a series that was never in the
# data.

# %%
from ncvqvae_lite.timefreq import stft

codes = plots.colour_map(32)
fig, axes = plots.figure(2, 4, height=3.9)
x, x_hat, tokens = (example[name].astype(np.float32) for name in ("x", "x_hat", "x_tokens"))
spectrogram = stft(torch.from_numpy(x[:1, None]))[0]  # (2, F, W), real and imaginary parts
axes[0, 0].plot(x[0], color=plots.REAL)
axes[0, 1].imshow(spectrogram.norm(dim=0), aspect="auto", origin="lower", cmap="Greys")
axes[0, 2].imshow(tokens[0], aspect="auto", origin="lower", cmap=codes, vmin=0, vmax=31)
axes[0, 3].plot(x_hat[0], color=METHODS["regular"].colour)
for ax, step in zip(axes[1], (0, 7, 10)):
    grid = np.ma.masked_less(example["steps"][step], 0)
    ax.imshow(grid, aspect="auto", origin="lower", cmap=codes, vmin=0, vmax=31)
axes[1, 3].plot(example["drawn"], color=METHODS["regular"].colour)
titles = "a series", "spectrogram", "its tokens", "decoded", "all hidden", "after 7 steps", "after 10", "a new series"
for ax, title in zip(axes.flat, titles):
    ax.set_title(title, fontsize=plots.SMALL)
    ax.set_xticks([])
    ax.set_yticks([])
axes[0, 0].set_ylabel("tokenize", fontsize=plots.TEXT)
axes[1, 0].set_ylabel("generate", fontsize=plots.TEXT)
fig.supxlabel("time →   (one colour per token, in no order; grey: hidden)", fontsize=plots.SMALL)
fig

# %% [markdown]
# Some counting, because the rest of the course counts in these letters. The spectrogram has $F = 5$ frequency rows
# and $W = 65$ columns; the encoder keeps the rows and shortens $W$ to $W' = 8$, so a series is $N = 5 \cdot 8 = 40$ tokens. And the steps hide fewer and fewer tokens:
# after step $k$ of $T = 10$ there are $\lfloor N \cos(\pi k / 2T) \rfloor$ still hidden, few at a time at first and many in
# the last steps, when most of the series is already settled.

# %% tags=["nbval-check-output"]
steps = example["steps"]  # (T + 1, F, W'), -1 where hidden
hidden = [int((grid < 0).sum()) for grid in steps]
nb.check("values of a series", x.shape[1], 128)
nb.check("tokens of a series (F, W')", tokens.shape[1:], (5, 8))
nb.check("hidden after each step", hidden, [int(40 * np.cos(np.pi / 20 * k) + 1e-9) for k in range(11)])
kept = [bool((after[before >= 0] == before[before >= 0]).all()) for before, after in zip(steps, steps[1:])]
nb.check("steps in which no decided token changed", sum(kept), 10)

# %% [markdown]
# ## Real beside generated
#
# The data set is called TwoPatterns. A series is noise with two *patterns* in it. A pattern is two plateaus: a *fall* (first
# high, then low) or a *rise* (first low, then high). The four ways to have two patterns are the four classes. Left are real series, right series
# that a trained model was asked for, class by class. It is the thesis' plain model, trained with the thesis' constants on
# the archive's TwoPatterns; the real series shown are this package's imitation of that set, which needs no download.
# Look at the plateaus: are there four, are they flat, do they come in the right order? (Class 1: fall, fall;
# 2: rise, fall; 3: fall, rise; 4: rise, rise.)

# %%
real, generated = ds.x_test, torch.from_numpy(example["generated"].astype(np.float32))[:, None]  # (n, 1, L)
plots.real_and_generated(real, ds.y_test, generated, example["classes"], ds.class_names, "regular")

# %% [markdown]
# The plateaus are there, but not all are right: some break up, and in some series a pattern is missing or comes in the order
# of another class; the new series of the first picture even has three. That is the model that this course takes apart.
# (The authors' published program is called the *reference* in this course.)
#
# ## How good is it?
#
# Looking is not measuring. One simple test: give each generated series the class of its nearest real neighbour. If the model
# draws what it was asked for, this is the class that was asked for; a model that ignores the request is right in a quarter
# of the cases. Turned round, the generated series are the neighbours and real test series ask: a model that draws one good
# series per class again and again fails here. (Distances compare the series step by step, so a plateau that is merely
# shifted counts as far away: that is a weakness of this test, and one reason for the scores of chapter 7.)

# %%
from sklearn.neighbors import KNeighborsClassifier


def nearest(train, y_train, test, y_test):
    """Share of the test series whose nearest train series has their class."""
    knn = KNeighborsClassifier(cfg.neighbours).fit(train[:, 0], y_train)
    return knn.score(test[:, 0], y_test)


scores = {
    "real ask real": nearest(ds.x_train, ds.y_train, real, ds.y_test),
    "generated ask real": nearest(ds.x_train, ds.y_train, generated, example["classes"]),
    "real ask generated": nearest(generated, example["classes"], real, ds.y_test),
    "64 real only": nearest(ds.x_train[:64], ds.y_train[:64], real, ds.y_test),
}
for name, score in scores.items():
    print(f"{name:20} {score:.2f}")

# %% [markdown]
# Four in five generated series look like their class. As neighbours, 64 generated series are right in 44 % of the cases; 64
# real ones reach 51 %, so most of the fall from 91 % comes from the small number of neighbours, not from the model.

# %% tags=["nbval-check-output"]
nb.check("generated series, their class found among real ones", scores["generated ask real"], low=0.7, high=1.0)
nb.check("real series, their class found among 64 generated ones", scores["real ask generated"], low=0.35, high=1.0)
nb.check("what guessing gives", 1 / ds.n_classes, 0.25)

# %% [markdown]
# Last, what the tokens alone cost: the error of the decoded series, in units of the error of a flat line.

# %% tags=["nbval-check-output"]
error = ((x - x_hat) ** 2).mean(axis=1)  # (4,) mean squared error of the decoded series
flat = ((x - x.mean(axis=1, keepdims=True)) ** 2).mean(axis=1)  # of a constant
nb.check("decoded from tokens: largest error as a share of a constant's", (error / flat).max(), low=0.0, high=0.2)

# %% [markdown]
# ## What each chapter adds
#
# | chapter | you build | and see |
# |---|---|---|
# | [1. Series and spectrograms](01_timefreq.ipynb) | the spectrogram and its inverse | what the model can and cannot see of a series |
# | [2. Vector quantization](02_quantizer.ipynb) | tokens: the codebook and how it learns | why some codes die, and what it costs |
# | [3. Non-contrastive losses](03_ssl_losses.ipynb) | Barlow Twins and VIbCReg | how a network learns classes without labels, and how that collapses |
# | [4. Augmentations](04_augmentations.ipynb) | warping, slicing and noise for a whole batch at once | which changes keep the class and which destroy it |
# | [5. Stage 1: the tokenizer](05_tokenizer.ipynb) | encoder, decoder and the whole loss | what the second view changes in the tokens, and what a probe cannot see |
# | [6. Stage 2: the MaskGIT prior](06_prior.ipynb) | masking, the training step, the decoding loop | what each part of the prior does to the samples: a detective story |
# | [7. Evaluation](07_evaluation.ipynb) | FID, IS, CAS and the probes | how each score is fooled, and what four runs can show |
# | [8. One cell of the thesis](08_replicate.ipynb) | nothing: it runs everything | all scores, beside the published ones |
# | [9. Your own series](09_own_series.ipynb) | a data set from a table | how to choose the settings, and when not to trust the samples |
# | [10. The thesis' tables again](10_thesis_report.ipynb) | nothing: it reads recorded runs | which published numbers come back, and what the prior has to do with them |
#
# ## Four routes
#
# - **Ten minutes**: this notebook, then the figures of [chapter 8](08_replicate.ipynb) as they are.
# - **An hour**: the last section of chapter 1, chapter 2 without its exercises, then run chapter 8 yourself with `method = "barlowtwins"` and
#   `augmentation = "warp"`, and compare the two tables.
# - **Your data**: chapter 9 alone; it says which earlier sections it leans on.
# - **A day**: all chapters in order, each with its exercises. An exercise has a check that says whether you are right and,
#   if not, where to look.
#
# ## How to run it
#
# - **Read only**: the notebooks on GitHub hold all figures and numbers.
# - **On Colab**: the badge on top of each notebook. Its first cell installs the package and nothing that Colab has already.
#   For a GPU: Runtime, Change runtime type. Only chapters 5, 6 and 8 with `preset = "paper"` want one.
# - **On your machine**: Python 3.11 to 3.13, `pip install -e ".[notebooks]"` in a clone, `jupyter lab notebooks`.
# - **Longer**: the parameters cell near the top of each chapter has a `preset`. `quick` takes seconds to minutes on a laptop, the other two
#   train longer. Whole runs (chapter 8) differ in more: `paper` is the thesis' recipe; `improved` is ours, with fewer tokens, another prior
#   and less arithmetic (chapters 5 and 6); `quick` is `improved` with short trainings. Equal seeds give equal numbers on one machine.
#
# ## Recorded runs
#
# The generated series above come from a run of this kind. `recon` is the reconstruction error, `KNN` and `SVM` say how well
# the classes can be read off the latents (the encoder's numbers before they become tokens), FID and IS judge the generated
# series (chapter 7 explains them). A dash is a score that was not computed; leave the last two columns for later.
# KNN is little above chance, one quarter: chapter 5 says why.

# %%
print(nb.recorded_cells("TwoPatterns", "regular", "none"))

# %% [markdown]
# ## Exercises
#
# One, to see how they work: replace the line that raises an error, run the cell, run the check.

# %%
import math

from ncvqvae_lite import nb

# %% [markdown]
# ### 0.1 How much is dropped? `*`
# A series of $L$ values is stored as 32-bit numbers. Its $N$ tokens are whole numbers below $K$, and one of $K$ equally
# likely numbers takes $\log_2 K$ bits. How many times fewer bits are the tokens?


# %% tags=["exercise"]
def compression(length, n_tokens, codebook_size):
    """How many times fewer bits the tokens of a series take than its values.

    length         L, values of 32 bits each
    n_tokens       N
    codebook_size  K
    returns        a number; 2.0 means half the bits
    """
    # solution: count bits on both sides
    return 32 * length / (n_tokens * math.log2(codebook_size))
    # end of solution


# %% tags=["nbval-check-output"]
def check_compression(answer):
    nb.check("one value as one 32-bit token", answer(1, 1, 2**32), 1.0, rtol=1e-9, hint="both sides count in bits")
    nb.check("TwoPatterns: L 128, N 40, K 32", answer(128, 40, 32), 20.48, rtol=1e-9, hint="log2(32) is 5")
    exact = 32 * 128 / (40 * 3.321928094887362)
    nb.check("ten codes", answer(128, 40, 10), exact, rtol=1e-9, hint="on average, not rounded up to whole bits")


check_compression(compression)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# 128 values take 128 · 32 bits. With 32 codes a token takes 5 bits, because $2^5 = 32$.
#
# </details>


# %% tags=["solution"]
def wrong_counts_tokens(length, n_tokens, codebook_size):
    """counts numbers instead of bits"""
    return length / n_tokens


def wrong_takes_k_bits(length, n_tokens, codebook_size):
    """takes K bits for a token instead of log2 K"""
    return 32 * length / (n_tokens * codebook_size)


def wrong_way_round(length, n_tokens, codebook_size):
    """divides the wrong way round"""
    return n_tokens * math.log2(codebook_size) / (32 * length)


nb.refused(check_compression, wrong_counts_tokens, wrong_takes_k_bits, wrong_way_round)
