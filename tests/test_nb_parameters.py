"""A misspelt parameter is refused by the notebook itself, also where papermill only warns of it."""

import sys
from types import SimpleNamespace

import pytest

from ncvqvae_lite.errors import BadInput
from ncvqvae_lite.lab.runner import FOLDERS, kernel_class, read_notebook
from ncvqvae_lite.nb_parameters import refuse_unknown_parameters

NOTEBOOKS = sorted(FOLDERS[0].parent.glob("[0-9]*.ipynb"))
DECLARED = "dataset: str = 'A'  # a data set\nseed: int = 1\n"


def injected(**parameters):
    """The cell that papermill writes."""
    papermill = pytest.importorskip("papermill.translators")
    return papermill.translate_parameters("python3", "python", parameters, "Parameters")


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_every_notebook_knows_its_own_parameters_and_no_others(file):
    sources = [cell.source for cell in read_notebook(file).cells if cell.cell_type == "code"]
    setup, parameters, first = sources[:3]  # as built; in the first line of the setup the package is imported already
    own = {line.split(":")[0]: "x" for line in parameters.splitlines()}
    refuse_unknown_parameters(["", setup, parameters, injected(**own), first])
    name = next(iter(own))
    with pytest.raises(BadInput, match=rf"unknown parameter '{name}x' \(did you mean {name}\?\): the notebook has"):
        refuse_unknown_parameters(["", setup, parameters, injected(**own, **{f"{name}x": 1}), first])
    calls = [line for line in first.splitlines() if line[:1].isalpha() and "(" in line]
    assert calls[0] in (
        "generator = nb.seed_everything(seed)",
        "nb.refuse_unknown_parameters()",
    )  # checks and then works


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["datset"], "unknown parameter 'datset' .did you mean dataset.*the notebook has dataset, seed"),
        (["seed", "Seed"], "unknown parameter 'Seed'"),
        (["epochs"], "unknown parameter 'epochs': the notebook has dataset, seed"),
    ],
)
def test_a_parameter_that_is_not_declared_is_refused(names, message):
    with pytest.raises(BadInput, match=message):
        refuse_unknown_parameters(["", DECLARED, injected(**dict.fromkeys(names, 2))])


@pytest.mark.parametrize(
    "cells",
    [
        [],
        ["", DECLARED],
        ["", DECLARED, injected(seed=2, PAPERMILL_INPUT_PATH="a.ipynb", PAPERMILL_OUTPUT_PATH="b.ipynb")],
        ["", DECLARED, "other = 1\n"],  # a cell of the user's own
        ["", "rate = 0.5\n", "# Parameters\nother = 1\n"],  # nothing is declared
        ["", "rate = (\n", "# Parameters\nother = 1\n"],
        ["", DECLARED, "# Parameters\nother = 1\nprint(other)\n"],
        ["", DECLARED, injected(sede=2), DECLARED, injected(seed=2)],  # corrected and run again by hand
    ],
)
def test_everything_else_runs(cells):
    refuse_unknown_parameters(cells)


def test_cells_are_those_of_the_running_ipython(monkeypatch):
    cells = ["", DECLARED, injected(sede=2), "from ncvqvae_lite import nb"]
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    refuse_unknown_parameters()  # IPython is there, but does not run this
    shell = SimpleNamespace(user_ns={"In": cells})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with pytest.raises(BadInput, match="'sede' .did you mean seed"):
        refuse_unknown_parameters()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "misspelt"), [("seed", None), ("sede", "'sede'"), ("Dataset", "'Dataset'")])
def test_plain_papermill_is_stopped_before_the_notebook_does_anything(tmp_path, name, misspelt):
    papermill = pytest.importorskip("papermill")
    import jupytext

    setup, first = "\nfrom ncvqvae_lite import nb\n", '\nnb.seed_everything(seed)\nopen("ran", "w").close()\n'
    cells = [setup, f'tags=["parameters"]\n{DECLARED}', first]
    notebook = jupytext.reads("".join(f"# %% {cell}" for cell in cells), fmt="py:percent")
    jupytext.write(notebook, tmp_path / "mini.ipynb")
    place, value = [str(tmp_path / "mini.ipynb"), str(tmp_path / "out.ipynb")], {name: 2}
    with open(tmp_path / "log", "w") as log, kernel_class(tmp_path, log) as kernel:
        how = dict(kernel_name="python3", language="python", kernel_manager_class=kernel, progress_bar=False)
        if misspelt:
            with pytest.raises(papermill.PapermillExecutionError, match=misspelt) as raised:
                papermill.execute_notebook(*place, parameters=value, **how)
            assert raised.value.ename == "BadInput"
        else:
            papermill.execute_notebook(*place, parameters=value, **how)
    assert (tmp_path / "ran").exists() == (misspelt is None)
