"""The speed run: its aims are the thesis' numbers, its verdict is a t-test, and a course runs from series to scores."""

import sys
from pathlib import Path

import pytest

from ncvqvae_lite import FCN, two_patterns
from ncvqvae_lite.errors import NotFound

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import speedrun  # noqa: E402

MICRO = dict(
    dim=8, n_blocks=1, codebook_size=8, epochs=1, batch_size=16, prior_epochs=1, prior_dim=16, prior_width=16,
    prior_depth=1, prior_heads=1, prior_batch_size=16, cas_epochs=1,
)  # fmt: skip


def test_aims_are_the_best_means_of_the_thesis():
    """Tables of Mathisen 2024: reconstruction, FID and IS, CAS; the best of the seven arms."""
    assert speedrun.targets("TwoPatterns") == {"recon": 0.184, "fid": 2.44, "is": 2.67, "cas": 0.847}
    assert speedrun.targets("ECG5000") == {"recon": 0.048, "fid": 1.62, "is": 2.0, "cas": 0.91}


def test_verdict_is_strict():
    aims = {"recon": 0.2, "fid": 2.0, "is": 2.5, "cas": 0.8}
    good = {"recon": [0.1, 0.11, 0.12], "fid": [0.5, 0.51, 0.52], "is": [3.0, 3.01, 3.02], "cas": [0.9, 0.91, 0.92]}
    lines, passed = speedrun.verdict(good, aims)
    assert passed and lines[2].startswith("| reconstruction error, last test batch | 0.110 (0.010) | 0.200 | 0.00")
    for name, unsure in (("fid", [0.5, 1.9, 2.05]), ("cas", [0.81, 0.79, 0.9]), ("is", [2.4, 2.39, 2.41])):
        assert not speedrun.verdict(good | {name: unsure}, aims)[1]


def test_a_course_from_series_to_scores(monkeypatch, tmp_path):
    monkeypatch.setattr(speedrun, "SETTINGS", MICRO)
    ds = two_patterns(40, 40)
    FCN(4).save(tmp_path / "judge.safetensors")
    lines, passed = speedrun.course(ds, tmp_path / "judge.safetensors", [1, 2])
    assert not passed  # nothing was learned in one epoch
    assert lines[0].startswith("**TwoPatternsGenerated: ") and "does not pass" in lines[0] and "TFLOP" in lines[0]
    assert all(f"{stage} " in lines[0] for stage in ("tokenizer", "prior", "samples", "scores", "CAS"))
    assert [line.split(" | ")[0] for line in lines[4:8]] == [f"| {label}" for label in speedrun.LABELS.values()]


def test_equal_seeds_give_equal_scores(monkeypatch):
    monkeypatch.setattr(speedrun, "SETTINGS", MICRO)
    ds, fcn = two_patterns(40, 40), FCN(4).eval()
    assert speedrun.run(ds, fcn, 3)[0] == speedrun.run(ds, fcn, 3)[0]


def test_a_record_needs_all_seeds_and_an_entry(monkeypatch, capsys):
    assert speedrun.main(["--record", "nothing", "--seeds", "1"]) == 2
    assert "a record needs all seeds" in capsys.readouterr().err
    monkeypatch.setattr(speedrun, "commit", lambda: "0123456789ab")
    monkeypatch.setattr(speedrun, "read_csv", lambda file: [{"digest": "01234567 89abcdef"}])
    assert speedrun.main(["--record", "nothing"]) == 2
    assert "has no row of this file" in capsys.readouterr().err


def test_without_a_record_nothing_is_opened(monkeypatch):
    asked = []
    monkeypatch.setattr(speedrun, "load_dataset", lambda name: asked.append(name) or two_patterns(40, 40))
    monkeypatch.setattr(speedrun, "course", lambda *arguments: ([], True))
    assert speedrun.main([]) == 0 and asked == ["TwoPatternsGenerated"]
    monkeypatch.setattr(speedrun, "find_weights", lambda name: None)
    with pytest.raises(NotFound, match="no feature net"):
        speedrun.generated_set()
