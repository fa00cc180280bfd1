"""The recorder of the family's chapters: finished runs stay, the rest is made, and what cannot be run is told."""

import math
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import family  # noqa: E402
import family_data  # noqa: E402

from ncvqvae_lite.errors import BadInput  # noqa: E402
from ncvqvae_lite.files import read_csv  # noqa: E402
from ncvqvae_lite.generators import GENERATORS  # noqa: E402

CHAPTERS = sorted(file.stem.removeprefix("family_") for file in BENCHMARKS.glob("family_[0-9][0-9].py"))


def items_that_note(made, stop_at=None):
    """Two items of three runs a seed, which note what was run; the run number `stop_at` is killed."""

    def run(dataset, setting, seed):
        if len(made) == stop_at:
            os.kill(os.getpid(), signal.SIGKILL)
        made.append((dataset, setting, seed))
        return {"accuracy": (0.5, 100), "draw": (torch.rand(()).item(), 1)}

    return {
        "one": family_data.Item(run, ("GunPoint", "BasicMotions"), ("plain",)),
        "two": family_data.Item(run, ("GunPoint",), ("plain",)),
    }


@pytest.fixture
def chapter(monkeypatch):
    """Replaces chapter 11's items, and lets rows be of no commit; returns what was run."""
    made = []
    monkeypatch.setattr(family, "items_of", lambda chapter: items_that_note(made))
    monkeypatch.setattr(family, "commit_of", lambda *paths: "0123456789ab")
    return made


def test_what_has_rows_is_not_run_again(chapter, tmp_path, capsys):
    table = tmp_path / "family.csv"
    assert family.main(["--chapter", "11", "--seeds", "1", "--item", "one"], table) == 0
    assert chapter == [("GunPoint", "plain", 1), ("BasicMotions", "plain", 1)]
    first = table.read_text()
    assert family.main(["--chapter", "11", "--seeds", "1", "2"], table) == 0
    assert chapter[2:] == [("GunPoint", "plain", 1), *[(name, "plain", 2) for name in family_names()]]
    assert table.read_text().startswith(first)
    assert family.main(["--chapter", "11", "--seeds", "1", "2"], table) == 0
    assert len(chapter) == 6 and len(read_csv(table)) == 12
    assert set(Counter(tuple(row[name] for name in (*family.RUN, "metric")) for row in read_csv(table)).values()) == {1}
    assert {row["commit"] for row in read_csv(table)} == {"0123456789ab"}
    capsys.readouterr()
    assert family.main(["--chapter", "11", "--list"], table) == 0
    assert capsys.readouterr().out.splitlines()[0] == "one, GunPoint, plain: seeds 1 2"


def family_names():
    return ("GunPoint", "BasicMotions", "GunPoint")


def test_the_seed_makes_the_first_weights(chapter, tmp_path):
    for name, order in (("a", ("1", "2")), ("b", ("2", "1"))):
        family.main(["--chapter", "11", "--item", "two", "--seeds", *order], tmp_path / name)
    draws = [{row["seed"]: row["value"] for row in read_csv(tmp_path / n) if row["metric"] == "draw"} for n in "ab"]
    assert draws[0] == draws[1] and draws[0]["1"] != draws[0]["2"]


def test_a_kill_loses_no_finished_run(chapter, tmp_path):
    table = tmp_path / "family.csv"
    code = f"""
import sys
sys.path[:0] = [{str(BENCHMARKS)!r}, {str(BENCHMARKS.parent / "tests")!r}]
import family, test_family_record as here
family.items_of = lambda chapter: here.items_that_note([], stop_at=2)
family.commit_of = lambda *paths: "0123456789ab"
family.main(["--chapter", "11", "--seeds", "1", "2"], {str(table)!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS.parent, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(read_csv(table)) == 4  # two runs of two numbers
    assert family.main(["--chapter", "11", "--seeds", "1", "2"], table) == 0
    assert len(chapter) == 4 and len(read_csv(table)) == 12
    assert {file.name for file in tmp_path.iterdir()} <= {"family.csv", "family.csv.lock"}


def test_what_is_not_in_the_register_is_refused_in_one_sentence(chapter, tmp_path, capsys):
    assert family.main(["--chapter", "11", "--item", "three"], tmp_path / "family.csv") == 2
    assert capsys.readouterr().err == "error: chapter 11 has no item 'three': choose from one, two\n"
    assert not chapter and not list(tmp_path.iterdir())


def test_a_chapter_without_items_is_refused_in_one_sentence(capsys):
    assert family.main(["--chapter", "99"]) == 2
    assert capsys.readouterr().err == f"error: no items of chapter 99: choose from {', '.join(CHAPTERS)}\n"


def test_items_whose_series_are_not_here_are_left_out_with_a_sentence(chapter, tmp_path, monkeypatch, capsys):
    elsewhere = items_that_note(chapter) | {"far": family_data.Item(pytest.fail, ("FacesUCR",), ("plain",))}
    monkeypatch.setattr(family, "items_of", lambda chapter: elsewhere)
    monkeypatch.delenv("NCVQVAE_DATA", raising=False)
    assert family.main(["--chapter", "11", "--seeds", "1"], tmp_path / "family.csv") == 0
    assert "FacesUCR is left out: set NCVQVAE_DATA to a folder that has it\n" in capsys.readouterr().out
    monkeypatch.setenv("NCVQVAE_DATA", str(tmp_path))
    assert "it is not in" in family_data.missing("FacesUCR")
    assert len(chapter) == 3


@pytest.mark.parametrize("found", [{}, {"accuracy": (math.nan, 3)}, {"accuracy": (0.5, 0)}])
def test_a_run_without_numbers_is_refused(found):
    with pytest.raises(BadInput, match="the run 11 one GunPoint plain 1 measured"):
        family.rows_of(("11", "one", "GunPoint", "plain", "1"), found, "0123456789ab")


def test_made_sets_are_scaled_by_their_train_split():
    d = family_data.splits("GesturesGenerated", most_test=50)
    assert d.x_train.shape == (400, 3, 100) and d.x_test.shape == (50, 3, 100) and d.y_test.shape == (50,)
    assert torch.allclose(d.x_train.mean(dim=(0, 2)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(d.x_train.std(dim=(0, 2), correction=0), torch.ones(3), atol=1e-5)
    assert abs(d.x_test.mean()) > 1e-4  # by train's numbers, not its own


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_items_say_what_they_measure_and_where(chapter):
    for item in family.items_of(chapter).values():
        assert item.run.__doc__ and item.datasets and item.settings
        assert len(set(item.settings)) == len(item.settings)


@pytest.mark.skipif(not family.TABLE.is_file(), reason="nothing is recorded yet")
def test_recorded_rows_are_of_the_register_and_of_committed_code():
    rows = read_csv(family.TABLE)
    assert tuple(rows[0]) == family.COLUMNS
    known = {run for number in CHAPTERS for run, _ in family.runs(number, family.items_of(number), range(1, 6))}
    for row in rows:
        assert tuple(row[name] for name in family.RUN) in known, row
        assert math.isfinite(float(row["value"])) and int(row["n"]) >= 1
        assert re.fullmatch("[0-9a-f]{12}", row["commit"])
    assert set(Counter(tuple(row[name] for name in (*family.RUN, "metric")) for row in rows).values()) == {1}
    assert {row["dataset"] for row in rows} & {*GENERATORS}
