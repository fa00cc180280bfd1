"""Mutants of exercises' solutions: the tool finds weak checks, and the checks of two chapters notice every mutant."""

import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

import mutants  # noqa: E402
from chapters import read_cells  # noqa: E402
from exercises import parse  # noqa: E402

SOURCE = '''# %% [markdown]
# ## Exercises

# %%
import torch

from ncvqvae_lite import nb

# %% [markdown]
# ### 1.1 Noise `*`
# Add it.

# %% tags=["exercise"]
def noisy(x, std, generator):
    """x (n,) with noise added, shifted by its mean."""
    # solution: draw, add
    noise = std * torch.randn(len(x), generator=generator)
    return x + noise - x.mean(dim=0)
    # end of solution

# %% tags=["nbval-check-output"]
def check_noisy(answer):
    CHECK

check_noisy(noisy)

# %% [markdown] tags=["hint"]
# Draw.

# %% tags=["solution"]
def wrong_same(x, std, generator):
    return x

nb.refused(check_noisy, wrong_same)
'''
WEAK = "nb.check('shape', answer(torch.zeros(9), 1.0, torch.Generator()).shape, (9,))"
STRONG = """x = torch.arange(9.0)
    for std, seed in ((0.5, 1), (2.0, 2)):
        g, own = (torch.Generator().manual_seed(seed) for _ in range(2))
        for _ in range(2):
            nb.check('noise', answer(x, std, g), x - 4 + std * torch.randn(9, generator=own), atol=1e-5)"""


def tried(tmp_path, check, equivalent=""):
    source = tmp_path / "01_sample.py"
    source.write_text(SOURCE.replace("CHECK", check).replace("nb.refused", f"{equivalent}nb.refused"))
    return mutants.survivors(source)


def test_a_weak_check_is_found_out_and_a_strong_one_passes(tmp_path):
    weak = tried(tmp_path, WEAK)
    changes = {mutant.change for mutant in weak.passed}
    for change in (
        "return x + noise + x.mean(dim=0)",
        "return x - noise - x.mean(dim=0)",
        "return x + noise - x.sum(dim=0)",
        "return x + noise - x.mean(dim=-1)",
        "return x + noise",
        "noise = std / torch.randn(len(x), generator=generator)",
        "noise = std * torch.rand(len(x), generator=generator)",
        "noise = std * torch.randn(len(x), generator=torch.Generator().manual_seed(0))",
        "noise = std * torch.randn(len(x), generator=None)",
        "std has no effect",
        "generator has no effect",
        "generator begins anew from its seed",
        "noise = std * torch.randn(len(x), generator=torch.Generator().manual_seed(generator.initial_seed()))",
    ):
        assert change in changes
    left_out = "without: noise = std * torch.randn(len(x), generator=generator)"
    assert left_out in [mutant.change for mutant in weak.crashed]
    strong = tried(tmp_path, STRONG)
    assert [mutant.change for mutant in strong.passed] == ["return x + noise - x.mean(dim=-1)"]
    assert not strong.equivalent and len(strong.noticed) > 10
    assert "return" in [mutant.change for mutant in strong.noticed]  # None is refused in words: no crash
    strong = tried(tmp_path, STRONG, "# equivalent: x.mean(dim=-1): x has one axis\n")
    assert not strong.passed and len(strong.equivalent) == 1


def test_an_equivalent_mutant_must_survive(tmp_path):
    with pytest.raises(AssertionError, match="1.1: 0 mutants that pass have the text 'no noise'"):
        tried(tmp_path, STRONG, "# equivalent: no noise: a reason\n")


def test_a_listed_text_is_that_of_one_mutant_and_not_of_the_solution(tmp_path):
    with pytest.raises(AssertionError, match=r"1.1: \d\d mutants that pass have the text 'a'"):
        tried(tmp_path, WEAK, "# equivalent: a: a reason\n")
    with pytest.raises(AssertionError, match="1.1: the solution has the text 'x.mean', too"):
        tried(tmp_path, STRONG, "# equivalent: x.mean: a reason\n")


def test_a_gradient_is_lost_where_the_solution_has_one(tmp_path):
    check = """x = torch.arange(9.0, requires_grad=True)
    nb.check('sum', answer(x, 1.0, torch.Generator()).shape, (9,))"""
    assert "_without_gradient" in " ".join(mutant.change for mutant in tried(tmp_path, check).passed)
    assert "_without_gradient" not in " ".join(mutant.change for mutant in tried(tmp_path, WEAK).passed)


def test_a_mutant_that_never_ends_is_stopped():
    with pytest.raises(TimeoutError), mutants._at_most(0.2):
        while True:
            pass


@pytest.mark.parametrize("number", ["05", "12"])
def test_checks_notice_every_mutant(number):
    (source,) = (NOTEBOOKS / "src").glob(f"{number}_*.py")
    found = mutants.survivors(source)
    assert [f"{mutant.exercise}: {mutant.change}" for mutant in found.passed] == []
    assert len(found.noticed) > 50 and len(found.equivalent) <= 2


@pytest.mark.parametrize("source", sorted((NOTEBOOKS / "src").glob("*.py")), ids=lambda file: file.stem)
def test_at_most_two_mutants_of_a_chapter_are_listed_as_equivalent(source):
    cells = read_cells(source)[1]
    listed = [found for e in parse(cells)[1] for found in mutants.EQUIVALENT.findall(e.wrong.source)] if cells else []
    assert len(listed) <= 2
