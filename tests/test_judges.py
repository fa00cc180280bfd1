"""The feature nets that ship for the generated data sets: as good as the table says, found, and not the thesis'."""

import sys
from pathlib import Path

import pytest
import torch
from scipy import stats

from ncvqvae_lite import FCN, cli_doctor, fcn_weights, load_dataset
from ncvqvae_lite.cli import main
from ncvqvae_lite.experiment_stages import scale
from ncvqvae_lite.fcn import batched
from ncvqvae_lite.files import data_file, read_csv
from ncvqvae_lite.generators import GENERATORS
from ncvqvae_lite.thesis import OWN_FCN

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import make_judges  # noqa: E402

TABLE = {row["name"]: row for row in read_csv(data_file("judges/judges.csv"))}
every_judge = pytest.mark.parametrize("name", GENERATORS)


@pytest.fixture(autouse=True)
def no_weights_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("NCVQVAE_FCN", raising=False)
    monkeypatch.setenv("NCVQVAE_CACHE", str(tmp_path / "cache"))


def test_every_generated_set_has_a_judge():
    assert list(TABLE) == list(GENERATORS)
    assert all(float(row["accuracy"]) >= 0.99 for row in TABLE.values())


@every_judge
def test_a_judge_is_the_one_of_the_table(name):
    row, file = TABLE[name], fcn_weights.shipped_judge(name)
    assert fcn_weights.file_hash(file) == row["hash"]
    assert " ".join(map(str, FCN.load(file).dilation)) == row["dilation"]
    assert file.stat().st_size < 1_100_000
    assert not fcn_weights.is_thesis_weights(file, name)


@every_judge
def test_a_judge_is_as_good_as_the_table_says(name):
    """On 1,500 series that it has not seen; where the table has no error, up to 3 in 20,000 are taken for possible."""
    x, y = make_judges.fresh_series(name, seed=12, n=1500)
    right = (batched(FCN.load(fcn_weights.shipped_judge(name)), x).argmax(dim=1) == y).sum().item()
    accuracy = min(float(TABLE[name]["accuracy"]), 1 - 3 / int(TABLE[name]["n_series"]))
    assert stats.binomtest(right, len(y), accuracy).pvalue > 1e-3


@every_judge
def test_fresh_series_are_scaled_as_a_run_scales_its_own(name):
    """All are of mean 0 and deviation 1 (ddof 1), so whose train split gives the two numbers makes no difference."""
    x, y = make_judges.fresh_series(name, seed=7, n=100)
    scaled = scale(load_dataset(name), "cpu")
    length = x.shape[2]
    assert scaled.mean == pytest.approx(0, abs=1e-6)
    assert scaled.std == pytest.approx((1 - 1 / length) ** 0.5, abs=1e-6)
    torch.testing.assert_close(x.std(dim=2, correction=0), torch.ones(100, 1), atol=1e-5, rtol=0)
    assert y.min() == 0 and y.max() == scaled.y_train.max()


def test_the_judge_of_two_patterns_sees_their_order():
    """Turned in time and sign, an up-up or down-down stays what it is, up-down and down-up change places."""
    x, y = make_judges.fresh_series("TwoPatternsGenerated", seed=12, n=400)
    net = FCN.load(fcn_weights.shipped_judge("TwoPatternsGenerated"))
    seen = batched(net, -x.flip(2)).argmax(dim=1)
    turned = torch.tensor([0, 2, 1, 3])[y]  # a pattern turned in time and sign is itself, but the first is the last
    assert (seen == turned).double().mean() > 0.98


def test_a_file_of_the_user_goes_before_the_judge(tmp_path, monkeypatch):
    name = "CBFGenerated"
    assert fcn_weights.find_weights(name) == fcn_weights.shipped_judge(name) == data_file(f"judges/{name}.safetensors")
    assert fcn_weights.find_weights("CBF") is None and fcn_weights.shipped_judge("CBF") is None
    monkeypatch.setenv("NCVQVAE_FCN", str(tmp_path))
    assert fcn_weights.find_weights(name) == fcn_weights.shipped_judge(name)
    FCN(3).save(tmp_path / f"{name}.safetensors")
    assert fcn_weights.find_weights(name) == tmp_path / f"{name}.safetensors"
    FCN(3).save(tmp_path / "given.safetensors")
    assert fcn_weights.find_weights(name, tmp_path / "given.safetensors") == tmp_path / "given.safetensors"


def test_doctor_names_the_judges(capsys):
    cli_doctor.report_weights()
    assert f"with the package, ours, for generated sets: {', '.join(GENERATORS)}\n" in capsys.readouterr().out


def test_replicate_uses_the_judge_and_does_not_compare_with_the_thesis(capsys, tmp_path, monkeypatch):
    asked = []

    def run_experiment(cfg, ds, out, weights, **_):
        asked.append(weights)
        return {"fid": 4.0, "fcn_accuracy": 1.0}

    monkeypatch.setattr("ncvqvae_lite.experiment.run_experiment", run_experiment)
    assert main(["replicate", "--out", str(tmp_path / "runs")]) == 0
    judge = fcn_weights.shipped_judge("TwoPatternsGenerated")
    assert asked == [judge]
    lines = capsys.readouterr().out.splitlines()
    assert f"FCN: {judge}, which ships with the package, used because --fcn was not given" in lines
    (line,) = [line for line in lines if line.startswith("fid ")]
    assert line.endswith(OWN_FCN)
    (line,) = [line for line in lines if line.startswith("FID and IS: ")]
    assert "not comparable" in line and TABLE["TwoPatternsGenerated"]["hash"] in line


def test_the_command_makes_a_judge_and_its_row(tmp_path, capsys):
    only = ["--only", "SyntheticControlGenerated", "--series", "64", "--out", str(tmp_path)]
    make_judges.main(only)
    (row,) = read_csv(tmp_path / "judges.csv")
    file = tmp_path / "SyntheticControlGenerated.safetensors"
    assert row.keys() == TABLE["CBFGenerated"].keys()
    assert row["hash"] == fcn_weights.file_hash(file) and row["n_series"] == "64" and row["dilation"] == "1 4 16"
    make_judges.main([*only, "--dilation", "1", "1", "1"])
    make_judges.main(["--only", "CBFGenerated", *only[2:]])  # the other row stays
    assert [(row["name"], row["dilation"]) for row in read_csv(tmp_path / "judges.csv")] == [
        ("CBFGenerated", "1 8 40"),
        ("SyntheticControlGenerated", "1 1 1"),
    ]
    assert len(capsys.readouterr().out.splitlines()) == 3
