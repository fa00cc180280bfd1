"""Whole experiments in miniature: what they report, what they leave on disk, what they share, and what they refuse."""

import copy
import errno
import functools
import json
import math
import os
import shutil
import subprocess
import threading
import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import minmax_scale
from torch import nn

from ncvqvae_lite import (
    experiment,
    experiment_cas,
    experiment_cell,
    experiment_fcn,
    experiment_prior,
    experiment_tokenizer,
)
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import from_arrays, two_patterns
from ncvqvae_lite.errors import BadInput, NotFound, RunFolderError, TrainingDiverged, WeakEvidence
from ncvqvae_lite.experiment import (
    cell_folder,
    classification_accuracy_score,
    load_run,
    not_computed,
    run_experiment,
)
from ncvqvae_lite.experiment_cas import class_counts
from ncvqvae_lite.experiment_evaluation import resampled_tokens
from ncvqvae_lite.experiment_noise import noise_stage
from ncvqvae_lite.experiment_prior import sure_temperature
from ncvqvae_lite.experiment_stages import Scaled, scale
from ncvqvae_lite.experiment_tokenizer import judge_tokenizer, new_tokenizer, probe_features
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.files import hold
from ncvqvae_lite.names import SCORES, Score
from ncvqvae_lite.tokenizer import FoldTokenizer

# Everything small: a run takes a second or two.
MICRO = dict(
    dim=8, n_blocks=1, codebook_size=8, epochs=3, min_steps=0, batch_size=16, probe_every=2, projector_width=32,
    whitening_groups=8, prior_dim=8, prior_width=16, prior_depth=1, prior_heads=1, prior_epochs=2, prior_min_steps=0,
    prior_batch_size=32, decoding_steps=2, min_samples=64, fcn_epochs=1, fcn_min_steps=0, cas_epochs=2,
    fcn_lr=1e-3, fcn_batch_size=256, fcn_schedule="cosine",
)  # fmt: skip
SERIES = two_patterns(n_train=40, n_test=60, length=33)


def micro(preset="paper", method="regular", augmentation="none", dataset=SERIES.name, **changes):
    return ExperimentConfig.preset(
        preset, dataset=dataset, method=method, augmentation=augmentation, **(MICRO | changes)
    )


class Finished(NamedTuple):
    cfg: ExperimentConfig
    metrics: dict
    folder: object  # of the cell
    out: object


@pytest.fixture(scope="module", autouse=True)
def _few_class_samples():
    """The classification accuracy score draws 40 series instead of 1000."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment_cas, "class_counts", functools.partial(class_counts, at_least=40))
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def finished(cfg, out):
    return Finished(cfg, run_experiment(cfg, SERIES, out, device="cpu"), cell_folder(cfg, out), out)


@pytest.fixture(scope="module")
def regular(out):
    return finished(micro("paper"), out)


@pytest.fixture(scope="module")
def non_contrastive(out, regular):
    return finished(micro("improved", "vibcreg", "warp", second_fcn=True), out)


@pytest.fixture(params=["regular", "non_contrastive"])
def run(request):
    return request.getfixturevalue(request.param)


def no_training(monkeypatch):
    """From here on every training is an error."""

    def refuse(*arguments, **settings):
        raise AssertionError("something was trained")

    trainings = {experiment_tokenizer: "train_tokenizer", experiment_prior: "train_prior", experiment_fcn: "train_fcn"}
    for module, name in (trainings | {experiment_cas: "train_fcn"}).items():
        monkeypatch.setattr(module, name, refuse)


def files_of(folder):
    """{path: (time of the last change, size)} of all files, locks aside."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != ".lock"]
    return {file.relative_to(folder).as_posix(): (file.stat().st_mtime_ns, file.stat().st_size) for file in files}


# --- what a run reports ---


def test_names_of_the_metrics(regular, non_contrastive):
    tokenizer = "recon_val recon_last_batch val_perplexity val_perplexity_last_batch knn_acc svm_acc train_perplexity"
    fid = "fid fid_reconstruction fid_train_test fid_train fid_test_halves fid_copy fid_jitter fid_resampled"
    wanted = {*tokenizer.split(), *fid.split(), "is", "is_std", "is_real", "class_mix_error", "fcn_accuracy"}
    wanted |= {"sample_perplexity", "sample_coverage", "cas", "cas_final", "codebook_abs_corr", "codebook_abs_cos"}
    wanted |= {"fid_by_class", "is_by_class", "class_accuracy"}
    real = ("", "_train_test", "_test_halves", "_reconstruction", "_resampled")
    wanted |= {f"fid_kernels{of}" for of in (*real, "_copy", "_jitter")}
    wanted |= {f"{score}{of}" for score in ("coverage", "recall") for of in real}
    wanted |= {f"nearest_train{of}" for of in ("", "_jitter", "_resampled", "_low", "_high")}
    assert set(regular.metrics) == wanted
    second = {name.replace("fid", "fid_second") for name in fid.split()} | {"fcn_accuracy_second"}
    noise = {"noise", "noise_distance_without", "noise_distance_with", "noise_gain_error"}
    assert set(non_contrastive.metrics) == wanted | second | noise


def test_metrics_are_finite_floats_in_their_ranges(run):
    for name, value in run.metrics.items():
        assert type(value) is float and math.isfinite(value), name
        shares = ("cas", "cas_final", "class_mix_error", "noise")
        if any(part in name for part in ("acc", "coverage", "recall", "nearest_train")) or name in shares:
            assert 0 <= value <= 1, name
        elif name.startswith("is") and name != "is_std":
            assert 1 <= value <= 4, name
        elif "perplexity" in name:
            assert 1 - 1e-6 <= value <= 8, name
        else:
            assert value >= 0, name


def test_metrics_json_is_what_was_returned(run):
    assert json.loads((run.folder / "metrics.json").read_text()) == run.metrics
    assert all(seconds >= 0 for seconds in json.loads((run.folder / "seconds.json").read_text()).values())


def test_metrics_against_the_files_that_the_run_left(run):
    """Reconstruction, KNN, FID, class mix and sample statistics, computed again from weights and samples."""
    loaded, metrics = load_run(run.folder), run.metrics
    train = SERIES.x_train.double().numpy()
    mean, std = train.mean(), train.std()  # ddof 0
    assert (loaded.mean, loaded.std) == pytest.approx((mean, std), rel=1e-9)
    x_train, x_test = (((x - mean) / std).float() for x in (SERIES.x_train, SERIES.x_test))

    losses = [sum(v.item() for v in loaded.tokenizer.reconstruction_loss(batch)) for batch in x_test.split(16)]
    assert metrics["recon_val"] == pytest.approx(np.average(losses, weights=[16, 16, 16, 12]), rel=1e-5)
    assert metrics["recon_last_batch"] == pytest.approx(losses[-1], rel=1e-5)

    if run.cfg.probe_statistics == "running":
        z = [loaded.tokenizer.features(x).double().numpy() for x in (x_train, x_test)]
        both = minmax_scale(z[0]), (z[1] - z[0].min(axis=0)) / np.ptp(z[0], axis=0)
        knn = KNeighborsClassifier(5).fit(both[0], SERIES.y_train.numpy())
        assert metrics["knn_acc"] == pytest.approx(knn.score(both[1], SERIES.y_test.numpy()), abs=0.02)

    with np.load(run.folder / "samples.npz") as samples:
        x, tokens, classes = samples["x"], samples["tokens"], samples["fcn_class"]
    assert x.shape == (64, 1, 33 if run.cfg.odd_tail else 32) and tokens.shape == (64, loaded.tokenizer.n_tokens)
    decoded = loaded.tokenizer.decode(torch.from_numpy(tokens)).numpy() * std + mean
    if metrics.get("noise"):  # what is added is made of residuals of train series
        residuals = x_train - loaded.tokenizer.decode(loaded.tokenizer.encode(x_train))
        added = ((x - decoded) / std).flatten()
        known = residuals.numpy().flatten()
        assert abs(added[:, None] - [*known, 0]).min(axis=1).max() < 1e-4  # the last piece ends in padding
    else:
        np.testing.assert_allclose(x, decoded, atol=1e-4)
    assert metrics["sample_coverage"] == len(np.unique(tokens)) / 8

    fcn = FCN.load(run.cfg.fcn_folder(run.out) / "fcn.safetensors")
    generated = torch.from_numpy(((x - mean) / std).astype("float32"))[:60]
    splits = [s[..., : x.shape[2]] for s in (x_train, x_test, generated)]
    with torch.no_grad():
        features = [fcn.features(s).double().numpy() for s in splits]
        real, found = (fcn(s).argmax(dim=1).numpy() for s in splits[1:])
    assert metrics["fid"] == pytest.approx(frechet(features[1], features[2]), rel=1e-4)
    assert metrics["fid_train"] == pytest.approx(frechet(features[0], features[2]), rel=1e-4)
    assert metrics["fid_train_test"] == pytest.approx(frechet(features[0], features[1]), rel=1e-4)
    assert np.array_equal(classes, found)
    shares = [np.bincount(c, minlength=4) / 60 for c in (found, real)]
    assert metrics["class_mix_error"] == pytest.approx(abs(shares[0] - shares[1]).sum() / 2)


def frechet(a, b):
    """Frechet distance of features (n, D), by the eigenvalues of the product of the covariances."""
    roots = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).astype(complex) ** 0.5
    return ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * roots.real.sum()


def test_configuration_on_record(run):
    config = json.loads((run.folder / "config.json").read_text())
    assert {name: config[name] for name in vars(run.cfg)} == vars(run.cfg)
    assert config["resolved"] == ({} if run.cfg.preset_name == "paper" else {"order": "random"})
    assert config["class_counts"] == torch.bincount(SERIES.y_train).tolist()
    assert config["data_hash"] == SERIES.content_hash and config["data_source"] == SERIES.source
    assert config["fcn"] == "own" and config["device"] == "cpu" and config["threads"] == torch.get_num_threads()
    assert config["versions"]["torch"] == torch.__version__
    assert (run.folder / config["tokenizer"]).resolve() == run.cfg.tokenizer_folder(run.out).resolve()


# --- folders ---


def test_folders(regular, non_contrastive):
    """fcn, tokenizers and cells; both configurations share the feature net; nothing unfinished is left."""
    out = regular.out
    stages = {"config.json", "history.csv", "metrics.json"}
    cell = stages | {"prior.safetensors", "tokenizer.safetensors", "samples.npz", "seconds.json", "README.md"}
    expected = {regular.cfg.fcn_folder(out): stages | {"fcn.safetensors"}}
    expected[non_contrastive.cfg.fcn_folder(out, 1)] = stages | {"fcn.safetensors"}  # the second feature net
    for run in (regular, non_contrastive):
        expected[run.cfg.tokenizer_folder(out)] = stages | {"tokenizer.safetensors"}
        expected[run.folder] = cell | ({"residuals.safetensors"} if run.metrics.get("noise") else set())
    found = {}
    for path in files_of(out):
        found.setdefault((out / path).parent, set()).add((out / path).name)
    assert found == expected


def test_a_finished_run_is_not_redone(run, monkeypatch):
    before = files_of(run.out)
    no_training(monkeypatch)
    monkeypatch.setattr(experiment, "make_cell", lambda *arguments: pytest.fail("the run was entered"))
    assert run_experiment(run.cfg, SERIES, run.out, device="cpu") == run.metrics
    assert files_of(run.out) == before


def test_two_priors_share_one_tokenizer(regular, monkeypatch):
    calls = []
    train_prior = experiment_prior.train_prior
    no_training(monkeypatch)
    monkeypatch.setattr(
        experiment_prior, "train_prior", lambda *a, **k: calls.append(k["polarity"]) or train_prior(*a, **k)
    )
    other = micro("paper", head="untied", mask_polarity="masked", cas=False)
    metrics = run_experiment(other, SERIES, regular.out, device="cpu")
    assert calls == ["masked"]
    assert cell_folder(other, regular.out) != regular.folder
    shared = "recon_val knn_acc train_perplexity fcn_accuracy fid_reconstruction fid_train_test is_real".split()
    assert all(metrics[name] == regular.metrics[name] for name in shared)
    assert metrics["fid"] != regular.metrics["fid"] and "cas" not in metrics


@pytest.mark.parametrize("head", ["tied", "untied"])
@pytest.mark.parametrize("start", ["codebook", "random"])
def test_where_the_token_embeddings_start(tmp_path, monkeypatch, head, start):
    starts = []
    monkeypatch.setattr(
        experiment_prior, "train_prior", lambda prior, *a, **k: starts.append(prior.table[:-1].detach().clone()) or []
    )
    cfg = micro(cas=False, epochs=1, head=head, prior_start=start)
    run_experiment(cfg, SERIES, tmp_path, device="cpu")
    codebook = load_run(cell_folder(cfg, tmp_path)).tokenizer.quantizer.codebook
    assert torch.equal(starts[0], codebook) == (start == "codebook")
    if start == "random":
        assert 0.6 < float(starts[0].std()) < 1.4  # 64 draws from N(0, 1)


def test_history_files(regular):
    rows = (regular.cfg.tokenizer_folder(regular.out) / "history.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,") and {"total", "recon_val", "knn_acc"} <= set(rows[0].split(","))
    assert [row.split(",")[0] for row in rows[1:]] == ["0", "1", "2", "3"]
    rows = (regular.folder / "history.csv").read_text().splitlines()
    assert {"epoch", "total", "validation"} == set(rows[0].split(",")) and len(rows) == 1 + 1 + 2


def test_other_data_of_the_same_name_are_refused(regular, monkeypatch):
    no_training(monkeypatch)
    before = files_of(regular.out)
    with pytest.raises(BadInput, match="was made from other series named TwoPatternsGenerated.*use another name"):
        run_experiment(regular.cfg, two_patterns(n_train=40, n_test=60, length=33, seed=1), regular.out, device="cpu")
    assert files_of(regular.out) == before


def test_progress(tmp_path):
    seen = []
    run_experiment(
        micro(cas=False, epochs=1, prior_epochs=1), SERIES, tmp_path, device="cpu",
        progress=lambda stage, epoch, epochs, terms, rate: seen.append((stage, epoch, epochs, sorted(terms))),
    )  # fmt: skip
    assert [(stage, epoch, epochs) for stage, epoch, epochs, _ in seen] == [
        ("fcn", 1, 1), ("tokenizer", 1, 1), ("prior", 1, 1)
    ]  # fmt: skip
    assert "commitment" in seen[1][3]


# --- using a run ---


def test_load_run_samples_in_raw_units(tmp_path):
    """Series around 1000 with a spread of 50: samples come out there, in any class, with equal seeds equal."""
    x = 1000 + 50 * SERIES.x_train
    ds = from_arrays(x, SERIES.y_train, 1000 + 50 * SERIES.x_test, SERIES.y_test, name="raw")
    cfg = micro("improved", dataset="raw", cas=False, second_fcn=False, epochs=10)
    run_experiment(cfg, ds, tmp_path, device="cpu")
    run = load_run(cell_folder(cfg, tmp_path))
    assert run.mean == pytest.approx(x.mean().item(), rel=1e-4) and run.std == pytest.approx(x.std().item(), rel=0.01)
    series = run.sample(30, class_index=2, seed=5)
    assert series.shape == (30, 1, 33)
    assert 900 < series.mean() < 1100 and 1 < series.std() < 200
    assert torch.equal(series, run.sample(30, class_index=2, seed=5))
    assert not torch.equal(series, run.sample(30, class_index=torch.arange(30) % 4, seed=5))
    with np.load(cell_folder(cfg, tmp_path) / "samples.npz") as samples:
        assert 900 < samples["x"].mean() < 1100
    moved = shutil.move(tmp_path, tmp_path.with_name("elsewhere"))  # all runs together can be moved
    again = load_run(cell_folder(cfg, moved))
    assert torch.equal(again.sample(30, class_index=2, seed=5), series)


def test_load_run_of_what_is_no_finished_run(tmp_path, regular):
    with pytest.raises(NotFound, match="no finished run in"):
        load_run(tmp_path)
    with pytest.raises(NotFound, match="expected the cell folder"):
        load_run(regular.cfg.tokenizer_folder(regular.out))
    shutil.copytree(regular.folder, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "metrics.json").unlink()
    with pytest.raises(NotFound, match="no finished run in"):
        load_run(tmp_path / "unfinished")


# --- other kinds of data ---


def test_unlabelled_series(tmp_path):
    """Tokenizer, prior, samples and their statistics; no probes and nothing that needs a classifier, and why."""
    ds = from_arrays(SERIES.x_train, x_test=SERIES.x_test, name="unlabelled")
    cfg = micro("improved", "barlowtwins", "gauss", dataset="unlabelled")
    metrics = run_experiment(cfg, ds, tmp_path, device="cpu")
    missing = {"knn_acc", "svm_acc", "fid", "is", "cas", "fid_by_class"}
    assert not missing & set(metrics) and {"recon_val", "sample_perplexity", "train_perplexity"} <= set(metrics)
    assert {"fid_kernels", "coverage", "recall", "nearest_train"} <= set(metrics)  # they need no labels
    assert not_computed(cfg, ds) == dict.fromkeys(missing, "the series have no labels")
    assert not (tmp_path / "fcn").exists()
    assert load_run(cell_folder(cfg, tmp_path)).sample(3).shape == (3, 1, 33)


def test_reasons_for_what_is_not_computed():
    few = from_arrays(SERIES.x_train[:4], [0, 1, 0, 1], SERIES.x_test[:9], [0, 1] * 4 + [0], name="few")
    reasons = not_computed(micro(dataset="few", cas=False), few)
    assert set(reasons) == {"knn_acc", "svm_acc", "fid", "is", "cas", "fid_by_class"}
    assert "fewer than 5 train series" in reasons["knn_acc"] and "fewer than 10 test series" in reasons["fid"]
    assert "fewer than 20 test series" in reasons["is"]
    assert reasons["cas"] == "switched off (cas=false)"
    assert not_computed(micro(), SERIES) == {}


def test_very_few_series(tmp_path):
    few = from_arrays(SERIES.x_train[:4], [0, 1, 0, 1], SERIES.x_test[:9], [0, 1] * 4 + [0], name="few")
    cfg = micro("improved", "vibcreg", "slice", dataset="few")
    metrics = run_experiment(cfg, few, tmp_path, device="cpu")
    assert not {"knn_acc", "svm_acc", "fid", "is"} & set(metrics) and "cas" in metrics


@pytest.mark.parametrize("n_test", [10, 19, 20])
def test_no_inception_score_where_a_split_would_hold_one_series(tmp_path, n_test):
    few = from_arrays(SERIES.x_train, SERIES.y_train, SERIES.x_test[:n_test], SERIES.y_test[:n_test], name="few")
    cfg = micro(dataset="few", cas=False)
    metrics = run_experiment(cfg, few, tmp_path, device="cpu")
    assert "fid" in metrics and ("is" in metrics) == ("is_real" in metrics) == (n_test >= 20)
    assert ("is" in not_computed(cfg, few)) == (n_test < 20)
    if n_test == 20:
        assert metrics["is_real"] > 1  # two series of unlike answers in some split


def test_two_channels(tmp_path):
    x_train, x_test = (torch.cat([x, -x.flip(-1)], dim=1) for x in (SERIES.x_train, SERIES.x_test))
    ds = from_arrays(x_train, SERIES.y_train, x_test, SERIES.y_test, name="two")
    cfg = micro("improved", "vibcreg", "slice", dataset="two")
    metrics = run_experiment(cfg, ds, tmp_path, device="cpu")
    assert {"fid", "is", "cas", "knn_acc"} <= set(metrics)
    assert load_run(cell_folder(cfg, tmp_path)).sample(3, class_index=1).shape == (3, 2, 33)


# --- classification accuracy score ---


def test_class_counts():
    y = torch.tensor([0] * 30 + [2] * 10)
    assert class_counts(y, 3) == [750, 0, 250]  # 25 times as many
    assert class_counts(y, 3, at_least=40) == class_counts(y, 3, at_least=7) == [30, 0, 10]
    assert class_counts(torch.arange(3).repeat(400), 3) == [400, 400, 400]


@pytest.fixture(scope="module")
def levels():
    """Generated and real series of two classes that differ in level: x, y, x_test, y_test."""
    y, y_test = torch.arange(40) % 2, torch.arange(300) % 2
    noise = torch.Generator().manual_seed(0)
    x, x_test = (torch.randn(len(c), 1, 16, generator=noise) + 4.0 * c[:, None, None] for c in (y, y_test))
    return x, y, x_test, y_test


def test_cas_of_good_and_of_mislabelled_series(levels):
    x, y, x_test, y_test = levels
    good = classification_accuracy_score(x, y, x_test, y_test, n_classes=2, epochs=8, batch_size=20, evaluated=1)
    assert good.final > 0.95
    swapped = classification_accuracy_score(x, 1 - y, x_test, y_test, n_classes=2, epochs=8, batch_size=20, evaluated=1)
    assert swapped.final < 0.05


def test_running_cas_by_hand(levels, monkeypatch):
    """v <- 0.01 accuracy + 0.99 v over test batches of 256, the small last one (44 series) counting as a full one."""
    x, y, x_test, y_test = levels
    accuracies = []
    batched = experiment_cas.batched

    def watch(fcn, series):
        logits = batched(fcn, series)
        hits = (logits.argmax(dim=1) == y_test).double().numpy()
        accuracies.extend([hits[:256].mean(), hits[256:].mean()])
        return logits

    monkeypatch.setattr(experiment_cas, "batched", watch)
    score = classification_accuracy_score(x, y, x_test, y_test, n_classes=2, epochs=3, batch_size=20, seed=4)
    assert len(accuracies) == 6
    running = 0.0
    for accuracy in accuracies:
        running = 0.01 * accuracy + 0.99 * running
    assert score.running == pytest.approx(running)
    assert score.final == pytest.approx((256 * accuracies[-2] + 44 * accuracies[-1]) / 300)


# --- warnings ---


def two_channels(*sizes, classes=(10, 10)):
    """Series of two channels with mean 0 and these standard deviations within each; train and test are equal."""
    y = np.repeat(np.arange(len(classes)), classes)
    x = np.random.default_rng(0).normal(size=(len(y), 2, 32))
    x = (x - x.mean(axis=2, keepdims=True)) / x.std(axis=2, keepdims=True) * np.reshape(sizes, (2, 1))
    return from_arrays(x, y, x, y, name="rooms")


def warned(cfg, ds, out):
    """The sentences of a run, each of which must point at the line below that calls `run_experiment`."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run_experiment(cfg, ds, out, device="cpu")
    ours = [w for w in found if w.category is WeakEvidence]
    assert {w.filename for w in ours} <= {__file__}
    return [str(w.message) for w in ours]


@pytest.fixture
def on_rooms(monkeypatch):
    """A configuration for `two_channels`, and a function that gives its feature nets these test accuracies."""
    stage = experiment_cell.fcn_stage

    def accuracies(first, second=1.0):
        monkeypatch.setattr(experiment_cell, "fcn_stage", lambda *a: (stage(*a)[0], second if len(a) == 5 else first))

    accuracies(1.0)
    settings = MICRO | {"cas": False, "second_fcn": True}
    return ExperimentConfig.preset(
        "paper", dataset="rooms", method="regular", augmentation="none", **settings
    ), accuracies


def test_channels_that_the_scaling_makes_nearly_flat_are_named(on_rooms, tmp_path):
    """Deviations a and 1 around one mean: all values have ((a^2 + 1) / 2)^0.5, a tenth of which is a at 0.0711."""
    cfg, _ = on_rooms
    (sentence,) = warned(cfg, two_channels(0.07, 1.0), tmp_path / "a")
    assert sentence.startswith("channel 0 of rooms has standard deviation 0.07 within its typical series,")
    assert "divided by 0.709:" in sentence
    assert warned(cfg, two_channels(0.07, 1.0), tmp_path / "a") == [sentence]  # finished
    assert warned(cfg, two_channels(0.072, 1.0), tmp_path / "b") == []


@pytest.mark.parametrize(
    ("harm", "flat"), [("an outlier", [0, 1]), ("levels", [0, 1]), ("a constant", [1]), ("none", [])]
)
def test_outliers_and_levels_make_channels_flat(on_rooms, tmp_path, harm, flat):
    cfg, _ = on_rooms
    ds = two_channels(1.0, 1.0)
    if harm == "an outlier":
        ds.x_train[3, 0, 5] = 1e6
    elif harm == "levels":
        ds.x_train.add_(100 * torch.arange(20).view(20, 1, 1))
    elif harm == "a constant":
        ds.x_train[:, 1] = 0.5
    assert [int(sentence.split()[1]) for sentence in warned(cfg, ds, tmp_path)] == flat


@pytest.mark.parametrize(("classes", "limit"), [((10, 10), 0.625), ((18, 2), 0.925)])
def test_feature_nets_that_hardly_beat_the_most_frequent_class_are_named(on_rooms, tmp_path, classes, limit):
    """A quarter of the way from 0.5 to 1 is 0.625, from 0.9 to 1 it is 0.925."""
    cfg, accuracies = on_rooms
    ds = two_channels(1.0, 1.0, classes=classes)
    accuracies(limit + 0.001, limit + 0.001)
    assert warned(cfg, ds, tmp_path / "good") == []
    accuracies(limit - 0.001)
    (sentence,) = warned(cfg, ds, tmp_path / "weak")
    assert sentence.startswith(f"the FCN behind fid classifies {limit - 0.001:.0%} of the test series of rooms right")
    assert f"most frequent class {max(classes) / 20:.0%}:" in sentence
    assert warned(cfg, ds, tmp_path / "weak") == [sentence]  # finished
    accuracies(1.0, 0.3)
    (sentence,) = warned(cfg, ds, tmp_path / "second")
    assert sentence.startswith("the FCN behind fid_second classifies 30%")


# --- feature nets from elsewhere ---


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of untrained FCNs: {name: path}."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    nets = {"right": FCN(4), "classes": FCN(3), "channels": FCN(4, channels=2)}
    for name, net in nets.items():
        net.eval().save(folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in nets}


def test_given_weights_make_another_cell(regular, weights, monkeypatch):
    cfg = micro(cas=False)
    own, given = cell_folder(cfg, regular.out), cell_folder(cfg, regular.out, weights["right"])
    assert own != given
    monkeypatch.setattr(experiment_fcn, "train_fcn", lambda *a, **k: pytest.fail("an FCN was trained"))
    metrics = run_experiment(cfg, SERIES, regular.out, weights["right"], device="cpu")
    assert (given / "metrics.json").exists() and not own.exists()
    assert metrics["fid"] != regular.metrics["fid"]
    with torch.no_grad():
        scaled = scale(SERIES, torch.device("cpu"))
        hits = FCN.load(weights["right"])(scaled.x_test).argmax(dim=1) == SERIES.y_test
    assert metrics["fcn_accuracy"] == pytest.approx(hits.double().mean().item())
    assert metrics["recon_val"] == regular.metrics["recon_val"]
    config = json.loads((given / "config.json").read_text())
    assert len(config["fcn"]) == 12


@pytest.mark.parametrize("wrong", ["classes", "channels"])
def test_wrong_weights_are_refused_before_any_work(tmp_path, weights, wrong):
    with pytest.raises(BadInput, match=r"is for . classes and . channel\(s\), TwoPatternsGenerated has 4 and 1"):
        run_experiment(micro(), SERIES, tmp_path, weights[wrong], device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_weights_for_unlabelled_series_are_refused_before_any_work(tmp_path, weights):
    ds = from_arrays(SERIES.x_train, x_test=SERIES.x_test, name="plain")
    with pytest.raises(BadInput, match="plain has no labels.*leave out the FCN weights"):
        run_experiment(micro(dataset="plain"), ds, tmp_path, weights["right"], device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_missing_and_damaged_weights_are_refused_before_any_work(tmp_path):
    with pytest.raises(NotFound, match="no FCN weights at"):
        run_experiment(micro(), SERIES, tmp_path / "runs", tmp_path / "nothing.safetensors", device="cpu")
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(BadInput, match="is not a readable safetensors file"):
        run_experiment(micro(), SERIES, tmp_path / "runs", tmp_path / "bad.safetensors", device="cpu")
    assert not (tmp_path / "runs").exists()


# --- what cannot work ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(dataset="Other"), "the configuration is for Other, the series are TwoPatternsGenerated"),
        (dict(n_fft=128), "n_fft 128 needs series longer than 64 steps"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_work(tmp_path, changes, message):
    with pytest.raises(BadInput, match=message):
        run_experiment(micro(**changes), SERIES, tmp_path, device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "x_train",
            math.nan,
            "x_train holds NaN or infinite values, but TwoPatternsGenerated had none when it was made",
        ),
        ("x_test", math.inf, "x_test holds NaN or infinite values"),
        ("x_train", 2.0, "every value of x_train is 2, expected series that vary"),
        ("y_train", 4, r"y_train holds labels outside 0\.\.3, but"),
        ("y_test", -1, r"y_test holds labels outside 0\.\.3, but"),
    ],
)
def test_series_that_were_edited_into_what_no_data_set_holds_are_refused(tmp_path, name, value, message):
    ds = two_patterns(n_train=8, n_test=8, length=33)
    getattr(ds, name)[:] = value
    with pytest.raises(BadInput, match=message):
        run_experiment(micro(), ds, tmp_path, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_progress_that_is_no_function_is_refused(tmp_path):
    with pytest.raises(BadInput, match="progress must be a function, got True"):
        run_experiment(micro(), SERIES, tmp_path, device="cpu", progress=True)


def test_a_held_folder(regular, tmp_path):
    folder = cell_folder(regular.cfg, tmp_path)
    with hold(folder), pytest.raises(RunFolderError, match="is held by another process: wait, or use") as caught:
        run_experiment(regular.cfg, SERIES, tmp_path, device="cpu")
    assert str(folder) in str(caught.value)
    with hold(regular.folder):  # a finished run is read, whoever holds it
        assert run_experiment(regular.cfg, SERIES, regular.out, device="cpu") == regular.metrics


def test_a_shared_stage_is_waited_for(tmp_path, capsys):
    """A stage that another run is making is not an error: say so, and go on when it is free."""
    held, go_on, folder = threading.Event(), threading.Event(), tmp_path / "stage"

    def other_run():
        with hold(folder):
            held.set()
            go_on.wait(timeout=60)

    other = threading.Thread(target=other_run)
    other.start()
    assert held.wait(timeout=60)
    threading.Timer(0.2, go_on.set).start()
    with hold(folder, wait=True):
        assert go_on.is_set()
    other.join()
    assert f"waiting for another process that makes {folder}" in capsys.readouterr().out


@pytest.mark.parametrize("changed", ["device", "versions"])
def test_a_checkpoint_from_elsewhere_is_not_continued(tmp_path, changed):
    """Half a training here and half on another device would give numbers that belong to neither."""

    def stop(stage, epoch, *rest):
        if stage == "tokenizer":
            raise KeyboardInterrupt

    cfg = micro(cas=False)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(cfg, SERIES, tmp_path, device="cpu", progress=stop, checkpoint_seconds=0)
    folder = cfg.tokenizer_folder(tmp_path)
    (folder / "tokenizer.checkpoint").write_bytes(b"made elsewhere")
    config = json.loads((folder / "config.json").read_text())
    config[changed] = "something else"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=f"holds a checkpoint made with {changed} something else"):
        run_experiment(cfg, SERIES, tmp_path, device="cpu")
    (folder / "tokenizer.checkpoint").unlink()
    assert "recon_val" in run_experiment(cfg, SERIES, tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "the disk is read-only"), (errno.EACCES, "is not permitted")],
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer.checkpoint", "tokenizer.safetensors", "samples.npz"])
def test_a_disk_that_cannot_be_written(tmp_path, monkeypatch, file, code, reason):
    """Whatever is written when the disk gives up, the error is one sentence that names a folder and the reason."""
    replace = os.replace

    def give_up(source, target):
        if os.path.basename(target) == file:
            raise OSError(code, os.strerror(code), str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", give_up)
    cfg = micro(cas=False, epochs=1, prior_epochs=1, dataset="plain")
    ds = from_arrays(SERIES.x_train, x_test=SERIES.x_test, name="plain")
    with pytest.raises(RunFolderError, match=reason) as caught:
        run_experiment(cfg, ds, tmp_path, device="cpu")
    assert str(caught.value).startswith(f"cannot write to {tmp_path}") and "\n" not in str(caught.value)
    assert not (cell_folder(cfg, tmp_path) / "metrics.json").exists()


def test_a_disk_that_fills_up_while_torch_writes(tmp_path, monkeypatch):
    def fill_up(content, file):
        raise RuntimeError("[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed: file write failed")

    monkeypatch.setattr(torch, "save", fill_up)
    with pytest.raises(RunFolderError, match="the disk is full: free some space"):
        run_experiment(micro(), SERIES, tmp_path, device="cpu")


def test_a_file_where_the_runs_should_go(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(RunFolderError, match="a part of that path is a file"):
        run_experiment(micro(), SERIES, tmp_path / "runs", device="cpu")


def test_a_diverging_run_is_left_unfinished(tmp_path):
    cfg = micro(lr=1e30, epochs=4)
    with pytest.raises(TrainingDiverged, match="the loss became NaN or infinite at step"):
        run_experiment(cfg, SERIES, tmp_path, device="cpu")
    assert not (cfg.tokenizer_folder(tmp_path) / "metrics.json").exists()
    assert not (cfg.tokenizer_folder(tmp_path) / "tokenizer.safetensors").exists()


# --- probes ---


def untrained(cfg):
    torch.manual_seed(3)
    tokenizer = new_tokenizer(cfg, SERIES)
    with torch.no_grad():
        tokenizer.train().mean_codes(scale(SERIES, "cpu").x_train)  # so that running statistics exist
    return tokenizer


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        (dict(probe_statistics="running"), False),
        (dict(probe_statistics="batch"), False),
        (dict(probe_statistics="batch", reproduce_probe_leak=True), True),
    ],
)
def test_only_the_leak_lets_a_probe_move_the_tokenizer(changes, moves):
    cfg, scaled = micro(**changes), scale(SERIES, "cpu")
    tokenizer = untrained(cfg)
    before = copy.deepcopy(tokenizer.state_dict())
    values = judge_tokenizer(cfg, tokenizer, scaled, cfg.epochs, 2)
    assert {"recon_val", "recon_last_batch", "val_perplexity", "knn_acc", "svm_acc"} <= set(values)
    changed = {name for name, value in tokenizer.state_dict().items() if not torch.equal(value, before[name])}
    weights = {name for name, _ in tokenizer.named_parameters()}
    assert not changed & weights
    assert bool(changed) == moves
    if moves:
        assert "quantizer.codebook" in changed and "encoder.layers.1.running_mean" in changed


@pytest.mark.parametrize("leak", [False, True])
def test_probes_do_not_depend_on_the_global_random_state(leak):
    """... even where they restart codes: in train mode, with a threshold that no code reaches."""
    cfg = micro(probe_statistics="batch", expire_below=1e6, reproduce_probe_leak=leak)
    found = []
    for seed in (1, 2):
        tokenizer = untrained(cfg)
        torch.manual_seed(seed)
        found.append(probe_features(cfg, tokenizer, scale(SERIES, "cpu")))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_probes_with_batch_statistics_are_not_those_of_eval_mode():
    scaled, kinds = scale(SERIES, "cpu"), ("batch", "running")
    features = [probe_features(micro(probe_statistics=kind), untrained(micro()), scaled) for kind in kinds]
    assert [f.shape for pair in features for f in pair] == [(40, 8), (60, 8)] * 2
    assert not torch.allclose(features[0][0], features[1][0], atol=1e-3)


def test_rows_of_the_probe_features_belong_to_their_labels():
    """The train split is shuffled for the probe's batches, and put in order again."""

    class FirstSteps(nn.Module):
        def features(self, x, generator=None):
            return x[:, 0, :3]

        mean_codes = features

    scaled = scale(SERIES, "cpu")
    for kind in ("batch", "running"):
        train, test = probe_features(micro(probe_statistics=kind), FirstSteps(), scaled)
        assert torch.equal(train, scaled.x_train[:, 0, :3]) and torch.equal(test, scaled.x_test[:, 0, :3])


def test_probes_come_every_few_epochs_and_at_the_end():
    cfg, tokenizer, scaled = micro(probe_every=4), untrained(micro()), scale(SERIES, "cpu")
    few = Scaled(scaled.x_train[:8], None, scaled.x_test[:4], None, 0.0, 1.0)
    judged = [epoch for epoch in range(11) if judge_tokenizer(cfg, tokenizer, few, 10, epoch)]
    assert judged == [0, 4, 8, 10]


def test_the_commit_is_dirty_where_the_package_is(tmp_path, monkeypatch):
    from ncvqvae_lite import experiment_folders

    def git(*command):
        identity = ("-c", "user.name=t", "-c", "user.email=t@t")
        return subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True, text=True)

    (tmp_path / "package").mkdir()
    code, table = tmp_path / "package" / "room.py", tmp_path / "table.csv"
    code.write_text("1\n")
    table.write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setattr(experiment_folders, "__file__", str(code))
    head = git("rev-parse", "--short=12", "HEAD").stdout.strip()
    assert experiment_folders.commit() == head
    table.write_text("2\n")  # results may be added while runs go on
    assert experiment_folders.commit() == head
    code.write_text("2\n")
    assert experiment_folders.commit() == f"{head}-dirty"
    git("checkout", "-q", "package")
    code.with_name("new.py").write_text("1\n")
    assert experiment_folders.commit() == f"{head}-dirty"


# --- VICReg ---


def test_vicreg_trains_with_its_own_loss(tmp_path):
    """25, 25, 1 and 0.01 in all, no whitening; its covariance is that of VICReg, not the normalised one of VIbCReg."""
    cfg = micro("quick", "vicreg", "warp", vicreg_cov=3.0)
    a, b = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    loss = experiment_tokenizer.ssl_loss_of(cfg)(a, b)
    covariances = [torch.cov(z.T) for z in (a, b)]
    off_diagonal = sum((c.square().sum() - c.diagonal().square().sum()) / 8 for c in covariances)
    hinge = sum(torch.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean() for z in (a, b))
    expected = 0.01 * (25 * (a - b).square().mean() + 25 * hinge + 3 * off_diagonal)
    torch.testing.assert_close(loss, expected)
    assert isinstance(experiment_tokenizer.branch_of(cfg, "cpu").projector.whiten, nn.Identity)
    metrics = run_experiment(cfg, SERIES, tmp_path, device="cpu")
    assert metrics["recon_val"] > 0
    assert (cfg.tokenizer_folder(tmp_path) / "metrics.json").exists()


def test_simclr_trains_with_its_own_loss(tmp_path):
    cfg = micro("quick", "simclr", "warp", simclr_tau=0.5, simclr_weight=2.0)
    a, b = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    u = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
    logits = (u @ u.T / 0.5).fill_diagonal_(-torch.inf)
    partner = torch.arange(32).roll(16)
    expected = 2 * torch.nn.functional.cross_entropy(logits, partner)
    torch.testing.assert_close(experiment_tokenizer.ssl_loss_of(cfg)(a, b), expected)
    assert isinstance(experiment_tokenizer.branch_of(cfg, "cpu").projector.whiten, nn.Identity)
    assert run_experiment(cfg, SERIES, tmp_path, device="cpu")["recon_val"] > 0


# --- files that a kill leaves, scores that fail ---


def test_half_written_files_of_a_killed_process_go(tmp_path):
    cfg = micro()
    stages = [cfg.fcn_folder(tmp_path), cfg.tokenizer_folder(tmp_path), cell_folder(cfg, tmp_path)]
    for folder in stages:
        folder.mkdir(parents=True)
        (folder / "some.checkpoint.12345.partial").write_bytes(b"half")
    run_experiment(cfg, SERIES, tmp_path, device="cpu")
    assert not list(tmp_path.rglob("*.partial")) and not list(tmp_path.rglob("*.checkpoint"))


def test_a_score_that_needs_the_feature_net_is_left_out_where_there_is_none(tmp_path, monkeypatch):
    seen = Score("seen", needs=("fcn",), compute=lambda evidence: evidence.probabilities["generated"].mean())
    monkeypatch.setitem(SCORES, "seen", seen)
    few = from_arrays(SERIES.x_train, SERIES.y_train, SERIES.x_test[:9], SERIES.y_test[:9], name="few")
    assert "seen" not in run_experiment(micro(dataset="few"), few, tmp_path, device="cpu")
    assert "seen" in run_experiment(micro(), SERIES, tmp_path, device="cpu")


def test_a_score_that_gives_no_number_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(SCORES, "hopeless", Score("hopeless", compute=lambda evidence: float("nan")))
    with pytest.raises(BadInput, match="the score hopeless is nan, expected a finite number"):
        run_experiment(micro(), SERIES, tmp_path, device="cpu")


# --- how the stages are trained ---


def test_settings_of_a_training_reach_it(tmp_path, monkeypatch):
    """Schedule, average and steps of both stages, under their names in the configuration."""
    seen = {}
    for module, name in ((experiment_tokenizer, "train_tokenizer"), (experiment_prior, "train_prior")):
        train = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, name=name, train=train, **k: seen.update({name: k}) or train(*a, **k)
        )
    cfg = micro(schedule="one-cycle", average=0.5, lr=0.002, prior_average=0.9, prior_lr=0.003, prior_batch_size=16)
    plain = run_experiment(micro(), SERIES, tmp_path, device="cpu")
    metrics = run_experiment(cfg, SERIES, tmp_path, device="cpu")
    wanted = {
        "train_tokenizer": dict(schedule="one-cycle", average=0.5, lr=0.002, batch_size=16, epochs=3),
        "train_prior": dict(schedule="cosine", average=0.9, lr=0.003, batch_size=16, epochs=2),
    }
    assert {name: {key: seen[name][key] for key in wanted[name]} for name in wanted} == wanted
    assert metrics["recon_val"] != plain["recon_val"]


# --- how samples are drawn ---


def test_classes_have_their_shares_of_train_unless_one_is_asked_for(non_contrastive, regular, monkeypatch):
    asked = []

    def sample(self, n, class_index=None, **how):
        asked.append((class_index, how["order"]))
        return torch.zeros(n, self.n_tokens, dtype=torch.int64)

    monkeypatch.setattr("ncvqvae_lite.prior.MaskGIT.sample", sample)
    counts = torch.bincount(SERIES.y_train)
    load_run(non_contrastive.folder).sample(80)
    classes, order = asked.pop()
    assert (torch.bincount(classes, minlength=4) - 2 * counts).abs().max() == 0 and order == "random"
    assert not torch.equal(classes, classes.sort().values)  # not one class after the other
    load_run(non_contrastive.folder).sample(5, class_index=2)
    load_run(regular.folder).sample(5)
    assert asked == [(2, "random"), (None, "confidence")]


class Silent(torch.nn.Module):
    """A tokenizer of one code that gives back nothing, or the whole series that it has last seen."""

    grid, codebook_size, out_length = (1, 4), 1, 32

    def __init__(self, gives_back=0.0):
        super().__init__()
        self.gives_back = gives_back

    def encode(self, x):
        self.seen = x
        return torch.zeros(len(x), 4, dtype=torch.int64)

    def decode(self, tokens):
        return self.gives_back * self.seen


def test_noise_is_added_where_it_brings_reconstructions_nearer(tmp_path):
    x = torch.randn(60, 1, 32, generator=torch.Generator().manual_seed(0))
    cfg, scaled = micro("improved"), Scaled(x, None, x, None, 0.0, 1.0)
    pieces, found = noise_stage(cfg, scaled, Silent(), tmp_path)
    assert found["noise"] == 1 and found["noise_distance_with"] < found["noise_distance_without"] / 2
    assert (tmp_path / "residuals.safetensors").exists()
    drawn = pieces.draw(torch.zeros(50, 4, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert drawn.std().item() == pytest.approx(1, rel=0.1)
    perfect = noise_stage(cfg, scaled, Silent(1.0), tmp_path / "none")
    assert perfect[0] is None and perfect[1]["noise"] == 0
    assert noise_stage(micro("paper"), scaled, Silent(), tmp_path / "none") == (None, {})
    few = scaled._replace(x_train=x[:19])
    assert noise_stage(cfg, few, Silent(), tmp_path / "none") == (None, {})


@pytest.mark.parametrize(("gains", "taken"), [([0.3, 0.1, 0.2, 0.2], 1), ([0.3, -0.2, 0.2, 0.0], 0), ([-0.1] * 4, 0)])
def test_noise_is_added_where_halvings_agree(monkeypatch, tmp_path, gains, taken):
    """Mean gains of .2, .075 and -.1 with standard errors of .04, .11 and 0."""
    distances = np.array([[1.0, 1.0 - gain] for gain in gains])
    monkeypatch.setattr("ncvqvae_lite.experiment_noise.distances_without_and_with", lambda *arguments: distances)
    x = torch.randn(60, 1, 32, generator=torch.Generator().manual_seed(0))
    pieces, found = noise_stage(micro("improved"), Scaled(x, None, x, None, 0.0, 1.0), Silent(), tmp_path)
    assert found["noise"] == taken and (pieces is not None) == bool(taken)
    assert found["noise_gain_error"] == pytest.approx(stats.sem(gains))


def test_what_is_added_comes_back_with_the_run(tmp_path):
    cfg = micro("improved", noise="pieces", cas=False)
    run_experiment(cfg, SERIES, tmp_path, device="cpu")
    run = load_run(cell_folder(cfg, tmp_path))
    assert run.pieces is not None
    plain = run._replace(pieces=None)
    assert torch.equal(run.sample(4, seed=3), run.sample(4, seed=3))
    assert not torch.allclose(run.sample(4, seed=3), plain.sample(4, seed=3))
    with np.load(cell_folder(cfg, tmp_path) / "samples.npz") as samples:
        assert samples["x_by_class"].shape == (60, 1, 33)
        assert np.bincount(samples["class"], minlength=4).sum() == 60


class Sure(FoldTokenizer):
    """Draws its tokens at temperature 0, nearly."""

    def token_logits(self, x):
        return 1e4 * super().token_logits(x)


def test_resampled_tokens_are_decoded_train_series():
    tokenizer, scaled = Sure(33, dim=8, n_blocks=1, codebook_size=8).eval(), scale(SERIES, torch.device("cpu"))
    found = resampled_tokens(tokenizer, scaled.x_train, 10)
    decoded = tokenizer.decode(tokenizer.encode(scaled.x_train))
    assert (found[:, None] - decoded[None]).abs().amax(dim=(2, 3)).min(dim=1).values.max() < 1e-4


# --- how random tokens are ---


def test_temperature_at_which_tokens_are_sure():
    logits = -5 * torch.rand(50, 6, 7, generator=torch.Generator().manual_seed(0))
    temperature = sure_temperature(logits, 0.8)
    found = torch.softmax(logits / temperature, dim=-1).amax(dim=-1).mean().item()
    assert 0 < temperature < 1 and found == pytest.approx(0.8, abs=2e-3) and found >= 0.8
    assert sure_temperature(100 * logits, 0.8) == 1.0  # sure as they are
    assert sure_temperature(0.1 * logits, 0.8) == pytest.approx(temperature / 10, rel=0.01)


@pytest.mark.parametrize(("channels", "length"), [(1, 16), (3, 33), (2, 150), (1, 2048)])
def test_improved_runs_on_series_of_any_shape(channels, length, tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, channels, length, generator=generator).cumsum(dim=2)
    ds = from_arrays(x[:20], [0, 1] * 10, x[20:], [0, 1] * 6, name="any")
    cfg = micro("improved", dataset="any", cas=False, codebook_size=0, prior_depth=0)
    metrics = run_experiment(cfg, ds, tmp_path, device="cpu")
    assert {"fid_kernels", "coverage", "recall", "nearest_train", "noise"} <= set(metrics)
    run = load_run(cell_folder(cfg, tmp_path))
    assert run.tokenizer.codebook_size == 64 and len(run.prior.blocks) == 2
    assert run.sample(3).shape == (3, channels, length)
