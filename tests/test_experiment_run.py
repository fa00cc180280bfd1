"""What a finished run gives, by Python and by `ncvqvae sample`: classes by number and name, and what it refuses."""

import re

import numpy as np
import pytest
import torch

from ncvqvae_lite import MaskGIT, Tokenizer, cli, from_arrays, load_dataset, load_run
from ncvqvae_lite.errors import BadInput, NotFound
from ncvqvae_lite.files import read_json, write_json

NAMES = ("autumn", "spring", "winter")


def write_run(folder, channels=1, names=NAMES, mean=7.0, **config):
    """The folder of a run with untrained networks; returns it."""
    torch.manual_seed(0)
    folder.mkdir()
    tokenizer = Tokenizer(16, channels, dim=8, n_blocks=1, codebook_size=8).eval()
    tokenizer.save(folder)
    MaskGIT(tokenizer.n_tokens, 8, len(names), dim=8, width=16, depth=1).eval().save(folder)
    known = dict(dataset="seasons", tokenizer="../nowhere", scale_mean=mean, scale_std=2.0, decoding_steps=2)
    known |= dict(class_names=names, class_counts=[2, 3, 5][: len(names)], class_draw="train", dtype="float32")
    write_json(folder / "config.json", known | config)
    write_json(folder / "metrics.json", {"recon_val": 1.0})
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


@pytest.fixture
def run(folder):
    return load_run(folder)


# --- classes ---


def test_a_class_by_name_is_the_class_by_number(run):
    assert run.class_names == NAMES
    for index, name in enumerate(NAMES):
        assert torch.equal(run.sample(3, class_name=name, seed=1), run.sample(3, class_index=index, seed=1))
    assert not torch.equal(run.sample(3, 0), run.sample(3, 1))


@pytest.mark.parametrize("index", [1, np.int64(1), np.uint8(1), np.array(1), torch.tensor(1), [1, 1], (1, 1)])
def test_whole_numbers_of_all_kinds_are_indices(run, index):
    assert torch.equal(run.sample(2, class_index=index), run.sample(2, class_index=torch.ones(2, dtype=torch.int64)))
    assert run.classes(2, class_index=index).tolist() == [1, 1]
    assert run.sample(np.int32(2), 1, seed=np.int64(0)).shape == (2, 1, 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(class_index=True), "class_index is True, expected a whole number or 2 of them"),
        (dict(class_index=np.True_), "expected a whole number"),
        (dict(class_index=1.9), "class_index is 1.9, expected a whole number"),
        (dict(class_index=1.0), "class_index is 1.0, expected a whole number"),
        (dict(class_index=float("nan")), "class_index is nan, expected a whole number"),
        (dict(class_index=torch.tensor([0.0, 1.0])), "expected a whole number or 2 of them"),
        (dict(class_index=[0, 1, 2]), "expected a whole number or 2 of them"),
        (dict(class_index=[]), "expected a whole number or 2 of them"),
        (dict(class_index=[[1], [1, 2]]), "expected a whole number or 2 of them"),
        (dict(class_index=torch.ones(2, requires_grad=True)), "expected a whole number or 2 of them"),
        (dict(class_index=torch.ones(2, 30, 3)), "expected a whole number or 2 of them"),
        (dict(class_name=["winter"]), r"class_name is \['winter'\], expected a text"),
        (dict(n=[[1], [1, 2]]), "expected a whole number of 1 or more"),
        (dict(class_index={}), "expected a whole number or 2 of them"),
        (dict(class_index="winter"), "a name is given as class_name"),
        (dict(class_index=3), r"class_index is 3, expected 0\.\.2: this run knows 3 classes"),
        (dict(class_index=-1), r"expected 0\.\.2"),
        (dict(class_index=[0, 3]), r"expected 0\.\.2"),
        (dict(class_name="wintr"), r"unknown class 'wintr' \(did you mean winter\?\): choose one of autumn"),
        (dict(class_name="Winter"), r"unknown class 'Winter' \(did you mean winter\?\)"),
        (dict(class_name=2), "class_name is 2, expected a text: one of autumn, spring, winter"),
        (dict(class_name=""), "unknown class ''"),
        (dict(class_index=2, class_name="winter"), "are given, expected one of them"),
        (dict(seed=1.5), "seed is 1.5, expected a whole number"),
        (dict(seed=True), "seed is True, expected a whole number"),
        (dict(seed="1"), "seed is '1', expected a whole number"),
        (dict(seed=2**64), "seed is 18446744073709551616, expected a whole number"),
        (dict(n=0), "n is 0, expected a whole number of 1 or more"),
        (dict(n=-1), "n is -1, expected"),
        (dict(n=1e3), "n is 1000.0, expected"),
        (dict(n=True), "n is True, expected"),
        (dict(n=None), "n is None, expected"),
        (dict(n="3"), "n is '3', expected"),
    ],
)
def test_what_is_no_class_number_or_seed_is_refused(run, arguments, words):
    for ask in (run.sample, run.classes):
        with pytest.raises(BadInput, match=words) as error:
            ask(**(dict(n=2) | arguments))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"), [("metrics.json", []), ("metrics.json", 3), ("config.json", []), ("config.json", {})]
)
def test_a_folder_with_something_else_in_it_is_no_run(folder, name, content):
    write_json(folder / name, content)
    with pytest.raises(NotFound, match="no finished run in"):
        load_run(folder)


@pytest.mark.parametrize("place", [None, 3, ["runs"], True])
def test_what_is_no_path_is_no_run(place):
    with pytest.raises(BadInput, match="the folder of a run is .*, expected a path"):
        load_run(place)


def test_runs_without_labels_or_without_names(tmp_path):
    plain = load_run(write_run(tmp_path / "plain", names=()))
    assert plain.sample(2).shape == (2, 1, 16) and plain.classes(2) is None
    with pytest.raises(BadInput, match="class_name is 'winter', but this run has no classes"):
        plain.sample(2, class_name="winter")
    with pytest.raises(BadInput, match="class_index is 0, but this run has no classes: leave it out"):
        plain.sample(2, 0)
    assert load_run(write_run(tmp_path / "open", class_draw="none")).classes(2) is None


def test_drawn_classes_are_those_of_the_samples(run):
    drawn = run.classes(20, seed=5)
    assert torch.bincount(drawn).tolist() == [4, 6, 10]
    assert torch.equal(run.sample(20, seed=5), run.sample(20, class_index=drawn, seed=5))
    assert run.classes(3, class_name="winter").tolist() == [2, 2, 2]


def test_the_global_random_state_is_left_alone(run):
    state = torch.get_rng_state()
    run.sample(3)
    assert torch.equal(state, torch.get_rng_state())


# --- ncvqvae sample ---


def sampled(folder, file, *options):
    return cli.main(["sample", str(folder), "--out", str(file), *options])


def test_npz(folder, tmp_path, run, capsys):
    assert sampled(folder, tmp_path / "new.npz", "--n", "4", "--class", "winter", "--seed", "3") == 0
    with np.load(tmp_path / "new.npz") as new:
        assert set(new.files) == {"x", "y"}
        assert np.array_equal(new["x"], run.sample(4, class_name="winter", seed=3)) and new["x"].dtype == np.float32
        assert new["y"].tolist() == ["winter"] * 4
        ds = from_arrays(new["x"], x_test=new["x"])  # back in one line
    assert ds.x_train.shape == (4, 1, 16)
    assert "4 series of 1 channel(s) and 16 steps, classes winter (4)" in capsys.readouterr().out


def test_csv_has_every_digit_and_drawn_classes(folder, tmp_path, run, capsys):
    assert sampled(folder, tmp_path / "deep" / "new.csv", "--n", "10") == 0
    rows = [line.split(",") for line in (tmp_path / "deep" / "new.csv").read_text().splitlines()]
    assert [row[0] for row in rows] == [NAMES[index] for index in run.classes(10)]
    values = np.array([row[1:] for row in rows], dtype=np.float32)
    assert np.array_equal(values, run.sample(10)[:, 0])
    assert "classes autumn (2), spring (3), winter (5)" in capsys.readouterr().out


@pytest.mark.parametrize("channels", [1, 2])
def test_ts_is_read_back_as_a_data_set(tmp_path, channels):
    folder = write_run(tmp_path / "run", channels)
    for split, seed in (("TRAIN", "1"), ("TEST", "2")):
        assert sampled(folder, tmp_path / f"New_{split}.ts", "--n", "10", "--seed", seed) == 0
    ds, run = load_dataset("New", root=tmp_path), load_run(folder)
    assert torch.equal(ds.x_train, run.sample(10, seed=1)) and torch.equal(ds.x_test, run.sample(10, seed=2))
    assert ds.class_names == NAMES and torch.equal(ds.y_train, run.classes(10, seed=1))


def test_without_classes_no_label_is_written(tmp_path):
    folder = write_run(tmp_path / "run", names=())
    for file in ("new.npz", "new.csv", "New_TRAIN.ts", "New_TEST.ts"):
        assert sampled(folder, tmp_path / file, "--n", "3") == 0
    with np.load(tmp_path / "new.npz") as new:
        assert new.files == ["x"]
    assert {len(line.split(",")) for line in (tmp_path / "new.csv").read_text().splitlines()} == {16}
    ds = load_dataset("New", root=tmp_path)
    assert ds.n_classes == 0 and torch.equal(ds.x_train, load_run(folder).sample(3))


def test_float64_is_written_as_it_is(tmp_path):
    """One million with a spread of 2e-6: float32 has steps of 0.06 there."""
    folder = write_run(tmp_path / "run", mean=1e6, scale_std=2e-6, dtype="float64")
    expected = load_run(folder).sample(5)
    assert expected.dtype == torch.float64 and expected.std() > 1e-9
    assert sampled(folder, tmp_path / "new.npz", "--n", "5") == sampled(folder, tmp_path / "new.csv", "--n", "5") == 0
    with np.load(tmp_path / "new.npz") as new:
        assert np.array_equal(new["x"], expected)
    rows = [line.split(",")[1:] for line in (tmp_path / "new.csv").read_text().splitlines()]
    assert np.array_equal(np.array(rows, dtype=np.float64), expected[:, 0])


def test_a_file_that_is_there_is_replaced_only_when_told(folder, tmp_path, capsys):
    file = tmp_path / "new.csv"
    file.write_text("precious")
    assert sampled(folder, file, "--n", "2") == 2
    assert "is there already: choose another name, or replace it by --overwrite" in capsys.readouterr().err
    assert file.read_text() == "precious"
    assert sampled(folder, file, "--n", "2", "--overwrite") == 0
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "new.txt"], "ends in none of .npz, .csv, .ts: choose one of them"),
        (["--out", "new"], "ends in none of"),
        (["--n", "0"], "--n 0, expected a whole number of 1 or more"),
        (["--n", "1e3"], "--n: expected a whole number, got '1e3'"),
        (["--class", "wintr"], "unknown class 'wintr' (did you mean winter?)"),
        (["--klass", "winter"], "unknown argument --klass winter (did you mean --class?)"),
        (["--seed", "99999999999999999999"], "seed is 99999999999999999999, expected a whole number of 64 bits"),
        (["--out", "run/config.json/new.csv"], "cannot write to"),
    ],
)
def test_mistakes_are_one_sentence(folder, tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample", "run", "--out", "new.csv", *options]) == 2  # of an option given twice the last counts
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run"]


def test_what_a_format_cannot_hold_is_refused(tmp_path, capsys):
    two = write_run(tmp_path / "two", channels=2)
    assert sampled(two, tmp_path / "new.csv") == 2
    assert "the series have 2 channels, a .csv has one: choose .npz or .ts" in capsys.readouterr().err
    named = write_run(tmp_path / "named", names=("a b", "c"))
    assert sampled(named, tmp_path / "new.ts") == 2
    assert "the class 'a b' cannot stand in a .ts file" in capsys.readouterr().err
    hard = write_run(tmp_path / "hard", names=("#1", "?"))
    assert sampled(hard, tmp_path / "new.ts", "--class", "?") == 2
    assert "the class '?' cannot stand in a .ts file ('?' is no label there)" in capsys.readouterr().err
    assert sampled(hard, tmp_path / "new.csv", "--class", "#1") == 2
    assert "'#1' cannot stand in a .csv file (a line that begins with # is a comment)" in capsys.readouterr().err
    lines = write_run(tmp_path / "lines", names=("a\nb", "c"))
    assert sampled(lines, tmp_path / "new.csv", "--class", "a\nb") == 2
    assert "cannot stand in a .csv file (it has two lines): choose .npz" in capsys.readouterr().err
    assert sampled(tmp_path, tmp_path / "new.ts") == 2
    assert "no finished run in" in capsys.readouterr().err
    assert not list(tmp_path.glob("new.*"))


def test_classes_of_a_run_without_names_are_their_numbers(tmp_path, capsys):
    old = write_run(tmp_path / "old")
    config = read_json(old / "config.json")
    del config["class_names"]
    write_json(old / "config.json", config)
    assert sampled(old, tmp_path / "new.csv", "--n", "2", "--class", "2") == 0
    assert [line[:2] for line in (tmp_path / "new.csv").read_text().splitlines()] == ["2,", "2,"]
    assert sampled(old, tmp_path / "no.csv", "--class", "winter") == 2
    assert "unknown class 'winter': choose one of 0, 1, 2" in capsys.readouterr().err


def test_a_tokenizer_that_stayed_behind_is_named(tmp_path):
    old = write_run(tmp_path / "old")
    (old / "tokenizer.safetensors").unlink()
    with pytest.raises(NotFound, match=r"old needs a tokenizer\.safetensors.* earlier ones kept in .*nowhere: copy it"):
        load_run(old)


def test_the_help_says_what_each_format_is(capsys):
    assert cli.main(["sample", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--class NAME" in out and re.search(r"\.npz arrays x .*\.csv a line .*\.ts the text", out)
