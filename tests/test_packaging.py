"""The shape of the repository: what installs, what ships, what imports what, and how long modules are."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ncvqvae_lite
from ncvqvae_lite.config_digest import imported_by
from ncvqvae_lite.generators import GENERATORS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ncvqvae_lite"

# The order in which the course reads the package. A room imports from rooms above it; `<room>_*.py` belongs to <room>.
ROOMS = (
    "errors shapes arguments numerics inference files names data_arrays data_labels data_text data_files data_archive "
    "generators data timefreq quantizer ssl_losses augmentations tokenizer residuals prior fcn metrics training family "
    "plots evaluation config thesis demonstration tables experiment nb lab cli"
).split()
NOT_CORE = ("lab", "demonstration", "tables", "plots", "nb", "cli")
TOP_LEVEL = {
    *("README.md", "environment.yml", "pyproject.toml", "constraints.txt", "Makefile", "LICENSE", "CITATION.cff"),
    *("notebooks", "ncvqvae_lite", "benchmarks", "data", "tests", ".ci", ".github", ".gitignore"),
    *("CONTRIBUTING.md", "CHANGELOG.md", ".pre-commit-config.yaml", ".devcontainer"),
}


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(*extras):
    """The core's requirements and those of the extras, with references of one extra to another resolved."""
    project = pyproject()["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    found = {}
    for requirement in map(Requirement, lines):
        if requirement.name == project["name"]:
            found |= requirements(*requirement.extras)
        else:
            found[canonicalize_name(requirement.name)] = requirement.specifier
    return found


def repository_files():
    """Files that are, or are about to be, in the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listing.returncode == 0:
        paths = [ROOT / line for line in listing.stdout.splitlines()]
    else:  # a copy without git
        paths = [path for name in TOP_LEVEL for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


# ---- requirements ----------------------------------------------------------------------------------------------


def test_conda_environment_asks_for_what_pyproject_asks_for():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert conda == ["python" + pyproject()["project"]["requires-python"], "pip"]
    assert pip[-1] == "-e ."
    asked = {canonicalize_name(r.name): r.specifier for r in map(Requirement, pip[:-1])}
    assert asked == requirements("notebooks", "test")
    assert len(pip) == len(asked) + 1


def pins():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines), "name==version, nothing local"
    return dict(line.split("==") for line in lines)


def test_constraints_pin_every_requirement_inside_its_bounds():
    pinned = pins()
    for name, bounds in requirements(*pyproject()["project"]["optional-dependencies"]).items():
        assert name in pinned, f"{name} is not in constraints.txt"
        assert pinned[name] in bounds, f"{name}=={pinned[name]} is outside {bounds}"
    assert pinned["torch"] == "2.13.0"


def test_version_stands_the_same_in_three_places():
    version = pyproject()["project"]["version"]
    assert ncvqvae_lite.__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


# ---- the wheel ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    built = subprocess.run(pip, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_carries_tables_and_the_notebook_that_runs_a_cell(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"ncvqvae_lite/_data/{path.relative_to(ROOT / 'data')}" for path in (ROOT / "data").rglob("*.csv")}
    assert shipped >= {"ncvqvae_lite/_data/thesis_tables.csv", "ncvqvae_lite/_data/author_runs.csv"}
    shipped |= {f"ncvqvae_lite/_data/judges/{name}.safetensors" for name in GENERATORS}
    assert names >= shipped | {"ncvqvae_lite/_data/README.md", "ncvqvae_lite/_notebooks/08_replicate.py"}
    assert "ncvqvae_lite/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"ncvqvae_lite", f"ncvqvae_lite-{ncvqvae_lite.__version__}.dist-info"}


def test_wheel_carries_the_campaigns_what_runs_them_and_the_page_of_the_report(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    lab = PACKAGE / "lab"
    files = [
        lab / "report" / "page.html.j2",
        lab / "Snakefile",
        *lab.glob("campaigns/*.toml"),
        *lab.glob("profiles/*/config.yaml"),
    ]
    assert len(files) >= 7
    assert names >= {path.relative_to(ROOT).as_posix() for path in files} | {"ncvqvae_lite/_data/reference_cost.csv"}


def test_wheel_holds_every_module_and_works_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for path in PACKAGE.rglob("*.py"):
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    code = "from ncvqvae_lite import fcn_weights, thesis; thesis.published_values(); "
    code += "print(thesis.data_file('author_runs.csv')); print(fcn_weights.find_weights('CBFGenerated'))"
    clean = {name: value for name, value in os.environ.items() if name != "NCVQVAE_FCN"}
    environment = {**clean, "PYTHONPATH": str(tmp_path), "NCVQVAE_CACHE": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    shipped = (tmp_path / "ncvqvae_lite" / "_data").resolve()
    found = [Path(line) for line in ran.stdout.splitlines()]
    assert found == [shipped / "author_runs.csv", shipped / "judges" / "CBFGenerated.safetensors"]


# ---- imports -----------------------------------------------------------------------------------------------------


def test_importing_the_package_costs_nothing():
    heavy = "{'torch', 'aeon', 'pandas', 'umap', 'papermill', 'matplotlib', 'sklearn', 'scipy', 'numpy'}"
    code = f"import sys, ncvqvae_lite, ncvqvae_lite.thesis; print(*sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == ""


@pytest.mark.parametrize("name", ncvqvae_lite.__all__)
def test_public_names_resolve(name):
    assert name in dir(ncvqvae_lite)
    assert getattr(ncvqvae_lite, name) is not None


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'VectorQuantiser'"):
        _ = ncvqvae_lite.VectorQuantiser


def room_of(module):
    """The room that a module of the package (its first name below `ncvqvae_lite`) belongs to."""
    fitting = [room for room in ROOMS if module == room or module.startswith(room + "_")]
    assert fitting, f"{module} is in no room: add it to ROOMS, or name it <room>_{module}"
    return max(fitting, key=len)


def imported(path, root):
    """Names below `ncvqvae_lite` that a file imports, at its top or inside functions."""
    here = list(path.relative_to(root).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            dotted = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            start += node.module.split(".") if node.module else []
            dotted = [[*start, alias.name] for alias in node.names]
        else:
            continue
        yield from (names[1] for names in dotted if names[0] == "ncvqvae_lite" and len(names) > 1)


def imports_from_below(root):
    """(file, imported name) wherever a room imports from a room below it."""
    wrong = []
    for path in sorted((root / "ncvqvae_lite").rglob("*.py")):
        module = path.relative_to(root / "ncvqvae_lite").with_suffix("").parts[0]
        if module == "__init__":
            continue
        for name in imported(path, root):
            if name.startswith("__"):
                continue  # __version__
            home = room_of(ncvqvae_lite._ROOM_OF.get(name, name))
            if ROOMS.index(home) > ROOMS.index(room_of(module)):
                wrong.append((path.relative_to(root).as_posix(), name))
    return wrong


def test_each_room_imports_only_from_rooms_above():
    assert imports_from_below(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "name"),
    [
        ("data.py", "from .training import train_fcn", "training"),
        ("data_files.py", "from . import cli", "cli"),
        ("generators.py", "from .data import from_arrays", "data"),
        ("tokenizer.py", "def f():\n    import ncvqvae_lite.experiment", "experiment"),
        ("config.py", "from ncvqvae_lite import run_experiment", "run_experiment"),
        ("lab/report.py", "from ..cli import main", "cli"),
        ("ssl_losses.py", "from .family.contrast import nt_xent", "family"),
        ("quantizer.py", "from ncvqvae_lite import nt_xent", "nt_xent"),
        ("family/peel.py", "from ..evaluation import corrupt", "evaluation"),
    ],
)
def test_an_import_from_below_is_found(tmp_path, file, line, name):
    path = tmp_path / "ncvqvae_lite" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"from ncvqvae_lite.errors import BadInput\n{line}\n")
    assert imports_from_below(tmp_path) == [(f"ncvqvae_lite/{file}", name)]


def test_the_family_is_apart():
    """No room imports it, nor does `import ncvqvae_lite`; what the tokenizer uses too stands outside."""
    outside = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "family"]
    assert len(outside) > 100 and not [path for path in outside if "family" in imported(path, ROOT)]
    assert not {module for module in imported_by("experiment_cell") if module.startswith("family")}
    lines = {path.name: len(path.read_text().splitlines()) for path in (PACKAGE / "family").glob("*.py")}
    assert sum(lines.values()) <= 3300 and max(lines.values()) <= 250, lines


# ---- size --------------------------------------------------------------------------------------------------------


METHOD = (
    "numerics inference timefreq quantizer ssl_losses augmentations tokenizer residuals prior fcn metrics training "
    "training_optim training_muon training_checkpoint training_engine training_tokenizer training_prior training_fcn"
).split()


def test_the_method_can_be_read_in_a_course():
    total = sum(len((PACKAGE / f"{room}.py").read_text().splitlines()) for room in METHOD)
    assert total <= 2500, f"the rooms of the method have {total} lines, expected at most 2,500"
    others = {room for room in imported_by("experiment_cell") if not room.startswith(("experiment", "evaluation."))}
    assert others == {*METHOD} - {"training"}


# ---- the top level -----------------------------------------------------------------------------------------------


def test_nothing_else_lies_at_the_top():
    assert {path.relative_to(ROOT).parts[0] for path in repository_files()} <= TOP_LEVEL


def test_no_file_names_a_place_on_one_machine():
    folders = "|".join(("work", "farm", "opt", "tmp", "root"))
    private = re.compile(rf"(?<![\w.~-])/({folders})/|\.\./" + "shared|extra-" + "index-url")
    found = []
    for path in repository_files():
        text = path.read_text(errors="replace")
        if path == ROOT / ".ci" / "run":  # looks for data beside the checkout
            text = text.replace("../" + "shared/data/ucr", "").replace("../" + "shared/reference/fcn", "")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in private.finditer(text)]
    assert not found


# ---- make --------------------------------------------------------------------------------------------------------

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def make(*arguments, cwd=ROOT, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")}
    return subprocess.run(["make", *arguments], cwd=cwd, env=clean | environment, capture_output=True, text=True)


def commands(*arguments, **environment):
    """The `ncvqvae` command lines that `make replicate` would run were everything installed."""
    shown = make("--dry-run", "--old-file=.venv/.installed", "replicate", *arguments, **environment)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.replace("\\\n", "").splitlines()
    return [" ".join(line.split()[1:]) for line in lines if "/ncvqvae " in line]


@needs_make
def test_make_replicate_demonstrates_both_arms():
    assert commands() == ["demonstrate --notebook"]
    assert commands(METHOD="barlowtwins", SEED="7") == commands()  # the environment's variables mean something else


@needs_make
def test_make_replicate_runs_one_cell_where_a_variable_is_given():
    given = ("DATASET=ECG5000", "METHOD=barlowtwins", "AUGMENTATION=slice", "SEED=2", "PRESET=paper")
    assert commands(*given) == [
        "replicate --dataset ECG5000 --method barlowtwins --augmentation slice --seed 2 --preset paper --notebook"
    ]
    default = (
        "replicate --dataset TwoPatternsGenerated --method {} --augmentation {} --seed {} --preset quick --notebook"
    )
    assert commands("SEED=3") == [default.format("regular", "none", 3)]
    assert commands("METHOD=vibcreg") == [default.format("vibcreg", "gauss", 1)]


@needs_make
def test_make_refuses_an_old_python_in_one_line(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.18 ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    refused = make("test", f"PYTHON={old}", cwd=tmp_path)
    first, *rest = refused.stderr.splitlines()
    assert refused.returncode != 0
    assert "Python 3.11 or newer" in first and "3.9.18" in first
    assert len(rest) == 1 and rest[0].startswith("make: ***")
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_what_the_readme_says():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().splitlines()[-1] == "exec make test </dev/null"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["test"]["steps"][-1] == {"run": ".ci/run"}


def test_the_weekly_workflow_tests_the_core_at_its_bounds():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text())
    *_, pins, install, tests = workflow["jobs"]["bounds"]["steps"]
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", bound) for bound in pyproject()["project"]["dependencies"])
    assert '.replace(">=", "==")' in pins["run"] and "-c bounds.txt -e ." in install["run"]
    rooms = [name for names in re.findall(r"test_{([\w,]+)}\.py", tests["run"]) for name in names.split(",")]
    assert len(rooms) > 10 and all((ROOT / "tests" / f"test_{room}.py").exists() for room in rooms)
    assert "tests/test_{" in tests["run"]


def test_aeon_is_no_part_of_the_core():
    """It caps numba and through it numpy, so that the core would follow its releases."""
    assert "aeon" not in requirements() | requirements("campaign")
    assert "aeon" in requirements("data").keys() & requirements("notebooks").keys()
