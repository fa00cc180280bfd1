"""The notebook runner: strict before it starts, honest about what failed, and 08 end to end on a small set."""

import json
import os
import re
import sys

import nbformat
import numpy as np
import pytest

from ncvqvae_lite import nb
from ncvqvae_lite.data import two_patterns
from ncvqvae_lite.errors import BadInput, NotFound, RunFolderError, RunFolderHeld
from ncvqvae_lite.lab import runner
from ncvqvae_lite.lab.runner import KernelDied, NotebookFailed, check_parameters, find_notebook, run_notebook

MINI = """
# %% tags=["parameters"]
n: int = 3  # a count
name: str = "x"
rate: float = 0.5
cut: bool = False
found = []

# %%
import json, os, sys
from ncvqvae_lite.errors import BadInput, RunFolderHeld
print(json.dumps([n, name, rate, cut, found]))

# %%
if name == "user":
    raise BadInput("seven is too many: use 6")
if name == "held":
    raise RunFolderHeld("the cell is held by another process")
if name == "bug":
    1 / 0
if name == "memory":
    raise MemoryError("no room")
if name == "killed":
    os.kill(os.getpid(), 9)

# %%
print(sys.executable)
print(os.getcwd())
print(os.environ["MALLOC_MMAP_THRESHOLD_"], os.environ["OMP_NUM_THREADS"], "NCVQVAE_PRESET" in os.environ)
print("to the log", file=sys.stderr)
"""
MICRO = {
    "epochs": 2, "prior_epochs": 2, "fcn_epochs": 1, "cas_epochs": 1, "min_steps": 0, "prior_min_steps": 0,
    "fcn_min_steps": 0, "probe_every": 1, "n_blocks": 1, "dim": 16, "projector_width": 32, "prior_dim": 16,
    "prior_width": 32, "prior_depth": 1, "decoding_steps": 2, "min_samples": 40, "second_fcn": False,
}  # fmt: skip


@pytest.fixture
def mini(tmp_path):
    source = tmp_path / "mini.py"
    source.write_text(MINI)
    return source


def printed(path):
    """Text that a notebook's code cells printed to stdout."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


@pytest.mark.slow
def test_parameters_reach_the_kernel_as_values(mini, tmp_path, monkeypatch):
    monkeypatch.setenv("NCVQVAE_PRESET", "paper")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "no kernels here"))
    parameters = {"n": 7, "name": '007 "quoted"', "rate": 2, "cut": True, "found": [1, None]}
    folder = tmp_path / "out {n} {x}"  # braces are part of the name
    output = run_notebook(mini, parameters, folder / "mini.ipynb")
    values, executable, cwd, environment = printed(output).splitlines()
    assert json.loads(values) == [7, '007 "quoted"', 2.0, True, [1, None]]
    assert "2.0" in values  # declared as a float
    assert executable == sys.executable
    assert os.path.samefile(cwd, folder)
    assert environment == "1073741824 3 False"
    log = (folder / "mini.log").read_text().splitlines()
    # jupyter_client ends a kernel with an interrupt; where that meets the last message, ipykernel logs it
    assert [line for line in log if "KeyboardInterrupt caught in kernel" not in line] == ["to the log"]
    assert sorted(p.name for p in output.parent.iterdir()) == ["mini.ipynb", "mini.log"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("user", BadInput, "^seven is too many: use 6$"),
        ("held", RunFolderHeld, "held by another process"),
        ("bug", NotebookFailed, "ZeroDivisionError: division by zero.*mini.partial.ipynb"),
        ("memory", MemoryError, "no room"),
        ("killed", KernelDied, "kernel died.*mini.log"),
    ],
)
def test_a_failing_cell_keeps_what_ran(mini, tmp_path, capsys, name, error, message):
    output = tmp_path / "mini.ipynb"
    with pytest.raises(error, match=message) as raised:
        run_notebook(mini, {"name": name}, output)
    assert type(raised.value) is error
    assert not output.exists()
    assert f'[3, "{name}", 0.5, false, []]' in printed(tmp_path / "mini.partial.ipynb")
    assert ("1 / 0" in capsys.readouterr().err) == (name == "bug")  # only a bug needs its traceback
    assert ("ZeroDivisionError" in (tmp_path / "mini.log").read_text()) == (name == "bug")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"m": 1}, "unknown parameter 'm'.*the notebook has n, name, rate"),
        ({"nam": "x"}, "did you mean name"),
        ({"n": "1"}, "parameter n must be int, like 3, got '1'"),
        ({"n": 1.0}, "must be int"),
        ({"n": True}, "must be int"),
        ({"cut": 1}, "must be bool"),
        ({"rate": "0.5"}, "must be float"),
        ({"name": None}, "must be str"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_starts(mini, tmp_path, given, message):
    with pytest.raises(BadInput, match=message):
        run_notebook(mini, given, tmp_path / "out" / "mini.ipynb")
    assert not (tmp_path / "out").exists()


def test_an_integer_serves_as_a_number():
    checked = check_parameters({"rate": 0.5}, {"rate": 2})
    assert checked == {"rate": 2.0} and type(checked["rate"]) is float


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("# %%\nn = 3\n", "0 cells are tagged"),
        ('# %% tags=["parameters"]\nn = 3\n# %% tags=["parameters"]\nm = 3\n', "2 cells are tagged"),
        ('# %% tags=["parameters"]\nn = 3\nm = n + 1\n', "parameter m is no literal"),
        ('# %% tags=["parameters"]\nimport os\n', "`import os`, expected `name: type = value`"),
        ('# %% tags=["parameters"]\nn: int\n', "n is no literal"),
    ],
)
def test_a_parameters_cell_is_needed_and_made_of_literals(tmp_path, cells, message):
    source = tmp_path / "mini.py"
    source.write_text(cells)
    with pytest.raises(BadInput, match=message):
        run_notebook(source, {}, tmp_path / "mini.ipynb")


def test_notebooks_are_found_by_name_and_by_path(mini, tmp_path, monkeypatch):
    assert find_notebook("08_replicate").name == "08_replicate.py"
    assert find_notebook(mini) == mini
    with pytest.raises(NotFound, match="08_replicate"):
        find_notebook("88_replicate")
    with pytest.raises(NotFound, match=r"nowhere\.py"):
        find_notebook(tmp_path / "nowhere.py")
    installed = tmp_path / "_notebooks"  # without a checkout
    installed.mkdir()
    (installed / "08_replicate.py").write_text(MINI)
    monkeypatch.setattr(runner, "FOLDERS", (tmp_path / "no checkout", installed))
    assert find_notebook("08_replicate") == installed / "08_replicate.py"


def test_what_is_no_notebook_is_refused(tmp_path, mini):
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{")
    with pytest.raises(BadInput, match="cannot be read as a notebook"):
        run_notebook(broken, {}, tmp_path / "out.ipynb")
    with pytest.raises(BadInput, match="ends in .ipynb"):
        run_notebook(mini, {}, tmp_path / "out.html")
    with pytest.raises(RunFolderError, match="a part of that path is a file"):
        run_notebook(mini, {}, mini / "out.ipynb")


# --- notebook 08 ---


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small data set in a file, as `--data` takes it."""
    folder = tmp_path_factory.mktemp("series")
    ds = two_patterns(60, 50, length=64)
    arrays = {"X_train": ds.x_train.numpy(), "X_test": ds.x_test.numpy()}
    labels = {"y_train": ds.y_train.numpy(), "y_test": ds.y_test.numpy()}
    np.savez(folder / "Small.npz", **arrays, **labels)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("method", "augmentation"), [("regular", "none"), ("vibcreg", "slice")])
def test_notebook_08_runs_a_cell_end_to_end(small, tmp_path, method, augmentation):
    cfg = nb.experiment_config("Small", method, augmentation, 2, "quick", json.dumps(MICRO))
    path = runner.replicate_notebook(cfg, tmp_path / "runs", data=small)
    assert path == cfg.cell_folder((tmp_path / "runs").resolve()) / "notebook.ipynb"
    metrics = json.loads((path.parent / "metrics.json").read_text())
    text = printed(path)
    assert f"{method} + {augmentation}, seed 2" in text
    assert '"epochs": 2' in text
    assert "tokenizer: 2 of 2 epochs" in text and "prior: 2 of 2 epochs" in text
    assert "60 train and 50 test series" in text
    assert "Published: none" in text
    for name in ("knn_acc", "svm_acc"):
        assert re.search(rf"^{name} +{metrics[name]:.4g} ", text, re.MULTILINE)
    assert "generated series (n, C, L): (32, 1, 64)" in text
    outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", ())]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 7
    complaints = [o["text"] for o in outputs if o.get("name") == "stderr"]
    assert all("WeakEvidence: the FCN behind fid" in text for text in complaints)
    share = np.bincount(np.load(small / "Small.npz")["y_test"]).max() / 50
    accuracies = [value for name, value in metrics.items() if name.startswith("fcn_accuracy")]
    assert bool(complaints) == (min(accuracies) < share + (1 - share) / 4)
    assert not list(path.parent.glob("*.partial*"))

    if method != "regular":
        return
    before = (path.parent / "metrics.json").stat().st_mtime_ns
    again = printed(runner.replicate_notebook(cfg, tmp_path / "runs", data=small))
    assert "epochs\n" not in again.split("finished")[0].split("source")[1]  # nothing was trained twice
    assert (path.parent / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_user_error_in_notebook_08_is_one_sentence(small, tmp_path):
    parameters = {"dataset": "Smal", "data": str(small), "out": str(tmp_path)}
    with pytest.raises(NotFound, match="Smal is not in .*, which holds Small"):
        run_notebook("08_replicate", parameters, tmp_path / "08.ipynb")
