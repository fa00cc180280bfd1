"""The look of all figures: colours, sizes, an empty figure, legends and ticks. `plots` has the same names.

A method and an augmentation have the colour of their record in every figure; what is real is grey. Colours are those
that colour-blind readers can tell apart. Nothing here touches pyplot, so a notebook shows a figure once.
"""

import io

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from PIL import Image

REAL, PALE, INK = "#999999", "#CCCCCC", "#000000"
CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
CLASS_MARKERS = "osD^v<>P"

WIDTH, DPI = 7.2, 100  # inches and dots per inch: text stays legible when a page shows a figure at half its width
TEXT, SMALL = 13, 11.5  # points
SCALED = "value (train std = 1)"
STEPS = "time (steps)"


class NotebookFigure(Figure):
    """A figure that notebooks show by themselves; equal data give equal bytes (fixed dpi, no version, no date)."""

    def _repr_png_(self):
        """PNG with a palette: line drawings need a third of the bytes that true colour takes."""
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
        Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
        return small.getvalue()


def figure(rows=1, columns=1, height=4.0, sharex=False, sharey=False):
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


def legend_below(fig, handles, columns):
    """One legend for all axes of a figure, below them."""
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False)


def plain_log_ticks(axis, locator=None):
    """Numbers of a log axis as 0.1, 1, 10, at the places of the locator."""
    if locator:
        axis.set_major_locator(locator)
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def colour_map(n_codes):
    """A matplotlib colour map for tokens 0..n_codes-1; hidden tokens (masked values) are pale grey."""
    codes = colormaps["viridis"].resampled(n_codes)
    codes.set_bad(PALE)
    return codes


def augmentation_colour(name):
    """Colour of an augmentation: grey for "none", black for one that is not registered."""
    if name == "none":
        return REAL
    from .augmentations import AUGMENTATIONS  # loads torch, which most figures do without

    return AUGMENTATIONS[name].colour if name in AUGMENTATIONS else INK
