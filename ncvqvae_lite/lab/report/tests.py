"""Paired tests of each NC configuration against the naive one: does non-contrastive training help, over data sets?

A frame here has one row per data set and one column per configuration ("regular-none", "barlowtwins-warp", ...), means
over runs in its cells, NaN where nothing was run. It comes from our rows, from the authors' runs, or from the thesis'
printed tables; all functions treat them alike.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from ...thesis import CONFIGURATIONS, METRICS, author_runs, published_values
from .tables import CELL, LEVEL, METRIC, thesis_fcn

NAIVE, *NC = [f"{method}-{augmentation}" for method, augmentation in CONFIGURATIONS]
TESTED = tuple(metric.theirs for metric in METRICS if metric.better)
# No common unit over data sets: ratios. Of accuracies differences are compared.
ON_LOG_SCALE = ("recon_val", "fid", "fid_by_class", "is")
FEWEST = 5  # data sets; with 5 the smallest p that a signed-rank test can give is 1/16


# --- frames ---


def authors_frame(metric):
    """Means of the authors' four runs."""
    return _frame(lambda dataset, *configuration: np.mean(author_runs(dataset, *configuration)[metric]))


def our_frame(rows, metric):
    """Means over our seeds, from rows of `tables.comparable`."""
    means = rows[rows.metric == METRIC[metric].ours].groupby(CELL).value.mean()
    return _frame(lambda *cell: means.get(cell, np.nan))


def printed_frame(table, metric):
    """What the thesis prints, misprints included."""
    values = [value for value in published_values() if (value.table, value.metric) == (table, metric)]
    means = {value[1:4]: float(value.printed) for value in values}
    return _frame(lambda *cell: means[cell])


def _frame(value):
    columns = [[value(dataset, *configuration) for dataset in thesis_fcn()] for configuration in CONFIGURATIONS]
    return pd.DataFrame(dict(zip([NAIVE, *NC], columns)), index=pd.Index(thesis_fcn(), name="dataset"), dtype=float)


def on_scale(frame, metric):
    """The values that are compared: logarithms for `ON_LOG_SCALE`, else the scores themselves."""
    return np.log(frame) if metric in ON_LOG_SCALE else frame


# --- one configuration against the naive one ---


def paired_tests(frame, metric):
    """Each NC configuration against the naive one, paired by data set.

    frame     as above
    metric    the thesis' name; it decides direction and scale
    returns   index configuration; n (data sets that have both), wins, losses, effect (median of NC - naive, or of
              NC / naive for `ON_LOG_SCALE`; in the metric's own direction), rank_biserial, p, p_holm. Fewer than
              `FEWEST` data sets: effect as it is, the last three NaN
    """
    frame = on_scale(frame, metric)
    sign = -1 if METRIC[metric].better == "lower" else 1
    tests = {}
    for name in NC:
        difference = (frame[name] - frame[NAIVE]).dropna().to_numpy()
        gain = sign * difference  # positive: NC is better
        enough = len(gain) >= FEWEST
        median = np.median(difference) if len(gain) else np.nan
        tests[name] = {
            "n": len(gain),
            "wins": int((gain > 0).sum()),
            "losses": int((gain < 0).sum()),
            "effect": np.exp(median) if metric in ON_LOG_SCALE else median,
            "rank_biserial": rank_biserial(gain) if enough else np.nan,
            "p": signed_rank_p(gain) if enough else np.nan,
        }
    table = pd.DataFrame.from_dict(tests, orient="index")
    return table.assign(p_holm=holm(table.p))


def signed_rank_p(differences):
    """Two-sided p of Wilcoxon's signed-rank test, exact even with ties (over all 2^n signs); zeros are left out."""
    from scipy import stats

    differences = np.asarray(differences, float)
    differences = differences[differences != 0]
    if len(differences) == 0:
        return 1.0
    has_ties = len(np.unique(abs(differences))) < len(differences)
    every_sign = stats.PermutationMethod(n_resamples=2 ** len(differences))  # that many: exact, nothing is drawn
    return float(stats.wilcoxon(differences, method=every_sign if has_ties else "exact").pvalue)


def rank_biserial(differences):
    """(W+ - W-) / (W+ + W-), W the sums of the ranks of |difference|: -1..1; zeros are left out (Kerby, 2014)."""
    from scipy.stats import rankdata

    differences = np.asarray(differences, float)
    differences = differences[differences != 0]
    ranks = rankdata(abs(differences))
    return float(ranks @ np.sign(differences) / ranks.sum()) if len(ranks) else 0.0


def holm(p):
    """p values corrected by Holm (1979) for as many tests as there are; NaN (no test) stays NaN and counts not."""
    p = np.asarray(p, float)
    tests, order = np.count_nonzero(~np.isnan(p)), np.argsort(p)  # NaN is last
    steps = np.maximum.accumulate(np.arange(tests, tests - len(p), -1) * p[order])
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, steps)
    return corrected


# --- all configurations at once ---


def average_ranks(frame, metric):
    """Average rank of each configuration over data sets without a gap, best (1) first; `metric` gives the direction."""
    return frame.dropna().rank(axis=1, ascending=METRIC[metric].better == "lower").mean().sort_values(kind="stable")


def pair_p(frame, metric):
    """p of every pair of configurations, {frozenset of two names: p}, corrected by Holm for all pairs.

    frame     as above; data sets with a gap are left out
    metric    the thesis' name; it decides the scale. Two-sided, so the direction does not matter
    """
    frame = on_scale(frame.dropna(), metric)
    pairs = list(combinations(frame, 2))
    p = holm([signed_rank_p(frame[one] - frame[other]) for one, other in pairs])
    return dict(zip(map(frozenset, pairs), p))


def not_told_apart(names, p):
    """(first, last) place of each longest run of neighbours in `names` in which no pair of `pair_p` differs."""
    runs = []
    for first in range(len(names)):
        last = first
        for place in range(first + 1, len(names)):
            if any(p[frozenset((names[place], other))] < LEVEL for other in names[first:place]):
                break
            last = place
        if last > first and (not runs or last > runs[-1][1]):  # else a part of the run before
            runs.append((first, last))
    return runs


# --- the best of six ---


def wins(frame, metric):
    """On how many data sets NC beats the naive configuration, each alone and "some configuration": the best of six.

    "Some configuration" picks the best of six on the test set and sets it against one baseline. If the seven did not
    differ, the naive one would still be beaten six times in seven.

    returns   index: the six configurations, then "best of six"; wins, n (data sets that have both; for the best of six
              those that have all seven), by_chance (wins to expect if NC changed nothing)
    """
    sign = -1 if METRIC[metric].better == "lower" else 1
    gain = sign * frame[NC].sub(frame[NAIVE], axis=0)
    gain["best of six"] = gain.max(axis=1, skipna=False)
    by_chance = np.array([1 / 2] * len(NC) + [len(NC) / (len(NC) + 1)])
    table = pd.DataFrame({"wins": (gain > 0).sum(), "n": gain.notna().sum()})
    return table.assign(by_chance=table.n * by_chance)
