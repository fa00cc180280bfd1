"""Cells that show numbers of data/results are found in the code, and compared although no tag says so."""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from test_notebooks import SOURCES, nbval

from ncvqvae_lite.files import read_csv
from ncvqvae_lite.thesis import data_file

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

from recorded import showing  # noqa: E402


@pytest.mark.parametrize(
    ("cells", "places"),
    [
        (["print(nb.recorded_runs('03'))", "print(1)"], {0}),
        (["values = nb.family_values('11', 'a', 'b')", "total = sum(values)", "print(total)", "print(other)"], {2}),
        (["def of(name):\n    return nb.family_values('11', name, 'b')", "seen = of('a')", "seen"], {2}),
        (
            ["rows = read_csv(data_file('results/cells.csv'))", "for row in rows:\n    print(row)", "row = 1", "row"],
            {1},
        ),
        (["found = {}\nfor row in load_cells():\n    found.setdefault(row[0], {})[1] = row", "print(found)"], {1}),
        (["found = []\nfor row in load_cells():\n    found.append(row)", "print(found)"], {1}),
        (["cells = load_cells()", "print([cells for cells in range(3)])", "ax.plot(cells.x)\nfig"], {2}),
        (["x = load_cells()", "def f(x):\n    return x + 1", "print(f(2))"], set()),
        (["x = load_cells()", "def f(a):\n    return x + a", "print(f(2))"], {2}),
        (["x = load_cells()", "x = 3\nprint(x)", "x += len(load_cells())", "if x:\n    print(x)"], {3}),
        (["import sys\n\nif 1:\n    %pip install a", "print(load_cells())"], {1}),
    ],
)
def test_what_shows_recorded_values(cells, places):
    assert showing(cells) == places


def built(source):
    """Code cells of a built chapter, the heading of each, and the places of those that show recorded values."""
    heading, cells, headings = "", [], []
    for cell in nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4).cells:
        titles = [line for line in cell.source.splitlines() if line.startswith("## ")]
        if cell.cell_type == "code":
            cells.append(cell)
            headings.append(heading)
        elif titles:
            heading = titles[-1]
    return cells, headings, showing([cell.source for cell in cells])


@pytest.mark.parametrize("source", SOURCES, ids=lambda file: file.stem)
def test_figures_of_recorded_numbers_stand_beside_a_text_that_is_compared(source):
    cells, headings, found = built(source)
    said = {headings[place] for place in found if any(output.get("text") for output in cells[place].outputs)}
    assert {headings[place] for place in found} <= said


def test_chapters_show_what_was_recorded():
    counts = {source.stem[:2]: len(built(source)[2]) for source in SOURCES}
    assert min(counts.values()) >= 1  # each of them ends with its recorded runs
    assert counts["10"] > 20 and counts["11"] > 10


@pytest.mark.slow
def test_a_stale_number_of_a_table_is_noticed(tmp_path):
    rows = len(read_csv(data_file("results/replicate.csv")))
    source = "from ncvqvae_lite.files import read_csv\nfrom ncvqvae_lite.thesis import data_file\n"
    source += "rows = read_csv(data_file('results/replicate.csv'))\nprint(len(rows), 'rows')"
    for name, said, passed in (("good", rows, 2), ("stale", rows + 1, 1)):
        shown = new_output("stream", name="stdout", text=f"{said} rows\n")
        other = new_output("stream", name="stdout", text="5\n")  # the cell prints 4: not compared
        cells = [new_code_cell(source, execution_count=1, outputs=[shown])]
        cells += [new_code_cell("print(4)", execution_count=2, outputs=[other])]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
        assert nbval(tmp_path, f"{name}.ipynb")[:2] == (passed, 2 - passed)


def test_the_run_of_the_opening_chapter_stands_in_the_table_of_the_demonstration():
    import numpy as np

    metrics = json.loads(str(np.load(data_file("results/example.npz"))["about"]))["metrics"]
    for row in read_csv(data_file("results/replicate.csv")):
        assert row["naive"] == f"{metrics[row['metric']]:.4g}"


def test_ranges_that_chapter_3_tells_are_those_of_the_recorded_seeds():
    rows = [r for r in read_csv(data_file("results/chapters.csv")) if r["chapter"] == "03"]
    probes = {(r["preset"], r["seed"], r["name"].removeprefix("probe, ")): 100 * float(r["value"]) for r in rows}
    runs = sorted({(preset, seed) for preset, seed, _ in probes})

    def gains(after, before, presets=("quick", "paper")):
        return [probes[*run, after] - probes[*run, before] for run in runs if run[0] in presets]

    (source,) = [source for source in SOURCES if source.stem.startswith("03")]
    text = " ".join(source.read_text(encoding="utf-8").replace("\n#", " ").split())
    decorrelated = gains("VICReg", "VICReg - covariance") + gains("Barlow Twins", "Barlow - off-diagonal")
    assert f"falls by up to {max(decorrelated):.0f} points (by fewer than 10 in most seeds" in text
    assert sum(gain < 10 for gain in decorrelated) > len(decorrelated) / 2
    assert max(map(abs, gains("VIbCReg", "VIbCReg - correlation"))) < 0.5  # not at all
    invariant = gains("VICReg", "VICReg - invariance") + gains("VIbCReg", "VIbCReg - invariance")
    assert f"lose {min(invariant):.0f} to {max(invariant):.0f} points" in text
    alone = gains("Barlow - diagonal", "untrained")
    assert f"between {-min(alone):.0f} points below that of the untrained network and {max(alone):.0f} above it" in text
    kept = [probes[*run, "VIbCReg - variance"] / 100 for run in runs if run[0] == "paper"]
    assert f"keeps a probe of {min(kept):.2f} to {max(kept):.2f}" in text
    assert (
        max(gains("VIbCReg", "VIbCReg - IterNorm", ["paper"]))
        < 0.5
        < min(gains("VIbCReg", "VIbCReg - IterNorm", ["quick"]))
    )
    assert {preset: sum(run[0] == preset for run in runs) for preset in ("quick", "paper")} == {"quick": 6, "paper": 4}
