"""Figures of the report that are drawn from tables of scores: ours beside the authors', matched priors, ranks.

Each function returns a figure in the manner of `plots`, or raises NotFound with the reason why there is nothing to
draw. A cell without a run of ours is hatched or says "not run".
"""

from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator

from ... import plots
from ...data import THESIS_DATASETS
from ...errors import NotFound
from ...names import METHODS, SCORES, arm
from ...thesis import CONFIGURATIONS, author_runs
from .panel_figures import datasets_of, short_name
from .prior import PRIORS, prior_blocks, prior_rows
from .tables import CELL, LEVEL, METRIC, comparable, floors
from .tests import FEWEST, average_ranks, not_told_apart, pair_p

# What a score can be compared with: column of `floors` -> (line style, label).
BOUNDS = {
    "fid": {"fid_test_halves": (":", "two halves of the test split"), "fid_train_test": ("--", "train against test")},
    "is": {"is_real": ("--", "real test series")},
    "cas": {"fcn_accuracy": ("--", "the same net trained on real series")},
}
PRIOR_NAMES = ("kept, tied\n(thesis: naive)", "masked, tied", "kept, untied", "masked, untied\n(thesis: NC)")
ARMS = (("regular", "none"), ("barlowtwins", "warp"), ("vibcreg", "gauss"))  # the tokens of the matched-prior campaign


def comparison(rows, metric):
    """One score of all 13 data sets and 7 configurations: our seeds over the range of the authors' 4 runs.

    rows    of `tables.comparable`, perhaps none
    metric  one of `tests.TESTED`
    """
    score, bounds = METRIC[metric], floors(rows)
    ours = {key: values.to_numpy() for key, values in rows[rows.metric == score.ours].groupby(CELL).value}
    fig, axes = plots.figure(5, 3, height=11.5)
    for ax, dataset in _panels(axes, THESIS_DATASETS, [arm(*c) for c in CONFIGURATIONS], 0.6):
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
    fig.supxlabel(SCORES[metric].axis, fontsize=plots.TEXT)
    fig.legend(handles=_comparison_legend(metric), loc=(0.46, 0.05), fontsize=plots.SMALL, frameon=False)
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


def _bounds_legend(metric, before=""):
    bounds = BOUNDS.get(metric, {}).values()
    return [Line2D([], [], color=plots.INK, linestyle=line, label=before + label) for line, label in bounds]  # pyright: ignore[reportArgumentType]  # a line style


def matched_priors(cells):
    """FID of the four priors on the same tokens, one panel per data set: one point a seed, one line a seed.

    The thesis gave the naive arm one prior and the NC arms another. Here every prior meets the same tokens, so that
    what a prior does and what the tokens do are seen apart.
    """
    blocks, bounds = prior_blocks(prior_rows(cells, "fid")), floors(comparable(cells))
    datasets = datasets_of(blocks.index[blocks.notna().sum(axis=1) > 1])
    if not datasets:
        raise NotFound("no data set has a run with another prior than the thesis' own for its arm")
    columns = min(len(datasets), 2 if len(datasets) <= 4 else 3)
    lines = -(-len(datasets) // columns)
    fig, axes = plots.figure(lines, columns, height=2.1 + (3.4 if columns < 3 else 2.2) * lines)
    for ax, dataset in _panels(axes, datasets, PRIOR_NAMES, 0.55):
        for shift, configuration in zip((-0.26, 0, 0.26), ARMS):
            _prior_points(ax, blocks, dataset, configuration, shift)
        _bounds(ax, bounds.loc[dataset], "fid")
        ax.set_title(dataset if columns < 3 else short_name(dataset), fontsize=plots.TEXT)
        ax.set_xscale("log")
        decades = np.ptp(np.log10(ax.get_xlim()))
        plots.plain_log_ticks(ax.xaxis, LogLocator(subs=(1, 3) if decades < 2.5 else (1,)))
        for row in range(1, len(PRIORS)):
            ax.axhline(row - 0.5, color=plots.PALE, linewidth=0.8)
    for ax in axes.flat[len(datasets) - columns : len(datasets)]:
        ax.set_xlabel("FID (log scale)")
    axes[lines // 2, 0].set_ylabel("prior: masks, head")
    plots.legend_below(fig, _prior_legend(), 2)
    return fig


def _prior_points(ax, blocks, dataset, configuration, shift):
    """One arm's tokens in one panel: a row of `blocks` is one seed."""
    colour = METHODS[configuration[0]].colour
    values = blocks[[key[:3] == (dataset, *configuration) for key in blocks.index]].to_numpy()  # (seeds, priors)
    authors = np.array(author_runs(dataset, *configuration)["fid"])
    own = 0 if configuration[0] == "regular" else len(PRIORS) - 1  # the thesis' prior of this arm
    ax.barh(own + shift, np.ptp(authors), left=authors.min(), height=0.24, color=colour, alpha=0.25, linewidth=0)
    for seed in values:
        ax.plot(seed, np.arange(len(PRIORS)) + shift, "-o", color=colour, linewidth=0.7, markersize=4.5, alpha=0.8)
    for row, of_prior in enumerate(values.T):
        found = of_prior[np.isfinite(of_prior)]
        if len(found) > 1:
            mean = np.exp(np.log(found).mean())
            ax.plot([mean] * 2, [row + shift - 0.13, row + shift + 0.13], color=plots.INK, linewidth=2.5)
        elif not len(found):
            ax.plot(0.98, row + shift, "x", color=colour, transform=ax.get_yaxis_transform(), clip_on=False)


def _prior_legend():
    mean: dict[str, Any] = dict(color=plots.INK, marker="|", linestyle="", markersize=11, markeredgewidth=2.5)
    seed: dict[str, Any] = dict(marker="o", linewidth=0.7, markersize=4.5)
    labels = {
        METHODS[configuration[0]].colour: f"tokens of {arm(*configuration)} (line: a seed)" for configuration in ARMS
    }
    return [
        *(Line2D([], [], color=colour, label=label, **seed) for colour, label in labels.items()),
        Line2D([], [], label="mean over seeds (geometric)", **mean),
        Line2D([], [], color=plots.REAL, marker="x", linestyle="", label="not run"),
        Patch(facecolor=plots.PALE, label="authors' 4 runs, smallest to largest"),
        *_bounds_legend("fid", "FID of "),
    ]


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
        words, colour = [arm(*configuration), f"{rank:.2f}"], METHODS[configuration[0]].colour
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
