"""The thesis' seven tables with our numbers in them: mean and spread over seeds, the published range, a verdict.

Everything starts from `comparable`, the rows of an exported table (`results.load_cells`) that may stand beside the
thesis. Metrics carry the thesis' names here: `recon_val` is the last test batch, so ours is `recon_last_batch`.
"""

from functools import cache

import numpy as np
import pandas as pd

from ...files import read_csv
from ...thesis import CONFIGURATIONS, METRICS, author_runs, data_file, published_values, verdict

SEEDS = (1, 2, 3, 5)  # of the thesis
RUNS = 4  # of the authors, per cell
METRIC = {metric.theirs: metric for metric in METRICS}
CELL = ["dataset", "method", "augmentation"]

# Settings that leave the recipe as it is: CAS may be left out, and products may be computed in bf16, which is marked.
FREE = {"cas", "precision", "prior_precision", "fcn_precision"}
PRIOR = {"mask_polarity", "head"}  # what the experiment on the prior varies
STAGE_ONE = ("recon_last_batch", "knn_acc", "svm_acc")  # metrics that no prior has a part in

FLOORS = ("fid_train_test", "fid_test_halves", "fid_reconstruction", "is_real")
NEEDS_THESIS_FCN = ("fid", "is", *FLOORS)

INSIDE, BETTER, WORSE = "inside", "better", "worse"
TOO_FEW_SEEDS, NOT_RUN = "fewer than 4 seeds", "not run"
VERDICTS = (INSIDE, BETTER, WORSE, TOO_FEW_SEEDS, NOT_RUN)
LEVEL = 0.05
RULE = (
    "Inside: the mean over our seeds lies between the lowest and the highest of the authors' four runs; otherwise it "
    "is better or worse, by the metric's direction. In tables of the best of four it is our best of four seeds, and "
    "with fewer seeds there is no verdict. A star says that the two means differ by more than both spreads explain "
    "(two-sided t test with pooled variance, p < 0.05, not corrected for the number of cells)."
)


def comparable(cells):
    """The rows that may stand beside the thesis: at most one for each metric, cell and seed.

    cells     DataFrame of `results.load_cells`
    returns   rows of the preset `paper` whose `ablation` changes nothing but `FREE`; FID and IS only where the feature
              net is the thesis'. Where several runs have the same metric, the one in the highest precision stays. A
              column `reduced` names the settings through which the metric felt bf16
    """
    rows = with_recipe(same_tokens(cells)).drop(columns="tokens")
    rows = rows[pd.MultiIndex.from_frame(rows[["method", "augmentation"]]).isin(CONFIGURATIONS)]
    return one_per_seed(with_thesis_fcn(rows), [*CELL, "seed"])


def same_tokens(cells):
    """Rows of one tokenizer for each cell and seed, so that every number of a cell is of the same run.

    cells     DataFrame of `results.load_cells`
    returns   rows of the preset `paper` that change nothing but `PRIOR` and `FREE`, with a column `tokens`: the
              tokenizer's reconstruction error, which tells tokenizers apart. Of several tokenizers the one with the
              fewest settings in bf16 stays, then the one with most rows, then the first of the table; never one for its
              scores
    """
    rows = with_recipe(cells[cells.dataset.isin(thesis_fcn())], FREE | PRIOR)
    run, block = [*CELL, "seed", "ablation", "fcn"], [*CELL, "seed"]
    tokens = rows[rows.metric == "recon_val"].rename(columns={"value": "tokens"})
    rows = rows.merge(tokens[[*run, "tokens"]], on=run, how="left").fillna({"tokens": -1.0})  # -1: error not recorded
    found = rows.assign(bf16=[bf16_settings(text) for text in rows.ablation])
    found = found.groupby([*block, "tokens"], sort=False).agg(bf16=("bf16", "min"), rows=("bf16", "size")).reset_index()
    found = found.sort_values(["bf16", "rows"], ascending=[True, False], kind="stable").drop_duplicates(block)
    return rows.merge(found[[*block, "tokens"]], on=[*block, "tokens"])


def with_recipe(rows, free=FREE):
    """Rows of the preset `paper` whose `ablation` changes nothing but the settings `free`."""
    return rows[(rows.preset == "paper") & np.array([set(changed(text)) <= free for text in rows.ablation], bool)]


def with_thesis_fcn(rows):
    """Rows without those FIDs, ISs and floors that come from another feature net than the thesis'."""
    ours = [fcn in thesis_fcn()[dataset]["hashes"] for fcn, dataset in zip(rows.fcn, rows.dataset)]
    return rows[~rows.metric.isin(NEEDS_THESIS_FCN) | np.array(ours, bool)]


def one_per_seed(rows, key):
    """Of several rows with the same metric and `key` (names of columns) the one in the highest precision."""
    reduced = [" ".join(_felt(metric, text)) for metric, text in zip(rows.metric, rows.ablation)]
    rows = rows.assign(reduced=reduced, order=[len(text.split()) for text in reduced])
    rows = rows.sort_values([*key, "metric", "order", "ablation"], kind="stable")
    return rows.drop_duplicates([*key, "metric"]).drop(columns="order")


def changed(ablation):
    """`ablation` of a row -> {setting: value as text}."""
    return dict(pair.split("=") for pair in ablation.split())


def bf16_settings(ablation):
    """How many parts of a run were computed in bf16, by its `ablation`."""
    return list(changed(ablation).values()).count("bf16")


def _felt(metric, ablation):
    """Names of the settings that put a part of this metric's computation into bf16."""
    felt = {"precision": True, "prior_precision": metric not in STAGE_ONE, "fcn_precision": metric.startswith("cas")}
    return [name for name, feels in felt.items() if feels and changed(ablation).get(name) == "bf16"]


@cache
def thesis_fcn():
    """Data set -> {hashes of weight files that hold the thesis' feature net, its accuracy on the test split or NaN}.

    From data/thesis_fcn.csv; the accuracy is the ceiling beside CAS: the same net, trained on real series.
    """
    nets = {}
    for row in read_csv(data_file("thesis_fcn.csv")):
        accuracy = float(row["test_accuracy"] or "nan")
        nets[row["dataset"]] = {"hashes": {row["imported"], row["recorded"]}, "accuracy": accuracy}
    return nets


# --- the tables ---


def thesis_tables(rows):
    """Every number of the thesis' tables beside ours: one row per table, metric and cell (1001 in all).

    rows      of `comparable`
    returns   table, statistic ("mean" or "top1"), metric, dataset, method, augmentation, printed (text), misprint,
              authors_mean, authors_min, authors_max; ours (mean or best), sd (ddof 1), n, reduced; verdict, differs
              (see `RULE`). Ours is NaN and n 0 where nothing was run; `differs` is None where it is not asked
    """
    ours, table = dict(list(rows.groupby([*CELL, "metric"]))), []
    for published in published_values():
        key = (published.dataset, published.method, published.augmentation)
        metric, theirs = METRIC[published.metric], np.array(author_runs(*key)[published.metric])
        group = ours.get((*key, metric.ours), rows[:0])
        line = published._asdict() | {"misprint": published.misprint, "authors_mean": theirs.mean()}
        line |= {"authors_min": theirs.min(), "authors_max": theirs.max()}
        line |= _ours(published.statistic, metric.better, group.value.to_numpy(), theirs)
        table.append(line | {"reduced": " ".join(sorted({*" ".join(group.reduced).split()}))})
    return pd.DataFrame(table)


def _ours(statistic, better, values, theirs):
    """Our side of one row of `thesis_tables`."""
    n = len(values)
    if n == 0:
        return {"ours": np.nan, "sd": np.nan, "n": 0, "verdict": NOT_RUN, "differs": None}
    if statistic == "mean":
        value, different = values.mean(), differs(values, theirs)
    else:
        value, different = values.min() if better == "lower" else values.max(), None
    word = verdict(value, theirs, better) if statistic == "mean" or n >= RUNS else TOO_FEW_SEEDS
    return {"ours": value, "sd": values.std(ddof=1) if n > 1 else np.nan, "n": n, "verdict": word, "differs": different}


def differs(ours, theirs):
    """True if Student's two-sample t test (pooled variance) tells the means apart at `LEVEL`.

    One seed of ours is enough: then the spread is that of the authors' runs alone, and the test asks whether our value
    lies outside their prediction interval.
    """
    from scipy import stats

    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    spreads = [x.std(ddof=1) if len(x) > 1 else 0.0 for x in (ours, theirs)]
    if max(spreads) == 0:
        return bool(ours[0] != theirs[0])
    result = stats.ttest_ind_from_stats(ours.mean(), spreads[0], len(ours), theirs.mean(), spreads[1], len(theirs))
    return bool(result.pvalue < LEVEL)


def inside_by_chance(n):
    """How often the mean of n runs lies within the range of 4 others, all drawn from one normal distribution.

    1 - 2 E[Q(z / sqrt(n))^4], Q the upper tail of the standard normal. For one run it is 3/5 with any distribution.
    """
    from scipy.stats import norm

    z, weights = np.polynomial.hermite_e.hermegauss(80)
    return 1 - 2 * float(weights @ norm.sf(z / np.sqrt(n)) ** RUNS) / np.sqrt(2 * np.pi)


def count_verdicts(table):
    """Per table and metric, of all means, all best ones, and in all: how many cells have which verdict.

    table     of `thesis_tables`
    returns   table, metric, cells, run (with at least one seed), one column per verdict but "not run", and for means
              compared, differ (starred), inside_expected: how many would be inside if our runs and theirs came from
              one distribution. NaN where best ones are among the cells
    """
    counts = [_counts(name, metric, part) for (name, metric), part in table.groupby(["table", "metric"], sort=False)]
    kinds = [_counts("all", kind, table[table.statistic == kind]) for kind in ("mean", "top1")]
    return pd.DataFrame([*counts, *kinds, _counts("all", "", table)])


def _counts(name, metric, part):
    run = part[part.n > 0]
    counts = {"table": name, "metric": metric, "cells": len(part), "run": len(run)}
    counts |= {word: int((part.verdict == word).sum()) for word in VERDICTS if word != NOT_RUN}
    if (part.statistic != "mean").any():
        return counts
    expected = float(sum(inside_by_chance(n) for n in run.n))
    return counts | {"compared": len(run), "differ": int(run.differs.sum()), "inside_expected": expected}


def coverage(rows):
    """How much of the thesis' grid is there: 13 data sets x 7 configurations x 4 seeds.

    rows      of `comparable`
    returns   dict of counts: cells (of the grid), run (a comparable FID), with_cas, datasets, configurations, other
              (cells of seeds that the thesis does not have)
    """
    key = [*CELL, "seed"]
    run, scored = (rows[rows.metric == name].drop_duplicates(key) for name in ("fid", "cas"))
    in_grid = run[run.seed.isin(SEEDS)]
    return {
        "cells": len(thesis_fcn()) * len(CONFIGURATIONS) * len(SEEDS),
        "run": len(in_grid),
        "with_cas": int(scored.seed.isin(SEEDS).sum()),
        "datasets": in_grid.dataset.nunique(),
        "configurations": len(in_grid.drop_duplicates(["method", "augmentation"])),
        "other": len(run) - len(in_grid),
    }


def floors(rows):
    """What bounds FID, IS and CAS on each data set, whatever is generated; NaN where nothing was run.

    returns   index data set; fid_test_halves, fid_train_test (real series against real series), fid_reconstruction
              (test series after the tokenizer, mean over configurations and seeds), is_real, fcn_accuracy
    """
    found = rows[rows.metric.isin(FLOORS)].pivot_table(index="dataset", columns="metric", values="value")
    table = found.reindex(index=list(thesis_fcn()), columns=list(FLOORS))
    accuracies = [net["accuracy"] for net in thesis_fcn().values()]
    return table.assign(fcn_accuracy=accuracies).rename_axis(columns=None)
