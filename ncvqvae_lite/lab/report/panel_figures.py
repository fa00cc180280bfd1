"""Figures of the report that look inside runs: loss curves, latents, the sampler's certainty, series of each class.

They take what notebooks/tools/panels.py keeps: a list of panels, or the frame of loss curves. A figure has a picture of
each run that was kept, and a line that names those of the thesis' configurations of which none was. Only runs with the
thesis' recipe are shown, and methods that are registered.
"""

import textwrap
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
from ..text import listed
from .tables import FREE, bf16_settings, changed, with_recipe

MOST_ROWS = 5  # data sets in one figure
PICTURES, CURVES = 5, 3  # side by side
LINE = 84  # characters of small text that fit below a figure
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


def _grid(panels, datasets, draw, below, beside=""):
    found = thesis_panels(panels)
    keys = [(dataset, *c) for dataset in datasets for c in _columns(found) if (dataset, *c) in found]
    fig, axes = _places(len(keys), PICTURES, 1.75)
    for place, (ax, key) in enumerate(zip(axes, keys)):
        draw(ax, found[key])
        ax.set_title(f"{short_name(key[0])}\n{arm(*key[1:])}", fontsize=plots.SMALL)
        ax.tick_params(labelleft=place % PICTURES == 0)
    gone = _not_kept(datasets, [arm(*c) for c in CONFIGURATIONS], {(k[0], arm(*k[1:])) for k in keys})
    fig.supxlabel(in_lines(below, gone), fontsize=plots.SMALL)
    fig.supylabel(beside, fontsize=plots.TEXT)
    return fig


def _places(n, columns, height):
    """A figure with n axes, `columns` side by side, each row of this height in inches; what is left over is empty."""
    columns = min(n, columns)
    fig, axes = plots.figure(-(-n // columns), columns, height=1 + height * -(-n // columns))
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return fig, list(axes.flat[:n])


def in_lines(*sentences):
    """Sentences in lines that fit below a figure, each beginning a new one."""
    return "\n".join(line for sentence in sentences for line in textwrap.wrap(sentence, LINE))


def _not_kept(datasets, names, drawn):
    """Of what no run was kept, in one sentence; empty where nothing is missing.

    names   what each data set could have; drawn  the pairs (data set, name) that there are
    """
    missing = {}
    for dataset in datasets:
        missing.setdefault(tuple(name for name in names if (dataset, name) not in drawn), []).append(dataset)
    parts = []
    for gone, where in missing.items():
        rest = [name for name in names if name not in gone]
        which = listed(gone) if len(gone) <= max(2, len(rest)) else f"all but {listed(rest)}" if rest else "all"
        parts += [f"{which} of {listed(map(short_name, where))}"] if gone else []
    return f"Not kept: {'; '.join(parts)}." if parts else ""


def class_samples(panels, dataset):
    """What each configuration draws when asked for a class, over the range of real test series: rows are classes.

    At most 4 classes. Grey: between the .1 and .9 quantile of the real series; in the first column their median. Of 5
    generated series one is bold. Values beyond twice the grey range are cut off.
    """
    found = {key[1:]: panel for key, panel in thesis_panels(panels).items() if key[0] == dataset}
    any_run, columns = next(iter(found.values())), [c for c in _columns({(dataset, *c) for c in found}) if c in found]
    shown = any_run["shown"]
    fig, axes = plots.figure(len(shown), 1 + len(columns), height=1.3 + 1.2 * len(shown), sharey="row")
    for k, row in enumerate(axes):
        low, median, high = any_run["real"][k].astype(float)
        _lines(row[0], any_run, k, median[None], plots.INK)
        for ax, configuration in zip(row[1:], columns):
            panel = found[configuration]
            _lines(ax, panel, k, panel["generated"][k], METHODS[configuration[0]].colour)
        row[0].set_ylabel(plots.class_label(any_run["class_names"][shown[k]]), fontsize=plots.SMALL)
        row[0].yaxis.set_major_locator(MaxNLocator(3))
        margin = (high.max() - low.min()) / 2
        row[0].set_ylim(low.min() - margin, high.max() + margin)
    axes[0, 0].set_title("real\n(test)", fontsize=plots.SMALL)
    for ax, configuration in zip(axes[0, 1:], columns):
        ax.set_title(arm(*configuration).replace(" ", "\n"), fontsize=plots.SMALL)
    fig.suptitle(f"{dataset}: generated for a class, on the real range (raw units)", fontsize=plots.TEXT)
    gone = _not_kept([dataset], [arm(*c) for c in CONFIGURATIONS], {(dataset, arm(*c)) for c in columns})
    fig.supxlabel(in_lines(f"time (steps 0 to {any_run['time'][-1]})", gone), fontsize=plots.SMALL)
    return fig


def _lines(ax, panel, k, series, colour):
    """Series over the range of real ones of class no. k; the first of them is bold."""
    low, _, high = panel["real"][k].astype(float)
    ax.fill_between(panel["time"], low, high, color=plots.PALE, linewidth=0)
    for i, x in enumerate(series.astype(float)[::-1]):
        bold = i == len(series) - 1
        ax.plot(panel["time"], x, color=colour, linewidth=1.4 if bold else 0.7, alpha=1 if bold else 0.5)
    ax.set_xticks([])


# --- loss curves ---


def thesis_curves(curves):
    """The rows of `load_curves` with the thesis' recipe, perhaps none."""
    curves = with_recipe(curves)
    return curves[curves.dataset.isin(THESIS_DATASETS) & curves.method.isin(list(METHODS))]


def loss_curves(curves, datasets):
    """Error on the test split and SSL loss on the train split by epoch, a panel for each data set that has any.

    Colours are methods where the error is drawn and augmentations where the SSL loss is; a line is a seed.
    """
    rows = thesis_curves(curves)

    def draw(ax, run, values, colour):
        ax.plot(run.epoch, values, color=colour, linewidth=1.3)

    fig, panels, gone = _curve_panels(rows[rows.epoch > 0], datasets, draw)
    for ax, title in panels:
        ax.set(xscale="log", xlabel="epoch (log scale)", ylabel=title)
        plots.plain_log_ticks(ax.xaxis)
        ax.yaxis.set_major_locator(MaxNLocator(4))
    plots.legend_below(fig, _curve_legend(rows), 3, gone)
    return fig


def accuracy_by_loss(curves, datasets):
    """KNN accuracy against the loss at the same epoch while a tokenizer trains: one line a run, the dot is its end.

    If a lower loss meant better latents, lines would run to the upper left. A seed is a line; epoch 0 is left out.
    """
    rows = thesis_curves(curves)
    rows = rows.assign(ssl=rows.groupby(list(CURVE_KEY)).ssl.ffill())
    rows = rows[rows.knn_acc.notna() & (rows.epoch > 0)]
    end: dict[str, Any] = dict(marker="o", markeredgecolor=plots.INK)

    def draw(ax, run, values, colour):
        ax.plot(values, run.knn_acc, color=colour, linewidth=0.9, alpha=0.7)
        ax.plot(values.iloc[-1], run.knn_acc.iloc[-1], color=colour, markersize=6, **end)

    fig, panels, gone = _curve_panels(rows, datasets, draw)
    for ax, title in panels:
        ax.set_xlabel(title)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(5))
    fig.supylabel("KNN accuracy (fraction of test)", fontsize=plots.TEXT)
    last = Line2D([], [], color="white", label="end of training", **end)
    plots.legend_below(fig, [*_curve_legend(rows), last], 3, gone)
    return fig


def _curve_panels(rows, datasets, draw):
    """A figure with a panel for each term and data set that have values, [(axes, name of the term)], what is missing.

    draw    called as draw(axes, rows of one tokenizer, its values of the term, colour)
    """
    found, drawn = [], _curve_terms(rows)
    for term, method, title in drawn:
        for dataset in datasets:
            part = rows[(rows.dataset == dataset) & rows[term].notna()]
            part = part[part.method == method] if method else part
            if len(part):
                found.append((dataset, term, method, title, part))
    fig, axes = _places(len(found), CURVES, 2.2)
    for ax, (dataset, term, method, _, part) in zip(axes, found):
        ax.set_title(short_name(dataset), fontsize=plots.TEXT)
        for (_, of_run, augmentation, *_), run in part.groupby(list(CURVE_KEY)):
            draw(ax, run, run[term], plots.augmentation_colour(augmentation) if method else METHODS[of_run].colour)
    there = {(dataset, title) for dataset, *_, title, _ in found}
    gone = in_lines(_not_kept(datasets, [title for *_, title in drawn], there))
    return fig, [(ax, title) for ax, (*_, title, _) in zip(axes, found)], gone


def _curve_terms(rows):
    """(term, method, title) of what is drawn: the error of all, then the SSL loss of each method of thesis or rows."""
    shown = {method for method, _ in CONFIGURATIONS} | set(rows.method)
    ssl = [("ssl", name, f"SSL loss, {m.label}") for name, m in METHODS.items() if m.loss and name in shown]
    return [("recon_val", None, "test error (MSE)"), *ssl]


def _curve_legend(rows):
    """A line for each method and each augmentation of these rows."""
    methods = [name for name in METHODS if name in set(rows.method)]
    views = [name for name in dict.fromkeys(rows.augmentation) if name != "none"]
    lines = [(METHODS[name].label, METHODS[name].colour) for name in methods]
    lines += [(f"view: {name}", plots.augmentation_colour(name)) for name in views]
    return [Line2D([], [], color=colour, label=label) for label, colour in lines]
