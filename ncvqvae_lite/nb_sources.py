"""Index of sources: what each says, where a chapter tests it, and how it came out, as a table with links.

A chapter shows its own rows; notebooks/README.md collects those of all chapters, by source.
"""

from typing import NamedTuple
from urllib.parse import quote

from .errors import BadInput

SOURCES = {
    "report": "a report on SimCLR and VICReg for gestures, with a survey of self-supervised learning",
    "exercise": "an exercise that peels VICReg layer by layer, and three solutions by students",
    "tutorial": "a tutorial on contrastive learning (IEEE BigData 2023)",
}


class Row(NamedTuple):
    source: str  # of SOURCES
    item: str  # what it names or claims
    where: str  # heading of the part of the chapter that tests it, as it stands there
    outcome: str  # found, not found, not settled, left to text; and what of it


class SourceIndex(NamedTuple):
    """A notebook shows it as a Markdown table, whose places lead to its headings."""

    rows: tuple  # of Row

    def __repr__(self):
        return "\n".join(f"{row.source}: {row.item} ({row.where}): {row.outcome}" for row in self.rows)

    def _repr_markdown_(self):
        lines = ["| source | what it names | where | outcome |", "|---|---|---|---|"]
        return "\n".join(lines + [f"| {r.source} | {r.item} | {link(r.where)} | {r.outcome} |" for r in self.rows])


def source_index(**texts):
    """The index of a chapter, from one text a source: lines "what it names | heading | outcome".

    texts    by names of SOURCES, in their order; empty lines are left out
    raises   BadInput for another source, or a line of other than three parts
    """
    rows = []
    for source, text in texts.items():
        if source not in SOURCES:
            raise BadInput(f"no source {source!r}: choose from {', '.join(SOURCES)}")
        for line in filter(str.strip, text.splitlines()):
            parts = [part.strip() for part in line.split("|")]
            if len(parts) != 3 or not all(parts):
                raise BadInput(f"expected 'what it names | heading | outcome', got {line.strip()!r}")
            rows.append(Row(source, *parts))
    return SourceIndex(tuple(rows))


def link(heading, page=""):
    """A Markdown link to a heading of a notebook, whose address Jupyter makes of it: blanks are hyphens."""
    return f"[{heading}]({page}#{quote(heading.replace(' ', '-'), safe='-,:')})"
