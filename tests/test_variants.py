"""Variants of exercises: other tasks, the same checks, no solutions, and proof before anything is written."""

import random
import re
import sys
from pathlib import Path

import nbformat
import pytest

from ncvqvae_lite.errors import BadInput

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

import variants  # noqa: E402
from chapters import read_cells, source_files  # noqa: E402
from exercises import parse  # noqa: E402
from variant_rules import RULES  # noqa: E402

SOURCES = [file for file in source_files() if any(f"\ndef {name}(" in file.read_text() for name in RULES)]
CELLS = {source.stem: read_cells(source)[1] for source in SOURCES}
CELLS_00 = CELLS["00_start_here"]


def test_every_chapter_with_exercises_has_a_variant():
    names = [[e.name for e in parse(cells)[1] if e.name in RULES] for cells in CELLS.values()]
    assert all(names) and list(CELLS) == [file.stem for file in source_files() if read_cells(file)[1]]
    assert sorted(name for chapter in names for name in chapter) == sorted(RULES)


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
def test_every_rule_changes_task_check_and_solution_and_is_right(cells):
    published = {exercise.name: exercise[-5:] for exercise in parse(cells)[1]}
    for name in RULES.keys() & published.keys():
        drawn = [RULES[name](random.Random(seed)) for seed in range(30)]  # every branch of a rule
        assert len({str(d) for d in drawn}) >= 2, name
        for replaced in drawn:
            changed = variants.replace(published[name], replaced, name)
            same = [new.source == old.source for new, old in zip(changed, published[name])]
            assert same[:3] == [False, False, False], name  # statement, solution, check
    variants.prove(*variants.variant(cells, 1))


def cells_text(notebook):
    return "\n".join(cell.source for cell in notebook.cells)


def notebook_text(file):
    return cells_text(nbformat.read(file, as_version=4))


def test_a_chapter_from_the_command_to_the_files(tmp_path, capsys):
    def made(name, seed, *options):
        assert variants.main([seed, "00", "--out", str(tmp_path / name), *options]) == 0
        assert ", 1 chapters, each check tried" in capsys.readouterr().out
        return tmp_path / name

    first, again, other = made("a", "7"), made("b", "7", "--solutions"), made("c", "11")
    assert [f.relative_to(first).as_posix() for f in first.rglob("*.ipynb")] == ["exercises/00_start_here.ipynb"]
    exercises = first / "exercises" / "00_start_here.ipynb"
    assert exercises.read_bytes() == (again / "exercises" / "00_start_here.ipynb").read_bytes()
    text, others = notebook_text(exercises), notebook_text(other / "exercises" / "00_start_here.ipynb")
    bits, other_bits = (int(re.search(r"stored as (\d+)-bit numbers", t)[1]) for t in (text, others))
    assert bits != other_bits and 32 not in (bits, other_bits)
    assert "NotImplementedError" in text and "wrong_" not in text and "end of solution" not in text
    solution = notebook_text(again / "solutions" / "00_start_here.ipynb")
    assert f"return {bits} * length / (n_tokens * math.log2(codebook_size))" in solution


def test_model_answers_are_for_the_teacher():
    (source,) = [source for source in SOURCES if source.stem == "12_peel"]
    made = dict(variants.variant_notebooks(source, 1, solutions=True))
    assert all("**To answer in words:**" in cells_text(notebook) for notebook in made.values())
    assert "Answer in words</summary>" in cells_text(made["solutions"])
    assert "Answer in words</summary>" not in cells_text(made["exercises"])


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"as 32-bit numbers": "as single-precision numbers"}, "the published solution of exercise 0.1 passes"),
        ({"32.0": "6.4"}, "the solution of exercise 0.1 fails"),
        ({"no such text": ""}, "exercise 0.1 does not hold 'no such text'"),
        ({"answer(1, 1, 2**32)": "answer(1)"}, "the check of exercise 0.1 fails by TypeError"),
    ],
)
def test_a_variant_that_is_none_is_refused(rule, fault):
    with pytest.raises(BadInput, match=fault):
        variants.prove(*variants.variant(CELLS_00, 1, {"compression": lambda draw: rule}))


def test_a_chapter_without_a_rule_has_no_variant(tmp_path, capsys):
    assert variants.main(["7", "08", "--out", str(tmp_path / "none")]) == 1
    assert "none of these chapters has an exercise with variants" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
