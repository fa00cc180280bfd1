"""The command line: a mistake is one line and a code, before any training; a run prints its table; doctor; weights."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from ncvqvae_lite import (
    cli,
    cli_doctor,
    cli_options,
    cli_progress,
    experiment,
    experiment_cas,
    experiment_fcn,
    experiment_prior,
    experiment_tokenizer,
    fcn_weights,
)
from ncvqvae_lite.cli import main
from ncvqvae_lite.cli_campaign import Run
from ncvqvae_lite.cli_replicate import Replicate
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput, RunFolderError, WeakEvidence
from ncvqvae_lite.fcn import FCN
from ncvqvae_lite.fcn_weights import file_hash
from ncvqvae_lite.names import METHODS, SCORES, Score, function_of
from ncvqvae_lite.thesis import OWN_FCN, author_runs

ROOT = Path(__file__).resolve().parents[1]
MICRO = {
    "epochs": 2, "prior_epochs": 2, "fcn_epochs": 1, "cas_epochs": 1, "probe_every": 1, "dim": 16, "n_blocks": 1,
    "prior_width": 32, "prior_depth": 1, "prior_heads": 1, "decoding_steps": 2, "min_samples": 16, "batch_size": 20,
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(request, monkeypatch, tmp_path):
    """No data, weights or cache of the machine; a terminal width that does not depend on where the tests run."""
    monkeypatch.delenv("NCVQVAE_DATA", raising=False)
    if "reference_fcn" not in request.fixturenames:
        monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def no_training(monkeypatch):
    """Any training fails the test."""

    def train(*_, **__):
        pytest.fail("a training was started")

    trainings = {experiment_tokenizer: "train_tokenizer", experiment_prior: "train_prior", experiment_fcn: "train_fcn"}
    for module, name in (trainings | {experiment_cas: "train_fcn"}).items():
        monkeypatch.setattr(module, name, train)


def tiny_arrays():
    """40 train and 20 test series of 32 steps, 4 classes, as the arrays of an .npz file."""
    ds = two_patterns(40, 20, 32)
    return {
        "X_train": ds.x_train[:, 0].numpy(), "y_train": ds.y_train.numpy(),
        "X_test": ds.x_test[:, 0].numpy(), "y_test": ds.y_test.numpy(),
    }  # fmt: skip


def write_tiny(folder, **changes):
    """Tiny.npz in `folder`; a change replaces an array, None leaves it out."""
    folder.mkdir(exist_ok=True)
    arrays = {name: array for name, array in (tiny_arrays() | changes).items() if array is not None}
    np.savez(folder / "Tiny.npz", **arrays)
    return folder


def settings(**changes):
    return ["--set", *(f"{name}={str(value).lower()}" for name, value in (MICRO | changes).items())]


def on_tiny(data, out, *more, **changes):
    """A replicate command on Tiny.npz that trains for a moment."""
    command = ["replicate", "--dataset", "Tiny", "--preset", "paper", "--data", str(data), "--out", str(out), *more]
    return [*command, *settings(**changes)]


def captured(command):
    """(code, stdout, stderr) of a command in this process, for fixtures that capsys does not serve."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(command)
    return code, out.getvalue(), err.getvalue()


def assert_user_error(capsys, command, *words):
    """The command ends with code 2 and one line on stderr that holds all the words."""
    assert main(command) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert not set("╭│╰\x1b") & set(err) and "Traceback" not in err
    for word in words:
        assert word in err, err


# --- mistakes on the command line ---

COMMAND_LINES = {
    "unknown command": (["replicat"], ["'replicat'", "did you mean replicate?", "doctor, evaluate"]),
    "unknown option before the command": (["--seed", "1"], ["--seed", "ncvqvae --help"]),
    "unknown option": (["replicate", "--sead", "3"], ["--sead 3", "did you mean --seed", "ncvqvae replicate --help"]),
    "unknown option, with =": (["replicate", "--metod=regular"], ["--metod=regular", "did you mean --method"]),
    "a setting as an option": (["replicate", "--epochs", "3"], ["--epochs", "--set epochs="]),
    "stray word": (["replicate", "ECG5000"], ["unknown argument ECG5000"]),
    "beginning of an option": (["replicate", "--dat", "x"], ["unknown argument --dat x", "did you mean --data"]),
    "option without a value": (["replicate", "--data"], ["missing value", "--data"]),
    "option without its first value": (["campaign", "run", "smoke", "--seeds"], ["--seeds: missing value S"]),
    "value for a switch": (["replicate", "--notebook=yes"], ["--notebook", "'yes'"]),
    "seed that is no number": (["replicate", "--seed", "one"], ["--seed", "expected a whole number, got 'one'"]),
    "seed that is no whole number": (["replicate", "--seed", "1.5"], ["expected a whole number, got '1.5'"]),
    "method": (
        ["replicate", "--method", "vibcregg"],
        ["unknown method 'vibcregg'", "did you mean vibcreg?", "regular"],
    ),
    "augmentation": (
        ["replicate", "--method", "vibcreg", "--augmentation", "wrap"],
        ["unknown augmentation 'wrap'", "did you mean warp?", "gauss"],
    ),
    "preset": (["replicate", "--preset", "papper"], ["unknown preset 'papper'", "did you mean paper?", "improved"]),
    "regular with an augmentation": (["replicate", "--augmentation", "gauss"], ["'regular'", "'gauss'", "use 'none'"]),
    "SSL without an augmentation": (["replicate", "--method", "barlowtwins"], ["'barlowtwins'", "warp, slice, gauss"]),
    "--data for the generated set": (["replicate", "--data", "."], ["TwoPatternsGenerated", "--dataset"]),
    "data folder": (["replicate", "--dataset", "Tiny", "--data", "nowhere"], ["nowhere", "Tiny"]),
    "weights file": (["replicate", "--fcn", "nowhere.safetensors"], ["nowhere.safetensors", "ncvqvae fcn import"]),
    "list with another type": (["campaign", "run", "smoke", "--seeds", "1", "x"], ["a whole number, got 'x'"]),
    "number with another type": (
        ["campaign", "run", "smoke", "--hours-per-job", "x"],
        ["expected a finite number, got 'x'"],
    ),
    "number below zero": (["campaign", "run", "smoke", "--hours-per-job", "-1"], ["must be positive, got -1.0"]),
    "engine": (["campaign", "run", "smoke", "--engine", "slurm"], ["--engine", "'slurm'", "snakemake", "inline"]),
    "campaign without a name": (["campaign", "status"], ["NAME_OR_FILE", "ncvqvae campaign status --help"]),
    "--set without =": (["replicate", "--set", "epochs"], ["'epochs'", "FIELD=VALUE"]),
    "--set without anything": (["replicate", "--set"], ["FIELD=VALUE"]),
    "--set of an unknown field": (["replicate", "--set", "epoch=3"], ["'epoch'", "did you mean epochs"]),
    "--set of an option": (["replicate", "--set", "seed=3"], ["--seed 3"]),
    "--set twice": (["replicate", "--set", "epochs=3", "--set", "epochs=4"], ["epochs twice", "3 and 4"]),
    "--set int": (["replicate", "--set", "epochs=3.5"], ["epochs", "a whole number", "'3.5'"]),
    "--set float": (["replicate", "--set", "lr=fast"], ["lr", "a finite number", "'fast'"]),
    "--set float NaN": (["replicate", "--set", "lr=nan"], ["lr", "a finite number", "'nan'"]),
    "--set bool": (["replicate", "--set", "cas=maybe"], ["cas", "true or false", "'maybe'"]),
    "--set choice": (["replicate", "--set", "head=tide"], ["head 'tide'", "did you mean tied", "untied"]),
    "--set zero": (["replicate", "--set", "batch_size=0"], ["batch_size must be 1 or more", "0"]),
    "fcn with another action": (["fcn", "export", "a.ckpt"], ["'fcn export'", "fcn import", "fcn fetch"]),
    "fcn fetch of another set": (["fcn", "fetch", "--datasets", "Wafer", "FordC"], ["'FordC'", "did you mean Ford"]),
    "fcn import of nothing": (["fcn", "import"], ["FILE_OR_FOLDER"]),
    "fcn import of a missing file": (["fcn", "import", "nowhere.ckpt"], ["no checkpoint at nowhere.ckpt"]),
    "doctor with an option": (["doctor", "--fast"], ["--fast", "ncvqvae doctor --help"]),
}


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_mistakes_on_the_command_line(case, capsys, no_training):
    command, words = COMMAND_LINES[case]
    assert_user_error(capsys, command, *words)


def test_mistakes_are_found_before_torch_is_loaded():
    """In a process of its own."""
    commands = [
        ["replicate", "--sead", "3"],
        ["replicate", "--method", "vibcregg"],
        ["replicate", "--set", "epochs=x"],
        ["replicate", "--fcn", "nowhere.safetensors"],
    ]
    code = (
        f"import sys; from ncvqvae_lite.cli import main; print(*[main(c) for c in {commands}], 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.split() == ["2", "2", "2", "2", "False"], ran.stderr
    assert [line[:7] for line in ran.stderr.splitlines()] == ["error: "] * 4


# --- mistakes in data ---


def nan_at(rows, split="X_train", value=np.nan):
    x = tiny_arrays()[split]
    x[rows, 3] = value
    return {split: x}


BAD_ARRAYS = {
    "15 steps": (
        {"X_train": np.eye(15), "y_train": np.arange(15), "X_test": np.eye(15), "y_test": np.arange(15)},
        ["15 steps", "16"],
    ),
    "NaN": (nan_at([3, 17]), ["x_train", "NaN", "2 of 40", "rows 3, 17"]),
    "infinite": (nan_at([5], "X_test", np.inf), ["x_test", "infinite", "1 of 20", "rows 5"]),
    "test of another length": ({"X_test": np.ones((20, 31))}, ["32 steps", "31 steps"]),
    "labels that train lacks": ({"y_test": np.arange(20) % 6}, ["y_test", "4, 5", "0, 1, 2, 3"]),
    "count of labels": ({"y_train": np.arange(39) % 4}, ["39 labels", "40 series"]),
    "one class": ({"y_train": np.ones(40), "y_test": np.ones(20)}, ["one class 1"]),
    "one series": ({"X_train": np.arange(32.0)[None], "y_train": [0]}, ["1 series", "at least 2"]),
    "no series": ({"X_train": np.ones((0, 32)), "y_train": []}, ["x_train is empty"]),
    "no test split": ({"X_test": None, "y_test": None}, ["without a test split"]),
    "labels of one split": ({"y_test": None}, ["y_test"]),
    "constant": ({"X_train": np.ones((40, 32))}, ["every value of x_train is 1"]),
    "text": ({"X_train": np.full((40, 32), "a")}, ["real numbers"]),
    "pickled lists": ({"X_train": np.array([[1.0], [1.0, 2.0]], dtype=object)}, ["Tiny.npz"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_mistakes_in_arrays(case, capsys, tmp_path, no_training):
    changes, words = BAD_ARRAYS[case]
    data = write_tiny(tmp_path / "data", **changes)
    assert_user_error(capsys, on_tiny(data, tmp_path / "runs"), "Tiny", *words)
    assert not (tmp_path / "runs").exists()


def row(length, label=1):
    return "\t".join([str(label), *(f"{np.sin(i * label):.3f}" for i in range(length))])


BAD_FILES = {
    "empty text": ({"Tiny_TRAIN.tsv": "", "Tiny_TEST.tsv": row(20)}, ["Tiny_TRAIN.tsv is empty"]),
    "unequal lengths": (
        {"Tiny_TRAIN.tsv": f"{row(20)}\n{row(22, 2)}", "Tiny_TEST.tsv": row(20)},
        ["line 2 has 22 values", "the first line 20 (unequal lengths)"],
    ),
    "a word among the values": (
        {"Tiny_TRAIN.tsv": f"{row(20)}\n{row(19, 2)}\tx", "Tiny_TEST.tsv": row(20)},
        ["Tiny_TRAIN.tsv, line 2", "'x'"],
    ),
    "no test file": ({"Tiny_TRAIN.tsv": row(20)}, ["Tiny_TEST.tsv is missing"]),
    "empty npz": ({"Tiny.npz": ""}, ["Tiny.npz"]),
    "corrupt npz": ({"Tiny.npz": "PK\x03\x04 and then nothing"}, ["Tiny.npz is no .npz"]),
    "another name": ({"Tinny.npz": ""}, ["Tiny is not in", "holds Tinny"]),
    "empty folder": ({}, ["holds no data set"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_mistakes_in_files(case, capsys, tmp_path, no_training):
    files, words = BAD_FILES[case]
    data = tmp_path / "data"
    data.mkdir()
    for name, text in files.items():
        (data / name).write_text(text)
    assert_user_error(capsys, on_tiny(data, tmp_path / "runs"), *words)
    assert not (tmp_path / "runs").exists()


def test_truncated_npz(capsys, tmp_path, no_training):
    file = write_tiny(tmp_path / "data") / "Tiny.npz"
    file.write_bytes(file.read_bytes()[:-500])
    assert_user_error(capsys, on_tiny(file.parent, tmp_path / "runs"), "Tiny.npz is no .npz")


@pytest.mark.skipif(not find_spec("aeon"), reason="aeon is not installed (the extra `data`)")
def test_unknown_data_set_is_set_beside_the_archives_names(capsys, tmp_path, no_training):
    assert_user_error(
        capsys, ["replicate", "--dataset", "ECG500", "--out", str(tmp_path)], "ECG500", "nearest: ECG5000"
    )


def test_data_set_with_a_name_that_is_none(capsys, tmp_path, no_training):
    assert_user_error(capsys, ["replicate", "--dataset", "a/b", "--out", str(tmp_path)], "'a/b'", "letters")


def test_settings_that_do_not_fit_the_series(capsys, tmp_path, no_training):
    data = write_tiny(tmp_path / "data")
    assert_user_error(capsys, on_tiny(data, tmp_path / "runs", n_fft=64), "n_fft 64", "32")


# --- run folders ---


def cell_of(data, out, **changes):
    cfg = ExperimentConfig.preset("paper", dataset="Tiny", **MICRO | changes)
    return cfg.cell_folder(out)


def test_run_folder_held_by_another_process(capsys, tmp_path, no_training):
    data, out = write_tiny(tmp_path / "data"), tmp_path / "runs"
    folder = cell_of(data, out)
    folder.mkdir(parents=True)
    code = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n print('held', flush=True); sys.stdin.read()"
    holder = [sys.executable, "-c", code, str(folder / ".lock")]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert_user_error(capsys, on_tiny(data, out), str(folder), "held by another process")
        process.stdin.close()


def failing(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("owner", "name", "code", "words"),
    [
        (os, "replace", errno.ENOSPC, ["disk is full", "free some space"]),
        (Path, "mkdir", errno.ENOSPC, ["disk is full"]),
        (Path, "mkdir", errno.EROFS, ["read-only", "choose another folder"]),
        (Path, "mkdir", errno.EACCES, ["not permitted", "choose another folder"]),
        (os, "replace", errno.EDQUOT, ["quota"]),
    ],
)
def test_full_and_read_only_disks(owner, name, code, words, capsys, tmp_path, monkeypatch, no_training):
    command = on_tiny(write_tiny(tmp_path / "data"), tmp_path / "runs")
    monkeypatch.setattr(owner, name, failing(code))
    assert_user_error(capsys, command, f"cannot write to {tmp_path / 'runs'}", *words)


def test_out_below_a_file(capsys, tmp_path, no_training):
    (tmp_path / "file").write_text("")
    command = on_tiny(write_tiny(tmp_path / "data"), tmp_path / "file" / "runs")
    assert_user_error(capsys, command, "cannot write to", "is a file: choose another folder")


def test_full_disk_during_training(capsys, tmp_path, monkeypatch):
    """Found by the training itself: torch reports what the system told it."""

    def train(*_, **__):
        raise RuntimeError("[enforce fail at inline_container.cc:659] . PytorchStreamWriter: file write failed")

    monkeypatch.setattr(experiment_fcn, "train_fcn", train)
    assert_user_error(capsys, on_tiny(write_tiny(tmp_path / "data"), tmp_path / "runs"), "disk is full")


# --- weights ---


def save_checkpoint(file, n_classes=4):
    """A checkpoint as training frameworks write them."""
    torch.manual_seed(n_classes)
    torch.save({"epoch": 3, "state_dict": FCN(n_classes).state_dict()}, file)
    return file


def test_weights_that_do_not_fit(capsys, tmp_path, no_training):
    command = on_tiny(write_tiny(tmp_path / "data"), tmp_path / "runs", "--fcn")
    weights = tmp_path / "weights.safetensors"
    FCN(3).save(weights)
    at = command.index("--fcn") + 1

    def with_file(file):
        return [*command[:at], str(file), *command[at:]]

    assert_user_error(capsys, with_file(weights), "3 classes", "has 4", str(weights))
    weights.write_text("no weights")
    assert_user_error(capsys, with_file(weights), "not a readable safetensors file")
    assert_user_error(capsys, with_file(tmp_path), f"no FCN weights at {tmp_path}")
    checkpoint = save_checkpoint(tmp_path / "Tiny.ckpt")
    assert_user_error(capsys, with_file(checkpoint), f"ncvqvae fcn import {checkpoint}")


def test_weights_folder_that_is_none(capsys, tmp_path, monkeypatch, no_training):
    monkeypatch.setenv("NCVQVAE_FCN", str(tmp_path / "nowhere"))
    assert_user_error(capsys, ["replicate"], "NCVQVAE_FCN", "nowhere", "no folder")


def test_import_of_checkpoints(capsys, tmp_path, monkeypatch):
    source = tmp_path / "saved_models"
    source.mkdir()
    for name in ("Tiny", "Other"):
        save_checkpoint(source / f"{name}.ckpt")
    assert main(["fcn", "import", str(source)]) == 0
    written = [tmp_path / "cache" / "fcn" / f"{name}.safetensors" for name in ("Other", "Tiny")]
    assert capsys.readouterr().out.splitlines() == list(map(str, written))
    torch.manual_seed(4)
    assert torch.equal(FCN.load(written[0]).head.weight, FCN(4).head.weight)

    assert main(["fcn", "import", str(source / "Tiny.ckpt"), "--to", str(tmp_path / "here")]) == 0
    out = capsys.readouterr().out
    assert (tmp_path / "here" / "Tiny.safetensors").exists() and f"NCVQVAE_FCN={tmp_path / 'here'}" in out

    monkeypatch.setenv("NCVQVAE_FCN", str(tmp_path / "named"))
    assert main(["fcn", "import", str(source / "Tiny.ckpt")]) == 0
    assert fcn_weights.find_weights("Tiny") == tmp_path / "named" / "Tiny.safetensors"
    assert fcn_weights.find_weights("Other") is None

    (source / "Bad.ckpt").write_text("no checkpoint")
    assert_user_error(capsys, ["fcn", "import", str(source)], "Bad.ckpt is refused")


def test_weights_of_the_thesis_are_recognised(reference_fcn, tmp_path):
    again = tmp_path / "again.safetensors"
    for name in fcn_weights.THESIS_WEIGHTS:
        file = reference_fcn(name)
        assert fcn_weights.is_thesis_weights(file, name)
        assert not fcn_weights.is_thesis_weights(file, "Wafer" if name == "FordA" else "FordA")
        FCN.load(file).save(again)
        assert fcn_weights.is_thesis_weights(again, name) and file_hash(again) != file_hash(file)  # the bytes differ


# --- runs ---


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Folder of data, folder of runs, and what a first, undisturbed run ended with."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCVQVAE_CACHE", str(folder / "cache"))
        patch.delenv("NCVQVAE_FCN", raising=False)
        data = write_tiny(folder / "data")
        return data, folder / "runs", captured(on_tiny(data, folder / "runs"))


def test_a_run_says_how_many_epochs_are_trained(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise BadInput("stopped")

    monkeypatch.setattr("ncvqvae_lite.experiment.run_experiment", stop)
    main(on_tiny(write_tiny(tmp_path / "data"), tmp_path / "runs", min_steps=100, batch_size=20))
    first = capsys.readouterr().out.splitlines()[0]
    assert "epochs=2" in first and first.endswith(" (50 epochs are trained, so that there are min_steps)")
    main(["replicate", "--help"])
    assert "--set min_steps=0 to have exactly so many" in " ".join(capsys.readouterr().out.split())


def test_a_run_prints_its_table_and_where_everything_is(first_run):
    data, runs, (code, out, _) = first_run
    assert code == 0
    folder = cell_of(data, runs)
    metrics = json.loads((folder / "metrics.json").read_text())
    lines = out.splitlines()
    assert lines[0].startswith("Run: Tiny, regular + none, seed 1, preset paper, epochs=2, prior_epochs=2")
    assert lines[1].startswith("Data: 40 train and 20 test series, 1 channel(s), 32 steps, 4 classes; read from")
    table = {line.split()[0]: line.split()[1] for line in lines if line.endswith("not in the thesis")}
    assert len(table) == 10
    for name, ours in {"recon": "recon_last_batch", "knn_acc": "knn_acc", "fid": "fid", "cas": "cas"}.items():
        assert float(table[name]) == pytest.approx(metrics[ours], rel=1e-3)
    weights = next((runs / "fcn" / "Tiny").rglob("fcn.safetensors"))
    judge = f"our own FCN (test accuracy {metrics['fcn_accuracy']:.3f}, SHA-256 {file_hash(weights)})"
    assert f"FID and IS: {judge}: not comparable with the thesis" in lines
    assert f"Run folder: {folder}" in lines
    assert "Not computed" not in out


def test_a_run_reports_each_stage_in_plain_lines(first_run):
    *_, (_, _, err) = first_run
    lines = err.splitlines()
    assert [line.split()[0] for line in lines if "2/2" in line or "1/1" in line] == ["fcn", "tokenizer", "prior", "cas"]
    assert all("loss" in line and "steps/s" in line for line in lines if "at work" not in line)  # on slow machines


def test_our_warnings_are_one_line_and_others_say_where(capsys, monkeypatch):
    def run(argv):
        warnings.warn("few series", WeakEvidence, stacklevel=1)
        warnings.warn("from a library\nof two lines", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(cli, "_run", run)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = before = lambda message, category, file, line, *_: print(category, file, file=sys.stderr)
        cli.main(["replicate"])
        assert warnings.showwarning is before
    assert capsys.readouterr().err == f"warning: few series\n{RuntimeWarning} {__file__}\n"


def test_a_small_channel_is_named_once_also_where_the_run_is_finished(capsys, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"X_{split}": rng.normal(size=(n, 2, 32)) * [[1], [40]] for split, n in (("train", 40), ("test", 20))}
    labels = {f"y_{split}": np.arange(n) % 2 for split, n in (("train", 40), ("test", 20))}
    data = tmp_path / "data"
    data.mkdir()
    np.savez(data / "Tiny.npz", **arrays, **labels)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("default", WeakEvidence)
            assert main(on_tiny(data, tmp_path / "runs")) == 0
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: channel")]
        assert len(said) == 1 and said[0].startswith("warning: channel 0 of Tiny has standard deviation ")


def test_a_finished_run_is_not_repeated(first_run, no_training):
    data, runs, (_, first, _) = first_run
    code, again, err = captured(on_tiny(data, runs))
    assert code == 0 and err == ""
    assert "This run is finished: nothing is computed again." in again
    assert [line for line in again.splitlines() if "is finished" not in line] == first.splitlines()


def test_an_interrupted_run_says_how_to_go_on_and_ends_with_the_same_numbers(first_run, capsys, tmp_path, monkeypatch):
    data, runs, _ = first_run
    report = cli_progress.Lines.__call__

    def interrupted(self, stage, done, *more):
        report(self, stage, done, *more)
        if stage == "prior":
            raise KeyboardInterrupt

    command = on_tiny(data, tmp_path / "runs", cas=False)
    with monkeypatch.context() as patch:
        patch.setattr(cli_progress.Lines, "__call__", interrupted)
        assert main(command) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: interrupted: run the same command again")
    assert main(command) == 0
    found = json.loads((cell_of(data, tmp_path / "runs", cas=False) / "metrics.json").read_text())
    expected = json.loads((cell_of(data, runs) / "metrics.json").read_text())
    assert found == {name: value for name, value in expected.items() if not name.startswith("cas")}
    assert "Not computed: cas (switched off (cas=false))" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(tmp_path):
    data = write_tiny(tmp_path / "data")
    listens = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background jobs ignore Ctrl-C
    code = f"import signal, sys; {listens}; from ncvqvae_lite.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *on_tiny(data, tmp_path / "runs", fcn_epochs=100_000)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with process:
        said = process.stderr.readline()
        if said.startswith("warning: this run takes about"):  # on a busy machine it comes first
            said = process.stderr.readline()
        assert said.startswith("fcn ")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().splitlines()
    assert process.returncode == 130
    assert rest[-1].startswith("error: interrupted: run the same command again")
    assert not any("Traceback" in line for line in rest)


def test_weights_from_the_named_folder_are_used_and_said(first_run, capsys, tmp_path, monkeypatch):
    data, runs, _ = first_run
    weights = tmp_path / "Tiny.safetensors"
    torch.manual_seed(0)
    FCN(4).save(weights)
    monkeypatch.setenv("NCVQVAE_FCN", str(tmp_path))
    assert main(on_tiny(data, runs, cas=False, prior_epochs=1)) == 0
    out = capsys.readouterr().out
    assert f"FCN: {weights}, found there because --fcn was not given" in out
    assert f"not comparable with it ({weights}, SHA-256 {file_hash(weights)})" in out


def test_series_without_labels(capsys, tmp_path):
    data = write_tiny(tmp_path / "data", y_train=None, y_test=None)
    assert main(on_tiny(data, tmp_path / "runs", prior_epochs=1, epochs=1)) == 0
    out = capsys.readouterr().out
    assert "32 steps, no classes" in out
    assert "Not computed: knn_acc, svm_acc, fid, is, fid_by_class, cas (the series have no labels)" in out
    assert "FID and IS:" not in out and "FCN:" not in out


def test_divergence_is_code_3(capsys, tmp_path):
    data = write_tiny(tmp_path / "data")
    assert main(on_tiny(data, tmp_path / "runs", fcn_lr=1e30, fcn_epochs=4)) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the loss became NaN or infinite at step")


def test_out_of_memory_is_code_4(capsys, tmp_path, monkeypatch):
    command = on_tiny(write_tiny(tmp_path / "data"), tmp_path / "runs")
    errors = [lambda *_: torch.empty(2**55), lambda *_: np.empty(2**55)]  # what torch and numpy really raise
    errors.append(lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")))
    for error in errors:
        monkeypatch.setattr(experiment, "scale", error)
        assert main(command) == 4
        err = capsys.readouterr().err
        assert err.startswith("error: out of memory: ") and err.count("\n") == 1


def test_other_faults_are_not_hidden(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(experiment, "scale", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(on_tiny(write_tiny(tmp_path / "data"), tmp_path / "runs"))


@pytest.mark.parametrize("is_thesis", [True, False])
def test_fid_is_set_beside_the_thesis_only_with_its_weights(is_thesis, capsys, tmp_path, monkeypatch):
    """On TwoPatternsGenerated, with the numbers of one of the authors' runs in place of a run."""
    weights = tmp_path / "weights.safetensors"
    FCN(4).save(weights)
    if is_thesis:
        monkeypatch.setitem(fcn_weights.THESIS_WEIGHTS, "TwoPatterns", fcn_weights.weights_digest(weights))
    fid = author_runs("TwoPatterns", "regular", "none")["fid"][0]
    monkeypatch.setattr(experiment, "run_experiment", lambda *_, **__: {"fid": fid, "fcn_accuracy": 1.0})
    assert main(["replicate", "--fcn", str(weights), "--out", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("fid ")]
    assert line.endswith("inside" if is_thesis else OWN_FCN)
    assert ("FID and IS: the FCN of the thesis (" in out) == is_thesis


def test_own_series_of_a_thesis_name_get_no_verdict_of_the_thesis(capsys, tmp_path, monkeypatch):
    weights = tmp_path / "weights.safetensors"
    FCN(4).save(weights)
    np.savez(tmp_path / "ECG5000.npz", **tiny_arrays())
    numbers = {metric: values[0] for metric, values in author_runs("ECG5000", "regular", "none").items()}
    monkeypatch.setattr(experiment, "run_experiment", lambda *_, **__: numbers)
    command = ["replicate", "--dataset", "ECG5000", "--data", str(tmp_path), "--fcn", str(weights)]
    assert main([*command, "--out", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert "Published: none, these are other series than the thesis' of that name: 40 train series (thesis: 500)" in out
    table = out[out.index("Published") : out.index("score")]
    assert "other series than the thesis" in table and not {"inside", "better", "worse"} & set(table.split())


# --- notebooks ---


@pytest.mark.skipif(not find_spec("papermill"), reason="the extra `notebooks` is not installed")
def test_notebook_gets_the_run_and_its_path_is_printed(first_run, capsys, monkeypatch):
    runner = pytest.importorskip("ncvqvae_lite.lab.runner")
    data, runs, _ = first_run
    got = {}

    def replicate_notebook(cfg, out, **arguments):
        got.update(arguments, cfg=cfg, out=out)
        return Path("a") / "notebook.ipynb"

    monkeypatch.setattr(runner, "replicate_notebook", replicate_notebook)
    assert main(on_tiny(data, runs, "--notebook")) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Notebook: {Path('a') / 'notebook.ipynb'}"
    assert got["cfg"] == ExperimentConfig.preset("paper", dataset="Tiny", **MICRO)
    assert got["out"] == runs and got["data"] == data and got["fcn"] is None and got["cfg"].changes() == MICRO

    def fails(*_, **__):
        raise runner.NotebookFailed("cell 3 raised ZeroDivisionError")

    monkeypatch.setattr(runner, "replicate_notebook", fails)
    assert main(on_tiny(data, runs, "--notebook")) == 1
    assert capsys.readouterr().err == "error: cell 3 raised ZeroDivisionError\n"


def test_notebook_without_the_extra_is_found_before_any_training(capsys, tmp_path, monkeypatch, no_training):
    find_spec = cli_options.importlib.util.find_spec
    monkeypatch.setattr(
        cli_options.importlib.util, "find_spec", lambda name: None if name == "papermill" else find_spec(name)
    )
    assert_user_error(capsys, ["replicate", "--notebook"], "papermill", "ncvqvae-lite[notebooks]")


# --- progress ---


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_for_each_stage():
    stream = Terminal()
    with cli_progress.progress_on(stream) as progress:
        for done in (1, 3, 4):
            progress("tokenizer", done, 4, {"total": 0.123456, "time": 9.0}, 85.04)
        progress("prior", 1, 10, {"total": 2.0}, 7.0)
    text = stream.getvalue()
    first, last = text.rstrip("\n").split("\n")
    assert first.split("\r")[-1].startswith("tokenizer 100%|") and "4/4 epochs, loss 0.1235, 85 steps/s" in first
    assert last.split("\r")[-1].startswith("prior      10%|") and "1/10 epochs, loss 2, 7 steps/s" in last
    assert "left" in last and text.endswith("\n")  # what follows an interrupted bar starts on a line of its own


def test_elsewhere_a_line_now_and_then():
    stream, now = io.StringIO(), [0.0]
    with cli_progress.Lines(stream, every=10, clock=lambda: now[0]) as progress:
        for second in range(26):
            now[0] = float(second)
            progress("tokenizer", second + 1, 100, {"total": 1.5}, 3.0)
        now[0] = 26.0
        progress("tokenizer", 100, 100, {"total": 0.5}, 3.0)
        progress("prior", 1, 50, {"total": 2.5}, 3.0)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "tokenizer   1/100 epochs, loss 1.5, 3 steps/s",
        "tokenizer  11/100 epochs, loss 1.5, 3 steps/s, 89 s left",
        "tokenizer  21/100 epochs, loss 1.5, 3 steps/s, 79 s left",
        "tokenizer 100/100 epochs, loss 0.5, 3 steps/s",
    ]
    assert isinstance(cli_progress.progress_on(io.StringIO()), cli_progress.Lines)


def test_lines_and_bars_tell_the_part_of_an_epoch():
    lines, bars = io.StringIO(), Terminal()
    for reporter in (cli_progress.Lines(lines, every=0), cli_progress.Bars(bars)):
        with reporter as progress:
            for done in (0.001283, 0.41283, 1):
                progress("fcn", done, 8, {"total": 1.5}, 3.0)
    assert [line.split(" epochs")[0] for line in lines.getvalue().splitlines()] == [
        "fcn       0.0/8",
        "fcn       0.41/8",
        "fcn       1/8",
    ]
    assert "1/8 epochs, loss 1.5, 3 steps/s" in bars.getvalue().split("\r")[-1]


@pytest.mark.parametrize("kind", ["Lines", "Bars"])
def test_silence_is_filled(kind):
    """Scores, probes and samples report nothing, but take long on large sets."""
    stream = Terminal()
    with getattr(cli_progress, kind)(stream, quiet=0.1) as progress:
        progress("fcn", 1, 2, {"total": 1.5}, 3.0)
        limit = time.monotonic() + 20
        while stream.getvalue().count("at work, 0 s since the last report of a training") < 2:
            assert time.monotonic() < limit
            time.sleep(0.01)
    time.sleep(0.2)
    text = stream.getvalue()
    time.sleep(0.3)
    assert stream.getvalue() == text  # nothing after the end


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds, text):
    assert cli_progress.duration(seconds) == text


# --- help, version, doctor ---


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["replicate", "doctor", "fcn import"]),
        (["--help"], ["replicate", "doctor", "fcn import", "--version"]),
        (["--version"], ["ncvqvae-lite 0.2.0"]),
        (["replicate", "--help"], ["--augmentation", "--set FIELD=VALUE", "$NCVQVAE_FCN", "TwoPatternsGenerated"]),
        (["fcn"], ["fcn fetch", "fcn import", "FILE_OR_FOLDER", "fcn list"]),
        (["fcn", "--help"], ["fcn fetch", "fcn import", "FILE_OR_FOLDER", "fcn list"]),
        (["fcn", "fetch", "--help"], ["--datasets", "abc479c", "$NCVQVAE_FCN", "~/.cache/ncvqvae_lite", "--mirror"]),
        (["fcn", "import", "--help"], ["FILE_OR_FOLDER", "abc479c", "$NCVQVAE_FCN", "~/.cache/ncvqvae_lite"]),
        (["doctor", "--help"], ["small run"]),
    ],
)
def test_help(command, words, capsys):
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in words:
        assert word in out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_tells_every_field(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    kind = function_of(cli.COMMANDS[command][0])
    assert kind.__doc__.splitlines()[0] in out
    told = [line.split() for cls in kind.__mro__[:-1] for line in cls.__doc__.splitlines()]
    for field in dataclasses.fields(kind):
        (words,) = [words for words in told if words[:1] == [field.name]]
        (line,) = [line for line in out.splitlines() if " ".join(words[2:]) in line]
        option = f"--{field.name.rstrip('_').replace('_', '-')}"
        assert (words[1] if field.default is dataclasses.MISSING else option) in out
        if field.default not in (dataclasses.MISSING, None, False, ()):
            assert line.endswith(f"(default: {field.default})")


def test_a_wrong_method_is_answered_with_all_registered_ones(capsys, monkeypatch):
    monkeypatch.setitem(METHODS, "later", METHODS["vicreg"])
    assert main(["replicate", "--method", "what"]) == 2
    assert ", ".join(sorted(METHODS)) in capsys.readouterr().err


def test_scores_without_a_published_number_are_printed_too(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(SCORES, "range", Score("range of samples", compute=lambda e: np.ptp(e.generated.numpy())))
    assert main(on_tiny(write_tiny(tmp_path / "data"), tmp_path / "runs")) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^range of samples +\d", printed, flags=re.M) and "perplexity of samples" in printed
    assert "KNN accuracy" not in printed  # stands beside the published number


def read(line, kind=Run, program="ncvqvae campaign run"):
    return cli_options.parse(kind, program, line.split())


def test_options_become_the_fields_of_a_command():
    assert read("smoke") == Run("smoke")
    run = read("--dry-run smoke --datasets A B --seeds=1 --seeds 2 3 --hours-per-job=0.5 --out x --cores 2")
    fields = dict(datasets=("A", "B"), seeds=(1, 2, 3), hours_per_job=0.5, out=Path("x"), cores=2, dry_run=True)
    assert run == Run("smoke", **fields)
    run = read("smoke --set epochs=3 lr=-1 --keep-going --set cas=false")
    assert run.set == ("epochs=3", "lr=-1", "cas=false") and run.keep_going
    assert cli_options.parse_changes(run.set) == {"epochs": 3, "lr": -1.0, "cas": False}
    assert read("--seed -3", Replicate, "ncvqvae replicate") == Replicate(seed=-3)


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-c", "import sys; from ncvqvae_lite.cli import main; sys.exit(main(['fcn', '--help']))"]
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert ran.returncode == 141 and ran.stderr == ""


def test_help_loads_nothing():
    heavy = "{'torch', 'numpy', 'aeon', 'pandas', 'tqdm'}"
    code = "import sys; from ncvqvae_lite.cli import main; main(['replicate', '-h'])"
    code += f"; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "set()", ran.stderr


@pytest.mark.slow
def test_doctor(capsys, tmp_path, monkeypatch):
    data, weights = tmp_path / "data", tmp_path / "weights"
    weights.mkdir()
    for name, changes in {"Wafer": {}, "FordA": {"X_train": None}}.items():
        (write_tiny(data, **changes) / "Tiny.npz").rename(data / f"{name}.npz")
    (data / "FordB.npz").write_text("damaged")
    (data / "Mallat_TRAIN.tsv").write_text(row(20))
    for split in ("TRAIN", "TEST"):
        (data / f"Symbols_{split}.tsv").write_text(row(20))
    FCN(2).save(weights / "Wafer.safetensors")
    FCN(2).save(weights / "FordA.safetensors")
    monkeypatch.setitem(fcn_weights.THESIS_WEIGHTS, "FordA", fcn_weights.weights_digest(weights / "FordA.safetensors"))
    (weights / "FordB.safetensors").write_text("damaged")
    monkeypatch.setenv("NCVQVAE_DATA", str(data))
    monkeypatch.setenv("NCVQVAE_FCN", str(weights))
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "ok"
    states = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ")}
    assert states["Wafer"] == f"complete: {data / 'Wafer.npz'}"
    assert states["FordA"] == f"partial: {data / 'FordA.npz'} has no train split"
    assert states["FordB"].startswith("unreadable: ")
    assert states["Mallat"] == f"partial: {data} has no Mallat_TEST.tsv"
    assert states["Symbols"].startswith("complete: ")
    assert states["ECG5000"].startswith("missing")
    text = "\n".join(lines)
    assert main(["fcn", "list"]) == 0
    assert capsys.readouterr().out in text
    assert f"torch {torch.__version__}" in text and f"torch uses {torch.get_num_threads()} threads" in text
    assert "Extra campaign: " in text and "Extra notebooks: " in text
    assert "  used by the thesis: FordA\n" in text and "  others: Wafer\n" in text
    assert (
        "danelee2601/supervised-FCN" in text
        and "abc479c" in text
        and "ncvqvae fcn fetch" in text
        and "ncvqvae fcn import" in text
    )


def test_doctor_says_what_is_missing(capsys, monkeypatch):
    declared = ["torch>=2.11", "no-such-core>=1", 'no-such-plot>=1; extra == "plots"', "pytest; extra == 'test'"]
    monkeypatch.setattr(cli_doctor.metadata, "requires", lambda _: declared)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "Extra plots: absent (no-such-plot missing: pip install 'ncvqvae-lite[plots]')" in out
    assert "Extra test: present; pytest" in out
    assert out.splitlines()[-1].startswith("failed: no-such-core not installed")


def test_packages_are_those_of_pyproject():
    packages = cli_doctor.declared_packages()
    assert "torch" in packages[""] and "papermill" in packages["notebooks"] and "umap-learn" in packages["plots"]
    assert "ncvqvae-lite" not in packages["test"]


def test_a_failing_self_test_is_code_1(capsys, monkeypatch):
    def fail():
        raise RunFolderError("the disk\nis full")

    monkeypatch.setattr(cli_doctor, "self_test", fail)
    assert main(["doctor"]) == 1
    assert "failed: the self-test ended in RunFolderError: the disk" in capsys.readouterr().out


def test_the_self_test_notices_other_numbers_and_bad_samples(monkeypatch):
    results = iter([{"fid": 1.0}, {"fid": 1.0}, {"fid": 2.0}])
    monkeypatch.setattr(experiment, "run_experiment", lambda *_, **__: next(results))
    with pytest.raises(BadInput, match="other numbers than an undisturbed one: fid"):
        cli_doctor.self_test()
    monkeypatch.setattr(experiment, "run_experiment", lambda *_, **__: {"fid": 1.0})

    class Run:
        def sample(self, n):
            return torch.full((n, 1, 32), torch.nan)

    monkeypatch.setattr(experiment, "load_run", lambda _: Run())
    with pytest.raises(BadInput, match="not 4 finite series"):
        cli_doctor.self_test()
