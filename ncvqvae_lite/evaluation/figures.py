"""Figures beside the scores of `evaluate`: series beside series, clouds on one another, and three plain statistics.

Each takes the `inputs.Sets` that were compared; of several channels the first is drawn, and the title says so.
"""

import numpy as np

from .. import plots
from .kernels import KernelFeatures
from .standard import Standard
from .statistics import autocorrelation, power_spectrum

SYNTHETIC = plots.CLASS_COLOURS[0]
ROWS = 6  # classes that are drawn
LINES = 12  # series in a panel
POINTS = 500  # of each kind


def all_figures(sets, seed=0):
    """{title: figure} in the order of a page."""
    return {
        "Series": series_by_class(sets, seed),
        "Clouds of features": clouds(sets, seed),
        "Values, frequencies, and how values follow one another": statistics(sets),
    }


def series_by_class(sets, seed=0):
    """Real (left) and synthetic series (right), a row for each class where both have labels; one series is bold."""
    both = sets.real_labels is not None and sets.synthetic_labels is not None
    rows = sets.classes[:ROWS] if both else (None,)
    fig, axes = plots.figure(len(rows), 2, height=max(3.0, 1.2 * len(rows) + 1.0), sharex=True, sharey="row")
    sides = (
        ("real", sets.real, sets.real_labels, plots.REAL),
        ("synthetic", sets.synthetic, sets.synthetic_labels, SYNTHETIC),
    )
    rng = np.random.default_rng(seed)
    for column, (title, x, labels, colour) in zip(axes.T, sides):
        column[0].set_title(title + _channel(sets), fontsize=plots.TEXT)
        for ax, name in zip(column, rows):
            of_class = np.arange(len(x)) if name is None else np.flatnonzero(labels == name)
            for place, row in enumerate(rng.permutation(of_class)[:LINES][::-1], start=1):
                last = place == min(LINES, len(of_class))
                ax.plot(x[row, 0], color=colour, linewidth=1.8 if last else 0.7, alpha=1 if last else 0.45)
            if not len(of_class):
                ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", fontsize=plots.SMALL)
    if both:
        for ax, name in zip(axes[:, 0], rows):
            ax.set_ylabel(plots.class_label(name), fontsize=plots.SMALL)
    fig.supxlabel(plots.STEPS, fontsize=plots.TEXT)
    return fig


def clouds(sets, seed=0):
    """Kernel features of real and synthetic series in two dimensions: principal components, and t-SNE."""
    rng = np.random.default_rng(seed)
    chosen = [x[np.sort(rng.permutation(len(x))[:POINTS])] for x in (sets.real, sets.synthetic)]
    kernels = KernelFeatures(*sets.real.shape[1:], seed=seed)
    raw = [kernels(sets.scaled(x)).double().numpy() for x in chosen]
    standard = [Standard(raw[0])(features) for features in raw]
    main = np.linalg.svd(standard[0], full_matrices=False)[2][:2]  # directions in which real series differ most
    along_main = [features @ main.T for features in standard]
    together, perplexity = plots.tsne(np.concatenate(standard), seed=seed)
    fig, [axes] = plots.figure(1, 2, height=3.9)
    sides = ("real", plots.REAL, "o"), ("synthetic", SYNTHETIC, "x")
    maps = (
        ("principal components of real", along_main),
        (f"t-SNE, perplexity {perplexity:.3g}", np.split(together, [len(raw[0])])),
    )
    for ax, (title, points) in zip(axes, maps):
        for (name, colour, marker), cloud in zip(sides, points):
            ax.scatter(*cloud.T, s=14, color=colour, marker=marker, linewidths=0.8, alpha=0.6, label=name)
        ax.set_title(title, fontsize=plots.SMALL)
        ax.set(xticks=[], yticks=[])
    plots.legend_below(fig, axes[0].get_legend_handles_labels()[0], 2)
    return fig


def statistics(sets):
    """Share of values, mean power by frequency, mean autocorrelation by lag; real series in grey, synthetic in blue."""
    sides = (
        ("real", sets.scaled(sets.real), plots.REAL, "-"),
        ("synthetic", sets.scaled(sets.synthetic), SYNTHETIC, "--"),
    )
    length = sets.real.shape[2]
    fig, [axes] = plots.figure(1, 3, height=3.4)
    bins = np.linspace(*np.quantile(sides[0][1][:, 0], [0.001, 0.999]) + np.array([-0.5, 0.5]), 60)  # pyright: ignore[reportCallIssue]  # two numbers
    for name, x, colour, style in sides:
        how = dict(color=colour, linestyle=style, linewidth=2, label=name)
        share = np.histogram(x[:, 0], bins)[0] / x[:, 0].size
        axes[0].plot((bins[1:] + bins[:-1]) / 2, share, **how)
        power = power_spectrum(x)[0]
        axes[1].plot(np.arange(len(power)) / length, 10 * np.log10(np.maximum(power, 1e-12)), **how)
        axes[2].plot(autocorrelation(x)[0, : length // 2 + 1], **how)
    axes[0].set(xlabel="value (real std = 1)", ylabel="share", title="values")
    axes[1].set(xlabel="frequency (1 / step)", ylabel="dB", title="power")
    axes[2].set(xlabel="lag (steps)", title="autocorrelation")
    for ax in axes:
        ax.title.set_size(plots.SMALL)
        ax.xaxis.label.set_size(plots.SMALL)
        ax.yaxis.label.set_size(plots.SMALL)
    plots.legend_below(fig, axes[0].lines, 2)
    return fig


def _channel(sets):
    return f" (channel 1 of {sets.real.shape[1]})" if sets.real.shape[1] > 1 else ""
