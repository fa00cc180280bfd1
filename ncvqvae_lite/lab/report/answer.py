"""The report's first answer: does a non-contrastive (NC) loss in the tokenizer help, all else being equal?

In the preset `improved` the seven arms share prior, draw of classes and the rule for noise, so an NC arm differs from
the naive one by the loss only; but the rule may give one arm pieces of noise, another none, which is told. Cells of
one data set and seed are paired, each NC arm with the naive one: ratios of FID and IS, differences of accuracies.

The effect on a score is the mean of the pairs over arms, then over seeds, then over data sets, each counting alike. Its
interval is a hierarchical bootstrap: data sets are drawn with replacement, and in each its seeds, each with all of its
arms, since these share a naive run. For few data sets the usual percentiles of such a bootstrap are too near: with five
they miss the truth more often than one time in ten (a test simulates it). So they are taken farther out, to where
Student's t would have them ("expanded percentile interval": Hesterberg, The American Statistician 69(4), 2015).
"""

import numpy as np
import pandas as pd

from ...generators import GENERATORS
from ..campaign import load_campaign
from ..text import counted, listed
from .tables import CELL, LEVEL
from .tests import FEWEST, NAIVE, NC, ON_LOG_SCALE, on_scale

PRESET, SIGN, CAMPAIGN = "improved", "fid_by_class", "headline"
ASKED = {
    "fid": "FID",
    "fid_by_class": "FID by class",
    "is": "inception score",
    "cas": "CAS",
    "knn_acc": "KNN accuracy",
    "svm_acc": "SVM accuracy",
}
LOWER = ("fid", "fid_by_class")  # is better
IMPROVES, WORSENS, NOT_SETTLED = "improves", "worsens", "not settled"
RULE = (
    f"An NC loss improves or worsens a score if there are at least {FEWEST} data sets and the 95 % interval of its "
    "effect is on one side of no effect; else it is not settled. The level holds for each score by itself."
)


def answer_rows(cells):
    """The rows that may answer, with a column `arm`: one for each metric, arm, data set and seed.

    cells     DataFrame of `results.load_cells`
    returns   rows of the six NC arms and the naive one in the preset `improved` as it is, of cells that have a
              `fid_by_class` (older ones had another recipe), without generated data sets: settings were chosen on them.
              Of several feature nets on a data set the one behind most rows stays
    """
    rows = cells[(cells.preset == PRESET) & (cells.ablation == "") & ~cells.dataset.isin(GENERATORS)]
    rows = rows.assign(arm=rows.method + "-" + rows.augmentation)
    rows = rows[rows.arm.isin([NAIVE, *NC])]
    key = [*CELL, "seed", "fcn"]
    rows = rows.merge(rows.loc[rows.metric == SIGN, key], on=key)
    net = {dataset: part.fcn.mode()[0] for dataset, part in rows.groupby("dataset")}
    return rows[rows.fcn == rows.dataset.map(net)]


def pairs(rows, score):
    """Each NC arm minus the naive one: index (data set, seed), a column for each NC arm, NaN without a pair.

    rows     of `answer_rows`
    score    of `ASKED`; logarithms are compared for `ON_LOG_SCALE`
    """
    values = rows[rows.metric == score].pivot(index=["dataset", "seed"], columns="arm", values="value")
    values = on_scale(values.reindex(columns=[NAIVE, *NC]).astype(float), score)
    return values[NC].sub(values[NAIVE], axis=0).dropna(how="all")


def effects(rows):
    """What NC changes, score by score.

    rows      of `answer_rows`
    returns   index `ASKED`; effect, low, high (of logarithms for `ON_LOG_SCALE`; no interval, NaN, below `FEWEST` data
              sets), by_arm {arm: its own effect}, datasets (names), arms, seeds, pairs (numbers), verdict (see `RULE`)
    """
    found = {}
    for score in ASKED:
        differences = pairs(rows, score)
        datasets, seeds = (differences.index.get_level_values(level).unique() for level in ("dataset", "seed"))
        by_arm = differences.groupby("dataset").mean().mean().dropna().to_dict()
        blocks = differences.mean(axis=1)
        low, high = interval(blocks) if len(datasets) >= FEWEST else (np.nan, np.nan)
        found[score] = {
            "effect": blocks.groupby("dataset").mean().mean(),
            "low": low,
            "high": high,
            "by_arm": by_arm,
            "datasets": tuple(datasets),
            "arms": len(by_arm),
            "seeds": len(seeds),
            "pairs": int(differences.notna().to_numpy().sum()),
            "verdict": _verdict(score, low, high),
        }
    return pd.DataFrame.from_dict(found, orient="index")


def _verdict(score, low, high):
    if not (low > 0 or high < 0):  # nor where there is no interval
        return NOT_SETTLED
    return IMPROVES if (high < 0) == (score in LOWER) else WORSENS


def interval(blocks, draws=50_000, seed=0):
    """(low, high) of the mean over data sets of their means over seeds: 95 %, by the hierarchical bootstrap above.

    blocks   Series by (data set, seed), of two data sets or more
    """
    from scipy import stats

    values = blocks.unstack().to_numpy()  # (data sets, seeds), NaN where a data set lacks a seed
    values = np.take_along_axis(values, np.argsort(np.isnan(values), axis=1, kind="stable"), axis=1)  # NaN last
    n, seeds, rng = len(values), np.isfinite(values).sum(axis=1), np.random.default_rng(seed)
    drawn = rng.integers(n, size=(draws, n))  # data sets
    size = seeds[drawn][..., None]  # (draws, n, 1)
    place = (rng.random((draws, n, values.shape[1])) * size).astype(int)  # seeds of each
    picked = np.where(np.arange(values.shape[1]) < size, values[drawn[..., None], place], 0)
    means = (picked.sum(axis=2) / size[..., 0]).mean(axis=1)  # (draws,)
    tail = stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(LEVEL / 2, n - 1))
    return tuple(np.quantile(means, [tail, 1 - tail]))


# --- in words ---


def headline(found):
    """The answer to the question as one sentence; `found` of `effects`."""
    if not found.pairs.any():
        return (
            f"Not answered yet: in the preset {PRESET} no data set and seed have the naive arm and an NC arm recorded, "
            "both with a FID by class."
        )
    named = {word: listed(ASKED[score] for score in found.index[found.verdict == word]) for word in found.verdict}
    parts = [f"{word} {named[word]}" for word in (IMPROVES, WORSENS) if word in named]
    if NOT_SETTLED in named:
        parts.append(f"{'has' if parts else 'has so far'} no settled effect on {named[NOT_SETTLED]}")
    return (
        "With the same prior, class draw and rule for noise in all arms, a non-contrastive loss in the tokenizer "
        f"{', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}."
    )


def sentence(row):
    """What is known of one score, and what that rests on; `row` of `effects().itertuples()`."""
    name, open_question = ASKED[row.Index], f"What an NC loss does to {ASKED[row.Index]} is not settled"
    if not row.pairs:
        return f"{open_question}: no pair of arms has it."
    seen = size(row.Index, row.effect)
    if len(row.datasets) < FEWEST:
        only = f"{counted(len(row.datasets), 'data set')} only ({listed(row.datasets)}), {FEWEST} are needed"
        return f"{open_question}: {only}; there it is {seen} ({rests_on(row)})."
    said = open_question if row.verdict == NOT_SETTLED else f"An NC loss {row.verdict} {name}"
    return f"{said}: {seen}, 95 % interval {bounds(row)} ({rests_on(row)})."


def rests_on(row):
    """8 data sets, 6 arms, 4 seeds: 192 pairs"""
    parts = (len(row.datasets), "data set"), (row.arms, "arm"), (row.seeds, "seed")
    return f"{', '.join(counted(*part) for part in parts)}: {counted(row.pairs, 'pair')}"


def size(score, value):
    """An effect as text: × 0.84 for `ON_LOG_SCALE`, else +0.012."""
    return f"× {np.exp(value):.2f}" if score in ON_LOG_SCALE else f"{value:+.3f}"


def bounds(row):
    """The interval as text."""
    return f"{size(row.Index, row.low)} to {size(row.Index, row.high).removeprefix('× ')}"


def noise(rows):
    """In how many pairs the rule for noise decided alike for both arms, as a sentence; "" where none tells."""
    used = rows[rows.metric == "noise"].pivot(index=["dataset", "seed"], columns="arm", values="value")
    used = used.reindex(columns=[NAIVE, *NC]).astype(float)
    differences = used[NC].sub(used[NAIVE], axis=0).stack().dropna()
    if differences.empty:
        return ""
    alike = (differences == 0).sum()
    return f"The rule gave pieces of noise to both or to neither in {alike} of {len(differences)} pairs."


def missing(rows):
    """How much of the campaign that is to answer is there, as a sentence; `rows` of `answer_rows`."""
    campaign = load_campaign(CAMPAIGN)
    wanted = {(c.cfg.dataset, f"{c.cfg.method}-{c.cfg.augmentation}", c.cfg.seed) for c in campaign.cells()}
    there = wanted & set(zip(rows.dataset, rows.arm, rows.seed))
    if there == wanted:
        return f"All {len(wanted)} cells of the campaign {CAMPAIGN} are in this table."
    done = {dataset for dataset, *_ in there}
    none = listed(dataset for dataset in campaign.datasets if dataset not in done) if done else ""
    said = f"{len(there)} of {len(wanted)} cells of the campaign {CAMPAIGN} are in this table"
    return f"{said}{f', none of {none}' if none else ''}. For the rest: ncvqvae campaign run {CAMPAIGN} --recorded."
