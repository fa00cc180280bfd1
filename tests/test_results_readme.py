"""Every number of the README pages is that of its rows."""

import csv
import re
import sys
from pathlib import Path

import pytest

from ncvqvae_lite.demonstration import ROWS
from ncvqvae_lite.lab.results import load_cells
from ncvqvae_lite.thesis import author_runs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import bench_baseline  # noqa: E402
import pages  # noqa: E402
import pages_blocks  # noqa: E402

TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages.PAGES}
RESULTS = TEXTS["data/results/README.md"]
FROM_CELLS = (
    "replication",
    "thesis",
    "versions",
    "leak",
    "bf16",
    "improved",
    "headline",
    "contrastive",
    "priors",
    "pairs",
    "random_start",
)


def block(text, name):
    return next(found[2] for found in pages.BLOCK.finditer(text) if found[1] == name)


def lines_of(text):
    """The rows of the tables of a block, as lists of texts."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_pages_are_current(capsys):
    assert pages.main(["--check"]) == 0, f"{capsys.readouterr().out}; then read the words beside the new numbers"


def test_every_block_is_used_and_every_row_of_the_demonstration_explained():
    assert {found[1] for text in TEXTS.values() for found in pages.BLOCK.finditer(text)} == {*pages_blocks.BLOCKS}
    assert set(pages_blocks.ASKS) == set(ROWS)


@pytest.mark.parametrize("name", TEXTS)
def test_no_measured_number_stands_outside_of_the_blocks(name):
    text = pages.BLOCK.sub("", TEXTS[name])
    no_measurement = r"https?://\S+|arXiv \d+\.\d+|[Pp]ython ?3\.\d+( to 3\.\d+)?|CC BY 4\.0|95 % interval"
    text = re.sub(no_measurement, "", text)
    assert re.findall(r"\d+\.\d+|\d+ ?%", text) == []


@pytest.mark.parametrize("name", FROM_CELLS)
def test_another_row_makes_another_block(name, monkeypatch):
    """A page is noticed as old when the rows change: here what was high is low."""
    changed = load_cells().pipe(lambda rows: rows.assign(value=1 / (0.5 + rows.value)))
    monkeypatch.setattr(pages_blocks, "recorded", lambda: changed)
    assert pages_blocks.BLOCKS[name]() != block(RESULTS, name).rstrip("\n")


@pytest.mark.parametrize("name", [found[1] for text in TEXTS.values() for found in pages.BLOCK.finditer(text)])
def test_another_number_on_the_page_is_noticed(name, monkeypatch, tmp_path, capsys):
    old = block("".join(TEXTS.values()), name)
    last = re.search(r"\d(?=\D*$)", old) or re.search(r"high", old)
    new = f"{old[: last.start()]}{'1' if last[0] == '0' else '0'}{old[last.end() :]}"
    copy = tmp_path / "README.md"
    copy.write_text(f"# A page\n\n<!-- {name} -->\n{new}<!-- /{name} -->\n", encoding="utf-8")
    monkeypatch.setattr(pages, "PAGES", (copy,))
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    assert pages.main(["--check"]) == 1 and "not current" in capsys.readouterr().out
    assert pages.main([]) == 0 and old in copy.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["<!-- nothing -->\n<!-- /nothing -->\n", "<!-- course -->\nno end\n"])
def test_a_block_without_function_or_end_is_refused(text):
    with pytest.raises(ValueError, match="expected one of replication"):
        pages.filled(f"# A page\n\n{text}")


def test_the_table_of_the_thesis_says_what_the_csv_files_say():
    """Computed again from the files, without the functions that made the table."""
    with open(ROOT / "data" / "results" / "cells.csv", encoding="utf-8", newline="") as file:
        cells = [row for row in csv.DictReader(file) if row["preset"] == "paper"]
    columns = {2: ("recon_last_batch", "recon_val"), 3: ("knn_acc",) * 2, 4: ("svm_acc",) * 2, 5: ("fid",) * 2}
    columns |= {6: ("is", "is")}
    _, _, *lines = lines_of(block(RESULTS, "thesis"))
    assert len(lines) >= 22 and len(lines) % 2 == 0
    for ours, authors in zip(lines[::2], lines[1::2]):
        dataset, method, augmentation = re.match(r"(\w+), `(\w+)`(?: \+ `(\w+)`)?", ours[0]).groups("none")
        free = {"cas=False", *(f"{setting}=bf16" for setting in ours[8].split(", ") if setting)}
        rows = [
            row
            for row in cells
            if (row["dataset"], row["method"], row["augmentation"]) == (dataset, method, augmentation)
            and set(row["ablation"].split()) <= free
        ]
        for column, (metric, theirs) in columns.items():
            digits = len(ours[column].split("..")[0].split(".")[1])
            values = [
                round(float(row["value"]), digits) for row in rows if row["metric"] == metric and row["seed"] in ours[1]
            ]
            assert {float(text) for text in re.findall(r"\d+\.\d+", ours[column])} <= set(values)
            published = author_runs(dataset, method, augmentation)[theirs]
            assert authors[column] == f"{min(published):.{digits}f}..{max(published):.{digits}f}"


def test_the_benchmark_says_the_same_of_the_authors_code():
    shares = [line[-1] for line in lines_of(block(RESULTS, "speed"))[2:]]
    said = re.findall(r"\d\.\d+", bench_baseline.AGAINST_AUTHORS)
    assert sorted(said) == sorted(share for share in shares if share)
