"""A cell and what it is made of: nothing is exchanged unnoticed, and the finished folder is enough."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ncvqvae_lite import (
    ExperimentConfig,
    cell_folder,
    experiment_prior,
    from_arrays,
    load_run,
    run_experiment,
    two_patterns,
)
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.experiment_folders import finished_metrics
from ncvqvae_lite.experiment_parts import hash_when_made, sha256_of
from ncvqvae_lite.files import link_or_copy, made_from, read_json, with_its_cells, write_json
from ncvqvae_lite.lab.results import cell_rows
from ncvqvae_lite.training_engine import epochs_for

MICRO = dict(
    dim=8, n_blocks=1, codebook_size=8, epochs=1, min_steps=0, batch_size=16, probe_every=2, prior_dim=8,
    prior_width=16, prior_depth=1, prior_heads=1, prior_epochs=1, prior_min_steps=0, prior_batch_size=32,
    decoding_steps=2, min_samples=20, fcn_epochs=1, fcn_min_steps=0, cas=False, noise="pieces",
)  # fmt: skip
NAMES = ["summer", "winter"]


def seasons(seed=0):
    raw = two_patterns(n_train=20, n_test=20, length=32, seed=seed)
    return from_arrays(raw.x_train, NAMES * 10, raw.x_test, NAMES * 10, name="seasons")


def cfg(**changes):
    return ExperimentConfig.preset("paper", dataset="seasons", **(MICRO | changes))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two finished cells on one tokenizer and one feature net."""
    out = tmp_path_factory.mktemp("runs")
    for head in ("tied", "untied"):
        run_experiment(cfg(head=head), seasons(), out, device="cpu")
    return out


@pytest.fixture
def runs(made, tmp_path):
    """A copy of them that a test may harm: folders of all runs, of the two cells, the tokenizer and the feature net."""
    out = tmp_path / "runs"
    shutil.copytree(made, out)
    a, b = (cell_folder(cfg(head=head), out) for head in ("tied", "untied"))
    return SimpleNamespace(out=out, a=a, b=b, tokenizer=cfg().tokenizer_folder(out), fcn=cfg().fcn_folder(out))


def other_weights(file):
    """Another file of the same shape: one byte of the last tensor is another."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)


def without_parts(cell):
    """The cell as an earlier version left it."""
    config = read_json(cell / "config.json")
    for name in ("parts", "class_names", "dtype"):
        del config[name]
    write_json(cell / "config.json", config)
    (cell / "tokenizer.safetensors").unlink()
    (cell / "README.md").unlink()


# --- what is recorded ---


def test_every_part_is_recorded_by_its_hash(runs):
    parts = read_json(runs.a / "config.json")["parts"]
    held = ("tokenizer.safetensors", "prior.safetensors", "residuals.safetensors")
    shared = (runs.tokenizer / "tokenizer.safetensors", runs.fcn / "fcn.safetensors")
    assert set(parts) == {*held, *(Path(os.path.relpath(file, runs.a)).as_posix() for file in shared)}
    for name, sha in parts.items():
        assert sha256_of(runs.a / name) == sha and len(sha) == 64
    assert read_json(runs.tokenizer / "config.json")["parts"] == {held[0]: parts[held[0]]}
    assert set(read_json(runs.fcn / "config.json")["parts"]) == {"fcn.safetensors"}


def test_the_tokenizer_is_linked_where_links_exist_and_copied_where_not(made, tmp_path, monkeypatch):
    shared = cfg().tokenizer_folder(made) / "tokenizer.safetensors"
    assert os.path.samefile(shared, cell_folder(cfg(), made) / shared.name)

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(shared, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == shared.read_bytes() and not os.path.samefile(shared, tmp_path / "copy")
    monkeypatch.undo()
    link_or_copy(shared, tmp_path / "copy")
    link_or_copy(shared, tmp_path / "copy")  # both names are one file already
    assert os.path.samefile(shared, tmp_path / "copy") and [file.name for file in tmp_path.iterdir()] == ["copy"]


# --- nothing changes behind the user's back ---


def test_the_other_cell_of_a_tokenizer_that_is_made_again_keeps_its_own(runs):
    """The series of that name change, one cell is deleted as advised, with what it shares; the other one stays."""
    before = load_run(runs.b).sample(4)
    with pytest.raises(BadInput, match="was made from other series named seasons"):
        run_experiment(cfg(), seasons(seed=1), runs.out, device="cpu")
    shutil.rmtree(runs.a)
    with pytest.raises(BadInput, match=r"delete that folder and the cell made from it \(cells/seasons/.*/seed1\)"):
        run_experiment(cfg(), seasons(seed=1), runs.out, device="cpu")
    shutil.rmtree(runs.a, ignore_errors=True)
    shutil.rmtree(runs.tokenizer)
    shutil.rmtree(runs.fcn)
    run_experiment(cfg(), seasons(seed=1), runs.out, device="cpu")
    assert torch.equal(load_run(runs.b).sample(4), before)
    with pytest.raises(BadInput, match="delete the former folder and run again, or go on with it as it is by load_run"):
        run_experiment(cfg(head="untied"), seasons(), runs.out, device="cpu")


@pytest.mark.parametrize("name", ["tokenizer.safetensors", "prior.safetensors", "residuals.safetensors"])
@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_part_of_a_finished_cell_that_is_not_its_own_is_refused(runs, name, harm):
    if harm == "gone":
        (runs.a / name).unlink()
    else:
        other_weights(runs.a / name)
    said = f"{name} in .* is " + ("gone" if harm == "gone" else "not the one that this run was made with")
    for use in (
        lambda: load_run(runs.a),
        lambda: run_experiment(cfg(), seasons(), runs.out, device="cpu"),
        lambda: finished_metrics(runs.a, seasons()),
    ):
        with pytest.raises(BadInput, match=said) as error:
            use()
        assert str(runs.a) in str(error.value) and "copy that folder whole" in str(error.value)


@pytest.mark.parametrize("part", ["tokenizer", "fcn"])
def test_a_shared_part_that_is_another_one_now_is_refused(runs, part):
    """When a finished cell is reported; and when a new one would build on weights that are not those of its folder."""
    place = getattr(runs, part)
    other_weights(place / f"{part}.safetensors")
    with pytest.raises(BadInput, match=f"was made with another {part}.safetensors"):
        run_experiment(cfg(), seasons(), runs.out, device="cpu")
    with pytest.raises(BadInput, match=f"{part}.safetensors in .* and the 2 cells made from it") as error:
        run_experiment(cfg(mask_polarity="masked"), seasons(), runs.out, device="cpu")
    assert str(place) in str(error.value)
    assert load_run(runs.b).sample(1).shape == (1, 1, 32)  # has its own tokenizer, and needs no feature net


def test_export_refuses_a_cell_whose_parts_changed(runs):
    for place in (runs.a, runs.tokenizer):
        write_json(place / "config.json", read_json(place / "config.json") | {"commit": "0123456789ab"})
    assert len(cell_rows(runs.a)) > 20
    other_weights(runs.tokenizer / "tokenizer.safetensors")
    with pytest.raises(BadInput, match="was made with another tokenizer.safetensors"):
        cell_rows(runs.a)


def test_a_prior_is_not_continued_on_another_tokenizer(tmp_path):
    """Interrupted after the prior was begun; the tokenizer is made again and is another one (on a GPU, say)."""

    def stop(stage, epoch, *rest):
        if stage == "prior" and epoch == 2:
            raise KeyboardInterrupt

    how = dict(device="cpu", checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(cfg(prior_epochs=3), seasons(), tmp_path, progress=stop, **how)
    shared = cfg().tokenizer_folder(tmp_path)
    folder = cell_folder(cfg(prior_epochs=3), tmp_path)
    assert (folder / "prior.checkpoint").exists()
    other_weights(shared / "tokenizer.safetensors")
    config = read_json(shared / "config.json")
    del config["parts"]  # as if it were made so
    write_json(shared / "config.json", config)
    with pytest.raises(BadInput, match="was made with another tokenizer.safetensors"):
        run_experiment(cfg(prior_epochs=3), seasons(), tmp_path, **how)
    (folder / "prior.checkpoint").unlink()  # nothing is left that was made with the former
    run_experiment(cfg(prior_epochs=3), seasons(), tmp_path, **how)
    assert sha256_of(shared / "tokenizer.safetensors") == sha256_of(folder / "tokenizer.safetensors")


def test_four_priors_still_train_one_tokenizer(runs, monkeypatch):
    monkeypatch.setattr("ncvqvae_lite.experiment_tokenizer.train_tokenizer", lambda *a, **k: pytest.fail("trained"))
    trained = []
    train_prior = experiment_prior.train_prior
    monkeypatch.setattr(experiment_prior, "train_prior", lambda *a, **k: trained.append(1) or train_prior(*a, **k))
    run_experiment(cfg(mask_polarity="masked"), seasons(), runs.out, device="cpu")
    assert trained == [1]


# --- series that are edited in place ---


@pytest.mark.parametrize("which", ["x_train", "x_test", "y_train", "y_test"])
def test_series_edited_in_place_are_noticed(runs, which):
    ds = seasons()
    getattr(ds, which)[0] += 1 if which[0] == "x" else (1 - 2 * getattr(ds, which)[0])
    with pytest.raises(BadInput, match="was made from other series named seasons .*, edited since they were read"):
        run_experiment(cfg(), ds, runs.out, device="cpu")
    with pytest.raises(BadInput, match="edited since they were read"):  # of the tokenizer, by a new cell
        run_experiment(cfg(mask_polarity="masked"), ds, runs.out, device="cpu")


def test_series_edited_before_the_first_run_are_recorded_as_they_are(tmp_path):
    ds = seasons()
    ds.x_train.mul_(2)
    run_experiment(cfg(), ds, tmp_path, device="cpu")
    config = read_json(cell_folder(cfg(), tmp_path) / "config.json")
    assert config["data_source"].endswith("; edited since")
    same = from_arrays(ds.x_train, ds.y_train, ds.x_test, ds.y_test, name="seasons")
    assert config["data_hash"] == same.content_hash != ds.content_hash
    run_experiment(cfg(), ds, tmp_path, device="cpu")  # finished
    with pytest.raises(BadInput, match="was made from other series"):
        run_experiment(cfg(), seasons(), tmp_path, device="cpu")


# --- advice to delete ---


def test_cells_that_were_made_from_a_folder(runs):
    assert made_from(runs.tokenizer) == made_from(runs.fcn) == sorted([runs.a, runs.b])
    assert made_from(runs.a) == made_from(runs.out / "nowhere") == made_from("/") == []
    names = [cell.relative_to(runs.out).as_posix() for cell in sorted([runs.a, runs.b])]
    assert with_its_cells(runs.tokenizer) == f" and the 2 cells made from it ({names[0]}, {names[1]})"
    assert with_its_cells(runs.tokenizer, most=1) == f" and the 2 cells made from it ({names[0]} and 1 more)"
    without_parts(runs.a)  # names its tokenizer, but not its feature net
    assert len(made_from(runs.tokenizer)) == 2 and made_from(runs.fcn) == [runs.b]
    (runs.a / "config.json").write_text("{")
    assert made_from(runs.tokenizer) == [runs.b]


@pytest.mark.parametrize("place", ["tokenizer", "fcn"])
def test_advice_to_delete_names_the_cells(runs, place):
    folder = getattr(runs, place)
    (folder / "config.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read .*: delete its folder and the 2 cells made from it"):
        run_experiment(cfg(mask_polarity="masked"), seasons(), runs.out, device="cpu")


# --- a folder that is enough ---

OPEN = """
import sys
for name in ("aeon", "papermill", "jupyter", "jupytext", "IPython", "ipykernel", "nbformat", "snakemake", "umap"):
    sys.modules[name] = None  # importing it fails
from ncvqvae_lite import load_run
run = load_run(sys.argv[1])
print(run.class_names, run.sample(3, class_name="winter", seed=7).flatten().tolist())
from ncvqvae_lite.cli import main
sys.exit(main(["sample", sys.argv[1], "--n", "3", "--class", "winter", "--out", sys.argv[2]]))
"""


def test_a_zipped_cell_opens_elsewhere_with_the_core_alone(runs, tmp_path):
    expected = load_run(runs.a).sample(3, class_index=1, seed=7).flatten().tolist()
    with zipfile.ZipFile(tmp_path / "cell.zip", "w") as archive:
        for file in runs.a.iterdir():
            archive.write(file, file.name)
    shutil.rmtree(runs.out)
    with zipfile.ZipFile(tmp_path / "cell.zip") as archive:
        archive.extractall(tmp_path / "elsewhere")
    command = [sys.executable, "-c", OPEN, str(tmp_path / "elsewhere"), str(tmp_path / "new.csv")]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == f"('summer', 'winter') {expected}"
    assert [line.split(",")[0] for line in (tmp_path / "new.csv").read_text().splitlines()] == ["winter"] * 3


def test_a_cell_of_an_earlier_version_opens_and_is_reported(runs):
    expected = load_run(runs.a).sample(3, class_index=1)
    without_parts(runs.a)
    run = load_run(runs.a)
    assert torch.equal(run.sample(3, class_index=1), expected) and run.class_names == ()
    assert "fid" in run_experiment(cfg(), seasons(), runs.out, device="cpu")
    assert not (runs.a / "tokenizer.safetensors").exists()  # a finished cell is left as it is
    with pytest.raises(BadInput, match="was made before names were recorded: give class_index"):
        run.sample(3, class_name="winter")
    shutil.rmtree(runs.tokenizer)
    with pytest.raises(NotFound, match="needs a tokenizer.safetensors"):
        load_run(runs.a)


# --- its model card ---


def test_the_card_says_what_the_folder_is(runs):
    card, config = (runs.a / "README.md").read_text(), read_json(runs.a / "config.json")
    metrics = json.loads((runs.a / "metrics.json").read_text())
    for words in (
        "# New series like seasons",
        "20 train and 20 test series, 1 channel(s), 32 steps. Source: arrays given by the caller.",
        "| 0 | summer | 10 |\n| 1 | winter | 10 |",
        "preset paper, seed 1",
        "codebook_size 8",
        f"{metrics['fid_test_halves']:.4g}",  # a floor
        "trained on this train split",
        "Not computed: cas (switched off (cas=false)).",
        "run.sample(100, class_name='summer')",
        "ncvqvae sample . --n 100 --class summer --out new.csv",
        "Samples hold pieces of train series",
        "The terms of the series are those of their owner",
        f"SHA-256 {config['data_hash']}",
        config["versions"]["torch"],
    ):
        assert words in card, words


def test_the_card_of_series_without_labels_and_of_weak_evidence(tmp_path):
    raw = seasons()
    plain = from_arrays(raw.x_train, x_test=raw.x_test, name="seasons")
    longer = cfg(noise="none", min_steps=8, prior_min_steps=3)  # batches of 16 and 20 series
    run_experiment(longer, plain, tmp_path / "plain", device="cpu")
    card = (cell_folder(longer, tmp_path / "plain") / "README.md").read_text()
    assert f", epochs {epochs_for(20, 16, 1, 8)}, " in card and ", prior_epochs 3, " in card
    assert "The series have no labels." in card and "class_name" not in card and "--class" not in card
    assert "(the series have no labels)" in card and "pieces of train series" not in card
    assert "in brackets other test series: fid_kernels" in card
    flat = torch.cat([raw.x_train, raw.x_train * 1e-3], dim=1), torch.cat([raw.x_test, raw.x_test * 1e-3], dim=1)
    two = from_arrays(flat[0], raw.y_train, flat[1], raw.y_test, name="seasons")
    with pytest.warns(match="channel 1 of seasons"):
        run_experiment(cfg(), two, tmp_path / "two", device="cpu")
    card = (cell_folder(cfg(), tmp_path / "two") / "README.md").read_text()
    assert "- Channel 1 of seasons has standard deviation" in card


# --- large offsets ---


def test_float64_series_keep_their_shape_on_a_large_offset(tmp_path):
    """Series of deviation 1e-3 around 1e6: float32 has steps of 0.06 there."""
    raw = seasons()
    far = {name: getattr(raw, name).double() * 1e-3 + 1e6 for name in ("x_train", "x_test")}
    ds = dataclasses.replace(raw, **far)
    metrics = run_experiment(cfg(), ds, tmp_path / "far", device="cpu")
    run = load_run(cell_folder(cfg(), tmp_path / "far"))
    near = run_experiment(cfg(), raw, tmp_path / "near", device="cpu")
    assert metrics["recon_val"] == pytest.approx(near["recon_val"], rel=0.02)  # the same series, scaled
    assert run.mean == pytest.approx(1e6, abs=0.01) and run.std == pytest.approx(far["x_train"].std().item(), rel=0.05)
    new = run.sample(20, seed=3)
    assert new.dtype == torch.float64 and new.unique().numel() > 0.9 * new.numel()
    assert 1e-4 < new.std().item() < 1e-2
    with np.load(cell_folder(cfg(), tmp_path / "far") / "samples.npz") as samples:
        assert samples["x"].dtype == samples["x_by_class"].dtype == np.float64
        assert len(np.unique(samples["x"])) > 0.9 * samples["x"].size
    assert load_run(cell_folder(cfg(), tmp_path / "near")).sample(2).dtype == torch.float32


def test_a_finished_cell_tells_the_feature_net_that_it_was_made_with(runs):
    file = runs.fcn / "fcn.safetensors"
    recorded = sha256_of(file)
    other_weights(file)
    assert hash_when_made(runs.a, file) == recorded != sha256_of(file)
    file.unlink()
    assert hash_when_made(runs.a, file) == recorded
    without_parts(runs.a)
    with pytest.raises(FileNotFoundError):  # an earlier version recorded none: nothing is made up
        hash_when_made(runs.a, file)
