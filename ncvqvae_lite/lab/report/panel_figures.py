"""Figures of the report that look inside runs: loss curves, latents, the sampler's certainty, series of each class.

They take what `panels` keeps: a list of panels, or the frame of loss curves. Where a figure is a grid, its columns are
the seven configurations of the thesis; a cell of which no run was kept is hatched and says so. Only runs with the
thesis' recipe are shown.
"""

import textwrap

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from ... import plots
from ...data import THESIS_DATASETS
from ...thesis import CONFIGURATIONS
from .tables import FREE, bf16_settings, changed

METHOD_NAMES = {"regular": "regular", "barlowtwins": "Barlow", "vibcreg": "VIbCReg"}
MOST_ROWS = 5  # data sets in one figure
NC_METHODS = ("barlowtwins", "vibcreg")
TEST_ERROR = "test error (MSE)"


def configuration_name(method, augmentation):
    """Short name of a configuration on an axis: "regular", "Barlow warp", "VIbCReg gauss"."""
    return METHOD_NAMES[method] + ("" if augmentation == "none" else f" {augmentation}")


def short_name(dataset):
    """A data set's name for a small panel: the long ones are cut in the middle."""
    return dataset.replace("RobotSurface", "…").replace("GestureLibrary", "…")


def thesis_panels(panels):
    """Panels of runs with the thesis' recipe: (data set, method, augmentation) -> panel with fewest parts in bf16."""
    found = {}
    for panel in sorted(panels, key=lambda panel: bf16_settings(panel["ablation"])):
        if panel["preset"] == "paper" and set(changed(panel["ablation"])) <= FREE:
            found.setdefault((panel["dataset"], panel["method"], panel["augmentation"]), panel)
    return found


def datasets_of(keys):
    """The thesis' data sets among these names, or first in these tuples, in the thesis' order."""
    found = {key if isinstance(key, str) else key[0] for key in keys}
    return [name for name in THESIS_DATASETS if name in found]


# --- one small picture per cell ---


def latent_maps(panels, datasets):
    """t-SNE of the pooled latents of test series, one small map per data set (rows) and configuration (columns)."""
    return _grid(panels, datasets, _latents, "t-SNE of pooled latents of test series (no units); one colour a class")


def _latents(ax, panel):
    for k in np.unique(panel["classes"]):
        colour, marker = plots.CLASS_COLOURS[k % 8], plots.CLASS_MARKERS[k // 8 % 8]
        points = panel["points"][panel["classes"] == k].astype(float)
        ax.scatter(*points.T, s=4, color=colour, marker=marker, linewidths=0, alpha=0.8)
    ax.set(xticks=[], yticks=[])
    ax.margins(0.08)


def accepted_probabilities(panels, datasets):
    """How sure the prior was of the tokens that it kept: per decoding step, darker where more tokens lie.

    The line is the mean. Mostly above 0.9 from the first steps on would mean a prior that recites.
    """
    return _grid(
        panels, datasets, _accepted, "decoding step (darker: more tokens; line: mean)", "probability of a kept token"
    )


def _accepted(ax, panel):
    counts = panel["accepted"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (T, bins)
    steps, bins = shares.shape
    means = shares @ ((np.arange(bins) + 0.5) / bins)
    ax.imshow(shares.T, aspect="auto", origin="lower", extent=(0.5, steps + 0.5, 0, 1), cmap="Greys", vmin=0, vmax=0.4)
    ax.plot(np.arange(1, steps + 1), means, color=plots.METHOD_COLOURS[panel["method"]], linewidth=2)
    ax.set(xticks=[1, steps], yticks=[0, 1])


def _grid(panels, datasets, draw, xlabel, ylabel=""):
    found = thesis_panels(panels)
    fig, axes = plots.figure(len(datasets), len(CONFIGURATIONS), height=1.3 + 1.15 * len(datasets))
    for row, dataset in zip(axes, datasets):
        for ax, configuration in zip(row, CONFIGURATIONS):
            if (dataset, *configuration) in found:
                draw(ax, found[dataset, *configuration])
                ax.tick_params(labelbottom=ax in axes[-1])
            else:
                not_kept(ax)
        _label_first(row)
        row[0].set_ylabel(short_name(dataset), fontsize=plots.SMALL)
    _name_columns(axes[0])
    fig.supxlabel(xlabel, fontsize=plots.TEXT)
    fig.supylabel(ylabel, fontsize=plots.TEXT)
    return fig


def class_samples(panels, dataset):
    """What each configuration draws when asked for a class, over the range of real test series: rows are classes.

    At most 4 classes. Grey: between the .1 and .9 quantile of the real series; in the first column their median. Of 5
    generated series one is bold. Values beyond twice the grey range are cut off.
    """
    found = {key[1:]: panel for key, panel in thesis_panels(panels).items() if key[0] == dataset}
    any_run = next(iter(found.values()))
    shown = any_run["shown"]
    fig, axes = plots.figure(len(shown), 1 + len(CONFIGURATIONS), height=1.3 + 1.2 * len(shown), sharey="row")
    for k, row in enumerate(axes):
        low, median, high = any_run["real"][k].astype(float)
        drawn = [row[0], *(ax for ax, configuration in zip(row[1:], CONFIGURATIONS) if configuration in found)]
        for ax in drawn:
            ax.fill_between(any_run["time"], low, high, color=plots.PALE, linewidth=0)
        _lines(row[0], any_run["time"], median[None], plots.INK)
        for ax, configuration in zip(row[1:], CONFIGURATIONS):
            if configuration in found:
                panel = found[configuration]
                _lines(ax, panel["time"], panel["generated"][k], plots.METHOD_COLOURS[configuration[0]])
            else:
                not_kept(ax)
        name = textwrap.shorten(f"class {any_run['class_names'][shown[k]]}", 14, placeholder="…")
        row[0].set_ylabel(name, fontsize=plots.SMALL)
        row[0].yaxis.set_major_locator(MaxNLocator(3))
        margin = (high.max() - low.min()) / 2
        row[0].set_ylim(low.min() - margin, high.max() + margin)
    axes[0, 0].set_title("real\n(test)", fontsize=plots.SMALL)
    _name_columns(axes[0, 1:])
    fig.suptitle(f"{dataset}: generated for a class, on the real range (raw units)", fontsize=plots.TEXT)
    fig.supxlabel(f"time (steps 0 to {any_run['time'][-1]})", fontsize=plots.TEXT)
    return fig


def _lines(ax, time, series, colour):
    for i, x in enumerate(series.astype(float)[::-1]):
        bold = i == len(series) - 1
        ax.plot(time, x, color=colour, linewidth=1.4 if bold else 0.7, alpha=1 if bold else 0.5)
    ax.set_xticks([])


def _name_columns(axes):
    for ax, configuration in zip(axes, CONFIGURATIONS):
        ax.set_title(configuration_name(*configuration).replace(" ", "\n"), fontsize=plots.SMALL)


def not_kept(ax):
    """Mark axes as a cell of which no run was kept: hatched, and said."""
    ax.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False, which="both")
    ax.patch.set(facecolor="white", edgecolor=plots.PALE, hatch="////")
    ax.text(0.5, 0.5, "not\nkept", transform=ax.transAxes, ha="center", va="center", fontsize=plots.SMALL,
            bbox=dict(facecolor="white", edgecolor="none", pad=1))  # fmt: skip


def _label_first(row):
    """Numbers on the y axis of the first axes of a row that have data; the others share it."""
    first = next((ax for ax in row if ax.has_data()), None)
    for ax in row:
        ax.tick_params(left=ax is first, labelleft=ax is first)


# --- loss curves ---


def thesis_curves(curves):
    """The rows of `load_curves` with the thesis' recipe, perhaps none."""
    alike = np.array([set(changed(text)) <= FREE for text in curves.ablation], bool)
    return curves[(curves.preset == "paper") & alike & curves.dataset.isin(THESIS_DATASETS)]


def loss_curves(curves, datasets):
    """SSL loss on the train split and error on the test split by epoch, one row of panels per data set.

    Colours are augmentations in the SSL columns and methods in the last one; a line is a seed.
    """
    rows = thesis_curves(curves)
    fig, axes = plots.figure(len(datasets), 3, height=2.1 + 2.2 * len(datasets), sharex=True)
    for row, dataset in zip(axes, datasets):
        of_set = rows[rows.dataset == dataset]
        for ax, method in zip(row, NC_METHODS):
            _curves(ax, of_set[of_set.method == method], "ssl", plots.AUGMENTATION_COLOURS, "augmentation")
        _curves(row[2], of_set, "recon_val", plots.METHOD_COLOURS, "method")
        row[0].set_ylabel(short_name(dataset), fontsize=plots.TEXT)
    for ax, title in zip(axes[0], ("SSL loss, Barlow", "SSL loss, VIbCReg", TEST_ERROR)):
        ax.set_title(title, fontsize=plots.TEXT)
    for ax in axes[-1]:
        ax.set_xlabel("epoch (log scale)", fontsize=plots.TEXT)
    fig.legend(handles=_curve_legend(), loc="outside lower center", ncols=3, fontsize=plots.SMALL, frameon=False)
    return fig


def _curves(ax, rows, term, colours, colour_by):
    rows = rows[rows[term].notna() & (rows.epoch > 0)]
    if not len(rows):
        return not_kept(ax)
    for _, run in rows.groupby(["method", "augmentation", "seed", "ablation"]):
        ax.plot(run.epoch, run[term], color=colours[run[colour_by].iloc[0]], linewidth=1.3)
    ax.set(xscale="log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_locator(MaxNLocator(4))


def _curve_legend():
    augmentations = [(f"view: {name}", c) for name, c in plots.AUGMENTATION_COLOURS.items() if name != "none"]
    methods = [(METHOD_NAMES[name], colour) for name, colour in plots.METHOD_COLOURS.items()]
    return [Line2D([], [], color=colour, label=label) for label, colour in augmentations + methods]


def accuracy_by_loss(curves, datasets):
    """KNN accuracy against the loss at the same epoch while a tokenizer trains: one line a run, the dot is its end.

    If a lower loss meant better latents, lines would run to the upper left. A seed is a line; epoch 0 is left out.
    """
    rows = thesis_curves(curves)
    rows = rows.assign(ssl=rows.groupby(list(rows.columns[:6])).ssl.ffill())
    rows = rows[rows.knn_acc.notna() & (rows.epoch > 0)]
    fig, axes = plots.figure(len(datasets), 3, height=2.1 + 2.4 * len(datasets), sharey="row")
    for row, dataset in zip(axes, datasets):
        of_set = rows[rows.dataset == dataset]
        for ax, method in zip(row, NC_METHODS):
            _paths(ax, of_set[of_set.method == method], "ssl", plots.AUGMENTATION_COLOURS, "augmentation")
        _paths(row[2], of_set, "recon_val", plots.METHOD_COLOURS, "method")
        _label_first(row)
        row[0].set_ylabel(short_name(dataset), fontsize=plots.TEXT)
    for ax, label in zip(axes[-1], ("SSL loss, Barlow", "SSL loss, VIbCReg", TEST_ERROR)):
        ax.set_xlabel(label, fontsize=plots.TEXT)
    fig.supylabel("KNN accuracy (fraction of test)", fontsize=plots.TEXT)
    end = Line2D([], [], color="white", marker="o", markeredgecolor=plots.INK, label="end of training")
    handles = [*_curve_legend(), end]
    fig.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=plots.SMALL, frameon=False)
    return fig


def _paths(ax, rows, term, colours, colour_by):
    rows = rows[rows[term].notna()]
    if not len(rows):
        return not_kept(ax)
    for _, run in rows.groupby(["method", "augmentation", "seed", "ablation"]):
        colour = colours[run[colour_by].iloc[0]]
        ax.plot(run[term], run.knn_acc, color=colour, linewidth=0.9, alpha=0.7)
        ax.plot(run[term].iloc[-1], run.knn_acc.iloc[-1], "o", color=colour, markeredgecolor=plots.INK, markersize=6)
    ax.xaxis.set_major_locator(MaxNLocator(4))
