"""An evaluation as one HTML page that needs no network: verdict, table, questions, rule, figures."""

import base64
from pathlib import Path

import jinja2

from .. import __version__
from ..files import atomic, writing_to
from . import reading
from .draws import POOL
from .figures import all_figures
from .scores import SCORES


def write_page(evaluation, file):
    """Write the page; raises RunFolderError where that is impossible."""
    file = Path(file)
    how = dict(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), **how)  # pyright: ignore[reportArgumentType]  # keyword arguments of several types
    pages.filters |= {"png": lambda figure: base64.b64encode(figure._repr_png_()).decode(), "number": reading.number}
    html = pages.get_template("page.html.j2").render(
        e=evaluation,
        scores=SCORES,
        words={name: reading.word(evaluation, name) for name in evaluation},
        floors=[kind for kind in ("copy", "jitter") if any(entry[kind] is not None for entry in evaluation.values())],
        rule=reading.__doc__.split("\n\n")[1:],  # pyright: ignore[reportOptionalMemberAccess]  # it has a docstring
        figures=all_figures(evaluation.sets),
        pool=POOL,
        version=__version__,
    )
    with writing_to(file.parent), atomic(file) as stream:
        stream.write(html)
