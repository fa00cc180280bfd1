"""The example of chapter 00: what a user gets from a run, and that the shipped one is good and says what it is of."""

import json
import re
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import load_dataset, synthetic_control
from ncvqvae_lite.demonstration import DATASET, SETTINGS, failings
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.evaluation import nearest_train
from ncvqvae_lite.evaluation.copies import COPYING
from ncvqvae_lite.experiment import cell_folder, load_run, run_experiment
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_weights import file_hash, shipped_judge
from ncvqvae_lite.files import read_csv
from ncvqvae_lite.prior import n_masked_after
from ncvqvae_lite.thesis import data_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks" / "tools"))

import example

CHANGES = dict(epochs=2, prior_epochs=2, min_steps=0, prior_min_steps=0, fcn_min_steps=0, fcn_epochs=1, cas=False)
CHANGES |= dict(noise="pieces", guidance=1.5, width=16)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The cell folder of a micro run."""
    runs, ds = tmp_path_factory.mktemp("runs"), synthetic_control(n_train=60, n_test=60)
    cfg = ExperimentConfig.preset("quick", dataset=DATASET, **CHANGES)
    run_experiment(cfg, ds, runs)
    return cell_folder(cfg, runs)


@pytest.fixture(scope="module")
def made(finished, tmp_path_factory):
    file = tmp_path_factory.mktemp("made") / "example.npz"
    assert example.main([str(finished), str(file)]) == 0
    return np.load(file)


@pytest.fixture(scope="module")
def shipped():
    return np.load(data_file("results/example.npz"))


def about(stored):
    return json.loads(str(stored["about"]))


@pytest.mark.parametrize(("which", "n_tokens"), [("made", 15), ("shipped", 10)])
def test_an_example_shows_decoding_from_all_hidden_to_none(which, n_tokens, request):
    stored = request.getfixturevalue(which)
    steps, asked = stored["steps"], about(stored)["config"]["decoding_steps"]
    assert steps.shape == (1 + min(asked, n_tokens), 1, n_tokens) and (steps[0] == -1).all() and (steps[-1] >= 0).all()
    for before, after in pairwise(steps):
        assert (after[before >= 0] == before[before >= 0]).all()  # what is decided stays
    assert [(row < 0).sum() for row in steps[1:]] == n_masked_after(n_tokens, asked)
    assert stored["x"].shape == stored["x_hat"].shape == (6, 60) and stored["x_tokens"].shape == (6, 1, n_tokens)
    assert stored["drawn"].shape == stored["decoded"].shape == (60,) and stored["generated"].shape == (96, 60)
    assert np.bincount(stored["classes"]).tolist() == [16] * 6
    assert all(np.isfinite(stored[name]).all() for name in stored if name != "about")


def test_an_example_decodes_its_tokens(finished, made):
    run = load_run(finished)
    tokens = torch.from_numpy(np.concatenate([made["x_tokens"], made["steps"][-1:]])).long().flatten(1)
    series = (run.tokenizer.decode(tokens) * run.std + run.mean)[:, 0].detach().numpy()
    np.testing.assert_allclose(series[:6], made["x_hat"], atol=5e-3)  # float16 in the file
    np.testing.assert_allclose(series[6], made["decoded"], atol=5e-3)


def test_an_example_has_what_a_user_gets(finished, made):
    run, classes = load_run(finished), torch.from_numpy(made["classes"]).long()
    np.testing.assert_allclose(run.sample(1, example.SHOWN, seed=1)[0, 0], made["drawn"], atol=5e-3)
    np.testing.assert_allclose(run.sample(96, classes, seed=1)[:, 0], made["generated"], atol=5e-3)
    assert run.pieces is not None and abs(made["drawn"] - made["decoded"]).max() > 0.1


def test_an_example_says_which_run_it_is_of(finished, made):
    run = load_run(finished)
    assert about(made)["metrics"] == run.metrics
    assert about(made)["config"] == {k: v for k, v in run.config.items() if k not in example.PLACES}


def test_the_shipped_example_is_of_the_naive_arm_of_the_demonstration(shipped):
    config = about(shipped)["config"]
    of_run = ExperimentConfig(**{f.name: config[f.name] for f in fields(ExperimentConfig) if f.name in config})
    assert of_run == ExperimentConfig.preset("quick", dataset=DATASET, seed=1, **SETTINGS)
    naive = {row["metric"]: row["naive"] for row in read_csv(data_file("results/replicate.csv"))}
    assert naive == {name: f"{about(shipped)['metrics'][name]:.4g}" for name in naive}  # what `make replicate` left
    assert re.fullmatch(r"\d+\.\d+\.\d+", config["package_version"])
    assert config["commit"] and "dirty" not in config["commit"]
    assert config["fcn"] == file_hash(shipped_judge(DATASET))
    assert config["data_hash"] == load_dataset(DATASET).content_hash
    assert ".." not in str(shipped["about"])  # where its files lay


def test_the_shipped_series_are_good_and_no_copies(shipped):
    ds, config, metrics = load_dataset(DATASET), about(shipped)["config"], about(shipped)["metrics"]
    first = [int((ds.y_test == k).nonzero()[0, 0]) for k in range(6)]
    np.testing.assert_allclose(shipped["x"], ds.x_test[first, 0], atol=2e-3)
    generated = torch.from_numpy(shipped["generated"].astype(np.float32))[:, None]
    assert ds.x_train.min() - 1 < generated.min() < -1 and 1 < generated.max() < ds.x_train.max() + 1
    scaled = (generated - config["scale_mean"]) / config["scale_std"]
    seen = FCN.load(shipped_judge(DATASET)).probabilities(scaled).argmax(dim=1).numpy()
    assert (seen == shipped["classes"]).mean() > 0.95
    assert not nearest_train(generated, ds.x_test, ds.x_train).copied
    assert failings(metrics) == () and metrics["nearest_train"] < COPYING


def test_an_example_needs_a_run_of_its_data_set(finished):
    run = load_run(finished)
    with pytest.raises(BadInput, match="needs a run of SyntheticControlGenerated, this one is of Wafer"):
        example.example(run._replace(config=run.config | {"dataset": "Wafer"}))
