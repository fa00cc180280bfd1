"""Sources of the notebooks keep their conventions; the build tool makes the same bytes twice and notices edits."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.lab.runner import read_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SOURCES = sorted((NOTEBOOKS / "src").glob("*.py"))
TAGS = set("parameters nbval-check-output nbval-ignore-output exercise solution hint colab-setup nav full-only".split())
CHECKS_NEEDED = {"00": 3, "08": 3, "10": 3}  # 4 elsewhere

SAMPLE = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sample

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
"""


@pytest.fixture(scope="module")
def build_tool():
    spec = importlib.util.spec_from_file_location("build", NOTEBOOKS / "tools" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
        assert set(cell.metadata) <= {"tags"}, cell.source
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
    assert len(tagged) >= CHECKS_NEEDED.get(source.name[:2], 4)
    assert all("nb.check(" in cell.source for cell in tagged)
    untagged = [c for c in cells if c not in tagged]
    assert not any("nb.check(" in cell.source for cell in untagged)  # a check that nbval would not compare


def test_cells_are_short_and_free_of_what_breaks_notebooks(source):
    for cell in code_cells(source):
        assert len(cell.source.splitlines()) <= 25
        for word in ("tqdm", "ipywidgets", "input(", "plt.show", "papermill", "os.environ"):
            assert word not in cell.source
        assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE)


# --- the build tool ---


@pytest.mark.slow
def test_two_builds_are_identical_and_edits_are_noticed(build_tool, tmp_path, monkeypatch):
    monkeypatch.setenv("NCVQVAE_DATA", "/some/where")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    source = write(tmp_path, SAMPLE)
    first, second = tmp_path / "first.ipynb", tmp_path / "second.ipynb"
    build_tool.build(source, first)
    build_tool.build(source, second)
    assert first.read_bytes() == second.read_bytes()
    assert build_tool.check(source, first) == []

    notebook = json.loads(first.read_text())
    assert notebook["metadata"] == build_tool.METADATA
    cells = notebook["cells"]
    assert [set(cell["metadata"]) for cell in cells] == [set(), {"tags"}, {"tags"}, set(), set(), set()]
    assert "".join(cells[2]["outputs"][0]["text"]) == "3 1 True \n"  # one thread, no local data
    assert set(cells[3]["outputs"][0]["data"]) == {"image/png", "text/plain"}
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == 6
    assert ids[4][:-1] == ids[5][:-1] and ids[4][-1] == "1" and ids[5][-1] == "2"  # equal cells are counted

    edited = write(tmp_path, SAMPLE.replace("# # Sample", "# # Another"), "02_edited.py")
    assert build_tool.check(edited, first) == ["cell 1 differs from its source: source, id"]
    longer = write(tmp_path, SAMPLE + "\n# %%\nn\n", "03_longer.py")
    assert build_tool.check(longer, first) == ["6 cells, the source has 7"]
    assert build_tool.check(source, tmp_path / "none.ipynb") == ["none.ipynb is missing"]

    cells[4]["execution_count"] = None
    cells[2]["outputs"] = []
    cells[3]["source"] = ["1"]
    notebook["metadata"]["kernelspec"]["name"] = "mine"
    second.write_text(json.dumps(notebook))
    faults = build_tool.check(source, second)
    parts = "metadata are", "cell 3 is a check without", "cell 4 differs from its source: source", "cell 5 was not"
    assert [fault.startswith(part) for fault, part in zip(faults, parts, strict=True)] == [True] * 4


@pytest.mark.slow
def test_a_build_with_stderr_or_an_error_writes_nothing(build_tool, tmp_path):
    target = tmp_path / "01_sample.ipynb"
    warns = write(tmp_path, SAMPLE + '\n# %%\nimport sys\n\nprint("careful", file=sys.stderr)\n')
    with pytest.raises(BadInput, match="cell 7 writes to stderr or raises: careful"):
        build_tool.build(warns, target)
    fails = write(tmp_path, SAMPLE + "\n# %%\n1 / 0\n")
    with pytest.raises(BadInput, match="01_sample.py fails:.*(?s:.*)ZeroDivisionError"):
        build_tool.build(fails, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["01_sample.py"]


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
def test_outputs_that_must_not_be_committed(build_tool, output, fault):
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[new_output(**output)])])
    (found,) = build_tool.output_faults(notebook, paths=("/home/me", "/"))
    assert found.startswith("cell 1 ") and fault in found


def test_outputs_that_may_be_committed(build_tool):
    outputs = [
        new_output("stream", name="stdout", text="a / b, 0x10"),
        new_output("display_data", data={"image/png": "A" * 10_000}),
    ]
    assert build_tool.output_faults(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), paths=("/", "")) == []


@pytest.mark.slow
def test_the_command_builds_and_checks(build_tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_tool, "NOTEBOOKS", tmp_path)
    (tmp_path / "src").mkdir()
    source = write(tmp_path / "src", SAMPLE.split("# %%\nfrom")[0])
    assert build_tool.main(["--check"]) == 1
    assert "01_sample.ipynb is missing" in capsys.readouterr().err
    assert build_tool.main(["01"]) == 0
    assert build_tool.main(["--check"]) == 0
    assert nbformat.read(tmp_path / "01_sample.ipynb", as_version=4).cells[1].execution_count == 1
    source.write_text(source.read_text() + "\n# more\n")
    assert build_tool.main(["01", "--check"]) == 1
    assert "cell 3 differs" in capsys.readouterr().err
    assert build_tool.main(["99"]) == 1
    assert "no notebook 99: choose from 01" in capsys.readouterr().err
