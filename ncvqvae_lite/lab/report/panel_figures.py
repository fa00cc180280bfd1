"""Figures of the report that look inside runs: loss curves, latents, the sampler's certainty, series of each class.

They take what notebooks/tools/panels.py keeps: a list of panels, or the frame of loss curves. Where a figure is a grid,
its columns are the seven configurations of the thesis and others of which a run was kept; a place of which none was
kept is hatched and says so. Only runs with the thesis' recipe are shown, and methods that are registered.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ... import plots
from ...data import THESIS_DATASETS
from ...names import METHODS, arm
from ...thesis import CONFIGURATIONS, data_file
from ..results import CELL, SHIPPED
from .tables import FREE, bf16_settings, changed, with_recipe

MOST_ROWS = 5  # data sets in one figure
CURVE_KEY = (*CELL, "preset", "ablation")  # what tells tokenizers apart
TERMS = ("time", "spectrum", "commitment", "augmented", "ssl", "perplexity", "recon_val", "knn_acc", "svm_acc")
CURVE_COLUMNS = (*CURVE_KEY, "epoch", *TERMS)


def load_panels(folder=None):
    """All panels of a folder as a list of dicts of arrays and texts; None: those that ship."""
    panels = []
    for file in sorted(Path(folder or data_file(SHIPPED).parent / "panels").glob("*.npz")):
        with np.load(file) as arrays:
            panels.append({name: a if a.shape else a.item() for name, a in arrays.items()})
    return panels


def load_curves(table=None):
    """Rows of a table of loss curves as a frame, values that were not computed NaN; None: the table that ships."""
    table = Path(table or data_file(SHIPPED).parent / "curves.csv")
    if not table.exists():
        return pd.DataFrame(columns=CURVE_COLUMNS)
    return pd.read_csv(table, keep_default_na=False, na_values={name: [""] for name in TERMS})


def short_name(dataset):
    """A data set's name for a small panel: the long ones are cut in the middle."""
    return dataset.replace("RobotSurface", "…").replace("GestureLibrary", "…")


def thesis_panels(panels):
    """Panels of runs with the thesis' recipe: (data set, method, augmentation) -> panel with fewest parts in bf16."""
    found = {}
    for panel in sorted(panels, key=lambda panel: bf16_settings(panel["ablation"])):
        if panel["preset"] == "paper" and set(changed(panel["ablation"])) <= FREE and panel["method"] in METHODS:
            found.setdefault((panel["dataset"], panel["method"], panel["augmentation"]), panel)
    return found


def datasets_of(keys):
    """The thesis' data sets among these names, or first in these tuples, in the thesis' order."""
    found = {key if isinstance(key, str) else key[0] for key in keys}
    return [name for name in THESIS_DATASETS if name in found]


def _columns(found):
    """(method, augmentation) of each column of a grid of `thesis_panels`."""
    return [*CONFIGURATIONS, *sorted({key[1:] for key in found} - set(CONFIGURATIONS))]


# --- one small picture per run ---


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
    below = "decoding step (darker: more tokens; line: mean)"
    return _grid(panels, datasets, _accepted, below, "probability of a kept token")


def _accepted(ax, panel):
    counts = panel["accepted"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (T, bins)
    steps, bins = shares.shape
    means = shares @ ((np.arange(bins) + 0.5) / bins)
    ax.imshow(shares.T, aspect="auto", origin="lower", extent=(0.5, steps + 0.5, 0, 1), cmap="Greys", vmin=0, vmax=0.4)
    ax.plot(np.arange(1, steps + 1), means, color=METHODS[panel["method"]].colour, linewidth=2)
    ax.set(xticks=[1, steps], yticks=[0, 1])


def _grid(panels, datasets, draw, xlabel, ylabel=""):
    found = thesis_panels(panels)
    columns = _columns(found)
    fig, axes = plots.figure(len(datasets), len(columns), height=1.3 + 1.15 * len(datasets))
    for row, dataset in zip(axes, datasets):
        for ax, configuration in zip(row, columns):
            if (dataset, *configuration) in found:
                draw(ax, found[dataset, *configuration])
                ax.tick_params(labelbottom=ax in axes[-1])
            else:
                not_kept(ax)
        _label_first(row)
        row[0].set_ylabel(short_name(dataset), fontsize=plots.SMALL)
    _name_columns(axes[0], columns)
    fig.supxlabel(xlabel, fontsize=plots.TEXT)
    fig.supylabel(ylabel, fontsize=plots.TEXT)
    return fig


def class_samples(panels, dataset):
    """What each configuration draws when asked for a class, over the range of real test series: rows are classes.

    At most 4 classes. Grey: between the .1 and .9 quantile of the real series; in the first column their median. Of 5
    generated series one is bold. Values beyond twice the grey range are cut off.
    """
    found = {key: panel for key, panel in thesis_panels(panels).items() if key[0] == dataset}
    any_run, columns = next(iter(found.values())), _columns(found)
    shown = any_run["shown"]
    fig, axes = plots.figure(len(shown), 1 + len(columns), height=1.3 + 1.2 * len(shown), sharey="row")
    for k, row in enumerate(axes):
        low, median, high = any_run["real"][k].astype(float)
        _lines(row[0], any_run, k, median[None], plots.INK)
        for ax, configuration in zip(row[1:], columns):
            if panel := found.get((dataset, *configuration)):
                _lines(ax, panel, k, panel["generated"][k], METHODS[configuration[0]].colour)
            else:
                not_kept(ax)
        row[0].set_ylabel(plots.class_label(any_run["class_names"][shown[k]]), fontsize=plots.SMALL)
        row[0].yaxis.set_major_locator(MaxNLocator(3))
        margin = (high.max() - low.min()) / 2
        row[0].set_ylim(low.min() - margin, high.max() + margin)
    axes[0, 0].set_title("real\n(test)", fontsize=plots.SMALL)
    _name_columns(axes[0, 1:], columns)
    fig.suptitle(f"{dataset}: generated for a class, on the real range (raw units)", fontsize=plots.TEXT)
    fig.supxlabel(f"time (steps 0 to {any_run['time'][-1]})", fontsize=plots.TEXT)
    return fig


def _lines(ax, panel, k, series, colour):
    """Series over the range of real ones of class no. k; the first of them is bold."""
    low, _, high = panel["real"][k].astype(float)
    ax.fill_between(panel["time"], low, high, color=plots.PALE, linewidth=0)
    for i, x in enumerate(series.astype(float)[::-1]):
        bold = i == len(series) - 1
        ax.plot(panel["time"], x, color=colour, linewidth=1.4 if bold else 0.7, alpha=1 if bold else 0.5)
    ax.set_xticks([])


def _name_columns(axes, columns):
    for ax, configuration in zip(axes, columns):
        ax.set_title(arm(*configuration).replace(" ", "\n"), fontsize=plots.SMALL)


def not_kept(ax):
    """Mark axes as a place of which no run was kept: hatched, and said."""
    ax.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False, which="both")
    ax.patch.set(facecolor="white", edgecolor=plots.PALE, hatch="////")
    style = dict(ha="center", va="center", fontsize=plots.SMALL, bbox=dict(facecolor="white", edgecolor="none", pad=1))
    ax.text(0.5, 0.5, "not\nkept", transform=ax.transAxes, **style)


def _label_first(row):
    """Numbers on the y axis of the first axes of a row that have data; the others share it."""
    first = next((ax for ax in row if ax.has_data()), None)
    for ax in row:
        ax.tick_params(left=ax is first, labelleft=ax is first)


# --- loss curves ---


def thesis_curves(curves):
    """The rows of `load_curves` with the thesis' recipe, perhaps none."""
    curves = with_recipe(curves)
    return curves[curves.dataset.isin(THESIS_DATASETS) & curves.method.isin(list(METHODS))]


def loss_curves(curves, datasets):
    """SSL loss on the train split and error on the test split by epoch, one row of panels per data set.

    Colours are augmentations in the SSL columns and methods in the last one; a line is a seed.
    """
    rows = thesis_curves(curves)
    rows, columns = rows[rows.epoch > 0], _curve_columns(rows)
    fig, axes = plots.figure(len(datasets), len(columns), height=2.1 + 2.2 * len(datasets), sharex=True)
    for ax, run, values, colour in _runs(axes, rows, datasets, columns):
        ax.plot(run.epoch, values, color=colour, linewidth=1.3)
        ax.set(xscale="log")
        plots.plain_log_ticks(ax.xaxis)
        ax.yaxis.set_major_locator(MaxNLocator(4))
    for top, bottom, title in zip(axes[0], axes[-1], columns.values()):
        top.set_title(title, fontsize=plots.TEXT)
        bottom.set_xlabel("epoch (log scale)")
    plots.legend_below(fig, _curve_legend(rows), 3)
    return fig


def accuracy_by_loss(curves, datasets):
    """KNN accuracy against the loss at the same epoch while a tokenizer trains: one line a run, the dot is its end.

    If a lower loss meant better latents, lines would run to the upper left. A seed is a line; epoch 0 is left out.
    """
    rows = thesis_curves(curves)
    rows = rows.assign(ssl=rows.groupby(list(CURVE_KEY)).ssl.ffill())
    rows = rows[rows.knn_acc.notna() & (rows.epoch > 0)]
    columns = _curve_columns(rows)
    fig, axes = plots.figure(len(datasets), len(columns), height=2.1 + 2.4 * len(datasets), sharey="row")
    end: dict[str, Any] = dict(marker="o", markeredgecolor=plots.INK)
    for ax, run, values, colour in _runs(axes, rows, datasets, columns):
        ax.plot(values, run.knn_acc, color=colour, linewidth=0.9, alpha=0.7)
        ax.plot(values.iloc[-1], run.knn_acc.iloc[-1], color=colour, markersize=6, **end)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    for row in axes:
        _label_first(row)
    for ax, title in zip(axes[-1], columns.values()):
        ax.set_xlabel(title)
    fig.supylabel("KNN accuracy (fraction of test)", fontsize=plots.TEXT)
    plots.legend_below(fig, [*_curve_legend(rows), Line2D([], [], color="white", label="end of training", **end)], 4)
    return fig


def _curve_columns(rows):
    """{(term, method): title}: the SSL loss of each method of the thesis or of these rows, then the error of all."""
    shown = {method for method, _ in CONFIGURATIONS} | set(rows.method)
    ssl = {("ssl", name): f"SSL loss, {m.label}" for name, m in METHODS.items() if m.loss and name in shown}
    return ssl | {("recon_val", None): "test error (MSE)"}


def _runs(axes, rows, datasets, columns):
    """(axes, rows of one tokenizer, values of the column's term, colour) of each line; axes without one are hatched."""
    for line, dataset in zip(axes, datasets):
        line[0].set_ylabel(short_name(dataset))
        for ax, (term, method) in zip(line, columns):
            found = rows[(rows.dataset == dataset) & rows[term].notna()]
            found = found[found.method == method] if method else found
            if found.empty:
                not_kept(ax)
            for (_, of_run, augmentation, *_), run in found.groupby(list(CURVE_KEY)):
                colour = plots.augmentation_colour(augmentation) if method else METHODS[of_run].colour
                yield ax, run, run[term], colour


def _curve_legend(rows):
    """A line for each augmentation and each method of the thesis or of these rows."""
    methods, augmentations = zip(*CONFIGURATIONS)
    views = [name for name in dict.fromkeys([*augmentations, *rows.augmentation]) if name != "none"]
    lines = [(f"view: {name}", plots.augmentation_colour(name)) for name in views]
    lines += [(METHODS[name].label, METHODS[name].colour) for name in dict.fromkeys([*methods, *rows.method])]
    return [Line2D([], [], color=colour, label=label) for label, colour in lines]
