"""Every figure, one function each: it takes arrays or history rows and returns a matplotlib Figure; and their look.

A method and an augmentation have the colour of their record in every figure; what is real is grey. Colours are those
that colour-blind readers can tell apart. Nothing here touches pyplot, so a notebook shows a figure once. Letters: n
series, C channels, L steps, K codes, k classes.
"""

import io
import textwrap
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from PIL import Image

from .errors import BadInput
from .names import METHODS

REAL, PALE, INK = "#999999", "#CCCCCC", "#000000"
CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
CLASS_MARKERS = "osD^v<>P"

WIDTH, DPI = 7.2, 100  # inches and dots per inch: text stays legible when a page shows a figure at half its width
TEXT, SMALL = 13, 11.5  # points
SCALED = "value (train std = 1)"
STEPS = "time (steps)"
MAX_CLASSES = 4  # rows of a figure with one row per class
SMALL_MULTIPLES = 8  # where the rows are low

Share = bool | Literal["none", "all", "row", "col"]  # which axes of a figure have one scale


# --- the look of all figures ---


class NotebookFigure(Figure):
    """A figure that notebooks show by themselves; equal data give equal bytes (fixed dpi, no version, no date)."""

    def _repr_png_(self):
        return self.png()

    def png(self, dpi=DPI):
        """PNG with a palette: line drawings need a third of the bytes that true colour takes."""
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=dpi, metadata={"Software": None})
        Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
        return small.getvalue()


def figure(rows=1, columns=1, height=4.0, sharex: Share = False, sharey: Share = False):
    """A figure in the style of all others, and its axes as an array (rows, columns); height in inches, 7.2 wide.

    For the drawings of a chapter: `fig, axes = figure(1, 2)`, draw on `axes[0, 0]`, and end the cell with `fig`.
    """
    fig = NotebookFigure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    axes = fig.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=SMALL)
        for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
            text.set_size(TEXT)
    return fig, axes


def legend_below(fig, handles, columns, title=""):
    """One legend for all axes of a figure, below them; the title stands above its entries."""
    style = dict(ncols=columns, fontsize=SMALL, title_fontsize=SMALL, frameon=False)
    fig.legend(handles=handles, loc="outside lower center", title=title or None, **style)


def plain_log_ticks(axis, locator=None):
    """Numbers of a log axis as 0.1, 1, 10, at the places of the locator."""
    if locator:
        axis.set_major_locator(locator)
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def colour_map(n_codes):
    """A matplotlib colour map for tokens 0..n_codes-1; hidden tokens (masked values) are pale grey."""
    return colormaps["viridis"].resampled(n_codes).with_extremes(bad=PALE)


def token_grid(ax, tokens, n_codes):
    """Draw tokens (F, W) as colours, lowest row at the bottom; hidden ones (of value n_codes) are hatched."""
    tokens = np.ma.masked_equal(_array(tokens), n_codes)
    colours = colour_map(n_codes).with_extremes(bad=(0, 0, 0, 0))
    ax.patch.set(facecolor="white", edgecolor=PALE, hatch="////")
    ax.imshow(tokens, origin="lower", aspect="auto", cmap=colours, vmin=0, vmax=n_codes - 1)
    ax.set(xticks=[], yticks=[])


def augmentation_colour(name):
    """Colour of an augmentation: grey for "none", black for one that is not registered."""
    if name == "none":
        return REAL
    from .augmentations import AUGMENTATIONS  # loads torch, which most figures do without

    return AUGMENTATIONS[name].colour if name in AUGMENTATIONS else INK


# --- the figures ---


def augmented_views(x, y, class_names, views, used=None):
    """One series of each class (grey) with its augmented views: rows are classes, columns augmentations.

    x      (n, C, L) series, scaled; y (n,) labels, or None: then the first rows are shown
    views  augmentation -> (n, C, L), the views of x
    used   the augmentation of this run; its column says so
    """
    x = _array(x)
    labels, rows = _first_of_each(y, class_names, len(x))
    fig, axes = figure(len(rows), len(views), height=max(3.4, 1.25 * len(rows) + 1.3), sharex=True, sharey="row")
    for column, (name, view) in zip(axes.T, views.items()):
        title, weight = (f"{name} (this run)", "bold") if name == used else (name, "normal")
        column[0].set_title(title, fontsize=TEXT, fontweight=weight)
        for ax, row in zip(column, rows):
            ax.plot(x[row, 0], color=PALE, linewidth=3.5, label="original")
            ax.plot(_array(view)[row, 0], color=augmentation_colour(name), linewidth=1.2, label=f"view: {name}")
    _label(axes, labels)
    fig.supylabel(SCALED + _channel_note(x), fontsize=TEXT)
    legend_below(fig, [axes[0, 0].lines[0], *(ax.lines[1] for ax in axes[0])], 4)
    return fig


def loss_curves(tokenizer_history, prior_history, method, augmentation="none"):
    """Loss terms by epoch, from the rows of history.csv: the tokenizer's on the left, the prior's on the right.

    Rows are dicts with `epoch` and the terms as floats; terms that are 0 throughout (a branch that is not there) are
    left out. Dots are values on the test split, where they were computed. Reconstruction is the sum of the mean
    squared errors of the series and of their spectrograms.
    """
    fig, [[left, right]] = figure(1, 2, height=5)
    colour = METHODS[method].colour
    both = [row | {"both": row["time"] + row["spectrum"]} for row in tokenizer_history if "time" in row]
    left.plot(*_column(both, "both"), color=colour, linewidth=2.5, label="reconstruction, train")
    _dots(left, tokenizer_history, "recon_val", "reconstruction, test")
    terms = {
        "time": ("its part in time", dict(color=colour, linestyle="--")),
        "spectrum": ("its part in frequency", dict(color=colour, linestyle=":")),
        "commitment": ("commitment", dict(color=REAL)),
        "augmented": ("augmented view", dict(color=augmentation_colour(augmentation))),
        "ssl": ("SSL loss", dict(color=INK, linestyle="-.")),
    }
    for name, (label, style) in terms.items():
        epochs, values = _column(tokenizer_history, name)
        if np.any(values > 0):
            left.plot(epochs, values, label=label, linewidth=1.6, **style)
    left.set_yscale("log")
    plain_log_ticks(left.yaxis, LogLocator(subs=(1, 2, 5)))
    left.set_title("tokenizer (stage 1)", fontsize=TEXT)
    left.set_ylabel("loss term (log scale)")

    right.plot(*_column(prior_history, "total"), color=colour, linewidth=2, label="train")
    _dots(right, prior_history, "validation", "test")
    right.set_title("prior (stage 2)", fontsize=TEXT)
    right.set_ylabel("cross-entropy (nats/token)")
    for ax in (left, right):
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.legend(fontsize=SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return fig


def reconstructions(x, x_hat, method, columns=3):
    """Test series and their reconstructions: above those of median error, below the worst.

    x, x_hat  (n, C, L) scaled, and (n, C, L') with L' <= L; the error of a series is its mean squared error
    """
    x, x_hat = _array(x), _array(x_hat)
    errors = ((x[..., : x_hat.shape[-1]] - x_hat) ** 2).mean(axis=(1, 2))
    order, columns = np.argsort(errors, kind="stable"), min(columns, len(x))
    middle = max(0, (len(x) - columns) // 2)
    chosen = np.stack([order[middle : middle + columns], order[::-1][:columns]])  # (2, columns)
    fig, axes = figure(2, columns, height=4.4, sharex=True, sharey=True)
    for ax, row in zip(axes.flat, chosen.flat):
        ax.plot(x[row, 0], color=REAL, linewidth=2.2, label="test series")
        label = f"reconstruction ({METHODS[method].label})"
        ax.plot(x_hat[row, 0], color=METHODS[method].colour, linewidth=1.3, label=label)
        ax.set_title(f"no. {row}, error {errors[row]:.2g}", fontsize=SMALL)
    _label(axes, ("median error", "worst"))
    fig.supylabel(SCALED + _channel_note(x), fontsize=TEXT)
    legend_below(fig, axes[0, 0].lines, 2)
    return fig


def token_usage(groups, codebook_size, method):
    """Share of each code among the tokens of train, test and generated series, most used in the first group first.

    groups  name -> tokens, integers of any shape; the first is drawn as grey bars, "generated" in the method's colour
    """
    from . import metrics  # loads torch, which the other figures do without

    usages = {name: metrics.token_usage(_array(tokens), codebook_size) for name, tokens in groups.items()}
    shares = {name: usage.counts / usage.counts.sum() for name, usage in usages.items()}
    first = next(iter(groups))
    order = np.argsort(-shares[first], kind="stable")
    fig, [[ax]] = figure(height=3.9)
    rank = np.arange(1, codebook_size + 1)
    for name, share in shares.items():
        label = f"{name}: perplexity {usages[name].perplexity:.1f}"
        if name == first:
            ax.bar(rank, share[order], width=0.9, color=PALE, label=label)
        else:
            colour, marker = (METHODS[method].colour, "o") if name == "generated" else (INK, "_")
            ax.plot(rank, share[order], marker, color=colour, markersize=6, markeredgewidth=2, label=label)
    ax.axhline(1 / codebook_size, color=INK, linewidth=1, linestyle=":", label="all codes alike")
    ax.set(xlabel=f"code, by its use in {first} (K = {codebook_size})", ylabel="share of the tokens")
    ax.set_xlim(0.3, codebook_size + 0.7)
    ax.legend(handles=[*ax.containers, *ax.lines], fontsize=SMALL, frameon=False)  # the bars first
    return fig


def tsne(features, perplexity=30.0, seed=0):
    """t-SNE of features (n, D) in two dimensions: points (n, 2), and the perplexity, which few series lower."""
    from sklearn.manifold import TSNE

    perplexity = min(perplexity, (len(features) - 1) / 3)
    fit = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform
    return fit(_array(features).astype(np.float64)), perplexity


def latent_map(features, y, class_names, perplexity=30.0, seed=0, max_points=1000):
    """t-SNE of pooled latents in two dimensions, one colour and marker per class.

    features    (n, D) of test series, for example `tokenizer.features`; y (n,) labels, or None
    perplexity  of t-SNE, lowered for few series; it and the number of points stand above the figure
    seed        of the choice of at most `max_points` series and of t-SNE
    raises      BadInput for fewer than 4 series
    """
    features = _array(features)
    if len(features) < 4:
        raise BadInput(f"t-SNE of {len(features)} series shows nothing: give at least 4")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(features))[:max_points])
    points, perplexity = tsne(features[chosen], perplexity, seed)
    fig, [[ax]] = figure(height=5.2)
    labels = np.zeros(len(chosen), dtype=int) if y is None else _array(y)[chosen]
    if len(class_names) <= len(CLASS_COLOURS):
        for label in np.unique(labels):
            name = f"class {class_names[label]}" if class_names else "unlabelled"
            style = dict(color=CLASS_COLOURS[label] if class_names else REAL, marker=CLASS_MARKERS[label], label=name)
            ax.scatter(*points[labels == label].T, s=22, alpha=0.75, linewidths=0, **style)
        ax.legend(fontsize=SMALL, markerscale=1.6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    else:
        dots = ax.scatter(*points.T, c=labels, cmap="viridis", s=22, alpha=0.75, linewidths=0)
        fig.colorbar(dots, ax=ax).set_label("class (its number)", fontsize=TEXT)
    ax.set_title(f"t-SNE, perplexity {perplexity:.3g}, {len(chosen)} of {len(features)} test series", fontsize=TEXT)
    ax.set(xlabel="t-SNE axis 1 (no unit)", ylabel="t-SNE axis 2 (no unit)", xticks=[], yticks=[])
    return fig


def real_and_generated(real, y_real, generated, y_generated, class_names, method, n=8):
    """Real (left) and generated (right) series of the same class on one scale: n thin lines, one of them drawn bold.

    real, generated      (n, C, L), both raw or both scaled
    y_real, y_generated  labels, and the classes that the generated series were asked for; None where there are none
    """
    real, generated = _array(real), _array(generated)
    labels, rows = _first_of_each(y_real, class_names, 1)
    fig, axes = figure(len(rows), 2, height=max(3.4, 1.35 * len(rows) + 1.2), sharex=True, sharey="row")
    sides = (real, y_real, "real (test split)"), (generated, y_generated, "generated")
    for column, (x, y, title), colour in zip(axes.T, sides, ("#555555", METHODS[method].colour)):
        column[0].set_title(title, fontsize=TEXT)
        for ax, first in zip(column, rows):
            chosen = np.arange(len(x)) if y is None else np.flatnonzero(_array(y) == _array(y_real)[first])
            for row in chosen[:n][::-1]:
                width, alpha = (1.8, 1) if row == chosen[0] else (0.7, 0.45)
                ax.plot(x[row, 0], color=colour, linewidth=width, alpha=alpha)
    _label(axes, labels if y_real is not None else ())
    fig.supylabel("value (raw units)" + _channel_note(real), fontsize=TEXT)
    return fig


def by_class(columns, class_names, n=3):
    """Small multiples: a row for each class, a group of n series for each column, every series by itself on one scale.

    columns      title -> (x (m, C, L), y (m,) classes 0..k-1, colour); the first n series of each class are drawn
    class_names  (k,) texts beside the rows; of more than SMALL_MULTIPLES classes the first are drawn
    """
    rows, blocks = min(len(class_names), SMALL_MULTIPLES), list(columns.items())
    widths = [width for _ in blocks for width in (*[1] * n, 0.25)][:-1]  # narrow gaps between the groups
    close = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    fig = NotebookFigure(figsize=(WIDTH, 0.62 * rows + 0.75), dpi=DPI, layout=close)
    grid = fig.add_gridspec(rows, len(widths), width_ratios=widths)
    drawn = [_array(x)[:, 0] for x, *_ in columns.values()]  # (m, L) each
    low, high = min(map(np.min, drawn)), max(map(np.max, drawn))
    for block, (title, (_, y, colour)) in enumerate(blocks):
        for label in range(rows):
            chosen = np.flatnonzero(_array(y) == label)[:n]
            for place, index in enumerate(chosen):
                ax = fig.add_subplot(grid[label, block * (n + 1) + place])
                ax.plot(drawn[block][index], color=colour, linewidth=1.1)
                ax.set(xticks=[], yticks=[], ylim=(low, high))
                ax.spines[:].set_color("#E5E5E5")
                if label == 0 and place == n // 2:
                    ax.set_title(title, fontsize=TEXT, color=colour)
                if block == place == 0:
                    ax.set_ylabel(class_names[label], rotation=0, ha="right", va="center", fontsize=SMALL)
    first = blocks[0][1][0]
    note = _channel_note(first) + (f"; {rows} of {len(class_names)} classes" if rows < len(class_names) else "")
    fig.supxlabel(f"time ({first.shape[-1]} steps), all series on one scale{note}", fontsize=SMALL)
    return fig


def paired_ratios(panels, said, colours=None, groups="data set"):
    """Ratios within pairs on one log scale: a panel for each effect, a row for each group of pairs.

    panels   effect -> {row: (ratios, (mean, low, high))}: the ratio of each pair (n,), drawn as a circle, and their
             mean with its interval, a bar (NaN: none). Rows without ratios are means over other rows and come last
    said     the title: what the ratios are of
    colours  row -> colour of its circles; without one they are grey
    groups   what a row is

    The line at 1 is "no difference". An interval that is far wider than the ratios runs out of the panel.
    """
    colours = colours or {}
    rows = list(dict.fromkeys(name for found in panels.values() for name in found))
    single = {name for found in panels.values() for name, (ratios, _) in found.items() if len(ratios)}
    rows = [name for name in rows if name in single] + [name for name in rows if name not in single]
    values = np.concatenate([[*ratios, mean[0]] for found in panels.values() for ratios, mean in found.values()])
    bounds = np.array([mean for found in panels.values() for _, mean in found.values()], dtype=float)
    low = max(np.nanmin([*bounds[:, 1], values.min()]), values.min() / 3)
    high = min(np.nanmax([*bounds[:, 2], values.max()]), values.max() * 3)
    fig, axes = figure(1, len(panels), height=2.1 + 0.4 * sum(1 + name.count("\n") for name in rows), sharey=True)
    for ax, (title, found) in zip(axes[0], panels.items()):
        for name, (ratios, (mean, *ends)) in found.items():
            place, pooled = rows.index(name), name not in single
            ax.plot(ratios, np.full(len(ratios), place - 0.16), "o", color=colours.get(name, REAL), markersize=5)
            if np.isfinite(ends).all():
                ax.plot(ends, [place + 0.16] * 2, color=INK, linewidth=3 if pooled else 1.8, solid_capstyle="butt")
            ax.plot(mean, place + 0.16, "D", color=INK, markersize=8 if pooled else 5.5)
        ax.axvline(1, color=REAL, linestyle=":", linewidth=1.5)
        if len(single) < len(rows):
            ax.axhline(len(single) - 0.5, color=PALE, linewidth=0.8)
        ax.set(xscale="log", xlim=(low / 1.2, high * 1.2), ylim=(len(rows) - 0.5, -0.5))
        plain_log_ticks(ax.xaxis, LogLocator(subs=(1, 3)))
        ax.set_title(title, fontsize=SMALL)
        ax.set_xlabel("ratio (log scale)")
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylabel(groups)
    fig.suptitle(said, fontsize=TEXT)
    circle = Line2D([], [], color=next(iter(colours.values()), REAL), marker="o", linestyle="", label="one pair")
    mean = Line2D([], [], color=INK, marker="D", linewidth=1.8, label="mean (geometric) and 95 % interval")
    legend_below(fig, [circle, mean], 2)
    return fig


def class_shares(real_classes, generated_classes, class_names, method):
    """How often the FCN sees each class in real test series and in unconditional samples: a lost class shows here.

    real_classes, generated_classes  (n,) classes that the FCN gives the series
    """
    place, every = np.arange(len(class_names)), max(1, len(class_names) // 12)
    fig, [[ax]] = figure(height=3.6)
    sides = (("real (test split)", real_classes, REAL), ("generated", generated_classes, METHODS[method].colour))
    for shift, (label, classes, colour) in zip((-0.2, 0.2), sides):
        share = np.bincount(_array(classes), minlength=len(place)) / len(classes)
        ax.bar(place + shift, share, width=0.38, color=colour, label=f"{label}, n = {len(classes)}")
    ax.set_xticks(place[::every], class_names[::every])
    ax.set(xlabel="class that the FCN sees", ylabel="share of the series")
    ax.legend(fontsize=SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2)
    return fig


# --- shared ---


def _first_of_each(y, class_names, n):
    """Row labels and the index of the first series of each class, at most MAX_CLASSES; the first series without y."""
    if y is None:
        rows = range(min(n, MAX_CLASSES))
        return [f"series {row}" for row in rows], rows
    present = np.unique(_array(y))[:MAX_CLASSES]
    return [class_label(class_names[c]) for c in present], [int(np.argmax(_array(y) == c)) for c in present]


def class_label(name):
    """A class beside its row; a long name is cut."""
    return textwrap.shorten(f"class {name}", 14, placeholder="…")


def _label(axes, rows):
    """Texts beside the rows of a grid of series, and what a column's axis is."""
    for ax, text in zip(axes[:, 0], rows):
        ax.set_ylabel(text)
    for ax in axes[-1]:
        ax.set_xlabel(STEPS)


def _column(rows, name):
    """Epochs and values of one column of a history, where it was computed."""
    found = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
    return np.array(found, dtype=float).reshape(-1, 2).T


def _dots(ax, rows, name, label):
    epochs, values = _column(rows, name)
    if len(epochs):
        ax.plot(epochs, values, "o", color=INK, markersize=5, label=label)


def _channel_note(x):
    return f", channel 1 of {x.shape[1]}" if x.shape[1] > 1 else ""


def _array(values):
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
