"""Sources of the notebooks keep their conventions; the build tool makes the same bytes twice and notices edits."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from ncvqvae_lite import nb
from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.lab.runner import read_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS / "tools"))

import build  # noqa: E402
import chapters  # noqa: E402
import exercises  # noqa: E402
import index  # noqa: E402
import record  # noqa: E402
import routes  # noqa: E402

SOURCES = sorted((NOTEBOOKS / "src").glob("*.py"))
TAGS = set("parameters nbval-check-output nbval-ignore-output exercise solution hint colab-setup nav full-only".split())
CHECK = re.compile(r"\bnb\.check(_band)?\(")
CHECKS_NEEDED = {"00": 3, "08": 3, "10": 3}  # 4 elsewhere

SAMPLE = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Sample
#
# Does the tool work?
#
# - **Goals**: build
# - **Time**: 2 seconds of computing

# %% tags=["parameters"]
n: int = 3  # a count

# %% tags=["nbval-check-output"]
import os

print(n, os.environ["OMP_NUM_THREADS"], hash("text") == hash("text"), os.environ.get("NCVQVAE_DATA"))

# %%
from ncvqvae_lite import plots

plots.class_shares([0, 1], [1, 1], ("a", "b"), "regular")

# %%
n + 1

# %%
n + 1

# %% [markdown]
# ## Exercises
#
# Words.

# %%
from ncvqvae_lite import nb

# %% [markdown]
# ### 1.1 Double `*`
# Twice x.

# %% tags=["exercise"]
def double(x):
    \"\"\"Twice x.\"\"\"
    # solution: add x to x
    return x + x
    # end of solution

# %% tags=["nbval-check-output"]
def check_double(answer):
    nb.check("double of 3", answer(3), 6, hint="3 + 3")

check_double(double)

# %% [markdown] tags=["hint"]
# Add.

# %% tags=["solution"]
def wrong_square(x):
    \"\"\"squares\"\"\"
    return x * x

def wrong_same(x):
    return x

nb.refused(check_double, wrong_square, wrong_same)
"""
NAMES = ["01_sample.ipynb", "solutions/01_sample.ipynb", "exercises/01_sample.ipynb"]


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The build tool, working in an empty folder of its own."""
    for module in (build, chapters, index):
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(routes, "ROUTES", ())  # the routes lead through the chapters of the course
    (tmp_path / "notebooks" / "src").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text((NOTEBOOKS.parent / "pyproject.toml").read_text())
    return build


def write(folder, text, name="01_sample.py"):
    source = folder / name
    source.write_text(text)
    return source


# --- the sources ---


@pytest.fixture(params=SOURCES, ids=lambda file: file.stem)
def source(request):
    return request.param


def code_cells(source):
    return [cell for cell in read_notebook(source).cells if cell.cell_type == "code"]


def test_names_have_two_digits_and_a_topic():
    assert SOURCES
    assert all(re.fullmatch(r"\d\d_[a-z_]+", file.stem) for file in SOURCES)


def test_header_holds_the_format_and_the_kernel_only(source):
    header = [line.strip("# ") for line in source.read_text().split("# ---")[1].splitlines() if line]
    assert header == [
        "jupyter:", "jupytext:", "text_representation:", "extension: .py", "format_name: percent",
        "kernelspec:", "display_name: Python 3", "language: python", "name: python3",
    ]  # fmt: skip


def test_tags_are_known_and_nothing_else_is_in_the_metadata(source):
    for cell in read_notebook(source).cells:
        assert set(cell.metadata) <= {"tags", "lines_to_next_cell"}, cell.source  # the latter is jupytext's own
        assert set(cell.metadata.get("tags", ())) <= TAGS


def test_parameters_are_annotated_literals_with_a_comment(source):
    cells = code_cells(source)
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", ())]
    first = next(cell for cell in cells if "colab-setup" not in cell.metadata.get("tags", ()))
    assert tagged == [first]
    lines = first.source.splitlines()
    statements = ast.parse(first.source).body
    assert len(lines) == len(statements)
    for line, statement in zip(lines, statements):
        assert isinstance(statement, ast.AnnAssign), line
        assert type(ast.literal_eval(statement.value)).__name__ == ast.unparse(statement.annotation), line
        assert re.search(r"  # \w", line), line


def test_checks_call_the_helper_and_are_enough(source):
    cells = code_cells(source)
    tagged = [c for c in cells if "nbval-check-output" in c.metadata.get("tags", ())]
    before_exercises = [c for c in chapters.read_cells(source)[0] if "nbval-check-output" in c.metadata.get("tags", ())]
    assert len(before_exercises) >= CHECKS_NEEDED.get(source.name[:2], 4)
    assert all(CHECK.search(cell.source) for cell in tagged)
    untagged = [c for c in cells if c not in tagged]
    assert not any(CHECK.search(cell.source) for cell in untagged)  # a check that nbval would not compare


def test_cells_are_short_and_free_of_what_breaks_notebooks(source):
    for cell in code_cells(source):
        assert "solution" in cell.metadata.get("tags", ()) or len(cell.source.splitlines()) <= 25
        for word in ("tqdm", "ipywidgets", "input(", "plt.show", "papermill", "os.environ"):
            assert not re.search(rf"\b{re.escape(word)}", cell.source)
        assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE)


# --- the chapters ---


def test_every_chapter_says_what_it_is(source):
    chapter = chapters.describe(source)
    assert tuple(chapter.facts) == chapters.LABELS
    assert chapter.question.endswith((".", "?"))
    assert chapters.read_cells(source)[0][0].source.startswith(f"# {int(chapter.number)}. {chapter.title}\n")
    assert re.search(r"\d+ minutes of reading, \d+ (seconds|minutes) of computing", chapter.facts["Time"])


def test_bands_are_the_recorded_ones_and_are_printed(source):
    found = json.loads(json.dumps(record.bands(source.stem[:2], record.read_rows())))
    file = NOTEBOOKS / "expected" / f"{source.stem}.json"
    assert bool(found) == file.exists() == ("nb.check_band(" in source.read_text())
    if found:
        stored = json.loads(file.read_text())
        assert stored == found
        printed = "".join(
            output.text
            for cell in nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4).cells
            for output in cell.get("outputs", ())
            if output.output_type == "stream"
        )
        for name, entry in stored.items():  # so that an edit of an entry changes a compared output
            assert re.search(
                rf"^✓ {re.escape(name)} \(excludes .+\): ≈.+, expected {band_text(entry)}$", printed, re.MULTILINE
            )


def band_text(entry):
    return re.escape(f"{entry['low']:g} to {entry['high']:g}")


def test_links_lead_to_tracked_files():
    tracked = subprocess.run(["git", "ls-files"], cwd=NOTEBOOKS.parent, capture_output=True, text=True, check=True)
    tracked = set(tracked.stdout.splitlines())
    pages = [
        *NOTEBOOKS.glob("*.ipynb"),
        *NOTEBOOKS.glob("*/*.ipynb"),
        NOTEBOOKS / "README.md",
        NOTEBOOKS.parent / "README.md",
    ]
    count = 0
    for page in pages:
        if page.suffix == ".ipynb":
            cells = nbformat.read(page, as_version=4).cells
            text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        else:
            text = page.read_text()
        links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
        for link in links:
            if link.startswith("data:"):
                continue  # a drawing: tests/test_drawings.py
            if link.startswith(("http:", "https:")):
                if "colab.research.google.com/github" not in link:
                    continue
                start = chapters.colab_badge("").split("](")[-1].removesuffix("notebooks/.ipynb)")
                assert link.startswith(start), f"{page.name} links to {link}"
                target = link.removeprefix(start)
            else:
                place = (page.parent / link.split("#")[0]).resolve()
                target = str(place.relative_to(NOTEBOOKS.parent))
            count += 1
            assert target in tracked, f"{page.name} links to {link}"
    assert count > 10 * len(SOURCES)


@pytest.mark.parametrize("source", [s for s in SOURCES if "nb.source_index(" in s.read_text(encoding="utf-8")])
def test_the_index_of_sources_leads_to_parts_of_the_chapter(source):
    chapter, page = chapters.describe(source), (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    cells = nbformat.read(NOTEBOOKS / f"{chapter.stem}.ipynb", as_version=4).cells
    headings = re.findall(r"^#+ (.+)$", "\n".join(c.source for c in cells if c.cell_type == "markdown"), re.MULTILINE)
    rows = list(index.shown_rows(chapter))
    assert len(rows) >= 10
    for _, item, where, outcome in rows:
        assert where in headings, f"{item}: no part {where!r}"
        assert f"| {item} | chapter {int(chapter.number)}, [{where}]" in page and f" | {outcome} |" in page


def rows_of(*values, preset="quick"):
    shared = {"chapter": "03", "preset": preset, "name": "probe", "banded": "yes", "torch": "2", "machine": "m"}
    return [shared | {"seed": str(i), "value": str(v)} for i, v in enumerate(values)]


def test_a_band_is_the_range_of_the_seeds_and_a_margin():
    (entry,) = record.bands("03", rows_of(0.70, 0.72, 0.75, 0.80, 0.78) + rows_of(9, preset="paper")).values()
    assert entry["low"] == pytest.approx(0.70 - 0.05 - 0.04) and entry["high"] == pytest.approx(0.80 + 0.05 + 0.04)
    assert entry["values"] == {"m, torch 2": {0: 0.70, 1: 0.72, 2: 0.75, 3: 0.80, 4: 0.78}}
    (share,) = record.bands("03", rows_of(0.01, 0.9, 0.99, 0.5, 0.6)).values()
    (count,) = record.bands("03", rows_of(1, 9, 99, 5, 6)).values()
    assert (share["low"], share["high"], count["low"]) == (0, 1, 0) and count["high"] > 99
    with pytest.raises(ValueError, match="'probe' has 4 seeds, a band needs 5"):
        record.bands("03", rows_of(1, 2, 3, 4))


def test_a_band_holds_the_seeds_of_all_machines():
    rows = rows_of(0.2, 0.3, 0.25, 0.22, 0.28)
    (entry,) = record.bands("03", rows + [row | {"machine": "n"} for row in rows_of(0.4, 0.2)]).values()
    assert entry["low"] == pytest.approx(0.08) and entry["high"] == pytest.approx(0.52)
    assert entry["values"]["n, torch 2"] == {0: 0.4, 1: 0.2} and len(entry["values"]["m, torch 2"]) == 5
    with pytest.raises(ValueError, match="'probe' has 4 seeds"):
        record.bands("03", rows[:4] + [row | {"machine": "n"} for row in rows[:4]])


def test_a_recorded_run_replaces_its_older_one(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "ROWS", tmp_path / "chapters.csv")
    assert record.read_rows() == []
    record.add_run(rows_of(1, 2) + rows_of(7, preset="paper"))
    record.add_run([row | {"name": "renamed"} for row in rows_of(3)])
    found = [(row["preset"], row["seed"], row["name"], row["value"]) for row in record.read_rows()]
    assert found == [("quick", "1", "probe", "2"), ("quick", "0", "renamed", "3"), ("paper", "0", "probe", "7")]
    record.add_run([row | {"machine": "another"} for row in rows_of(4)])
    assert [row["value"] for row in record.read_rows() if row["seed"] == "0"] == ["4", "3", "7"]


@pytest.mark.slow
def test_a_chapter_is_recorded_with_its_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ | {"NCVQVAE_PRESET": "paper"})
    text = SAMPLE.replace("n: int = 3  # a count", 'seed: int = 1  # random\npreset: str = "quick"  # name')
    text = text.replace("print(n, os", "n = seed\nprint(n, os").replace(
        "# %%\nn + 1\n\n# %%", '# %%\nfrom ncvqvae_lite import nb\n\nnb.record("01", "seed", seed)\n\n# %%', 1
    )
    (row,) = record.record(write(tmp_path, text), "quick", 4)
    assert (row["chapter"], row["seed"], row["name"], row["value"], row["banded"]) == ("01", 4, "seed", "4", "no")


def test_the_recorded_numbers_that_a_chapter_shows_are_the_latest(source):
    cells = nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4).cells
    shown = [
        c.outputs[0].text
        for c in cells
        if c.cell_type == "code" and f'nb.recorded_runs("{source.stem[:2]}")' in c.source
    ]
    assert shown == [nb.recorded_runs(source.stem[:2]) + "\n"] * (source.stem[:2] not in ("00", "08", "10"))


# --- the exercises ---

WITH_EXERCISES = [file for file in SOURCES if chapters.read_cells(file)[1]]


@pytest.mark.parametrize("source", WITH_EXERCISES, ids=lambda file: file.stem)
def test_solutions_pass_stubs_and_wrong_answers_fail(source, capsys, monkeypatch):
    """Without a kernel: set-up, then each exercise on its own, in one namespace."""
    monkeypatch.delenv("NCVQVAE_DATA", raising=False)
    setup, found = exercises.parse(chapters.read_cells(source)[1])
    number = int(source.stem[:2])
    assert [e.number for e in found] == [f"{number}.{i + 1}" for i in range(len(found))]
    assert number == 0 or (3 <= len(found) <= 5 and any(e.stars == "**" for e in found))
    for e in found:  # a question that no check can grade has a model answer, folded
        assert bool(exercises.QUESTION.search(e.statement.source)) == bool(exercises.MODEL.search(e.hint.source))
    namespace = {}
    for cell in setup:
        if cell.cell_type == "code":
            exec(compile(cell.source, source.name, "exec"), namespace)
    for exercise in found:
        exec(compile(exercises.stub(exercise), source.name, "exec"), namespace)
        with pytest.raises(NotImplementedError, match=rf"^Exercise {re.escape(exercise.number)}: \w+"):
            exec(compile(exercise.check.source, source.name, "exec"), namespace)
        exec(compile(exercise.solution.source, source.name, "exec"), namespace)
        exec(compile(exercise.check.source, source.name, "exec"), namespace)
        exec(compile(exercise.wrong.source, source.name, "exec"), namespace)
        assert exercise.check.source.endswith(f"\nnb.examine(check_{exercise.name}, {exercise.name})")
        assert len(exercise.wrong_names) >= 2
        for name in exercise.wrong_names:
            with pytest.raises(nb.CheckFailed):
                nb.examine(namespace[f"check_{exercise.name}"], namespace[name])
        with pytest.raises(nb.CheckFailed, match=r"returned None: does it end in `return`\?$"):
            nb.examine(namespace[f"check_{exercise.name}"], lambda *_, **__: None)
        for kind in (object(), 1.0, (), (None, None), (1.0, 1.0, 1.0), torch.tensor(1.0), torch.ones(2, 3), {}):
            with pytest.raises(nb.CheckFailed):
                nb.examine(namespace[f"check_{exercise.name}"], lambda *_, kind=kind, **__: kind)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("### 1.1 Double `*`", "### Double", "expected a heading like"),
        ('tags=["hint"]', "", "its cells are tagged"),
        ("    # end of solution\n", "", "needs one line '# solution: ...'"),
        ('# %% tags=["solution"]', '# %%\n1\n\n# %% tags=["solution"]', "five cells each"),
        ("def double(x):", "def half(x):\n    return x / 2\n\ndef double(x):", "expected one function"),
    ],
)
def test_exercises_of_another_layout_are_refused(tmp_path, old, new, fault):
    assert old in SAMPLE
    cells = chapters.read_cells(write(tmp_path, SAMPLE.replace(old, new)))[1]
    with pytest.raises(ValueError, match=re.escape(fault)):
        exercises.without_answers(cells)


def test_a_learners_notebook_has_no_answer(tmp_path):
    cells = exercises.without_answers(chapters.read_cells(write(tmp_path, SAMPLE))[1])
    text = "\n".join(cell.source for cell in cells)
    assert 'raise NotImplementedError("Exercise 1.1: add x to x")' in text
    assert '"""Twice x."""' in text and "check_double(double)" in text and "Add." in text
    assert "x + x" not in text and "wrong_" not in text and "solution" not in text
    assert "Your answer" not in text


def test_a_question_in_words_has_a_place_to_answer(tmp_path):
    text = SAMPLE.replace("# Twice x.\n", "# Twice x. **To answer in\n# words:** is it even?\n")
    text = text.replace(
        "# Add.\n", "# Add.\n#\n# <details><summary>Answer in words</summary> If x is whole. </details>\n"
    )
    cells = exercises.without_answers(chapters.read_cells(write(tmp_path, text))[1])
    assert [cell.source[:14] for cell in cells[-3:]] == ["def check_doub", "**Your answer ", "Add.\n\n<details"]


# --- the build tool ---


def test_checks_have_a_title_and_are_folded_unless_later_cells_need_them(tool, tmp_path):
    checked = '# %% tags=["nbval-check-output"]\n'
    text = SAMPLE.replace("# %%\nn + 1\n\n# %%\nn + 1", f"{checked}k = 1\n\n{checked}m = 2\n\n# %%\nn + k")
    source = write(tmp_path / "notebooks" / "src", text)
    learner, solved = chapters.exercises_notebook(source), chapters.solutions_notebook(source)
    for notebook, folded in ((chapters.chapter_notebook(source), 3), (learner, 2), (solved, 1)):
        for cell in notebook.cells:
            tags = cell.metadata.get("tags", ())
            assert cell.source.startswith("# @title Check\n") == ("nbval-check-output" in tags)
            needed = cell.source.endswith("k = 1") or notebook is solved
            folds = "colab-setup" in tags or ("nbval-check-output" in tags and not needed)
            assert cell.metadata.get("cellView") == ("form" if folds else None)
            assert cell.metadata.get("jupyter") == ({"source_hidden": True} if folds else None)
        assert sum("cellView" in cell.metadata for cell in notebook.cells) == folded


@pytest.mark.slow
def test_two_builds_are_identical_and_edits_are_noticed(tool, tmp_path, monkeypatch):
    monkeypatch.setenv("NCVQVAE_DATA", "/some/where")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    folder = tmp_path / "notebooks"
    source = write(folder / "src", SAMPLE)
    tool.build(source)
    first = {name: (folder / name).read_bytes() for name in NAMES}
    tool.build(source)
    assert first == {name: (folder / name).read_bytes() for name in NAMES}
    assert tool.check(source) == []

    notebook = json.loads(first["01_sample.ipynb"])
    assert notebook["metadata"] == chapters.METADATA
    cells = notebook["cells"]
    tags = [cell["metadata"].get("tags", [None])[0] for cell in cells]
    assert tags == [None, "nav", "colab-setup", "parameters", "nbval-check-output", None, None, None, None, "nav"]
    assert "".join(cells[4]["outputs"][0]["text"]) == "3 1 True \n"  # one thread, no local data
    assert set(cells[5]["outputs"][0]["data"]) == {"image/png", "text/plain"}
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == 10
    assert ids[6][:-1] == ids[7][:-1] and ids[6][-1] == "1" and ids[7][-1] == "2"  # equal cells are counted
    assert "2 seconds of computing" in "".join(cells[2]["outputs"][0]["text"])

    solved = json.loads(first["solutions/01_sample.ipynb"])["cells"]
    said = "".join(solved[-1]["outputs"][0]["text"])
    assert said == "refused: squares (at: double of 3)\nrefused: wrong_same (at: double of 3)\n"
    stubs = json.loads(first["exercises/01_sample.ipynb"])["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in stubs)

    source.write_text(SAMPLE.replace("# # 1. Sample", "# # 1. Another"))
    assert tool.check(source) == [
        "01_sample.ipynb: cell 1 differs from its source: source, id",
        "solutions/01_sample.ipynb: cell 1 differs from its source: source, id",
        "exercises/01_sample.ipynb: cell 1 differs from its source: source, id",
    ]
    source.write_text(SAMPLE)
    (folder / NAMES[2]).unlink()
    assert tool.check(source) == ["exercises/01_sample.ipynb is missing"]

    cells[5]["execution_count"] = None
    cells[4]["outputs"] = []
    cells[7]["source"] = ["1"]
    notebook["metadata"]["kernelspec"]["name"] = "mine"
    (folder / NAMES[0]).write_text(json.dumps(notebook))
    faults = [f.removeprefix("01_sample.ipynb: ") for f in tool.check(source)]
    parts = (
        "metadata are",
        "cell 5 is a check without",
        "cell 6 was not executed",
        "cell 8 differs from its source: source",
    )
    assert [fault.startswith(part) for fault, part in zip(faults, parts)] == [True] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ('import sys\n\nprint("careful", file=sys.stderr)', "cell 9 writes to stderr or raises: careful"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_build_with_stderr_or_an_error_writes_nothing(tool, tmp_path, extra, fault):
    text = SAMPLE.replace("# %% [markdown]\n# ## Exercises", f"# %%\n{extra}\n\n# %% [markdown]\n# ## Exercises")
    source = write(tmp_path / "notebooks" / "src", text)
    with pytest.raises(BadInput, match=f"01_sample.py -> 01_sample.ipynb fails:(?s:.*){fault}"):
        tool.build(source)
    assert [p.name for p in (tmp_path / "notebooks").iterdir()] == ["src"]


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (dict(output_type="stream", name="stderr", text="careful"), "writes to stderr or raises: careful"),
        (dict(output_type="error", ename="E", evalue="odd", traceback=["a"]), "writes to stderr or raises: odd"),
        (dict(output_type="stream", name="stdout", text="<f at 0x7f3a5c00>"), "object address"),
        (dict(output_type="execute_result", data={"text/plain": "<f at 0x7F3A5C00>"}), "object address"),
        (dict(output_type="stream", name="stdout", text="in /home/me/runs"), "shows the path /home/me"),
        (dict(output_type="display_data", data={"image/png": "A" * 220_000}), "figure of 165000 bytes"),
        (dict(output_type="display_data", data={"image/svg+xml": "<svg/>"}), "SVG"),
    ],
)
def test_outputs_that_must_not_be_committed(output, fault):
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[new_output(**output)])])
    (found,) = build.output_faults(notebook, paths=("/home/me", "/"))
    assert found.startswith("cell 1 ") and fault in found


def test_a_compared_cell_shows_no_float_in_full():
    def faults(tags):
        output = new_output("stream", name="stdout", text="error: 0.059934218883514405")
        return build.output_faults(new_notebook(cells=[new_code_cell("1", outputs=[output], metadata=dict(tags=tags))]))

    assert faults([]) == []
    (found,) = faults([chapters.CHECKED])
    assert found.startswith("cell 1 is compared and shows all of 0.0599")


def test_outputs_that_may_be_committed():
    outputs = [
        new_output("stream", name="stdout", text="a / b, 0x10"),
        new_output("display_data", data={"image/png": "A" * 10_000}),
    ]
    assert build.output_faults(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), paths=("/", "")) == []


@pytest.mark.slow
def test_the_command_builds_and_checks(tool, tmp_path, capsys):
    folder = tmp_path / "notebooks"
    source = write(folder / "src", SAMPLE)
    assert tool.main(["--check"]) == 1
    assert "01_sample.ipynb is missing" in capsys.readouterr().err
    assert tool.main(["01"]) == 0
    assert tool.main(["--check"]) == 0
    text = (folder / "README.md").read_text()
    assert "## [1. Sample](01_sample.ipynb)" in text and "Does the tool work?" in text and "- **Goals**: build" in text
    assert (folder / "thumbnails" / "01_sample.png").read_bytes().startswith(b"\x89PNG")
    (folder / "04_stale.ipynb").write_text("{}")
    assert tool.main(["--check"]) == 1
    assert "04_stale.ipynb has no source" in capsys.readouterr().err
    (folder / "04_stale.ipynb").unlink()
    (folder / "README.md").write_text("old")
    assert tool.main(["--check"]) == 1
    assert "README.md is not current" in capsys.readouterr().err
    source.write_text(SAMPLE.replace("n + 1", "n + 2"))
    assert tool.main(["01", "--check"]) == 1
    assert "cell 7 differs" in capsys.readouterr().err
    assert tool.main(["99"]) == 1
    assert "no notebook 99: choose from 01" in capsys.readouterr().err


# --- nbval with mutation ---


def nbval(folder, *names):
    """(passed, failed, output) of nbval with the mutation plugin on notebooks of a folder."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "mutate",
        "--nbval-lax",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-rN",  # no short summary: where $CI is set it repeats each message in full
    ]
    env = {**os.environ, "PYTHONPATH": f"{NOTEBOOKS / 'tools'}:{NOTEBOOKS.parent}"}
    done = subprocess.run([*command, *names], cwd=folder, env=env, capture_output=True, text=True)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed)", done.stdout.splitlines()[-1])}
    return counts.get("passed", 0), counts.get("failed", 0), done.stdout


@pytest.mark.slow
def test_every_changed_digit_is_noticed(tmp_path):
    def cell(source, printed, count=1):
        outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
        return new_code_cell(source, execution_count=count, outputs=outputs, metadata={"tags": ["nbval-check-output"]})

    good = new_notebook(cells=[cell("print(12, 3.4)", "12 3.4\n"), new_code_cell("print(9)", execution_count=2)])
    nbformat.write(good, tmp_path / "good.ipynb")
    passed, failed, text = nbval(tmp_path, "good.ipynb")
    assert (passed, failed) == (2, 0)
    assert "mutation: 4 changed digits in 1 checked cells, all noticed" in text

    about = new_notebook(cells=[cell("print('a: ≈3.14, expected 3 to 4')", "a: ≈-2.7e-05, expected 3 to 4\n")])
    nbformat.write(about, tmp_path / "about.ipynb")
    passed, failed, text = nbval(tmp_path, "about.ipynb")
    assert (passed, failed) == (1, 0)
    assert "mutation: 2 changed digits in 1 checked cells, all noticed" in text

    bad = new_notebook(
        cells=[
            cell("print(13)", "12\n"),  # another number
            cell("print('ok')", "ok\n"),  # no number to change
            new_code_cell("print(5)", metadata={"tags": ["nbval-check-output"]}),  # nbval skips it: never executed
        ]
    )
    nbformat.write(bad, tmp_path / "bad.ipynb")
    passed, failed, text = nbval(tmp_path, "bad.ipynb")
    assert (passed, failed) == (0, 3)
    assert text.count("A checked cell without a number, or one that nbval does not compare") == 2

    (tmp_path / "hide.cfg").write_text("[numbers]\nregex: \\d+\nreplace: N\n")  # a sanitiser that hides every number
    passed, failed, text = nbval(tmp_path, "--nbval-sanitize-with", "hide.cfg", "good.ipynb")
    assert failed == 1 and "4 of 4 changed digits go unnoticed" in text
