"""The report: one HTML file with the thesis' tables, tests and figures, ours beside theirs; it opens without a network.

Its numbers come from a table that `ncvqvae campaign export` wrote. Each links to the executed notebook that made it,
where the folder of runs is at hand. `answer`, `tables`, `tests`, `prior` and `costs` compute, `sections` arranges what
they found in tables of `entries`, `figures` draws, and page.html.j2 is the page with its words.
"""

import base64
from pathlib import Path

import jinja2

from ... import __version__
from ...errors import NotFound
from ...files import atomic, writing_to
from ..results import KEY, load_cells
from ..text import counted
from . import sections
from .costs import cost_table
from .entries import Table, Trail
from .figures import all_figures
from .tables import comparable, coverage


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
    html = _page(load_cells(cells), trail)
    with writing_to(out.parent), atomic(out) as file:
        file.write(html)
    return out


def _page(cells, trail):
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"png": lambda figure: base64.b64encode(figure._repr_png_()).decode(), "counted": counted}
    rows = comparable(cells)
    prior_figure, *figures = all_figures(cells, trail.runs)
    return pages.get_template("page.html.j2").render(
        version=__version__,
        runs=trail.runs,
        coverage=coverage(rows),
        n_cells=len(cells.drop_duplicates(list(KEY))),
        answer=sections.first_answer(cells),
        prior=sections.matched_prior(cells, trail),
        prior_figure=prior_figure,
        thesis=sections.thesis_tables(rows, trail),
        tests=sections.paired_tests(rows),
        figures=figures,
        costs=cost_table(cells),
        origin=_origin(cells),
    )


def _origin(cells):
    """Versions, commits and devices behind the rows."""
    parts = cells.drop_duplicates(list(KEY)).groupby(["commit", "package_version", "device", "threads"])
    body = [[*map(str, made_by), str(len(part)), ", ".join(part.dataset.unique())] for made_by, part in parts]
    return Table(["commit", "package", "device", "threads", "cells", "data sets"], body)
