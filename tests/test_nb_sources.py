"""The index of sources that a chapter shows (what stands in built chapters: test_notebooks.py)."""

import pytest

from ncvqvae_lite import nb
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.nb_sources import Row, link

ROWS = """
eight views | Eight views | found: all

flips | The cap, exactly | not found
"""


def test_rows_keep_their_order_and_their_source():
    index = nb.source_index(report=ROWS, tutorial="mixup | Relatives | not settled")
    assert index.rows == (
        Row("report", "eight views", "Eight views", "found: all"),
        Row("report", "flips", "The cap, exactly", "not found"),
        Row("tutorial", "mixup", "Relatives", "not settled"),
    )
    assert repr(index).splitlines()[1] == "report: flips (The cap, exactly): not found"


def test_a_notebook_shows_a_table_whose_places_lead_to_headings():
    *_, last = nb.source_index(report=ROWS)._repr_markdown_().splitlines()
    assert last == "| report | flips | [The cap, exactly](#The-cap,-exactly) | not found |"
    assert link("Is it true?", "12_peel.ipynb") == "[Is it true?](12_peel.ipynb#Is-it-true%3F)"


@pytest.mark.parametrize("line", ["flips | The cap", "flips | | found", "a | b | c | d", "no bars"])
def test_a_line_of_other_parts_is_refused(line):
    with pytest.raises(BadInput, match="expected 'what it names . heading . outcome'"):
        nb.source_index(report=line)


def test_an_unknown_source_is_refused():
    with pytest.raises(BadInput, match="no source 'book': choose from report, exercise, tutorial"):
        nb.source_index(book=ROWS)
