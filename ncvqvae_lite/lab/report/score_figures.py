"""Figures of the report that are drawn from tables of scores: ours beside the authors', matched priors, ranks.

Each function returns a figure in the manner of `plots`, or raises NotFound with the reason why there is nothing to
draw. A cell without a run of ours is hatched or says "not run".
"""

import sys

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from ... import plots
from ...data import THESIS_DATASETS
from ...errors import NotFound
from ...thesis import CONFIGURATIONS, author_runs
from .panel_figures import configuration_name, datasets_of, short_name
from .prior import PRIORS, prior_blocks, prior_rows
from .tables import LEVEL, METRIC, comparable, floors
from .tests import FEWEST, on_scale, pairs_that_differ

# What a score is called on its axis, and what it can be compared with: column of `floors` -> (line style, label).
AXES = {
    "recon_val": "reconstruction error, last test batch (MSE, scaled)",
    "knn_acc": "accuracy of 5 nearest neighbours (fraction of test)",
    "svm_acc": "accuracy of a linear SVM (fraction of test)",
    "fid": "FID of generated against test series (lower is better)",
    "is": "inception score of generated series (higher is better)",
    "cas": "CAS: accuracy on test, trained on generated (fraction)",
}
BOUNDS = {
    "fid": {"fid_test_halves": (":", "two halves of the test split"), "fid_train_test": ("--", "train against test")},
    "is": {"is_real": ("--", "real test series")},
    "cas": {"fcn_accuracy": ("--", "the same net trained on real series")},
}
PRIOR_NAMES = ("kept, tied\n(thesis: regular)", "masked, tied", "kept, untied", "masked, untied\n(thesis: NC)")
ARMS = (("regular", "none"), ("barlowtwins", "warp"), ("vibcreg", "gauss"))  # the tokens of the matched-prior campaign


def comparison(rows, metric):
    """One score of all 13 data sets and 7 configurations: our seeds over the range of the authors' 4 runs.

    rows    of `tables.comparable`, perhaps none
    metric  one of `AXES`, by the thesis' name
    """
    score, bounds = METRIC[metric], floors(rows)
    ours = rows[rows.metric == score.ours].groupby(["dataset", "method", "augmentation"]).value
    ours = {key: values.to_numpy() for key, values in ours}
    fig, axes = plots.figure(5, 3, height=11.5)
    for ax, dataset in zip(axes.flat, THESIS_DATASETS):
        for place, configuration in enumerate(CONFIGURATIONS):
            theirs = np.array(author_runs(dataset, *configuration)[score.theirs])
            colour = plots.METHOD_COLOURS[configuration[0]]
            _compared(ax, place, ours.get((dataset, *configuration), np.array([])), theirs, colour)
        _bounds(ax, bounds.loc[dataset], metric)
        ax.set_title(short_name(dataset), fontsize=plots.SMALL)
        ax.use_sticky_edges = False
        ax.margins(x=0.07)
        if metric == "fid":
            ax.set_xlim(left=0)
        ax.set_yticks(range(len(CONFIGURATIONS)), [configuration_name(*c) for c in CONFIGURATIONS])
        ax.set_ylim(len(CONFIGURATIONS) - 0.4, -0.6)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.tick_params(axis="y", length=0, labelleft=ax in axes[:, 0])
    for ax in axes.flat[len(THESIS_DATASETS) :]:
        ax.set_axis_off()
    fig.supxlabel(AXES[metric], fontsize=plots.TEXT)
    fig.legend(handles=_comparison_legend(metric), loc=(0.46, 0.05), fontsize=plots.SMALL, frameon=False)
    return fig


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
    bounds = BOUNDS.get(metric, {}).values()
    return [
        Patch(facecolor=plots.PALE, edgecolor=plots.REAL, label="authors' 4 runs: smallest to largest"),
        Patch(facecolor="white", edgecolor=plots.REAL, hatch="////", label="the same; not run by us"),
        Line2D([], [], color=plots.REAL, linewidth=2, marker="|", linestyle="", markersize=11, label="authors' mean"),
        Line2D([], [], color="white", marker="o", markeredgecolor=plots.INK, label="ours, one seed"),
        Line2D([], [], color=plots.INK, marker="D", linestyle="-", label="ours, mean and standard deviation"),
        *(Line2D([], [], color=plots.INK, linestyle=line, label=f"{label}") for line, label in bounds),
    ]


def matched_priors(cells):
    """FID of the four priors on the same tokens, one panel per data set: one point a seed, one line a seed.

    The thesis gave `regular` one prior and the NC arms another. Here every prior meets the same tokens, so that what a
    prior does and what the tokens do are seen apart.
    """
    blocks, bounds = prior_blocks(prior_rows(cells, "fid")), floors(comparable(cells))
    datasets = datasets_of(blocks.index[blocks.notna().sum(axis=1) > 1])
    if not datasets:
        raise NotFound("no data set has a run with another prior than the thesis' own for its arm")
    columns = min(len(datasets), 2 if len(datasets) <= 4 else 3)
    lines = -(-len(datasets) // columns)
    fig, axes = plots.figure(lines, columns, height=2.1 + (3.4 if columns < 3 else 2.2) * lines)
    for ax in axes.flat[len(datasets) :]:
        ax.set_axis_off()
    for ax, dataset in zip(axes.flat, datasets):
        for shift, arm in zip((-0.26, 0, 0.26), ARMS):
            _prior_points(ax, blocks, dataset, arm, shift)
        _bounds(ax, bounds.loc[dataset], "fid")
        ax.set_title(dataset if columns < 3 else short_name(dataset), fontsize=plots.TEXT)
        ax.set_xscale("log")
        decades = np.ptp(np.log10(ax.get_xlim()))
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 3) if decades < 2.5 else (1,)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_yticks(range(len(PRIORS)), PRIOR_NAMES)
        ax.set_ylim(len(PRIORS) - 0.45, -0.55)
        ax.tick_params(axis="y", length=0, labelleft=ax in axes[:, 0])
        for row in range(1, len(PRIORS)):
            ax.axhline(row - 0.5, color=plots.PALE, linewidth=0.8)
    for ax in axes.flat[len(datasets) - columns : len(datasets)]:
        ax.set_xlabel("FID (log scale)", fontsize=plots.TEXT)
    axes[lines // 2, 0].set_ylabel("prior: masks, head", fontsize=plots.TEXT)
    fig.legend(handles=_prior_legend(), loc="outside lower center", ncols=2, fontsize=plots.SMALL, frameon=False)
    return fig


def _prior_points(ax, blocks, dataset, arm, shift):
    """One arm's tokens in one panel: a row of `blocks` is one seed."""
    colour = plots.METHOD_COLOURS[arm[0]]
    values = blocks[[key[:3] == (dataset, *arm) for key in blocks.index]].to_numpy()  # (seeds, priors)
    authors = np.array(author_runs(dataset, *arm)["fid"])
    own = 0 if arm[0] == "regular" else len(PRIORS) - 1  # the thesis' prior of this arm
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
    mean = dict(color=plots.INK, marker="|", linestyle="", markersize=11, markeredgewidth=2.5)
    handles = []
    for method, augmentation in ARMS:
        colour, label = (
            plots.METHOD_COLOURS[method],
            f"tokens of {configuration_name(method, augmentation)} (line: a seed)",
        )
        handles.append(Line2D([], [], color=colour, marker="o", linewidth=0.7, markersize=4.5, label=label))
    return [
        *handles,
        Line2D([], [], label="mean over seeds (geometric)", **mean),
        Line2D([], [], color=plots.REAL, marker="x", linestyle="", label="not run"),
        Patch(facecolor=plots.PALE, label="authors' 4 runs, smallest to largest"),
        *(Line2D([], [], color=plots.INK, linestyle=l, label=f"FID of {t}") for l, t in BOUNDS["fid"].values()),
    ]


def critical_difference(frame, metric):
    """Average ranks of the configurations over data sets; a bar joins those not told apart (Demšar 2006).

    frame    of `tests`: data sets x configurations; data sets with a gap are left out
    raises   NotFound for fewer than 5 data sets

    Drawn by aeon: one bar for all where a Friedman test finds nothing, else pairwise Wilcoxon signed-rank tests on the
    scale of `tests`, one-sided in the direction of the ranks, each at LEVEL / (configurations - 1). That does
    not control all pairs, so a missing bar is no proof; nor is a bar, it can mean few data sets. How many pairs differ
    when all are corrected for is written below the ranks.
    """
    frame = frame.dropna()
    if len(frame) < FEWEST:
        raise NotFound(f"{len(frame)} data sets have all configurations, ranks need at least {FEWEST}")
    if "matplotlib.pyplot" not in sys.modules:  # its notebook backend would change how all other figures are shown
        rcParams["backend"] = "agg"
    from aeon.visualisation import plot_critical_difference
    from matplotlib import pyplot

    names = [configuration_name(*configuration) for configuration in CONFIGURATIONS]
    colours = {name: plots.METHOD_COLOURS[method] for name, (method, _) in zip(names, CONFIGURATIONS)}
    with rc_context({"figure.dpi": plots.DPI}):
        fig, ax = plot_critical_difference(
            on_scale(frame, metric).to_numpy(), names, highlight=colours, lower_better=METRIC[metric].better == "lower",
            alpha=LEVEL, test="wilcoxon", correction="holm", width=plots.WIDTH, textspace=2.3,
        )  # fmt: skip
    pyplot.close(fig)  # it is shown by its value, as ours are
    fig.__class__ = plots.NotebookFigure
    for text in ax.texts:
        text.set_fontsize(plots.TEXT if text.get_text() in names else plots.SMALL)
    differ, pairs = pairs_that_differ(frame, metric)
    note = (
        f"average rank over {len(frame)} data sets (1 is best)\n"
        f"{differ} of {pairs} pairs differ: two-sided Wilcoxon tests, corrected by Holm for all pairs"
    )
    ax.text(0.5, 1, note, ha="center", va="bottom", fontsize=plots.SMALL)
    return fig
