"""Notebook helpers: checks fail when they should, places do not depend on the current folder, parameters are strict."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ncvqvae_lite import nb, thesis
from ncvqvae_lite.config import ExperimentConfig
from ncvqvae_lite.data import from_arrays, two_patterns
from ncvqvae_lite.errors import BadInput


def config(**changes):
    cell = dict(dataset="TwoPatternsGenerated", method="regular", augmentation="none", seed=1, preset="quick")
    return nb.experiment_config(**cell | changes)


@pytest.mark.parametrize(
    ("value", "expected", "tolerance", "printed"),
    [
        (3, 3, {}, "a: 3\n"),
        (torch.zeros(2, 5).shape, (2, 5), {}, "a: (2, 5)\n"),
        ([1, 2], (1, 2), {}, "a: (1, 2)\n"),
        (torch.tensor(4), 4, {}, "a: 4\n"),
        (np.float64(0.50001), 0.5, {"rtol": 1e-3}, "a: ≈0.5, expected ≈0.5 (rtol 0.001)\n"),
        (1 + 1e-4, 1, {"rtol": 1e-3, "atol": 1e-6}, "a: ≈1, expected ≈1 (rtol 0.001, atol 1e-06)\n"),
        (
            torch.tensor([[1.0, 1.25]]),
            np.ones((1, 2)),
            {"atol": 0.5, "rtol": 1e-4},
            "a: (1, 2) numbers, largest difference ≈0.2 (rtol 0.0001, atol 0.5)\n",
        ),
        (np.ones((0, 3)), np.ones((0, 3)), {"atol": 1}, "a: (0, 3) numbers, largest difference ≈0 (atol 1)\n"),
        (0.123456, 0.1235, {"rtol": 1e-2, "digits": 2}, "a: 0.12, expected ≈0.1235 (rtol 0.01)\n"),
        (0.7, None, {"low": 0.3, "high": 1}, "a: ≈0.7, expected 0.3 to 1\n"),
        (12345, None, {"low": 3}, "a: ≈12345, expected at least 3\n"),
        (0.123456, None, {"high": 0.5, "digits": 2}, "a: 0.12, expected at most 0.5\n"),
    ],
)
def test_check_prints_one_stable_line(capsys, value, expected, tolerance, printed):
    nb.check("a", value, expected, **tolerance)
    assert capsys.readouterr().out == f"✓ {printed}"


@pytest.mark.parametrize(
    ("value", "expected", "tolerance"),
    [
        (3, 4, {}),
        (3, 3.0, {}),  # another type
        (True, 1, {}),
        ((2, 5), (5, 2), {}),
        ("a", "b", {}),
        (np.ones(3), np.array([1, 1, 2.0]), {}),
        (1.01, 1.0, {"rtol": 1e-3}),
        (math.nan, 1.0, {"rtol": 1e-3}),
        (torch.tensor([1.0, math.nan]), np.ones(2), {"atol": 9}),
        (np.ones(1), np.ones(3), {"rtol": 1e-3}),  # would broadcast
        (0.29, None, {"low": 0.3, "high": 1}),
        (1.1, None, {"low": 0.3, "high": 1}),
        (math.nan, None, {"low": 0}),
        (np.ones(3), None, {"low": 0}),  # bounds are for one number
    ],
)
def test_check_fails(capsys, value, expected, tolerance):
    with pytest.raises(nb.CheckFailed, match="the share: found .* expected .* look at the mask"):
        nb.check("the share", value, expected, hint="look at the mask", **tolerance)
    assert capsys.readouterr().out == ""


def test_a_failure_names_the_worst_of_many_numbers():
    wrong = np.zeros((4, 5))
    wrong[2, 3], wrong[0, 1] = 2.5, 1
    with pytest.raises(
        nb.CheckFailed, match=r"^a: found 2.5 at place \(2, 3\) of \(4, 5\), expected 0 there \(atol 1\). Look$"
    ):
        nb.check("a", wrong, np.zeros((4, 5)), atol=1, hint="Look")


def test_a_failure_shows_the_digits_in_which_many_numbers_differ():
    wrong = np.ones(20)
    wrong[7] = 1.00001
    with pytest.raises(nb.CheckFailed, match=r"^a: found 1.00001 at place \(7,\) of \(20,\), expected 1 there "):
        nb.check("a", wrong, np.ones(20), rtol=1e-6)
    with pytest.raises(nb.CheckFailed, match="found nan at place .*, expected nan there"):
        nb.check("a", np.full(20, math.nan), np.full(20, math.nan), rtol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"expected": 1, "low": 0}])
def test_check_needs_one_thing_to_compare_with(arguments):
    with pytest.raises(BadInput, match="expected value or bounds"):
        nb.check("a", 1, **arguments)


@pytest.mark.parametrize("seed", ["abc", "1", 1.0, None, True])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(BadInput, match="seed must be a whole number"):
        nb.seed_everything(seed)


def test_seed_everything_seeds_every_source():
    import random

    def draws():
        generator = nb.seed_everything(7)
        return random.random(), np.random.rand(), torch.rand(1).item(), torch.rand(1, generator=generator).item()  # noqa: NPY002

    try:
        assert draws() == draws()
        first = nb.seed_everything(8).initial_seed()
        assert first == 8
    finally:
        torch.use_deterministic_algorithms(False)


def test_places_do_not_depend_on_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("NCVQVAE_OUT", raising=False)
    before = nb.out_dir("runs"), nb.data_dir("series")
    monkeypatch.chdir(tmp_path)
    assert (nb.out_dir("runs"), nb.data_dir("series")) == before
    assert before[0] == Path(nb.__file__).resolve().parents[1] / "runs"
    assert nb.out_dir(str(tmp_path / "x")) == tmp_path / "x"
    assert nb.data_dir("") is None
    monkeypatch.setenv("NCVQVAE_OUT", str(tmp_path))
    assert nb.out_dir("runs") == tmp_path / "runs"


def test_experiment_config_is_the_preset_with_changes(monkeypatch):
    monkeypatch.delenv("NCVQVAE_PRESET", raising=False)
    cell = dict(dataset="TwoPatternsGenerated", method="regular", augmentation="none", seed=1)
    assert config() == ExperimentConfig.preset("quick", **cell)
    changed = config(settings='{"epochs": 50}')
    assert changed == ExperimentConfig.preset("quick", **cell, epochs=50)
    assert nb.changed_settings(changed) == {"epochs": 50}
    assert nb.changed_settings(config()) == {}
    monkeypatch.setenv("NCVQVAE_PRESET", "paper")
    assert config().preset_name == "paper"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": "epochs=5"}, "no JSON"),
        ({"settings": "[5]"}, "JSON object"),
        ({"settings": '{"epoch": 5}'}, "unknown setting 'epoch'.*epochs"),
        ({"settings": '{"epochs": "5"}'}, "epochs must be an integer"),
        ({"settings": '{"seed": 5}'}, "seed stands in settings"),
        ({"settings": '{"preset": "paper"}'}, "preset stands in settings"),
        ({"method": "vibreg"}, "unknown method"),
        ({"preset": "full"}, "unknown preset"),
        ({"seed": "1"}, "seed must be an integer"),
    ],
)
def test_experiment_config_refuses(change, message):
    with pytest.raises(BadInput, match=message):
        config(**change)


def test_describe_names_what_differs():
    text = nb.describe_config(config(settings='{"epochs": 50, "cas": false}'))
    assert '"epochs": 50' in text and "regular + none, seed 1" in text and "CAS" not in text


def test_describe_data_counts_classes():
    ds = two_patterns(40, 30)
    text = nb.describe_data(ds)
    for label, name in enumerate(ds.class_names):
        assert f"class {name}: {(ds.y_train == label).sum()} train, {(ds.y_test == label).sum()} test" in text
    x = np.random.default_rng(0).normal(size=(30, 20))
    assert nb.describe_data(from_arrays(x)).endswith("no labels")
    many = nb.describe_data(from_arrays(x, [i // 2 for i in range(30)]))
    assert many.count("\nclass") == 8 and "7 more classes" in many


def test_print_epochs_prints_the_same_lines_however_often_it_is_called(capsys):
    def lines(calls):
        progress = nb.print_epochs(4)
        for stage, done, epochs in calls:
            progress(stage, done, epochs, {}, 1.0)
        return capsys.readouterr().out

    often = lines([("prior", done, 10) for done in range(1, 11)])
    assert often == lines([("prior", 3, 10), ("prior", 10, 10)])
    assert often == "".join(f"prior: {done} of 10 epochs\n" for done in (2, 5, 7, 10))
    assert lines([("fcn", 1, 1), ("fcn", 1, 1)]) == "fcn: 1 of 1 epochs\n" * 2  # two trainings of one name


def test_read_history_leaves_out_what_was_not_computed(tmp_path):
    from ncvqvae_lite.files import write_csv

    rows = [{"epoch": 0, "recon_val": 0.5}, {"epoch": 1, "time": 0.25}]
    write_csv(tmp_path / "history.csv", rows)
    assert nb.read_history(tmp_path / "history.csv") == rows


def test_floors_table_shows_what_there_is():
    metrics = {"fid": 12.345, "fid_train_test": 1.5, "fid_train": 11.0, "is": 2.5, "is_real": 3.9}
    text = nb.floors_table(metrics)
    assert "12.35" in text and "1.5" in text and "against train instead of test: 11" in text and "3.9" in text
    assert "halves" not in text and "half" not in text
    assert nb.floors_table({}) == "FID: not computed"


def test_floors_table_says_when_fid_cannot_tell():
    assert "too few to tell" in nb.floors_table({"fid": 5.0, "fid_test_halves": 5.0})
    assert "too few to tell" not in nb.floors_table({"fid": 5.1, "fid_test_halves": 5.0})


def test_published_table_lines_its_columns_up():
    rows = thesis.compare({"fid": 3.0}, "FordA", "regular", "none", own_fcn=True)
    _, header, *lines, _ = nb.published_table(rows).splitlines()
    assert [line.index(row.verdict) for line, row in zip(lines, rows, strict=True)] == [header.index("verdict")] * 10
