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
# # 16. Features of your own series
#
# You have a table of series, labels for a few of them, and perhaps gaps. Should you learn features without labels, by which
# method, and how do you find out before you trust them?
#
# - **Goals**: after it you can turn a table of series into features with one estimator; compare methods with the raw series
#   from few labels, by the same draws; choose by cross-validation without a look at the test split; handle gaps; save and
#   load; find neighbours and odd series; say when the raw series are better
# - **Before**: nothing but scikit-learn's `fit` and `transform`. Chapters 11 to 14 build what is used here as finished parts
# - **Time**: 35 minutes of reading, 70 seconds of computing
# - **Data**: GunPoint and ItalyPowerDemand (UCR archive, bundled with aeon), each as a table of your own would be
# - **Answers**: the promise of learning without labels, as reports and tutorials make it for series of any kind: "pre-train on
#   what you have, then few labels suffice". On one of these two tables that is so, on the other it is not

# %% tags=["parameters"]
seed: int = 1  # of everything random
preset: str = "quick"  # quick, paper or improved

# %%
import tempfile

import numpy as np
import torch

from ncvqvae_lite import nb, plots

generator = nb.seed_everything(seed)
folder = tempfile.TemporaryDirectory()  # yours would be a folder that stays
cfg = nb.chapter_config(
    preset,
    seed,
    rows=(200, 400),  # series of each table, at most
    steps=(100, 600),  # of each training
    draws=20,  # of the labels
    per_class=10,  # labelled series of a class
)

# %% [markdown]
# ## From a table to features
#
# Two tables: the path of a hand that draws a gun or points (GunPoint, 150 steps), and the power demand of a region by the
# hour (ItalyPowerDemand, 24 steps, winter or summer). Half of each is put aside as the test split, at once.

# %%
from ncvqvae_lite.data import load_dataset


def table(name):
    """(x_train, y_train, x_test, y_test) of a bundled set as arrays: (n, L) and (n,), halves in a random order."""
    ds = load_dataset(name, root=nb.data_dir())
    x, y = torch.cat([ds.x_train, ds.x_test])[:, 0].numpy(), torch.cat([ds.y_train, ds.y_test]).numpy()
    rows = np.random.default_rng(cfg.seed).permutation(len(x))[: cfg.rows]
    train, test = np.array_split(rows, 2)
    return x[train], y[train], x[test], y[test]


tables = {name: table(name) for name in ("GunPoint", "ItalyPowerDemand")}
for name, (x, y, x_test, _) in tables.items():
    print(f"{name}: {len(x)} series to learn from, {len(x_test)} to test, {x.shape[1]} steps, {len(set(y))} classes")

# %% [markdown]
# `Representation` is an estimator as scikit-learn has them: `fit` learns from series alone, `transform` gives a row of
# features for each. Labels are not looked at. The method is a word; what each does is in the chapters behind it.
#
# | method | teacher | chapter |
# |---|---|---|
# | `simclr` | another view of the series, against other series | [11](11_two_views.ipynb) |
# | `vicreg` | another view; features keep their spread and are not alike | [12](12_peel.ipynb) |
# | `ts2vec` | the same step in another crop, at every scale; takes gaps | [13](13_scales.ipynb) |
# | `mae` | the hidden three quarters of the series | [14](14_masks_games.ipynb) |

# %%
from ncvqvae_lite.family.representation import Representation

x, y, x_test, y_test = tables["GunPoint"]
learned = Representation("vicreg", steps=cfg.steps, seed=cfg.seed).fit(x)
f, f_test = learned.transform(x), learned.transform(x_test)
print("series", x.shape, "-> features", f.shape, "; loss of the first and the last ten steps:", end=" ")
print(learned.losses_[:10].mean().round(1), learned.losses_[-10:].mean().round(1))

# %% tags=["nbval-check-output"]
nb.check("features of train and test", (f.shape, f_test.shape), ((len(x), 64), (len(x_test), 64)))
nb.check("steps that were trained", len(learned.losses_), cfg.steps)
again = Representation("vicreg", steps=3, seed=cfg.seed).fit(x).losses_
nb.check("equal seeds, equal losses: first three steps", again, learned.losses_[:3], rtol=1e-4)

# %% [markdown]
# ### What it refuses
#
# Each message says what was found and what to do, before any training.

# %%
from ncvqvae_lite.errors import BadInput

gap = x.copy()
gap[3, 10:12] = np.nan
inputs = {
    "a gap": ("simclr", gap),
    "nothing but gaps in a series": ("ts2vec", np.where(np.arange(len(x))[:, None] == 5, np.nan, x)),
    "too short": ("simclr", x[:, :12]),
    "one series": ("simclr", x[:1]),
    "a method that is not there": ("simsiam", x),
}
refusals = {}
for what, (method, values) in inputs.items():
    try:
        Representation(method, steps=1).fit(values)
    except BadInput as error:
        refusals[what] = str(error)
        print(f"{what}:\n    {error}")
try:
    learned.transform(x[:, :100])
except BadInput as error:
    refusals["another length"] = str(error)
    print(f"another length:\n    {error}")

# %% tags=["nbval-check-output"]
nb.check("inputs refused", len(refusals), 6)

# %% [markdown]
# What it *cannot* refuse: views that destroy what your labels need. `simclr` and `vicreg` crop a window of 80 %, blank a
# part, add noise, warp the size and smooth; if an hour of the day carries the label, a crop moves it. Chapter 11 tells how to measure
# that before training. Keep it in mind for the next table.
#
# ## Are they better than the series?
#
# The question has an answer only beside the *raw series*, and beside features of a network that learned nothing: an encoder
# with random weights is a filter bank, and often not a bad one. Few labels, so the draw of the labels matters more than the
# method. Therefore: many draws, and *the same ones* for every row of the table. What counts is the difference from the raw
# series, draw by draw.

# %%
from ncvqvae_lite.family.few import few_labels
from ncvqvae_lite.family.scores import linear_probe


def few_label_scores(f, y, f_test, y_test, per_class=cfg.per_class):
    """Accuracies (draws,) on test of a linear probe, each from `per_class` labels a class; equal draws for equal y."""
    g = torch.Generator().manual_seed(cfg.seed)
    draws = [few_labels(torch.as_tensor(y), per_class, g).numpy() for _ in range(cfg.draws)]
    return np.array([linear_probe(f[rows], y[rows], f_test, y_test) for rows in draws])


# %%
scores = {}
for name, (x, y, x_test, y_test) in tables.items():
    scores[name, "raw series"] = few_label_scores(x, y, x_test, y_test)
    for method, steps in (("untrained", 1), ("simclr", cfg.steps), ("vicreg", cfg.steps)):
        if (name, method) == ("GunPoint", "vicreg"):
            encode = learned  # from above
        else:  # a single step with a tiny rate leaves the weights as they were drawn
            kind, rate = ("simclr", 1e-12) if method == "untrained" else (method, 1e-3)
            encode = Representation(kind, steps=steps, lr=rate, seed=cfg.seed).fit(x)
        scores[name, method] = few_label_scores(encode.transform(x), y, encode.transform(x_test), y_test)


# %%
def lead_over_raw(name, method):
    """Mean difference from the raw series over the draws, and its standard error."""
    lead = scores[name, method] - scores[name, "raw series"]
    return lead.mean(), lead.std(ddof=1) / len(lead) ** 0.5


print(f"{cfg.per_class} labels a class, {cfg.draws} draws, linear probe on {len(x_test)} test series")
for (name, method), values in scores.items():
    lead = "" if method == "raw series" else "   minus raw {:+.3f} ± {:.3f}".format(*lead_over_raw(name, method))
    print(f"{name:17} {method:11} {values.mean():.3f}{lead}")

# %%
fig, axes = plots.figure(1, 2, height=3.6, sharey=True)
rows = ["raw series", "untrained", "simclr", "vicreg"]
for ax, name in zip(axes[0], tables):
    for place, method in enumerate(rows):
        values = scores[name, method]
        colour = plots.REAL if method == "raw series" else plots.CLASS_COLOURS[place - 1]
        ax.plot(values, place + np.linspace(-0.25, 0.25, len(values)), "o", color=colour, markersize=4, alpha=0.5)
        ax.plot(values.mean(), place, "|", color=plots.INK, markersize=24, markeredgewidth=2)
    ax.set_title(name, fontsize=plots.TEXT)
    ax.set_xlabel("accuracy on test")
axes[0, 0].set_yticks(range(len(rows)), rows)
axes[0, 0].invert_yaxis()
fig

# %% tags=["nbval-check-output"]
gun, italy = (lead_over_raw(name, "vicreg")[0] for name in tables)
nb.check_band(cfg, "16", "GunPoint: VICReg minus raw series", gun, {"no gain": 0.0})
nb.check_band(cfg, "16", "ItalyPowerDemand: VICReg minus raw series", italy, {"no loss": 0.0})
nb.check("rows in the figure", len(scores), 8)

# %% [markdown]
# (A dot is a draw of the labels, the line their mean.) The same method, the same settings, opposite answers. In GunPoint the
# hand makes the same movement a little earlier or later, higher or lower: what views teach to ignore is what stands in
# the way. In ItalyPowerDemand the label is *when* the demand rises, and to ignore small shifts is to ignore the label; 24
# numbers are few, and a straight border through them is hard to beat. No method in the table knows which case it is in. You find out
# by a comparison like this one, or, before any training, by the test of chapter 11: 1-NN of series seen through the views.
#
# ## Choose without the test split
#
# The table above *reports* on the test split; to *choose* on it would be to fool yourself: the best of several
# rows is best by luck, too. Choose on the labelled train series, by cross-validation, with the representation learned anew
# inside each fold. As an estimator it stands in a pipeline, so scikit-learn does that by itself.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

pipeline = make_pipeline(FunctionTransformer(), StandardScaler(), LogisticRegression(max_iter=1000))
candidates = [FunctionTransformer(), Representation("vicreg", steps=cfg.steps, seed=cfg.seed)]  # the first: raw series
folds = StratifiedKFold(2, shuffle=True, random_state=cfg.seed)
chosen = {}
for name, (x, y, x_test, y_test) in tables.items():
    search = GridSearchCV(pipeline, {"functiontransformer": candidates}, cv=folds).fit(x, y)
    kind = type(search.best_params_["functiontransformer"]).__name__
    chosen[name] = "vicreg" if kind == "Representation" else "raw series"
    on_folds = dict(zip(("raw series", "vicreg"), search.cv_results_["mean_test_score"].round(3).tolist()))
    print(
        f"{name}: on folds of train {on_folds}: take {chosen[name]}; on test, once: {search.score(x_test, y_test):.3f}"
    )

# %% tags=["nbval-check-output"]
nb.check("tables for which something was chosen", len(chosen), 2)
nb.check("choices that are a candidate", all(c in ("raw series", "vicreg") for c in chosen.values()), True)

# %% [markdown]
# With all labels of the train split the difference may be small, and then the choice is close to a coin: the folds say so
# by their numbers. Two things to know. Learning on *all* train series, without labels, and cross-validating only the
# classifier is no leak of labels, but it is one of series: the features have seen the fold's series. Inside the fold is
# the honest way, and costs a training each. And after a choice the test split is used once.
#
# ## Gaps
#
# Sensors fail. Two ways: fill the gaps and go on as before, or take a method that knows what a gap is. `ts2vec` takes NaN
# and masks these steps. 30 % of all values of GunPoint are missing, in train and in test:

# %%
from ncvqvae_lite.family.views import drop_values, fill_missing

x, y, x_test, y_test = tables["GunPoint"]
g = torch.Generator().manual_seed(cfg.seed)
holes, holes_test = (drop_values(torch.tensor(part)[:, None], 0.3, g=g)[:, 0] for part in (x, x_test))
filled, filled_test = (fill_missing(part[:, None])[:, 0].numpy() for part in (holes, holes_test))
with_gaps = {"filled, raw series": few_label_scores(filled, y, filled_test, y_test)}
kinds = {
    "filled, vicreg": (Representation("vicreg", steps=cfg.steps, seed=cfg.seed), filled, filled_test),
    "gaps, ts2vec": (Representation("ts2vec", steps=cfg.steps // 2, seed=cfg.seed), holes.numpy(), holes_test.numpy()),
}
for name, (encode, part, part_test) in kinds.items():
    with_gaps[name] = few_label_scores(encode.fit_transform(part), y, encode.transform(part_test), y_test)
for name, values in with_gaps.items():
    print(f"30 % missing: {name:18} {values.mean():.3f}")

# %% tags=["nbval-check-output"]
nb.check("values that are missing", int(holes.isnan().sum()), int(0.3 * holes.numel()))
nb.check("values that are missing after filling", int(np.isnan(filled).sum()), 0)
vicreg_filled = (with_gaps["filled, vicreg"] - with_gaps["filled, raw series"]).mean()
nb.check_band(cfg, "16", "30 % missing: VICReg minus raw series, both filled", vicreg_filled, {"no gain": 0.0})
nb.record(
    "16",
    "30 % missing: TS2Vec minus raw series filled",
    (with_gaps["gaps, ts2vec"] - with_gaps["filled, raw series"]).mean(),
)

# %% [markdown]
# Filling costs little on smooth series: the neighbours of a missing value nearly tell it. So put "filled" beside every method that
# claims to need no filling. Where gaps are long, or where it matters *that* a value is missing, filling invents data, and
# a method that sees the gap is the better choice. Chapter 13 has the comparison over shares of missing values.
#
# ## Save, load, and new series
#
# What was learned is a folder: weights, and the mean and deviation of each channel of the series learned from, so that new
# series are scaled as the old ones were.

# %%
learned.save(folder.name)
loaded = Representation.load(folder.name)
print(loaded, loaded.transform(x_test[:2])[:, :4].round(2), sep="\n")

# %% tags=["nbval-check-output"]
nb.check("loaded: the same features", np.array_equal(loaded.transform(x_test), f_test), True)
one_by_one = np.concatenate([loaded.transform(row[None]) for row in x_test[:5]])
nb.check("a series alone has the features that it has among others", one_by_one, f_test[:5], rtol=1e-3, atol=1e-4)

# %% [markdown]
# ## What else features are for
#
# Neighbours: which series of the table are like this one? And odd series: how far is a new one from all that is known? Both
# are distances in the space of features (`neighbours`, `density_score`). Here a query with its nearest series by features and by
# values, and one of the test series with a part replaced by noise.

# %%
from ncvqvae_lite.family.scores import density_score, neighbours, precision_at

spaces = {"features": (f, f_test), "raw series": (x, x_test)}
query = 0
fig, axes = plots.figure(2, 4, height=3.6, sharex=True, sharey=True)
for line, (space, (reference, new)) in zip(axes, spaces.items()):
    nearest = neighbours(reference, new[query : query + 1], k=3).index[0]
    for ax, (what, series, label) in zip(
        line, [("query", x_test[query], y_test[query]), *(("nearest", x[i], y[i]) for i in nearest)]
    ):
        ax.plot(series, color=plots.CLASS_COLOURS[label], linewidth=1.5)
        ax.set_title(f"{what}, class {label + 1}", fontsize=9)
    line[0].set_ylabel(space, fontsize=plots.SMALL)
fig

# %%
broken = x_test.copy()
broken[:, 60:80] += np.random.default_rng(cfg.seed).normal(0, 0.5, (len(broken), 20))  # a loose contact
f_broken = learned.transform(broken)
for space, (reference, new) in spaces.items():
    scores_new = density_score(reference, new)
    scores_odd = density_score(reference, f_broken if space == "features" else broken)
    above = (scores_odd[:, None] > scores_new).mean()
    print(
        f"{space:11} precision at 5: {precision_at(new, y_test):.2f}; a broken series scores above a sound one: {above:.2f}"
    )

# %% tags=["nbval-check-output"]
precision = {space: precision_at(new, y_test) for space, (_, new) in spaces.items()}
nb.check_band(cfg, "16", "GunPoint: precision at 5 of features", precision["features"], {"chance": 0.5})
nb.check("queries in the figure, and their neighbours", (len(axes), axes.shape[1] - 1), (2, 3))

# %% [markdown]
# ## A list to go through
#
# - Raw series with a straight border and 1-NN, and an untrained encoder: stand they in your table?
# - The same draws of labels for every row; a standard error of the *difference*; more than one seed of the training.
# - Do the views keep your labels? 1-NN of series seen through a view, against clean ones (chapter 11).
# - Was anything chosen on the test split? Then it is a train split now.
# - Series cut from one recording lie in one fold together.
# - Under some dozens of series nothing is learned that random weights do not have. Look at the untrained row.
#
# ## Recorded runs
#
# The banded numbers over seeds; a seed draws other halves, other labels and other weights.

# %%
print(nb.recorded_runs("16"))

# %% [markdown]
# ## What to take along
#
# - `Representation(method).fit(x).transform(x)`: features without labels, in pipelines and searches.
# - They help where series of a class differ by what views change, and hurt where the label is just that.
# - A method that takes gaps has to beat filling them.
# - Choose on folds, inside which everything is learned anew; report once.

# %% [markdown]
# ## Exercises
#
# They need nothing from the chapter but this set-up. A check says what to look at when an answer is wrong.

# %%
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression

from ncvqvae_lite import nb

generator = nb.seed_everything(1)


class Spy(TransformerMixin, BaseEstimator):
    """An estimator that remembers which rows it learned from (by their first column), and subtracts their mean."""

    seen: ClassVar = []  # one list of row numbers for each `fit`

    def fit(self, X, y=None):
        Spy.seen.append(sorted(X[:, 0].astype(int).tolist()))
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        return (X - self.mean_)[:, 1:]


# %% [markdown]
# ### 16.1 The same draws for all `*`
# Compare representations from few labels. Draw `per_class` rows of each class without replacement, `draws` times, and use *the
# same rows* for every representation. Return for each the accuracies over the draws. The classifier is
# `LogisticRegression(max_iter=1000)` on the features as they are.


# %% tags=["exercise"]
def compare(features, y, features_test, y_test, per_class, draws, rng):
    """Few-label accuracies of several representations, draw by draw.

    features, features_test   name -> (n, d), (m, d); d may differ from name to name
    y, y_test                 (n,), (m,)
    rng                       numpy Generator of the draws
    returns                   name -> (draws,) accuracies on test
    """
    # solution: draw first, then compute
    rows = [
        np.concatenate([rng.choice(np.flatnonzero(y == label), per_class, replace=False) for label in np.unique(y)])
        for _ in range(draws)
    ]
    return {
        name: np.array(
            [LogisticRegression(max_iter=1000).fit(f[r], y[r]).score(features_test[name], y_test) for r in rows]
        )
        for name, f in features.items()
    }
    # end of solution


# %% tags=["nbval-check-output"]
def check_compare(answer):
    rng = np.random.default_rng(3)
    y, y_test = np.repeat([0, 1, 2], (60, 30, 12)), np.repeat([0, 1, 2], 40)
    f, f_test = (rng.normal(0, 1.0, (len(labels), 4)) + labels[:, None] * [1.2, 0, 0, 0] for labels in (y, y_test))
    both = {"one": f, "copy": f.copy(), "shifted": f + 7.0}
    tests = {"one": f_test, "copy": f_test.copy(), "shifted": f_test + 7.0}
    found = answer(both, y, tests, y_test, 4, 12, np.random.default_rng(0))
    nb.check("names", sorted(found), ("copy", "one", "shifted"))
    nb.check("one accuracy a draw", [np.shape(found[name]) for name in sorted(found)], [(12,), (12,), (12,)])
    nb.check("two names for one representation: equal, draw by draw", found["one"], found["copy"], atol=1e-12,
             hint="draw the rows once, before the loop over representations")  # fmt: skip
    nb.check("different draws give different accuracies", len(np.unique(found["one"])) > 3, True,
             hint="every draw has rows of its own")  # fmt: skip
    other = answer(both, y, tests, y_test, 4, 12, np.random.default_rng(1))["one"]
    nb.check("another generator, other draws", bool(np.array_equal(other, found["one"])), False, hint="use `rng`")
    rare = np.repeat([0, 1, 2], (50, 50, 4))
    told = answer(
        {"all": 9 * np.eye(3)[rare]}, rare, {"all": 9 * np.eye(3)}, np.arange(3), 4, 20, np.random.default_rng(0)
    )
    nb.check("a rare class far from the others is told from each draw", told["all"], np.ones(20), atol=1e-12,
             hint="`per_class` rows of every class, whatever its share")  # fmt: skip
    one_hot = answer({"row": np.eye(102)}, y, {"row": np.eye(102)}, y, 12, 3, np.random.default_rng(0))["row"]
    told = [round(102 * value) in (36, 36 + 48, 36 + 18) for value in one_hot]  # all others go to one class
    nb.check("rows known by name only: 36 different ones are learned", all(told), True,
             hint="fit on the drawn rows only, `per_class` of each class, none of them twice")  # fmt: skip
    small = answer({"all": f}, y, {"all": f_test}, y_test, 1, 40, np.random.default_rng(0))["all"].mean()
    nb.check("fewer labels are worth less", float(found["one"].mean() - small), low=0.02, high=0.5)


check_compare(compare)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> A list of index arrays, one for each draw, is all that the representations share. </details>


# %% tags=["solution"]
def wrong_own_draws(features, y, features_test, y_test, per_class, draws, rng):
    """draws other rows for each representation"""
    found = {}
    for name in features:
        one = compare({name: features[name]}, y, features_test, y_test, per_class, draws, rng)
        found |= one
    return found


def wrong_fixed_seed(features, y, features_test, y_test, per_class, draws, rng):
    """makes a generator of its own"""
    return compare(features, y, features_test, y_test, per_class, draws, np.random.default_rng(0))


def wrong_same_draw(features, y, features_test, y_test, per_class, draws, rng):
    """draws once, and repeats it"""
    once = compare(features, y, features_test, y_test, per_class, 1, rng)
    return {name: np.repeat(values, draws) for name, values in once.items()}


def wrong_mean(features, y, features_test, y_test, per_class, draws, rng):
    """returns the mean only"""
    found = compare(features, y, features_test, y_test, per_class, draws, rng)
    return {name: values.mean() for name, values in found.items()}


def wrong_all_labels(features, y, features_test, y_test, per_class, draws, rng):
    """fits on all rows"""
    score = {
        n: LogisticRegression(max_iter=1000).fit(f, y).score(features_test[n], y_test) for n, f in features.items()
    }
    return {name: np.repeat(value, draws) for name, value in score.items()}


def wrong_with_replacement(features, y, features_test, y_test, per_class, draws, rng):
    """draws with replacement"""
    rows = [np.concatenate([rng.choice(np.flatnonzero(y == c), per_class) for c in np.unique(y)]) for _ in range(draws)]
    fit = LogisticRegression(max_iter=1000).fit
    return {n: np.array([fit(f[r], y[r]).score(features_test[n], y_test) for r in rows]) for n, f in features.items()}


def wrong_not_by_class(features, y, features_test, y_test, per_class, draws, rng):
    """draws as many rows, whatever their class"""
    k = len(np.unique(y))
    rows = []
    while len(rows) < draws:
        drawn = rng.permutation(len(y))[: k * per_class]
        rows += [drawn] if len(np.unique(y[drawn])) > 1 else []
    fit = LogisticRegression(max_iter=1000).fit
    return {n: np.array([fit(f[r], y[r]).score(features_test[n], y_test) for r in rows]) for n, f in features.items()}


nb.refused(check_compare, wrong_own_draws, wrong_fixed_seed, wrong_same_draw, wrong_mean)
nb.refused(check_compare, wrong_all_labels, wrong_not_by_class, wrong_with_replacement)

# %% [markdown]
# ### 16.2 Everything inside the fold `**`
# Cross-validate a representation and the classifier behind it. `fold` (n,) says in which fold a row is tested. For each fold: a
# *new* estimator from `make()` learns from the other rows' series, the classifier from their features and labels, and
# the fold's rows are scored. Return the share of all rows that are told right.


# %% tags=["exercise"]
def cross_validated(make, x, y, fold):
    """Accuracy over all rows, each told by a representation and a classifier that have not seen it.

    make     () -> estimator with `fit(x)` and `transform(x)`
    x, y     (n, L), (n,)
    fold     (n,) numbers of folds, which may be of unequal sizes
    returns  share of right answers, of all n
    """
    # solution: count right answers, fold by fold
    right = 0
    for k in np.unique(fold):
        train, held_out = fold != k, fold == k
        encode = make().fit(x[train])
        probe = LogisticRegression(max_iter=1000).fit(encode.transform(x[train]), y[train])
        right += int((probe.predict(encode.transform(x[held_out])) == y[held_out]).sum())
    return right / len(y)
    # end of solution


# %% tags=["nbval-check-output"]
def check_cross_validated(answer):
    rng = np.random.default_rng(5)
    y = np.tile([0, 1], 20)
    x = np.column_stack([np.arange(40), rng.normal(0, 1, (40, 3)) + y[:, None]])
    fold = np.repeat([0, 1, 2], (20, 12, 8))
    Spy.seen.clear()
    found = answer(Spy, x, y, fold)
    wanted = [sorted(np.flatnonzero(fold != k).tolist()) for k in range(3)]
    nb.check("a fit for each fold", len(Spy.seen), 3, hint="make() anew for each fold, and fit it once")
    nb.check(
        "each saw the other folds' rows", sorted(Spy.seen) == sorted(wanted), True, hint="the fold's rows stay out"
    )
    right = 0
    for k in range(3):
        mean = x[fold != k].mean(axis=0)[1:]
        probe = LogisticRegression(max_iter=1000).fit(x[fold != k, 1:] - mean, y[fold != k])
        right += (probe.predict(x[fold == k, 1:] - mean) == y[fold == k]).sum()
    nb.check(
        "share of all rows", found, right / 40, rtol=1e-9, hint="folds are unequal: count rows, do not average folds"
    )
    names = np.where(fold == 1, 7, np.where(fold == 2, 3, 0))
    nb.check("folds by any numbers", answer(Spy, x, y, names), right / 40, rtol=1e-9, hint="np.unique(fold)")


check_cross_validated(cross_validated)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary> Features of two folds cannot be mixed: each fit has axes of its own. So the classifier
# is trained inside the fold too. </details>


# %% tags=["solution"]
def wrong_fit_on_all(make, x, y, fold):
    """learns the representation from all rows, once"""
    encode = make().fit(x)
    f, right = encode.transform(x), 0
    for k in np.unique(fold):
        probe = LogisticRegression(max_iter=1000).fit(f[fold != k], y[fold != k])
        right += (probe.predict(f[fold == k]) == y[fold == k]).sum()
    return right / len(y)


def wrong_fit_again_on_test(make, x, y, fold):
    """fits the estimator again on the fold's rows"""
    right = 0
    for k in np.unique(fold):
        probe = LogisticRegression(max_iter=1000).fit(make().fit_transform(x[fold != k]), y[fold != k])
        right += (probe.predict(make().fit_transform(x[fold == k])) == y[fold == k]).sum()
    return right / len(y)


def wrong_mean_of_folds(make, x, y, fold):
    """averages the folds' accuracies"""
    shares = []
    for k in np.unique(fold):
        encode = make().fit(x[fold != k])
        probe = LogisticRegression(max_iter=1000).fit(encode.transform(x[fold != k]), y[fold != k])
        shares.append(probe.score(encode.transform(x[fold == k]), y[fold == k]))
    return float(np.mean(shares))


def wrong_scored_on_train(make, x, y, fold):
    """scores the rows that it learned from"""
    right = 0
    for k in np.unique(fold):
        encode = make().fit(x[fold != k])
        probe = LogisticRegression(max_iter=1000).fit(encode.transform(x[fold != k]), y[fold != k])
        right += (probe.predict(encode.transform(x[fold != k])) == y[fold != k]).sum()
    return right / (len(y) * (len(np.unique(fold)) - 1))


def wrong_fold_numbers(make, x, y, fold):
    """takes folds to be numbered 0, 1, 2"""
    right = 0
    for k in range(3):
        encode = make().fit(x[fold != k])
        probe = LogisticRegression(max_iter=1000).fit(encode.transform(x[fold != k]), y[fold != k])
        if (fold == k).any():
            right += (probe.predict(encode.transform(x[fold == k])) == y[fold == k]).sum()
    return right / len(y)


nb.refused(check_cross_validated, wrong_fit_on_all, wrong_fit_again_on_test, wrong_mean_of_folds)
nb.refused(check_cross_validated, wrong_scored_on_train, wrong_fold_numbers)
