"""Banded checks, refused wrong answers, recorded numbers (`check` itself: test_nb.py)."""

import json
from types import SimpleNamespace

import pytest
import torch

from ncvqvae_lite import nb, nb_checks, tables
from ncvqvae_lite.errors import BadInput, NotFound

QUICK = SimpleNamespace(preset="quick")


@pytest.fixture
def bands(monkeypatch):
    monkeypatch.delenv("NCVQVAE_RECORD", raising=False)
    monkeypatch.setattr(nb_checks, "_bands", lambda chapter: {"probe": {"low": 0.7, "high": 0.9}})


def test_a_band_admits_what_lies_inside_and_prints_its_bounds(bands, capsys):
    nb.check_band(QUICK, "03", "probe", 0.7, excludes={"chance": 0.25, "a leak": 1.0})
    assert capsys.readouterr().out == "✓ probe (excludes chance, a leak): ≈0.7, expected 0.7 to 0.9\n"


@pytest.mark.parametrize("value", [0.69, 0.91, float("nan")])
def test_a_band_refuses_what_lies_outside(bands, value):
    with pytest.raises(nb.CheckFailed, match="probe .*: found .*, expected 0.7 to 0.9"):
        nb.check_band(QUICK, "03", "probe", value, excludes={"chance": 0.25})


def test_a_band_must_leave_out_the_failures_it_names(bands):
    with pytest.raises(BadInput, match="does not leave out chance, 0.8"):
        nb.check_band(QUICK, "03", "probe", 0.75, excludes={"chance": 0.8})


def test_a_band_must_exclude_something_and_nan_is_nothing(bands):
    with pytest.raises(BadInput, match="must exclude a failure"):
        nb.check_band(QUICK, "03", "probe", 0.75, excludes={})
    with pytest.raises(BadInput, match="does not leave out chance, nan"):
        nb.check_band(QUICK, "03", "probe", 0.75, excludes={"chance": float("nan")})


def test_other_presets_have_no_band(bands, capsys):
    nb.check_band(SimpleNamespace(preset="paper"), "03", "probe", 0.12345, excludes={"chance": 0.25})
    assert capsys.readouterr().out == "probe: 0.123 (its band is for the preset quick, this is paper)\n"


def test_bounds_and_a_tolerance_are_not_mixed():
    with pytest.raises(BadInput, match="has bounds and a tolerance"):
        nb.check("share", 0.5, low=0, rtol=0.1)


def test_unknown_bands_are_named(bands, monkeypatch):
    with pytest.raises(NotFound, match="chapter 03 has no band 'recall': it has probe"):
        nb.check_band(QUICK, "03", "recall", 0.8, excludes={"chance": 0.2})
    monkeypatch.undo()
    with pytest.raises(NotFound, match="no bands of chapter 99"):
        nb_checks.band("99", "probe")


def test_recording_writes_numbers_and_checks_no_band(monkeypatch, tmp_path, capsys):
    file = tmp_path / "recorded"
    monkeypatch.setenv("NCVQVAE_RECORD", str(file))
    nb.check_band(QUICK, "99", "probe", 0.5, excludes={"chance": 0.5})
    nb.record("99", "loss", 2)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows == [
        {"chapter": "99", "name": "probe", "value": 0.5, "banded": True},
        {"chapter": "99", "name": "loss", "value": 2.0, "banded": False},
    ]
    assert capsys.readouterr().out == ""


def test_refused_shows_mistakes_and_where_they_are_noticed(capsys):
    def check_square(answer):
        nb.check("square of 2", answer(2), 4)
        nb.check("square of 3", answer(3), 9)

    def doubles(x):
        """doubles the number

        More words.
        """
        return 2 * x

    def cubes(x):
        return x**3

    nb.refused(check_square, doubles, cubes)
    shown = capsys.readouterr().out
    assert shown == "refused: doubles the number (at: square of 3)\nrefused: cubes (at: square of 2)\n"
    with pytest.raises(nb.CheckFailed, match="a wrong answer passes its check: <lambda>"):
        nb.refused(check_square, lambda x: x * x)


def test_an_answer_that_raises_something_else_is_no_refusal():
    with pytest.raises(ZeroDivisionError):
        nb.refused(lambda answer: answer(0), lambda x: 1 / x)


def test_an_answer_that_cannot_take_a_size_is_told_what_to_look_at():
    x = torch.ones(3, 2)
    assert nb.answered(lambda x, n: float(x.sum()) + n, x, 1, hint="") == 7.0
    with pytest.raises(nb.CheckFailed, match=r"^inputs of shapes \(3, 2\): .+\. sizes come from the inputs$") as failed:
        nb.answered(lambda x, n: x.view(n, 5), x, 1, hint="sizes come from the inputs")
    assert failed.value.name == "shapes (3, 2)"

    def stub(x):
        raise NotImplementedError("Exercise 1.1: add")

    with pytest.raises(NotImplementedError, match="^Exercise 1.1"):
        nb.answered(stub, x, hint="")
    with pytest.raises(ZeroDivisionError):
        nb.answered(lambda x: 1 / 0, x, hint="")


def test_a_forgotten_return_is_told_in_one_sentence():
    def check_square(answer):
        nb.check("square of 2", answer(2) + 0, 4)

    def square(x):
        x * x

    with pytest.raises(nb.CheckFailed, match=r"^square returned None: does it end in `return`\?$"):
        nb.examine(check_square, square)
    nb.refused(check_square, square)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("4", "a value of type str"),
        ((torch.ones(2, 1), None), r"a tuple of a tensor of shape \(2, 1\) and None"),
        ((), "a tuple of nothing"),
        (torch.ones(3), r"a tensor of shape \(3,\)"),
    ],
)
def test_what_a_check_cannot_use_is_told_in_words(value, kind):
    def check_pair(answer):
        a, b = answer()
        nb.check("sum", (a + b).item(), 4)

    said = rf"^<lambda> returned {kind}, and its check cannot go on with that: .+\. What does its docstring say"
    with pytest.raises(nb.CheckFailed, match=said):
        nb.examine(check_pair, lambda: value)


def test_an_error_within_an_answer_or_before_it_stays_as_it_is():
    with pytest.raises(TypeError, match="unsupported operand"):
        nb.examine(lambda answer: (answer(1), answer("")), lambda x: x - 1)
    with pytest.raises(TypeError, match="required positional argument: 'x'"):
        nb.examine(lambda answer: answer(), lambda x: x)
    with pytest.raises(AttributeError, match="no attribute 'sizes'"):
        nb.examine(lambda answer: answer(torch.ones(2).sizes), lambda x: x)
    with pytest.raises(NotImplementedError):
        nb.examine(lambda answer: answer(1), lambda x: torch.nn.Module()(x))


def test_a_loop_calls_more_of_torch_for_more_rows(capsys):
    few, many = (torch.ones(2, 3),), (torch.ones(5, 3),)
    nb.check_no_loop(lambda x: torch.softmax(x, dim=1).sum(dim=1), few, many)
    assert capsys.readouterr().out == "✓ calls of torch that larger inputs add: 0\n"
    for loop in (
        lambda x: torch.stack([row.sum() for row in x]),
        lambda x: torch.stack([x[i].sum() for i in range(len(x))]),
        lambda x: torch.tensor([sum(float(x[i, j]) for j in range(3)) for i in range(len(x))]),
    ):
        with pytest.raises(nb.CheckFailed, match="larger inputs add: found [1-9].*no loop over what grows"):
            nb.check_no_loop(loop, few, many)


# --- the numbers of a chapter ---


def test_chapter_config_takes_the_numbers_of_its_preset(capsys, monkeypatch):
    monkeypatch.delenv("NCVQVAE_PRESET", raising=False)
    quick = nb.chapter_config("quick", 3, steps=(200, 2000), n_fft=8)
    assert (quick.preset, quick.seed, quick.steps, quick.n_fft) == ("quick", 3, 200, 8)
    assert capsys.readouterr().out.split() == "preset quick seed 3 steps 200 n_fft 8".split()
    assert nb.chapter_config("improved", 3, steps=(200, 2000)).steps == 2000
    with pytest.raises(AttributeError):
        quick.steps = 1
    monkeypatch.setenv("NCVQVAE_PRESET", "paper")
    assert nb.chapter_config("quick", 3, steps=(200, 2000)).steps == 2000


@pytest.mark.parametrize(
    ("preset", "seed", "sizes", "message"),
    [
        ("quik", 1, {}, "unknown preset 'quik' .did you mean quick"),
        ("quick", "1", {}, "seed must be a whole number"),
        ("quick", -1, {}, "seed must be a whole number"),
        ("quick", 1, {"steps": (1, 2.0)}, "steps needs a value for quick and one of the same type"),
        ("quick", 1, {"steps": (1, 2, 3)}, "steps needs a value for quick and one of the same type"),
    ],
)
def test_chapter_config_refuses_what_it_cannot_mean(preset, seed, sizes, message, monkeypatch):
    monkeypatch.delenv("NCVQVAE_PRESET", raising=False)
    with pytest.raises(BadInput, match=message):
        nb.chapter_config(preset, seed, **sizes)


def test_recorded_runs_are_means_and_spreads_over_seeds(monkeypatch, tmp_path):
    table = tmp_path / "chapters.csv"
    table.write_text(
        "chapter,preset,seed,name,value,torch,machine\n"
        "03,quick,1,probe,0.4,2,x\n03,quick,1,probe,0.6,2,y\n03,quick,2,probe,0.7,2,x\n03,paper,1,probe,0.9,2,x\n"
        "02,quick,1,probe,0.1,2,x\n"
    )
    monkeypatch.setattr(tables, "data_file", lambda name: table)
    lines = nb.recorded_runs("03").splitlines()
    assert lines[1].split() == ["probe", "quick", "0.6", "0.14", "(2)"]
    assert lines[2].split() == ["probe", "paper", "0.9", "-", "(1)"]
    assert len(lines) == 3
    assert nb.recorded_runs("04") == "no recorded runs of chapter 04"


def test_recorded_cells_are_one_line_per_run():
    lines = nb.recorded_cells("TwoPatterns", "regular", "none").splitlines()
    assert lines[0].split()[:8] == ["preset", "seed", "recon", "KNN", "SVM", "FID", "IS", "CAS"]
    assert ["paper", "1", "0.209", "0.307", "0.552", "4.565", "2.329", "-"] in [line.split()[:8] for line in lines]
    assert nb.recorded_cells("Unheard", "regular", "none") == "no recorded runs of Unheard, regular + none"
