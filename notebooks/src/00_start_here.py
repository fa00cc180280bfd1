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
# - **Goals**: see a series, its tokens and a new series; see how good the new ones are; choose a route
# - **Before**: Python; a first course in linear algebra; what a neural network and a gradient step are
# - **Time**: 10 seconds of computing
# - **Data**: SyntheticControlGenerated, made by the package; what a recorded run drew after training on it (`data/results/example.npz`)
# - **Answers**: the thesis' premise (Mathisen 2024): a series can be written as a few dozen tokens and drawn anew from them. Where a
#   chapter says *the reference*, it means the code that was published with the thesis

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved; nothing is trained here, so they do the same

# %%
import json

import numpy as np

from ncvqvae_lite import nb, plots
from ncvqvae_lite.names import METHODS
from ncvqvae_lite.thesis import data_file

generator = nb.seed_everything(seed)
cfg = nb.chapter_config(preset, seed)
example = np.load(data_file("results/example.npz"))
COLOUR, SHOWN, MIXED = METHODS["regular"].colour, 4, np.random.default_rng(0).permutation(64)  # class; token -> colour
known = "a series of the data", example["x"][SHOWN], example["x_tokens"][SHOWN], plots.REAL
new = "a new series", example["drawn"], example["steps"][-1], COLOUR
fig, axes = plots.figure(2, 2, height=2.6)
axes[0, 0].get_gridspec().set_height_ratios((4, 1))
for (above, below), (title, series, tokens, colour) in zip(axes.T, (known, new)):
    above.plot(np.arange(60) + 0.5, series, color=colour)
    above.set(xlim=(0, 60), ylim=(-3, 3), xticks=[], yticks=[], title=title)
    below.imshow(MIXED[tokens], cmap=plots.colour_map(64), vmin=0, vmax=63, extent=(0, 60, 0, 1), aspect="auto")
    for place, token in enumerate(tokens[0]):
        shade = "white" if MIXED[token] < 28 else "black"
        below.text(6 * place + 3, 0.5, token, ha="center", va="center", fontsize=plots.SMALL, color=shade)
    below.set(yticks=[], xlabel="its tokens: one for every 6 steps")
fig

# %% [markdown]
# That is the whole course in one figure. Left: a series of 60 numbers, and below it the same series written as 10 *tokens*, each one of
# 64 symbols. Right: a model drew 10 new tokens, and from them came a series that was never in the data. (The file that both come from holds
# six series of the data, one of each class; the left one is one of them.) How does a
# series become tokens, how are new ones drawn, and are the new series any good?
#
# Lines with ✓ are *checks*. They compare a value with what it should be, and stop the notebook if it is not; ≈ marks a rounded number.

# %% tags=["nbval-check-output"]
nb.check("values of a series", example["x"].shape[1], 60)
nb.check("tokens of a series", example["x_tokens"].shape[1:], (1, 10))
written = np.concatenate([example["x_tokens"].ravel(), example["steps"][-1].ravel()])  # of six series and the new one
about = json.loads(str(example["about"]))  # the run that drew the series
K = about["config"]["codebook_size"]
nb.check("symbols that a token can be", K, 64)
nb.check("tokens that are none of these", int(((written < 0) | (written >= K)).sum()), 0)
nb.check("different symbols in these tokens", len(np.unique(written)), low=33, high=K)
far = np.abs(example["x"] - example["drawn"]).mean(axis=1).min() / example["x"].std()
nb.check("new series: mean distance to the nearest of the six, in deviations", float(far), low=0.2, high=1, digits=2)

# %% [markdown]
# ## Real beside generated
#
# Grey are real series; blue are series that a trained model drew, asked for one class after the other. They are control
# charts: 60 readings of a machine that keeps a value, or swings, or drifts, or jumps to another value. Could you tell which is
# which without the colour?

# %%
import torch

from ncvqvae_lite.data import load_dataset
from ncvqvae_lite.demonstration import class_words

ds = load_dataset("SyntheticControlGenerated")
classes = class_words(ds.name, ds.class_names)
generated = torch.from_numpy(example["generated"].astype(np.float32))[:, None]  # (n, 1, L)
asked = torch.from_numpy(example["classes"]).long()  # (n,)
real = ds.x_test, ds.y_test, plots.REAL
plots.by_class({"real": real, "generated": (generated, asked, COLOUR)}, classes, n=4)

# %% tags=["nbval-check-output"]
nb.check("generated series", tuple(generated.shape), (96, 1, 60))
nb.check("of each class", torch.bincount(asked).tolist(), [16] * 6)

# %% [markdown]
# The six classes are there, each with its shape, its noise and its variety. A closer look finds faults: some swings are rough,
# and some jumps climb in two or three steps instead of one. Each series is what a user gets: the first ones that `run.sample` of
# a trained model gave, none picked. `make replicate` trains this very model within minutes on a laptop. It is the *naive* one of the
# course's models, called `regular` in code and tables; later ones also learn to recognise a series behind a distortion.
#
# ## The idea in one picture
#
# **Upper row, from left to right.** A series is a list of 60 numbers. Its *spectrogram* says how much of each frequency
# there is at each time (chapter 1). A network, the *encoder*, turns this picture into a short row of *tokens*: whole
# numbers from 0 to 63, each the name of one entry in a table, the *codebook* (chapter 2). A token stands for six steps of
# the series. A second network, the *decoder*, turns the tokens into a series again. What it gives back is close, though
# 10 tokens are far less than 60 numbers: the shape is kept, and of the noise what the tokens can say.
#
# **Lower row.** If series are tokens, then *new tokens are new series*. A third network, the *prior*, learns which tokens
# go together. The first picture has one line for each of its steps, from top to bottom. In the first line every token is hidden. The prior
# fills in one or a few of which it is rather certain, looks again, fills in the next, until none is hidden: a long bar is a token
# that was decided early. The decoder turns
# the last line into a series that was never in the data. Last, its noise: to each token's steps a
# piece is added that was left over where the same token stood for steps of a train series (chapter 5).

# %%
from ncvqvae_lite.timefreq import stft

fig, axes = plots.figure(2, 4, height=3.9)
x, x_hat, tokens, steps = (example[name].astype(np.float32) for name in ("x", "x_hat", "x_tokens", "steps"))
(spectrogram,) = stft(torch.from_numpy(x[SHOWN, None, None]), about["config"]["n_fft"])  # (2, F, W): real, imaginary
by_step = np.ma.masked_less(steps[:, 0], 0)  # (T + 1, N), hidden ones masked
axes[0, 1].imshow(spectrogram.norm(dim=0), aspect="auto", origin="lower", cmap="Greys")
for ax, grid in zip((axes[0, 2], *axes[1, :2]), (tokens[SHOWN], by_step, by_step[-1:])):
    shown = np.ma.array(MIXED[grid.astype(int)], mask=np.ma.getmaskarray(grid))
    ax.imshow(shown, aspect="auto", cmap=plots.colour_map(64), vmin=0, vmax=63, interpolation="none")
drawn = (x[SHOWN], plots.REAL), (x_hat[SHOWN], COLOUR), (example["decoded"], COLOUR), (example["drawn"], COLOUR)
for ax, (series, colour) in zip((axes[0, 0], axes[0, 3], *axes[1, 2:]), drawn):
    ax.plot(series, color=colour)
    ax.set_ylim(-3, 3)
titles = "a series", "spectrogram", "its tokens", "decoded", "step by step", "new tokens", "decoded", "a new series"
for ax, title in zip(axes.flat, titles):
    ax.set_title(title, fontsize=plots.SMALL)
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("tokenize", fontsize=plots.TEXT)
axes[1, 0].set_ylabel("generate", fontsize=plots.TEXT)
fig.supxlabel("time →   (one colour per token, in no order; grey: hidden)", fontsize=plots.SMALL)
fig

# %% [markdown]
# Some counting, because the rest of the course counts in these letters. The spectrogram has $F = 7$ frequency rows
# and $W = 21$ columns. The encoder of this run joins the rows and halves the columns to $W' = 10$, so a series is $N = 10$
# tokens of $K = 64$ kinds. (The thesis keeps the rows: on the set TwoPatterns of the next chapters, $5 \cdot 8 = 40$ tokens. Chapter 5
# compares the two ways.) The drawing in the lower row took $T = 8$ steps. After step $k$ of them there are $\lfloor N \cos(\pi k / 2T) \rfloor$ tokens hidden, or one less than
# before if that is fewer. So tokens are decided one at a time first and more at a time later, when most of the series is settled. (If
# $T$ is larger than $N$, it is one at a time, and fewer than $T$ steps are enough.)

# %% tags=["nbval-check-output"]
T = about["config"]["decoding_steps"]
hidden, left = [int((row < 0).sum()) for row in steps], [10]
while left[-1]:
    left.append(min(left[-1] - 1, int(10 * np.cos(np.pi * len(left) / (2 * T)) + 1e-9)))
nb.check("spectrogram (F, W)", tuple(spectrogram.shape[1:]), (7, 21))
nb.check("decoding steps T", T, 8)
nb.check("hidden after each step", hidden, left)
kept = [bool((after[before >= 0] == before[before >= 0]).all()) for before, after in zip(steps, steps[1:])]
nb.check("steps in which no decided token changed", sum(kept), len(left) - 1)

# %% [markdown]
# What do the tokens drop? Below is the error of the decoded series, in units of the error of a flat line: 0 is perfect, 1 is
# no better than the mean. Compare "normal", which is noise and nothing else, with the two trends. (It is one series of each class, so
# small differences between these six numbers say nothing about the classes.)

# %% tags=["nbval-check-output"]
error = ((x - x_hat) ** 2).mean(axis=1) / x.var(axis=1)  # (6,)
for name, share in zip(classes, error):
    nb.check(f"{name}: error of the decoded series", share, low=0, high=0.5, digits=2)

# %% [markdown]
# ![](drawings/decoding_stills.svg)
#
# Drawing once more, by another model, whose tokens keep the frequency rows: the start and five of its ten steps. Dashed places are
# hidden; an orange frame marks a token that was decided in this step. The lines are five ways in which the series could still end, grey
# where little is decided and blue where much is. Asked for was a series of TwoPatterns (chapter 1) with a *rise* (low, then high)
# and later a *fall* (high, then low) in noise. The result has both, and a dip too many between them; that model was trained for minutes.

# %% [markdown]
# ## How good is it?
#
# Looking is not measuring. Two questions first, of the 96 series in the file. *Are they of the class that was asked for?* A
# classifier that was trained on 20,000 other real series, the *judge*, says what it sees. Guessing would be right once in six
# times. *Are they new?* A model that repeats train series would look perfect. So take the distance of a series to its nearest train series. The
# share below says how often a generated series is nearer than a real test series: a half if it is as new as real ones are,
# 1 for copies, and less than a half if it lies further from the train series than real ones do.

# %% tags=["nbval-check-output"]
from ncvqvae_lite.evaluation import nearest_train
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_weights import shipped_judge

judge = FCN.load(shipped_judge(ds.name))
mean, std = ds.x_train.mean(), ds.x_train.std(correction=0)
for name, series, y in (("generated", generated, asked), ("real", ds.x_test[:96], ds.y_test[:96])):
    right = judge.probabilities((series - mean) / std).argmax(dim=1) == y
    nb.check(f"of 96 {name} series the judge gives their class", int(right.sum()), low=90, high=96, digits=2)
nb.check("guessing", 96 // ds.n_classes, 16)
copies = ds.x_train[:96] + 0.05 * torch.randn(96, 1, ds.length, generator=generator)
for name, series, low, high in (
    ("generated series", generated, 0.2, 0.6),
    ("copies with a little noise", copies, 0.99, 1),
):
    share = nearest_train(series, ds.x_test, ds.x_train).auc
    nb.check(f"nearer to train than test series are: {name}", share, low=low, high=high, digits=2)

# %% [markdown]
# Then all scores of the run that drew them, from 2,400 generated series. A score alone says little, so beside each stands
# what *real* series get where something real can be put in its place: other test series, or train series.

# %%
from ncvqvae_lite.demonstration import closing_rows

print(nb.closing_table(closing_rows({"naive": about["metrics"]}, ds.name), {"naive": "generated"}))

# %% [markdown]
# In the words of the chapters to come, from the top: how well the tokens keep a series (here the squared error of the scaled series
# *plus* that of its spectrogram, so it is no number like those above); how well the class can be read off
# the tokens by something simple (KNN, SVM: not well, and a remedy for that is what the thesis is about, chapter 3); then the generated
# series. They are nearly always of their class, and a classifier that saw generated series only is nearly as good as one that saw real
# ones (CAS). But the scores also see what the eye finds after a while. FID, a distance between what the judge sees in generated
# and in real series, is many times that of real series. And the coverage is lower: some real series have no generated one near. Chapter 7
# takes the scores apart and shows how each is fooled; what is measured on other sets, harder ones among them, is in
# [`data/results`](../data/results/README.md).

# %% [markdown]
# ## What each chapter adds
#
# | chapter | you build | and see |
# |---|---|---|
# | [1. Series and spectrograms](01_timefreq.ipynb) | a spectrogram, and tokens from its columns | what each step keeps of a series, and what it loses |
# | [2. Vector quantization](02_quantizer.ipynb) | tokens: the codebook and how it learns | why some codes die, and what it costs |
# | [3. Non-contrastive losses](03_ssl_losses.ipynb) | Barlow Twins and VIbCReg | how a network learns classes without labels, and how that collapses |
# | [4. Augmentations](04_augmentations.ipynb) | warping, slicing and noise for a whole batch at once | which changes keep the class and which destroy it |
# | [5. Stage 1: the tokenizer](05_tokenizer.ipynb) | encoder, decoder and the whole loss | what the second view changes in the tokens, and what a probe cannot see |
# | [6. Stage 2: the MaskGIT prior](06_prior.ipynb) | masking, the training step, the decoding loop | what each part of the prior does to the samples: a detective story |
# | [7. Evaluation](07_evaluation.ipynb) | FID, IS, CAS and the probes | how each score is fooled, and what four runs can show |
# | [8. One cell of the thesis](08_replicate.ipynb) | nothing: it runs everything | all scores, beside the published ones |
# | [9. Your own series](09_own_series.ipynb) | a data set from a table | how to choose the settings, and when not to trust the samples |
# | [10. The thesis' tables again](10_thesis_report.ipynb) | nothing: it reads recorded runs | which published numbers come back, and what the prior has to do with them |
# | [11. Two views and no labels](11_two_views.ipynb) | eight views, the contrastive loss, probes with few labels | what a wrong claim about series costs, and what can be known of it before training |
# | [12. Peeling VICReg](12_peel.ipynb) | neighbours, eigenmaps, a density score | what is left of a loss when its parts are taken away, one by one |
# | [13. Every scale and every column](13_scales.ipynb) | TS2Vec's crops and loss at every scale, SCARF's corruption of tables | which deep methods beat a filled gap, an untrained network and the raw columns |
# | [14. Masks and games](14_masks_games.ipynb) | a masked autoencoder, tasks with known answers, a game of two networks | what a straight line already knows, and which teacher has something to teach |
# | [15. Series and words](15_pairs.ipynb) | two towers, their two-way loss, classes by names | what captions teach about series, what they leave out, and what lies between the two |
# | [16. Features of your own series](16_features.ipynb) | a comparison from few labels, a cross-validation without leaks | on which of two tables learning without labels pays, and how to find out on yours |
# | [17. Spectrograms in depth](17_spectrograms.ipynb), optional | the inverse of a spectrogram, the price of its window | what a window can and cannot resolve |
# | [18. The losses of chapter 3 in depth](18_losses_in_depth.ipynb), optional | the losses' large sums without a large matrix | what batch size and width do |
#
# ## Routes
#
# [The index](README.md) has the minutes of every chapter, by one rule, and the sums of these routes. Exercises come on top: each has
# a check that says whether you are right and, if not, where to look. Words of the field are in the [glossary](GLOSSARY.md).
#
# <!-- routes -->
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

# %% [markdown]
# ## Recorded runs
#
# The series above are of one run, which `python notebooks/tools/example.py` wrote down. It is the naive arm of `make replicate`: the
# preset `quick` with a few settings of its own.

# %%
from ncvqvae_lite.demonstration import SETTINGS

config = about["config"]
print(f"{config['dataset']}, {config['method']} + {config['augmentation']}, seed {config['seed']}")
print(f"preset {config['preset_name']} with", ", ".join(f"{name} {config[name]}" for name in SETTINGS))
print(f"ncvqvae-lite {config['package_version']}, commit {config['commit']}; judge {config['fcn']}")

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
    nb.check("above: L 60, N 10, K 64", answer(60, 10, 64), 32.0, rtol=1e-9, hint="how many bits tell K codes apart?")
    name, hint = "the thesis on TwoPatterns: L 128, N 40, K 32", "how many values, how many tokens, how many bits each?"
    nb.check(name, answer(128, 40, 32), 20.48, rtol=1e-9, hint=hint)
    exact = 32 * 128 / (40 * 3.321928094887362)
    nb.check("ten codes", answer(128, 40, 10), exact, rtol=1e-9, hint="on average, not rounded up to whole bits")


nb.examine(check_compression, compression)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# 60 values take 60 · 32 bits. With 64 codes a token takes 6 bits, because $2^6 = 64$.
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
