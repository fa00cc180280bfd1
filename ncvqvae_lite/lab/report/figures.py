"""All figures of the report, in its order, each with a title, a caption, and the reason where it cannot be drawn.

`score_figures` draws from the table of scores, `panel_figures` from what was kept of single runs.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ...errors import NotFound
from ...names import SCORES
from . import panel_figures, score_figures
from .panel_figures import MOST_ROWS, datasets_of, load_curves, load_panels, thesis_curves, thesis_panels
from .tables import comparable
from .tests import TESTED, authors_frame, our_frame

PRIOR = (
    "Four priors, each trained on the same tokens. The thesis gave the first to the naive tokenizer and the last to "
    "the non-contrastive (NC) ones; the other two were run here alone. Pale bars: the authors' runs."
)
COMPARISON = "Bars: the authors' four runs. Points: ours, with the thesis' recipe. A hatched bar has no run of ours."
NOTES = {
    "recon_val": "On the last test batch, as the authors recorded it.",
    "knn_acc": "Read off pooled quantised latents.",
    "svm_acc": "Read off pooled quantised latents.",
    "fid": "Lines: FID between real series, which no generator needs to be below.",
    "is": "Line: the score of the real test series.",
    "cas": "Line: accuracy of the same network trained on the real train split.",
}
RANKS = (
    "Each data set ranks the seven configurations by their means over runs; the axis has the average of these ranks. "
    "Pairs are compared by two-sided Wilcoxon signed-rank tests over data sets (log scale for FID, IS and "
    "reconstruction), corrected by Holm for all 21. A bar joins neighbours of which no pair differs. It does not prove "
    "them equal: it may mean too few data sets. Two names without a common bar need not differ either; some pair among "
    "the names from the one to the other does."
)
CURVES = "Left and middle: SSL loss on the train split. Right: error of reconstructed test series."
ACCURACY = "One line is one tokenizer while it trains, from its first probe after the start to the dot at its end."
LATENTS = "Up to 400 test series a map; no label was used in training. Neighbourhoods mean something, distances do not."
ACCEPTED = "How likely the prior held each token that it kept, in 100 series drawn without a class (seed 1)."
SAMPLES = "Seed 1, at most four classes, channel 1. One series of each five is bold; what is far outside is cut off."
KEPT = ("panels", "curves.csv")  # what notebooks/tools/panels.py writes into a folder of runs
NONE_KEPT = "no finished run with the thesis' recipe was kept for figures"


class Shown(NamedTuple):
    """One figure of the report, or the reason why it is not there."""

    title: str
    caption: str
    figure: object  # None where there is nothing to draw
    reason: str = ""


def all_figures(cells, runs=None):
    """Every figure of the report, in its order, as a list of `Shown`.

    cells   data frame of `results.load_cells`
    runs    folder of runs: its own panels/ and curves.csv are drawn where there are any; else, and with None, those
            that ship
    """
    rows, (panels, curves) = comparable(cells), kept(runs)
    whole = thesis_panels(panels)
    with_curves, with_panels = datasets_of(thesis_curves(curves).dataset), datasets_of(whole)
    shown = [_shown("Four priors on the same tokens", PRIOR, score_figures.matched_priors, cells)]
    for metric in TESTED:
        title, caption = f"{_title(metric)}: ours and the authors'", f"{COMPARISON} {NOTES[metric]}"
        shown.append(_shown(title, caption, score_figures.comparison, rows, metric))
    shown += _ranks("authors'", authors_frame) + _ranks("our", lambda metric: our_frame(rows, metric))
    for title, caption, draw in (
        ("Loss curves of the tokenizers", CURVES, panel_figures.loss_curves),
        ("KNN accuracy against the loss", ACCURACY, panel_figures.accuracy_by_loss),
    ):
        shown += _paged(title, caption, draw, curves, with_curves)
    for title, caption, draw in (
        ("Latents of test series", LATENTS, panel_figures.latent_maps),
        ("How sure the sampler was", ACCEPTED, panel_figures.accepted_probabilities),
    ):
        shown += _paged(title, caption, draw, panels, with_panels)
    arms = Counter(dataset for dataset, *_ in whole)
    for dataset in sorted(with_panels, key=arms.get, reverse=True):  # those with most to see first
        title = f"Real and generated series of {dataset}"
        shown.append(_shown(title, SAMPLES, panel_figures.class_samples, panels, dataset))
    return shown if with_panels else [*shown, Shown("Real and generated series", SAMPLES, None, NONE_KEPT)]


def kept(runs=None):
    """(panels, loss curves) of a folder of runs, where they were written there; else those that ship."""
    places = [None if runs is None or not (Path(runs) / name).exists() else Path(runs) / name for name in KEPT]
    return load_panels(places[0]), load_curves(places[1])


def _ranks(whose, frame):
    """One figure a metric; a single entry where none can be drawn."""
    shown = []
    for metric in TESTED:
        title = f"Ranks by {_title(metric)}, {whose} runs"
        shown.append(_shown(title, RANKS, score_figures.critical_difference, frame(metric), metric))
    drawn = [entry for entry in shown if entry.figure]
    return shown if drawn else [shown[0]._replace(title=f"Ranks by any score, {whose} runs")]


def _title(metric):
    """A score's name at the start of a title."""
    name = SCORES[metric].label
    return name[0].upper() + name[1:]


def _paged(title, caption, draw, data, datasets):
    """A figure with one row for each data set, as several of at most MOST_ROWS rows."""
    if not datasets:
        return [Shown(title, caption, None, NONE_KEPT)]
    pages = [datasets[i : i + MOST_ROWS] for i in range(0, len(datasets), MOST_ROWS)]
    parts = [f" ({i} of {len(pages)})" if len(pages) > 1 else "" for i in range(1, len(pages) + 1)]
    return [_shown(title + part, caption, draw, data, page) for part, page in zip(parts, pages)]


def _shown(title, caption, draw, *arguments):
    try:
        return Shown(title, caption, draw(*arguments))
    except NotFound as error:
        return Shown(title, caption, None, str(error))
