"""`lab.results`: finished cells become tidy rows, once each, and only from committed code."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.experiment import cell_folder, run_experiment
from ncvqvae_lite.lab.results import COLUMNS, cell_rows, export, finished_cells, load_cells, main, read_rows

MICRO = dict(epochs=2, prior_epochs=2, fcn_epochs=1, cas=False, min_steps=0, prior_min_steps=0, fcn_min_steps=0)
MICRO |= dict(geometry="grid", width=8, decoding_steps=10)  # 40 tokens in 10 steps

SECONDS = {"fcn": 0.2, "second fcn": 0.3, "tokenizer": 0.01, "prior": 100.0, "noise": 0.1, "evaluation": 0.99}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(runs folder, cell folder, metrics) of one micro cell, with its code recorded as committed."""
    runs = tmp_path_factory.mktemp("runs")
    ds = two_patterns(n_train=40, n_test=40)
    cfg = ExperimentConfig.preset("quick", dataset=ds.name, **MICRO)
    metrics = run_experiment(cfg, ds, runs)
    folder = cell_folder(cfg, runs)
    for made in (folder, cfg.tokenizer_folder(runs)):
        set_commit(made, "0123456789ab")
    return runs, folder, metrics


def set_commit(folder, commit):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"commit": commit}))


def replace_json(file, **changes):
    """Edit a JSON file of the run folder; returns what undoes it."""
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | changes))
    return lambda: file.write_text(before)


def test_every_metric_is_a_row_that_says_what_was_changed_and_where_it_lives(finished):
    runs, folder, metrics = finished
    rows = {row["metric"]: row for row in cell_rows(folder)}
    assert {name: rows[name]["value"] for name in metrics} == metrics
    changed = dict(pair.split("=") for pair in rows["recon_val"]["ablation"].split())
    assert changed == {name: str(value) for name, value in MICRO.items()}
    assert rows["fid"]["fcn"] == "own" and rows["fid"]["commit"] == "0123456789ab"
    assert runs / rows["fid"]["folder"] == folder
    assert all(set(row) == set(COLUMNS) for row in rows.values())


def test_other_series_of_a_name_of_the_thesis_are_refused(finished):
    """In a table of results they would pass for the thesis' data set."""
    _, folder, _ = finished
    undo = replace_json(folder / "config.json", dataset="Wafer", class_counts=[20, 20])
    try:
        sizes = r"40 train series \(thesis: 1,000\), 40 test series \(thesis: 6,164\), 128 steps \(thesis: 152\)"
        with pytest.raises(BadInput, match=f"other series than the thesis' Wafer: {sizes}; give them a name"):
            cell_rows(folder)
    finally:
        undo()


def test_class_shares_sum_to_one(finished):
    _, folder, metrics = finished
    rows = {row["metric"]: row["value"] for row in cell_rows(folder)}
    generated = [rows.get(f"share_generated_{k}", 0.0) for k in range(4)]
    real = [rows.get(f"share_real_{k}", 0.0) for k in range(4)]
    assert sum(generated) == pytest.approx(1) and sum(real) == pytest.approx(1)
    distance = sum(abs(g - r) for g, r in zip(generated, real)) / 2
    assert distance == pytest.approx(metrics["class_mix_error"], abs=1e-6)


def test_stages_that_were_found_finished_cost_no_row(finished):
    _, folder, _ = finished
    undo = replace_json(folder / "seconds.json", **SECONDS | {"tokenizer": 12.34})
    rows = {row["metric"]: row for row in cell_rows(folder)}
    undo()
    costs = {name: row["value"] for name, row in rows.items() if name.startswith("seconds_")}
    assert costs == {"seconds_tokenizer": 12.3, "seconds_prior": 100.0}
    assert rows["fid"]["seconds"] == 114  # the sum of all, rounded


def test_a_tokenizer_made_by_a_job_of_its_own_counts_for_each_cell(finished):
    _, folder, _ = finished
    undo = replace_json(folder / "seconds.json", **SECONDS)
    alone = folder / json.loads((folder / "config.json").read_text())["tokenizer"] / "seconds.json"
    alone.write_text('{"tokenizer": 71.26}')
    rows = {row["metric"]: row for row in cell_rows(folder)}
    undo()
    alone.unlink()
    assert rows["seconds_tokenizer"]["value"] == 71.3 and rows["fid"]["seconds"] == 102


def test_exporting_twice_changes_nothing_and_other_cells_stay(finished, tmp_path):
    runs, folder, metrics = finished
    table = tmp_path / "tables" / "cells.csv"
    assert main([str(runs), str(table)]) == 0
    once = table.read_bytes()
    assert export([folder], table) == 1 and table.read_bytes() == once
    table.write_text(table.read_text().replace("quick", "paper"))
    export([folder], table)
    rows = read_rows(table)
    assert len(rows) == 2 * len(cell_rows(folder)) and {row["preset"] for row in rows} == {"quick", "paper"}
    assert [path.name for path in table.parent.iterdir()] == ["cells.csv"]
    value = next(row["value"] for row in rows if row["metric"] == "fid" and row["preset"] == "quick")
    assert float(value) == metrics["fid"]


def test_a_cell_that_was_made_again_replaces_the_old_one(finished, tmp_path):
    _, folder, _ = finished
    table = tmp_path / "cells.csv"
    export([folder], table)
    undo = replace_json(folder / "metrics.json", fid=0.5, new_metric=1.0)
    export([folder], table)
    undo()
    values = {row["metric"]: row["value"] for row in read_rows(table)}
    assert values["fid"] == "0.5" and values["new_metric"] == "1.0"
    assert len(values) == len(read_rows(table))


def test_a_table_is_loaded_with_its_types(finished, tmp_path):
    _, folder, metrics = finished
    export([folder], tmp_path / "cells.csv")
    cells = load_cells(tmp_path / "cells.csv")
    assert cells.value.dtype == float and cells.seed.dtype == int
    assert cells.set_index("metric").value["fid"] == metrics["fid"]
    assert cells.augmentation.unique().tolist() == ["none"] and not cells.isna().any(axis=None)


def test_the_table_that_ships_is_sound():
    cells = load_cells()
    assert len(cells) and np.isfinite(cells.value).all() and not cells.commit.str.contains("dirty").any()
    assert not cells.duplicated([*COLUMNS[:7], "metric"]).any()


def test_every_commit_of_the_table_that_ships_is_in_this_repository():
    root = Path(__file__).parents[1]

    def git(*arguments):
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)

    if not shutil.which("git") or not (root / ".git").exists():
        pytest.skip("commits of data/results/cells.csv: needs git and a checkout of this repository")
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("commits of data/results/cells.csv: this clone is shallow, `git fetch --unshallow` completes it")
    commits = sorted(set(load_cells().commit))
    assert commits and [commit for commit in commits if git("cat-file", "-e", f"{commit}^{{commit}}").returncode] == []


@pytest.mark.parametrize(
    ("commit", "message"), [("0123456789ab-dirty", "not committed"), (None, "names no commit"), ("", "names no commit")]
)
def test_code_that_was_not_committed_is_refused(finished, tmp_path, capsys, commit, message):
    runs, folder, _ = finished
    set_commit(folder, commit)
    try:
        with pytest.raises(BadInput, match=message):
            cell_rows(folder)
        assert main([str(runs), str(tmp_path / "cells.csv")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "cells.csv").exists()
    finally:
        set_commit(folder, "0123456789ab")


def test_a_tokenizer_that_was_not_committed_is_refused(finished):
    _, folder, _ = finished
    tokenizer = folder / json.loads((folder / "config.json").read_text())["tokenizer"]
    set_commit(tokenizer, "0123456789ab-dirty")
    try:
        with pytest.raises(BadInput, match=r"tokenizers.*seed1 was made by code that was not committed"):
            cell_rows(folder)
    finally:
        set_commit(tokenizer, "0123456789ab")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.5", True])
def test_a_metric_that_is_no_finite_number_is_refused(finished, value):
    _, folder, _ = finished
    undo = replace_json(folder / "metrics.json", fid=value)
    try:
        with pytest.raises(BadInput, match="fid is .*, expected a finite number"):
            cell_rows(folder)
    finally:
        undo()


def test_all_refused_cells_are_counted(finished, tmp_path):
    _, folder, _ = finished
    folders = [folder]
    for commit in ("aaa-dirty", "bbb-dirty", None):
        folders.append(tmp_path / "cells" / "D" / "regular-none" / "00000000" / f"seed{len(folders)}")
        shutil.copytree(folder, folders[-1])
        set_commit(folders[-1], commit)
    with pytest.raises(BadInput, match="seed1 was made .*aaa-dirty.* and so 2 more of 5 folders: delete such folders"):
        export(folders, tmp_path / "cells.csv")
    assert not (tmp_path / "cells.csv").exists()


def test_two_folders_with_the_same_cell_are_named(finished, tmp_path):
    _, folder, _ = finished
    other = tmp_path / "cells" / "D" / "regular-none" / "00000000" / "seed1"
    shutil.copytree(folder, other)
    with pytest.raises(BadInput, match="00000000/seed1 hold the same cell"):
        export([folder, other], tmp_path / "cells.csv")


def test_what_is_no_finished_cell_is_named(finished, tmp_path):
    with pytest.raises(NotFound, match="no finished cell under"):
        finished_cells(tmp_path)
    with pytest.raises(NotFound, match="no finished cell in"):
        cell_rows(tmp_path)
    with pytest.raises(NotFound, match="no table at"):
        read_rows(tmp_path / "cells.csv")
    (tmp_path / "old.csv").write_text("dataset,changes\n")
    with pytest.raises(BadInput, match="other columns"):
        read_rows(tmp_path / "old.csv")
    with pytest.raises(BadInput, match="other columns"):
        export([finished[1]], tmp_path / "old.csv")
