"""A notebook as a job: strict parameters, a kernel of this very Python, an output that is whole or marked partial.

papermill executes. What it leaves open is settled here: it only warns about a parameter that the notebook does not
have, cannot read percent source, and starts kernels on TCP ports that many kernels at once compete for.
"""

import ast
import hashlib
import json
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .. import errors
from ..errors import BadInput, NotFound
from ..fcn_weights import file_hash
from ..files import write_json, writing_to
from ..nb_parameters import check_parameter_names
from .results import CELL

PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (PACKAGE.parent / "notebooks" / "src", PACKAGE / "_notebooks")  # of a checkout, of an installed package
REPLICATE = "08_replicate"

# glibc gives large buffers back to the system after each step and asks for them again; these limits make it keep them.
# Training steps on a CPU get 5 to 15 % faster.
KEEP_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


class NotebookFailed(RuntimeError):
    """A cell raised what no user can put right; the traceback is on the console and in the log."""


class KernelDied(NotebookFailed):
    """The process that runs the cells ended by itself: killed, by hand or for lack of memory."""


def run_notebook(name_or_path, parameters, output):
    """Execute a notebook with these parameters and write it to `output`, which appears only when every cell has run.

    name_or_path   a percent script (.py), a notebook (.ipynb), or a name such as "08_replicate"
    parameters     name -> Python value, replacing values of the cell tagged `parameters`; the others stay
    output         .ipynb file. While it runs, and after a failure, the cells done so far are in OUTPUT.partial.ipynb;
                   what the kernel wrote to stderr is in OUTPUT.log. Its folder is the kernel's working directory
    returns        output, as a Path
    raises         BadInput before anything starts for an unknown name, another type, or a notebook without parameters;
                   an error of `ncvqvae_lite.errors` that a cell raised, as itself; MemoryError; NotebookFailed;
                   KernelDied; RunFolderError where the output's folder cannot be written
    """
    output = Path(output).resolve()
    if output.suffix != ".ipynb":
        raise BadInput(f"the output {output} is no notebook: choose a name that ends in .ipynb")
    notebook = read_notebook(find_notebook(name_or_path))
    parameters = check_parameters(declared_parameters(notebook), parameters)
    partial, log_file = output.with_suffix(".partial.ipynb"), output.with_suffix(".log")
    with writing_to(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(log_file, "w", encoding="utf-8") as log, kernel_class(output.parent, log) as kernel:
            _execute(notebook, partial, parameters, kernel, log)
        os.replace(partial, output)
    return output


def replicate_notebook(cfg, out, data=None, fcn=None):
    """Execute notebook 08 for one cell and put it into the cell's folder; returns the path.

    The notebook runs what is left of the experiment. Beside it, written last, notebook.json names its code, so that
    an old one is found out.

    cfg        ExperimentConfig
    out        folder of all runs
    data, fcn  folder of the series and FCN weights, as for `load_dataset` and `run_experiment`; None for their defaults
    """
    parameters = {name: getattr(cfg, name) for name in CELL}
    parameters |= {"preset": cfg.preset_name, "settings": json.dumps(cfg.changes())}
    for name, place in (("out", out), ("data", data), ("fcn", fcn)):
        parameters[name] = "" if place is None else str(Path(place).resolve())
    folder, code = cfg.cell_folder(out, file_hash(fcn) if fcn else "own"), code_digest(REPLICATE)
    notebook = run_notebook(REPLICATE, parameters, folder / "notebook.ipynb")
    with writing_to(folder):
        write_json(folder / "notebook.json", {"code": code})
    return notebook


@cache
def code_digest(name):
    """Eight hex digits that name the code cells of a percent script; an edit of its prose does not change them."""
    cells = re.split(r"^# %%", find_notebook(name).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    code = [cell.strip() for cell in cells if not cell.startswith(" [markdown]")]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:8]


# --- the notebook and its parameters ---


def find_notebook(name_or_path):
    """The file of a notebook, by path or by name; raises NotFound with the names that there are."""
    if Path(name_or_path).suffix in (".py", ".ipynb"):
        places = [Path(name_or_path)]
    else:
        places = [folder / f"{name_or_path}.py" for folder in FOLDERS]
    for place in places:
        if place.is_file():
            return place
    known = sorted({file.stem for folder in FOLDERS for file in folder.glob("[0-9]*.py")})
    raise NotFound(f"no notebook {name_or_path}: give the path of a .py or .ipynb file, or one of {', '.join(known)}")


def read_notebook(file):
    """A percent script or a notebook as an nbformat notebook."""
    import jupytext

    try:
        return jupytext.read(file, fmt="py:percent" if file.suffix == ".py" else None)
    except Exception as error:
        raise BadInput(f"{file} cannot be read as a notebook ({error}): build or fetch it again") from error


def declared_parameters(notebook):
    """name -> default value, from the one cell tagged `parameters`; raises BadInput if it is not made of literals."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    if len(cells) != 1:
        raise BadInput(f"{len(cells)} cells are tagged `parameters`, expected one: tag the cell with the defaults")
    found = {}
    for statement in ast.parse(cells[0].source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if len(targets) != 1 or not isinstance(targets[0], ast.Name):
            raise BadInput(f"the parameters cell holds `{ast.unparse(statement)}`, expected `name: type = value` lines")
        try:
            found[targets[0].id] = ast.literal_eval(statement.value)
        except (ValueError, TypeError):
            raise BadInput(f"parameter {targets[0].id} is no literal: derive values in the next cell") from None
    return found


def check_parameters(declared, given):
    """The given values, after comparing names and types with the declared defaults; raises BadInput."""
    check_parameter_names(declared, given)
    checked = {}
    for name, value in given.items():
        kind = type(declared[name])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise BadInput(f"parameter {name} must be {kind.__name__}, like {declared[name]!r}, got {value!r}")
        checked[name] = kind(value)
    return checked


# --- the kernel ---


@contextmanager
def kernel_class(cwd, log, **environment):
    """A kernel manager class for nbclient and papermill; its kernel's sockets and settings live until the block ends.

    The kernel runs this interpreter and this package, whatever kernels are registered. It listens on sockets in a
    temporary folder of its own (IPC; TCP on Windows, which has none) and writes its stderr to `log`, an open file.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    spec = KernelSpec(language="python", display_name="Python 3")
    spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    with tempfile.TemporaryDirectory(prefix="nc-", ignore_cleanup_errors=True) as folder:

        class Kernel(AsyncKernelManager):
            kernel_spec = spec  # pyright: ignore[reportAssignmentType]  # a property of the base class

            def __init__(self, **settings):
                settings |= {"connection_file": str(Path(folder, "k.json"))}
                super().__init__(transport="tcp" if os.name == "nt" else "ipc", **settings)

            async def start_kernel(self, **arguments):
                env = kernel_environment(folder) | environment
                await self._async_start_kernel(cwd=str(cwd), env=env, stderr=log, **arguments)

        yield Kernel


def kernel_environment(folder):
    """Environment variables of a kernel; `folder` takes what IPython writes, so that no user settings change a run."""
    env = own_environment() | KEEP_BUFFERS | {"IPYTHONDIR": folder, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env.pop("NCVQVAE_PRESET", None)  # it would overrule the parameter of that name
    return env


def own_environment():
    """Environment variables of a process that is to import this very package, installed or not."""
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _execute(notebook, partial, parameters, kernel, log):
    """Run all cells with papermill; a failure is told on the console and raised as what it is."""
    import nbformat
    from nbclient.exceptions import DeadKernelError
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    nbformat.write(notebook, partial)
    path = str(partial).replace("{", "{{").replace("}", "}}")  # papermill fills parameters into braces in a path
    told = {"stderr_file": log, "progress_bar": False, "coalesce_streams": True}
    python = {"kernel_name": "python3", "language": "python", "kernel_manager_class": kernel}
    try:
        execute_notebook(path, path, parameters=parameters, **python, **told)
    except PapermillExecutionError as error:
        if errors.is_out_of_memory(error.ename, error.evalue):
            raise MemoryError(error.evalue) from None
        kind = getattr(errors, error.ename, None)
        if isinstance(kind, type) and issubclass(kind, errors.UserError):
            raise kind(error.evalue) from None
        trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
        print(trace, file=sys.stderr)
        log.write(trace + "\n")
        said = f"cell {error.exec_count} of the notebook raised {error.ename}: {error.evalue}"
        raise NotebookFailed(f"{said}; the cells that ran are in {partial}") from None
    except DeadKernelError:
        died = "the notebook's kernel died, perhaps for lack of memory"
        raise KernelDied(f"{died}; its last words are in {log.name}, the cells that ran in {partial}") from None
