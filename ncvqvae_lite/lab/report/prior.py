"""The matched-prior experiment: does the prior or the SSL loss lower the FID? Four priors on the same tokens.

In the thesis the naive and the NC arms differ in the tokenizer and in the prior: the naive prior keeps the share of
tokens that the NC prior masks (Q3), and ties its output to the token table where NC's has a head of its own (Q4). Here
mask {kept, masked} x head {tied, untied} are trained on one and the same tokenizer, paired by data set, tokens, seed.

Everything is computed on the logarithm of FID or IS, because scales differ over data sets; effects are ratios.
"""

import numpy as np
import pandas as pd

from ...thesis import CONFIGURATIONS, author_runs
from ..text import counted
from .tables import CELL, changed, one_per_seed, same_tokens, with_thesis_fcn

NAIVE_PRIOR, NC_PRIOR = "kept tied", "masked untied"
PRIORS = (NAIVE_PRIOR, "masked tied", "kept untied", NC_PRIOR)
BLOCK = [*CELL, "seed"]
NAIVE = CONFIGURATIONS[0]
FEWEST = 3  # data sets, for an interval over them
RATIO = ["ratio", "low", "high"]

# Effects as contrasts: weights of the four priors' log values.
EFFECTS = {
    "NC prior : naive prior": {NC_PRIOR: 1, NAIVE_PRIOR: -1},
    "masked : kept": {"masked tied": 1 / 2, NC_PRIOR: 1 / 2, NAIVE_PRIOR: -1 / 2, "kept untied": -1 / 2},
    "untied : tied": {"kept untied": 1 / 2, NC_PRIOR: 1 / 2, NAIVE_PRIOR: -1 / 2, "masked tied": -1 / 2},
    "interaction": {NC_PRIOR: 1, "kept untied": -1, "masked tied": -1, NAIVE_PRIOR: 1},
}
WHOLE = next(iter(EFFECTS))


def prior_rows(cells, metric):
    """Rows of the experiment, at most one for each metric, tokens and prior, with the columns `tokens` and `prior`.

    cells     DataFrame of `results.load_cells`
    metric    "fid" or "is"
    returns   rows of `same_tokens` with the thesis' feature net
    """
    rows = with_thesis_fcn(same_tokens(cells))
    rows = rows[rows.metric == metric]
    rows = rows.assign(prior=[_prior(method, text) for method, text in zip(rows.method, rows.ablation)])
    return one_per_seed(rows, [*BLOCK, "tokens", "prior"])


def prior_blocks(rows):
    """One row per set of tokens, one column per prior, NaN where a prior was not run.

    rows      of `prior_rows`
    returns   index `BLOCK` (data set, method, augmentation, seed), columns `PRIORS`
    """
    blocks = rows.pivot(index=BLOCK, columns="prior", values="value")
    return blocks.reindex(columns=list(PRIORS)).rename_axis(columns=None).sort_index()


def _prior(method, ablation):
    """ "kept tied" and so on: the arm's own prior unless the ablation says otherwise."""
    own = (NAIVE_PRIOR if method == NAIVE[0] else NC_PRIOR).split()
    settings = changed(ablation)
    return f"{settings.get('mask_polarity', own[0])} {settings.get('head', own[1])}"


def prior_effects(blocks):
    """Effects of mask and head within each data set and kind of tokens.

    returns   data set, method, augmentation, effect (of `EFFECTS`), seeds, ratio, low, high (95 %; NaN for one seed).
              Only seeds that have all priors of the effect count; no row where no seed has
    """
    effects = []
    for cell, part in blocks.groupby(CELL):
        for name in EFFECTS:
            values = effect_logs(part, name)
            if len(values):
                effects.append([*cell, name, len(values), *ratio_interval(values, fewest=2)])
    return pd.DataFrame(effects, columns=[*CELL, "effect", "seeds", *RATIO])


def effect_logs(blocks, name):
    """Log ratio of one effect of `EFFECTS` within each set of tokens that has all its priors: a series by `BLOCK`."""
    first, *others = (weight * np.log(blocks[prior]) for prior, weight in EFFECTS[name].items())
    return sum(others, start=first).dropna()


def over_datasets(effects):
    """The mean log effect over data sets, for each kind of tokens.

    effects   of `prior_effects`
    returns   method, augmentation, effect, datasets, ratio, low, high (NaN for fewer than `FEWEST` data sets)
    """
    key = ["method", "augmentation", "effect"]
    groups = effects.groupby(key, sort=False).ratio
    pooled = [[*names, len(ratios), *ratio_interval(np.log(ratios), FEWEST)] for names, ratios in groups]
    return pd.DataFrame(pooled, columns=[*key, "datasets", *RATIO])


def ratio_interval(logs, fewest):
    """exp of the mean and of its 95 % t interval; the interval is NaN for fewer than `fewest` values."""
    from scipy import stats

    logs = np.asarray(logs, float)
    mean, half = logs.mean(), np.nan
    if len(logs) >= fewest:
        half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return np.exp([mean, mean - half, mean + half]).tolist()


def ssl_effects(blocks):
    """What SSL changes at an equal prior: FID (or IS) on an arm's tokens over that on naive tokens.

    returns   data set, method, augmentation, prior, seeds (of the arm), naive_seeds, ratio, low, high: 95 % interval by
              Welch's t test, because seeds of two arms are no pairs; NaN with one seed on a side
    """
    from scipy import stats

    arms, effects = dict(list(np.log(blocks).groupby(CELL))), []
    for (dataset, *arm), part in arms.items():
        naive = arms.get((dataset, *NAIVE))
        if tuple(arm) == NAIVE or naive is None:
            continue
        for prior in PRIORS:
            ours, base = part[prior].dropna(), naive[prior].dropna()
            low = high = np.nan
            if min(len(ours), len(base)) > 1:
                low, high = stats.ttest_ind(ours, base, equal_var=False).confidence_interval(0.95)
            if len(ours) and len(base):
                bounds = np.exp([ours.mean() - base.mean(), low, high])
                effects.append([dataset, *arm, prior, len(ours), len(base), *bounds])
    return pd.DataFrame(effects, columns=[*CELL, "prior", "seeds", "naive_seeds", *RATIO])


def authors_ratio(dataset, metric):
    """The thesis' whole contrast, arm and prior at once: geometric mean of the six NC means over the naive mean."""
    means = [np.mean(author_runs(dataset, *configuration)[metric]) for configuration in CONFIGURATIONS]
    return float(np.exp(np.log(means[1:]).mean() - np.log(means[0])))


def headline(effects):
    """What the experiment says about FID on naive tokens, in sentences; says so where there is too little.

    effects   of `prior_effects` for "fid"
    """
    on_naive = effects[effects.method == NAIVE[0]]
    whole = on_naive[on_naive.effect == WHOLE]
    if whole.empty:
        return "Not run yet: no data set has the naive and the NC arms' prior on the same naive tokens."
    over = {row.effect: row for row in over_datasets(on_naive).itertuples()}
    said = {name: f"{row.ratio:.2f} ({_over_interval(row)})" for name, row in over.items()}
    each = (f"{row.dataset} {row.ratio:.2f} ({_interval(row)})" for row in whole.itertuples())
    parts = [f"{name} {said[name]}" for name in ("masked : kept", "untied : tied") if name in said]
    theirs = (f"{dataset} {authors_ratio(dataset, 'fid'):.2f}" for dataset in whole.dataset)
    return (
        "On naive tokens, with no SSL anywhere, the NC arms' prior (masked, untied) in place of the naive arm's (kept, "
        f"tied) multiplies the FID by {said[WHOLE]}. {_conclusion(over[WHOLE])} By data set: {', '.join(each)}. "
        + (f"Where all four priors were run: {', '.join(parts)}. " if parts else "")
        + f"NC against naive in the thesis, prior and SSL at once: {', '.join(theirs)}."
    )


def _interval(row):
    return "one seed, no interval" if np.isnan(row.low) else f"{row.low:.2f} to {row.high:.2f}, {row.seeds} seeds"


def _over_interval(row):
    if np.isnan(row.low):
        return f"{counted(row.datasets, 'data set')}, too few for an interval"
    return f"95 % interval {row.low:.2f} to {row.high:.2f}, {row.datasets} data sets"


def _conclusion(row):
    if np.isnan(row.low):
        return "What the prior alone does over data sets cannot be said yet."
    if row.low <= 1 <= row.high:
        return "The interval contains 1: these runs do not settle whether the prior alone changes the FID."
    return f"The prior alone {'lowers' if row.high < 1 else 'raises'} the FID."
