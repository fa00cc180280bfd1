"""tests/colab_check.py, which `make colab` runs: the list of packages is whole, the set-up cell is the real one."""

import ast
import json
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import colab_check
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_packaging import PACKAGE, ROOT, pyproject, requirements

BUILT = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOT_IN_CHAPTERS = {"tqdm", "jinja2"}  # the commands' own; torch brings jinja2


@cache
def distributions():
    """Importable name -> the distributions that have it. Looking takes half a second."""
    return metadata.packages_distributions()


def third_party(nodes):
    """Distributions of what these nodes import, ours and the standard library apart."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return {
        canonicalize_name(distributions()[name][0]) for name in names - set(sys.stdlib_module_names) - {"ncvqvae_lite"}
    }


def installed_by_the_cell():
    return colab_check.named(colab_check.set_up_cell(json.loads(BUILT[0].read_text())))


def test_the_list_holds_all_that_the_chapters_import():
    have = colab_check.pins().keys() | installed_by_the_cell()
    for path in sorted((ROOT / "notebooks" / "src").glob("*.py")):
        missing = third_party(ast.walk(ast.parse(path.read_text()))) - have
        assert not missing, f"{path.name} imports {missing}: add them to tests/colab-packages.txt or the set-up cell"
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.name.startswith("cli"):
            missing = third_party(ast.parse(path.read_text()).body) - have  # at its top; functions import the optional
            assert not missing, (
                f"{path.name} imports {missing}: add them to tests/colab-packages.txt or the set-up cell"
            )
    assert requirements("data").keys() - have <= NOT_IN_CHAPTERS


def test_the_list_holds_all_that_the_set_up_cell_does_not_install():
    have = colab_check.pins().keys() | installed_by_the_cell()
    for name in installed_by_the_cell() - {"ncvqvae-lite"}:
        drawn = [
            r
            for r in map(Requirement, metadata.requires(name) or ())
            if not r.marker or r.marker.evaluate({"extra": ""})
        ]
        assert {canonicalize_name(r.name) for r in drawn} <= have, f"{name} needs more than the cell installs"


def test_colab_is_inside_our_bounds():
    pins = colab_check.pins()
    assert {"torch", "numpy", "scikit-learn", "matplotlib"} <= pins.keys() - installed_by_the_cell()
    for name, bounds in requirements("notebooks").items():
        assert name not in pins or pins[name] in bounds, f"Colab's {name} {pins[name]} is outside {bounds}"


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_the_script_changes_nothing_of_a_set_up_cell_but_the_address(path):
    notebook, changed = json.loads(path.read_text()), json.loads(path.read_text())
    colab_check.on_colab(changed, "0123abc")
    before = "".join(colab_check.set_up_cell(notebook)["source"])
    after = "".join(colab_check.set_up_cell(changed)["source"])
    tag = f"git+{pyproject()['tool']['ncvqvae']['repository']}@v{pyproject()['project']['version']}"
    assert after == before.replace(tag, f"git+{ROOT.as_uri()}@0123abc") != before
    assert changed["cells"][0]["source"] == colab_check.IS_COLAB
    assert [c for c in changed["cells"][1:] if "colab-setup" not in c["metadata"].get("tags", ())] == [
        c for c in notebook["cells"] if "colab-setup" not in c["metadata"].get("tags", ())
    ]


@pytest.mark.parametrize(
    ("known", "version", "nearest"),
    [
        ("2.2.0, 2.1.4, 2.1.3", "2.1.3", "2.1.3"),
        ("2.2.0, 2.1.4, 2.0.9", "2.1.3", "2.1.4"),
        ("2.1.4, 2.1.2", "2.1.3", "2.1.4"),
        ("3.0.0, 2.4.0, 1.9.0", "2.1.3", "2.4.0"),
        ("", "2.1.3", "2.1.3"),  # pip then says what is wrong
    ],
)
def test_nearest_version(monkeypatch, tmp_path, known, version, nearest):
    class Listed:
        stdout = f"torch (9)\nAvailable versions: {known}\n" if known else ""

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    environment = colab_check.Environment(tmp_path)
    monkeypatch.setattr(environment, "pip", lambda *arguments: Listed)
    assert environment.nearest("torch", version) == nearest


# ---- Pythons -----------------------------------------------------------------------------------------------------


def test_pythons_are_named_the_same_everywhere():
    """ruff and pyright, which `make test` runs, refuse what is newer than the oldest Python of `requires-python`."""
    pythons = ["3.11", "3.12", "3.13"]
    project = pyproject()["project"]
    assert project["requires-python"] == f">={pythons[0]}"
    assert "target-version" not in pyproject()["tool"]["ruff"]
    assert pyproject()["tool"]["pyright"]["pythonVersion"] == pythons[0]
    stated = [c.split(" :: ")[-1] for c in project["classifiers"] if re.search(r"Python :: 3\.\d", c)]
    assert stated == pythons
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons
    assert f"Python {pythons[0]} to {pythons[-1]}" in (ROOT / "README.md").read_text()
    assert f"Python {pythons[0]} to {pythons[-1]}" in Path(ROOT / "constraints.txt").read_text()
