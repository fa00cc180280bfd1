"""`lab.record`: finished cells become tidy rows, once each, and only from committed code."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.experiment import cell_folder, load_run, run_experiment
from ncvqvae_lite.lab import example
from ncvqvae_lite.lab.record import cell_rows, main, read_rows, record
from ncvqvae_lite.thesis import data_file

MICRO = dict(epochs=1, prior_epochs=1, fcn_epochs=1, cas=False, min_steps=0, prior_min_steps=0, fcn_min_steps=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(runs folder, cell folder, metrics) of one micro cell, with its code recorded as committed."""
    runs = tmp_path_factory.mktemp("runs")
    ds = two_patterns(n_train=40, n_test=40)
    cfg = ExperimentConfig.preset("quick", dataset=ds.name, **MICRO)
    metrics = run_experiment(cfg, ds, runs)
    folder = cell_folder(cfg, runs)
    set_commit(folder, "0123456789ab")
    return runs, folder, metrics


def set_commit(folder, commit):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"commit": commit}))


def test_every_metric_is_a_row_that_says_what_was_changed(finished):
    _, folder, metrics = finished
    rows = {row["metric"]: row for row in cell_rows(folder)}
    assert {name: rows[name]["value"] for name in metrics} == metrics
    changed = dict(pair.split("=") for pair in rows["recon_val"]["changes"].split())
    assert changed == {name: str(value) for name, value in MICRO.items()}
    assert rows["fid"]["fcn"] == "own" and rows["fid"]["commit"] == "0123456789ab"


def test_class_shares_sum_to_one(finished):
    _, folder, metrics = finished
    rows = {row["metric"]: row["value"] for row in cell_rows(folder)}
    generated = [rows.get(f"share_generated_{k}", 0.0) for k in range(4)]
    real = [rows.get(f"share_real_{k}", 0.0) for k in range(4)]
    assert sum(generated) == pytest.approx(1) and sum(real) == pytest.approx(1)
    distance = sum(abs(g - r) for g, r in zip(generated, real)) / 2
    assert distance == pytest.approx(metrics["class_mix_error"], abs=1e-6)


def test_recording_twice_changes_nothing_and_other_cells_stay(finished, tmp_path):
    runs, _, metrics = finished
    table = tmp_path / "cells.csv"
    assert main([str(runs), str(table)]) == 0
    once = read_rows(table)
    assert record(runs, table) == 1 and read_rows(table) == once
    table.write_text(table.read_text().replace("quick", "paper"))
    record(runs, table)
    assert len(read_rows(table)) == 2 * len(once)
    assert {row["preset"] for row in read_rows(table)} == {"quick", "paper"}
    assert float(next(row for row in once if row["metric"] == "fid")["value"]) == metrics["fid"]


def test_code_that_was_not_committed_is_refused(finished, tmp_path, capsys):
    runs, folder, _ = finished
    set_commit(folder, "0123456789ab-dirty")
    try:
        with pytest.raises(BadInput, match="not committed"):
            cell_rows(folder)
        assert main([str(runs), str(tmp_path / "cells.csv")]) == 2
        assert "not committed" in capsys.readouterr().err
        assert not (tmp_path / "cells.csv").exists()
    finally:
        set_commit(folder, "0123456789ab")


def test_a_folder_without_finished_cells_is_named(tmp_path):
    with pytest.raises(NotFound, match="no finished cell"):
        record(tmp_path, tmp_path / "cells.csv")


# --- the example of chapter 00 ---


@pytest.fixture
def example_file(finished, tmp_path):
    file = tmp_path / "example.npz"
    assert example.main([str(finished[1]), str(file)]) == 0
    return np.load(file)


@pytest.mark.parametrize("committed", [False, True])
def test_an_example_shows_decoding_from_all_hidden_to_none(example_file, committed):
    stored = np.load(data_file("results/example.npz")) if committed else example_file
    steps = stored["steps"]
    assert steps.shape == (11, 5, 8) and (steps[0] == -1).all() and (steps[-1] >= 0).all()
    for before, after in pairwise(steps):
        assert (after[before >= 0] == before[before >= 0]).all()  # what is decided stays
    assert stored["x"].shape == stored["x_hat"].shape == (4, 128) and stored["x_tokens"].shape == (4, 5, 8)
    assert stored["drawn"].shape == (128,) and stored["generated"].shape == (64, 128)
    assert np.bincount(stored["classes"]).tolist() == [16] * 4
    assert all(np.isfinite(stored[name]).all() for name in stored)


def test_an_example_decodes_its_tokens(finished, example_file):
    run = load_run(finished[1])
    tokens = torch.from_numpy(np.concatenate([example_file["x_tokens"], example_file["steps"][-1:]])).long().flatten(1)
    series = (run.tokenizer.decode(tokens) * run.std + run.mean)[:, 0].detach().numpy()
    np.testing.assert_allclose(series[:4], example_file["x_hat"], atol=5e-3)  # float16 in the file
    np.testing.assert_allclose(series[4], example_file["drawn"], atol=5e-3)


def test_an_example_needs_a_run_of_its_data_set(finished):
    run = load_run(finished[1])
    with pytest.raises(BadInput, match="needs a run of TwoPatterns, this one is of Wafer"):
        example.example(run._replace(config=run.config | {"dataset": "Wafer"}))
