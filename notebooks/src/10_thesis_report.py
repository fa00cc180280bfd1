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
# # 10. The thesis' tables again
#
# Do the published numbers come back when somebody else runs the method? And what is left of the claim once everything but
# the claim is made equal?
#
# - **Goals**: after it you can read a table of replications (range, verdict, coverage); say what a matched comparison takes out of a result; correct a family of tests; see why "the best of six" wins so often
# - **Before**: chapters 6 (the four priors), 7 (paired differences) and 8 (what one run gives); mean, standard deviation and p-value. Who
#   wants the result alone reads "What came out" and stops there
# - **Time**: 30 seconds of computing
# - **Data**: the thesis' tables, the authors' runs and our own recorded runs (`data/`); nothing is trained here
# - **Answers**: the claim of the thesis (Mathisen 2024) that non-contrastive training of the tokenizer improves reconstruction, probes, FID, IS and CAS

# %% [markdown]
# The thesis has seven tables: 13 data sets, 7 configurations, 4 seeds. This chapter puts what has been run so far with this
# package beside them. Sentences with numbers are printed by the cells, so they stay true when runs are added. **Change the
# next cell** to look at a table of your own.

# %% tags=["parameters"]
table: str = ""  # CSV file of exported runs; empty: the one that ships
runs: str = ""  # folder of runs with panels and loss curves of its own; empty: those that ship

# %%
import textwrap

import numpy as np
import pandas as pd

from ncvqvae_lite import nb
from ncvqvae_lite.lab.report import answer as report_answer
from ncvqvae_lite.lab.report import prior as report_prior
from ncvqvae_lite.lab.report import tables as report_tables
from ncvqvae_lite.lab.report import tests as report_tests
from ncvqvae_lite.lab.report.figures import all_figures
from ncvqvae_lite.lab.results import load_cells

nb.refuse_unknown_parameters()
cells = load_cells(table or None)
rows = report_tables.comparable(cells)
pd.set_option("display.width", 130, "display.max_columns", 20, "display.precision", 3)
print(f"{len(cells)} recorded values, {len(rows)} of them with the thesis' recipe")


# %%
def say(*sentences):
    """Sentences, one after the other, in lines that fit."""
    print(textwrap.fill(" ".join(sentence for sentence in sentences if sentence), 110))


def balance(better, worse):
    """Which of two counts is the larger one, in words."""
    if better == worse:
        return "as many are better as worse"
    return "worse outnumber better" if worse > better else "better outnumber worse"


covered = report_tables.coverage(rows)
tables = report_tables.thesis_tables(rows)
counts = report_tables.count_verdicts(tables)
all_means = counts[(counts.table == "all") & (counts.metric == "mean")].iloc[0]
say(
    f"Of the thesis' means {all_means.run} can be compared with ours. {all_means.inside} of ours lie inside the range of",
    f"the authors' runs, {all_means.better} are better and {all_means.worse} worse:",
    f"{balance(all_means.better, all_means.worse)}.",
)

# %% [markdown]
# ## What came out
#
# **Do the published numbers come back?** For each mean in the thesis' tables: does ours lie between the lowest and the
# highest of the authors' four runs?

# %%
by_score = counts[counts.table.str.endswith("_mean")].set_index("metric")[["run", "inside", "better", "worse"]]
print(by_score.rename(columns={"run": "compared"}).rename_axis(None).to_string() + "\n")
say(
    f"These are {covered['run']} of the thesis' {covered['cells']} runs, on {covered['datasets']} of 13 data sets.",
    f"Were ours and theirs alike, chance would put {all_means.inside_expected:.0f} of the {all_means.run} inside, and as",
    "many of the others above as below. A t test tells",
    f"{all_means.differ:.0f} of {all_means.compared:.0f} apart, where chance alone gives",
    f"{report_tables.LEVEL * all_means.compared:.0f}. The means of one run are not independent of each other: six scores",
    "share a tokenizer.",
)

# %% [markdown]
# **Is the gain the non-contrastive loss, or the prior?** The reference trains the prior of its non-contrastive (NC) arms in
# another way than that of the naive arm. So what does this prior do where no NC loss was ever used?

# %%
blocks = report_prior.prior_blocks(report_prior.prior_rows(cells, "fid"))
effects = report_prior.prior_effects(blocks)
on_prior = [sentence.removesuffix(".") + "." for sentence in report_prior.headline(effects).split(". ")]
say(*on_prior[:2])

# %% [markdown]
# **And with one prior for all, does the loss help?** That is asked with our own recipe, the preset `improved`.

# %%
answer_rows = report_answer.answer_rows(cells)
answers = report_answer.effects(answer_rows)
say(report_answer.headline(answers))
say(report_answer.missing(answer_rows))

# %% [markdown]
# The rest of the chapter is the evidence: which runs there are, the prior, the loss, then the tables score by score.

# %%
figures = all_figures(cells, runs or None)


def show(*words):
    """The first figure whose title has all these words, or the reason why it cannot be drawn."""
    entry = next(entry for entry in figures if all(word in entry.title for word in words))
    return entry.figure or print(f"{entry.title}: not drawn, {entry.reason}")


def short(configuration):
    """Names that fit above a column: "naive", "barlow-warp"."""
    return configuration.replace("regular-none", "naive").replace("barlowtwins", "barlow")


print(f"{sum(entry.figure is not None for entry in figures)} of {len(figures)} figures can be drawn")

# %% [markdown]
# ## What was run
#
# A recorded value is comparable if it has the thesis' constants (preset `paper`, nothing changed that matters) and, for FID
# and IS, the thesis' own feature network. Below is the number of seeds. A dot is a cell that nobody has run yet, and
# nothing that follows says anything about it.

# %%
run = rows[rows.metric == "fid"]
seeds = run.groupby(["dataset", run.method + "-" + run.augmentation]).seed.nunique()
configurations = [report_tests.NAIVE, *report_tests.NC]
grid = pd.DataFrame(".", index=list(report_tables.thesis_fcn()), columns=configurations)
for (dataset, configuration), count in seeds.items():
    grid.loc[dataset, configuration] = str(count)
print(grid.rename(columns=short).to_string())
print(f"\n{covered['run']} of {covered['cells']} runs of the thesis' grid; data sets with a run: {covered['datasets']}")
print(f"runs with CAS: {covered['with_cas']}; with a seed that the thesis does not have: {covered['other']}")

# %% tags=["nbval-check-output"]
nb.check("runs of the thesis' grid", covered["cells"], 13 * 7 * 4)
nb.check("numbers in the thesis' tables", len(tables), 1001)
nb.check("runs with an FID", int(seeds.sum()), covered["run"] + covered["other"])
key = ["dataset", "method", "augmentation", "seed", "metric"]
nb.check("values that occur twice", int(rows.duplicated(key).sum()), 0)
nb.check("values that are not finite", int((~np.isfinite(rows.value)).sum()), 0)

# %% [markdown]
# ## The prior, on the same tokens
#
# The thesis compares a naive tokenizer (`regular` in code) with non-contrastive ones (NC; also called SSL, self-supervised).
# But the reference changed more than the tokenizer. Chapter 6 took its two priors apart; in short:
#
# - **what is hidden**: in each training step a cosine names a share of the tokens. The NC arms hide that share (`masked`); the
#   naive arm, by a slip that it inherited, keeps it visible and hides the rest (`kept`);
# - **the head**: the naive arm compares its output with the same token vectors that it reads (`tied`); the NC arms have
#   output weights of their own (`untied`).
#
# So priors are trained on the *same* tokens. A circle below is one tokenizer (one seed): its FID with one prior over its FID
# with the other. Left of the dotted line the first prior is better. The left panel has more data sets, because it needs two
# of the four priors only.

# %%
show("Four priors")

# %%
for sentence in on_prior[2:]:
    say(sentence)

# %% [markdown]
# All effects in numbers. `masked : kept` averages over both heads, `untied : tied` over both kinds of masks; the interaction
# says how differently masking works with the one and with the other head. An interval that contains 1 allows for no effect.
# Few seeds make wide intervals: with two, an interval reaches 12.7 standard errors to either side; with four still 3.2.


# %%
def interval(row):
    """A ratio with its 95 % interval, where there is one, as text."""
    return f"{row.ratio:.2f}" + (f" [{row.low:.2f}, {row.high:.3g}]" if np.isfinite(row.low) else "")


if len(effects):
    listed = effects.assign(tokens=effects.method + "-" + effects.augmentation, text=effects.apply(interval, axis=1))
    wide = listed.pivot(index=["dataset", "tokens"], columns="effect", values="text").fillna(".")
    print(wide[list(report_prior.EFFECTS)].rename_axis(columns=None).rename(index=short).to_string())
    over = report_prior.over_datasets(effects)
    print("\nOver data sets (an interval needs three):\n" + over.to_string(index=False, na_rep="-"))
else:
    print("no effect can be computed yet")

# %% [markdown]
# The ratio by hand: for each tokenizer the FID with the NC prior over the FID with the naive prior, then the geometric mean over
# seeds. A geometric mean, because FID has no natural unit: halved on one seed and doubled on the next is "no change".

# %% tags=["nbval-check-output"]
ratios = (blocks[report_prior.NC_PRIOR] / blocks[report_prior.NAIVE_PRIOR]).dropna()
by_hand = [np.prod(r) ** (1 / len(r)) for _, r in ratios.groupby(["dataset", "method", "augmentation"])]
whole = effects[effects.effect == report_prior.WHOLE]
nb.check("NC prior : naive prior, by hand", np.array(by_hand), whole.ratio.to_numpy(float), rtol=1e-9)
nb.check("tokenizers that met both", len(ratios), int(whole.seeds.sum()))

# %% [markdown]
# And the tokens? Compare them at one and the same prior: FID on the tokens of an NC arm over FID on naive tokens.

# %%
ssl = report_prior.ssl_effects(blocks)
print(
    ssl.to_string(index=False, na_rep="-")
    if len(ssl)
    else "no data set has two kinds of tokens with one and the same prior yet"
)

# %% [markdown]
# ## The loss, with the same prior
#
# The other way to take the prior out: give it to all. In our recipe `improved` (chapters 5 and 6) the seven arms share the
# prior, the way in which classes are drawn, and the rule by which samples get noise; the naive arm and an NC arm of the same
# data set and seed then differ by the loss. (By the rule one arm may get noise and another none; the last line below counts
# that.) An effect is a ratio (×) for FID and IS and a difference for accuracies, averaged over arms, then seeds, then data
# sets. Its interval asks how the mean would move with other data sets and seeds.

# %%
lines = [("score", "NC against naive", "95 % interval", "an NC loss")]
for row in answers[answers.pairs > 0].itertuples():
    bounds = "-" if np.isnan(row.low) else report_answer.bounds(row)
    said = row.verdict if row.verdict == report_answer.NOT_SETTLED else f"{row.verdict} it"
    lines.append((report_answer.ASKED[row.Index], report_answer.size(row.Index, row.effect), bounds, said))
print("\n".join(f"{score:18}  {effect:17}  {bounds:18}  {said}" for score, effect, bounds, said in lines) + "\n")
of_sign = answers.loc[[report_answer.SIGN]]
say(f"Rests on {next(map(report_answer.rests_on, of_sign.itertuples()))} ({', '.join(of_sign.datasets.iloc[0])}).")
say(report_answer.RULE)
say(report_answer.noise(answer_rows))

# %% [markdown]
# The effect on FID by class, once more by hand: the logarithm of NC over naive for each pair, then means of means.

# %% tags=["nbval-check-output"]
of_runs = answer_rows[answer_rows.metric == report_answer.SIGN].set_index(["dataset", "seed", "arm"]).value
naive, nc = (of_runs.unstack("arm").reindex(columns=arms) for arms in ([report_tests.NAIVE], report_tests.NC))
logarithms = np.log(nc.div(naive[report_tests.NAIVE], axis=0)).dropna(how="all")
nb.check("pairs, counted by hand", int(logarithms.notna().sum().sum()), int(answers.pairs[report_answer.SIGN]))
if len(logarithms):
    by_hand = logarithms.mean(axis=1).groupby("dataset").mean().mean()
    nb.check("effect on FID by class, by hand", by_hand, answers.effect[report_answer.SIGN], rtol=1e-9)

# %% [markdown]
# ## The tables
#
# The thesis prints means of four runs. The authors' own four values are public, so the yardstick is their range, not a
# mean alone. The rule for a verdict, as the package states it:

# %%
say(report_tables.RULE)
for n in (1, 4):
    share = report_tables.inside_by_chance(n)
    print(f"If nothing differed, the mean of {n} of our runs would be inside in {share:.0%} of the cells.")

# %% [markdown]
# So one `better` or `worse` is no finding: of ten cells with one run each, about four fall outside the range by chance alone.
# Count, and compare the count of `inside` with `inside_expected`, which is what chance gives. `differ` counts the stars among
# the `compared` cells: about one in twenty would have one if nothing differed.

# %%
columns = ["table", "metric", "cells", "run", "inside", "better", "worse", "compared", "inside_expected", "differ"]
print(counts[columns].to_string(index=False, na_rep="-", float_format="{:.3g}".format))

# %% tags=["nbval-check-output"]
means = tables[(tables.statistic == "mean") & (tables.n > 0)]
inside = (means.authors_min <= means.ours) & (means.ours <= means.authors_max)
of_means = counts[counts.table.isin(means.table)]
nb.check("means inside the authors' range, counted by hand", int(inside.sum()), int(of_means.inside.sum()))
nb.check("means of ours", len(means), int(of_means.run.sum()))


# %% [markdown]
# Now score by score: our mean with its verdict (`=` inside the authors' range, `+` better, `-` worse, a star where the means
# differ), then the figure with every seed. Data sets without any run are left out; a dot is another cell without one.
#
# **Reconstruction** is the error on the *last test batch*: the authors' program kept that number alone, so that is what can be
# compared. No prior has a part in it.


# %%
def verdicts(metric):
    """The table of one score as text: our mean, and its verdict as a sign."""
    part = tables[(tables.statistic == "mean") & (tables.metric == metric)]
    sign = part.verdict.map({"inside": "=", "better": "+", "worse": "-"}) + part.differs.map({True: "*"}).fillna("")
    text = (part.ours.map("{:.3g} ".format) + sign).where(part.n > 0, ".")
    found = pd.DataFrame({"dataset": part.dataset, "name": part.method + "-" + part.augmentation, "text": text})
    wide = found.pivot(index="dataset", columns="name", values="text").loc[list(grid.index), configurations]
    wide = wide[(wide != ".").any(axis=1)]
    return wide.rename(columns=short).rename_axis(index=None, columns=None).to_string()


print(verdicts("recon_val"))
show("Reconstruction error")

# %% [markdown]
# **Probes** ask whether the class can be read off the latents: by the five nearest neighbours, and by a straight line (SVM).
# This is where SSL should help most directly, because the probes see the tokenizer and nothing else.

# %%
print(verdicts("knn_acc"))
show("KNN accuracy", "ours")

# %%
print(verdicts("svm_acc"))
show("SVM accuracy")

# %% [markdown]
# **Generated series.** FID falls and IS rises when generated series look to the feature network as real ones do. Both
# pass through the prior, so here the two arms of the thesis differ in more than the tokenizer. Look at the vertical lines:
# real series are that far apart among themselves, so an FID to the left of them cannot be improved in a way that means much.

# %%
print(verdicts("fid"))
show("FID: ours")

# %%
print(verdicts("is"))
show("Inception score")

# %% [markdown]
# **CAS** is the accuracy on real test series of a classifier that saw generated series only. The dashed line is what the same
# classifier reaches with real series; CAS above it is possible where the train split is tiny and generated series are many.

# %%
print(verdicts("cas"))
show("CAS")

# %% [markdown]
# ## Over all data sets
#
# Is a configuration better than naive *in general*? Each data set gives one difference. The signed-rank test asks whether they
# lie on one side more than signs thrown at random would. Six configurations and six scores make 36 tests, and at 5 % almost
# two of them come out "significant" if nothing is there. Holm's correction asks for more where more is asked. With the
# authors' runs the test can be made in full:


# %%
def tested(frame):
    """Each NC configuration against the naive one, for every score: name -> table of tests."""
    return {name: report_tests.paired_tests(frame(name), name) for name in report_tests.TESTED}


def column(tests, name):
    """One column of all tables beside each other."""
    return pd.DataFrame({metric: test[name] for metric, test in tests.items()}).rename(index=short)


tests = tested(report_tests.authors_frame)
print("p, corrected for the six configurations of a score")
print(column(tests, "p_holm").to_string())
print("\nrank-biserial correlation: 1 where NC is better on every data set")
print(column(tests, "rank_biserial").to_string(float_format="{:.2f}".format))

# %%
p = column(tests, "p").to_numpy().ravel()
in_score = column(tests, "p_holm").to_numpy()
kinds = {"uncorrected": p, "Holm in each score": in_score, "Holm over all": report_tests.holm(p)}
for kind, values in kinds.items():
    print(f"{kind:20} {int((values < 0.05).sum())} of {len(p)} tests with p < 0.05")

# %% [markdown]
# And ours, as far as they go (a test needs five data sets):

# %%
ours = tested(lambda metric: report_tests.our_frame(rows, metric))
print("data sets with both, naive and NC")
print(column(ours, "n").to_string())
if (column(ours, "n") >= report_tests.FEWEST).any(axis=None):
    print("\np, corrected for the six configurations of a score")
    print(column(ours, "p_holm").to_string(na_rep="-"))

# %% [markdown]
# ### The best of six
#
# The thesis counts on how many of 13 data sets *some* NC configuration beats the naive one. That is six chances against
# one. If all seven were equal, the best of six would still win six times in seven.

# %%
printed = {
    "recon_val": "recon_mean", "knn_acc": "probe_mean", "svm_acc": "probe_mean",
    "fid": "gen_mean", "is": "gen_mean", "cas": "cas_mean",
}  # fmt: skip
frames = {metric: report_tests.printed_frame(name, metric) for metric, name in printed.items()}
won = {metric: report_tests.wins(frame, metric) for metric, frame in frames.items()}
print("data sets won, of 13 (means as printed)")
print(pd.DataFrame({metric: count.wins for metric, count in won.items()}).rename(index=short).to_string())
print(f"by chance the best of six wins {won['fid'].by_chance['best of six']:.1f}, each one {13 / 2}")

# %% [markdown]
# The last row is what the text of the thesis says, number for number. Read it beside what chance gives: for some scores it
# is *less*. The rows above are the fair comparison.

# %% tags=["nbval-check-output"]
said = {"recon_val": 9, "knn_acc": 12, "svm_acc": 12, "fid": 10, "is": 12, "cas": 13}
for metric, count in said.items():
    nb.check(f"data sets won by the best of six, {metric}", int(won[metric].wins["best of six"]), count)
nb.check("expected without any difference", won["fid"].by_chance["best of six"], 13 * 6 / 7, rtol=1e-12, digits=3)

# %% [markdown]
# A critical-difference diagram shows the average rank of all seven. A bar joins neighbours of which no pair differs once all
# 21 pairs are corrected for; few data sets make long bars. First the authors' FID and SVM accuracy, then our runs where there
# are enough.

# %%
show("Ranks by FID", "authors'")

# %%
show("Ranks by SVM", "authors'")

# %%
show("Ranks", "our runs")

# %% [markdown]
# ## Inside the runs
#
# What follows looks inside the runs that were kept for it; the line below a figure says of what none was kept.
#
# **Loss curves.** Does the SSL loss fall? Does the test error turn up again (overfitting) long before training ends?

# %%
show("Loss curves")

# %% [markdown]
# **Accuracy against loss.** Each line is one tokenizer while it trains. If a lower loss meant better latents, every line
# would run to the upper left. Where it does not, the loss is not what to select a tokenizer by.

# %%
show("KNN accuracy against")

# %% [markdown]
# **Latents.** Does a colour form its own cloud? Trust neighbourhoods only (chapter 8). Seed 1, here and below.

# %%
show("Latents")

# %% [markdown]
# **How sure was the sampler?** In each of the ten steps it keeps the tokens of which it is surest, with some chance thrown in;
# the last step has to keep whatever is left. The thesis reads probabilities above 0.9 from the first steps on as overfitting:
# then there was little left to choose.

# %%
show("How sure")

# %% [markdown]
# **Series.** Grey is where most real series of the class are. Does every class have its shape, and its variety?

# %%
show("Real and generated")

# %% [markdown]
# The same runs in numbers: the last test errors of their tokenizers, and how many tokens the sampler took in its first step with a
# probability above 0.9.

# %%
from ncvqvae_lite.lab.report.panel_figures import load_curves, load_panels

curves = load_curves(f"{runs}/curves.csv" if runs else None)
ends = curves.groupby(["dataset", "method", "augmentation", "seed", "preset", "ablation"]).last()
print(f"{len(ends)} tokenizers have curves, last test errors {ends.recon_val.min():.3f} to {ends.recon_val.max():.3f}")
for panel in load_panels(f"{runs}/panels" if runs else None):
    sure = panel["accepted"][0, 18:].sum() / panel["accepted"][0].sum()  # 20 bins of the probability
    arm = f"{panel['method']} {panel['augmentation']}"
    print(f"{panel['dataset']:22} {arm:18} {len(panel['points'])} series on its map, {sure:4.0%}  {panel['ablation']}")

# %% [markdown]
# ## What is missing

# %%
absent = [name for name in grid.index if (grid.loc[name] == ".").all()]
print(f"data sets without a run: {', '.join(absent) or 'none'}")
print(f"of {grid.size} cells {grid.size - len(seeds)} have no run, {(seeds < 4).sum()} fewer than 4 seeds")
print(f"values computed in part with bfloat16: {int((rows.reduced != '').sum())} of {len(rows)}")
own = cells[(cells.preset == "paper") & (cells.metric == "fid") & (cells.fcn == "own")]
print(f"paper runs whose FID has another scale, because their feature network is our own: {len(own)}")

# %% [markdown]
# Missing for good, whatever is still run: which of the authors' four values belongs to which seed was not recorded, so their
# runs and ours are compared as groups. Their probes let test series move the codebook, ours do not.
# FID and IS see the world through one feature network that was trained on the very series that the generator saw.
#
# ## What to take along
#
# - A replication is a comparison of *distributions*: their runs and ours. One run outside a range of four means little.
# - Before a gain is ascribed to an idea, everything else must be equal. Here the prior was not, and the four-prior
#   experiment says what that is worth.
# - Pair what can be paired. The same tokens, the same data set: differences within a pair are free of what the pairs
#   differ in.
# - Count the questions. Thirty-six tests need a correction, and the best of six needs another baseline than one.
# - An empty cell is a result too: it says how far a statement reaches.
#
# To fill cells: `ncvqvae campaign run matched-prior` (or `thesis`) runs what is missing, `ncvqvae campaign export` adds the rows,
# `ncvqvae report` makes one page of all tables with links to the notebooks that made the numbers.
