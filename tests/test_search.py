"""The search of settings: its trials are changes of the preset, its table is of sets that no result is reported on."""

import re
import sys
from pathlib import Path

import pytest

from ncvqvae_lite import ExperimentConfig, two_patterns
from ncvqvae_lite.errors import NotFound
from ncvqvae_lite.files import read_csv

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import search  # noqa: E402
import search_noise  # noqa: E402


def test_every_trial_changes_the_preset_in_its_own_way():
    cell = {"dataset": "any", "seed": 11, "cas": False}
    folders = {
        name: ExperimentConfig.preset("improved", **cell | changes).cell_folder("runs")
        for name, changes in search.TRIALS.items()
    }
    assert len(set(folders.values())) == len(folders)


@pytest.mark.parametrize("table", [search.TABLE, search_noise.TABLE], ids=lambda file: file.name)
def test_rows_are_of_generated_sets_and_of_folds(table):
    rows = read_csv(table)
    assert len(rows) > 10
    for row in rows:
        assert row["set"] in {*search.GENERATED, *search.SMALL} or row["set"].removesuffix("Fold") in search.FOLDS
        assert row["set"] not in search.FOLDS  # the archive's own splits


def test_rows_name_a_trial_and_a_commit():
    for row in read_csv(search.TABLE):
        assert row["trial"] in search.TRIALS and re.fullmatch("[0-9a-f]{12}", row["commit"])
        assert float(row["fid_kernels"]) >= 0 and float(row["prior_loss"]) > 0


def test_how_the_main_choices_fared_can_be_looked_up():
    """Of tokens, codes, optimiser, order and noise there are rows on two sets, beside rows of the preset then."""
    rows = read_csv(search.TABLE)
    tried = ("half the tokens", "K 64", "AdamW", "AdamW at four times the rate", "random order", "10 steps", "no noise")
    for trial in tried:
        sets = {(row["set"], row["commit"]) for row in rows if row["trial"] == trial}
        presets = {(row["set"], row["commit"]) for row in rows if row["trial"] == "preset"}
        assert len(sets & presets) >= 2, trial


def test_generated_series_are_not_those_that_results_are_of():
    ds = search.data_set("TwoPatternsGenerated")
    assert ds.content_hash != two_patterns().content_hash and len(ds.x_test) == 1000


def test_a_trial_that_only_samples_needs_the_prior_of_the_preset(tmp_path):
    with pytest.raises(NotFound, match="no prior of the trial preset on TwoPatternsGenerated.*run that trial first"):
        search.trial("20 steps", {"decoding_steps": 20}, two_patterns(20, 20), 11, tmp_path)
