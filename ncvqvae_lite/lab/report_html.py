"""Pieces of a report page: one HTML file that needs no network, reads on a phone and prints.

Functions take and return HTML; `text` makes HTML of plain text. Colours of verdicts are from Okabe and Ito's blue and
orange, and each verdict stands there in words besides.
"""

import base64
import html
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from ..thesis import CONFIGURATIONS
from .report_tables import BETTER, INSIDE, NOT_RUN, TOO_FEW_SEEDS, WORSE

CLASSES = {INSIDE: "inside", BETTER: "better", WORSE: "worse", TOO_FEW_SEEDS: "few", NOT_RUN: "empty"}

METHOD_NAMES = {"regular": "naive", "barlowtwins": "Barlow", "vibcreg": "VIbCReg"}
NAMES = {
    f"{method}-{augmentation}": METHOD_NAMES[method] + ("" if augmentation == "none" else f" {augmentation}")
    for method, augmentation in CONFIGURATIONS
}
METRICS = {
    "recon_val": "reconstruction error",
    "knn_acc": "KNN accuracy",
    "svm_acc": "SVM accuracy",
    "fid": "FID",
    "is": "inception score",
    "cas": "CAS",
}


def name_of(method, augmentation):
    return NAMES[f"{method}-{augmentation}"]


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #0072b2; }
h3 { margin: 1.8rem 0 .3rem; } p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.05rem; } .headline { border-left: .4rem solid #0072b2; padding: .3rem 1rem; background: #eef5fa; }
.note, small { color: #444; } .note { font-size: .88rem; }
nav a { margin-right: 1rem; white-space: nowrap; } a { color: #005b8f; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #ccc; padding: .25rem .45rem; text-align: left; vertical-align: top; }
th { background: #f3f3f3; } tbody th { position: sticky; left: 0; font-weight: 600; }
td small, td.empty { white-space: nowrap; }
.inside { background: #e9e9e9; } .better { background: #cfe6f6; } .worse { background: #fbdcb5; }
.few { background: #fff; } .empty { color: #777; background: repeating-linear-gradient(45deg, #fff 0 6px, #f6f6f6 6px 9px); }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; } figcaption { max-width: 46rem; }
@media (max-width: 40rem) { tbody th { max-width: 6.5rem; overflow-wrap: anywhere; } }
@media print {
  @page { size: A4 landscape; margin: 10mm; }
  html { font-size: 10px; } body { font-size: 1rem; max-width: none; padding: 0; } .scroll { overflow: visible; }
  tr, figure { break-inside: avoid; } h2, h3 { break-after: avoid; } a { color: inherit; text-decoration: none; }
  td, th { print-color-adjust: exact; -webkit-print-color-adjust: exact; padding: .15rem .3rem; }
}
"""  # noqa: E501


def page(title, sections):
    """A whole HTML page.

    sections   (id, heading, HTML) each; the first stands without a heading, above the links to the others
    """
    (_, _, first), *others = sections
    links = " ".join(f'<a href="#{anchor}">{text(heading)}</a>' for anchor, heading, _ in others)
    body = "".join(
        f'<section id="{anchor}"><h2>{text(heading)}</h2>{part}</section>' for anchor, heading, part in others
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{text(title)}</h1>\n{first}\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


def text(plain):
    """Plain text as HTML."""
    return html.escape(str(plain))


def paragraph(plain, kind=""):
    return f'<p class="{kind}">{text(plain)}</p>'


def table(header, rows, kind=""):
    """A table that scrolls sideways on narrow screens.

    header   plain texts, one per column
    rows     lists of cells; a cell is HTML, or (class of the cell, HTML). The first of a row is its heading
    """
    head = "".join(f"<th>{text(name)}</th>" for name in header)
    body = "".join(f"<tr><th>{first}</th>{''.join(map(_cell, rest))}</tr>\n" for first, *rest in rows)
    opening = f'<div class="scroll"><table class="{kind}">'
    return f"{opening}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"


def _cell(cell):
    kind, content = cell if isinstance(cell, tuple) else ("", cell)
    return f'<td class="{kind}">{content}</td>' if kind else f"<td>{content}</td>"


def picture(title, caption, drawn, reason=""):
    """A matplotlib figure with its caption; where there is none, the reason."""
    if drawn is None:
        return f"<h3>{text(title)}</h3>{paragraph(f'Not drawn: {reason}', 'note')}"
    data = base64.b64encode(drawn._repr_png_()).decode()
    image = f'<img alt="{text(title)}" src="data:image/png;base64,{data}">'
    return f"<figure><h3>{text(title)}</h3>{image}<figcaption>{text(caption)}</figcaption></figure>"


def number(value, digits=3):
    """So many significant digits; a dash for NaN."""
    if value is None or np.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def counted(n, noun):
    """ "1 seed", "2 seeds"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def ratio(row):
    """A ratio with its interval, from a row that has ratio, low and high."""
    if np.isnan(row.low):
        return f"<b>{number(row.ratio)}</b><br><small>no interval</small>"
    return f"<b>{number(row.ratio)}</b><br><small>{number(row.low)} to {number(row.high)}</small>"


class Trail(NamedTuple):
    """The way from a number in the report to the executed notebook that made it."""

    runs: Path | None  # folder of all runs, if there is one here
    start: Path  # folder of the report: links are relative to it

    def seeds(self, rows):
        """The seeds behind a number, each a link to its notebook; without one, the title names folder and commit."""
        links = [self._link(row.folder, row.commit, str(row.seed)) for row in rows.sort_values("seed").itertuples()]
        return f"seed{'s' * (len(links) > 1)} {' '.join(links)}"

    def mean(self, rows):
        """Mean of the rows' values; its title names every run behind it."""
        names = "; ".join(self._origin(row.folder, row.commit) for row in rows.itertuples())
        return f'<span title="{text(names)}">{number(rows.value.mean())}</span>' if len(rows) else number(None)

    def _link(self, folder, commit, label):
        title = f'title="{text(self._origin(folder, commit))}"'
        notebook = self.runs / folder / "notebook.ipynb" if self.runs and folder else None
        if notebook is None or not notebook.is_file():
            return f"<span {title}>{label}</span>"
        return f'<a {title} href="{quote(Path(os.path.relpath(notebook, self.start)).as_posix())}">{label}</a>'

    @staticmethod
    def _origin(folder, commit):
        return f"{folder or 'folder not recorded'}, commit {commit}"
