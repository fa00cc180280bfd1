"""All figures of the report, in its order, each with a title and the reason where it cannot be drawn.

`score_figures` draws from the table of scores, `panel_figures` from what was kept of single runs. Captions are in the
page.
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

NONE_KEPT = "no finished run with the thesis' recipe was kept for figures"
KEPT = ("panels", "curves.csv")  # what notebooks/tools/panels.py writes into a folder of runs


class Shown(NamedTuple):
    """One figure of the report, or the reason why it is not there; `kind` is the name of the function that draws it."""

    title: str
    kind: str
    figure: object = None
    reason: str = ""
    metric: str = ""


def all_figures(cells, runs=None):
    """Every figure of the report, in its order, as a list of `Shown`.

    cells   data frame of `results.load_cells`
    runs    folder of runs: its own panels/ and curves.csv are drawn where there are any; else, and with None, those
            that ship
    """
    rows, (panels, curves) = comparable(cells), kept(runs)
    whole = thesis_panels(panels)
    with_curves, with_panels = datasets_of(thesis_curves(curves).dataset), datasets_of(whole)
    shown = [_shown("Four priors on the same tokens", score_figures.matched_priors, cells)]
    for metric in TESTED:
        entry = _shown(f"{_title(metric)}: ours and the authors'", score_figures.comparison, rows, metric)
        shown.append(entry._replace(metric=metric))
    shown += _ranks("authors'", authors_frame) + _ranks("our", lambda metric: our_frame(rows, metric))
    shown += _paged("Loss curves of the tokenizers", panel_figures.loss_curves, curves, with_curves)
    shown += _paged("KNN accuracy against the loss", panel_figures.accuracy_by_loss, curves, with_curves)
    shown += _paged("Latents of test series", panel_figures.latent_maps, panels, with_panels)
    shown += _paged("How sure the sampler was", panel_figures.accepted_probabilities, panels, with_panels)
    arms = Counter(dataset for dataset, *_ in whole)
    for dataset in sorted(with_panels, key=lambda dataset: arms[dataset], reverse=True):  # those with most to see first
        title = f"Real and generated series of {dataset}"
        shown.append(_shown(title, panel_figures.class_samples, panels, dataset))
    return shown if with_panels else [*shown, Shown("Real and generated series", "class_samples", reason=NONE_KEPT)]


def kept(runs=None):
    """(panels, loss curves) of a folder of runs, where they were written there; else those that ship."""
    places = [None if runs is None or not (Path(runs) / name).exists() else Path(runs) / name for name in KEPT]
    return load_panels(places[0]), load_curves(places[1])


def _ranks(whose, frame):
    """One figure a metric; a single entry where none can be drawn."""
    draw = score_figures.critical_difference
    shown = [_shown(f"Ranks by {_title(metric)}, {whose} runs", draw, frame(metric), metric) for metric in TESTED]
    drawn = any(entry.figure for entry in shown)
    return shown if drawn else [shown[0]._replace(title=f"Ranks by any score, {whose} runs")]


def _title(metric):
    """A score's name at the start of a title."""
    name = SCORES[metric].label
    return name[0].upper() + name[1:]


def _paged(title, draw, data, datasets):
    """A figure with one row for each data set, as several of at most MOST_ROWS rows."""
    if not datasets:
        return [Shown(title, draw.__name__, reason=NONE_KEPT)]
    pages = [datasets[i : i + MOST_ROWS] for i in range(0, len(datasets), MOST_ROWS)]
    parts = [f" ({i} of {len(pages)})" if len(pages) > 1 else "" for i in range(1, len(pages) + 1)]
    return [_shown(title + part, draw, data, page) for part, page in zip(parts, pages)]


def _shown(title, draw, *arguments):
    try:
        return Shown(title, draw.__name__, draw(*arguments))
    except NotFound as error:
        return Shown(title, draw.__name__, reason=str(error))
