"""The glossary, its links from the chapters, and the words for readers who do not see the thumbnails."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

import chapters  # noqa: E402
import glossary  # noqa: E402
import index  # noqa: E402

SOURCES = chapters.source_files()
ENTRIES = glossary.entries()


def texts(stem):
    cells = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


def test_the_first_use_of_a_word_becomes_a_link():
    said = ["## Probe\n`probe`, $probe$, **Probe**, <b probe>, [a probe](x.md), a *probe* and a probe", "Probes of FID"]
    assert glossary.linked(said, "02") == [
        said[0].replace("*probe* and", "*[probe](GLOSSARY.md#probe)* and"),
        "Probes of [FID](GLOSSARY.md#fid)",
    ]
    assert glossary.linked(["fid, probed, a probe-like thing"], "02") == ["fid, probed, a probe-like thing"]
    assert glossary.linked(["a standard\nerror"], "02") == ["a [standard\nerror](GLOSSARY.md#standard-error)"]


def test_a_word_in_another_sense_gets_no_link():
    said = "The next cell, this cell, the\ncells, *Each cell* and the parameters cell: then a cell"
    assert glossary.linked([said], "02") == [said.removesuffix("cell") + "[cell](GLOSSARY.md#cell)"]


def test_a_word_gets_no_link_where_it_is_built():
    assert glossary.linked(["FID of tokens"], "07") == ["FID of [tokens](GLOSSARY.md#token)"]


def test_entries_are_short_and_different():
    assert len({entry.anchor for entry in ENTRIES}) == len(ENTRIES) >= 25
    assert all(5 <= len(entry.text.split()) <= 40 for entry in ENTRIES)
    page = glossary.GLOSSARY.read_text(encoding="utf-8")
    for file in re.findall(r"\]\(([^)]+)\)", page):
        assert (NOTEBOOKS / file).is_file(), file


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.anchor)
def test_a_word_is_used_in_the_chapter_that_builds_it(entry):
    (source,) = [source for source in SOURCES if source.stem.startswith(entry.chapter)]
    assert glossary.use_of(entry).search("\n".join(texts(source.stem)))


@pytest.mark.parametrize("source", SOURCES, ids=lambda file: file.stem)
def test_links_of_a_chapter_lead_to_entries_and_stand_once(source):
    found = [anchor for text in texts(source.stem) for anchor in re.findall(r"\]\(GLOSSARY\.md#([^)]+)\)", text)]
    assert len(set(found)) == len(found) >= 1
    assert set(found) <= {entry.anchor for entry in ENTRIES}


def test_thumbnails_have_words():
    assert list(index.ALT) == [source.stem[:2] for source in SOURCES]
    assert all(len(words.split()) >= 8 and '"' not in words for words in index.ALT.values())
    page = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    for source in SOURCES:
        assert f'src="thumbnails/{source.stem}.png" width="240" alt="{index.ALT[source.stem[:2]]}"' in page
