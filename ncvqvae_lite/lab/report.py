"""The report: one HTML file with the thesis' tables, tests and figures, ours beside theirs; it opens without a network.

Its numbers come from a table that `ncvqvae campaign export` wrote. Each links to the executed notebook that made it,
where the folder of runs is at hand.
"""

from pathlib import Path

from .. import __version__
from ..errors import NotFound
from ..files import atomic, writing_to
from .report_costs import costs
from .report_figures import all_figures
from .report_headline import matched_prior
from .report_html import Trail, counted, page, paragraph, picture, table, text
from .report_sections import paired_tests, thesis_tables
from .report_tables import comparable, coverage
from .results import KEY, load_cells

TITLE = "NC-VQVAE: the thesis' tables, computed again"


def write_report(out, runs=None, cells=None):
    """Write the report; returns its path.

    out       HTML file
    runs      folder of all runs: numbers link to their notebooks there. None: they name folder and commit
    cells     CSV file that `results.export` wrote; None: the table that ships
    raises    NotFound or BadInput for a folder or table that is none; RunFolderError if `out` cannot be written
    """
    out = Path(out).resolve()
    if runs is not None and not Path(runs).is_dir():
        raise NotFound(f"no folder of runs at {runs}: give the folder that holds cells/, or leave it out")
    trail = Trail(None if runs is None else Path(runs).resolve(), out.parent)
    found = load_cells(cells)
    html = _page(found, trail)
    with writing_to(out.parent), atomic(out) as file:
        file.write(html)
    return out


def _page(cells, trail):
    rows = comparable(cells)
    prior_figure, *figures = all_figures(cells, trail.runs)
    shown = "\n".join(picture(*figure) for figure in figures)
    return page(
        TITLE,
        [
            ("about", "About", _about(cells, rows)),
            ("prior", "The matched prior", matched_prior(cells, trail, picture(*prior_figure))),
            ("tables", "The thesis' tables", thesis_tables(rows, trail)),
            ("tests", "Tests over data sets", paired_tests(rows)),
            ("figures", "Figures", shown),
            ("costs", "Costs", costs(cells)),
            ("origin", "Where the numbers come from", _origin(cells, trail)),
        ],
    )


def coverage_lines(rows):
    """What share of the thesis' grid is there, as sentences."""
    have = coverage(rows)
    run = f"{have['run']} of {have['cells']} cells of the thesis (13 data sets, 7 configurations, 4 seeds) were run"
    sets = counted(have["datasets"], "data set")
    lines = [f"{run}: {sets}, {counted(have['configurations'], 'configuration')}; {have['with_cas']} with a CAS."]
    if have["other"]:
        lines.append(f"{counted(have['other'], 'more cell')} with other seeds than the thesis' count in the means.")
    return lines


def _about(cells, rows):
    what = (
        "NC-VQVAE adds a non-contrastive loss to the tokenizer of a generative model of time series (Mathisen, 2024; "
        "arXiv 2408.16613). This page sets the results of our implementation beside those of the thesis and of its "
        "authors' own runs."
    )
    other = len(cells.drop_duplicates(list(KEY)))
    scope = (
        f"{' '.join(coverage_lines(rows))} The table of results holds {other} cells in all, with ablations and other "
        "presets. What was not run is shown as empty."
    )
    return paragraph(what, "lead") + paragraph(scope, "lead")


def _origin(cells, trail):
    """Versions, commits, devices behind the rows; how to follow a number."""
    one = cells.drop_duplicates(list(KEY))
    body = []
    for (commit, version, device, threads), part in one.groupby(["commit", "package_version", "device", "threads"]):
        datasets = ", ".join(part.dataset.unique())
        body.append([text(commit), text(version), text(device), str(threads), str(len(part)), text(datasets)])
    follow = "Seeds in the tables link to the executed notebook of their run; where it is not at hand, they name "
    follow += "its folder and commit when the pointer rests on them."
    at = "No folder of runs was given." if trail.runs is None else f"Folder of runs: {trail.runs.name}."
    header = ["commit", "package", "device", "threads", "cells", "data sets"]
    made = f"Made by ncvqvae-lite {__version__}. {follow} {at}"
    return table(header, body) + paragraph(made, "note")
