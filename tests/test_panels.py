"""tools/panels.py: what figures need of finished runs is small, of committed code, and says what the run did."""

import csv
import io
import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.experiment import Run, cell_folder, load_run, run_experiment
from ncvqvae_lite.lab.report.panel_figures import CURVE_KEY, load_curves, load_panels
from ncvqvae_lite.prior import MaskGIT

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks" / "tools"))

import panels
from panels import accepted_probabilities, export_curves, export_panels, panel

MICRO = dict(epochs=2, prior_epochs=1, fcn_epochs=1, cas=False, min_steps=0, prior_min_steps=0, fcn_min_steps=0)
KEPT_EACH_STEP = [100 * n for n in (1, 1, 3, 3, 4, 5, 5, 6, 6, 6)]  # N = 40 tokens, T = 10 steps, 100 series


@pytest.fixture(scope="module")
def series():
    return two_patterns(n_train=40, n_test=60)


@pytest.fixture(scope="module")
def cell(series, tmp_path_factory):
    """Folder of one micro cell, with its code recorded as committed."""
    runs = tmp_path_factory.mktemp("runs")
    grid = dict(geometry="grid", width=8, decoding_steps=10)  # 40 tokens in 10 steps
    cfg = ExperimentConfig.preset("quick", dataset=series.name, **MICRO, **grid)
    run_experiment(cfg, series, runs)
    folder = cell_folder(cfg, runs)
    for place in (folder, cfg.tokenizer_folder(runs)):
        edit(place / "config.json", commit="0123456789ab")
    return folder


@pytest.fixture(autouse=True)
def _same_series(series, monkeypatch):
    monkeypatch.setattr(panels, "load_dataset", lambda name: series)


def edit(file, **changes):
    """Change entries of a JSON file; returns what undoes it."""
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | changes))
    return lambda: file.write_text(before)


def tokenizer_of(cell):
    return cell / json.loads((cell / "config.json").read_text())["tokenizer"]


# --- panels ---


def test_a_panel_shows_the_range_of_each_class_and_what_the_prior_draws_for_it(cell, series):
    found = panel(cell)
    run = load_run(cell)
    assert found["generated"].dtype == found["real"].dtype == np.float16
    assert found["real"].shape == (4, 3, len(found["time"])) and found["generated"].shape == (4, 5, len(found["time"]))
    generated = run.sample(20, torch.arange(4).repeat_interleave(5), seed=1)[:, 0].numpy().reshape(4, 5, -1)
    for k in range(4):
        real = series.x_test[series.y_test == k][:, 0].numpy()[:, found["time"]]
        np.testing.assert_allclose(found["real"][k], np.percentile(real, (10, 50, 90), axis=0), rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(found["generated"][k], generated[k][:, found["time"]], rtol=1e-3, atol=1e-3)
    assert found["points"].shape == (60, 2) and np.isfinite(found["points"]).all()
    np.testing.assert_array_equal(found["classes"], series.y_test.numpy())
    assert "epochs=2" in found["ablation"].item() and found["dataset"].item() == series.name


def test_long_series_are_thinned(cell, series, monkeypatch):
    monkeypatch.setattr(panels, "MOST_POINTS", 50)
    monkeypatch.setattr(panels, "PER_CLASS", 40)
    monkeypatch.setattr(panels, "MOST_CLASSES", 2)
    monkeypatch.setattr(panels, "MOST_SERIES", 30)
    found = panel(cell)
    np.testing.assert_array_equal(found["time"], np.arange(0, 128, 3))  # every third of 128 is at most 50
    assert found["real"].shape == (2, 3, 43) and found["generated"].shape == (2, 40, 43)
    assert len(found["points"]) == len(found["classes"]) == 30


def test_counts_of_accepted_tokens_follow_the_decoding_schedule(cell):
    counts = panel(cell)["accepted"]
    assert counts.sum(axis=1).tolist() == KEPT_EACH_STEP
    hidden = [math.floor(40 * math.cos(math.pi / 20 * k) + 1e-9) for k in range(11)]
    assert [100 * (before - after) for before, after in pairwise(hidden)] == KEPT_EACH_STEP


def test_accepted_probabilities_are_those_of_the_kept_tokens():
    """A prior that gives every position the same three probabilities: only these may be counted, at their rates."""

    class Constant(MaskGIT):
        def forward(self, tokens, classes):
            return torch.tensor([0.62, 0.27, 0.11]).log().expand(*tokens.shape, 3)

    run = Run(
        None, Constant(n_tokens=40, codebook_size=3), 0.0, 1.0, {}, dict(decoding_steps=10, choice_temperature=0.0)
    )
    counts = accepted_probabilities(run, n=100)
    assert counts.sum(axis=1).tolist() == KEPT_EACH_STEP
    assert np.flatnonzero(counts.sum(axis=0)).tolist() == [2, 5, 12]  # bins of 0.05: 0.11, 0.27, 0.62
    assert counts[0].tolist()[12] == 100  # without noise the first to be kept is the most likely
    greedy = counts[:, 12] / counts.sum(axis=1)
    assert greedy[-1] < greedy[0] and 0.3 < counts[:, 12].sum() / counts.sum() < 0.99


def test_guidance_changes_nothing_without_a_class(cell):
    run = load_run(cell)
    guided = run._replace(config=run.config | {"guidance": 3.0})
    np.testing.assert_array_equal(accepted_probabilities(run), accepted_probabilities(guided))


def test_a_new_run_replaces_the_panel_of_its_cell(cell, tmp_path):
    assert export_panels([cell], tmp_path / "panels") == 1
    (file,) = (tmp_path / "panels").iterdir()
    first = file.read_bytes()
    assert len(first) < panels.PANEL_BYTES and file.name.startswith(
        "TwoPatternsGenerated_regular_none_quick_geometry=grid_"
    )
    assert export_panels([cell], tmp_path / "panels") == 1
    assert [f.read_bytes() for f in (tmp_path / "panels").iterdir()] == [first]
    (loaded,) = load_panels(tmp_path / "panels")
    assert loaded["method"] == "regular" and loaded["accepted"].shape == (10, 20)


def test_only_seed_one_has_a_panel_and_large_ones_are_refused(cell, tmp_path, monkeypatch):
    undo = edit(cell / "config.json", seed=2)
    assert export_panels([cell], tmp_path) == 0 and not list(tmp_path.iterdir())
    undo()
    monkeypatch.setattr(panels, "PANEL_BYTES", 1000)
    with pytest.raises(BadInput, match=r"has \d+ bytes, at most 1000 belong into git"):
        export_panels([cell], tmp_path)


@pytest.mark.parametrize("commit", ["0123456789ab-dirty", None])
def test_code_that_was_not_committed_is_refused(cell, tmp_path, commit):
    for place in (cell, tokenizer_of(cell)):
        undo = edit(place / "config.json", commit=commit)
        with pytest.raises(BadInput, match="commit"):
            export_curves([cell], tmp_path / "curves.csv")
        if place == cell:
            with pytest.raises(BadInput, match="commit"):
                export_panels([cell], tmp_path)
        undo()
    assert not list(tmp_path.iterdir())


def test_other_series_of_the_same_name_are_refused(cell, monkeypatch):
    monkeypatch.setattr(panels, "load_dataset", lambda name: two_patterns(n_train=40, n_test=60, seed=1))
    with pytest.raises(BadInput, match="made from other series"):
        panel(cell)


# --- loss curves ---


def test_curves_are_rows_of_the_tokenizers_history(cell, tmp_path):
    table = tmp_path / "curves.csv"
    assert export_curves([cell], table) == 1
    curves = load_curves(table)
    with open(tokenizer_of(cell) / "history.csv", newline="") as f:
        history = list(csv.DictReader(f))
    assert curves.epoch.tolist() == [int(row["epoch"]) for row in history] == [0, 1, 2]
    for name in ("time", "spectrum", "recon_val", "knn_acc"):
        wanted = [float(row[name]) if row[name] else np.nan for row in history]
        np.testing.assert_allclose(curves[name], wanted, rtol=1e-3)
    assert curves.ssl.isna().all()  # the regular arm has no such loss
    changed = set(curves.ablation[0].split())
    assert "epochs=2" in changed and not any(text.startswith("prior") for text in changed)


def test_cells_that_share_a_tokenizer_give_its_curves_once_and_others_stay(cell, tmp_path):
    table = tmp_path / "curves.csv"
    export_curves([cell], table)
    once = table.read_bytes()
    assert export_curves([cell, cell], table) == 1
    assert table.read_bytes() == once
    other = once.decode().replace("TwoPatternsGenerated", "Another").split("\n", 1)[1]
    table.write_text(once.decode() + other)
    assert export_curves([cell], table) == 1
    assert load_curves(table).dataset.value_counts().to_dict() == {"TwoPatternsGenerated": 3, "Another": 3}


def test_long_histories_keep_about_forty_epochs_with_both_ends_and_all_probes(tmp_path):
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", "time", "ssl", "recon_val"])
    writer.writeheader()
    for epoch in range(1001):
        row = dict(epoch=epoch, time=1 / (epoch + 1), ssl=0.0, recon_val=0.5 if epoch % 100 == 0 else "")
        writer.writerow(row)
    (tmp_path / "history.csv").write_text(text.getvalue())
    kept = panels._thinned(tmp_path / "history.csv")
    epochs = [int(row["epoch"]) for row in kept]
    assert 40 <= len(kept) <= 55 and epochs == sorted(set(epochs))
    assert {0, 1, *range(100, 1001, 100)} <= set(epochs)
    assert all("ssl" not in row for row in kept) and kept[-1]["time"] == "0.000999"


# --- the command, and what ships ---


def test_the_command_takes_runs_or_cells(cell, tmp_path, capsys):
    runs = cell.parents[4]
    for place in (runs, cell):
        assert panels.main([str(place), "--out", str(tmp_path)]) == 0
        assert "1 panels and the curves of 1 tokenizers" in capsys.readouterr().out
    assert len(load_panels(tmp_path / "panels")) == 1 and len(load_curves(tmp_path / "curves.csv")) == 3
    assert panels.main([str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "error: no finished cell under" in capsys.readouterr().err


def test_no_panels_and_no_curves_are_none():
    assert load_panels("nowhere") == [] and len(load_curves("nowhere.csv")) == 0


def test_what_ships_is_small_and_whole():
    shipped = load_panels()
    keys = [tuple(p[name] for name in ("dataset", "method", "augmentation", "preset", "ablation")) for p in shipped]
    assert len(set(keys)) == len(keys)
    for found in shipped:
        assert found["accepted"].shape[1] == panels.BINS and len(found["points"]) <= panels.MOST_SERIES
        assert (
            found["real"].shape == (len(found["shown"]), 3, len(found["time"]))
            and np.isfinite(found["generated"]).all()
        )
    curves = load_curves()
    assert not curves.duplicated([*CURVE_KEY, "epoch"]).any()
