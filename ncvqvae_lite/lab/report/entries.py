"""Entries of the report's tables, as data; `page.html.j2` turns them into HTML."""

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from .tables import BETTER, INSIDE, NOT_RUN, TOO_FEW_SEEDS, WORSE

# Class in the page's style sheet of what a verdict colours. Each verdict stands there in words besides.
CLASSES = {INSIDE: "inside", BETTER: "better", WORSE: "worse", TOO_FEW_SEEDS: "few", NOT_RUN: "empty"}


class Link(NamedTuple):
    """A text that may lead somewhere; `title` shows when the pointer rests on it."""

    text: str
    title: str = ""
    href: str = ""


class Entry(NamedTuple):
    """One entry of a table; a plain text may stand in its place.

    value     the number, in bold; `text` (or a `Link`) follows it
    verdict   a word below, in bold small print
    runs      a `Link` for each seed behind the number; `reduced`: a part was computed in bf16
    small     lines of small print
    kind      class in the page's style sheet
    """

    value: str = ""
    text: str | Link = ""
    verdict: str = ""
    runs: tuple[Link, ...] = ()
    reduced: bool = False
    small: tuple[str, ...] = ()
    kind: str = ""


class Table(NamedTuple):
    """A table: texts of its header, rows of entries (the first is the row's heading), title, note and anchor."""

    header: list
    rows: list
    title: str = ""
    note: str = ""
    anchor: str = ""


def empty(text="not run"):
    """An entry for what is not there."""
    return Entry(text=text, kind="empty")


def number(value, digits=3):
    """So many significant digits; a dash for NaN."""
    if value is None or np.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def ratio(row, *small):
    """A ratio with its interval, from a row that has ratio, low and high."""
    interval = "no interval" if np.isnan(row.low) else f"{number(row.low)} to {number(row.high)}"
    return Entry(number(row.ratio), small=(interval, *small))


class Trail(NamedTuple):
    """The way from a number in the report to the executed notebook that made it."""

    runs: Path | None  # folder of all runs, if there is one here
    start: Path  # folder of the report: links are relative to it

    def seeds(self, rows):
        """A `Link` for each seed behind a number: to its notebook, or else only with the name of folder and commit."""
        links = []
        for row in rows.sort_values("seed").itertuples():
            notebook = self.runs / row.folder / "notebook.ipynb" if self.runs and row.folder else None
            href = ""
            if notebook is not None and notebook.is_file():
                href = quote(Path(os.path.relpath(notebook, self.start)).as_posix())
            links.append(Link(str(row.seed), _origin(row), href))
        return tuple(links)

    def mean(self, rows):
        """Mean of the rows' values; its title names every run behind it."""
        if rows.empty:
            return empty()
        title = "; ".join(map(_origin, rows.itertuples()))
        return Entry(text=Link(number(rows.value.mean()), title))


def _origin(row):
    return f"{row.folder or 'folder not recorded'}, commit {row.commit}"
