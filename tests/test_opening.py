"""`benchmarks/opening.py`: the register of openings of the archive's test splits, and that no recorded cell lacks."""

import csv
import datetime
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.lab.results import read_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import opening


@pytest.fixture(autouse=True)
def register(tmp_path, monkeypatch):
    """An empty register in place of the one that ships, in a machine without weights, with committed code."""
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "commit_of", lambda *_: "0123456789ab")
    file = tmp_path / "openings.csv"
    monkeypatch.setattr(opening, "REGISTER", file)
    monkeypatch.setattr(opening, "ROOT", tmp_path)
    monkeypatch.setattr(opening.enter, "__defaults__", (file,))
    return file


def enter(*options):
    return opening.main(["--what", "improved 2", *options])


HEADLINE = ("--campaign", "headline", "--datasets", "ECG5000", "Wafer", "--seeds", "1", "3")


def test_a_campaign_is_one_row_a_data_set_with_the_digests_of_its_cells(register, capsys):
    assert enter(*HEADLINE, "--note", "first look, at once") == 0
    assert "2 rows entered" in capsys.readouterr().out
    rows = read_rows(register, opening.COLUMNS)
    assert [(row["datasets"], row["seeds"]) for row in rows] == [("ECG5000", "1 3"), ("Wafer", "1 3")]
    for row in rows:
        arms = [("regular", "none"), *((m, a) for m in ("barlowtwins", "vibcreg") for a in ("warp", "slice", "gauss"))]
        arms = [
            dict(dataset=row["datasets"], method=method, augmentation=augmentation) for method, augmentation in arms
        ]
        cells = [ExperimentConfig.preset("improved", **arm).cell_folder("") for arm in arms]
        assert row["digest"].split() == list(dict.fromkeys(folder.parts[-2] for folder in cells))
        assert row["date"] == datetime.date.today().isoformat()
        assert (row["what"], row["commit"], row["note"]) == ("improved 2", "0123456789ab", "first look, at once")
        assert row["command"] == "ncvqvae campaign run headline --datasets ECG5000 Wafer --seeds 1 3 --recorded"


def test_what_is_entered_stays_and_is_not_entered_twice(register, capsys, tmp_path, monkeypatch):
    assert enter(*HEADLINE) == 0
    before = register.read_text()
    assert enter(*HEADLINE) == 2
    err = capsys.readouterr().err
    assert "opened before" in err and "improved 2 on ECG5000, seeds 1 3" in err and err.count("\n") == 1
    assert register.read_text() == before
    assert enter("--campaign", "headline", "--datasets", "ECG5000", "--seeds", "3", "5") == 2  # 3 is there
    assert enter("--campaign", "headline", "--datasets", "ECG5000", "--seeds", "5") == 0
    weights = tmp_path / "Wafer.safetensors"
    weights.write_bytes(b"a feature net")
    monkeypatch.setenv("NCVQVAE_FCN", str(tmp_path))
    assert opening.main(["--what", "improved 3", *HEADLINE]) == 0
    *_, first, own, other = read_rows(register, opening.COLUMNS)
    assert (own["note"], other["note"]) == (first["note"], "") and "feature net trained here" in own["note"]
    assert own["digest"] == first["digest"] != other["digest"]  # the net that this machine finds has a part in it
    assert register.read_text().startswith(before) and len(read_rows(register, opening.COLUMNS)) == 5


def test_a_program_is_named_by_its_bytes(register, tmp_path):
    program = tmp_path / "benchmarks" / "speedrun.py"
    program.parent.mkdir()
    program.write_text("print(1)\n")
    sets = ["--file", str(program), "--datasets", "TwoPatterns", "ECG5000", "--seeds", "1", "2"]
    assert opening.main(["--what", "speedrun", *sets]) == 0 and opening.main(["--what", "speedrun", *sets]) == 2
    program.write_text("print(2)\n")
    assert opening.main(["--what", "speedrun", *sets, "--command", "make speedrun"]) == 0
    first, second = read_rows(register, opening.COLUMNS)
    assert second["digest"] == "0111afd3" != first["digest"]  # as sha256sum says
    assert (first["datasets"], first["seeds"]) == ("TwoPatterns ECG5000", "1 2")
    assert (first["command"], second["command"]) == ("python benchmarks/speedrun.py", "make speedrun")


MISTAKES = {
    "an unknown campaign": (["--campaign", "headlines"], "did you mean headline"),
    "a data set that it lacks": (["--campaign", "headline", "--datasets", "FordA"], "no dataset FordA"),
    "generated series": (["--campaign", "smoke", "--datasets", "TwoPatternsGenerated"], "generated"),
    "no such file": (["--file", "none.py", "--datasets", "A", "--seeds", "1"], "no file none.py"),
    "a file alone": (["--file", __file__], "--datasets and --seeds"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_sentence_and_enter_nothing(case, register, capsys):
    options, words = MISTAKES[case]
    assert enter(*options) == 2
    err = capsys.readouterr().err
    assert words in err and err.startswith("error: ") and err.count("\n") == 1
    assert not register.exists()


def test_edits_that_are_not_committed_are_refused(tmp_path, monkeypatch):
    monkeypatch.undo()
    for command in (["init", "-q"], ["config", "user.name", "a"], ["config", "user.email", "a@b"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    package, program = tmp_path / "package", tmp_path / "program.py"
    package.mkdir()
    (package / "module.py").write_text("a = 1\n")
    with pytest.raises(BadInput, match="no commit can be named|not committed"):
        opening.commit_of(package, root=tmp_path)
    subprocess.run(["git", "-C", tmp_path, "add", "."], check=True)
    subprocess.run(["git", "-C", tmp_path, "commit", "-qm", "one"], check=True)
    (tmp_path / "README.md").write_text("beside it")
    assert re.fullmatch("[0-9a-f]{12}", opening.commit_of(package, root=tmp_path))
    program.write_text("b = 1\n")
    with pytest.raises(BadInput, match=r"not committed \(program.py\)"):
        opening.commit_of(package, program, root=tmp_path)
    (package / "module.py").write_text("a = 2\n")
    with pytest.raises(BadInput, match=r"not committed \(package/module.py\)"):
        opening.commit_of(package, root=tmp_path)
    with pytest.raises(BadInput, match="no commit can be named"):
        opening.commit_of(tmp_path, root=tmp_path / "none")


# --- the register that ships ---


def cell(dataset="ECG5000", seed="1", digest="0a1b2c3d", preset="improved", metric="fid_by_class"):
    folder = f"cells/{dataset}/regular-none/{digest}/seed{seed}"
    return {"dataset": dataset, "seed": seed, "preset": preset, "metric": metric, "folder": folder}


def entry(datasets="ECG5000", seeds="1 2", digest="ffffffff 0a1b2c3d"):
    return {"datasets": datasets, "seeds": seeds, "digest": digest}


def test_a_cell_that_was_not_entered_is_found():
    found = opening.unregistered
    assert found([cell(), cell(seed="2")], [entry()]) == []
    assert found([cell()], []) == [("ECG5000", "1", "0a1b2c3d")]
    assert found([cell(seed="3"), cell(seed="3")], [entry()]) == [("ECG5000", "3", "0a1b2c3d")]
    assert found([cell(digest="0a1b2c3e")], [entry()]) == [("ECG5000", "1", "0a1b2c3e")]
    assert found([cell("Wafer")], [entry(), entry("Symbols FordA")]) == [("Wafer", "1", "0a1b2c3d")]
    assert found([cell()], [entry(seeds="2"), entry("Wafer")]) == [("ECG5000", "1", "0a1b2c3d")]  # in no one row
    assert found([cell() | {"folder": ""}], [entry()]) == [("ECG5000", "1", "")]


def test_what_opened_nothing_need_not_be_entered():
    for row in (cell(preset="paper"), cell("TwoPatternsGenerated"), cell(metric="fid")):
        assert opening.unregistered([row], []) == []


def test_the_register_that_ships_has_every_opening_in_the_table_of_results():
    file = Path(__file__).resolve().parents[1] / "data" / "results" / "openings.csv"
    rows = read_rows(file, opening.COLUMNS)
    dates = [datetime.date.fromisoformat(row["date"]) for row in rows]
    assert dates == sorted(dates) and all(date <= datetime.date.today() for date in dates)
    for row in rows:
        assert row["what"] and row["datasets"] and row["command"] and re.fullmatch("[0-9a-f]{12}", row["commit"])
        assert all(re.fullmatch("[0-9a-f]{8}", digest) for digest in row["digest"].split()) and row["digest"]
        assert all(seed.isdigit() for seed in row["seeds"].split()) and row["seeds"]
    assert opening.unregistered(read_rows(), rows) == []
    with open(file, newline="") as f:
        assert len(list(csv.reader(f))) == 1 + len(rows)
