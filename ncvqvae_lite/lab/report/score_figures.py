"""Figures of the report that are drawn from tables of scores: ours beside the authors', matched priors, ranks.

Each function returns a figure in the manner of `plots`, or raises NotFound with the reason why there is nothing to
draw. A data set without a run of ours is left out where others have one.
"""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ... import plots
from ...data import THESIS_DATASETS
from ...errors import NotFound
from ...names import METHODS, SCORES, arm
from ...thesis import CONFIGURATIONS, author_runs
from ..text import listed
from .panel_figures import datasets_of, in_lines, short_name
from .prior import NAIVE, RATIO, effect_logs, over_datasets, prior_blocks, prior_effects, prior_rows
from .tables import CELL, LEVEL, METRIC, floors
from .tests import FEWEST, average_ranks, not_told_apart, pair_p

# What a score can be compared with: column of `floors` -> (line style, label).
BOUNDS = {
    "fid": {"fid_test_halves": (":", "two halves of the test split"), "fid_train_test": ("--", "train against test")},
    "is": {"is_real": ("--", "real test series")},
    "cas": {"fcn_accuracy": ("--", "the same net trained on real series")},
}
PRIOR_EFFECTS = ("NC prior : naive prior", "masked : kept", "untied : tied")  # of `prior.EFFECTS`, those that are drawn


def comparison(rows, metric):
    """One score of the 7 configurations: our seeds over the range of the authors' 4 runs, a panel for each data set.

    rows    of `tables.comparable`, perhaps none
    metric  one of `tests.TESTED`

    Data sets without a run of ours are named below and not drawn; if none has one, the authors' ranges of all are.
    """
    score, bounds = METRIC[metric], floors(rows)
    ours = {key: values.to_numpy() for key, values in rows[rows.metric == score.ours].groupby(CELL).value}
    datasets = datasets_of(ours) or list(THESIS_DATASETS)
    columns = min(3, len(datasets))
    lines = -(-len(datasets) // columns)
    fig, axes = plots.figure(lines, columns, height=2.2 + 2.1 * lines)
    for ax, dataset in _panels(axes, datasets, [arm(*c) for c in CONFIGURATIONS], 0.6):
        for place, configuration in enumerate(CONFIGURATIONS):
            theirs = np.array(author_runs(dataset, *configuration)[score.theirs])
            colour = METHODS[configuration[0]].colour
            _compared(ax, place, ours.get((dataset, *configuration), np.array([])), theirs, colour)
        _bounds(ax, bounds.loc[dataset], metric)
        ax.set_title(short_name(dataset), fontsize=plots.SMALL)
        ax.use_sticky_edges = False
        ax.margins(x=0.07)
        if metric == "fid":
            ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(3))
    fig.suptitle(SCORES[metric].axis, fontsize=plots.TEXT)
    absent = [short_name(name) for name in THESIS_DATASETS if name not in datasets]
    plots.legend_below(
        fig, _comparison_legend(metric), 2, in_lines(f"Not run by us: {listed(absent)}." if absent else "")
    )
    return fig


def _panels(axes, datasets, names, margin):
    """(axes, data set) of one panel after the other, with the names of its rows from the top; the rest stays empty."""
    for ax in axes.flat[len(datasets) :]:
        ax.set_axis_off()
    for ax, dataset in zip(axes.flat, datasets):
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 1 + margin, -margin)
        ax.tick_params(axis="y", length=0, labelleft=ax in axes[:, 0])
        yield ax, dataset


def _bounds(ax, bounds, metric):
    """Lines at what a score can be compared with on this data set, where it is known."""
    for name, (line, _) in BOUNDS.get(metric, {}).items():
        if np.isfinite(bounds[name]):
            ax.axvline(bounds[name], color=plots.INK, linestyle=line, linewidth=1.2)


def _compared(ax, row, ours, theirs, colour):
    """The authors' range as a bar, hatched without a run of ours; our seeds as points, mean and standard deviation."""
    missing = dict(facecolor="white", hatch="////") if not len(ours) else dict(facecolor=colour, alpha=0.35)
    ax.barh(row, np.ptp(theirs), left=theirs.min(), height=0.62, edgecolor=colour, linewidth=0.8, **missing)
    ax.plot([theirs.mean()] * 2, [row - 0.31, row + 0.31], color=colour, linewidth=2)
    ax.plot(ours, np.full(len(ours), row), "o", markersize=4.5, color="white", markeredgecolor=plots.INK)
    if len(ours) > 1:
        ax.errorbar(ours.mean(), row, xerr=ours.std(ddof=1), fmt="D", markersize=5.5, color=plots.INK, capsize=3)


def _comparison_legend(metric):
    return [
        Patch(facecolor=plots.PALE, edgecolor=plots.REAL, label="authors' 4 runs: smallest to largest"),
        Patch(facecolor="white", edgecolor=plots.REAL, hatch="////", label="the same; not run by us"),
        Line2D([], [], color=plots.REAL, linewidth=2, marker="|", linestyle="", markersize=11, label="authors' mean"),
        Line2D([], [], color="white", marker="o", markeredgecolor=plots.INK, label="ours, one seed"),
        Line2D([], [], color=plots.INK, marker="D", linestyle="-", label="ours, mean and standard deviation"),
        *_bounds_legend(metric),
    ]


def _bounds_legend(metric):
    bounds = BOUNDS.get(metric, {}).values()
    return [Line2D([], [], color=plots.INK, linestyle=line, label=label) for line, label in bounds]  # pyright: ignore[reportArgumentType]  # a line style


def matched_priors(cells):
    """What another prior does to the FID on the same tokens: ratios within tokenizers, a panel for each effect.

    The thesis gave the naive arm one prior and the NC arms another. Here two priors meet the same tokens, so what a
    prior does is seen apart from what the tokens do. Effects are those of `prior.EFFECTS` but the interaction; rows are
    data sets (and tokens, where they are not naive), the last one the mean over data sets of naive tokens.
    """
    blocks = prior_blocks(prior_rows(cells, "fid"))
    effects = prior_effects(blocks)
    effects = effects[effects.dataset.isin(THESIS_DATASETS) & effects.method.isin(list(METHODS))]
    if effects.empty:
        raise NotFound("no data set has a run with another prior than the thesis' own for its arm")
    panels, colours = {}, {}
    for name in PRIOR_EFFECTS:
        panels[name] = rows = {}
        of_effect = effects[effects.effect == name].set_index(CELL)
        for cell in sorted(of_effect.index, key=lambda cell: (THESIS_DATASETS.index(cell[0]), cell[1:] != NAIVE)):
            row = short_name(cell[0]) + (f"\n{arm(*cell[1:])}" if cell[1:] != NAIVE else "")
            ratios = np.exp(effect_logs(blocks.xs(cell, level=CELL, drop_level=False), name))
            rows[row] = ratios.to_numpy(), of_effect.loc[cell, RATIO].to_numpy(float)
            colours[row] = METHODS[cell[1]].colour
        for pooled in over_datasets(effects[(effects.method == NAIVE[0]) & (effects.effect == name)]).itertuples():
            rows["over data sets"] = [], (pooled.ratio, pooled.low, pooled.high)
    return plots.paired_ratios(
        panels, "FID with one prior over FID with another, same tokens (below 1: lower)", colours
    )


def critical_difference(frame, metric):
    """Average ranks of the configurations over data sets; a bar joins those not told apart (after Demšar, 2006).

    frame    of `tests`: data sets x configurations; data sets with a gap are left out
    raises   NotFound for fewer than 5 data sets

    A bar joins each longest run of neighbours in which no pair differs by `tests.pair_p`, which is corrected for all
    pairs. It is no proof that they are equal: it can mean few data sets.
    """
    frame = frame.dropna()
    if len(frame) < FEWEST:
        raise NotFound(f"{len(frame)} data sets have all configurations, ranks need at least {FEWEST}")
    ranks, p = average_ranks(frame, metric), pair_p(frame, metric)
    bars = not_told_apart(list(ranks.index), p)
    left, first_row = (len(ranks) + 1) // 2, 0.5 + 0.3 * len(bars)  # names on the left; y of the highest name
    fig, [[ax]] = plots.figure(height=1.6 + 0.32 * (first_row + left))
    for i, (first, last) in enumerate(bars):
        ends = ranks.iloc[first] - 0.06, ranks.iloc[last] + 0.06
        ax.plot(ends, [0.35 + 0.3 * i] * 2, color=plots.INK, linewidth=4, solid_capstyle="butt")
    for place, (name, rank) in enumerate(ranks.items()):
        configuration = name.split("-")
        words, colour = [arm(*configuration), f"{rank:.1f}"], METHODS[configuration[0]].colour
        if place < left:
            row, end, gap, side = first_row + place, 0.7, -0.1, "right"
        else:
            row, end, gap, side = first_row + len(ranks) - 1 - place, len(ranks) + 0.3, 0.1, "left"
            words.reverse()
        ax.plot([rank, rank, end], [0, row, row], color=colour, linewidth=1.5)
        ax.text(end + gap, row, " ".join(words), color=colour, ha=side, va="center", fontsize=plots.TEXT)
    ax.set(xlim=(-2.4, len(ranks) + 3.4), ylim=(first_row + left - 0.4, 0), yticks=[])
    ax.set_xticks(range(1, len(ranks) + 1))
    ax.xaxis.tick_top()
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.spines["top"].set(visible=True, bounds=(1, len(ranks)))
    ax.set_title(f"average rank over {len(frame)} data sets (1 is best)", fontsize=plots.SMALL)
    differ = sum(value < LEVEL for value in p.values())
    note = f"{differ} of {len(p)} pairs differ: two-sided Wilcoxon tests, corrected by Holm for all pairs"
    ax.set_xlabel(note, fontsize=plots.SMALL)
    return fig
